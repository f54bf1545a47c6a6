package meta

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"strings"
	"time"

	"holdfast/engine"
)

// node is a file or directory as it was found by its number.
type node struct {
	id      uint64
	inode   inodeRow
	path    *path // of a directory: with itself innermost, and no name; of a file: one of its names, or that of the entry whose version it is
	older   bool  // it is a version that is not current
	adrift  bool  // it is held, and has lost all names that lead to it, but those are not taken apart yet
	entry   entryRow
	lost    uint64 // names that do not lead to it any more, and are not taken apart yet
	changed int64  // of a directory: when a name in it last came or went
}

// child is the directory that a place names beside the object there.
type child struct {
	found bool
	live  bool // a current version lies beneath
	id    uint64
	held  aggregateRow
	inode inodeRow
}

// live reports whether there is a current version at the path.
func (p *path) live() bool { return p.found && p.entry.kind == entryObject }

// length is that of the path's key.
func (p *path) length() int {
	n := len(p.name)
	for _, name := range p.names {
		n += len(name)
	}
	return n
}

// tooLong refuses a key that would be longer than keys may be; more is what comes behind the path's.
func (p *path) tooLong(more int) *Answer {
	if n := p.length() + more; n > engine.KeyBytesMax {
		return failed(engine.KindKeyTooLong, "the name makes a key of %d bytes; at most %d are allowed", n, engine.KeyBytesMax)
	}
	return nil
}

// ascend walks from a directory up to the root. found is false if it cannot be reached from there any more.
func ascend(view Reader, bucket engine.BucketID, directory uint64) (p *path, found bool, err error) {
	p = &path{bucket: bucket}
	for id := directory; id != rootInode; {
		var inode inodeRow
		var entry entryRow
		if ok, err := load(view, key16(rowInode, uint64(bucket), id), &inode); err != nil || !ok || inode.kind != inodeDirectory {
			return nil, false, err
		}
		if ok, err := load(view, entryKey(bucket, inode.parent, inode.name), &entry); err != nil || !ok || entry.inode != id {
			return nil, false, err
		}
		p.names, p.directories = append(p.names, inode.name), append(p.directories, id)
		id = inode.parent
	}
	p.directories = append(p.directories, rootInode)
	reverse(p.names)
	reverse(p.directories)
	return p, true, nil
}

func reverse[T any](s []T) {
	for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
		s[i], s[j] = s[j], s[i]
	}
}

// findNode finds a node by its number; nil if there is none. Hint is for a file whose inode does not know its name.
func findNode(view View, bucket engine.BucketID, id uint64, hint *NodeRef) (*node, error) {
	n := &node{id: id}
	if ok, err := load(view, key16(rowInode, uint64(bucket), id), &n.inode); err != nil {
		return nil, err
	} else if !ok {
		return nil, nil
	}
	if n.inode.kind == inodeDirectory {
		return n.directory(view, bucket)
	}
	if n.inode.parent == 0 && hint != nil && n.inode.links == 1 {
		n.inode.parent, n.inode.name = uint64(hint.Directory), hint.Name
	}
	found, err := n.reach(view, bucket)
	switch {
	case err != nil:
		return nil, err
	case found:
		return n, nil
	case n.inode.holds == 0:
		return nil, nil
	}
	n.adrift = n.inode.links > 0
	n.path, n.entry = &path{bucket: bucket}, n.inode.entry(id, &bucketRow{}) // only its holders reach it
	return n, nil
}

// nameless reports whether only holders reach the file.
func (n *node) nameless() bool { return n.inode.kind == inodeFile && (n.inode.links == 0 || n.adrift) }

// links counts the names that lead to the node.
func (n *node) links() uint64 {
	if n.adrift {
		return 0
	}
	return n.inode.links - n.lost
}

// reach finds a name of a file by which it can be reached.
func (n *node) reach(view View, bucket engine.BucketID) (found bool, err error) {
	if n.inode.links == 0 {
		return false, nil
	}
	if n.inode.links == 1 {
		return n.reachBy(view, bucket, n.inode.parent, n.inode.name)
	}
	// All names are looked at only where some may have gone with a directory that is not taken apart yet.
	apart := false
	if err := scan(view, key8(rowDetached, uint64(bucket)), nil, func(_, _ []byte) (bool, error) { apart = true; return false, nil }); err != nil {
		return false, err
	}
	leads := *n
	err = scan(view, key16(rowLink, uint64(bucket), n.id), nil, func(key, _ []byte) (bool, error) {
		ok, err := leads.reachBy(view, bucket, binary.BigEndian.Uint64(key[17:]), string(key[25:]))
		if err == nil && ok {
			lost := n.lost
			*n, found = leads, true
			n.lost = lost
		} else {
			n.lost++
		}
		return !found || apart, err
	})
	return found, err
}

