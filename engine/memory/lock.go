package memory

import (
	"context"
	"time"

	"holdfast/engine"
)

// BucketLock returns what SetBucketLock said last, or CreateBucket.
func (e *Engine) BucketLock(ctx context.Context, name engine.BucketName) (l engine.BucketLock, err error) {
	if err = ready(ctx, name); err == nil {
		e.mu.RLock()
		defer e.mu.RUnlock()
		var b *bucket
		if b, err = e.find(name); err == nil {
			l = b.lock
		}
	}
	return l, engine.Wrap("bucket lock", engine.Ref{Bucket: name}, err)
}

// SetBucketLock enables locks and sets the retention of versions that are made later without one.
func (e *Engine) SetBucketLock(ctx context.Context, name engine.BucketName, l engine.BucketLock) error {
	return engine.Wrap("set bucket lock", engine.Ref{Bucket: name}, e.setBucketLock(ctx, name, l))
}

func (e *Engine) setBucketLock(ctx context.Context, name engine.BucketName, l engine.BucketLock) error {
	if err := ready(ctx, name); err != nil {
		return err
	}
	if err := engine.CheckBucketLock(l); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(name)
	if err != nil {
		return err
	}
	if b.versioning != engine.VersioningEnabled {
		return engine.E(engine.KindBucketState, "locks need versioning; enable it first")
	}
	b.lock = l
	e.raise(b, engine.ChangeBucketLock, "").doneBucket("")
	return nil
}

// newLock returns the lock of a version that is made now.
func (e *Engine) newLock(b *bucket, l engine.Lock) (engine.Lock, error) {
	switch {
	case !b.lock.Enabled && !l.IsZero():
		return l, engine.E(engine.KindNoLock, "locks are not enabled in the bucket")
	case b.lock.Enabled && l.Mode == engine.RetentionNone:
		l.Retention = b.lock.RetentionOf(e.stamp(b))
	}
	if l.Mode != engine.RetentionNone {
		l.Until = l.Until.Truncate(time.Millisecond)
	}
	return l, nil
}

// SetLock changes the lock of a version.
func (e *Engine) SetLock(ctx context.Context, ref engine.Ref, change engine.LockChange) (engine.ObjectInfo, error) {
	info, err := e.setLock(ctx, ref, change)
	return info, engine.Wrap("set lock", ref, err)
}

func (e *Engine) setLock(ctx context.Context, ref engine.Ref, change engine.LockChange) (info engine.ObjectInfo, err error) {
	if err := readyKey(ctx, ref); err != nil {
		return info, err
	}
	if change.Retention != nil {
		if err := engine.CheckRetention(*change.Retention, e.now()); err != nil {
			return info, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(ref.Bucket)
	if err != nil {
		return info, err
	}
	if !b.lock.Enabled {
		return info, engine.E(engine.KindNoLock, "locks are not enabled in the bucket")
	}
	before, err := b.readable(ref)
	if err != nil {
		return info, err
	}
	changed := *before
	if r := change.Retention; r != nil {
		if why := before.info.Lock.Allows(*r, e.now(), change.Bypass); why != "" {
			return info, engine.E(engine.KindLocked, "%s", why)
		}
		changed.info.Lock.Retention = engine.Retention{Mode: r.Mode, Until: r.Until.Truncate(time.Millisecond)}
	}
	if change.Hold != nil {
		changed.info.Lock.Hold, changed.info.Lock.Lifted = *change.Hold, !*change.Hold
	}
	return e.exchange(b, engine.ChangeLock, before, &changed), nil
}

// exchange puts a version in the place of one that differs from it in nothing but tags or lock, under all its names.
func (e *Engine) exchange(b *bucket, kind engine.ChangeKind, before, after *object) engine.ObjectInfo {
	n := e.raise(b, kind, before.info.Key)
	e.stamp(b)
	b.change(before, func(o *object) { o.info.Tags, o.info.Lock = after.info.Tags, after.info.Lock })
	n.doneAbout(after)
	info := b.answer(after)
	info.Class, info.Attributes, info.Tags, info.Checksum, info.Parts = "", engine.Attributes{}, nil, engine.Checksum{}, 0
	return info
}
