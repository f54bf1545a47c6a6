package filetree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/engine"
)

func TestHandlesShareOneContent(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	a, b := open(t, tree, "a", readWrite), open(t, tree, "a", Flags{Read: true})
	write(t, a, "what one wrote", 0)
	if got := content(t, b); got != "what one wrote" {
		t.Errorf("the other handle reads %q", got)
	}
	info := must(tree.Stat(t.Context(), "a"))(t)
	if info.Size != 14 || stored(t, e, "a") != "" {
		t.Errorf("size %d before the flush, stored %q", info.Size, stored(t, e, "a"))
	}
	for entry, err := range tree.List(t.Context(), must(tree.Root(t.Context()))(t)) {
		if err != nil || entry.Name != "a" || entry.Node.Info.Size != 14 {
			t.Errorf("listed %+v, %v", entry, err)
		}
	}
	ok(t, b.Close(t.Context())) // flushes what the other wrote
	if got := stored(t, e, "a"); got != "what one wrote" {
		t.Errorf("stored %q", got)
	}
	_, err := b.ReadAt(t.Context(), make([]byte, 1), 0)
	wantKind(t, "read of a closed handle", err, engine.KindInvalidArgument)
	_, err = open(t, tree, "a", Flags{Read: true}).WriteAt(t.Context(), []byte("x"), 0)
	wantKind(t, "write to what is open for reading", err, engine.KindAccessDenied)
}

func TestSmallWritesMakeOnePatch(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	for i := range 300 {
		write(t, h, fmt.Sprintf("%4d", i), int64(i)*4)
	}
	ok(t, h.Sync(t.Context()))
	if patches, _ := e.counts(); patches != 1 {
		t.Errorf("300 writes in a row made %d patches, want 1", patches)
	}
	for i := range 300 {
		write(t, h, "x", 10_000+int64(i)*100)
	}
	ok(t, h.Sync(t.Context()))
	if patches, _ := e.counts(); patches != 3 {
		t.Errorf("300 writes apart made %d patches, want 2", patches-1)
	}
	if info := must(h.Stat(t.Context()))(t); info.Size != 10_000+299*100+1 {
		t.Errorf("size %d", info.Size)
	}
	ok(t, h.Sync(t.Context()))
	if patches, _ := e.counts(); patches != 3 {
		t.Error("a Sync without anything to flush made a patch")
	}
}

func TestBackgroundFlush(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket, FlushAfter: time.Millisecond})
	h := open(t, tree, "a", readWrite)
	write(t, h, "soon", 0)
	waitFor(t, "a flush that nobody asked for", func() bool { return stored(t, e, "a") == "soon" })
}

// waitFor waits for a condition, 20 seconds at most.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestBackgroundErrorIsToldOnce(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket, FlushAfter: time.Millisecond})
	a, b := open(t, tree, "a", readWrite), open(t, tree, "a", readWrite)
	failure := engine.E(engine.KindDriveFull, "no room")
	e.set(failure, nil)
	write(t, a, "kept", 0)
	waitFor(t, "a failed flush", func() bool {
		a.file.mu.Lock()
		defer a.file.mu.Unlock()
		return a.failure != nil && b.failure != nil
	})
	if got := content(t, b); got != "kept" {
		t.Errorf("after a failed flush the file reads %q", got)
	}
	e.set(nil, nil)
	for _, h := range []*Handle{a, b} {
		wantKind(t, "first Sync", h.Sync(t.Context()), engine.KindDriveFull)
		ok(t, h.Sync(t.Context()))
	}
	if got := stored(t, e, "a"); got != "kept" {
		t.Errorf("stored %q", got)
	}
	e.set(failure, nil)
	ok(t, b.Close(t.Context()))
	write(t, a, "lost", 0)
	wantKind(t, "Close", a.Close(t.Context()), engine.KindDriveFull)
	e.set(nil, nil)
	if got := content(t, open(t, tree, "a", Flags{Read: true})); got != "kept" {
		t.Errorf("what Close reported and dropped is %q", got)
	}
}

