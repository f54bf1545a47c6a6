package session_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"holdfast/access"
	"holdfast/access/session"
	"holdfast/engine"
	"holdfast/observe"
)

// none is an engine whose every method answers with an error of one Kind and counts.
type none struct {
	engine.Engine
	calls int
	err   error
}

func (n *none) fail() error { n.calls++; return n.err }

func (n *none) CreateBucket(context.Context, engine.BucketName, engine.CreateBucketOptions) (engine.BucketInfo, error) {
	return engine.BucketInfo{}, n.fail()
}
func (n *none) DeleteBucket(context.Context, engine.BucketName, engine.DeleteBucketOptions) error {
	return n.fail()
}
func (n *none) RemovePrefix(context.Context, engine.BucketName, string) (engine.PrefixInfo, error) {
	return engine.PrefixInfo{}, n.fail()
}
func (n *none) StatBucket(context.Context, engine.BucketName) (engine.BucketInfo, error) {
	return engine.BucketInfo{}, n.fail()
}
func (n *none) ListBuckets(context.Context, engine.ListBucketsOptions) (engine.BucketPage, error) {
	return engine.BucketPage{}, n.fail()
}
func (n *none) BucketVersioning(context.Context, engine.BucketName) (engine.Versioning, error) {
	return 0, n.fail()
}
func (n *none) SetVersioning(context.Context, engine.BucketName, engine.Versioning) error {
	return n.fail()
}
func (n *none) ListVersions(context.Context, engine.BucketName, engine.ListVersionsOptions) (engine.VersionPage, error) {
	return engine.VersionPage{}, n.fail()
}
func (n *none) Document(context.Context, engine.BucketName, string) ([]byte, error) {
	return nil, n.fail()
}
func (n *none) SetDocument(context.Context, engine.BucketName, string, []byte) error { return n.fail() }
func (n *none) Parts(context.Context, engine.Ref, engine.ListPartsOptions) (engine.VersionPartPage, error) {
	return engine.VersionPartPage{}, n.fail()
}
func (n *none) SetTags(context.Context, engine.Ref, engine.Tags) (engine.ObjectInfo, error) {
	return engine.ObjectInfo{}, n.fail()
}
func (n *none) BucketQuota(context.Context, engine.BucketName) (engine.Quota, error) {
	return engine.Quota{}, n.fail()
}
func (n *none) SetBucketQuota(context.Context, engine.BucketName, engine.Quota) error {
	return n.fail()
}
func (n *none) BucketLock(context.Context, engine.BucketName) (engine.BucketLock, error) {
	return engine.BucketLock{}, n.fail()
}
func (n *none) SetBucketLock(context.Context, engine.BucketName, engine.BucketLock) error {
	return n.fail()
}
func (n *none) SetLock(context.Context, engine.Ref, engine.LockChange) (engine.ObjectInfo, error) {
	return engine.ObjectInfo{}, n.fail()
}
func (n *none) Append(context.Context, engine.Ref, io.Reader, engine.AppendOptions) (engine.ObjectInfo, error) {
	return engine.ObjectInfo{}, n.fail()
}
func (n *none) Rename(context.Context, engine.Ref, engine.Ref, engine.RenameOptions) (engine.ObjectInfo, error) {
	return engine.ObjectInfo{}, n.fail()
}
func (n *none) RenamePrefix(context.Context, engine.BucketName, string, string) (engine.PrefixInfo, error) {
	return engine.PrefixInfo{}, n.fail()
}
func (n *none) Put(context.Context, engine.Ref, io.Reader, engine.PutOptions) (engine.ObjectInfo, error) {
	return engine.ObjectInfo{}, n.fail()
}
func (n *none) Open(context.Context, engine.Ref, engine.OpenOptions) (engine.Object, error) {
	return nil, n.fail()
}
func (n *none) Stat(context.Context, engine.Ref, engine.StatOptions) (engine.ObjectInfo, error) {
	return engine.ObjectInfo{}, n.fail()
}
func (n *none) Copy(context.Context, engine.Ref, engine.Ref, engine.CopyOptions) (engine.ObjectInfo, error) {
	return engine.ObjectInfo{}, n.fail()
}
func (n *none) CopyPart(context.Context, engine.Ref, engine.Ref, engine.UploadID, int, engine.CopyPartOptions) (engine.PartInfo, error) {
	return engine.PartInfo{}, n.fail()
}
func (n *none) Delete(context.Context, engine.Ref, engine.DeleteOptions) (engine.DeleteResult, error) {
	return engine.DeleteResult{}, n.fail()
}
func (n *none) List(context.Context, engine.BucketName, engine.ListOptions) (engine.ObjectPage, error) {
	return engine.ObjectPage{}, n.fail()
}
func (n *none) StartUpload(context.Context, engine.Ref, engine.StartUploadOptions) (engine.UploadInfo, error) {
	return engine.UploadInfo{}, n.fail()
}
func (n *none) PutPart(context.Context, engine.Ref, engine.UploadID, int, io.Reader, engine.PutPartOptions) (engine.PartInfo, error) {
	return engine.PartInfo{}, n.fail()
}
func (n *none) ListParts(context.Context, engine.Ref, engine.UploadID, engine.ListPartsOptions) (engine.PartPage, error) {
	return engine.PartPage{}, n.fail()
}
func (n *none) ListUploads(context.Context, engine.BucketName, engine.ListUploadsOptions) (engine.UploadPage, error) {
	return engine.UploadPage{}, n.fail()
}
func (n *none) CompleteUpload(context.Context, engine.Ref, engine.UploadID, engine.CompleteUploadOptions) (engine.ObjectInfo, error) {
	return engine.ObjectInfo{}, n.fail()
}
func (n *none) AbortUpload(context.Context, engine.Ref, engine.UploadID) error { return n.fail() }

