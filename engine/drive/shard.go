package drive

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"holdfast/engine"
	"holdfast/engine/checksum"
	"holdfast/engine/disk"
)

// tombstoneMax bounds the shards of one tombstone; it fits the smallest ring's largest record.
const tombstoneMax = 512

// ShardInfo describes a shard. Sums has the CRC64-NVME of each 64 KiB, see package checksum.
type ShardInfo struct {
	ID    engine.ShardID
	Bytes int64
	Sums  []uint64
	Lost  bool // the file that held it is missing
}

// ShardWriter writes one shard. It has one user, who ends with Commit or Abort.
type ShardWriter struct {
	d        *Drive
	id       engine.ShardID
	segment  *segment
	offset   int64 // of the shard in the segment
	reserved int64
	limit    int64 // bytes that CreateShard was told
	written  int64 // bytes given to Write
	flushed  int64 // bytes on the disk, a multiple of 4096
	rest     []byte
	sums     []uint64
	err      error // of the first Write that failed
	ended    bool
	isNew    bool   // of NewShard
	from     *place // where a shard is that is moved; nil: it is written
}

// CreateShard reserves contiguous room for a shard of at most bytes bytes. KindDriveFull without room above the reserve; such a drive has not
// failed. The shard may exist: then Commit replaces it, which is how a bad one is repaired.
func (d *Drive) CreateShard(id engine.ShardID, bytes int64) (*ShardWriter, error) {
	return d.createShard(id, bytes, false)
}

// NewShard is CreateShard for a shard that this drive never had, nor any record of it, as the caller knows: then its Commit is quicker, for there is nothing
// that it could replace and so nothing to look up, and no order between the shard's bytes and its record. A crash in the middle of Commit may leave the
// shard visible with bytes that its sums refuse. Until Commit has returned nobody may count on the shard, whatever is seen of it.
func (d *Drive) NewShard(id engine.ShardID, bytes int64) (*ShardWriter, error) {
	return d.createShard(id, bytes, true)
}

func (d *Drive) createShard(id engine.ShardID, bytes int64, isNew bool) (*ShardWriter, error) {
	if err := d.Failed(); err != nil {
		return nil, err
	}
	room := roundUp(bytes)
	if d.identity.Role == RoleWitness || bytes < 1 || room > d.geometry.SegmentBytes || checksum.Units(bytes)*8+shardIDBytes+placeBytes > d.ring.payloadMax() {
		return nil, engine.E(engine.KindInvalidArgument, "a shard of %d bytes on a %s drive with segments of %d", bytes, d.identity.Role, d.geometry.SegmentBytes)
	}
	g, offset, err := d.segments.reserve(room)
	if err != nil {
		return nil, err
	}
	return &ShardWriter{d: d, id: id, segment: g, offset: offset, reserved: room, limit: bytes, isNew: isNew}, nil
}

// Write appends p, and the checksums of the units that begin in p: units are counted from the start of the shard, so that all but the last
// Write give whole units. It is quickest with memory that is aligned to 4096 bytes. Nothing is durable before Commit. p is not kept.
func (w *ShardWriter) Write(p []byte, sums []uint64) error {
	if w.err != nil {
		return w.err
	}
	if w.ended || w.written+int64(len(p)) > w.limit {
		return engine.E(engine.KindInvalidArgument, "shard %s: %d bytes exceed the %d that were asked for, or the writing has ended", shardString(w.id), w.written+int64(len(p)), w.limit)
	}
	w.written += int64(len(p))
	w.sums = append(w.sums, sums...)
	w.err = w.write(p)
	return w.err
}

