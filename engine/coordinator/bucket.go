package coordinator

import (
	"cmp"
	"context"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// CreateBucket implements engine.Buckets: root reserves, the group creates, root activates.
func (c *Coordinator) CreateBucket(ctx context.Context, name engine.BucketName, o engine.CreateBucketOptions) (engine.BucketInfo, error) {
	info, err := c.createBucket(ctx, name, o)
	return info, engine.Wrap("create bucket", engine.Ref{Bucket: name}, err)
}

func (c *Coordinator) createBucket(ctx context.Context, name engine.BucketName, o engine.CreateBucketOptions) (info engine.BucketInfo, err error) {
	if err := engine.CheckBucketName(name); err != nil {
		return info, err
	}
	_, _, refusal := c.Root.Do(ctx, &meta.ReserveBucket{Name: name, Group: 1, Lock: o.Lock})
	if refusal != nil && !engine.Is(refusal, engine.KindBucketExists) {
		return info, refusal
	}
	// From here on the outcome must not depend on the caller's patience.
	ctx, cancel := patient(ctx)
	defer cancel()
	record, err := meta.LookupBucket(c.Root.Group().Rows(ctx), name)
	if refusal != nil && (err != nil || record.State != meta.BucketCreating) {
		return info, refusal
	}
	if err != nil {
		return info, rowError(err)
	}
	// A creation that another call left half-done is finished here; the bucket exists then, and that call may have been the one to hear so.
	if err := c.activate(ctx, record); err != nil || refusal != nil {
		return info, cmp.Or(err, refusal)
	}
	return engine.BucketInfo{Name: name, ID: record.ID, Created: record.Created}, nil
}

// patient returns a context that outlives its parent, for steps that must not stay half-done because a caller gave up.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

// activate makes a reserved bucket usable. Another call may have done so already.
func (c *Coordinator) activate(ctx context.Context, record meta.BucketRecord) error {
	if _, _, err := c.Data.Do(ctx, &meta.CreateBucket{Bucket: record.ID, Name: record.Name, Lock: record.Lock}); err != nil {
		return err
	}
	_, _, err := c.Root.Do(ctx, &meta.SetBucket{Name: record.Name, Bucket: record.ID, From: meta.BucketCreating, To: meta.BucketActive})
	if engine.Is(err, engine.KindConflict) {
		return nil
	}
	return err
}

// DeleteBucket implements engine.Buckets: root marks, the group deletes if the bucket is empty or it must, root forgets the name.
func (c *Coordinator) DeleteBucket(ctx context.Context, name engine.BucketName, o engine.DeleteBucketOptions) error {
	return engine.Wrap("delete bucket", engine.Ref{Bucket: name}, c.deleteBucket(ctx, name, o))
}

func (c *Coordinator) deleteBucket(ctx context.Context, name engine.BucketName, o engine.DeleteBucketOptions) error {
	record, err := c.bucket(ctx, name)
	if err != nil {
		return err
	}
	if record.State == meta.BucketDeleting {
		ctx, cancel := patient(ctx)
		defer cancel()
		return c.finishDelete(ctx, record, o) // which another call left half-done, or is about to do
	}
	mark := &meta.SetBucket{Name: name, Bucket: record.ID, From: meta.BucketActive, To: meta.BucketDeleting}
	if _, _, err := c.Root.Do(ctx, mark); err != nil {
		return err
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	return c.finishDelete(ctx, record, o)
}

// finishDelete deletes a marked bucket, or takes the mark back if it is not empty or holds what may not go.
func (c *Coordinator) finishDelete(ctx context.Context, record meta.BucketRecord, o engine.DeleteBucketOptions) error {
	next := meta.BucketState(0)
	var command meta.Command = &meta.DeleteBucket{Bucket: record.ID}
	if o.Force {
		command = &meta.RemoveBucket{Bucket: record.ID}
	}
	stepRemove.Enter()
	_, _, refusal := c.Data.Do(ctx, command)
	stepRemove.Leave()
	if refusal != nil {
		if !engine.Is(refusal, engine.KindBucketNotEmpty) && !engine.Is(refusal, engine.KindLocked) {
			return refusal // not known: the next start finishes it
		}
		next = meta.BucketActive
	}
	settle := &meta.SetBucket{Name: record.Name, Bucket: record.ID, From: meta.BucketDeleting, To: next}
	_, _, err := c.Root.Do(ctx, settle)
	if engine.Is(err, engine.KindConflict) && refusal == nil {
		// Another call found the bucket full and took the mark back, before it was emptied and this one deleted it in its group.
		settle.From = meta.BucketActive
		_, _, err = c.Root.Do(ctx, settle)
	}
	if err != nil && !engine.Is(err, engine.KindConflict) {
		return err // KindNoSuchBucket if another call has finished it
	}
	return refusal
}

// finishDeleted takes a bucket from the directory that its group does not have any more: the call that deleted it there did not come to this after another
// had taken back the mark.
func (c *Coordinator) finishDeleted(ctx context.Context, record meta.BucketRecord) error {
	has, err := meta.HasBucket(c.Data.Group().Rows(ctx), record.ID)
	if err != nil || has {
		return rowError(err)
	}
	_, _, err = c.Root.Do(ctx, &meta.SetBucket{Name: record.Name, Bucket: record.ID, From: meta.BucketActive})
	return err
}

// finishBuckets finishes creations and deletions that a crash interrupted.
func (c *Coordinator) finishBuckets(ctx context.Context) error {
	view, err := c.Root.Group().Read(ctx)
	if err != nil {
		return err
	}
	defer view.Close()
	after := engine.BucketName("")
	for {
		list, err := meta.ListBuckets(view, "", after, engine.PageMax)
		if err != nil {
			return rowError(err)
		}
		for _, record := range list {
			after = record.Name
			switch record.State {
			case meta.BucketCreating:
				err = c.activate(ctx, record)
			case meta.BucketDeleting:
				// Whether the deletion was forced is not known: where its command was not decided, nobody was told that the bucket is gone.
				if err = c.finishDelete(ctx, record, engine.DeleteBucketOptions{}); engine.Is(err, engine.KindBucketNotEmpty) {
					err = nil
				}
			case meta.BucketActive:
				err = c.finishDeleted(ctx, record)
			}
			if err != nil {
				return engine.Wrap("finish bucket", engine.Ref{Bucket: record.Name}, err)
			}
		}
		if len(list) < engine.PageMax {
			return nil
		}
	}
}

// StatBucket implements engine.Buckets.
func (c *Coordinator) StatBucket(ctx context.Context, name engine.BucketName) (engine.BucketInfo, error) {
	record, err := c.bucket(ctx, name)
	return record.Info(), engine.Wrap("stat bucket", engine.Ref{Bucket: name}, err)
}

// BucketVersioning implements engine.Buckets.
func (c *Coordinator) BucketVersioning(ctx context.Context, name engine.BucketName) (engine.Versioning, error) {
	record, view, err := c.bucketView(ctx, name)
	if err != nil {
		return 0, engine.Wrap("bucket versioning", engine.Ref{Bucket: name}, err)
	}
	defer view.Close()
	v, err := meta.LookupVersioning(view, record.ID)
	return v, engine.Wrap("bucket versioning", engine.Ref{Bucket: name}, rowError(err))
}

// SetVersioning implements engine.Buckets.
func (c *Coordinator) SetVersioning(ctx context.Context, name engine.BucketName, v engine.Versioning) error {
	if err := engine.CheckVersioning(v); err != nil {
		return engine.Wrap("set versioning", engine.Ref{Bucket: name}, err)
	}
	record, err := c.bucket(ctx, name)
	if err == nil {
		_, _, err = c.Data.Do(ctx, &meta.SetVersioning{Bucket: record.ID, Versioning: v})
	}
	return engine.Wrap("set versioning", engine.Ref{Bucket: name}, err)
}

// ListBuckets implements engine.Buckets.
func (c *Coordinator) ListBuckets(ctx context.Context, o engine.ListBucketsOptions) (page engine.BucketPage, err error) {
	if o.Max <= 0 || o.Max > engine.PageMax {
		o.Max = engine.PageMax
	}
	view, err := c.Root.Group().Read(ctx)
	if err != nil {
		return page, engine.Wrap("list buckets", engine.Ref{}, err)
	}
	defer view.Close()
	for {
		list, err := meta.ListBuckets(view, o.Prefix, o.After, o.Max+1)
		if err != nil {
			return page, engine.Wrap("list buckets", engine.Ref{}, rowError(err))
		}
		for _, record := range list {
			o.After = record.Name
			if record.State == meta.BucketCreating {
				continue
			}
			if len(page.Buckets) == o.Max {
				page.Truncated = true
				return page, nil
			}
			page.Buckets = append(page.Buckets, record.Info())
		}
		if len(list) <= o.Max {
			return page, nil
		}
	}
}
