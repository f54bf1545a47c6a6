package node

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/engine"
	"holdfast/engine/coordinator"
	"holdfast/engine/meta"
)

// codesOf returns the codes of an object's extents.
func codesOf(t *testing.T, n *Node, key engine.Key) (codes []string) {
	t.Helper()
	view, err := n.data.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	object, err := meta.Lookup(view, 1, key, "")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(content uint64)
	walk = func(id uint64) {
		c, err := meta.LoadContent(view, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range c.Runs {
			if run.Content != 0 {
				walk(run.Content)
				continue
			}
			x, err := meta.LoadExtent(view, run.Extent)
			if err != nil {
				t.Fatal(err)
			}
			if x.Class != object.Info.Class {
				t.Errorf("an extent of %q has class %s, the object %s", key, x.Class, object.Info.Class)
			}
			codes = append(codes, codeText(x.Redundancy))
		}
	}
	walk(object.Content)
	return codes
}

// TestStorageClasses writes in both classes by every way there is, copies between them in a budget that a few copies fill, and loses a drive.
func TestStorageClasses(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.Memory = 16 << 20
	n := openNode(t, c)
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	ref := func(key string) engine.Ref { return engine.Ref{Bucket: "bucket", Key: engine.Key(key)} }
	body := content(1, 3<<20)
	for key, class := range map[string]engine.StorageClass{"standard": "", "reduced": engine.ClassReduced} {
		if _, err := n.Put(t.Context(), ref(key), bytes.NewReader(body), engine.PutOptions{Size: int64(len(body)), Class: class}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Put(t.Context(), ref("x"), bytes.NewReader(body), engine.PutOptions{Size: int64(len(body)), Class: "COLD"}); !engine.Is(err, engine.KindInvalidArgument) {
		t.Errorf("an unknown class: %v", err)
	}
	more := content(2, 100_000)
	info, err := n.Append(t.Context(), ref("reduced"), bytes.NewReader(more), engine.AppendOptions{Offset: int64(len(body)), Size: int64(len(more))})
	if err != nil || info.Class != engine.ClassReduced {
		t.Fatalf("append: %+v, %v", info, err)
	}
	var wait sync.WaitGroup
	for i := range 12 {
		wait.Go(func() {
			from, to, class := "standard", engine.ClassReduced, "reduced"
			if i%2 == 0 {
				from, to, class = "reduced", engine.ClassStandard, "standard"
			}
			if _, err := n.Copy(t.Context(), ref(from), ref(fmt.Sprint("copy", i, class)), engine.CopyOptions{Class: to}); err != nil {
				t.Errorf("copy %d: %v", i, err)
			}
		})
	}
	wait.Wait()
	longer := append(bytes.Clone(body), more...)
	for key, want := range map[string]string{"standard": "2+2", "reduced": "3+1", "copy0standard": "2+2", "copy1reduced": "3+1"} {
		codes := codesOf(t, n, engine.Key(key))
		for _, code := range codes {
			if code != want {
				t.Errorf("%s has an extent with %s, not %s", key, code, want)
			}
		}
		if len(codes) == 0 {
			t.Errorf("%s has no extents", key)
		}
	}
	if err := os.Rename(c.Drives[1], c.Drives[1]+".away"); err != nil {
		t.Fatal(err)
	}
	await(t, n, "the drive is not out", func(s Status) bool { return !allIn(s) })
	for key, want := range map[string][]byte{"standard": body, "reduced": longer, "copy0standard": longer, "copy1reduced": body} {
		o, err := n.Open(t.Context(), ref(key), engine.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(o); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s without a drive: %d bytes, %v", key, len(got), err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestReducedRedundancy says which codes the class may have.
func TestReducedRedundancy(t *testing.T) {
	for _, c := range []struct {
		drives            int
		standard, reduced engine.Redundancy
		want              string // "" if it is refused
	}{
		{4, engine.Redundancy{Data: 2, Parity: 2}, engine.Redundancy{}, "3+1"}, {1, engine.Redundancy{Data: 1}, engine.Redundancy{}, "1+0"},
		{2, engine.Redundancy{Data: 1, Parity: 1}, engine.Redundancy{}, "1+1"}, {6, engine.Redundancy{Data: 4, Parity: 2}, engine.Redundancy{Data: 4, Parity: 1}, "4+1"},
		{4, engine.Redundancy{Data: 3, Parity: 1}, engine.Redundancy{Data: 2, Parity: 2}, ""}, {4, engine.Redundancy{Data: 2, Parity: 2}, engine.Redundancy{Data: 4, Parity: 1}, ""},
	} {
		drives := make([]string, c.drives)
		for i := range drives {
			drives[i] = fmt.Sprint("/d", i)
		}
		got, err := CheckReduced(drives, c.standard, c.reduced)
		if err == nil != (c.want != "") || err == nil && codeText(got) != c.want {
			t.Errorf("%d drives, standard %s, reduced %s: %s, %v", c.drives, codeText(c.standard), codeText(c.reduced), codeText(got), err)
		}
	}
}

// flipping has every other extent coded otherwise than the class says.
type flipping struct {
	*Node
	calls atomic.Int64
}

func (f *flipping) Place(r engine.Redundancy, bytes int64) (coordinator.Placement, error) {
	if f.calls.Add(1)%2 == 0 {
		r = engine.Redundancy{Data: 3, Parity: 1} // whose blocks have another size
	}
	return f.Node.Place(r, bytes)
}

// TestCodeChangesWithinABody stores bodies whose extents have two codes, and so blocks that do not fit each other.
func TestCodeChangesWithinABody(t *testing.T) {
	n := openNode(t, testConfig(t, t.TempDir(), 4))
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	flips := &flipping{Node: n}
	n.Coordinator.Drives = flips
	for _, c := range []struct {
		bytes int
		known bool
		codes int // different ones
	}{{200<<20 + 5, true, 2}, {5<<20 + 7, false, 2}, {8 << 20, false, 2}, {1179648, true, 1}, {9000, false, 1}, {1 << 20, false, 1}} {
		for first := range 2 {
			flips.calls.Store(int64(first))
			body := content(uint64(c.bytes), c.bytes)
			size := int64(-1)
			if c.known {
				size = int64(c.bytes)
			}
			if _, err := n.Put(t.Context(), engine.Ref{Bucket: "bucket", Key: "k"}, bytes.NewReader(body), engine.PutOptions{Size: size}); err != nil {
				t.Fatal(err)
			}
			mustGet(t, n, "k", body)
			seen := map[string]bool{}
			codes := codesOf(t, n, "k")
			for _, code := range codes {
				seen[code] = true
			}
			if len(seen) != c.codes || c.known && len(codes) > c.bytes>>26+2 {
				t.Errorf("%d bytes have extents with the codes %v", c.bytes, codes)
			}
		}
	}
}

// TestUnknownSize stores bodies that do not say how long they are: they have few extents, which are no longer than what came.
func TestUnknownSize(t *testing.T) {
	n := openNode(t, testConfig(t, t.TempDir(), 4))
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 8192, 8193, 1<<20 - 1, 1 << 20, 1<<20 + 1, 2 << 20, 3<<20 + 7, 200<<20 + 5} {
		body := content(uint64(size), size)
		info, err := n.Put(t.Context(), engine.Ref{Bucket: "bucket", Key: "k"}, bytes.NewReader(body), engine.PutOptions{Size: -1})
		if err != nil || info.Size != int64(size) {
			t.Fatalf("%d bytes: %v, %d", size, err, info.Size)
		}
		mustGet(t, n, "k", body)
		if codes := codesOf(t, n, "k"); len(codes) > 11 {
			t.Errorf("%d bytes are in %d extents", size, len(codes))
		}
	}
	broken := io.MultiReader(bytes.NewReader(content(9, 5<<20)), failing{})
	if _, err := n.Put(t.Context(), engine.Ref{Bucket: "bucket", Key: "broken"}, broken, engine.PutOptions{Size: -1}); !engine.Is(err, engine.KindIncompleteBody) {
		t.Errorf("a body that breaks off: %v", err)
	}
	if _, err := n.Stat(t.Context(), engine.Ref{Bucket: "bucket", Key: "broken"}, engine.StatOptions{}); !engine.Is(err, engine.KindNoSuchKey) {
		t.Errorf("a body that broke off is there: %v", err)
	}
}

// failing is a body that breaks off.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestCopiedPartsOfAppends: an object of many small appends is copied as parts of another. What rides in rows must not multiply there, for who opens an
// object has all of that in memory.
func TestCopiedPartsOfAppends(t *testing.T) {
	n := openNode(t, testConfig(t, t.TempDir(), 4))
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	from, to := engine.Ref{Bucket: "bucket", Key: "log"}, engine.Ref{Bucket: "bucket", Key: "whole"}
	var want []byte
	for i := range 20 {
		b := content(uint64(i), 1000)
		if i == 19 {
			b = content(19, 5<<20)
		}
		if _, err := n.Append(t.Context(), from, bytes.NewReader(b), engine.AppendOptions{Offset: int64(len(want)), Size: int64(len(b))}); err != nil {
			t.Fatal(err)
		}
		want = append(want, b...)
	}
	upload, err := n.StartUpload(t.Context(), to, engine.StartUploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var o engine.CompleteUploadOptions
	o.Size = -1
	for number := 1; number <= 3; number++ {
		part, err := n.CopyPart(t.Context(), from, to, upload.ID, number, engine.CopyPartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		o.Parts = append(o.Parts, engine.CompletePart{Number: number, ETag: part.ETag})
	}
	if _, err := n.CompleteUpload(t.Context(), to, upload.ID, o); err != nil {
		t.Fatal(err)
	}
	mustGet(t, n, "whole", bytes.Repeat(want, 3))
	if inline := inlinedIn(t, n, "whole"); inline > 3 {
		t.Errorf("%d pieces of the copy ride in rows", inline)
	}
}

// inlinedIn counts the pieces of an object that ride in rows.
func inlinedIn(t *testing.T, n *Node, key engine.Key) (pieces int) {
	t.Helper()
	view, err := n.data.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	object, err := meta.Lookup(view, 1, key, "")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(content uint64)
	walk = func(id uint64) {
		c, err := meta.LoadContent(view, id)
		if err != nil {
			t.Fatal(err)
		}
		if c.IsInline {
			pieces++
		}
		for _, run := range c.Runs {
			if run.Content != 0 {
				walk(run.Content)
			}
		}
	}
	walk(object.Content)
	return pieces
}

// TestBucketThatItsGroupLost: a deletion that was cut off between the group and the directory, after another call took back the mark, is finished at the
// next start.
func TestBucketThatItsGroupLost(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	info, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateBucket(t.Context(), "other", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.writers[1].Do(t.Context(), &meta.DeleteBucket{Bucket: info.ID}); err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)
	n = openNode(t, c)
	defer closeNode(t, n)
	if page, err := n.ListBuckets(t.Context(), engine.ListBucketsOptions{}); err != nil || len(page.Buckets) != 1 || page.Buckets[0].Name != "other" {
		t.Errorf("%v, %v", page, err)
	}
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Error(err)
	}
}
