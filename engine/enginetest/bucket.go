package enginetest

import (
	"slices"
	"strings"
	"sync"

	"holdfast/engine"
)

func buckets(s *suite) {
	name := newName()
	_, err := s.StatBucket(s.ctx, name)
	s.fails(engine.KindNoSuchBucket, err, "stat of a bucket that never was")
	s.fails(engine.KindNoSuchBucket, s.DeleteBucket(s.ctx, name, engine.DeleteBucketOptions{}), "delete of a bucket that never was")
	made, err := s.CreateBucket(s.ctx, name, engine.CreateBucketOptions{})
	s.ok(err, "create bucket")
	if made.Name != name || made.ID == 0 || made.Created.IsZero() {
		s.Errorf("create bucket answered %+v", made)
	}
	seen, err := s.StatBucket(s.ctx, name)
	s.ok(err, "stat bucket")
	if seen.Name != name || seen.ID != made.ID || !seen.Created.Equal(made.Created) {
		s.Errorf("stat bucket answered %+v; creation said %+v", seen, made)
	}
	_, err = s.CreateBucket(s.ctx, name, engine.CreateBucketOptions{})
	s.fails(engine.KindBucketExists, err, "a second creation")
	s.ok(s.DeleteBucket(s.ctx, name, engine.DeleteBucketOptions{}), "delete bucket")
	_, err = s.StatBucket(s.ctx, name)
	s.fails(engine.KindNoSuchBucket, err, "stat of a deleted bucket")
	s.fails(engine.KindNoSuchBucket, s.DeleteBucket(s.ctx, name, engine.DeleteBucketOptions{}), "a second deletion")
}

func bucketNames(s *suite) {
	for _, name := range []engine.BucketName{
		"", "ab", "Upper", "under_score", "-front", "back-", ".front", "a..b", "10.0.0.1", "a/b", "xn--bucket", "bucket-s3alias",
		engine.BucketName(strings.Repeat("a", 64)), "bück",
	} {
		_, err := s.CreateBucket(s.ctx, name, engine.CreateBucketOptions{})
		s.fails(engine.KindInvalidArgument, err, "create bucket %q", name)
		_, err = s.StatBucket(s.ctx, name)
		s.fails(engine.KindInvalidArgument, err, "stat bucket %q", name)
		s.fails(engine.KindInvalidArgument, s.DeleteBucket(s.ctx, name, engine.DeleteBucketOptions{}), "delete bucket %q", name)
		_, err = s.List(s.ctx, name, engine.ListOptions{})
		s.fails(engine.KindInvalidArgument, err, "list %q", name)
		_, err = s.Stat(s.ctx, engine.Ref{Bucket: name, Key: "k"}, engine.StatOptions{})
		s.fails(engine.KindInvalidArgument, err, "stat in bucket %q", name)
	}
}

