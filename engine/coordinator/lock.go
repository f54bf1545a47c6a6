package coordinator

import (
	"context"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
	"holdfast/observe"
)

var stepLock = observe.NewStep("coordinator: the command of a change of locks is decided")

// BucketLock implements engine.Buckets.
func (c *Coordinator) BucketLock(ctx context.Context, name engine.BucketName) (engine.BucketLock, error) {
	record, view, err := c.bucketView(ctx, name)
	if err != nil {
		return engine.BucketLock{}, engine.Wrap("bucket lock", engine.Ref{Bucket: name}, err)
	}
	defer view.Close()
	l, err := meta.LookupBucketLock(view, record.ID)
	return l, engine.Wrap("bucket lock", engine.Ref{Bucket: name}, rowError(err))
}

// lockable refuses a lock where there can be none before the body is taken in. The group judges again.
func (c *Coordinator) lockable(ctx context.Context, name engine.BucketName, l *engine.Lock) error {
	if l.IsZero() {
		return nil
	}
	has, err := c.BucketLock(ctx, name)
	if err == nil && !has.Enabled {
		err = engine.E(engine.KindNoLock, "locks are not enabled in the bucket")
	}
	return err
}

// SetBucketLock implements engine.Buckets.
func (c *Coordinator) SetBucketLock(ctx context.Context, name engine.BucketName, l engine.BucketLock) error {
	if err := engine.CheckBucketLock(l); err != nil {
		return engine.Wrap("set bucket lock", engine.Ref{Bucket: name}, err)
	}
	record, err := c.bucket(ctx, name)
	if err == nil {
		stepLock.Enter()
		_, _, err = c.Data.Do(ctx, &meta.SetBucketLock{Bucket: record.ID, Lock: l})
		stepLock.Leave()
	}
	return engine.Wrap("set bucket lock", engine.Ref{Bucket: name}, err)
}

// BucketQuota implements engine.Buckets.
func (c *Coordinator) BucketQuota(ctx context.Context, name engine.BucketName) (engine.Quota, error) {
	record, view, err := c.bucketView(ctx, name)
	if err != nil {
		return engine.Quota{}, engine.Wrap("bucket quota", engine.Ref{Bucket: name}, err)
	}
	defer view.Close()
	q, err := meta.LookupBucketQuota(view, record.ID)
	return q, engine.Wrap("bucket quota", engine.Ref{Bucket: name}, rowError(err))
}

// SetBucketQuota implements engine.Buckets.
func (c *Coordinator) SetBucketQuota(ctx context.Context, name engine.BucketName, q engine.Quota) error {
	record, err := c.bucket(ctx, name)
	if err == nil {
		_, _, err = c.Data.Do(ctx, &meta.SetBucketQuota{Bucket: record.ID, Quota: q})
	}
	return engine.Wrap("set bucket quota", engine.Ref{Bucket: name}, err)
}

// SetLock implements engine.Objects.
func (c *Coordinator) SetLock(ctx context.Context, ref engine.Ref, change engine.LockChange) (engine.ObjectInfo, error) {
	info, err := c.setLock(ctx, ref, change)
	return info, engine.Wrap("set lock", ref, err)
}

func (c *Coordinator) setLock(ctx context.Context, ref engine.Ref, change engine.LockChange) (info engine.ObjectInfo, err error) {
	record, err := c.locate(ctx, ref)
	if err != nil {
		return info, err
	}
	now := time.Now()
	command := &meta.SetLock{Bucket: record.ID, Key: ref.Key, Version: ref.Version, Bypass: change.Bypass, Clock: now.UnixNano()}
	if change.Retention != nil {
		if err := engine.CheckRetention(*change.Retention, now); err != nil {
			return info, err
		}
		command.SetRetention, command.Lock.Retention = true, *change.Retention
	}
	if change.Hold != nil {
		command.SetHold, command.Lock.Hold = true, *change.Hold
	}
	stepLock.Enter()
	answer, _, err := c.Data.Do(ctx, command)
	stepLock.Leave()
	if err != nil {
		return info, c.marked(ctx, ref, err)
	}
	return made(ref, &answer), nil
}

// marked adds to the error of a command about a version what a read tells of the delete marker that is there.
func (c *Coordinator) marked(ctx context.Context, ref engine.Ref, err error) error {
	switch engine.KindOf(err) {
	case engine.KindNoSuchKey, engine.KindDeleteMarker:
		if _, seen := c.stat(ctx, ref, engine.StatOptions{}); engine.KindOf(seen) == engine.KindOf(err) && seen != nil {
			return seen
		}
	}
	return err
}
