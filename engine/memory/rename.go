package memory

import (
	"context"

	"holdfast/engine"
)

// Rename gives an object another key of its bucket.
func (e *Engine) Rename(ctx context.Context, from, to engine.Ref, o engine.RenameOptions) (engine.ObjectInfo, error) {
	info, err := e.rename(ctx, from, to, o)
	return info, engine.Wrap("rename", from, err)
}

func (e *Engine) rename(ctx context.Context, from, to engine.Ref, o engine.RenameOptions) (info engine.ObjectInfo, err error) {
	if err := engine.CheckRename(from, to, o); err != nil {
		return info, err
	}
	for _, ref := range []engine.Ref{from, to} {
		if err := readyKey(ctx, ref); err != nil {
			return info, err
		}
	}
	if err := checkWrite(to, o.If); err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(from.Bucket)
	if err != nil {
		return info, err
	}
	if b.versioning != engine.VersioningOff {
		return info, engine.E(engine.KindBucketState, "the bucket keeps versions; the history of an object cannot be renamed")
	}
	token := ""
	if o.Token != "" {
		token = string(from.Key) + "\x00" + o.Token
	}
	if there := b.object(to.Key); there != nil && there.token == token && token != "" {
		return b.renamed(there), nil
	}
	source, err := b.readable(from)
	if err == nil {
		err = judgeSource(o.From, source)
	}
	if err != nil {
		return info, err
	}
	if err := judgeWrite(o.If, b.object(to.Key)); err != nil {
		return info, err
	}
	moved := *source
	moved.info.Key, moved.token = to.Key, token
	n := e.raise(b, engine.ChangeRenamed, to.Key)
	if n != nil {
		n.From = from.Key
	}
	e.stamp(b)
	b.setVersions(to.Key, []*object{&moved}) // first, so that a directory of both is not forgotten in between
	b.setVersions(from.Key, nil)
	n.done(nil)
	return b.renamed(&moved), nil
}

// renamed is what is told of a version that was renamed.
func (b *bucket) renamed(o *object) engine.ObjectInfo {
	info := b.answer(o)
	info.Class, info.Attributes, info.Tags, info.Checksum, info.Parts = "", engine.Attributes{}, nil, engine.Checksum{}, 0
	return info
}

// RenamePrefix gives all objects whose keys begin with from the same keys with to in its place.
func (e *Engine) RenamePrefix(ctx context.Context, name engine.BucketName, from, to string) (engine.PrefixInfo, error) {
	info, err := e.renamePrefix(ctx, name, from, to)
	return info, engine.Wrap("rename prefix", engine.Ref{Bucket: name, Key: engine.Key(from)}, err)
}

func (e *Engine) renamePrefix(ctx context.Context, name engine.BucketName, from, to string) (info engine.PrefixInfo, err error) {
	if err := ready(ctx, name); err != nil {
		return info, err
	}
	if err := engine.CheckRenamePrefix(from, to); err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(name)
	if err != nil {
		return info, err
	}
	moving, info, held := b.beneath(from)
	taken, _, _ := b.beneath(to)
	for _, s := range moving {
		if behind := len(s.key) - len(from); len(to) > len(from) && len(to)+behind > engine.KeyBytesMax {
			return engine.PrefixInfo{}, engine.E(engine.KindKeyTooLong, "the key %q would have more than %d bytes", string(s.key), engine.KeyBytesMax)
		}
	}
	switch {
	case len(moving) == 0:
		return info, engine.E(engine.KindNoSuchKey, "no key begins with %q", from)
	case len(taken) > 0:
		return engine.PrefixInfo{}, engine.E(engine.KindConflict, "keys begin with %q already", to)
	case held > 0:
		return engine.PrefixInfo{}, engine.E(engine.KindLocked, "%d versions whose keys begin with %q have a retention or legal hold", held, from)
	}
	n := e.raise(b, engine.ChangeDirectoryRenamed, engine.Key(to))
	if n != nil {
		n.From = engine.Key(from)
	}
	n.tree(from)
	e.stamp(b)
	var m moves
	m.directory(b, from, to)
	m.apply(b)
	n.doneMove()
	return info, nil
}
