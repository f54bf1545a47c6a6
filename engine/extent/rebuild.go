package extent

import (
	"context"
	"errors"

	"holdfast/engine"
	"holdfast/engine/erasure"
)

// Rebuild makes shard index, of data or parity, from k others and commits it onto target, which replaces a shard of that id that is there. It
// never reads the shard that it makes. It holds k+m pieces of one block at most.
//
// KindDamaged if fewer than k others can be read somewhere, else the error of target: KindDriveFull, KindUnavailable also if target does
// not answer within ShardWait; KindCanceled, and then the shard may appear on target all the same.
func Rebuild(ctx context.Context, s Source, index int, target ShardStore) error {
	if err := checkShape(s.Code, s.ID, s.Size, s.Drives); err != nil {
		return err
	}
	if index < 0 || index >= s.Code.Shards() || target == nil {
		return engine.E(engine.KindInvalidArgument, "extent %s has no shard %d, or there is no drive to rebuild it on", name(s.ID), index)
	}
	_, err := rebuild(ctx, &s, index, target)
	return err
}

// rebuild says too whether it was the target that failed.
func rebuild(ctx context.Context, s *Source, index int, target ShardStore) (targetFailed bool, err error) {
	r := &rebuilding{ctx: ctx, s: s, id: engine.ShardID{Extent: s.ID, Index: uint8(index)}, what: "rebuild"}
	f := newFetch(s)
	f.barred = 1 << index
	filled, err := r.run(target, func(at int64) error { return r.reconstruct(f, at) })
	return filled && err != nil, err
}

// rebuilding is one shard on its way to a target.
type rebuilding struct {
	ctx    context.Context
	s      *Source
	id     engine.ShardID
	writer ShardWriter
	piece  []byte
	sums   []uint64
	hung   bool   // a store may still use piece
	what   string // is done, for errors
}

// run creates the shard, has fill put one block's piece after the other into piece, writes them and commits. With an error, filled says that it was the
// target's.
func (r *rebuilding) run(target ShardStore, fill func(at int64) error) (filled bool, err error) {
	if err := r.create(target); err != nil {
		return true, r.explain(err)
	}
	block := int64(r.s.Code.Block())
	r.piece = r.s.Pool.Get(r.s.Code.PieceOf(int(min(r.s.Size, block))))
	defer func() {
		if r.hung {
			r.s.Pool.Leave(r.piece)
		} else {
			r.s.Pool.Put(r.piece)
		}
	}()
	for at := int64(0); at < r.s.Size; at += block {
		if err := fill(at); err != nil {
			r.writer.Abort()
			return false, r.explain(err)
		}
		if err := r.write(at); err != nil {
			return true, r.explain(err)
		}
	}
	return true, r.explain(Within(r.ctx, func() error { return r.writer.Commit(r.ctx) }, func() {}))
}

func (r *rebuilding) create(target ShardStore) error {
	var made ShardWriter
	err := Within(r.ctx, func() (err error) {
		made, err = target.CreateShard(r.id, r.s.Code.ShardBytes(r.s.Size))
		if err != nil {
			made = nil
		}
		return err
	}, func() {
		if made != nil {
			made.Abort()
		}
	})
	if err == nil {
		r.writer = made
	}
	return err
}

// reconstruct makes the piece of the block at offset at.
func (r *rebuilding) reconstruct(f *fetch, at int64) error {
	p := r.s.Code.Locate(r.s.Size, at)
	r.piece = r.piece[:p.Piece]
	needs := make([]span, r.s.Code.Shards())
	needs[r.id.Index] = span{0, p.Piece}
	return f.pieces(r.ctx, p.ShardOffset, needs, func(_ int, sp span, b []byte) { copy(r.piece[sp.lo:], b) })
}

// write appends the piece, and aborts the shard if that fails.
func (r *rebuilding) write(at int64) error {
	p := r.s.Code.Locate(r.s.Size, at)
	r.sums = erasure.Sums(r.sums[:0], r.id, int(p.ShardOffset/unitBytes), r.piece)
	err := Within(r.ctx, func() error { return r.writer.Write(r.piece, r.sums) }, r.writer.Abort)
	var h *hung
	if r.hung = errors.As(err, &h); err != nil && !r.hung {
		r.writer.Abort()
	}
	return err
}

func (r *rebuilding) explain(err error) error {
	if err == nil {
		return nil
	}
	return engine.E(engine.KindOf(err), "%s shard %d of extent %s: %w", r.what, r.id.Index, name(r.s.ID), err)
}
