package memory

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"maps"
	"slices"

	"holdfast/engine"
)

// owner has what it holds. One of this engine lives until it is closed.
type owner struct {
	held   map[engine.NodeID]bool
	wanted map[engine.NodeID]bool // its leases that somebody waits for
}

// holding reports whether somebody holds a node.
func (b *bucket) holding(id engine.NodeID) bool {
	for _, o := range b.owners {
		if o.held[id] {
			return true
		}
	}
	return false
}

// owner finds an owner. The caller holds the lock.
func (e *Engine) owner(ctx context.Context, name engine.BucketName, id engine.OwnerID) (*bucket, *owner, error) {
	if err := ready(ctx, name); err != nil {
		return nil, nil, err
	}
	b, err := e.find(name)
	if err != nil {
		return nil, nil, err
	}
	o, ok := b.owners[id]
	if !ok {
		return b, nil, engine.E(engine.KindExpired, "there is no owner %d any more", id)
	}
	return b, o, nil
}

func wrapOwner(op string, name engine.BucketName, err error) error {
	return engine.Wrap(op, engine.Ref{Bucket: name}, err)
}

// OpenOwner begins an owner.
func (e *Engine) OpenOwner(ctx context.Context, name engine.BucketName, label string) (id engine.OwnerID, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(label) > 255 {
		return 0, wrapOwner("open owner", name, engine.E(engine.KindInvalidArgument, "the name of an owner has %d bytes; at most 255 are allowed", len(label)))
	}
	if err := ready(ctx, name); err != nil {
		return 0, wrapOwner("open owner", name, err)
	}
	b, err := e.find(name)
	if err != nil {
		return 0, wrapOwner("open owner", name, err)
	}
	b.lastOwner++
	b.owners[b.lastOwner] = &owner{held: map[engine.NodeID]bool{}, wanted: map[engine.NodeID]bool{}}
	return b.lastOwner, nil
}

// RenewOwner has an owner live on.
func (e *Engine) RenewOwner(ctx context.Context, name engine.BucketName, id engine.OwnerID) ([]engine.NodeID, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, o, err := e.owner(ctx, name, id)
	if err != nil {
		return nil, wrapOwner("renew owner", name, err)
	}
	return slices.Sorted(maps.Keys(o.wanted)), nil
}

// CloseOwner ends an owner.
func (e *Engine) CloseOwner(ctx context.Context, name engine.BucketName, id engine.OwnerID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, _, err := e.owner(ctx, name, id)
	if engine.Is(err, engine.KindExpired) {
		return nil
	}
	if err != nil {
		return wrapOwner("close owner", name, err)
	}
	delete(b.owners, id)
	for node, locks := range b.locks {
		b.setLocks(node, slices.DeleteFunc(slices.Clone(locks), func(l engine.FileLock) bool { return l.Owner == id }))
	}
	b.forgetNameless()
	return nil
}

func (b *bucket) setLocks(node engine.NodeID, locks []engine.FileLock) {
	if b.locks[node] = locks; len(locks) == 0 {
		delete(b.locks, node)
	}
}

// forgetNameless forgets files that have neither a name nor a holder.
func (b *bucket) forgetNameless() {
	for id := range b.nameless {
		if !b.holding(id) {
			delete(b.nameless, id)
		}
	}
}

// HoldFile keeps a file there for an owner.
func (e *Engine) HoldFile(ctx context.Context, f engine.File, id engine.OwnerID) (info engine.FileInfo, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, o, err := e.owner(ctx, f.Bucket, id)
	var held *object
	if err == nil {
		_, held, err = b.content(f.Node)
	}
	if err == nil {
		err = b.changeable(held)
	}
	if err != nil {
		return info, wrapFile("hold file", f, err)
	}
	o.held[f.Node] = true
	return b.fileInfo(held), nil
}

// ReleaseFile ends a hold.
func (e *Engine) ReleaseFile(ctx context.Context, f engine.File, id engine.OwnerID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, o, err := e.owner(ctx, f.Bucket, id)
	if err != nil {
		return wrapFile("release file", f, err)
	}
	delete(o.held, f.Node)
	b.forgetNameless()
	return nil
}

