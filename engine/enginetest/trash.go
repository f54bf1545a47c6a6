package enginetest

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"holdfast/engine"
)

// removesPrefix removes a prefix and compares the answer.
func (s *suite) removesPrefix(prefix string, want engine.PrefixInfo) {
	s.Helper()
	info, err := s.RemovePrefix(s.ctx, s.bucket, prefix)
	s.ok(err, "remove %q", prefix)
	if info != want {
		s.Errorf("the removal of %q answers %+v; want %+v", prefix, info, want)
	}
}

// has compares the keys of the bucket.
func (s *suite) has(keys ...string) {
	s.Helper()
	if got := s.keysOf(); !slices.Equal(got, keys) {
		s.Errorf("there are %q; want %q", got, keys)
	}
}

// removePrefixes: a prefix goes whole, at any depth, what lies beside it stays, and it can be filled again at once.
func removePrefixes(s *suite) {
	fill := func(names ...string) {
		for i, name := range names {
			s.put(name, content(uint64(i), 10_000*i))
		}
	}
	fill("d/e/", "d/e/a", "d/e/a/b", "d/e//c", "d/e/f/g/h", "d/e", "d/e0", "d/f")
	s.removesPrefix("d/e/", engine.PrefixInfo{Objects: 5, Versions: 5, Bytes: 100_000})
	s.has("d/e", "d/e0", "d/f")
	for _, key := range []string{"d/e/", "d/e/a", "d/e/a/b", "d/e//c", "d/e/f/g/h"} {
		s.absent(key)
	}
	s.holds("d/e", content(5, 50_000))
	_, err := s.RemovePrefix(s.ctx, s.bucket, "d/e/")
	s.fails(engine.KindNoSuchKey, err, "a second removal")

	fill("d/e/a", "d/e/x")
	s.has("d/e", "d/e/a", "d/e/x", "d/e0", "d/f")
	s.holds("d/e/a", nil)
	s.removesPrefix("d/", engine.PrefixInfo{Objects: 5, Versions: 5, Bytes: 0 + 10_000 + 50_000 + 60_000 + 70_000})
	s.has()
	s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of the empty bucket")
}

// removePrefixVersions: versions and delete markers go too, and for good.
func removePrefixVersions(s *suite) {
	s.put("a/null", []byte("1"))
	s.setVersioning(engine.VersioningEnabled)
	s.put("a/null", []byte("22"))
	old := s.put("a/b/k", []byte("333"))
	s.put("a/b/k", []byte("4444"))
	s.remove("a/b/k")
	s.remove("a/marker/only")
	kept := s.put("b", []byte("kept"))
	s.removesPrefix("a/", engine.PrefixInfo{Objects: 1, Versions: 6, Bytes: 2})
	s.has("b")
	page, err := s.ListVersions(s.ctx, s.bucket, engine.ListVersionsOptions{})
	s.ok(err, "list versions")
	if len(page.Versions) != 1 || page.Versions[0].Version != kept.Version {
		s.Errorf("the versions are %+v", page.Versions)
	}
	_, err = s.Stat(s.ctx, s.version("a/b/k", old.Version), engine.StatOptions{})
	s.fails(engine.KindNoSuchVersion, err, "an older version of what was removed")
	s.put("a/null", []byte("anew"))
	s.holds("a/null", []byte("anew"))
	if got := s.stack("a/null"); len(got) != 1 {
		s.Errorf("a key that was removed and put has the versions %q", got)
	}
}

