package meta

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"holdfast/engine"
)

// The feed of a bucket is a row for each change that raised its sequence while a cursor followed. A row has what a follower is told, and what the
// change replaced in the tree by the numbers of directories, so that what lay beneath a directory at an earlier sequence can be read from the tree of
// now: see expand.go.

// OpenCursor begins a cursor behind the last change, or finds it. The answer's Left is its position, Sequence the bucket's; Existed says that it is lost.
type OpenCursor struct {
	Bucket engine.BucketID
	Name   string
}

func (*OpenCursor) opcode() byte        { return opOpenCursor }
func (c *OpenCursor) encode(e *encoder) { e.uint(uint64(c.Bucket)); e.string(c.Name) }
func (c *OpenCursor) decode(d *decoder) { c.Bucket = engine.BucketID(d.uint()); c.Name = d.string() }

// CursorMove is what a MoveCursor does.
type CursorMove byte

// A cursor moves forward to a sequence, or behind the last change, whether it is lost or not, or it ends.
const (
	CursorTo    CursorMove = 0
	CursorReset CursorMove = 1
	CursorClose CursorMove = 2
)

// MoveCursor moves a cursor, or ends it. The answer is as that of OpenCursor.
type MoveCursor struct {
	Bucket engine.BucketID
	Name   string
	Move   CursorMove
	To     engine.Sequence // of CursorTo
}

func (*MoveCursor) opcode() byte { return opMoveCursor }
func (c *MoveCursor) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(c.Name)
	e.byte(byte(c.Move))
	e.uint(uint64(c.To))
}
func (c *MoveCursor) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Name = d.string()
	c.Move = CursorMove(d.byte())
	c.To = engine.Sequence(d.uint())
	if c.Move > CursorClose {
		d.fail()
	}
}

// TrimFeed removes a bounded number of what is noted of changes up to and with Upto; cursors before it are lost. The answer's Left is 0 if nothing of
// it is left, Size is how many are gone, and Content how many cursors were lost by it.
type TrimFeed struct {
	Bucket engine.BucketID
	Upto   engine.Sequence
}

func (*TrimFeed) opcode() byte        { return opTrimFeed }
func (c *TrimFeed) encode(e *encoder) { e.uint(uint64(c.Bucket)); e.uint(uint64(c.Upto)) }
func (c *TrimFeed) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Upto = engine.Sequence(d.uint())
}

// cursorRow is a follower's place.
type cursorRow struct {
	position engine.Sequence
	lost     bool
}

func (r *cursorRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 12)}
	e.byte(rowFormat)
	e.uint(uint64(r.position))
	e.bool(r.lost)
	return e.b
}

func (r *cursorRow) decode(d *decoder) {
	d.version(rowFormat)
	r.position = engine.Sequence(d.uint())
	r.lost = d.bool()
}

// changedEntry is what a row of the feed knows of an entry.
type changedEntry struct {
	kind     byte // 0 if there is none
	inode    uint64
	sequence engine.Sequence
	stamp    int64
	size     int64
	etag     etag
	named    bool
}

func changedOf(r *entryRow) changedEntry {
	return changedEntry{kind: r.kind, inode: r.inode, sequence: r.sequence, stamp: r.stamp, size: r.size, etag: r.etag, named: r.named}
}

func (e *encoder) changed(c *changedEntry) {
	e.byte(c.kind)
	if c.kind == 0 {
		return
	}
	e.uint(c.inode)
	e.uint(uint64(c.sequence))
	e.int(c.stamp)
	e.uint(uint64(c.size))
	e.etag(c.etag)
	e.bool(c.named)
}

func (d *decoder) changed() (c changedEntry) {
	if c.kind = d.byte(); c.kind == 0 {
		return c
	}
	if c.kind != entryObject && c.kind != entryMarker {
		d.fail()
	}
	c.inode = d.uint()
	c.sequence = engine.Sequence(d.uint())
	c.stamp = d.int()
	c.size = int64(d.uint())
	c.etag = d.etag()
	c.named = d.bool()
	return c
}

