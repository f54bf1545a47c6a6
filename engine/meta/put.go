package meta

import "holdfast/engine"

// loadBucket reads a bucket's row; commands name buckets by id, and an id that the group does not know is a bucket that was deleted.
func (a *apply) loadBucket(id engine.BucketID, b *bucketRow) *Answer {
	if !a.mustLoad(key8(rowBucket, uint64(id)), b) {
		return failed(engine.KindNoSuchBucket, "the bucket was deleted")
	}
	return nil
}

func (a *apply) put(c *Put) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	p := a.resolve(c.Bucket, c.Key)
	if refusal := checkConditions(&c.If, p); refusal != nil {
		return refusal
	}
	if refusal := a.checkData(&c.Data); refusal != nil {
		return refusal
	}
	inode := inodeRow{
		size: c.Data.Size, etag: etag{md5: c.MD5}, class: c.Class,
		attributes: c.Attributes, checksum: c.Checksum,
	}
	inode.content = a.addData(&c.Data)
	return a.setCurrent(c.Bucket, &b, p, &inode)
}

// setCurrent puts a new file on top of the path's entry in place of the version that is there. The inode's content has the reference
// that the inode will hold.
func (a *apply) setCurrent(bucket engine.BucketID, b *bucketRow, p *path, inode *inodeRow) *Answer {
	a.makeDirectories(b, p)
	d := delta{objects: 1, bytes: inode.size, versions: 1}
	if p.found {
		d = delta{bytes: inode.size - p.entry.size}
		a.unlink(bucket, p.entry.inode)
	}
	b.inode++
	b.sequence++
	inode.kind, inode.links, inode.stamp, inode.sequence = inodeFile, 1, a.header.Stamp, b.sequence
	entry := entryRow{
		kind: entryObject, inode: b.inode, sequence: inode.sequence, stamp: inode.stamp, size: inode.size, etag: inode.etag,
		class: inode.class,
	}
	a.view.Set(key16(rowInode, uint64(bucket), b.inode), inode.encode())
	a.view.Set(entryKey(bucket, p.leaf(), p.name), entry.encode())
	a.view.Set(key8(rowBucket, uint64(bucket)), b.encode())
	a.count(p, d)
	return &Answer{
		Sequence: inode.sequence, Stamp: inode.stamp, Size: inode.size, ETag: engine.ETag(inode.etag.String()), Existed: p.found,
	}
}

// unlink takes one name from a file; with the last one the file goes and its content loses a reference.
func (a *apply) unlink(bucket engine.BucketID, id uint64) {
	key := key16(rowInode, uint64(bucket), id)
	var inode inodeRow
	if !a.mustLoad(key, &inode) {
		return
	}
	if inode.links > 1 {
		inode.links--
		a.view.Set(key, inode.encode())
		return
	}
	a.view.Delete(key)
	a.release(inode.content)
}

func (a *apply) delete(c *Delete) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	p := a.resolve(c.Bucket, c.Key)
	if refusal := checkConditions(&c.If, p); refusal != nil {
		return refusal
	}
	if !p.found {
		return &Answer{Sequence: b.sequence}
	}
	a.unlink(c.Bucket, p.entry.inode)
	a.view.Delete(entryKey(c.Bucket, p.leaf(), p.name))
	b.sequence++
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	a.count(p, delta{objects: -1, bytes: -p.entry.size, versions: -1})
	return &Answer{Sequence: b.sequence, Stamp: a.header.Stamp, Existed: true}
}
