package s3_test

import (
	"context"
	"io"
	"log/slog"
	"strconv"

	"holdfast/engine"
)

var discard = slog.New(slog.DiscardHandler)

func itoa(n int) string { return strconv.Itoa(n) }

// spy counts every call of the engine.
type spy struct{ *counted }

func (s spy) CreateBucket(ctx context.Context, name engine.BucketName) (engine.BucketInfo, error) {
	s.calls.Add(1)
	return s.Engine.CreateBucket(ctx, name)
}

func (s spy) DeleteBucket(ctx context.Context, name engine.BucketName) error {
	s.calls.Add(1)
	return s.Engine.DeleteBucket(ctx, name)
}

func (s spy) StatBucket(ctx context.Context, name engine.BucketName) (engine.BucketInfo, error) {
	s.calls.Add(1)
	return s.Engine.StatBucket(ctx, name)
}

func (s spy) ListBuckets(ctx context.Context, o engine.ListBucketsOptions) (engine.BucketPage, error) {
	s.calls.Add(1)
	return s.Engine.ListBuckets(ctx, o)
}

func (s spy) Put(ctx context.Context, ref engine.Ref, body io.Reader, o engine.PutOptions) (engine.ObjectInfo, error) {
	s.calls.Add(1)
	return s.Engine.Put(ctx, ref, body, o)
}

func (s spy) Open(ctx context.Context, ref engine.Ref, o engine.OpenOptions) (engine.Object, error) {
	s.calls.Add(1)
	return s.Engine.Open(ctx, ref, o)
}

func (s spy) Stat(ctx context.Context, ref engine.Ref, o engine.StatOptions) (engine.ObjectInfo, error) {
	s.calls.Add(1)
	return s.Engine.Stat(ctx, ref, o)
}

func (s spy) Delete(ctx context.Context, ref engine.Ref, o engine.DeleteOptions) (engine.DeleteResult, error) {
	s.calls.Add(1)
	return s.Engine.Delete(ctx, ref, o)
}

func (s spy) List(ctx context.Context, b engine.BucketName, o engine.ListOptions) (engine.ObjectPage, error) {
	s.calls.Add(1)
	return s.Engine.List(ctx, b, o)
}

func (s spy) StartUpload(ctx context.Context, ref engine.Ref, o engine.StartUploadOptions) (engine.UploadInfo, error) {
	s.calls.Add(1)
	return s.Engine.StartUpload(ctx, ref, o)
}

func (s spy) PutPart(ctx context.Context, ref engine.Ref, id engine.UploadID, n int, body io.Reader, o engine.PutPartOptions) (engine.PartInfo, error) {
	s.calls.Add(1)
	return s.Engine.PutPart(ctx, ref, id, n, body, o)
}

func (s spy) ListParts(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.ListPartsOptions) (engine.PartPage, error) {
	s.calls.Add(1)
	return s.Engine.ListParts(ctx, ref, id, o)
}

func (s spy) ListUploads(ctx context.Context, b engine.BucketName, o engine.ListUploadsOptions) (engine.UploadPage, error) {
	s.calls.Add(1)
	return s.Engine.ListUploads(ctx, b, o)
}

func (s spy) CompleteUpload(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.CompleteUploadOptions) (engine.ObjectInfo, error) {
	s.calls.Add(1)
	return s.Engine.CompleteUpload(ctx, ref, id, o)
}

func (s spy) AbortUpload(ctx context.Context, ref engine.Ref, id engine.UploadID) error {
	s.calls.Add(1)
	return s.Engine.AbortUpload(ctx, ref, id)
}
