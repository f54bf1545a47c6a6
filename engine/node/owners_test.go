package node

import (
	"bytes"
	"io"
	"testing"
	"time"

	"holdfast/engine"
)

// TestOwnersExpire has an owner that is renewed and one that is not; the node is closed and opened in between, as if it had been killed.
func TestOwnersExpire(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.OwnerExpiry = time.Hour
	n := openNode(t, c)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	owner := func(name string) engine.OwnerID {
		id, err := n.OpenOwner(t.Context(), "bucket", name)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	held := func(id engine.OwnerID, key string) engine.File {
		put(t, n, key, content(1, 100_000))
		at := engine.Place{Bucket: "bucket", Directory: engine.RootNode, Name: key}
		info, err := n.Lookup(t.Context(), at, "")
		if err == nil {
			_, err = n.HoldFile(t.Context(), engine.File{Bucket: "bucket", Node: info.Node}, id)
		}
		if err == nil {
			err = n.RemoveFile(t.Context(), at, engine.RemoveFileOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		return engine.File{Bucket: "bucket", Node: info.Node}
	}
	dead, alive := owner("dead"), owner("alive")
	gone, kept := held(dead, "gone"), held(alive, "kept")
	closeNode(t, n)
	c.OwnerExpiry = 400 * time.Millisecond
	n = openNode(t, c)
	defer closeNode(t, n)
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := n.RenewOwner(t.Context(), "bucket", alive); err != nil {
			t.Fatal(err)
		}
		_, err := n.StatFile(t.Context(), gone)
		if engine.Is(err, engine.KindNoSuchKey) {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the owner that nobody renews holds its file: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if _, err := n.RenewOwner(t.Context(), "bucket", dead); !engine.Is(err, engine.KindExpired) {
		t.Errorf("the owner that nobody renewed answers %v", err)
	}
	o, err := n.OpenFile(t.Context(), kept, engine.OpenFileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(b, content(1, 100_000)) {
		t.Errorf("what the renewed owner holds has %d bytes, %v", len(b), err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if err := n.CloseOwner(t.Context(), "bucket", alive); err != nil {
		t.Fatal(err)
	}
	await(t, n, "content that nobody holds is left", func(s Status) bool { return s.Garbage == 0 && s.Keeper.OwnersExpired == 1 })
	if err := n.DeleteBucket(t.Context(), "bucket", engine.DeleteBucketOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestDeletedBucketFreesOwners deletes a bucket whose files are held.
func TestDeletedBucketFreesOwners(t *testing.T) {
	n := openNode(t, testConfig(t, t.TempDir(), 4))
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		id, err := n.OpenOwner(t.Context(), "bucket", "")
		if err != nil {
			t.Fatal(err)
		}
		info, err := n.MakeTemporary(t.Context(), "bucket", id, engine.MakeFileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		piece := engine.Piece{Length: 50_000, Body: bytes.NewReader(content(2, 50_000))}
		f := engine.File{Bucket: "bucket", Node: info.Node}
		if _, err := n.PatchFile(t.Context(), f, engine.Patch{Pieces: []engine.Piece{piece}}); err != nil {
			t.Fatal(err)
		}
		if err := n.LockFile(t.Context(), f, engine.FileLock{Owner: id, Mode: engine.LockExclusive}); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.DeleteBucket(t.Context(), "bucket", engine.DeleteBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, n, "something of a deleted bucket is left", func(s Status) bool {
		census, err := n.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, c := range census {
			held += c.Owners + c.Held + c.Nameless + c.Contents + c.Extents + c.Trash
		}
		return held == 0
	})
}
