// Package buffer lends memory within a budget. Admission comes first: an operation acquires a Lease over all the bytes that it will hold at
// once, waiting its turn, and takes aligned buffers from the pool under it.
//
// A lease whose memory waits for somebody outside, who may be slow on purpose, is lent meanwhile, and called back when others wait in line.
//
// Promise: leases never exceed the budget together, they are granted in the order they were asked for, and a buffer's address is a
// multiple of 4096, fit for direct input and output.
//
// The package does not know what the memory is for. It does not clear buffers: a buffer holds what its last user left.
package buffer

import (
	"container/list"
	"context"
	"math/bits"
	"sync"
	"time"
	"unsafe"

	"holdfast/engine"
)

const (
	// Align is the alignment of every buffer.
	Align = 4096
	// BytesMin and BytesMax bound the classes of buffers, powers of two. Larger ones are made and dropped.
	BytesMin, BytesMax = 4 << 10, 2 << 20
	// WaitMax is how long Acquire waits unless SetWaitMax says otherwise.
	WaitMax = 30 * time.Second
	// LentMax is how long one buffer of a lease may wait for somebody outside while others wait for memory.
	LentMax = 2 * time.Second
	// lookEvery is how often the first in line looks for such leases.
	lookEvery = 250 * time.Millisecond
)

const classes = 10 // 4 KiB … 2 MiB

// Pool is a budget and the buffers that were given back. It is safe for concurrent use.
type Pool struct {
	budget int64
	free   [classes]sync.Pool // of *byte, the first byte of the class's size
	huge   hugePages

	mu       sync.Mutex // guards all below
	waitMax  time.Duration
	held     int64
	heldMax  int64
	waiting  list.List // of *waiter
	lent     list.List // of *lent, the oldest first
	lentMax  time.Duration
	cut      uint64
	refused  uint64
	acquired uint64
}

// waiter is an Acquire in line; granted is closed under the lock when its bytes are counted.
type waiter struct {
	n       int64
	granted chan struct{}
}

// Stats are a Pool's counters. Bytes are those of leases, not of buffers.
type Stats struct {
	Budget, Held, HeldMax int64
	Waiting               int
	Acquired, Refused     uint64
	Cut                   uint64 // loans that were ended because others waited
}

// New returns a pool that lends at most budget bytes at a time.
func New(budget int64) *Pool { return &Pool{budget: budget, waitMax: WaitMax, lentMax: LentMax} }

// SetWaitMax changes how long an Acquire that begins afterwards waits for its turn.
func (p *Pool) SetWaitMax(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waitMax = d
}

// SetLentMax changes LentMax.
func (p *Pool) SetLentMax(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lentMax = d
}

// Acquire waits in line for n bytes of the budget. KindSlowDown if the context ends or the pool's wait limit passes first,
// KindInvalidArgument if n exceeds the budget.
func (p *Pool) Acquire(ctx context.Context, n int64) (*Lease, error) {
	if n < 0 || n > p.budget {
		return nil, engine.E(engine.KindInvalidArgument, "%d bytes of buffers were asked for; the budget has %d, raise it", n, p.budget)
	}
	p.mu.Lock()
	if p.waiting.Len() == 0 && p.held+n <= p.budget {
		p.grant(n)
		p.mu.Unlock()
		return &Lease{pool: p, n: n}, nil
	}
	w := &waiter{n: n, granted: make(chan struct{})}
	place := p.waiting.PushBack(w)
	limit := time.NewTimer(p.waitMax)
	p.mu.Unlock()
	defer limit.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-w.granted:
			return &Lease{pool: p, n: n}, nil
		case <-look.C:
			p.recall(place)
			continue
		case <-ctx.Done():
		case <-limit.C:
		}
		return p.giveUp(place, w)
	}
}

// lent is a loan of a lease.
type lent struct {
	since time.Time
	bytes int64
	cut   func()
}

// Lend says that the lease's memory waits for somebody outside, to fill a buffer or to take what is in it, until back is called. If that
// takes longer than LentMax, and others wait for memory, cut is called once, from another goroutine: it must make the wait end soon.
func (l *Lease) Lend(cut func()) (back func()) {
	p := l.pool
	loan := &lent{since: time.Now(), bytes: l.Bytes(), cut: cut}
	p.mu.Lock()
	place := p.lent.PushBack(loan)
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if loan.cut != nil {
			p.lent.Remove(place)
		}
	}
}

