package drive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"holdfast/engine"
	"holdfast/engine/checksum"
	"holdfast/engine/disk"
	"holdfast/engine/disk/sim"
	"holdfast/engine/drive"
	"holdfast/engine/drive/drivetest"
)

const quarter = 256 << 10 // of a segment of the suite's geometry

// sparseDrive has segments that each have one shard of 70,000 bytes left, the first shards of Shard(1), Shard(11) …
func sparseDrive(t *testing.T, o sim.Options, segments int) (*sim.FS, *drive.Drive) {
	t.Helper()
	fs, d := newDrive(t, o)
	fillSparse(t, d, segments)
	return fs, d
}

func fillSparse(t *testing.T, d *drive.Drive, segments int) {
	t.Helper()
	var gone []engine.ShardID
	for i := range uint64(segments) {
		for j, size := range []int{70_000, quarter, quarter, quarter, quarter - 73_728} { // 73,728 is the room of 70,000
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
	if s := d.Stats(); s.SegmentsSparse != segments {
		t.Fatalf("%d segments are sparse of %d", s.SegmentsSparse, segments)
	}
}

// found returns a compaction that knows its shards and has moved none.
func found(t *testing.T, d *drive.Drive) *drive.Compaction {
	t.Helper()
	c := d.Compact()
	if c == nil {
		t.Fatal("nothing is worth a compaction")
	}
	if did, more, err := c.Step(t.Context()); did.Rows == 0 || !more || err != nil {
		t.Fatalf("the first step: %+v %v", did, err)
	}
	return c
}

// freezeRing makes the next write of the meta stream wait, with one record of its own, so that all that is queued then comes into one frame. It
// returns when the write has begun.
func freezeRing(t *testing.T, fs *sim.FS, d *drive.Drive) (appended chan error) {
	t.Helper()
	frozen := make(chan struct{}, 1)
	fs.Freeze(func(c sim.Call) bool {
		if c.File != "meta/ring" || c.Op != "write" {
			return false
		}
		select {
		case frozen <- struct{}{}:
		default:
		}
		return true
	})
	appended = make(chan error, 1)
	d.Append(1, [][]byte{[]byte("first")}, func(err error) { appended <- err })
	<-frozen
	return appended
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestCompactionMeetsOthers has a shard moved and deleted, or replaced, by records of one frame, in either order, and before the move has begun.
func TestCompactionMeetsOthers(t *testing.T) {
	id, replaced := drivetest.Shard(1), drivetest.Data(77, 30_000)
	remove := func(d *drive.Drive) error { return d.DeleteShards(ended(), []engine.ShardID{id}) }
	replace := func(d *drive.Drive) error {
		w, err := d.CreateShard(id, int64(len(replaced)))
		if err == nil {
			err = w.Write(replaced, checksum.Sums(nil, id, 0, replaced))
		}
		if err != nil {
			return err
		}
		return w.Commit(ended())
	}
	for _, other := range []struct {
		name string
		do   func(*drive.Drive) error
		want []byte
	}{{"deleted", remove, nil}, {"replaced", replace, replaced}} {
		for _, order := range []string{"before", "after"} {
			t.Run(other.name+" "+order, func(t *testing.T) {
				fs, d := sparseDrive(t, sim.Options{}, 2)
				c := found(t, d)
				defer c.Close()
				appended := freezeRing(t, fs, d)
				step := func(d *drive.Drive) error {
					_, _, err := c.Step(ended())
					return err
				}
				both := []func(*drive.Drive) error{other.do, step}
				if order == "after" {
					both[0], both[1] = both[1], both[0]
				}
				for _, f := range both {
					if err := f(d); !errors.Is(err, context.Canceled) {
						t.Fatalf("a record was not queued: %v", err)
					}
				}
				fs.Thaw()
				if err := <-appended; err != nil {
					t.Fatal(err)
				}
				for range 2 {
					wantMoved(t, d, other.want, 0)
					d = drivetest.Reopen(t, fs, d)
				}
			})
		}
	}
}

// wantMoved looks whether the drive has the shards that sparseDrive left in two segments, of the first those bytes, and beside them other room.
func wantMoved(t *testing.T, d *drive.Drive, first []byte, others int64) {
	t.Helper()
	if _, err := drivetest.Append(d, 1, []byte("all before are applied")); err != nil {
		t.Fatal(err)
	}
	room := int64(73_728+(len(first)+4095)&^4095) + others
	if first == nil {
		if _, err := d.StatShard(drivetest.Shard(1)); !errors.Is(err, drive.ErrNoShard) {
			t.Fatalf("the deleted shard: %v", err)
		}
	} else if err := drivetest.CheckShard(d, drivetest.Shard(1), first); err != nil {
		t.Fatal(err)
	}
	if err := drivetest.CheckShard(d, drivetest.Shard(11), drivetest.Data(11, 70_000)); err != nil {
		t.Fatal(err)
	}
	if got := d.Stats().ShardBytes; got != room {
		t.Fatalf("%d bytes of room are counted, the shards have %d", got, room)
	}
}

// TestOldPlaceStaysUntilMoved cuts the power when shards are whole at their new places, and the records of that are not written: nothing was freed until
// then, and the new places are free again.
func TestOldPlaceStaysUntilMoved(t *testing.T) {
	fs, d := sparseDrive(t, sim.Options{}, 2)
	if err := drivetest.WriteShard(d, drivetest.Shard(900), drivetest.Data(900, 100), 64<<10); err != nil {
		t.Fatal(err)
	}
	punched := make(chan string, 100)
	fs.Inject(func(c sim.Call) *sim.Fault {
		if c.Op == "punch" {
			punched <- c.File
		}
		return nil
	})
	// reaped has other room given back, and returns the files that had some given back before: it is given back in order.
	reaped := func() (files []string) {
		t.Helper()
		first, err := d.CreateShard(drivetest.Shard(901), 100)
		if err != nil {
			t.Fatal(err)
		}
		second, err := d.CreateShard(drivetest.Shard(902), 100)
		if err != nil {
			t.Fatal(err)
		}
		first.Abort()
		defer second.Abort()
		for file := <-punched; file != "data/00000002.seg"; file = <-punched {
			files = append(files, file)
		}
		return files
	}
	reaped()
	c := found(t, d)
	defer c.Close()
	freezeRing(t, fs, d)
	if did, _, err := c.Step(ended()); !errors.Is(err, context.Canceled) || did.Bytes != 2*70_000 {
		t.Fatalf("%+v %v", did, err)
	}
	if files := reaped(); len(files) > 0 {
		t.Errorf("room of %v was given back before the shards were recorded elsewhere", files)
	}
	fs.Crash()
	d.Close()
	d = drivetest.Open(t, fs.Restart())
	for _, id := range []uint64{1, 11} {
		if file, _, _, err := d.ShardPlace(drivetest.Shard(id)); err != nil || file != fmt.Sprintf("data/%08d.seg", id/10) {
			t.Errorf("shard %d is in %s: %v", id, file, err)
		}
	}
	wantMoved(t, d, drivetest.Data(1, 70_000), 4096)
}

// TestCompactionPassesWhatIsGone deletes and replaces shards between the look for them and the move.
func TestCompactionPassesWhatIsGone(t *testing.T) {
	fs, d := sparseDrive(t, sim.Options{}, 3)
	c := found(t, d)
	defer c.Close()
	if err := d.DeleteShards(t.Context(), []engine.ShardID{drivetest.Shard(1)}); err != nil {
		t.Fatal(err)
	}
	if err := drivetest.WriteShard(d, drivetest.Shard(11), drivetest.Data(11, 70_000), 64<<10); err != nil {
		t.Fatal(err)
	}
	did, _, err := c.Step(t.Context())
	if err != nil || did.Shards != 1 || did.Bytes != 70_000 || len(did.Bad) != 0 {
		t.Fatalf("%+v %v", did, err)
	}
	d = drivetest.Reopen(t, fs, d)
	if err := errors.Join(drivetest.CheckShard(d, drivetest.Shard(11), drivetest.Data(11, 70_000)), drivetest.CheckShard(d, drivetest.Shard(21), drivetest.Data(21, 70_000))); err != nil {
		t.Fatal(err)
	}
}

// TestReaderDuringCompaction lets a reader go on that looked before its shard was moved, and its segment removed.
func TestReaderDuringCompaction(t *testing.T) {
	for _, verify := range []bool{false, true} {
		fs, d := sparseDrive(t, sim.Options{}, 2)
		frozen := make(chan struct{})
		var first sync.Once
		fs.Freeze(func(c sim.Call) (hangs bool) {
			if c.File == "data/00000000.seg" && (c.Op == "read" || c.Site == "drive.(*segments).openForReading") {
				first.Do(func() {
					hangs = true
					close(frozen)
				})
			}
			return hangs
		})
		read := make(chan error, 1)
		go func() { // ends when the disk thaws
			if verify {
				read <- d.VerifyShard(drivetest.Shard(1), 0, disk.AlignedBytes(70_000))
			} else {
				read <- drivetest.CheckShard(d, drivetest.Shard(1), drivetest.Data(1, 70_000))
			}
		}()
		<-frozen
		if did, err := drivetest.Compact(t.Context(), d); err != nil || did.Segments != 2 {
			t.Fatalf("%+v %v", did, err)
		}
		for there := true; there; {
			_, err := fs.Stat("data/00000000.seg")
			if there = err == nil; there {
				if err := d.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		fs.Thaw()
		if err := <-read; err != nil || d.Stats().ShardsBad != 0 {
			t.Fatalf("%v, %+v", err, d.Stats())
		}
	}
}

// TestCompactionKeepsNobodyWaiting writes, reads, deletes and asks for figures while a compaction waits for the disk.
func TestCompactionKeepsNobodyWaiting(t *testing.T) {
	for _, op := range []string{"read", "write", "sync"} {
		fs, d := sparseDrive(t, sim.Options{}, 8)
		if err := drivetest.WriteShard(d, drivetest.Shard(899), drivetest.Data(899, 100), 64<<10); err != nil { // makes the segment that shards move to
			t.Fatal(err)
		}
		c := found(t, d)
		frozen := make(chan struct{})
		var first sync.Once
		fs.Freeze(func(c sim.Call) (hangs bool) {
			if strings.HasPrefix(c.File, "data/") && c.Op == op {
				first.Do(func() {
					hangs = true
					close(frozen)
				})
			}
			return hangs
		})
		stepped := make(chan error, 1)
		go func() { // ends when the disk thaws
			_, _, err := c.Step(t.Context())
			stepped <- err
		}()
		<-frozen
		id, data := drivetest.Shard(900), drivetest.Data(900, 4*quarter) // a segment of its own
		if err := errors.Join(drivetest.WriteShard(d, id, data, 64<<10), drivetest.CheckShard(d, id, data), drivetest.CheckShard(d, drivetest.Shard(1), drivetest.Data(1, 70_000)),
			d.DeleteShards(t.Context(), []engine.ShardID{drivetest.Shard(71)})); err != nil {
			t.Error(err)
		}
		if s := d.Stats(); s.Segments < 8 {
			t.Errorf("%+v", s)
		}
		fs.Thaw()
		if err := <-stepped; err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

// TestCompactionLeavesRot leaves a shard where it is that is rotten or cannot be read, and its segment alone until something in it changes.
func TestCompactionLeavesRot(t *testing.T) {
	for _, what := range []string{"rotten", "unreadable"} {
		t.Run(what, func(t *testing.T) {
			fs, d := sparseDrive(t, sim.Options{}, 3)
			rotten := drivetest.Shard(11)
			file, offset, _, err := d.ShardPlace(rotten)
			if err != nil {
				t.Fatal(err)
			}
			if what == "rotten" {
				if err := fs.Rot(file, offset+66_000, 2); err != nil {
					t.Fatal(err)
				}
			} else {
				fs.Inject(func(c sim.Call) *sim.Fault {
					if c.File == file && c.Op == "read" {
						return &sim.Fault{Err: syscall.EIO}
					}
					return nil
				})
			}
			did, err := drivetest.Compact(t.Context(), d)
			if err != nil || did.Segments != 2 || did.Shards != 2 || len(did.Bad) != 1 || did.Bad[0] != rotten {
				t.Fatalf("%+v %v", did, err)
			}
			if now, at, _, err := d.ShardPlace(rotten); err != nil || now != file || at != offset {
				t.Fatalf("it is in %s at %d, not in %s at %d: %v", now, at, file, offset, err)
			}
			if s := d.Stats(); s.SegmentsSparse != 0 || d.Compact() != nil || d.Failed() != nil || s.ShardsBad != 0 {
				t.Fatalf("it is tried again: %+v", s)
			}
			fs.Inject(nil)
			if err := drivetest.WriteShard(d, rotten, drivetest.Data(11, 70_000), 64<<10); err != nil { // as repair does
				t.Fatal(err)
			}
			for s := d.Stats(); s.Segments > 1; s = d.Stats() {
				if err := d.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := drivetest.CheckShard(d, rotten, drivetest.Data(11, 70_000)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestCompactionOfLargeShards moves shards that take several steps, and gives one up in the middle.
func TestCompactionOfLargeShards(t *testing.T) {
	fs := sim.New(5, sim.Options{})
	if err := drive.Format(fs, drivetest.Identity(1), drive.Geometry{RingBytes: 256 << 10, SegmentBytes: 16 << 20}); err != nil {
		t.Fatal(err)
	}
	d := drivetest.Open(t, fs)
	large := drivetest.Data(9, 3<<20+70_001)
	for i := range uint64(2) {
		if err := errors.Join(drivetest.WriteShard(d, drivetest.Shard(1+i), large, 1<<20), drivetest.WriteShard(d, drivetest.Shard(11+i), drivetest.Data(i, 16<<20-3<<20-73_728), 1<<20),
			d.DeleteShards(t.Context(), []engine.ShardID{drivetest.Shard(11 + i)})); err != nil {
			t.Fatal(err)
		}
	}
	room := d.Stats().ShardBytes
	c := found(t, d)
	for range 2 {
		if did, more, err := c.Step(t.Context()); did.Bytes != 1<<20 || did.Shards != 0 || !more || err != nil {
			t.Fatalf("a step: %+v %v %v", did, more, err)
		}
	}
	c.Close()
	if got := d.Stats().ShardBytes; got != room {
		t.Fatalf("%d bytes of room are counted after it was given up, the shards have %d", got, room)
	}
	did, err := drivetest.Compact(t.Context(), d)
	if err != nil || did.Shards != 2 || did.Segments != 2 || did.Bytes != int64(2*len(large)) {
		t.Fatalf("%+v %v", did, err)
	}
	d = drivetest.Reopen(t, fs, d)
	for i := range uint64(2) {
		if err := drivetest.CheckShard(d, drivetest.Shard(1+i), large); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Stats().ShardBytes; got != room {
		t.Fatalf("%d bytes of room are counted, the shards have %d", got, room)
	}
}

// TestCompactionWithoutRoom: where the file system has no room for another segment, shards move only into those that are open, and clients keep
// theirs.
func TestCompactionWithoutRoom(t *testing.T) {
	_, d := newDrive(t, sim.Options{TotalBytes: 9 << 20})
	fillSparse(t, d, 4)
	for s := uint64(500); ; s++ { // fill what is left
		if err := drivetest.WriteShard(d, drivetest.Shard(s), drivetest.Data(s, 4*quarter), 64<<10); engine.Is(err, engine.KindDriveFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	before := d.Stats()
	if did, err := drivetest.Compact(t.Context(), d); !engine.Is(err, engine.KindDriveFull) || did.Shards != 0 || d.Failed() != nil {
		t.Fatalf("%+v %v", did, err)
	}
	if s := d.Stats(); s.ShardBytes != before.ShardBytes || s.Segments != before.Segments {
		t.Fatalf("%+v, before %+v", s, before)
	}
	if err := d.DeleteShards(t.Context(), []engine.ShardID{drivetest.Shard(500), drivetest.Shard(501), drivetest.Shard(502)}); err != nil {
		t.Fatal(err)
	}
	var did drive.Compacted
	for err := errors.New("not tried"); err != nil; { // the room comes back with the reaper
		if err = d.Flush(t.Context()); err == nil {
			did, err = drivetest.Compact(t.Context(), d)
		}
		if err != nil && !engine.Is(err, engine.KindDriveFull) {
			t.Fatal(err)
		}
	}
	if did.Segments != 4 {
		t.Fatalf("with room: %+v", did)
	}
}

// TestCompactionOfOne: one sparse segment goes if its shards fit what is open, and stays if they would need a file of their own.
func TestCompactionOfOne(t *testing.T) {
	_, d := sparseDrive(t, sim.Options{}, 1)
	if d.Compact() != nil {
		t.Fatal("a segment would be made for one that goes")
	}
	if err := drivetest.WriteShard(d, drivetest.Shard(900), drivetest.Data(900, 100), 64<<10); err != nil {
		t.Fatal(err)
	}
	if did, err := drivetest.Compact(t.Context(), d); err != nil || did.Segments != 1 {
		t.Fatalf("%+v %v", did, err)
	}
}

// TestCompactionAwaitsWriters: a segment that somebody writes into is left alone, however little is in it.
func TestCompactionAwaitsWriters(t *testing.T) {
	_, d := newDrive(t, sim.Options{})
	w, err := d.CreateShard(drivetest.Shard(1), 70_000)
	if err != nil {
		t.Fatal(err)
	}
	var gone []engine.ShardID
	for i, size := range []int{quarter, quarter, quarter, quarter - 73_728} {
		id := drivetest.Shard(uint64(i) + 2)
		gone = append(gone, id)
		if err := drivetest.WriteShard(d, id, drivetest.Data(2, size), 64<<10); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.DeleteShards(t.Context(), gone), drivetest.WriteShard(d, drivetest.Shard(900), drivetest.Data(900, 100), 64<<10)); err != nil {
		t.Fatal(err)
	}
	if s := d.Stats(); s.SegmentsSparse != 0 || d.Compact() != nil {
		t.Fatalf("%+v", s)
	}
	data := drivetest.Data(1, 70_000)
	if err := errors.Join(w.Write(data, checksum.Sums(nil, drivetest.Shard(1), 0, data)), w.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	if did, err := drivetest.Compact(t.Context(), d); err != nil || did.Segments != 1 {
		t.Fatalf("%+v %v", did, err)
	}
	if err := drivetest.CheckShard(d, drivetest.Shard(1), data); err != nil {
		t.Fatal(err)
	}
}

// TestCompactionEnds: whatever is written and deleted, no more than a third of it is moved, and without changes nothing is in the end.
func TestCompactionEnds(t *testing.T) {
	for seed := range uint64(4) {
		_, d := newDrive(t, sim.Options{})
		rng := rand.New(rand.NewPCG(seed, 1))
		contents := map[engine.ShardID][]byte{}
		var written, moved int64
		compact := func() int64 {
			did, err := drivetest.Compact(t.Context(), d)
			if err != nil && !engine.Is(err, engine.KindDriveFull) || len(did.Bad) > 0 {
				t.Fatalf("%+v %v", did, err)
			}
			moved += did.Bytes
			return did.Bytes
		}
		for i := range uint64(500) {
			id, data := drivetest.Shard(i+1), drivetest.Data(i, 1+rng.IntN(150_000))
			if err := drivetest.WriteShard(d, id, data, 64<<10); err != nil {
				t.Fatal(err)
			}
			written += int64(len(data))
			contents[id] = data
			if len(contents) > 60 {
				for id := range contents {
					if rng.IntN(12) > 0 { // a few stay long
						delete(contents, id)
						if err := d.DeleteShards(t.Context(), []engine.ShardID{id}); err != nil {
							t.Fatal(err)
						}
					}
					if len(contents) <= 40 {
						break
					}
				}
			}
			if i%10 == 0 {
				compact()
			}
		}
		for rounds := 0; compact() > 0; rounds++ {
			if rounds > 10 {
				t.Fatal("there is no end of it")
			}
		}
		if moved == 0 || moved > written/3 {
			t.Errorf("seed %d: %d bytes were written, and %d moved", seed, written, moved)
		}
		var live int64
		for id, data := range contents {
			live += (int64(len(data)) + 4095) &^ 4095
			got := make([]byte, len(data))
			if err := d.ReadShard(id, 0, got); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("shard %v: %v", id, err)
			}
		}
		s := d.Stats()
		if s.ShardBytes != live || int64(s.Segments) > live/quarter+10 {
			t.Errorf("seed %d: %d segments for %d bytes: %+v", seed, s.Segments, live, s)
		}
		t.Logf("seed %d: %d bytes written, %d moved, %d segments for %d bytes", seed, written, moved, s.Segments, live)
	}
}

// BenchmarkCompaction empties segments of a quarter each, of shards of several sizes, on the disk that has the folder for temporary files.
func BenchmarkCompaction(b *testing.B) {
	for _, size := range []int{4096, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			const segment = 16 << 20
			fsys, err := disk.OS(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer fsys.Close()
			if err := drive.Format(fsys, drivetest.Identity(1), drive.Geometry{SegmentBytes: segment, ReserveBytes: 1}); err != nil {
				b.Fatal(err)
			}
			d := drivetest.Open(b, fsys)
			data, next := drivetest.Data(1, size), uint64(1)
			for b.Loop() {
				b.StopTimer()
				var all, gone []engine.ShardID
				var writers sync.WaitGroup
				for range 4 * segment / size {
					id := drivetest.Shard(next)
					if all = append(all, id); next%4 != 0 {
						gone = append(gone, id)
					}
					next++
				}
				for i := range 16 {
					writers.Go(func() {
						for j := i; j < len(all); j += 16 {
							if err := drivetest.WriteShard(d, all[j], data, 1<<20); err != nil {
								b.Error(err)
							}
						}
					})
				}
				writers.Wait()
				if err := d.DeleteShards(b.Context(), gone); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				did, err := drivetest.Compact(b.Context(), d)
				if err != nil || did.Bytes == 0 {
					b.Fatalf("%+v %v", did, err)
				}
				b.SetBytes(did.Bytes)
			}
		})
	}
}
