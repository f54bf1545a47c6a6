package enginetest

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

	"holdfast/engine"
)

// hasTags checks the tags of a version, or of the current one for "".
func (s *suite) hasTags(key string, v engine.VersionID, want engine.Tags) {
	s.Helper()
	info, err := s.Stat(s.ctx, s.version(key, v), engine.StatOptions{})
	s.ok(err, "stat")
	if !maps.Equal(info.Tags, want) {
		s.Errorf("version %q of %q has the tags %v; %v is right", v, key, info.Tags, want)
	}
}

// tags: they come with a write or later, belong to a version, and change nothing else of it.
func tags(s *suite) {
	one, two := engine.Tags{"a": "1", "": "empty name", "ключ": ""}, engine.Tags{"b": "2"}
	made, err := s.Put(s.ctx, s.ref("k"), strings.NewReader("x"), engine.PutOptions{Size: 1, Tags: one})
	s.ok(err, "put")
	if !maps.Equal(made.Tags, one) {
		s.Errorf("the put answers the tags %v", made.Tags)
	}
	s.hasTags("k", "", one)
	before, err := s.Stat(s.ctx, s.ref("k"), engine.StatOptions{})
	s.ok(err, "stat")
	for _, want := range []engine.Tags{two, {}, one, nil} {
		info, err := s.SetTags(s.ctx, s.ref("k"), want)
		s.ok(err, "set tags")
		if info.Version != before.Version || info.ETag != before.ETag || !info.Modified.Equal(before.Modified) {
			s.Errorf("set tags answers %+v; the version is %+v", info, before)
		}
		s.hasTags("k", "", want)
		after, err := s.Stat(s.ctx, s.ref("k"), engine.StatOptions{})
		s.ok(err, "stat")
		after.Tags = before.Tags
		s.same("the version after its tags were set", after, before)
	}
	s.put("k", []byte("y"))
	s.hasTags("k", "", nil)
	u := s.start("k", engine.StartUploadOptions{Tags: two})
	if !maps.Equal(u.Tags, two) {
		s.Errorf("the upload has the tags %v", u.Tags)
	}
	s.complete("k", u.ID, s.part("k", u.ID, 1, []byte("z")))
	s.hasTags("k", "", two)
	s.copied("k", "copy", engine.CopyOptions{})
	s.hasTags("copy", "", two)
	s.copied("k", "copy", engine.CopyOptions{Tags: &one})
	s.hasTags("copy", "", one)
	s.hasTags("k", "", two)
	s.copied("k", "copy", engine.CopyOptions{Tags: new(engine.Tags)})
	s.hasTags("copy", "", nil)
	page, err := s.List(s.ctx, s.bucket, engine.ListOptions{Attributes: true})
	s.ok(err, "list")
	if len(page.Objects) != 2 || !maps.Equal(page.Objects[1].Tags, two) || page.Objects[0].Tags != nil {
		s.Errorf("a listing has %+v", page.Objects)
	}
}

// tagsOfVersions: each version has its own.
func tagsOfVersions(s *suite) {
	s.setVersioning(engine.VersioningEnabled)
	var versions []engine.VersionID
	for i := range 3 {
		versions = append(versions, s.put("d/k", []byte(fmt.Sprint(i))).Version)
	}
	for i, v := range versions {
		info, err := s.SetTags(s.ctx, s.version("d/k", v), engine.Tags{"n": fmt.Sprint(i)})
		s.ok(err, "set tags of a version")
		if info.Version != v || info.Versioning != engine.VersioningEnabled {
			s.Errorf("set tags of version %s answers %+v", v, info)
		}
	}
	for i, v := range versions {
		s.hasTags("d/k", v, engine.Tags{"n": fmt.Sprint(i)})
	}
	s.hasTags("d/k", "", engine.Tags{"n": "2"})
	s.isStack("d/k", string(versions[2]), string(versions[1]), string(versions[0]))
	s.remove("d/k")
	_, err := s.SetTags(s.ctx, s.ref("d/k"), engine.Tags{"a": "b"})
	s.fails(engine.KindNoSuchKey, err, "tags of what was deleted")
	marker, _ := engine.MarkerOf(err)
	_, err = s.SetTags(s.ctx, s.version("d/k", marker), engine.Tags{"a": "b"})
	s.fails(engine.KindDeleteMarker, err, "tags of a delete marker")
	_, err = s.SetTags(s.ctx, s.version("d/k", engine.FormatVersion(1<<40)), nil)
	s.fails(engine.KindNoSuchVersion, err, "tags of no version")
}

