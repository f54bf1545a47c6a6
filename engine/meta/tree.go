package meta

import (
	"strings"

	"holdfast/engine"
)

// A key is a path walked through the tree: each "/" ends the name of a directory, what follows the last one names the object.
// "a//b" lies in the directory "/" (an empty name) of the directory "a/", and "dir/" is the entry with the empty name in "dir/".
// So every key has exactly one place, and directories sort among objects as their keys do.

// splitKey cuts a key into the names of its directories, each with its "/", and the name of its entry.
func splitKey(key string) (directories []string, name string) {
	for {
		i := strings.IndexByte(key, '/')
		if i < 0 {
			return directories, key
		}
		directories = append(directories, key[:i+1])
		key = key[i+1:]
	}
}

// path is a key as far as it was found in the tree.
type path struct {
	bucket      engine.BucketID
	names       []string // of the directories beneath the root
	directories []uint64 // inodes: the root, then those that exist of names
	name        string   // of the entry
	entry       entryRow // if found
	found       bool
	made        int // directories that were there before makeDirectories made the others; 0 if it made none
}

// complete reports whether all directories exist.
func (p *path) complete() bool { return len(p.directories) == len(p.names)+1 }

// leaf is the innermost directory that exists.
func (p *path) leaf() uint64 { return p.directories[len(p.directories)-1] }

// resolve walks a key through the tree.
func resolve(view Reader, bucket engine.BucketID, key string) (*path, error) {
	p := &path{bucket: bucket, directories: []uint64{rootInode}}
	p.names, p.name = splitKey(key)
	for _, name := range p.names {
		var r entryRow
		if ok, err := load(view, entryKey(bucket, p.leaf(), name), &r); err != nil || !ok {
			return p, err
		}
		p.directories = append(p.directories, r.inode)
	}
	var err error
	p.found, err = load(view, entryKey(bucket, p.leaf(), p.name), &p.entry)
	return p, err
}

func (a *apply) resolve(bucket engine.BucketID, key engine.Key) *path {
	p, err := resolve(a.view, bucket, string(key))
	if err != nil {
		panic(storeError{err})
	}
	return p
}

// makeDirectories makes those directories of the path that do not exist.
func (a *apply) makeDirectories(b *bucketRow, p *path) {
	if !p.complete() {
		p.made = len(p.directories)
	}
	for !p.complete() {
		name := p.names[len(p.directories)-1]
		b.inode++
		entry := entryRow{kind: entryDirectory, inode: b.inode}
		inode := inodeRow{kind: inodeDirectory, links: 1, parent: p.leaf(), name: name, posix: posix{born: a.header.Stamp}}
		a.view.Set(entryKey(p.bucket, p.leaf(), name), entry.encode())
		a.view.Set(key16(rowInode, uint64(p.bucket), b.inode), inode.encode())
		p.directories = append(p.directories, b.inode)
	}
}

// delta is a change of the counts of every directory on a path.
type delta struct {
	objects, bytes, versions, locked int64
	all                              int64  // bytes of all versions
	longest                          uint64 // of what lies beneath the path's own entry, for a directory that comes in
	renamed                          bool   // a name came or went, whatever the counts say
}

// gone is what a directory loses from which that goes.
func (d delta) gone() delta {
	return delta{objects: -d.objects, bytes: -d.bytes, all: -d.all, versions: -d.versions}
}

// count adds d to the aggregates of all directories of p, and removes those that hold no version any more; the root stays.
func (a *apply) count(p *path, d delta) {
	length := uint64(len(p.name)) + d.longest
	removed := false // the directory below
	for i := len(p.directories) - 1; i >= 0; i-- {
		if i < len(p.names) {
			length += uint64(len(p.names[i]))
		}
		key := key16(rowAggregate, uint64(p.bucket), p.directories[i])
		var r aggregateRow
		if !a.mustLoad(key, &r) {
			r.spare = engine.KeyBytesMax
		}
		r.objects += uint64(d.objects)
		r.bytes += uint64(d.bytes)
		r.versions += uint64(d.versions)
		r.locked += uint64(d.locked)
		r.older = uint64(max(0, int64(r.older)+d.all-d.bytes))
		if i == len(p.directories)-1 && (d.objects != 0 || d.renamed) || i == p.made-1 || removed {
			r.changed = a.header.Stamp
		}
		if d.versions > 0 {
			r.spare = min(r.spare, engine.KeyBytesMax-min(length, engine.KeyBytesMax))
		}
		if r.versions > 0 || i == 0 {
			a.view.Set(key, r.encode())
			continue
		}
		removed = true
		a.view.Delete(key)
		a.removeDirectory(p.bucket, p.directories[i])
		a.view.Delete(entryKey(p.bucket, p.directories[i-1], p.names[i-1]))
	}
}

func (a *apply) removeDirectory(bucket engine.BucketID, id uint64) {
	key := key16(rowInode, uint64(bucket), id)
	var inode inodeRow
	if a.mustLoad(key, &inode) && inode.xattrs > 0 {
		a.deleteAll(key16(rowXattr, uint64(bucket), id))
	}
	a.view.Delete(key)
}

// JudgeWrite judges a write's conditions against a version, which is not there if its Sequence is 0, as a command does.
func JudgeWrite(c *engine.Conditions, version *engine.ObjectInfo) error {
	refusal := judge(c, version.Sequence != 0, version.ETag, version.Size, version.Modified.UnixNano())
	if refusal == nil {
		return nil
	}
	return refusal.Err()
}

// checkConditions judges a write's conditions against a version.
func checkConditions(c *engine.Conditions, entry *entryRow, found bool) *Answer {
	return judge(c, found && entry.kind == entryObject, engine.ETag(entry.etag.String()), entry.size, entry.stamp)
}

func judge(c *engine.Conditions, exists bool, current engine.ETag, size, stamp int64) *Answer {
	if (c.MatchAny || len(c.Match) > 0) && !exists {
		return failed(engine.KindNoSuchKey, "there is no such object to match")
	}
	if c.NoneMatchAny && exists {
		return failed(engine.KindPreconditionFailed, "the object exists")
	}
	if !exists {
		return nil
	}
	if len(c.Match) > 0 && !contains(c.Match, current) {
		return failed(engine.KindPreconditionFailed, "the object's ETag is %q", current)
	}
	if contains(c.NoneMatch, current) {
		return failed(engine.KindPreconditionFailed, "the object's ETag is %q", current)
	}
	if c.Size != nil && *c.Size != size {
		return failed(engine.KindPreconditionFailed, "the object has %d bytes", size)
	}
	if !c.ModifiedAt.IsZero() && c.ModifiedAt.Unix() != unixSeconds(stamp) {
		return failed(engine.KindPreconditionFailed, "the object was modified at another time")
	}
	return nil
}

func unixSeconds(stamp int64) int64 { return stamp / 1e9 }

func contains(tags []engine.ETag, tag engine.ETag) bool {
	for _, t := range tags {
		if t == tag {
			return true
		}
	}
	return false
}
