package memory

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"slices"
	"strings"

	"holdfast/engine"
)

// directory is a prefix beneath which a version lies, or the root. It is shown while a current one does.
type directory struct {
	node
	stacks int // keys beneath that have versions
	live   int // those whose current version is no delete marker
}

// shows reports whether there is a directory with a prefix. That of the root is always there.
func (b *bucket) shows(prefix string) bool { return prefix == "" || b.directories[prefix].live > 0 }

// setDirectory puts a directory in the place of the one that a prefix has, if any; one with the number 0 takes it away.
func (b *bucket) setDirectory(prefix string, d directory) {
	if before, ok := b.directories[prefix]; ok && b.prefixes[before.id] == prefix {
		delete(b.prefixes, before.id)
	}
	if d.id == 0 {
		delete(b.directories, prefix)
		return
	}
	b.directories[prefix], b.prefixes[d.id] = d, prefix
}

// number notes which versions a key has no more, and which it has now, under their numbers.
func (b *bucket) number(key engine.Key, before, after []*object) {
	for len(before) > 0 && len(after) > 0 && before[len(before)-1] == after[len(after)-1] {
		before, after = before[:len(before)-1], after[:len(after)-1]
	}
	if slices.EqualFunc(before, after, func(a, b *object) bool { return a.node.id == b.node.id }) {
		return
	}
	for _, o := range before {
		keys := slices.DeleteFunc(slices.Clone(b.keys[o.node.id]), func(k engine.Key) bool { return k == key })
		if b.keys[o.node.id] = keys; len(keys) == 0 {
			delete(b.keys, o.node.id)
			if b.holding(o.node.id) {
				b.nameless[o.node.id] = o
			}
		}
	}
	for _, o := range after {
		if id := o.node.id; id != 0 {
			b.keys[id] = append(slices.Clip(b.keys[id]), key)
			delete(b.nameless, id)
		}
	}
}

// count notes in the directories above a key what came or went, and makes and forgets them.
func (b *bucket) count(key engine.Key, before, after []*object) {
	stacksBefore, liveBefore := counted(before)
	stacks, live := counted(after)
	if stacks, live = stacks-stacksBefore, live-liveBefore; stacks == 0 && live == 0 {
		return
	}
	came := live != 0 // or went: a name in the directory that is looked at
	for i := len(key) - 1; i >= -1; i-- {
		if i >= 0 && key[i] != '/' {
			continue
		}
		prefix := string(key[:i+1])
		d, ok := b.directories[prefix]
		if !ok {
			b.lastNode++
			d.node = newNode(b.lastNode, b.last)
		}
		if came {
			d.modified, d.changed = b.last, b.last
		}
		shown := d.live > 0
		d.stacks, d.live = d.stacks+stacks, d.live+live
		if came = shown != (d.live > 0); d.stacks == 0 && prefix != "" {
			d = directory{}
		}
		b.setDirectory(prefix, d)
	}
}

// counted says for the versions of a key what they add to the counters of a directory.
func counted(versions []*object) (stacks, live int) {
	if len(versions) == 0 {
		return 0, 0
	}
	if versions[0].info.Marker {
		return 1, 0
	}
	return 1, 1
}

// entry is what a directory shows under a name: a file, which has the object, a directory, or nothing.
type entry struct {
	key       engine.Key // without "/" at its end
	object    *object
	directory bool
}

func (n entry) there() bool    { return n.directory || n.object != nil }
func (n entry) prefix() string { return string(n.key) + "/" }

// entry finds what a directory shows under a name.
func (b *bucket) entry(prefix, name string) entry {
	n := entry{key: engine.Key(prefix + name)}
	if n.directory = b.shows(n.prefix()); !n.directory {
		n.object = b.object(n.key)
	}
	return n
}

func (b *bucket) entryInfo(n entry) engine.FileInfo {
	if n.directory {
		return b.directories[n.prefix()].info()
	}
	return b.fileInfo(n.object)
}

// directory finds the prefix of a directory.
func (b *bucket) directory(id engine.NodeID) (string, error) {
	key, o, err := b.node(id)
	if err == nil && o != nil {
		err = engine.E(engine.KindNotDirectory, "%q is no directory", key)
	}
	return key, err
}