func tagsErrors(s *suite) {
	tooMany := engine.Tags{"a": strings.Repeat("x", engine.TagsBytesMax)}
	_, err := s.Put(s.ctx, s.ref("k"), strings.NewReader("x"), engine.PutOptions{Size: 1, Tags: tooMany})
	s.fails(engine.KindInvalidArgument, err, "put with too many tags")
	_, err = s.StartUpload(s.ctx, s.ref("k"), engine.StartUploadOptions{Tags: tooMany})
	s.fails(engine.KindInvalidArgument, err, "upload with too many tags")
	_, err = s.SetTags(s.ctx, s.ref("k"), engine.Tags{"a": "b"})
	s.fails(engine.KindNoSuchKey, err, "tags of no object")
	_, err = s.SetTags(s.ctx, engine.Ref{Bucket: newName(), Key: "k"}, nil)
	s.fails(engine.KindNoSuchBucket, err, "tags in no bucket")
	_, err = s.SetTags(s.ctx, s.ref(""), nil)
	s.fails(engine.KindInvalidArgument, err, "tags of the empty key")
	s.put("k", []byte("x"))
	_, err = s.SetTags(s.ctx, s.ref("k"), tooMany)
	s.fails(engine.KindInvalidArgument, err, "too many tags")
	_, err = s.Copy(s.ctx, s.ref("k"), s.ref("l"), engine.CopyOptions{Tags: &tooMany})
	s.fails(engine.KindInvalidArgument, err, "copy with too many tags")
	s.hasTags("k", "", nil)
}

// documents: a bucket keeps them by name until they are replaced or removed, or it goes.
func documents(s *suite) {
	is := func(name string, want []byte) {
		s.Helper()
		value, err := s.Document(s.ctx, s.bucket, name)
		s.ok(err, "document")
		if !bytes.Equal(value, want) {
			s.Errorf("document %q is %s; %s is right", name, brief(value), brief(want))
		}
	}
	large := content(1, engine.DocumentBytesMax)
	is("one", nil)
	s.ok(s.SetDocument(s.ctx, s.bucket, "one", []byte("1")), "set document")
	s.ok(s.SetDocument(s.ctx, s.bucket, "on", large), "set document")
	is("one", []byte("1"))
	is("on", large)
	s.ok(s.SetDocument(s.ctx, s.bucket, "one", nil), "remove a document")
	s.ok(s.SetDocument(s.ctx, s.bucket, "never", nil), "remove a document that is not there")
	is("one", nil)
	is("on", large)
	s.fails(engine.KindEntityTooLarge, s.SetDocument(s.ctx, s.bucket, "on", append(large, 1)), "too large a document")
	s.fails(engine.KindInvalidArgument, s.SetDocument(s.ctx, s.bucket, "", []byte("1")), "a document without a name")
	s.fails(engine.KindNoSuchBucket, s.SetDocument(s.ctx, newName(), "one", []byte("1")), "a document of no bucket")
	_, err := s.Document(s.ctx, newName(), "one")
	s.fails(engine.KindNoSuchBucket, err, "a document of no bucket")
	is("on", large)
	s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete a bucket with a document")
	_, err = s.CreateBucket(s.ctx, s.bucket, engine.CreateBucketOptions{})
	s.ok(err, "create it again")
	is("on", nil)
}

// versionParts: a version that an upload made knows its parts, and so does a copy of it.
func versionParts(s *suite) {
	made := s.put("plain", []byte("x"))
	page, err := s.Parts(s.ctx, s.ref("plain"), engine.ListPartsOptions{})
	s.ok(err, "parts of a plain object")
	s.same("a plain object", page.Info, made)
	if len(page.Parts) > 0 || page.Truncated {
		s.Errorf("a plain object has the parts %+v", page)
	}
	u := s.start("k", engine.StartUploadOptions{ChecksumAlgorithm: "CRC32"})
	numbers := []int{1, 2, 5, 9}
	sizes := []int{int(engine.PartBytesMin), int(engine.PartBytesMin) + 7, int(engine.PartBytesMin), 3}
	var parts []engine.PartInfo
	var want []engine.VersionPart
	offset := int64(0)
	for i, number := range numbers {
		sum := engine.Checksum{Algorithm: "CRC32", Sum: []byte{1, 2, 3, byte(i)}}
		p, err := s.PutPart(s.ctx, s.ref("k"), u.ID, number, bytes.NewReader(content(uint64(i), sizes[i])),
			engine.PutPartOptions{Size: int64(sizes[i]), Checksum: func() engine.Checksum { return sum }})
		s.ok(err, "put part")
		parts = append(parts, p)
		want = append(want, engine.VersionPart{Number: number, Offset: offset, Size: int64(sizes[i]), Checksum: sum})
		offset += int64(sizes[i])
	}
	made = s.complete("k", u.ID, parts...)
	s.copied("k", "copy", engine.CopyOptions{})
	for _, key := range []string{"k", "copy"} {
		for _, o := range []engine.ListPartsOptions{{}, {Max: 1}, {After: 1, Max: 2}, {After: 2, Max: 2}, {After: 3}, {After: 8, Max: 5}, {After: 9}, {After: 10000}} {
			page, err := s.Parts(s.ctx, s.ref(key), o)
			s.ok(err, "parts %+v", o)
			left := want
			for len(left) > 0 && left[0].Number <= o.After {
				left = left[1:]
			}
			truncated := o.Max > 0 && len(left) > o.Max
			if truncated {
				left = left[:o.Max]
			}
			if fmt.Sprint(page.Parts) != fmt.Sprint(left) || page.Truncated != truncated || page.Info.Parts != 4 || page.Info.Size != made.Size {
				s.Errorf("parts of %s, %+v: %+v; %+v is right", key, o, page, left)
			}
		}
	}
	_, err = s.Parts(s.ctx, s.ref("absent"), engine.ListPartsOptions{})
	s.fails(engine.KindNoSuchKey, err, "parts of no object")
}