// version describes the entry as engine.Change does.
func (c *changedEntry) version() (v engine.ChangedVersion) {
	if c.kind == 0 {
		return v
	}
	v = engine.ChangedVersion{Version: engine.NullVersion, Marker: c.kind == entryMarker, Size: c.size, Sequence: c.sequence, Modified: time.Unix(0, c.stamp)}
	if c.named {
		v.Version = engine.FormatVersion(c.sequence)
	}
	if !v.Marker {
		v.ETag = engine.ETag(c.etag.String())
	}
	return v
}

// changeRow is a change of a bucket. Keys are those of engine.Change.
type changeRow struct {
	kind              engine.ChangeKind
	stamp             int64
	key, from         string
	node, names       uint64
	version, replaced changedEntry
	removed           engine.VersionID
	// directory says that key is that of a directory, other that what was exchanged for it is one; inPlace that the content changed under all names
	// of the node at once.
	directory, other, inPlace bool
	// target is the directory that was replaced or exchanged.
	target uint64
	// The inodes that the directories of key, and of from, had: from the one in the root on to that in which the name lies.
	above, aboveFrom []uint64
}

func (r *changeRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 96+len(r.key)+len(r.from))}
	e.byte(rowFormat)
	e.byte(byte(r.kind))
	e.int(r.stamp)
	e.string(r.key)
	e.string(r.from)
	e.uint(r.node)
	e.uint(r.names)
	e.changed(&r.version)
	e.changed(&r.replaced)
	e.string(string(r.removed))
	e.byte(flag(r.directory) | flag(r.other)<<1 | flag(r.inPlace)<<2)
	e.uint(r.target)
	for _, list := range [][]uint64{r.above, r.aboveFrom} {
		e.uint(uint64(len(list)))
		for _, id := range list {
			e.uint(id)
		}
	}
	return e.b
}

func (r *changeRow) decode(d *decoder) {
	d.version(rowFormat)
	r.kind = engine.ChangeKind(d.byte())
	r.stamp = d.int()
	r.key = d.string()
	r.from = d.string()
	r.node = d.uint()
	r.names = d.uint()
	r.version = d.changed()
	r.replaced = d.changed()
	r.removed = engine.VersionID(d.string())
	flags := d.byte()
	if flags > 7 || r.kind == 0 {
		d.fail()
	}
	r.directory, r.other, r.inPlace = flags&1 != 0, flags&2 != 0, flags&4 != 0
	r.target = d.uint()
	for _, list := range []*[]uint64{&r.above, &r.aboveFrom} {
		for range d.count() {
			*list = append(*list, d.uint())
			if d.err != nil {
				return
			}
		}
	}
}

// change describes the row to followers.
func (r *changeRow) change(s engine.Sequence) engine.Change {
	c := engine.Change{
		Sequence: s, Time: time.Unix(0, r.stamp), Kind: r.kind, Key: engine.Key(r.key), From: engine.Key(r.from), Directory: r.directory, Node: engine.NodeID(r.node),
		Names: r.names, Version: r.version.version(), Replaced: r.replaced.version(), Removed: r.removed,
	}
	if r.kind == engine.ChangeDocument {
		c.Key, c.Document = "", r.key
	}
	return c
}

func feedKey(bucket engine.BucketID, s engine.Sequence) []byte {
	return key16(rowFeed, uint64(bucket), uint64(s))
}

func cursorKey(bucket engine.BucketID, name string) []byte {
	return append(key8(rowCursor, uint64(bucket)), name...)
}

// noted is a change that the command at hand makes. A nil one, which nobody follows, takes everything and keeps nothing.
type noted struct {
	a        *apply
	bucket   engine.BucketID
	sequence engine.Sequence
	row      changeRow
	place    *path // whose entry after the command is the row's version
	gone     uint64
}

