package extent

import (
	"cmp"
	"context"
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/engine"
	"holdfast/engine/buffer"
	"holdfast/engine/erasure"
)

// blocksAhead is how many blocks of one Read are under way at once.
const blocksAhead = 2

// Source says where an extent is.
type Source struct {
	Stores  Stores
	Pool    *buffer.Pool
	Code    *erasure.Code
	ID      engine.ExtentID
	Size    int64            // data bytes
	Drives  []engine.DriveID // by shard
	Missing uint64           // bit i: shard i is known to be missing or bad somewhere; it is asked only where the others do not suffice
	// Report is told of each shard that is bad, or absent though not in Missing, once a call and never twice at a time. It may be nil.
	Report func(shard int, err error)
	// Latency is shared by the reads of a process. It may be nil: then a shard is slow after 50 ms.
	Latency *Latency
}

// Read fills dst with the data bytes of the extent from off on. It reads what it needs of the data shards, all of them at once; where one is
// missing, bad, or slow (after max(50 ms, 4 × average)) it reads others, and takes whichever k come first. A shard that fails in one unit
// of 64 KiB serves in the others.
//
// KindDamaged if fewer than k shards can be read somewhere, KindCanceled, KindInvalidArgument beyond the extent's end; then dst is
// arbitrary. When Read has returned nothing writes to dst any more.
func Read(ctx context.Context, s Source, off int64, dst []byte) error {
	if err := checkShape(s.Code, s.ID, s.Size, s.Drives); err != nil {
		return err
	}
	if off < 0 || off > s.Size || int64(len(dst)) > s.Size-off {
		return engine.E(engine.KindInvalidArgument, "extent %s has %d bytes: %d at %d exceed it", name(s.ID), s.Size, len(dst), off)
	}
	if len(dst) == 0 {
		return nil
	}
	f := newFetch(&s)
	block := int64(s.Code.Block())
	return inOrder(ctx, off/block, (off+int64(len(dst))-1)/block, func(ctx context.Context, n int64) error {
		return f.block(ctx, n*block, off, dst)
	})
}

// Send is Read without a copy: out is given the data bytes from off on, n of them, in order, in the buffers that the shards were read into, which
// are lent until it returns. The bytes lie in one block. An error of out ends it, and is what it returns. Where shards are bad in some units it takes
// a buffer of n bytes from the pool.
func Send(ctx context.Context, s Source, off, n int64, out func([]byte) error) error {
	if err := checkShape(s.Code, s.ID, s.Size, s.Drives); err != nil {
		return err
	}
	block := int64(s.Code.Block())
	if off < 0 || n < 1 || off > s.Size || n > s.Size-off || off/block != (off+n-1)/block {
		return engine.E(engine.KindInvalidArgument, "extent %s has %d bytes in blocks of %d: %d at %d are not in one", name(s.ID), s.Size, block, n, off)
	}
	var refused error
	f := newFetch(&s)
	p, needs := f.locate(off/block*block, off, n)
	err := newWindow(f, p.ShardOffset, needs).run(ctx, func(_ int, _ span, b []byte) {
		if refused == nil {
			refused = out(b)
		}
	})
	if !engine.Is(err, engine.KindDamaged) {
		return cmp.Or(err, refused)
	}
	b := s.Pool.Get(int(n)) // nothing was given out
	defer s.Pool.Put(b)
	if err := Read(ctx, s, off, b); err != nil {
		return err
	}
	return out(b)
}

