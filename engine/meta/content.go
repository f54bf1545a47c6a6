package meta

import (
	"encoding/binary"
	"math"

	"holdfast/engine"
)

// checkData returns why a command may not bring this data, or nil. It changes nothing.
func (a *apply) checkData(data *Data) *Answer {
	if data.Staged != 0 {
		return nil // Stage and its callers check what they staged
	}
	size := int64(len(data.Inline))
	for i := range data.Extents {
		x := &data.Extents[i]
		size += x.Size
		if refusal := a.checkExtent(x); refusal != nil {
			return refusal
		}
	}
	if size != data.Size || len(data.Extents) > 0 && len(data.Inline) > 0 {
		return failed(engine.KindInternal, "the command brings %d bytes and says %d", size, data.Size)
	}
	return nil
}

// checkExtent keeps the promises of the acknowledgement: the extent is the writer's own, nobody gave it up, its shards lie on
// different drives, and those that the writer could not write belong to drives that are out, never so many that the floor is
// passed.
func (a *apply) checkExtent(x *Extent) *Answer {
	if x.ID.Group != a.group || x.ID.Epoch != a.header.Epoch {
		return failed(engine.KindInternal, "extent %v is not of the writer's epoch %d", x.ID, a.header.Epoch)
	}
	if a.has(extentKey(rowCondemned, x.ID)) || a.has(extentKey(rowExtent, x.ID)) {
		return failed(engine.KindUnavailable, "extent %v was given up or is in use; repeat the write", x.ID)
	}
	for i, drive := range x.Drives {
		for _, other := range x.Drives[:i] {
			if other == drive {
				return failed(engine.KindInternal, "extent %v has two shards on drive %d", x.ID, drive)
			}
		}
		if x.Missing&(1<<i) != 0 && !a.driveOut(drive) {
			return failed(engine.KindUnavailable, "a shard of extent %v failed on drive %d, which is not out; repeat the write", x.ID, drive)
		}
	}
	if written, floor := len(x.Drives)-x.missingCount(), AcknowledgeFloor(x.Redundancy); written < floor {
		return failed(engine.KindUnavailable, "extent %v has %d shards; at least %d are needed", x.ID, written, floor)
	}
	return nil
}

// AcknowledgeFloor returns the least number of shards on drives with which a write may be acknowledged: max(k+1, k+⌈m/2⌉), or k
// without parity.
func AcknowledgeFloor(r engine.Redundancy) int {
	if r.Parity == 0 {
		return r.Data
	}
	return max(r.Data+1, r.Data+(r.Parity+1)/2)
}

func (a *apply) driveOut(drive engine.DriveID) bool {
	var r driveRow
	return a.mustLoad(key8(rowDrive, uint64(drive)), &r) && r.out
}

// addData makes a content of checked data, with one reference, and returns its id. What was staged is of no part.
func (a *apply) addData(data *Data, part partSum) uint64 {
	if data.Staged != 0 {
		var r contentRow
		a.mustLoad(key8(rowContent, data.Staged), &r)
		r.staged = 0
		a.setContent(data.Staged, &r)
		a.view.Delete(key16(rowStaged, a.header.Epoch, data.Staged))
		return data.Staged
	}
	id := a.nextContent()
	r := contentRow{refs: 1, size: data.Size, inline: len(data.Extents) == 0, data: data.Inline, count: len(data.Extents), part: part}
	runs := make([]Run, len(data.Extents))
	for i := range data.Extents {
		x := &data.Extents[i]
		x.Content = id
		a.placeExtent(x)
		runs[i] = Run{Extent: x.ID, Length: x.Size}
	}
	a.setRuns(id, &r, runs)
	return id
}

func (a *apply) nextContent() uint64 {
	a.counters.content++
	return a.counters.content
}

// setRuns writes a content's row with its runs, in rows of their own where they are many.
func (a *apply) setRuns(id uint64, r *contentRow, runs []Run) {
	if len(runs) <= runsInRow {
		r.runs = runs
	} else {
		for i := range runs {
			a.setRun(id, i, &runs[i])
		}
	}
	a.setContent(id, r)
}

func (a *apply) setRun(content uint64, number int, run *Run) {
	e := encoder{}
	e.byte(rowFormat)
	e.run(run)
	a.view.Set(key16(rowRun, content, uint64(number)), e.b)
}

func (a *apply) setContent(id uint64, r *contentRow) {
	a.view.Set(key8(rowContent, id), r.encode())
}

// placeExtent writes an extent's row and its placement rows, and records as missing what lies on a drive that is out.
func (a *apply) placeExtent(x *Extent) {
	for i, drive := range x.Drives {
		if a.driveOut(drive) {
			x.Missing |= 1 << i
		}
		a.view.Set(placementKey(drive, x.ID), []byte{rowFormat, byte(i)})
	}
	a.view.Set(extentKey(rowExtent, x.ID), x.encode())
	a.setMissing(x, true)
}

