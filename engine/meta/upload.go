package meta

import (
	"slices"

	"holdfast/engine"
)

// UploadIDBytes is the length of an upload's id: 8 bytes time of start, 16 random ones.
const UploadIDBytes = 24

func (a *apply) startUpload(c *StartUpload) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	if len(c.ID) != UploadIDBytes {
		return failed(engine.KindInternal, "an upload's id has %d bytes, not %d", UploadIDBytes, len(c.ID))
	}
	if !c.Lock.IsZero() && !b.lock.Enabled {
		return failed(engine.KindNoLock, "locks are not enabled in the bucket")
	}
	r := uploadRow{Lock: c.Lock, started: a.header.Stamp, class: c.Class, attributes: c.Attributes, algorithm: c.Algorithm, full: c.Full, tags: c.Tags}
	a.view.Set(uploadKey(c.Bucket, c.Key, c.ID), r.encode())
	return &Answer{Stamp: a.header.Stamp}
}

func (a *apply) loadUpload(bucket engine.BucketID, key engine.Key, id string, r *uploadRow) *Answer {
	if !a.mustLoad(uploadKey(bucket, key, id), r) {
		return failed(engine.KindNoSuchUpload, "the upload was completed, aborted, or never started")
	}
	return nil
}

func (a *apply) putPart(c *PutPart) *Answer {
	var u uploadRow
	if refusal := a.loadUpload(c.Bucket, c.Key, c.ID, &u); refusal != nil {
		return refusal
	}
	if refusal := a.checkData(&c.Data); refusal != nil {
		return refusal
	}
	key := partKey(c.Bucket, c.ID, c.Number)
	var before partRow
	if a.mustLoad(key, &before) {
		a.release(before.content)
	}
	r := partRow{content: a.addData(&c.Data, partSum{c.Number, c.Checksum}), size: c.Data.Size, stamp: a.header.Stamp, md5: c.MD5, checksum: c.Checksum}
	a.view.Set(key, r.encode())
	return &Answer{Stamp: r.stamp, Size: r.size, ETag: engine.ETag(etag{md5: c.MD5}.String())}
}

// CompletePartsMax is the most parts that CompleteUpload or one Stage takes, so that a command touches at most 4,096 rows.
const CompletePartsMax = 1000

func (a *apply) completeUpload(c *CompleteUpload) *Answer {
	answer := a.withinQuota(c.Bucket, func() *Answer { return a.complete(c) })
	a.dropStaged(c.Staged)
	return answer
}

// dropStaged releases a staged content that its completion did not take: refused, or done before. Who tries again stages anew.
func (a *apply) dropStaged(content uint64) {
	key := key16(rowStaged, a.header.Epoch, content)
	if !a.has(key) {
		return // taken, another's, or none
	}
	a.view.Delete(key)
	a.release(content)
}

func (a *apply) complete(c *CompleteUpload) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	var u uploadRow
	if refusal := a.loadUpload(c.Bucket, c.Key, c.ID, &u); refusal != nil {
		if answer := a.completedBefore(c); answer != nil {
			return answer
		}
		return refusal
	}
	p := a.resolve(c.Bucket, c.Key)
	if refusal := checkConditions(&c.If, &p.entry, p.found); refusal != nil {
		return refusal
	}
	lock, refusal := a.lockNew(&b, u.Lock, c.Clock)
	if refusal != nil {
		return refusal
	}
	content, refusal := a.completeContent(c)
	if refusal != nil {
		return refusal
	}
	a.view.Delete(uploadKey(c.Bucket, c.Key, c.ID))
	a.trashUpload(c.Bucket, c.ID)
	inode := inodeRow{
		Lock: lock, content: content, size: c.Size, etag: etag{md5: c.MD5, parts: c.Count}, class: u.class,
		attributes: u.attributes, checksum: c.Checksum, upload: c.ID, tags: u.tags,
	}
	return a.setCurrent(c.Bucket, &b, p, &inode)
}

// completedBefore recognises the current version as the work of an earlier completion of the same upload.
func (a *apply) completedBefore(c *CompleteUpload) *Answer {
	p := a.resolve(c.Bucket, c.Key)
	var inode inodeRow
	if !p.found || !a.mustLoad(key16(rowInode, uint64(c.Bucket), p.entry.inode), &inode) || inode.upload != c.ID {
		return nil
	}
	if inode.etag != (etag{md5: c.MD5, parts: c.Count}) {
		return nil
	}
	var b bucketRow
	a.mustLoad(key8(rowBucket, uint64(c.Bucket)), &b)
	return &Answer{
		Sequence: inode.sequence, Stamp: inode.stamp, Size: inode.size, ETag: engine.ETag(inode.etag.String()),
		Version: p.entry.version(), Versioning: b.versioning,
	}
}

