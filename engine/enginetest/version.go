package enginetest

import (
	"bytes"
	"fmt"
	"slices"

	"holdfast/engine"
)

// setVersioning changes the versioning of the case's bucket.
func (s *suite) setVersioning(v engine.Versioning) {
	s.Helper()
	s.ok(s.SetVersioning(s.ctx, s.bucket, v), "set versioning to %d", v)
	got, err := s.BucketVersioning(s.ctx, s.bucket)
	s.ok(err, "versioning")
	if got != v {
		s.Fatalf("versioning is %d after it was set to %d", got, v)
	}
}

// version is a reference to a version of a key.
func (s *suite) version(key string, v engine.VersionID) engine.Ref {
	return engine.Ref{Bucket: s.bucket, Key: engine.Key(key), Version: v}
}

// gives checks the content of a version, or of the current one for "".
func (s *suite) gives(key string, v engine.VersionID, want []byte) {
	s.Helper()
	got, info, err := fetch(s.ctx, s.Engine, s.version(key, v), engine.OpenOptions{})
	s.ok(err, "open version %q of %q", v, key)
	if !bytes.Equal(got, want) || info.Size != int64(len(want)) || info.ETag != etag(want) || v != "" && info.Version != v {
		s.Fatalf("version %q of %q holds %s, and is %+v; %s is right", v, key, brief(got), info, brief(want))
	}
}

// stack returns the versions of a key, the newest first, with an "m" before those of delete markers.
func (s *suite) stack(key string) (ids []string) {
	s.Helper()
	page, err := s.ListVersions(s.ctx, s.bucket, engine.ListVersionsOptions{Prefix: key})
	s.ok(err, "list versions")
	for _, v := range page.Versions {
		if string(v.Key) != key {
			continue
		}
		id := string(v.Version)
		if v.Marker {
			id = "m" + id
		}
		if v.Latest != (len(ids) == 0) {
			s.Errorf("version %s of %q says that it is the latest: %v", id, key, v.Latest)
		}
		ids = append(ids, id)
	}
	return ids
}

func (s *suite) isStack(key string, want ...string) {
	s.Helper()
	if got := s.stack(key); !slices.Equal(got, want) {
		s.Fatalf("the versions of %q are %q, not %q", key, got, want)
	}
}

