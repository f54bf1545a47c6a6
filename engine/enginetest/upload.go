package enginetest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"holdfast/engine"
)

// start begins an upload.
func (s *suite) start(key string, o engine.StartUploadOptions) engine.UploadInfo {
	s.Helper()
	info, err := s.StartUpload(s.ctx, s.ref(key), o)
	s.ok(err, "start upload of %q", key)
	return info
}

// part stores one part.
func (s *suite) part(key string, id engine.UploadID, number int, data []byte) engine.PartInfo {
	s.Helper()
	info, err := s.PutPart(s.ctx, s.ref(key), id, number, bytes.NewReader(data), engine.PutPartOptions{Size: int64(len(data))})
	s.ok(err, "put part %d of %q", number, key)
	if info.Number != number || info.Size != int64(len(data)) || info.ETag != etag(data) {
		s.Errorf("put part %d of %d bytes answered %+v", number, len(data), info)
	}
	return info
}

// named makes the list of a completion.
func named(parts ...engine.PartInfo) []engine.CompletePart {
	list := make([]engine.CompletePart, len(parts))
	for i, p := range parts {
		list[i] = engine.CompletePart{Number: p.Number, ETag: p.ETag}
	}
	return list
}

// complete makes an object of parts.
func (s *suite) complete(key string, id engine.UploadID, parts ...engine.PartInfo) engine.ObjectInfo {
	s.Helper()
	info, err := s.CompleteUpload(s.ctx, s.ref(key), id, engine.CompleteUploadOptions{Parts: named(parts...), Size: -1})
	s.ok(err, "complete upload of %q", key)
	return info
}

// multipartTag is the ETag of an object of parts.
func multipartTag(parts ...[]byte) engine.ETag {
	var sums []byte
	for _, p := range parts {
		sum := md5.Sum(p)
		sums = append(sums, sum[:]...)
	}
	sum := md5.Sum(sums)
	return engine.ETag(fmt.Sprintf("%s-%d", hex.EncodeToString(sum[:]), len(parts)))
}

// assembled checks an object of parts.
func (s *suite) assembled(key string, parts ...[]byte) {
	s.Helper()
	got, info := s.get(key)
	want := bytes.Join(parts, nil)
	if !bytes.Equal(got, want) || info.ETag != multipartTag(parts...) || info.Size != int64(len(want)) || info.Parts != len(parts) {
		s.Errorf("%q holds %s and says size %d, %d parts, ETag %s; want %s, %d parts, ETag %s", key, brief(got), info.Size, info.Parts, info.ETag, brief(want), len(parts), multipartTag(parts...))
	}
}

// gone: no method knows the upload.
func (s *suite) gone(key string, id engine.UploadID, why string) {
	s.Helper()
	ref := s.ref(key)
	_, err := s.PutPart(s.ctx, ref, id, 1, strings.NewReader("x"), engine.PutPartOptions{Size: 1})
	s.fails(engine.KindNoSuchUpload, err, "put part, %s", why)
	_, err = s.ListParts(s.ctx, ref, id, engine.ListPartsOptions{})
	s.fails(engine.KindNoSuchUpload, err, "list parts, %s", why)
	_, err = s.CompleteUpload(s.ctx, ref, id, engine.CompleteUploadOptions{Parts: []engine.CompletePart{{Number: 1, ETag: noTag}}, Size: -1})
	s.fails(engine.KindNoSuchUpload, err, "complete, %s", why)
	s.fails(engine.KindNoSuchUpload, s.AbortUpload(s.ctx, ref, id), "abort, %s", why)
}

const partMin = int(engine.PartBytesMin)

