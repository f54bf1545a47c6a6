package drive

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"syscall"

	"holdfast/engine"
	"holdfast/engine/disk"
)

const (
	// openSegmentsMax bounds the segments that new shards may go to; the one with the least room is sealed beyond.
	openSegmentsMax = 8
	// openFilesMax bounds the descriptors for reading that are kept.
	openFilesMax = 512
)

// segments is the data stream. Room in a segment is given from its start to its end and never twice: what is freed is punched out, and
// a segment without shards is removed as a file; one with few is emptied by a Compaction. A number of a segment is not used again while anything in the
// meta stream may name it.
type segments struct {
	d        *Drive
	creating sync.Mutex // held while a new file is made, so that one is made at a time

	mu    sync.Mutex // guards all below and every segment's fields
	all   map[uint32]*segment
	next  uint32
	files int    // open for reading
	clock uint64 // of uses of files
	jobs  []job
	work  *sync.Cond
	ended bool
}

// segment is one file of the data stream.
type segment struct {
	number  uint32
	size    int64
	next    int64 // where the next shard goes; size when sealed
	live    int64 // room of shards and of shards being written
	shards  int   // that are recorded
	writers int   // shards being written
	left    int64 // live when a shard in it could not be moved: until that changes, a compaction passes it over
	gone    bool  // the file is missing
	removed bool  // on its way out
	write   disk.File
	read    disk.File
	readers int
	used    uint64
	syncs   group
}

// job is room to give back: a range, or the whole segment if length is 0.
type job struct {
	segment        *segment
	offset, length int64
}

func newSegments(d *Drive) *segments {
	s := &segments{d: d, all: map[uint32]*segment{}}
	s.work = sync.NewCond(&s.mu)
	return s
}

// open finds the segments by their rows and counts the shards in them. Files without a row hold no acknowledged shard, because the record of a
// segment goes before those of its shards.
func (s *segments) open() error {
	if err := s.readRows(); err != nil {
		return err
	}
	names, err := s.d.fsys.List(dataDir)
	if err != nil {
		return damaged("the data stream: %w", err)
	}
	found := map[uint32]bool{}
	for _, name := range names {
		var number uint32
		if _, err := fmt.Sscanf(name, "%d.seg", &number); err != nil || path.Join(dataDir, name) != segmentName(number) {
			continue
		}
		s.next = max(s.next, number+1)
		if s.all[number] != nil {
			found[number] = true
		} else if err := s.d.fsys.Remove(path.Join(dataDir, name)); err != nil {
			return err
		}
	}
	for number, g := range s.all {
		g.gone = !found[number]
	}
	return s.resume()
}

// readRows makes the segments from their rows and those of the shards.
func (s *segments) readRows() error {
	err := s.d.rows(segmentRange, func(_, value []byte) error {
		r, err := decodeSegmentRecord(value)
		if err == nil {
			s.all[r.number] = &segment{number: r.number, size: r.bytes}
			s.next = max(s.next, r.number+1)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.d.rows(shardRange, func(_, value []byte) error {
		p, err := decodePlace(value)
		if err != nil {
			return err
		}
		g := s.all[p.segment]
		if g == nil || p.end() > g.size {
			return damaged("a shard's row names segment %d at %d, which is not there", p.segment, p.offset)
		}
		g.live += p.room()
		g.shards++
		g.next = max(g.next, p.end())
		return nil
	})
}

// resume gives back what no shard needs, and lets new shards go to the segments with the most room.
func (s *segments) resume() error {
	roomy := slices.SortedFunc(maps.Values(s.all), func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.next-a.size, b.next-b.size), cmp.Compare(a.number, b.number))
	})
	open := 0
	for _, g := range roomy {
		end := g.next
		if g.gone || g.live == 0 || open == openSegmentsMax/2 || g.size-g.next < g.size/8 || s.reopen(g) != nil {
			g.next = g.size
		} else {
			open++
		}
		if err := s.trim(g, end); err != nil {
			return err
		}
	}
	return nil
}

// reopen prepares a segment of an earlier run for new shards.
func (s *segments) reopen(g *segment) error {
	f, err := s.d.fsys.Open(segmentName(g.number), disk.Flags{Direct: true})
	if err != nil {
		return err
	}
	if err := f.Allocate(g.next, g.size-g.next); err != nil {
		return errors.Join(err, f.Close())
	}
	g.write = f
	return nil
}

