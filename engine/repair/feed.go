package repair

import (
	"cmp"
	"context"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
	"holdfast/observe"
)

// FeedHistory is how many changes of a bucket are kept for followers that are behind, unless the configuration says otherwise.
const FeedHistory = 1_000_000

var stepTrim = observe.NewStep("repair: changes that followers have passed are forgotten")

// watchFeeds forgets changes that every cursor has passed, and keeps what is noted for slow ones within the budget. Between two looks a bucket may
// have more.
func (k *Keeper) watchFeeds(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := k.trimFeeds(ctx); err != nil && ctx.Err() == nil {
			k.config.Logger.Warn("changes that followers have passed are not forgotten; the keeper will try again", "error", err)
		}
		timer.Reset(k.config.Interval)
	}
}

func (k *Keeper) trimFeeds(ctx context.Context) error {
	view, err := k.view(ctx)
	if err != nil {
		return err
	}
	feeds, err := meta.ListFeeds(view)
	if err := cmp.Or(err, view.Close()); err != nil {
		return err
	}
	history := cmp.Or(k.config.FeedHistory, FeedHistory)
	for i := range feeds {
		f := &feeds[i]
		c := &meta.TrimFeed{Bucket: f.Bucket, Upto: f.Slowest}
		if f.Behind() > history {
			c.Upto = f.Last - engine.Sequence(history)
		}
		if f.First == 0 || f.First > c.Upto {
			continue // nothing to forget
		}
		if err := k.trimFeed(ctx, f, c); err != nil {
			return err
		}
	}
	return nil
}

// trimFeed sends bounded commands until all is gone that one is about, and rests after each.
func (k *Keeper) trimFeed(ctx context.Context, f *meta.FeedState, c *meta.TrimFeed) error {
	for left := uint64(1); left > 0; {
		began := time.Now()
		stepTrim.Enter()
		answer, err := k.do(ctx, c)
		stepTrim.Leave()
		if err != nil {
			return err
		}
		k.count(func(s *Stats) { s.ChangesForgotten += uint64(answer.Size); s.CursorsLost += answer.Content })
		if answer.Content > 0 {
			k.config.Logger.Warn("followers of a bucket fell too far behind and have to list it anew", "bucket", string(f.Name), "cursors", answer.Content, "behind", f.Behind())
		}
		left = answer.Left
		if err := restFrom(ctx, began, trashShare); err != nil {
			return err
		}
	}
	return nil
}
