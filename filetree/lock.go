package filetree

import (
	"context"
	"errors"
	"time"

	"holdfast/engine"
)

// Pauses between tries for a lock that somebody else has: they double from the first to the last.
const (
	lockPauseMin = 2 * time.Millisecond
	lockPauseMax = time.Second
)

// Lock is a lock of a file: its fields are those of engine.FileLock, but for the owner, which is that of the Tree. Holder 0 is the handle itself:
// those locks go when it is closed. Others are the caller's, who takes them back, or they go with the last handle of the file; their numbers have the
// highest bit set, so that they meet none of a handle.
type Lock struct {
	Holder        uint64
	Process       uint32
	Kind          engine.LockKind
	Mode          engine.LockMode
	Start, Length int64
}

// HolderOf returns the number that a caller's own holder locks under.
func HolderOf(number uint64) uint64 { return number | 1<<63 }

// lockHolder is somebody who may have locks of a file.
type lockHolder struct {
	kind   engine.LockKind
	holder uint64
}

// Lock locks a range of the file, or gives it up with LockNone. It does not wait: KindHeld if somebody else has a lock in the way.
func (h *Handle) Lock(ctx context.Context, l Lock) error {
	return wrap("lock", h.file.id, h.lock(ctx, l))
}

// Unlock gives up what a holder has of a range.
func (h *Handle) Unlock(ctx context.Context, l Lock) error {
	l.Mode = engine.LockNone
	return wrap("unlock", h.file.id, h.lock(ctx, l))
}

// LockWait is Lock that tries again, with pauses that grow to a second, until it has the lock or ctx ends; KindCanceled then. Two who wait for each other
// wait until then.
func (h *Handle) LockWait(ctx context.Context, l Lock) error {
	for pause := lockPauseMin; ; pause = min(2*pause, lockPauseMax) {
		err := h.lock(ctx, l)
		if !engine.Is(err, engine.KindHeld) {
			return wrap("lock", h.file.id, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return wrap("lock", h.file.id, ctx.Err())
		}
	}
}

// TestLock returns the first lock that is in the way of one; ok is false if there is none.
func (h *Handle) TestLock(ctx context.Context, l Lock) (held engine.FileLock, ok bool, err error) {
	f := h.file
	err = f.tree.owner(f.id.Bucket).do(ctx, func(owner engine.OwnerID) (err error) {
		held, ok, err = f.tree.Engine.TestLock(ctx, f.id, h.engineLock(owner, l))
		return err
	})
	return held, ok, wrap("test lock", f.id, err)
}

func (h *Handle) engineLock(owner engine.OwnerID, l Lock) engine.FileLock {
	if l.Holder == 0 {
		l.Holder = h.holder
	}
	return engine.FileLock{Owner: owner, Holder: l.Holder, Process: l.Process, Kind: l.Kind, Mode: l.Mode, Start: l.Start, Length: l.Length}
}

func (h *Handle) lock(ctx context.Context, l Lock) error {
	f := h.file
	if l.Holder != 0 && l.Holder != HolderOf(l.Holder) {
		return engine.E(engine.KindInvalidArgument, "the holder %d is no number of HolderOf", l.Holder)
	}
	f.mu.Lock()
	err := f.lost
	if h.closed {
		err = engine.E(engine.KindInvalidArgument, "the handle is closed")
	}
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.tree.owner(f.id.Bucket).do(ctx, func(owner engine.OwnerID) error {
		asked := h.engineLock(owner, l)
		f.noteLock(asked, false) // before the call: its outcome may be unknown
		err := f.tree.Engine.LockFile(ctx, f.id, asked)
		if err == nil {
			f.noteLock(asked, true)
		}
		return err
	})
}

// noteLock notes that somebody may have a lock, or surely has one.
func (f *file) noteLock(l engine.FileLock, sure bool) {
	if l.Mode == engine.LockNone {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	who := lockHolder{l.Kind, l.Holder}
	f.locks[who] = f.locks[who] || sure
}

// unlockOf gives up all locks of a holder.
func (f *file) unlockOf(ctx context.Context, holder uint64) error {
	return f.unlockThose(ctx, func(l lockHolder) bool { return l.holder == holder })
}

// unlockAll gives up all locks that the Tree has of the file.
func (f *file) unlockAll(ctx context.Context) error {
	return f.unlockThose(ctx, func(lockHolder) bool { return true })
}

func (f *file) unlockThose(ctx context.Context, those func(lockHolder) bool) error {
	ctx, cancel := context.WithTimeout(ctx, engine.OwnerExpiry/4)
	defer cancel()
	var all []lockHolder
	f.mu.Lock()
	for l := range f.locks {
		if those(l) {
			all = append(all, l)
		}
	}
	f.mu.Unlock()
	var errs []error
	for _, l := range all {
		owner := f.tree.owner(f.id.Bucket).current()
		err := f.tree.Engine.LockFile(ctx, f.id, engine.FileLock{Owner: owner, Holder: l.holder, Kind: l.kind})
		if err != nil && !released(err) {
			errs = append(errs, err)
			continue
		}
		f.mu.Lock()
		delete(f.locks, l)
		f.mu.Unlock()
	}
	return errors.Join(errs...)
}

// loseLocks says that the locks of the file went with the owner: the handles tell it once.
func (f *file) loseLocks() {
	f.mu.Lock()
	defer f.mu.Unlock()
	sure := false
	for _, had := range f.locks {
		sure = sure || had
	}
	clear(f.locks)
	if !sure {
		return
	}
	f.report(engine.E(engine.KindExpired, "the locks of the file went while nothing renewed them; lock it again"))
}
