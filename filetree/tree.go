// Package filetree keeps open files over engine.Files: handles, buffers of what was written, byte-range locks, paths. It is the one place where file
// protocols and mounts have them, so that none writes them again.
//
// Promise: all handles of one file in one Tree see one content: what one wrote, another reads at once. What Sync or Close of a handle acknowledged
// is in the engine, and so is every write of a handle with Flags.Sync; what is in buffers alone is lost with the process. Buffers are bounded by
// Config.Budget. An error of a flush in the background is told once by each handle that was open then.
//
// It does not know protocols, users or permissions: it has an engine.Engine, which is a session, and answers with the Kinds of the engine.
// docs/design/filetree.md says why it is as it is.
package filetree

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"holdfast/engine"
)

const (
	budgetDefault     = 64 << 20
	budgetMin         = 1 << 20
	flushAfterDefault = 5 * time.Second
	// backgroundMax is how long a call of the engine may take that nobody waits for.
	backgroundMax = 2 * time.Minute
)

// Config says what a Tree is of.
type Config struct {
	Engine engine.Engine
	// Bucket is the one whose tree this is. With "" the Tree has a top level that shows all buckets.
	Bucket engine.BucketName
	// Name is for people who look at what is held, at most 255 bytes.
	Name string
	// Budget is how many bytes may lie in buffers, of all files together: 64 MiB if 0, and 1 MiB at least.
	Budget int64
	// FlushAfter is how long a write stays in a buffer at most before a flush begins: 5 s if 0.
	FlushAfter time.Duration
	// Class is that of files that are made here.
	Class engine.StorageClass
	// Clock tells the time of writes that are not flushed; nil means time.Now.
	Clock func() time.Time
}

// Tree is a bucket, or all of them, as a tree with open files. It is safe for concurrent use.
type Tree struct {
	Config
	flushBytes int64               // of one file, from which on a flush begins
	budget     *semaphore.Weighted // bytes of buffers
	starving   atomic.Int32        // writers that wait for the budget
	holders    atomic.Uint64       // the last number that a handle locks under

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	keeper sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	files  map[engine.File]*file
	stale  map[engine.File]map[lockHolder]bool // files that are still held although they are closed, as their release failed, and who may have locks of them
	owners map[engine.BucketName]*owner
}

// New returns a Tree. The caller closes it.
func New(c Config) *Tree {
	if c.Budget == 0 {
		c.Budget = budgetDefault
	}
	c.Budget = max(c.Budget, budgetMin)
	if c.FlushAfter <= 0 {
		c.FlushAfter = flushAfterDefault
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	t := &Tree{
		Config: c, flushBytes: min(c.Budget/4, engine.ExtentBytesMax), budget: semaphore.NewWeighted(c.Budget),
		files: map[engine.File]*file{}, stale: map[engine.File]map[lockHolder]bool{}, owners: map[engine.BucketName]*owner{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.keeper.Go(t.keep)
	return t
}

// Close closes all handles as their Close does, and ends the owners. It returns the errors of all; what could not be flushed is dropped.
func (t *Tree) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	files := make([]*file, 0, len(t.files))
	for _, f := range t.files {
		files = append(files, f)
	}
	t.mu.Unlock()
	var all []error
	for _, f := range files {
		if err := wait(ctx, f.ready); err != nil {
			all = append(all, err)
		}
		for _, h := range f.opened() {
			if err := h.Close(ctx); err != nil {
				all = append(all, err)
			}
		}
	}
	t.cancel()
	t.keeper.Wait()
	t.mu.Lock()
	owners := t.owners
	t.owners = map[engine.BucketName]*owner{}
	t.mu.Unlock()
	for _, o := range owners {
		if err := o.end(ctx); err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// wait waits until something is closed.
func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return engine.Wrap("wait for another call", engine.Ref{}, ctx.Err())
	}
}

// wrap adds an operation and a file to an error.
func wrap(op string, f engine.File, err error) error {
	return engine.Wrap(op, engine.Ref{Bucket: f.Bucket}, err)
}

// keep renews the owners, releases what is left to release and closes readers that nobody reads from, until the Tree is closed.
func (t *Tree) keep() {
	ticks := time.NewTicker(engine.OwnerExpiry / 4)
	defer ticks.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-ticks.C:
			t.tend(t.ctx)
		}
	}
}

// tend is one round of keep. Owners are renewed side by side: a bucket that does not answer does not cost the others their owners.
func (t *Tree) tend(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, engine.OwnerExpiry/4)
	defer cancel()
	t.mu.Lock()
	owners, files, stale := make([]*owner, 0, len(t.owners)), make([]*file, 0, len(t.files)), make([]engine.File, 0, len(t.stale))
	for _, o := range t.owners {
		owners = append(owners, o)
	}
	for _, f := range t.files {
		files = append(files, f)
	}
	for id := range t.stale {
		stale = append(stale, id)
	}
	t.mu.Unlock()
	var renewals sync.WaitGroup
	for _, o := range owners {
		renewals.Go(func() { o.renew(ctx) })
	}
	for _, f := range files {
		for _, h := range f.opened() {
			h.reader.rest()
		}
	}
	renewals.Wait()
	for _, id := range stale {
		t.releaseStale(ctx, id)
	}
}
