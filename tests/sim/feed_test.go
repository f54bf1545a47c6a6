package sim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"holdfast/engine"
	"holdfast/engine/enginetest"
	"holdfast/engine/node"
)

// noteFollower keeps in the model what a follower has of its own, which survives the power cut: it stands for a program on another machine.
const noteFollower = "note: a follower's own"

// followed is what the follower keeps. It writes that down before it moves its cursor.
type followed struct {
	Mirror      map[engine.Key]enginetest.Mirrored
	Last        engine.Sequence
	Moved, Asks engine.Sequence // where the cursor was moved to, and where it was to be moved
	Seen        map[engine.Sequence]string
}

func loadFollowed(states model) (f followed, err error) {
	err = json.Unmarshal([]byte(states.get(noteFollower)[0]), &f)
	return f, err
}

func (f *followed) save(states model) error {
	b, err := json.Marshal(f)
	states.set(noteFollower, string(b))
	return err
}

// resume makes a follower that goes on where it was.
func (f *followed) resume(ctx context.Context, n *node.Node) (*enginetest.Follower, error) {
	follower, err := enginetest.Follow(ctx, n, "bucket", "follower", 2)
	if err == nil {
		follower.Mirror, follower.Last = f.Mirror, f.Last
	}
	return follower, err
}

// take applies what there is, writes it down and moves the cursor.
func (f *followed) take(ctx context.Context, n *node.Node, states model) error {
	follower, err := f.resume(ctx, n)
	if err != nil {
		return err
	}
	changes, err := follower.CatchUp(ctx)
	if err != nil {
		return err
	}
	for i := range changes {
		text, err := json.Marshal(changes[i])
		if err != nil {
			return err
		}
		f.Seen[changes[i].Sequence] = string(text)
	}
	f.Mirror, f.Last, f.Asks = follower.Mirror, follower.Last, follower.Last
	if err := f.save(states); err != nil {
		return err
	}
	if err := n.MoveCursor(ctx, "bucket", "follower", f.Last); err != nil {
		return err
	}
	f.Moved = f.Last
	return f.save(states)
}

// prepareFeed begins to follow before there is anything.
func prepareFeed(ctx context.Context, n *node.Node, states model) error {
	f := followed{Mirror: map[engine.Key]enginetest.Mirrored{}, Seen: map[engine.Sequence]string{}}
	if _, err := f.resume(ctx, n); err != nil {
		return err
	}
	return errors.Join(some(ctx, n, states), f.take(ctx, n, states))
}

// changeAndFollow changes directories and what lies in them, and follows, now close and now far behind.
func changeAndFollow(ctx context.Context, n *node.Node, states model) error {
	f, err := loadFollowed(states)
	if err != nil {
		return err
	}
	put := func(key engine.Key, size int) func() error {
		return func() error {
			_, err := n.Put(ctx, ref(key), bytes.NewReader(make([]byte, size)), engine.PutOptions{Size: int64(size)})
			return err
		}
	}
	take := func() error { return f.take(ctx, n, states) }
	rename := func(from, to string) func() error {
		return func() error { _, err := n.RenamePrefix(ctx, "bucket", from, to); return err }
	}
	removeAll := func(prefix string) func() error {
		return func() error { _, err := n.RemovePrefix(ctx, "bucket", prefix); return err }
	}
	for _, step := range []func() error{
		put("d/x", 100), put("d/y/z", 9000), take,
		rename("d/", "e/f/"), put("e/f/x", 20), take,
		rename("e/f/", "g/"), put("g/y/new", 9000), removeAll("g/y/"), put("g/y/z", 5), rename("g/", "d/"), take,
		func() error { _, err := n.Delete(ctx, ref("d/x"), engine.DeleteOptions{}); return err }, take,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return quiet(ctx, n)
}

// feedHolds has the follower go on: the cursor is where it was moved to, or was about to be; what lies behind it comes again as it was, and what the
// follower has not seen makes its mirror what the bucket is.
func feedHolds(ctx context.Context, n *node.Node, states model) error {
	f, err := loadFollowed(states)
	if err != nil {
		return err
	}
	cursor, err := n.OpenCursor(ctx, "bucket", "follower")
	if err != nil {
		return err
	}
	if cursor.Lost || cursor.Position < f.Moved || cursor.Position > f.Asks {
		return fmt.Errorf("the cursor is %+v; it was moved to %d, and was to be moved to %d", cursor, f.Moved, f.Asks)
	}
	next := cursor.Position + 1
	page, err := n.Changes(ctx, "bucket", "follower", engine.ChangesOptions{})
	if err != nil {
		return err
	}
	for i := range page.Changes {
		c := &page.Changes[i]
		text, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if c.Sequence != next || f.Seen[next] != "" && f.Seen[next] != string(text) {
			return fmt.Errorf("behind the cursor comes %s; change %d was %s", text, next, f.Seen[next])
		}
		next++
	}
	if next <= f.Last {
		return fmt.Errorf("the follower has seen change %d, and there are changes up to %d", f.Last, next-1)
	}
	if err := f.take(ctx, n, states); err != nil {
		return err
	}
	follower, err := f.resume(ctx, n)
	if err != nil {
		return err
	}
	return follower.Differs(ctx)
}
