package enginetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"holdfast/engine"
)

// feedScript changes a small tree at random, directories above all, while a follower is now close behind and now far: each change of a directory is
// expanded with others to undo, and must show what the mirror has.
type feedScript struct {
	*suite
	random *rand.Rand
	log    []string
}

// feedRandom runs scripts in buckets without versions and with them.
func feedRandom(s *suite) {
	counts := map[engine.ChangeKind]int{}
	for seed := range uint64(6) {
		own := *s
		own.bucket = s.newBucket()
		if seed%3 == 2 {
			own.setVersioning(engine.VersioningEnabled)
		}
		r := &feedScript{suite: &own, random: rand.New(rand.NewPCG(seed, 4))}
		r.run(counts)
		if s.Failed() {
			s.Fatalf("seed %d; the last operations:\n%s", seed, strings.Join(r.log[max(0, len(r.log)-60):], "\n"))
		}
	}
	for _, kind := range []engine.ChangeKind{
		engine.ChangePut, engine.ChangeDeleted, engine.ChangeMarked, engine.ChangeRenamed, engine.ChangePatched, engine.ChangeLinked, engine.ChangeUnlinked,
		engine.ChangeDirectoryMade, engine.ChangeDirectoryRenamed, engine.ChangeDirectoryRemoved, engine.ChangeExchanged,
	} {
		if counts[kind] == 0 {
			s.Errorf("no change was %q: %v", kind, counts)
		}
	}
	s.Logf("changes: %v", counts)
}

func (r *feedScript) run(counts map[engine.ChangeKind]int) {
	f := r.follows("f")
	f.counts, f.page = counts, 7
	for range 16 {
		for range r.random.IntN(60) {
			r.step()
		}
		if _, err := f.CatchUp(r.ctx); err != nil {
			r.Error(err)
			return
		}
		if err := f.Differs(r.ctx); err != nil {
			r.Error(err)
			return
		}
		if r.random.IntN(2) == 0 {
			r.ok(r.MoveCursor(r.ctx, r.bucket, "f", f.Last), "move the cursor")
		}
	}
}

// did notes an operation. It may be refused for what is there, and for nothing else.
func (r *feedScript) did(what string, err error) {
	r.Helper()
	if r.log = append(r.log, fmt.Sprintf("%s: %v", what, err)); err != nil {
		switch engine.KindOf(err) {
		case engine.KindInternal, engine.KindUnavailable, engine.KindDamaged, engine.KindCanceled:
			r.Errorf("%s: %v", what, err)
		}
	}
}

func (r *feedScript) name() string { return pick(r.random, []string{"a", "b", "c", "d"}) }

// prefix is that of a directory at most three levels deep.
func (r *feedScript) prefix() (prefix string) {
	for range 1 + r.random.IntN(3) {
		prefix += r.name() + "/"
	}
	return prefix
}

// key lies in the root, or in a directory.
func (r *feedScript) key() string {
	if r.random.IntN(6) == 0 {
		return r.name()
	}
	return r.prefix() + r.name()
}

// place finds a name in a directory that is there: the root if another is not.
func (r *feedScript) place() (at engine.Place, path string) {
	at = engine.Place{Bucket: r.bucket, Directory: engine.RootNode}
	for range r.random.IntN(4) {
		name := r.name()
		info, err := r.Lookup(r.ctx, engine.Place{Bucket: r.bucket, Directory: at.Directory, Name: name}, "")
		if err == nil && info.Type == engine.TypeDirectory {
			at.Directory, path = info.Node, path+name+"/"
		}
	}
	at.Name = r.name()
	return at, path + at.Name
}

func (r *feedScript) step() {
	at, path := r.place()
	switch n := r.random.IntN(100); {
	case n < 30:
		key := r.key()
		data := content(r.random.Uint64(), r.random.IntN(50))
		_, err := r.Put(r.ctx, r.ref(key), bytes.NewReader(data), engine.PutOptions{Size: int64(len(data))})
		r.did("put "+key, err)
	case n < 38:
		key := r.key()
		_, err := r.Delete(r.ctx, r.ref(key), engine.DeleteOptions{})
		r.did("delete "+key, err)
	case n < 48:
		from, to := r.prefix(), r.prefix()
		_, err := r.RenamePrefix(r.ctx, r.bucket, from, to)
		r.did("rename "+from+" to "+to, err)
	case n < 51:
		prefix := r.prefix()
		_, err := r.RemovePrefix(r.ctx, r.bucket, prefix)
		r.did("remove "+prefix, err)
	case n < 56:
		from, to := r.key(), r.key()
		_, err := r.Rename(r.ctx, r.ref(from), r.ref(to), engine.RenameOptions{})
		r.did("rename "+from+" to "+to, err)
	case n < 63:
		_, err := r.MakeFile(r.ctx, at, engine.MakeFileOptions{Type: engine.TypeDirectory})
		r.did("make directory "+path, err)
	case n < 80:
		to, toPath := r.place()
		o := engine.MoveFileOptions{Exchange: r.random.IntN(2) == 0}
		r.did(fmt.Sprintf("move %s to %s %+v", path, toPath, o), r.MoveFile(r.ctx, at, to, o))
	case n < 84:
		r.did("remove directory "+path, r.RemoveFile(r.ctx, at, engine.RemoveFileOptions{Directory: true}))
	default:
		info, err := r.Lookup(r.ctx, at, "")
		if err != nil {
			return
		}
		f := engine.File{Bucket: r.bucket, Node: info.Node}
		if n < 90 {
			to, toPath := r.place()
			_, err = r.LinkFile(r.ctx, f, to)
			r.did("link "+path+" as "+toPath, err)
			return
		}
		size := r.random.Int64N(50)
		_, err = r.PatchFile(r.ctx, f, engine.Patch{Size: &size})
		r.did(fmt.Sprintf("patch %s to %d bytes", path, size), err)
	}
}
