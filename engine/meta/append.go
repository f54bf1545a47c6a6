package meta

import (
	"crypto/md5"

	"holdfast/engine"
)

// Append puts Data behind the content of the object Key, which the change Sequence made and which has Offset bytes; Sequence 0 says that there is no
// object: then it is Put, with Offset 0. MD5 is that of Data and Part its checksum; Checksum is that of the whole. The content becomes one of parts,
// as a completed upload's.
type Append struct {
	Bucket         engine.BucketID
	Key            engine.Key
	Offset         int64
	Sequence       engine.Sequence
	Data           Data
	MD5            [16]byte
	Part, Checksum engine.Checksum
	If             engine.Conditions
	// Of an object that it makes:
	Class      engine.StorageClass
	Attributes engine.Attributes
	Tags       engine.Tags
}

func (*Append) opcode() byte { return opAppend }
func (c *Append) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.uint(uint64(c.Offset))
	e.uint(uint64(c.Sequence))
	e.data(&c.Data)
	e.b = append(e.b, c.MD5[:]...)
	e.checksum(&c.Part)
	e.checksum(&c.Checksum)
	e.conditions(&c.If)
	e.string(shortClass(c.Class))
	e.attributes(&c.Attributes)
	e.tags(c.Tags)
}
func (c *Append) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.Offset = int64(d.uint())
	c.Sequence = engine.Sequence(d.uint())
	c.Data = d.data()
	c.MD5 = d.md5()
	c.Part = d.checksum()
	c.Checksum = d.checksum()
	c.If = d.conditions()
	c.Class = longClass(d.string())
	c.Attributes = d.attributes()
	c.Tags = d.tags()
}

func (a *apply) append(c *Append) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	if b.versioning != engine.VersioningOff {
		return failed(engine.KindBucketState, "the bucket keeps versions, and a version does not change; put the whole object")
	}
	p := a.resolve(c.Bucket, c.Key)
	if refusal := checkConditions(&c.If, &p.entry, p.found); refusal != nil {
		return refusal
	}
	if !p.found && c.Offset > 0 {
		return failed(engine.KindNoSuchKey, "there is no object %q to append to", string(c.Key))
	}
	if size := p.entry.size; p.found && size != c.Offset {
		return failed(engine.KindInvalidOffset, "the object has %d bytes, not %d", size, c.Offset)
	}
	if p.entry.sequence != c.Sequence {
		return failed(engine.KindConflict, "the object %q changed meanwhile", string(c.Key))
	}
	if refusal := a.checkData(&c.Data); refusal != nil {
		return refusal
	}
	if !p.found {
		inode := inodeRow{size: c.Data.Size, etag: etag{md5: c.MD5}, class: c.Class, attributes: c.Attributes, checksum: c.Checksum, tags: c.Tags}
		inode.content = a.addData(&c.Data, partSum{})
		return a.setCurrent(c.Bucket, &b, p, &inode)
	}
	var before inodeRow
	if !a.mustLoad(key16(rowInode, uint64(c.Bucket), p.entry.inode), &before) {
		return failed(engine.KindInternal, "the object %q has no inode", string(c.Key))
	}
	if before.class != c.Class {
		return failed(engine.KindConflict, "the object %q has storage class %s by now", string(c.Key), before.class)
	}
	inode := inodeRow{class: before.class, attributes: before.attributes, tags: before.tags, token: before.token, checksum: c.Checksum, size: before.size + c.Data.Size}
	if before.size == 0 {
		inode.etag = etag{md5: c.MD5}
		inode.content = a.addData(&c.Data, partSum{})
		return a.setCurrent(c.Bucket, &b, p, &inode)
	}
	if before.etag.patched() {
		return a.appendPatched(c, &b, p, &before, &inode)
	}
	number, refusal := a.nextPart(before.content, before.etag.parts)
	if refusal != nil {
		return refusal
	}
	if inode.content, refusal = a.extended(before.content, before.etag.parts > 0, before.stays()); refusal != nil {
		return refusal
	}
	a.addRun(inode.content, Run{Content: a.addData(&c.Data, partSum{number, c.Part}), Length: c.Data.Size})
	inode.etag = before.etag.then(c.MD5)
	return a.setCurrent(c.Bucket, &b, p, &inode)
}

// then returns the ETag after something with the MD5 was appended.
func (t etag) then(sum [16]byte) etag {
	h := md5.New()
	h.Write(t.md5[:])
	h.Write(sum[:])
	t.parts = max(1, t.parts) + 1
	h.Sum(t.md5[:0])
	return t
}

// stays reports whether the inode is still there when one of its names names another.
func (r *inodeRow) stays() bool { return r.links > 1 || r.holds > 0 }