// reachBy looks whether a name is one of the file, or of the entry of which it is an older version.
func (n *node) reachBy(view View, bucket engine.BucketID, directory uint64, name string) (found bool, err error) {
	p, found, err := ascend(view, bucket, directory)
	if err != nil || !found {
		return false, err
	}
	p.name = name
	if p.found, err = load(view, entryKey(bucket, p.leaf(), p.name), &p.entry); err != nil {
		return false, err
	}
	n.path, n.entry = p, p.entry
	if p.live() && p.entry.inode == n.id {
		return true, nil
	}
	n.older = true
	found, err = load(view, olderKey(bucket, p.leaf(), p.name, n.inode.sequence), &n.entry)
	return found && n.entry.inode == n.id, err
}

func (n *node) directory(view View, bucket engine.BucketID) (*node, error) {
	var held aggregateRow
	if _, err := load(view, key16(rowAggregate, uint64(bucket), n.id), &held); err != nil {
		return nil, err
	}
	p, found, err := ascend(view, bucket, n.id)
	if err != nil || !found || held.objects == 0 && n.id != rootInode {
		return nil, err
	}
	n.path, n.changed = p, held.changed
	return n, nil
}

// findPlace finds what a directory has under a name; the directory must be there.
func findPlace(view View, bucket engine.BucketID, directory uint64, name string) (p *path, refusal *engine.Error, err error) {
	if err := engine.CheckFileName(name); err != nil {
		return nil, engine.E(engine.KindOf(err), "%w", err), nil
	}
	n, err := findNode(view, bucket, directory, nil)
	switch {
	case err != nil:
		return nil, nil, err
	case n == nil:
		return nil, engine.E(engine.KindNoSuchKey, "there is no directory %d any more", directory), nil
	case n.inode.kind != inodeDirectory:
		return nil, engine.E(engine.KindNotDirectory, "the node %d is not a directory", directory), nil
	}
	p = n.path
	p.name = name
	p.found, err = load(view, entryKey(bucket, p.leaf(), name), &p.entry)
	return p, nil, err
}

func findChild(view View, p *path) (*child, error) {
	c := new(child)
	var entry entryRow
	ok, err := load(view, entryKey(p.bucket, p.leaf(), p.name+"/"), &entry)
	if err != nil || !ok {
		return c, err
	}
	c.found, c.id = true, entry.inode
	_, err = load(view, key16(rowAggregate, uint64(p.bucket), c.id), &c.held)
	if err == nil {
		_, err = load(view, key16(rowInode, uint64(p.bucket), c.id), &c.inode)
	}
	c.live = c.held.objects > 0
	return c, err
}

// encode writes a node for an answer: its number, its version, when a name in it changed, and its inode.
func (n *node) encode() []byte {
	e := encoder{}
	e.uint(n.id)
	e.int(n.changed)
	version := engine.VersionID("")
	if n.inode.kind == inodeFile && !n.nameless() {
		version = n.entry.version()
	}
	e.string(string(version))
	inode := n.inode
	inode.links = n.links()
	e.b = append(e.b, inode.encode()...)
	return e.b
}

// ParseNode decodes an answer's Node.
func ParseNode(b []byte) (engine.FileInfo, error) {
	d := decoder{b: b}
	n := node{id: d.uint(), changed: d.int()}
	version := d.string()
	n.inode.decode(&d)
	info := n.info()
	info.Version = engine.VersionID(version)
	return info, d.end()
}

// info describes the node, but for the version.
func (n *node) info() engine.FileInfo {
	r, p := &n.inode, &n.inode.posix
	info := engine.FileInfo{
		Held: r.holds > 0, Node: engine.NodeID(n.id), Type: r.of, Links: n.links(), Size: r.size, Sequence: r.sequence,
		Attributes: engine.FileAttributes{Set: p.set, Mode: p.mode, UID: p.uid, GID: p.gid, Device: p.device, Flags: p.flags},
	}
	modified, changed := cmp.Or(p.modified, r.stamp), max(r.stamp, p.changed)
	born := cmp.Or(p.born, r.stamp)
	if r.kind == inodeDirectory {
		info.Type = engine.TypeDirectory
		changed = max(n.changed, p.changed)
		if modified = cmp.Or(n.changed, p.born); p.modified != 0 && p.changed >= n.changed {
			modified = p.modified
		}
		born = cmp.Or(p.born, modified)
	} else {
		info.ETag = engine.ETag(r.etag.String())
		if info.Version = n.entry.version(); n.nameless() {
			info.Version = ""
		}
	}
	info.Modified, info.Changed, info.Accessed, info.Born = rowTime(modified), rowTime(changed), rowTime(cmp.Or(p.accessed, modified)), rowTime(born)
	return info
}

