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

// scatterAndCompact patches a file in very many places, and has the keeper write it anew.
func scatterAndCompact(ctx context.Context, n *node.Node, states model) error {
	f := &files{ctx: ctx, n: n, states: states, contents: map[engine.Key][]byte{}}
	id, err := f.make(engine.RootNode, "scattered", "scattered", engine.TypeRegular)
	if err != nil {
		return err
	}
	after := bytes.Repeat([]byte("0123456789"), 7000)
	if err := f.patch(id, []engine.Piece{written(0, after)}, nil, after, "scattered"); err != nil {
		return err
	}
	after = slices.Clone(after)
	var pieces []engine.Piece
	for i := range 80 {
		b := bytes.Repeat([]byte{byte(i)}, 1+i)
		copy(after[i*800:], b)
		pieces = append(pieces, written(int64(i*800), b))
	}
	clear(after[30_000:31_000])
	pieces = append(pieces, engine.Piece{Offset: 30_000, Length: 1000})
	return errors.Join(f.patch(id, pieces, nil, after, "scattered"), quiet(ctx, n))
}

// compactedWhole says that the file is what it was at some time, and is so still once the keepers are done.
func compactedWhole(ctx context.Context, n *node.Node, states model) error {
	for range 2 {
		s, err := read(ctx, n, "scattered")
		if err != nil {
			return err
		}
		if possible := states.get("scattered"); possible != nil && !slices.Contains(possible, s) || possible == nil && s != "" {
			return fmt.Errorf("the file has the state %q; %q are possible", s, possible)
		}
		if err := quiet(ctx, n); err != nil {
			return err
		}
	}
	census, err := n.Check(ctx)
	if err == nil && (census[1].Scattered > 0 || census[1].Runs > 40) {
		return fmt.Errorf("%d files still lie in many pieces, all in %d", census[1].Scattered, census[1].Runs)
	}
	return err
}
