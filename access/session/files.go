package session

import (
	"context"
	"errors"
	"io"

	"holdfast/access"
	"holdfast/engine"
)

// What is done to a node is judged as what S3 does to its key: reads as s3:GetObject, writes of content, attributes and names as s3:PutObject.

func nodeRef(f engine.File) engine.Ref { return engine.Ref{Bucket: f.Bucket} }

func placeRef(at engine.Place) engine.Ref {
	return engine.Ref{Bucket: at.Bucket, Key: engine.Key(at.Name)}
}

// doOnly is do for calls that answer nothing.
func doOnly(ctx context.Context, s *session, action access.Action, ref engine.Ref, call func() error) error {
	_, err := do(ctx, s, action, ref, func() (nothing, error) { return nothing{}, call() })
	return err
}

func (s *session) Lookup(ctx context.Context, at engine.Place, version engine.VersionID) (engine.FileInfo, error) {
	ref := placeRef(at)
	ref.Version = version
	return do(ctx, s, reading(ref), ref, func() (engine.FileInfo, error) { return s.engine.Lookup(ctx, at, version) })
}

func (s *session) StatFile(ctx context.Context, f engine.File) (engine.FileInfo, error) {
	return do(ctx, s, "s3:GetObject", nodeRef(f), func() (engine.FileInfo, error) { return s.engine.StatFile(ctx, f) })
}

func (s *session) FileKey(ctx context.Context, f engine.File) (engine.Key, error) {
	return do(ctx, s, "s3:GetObject", nodeRef(f), func() (engine.Key, error) { return s.engine.FileKey(ctx, f) })
}

func (s *session) ListDirectory(ctx context.Context, f engine.File, o engine.ListDirectoryOptions) (engine.DirectoryPage, error) {
	return do(ctx, s, "s3:ListBucket", nodeRef(f), func() (engine.DirectoryPage, error) { return s.engine.ListDirectory(ctx, f, o) })
}

func (s *session) MakeFile(ctx context.Context, at engine.Place, o engine.MakeFileOptions) (engine.FileInfo, error) {
	return do(ctx, s, "s3:PutObject", placeRef(at), func() (engine.FileInfo, error) { return s.engine.MakeFile(ctx, at, o) })
}

// LinkFile gives the content a name by which others may read it.
func (s *session) LinkFile(ctx context.Context, f engine.File, at engine.Place) (engine.FileInfo, error) {
	if err := s.allow("s3:GetObject", nodeRef(f)); err != nil {
		return engine.FileInfo{}, err
	}
	return do(ctx, s, "s3:PutObject", placeRef(at), func() (engine.FileInfo, error) { return s.engine.LinkFile(ctx, f, at) })
}

func (s *session) RemoveFile(ctx context.Context, at engine.Place, o engine.RemoveFileOptions) error {
	return doOnly(ctx, s, "s3:DeleteObject", placeRef(at), func() error { return s.engine.RemoveFile(ctx, at, o) })
}

// MoveFile is a read and a delete of one name and a write of another; an exchange is that both ways.
func (s *session) MoveFile(ctx context.Context, from, to engine.Place, o engine.MoveFileOptions) error {
	source, target := placeRef(from), placeRef(to)
	err := errors.Join(s.allow("s3:GetObject", source), s.allow("s3:DeleteObject", source))
	if o.Exchange {
		err = errors.Join(err, s.allow("s3:PutObject", source), s.allow("s3:GetObject", target), s.allow("s3:DeleteObject", target))
	}
	if err != nil {
		return err
	}
	return doOnly(ctx, s, "s3:PutObject", target, func() error { return s.engine.MoveFile(ctx, from, to, o) })
}

func (s *session) SetFile(ctx context.Context, f engine.File, change engine.FileChange) (engine.FileInfo, error) {
	return do(ctx, s, "s3:PutObject", nodeRef(f), func() (engine.FileInfo, error) { return s.engine.SetFile(ctx, f, change) })
}

func (s *session) Xattr(ctx context.Context, f engine.File, name string) ([]byte, error) {
	return do(ctx, s, "s3:GetObject", nodeRef(f), func() ([]byte, error) { return s.engine.Xattr(ctx, f, name) })
}

func (s *session) Xattrs(ctx context.Context, f engine.File) ([]string, error) {
	return do(ctx, s, "s3:GetObject", nodeRef(f), func() ([]string, error) { return s.engine.Xattrs(ctx, f) })
}

func (s *session) SetXattr(ctx context.Context, f engine.File, name string, value []byte, o engine.SetXattrOptions) error {
	return doOnly(ctx, s, "s3:PutObject", nodeRef(f), func() error { return s.engine.SetXattr(ctx, f, name, value, o) })
}

func (s *session) OpenFile(ctx context.Context, f engine.File, o engine.OpenFileOptions) (engine.Object, error) {
	return do(ctx, s, "s3:GetObject", nodeRef(f), func() (engine.Object, error) { return s.engine.OpenFile(ctx, f, o) })
}

func (s *session) StageFile(ctx context.Context, bucket engine.BucketName, body io.Reader, o engine.StageOptions) (engine.Staged, error) {
	return do(ctx, s, "s3:PutObject", engine.Ref{Bucket: bucket}, func() (engine.Staged, error) { return s.engine.StageFile(ctx, bucket, body, o) })
}

// PatchFile is a read too of each file whose bytes it takes.
func (s *session) PatchFile(ctx context.Context, f engine.File, patch engine.Patch) (engine.FileInfo, error) {
	for i := range patch.Pieces {
		if from := patch.Pieces[i].From; from != nil {
			if err := s.allow("s3:GetObject", nodeRef(from.File)); err != nil {
				return engine.FileInfo{}, err
			}
		}
	}
	return do(ctx, s, "s3:PutObject", nodeRef(f), func() (engine.FileInfo, error) { return s.engine.PatchFile(ctx, f, patch) })
}

func (s *session) SeekFile(ctx context.Context, f engine.File, offset int64, hole bool) (int64, error) {
	return do(ctx, s, "s3:GetObject", nodeRef(f), func() (int64, error) { return s.engine.SeekFile(ctx, f, offset, hole) })
}

func (s *session) Space(ctx context.Context, bucket engine.BucketName) (engine.SpaceInfo, error) {
	return do(ctx, s, "s3:ListBucket", engine.Ref{Bucket: bucket}, func() (engine.SpaceInfo, error) { return s.engine.Space(ctx, bucket) })
}

func (s *session) Usage(ctx context.Context, bucket engine.BucketName, prefix string) (engine.PrefixInfo, error) {
	return do(ctx, s, "s3:ListBucket", engine.Ref{Bucket: bucket, Key: engine.Key(prefix)}, func() (engine.PrefixInfo, error) {
		return s.engine.Usage(ctx, bucket, prefix)
	})
}
