package coordinator

import (
	"context"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
)

func unixNano(stamp int64) time.Time { return time.Unix(0, stamp) }

// Delete implements engine.Objects.
func (c *Coordinator) Delete(ctx context.Context, ref engine.Ref, o engine.DeleteOptions) (engine.DeleteResult, error) {
	record, err := c.locate(ctx, ref)
	if err != nil {
		return engine.DeleteResult{}, engine.Wrap("delete", ref, err)
	}
	if err := checkWrite(&o.If); err != nil {
		return engine.DeleteResult{}, engine.Wrap("delete", ref, err)
	}
	defer stepDelete.Enter().Leave()
	answer, _, err := c.Data.Do(ctx, &meta.Delete{Bucket: record.ID, Key: ref.Key, Version: ref.Version, If: o.If, Bypass: o.Bypass, Clock: time.Now().UnixNano()})
	return engine.DeleteResult{Version: answer.Version, Marker: answer.Marker, Existed: answer.Existed}, engine.Wrap("delete", ref, err)
}

// List implements engine.Objects.
func (c *Coordinator) List(ctx context.Context, bucket engine.BucketName, o engine.ListOptions) (engine.ObjectPage, error) {
	page, err := c.list(ctx, bucket, o)
	return page, engine.Wrap("list", engine.Ref{Bucket: bucket}, err)
}

func (c *Coordinator) list(ctx context.Context, bucket engine.BucketName, o engine.ListOptions) (page engine.ObjectPage, err error) {
	record, view, err := c.bucketView(ctx, bucket)
	if err != nil {
		return page, err
	}
	defer view.Close()
	if page, err = meta.List(view, record.ID, o); err != nil {
		return page, rowError(err)
	}
	for i := range page.Objects {
		page.Objects[i].Bucket = bucket
	}
	return page, nil
}

// ListVersions implements engine.Objects.
func (c *Coordinator) ListVersions(ctx context.Context, bucket engine.BucketName, o engine.ListVersionsOptions) (engine.VersionPage, error) {
	page, err := c.listVersions(ctx, bucket, o)
	return page, engine.Wrap("list versions", engine.Ref{Bucket: bucket}, err)
}

func (c *Coordinator) listVersions(ctx context.Context, bucket engine.BucketName, o engine.ListVersionsOptions) (page engine.VersionPage, err error) {
	if err := engine.CheckVersion(o.AfterVersion); err != nil {
		return page, err
	}
	record, view, err := c.bucketView(ctx, bucket)
	if err != nil {
		return page, err
	}
	defer view.Close()
	if page, err = meta.ListVersions(view, record.ID, o); err != nil {
		return page, rowError(err)
	}
	for i := range page.Versions {
		page.Versions[i].Bucket = bucket
	}
	return page, nil
}

// bucketView returns a view in which the bucket exists.
func (c *Coordinator) bucketView(ctx context.Context, bucket engine.BucketName) (record meta.BucketRecord, view meta.Snapshot, err error) {
	if record, err = c.bucket(ctx, bucket); err != nil {
		return record, nil, err
	}
	if view, err = c.Data.Group().Read(ctx); err != nil {
		return record, nil, err
	}
	if ok, err := meta.HasBucket(view, record.ID); err != nil || !ok {
		_ = view.Close() // the outcome is decided
		if err != nil {
			return record, nil, rowError(err)
		}
		return record, nil, engine.E(engine.KindNoSuchBucket, "there is no bucket %q", bucket)
	}
	return record, view, nil
}
