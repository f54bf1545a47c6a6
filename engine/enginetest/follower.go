package enginetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdfast/engine"
)

// Follower keeps a mirror of the keys of a bucket by its changes alone, from an empty bucket on. Whatever a change says of what was there before must
// agree with the mirror; what it does not say of a directory it takes from Expand.
type Follower struct {
	engine.Engine
	bucket engine.BucketName
	cursor string
	page   int // of Changes and Expand
	// Mirror has what is current, Last is the change that it was made up to. Both are what a follower keeps that goes on after a restart.
	Mirror map[engine.Key]Mirrored
	Last   engine.Sequence
	counts map[engine.ChangeKind]int
}

// Mirrored is what is current at a key.
type Mirrored struct {
	Node    engine.NodeID
	Version engine.ChangedVersion
}

// Follow opens the cursor of a follower whose mirror is empty, as the bucket must be, unless the caller gives it the Mirror and Last of one that
// ended. A page has as many items as it says.
func Follow(ctx context.Context, e engine.Engine, bucket engine.BucketName, cursor string, page int) (*Follower, error) {
	at, err := e.OpenCursor(ctx, bucket, cursor)
	return &Follower{
		Engine: e, bucket: bucket, cursor: cursor, Mirror: map[engine.Key]Mirrored{}, Last: at.Position, counts: map[engine.ChangeKind]int{}, page: page,
	}, err
}

// CatchUp applies all changes that there are, and returns them. It does not move the cursor.
func (f *Follower) CatchUp(ctx context.Context) (all []engine.Change, err error) {
	for {
		page, err := f.Changes(ctx, f.bucket, f.cursor, engine.ChangesOptions{After: f.Last, Max: f.page})
		if err != nil {
			return all, err
		}
		for i := range page.Changes {
			c := &page.Changes[i]
			if c.Sequence != f.Last+1 {
				return all, fmt.Errorf("change %d follows upon %d", c.Sequence, f.Last)
			}
			f.Last = c.Sequence
			f.counts[c.Kind]++
			all = append(all, *c)
			if err := f.apply(ctx, c); err != nil {
				return all, fmt.Errorf("change %+v: %w", *c, err)
			}
		}
		if page.Last != f.Last {
			return all, fmt.Errorf("the page ends at %d, and its last change is %d", page.Last, f.Last)
		}
		if !page.Truncated {
			return all, nil
		}
	}
}

func (f *Follower) apply(ctx context.Context, c *engine.Change) error {
	switch c.Kind {
	case engine.ChangePut, engine.ChangeDeleted, engine.ChangeMarked, engine.ChangeVersionRemoved, engine.ChangeLinked, engine.ChangeUnlinked, engine.ChangeDirectoryMade:
		if err := f.replaced(c); err != nil {
			return err
		}
		f.set(c.Key, c.Node, c.Version)
	case engine.ChangePatched:
		return f.patched(c)
	case engine.ChangeRenamed, engine.ChangeDirectoryRenamed, engine.ChangeExchanged:
		return f.moved(ctx, c)
	case engine.ChangeDirectoryRemoved:
		gone := f.beneath(c.Key)
		if err := f.expands(ctx, c, gone); err != nil {
			return err
		}
		for key := range gone {
			delete(f.Mirror, key)
		}
	}
	return nil
}

// set puts a version at a key; a delete marker hides what was there.
func (f *Follower) set(key engine.Key, node engine.NodeID, v engine.ChangedVersion) {
	if v.IsZero() || v.Marker {
		delete(f.Mirror, key)
	} else {
		f.Mirror[key] = Mirrored{node, v}
	}
}

// replaced holds what a change says it replaced against the mirror.
func (f *Follower) replaced(c *engine.Change) error {
	there, ok := f.Mirror[c.Key]
	if says := c.Replaced; ok != (!says.IsZero() && !says.Marker) || ok && !sameVersion(says, there.Version) {
		return fmt.Errorf("it replaced %+v, and the mirror has %+v", says, there)
	}
	return nil
}

func sameVersion(a, b engine.ChangedVersion) bool {
	return a.Version == b.Version && a.Marker == b.Marker && a.Size == b.Size && a.ETag == b.ETag && a.Sequence == b.Sequence && a.Modified.Equal(b.Modified)
}