// place finds what a directory shows under a name. The caller holds the lock.
func (e *Engine) place(ctx context.Context, at engine.Place) (b *bucket, n entry, err error) {
	if err := ready(ctx, at.Bucket); err != nil {
		return nil, n, err
	}
	if err := engine.CheckFileName(at.Name); err != nil {
		return nil, n, err
	}
	if b, err = e.find(at.Bucket); err != nil {
		return nil, n, err
	}
	prefix, err := b.directory(at.Directory)
	if err != nil {
		return nil, n, err
	}
	n = b.entry(prefix, at.Name)
	return b, n, checkLength(string(n.key))
}

func checkLength(key string) error {
	if len(key) > engine.KeyBytesMax {
		return engine.E(engine.KindKeyTooLong, "the key would have %d bytes; at most %d are allowed", len(key), engine.KeyBytesMax)
	}
	return nil
}

// absent is the error for a name that is not there.
func absent(n entry) error {
	return engine.E(engine.KindNoSuchKey, "there is no file or directory %q", string(n.key))
}

// taken is the error for a name that is there.
func taken(n entry) error { return engine.E(engine.KindExists, "%q is there already", string(n.key)) }

// wrapPlace is engine.Wrap for an operation on a name.
func wrapPlace(op string, at engine.Place, err error) error {
	return engine.Wrap(op, engine.Ref{Bucket: at.Bucket, Key: engine.Key(at.Name)}, err)
}

// Lookup finds what a directory has under a name.
func (e *Engine) Lookup(ctx context.Context, at engine.Place, version engine.VersionID) (engine.FileInfo, error) {
	info, err := e.lookup(ctx, at, version)
	return info, wrapPlace("look up", at, err)
}

