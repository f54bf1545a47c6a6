package filetree

import (
	"context"
	"io"
	"sync"

	"holdfast/engine"
)

// Sizes of what is opened for a reading in sequence: it begins with the least and doubles up to the most.
const (
	windowMin = 1 << 20
	windowMax = 64 << 20
)

// reader reads the content that the engine has, for one handle. Where reads follow each other it keeps an object open, for a window that grows; the
// engine reads ahead in that. Others open what they want and no more.
type reader struct {
	handle *Handle

	mu         sync.Mutex // guards what follows; a read that finds it taken goes its own way
	object     engine.Object
	cancel     context.CancelFunc
	generation uint64 // of the content that object is of
	next       int64  // where the last read ended
	left       int64  // bytes that object has from next on
	window     int64
	used       bool // since the last rest
}

// read reads what lies at an offset. Fewer bytes than p has mean that the file ends there.
func (r *reader) read(ctx context.Context, p []byte, offset int64, generation uint64) (n int, err error) {
	if !r.mu.TryLock() {
		return r.random(ctx, p, offset)
	}
	defer r.mu.Unlock()
	if offset != r.next {
		r.drop()
		r.next, r.window = offset+int64(len(p)), 0
		return r.random(ctx, p, offset)
	}
	if r.object != nil && r.generation != generation {
		r.drop()
	}
	for r.used = true; n < len(p); {
		if r.object == nil {
			if err := r.open(ctx, int64(len(p)-n), generation); err != nil || r.object == nil {
				return n, err
			}
		}
		part := p[n:min(int64(len(p)), int64(n)+r.left)]
		stop := context.AfterFunc(ctx, r.cancel)
		m, err := io.ReadFull(r.object, part)
		stop()
		n, r.next, r.left = n+m, r.next+int64(m), r.left-int64(m)
		if err != nil {
			r.drop()
			return n, err
		}
		if r.left == 0 || ctx.Err() != nil {
			r.drop()
		}
	}
	return n, nil
}

// open opens the next window; object stays nil if the file ends.
func (r *reader) open(ctx context.Context, atLeast int64, generation uint64) error {
	r.window = max(atLeast, min(max(2*r.window, windowMin), windowMax))
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	object, err := r.openRange(lasting, r.next, r.window)
	if err != nil || object == nil {
		cancel()
		return err
	}
	r.object, r.cancel, r.generation, r.left = object, cancel, generation, object.Length()
	return nil
}

// random reads without keeping anything open.
func (r *reader) random(ctx context.Context, p []byte, offset int64) (int, error) {
	object, err := r.openRange(ctx, offset, int64(len(p)))
	if err != nil || object == nil {
		return 0, err
	}
	defer object.Close()
	n, err := io.ReadFull(object, p[:min(int64(len(p)), object.Length())])
	return n, err
}

// openRange opens what the file has of a range, nil if that is nothing.
func (r *reader) openRange(ctx context.Context, offset, length int64) (engine.Object, error) {
	f := r.handle.file
	object, err := f.tree.Engine.OpenFile(ctx, f.id, engine.OpenFileOptions{Range: &engine.Range{Start: offset, Length: length}})
	if engine.Is(err, engine.KindInvalidRange) {
		return nil, nil
	}
	return object, err
}

// drop closes the object. The caller holds mu.
func (r *reader) drop() {
	if r.object != nil {
		_ = r.object.Close() // all that was wanted of it has been read
		r.cancel()
		r.object, r.cancel = nil, nil
	}
}

// rest closes the object if nothing was read since the last call: what is open keeps garbage.
func (r *reader) rest() {
	if !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	if !r.used {
		r.drop()
	}
	r.used = false
}

// close ends the reader.
func (r *reader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
}
