package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"holdfast/engine"
	"holdfast/engine/node"
)

// Notes are kept in the model under names that no key has.
const (
	noteRenamed  = "note: the object was renamed"
	notePrefix   = "note: the prefix was renamed"
	noteVersion  = "note: version under retention"
	noteHeld     = "note: version whose retention was prolonged and that is under legal hold"
	noteRemoved  = "note: version that went with bypass"
	noteAnswered = "yes"
)

// appendTo puts size bytes behind what a key has, and notes what may be there from then on.
func appendTo(ctx context.Context, n *node.Node, states model, key engine.Key, size int) error {
	var old []byte
	if states.get(key)[0] != "" {
		o, err := n.Open(ctx, ref(key), engine.OpenOptions{})
		if err != nil {
			return err
		}
		old, err = io.ReadAll(o)
		if err := errors.Join(err, o.Close()); err != nil {
			return err
		}
	}
	more := bytes.Repeat([]byte{byte(size), byte(len(old))}, size/2)
	whole := sum(slices.Concat(old, more))
	states.allow(key, whole)
	_, err := n.Append(ctx, ref(key), bytes.NewReader(more), engine.AppendOptions{Offset: int64(len(old)), Size: int64(len(more))})
	if err == nil {
		states.set(key, whole)
	}
	return err
}

// renameBoth renames an object onto another, and a directory.
func renameBoth(ctx context.Context, n *node.Node, states model) error {
	from, to := keys[3], keys[0]
	moved, before := states.get(from)[0], states.get(to)[0]
	states.set(from, moved, "")
	states.set(to, before, moved)
	if _, err := n.Rename(ctx, ref(from), ref(to), engine.RenameOptions{}); err != nil {
		return err
	}
	states.set(from, "")
	states.set(to, moved)
	states.set(noteRenamed, noteAnswered)
	for _, key := range []engine.Key{"dir/x", "dir/y/z"} {
		if _, err := n.Put(ctx, ref(key), bytes.NewReader(make([]byte, 9000)), engine.PutOptions{Size: 9000}); err != nil {
			return err
		}
	}
	if _, err := n.RenamePrefix(ctx, "bucket", "dir/", "new/home/"); err != nil {
		return err
	}
	states.set(notePrefix, noteAnswered)
	return quiet(ctx, n)
}

// renamedWhole says that a rename happened as a whole or not at all, and that an acknowledged one happened.
func renamedWhole(ctx context.Context, n *node.Node, states model) error {
	page, err := n.List(ctx, "bucket", engine.ListOptions{})
	if err != nil {
		return err
	}
	there := map[engine.Key]bool{}
	for _, o := range page.Objects {
		there[o.Key] = true
	}
	if from, to := keys[3], keys[0]; !there[to] || there[from] && states.get(noteRenamed) != nil {
		return fmt.Errorf("of %q, which was to become %q, there is %v and %v", from, to, there[from], there[to])
	}
	x, y, newX, newY := there["dir/x"], there["dir/y/z"], there["new/home/x"], there["new/home/y/z"]
	switch {
	case newX != newY, newX && (x || y), y && !x, states.get(notePrefix) != nil && !newX:
		return fmt.Errorf("beneath dir/ there are %v and %v, beneath new/home/ %v and %v; acknowledged: %v", x, y, newX, newY, states.get(notePrefix))
	}
	return nil
}

const lockedBucket = "locked"

func lockedRef(v engine.VersionID) engine.Ref {
	return engine.Ref{Bucket: lockedBucket, Key: "dir/kept", Version: v}
}

var lockedUntil = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// prepareLocks makes a bucket with locks and three versions under retention.
func prepareLocks(ctx context.Context, n *node.Node, states model) error {
	if err := some(ctx, n, states); err != nil {
		return err
	}
	if _, err := n.CreateBucket(ctx, lockedBucket, engine.CreateBucketOptions{Lock: true}); err != nil {
		return err
	}
	for i, note := range []engine.Key{noteVersion, noteHeld, noteRemoved} {
		lock := engine.Lock{Retention: engine.Retention{Mode: engine.RetentionGovernance, Until: lockedUntil}}
		if note == noteVersion {
			lock.Mode = engine.RetentionCompliance
		}
		info, err := n.Put(ctx, lockedRef(""), bytes.NewReader(make([]byte, 9000*i)), engine.PutOptions{Size: int64(9000 * i), Lock: lock})
		if err != nil {
			return err
		}
		states.set(note, string(info.Version))
	}
	return nil
}

// changeLocks prolongs a retention, sets a legal hold, removes a version with bypass, and tries what is forbidden.
func changeLocks(ctx context.Context, n *node.Node, states model) error {
	held, removed := lockedRef(engine.VersionID(states.get(noteHeld)[0])), lockedRef(engine.VersionID(states.get(noteRemoved)[0]))
	on, longer := true, engine.Retention{Mode: engine.RetentionGovernance, Until: lockedUntil.AddDate(1, 0, 0)}
	if _, err := n.SetLock(ctx, held, engine.LockChange{Retention: &longer, Hold: &on}); err != nil {
		return err
	}
	states.allow(noteHeld, noteAnswered)
	states.allow(noteRemoved, "under way")
	if _, err := n.Delete(ctx, removed, engine.DeleteOptions{Bypass: true}); err != nil {
		return err
	}
	states.set(noteRemoved, states.get(noteRemoved)[0], noteAnswered)
	for _, v := range []engine.Key{noteVersion, noteHeld} {
		if _, err := n.Delete(ctx, lockedRef(engine.VersionID(states.get(v)[0])), engine.DeleteOptions{Bypass: true}); !engine.Is(err, engine.KindLocked) {
			return fmt.Errorf("the removal of a version that is kept answers: %w", err)
		}
	}
	if _, err := n.Delete(ctx, lockedRef(""), engine.DeleteOptions{}); err != nil {
		return err
	}
	return quiet(ctx, n)
}

// locksHold says that what is kept is there and stays, with what was acknowledged of its lock.
func locksHold(ctx context.Context, n *node.Node, states model) error {
	for _, note := range []engine.Key{noteVersion, noteHeld} {
		kept := lockedRef(engine.VersionID(states.get(note)[0]))
		info, err := n.Stat(ctx, kept, engine.StatOptions{})
		switch {
		case err != nil:
			return err
		case !info.Locks || info.Lock.Until.Before(lockedUntil):
			return fmt.Errorf("%s: the lock is %+v", note, info.Lock)
		case note == noteHeld && len(states.get(note)) > 1 && (!info.Lock.Hold || !info.Lock.Until.After(lockedUntil)):
			return fmt.Errorf("%s: the lock is %+v although the change was acknowledged", note, info.Lock)
		}
		if _, err := n.Delete(ctx, kept, engine.DeleteOptions{}); !engine.Is(err, engine.KindLocked) {
			return fmt.Errorf("%s: its removal answers: %w", note, err)
		}
	}
	removed := states.get(noteRemoved)
	_, err := n.Stat(ctx, lockedRef(engine.VersionID(removed[0])), engine.StatOptions{})
	if gone := engine.Is(err, engine.KindNoSuchVersion); err != nil && !gone || gone && len(removed) == 1 || !gone && len(removed) > 1 && removed[1] == noteAnswered {
		return fmt.Errorf("%s: %v, a stat answers: %w", noteRemoved, removed, err)
	}
	return nil
}
