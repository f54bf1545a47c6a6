package enginetest

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"holdfast/engine"
)

func (s *suite) renamed(from, to string, o engine.RenameOptions) engine.ObjectInfo {
	s.Helper()
	info, err := s.Rename(s.ctx, s.ref(from), s.ref(to), o)
	s.ok(err, "rename %q to %q", from, to)
	return info
}

// keysOf lists all keys of the case's bucket.
func (s *suite) keysOf() (keys []string) {
	s.Helper()
	page, err := s.List(s.ctx, s.bucket, engine.ListOptions{})
	s.ok(err, "list")
	for _, o := range page.Objects {
		keys = append(keys, string(o.Key))
	}
	return keys
}

// renames: an object goes on under another key with all that it has, and what was there is gone.
func renames(s *suite) {
	before, err := s.Put(s.ctx, s.ref("a/b/c"), bytes.NewReader(content(1, 70_000)), engine.PutOptions{
		Size: 70_000, Attributes: engine.Attributes{ContentType: "a/b", User: map[string]string{"u": "v"}}, Tags: engine.Tags{"t": "1"},
	})
	s.ok(err, "put")
	s.put("x", []byte("replaced"))
	reader, err := s.Open(s.ctx, s.ref("x"), engine.OpenOptions{})
	s.ok(err, "open")
	keys := []string{"a/b/c", "x", "a/b/d", "a/b/d/e", "/", "a/", "a//b", "z/../..", "a/b/c"}
	for i, to := range keys[1:] {
		info := s.renamed(keys[i], to, engine.RenameOptions{})
		if info.ETag != before.ETag || info.Key != engine.Key(to) || info.Size != 70_000 || !info.Modified.Equal(before.Modified) {
			s.Errorf("the rename to %q answers %+v", to, info)
		}
		s.absent(keys[i])
		s.holds(to, content(1, 70_000))
		stat, err := s.Stat(s.ctx, s.ref(to), engine.StatOptions{})
		s.ok(err, "stat")
		if stat.Attributes.ContentType != "a/b" || stat.Attributes.User["u"] != "v" || stat.Tags["t"] != "1" || !stat.Modified.Equal(before.Modified) {
			s.Errorf("under %q the object is %+v", to, stat)
		}
		if got := s.keysOf(); !slices.Equal(got, []string{to}) {
			s.Fatalf("after the rename to %q there are %q", to, got)
		}
	}
	var old bytes.Buffer
	_, err = reader.WriteTo(&old)
	s.ok(err, "the reader of what was replaced")
	s.ok(reader.Close(), "close")
	if old.String() != "replaced" {
		s.Errorf("the reader of what was replaced has %q", old.String())
	}
	s.remove("a/b/c")
	s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of the empty bucket")
}

