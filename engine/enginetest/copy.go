package enginetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"holdfast/engine"
)

// copied makes a copy within the case's bucket.
func (s *suite) copied(from, to string, o engine.CopyOptions) engine.ObjectInfo {
	s.Helper()
	info, err := s.Copy(s.ctx, s.ref(from), s.ref(to), o)
	s.ok(err, "copy %q to %q", from, to)
	return info
}

// copies: the copy has the content, the ETag, and what else it was not told to have otherwise; it is a version of its own.
func copies(s *suite) {
	other := s.newBucket()
	for _, size := range []int{0, 1, engine.InlineBytesMax, engine.InlineBytesMax + 1, 3 << 20} {
		key, data := fmt.Sprint("source/", size), content(uint64(size), size)
		sum := engine.Checksum{Algorithm: "SHA256", Sum: bytes.Repeat([]byte{7}, 32)}
		source, err := s.Put(s.ctx, s.ref(key), bytes.NewReader(data), engine.PutOptions{
			Size: int64(size), Attributes: someAttributes, Checksum: func() engine.Checksum { return sum },
		})
		s.ok(err, "put")
		for _, to := range []engine.Ref{s.ref("copy/" + key), {Bucket: other, Key: engine.Key(key)}, s.ref(key)} {
			made, err := s.Copy(s.ctx, s.ref(key), to, engine.CopyOptions{})
			s.ok(err, "copy")
			got, info, err := fetch(s.ctx, s.Engine, to, engine.OpenOptions{})
			s.ok(err, "get the copy")
			if !bytes.Equal(got, data) || info.ETag != etag(data) || info.Checksum.Algorithm != "SHA256" || !bytes.Equal(info.Checksum.Sum, sum.Sum) {
				s.Errorf("the copy holds %s and is %+v", brief(got), info)
			}
			s.same("the copy", info, made)
			if to.Bucket == s.bucket && made.Sequence <= source.Sequence {
				s.Errorf("the copy has sequence %d, its source %d", made.Sequence, source.Sequence)
			}
		}
		fresh := engine.Attributes{ContentType: "text/new", User: map[string]string{"only": "this"}}
		s.copied(key, "replaced", engine.CopyOptions{Attributes: &fresh})
		if _, info := s.get("replaced"); info.Attributes.ContentType != "text/new" || len(info.Attributes.User) != 1 || info.Attributes.CacheControl != "" {
			s.Errorf("the copy with other attributes has %+v", info.Attributes)
		}
	}
}

// copyConditions: those of the source and those of what is replaced are judged each by itself, and nothing changes if one does not hold.
func copyConditions(s *suite) {
	data := []byte("source")
	source := s.put("source", data)
	old := s.put("target", []byte("old"))
	before, after := source.Modified.Add(-time.Second), source.Modified.Add(time.Second)
	failed := some(engine.KindPreconditionFailed)
	for _, c := range []struct {
		what string
		o    engine.CopyOptions
		to   string
		want *engine.Kind
	}{
		{"the source's ETag", engine.CopyOptions{From: engine.Conditions{Match: []engine.ETag{source.ETag}}}, "target", nil},
		{"another ETag of the source", engine.CopyOptions{From: engine.Conditions{Match: []engine.ETag{noTag}}}, "target", failed},
		{"none of the source's ETag", engine.CopyOptions{From: engine.Conditions{NoneMatch: []engine.ETag{source.ETag}}}, "target", failed},
		{"none of another ETag", engine.CopyOptions{From: engine.Conditions{NoneMatch: []engine.ETag{noTag}}}, "target", nil},
		{"modified since before", engine.CopyOptions{From: engine.Conditions{ModifiedSince: before}}, "target", nil},
		{"modified since after", engine.CopyOptions{From: engine.Conditions{ModifiedSince: after}}, "target", failed},
		{"unmodified since after", engine.CopyOptions{From: engine.Conditions{UnmodifiedSince: after}}, "target", nil},
		{"unmodified since before", engine.CopyOptions{From: engine.Conditions{UnmodifiedSince: before}}, "target", failed},
		{"no object there", engine.CopyOptions{If: engine.Conditions{NoneMatchAny: true}}, "fresh", nil},
		{"no object where one is", engine.CopyOptions{If: engine.Conditions{NoneMatchAny: true}}, "target", failed},
		{"the target's ETag", engine.CopyOptions{If: engine.Conditions{Match: []engine.ETag{old.ETag}}}, "target", nil},
		{"another ETag of the target", engine.CopyOptions{If: engine.Conditions{Match: []engine.ETag{noTag}}}, "target", failed},
		{"the ETag of no target", engine.CopyOptions{If: engine.Conditions{Match: []engine.ETag{noTag}}}, "nothing", some(engine.KindNoSuchKey)},
	} {
		s.put("target", []byte("old"))
		_, err := s.Copy(s.ctx, s.ref("source"), s.ref(c.to), c.o)
		s.answers(c.want, err, "copy, %s", c.what)
		switch {
		case c.want == nil:
			s.holds(c.to, data)
		case c.to == "target":
			s.holds("target", []byte("old"))
		default:
			s.absent(c.to)
		}
	}
}

