package filetree

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"holdfast/engine"
)

// owner is what the Tree holds files of a bucket by. The engine ends it when it is not renewed; then it is opened anew.
type owner struct {
	tree   *Tree
	bucket engine.BucketName
	open   *semaphore.Weighted // 1: who opens it

	mu sync.Mutex
	id engine.OwnerID // 0 until it is opened
}

// owner returns the one of a bucket.
func (t *Tree) owner(bucket engine.BucketName) *owner {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[bucket]
	if o == nil {
		o = &owner{tree: t, bucket: bucket, open: semaphore.NewWeighted(1)}
		t.owners[bucket] = o
	}
	return o
}

func (o *owner) current() engine.OwnerID {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.id
}

// do calls f with the owner, and once more with a new one if that has expired.
func (o *owner) do(ctx context.Context, f func(engine.OwnerID) error) error {
	id := o.current()
	if id != 0 {
		if err := f(id); !engine.Is(err, engine.KindExpired) {
			return err
		}
	}
	id, err := o.reopen(ctx, id)
	if err != nil {
		return err
	}
	return f(id)
}

// reopen opens the owner anew in the place of one that has expired, and holds again what is open. Files that went meanwhile are lost to their handles, and
// so are all locks.
func (o *owner) reopen(ctx context.Context, expired engine.OwnerID) (engine.OwnerID, error) {
	if err := o.open.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer o.open.Release(1)
	if id := o.current(); id != expired {
		return id, nil
	}
	id, err := o.tree.Engine.OpenOwner(ctx, o.bucket, o.tree.Name)
	if err != nil {
		return 0, err
	}
	// From here on files are held by the new owner: those that are open before this line are found below, others look at it themselves.
	o.set(id)
	for _, f := range o.tree.heldIn(o.bucket) {
		_, err := o.tree.Engine.HoldFile(ctx, f.id, id)
		switch engine.KindOf(err) {
		case engine.KindNoSuchKey, engine.KindNoSuchBucket, engine.KindBucketState, engine.KindIsDirectory:
			f.lose(err)
		default:
			if err != nil {
				o.set(expired) // the next call finds it expired again; the new one is not renewed and goes
				return 0, err
			}
		}
		f.loseLocks()
	}
	return id, nil
}

func (o *owner) set(id engine.OwnerID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.id = id
}

// renew has the owner live on. What fails for another reason than that it has expired is tried again in the next round; there are four of them before
// it expires.
func (o *owner) renew(ctx context.Context) {
	id := o.current()
	if id == 0 {
		return
	}
	if _, err := o.tree.Engine.RenewOwner(ctx, o.bucket, id); engine.Is(err, engine.KindExpired) {
		_, _ = o.reopen(ctx, id) // likewise: the next round finds it expired again
	}
}

// end closes the owner.
func (o *owner) end(ctx context.Context) error {
	id := o.current()
	if id == 0 {
		return nil
	}
	err := o.tree.Engine.CloseOwner(ctx, o.bucket, id)
	if engine.Is(err, engine.KindNoSuchBucket) {
		return nil
	}
	return err
}

// heldIn returns the files of a bucket that are open.
func (t *Tree) heldIn(bucket engine.BucketName) (files []*file) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, f := range t.files {
		if id.Bucket == bucket && f.isHeld() {
			files = append(files, f)
		}
	}
	return files
}