// MakeTemporary makes a file without a name.
func (e *Engine) MakeTemporary(ctx context.Context, name engine.BucketName, id engine.OwnerID, o engine.MakeFileOptions) (engine.FileInfo, error) {
	info, err := e.makeTemporary(ctx, name, id, o)
	return info, wrapOwner("make temporary file", name, err)
}

func (e *Engine) makeTemporary(ctx context.Context, name engine.BucketName, id engine.OwnerID, o engine.MakeFileOptions) (info engine.FileInfo, err error) {
	if err := engine.CheckMakeFile(o); err != nil {
		return info, err
	}
	if o.Type != engine.TypeRegular {
		return info, engine.E(engine.KindInvalidArgument, "a temporary file is a regular one")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, holder, err := e.owner(ctx, name, id)
	if err != nil {
		return info, err
	}
	sum := md5.Sum(nil)
	made := node{kind: o.Type, attributes: o.Attributes}
	made.attributes.Set = o.Attributes.Set || o.Attributes.Mode != 0 || o.Attributes.UID != 0 || o.Attributes.GID != 0
	b.dress(&made, e.stamp(b))
	n := e.raise(b, engine.ChangeTemporary, "")
	file := &object{
		info: engine.ObjectInfo{
			Bucket: name, ETag: engine.ETag(hex.EncodeToString(sum[:])), Class: class(o.Class), Modified: b.last, Sequence: b.sequence, Version: engine.NullVersion,
		},
		node: made,
	}
	holder.held[made.id] = true
	b.nameless[made.id] = file
	n.doneAbout(file)
	return b.fileInfo(file), nil
}

// nameFile gives a file that has no name one.
func (e *Engine) nameFile(b *bucket, o *object, n entry) (info engine.FileInfo, err error) {
	named := *o
	if named.info.Lock, err = e.newLock(b, engine.Lock{}); err != nil {
		return info, err
	}
	if err := b.fitsPush(n.key, o.info.Size); err != nil {
		return info, err
	}
	e.pushAs(b, engine.ChangeLinked, n.key, &named)
	return b.fileInfo(&named), nil
}

// LockFile locks a range of a file.
func (e *Engine) LockFile(ctx context.Context, f engine.File, l engine.FileLock) error {
	return wrapFile("lock file", f, e.lockFile(ctx, f, l))
}

func (e *Engine) lockFile(ctx context.Context, f engine.File, l engine.FileLock) error {
	if err := engine.CheckFileLock(l); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, o, err := e.owner(ctx, f.Bucket, l.Owner)
	if err != nil {
		return err
	}
	if _, file, err := b.node(f.Node); err != nil {
		return err
	} else if file == nil && l.Kind != engine.LockFlock {
		return engine.E(engine.KindIsDirectory, "a directory takes no such lock")
	}
	locks := b.locks[f.Node]
	if held, ok := engine.InTheWay(locks, l); ok {
		for _, lease := range locks {
			if _, ok := engine.InTheWay([]engine.FileLock{lease}, l); ok && lease.Kind == engine.LockLease {
				b.owners[lease.Owner].wanted[f.Node] = true
			}
		}
		return engine.E(engine.KindHeld, "owner %d has a lock in the way", held.Owner)
	}
	after := engine.WithLock(locks, l)
	if len(after) > engine.LocksMax {
		return engine.E(engine.KindEntityTooLarge, "the file has %d locks; more are not allowed", engine.LocksMax)
	}
	b.setLocks(f.Node, after)
	delete(o.wanted, f.Node)
	return nil
}

// TestLock returns the first lock that is in the way of one.
func (e *Engine) TestLock(ctx context.Context, f engine.File, l engine.FileLock) (held engine.FileLock, ok bool, err error) {
	if err := engine.CheckFileLock(l); err != nil {
		return held, false, wrapFile("test lock", f, err)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, _, _, err := e.see(ctx, f)
	if err != nil {
		return held, false, wrapFile("test lock", f, err)
	}
	held, ok = engine.InTheWay(b.locks[f.Node], l)
	return held, ok, nil
}
