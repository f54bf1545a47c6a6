package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"holdfast/engine"
)

// Census counts what Check went through.
type Census struct {
	Buckets, Directories, Objects, Inodes      int
	Contents, Runs, Extents, Shards            int
	Garbage, MissingExtents, Uploads, Parts    int
	Epochs, Answers, Staged, Condemned, Trash  int
	Documents, Detached, Links, Xattrs         int
	Owners, Held, Nameless, Scattered          int    // nameless files are held
	Cursors, Changes                           int    // what is noted of changes
	References                                 uint64 // to contents
	AggregateObjects, AggregateBytes, Versions uint64 // of all buckets' roots, recounted
}

// Check holds every row of a group against all the others: each entry names an inode that says the same, each directory counts what lies beneath it,
// each content has as many references as it says and is garbage exactly when it has none, each extent belongs to the content that has a
// run of it, placement and missing shards are those that the extents have, and nothing is left over. It returns the first
// contradictions, at most 20, as one error. It reads all rows and keeps some bytes for each: it is for a look at a drive and for tests.
func Check(view View) (Census, error) {
	c := checker{
		view: view, refs: map[uint64]uint64{}, owned: map[engine.ExtentID]uint64{}, holds: map[[2]uint64]uint64{}, inodes: map[[2]uint64]*inodeSeen{}, trash: map[string]bool{},
		detached: map[[2]uint64]bool{},
	}
	for _, f := range []func() error{c.trashRows, c.buckets, c.detachedRows, c.owners, c.nameless, c.links, c.xattrs, c.scattered, c.inodeRows, c.uploads, c.parts, c.contents, c.cursors, c.feeds, c.extents, c.placements, c.drives, c.leftOver} {
		if err := f(); err != nil {
			return c.census, err
		}
	}
	return c.census, errors.Join(c.problems...)
}

type checker struct {
	view     View
	census   Census
	problems []error
	refs     map[uint64]uint64          // found, by content
	owned    map[engine.ExtentID]uint64 // content that has a run of it
	holds    map[[2]uint64]uint64       // by bucket and inode
	inodes   map[[2]uint64]*inodeSeen   // by bucket and inode
	trash    map[string]bool            // keys without the first byte
	older    uint64                     // older versions of all entries
	detached map[[2]uint64]bool         // directories under trash, by bucket and inode
	apart    bool                       // what lies beneath one of them is being looked at
}

// inodeSeen is what the tree says of an inode.
type inodeSeen struct {
	entry     entryRow
	parent    uint64
	name      string
	links     uint64
	aggregate aggregateRow // of a directory, recounted
	linked    uint64       // rows of links
	stale     bool         // its entry is of a detached directory, and hears of no change
	xattrs    uint64
	longest   uint64 // of a directory: bytes of the longest names beneath
}

const problemsMax = 20

func (c *checker) problem(format string, args ...any) {
	if len(c.problems) < problemsMax {
		c.problems = append(c.problems, fmt.Errorf(format, args...))
	}
}

// rows calls f for all rows of a kind; key is without its first byte.
func (c *checker) rows(kind byte, f func(key, value []byte) error) error {
	return scan(c.view, []byte{kind}, nil, func(key, value []byte) (bool, error) {
		return true, f(key[1:], value)
	})
}

func (c *checker) trashRows() error {
	return c.rows(rowTrash, func(key, _ []byte) error {
		c.census.Trash++
		c.trash[string(key)] = true
		return nil
	})
}

func (c *checker) buckets() error {
	return c.rows(rowBucket, func(key, value []byte) error {
		c.census.Buckets++
		var b bucketRow
		if err := parse(key, value, &b); err != nil {
			return err
		}
		if b.lock.Enabled && (b.versioning != engine.VersioningEnabled || engine.CheckBucketLock(b.lock) != nil) {
			c.problem("bucket %q has locks %+v and versioning %d", b.name, b.lock, b.versioning)
		}
		id := binary.BigEndian.Uint64(key)
		root := &inodeSeen{entry: entryRow{kind: entryDirectory, inode: rootInode}, links: 1}
		c.inodes[[2]uint64{id, rootInode}] = root
		if err := c.directory(id, rootInode, &b, root); err != nil {
			return err
		}
		c.census.AggregateObjects += root.aggregate.objects
		c.census.AggregateBytes += root.aggregate.bytes
		c.census.Versions += root.aggregate.versions
		return nil
	})
}

