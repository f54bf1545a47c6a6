package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"holdfast/engine"
)

// feed is what a bucket notes of its changes while somebody follows. Nothing of it is ever lost: this engine has no budget.
type feed struct {
	cursors map[string]engine.Sequence
	changes []*change // in order, without gaps, up to the last one if there is a cursor
}

// change is immutable once it is done. beneath has what Expand says of it.
type change struct {
	engine.Change
	beneath []engine.ExpandedKey
}

// noting is a change that is being made. A nil one, which nobody follows, takes everything and keeps nothing.
type noting struct {
	e *Engine
	b *bucket
	*change
}

// raise gives a change its number. It is called before anything changes at the key, and done after.
func (e *Engine) raise(b *bucket, kind engine.ChangeKind, key engine.Key) *noting {
	b.sequence++
	if len(b.feed.cursors) == 0 {
		return nil
	}
	return &noting{e, b, &change{Change: engine.Change{Sequence: b.sequence, Kind: kind, Key: key, Replaced: described(b.versions(key))}}}
}

// described describes what is current.
func described(versions []*object) (v engine.ChangedVersion) {
	if len(versions) == 0 {
		return v
	}
	i := &versions[0].info
	return engine.ChangedVersion{Version: i.Version, Marker: i.Marker, Size: i.Size, ETag: i.ETag, Sequence: i.Sequence, Modified: i.Modified}
}

// done notes what the change left at its key, of a node that had it before or has it now.
func (n *noting) done(before *object) {
	if n == nil {
		return
	}
	versions := n.b.versions(n.Key)
	n.Version = described(versions)
	if len(versions) > 0 {
		n.Node = versions[0].node.id
	}
	if n.Kind == engine.ChangeDeleted {
		n.Node = before.node.id
	}
	n.Names = uint64(len(n.b.keys[n.Node]))
	if n.Kind == engine.ChangeDeleted && n.Names > 0 {
		n.Kind = engine.ChangeUnlinked
	}
	n.keep()
}

// doneAbout notes that a version is the same, but for what it has beside its content; o is nil for a directory, whose prefix the key is.
func (n *noting) doneAbout(o *object) {
	if n == nil {
		return
	}
	n.Replaced = engine.ChangedVersion{}
	if o == nil {
		n.Directory, n.Node = true, n.b.directories[string(n.Key)].id
	} else {
		n.Node, n.Names = o.node.id, uint64(len(n.b.keys[o.node.id]))
	}
	if n.Names > 0 {
		n.Version = described([]*object{o})
	}
	n.keep()
}

// doneBucket notes a change that is about no key.
func (n *noting) doneBucket(document string) {
	if n == nil {
		return
	}
	n.e.stamp(n.b)
	n.Key, n.Document, n.Replaced = "", document, engine.ChangedVersion{}
	n.keep()
}

// tree notes the directory that a change is about.
func (n *noting) tree(prefix string) {
	if n != nil {
		n.Directory, n.Node = true, n.b.directories[prefix].id
	}
}

// expands notes what lies beneath prefixes now.
func (n *noting) expands(prefixes ...string) {
	if n == nil {
		return
	}
	slices.Sort(prefixes)
	for _, prefix := range prefixes {
		n.b.each(prefix, func(s *stack) {
			if !s.versions[0].info.Marker {
				n.beneath = append(n.beneath, engine.ExpandedKey{Key: s.key, Node: s.versions[0].node.id, Version: described(s.versions)})
			}
		})
	}
}

// keep makes the change part of the feed.
func (n *noting) keep() {
	if n == nil {
		return
	}
	n.Time = n.b.last
	n.b.feed.changes = append(n.b.feed.changes, n.change)
	n.e.wake()
}

// wake has those who wait for changes look again.
func (e *Engine) wake() {
	if e.more != nil {
		close(e.more)
		e.more = nil
	}
}