// raise gives a change of a bucket its number. What it is must be noted before the tree changes; the row is written when the command has succeeded.
func (a *apply) raise(bucket engine.BucketID, b *bucketRow, kind engine.ChangeKind) *noted {
	b.sequence++
	if b.followed == 0 {
		return nil
	}
	n := &noted{a: a, bucket: bucket, sequence: b.sequence, row: changeRow{kind: kind, stamp: a.header.Stamp}}
	a.noted = append(a.noted, n)
	return n
}

// at notes that the change puts something else at the name that p walks to, or takes away what is there.
func (n *noted) at(p *path) *noted {
	if n != nil {
		n.place = p
		if p.found {
			n.row.replaced, n.gone = changedOf(&p.entry), p.entry.inode
		}
	}
	return n
}

// from notes the name that something leaves.
func (n *noted) from(p *path) *noted {
	if n != nil {
		n.row.from, n.row.aboveFrom = p.key(), slices.Clone(p.directories[1:])
	}
	return n
}

// about notes a version that stays what it is, but for what its inode alone has.
func (n *noted) about(p *path, entry *entryRow, inode *inodeRow) {
	if n != nil {
		n.row.key, n.row.node, n.row.version = p.key(), entry.inode, changedOf(entry)
		n.row.names = n.a.countNames(n.bucket, entry.inode, inode, false)
	}
}

// ofNode notes a change of a node that keeps its names.
func (n *noted) ofNode(found *node) {
	if n == nil {
		return
	}
	n.row.node, n.row.names = found.id, n.a.countNames(n.bucket, found.id, &found.inode, false)
	switch {
	case found.inode.kind == inodeDirectory:
		n.row.key, n.row.directory, n.row.names = found.path.key(), true, 0
	case found.nameless():
		n.row.names = 0
	default:
		n.row.key, n.row.version = found.path.key(), changedOf(&found.entry)
	}
}

// tree notes a directory that has another place, or none: at a name in the directory that above walks to.
func (n *noted) tree(id uint64, above *path, name string) *noted {
	if n != nil {
		n.row.node, n.row.directory = id, true
		n.row.key, n.row.above = strings.Join(above.names, "")+name, slices.Clone(above.directories[1:])
	}
	return n
}

// treeFrom notes the place that a directory leaves.
func (n *noted) treeFrom(above *path, name string) *noted {
	if n != nil {
		n.row.from, n.row.aboveFrom = strings.Join(above.names, "")+name, slices.Clone(above.directories[1:])
	}
	return n
}

// key is the key of the path.
func (p *path) key() string { return strings.Join(p.names, "") + p.name }

// keepNotes writes what the command changed; a refused one changed nothing.
func (a *apply) keepNotes(answer *Answer) {
	for _, n := range a.noted {
		if !answer.Failed {
			a.finish(n)
			a.view.Set(feedKey(n.bucket, n.sequence), n.row.encode())
		}
	}
	a.noted = a.noted[:0]
}

// finish notes what the command left at the name.
func (a *apply) finish(n *noted) {
	p, r := n.place, &n.row
	if p == nil {
		return
	}
	r.key, r.above = p.key(), slices.Clone(p.directories[1:])
	var entry entryRow
	if a.mustLoad(entryKey(n.bucket, p.leaf(), p.name), &entry) {
		r.version = changedOf(&entry)
	}
	r.node = r.version.inode
	if r.kind == engine.ChangeDeleted {
		r.node = n.gone
	}
	var inode inodeRow
	if r.node != 0 && a.mustLoad(key16(rowInode, uint64(n.bucket), r.node), &inode) {
		r.names = a.countNames(n.bucket, r.node, &inode, r.kind == engine.ChangeDeleted)
	}
	if r.kind == engine.ChangeDeleted && r.names > 0 {
		r.kind = engine.ChangeUnlinked
	}
}