func TestFailedFlushKeepsOrder(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	write(t, h, "old old old", 0)
	hold := make(chan struct{})
	e.set(engine.E(engine.KindUnavailable, "nobody answers"), hold)
	done := make(chan error)
	go func() { done <- h.Sync(t.Context()) }()
	waitFor(t, "the flush", func() bool { patches, _ := e.counts(); return patches == 1 })
	write(t, h, "NEW", 4) // over what is being flushed
	write(t, h, "behind", 20)
	close(hold)
	wantKind(t, "Sync", <-done, engine.KindUnavailable)
	e.set(nil, nil)
	want := "old NEW old" + strings.Repeat("\x00", 9) + "behind"
	if got := content(t, h); got != want {
		t.Errorf("after the failure %q", got)
	}
	ok(t, h.Close(t.Context()))
	if got := stored(t, e, "a"); got != want {
		t.Errorf("stored %q", got)
	}
}

// cost is what lies in the buffers of a tree, in all of them at one instant: what one file gives back another takes.
func (t *Tree) cost() (sum int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.files {
		f.mu.Lock()
		defer f.mu.Unlock()
		sum += f.frozen.cost + f.dirty.cost
	}
	return sum
}

func TestBudgetIsNeverExceeded(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket, Budget: 1 << 20})
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { e.set(nil, nil); close(hold) })
	t.Cleanup(release)
	e.set(nil, hold)
	const files, size = 8, 1 << 20
	var writers sync.WaitGroup
	for i := range files {
		h := open(t, tree, fmt.Sprint("f", i), readWrite)
		writers.Go(func() {
			p := bytes.Repeat([]byte{byte(i)}, 10_000)
			for offset := int64(0); offset < size; offset += int64(len(p)) {
				if _, err := h.WriteAt(t.Context(), p, offset); err != nil {
					t.Error(err)
					return
				}
				if cost := tree.cost(); cost > tree.Budget {
					t.Errorf("%d bytes in buffers, more than %d", cost, tree.Budget)
				}
			}
			if err := h.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	// Whoever finds the budget used up waits for a flush, and none ends. What is free then may still take a write: others gave back what they had
	// reserved beyond their need.
	waitFor(t, "a writer that finds the budget used up", func() bool { return tree.starving.Load() > 0 })
	release()
	writers.Wait()
	if !tree.budget.TryAcquire(tree.Budget) {
		t.Error("a part of the budget is not given back")
	}
}

func TestFullBuffersFailWhenNothingFlushes(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket, Budget: 1 << 20})
	h := open(t, tree, "a", readWrite)
	e.set(engine.E(engine.KindDriveFull, "no room"), nil)
	var err error
	p := make([]byte, 100_000)
	for i := int64(0); i < 20 && err == nil; i++ {
		_, err = h.WriteAt(t.Context(), p, i*int64(len(p)))
	}
	wantKind(t, "write into full buffers", err, engine.KindDriveFull)
	wantKind(t, "Close", h.Close(t.Context()), engine.KindDriveFull)
}

func TestLongSequentialWrite(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket, Budget: 16 << 20})
	h := open(t, tree, "long", readWrite)
	const size = 64 << 20
	p := make([]byte, 128<<10)
	for offset := int64(0); offset < size; offset += int64(len(p)) {
		for i := range p {
			p[i] = byte(offset>>17) + byte(i)
		}
		if _, err := h.WriteAt(t.Context(), p, offset); err != nil {
			t.Fatal(err)
		}
		if cost := tree.cost(); cost > tree.Budget {
			t.Fatalf("%d bytes in buffers", cost)
		}
	}
	ok(t, h.Sync(t.Context()))
	patches, staged := e.counts()
	if staged < 7 || patches > 20 {
		t.Errorf("%d patches, %d pieces staged: long runs should be", patches, staged)
	}
	for offset := int64(0); offset < size; offset += int64(len(p)) {
		if _, err := h.ReadAt(t.Context(), p, offset); err != nil {
			t.Fatal(err)
		}
		for i := range p {
			if p[i] != byte(offset>>17)+byte(i) {
				t.Fatalf("byte %d is wrong", offset+int64(i))
			}
		}
	}
	ok(t, h.Close(t.Context()))
}

