package memory

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"holdfast/engine"
)

// node is what a file or directory has beside its content and names. It is immutable. A delete marker has none: its number is 0.
type node struct {
	id         engine.NodeID
	kind       engine.FileType
	attributes engine.FileAttributes
	xattrs     map[string][]byte

	modified, changed, born time.Time
	accessed                time.Time // zero until SetFile says something: then it is modified
}

// newNode is a directory that is made at a time.
func newNode(id engine.NodeID, at time.Time) node {
	return node{id: id, kind: engine.TypeDirectory, modified: at, changed: at, born: at}
}

// dress gives the node of a version that is made what it has not yet.
func (b *bucket) dress(n *node, at time.Time) {
	if n.id == 0 {
		b.lastNode++
		n.id, n.modified, n.born = b.lastNode, at, at
	}
	n.changed = at
}

func (n node) info() engine.FileInfo {
	return engine.FileInfo{
		Node: n.id, Type: n.kind, Links: 1, Attributes: n.attributes, Modified: n.modified, Changed: n.changed, Born: n.born,
		Accessed: cmp.Or(n.accessed, n.modified),
	}
}

// fileInfo describes the file that a version is.
func (b *bucket) fileInfo(o *object) engine.FileInfo {
	info := o.node.info()
	info.Links, info.Held = uint64(len(b.keys[o.node.id])), b.holding(o.node.id)
	info.Size, info.ETag, info.Sequence, info.Version = o.info.Size, o.info.ETag, o.info.Sequence, o.info.Version
	if info.Links == 0 {
		info.Version = ""
	}
	return info
}

// linked reports whether a file has several names.
func (b *bucket) linked() bool {
	for _, keys := range b.keys {
		if len(keys) > 1 {
			return true
		}
	}
	return false
}

// node finds the version that has a number, or the directory: o is nil then. key is any of those that it has.
func (b *bucket) node(id engine.NodeID) (key string, o *object, err error) {
	if prefix, ok := b.prefixes[id]; ok && b.shows(prefix) {
		return prefix, nil, nil
	}
	for _, key := range b.keys[id] {
		for _, o := range b.versions(key) {
			if o.node.id == id {
				return string(key), o, nil
			}
		}
	}
	if o := b.nameless[id]; o != nil {
		return "", o, nil
	}
	return "", nil, engine.E(engine.KindNoSuchKey, "there is no file or directory with the number %d", id)
}

// content is node for what has content.
func (b *bucket) content(id engine.NodeID) (key string, o *object, err error) {
	key, o, err = b.node(id)
	if err == nil && o == nil {
		err = engine.E(engine.KindIsDirectory, "%q is a directory", key)
	}
	return key, o, err
}

// changeable refuses a version that is not current.
func (b *bucket) changeable(o *object) error {
	if b.object(o.info.Key) != o && b.nameless[o.node.id] != o {
		return engine.E(engine.KindBucketState, "the file is an older version of %q, which does not change", string(o.info.Key))
	}
	return nil
}

// change puts a changed version in the place of one, under all its names.
func (b *bucket) change(before *object, change func(*object)) {
	if b.nameless[before.node.id] == before {
		changed := *before
		change(&changed)
		changed.info = clone(changed.info)
		b.nameless[before.node.id] = &changed
		return
	}
	for _, key := range b.keys[before.node.id] {
		versions := slices.Clone(b.versions(key))
		for i, o := range versions {
			if o.node.id == before.node.id {
				changed := *o
				change(&changed)
				changed.info = clone(changed.info)
				versions[i] = &changed
			}
		}
		b.setVersions(key, versions)
	}
}

// renumber gives a version that ceases to be current a number of its own, so that the next one can have its.
func (b *bucket) renumber(o *object) {
	b.lastNode++
	id := b.lastNode
	b.change(o, func(o *object) { o.node.id = id })
}