// countNames returns how many names of a file lead to it: those beneath removed directories do not, which are listed until they are taken apart. Of a
// single one it is known, unless it may be such.
func (a *apply) countNames(bucket engine.BucketID, id uint64, inode *inodeRow, doubtful bool) (count uint64) {
	leads := func(directory uint64, name string) bool {
		p, found, err := ascend(a.view, bucket, directory)
		if err != nil {
			panic(storeError{err})
		}
		var entry entryRow
		return found && a.mustLoad(entryKey(bucket, p.leaf(), name), &entry) && entry.inode == id
	}
	if inode.links <= 1 {
		if doubtful && inode.links == 1 && inode.parent != 0 && !leads(inode.parent, inode.name) {
			return 0
		}
		return inode.links
	}
	a.each(key16(rowLink, uint64(bucket), id), func(key, _ []byte) bool {
		if leads(binary.BigEndian.Uint64(key[17:]), string(key[25:])) {
			count++
		}
		return true
	})
	return count
}

func (r *cursorRow) answer(b *bucketRow) *Answer {
	return &Answer{Left: uint64(r.position), Sequence: b.sequence, Existed: r.lost}
}

func (a *apply) openCursor(c *OpenCursor) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	if err := engine.CheckCursorName(c.Name); err != nil {
		return failed(engine.KindInvalidArgument, "%v", err)
	}
	var r cursorRow
	if a.mustLoad(cursorKey(c.Bucket, c.Name), &r) {
		return r.answer(&b)
	}
	if b.cursors >= engine.CursorsMax {
		return failed(engine.KindEntityTooLarge, "the bucket has %d cursors; more are not allowed, close one that nobody needs", b.cursors)
	}
	r.position = b.sequence
	b.cursors++
	b.followed++
	a.view.Set(cursorKey(c.Bucket, c.Name), r.encode())
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return r.answer(&b)
}

func (a *apply) moveCursor(c *MoveCursor) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	var r cursorRow
	key := cursorKey(c.Bucket, c.Name)
	there := a.mustLoad(key, &r)
	switch {
	case !there && c.Move == CursorClose:
		return &Answer{}
	case !there:
		return failed(engine.KindNoSuchKey, "the bucket has no cursor %q", c.Name)
	case c.Move == CursorTo && r.lost:
		return failed(engine.KindRescan, "%s", lostText(c.Name))
	case c.Move == CursorTo && c.To > b.sequence:
		return failed(engine.KindInvalidArgument, "the last change of the bucket is %d; a cursor cannot be moved to %d", b.sequence, c.To)
	}
	switch c.Move {
	case CursorTo:
		r.position = max(r.position, c.To)
	case CursorReset:
		if r.lost {
			b.followed++
		}
		r = cursorRow{position: b.sequence}
	case CursorClose:
		b.cursors--
		if !r.lost {
			b.followed--
		}
	}
	if c.Move == CursorClose {
		a.view.Delete(key)
	} else {
		a.view.Set(key, r.encode())
	}
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return r.answer(&b)
}

// lostText tells the follower of a lost cursor what to do.
func lostText(name string) string {
	return "the cursor \"" + name + "\" fell too far behind: changes that it has not seen are not noted any more; reset it and list the bucket anew"
}

// trimRows is the most rows of a feed that one command removes.
const trimRows = 1000

