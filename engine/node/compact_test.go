package node

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/enginetest"
	"holdfast/engine/memory"
	"holdfast/engine/meta"
)

// patchNode patches a file of the bucket.
func patchNode(t testing.TB, n *Node, id engine.NodeID, pieces ...engine.Piece) engine.FileInfo {
	t.Helper()
	info, err := n.PatchFile(t.Context(), engine.File{Bucket: "bucket", Node: id}, engine.Patch{Pieces: pieces})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func bodyOf(offset int, b []byte) engine.Piece {
	return engine.Piece{Offset: int64(offset), Length: int64(len(b)), Body: bytes.NewReader(b)}
}

func nodeOf(t testing.TB, n *Node, name string) engine.FileInfo {
	t.Helper()
	info, err := n.Lookup(t.Context(), engine.Place{Bucket: "bucket", Directory: engine.RootNode, Name: name}, "")
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// piecesOf counts the pieces in which a file lies.
func piecesOf(t testing.TB, n *Node, id engine.NodeID) int {
	t.Helper()
	view, err := n.data.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	found, err := meta.FindFile(view, bucketID(t, n), id)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := meta.CountPieces(view, found.Content)
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

func bucketID(t testing.TB, n *Node) engine.BucketID {
	t.Helper()
	info, err := n.StatBucket(t.Context(), "bucket")
	if err != nil {
		t.Fatal(err)
	}
	return info.ID
}

func withBucket(t testing.TB, c Config) *Node {
	t.Helper()
	n := openNode(t, c)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return n
}

func mustCheck(t testing.TB, n *Node) meta.Census {
	t.Helper()
	census, err := n.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return census[1]
}

// TestCompactPatched: a file of very many small patches stays the file that it is, comes to lie in few pieces, and its former pieces are collected; whoever
// opened it before reads what he opened.
func TestCompactPatched(t *testing.T) {
	n := withBucket(t, testConfig(t, t.TempDir(), 4))
	defer closeNode(t, n)
	patches := 5000
	if raced {
		patches = 1000
	}
	want := content(1, 4<<20)
	put(t, n, "f", want)
	id := nodeOf(t, n, "f").Node
	type reading struct {
		object engine.Object
		want   []byte
	}
	var readers []reading
	random := rand.New(rand.NewPCG(1, 1))
	var last engine.FileInfo
	const together = 10 // pieces of one patch: a commit costs much more than a piece
	for i := 0; i < patches; i += together {
		var pieces []engine.Piece
		for j := range together {
			b, at := content(uint64(i+j), 100), random.IntN(len(want)-100)
			pieces = append(pieces, bodyOf(at, b))
			copy(want[at:], b)
		}
		last = patchNode(t, n, id, pieces...)
		if i%(patches/10) == 0 {
			o, err := n.OpenFile(t.Context(), engine.File{Bucket: "bucket", Node: id}, engine.OpenFileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			readers = append(readers, reading{o, bytes.Clone(want)})
		}
		if i%500 == 0 {
			mustGet(t, n, "f", want)
		}
	}
	awaitTrash(t, n, "the file stays in many pieces", func(s *Status) bool { return s.Scattered == 0 })
	mustGet(t, n, "f", want)
	if runs := piecesOf(t, n, id); runs >= 100 {
		t.Errorf("the file lies in %d pieces", runs)
	}
	if now := nodeOf(t, n, "f"); now != last {
		t.Errorf("the file is %+v; the last patch answered %+v", now, last)
	}
	mustCheck(t, n)
	for i, r := range readers {
		got, err := io.ReadAll(r.object)
		if err != nil || !bytes.Equal(got, r.want) {
			t.Errorf("reader %d got %d bytes that are not those which it opened, and %v", i, len(got), err)
		}
		r.object.Close()
	}
	s := awaitTrash(t, n, "the former pieces are not collected", func(s *Status) bool { return s.Garbage == 0 })
	census := mustCheck(t, n)
	if census.Runs >= 200 || census.Extents > 100 || census.Scattered != 0 {
		t.Errorf("there are %d runs and %d extents", census.Runs, census.Extents)
	}
	if s.Keeper.FilesCompacted == 0 || s.Keeper.BytesCompacted == 0 || s.Keeper.RunsBefore <= s.Keeper.RunsAfter {
		t.Errorf("the keeper counts %+v", s.Keeper)
	}
	t.Logf("%d patches: %d bytes were written anew; %d pieces became %d, in %d looks", patches, s.Keeper.BytesCompacted, s.Keeper.RunsBefore, s.Keeper.RunsAfter, s.Keeper.FilesCompacted)
}

// TestCompactHoles: small holes between small pieces stay holes, and the pieces become runs of one content.
func TestCompactHoles(t *testing.T) {
	n := withBucket(t, testConfig(t, t.TempDir(), 4))
	defer closeNode(t, n)
	put(t, n, "f", nil)
	id := nodeOf(t, n, "f").Node
	want := make([]byte, 3_000_000)
	for i := range 100 {
		b := content(uint64(i), 10_000)
		copy(want[i*30_000:], b)
		patchNode(t, n, id, bodyOf(i*30_000, b))
	}
	size := int64(len(want))
	if _, err := n.PatchFile(t.Context(), engine.File{Bucket: "bucket", Node: id}, engine.Patch{Size: &size}); err != nil {
		t.Fatal(err)
	}
	awaitTrash(t, n, "the file is not compacted", func(s *Status) bool { return s.Scattered == 0 && s.Garbage == 0 })
	mustGet(t, n, "f", want)
	if census := mustCheck(t, n); census.Extents > 40 {
		t.Errorf("the file's pieces lie in %d extents", census.Extents)
	}
	for i := range 100 {
		at, err := n.SeekFile(t.Context(), engine.File{Bucket: "bucket", Node: id}, int64(i*30_000), true)
		if err != nil || at != int64(i*30_000+10_000) {
			t.Fatalf("the hole behind piece %d is at %d, %v", i, at, err)
		}
	}
}

// TestCompactWasted: what nobody names any more of a large content goes when what is named has been written anew.
func TestCompactWasted(t *testing.T) {
	n := withBucket(t, testConfig(t, t.TempDir(), 4))
	defer closeNode(t, n)
	want := content(1, 40<<20)
	put(t, n, "f", want)
	id := nodeOf(t, n, "f").Node
	cut := int64(9 << 20)
	if _, err := n.PatchFile(t.Context(), engine.File{Bucket: "bucket", Node: id}, engine.Patch{Size: &cut}); err != nil {
		t.Fatal(err)
	}
	awaitTrash(t, n, "the content stays", func(s *Status) bool { return s.Scattered == 0 && s.Garbage == 0 })
	mustGet(t, n, "f", want[:cut])
	if census := mustCheck(t, n); census.Extents != 2 {
		t.Errorf("the file lies in %d extents", census.Extents)
	}
}

// TestCompactShared: what a copy has too stays as it is; once the copy is gone, it does not.
func TestCompactShared(t *testing.T) {
	n := withBucket(t, testConfig(t, t.TempDir(), 4))
	defer closeNode(t, n)
	want := content(1, 200_000)
	put(t, n, "f", want)
	id := nodeOf(t, n, "f").Node
	var pieces []engine.Piece
	for i := range 100 {
		b := content(uint64(i), 100)
		copy(want[i*2000:], b)
		pieces = append(pieces, bodyOf(i*2000, b))
	}
	patchNode(t, n, id, pieces...)
	awaitTrash(t, n, "the file is not compacted", func(s *Status) bool { return s.Scattered == 0 })
	for i := range 100 {
		b := content(uint64(1000+i), 50)
		copy(want[i*2000+500:], b)
		pieces[i] = bodyOf(i*2000+500, b)
	}
	patchNode(t, n, id, pieces...)
	if _, err := n.Copy(t.Context(), engine.Ref{Bucket: "bucket", Key: "f"}, engine.Ref{Bucket: "bucket", Key: "copy"}, engine.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	mustGet(t, n, "f", want)
	mustGet(t, n, "copy", want)
	mustCheck(t, n)
	if _, err := n.Delete(t.Context(), engine.Ref{Bucket: "bucket", Key: "copy"}, engine.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitTrash(t, n, "the file is not compacted once the copy is gone", func(s *Status) bool { return s.Scattered == 0 && s.Garbage == 0 })
	mustGet(t, n, "f", want)
	if runs := piecesOf(t, n, id); runs > 8 {
		t.Errorf("the file lies in %d pieces", runs)
	}
	mustCheck(t, n)
}

// TestCompactWhilePatched: patches from several sides and readers while the keeper compacts all the time.
func TestCompactWhilePatched(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.KeeperInterval = time.Millisecond
	n := withBucket(t, c)
	defer closeNode(t, n)
	const writers, part = 4, 300_000
	put(t, n, "f", make([]byte, writers*part))
	id := nodeOf(t, n, "f").Node
	want := make([]byte, writers*part)
	var wait sync.WaitGroup
	failed := make(chan error, writers)
	for w := range writers {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 5))
			mine := want[w*part : (w+1)*part]
			for i := range 120 {
				b, at := content(uint64(w*1000+i), 1+random.IntN(300)), random.IntN(part-300)
				copy(mine[at:], b)
				if _, err := n.PatchFile(t.Context(), engine.File{Bucket: "bucket", Node: id}, engine.Patch{Pieces: []engine.Piece{bodyOf(w*part+at, b)}}); err != nil {
					failed <- err
					return
				}
				if i%20 > 0 {
					continue
				}
				o, err := n.OpenFile(t.Context(), engine.File{Bucket: "bucket", Node: id}, engine.OpenFileOptions{Range: &engine.Range{Start: int64(w * part), Length: part}})
				if err != nil {
					failed <- err
					return
				}
				got, err := io.ReadAll(o)
				o.Close()
				if err != nil || !bytes.Equal(got, mine) {
					failed <- fmt.Errorf("writer %d reads after patch %d what it did not write: %d bytes, %w", w, i, len(got), err)
					return
				}
			}
		})
	}
	wait.Wait()
	close(failed)
	for err := range failed {
		t.Fatal(err)
	}
	s := awaitTrash(t, n, "the file is not compacted", func(s *Status) bool { return s.Scattered == 0 })
	mustGet(t, n, "f", want)
	mustCheck(t, n)
	if s.Keeper.BytesCompacted == 0 {
		t.Error("the keeper wrote nothing anew")
	}
}

// TestRandomFilesCompacted gives the random operations of TestRandomFiles to a node whose keeper never rests.
func TestRandomFilesCompacted(t *testing.T) {
	enginetest.RandomFiles(t, 3, 500, func(t *testing.T) (model, real engine.Engine, check func() error) {
		c := testConfig(t, t.TempDir(), 4)
		c.KeeperInterval, c.CompactEagerly, c.OwnerExpiry = time.Millisecond, true, time.Hour
		n := openNode(t, c)
		t.Cleanup(func() {
			if s := n.keeper.Stats(); s.BytesCompacted == 0 {
				t.Errorf("the keeper wrote nothing anew: %+v", s)
			} else {
				t.Logf("%d files were compacted, and %d bytes written anew", s.FilesCompacted, s.BytesCompacted)
			}
			closeNode(t, n)
		})
		return memory.New(), n, checkOf(t, n)
	})
}
