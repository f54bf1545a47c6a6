package session

import (
	"context"

	"holdfast/access"
	"holdfast/engine"
)

// Whoever follows a bucket sees all that lies in it and what becomes of it, so that it takes what it takes to list versions; and whoever has a cursor
// has the engine keep what it has not passed, which it takes to be told of changes.
const (
	following access.Action = "s3:ListBucketVersions"
	notified  access.Action = "s3:PutBucketNotification"
)

func (s *session) OpenCursor(ctx context.Context, bucket engine.BucketName, name string) (engine.Cursor, error) {
	return do(ctx, s, notified, engine.Ref{Bucket: bucket}, func() (engine.Cursor, error) { return s.engine.OpenCursor(ctx, bucket, name) })
}

func (s *session) ListCursors(ctx context.Context, bucket engine.BucketName) ([]engine.Cursor, error) {
	return do(ctx, s, following, engine.Ref{Bucket: bucket}, func() ([]engine.Cursor, error) { return s.engine.ListCursors(ctx, bucket) })
}

func (s *session) Changes(ctx context.Context, bucket engine.BucketName, name string, o engine.ChangesOptions) (engine.ChangePage, error) {
	return do(ctx, s, following, engine.Ref{Bucket: bucket}, func() (engine.ChangePage, error) { return s.engine.Changes(ctx, bucket, name, o) })
}

func (s *session) MoveCursor(ctx context.Context, bucket engine.BucketName, name string, to engine.Sequence) error {
	return doOnly(ctx, s, notified, engine.Ref{Bucket: bucket}, func() error { return s.engine.MoveCursor(ctx, bucket, name, to) })
}

func (s *session) ResetCursor(ctx context.Context, bucket engine.BucketName, name string) (engine.Cursor, error) {
	return do(ctx, s, notified, engine.Ref{Bucket: bucket}, func() (engine.Cursor, error) { return s.engine.ResetCursor(ctx, bucket, name) })
}

func (s *session) CloseCursor(ctx context.Context, bucket engine.BucketName, name string) error {
	return doOnly(ctx, s, notified, engine.Ref{Bucket: bucket}, func() error { return s.engine.CloseCursor(ctx, bucket, name) })
}

func (s *session) Expand(ctx context.Context, bucket engine.BucketName, name string, change engine.Sequence, o engine.ExpandOptions) (engine.ExpandPage, error) {
	return do(ctx, s, following, engine.Ref{Bucket: bucket}, func() (engine.ExpandPage, error) { return s.engine.Expand(ctx, bucket, name, change, o) })
}
