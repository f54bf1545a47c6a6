package drive

import (
	"errors"
	"math"
	"sync"

	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/meta"
)

const (
	// PayloadBytesMax is the largest payload of one Append; a ring of less than 16 MiB takes an eighth of itself.
	PayloadBytesMax = 2 << 20
	// queueBytesMax and queueRecordsMax bound what waits for the ring's writer; Append waits beyond.
	queueBytesMax   = 8 << 20
	queueRecordsMax = 8 << 10
)

// ring is the meta stream. One goroutine writes frames, at most one is on its way, and everything in it is durable before its callbacks
// run. Room is taken at head and comes back at tail, which only moves to where the durable index says that replay would begin.
type ring struct {
	d           *Drive
	file        disk.File
	size        uint64
	incarnation uint64
	buffer      []byte // of the writer's goroutine: the frame

	mu       sync.Mutex // guards all below
	work     *sync.Cond // the writer waits here: for records, room, the end
	space    *sync.Cond // Append waits here for room in the queue
	queue    []waiting
	queued   int // bytes of payload in queue
	sequence uint64
	closing  bool
	blocked  bool   // the writer waits for room
	refusing bool   // a frame was refused because the drive is being closed
	head     uint64 // where the next frame goes
	tail     uint64 // frames before it may be overwritten
	marked   uint64 // records of the drive's own before it are durable in the index
	groups   map[engine.GroupID]*groupLog
	unsaved  map[engine.GroupID]uint64 // releases that are not rows yet
	records  int                       // since the last flush
	written  uint64                    // bytes since the last flush
	frames   uint64                    // ever
}

// waiting is a record in the queue. done is called once, from the writer's goroutine.
type waiting struct {
	record
	parts   [][]byte
	bytes   int
	isNew   bool   // a shard that the drive never had
	from    *place // of the record of a shard that is moved: it is written only if the shard is still there
	done    func(error)
	refused error
}

// looksUp reports whether the record changes rows by what they are: all of the drive's own do but that of a new shard.
func (w waiting) looksUp() bool { return w.kind != RecordGroup && !w.isNew }

// groupLog knows the frames that a group still needs, oldest first, and what Open found.
type groupLog struct {
	spans     []span
	released  uint64
	recovered []meta.LogRecord
}

// span is the records of a group in one frame.
type span struct {
	last     uint64 // sequence of the last
	position uint64 // of the frame
}

func newRing(d *Drive, file disk.File) *ring {
	r := &ring{d: d, file: file, size: uint64(d.geometry.RingBytes), incarnation: d.identity.Incarnation,
		groups: map[engine.GroupID]*groupLog{}, unsaved: map[engine.GroupID]uint64{}}
	r.work, r.space = sync.NewCond(&r.mu), sync.NewCond(&r.mu)
	r.buffer = disk.AlignedBytes(frameBytes(r.framePayloadMax()))
	return r
}

// payloadMax bounds one record.
func (r *ring) payloadMax() int { return int(min(PayloadBytesMax, r.size/8)) }

// framePayloadMax bounds a frame: two of the largest records, so that a quarter of the ring is the most that one write takes.
func (r *ring) framePayloadMax() int { return 2 * (r.payloadMax() + recordHeaderBytes) }

// Append puts a record of a group into the meta stream and returns its sequence. The payload, given in parts, must not change until done is
// called: with nil once the record is durable, or with why it is not, ErrFailed for one. Calls of done come in the order of the sequences from a
// goroutine of the drive, which waits for them: done must not block, nor call Append. Append itself waits while the queue is full, and
// after Close calls done at once with ErrClosed.
func (d *Drive) Append(group engine.GroupID, payload [][]byte, done func(error)) (sequence uint64) {
	return d.ring.append(waiting{record: record{kind: RecordGroup, group: group}, parts: payload, done: done})
}

func (r *ring) append(w waiting) uint64 {
	for _, p := range w.parts {
		w.bytes += len(p)
	}
	if w.bytes > r.payloadMax() {
		w.refused = engine.E(engine.KindInvalidArgument, "a record of %d bytes: the meta stream takes up to %d", w.bytes, r.payloadMax())
		w.bytes = 0
	}
	r.mu.Lock()
	for !r.closing && (r.queued >= queueBytesMax || len(r.queue) >= queueRecordsMax) {
		r.space.Wait()
	}
	if r.closing {
		r.mu.Unlock()
		w.done(ErrClosed)
		return 0
	}
	defer r.mu.Unlock()
	w.sequence = r.sequence
	r.sequence++
	r.queue = append(r.queue, w)
	r.queued += w.bytes
	r.work.Signal()
	return w.sequence
}

