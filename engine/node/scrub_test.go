package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/disk/sim"
	"holdfast/engine/drive"
	"holdfast/engine/meta"
	"holdfast/engine/repair"
)

// runningClock is a clock that runs as fast as it is waited for, up to a limit, where everything waits.
type runningClock struct {
	mu      sync.Mutex
	now     time.Time
	limit   time.Time
	waiting map[*waiting]bool
}

type waiting struct {
	until  time.Time
	passed chan time.Time
}

func newClock() *runningClock {
	now := time.Unix(1_800_000_000, 0)
	return &runningClock{now: now, limit: now, waiting: map[*waiting]bool{}}
}

func (c *runningClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *runningClock) After(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &waiting{c.now.Add(d), make(chan time.Time, 1)}
	c.waiting[w] = true
	c.run()
	return w.passed, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, w)
	}
}

// run lets the waits end that the limit allows. The lock is held.
func (c *runningClock) run() {
	for w := range c.waiting {
		if w.until.After(c.limit) {
			continue
		}
		if w.until.After(c.now) {
			c.now = w.until
		}
		w.passed <- c.now
		delete(c.waiting, w)
	}
}

// advance puts the limit d further off.
func (c *runningClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = c.limit.Add(d)
	c.run()
}

// atRest reports whether so many wait for what is beyond the limit.
func (c *runningClock) atRest(count int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.waiting {
		if !w.until.After(c.limit) {
			return false
		}
	}
	return len(c.waiting) == count
}

// rig is a node on simulated disks.
type rig struct {
	*Node
	t     *testing.T
	disks map[string]*sim.FS
	Config
	clock *runningClock
}

// newRig starts a node on four drives with twelve objects, of a shard on each. Change may give it the rig's clock; without, the scrub is as quick as it can.
func newRig(t *testing.T, o sim.Options, change func(*Config, *runningClock)) *rig {
	t.Helper()
	r := &rig{t: t, disks: map[string]*sim.FS{}, clock: newClock()}
	o.TotalBytes = 1 << 30
	for i, name := range []string{"/state", "/state/witness", "/d1", "/d2", "/d3", "/d4"} {
		r.disks[name] = sim.New(uint64(i+1), o)
	}
	r.Config = Config{
		State: "/state", Drives: []string{"/d1", "/d2", "/d3", "/d4"}, Memory: 32 << 20, CheckInterval: time.Hour, KeeperInterval: 50 * time.Millisecond,
		Geometry:  drive.Geometry{RingBytes: 512 << 10, SegmentBytes: 8 << 20, ReserveBytes: 1 << 20},
		Logger:    slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
		ScrubRate: 1 << 40,
		OpenDisk: func(name string) (disk.FS, error) {
			if d := r.disks[path.Clean(name)]; d != nil {
				return d, nil
			}
			return nil, fs.ErrNotExist
		},
	}
	if change != nil {
		change(&r.Config, r.clock)
	}
	r.open()
	t.Cleanup(r.end)
	if _, err := r.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		put(t, r, fmt.Sprint("k", i), content(uint64(i), 20_000+i*100_000))
	}
	return r
}

func (r *rig) open() {
	r.t.Helper()
	n := openNode(r.t, r.Config)
	r.Node = n
}

func (r *rig) end() {
	if r.Node != nil {
		closeNode(r.t, r.Node)
	}
	r.Node = nil
}

// now returns the status.
func (r *rig) now() Status {
	r.t.Helper()
	return r.until("there is no status", func(Status) bool { return true })
}

// let lets time pass for the scrubs of the four drives, so little at a time that none is far ahead of another, and returns the status then.
func (r *rig) let(d time.Duration) Status {
	r.t.Helper()
	for step := max(time.Second, d/200); d > 0; d -= step {
		r.clock.advance(min(step, d))
		for deadline := time.Now().Add(30 * time.Second); !r.clock.atRest(4); time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				r.t.Fatal("the scrubs do not come to rest")
			}
		}
	}
	return r.now()
}

// restart closes the node, or kills it, and starts it again.
func (r *rig) restart(kill bool) {
	r.t.Helper()
	if kill {
		for _, d := range r.disks {
			d.Crash()
		}
		_ = r.Node.Close() // with dead disks it says so
		for name, d := range r.disks {
			r.disks[name] = d.Restart()
		}
	} else {
		r.end()
	}
	r.open()
}

// scrubAll begins a pass over each drive.
func (r *rig) scrubAll() {
	r.t.Helper()
	for id := engine.DriveID(1); id <= 4; id++ {
		r.begin(id)
	}
}

