package s3_test

import (
	"context"
	"io"

	"holdfast/engine"
)

// The gateway of S3 calls none of these.

func (s spy) Lookup(ctx context.Context, at engine.Place, version engine.VersionID) (engine.FileInfo, error) {
	s.calls.Add(1)
	return s.Engine.Lookup(ctx, at, version)
}

func (s spy) StatFile(ctx context.Context, f engine.File) (engine.FileInfo, error) {
	s.calls.Add(1)
	return s.Engine.StatFile(ctx, f)
}

func (s spy) FileKey(ctx context.Context, f engine.File) (engine.Key, error) {
	s.calls.Add(1)
	return s.Engine.FileKey(ctx, f)
}

func (s spy) ListDirectory(ctx context.Context, f engine.File, o engine.ListDirectoryOptions) (engine.DirectoryPage, error) {
	s.calls.Add(1)
	return s.Engine.ListDirectory(ctx, f, o)
}

func (s spy) MakeFile(ctx context.Context, at engine.Place, o engine.MakeFileOptions) (engine.FileInfo, error) {
	s.calls.Add(1)
	return s.Engine.MakeFile(ctx, at, o)
}

func (s spy) LinkFile(ctx context.Context, f engine.File, at engine.Place) (engine.FileInfo, error) {
	s.calls.Add(1)
	return s.Engine.LinkFile(ctx, f, at)
}

func (s spy) RemoveFile(ctx context.Context, at engine.Place, o engine.RemoveFileOptions) error {
	s.calls.Add(1)
	return s.Engine.RemoveFile(ctx, at, o)
}

func (s spy) MoveFile(ctx context.Context, from, to engine.Place, o engine.MoveFileOptions) error {
	s.calls.Add(1)
	return s.Engine.MoveFile(ctx, from, to, o)
}

func (s spy) SetFile(ctx context.Context, f engine.File, change engine.FileChange) (engine.FileInfo, error) {
	s.calls.Add(1)
	return s.Engine.SetFile(ctx, f, change)
}

func (s spy) Xattr(ctx context.Context, f engine.File, name string) ([]byte, error) {
	s.calls.Add(1)
	return s.Engine.Xattr(ctx, f, name)
}

func (s spy) Xattrs(ctx context.Context, f engine.File) ([]string, error) {
	s.calls.Add(1)
	return s.Engine.Xattrs(ctx, f)
}

func (s spy) SetXattr(ctx context.Context, f engine.File, name string, value []byte, o engine.SetXattrOptions) error {
	s.calls.Add(1)
	return s.Engine.SetXattr(ctx, f, name, value, o)
}

func (s spy) OpenFile(ctx context.Context, f engine.File, o engine.OpenFileOptions) (engine.Object, error) {
	s.calls.Add(1)
	return s.Engine.OpenFile(ctx, f, o)
}

func (s spy) StageFile(ctx context.Context, bucket engine.BucketName, body io.Reader, o engine.StageOptions) (engine.Staged, error) {
	s.calls.Add(1)
	return s.Engine.StageFile(ctx, bucket, body, o)
}

func (s spy) PatchFile(ctx context.Context, f engine.File, patch engine.Patch) (engine.FileInfo, error) {
	s.calls.Add(1)
	return s.Engine.PatchFile(ctx, f, patch)
}

func (s spy) SeekFile(ctx context.Context, f engine.File, offset int64, hole bool) (int64, error) {
	s.calls.Add(1)
	return s.Engine.SeekFile(ctx, f, offset, hole)
}

func (s spy) Usage(ctx context.Context, bucket engine.BucketName, prefix string) (engine.PrefixInfo, error) {
	s.calls.Add(1)
	return s.Engine.Usage(ctx, bucket, prefix)
}

func (s spy) OpenOwner(ctx context.Context, bucket engine.BucketName, name string) (engine.OwnerID, error) {
	s.calls.Add(1)
	return s.Engine.OpenOwner(ctx, bucket, name)
}

func (s spy) RenewOwner(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID) ([]engine.NodeID, error) {
	s.calls.Add(1)
	return s.Engine.RenewOwner(ctx, bucket, owner)
}

func (s spy) CloseOwner(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID) error {
	s.calls.Add(1)
	return s.Engine.CloseOwner(ctx, bucket, owner)
}

func (s spy) HoldFile(ctx context.Context, f engine.File, owner engine.OwnerID) (engine.FileInfo, error) {
	s.calls.Add(1)
	return s.Engine.HoldFile(ctx, f, owner)
}

func (s spy) ReleaseFile(ctx context.Context, f engine.File, owner engine.OwnerID) error {
	s.calls.Add(1)
	return s.Engine.ReleaseFile(ctx, f, owner)
}

func (s spy) MakeTemporary(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID, o engine.MakeFileOptions) (engine.FileInfo, error) {
	s.calls.Add(1)
	return s.Engine.MakeTemporary(ctx, bucket, owner, o)
}

func (s spy) LockFile(ctx context.Context, f engine.File, lock engine.FileLock) error {
	s.calls.Add(1)
	return s.Engine.LockFile(ctx, f, lock)
}

func (s spy) TestLock(ctx context.Context, f engine.File, lock engine.FileLock) (held engine.FileLock, ok bool, err error) {
	s.calls.Add(1)
	return s.Engine.TestLock(ctx, f, lock)
}

func (s spy) Space(ctx context.Context, bucket engine.BucketName) (engine.SpaceInfo, error) {
	s.calls.Add(1)
	return s.Engine.Space(ctx, bucket)
}