// renameErrors: what is refused, and that nothing changes by it.
func renameErrors(s *suite) {
	one, two := s.put("one", []byte("1")), s.put("two", []byte("2"))
	try := func(kind engine.Kind, from, to engine.Ref, o engine.RenameOptions) {
		s.Helper()
		_, err := s.Rename(s.ctx, from, to, o)
		s.fails(kind, err, "rename %+v to %+v, %+v", from, to, o)
		s.holds("one", []byte("1"))
		s.holds("two", []byte("2"))
	}
	ref := s.ref
	try(engine.KindNoSuchKey, ref("three"), ref("two"), engine.RenameOptions{})
	try(engine.KindNoSuchKey, ref("three"), ref("two"), engine.RenameOptions{Token: "t"})
	try(engine.KindInvalidArgument, ref("one"), ref("one"), engine.RenameOptions{})
	try(engine.KindInvalidArgument, ref("one"), engine.Ref{Bucket: s.newBucket(), Key: "one"}, engine.RenameOptions{})
	try(engine.KindInvalidArgument, s.version("one", engine.NullVersion), ref("two"), engine.RenameOptions{})
	try(engine.KindInvalidArgument, ref("one"), ref("two"), engine.RenameOptions{Token: strings.Repeat("t", engine.TokenBytesMax+1)})
	try(engine.KindKeyTooLong, ref("one"), ref(strings.Repeat("k", engine.KeyBytesMax+1)), engine.RenameOptions{})
	try(engine.KindPreconditionFailed, ref("one"), ref("two"), engine.RenameOptions{If: engine.Conditions{NoneMatchAny: true}})
	try(engine.KindPreconditionFailed, ref("one"), ref("two"), engine.RenameOptions{If: engine.Conditions{Match: []engine.ETag{one.ETag}}})
	try(engine.KindNoSuchKey, ref("one"), ref("three"), engine.RenameOptions{If: engine.Conditions{MatchAny: true}})
	try(engine.KindPreconditionFailed, ref("one"), ref("three"), engine.RenameOptions{From: engine.Conditions{Match: []engine.ETag{two.ETag}}})
	try(engine.KindPreconditionFailed, ref("one"), ref("three"), engine.RenameOptions{From: engine.Conditions{NoneMatch: []engine.ETag{one.ETag}}})
	try(engine.KindPreconditionFailed, ref("one"), ref("three"), engine.RenameOptions{From: engine.Conditions{ModifiedSince: time.Now().Add(time.Hour)}})
	missing := engine.Ref{Bucket: "no-such-bucket", Key: "k"}
	try(engine.KindNoSuchBucket, missing, engine.Ref{Bucket: "no-such-bucket", Key: "l"}, engine.RenameOptions{})
	s.renamed("one", "three", engine.RenameOptions{If: engine.Conditions{NoneMatchAny: true}, From: engine.Conditions{Match: []engine.ETag{one.ETag}}, Token: "token"})
	for range 2 { // what has succeeded succeeds again
		again := s.renamed("one", "three", engine.RenameOptions{If: engine.Conditions{NoneMatchAny: true}, Token: "token"})
		if again.ETag != one.ETag {
			s.Errorf("a repeated rename answers %+v", again)
		}
	}
	_, err := s.Rename(s.ctx, ref("one"), ref("three"), engine.RenameOptions{Token: "other"})
	s.fails(engine.KindNoSuchKey, err, "another rename of what is gone")
	_, err = s.Rename(s.ctx, ref("never"), ref("three"), engine.RenameOptions{Token: "token"})
	s.fails(engine.KindNoSuchKey, err, "a rename of another object with the token")
	s.put("one", []byte("new")) // since then; it is not what the repetition means
	if again := s.renamed("one", "three", engine.RenameOptions{Token: "token"}); again.ETag != one.ETag {
		s.Errorf("a repeated rename answers %+v", again)
	}
	s.holds("one", []byte("new"))
	s.holds("three", []byte("1"))
	s.setVersioning(engine.VersioningEnabled)
	_, err = s.Rename(s.ctx, ref("two"), ref("one"), engine.RenameOptions{})
	s.fails(engine.KindBucketState, err, "rename where versions are kept")
	s.holds("two", []byte("2"))
}

