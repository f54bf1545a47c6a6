package meta

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"time"

	"holdfast/engine"
)

// Files are the entries and inodes of the tree by their numbers. A directory is there for them while a current version lies beneath it; the root always.

// NodeRef names a node in a command. Directory and Name are a place at which the sender saw it: they matter for a file alone that a format before 5
// wrote, which does not know where it is.
type NodeRef struct {
	Bucket    engine.BucketID
	Node      engine.NodeID
	Directory engine.NodeID
	Name      string
}

func (e *encoder) node(r *NodeRef) {
	e.uint(uint64(r.Bucket))
	e.uint(uint64(r.Node))
	e.uint(uint64(r.Directory))
	e.string(r.Name)
}

func (d *decoder) node() NodeRef {
	return NodeRef{Bucket: engine.BucketID(d.uint()), Node: engine.NodeID(d.uint()), Directory: engine.NodeID(d.uint()), Name: d.string()}
}

// PlaceRef names a place in a command.
type PlaceRef struct {
	Bucket    engine.BucketID
	Directory engine.NodeID
	Name      string
}

func (e *encoder) place(r *PlaceRef) {
	e.uint(uint64(r.Bucket))
	e.uint(uint64(r.Directory))
	e.string(r.Name)
}

func (d *decoder) place() PlaceRef {
	return PlaceRef{Bucket: engine.BucketID(d.uint()), Directory: engine.NodeID(d.uint()), Name: d.string()}
}

// MakeFile makes a node. Data is inline: the target of a symbolic link, or nothing. Clock is as in Put.
type MakeFile struct {
	At         PlaceRef
	Type       engine.FileType
	Attributes engine.FileAttributes
	Class      engine.StorageClass
	Data       []byte
	Clock      int64
	Owner      engine.OwnerID // if not 0, the file has no name, and this owner holds it
}

func (*MakeFile) opcode() byte { return opMakeFile }
func (c *MakeFile) encode(e *encoder) {
	e.place(&c.At)
	e.byte(byte(c.Type))
	e.bool(c.Attributes.Set)
	e.uint(uint64(c.Attributes.Mode))
	e.uint(uint64(c.Attributes.UID))
	e.uint(uint64(c.Attributes.GID))
	e.uint(c.Attributes.Device)
	e.uint(uint64(c.Attributes.Flags))
	e.string(shortClass(c.Class))
	e.bytes(c.Data)
	e.int(c.Clock)
	e.uint(uint64(c.Owner))
}
func (c *MakeFile) decode(d *decoder) {
	c.At = d.place()
	c.Type = engine.FileType(d.byte())
	c.Attributes = engine.FileAttributes{
		Set: d.bool(), Mode: uint32(d.uint()), UID: uint32(d.uint()), GID: uint32(d.uint()), Device: d.uint(), Flags: uint32(d.uint()),
	}
	c.Class = longClass(d.string())
	c.Data = d.bytes()
	c.Clock = d.int()
	c.Owner = engine.OwnerID(d.uint())
}

// LinkFile gives a file the name At too. Clock is as in Put.
type LinkFile struct {
	File  NodeRef
	At    PlaceRef
	Clock int64
}

func (*LinkFile) opcode() byte        { return opLinkFile }
func (c *LinkFile) encode(e *encoder) { e.node(&c.File); e.place(&c.At); e.int(c.Clock) }
func (c *LinkFile) decode(d *decoder) { c.File = d.node(); c.At = d.place(); c.Clock = d.int() }

// RemoveFile takes a name away, of a directory if Directory is set.
type RemoveFile struct {
	At        PlaceRef
	Directory bool
}

func (*RemoveFile) opcode() byte        { return opRemoveFile }
func (c *RemoveFile) encode(e *encoder) { e.place(&c.At); e.bool(c.Directory) }
func (c *RemoveFile) decode(d *decoder) { c.At = d.place(); c.Directory = d.bool() }