func TestUnlinkWhileOpen(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	write(t, h, "before", 0)
	ok(t, tree.Remove(t.Context(), "a"))
	write(t, h, ", after", 6)
	ok(t, h.Sync(t.Context()))
	if got := content(t, h); got != "before, after" {
		t.Errorf("a file without a name reads %q", got)
	}
	_, err := tree.Stat(t.Context(), "a")
	wantKind(t, "Stat", err, engine.KindNoSuchKey)
	other := open(t, tree, "a", readWrite)
	if other.File() == h.File() || content(t, other) != "" {
		t.Error("the new file is the old one")
	}
	id := h.File()
	ok(t, h.Close(t.Context()))
	_, err = e.StatFile(t.Context(), id)
	wantKind(t, "the file when nobody has it open", err, engine.KindNoSuchKey)
}

func TestTemporary(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := must(tree.OpenTemporary(t.Context(), bucket, Flags{Read: true, Write: true}, 0o600))(t)
	write(t, h, "all of it", 0)
	if got := content(t, h); got != "all of it" {
		t.Errorf("a file without a name reads %q", got)
	}
	if page := must(e.List(t.Context(), bucket, engine.ListOptions{}))(t); len(page.Objects) != 0 {
		t.Errorf("a file without a name is listed: %+v", page.Objects)
	}
	ok(t, h.LinkTo(t.Context(), "named"))
	if got := stored(t, e, "named"); got != "all of it" {
		t.Errorf("with its name came %q", got)
	}
	wantKind(t, "link to a name that is taken", h.LinkTo(t.Context(), "named"), engine.KindExists)
	write(t, h, ", and more", 9)
	ok(t, h.Close(t.Context()))
	if got := stored(t, e, "named"); got != "all of it, and more" {
		t.Errorf("stored %q", got)
	}
	h = must(tree.OpenTemporary(t.Context(), bucket, Flags{Read: true, Write: true}, 0o600))(t)
	id := h.File()
	ok(t, h.Close(t.Context()))
	_, err := e.StatFile(t.Context(), id)
	wantKind(t, "a file without a name that was closed", err, engine.KindNoSuchKey)
	_, err = tree.OpenTemporary(t.Context(), "other", Flags{Read: true}, 0o600)
	wantKind(t, "in another bucket", err, engine.KindInvalidArgument)
	_, err = tree.OpenTemporary(t.Context(), bucket, Flags{Read: true, Write: true, Create: true}, 0o600)
	wantKind(t, "with Create", err, engine.KindInvalidArgument)
}

func TestPutByKeyLeavesHandlesTheirFile(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	write(t, h, "of the handle", 0)
	must(e.Put(t.Context(), engine.Ref{Bucket: bucket, Key: "a"}, strings.NewReader("by key"), engine.PutOptions{Size: 6}))(t)
	ok(t, h.Sync(t.Context()))
	if got := content(t, h); got != "of the handle" {
		t.Errorf("the handle reads %q", got)
	}
	if got := content(t, open(t, tree, "a", Flags{Read: true})); got != "by key" {
		t.Errorf("who opens it anew reads %q", got)
	}
}

func TestExpiredOwner(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	stays, goes := open(t, tree, "stays", readWrite), open(t, tree, "goes", readWrite)
	write(t, stays, "stays", 0)
	write(t, goes, "goes", 0)
	ok(t, stays.Lock(t.Context(), Lock{Mode: engine.LockExclusive}))
	o := tree.owner(bucket)
	before := o.current()
	ok(t, e.CloseOwner(t.Context(), bucket, before)) // as its expiry does
	ok(t, tree.Remove(t.Context(), "goes"))
	tree.tend(t.Context())
	if o.current() == before {
		t.Fatal("the owner was not opened anew")
	}
	_, err := goes.ReadAt(t.Context(), make([]byte, 1), 0)
	wantKind(t, "read of a file that went", err, engine.KindExpired)
	wantKind(t, "Close of a file that went", goes.Close(t.Context()), engine.KindExpired)
	wantKind(t, "Sync of whose locks went", stays.Sync(t.Context()), engine.KindExpired)
	ok(t, stays.Sync(t.Context()))
	ok(t, tree.Remove(t.Context(), "stays"))
	if got := content(t, stays); got != "stays" {
		t.Errorf("a file that the new owner holds reads %q", got)
	}
	ok(t, e.CloseOwner(t.Context(), bucket, o.current()))
	open(t, tree, "next", readWrite) // finds it expired before a round of tend does
	_, err = stays.ReadAt(t.Context(), make([]byte, 1), 0)
	wantKind(t, "read", err, engine.KindExpired)
}

