package memory

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"holdfast/engine"
	"holdfast/engine/enginetest"
)

// TestRandomFiles compares the model with itself, and what it notes of nodes and directories with what follows from the keys alone.
func TestRandomFiles(t *testing.T) {
	enginetest.RandomFiles(t, 4, 1500, func(t *testing.T) (model, real engine.Engine, check func() error) {
		e := New()
		return e, New(), func() error {
			e.buckets.Ascend(func(b *bucket) bool { checkNodes(t, b); return true })
			if e.Clone().Digest() != e.Digest() {
				return errors.New("a clone is another")
			}
			return nil
		}
	})
}

func checkNodes(t *testing.T, b *bucket) {
	keys, found, nodes := map[engine.NodeID][]engine.Key{}, map[string]directory{"": {}}, map[engine.NodeID]node{}
	b.stacks.Ascend(func(s *stack) bool {
		for _, o := range s.versions {
			n := o.node
			if o.info.Marker != (n.id == 0) || o.info.Key != s.key {
				t.Errorf("%q has the version %+v with the node %+v", s.key, o.info, n)
			}
			if o.info.Marker {
				continue
			}
			if other, ok := nodes[n.id]; ok && !reflect.DeepEqual(other, n) {
				t.Errorf("%q has another node %+v than %q: %+v", s.key, n, keys[n.id], other)
			}
			keys[n.id], nodes[n.id] = append(keys[n.id], s.key), n
		}
		stacks, live := counted(s.versions)
		for i := range len(s.key) + 1 {
			if i == 0 || s.key[i-1] == '/' {
				d := found[string(s.key[:i])]
				found[string(s.key[:i])] = directory{stacks: d.stacks + stacks, live: d.live + live}
			}
		}
		return true
	})
	if len(keys) != len(b.keys) {
		t.Errorf("there are %d files, not %d", len(b.keys), len(keys))
	}
	for id, want := range keys {
		if got := slices.Sorted(slices.Values(b.keys[id])); !slices.Equal(got, want) || id > b.lastNode {
			t.Errorf("node %d of %d has the names %q; want %q", id, b.lastNode, got, want)
		}
		if _, ok := b.prefixes[id]; ok {
			t.Errorf("node %d is a file and a directory", id)
		}
	}
	if got, want := slices.Sorted(maps.Keys(b.directories)), slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) || len(b.prefixes) != len(want) {
		t.Errorf("the directories are %q, of which %d have numbers; want %q", got, len(b.prefixes), want)
	}
	for prefix, d := range b.directories {
		if want := found[prefix]; d.stacks != want.stacks || d.live != want.live || b.prefixes[d.id] != prefix || d.kind != engine.TypeDirectory || !strings.HasSuffix("/"+prefix, "/") {
			t.Errorf("the directory %q is %+v; want %+v", prefix, d, want)
		}
	}
}