// MoveFile gives what From names the name To, of the same bucket. Clock is as in Put.
type MoveFile struct {
	From, To            PlaceRef
	NoReplace, Exchange bool
	Clock               int64
}

func (*MoveFile) opcode() byte { return opMoveFile }
func (c *MoveFile) encode(e *encoder) {
	e.place(&c.From)
	e.place(&c.To)
	e.bool(c.NoReplace)
	e.bool(c.Exchange)
	e.int(c.Clock)
}
func (c *MoveFile) decode(d *decoder) {
	c.From = d.place()
	c.To = d.place()
	c.NoReplace = d.bool()
	c.Exchange = d.bool()
	c.Clock = d.int()
}

// SetFile changes what is not nil. Times are unix nanoseconds; timeNow is the leader's stamp.
type SetFile struct {
	File                     NodeRef
	Mode, UID, GID, Flags    *uint32
	Modified, Accessed, Born *int64
}

// timeNow stands for the time of the command.
const timeNow = 1<<63 - 1

// NewSetFile makes the command of a change.
func NewSetFile(f NodeRef, c engine.FileChange) *SetFile {
	return &SetFile{
		File: f, Mode: c.Mode, UID: c.UID, GID: c.GID, Flags: c.Flags, Modified: unixOf(c.Modified), Accessed: unixOf(c.Accessed), Born: unixOf(c.Born),
	}
}

func unixOf(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	n := int64(timeNow)
	if !t.IsZero() {
		n = t.UnixNano()
	}
	return &n
}

func (*SetFile) opcode() byte { return opSetFile }
func (c *SetFile) encode(e *encoder) {
	e.node(&c.File)
	for _, n := range []*uint32{c.Mode, c.UID, c.GID, c.Flags} {
		if e.bool(n != nil); n != nil {
			e.uint(uint64(*n))
		}
	}
	for _, n := range []*int64{c.Modified, c.Accessed, c.Born} {
		e.optional(n)
	}
}
func (c *SetFile) decode(d *decoder) {
	c.File = d.node()
	for _, n := range []**uint32{&c.Mode, &c.UID, &c.GID, &c.Flags} {
		if d.bool() {
			v := uint32(d.uint())
			*n = &v
		}
	}
	for _, n := range []**int64{&c.Modified, &c.Accessed, &c.Born} {
		*n = d.optional()
	}
}

func (e *encoder) optional(n *int64) {
	if e.bool(n != nil); n != nil {
		e.int(*n)
	}
}

func (d *decoder) optional() *int64 {
	if !d.bool() {
		return nil
	}
	v := d.int()
	return &v
}

// SetXattr sets an extended attribute, or removes it.
type SetXattr struct {
	File                    NodeRef
	Name                    string
	Value                   []byte
	Create, Replace, Remove bool
}

func (*SetXattr) opcode() byte { return opSetXattr }
func (c *SetXattr) encode(e *encoder) {
	e.node(&c.File)
	e.string(c.Name)
	e.bytes(c.Value)
	e.bool(c.Create)
	e.bool(c.Replace)
	e.bool(c.Remove)
}
func (c *SetXattr) decode(d *decoder) {
	c.File = d.node()
	c.Name = d.string()
	c.Value = d.bytes()
	c.Create = d.bool()
	c.Replace = d.bool()
	c.Remove = d.bool()
}

func linkKey(bucket engine.BucketID, id, directory uint64, name string) []byte {
	return append(binary.BigEndian.AppendUint64(key16(rowLink, uint64(bucket), id), directory), name...)
}

func xattrKey(bucket engine.BucketID, id uint64, name string) []byte {
	return append(key16(rowXattr, uint64(bucket), id), name...)
}

// hasRow reports whether there is a row under the prefix.
func (a *apply) hasRow(prefix []byte) (found bool) {
	a.each(prefix, func(_, _ []byte) bool {
		found = true
		return false
	})
	return found
}

// linkedRows is the most rows of links that a command looks at.
const linkedRows = 2000

