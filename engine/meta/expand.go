package meta

import (
	"slices"
	"strings"

	"holdfast/engine"
)

// What lay beneath a directory when a change was made is what lies there now, with all later changes undone. A change touches slots, names in
// directories that are known by their numbers, and its row says what was there before: so of each slot the first later change that touches it tells
// what was in it. Numbers of directories are never given again, and one that was removed keeps its entries until every cursor has passed that, so
// that a directory which a row names can be walked into whatever has become of it. Directories that a change made on its way to a key are left in
// their slots: they are empty at that time.

// slot is a name in a directory.
type slot struct {
	directory uint64
	name      string
}

// was is what a slot had: a directory, an object or a marker, or nothing.
type was struct {
	directory uint64
	entry     changedEntry
}

// undoing collects what later changes replaced beneath some directories.
type undoing struct {
	slots  map[slot]was
	nodes  map[uint64]changedEntry // files whose content changed under all their names at once
	within map[uint64]bool         // directories that matter: those asked for, and those that lay beneath one when a change came
	names  map[uint64][]string     // of slots by directory, in order
	later  int                     // changes that matter
}

// enter notes which directories on a path lie beneath one that matters, and what the slots of them have. It reports whether the innermost one matters.
func (u *undoing) enter(names []string, above []uint64) bool {
	matters := false
	for i, id := range above {
		if matters {
			u.touch(above[i-1], names[i], was{directory: id}) // it matters then, too
		}
		matters = matters || u.within[id]
	}
	return matters
}

// touch notes what a slot had, unless an earlier change did.
func (u *undoing) touch(directory uint64, name string, before was) {
	if !u.within[directory] {
		return
	}
	if before.directory != 0 {
		u.within[before.directory] = true
	}
	if s := (slot{directory, name}); !u.has(s) {
		before.entry = u.atFirst(before.entry)
		u.slots[s] = before
	}
}

// atFirst undoes the changes of content that a file had until now, under whatever name. Those that come after a name was touched are no matter of what it had, nor are
// any of a name that went with a directory: that has heard of none since.
func (u *undoing) atFirst(entry changedEntry) changedEntry {
	if first, ok := u.nodes[entry.inode]; ok && entry.kind == entryObject && first.sequence < entry.sequence {
		return first
	}
	return entry
}

func (u *undoing) has(s slot) bool {
	_, ok := u.slots[s]
	return ok
}

// at is a name in a directory, by the key that a row has.
type at struct {
	names []string // of the directories above
	above []uint64 // their inodes
	in    uint64   // the innermost
	name  string   // with "/" if it is a directory
}

func place(key string, above []uint64, directory bool) at {
	p := at{above: above, in: rootInode}
	if p.names, p.name = splitKey(key); directory {
		last := len(p.names) - 1
		p.names, p.name = p.names[:last], p.names[last]
	}
	if len(above) > 0 {
		p.in = above[len(above)-1]
	}
	return p
}

// undo takes up a change; the rows come in their order.
func (u *undoing) undo(r *changeRow) {
	switch r.kind {
	case engine.ChangeTags, engine.ChangeLock, engine.ChangeAttributes, engine.ChangeTemporary, engine.ChangeDocument, engine.ChangeBucketLock, engine.ChangeVersioning:
		return
	}
	if r.kind == engine.ChangePatched && r.key == "" {
		return // it has no name
	}
	to := place(r.key, r.above, r.directory)
	matters := u.enter(to.names, to.above)
	switch r.kind {
	case engine.ChangeRenamed:
		from := place(r.from, r.aboveFrom, false)
		matters = u.enter(from.names, from.above) || matters
		u.touch(from.in, from.name, was{entry: r.version})
		u.touch(to.in, to.name, was{entry: r.replaced})
	case engine.ChangeDirectoryRenamed:
		from := place(r.from, r.aboveFrom, true)
		matters = u.enter(from.names, from.above) || matters
		u.touch(from.in, from.name, was{directory: r.node})
		u.touch(to.in, to.name, was{directory: r.target})
		if r.target != 0 {
			u.touch(r.target, "", was{entry: r.replaced})
		}
	case engine.ChangeDirectoryRemoved:
		u.touch(to.in, to.name, was{directory: r.node})
	case engine.ChangeExchanged:
		from := place(r.from, r.aboveFrom, r.directory)
		matters = u.enter(from.names, from.above) || matters
		u.swap(from, r.directory, r.other, was{directory: r.node, entry: r.version})
		u.swap(to, r.other, r.directory, was{directory: r.target, entry: r.replaced})
	case engine.ChangePatched:
		if !r.inPlace {
			u.touch(to.in, to.name, was{entry: r.replaced})
		} else if _, known := u.nodes[r.node]; !known && (matters || r.names > 1) {
			u.nodes[r.node], matters = r.replaced, true
		}
	default:
		u.touch(to.in, to.name, was{entry: r.replaced})
	}
	if matters {
		u.later++
	}
}

// swap notes what was at one place of an exchange: a directory or not, and whether there is one now.
func (u *undoing) swap(p at, directory, now bool, before was) {
	name := strings.TrimSuffix(p.name, "/")
	if directory {
		before.entry = changedEntry{}
		u.touch(p.in, name+"/", before)
	} else {
		before.directory = 0
		u.touch(p.in, name, before)
	}
	if directory != now {
		if now {
			name += "/"
		}
		u.touch(p.in, name, was{})
	}
}

