// Package session is the only door to the engine: an engine.Engine seen through one principal, in the name of one request.
//
// Promise: no call reaches the engine before the principal has been judged for the action and the resource; whatever protocol it
// came by, the same decision is made and the same trace is left.
//
// The package does not know protocols, nor how a credential was verified: a gateway asks a Door for the secret of an access key,
// verifies the request with it, and hands the proven principal back.
package session

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"holdfast/access"
	"holdfast/engine"
	"holdfast/observe"
)

// Door is what a gateway is given instead of an engine.
type Door interface {
	access.Credentials
	// Open returns the engine as p may see it. The id of the request is taken from the context of each call.
	Open(p access.Principal) engine.Engine
}

// Config is what a Door stands before.
type Config struct {
	Engine      engine.Engine
	Credentials access.Credentials
	Log         *slog.Logger // failures of the engine; nil discards them
}

// NewDoor returns the Door of an engine.
func NewDoor(c Config) Door {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &door{c}
}

type door struct{ Config }

func (d *door) Secret(accessKey string) (string, access.Principal, bool) {
	return d.Credentials.Secret(accessKey)
}

func (d *door) Open(p access.Principal) engine.Engine { return New(d.Engine, p, d.Log) }

// New returns e as p may see it.
func New(e engine.Engine, p access.Principal, log *slog.Logger) engine.Engine {
	return &session{engine: e, principal: p, log: log}
}

// session implements engine.Engine. A verb keeps its name on the way down.
type session struct {
	engine    engine.Engine
	principal access.Principal
	log       *slog.Logger
}

var _ engine.Engine = (*session)(nil)

// allow decides whether the principal may do action to ref. Root may do everything; nobody else exists yet, so everybody else
// may do nothing.
func (s *session) allow(action access.Action, ref engine.Ref) error {
	if s.principal.Root {
		return nil
	}
	return engine.Wrap(string(action), ref, engine.E(engine.KindAccessDenied, "%s is not allowed to do this", s.name()))
}

func (s *session) name() string {
	if s.principal.Name == "" {
		return "an unknown principal"
	}
	return s.principal.Name
}

// note leaves a line about a failure that the caller cannot have caused.
func (s *session) note(ctx context.Context, action access.Action, ref engine.Ref, err error) {
	switch engine.KindOf(err) {
	case engine.KindInternal, engine.KindDamaged, engine.KindUnavailable, engine.KindDriveFull:
	default:
		return
	}
	s.log.LogAttrs(ctx, slog.LevelWarn, "the engine could not serve a request", slog.String("request", string(observe.RequestOf(ctx))),
		slog.String("action", string(action)), slog.String("bucket", string(ref.Bucket)), slog.String("key", string(ref.Key)),
		slog.String("error", err.Error()))
}

// do judges, calls and records.
func do[T any](ctx context.Context, s *session, action access.Action, ref engine.Ref, call func() (T, error)) (T, error) {
	if err := s.allow(action, ref); err != nil {
		var none T
		return none, err
	}
	answer, err := call()
	if err != nil {
		s.note(ctx, action, ref, err)
	}
	return answer, err
}

type nothing struct{}

// CreateBucket with locks takes what it takes to enable them.
func (s *session) CreateBucket(ctx context.Context, name engine.BucketName, o engine.CreateBucketOptions) (engine.BucketInfo, error) {
	if o.Lock {
		for _, action := range []access.Action{"s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"} {
			if err := s.allow(action, engine.Ref{Bucket: name}); err != nil {
				return engine.BucketInfo{}, err
			}
		}
	}
	return do(ctx, s, "s3:CreateBucket", engine.Ref{Bucket: name}, func() (engine.BucketInfo, error) {
		return s.engine.CreateBucket(ctx, name, o)
	})
}

// DeleteBucket by force is an action of its own, beside the deletion.
func (s *session) DeleteBucket(ctx context.Context, name engine.BucketName, o engine.DeleteBucketOptions) error {
	if o.Force {
		if err := s.allow("s3:ForceDeleteBucket", engine.Ref{Bucket: name}); err != nil {
			return err
		}
	}
	_, err := do(ctx, s, "s3:DeleteBucket", engine.Ref{Bucket: name}, func() (nothing, error) {
		return nothing{}, s.engine.DeleteBucket(ctx, name, o)
	})
	return err
}