// detachedRows goes through what is under trash: nothing but the row knows of the directory, and beneath it is what it says, without locks. The bucket
// may be gone.
func (c *checker) detachedRows() error {
	c.apart = true
	defer func() { c.apart = false }()
	return c.rows(rowDetached, func(key, value []byte) error {
		c.census.Detached++
		var r detachedRow
		if err := parse(key, value, &r); err != nil {
			return err
		}
		id := [2]uint64{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])}
		b := bucketRow{inode: math.MaxUint64, sequence: math.MaxUint64}
		has, err := load(c.view, key8(rowBucket, id[0]), &b)
		if err != nil {
			return err
		}
		if c.inodes[id] != nil || has && id[1] == rootInode {
			c.problem("bucket %d: directory %d is under trash and has a name", id[0], id[1])
			return nil
		}
		c.detached[id] = true
		seen := &inodeSeen{}
		first, err := c.beneath(id[0], id[1], &b, seen)
		if err != nil {
			return err
		}
		if r.versions != seen.aggregate.versions || seen.aggregate.locked > 0 || seen.aggregate.versions > 0 && first < r.name {
			c.problem("bucket %d: directory %d under trash says %+v; beneath it, from %q on, are %+v", id[0], id[1], r, first, seen.aggregate)
		}
		return nil
	})
}

// directory walks what lies beneath a directory, counts it, and holds the count against the directory's own.
func (c *checker) directory(bucket, inode uint64, b *bucketRow, seen *inodeSeen) error {
	c.census.Directories++
	if _, err := c.beneath(bucket, inode, b, seen); err != nil {
		return err
	}
	var r aggregateRow
	ok, err := load(c.view, key16(rowAggregate, bucket, inode), &r)
	if err != nil {
		return err
	}
	if longest := engine.KeyBytesMax - r.spare; longest < seen.longest {
		c.problem("bucket %d: directory %d says that names beneath have %d bytes at most; there are some with %d", bucket, inode, longest, seen.longest)
	}
	if r.spare, r.changed = 0, 0; !b.counted {
		r.older = max(r.older, seen.aggregate.older)
	}
	if r != seen.aggregate || !ok {
		c.problem("bucket %d: directory %d counts %+v; beneath it are %+v", bucket, inode, r, seen.aggregate)
	}
	if inode != rootInode && seen.aggregate.versions == 0 {
		c.problem("bucket %d: directory %d holds nothing", bucket, inode)
	}
	return nil
}

// beneath counts what lies beneath a directory, and returns the first name in it.
func (c *checker) beneath(bucket, inode uint64, b *bucketRow, seen *inodeSeen) (first string, err error) {
	var children []*inodeSeen
	entries := 0
	err = scan(c.view, key16(rowEntry, bucket, inode), nil, func(key, value []byte) (bool, error) {
		child := &inodeSeen{parent: inode, name: string(key[17:]), links: 1}
		if entries++; entries == 1 {
			first = child.name
		}
		if err := parse(key, value, &child.entry); err != nil {
			return false, err
		}
		if child.entry.kind == entryDirectory {
			children = append(children, child)
			return true, nil
		}
		held, err := c.object(bucket, b, child)
		if err != nil {
			return false, err
		}
		beneath, err := c.stack(bucket, inode, b, child)
		if err != nil {
			return false, err
		}
		seen.aggregate.locked += held + beneath.locked
		seen.aggregate.older += beneath.older
		if child.entry.kind == entryObject {
			seen.aggregate.objects++
			seen.aggregate.bytes += uint64(child.entry.size)
		}
		seen.aggregate.versions += 1 + child.entry.older
		seen.longest = max(seen.longest, uint64(len(child.name)))
		return true, nil
	})
	if err != nil {
		return first, err
	}
	for _, child := range children {
		if !strings.HasSuffix(child.name, "/") || c.inodes[[2]uint64{bucket, child.entry.inode}] != nil || child.entry.inode > b.inode {
			c.problem("bucket %d: directory %q of directory %d cannot be inode %d", bucket, child.name, inode, child.entry.inode)
			continue
		}
		c.inodes[[2]uint64{bucket, child.entry.inode}] = child
		if err := c.directory(bucket, child.entry.inode, b, child); err != nil {
			return first, err
		}
		seen.aggregate.objects += child.aggregate.objects
		seen.aggregate.bytes += child.aggregate.bytes
		seen.aggregate.older += child.aggregate.older
		seen.aggregate.versions += child.aggregate.versions
		seen.aggregate.locked += child.aggregate.locked
		seen.longest = max(seen.longest, uint64(len(child.name))+child.longest)
	}
	return first, nil
}

