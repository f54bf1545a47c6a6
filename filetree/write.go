package filetree

import (
	"context"
	"fmt"
	"time"

	"holdfast/engine"
)

const (
	// chunkBytesMax is the most that is put into buffers at once.
	chunkBytesMax = 256 << 10
	// spansMax is how many spans a file may have in buffers before a flush begins.
	spansMax = 4096
)

// WriteAt puts p in its place in the file, which grows if it ends before; with Flags.Append that is its end. It returns when p is in buffers, and waits for
// flushes while these are full; with Flags.Sync it returns when p is in the engine. Fewer bytes than p has come with an error.
// KindEntityTooLarge beyond engine.ObjectBytesMax.
func (h *Handle) WriteAt(ctx context.Context, p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, wrap("write", h.file.id, engine.E(engine.KindInvalidArgument, "the offset %d is negative", offset))
	}
	if h.flags.Append {
		_, n, err := h.append(ctx, p)
		return n, wrap("append", h.file.id, err)
	}
	n, err := h.write(ctx, p, offset)
	return n, wrap("write", h.file.id, err)
}

// Append puts p behind the end of the file, as this Tree knows it, and returns where that was. All of p lies together.
func (h *Handle) Append(ctx context.Context, p []byte) (offset int64, err error) {
	offset, _, err = h.append(ctx, p)
	return offset, wrap("append", h.file.id, err)
}

func (h *Handle) write(ctx context.Context, p []byte, offset int64) (n int, err error) {
	if err := h.mayNow(true); err != nil {
		return 0, err
	}
	f := h.file
	for n < len(p) {
		part := p[n:min(len(p), n+chunkBytesMax)]
		if err := f.access1(ctx, len(part)); err != nil {
			return n, err
		}
		err := h.insert(part, offset+int64(n))
		f.access.Release(1)
		if err != nil {
			return n, err
		}
		n += len(part)
	}
	if h.flags.Sync {
		err = f.flush(ctx)
	}
	return n, err
}

// access1 waits until a number of bytes may be written, and begins to write them.
func (f *file) access1(ctx context.Context, n int) error {
	if err := f.reserve(ctx, cost(n)); err != nil {
		return err
	}
	if err := f.access.Acquire(ctx, 1); err != nil {
		f.tree.budget.Release(cost(n))
		return err
	}
	return nil
}

// cost is what n bytes cost of the budget at most.
func cost(n int) int64 { return int64(n) + spanBytesMin }

// append keeps all others away while it finds the end of the file and writes behind it.
func (h *Handle) append(ctx context.Context, p []byte) (offset int64, n int, err error) {
	f := h.file
	if err := h.mayNow(true); err != nil {
		return 0, 0, err
	}
	if len(p) > f.appendMax() {
		return h.appendLong(ctx, p)
	}
	if len(p) > 0 {
		if err := f.reserve(ctx, cost(len(p))); err != nil {
			return 0, 0, err
		}
	}
	if err := f.access.Acquire(ctx, accessMax); err != nil {
		if len(p) > 0 {
			f.tree.budget.Release(cost(len(p)))
		}
		return 0, 0, err
	}
	offset, err = f.endOf(ctx)
	if err == nil && len(p) > 0 {
		err = h.insert(p, offset)
	} else if len(p) > 0 {
		f.tree.budget.Release(cost(len(p)))
	}
	f.access.Release(accessMax)
	if err != nil {
		return offset, 0, err
	}
	if h.flags.Sync {
		err = f.flush(ctx)
	}
	return offset, len(p), err
}

// appendMax is how many bytes are appended through the buffers.
func (f *file) appendMax() int { return int(f.tree.flushBytes) - spanBytesMin }

// appendLong appends what the buffers do not take at once: it goes to the engine as one piece.
func (h *Handle) appendLong(ctx context.Context, p []byte) (offset int64, n int, err error) {
	f := h.file
	err = f.change(ctx, func() (patch engine.Patch, err error) {
		if err = h.mayNow(true); err != nil {
			return patch, err
		}
		if offset, err = f.endOf(ctx); err != nil {
			return patch, err
		}
		if int64(len(p)) > engine.ObjectBytesMax-offset {
			return patch, tooLarge(int64(len(p)), offset)
		}
		patch.Pieces = []engine.Piece{{Offset: offset, Length: int64(len(p)), Body: reading(p)}}
		return patch, nil
	})
	if err != nil {
		return offset, 0, err
	}
	return offset, len(p), nil
}