func (s *session) StatBucket(ctx context.Context, name engine.BucketName) (engine.BucketInfo, error) {
	return do(ctx, s, "s3:ListBucket", engine.Ref{Bucket: name}, func() (engine.BucketInfo, error) {
		return s.engine.StatBucket(ctx, name)
	})
}

func (s *session) ListBuckets(ctx context.Context, o engine.ListBucketsOptions) (engine.BucketPage, error) {
	return do(ctx, s, "s3:ListAllMyBuckets", engine.Ref{}, func() (engine.BucketPage, error) {
		return s.engine.ListBuckets(ctx, o)
	})
}

func (s *session) BucketVersioning(ctx context.Context, name engine.BucketName) (engine.Versioning, error) {
	return do(ctx, s, "s3:GetBucketVersioning", engine.Ref{Bucket: name}, func() (engine.Versioning, error) {
		return s.engine.BucketVersioning(ctx, name)
	})
}

func (s *session) SetVersioning(ctx context.Context, name engine.BucketName, v engine.Versioning) error {
	_, err := do(ctx, s, "s3:PutBucketVersioning", engine.Ref{Bucket: name}, func() (nothing, error) {
		return nothing{}, s.engine.SetVersioning(ctx, name, v)
	})
	return err
}

func (s *session) BucketQuota(ctx context.Context, name engine.BucketName) (engine.Quota, error) {
	return do(ctx, s, "admin:GetBucketQuota", engine.Ref{Bucket: name}, func() (engine.Quota, error) {
		return s.engine.BucketQuota(ctx, name)
	})
}

func (s *session) SetBucketQuota(ctx context.Context, name engine.BucketName, q engine.Quota) error {
	_, err := do(ctx, s, "admin:SetBucketQuota", engine.Ref{Bucket: name}, func() (nothing, error) {
		return nothing{}, s.engine.SetBucketQuota(ctx, name, q)
	})
	return err
}

func (s *session) BucketLock(ctx context.Context, name engine.BucketName) (engine.BucketLock, error) {
	return do(ctx, s, "s3:GetBucketObjectLockConfiguration", engine.Ref{Bucket: name}, func() (engine.BucketLock, error) {
		return s.engine.BucketLock(ctx, name)
	})
}

func (s *session) SetBucketLock(ctx context.Context, name engine.BucketName, l engine.BucketLock) error {
	_, err := do(ctx, s, "s3:PutBucketObjectLockConfiguration", engine.Ref{Bucket: name}, func() (nothing, error) {
		return nothing{}, s.engine.SetBucketLock(ctx, name, l)
	})
	return err
}

// locking judges the lock that a write gives its version, and a bypass.
func (s *session) locking(ref engine.Ref, retention, hold, bypass bool) error {
	for _, asked := range []struct {
		of     bool
		action access.Action
	}{{retention, "s3:PutObjectRetention"}, {hold, "s3:PutObjectLegalHold"}, {bypass, "s3:BypassGovernanceRetention"}} {
		if !asked.of {
			continue
		}
		if err := s.allow(asked.action, ref); err != nil {
			return err
		}
	}
	return nil
}

// lockingNew is locking for a lock of a new version.
func (s *session) lockingNew(ref engine.Ref, l *engine.Lock) error {
	return s.locking(ref, l.Mode != engine.RetentionNone, l.Hold, false)
}

// SetLock has no action of its own: each of what it does has one.
func (s *session) SetLock(ctx context.Context, ref engine.Ref, change engine.LockChange) (engine.ObjectInfo, error) {
	action := access.Action("s3:PutObjectLegalHold")
	if change.Retention != nil {
		action = "s3:PutObjectRetention"
	}
	if err := s.locking(ref, change.Retention != nil, change.Hold != nil, change.Bypass); err != nil {
		return engine.ObjectInfo{}, err
	}
	return do(ctx, s, action, ref, func() (engine.ObjectInfo, error) { return s.engine.SetLock(ctx, ref, change) })
}

// Append is a write of the object; what there was of it is not read.
func (s *session) Append(ctx context.Context, ref engine.Ref, body io.Reader, o engine.AppendOptions) (engine.ObjectInfo, error) {
	return do(ctx, s, "s3:PutObject", ref, func() (engine.ObjectInfo, error) { return s.engine.Append(ctx, ref, body, o) })
}

