package extent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/engine"
	"holdfast/engine/buffer"
	"holdfast/engine/erasure"
	"holdfast/engine/meta"
)

// Config says what a Writer writes, and where.
type Config struct {
	Stores Stores
	Pool   *buffer.Pool // buffers for parity
	Code   *erasure.Code
	ID     engine.ExtentID
	Size   int64            // data bytes, exactly, unless Shorten says fewer
	Drives []engine.DriveID // one for each of the k+m shards, all different
	// Spare names a drive for a shard that failed, not one of exclude, or none. It may be nil: none. It is called by the caller's goroutine.
	Spare func(exclude []engine.DriveID) (engine.DriveID, bool)
	// Out says whether the cluster map has put the drive out, so that its shard may be missing. It may be nil: no drive is out.
	Out func(engine.DriveID) bool
}

// Result says where the shards of a committed extent are.
type Result struct {
	Drives  []engine.DriveID // by shard; those of missing shards are drives that are out
	Missing uint64           // bit i: shard i was not written
}

// Writer writes one extent. It has one user, who ends with Commit, and with Abort where that is not reached or fails.
type Writer struct {
	ctx     context.Context
	c       Config
	shards  []*shard         // by index
	made    []*shard         // every shard that was begun, also those that were replaced
	tried   []engine.DriveID // drives that are no spares
	written int64            // data bytes given to Write
	pending *step            // the step whose answers are not all in
	parity  [][]byte
	padded  []byte // copy of a last block whose own memory has no room for its padding
	stuck   bool
	ended   bool
	err     error // why there is no use in going on
}

// shard is one shard on one drive. While a step runs it belongs to its goroutine, and if it was given up, for ever.
type shard struct {
	index  int
	drive  engine.DriveID
	id     engine.ShardID
	store  ShardStore
	writer ShardWriter
	sums   []uint64
	state  atomic.Int32

	// The Writer's own:
	err    error // why it is not, or will not be, there
	stuck  bool  // it was given up in the middle of a call
	ending bool  // Commit was called
}

// step is one call for each of several shards, all at once.
type step struct {
	began   time.Time
	results chan stepResult
	left    []*shard
	good    int
}

type stepResult struct {
	s   *shard
	err error
}