func bucketNotEmpty(s *suite) {
	s.put("a/b", []byte("x"))
	_, err := s.StartUpload(s.ctx, s.ref("u"), engine.StartUploadOptions{})
	s.ok(err, "start upload")
	s.fails(engine.KindBucketNotEmpty, s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of a bucket with an object")
	s.holds("a/b", []byte("x"))
	s.remove("a/b")
	s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of a bucket with an upload in progress")
}

// bucketIdentity: a bucket's number is never used again, and nothing of a deleted bucket shows in one of the same name.
func bucketIdentity(s *suite) {
	before, err := s.StatBucket(s.ctx, s.bucket)
	s.ok(err, "stat bucket")
	s.put("k", []byte("x"))
	u, err := s.StartUpload(s.ctx, s.ref("u"), engine.StartUploadOptions{})
	s.ok(err, "start upload")
	s.remove("k")
	s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete bucket")
	after, err := s.CreateBucket(s.ctx, s.bucket, engine.CreateBucketOptions{})
	s.ok(err, "create bucket again")
	if before.ID == after.ID {
		s.Errorf("bucket number %d was used twice", before.ID)
	}
	s.absent("k")
	_, err = s.ListParts(s.ctx, s.ref("u"), u.ID, engine.ListPartsOptions{})
	s.fails(engine.KindNoSuchUpload, err, "list parts of an upload of the former bucket")
	page, err := s.ListUploads(s.ctx, s.bucket, engine.ListUploadsOptions{})
	s.ok(err, "list uploads")
	if len(page.Uploads) != 0 {
		s.Errorf("a new bucket has uploads: %+v", page.Uploads)
	}
	if info := s.put("k", nil); info.Sequence != 1 {
		s.Errorf("the first change of a new bucket has sequence %d", info.Sequence)
	}
}

func listBuckets(s *suite) {
	base := string(newName())[:20]
	var want []engine.BucketName
	for _, suffix := range []string{"d", "a", "c.x", "b-1", "b", "b.1", "e"} {
		name := engine.BucketName(base + suffix)
		_, err := s.CreateBucket(s.ctx, name, engine.CreateBucketOptions{})
		s.ok(err, "create bucket")
		want = append(want, name)
	}
	slices.Sort(want)
	for size := 1; size <= len(want)+1; size++ {
		var got []engine.BucketName
		after := engine.BucketName("")
		for {
			page, err := s.ListBuckets(s.ctx, engine.ListBucketsOptions{Prefix: base, After: after, Max: size})
			s.ok(err, "list buckets")
			for _, b := range page.Buckets {
				got = append(got, b.Name)
				seen, err := s.StatBucket(s.ctx, b.Name)
				s.ok(err, "stat bucket")
				if seen.ID != b.ID || !seen.Created.Equal(b.Created) {
					s.Errorf("the listing says %+v, stat says %+v", b, seen)
				}
			}
			if len(page.Buckets) > size || page.Truncated && len(page.Buckets) == 0 {
				s.Fatalf("a page of at most %d has %d buckets, truncated %v", size, len(page.Buckets), page.Truncated)
			}
			if !page.Truncated {
				break
			}
			after = page.Buckets[len(page.Buckets)-1].Name
		}
		if !slices.Equal(got, want) {
			s.Errorf("in pages of %d: %q; want %q", size, got, want)
		}
	}
	page, err := s.ListBuckets(s.ctx, engine.ListBucketsOptions{Prefix: base + "b", After: engine.BucketName(base + "b")})
	s.ok(err, "list buckets")
	if len(page.Buckets) != 2 || page.Truncated {
		s.Errorf("after %sb there are %+v", base, page)
	}
}

// noSuchBucket: every method about a bucket says that it is not there.
func noSuchBucket(s *suite) {
	s.bucket = newName()
	ref := s.ref("k")
	for name, call := range map[string]func() error{
		"put": func() error {
			_, err := s.Put(s.ctx, ref, strings.NewReader("x"), engine.PutOptions{Size: 1})
			return err
		},
		"open":   func() error { _, err := s.Open(s.ctx, ref, engine.OpenOptions{}); return err },
		"stat":   func() error { _, err := s.Stat(s.ctx, ref, engine.StatOptions{}); return err },
		"delete": func() error { _, err := s.Delete(s.ctx, ref, engine.DeleteOptions{}); return err },
		"list":   func() error { _, err := s.List(s.ctx, s.bucket, engine.ListOptions{}); return err },
		"start":  func() error { _, err := s.StartUpload(s.ctx, ref, engine.StartUploadOptions{}); return err },
		"uploads": func() error {
			_, err := s.ListUploads(s.ctx, s.bucket, engine.ListUploadsOptions{})
			return err
		},
		"parts": func() error { _, err := s.ListParts(s.ctx, ref, unknownUpload, engine.ListPartsOptions{}); return err },
		"part": func() error {
			_, err := s.PutPart(s.ctx, ref, unknownUpload, 1, strings.NewReader("x"), engine.PutPartOptions{Size: 1})
			return err
		},
		"abort": func() error { return s.AbortUpload(s.ctx, ref, unknownUpload) },
		"complete": func() error {
			_, err := s.CompleteUpload(s.ctx, ref, unknownUpload, engine.CompleteUploadOptions{Size: -1, Parts: []engine.CompletePart{{Number: 1, ETag: noTag}}})
			return err
		},
	} {
		s.fails(engine.KindNoSuchBucket, call(), "%s in a bucket that is not there", name)
	}
}

// unknownUpload has the shape of an id that an engine might give.
const unknownUpload engine.UploadID = "0123456789abcdef0123456789abcdef0123456789abcdef"

// each calls f for 0 to n-1 at once, and waits.
func each(n int, f func(i int)) {
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { f(i) })
	}
	running.Wait()
}
