package drive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk/sim"
	"holdfast/engine/drive"
	"holdfast/engine/drive/drivetest"
	"holdfast/engine/meta"
)

// life is one drive over one or more disks of which each is the survivor of the one before, and what its user was told.
type life struct {
	fs        *sim.FS
	d         *drive.Drive
	operation atomic.Pointer[string]
	formatted bool // Format returned nil

	records  map[engine.GroupID][]sent
	released map[engine.GroupID]uint64
	shards   map[engine.ShardID]shardState
	rows     int // committed; row i is i → i
	durable  int // rows that a flush made durable
}

// sent is a record that was appended; acknowledged once its done was called with nil.
type sent struct {
	sequence     uint64
	payload      []byte
	acknowledged bool
}

// shardState is what may be read of a shard: data, or nothing if absent.
type shardState struct {
	data     []byte
	present  bool // it may be there
	absent   bool // it may be missing
	previous []byte
	torn     bool // a new shard whose commit did not return: its bytes may be refused
}

func newLife(fs *sim.FS) *life {
	l := &life{fs: fs, records: map[engine.GroupID][]sent{}, released: map[engine.GroupID]uint64{}, shards: map[engine.ShardID]shardState{}}
	l.in("none")
	return l
}

func (l *life) in(operation string) { l.operation.Store(&operation) }

var crashGeometry = drive.Geometry{RingBytes: drive.RingBytesMin, SegmentBytes: 256 << 10, ReserveBytes: 0}

// run does everything that a drive does, in small. It stops at the first error.
func (l *life) run() error {
	for _, step := range []struct {
		operation string
		do        func() error
	}{
		{"format", l.format},
		{"open", l.open},
		{"append", func() error { return l.appendSome(1, 3, 700) }},
		{"shard create and commit", func() error { return l.writeShards(1, 4, 70_000) }},
		{"new shard", func() error { return l.newShards(40, 4, 70_000) }},
		{"commit rows", func() error { return l.commitRows(5) }},
		{"flush", l.flush},
		{"append", func() error { return l.appendSome(2, 3, 9000) }},
		{"shard delete", func() error { return l.deleteShards(1, 2) }},
		{"shard abort", l.abortShard},
		{"shard replace", func() error { return l.writeShards(3, 1, 50_000) }},
		{"commit rows", func() error { return l.commitRows(3) }},
		{"ring recycling", func() error { l.release(2); return l.appendSome(1, 40, 8000) }},
		{"close", l.close},
		{"replay", l.open},
		{"append", func() error { return l.appendSome(2, 2, 100) }},
		{"segment recycling", func() error { l.release(2); l.release(1); return l.writeShards(10, 6, 120_000) }},
		{"segment recycling", func() error { return l.deleteShards(10, 6) }},
		{"segment recycling", l.settle},
		{"flush", l.flush},
		{"shard create and commit", func() error { return l.writeShards(30, 12, 64<<10) }},
		{"shard delete", func() error { return errors.Join(l.deleteShards(31, 3), l.deleteShards(35, 3), l.deleteShards(39, 3)) }},
		{"new shard", func() error { return l.newShards(50, 3, 64<<10) }},
		{"shard delete", func() error { return l.deleteShards(50, 1) }},
		{"compaction", l.compact},
		{"compaction", l.settle},
		{"shard create and commit", func() error { return l.writeShards(20, 2, 64<<10) }},
		{"close", l.close},
	} {
		l.in(step.operation)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.operation, err)
		}
	}
	return nil
}

func (l *life) format() error {
	if err := drive.Format(l.fs, drivetest.Identity(1), crashGeometry); err != nil {
		return err
	}
	l.formatted = true
	return nil
}

func (l *life) open() error {
	d, err := drive.Open(l.fs, drive.Options{FlushInterval: time.Hour})
	if err != nil {
		return err
	}
	l.d = d
	return nil
}

