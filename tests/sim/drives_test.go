package sim_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk/sim"
	"holdfast/engine/node"
)

// spares are disks that no start names.
var spares = []string{"/d5", "/d6"}

func (m *machine) plugSpares() {
	for i, name := range spares {
		m.disks[name] = m.newDisk(m.seed*16 + 10 + uint64(i))
		m.disks[name].Inject(func(c sim.Call) *sim.Fault { return m.call(name, c) })
	}
}

// addDrive adds a drive and writes until it has a shard.
func addDrive(ctx context.Context, n *node.Node, states model) error {
	id, err := n.AddDrive(ctx, spares[0])
	if err != nil {
		return err
	}
	for i := range 40 {
		if err := write(ctx, n, states, keys[4+i%3], 9000, byte(i)); err != nil {
			return err
		}
		list, _, err := n.Shards(id, engine.ShardID{}, 1)
		if err != nil || len(list) > 0 {
			return errors.Join(err, quiet(ctx, n))
		}
	}
	return fmt.Errorf("drive %d was given no shard", id)
}

// prepareRemove adds a drive after the objects are there, which are in four shards each: of five drives one may go.
func prepareRemove(ctx context.Context, n *node.Node, states model) error {
	if err := some(ctx, n, states); err != nil {
		return err
	}
	_, err := n.AddDrive(ctx, spares[0])
	return err
}

// prepareLeaving tells a drive to leave, and does not wait.
func prepareLeaving(ctx context.Context, n *node.Node, states model) error {
	if err := prepareRemove(ctx, n, states); err != nil {
		return err
	}
	return n.RemoveDrive(ctx, 2)
}

// withoutDrive waits until the node has a drive no more and all is where it should be, or a drive failed.
func withoutDrive(ctx context.Context, n *node.Node, id engine.DriveID) error {
	for {
		there := slices.ContainsFunc(n.Drives(), func(d node.DriveStatus) bool { return d.Drive == id })
		failed := slices.ContainsFunc(n.Drives(), func(d node.DriveStatus) bool { return d.Drive != id && d.Problem != "" })
		if !there || failed {
			return quiet(ctx, n)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("drive %d is still there: %+v", id, n.Drives())
		case <-time.After(time.Millisecond):
		}
	}
}

// replaceElsewhere gives the place of a drive to a folder with another name.
func replaceElsewhere(ctx context.Context, n *node.Node, _ model) error {
	if _, err := n.ReplaceDrive(ctx, 2, spares[0]); err != nil {
		return err
	}
	return withoutDrive(ctx, n, 2)
}

// replacedElsewhere asks again for what a cut may have kept from being noted.
func replacedElsewhere(ctx context.Context, n *node.Node, _ model) error {
	_, err := n.ReplaceDrive(ctx, 2, spares[0])
	if engine.Is(err, engine.KindConflict) || engine.Is(err, engine.KindInvalidArgument) {
		err = nil // it leaves already, or is no more
	}
	if err != nil {
		return err
	}
	return withoutDrive(ctx, n, 2)
}