// inOrder calls f for first to last, blocksAhead at a time, and returns the first error.
func inOrder(ctx context.Context, first, last int64, f func(context.Context, int64) error) error {
	if first == last {
		return f(ctx, first)
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var running sync.WaitGroup
	var once sync.Once
	var failure error
	for range blocksAhead {
		running.Go(func() {
			for n := first + next.Add(1) - 1; n <= last; n = first + next.Add(1) - 1 {
				if err := f(inner, n); err != nil {
					once.Do(func() { failure = err })
					cancel()
					return
				}
			}
		})
	}
	running.Wait()
	return failure
}

// fetch is one Read or Rebuild.
type fetch struct {
	s      *Source
	barred uint64 // shards that are never asked for

	mu       sync.Mutex
	avoid    uint64 // shards that failed or were slow: asked for last
	reported uint64
}

// newFetch begins with the shards that are known to be missing as the last to be asked, and reports nothing of them: where they still are, each
// unit that passes its checksum is as good as any.
func newFetch(s *Source) *fetch { return &fetch{s: s, avoid: s.Missing, reported: s.Missing} }

// span is a range of a piece, of every shard alike.
type span struct{ lo, hi int }

func (a span) empty() bool        { return a.lo >= a.hi }
func (a span) and(b span) span    { return span{max(a.lo, b.lo), min(a.hi, b.hi)} }
func (a span) covers(b span) bool { return a.lo <= b.lo && b.hi <= a.hi }

// locate returns the block at offset at of the extent, and what of each shard's piece of it n bytes from off of the extent on lie in.
func (f *fetch) locate(at, off, n int64) (p erasure.Place, needs []span) {
	p = f.s.Code.Locate(f.s.Size, at)
	wanted := span{int(max(off-at, 0)), int(min(off+n-at, int64(p.BlockLength)))} // of the block
	needs = make([]span, f.s.Code.Shards())
	for i := range f.s.Code.Data() {
		mine := wanted.and(span{i * p.Piece, (i + 1) * p.Piece})
		if !mine.empty() {
			needs[i] = span{mine.lo - i*p.Piece, mine.hi - i*p.Piece}
		}
	}
	return p, needs
}

// block reads what dst, which begins at off of the extent, has of the block at offset at.
func (f *fetch) block(ctx context.Context, at, off int64, dst []byte) error {
	p, needs := f.locate(at, off, int64(len(dst)))
	return f.pieces(ctx, p.ShardOffset, needs, func(i int, sp span, b []byte) {
		copy(dst[at+int64(i*p.Piece+sp.lo)-off:], b)
	})
}

// pieces gets the needed span of each shard's piece at offset of the shard, and hands them out. If that fails as a whole it goes unit by unit.
func (f *fetch) pieces(ctx context.Context, offset int64, needs []span, out func(int, span, []byte)) error {
	w := newWindow(f, offset, needs)
	err := w.run(ctx, out)
	if !engine.Is(err, engine.KindDamaged) || w.union.lo/unitBytes == (w.union.hi-1)/unitBytes {
		return err
	}
	for lo := w.union.lo / unitBytes * unitBytes; lo < w.union.hi; lo += unitBytes {
		some := make([]span, len(needs))
		for i, n := range needs {
			some[i] = n.and(span{lo, lo + unitBytes})
		}
		if err := newWindow(f, offset, some).run(ctx, out); err != nil {
			return err
		}
	}
	return nil
}

// report tells of a shard that cannot be read.
func (f *fetch) report(i int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.avoid |= 1 << i
	if f.reported&(1<<i) == 0 && f.s.Report != nil {
		f.s.Report(i, err)
	}
	f.reported |= 1 << i
}

func (f *fetch) avoided() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.avoid
}

func (f *fetch) avoidToo(shards uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.avoid |= shards
}

// window reads spans of the pieces of one block. It belongs to one goroutine; only reads run beside it.
type window struct {
	f       *fetch
	offset  int64 // of the pieces in their shards
	needs   []span
	union   span    // of all that is needed: what is read of others to reconstruct
	direct  []*read // by shard: a good read that covers its need
	whole   []*read // by shard: a good read that covers the union
	reads   []*read
	results chan *read
	running int
	needed  uint64
	asked   uint64 // shards asked for the union
	bad     uint64
	slow    uint64
	errs    []error
}

// read is one call of a store. Its buffer is the goroutine's until the state says who has it.
type read struct {
	shard int
	sp    span
	buf   []byte
	began time.Time
	ended bool // its result was seen, or it was given up
	state atomic.Int32
	err   error
}

func newWindow(f *fetch, offset int64, needs []span) *window {
	n := len(needs)
	w := &window{f: f, offset: offset, needs: needs, direct: make([]*read, n), whole: make([]*read, n), results: make(chan *read, 2*n)}
	for i, need := range needs {
		if need.empty() {
			continue
		}
		if w.needed == 0 {
			w.union = need
		}
		w.union = span{min(w.union.lo, need.lo), max(w.union.hi, need.hi)}
		w.needed |= 1 << i
	}
	return w
}

func each(set uint64, f func(i int)) {
	for ; set != 0; set &= set - 1 {
		f(bits.TrailingZeros64(set))
	}
}

func (w *window) run(ctx context.Context, out func(int, span, []byte)) error {
	defer w.release()
	w.slow = w.f.avoided()
	each(w.needed&^w.f.barred&^w.slow, func(i int) { w.start(i, w.needs[i]) })
	hedge := time.NewTimer(w.f.s.Latency.hedge())
	defer hedge.Stop()
	for !w.complete() {
		w.topUp()
		if w.running == 0 {
			return engine.E(engine.KindDamaged, "read extent %s: fewer than %d of %d shards can be read at %d: %w",
				name(w.f.s.ID), w.f.s.Code.Data(), w.f.s.Code.Shards(), w.offset+int64(w.union.lo), errors.Join(w.errs...))
		}
		select {
		case r := <-w.results:
			w.finished(r)
		case <-hedge.C:
			w.late()
			hedge.Reset(w.f.s.Latency.hedge())
		case <-ctx.Done():
			return canceled("read", w.f.s.ID, ctx)
		}
	}
	return w.deliver(out)
}

// complete reports whether every needed span is there, or k spans from which the rest follows.
func (w *window) complete() bool {
	whole, direct := 0, true
	for i := range w.needs {
		if w.whole[i] != nil {
			whole++
		}
		direct = direct && (w.needed&(1<<i) == 0 || w.direct[i] != nil)
	}
	return direct || whole >= w.f.s.Code.Data()
}

