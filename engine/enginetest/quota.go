package enginetest

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"

	"holdfast/engine"
)

// quota sets the quota of the case's bucket.
func (s *suite) quota(q engine.Quota) {
	s.Helper()
	s.ok(s.SetBucketQuota(s.ctx, s.bucket, q), "set the quota %+v", q)
	if got, err := s.BucketQuota(s.ctx, s.bucket); err != nil || got != q {
		s.Errorf("the quota is %+v, %v, not %+v", got, err, q)
	}
}

// full checks that a call answers that the quota is exhausted, and changed nothing.
func (s *suite) full(what string, f func() error) {
	s.Helper()
	before, keys := s.space(), s.keysOf()
	s.fails(engine.KindQuota, f(), "%s beyond the quota", what)
	if after := s.space(); after.Held != before.Held || after.VersionBytes != before.VersionBytes || !slices.Equal(s.keysOf(), keys) {
		s.Errorf("%s was refused; the bucket held %+v, and holds %+v now", what, before, after)
	}
}

func (s *suite) space() engine.SpaceInfo {
	s.Helper()
	info, err := s.Space(s.ctx, s.bucket)
	s.ok(err, "space")
	return info
}

// quotas: what would make the bucket hold more than its quota is refused whole, by whatever way it comes; what takes away or replaces by less is not.
func quotas(s *suite) {
	s.fails(engine.KindNoSuchBucket, s.SetBucketQuota(s.ctx, "no-such-bucket", engine.Quota{}), "quota of no bucket")
	_, err := s.BucketQuota(s.ctx, "no-such-bucket")
	s.fails(engine.KindNoSuchBucket, err, "quota of no bucket")
	if q, err := s.BucketQuota(s.ctx, s.bucket); err != nil || q != (engine.Quota{}) {
		s.Errorf("a new bucket has the quota %+v, %v", q, err)
	}
	big := content(1, 60_000)
	put := func(key string, b []byte) error {
		_, err := s.Put(s.ctx, s.ref(key), bytes.NewReader(b), engine.PutOptions{Size: int64(len(b))})
		return err
	}
	s.put("d/a", big)
	s.quota(engine.Quota{Bytes: 100_000})
	if space := s.space(); space.Total != 100_000 || space.Free != 40_000 || space.VersionBytes != 60_000 || space.Quota.Bytes != 100_000 {
		s.Errorf("with a quota the room is %+v", space)
	}
	s.put("d/a", content(2, 100_000)) // to the last byte
	s.put("d/a", big)
	s.full("a put", func() error { return put("d/b", content(3, 40_001)) })
	s.full("a put that replaces", func() error { return put("d/a", content(3, 100_001)) })
	s.full("a copy", func() error {
		_, err := s.Copy(s.ctx, s.ref("d/a"), s.ref("e/a"), engine.CopyOptions{})
		return err
	})
	s.full("an append", func() error {
		_, err := s.Append(s.ctx, s.ref("d/a"), bytes.NewReader(big), engine.AppendOptions{Offset: 60_000, Size: 60_000})
		return err
	})
	s.full("a link", func() error {
		_, err := s.LinkFile(s.ctx, s.node(s.look("d/a").Node), s.place("d/link"))
		return err
	})
	grow := func(size int64) func() error {
		return func() error {
			_, err := s.PatchFile(s.ctx, s.node(s.look("d/a").Node), engine.Patch{Size: &size})
			return err
		}
	}
	s.full("a patch that makes the file longer", grow(100_001))
	s.full("a symbolic link", func() error {
		s.put("d/rest", content(4, 39_999))
		_, err := s.MakeFile(s.ctx, s.place("d/to"), engine.MakeFileOptions{Type: engine.TypeSymlink, Target: "a target"})
		s.remove("d/rest")
		return err
	})
	u := s.start("u", engine.StartUploadOptions{})
	part := s.part("u", u.ID, 1, content(5, 40_001))
	s.full("a completion", func() error {
		_, err := s.CompleteUpload(s.ctx, s.ref("u"), u.ID, engine.CompleteUploadOptions{Parts: []engine.CompletePart{{Number: 1, ETag: part.ETag}}, Size: -1})
		return err
	})
	s.ok(grow(1000)(), "a patch that makes the file shorter")
	s.complete("u", u.ID, part)
	s.remove("u")
	_, err = s.RenamePrefix(s.ctx, s.bucket, "d/", "e/")
	s.ok(err, "a rename within the quota")
	s.quota(engine.Quota{Bytes: 500}) // less than there is
	s.full("a put", func() error { return put("e/b", []byte("x")) })
	s.put("e/a", content(6, 900)) // less than before
	s.put("empty", nil)
	if space := s.space(); space.Total != 900 || space.Free != 0 {
		s.Errorf("beyond the quota the room is %+v", space)
	}
	s.quota(engine.Quota{Objects: 3})
	s.put("third", big)
	s.full("a fourth object", func() error { return put("fourth", nil) })
	s.full("a directory", func() error {
		_, err := s.MakeFile(s.ctx, s.place("dir"), engine.MakeFileOptions{Type: engine.TypeDirectory})
		return err
	})
	s.put("third", nil)
	s.quota(engine.Quota{})
	s.put("fourth", big)
}