// endOf returns the size of the file: the engine is asked if nothing is in buffers, as others may have changed it.
func (f *file) endOf(ctx context.Context) (int64, error) {
	f.mu.Lock()
	pending := f.pending()
	f.mu.Unlock()
	if !pending {
		if _, err := f.stat(ctx); err != nil {
			return 0, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size(), nil
}

func tooLarge(n, offset int64) error {
	return engine.E(engine.KindEntityTooLarge, "%d bytes at %d end beyond the %d that a file may have", n, offset, engine.ObjectBytesMax)
}

// insert puts bytes into the buffers, for which cost(len(p)) is reserved: what they do not cost is given back.
func (h *Handle) insert(p []byte, offset int64) error {
	f := h.file
	reserved := cost(len(p))
	f.mu.Lock()
	err := h.may(true)
	if n := int64(len(p)); err == nil && offset > engine.ObjectBytesMax-n {
		err = tooLarge(n, offset)
	}
	if err == nil {
		before := f.dirty.cost
		f.dirty.write(p, offset, spanBytesMin)
		reserved -= f.dirty.cost - before
		f.modified = f.tree.Clock().UTC().Round(0)
		f.startFlusher()
	}
	full := f.full(1)
	f.mu.Unlock()
	f.tree.budget.Release(reserved)
	if full || f.tree.starving.Load() > 0 {
		f.flushSoon()
	}
	return err
}

// full reports whether a number of times as much was written as makes a flush due. The caller holds mu.
func (f *file) full(times int) bool {
	return f.dirty.cost >= f.tree.flushBytes*int64(times) || len(f.dirty.spans) >= spansMax*times
}

// reserve takes n bytes of the budget. A file that has twice what makes a flush due waits for a flush first; where the budget is used up, files are
// flushed until it is not. An error says that no flush succeeded: nothing was taken.
func (f *file) reserve(ctx context.Context, n int64) error {
	f.mu.Lock()
	full := f.full(2)
	f.mu.Unlock()
	if full {
		if err := f.flush(ctx); err != nil {
			return fmt.Errorf("make room in the buffers of the file: %w", err)
		}
	}
	t := f.tree
	if t.budget.TryAcquire(n) {
		return nil
	}
	t.starving.Add(1)
	defer t.starving.Add(-1)
	for {
		flushed, err := t.flushOne(ctx, f)
		if t.budget.TryAcquire(n) {
			return nil
		}
		if !flushed {
			if err != nil {
				return fmt.Errorf("make room in the buffers: %w", err)
			}
			// What is taken belongs to writers on their way: they give it back, or ask for a flush because somebody waits. That may fail, so look again.
			again, cancel := context.WithTimeout(ctx, time.Second)
			err := t.budget.Acquire(again, n)
			cancel()
			if err == nil || ctx.Err() != nil {
				return err
			}
		}
	}
}

// flushOne flushes a file that has something in buffers: the given one, or another one of the Tree. The error is that of the last that could not be flushed.
func (t *Tree) flushOne(ctx context.Context, first *file) (flushed bool, err error) {
	if flushed, err = first.flushPending(ctx); flushed {
		return true, nil
	}
	t.mu.Lock()
	others := make([]engine.File, 0, len(t.files))
	for id := range t.files {
		others = append(others, id)
	}
	t.mu.Unlock()
	for _, id := range others {
		f := t.find(id)
		if f == nil {
			continue
		}
		e := error(nil)
		if f != first {
			flushed, e = f.flushPending(ctx)
		}
		if e != nil && ctx.Err() == nil {
			f.mu.Lock()
			f.report(e) // whoever has that file open did not ask for this flush
			f.mu.Unlock()
		}
		f.leave(context.WithoutCancel(ctx))
		if flushed {
			return true, nil
		}
		if e != nil {
			err = e
		}
	}
	return false, err
}

// flushPending is flush that says whether there was something to flush, and it is.
func (f *file) flushPending(ctx context.Context) (flushed bool, err error) {
	f.mu.Lock()
	pending := f.pending()
	f.mu.Unlock()
	if !pending {
		return false, nil
	}
	err = f.flush(ctx)
	return err == nil, err
}