// trim asks for the room between the shards of a segment back, if it occupies more than they need; end is where the last one ends.
func (s *segments) trim(g *segment, end int64) error {
	if g.gone {
		return nil
	}
	if g.live == 0 {
		s.retire(g)
		return nil
	}
	info, err := s.d.fsys.Stat(segmentName(g.number))
	if err != nil || info.Allocated <= g.live+g.size-g.next {
		return err
	}
	var places [][2]int64
	err = s.d.rows(shardRange, func(_, value []byte) error {
		p, err := decodePlace(value)
		if err == nil && p.segment == g.number {
			places = append(places, [2]int64{p.offset, p.end()})
		}
		return err
	})
	slices.SortFunc(places, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	at := int64(0)
	for _, p := range places {
		s.punch(g, at, p[0]-at)
		at = max(at, p[1])
	}
	if g.next == g.size {
		s.punch(g, end, g.size-end)
	}
	return err
}

// punch asks the reaper to give a range back. The lock is held, or nobody else is there yet.
func (s *segments) punch(g *segment, offset, length int64) {
	if length > 0 && !g.removed && !g.gone {
		s.jobs = append(s.jobs, job{segment: g, offset: offset, length: length})
		s.work.Signal()
	}
}

// retire asks the reaper to remove a segment. The lock is held, or nobody else is there yet.
func (s *segments) retire(g *segment) {
	if !g.removed && !g.gone {
		g.removed = true
		g.next = g.size
		s.jobs = append(s.jobs, job{segment: g})
		s.work.Signal()
	}
}

// reserve finds contiguous room, in a new segment if need be. KindDriveFull if there is none above the reserve.
func (s *segments) reserve(bytes int64) (*segment, int64, error) {
	if g, offset := s.take(bytes, leastRoom); g != nil {
		return g, offset, nil
	}
	s.creating.Lock()
	defer s.creating.Unlock()
	for {
		if g, offset := s.take(bytes, leastRoom); g != nil {
			return g, offset, nil
		}
		if err := s.create(bytes); err != nil { // others may be quicker to take its room
			return nil, 0, err
		}
	}
}

// leastRoom orders segments by what is left of them, so that they become full one after another.
func leastRoom(a, b *segment) int { return cmp.Compare(a.size-a.next, b.size-b.next) }

// take gives room in an open segment that has it, the first in an order.
func (s *segments) take(bytes int64, order func(a, b *segment) int) (best *segment, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.all {
		if g.write != nil && g.size-g.next >= bytes && (best == nil || order(g, best) < 0) {
			best = g
		}
	}
	if best == nil {
		return nil, 0
	}
	offset = best.next
	best.next += bytes
	best.live += bytes
	best.writers++
	return best, offset
}

// create makes a segment of the usual size, or of bytes where that is too much for the file system. Its names are durable before its record is
// queued, and its record is durable before that of any shard in it, because the meta stream is in order.
func (s *segments) create(bytes int64) error {
	defer stepSegment.Enter().Leave()
	size := s.d.geometry.SegmentBytes
	usage, err := s.d.fsys.Usage()
	if err != nil {
		return s.d.fail(err)
	}
	if usage.Free-s.d.geometry.ReserveBytes < size {
		size = bytes
	}
	if usage.Free-s.d.geometry.ReserveBytes < size {
		return full(bytes, usage.Free, s.d.geometry.ReserveBytes)
	}
	s.mu.Lock()
	number := s.next
	s.next++
	s.mu.Unlock()
	f, err := s.allocate(number, size)
	if errors.Is(err, syscall.ENOSPC) {
		return full(bytes, usage.Free, s.d.geometry.ReserveBytes)
	}
	if err != nil {
		return s.d.fail(err)
	}
	change := segmentRecord{number: number, bytes: size}
	s.d.ring.append(waiting{record: record{kind: RecordSegment}, parts: [][]byte{encodeSegmentRecord(change)}, done: func(error) {}})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[number] = &segment{number: number, size: size, write: f}
	s.sealBeyond()
	return nil
}

func full(bytes, free, reserve int64) error {
	return engine.E(engine.KindDriveFull, "no room for %d bytes: the file system has %d free, of which %d are reserved", bytes, free, reserve)
}

// allocate makes a file with room for size bytes, durable with its name. It leaves nothing behind on ENOSPC.
func (s *segments) allocate(number uint32, size int64) (disk.File, error) {
	defer s.d.watch.begin()()
	name := segmentName(number)
	f, err := s.d.fsys.Open(name, disk.Flags{Create: true, Exclusive: true, Direct: true})
	if err != nil {
		return nil, err
	}
	if err := f.Allocate(0, size); err != nil {
		return nil, errors.Join(err, f.Close(), s.d.fsys.Remove(name))
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := s.d.fsys.SyncDir(dataDir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sealBeyond seals the fullest segment while too many are open. The lock is held.
func (s *segments) sealBeyond() {
	var open []*segment
	for _, g := range s.all {
		if g.write != nil && g.next < g.size {
			open = append(open, g)
		}
	}
	if len(open) > openSegmentsMax {
		s.seal(slices.MinFunc(open, func(a, b *segment) int {
			return cmp.Or(cmp.Compare(a.size-a.next, b.size-b.next), cmp.Compare(a.number, b.number))
		}))
	}
}

// seal takes no more shards into g. The lock is held.
func (s *segments) seal(g *segment) {
	end := g.next
	g.next = g.size
	s.punch(g, end, g.size-end)
	s.settle(g)
}

// finish ends the writing of a shard that had reserved room at offset and keeps kept of it. The lock is not held.
func (s *segments) finish(g *segment, offset, reserved, kept int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.writers--
	g.live -= reserved - kept
	if kept > 0 {
		g.shards++
	}
	if g.next == offset+reserved && !g.gone {
		g.next = offset + kept // nobody came behind
	} else {
		s.punch(g, offset+kept, reserved-kept)
	}
	s.settle(g)
}

// free gives back the room of a shard that is deleted, or is elsewhere now.
func (s *segments) free(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.all[p.segment]
	if g == nil {
		return
	}
	g.live -= p.room()
	g.shards--
	s.punch(g, p.offset, p.room())
	s.settle(g)
}

// settle closes the writing side of a full segment, and retires an empty one that is half used. The lock is held.
func (s *segments) settle(g *segment) {
	if g.writers > 0 {
		return
	}
	if g.live == 0 && g.next >= g.size/2 {
		s.retire(g)
	}
	if g.next == g.size && g.write != nil {
		if err := g.write.Close(); err != nil {
			s.d.fail(err)
		}
		g.write = nil
	}
}

// reaper is the goroutine that gives room back: it punches holes and removes files. It ends with stopping.
func (s *segments) reaper() {
	stop := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-s.d.stopping:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ended = true
			s.work.Broadcast()
		case <-stop:
		}
	})
	defer watcher.Wait()
	defer close(stop)
	for {
		j, ok := s.nextJob()
		if !ok {
			return
		}
		if s.d.Failed() != nil {
			continue
		}
		if err := s.reap(j); err != nil && !errors.Is(err, ErrClosed) && s.d.Failed() == nil {
			s.d.fail(err)
		}
	}
}

func (s *segments) nextJob() (job, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.jobs) == 0 && !s.ended {
		s.work.Wait()
	}
	if s.ended {
		return job{}, false // what is left is found again by trim
	}
	j := s.jobs[0]
	s.jobs = s.jobs[1:]
	return j, true
}