// setMissing writes or removes the row that says that an extent lacks shards.
func (a *apply) setMissing(x *Extent, set bool) {
	if x.Missing == 0 {
		return
	}
	if key := missingKey(x.slack(), x.ID); set {
		a.view.Set(key, []byte{rowFormat})
	} else {
		a.view.Delete(key)
	}
}

// release takes one reference from a content; the last one makes it garbage. A few bytes in a row need no collector: a reader has
// them before it answers.
func (a *apply) release(id uint64) {
	key := key8(rowContent, id)
	var r contentRow
	if !a.mustLoad(key, &r) || r.refs == 0 {
		return
	}
	r.refs--
	if r.refs == 0 && r.inline {
		a.view.Delete(key)
		return
	}
	if r.refs == 0 {
		r.staged = 0
		a.view.Set(key16(rowGarbage, a.index, id), []byte{rowFormat})
	}
	a.setContent(id, &r)
}

// forgetRuns is the most runs that one Forget removes.
const forgetRuns = 256

func (a *apply) forget(c *Forget) *Answer {
	garbageKey := key16(rowGarbage, c.Index, c.Content)
	var r contentRow
	if !a.has(garbageKey) || !a.mustLoad(key8(rowContent, c.Content), &r) || r.refs != 0 {
		return &Answer{} // a repetition by another writer
	}
	gone := make(map[engine.ExtentID]bool, len(c.Extents))
	for _, id := range c.Extents {
		gone[id] = true
	}
	removed := 0
	drop := func(run *Run) bool {
		if removed == forgetRuns || run.Content == 0 && !run.Hole() && !gone[run.Extent] {
			return false
		}
		removed++
		if run.Content != 0 {
			a.release(run.Content)
		} else if !run.Hole() {
			a.removeExtent(run.Extent)
		}
		return true
	}
	if len(r.runs) > 0 {
		var left []Run
		for i := range r.runs {
			if !drop(&r.runs[i]) {
				left = append(left, r.runs[i])
			}
		}
		r.runs = left
	} else {
		var keys [][]byte
		a.each(key8(rowRun, c.Content), func(key, value []byte) bool {
			run := mustRun(key, value)
			if drop(&run) {
				keys = append(keys, append([]byte(nil), key...))
			}
			return removed < forgetRuns
		})
		for _, key := range keys {
			a.view.Delete(key)
		}
	}
	r.count -= removed
	if r.count <= 0 {
		a.view.Delete(garbageKey)
		a.view.Delete(key8(rowContent, c.Content))
		return &Answer{}
	}
	a.setContent(c.Content, &r)
	return &Answer{Left: uint64(r.count)}
}

func mustRun(key, value []byte) Run {
	run, err := parseRun(value)
	if err != nil {
		panic(storeError{err})
	}
	return run
}

func parseRun(value []byte) (Run, error) {
	var r runRow
	d := decoder{b: value}
	r.decode(&d)
	return r.Run, d.end()
}

func (a *apply) removeExtent(id engine.ExtentID) {
	x := Extent{ID: id}
	if !a.mustLoad(extentKey(rowExtent, id), &x) {
		return
	}
	for _, drive := range x.Drives {
		a.view.Delete(placementKey(drive, id))
	}
	a.setMissing(&x, false)
	a.view.Delete(extentKey(rowExtent, id))
}

func (a *apply) moveShard(c *MoveShard) *Answer {
	x := Extent{ID: c.Extent}
	if !a.mustLoad(extentKey(rowExtent, c.Extent), &x) || c.Index >= len(x.Drives) || x.Drives[c.Index] != c.From {
		return failed(engine.KindConflict, "shard %d of extent %v is not on drive %d any more", c.Index, c.Extent, c.From)
	}
	for i, drive := range x.Drives {
		if i != c.Index && drive == c.To {
			return failed(engine.KindConflict, "drive %d has another shard of extent %v", c.To, c.Extent)
		}
	}
	if a.driveOut(c.To) || a.driveLeaving(c.To) {
		return failed(engine.KindConflict, "drive %d is out, or leaves", c.To)
	}
	a.setMissing(&x, false)
	a.view.Delete(placementKey(c.From, c.Extent))
	a.view.Set(placementKey(c.To, c.Extent), []byte{rowFormat, byte(c.Index)})
	x.Drives[c.Index] = c.To
	x.Missing &^= 1 << c.Index
	a.view.Set(extentKey(rowExtent, c.Extent), x.encode())
	a.setMissing(&x, true)
	return &Answer{}
}