// cursorOf finds a cursor. The caller holds the lock.
func (e *Engine) cursorOf(ctx context.Context, name engine.BucketName, cursor string) (*bucket, engine.Cursor, error) {
	c := engine.Cursor{Name: cursor}
	if err := ready(ctx, name); err != nil {
		return nil, c, err
	}
	if err := engine.CheckCursorName(cursor); err != nil {
		return nil, c, err
	}
	b, err := e.find(name)
	if err != nil {
		return nil, c, err
	}
	position, ok := b.feed.cursors[cursor]
	if !ok {
		return b, c, engine.E(engine.KindNoSuchKey, "the bucket has no cursor %q", cursor)
	}
	c.Position, c.Last = position, b.sequence
	return b, c, nil
}

func wrapFeed(op string, name engine.BucketName, err error) error {
	return engine.Wrap(op, engine.Ref{Bucket: name}, err)
}

// OpenCursor begins a cursor, or finds it.
func (e *Engine) OpenCursor(ctx context.Context, name engine.BucketName, cursor string) (engine.Cursor, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, c, err := e.cursorOf(ctx, name, cursor)
	if b != nil && err != nil {
		if len(b.feed.cursors) >= engine.CursorsMax {
			return c, wrapFeed("open cursor", name, engine.E(engine.KindEntityTooLarge, "the bucket has %d cursors; more are not allowed", len(b.feed.cursors)))
		}
		c.Position, c.Last, err = b.sequence, b.sequence, nil
		b.feed.set(cursor, b.sequence)
	}
	return c, wrapFeed("open cursor", name, err)
}

// set moves a cursor, and forgets what all have passed.
func (f *feed) set(cursor string, to engine.Sequence) {
	if f.cursors == nil {
		f.cursors = map[string]engine.Sequence{}
	}
	f.cursors[cursor] = to
	f.forget()
}

func (f *feed) forget() {
	if len(f.cursors) == 0 {
		f.changes = nil
		return
	}
	passed := slices.Min(slices.Collect(maps.Values(f.cursors)))
	at, _ := slices.BinarySearchFunc(f.changes, passed+1, func(c *change, s engine.Sequence) int { return cmp.Compare(c.Sequence, s) })
	f.changes = slices.Clone(f.changes[at:])
}

