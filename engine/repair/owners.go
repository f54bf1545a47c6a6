package repair

import (
	"cmp"
	"context"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// ownerKey names an owner.
type ownerKey struct {
	bucket engine.BucketID
	id     engine.OwnerID
}

// seenOwner is an owner as it was when its last sign of life was seen, by a clock that nobody sets.
type seenOwner struct {
	renewals uint64
	since    time.Time
}

// ownerWatch is what successive looks at the owners have seen.
type ownerWatch struct {
	expiry time.Duration
	seen   map[ownerKey]seenOwner
	looked time.Time // the last look
}

// watchOwners ends owners that nobody renews. It runs beside the other keepers: they may be busy for longer than an owner lives.
func (k *Keeper) watchOwners(ctx context.Context) {
	w := ownerWatch{expiry: cmp.Or(k.config.OwnerExpiry, engine.OwnerExpiry), seen: map[ownerKey]seenOwner{}}
	ticker := time.NewTicker(w.expiry / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := k.expireOwners(ctx, &w); err != nil && ctx.Err() == nil {
			k.config.Logger.Warn("owners of open files that have ended wait for the next look", "error", err)
		}
	}
}

// expireOwners looks at all owners once.
func (k *Keeper) expireOwners(ctx context.Context, w *ownerWatch) error {
	view, err := k.view(ctx)
	if err != nil {
		return err
	}
	list, err := meta.ListOwners(view)
	if err := cmp.Or(err, view.Close()); err != nil {
		return err
	}
	var failed error
	for _, o := range w.ended(list, time.Now()) {
		failed = cmp.Or(failed, k.endOwner(ctx, o))
	}
	return failed
}

// ended returns those owners that were closed, or have shown no sign of life for as long as they live. One that it sees for the first time has all its time
// before it: the look that knows of its last renewal may have ended with a former process. The same is true of all after a time without looks: who could
// not look, because the group did not answer or the process stood still, was not to be renewed either.
func (w *ownerWatch) ended(list []meta.Owner, now time.Time) (ended []meta.Owner) {
	if now.Sub(w.looked) > w.expiry/2 {
		clear(w.seen)
	}
	w.looked = now
	there := map[ownerKey]bool{}
	for _, o := range list {
		key := ownerKey{o.Bucket, o.ID}
		there[key] = true
		before, known := w.seen[key]
		switch {
		case o.Closed:
			ended = append(ended, o)
		case !known || before.renewals != o.Renewals:
			w.seen[key] = seenOwner{o.Renewals, now}
		case now.Sub(before.since) > w.expiry:
			ended = append(ended, o)
		}
	}
	for key := range w.seen {
		if !there[key] {
			delete(w.seen, key)
		}
	}
	return ended
}

// endOwner frees what an owner has that was closed, or has shown no sign of life.
func (k *Keeper) endOwner(ctx context.Context, o meta.Owner) error {
	for left := uint64(1); left > 0; {
		answer, err := k.do(ctx, &meta.CloseOwner{Bucket: o.Bucket, Owner: o.ID, Expired: true, Renewals: o.Renewals})
		if engine.Is(err, engine.KindConflict) {
			return nil // it lives
		}
		if err != nil {
			return err
		}
		left = answer.Left
	}
	if !o.Closed {
		k.count(func(s *Stats) { s.OwnersExpired++ })
		k.config.Logger.Info("an owner of open files was not renewed and has ended", "bucket", uint64(o.Bucket), "owner", uint64(o.ID), "name", o.Name, "nodes", o.Has)
	}
	return nil
}