// Rename is a read and a delete of one object and a write of another.
func (s *session) Rename(ctx context.Context, from, to engine.Ref, o engine.RenameOptions) (engine.ObjectInfo, error) {
	if err := errors.Join(s.allow("s3:GetObject", from), s.allow("s3:DeleteObject", from)); err != nil {
		return engine.ObjectInfo{}, err
	}
	return do(ctx, s, "s3:PutObject", to, func() (engine.ObjectInfo, error) { return s.engine.Rename(ctx, from, to, o) })
}

// RenamePrefix is judged by the two prefixes.
func (s *session) RenamePrefix(ctx context.Context, bucket engine.BucketName, from, to string) (engine.PrefixInfo, error) {
	source, target := engine.Ref{Bucket: bucket, Key: engine.Key(from)}, engine.Ref{Bucket: bucket, Key: engine.Key(to)}
	for _, action := range []access.Action{"s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion"} { // versions move along
		if err := s.allow(action, source); err != nil {
			return engine.PrefixInfo{}, err
		}
	}
	return do(ctx, s, "s3:PutObject", target, func() (engine.PrefixInfo, error) { return s.engine.RenamePrefix(ctx, bucket, from, to) })
}

// RemovePrefix is judged by the prefix. It removes versions.
func (s *session) RemovePrefix(ctx context.Context, bucket engine.BucketName, prefix string) (engine.PrefixInfo, error) {
	ref := engine.Ref{Bucket: bucket, Key: engine.Key(prefix)}
	if err := s.allow("s3:DeleteObjectVersion", ref); err != nil {
		return engine.PrefixInfo{}, err
	}
	return do(ctx, s, "s3:DeleteObject", ref, func() (engine.PrefixInfo, error) { return s.engine.RemovePrefix(ctx, bucket, prefix) })
}

func (s *session) Document(ctx context.Context, name engine.BucketName, document string) ([]byte, error) {
	return do(ctx, s, documentAction("Get", document), engine.Ref{Bucket: name}, func() ([]byte, error) {
		return s.engine.Document(ctx, name, document)
	})
}

func (s *session) SetDocument(ctx context.Context, name engine.BucketName, document string, value []byte) error {
	_, err := do(ctx, s, documentAction("Put", document), engine.Ref{Bucket: name}, func() (nothing, error) {
		return nothing{}, s.engine.SetDocument(ctx, name, document, value)
	})
	return err
}

// documentAction names what is done to a document of a bucket. There is no action to remove one: that takes what it takes to write it.
func documentAction(verb, document string) access.Action {
	switch document {
	case engine.DocumentTagging:
		return access.Action("s3:" + verb + "BucketTagging")
	}
	return access.Action("holdfast:" + verb + "BucketDocument") // nobody asks for others; root alone may
}

// reading is the action of a read, which is another where a version is named.
func reading(ref engine.Ref) access.Action {
	if ref.Version != "" {
		return "s3:GetObjectVersion"
	}
	return "s3:GetObject"
}

func (s *session) Put(ctx context.Context, ref engine.Ref, body io.Reader, o engine.PutOptions) (engine.ObjectInfo, error) {
	if err := s.lockingNew(ref, &o.Lock); err != nil {
		return engine.ObjectInfo{}, err
	}
	return do(ctx, s, "s3:PutObject", ref, func() (engine.ObjectInfo, error) { return s.engine.Put(ctx, ref, body, o) })
}

func (s *session) Open(ctx context.Context, ref engine.Ref, o engine.OpenOptions) (engine.Object, error) {
	return do(ctx, s, reading(ref), ref, func() (engine.Object, error) { return s.engine.Open(ctx, ref, o) })
}

func (s *session) Stat(ctx context.Context, ref engine.Ref, o engine.StatOptions) (engine.ObjectInfo, error) {
	return do(ctx, s, reading(ref), ref, func() (engine.ObjectInfo, error) { return s.engine.Stat(ctx, ref, o) })
}

func (s *session) Parts(ctx context.Context, ref engine.Ref, o engine.ListPartsOptions) (engine.VersionPartPage, error) {
	return do(ctx, s, reading(ref), ref, func() (engine.VersionPartPage, error) { return s.engine.Parts(ctx, ref, o) })
}

func (s *session) SetTags(ctx context.Context, ref engine.Ref, tags engine.Tags) (engine.ObjectInfo, error) {
	action := access.Action("s3:PutObjectTagging")
	if ref.Version != "" {
		action = "s3:PutObjectVersionTagging"
	}
	return do(ctx, s, action, ref, func() (engine.ObjectInfo, error) { return s.engine.SetTags(ctx, ref, tags) })
}