// upload walks through a whole upload: the key changes only when it is completed, and then to the upload's attributes.
func upload(s *suite) {
	s.put("k", []byte("old"))
	u := s.start("k", engine.StartUploadOptions{Attributes: someAttributes})
	if u.ID == "" || u.Key != "k" || u.Started.IsZero() || u.Class != engine.ClassStandard {
		s.Errorf("start upload answered %+v", u)
	}
	first, second := content(1, partMin), content(2, 1000)
	b := s.part("k", u.ID, 20, second)
	a := s.part("k", u.ID, 3, first)
	s.holds("k", []byte("old"))
	made := s.complete("k", u.ID, a, b)
	s.assembled("k", first, second)
	seen, err := s.Stat(s.ctx, s.ref("k"), engine.StatOptions{})
	s.ok(err, "stat")
	s.same("stat", seen, made)
	made.Attributes = someAttributes
	s.same("the upload's attributes", seen, made)
	s.gone("k", u.ID, "completed")
	for _, pair := range [][2]int64{{int64(partMin) - 1, 2}, {int64(partMin), -1}, {0, 1}, {-1, 1001}} {
		s.readsRange("k", slices.Concat(first, second), engine.Range{Start: pair[0], Length: pair[1]})
	}
	s.put("k", []byte("new"))
	s.holds("k", []byte("new"))
}

// uploadParts: replaced parts, parts that are not named, an empty last part, one small part.
func uploadParts(s *suite) {
	u := s.start("k", engine.StartUploadOptions{})
	s.part("k", u.ID, 1, content(1, partMin+1))
	replaced := content(2, partMin)
	a := s.part("k", u.ID, 1, replaced)
	s.part("k", u.ID, 2, content(3, 100))
	c := s.part("k", u.ID, 3, nil)
	s.complete("k", u.ID, a, c)
	s.assembled("k", replaced, nil)
	u = s.start("one", engine.StartUploadOptions{})
	s.complete("one", u.ID, s.part("one", u.ID, engine.PartNumberMax, []byte("x")))
	s.assembled("one", []byte("x"))
	u = s.start("empty", engine.StartUploadOptions{})
	s.complete("empty", u.ID, s.part("empty", u.ID, 1, nil))
	s.assembled("empty", nil)
}

// uploadErrors: a completion that is refused changes nothing, and the upload can be completed after it.
func uploadErrors(s *suite) {
	u := s.start("k", engine.StartUploadOptions{})
	one, two, three := content(1, partMin), content(2, partMin-1), content(3, 10)
	a, b, c := s.part("k", u.ID, 1, one), s.part("k", u.ID, 2, two), s.part("k", u.ID, 3, three)
	never := engine.PartInfo{Number: 4, ETag: a.ETag}
	other := engine.PartInfo{Number: 1, ETag: noTag}
	for _, x := range []struct {
		name  string
		parts []engine.PartInfo
		size  int64
		kind  engine.Kind
	}{
		{"no parts", nil, -1, engine.KindInvalidArgument},
		{"descending", []engine.PartInfo{c, a}, -1, engine.KindInvalidPartOrder},
		{"twice the same", []engine.PartInfo{a, a}, -1, engine.KindInvalidPartOrder},
		{"a part that never was", []engine.PartInfo{a, never}, -1, engine.KindInvalidPart},
		{"another ETag", []engine.PartInfo{other, c}, -1, engine.KindInvalidPart},
		{"a small part in the middle", []engine.PartInfo{a, b, c}, -1, engine.KindPartTooSmall},
		{"a small part at first", []engine.PartInfo{b, c}, -1, engine.KindPartTooSmall},
	} {
		_, err := s.CompleteUpload(s.ctx, s.ref("k"), u.ID, engine.CompleteUploadOptions{Parts: named(x.parts...), Size: x.size})
		s.fails(x.kind, err, "complete with %s", x.name)
		s.absent("k")
	}
	_, err := s.CompleteUpload(s.ctx, s.ref("k"), u.ID, engine.CompleteUploadOptions{Parts: named(a, b), Size: 7})
	if !engine.Is(err, engine.KindInvalidArgument) && !engine.Is(err, engine.KindBadDigest) {
		s.Errorf("complete with another size: %v", err)
	}
	s.absent("k")
	page, err := s.ListParts(s.ctx, s.ref("k"), u.ID, engine.ListPartsOptions{})
	s.ok(err, "list parts after refused completions")
	if len(page.Parts) != 3 {
		s.Errorf("refused completions left %+v", page.Parts)
	}
	_, err = s.CompleteUpload(s.ctx, s.ref("k"), u.ID, engine.CompleteUploadOptions{Parts: named(a, b), Size: int64(len(one) + len(two))})
	s.ok(err, "complete with the right size")
	s.assembled("k", one, two)
}

