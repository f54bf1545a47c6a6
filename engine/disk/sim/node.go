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

	data, durable *content
	writes        []write
	rot           map[int64]byte // bits that the platter has inverted beneath what the cache has of it in data, by offset
	room          room
}

// nameChange is an un-synced change of a directory: names[set] = node, or removal if node is nil; from, if not empty, vanishes with it.
type nameChange struct {
	set  string
	node *node
	from string
}

// write is an un-synced change of a file. Length ≥ 0 sets the length, as truncate and allocate do; otherwise data is written, or zeros.
type write struct {
	offset int64
	data   []byte
	zeros  int64
	length int64
}

func (w write) bytes() int64 { return max(int64(len(w.data)), w.zeros) }

// part returns the write of a range of what this one writes.
func (w write) part(from, to int64) write {
	p := write{offset: w.offset + from, length: -1}
	if w.zeros > 0 {
		p.zeros = to - from
	} else {
		p.data = w.data[from:to]
	}
	return p
}

func newDir() *node {
	return &node{dir: true, names: map[string]*node{}, durableNames: map[string]*node{}}
}

func newFile() *node { return &node{} }

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
	n.room = n.room.below((length + disk.Align - 1) / disk.Align)
}

// punch zeroes the range and gives the room of whole units back.
func (n *node) punch(offset, length int64) {
	length = min(length, n.data.size()-offset)
	if length <= 0 {
		return
	}
	w := write{offset: offset, zeros: length, length: -1}
	n.data = w.apply(n.data)
	n.writes = append(n.writes, w)
	n.overwritten(offset, length)
	for unit := (offset + disk.Align - 1) / disk.Align; (unit+1)*disk.Align <= offset+length; unit++ {
		n.room.remove(unit)
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
		if at >= offset && at < offset+length && at < n.data.size() {
			n.data = n.data.flip(at, bits)
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
		if !n.room.has(unit) {
			units++
		}
	}
	return units
}

func (n *node) occupy(offset, length int64) {
	for unit := offset / disk.Align; unit*disk.Align < offset+length; unit++ {
		n.room.add(unit)
	}
}

func (w write) apply(c *content) *content {
	switch {
	case w.length >= 0:
		return c.setLength(w.length)
	case w.zeros == 0:
		return c.write(w.data, w.offset)
	}
	if end := w.offset + w.zeros; end > c.size() {
		c = c.setLength(end)
	}
	return c.zero(w.offset, w.zeros)
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
	total := n.room.count()
	for _, child := range n.names {
		total += child.used(seen)
	}
	return total
}

// Loss says what a power cut takes of what was not synced.
type Loss int

const (
	LossAny   Loss = iota // chance decides, by file, name and unit
	LossWhole             // everything that was not synced goes
	LossNone              // nothing goes, as if the kernel had written all of it just in time
	LossNames             // names go, the data of those that stay does not
	LossData              // data goes, names stay
	LossTail              // of each file the writes until some byte are there: the last one is cut in two
	Losses                // their number
)

func (l Loss) String() string {
	return [...]string{"any", "whole", "none", "names", "data", "tail"}[l]
}

// survival is a power cut: it decides what stays.
type survival struct {
	rng  *rand.Rand
	loss Loss
	unit int64 // what is whole of a write: UnitBytes to 4096 bytes
	done map[*node]*node
}

func newSurvival(rng *rand.Rand, loss Loss) *survival {
	return &survival{rng: rng, loss: loss, unit: UnitBytes << rng.IntN(4), done: map[*node]*node{}}
}

// of returns what is left of n: what is durable, of the names a prefix of the changes, of the writes any units.
func (v *survival) of(n *node) *node {
	if s := v.done[n]; s != nil {
		return s
	}
	if n.dir {
		return v.ofDir(n)
	}
	s := newFile()
	v.done[n] = s
	s.data = n.durable.clone()
	odds := v.rng.IntN(4) // of four units how many survive; 0 none, so that the plain loss is frequent
	switch v.loss {
	case LossWhole, LossData:
		odds = 0
	case LossNone, LossNames:
		odds = 4
	}
	if v.loss == LossTail {
		s.data = v.head(n.writes, s.data)
	} else if odds > 0 {
		for _, w := range n.writes {
			s.data = v.tear(w, s.data, odds)
		}
	}
	s.durable = s.data.clone()
	s.room = n.room.below((s.data.size() + disk.Align - 1) / disk.Align)
	return s
}

func (v *survival) ofDir(n *node) *node {
	s := newDir()
	v.done[n] = s
	left := maps.Clone(n.durableNames)
	kept := v.rng.IntN(len(n.changes) + 1)
	switch v.loss {
	case LossWhole, LossNames:
		kept = 0
	case LossNone, LossData:
		kept = len(n.changes)
	}
	for _, c := range n.changes[:kept] {
		c.apply(left)
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		s.names[name] = v.of(left[name])
	}
	s.durableNames = maps.Clone(s.names)
	return s
}

// tear applies those units of the write that chance lets survive.
func (v *survival) tear(w write, c *content, odds int) *content {
	if w.length >= 0 {
		if v.rng.IntN(4) < odds {
			return w.apply(c)
		}
		return c
	}
	for done := int64(0); done < w.bytes(); {
		n := min(v.unit-(w.offset+done)%v.unit, w.bytes()-done)
		if v.rng.IntN(4) < odds {
			c = w.part(done, done+n).apply(c)
		}
		done += n
	}
	return c
}

// head applies writes until some unit of one of them.
func (v *survival) head(writes []write, c *content) *content {
	whole := v.rng.IntN(len(writes) + 1)
	for i, w := range writes[:min(whole+1, len(writes))] {
		if i < whole {
			c = w.apply(c)
		} else if units := w.bytes() / v.unit; units > 0 {
			end := v.rng.Int64N(units+1)*v.unit - w.offset%v.unit
			c = w.part(0, max(0, min(end, w.bytes()))).apply(c)
		}
	}
	return c
}
