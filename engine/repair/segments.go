package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"holdfast/engine"
	"holdfast/engine/drive"
	"holdfast/engine/extent"
)

// The keeper of segments has drives compact theirs. It concerns no group: where a shard is on its drive is known to the drive alone. So it needs no
// turn, and it takes none, but it lets those go first who have theirs: they may be making shards again.

const (
	// compactRate is how many bytes are moved out of sparse segments of a drive in a second, unless Config says otherwise: half of what leaves a drive, since
	// no shard is in danger and the room between them is free already.
	compactRate = 32 << 20
	// findRate is how many rows are looked at in a second for what lies in sparse segments: all of the drive's shards have one, of about a hundredth of a
	// percent of their size. A million takes three minutes, so that a drive on which little is to be done is busy with little.
	findRate = 5000
	// fullRests is for how many intervals a drive rests that had no room for what was to be moved: all rows would be looked at in vain again.
	fullRests = 16
	// stepGrace is how long a step may take to end while the keepers stop.
	stepGrace = time.Second
)

// compactions are the drives that are at it.
type compactions struct {
	k       *Keeper
	running sync.WaitGroup

	mu   sync.Mutex // guards busy
	busy map[engine.DriveID]bool
}

// runSegments begins a compaction of each drive that has something to compact, until ctx ends, and then waits for all.
func (k *Keeper) runSegments(ctx context.Context) {
	c := &compactions{k: k, busy: map[engine.DriveID]bool{}}
	defer c.running.Wait()
	ticker := time.NewTicker(k.config.Interval)
	defer ticker.Stop()
	for {
		for _, id := range k.config.Drives.All() {
			c.begin(ctx, id)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// begin compacts a drive, unless it is at it or there is nothing to do.
func (c *compactions) begin(ctx context.Context, id engine.DriveID) {
	c.mu.Lock()
	busy := c.busy[id]
	c.mu.Unlock()
	if busy || !c.k.takesShards(id) {
		return
	}
	compaction := c.k.config.Drives.Compact(id)
	if compaction == nil {
		return
	}
	c.mu.Lock()
	c.busy[id] = true
	c.mu.Unlock()
	c.running.Go(func() {
		r := &round{k: c.k, drive: id, compaction: compaction, pacer: pacer{rate: c.k.config.CompactRate}}
		if !r.run(ctx, func() { c.over(id) }) {
			c.over(id)
		}
	})
}

func (c *compactions) over(id engine.DriveID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, id)
}

// takesShards reports whether a drive is at hand, in, and not about to leave.
func (k *Keeper) takesShards(id engine.DriveID) bool {
	drives := k.config.Drives
	return !drives.Out(id) && drives.Store(id) != nil && !slices.Contains(drives.Leaving(), id)
}

// round is one compaction of one drive.
type round struct {
	k          *Keeper
	drive      engine.DriveID
	compaction *drive.Compaction
	pacer      pacer
}

// run compacts until nothing is left to do or the drive is to be passed over. It returns true if the drive hangs: then the step that does ends by itself,
// closes the compaction and calls late.
func (r *round) run(ctx context.Context, late func()) (hangs bool) {
	for more := true; more && r.k.takesShards(r.drive); {
		r.k.yield()
		var did drive.Compacted
		patience, enough := graceful(ctx)
		err := extent.Within(patience, func() (err error) {
			did, more, err = r.compaction.Step(ctx)
			return err
		}, func() {
			r.compaction.Close()
			late()
		})
		enough()
		if extent.GivenUp(err) {
			return true
		}
		r.note(did)
		if err == nil {
			err = r.rest(ctx, did)
		}
		if err != nil {
			r.compaction.Close()
			r.end(ctx, err)
			return false
		}
	}
	r.compaction.Close()
	return false
}

// graceful returns a context that ends some time after another, so that a step that works ends by itself, and only one that hangs is given up.
func graceful(ctx context.Context) (patience context.Context, cancel context.CancelFunc) {
	patience, cancel = context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		_ = sleep(patience, stepGrace)
		cancel()
	})
	return patience, cancel
}

// yield waits until no other keeper has its turn.
func (k *Keeper) yield() {
	k.turn.Lock()
	defer k.turn.Unlock()
}

// note counts what a step did, and has what it could not read looked at and made again.
func (r *round) note(did drive.Compacted) {
	r.k.count(func(s *Stats) {
		s.SegmentsCompacted += uint64(did.Segments)
		s.ShardsGathered += uint64(did.Shards)
		s.BytesGathered += uint64(did.Bytes)
	})
	for _, id := range did.Bad {
		if r.k.Damaged(id, r.drive) {
			r.k.config.Logger.Warn("a shard cannot be read, so that its segment is not compacted; it will be made again",
				"shard", fmt.Sprintf("%d.%d.%d/%d", id.Extent.Group, id.Extent.Epoch, id.Extent.Counter, id.Index), "drive", r.drive)
		}
	}
}

// end rests where a drive is full, and logs why else a compaction ended, unless that is no news: the drive failed or is being closed.
func (r *round) end(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil, errors.Is(err, drive.ErrFailed), errors.Is(err, drive.ErrClosed):
	case engine.Is(err, engine.KindDriveFull):
		_ = sleep(ctx, fullRests*r.k.config.Interval) // what ends it ends the keeper
	default:
		r.k.config.Logger.Warn("segments of a drive are not compacted for now; the keeper will try again", "drive", r.drive, "error", err)
	}
}

// rest lets as much time pass after a step as its pace asks for.
func (r *round) rest(ctx context.Context, did drive.Compacted) error {
	if did.Rows > 0 {
		return sleep(ctx, time.Duration(did.Rows)*time.Second/findRate)
	}
	r.pacer.credit.Add(-did.Bytes)
	for r.pacer.refill(time.Now()); r.pacer.wait() > 0; r.pacer.refill(time.Now()) {
		if err := sleep(ctx, r.pacer.wait()); err != nil {
			return err
		}
	}
	return ctx.Err()
}
