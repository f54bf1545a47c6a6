// Package drive keeps what one drive keeps: the records of Raft groups in a meta stream, shards in a data stream, and rows in an index.
//
// A drive is a folder:
//
//	holdfast.drive   identity and geometry, written last by Format
//	lock             held by the process that has the drive open
//	meta/ring        the meta stream: a preallocated ring of frames, each synced before anyone is told
//	data/N.seg       the data stream: segments, in which each shard has contiguous room
//	index/           Pebble without a log of its own: the meta stream is the log of the drive's own rows, and the groups' of theirs
//
// Promise: a record whose done was called with nil, a shard whose Commit returned nil and a deletion that returned nil are there after any
// crash. A shard is there whole or not at all, and ReadShard never returns a byte that its checksum does not prove. A meta stream that
// ends before what was acknowledged is told from a torn tail and refused as ErrDamaged. The ring never overwrites what a replay needs,
// and cannot meet a full file system. After the first failed write or sync nothing is believed: every call answers ErrFailed.
//
// The package does not know what groups write into their records and rows, what a shard is a shard of, or that there are other drives.
// It deletes nothing that it was not told to delete.
package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"holdfast/engine"
	"holdfast/engine/buffer"
	"holdfast/engine/disk"
	"holdfast/observe"
)

// When the index is flushed at the latest.
const (
	flushBytes    = 16 << 20 // of the meta stream or of rows; a quarter of a ring below 64 MiB
	flushRecords  = 20_000
	flushRows     = 32_000 // changes of rows, which a start after a crash makes again: some 3,000 commands
	flushInterval = 30 * time.Second
	// blockedInterval is how often a full ring asks its groups again for what became durable meanwhile.
	blockedInterval = 250 * time.Millisecond
	// unflushedBytesMax is where commits of rows wait for a flush.
	unflushedBytesMax = 4 * flushBytes
)

// Options of Open. The zero value works.
type Options struct {
	Cache   *Cache       // of indexes; nil makes one of 16 MiB for this drive alone
	Buffers *buffer.Pool // where reads and writes find aligned memory; nil makes one
	// OnFailure is called once, from a goroutine of the drive, when it fails. It must not call Close.
	OnFailure func(error)
	// FlushInterval is the longest that rows and records wait for a flush; 0 means 30 s.
	FlushInterval time.Duration
}

// Drive is an open drive. It is safe for concurrent use.
type Drive struct {
	fsys     disk.FS
	identity Identity
	geometry Geometry
	options  Options
	ownCache bool
	lock     io.Closer
	gate     *gate
	watch    *watch
	db       *pebble.DB
	ring     *ring
	segments *segments
	buffers  *buffer.Pool

	failure  atomic.Pointer[error]
	failed   chan struct{} // closed with the failure
	failOnce sync.Once
	stopping chan struct{} // closed by Close for flusher and reaper
	writer   sync.WaitGroup
	others   sync.WaitGroup
	closing  sync.Once
	closeErr error

	life sync.RWMutex // held for reading by whoever uses the index; guards closed
	// readers counts iterators and snapshots that are open.
	readers sync.WaitGroup
	device  disk.Device // of the folder, when it was opened
	closed  bool

	applying sync.Mutex // orders batches of the drive's own rows; guards applied
	applied  uint64     // frames before it are in the index

	flushes   chan struct{} // wakes the flusher; holds one
	mu        sync.Mutex    // guards all below
	room      *sync.Cond    // commits wait here for a flush
	unflushed int64         // bytes of rows since the last flush
	changed   int           // rows since the last flush
	callbacks map[int]func()
	callback  int
	requests  []chan error // of Flush, for the next flush
	stats     Stats
}