// list sorts the names that are known of slots.
func (u *undoing) list() {
	u.names = map[uint64][]string{}
	for s := range u.slots {
		u.names[s.directory] = append(u.names[s.directory], s.name)
	}
	for _, names := range u.names {
		slices.Sort(names)
	}
}

// expanding is a page in the making.
type expanding struct {
	*undoing
	view   View
	bucket engine.BucketID
	after  string
	max    int
	page   engine.ExpandPage
}

// Expand returns a page of what lay beneath the directory of a change when it was made, see engine.Feed.
func Expand(view View, bucket engine.BucketID, name string, change engine.Sequence, after engine.Key, max int) (page engine.ExpandPage, err error) {
	_, r, err := loadCursor(view, bucket, name)
	if err != nil {
		return page, err
	}
	switch {
	case r.lost:
		return page, engine.E(engine.KindRescan, "%s", lostText(name))
	case change <= r.position:
		return page, engine.E(engine.KindInvalidArgument, "the cursor %q has passed change %d; it is at %d", name, change, r.position)
	}
	var row changeRow
	if ok, err := load(view, feedKey(bucket, change), &row); err != nil {
		return page, err
	} else if !ok {
		return page, engine.E(engine.KindInvalidArgument, "the bucket has no change %d yet", change)
	}
	described := row.change(change)
	if !described.Expands() {
		return page, engine.E(engine.KindInvalidArgument, "the change %d is %q, which is about no whole directory", change, row.kind)
	}
	x := expanding{view: view, bucket: bucket, after: string(after), max: max}
	x.undoing = &undoing{slots: map[slot]was{}, nodes: map[uint64]changedEntry{}, within: map[uint64]bool{}}
	type tree struct {
		id     uint64
		prefix string
	}
	var trees []tree
	if row.directory {
		trees = append(trees, tree{row.node, row.key})
	}
	if row.other {
		trees = append(trees, tree{row.target, string(described.Moves()[1].To)})
	}
	slices.SortFunc(trees, func(a, b tree) int { return strings.Compare(a.prefix, b.prefix) })
	for _, t := range trees {
		x.within[t.id] = true
	}
	err = eachChange(view, bucket, change, func(_ engine.Sequence, later *changeRow) (bool, error) {
		x.undo(later)
		if x.later > engine.UndoneMax {
			return false, engine.E(engine.KindRescan, "more than %d changes beneath %q came after change %d; list the bucket anew", engine.UndoneMax, row.key, change)
		}
		return true, nil
	})
	if err != nil {
		return page, err
	}
	x.list()
	for _, t := range trees {
		if more, err := x.directory(t.id, t.prefix); err != nil || !more {
			return x.page, err
		}
	}
	return x.page, nil
}

// directory lists what lay beneath one; it returns false when the page is full.
func (x *expanding) directory(id uint64, prefix string) (more bool, err error) {
	from := ""
	if rest, ok := strings.CutPrefix(x.after, prefix); ok {
		if from = rest; strings.Contains(rest, "/") {
			from = rest[:strings.IndexByte(rest, '/')+1]
		}
	} else if prefix < x.after {
		return true, nil // all of it is before
	}
	names := x.names[id]
	at, _ := slices.BinarySearch(names, from)
	names, more = names[at:], true
	err = scan(x.view, key16(rowEntry, uint64(x.bucket), id), []byte(from), func(key, value []byte) (bool, error) {
		name := string(key[17:])
		for more && len(names) > 0 && names[0] < name {
			if more, err = x.slot(id, prefix, names[0]); err != nil {
				return false, err
			}
			names = names[1:]
		}
		if !more || len(names) > 0 && names[0] == name {
			return more, nil // what was there is told by the slot
		}
		var entry entryRow
		if err := parse(key, value, &entry); err != nil {
			return false, err
		}
		before := was{entry: x.atFirst(changedOf(&entry))}
		if entry.kind == entryDirectory {
			before = was{directory: entry.inode}
		}
		more, err = x.entry(prefix, name, &before)
		return more, err
	})
	for err == nil && more && len(names) > 0 {
		more, err = x.slot(id, prefix, names[0])
		names = names[1:]
	}
	return more, err
}

func (x *expanding) slot(directory uint64, prefix, name string) (more bool, err error) {
	before := x.slots[slot{directory, name}]
	return x.entry(prefix, name, &before)
}

// entry puts what was under a name on the page.
func (x *expanding) entry(prefix, name string, before *was) (more bool, err error) {
	if before.directory != 0 {
		return x.directory(before.directory, prefix+name)
	}
	key := engine.Key(prefix + name)
	if before.entry.kind != entryObject || string(key) <= x.after {
		return true, nil
	}
	if x.page.Truncated = len(x.page.Keys) == x.max; x.page.Truncated {
		return false, nil
	}
	x.page.Keys = append(x.page.Keys, engine.ExpandedKey{Key: key, Node: engine.NodeID(before.entry.inode), Version: before.entry.version()})
	return true, nil
}