func (e *Engine) lookup(ctx context.Context, at engine.Place, version engine.VersionID) (info engine.FileInfo, err error) {
	if err := engine.CheckVersion(version); err != nil {
		return info, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, n, err := e.place(ctx, at)
	switch {
	case err != nil:
		return info, err
	case version != "":
		o := b.version(engine.Ref{Key: n.key, Version: version})
		if n.directory || o == nil || o.info.Marker {
			return info, engine.E(engine.KindNoSuchVersion, "there is no version %q of a file %q", string(version), string(n.key))
		}
		return b.fileInfo(o), nil
	case !n.there():
		return info, absent(n)
	}
	return b.entryInfo(n), nil
}

// ListDirectory returns a page of what a directory has.
func (e *Engine) ListDirectory(ctx context.Context, f engine.File, o engine.ListDirectoryOptions) (engine.DirectoryPage, error) {
	p, err := e.listDirectory(ctx, f, o)
	return p, wrapFile("list directory", f, err)
}

func (e *Engine) listDirectory(ctx context.Context, f engine.File, o engine.ListDirectoryOptions) (p engine.DirectoryPage, err error) {
	limit, err := page(o.Max)
	if err == nil {
		err = ready(ctx, f.Bucket)
	}
	if err != nil {
		return p, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, err := e.find(f.Bucket)
	if err != nil {
		return p, err
	}
	prefix, err := b.directory(f.Node)
	if err != nil {
		return p, err
	}
	last := o.After
	b.stacks.AscendGreaterOrEqual(&stack{key: engine.Key(prefix + o.After)}, func(s *stack) bool {
		if !strings.HasPrefix(string(s.key), prefix) {
			return false
		}
		name, _, directory := strings.Cut(string(s.key)[len(prefix):], "/")
		component := name
		if directory {
			component += "/"
		}
		n := b.entry(prefix, name)
		if component <= last || engine.HiddenName(name) || !n.there() || n.directory != directory {
			return true
		}
		if p.Truncated = len(p.Entries) == limit; p.Truncated {
			return false
		}
		p.Entries, p.Last, last = append(p.Entries, engine.DirectoryEntry{Name: name, Info: b.entryInfo(n)}), component, component
		return true
	})
	return p, nil
}

// MakeFile makes an empty file, a directory, or another node.
func (e *Engine) MakeFile(ctx context.Context, at engine.Place, o engine.MakeFileOptions) (engine.FileInfo, error) {
	info, err := e.makeFile(ctx, at, o)
	return info, wrapPlace("make file", at, err)
}

func (e *Engine) makeFile(ctx context.Context, at engine.Place, o engine.MakeFileOptions) (info engine.FileInfo, err error) {
	if err := engine.CheckMakeFile(o); err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, n, err := e.place(ctx, at)
	if err != nil {
		return info, err
	}
	if n.there() {
		return info, taken(n)
	}
	made := node{kind: o.Type, attributes: o.Attributes}
	made.attributes.Set = o.Attributes.Set || o.Attributes.Mode != 0 || o.Attributes.UID != 0 || o.Attributes.GID != 0
	lock, err := e.newLock(b, engine.Lock{})
	if err != nil {
		return info, err
	}
	sum := md5.Sum([]byte(o.Target))
	file := &object{
		info: engine.ObjectInfo{
			Lock: lock, Size: int64(len(o.Target)), ETag: engine.ETag(hex.EncodeToString(sum[:])), Class: class(o.Class),
		},
		content: whole([]byte(o.Target)), node: made,
	}
	key := n.key
	if o.Type == engine.TypeDirectory {
		if err := checkLength(n.prefix()); err != nil {
			return info, err
		}
		key = engine.Key(n.prefix())
	}
	if err := b.fitsPush(key, file.info.Size); err != nil {
		return info, err
	}
	if o.Type != engine.TypeDirectory {
		e.push(b, n.key, file)
		return b.fileInfo(file), nil
	}
	file.node, file.info.Class = node{}, engine.ClassStandard // the object in the directory is one as any other
	e.pushAs(b, engine.ChangeDirectoryMade, engine.Key(n.prefix()), file)
	d := b.directories[n.prefix()]
	d.attributes = made.attributes
	b.setDirectory(n.prefix(), d)
	return d.info(), nil
}

// LinkFile gives a file one more name.
func (e *Engine) LinkFile(ctx context.Context, f engine.File, at engine.Place) (engine.FileInfo, error) {
	info, err := e.linkFile(ctx, f, at)
	return info, wrapPlace("link file", at, err)
}

func (e *Engine) linkFile(ctx context.Context, f engine.File, at engine.Place) (info engine.FileInfo, err error) {
	if f.Bucket != at.Bucket {
		return info, engine.E(engine.KindInvalidArgument, "all names of a file are in one bucket")
	}
	if err := engine.CheckFileName(at.Name); err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, _, o, err := e.see(ctx, f)
	switch {
	case err != nil:
		return info, err
	case o == nil:
		return info, engine.E(engine.KindIsDirectory, "a directory has one name")
	case b.versioning != engine.VersioningOff && b.nameless[f.Node] == nil:
		return info, engine.E(engine.KindBucketState, "the bucket keeps versions; a file in it has one name")
	}
	if err := b.changeable(o); err != nil {
		return info, err
	}
	_, n, err := e.place(ctx, at)
	switch {
	case err != nil:
		return info, err
	case n.there():
		return info, taken(n)
	case len(b.keys[f.Node]) >= engine.LinksMax:
		return info, engine.E(engine.KindTooManyLinks, "the file has %d names, as many as it may have", len(b.keys[f.Node]))
	}
	if b.nameless[f.Node] != nil {
		return e.nameFile(b, o, n)
	}
	if err := b.fitsPush(n.key, o.info.Size); err != nil {
		return info, err
	}
	change := e.raise(b, engine.ChangeLinked, n.key)
	linked := *o
	linked.node.changed, linked.info.Key, linked.token = e.stamp(b), n.key, ""
	b.change(o, func(o *object) { o.node = linked.node })
	b.setVersions(n.key, []*object{&linked})
	change.done(nil)
	return b.fileInfo(&linked), nil
}

// RemoveFile takes a name away.
func (e *Engine) RemoveFile(ctx context.Context, at engine.Place, o engine.RemoveFileOptions) error {
	return wrapPlace("remove file", at, e.removeFile(ctx, at, o))
}

func (e *Engine) removeFile(ctx context.Context, at engine.Place, o engine.RemoveFileOptions) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, n, err := e.place(ctx, at)
	switch {
	case err != nil:
		return err
	case !n.there():
		return absent(n)
	case n.directory && !o.Directory:
		return engine.E(engine.KindIsDirectory, "%q is a directory", string(n.key))
	case !n.directory && o.Directory:
		return engine.E(engine.KindNotDirectory, "%q is no directory", string(n.key))
	case !n.directory:
		e.removeCurrent(b, n.key)
	case b.directories[n.prefix()].live > 1 || b.object(engine.Key(n.prefix())) == nil:
		return engine.E(engine.KindNotEmpty, "the directory %q is not empty", string(n.key))
	default:
		e.removeCurrent(b, engine.Key(n.prefix()))
	}
	return nil
}

// removeCurrent does to the object of a key what a Delete without a version does.
func (e *Engine) removeCurrent(b *bucket, key engine.Key) {
	if b.versioning != engine.VersioningOff {
		e.push(b, key, &object{info: engine.ObjectInfo{Marker: true}})
		return
	}
	n, before := e.raise(b, engine.ChangeDeleted, key), b.object(key)
	e.stamp(b)
	b.setVersions(key, nil)
	n.done(before)
}

// MoveFile gives what a name names another name.
func (e *Engine) MoveFile(ctx context.Context, from, to engine.Place, o engine.MoveFileOptions) error {
	return wrapPlace("move file", from, e.moveFile(ctx, from, to, o))
}

func (e *Engine) moveFile(ctx context.Context, from, to engine.Place, o engine.MoveFileOptions) error {
	if err := ready(ctx, from.Bucket); err != nil {
		return err
	}
	if err := engine.CheckMoveFile(from, to, o); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(from.Bucket)
	if err != nil {
		return err
	}
	fromPrefix, err := b.directory(from.Directory)
	if err != nil {
		return err
	}
	toPrefix, err := b.directory(to.Directory)
	if err != nil {
		return err
	}
	source, target := b.entry(fromPrefix, from.Name), b.entry(toPrefix, to.Name)
	switch {
	case !source.there():
		return absent(source)
	case source.key == target.key, !source.directory && target.object != nil && source.object.node.id == target.object.node.id:
		return nil
	}
	if err := b.judgeMove(source, target, o); err != nil {
		return err
	}
	if !source.directory && b.versioning != engine.VersioningOff {
		return e.moveVersion(b, source, target)
	}
	var m moves
	n := e.noteMove(b, source, target, o.Exchange)
	switch {
	case o.Exchange:
		m.entry(b, target, source)
	case source.directory && target.directory: // it has no names: it is one object, in its own place
		m.goes(engine.Key(target.prefix()))
	}
	e.stamp(b)
	m.entry(b, source, target)
	m.apply(b)
	n.doneMove()
	return nil
}

// judgeMove returns what forbids a move of what is there to another place.
func (b *bucket) judgeMove(source, target entry, o engine.MoveFileOptions) error {
	switch {
	case o.Exchange && b.versioning != engine.VersioningOff:
		return engine.E(engine.KindBucketState, "the bucket keeps versions; what lies there cannot change places")
	case o.Exchange && !target.there():
		return absent(target)
	case o.NoReplace && target.there():
		return taken(target)
	case !o.Exchange && !source.directory && target.directory:
		return engine.E(engine.KindIsDirectory, "%q is a directory, and a file does not take its place", string(target.key))
	case !o.Exchange && source.directory && target.object != nil:
		return engine.E(engine.KindNotDirectory, "%q is no directory, and a directory does not take its place", string(target.key))
	case source.directory && strings.HasPrefix(target.prefix(), source.prefix()), o.Exchange && target.directory && strings.HasPrefix(source.prefix(), target.prefix()):
		return engine.E(engine.KindInvalidArgument, "%q and %q lie one beneath the other", string(source.key), string(target.key))
	case !o.Exchange && source.directory && !b.empty(target.prefix()):
		return engine.E(engine.KindNotEmpty, "names or versions lie beneath %q", target.prefix())
	case o.Exchange && source.directory != target.directory && (source.directory && b.object(source.key) != nil || target.directory && b.object(target.key) != nil):
		return engine.E(engine.KindExists, "an object has the key of a directory that is exchanged for a file; rename it first")
	case source.directory && b.held(source.prefix()):
		return engine.E(engine.KindLocked, "versions beneath %q have a retention or legal hold", source.prefix())
	}
	if err := b.fits(source, target.key); err != nil || !o.Exchange {
		return err
	}
	return b.fits(target, source.key)
}

// empty reports whether there is no version beneath a prefix but the object that keeps an empty directory, in a bucket where it goes for good.
func (b *bucket) empty(prefix string) bool {
	stacks := b.directories[prefix].stacks
	return stacks == 0 || stacks == 1 && b.versioning == engine.VersioningOff && b.object(engine.Key(prefix)) != nil
}

// held reports whether a version beneath a prefix is locked.
func (b *bucket) held(prefix string) (held bool) {
	b.each(prefix, func(s *stack) {
		held = held || slices.ContainsFunc(s.versions, func(o *object) bool { return o.info.Lock.Held() })
	})
	return held
}

// fits returns an error if a key becomes too long.
func (b *bucket) fits(n entry, to engine.Key) (err error) {
	if !n.directory {
		return checkLength(string(to))
	}
	b.each(n.prefix(), func(s *stack) {
		if longer := len(to) - len(n.key); err == nil && longer > 0 {
			err = checkLength(string(to) + string(s.key)[len(n.key):])
		}
	})
	return err
}

// each calls f for what has versions beneath a prefix, in order.
func (b *bucket) each(prefix string, f func(*stack)) {
	b.stacks.AscendGreaterOrEqual(&stack{key: engine.Key(prefix)}, func(s *stack) bool {
		if !strings.HasPrefix(string(s.key), prefix) {
			return false
		}
		f(s)
		return true
	})
}

// moveVersion moves a file where versions are kept: its node has a version more, at the target, and what was current at the source is an older one
// under a marker.
func (e *Engine) moveVersion(b *bucket, source, target entry) error {
	lock, err := e.newLock(b, engine.Lock{})
	if err != nil {
		return err
	}
	moved := *source.object
	moved.upload, moved.token, moved.info.Lock = "", "", lock
	b.renumber(source.object)
	e.removeCurrent(b, source.key)
	e.setCurrent(b, target.key, &moved)
	return nil
}

// moves are changes of keys that are made at once: first what comes, and then what goes, so that nothing above is forgotten in between.
type moves struct {
	come  []*stack
	gone  []engine.Key
	nodes map[string]node // of directories, by their prefixes afterwards
}

// goes takes a key away, unless something comes to it.
func (m *moves) goes(key engine.Key) { m.gone = append(m.gone, key) }

// entry gives what is there the key of another.
func (m *moves) entry(b *bucket, source, target entry) {
	if source.directory {
		m.directory(b, source.prefix(), target.prefix())
		return
	}
	m.stack(&stack{source.key, []*object{source.object}}, target.key)
}

// stack gives versions another key.
func (m *moves) stack(s *stack, key engine.Key) {
	versions := make([]*object, len(s.versions))
	for i, o := range s.versions {
		moved := *o
		moved.info.Key = key
		versions[i] = &moved
	}
	m.come = append(m.come, &stack{key, versions})
	m.goes(s.key)
}

// directory gives all keys that begin with a prefix another one in its place, and the directories beneath too.
func (m *moves) directory(b *bucket, from, to string) {
	b.each(from, func(s *stack) { m.stack(s, engine.Key(to+string(s.key)[len(from):])) })
	for prefix, d := range b.directories {
		if strings.HasPrefix(prefix, from) {
			if m.nodes == nil {
				m.nodes = map[string]node{}
			}
			m.nodes[to+prefix[len(from):]] = d.node
		}
	}
}

func (m *moves) apply(b *bucket) {
	came := map[engine.Key]bool{}
	for _, s := range m.come {
		b.setVersions(s.key, s.versions)
		came[s.key] = true
	}
	for _, key := range m.gone {
		if !came[key] {
			b.setVersions(key, nil)
		}
	}
	for prefix, n := range m.nodes {
		d := b.directories[prefix]
		d.node = n
		b.setDirectory(prefix, d)
	}
}

// Usage says how much lies beneath a prefix.
func (e *Engine) Usage(ctx context.Context, name engine.BucketName, prefix string) (engine.PrefixInfo, error) {
	info, err := e.usage(ctx, name, prefix)
	return info, engine.Wrap("usage", engine.Ref{Bucket: name, Key: engine.Key(prefix)}, err)
}

func (e *Engine) usage(ctx context.Context, name engine.BucketName, prefix string) (info engine.PrefixInfo, err error) {
	if err := ready(ctx, name); err != nil {
		return info, err
	}
	if err := engine.CheckUsage(prefix); err != nil {
		return info, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, err := e.find(name)
	if err != nil {
		return info, err
	}
	b.each(prefix, func(s *stack) {
		info.Versions += uint64(len(s.versions))
		if o := s.versions[0]; !o.info.Marker {
			info.Objects++
			info.Bytes += uint64(o.info.Size)
		}
	})
	return info, nil
}