// removePrefixErrors: what is refused, and that nothing changes by it.
func removePrefixErrors(s *suite) {
	s.put("a/b/c", nil)
	s.put("d", nil)
	try := func(kind engine.Kind, prefix string) {
		s.Helper()
		_, err := s.RemovePrefix(s.ctx, s.bucket, prefix)
		s.fails(kind, err, "removal of the prefix %q", brief([]byte(prefix)))
		s.has("a/b/c", "d")
	}
	for _, prefix := range []string{"b/", "d/", "a/b/c/", "a/bc/", "/", "a//"} {
		try(engine.KindNoSuchKey, prefix)
	}
	for _, prefix := range []string{"", "a", "a/b", "\xff/"} {
		try(engine.KindInvalidArgument, prefix)
	}
	try(engine.KindKeyTooLong, strings.Repeat("k", engine.KeyBytesMax)+"/")
	_, err := s.RemovePrefix(s.ctx, "no-such-bucket", "a/")
	s.fails(engine.KindNoSuchBucket, err, "removal in no bucket")

	s.lockable()
	s.put("a/b/c", nil)
	s.put("d", nil)
	held := s.putLocked("a/b/held", engine.Lock{Hold: true})
	s.remove("a/b/held")
	for _, prefix := range []string{"a/", "a/b/"} {
		_, err = s.RemovePrefix(s.ctx, s.bucket, prefix)
		s.fails(engine.KindLocked, err, "removal of %q with a version under legal hold", prefix)
	}
	s.gives("a/b/held", held.Version, []byte("locked"))
	s.has("a/b/c", "d")
	s.holdsBack("a/b/held", held.Version, false)
	s.removesPrefix("a/", engine.PrefixInfo{Objects: 1, Versions: 3})
	s.has("d")
}

// removePrefixWhileRead: who opened an object before reads it to the end.
func removePrefixWhileRead(s *suite) {
	for _, size := range []int{100, engine.InlineBytesMax + 1, 5<<20 + 1} {
		data := content(1, size)
		s.put("a/b/k", data)
		o, err := s.Open(s.ctx, s.ref("a/b/k"), engine.OpenOptions{})
		s.ok(err, "open")
		head := make([]byte, size/2)
		_, err = io.ReadFull(o, head)
		s.ok(err, "read the head")
		s.removesPrefix("a/", engine.PrefixInfo{Objects: 1, Versions: 1, Bytes: uint64(size)})
		s.put("a/b/k", content(2, size))
		rest, err := io.ReadAll(o)
		if err != nil || !bytes.Equal(append(head, rest...), data) {
			s.Errorf("a reader of %d bytes whose object was removed got other bytes, or %v", size, err)
		}
		s.ok(o.Close(), "close")
		s.holds("a/b/k", content(2, size))
	}
}

// removePrefixUploads: an upload in progress stays, and completing it makes the prefix anew. A copy shares what is removed.
func removePrefixUploads(s *suite) {
	s.put("a/b/k", content(1, 20_000))
	s.copied("a/b/k", "copy", engine.CopyOptions{})
	u := s.start("a/b/k", engine.StartUploadOptions{})
	first := content(2, 30_000)
	part := s.part("a/b/k", u.ID, 1, first)
	s.removesPrefix("a/", engine.PrefixInfo{Objects: 1, Versions: 1, Bytes: 20_000})
	page, err := s.ListUploads(s.ctx, s.bucket, engine.ListUploadsOptions{Prefix: "a/"})
	s.ok(err, "list uploads")
	if len(page.Uploads) != 1 {
		s.Errorf("the uploads are %+v", page.Uploads)
	}
	s.complete("a/b/k", u.ID, part)
	s.assembled("a/b/k", first)
	s.holds("copy", content(1, 20_000))
	s.has("a/b/k", "copy")
}

// removePrefixMany: more than one piece of what is taken apart, in directories of several sizes, while others work on the same prefix.
func removePrefixMany(s *suite) {
	const objects = 1200
	fill := func(round int) {
		each(8, func(worker int) {
			for i := worker; i < objects; i += 8 {
				key := fmt.Sprintf("a/%d/%d/k%d", i%2, i%50, i)
				_, err := s.Put(s.ctx, s.ref(key), strings.NewReader(key), engine.PutOptions{Size: int64(len(key))})
				if err != nil {
					s.Errorf("put %q in round %d: %v", key, round, err)
				}
			}
		})
	}
	for round := range 3 {
		fill(round)
		s.put("b/c", []byte("stays"))
		info, err := s.RemovePrefix(s.ctx, s.bucket, "a/")
		s.ok(err, "removal")
		if info.Objects != objects || info.Versions != objects {
			s.Errorf("the removal answers %+v", info)
		}
		s.has("b/c")
	}
	s.holds("b/c", []byte("stays"))
}

