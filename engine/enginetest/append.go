package enginetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"holdfast/engine"
)

// appends puts data behind what an object has.
func (s *suite) appends(key string, offset int64, data []byte) engine.ObjectInfo {
	s.Helper()
	info, err := s.Append(s.ctx, s.ref(key), bytes.NewReader(data), engine.AppendOptions{Offset: offset, Size: int64(len(data))})
	s.ok(err, "append %d bytes at %d", len(data), offset)
	return info
}

// appending: an object grows from nothing, over all sizes of content, and readers see whole states of it.
func appending(s *suite) {
	var whole []byte
	var readers []engine.Object
	var seen [][]byte
	for i, size := range []int{100, engine.InlineBytesMax, 1, 200_000, 70_000, 1<<20 + 1, 3, 9000} {
		data := content(uint64(i), size)
		info := s.appends("d/log", int64(len(whole)), data)
		whole = append(slices.Clip(whole), data...)
		got, stat := s.get("d/log")
		if !bytes.Equal(got, whole) || info.Size != int64(len(whole)) || stat.Size != info.Size || stat.ETag != info.ETag {
			s.Fatalf("after append %d the object holds %s and says %+v; the append answered %+v", i, brief(got), stat, info)
		}
		if i == 0 && (info.ETag != etag(data) || stat.Parts != 0) || i > 0 && stat.Parts != i+1 {
			s.Errorf("after append %d: %+v", i, stat)
		}
		r, err := s.Open(s.ctx, s.ref("d/log"), engine.OpenOptions{})
		s.ok(err, "open")
		readers, seen = append(readers, r), append(seen, whole)
	}
	page, err := s.Parts(s.ctx, s.ref("d/log"), engine.ListPartsOptions{})
	s.ok(err, "parts")
	if n := len(page.Parts); n != 8 || page.Parts[7].Number != 8 || page.Parts[7].Size != 9000 || page.Parts[7].Offset != int64(len(whole)-9000) {
		s.Errorf("the parts are %+v", page.Parts)
	}
	s.copied("d/log", "copy", engine.CopyOptions{})
	s.appends("d/log", int64(len(whole)), []byte("more"))
	s.appends("copy", int64(len(whole)), []byte("other"))
	for key, want := range map[string][]byte{"d/log": append(slices.Clip(whole), "more"...), "copy": append(slices.Clip(whole), "other"...)} {
		if got, _ := s.get(key); !bytes.Equal(got, want) {
			s.Errorf("%s holds %s", key, brief(got))
		}
	}
	s.put("d/log", nil)
	for i, r := range readers {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, seen[i]) {
			s.Errorf("the reader of state %d has %s, %v", i, brief(got), err)
		}
		s.ok(r.Close(), "close")
	}
	s.appends("d/log", 0, []byte("anew"))
	s.holds("d/log", []byte("anew"))
}

// appendMany goes beyond what a content keeps in one row, with copies in between that share what was there.
func appendMany(s *suite) {
	var whole []byte
	for i := range 230 {
		data := fmt.Appendf(nil, "line %d\n", i)
		s.appends("log", int64(len(whole)), data)
		whole = append(whole, data...)
		if i == 50 || i == 95 || i == 150 {
			s.copied("log", fmt.Sprint("copy", i), engine.CopyOptions{})
		}
	}
	if got, info := s.get("log"); !bytes.Equal(got, whole) || info.Parts != 230 {
		s.Errorf("the log has %d parts and holds %s", info.Parts, brief(got))
	}
	for _, i := range []int{50, 95, 150} {
		got, info := s.get(fmt.Sprint("copy", i))
		if info.Parts != i+1 || !bytes.HasPrefix(whole, got) || bytes.Count(got, []byte("\n")) != i+1 {
			s.Errorf("the copy of %d lines has %d parts and holds %s", i+1, info.Parts, brief(got))
		}
		s.remove(fmt.Sprint("copy", i))
	}
	if got, _ := s.get("log"); !bytes.Equal(got, whole) {
		s.Errorf("after the copies are gone the log holds %s", brief(got))
	}
}

// appendUpload: an upload's object takes appends as parts that follow its own.
func appendUpload(s *suite) {
	large := content(1, int(engine.PartBytesMin))
	u := s.start("k", engine.StartUploadOptions{Attributes: engine.Attributes{ContentType: "a/b"}, Tags: engine.Tags{"t": "1"}})
	s.complete("k", u.ID, s.part("k", u.ID, 3, large), s.part("k", u.ID, 9, []byte("second")))
	info := s.appends("k", int64(len(large)+6), []byte("third"))
	if info.Parts != 3 || info.Attributes.ContentType != "a/b" || info.Tags["t"] != "1" {
		s.Errorf("the append answers %+v", info)
	}
	page, err := s.Parts(s.ctx, s.ref("k"), engine.ListPartsOptions{After: 3})
	s.ok(err, "parts")
	if len(page.Parts) != 2 || page.Parts[1].Number != 10 || page.Parts[1].Offset != int64(len(large)+6) {
		s.Errorf("the parts after 3 are %+v", page.Parts)
	}
	if got, _ := s.get("k"); !bytes.Equal(got, append(large, "secondthird"...)) {
		s.Errorf("the object holds %s", brief(got))
	}
	u = s.start("last", engine.StartUploadOptions{})
	s.complete("last", u.ID, s.part("last", u.ID, engine.PartNumberMax, []byte("x")))
	_, err = s.Append(s.ctx, s.ref("last"), bytes.NewReader([]byte("y")), engine.AppendOptions{Offset: 1, Size: 1})
	s.fails(engine.KindEntityTooLarge, err, "append behind part %d", engine.PartNumberMax)
}

