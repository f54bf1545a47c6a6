package extent

import (
	"context"
	"fmt"
	"sync"

	"holdfast/engine"
	"holdfast/engine/erasure"
)

// Writer writes one extent, block after block. It has one user at a time.
type Writer struct {
	Config
	shards  []shardState
	written int64
	parity  []byte // memory of the parity pieces
	done    bool
}

// shardState is a shard under way; err says why it failed.
type shardState struct {
	drive  engine.DriveID
	writer ShardWriter
	err    error
	unit   int // units written
}

// NewWriter reserves room on the drives. A drive that has none, or is not at hand, fails its shard alone; the error is for a malformed
// Config.
func NewWriter(_ context.Context, c Config) (*Writer, error) {
	if c.Size <= 0 || c.Size > engine.ExtentBytesMax || len(c.Drives) != c.Code.Shards() {
		return nil, engine.E(engine.KindInternal, "an extent of %d bytes on %d drives", c.Size, len(c.Drives))
	}
	w := &Writer{Config: c, shards: make([]shardState, len(c.Drives))}
	for i, drive := range c.Drives {
		s := &w.shards[i]
		s.drive = drive
		s.writer, s.err = w.create(i, drive)
	}
	return w, nil
}

func (w *Writer) create(i int, drive engine.DriveID) (ShardWriter, error) {
	store := w.Stores.Store(drive)
	if store == nil {
		return nil, fmt.Errorf("drive %d is not at hand", drive)
	}
	return store.CreateShard(engine.ShardID{Extent: w.ID, Index: uint8(i)}, w.Code.ShardBytes(w.Size))
}

// Write encodes a block and writes its pieces, all at once; when it returns the block may be used again. Every block but the last has
// Code.Block() bytes, and block has the capacity of a full one: what follows a short one is overwritten. A shard that fails is left out
// from then on; Write itself fails when fewer than k are left.
func (w *Writer) Write(block []byte) error {
	full := w.Code.Block()
	if len(block) == 0 || w.written+int64(len(block)) > w.Size || len(block) < full && w.written+int64(len(block)) != w.Size || cap(block) < full {
		return engine.E(engine.KindInternal, "a block of %d bytes at %d of an extent of %d", len(block), w.written, w.Size)
	}
	pieces, err := w.encode(block)
	if err != nil {
		return err
	}
	w.each(func(i int, s *shardState) error {
		id := engine.ShardID{Extent: w.ID, Index: uint8(i)}
		sums := erasure.Sums(nil, id, s.unit, pieces[i])
		s.unit += len(sums)
		return s.writer.Write(pieces[i], sums)
	})
	w.written += int64(len(block))
	if live := w.live(); live < w.Code.Data() {
		return engine.E(engine.KindUnavailable, "only %d of the %d shards of an extent can be written: %w", live, len(w.shards), w.firstError())
	}
	return nil
}

func (w *Writer) encode(block []byte) ([][]byte, error) {
	length := w.Code.PieceOf(len(block))
	pieces, err := w.Code.Split(block[:cap(block)], len(block))
	if err != nil {
		return nil, err
	}
	if w.Code.Parity() > 0 && w.parity == nil {
		w.parity = w.Pool.Get(w.Code.Parity() * w.Code.Piece())
	}
	for i := range w.Code.Parity() {
		begin := i * w.Code.Piece()
		pieces = append(pieces, w.parity[begin:begin+length])
	}
	return pieces, w.Code.Encode(pieces)
}

// each calls f for every live shard at once, waits, and marks those that fail.
func (w *Writer) each(f func(i int, s *shardState) error) {
	var wg sync.WaitGroup
	for i := range w.shards {
		s := &w.shards[i]
		if s.err != nil {
			continue
		}
		wg.Go(func() { s.err = f(i, s) })
	}
	wg.Wait()
}

func (w *Writer) live() int {
	n := 0
	for i := range w.shards {
		if w.shards[i].err == nil {
			n++
		}
	}
	return n
}

func (w *Writer) firstError() error {
	for i := range w.shards {
		if w.shards[i].err != nil {
			return w.shards[i].err
		}
	}
	return nil
}

// Commit makes the shards durable. A shard that failed is made again on a spare drive from the others; without one it may be missing if its
// drive is out. KindUnavailable if another is missing, or too few are left: then nothing of the extent may be used, and the caller gives
// it up.
func (w *Writer) Commit(ctx context.Context) (Result, error) {
	defer w.finish()
	if w.written != w.Size {
		return Result{}, engine.E(engine.KindInternal, "an extent of %d bytes got %d", w.Size, w.written)
	}
	w.each(func(_ int, s *shardState) error { return s.writer.Commit(ctx) })
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	result := Result{Drives: make([]engine.DriveID, len(w.shards))}
	for i := range w.shards {
		s := &w.shards[i]
		if s.err != nil {
			if s.writer != nil {
				s.writer.Abort()
			}
			w.remake(ctx, i)
		}
		result.Drives[i] = s.drive
		if s.err == nil {
			continue
		}
		if !w.Out(s.drive) {
			return Result{}, engine.E(engine.KindUnavailable, "a shard cannot be written, and its drive %d is not out: %w", s.drive, s.err)
		}
		result.Missing |= 1 << i
	}
	if live, floor := w.live(), floor(w.Code); live < floor {
		return Result{}, engine.E(engine.KindUnavailable, "only %d shards of an extent are written and %d are needed: %w", live, floor, w.firstError())
	}
	return result, nil
}

// floor is the least number of shards with which a write may be acknowledged, see meta.AcknowledgeFloor.
func floor(c *erasure.Code) int {
	if c.Parity() == 0 {
		return c.Data()
	}
	return max(c.Data()+1, c.Data()+(c.Parity()+1)/2)
}

// remake makes a failed shard on a spare drive, from the committed ones.
func (w *Writer) remake(ctx context.Context, i int) {
	source := Source{Stores: w.Stores, Pool: w.Pool, Code: w.Code, ID: w.ID, Size: w.Size, Drives: make([]engine.DriveID, len(w.shards))}
	for j := range w.shards {
		source.Drives[j] = w.shards[j].drive
		if w.shards[j].err != nil {
			source.Missing |= 1 << j
		}
	}
	drive, ok := w.Spare(source.Drives)
	if !ok {
		return
	}
	store := w.Stores.Store(drive)
	if store == nil {
		return
	}
	if err := Rebuild(ctx, source, i, store); err == nil {
		w.shards[i] = shardState{drive: drive}
	}
}

// Abort gives the room of uncommitted shards back. Committed ones stay until the caller deletes them.
func (w *Writer) Abort() { w.finish() }

func (w *Writer) finish() {
	if w.done {
		return
	}
	w.done = true
	for i := range w.shards {
		if s := &w.shards[i]; s.writer != nil {
			s.writer.Abort()
		}
	}
	if w.parity != nil {
		w.Pool.Put(w.parity)
		w.parity = nil
	}
}