// uploadPartErrors: a part that fails leaves the one before it.
func uploadPartErrors(s *suite) {
	u := s.start("k", engine.StartUploadOptions{})
	ref := s.ref("k")
	for _, number := range []int{-1, 0, engine.PartNumberMax + 1} {
		_, err := s.PutPart(s.ctx, ref, u.ID, number, strings.NewReader("x"), engine.PutPartOptions{Size: 1})
		s.fails(engine.KindInvalidArgument, err, "part number %d", number)
	}
	kept := s.part("k", u.ID, 1, []byte("kept"))
	for _, size := range bodySizes {
		for _, b := range brokenBodies {
			announced := int64(size) * max(b.size, 0)
			if b.size < 0 {
				announced = -1
			}
			_, err := s.PutPart(s.ctx, ref, u.ID, 1, b.body(size), engine.PutPartOptions{Size: announced})
			s.broke(b.kind, b.err, err, "part of %d bytes, %s", size, b.name)
		}
		data := content(3, size)
		wrong := md5.Sum(data[1:])
		_, err := s.PutPart(s.ctx, ref, u.ID, 1, bytes.NewReader(data), engine.PutPartOptions{Size: int64(size), MD5: wrong[:]})
		s.fails(engine.KindBadDigest, err, "part of %d bytes with a wrong MD5", size)
	}
	page, err := s.ListParts(s.ctx, ref, u.ID, engine.ListPartsOptions{})
	s.ok(err, "list parts")
	if len(page.Parts) != 1 || page.Parts[0].ETag != kept.ETag {
		s.Errorf("failed parts left %+v", page.Parts)
	}
	s.complete("k", u.ID, kept)
	s.assembled("k", []byte("kept"))
}

// uploadRepeated: a completion may be repeated as long as its version is current.
func uploadRepeated(s *suite) {
	u := s.start("k", engine.StartUploadOptions{})
	p := s.part("k", u.ID, 1, []byte("x"))
	made := s.complete("k", u.ID, p)
	again := s.complete("k", u.ID, p)
	s.same("the repetition", again, made)
	own := s.bucket
	s.bucket = s.newBucket()
	s.setVersioning(engine.VersioningEnabled)
	versioned := s.start("k", engine.StartUploadOptions{})
	part := s.part("k", versioned.ID, 1, []byte("x"))
	s.same("the repetition in a bucket with versions", s.complete("k", versioned.ID, part), s.complete("k", versioned.ID, part))
	s.bucket = own
	_, err := s.CompleteUpload(s.ctx, s.ref("k"), u.ID, engine.CompleteUploadOptions{Parts: []engine.CompletePart{{Number: 1, ETag: noTag}}, Size: -1})
	s.fails(engine.KindNoSuchUpload, err, "a repetition with other parts")
	_, err = s.CompleteUpload(s.ctx, s.ref("l"), u.ID, engine.CompleteUploadOptions{Parts: named(p), Size: -1})
	s.fails(engine.KindNoSuchUpload, err, "a repetition for another key")
	s.put("k", []byte("y"))
	_, err = s.CompleteUpload(s.ctx, s.ref("k"), u.ID, engine.CompleteUploadOptions{Parts: named(p), Size: -1})
	s.fails(engine.KindNoSuchUpload, err, "a repetition after an overwrite")
	s.holds("k", []byte("y"))
	u = s.start("race", engine.StartUploadOptions{})
	p = s.part("race", u.ID, 1, content(1, 20_000))
	infos := make([]engine.ObjectInfo, 8)
	each(len(infos), func(i int) {
		var err error
		if infos[i], err = s.CompleteUpload(s.ctx, s.ref("race"), u.ID, engine.CompleteUploadOptions{Parts: named(p), Size: -1}); err != nil {
			s.Errorf("one of many completions at once: %v", err)
		}
	})
	for _, info := range infos {
		if info.Sequence != infos[0].Sequence || info.ETag != infos[0].ETag {
			s.Errorf("completions at once made %+v and %+v", infos[0], info)
		}
	}
}

