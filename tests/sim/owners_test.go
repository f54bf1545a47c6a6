package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"holdfast/engine"
	"holdfast/engine/node"
)

// noteOwner has the number of the owner, noteNameless that of a node that it holds without a name.
const (
	noteOwner    = "note: owner"
	noteNameless = "note: node without a name"
)

// holdFiles holds, removes, patches, locks and names files, and ends the owner of it all.
func holdFiles(ctx context.Context, n *node.Node, states model) error {
	f := &files{ctx: ctx, n: n, states: states, contents: map[engine.Key][]byte{}}
	return errors.Join(f.hold(), quiet(ctx, n))
}

func (f *files) hold() error {
	owner, err := f.n.OpenOwner(f.ctx, "bucket", "sim")
	if err != nil {
		return err
	}
	f.states.set(noteOwner, fmt.Sprint(owner))
	id, err := f.make(engine.RootNode, "held", "held", engine.TypeRegular)
	if err != nil {
		return err
	}
	big := bytes.Repeat([]byte("held"), 10_000)
	if err := f.patch(id, []engine.Piece{written(0, big)}, nil, big, "held"); err != nil {
		return err
	}
	if _, err := f.n.HoldFile(f.ctx, f.file(id), owner); err != nil {
		return err
	}
	if err := f.n.LockFile(f.ctx, f.file(id), engine.FileLock{Owner: owner, Mode: engine.LockExclusive, Length: 10}); err != nil {
		return err
	}
	if err := f.change(map[engine.Key][]byte{"held": nil}, func() error {
		return f.n.RemoveFile(f.ctx, f.place(engine.RootNode, "held"), engine.RemoveFileOptions{})
	}); err != nil {
		return err
	}
	f.states.set(noteNameless, fmt.Sprint(id))
	if _, err := f.n.PatchFile(f.ctx, f.file(id), engine.Patch{Pieces: []engine.Piece{written(100, bytes.Repeat([]byte("more"), 3000))}}); err != nil {
		return err
	}
	if _, err := f.n.RenewOwner(f.ctx, "bucket", owner); err != nil {
		return err
	}
	temporary, err := f.n.MakeTemporary(f.ctx, "bucket", owner, engine.MakeFileOptions{})
	if err != nil {
		return err
	}
	if _, err := f.n.PatchFile(f.ctx, f.file(temporary.Node), engine.Patch{Pieces: []engine.Piece{written(0, big[:20_000])}}); err != nil {
		return err
	}
	if err := f.change(map[engine.Key][]byte{"named": big[:20_000]}, func() error {
		_, err := f.n.LinkFile(f.ctx, f.file(temporary.Node), f.place(engine.RootNode, "named"))
		return err
	}); err != nil {
		return err
	}
	f.states.allow(noteNameless, "may be gone")
	if err := f.n.ReleaseFile(f.ctx, f.file(id), owner); err != nil {
		return err
	}
	f.states.set(noteNameless, "gone")
	return f.n.CloseOwner(f.ctx, "bucket", owner)
}

// heldFilesHold says that what an owner holds is there until it lets go.
func heldFilesHold(ctx context.Context, n *node.Node, states model) error {
	for _, key := range []engine.Key{"held", "named"} {
		s, err := read(ctx, n, key)
		if err != nil {
			return err
		}
		if states.get(key) != nil && !slices.Contains(states.get(key), s) || states.get(key) == nil && s != "" {
			return fmt.Errorf("%q has the state %q; %q are possible", key, s, states.get(key))
		}
	}
	note := states.get(noteNameless)
	if len(note) != 1 || note[0] == "gone" {
		return nil
	}
	var id engine.NodeID
	if _, err := fmt.Sscan(note[0], &id); err != nil {
		return err
	}
	info, err := n.StatFile(ctx, engine.File{Bucket: "bucket", Node: id})
	if err != nil || info.Links != 0 || info.Size != 40_000 {
		return fmt.Errorf("what is held without a name is %+v: %w", info, err)
	}
	return nil
}
