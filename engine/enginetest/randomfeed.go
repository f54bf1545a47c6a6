package enginetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"holdfast/engine"
)

// twinFollowers follow the buckets of a script in both engines, now close behind and now far, so that Expand has much to undo. What the two engines
// say of each change must agree, and each mirror must come to be the listing of its bucket. They draw from a source of their own, so that a script is
// the same with them.
type twinFollowers struct {
	random    *rand.Rand
	engines   [2]engine.Engine
	followers map[engine.BucketName]*[2]*Follower
	counts    map[engine.ChangeKind]int
}

func newTwinFollowers(seed uint64, engines [2]engine.Engine) *twinFollowers {
	return &twinFollowers{
		random: rand.New(rand.NewPCG(seed, 3)), engines: engines, followers: map[engine.BucketName]*[2]*Follower{}, counts: map[engine.ChangeKind]int{},
	}
}

// begin follows a bucket that was made just now.
func (w *twinFollowers) begin(ctx context.Context, bucket engine.BucketName) (err error) {
	pair := new([2]*Follower)
	for i, e := range w.engines {
		if pair[i], err = Follow(ctx, e, bucket, "follower", 1+w.random.IntN(40)); err != nil {
			return fmt.Errorf("engine %d: %w", i, err)
		}
		pair[i].counts = w.counts
	}
	w.followers[bucket] = pair
	return nil
}

// end forgets a bucket that is gone.
func (w *twinFollowers) end(bucket engine.BucketName) { delete(w.followers, bucket) }

// sometimes catches up with a bucket, now and then, and moves the cursors.
func (w *twinFollowers) sometimes(ctx context.Context, bucket engine.BucketName, compare func(i int, c engine.Change) engine.Change) error {
	if w.followers[bucket] == nil || w.random.IntN(30) > 0 {
		return nil
	}
	if err := w.catchUp(ctx, bucket, compare); err != nil {
		return err
	}
	pair := w.followers[bucket]
	to, moves := pair[0].Last, w.random.IntN(2) == 0
	for i, e := range w.engines {
		if moves {
			if err := e.MoveCursor(ctx, bucket, pair[i].cursor, to); err != nil {
				return fmt.Errorf("engine %d: move the cursor: %w", i, err)
			}
		}
		if err := pair[i].Differs(ctx); err != nil {
			return fmt.Errorf("engine %d: bucket %s: %w", i, bucket, err)
		}
	}
	return nil
}

func (w *twinFollowers) catchUp(ctx context.Context, bucket engine.BucketName, compare func(i int, c engine.Change) engine.Change) (err error) {
	var changes [2][]engine.Change
	for i, f := range w.followers[bucket] {
		if changes[i], err = f.CatchUp(ctx); err != nil {
			return fmt.Errorf("engine %d: bucket %s: %w", i, bucket, err)
		}
	}
	if len(changes[0]) != len(changes[1]) {
		return fmt.Errorf("bucket %s: the model has %d changes, the real engine %d", bucket, len(changes[0]), len(changes[1]))
	}
	for j := range changes[0] {
		var c [2]engine.Change
		for i := range c {
			c[i] = compare(i, comparableChange(changes[i][j]))
		}
		if !reflect.DeepEqual(c[0], c[1]) {
			return fmt.Errorf("bucket %s: a change is\nmodel: %+v\n real: %+v", bucket, c[0], c[1])
		}
	}
	return nil
}

// finish catches up with all buckets and compares the mirrors.
func (w *twinFollowers) finish(ctx context.Context, compare func(bucket engine.BucketName) func(i int, c engine.Change) engine.Change) error {
	for bucket, pair := range w.followers {
		if err := w.catchUp(ctx, bucket, compare(bucket)); err != nil {
			return err
		}
		for i, f := range pair {
			if err := f.Differs(ctx); err != nil {
				return fmt.Errorf("engine %d: bucket %s: %w", i, bucket, err)
			}
		}
	}
	return nil
}

// comparableChange takes from a change what may differ between engines: instants, and which of several names is told.
func comparableChange(c engine.Change) engine.Change {
	c.Time = time.Time{}
	for _, v := range []*engine.ChangedVersion{&c.Version, &c.Replaced} {
		v.Modified = time.Time{}
	}
	if c.Names > 1 && (c.Kind == engine.ChangeAttributes || c.Kind == engine.ChangePatched) {
		c.Key = ""
	}
	return c
}