func (w *ShardWriter) write(p []byte) error {
	defer stepWrite.Enter().Leave()
	for len(p) > 0 {
		if len(w.rest) == 0 && len(p) >= blockBytes {
			n := len(p) &^ (blockBytes - 1)
			if err := w.writeBlocks(p[:n]); err != nil {
				return err
			}
			p = p[n:]
			continue
		}
		if w.rest == nil {
			w.rest = w.d.buffers.Get(blockBytes)[:0]
		}
		n := copy(w.rest[len(w.rest):blockBytes], p)
		w.rest = w.rest[:len(w.rest)+n]
		p = p[n:]
		if len(w.rest) == blockBytes {
			if err := w.writeAligned(w.rest); err != nil {
				return err
			}
			w.rest = w.rest[:0]
		}
	}
	return nil
}

// writeBlocks writes whole blocks, by way of aligned memory if p is not.
func (w *ShardWriter) writeBlocks(p []byte) error {
	if disk.Aligned(p, 0) || !w.segment.write.Direct() {
		return w.writeAligned(p)
	}
	b := w.d.buffers.Get(min(len(p), 256<<10))
	defer w.d.buffers.Put(b)
	for len(p) > 0 {
		n := copy(b, p)
		if err := w.writeAligned(b[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (w *ShardWriter) writeAligned(p []byte) error {
	if err := w.d.Failed(); err != nil {
		return err
	}
	defer w.d.watch.begin()()
	_, err := w.segment.write.WriteAt(p, w.offset+w.flushed)
	if errors.Is(err, syscall.ENOSPC) {
		return engine.E(engine.KindDriveFull, "shard %s: %w", shardString(w.id), err)
	}
	if err != nil {
		return w.d.fail(err)
	}
	w.flushed += int64(len(p))
	return nil
}

// Commit makes the shard durable and visible as a whole: it syncs the segment, together with whoever else waits for that, and then the
// record of the shard; that of a new shard at the same time. If the context ends first the outcome is open, and the shard may appear; any other error but
// that of a failed drive means that it never will, or as a lost one. After Commit the writer is of no use.
func (w *ShardWriter) Commit(ctx context.Context) error {
	if w.ended {
		return engine.E(engine.KindInvalidArgument, "shard %s: the writing has ended", shardString(w.id))
	}
	if err := w.complete(); err != nil {
		w.Abort()
		return err
	}
	if w.isNew {
		return w.commitNew(ctx)
	}
	if err := w.segment.syncs.do(w.sync); err != nil {
		w.Abort()
		return w.d.fail(err)
	}
	done := make(chan error, 1)
	w.record(func(err error) { done <- err })
	return outcome(ctx, done)
}

// commitNew has bytes and record synced at once. The room is settled when both are, and only then is the segment's file free to be closed.
func (w *ShardWriter) commitNew(ctx context.Context) error {
	var recorded bool
	var open atomic.Int32
	open.Store(2)
	settle := func() {
		if open.Add(-1) == 0 {
			w.settle(recorded)
		}
	}
	done := make(chan error, 1)
	w.enqueue(func(is bool, err error) {
		recorded = is
		settle()
		done <- err
	})
	err := w.segment.syncs.do(w.sync)
	settle()
	if err != nil {
		return w.d.fail(err)
	}
	return outcome(ctx, done)
}

// outcome waits for the answer to a record.
func outcome(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// record ends the writing of a shard that is synced with its record. done is called once, like that of a record.
func (w *ShardWriter) record(done func(error)) {
	w.enqueue(func(recorded bool, err error) {
		w.settle(recorded)
		done(err)
	})
}

// enqueue gives the shard's record to the ring. done is called once, like that of a record, and told whether there is one; the room is still to be settled.
func (w *ShardWriter) enqueue(done func(recorded bool, err error)) {
	w.ended = true
	w.putRest()
	gone := func() error { // what was written would be gone with the process
		if !w.d.segments.isGone(w.segment.number) {
			return nil
		}
		return engine.E(engine.KindUnavailable, "shard %s: %w", shardString(w.id), errGone)
	}
	if err := gone(); err != nil {
		done(false, err)
		return
	}
	p := place{segment: w.segment.number, offset: w.offset, bytes: w.written, sums: w.sums}
	w.d.ring.append(waiting{record: record{kind: RecordShard}, parts: [][]byte{encodeShardRecord(w.id, p)}, isNew: w.isNew, from: w.from, done: func(err error) {
		if err != nil {
			done(false, err)
		} else {
			done(true, gone()) // if that was noticed meanwhile, the row that the record makes tells of a lost shard
		}
	}})
}

// settle keeps the room of a shard that has a record.
func (w *ShardWriter) settle(recorded bool) {
	if recorded {
		w.finish(roundUp(w.written))
	} else {
		w.finish(0)
	}
}

// complete checks the sums and writes the last, padded block.
func (w *ShardWriter) complete() error {
	if w.err != nil {
		return w.err
	}
	if w.written == 0 || len(w.sums) != checksum.Units(w.written) {
		return engine.E(engine.KindInvalidArgument, "shard %s: %d bytes with %d sums", shardString(w.id), w.written, len(w.sums))
	}
	if len(w.rest) == 0 {
		return nil
	}
	b := w.rest[:blockBytes]
	clear(b[len(w.rest):])
	return w.writeAligned(b)
}

func (w *ShardWriter) sync() error {
	defer stepSync.Enter().Leave()
	defer w.d.watch.begin()()
	return w.segment.write.Sync()
}

// Abort gives the room back. It does nothing after Commit.
func (w *ShardWriter) Abort() {
	if w.ended {
		return
	}
	w.ended = true
	w.putRest()
	w.finish(0)
}

func (w *ShardWriter) finish(kept int64) {
	w.d.segments.finish(w.segment, w.offset, w.reserved, kept)
}

func (w *ShardWriter) putRest() {
	if w.rest != nil {
		w.d.buffers.Put(w.rest)
		w.rest = nil
	}
}

// changes is what the drive's own records of a frame change: rows of the index, and places of shards that are replaced, moved or deleted.
type changes struct {
	rows  *pebble.Batch
	freed []place
}

// errElsewhere refuses the record of a shard that is moved and is not any more where it was.
var errElsewhere = errors.New("the shard is not where it was")

// decideOwn goes through the drive's own records of a frame before it is written, in order, and refuses the moves that came too late. The frames before are
// in the index, and only the writer changes rows of shards: what it decides still holds when the frame is durable, and for every replay.
func (d *Drive) decideOwn(batch []waiting) (own changes, err error) {
	if slices.ContainsFunc(batch, waiting.looksUp) {
		own.rows = d.db.NewIndexedBatch()
	} else {
		own.rows = d.db.NewBatch()
	}
	for i := range batch {
		w := &batch[i]
		if w.refused != nil || w.kind == RecordGroup {
			continue
		}
		w.payload = slices.Concat(w.parts...)
		if err = w.decideMove(own.rows); err != nil {
			break
		}
		if w.refused != nil {
			continue
		}
		if w.isNew {
			if err = setShard(own.rows, w.payload); err != nil {
				break
			}
			continue
		}
		var old []place
		if old, err = applyRecord(own.rows, w.record); err != nil {
			break
		}
		own.freed = append(own.freed, old...)
	}
	if err != nil {
		return own, d.fail(errors.Join(err, own.rows.Close()))
	}
	return own, nil
}

// setShard makes the row of a new shard.
func setShard(rows *pebble.Batch, payload []byte) error {
	id, p, err := decodeShardRecord(payload)
	if err != nil {
		return err
	}
	return rows.Set(shardKey(id), appendPlace(nil, p), nil)
}

// decideMove refuses the record of a move if the shard was deleted, or put elsewhere, by a record before it.
func (w *waiting) decideMove(rows *pebble.Batch) error {
	if w.from == nil {
		return nil
	}
	now, found, err := placeAt(rows, shardKey(decodeShardID(w.payload)))
	if err == nil && !(found && now.at(*w.from)) {
		w.refused = errElsewhere
	}
	return err
}

// applyOwn brings what a frame changes that is durable now into the index, and gives the room of what it frees back.
func (d *Drive) applyOwn(own changes, end uint64) error {
	d.applying.Lock()
	if !own.rows.Empty() {
		if err := d.apply(own.rows); err != nil {
			d.applying.Unlock()
			return err
		}
	}
	d.applied = end
	d.applying.Unlock()
	for _, p := range own.freed {
		d.segments.free(p)
	}
	return nil
}

// replayOwn is applyRecord while the drive is opened: room is counted afterwards.
func (d *Drive) replayOwn(r record) error {
	rows := d.db.NewIndexedBatch()
	defer rows.Close()
	if _, err := applyRecord(rows, r); err != nil {
		return err
	}
	return rows.Commit(pebble.NoSync)
}

// applyRecord changes the rows as one record says, and returns the places of shards that it replaces or deletes.
func applyRecord(rows *pebble.Batch, r record) (freed []place, err error) {
	switch r.kind {
	case RecordShard:
		id, p, err := decodeShardRecord(r.payload)
		if err != nil {
			return nil, err
		}
		key := shardKey(id)
		old, found, err := placeAt(rows, key)
		if err != nil {
			return nil, err
		}
		if found && !old.at(p) {
			freed = append(freed, old)
		}
		return freed, rows.Set(key, appendPlace(nil, p), nil)
	case RecordTombstone:
		ids, err := decodeTombstone(r.payload)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			key := shardKey(id)
			old, found, err := placeAt(rows, key)
			if err != nil {
				return nil, err
			}
			if !found {
				continue
			}
			freed = append(freed, old)
			if err := rows.Delete(key, nil); err != nil {
				return nil, err
			}
		}
		return freed, nil
	case RecordSegment:
		s, err := decodeSegmentRecord(r.payload)
		if err != nil {
			return nil, err
		}
		if s.removed {
			return nil, rows.Delete(segmentKey(s.number), nil)
		}
		return nil, rows.Set(segmentKey(s.number), r.payload, nil)
	}
	return nil, damaged("a record of %s in the meta stream", r.kind)
}

// placeAt reads a shard's row.
func placeAt(from pebble.Reader, key []byte) (place, bool, error) {
	value, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return place{}, false, nil
	}
	if err != nil {
		return place{}, false, err
	}
	p, err := decodePlace(value)
	return p, err == nil, errors.Join(err, closer.Close())
}

// lookup finds a shard, or answers ErrNoShard.
func (d *Drive) lookup(id engine.ShardID) (place, error) {
	if err := d.enter(); err != nil {
		return place{}, err
	}
	defer d.life.RUnlock()
	p, found, err := placeAt(d.db, shardKey(id))
	if err == nil && !found {
		err = noShard(id)
	}
	return p, err
}

// StatShard describes a shard. ErrNoShard.
func (d *Drive) StatShard(id engine.ShardID) (ShardInfo, error) {
	p, err := d.lookup(id)
	if err != nil {
		return ShardInfo{}, err
	}
	return ShardInfo{ID: id, Bytes: p.bytes, Sums: p.sums}, nil
}

// Shards returns up to max shards whose ids are greater than after, in order; the zero id is less than all that writers use.
func (d *Drive) Shards(after engine.ShardID, max int) ([]ShardInfo, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.life.RUnlock()
	var found []ShardInfo
	bounds := [2][]byte{append(shardKey(after), 0), shardRange[1]}
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: bounds[0], UpperBound: bounds[1]})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok && len(found) < max && err == nil; ok = it.Next() {
		var info ShardInfo
		var p place
		if info, p, err = decodeShardRow(it.Key(), it.Value()); err == nil {
			info.Lost, err = d.isLost(info.ID, p)
			found = append(found, info)
		}
	}
	return found, errors.Join(err, it.Close())
}

// isLost reports whether the file is missing that a shard is in; p is where it was. A segment that was removed has no shards any more: those that a row from
// before named were deleted or moved.
func (d *Drive) isLost(id engine.ShardID, p place) (bool, error) {
	for d.segments.isGone(p.segment) {
		now, found, err := placeAt(d.db, shardKey(id))
		if err != nil || !found {
			return false, err
		}
		if now.at(p) {
			return true, nil
		}
		p = now
	}
	return false, nil
}

func decodeShardRow(key, value []byte) (ShardInfo, place, error) {
	id, err := decodeShardKey(key[len(shardKeys):])
	if err != nil {
		return ShardInfo{}, place{}, err
	}
	p, err := decodePlace(value)
	return ShardInfo{ID: id, Bytes: p.bytes, Sums: p.sums}, p, err
}

// ReadShard fills dst with the shard's bytes from off on, after their checksums have proven them; on any error dst is arbitrary. It reads whole
// units of 64 KiB, and straight into dst where off and the length, or the shard's end, are multiples of that. A unit that fails is read
// again past the page cache before it is called bad. ErrNoShard, ErrBadShard with the unit, KindInvalidArgument beyond the shard's end,
// else the disk's error, which does not fail the drive.
func (d *Drive) ReadShard(id engine.ShardID, off int64, dst []byte) error {
	return d.whereItIs(id, func(p place) error { return d.readPlace(id, p, off, dst) })
}

// VerifyShard is ReadShard of what the disk itself has, whatever the page cache says: off is a multiple of 64 KiB, and so is the length, or it
// reaches the shard's end. It reads whole blocks of 4096 bytes, and what dst has room for beyond its length may be written over. It is quickest with
// memory that is aligned to that.
func (d *Drive) VerifyShard(id engine.ShardID, off int64, dst []byte) error {
	return d.whereItIs(id, func(p place) error { return d.verifyPlace(id, p, off, dst) })
}

// verifyPlace is VerifyShard of a shard that is at a place.
func (d *Drive) verifyPlace(id engine.ShardID, p place, off int64, dst []byte) error {
	end := off + int64(len(dst))
	if off < 0 || off%checksum.UnitBytes != 0 || end > p.bytes || end%checksum.UnitBytes != 0 && end != p.bytes {
		return engine.E(engine.KindInvalidArgument, "shard %s has %d bytes: %d at %d exceed it, or are no whole units", shardString(id), p.bytes, len(dst), off)
	}
	blocks := dst
	if whole := roundUp(int64(len(dst))); whole <= int64(cap(dst)) {
		blocks = dst[:whole]
	}
	if err := d.readDirect(id, p, off, blocks); err != nil {
		return err
	}
	first := int(off / checksum.UnitBytes)
	if bad, ok := checksum.Verify(id, first, dst, p.sums[first:]); !ok {
		return badShard(id, bad)
	}
	return nil
}

// whereItIs reads a shard where its row says that it is, and again where it is then if it was moved meanwhile.
func (d *Drive) whereItIs(id engine.ShardID, read func(place) error) error {
	p, err := d.lookup(id)
	if err != nil {
		return err
	}
	for {
		err := read(p)
		if !errors.Is(err, ErrBadShard) {
			return err
		}
		now, lost := d.lookup(id)
		if lost != nil {
			return lost // deleted while we read
		}
		if now.at(p) {
			d.counted(func(s *Stats) { s.ShardsBad++ })
			return err
		}
		p = now // replaced or moved while we read
	}
}

func (d *Drive) readPlace(id engine.ShardID, p place, off int64, dst []byte) error {
	if off < 0 || off+int64(len(dst)) > p.bytes {
		return engine.E(engine.KindInvalidArgument, "shard %s has %d bytes: %d at %d exceed it", shardString(id), p.bytes, len(dst), off)
	}
	f, done, err := d.segments.reading(p.segment)
	if errors.Is(err, errGone) || isNotExist(err) {
		return badShard(id, int(off/checksum.UnitBytes))
	}
	if err != nil {
		return d.readError(id, err)
	}
	defer done()
	for len(dst) > 0 {
		n, err := d.readSome(id, p, f, off, dst)
		if err != nil {
			return err
		}
		off += int64(n)
		dst = dst[n:]
	}
	return nil
}

// readSome reads whole units into dst, or a part of one by way of a buffer.
func (d *Drive) readSome(id engine.ShardID, p place, f disk.File, off int64, dst []byte) (int, error) {
	unit := off / checksum.UnitBytes
	start := unit * checksum.UnitBytes
	length := min(int64(len(dst))/checksum.UnitBytes*checksum.UnitBytes, p.bytes-start)
	if off+int64(len(dst)) == p.bytes {
		length = p.bytes - start
	}
	if off == start && length > 0 && length <= int64(len(dst)) {
		return int(length), d.readUnits(id, p, f, start, dst[:length])
	}
	b := d.buffers.Get(int(min(checksum.UnitBytes, p.bytes-start)))
	defer d.buffers.Put(b)
	if err := d.readUnits(id, p, f, start, b); err != nil {
		return 0, err
	}
	return copy(dst, b[off-start:]), nil
}

// readUnits reads and proves the units that b covers exactly.
func (d *Drive) readUnits(id engine.ShardID, p place, f disk.File, start int64, b []byte) error {
	if err := d.readAt(f, b, p.offset+start); err != nil && !errors.Is(err, io.EOF) {
		return d.readError(id, err)
	}
	first := int(start / checksum.UnitBytes)
	if _, ok := checksum.Verify(id, first, b, p.sums[first:]); ok {
		return nil
	}
	if err := d.readDirect(id, p, start, b); err != nil {
		return err
	}
	if bad, ok := checksum.Verify(id, first, b, p.sums[first:]); !ok {
		return badShard(id, bad)
	}
	d.counted(func(s *Stats) { s.CacheMismatch++ })
	return nil
}

// readDirect reads past the page cache, or what that does not have any more.
func (d *Drive) readDirect(id engine.ShardID, p place, start int64, b []byte) error {
	f, err := d.fsys.Open(segmentName(p.segment), disk.Flags{ReadOnly: true, Direct: true})
	if isNotExist(err) {
		return badShard(id, int(start/checksum.UnitBytes))
	}
	if err != nil {
		return d.readError(id, err)
	}
	defer f.Close()
	aligned := b
	if !disk.Aligned(b, 0) {
		aligned = disk.AlignedBytes(int(roundUp(int64(len(b)))))
	}
	if !f.Direct() {
		if err := d.forget(f, p.offset+start, int64(len(aligned))); err != nil {
			return d.readError(id, err)
		}
	}
	err = d.readAt(f, aligned, p.offset+start)
	if errors.Is(err, io.EOF) { // the segment was cut off
		clear(aligned)
	} else if err != nil {
		return d.readError(id, err)
	}
	copy(b, aligned)
	return nil
}

func (d *Drive) readAt(f disk.File, b []byte, off int64) error {
	defer d.watch.begin()()
	_, err := f.ReadAt(b, off)
	return err
}

func (d *Drive) forget(f disk.File, off, length int64) error {
	defer d.watch.begin()()
	return f.Forget(off, length)
}

func (d *Drive) readError(id engine.ShardID, err error) error {
	d.watch.readErrors.Add(1)
	return engine.E(engine.KindUnavailable, "read shard %s: %w", shardString(id), err)
}

// DeleteShards deletes shards; those that are not there are no error. When it returns nil the deletion is durable, and the room comes back soon. If
// the context ends first the outcome is open, and the call may be repeated.
func (d *Drive) DeleteShards(ctx context.Context, ids []engine.ShardID) error {
	if err := d.Failed(); err != nil {
		return err
	}
	chunks := slices.Collect(slices.Chunk(ids, tombstoneMax))
	if len(chunks) == 0 {
		return nil
	}
	var mu sync.Mutex // guards failed and left
	var failed error
	left, done := len(chunks), make(chan error, 1)
	for _, chunk := range chunks {
		d.ring.append(waiting{record: record{kind: RecordTombstone}, parts: [][]byte{encodeTombstone(chunk)}, done: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
			if left--; left == 0 {
				done <- failed
			}
		}})
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
