package memory_test

import (
	"strings"
	"testing"

	"holdfast/engine"
	"holdfast/engine/memory"
)

// TestSnapshot: a clone goes its own way, and every change is another digest.
func TestSnapshot(t *testing.T) {
	e, ctx := memory.New(), t.Context()
	ref := engine.Ref{Bucket: "bucket", Key: "k"}
	var upload engine.UploadInfo
	at, mode, size := engine.Place{Bucket: "bucket", Directory: engine.RootNode, Name: "file"}, uint32(0o600), int64(1<<40)
	file := func() engine.File {
		info, err := e.Lookup(ctx, at, "")
		if err != nil {
			t.Fatal(err)
		}
		return engine.File{Bucket: "bucket", Node: info.Node}
	}
	seen := map[[32]byte]int{e.Digest(): -1}
	for i, change := range []func() error{
		func() error {
			_, err := e.CreateBucket(ctx, "bucket", engine.CreateBucketOptions{Lock: true})
			return err
		},
		func() error {
			_, err := e.Put(ctx, ref, strings.NewReader("a"), engine.PutOptions{Size: 1})
			return err
		},
		func() error { _, err := e.SetTags(ctx, ref, engine.Tags{"a": "b"}); return err },
		func() error { hold := true; _, err := e.SetLock(ctx, ref, engine.LockChange{Hold: &hold}); return err },
		func() error {
			return e.SetBucketLock(ctx, "bucket", engine.BucketLock{Enabled: true, Mode: engine.RetentionGovernance, Days: 1})
		},
		func() error { return e.SetDocument(ctx, "bucket", engine.DocumentTagging, []byte("x")) },
		func() error { _, err := e.Delete(ctx, ref, engine.DeleteOptions{}); return err },
		func() (err error) {
			upload, err = e.StartUpload(ctx, ref, engine.StartUploadOptions{Lock: engine.Lock{Hold: true}})
			return err
		},
		func() error {
			_, err := e.PutPart(ctx, ref, upload.ID, 1, strings.NewReader("p"), engine.PutPartOptions{Size: 1})
			return err
		},
		func() error { return e.AbortUpload(ctx, ref, upload.ID) },
		func() error { _, err := e.MakeFile(ctx, at, engine.MakeFileOptions{}); return err },
		func() error { _, err := e.SetFile(ctx, file(), engine.FileChange{Mode: &mode}); return err },
		func() error { return e.SetXattr(ctx, file(), "user.a", []byte("x"), engine.SetXattrOptions{}) },
		func() error { _, err := e.PatchFile(ctx, file(), engine.Patch{Size: &size}); return err },
		func() error {
			return e.MoveFile(ctx, at, engine.Place{Bucket: "bucket", Directory: engine.RootNode, Name: "moved"}, engine.MoveFileOptions{})
		},
		func() error {
			_, err := e.SetFile(ctx, engine.File{Bucket: "bucket", Node: engine.RootNode}, engine.FileChange{Mode: &mode})
			return err
		},
	} {
		before, clone := e.Digest(), e.Clone()
		if clone.Digest() != before {
			t.Fatalf("before change %d: the clone is another", i)
		}
		if err := change(); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		if other, ok := seen[e.Digest()]; ok {
			t.Errorf("change %d has the digest of change %d", i, other)
		}
		if clone.Digest() != before {
			t.Errorf("change %d reached the clone", i)
		}
		seen[e.Digest()] = i
	}
}