// stack goes through the older versions of an entry, and counts those with a lock, and the bytes of all.
func (c *checker) stack(bucket, directory uint64, b *bucketRow, top *inodeSeen) (beneath aggregateRow, err error) {
	count, null, last := uint64(0), engine.Sequence(0), top.entry.sequence
	err = scan(c.view, olderPrefix(engine.BucketID(bucket), directory, top.name), nil, func(key, value []byte) (bool, error) {
		older := &inodeSeen{parent: directory, name: top.name, links: 1}
		if err := parse(key, value, &older.entry); err != nil {
			return false, err
		}
		e := &older.entry
		if s := engine.Sequence(^binary.BigEndian.Uint64(key[len(key)-8:])); s != e.sequence || s >= last || e.older != 0 || e.nullOlder != 0 {
			c.problem("bucket %d: version %d of %q, after %d, says %+v", bucket, s, top.name, last, *e)
		}
		if !e.named && (null != 0 || !top.entry.named) {
			c.problem("bucket %d: %q has more than one null version", bucket, top.name)
		}
		if !e.named {
			null = e.sequence
		}
		count++
		last = e.sequence
		held, err := c.object(bucket, b, older)
		beneath.locked += held
		beneath.older += uint64(e.size)
		return true, err
	})
	c.older += count
	if count != top.entry.older || null != top.entry.nullOlder {
		c.problem("bucket %d: %q has %d older versions, the null one at %d; its entry says %+v", bucket, top.name, count, null, top.entry)
	}
	return beneath, err
}

// object notes a version, and returns 1 if it has a lock.
func (c *checker) object(bucket uint64, b *bucketRow, child *inodeSeen) (lock uint64, err error) {
	c.census.Objects++
	id := [2]uint64{bucket, child.entry.inode}
	switch {
	case strings.Contains(child.name, "/"):
		c.problem("bucket %d: object %q has a slash in its name", bucket, child.name)
	case child.entry.sequence > b.sequence || child.entry.inode > b.inode:
		c.problem("bucket %d: object %q has inode %d and sequence %d; the bucket is at %d and %d",
			bucket, child.name, child.entry.inode, child.entry.sequence, b.inode, b.sequence)
	}
	if child.entry.kind == entryMarker {
		return 0, nil
	}
	child.stale = c.apart
	var r inodeRow
	there, err := load(c.view, key16(rowInode, bucket, child.entry.inode), &r)
	if err != nil {
		return 0, err
	}
	if c.apart {
		elsewhere := r.links == 1 && r.parent != 0 && (r.parent != child.parent || r.name != child.name)
		if r.links > 1 {
			_, listed, err := c.view.Get(linkKey(engine.BucketID(bucket), child.entry.inode, child.parent, child.name))
			if err != nil {
				return 0, err
			}
			elsewhere = !listed
		}
		if !there || r.links == 0 || elsewhere {
			return 0, nil // it has another name by now, or its holders have let go of it
		}
	}
	if first := c.inodes[id]; first != nil {
		first.links++
		if e := child.entry; e != first.entry && !child.stale {
			c.problem("bucket %d: %q and %q are names of inode %d and do not say the same", bucket, first.name, child.name, id[1])
		}
		return 0, nil
	}
	c.inodes[id] = child
	if lock = uint64(locked(&r.Lock)); lock > 0 && !b.lock.Enabled {
		c.problem("bucket %d: a version of %q has a lock; the bucket has none", bucket, child.name)
	}
	return lock, nil
}