func TestSparse(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	const far = 1 << 40
	write(t, h, "far", far)
	p := bytes.Repeat([]byte{1}, 10)
	if n, err := h.ReadAt(t.Context(), p, far-7); n != 10 || err != nil || string(p) != "\x00\x00\x00\x00\x00\x00\x00far" {
		t.Errorf("read %d, %v, %q", n, err, p)
	}
	if at := must(h.Seek(t.Context(), 0, false))(t); at != far {
		t.Errorf("data begins at %d", at)
	}
	if at := must(h.Seek(t.Context(), far, true))(t); at != far+3 {
		t.Errorf("the hole begins at %d", at)
	}
	_, err := h.Seek(t.Context(), far+3, false)
	wantKind(t, "Seek at the end", err, engine.KindInvalidRange)
	_, err = h.WriteAt(t.Context(), p, engine.ObjectBytesMax-9)
	wantKind(t, "write beyond the largest file", err, engine.KindEntityTooLarge)
	ok(t, h.Truncate(t.Context(), 0))
	ok(t, h.Allocate(t.Context(), 0, 100))
	if got := content(t, h); got != strings.Repeat("\x00", 100) {
		t.Errorf("allocated %q", got)
	}
}

func TestCopyRange(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{})
	a, b, c := open(t, tree, "files/a", readWrite), open(t, tree, "files/b", readWrite), open(t, tree, "other/c", readWrite)
	write(t, a, "0123456789", 0)
	write(t, b, "xxxxxxxxxx", 0)
	for _, target := range []*Handle{b, c} {
		if n := must(target.CopyRange(t.Context(), a, 4, 2, 100))(t); n != 6 {
			t.Errorf("copied %d bytes, want 6", n)
		}
	}
	if got := content(t, b); got != "xx456789xx" {
		t.Errorf("within the bucket %q", got)
	}
	if got := content(t, c); got != "\x00\x00456789" {
		t.Errorf("between buckets %q", got)
	}
	_, err := a.CopyRange(t.Context(), a, 0, 2, 5)
	wantKind(t, "overlap", err, engine.KindInvalidArgument)
}

