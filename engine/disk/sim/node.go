package sim

import (
	"maps"
	"math/rand/v2"
	"slices"

	"holdfast/engine/disk"
)

// node is a file or directory: what callers see, what is durable, and the changes between the two in order.
type node struct {
	dir bool

	names, durableNames map[string]*node
	changes             []nameChange

	data, durable []byte
	writes        []write
	rot           map[int64]byte     // bits that the platter has inverted beneath what the cache has of it in data, by offset
	room          map[int64]struct{} // numbers of the 4096-byte units that occupy room
}

// nameChange is an un-synced change of a directory: names[set] = node, or removal if node is nil; from, if not empty, vanishes with it.
type nameChange struct {
	set  string
	node *node
	from string
}

// write is an un-synced change of a file. Length ≥ 0 sets the length, as truncate and allocate do; otherwise data is written.
type write struct {
	offset int64
	data   []byte
	length int64
}

func newDir() *node {
	return &node{dir: true, names: map[string]*node{}, durableNames: map[string]*node{}}
}

func newFile() *node { return &node{room: map[int64]struct{}{}} }

func (n *node) set(name string, child *node) { n.change(nameChange{set: name, node: child}) }

func (n *node) rename(from, to string) {
	n.change(nameChange{set: to, node: n.names[from], from: from})
}

func (n *node) change(c nameChange) {
	c.apply(n.names)
	n.changes = append(n.changes, c)
}

func (c nameChange) apply(names map[string]*node) {
	if c.from != "" && c.from != c.set {
		delete(names, c.from)
	}
	if c.node == nil {
		delete(names, c.set)
	} else {
		names[c.set] = c.node
	}
}

// write puts data at offset, un-synced.
func (n *node) write(data []byte, offset int64) {
	w := write{offset: offset, data: slices.Clone(data), length: -1}
	n.data = w.apply(n.data)
	n.writes = append(n.writes, w)
	n.overwritten(offset, int64(len(data)))
	n.occupy(offset, int64(len(data)))
}

// resize sets the length, un-synced.
func (n *node) resize(length int64) {
	w := write{length: length}
	n.data = w.apply(n.data)
	n.writes = append(n.writes, w)
	for unit := range n.room {
		if unit*disk.Align >= length {
			delete(n.room, unit)
		}
	}
}

// punch zeroes the range and gives the room of whole units back.
func (n *node) punch(offset, length int64) {
	length = min(length, int64(len(n.data))-offset)
	if length <= 0 {
		return
	}
	w := write{offset: offset, data: make([]byte, length), length: -1}
	n.data = w.apply(n.data)
	n.writes = append(n.writes, w)
	n.overwritten(offset, length)
	for unit := (offset + disk.Align - 1) / disk.Align; (unit+1)*disk.Align <= offset+length; unit++ {
		delete(n.room, unit)
	}
}

// decay makes of p, which the cache has at offset, what the platter has.
func (n *node) decay(p []byte, offset int64) {
	for at, bits := range n.rot {
		if at >= offset && at < offset+int64(len(p)) {
			p[at-offset] ^= bits
		}
	}
}

// forget takes the range from the platter again.
func (n *node) forget(offset, length int64) {
	for at, bits := range n.rot {
		if at >= offset && at < offset+length && at < int64(len(n.data)) {
			n.data[at] ^= bits
			delete(n.rot, at)
		}
	}
}

// overwritten forgets the rot beneath a write.
func (n *node) overwritten(offset, length int64) {
	for at := range n.rot {
		if at >= offset && at < offset+length {
			delete(n.rot, at)
		}
	}
}

// missing counts the units of the range that do not occupy room yet.
func (n *node) missing(offset, length int64) (units int64) {
	for unit := offset / disk.Align; unit*disk.Align < offset+length; unit++ {
		if _, ok := n.room[unit]; !ok {
			units++
		}
	}
	return units
}

func (n *node) occupy(offset, length int64) {
	for unit := offset / disk.Align; unit*disk.Align < offset+length; unit++ {
		n.room[unit] = struct{}{}
	}
}

func (w write) apply(b []byte) []byte {
	if w.length >= 0 {
		return setLength(b, w.length)
	}
	if end := w.offset + int64(len(w.data)); end > int64(len(b)) {
		b = setLength(b, end)
	}
	copy(b[w.offset:], w.data)
	return b
}

func setLength(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		clear(b[n:])
		return b[:n]
	}
	if n <= int64(cap(b)) {
		old := len(b)
		b = b[:n]
		clear(b[old:])
		return b
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

// sync makes all writes durable.
func (n *node) sync() {
	for _, w := range n.writes {
		n.durable = w.apply(n.durable)
	}
	n.writes = nil
}

// used counts the occupied units below n, each file once.
func (n *node) used(seen map[*node]bool) int64 {
	if seen[n] {
		return 0
	}
	seen[n] = true
	total := int64(len(n.room))
	for _, child := range n.names {
		total += child.used(seen)
	}
	return total
}

// survivor returns what a power cut leaves of n: what is durable, of the names a prefix of the changes, of the writes any units.
func (n *node) survivor(rng *rand.Rand, done map[*node]*node) *node {
	if s := done[n]; s != nil {
		return s
	}
	if n.dir {
		return n.survivorDir(rng, done)
	}
	s := newFile()
	done[n] = s
	s.data = slices.Clone(n.durable)
	odds := rng.IntN(4) // of four units how many survive; 0 none, so that the plain loss is frequent
	for _, w := range n.writes {
		s.data = w.tear(s.data, rng, odds)
	}
	s.durable = slices.Clone(s.data)
	for unit := range n.room {
		if unit*disk.Align < int64(len(s.data)) {
			s.room[unit] = struct{}{}
		}
	}
	return s
}

func (n *node) survivorDir(rng *rand.Rand, done map[*node]*node) *node {
	s := newDir()
	done[n] = s
	left := maps.Clone(n.durableNames)
	for _, c := range n.changes[:rng.IntN(len(n.changes)+1)] {
		c.apply(left)
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		s.names[name] = left[name].survivor(rng, done)
	}
	s.durableNames = maps.Clone(s.names)
	return s
}

// tear applies those units of the write that chance lets survive.
func (w write) tear(b []byte, rng *rand.Rand, odds int) []byte {
	if w.length >= 0 {
		if rng.IntN(4) < odds {
			return setLength(b, w.length)
		}
		return b
	}
	for done := int64(0); done < int64(len(w.data)); {
		n := min(UnitBytes-(w.offset+done)%UnitBytes, int64(len(w.data))-done)
		if rng.IntN(4) < odds {
			b = write{offset: w.offset + done, data: w.data[done : done+n], length: -1}.apply(b)
		}
		done += n
	}
	return b
}