func rowTime(t int64) time.Time {
	if t == timeZero {
		t = 0
	}
	return time.Unix(0, t)
}

// FileView is a node as a reader finds it.
type FileView struct {
	Info    engine.FileInfo
	Content uint64 // of a file
	// Class and ObjectInfo are those of a file.
	Object engine.ObjectInfo
	Ref    NodeRef // for a command
	node   *node
}

func (n *node) view(bucket engine.BucketID) *FileView {
	v := &FileView{Info: n.info(), Content: n.inode.content, Ref: NodeRef{Bucket: bucket, Node: engine.NodeID(n.id)}, node: n}
	if n.nameless() {
		v.Object = n.inode.info(&n.entry)
		v.Object.Version = ""
	} else if n.inode.kind == inodeFile {
		v.Object = n.inode.info(&n.entry)
		v.Object.Key = n.key()
		v.Ref.Directory, v.Ref.Name = engine.NodeID(n.path.leaf()), n.path.name
	}
	return v
}

// Older reports whether it is a version that is not current.
func (v *FileView) Older() bool { return v.node.older }

// Key returns the key of the node, see engine.Files.
func (v *FileView) Key() engine.Key { return v.node.key() }

func (n *node) key() engine.Key { return engine.Key(strings.Join(n.path.names, "") + n.path.name) }

// RefOf names a node for a command, whether it is there or not.
func RefOf(view View, bucket engine.BucketID, id engine.NodeID) (NodeRef, error) {
	hint, err := findName(view, bucket, id)
	if err != nil || hint != nil {
		return *cmp.Or(hint, &NodeRef{}), err
	}
	return NodeRef{Bucket: bucket, Node: id}, nil
}

// FindFile finds a node by its number. KindNoSuchKey.
func FindFile(view View, bucket engine.BucketID, id engine.NodeID) (*FileView, error) {
	hint, err := findName(view, bucket, id)
	if err != nil {
		return nil, err
	}
	n, err := findNode(view, bucket, uint64(id), hint)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, engine.E(engine.KindNoSuchKey, "there is no node %d any more", id)
	}
	return n.view(bucket), nil
}

// findName looks through the bucket for the name of a file that a format before 5 wrote, and that does not know it; nil for all others.
func findName(view View, bucket engine.BucketID, id engine.NodeID) (hint *NodeRef, err error) {
	var r inodeRow
	ok, err := load(view, key16(rowInode, uint64(bucket), uint64(id)), &r)
	if err != nil || !ok || r.kind != inodeFile || r.links != 1 || r.parent != 0 {
		return nil, err
	}
	for _, kind := range []byte{rowEntry, rowOlder} {
		err = scan(view, key8(kind, uint64(bucket)), nil, func(key, value []byte) (bool, error) {
			var entry entryRow
			if err := parse(key, value, &entry); err != nil || entry.kind != entryObject || entry.inode != uint64(id) {
				return true, err
			}
			hint = &NodeRef{Bucket: bucket, Node: id, Directory: engine.NodeID(binary.BigEndian.Uint64(key[9:]))}
			if hint.Name = string(key[17:]); kind == rowOlder {
				hint.Name = unescaped(key[17 : len(key)-8])
			}
			return false, nil
		})
		if err != nil || hint != nil {
			return hint, err
		}
	}
	return nil, nil
}

// unescaped undoes appendEscaped, up to the end that olderPrefix writes.
func unescaped(k []byte) string {
	k, _ = bytes.CutSuffix(k, []byte{0, 1})
	return string(bytes.ReplaceAll(k, []byte{0, 0xff}, []byte{0}))
}

// LookupFile finds what a directory has under a name, or a version of the file there. KindNoSuchKey, KindNoSuchVersion, KindNotDirectory.
func LookupFile(view View, bucket engine.BucketID, directory engine.NodeID, name string, version engine.VersionID) (*FileView, error) {
	p, refusal, err := findPlace(view, bucket, uint64(directory), name)
	if err != nil || refusal != nil {
		return nil, cmp.Or(err, error(refusal))
	}
	below, err := findChild(view, p)
	if err != nil {
		return nil, err
	}
	if below.live && version == "" {
		q := &path{bucket: bucket, names: append(p.names, name+"/"), directories: append(p.directories, below.id)}
		n := &node{id: below.id, inode: below.inode, path: q, changed: below.held.changed}
		return n.view(bucket), nil
	}
	entry, found, err := p.find(view, version)
	switch {
	case err != nil:
		return nil, err
	case version == "" && (!found || entry.kind != entryObject):
		return nil, engine.E(engine.KindNoSuchKey, "there is no %q", name)
	case !found || entry.kind != entryObject:
		return nil, engine.E(engine.KindNoSuchVersion, "%q has no version %q with a content", name, string(version))
	}
	return fileAt(view, p, &entry)
}