func (r *rig) begin(id engine.DriveID) {
	r.t.Helper()
	if err := r.ScrubNow(r.t.Context(), id); err != nil {
		r.t.Fatal(err)
	}
}

// until waits until the status is as it should be.
func (r *rig) until(what string, ok func(s Status) bool) Status {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s, err := r.Status(r.t.Context())
		if err == nil && ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			for _, d := range s.Drives {
				if d.Scrub != nil {
					r.t.Logf("drive %d %s: %+v, last %+v, pass %+v", d.Drive, d.State, d.Scrub, d.Scrub.Last, d.Scrub.Pass)
				}
			}
			r.t.Fatalf("%s: %+v %v", what, s, err)
		}
	}
}

// complete waits until no pass is under way, and each drive has had one.
func (r *rig) complete() Status {
	r.t.Helper()
	return r.until("the passes are not complete", func(s Status) bool {
		return !slices.ContainsFunc(s.Drives, func(d DriveStatus) bool { return !d.Witness && (d.Scrub.Pass != nil || d.Scrub.Last == nil) })
	})
}

// shards lists what a drive has.
func (r *rig) shards(id engine.DriveID) (list []engine.ShardID) {
	r.t.Helper()
	found, _, err := r.Shards(id, engine.ShardID{}, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range found {
		list = append(list, f.ID)
	}
	return list
}

func (r *rig) disk(id engine.DriveID) *sim.FS { return r.disks[fmt.Sprint("/d", id)] }

// rot has a shard rot on its drive, beneath the cache.
func (r *rig) rot(id engine.DriveID, shard engine.ShardID) {
	r.t.Helper()
	file, offset, _, err := r.atHand(id).ShardPlace(shard)
	if err == nil {
		err = r.disk(id).Rot(file, offset+5, 1)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) mustGetAll() {
	r.t.Helper()
	for i := range 12 {
		mustGet(r.t, r, fmt.Sprint("k", i), content(uint64(i), 20_000+i*100_000))
	}
}

// TestScrubFindsWhatNobodyReads has shards rot beneath the cache and vanish, of data and of parity, on three of four drives. Readers notice nothing; a
// pass finds each, says so, and the keepers make them again; another finds nothing.
func TestScrubFindsWhatNobodyReads(t *testing.T) {
	for _, o := range []sim.Options{{}, {NoDirect: true}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			r := newRig(t, o, nil)
			r.mustGetAll()
			damaged := map[engine.DriveID]int64{1: 0, 2: 3, 3: 1, 4: 2}
			r.rot(2, r.shards(2)[0])
			r.rot(2, r.shards(2)[5])
			r.rot(3, r.shards(3)[6])
			r.rot(4, r.shards(4)[11])
			for id, i := range map[engine.DriveID]int{2: 3, 4: 9} {
				if err := r.Store(id).DeleteShards(t.Context(), r.shards(id)[i:i+1]); err != nil {
					t.Fatal(err)
				}
			}
			r.scrubAll()
			for _, d := range r.complete().Drives[:4] {
				if d.Scrub.Last.Damaged != damaged[d.Drive] {
					t.Fatalf("drive %d: %d shards are damaged, and the scrub found %d", d.Drive, damaged[d.Drive], d.Scrub.Last.Damaged)
				}
			}
			s := r.until("what was found is not repaired", func(s Status) bool { return s.Protected() && s.Keeper.ShardsRebuilt >= 6 })
			if s.Keeper.ScrubDamaged != 6 || s.Keeper.ShardsRebuilt != 6 || s.Keeper.ScrubsComplete != 4 || s.Keeper.ShardsScrubbed != 48 || s.Keeper.Reported != 0 {
				t.Errorf("the keepers say %+v", s.Keeper)
			}
			for _, d := range s.Drives {
				if d.Witness {
					if d.Scrub != nil {
						t.Errorf("the witness is scrubbed: %+v", d.Scrub)
					}
					continue
				}
				proof := d.Scrub.Last
				if proof.Shards != 12 || proof.Damaged != damaged[d.Drive] || proof.Bytes == 0 || proof.Ended.Before(proof.Started) || d.Scrub.Done != proof.ScrubCounters {
					t.Errorf("drive %d: %+v of %+v", d.Drive, proof, d.Scrub)
				}
				for _, shard := range r.shards(d.Drive) {
					info, err := r.atHand(d.Drive).StatShard(shard)
					if err == nil {
						err = r.atHand(d.Drive).VerifyShard(shard, 0, disk.AlignedBytes(int(info.Bytes)))
					}
					if err != nil {
						t.Errorf("shard %v on drive %d: %v", shard, d.Drive, err)
					}
				}
			}
			before := s.Drives
			r.restart(false)
			s = r.complete()
			for i, d := range s.Drives[:4] {
				if *d.Scrub.Last != *before[i].Scrub.Last {
					t.Errorf("after a restart the proof of drive %d is %+v, not %+v", d.Drive, d.Scrub.Last, before[i].Scrub.Last)
				}
			}
			r.scrubAll()
			s = r.until("the second passes are not complete", func(s Status) bool { return s.Keeper.ScrubsComplete == 4 })
			for _, d := range s.Drives[:4] {
				if d.Scrub.Last.Damaged != 0 || d.Scrub.Last.Shards != 12 {
					t.Errorf("the second pass over drive %d: %+v", d.Drive, d.Scrub.Last)
				}
			}
			r.mustGetAll()
		})
	}
}

