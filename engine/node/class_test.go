package node

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"holdfast/engine"
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