// topUp asks other shards, data shards first and slow ones last, if a needed one does not come in good time.
func (w *window) topUp() {
	gone := w.bad | w.slow | w.f.barred
	missing := false
	each(w.needed&gone, func(i int) { missing = missing || w.direct[i] == nil })
	if !missing {
		return
	}
	coming := 0
	each(w.asked, func(i int) {
		if w.whole[i] != nil || gone&(1<<i) == 0 {
			coming++
		}
	})
	all := uint64(1)<<len(w.needs) - 1 // 64 shards: all bits
	for _, set := range []uint64{all &^ gone, all & w.slow &^ w.bad &^ w.f.barred} {
		each(set, func(i int) {
			if coming < w.f.s.Code.Data() && w.asked&(1<<i) == 0 && w.start(i, w.union) {
				coming++
			}
		})
	}
}

// start begins a read, and reports whether it could.
func (w *window) start(i int, sp span) bool {
	if sp.covers(w.union) {
		w.asked |= 1 << i
	}
	store := w.f.s.Stores.Store(w.f.s.Drives[i])
	if store == nil { // the whole drive is away: no news of this shard
		w.bad |= 1 << i
		w.errs = append(w.errs, noStore(w.f.s.Drives[i]))
		w.f.avoidToo(1 << i)
		return false
	}
	r := &read{shard: i, sp: sp, buf: w.f.s.Pool.Get(sp.hi - sp.lo), began: time.Now()}
	id := engine.ShardID{Extent: w.f.s.ID, Index: uint8(i)}
	w.reads = append(w.reads, r)
	w.running++
	go func() {
		r.err = store.ReadShard(id, w.offset+int64(sp.lo), r.buf)
		if r.state.CompareAndSwap(stateRunning, stateReturned) {
			w.results <- r
		} else {
			w.f.s.Pool.Put(r.buf)
		}
	}()
	return true
}

func (w *window) failed(i int, err error) {
	w.bad |= 1 << i
	w.errs = append(w.errs, err)
	w.f.report(i, err)
}

func (w *window) finished(r *read) {
	w.running--
	r.ended = true
	if r.err != nil {
		w.failed(r.shard, r.err)
		return
	}
	w.f.s.Latency.observe(time.Since(r.began))
	w.slow &^= 1 << r.shard
	if r.sp.covers(w.needs[r.shard]) && w.needed&(1<<r.shard) != 0 {
		w.direct[r.shard] = r
	}
	if r.sp.covers(w.union) {
		w.whole[r.shard] = r
	}
}

// late calls those that are still running slow, and gives up those that take longer than anyone may.
func (w *window) late() {
	var slow uint64
	youngest := w.f.s.Latency.hedge() / 2 // what was asked a moment ago is not late
	for _, r := range w.reads {
		if r.ended || time.Since(r.began) < youngest {
			continue
		}
		slow |= 1 << r.shard
		if time.Since(r.began) >= ShardWait && r.state.CompareAndSwap(stateRunning, stateGivenUp) {
			w.running--
			r.ended = true
			w.failed(r.shard, engine.E(engine.KindUnavailable, "drive %d did not answer within %v", w.f.s.Drives[r.shard], ShardWait))
		}
	}
	w.slow |= slow
	w.f.avoidToo(slow)
}

// deliver reconstructs the needed spans that did not come, and hands all out.
func (w *window) deliver(out func(int, span, []byte)) error {
	var rebuilt []int
	pieces, want := make([][]byte, len(w.needs)), make([]bool, len(w.needs))
	for i := range w.needs {
		if w.whole[i] != nil {
			pieces[i] = w.whole[i].buf
		}
		if w.needed&(1<<i) != 0 && w.direct[i] == nil {
			want[i] = true
			rebuilt = append(rebuilt, i)
			pieces[i] = w.f.s.Pool.Get(w.union.hi - w.union.lo)[:0]
		}
	}
	defer func() {
		for _, i := range rebuilt {
			w.f.s.Pool.Put(pieces[i])
		}
	}()
	if len(rebuilt) > 0 {
		if err := w.f.s.Code.Reconstruct(pieces, want); err != nil {
			return err
		}
	}
	each(w.needed, func(i int) {
		need := w.needs[i]
		if r := w.direct[i]; r != nil {
			out(i, need, r.buf[need.lo-r.sp.lo:need.hi-r.sp.lo])
			return
		}
		out(i, need, pieces[i][need.lo-w.union.lo:need.hi-w.union.lo])
	})
	return nil
}

// release gives the buffers back, those of reads that still run by way of their goroutines.
func (w *window) release() {
	for _, r := range w.reads {
		if !r.state.CompareAndSwap(stateRunning, stateGivenUp) && r.state.Load() == stateReturned {
			w.f.s.Pool.Put(r.buf)
		}
	}
}