// Recovered returns the records of the group that Open found in the meta stream and that were not released, in the order of their sequences. The
// drive forgets them: the first call has them, a second has none. Records of what the group calls an earlier life may be among them.
func (d *Drive) Recovered(group engine.GroupID) []meta.LogRecord {
	r := d.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[group]
	if g == nil {
		return nil
	}
	found := g.recovered
	g.recovered = nil
	return found
}

// Groups returns the groups with records that are not released.
func (d *Drive) Groups() []engine.GroupID {
	r := d.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []engine.GroupID
	for id, g := range r.groups {
		if len(g.spans) > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// Release says that the records of group up to and including sequence are no longer needed. The room comes back after a flush or two. The caller
// makes sure that what they said is durable elsewhere: in rows that Store.Durable shows.
func (d *Drive) Release(group engine.GroupID, sequence uint64) {
	r := d.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[group]
	if g == nil || sequence <= g.released {
		return
	}
	sequence = min(sequence, r.sequence-1)
	g.released = sequence
	r.unsaved[group] = sequence
	n := 0
	for n < len(g.spans) && g.spans[n].last <= sequence {
		n++
	}
	g.spans = append(g.spans[:0:0], g.spans[n:]...)
	if n > 0 && r.pressed() {
		r.d.wakeFlusher()
	}
}

// pressed reports whether the ring is three quarters full. The lock is held.
func (r *ring) pressed() bool { return r.head-r.tail >= r.size/4*3 }

// needed returns the position where replay must begin: the least that a group needs or that the index lacks. The lock is held.
func (r *ring) needed() uint64 {
	position := r.marked
	for _, g := range r.groups {
		if len(g.spans) > 0 {
			position = min(position, g.spans[0].position)
		}
	}
	return position
}

// run is the writer's goroutine. It ends when Close was called and the queue is empty; after a failure it goes on to answer.
func (r *ring) run() {
	for {
		batch, ok := r.take()
		if !ok {
			return
		}
		err := r.write(batch)
		for i := range batch {
			if batch[i].refused != nil {
				batch[i].done(batch[i].refused)
			} else {
				batch[i].done(err)
			}
		}
	}
}

// take waits for records and returns as many as one frame holds.
func (r *ring) take() ([]waiting, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) == 0 && !r.closing {
		r.work.Wait()
	}
	if len(r.queue) == 0 {
		return nil, false
	}
	n, payload := 0, 0
	for n < len(r.queue) && (n == 0 || payload+recordHeaderBytes+r.queue[n].bytes <= r.framePayloadMax()) {
		payload += recordHeaderBytes + r.queue[n].bytes
		r.queued -= r.queue[n].bytes
		n++
	}
	batch := append([]waiting(nil), r.queue[:n]...)
	r.queue = append(r.queue[:0], r.queue[n:]...)
	clear(r.queue[len(r.queue):cap(r.queue)])
	r.space.Broadcast()
	return batch, true
}

// write makes one frame of the batch durable, and then the drive's own records of it visible.
func (r *ring) write(batch []waiting) error {
	own, err := r.d.decideOwn(batch)
	if err != nil {
		return err
	}
	defer own.rows.Close()
	b, count := r.encode(batch)
	if count == 0 {
		return r.d.Failed()
	}
	position, err := r.reserve(frameBytes(len(b) - frameHeaderBytes))
	if err != nil {
		return err
	}
	sealFrame(b, r.incarnation, position, count)
	padded := r.buffer[:frameBytes(len(b)-frameHeaderBytes)]
	clear(padded[len(b):])
	if err := r.put(padded, position); err != nil {
		return r.d.fail(err)
	}
	end := position + uint64(len(padded))
	if err := r.d.applyOwn(own, end); err != nil {
		return err
	}
	r.advance(batch, position, end)
	return nil
}

// encode lays the records out behind the room for the header.
func (r *ring) encode(batch []waiting) (b []byte, count int) {
	b = r.buffer[:frameHeaderBytes]
	for i := range batch {
		w := &batch[i]
		if w.refused != nil {
			continue
		}
		b = appendRecordHeader(b, w.record, w.bytes)
		for _, p := range w.parts {
			b = append(b, p...)
		}
		count++
	}
	return b, count
}

// reserve waits until the frame fits without touching what replay needs.
//
// Once one frame was refused all are, also those that would fit: a record counts on those before it.
func (r *ring) reserve(n int) (position uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for asked := false; r.refusing || r.head+uint64(n)-r.tail > r.size; asked = true {
		if err := r.d.Failed(); err != nil {
			return 0, err
		}
		if r.closing {
			r.refusing = true
		}
		if r.refusing {
			return 0, ErrClosed
		}
		if !asked { // once: afterwards each Release does
			r.d.wakeFlusher()
		}
		r.blocked = true
		r.work.Wait()
		r.blocked = false
	}
	return r.head, r.d.Failed()
}

func (r *ring) isBlocked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blocked
}

