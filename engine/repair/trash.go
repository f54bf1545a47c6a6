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
		if err := restFrom(ctx, began, trashShare); err != nil {
			return did, err
		}
	}
}

// takeApart takes apart detached directories until none is left: from the first to the last, and again as long as there are some.
func (k *Keeper) takeApart(ctx context.Context) (did bool, err error) {
	for {
		var next *meta.TakeApart
		_, err := k.finds(ctx, func(view meta.View) (_ bool, err error) {
			next, err = meta.FirstDetached(view)
			return next != nil, err
		})
		if err != nil || next == nil {
			return did, err
		}
		for did = true; next != nil; {
			if next, err = k.takeApartOnce(ctx, next); err != nil {
				return true, err
			}
		}
	}
}

// takeApartOnce sends one command, rests, and returns the next, nil if nothing is left behind it.
func (k *Keeper) takeApartOnce(ctx context.Context, c *meta.TakeApart) (next *meta.TakeApart, err error) {
	began := time.Now()
	stepTakeApart.Enter()
	answer, err := k.do(ctx, c)
	stepTakeApart.Leave()
	if err != nil {
		return nil, err
	}
	k.count(func(s *Stats) { s.VersionsTakenApart += uint64(answer.Size) })
	if answer.Left > 0 {
		next = &meta.TakeApart{Bucket: answer.Bucket, Directory: answer.Content}
	}
	return next, restFrom(ctx, began, trashShare)
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

// restFrom rests after work that began at a time, so that it takes a share of the time and no more.
func restFrom(ctx context.Context, began time.Time, share float64) error {
	took := time.Since(began)
	return sleep(ctx, time.Duration(float64(took)*(1-share)/share))
}

// sleep lets time pass, or returns the error of the context.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