// NewWriter begins an extent: it makes all shards, on spare drives where one cannot be made. ctx governs NewWriter and Write.
// KindUnavailable if too few shards can be made for an acknowledgement, KindDriveFull if that is for want of room alone, KindInvalidArgument.
func NewWriter(ctx context.Context, c Config) (*Writer, error) {
	w, err := newWriter(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := w.create(); err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

func newWriter(ctx context.Context, c Config) (*Writer, error) {
	if err := checkShape(c.Code, c.ID, c.Size, c.Drives); err != nil {
		return nil, err
	}
	w := &Writer{ctx: ctx, c: c, shards: make([]*shard, len(c.Drives)), parity: make([][]byte, c.Code.Parity())}
	for i, d := range c.Drives {
		if slices.Contains(w.tried, d) {
			return nil, engine.E(engine.KindInvalidArgument, "extent %s: drive %d was named for two shards", name(c.ID), d)
		}
		w.shards[i] = w.place(i, d)
	}
	return w, nil
}

// WriteWhole writes an extent of one block and makes it durable: what NewWriter, Write and Commit do, in one step, so that the drives wait for each other
// once. Block has Config.Size bytes, at most Code.Block; memory and errors are as for Write and Commit. Shards that cannot be made, written or
// committed are made anew on spare drives, from the others. After an error nothing is left to abort. Stuck is as Writer.Stuck says.
func WriteWhole(ctx context.Context, c Config, block []byte) (r Result, stuck bool, err error) {
	w, err := newWriter(ctx, c)
	if err != nil {
		return r, false, err
	}
	if int64(len(block)) != c.Size || c.Size > int64(c.Code.Block()) {
		return r, false, engine.E(engine.KindInvalidArgument, "extent %s: %d bytes for one of %d; a block has %d", name(c.ID), len(block), c.Size, c.Code.Block())
	}
	if r, err = w.whole(ctx, block); err != nil {
		w.err = err
		w.Abort()
	}
	return r, w.stuck, err
}

func (w *Writer) whole(ctx context.Context, block []byte) (Result, error) {
	pieces, err := w.encode(block)
	if err != nil {
		return Result{}, err
	}
	w.written = w.c.Size
	bytes := w.c.Code.ShardBytes(w.c.Size)
	if err := w.finally(ctx, func(ctx context.Context, s *shard) error { return s.whole(ctx, bytes, pieces[s.index]) }); err != nil {
		return Result{}, err
	}
	return w.conclude(ctx)
}

// whole makes, writes and commits a shard. What was given up meanwhile is not committed any more.
func (s *shard) whole(ctx context.Context, bytes int64, piece []byte) error {
	writer, err := s.store.NewShard(s.id, bytes)
	if err != nil {
		return err
	}
	s.sums = erasure.Sums(s.sums[:0], s.id, 0, piece)
	if err := writer.Write(piece, s.sums); err != nil {
		writer.Abort()
		return err
	}
	if s.state.Load() != stateRunning {
		writer.Abort()
		return errGivenUp
	}
	return writer.Commit(ctx)
}

// errGivenUp is read by nobody: the Writer does not wait for the shard any more.
var errGivenUp = errors.New("the shard was given up")

// place begins shard i anew, on a drive.
func (w *Writer) place(i int, drive engine.DriveID) *shard {
	s := &shard{index: i, drive: drive, id: engine.ShardID{Extent: w.c.ID, Index: uint8(i)}, store: w.c.Stores.Store(drive)}
	if s.store == nil {
		s.err = noStore(drive)
	}
	w.made = append(w.made, s)
	w.tried = append(w.tried, drive)
	return s
}

func (w *Writer) create() error {
	bytes := w.c.Code.ShardBytes(w.c.Size)
	fresh := slices.Clone(w.shards)
	for len(fresh) > 0 {
		w.begin(fresh, func(s *shard) error {
			writer, err := s.store.NewShard(s.id, bytes)
			if err == nil {
				s.writer = writer
			}
			return err
		})
		if err := w.await(w.ctx); err != nil {
			return err
		}
		fresh = fresh[:0]
		for i, s := range w.shards {
			if s.err == nil {
				continue
			}
			if drive, ok := w.spare(); ok {
				w.shards[i] = w.place(i, drive)
				fresh = append(fresh, w.shards[i])
			}
		}
	}
	return w.enough()
}

func (w *Writer) spare() (engine.DriveID, bool) {
	if w.c.Spare == nil {
		return 0, false
	}
	drive, ok := w.c.Spare(slices.Clone(w.tried))
	return drive, ok && !slices.Contains(w.tried, drive)
}

// Write encodes block and hands it to the shards. It takes exactly Code.Block bytes, or the rest of the extent if that is less. The
// memory behind the end of a last block, up to k times its piece, is cleared if the block has the capacity; else the block is copied.
//
// Write returns while the shards are being written: block must not be changed until the next Write, Flush or Commit has succeeded, or Abort
// has returned; so two blocks in turn keep reader and shards busy. Writing is quickest with memory that is aligned to 4096 bytes.
//
// An error is of an earlier block or of the context, and final: KindUnavailable, KindDriveFull, KindCanceled, KindInvalidArgument.
func (w *Writer) Write(block []byte) error {
	if err := w.Flush(); err != nil {
		return err
	}
	if want := min(int64(w.c.Code.Block()), w.c.Size-w.written); w.ended || want == 0 || int64(len(block)) != want {
		return w.fail(engine.E(engine.KindInvalidArgument, "extent %s: a block of %d bytes after %d of %d, %d were expected", name(w.c.ID), len(block), w.written, w.c.Size, want))
	}
	pieces, err := w.encode(block)
	if err != nil {
		return w.fail(err)
	}
	first := int(w.written / int64(w.c.Code.Block()) * int64(w.c.Code.Piece()) / unitBytes)
	w.written += int64(len(block))
	w.begin(w.shards, func(s *shard) error {
		s.sums = erasure.Sums(s.sums[:0], s.id, first, pieces[s.index])
		return s.writer.Write(pieces[s.index], s.sums)
	})
	return nil
}

// Shorten says that the extent will have fewer bytes than Config.Size: what was given to Write, and a last block if something more is to come.
// KindInvalidArgument for more than Config.Size, nothing, or less than was given.
func (w *Writer) Shorten(size int64) error {
	if size < max(w.written, 1) || size > w.c.Size || w.ended {
		return w.fail(engine.E(engine.KindInvalidArgument, "extent %s: %d bytes after %d of %d", name(w.c.ID), size, w.written, w.c.Size))
	}
	w.c.Size = size
	return nil
}

func (w *Writer) encode(block []byte) ([][]byte, error) {
	code, length := w.c.Code, len(block)
	piece := code.PieceOf(length)
	room := block[:cap(block)]
	if len(room) < code.Data()*piece {
		w.padded = w.c.Pool.Get(code.Data() * piece)
		copy(w.padded, block)
		room = w.padded
	}
	pieces, err := code.Split(room, length)
	if err != nil {
		return nil, engine.E(engine.KindInternal, "extent %s: %w", name(w.c.ID), err)
	}
	for i, p := range w.parity {
		if p == nil {
			p = w.c.Pool.Get(piece)
		}
		w.parity[i] = p[:piece]
		pieces = append(pieces, w.parity[i])
	}
	return pieces, code.Encode(pieces)
}

// Flush waits until the shards have the blocks that were handed over; nothing is durable by that. Errors as for Write.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	if err := w.await(w.ctx); err != nil {
		return w.fail(err)
	}
	if len(w.shards)-len(w.failed()) < w.c.Code.Data() {
		return w.fail(w.tooFew())
	}
	return nil
}