func copyErrors(s *suite) {
	s.put("k", []byte("x"))
	nowhere := engine.Ref{Bucket: newName(), Key: "k"}
	for _, c := range []struct {
		what     string
		from, to engine.Ref
		o        engine.CopyOptions
		want     engine.Kind
	}{
		{"no source", s.ref("absent"), s.ref("to"), engine.CopyOptions{}, engine.KindNoSuchKey},
		{"no bucket of the source", nowhere, s.ref("to"), engine.CopyOptions{}, engine.KindNoSuchBucket},
		{"no bucket of the target", s.ref("k"), nowhere, engine.CopyOptions{}, engine.KindNoSuchBucket},
		{"no such version", engine.Ref{Bucket: s.bucket, Key: "k", Version: engine.FormatVersion(1 << 40)}, s.ref("to"), engine.CopyOptions{}, engine.KindNoSuchVersion},
		{"an empty key", s.ref("k"), s.ref(""), engine.CopyOptions{}, engine.KindInvalidArgument},
		{"an empty key of the source", s.ref(""), s.ref("to"), engine.CopyOptions{}, engine.KindInvalidArgument},
		{"a condition of reads on the target", s.ref("k"), s.ref("to"), engine.CopyOptions{If: engine.Conditions{ModifiedSince: time.Unix(1, 0)}}, engine.KindInvalidArgument},
		{"too much metadata", s.ref("k"), s.ref("to"), engine.CopyOptions{Attributes: &engine.Attributes{User: map[string]string{"a": string(make([]byte, engine.UserMetadataBytesMax))}}}, engine.KindInvalidArgument},
	} {
		_, err := s.Copy(s.ctx, c.from, c.to, c.o)
		s.fails(c.want, err, "copy, %s", c.what)
		if about := engine.RefOf(err); c.want != engine.KindInvalidArgument && about != c.from && about != c.to {
			s.Errorf("copy, %s: the error is about %+v: %v", c.what, about, err)
		}
		s.absent("to")
	}
}

// copyHashed: the caller sees every byte in order and says what checksum the copy keeps.
func copyHashed(s *suite) {
	data := content(5, 2<<20+5)
	s.put("k", data)
	h := sha256.New()
	made := s.copied("k", "to", engine.CopyOptions{Hash: h, Checksum: func() engine.Checksum { return engine.Checksum{Algorithm: "SHA256", Sum: h.Sum(nil)} }})
	want := sha256.Sum256(data)
	if _, info := s.get("to"); !bytes.Equal(info.Checksum.Sum, want[:]) || !bytes.Equal(made.Checksum.Sum, want[:]) {
		s.Errorf("the copy has the checksum %x and answered %x; want %x", info.Checksum.Sum, made.Checksum.Sum, want)
	}
	if _, info := s.get("k"); info.Checksum.Algorithm != "" {
		s.Errorf("the source has the checksum %+v", info.Checksum)
	}
}

// copyOutlivesSource: what is written to either afterwards leaves the other alone.
func copyOutlivesSource(s *suite) {
	data := content(6, 1<<20+1)
	s.put("k", data)
	for i := range 5 {
		s.copied("k", fmt.Sprint("to", i), engine.CopyOptions{})
	}
	s.copied("to4", "k", engine.CopyOptions{})
	s.put("k", []byte("other"))
	s.remove("to0")
	s.remove("k")
	for i := 1; i < 5; i++ {
		s.holds(fmt.Sprint("to", i), data)
	}
}

// copiedPart copies a range into a part.
func (s *suite) copiedPart(from, key string, id engine.UploadID, number int, r *engine.Range, want []byte) engine.PartInfo {
	s.Helper()
	info, err := s.CopyPart(s.ctx, s.ref(from), s.ref(key), id, number, engine.CopyPartOptions{Range: r})
	s.ok(err, "copy part %d of %q", number, key)
	if info.Number != number || info.Size != int64(len(want)) || info.ETag != etag(want) {
		s.Errorf("copy part %d of %d bytes answered %+v; its ETag should be %s", number, len(want), info, etag(want))
	}
	return info
}

