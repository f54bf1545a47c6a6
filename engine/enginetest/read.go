package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"testing/iotest"

	"holdfast/engine"
)

// selection returns the bytes that a range selects, by the words of engine.Range; start == end if none.
func selection(r engine.Range, size int64) (start, end int64) {
	if r.Start == -1 {
		return size - min(r.Length, size), size
	}
	start = min(r.Start, size)
	if end = size; r.Length >= 0 {
		end = min(size, start+r.Length)
	}
	return start, end
}

func ranges(s *suite) {
	for _, size := range []int64{0, 1, 10, engine.InlineBytesMax + 1, 64<<10 + 1, 3<<20 + 7} {
		key := fmt.Sprint(size)
		data := content(uint64(size), int(size))
		s.put(key, data)
		for _, r := range rangesOf(size) {
			s.readsRange(key, data, r)
		}
	}
}

// rangesOf returns ranges at the borders of what an engine may cut content into.
func rangesOf(size int64) []engine.Range {
	pairs := [][2]int64{
		{0, -1}, {0, 0}, {0, 1}, {0, size}, {0, size + 1}, {1, -1}, {1, 1}, {size, -1}, {size, 1}, {size + 1, -1}, {size + 1, 5}, {-1, 0}, {-1, 1}, {-1, size},
		{-1, size + 1}, {size / 2, 0}, {size / 2, -1}, {size / 3, size / 3}, {0, 1 << 62}, {1 << 62, -1},
	}
	for _, border := range []int64{size, 4 << 10, 64 << 10, 1 << 20, 2 << 20} {
		if border > 0 {
			pairs = append(pairs, [][2]int64{{border - 1, -1}, {border - 1, 2}, {border, 1}, {border + 1, border}}...)
		}
	}
	list := make([]engine.Range, len(pairs))
	for i, p := range pairs {
		list[i] = engine.Range{Start: p[0], Length: p[1]}
	}
	return list
}

func (s *suite) readsRange(key string, data []byte, r engine.Range) {
	s.Helper()
	start, end := selection(r, int64(len(data)))
	o, err := s.Open(s.ctx, s.ref(key), engine.OpenOptions{Range: &r})
	if start >= end {
		s.fails(engine.KindInvalidRange, err, "range %+v of %d bytes", r, len(data))
		return
	}
	if err != nil {
		s.Errorf("range %+v of %d bytes: %v", r, len(data), err)
		return
	}
	defer o.Close()
	if o.Offset() != start || o.Length() != end-start || o.Info().Size != int64(len(data)) {
		s.Errorf("range %+v of %d bytes: offset %d, length %d, size %d", r, len(data), o.Offset(), o.Length(), o.Info().Size)
	}
	if got, err := io.ReadAll(o); err != nil || !bytes.Equal(got, data[start:end]) {
		s.Errorf("range %+v of %d bytes: %s, %v; want %s", r, len(data), brief(got), err, brief(data[start:end]))
	}
}

// reader: Read and WriteTo give the same bytes, in whatever pieces; an end is repeated; a closed reader gives none.
func reader(s *suite) {
	for _, size := range []int{0, 1, engine.InlineBytesMax + 1, 2<<20 + 3} {
		data := content(uint64(size), size)
		s.put("k", data)
		open := func() engine.Object {
			o, err := s.Open(s.ctx, s.ref("k"), engine.OpenOptions{})
			s.ok(err, "open")
			return o
		}
		o := open()
		if o.Offset() != 0 || o.Length() != int64(size) {
			s.Errorf("%d bytes: offset %d, length %d", size, o.Offset(), o.Length())
		}
		head := make([]byte, size/3)
		_, err := io.ReadFull(o, head)
		s.ok(err, "read a third")
		var rest bytes.Buffer
		n, err := o.WriteTo(&rest)
		if err != nil || n != int64(size-len(head)) || !bytes.Equal(append(head, rest.Bytes()...), data) {
			s.Errorf("%d bytes: a third by Read and the rest by WriteTo gave %d bytes, %v, or others", size, n, err)
		}
		if n, err := o.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			s.Errorf("read at the end: %d, %v", n, err)
		}
		s.ok(o.Close(), "close")
		if n, err := o.Read(make([]byte, 10)); n != 0 || err == nil {
			s.Errorf("read of a closed object: %d, %v", n, err)
		}
		o = open()
		if got, err := io.ReadAll(iotest.HalfReader(o)); err != nil || !bytes.Equal(got, data) {
			s.Errorf("%d bytes in odd pieces: %s, %v", size, brief(got), err)
		}
		s.ok(o.Close(), "close")
		if size > 0 {
			o = open()
			if _, err := o.WriteTo(failingWriter{}); !errors.Is(err, errWriter) {
				s.Errorf("WriteTo to a failing writer: %v", err)
			}
			s.ok(o.Close(), "close")
			o = open()
			var taken bytes.Buffer
			n, err := o.WriteTo(&fullWriter{&taken, size / 2})
			if n != int64(size/2) || !errors.Is(err, errWriter) {
				s.Errorf("WriteTo to a writer that takes %d bytes: %d, %v", size/2, n, err)
			}
			if rest, err := io.ReadAll(o); err != nil || !bytes.Equal(append(taken.Bytes(), rest...), data) {
				s.Errorf("what a writer took of %d bytes and what is read afterwards are others, or %v", size, err)
			}
			s.ok(o.Close(), "close")
		}
	}
}