// linked reports whether a file of the bucket has several names that lead to it. Where more have gone with directories than one command looks at, it says so too.
func (a *apply) linked(bucket engine.BucketID) bool {
	if !a.hasRow(key8(rowLink, uint64(bucket))) {
		return false
	}
	if !a.hasRow(key8(rowDetached, uint64(bucket))) {
		return true
	}
	leading, seen := map[uint64]int{}, 0
	several := false
	a.each(key8(rowLink, uint64(bucket)), func(key, _ []byte) bool {
		inode := binary.BigEndian.Uint64(key[9:])
		_, found, err := ascend(a.view, bucket, binary.BigEndian.Uint64(key[17:]))
		if err != nil {
			panic(storeError{err})
		}
		if found {
			leading[inode]++
		}
		seen++
		several = leading[inode] > 1 || seen > linkedRows
		return !several
	})
	return several
}

// dropLink takes one of several names from a file; the caller writes the inode.
func (a *apply) dropLink(p *path, id uint64, inode *inodeRow) {
	a.view.Delete(linkKey(p.bucket, id, p.leaf(), p.name))
	if inode.links--; inode.links > 1 {
		return
	}
	var last []byte
	a.each(key16(rowLink, uint64(p.bucket), id), func(key, _ []byte) bool {
		last = append(last, key...)
		return false
	})
	if last != nil {
		inode.parent, inode.name = binary.BigEndian.Uint64(last[17:]), string(last[25:])
		a.view.Delete(last)
	}
}

// moveName has a file know that the name which from walks to is another now; the caller writes the inode.
func (a *apply) moveName(from *path, directory uint64, name string, id uint64, inode *inodeRow) {
	inode.posix.changed = a.header.Stamp
	if inode.links == 1 {
		inode.parent, inode.name = directory, name
		return
	}
	a.view.Delete(linkKey(from.bucket, id, from.leaf(), from.name))
	a.view.Set(linkKey(from.bucket, id, directory, name), []byte{rowFormat})
}

// names returns the paths of all names of a file.
func (a *apply) names(n *node) []*path {
	if n.nameless() {
		return nil
	}
	if n.inode.links == 1 {
		return []*path{n.path}
	}
	var places []PlaceRef
	a.each(key16(rowLink, uint64(n.path.bucket), n.id), func(key, _ []byte) bool {
		places = append(places, PlaceRef{Directory: engine.NodeID(binary.BigEndian.Uint64(key[17:])), Name: string(key[25:])})
		return true
	})
	paths := make([]*path, 0, len(places))
	for _, place := range places {
		p, found, err := ascend(a.view, n.path.bucket, uint64(place.Directory))
		if err == nil && found {
			p.name = place.Name
			p.found, err = load(a.view, entryKey(p.bucket, p.leaf(), p.name), &p.entry)
		}
		if err != nil {
			panic(storeError{err})
		}
		if found && p.found {
			paths = append(paths, p)
		}
	}
	return paths
}

// node finds the node that a command is about.
func (a *apply) node(r *NodeRef) (*node, *Answer) {
	n, err := findNode(a.view, r.Bucket, uint64(r.Node), r)
	switch {
	case err != nil:
		panic(storeError{err})
	case n == nil:
		return nil, failed(engine.KindNoSuchKey, "there is no node %d any more", r.Node)
	}
	return n, nil
}

// current finds the node of a command that only what is current can have done to it.
func (a *apply) current(r *NodeRef) (*node, *Answer) {
	n, refusal := a.node(r)
	if refusal == nil && n.older {
		refusal = failed(engine.KindBucketState, "the node %d is a version that is not current; it does not change", r.Node)
	}
	return n, refusal
}

// file finds the current node of a command, and its bucket.
func (a *apply) file(r *NodeRef) (b bucketRow, n *node, refusal *Answer) {
	if refusal = a.loadBucket(r.Bucket, &b); refusal == nil {
		n, refusal = a.current(r)
	}
	return b, n, refusal
}

