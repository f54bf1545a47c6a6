package filetree

import (
	"bytes"
	"io"
	"slices"
	"sort"
)

// spanBytesMin is the room of the last span of a write, so that small writes in a row share one.
const spanBytesMin = 4 << 10

// span is bytes of a file that the engine does not have yet. The capacity of data is what it costs of the budget.
type span struct {
	offset int64
	data   []byte
}

func (s *span) end() int64 { return s.offset + int64(len(s.data)) }

// layer is what was written of a file, in order and without overlap. Its owner locks it.
type layer struct {
	spans []span
	cost  int64 // the capacities together
}

// end returns the first offset behind all spans, 0 for an empty layer.
func (l *layer) end() int64 {
	if len(l.spans) == 0 {
		return 0
	}
	return l.spans[len(l.spans)-1].end()
}

// at returns the index of the first span that ends behind an offset.
func (l *layer) at(offset int64) int {
	return sort.Search(len(l.spans), func(i int) bool { return l.spans[i].end() > offset })
}

// write puts a copy of p in its place. It costs len(p) + room at most; room is what the last span may have beyond its bytes.
func (l *layer) write(p []byte, offset int64, room int) {
	for i := l.at(offset); len(p) > 0; {
		var n int
		switch {
		case i < len(l.spans) && l.spans[i].offset <= offset: // over what is there
			s := &l.spans[i]
			n = copy(s.data[offset-s.offset:], p)
			i++
		default:
			n = len(p)
			if i < len(l.spans) {
				n = int(min(int64(n), l.spans[i].offset-offset))
			}
			if k := l.extend(i, p[:n], offset); k > 0 {
				n = k
				break
			}
			size := n
			if n == len(p) {
				size = max(n, min(room, spanBytesMin))
			}
			data := append(make([]byte, 0, size), p[:n]...)
			l.spans = slices.Insert(l.spans, i, span{offset, data})
			l.cost += int64(cap(data))
			i++
		}
		p, offset = p[n:], offset+int64(n)
	}
}

// extend writes into the room that the span before index i has, if that ends at offset, and returns how many bytes it took.
func (l *layer) extend(i int, p []byte, offset int64) int {
	if i == 0 || l.spans[i-1].end() != offset {
		return 0
	}
	s := &l.spans[i-1]
	n := min(len(p), cap(s.data)-len(s.data))
	s.data = append(s.data, p[:n]...)
	return n
}

// put writes a later span over the layer, and takes it as it is where nothing is in its place.
func (l *layer) put(s span) {
	i := l.at(s.offset)
	if i < len(l.spans) && l.spans[i].offset < s.end() {
		l.write(s.data, s.offset, 0)
		return
	}
	// The span before may have room that reaches into this one. Nothing is written there any more than up to where this one begins.
	l.spans = slices.Insert(l.spans, i, s)
	l.cost += int64(cap(s.data))
}

// stretch is the bytes from start to end of a file.
type stretch struct{ start, end int64 }

// read copies into p, which is what lies at offset, what the layer has of the stretches, and returns what it has not.
func (l *layer) read(p []byte, offset int64, missing []stretch) (rest []stretch) {
	for _, m := range missing {
		for i := l.at(m.start); i < len(l.spans) && l.spans[i].offset < m.end; i++ {
			s := &l.spans[i]
			from, to := max(s.offset, m.start), min(s.end(), m.end)
			if m.start < from {
				rest = append(rest, stretch{m.start, from})
			}
			copy(p[from-offset:to-offset], s.data[from-s.offset:])
			m.start = to
		}
		if m.start < m.end {
			rest = append(rest, m)
		}
	}
	return rest
}

// run is spans that adjoin: one piece of a patch.
type run struct {
	offset, length int64
	spans          []span
}

// runs returns the layer as pieces of at most lengthMax bytes, unless one span has more.
func (l *layer) runs(lengthMax int64) (runs []run) {
	for i := range l.spans {
		s := &l.spans[i]
		if n := len(runs) - 1; n >= 0 && runs[n].offset+runs[n].length == s.offset && runs[n].length+int64(len(s.data)) <= lengthMax {
			r := &runs[n]
			r.length, r.spans = r.length+int64(len(s.data)), append(r.spans, *s)
			continue
		}
		runs = append(runs, run{s.offset, int64(len(s.data)), []span{*s}})
	}
	return runs
}

// body reads a run from its beginning.
func (r *run) body() io.Reader {
	readers := make([]io.Reader, len(r.spans))
	for i, s := range r.spans {
		readers[i] = bytes.NewReader(s.data)
	}
	return io.MultiReader(readers...)
}
