package memory

import (
	"context"
	"strings"

	"holdfast/engine"
)

// CreateBucket makes an empty bucket.
func (e *Engine) CreateBucket(ctx context.Context, name engine.BucketName, o engine.CreateBucketOptions) (engine.BucketInfo, error) {
	info, err := e.createBucket(ctx, name, o)
	return info, engine.Wrap("create bucket", engine.Ref{Bucket: name}, err)
}

func (e *Engine) createBucket(ctx context.Context, name engine.BucketName, o engine.CreateBucketOptions) (engine.BucketInfo, error) {
	if err := ready(ctx, name); err != nil {
		return engine.BucketInfo{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.find(name); err == nil {
		return engine.BucketInfo{}, engine.E(engine.KindBucketExists, "the name is taken")
	}
	e.lastID++
	b := newBucket(engine.BucketInfo{Name: name, ID: e.lastID, Created: e.now()})
	if o.Lock {
		b.lock.Enabled, b.versioning = true, engine.VersioningEnabled
	}
	e.buckets.ReplaceOrInsert(b)
	return b.info, nil
}

// DeleteBucket removes a bucket, with its uploads; one that holds objects only by force.
func (e *Engine) DeleteBucket(ctx context.Context, name engine.BucketName, o engine.DeleteBucketOptions) error {
	return engine.Wrap("delete bucket", engine.Ref{Bucket: name}, e.deleteBucket(ctx, name, o))
}

func (e *Engine) deleteBucket(ctx context.Context, name engine.BucketName, o engine.DeleteBucketOptions) error {
	if err := ready(ctx, name); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(name)
	if err != nil {
		return err
	}
	if n := b.stacks.Len(); n > 0 && !o.Force {
		return engine.E(engine.KindBucketNotEmpty, "it holds %d objects; delete them first", n)
	}
	if _, _, held := b.beneath(""); held > 0 {
		return engine.E(engine.KindLocked, "%d versions in the bucket have a retention or legal hold", held)
	}
	e.buckets.Delete(b)
	e.wake()
	return nil
}

// StatBucket describes a bucket.
func (e *Engine) StatBucket(ctx context.Context, name engine.BucketName) (engine.BucketInfo, error) {
	info, err := e.statBucket(ctx, name)
	return info, engine.Wrap("stat bucket", engine.Ref{Bucket: name}, err)
}

func (e *Engine) statBucket(ctx context.Context, name engine.BucketName) (engine.BucketInfo, error) {
	if err := ready(ctx, name); err != nil {
		return engine.BucketInfo{}, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, err := e.find(name)
	if err != nil {
		return engine.BucketInfo{}, err
	}
	return b.info, nil
}

// BucketVersioning returns what SetVersioning said last.
func (e *Engine) BucketVersioning(ctx context.Context, name engine.BucketName) (v engine.Versioning, err error) {
	if err = ready(ctx, name); err == nil {
		e.mu.RLock()
		defer e.mu.RUnlock()
		var b *bucket
		if b, err = e.find(name); err == nil {
			v = b.versioning
		}
	}
	return v, engine.Wrap("bucket versioning", engine.Ref{Bucket: name}, err)
}

// SetVersioning says what changes do with the version that was current.
func (e *Engine) SetVersioning(ctx context.Context, name engine.BucketName, v engine.Versioning) error {
	return engine.Wrap("set versioning", engine.Ref{Bucket: name}, e.setVersioning(ctx, name, v))
}

func (e *Engine) setVersioning(ctx context.Context, name engine.BucketName, v engine.Versioning) error {
	if err := ready(ctx, name); err != nil {
		return err
	}
	if err := engine.CheckVersioning(v); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(name)
	if err != nil {
		return err
	}
	if b.lock.Enabled && v != engine.VersioningEnabled {
		return engine.E(engine.KindBucketState, "the bucket has locks; its versioning stays enabled")
	}
	if b.linked() {
		return engine.E(engine.KindBucketState, "a file in the bucket has several names, which files with versions cannot have; remove the others first")
	}
	b.versioning = v
	if len(b.feed.cursors) > 0 {
		e.raise(b, engine.ChangeVersioning, "").doneBucket("")
	}
	return nil
}

// ListBuckets returns buckets in order of their names.
func (e *Engine) ListBuckets(ctx context.Context, o engine.ListBucketsOptions) (engine.BucketPage, error) {
	p, err := e.listBuckets(ctx, o)
	return p, engine.Wrap("list buckets", engine.Ref{}, err)
}

func (e *Engine) listBuckets(ctx context.Context, o engine.ListBucketsOptions) (p engine.BucketPage, err error) {
	limit, err := page(o.Max)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return p, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	e.buckets.Ascend(func(b *bucket) bool {
		switch {
		case !strings.HasPrefix(string(b.info.Name), o.Prefix) || b.info.Name <= o.After:
		case len(p.Buckets) == limit:
			p.Truncated = true
			return false
		default:
			p.Buckets = append(p.Buckets, b.info)
		}
		return true
	})
	return p, nil
}
