// Package memory is an engine.Engine in a sorted map behind one lock: the reference model that every other engine is compared with,
// and a fixture for whoever needs an engine and no drives.
//
// Promise: it answers exactly as the comments of package engine say, with real ETags and checksums, and is simple enough to be seen
// to be right. Bytes of an open object never change.
//
// It keeps nothing: what it holds is gone with the process. It does not know redundancy, admission or budgets; a storage class is a
// name to it.
package memory

import (
	"context"
	"sync"
	"time"

	"github.com/google/btree"

	"holdfast/engine"
)

// Engine implements engine.Engine. It is safe for concurrent use.
type Engine struct {
	clock func() time.Time

	mu      sync.RWMutex // guards all below, and everything that the buckets hold
	buckets *btree.BTreeG[*bucket]
	lastID  engine.BucketID
	uploads uint64 // started so far
}

var _ engine.Engine = (*Engine)(nil)

// Option changes what New makes.
type Option func(*Engine)

// Clock makes the engine stamp changes with what now returns; stamps of one bucket never go backwards even if it does.
func Clock(now func() time.Time) Option { return func(e *Engine) { e.clock = now } }

// New returns an engine without buckets.
func New(options ...Option) *Engine {
	e := &Engine{clock: time.Now, buckets: btree.NewG(degree, func(a, b *bucket) bool { return a.info.Name < b.info.Name })}
	for _, option := range options {
		option(e)
	}
	return e
}

const degree = 16

// bucket is a namespace. last is the latest stamp given.
type bucket struct {
	info     engine.BucketInfo
	objects  *btree.BTreeG[*object]
	uploads  *btree.BTreeG[*upload]
	sequence engine.Sequence
	last     time.Time
}

// object is a current version. It is immutable: a change puts another in its place. upload is the upload that made it, if any.
type object struct {
	info   engine.ObjectInfo
	data   []byte
	upload engine.UploadID
}

// upload is an upload in progress; its parts are ordered by number.
type upload struct {
	info  engine.UploadInfo
	parts *btree.BTreeG[*part]
}

// part is immutable.
type part struct {
	info engine.PartInfo
	data []byte
	md5  [16]byte
}

func newBucket(info engine.BucketInfo) *bucket {
	return &bucket{
		info:    info,
		objects: btree.NewG(degree, func(a, b *object) bool { return a.info.Key < b.info.Key }),
		uploads: btree.NewG(degree, func(a, b *upload) bool {
			return a.info.Key < b.info.Key || a.info.Key == b.info.Key && a.info.ID < b.info.ID
		}),
		last: info.Created,
	}
}

// now returns the clock's time without its monotonic part.
func (e *Engine) now() time.Time { return e.clock().UTC().Round(0) }

// stamp returns the time of a change: the clock's, or the last one's when the clock went backwards.
func (e *Engine) stamp(b *bucket) time.Time {
	if now := e.now(); now.After(b.last) {
		b.last = now
	}
	return b.last
}

// find returns a bucket by name. The caller holds the lock.
func (e *Engine) find(name engine.BucketName) (*bucket, error) {
	if b, ok := e.buckets.Get(&bucket{info: engine.BucketInfo{Name: name}}); ok {
		return b, nil
	}
	return nil, engine.E(engine.KindNoSuchBucket, "there is no bucket %q", string(name))
}

// object returns the current version of a key, or nil.
func (b *bucket) object(key engine.Key) *object {
	o, _ := b.objects.Get(&object{info: engine.ObjectInfo{Key: key}})
	return o
}

// ready returns what is wrong with a call before anything is looked up.
func ready(ctx context.Context, name engine.BucketName) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return engine.CheckBucketName(name)
}

// readyKey is ready for a call about a key.
func readyKey(ctx context.Context, ref engine.Ref) error {
	if err := ready(ctx, ref.Bucket); err != nil {
		return err
	}
	return engine.CheckKey(ref.Key)
}

// page returns the length of a page that a caller asked for.
func page(limit int) (int, error) {
	switch {
	case limit < 0:
		return 0, engine.E(engine.KindInvalidArgument, "a page of %d items was asked for", limit)
	case limit == 0 || limit > engine.PageMax:
		return engine.PageMax, nil
	}
	return limit, nil
}
