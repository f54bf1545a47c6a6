// Package drivetest is the suite that a drive passes on every disk, real or simulated.
//
// Promise: a failure names what was asked and what came. The package does not know which disk it runs on; crashes are the matter of the
// simulated disk's own tests.
package drivetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/checksum"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/engine/meta"
)

// Geometry is small, so that rings wrap and segments fill within a test.
var Geometry = drive.Geometry{RingBytes: 256 << 10, SegmentBytes: 1 << 20, ReserveBytes: 64 << 10}

// Identity returns the identity of a data drive.
func Identity(id engine.DriveID) drive.Identity {
	return drive.Identity{Cluster: [16]byte{1, 2, 3}, Drive: id, Incarnation: uint64(id)*1_000_003 + 1, Role: drive.RoleData,
		Created: time.Unix(1_700_000_000, 5).UTC()}
}

// Run runs the suite; each test gets a disk of its own with an empty folder.
func Run(t *testing.T, newDisk func(t *testing.T) disk.FS) {
	for _, c := range []struct {
		name string
		test func(*testing.T, disk.FS)
	}{
		{"Format", testFormat},
		{"Append", testAppend},
		{"RingWraps", testRingWraps},
		{"RingFull", testRingFull},
		{"Store", testStore},
		{"Shards", testShards},
		{"ShardsUnaligned", testShardsUnaligned},
		{"ShardsVerified", testShardsVerified},
		{"ShardsConcurrent", testShardsConcurrent},
		{"SegmentsComeAndGo", testSegments},
		{"SegmentsCompacted", testCompaction},
		{"SegmentsCompactedConcurrently", testCompactionConcurrent},
		{"Witness", testWitness},
		{"Closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newDisk(t)) })
	}
}

// Format makes a drive, or ends the test.
func Format(t testing.TB, fsys disk.FS, id drive.Identity) {
	t.Helper()
	if err := drive.Format(fsys, id, Geometry); err != nil {
		t.Fatalf("format: %v", err)
	}
}

// Open opens a drive and closes it with the test, or ends the test.
func Open(t testing.TB, fsys disk.FS) *drive.Drive {
	t.Helper()
	d, err := drive.Open(fsys, drive.Options{})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// Reopen closes and opens.
func Reopen(t testing.TB, fsys disk.FS, d *drive.Drive) *drive.Drive {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return Open(t, fsys)
}

// Append appends one record and waits.
func Append(d *drive.Drive, group engine.GroupID, payload []byte) (uint64, error) {
	done := make(chan error, 1)
	sequence := d.Append(group, [][]byte{payload}, func(err error) { done <- err })
	return sequence, <-done
}

// Data returns n bytes that only seed decides.
func Data(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := disk.AlignedBytes(n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Shard returns a shard's id.
func Shard(counter uint64) engine.ShardID {
	return engine.ShardID{Extent: engine.ExtentID{Group: 1, Epoch: 2, Counter: counter}, Index: uint8(counter % 5)}
}

// WriteShard writes a shard in pieces of step bytes, a multiple of 64 KiB.
func WriteShard(d *drive.Drive, id engine.ShardID, data []byte, step int) error {
	w, err := d.CreateShard(id, int64(len(data)))
	if err != nil {
		return err
	}
	return writeAll(w, id, data, step)
}

// WriteNewShard is WriteShard for a shard that the drive never had.
func WriteNewShard(d *drive.Drive, id engine.ShardID, data []byte, step int) error {
	w, err := d.NewShard(id, int64(len(data)))
	if err != nil {
		return err
	}
	return writeAll(w, id, data, step)
}

func writeAll(w *drive.ShardWriter, id engine.ShardID, data []byte, step int) error {
	for at := 0; at < len(data); at += step {
		p := data[at:min(at+step, len(data))]
		if err := w.Write(p, checksum.Sums(nil, id, at/checksum.UnitBytes, p)); err != nil {
			w.Abort()
			return err
		}
	}
	return w.Commit(context.Background())
}

// CheckShard reads a shard whole and compares.
func CheckShard(d *drive.Drive, id engine.ShardID, want []byte) error {
	got := make([]byte, len(want))
	if err := d.ReadShard(id, 0, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("shard %v has other bytes", id)
	}
	return nil
}

// Compact runs a compaction of segments to its end, if one is worth it.
func Compact(ctx context.Context, d *drive.Drive) (total drive.Compacted, err error) {
	c := d.Compact()
	if c == nil {
		return total, nil
	}
	defer c.Close()
	for more := true; more && err == nil; {
		var did drive.Compacted
		did, more, err = c.Step(ctx)
		total.Rows += did.Rows
		total.Segments += did.Segments
		total.Shards += did.Shards
		total.Bytes += did.Bytes
		total.Bad = append(total.Bad, did.Bad...)
	}
	return total, err
}

func testFormat(t *testing.T, fsys disk.FS) {
	if _, err := drive.Open(fsys, drive.Options{}); !errors.Is(err, drive.ErrUnformatted) {
		t.Fatalf("open of an empty folder: %v", err)
	}
	if err := fsys.MkdirAll("lost+found"); err != nil {
		t.Fatal(err)
	}
	id := Identity(7)
	Format(t, fsys, id)
	got, g, err := drive.Identify(fsys)
	if err != nil || got != id || g != Geometry {
		t.Fatalf("identify: %+v %+v %v", got, g, err)
	}
	if err := drive.Format(fsys, Identity(8), Geometry); !errors.Is(err, drive.ErrForeign) {
		t.Fatalf("format of a drive: %v", err)
	}
	d := Open(t, fsys)
	if _, err := drive.Open(fsys, drive.Options{}); !errors.Is(err, drive.ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	if err := d.CheckIdentity(); err != nil {
		t.Fatal(err)
	}
	if u, err := d.Usage(); err != nil || u.Total <= 0 || u.Reserved != Geometry.ReserveBytes {
		t.Fatalf("usage %+v %v", u, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fsys.Remove("holdfast.drive"); err != nil {
		t.Fatal(err)
	}
	if _, err := drive.Open(fsys, drive.Options{}); !errors.Is(err, drive.ErrForeign) {
		t.Fatalf("open without an identity: %v", err)
	}
	if err := drive.Format(fsys, id, Geometry); !errors.Is(err, drive.ErrForeign) {
		t.Fatalf("format without an identity: %v", err)
	}
}

// testAppend sends records of several groups at once and looks for order, and for all of them after a restart.
func testAppend(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	var groups sync.WaitGroup
	for g := range engine.GroupID(4) {
		groups.Go(func() {
			var last sync.WaitGroup
			next := 0
			for i := range 40 {
				last.Add(1)
				d.Append(g, [][]byte{{byte(i)}, Data(uint64(i), i*10)}, func(err error) {
					if err != nil || next != i {
						t.Errorf("group %d record %d: done as number %d, %v", g, i, next, err)
					}
					next++
					last.Done()
				})
			}
			last.Wait()
		})
	}
	groups.Wait()
	if _, err := Append(d, 1, make([]byte, drive.PayloadBytesMax+1)); !engine.Is(err, engine.KindInvalidArgument) {
		t.Fatalf("a record that is too large: %v", err)
	}
	d = Reopen(t, fsys, d)
	for g := range engine.GroupID(4) {
		records := d.Recovered(g)
		if len(records) != 40 {
			t.Fatalf("group %d: %d records", g, len(records))
		}
		for i, r := range records {
			if r.Payload[0] != byte(i) || !bytes.Equal(r.Payload[1:], Data(uint64(i), i*10)) || i > 0 && r.Sequence <= records[i-1].Sequence {
				t.Fatalf("group %d record %d is another", g, i)
			}
		}
		if again := d.Recovered(g); len(again) != 0 {
			t.Fatalf("a second call has %d records", len(again))
		}
	}
	sequence, err := Append(d, 2, []byte("after"))
	if err != nil {
		t.Fatal(err)
	}
	d.Release(2, sequence-1)
	if err := d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	d = Reopen(t, fsys, d)
	if records := d.Recovered(2); len(records) != 1 || string(records[0].Payload) != "after" {
		t.Fatalf("after a release %d records are there", len(records))
	}
	if records := d.Recovered(3); len(records) != 40 {
		t.Fatalf("another group's release took records: %d left", len(records))
	}
}

// testRingWraps goes around the ring several times, the owner releasing at each flush what it no longer needs.
func testRingWraps(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	var mu sync.Mutex
	last := uint64(0)
	d.OnFlush(func() {
		mu.Lock()
		defer mu.Unlock()
		if last > 3 {
			d.Release(5, last-3)
		}
	})
	for i := range 300 {
		sequence, err := Append(d, 5, Data(uint64(i), 5000))
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		last = sequence
		mu.Unlock()
	}
	if s := d.Stats(); s.RingUsed > Geometry.RingBytes || s.Flushes == 0 {
		t.Fatalf("stats %+v", s)
	}
	d = Reopen(t, fsys, d)
	records := d.Recovered(5)
	if len(records) < 3 {
		t.Fatalf("%d records are left", len(records))
	}
	for i, r := range records {
		if want := Data(uint64(300-len(records)+i), 5000); !bytes.Equal(r.Payload, want) {
			t.Fatalf("record %d of %d is another", i, len(records))
		}
	}
}

// testRingFull fills the ring without a release: appends wait, nothing is overwritten, and a release lets them go.
func testRingFull(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	const total = 80
	results := make(chan error, total)
	first := d.Append(1, [][]byte{Data(0, 6000)}, func(err error) { results <- err })
	for i := 1; i < total; i++ {
		d.Append(1, [][]byte{Data(uint64(i), 6000)}, func(err error) { results <- err })
	}
	for range 1000 {
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d.Stats().RingUsed > Geometry.RingBytes*3/4 {
			break
		}
	}
	if s := d.Stats(); s.RingUsed > Geometry.RingBytes || len(results) == total {
		t.Fatalf("%d of %d records went into a full ring: %+v", len(results), total, s)
	}
	d.OnFlush(func() { d.Release(1, first+total) })
	for range total {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
		d.Release(1, first+total)
	}
}

func testStore(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	a, b := d.Store([]byte("a")), d.Store([]byte("b"))
	commit(t, a, "1", "one", "2", "two", "3", "three")
	commit(t, b, "1", "other")
	if v, ok, err := a.Get([]byte("2")); string(v) != "two" || !ok || err != nil {
		t.Fatalf("get: %q %v %v", v, ok, err)
	}
	if _, ok, err := a.Durable([]byte("1")); ok || err != nil {
		t.Fatalf("durable before a flush: %v %v", ok, err)
	}
	at := a.Snapshot()
	if err := a.Commit(&meta.Batch{Ops: []meta.Op{{Key: []byte("2"), Delete: true}}}); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := a.Get([]byte("2")); ok {
		t.Fatal("a deleted row is there")
	}
	if got := walk(t, at.Iterate(nil, nil)); got != "1=one 2=two 3=three " {
		t.Fatalf("snapshot: %s", got)
	}
	if err := at.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := a.Durable([]byte("1")); string(v) != "one" || !ok || err != nil {
		t.Fatalf("durable after a flush: %q %v %v", v, ok, err)
	}
	it := a.Iterate([]byte("1"), []byte("3"))
	if it.SeekGE([]byte("2")) {
		t.Fatalf("seek finds %q, which is deleted or beyond the end", it.Key())
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.DropStore([]byte("a")); err != nil {
		t.Fatal(err)
	}
	d = Reopen(t, fsys, d)
	if got := walk(t, d.Store([]byte("a")).Iterate(nil, nil)); got != "" {
		t.Fatalf("a dropped store has %s", got)
	}
	if got := walk(t, d.Store([]byte("b")).Iterate(nil, nil)); got != "1=other " {
		t.Fatalf("the other store has %s", got)
	}
}

func commit(t *testing.T, s meta.Store, pairs ...string) {
	t.Helper()
	var b meta.Batch
	for i := 0; i < len(pairs); i += 2 {
		b.Set([]byte(pairs[i]), []byte(pairs[i+1]))
	}
	if err := s.Commit(&b); err != nil {
		t.Fatal(err)
	}
}

func walk(t *testing.T, it meta.Iterator) (rows string) {
	t.Helper()
	for it.Next() {
		rows += fmt.Sprintf("%s=%s ", it.Key(), it.Value())
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return rows
}

func testShards(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	sizes := []int{1, 4095, 4096, 65536, 65537, 200_000, 262144}
	for i, size := range sizes {
		if err := WriteShard(d, Shard(uint64(i+1)), Data(uint64(i), size), 128<<10); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
	check := func() {
		t.Helper()
		for i, size := range sizes {
			if err := CheckShard(d, Shard(uint64(i+1)), Data(uint64(i), size)); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
		infos, err := d.Shards(engine.ShardID{}, 100)
		if err != nil || len(infos) != len(sizes) || infos[3].ID != Shard(4) || infos[3].Bytes != 65536 {
			t.Fatalf("list: %v %v", infos, err)
		}
		if rest, err := d.Shards(Shard(4), 2); err != nil || len(rest) != 2 || rest[0].ID != Shard(5) {
			t.Fatalf("second page: %v %v", rest, err)
		}
	}
	check()
	d = Reopen(t, fsys, d)
	check()
	if err := WriteShard(d, Shard(6), Data(99, 70_000), 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := CheckShard(d, Shard(6), Data(99, 70_000)); err != nil {
		t.Fatalf("replaced: %v", err)
	}
	if err := d.DeleteShards(t.Context(), []engine.ShardID{Shard(1), Shard(6), Shard(77)}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := CheckShard(d, Shard(6), nil); !errors.Is(err, drive.ErrNoShard) {
			t.Fatalf("read of a deleted shard: %v", err)
		}
		if _, err := d.StatShard(Shard(1)); !errors.Is(err, drive.ErrNoShard) {
			t.Fatalf("stat of a deleted shard: %v", err)
		}
		d = Reopen(t, fsys, d)
	}
	if err := CheckShard(d, Shard(5), Data(4, 65537)); err != nil {
		t.Fatalf("a neighbour: %v", err)
	}
	w, err := d.CreateShard(Shard(9), 100)
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if err := w.Commit(t.Context()); err == nil {
		t.Fatal("committed after an abort")
	}
	if _, err := d.StatShard(Shard(9)); !errors.Is(err, drive.ErrNoShard) {
		t.Fatalf("stat of an aborted shard: %v", err)
	}
}

// testShardsUnaligned reads ranges of every kind.
func testShardsUnaligned(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	data := Data(1, 300_001)
	if err := WriteShard(d, Shard(1), append([]byte{}, data...), 192<<10); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		off := rng.IntN(len(data))
		n := 1 + rng.IntN(len(data)-off)
		got := make([]byte, n)
		if err := d.ReadShard(Shard(1), int64(off), got); err != nil || !bytes.Equal(got, data[off:off+n]) {
			t.Fatalf("%d bytes at %d: %v", n, off, err)
		}
	}
	if err := d.ReadShard(Shard(1), 300_000, make([]byte, 2)); !engine.Is(err, engine.KindInvalidArgument) {
		t.Fatalf("beyond the end: %v", err)
	}
}

// testShardsConcurrent writes, reads and deletes at once; a reader gets the right bytes or ErrNoShard.
// testShardsVerified has shards of all sorts of lengths read from the disk, in parts, into memory of all sorts.
func testShardsVerified(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	for i, size := range []int{1, 4096, 65_536, 65_537, 300_001} {
		id, want := Shard(uint64(i+1)), Data(uint64(i), size)
		if err := WriteShard(d, id, want, 64<<10); err != nil {
			t.Fatal(err)
		}
		aligned := disk.AlignedBytes(128 << 10)
		for _, memory := range [][]byte{aligned, make([]byte, 128<<10+1)[1:], aligned[: size%len(aligned) : size%len(aligned)]} {
			part := len(memory) / checksum.UnitBytes * checksum.UnitBytes
			if size <= len(memory) {
				part = size
			}
			for at := 0; at < size && part > 0; at += part {
				dst := memory[:min(part, size-at)]
				if err := d.VerifyShard(id, int64(at), dst); err != nil || !bytes.Equal(dst, want[at:at+len(dst)]) {
					t.Fatalf("%d bytes of %d at %d: %v", len(dst), size, at, err)
				}
			}
		}
	}
	for _, wrong := range [][2]int64{{-65_536, 65_536}, {1, 65_536}, {0, 65_535}, {262_144, 65_536}, {65_536 * 5, 1}} {
		if err := d.VerifyShard(Shard(5), wrong[0], make([]byte, wrong[1])); !engine.Is(err, engine.KindInvalidArgument) {
			t.Errorf("%d bytes at %d: %v", wrong[1], wrong[0], err)
		}
	}
	if err := d.VerifyShard(Shard(6), 0, disk.AlignedBytes(4096)); !errors.Is(err, drive.ErrNoShard) {
		t.Errorf("a shard that is not there: %v", err)
	}
}

func testShardsConcurrent(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 12 {
				id := Shard(uint64(g*100 + i + 1))
				data := Data(id.Extent.Counter, 50_000+i*10_000)
				if err := WriteShard(d, id, data, 64<<10); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				var reader sync.WaitGroup
				reader.Go(func() {
					for range 3 {
						if err := CheckShard(d, id, data); err != nil && !errors.Is(err, drive.ErrNoShard) {
							t.Errorf("read: %v", err)
						}
					}
				})
				if i%3 != 0 {
					if err := d.DeleteShards(context.Background(), []engine.ShardID{id}); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
				reader.Wait()
			}
		})
	}
	all.Wait()
	infos, err := d.Shards(engine.ShardID{}, 1000)
	if err != nil || len(infos) != 16 {
		t.Fatalf("%d shards are left, %v", len(infos), err)
	}
}

// testSegments fills several segments and deletes all: the segments go, and their numbers do not come back.
func testSegments(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	var ids []engine.ShardID
	for i := range uint64(20) {
		ids = append(ids, Shard(i+1))
		if err := WriteShard(d, Shard(i+1), Data(i, 256<<10), 128<<10); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.Segments()); n != 5 {
		t.Fatalf("%d segments", n)
	}
	if err := d.DeleteShards(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	d = Reopen(t, fsys, d)
	for range 1000 {
		if len(d.Segments()) == 0 {
			break
		}
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s := d.Segments(); len(s) != 0 {
		t.Fatalf("segments are left: %+v", s)
	}
	if err := WriteShard(d, Shard(50), Data(50, 100), 64<<10); err != nil {
		t.Fatal(err)
	}
	d = Reopen(t, fsys, d)
	if err := CheckShard(d, Shard(50), Data(50, 100)); err != nil {
		t.Fatal(err)
	}
	if s := d.Stats(); s.ShardBytes != 4096 || s.Segments != 1 {
		t.Fatalf("stats %+v", s)
	}
}

// testCompaction deletes most of what is in segments: what is left comes to lie in one, and the others go.
func testCompaction(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	if d.Compact() != nil {
		t.Fatal("an empty drive is worth a compaction")
	}
	sizes := []int{1, 4096, 65_537, 90_000, 200_001, 300_000, 376_830} // fill a segment
	kept := map[engine.ShardID][]byte{}
	var gone []engine.ShardID
	for i := range uint64(8 * 7) {
		id, data := Shard(i+1), Data(i, sizes[i%7])
		if err := WriteShard(d, id, data, 64<<10); err != nil {
			t.Fatal(err)
		}
		if i/7%4 == i%7 {
			kept[id] = data
		} else {
			gone = append(gone, id)
		}
	}
	if s := d.Stats(); s.Segments != 8 || s.SegmentsSparse != 0 || d.Compact() != nil {
		t.Fatalf("full segments are sparse: %+v", s)
	}
	if err := d.DeleteShards(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	before := d.Stats()
	did, err := Compact(t.Context(), d)
	if err != nil || did.Segments != 8 || did.Shards != 8 || did.Bytes != 2*(1+4096+65_537+90_000) || len(did.Bad) != 0 {
		t.Fatalf("%+v %v, of %+v", did, err, before)
	}
	check := func() {
		t.Helper()
		for range 1000 {
			if d.Stats().Segments == 1 {
				break
			}
			if err := d.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if s := d.Stats(); s.Segments != 1 || s.ShardBytes != before.ShardBytes || s.SegmentsSparse != 0 {
			t.Fatalf("%+v, before %+v: %+v", s, before, d.Segments())
		}
		for id, data := range kept {
			if err := CheckShard(d, id, data); err != nil {
				t.Fatal(err)
			}
			if err := d.VerifyShard(id, 0, disk.AlignedBytes(len(data))); err != nil {
				t.Fatal(err)
			}
		}
		if list, err := d.Shards(engine.ShardID{}, 100); err != nil || len(list) != len(kept) {
			t.Fatalf("%d shards, %v", len(list), err)
		}
	}
	check()
	d = Reopen(t, fsys, d)
	check()
	if d.Compact() != nil {
		t.Fatal("there is no end of it")
	}
}

// testCompactionConcurrent compacts without a rest while shards are written, replaced, read, listed and deleted.
func testCompactionConcurrent(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	ctx, stop := context.WithCancel(t.Context())
	var users, keepers sync.WaitGroup
	var total drive.Compacted
	keepers.Go(func() {
		for ctx.Err() == nil {
			did, err := Compact(t.Context(), d)
			if err != nil && !engine.Is(err, engine.KindDriveFull) || len(did.Bad) > 0 {
				t.Errorf("compaction: %+v %v", did, err)
				return
			}
			total.Shards += did.Shards
			total.Segments += did.Segments
		}
	})
	keepers.Go(func() {
		for ctx.Err() == nil {
			list, err := d.Shards(engine.ShardID{}, 1000)
			if err != nil {
				t.Errorf("list: %v", err)
				return
			}
			for _, info := range list {
				if info.Lost {
					t.Errorf("shard %v counts as lost", info.ID)
				}
			}
		}
	})
	var left sync.Map // id → data
	for g := range 3 {
		users.Go(func() {
			var mine []engine.ShardID
			for i := range 90 {
				id := Shard(uint64(g*1000 + i + 1))
				data := Data(id.Extent.Counter, 1+i%5*37_000)
				if err := WriteShard(d, id, data, 64<<10); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if mine = append(mine, id); i%9 == 0 {
					left.Store(id, data)
				}
				if len(mine) < 30 {
					continue
				}
				old := mine[0]
				mine = mine[1:]
				if data, stays := left.Load(old); !stays {
					if err := d.DeleteShards(context.Background(), []engine.ShardID{old}); err != nil {
						t.Errorf("delete: %v", err)
					}
					if _, err := d.StatShard(old); !errors.Is(err, drive.ErrNoShard) {
						t.Errorf("a deleted shard: %v", err)
					}
				} else if i%2 == 0 {
					if err := WriteShard(d, old, data.([]byte), 64<<10); err != nil {
						t.Errorf("replace: %v", err)
					}
				}
			}
			for _, id := range mine {
				if _, stays := left.Load(id); !stays {
					if err := d.DeleteShards(context.Background(), []engine.ShardID{id}); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
			}
		})
	}
	for range 2 {
		keepers.Go(func() {
			for ctx.Err() == nil {
				left.Range(func(id, data any) bool {
					if err := CheckShard(d, id.(engine.ShardID), data.([]byte)); err != nil {
						t.Errorf("read: %v", err)
					}
					return ctx.Err() == nil && !t.Failed()
				})
			}
		})
	}
	users.Wait()
	stop()
	keepers.Wait()
	if _, err := Compact(t.Context(), d); err != nil && !engine.Is(err, engine.KindDriveFull) {
		t.Fatal(err)
	}
	for range 2 {
		var room int64
		shards := 0
		left.Range(func(id, data any) bool {
			shards++
			room += (int64(len(data.([]byte))) + 4095) &^ 4095
			if err := CheckShard(d, id.(engine.ShardID), data.([]byte)); err != nil {
				t.Errorf("read: %v", err)
			}
			return true
		})
		list, err := d.Shards(engine.ShardID{}, 1000)
		if s := d.Stats(); err != nil || len(list) != shards || s.ShardBytes != room || s.ShardsBad != 0 {
			t.Fatalf("%d shards of %d, %+v, room %d, %v", len(list), shards, s, room, err)
		}
		d = Reopen(t, fsys, d)
	}
	t.Logf("%d shards were moved, %d segments emptied", total.Shards, total.Segments)
}

func testWitness(t *testing.T, fsys disk.FS) {
	id := Identity(3)
	id.Role = drive.RoleWitness
	Format(t, fsys, id)
	d := Open(t, fsys)
	if _, err := d.CreateShard(Shard(1), 100); !engine.Is(err, engine.KindInvalidArgument) {
		t.Fatalf("a shard on a witness: %v", err)
	}
	if _, err := Append(d, 1, []byte("vote")); err != nil {
		t.Fatal(err)
	}
	d = Reopen(t, fsys, d)
	if r := d.Recovered(1); len(r) != 1 || string(r[0].Payload) != "vote" {
		t.Fatalf("recovered %v", r)
	}
}

func testClosed(t *testing.T, fsys disk.FS) {
	Format(t, fsys, Identity(1))
	d := Open(t, fsys)
	if err := WriteShard(d, Shard(1), Data(1, 100), 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, appended := Append(d, 1, nil)
	_, stat := d.StatShard(Shard(1))
	_, _, got := d.Store(nil).Get([]byte("x"))
	for what, err := range map[string]error{
		"append": appended, "stat": stat, "get": got, "flush": d.Flush(t.Context()),
		"read": CheckShard(d, Shard(1), Data(1, 100)), "write": WriteShard(d, Shard(2), Data(2, 100), 64<<10),
		"delete": d.DeleteShards(t.Context(), []engine.ShardID{Shard(1)}),
	} {
		if !errors.Is(err, drive.ErrClosed) {
			t.Errorf("%s after close: %v", what, err)
		}
	}
}