func (a *apply) recode(c *Recode) *Answer {
	old := Extent{ID: c.Extent}
	var r contentRow
	if !a.mustLoad(extentKey(rowExtent, c.Extent), &old) || !a.mustLoad(key8(rowContent, old.Content), &r) || r.refs == 0 {
		return failed(engine.KindConflict, "extent %v is not in use any more", c.Extent)
	}
	if refusal := a.checkExtent(&c.To); refusal != nil {
		return refusal
	}
	if c.To.Size != old.Size || c.To.Class != old.Class {
		return failed(engine.KindInternal, "extent %v has %d bytes of class %s; the one for its place has %d of %s", c.Extent, old.Size, old.Class, c.To.Size, c.To.Class)
	}
	run := Run{Content: 1} // none
	if len(r.runs) > 0 && c.Run < len(r.runs) {
		run = r.runs[c.Run]
	} else if len(r.runs) == 0 {
		var row runRow
		if a.mustLoad(key16(rowRun, old.Content, uint64(c.Run)), &row) {
			run = row.Run
		}
	}
	if run.Content != 0 || run.Extent != c.Extent {
		return failed(engine.KindConflict, "extent %v is not run %d of content %d", c.Extent, c.Run, old.Content)
	}
	run.Extent = c.To.ID
	if len(r.runs) > 0 {
		r.runs[c.Run] = run
		a.setContent(old.Content, &r)
	} else {
		a.setRun(old.Content, c.Run, &run)
	}
	c.To.Content = old.Content
	a.placeExtent(&c.To)
	old.Content = a.nextContent()
	a.setContent(old.Content, &contentRow{size: old.Size, count: 1, runs: []Run{{Extent: old.ID, Length: old.Size}}})
	a.view.Set(key16(rowGarbage, a.index, old.Content), []byte{rowFormat})
	a.view.Set(extentKey(rowExtent, old.ID), old.encode())
	return &Answer{}
}

func (a *apply) reportMissing(c *ReportMissing) *Answer {
	x := Extent{ID: c.Extent}
	if !a.mustLoad(extentKey(rowExtent, c.Extent), &x) || c.Index >= len(x.Drives) || x.Drives[c.Index] != c.Drive {
		return failed(engine.KindConflict, "shard %d of extent %v is not on drive %d any more", c.Index, c.Extent, c.Drive)
	}
	a.setMissing(&x, false)
	x.Missing |= 1 << c.Index
	a.view.Set(extentKey(rowExtent, c.Extent), x.encode())
	a.setMissing(&x, true)
	return &Answer{}
}

func (a *apply) setDrive(c *SetDrive) *Answer {
	r := driveRow{out: c.Out || c.Gone, gone: c.Gone}
	var before driveRow
	if a.mustLoad(key8(rowDrive, uint64(c.Drive)), &before) && before.gone {
		return &Answer{} // gone is for good
	}
	if !r.gone {
		r.leaving, r.heir = before.leaving, before.heir
	}
	a.view.Set(key8(rowDrive, uint64(c.Drive)), r.encode())
	return &Answer{}
}

// clearRows is the most rows that one ClearTrash removes.
const clearRows = 500

func (a *apply) clearTrash() *Answer {
	var key []byte
	a.each([]byte{rowTrash}, func(k, _ []byte) bool {
		key = append(key, k...)
		return false
	})
	if key == nil {
		return &Answer{}
	}
	bucket := engine.BucketID(binary.BigEndian.Uint64(key[1:]))
	if id := string(key[9:]); id != "" {
		a.clearUpload(key, bucket, id)
	} else {
		a.clearBucket(key, bucket)
	}
	return &Answer{Left: 1}
}

// clearUpload removes parts of an upload that was completed or aborted.
func (a *apply) clearUpload(trash []byte, bucket engine.BucketID, id string) {
	var keys [][]byte
	a.each(append(key8(rowPart, uint64(bucket)), id...), func(key, value []byte) bool {
		var part partRow
		if err := parse(key, value, &part); err != nil {
			panic(storeError{err})
		}
		a.release(part.content)
		keys = append(keys, append([]byte(nil), key...))
		return len(keys) < clearRows
	})
	for _, key := range keys {
		a.view.Delete(key)
	}
	if len(keys) < clearRows {
		a.view.Delete(trash)
	}
}

// clearBucket frees what owners have in a deleted bucket, removes what is noted of its changes, and puts its uploads under trash.
func (a *apply) clearBucket(trash []byte, bucket engine.BucketID) {
	if a.clearOwners(bucket) {
		return
	}
	if _, more := a.dropFeed(bucket, math.MaxUint64); more {
		return
	}
	var keys [][]byte
	a.each(key8(rowUpload, uint64(bucket)), func(key, _ []byte) bool {
		keys = append(keys, append([]byte(nil), key...))
		return len(keys) < clearRows
	})
	for _, key := range keys {
		if _, id, err := splitUploadKey(key[9:]); err == nil {
			a.view.Set(append(key8(rowTrash, uint64(bucket)), id...), []byte{rowFormat})
		}
		a.view.Delete(key)
	}
	if len(keys) < clearRows {
		a.view.Delete(trash)
	}
}
