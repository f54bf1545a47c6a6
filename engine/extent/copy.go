package extent

import (
	"context"

	"holdfast/engine"
)

// Copy brings shard index from one store to another and commits it there, where it replaces a shard of that id that is there. Every byte that it writes
// has passed the check of the store that it was read from. It holds a piece of one block at most.
//
// SourceFailed says that it was the source that could not give the shard: Rebuild makes it from others. KindDriveFull and KindUnavailable are the
// target's, the latter also if it does not answer within ShardWait; KindCanceled, and then the shard may appear on target all the same.
func Copy(ctx context.Context, s Source, index int, source, target ShardStore) (sourceFailed bool, err error) {
	if err := checkShape(s.Code, s.ID, s.Size, s.Drives); err != nil {
		return false, err
	}
	if index < 0 || index >= s.Code.Shards() || source == nil || target == nil {
		return false, engine.E(engine.KindInvalidArgument, "extent %s has no shard %d, or there is no drive to copy it from or to", name(s.ID), index)
	}
	r := &rebuilding{ctx: ctx, s: &s, id: engine.ShardID{Extent: s.ID, Index: uint8(index)}, what: "copy"}
	filled, err := r.run(target, func(at int64) error { return r.read(at, source) })
	return !filled && ctx.Err() == nil, err
}

// read fills the piece of the block at offset at from a store that has the shard.
func (r *rebuilding) read(at int64, source ShardStore) error {
	p := r.s.Code.Locate(r.s.Size, at)
	r.piece = r.piece[:p.Piece]
	err := Within(r.ctx, func() error { return source.ReadShard(r.id, p.ShardOffset, r.piece) }, func() {})
	r.hung = GivenUp(err)
	return err
}