// patched changes a file under all its names.
func (f *Follower) patched(c *engine.Change) error {
	if c.Names == 0 {
		return nil
	}
	if err := f.replaced(c); err != nil {
		return err
	}
	names := uint64(0)
	for key, there := range f.Mirror {
		if there.Node == c.Node {
			f.Mirror[key] = Mirrored{c.Node, c.Version}
			names++
		}
	}
	if names != c.Names {
		return fmt.Errorf("the mirror has %d names of the file", names)
	}
	return nil
}

// beneath returns what the mirror has beneath a directory.
func (f *Follower) beneath(prefix engine.Key) map[engine.Key]Mirrored {
	found := map[engine.Key]Mirrored{}
	for key, there := range f.Mirror {
		if strings.HasPrefix(string(key), string(prefix)) {
			found[key] = there
		}
	}
	return found
}

// moved gives what a change moves its names, after all that it moves has left the former ones.
func (f *Follower) moved(ctx context.Context, c *engine.Change) error {
	come, expanded := map[engine.Key]Mirrored{}, map[engine.Key]Mirrored{}
	if c.Kind != engine.ChangeExchanged {
		if err := f.replaced(c); err != nil {
			return err
		}
	}
	var gone []engine.Key
	for _, m := range c.Moves() {
		if !m.Directory {
			there, ok := f.Mirror[m.From]
			if !ok || !sameVersion(there.Version, m.Version) {
				return fmt.Errorf("it moves %+v, and the mirror has %+v", m, there)
			}
			come[m.To] = there
			gone = append(gone, m.From)
			continue
		}
		for key, there := range f.beneath(m.From) {
			to := m.To + key[len(m.From):]
			come[to], expanded[to] = there, there
			gone = append(gone, key)
		}
		if c.Kind == engine.ChangeDirectoryRenamed {
			gone = append(gone, slices.Collect(maps.Keys(f.beneath(m.To)))...)
		}
	}
	if c.Expands() {
		if err := f.expands(ctx, c, expanded); err != nil {
			return err
		}
	}
	for _, key := range gone {
		delete(f.Mirror, key)
	}
	maps.Copy(f.Mirror, come)
	return nil
}

// expands holds what Expand says against what the mirror has.
func (f *Follower) expands(ctx context.Context, c *engine.Change, want map[engine.Key]Mirrored) error {
	got, last := map[engine.Key]Mirrored{}, engine.Key("")
	for {
		page, err := f.Expand(ctx, f.bucket, f.cursor, c.Sequence, engine.ExpandOptions{After: last, Max: f.page})
		if err != nil {
			return err
		}
		for _, k := range page.Keys {
			if k.Key <= last {
				return fmt.Errorf("%q is expanded behind %q", k.Key, last)
			}
			got[k.Key], last = Mirrored{k.Node, k.Version}, k.Key
		}
		if !page.Truncated {
			break
		}
	}
	for key, there := range want {
		if g, ok := got[key]; !ok || g.Node != there.Node || !sameVersion(g.Version, there.Version) {
			return fmt.Errorf("the expansion has %+v at %q; there was %+v", g, key, there)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("the expansion has %d keys; there were %d: %q and %q", len(got), len(want), slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	return nil
}

// Differs says in what the mirror is another than the listing of the bucket, or nothing.
func (f *Follower) Differs(ctx context.Context) error {
	var o engine.ListOptions
	seen := 0
	for {
		page, err := f.List(ctx, f.bucket, o)
		if err != nil {
			return err
		}
		for i := range page.Objects {
			v := &page.Objects[i]
			there, ok := f.Mirror[v.Key]
			m := there.Version
			if !ok || m.Version != v.Version || m.Size != v.Size || m.ETag != v.ETag || m.Sequence != v.Sequence || !m.Modified.Equal(v.Modified) {
				return fmt.Errorf("the mirror has %+v at %q; the bucket has %+v", there, v.Key, *v)
			}
		}
		seen += len(page.Objects)
		if o.After = page.Last; !page.Truncated {
			break
		}
	}
	if seen != len(f.Mirror) {
		return fmt.Errorf("the mirror has %d keys; the bucket has %d: %q", len(f.Mirror), seen, slices.Sorted(maps.Keys(f.Mirror)))
	}
	return nil
}
