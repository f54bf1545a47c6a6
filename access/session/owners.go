package session

import (
	"context"

	"holdfast/access"
	"holdfast/engine"
)

// Whoever may read files of a bucket may hold and lock them: that changes nothing of them.
const holding access.Action = "s3:GetObject"

func (s *session) OpenOwner(ctx context.Context, bucket engine.BucketName, name string) (engine.OwnerID, error) {
	return do(ctx, s, holding, engine.Ref{Bucket: bucket}, func() (engine.OwnerID, error) { return s.engine.OpenOwner(ctx, bucket, name) })
}

func (s *session) RenewOwner(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID) ([]engine.NodeID, error) {
	return do(ctx, s, holding, engine.Ref{Bucket: bucket}, func() ([]engine.NodeID, error) { return s.engine.RenewOwner(ctx, bucket, owner) })
}

func (s *session) CloseOwner(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID) error {
	return doOnly(ctx, s, holding, engine.Ref{Bucket: bucket}, func() error { return s.engine.CloseOwner(ctx, bucket, owner) })
}

func (s *session) HoldFile(ctx context.Context, f engine.File, owner engine.OwnerID) (engine.FileInfo, error) {
	return do(ctx, s, holding, nodeRef(f), func() (engine.FileInfo, error) { return s.engine.HoldFile(ctx, f, owner) })
}

func (s *session) ReleaseFile(ctx context.Context, f engine.File, owner engine.OwnerID) error {
	return doOnly(ctx, s, holding, nodeRef(f), func() error { return s.engine.ReleaseFile(ctx, f, owner) })
}

func (s *session) MakeTemporary(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID, o engine.MakeFileOptions) (engine.FileInfo, error) {
	return do(ctx, s, "s3:PutObject", engine.Ref{Bucket: bucket}, func() (engine.FileInfo, error) { return s.engine.MakeTemporary(ctx, bucket, owner, o) })
}

func (s *session) LockFile(ctx context.Context, f engine.File, lock engine.FileLock) error {
	return doOnly(ctx, s, holding, nodeRef(f), func() error { return s.engine.LockFile(ctx, f, lock) })
}

func (s *session) TestLock(ctx context.Context, f engine.File, lock engine.FileLock) (held engine.FileLock, ok bool, err error) {
	held, err = do(ctx, s, holding, nodeRef(f), func() (held engine.FileLock, err error) {
		held, ok, err = s.engine.TestLock(ctx, f, lock)
		return held, err
	})
	return held, ok, err
}