// changeNode changes what a node has beside its content.
func (e *Engine) changeNode(b *bucket, id engine.NodeID, change func(*node) error) (info engine.FileInfo, err error) {
	prefix, o, err := b.node(id)
	if err == nil && o != nil {
		err = b.changeable(o)
	}
	if err != nil {
		return info, err
	}
	var changed node
	if changed = b.directories[prefix].node; o != nil {
		changed = o.node
	}
	if err := change(&changed); err != nil {
		return info, err
	}
	n := e.raise(b, engine.ChangeAttributes, engine.Key(prefix))
	changed.changed = e.stamp(b)
	if o == nil {
		d := b.directories[prefix]
		d.node = changed
		b.setDirectory(prefix, d)
		n.doneAbout(nil)
		return changed.info(), nil
	}
	b.change(o, func(o *object) { o.node = changed })
	_, o, err = b.node(id)
	n.doneAbout(o)
	return b.fileInfo(o), err
}

// wrapFile is engine.Wrap for an operation on a node.
func wrapFile(op string, f engine.File, err error) error {
	return engine.Wrap(op, engine.Ref{Bucket: f.Bucket}, err)
}

// see finds a node for a call that changes nothing. The caller holds the lock.
func (e *Engine) see(ctx context.Context, f engine.File) (b *bucket, key string, o *object, err error) {
	if err := ready(ctx, f.Bucket); err != nil {
		return nil, "", nil, err
	}
	if b, err = e.find(f.Bucket); err != nil {
		return nil, "", nil, err
	}
	key, o, err = b.node(f.Node)
	return b, key, o, err
}

// StatFile describes a node.
func (e *Engine) StatFile(ctx context.Context, f engine.File) (info engine.FileInfo, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, prefix, o, err := e.see(ctx, f)
	switch {
	case err != nil:
	case o != nil:
		info = b.fileInfo(o)
	default:
		info = b.directories[prefix].info()
	}
	return info, wrapFile("stat file", f, err)
}

// FileKey returns the key of a node.
func (e *Engine) FileKey(ctx context.Context, f engine.File) (engine.Key, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, key, o, err := e.see(ctx, f)
	if err == nil && o != nil && key == "" {
		err = engine.E(engine.KindNoSuchKey, "the file %d has no name", f.Node)
	}
	return engine.Key(key), wrapFile("key of file", f, err)
}

// SetFile changes attributes and times.
func (e *Engine) SetFile(ctx context.Context, f engine.File, c engine.FileChange) (engine.FileInfo, error) {
	info, err := e.setFile(ctx, f, c)
	return info, wrapFile("set file", f, err)
}