// put writes the frame, in two parts where the ring ends, and syncs it.
func (r *ring) put(b []byte, position uint64) error {
	defer stepRing.Enter().Leave()
	defer r.d.watch.begin()()
	at := position % r.size
	first := min(uint64(len(b)), r.size-at)
	if _, err := r.file.WriteAt(b[:first], int64(at)); err != nil {
		return err
	}
	if rest := b[first:]; len(rest) > 0 {
		if _, err := r.file.WriteAt(rest, 0); err != nil {
			return err
		}
	}
	return r.file.Sync()
}

// advance notes what the frame holds and asks for a flush where one is due.
func (r *ring) advance(batch []waiting, position, end uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = end
	r.frames++
	r.records += len(batch)
	r.written += end - position
	for i := range batch {
		if w := &batch[i]; w.kind == RecordGroup && w.refused == nil {
			r.note(w.group, w.sequence, position)
		}
	}
	if r.pressed() || r.records >= flushRecords || r.written >= r.flushBytes() {
		r.d.wakeFlusher()
	}
}

// note counts a record of a group. The lock is held.
func (r *ring) note(group engine.GroupID, sequence, position uint64) {
	g := r.group(group)
	if n := len(g.spans); n > 0 && g.spans[n-1].position == position {
		g.spans[n-1].last = sequence
		return
	}
	g.spans = append(g.spans, span{last: sequence, position: position})
}

func (r *ring) group(id engine.GroupID) *groupLog {
	g := r.groups[id]
	if g == nil {
		g = &groupLog{}
		r.groups[id] = g
	}
	return g
}

// flushBytes is how much may be written between flushes.
func (r *ring) flushBytes() uint64 { return min(flushBytes, r.size/4) }

// close makes run end after the queue, and Append refuse.
func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closing = true
	r.work.Broadcast()
	r.space.Broadcast()
}

// wake lets the writer look again: room came back, or the drive failed.
func (r *ring) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.work.Broadcast()
}

// replay reads the frames from the durable tail to the end of the stream, gives each record of a frame that the index may lack to fn, and
// keeps those of groups. It returns ErrDamaged if the end is no end: a later frame is whole, or the index vouches for more.
func (r *ring) replay(tail uint64, m mark, fn func(record) error) error {
	w := &window{file: r.file, size: r.size}
	r.tail, r.head, r.marked, r.sequence = tail, tail, m.position, max(m.sequence, 1)
	for r.head-tail < r.size {
		f, b, ok, err := w.frame(r.head, r.framePayloadMax(), r.incarnation)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if f.version > FormatVersion {
			return newer("the meta stream", uint32(f.version))
		}
		if err := r.replayFrame(f, b, m, fn); err != nil {
			return err
		}
		r.head = f.end()
		r.frames++
	}
	if r.head < m.position {
		return damaged("the meta stream ends at %d, the index has seen it at %d", r.head, m.position)
	}
	later, found, err := w.later(r.head, r.framePayloadMax(), r.incarnation)
	if err != nil {
		return err
	}
	if found {
		return damaged("the meta stream is broken at %d: a whole frame follows at %d", r.head, later)
	}
	return nil
}