// The steps of a drive's work that the recorder knows.
var (
	stepRing    = observe.NewStep("drive: a frame of the meta stream is written and synced")
	stepFlush   = observe.NewStep("drive: the index is flushed")
	stepWrite   = observe.NewStep("drive: shard data is written")
	stepSync    = observe.NewStep("drive: shard data is synced")
	stepReap    = observe.NewStep("drive: room of deleted shards is given back")
	stepSegment = observe.NewStep("drive: a segment is created")
	stepReplay  = observe.NewStep("drive: opened, the meta stream replayed")
)

// Open opens a drive, takes its lock and replays the meta stream. It never formats. ErrUnformatted, ErrForeign, ErrNewer, ErrDamaged, ErrLocked.
// The drive uses fsys until Close, which leaves it open.
func Open(fsys disk.FS, o Options) (*Drive, error) {
	id, g, err := Identify(fsys)
	if err != nil {
		return nil, err
	}
	device, err := fsys.Device()
	if err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(lockName)
	if err != nil {
		return nil, engine.E(engine.KindUnavailable, "%w: %w", ErrLocked, err)
	}
	d := &Drive{fsys: fsys, device: device, identity: id, geometry: g, options: o, lock: lock, buffers: o.Buffers, failed: make(chan struct{}),
		stopping: make(chan struct{}), flushes: make(chan struct{}, 1), callbacks: map[int]func(){}}
	d.room = sync.NewCond(&d.mu)
	if d.options.Cache == nil {
		d.options.Cache, d.ownCache = NewCache(16<<20, 1), true
	}
	if d.buffers == nil {
		d.buffers = buffer.New(0)
	}
	if d.options.FlushInterval == 0 {
		d.options.FlushInterval = flushInterval
	}
	if err := d.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open drive %d: %w", id.Drive, err), d.release())
	}
	d.start()
	return d, nil
}

// recover opens the streams and the index and brings the index up to the meta stream.
func (d *Drive) recover() error {
	defer stepReplay.Enter().Leave()
	if err := d.openRing(); err != nil {
		return err
	}
	if err := d.openIndex(); err != nil {
		return err
	}
	tail, m, err := d.readMarks()
	if err != nil {
		return err
	}
	d.applied = m.position
	if err := d.readReleased(); err != nil {
		return err
	}
	if err := d.ring.replay(tail, m, d.replayOwn); err != nil {
		return err
	}
	// What was read may come from a cache of the disk; from here on it is acted upon, so it is made durable first.
	if err := d.ring.file.Sync(); err != nil {
		return err
	}
	d.applied = d.ring.head
	if err := d.db.Set(markKey, encodeMark(mark{position: d.applied, sequence: d.ring.sequence}), pebble.NoSync); err != nil {
		return err
	}
	d.segments = newSegments(d)
	if d.identity.Role == RoleData {
		if err := d.segments.open(); err != nil {
			return err
		}
	}
	return d.Failed() // Pebble is not told of every error, see gate
}

func (d *Drive) openIndex() error {
	gate, err := newGate(d.fsys)
	if err != nil {
		return damaged("the index: %w", err)
	}
	gate.shut = func(err error) { d.fail(fmt.Errorf("index: %w", err)) }
	d.gate, d.watch = gate, gate.watch
	if err := refuseNewerIndex(gate.FS); err != nil {
		return err
	}
	events := pebble.EventListener{
		BackgroundError: func(err error) { d.fail(fmt.Errorf("index: %w", err)) },
		DataCorruption:  func(i pebble.DataCorruptionInfo) { d.fail(damaged("index: %s: %w", i.Path, i.Details)) },
	}
	d.db, err = openIndex(gate, d.options.Cache, false, events)
	if err != nil {
		return damaged("the index: %w", err)
	}
	return nil
}

func (d *Drive) openRing() error {
	file, err := d.fsys.Open(ringName, disk.Flags{Direct: true})
	if err != nil {
		return damaged("the meta stream: %w", err)
	}
	d.ring = newRing(d, file)
	size, err := file.Size()
	if err != nil {
		return err
	}
	if size != d.geometry.RingBytes {
		return damaged("the ring has %d bytes instead of %d", size, d.geometry.RingBytes)
	}
	return d.ring.refuseNewer()
}