// removeBucket: by force a bucket goes with all that it holds, and its name is free at once.
func removeBucket(s *suite) {
	force := engine.DeleteBucketOptions{Force: true}
	s.fails(engine.KindNoSuchBucket, s.DeleteBucket(s.ctx, newName(), force), "of a bucket that never was")
	s.fails(engine.KindInvalidArgument, s.DeleteBucket(s.ctx, "A", force), "of a malformed name")
	s.ok(s.DeleteBucket(s.ctx, s.newBucket(), force), "of an empty bucket")
	for range 2 {
		s.put("k", content(1, 100))
		s.put("a/b", content(2, 20_000))
		s.setVersioning(engine.VersioningEnabled)
		s.put("a/b", content(3, 10))
		s.remove("k")
		s.remove("m/n")
		s.ok(s.SetDocument(s.ctx, s.bucket, "tagging", []byte("x")), "document")
		u := s.start("a/u", engine.StartUploadOptions{})
		s.part("a/u", u.ID, 1, content(4, 10_000))
		o, err := s.Open(s.ctx, s.version("a/b", engine.NullVersion), engine.OpenOptions{})
		s.ok(err, "open")
		s.fails(engine.KindBucketNotEmpty, s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "without force")
		s.ok(s.DeleteBucket(s.ctx, s.bucket, force), "with force")
		_, err = s.StatBucket(s.ctx, s.bucket)
		s.fails(engine.KindNoSuchBucket, err, "stat of the bucket")
		s.fails(engine.KindNoSuchBucket, s.DeleteBucket(s.ctx, s.bucket, force), "a second deletion")
		_, err = s.Put(s.ctx, s.ref("k"), strings.NewReader(""), engine.PutOptions{})
		s.fails(engine.KindNoSuchBucket, err, "put")
		got, err := io.ReadAll(o)
		if err != nil || !bytes.Equal(got, content(2, 20_000)) {
			s.Errorf("an object that was open got other bytes, or %v", err)
		}
		s.ok(o.Close(), "close")

		_, err = s.CreateBucket(s.ctx, s.bucket, engine.CreateBucketOptions{})
		s.ok(err, "create the bucket again")
		s.has()
		s.gone("a/u", u.ID, "of the bucket that is gone")
		if document, err := s.Document(s.ctx, s.bucket, "tagging"); err != nil || document != nil {
			s.Errorf("the new bucket has the document %q, %v", document, err)
		}
		if v, err := s.BucketVersioning(s.ctx, s.bucket); err != nil || v != engine.VersioningOff {
			s.Errorf("the new bucket has versioning %d, %v", v, err)
		}
	}
}

// removeBucketLocked: force does not reach what a retention or a legal hold keeps, and the bucket goes on.
func removeBucketLocked(s *suite) {
	force := engine.DeleteBucketOptions{Force: true}
	s.lockable()
	held := s.putLocked("a/held", engine.Lock{Hold: true})
	s.remove("a/held")
	s.put("free", []byte("1"))
	s.fails(engine.KindLocked, s.DeleteBucket(s.ctx, s.bucket, force), "with a version under legal hold")
	s.has("free")
	s.gives("a/held", held.Version, []byte("locked"))
	s.put("free", []byte("2"))
	s.holds("free", []byte("2"))
	s.holdsBack("a/held", held.Version, false)
	s.ok(s.DeleteBucket(s.ctx, s.bucket, force), "once the hold is lifted")
	_, err := s.StatBucket(s.ctx, s.bucket)
	s.fails(engine.KindNoSuchBucket, err, "stat of the bucket")
}