// at finds the place that a command names, whose directory must be there.
func (a *apply) at(r *PlaceRef) (*path, *Answer) {
	p, refusal, err := findPlace(a.view, r.Bucket, uint64(r.Directory), r.Name)
	switch {
	case err != nil:
		panic(storeError{err})
	case refusal != nil:
		return nil, failed(refusal.Kind, "%v", refusal.Err)
	}
	return p, nil
}

// child finds the directory that a place names.
func (a *apply) child(p *path) *child {
	c, err := findChild(a.view, p)
	if err != nil {
		panic(storeError{err})
	}
	return c
}

// fileAnswer describes a node as the command left it.
func (a *apply) fileAnswer(b *bucketRow, bucket engine.BucketID, id uint64) *Answer {
	n, refusal := a.node(&NodeRef{Bucket: bucket, Node: engine.NodeID(id)})
	if refusal != nil {
		return refusal
	}
	return &Answer{Sequence: b.sequence, Stamp: a.header.Stamp, Versioning: b.versioning, Node: n.encode()}
}

func (a *apply) makeFile(c *MakeFile) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.At.Bucket, &b); refusal != nil {
		return refusal
	}
	o := engine.MakeFileOptions{Type: c.Type, Attributes: c.Attributes, Target: string(c.Data)}
	if err := engine.CheckMakeFile(o); err != nil {
		return failed(engine.KindInvalidArgument, "%v", err)
	}
	if c.Owner != 0 {
		return a.makeTemporary(c, &b)
	}
	p, refusal := a.at(&c.At)
	if refusal != nil {
		return refusal
	}
	below := a.child(p)
	if p.live() || below.live {
		return failed(engine.KindExists, "the name %q is taken", c.At.Name)
	}
	lock, refusal := a.lockNew(&b, engine.Lock{}, c.Clock)
	if refusal != nil {
		return refusal
	}
	if c.Type == engine.TypeDirectory {
		if refusal := p.tooLong(1); refusal != nil {
			return refusal
		}
		p = a.into(p, below)
	} else if refusal := p.tooLong(0); refusal != nil {
		return refusal
	}
	owned := c.posix()
	inode := inodeRow{Lock: lock, size: int64(len(c.Data)), etag: etag{md5: md5.Sum(c.Data)}, class: c.Class}
	inode.content = a.addData(&Data{Size: inode.size, Inline: c.Data}, partSum{})
	if c.Type != engine.TypeDirectory {
		inode.of, inode.posix = c.Type, owned
		a.setCurrent(c.At.Bucket, &b, p, &inode)
		return a.fileAnswer(&b, c.At.Bucket, b.inode)
	}
	a.setCurrent(c.At.Bucket, &b, p, &inode)
	if len(a.noted) > 0 {
		a.noted[len(a.noted)-1].row.kind = engine.ChangeDirectoryMade
	}
	var directory inodeRow
	key := key16(rowInode, uint64(c.At.Bucket), p.leaf())
	a.mustLoad(key, &directory)
	// It may be one that was there all the time and that nobody saw, since nothing current lay beneath it.
	owned.born, owned.accessed, owned.changed = cmp.Or(directory.posix.born, a.header.Stamp), directory.posix.accessed, a.header.Stamp
	directory.posix = owned
	a.view.Set(key, directory.encode())
	return a.fileAnswer(&b, c.At.Bucket, p.leaf())
}

// posix returns what the node has of the attributes.
func (c *MakeFile) posix() posix {
	o := &c.Attributes
	return posix{set: o.Set || o.Mode|o.UID|o.GID != 0, mode: o.Mode, uid: o.UID, gid: o.GID, device: o.Device, flags: o.Flags}
}

// emptyMD5 is the MD5 of no bytes.
var emptyMD5 = md5.Sum(nil)

