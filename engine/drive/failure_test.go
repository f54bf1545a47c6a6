package drive_test

import (
	"context"
	"errors"
	"fmt"
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

// newDrive formats and opens a drive on a new simulated disk.
func newDrive(t *testing.T, o sim.Options) (*sim.FS, *drive.Drive) {
	t.Helper()
	fs := sim.New(11, o)
	drivetest.Format(t, fs, drivetest.Identity(1))
	return fs, drivetest.Open(t, fs)
}

// ringOffsets returns where the frames of the ring are, in the order of their positions.
func ringOffsets(t *testing.T, fs disk.FS) (offsets []int64) {
	t.Helper()
	for f, err := range drive.Frames(fs) {
		if err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, int64(f.Position))
	}
	return offsets
}

// appended is a closed drive whose ring has n frames; with flush the index vouches for them.
func appended(t *testing.T, n int, flush bool) *sim.FS {
	t.Helper()
	fs, d := newDrive(t, sim.Options{})
	for i := range n {
		if _, err := drivetest.Append(d, 1, drivetest.Data(uint64(i), 100)); err != nil {
			t.Fatal(err)
		}
	}
	if flush {
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fs.Crash()
	d.Close()
	return fs.Restart()
}

func TestTornTailIsNoDamage(t *testing.T) {
	fs := appended(t, 3, false)
	offsets := ringOffsets(t, fs)
	if len(offsets) != 3 {
		t.Fatalf("%d frames", len(offsets))
	}
	if err := fs.Flip("meta/ring", offsets[2]+60, 3); err != nil {
		t.Fatal(err)
	}
	d := drivetest.Open(t, fs)
	if r := d.Recovered(1); len(r) != 2 {
		t.Fatalf("%d records", len(r))
	}
	if _, err := drivetest.Append(d, 1, []byte("next")); err != nil {
		t.Fatal(err)
	}
	d = drivetest.Reopen(t, fs, d)
	if r := d.Recovered(1); len(r) != 3 || string(r[2].Payload) != "next" {
		t.Fatalf("%d records after another", len(r))
	}
}

func TestBrokenFrameBeforeAWholeOneIsDamage(t *testing.T) {
	fs := appended(t, 3, false)
	if err := fs.Flip("meta/ring", ringOffsets(t, fs)[1]+60, 3); err != nil {
		t.Fatal(err)
	}
	wantDamaged(t, fs, "a whole frame follows")
}

func TestTailThatTheIndexVouchesForIsDamage(t *testing.T) {
	fs := appended(t, 3, true)
	if err := fs.Flip("meta/ring", ringOffsets(t, fs)[2]+60, 3); err != nil {
		t.Fatal(err)
	}
	wantDamaged(t, fs, "the index has seen it")
}

func wantDamaged(t *testing.T, fs disk.FS, words string) {
	t.Helper()
	_, err := drive.Open(fs, drive.Options{})
	if !errors.Is(err, drive.ErrDamaged) || !engine.Is(err, engine.KindDamaged) || !strings.Contains(err.Error(), words) {
		t.Fatalf("open says %q; damage was expected, and %q", err, words)
	}
}

func TestIdentityOfEveryKind(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(fs *sim.FS) error
		want  error
	}{
		{"rotten", func(fs *sim.FS) error { return fs.Flip("holdfast.drive", 33, 1) }, drive.ErrDamaged},
		{"foreign", func(fs *sim.FS) error { return fs.Flip("holdfast.drive", 0, 1) }, drive.ErrForeign},
		{"half a version", func(fs *sim.FS) error { return fs.Flip("holdfast.drive", 8, 1) }, drive.ErrDamaged},
		{"newer", func(fs *sim.FS) error {
			return errors.Join(fs.Flip("holdfast.drive", 8, 1), fs.Flip("holdfast.drive", 12, 1))
		}, drive.ErrNewer},
		{"no ring", func(fs *sim.FS) error { return fs.Remove("meta/ring") }, drive.ErrDamaged},
	} {
		fs := sim.New(1, sim.Options{})
		drivetest.Format(t, fs, drivetest.Identity(1))
		if err := c.spoil(fs); err != nil {
			t.Fatal(err)
		}
		if _, err := drive.Open(fs, drive.Options{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestWipedFolderIsNoticed(t *testing.T) {
	fs, d := newDrive(t, sim.Options{})
	fs.SetReopen(sim.New(2, sim.Options{}))
	if err := d.CheckIdentity(); !errors.Is(err, drive.ErrUnformatted) {
		t.Fatalf("an empty folder: %v", err)
	}
	other := sim.New(3, sim.Options{})
	drivetest.Format(t, other, drivetest.Identity(9))
	fs.SetReopen(other)
	if err := d.CheckIdentity(); err == nil {
		t.Fatal("another drive passes")
	}
}

// TestFailedSyncFailsTheDrive holds a sync, lets others queue behind it, and fails it: all hear of it, and nothing works afterwards.
func TestFailedSyncFailsTheDrive(t *testing.T) {
	fs := sim.New(1, sim.Options{})
	drivetest.Format(t, fs, drivetest.Identity(1))
	told := make(chan error, 1)
	d, err := drive.Open(fs, drive.Options{OnFailure: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	fs.Inject(func(c sim.Call) *sim.Fault {
		if c.Op == "sync" && c.File == "meta/ring" {
			return &sim.Fault{Err: syscall.EIO}
		}
		return nil
	})
	var all sync.WaitGroup
	for range 20 {
		all.Add(1)
		d.Append(1, [][]byte{{1}}, func(err error) {
			if !errors.Is(err, drive.ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Errorf("done: %v", err)
			}
			all.Done()
		})
	}
	all.Wait()
	if err := <-told; !errors.Is(err, drive.ErrFailed) {
		t.Fatalf("told %v", err)
	}
	_, stat := d.StatShard(drivetest.Shard(1))
	_, _, got := d.Store(nil).Get([]byte("x"))
	_, create := d.CreateShard(drivetest.Shard(1), 10)
	for what, err := range map[string]error{"stat": stat, "get": got, "create": create, "flush": d.Flush(t.Context()), "failed": d.Failed(),
		"delete": d.DeleteShards(t.Context(), []engine.ShardID{drivetest.Shard(1)}), "close": d.Close()} {
		if !errors.Is(err, drive.ErrFailed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestReadErrorIsTheReadsAlone(t *testing.T) {
	fs, d := newDrive(t, sim.Options{})
	data := drivetest.Data(1, 100_000)
	if err := drivetest.WriteShard(d, drivetest.Shard(1), data, 64<<10); err != nil {
		t.Fatal(err)
	}
	fs.Inject(func(c sim.Call) *sim.Fault {
		if c.Op == "read" && strings.HasPrefix(c.File, "data/") {
			return &sim.Fault{Err: syscall.EIO}
		}
		return nil
	})
	if err := drivetest.CheckShard(d, drivetest.Shard(1), data); !errors.Is(err, syscall.EIO) {
		t.Fatalf("read: %v", err)
	}
	fs.Inject(nil)
	if err := drivetest.CheckShard(d, drivetest.Shard(1), data); err != nil || d.Failed() != nil || d.Stats().ReadErrors == 0 {
		t.Fatalf("afterwards: %v, failed %v, %+v", err, d.Failed(), d.Stats())
	}
}

func TestRottenUnitIsNamed(t *testing.T) {
	fs, d := newDrive(t, sim.Options{})
	data := drivetest.Data(1, 300_000)
	id := drivetest.Shard(1)
	if err := drivetest.WriteShard(d, id, data, 64<<10); err != nil {
		t.Fatal(err)
	}
	file, offset, _, err := d.ShardPlace(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Flip(file, offset+2*checksum.UnitBytes+5, 0); err != nil {
		t.Fatal(err)
	}
	err = drivetest.CheckShard(d, id, data)
	var bad *drive.BadShard
	if !errors.Is(err, drive.ErrBadShard) || !errors.As(err, &bad) || bad.Unit != 2 || bad.ID != id || !engine.Is(err, engine.KindDamaged) {
		t.Fatalf("read: %v", err)
	}
	if err := d.ReadShard(id, 0, make([]byte, 2*checksum.UnitBytes)); err != nil {
		t.Fatalf("the units before: %v", err)
	}
	if err := drivetest.WriteShard(d, id, data, 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := drivetest.CheckShard(d, id, data); err != nil {
		t.Fatalf("written again: %v", err)
	}
}

// TestVerifyTrustsNoCache has bits of a shard rot on the disk beneath a cache that has them as they were: readers go on, and who verifies finds it.
func TestVerifyTrustsNoCache(t *testing.T) {
	for _, o := range []sim.Options{{}, {NoDirect: true}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			fs, d := newDrive(t, o)
			data := drivetest.Data(1, 300_000)
			id := drivetest.Shard(1)
			if err := drivetest.WriteShard(d, id, data, 64<<10); err != nil {
				t.Fatal(err)
			}
			file, offset, _, err := d.ShardPlace(id)
			if err != nil {
				t.Fatal(err)
			}
			verify := func(off, length int64) error { return d.VerifyShard(id, off, disk.AlignedBytes(int(length))) }
			if err := verify(0, 300_000); err != nil {
				t.Fatal(err)
			}
			if err := fs.Rot(file, offset+2*checksum.UnitBytes+5, 0); err != nil {
				t.Fatal(err)
			}
			if err := drivetest.CheckShard(d, id, data); err != nil {
				t.Fatalf("through the cache: %v", err)
			}
			var bad *drive.BadShard
			if err := verify(checksum.UnitBytes, 2*checksum.UnitBytes); !errors.As(err, &bad) || bad.Unit != 2 || d.Stats().ShardsBad != 1 {
				t.Fatalf("from the disk: %v, %+v", err, d.Stats())
			}
			if err := verify(3*checksum.UnitBytes, 300_000-3*checksum.UnitBytes); err != nil {
				t.Fatalf("the units behind: %v", err)
			}
			if err := drivetest.WriteShard(d, id, data, 64<<10); err != nil {
				t.Fatal(err)
			}
			if err := verify(0, 300_000); err != nil {
				t.Fatalf("written again: %v", err)
			}
			fs.Inject(func(c sim.Call) *sim.Fault {
				if c.Op == "read" && strings.HasPrefix(c.File, "data/") {
					return &sim.Fault{Err: syscall.EIO}
				}
				return nil
			})
			if err := verify(0, 300_000); !errors.Is(err, syscall.EIO) || d.Failed() != nil {
				t.Fatalf("a read error: %v, failed %v", err, d.Failed())
			}
		})
	}
}

// TestMissingSegment takes a segment's file away: its shards are bad, the drive works on.
func TestMissingSegment(t *testing.T) {
	fs, d := newDrive(t, sim.Options{})
	if err := drivetest.WriteShard(d, drivetest.Shard(1), drivetest.Data(1, 100), 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove("data/00000000.seg"); err != nil {
		t.Fatal(err)
	}
	d = drivetest.Open(t, fs)
	if err := drivetest.CheckShard(d, drivetest.Shard(1), drivetest.Data(1, 100)); !errors.Is(err, drive.ErrBadShard) {
		t.Fatalf("read: %v", err)
	}
	if d.Stats().SegmentsGone != 1 {
		t.Fatalf("stats %+v", d.Stats())
	}
	if err := drivetest.WriteShard(d, drivetest.Shard(1), drivetest.Data(1, 100), 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := drivetest.CheckShard(d, drivetest.Shard(1), drivetest.Data(1, 100)); err != nil {
		t.Fatal(err)
	}
}

// TestFullDrive fills the disk: shards are refused, records and deletions go on, and deleting makes room.
func TestFullDrive(t *testing.T) {
	_, d := newDrive(t, sim.Options{TotalBytes: 6 << 20})
	var ids []engine.ShardID
	var err error
	for i := uint64(1); i < 100; i++ {
		if err = drivetest.WriteShard(d, drivetest.Shard(i), drivetest.Data(i, 300_000), 64<<10); err != nil {
			break
		}
		ids = append(ids, drivetest.Shard(i))
	}
	if !engine.Is(err, engine.KindDriveFull) || d.Failed() != nil || len(ids) < 5 {
		t.Fatalf("after %d shards: %v, failed %v", len(ids), err, d.Failed())
	}
	if _, err := drivetest.Append(d, 1, []byte("still")); err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteShards(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err = drivetest.WriteShard(d, drivetest.Shard(500), drivetest.Data(5, 300_000), 64<<10); err == nil {
			break
		}
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err != nil {
		t.Fatalf("after the deletion: %v", err)
	}
}

func TestHangIsSeen(t *testing.T) {
	fs, d := newDrive(t, sim.Options{})
	frozen := make(chan struct{}, 1)
	fs.Freeze(func(c sim.Call) bool {
		if c.Op != "sync" || c.File != "meta/ring" {
			return false
		}
		select {
		case frozen <- struct{}{}:
		default:
		}
		return true
	})
	done := make(chan error, 1)
	d.Append(1, [][]byte{{1}}, func(err error) { done <- err })
	<-frozen
	if d.OldestIO() <= 0 {
		t.Fatal("a call that hangs is not seen")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.DeleteShards(ctx, []engine.ShardID{drivetest.Shard(1)}); !errors.Is(err, context.Canceled) {
		t.Fatalf("delete behind it: %v", err)
	}
	fs.Thaw()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestFormatAfterALostOne formats over what an interrupted Format left, and over nothing else.
func TestFormatAfterALostOne(t *testing.T) {
	fs := sim.New(1, sim.Options{})
	fs.CrashAtSite("drive.writeIdentity", 2)
	if err := drive.Format(fs, drivetest.Identity(1), drivetest.Geometry); err == nil {
		t.Fatal("formatted without power")
	}
	fs = fs.Restart()
	drivetest.Format(t, fs, drivetest.Identity(2))
	if id := drivetest.Open(t, fs).ID(); id.Drive != 2 {
		t.Fatalf("drive %d", id.Drive)
	}
}

func BenchmarkAppend(b *testing.B) {
	d := benchDrive(b)
	payload := [][]byte{drivetest.Data(1, 4096)}
	b.SetBytes(4096)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		done := make(chan error, 1)
		for pb.Next() {
			sequence := d.Append(1, payload, func(err error) { done <- err })
			if err := <-done; err != nil {
				b.Error(err)
				return
			}
			d.Release(1, sequence)
		}
	})
}

func BenchmarkShard(b *testing.B) {
	d := benchDrive(b)
	data := drivetest.Data(1, 512<<10)
	b.SetBytes(int64(len(data)))
	for i := uint64(1); b.Loop(); i++ {
		if err := drivetest.WriteShard(d, drivetest.Shard(i), data, 512<<10); err != nil {
			b.Fatal(err)
		}
		if err := d.DeleteShards(b.Context(), []engine.ShardID{drivetest.Shard(i)}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchDrive(b *testing.B) *drive.Drive {
	fsys, err := disk.OS(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { fsys.Close() })
	if err := drive.Format(fsys, drivetest.Identity(1), drive.Geometry{}); err != nil {
		b.Fatal(err)
	}
	return drivetest.Open(b, fsys)
}