func (a *apply) trimFeed(c *TrimFeed) *Answer {
	answer := &Answer{}
	var b bucketRow
	if a.mustLoad(key8(rowBucket, uint64(c.Bucket)), &b) {
		lost := map[string]*cursorRow{}
		var names []string
		a.each(key8(rowCursor, uint64(c.Bucket)), func(key, value []byte) bool {
			r := new(cursorRow)
			if err := parse(key, value, r); err != nil {
				panic(storeError{err})
			}
			if !r.lost && r.position < c.Upto {
				name := string(key[9:])
				lost[name], names = r, append(names, name)
			}
			return true
		})
		for _, name := range names {
			lost[name].lost = true
			a.view.Set(cursorKey(c.Bucket, name), lost[name].encode())
			b.followed--
		}
		if answer.Content = uint64(len(names)); len(names) > 0 {
			a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
		}
	}
	gone, more := a.dropFeed(c.Bucket, c.Upto)
	answer.Size, answer.Left = int64(gone), uint64(flag(more))
	return answer
}

// dropFeed removes rows of a feed, up to a sequence and at most trimRows; more says that some are left.
func (a *apply) dropFeed(bucket engine.BucketID, upto engine.Sequence) (gone int, more bool) {
	var keys [][]byte
	a.each(key8(rowFeed, uint64(bucket)), func(key, _ []byte) bool {
		if engine.Sequence(binary.BigEndian.Uint64(key[9:])) > upto {
			return false
		}
		if more = len(keys) == trimRows; !more {
			keys = append(keys, slices.Clone(key))
		}
		return !more
	})
	for _, key := range keys {
		a.view.Delete(key)
	}
	return len(keys), more
}

// slowest returns the position of the slowest cursor that is not lost; ok is false if nobody follows the bucket.
func slowest(view View, bucket engine.BucketID) (position engine.Sequence, ok bool, err error) {
	err = scan(view, key8(rowCursor, uint64(bucket)), nil, func(key, value []byte) (bool, error) {
		var r cursorRow
		err := parse(key, value, &r)
		if !r.lost && (!ok || r.position < position) {
			position, ok = r.position, true
		}
		return true, err
	})
	return position, ok, err
}

// awaited says for the directories of detachedRow whether a follower may still ask what lay beneath them. It remembers the slowest cursor of the last
// bucket.
type awaited struct {
	view     View
	bucket   engine.BucketID
	known    bool
	position engine.Sequence
	followed bool
}

func (w *awaited) by(bucket engine.BucketID, removed engine.Sequence) (awaits bool, err error) {
	if removed == 0 {
		return false, nil
	}
	if !w.known || w.bucket != bucket {
		w.bucket, w.known = bucket, true
		var b bucketRow
		there, err := load(w.view, key8(rowBucket, uint64(bucket)), &b)
		if w.followed = there && b.followed > 0; err == nil && w.followed {
			w.position, w.followed, err = slowest(w.view, bucket)
		}
		if err != nil {
			return false, err
		}
	}
	return w.followed && w.position < removed, nil
}

// Changes reads a page of the feed behind a place, or behind the cursor for 0. KindNoSuchBucket, KindNoSuchKey, KindRescan, KindInvalidArgument.
func Changes(view View, bucket engine.BucketID, name string, behind engine.Sequence, max int) (page engine.ChangePage, err error) {
	b, r, err := loadCursor(view, bucket, name)
	if err != nil {
		return page, err
	}
	switch {
	case r.lost:
		return page, engine.E(engine.KindRescan, "%s", lostText(name))
	case behind == 0:
		behind = r.position
	case behind < r.position:
		return page, engine.E(engine.KindInvalidArgument, "the cursor %q has passed change %d; it is at %d", name, behind, r.position)
	}
	page.Last = behind
	if behind >= b.sequence {
		return page, nil
	}
	err = eachChange(view, bucket, behind, func(s engine.Sequence, row *changeRow) (bool, error) {
		if page.Truncated = len(page.Changes) == max; page.Truncated {
			return false, nil
		}
		if s != page.Last+1 {
			return false, engine.E(engine.KindDamaged, "the feed of the bucket has no change %d", page.Last+1)
		}
		page.Changes, page.Last = append(page.Changes, row.change(s)), s
		return true, nil
	})
	if err == nil && !page.Truncated && page.Last != b.sequence {
		err = engine.E(engine.KindDamaged, "the feed of the bucket has no change %d", page.Last+1)
	}
	return page, err
}