// ListCursors returns all cursors of a bucket.
func (e *Engine) ListCursors(ctx context.Context, name engine.BucketName) (list []engine.Cursor, err error) {
	if err := ready(ctx, name); err != nil {
		return nil, wrapFeed("list cursors", name, err)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, err := e.find(name)
	if err != nil {
		return nil, wrapFeed("list cursors", name, err)
	}
	for _, cursor := range slices.Sorted(maps.Keys(b.feed.cursors)) {
		list = append(list, engine.Cursor{Name: cursor, Position: b.feed.cursors[cursor], Last: b.sequence})
	}
	return list, nil
}

// Changes returns a page of changes.
func (e *Engine) Changes(ctx context.Context, name engine.BucketName, cursor string, o engine.ChangesOptions) (engine.ChangePage, error) {
	limit, err := page(o.Max)
	for err == nil {
		var p engine.ChangePage
		var more <-chan struct{}
		if p, more, err = e.look(ctx, name, cursor, o.After, limit); err != nil {
			break
		}
		if len(p.Changes) > 0 || !o.Wait {
			return p, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return engine.ChangePage{}, wrapFeed("changes", name, err)
}

// look returns the changes that there are, and what is closed when there are more.
func (e *Engine) look(ctx context.Context, name engine.BucketName, cursor string, after engine.Sequence, limit int) (p engine.ChangePage, more <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, c, err := e.cursorOf(ctx, name, cursor)
	switch {
	case err != nil:
		return p, nil, err
	case after == 0:
		after = c.Position
	case after < c.Position:
		return p, nil, engine.E(engine.KindInvalidArgument, "the cursor %q has passed change %d; it is at %d", cursor, after, c.Position)
	}
	p.Last = after
	for _, change := range b.feed.changes {
		if change.Sequence <= after {
			continue
		}
		if p.Truncated = len(p.Changes) == limit; p.Truncated {
			break
		}
		p.Changes, p.Last = append(p.Changes, change.Change), change.Sequence
	}
	if e.more == nil {
		e.more = make(chan struct{})
	}
	return p, e.more, nil
}

// MoveCursor moves a cursor forward.
func (e *Engine) MoveCursor(ctx context.Context, name engine.BucketName, cursor string, to engine.Sequence) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, c, err := e.cursorOf(ctx, name, cursor)
	if err == nil && to > b.sequence {
		err = engine.E(engine.KindInvalidArgument, "the last change of the bucket is %d; a cursor cannot be moved to %d", b.sequence, to)
	}
	if err == nil {
		b.feed.set(cursor, max(c.Position, to))
	}
	return wrapFeed("move cursor", name, err)
}

// ResetCursor moves a cursor behind the last change.
func (e *Engine) ResetCursor(ctx context.Context, name engine.BucketName, cursor string) (engine.Cursor, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, c, err := e.cursorOf(ctx, name, cursor)
	if err == nil {
		c.Position = b.sequence
		b.feed.set(cursor, b.sequence)
	}
	return c, wrapFeed("reset cursor", name, err)
}

// CloseCursor ends a cursor.
func (e *Engine) CloseCursor(ctx context.Context, name engine.BucketName, cursor string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, _, err := e.cursorOf(ctx, name, cursor)
	if b == nil {
		return wrapFeed("close cursor", name, err)
	}
	delete(b.feed.cursors, cursor)
	b.feed.forget()
	return nil
}

// Expand returns a page of what lay beneath the directory of a change.
func (e *Engine) Expand(ctx context.Context, name engine.BucketName, cursor string, s engine.Sequence, o engine.ExpandOptions) (engine.ExpandPage, error) {
	p, err := e.expand(ctx, name, cursor, s, o)
	return p, wrapFeed("expand change", name, err)
}

func (e *Engine) expand(ctx context.Context, name engine.BucketName, cursor string, s engine.Sequence, o engine.ExpandOptions) (p engine.ExpandPage, err error) {
	limit, err := page(o.Max)
	if err != nil {
		return p, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, c, err := e.cursorOf(ctx, name, cursor)
	if err != nil {
		return p, err
	}
	at := slices.IndexFunc(b.feed.changes, func(c *change) bool { return c.Sequence == s })
	switch {
	case s <= c.Position:
		return p, engine.E(engine.KindInvalidArgument, "the cursor %q has passed change %d; it is at %d", cursor, s, c.Position)
	case at < 0:
		return p, engine.E(engine.KindInvalidArgument, "the bucket has no change %d yet", s)
	case !b.feed.changes[at].Expands():
		return p, engine.E(engine.KindInvalidArgument, "the change %d is %q, which is about no whole directory", s, b.feed.changes[at].Kind)
	}
	for _, k := range b.feed.changes[at].beneath {
		if k.Key <= o.After {
			continue
		}
		if p.Truncated = len(p.Keys) == limit; p.Truncated {
			break
		}
		p.Keys = append(p.Keys, k)
	}
	return p, nil
}

// noteMove notes a move of what a name names, before it is made.
func (e *Engine) noteMove(b *bucket, source, target entry, exchange bool) *noting {
	kind, to, from := engine.ChangeRenamed, target.key, source.key
	if source.directory {
		kind, to, from = engine.ChangeDirectoryRenamed, engine.Key(target.prefix()), engine.Key(source.prefix())
	}
	if exchange {
		kind = engine.ChangeExchanged
	}
	n := e.raise(b, kind, to)
	if n == nil {
		return nil
	}
	n.From = from
	if exchange {
		n.Replaced = engine.ChangedVersion{}
		if !target.directory {
			n.Replaced = described([]*object{target.object})
		}
	}
	if source.directory {
		n.tree(source.prefix())
		return n
	}
	n.Node = source.object.node.id
	n.Version = described([]*object{source.object})
	return n
}

// doneMove notes what lies beneath the directories that were moved, and keeps the change.
func (n *noting) doneMove() {
	if n == nil {
		return
	}
	if !n.Directory {
		n.Names = uint64(len(n.b.keys[n.Node]))
	}
	var prefixes []string
	for _, m := range n.Moves() {
		if m.Directory {
			prefixes = append(prefixes, string(m.To))
		}
	}
	n.expands(prefixes...)
	n.keep()
}

// clone copies the feed for an engine of its own.
func (f *feed) clone() feed {
	return feed{cursors: maps.Clone(f.cursors), changes: slices.Clone(f.changes)}
}