func (s *segments) reap(j job) error {
	defer stepReap.Enter().Leave()
	if j.length == 0 {
		return s.remove(j.segment)
	}
	defer s.d.watch.begin()()
	f, err := s.d.fsys.Open(segmentName(j.segment.number), disk.Flags{})
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return cmp.Or(f.Punch(j.offset, j.length), f.Close())
}

// remove takes a segment's row away, durably, and then its file: a file without a row is removed by the next Open.
func (s *segments) remove(g *segment) error {
	change := segmentRecord{number: g.number, removed: true, bytes: g.size}
	done := make(chan error, 1)
	s.d.ring.append(waiting{record: record{kind: RecordSegment}, parts: [][]byte{encodeSegmentRecord(change)}, done: func(err error) { done <- err }})
	if err := <-done; err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.all, g.number)
	s.drop(g)
	s.mu.Unlock()
	defer s.d.watch.begin()()
	err := s.d.fsys.Remove(segmentName(g.number))
	if isNotExist(err) {
		err = nil
	}
	return err
}

// drop closes the reading side if nobody reads. The lock is held.
func (s *segments) drop(g *segment) {
	if g.read != nil && g.readers == 0 {
		// A descriptor for reading has nothing to lose.
		_ = g.read.Close()
		g.read = nil
		s.files--
	}
}

