package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"holdfast/engine"
	"holdfast/engine/node"
)

// noteColour is of the extended attribute that files has set.
const noteColour = "note: the extended attribute was set"

// files is a script of calls by node. What each key may have at any time it notes in the model.
type files struct {
	ctx      context.Context
	n        *node.Node
	states   model
	contents map[engine.Key][]byte
}

// change notes what keys will have, nil for nothing, has that done in one commit, and notes that it is so.
func (f *files) change(after map[engine.Key][]byte, do func() error) error {
	for key, b := range after {
		next := ""
		if b != nil {
			next = sum(b)
		}
		if f.states.get(key) == nil {
			f.states.set(key, "")
		}
		f.states.allow(key, next)
	}
	if err := do(); err != nil {
		return err
	}
	for key, b := range after {
		f.states.set(key, f.states.get(key)[len(f.states.get(key))-1:]...)
		if f.contents[key] = b; b == nil {
			delete(f.contents, key)
		}
	}
	return nil
}

func (f *files) place(directory engine.NodeID, name string) engine.Place {
	return engine.Place{Bucket: "bucket", Directory: directory, Name: name}
}

func (f *files) file(id engine.NodeID) engine.File {
	return engine.File{Bucket: "bucket", Node: id}
}

func (f *files) make(directory engine.NodeID, name string, key engine.Key, kind engine.FileType) (id engine.NodeID, err error) {
	err = f.change(map[engine.Key][]byte{key: {}}, func() error {
		info, err := f.n.MakeFile(f.ctx, f.place(directory, name), engine.MakeFileOptions{Type: kind, Attributes: engine.FileAttributes{Mode: 0o640}})
		id = info.Node
		return err
	})
	return id, err
}

// patch writes into a node that has the keys.
func (f *files) patch(id engine.NodeID, pieces []engine.Piece, cut *int64, after []byte, keys ...engine.Key) error {
	all := map[engine.Key][]byte{}
	for _, key := range keys {
		all[key] = after
	}
	return f.change(all, func() error {
		_, err := f.n.PatchFile(f.ctx, f.file(id), engine.Patch{Pieces: pieces, Size: cut})
		return err
	})
}

func written(offset int64, b []byte) engine.Piece {
	return engine.Piece{Offset: offset, Length: int64(len(b)), Body: bytes.NewReader(b)}
}

// changeFiles makes, patches, links, moves and removes files.
func changeFiles(ctx context.Context, n *node.Node, states model) error {
	f := &files{ctx: ctx, n: n, states: states, contents: map[engine.Key][]byte{}}
	return errors.Join(f.run(), quiet(ctx, n))
}

func (f *files) run() error {
	directory, err := f.make(engine.RootNode, "home", "home/", engine.TypeDirectory)
	if err != nil {
		return err
	}
	id, err := f.make(directory, "log", "home/log", engine.TypeRegular)
	if err != nil {
		return err
	}
	big := bytes.Repeat([]byte("0123456789"), 9000)
	if err := f.patch(id, []engine.Piece{written(100, big)}, nil, slices.Concat(make([]byte, 100), big), "home/log"); err != nil {
		return err
	}
	whole := f.contents["home/log"]
	if err := f.change(map[engine.Key][]byte{"link": whole}, func() error {
		_, err := f.n.LinkFile(f.ctx, f.file(id), f.place(engine.RootNode, "link"))
		return err
	}); err != nil {
		return err
	}
	// A patch of both names: bytes, a hole, bytes of another file, and a cut.
	other, err := f.n.Lookup(f.ctx, f.place(engine.RootNode, "a"), "")
	if err != nil {
		return err
	}
	from, err := f.n.Lookup(f.ctx, f.place(other.Node, "b"), "")
	if err != nil {
		return err
	}
	source, err := f.n.OpenFile(f.ctx, f.file(from.Node), engine.OpenFileOptions{})
	if err != nil {
		return err
	}
	taken, err := io.ReadAll(source)
	if err := errors.Join(err, source.Close()); err != nil {
		return err
	}
	after := slices.Clone(whole)
	copy(after[50:], "patched")
	clear(after[1000:5000])
	copy(after[20_000:], taken[500:30_500])
	cut := int64(60_000)
	after = after[:cut]
	pieces := []engine.Piece{written(50, []byte("patched")), {Offset: 1000, Length: 4000}, {Offset: 20_000, Length: 30_000, From: &engine.FileRange{File: f.file(from.Node), Offset: 500}}}
	if err := f.patch(id, pieces, &cut, after, "home/log", "link"); err != nil {
		return err
	}
	return f.rest(directory, id)
}