// into walks from a place into the directory of that name, to the entry that keeps it: the one with the empty name.
func (a *apply) into(p *path, below *child) *path {
	q := &path{bucket: p.bucket, names: append(p.names[:len(p.names):len(p.names)], p.name+"/"), directories: p.directories[:len(p.directories):len(p.directories)]}
	if below.found {
		q.directories = append(q.directories, below.id)
		q.found = a.mustLoad(entryKey(q.bucket, q.leaf(), ""), &q.entry)
	}
	return q
}

func (a *apply) linkFile(c *LinkFile) *Answer {
	b, n, refusal := a.file(&c.File)
	if refusal != nil {
		return refusal
	}
	if n.inode.kind == inodeDirectory {
		return failed(engine.KindIsDirectory, "a directory has one name")
	}
	if b.versioning != engine.VersioningOff && !n.nameless() {
		return failed(engine.KindBucketState, "the bucket keeps versions, and a version has one name")
	}
	to, refusal := a.at(&c.At)
	if refusal != nil {
		return refusal
	}
	if refusal := to.tooLong(0); refusal != nil {
		return refusal
	}
	if to.live() || a.child(to).live {
		return failed(engine.KindExists, "the name %q is taken", c.At.Name)
	}
	if n.nameless() {
		return a.nameFile(c, &b, n, to)
	}
	if n.links() >= engine.LinksMax {
		return failed(engine.KindTooManyLinks, "the file has %d names; more are not allowed", n.links())
	}
	if n.inode.links == 1 {
		a.view.Set(linkKey(c.File.Bucket, n.id, n.path.leaf(), n.path.name), []byte{rowFormat})
		n.inode.parent, n.inode.name = 0, ""
	}
	a.raise(c.File.Bucket, &b, engine.ChangeLinked).at(to)
	n.inode.links++
	n.inode.posix.changed = a.header.Stamp
	a.view.Set(linkKey(c.File.Bucket, n.id, to.leaf(), to.name), []byte{rowFormat})
	a.view.Set(key16(rowInode, uint64(c.File.Bucket), n.id), n.inode.encode())
	entry := n.path.entry
	a.count(to, a.push(to, &entry))
	a.view.Set(key8(rowBucket, uint64(c.File.Bucket)), b.encode())
	return a.fileAnswer(&b, c.File.Bucket, n.id)
}

// nameFile gives a file that has no name one: a temporary file, or one whose last name went while somebody held it.
func (a *apply) nameFile(c *LinkFile, b *bucketRow, n *node, to *path) *Answer {
	lock, refusal := a.lockNew(b, engine.Lock{}, c.Clock)
	if refusal != nil {
		return refusal
	}
	r := &n.inode
	if n.adrift {
		a.deleteAll(key16(rowLink, uint64(to.bucket), n.id)) // whoever takes the former names apart sees that it has another
	}
	a.raise(c.File.Bucket, b, engine.ChangeLinked).at(to)
	r.links, r.parent, r.name, r.Lock = 1, to.leaf(), to.name, lock
	r.sequence, r.posix.changed = b.sequence, a.header.Stamp
	if r.posix.modified == 0 && r.stamp != a.header.Stamp {
		r.posix.modified = r.stamp // the content did not change
	}
	r.stamp = a.header.Stamp
	entry := r.entry(n.id, b)
	d := a.push(to, &entry)
	d.locked += locked(&lock)
	a.count(to, d)
	a.view.Set(key16(rowInode, uint64(to.bucket), n.id), r.encode())
	a.view.Set(key8(rowBucket, uint64(to.bucket)), b.encode())
	return a.fileAnswer(b, to.bucket, n.id)
}