func (r *ring) replayFrame(f frame, b []byte, m mark, fn func(record) error) error {
	return decodeRecords(b[frameHeaderBytes:frameHeaderBytes+f.payload], f.records, func(rec record) error {
		r.sequence = max(r.sequence, rec.sequence+1)
		if rec.kind == RecordGroup {
			r.keep(rec, f.position)
			return nil
		}
		if f.end() <= m.position {
			return nil
		}
		return fn(rec)
	})
}

// keep remembers a group's record that was not released.
func (r *ring) keep(rec record, position uint64) {
	g := r.group(rec.group)
	if rec.sequence <= g.released {
		return
	}
	g.recovered = append(g.recovered, meta.LogRecord{Sequence: rec.sequence, Payload: append([]byte(nil), rec.payload...)})
	r.note(rec.group, rec.sequence, position)
}

// window reads the ring in large pieces.
type window struct {
	file     disk.File
	size     uint64
	buffer   []byte
	position uint64
	length   uint64
}

const windowBytes = 1 << 20

// bytes returns n bytes of the stream at position, valid until the next call.
func (w *window) bytes(position, n uint64) ([]byte, error) {
	if position < w.position || position+n > w.position+w.length {
		if err := w.load(position, max(n, min(windowBytes, w.size))); err != nil {
			return nil, err
		}
	}
	return w.buffer[position-w.position:][:n], nil
}

func (w *window) load(position, n uint64) error {
	if uint64(len(w.buffer)) < n {
		w.buffer = disk.AlignedBytes(int(n))
	}
	w.length = 0
	at := position % w.size
	first := min(n, w.size-at)
	for _, part := range []struct {
		b  []byte
		at uint64
	}{{w.buffer[:first], at}, {w.buffer[first:n], 0}} {
		if len(part.b) == 0 {
			continue
		}
		if got, err := w.file.ReadAt(part.b, int64(part.at)); got < len(part.b) {
			return errors.Join(damaged("the ring is short: %d of %d bytes at %d", got, len(part.b), part.at), err)
		}
	}
	w.position, w.length = position, n
	return nil
}

// frame reads the frame at position; ok is false if none is there.
func (w *window) frame(position uint64, limit int, incarnation uint64) (f frame, b []byte, ok bool, err error) {
	b, err = w.bytes(position, blockBytes)
	if err != nil {
		return frame{}, nil, false, err
	}
	f, ok = decodeFrameHeader(b, limit)
	if !ok || f.position != position {
		return frame{}, nil, false, nil
	}
	b, err = w.bytes(position, uint64(frameBytes(f.payload)))
	if err != nil {
		return frame{}, nil, false, err
	}
	return f, b, checkFrame(b, f, incarnation), nil
}

// refuseNewer looks for a whole frame of a later version anywhere in the ring: before the index is opened, for that writes.
func (r *ring) refuseNewer() error {
	w := &window{file: r.file, size: r.size}
	for slot := uint64(0); slot < w.size; slot += blockBytes {
		b, err := w.bytes(slot, blockBytes)
		if err != nil {
			return err
		}
		limit := int(w.size) - frameHeaderBytes
		f, plausible := decodeFrameHeader(b, limit)
		if !plausible || f.version <= FormatVersion || f.position%w.size != slot {
			continue
		}
		other := &window{file: w.file, size: w.size}
		if _, _, ok, err := other.frame(f.position, limit, r.incarnation); err != nil {
			return err
		} else if ok {
			return newer("the meta stream", uint32(f.version))
		}
	}
	return nil
}

// later looks for a whole frame whose position is at or behind end, anywhere in the ring.
func (w *window) later(end uint64, limit int, incarnation uint64) (position uint64, found bool, err error) {
	for slot := uint64(0); slot < w.size; slot += blockBytes {
		b, err := w.bytes(slot, blockBytes)
		if err != nil {
			return 0, false, err
		}
		f, plausible := decodeFrameHeader(b, limit)
		if !plausible || f.position < end || f.position%w.size != slot || f.position > math.MaxUint64/4 {
			continue
		}
		other := &window{file: w.file, size: w.size}
		if _, _, ok, err := other.frame(f.position, limit, incarnation); ok || err != nil {
			return f.position, ok, err
		}
	}
	return 0, false, nil
}