// appendSome appends records and waits for each; group 1 gives up all but its last two.
func (l *life) appendSome(g engine.GroupID, n, size int) error {
	for range n {
		payload := drivetest.Data(uint64(len(l.records[g]))+1000*uint64(g), size)
		sequence, err := l.appendOne(g, payload)
		l.records[g] = append(l.records[g], sent{sequence: sequence, payload: payload, acknowledged: err == nil})
		if err != nil {
			return err
		}
		if all := l.records[g]; g == 1 && len(all) > 2 {
			l.released[g] = all[len(all)-3].sequence
			l.d.Release(g, l.released[g])
		}
	}
	return nil
}

// release gives up all records of a group, which would hold the tail of the ring.
func (l *life) release(g engine.GroupID) {
	l.released[g] = l.records[g][len(l.records[g])-1].sequence
	l.d.Release(g, l.released[g])
}

func (l *life) appendOne(g engine.GroupID, payload []byte) (uint64, error) {
	done := make(chan error, 1)
	sequence := l.d.Append(g, [][]byte{payload[:len(payload)/2], payload[len(payload)/2:]}, func(err error) { done <- err })
	return sequence, <-done
}

func (l *life) writeShards(first uint64, n, size int) error {
	for i := range uint64(n) {
		id := drivetest.Shard(first + i)
		old := l.shards[id]
		data := drivetest.Data(first+i+uint64(size), size)
		l.shards[id] = shardState{data: data, present: true, absent: !old.present, previous: old.data}
		if err := drivetest.WriteShard(l.d, id, data, 64<<10); err != nil {
			return err
		}
		l.shards[id] = shardState{data: data, present: true}
	}
	return nil
}

// newShards is writeShards for shards that the drive never had.
func (l *life) newShards(first uint64, n, size int) error {
	for i := range uint64(n) {
		id := drivetest.Shard(first + i)
		data := drivetest.Data(first+i+uint64(size), size)
		l.shards[id] = shardState{data: data, present: true, absent: true, torn: true}
		if err := drivetest.WriteNewShard(l.d, id, data, 64<<10); err != nil {
			return err
		}
		l.shards[id] = shardState{data: data, present: true}
	}
	return nil
}

func (l *life) deleteShards(first uint64, n int) error {
	var ids []engine.ShardID
	for i := range uint64(n) {
		id := drivetest.Shard(first + i)
		s := l.shards[id]
		s.absent = true
		l.shards[id] = s
		ids = append(ids, id)
	}
	if err := l.d.DeleteShards(context.Background(), ids); err != nil {
		return err
	}
	for _, id := range ids {
		l.shards[id] = shardState{absent: true}
	}
	return nil
}

func (l *life) abortShard() error {
	id := drivetest.Shard(60)
	l.shards[id] = shardState{absent: true}
	w, err := l.d.CreateShard(id, 30_000)
	if err != nil {
		return err
	}
	defer w.Abort()
	return w.Write(drivetest.Data(60, 5000), []uint64{1})
}

