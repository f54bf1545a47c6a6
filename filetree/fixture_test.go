package filetree

import (
	"context"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/memory"
)

const bucket engine.BucketName = "files"

// watched is an engine that counts patches and may hold them up or have them fail.
type watched struct {
	engine.Engine

	mu      sync.Mutex
	patches int
	staged  int
	fail    error
	block   chan struct{} // patches wait until it is closed
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	w := &watched{Engine: memory.New()}
	for _, name := range []engine.BucketName{bucket, "other"} {
		if _, err := w.CreateBucket(t.Context(), name, engine.CreateBucketOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *watched) PatchFile(ctx context.Context, f engine.File, p engine.Patch) (engine.FileInfo, error) {
	w.mu.Lock()
	w.patches++
	fail, block := w.fail, w.block
	w.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return engine.FileInfo{}, ctx.Err()
		}
	}
	if fail != nil {
		return engine.FileInfo{}, fail
	}
	return w.Engine.PatchFile(ctx, f, p)
}

func (w *watched) StageFile(ctx context.Context, b engine.BucketName, body io.Reader, o engine.StageOptions) (engine.Staged, error) {
	w.mu.Lock()
	w.staged++
	w.mu.Unlock()
	return w.Engine.StageFile(ctx, b, body, o)
}

func (w *watched) set(fail error, block chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail, w.block = fail, block
}

func (w *watched) counts() (patches, staged int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.patches, w.staged
}

// newTree returns a tree of the bucket that is closed at the end of the test, with no goroutine of it left.
func newTree(t *testing.T, e engine.Engine, c Config) *Tree {
	t.Helper()
	c.Engine, c.Name = e, "test"
	if c.FlushAfter == 0 {
		c.FlushAfter = time.Hour
	}
	tree := New(c)
	t.Cleanup(func() {
		_ = tree.Close(context.Background()) // tests that care close it themselves
		noGoroutines(t)
	})
	return tree
}

// noGoroutines fails the test if a goroutine of a tree is still there.
func noGoroutines(t *testing.T) {
	t.Helper()
	for range 1000 {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		found := false
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			found = found || strings.Contains(stack, "(*Tree).keep") || strings.Contains(stack, "(*file).flushes")
		}
		if !found {
			return
		}
		runtime.Gosched()
	}
	t.Error("a goroutine of the tree outlives Close")
}

// must is for calls that do not fail.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, what string, err error, kind engine.Kind) {
	t.Helper()
	if !engine.Is(err, kind) {
		t.Errorf("%s: %v, want the kind %q", what, err, kind)
	}
}

var readWrite = Flags{Read: true, Write: true, Create: true}

func open(t *testing.T, tree *Tree, p string, flags Flags) *Handle {
	t.Helper()
	return must(tree.Open(t.Context(), p, flags, 0o644))(t)
}

func write(t *testing.T, h *Handle, p string, offset int64) {
	t.Helper()
	if n, err := h.WriteAt(t.Context(), []byte(p), offset); err != nil || n != len(p) {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// content reads all of a file through a handle.
func content(t *testing.T, h *Handle) string {
	t.Helper()
	info := must(h.Stat(t.Context()))(t)
	p := make([]byte, info.Size+1)
	n, err := h.ReadAt(t.Context(), p, 0)
	if err != io.EOF || int64(n) != info.Size {
		t.Fatalf("read of %d bytes: %d, %v", info.Size, n, err)
	}
	return string(p[:n])
}

// stored is what the engine has of an object.
func stored(t *testing.T, e engine.Engine, key engine.Key) string {
	t.Helper()
	o := must(e.Open(t.Context(), engine.Ref{Bucket: bucket, Key: key}, engine.OpenOptions{}))(t)
	defer o.Close()
	return string(must(io.ReadAll(o))(t))
}
