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
	if refusal := checkConditions(&c.If, &p.entry, p.found); refusal != nil {
		return refusal
	}
	if refusal := a.checkData(&c.Data); refusal != nil {
		return refusal
	}
	lock, refusal := a.lockNew(&b, c.Lock, c.Clock)
	if refusal != nil {
		return refusal
	}
	inode := inodeRow{
		Lock: lock, size: c.Data.Size, etag: etag{md5: c.MD5}, class: c.Class,
		attributes: c.Attributes, checksum: c.Checksum, tags: c.Tags,
	}
	inode.content = a.addData(&c.Data, partSum{})
	return a.setCurrent(c.Bucket, &b, p, &inode)
}

// setCurrent puts a new file on top of the path's entry, as the bucket's versioning says. The inode's content has the reference that the inode will
// hold.
func (a *apply) setCurrent(bucket engine.BucketID, b *bucketRow, p *path, inode *inodeRow) *Answer {
	a.makeDirectories(b, p)
	b.inode++
	a.raise(bucket, b, engine.ChangePut).at(p)
	inode.parent, inode.name = p.leaf(), p.name
	inode.kind, inode.links, inode.stamp, inode.sequence = inodeFile, 1, a.header.Stamp, b.sequence
	entry := entryRow{
		kind: entryObject, inode: b.inode, sequence: inode.sequence, stamp: inode.stamp, size: inode.size, etag: inode.etag,
		class: inode.class, named: b.versioning == engine.VersioningEnabled,
	}
	existed := p.found && p.entry.kind == entryObject
	a.view.Set(key16(rowInode, uint64(bucket), b.inode), inode.encode())
	d := a.push(p, &entry)
	d.locked += locked(&inode.Lock)
	a.view.Set(key8(rowBucket, uint64(bucket)), b.encode())
	a.count(p, d)
	return &Answer{
		Sequence: inode.sequence, Stamp: inode.stamp, Size: inode.size, ETag: engine.ETag(inode.etag.String()), Existed: existed,
		Version: entry.version(), Versioning: b.versioning,
	}
}

// unlink takes the path's name from a file; with the last one the file goes, unless somebody holds it, and its content loses a reference.
func (a *apply) unlink(p *path, id uint64) {
	key := key16(rowInode, uint64(p.bucket), id)
	var inode inodeRow
	if !a.mustLoad(key, &inode) {
		return
	}
	if inode.links == 1 && inode.parent != 0 && (inode.parent != p.leaf() || inode.name != p.name) {
		return // it has another name by now
	}
	if inode.links > 1 {
		if !a.has(linkKey(p.bucket, id, p.leaf(), p.name)) {
			return // it has other names by now
		}
		a.dropLink(p, id, &inode)
		inode.posix.changed = a.header.Stamp
		a.view.Set(key, inode.encode())
		return
	}
	if inode.holds > 0 {
		inode.links, inode.parent, inode.name = 0, 0, ""
		inode.posix.changed = a.header.Stamp
		a.view.Set(key, inode.encode())
		return
	}
	a.forgetInode(p.bucket, id, &inode)
}
