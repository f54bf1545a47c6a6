package s3_test

import (
	"context"

	"holdfast/engine"
)

func (s spy) OpenCursor(ctx context.Context, bucket engine.BucketName, name string) (engine.Cursor, error) {
	s.calls.Add(1)
	return s.Engine.OpenCursor(ctx, bucket, name)
}

func (s spy) ListCursors(ctx context.Context, bucket engine.BucketName) ([]engine.Cursor, error) {
	s.calls.Add(1)
	return s.Engine.ListCursors(ctx, bucket)
}

func (s spy) Changes(ctx context.Context, bucket engine.BucketName, name string, o engine.ChangesOptions) (engine.ChangePage, error) {
	s.calls.Add(1)
	return s.Engine.Changes(ctx, bucket, name, o)
}

func (s spy) MoveCursor(ctx context.Context, bucket engine.BucketName, name string, to engine.Sequence) error {
	s.calls.Add(1)
	return s.Engine.MoveCursor(ctx, bucket, name, to)
}

func (s spy) ResetCursor(ctx context.Context, bucket engine.BucketName, name string) (engine.Cursor, error) {
	s.calls.Add(1)
	return s.Engine.ResetCursor(ctx, bucket, name)
}

func (s spy) CloseCursor(ctx context.Context, bucket engine.BucketName, name string) error {
	s.calls.Add(1)
	return s.Engine.CloseCursor(ctx, bucket, name)
}

func (s spy) Expand(ctx context.Context, bucket engine.BucketName, name string, change engine.Sequence, o engine.ExpandOptions) (engine.ExpandPage, error) {
	s.calls.Add(1)
	return s.Engine.Expand(ctx, bucket, name, change, o)
}
