package drive

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"holdfast/engine"
	"holdfast/engine/disk"
)

// Identify says which drive the folder is, and changes nothing. ErrUnformatted, ErrForeign, ErrNewer, ErrDamaged, else what the operating
// system says.
func Identify(fsys disk.FS) (Identity, Geometry, error) {
	f, err := fsys.Open(identityName, disk.Flags{ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, Geometry{}, unidentified(fsys)
	}
	if err != nil {
		return Identity{}, Geometry{}, err
	}
	b := make([]byte, identityBytes)
	n, err := f.ReadAt(b, 0)
	closing := f.Close()
	if n < len(b) && !isEOF(err) {
		return Identity{}, Geometry{}, cmp.Or(err, closing)
	}
	return decodeIdentity(b[:n])
}

// unidentified tells an empty folder from one that holds something.
func unidentified(fsys disk.FS) error {
	names, err := fsys.List(".")
	if err != nil {
		return err
	}
	if others := slices.DeleteFunc(names, func(n string) bool { return n == "lost+found" }); len(others) > 0 && !unfinished(others) {
		return engine.E(engine.KindInvalidArgument, "found %q and no %s: %w", others[0], identityName, ErrForeign)
	}
	return engine.E(engine.KindInvalidArgument, "%w", ErrUnformatted)
}

// unfinished reports whether the names are those that a Format leaves that did not finish: the marker among them, and nothing else.
func unfinished(names []string) bool {
	marker := false
	for _, n := range names {
		switch n {
		case markerName:
			marker = true
		case lockName, metaDir, dataDir, indexDir:
		default:
			return false
		}
	}
	return marker
}

// Format makes an empty folder a drive; lost+found may be there, and the leftovers of a Format that did not finish, which it removes. The
// folder is a drive once Format returns nil, or not at all: the identity comes last, after all else is durable. ErrForeign if the folder
// holds anything else, a drive included. KindInvalidArgument for a malformed Identity or Geometry.
func Format(fsys disk.FS, id Identity, g Geometry) error {
	g = g.withDefaults()
	if err := g.check(); err != nil {
		return err
	}
	if id.Role != RoleData && id.Role != RoleWitness || id.Incarnation == 0 {
		return engine.E(engine.KindInvalidArgument, "a drive needs a role and a random incarnation, not %s and %d", id.Role, id.Incarnation)
	}
	if _, _, err := Identify(fsys); !errors.Is(err, ErrUnformatted) {
		if err == nil {
			err = engine.E(engine.KindInvalidArgument, "the folder is a drive already: %w", ErrForeign)
		}
		return err
	}
	for _, step := range []func() error{
		func() error { return writeMarker(fsys) },
		func() error { return clearFolder(fsys) },
		func() error { return formatRing(fsys, g) },
		func() error { return formatData(fsys, id.Role) },
		func() error { return formatIndex(fsys) },
		func() error { return fsys.SyncDir(".") },
		func() error { return writeIdentity(fsys, id, g) },
	} {
		if err := step(); err != nil {
			return engine.E(engine.KindInternal, "format: %w", err)
		}
	}
	return nil
}

// writeMarker makes the marker durable before anything else is there, so that whatever is there without an identity is known as ours.
func writeMarker(fsys disk.FS) error {
	f, err := fsys.Open(markerName, disk.Flags{Create: true})
	if err != nil {
		return err
	}
	if err := cmp.Or(f.Truncate(0), f.Sync(), f.Close()); err != nil {
		return err
	}
	return fsys.SyncDir(".")
}

// clearFolder removes what an earlier Format left.
func clearFolder(fsys disk.FS) error {
	for _, dir := range []string{metaDir, dataDir, indexDir} {
		names, err := fsys.List(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := fsys.Remove(path.Join(dir, n)); err != nil {
				return err
			}
		}
		if err := fsys.Remove(dir); err != nil {
			return err
		}
	}
	return nil
}

// formatRing writes the ring's zeros, so that later writes never allocate.
func formatRing(fsys disk.FS, g Geometry) error {
	if err := fsys.MkdirAll(metaDir); err != nil {
		return err
	}
	f, err := fsys.Open(ringName, disk.Flags{Create: true, Direct: true})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Allocate(0, g.RingBytes); err != nil {
		return err
	}
	zeros := disk.AlignedBytes(int(min(g.RingBytes, 1<<20)))
	for at := int64(0); at < g.RingBytes; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), g.RingBytes-at)], at); err != nil {
			return err
		}
	}
	return cmp.Or(f.Sync(), fsys.SyncDir(metaDir))
}

func formatData(fsys disk.FS, role Role) error {
	if role == RoleWitness {
		return nil
	}
	if err := fsys.MkdirAll(dataDir); err != nil {
		return err
	}
	return fsys.SyncDir(dataDir)
}

// formatIndex makes the index with its first rows, flushed.
func formatIndex(fsys disk.FS) error {
	if err := fsys.MkdirAll(indexDir); err != nil {
		return err
	}
	cache := NewCache(1<<20, 1)
	gate, err := newGate(fsys)
	if err != nil {
		return err
	}
	db, err := openIndex(gate, cache, true, pebble.EventListener{})
	if err != nil {
		return errors.Join(err, gate.close())
	}
	b := db.NewBatch()
	err = cmp.Or(b.Set(markKey, encodeMark(mark{sequence: 1}), nil), b.Set(tailKey, encodeU64(0), nil))
	err = cmp.Or(err, b.Commit(pebble.NoSync), flushOnce(db, gate))
	err = cmp.Or(err, closeIndex(db, gate), gate.err(), gate.close())
	cache.kept.Store(err != nil)
	cache.Close()
	return err
}

// flushOnce flushes, but does not wait for Pebble to repeat a flush that fails.
func flushOnce(db *pebble.DB, gate *gate) error {
	done, err := db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-gate.broken:
	}
	return gate.err()
}

func writeIdentity(fsys disk.FS, id Identity, g Geometry) error {
	f, err := fsys.Open(markerName, disk.Flags{})
	if err != nil {
		return err
	}
	_, err = f.WriteAt(encodeIdentity(id, g), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(markerName, identityName); err != nil {
		return err
	}
	return fsys.SyncDir(".")
}