func uploadAborted(s *suite) {
	for _, id := range []engine.UploadID{unknownUpload, "", "x", "../../k", engine.UploadID(strings.Repeat("0", 2000))} {
		s.gone("k", id, fmt.Sprintf("id of %d bytes that was never given", len(id)))
	}
	u := s.start("k", engine.StartUploadOptions{})
	s.part("k", u.ID, 1, content(1, 20_000))
	s.gone("l", u.ID, "another key")
	own := s.bucket
	s.bucket = s.newBucket()
	s.gone("k", u.ID, "another bucket")
	s.bucket = own
	v := s.start("k", engine.StartUploadOptions{})
	if u.ID == v.ID {
		s.Errorf("two uploads have the id %q", u.ID)
	}
	s.ok(s.AbortUpload(s.ctx, s.ref("k"), u.ID), "abort")
	s.gone("k", u.ID, "aborted")
	s.absent("k")
	s.complete("k", v.ID, s.part("k", v.ID, 1, []byte("x")))
	s.assembled("k", []byte("x"))
}

// uploadChecksums: the checksum of the whole is made of the parts' as the upload was started.
func uploadChecksums(s *suite) {
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := func(b []byte) []byte { return binary.BigEndian.AppendUint32(nil, crc32.Checksum(b, table)) }
	sha := func(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] }
	one, two := content(1, partMin), content(2, 77)
	for _, c := range []struct {
		algorithm string
		full      bool
		sum       func([]byte) []byte
		whole     []byte
	}{
		{"CRC32C", true, crc, crc(slices.Concat(one, two))},
		{"CRC32C", false, crc, crc(slices.Concat(crc(one), crc(two)))},
		{"SHA256", false, sha, sha(slices.Concat(sha(one), sha(two)))},
	} {
		key := fmt.Sprint(c.algorithm, c.full)
		u := s.start(key, engine.StartUploadOptions{ChecksumAlgorithm: c.algorithm, ChecksumFull: c.full})
		if u.ChecksumAlgorithm != c.algorithm || u.ChecksumFull != c.full {
			s.Errorf("start upload answered %+v", u)
		}
		var parts []engine.CompletePart
		for i, data := range [][]byte{one, two} {
			sum := engine.Checksum{Algorithm: c.algorithm, Sum: c.sum(data)}
			p, err := s.PutPart(s.ctx, s.ref(key), u.ID, i+1, bytes.NewReader(data), engine.PutPartOptions{Size: int64(len(data)), Checksum: func() engine.Checksum { return sum }})
			s.ok(err, "put part")
			if p.Checksum.Algorithm != c.algorithm || !bytes.Equal(p.Checksum.Sum, sum.Sum) {
				s.Errorf("the part has the checksum %+v; want %+v", p.Checksum, sum)
			}
			parts = append(parts, engine.CompletePart{Number: i + 1, ETag: p.ETag, Checksum: sum})
		}
		want := engine.Checksum{Algorithm: c.algorithm, Sum: c.whole, Composite: !c.full}
		wrong := want
		wrong.Sum = make([]byte, len(want.Sum))
		_, err := s.CompleteUpload(s.ctx, s.ref(key), u.ID, engine.CompleteUploadOptions{Parts: parts, Size: -1, Checksum: wrong})
		if !engine.Is(err, engine.KindBadDigest) && !engine.Is(err, engine.KindInvalidArgument) {
			s.Errorf("%s: complete with a wrong checksum: %v", key, err)
		}
		bad := slices.Clone(parts)
		bad[1].Checksum.Sum = wrong.Sum
		_, err = s.CompleteUpload(s.ctx, s.ref(key), u.ID, engine.CompleteUploadOptions{Parts: bad, Size: -1})
		s.fails(engine.KindInvalidPart, err, "%s: complete with a part's checksum wrong", key)
		s.absent(key)
		made, err := s.CompleteUpload(s.ctx, s.ref(key), u.ID, engine.CompleteUploadOptions{Parts: parts, Size: -1, Checksum: want})
		s.ok(err, "complete")
		seen, err := s.Stat(s.ctx, s.ref(key), engine.StatOptions{})
		s.ok(err, "stat")
		s.same("stat", seen, made)
		if got := seen.Checksum; got.Algorithm != want.Algorithm || !bytes.Equal(got.Sum, want.Sum) || got.Composite != want.Composite || got.Composite && got.Parts != 2 {
			s.Errorf("%s: the whole has the checksum %+v; want %+v", key, got, want)
		}
	}
}

