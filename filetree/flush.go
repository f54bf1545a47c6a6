package filetree

import (
	"bytes"
	"context"
	"io"
	"time"

	"holdfast/engine"
)

// stageBytesMin is from which size on a piece is stored before the patch, so that the patch commits a reference.
const stageBytesMin = 4 << 20

// flush brings what is in buffers when it begins to the engine; flushes of one file follow each other. What it could not bring stays for another try.
func (f *file) flush(ctx context.Context) error {
	if err := f.flushing.Acquire(ctx, 1); err != nil {
		return err
	}
	defer f.flushing.Release(1)
	return f.flushNow(ctx)
}

// flushNow is flush for a caller that has taken flushing.
func (f *file) flushNow(ctx context.Context) error {
	f.mu.Lock()
	err := f.lost
	if err == nil {
		f.frozen, f.dirty = f.dirty, layer{}
	}
	frozen, modified := f.frozen, f.modified
	f.mu.Unlock()
	if err != nil || len(frozen.spans) == 0 {
		return err
	}
	info, err := f.patch(ctx, frozen.runs(engine.ExtentBytesMax), modified)
	f.mu.Lock()
	before := f.frozen.cost + f.dirty.cost
	if err == nil {
		f.frozen = layer{}
		f.learn(info)
		f.generation++
	} else {
		for _, s := range f.dirty.spans {
			f.frozen.put(s)
		}
		f.frozen, f.dirty = layer{}, f.frozen
		f.generation++ // a part may be in the engine
	}
	free := before - f.frozen.cost - f.dirty.cost
	f.mu.Unlock()
	f.tree.budget.Release(free)
	return err
}

// patch writes runs to the file, in as few patches as they take.
func (f *file) patch(ctx context.Context, runs []run, modified time.Time) (info engine.FileInfo, err error) {
	for len(runs) > 0 && err == nil {
		n := min(len(runs), engine.PatchPiecesMax)
		info, err = f.patchOnce(ctx, runs[:n], modified)
		runs = runs[n:]
	}
	return info, err
}

func (f *file) patchOnce(ctx context.Context, runs []run, modified time.Time) (info engine.FileInfo, err error) {
	patch := engine.Patch{Pieces: make([]engine.Piece, len(runs)), Modified: &modified}
	for i := range runs {
		r := &runs[i]
		piece := engine.Piece{Offset: r.offset, Length: r.length}
		if r.length < stageBytesMin {
			piece.Body = r.body()
		} else {
			class, err := f.classOf(ctx)
			if err != nil {
				return info, err
			}
			staged, err := f.tree.Engine.StageFile(ctx, f.id.Bucket, r.body(), engine.StageOptions{Size: r.length, Class: class})
			if err != nil {
				return info, err
			}
			defer staged.Discard()
			piece.Staged = staged
		}
		patch.Pieces[i] = piece
	}
	return f.tree.Engine.PatchFile(ctx, f.id, patch)
}

// classOf returns the storage class of the file, which what is staged for it has too.
func (f *file) classOf(ctx context.Context) (engine.StorageClass, error) {
	f.mu.Lock()
	class := f.class
	f.mu.Unlock()
	if class != "" {
		return class, nil
	}
	object, err := f.tree.Engine.OpenFile(ctx, f.id, engine.OpenFileOptions{})
	if err != nil {
		return "", err
	}
	defer object.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.class = object.Info().Class
	return f.class, nil
}

// change makes one change of the content in the engine, with nothing in buffers and no read or write beside it. Make says what the change is, when
// all others are kept away.
func (f *file) change(ctx context.Context, make func() (engine.Patch, error)) error {
	if err := f.flushing.Acquire(ctx, 1); err != nil {
		return err
	}
	defer f.flushing.Release(1)
	if err := f.flushNow(ctx); err != nil { // most of it while others read and write
		return err
	}
	if err := f.access.Acquire(ctx, accessMax); err != nil {
		return err
	}
	defer f.access.Release(accessMax)
	if err := f.flushNow(ctx); err != nil {
		return err
	}
	patch, err := make()
	if err != nil || len(patch.Pieces) == 0 && patch.Size == nil {
		return err
	}
	info, err := f.tree.Engine.PatchFile(ctx, f.id, patch)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.generation++
	if err == nil {
		f.learn(info)
	}
	return err
}

// startFlusher starts the goroutine that flushes the file in the background, if it does not run. It ends by stopFlusher. The caller holds mu.
func (f *file) startFlusher() {
	if f.cancel != nil {
		return
	}
	f.stopped = make(chan struct{})
	ctx, cancel := context.WithCancel(f.tree.ctx)
	f.cancel = cancel
	go f.flushes(ctx, f.stopped)
}

// stopFlusher ends it and waits for it. Nobody uses the file any more.
func (f *file) stopFlusher() {
	f.mu.Lock()
	cancel, stopped := f.cancel, f.stopped
	f.cancel = nil
	f.mu.Unlock()
	if cancel != nil {
		cancel()
		<-stopped
	}
}

// flushSoon asks the flusher for a flush at once.
func (f *file) flushSoon() {
	select {
	case f.kick <- struct{}{}:
	default: // it is asked already
	}
}

// flushes flushes the file when FlushAfter has passed since the last time, or when it is asked to. That is at most FlushAfter after a write.
func (f *file) flushes(ctx context.Context, stopped chan struct{}) {
	defer close(stopped)
	due := time.NewTimer(f.tree.FlushAfter)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		case <-f.kick:
		}
		inTime, cancel := context.WithTimeout(ctx, backgroundMax)
		err := f.flush(inTime)
		cancel()
		if ctx.Err() != nil {
			return // whoever closed the file has tried himself, and told what came of it
		}
		if err != nil {
			f.mu.Lock()
			f.report(err)
			f.mu.Unlock()
		}
		due.Reset(f.tree.FlushAfter)
	}
}

// drop forgets what is in buffers: the last handle is closed and has told what could not be flushed. The caller holds mu.
func (f *file) drop() {
	free := f.frozen.cost + f.dirty.cost
	f.frozen, f.dirty = layer{}, layer{}
	f.tree.budget.Release(free)
}

// reading is a reader of p.
func reading(p []byte) io.Reader { return bytes.NewReader(p) }