// recall ends loans that last too long, the oldest first, as many as those in line need. Only the first in line does so.
func (p *Pool) recall(place *list.Element) {
	p.mu.Lock()
	if p.waiting.Front() != place {
		p.mu.Unlock()
		return
	}
	needed := int64(0)
	for e := p.waiting.Front(); e != nil && needed < p.budget; e = e.Next() {
		needed += e.Value.(*waiter).n
	}
	var cuts []func()
	for e := p.lent.Front(); e != nil && needed > 0; e = p.lent.Front() {
		loan := e.Value.(*lent)
		if time.Since(loan.since) < p.lentMax {
			break
		}
		p.lent.Remove(e)
		cuts = append(cuts, loan.cut)
		needed -= loan.bytes
		loan.cut = nil
		p.cut++
	}
	p.mu.Unlock()
	for _, cut := range cuts {
		cut()
	}
}

// giveUp leaves the line, unless the grant came at the same moment.
func (p *Pool) giveUp(place *list.Element, w *waiter) (*Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.granted:
		return &Lease{pool: p, n: w.n}, nil
	default:
	}
	p.waiting.Remove(place)
	p.refused++
	p.admit() // the next may be smaller
	return nil, engine.E(engine.KindSlowDown, "%d bytes of buffers were not free in time: %d of %d are in use; repeat later", w.n, p.held, p.budget)
}

// grant counts n bytes. The lock is held.
func (p *Pool) grant(n int64) {
	p.held += n
	p.heldMax = max(p.heldMax, p.held)
	p.acquired++
}

// Busy reports whether more than half of the budget is held: who could do with less then should.
func (p *Pool) Busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held > p.budget/2
}

// admit grants from the head of the line as far as the budget goes. The lock is held.
func (p *Pool) admit() {
	for e := p.waiting.Front(); e != nil; e = p.waiting.Front() {
		w := e.Value.(*waiter)
		if p.held+w.n > p.budget {
			return
		}
		p.waiting.Remove(e)
		p.grant(w.n)
		close(w.granted)
	}
}

func (p *Pool) release(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held -= n
	p.admit()
}

// Stats returns the counters.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Budget: p.budget, Held: p.held, HeldMax: p.heldMax, Waiting: p.waiting.Len(), Acquired: p.acquired, Refused: p.refused, Cut: p.cut}
}

// Lease is a share of the budget. It is safe for concurrent use.
type Lease struct {
	pool *Pool
	mu   sync.Mutex
	n    int64
}

// Release gives all that is left of the lease back. A second call does nothing.
func (l *Lease) Release() { l.Shrink(0) }

// Shrink keeps n bytes and gives the rest back; it never grows.
func (l *Lease) Shrink(n int64) {
	l.mu.Lock()
	back := l.n - max(n, 0)
	if back > 0 {
		l.n -= back
	}
	l.mu.Unlock()
	if back > 0 {
		l.pool.release(back)
	}
}

// Split takes n bytes, at most all, out of the lease into one of its own.
func (l *Lease) Split(n int64) *Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(max(n, 0), l.n)
	l.n -= n
	return &Lease{pool: l.pool, n: n}
}

// Bytes returns what the lease holds.
func (l *Lease) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// Get returns an aligned buffer of size bytes, whose content is arbitrary. Its capacity is the size of its class.
func (p *Pool) Get(size int) []byte {
	c := classOf(size)
	if c < 0 {
		return alignedBytes(size)
	}
	if BytesMin<<c >= carvedMin {
		return p.huge.get(c)[:size]
	}
	if b, ok := p.free[c].Get().(*byte); ok {
		return unsafe.Slice(b, BytesMin<<c)[:size]
	}
	return alignedBytes(BytesMin << c)[:size]
}

// Put gives a buffer of Get back; b may be cut at its end, not at its start. Nobody may use it afterwards.
func (p *Pool) Put(b []byte) {
	n := cap(b)
	if n < BytesMin || n > BytesMax || n&(n-1) != 0 {
		return
	}
	if n >= carvedMin {
		p.huge.put(b)
		return
	}
	p.free[classOf(n)].Put(unsafe.SliceData(b))
}

// Leave is for a buffer of Get that cannot be given back, because a drive that hangs may read or write it at any time: it is not lent again, and
// goes when nothing refers to it.
func (p *Pool) Leave(b []byte) {
	if n := cap(b); n >= carvedMin && n <= BytesMax && n&(n-1) == 0 {
		p.huge.leave(b)
	}
}

// classOf returns the least class that holds size bytes, or -1.
func classOf(size int) int {
	if size > BytesMax {
		return -1
	}
	return max(0, bits.Len(uint(max(size, 1)-1))-12)
}

func alignedBytes(n int) []byte {
	b := make([]byte, n+Align)
	skip := 0
	if r := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % Align); r != 0 {
		skip = Align - r
	}
	return b[skip : skip+n : skip+n]
}