// completeContent makes the content of a completion. Parts that go into it directly pass their reference on and lose their rows; of
// a staged content the parts keep theirs until trash is cleared.
func (a *apply) completeContent(c *CompleteUpload) (content uint64, refusal *Answer) {
	if c.Staged != 0 {
		var r contentRow
		if !a.mustLoad(key8(rowContent, c.Staged), &r) || r.staged != a.header.Epoch || r.size != c.Size || r.count != c.Count {
			return 0, failed(engine.KindConflict, "the staged content is not what the completion says")
		}
		return a.addData(&Data{Staged: c.Staged}, partSum{}), nil
	}
	runs, size, refusal := a.partRuns(c.Bucket, c.ID, c.Parts)
	if refusal != nil {
		return 0, refusal
	}
	if size != c.Size || len(runs) != c.Count {
		return 0, failed(engine.KindInternal, "the parts have %d bytes, the completion says %d", size, c.Size)
	}
	for _, part := range c.Parts {
		a.view.Delete(partKey(c.Bucket, c.ID, part.Number))
	}
	id := a.nextContent()
	a.setRuns(id, &contentRow{refs: 1, size: size, count: len(runs)}, runs)
	return id, nil
}

// partRuns checks that parts are still those that the sender saw, and returns them as runs.
func (a *apply) partRuns(bucket engine.BucketID, id string, parts []Part) (runs []Run, size int64, refusal *Answer) {
	if len(parts) > CompletePartsMax {
		return nil, 0, failed(engine.KindInternal, "one command takes at most %d parts", CompletePartsMax)
	}
	keys := make([][]byte, len(parts))
	for i, part := range parts {
		if i > 0 && part.Number <= parts[i-1].Number {
			return nil, 0, failed(engine.KindInternal, "part %d comes after part %d", part.Number, parts[i-1].Number)
		}
		keys[i] = partKey(bucket, id, part.Number)
	}
	runs = make([]Run, len(parts))
	loadEach(a, keys, func(i int, r *partRow) {
		if r == nil || r.content != parts[i].Content {
			refusal = failed(engine.KindConflict, "part %d was replaced meanwhile", parts[i].Number)
			return
		}
		runs[i] = Run{Content: r.content, Length: r.size}
		size += r.size
	})
	if refusal != nil {
		return nil, 0, refusal
	}
	return runs, size, nil
}

// retainParts gives the content of each run one more reference.
func (a *apply) retainParts(runs []Run) {
	contents := make([]uint64, len(runs))
	for i := range runs {
		contents[i] = runs[i].Content
	}
	slices.Sort(contents)
	contents = slices.Compact(contents) // each is of one part
	keys := make([][]byte, len(contents))
	for i, id := range contents {
		keys[i] = key8(rowContent, id)
	}
	loadEach(a, keys, func(i int, r *contentRow) {
		r.refs++ // a part has one, so the row is there
		a.setContent(contents[i], r)
	})
}

func (a *apply) stage(c *Stage) *Answer {
	r := contentRow{refs: 1, staged: a.header.Epoch}
	id := c.Content
	if id != 0 && (!a.mustLoad(key8(rowContent, id), &r) || r.staged != a.header.Epoch) {
		return failed(engine.KindConflict, "content %d is not staged by this writer", id)
	}
	runs, size, refusal := a.partRuns(c.Bucket, c.ID, c.Parts)
	if refusal != nil {
		return refusal
	}
	if id == 0 {
		id = a.nextContent()
		a.view.Set(key16(rowStaged, a.header.Epoch, id), []byte{rowFormat})
	}
	a.retainParts(runs)
	for i := range runs {
		a.setRun(id, r.count+i, &runs[i])
	}
	r.count += len(runs)
	r.size += size
	a.setContent(id, &r)
	return &Answer{Content: id}
}

func (a *apply) abortUpload(c *AbortUpload) *Answer {
	var u uploadRow
	if refusal := a.loadUpload(c.Bucket, c.Key, c.ID, &u); refusal != nil {
		return refusal
	}
	a.view.Delete(uploadKey(c.Bucket, c.Key, c.ID))
	a.trashUpload(c.Bucket, c.ID)
	return &Answer{}
}

// trashUpload leaves the parts that an upload still has to ClearTrash.
func (a *apply) trashUpload(bucket engine.BucketID, id string) {
	a.each(append(key8(rowPart, uint64(bucket)), id...), func(_, _ []byte) bool {
		a.view.Set(append(key8(rowTrash, uint64(bucket)), id...), []byte{rowFormat})
		return false
	})
}
