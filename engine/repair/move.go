package repair

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"holdfast/engine"
	"holdfast/engine/extent"
	"holdfast/engine/meta"
	"holdfast/observe"
)

// The moving of shards off drives that leave. It has turns of its own between those of the other keepers, short ones, so that a drive of any size keeps
// neither repair nor collection waiting; and it is paced by bytes, so that clients keep most of the drives.

// moveRate is how many bytes are moved in a second, unless Config says otherwise.
const moveRate = 64 << 20

// moveRest is how long the mover rests at most while there is something to move, and the most work that it makes up for at once.
const moveRest = time.Second

var stepMove = observe.NewStep("repair: a shard moves off a drive that leaves")

// pacer says how many bytes may be moved now. What one move is too large for is taken from the time after it.
type pacer struct {
	rate   int64 // bytes in a second
	credit atomic.Int64
	at     time.Time // of the last refill; the keeper's own
}

func (p *pacer) refill(now time.Time) {
	if p.at.IsZero() {
		p.at = now.Add(-moveRest)
	}
	earned := int64(float64(p.rate) * min(now.Sub(p.at), moveRest).Seconds())
	p.at = now
	p.credit.Store(min(p.credit.Load()+earned, p.rate))
}

// wait returns how long it takes until there is credit again.
func (p *pacer) wait() time.Duration {
	debt := -p.credit.Load()
	if debt < 0 {
		return 0
	}
	return min(time.Duration(float64(debt)/float64(p.rate)*float64(time.Second))+time.Millisecond, moveRest)
}

// move moves shards off drives that leave while there is credit; after is when it is worth to go on, 0 when nothing is left that can be moved now.
func (k *Keeper) move(ctx context.Context) (after time.Duration, err error) {
	k.pacer.refill(time.Now())
	for _, drive := range k.config.Drives.Leaving() {
		if k.config.Drives.Out(drive) || k.config.Drives.Store(drive) == nil {
			continue // repairAway makes its shards from others
		}
		more, err := k.moveOff(ctx, drive)
		if err != nil || more {
			return max(k.pacer.wait(), time.Millisecond), err
		}
	}
	return 0, nil
}

// moveOff moves shards off one drive; more says that it ended for want of credit.
func (k *Keeper) moveOff(ctx context.Context, drive engine.DriveID) (more bool, err error) {
	var last engine.ExtentID
	for {
		view, err := k.view(ctx)
		if err != nil {
			return false, err
		}
		ids, err := meta.ListPlaced(view, drive, last, repairBatch)
		extents := k.load(view, ids)
		_ = view.Close() // a snapshot that was only read
		if err != nil || len(ids) == 0 {
			return false, err
		}
		last = ids[len(ids)-1]
		var spent atomic.Bool
		each(ctx, repairWorkers, extents, func(x *meta.Extent) bool {
			if k.pacer.credit.Load() <= 0 {
				spent.Store(true)
				return false
			}
			for i, d := range x.Drives {
				if d == drive && x.Missing&(1<<i) == 0 {
					return k.moveShard(ctx, x, i)
				}
			}
			return false
		})
		if spent.Load() || ctx.Err() != nil {
			return spent.Load(), ctx.Err()
		}
	}
}

// moveShard copies a shard to another drive and commits the move. A shard that its drive cannot give is made from the others; one for which there is no
// drive, because its extent has more shards than drives stay, has its extent written anew in the code of its class.
func (k *Keeper) moveShard(ctx context.Context, x *meta.Extent, i int) bool {
	defer stepMove.Enter().Leave()
	from := x.Drives[i]
	to, ok := k.config.Drives.Successor(from, x.Drives)
	if !ok {
		return k.narrow(ctx, x)
	}
	source, target := k.config.Drives.Store(from), k.config.Drives.Store(to)
	if source == nil || target == nil {
		return false
	}
	described, err := k.config.Source(x)
	if err != nil {
		return false
	}
	bytes := described.Code.ShardBytes(x.Size)
	k.pacer.credit.Add(-bytes)
	sourceFailed, err := extent.Copy(ctx, described, i, source, target)
	if sourceFailed {
		if lost(err) {
			k.Damaged(engine.ShardID{Extent: x.ID, Index: uint8(i)}, from)
		}
		err = extent.Rebuild(ctx, described, i, target)
	}
	if err == nil {
		_, err = k.do(ctx, &meta.MoveShard{Extent: x.ID, Index: i, From: from, To: to})
	}
	if err != nil {
		k.count(func(s *Stats) { s.ShardsFailed++ })
		if ctx.Err() == nil && !engine.Is(err, engine.KindConflict) && k.firstFailure(engine.ShardID{Extent: x.ID, Index: uint8(i)}) {
			k.config.Logger.Warn("a shard was not moved; the keepers go on trying, and say no more of it",
				"extent", fmt.Sprintf("%d.%d.%d", x.ID.Group, x.ID.Epoch, x.ID.Counter), "shard", i, "from", from, "to", to, "error", err)
		}
		return false
	}
	k.count(func(s *Stats) { s.ShardsMoved++; s.BytesMoved += uint64(bytes) })
	return true
}

// narrow writes an extent anew that has more shards than there are drives, be they in or out. A write that was placed before a drive left, and decided
// after, is the only way to one: else the drive would not have been let go.
func (k *Keeper) narrow(ctx context.Context, x *meta.Extent) bool {
	if k.config.Drives.Staying() >= len(x.Drives) {
		return false // drives are out that it waits for
	}
	k.pacer.credit.Add(-x.Size)
	if err := k.widenOne(ctx, x); err != nil {
		if ctx.Err() == nil && k.firstFailure(engine.ShardID{Extent: x.ID, Index: 0xff}) {
			k.config.Logger.Warn("an extent that has more shards than there are drives was not written anew; the keepers go on trying, and say no more of it",
				"extent", fmt.Sprintf("%d.%d.%d", x.ID.Group, x.ID.Epoch, x.ID.Counter), "error", err)
		}
		return false
	}
	return true
}