func (a *apply) removeFile(c *RemoveFile) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.At.Bucket, &b); refusal != nil {
		return refusal
	}
	p, refusal := a.at(&c.At)
	if refusal != nil {
		return refusal
	}
	below := a.child(p)
	switch {
	case !below.live && !p.live():
		return failed(engine.KindNoSuchKey, "there is no %q", c.At.Name)
	case below.live && !c.Directory:
		return failed(engine.KindIsDirectory, "%q is a directory", c.At.Name)
	case !below.live && c.Directory:
		return failed(engine.KindNotDirectory, "%q is not a directory", c.At.Name)
	case below.live:
		p = a.into(p, below)
		if own := p.entry.kind == entryObject && p.found; !own || below.held.objects > 1 {
			return failed(engine.KindNotEmpty, "the directory %q is not empty", c.At.Name)
		}
	}
	kind := engine.ChangeMarked
	if b.versioning == engine.VersioningOff {
		kind = engine.ChangeDeleted
	}
	a.raise(c.At.Bucket, &b, kind).at(p)
	if b.versioning == engine.VersioningOff {
		a.count(p, a.remove(p, &p.entry))
	} else {
		a.mark(&b, p)
	}
	a.view.Set(key8(rowBucket, uint64(c.At.Bucket)), b.encode())
	return &Answer{Sequence: b.sequence, Stamp: a.header.Stamp, Versioning: b.versioning}
}

func (a *apply) setFile(c *SetFile) *Answer {
	b, n, refusal := a.file(&c.File)
	if refusal != nil {
		return refusal
	}
	p := &n.inode.posix
	if n.inode.kind == inodeDirectory && n.changed > p.changed {
		p.modified = 0 // a name came or went since it was set
	}
	for _, set := range []struct {
		to   *uint32
		from *uint32
		set  bool
	}{{&p.mode, c.Mode, true}, {&p.uid, c.UID, true}, {&p.gid, c.GID, true}, {&p.flags, c.Flags, false}} {
		if set.from != nil {
			*set.to = *set.from
			p.set = p.set || set.set
		}
	}
	for _, set := range []struct{ to, from *int64 }{{&p.modified, c.Modified}, {&p.accessed, c.Accessed}, {&p.born, c.Born}} {
		if set.from != nil {
			*set.to = a.storedTime(*set.from)
		}
	}
	p.changed = a.header.Stamp
	a.raise(c.File.Bucket, &b, engine.ChangeAttributes).ofNode(n)
	a.view.Set(key16(rowInode, uint64(c.File.Bucket), n.id), n.inode.encode())
	a.view.Set(key8(rowBucket, uint64(c.File.Bucket)), b.encode())
	return a.fileAnswer(&b, c.File.Bucket, n.id)
}

// timeZero is how a row has the time 0, which says in rows that there is none.
const timeZero = -1 << 63

func (a *apply) storedTime(t int64) int64 {
	switch t {
	case timeNow:
		return a.header.Stamp
	case 0:
		return timeZero
	}
	return t
}

func (a *apply) setXattr(c *SetXattr) *Answer {
	b, n, refusal := a.file(&c.File)
	if refusal != nil {
		return refusal
	}
	key := xattrKey(c.File.Bucket, n.id, c.Name)
	switch there := a.has(key); {
	case there && c.Create:
		return failed(engine.KindExists, "the node has the extended attribute %q already", c.Name)
	case !there && (c.Replace || c.Remove):
		return failed(engine.KindNoSuchAttribute, "the node has no extended attribute %q", c.Name)
	case !there && n.inode.xattrs >= engine.XattrsMax:
		return failed(engine.KindEntityTooLarge, "the node has %d extended attributes; more are not allowed", n.inode.xattrs)
	case !there:
		n.inode.xattrs++
	case c.Remove:
		n.inode.xattrs--
	}
	if c.Remove {
		a.view.Delete(key)
	} else {
		a.view.Set(key, (&xattrRow{value: c.Value}).encode())
	}
	n.inode.posix.changed = a.header.Stamp
	a.raise(c.File.Bucket, &b, engine.ChangeAttributes).ofNode(n)
	a.view.Set(key16(rowInode, uint64(c.File.Bucket), n.id), n.inode.encode())
	a.view.Set(key8(rowBucket, uint64(c.File.Bucket)), b.encode())
	return &Answer{Sequence: b.sequence, Stamp: a.header.Stamp}
}