// fileAt makes the view of a file from its entry.
func fileAt(view View, p *path, entry *entryRow) (*FileView, error) {
	n := &node{id: entry.inode, path: p, entry: *entry, older: entry.sequence != p.entry.sequence}
	if ok, err := load(view, key16(rowInode, uint64(p.bucket), n.id), &n.inode); err != nil {
		return nil, err
	} else if !ok {
		return nil, engine.E(engine.KindDamaged, "the metadata lacks inode %d", n.id)
	}
	if n.inode.links > 1 {
		counted := *n
		if _, err := counted.reach(view, p.bucket); err != nil {
			return nil, err
		}
		n.lost = counted.lost
	}
	return n.view(p.bucket), nil
}

// ListDirectory returns a page of the names in a directory, at most max, behind after. KindNoSuchKey, KindNotDirectory.
func ListDirectory(view View, bucket engine.BucketID, id engine.NodeID, after string, max int) (page engine.DirectoryPage, err error) {
	n, err := findNode(view, bucket, uint64(id), nil)
	switch {
	case err != nil:
		return page, err
	case n == nil:
		return page, engine.E(engine.KindNoSuchKey, "there is no directory %d any more", id)
	case n.inode.kind != inodeDirectory:
		return page, engine.E(engine.KindNotDirectory, "the node %d is not a directory", id)
	}
	var from []byte
	if after != "" {
		from = append([]byte(after), 0)
	}
	prefix := key16(rowEntry, uint64(bucket), n.id)
	err = scan(view, prefix, from, func(key, value []byte) (bool, error) {
		p := *n.path
		p.name = string(key[len(prefix):])
		name, isDirectory := strings.CutSuffix(p.name, "/")
		var entry entryRow
		if err := parse(key, value, &entry); err != nil || engine.HiddenName(name) || entry.kind == entryMarker {
			return true, err
		}
		p.name, p.entry, p.found = name, entry, true
		below, err := findChild(view, &p)
		if err != nil || below.live != isDirectory {
			return true, err // a directory without anything current, or a file that one hides
		}
		if len(page.Entries) == max {
			page.Truncated = true
			return false, nil
		}
		found := &FileView{Info: (&node{id: below.id, inode: below.inode, changed: below.held.changed}).info()}
		if !isDirectory {
			if found, err = fileAt(view, &p, &entry); err != nil {
				return false, err
			}
		}
		page.Entries, page.Last = append(page.Entries, engine.DirectoryEntry{Name: name, Info: found.Info}), string(key[len(prefix):])
		return true, nil
	})
	return page, err
}

// LoadXattr returns an extended attribute of a node. KindNoSuchAttribute.
func LoadXattr(view View, v *FileView, name string) ([]byte, error) {
	var r xattrRow
	if ok, err := load(view, xattrKey(v.Ref.Bucket, v.node.id, name), &r); err != nil {
		return nil, err
	} else if !ok {
		return nil, engine.E(engine.KindNoSuchAttribute, "the node has no extended attribute %q", name)
	}
	return r.value, nil
}

// ListXattrs returns the names of a node's extended attributes.
func ListXattrs(view View, v *FileView) (names []string, err error) {
	prefix := key16(rowXattr, uint64(v.Ref.Bucket), v.node.id)
	err = scan(view, prefix, nil, func(key, _ []byte) (bool, error) {
		names = append(names, string(key[len(prefix):]))
		return true, nil
	})
	return names, err
}

// PrefixUsage counts what lies beneath a prefix that is empty or ends with "/".
func PrefixUsage(view View, bucket engine.BucketID, prefix string) (info engine.PrefixInfo, err error) {
	p, err := resolve(view, bucket, prefix)
	if err != nil || !p.complete() {
		return info, err
	}
	var r aggregateRow
	_, err = load(view, key16(rowAggregate, uint64(bucket), p.leaf()), &r)
	return engine.PrefixInfo{Objects: r.objects, Bytes: r.bytes, Versions: r.versions}, err
}
