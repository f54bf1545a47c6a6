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

// spy counts every call of the engine. It embeds none, so that the compiler misses a method that is not counted.
type spy struct{ *counted }

var _ engine.Engine = spy{}

func (s spy) CreateBucket(ctx context.Context, name engine.BucketName, o engine.CreateBucketOptions) (engine.BucketInfo, error) {
	s.calls.Add(1)
	return s.Engine.CreateBucket(ctx, name, o)
}

func (s spy) DeleteBucket(ctx context.Context, name engine.BucketName, o engine.DeleteBucketOptions) error {
	s.calls.Add(1)
	return s.Engine.DeleteBucket(ctx, name, o)
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

func (s spy) BucketVersioning(ctx context.Context, name engine.BucketName) (engine.Versioning, error) {
	s.calls.Add(1)
	return s.Engine.BucketVersioning(ctx, name)
}

func (s spy) SetVersioning(ctx context.Context, name engine.BucketName, v engine.Versioning) error {
	s.calls.Add(1)
	return s.Engine.SetVersioning(ctx, name, v)
}

func (s spy) Document(ctx context.Context, name engine.BucketName, document string) ([]byte, error) {
	s.calls.Add(1)
	return s.Engine.Document(ctx, name, document)
}

func (s spy) SetDocument(ctx context.Context, name engine.BucketName, document string, value []byte) error {
	s.calls.Add(1)
	return s.Engine.SetDocument(ctx, name, document, value)
}

func (s spy) Copy(ctx context.Context, from, to engine.Ref, o engine.CopyOptions) (engine.ObjectInfo, error) {
	s.calls.Add(1)
	return s.Engine.Copy(ctx, from, to, o)
}

func (s spy) CopyPart(ctx context.Context, from, ref engine.Ref, id engine.UploadID, number int, o engine.CopyPartOptions) (engine.PartInfo, error) {
	s.calls.Add(1)
	return s.Engine.CopyPart(ctx, from, ref, id, number, o)
}

func (s spy) Parts(ctx context.Context, ref engine.Ref, o engine.ListPartsOptions) (engine.VersionPartPage, error) {
	s.calls.Add(1)
	return s.Engine.Parts(ctx, ref, o)
}

func (s spy) SetTags(ctx context.Context, ref engine.Ref, tags engine.Tags) (engine.ObjectInfo, error) {
	s.calls.Add(1)
	return s.Engine.SetTags(ctx, ref, tags)
}

func (s spy) ListVersions(ctx context.Context, b engine.BucketName, o engine.ListVersionsOptions) (engine.VersionPage, error) {
	s.calls.Add(1)
	return s.Engine.ListVersions(ctx, b, o)
}

func (s spy) BucketQuota(ctx context.Context, name engine.BucketName) (engine.Quota, error) {
	s.calls.Add(1)
	return s.Engine.BucketQuota(ctx, name)
}

func (s spy) SetBucketQuota(ctx context.Context, name engine.BucketName, q engine.Quota) error {
	s.calls.Add(1)
	return s.Engine.SetBucketQuota(ctx, name, q)
}

func (s spy) BucketLock(ctx context.Context, name engine.BucketName) (engine.BucketLock, error) {
	s.calls.Add(1)
	return s.Engine.BucketLock(ctx, name)
}

func (s spy) SetBucketLock(ctx context.Context, name engine.BucketName, l engine.BucketLock) error {
	s.calls.Add(1)
	return s.Engine.SetBucketLock(ctx, name, l)
}

func (s spy) SetLock(ctx context.Context, ref engine.Ref, change engine.LockChange) (engine.ObjectInfo, error) {
	s.calls.Add(1)
	return s.Engine.SetLock(ctx, ref, change)
}

func (s spy) Append(ctx context.Context, ref engine.Ref, body io.Reader, o engine.AppendOptions) (engine.ObjectInfo, error) {
	s.calls.Add(1)
	return s.Engine.Append(ctx, ref, body, o)
}

func (s spy) Rename(ctx context.Context, from, to engine.Ref, o engine.RenameOptions) (engine.ObjectInfo, error) {
	s.calls.Add(1)
	return s.Engine.Rename(ctx, from, to, o)
}

func (s spy) RenamePrefix(ctx context.Context, bucket engine.BucketName, from, to string) (engine.PrefixInfo, error) {
	s.calls.Add(1)
	return s.Engine.RenamePrefix(ctx, bucket, from, to)
}

func (s spy) RemovePrefix(ctx context.Context, bucket engine.BucketName, prefix string) (engine.PrefixInfo, error) {
	s.calls.Add(1)
	return s.Engine.RemovePrefix(ctx, bucket, prefix)
}