func (c *checker) inodeRows() error {
	found := 0
	err := c.rows(rowInode, func(key, value []byte) error {
		c.census.Inodes++
		id := [2]uint64{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])}
		var r inodeRow
		if err := parse(key, value, &r); err != nil {
			return err
		}
		seen := c.inodes[id]
		if seen == nil {
			c.problem("bucket %d: inode %d has no name", id[0], id[1])
			return nil
		}
		found++
		if r.holds != c.holds[id] {
			c.problem("bucket %d: inode %d says that %d owners hold it; %d do", id[0], id[1], r.holds, c.holds[id])
		}
		if r.links != seen.links {
			c.problem("bucket %d: inode %d has %d links; %d entries name it", id[0], id[1], r.links, seen.links)
		}
		if r.xattrs != seen.xattrs {
			c.problem("bucket %d: inode %d says %d extended attributes; %d are there", id[0], id[1], r.xattrs, seen.xattrs)
		}
		if several := r.kind == inodeFile && r.links > 1; several && seen.linked != r.links || !several && seen.linked != 0 {
			c.problem("bucket %d: inode %d has %d links; %d are listed", id[0], id[1], r.links, seen.linked)
		} else if !several && r.kind == inodeFile && r.parent != 0 && (r.parent != seen.parent || r.name != seen.name) {
			c.problem("bucket %d: inode %d says that it is %q of %d; the tree has %q of %d", id[0], id[1], r.name, r.parent, seen.name, seen.parent)
		}
		if r.kind == inodeDirectory {
			if seen.entry.kind != entryDirectory || r.parent != seen.parent || r.name != seen.name {
				c.problem("bucket %d: inode %d is directory %q of %d; the tree has %q of %d", id[0], id[1], r.name, r.parent, seen.name, seen.parent)
			}
			return nil
		}
		e := seen.entry
		if seen.stale {
			c.refer(r.content)
			return c.sized(r.content, r.size, "inode", id[1])
		}
		if e.kind != entryObject || e.size != r.size || e.stamp != r.stamp || e.sequence != r.sequence || e.etag != r.etag || e.class != r.class {
			c.problem("bucket %d: entry %q says %+v; its inode %d says otherwise", id[0], seen.name, e, id[1])
		}
		c.refer(r.content)
		return c.sized(r.content, r.size, "inode", id[1])
	})
	if err == nil && found != len(c.inodes) {
		c.problem("%d inodes are named and %d are there", len(c.inodes), found)
	}
	return err
}

// owners holds what owners have against what they say, and counts the holders of each file.
func (c *checker) owners() error {
	has, locked := map[[2]uint64]uint64{}, map[[3]uint64]bool{}
	err := c.rows(rowHeld, func(key, value []byte) error {
		c.census.Held++
		var h heldRow
		if err := parse(key, value, &h); err != nil {
			return err
		}
		bucket, owner, inode := binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:]), binary.BigEndian.Uint64(key[16:])
		has[[2]uint64{bucket, owner}]++
		if h.held {
			c.holds[[2]uint64{bucket, inode}]++
		}
		if h.locked {
			locked[[3]uint64{bucket, owner, inode}] = true
		}
		return nil
	})
	err = errors.Join(err, c.rows(rowOwner, func(key, value []byte) error {
		c.census.Owners++
		var r ownerRow
		if err := parse(key, value, &r); err != nil {
			return err
		}
		id := [2]uint64{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])}
		if r.has != has[id] && !r.closed && c.inodes[[2]uint64{id[0], rootInode}] != nil {
			c.problem("bucket %d: owner %d says that it has %d nodes; it has %d", id[0], id[1], r.has, has[id])
		}
		delete(has, id)
		return nil
	}))
	if len(has) > 0 {
		c.problem("rows are left of %d owners that are not there", len(has))
	}
	err = errors.Join(err, c.rows(rowLocks, func(key, value []byte) error {
		var r locksRow
		if err := parse(key, value, &r); err != nil {
			return err
		}
		bucket, inode := binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])
		for i := range r.locks {
			if !locked[[3]uint64{bucket, uint64(r.locks[i].Owner), inode}] {
				c.problem("bucket %d: inode %d has a lock of owner %d, who is not listed with it", bucket, inode, r.locks[i].Owner)
			}
		}
		return nil
	}))
	return err
}

