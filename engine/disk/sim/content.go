package sim

import (
	"math/bits"
	"slices"

	"holdfast/engine/disk"
)

// content is what a file has, in pages that copies share until one of them writes: an image of a machine costs what was changed since. Its methods
// that change it return the content that has the change; the caller goes on with that one.
type content struct {
	pages  []*page // nil: zeros
	length int64
	owner  *owner
	shared bool // who writes makes a content of his own first; never unset
}

type page struct {
	owner *owner
	b     [disk.Align]byte
}

// owner tells whose a page is; it has a size, so that each has an address of its own.
type owner struct{ _ byte }

// clone returns what both go on with.
func (c *content) clone() *content {
	if c != nil && !c.shared {
		c.shared = true
	}
	return c
}

// own returns a content that may be written; nil is an empty one.
func (c *content) own() *content {
	switch {
	case c == nil:
		return &content{owner: new(owner)}
	case c.shared:
		return &content{pages: slices.Clone(c.pages), length: c.length, owner: new(owner)}
	}
	return c
}

func (c *content) size() int64 {
	if c == nil {
		return 0
	}
	return c.length
}

// page returns a page that may be written.
func (c *content) page(i int64) *page {
	p := c.pages[i]
	if p == nil || p.owner != c.owner {
		own := &page{owner: c.owner}
		if p != nil {
			own.b = p.b
		}
		c.pages[i], p = own, own
	}
	return p
}

// setLength cuts, or adds zeros.
func (c *content) setLength(n int64) *content {
	c = c.own()
	if pages := (n + disk.Align - 1) / disk.Align; pages <= int64(len(c.pages)) {
		clear(c.pages[pages:])
		c.pages = c.pages[:pages]
	} else {
		c.pages = append(c.pages, make([]*page, pages-int64(len(c.pages)))...)
	}
	if tail := n % disk.Align; n < c.length && tail > 0 && c.pages[n/disk.Align] != nil {
		clear(c.page(n / disk.Align).b[tail:])
	}
	c.length = n
	return c
}

func (c *content) write(b []byte, offset int64) *content {
	if c = c.own(); offset+int64(len(b)) > c.length {
		c = c.setLength(offset + int64(len(b)))
	}
	for len(b) > 0 {
		n := copy(c.page(offset / disk.Align).b[offset%disk.Align:], b)
		b, offset = b[n:], offset+int64(n)
	}
	return c
}

// zero makes zeros of a range, which lies within the length.
func (c *content) zero(offset, length int64) *content {
	c = c.own()
	for length > 0 {
		at := offset % disk.Align
		n := min(length, disk.Align-at)
		if i := offset / disk.Align; n == disk.Align {
			c.pages[i] = nil
		} else if c.pages[i] != nil {
			clear(c.page(i).b[at : at+n])
		}
		offset, length = offset+n, length-n
	}
	return c
}

// read copies what is there at offset to b, and returns how much that is.
func (c *content) read(b []byte, offset int64) (done int) {
	b = b[:min(int64(len(b)), max(0, c.size()-offset))]
	for len(b) > 0 {
		n := min(int64(len(b)), disk.Align-offset%disk.Align)
		if p := c.pages[offset/disk.Align]; p != nil {
			copy(b[:n], p.b[offset%disk.Align:])
		} else {
			clear(b[:n])
		}
		b, offset, done = b[n:], offset+n, done+int(n)
	}
	return done
}

// flip inverts bits of one byte, if it is there.
func (c *content) flip(offset int64, bits byte) *content {
	if offset >= c.size() {
		return c
	}
	c = c.own()
	c.page(offset / disk.Align).b[offset%disk.Align] ^= bits
	return c
}

// room is the set of the 4096-byte units of a file that occupy room, by number.
type room []uint64

func (r room) has(unit int64) bool { return unit>>6 < int64(len(r)) && r[unit>>6]>>(unit&63)&1 == 1 }

func (r *room) add(unit int64) {
	if more := unit>>6 + 1 - int64(len(*r)); more > 0 {
		*r = append(*r, make(room, more)...)
	}
	(*r)[unit>>6] |= 1 << (unit & 63)
}

func (r room) remove(unit int64) {
	if unit>>6 < int64(len(r)) {
		r[unit>>6] &^= 1 << (unit & 63)
	}
}

// below returns a copy of the units below a number.
func (r room) below(unit int64) room {
	r = slices.Clone(r[:min(int64(len(r)), (unit+63)>>6)])
	if last := unit >> 6; last < int64(len(r)) {
		r[last] &= 1<<(unit&63) - 1
	}
	return r
}

func (r room) count() (n int64) {
	for _, w := range r {
		n += int64(bits.OnesCount64(w))
	}
	return n
}
