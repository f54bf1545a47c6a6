package meta

import (
	"slices"

	"holdfast/engine"
)

// moving is what a move takes from its place.
type moving struct {
	path  *path
	below *child // the directory of that name
}

func (m *moving) directory() bool { return m.below.live }

func (m *moving) there() bool { return m.below.live || m.path.live() }

// inode is the number of what moves.
func (m *moving) inode() uint64 {
	if m.directory() {
		return m.below.id
	}
	return m.path.entry.inode
}

func (a *apply) moving(r *PlaceRef) (*moving, *Answer) {
	p, refusal := a.at(r)
	if refusal != nil {
		return nil, refusal
	}
	return &moving{p, a.child(p)}, nil
}

func (a *apply) moveFile(c *MoveFile) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.From.Bucket, &b); refusal != nil {
		return refusal
	}
	from, refusal := a.moving(&c.From)
	if refusal != nil {
		return refusal
	}
	to, refusal := a.moving(&c.To)
	if refusal != nil {
		return refusal
	}
	switch {
	case !from.there():
		return failed(engine.KindNoSuchKey, "there is no %q", c.From.Name)
	case to.there() && from.directory() == to.directory() && from.inode() == to.inode():
		return &Answer{Sequence: b.sequence, Stamp: a.header.Stamp, Versioning: b.versioning}
	case c.Exchange && b.versioning != engine.VersioningOff:
		return failed(engine.KindBucketState, "the bucket keeps versions; nothing changes places in it")
	case c.Exchange && !to.there():
		return failed(engine.KindNoSuchKey, "there is no %q", c.To.Name)
	case c.NoReplace && to.there():
		return failed(engine.KindExists, "the name %q is taken", c.To.Name)
	}
	switch {
	case c.Exchange:
		refusal = a.exchange(&b, from, to)
	case from.directory():
		refusal = a.moveDirectory(&b, from, to)
	case to.directory():
		refusal = failed(engine.KindIsDirectory, "%q is a directory", c.To.Name)
	default:
		refusal = a.moveOne(&b, from.path, to.path, c.Clock)
	}
	if refusal != nil {
		return refusal
	}
	a.view.Set(key8(rowBucket, uint64(c.From.Bucket)), b.encode())
	return &Answer{Sequence: b.sequence, Stamp: a.header.Stamp, Versioning: b.versioning}
}

// moveOne moves a file. In a bucket with versions that makes a version at the target and a delete marker at the source; the node goes along, and the
// version that stays gets a number of its own.
func (a *apply) moveOne(b *bucketRow, from, to *path, clock int64) *Answer {
	if refusal := to.tooLong(0); refusal != nil {
		return refusal
	}
	if b.versioning == engine.VersioningOff {
		a.raise(to.bucket, b, engine.ChangeRenamed).at(to).from(from)
		a.moveEntry(from, to, "")
		return nil
	}
	lock, refusal := a.lockNew(b, engine.Lock{}, clock)
	if refusal != nil {
		return refusal
	}
	id := from.entry.inode
	var inode inodeRow
	a.mustLoad(key16(rowInode, uint64(from.bucket), id), &inode)
	a.raise(from.bucket, b, engine.ChangeMarked).at(from)
	a.keepVersion(b, from, &inode)
	a.mark(b, from)
	a.raise(to.bucket, b, engine.ChangePut).at(to)
	if inode.links > 1 { // the others went with directories, and whoever takes those apart sees that it has this one
		a.deleteAll(key16(rowLink, uint64(from.bucket), id))
		inode.links = 1
	}
	inode.sequence, inode.stamp, inode.Lock, inode.upload, inode.token = b.sequence, a.header.Stamp, lock, "", ""
	inode.parent, inode.name, inode.posix.changed = to.leaf(), to.name, a.header.Stamp
	a.view.Set(key16(rowInode, uint64(to.bucket), id), inode.encode())
	entry := inode.entry(id, b)
	d := a.push(to, &entry)
	d.locked += locked(&lock)
	a.count(to, d)
	return nil
}