func (d *Drive) readMarks() (tail uint64, m mark, err error) {
	b, okTail, err := get(d.db, tailKey)
	if err != nil {
		return 0, mark{}, err
	}
	c, okMark, err := get(d.db, markKey)
	if err != nil {
		return 0, mark{}, err
	}
	if !okTail || !okMark {
		return 0, mark{}, damaged("the index has lost its first rows")
	}
	if tail, err = decodeU64(b); err != nil {
		return 0, mark{}, err
	}
	m, err = decodeMark(c)
	return tail, m, err
}

// readReleased reads which records the groups need no more.
func (d *Drive) readReleased() error {
	return d.rows(releasedRange, func(key, value []byte) error {
		sequence, err := decodeU64(value)
		if err != nil || len(key) != 4 {
			return errors.Join(damaged("a row of released records is malformed"), err)
		}
		group := engine.GroupID(uint32(key[0])<<24 | uint32(key[1])<<16 | uint32(key[2])<<8 | uint32(key[3]))
		d.ring.group(group).released = sequence
		return nil
	})
}

func (d *Drive) start() {
	d.gate.running.Store(true)
	d.writer.Go(d.ring.run)
	d.others.Go(d.flusher)
	d.others.Go(d.segments.reaper)
}

// Close answers what waits, flushes the index, and releases everything. It returns the error of the flush, or of an earlier failure.
// Iterators and snapshots of stores answer ErrClosed from then on, or what they have at hand, and are to be closed soon: the index stays open, and
// the drive locked, if that takes longer than readersWait.
func (d *Drive) Close() error {
	d.closing.Do(func() {
		d.ring.close()
		d.writer.Wait()
		close(d.stopping)
		d.wakeAll(ErrClosed)
		d.others.Wait()
		var err error
		if d.Failed() == nil {
			err = d.flush()
		}
		d.life.Lock()
		d.closed = true
		d.life.Unlock()
		if !d.awaitReaders() {
			d.closeErr = errors.Join(err, d.Failed(), engine.E(engine.KindUnavailable, "drive %d: its index is still being read", d.identity.Drive))
			return
		}
		d.closeErr = errors.Join(err, d.Failed(), d.release())
	})
	return d.closeErr
}

// readersWait is how long Close waits for iterators and snapshots to be closed.
const readersWait = 30 * time.Second

// awaitReaders waits until no iterator and no snapshot is open. None is made any more.
func (d *Drive) awaitReaders() bool {
	ended := make(chan struct{})
	go func() { // ends with the last reader
		d.readers.Wait()
		close(ended)
	}()
	patience := time.NewTimer(readersWait)
	defer patience.Stop()
	select {
	case <-ended:
		return true
	case <-patience.C:
		return false
	}
}

// enter begins a use of the index, which ends with life.RUnlock, or says why there is none.
func (d *Drive) enter() error {
	if err := d.Failed(); err != nil {
		return err
	}
	d.life.RLock()
	if d.closed {
		d.life.RUnlock()
		return ErrClosed
	}
	return nil
}

// isStopping reports whether Close has begun.
func (d *Drive) isStopping() bool {
	select {
	case <-d.stopping:
		return true
	default:
		return false
	}
}

// release closes what is open, however far Open came.
func (d *Drive) release() (err error) {
	if d.segments != nil {
		err = errors.Join(err, d.segments.close())
	}
	if d.gate != nil {
		d.gate.release()
	}
	if d.db != nil {
		err = errors.Join(err, closeIndex(d.db, d.gate))
	}
	if d.gate != nil {
		err = errors.Join(err, d.gate.close())
	}
	if d.ring != nil {
		err = errors.Join(err, d.ring.file.Close())
	}
	if d.gate != nil && (d.db == nil || d.gate.err() != nil) {
		d.options.Cache.kept.Store(true)
	}
	if d.ownCache {
		d.options.Cache.Close()
	}
	return errors.Join(err, d.lock.Close())
}

