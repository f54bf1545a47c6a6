package filetree

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"holdfast/engine"
)

// accessMax is the weight of a change that must not meet reads and writes, which have the weight 1.
const accessMax = 1 << 30

// file is the state that all handles of a node share.
//
// Who needs several of its locks takes them in this order: flushing, access, mu. None of them is held while one waits for the budget.
type file struct {
	tree     *Tree
	id       engine.File
	users    int                 // guarded by tree.mu: handles, and calls that use the file for a while
	ready    chan struct{}       // closed once the file is held, or that failed
	gone     chan struct{}       // closed once it is no longer held
	failed   error               // why it is not held; written before ready is closed
	flushing *semaphore.Weighted // 1: flushes, and changes of the content in the engine
	access   *semaphore.Weighted // accessMax: reads and writes beside each other, or one change of the content

	mu         sync.Mutex // guards what follows
	held       bool
	lost       error           // why there is no such file any more
	info       engine.FileInfo // the latest that is known of the node in the engine
	class      engine.StorageClass
	generation uint64 // of the content in the engine, as far as this Tree changes it
	frozen     layer  // what is being flushed
	dirty      layer  // what is written, over frozen
	modified   time.Time
	handles    map[*Handle]bool
	locks      map[lockHolder]bool // who may have locks, and whether that is sure

	kick    chan struct{}      // asks for a flush at once
	cancel  context.CancelFunc // ends the flusher; nil until the first write starts it
	stopped chan struct{}      // closed once the flusher has ended
}

// acquire holds a file for one user more, who calls leave. Before it, a file that is being closed is waited for.
func (t *Tree) acquire(ctx context.Context, id engine.File) (*file, error) {
	for {
		t.mu.Lock()
		if t.closed {
			t.mu.Unlock()
			return nil, errTreeClosed()
		}
		f := t.files[id]
		switch {
		case f == nil:
			f = t.newFile(id)
			f.users = 1
			if locks, ok := t.stale[id]; ok {
				f.locks = locks // they go when this one is closed
				delete(t.stale, id)
			}
			t.mu.Unlock()
			return f, f.hold(ctx)
		case f.users == 0: // it is being closed
			t.mu.Unlock()
			if err := wait(ctx, f.gone); err != nil {
				return nil, err
			}
			continue
		}
		f.users++
		t.mu.Unlock()
		err := wait(ctx, f.ready)
		if err == nil && f.failed == nil {
			return f, nil
		}
		f.leave(context.WithoutCancel(ctx))
		if err != nil {
			return nil, err
		}
		if !engine.Is(f.failed, engine.KindCanceled) { // else the one who opened it gave up, and this one has not
			return nil, f.failed
		}
	}
}

func errTreeClosed() error {
	return engine.E(engine.KindInvalidArgument, "the tree of files is closed")
}

// newFile makes a file that nobody uses yet. The caller holds tree.mu.
func (t *Tree) newFile(id engine.File) *file {
	f := &file{
		tree: t, id: id, ready: make(chan struct{}), gone: make(chan struct{}), flushing: semaphore.NewWeighted(1), access: semaphore.NewWeighted(accessMax),
		handles: map[*Handle]bool{}, locks: map[lockHolder]bool{}, kick: make(chan struct{}, 1),
	}
	t.files[id] = f
	return f
}

// hold has the engine keep the file, for all users of the state. If that fails the caller is no user any more.
func (f *file) hold(ctx context.Context) error {
	o := f.tree.owner(f.id.Bucket)
	var err error
	for used := engine.OwnerID(0); err == nil && (used == 0 || used != o.current()); { // an owner that was opened anew meanwhile may not know of the file
		err = o.do(ctx, func(owner engine.OwnerID) error {
			info, err := f.tree.Engine.HoldFile(ctx, f.id, owner)
			used = owner
			f.mu.Lock()
			defer f.mu.Unlock()
			f.held = f.held || err == nil || engine.Is(err, engine.KindUnavailable) || engine.Is(err, engine.KindCanceled) // it may be, then
			if err == nil {
				f.info = info
			}
			return err
		})
	}
	f.failed = err
	close(f.ready)
	if err != nil {
		f.leave(context.WithoutCancel(ctx))
	}
	return err
}