// entry makes the entry of a version that the inode is.
func (r *inodeRow) entry(id uint64, b *bucketRow) entryRow {
	return entryRow{
		kind: entryObject, inode: id, sequence: r.sequence, stamp: r.stamp, size: r.size, etag: r.etag, class: r.class, named: b.versioning == engine.VersioningEnabled,
	}
}

// keepVersion gives the version that is current at p an inode of its own, so that the one that it has can go on as another version.
func (a *apply) keepVersion(b *bucketRow, p *path, inode *inodeRow) {
	b.inode++
	kept := *inode
	kept.holds, kept.links = 0, 1
	kept.parent, kept.name = p.leaf(), p.name
	a.retain(kept.content)
	a.view.Set(key16(rowInode, uint64(p.bucket), b.inode), kept.encode())
	if kept.xattrs > 0 {
		a.copyXattrs(p.bucket, p.entry.inode, b.inode)
	}
	p.entry.inode = b.inode
}

func (a *apply) copyXattrs(bucket engine.BucketID, from, to uint64) {
	var r xattrRow
	values := map[string][]byte{}
	prefix := key16(rowXattr, uint64(bucket), from)
	a.each(prefix, func(key, value []byte) bool {
		if err := parse(key, value, &r); err != nil {
			panic(storeError{err})
		}
		values[string(key[len(prefix):])] = r.encode()
		return true
	})
	for name, value := range values { // the order of rows is that of their keys
		a.view.Set(xattrKey(bucket, to, name), value)
	}
}

// moveDirectory moves a directory with all that lies beneath it.
func (a *apply) moveDirectory(b *bucketRow, from, to *moving) *Answer {
	source := a.into(from.path, from.below)
	name := to.path.name + "/"
	switch {
	case to.path.live() && !to.below.live:
		return failed(engine.KindNotDirectory, "%q is not a directory", to.path.name)
	case slices.Contains(to.path.directories, from.below.id):
		return failed(engine.KindInvalidArgument, "a directory cannot go beneath itself")
	case to.below.found && !a.vacant(to):
		return failed(engine.KindNotEmpty, "the directory %q holds names or versions", to.path.name)
	}
	if refusal := a.movable(from, to.path); refusal != nil {
		return refusal
	}
	inode, above := from.below.inode, to.path
	change := a.raise(above.bucket, b, engine.ChangeDirectoryRenamed).tree(from.below.id, above, name).treeFrom(from.path, from.path.name+"/")
	inode.posix.changed = a.header.Stamp
	if to.below.found {
		// What goes in is counted first, lest the directory above both be taken for empty.
		target := a.into(to.path, to.below)
		if change != nil {
			change.row.target, change.row.replaced = to.below.id, changedOf(&target.entry)
		}
		keep := delta{versions: 1}
		a.count(above, keep)
		a.count(target, a.remove(target, &target.entry))
		a.moveTree(source, above, name, &from.below.held, &inode)
		a.count(above, delta{versions: -1})
		return nil
	}
	a.moveTree(source, above, name, &from.below.held, &inode)
	return nil
}

// vacant reports whether a directory has nothing but the object that keeps it, in a bucket without versions.
func (a *apply) vacant(m *moving) bool {
	q := a.into(m.path, m.below)
	return m.below.held.versions == 1 && q.found && q.entry.kind == entryObject && !q.entry.named && m.below.live && !a.keepsVersions(m.path.bucket)
}

func (a *apply) keepsVersions(bucket engine.BucketID) bool {
	var b bucketRow
	a.mustLoad(key8(rowBucket, uint64(bucket)), &b)
	return b.versioning != engine.VersioningOff
}

// movable says why what lies beneath a directory cannot have longer names, or must stay where it is.
func (a *apply) movable(m *moving, to *path) *Answer {
	if n := m.below.held.locked; n > 0 {
		return failed(engine.KindLocked, "%d versions beneath %q have a retention or legal hold", n, m.path.name)
	}
	longest := engine.KeyBytesMax - m.below.held.spare
	if before, after := m.path.length()+1, to.length()+1; after > before && uint64(after)+longest > engine.KeyBytesMax {
		return failed(engine.KindKeyTooLong, "names beneath %q have, or had, %d bytes; with %d before them they would have more than %d", m.path.name, longest, after, engine.KeyBytesMax)
	}
	return nil
}