// appendPatched appends to a file that was patched, as another patch does.
func (a *apply) appendPatched(c *Append, b *bucketRow, p *path, before, inode *inodeRow) *Answer {
	var held contentRow
	a.mustLoad(key8(rowContent, before.content), &held)
	if held.count+2 > engine.FilePiecesMax {
		return failed(engine.KindEntityTooLarge, "the object lies in %d pieces; no more than %d are allowed, write it anew", held.count, engine.FilePiecesMax)
	}
	shared := !held.ends || held.refs > 1 || before.stays() // else the former inode, which goes, is the only other user
	if shared {
		if refusal := a.mayBeNamed(before.content, &held); refusal != nil {
			return refusal
		}
	}
	id := before.content
	a.retain(id)
	if shared {
		id = a.editable(id)
	}
	more := a.patching(id, held.levels())
	more.put(before.size, c.Data.Size, []Run{{Content: a.addData(&c.Data, partSum{}), Length: c.Data.Size}})
	a.setContent(more.id, &more.row)
	inode.content = more.id
	piece := engine.PatchedPiece{Offset: before.size, Length: c.Data.Size, Sum: c.MD5}
	inode.etag = etag{md5: engine.PatchTag(before.etag.md5, []engine.PatchedPiece{piece}, inode.size), parts: patchedParts}
	more.wasteful = a.has(scatteredKey(c.Bucket, p.entry.inode)) // what a keeper is to look at goes over to the new inode
	answer := a.setCurrent(c.Bucket, b, p, inode)
	a.noteScattered(c.Bucket, b.inode, more)
	return answer
}

// nextPart returns the number of the part that follows those of a content; parts is how many it has, 0 if it was not made of any.
func (a *apply) nextPart(id uint64, parts int) (number int, refusal *Answer) {
	number = max(1, parts)
	if parts > 0 {
		var r, last contentRow
		var run runRow
		a.mustLoad(key8(rowContent, id), &r)
		if n := len(r.runs); n > 0 {
			run.Run = r.runs[n-1]
		} else {
			a.mustLoad(key16(rowRun, id, uint64(r.count-1)), &run)
		}
		a.mustLoad(key8(rowContent, run.Content), &last)
		number = max(number, last.part.number)
	}
	if number >= engine.PartNumberMax {
		return 0, failed(engine.KindEntityTooLarge, "the object's last part has number %d, the highest that there may be; put it anew", number)
	}
	return number + 1, nil
}

// sharedPartsMax bounds the rows that an append to an object with a copy writes.
const sharedPartsMax = 1000

// extended returns a content that names contents, has the bytes of the one given, and to which runs may be added; the caller owns a reference to
// it. That is the same content if nobody but one inode has it that goes by this, for runs that are added change nothing for who reads what was there before.
func (a *apply) extended(id uint64, parts, stays bool) (uint64, *Answer) {
	var r contentRow
	if !a.mustLoad(key8(rowContent, id), &r) {
		return 0, failed(engine.KindInternal, "content %d is not there", id)
	}
	if parts && r.refs == 1 && !stays {
		a.retain(id)
		return id, nil
	}
	runs := []Run{{Content: id, Length: r.size}}
	if parts {
		// Others have the parts too: they are shared one by one, so that contents do not nest deeper with every append after a copy.
		if r.count > sharedPartsMax {
			return 0, failed(engine.KindEntityTooLarge, "the object shares its %d parts with a copy; more than %d cannot be appended to, put it anew", r.count, sharedPartsMax)
		}
		runs = r.runs
		if r.count > len(runs) {
			runs = nil
			a.each(key8(rowRun, id), func(key, value []byte) bool {
				runs = append(runs, mustRun(key, value))
				return true
			})
		}
	}
	for i := range runs {
		a.retain(runs[i].Content)
	}
	whole := a.nextContent()
	a.setRuns(whole, &contentRow{refs: 1, size: r.size, count: len(runs)}, runs)
	return whole, nil
}

// addRun adds a run at the end of a content that names contents.
func (a *apply) addRun(id uint64, run Run) {
	var r contentRow
	a.mustLoad(key8(rowContent, id), &r)
	switch {
	case r.count < runsInRow && r.count == len(r.runs):
		r.runs = append(r.runs, run)
	case r.count == len(r.runs): // its own row has no room for one more
		for i := range r.runs {
			a.setRun(id, i, &r.runs[i])
		}
		r.runs = nil
		fallthrough
	default:
		a.setRun(id, r.count, &run)
	}
	r.count++
	r.size += run.Length
	a.setContent(id, &r)
}
