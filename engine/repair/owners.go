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

// watchOwners ends owners that nobody renews. It runs beside the other keepers: they may be busy for longer than an owner lives.
func (k *Keeper) watchOwners(ctx context.Context) {
	expiry := cmp.Or(k.config.OwnerExpiry, engine.OwnerExpiry)
	ticker := time.NewTicker(expiry / 4)
	defer ticker.Stop()
	seen := map[ownerKey]seenOwner{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := k.expireOwners(ctx, seen, expiry); err != nil && ctx.Err() == nil {
			k.config.Logger.Warn("owners of open files that have ended wait for the next look", "error", err)
		}
	}
}

// expireOwners looks at all owners once. One that it sees for the first time has all its time before it: the look that knows of its last renewal may have ended with a
// former process.
func (k *Keeper) expireOwners(ctx context.Context, seen map[ownerKey]seenOwner, expiry time.Duration) error {
	view, err := k.view(ctx)
	if err != nil {
		return err
	}
	list, err := meta.ListOwners(view)
	if err := cmp.Or(err, view.Close()); err != nil {
		return err
	}
	now := time.Now()
	there := map[ownerKey]bool{}
	var failed error
	for _, o := range list {
		key := ownerKey{o.Bucket, o.ID}
		there[key] = true
		before, known := seen[key]
		if !o.Closed && (!known || before.renewals != o.Renewals) {
			seen[key] = seenOwner{o.Renewals, now}
			continue
		}
		if o.Closed || now.Sub(before.since) > expiry {
			failed = cmp.Or(failed, k.endOwner(ctx, o))
		}
	}
	for key := range seen {
		if !there[key] {
			delete(seen, key)
		}
	}
	return failed
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
