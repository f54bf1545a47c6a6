package repair

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk/sim"
	"holdfast/engine/drive"
	"holdfast/engine/drive/drivetest"
	"holdfast/engine/extent"
)

// oneDrive are the drives of a node that has one; what the keeper of segments does not ask, it cannot answer.
type oneDrive struct {
	Drives
	d                    *drive.Drive
	out, leaving, absent bool
	asked                atomic.Int32
}

// store is a drive that nobody reads or writes here.
type store struct{ extent.ShardStore }

func (o *oneDrive) All() []engine.DriveID   { return []engine.DriveID{1} }
func (o *oneDrive) Out(engine.DriveID) bool { return o.out }
func (o *oneDrive) Leaving() []engine.DriveID {
	return slices.Repeat([]engine.DriveID{1}, map[bool]int{true: 1}[o.leaving])
}
func (o *oneDrive) Store(engine.DriveID) extent.ShardStore {
	if o.absent {
		return nil
	}
	return store{}
}

func (o *oneDrive) Compact(engine.DriveID) *drive.Compaction {
	o.asked.Add(1)
	return o.d.Compact()
}

// sparseDrive has four segments with a shard of 70,000 bytes in each.
func sparseDrive(t *testing.T) (*sim.FS, *oneDrive, *Keeper) {
	t.Helper()
	fs := sim.New(1, sim.Options{})
	drivetest.Format(t, fs, drivetest.Identity(1))
	d := drivetest.Open(t, fs)
	var gone []engine.ShardID
	for i := range uint64(4) {
		for j, size := range []int{70_000, 256 << 10, 256 << 10, 256 << 10, 256<<10 - 73_728} {
			id := drivetest.Shard(i*10 + uint64(j) + 1)
			if err := drivetest.WriteShard(d, id, drivetest.Data(id.Extent.Counter, size), 64<<10); err != nil {
				t.Fatal(err)
			}
			if j > 0 {
				gone = append(gone, id)
			}
		}
	}
	if err := d.DeleteShards(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	drives := &oneDrive{d: d}
	return fs, drives, &Keeper{config: Config{Drives: drives, Interval: time.Millisecond, CompactRate: 1 << 40, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
		damaged: map[damage]origin{}, wake: make(chan struct{}, 1)}
}

// wantShards says that every shard is whole, and that no room is taken but theirs.
func wantShards(t *testing.T, d *drive.Drive) {
	t.Helper()
	for i := range uint64(4) {
		if err := drivetest.CheckShard(d, drivetest.Shard(i*10+1), drivetest.Data(i*10+1, 70_000)); err != nil {
			t.Error(err)
		}
	}
	if got := d.Stats().ShardBytes; got != 4*73_728 {
		t.Errorf("%d bytes of room are taken", got)
	}
}

// TestKeeperOfSegments compacts, counts, and ends with its owner.
func TestKeeperOfSegments(t *testing.T) {
	_, drives, k := sparseDrive(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { // ends with ctx
		defer close(ended)
		k.runSegments(ctx)
	}()
	for k.Stats().SegmentsCompacted < 4 {
		if err := drives.d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-ended
	if s := k.Stats(); s.SegmentsCompacted != 4 || s.ShardsGathered != 4 || s.BytesGathered != 4*70_000 {
		t.Errorf("%+v", s)
	}
	wantShards(t, drives.d)
}

// TestKeeperOfSegmentsPassesOver drives that take no shards.
func TestKeeperOfSegmentsPassesOver(t *testing.T) {
	_, drives, k := sparseDrive(t)
	c := &compactions{k: k, busy: map[engine.DriveID]bool{}}
	for _, change := range []func(){func() { drives.out = true }, func() { drives.out, drives.leaving = false, true }, func() { drives.leaving, drives.absent = false, true }} {
		change()
		c.begin(t.Context(), 1)
	}
	c.running.Wait()
	if drives.asked.Load() != 0 {
		t.Errorf("asked %d times", drives.asked.Load())
	}
	drives.absent = false
	c.begin(t.Context(), 1)
	c.running.Wait()
	if s := k.Stats(); s.SegmentsCompacted != 4 {
		t.Errorf("%+v", s)
	}
}

// TestKeeperOfSegmentsIsPaced: beyond what is earned in a second nothing is moved, however much there is; a drive is asked once meanwhile, and what was
// begun ends with the keeper.
func TestKeeperOfSegmentsIsPaced(t *testing.T) {
	_, drives, k := sparseDrive(t)
	k.config.CompactRate = 1
	ctx, cancel := context.WithCancel(t.Context())
	c := &compactions{k: k, busy: map[engine.DriveID]bool{}}
	c.begin(ctx, 1)
	for k.Stats().BytesGathered == 0 {
		c.begin(ctx, 1)
	}
	if s := k.Stats(); drives.asked.Load() != 1 || s.BytesGathered > 1<<20 {
		t.Errorf("asked %d times, %+v", drives.asked.Load(), s)
	}
	cancel()
	c.running.Wait()
	wantShards(t, drives.d)
}

// TestKeeperOfSegmentsLetsOthersGoFirst waits while another keeper has its turn.
func TestKeeperOfSegmentsLetsOthersGoFirst(t *testing.T) {
	fs, drives, k := sparseDrive(t)
	var reads atomic.Int32
	fs.Inject(func(c sim.Call) *sim.Fault {
		if c.Op == "read" {
			reads.Add(1)
		}
		return nil
	})
	k.turn.Lock()
	c := &compactions{k: k, busy: map[engine.DriveID]bool{}}
	c.begin(t.Context(), 1)
	if err := drives.d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := k.Stats(); s.BytesGathered != 0 {
		t.Errorf("%+v", s)
	}
	k.turn.Unlock()
	c.running.Wait()
	if s := k.Stats(); s.SegmentsCompacted != 4 || reads.Load() == 0 {
		t.Errorf("%+v, %d reads", s, reads.Load())
	}
}

// TestKeeperOfSegmentsLeavesHangingDrives: a keeper that stops waits for no drive; what hangs there gives its room back when it goes on.
func TestKeeperOfSegmentsLeavesHangingDrives(t *testing.T) {
	fs, drives, k := sparseDrive(t)
	frozen := make(chan struct{}, 100)
	fs.Freeze(func(c sim.Call) bool {
		if c.Op != "read" || !strings.HasPrefix(c.File, "data/") {
			return false
		}
		frozen <- struct{}{}
		return true
	})
	defer fs.Thaw()
	ctx, cancel := context.WithCancel(t.Context())
	compaction := k.config.Drives.Compact(1)
	late := make(chan struct{})
	hangs := make(chan bool)
	r := &round{k: k, drive: 1, compaction: compaction, pacer: pacer{rate: 1 << 40}}
	go func() { hangs <- r.run(ctx, func() { close(late) }) }() // ends with ctx
	<-frozen
	cancel()
	if !<-hangs {
		t.Fatal("a drive that hangs was waited for")
	}
	fs.Thaw()
	<-late
	if _, err := drivetest.Append(drives.d, 1, []byte("all before are applied")); err != nil {
		t.Fatal(err)
	}
	wantShards(t, drives.d)
	if err := errors.Join(drives.d.Failed(), drives.d.Close()); err != nil {
		t.Error(err)
	}
}
