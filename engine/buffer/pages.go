package buffer

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// hugeBytes is a huge page: one piece of physical memory, of which a drive hears in one segment where pages of 4 KiB take hundreds.
	// Direct writes of 64 MiB objects were a fifth quicker from it (docs/benchmarks.md).
	hugeBytes = 2 << 20
	// carvedMin is the least class whose buffers are cut from huge pages. Smaller ones are a few segments anyway.
	carvedMin = 64 << 10
	// sparePages is how many pages nobody uses are kept.
	sparePages = 16
)

// hugePages cuts huge pages into buffers of one class each. A page of which no buffer is lent can become one of another class, or goes, so that
// the memory taken is what was lent at most at a time, and little more. The zero value is ready.
type hugePages struct {
	mu    sync.Mutex
	pages map[uintptr]*hugePage // by address, those that are cut
	open  [classes][]*hugePage  // those with buffers that are not lent
	spare []*hugePage           // those that are not cut
}

// hugePage is ordinary memory of the process: it goes with the last that refers to it.
type hugePage struct {
	memory []byte
	class  int
	free   [][]byte
	lent   int
}

func pageOf(b []byte) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b))) &^ (hugeBytes - 1)
}

// get returns a buffer of class c.
func (h *hugePages) get(c int) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.open[c]) == 0 {
		h.cut(c)
	}
	p := h.open[c][len(h.open[c])-1]
	b := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.lent++
	if len(p.free) == 0 {
		h.open[c] = h.open[c][:len(h.open[c])-1]
	}
	return b
}

// cut makes a page one of class c. The lock is held, but not while memory is asked for.
func (h *hugePages) cut(c int) {
	var p *hugePage
	if n := len(h.spare); n > 0 {
		p, h.spare = h.spare[n-1], h.spare[:n-1]
	} else {
		h.mu.Unlock()
		p = newHugePage()
		h.mu.Lock()
	}
	p.class = c
	for rest := p.memory; len(rest) > 0; rest = rest[BytesMin<<c:] {
		p.free = append(p.free, rest[:BytesMin<<c:BytesMin<<c])
	}
	if h.pages == nil {
		h.pages = map[uintptr]*hugePage{}
	}
	h.pages[pageOf(p.memory)] = p
	h.open[c] = append(h.open[c], p)
}

// put takes a buffer back.
func (h *hugePages) put(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.pages[pageOf(b)]
	if p == nil {
		return // of a page that was given up
	}
	p.lent--
	p.free = append(p.free, b[:cap(b)])
	switch {
	case p.lent == 0:
		h.close(p)
		if len(h.spare) < sparePages {
			h.spare = append(h.spare, p)
		}
	case len(p.free) == 1:
		h.open[p.class] = append(h.open[p.class], p)
	}
}

// leave gives a lent buffer up: its page is not lent from any more, and goes when everybody has left it.
func (h *hugePages) leave(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.pages[pageOf(b)]; p != nil {
		h.close(p)
	}
}

// close takes a page out of the books.
func (h *hugePages) close(p *hugePage) {
	delete(h.pages, pageOf(p.memory))
	p.free = nil
	open := h.open[p.class]
	for i := range open {
		if open[i] == p {
			open[i] = open[len(open)-1]
			open[len(open)-1] = nil
			h.open[p.class] = open[:len(open)-1]
			return
		}
	}
}

// newHugePage asks for a huge page. Where the machine has none, or none left, the memory serves as it is.
func newHugePage() *hugePage {
	b := make([]byte, 2*hugeBytes)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % hugeBytes)
	p := &hugePage{memory: b[skip : skip+hugeBytes : skip+hugeBytes]}
	_ = unix.Madvise(p.memory, unix.MADV_HUGEPAGE) // for memory that is touched later
	_ = unix.Madvise(p.memory, unix.MADV_COLLAPSE) // for memory that was in use before
	for _, rest := range [][]byte{b[:skip], b[skip+hugeBytes:]} {
		giveUp(rest)
	}
	return p
}

// giveUp returns the memory of whole pages of b, which nobody uses, to the machine.
func giveUp(b []byte) {
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % Align)
	if n := (len(b) - skip) &^ (Align - 1); n > 0 {
		_ = unix.Madvise(b[skip:skip+n], unix.MADV_DONTNEED) // it is zero before and after
	}
}