// renamePrefixes: a whole directory goes on under another name, at any depth, and back.
func renamePrefixes(s *suite) {
	below := []string{"", "a", "a/b", "a//b", "b/", "z/y/x"}
	bodies := map[string][]byte{}
	for i, name := range below {
		bodies[name] = content(uint64(i), 100*i)
		s.put("d/e/"+name, bodies[name])
	}
	s.put("d/f", []byte("beside"))
	s.put("d/e", []byte("an object, no directory"))
	prefixes := []string{"d/e/", "g/", "d/h/i/j/", "k//", "d/e/"}
	for i, to := range prefixes[1:] {
		info, err := s.RenamePrefix(s.ctx, s.bucket, prefixes[i], to)
		s.ok(err, "rename %q to %q", prefixes[i], to)
		if info != (engine.PrefixInfo{Objects: 6, Versions: 6, Bytes: 1500}) {
			s.Errorf("the rename to %q answers %+v", to, info)
		}
		want := []string{"d/f", "d/e"}
		for _, name := range below {
			want = append(want, to+name)
			s.holds(to+name, bodies[name])
		}
		slices.Sort(want)
		if got := s.keysOf(); !slices.Equal(got, want) {
			s.Fatalf("after the rename to %q there are %q, not %q", to, got, want)
		}
	}
	s.setVersioning(engine.VersioningEnabled)
	s.put("d/e/a", []byte("new"))
	s.remove("d/e/a/b")
	stack := s.stack("d/e/a")
	info, err := s.RenamePrefix(s.ctx, s.bucket, "d/e/", "v/")
	s.ok(err, "rename of versions")
	if info != (engine.PrefixInfo{Objects: 5, Versions: 8, Bytes: 1500 - 100 - 200 + 3}) {
		s.Errorf("the rename of versions answers %+v", info)
	}
	s.isStack("v/a", stack...)
	s.gives("v/a", engine.NullVersion, bodies["a"])
	s.gives("v/a/b", engine.NullVersion, bodies["a/b"])
	s.absent("v/a/b")
}

// renamePrefixErrors: what is refused, and that nothing changes by it.
func renamePrefixErrors(s *suite) {
	s.put("a/b/c", nil)
	s.put("d/e", nil)
	try := func(kind engine.Kind, from, to string) {
		s.Helper()
		_, err := s.RenamePrefix(s.ctx, s.bucket, from, to)
		s.fails(kind, err, "rename of the prefix %q to %q", from, to)
		if got := s.keysOf(); !slices.Equal(got, []string{"a/b/c", "d/e"}) {
			s.Errorf("there are %q", got)
		}
	}
	try(engine.KindNoSuchKey, "b/", "c/")
	try(engine.KindNoSuchKey, "a/b/c/", "c/")
	try(engine.KindConflict, "a/", "d/")
	try(engine.KindConflict, "a/b/", "a/")
	for _, wrong := range [][2]string{{"a", "c/"}, {"a/", "c"}, {"", "c/"}, {"a/", ""}, {"a/", "a/"}, {"a/", "a/x/"}} {
		try(engine.KindInvalidArgument, wrong[0], wrong[1])
	}
	try(engine.KindKeyTooLong, "a/", strings.Repeat("k", engine.KeyBytesMax)+"/")
	long := strings.Repeat("l", engine.KeyBytesMax-len("/b/c")+1)
	try(engine.KindKeyTooLong, "a/", long+"/")
	if _, err := s.RenamePrefix(s.ctx, s.bucket, "a/", long[:len(long)-1]+"/"); err != nil {
		s.Errorf("a rename to keys of %d bytes: %v", engine.KeyBytesMax, err)
	}
	s.holds(long[:len(long)-1]+"/b/c", nil)
	if _, err := s.RenamePrefix(s.ctx, s.bucket, long[:len(long)-1]+"/", "a/"); err != nil {
		s.Errorf("and back: %v", err)
	}
	_, err := s.RenamePrefix(s.ctx, "no-such-bucket", "a/", "b/")
	s.fails(engine.KindNoSuchBucket, err, "rename in no bucket")

	s.lockable()
	s.put("a/free", nil)
	held := s.putLocked("a/b/held", engine.Lock{Hold: true})
	s.remove("a/b/held")
	_, err = s.RenamePrefix(s.ctx, s.bucket, "a/", "c/")
	s.fails(engine.KindLocked, err, "rename of a prefix with a version under legal hold")
	s.holdsBack("a/b/held", held.Version, false)
	_, err = s.RenamePrefix(s.ctx, s.bucket, "a/", "c/")
	s.ok(err, "rename of a prefix without a lock beneath")
	s.gives("c/b/held", held.Version, []byte("locked"))
}