// TestScrubGoesOnWhereItWas stops and kills the node in the middle of a pass, which then reads the rest and no more than a minute's work again.
func TestScrubGoesOnWhereItWas(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("kill=%v", kill), func(t *testing.T) {
			const rate = 10_000 // 3.4 MB take 340 s
			r := newRig(t, sim.Options{}, func(c *Config, clock *runningClock) { c.ScrubClock, c.ScrubRate = clock, rate })
			r.rot(2, r.shards(2)[0])
			r.begin(2)
			if err := r.ScrubNow(t.Context(), 2); !engine.Is(err, engine.KindConflict) {
				t.Errorf("while one is under way: %v", err)
			}
			of := func(s Status) *repair.ScrubStatus { return s.Drives[1].Scrub }
			read := int64(0)
			lives := 0
			for ; ; lives++ {
				s := r.let(100 * time.Second)
				read += of(s).Done.Bytes
				if of(s).Pass == nil {
					break
				}
				if p := of(s).Pass; !p.Asked || p.Percent <= 0 || p.Percent >= 100 || p.Bytes > int64(lives+1)*(100*rate+600_000) {
					t.Fatalf("after life %d: %+v", lives, p)
				}
				r.restart(kill)
				r.until("the record is not read", func(s Status) bool { return of(s).Known })
			}
			last := of(r.now()).Last
			if last == nil || last.Shards != 12 || last.Damaged != 1 {
				t.Errorf("the proof is %+v", last)
			}
			again := int64(0)
			if kill {
				again = 61*rate + 600_000
			}
			if lives < 2 || read < last.Bytes || read > last.Bytes+int64(lives)*again {
				t.Errorf("%d bytes were read in %d lives for a pass of %d", read, lives, last.Bytes)
			}
			if took := last.Ended.Sub(last.Started); took < time.Duration(last.Bytes-int64(lives+1)*600_000)*time.Second/rate {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestScrubWhileEverythingChanges scrubs again and again while objects are written, overwritten and deleted, in parts too: nothing is wrong, and nothing
// is said to be.
func TestScrubWhileEverythingChanges(t *testing.T) {
	r := newRig(t, sim.Options{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var clients sync.WaitGroup
	var changes atomic.Int64
	for c := range 4 {
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				ref := engine.Ref{Bucket: "bucket", Key: engine.Key(fmt.Sprint("c", c, i%5))}
				b := content(uint64(i), 10_000+(i%7)*150_000)
				_, err := r.Put(t.Context(), ref, bytes.NewReader(b), engine.PutOptions{Size: int64(len(b))})
				if err == nil && i%3 == 0 {
					_, err = r.Delete(t.Context(), ref, engine.DeleteOptions{})
				}
				if err == nil && i%3 == 1 {
					_, err = r.Append(t.Context(), ref, bytes.NewReader(b), engine.AppendOptions{Offset: int64(len(b)), Size: int64(len(b))})
				}
				if err != nil {
					t.Error(err)
					return
				}
				changes.Add(1)
			}
		})
	}
	for ctx.Err() == nil {
		for id := engine.DriveID(1); id <= 4; id++ {
			if err := r.ScrubNow(t.Context(), id); err != nil && !engine.Is(err, engine.KindConflict) {
				t.Fatal(err)
			}
		}
	}
	clients.Wait()
	s := r.complete()
	t.Logf("%d changes, %d passes over %d shards", changes.Load(), s.Keeper.ScrubsComplete, s.Keeper.ShardsScrubbed)
	if s.Keeper.ScrubDamaged != 0 || s.Keeper.Reported != 0 || s.Keeper.ShardsRebuilt != 0 || s.Keeper.ScrubsComplete < 8 || changes.Load() < 10 {
		t.Errorf("the keepers say %+v after %d changes", s.Keeper, changes.Load())
	}
	r.mustGetAll()
}

// TestScrubOfADiskThatCannotRead has the disk answer EIO: once, which is forgiven, and always, until the keepers have made the shards again.
func TestScrubOfADiskThatCannotRead(t *testing.T) {
	for fails, damaged := range map[int64]int64{1: 0, 1 << 40: 12} {
		r := newRig(t, sim.Options{}, nil)
		var failed atomic.Int64
		r.disk(3).Inject(func(c sim.Call) *sim.Fault {
			if c.Op == "read" && strings.HasPrefix(c.File, "data/") && failed.Add(1) <= fails {
				return &sim.Fault{Err: syscall.EIO}
			}
			return nil
		})
		r.begin(3)
		s := r.until("the pass is not complete, or what it found not repaired", func(s Status) bool {
			return s.Keeper.ScrubsComplete == 1 && s.Keeper.ShardsRebuilt >= uint64(damaged) && s.Protected()
		})
		if s.Drives[2].Scrub.Last.Damaged != damaged || s.Keeper.ShardsRebuilt != uint64(damaged) || s.Drives[2].State != "in" || failed.Load() == 0 {
			t.Errorf("%d errors: %+v, %+v", fails, s.Drives[2].Scrub.Last, s.Keeper)
		}
		r.disk(3).Inject(nil)
		r.mustGetAll()
		r.end()
	}
}

// TestScrubRestsWhileADriveIsAway takes a drive away in the middle of a pass, and brings it back: nothing is said to be damaged, and the pass goes on.
func TestScrubRestsWhileADriveIsAway(t *testing.T) {
	r := newRig(t, sim.Options{}, func(c *Config, clock *runningClock) {
		c.ScrubClock, c.ScrubRate, c.CheckInterval = clock, 100_000, 20*time.Millisecond
	})
	r.begin(3)
	of := func(s Status) DriveStatus { return s.Drives[2] }
	begun := of(r.let(10 * time.Second)).Scrub.Pass
	if begun == nil || begun.Shards == 0 || begun.Shards > 9 {
		t.Fatalf("after ten seconds: %+v", begun)
	}
	r.disk(3).SetReopen(sim.New(99, sim.Options{}))
	r.until("the drive is not out", func(s Status) bool { return of(s).State == "out" && s.AwayShards == 12 })
	if err := r.ScrubNow(t.Context(), 3); !engine.Is(err, engine.KindUnavailable) {
		t.Errorf("a scrub of a drive that is out: %v", err)
	}
	put(t, r, "meanwhile", content(50, 300_000))
	begun = of(r.let(time.Minute)).Scrub.Pass // it may have been in the middle of a shard
	s := r.let(10 * time.Minute)
	if p := of(s).Scrub.Pass; p == nil || *p != *begun || s.Keeper.ScrubDamaged != 0 || of(s).Scrub.Why != "" {
		t.Errorf("while the drive is away: %+v, then %+v %q, %+v", begun, p, of(s).Scrub.Why, s.Keeper)
	}
	r.disk(3).SetReopen(nil)
	r.until("the drive is not in", func(s Status) bool { return of(s).State == "in" && s.Protected() })
	s = r.let(10 * time.Minute)
	if last := of(s).Scrub.Last; last == nil || last.Shards < 12 || last.Damaged != 0 || s.Keeper.ScrubDamaged != 0 || s.Keeper.Reported != 0 {
		t.Errorf("the proof is %+v, %+v", last, s.Keeper)
	}
	r.mustGetAll()
}

// TestScrubPeriod wants that a pass begins with each period, ends within it, goes on after a restart, and that with the scrub off none does but one that
// somebody asks for.
func TestScrubPeriod(t *testing.T) {
	r := newRig(t, sim.Options{}, func(c *Config, clock *runningClock) {
		c.ScrubClock, c.ScrubPeriod, c.KeeperInterval = clock, time.Hour, 10*time.Second
	})
	first := r.complete().Drives[0].Scrub
	if first.Due == nil || !first.Due.Equal(first.Last.Started.Add(time.Hour)) {
		t.Errorf("after the first pass the next is due at %v", first.Due)
	}
	if s := r.let(50 * time.Minute); s.Keeper.ScrubsComplete != 4 {
		t.Errorf("before it is due: %+v", s.Keeper)
	}
	s := r.let(3 * time.Hour)
	if s.Keeper.ScrubsComplete != 16 || s.Keeper.ShardsScrubbed != 12*4*3 {
		t.Errorf("in 3 h 50 min: %+v", s.Keeper)
	}
	if last := s.Drives[0].Scrub.Last; last.Ended.Sub(last.Started) < 2*time.Second || last.Ended.Sub(last.Started) > 2*time.Minute { // of 3.4 MB
		t.Errorf("a pass took from %v to %v", last.Started, last.Ended)
	}
	r.Config.ScrubPeriod, r.KeeperInterval = 0, 50*time.Millisecond
	r.restart(false)
	r.let(10 * time.Minute)
	r.until("the records are not read", func(s Status) bool { return s.Drives[0].Scrub.Known && s.Drives[3].Scrub.Known })
	r.begin(1)
	s = r.let(time.Minute)
	if s.Keeper.ScrubsComplete != 1 || s.Keeper.ShardsScrubbed != 12 || s.Drives[1].Scrub.Due != nil || s.Drives[1].Scrub.Pass != nil {
		t.Errorf("while it is off: %+v", s.Keeper)
	}
}

// TestScrubTurnedOff wants that a pass that began by itself does not go on once the scrub is off.
func TestScrubTurnedOff(t *testing.T) {
	r := newRig(t, sim.Options{}, func(c *Config, clock *runningClock) { c.ScrubClock, c.ScrubRate = clock, 100_000 })
	r.Config.ScrubPeriod = 100 * time.Hour
	r.restart(false)
	if s := r.let(20 * time.Second); s.Drives[0].Scrub.Pass == nil || s.Drives[0].Scrub.Pass.Shards == 0 {
		t.Fatalf("no pass has begun: %+v", s.Drives[0].Scrub)
	}
	r.Config.ScrubPeriod = 0
	r.restart(false)
	r.until("the record is not read", func(s Status) bool { return s.Drives[0].Scrub.Known })
	if s := r.let(10 * time.Minute); s.Drives[0].Scrub.Pass != nil || s.Keeper.ShardsScrubbed != 0 {
		t.Errorf("it goes on: %+v", s.Drives[0].Scrub)
	}
}

// TestScrubRecords wants that a record of a later version is left alone, one that is damaged proves nothing, and that of a drive that is gone goes.
func TestScrubRecords(t *testing.T) {
	r := newRig(t, sim.Options{}, nil)
	r.scrubAll()
	r.complete()
	set := func(drive int, value string) {
		t.Helper()
		if _, _, err := r.writers[0].Do(t.Context(), &meta.Setting{Name: fmt.Sprint("scrub/", drive), Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	get := func(drive int) string {
		t.Helper()
		view, err := r.root.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer view.Close()
		b, err := meta.GetSetting(view, fmt.Sprint("scrub/", drive))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const newer = `{"format":2,"last":{"ended":"never"}}`
	set(1, newer)
	set(2, "\x00")
	r.end()
	r.disks["/d3"] = sim.New(100, sim.Options{TotalBytes: 1 << 30})
	r.Logger = slog.New(slog.DiscardHandler) // it says much about all this
	r.open()
	s := r.until("the records are not read", func(s Status) bool {
		return s.Drives[0].Scrub.Why != "" && s.Drives[1].Scrub.Known && s.Drives[2].Drive == 6 && s.Drives[2].Scrub.Known && get(3) == ""
	})
	if one := s.Drives[0].Scrub; one.Last != nil || one.Known || !strings.Contains(one.Why, "start the newer holdfast") {
		t.Errorf("a later version: %+v", one)
	}
	if s.Drives[1].Scrub.Last != nil || s.Drives[2].Scrub.Last != nil || s.Drives[3].Scrub.Last == nil {
		t.Errorf("damaged %+v, replaced %+v, untouched %+v", s.Drives[1].Scrub, s.Drives[2].Scrub, s.Drives[3].Scrub)
	}
	if err := r.ScrubNow(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "start the newer holdfast") || get(1) != newer {
		t.Errorf("a scrub on a later version: %v, %s", err, get(1))
	}
	for _, id := range []engine.DriveID{3, 5, 77} { // gone, the witness, never heard of
		if err := r.ScrubNow(t.Context(), id); !engine.Is(err, engine.KindInvalidArgument) || errors.Is(err, engine.ErrNewer) {
			t.Errorf("drive %d: %v", id, err)
		}
	}
}