// nameless notes files that somebody holds and that have no name.
func (c *checker) nameless() error {
	return c.rows(rowInode, func(key, value []byte) error {
		var r inodeRow
		if err := parse(key, value, &r); err != nil || r.kind != inodeFile || r.links > 0 {
			return err
		}
		c.census.Nameless++
		id := [2]uint64{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])}
		if c.inodes[id] != nil || r.holds == 0 {
			c.problem("bucket %d: inode %d has no links; it has a name: %v, and %d holders", id[0], id[1], c.inodes[id] != nil, r.holds)
			return nil
		}
		c.inodes[id] = &inodeSeen{entry: r.entry(id[1], &bucketRow{})}
		return nil
	})
}

// links holds the names that files with several have against the entries. Where the others went with directories, such a file may be an older version by now.
func (c *checker) links() error {
	return c.rows(rowLink, func(key, _ []byte) error {
		c.census.Links++
		bucket, inode, directory, name := engine.BucketID(binary.BigEndian.Uint64(key)), binary.BigEndian.Uint64(key[8:]), binary.BigEndian.Uint64(key[16:]), string(key[24:])
		var entry entryRow
		ok, err := load(c.view, entryKey(bucket, directory, name), &entry)
		seen := c.inodes[[2]uint64{uint64(bucket), inode}]
		if err == nil && ok && entry.inode != inode && seen != nil {
			ok, err = load(c.view, olderKey(bucket, directory, name, seen.entry.sequence), &entry)
		}
		switch {
		case err != nil:
			return err
		case !ok || entry.inode != inode || seen == nil:
			c.problem("bucket %d: %q of directory %d is listed as a name of inode %d, and is not", bucket, name, directory, inode)
		default:
			seen.linked++
		}
		return nil
	})
}

func (c *checker) xattrs() error {
	return c.rows(rowXattr, func(key, value []byte) error {
		c.census.Xattrs++
		seen := c.inodes[[2]uint64{binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])}]
		if seen == nil {
			c.problem("bucket %d: an extended attribute is left of inode %d", binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:]))
			return nil
		}
		seen.xattrs++
		return parse(key, value, new(xattrRow))
	})
}

// scattered says that each file which a keeper is to look at is there.
func (c *checker) scattered() error {
	return c.rows(rowScattered, func(key, _ []byte) error {
		c.census.Scattered++
		var r inodeRow
		ok, err := load(c.view, append([]byte{rowInode}, key...), &r)
		if err == nil && (!ok || r.kind != inodeFile) {
			c.problem("bucket %d: inode %d is said to lie in many pieces, and is no file", binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:]))
		}
		return err
	})
}

func (c *checker) refer(content uint64) {
	c.refs[content]++
	c.census.References++
}

// sized holds the size that a referrer gives against the content's.
func (c *checker) sized(content uint64, size int64, what string, id uint64) error {
	var r contentRow
	ok, err := load(c.view, key8(rowContent, content), &r)
	if err == nil && (!ok || r.size != size) {
		c.problem("%s %d has %d bytes; its content %d is there: %v, with %d bytes", what, id, size, content, ok, r.size)
	}
	return err
}

