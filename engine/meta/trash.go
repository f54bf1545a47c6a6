package meta

import (
	"bytes"
	"encoding/binary"

	"holdfast/engine"
)

// What is removed as a whole, a directory or a bucket, is detached by one command, however much it holds, and taken apart by many small ones. A
// detached directory has neither entry nor inode nor counts any more, so that no path leads to it, and a row that says how far it was taken apart.
// What lies beneath it stays as it was, under the same numbers, which are never given again; its directories are detached one after another.

// RemovePrefix detaches the directory Prefix, which ends with "/". The answer's Content, Left and Size are the numbers of objects, of versions and of
// bytes beneath it. KindNoSuchKey if it is not there; KindLocked if a version beneath has a retention or legal hold.
type RemovePrefix struct {
	Bucket engine.BucketID
	Prefix string
}

func (*RemovePrefix) opcode() byte        { return opRemovePrefix }
func (c *RemovePrefix) encode(e *encoder) { e.uint(uint64(c.Bucket)); e.string(c.Prefix) }
func (c *RemovePrefix) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Prefix = d.string()
}

// RemoveBucket removes a bucket and detaches what it holds; its uploads go to trash. The answer is as that of RemovePrefix; a repetition is no error.
// KindLocked if a version has a retention or legal hold.
type RemoveBucket struct{ Bucket engine.BucketID }

func (*RemoveBucket) opcode() byte        { return opRemoveBucket }
func (c *RemoveBucket) encode(e *encoder) { e.uint(uint64(c.Bucket)) }
func (c *RemoveBucket) decode(d *decoder) { c.Bucket = engine.BucketID(d.uint()) }

// TakeApart takes a bounded piece of what is detached apart, from the first directory on that is not before Directory of Bucket; it passes those that a
// cursor still waits for. The answer's Size is the
// number of versions that are gone by it. Left is 0 if nothing is left from there on; else the next one begins at Content of Bucket. What is detached
// meanwhile may lie before: the sender looks for it with FirstDetached, since the rows that are gone from before the first one may take long to pass.
type TakeApart struct {
	Bucket    engine.BucketID
	Directory uint64
}

func (*TakeApart) opcode() byte        { return opTakeApart }
func (c *TakeApart) encode(e *encoder) { e.uint(uint64(c.Bucket)); e.uint(c.Directory) }
func (c *TakeApart) decode(d *decoder) { c.Bucket = engine.BucketID(d.uint()); c.Directory = d.uint() }

// detachedRow is a directory under trash.
type detachedRow struct {
	versions uint64 // that are left beneath it, but for those of directories that were detached since
	name     string // entries before this one are gone
	// older is the sequence of the last of the older versions of the entry name that are gone, 0 if none are.
	older engine.Sequence
	// change is what removed the directory: until no cursor is before it nothing is taken apart. 0 says that nobody asks.
	change engine.Sequence
}

func (r *detachedRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 16+len(r.name))}
	e.byte(rowFormat)
	e.uint(r.versions)
	e.string(r.name)
	e.uint(uint64(r.older))
	e.uint(uint64(r.change))
	return e.b
}

func (r *detachedRow) decode(d *decoder) {
	d.version(rowFormat)
	r.versions = d.uint()
	r.name = d.string()
	r.older = engine.Sequence(d.uint())
	r.change = engine.Sequence(d.uint())
}

func (a *apply) removePrefix(c *RemovePrefix) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	if err := engine.CheckRemovePrefix(c.Prefix); err != nil {
		return failed(engine.KindInvalidArgument, "%v", err)
	}
	p, found := a.directory(c.Bucket, c.Prefix)
	if !found {
		return failed(engine.KindNoSuchKey, "no key begins with %q", c.Prefix)
	}
	var held aggregateRow
	if !a.mustLoad(key16(rowAggregate, uint64(c.Bucket), p.leaf()), &held) {
		return failed(engine.KindInternal, "the directory %q lacks its counts", c.Prefix)
	}
	if held.locked > 0 {
		return failed(engine.KindLocked, "%d versions whose keys begin with %q have a retention or legal hold", held.locked, c.Prefix)
	}
	last := len(p.names) - 1
	above := &path{bucket: c.Bucket, names: p.names[:last], directories: p.directories[:last+1]}
	a.raise(c.Bucket, &b, engine.ChangeDirectoryRemoved).tree(p.leaf(), above, p.names[last])
	a.detach(c.Bucket, p.leaf(), b.sequence)
	a.view.Delete(entryKey(c.Bucket, p.directories[last], p.names[last]))
	a.count(above, held.delta().gone())
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return held.removed(&b, a.header.Stamp)
}

// removed is the answer to who removed all that was counted.
func (r *aggregateRow) removed(b *bucketRow, stamp int64) *Answer {
	return &Answer{Sequence: b.sequence, Stamp: stamp, Content: r.objects, Left: r.versions, Size: int64(r.bytes), Versioning: b.versioning}
}

func (a *apply) removeBucket(c *RemoveBucket) *Answer {
	var b bucketRow
	if !a.mustLoad(key8(rowBucket, uint64(c.Bucket)), &b) {
		return &Answer{}
	}
	var held aggregateRow
	a.mustLoad(key16(rowAggregate, uint64(c.Bucket), rootInode), &held)
	if held.locked > 0 {
		return failed(engine.KindLocked, "%d versions in the bucket have a retention or legal hold", held.locked)
	}
	a.dropBucket(c.Bucket)
	if held.versions > 0 {
		a.detach(c.Bucket, rootInode, 0)
	} else {
		a.dropDirectory(c.Bucket, rootInode)
	}
	return held.removed(&b, a.header.Stamp)
}

