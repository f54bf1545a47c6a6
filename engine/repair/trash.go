package repair

import (
	"context"
	"time"

	"holdfast/engine/meta"
	"holdfast/observe"
)

// The steps of the keeper of trash that the recorder knows.
var (
	stepTrash     = observe.NewStep("repair: what ended uploads left is taken apart")
	stepTakeApart = observe.NewStep("repair: a removed prefix or bucket is taken apart")
)

// trashShare is how much of the time the keeper of trash has a command under way; for the rest it leaves the group to everyone else.
const trashShare = 0.5

// runTrash takes apart what was removed as a whole, beside the other keepers: it may take very long, and no shard waits for it to be made again.
func (k *Keeper) runTrash(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		worked := false
		for _, f := range []func(context.Context) (bool, error){k.clearTrash, k.takeApart} {
			did, err := f(ctx)
			if err != nil && ctx.Err() == nil {
				k.config.Logger.Warn("what was removed is not taken apart; the keeper will try again", "error", err)
			}
			worked = worked || did
		}
		if worked {
			k.Wake() // what is garbage by now is collected
		}
		timer.Reset(k.config.Interval)
	}
}

// clearTrash takes apart what is left of uploads that ended; did says that there was something.
func (k *Keeper) clearTrash(ctx context.Context) (did bool, err error) {
	for {
		found, err := k.finds(ctx, meta.HasTrash)
		if err != nil || !found {
			return did, err
		}
		did = true
		began := time.Now()
		stepTrash.Enter()
		_, err = k.do(ctx, &meta.ClearTrash{})
		stepTrash.Leave()
		if err != nil {
			return did, err
		}
		if err := restFrom(ctx, began); err != nil {
			return did, err
		}
	}
}

// takeApart takes apart detached directories until none is left: from the first to the last, and again as long as there are some.
func (k *Keeper) takeApart(ctx context.Context) (did bool, err error) {
	if found, err := k.finds(ctx, meta.HasDetached); err != nil || !found {
		return false, err
	}
	for place := (meta.TakeApart{}); ; {
		began, first := time.Now(), place == meta.TakeApart{}
		stepTakeApart.Enter()
		answer, err := k.do(ctx, &meta.TakeApart{Bucket: place.Bucket, Directory: place.Directory})
		stepTakeApart.Leave()
		if err != nil {
			return true, err
		}
		k.count(func(s *Stats) { s.VersionsTakenApart += uint64(answer.Size) })
		if answer.Left == 0 && first {
			return true, nil
		}
		place = meta.TakeApart{}
		if answer.Left > 0 {
			place = meta.TakeApart{Bucket: answer.Bucket, Directory: answer.Content}
		}
		if err := restFrom(ctx, began); err != nil {
			return true, err
		}
	}
}

// finds asks the group whether there is work.
func (k *Keeper) finds(ctx context.Context, has func(meta.View) (bool, error)) (bool, error) {
	view, err := k.view(ctx)
	if err != nil {
		return false, err
	}
	found, err := has(view)
	_ = view.Close() // a snapshot that was only read
	return found, err
}

// restFrom rests after a command that began at a time, in proportion to how long it took.
func restFrom(ctx context.Context, began time.Time) error {
	took := time.Since(began)
	timer := time.NewTimer(time.Duration(float64(took) * (1 - trashShare) / trashShare))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
