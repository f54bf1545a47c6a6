package meta

import (
	"time"

	"holdfast/engine"
)

// The newest version of a name is its entry; older ones are rows of their own, from the newest to the oldest, and the entry counts them. A version is
// known by the sequence of the change that made it, the null version by a flag: a name has at most one, and the entry says where.

// find returns the version of the path's name that id names, the newest one for "".
func (p *path) find(view Reader, id engine.VersionID) (entry entryRow, found bool, err error) {
	if !p.found || id == "" || id == p.entry.version() {
		return p.entry, p.found, nil
	}
	s, ok := engine.ParseVersion(id)
	if id == engine.NullVersion {
		s, ok = p.entry.nullOlder, p.entry.nullOlder != 0
	}
	if !ok {
		return entry, false, nil
	}
	found, err = load(view, olderKey(p.bucket, p.leaf(), p.name, s), &entry)
	return entry, found && entry.version() == id, err
}

// object returns the version that id names, which must be an object.
func (p *path) object(view Reader, key engine.Key, id engine.VersionID) (entry entryRow, refusal *engine.Error, err error) {
	entry, found, err := p.find(view, id)
	switch {
	case err != nil:
		return entry, nil, err
	case id == "" && !found:
		return entry, engine.E(engine.KindNoSuchKey, "there is no object %q", string(key)), nil
	case !found:
		return entry, engine.E(engine.KindNoSuchVersion, "%q has no version %q", string(key), string(id)), nil
	case entry.kind == entryObject:
		return entry, nil, nil
	case id == "":
		refusal = engine.E(engine.KindNoSuchKey, "the object %q was deleted: its newest version is a delete marker", string(key))
	default:
		refusal = engine.E(engine.KindDeleteMarker, "version %q of %q is a delete marker", string(id), string(key))
	}
	refusal.Marker, refusal.Marked = entry.version(), time.Unix(0, entry.stamp)
	return entry, refusal, nil
}

// push puts a new version on top of the path's name. What was the top becomes an older version, or goes: a null version is replaced by the next.
// The caller counts what comes of it.
func (a *apply) push(p *path, entry *entryRow) (d delta) {
	d.add(entry, 1)
	if p.found {
		top := p.entry
		entry.older, entry.nullOlder = top.older, top.nullOlder
		d.hide(&top)
		if !entry.named && !top.named {
			d.versions--
			d.all -= top.size
			a.unlink(p, top.inode)
		} else {
			if !entry.named && top.nullOlder != 0 {
				d.all -= a.dropOlder(p, entry, top.nullOlder)
				d.versions--
			}
			if !top.named {
				entry.nullOlder = top.sequence
			}
			top.older, top.nullOlder = 0, 0
			a.view.Set(olderKey(p.bucket, p.leaf(), p.name, top.sequence), top.encode())
			entry.older++
		}
	}
	a.view.Set(entryKey(p.bucket, p.leaf(), p.name), entry.encode())
	return d
}

// dropOlder removes an older version, and returns its size; top is what the entry will be, and is not written.
func (a *apply) dropOlder(p *path, top *entryRow, s engine.Sequence) (size int64) {
	key := olderKey(p.bucket, p.leaf(), p.name, s)
	var entry entryRow
	if !a.mustLoad(key, &entry) {
		return 0
	}
	a.view.Delete(key)
	a.unlink(p, entry.inode)
	top.older--
	if !entry.named {
		top.nullOlder = 0
	}
	return entry.size
}

// remove removes one version of the path's name for good. The newest of those that are left is the top then.
func (a *apply) remove(p *path, entry *entryRow) (d delta) {
	d.versions = -1
	top := p.entry
	if entry.sequence != top.sequence {
		d.all = -a.dropOlder(p, &top, entry.sequence)
		a.view.Set(entryKey(p.bucket, p.leaf(), p.name), top.encode())
		return d
	}
	d.hide(&top)
	d.all = -top.size
	a.unlink(p, top.inode)
	if top.older == 0 {
		a.view.Delete(entryKey(p.bucket, p.leaf(), p.name))
		return d
	}
	var next entryRow
	a.each(olderPrefix(p.bucket, p.leaf(), p.name), func(key, value []byte) bool {
		if err := parse(key, value, &next); err != nil {
			panic(storeError{err})
		}
		return false
	})
	a.view.Delete(olderKey(p.bucket, p.leaf(), p.name, next.sequence))
	next.older = top.older - 1
	if next.nullOlder = top.nullOlder; !next.named {
		next.nullOlder = 0
	}
	a.view.Set(entryKey(p.bucket, p.leaf(), p.name), next.encode())
	d.show(&next)
	return d
}

