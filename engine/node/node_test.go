package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/drive"
	"holdfast/engine/erasure"
)

// testConfig describes a small node below a folder.
func testConfig(t testing.TB, dir string, drives int) Config {
	t.Helper()
	c := Config{
		State: filepath.Join(dir, "state"), Memory: 64 << 20, CheckInterval: 20 * time.Millisecond, KeeperInterval: 100 * time.Millisecond,
		Geometry: drive.Geometry{RingBytes: 4 << 20, SegmentBytes: 64 << 20},
		Logger:   slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for i := range drives {
		c.Drives = append(c.Drives, filepath.Join(dir, fmt.Sprint("d", i+1)))
	}
	for _, p := range append(c.Drives, c.State) {
		if err := os.MkdirAll(p, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

func openNode(t testing.TB, c Config) *Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	n, err := Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func closeNode(t testing.TB, n *Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// content is as many bytes as are asked for, determined by a seed.
func content(seed uint64, size int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, size)
	for i := 0; i+8 <= len(b); i += 8 {
		v := rng.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return b
}

func put(t testing.TB, e engine.Engine, key string, b []byte) {
	t.Helper()
	if _, err := e.Put(t.Context(), engine.Ref{Bucket: "bucket", Key: engine.Key(key)}, bytes.NewReader(b), engine.PutOptions{Size: int64(len(b))}); err != nil {
		t.Fatal(err)
	}
}

func mustGet(t testing.TB, e engine.Engine, key string, want []byte) {
	t.Helper()
	o, err := e.Open(t.Context(), engine.Ref{Bucket: "bucket", Key: engine.Key(key)}, engine.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	got, err := io.ReadAll(o)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes came back, not the %d that were written", key, len(got), len(want))
	}
}

var sizes = []int{0, 1, 8192, 8193, 65536, 100_000, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 7, 70 << 20}

func TestStoreAndReadBack(t *testing.T) {
	for _, drives := range []int{1, 2, 3, 4, 5, 9} {
		t.Run(fmt.Sprint(drives), func(t *testing.T) {
			c := testConfig(t, t.TempDir(), drives)
			n := openNode(t, c)
			if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
				t.Fatal(err)
			}
			for i, size := range sizes {
				put(t, n, fmt.Sprint("k", size), content(uint64(i), size))
			}
			for range 2 {
				for i, size := range sizes {
					mustGet(t, n, fmt.Sprint("k", size), content(uint64(i), size))
				}
				closeNode(t, n)
				n = openNode(t, c)
			}
			closeNode(t, n)
		})
	}
}

func waitProtected(t testing.TB, n *Node) Status {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		s, err := n.Status(t.Context())
		if err == nil && s.Protected() {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("not protected again after a minute: %+v %v", s, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestWipeTwoThenTheOthers wipes two of four drives, waits for repair, wipes the other two, and reads everything.
func TestWipeTwoThenTheOthers(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			c := testConfig(t, t.TempDir(), 4)
			n := openNode(t, c)
			if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
				t.Fatal(err)
			}
			for i, size := range sizes {
				put(t, n, fmt.Sprint("k", size), content(uint64(i), size))
			}
			for round := range 2 {
				if !running {
					closeNode(t, n)
				}
				for _, p := range c.Drives[2*round : 2*round+2] {
					wipe(t, p)
				}
				if !running {
					n = openNode(t, c)
				} else {
					waitReplaced(t, n, 2*(round+1))
				}
				waitProtected(t, n)
			}
			for i, size := range sizes {
				mustGet(t, n, fmt.Sprint("k", size), content(uint64(i), size))
			}
			closeNode(t, n)
			n = openNode(t, c)
			for i, size := range sizes {
				mustGet(t, n, fmt.Sprint("k", size), content(uint64(i), size))
			}
			closeNode(t, n)
		})
	}
}

func wipe(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// waitReplaced waits until as many drives have got new ids, and none is out.
func waitReplaced(t testing.TB, n *Node, count int) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		s, err := n.Status(t.Context())
		replaced, out := 0, 0
		for _, d := range s.Drives {
			if d.Drive > 5 {
				replaced++
			}
			if d.State == "out" {
				out++
			}
		}
		if err == nil && replaced >= count && out == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the drives were not replaced: %+v %v", s, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestOverwriteAndDelete checks that what is overwritten and deleted is collected, and that a reader keeps what it opened.
func TestOverwriteAndDelete(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	old := content(1, 5<<20)
	put(t, n, "k", old)
	reader, err := n.Open(t.Context(), engine.Ref{Bucket: "bucket", Key: "k"}, engine.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		put(t, n, "k", content(uint64(i+2), 1<<20))
	}
	if _, err := n.Delete(t.Context(), engine.Ref{Bucket: "bucket", Key: "k"}, engine.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	n.keeper.Wake()
	got, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(got, old) {
		t.Fatalf("a reader got %d bytes of what it opened, and %v", len(got), err)
	}
	reader.Close()
	deadline := time.Now().Add(30 * time.Second)
	for {
		shards := 0
		for _, id := range n.All() {
			list, _, err := n.Shards(id, engine.ShardID{}, 1000)
			if err != nil {
				t.Fatal(err)
			}
			shards += len(list)
		}
		if shards == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d shards are left of what was deleted", shards)
		}
		n.keeper.Wake()
		time.Sleep(20 * time.Millisecond)
	}
	if err := n.DeleteBucket(t.Context(), "bucket", engine.DeleteBucketOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestSweep leaves a shard of a writer that may still commit it, and deletes it once that writer's epoch is closed.
func TestSweep(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	drive := n.All()[0]
	id := engine.ShardID{Extent: n.writers[1].NewExtent()}
	w, err := n.Store(drive).CreateShard(id, 5)
	if err != nil {
		t.Fatal(err)
	}
	data := []byte("shard")
	if err := w.Write(data, erasure.Sums(nil, id, 0, data)); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.keeper.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Store(drive).ReadShard(id, 0, data); err != nil {
		t.Fatalf("a sweep deleted a shard of an open epoch: %v", err)
	}
	closeNode(t, n)
	n = openNode(t, c)
	defer closeNode(t, n)
	if err := n.keeper.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Store(drive).ReadShard(id, 0, data); err == nil {
		t.Fatal("a shard that no command named is there after its epoch was closed and a sweep")
	}
}