// Stuck reports whether a shard was given up in the middle of a call. Then its store may read blocks that were handed over for as long as it
// hangs. What it makes of them is never committed, but their memory is better left to the garbage collector than lent again.
func (w *Writer) Stuck() bool { return w.stuck }

func (w *Writer) fail(err error) error {
	w.err = err
	return err
}

// begin calls op for each of the shards that is in order. There is no other step under way.
func (w *Writer) begin(shards []*shard, op func(*shard) error) {
	st := &step{began: time.Now(), results: make(chan stepResult, len(shards))}
	for _, s := range shards {
		if s.err != nil {
			continue
		}
		st.left = append(st.left, s)
		s.state.Store(stateRunning)
		go func() {
			err := op(s)
			if s.state.CompareAndSwap(stateRunning, stateReturned) {
				st.results <- stepResult{s, err}
			} else if s.writer != nil {
				s.writer.Abort()
			}
		}()
	}
	w.pending = st
}

// await ends the step that is under way. It errs if ctx ends, and then the step goes on.
func (w *Writer) await(ctx context.Context) error {
	st := w.pending
	if st == nil {
		return nil
	}
	tick := time.NewTicker(stepTick)
	defer tick.Stop()
	for len(st.left) > 0 {
		select {
		case r := <-st.results:
			w.returned(st, r)
		case <-tick.C:
			w.giveUpLate(st)
		case <-ctx.Done():
			return canceled("write", w.c.ID, ctx)
		}
	}
	w.pending = nil
	if w.padded != nil {
		w.giveBack(w.padded, w.stuck)
		w.padded = nil
	}
	return nil
}