// versioning: every write and every delete makes a version, and those before stay as they were.
func versioning(s *suite) {
	s.fails(engine.KindInvalidArgument, s.SetVersioning(s.ctx, s.bucket, engine.VersioningOff), "versioning off")
	s.fails(engine.KindNoSuchBucket, s.SetVersioning(s.ctx, "no-such-bucket", engine.VersioningEnabled), "versioning of no bucket")
	_, err := s.BucketVersioning(s.ctx, "no-such-bucket")
	s.fails(engine.KindNoSuchBucket, err, "versioning of no bucket")
	if v, err := s.BucketVersioning(s.ctx, s.bucket); err != nil || v != engine.VersioningOff {
		s.Errorf("a new bucket has versioning %d, %v", v, err)
	}
	keys := []string{"k", "a/b", "a//b", "dir/", "a/b/c"}
	for i, key := range keys {
		s.put(key, content(uint64(i), 10))
	}
	s.setVersioning(engine.VersioningEnabled)
	for i, key := range keys {
		bodies := [][]byte{content(uint64(i), 10), content(uint64(i)+10, 70_000), content(uint64(i)+20, 9000)}
		one := s.put(key, bodies[1])
		two := s.put(key, bodies[2])
		if one.Version == two.Version || one.Version == engine.NullVersion || one.Versioning != engine.VersioningEnabled {
			s.Fatalf("versions %+v and %+v", one, two)
		}
		deleted, err := s.Delete(s.ctx, s.ref(key), engine.DeleteOptions{})
		s.ok(err, "delete")
		if !deleted.Marker || !deleted.Existed || deleted.Version == "" {
			s.Errorf("a delete answers %+v", deleted)
		}
		s.isStack(key, "m"+string(deleted.Version), string(two.Version), string(one.Version), "null")
		s.absent(key)
		_, err = s.Stat(s.ctx, s.ref(key), engine.StatOptions{})
		if marker, marked := engine.MarkerOf(err); marker != deleted.Version || marked.IsZero() {
			s.Errorf("the error of a stat names marker %q of %v, not %q: %v", marker, marked, deleted.Version, err)
		}
		_, err = s.Open(s.ctx, s.version(key, deleted.Version), engine.OpenOptions{})
		s.fails(engine.KindDeleteMarker, err, "open of a delete marker")
		s.gives(key, "null", bodies[0])
		s.gives(key, one.Version, bodies[1])
		s.gives(key, two.Version, bodies[2])
		again := s.put(key, bodies[0])
		s.gives(key, "", bodies[0])
		s.isStack(key, string(again.Version), "m"+string(deleted.Version), string(two.Version), string(one.Version), "null")
	}
	s.fails(engine.KindBucketNotEmpty, s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of a bucket with versions")
	deleted, err := s.Delete(s.ctx, s.ref("never/was"), engine.DeleteOptions{})
	s.ok(err, "delete of an absent key")
	if !deleted.Marker || deleted.Existed {
		s.Errorf("a delete of an absent key answers %+v", deleted)
	}
	s.isStack("never/was", "m"+string(deleted.Version))
}

// versioningSuspended: a write replaces the null version, wherever that is, and no other.
func versioningSuspended(s *suite) {
	s.put("k", []byte("null"))
	s.setVersioning(engine.VersioningEnabled)
	one := s.put("k", []byte("one"))
	s.setVersioning(engine.VersioningSuspended)
	info := s.put("k", []byte("second null"))
	if info.Version != engine.NullVersion || info.Versioning != engine.VersioningSuspended {
		s.Errorf("a write while versioning is suspended made %+v", info)
	}
	s.isStack("k", "null", string(one.Version))
	s.gives("k", "null", []byte("second null"))
	s.put("k", []byte("third null"))
	s.isStack("k", "null", string(one.Version))
	deleted, err := s.Delete(s.ctx, s.ref("k"), engine.DeleteOptions{})
	s.ok(err, "delete")
	if deleted.Version != engine.NullVersion || !deleted.Marker {
		s.Errorf("a delete while versioning is suspended answers %+v", deleted)
	}
	s.isStack("k", "mnull", string(one.Version))
	s.setVersioning(engine.VersioningEnabled)
	two := s.put("k", []byte("two"))
	s.isStack("k", string(two.Version), "mnull", string(one.Version))
	s.setVersioning(engine.VersioningSuspended)
	s.put("k", []byte("fourth null"))
	s.isStack("k", "null", string(two.Version), string(one.Version))
	s.gives("k", "", []byte("fourth null"))
}

// versionsDeleted: a version that is named goes for good, and the newest of those that are left is current.
func versionsDeleted(s *suite) {
	s.setVersioning(engine.VersioningEnabled)
	var ids []string
	for i := range 5 {
		ids = append([]string{string(s.put("d/k", content(uint64(i), 9000)).Version)}, ids...)
	}
	remove := func(id string, marker bool) {
		s.Helper()
		r, err := s.Delete(s.ctx, s.version("d/k", engine.VersionID(id)), engine.DeleteOptions{})
		s.ok(err, "delete of version %s", id)
		if r.Version != engine.VersionID(id) || r.Marker != marker || !r.Existed {
			s.Errorf("the delete of version %s answers %+v", id, r)
		}
	}
	remove(ids[2], false)
	s.isStack("d/k", ids[0], ids[1], ids[3], ids[4])
	remove(ids[0], false)
	s.isStack("d/k", ids[1], ids[3], ids[4])
	s.gives("d/k", "", content(3, 9000))
	marker, err := s.Delete(s.ctx, s.ref("d/k"), engine.DeleteOptions{})
	s.ok(err, "delete")
	s.absent("d/k")
	if page, err := s.List(s.ctx, s.bucket, engine.ListOptions{Delimiter: "/"}); err != nil || len(page.Objects)+len(page.Prefixes) != 0 {
		s.Errorf("a directory without objects is listed: %+v, %v", page, err)
	}
	remove(string(marker.Version), true)
	s.gives("d/k", "", content(3, 9000))
	for range 2 { // the second time it is not there
		r, err := s.Delete(s.ctx, s.version("d/k", engine.FormatVersion(1<<40)), engine.DeleteOptions{})
		s.ok(err, "delete of an absent version")
		if r.Existed || r.Marker {
			s.Errorf("the delete of an absent version answers %+v", r)
		}
	}
	for _, id := range []string{ids[4], ids[1], ids[3]} {
		remove(id, false)
	}
	s.isStack("d/k")
	s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of the empty bucket")
}

// versionsConditions: those of a write are judged on the current version, which a delete marker is not; those of a delete on the one that it names.
func versionsConditions(s *suite) {
	s.setVersioning(engine.VersioningEnabled)
	one := s.put("k", []byte("one"))
	two := s.put("k", []byte("two"))
	_, err := s.Delete(s.ctx, s.version("k", one.Version), engine.DeleteOptions{If: engine.Conditions{Match: []engine.ETag{two.ETag}}})
	s.fails(engine.KindPreconditionFailed, err, "delete of a version with the ETag of another")
	_, err = s.Stat(s.ctx, s.version("k", one.Version), engine.StatOptions{If: engine.Conditions{Match: []engine.ETag{one.ETag}}})
	s.ok(err, "stat of a version with its ETag")
	_, err = s.Delete(s.ctx, s.ref("k"), engine.DeleteOptions{If: engine.Conditions{Match: []engine.ETag{two.ETag}}})
	s.ok(err, "delete of the current version")
	_, err = s.Delete(s.ctx, s.ref("k"), engine.DeleteOptions{If: engine.Conditions{MatchAny: true}})
	s.fails(engine.KindNoSuchKey, err, "delete of what is deleted, if it is there")
	_, err = s.Put(s.ctx, s.ref("k"), bytes.NewReader([]byte("three")), engine.PutOptions{Size: 5, If: engine.Conditions{NoneMatchAny: true}})
	s.ok(err, "put where a delete marker is")
	_, err = s.Put(s.ctx, s.version("k", one.Version), bytes.NewReader([]byte("x")), engine.PutOptions{Size: 1})
	s.fails(engine.KindInvalidArgument, err, "put that names a version")
}

// versionsCopied: a copy is of the version that is named, and outlives it.
func versionsCopied(s *suite) {
	s.setVersioning(engine.VersioningEnabled)
	old, current := content(1, 70_000), content(2, 9000)
	one := s.put("k", old)
	s.put("k", current)
	copied, err := s.Copy(s.ctx, s.version("k", one.Version), s.ref("k"), engine.CopyOptions{})
	s.ok(err, "copy of an older version")
	s.gives("k", copied.Version, old)
	_, err = s.Delete(s.ctx, s.version("k", one.Version), engine.DeleteOptions{})
	s.ok(err, "delete")
	s.gives("k", "", old)
	_, err = s.Copy(s.ctx, s.version("k", one.Version), s.ref("x"), engine.CopyOptions{})
	s.fails(engine.KindNoSuchVersion, err, "copy of a version that is gone")
	marker, err := s.Delete(s.ctx, s.ref("k"), engine.DeleteOptions{})
	s.ok(err, "delete")
	_, err = s.Copy(s.ctx, s.ref("k"), s.ref("x"), engine.CopyOptions{})
	s.fails(engine.KindNoSuchKey, err, "copy of what is deleted")
	_, err = s.Copy(s.ctx, s.version("k", marker.Version), s.ref("x"), engine.CopyOptions{})
	s.fails(engine.KindDeleteMarker, err, "copy of a delete marker")
	s.absent("x")
}

// listVersions: pages of any length give each version once and in order.
func listVersions(s *suite) {
	s.setVersioning(engine.VersioningEnabled)
	for i, key := range []string{"a", "a/", "a/b", "a/b/c", "b\x00", "b\x00c", "c"} {
		for range 1 + i%4 {
			s.put(key, []byte(key))
		}
		if i%2 == 0 {
			_, err := s.Delete(s.ctx, s.ref(key), engine.DeleteOptions{})
			s.ok(err, "delete")
		}
	}
	for _, o := range []engine.ListVersionsOptions{{}, {Delimiter: "/"}, {Prefix: "a/"}, {Prefix: "a/", Delimiter: "/"}, {Prefix: "b\x00"}, {Delimiter: "b"}} {
		var whole []string
		for _, length := range []int{1000, 1, 2, 3, 5} {
			o := o
			o.Max = length
			var all []string
			for more := true; more; {
				page, err := s.ListVersions(s.ctx, s.bucket, o)
				s.ok(err, "list versions")
				if n := len(page.Versions) + len(page.Prefixes); n > length || n == 0 {
					s.Fatalf("a page of %d has %d items", length, n)
				}
				var items []string
				for _, v := range page.Versions {
					items = append(items, fmt.Sprintf("%s\x00\x00%016x %v %v", v.Key, ^uint64(v.Sequence), v.Marker, v.Latest))
				}
				items = append(items, page.Prefixes...)
				slices.Sort(items)
				all = append(all, items...)
				o.AfterKey, o.AfterVersion, more = page.LastKey, page.LastVersion, page.Truncated
			}
			if whole == nil {
				whole = all
			}
			if !slices.Equal(all, whole) {
				s.Fatalf("%+v: pages of %d give\n%q, one page\n%q", o, length, all, whole)
			}
		}
	}
}

// versionsPurged: who deletes what a page lists, and goes on behind it, misses nothing.
func versionsPurged(s *suite) {
	own := s.bucket
	for _, length := range []int{1, 2, 3, 7} {
		s.bucket = s.newBucket()
		s.setVersioning(engine.VersioningEnabled)
		for i := range 4 {
			key := fmt.Sprint("d/k", i)
			for j := range 3 {
				if j == i { // the null version is the oldest, in the middle, the newest, or there is none
					s.setVersioning(engine.VersioningSuspended)
				}
				s.put(key, content(uint64(j), 10))
				s.setVersioning(engine.VersioningEnabled)
			}
		}
		o := engine.ListVersionsOptions{Max: length}
		for more := true; more; {
			page, err := s.ListVersions(s.ctx, s.bucket, o)
			s.ok(err, "list versions")
			for _, v := range page.Versions {
				_, err := s.Delete(s.ctx, s.version(string(v.Key), v.Version), engine.DeleteOptions{})
				s.ok(err, "delete of a version")
			}
			o.AfterKey, o.AfterVersion, more = page.LastKey, page.LastVersion, page.Truncated
		}
		s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of a bucket whose versions were deleted in pages of %d", length)
	}
	s.bucket = own
}