func (c *checker) uploads() error {
	return c.rows(rowUpload, func(key, value []byte) error {
		c.census.Uploads++
		var r uploadRow
		if err := parse(key, value, &r); err != nil {
			return err
		}
		_, id, err := splitUploadKey(key[8:])
		if err != nil {
			return err
		}
		bucket := binary.BigEndian.Uint64(key)
		if c.inodes[[2]uint64{bucket, rootInode}] == nil && !c.trash[string(key[:8])] {
			c.problem("upload %x lies in bucket %d, which is not there", id, bucket)
		}
		c.trash["upload"+string(key[:8])+id] = true
		return nil
	})
}

func (c *checker) parts() error {
	return c.rows(rowPart, func(key, value []byte) error {
		c.census.Parts++
		var r partRow
		if err := parse(key, value, &r); err != nil {
			return err
		}
		upload := string(key[:len(key)-2])
		if !c.trash["upload"+upload] && !c.trash[upload] {
			c.problem("part %x is of no upload", key)
		}
		c.refer(r.content)
		return c.sized(r.content, r.size, "part", uint64(binary.BigEndian.Uint16(key[len(key)-2:])))
	})
}

func (c *checker) contents() error {
	last := uint64(0)
	if value, ok, err := c.view.Get([]byte{rowGroup, 0, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		return err
	} else if ok {
		var r groupRow
		if err := parse([]byte{rowGroup}, value, &r); err != nil {
			return err
		}
		last = r.content
	}
	rows := map[uint64]contentRow{}
	err := c.rows(rowContent, func(key, value []byte) error {
		c.census.Contents++
		id := binary.BigEndian.Uint64(key)
		var r contentRow
		if err := parse(key, value, &r); err != nil {
			return err
		}
		if id > last {
			c.problem("content %d is beyond the last one given, %d", id, last)
		}
		if r.staged != 0 {
			c.refer(id)
			if _, ok, err := c.view.Get(key16(rowStaged, r.staged, id)); err != nil || !ok {
				c.problem("content %d is staged, and not listed (%v)", id, err)
			}
		}
		r.data = nil
		if err := c.content(id, &r); err != nil {
			return err
		}
		rows[id] = r
		return nil
	})
	if err != nil {
		return err
	}
	garbage := map[uint64]bool{}
	if err := c.rows(rowGarbage, func(key, _ []byte) error {
		c.census.Garbage++
		garbage[binary.BigEndian.Uint64(key[8:])] = true
		return nil
	}); err != nil {
		return err
	}
	for id, r := range rows {
		if r.refs != c.refs[id] || garbage[id] != (r.refs == 0) {
			c.problem("content %d says %d references; %d are there; it is garbage: %v", id, r.refs, c.refs[id], garbage[id])
		}
		delete(c.refs, id)
		delete(garbage, id)
	}
	if len(c.refs)+len(garbage) > 0 {
		c.problem("contents that are not there are referred to: %v, garbage: %v", c.refs, garbage)
	}
	return nil
}

// content goes through the runs of a content.
func (c *checker) content(id uint64, r *contentRow) error {
	runs, end := r.runs, int64(0)
	if !r.inline && len(runs) == 0 && r.count > 0 {
		if err := scan(c.view, key8(rowRun, id), nil, func(key, value []byte) (bool, error) {
			run, err := parseRun(value)
			runs, end = append(runs, run), end+run.Length
			if at := int64(binary.BigEndian.Uint64(key[9:])); r.ends && r.refs > 0 && at != end {
				c.problem("content %d has a run that ends at %d and is keyed %d", id, end, at)
			}
			return true, err
		}); err != nil {
			return err
		}
	}
	c.census.Runs += len(runs)
	if !r.inline && len(runs) != r.count {
		c.problem("content %d has %d runs and says %d", id, len(runs), r.count)
	}
	var size int64
	for _, run := range runs {
		size += run.Length
		switch {
		case run.Content == id:
			c.problem("content %d has a run of itself", id)
		case run.Content != 0:
			c.refer(run.Content)
		case run.Hole():
		case r.ends:
			c.problem("content %d, which patches change, has extent %v itself", id, run.Extent)
		case c.owned[run.Extent] != 0 && c.owned[run.Extent] != id:
			c.problem("extent %v has runs in contents %d and %d", run.Extent, c.owned[run.Extent], id)
		default:
			c.owned[run.Extent] = id
		}
	}
	if !r.inline && r.refs > 0 && size != r.size {
		c.problem("content %d has %d bytes; its runs have %d", id, r.size, size)
	}
	return nil
}

// cursors holds what buckets say of their cursors against these.
func (c *checker) cursors() error {
	cursors, followed := map[uint64]uint64{}, map[uint64]uint64{}
	err := c.rows(rowCursor, func(key, value []byte) error {
		c.census.Cursors++
		var r cursorRow
		if err := parse(key, value, &r); err != nil {
			return err
		}
		id := binary.BigEndian.Uint64(key)
		var b bucketRow
		if ok, err := load(c.view, key8(rowBucket, id), &b); err != nil {
			return err
		} else if !ok || r.position > b.sequence {
			c.problem("bucket %d: the cursor %q is at change %d; the bucket is there: %v, at %d", id, key[8:], r.position, ok, b.sequence)
		}
		cursors[id]++
		if !r.lost {
			followed[id]++
		}
		return nil
	})
	return errors.Join(err, c.rows(rowBucket, func(key, value []byte) error {
		var b bucketRow
		err := parse(key, value, &b)
		if id := binary.BigEndian.Uint64(key); b.cursors != cursors[id] || b.followed != followed[id] {
			c.problem("bucket %d says that it has %d cursors, and %d that are not lost; it has %d and %d", id, b.cursors, b.followed, cursors[id], followed[id])
		}
		return err
	}))
}

// feeds looks whether every change that a cursor waits for is noted, and that nothing is noted of a bucket that is gone.
func (c *checker) feeds() error {
	err := c.rows(rowFeed, func(key, value []byte) error {
		c.census.Changes++
		if c.inodes[[2]uint64{binary.BigEndian.Uint64(key), rootInode}] == nil && !c.trash[string(key[:8])] {
			c.problem("change %d is left of bucket %d", binary.BigEndian.Uint64(key[8:]), binary.BigEndian.Uint64(key))
		}
		return parse(key, value, new(changeRow))
	})
	return errors.Join(err, c.rows(rowBucket, func(key, value []byte) error {
		var b bucketRow
		if err := parse(key, value, &b); err != nil {
			return err
		}
		id := engine.BucketID(binary.BigEndian.Uint64(key))
		next := b.sequence + 1
		if position, ok, err := slowest(c.view, id); err != nil {
			return err
		} else if ok {
			next = position + 1
		}
		err := eachChange(c.view, id, next-1, func(s engine.Sequence, _ *changeRow) (bool, error) {
			if s != next {
				c.problem("bucket %d: change %d is noted where %d should be", id, s, next)
			}
			next = s + 1
			return true, nil
		})
		if next != b.sequence+1 {
			c.problem("bucket %d: the last change that is noted is %d; the bucket is at %d", id, next-1, b.sequence)
		}
		return err
	}))
}

func (c *checker) extents() error {
	err := c.rows(rowExtent, func(key, value []byte) error {
		c.census.Extents++
		d := decoder{b: key}
		x := Extent{ID: d.extent()}
		if err := parse(key, value, &x); err != nil {
			return err
		}
		if c.owned[x.ID] != x.Content {
			c.problem("extent %v says that content %d owns it; content %d has the run", x.ID, x.Content, c.owned[x.ID])
		}
		delete(c.owned, x.ID)
		for i, drive := range x.Drives {
			c.census.Shards++
			value, _, err := c.view.Get(placementKey(drive, x.ID))
			if err != nil {
				return err
			}
			var placed placementRow
			if err := parse(placementKey(drive, x.ID), value, &placed); err != nil || placed.index != byte(i) {
				c.problem("shard %d of extent %v is not placed on drive %d", i, x.ID, drive)
			}
		}
		_, listed, err := c.view.Get(missingKey(x.slack(), x.ID))
		if err == nil && listed != (x.Missing != 0) {
			c.problem("extent %v misses shards %b; it is listed so: %v", x.ID, x.Missing, listed)
		}
		if listed {
			c.census.MissingExtents++
		}
		return err
	})
	if err == nil && len(c.owned) > 0 {
		c.problem("%d extents have runs and are not there", len(c.owned))
	}
	return err
}

func (c *checker) placements() error {
	placed := 0
	if err := c.rows(rowPlacement, func(_, _ []byte) error { placed++; return nil }); err != nil {
		return err
	}
	if placed != c.census.Shards {
		c.problem("%d shards are placed; the extents have %d", placed, c.census.Shards)
	}
	missing := 0
	if err := c.rows(rowMissing, func(_, _ []byte) error { missing++; return nil }); err != nil {
		return err
	}
	if missing != c.census.MissingExtents {
		c.problem("%d extents are listed for repair; %d miss shards", missing, c.census.MissingExtents)
	}
	return nil
}

// drives goes through what the group says of drives.
func (c *checker) drives() error {
	return c.rows(rowDrive, func(key, value []byte) error {
		var r driveRow
		if err := parse(key, value, &r); err != nil {
			return err
		}
		id := binary.BigEndian.Uint64(key)
		if r.gone && (!r.out || r.leaving) || r.heir != 0 && !r.leaving || r.heir == engine.DriveID(id) && r.heir != 0 {
			c.problem("drive %d cannot be %+v", id, r)
		}
		return nil
	})
}

// leftOver goes through what belongs to open epochs only, and looks for rows whose owner is gone.
func (c *checker) leftOver() error {
	open := map[uint64]bool{}
	if err := c.rows(rowEpoch, func(key, value []byte) error {
		c.census.Epochs++
		var r epochRow
		open[binary.BigEndian.Uint64(key)] = true
		if err := parse(key, value, &r); err != nil || r.closed {
			delete(open, binary.BigEndian.Uint64(key))
			return err
		}
		return nil
	}); err != nil {
		return err
	}
	of := func(what string, count *int, epoch func(key []byte) uint64) func(key, _ []byte) error {
		return func(key, _ []byte) error {
			*count++
			if e := epoch(key); !open[e] && e != 0 {
				c.problem("%s %x is of epoch %d, which is closed", what, key, e)
			}
			return nil
		}
	}
	first := func(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
	err := errors.Join(
		c.rows(rowAnswer, of("answer", &c.census.Answers, first)),
		c.rows(rowStaged, of("staged content", &c.census.Staged, first)),
		c.rows(rowCondemned, of("condemned extent", &c.census.Condemned, func(key []byte) uint64 {
			d := decoder{b: key}
			return d.extent().Epoch
		})),
	)
	runs, aggregates, older := 0, 0, uint64(0)
	err = errors.Join(err,
		c.rows(rowRun, func(key, _ []byte) error {
			if _, ok, err := c.view.Get(key8(rowContent, first(key))); err != nil || !ok {
				c.problem("a run is left of content %d (%v)", first(key), err)
			}
			runs++
			return nil
		}),
		c.rows(rowAggregate, func(_, _ []byte) error { aggregates++; return nil }),
		c.rows(rowOlder, func(_, _ []byte) error { older++; return nil }),
		c.rows(rowDocument, func(key, _ []byte) error {
			c.census.Documents++
			if c.inodes[[2]uint64{first(key), rootInode}] == nil {
				c.problem("a document %q is left of bucket %d", key[8:], first(key))
			}
			return nil
		}),
		c.rows(rowEntry, func(key, _ []byte) error {
			if id := [2]uint64{first(key), first(key[8:])}; c.inodes[id] == nil && !c.detached[id] {
				c.problem("an entry %q is left of directory %d of bucket %d", key[16:], first(key[8:]), first(key))
			}
			return nil
		}),
	)
	if older != c.older {
		c.problem("%d older versions are there; the entries have %d", older, c.older)
	}
	if aggregates != c.census.Directories {
		c.problem("%d directories are counted; %d are there", aggregates, c.census.Directories)
	}
	return err
}