func (f *files) rest(directory, id engine.NodeID) error {
	whole := f.contents["home/log"]
	f.states.set(noteColour, "under way")
	if err := f.n.SetXattr(f.ctx, f.file(id), "user.colour", []byte("blue"), engine.SetXattrOptions{}); err != nil {
		return err
	}
	f.states.set(noteColour, noteAnswered)
	mode := uint32(0o600)
	if _, err := f.n.SetFile(f.ctx, f.file(id), engine.FileChange{Mode: &mode}); err != nil {
		return err
	}
	if err := f.change(map[engine.Key][]byte{"home/log": nil, "moved": whole}, func() error {
		return f.n.MoveFile(f.ctx, f.place(directory, "log"), f.place(engine.RootNode, "moved"), engine.MoveFileOptions{NoReplace: true})
	}); err != nil {
		return err
	}
	small, err := f.make(directory, "small", "home/small", engine.TypeRegular)
	if err != nil {
		return err
	}
	if err := f.patch(small, []engine.Piece{written(engine.PieceEnd, []byte("few"))}, nil, []byte("few"), "home/small"); err != nil {
		return err
	}
	if err := f.change(map[engine.Key][]byte{"home/small": whole, "moved": []byte("few")}, func() error {
		return f.n.MoveFile(f.ctx, f.place(directory, "small"), f.place(engine.RootNode, "moved"), engine.MoveFileOptions{Exchange: true})
	}); err != nil {
		return err
	}
	if err := f.change(map[engine.Key][]byte{"home/": nil, "home/small": nil, "house/": {}, "house/small": whole}, func() error {
		return f.n.MoveFile(f.ctx, f.place(engine.RootNode, "home"), f.place(engine.RootNode, "house"), engine.MoveFileOptions{})
	}); err != nil {
		return err
	}
	if err := f.change(map[engine.Key][]byte{"link": nil}, func() error {
		return f.n.RemoveFile(f.ctx, f.place(engine.RootNode, "link"), engine.RemoveFileOptions{})
	}); err != nil {
		return err
	}
	// Over its last name goes another file: its content is garbage then.
	return f.change(map[engine.Key][]byte{"moved": nil, "house/small": []byte("few")}, func() error {
		return f.n.MoveFile(f.ctx, f.place(engine.RootNode, "moved"), f.place(directory, "small"), engine.MoveFileOptions{})
	})
}

// filesHold says that what changes in one commit changed as a whole.
func filesHold(ctx context.Context, n *node.Node, states model) error {
	there := map[engine.Key]string{}
	for _, key := range []engine.Key{"home/", "home/log", "home/small", "house/", "house/small", "link", "moved"} {
		s, err := read(ctx, n, key)
		if err != nil {
			return err
		}
		if there[key] = s; states.get(key) != nil && !slices.Contains(states.get(key), s) || states.get(key) == nil && s != "" {
			return fmt.Errorf("%q has the state %q; %q are possible", key, s, states.get(key))
		}
	}
	few := sum([]byte("few"))
	switch {
	case there["home/"] != "" && there["house/"] != "", there["home/log"] != "" && there["moved"] != "":
		return fmt.Errorf("what was moved is at both places: %v", there)
	case there["home/log"] != "" && there["link"] != "" && there["home/log"] != there["link"]:
		return fmt.Errorf("two names of a file have contents of their own: %v", there)
	case there["home/small"] == few && there["moved"] == few:
		return fmt.Errorf("an exchange was done by half: %v", there)
	}
	for _, name := range []string{"link", "moved"} {
		info, err := n.Lookup(ctx, engine.Place{Bucket: "bucket", Directory: engine.RootNode, Name: name}, "")
		if err != nil || states.get(noteColour) == nil || states.get(noteColour)[0] != noteAnswered || there[engine.Key(name)] == few {
			continue
		}
		if value, err := n.Xattr(ctx, engine.File{Bucket: "bucket", Node: info.Node}, "user.colour"); err != nil || string(value) != "blue" {
			return fmt.Errorf("the extended attribute of %q is %q: %w", name, value, err)
		}
	}
	return nil
}