// uploadManyParts has enough parts to be kept in rows of their own, read as one object.
func uploadManyParts(s *suite) {
	u := s.start("k", engine.StartUploadOptions{})
	count := 12
	if raced {
		count = 4
	}
	infos, datas := make([]engine.PartInfo, count), make([][]byte, count)
	each(count, func(i int) {
		datas[i] = content(uint64(i), partMin+i*1001)
		var err error
		infos[i], err = s.PutPart(s.ctx, s.ref("k"), u.ID, 10*i+1, bytes.NewReader(datas[i]), engine.PutPartOptions{Size: int64(len(datas[i]))})
		if err != nil {
			s.Errorf("put part: %v", err)
		}
	})
	s.complete("k", u.ID, infos...)
	s.assembled("k", datas...)
	whole := bytes.Join(datas, nil)
	for _, start := range []int64{0, int64(partMin) - 1, int64(partMin), 2*int64(partMin) + 999, int64(len(whole)) - 1} {
		s.readsRange("k", whole, engine.Range{Start: start, Length: 2*int64(partMin) + 3})
	}
}

func listParts(s *suite) {
	u := s.start("k", engine.StartUploadOptions{Attributes: someAttributes})
	page, err := s.ListParts(s.ctx, s.ref("k"), u.ID, engine.ListPartsOptions{})
	s.ok(err, "list parts")
	if len(page.Parts) != 0 || page.Truncated || page.Upload.ID != u.ID || page.Upload.Key != "k" || !page.Upload.Started.Equal(u.Started) ||
		page.Upload.Attributes.ContentType != someAttributes.ContentType || page.Upload.Class != u.Class {
		s.Errorf("the listing of an upload without parts is %+v", page)
	}
	numbers := []int{1, 2, 9, 10, 255, 256, 257, 1000, engine.PartNumberMax}
	want := map[int]engine.PartInfo{}
	for _, i := range []int{4, 0, 8, 2, 1, 3, 7, 6, 5} {
		want[numbers[i]] = s.part("k", u.ID, numbers[i], content(uint64(i), i*3000))
	}
	for limit := range 11 {
		var got []int
		after := 0
		for {
			page, err := s.ListParts(s.ctx, s.ref("k"), u.ID, engine.ListPartsOptions{After: after, Max: limit})
			s.ok(err, "list parts")
			for _, p := range page.Parts {
				got = append(got, p.Number)
				if w := want[p.Number]; p.Size != w.Size || p.ETag != w.ETag || !p.Modified.Equal(w.Modified) {
					s.Errorf("the listing says %+v; want %+v", p, w)
				}
			}
			if limit > 0 && len(page.Parts) > limit || page.Truncated && len(page.Parts) == 0 {
				s.Fatalf("a page of at most %d is %+v", limit, page)
			}
			if !page.Truncated {
				break
			}
			after = page.Parts[len(page.Parts)-1].Number
		}
		if !slices.Equal(got, numbers) {
			s.Errorf("in pages of %d: %d; want %d", limit, got, numbers)
		}
	}
	page, err = s.ListParts(s.ctx, s.ref("k"), u.ID, engine.ListPartsOptions{After: 256})
	if err != nil || len(page.Parts) != 3 || page.Parts[0].Number != 257 {
		s.Errorf("after 256 there are %+v, %v", page.Parts, err)
	}
	page, err = s.ListParts(s.ctx, s.ref("k"), u.ID, engine.ListPartsOptions{After: engine.PartNumberMax})
	if err != nil || len(page.Parts) != 0 || page.Truncated {
		s.Errorf("after the last there are %+v, %v", page.Parts, err)
	}
}