func (w *Writer) returned(st *step, r stepResult) {
	st.left = slices.DeleteFunc(st.left, func(s *shard) bool { return s == r.s })
	if r.err == nil {
		st.good++
		return
	}
	r.s.err = r.err
	if r.s.writer != nil && !r.s.ending {
		r.s.writer.Abort()
	}
}

// giveUpLate gives up shards that take longer than the others may be kept waiting.
func (w *Writer) giveUpLate(st *step) {
	took := time.Since(st.began)
	if st.good < w.c.Code.Data() && took < stallMax {
		return
	}
	for _, s := range slices.Clone(st.left) {
		if took < ShardWait && !w.out(s.drive) || !s.state.CompareAndSwap(stateRunning, stateGivenUp) {
			continue
		}
		s.err = engine.E(engine.KindUnavailable, "drive %d did not answer within %v", s.drive, took.Round(time.Millisecond))
		s.stuck, w.stuck = true, true
		if i := s.index - w.c.Code.Data(); i >= 0 {
			w.c.Pool.Leave(w.parity[i]) // the store may still read it
			w.parity[i] = nil
		}
		st.left = slices.DeleteFunc(st.left, func(o *shard) bool { return o == s })
	}
}

func (w *Writer) out(drive engine.DriveID) bool { return w.c.Out != nil && w.c.Out(drive) }

func (w *Writer) failed() (failed []*shard) {
	for _, s := range w.shards {
		if s.err != nil {
			failed = append(failed, s)
		}
	}
	return failed
}

// enough says whether what is there suffices for an acknowledgement.
func (w *Writer) enough() error {
	failed := w.failed()
	floor := meta.AcknowledgeFloor(engine.Redundancy{Data: w.c.Code.Data(), Parity: w.c.Code.Parity()})
	allowed := len(w.shards)-len(failed) >= floor
	for _, s := range failed {
		allowed = allowed && w.out(s.drive)
	}
	if !allowed {
		return w.tooFew()
	}
	return nil
}

func (w *Writer) tooFew() error {
	failed := w.failed()
	kind := engine.KindDriveFull
	var causes []error
	for _, s := range failed {
		causes = append(causes, s.err)
		if !engine.Is(s.err, engine.KindDriveFull) {
			kind = engine.KindUnavailable
		}
	}
	return engine.E(kind, "write extent %s: %d of %d shards failed and no spare drive took them: %w", name(w.c.ID), len(failed), len(w.shards), errors.Join(causes...))
}

// Commit makes the extent durable: it commits all shards at once, and makes those that failed anew on spare drives, from the others. A
// shard may be missing only where no spare is left, its drive is out, and the floor is kept; else KindUnavailable (KindDriveFull if all
// that failed are full). After an error call Abort.
//
// A shard that was replaced may later appear on its first drive all the same; the sweep of the writer's epoch removes it.
func (w *Writer) Commit(ctx context.Context) (Result, error) {
	if err := w.Flush(); err != nil {
		return Result{}, err
	}
	if w.ended || w.written != w.c.Size {
		return Result{}, w.fail(engine.E(engine.KindInvalidArgument, "extent %s: commit after %d of %d bytes, or a second time", name(w.c.ID), w.written, w.c.Size))
	}
	if err := w.finally(ctx, func(ctx context.Context, s *shard) error { return s.writer.Commit(ctx) }); err != nil {
		return Result{}, w.fail(err)
	}
	return w.conclude(ctx)
}

// conclude makes the shards that are not there anew, and ends the writing if those that are there then are enough.
func (w *Writer) conclude(ctx context.Context) (Result, error) {
	if err := w.remake(ctx); err != nil {
		return Result{}, w.fail(err)
	}
	if err := w.enough(); err != nil {
		return Result{}, w.fail(err)
	}
	w.end()
	return w.result(), nil
}