func TestAppend(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket, Budget: 1 << 20})
	var writers sync.WaitGroup
	for w := range 4 {
		h := open(t, tree, "log", Flags{Write: true, Create: true, Append: true})
		writers.Go(func() {
			for range 50 {
				if _, err := h.WriteAt(t.Context(), bytes.Repeat([]byte{'a' + byte(w)}, 100), 0); err != nil {
					t.Error(err)
				}
			}
			if err := h.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	got := stored(t, e, "log")
	if len(got) != 4*50*100 {
		t.Fatalf("%d bytes", len(got))
	}
	for i := 0; i < len(got); i += 100 {
		if got[i:i+100] != strings.Repeat(got[i:i+1], 100) {
			t.Fatalf("the append at %d is torn", i)
		}
	}
	h := open(t, tree, "log", readWrite)
	if at := must(h.Append(t.Context(), make([]byte, 2<<20)))(t); at != 20_000 { // more than the buffers take
		t.Errorf("appended at %d", at)
	}
	if info := must(h.Stat(t.Context()))(t); info.Size != 20_000+2<<20 {
		t.Errorf("size %d", info.Size)
	}
}

func TestSyncFlag(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", Flags{Write: true, Create: true, Sync: true})
	write(t, h, "acknowledged", 0)
	if got := stored(t, e, "a"); got != "acknowledged" {
		t.Errorf("stored %q", got)
	}
}

func TestTimesAreThoseOfTheWrite(t *testing.T) {
	e := newWatched(t)
	at := time.Date(2031, 2, 3, 4, 5, 6, 7, time.UTC)
	tree := newTree(t, e, Config{Bucket: bucket, Clock: func() time.Time { return at }})
	h := open(t, tree, "a", readWrite)
	write(t, h, "x", 0)
	for range 2 { // before and after the flush
		if info := must(h.Stat(t.Context()))(t); !info.Modified.Equal(at) {
			t.Errorf("modified %v, want %v", info.Modified, at)
		}
		ok(t, h.Sync(t.Context()))
	}
	write(t, h, "y", 0)
	set := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	ok(t, tree.Chtimes(t.Context(), "a", nil, &set))
	ok(t, h.Close(t.Context()))
	if info := must(tree.Stat(t.Context(), "a"))(t); !info.Modified.Equal(set) {
		t.Errorf("modified %v after Chtimes to %v", info.Modified, set)
	}
}

func TestOthersChangesAreSeen(t *testing.T) {
	e := newWatched(t)
	a, b := newTree(t, e, Config{Bucket: bucket}), New(Config{Engine: e, Bucket: bucket})
	defer func() { ok(t, b.Close(context.Background())) }()
	x, y := open(t, a, "a", readWrite), open(t, b, "a", readWrite)
	write(t, x, "from here", 0)
	ok(t, x.Sync(t.Context()))
	if got := content(t, y); got != "from here" {
		t.Errorf("the other tree reads %q", got)
	}
	if at := must(y.Append(t.Context(), []byte("; and there")))(t); at != 9 {
		t.Errorf("appended at %d", at)
	}
	ok(t, y.Close(t.Context()))
	if got := content(t, x); got != "from here; and there" {
		t.Errorf("the first tree reads %q", got)
	}
}

func TestLocks(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	a, b := open(t, tree, "a", readWrite), open(t, tree, "a", readWrite)
	all := Lock{Mode: engine.LockExclusive}
	ok(t, a.Lock(t.Context(), Lock{Mode: engine.LockExclusive, Start: 10, Length: 10}))
	wantKind(t, "a second lock", b.Lock(t.Context(), all), engine.KindHeld)
	if held, found, err := b.TestLock(t.Context(), all); err != nil || !found || held.Start != 10 {
		t.Errorf("in the way is %+v, %t, %v", held, found, err)
	}
	ok(t, b.Lock(t.Context(), Lock{Mode: engine.LockShared, Start: 20}))
	flock := Lock{Kind: engine.LockFlock, Mode: engine.LockExclusive, Holder: HolderOf(7)}
	ok(t, b.Lock(t.Context(), flock))
	wantKind(t, "another flock", a.Lock(t.Context(), Lock{Kind: engine.LockFlock, Mode: engine.LockShared}), engine.KindHeld)

	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wantKind(t, "a wait in vain", b.LockWait(short, all), engine.KindCanceled)
	got := make(chan error)
	go func() { got <- b.LockWait(t.Context(), Lock{Mode: engine.LockExclusive, Length: 15}) }()
	ok(t, a.Unlock(t.Context(), all))
	ok(t, <-got)
	ok(t, b.Close(t.Context()))
	ok(t, a.Lock(t.Context(), all)) // the locks of the handle went with it
	wantKind(t, "the flock of another holder", a.Lock(t.Context(), Lock{Kind: engine.LockFlock, Mode: engine.LockShared}), engine.KindHeld)
	ok(t, a.Close(t.Context()))
	ok(t, open(t, tree, "a", readWrite).Lock(t.Context(), Lock{Kind: engine.LockFlock, Mode: engine.LockExclusive})) // and with the last one all
}

func TestPaths(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{})
	ctx := t.Context()
	ok(t, tree.Mkdir(ctx, "/files/dir", 0o750))
	wantKind(t, "Mkdir", tree.Mkdir(ctx, "files/dir/", 0o750), engine.KindExists)
	wantKind(t, "Mkdir of a bucket", tree.Mkdir(ctx, "bucket", 0o750), engine.KindInvalidArgument)
	h := open(t, tree, "files/dir/a", readWrite)
	write(t, h, "content", 0)
	ok(t, tree.Symlink(ctx, "a", "files/dir/link"))
	ok(t, tree.Symlink(ctx, "../../../../files/dir", "files/up"))
	ok(t, tree.Symlink(ctx, "/files/up/link", "files/absolute"))
	ok(t, tree.Symlink(ctx, "circle", "files/circle"))
	for _, p := range []string{"files/dir/a", "/files//dir/./link", "files/up/a", "files/absolute", "files/up/../dir/link", "../files/dir/a"} {
		n, err := tree.Resolve(ctx, p)
		if err != nil || n.File != h.File() || n.Info.Size != 7 {
			t.Errorf("%s leads to %+v, %v", p, n, err)
		}
	}
	_, err := tree.Resolve(ctx, "files/circle")
	wantKind(t, "a circle", err, engine.KindInvalidArgument)
	_, err = tree.Walk(ctx, "files/up/a")
	wantKind(t, "Walk through a link", err, engine.KindNotDirectory)
	if n := must(tree.Walk(ctx, "files/dir/link"))(t); n.Info.Type != engine.TypeSymlink {
		t.Errorf("Walk follows a link to %+v", n)
	}
	if target := must(tree.Readlink(ctx, "files/up"))(t); target != "../../../../files/dir" {
		t.Errorf("target %q", target)
	}
	if got := content(t, open(t, tree, "files/absolute", readWrite)); got != "content" {
		t.Errorf("opened through links %q", got)
	}
	_, err = tree.Open(ctx, "files/dir", Flags{Read: true}, 0)
	wantKind(t, "Open of a directory", err, engine.KindIsDirectory)
	_, err = tree.Open(ctx, "files/dir/a", Flags{Write: true, Create: true, Exclusive: true}, 0)
	wantKind(t, "exclusive Open", err, engine.KindExists)
	_, err = tree.Open(ctx, "nowhere/a", Flags{Read: true}, 0)
	wantKind(t, "Open in no bucket", err, engine.KindNoSuchBucket)

	var names []string
	for entry, err := range tree.List(ctx, must(tree.Root(ctx))(t)) {
		ok(t, err)
		names = append(names, entry.Name)
	}
	if fmt.Sprint(names) != "[files other]" {
		t.Errorf("the top level has %v", names)
	}
	for i := range 2 * engine.PageMax {
		must(e.MakeFile(ctx, engine.Place{Bucket: "other", Directory: engine.RootNode, Name: fmt.Sprint("n", i)}, engine.MakeFileOptions{}))(t)
	}
	count := 0
	for _, err := range tree.List(ctx, must(tree.Walk(ctx, "other"))(t)) {
		ok(t, err)
		count++
	}
	if count != 2*engine.PageMax {
		t.Errorf("%d names listed", count)
	}

	ok(t, tree.Link(ctx, "files/dir/a", "files/second"))
	ok(t, tree.Rename(ctx, "files/dir", "files/moved", engine.MoveFileOptions{}))
	wantKind(t, "Rename to another bucket", tree.Rename(ctx, "files/moved", "other/moved", engine.MoveFileOptions{}), engine.KindInvalidArgument)
	wantKind(t, "Remove", tree.Remove(ctx, "files/moved"), engine.KindNotEmpty)
	ok(t, tree.Chmod(ctx, "files/moved/a", 0o600))
	uid := uint32(7)
	ok(t, tree.Chown(ctx, "files/moved/a", &uid, nil))
	if info := must(tree.Lstat(ctx, "files/second"))(t); info.Attributes.Mode != 0o600 || info.Attributes.UID != 7 || info.Links != 2 || info.Size != 7 {
		t.Errorf("the second name shows %+v", info)
	}
	ok(t, tree.SetXattr(ctx, "files/second", "user.x", []byte("y"), engine.SetXattrOptions{}))
	if value := must(tree.Xattr(ctx, "files/moved/a", "user.x"))(t); string(value) != "y" {
		t.Errorf("attribute %q", value)
	}
	if names := must(tree.Xattrs(ctx, "files/moved/a"))(t); len(names) != 1 {
		t.Errorf("attributes %v", names)
	}
	ok(t, tree.Truncate(ctx, "files/moved/a", 3))
	if got := content(t, h); got != "con" {
		t.Errorf("truncated to %q", got)
	}
	if usage := must(tree.Usage(ctx, "files/moved"))(t); usage.Bytes != 4 { // the file, and the link's target
		t.Errorf("usage %+v", usage)
	}
	ok(t, tree.RemoveAll(ctx, "files/moved"))
	ok(t, tree.RemoveAll(ctx, "files/moved"))
	ok(t, tree.Remove(ctx, "files/second"))
	if got := content(t, h); got != "con" {
		t.Errorf("what was removed with all reads %q through its handle", got)
	}
}

func TestTruncateAtOpen(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	write(t, h, "what there was", 0)
	other := open(t, tree, "a", Flags{Write: true, Truncate: true})
	if got := content(t, h); got != "" {
		t.Errorf("after an open that empties it %q", got)
	}
	write(t, other, "new", 0)
	if got := content(t, h); got != "new" {
		t.Errorf("%q", got)
	}
	_, err := tree.Open(t.Context(), "a", Flags{Read: true, Truncate: true}, 0)
	wantKind(t, "contradiction", err, engine.KindInvalidArgument)
}

func TestCloseEndsEverything(t *testing.T) {
	e := newWatched(t)
	tree := New(Config{Engine: e, FlushAfter: time.Hour})
	h := open(t, tree, "files/a", readWrite)
	write(t, h, "flushed by Close", 0)
	must(h.ReadAt(t.Context(), make([]byte, 3), 0))(t)
	open(t, tree, "other/b", readWrite)
	ids := []engine.OwnerID{tree.owner(bucket).current(), tree.owner("other").current()}
	ok(t, tree.Close(t.Context()))
	noGoroutines(t)
	if got := stored(t, e, "a"); got != "flushed by Close" {
		t.Errorf("stored %q", got)
	}
	for i, b := range []engine.BucketName{bucket, "other"} {
		_, err := e.RenewOwner(t.Context(), b, ids[i])
		wantKind(t, "the owner", err, engine.KindExpired)
	}
	_, err := tree.Open(t.Context(), "files/a", Flags{Read: true}, 0)
	wantKind(t, "Open in a closed tree", err, engine.KindInvalidArgument)
	ok(t, h.Close(t.Context()))
}

// failing is an engine whose releases fail.
type failing struct {
	*watched
	fails bool
}

func (f *failing) ReleaseFile(ctx context.Context, id engine.File, o engine.OwnerID) error {
	if f.fails {
		return engine.E(engine.KindUnavailable, "nobody answers")
	}
	return f.watched.ReleaseFile(ctx, id, o)
}

func TestFailedReleaseIsTriedAgain(t *testing.T) {
	e := &failing{newWatched(t), true}
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	ok(t, h.Close(t.Context()))
	if info := must(tree.Stat(t.Context(), "a"))(t); !info.Held {
		t.Error("a release that failed has released")
	}
	tree.tend(t.Context())
	e.fails = false
	tree.tend(t.Context())
	if info := must(tree.Stat(t.Context(), "a"))(t); info.Held {
		t.Error("the file is still held")
	}
	ok(t, open(t, tree, "a", readWrite).Close(t.Context()))
}

// opens counts what is opened, and how much.
type opens struct {
	*watched
	mu     sync.Mutex
	ranges []engine.Range
	open   int
}

type counted struct {
	engine.Object
	o *opens
}

func (o *opens) OpenFile(ctx context.Context, id engine.File, options engine.OpenFileOptions) (engine.Object, error) {
	object, err := o.watched.OpenFile(ctx, id, options)
	if err != nil || options.Range == nil {
		return object, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ranges = append(o.ranges, *options.Range)
	o.open++
	return counted{object, o}, nil
}

func (c counted) Close() error {
	c.o.mu.Lock()
	c.o.open--
	c.o.mu.Unlock()
	return c.Object.Close()
}

func TestReadsOpenWhatTheyNeed(t *testing.T) {
	e := &opens{watched: newWatched(t)}
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	ok(t, h.Truncate(t.Context(), 8<<20))
	p := make([]byte, 4096)
	for offset := int64(0); offset < 8<<20; offset += 4096 {
		must(h.ReadAt(t.Context(), p, offset))(t)
	}
	if n := len(e.ranges); n > 4 {
		t.Errorf("a reading in sequence opened %d objects", n)
	}
	if n, err := h.ReadAt(t.Context(), p, 8<<20); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read at the end: %d, %v", n, err)
	}
	e.ranges = nil
	for _, offset := range []int64{5 << 20, 1 << 20, 3 << 20} {
		must(h.ReadAt(t.Context(), p, offset))(t)
	}
	for _, r := range e.ranges {
		if r.Length != 4096 {
			t.Errorf("a read of 4 KiB elsewhere opened %d bytes", r.Length)
		}
	}
	for offset := int64(0); offset < 3; offset++ { // in sequence again, and then at rest
		must(h.ReadAt(t.Context(), p, 3<<20+4096*(1+offset)))(t)
	}
	if e.open != 1 {
		t.Errorf("%d objects are open", e.open)
	}
	tree.tend(t.Context())
	tree.tend(t.Context())
	if e.open != 0 {
		t.Errorf("%d objects are open although nobody reads", e.open)
	}
}

func TestReadingInSequenceSeesWhatWasFlushed(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	write(t, h, strings.Repeat("old ", 1000), 0)
	ok(t, h.Sync(t.Context()))
	p := make([]byte, 4)
	must(h.ReadAt(t.Context(), p, 0))(t) // keeps an object open
	write(t, h, "NEW ", 4)
	ok(t, h.Sync(t.Context()))
	if must(h.ReadAt(t.Context(), p, 4))(t); string(p) != "NEW " {
		t.Errorf("read on after a flush: %q", p)
	}
	ok(t, h.ZeroRange(t.Context(), 8, 4))
	if must(h.ReadAt(t.Context(), p, 8))(t); string(p) != "\x00\x00\x00\x00" {
		t.Errorf("read on after a hole was made: %q", p)
	}
}

func TestChangeComesAfterWritesThatCameWhileItFlushed(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	write(t, h, "early", 0)
	hold := make(chan struct{})
	e.set(nil, hold)
	done := make(chan error)
	go func() { done <- h.Truncate(t.Context(), 3) }()
	waitFor(t, "the flush", func() bool { patches, _ := e.counts(); return patches == 1 })
	write(t, h, "late", 100)
	e.set(nil, nil)
	close(hold)
	ok(t, <-done)
	if got := content(t, h); got != "ear" {
		t.Errorf("truncated to %q", got)
	}
}

func TestCanceledCalls(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	write(t, h, "kept", 0)
	hold := make(chan struct{})
	e.set(nil, hold)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Sync(ctx) }()
	waitFor(t, "the flush", func() bool { patches, _ := e.counts(); return patches == 1 })
	cancel()
	wantKind(t, "Sync", <-done, engine.KindCanceled)
	wantKind(t, "Truncate", h.Truncate(ctx, 0), engine.KindCanceled)
	e.set(nil, nil)
	close(hold)
	ok(t, h.Sync(t.Context()))
	if got := stored(t, e, "a"); got != "kept" {
		t.Errorf("stored %q after the second try", got)
	}
}

