package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// awaitTrash waits until a status says so.
func awaitTrash(t *testing.T, n *Node, what string, ok func(s *Status) bool) Status {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); ; {
		s, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ok(&s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: trash %d with %d versions, garbage %d", what, s.Trash, s.TrashVersions, s.Garbage)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestRemovedWhileRead: what was removed is taken apart to the last row, and its shards stay for as long as somebody reads them.
func TestRemovedWhileRead(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	old := content(1, 5<<20)
	put(t, n, "a/b/c", old)
	put(t, n, "a/b/d", content(2, 20_000))
	put(t, n, "z", content(3, 20_000))
	reader, err := n.Open(t.Context(), engine.Ref{Bucket: "bucket", Key: "a/b/c"}, engine.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := n.RemovePrefix(t.Context(), "bucket", "a/")
	if err != nil || info != (engine.PrefixInfo{Objects: 2, Versions: 2, Bytes: 5<<20 + 20_000}) {
		t.Fatalf("the removal answers %+v, %v", info, err)
	}
	s := awaitTrash(t, n, "what was removed is not taken apart", func(s *Status) bool { return s.Trash == 0 })
	if s.Keeper.VersionsTakenApart != 2 || s.Garbage == 0 {
		t.Errorf("taken apart were %d versions, and %d contents wait", s.Keeper.VersionsTakenApart, s.Garbage)
	}
	if _, err := n.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(got, old) {
		t.Fatalf("a reader got %d bytes of what it opened, and %v", len(got), err)
	}
	reader.Close()
	awaitTrash(t, n, "what was removed keeps its shards", func(s *Status) bool {
		return s.Garbage == 0 && !slices.ContainsFunc(s.Drives, func(d DriveStatus) bool { return d.Shards > 1 })
	})
	mustGet(t, n, "z", content(3, 20_000))
	closeNode(t, n)
}

// TestForcedDeletionCutShort: a start finishes what a crash left of a deletion by force, or takes it back as if it had never been.
func TestForcedDeletionCutShort(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	ids := map[engine.BucketName]engine.BucketID{}
	for _, name := range []engine.BucketName{"marked", "removed", "kept"} {
		info, err := n.CreateBucket(t.Context(), name, engine.CreateBucketOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = info.ID
		if _, err := n.Put(t.Context(), engine.Ref{Bucket: name, Key: "a/b"}, bytes.NewReader([]byte("x")), engine.PutOptions{Size: 1}); err != nil {
			t.Fatal(err)
		}
	}
	do := func(writer int, c meta.Command) {
		t.Helper()
		if _, _, err := n.writers[writer].Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []engine.BucketName{"marked", "removed"} {
		do(0, &meta.SetBucket{Name: name, Bucket: ids[name], From: meta.BucketActive, To: meta.BucketDeleting})
	}
	do(1, &meta.RemoveBucket{Bucket: ids["removed"]})
	do(1, &meta.RemoveBucket{Bucket: ids["kept"]}) // and the mark was taken back by another call
	closeNode(t, n)
	n = openNode(t, c)
	defer closeNode(t, n)
	page, err := n.ListBuckets(t.Context(), engine.ListBucketsOptions{})
	if err != nil || len(page.Buckets) != 1 || page.Buckets[0].Name != "marked" {
		t.Fatalf("the buckets are %+v, %v", page.Buckets, err)
	}
	if _, err := n.Stat(t.Context(), engine.Ref{Bucket: "marked", Key: "a/b"}, engine.StatOptions{}); err != nil {
		t.Error(err)
	}
	awaitTrash(t, n, "the buckets are not taken apart", func(s *Status) bool { return s.Trash == 0 })
	if err := n.DeleteBucket(t.Context(), "marked", engine.DeleteBucketOptions{Force: true}); err != nil {
		t.Error(err)
	}
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestForcedDeletionsMeet: deletions of a bucket by force and without, and writes, all at once. Of deletions that meet one may be told so, and all if the
// one that came first was without force.
func TestForcedDeletionsMeet(t *testing.T) {
	n := openNode(t, testConfig(t, t.TempDir(), 4))
	defer closeNode(t, n)
	for round := range 30 {
		if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
			t.Fatal(err)
		}
		put(t, n, "a/b", []byte("x"))
		var deleted atomic.Int32
		var wait sync.WaitGroup
		for i := range 6 {
			wait.Go(func() {
				if i > 3 {
					_, err := n.Put(t.Context(), engine.Ref{Bucket: "bucket", Key: "a/c"}, bytes.NewReader([]byte("y")), engine.PutOptions{Size: 1})
					if err != nil && !engine.Is(err, engine.KindNoSuchBucket) {
						t.Errorf("round %d: put: %v", round, err)
					}
					return
				}
				err := n.DeleteBucket(t.Context(), "bucket", engine.DeleteBucketOptions{Force: i > 0})
				switch {
				case err == nil:
					deleted.Add(1)
				case !engine.Is(err, engine.KindNoSuchBucket) && !engine.Is(err, engine.KindConflict) && !(i == 0 && engine.Is(err, engine.KindBucketNotEmpty)):
					t.Errorf("round %d: delete with force %v: %v", round, i > 0, err)
				}
			})
		}
		wait.Wait()
		if deleted.Load() == 0 {
			mustGet(t, n, "a/b", []byte("x"))
			if err := n.DeleteBucket(t.Context(), "bucket", engine.DeleteBucketOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := n.StatBucket(t.Context(), "bucket"); !engine.Is(err, engine.KindNoSuchBucket) {
			t.Fatalf("round %d: %d deletions succeeded, and the bucket: %v", round, deleted.Load(), err)
		}
	}
	awaitTrash(t, n, "the buckets are not taken apart", func(s *Status) bool { return s.Trash == 0 })
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTrashPace removes HOLDFAST_TRASH_KEYS objects, 20,000 without it, and says how long that took, and how long puts of 4 KiB into another bucket take
// before it and while what was removed is taken apart.
func TestTrashPace(t *testing.T) {
	objects := 20_000
	if s := os.Getenv("HOLDFAST_TRASH_KEYS"); s != "" {
		var err error
		if objects, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	c := testConfig(t, t.TempDir(), 4)
	c.Geometry.RingBytes, c.Memory = 64<<20, 256<<20
	n := openNode(t, c)
	defer closeNode(t, n)
	for _, name := range []engine.BucketName{"bucket", "other"} {
		if _, err := n.CreateBucket(t.Context(), name, engine.CreateBucketOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	body := content(1, 4096)
	putInto := func(name engine.BucketName, key string, b []byte) (time.Duration, error) {
		began := time.Now()
		_, err := n.Put(t.Context(), engine.Ref{Bucket: name, Key: engine.Key(key)}, bytes.NewReader(b), engine.PutOptions{Size: int64(len(b))})
		return time.Since(began), err
	}
	began := time.Now()
	fillBucket(t, objects, func(i int) error {
		_, err := putInto("bucket", fmt.Sprintf("a/%02x/%08d", i%256, i), body[:100])
		return err
	})
	t.Logf("%d objects are put in %.1f s", objects, time.Since(began).Seconds())

	puts := func(until func(i int) bool) (took []time.Duration) {
		for i := 0; !until(i); i++ {
			d, err := putInto("other", fmt.Sprint("k", i%1000), body)
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, d)
		}
		slices.Sort(took)
		return took
	}
	before := puts(func(i int) bool { return i == 500 })
	began = time.Now()
	info, err := n.RemovePrefix(t.Context(), "bucket", "a/")
	removal := time.Since(began)
	if err != nil || info.Objects != uint64(objects) {
		t.Fatalf("the removal answers %+v, %v", info, err)
	}
	var empty atomic.Bool
	var watching sync.WaitGroup
	watching.Go(func() {
		awaitCount(t, n, &empty)
	})
	after := puts(func(int) bool { return empty.Load() })
	watching.Wait()
	took := time.Since(began)
	percentile := func(list []time.Duration, p float64) float64 {
		return float64(list[min(len(list)-1, int(p*float64(len(list))))].Microseconds()) / 1000
	}
	t.Logf("the removal of %d objects took %.1f ms; a put of 4 KiB before it %.1f ms, p99 %.1f ms", objects, float64(removal.Microseconds())/1000, percentile(before, 0.5), percentile(before, 0.99))
	t.Logf("taking them apart took %.1f s, %.0f a second; %d puts meanwhile: p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, at most %.1f ms", took.Seconds(), float64(objects)/took.Seconds(), len(after),
		percentile(after, 0.5), percentile(after, 0.99), percentile(after, 0.999), percentile(after, 1))
	if limit := 10*before[len(before)/2] + 100*time.Millisecond; removal > limit {
		t.Errorf("the removal took %v, more than %v: it must not depend on how much is removed", removal, limit)
	}
	if got := n.keeper.Stats().VersionsTakenApart; got != uint64(objects) {
		t.Errorf("%d versions were taken apart, not %d", got, objects)
	}
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// fillBucket calls f for each of n numbers, many at a time.
func fillBucket(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	for range 64 {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && failed.Load() == nil; i = next.Add(1) - 1 {
				if err := f(int(i)); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

// awaitCount sets empty once nothing is under trash, without going through all extents as a status does.
func awaitCount(t *testing.T, n *Node, empty *atomic.Bool) {
	defer empty.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for {
		view, err := n.data.Read(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		trash, err := meta.CountTrash(view)
		if err = errors.Join(err, view.Close()); err != nil {
			t.Error(err)
			return
		}
		if trash.Things == 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Error("what was removed is not taken apart")
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}