// closeIndex closes Pebble. After a failure Pebble may have lost count of its references, and says so by a panic; then there is nothing to save.
func closeIndex(db *pebble.DB, gate *gate) (err error) {
	if gate.err() == nil {
		return db.Close()
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("close the index of a failed drive: %v", r)
		}
	}()
	return db.Close()
}

// fail marks the drive failed for good, the first time, and returns the failure, which wraps ErrFailed.
func (d *Drive) fail(err error) error {
	d.failOnce.Do(func() {
		failure := error(engine.E(engine.KindUnavailable, "drive %d: %w: %w", d.identity.Drive, ErrFailed, err))
		d.failure.Store(&failure)
		close(d.failed)
		d.gate.shutFor(err)
	})
	d.wakeFlusher()
	return *d.failure.Load()
}

// Failed returns why the drive is not believed any more, or nil. The error wraps ErrFailed.
func (d *Drive) Failed() error {
	if p := d.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// ID returns the identity.
func (d *Drive) ID() Identity { return d.identity }

// Geometry returns the geometry.
func (d *Drive) Geometry() Geometry { return d.geometry }

// CheckIdentity reads the identity again by the path that the folder was opened with. An error says that something else is there now: a
// wiped folder, or the one beneath an unmounted drive.
func (d *Drive) CheckIdentity() error {
	now, err := d.fsys.Reopen()
	if err != nil {
		return err
	}
	id, _, err := Identify(now)
	device, errDevice := now.Device()
	err = errors.Join(err, errDevice)
	if now != d.fsys {
		err = errors.Join(err, now.Close())
	}
	if err != nil {
		return err
	}
	if id != d.identity {
		return engine.E(engine.KindUnavailable, "the folder of drive %d is drive %d, incarnation %x, now: %w", d.identity.Drive, id.Drive, id.Incarnation, errReplaced)
	}
	if device.ID != d.device.ID || device.Inode != d.device.Inode {
		return engine.E(engine.KindUnavailable, "the folder of drive %d is a copy of it, or was mounted again: %w", d.identity.Drive, errReplaced)
	}
	return nil
}

// LookForLost looks whether what the drive has open still has its name. It reports whether files of the data stream are missing that were there
// before; Shards tells which shards that concerns. A drive without its meta stream, its index or the folder of its segments fails: what it went on
// to sync would be gone with the process.
func (d *Drive) LookForLost() (bool, error) {
	if err := d.enter(); err != nil {
		return false, err
	}
	defer d.life.RUnlock()
	names := []string{ringName, indexDir}
	if d.identity.Role == RoleData {
		names = append(names, dataDir)
	}
	for _, name := range names {
		_, err := d.fsys.Stat(name)
		if isNotExist(err) {
			return false, d.fail(damaged("somebody removed %s: %w", name, err))
		}
		if err != nil {
			return false, err
		}
	}
	return d.segments.lookForGone()
}

// NotThere reports whether an error of CheckIdentity proves that the drive is not there any more. Others say only that one could not see.
func NotThere(err error) bool {
	return isNotExist(err) || errors.Is(err, ErrUnformatted) || errors.Is(err, ErrForeign) || errors.Is(err, ErrDamaged) ||
		errors.Is(err, ErrNewer) || errors.Is(err, errReplaced)
}

var errReplaced = errors.New("another drive is in its place")

// OldestIO returns how long the oldest call to the disk that has not returned is under way; 0 if there is none.
func (d *Drive) OldestIO() time.Duration { return d.watch.oldest() }

// Flush makes durable in the index whatever was committed before the call, and moves the tail of the meta stream as far as the groups
// released. The callbacks of OnFlush have run when it returns.
func (d *Drive) Flush(ctx context.Context) error {
	answer := make(chan error, 1)
	d.mu.Lock()
	d.requests = append(d.requests, answer)
	d.mu.Unlock()
	d.wakeFlusher()
	select {
	case err := <-answer:
		return err
	case <-d.failed:
		return d.Failed()
	case <-d.stopping:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// OnFlush has fn called after each flush of the index, from a goroutine of the drive, until cancel is called. There fn looks at Store.Durable and
// calls Release. It must not wait for anything that waits in Append or Commit, nor call Flush or cancel.
func (d *Drive) OnFlush(fn func()) (cancel func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.callback++
	number := d.callback
	d.callbacks[number] = fn
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.callbacks, number)
	}
}

// wakeFlusher makes a flush begin soon; it never waits.
func (d *Drive) wakeFlusher() {
	select {
	case d.flushes <- struct{}{}:
	default:
	}
}

// flusher is the goroutine that flushes, and that tells of a failure. It ends with stopping.
func (d *Drive) flusher() {
	ticker := time.NewTicker(min(d.options.FlushInterval, blockedInterval))
	defer ticker.Stop()
	told, last := false, time.Now()
	for {
		select {
		case <-d.stopping:
			return
		case <-ticker.C:
			if !d.ring.isBlocked() && (time.Since(last) < d.options.FlushInterval || !d.dirty()) {
				continue
			}
		case <-d.flushes:
		}
		if err := d.Failed(); err != nil {
			d.wakeAll(err)
			if !told && d.options.OnFailure != nil {
				d.options.OnFailure(err)
			}
			told = true
			continue
		}
		d.flushUntilRoomy()
		last = time.Now()
	}
}

// wakeAll lets everyone see that the drive failed or is about to close.
func (d *Drive) wakeAll(err error) {
	d.ring.wake()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room.Broadcast()
	for _, r := range d.requests {
		r <- err
	}
	d.requests = nil
}

// dirty reports whether a flush would make anything durable.
func (d *Drive) dirty() bool {
	d.ring.mu.Lock()
	records := d.ring.records
	d.ring.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	return records > 0 || d.unflushed > 0
}

// flushUntilRoomy flushes, and again while the ring is pressed and another flush gives room: a tail that has moved is free only when it is
// durable itself.
func (d *Drive) flushUntilRoomy() {
	d.mu.Lock()
	requests := d.requests
	d.requests = nil
	d.mu.Unlock()
	err := d.flush()
	for err == nil {
		d.ring.mu.Lock()
		more := d.ring.pressed() && d.ring.needed() > d.ring.tail
		d.ring.mu.Unlock()
		if !more {
			break
		}
		err = d.flush()
	}
	for _, r := range requests {
		r <- err
	}
}

// flush writes mark, tail and releases, makes the index durable, reads back what is, and calls the callbacks.
func (d *Drive) flush() error {
	d.mu.Lock()
	before, changed := d.unflushed, d.changed
	d.mu.Unlock()
	if err := d.writeMarks(); err != nil {
		return err
	}
	if err := d.flushIndex(); err != nil {
		return err
	}
	if err := d.readDurable(); err != nil {
		return d.fail(err)
	}
	d.mu.Lock()
	d.unflushed -= before
	d.changed -= changed
	d.stats.Flushes++
	d.room.Broadcast()
	callbacks := make([]func(), 0, len(d.callbacks))
	for _, fn := range d.callbacks {
		callbacks = append(callbacks, fn)
	}
	d.mu.Unlock()
	for _, fn := range callbacks {
		fn()
	}
	return d.Failed()
}

// writeMarks puts the rows that tell where a replay begins. The order of batches makes the mark true.
func (d *Drive) writeMarks() error {
	batch := d.db.NewBatch()
	defer batch.Close()
	d.applying.Lock()
	defer d.applying.Unlock()
	r := d.ring
	r.mu.Lock()
	err := errors.Join(batch.Set(markKey, encodeMark(mark{position: d.applied, sequence: r.sequence}), nil),
		batch.Set(tailKey, encodeU64(r.needed()), nil))
	for group, sequence := range r.unsaved {
		err = errors.Join(err, batch.Set(releasedKey(group), encodeU64(sequence), nil))
	}
	clear(r.unsaved)
	r.records, r.written = 0, 0
	r.mu.Unlock()
	if err != nil {
		return d.fail(err)
	}
	return d.apply(batch)
}

func (d *Drive) flushIndex() error {
	defer stepFlush.Enter().Leave() // not watched: it may take long on a drive that does not hang
	done, err := d.db.AsyncFlush()
	if err != nil {
		return d.fail(err)
	}
	select {
	case <-done:
		return d.Failed()
	case <-d.failed:
		return d.Failed()
	}
}

// readDurable takes over what the index would have after a crash now.
func (d *Drive) readDurable() error {
	b, okTail, err := getDurable(d.db, tailKey)
	if err != nil {
		return err
	}
	c, okMark, err := getDurable(d.db, markKey)
	if err != nil {
		return err
	}
	if !okTail || !okMark {
		return damaged("the index has lost its first rows")
	}
	tail, err := decodeU64(b)
	if err != nil {
		return err
	}
	m, err := decodeMark(c)
	if err != nil {
		return err
	}
	r := d.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tail, r.marked = tail, m.position
	r.work.Broadcast()
	return nil
}

// admit counts changes of rows, and their bytes, and makes the caller wait while too many bytes are not flushed.
func (d *Drive) admit(rows, bytes int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.unflushed > unflushedBytesMax && d.Failed() == nil && !d.isStopping() {
		d.wakeFlusher()
		d.room.Wait()
	}
	d.unflushed += int64(bytes)
	d.changed += rows
	if d.unflushed >= flushBytes || d.changed >= flushRows {
		d.wakeFlusher()
	}
	return d.Failed()
}

// Usage is the room of a drive, in bytes.
type Usage struct {
	Total    int64 // of the file system
	Free     int64 // for shards: what the file system has above the reserve, and unused room in segments
	Used     int64 // of the file system, by whomever
	Reserved int64 // what shards leave to metadata and others
}

// Usage asks the file system.
func (d *Drive) Usage() (Usage, error) {
	if err := d.Failed(); err != nil {
		return Usage{}, err
	}
	defer d.watch.begin()()
	u, err := d.fsys.Usage()
	if err != nil {
		return Usage{}, err
	}
	return Usage{Total: u.Total, Free: max(0, u.Free-d.geometry.ReserveBytes) + d.segments.unused(), Used: u.Total - u.Free,
		Reserved: d.geometry.ReserveBytes}, nil
}

// Stats are counters since Open, and states.
type Stats struct {
	Frames         uint64 // of the meta stream, replayed ones too
	RingUsed       int64  // bytes between tail and head
	Flushes        uint64
	Segments       int
	SegmentsGone   int   // segments with shards whose files are missing
	SegmentsSparse int   // segments that a compaction would empty
	ShardBytes     int64 // room of shards and of those being written
	ReadErrors     uint64
	ShardsBad      uint64 // reads that failed their checksum twice
	CacheMismatch  uint64 // reads that failed their checksum, but not when read past the page cache
	Direct         bool   // the meta stream bypasses the page cache
}

// Stats returns the counters.
func (d *Drive) Stats() Stats {
	d.mu.Lock()
	s := d.stats
	d.mu.Unlock()
	d.ring.mu.Lock()
	s.Frames, s.RingUsed, s.Direct = d.ring.frames, int64(d.ring.head-d.ring.tail), d.ring.file.Direct()
	d.ring.mu.Unlock()
	s.ReadErrors = d.watch.readErrors.Load()
	d.segments.count(&s)
	return s
}

func (d *Drive) counted(fn func(*Stats)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fn(&d.stats)
}