func (w *Writer) result() Result {
	var r Result
	for i, s := range w.shards {
		r.Drives = append(r.Drives, s.drive)
		if s.err != nil {
			r.Missing |= 1 << i
		}
	}
	return r
}

// finally takes the last step of all shards, after which they may be durable.
func (w *Writer) finally(ctx context.Context, op func(context.Context, *shard) error) error {
	for _, s := range w.shards {
		s.ending = s.err == nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what was given up need not go on
	w.begin(w.shards, func(s *shard) error { return op(ctx, s) })
	return w.await(ctx)
}

// remake makes the failed shards anew. A shard that proves unreadable meanwhile becomes one of them.
func (w *Writer) remake(ctx context.Context) error {
	for {
		failed := w.failed()
		if len(w.shards)-len(failed) < w.c.Code.Data() {
			return w.tooFew()
		}
		if len(failed) == 0 {
			return nil
		}
		drive, ok := w.spare()
		if !ok {
			return nil
		}
		if err := w.remakeOn(ctx, failed[0].index, drive); err != nil {
			return err
		}
	}
}

// remakeOn makes shard i on drive. That the drive fails is no error: the shard stays a failed one.
func (w *Writer) remakeOn(ctx context.Context, i int, drive engine.DriveID) error {
	s := w.place(i, drive)
	if s.err != nil {
		return nil
	}
	s.ending = true
	at := w.result()
	src := Source{Stores: w.c.Stores, Pool: w.c.Pool, Code: w.c.Code, ID: w.c.ID, Size: w.c.Size, Drives: at.Drives, Missing: at.Missing,
		Report: func(j int, err error) { w.shards[j].err = err }}
	targetFailed, err := rebuild(ctx, &src, i, s.store)
	if err == nil {
		w.shards[i] = s
		return nil
	}
	s.err = err
	if targetFailed && ctx.Err() == nil {
		return nil
	}
	return err
}

// Abort gives up an extent that was not committed, and deletes what Commit, if it failed, has left of it; what cannot be reached is left to the
// sweep. It waits for what is under way, each call at most ShardWait. After a successful Commit, or a second time, it does nothing.
func (w *Writer) Abort() {
	if w.ended {
		return
	}
	if w.err == nil {
		w.err = engine.E(engine.KindCanceled, "extent %s was given up", name(w.c.ID))
	}
	w.drain()
	ctx, cancel := context.WithTimeout(context.Background(), ShardWait)
	defer cancel()
	var waiting sync.WaitGroup
	for _, s := range w.made {
		switch {
		case s.stuck || s.store == nil:
		case s.ending:
			waiting.Go(func() {
				// A drive that cannot delete keeps the shard until the sweep.
				_ = Within(ctx, func() error { return s.store.DeleteShards(ctx, []engine.ShardID{s.id}) }, func() {})
			})
		case s.err == nil && s.writer != nil:
			s.writer.Abort()
		}
	}
	waiting.Wait()
	w.end()
}

// drain ends the step that is under way, come what may.
func (w *Writer) drain() {
	if w.pending == nil {
		return
	}
	limit := time.After(ShardWait)
	for len(w.pending.left) > 0 {
		select {
		case r := <-w.pending.results:
			w.returned(w.pending, r)
		case <-limit:
			w.pending.good, w.pending.began = w.c.Code.Data(), time.Time{} // whoever is still there is late
			w.giveUpLate(w.pending)
			limit = nil // who is left now has returned, and its result comes
		}
	}
	w.pending = nil
}

func (w *Writer) end() {
	w.ended = true
	for i, p := range w.parity {
		w.giveBack(p, false)
		w.parity[i] = nil
	}
	if w.padded != nil {
		w.giveBack(w.padded, w.stuck)
		w.padded = nil
	}
}

func (w *Writer) giveBack(b []byte, used bool) {
	switch {
	case b == nil:
	case used:
		w.c.Pool.Leave(b)
	default:
		w.c.Pool.Put(b)
	}
}