// appendErrors: nothing changes.
func appendErrors(s *suite) {
	data := []byte("0123456789")
	s.put("k", data)
	try := func(kind engine.Kind, what, key string, o engine.AppendOptions, body []byte) {
		s.Helper()
		if o.Size == 0 {
			o.Size = int64(len(body))
		}
		_, err := s.Append(s.ctx, s.ref(key), bytes.NewReader(body), o)
		s.fails(kind, err, "append %s", what)
		s.holds("k", data)
	}
	x := []byte("x")
	try(engine.KindInvalidOffset, "before the end", "k", engine.AppendOptions{Offset: 9}, x)
	try(engine.KindInvalidOffset, "at 0", "k", engine.AppendOptions{}, x)
	try(engine.KindInvalidOffset, "behind the end", "k", engine.AppendOptions{Offset: 11}, x)
	try(engine.KindInvalidArgument, "at a negative offset", "k", engine.AppendOptions{Offset: -1}, x)
	try(engine.KindInvalidArgument, "nothing", "k", engine.AppendOptions{Offset: 10}, nil)
	try(engine.KindInvalidArgument, "with tags", "k", engine.AppendOptions{Offset: 10, Tags: engine.Tags{"a": "b"}}, x)
	try(engine.KindInvalidArgument, "with metadata", "k", engine.AppendOptions{Offset: 10, Attributes: engine.Attributes{User: map[string]string{"a": "b"}}}, x)
	try(engine.KindNoSuchKey, "to nothing", "absent", engine.AppendOptions{Offset: 10}, x)
	try(engine.KindPreconditionFailed, "if absent", "k", engine.AppendOptions{Offset: 10, If: engine.Conditions{NoneMatchAny: true}}, x)
	try(engine.KindPreconditionFailed, "to another ETag", "k", engine.AppendOptions{Offset: 10, If: engine.Conditions{Match: []engine.ETag{noTag}}}, x)
	try(engine.KindBadDigest, "with a wrong MD5", "k", engine.AppendOptions{Offset: 10, MD5: make([]byte, 16)}, x)
	try(engine.KindIncompleteBody, "a short body", "k", engine.AppendOptions{Offset: 10, Size: 2}, x)
	try(engine.KindEntityTooLarge, "to the largest object", "k", engine.AppendOptions{Offset: engine.ObjectBytesMax}, x)
	s.absent("absent")
	info, err := s.Append(s.ctx, s.ref("k"), bytes.NewReader(x), engine.AppendOptions{Offset: 10, Size: -1, If: engine.Conditions{Match: []engine.ETag{etag(data)}},
		Attributes: engine.Attributes{ContentType: "binary/octet-stream"}})
	s.ok(err, "append with the right ETag, of unknown size")
	if info.Size != 11 {
		s.Errorf("the append answers %+v", info)
	}
	s.setVersioning(engine.VersioningEnabled)
	_, err = s.Append(s.ctx, s.ref("k"), bytes.NewReader(x), engine.AppendOptions{Offset: 11, Size: 1})
	s.fails(engine.KindBucketState, err, "append where versions are kept")
}

// appendChecksums: a CRC over the whole goes on being one, others end.
func appendChecksums(s *suite) {
	crc := func(data []byte) engine.Checksum {
		return engine.Checksum{Algorithm: "CRC32", Sum: binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))}
	}
	var whole []byte
	for i, size := range []int{20, 70_000, 1} {
		data := content(uint64(i), size)
		info, err := s.Append(s.ctx, s.ref("k"), bytes.NewReader(data), engine.AppendOptions{
			Offset: int64(len(whole)), Size: int64(size), Checksum: func() engine.Checksum { return crc(data) },
		})
		s.ok(err, "append")
		whole = append(whole, data...)
		stat, err := s.Stat(s.ctx, s.ref("k"), engine.StatOptions{})
		s.ok(err, "stat")
		if want := crc(whole); !bytes.Equal(info.Checksum.Sum, want.Sum) || !bytes.Equal(stat.Checksum.Sum, want.Sum) || stat.Checksum.Composite {
			s.Errorf("after append %d the checksum is %+v, the answer %+v; %+v is right", i, stat.Checksum, info.Checksum, want)
		}
	}
	s.appends("k", int64(len(whole)), []byte("without"))
	if info, err := s.Stat(s.ctx, s.ref("k"), engine.StatOptions{}); err != nil || info.Checksum.Algorithm != "" {
		s.Errorf("after an append without a checksum there is %+v, %v", info.Checksum, err)
	}
}

// concurrentAppends: of writers at the same offset one wins each time, and nothing is lost or doubled.
func concurrentAppends(s *suite) {
	const writers, lines = 4, 15
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := 0; i < lines; {
				size := int64(0)
				if info, err := s.Stat(s.ctx, s.ref("log"), engine.StatOptions{}); err == nil {
					size = info.Size
				}
				line := fmt.Appendf(nil, "%d-%d\n", w, i)
				_, err := s.Append(s.ctx, s.ref("log"), bytes.NewReader(line), engine.AppendOptions{Offset: size, Size: int64(len(line))})
				switch {
				case err == nil:
					i++
				case !engine.Is(err, engine.KindInvalidOffset):
					s.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	wait.Wait()
	got, _ := s.get("log")
	seen := map[string]bool{}
	for _, line := range bytes.Split(bytes.TrimSpace(got), []byte("\n")) {
		if seen[string(line)] {
			s.Errorf("the line %q is there twice", line)
		}
		seen[string(line)] = true
	}
	if len(seen) != writers*lines {
		s.Errorf("%d lines of %d are there", len(seen), writers*lines)
	}
}
