package sim_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/engine"
	"holdfast/engine/node"
)

// smallSegments is a size that a few objects fill.
const smallSegments = 256 << 10

// filler are objects that fill segments between those that stay.
func filler(i int) engine.Key { return engine.Key(fmt.Sprintf("filler-%d", i)) }

// prepareSegments fills segments with objects, of which few stay.
func prepareSegments(ctx context.Context, n *node.Node, states model) error {
	for i := range 9 {
		if err := write(ctx, n, states, filler(i), 180_000+i, byte(i)); err != nil {
			return err
		}
		if i%2 == 0 && i/2 < len(keys) {
			if err := write(ctx, n, states, keys[i/2], 9000+i*1000, byte(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepareFullSegments fills segments to the end, so that what stays has nowhere to go but to a new one: a filler's shards and those of an object that
// stays, twice.
func prepareFullSegments(ctx context.Context, n *node.Node, states model) error {
	for i := range 6 {
		if err := errors.Join(write(ctx, n, states, filler(i), 240_000+i, byte(i)), write(ctx, n, states, keys[i], 9000+i, byte(i))); err != nil {
			return err
		}
	}
	return nil
}

// compactSegments deletes what fills the segments, and waits until what stays was moved together, or a drive failed.
func compactSegments(ctx context.Context, n *node.Node, states model) error {
	for i := range 9 {
		if err := remove(ctx, n, states, filler(i)); err != nil {
			return err
		}
	}
	for {
		s, err := n.Status(ctx)
		if err != nil {
			return err
		}
		failed := slices.ContainsFunc(s.Drives, func(d node.DriveStatus) bool { return d.Problem != "" })
		if failed || s.Keeper.SegmentsCompacted > 0 && s.Keeper.ShardsGathered > 0 && compacted(s) {
			return quiet(ctx, n)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("segments are not compacted: %+v", s)
		case <-time.After(time.Millisecond):
		}
	}
}

// compacted says that no drive has more than one segment in which little is left: one alone may have nowhere to go.
func compacted(s node.Status) bool {
	return !slices.ContainsFunc(s.Drives, func(d node.DriveStatus) bool { return d.Sparse > 1 })
}

// segmentsCompacted finishes what a cut may have left undone, and looks at every key again.
func segmentsCompacted(ctx context.Context, n *node.Node, states model) error {
	for {
		s, err := n.Status(ctx)
		if err != nil {
			return err
		}
		if compacted(s) {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("segments are not compacted: %+v", s)
		case <-time.After(time.Millisecond):
		}
	}
	return errors.Join(check(ctx, n, states), awaitPlaced(ctx, n))
}