// add counts a new top; n is how many versions that is.
func (d *delta) add(entry *entryRow, n int64) {
	d.versions += n
	d.all += entry.size
	d.show(entry)
}

// show counts a version that becomes the top.
func (d *delta) show(entry *entryRow) {
	if entry.kind == entryObject {
		d.objects++
		d.bytes += entry.size
	}
}

// hide undoes show.
func (d *delta) hide(entry *entryRow) {
	if entry.kind == entryObject {
		d.objects--
		d.bytes -= entry.size
	}
}

func (a *apply) delete(c *Delete) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	p := a.resolve(c.Bucket, c.Key)
	entry, found, err := p.find(a.view, c.Version)
	if err != nil {
		panic(storeError{err})
	}
	if refusal := checkConditions(&c.If, &entry, found); refusal != nil {
		return refusal
	}
	answer := &Answer{Version: c.Version, Versioning: b.versioning, Existed: found && (c.Version != "" || entry.kind == entryObject)}
	marks := c.Version == "" && b.versioning != engine.VersioningOff
	if !found && !marks {
		answer.Sequence = b.sequence
		return answer
	}
	n := a.raise(c.Bucket, &b, engine.ChangeDeleted).at(p)
	switch {
	case n == nil:
	case marks:
		n.row.kind = engine.ChangeMarked
	case b.versioning != engine.VersioningOff:
		n.row.kind, n.row.removed = engine.ChangeVersionRemoved, entry.version()
	}
	answer.Sequence, answer.Stamp = b.sequence, a.header.Stamp
	if marks {
		answer.Version, answer.Marker = a.mark(&b, p), true
	} else {
		refusal, lock := a.kept(&b, c.Bucket, &entry, c)
		if refusal != nil {
			return refusal
		}
		answer.Marker = entry.kind == entryMarker
		d := a.remove(p, &entry)
		d.locked -= lock
		a.count(p, d)
	}
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return answer
}

// mark puts a delete marker on top of the path's name, as the change that the bucket's sequence numbers.
func (a *apply) mark(b *bucketRow, p *path) engine.VersionID {
	marker := entryRow{kind: entryMarker, sequence: b.sequence, stamp: a.header.Stamp, class: engine.ClassStandard, named: b.versioning == engine.VersioningEnabled}
	a.makeDirectories(b, p)
	a.count(p, a.push(p, &marker))
	return marker.version()
}

func (a *apply) setTags(c *SetTags) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	p := a.resolve(c.Bucket, c.Key)
	entry, missing, err := p.object(a.view, c.Key, c.Version)
	switch {
	case err != nil:
		panic(storeError{err})
	case missing != nil:
		return failed(missing.Kind, "%v", missing.Err)
	}
	var inode inodeRow
	key := key16(rowInode, uint64(c.Bucket), entry.inode)
	if !a.mustLoad(key, &inode) {
		return failed(engine.KindInternal, "the object %q has no inode", string(c.Key))
	}
	inode.tags = c.Tags
	a.view.Set(key, inode.encode())
	a.raise(c.Bucket, &b, engine.ChangeTags).about(p, &entry, &inode)
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return &Answer{
		Sequence: inode.sequence, Stamp: inode.stamp, Size: inode.size, ETag: engine.ETag(inode.etag.String()), Version: entry.version(), Versioning: b.versioning,
	}
}

func (a *apply) setVersioning(c *SetVersioning) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	if err := engine.CheckVersioning(c.Versioning); err != nil {
		return failed(engine.KindInvalidArgument, "%v", err)
	}
	if b.lock.Enabled && c.Versioning != engine.VersioningEnabled {
		return failed(engine.KindBucketState, "the bucket has locks; its versioning stays enabled")
	}
	if a.linked(c.Bucket) {
		return failed(engine.KindBucketState, "files of the bucket have several names, and a version has one; versioning stays off while it is so")
	}
	b.versioning = c.Versioning
	if b.followed > 0 {
		a.raise(c.Bucket, &b, engine.ChangeVersioning)
	}
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return &Answer{}
}
