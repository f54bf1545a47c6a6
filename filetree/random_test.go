package filetree

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"holdfast/engine"
)

// plain is a file in memory, and the handle that should be like it. The lock keeps its two sides together: reads are beside each other, changes alone, and
// flushes in the background come when they come.
type plain struct {
	mu     sync.RWMutex
	name   string
	data   []byte
	handle *Handle
}

// TestRandom has four goroutines read and change three files at random, and compares with plain ones.
func TestRandom(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			e := newWatched(t)
			c := Config{Bucket: bucket, Budget: 1 << 20, FlushAfter: time.Millisecond}
			if seed%3 == 0 {
				c.FlushAfter = time.Hour
			}
			tree := newTree(t, e, c)
			files := make([]*plain, 3)
			for i := range files {
				files[i] = &plain{name: fmt.Sprintf("file%d", i)}
				files[i].handle = open(t, tree, files[i].name, readWrite)
			}
			var all sync.WaitGroup
			for worker := range 4 {
				all.Go(func() {
					r := rand.New(rand.NewPCG(uint64(seed), uint64(worker)))
					for range 150 {
						if err := files[r.IntN(len(files))].step(t, tree, r); err != nil {
							t.Errorf("worker %d: %v", worker, err)
							return
						}
					}
				})
			}
			all.Wait()
			ok(t, tree.Close(t.Context()))
			for _, f := range files {
				if got := stored(t, e, engine.Key(f.name)); got != string(f.data) {
					t.Errorf("%s has other bytes than it should after Close: %d, want %d", f.name, len(got), len(f.data))
				}
			}
			if !tree.budget.TryAcquire(tree.Budget) {
				t.Error("a part of the budget is not given back")
			}
		})
	}
}

// step does one random thing to a file.
func (f *plain) step(t *testing.T, tree *Tree, r *rand.Rand) error {
	ctx := t.Context()
	what := r.IntN(20)
	if what < 8 {
		f.mu.RLock()
		defer f.mu.RUnlock()
		return f.read(t, r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	offset, n := r.Int64N(300_000), 1+r.IntN(3000)
	if r.IntN(20) == 0 {
		n = 200_000 + r.IntN(200_000)
	}
	p := bytes.Repeat([]byte{byte(1 + r.IntN(255))}, n)
	switch what {
	case 8, 9, 10, 11, 12:
		f.over(p, offset)
		_, err := f.handle.WriteAt(ctx, p, offset)
		return err
	case 13:
		at, err := f.handle.Append(ctx, p)
		if err == nil && at != int64(len(f.data)) {
			return fmt.Errorf("append at %d of %d", at, len(f.data))
		}
		f.data = append(f.data, p...)
		return err
	case 14:
		f.resize(offset)
		return f.handle.Truncate(ctx, offset)
	case 15:
		return f.handle.Sync(ctx)
	case 16:
		if err := f.handle.Close(ctx); err != nil {
			return err
		}
		h, err := tree.Open(ctx, f.name, Flags{Read: true, Write: true}, 0)
		f.handle = h
		return err
	case 17:
		clear(f.data[min(offset, int64(len(f.data))):min(offset+int64(n), int64(len(f.data)))])
		return f.handle.PunchHole(ctx, offset, int64(n))
	case 18:
		f.over(make([]byte, n), offset)
		return f.handle.ZeroRange(ctx, offset, int64(n))
	default:
		from := int64(len(f.data)) + r.Int64N(10)
		if size := int64(len(f.data)); size > int64(n) {
			from = r.Int64N(size - int64(n))
		}
		target := from + int64(n) + r.Int64N(1000)
		copied, err := f.handle.CopyRange(ctx, f.handle, from, target, int64(n))
		if err == nil && copied > 0 {
			f.over(append([]byte{}, f.data[from:from+copied]...), target)
		}
		return err
	}
}

func (f *plain) resize(size int64) {
	if size <= int64(len(f.data)) {
		f.data = f.data[:size:size]
		return
	}
	f.data = append(f.data, make([]byte, size-int64(len(f.data)))...)
}

func (f *plain) over(p []byte, offset int64) {
	if end := offset + int64(len(p)); end > int64(len(f.data)) {
		f.resize(end)
	}
	copy(f.data[offset:], p)
}

// read compares a random read, or the size.
func (f *plain) read(t *testing.T, r *rand.Rand) error {
	if r.IntN(5) == 0 {
		info, err := f.handle.Stat(t.Context())
		if err == nil && info.Size != int64(len(f.data)) {
			err = fmt.Errorf("size %d, want %d", info.Size, len(f.data))
		}
		return err
	}
	offset := r.Int64N(int64(len(f.data)) + 10)
	for range 1 + r.IntN(4) { // in sequence
		p := make([]byte, 1+r.IntN(5000))
		n, err := f.handle.ReadAt(t.Context(), p, offset)
		want := f.data[min(offset, int64(len(f.data))):min(offset+int64(len(p)), int64(len(f.data)))]
		if err == io.EOF && len(want) < len(p) {
			err = nil
		} else if err == nil && len(want) < len(p) {
			return fmt.Errorf("no EOF at %d of %d", offset+int64(n), len(f.data))
		}
		if err != nil || !bytes.Equal(p[:n], want) {
			return fmt.Errorf("read of %d at %d of %d: %d bytes, want %d, equal %t: %v", len(p), offset, len(f.data), n, len(want), bytes.Equal(p[:n], want), err)
		}
		offset += int64(n)
	}
	return nil
}