// dropDirectory removes the rows that a directory has beside its entry.
func (a *apply) dropDirectory(bucket engine.BucketID, directory uint64) {
	a.view.Delete(key16(rowAggregate, uint64(bucket), directory))
	a.removeDirectory(bucket, directory)
}

// detach puts a directory under trash, as a change of the bucket that followers may still ask about, or 0; the caller removes its entry. It returns
// the number of versions beneath it.
func (a *apply) detach(bucket engine.BucketID, directory uint64, change engine.Sequence) (versions uint64) {
	var held aggregateRow
	a.mustLoad(key16(rowAggregate, uint64(bucket), directory), &held)
	a.dropDirectory(bucket, directory)
	a.view.Set(key16(rowDetached, uint64(bucket), directory), (&detachedRow{versions: held.versions, change: change}).encode())
	return held.versions
}

// takeApartSteps is the most entries, versions and directories that one TakeApart removes, each with at most four rows. A put that comes behind it in the
// log waits for that, some 5 ms.
const takeApartSteps = 100

func (a *apply) takeApart(c *TakeApart) *Answer {
	t := taking{apply: a, steps: takeApartSteps, waits: awaited{view: a.view}}
	bucket, directory := c.Bucket, c.Directory
	for t.steps > 0 {
		var ok bool
		if bucket, directory, ok = a.nextDetached(bucket, directory); !ok {
			return &Answer{Size: t.versions}
		}
		if waits, err := t.waits.by(bucket, a.removedBy(bucket, directory)); err != nil {
			panic(storeError{err})
		} else if waits {
			t.steps--
			directory++ // nobody has it: the next one that is there comes
			continue
		}
		t.takeDirectory(bucket, directory)
	}
	return &Answer{Left: 1, Bucket: bucket, Content: directory, Size: t.versions}
}

// nextDetached returns the first detached directory that is not before a place.
func (a *apply) nextDetached(bucket engine.BucketID, directory uint64) (engine.BucketID, uint64, bool) {
	found := false
	err := scan(a.view, []byte{rowDetached}, key16(rowDetached, uint64(bucket), directory)[1:], func(key, _ []byte) (bool, error) {
		found = true
		bucket, directory = engine.BucketID(binary.BigEndian.Uint64(key[1:])), binary.BigEndian.Uint64(key[9:])
		return false, nil
	})
	if err != nil {
		panic(storeError{err})
	}
	return bucket, directory, found
}

// taking is one TakeApart under way.
type taking struct {
	*apply
	steps    int   // that are left
	versions int64 // that are gone
	waits    awaited
}

// removedBy returns the change that removed a detached directory.
func (a *apply) removedBy(bucket engine.BucketID, directory uint64) engine.Sequence {
	var r detachedRow
	a.mustLoad(key16(rowDetached, uint64(bucket), directory), &r)
	return r.change
}

// found is an entry or an older version, with its key.
type found struct {
	key []byte
	entryRow
}

// list reads rows beneath a prefix, from a place on and as many as there are steps.
func (t *taking) list(prefix, from []byte) (list []found) {
	err := scan(t.view, prefix, from, func(key, value []byte) (bool, error) {
		f := found{key: bytes.Clone(key)}
		if err := parse(key, value, &f.entryRow); err != nil {
			return false, err
		}
		list = append(list, f)
		return len(list) < t.steps, nil
	})
	if err != nil {
		panic(storeError{err})
	}
	return list
}

// takeDirectory takes a detached directory apart as far as the steps go. It begins where the last command ended: the rows before it were deleted, and
// whoever looks for the first that is left would pass all of them each time.
func (t *taking) takeDirectory(bucket engine.BucketID, directory uint64) {
	rowKey := key16(rowDetached, uint64(bucket), directory)
	var r detachedRow
	t.mustLoad(rowKey, &r)
	prefix := key16(rowEntry, uint64(bucket), directory)
	list := t.list(prefix, []byte(r.name))
	for i := 0; i < len(list) && t.steps > 0; i++ {
		f := &list[i]
		if name := string(f.key[len(prefix):]); name != r.name {
			r.name, r.older = name, 0
		}
		if f.kind != entryDirectory && f.older > 0 {
			t.takeOlder(bucket, directory, &r, f)
		}
		if t.steps == 0 {
			break
		}
		if f.kind == entryDirectory {
			r.versions -= t.detach(bucket, f.inode, r.change)
			t.steps--
		} else {
			t.takeVersion(bucket, directory, &r, f)
		}
		t.view.Delete(f.key)
	}
	if t.steps == 0 {
		t.view.Set(rowKey, r.encode())
		return
	}
	t.view.Delete(rowKey)
	t.steps--
}

// takeOlder removes the older versions of an entry as far as the steps go.
func (t *taking) takeOlder(bucket engine.BucketID, directory uint64, r *detachedRow, top *found) {
	var from []byte
	if r.older != 0 {
		from = binary.BigEndian.AppendUint64(nil, ^uint64(r.older-1))
	}
	list := t.list(olderPrefix(bucket, directory, r.name), from)
	for i := range list {
		f := &list[i]
		t.takeVersion(bucket, directory, r, f)
		t.view.Delete(f.key)
		r.older = f.sequence
		top.older--
		if !f.named {
			top.nullOlder = 0
		}
	}
	t.view.Set(top.key, top.encode())
}

// takeVersion removes what an entry or an older version names.
func (t *taking) takeVersion(bucket engine.BucketID, directory uint64, r *detachedRow, f *found) {
	t.unlink(&path{bucket: bucket, directories: []uint64{directory}, name: r.name}, f.inode)
	t.versions++
	r.versions--
	t.steps--
}