// eachChange calls f for the changes behind a place.
func eachChange(view View, bucket engine.BucketID, behind engine.Sequence, f func(s engine.Sequence, row *changeRow) (bool, error)) error {
	return scan(view, key8(rowFeed, uint64(bucket)), binary.BigEndian.AppendUint64(nil, uint64(behind+1)), func(key, value []byte) (bool, error) {
		var row changeRow
		if err := parse(key, value, &row); err != nil {
			return false, err
		}
		return f(engine.Sequence(binary.BigEndian.Uint64(key[9:])), &row)
	})
}

func loadCursor(view View, bucket engine.BucketID, name string) (b bucketRow, r cursorRow, err error) {
	if ok, err := load(view, key8(rowBucket, uint64(bucket)), &b); err != nil {
		return b, r, err
	} else if !ok {
		return b, r, engine.E(engine.KindNoSuchBucket, "the bucket was deleted")
	}
	if ok, err := load(view, cursorKey(bucket, name), &r); err != nil {
		return b, r, err
	} else if !ok {
		return b, r, engine.E(engine.KindNoSuchKey, "the bucket has no cursor %q", name)
	}
	return b, r, nil
}

// ListCursors returns the cursors of a bucket. KindNoSuchBucket.
func ListCursors(view View, bucket engine.BucketID) (list []engine.Cursor, err error) {
	var b bucketRow
	if ok, err := load(view, key8(rowBucket, uint64(bucket)), &b); err != nil {
		return nil, err
	} else if !ok {
		return nil, engine.E(engine.KindNoSuchBucket, "the bucket was deleted")
	}
	err = scan(view, key8(rowCursor, uint64(bucket)), nil, func(key, value []byte) (bool, error) {
		var r cursorRow
		err := parse(key, value, &r)
		list = append(list, engine.Cursor{Name: string(key[9:]), Position: r.position, Last: b.sequence, Lost: r.lost})
		return true, err
	})
	return list, err
}

// FeedState is what a bucket has of followers and of what is noted for them.
type FeedState struct {
	Bucket engine.BucketID
	Name   engine.BucketName
	// First is the first change that is noted, 0 if none is; Last is that of the bucket; Slowest is the position of the slowest cursor that is not
	// lost, or Last.
	First, Last, Slowest engine.Sequence
	Cursors, Lost        int
}

// Kept returns how many changes are noted, at most.
func (s *FeedState) Kept() uint64 {
	if s.First == 0 {
		return 0
	}
	return uint64(s.Last-s.First) + 1
}

// Behind returns how many changes the slowest cursor has not passed.
func (s *FeedState) Behind() uint64 { return uint64(s.Last - s.Slowest) }

// ListFeeds returns the buckets that have cursors or something noted. It goes through all buckets' rows, and not through what is noted.
func ListFeeds(view View) (list []FeedState, err error) {
	err = scan(view, []byte{rowBucket}, nil, func(key, value []byte) (bool, error) {
		var b bucketRow
		if err := parse(key, value, &b); err != nil {
			return false, err
		}
		s := FeedState{Bucket: engine.BucketID(binary.BigEndian.Uint64(key[1:])), Name: b.name, Last: b.sequence, Slowest: b.sequence, Cursors: int(b.cursors), Lost: int(b.cursors - b.followed)}
		err := scan(view, key8(rowFeed, uint64(s.Bucket)), nil, func(key, _ []byte) (bool, error) {
			s.First = engine.Sequence(binary.BigEndian.Uint64(key[9:]))
			return false, nil
		})
		if err == nil && b.followed > 0 {
			s.Slowest, _, err = slowest(view, s.Bucket)
		}
		if s.Cursors > 0 || s.First > 0 {
			list = append(list, s)
		}
		return true, err
	})
	return list, err
}
