package repair

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"holdfast/engine"
	"holdfast/engine/erasure"
	"holdfast/engine/extent"
	"holdfast/engine/meta"
)

// widenOnce writes extents anew that have less parity than their class, if drives may have come in since none was left for which there are drives.
func (k *Keeper) widenOnce(ctx context.Context) error {
	k.mu.Lock()
	done := k.widened
	k.widened = true
	k.mu.Unlock()
	if done {
		return nil
	}
	whole, err := k.widen(ctx)
	if err != nil || !whole {
		k.mu.Lock()
		k.widened = false
		k.mu.Unlock()
	}
	return err
}

// widen reports whether each extent has the parity of its class now, or none could have more.
func (k *Keeper) widen(ctx context.Context) (whole bool, err error) {
	whole = true
	var last engine.ExtentID
	for {
		view, err := k.view(ctx)
		if err != nil {
			return false, err
		}
		list, err := meta.ListReduced(view, last, repairBatch)
		_ = view.Close() // a snapshot that was only read
		if err != nil || len(list) == 0 {
			return whole, err
		}
		last = list[len(list)-1].ID
		if _, _, ok := k.config.Drives.Widen(list[0].Class, list[0].Size); !ok {
			return true, nil // until a drive comes in
		}
		var failed atomic.Bool
		each(ctx, repairWorkers, list, func(x *meta.Extent) bool {
			err := k.widenOne(ctx, x)
			if err != nil {
				failed.Store(true)
				if ctx.Err() == nil && k.firstFailure(engine.ShardID{Extent: x.ID, Index: 0xff}) {
					k.config.Logger.Warn("an extent was not given the parity of its class; the keepers go on trying, and say no more of it",
						"extent", fmt.Sprintf("%d.%d.%d", x.ID.Group, x.ID.Epoch, x.ID.Counter), "error", err)
				}
			}
			return err == nil
		})
		whole = whole && !failed.Load()
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
}

// widenOne writes an extent anew in the code of its class, and puts it in the place of the former.
func (k *Keeper) widenOne(ctx context.Context, x *meta.Extent) error {
	defer stepWiden.Enter().Leave()
	r, drives, ok := k.config.Drives.Widen(x.Class, x.Size)
	if !ok {
		return engine.E(engine.KindUnavailable, "too few drives are at hand")
	}
	run, err := k.runOf(ctx, x)
	if err != nil || run < 0 {
		return err // it became garbage
	}
	to := meta.Extent{ID: k.config.Writer.NewExtent(), Redundancy: r, Size: x.Size, Class: x.Class}
	written, err := k.recode(ctx, x, to.ID, r, drives)
	if err != nil {
		return err
	}
	to.Drives, to.Missing = written.Drives, written.Missing
	_, err = k.do(ctx, &meta.Recode{Extent: x.ID, Run: run, To: to})
	if err == nil {
		k.count(func(s *Stats) { s.ExtentsWidened++ })
		return nil
	}
	k.giveUp(ctx, &to)
	if engine.Is(err, engine.KindConflict) {
		return nil // what it was part of is gone
	}
	return err
}

// runOf returns which run of its content an extent is, or -1 if the content is gone.
func (k *Keeper) runOf(ctx context.Context, x *meta.Extent) (int, error) {
	view, err := k.view(ctx)
	if err != nil {
		return 0, err
	}
	defer view.Close()
	content, err := meta.LoadContent(view, x.Content)
	if err == meta.ErrAbsent {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	return slices.IndexFunc(content.Runs, func(run meta.Run) bool { return run.Content == 0 && run.Extent == x.ID }), nil
}

// recode reads an extent and writes its bytes under another id in another code.
func (k *Keeper) recode(ctx context.Context, x *meta.Extent, id engine.ExtentID, r engine.Redundancy, drives []engine.DriveID) (extent.Result, error) {
	source, err := k.config.Source(x)
	if err != nil {
		return extent.Result{}, err
	}
	code, err := erasure.New(r)
	if err != nil {
		return extent.Result{}, err
	}
	w, err := extent.NewWriter(ctx, extent.Config{
		Stores: k.config.Drives, Pool: source.Pool, Code: code, ID: id, Size: x.Size, Drives: drives, Spare: k.config.Drives.Spare, Out: k.config.Drives.Out,
	})
	if err != nil {
		return extent.Result{}, err
	}
	block := source.Pool.Get(code.Block())
	result, err := copyBlocks(ctx, source, w, x.Size, block)
	if err != nil {
		w.Abort()
	}
	if w.Stuck() {
		source.Pool.Leave(block) // a drive that hangs may still read it
	} else {
		source.Pool.Put(block)
	}
	return result, err
}

func copyBlocks(ctx context.Context, source extent.Source, w *extent.Writer, size int64, block []byte) (extent.Result, error) {
	for off := int64(0); off < size; off += int64(len(block)) {
		b := block[:min(int64(len(block)), size-off)]
		if err := extent.Read(ctx, source, off, b); err != nil {
			return extent.Result{}, err
		}
		if err := w.Write(b); err != nil {
			return extent.Result{}, err
		}
		if err := w.Flush(); err != nil { // the block is read into again when this returns
			return extent.Result{}, err
		}
	}
	return w.Commit(ctx)
}

// giveUp deletes the shards of an extent that found no place, unless it has found it after all.
func (k *Keeper) giveUp(ctx context.Context, x *meta.Extent) {
	answer, err := k.do(ctx, &meta.Condemn{Extents: []engine.ExtentID{x.ID}})
	if err != nil || len(answer.Used) != 1 || answer.Used[0] {
		return // used, or not known: what is left the sweep after the next start finds
	}
	for i, drive := range x.Drives {
		if store := k.config.Drives.Store(drive); store != nil {
			// One that cannot delete keeps the shard until the sweep.
			_ = deleteShards(ctx, store, []engine.ShardID{{Extent: x.ID, Index: uint8(i)}})
		}
	}
}