// listUploads: by key, then by start; an upload continues a page, a key alone skips all its uploads.
func listUploads(s *suite) {
	var want []engine.UploadInfo
	for _, key := range []string{"a", "a", "a", "a/b", "a/c", "b"} {
		want = append(want, s.start(key, engine.StartUploadOptions{}))
	}
	for limit := range 8 {
		var got []engine.UploadID
		o := engine.ListUploadsOptions{Max: limit}
		for {
			page, err := s.ListUploads(s.ctx, s.bucket, o)
			s.ok(err, "list uploads")
			for _, u := range page.Uploads {
				got = append(got, u.ID)
			}
			if limit > 0 && len(page.Uploads) > limit || page.Truncated && len(page.Uploads) == 0 {
				s.Fatalf("a page of at most %d is %+v", limit, page)
			}
			if !page.Truncated {
				break
			}
			o.AfterKey, o.AfterID = page.LastKey, page.LastID
		}
		if !slices.EqualFunc(got, want, func(id engine.UploadID, w engine.UploadInfo) bool { return id == w.ID }) {
			s.Errorf("in pages of %d: %q; want those of %+v", limit, got, want)
		}
	}
	for _, c := range []struct {
		o     engine.ListUploadsOptions
		first int // of want; what follows is all there
	}{
		{engine.ListUploadsOptions{AfterKey: "a"}, 3},
		{engine.ListUploadsOptions{AfterKey: "a", AfterID: want[0].ID}, 1},
		{engine.ListUploadsOptions{AfterKey: "a", AfterID: want[2].ID}, 3},
		{engine.ListUploadsOptions{AfterKey: "a/b", AfterID: want[3].ID}, 4},
		{engine.ListUploadsOptions{AfterKey: "a/bb"}, 4},
		{engine.ListUploadsOptions{AfterKey: "b"}, 6},
		{engine.ListUploadsOptions{Prefix: "b"}, 5},
	} {
		page, err := s.ListUploads(s.ctx, s.bucket, c.o)
		s.ok(err, "list uploads")
		if !slices.EqualFunc(page.Uploads, want[c.first:], func(a, b engine.UploadInfo) bool { return a.ID == b.ID && a.Key == b.Key && a.Started.Equal(b.Started) }) {
			s.Errorf("list uploads %+v: %+v; want %+v", c.o, page.Uploads, want[c.first:])
		}
	}
	s.complete("a", want[1].ID, s.part("a", want[1].ID, 1, nil))
	s.ok(s.AbortUpload(s.ctx, s.ref("a/c"), want[4].ID), "abort")
	page, err := s.ListUploads(s.ctx, s.bucket, engine.ListUploadsOptions{})
	if err != nil || len(page.Uploads) != 4 {
		s.Errorf("after a completion and an abortion there are %+v, %v", page.Uploads, err)
	}
}

// listUploadsProperty compares listings of one upload per key with the naive listing of the keys.
func listUploadsProperty(s *suite) {
	ids := map[engine.Key]engine.UploadID{}
	for _, key := range strangeKeys {
		ids[engine.Key(key)] = s.start(key, engine.StartUploadOptions{}).ID
	}
	for _, delimiter := range []string{"", "/", "//", "a", "ä"} {
		for _, prefix := range []string{"", "a", "a/", "/", "\xc3", "z"} {
			for _, after := range []string{"", "a", "a/", "a/b", "/", "//", "\xff"} {
				for _, limit := range []int{0, 1, 3} {
					s.listsUploads(ids, engine.ListUploadsOptions{Prefix: prefix, Delimiter: delimiter, AfterKey: engine.Key(after), Max: limit})
				}
			}
		}
	}
}

func (s *suite) listsUploads(ids map[engine.Key]engine.UploadID, o engine.ListUploadsOptions) {
	s.Helper()
	want := naive(strangeKeys, o.Prefix, o.Delimiter, string(o.AfterKey))
	first := o
	var got []item
	for {
		page, err := s.ListUploads(s.ctx, s.bucket, o)
		s.ok(err, "list uploads %+v", o)
		for _, u := range page.Uploads {
			got = append(got, item{name: string(u.Key)})
			if u.ID != ids[u.Key] {
				s.Errorf("the upload of %q has the id %q; want %q", u.Key, u.ID, ids[u.Key])
			}
		}
		for _, prefix := range page.Prefixes {
			got = append(got, item{name: prefix, common: true})
		}
		if n := len(page.Uploads) + len(page.Prefixes); o.Max > 0 && n > o.Max || page.Truncated && n == 0 {
			s.Fatalf("list uploads %+v: a page of %d items", o, n)
		}
		if len(got) > len(want) || !page.Truncated {
			break
		}
		o.AfterKey, o.AfterID = page.LastKey, page.LastID
	}
	slices.SortFunc(got, func(a, b item) int { return strings.Compare(a.name, b.name) })
	if !slices.Equal(got, want) {
		s.Fatalf("list uploads %+v:\n got %+v\nwant %+v", first, got, want)
	}
}