// quotaVersions: older versions count, markers do not, and deletes always go on.
func quotaVersions(s *suite) {
	s.setVersioning(engine.VersioningEnabled)
	s.quota(engine.Quota{Bytes: 1000, Objects: 1})
	first := s.put("k", content(1, 600))
	s.full("a second version", func() error {
		_, err := s.Put(s.ctx, s.ref("k"), bytes.NewReader(content(2, 401)), engine.PutOptions{Size: 401})
		return err
	})
	s.full("a patch that makes a version", func() error {
		_, err := s.PatchFile(s.ctx, s.node(s.look("k").Node), engine.Patch{Pieces: []engine.Piece{{Length: 1, Body: strings.NewReader("x")}}})
		return err
	})
	s.put("k", content(2, 400))
	s.full("a second object", func() error {
		_, err := s.Put(s.ctx, s.ref("l"), bytes.NewReader(nil), engine.PutOptions{})
		return err
	})
	s.remove("k")
	if space := s.space(); space.VersionBytes != 1000 || space.Held.Objects != 0 || space.Free != 0 {
		s.Errorf("beneath a marker the room is %+v", space)
	}
	s.put("l", nil)
	s.removes("k", first.Version, false, nil)
	if space := s.space(); space.VersionBytes != 400 || space.Free != 600 {
		s.Errorf("without the first version the room is %+v", space)
	}
	s.setVersioning(engine.VersioningSuspended)
	s.put("l", content(3, 600)) // the null version, which the next replaces
	s.put("l", content(4, 600))
	s.full("a null version that is longer", func() error {
		_, err := s.Put(s.ctx, s.ref("l"), bytes.NewReader(content(5, 601)), engine.PutOptions{Size: 601})
		return err
	})
}

// quotaRandom puts, appends, deletes and moves at random in buckets with a small quota: it is never exceeded, and what is held is what a listing finds.
func quotaRandom(s *suite) {
	rng := rand.New(rand.NewPCG(7, 7))
	refused := 0
	for round, versioning := range []engine.Versioning{engine.VersioningOff, engine.VersioningEnabled, engine.VersioningSuspended} {
		s.bucket = s.newBucket()
		if versioning != engine.VersioningOff {
			s.setVersioning(engine.VersioningEnabled)
		}
		q := engine.Quota{Bytes: 20_000, Objects: 12}
		s.quota(q)
		for i := range 150 {
			if i == 75 && versioning != engine.VersioningOff {
				s.setVersioning(versioning)
			}
			key, other := s.ref(randomPath(rng)), s.ref(randomPath(rng))
			var err error
			switch rng.IntN(8) {
			case 0, 1, 2:
				b := content(uint64(i), rng.IntN(4000))
				_, err = s.Put(s.ctx, key, bytes.NewReader(b), engine.PutOptions{Size: int64(len(b))})
			case 3:
				_, err = s.Copy(s.ctx, key, other, engine.CopyOptions{})
			case 4:
				if info, e := s.Stat(s.ctx, key, engine.StatOptions{}); e == nil {
					_, err = s.Append(s.ctx, key, bytes.NewReader(content(uint64(i), 500)), engine.AppendOptions{Offset: info.Size, Size: 500})
				}
			case 5:
				_, err = s.Delete(s.ctx, key, engine.DeleteOptions{})
			case 6:
				if page, e := s.ListVersions(s.ctx, s.bucket, engine.ListVersionsOptions{}); e == nil && len(page.Versions) > 0 {
					v := page.Versions[rng.IntN(len(page.Versions))]
					_, err = s.Delete(s.ctx, engine.Ref{Bucket: s.bucket, Key: v.Key, Version: v.Version}, engine.DeleteOptions{})
				}
			case 7:
				_, err = s.Rename(s.ctx, key, other, engine.RenameOptions{})
			}
			if engine.Is(err, engine.KindQuota) {
				refused++
			}
			page, err := s.ListVersions(s.ctx, s.bucket, engine.ListVersionsOptions{})
			s.ok(err, "list")
			var held engine.Quota
			for _, v := range page.Versions {
				held.Bytes += uint64(v.Size)
				if v.Latest && !v.Marker {
					held.Objects++
				}
			}
			space := s.space()
			if held.Bytes > q.Bytes || held.Objects > q.Objects || space.VersionBytes != held.Bytes || space.Held.Objects != held.Objects {
				s.Fatalf("round %d, step %d: the bucket holds %+v, says %+v, and has the quota %+v", round, i, held, space, q)
			}
		}
	}
	if refused < 10 {
		s.Errorf("the quota refused %d times: too few to tell", refused)
	}
}

func randomPath(rng *rand.Rand) string {
	return []string{"", "d/", "d/e/"}[rng.IntN(3)] + string(rune('a'+rng.IntN(8)))
}