// Copy is a read of one object and a write of another.
func (s *session) Copy(ctx context.Context, from, to engine.Ref, o engine.CopyOptions) (engine.ObjectInfo, error) {
	if err := errors.Join(s.allow(reading(from), from), s.lockingNew(to, &o.Lock)); err != nil {
		return engine.ObjectInfo{}, err
	}
	return do(ctx, s, "s3:PutObject", to, func() (engine.ObjectInfo, error) { return s.engine.Copy(ctx, from, to, o) })
}

func (s *session) CopyPart(ctx context.Context, from, ref engine.Ref, id engine.UploadID, number int, o engine.CopyPartOptions) (engine.PartInfo, error) {
	if err := s.allow(reading(from), from); err != nil {
		return engine.PartInfo{}, err
	}
	return do(ctx, s, "s3:PutObject", ref, func() (engine.PartInfo, error) { return s.engine.CopyPart(ctx, from, ref, id, number, o) })
}

func (s *session) Delete(ctx context.Context, ref engine.Ref, o engine.DeleteOptions) (engine.DeleteResult, error) {
	action := access.Action("s3:DeleteObject")
	if ref.Version != "" {
		action = "s3:DeleteObjectVersion"
	}
	if err := s.locking(ref, false, false, o.Bypass); err != nil {
		return engine.DeleteResult{}, err
	}
	return do(ctx, s, action, ref, func() (engine.DeleteResult, error) { return s.engine.Delete(ctx, ref, o) })
}

func (s *session) ListVersions(ctx context.Context, bucket engine.BucketName, o engine.ListVersionsOptions) (engine.VersionPage, error) {
	return do(ctx, s, "s3:ListBucketVersions", engine.Ref{Bucket: bucket}, func() (engine.VersionPage, error) {
		return s.engine.ListVersions(ctx, bucket, o)
	})
}

func (s *session) List(ctx context.Context, bucket engine.BucketName, o engine.ListOptions) (engine.ObjectPage, error) {
	return do(ctx, s, "s3:ListBucket", engine.Ref{Bucket: bucket}, func() (engine.ObjectPage, error) {
		return s.engine.List(ctx, bucket, o)
	})
}

func (s *session) StartUpload(ctx context.Context, ref engine.Ref, o engine.StartUploadOptions) (engine.UploadInfo, error) {
	if err := s.lockingNew(ref, &o.Lock); err != nil {
		return engine.UploadInfo{}, err
	}
	return do(ctx, s, "s3:PutObject", ref, func() (engine.UploadInfo, error) { return s.engine.StartUpload(ctx, ref, o) })
}

func (s *session) PutPart(ctx context.Context, ref engine.Ref, id engine.UploadID, number int, body io.Reader, o engine.PutPartOptions) (engine.PartInfo, error) {
	return do(ctx, s, "s3:PutObject", ref, func() (engine.PartInfo, error) {
		return s.engine.PutPart(ctx, ref, id, number, body, o)
	})
}

func (s *session) ListParts(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.ListPartsOptions) (engine.PartPage, error) {
	return do(ctx, s, "s3:ListMultipartUploadParts", ref, func() (engine.PartPage, error) {
		return s.engine.ListParts(ctx, ref, id, o)
	})
}

func (s *session) ListUploads(ctx context.Context, bucket engine.BucketName, o engine.ListUploadsOptions) (engine.UploadPage, error) {
	return do(ctx, s, "s3:ListBucketMultipartUploads", engine.Ref{Bucket: bucket}, func() (engine.UploadPage, error) {
		return s.engine.ListUploads(ctx, bucket, o)
	})
}

func (s *session) CompleteUpload(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.CompleteUploadOptions) (engine.ObjectInfo, error) {
	return do(ctx, s, "s3:PutObject", ref, func() (engine.ObjectInfo, error) {
		return s.engine.CompleteUpload(ctx, ref, id, o)
	})
}

func (s *session) AbortUpload(ctx context.Context, ref engine.Ref, id engine.UploadID) error {
	_, err := do(ctx, s, "s3:AbortMultipartUpload", ref, func() (nothing, error) {
		return nothing{}, s.engine.AbortUpload(ctx, ref, id)
	})
	return err
}