// exchange has two names change places, in a bucket without versions.
func (a *apply) exchange(b *bucketRow, from, to *moving) *Answer {
	pairs := [][2]*moving{{from, to}, {to, from}}
	for _, pair := range pairs {
		if m, other := pair[0], pair[1]; m.directory() && slices.Contains(other.path.directories, m.below.id) {
			return failed(engine.KindInvalidArgument, "a directory cannot go beneath itself")
		}
	}
	for _, pair := range pairs {
		if m, other := pair[0], pair[1]; !m.directory() && other.directory() && other.path.live() {
			return failed(engine.KindExists, "the directory %q hides an object of the same name", other.path.name)
		}
	}
	for _, pair := range pairs {
		refusal := pair[1].path.tooLong(0)
		if pair[0].directory() {
			refusal = a.movable(pair[0], pair[1].path)
		}
		if refusal != nil {
			return refusal
		}
	}
	items := [2]item{a.item(from), a.item(to)}
	a.noteExchange(b, from, to, &items)
	places := [2]*path{to.path, from.path} // where each goes
	for i, place := range places {
		p := *place
		p.name, p.made = items[i].name(place.name), 0
		a.count(&p, items[i].d) // before anything goes, lest a directory be taken for empty
	}
	for i := range items {
		old := *places[1-i]
		old.name, old.made = items[i].name(old.name), 0
		a.view.Delete(entryKey(old.bucket, old.leaf(), old.name))
		d := items[i].d.gone()
		d.renamed = true
		a.count(&old, d)
	}
	links := [2]*path{from.path, to.path}
	for i := range items {
		it, place := &items[i], places[i]
		name := it.name(place.name)
		a.view.Set(entryKey(place.bucket, place.leaf(), name), it.entry.encode())
		key := key16(rowInode, uint64(place.bucket), it.entry.inode)
		var inode inodeRow
		a.mustLoad(key, &inode)
		if it.directory {
			inode.parent, inode.name, inode.posix.changed = place.leaf(), name, a.header.Stamp
		} else {
			a.moveName(links[i], place.leaf(), name, it.entry.inode, &inode)
		}
		a.view.Set(key, inode.encode())
	}
	return nil
}

// noteExchange notes what changes places. The names are those of what comes from the first place.
func (a *apply) noteExchange(b *bucketRow, from, to *moving, items *[2]item) {
	n := a.raise(to.path.bucket, b, engine.ChangeExchanged).tree(items[0].entry.inode, to.path, items[0].name(to.path.name)).treeFrom(from.path, items[0].name(from.path.name))
	if n == nil {
		return
	}
	n.row.directory, n.row.other = items[0].directory, items[1].directory
	if !items[0].directory {
		n.row.version = changedOf(&items[0].entry)
		var inode inodeRow
		a.mustLoad(key16(rowInode, uint64(n.bucket), n.row.node), &inode)
		n.row.names = a.countNames(n.bucket, n.row.node, &inode, false)
	}
	if n.row.target = items[1].entry.inode; !items[1].directory {
		n.row.replaced = changedOf(&items[1].entry)
	}
}

// item is what an exchange carries from one place to the other.
type item struct {
	directory bool
	entry     entryRow
	d         delta // what it counts for where it is
}

func (a *apply) item(m *moving) item {
	if !m.directory() {
		it := item{entry: m.path.entry}
		it.d.add(&it.entry, 1)
		it.d.renamed = true
		return it
	}
	it := item{directory: true, entry: entryRow{kind: entryDirectory, inode: m.below.id}, d: m.below.held.delta()}
	it.d.renamed = true
	return it
}

// name returns the name that the item has in its row.
func (it *item) name(name string) string {
	if it.directory {
		return name + "/"
	}
	return name
}