func TestOpenWhileClosing(t *testing.T) {
	e := newWatched(t)
	tree := newTree(t, e, Config{Bucket: bucket, FlushAfter: time.Millisecond})
	var users sync.WaitGroup
	for w := range 4 {
		users.Go(func() {
			for i := range 100 {
				h, err := tree.Open(t.Context(), "a", readWrite, 0o644)
				if err != nil {
					t.Error(err)
					return
				}
				p := []byte(fmt.Sprintf("%d:%3d", w, i))
				if _, err := h.WriteAt(t.Context(), p, int64(w)*10); err != nil {
					t.Error(err)
				}
				got := make([]byte, len(p))
				if _, err := h.ReadAt(t.Context(), got, int64(w)*10); err != nil || !bytes.Equal(got, p) {
					t.Errorf("read %q, want %q: %v", got, p, err)
				}
				if err := h.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
	if info := must(tree.Stat(t.Context(), "a"))(t); info.Held || info.Size != 35 {
		t.Errorf("when all have closed: %+v", info)
	}
}

func TestVersionedBucket(t *testing.T) {
	e := newWatched(t)
	ok(t, e.SetVersioning(t.Context(), bucket, engine.VersioningEnabled))
	tree := newTree(t, e, Config{Bucket: bucket})
	h := open(t, tree, "a", readWrite)
	for _, p := range []string{"first", "second"} {
		write(t, h, p, 0)
		ok(t, h.Sync(t.Context()))
	}
	if got := content(t, h); got != "second" || stored(t, e, "a") != got {
		t.Errorf("the handle reads %q, by key %q", got, stored(t, e, "a"))
	}
	page := must(e.ListVersions(t.Context(), bucket, engine.ListVersionsOptions{}))(t)
	if len(page.Versions) != 3 { // empty, as it was made, and one of each flush
		t.Errorf("%d versions", len(page.Versions))
	}
}
