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
	// carvedMin is the least class whose buffers are cut from huge pages. Smaller ones are a few segments anyway, and each would keep its slab.
	carvedMin = 64 << 10
	// slabPages bounds what aligning wastes, one page of each slab.
	slabPages = 4
)

// hugePages cuts huge pages from slabs, which are ordinary memory of the process: a slab goes when nobody has any of its pages any more.
type hugePages struct {
	mu   sync.Mutex
	slab []byte // what has not been cut off yet
}

func (h *hugePages) next() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.slab) == 0 {
		h.slab = newSlab()
	}
	page := h.slab[:hugeBytes:hugeBytes]
	h.slab = h.slab[hugeBytes:]
	return page
}

// newSlab asks for huge pages. Where the machine has none, or none left, the memory serves as it is.
func newSlab() []byte {
	b := make([]byte, (slabPages+1)*hugeBytes)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % hugeBytes
	slab := b[skip : skip+slabPages*hugeBytes]
	_ = unix.Madvise(slab, unix.MADV_HUGEPAGE) // for pages that are touched later
	_ = unix.Madvise(slab, unix.MADV_COLLAPSE) // for those that were in use before
	return slab
}

// fresh returns a buffer of class c that nobody has used, and keeps what is left of its page.
func (p *Pool) fresh(c int) []byte {
	size := BytesMin << c
	if size < carvedMin {
		return alignedBytes(size)
	}
	page := p.huge.next()
	for rest := page[size:]; len(rest) > 0; rest = rest[size:] {
		p.Put(rest[:size:size])
	}
	return page[:size:size]
}
