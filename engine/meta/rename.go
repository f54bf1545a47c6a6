package meta

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"holdfast/engine"
)

// Rename gives the object From.Key the key Key. Both lie in one bucket, whose versioning is off.
type Rename struct {
	Bucket engine.BucketID
	Key    engine.Key
	From   Source
	If     engine.Conditions
	Token  string
}

func (*Rename) opcode() byte { return opRename }
func (c *Rename) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.source(&c.From)
	e.conditions(&c.If)
	e.string(c.Token)
}
func (c *Rename) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.From = d.source()
	c.If = d.conditions()
	c.Token = d.string()
}

// RenamePrefix gives the directory From the place To, both with "/" at their ends; nothing may be there. The answer's Content, Left and Size are
// the numbers of objects, of versions and of bytes beneath it.
type RenamePrefix struct {
	Bucket   engine.BucketID
	From, To string
}

func (*RenamePrefix) opcode() byte { return opRenamePrefix }
func (c *RenamePrefix) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(c.From)
	e.string(c.To)
}
func (c *RenamePrefix) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.From = d.string()
	c.To = d.string()
}

func (a *apply) rename(c *Rename) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	if c.From.Bucket != c.Bucket || c.From.Key == c.Key {
		return failed(engine.KindInvalidArgument, "an object is renamed to another key of its bucket")
	}
	if b.versioning != engine.VersioningOff {
		return failed(engine.KindBucketState, "the bucket keeps versions; the history of an object cannot be renamed")
	}
	if answer := a.renamedBefore(c, &b); answer != nil {
		return answer
	}
	inode, refusal := a.source(&c.From)
	if refusal != nil {
		return refusal
	}
	to := a.resolve(c.Bucket, c.Key)
	if refusal := checkConditions(&c.If, &to.entry, to.found); refusal != nil {
		return refusal
	}
	from := a.resolve(c.Bucket, c.From.Key)
	entry := from.entry
	a.makeDirectories(&b, to)
	a.raise(c.Bucket, &b, engine.ChangeRenamed).at(to).from(from)
	inode = a.moveEntry(from, to, c.token())
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return inode.answer(&entry, &b)
}

// moveEntry gives the file that from names the name of to, in a bucket without versions, and returns its inode. What to named is gone.
func (a *apply) moveEntry(from, to *path, token string) (inode inodeRow) {
	entry := from.entry
	// What the target gains is counted before what the source loses, lest a directory of both be taken for empty.
	a.count(to, a.push(to, &entry))
	var here delta
	here.add(&entry, 1)
	a.view.Delete(entryKey(from.bucket, from.leaf(), from.name))
	a.count(from, here.gone())
	key := key16(rowInode, uint64(from.bucket), entry.inode)
	a.mustLoad(key, &inode) // now, since what to named may have been the same file
	a.moveName(from, to.leaf(), to.name, entry.inode, &inode)
	inode.token = token
	a.view.Set(key, inode.encode())
	return inode
}

// answer describes a version that is there.
func (r *inodeRow) answer(entry *entryRow, b *bucketRow) *Answer {
	return &Answer{
		Sequence: r.sequence, Stamp: r.stamp, Size: r.size, ETag: engine.ETag(r.etag.String()), Version: entry.version(), Versioning: b.versioning,
	}
}

// moveTree gives the directory that from walks to the name, with its "/", in the directory that above walks to. Nothing is there.
func (a *apply) moveTree(from, above *path, name string, held *aggregateRow, inode *inodeRow) {
	moved := held.delta()
	moved.renamed = true
	id := from.leaf()
	above = &path{bucket: above.bucket, names: above.names, directories: above.directories, name: name}
	a.count(above, moved)
	inode.parent, inode.name = above.leaf(), name
	a.view.Set(key16(rowInode, uint64(from.bucket), id), inode.encode())
	a.view.Set(entryKey(from.bucket, above.leaf(), name), (&entryRow{kind: entryDirectory, inode: id}).encode())

	last := len(from.names) - 1
	a.view.Delete(entryKey(from.bucket, from.directories[last], from.names[last]))
	left := &path{bucket: from.bucket, names: from.names[:last], directories: from.directories[:last+1]}
	gone := moved.gone()
	gone.renamed = true
	a.count(left, gone)
}

// token is what is kept with the object of the call's token: it is one for this source alone.
func (c *Rename) token() string {
	if c.Token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(string(c.From.Key) + "\x00" + c.Token))
	return hex.EncodeToString(sum[:16])
}

// renamedBefore recognises the object at the target as what an earlier call with the same token brought there, whatever is at the source by now.
func (a *apply) renamedBefore(c *Rename, b *bucketRow) *Answer {
	p := a.resolve(c.Bucket, c.Key)
	var inode inodeRow
	if c.Token == "" || !p.found || !a.mustLoad(key16(rowInode, uint64(c.Bucket), p.entry.inode), &inode) || inode.token != c.token() {
		return nil
	}
	return inode.answer(&p.entry, b)
}

// directory walks to the directory that a prefix names; found is false if it is not there. The path's entry name is "", as that of the key "dir/".
func (a *apply) directory(bucket engine.BucketID, prefix string) (p *path, found bool) {
	p = a.resolve(bucket, engine.Key(prefix))
	return p, p.complete()
}

func (a *apply) renamePrefix(c *RenamePrefix) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	if err := engine.CheckRenamePrefix(c.From, c.To); err != nil {
		return failed(engine.KindInvalidArgument, "%v", err)
	}
	from, found := a.directory(c.Bucket, c.From)
	if !found {
		return failed(engine.KindNoSuchKey, "no key begins with %q", c.From)
	}
	if _, found := a.directory(c.Bucket, c.To); found {
		return failed(engine.KindConflict, "keys begin with %q already", c.To)
	}
	id := from.leaf()
	var held aggregateRow
	var inode inodeRow
	if !a.mustLoad(key16(rowAggregate, uint64(c.Bucket), id), &held) || !a.mustLoad(key16(rowInode, uint64(c.Bucket), id), &inode) {
		return failed(engine.KindInternal, "the directory %q lacks rows", c.From)
	}
	longest := engine.KeyBytesMax - held.spare
	if len(c.To) > len(c.From) && uint64(len(c.To))+longest > engine.KeyBytesMax {
		return failed(engine.KindKeyTooLong, "keys that begin with %q have, or had, %d bytes behind that; with %q before it they would have more than %d", c.From, longest, c.To,
			engine.KeyBytesMax)
	}
	if held.locked > 0 {
		return failed(engine.KindLocked, "%d versions whose keys begin with %q have a retention or legal hold", held.locked, c.From)
	}
	name := c.To[strings.LastIndexByte(c.To[:len(c.To)-1], '/')+1:]
	above := a.resolve(c.Bucket, engine.Key(c.To[:len(c.To)-len(name)])) // the directory that it goes into
	a.makeDirectories(&b, above)
	last := len(from.names) - 1
	left := &path{bucket: c.Bucket, names: from.names[:last], directories: from.directories[:last+1]}
	a.raise(c.Bucket, &b, engine.ChangeDirectoryRenamed).tree(id, above, name).treeFrom(left, from.names[last])
	a.moveTree(from, above, name, &held, &inode)
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return &Answer{Sequence: b.sequence, Stamp: a.header.Stamp, Content: held.objects, Left: held.versions, Size: int64(held.bytes), Versioning: b.versioning}
}