// copyPart: parts that are copied and parts that are put make one object.
func copyPart(s *suite) {
	source, small := content(7, partMin+100_000), content(8, 700)
	s.put("source", source)
	s.put("small", small)
	u := s.start("k", engine.StartUploadOptions{})
	a := s.copiedPart("source", "k", u.ID, 1, &engine.Range{Start: 99_999, Length: int64(partMin)}, source[99_999:99_999+partMin])
	s.copiedPart("source", "k", u.ID, 2, &engine.Range{Start: 0, Length: 10}, source[:10]) // replaced
	b := s.copiedPart("source", "k", u.ID, 2, nil, source)
	h := sha256.New()
	c, err := s.CopyPart(s.ctx, s.ref("small"), s.ref("k"), u.ID, 3, engine.CopyPartOptions{
		Range: &engine.Range{Start: -1, Length: 600}, Hash: h, Checksum: func() engine.Checksum { return engine.Checksum{Algorithm: "SHA256", Sum: h.Sum(nil)} },
	})
	s.ok(err, "copy a small part")
	if want := sha256.Sum256(small[100:]); !bytes.Equal(c.Checksum.Sum, want[:]) {
		s.Errorf("the part has the checksum %x; want %x", c.Checksum.Sum, want)
	}
	s.remove("source")
	s.put("small", []byte("other"))
	s.complete("k", u.ID, a, b, c)
	s.assembled("k", source[99_999:99_999+partMin], source, small[100:])
}

func copyPartErrors(s *suite) {
	s.put("source", content(9, 1000))
	u := s.start("k", engine.StartUploadOptions{})
	source := s.ref("source")
	for _, c := range []struct {
		what   string
		from   engine.Ref
		id     engine.UploadID
		number int
		o      engine.CopyPartOptions
		want   engine.Kind
	}{
		{"no source", s.ref("absent"), u.ID, 1, engine.CopyPartOptions{}, engine.KindNoSuchKey},
		{"no upload", source, "AAAA", 1, engine.CopyPartOptions{}, engine.KindNoSuchUpload},
		{"part 0", source, u.ID, 0, engine.CopyPartOptions{}, engine.KindInvalidArgument},
		{"part 10001", source, u.ID, engine.PartNumberMax + 1, engine.CopyPartOptions{}, engine.KindInvalidArgument},
		{"beyond the end", source, u.ID, 1, engine.CopyPartOptions{Range: &engine.Range{Start: 1000, Length: 1}}, engine.KindInvalidRange},
		{"another ETag", source, u.ID, 1, engine.CopyPartOptions{From: engine.Conditions{Match: []engine.ETag{noTag}}}, engine.KindPreconditionFailed},
		{"modified since", source, u.ID, 1, engine.CopyPartOptions{From: engine.Conditions{ModifiedSince: time.Now().Add(time.Hour)}}, engine.KindPreconditionFailed},
	} {
		_, err := s.CopyPart(s.ctx, c.from, s.ref("k"), c.id, c.number, c.o)
		s.fails(c.want, err, "copy part, %s", c.what)
	}
	page, err := s.ListParts(s.ctx, s.ref("k"), u.ID, engine.ListPartsOptions{})
	if s.ok(err, "list parts"); len(page.Parts) != 0 {
		s.Errorf("after refusals the upload has %+v", page.Parts)
	}
}

// copyPartOfCopies: copies of parts of copies, in many generations and across the borders of parts.
func copyPartOfCopies(s *suite) {
	data := content(10, partMin+70_001)
	s.put("k", data)
	for generation := range 20 {
		u := s.start("k", engine.StartUploadOptions{})
		cut := partMin + generation*1000
		a := s.copiedPart("k", "k", u.ID, 1, &engine.Range{Start: 0, Length: int64(cut)}, data[:cut])
		b := s.copiedPart("k", "k", u.ID, 2, &engine.Range{Start: int64(cut), Length: -1}, data[cut:])
		s.complete("k", u.ID, a, b)
		s.assembled("k", data[:cut], data[cut:])
	}
	got, _, err := fetch(s.ctx, s.Engine, s.ref("k"), engine.OpenOptions{Range: &engine.Range{Start: int64(partMin) + 17_990, Length: 20}})
	s.ok(err, "a range across the border")
	if !slices.Equal(got, data[partMin+17_990:partMin+18_010]) {
		s.Errorf("the range holds %s", brief(got))
	}
}