var errWriter = errors.New("the writer's own error")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errWriter }

// fullWriter takes so many bytes and no more.
type fullWriter struct {
	*bytes.Buffer
	room int
}

func (w *fullWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.room)
	w.room -= n
	w.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errWriter
	}
	return n, nil
}

// overtakenReader: an open version keeps its bytes, whatever is written or deleted meanwhile.
func overtakenReader(s *suite) {
	for _, size := range []int{100, engine.InlineBytesMax + 1, 5<<20 + 1} {
		old := content(1, size)
		made := s.put("k", old)
		var readers []engine.Object
		var heads [][]byte
		for i := range 4 {
			o, err := s.Open(s.ctx, s.ref("k"), engine.OpenOptions{})
			s.ok(err, "open")
			head := make([]byte, i*size/4)
			_, err = io.ReadFull(o, head)
			s.ok(err, "read the head")
			readers, heads = append(readers, o), append(heads, head)
		}
		s.put("k", content(2, size))
		s.put("k", content(3, 10))
		s.remove("k")
		s.put("k", content(4, size))
		for i, o := range readers {
			rest, err := io.ReadAll(o)
			if err != nil || !bytes.Equal(append(heads[i], rest...), old) {
				s.Errorf("a reader of %d bytes that was overtaken after %d got other bytes, or %v", size, len(heads[i]), err)
			}
			s.same("the overtaken reader", o.Info(), made)
			s.ok(o.Close(), "close")
		}
		s.holds("k", content(4, size))
	}
}

// concurrentCreates: of many creators exactly one wins, and its bytes are there.
func concurrentCreates(s *suite) {
	const creators = 16
	for round, size := range []int{10, 10, 20_000, 1<<20 + 1} {
		key := fmt.Sprint("k", round)
		errs := make([]error, creators)
		each(creators, func(i int) {
			body := bytes.NewReader(content(uint64(i), size))
			_, errs[i] = s.Put(s.ctx, s.ref(key), body, engine.PutOptions{Size: int64(size), If: engine.Conditions{NoneMatchAny: true}})
		})
		winner := -1
		for i, err := range errs {
			switch {
			case err != nil:
				s.fails(engine.KindPreconditionFailed, err, "creator %d", i)
			case winner >= 0:
				s.Errorf("creators %d and %d both won", winner, i)
			default:
				winner = i
			}
		}
		if winner < 0 {
			s.Fatal("no creator won")
		}
		s.holds(key, content(uint64(winner), size))
	}
	var made atomic.Int32
	name := newName()
	each(8, func(int) {
		if _, err := s.CreateBucket(s.ctx, name, engine.CreateBucketOptions{}); err == nil {
			made.Add(1)
		} else {
			s.fails(engine.KindBucketExists, err, "create bucket")
		}
	})
	if made.Load() != 1 {
		s.Errorf("a bucket was created %d times", made.Load())
	}
}

// concurrentCounter counts up by compare-and-swap; no step is lost.
func concurrentCounter(s *suite) {
	const workers, steps = 6, 8
	s.put("n", []byte("0"))
	each(workers, func(int) {
		for done := 0; done < steps; {
			data, info, err := fetch(s.ctx, s.Engine, s.ref("n"), engine.OpenOptions{})
			if err != nil {
				s.Errorf("get: %v", err)
				return
			}
			n, err := strconv.Atoi(string(data))
			if err != nil {
				s.Errorf("the counter holds %q", data)
				return
			}
			next := strconv.Itoa(n + 1)
			_, err = s.Put(s.ctx, s.ref("n"), bytes.NewReader([]byte(next)), engine.PutOptions{Size: int64(len(next)), If: engine.Conditions{Match: []engine.ETag{info.ETag}}})
			if err == nil {
				done++
			} else if !engine.Is(err, engine.KindPreconditionFailed) {
				s.Errorf("put: %v", err)
				return
			}
		}
	})
	s.holds("n", []byte(strconv.Itoa(workers*steps)))
}

// concurrentVersions: readers beside writers see whole versions, never older than one that they have seen.
func concurrentVersions(s *suite) {
	const writes = 20
	body := func(i int) []byte { return content(uint64(i), 1000+i*3000) }
	s.put("k", body(0))
	tags := map[engine.ETag]bool{}
	for i := range writes {
		tags[etag(body(i))] = true
	}
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			var last engine.Sequence
			for {
				select {
				case <-stop:
					return
				default:
				}
				data, info, err := fetch(s.ctx, s.Engine, s.ref("k"), engine.OpenOptions{})
				if err != nil || etag(data) != info.ETag || !tags[info.ETag] || info.Sequence < last {
					s.Errorf("a reader got %s of %+v after sequence %d: %v", brief(data), info, last, err)
					return
				}
				last = info.Sequence
			}
		})
	}
	for i := range writes {
		s.put("k", body(i))
	}
	close(stop)
	readers.Wait()
}