func (l *life) commitRows(n int) error {
	for range n {
		l.rows++
		var b meta.Batch
		b.Set(fmt.Appendf(nil, "%04d", l.rows), fmt.Appendf(nil, "%d", l.rows))
		b.Set([]byte("last"), fmt.Appendf(nil, "%d", l.rows))
		if err := l.d.Store([]byte("g")).Commit(&b); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) flush() error {
	rows := l.rows
	if err := l.d.Flush(context.Background()); err != nil {
		return err
	}
	l.durable = rows
	return nil
}

// compact moves what is left in sparse segments. No shard is another for it, or not there.
func (l *life) compact() error {
	did, err := drivetest.Compact(context.Background(), l.d)
	if err == nil && did.Segments < 2 {
		err = fmt.Errorf("a compaction that did %+v", did)
	}
	return err
}

// settle waits until the reaper has removed the segments that are wholly free.
func (l *life) settle() error {
	for range 10_000 {
		free := 0
		for _, s := range l.d.Segments() {
			if s.Live == 0 && s.Next == s.Bytes {
				free++
			}
		}
		if free == 0 {
			return nil
		}
		if err := l.flush(); err != nil {
			return err
		}
	}
	return errors.New("segments without shards stay")
}

func (l *life) close() error {
	rows := l.rows
	d := l.d
	l.d = nil
	if err := d.Close(); err != nil {
		return err
	}
	l.durable = rows
	return nil
}

// end closes what a crash left open.
func (l *life) end() {
	if l.d != nil {
		l.d.Close()
		l.d = nil
	}
}

// check opens the survivor and compares it with what the user was told.
func (l *life) check() error {
	_, _, err := drive.Identify(l.fs)
	if errors.Is(err, drive.ErrUnformatted) && !l.formatted {
		return drive.Format(l.fs, drivetest.Identity(1), crashGeometry)
	}
	if err != nil {
		return fmt.Errorf("identify: %w", err)
	}
	d, err := drive.Open(l.fs, drive.Options{FlushInterval: time.Hour})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	l.d = d
	for g := range l.records {
		if err := checkRecords(d.Recovered(g), l.records[g], l.released[g]); err != nil {
			return fmt.Errorf("group %d: %w", g, err)
		}
	}
	for id, s := range l.shards {
		if err := checkShard(d, id, s); err != nil {
			return err
		}
	}
	if err := l.checkRows(); err != nil {
		return err
	}
	return l.checkRoom()
}

// checkRecords wants every acknowledged record that was not released, in order, and nothing that was not sent.
func checkRecords(found []meta.LogRecord, all []sent, released uint64) error {
	bySequence := map[uint64]int{}
	for i, s := range all {
		bySequence[s.sequence] = i
	}
	last := -1
	for _, r := range found {
		i, known := bySequence[r.Sequence]
		if !known || !bytes.Equal(r.Payload, all[i].payload) {
			return fmt.Errorf("record %d was never sent or has other bytes", r.Sequence)
		}
		if last >= 0 && i != last+1 {
			return fmt.Errorf("record number %d follows number %d", i, last)
		}
		last = i
	}
	for i, s := range all {
		if s.acknowledged && s.sequence > released && i > last {
			return fmt.Errorf("acknowledged record number %d is lost; the last is number %d", i, last)
		}
	}
	if last >= 0 {
		first := bySequence[found[0].Sequence]
		for i := range first {
			if all[i].acknowledged && all[i].sequence > released {
				return fmt.Errorf("acknowledged record number %d is lost; the first is number %d", i, first)
			}
		}
	}
	return nil
}

func checkShard(d *drive.Drive, id engine.ShardID, s shardState) error {
	info, err := d.StatShard(id)
	if errors.Is(err, drive.ErrNoShard) {
		if s.absent {
			return nil
		}
		return fmt.Errorf("acknowledged shard %v is lost", id)
	}
	if err != nil {
		return err
	}
	if !s.present {
		return fmt.Errorf("deleted or aborted shard %v is there", id)
	}
	want := s.data
	if s.previous != nil && info.Bytes == int64(len(s.previous)) {
		want = s.previous
	}
	if info.Bytes != int64(len(want)) {
		return fmt.Errorf("shard %v has %d bytes", id, info.Bytes)
	}
	err = drivetest.CheckShard(d, id, want)
	if s.torn && errors.Is(err, drive.ErrBadShard) {
		return nil
	}
	return err
}

// checkRows wants a prefix of the commits, no shorter than what was flushed.
func (l *life) checkRows() error {
	store := l.d.Store([]byte("g"))
	n := 0
	if v, ok, err := store.Get([]byte("last")); err != nil {
		return err
	} else if ok {
		fmt.Sscan(string(v), &n)
	}
	if n < l.durable || n > l.rows {
		return fmt.Errorf("%d rows are there of %d, %d were durable", n, l.rows, l.durable)
	}
	it, found := store.Iterate(nil, []byte("last")), 0
	for it.Next() {
		found++
		if want := fmt.Sprintf("%04d=%d", found, found); fmt.Sprintf("%s=%s", it.Key(), it.Value()) != want {
			return errors.Join(fmt.Errorf("row %q where %s belongs", it.Key(), want), it.Close())
		}
	}
	if found != n {
		return fmt.Errorf("%d rows where the last says %d", found, n)
	}
	l.rows, l.durable = n, 0
	return it.Close()
}

// checkRoom wants the room that is counted to be the room of the shards.
func (l *life) checkRoom() error {
	infos, err := l.d.Shards(engine.ShardID{}, 1000)
	if err != nil {
		return err
	}
	var room int64
	for _, i := range infos {
		room += (i.Bytes + 4095) &^ 4095
	}
	if got := l.d.Stats().ShardBytes; got != room {
		return fmt.Errorf("%d bytes of room are counted, the shards have %d", got, room)
	}
	return nil
}

// goOn uses the drive after a crash and looks once more.
func (l *life) goOn() error {
	if l.d == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	for _, g := range l.d.Groups() {
		l.d.Release(g, 1<<60)
	}
	l.records = map[engine.GroupID][]sent{3: nil}
	for id := range l.shards {
		_, err := l.d.StatShard(id)
		s := l.shards[id]
		s.present, s.absent = err == nil, err != nil
		l.shards[id] = s
	}
	return errors.Join(l.appendSome(3, 3, 3000), l.writeShards(100, 2, 66_000), l.deleteShards(100, 1), l.commitRows(2), l.close(), l.check())
}

// point is a place for the power to go.
type point struct {
	operation string
	site      string
	visit     int
}

// points runs the scenario without a crash and returns every call that changes the disk.
func points(t *testing.T) []point {
	l := newLife(sim.New(1, sim.Options{}))
	var mu sync.Mutex
	var all []point
	visits := map[string]int{}
	l.fs.Inject(func(c sim.Call) *sim.Fault {
		mu.Lock()
		defer mu.Unlock()
		visits[c.Site]++
		if c.Changes() {
			all = append(all, point{operation: *l.operation.Load(), site: c.Site, visit: visits[c.Site]})
		}
		return nil
	})
	if err := l.run(); err != nil {
		t.Fatalf("without a crash: %v", err)
	}
	l.fs = l.fs.Restart()
	if err := errors.Join(l.check(), l.goOn()); err != nil {
		t.Fatalf("after a power cut at rest: %v", err)
	}
	l.end()
	return all
}

// wanted are the operations and the call sites of this package that must have been struck. A new call site belongs here.
var wantedOperations = []string{"format", "open", "append", "shard create and commit", "new shard", "shard delete", "shard abort", "shard replace",
	"commit rows", "flush", "ring recycling", "close", "replay", "segment recycling", "compaction"}

var wantedSites = []string{
	"drive.writeMarker", "drive.formatRing", "drive.formatData", "drive.formatIndex", "drive.Format.func6", "drive.writeIdentity",
	"drive.(*ring).put", "drive.(*Drive).recover", "drive.(*segments).allocate", "drive.(*ShardWriter).writeAligned",
	"drive.(*ShardWriter).sync", "drive.(*segments).reopen", "drive.(*segments).reap", "drive.(*segments).remove",
	"index:sst:create", "index:sst:write", "index:sst:sync", "index:manifest:write", "index:manifest:sync", "index:directory:syncdir",
}

// silentOperations change nothing on the disk by themselves; that they are struck by nothing is checked too.
var silentOperations = []string{"commit rows"}

// TestCrashEverywhere cuts the power at every call that changes the disk, and looks whether what was acknowledged is there.
func TestCrashEverywhere(t *testing.T) {
	all := everyNth(points(t), step())
	var mu sync.Mutex
	counts := map[[2]string]map[int]bool{}
	eachPoint(t, all, func(p point, seed uint64) error {
		l := newLife(sim.New(seed, sim.Options{}))
		l.fs.CrashAtSite(p.site, p.visit)
		err := l.run()
		l.end()
		call, crashed := l.fs.Crashed()
		if err != nil && !crashed {
			return fmt.Errorf("without a crash: %w", err)
		}
		if crashed {
			mu.Lock()
			key := [2]string{*l.operation.Load(), call.Site}
			if counts[key] == nil {
				counts[key] = map[int]bool{}
			}
			counts[key][call.Ordinal] = true
			mu.Unlock()
		}
		l.fs = l.fs.Restart()
		defer l.end()
		if err := l.check(); err != nil {
			return err
		}
		return l.goOn()
	})
	if step() == 1 {
		checkTable(t, counts)
	}
}

// step is how many points a run takes one of.
func step() int {
	if testing.Short() {
		return max(pointsStep, 8)
	}
	return pointsStep
}

func everyNth(all []point, n int) (some []point) {
	for i := 0; i < len(all); i += n {
		some = append(some, all[i])
	}
	return some
}

// eachPoint runs check for every point with two seeds, two at a time.
func eachPoint(t *testing.T, all []point, check func(p point, seed uint64) error) {
	var workers sync.WaitGroup
	var next atomic.Int64
	for range 2 {
		workers.Go(func() {
			for i := int(next.Add(1) - 1); i < 2*len(all) && !t.Failed(); i = int(next.Add(1) - 1) {
				p, seed := all[i/2], uint64(i+1)
				if err := check(p, seed); err != nil {
					t.Errorf("%s, %s, call %d, seed %d: %v", p.operation, p.site, p.visit, seed, err)
				}
			}
		})
	}
	workers.Wait()
}

// checkTable prints what was struck and fails for what was not.
func checkTable(t *testing.T, counts map[[2]string]map[int]bool) {
	operations, sites, total := map[string]bool{}, map[string]bool{}, 0
	var lines []string
	for key, ordinals := range counts {
		operations[key[0]], sites[key[1]] = true, true
		total += len(ordinals)
		lines = append(lines, fmt.Sprintf("%-26s %-40s %4d", key[0], key[1], len(ordinals)))
	}
	sort.Strings(lines)
	t.Logf("%d distinct crash points (operation, call site, ordinals):\n%s", total, strings.Join(lines, "\n"))
	if path := os.Getenv("HOLDFAST_CRASH_TABLE"); path != "" {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Error(err)
		}
	}
	for _, o := range wantedOperations {
		if !operations[o] && !slices.Contains(silentOperations, o) {
			t.Errorf("operation %q was never struck", o)
		}
	}
	for _, s := range wantedSites {
		if !sites[s] {
			t.Errorf("call site %s was never struck", s)
		}
	}
	for s := range sites {
		if strings.HasPrefix(s, "drive.") && !slices.Contains(wantedSites, s) {
			t.Errorf("call site %s is not in wantedSites; add it", s)
		}
	}
}

// TestFaultEverywhere fails every call that changes the disk once with EIO: the drive fails and says so, Close returns, and after a power cut what
// was acknowledged is there.
func TestFaultEverywhere(t *testing.T) {
	all := everyNth(points(t), 2*step())
	eachPoint(t, all, func(p point, seed uint64) error {
		l := newLife(sim.New(seed, sim.Options{}))
		visits, struck := 0, false
		l.fs.Inject(func(c sim.Call) *sim.Fault {
			if c.Site == p.site {
				if visits++; visits == p.visit && c.Changes() {
					struck = true
					return &sim.Fault{Err: syscall.EIO, Short: int(seed%3) * 512}
				}
			}
			return nil
		})
		err := l.run()
		if l.d != nil && struck {
			if l.d.Failed() == nil {
				return fmt.Errorf("the drive goes on after EIO: %v", err)
			}
			if _, err := l.appendOne(1, []byte("late")); !errors.Is(err, drive.ErrFailed) {
				return fmt.Errorf("append on a failed drive: %v", err)
			}
		}
		if err != nil && !struck {
			return fmt.Errorf("without a fault: %w", err)
		}
		l.end()
		l.fs = l.fs.Restart()
		defer l.end()
		return l.check()
	})
}
