package memory

import (
	"context"

	"holdfast/engine"
)

// BucketQuota returns what SetBucketQuota said last.
func (e *Engine) BucketQuota(ctx context.Context, name engine.BucketName) (q engine.Quota, err error) {
	if err = ready(ctx, name); err == nil {
		e.mu.RLock()
		defer e.mu.RUnlock()
		var b *bucket
		if b, err = e.find(name); err == nil {
			q = b.quota
		}
	}
	return q, engine.Wrap("bucket quota", engine.Ref{Bucket: name}, err)
}

// SetBucketQuota bounds what the bucket holds from now on.
func (e *Engine) SetBucketQuota(ctx context.Context, name engine.BucketName, q engine.Quota) error {
	err := ready(ctx, name)
	if err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		var b *bucket
		if b, err = e.find(name); err == nil {
			b.quota = q
		}
	}
	return engine.Wrap("set bucket quota", engine.Ref{Bucket: name}, err)
}

// heldAll is what the bucket holds of what a quota bounds.
func (b *bucket) heldAll() (q engine.Quota) {
	b.stacks.Ascend(func(s *stack) bool {
		for _, o := range s.versions {
			q.Bytes += uint64(o.info.Size)
		}
		if !s.versions[0].info.Marker {
			q.Objects++
		}
		return true
	})
	return q
}

// fitsQuota says why the bucket cannot hold so much more, or less.
func (b *bucket) fitsQuota(objects, bytes int64) error {
	if b.quota == (engine.Quota{}) {
		return nil
	}
	before := b.heldAll()
	after := engine.Quota{Bytes: before.Bytes + uint64(bytes), Objects: before.Objects + uint64(objects)}
	if refusal := b.quota.Judge(before, after); refusal != nil {
		return refusal
	}
	return nil
}

// fitsPush says why a version of a size cannot be put on top of those of a key.
func (b *bucket) fitsPush(key engine.Key, size int64) error {
	objects := int64(1)
	for i, o := range b.versions(key) {
		if i == 0 && !o.info.Marker {
			objects = 0
		}
		if b.versioning != engine.VersioningEnabled && o.info.Version == engine.NullVersion {
			size -= o.info.Size
		}
	}
	return b.fitsQuota(objects, size)
}