func (e *Engine) setFile(ctx context.Context, f engine.File, c engine.FileChange) (info engine.FileInfo, err error) {
	if err := ready(ctx, f.Bucket); err != nil {
		return info, err
	}
	if err := engine.CheckFileChange(c); err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(f.Bucket)
	if err != nil {
		return info, err
	}
	now := e.stamp(b)
	return e.changeNode(b, f.Node, func(n *node) error {
		set(&n.attributes.Mode, c.Mode)
		set(&n.attributes.UID, c.UID)
		set(&n.attributes.GID, c.GID)
		set(&n.attributes.Flags, c.Flags)
		n.attributes.Set = n.attributes.Set || c.Mode != nil || c.UID != nil || c.GID != nil
		setTime(&n.modified, c.Modified, now)
		setTime(&n.accessed, c.Accessed, now)
		setTime(&n.born, c.Born, now)
		return nil
	})
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func setTime(field, value *time.Time, now time.Time) {
	if value != nil {
		*field = cmp.Or(value.UTC().Round(0), now)
	}
}

// Xattr returns the value of an extended attribute.
func (e *Engine) Xattr(ctx context.Context, f engine.File, name string) (value []byte, err error) {
	if err := engine.CheckXattr(name, nil, engine.SetXattrOptions{}); err != nil {
		return nil, wrapFile("xattr", f, err)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	xattrs, err := e.xattrs(ctx, f)
	if err == nil {
		var ok bool
		if value, ok = xattrs[name]; !ok {
			err = engine.E(engine.KindNoSuchAttribute, "there is no extended attribute %q", name)
		}
	}
	return bytes.Clone(value), wrapFile("xattr", f, err)
}

// Xattrs returns the names of the extended attributes.
func (e *Engine) Xattrs(ctx context.Context, f engine.File) ([]string, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	xattrs, err := e.xattrs(ctx, f)
	return slices.Sorted(maps.Keys(xattrs)), wrapFile("xattrs", f, err)
}

func (e *Engine) xattrs(ctx context.Context, f engine.File) (map[string][]byte, error) {
	b, prefix, o, err := e.see(ctx, f)
	if err != nil {
		return nil, err
	}
	if o != nil {
		return o.node.xattrs, nil
	}
	return b.directories[prefix].xattrs, nil
}

// SetXattr sets an extended attribute, or removes it.
func (e *Engine) SetXattr(ctx context.Context, f engine.File, name string, value []byte, o engine.SetXattrOptions) error {
	return wrapFile("set xattr", f, e.setXattr(ctx, f, name, value, o))
}

func (e *Engine) setXattr(ctx context.Context, f engine.File, name string, value []byte, o engine.SetXattrOptions) error {
	if err := ready(ctx, f.Bucket); err != nil {
		return err
	}
	if err := engine.CheckXattr(name, value, o); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(f.Bucket)
	if err != nil {
		return err
	}
	_, err = e.changeNode(b, f.Node, func(n *node) error {
		_, there := n.xattrs[name]
		switch {
		case there && o.Create:
			return engine.E(engine.KindExists, "there is an extended attribute %q already", name)
		case !there && (o.Replace || o.Remove):
			return engine.E(engine.KindNoSuchAttribute, "there is no extended attribute %q", name)
		case !there && len(n.xattrs) == engine.XattrsMax:
			return engine.E(engine.KindEntityTooLarge, "there are %d extended attributes, as many as there may be", engine.XattrsMax)
		}
		n.xattrs = maps.Clone(n.xattrs)
		if o.Remove {
			delete(n.xattrs, name)
			return nil
		}
		if n.xattrs == nil {
			n.xattrs = map[string][]byte{}
		}
		n.xattrs[name] = append([]byte{}, value...)
		return nil
	})
	return err
}

// Space says how much room a bucket has: as much again as a drive would.
func (e *Engine) Space(ctx context.Context, name engine.BucketName) (info engine.SpaceInfo, err error) {
	q, err := e.BucketQuota(ctx, name)
	if err == nil {
		info.Held, err = e.Usage(ctx, name, "")
	}
	if err != nil {
		return info, engine.Wrap("space", engine.Ref{Bucket: name}, err)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if b, err := e.find(name); err == nil {
		info.VersionBytes = b.heldAll().Bytes
	}
	const room = 1 << 40
	info.Total, info.Free = room+int64(info.Held.Bytes), room
	info.Within(q)
	return info, nil
}

// OpenFile returns a reader of the content of a file.
func (e *Engine) OpenFile(ctx context.Context, f engine.File, o engine.OpenFileOptions) (engine.Object, error) {
	r, err := e.openFile(ctx, f, o)
	if err != nil {
		return nil, wrapFile("open file", f, err)
	}
	return r, nil
}

func (e *Engine) openFile(ctx context.Context, f engine.File, o engine.OpenFileOptions) (*reader, error) {
	current, err := e.opened(ctx, f)
	if err != nil {
		return nil, err
	}
	start, length, err := selected(o.Range, current.info.Size)
	if err != nil {
		return nil, err
	}
	return &reader{ctx: ctx, info: current.info, offset: start, length: length, rest: current.content.slice(start, length).reader()}, nil
}

// opened finds the version that a read is about.
func (e *Engine) opened(ctx context.Context, f engine.File) (*object, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, key, o, err := e.see(ctx, f)
	switch {
	case err != nil:
		return nil, err
	case o == nil:
		return nil, engine.E(engine.KindIsDirectory, "%q is a directory", key)
	}
	return b.opened(o), nil
}

// SeekFile returns the first offset that lies in data or in a hole.
func (e *Engine) SeekFile(ctx context.Context, f engine.File, offset int64, hole bool) (int64, error) {
	at, err := e.seekFile(ctx, f, offset, hole)
	return at, wrapFile("seek file", f, err)
}

func (e *Engine) seekFile(ctx context.Context, f engine.File, offset int64, hole bool) (int64, error) {
	o, err := e.opened(ctx, f)
	if err != nil {
		return 0, err
	}
	if offset < 0 || offset >= o.content.size {
		return 0, engine.E(engine.KindInvalidRange, "the offset %d is not within the %d bytes of the file", offset, o.content.size)
	}
	at := o.content.seek(offset, hole)
	if at < 0 {
		return 0, engine.E(engine.KindInvalidRange, "there is no data from %d on", offset)
	}
	return at, nil
}