// reading returns a segment's file for reading through the page cache; done gives it back.
func (s *segments) reading(number uint32) (f disk.File, done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.all[number]
	if g == nil || g.gone {
		return nil, nil, errGone
	}
	if g.read == nil {
		if err := s.openForReading(g); err != nil {
			return nil, nil, err
		}
	}
	s.clock++
	g.used = s.clock
	g.readers++
	return g.read, func() { s.doneReading(g) }, nil
}

// openForReading opens a segment's file, or finds that somebody was quicker. The lock is held, but not while the disk is asked.
func (s *segments) openForReading(g *segment) error {
	s.mu.Unlock()
	f, err := s.d.fsys.Open(segmentName(g.number), disk.Flags{ReadOnly: true})
	s.mu.Lock()
	switch {
	case err != nil:
		return err
	case s.all[g.number] != g || g.gone: // it was removed meanwhile
		return cmp.Or(f.Close(), errGone)
	case g.read != nil:
		return f.Close()
	}
	g.read = f
	s.files++
	s.closeIdle(g)
	return nil
}

func (s *segments) isGone(number uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.all[number]
	return g == nil || g.gone
}

// lookForGone marks segments whose files somebody removed: new shards go elsewhere, and those that were there are lost. It reports whether there
// are new ones.
func (s *segments) lookForGone() (lost bool, err error) {
	s.mu.Lock()
	var before []*segment // a segment that is made meanwhile has its file before it is among all
	for _, g := range s.all {
		if !g.gone && !g.removed {
			before = append(before, g)
		}
	}
	s.mu.Unlock()
	names, err := s.d.fsys.List(dataDir)
	if err != nil {
		return false, err
	}
	found := make(map[string]bool, len(names))
	for _, name := range names {
		found[path.Join(dataDir, name)] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range before {
		if !found[segmentName(g.number)] && !g.removed {
			g.gone, lost = true, true
			g.next = g.size
			s.settle(g) // its room comes back with the last descriptor
			s.drop(g)
		}
	}
	return lost, nil
}

// errGone says that a segment is not there.
var errGone = errors.New("the segment's file is missing")

func (s *segments) doneReading(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.readers--
	if s.all[g.number] != g || g.gone {
		s.drop(g)
	}
}

// closeIdle closes the descriptor that was idle the longest while there are too many. The lock is held.
func (s *segments) closeIdle(but *segment) {
	if s.files <= openFilesMax {
		return
	}
	var idle *segment
	for _, g := range s.all {
		if g != but && g.read != nil && g.readers == 0 && (idle == nil || g.used < idle.used) {
			idle = g
		}
	}
	if idle != nil {
		s.drop(idle)
	}
}

func (s *segments) unused() (bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.all {
		if g.write != nil {
			bytes += g.size - g.next
		}
	}
	return bytes
}

// count fills in what is counted of segments.
func (s *segments) count(stats *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Segments = len(s.all)
	for _, g := range s.all {
		stats.ShardBytes += g.live
		if g.gone {
			stats.SegmentsGone++
		}
		if g.isSparse() {
			stats.SegmentsSparse++
		}
	}
}

// close closes all files.
func (s *segments) close() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.all {
		if g.write != nil {
			err = errors.Join(err, g.write.Close())
		}
		if g.read != nil {
			err = errors.Join(err, g.read.Close())
			g.read = nil
		}
	}
	clear(s.all)
	return err
}

// group makes one sync serve all who wait for one: those who come while one is under way share the next.
type group struct {
	mu                sync.Mutex
	over              *sync.Cond
	running           bool
	started, finished uint64
	err               error // of the first sync that failed; there is none after it
}

// do returns after a call of fn that began after do did.
func (g *group) do(fn func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over == nil {
		g.over = sync.NewCond(&g.mu)
	}
	for target := g.started + 1; g.finished < target && g.err == nil; {
		if g.running {
			g.over.Wait()
			continue
		}
		g.running = true
		g.started++
		g.mu.Unlock()
		err := fn()
		g.mu.Lock()
		g.running = false
		g.finished = g.started
		g.err = cmp.Or(g.err, err)
		g.over.Broadcast()
	}
	return g.err
}
