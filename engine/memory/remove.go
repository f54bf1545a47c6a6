package memory

import (
	"context"
	"strings"

	"holdfast/engine"
)

// RemovePrefix removes all objects whose keys begin with prefix, with their versions.
func (e *Engine) RemovePrefix(ctx context.Context, name engine.BucketName, prefix string) (engine.PrefixInfo, error) {
	info, err := e.removePrefix(ctx, name, prefix)
	return info, engine.Wrap("remove prefix", engine.Ref{Bucket: name, Key: engine.Key(prefix)}, err)
}

func (e *Engine) removePrefix(ctx context.Context, name engine.BucketName, prefix string) (info engine.PrefixInfo, err error) {
	if err := ready(ctx, name); err != nil {
		return info, err
	}
	if err := engine.CheckRemovePrefix(prefix); err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(name)
	if err != nil {
		return info, err
	}
	stacks, info, held := b.beneath(prefix)
	switch {
	case len(stacks) == 0:
		return info, engine.E(engine.KindNoSuchKey, "no key begins with %q", prefix)
	case held > 0:
		return engine.PrefixInfo{}, engine.E(engine.KindLocked, "%d versions whose keys begin with %q have a retention or legal hold", held, prefix)
	}
	n := e.raise(b, engine.ChangeDirectoryRemoved, engine.Key(prefix))
	if n != nil {
		n.Replaced = engine.ChangedVersion{}
	}
	n.tree(prefix)
	n.expands(prefix)
	for _, s := range stacks {
		b.setVersions(s.key, nil)
	}
	e.stamp(b)
	n.keep()
	return info, nil
}

// beneath returns what has keys that begin with prefix, how much that is, and how many versions of it have a lock.
func (b *bucket) beneath(prefix string) (stacks []*stack, info engine.PrefixInfo, held int) {
	b.stacks.AscendGreaterOrEqual(&stack{key: engine.Key(prefix)}, func(s *stack) bool {
		if !strings.HasPrefix(string(s.key), prefix) {
			return false
		}
		stacks = append(stacks, s)
		for i, o := range s.versions {
			info.Versions++
			if i == 0 && !o.info.Marker {
				info.Objects++
				info.Bytes += uint64(o.info.Size)
			}
			if o.info.Lock.Held() {
				held++
			}
		}
		return true
	})
	return stacks, info, held
}