// leave ends one use of the file; the last one ends the file.
func (f *file) leave(ctx context.Context) {
	t := f.tree
	t.mu.Lock()
	f.users--
	last := f.users == 0
	t.mu.Unlock()
	if last {
		f.close(ctx)
	}
}

// close ends a file that has no users: the engine need not keep it any more. If that call fails the file stays held until
// a later round of tend, or until the owner ends.
func (f *file) close(ctx context.Context) {
	f.stopFlusher()
	t := f.tree
	var err error
	if f.isHeld() {
		ctx, cancel := context.WithTimeout(ctx, engine.OwnerExpiry/4)
		defer cancel()
		err = f.unlockAll(ctx)
		if e := t.Engine.ReleaseFile(ctx, f.id, t.owner(f.id.Bucket).current()); e != nil {
			err = e
		}
	}
	t.mu.Lock()
	delete(t.files, f.id)
	if err != nil && !released(err) {
		t.stale[f.id] = f.locks
	}
	t.mu.Unlock()
	close(f.gone)
}

// released reports whether an error of a release says that there is nothing to release.
func released(err error) bool {
	switch engine.KindOf(err) {
	case engine.KindExpired, engine.KindNoSuchKey, engine.KindNoSuchBucket:
		return true
	}
	return false
}

// releaseStale tries again to release a file that is closed. While it does, the file is in the tree without users, so that who opens it waits.
func (t *Tree) releaseStale(ctx context.Context, id engine.File) {
	t.mu.Lock()
	locks, ok := t.stale[id]
	if !ok || t.files[id] != nil {
		t.mu.Unlock()
		return
	}
	delete(t.stale, id)
	f := t.newFile(id)
	t.mu.Unlock()
	f.mu.Lock()
	f.held, f.locks = true, locks
	f.mu.Unlock()
	close(f.ready)
	f.close(ctx)
}

func (f *file) isHeld() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held && f.lost == nil
}

// opened returns the handles of the file.
func (f *file) opened() (handles []*Handle) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for h := range f.handles {
		handles = append(handles, h)
	}
	return handles
}

// lose says that the engine has no such file any more: it lost its last name while the owner had expired.
func (f *file) lose(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = engine.E(engine.KindExpired, "the file went while nothing renewed what held it; open it again: %w", err)
}

// report has each handle tell an error once, unless it has an earlier one to tell. The caller holds mu.
func (f *file) report(err error) {
	for h := range f.handles {
		if h.failure == nil {
			h.failure = err
		}
	}
}

// learn notes what the engine said of the node, unless something later is known. The caller holds mu.
func (f *file) learn(info engine.FileInfo) {
	if info.Sequence >= f.info.Sequence {
		f.info = info
	}
}

// size returns that of the file with what is not flushed. The caller holds mu.
func (f *file) size() int64 { return max(f.info.Size, f.frozen.end(), f.dirty.end()) }

// pending reports whether something is not flushed. The caller holds mu.
func (f *file) pending() bool { return len(f.frozen.spans) > 0 || len(f.dirty.spans) > 0 }

// over puts what is known here and not in the engine, or was not when that was asked, over a description of the node. The caller holds mu.
func (f *file) over(info engine.FileInfo) engine.FileInfo {
	if f.info.Sequence > info.Sequence {
		info.Size, info.ETag, info.Sequence, info.Version = f.info.Size, f.info.ETag, f.info.Sequence, f.info.Version
		info.Modified, info.Changed = f.info.Modified, f.info.Changed
	}
	if f.pending() {
		info.Size = max(info.Size, f.frozen.end(), f.dirty.end())
		info.Modified, info.Changed = f.modified, f.modified
	}
	return info
}

// stat describes the node as the handles see it.
func (f *file) stat(ctx context.Context) (engine.FileInfo, error) {
	info, err := f.tree.Engine.StatFile(ctx, f.id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if f.lost != nil {
			err = f.lost
		}
		return info, err
	}
	f.learn(info)
	return f.over(info), nil
}

// find returns a file that is open, ready, and has a user more; nil if it is not open.
func (t *Tree) find(id engine.File) *file {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[id]
	if f == nil || f.users == 0 {
		return nil
	}
	select {
	case <-f.ready:
	default:
		return nil // it is being opened: nothing was written yet
	}
	if f.failed != nil {
		return nil
	}
	f.users++
	return f
}