// everyMethod calls each method of e and returns its error by name.
func everyMethod(t *testing.T, e engine.Engine) map[string]error {
	t.Helper()
	ctx := reflect.ValueOf(observe.WithRequest(context.Background(), "REQUEST1"))
	v := reflect.ValueOf(&e).Elem()
	out := map[string]error{}
	for i := range v.NumMethod() {
		kind := v.Method(i).Type()
		in := []reflect.Value{ctx}
		for j := 1; j < kind.NumIn(); j++ {
			in = append(in, reflect.Zero(kind.In(j)))
		}
		answers := v.Method(i).Call(in)
		err, _ := answers[len(answers)-1].Interface().(error)
		out[v.Type().Method(i).Name] = err
	}
	if len(out) != 66 {
		t.Fatalf("the engine has %d methods; does each go through the decision?", len(out))
	}
	return out
}

// TestNobodyReachesTheEngine calls every method as a principal that may do nothing.
func TestNobodyReachesTheEngine(t *testing.T) {
	e := &none{}
	for name, err := range everyMethod(t, session.New(e, access.Principal{}, slog.New(slog.DiscardHandler))) {
		if !engine.Is(err, engine.KindAccessDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e.calls != 0 {
		t.Errorf("%d calls reached the engine", e.calls)
	}
}

func TestRootReachesTheEngine(t *testing.T) {
	e := &none{err: engine.E(engine.KindDamaged, "planted")}
	var log bytes.Buffer
	door := session.NewDoor(session.Config{Engine: e, Credentials: access.Root{AccessKey: "abc", SecretKey: "canary-secret"}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	secret, root, ok := door.Secret("abc")
	if !ok || secret != "canary-secret" {
		t.Fatal("the door does not know its key")
	}
	if _, _, ok := door.Secret("other"); ok {
		t.Fatal("the door knows another key")
	}
	for name, err := range everyMethod(t, door.Open(root)) {
		if !engine.Is(err, engine.KindDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e.calls != 66 {
		t.Errorf("%d calls reached the engine", e.calls)
	}
	if s := log.String(); strings.Count(s, "\n") != 66 || !strings.Contains(s, "request=REQUEST1") || strings.Contains(s, "canary") {
		t.Errorf("the log: %s", s)
	}
	log.Reset()
	e.err = engine.E(engine.KindNoSuchKey, "planted")
	everyMethod(t, door.Open(root))
	if log.Len() != 0 {
		t.Errorf("what a client causes is logged as a failure: %s", log.String())
	}
}

// TestForceIsAnActionOfItsOwn: who may delete buckets may not therefore do so with all that they hold.
func TestForceIsAnActionOfItsOwn(t *testing.T) {
	e := &none{}
	nobody := session.New(e, access.Principal{}, slog.New(slog.DiscardHandler))
	for force, action := range map[bool]string{false: "s3:DeleteBucket", true: "s3:ForceDeleteBucket"} {
		err := nobody.DeleteBucket(t.Context(), "bucket", engine.DeleteBucketOptions{Force: force})
		if !engine.Is(err, engine.KindAccessDenied) || !strings.Contains(err.Error(), action) {
			t.Errorf("force %v: %v", force, err)
		}
	}
	if _, err := nobody.RemovePrefix(t.Context(), "bucket", "a/"); !engine.Is(err, engine.KindAccessDenied) || !strings.Contains(err.Error(), "s3:DeleteObjectVersion") {
		t.Errorf("removal of a prefix: %v", err)
	}
	if e.calls != 0 {
		t.Errorf("%d calls reached the engine", e.calls)
	}
}
