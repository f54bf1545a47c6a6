package enginetest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/iotest"
	"time"

	"holdfast/engine"
)

var patchCases = []struct {
	name string
	run  func(s *suite)
}{
	{"Patch", patching},
	{"PatchTags", patchTags},
	{"PatchHoles", patchHoles},
	{"PatchClones", patchClones},
	{"PatchStaged", patchStaged},
	{"PatchErrors", patchErrors},
	{"PatchLarge", patchLarge},
	{"PatchedReader", patchedReader},
	{"PatchMany", patchMany},
	{"PatchOverMany", patchOverMany},
	{"PatchVersions", patchVersions},
	{"PatchByKey", patchByKey},
	{"ConcurrentPatches", concurrentPatches},
	{"PatchWhole", patchWhole},
}

// patched changes a file.
func (s *suite) patched(n engine.NodeID, pieces ...engine.Piece) engine.FileInfo {
	s.Helper()
	return s.patchedBy(n, engine.Patch{Pieces: pieces})
}

func (s *suite) patchedBy(n engine.NodeID, patch engine.Patch) engine.FileInfo {
	s.Helper()
	info, err := s.PatchFile(s.ctx, s.node(n), patch)
	s.ok(err, "patch node %d", n)
	if stat := s.stated(n); stat != flat(info) {
		s.Errorf("the patched file is %+v; the patch answers %+v", stat, info)
	}
	return flat(info)
}

// body is a piece that has its bytes with it.
func body(offset int64, data []byte) engine.Piece {
	return engine.Piece{Offset: offset, Length: int64(len(data)), Body: bytes.NewReader(data)}
}

// clone is a piece of bytes of a file.
func clone(offset, length int64, f engine.File, at int64) engine.Piece {
	return engine.Piece{Offset: offset, Length: length, From: &engine.FileRange{File: f, Offset: at}}
}

// isFile checks the content of a file, whole and in ranges, by its number and by its key.
func (s *suite) isFile(path string, want []byte) {
	s.Helper()
	info := s.look(path)
	got, object, err := fetchFile(s.ctx, s.Engine, s.node(info.Node), nil)
	s.ok(err, "read %q", path)
	if !bytes.Equal(got, want) || info.Size != int64(len(want)) || object.Size != info.Size || object.ETag != info.ETag || object.Sequence != info.Sequence {
		s.Fatalf("%q holds %s in %+v, %+v; want %s", path, brief(got), info, object, brief(want))
	}
	if got, object := s.get(path); !bytes.Equal(got, want) || object.ETag != info.ETag || object.Size != info.Size || object.Sequence != info.Sequence {
		s.Fatalf("by its key %q holds %s in %+v", path, brief(got), object)
	}
	for start := int64(0); start < info.Size; start += info.Size/5 + 1 {
		length := min(info.Size/3+1, info.Size-start)
		got, _, err := fetchFile(s.ctx, s.Engine, s.node(info.Node), &engine.Range{Start: start, Length: length})
		if err != nil || !bytes.Equal(got, want[start:start+length]) {
			s.Fatalf("%d bytes at %d of %q are %s, %v; want %s", length, start, path, brief(got), err, brief(want[start:start+length]))
		}
	}
}

// overlaid is content after a piece: it grows as a file does.
func overlaid(before []byte, offset int, piece []byte) []byte {
	after := slices.Clone(before)
	if n := offset + len(piece); n > len(after) {
		after = append(after, make([]byte, n-len(after))...)
	}
	copy(after[offset:], piece)
	return after
}

// patching: pieces of every kind, at every place, in files of several sizes.
func patching(s *suite) {
	source := content(9, 200_000)
	s.put("source", source)
	from := s.node(s.look("source").Node)
	for _, size := range []int{0, 10, 9000, 70_000, 3 << 20} {
		path := fmt.Sprintf("f%d", size)
		want := content(uint64(size), size)
		s.put(path, want)
		n := s.look(path).Node
		for _, offset := range []int{0, 1, size / 2, max(0, size-3), size, size + 5000} {
			for i, length := range []int{1, 5, 70_000} {
				piece := content(uint64(offset+length), length)
				switch i {
				case 0:
					s.patched(n, body(int64(offset), piece))
				case 1:
					piece = make([]byte, length)
					s.patched(n, engine.Piece{Offset: int64(offset), Length: int64(length)})
				default:
					piece = source[33:][:length]
					s.patched(n, clone(int64(offset), int64(length), from, 33))
				}
				want = overlaid(want, offset, piece)
			}
			s.isFile(path, want)
		}
		for _, to := range []int64{int64(len(want)), int64(len(want)) + 100, 75_000, 9000, 5, 0, 12} {
			s.patchedBy(n, engine.Patch{Size: &to})
			if want = want[:min(len(want), int(to))]; len(want) < int(to) {
				want = append(slices.Clone(want), make([]byte, int(to)-len(want))...)
			}
			s.isFile(path, want)
		}
		s.patched(n, body(engine.PieceEnd, []byte("end")), engine.Piece{Offset: engine.PieceEnd, Length: 2}, body(engine.PieceEnd, []byte("!")))
		s.isFile(path, append(want, "end\x00\x00!"...))
		s.patched(n, engine.Piece{Offset: 14, Length: 1000, Keep: true}, engine.Piece{Offset: 100, Length: 1000, Keep: true})
		s.isFile(path, append(want, "en\x00\x00\x00\x00"...))
		small := int64(3)
		s.patchedBy(n, engine.Patch{Pieces: []engine.Piece{body(1, []byte("abcdef")), body(0, []byte("xy")), {Offset: 1 << 40}}, Size: &small})
		s.isFile(path, []byte("xyb"))
	}
	s.put("f", []byte("0123456789"))
	f := s.look("f")
	mode, then := uint32(0o600), time.Unix(1_000_000_000, 5)
	_, err := s.SetFile(s.ctx, s.node(f.Node), engine.FileChange{Mode: &mode, Accessed: &then, Born: &then})
	s.ok(err, "set the mode")
	patched := s.patchedBy(f.Node, engine.Patch{Pieces: []engine.Piece{body(2, []byte("x"))}, Modified: &then, If: f.Sequence})
	if !patched.Modified.Equal(then) || patched.Attributes.Mode != mode || !patched.Accessed.Equal(then) || !patched.Born.Equal(then) || patched.Sequence <= f.Sequence {
		s.Errorf("the patched file is %+v; it was %+v", patched, f)
	}
	again := s.patched(f.Node) // nothing changes, but for what a change leaves
	if again.Sequence <= patched.Sequence || again.ETag == patched.ETag || !again.Modified.After(then) {
		s.Errorf("after a patch of nothing the file is %+v; it was %+v", again, patched)
	}
	s.isFile("f", []byte("01x3456789"))
	s.patched(f.Node, engine.Piece{Offset: 3, Length: 0, Body: iotest.ErrReader(errBody)}) // a piece of no bytes does nothing
	s.isFile("f", []byte("01x3456789"))
	s.patched(f.Node, engine.Piece{Offset: 1, Length: 4, Body: iotest.OneByteReader(strings.NewReader("odd!"))})
	s.isFile("f", []byte("0odd!56789"))
}

// tagOf is the MD5 that an ETag shows.
func tagOf(s *suite, tag engine.ETag) (sum [md5.Size]byte) {
	s.Helper()
	b, err := hex.DecodeString(strings.Split(string(tag), "-")[0])
	s.ok(err, "ETag %q", tag)
	copy(sum[:], b)
	return sum
}

// patchTags: the ETag of a patched file is that of PatchTag, and what else is kept of the content is gone.
func patchTags(s *suite) {
	data := content(1, 70_000)
	_, err := s.Put(s.ctx, s.ref("f"), bytes.NewReader(data), engine.PutOptions{
		Size: 70_000, Attributes: engine.Attributes{ContentType: "x/y", User: map[string]string{"u": "v"}}, Tags: engine.Tags{"t": "1"},
		Checksum: func() engine.Checksum { return engine.Checksum{Algorithm: "CRC32", Sum: []byte("1234")} },
	})
	s.ok(err, "put")
	other := s.put("other", content(2, 30_000))
	f, from := s.look("f"), s.node(s.look("other").Node)
	staged, err := s.StageFile(s.ctx, s.bucket, strings.NewReader("staged"), engine.StageOptions{Size: 6})
	s.ok(err, "stage")
	defer staged.Discard()
	size := int64(100_001)
	patched := s.patchedBy(f.Node, engine.Patch{Size: &size, Pieces: []engine.Piece{
		body(5, []byte("body")),
		{Offset: 100, Length: 7},
		{Offset: 69_990, Length: 1000, Keep: true},
		{Offset: 80_000, Length: 1000, Keep: true}, // clipped to nothing
		{Offset: 9, Body: strings.NewReader("")},
		clone(20_000, 30_000, from, 0),
		clone(50_000, 10, s.node(f.Node), 40_000),
		{Offset: engine.PieceEnd, Length: 6, Staged: staged},
	}})
	want := engine.PatchTag(tagOf(s, f.ETag), []engine.PatchedPiece{
		{Offset: 5, Length: 4, Sum: md5.Sum([]byte("body"))},
		{Offset: 100, Length: 7},
		{Offset: 69_990, Length: 10},
		{Offset: 20_000, Length: 30_000, Sum: tagOf(s, other.ETag)},
		{Offset: 50_000, Length: 10, Sum: tagOf(s, f.ETag), From: 40_000},
		{Offset: 70_000, Length: 6, Sum: md5.Sum([]byte("staged"))},
	}, size)
	if patched.ETag != engine.ETag(fmt.Sprintf("%x-1", want)) {
		s.Errorf("the ETag is %q, not %x-1", patched.ETag, want)
	}
	info, err := s.Stat(s.ctx, s.ref("f"), engine.StatOptions{})
	s.ok(err, "stat")
	if info.ETag != patched.ETag || info.Parts != 0 || info.Checksum.Algorithm != "" || info.Attributes.ContentType != "x/y" || info.Attributes.User["u"] != "v" || info.Tags["t"] != "1" {
		s.Errorf("the patched object is %+v", info)
	}
	if page, err := s.Parts(s.ctx, s.ref("f"), engine.ListPartsOptions{}); err != nil || len(page.Parts) != 0 {
		s.Errorf("the patched object has the parts %+v, %v", page.Parts, err)
	}
	_, err = s.Put(s.ctx, s.ref("f"), strings.NewReader("x"), engine.PutOptions{Size: 1, If: engine.Conditions{Match: []engine.ETag{f.ETag}}})
	s.fails(engine.KindPreconditionFailed, err, "put over the former ETag")
	next := s.patched(f.Node, body(0, []byte("z")))
	if want := engine.PatchTag(tagOf(s, patched.ETag), []engine.PatchedPiece{{Length: 1, Sum: md5.Sum([]byte("z"))}}, size); next.ETag != engine.ETag(fmt.Sprintf("%x-1", want)) {
		s.Errorf("the next ETag is %q, not %x-1", next.ETag, want)
	}
	made := s.made("made", engine.TypeRegular)
	if info := s.patched(made.Node, body(0, []byte("z"))); info.ETag == etag([]byte("z")) || !strings.HasSuffix(string(info.ETag), "-1") {
		s.Errorf("the first patch of an empty file gives the ETag %q", info.ETag)
	}
}

// holesOf lists where the holes of a file begin and end.
func (s *suite) holesOf(n engine.NodeID) (holes [][2]int64) {
	s.Helper()
	holes, err := holesOf(s.ctx, s.Engine, s.node(n), s.stated(n).Size)
	s.ok(err, "seek in node %d", n)
	return holes
}

func holesOf(ctx context.Context, e engine.Engine, f engine.File, size int64) (holes [][2]int64, err error) {
	for at := int64(0); at < size; {
		hole, err := e.SeekFile(ctx, f, at, true)
		if err != nil || hole == size {
			return holes, err
		}
		data, err := e.SeekFile(ctx, f, hole, false)
		if engine.Is(err, engine.KindInvalidRange) {
			data, err = size, nil
		}
		if err != nil {
			return holes, err
		}
		if data <= hole {
			return holes, fmt.Errorf("data at %d follows a hole at %d", data, hole)
		}
		holes, at = append(holes, [2]int64{hole, data}), data
	}
	return holes, nil
}

// patchHoles: what nobody wrote is a hole, reads as zeros, and is found by SeekFile; zeros that were written are data.
func patchHoles(s *suite) {
	n := s.made("f", engine.TypeRegular).Node
	is := func(what string, want ...[2]int64) {
		s.Helper()
		if got := s.holesOf(n); !slices.Equal(got, want) {
			s.Fatalf("after %s the holes are %v; want %v", what, got, want)
		}
	}
	seek := func(offset int64, hole bool) (int64, error) {
		return s.SeekFile(s.ctx, s.node(n), offset, hole)
	}
	_, err := seek(0, true)
	s.fails(engine.KindInvalidRange, err, "seek in an empty file")
	s.patched(n, body(10_000, []byte("data")))
	is("a write behind the end", [2]int64{0, 10_000})
	size := int64(200_000)
	s.patchedBy(n, engine.Patch{Size: &size})
	is("a longer size", [2]int64{0, 10_000}, [2]int64{10_004, 200_000})
	s.patched(n, body(50_000, make([]byte, 70_000)))
	is("written zeros", [2]int64{0, 10_000}, [2]int64{10_004, 50_000}, [2]int64{120_000, 200_000})
	s.patched(n, engine.Piece{Offset: 200_010, Length: 5})
	is("a hole behind the end", [2]int64{0, 10_000}, [2]int64{10_004, 50_000}, [2]int64{120_000, 200_015})
	s.patched(n, engine.Piece{Offset: 60_000, Length: 10}, engine.Piece{Offset: 60_010, Length: 10})
	is("two holes side by side", [2]int64{0, 10_000}, [2]int64{10_004, 50_000}, [2]int64{60_000, 60_020}, [2]int64{120_000, 200_015})
	s.patched(n, engine.Piece{Offset: 10_000, Length: 4})
	is("a hole in the place of the last data between holes", [2]int64{0, 50_000}, [2]int64{60_000, 60_020}, [2]int64{120_000, 200_015})
	for _, c := range []struct {
		offset int64
		hole   bool
		want   int64
	}{
		{0, true, 0}, {0, false, 50_000}, {49_999, true, 49_999}, {49_999, false, 50_000}, {50_000, true, 60_000}, {50_000, false, 50_000},
		{55_555, false, 55_555}, {60_019, true, 60_019}, {60_020, true, 120_000}, {119_999, false, 119_999}, {200_014, true, 200_014},
	} {
		if got, err := seek(c.offset, c.hole); err != nil || got != c.want {
			s.Errorf("from %d (hole: %v) it is %d, %v; want %d", c.offset, c.hole, got, err, c.want)
		}
	}
	for _, offset := range []int64{120_000, 200_014} {
		_, err := seek(offset, false)
		s.fails(engine.KindInvalidRange, err, "data behind %d", offset)
	}
	for _, offset := range []int64{-1, 200_015, 1 << 50} {
		_, err := seek(offset, true)
		s.fails(engine.KindInvalidRange, err, "a hole behind %d", offset)
		_, err = seek(offset, false)
		s.fails(engine.KindInvalidRange, err, "data behind %d", offset)
	}
	want := overlaid(make([]byte, 200_015), 0, nil)
	s.isFile("f", want)
	size = 70_000
	s.patchedBy(n, engine.Patch{Size: &size})
	is("a cut within data", [2]int64{0, 50_000}, [2]int64{60_000, 60_020})
	if at, err := seek(60_020, true); err != nil || at != size {
		s.Errorf("the hole at the end is %d, %v", at, err)
	}
	size = 60_005
	s.patchedBy(n, engine.Patch{Size: &size})
	is("a cut within a hole", [2]int64{0, 50_000}, [2]int64{60_000, 60_005})
	s.patched(n, body(0, []byte("begin")))
	is("data at the beginning", [2]int64{5, 50_000}, [2]int64{60_000, 60_005})
	s.isFile("f", overlaid(want[:60_005], 0, []byte("begin")))
	s.put("plain", content(1, 100_000))
	if holes := s.holesOf(s.look("plain").Node); len(holes) != 0 {
		s.Errorf("what was put has the holes %v", holes)
	}
}

// patchClones: bytes of another file, or of the same one as it was before, with its holes.
func patchClones(s *suite) {
	source := content(5, 100_000)
	s.put("source", source)
	from := s.look("source")
	s.patched(from.Node, engine.Piece{Offset: 20_000, Length: 30_000})
	source = overlaid(source, 20_000, make([]byte, 30_000))
	n := s.made("f", engine.TypeRegular).Node
	s.patched(n, clone(1000, 100_000, s.node(from.Node), 0))
	want := overlaid(nil, 1000, source)
	s.isFile("f", want)
	if got := s.holesOf(n); !slices.Equal(got, [][2]int64{{0, 1000}, {21_000, 51_000}}) {
		s.Errorf("the clone has the holes %v", got)
	}
	s.patched(from.Node, body(0, content(6, 100_000))) // the clone does not change with its source
	s.isFile("f", want)
	s.unlinked("source")
	s.isFile("f", want)
	// Twice the same file: the second piece takes what was there before the first.
	before := slices.Clone(want)
	s.patched(n, clone(0, 50_000, s.node(n), 51_000), clone(51_000, 50_000, s.node(n), 0))
	want = overlaid(overlaid(want, 0, before[51_000:101_000]), 51_000, before[:50_000])
	s.isFile("f", want)
	// A file doubles, several times, and its content overlaps itself.
	for range 3 {
		s.patched(n, clone(engine.PieceEnd, int64(len(want)), s.node(n), 0))
		want = append(want, want...)
	}
	s.patched(n, clone(7, int64(len(want)-7), s.node(n), 0))
	want = overlaid(want, 7, want[:len(want)-7])
	s.isFile("f", want)
	for _, r := range []engine.FileRange{{Offset: int64(len(want)) - 4}, {Offset: int64(len(want))}, {Offset: 1 << 40}} {
		_, err := s.PatchFile(s.ctx, s.node(n), engine.Patch{Pieces: []engine.Piece{body(0, []byte("not this")), clone(0, 5, s.node(n), r.Offset)}})
		s.fails(engine.KindInvalidRange, err, "5 bytes from %d of %d", r.Offset, len(want))
	}
	_, err := s.PatchFile(s.ctx, s.node(n), engine.Patch{Pieces: []engine.Piece{clone(0, 5, s.node(1<<60), 0)}})
	s.fails(engine.KindNoSuchKey, err, "bytes of no file")
	_, err = s.PatchFile(s.ctx, s.node(n), engine.Patch{Pieces: []engine.Piece{clone(0, 5, s.node(engine.RootNode), 0)}})
	s.fails(engine.KindIsDirectory, err, "bytes of a directory")
	_, err = s.PatchFile(s.ctx, s.node(n), engine.Patch{Pieces: []engine.Piece{clone(0, 5, engine.File{Bucket: s.newBucket(), Node: n}, 0)}})
	s.fails(engine.KindInvalidArgument, err, "bytes of another bucket")
	s.isFile("f", want)
	// An object of parts gives its bytes as any other.
	s.put("parts", content(1, 10_000))
	_, err = s.Append(s.ctx, s.ref("parts"), bytes.NewReader(content(2, 70_000)), engine.AppendOptions{Offset: 10_000, Size: 70_000})
	s.ok(err, "append")
	s.patched(n, clone(0, 50_000, s.node(s.look("parts").Node), 5000))
	s.isFile("f", overlaid(want, 0, append(content(1, 10_000)[5000:], content(2, 70_000)[:45_000]...)))
}

// meeting is a body of one byte that is read when another one is, too.
type meeting struct{ here, other chan struct{} }

func (m *meeting) Read(p []byte) (int, error) {
	if m.here == nil {
		return 0, io.EOF
	}
	close(m.here)
	m.here = nil
	select {
	case <-m.other:
	case <-time.After(time.Minute): // it is not read at all
	}
	return copy(p, "m"), nil
}

// patchStaged: bytes that are stored before it is known where they come to lie.
func patchStaged(s *suite) {
	n := s.made("f", engine.TypeRegular).Node
	stage := func(data []byte, size int64) engine.Staged {
		s.Helper()
		staged, err := s.StageFile(s.ctx, s.bucket, bytes.NewReader(data), engine.StageOptions{Size: size})
		s.ok(err, "stage %d bytes", len(data))
		if staged.Size() != int64(len(data)) {
			s.Errorf("%d of %d bytes were staged", staged.Size(), len(data))
		}
		return staged
	}
	piece := func(offset int64, staged engine.Staged) engine.Piece {
		return engine.Piece{Offset: offset, Length: staged.Size(), Staged: staged}
	}
	var want []byte
	for i, size := range []int{1, 5000, 70_000, 2 << 20} {
		data := content(uint64(i), size)
		staged := stage(data, int64(size-i%2*(size+1))) // known and not known in turn
		s.isFile("f", want)                             // not yet
		s.patched(n, piece(engine.PieceEnd, staged))
		staged.Discard()
		staged.Discard()
		want = append(want, data...)
		s.isFile("f", want)
	}
	one, two, unused := stage([]byte("one"), 3), stage(content(9, 20_000), 20_000), stage([]byte("unused"), -1)
	conflict := engine.Patch{Pieces: []engine.Piece{piece(0, one)}, If: 1}
	_, err := s.PatchFile(s.ctx, s.node(n), conflict)
	s.fails(engine.KindConflict, err, "patch of another sequence")
	s.patched(n, piece(10, one), piece(100_000, two)) // what a failed patch did not use is good for another
	want = overlaid(overlaid(want, 10, []byte("one")), 100_000, content(9, 20_000))
	for _, staged := range []engine.Staged{one, two, unused} {
		staged.Discard()
	}
	s.isFile("f", want)
	_, err = s.PatchFile(s.ctx, s.node(n), engine.Patch{Pieces: []engine.Piece{piece(0, unused)}})
	s.fails(engine.KindInvalidArgument, err, "patch with what was discarded")
	// Two patches of which each has what the other wants, too: neither waits for the other.
	crossed, errs := [2]engine.Staged{stage([]byte("one"), 3), stage([]byte("two"), 3)}, make(chan error, 2)
	first, second := make(chan struct{}), make(chan struct{})
	bodies := [2]*meeting{{here: first, other: second}, {here: second, other: first}}
	for i, b := range bodies {
		pieces := []engine.Piece{piece(0, crossed[i]), {Offset: 10, Length: 1, Body: b}, piece(20, crossed[1-i])}
		go func() {
			_, err := s.PatchFile(s.ctx, s.node(n), engine.Patch{Pieces: pieces})
			errs <- err
		}()
	}
	for range bodies {
		select {
		case err := <-errs:
			if err != nil {
				s.fails(engine.KindInvalidArgument, err, "patch with what another one has")
			}
		case <-time.After(time.Minute):
			s.Fatalf("two patches wait for each other")
		}
	}
	for _, staged := range crossed {
		staged.Discard()
	}
	want = s.bytesOf(n)
	elsewhere, err := s.StageFile(s.ctx, s.newBucket(), strings.NewReader("x"), engine.StageOptions{Size: 1})
	s.ok(err, "stage in another bucket")
	defer elsewhere.Discard()
	_, err = s.PatchFile(s.ctx, s.node(n), engine.Patch{Pieces: []engine.Piece{piece(0, elsewhere)}})
	s.fails(engine.KindInvalidArgument, err, "patch with what was staged for another bucket")
	for _, c := range []struct {
		kind engine.Kind
		body io.Reader
		size int64
	}{
		{engine.KindIncompleteBody, strings.NewReader("short"), 6}, {engine.KindInvalidArgument, strings.NewReader("long"), 3},
		{engine.KindIncompleteBody, iotest.ErrReader(errBody), -1}, {engine.KindInvalidArgument, strings.NewReader(""), -2},
		{engine.KindEntityTooLarge, strings.NewReader(""), engine.PutBytesMax + 1},
	} {
		_, err := s.StageFile(s.ctx, s.bucket, c.body, engine.StageOptions{Size: c.size})
		s.fails(c.kind, err, "stage of a body of size %d", c.size)
	}
	empty := stage(nil, 0)
	s.patched(n, piece(0, empty))
	empty.Discard()
	s.isFile("f", want)
}

// patchErrors: what is refused, and that nothing changes by it.
func patchErrors(s *suite) {
	want := content(1, 70_000)
	link, pipe, d := s.made("link", engine.TypeSymlink), s.made("pipe", engine.TypeFIFO), s.made("d", engine.TypeDirectory)
	s.put("f", want)
	f := s.look("f")
	far, negative, tooLong := time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC), int64(-1), engine.ObjectBytesMax+1
	try := func(kind engine.Kind, n engine.NodeID, patch engine.Patch) {
		s.Helper()
		_, err := s.PatchFile(s.ctx, s.node(n), patch)
		s.fails(kind, err, "patch of node %d", n)
		if info := s.look("f"); info != f {
			s.Fatalf("the file is %+v; it was %+v", info, f)
		}
	}
	pieces := func(pieces ...engine.Piece) engine.Patch { return engine.Patch{Pieces: pieces} }
	try(engine.KindNoSuchKey, 1<<60, pieces(body(0, []byte("x"))))
	try(engine.KindIsDirectory, d.Node, pieces(body(0, []byte("x"))))
	try(engine.KindIsDirectory, engine.RootNode, pieces(body(0, []byte("x"))))
	try(engine.KindBucketState, link.Node, pieces(body(0, []byte("x"))))
	try(engine.KindBucketState, pipe.Node, pieces(body(0, []byte("x"))))
	try(engine.KindConflict, f.Node, engine.Patch{If: f.Sequence + 1})
	try(engine.KindConflict, f.Node, engine.Patch{If: f.Sequence - 1, Pieces: []engine.Piece{body(0, []byte("x"))}})
	try(engine.KindInvalidArgument, f.Node, engine.Patch{Modified: &far})
	try(engine.KindEntityTooLarge, f.Node, engine.Patch{Size: &negative})
	try(engine.KindEntityTooLarge, f.Node, engine.Patch{Size: &tooLong})
	try(engine.KindEntityTooLarge, f.Node, pieces(engine.Piece{Offset: engine.ObjectBytesMax, Length: 1}))
	try(engine.KindEntityTooLarge, f.Node, pieces(engine.Piece{Offset: engine.PieceEnd, Length: engine.ObjectBytesMax}))
	try(engine.KindEntityTooLarge, f.Node, pieces(make([]engine.Piece, engine.PatchPiecesMax+1)...))
	try(engine.KindEntityTooLarge, f.Node, pieces(engine.Piece{Length: engine.PutBytesMax + 1, Body: strings.NewReader("x")}))
	try(engine.KindInvalidArgument, f.Node, pieces(engine.Piece{Offset: -2, Length: 1}))
	try(engine.KindInvalidArgument, f.Node, pieces(engine.Piece{Length: -1}))
	try(engine.KindInvalidArgument, f.Node, pieces(engine.Piece{Offset: engine.PieceEnd, Length: 1, Keep: true}))
	try(engine.KindInvalidArgument, f.Node, pieces(engine.Piece{Length: 1, Body: strings.NewReader("x"), Keep: true}))
	try(engine.KindInvalidArgument, f.Node, pieces(engine.Piece{Length: 1, Body: strings.NewReader("x"), From: &engine.FileRange{File: s.node(f.Node)}}))
	try(engine.KindInvalidArgument, f.Node, pieces(clone(0, 1, s.node(f.Node), -1)))
	try(engine.KindIncompleteBody, f.Node, pieces(body(0, []byte("whole")), engine.Piece{Length: 6, Body: strings.NewReader("short")}))
	try(engine.KindIncompleteBody, f.Node, pieces(engine.Piece{Length: 100_000, Body: strings.NewReader(strings.Repeat("short", 18_000))}))
	try(engine.KindInvalidArgument, f.Node, pieces(engine.Piece{Length: 3, Body: strings.NewReader("long")}))
	try(engine.KindIncompleteBody, f.Node, pieces(engine.Piece{Length: 3, Body: iotest.ErrReader(errBody)}))
	try(engine.KindQuota, f.Node, pieces(engine.Piece{Length: 3, Body: iotest.ErrReader(engine.E(engine.KindQuota, "a body's own Kind"))}))
	s.isFile("f", want)
	s.contains(engine.RootNode, "d/", "f", "link", "pipe")
}

// patchLarge: a hole costs nothing, however long it is, and no file is longer than it may be.
func patchLarge(s *suite) {
	n := s.made("f", engine.TypeRegular).Node
	size := engine.ObjectBytesMax
	if info := s.patchedBy(n, engine.Patch{Size: &size}); info.Size != size {
		s.Errorf("the file has %d bytes", info.Size)
	}
	s.patched(n, body(size-10, []byte("the end")), body(size/2, content(1, 100_000)))
	if got := s.holesOf(n); !slices.Equal(got, [][2]int64{{0, size / 2}, {size/2 + 100_000, size - 10}, {size - 3, size}}) {
		s.Errorf("the holes are %v", got)
	}
	for _, c := range []struct {
		start int64
		want  []byte
	}{
		{size - 13, []byte("\x00\x00\x00the end\x00\x00\x00")}, {size/2 - 5, overlaid(nil, 5, content(1, 100_000))}, {size/2 + 99_990, append(content(1, 100_000)[99_990:], 0, 0, 0)},
		{size / 4, make([]byte, 3<<20)}, {0, make([]byte, 1)},
	} {
		got, _, err := fetchFile(s.ctx, s.Engine, s.node(n), &engine.Range{Start: c.start, Length: int64(len(c.want))})
		if err != nil || !bytes.Equal(got, c.want) {
			s.Errorf("%d bytes at %d are %s, %v", len(c.want), c.start, brief(got), err)
		}
	}
	before := s.stated(n)
	for _, piece := range []engine.Piece{body(engine.PieceEnd, []byte("x")), {Offset: engine.PieceEnd, Length: 1}, clone(engine.PieceEnd, 1, s.node(n), 0)} {
		_, err := s.PatchFile(s.ctx, s.node(n), engine.Patch{Pieces: []engine.Piece{piece}})
		s.fails(engine.KindEntityTooLarge, err, "a byte behind the last that there may be")
	}
	if info := s.stated(n); info != before {
		s.Errorf("the file is %+v; it was %+v", info, before)
	}
	if usage, err := s.Usage(s.ctx, s.bucket, ""); err != nil || usage.Bytes != uint64(size) {
		s.Errorf("there are %+v, %v", usage, err)
	}
	size = 5
	s.patchedBy(n, engine.Patch{Size: &size})
	s.isFile("f", make([]byte, 5))
}

// patchedReader: who reads a file reads the bytes that it had when it was opened.
func patchedReader(s *suite) {
	for _, size := range []int{100, 70_000, 3 << 20} {
		want := content(uint64(size), size)
		path := fmt.Sprint(size)
		s.put(path, want)
		n := s.look(path).Node
		byNode, err := s.OpenFile(s.ctx, s.node(n), engine.OpenFileOptions{})
		s.ok(err, "open")
		byKey, err := s.Open(s.ctx, s.ref(path), engine.OpenOptions{})
		s.ok(err, "open by key")
		head := make([]byte, 10)
		_, err = io.ReadFull(byNode, head)
		s.ok(err, "read")
		cut := int64(20)
		s.patched(n, body(0, content(1, size)))
		s.patchedBy(n, engine.Patch{Pieces: []engine.Piece{body(engine.PieceEnd, []byte("more")), {Length: 50}}, Size: &cut})
		s.unlinked(path)
		s.put(path, []byte("another"))
		for i, o := range []engine.Object{byNode, byKey} {
			got, err := io.ReadAll(o)
			s.ok(err, "read what was opened before")
			s.ok(o.Close(), "close")
			if i == 0 {
				got = append(head, got...)
			}
			if !bytes.Equal(got, want) || o.Info().Size != int64(size) {
				s.Errorf("%d bytes: a reader that was overtaken has %s", size, brief(got))
			}
		}
	}
}

// patchOverMany: patches and cuts that replace thousands of pieces, of which some are left on either side, and of a file that has a copy.
func patchOverMany(s *suite) {
	want := content(4, 50_000)
	s.put("f", want)
	n := s.look("f").Node
	scatter := func() { // holes cost nothing but the pieces that they make
		for at := 0; at+25*engine.PatchPiecesMax <= len(want); at += 25 * engine.PatchPiecesMax {
			pieces := make([]engine.Piece, engine.PatchPiecesMax)
			for i := range pieces {
				offset := at + 25*i + 7
				pieces[i] = engine.Piece{Offset: int64(offset), Length: 5}
				clear(want[offset:][:5])
			}
			s.patched(n, pieces...)
		}
	}
	scatter()
	for i, place := range [][2]int{{1000, 40_000}, {0, 30_000}, {20_000, 40_000}} {
		data := content(uint64(20+i), place[1])
		s.patched(n, body(int64(place[0]), data))
		want = overlaid(want, place[0], data)
		s.isFile("f", want)
		scatter()
		s.isFile("f", want)
		if i == 0 {
			_, err := s.Copy(s.ctx, s.ref("f"), s.ref("copy"), engine.CopyOptions{})
			s.ok(err, "copy a file of thousands of pieces")
		}
	}
	copied, _ := s.get("copy")
	cut := int64(345)
	s.patchedBy(n, engine.Patch{Size: &cut})
	s.isFile("f", want[:cut])
	if again, _ := s.get("copy"); !bytes.Equal(again, copied) || len(copied) != 50_000 {
		s.Errorf("the copy has %d bytes by now, which are others", len(again))
	}
}

// patchMany: a file of many small changes is still that file.
func patchMany(s *suite) {
	random := rand.New(rand.NewPCG(1, 2))
	want := content(3, 300_000)
	s.put("f", want)
	n := s.look("f").Node
	for i := range 300 {
		offset := random.IntN(len(want))
		switch data := content(uint64(i), 1+random.IntN(2000)); i % 10 {
		case 3:
			data = make([]byte, len(data))
			s.patched(n, engine.Piece{Offset: int64(offset), Length: int64(len(data))})
			want = overlaid(want, offset, data)
		case 6:
			from := random.IntN(len(want) - len(data))
			s.patched(n, clone(int64(offset), int64(len(data)), s.node(n), int64(from)))
			want = overlaid(want, offset, slices.Clone(want[from:from+len(data)]))
		default:
			s.patched(n, body(int64(offset), data))
			want = overlaid(want, offset, data)
		}
		if i%25 == 0 {
			start := random.IntN(len(want))
			length := 1 + random.IntN(len(want)-start)
			got, _, err := fetchFile(s.ctx, s.Engine, s.node(n), &engine.Range{Start: int64(start), Length: int64(length)})
			if err != nil || !bytes.Equal(got, want[start:start+length]) {
				s.Fatalf("after %d patches %d bytes at %d are others, or %v", i+1, length, start, err)
			}
		}
	}
	s.isFile("f", want)
	_, err := s.Copy(s.ctx, s.ref("f"), s.ref("copy"), engine.CopyOptions{})
	s.ok(err, "copy")
	s.unlinked("f")
	s.isFile("copy", want)
}

// patchVersions: where versions are kept each patch makes one, and those before stay as they were.
func patchVersions(s *suite) {
	s.put("f", content(1, 70_000))
	f := s.look("f")
	s.setVersioning(engine.VersioningEnabled)
	s.ok(s.SetXattr(s.ctx, s.node(f.Node), "user.x", []byte("1"), engine.SetXattrOptions{}), "set an attribute")
	first := s.patched(f.Node, body(0, []byte("first")))
	second := s.patched(f.Node, body(0, []byte("second")))
	s.isStack("f", string(second.Version), string(first.Version), "null")
	if first.Node != f.Node || second.Node != f.Node || second.Links != 1 {
		s.Errorf("the patched file is %+v and then %+v; it was %+v", first, second, f)
	}
	s.gives("f", engine.NullVersion, content(1, 70_000))
	s.isFile("f", overlaid(content(1, 70_000), 0, []byte("second")))
	old, err := s.Lookup(s.ctx, s.place("f"), first.Version)
	s.ok(err, "look up the first version")
	if old.Node == f.Node || old.ETag != first.ETag {
		s.Errorf("the first version is %+v; it was %+v", old, first)
	}
	if got := s.bytesOf(old.Node); !bytes.Equal(got, overlaid(content(1, 70_000), 0, []byte("first"))) {
		s.Errorf("the first version holds %s", brief(got))
	}
	for _, n := range []engine.NodeID{old.Node, f.Node} {
		if value, err := s.Xattr(s.ctx, s.node(n), "user.x"); err != nil || string(value) != "1" {
			s.Errorf("node %d has the attribute %q, %v", n, value, err)
		}
	}
	_, err = s.PatchFile(s.ctx, s.node(old.Node), engine.Patch{})
	s.fails(engine.KindBucketState, err, "patch of an older version")
	s.patched(f.Node, clone(100, 5, s.node(old.Node), 0)) // but it gives bytes
	if got := s.bytesOf(f.Node); string(got[100:105]) != "first" {
		s.Errorf("bytes of an older version are %q", got[100:105])
	}
	_, err = s.Delete(s.ctx, s.version("f", s.stated(f.Node).Version), engine.DeleteOptions{})
	s.ok(err, "delete the current version")
	back := s.look("f") // the version before is current, under the number that it got
	if back.Node == f.Node || back.ETag != second.ETag {
		s.Errorf("after the current version is deleted there is %+v", back)
	}
	s.lost(f.Node, "stat of the version that was deleted")
	s.setVersioning(engine.VersioningSuspended)
	third := s.patched(back.Node, body(0, []byte("third")))
	if third.Version != engine.NullVersion {
		s.Errorf("where versioning is suspended a patch makes %+v", third)
	}
	s.isStack("f", "null", string(second.Version), string(first.Version))
	if got := s.bytesOf(old.Node); !bytes.Equal(got, overlaid(content(1, 70_000), 0, []byte("first"))) {
		s.Errorf("in the end the first version holds %s", brief(got))
	}
}

// patchByKey: what S3 sees of a patched file, and what operations by key make of it.
func patchByKey(s *suite) {
	want := content(1, 30_000)
	s.put("f", want)
	n := s.look("f").Node
	patched := s.patched(n, body(100, []byte("patched")), engine.Piece{Offset: 20_000, Length: 100})
	want = overlaid(overlaid(want, 100, []byte("patched")), 20_000, make([]byte, 100))
	if page, err := s.List(s.ctx, s.bucket, engine.ListOptions{}); err != nil || len(page.Objects) != 1 || page.Objects[0].ETag != patched.ETag || page.Objects[0].Size != 30_000 {
		s.Errorf("the listing has %+v, %v", page.Objects, err)
	}
	copied, err := s.Copy(s.ctx, s.ref("f"), s.ref("copy"), engine.CopyOptions{})
	s.ok(err, "copy")
	if copied.ETag != patched.ETag || copied.Parts != 0 {
		s.Errorf("the copy is %+v", copied)
	}
	for _, path := range []string{"f", "copy"} { // both go on as patched
		before := s.look(path)
		info, err := s.Append(s.ctx, s.ref(path), strings.NewReader("appended"), engine.AppendOptions{
			Offset: 30_000, Size: 8, Checksum: func() engine.Checksum { return engine.Checksum{Algorithm: "CRC32", Sum: []byte("1234")} },
		})
		s.ok(err, "append")
		sum := engine.PatchTag(tagOf(s, before.ETag), []engine.PatchedPiece{{Offset: 30_000, Length: 8, Sum: md5.Sum([]byte("appended"))}}, 30_008)
		if info.ETag != engine.ETag(fmt.Sprintf("%x-1", sum)) || info.Parts != 0 || info.Checksum.Algorithm != "" {
			s.Errorf("appended to a patched object it is %+v; the ETag %x-1 is right", info, sum)
		}
		if page, err := s.Parts(s.ctx, s.ref(path), engine.ListPartsOptions{}); err != nil || len(page.Parts) != 0 {
			s.Errorf("it has the parts %+v, %v", page.Parts, err)
		}
		s.isFile(path, append(slices.Clone(want), "appended"...))
	}
	upload, err := s.StartUpload(s.ctx, s.ref("whole"), engine.StartUploadOptions{})
	s.ok(err, "start upload")
	part, err := s.CopyPart(s.ctx, s.ref("f"), s.ref("whole"), upload.ID, 1, engine.CopyPartOptions{Range: &engine.Range{Start: 50, Length: 25_000}})
	s.ok(err, "copy a part")
	if part.ETag != etag(want[50:25_050]) {
		s.Errorf("a part of a patched object has the ETag %q", part.ETag)
	}
	_, err = s.CompleteUpload(s.ctx, s.ref("whole"), upload.ID, engine.CompleteUploadOptions{Parts: []engine.CompletePart{{Number: 1, ETag: part.ETag}}, Size: -1})
	s.ok(err, "complete")
	s.isFile("whole", want[50:25_050])
	whole := s.look("whole")
	s.patched(whole.Node, body(0, []byte("W")))
	if info, err := s.Stat(s.ctx, s.ref("whole"), engine.StatOptions{}); err != nil || info.Parts != 0 || info.ETag == whole.ETag {
		s.Errorf("a patched upload is %+v, %v", info, err)
	}
	_, err = s.Copy(s.ctx, s.ref("f"), s.ref("f"), engine.CopyOptions{Class: engine.ClassReduced}) // stored anew, as one
	s.ok(err, "copy to another class")
	s.holds("f", append(slices.Clone(want), "appended"...))
}

// concurrentPatches: what is put at the end arrives there, whole, and of those who say which sequence they saw one is right.
func concurrentPatches(s *suite) {
	const writers, rounds = 8, 10
	n := s.made("f", engine.TypeRegular).Node
	line := func(writer, round int) string {
		return fmt.Sprintf("%d.%d:%s\n", writer, round, strings.Repeat(string(rune('a'+writer)), 10+writer*300))
	}
	errs := make([]error, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for round := range rounds {
				data := line(w, round)
				piece := engine.Piece{Offset: engine.PieceEnd, Length: int64(len(data)), Body: strings.NewReader(data)}
				if w%2 == 0 {
					staged, err := s.StageFile(s.ctx, s.bucket, strings.NewReader(data), engine.StageOptions{Size: int64(len(data))})
					if err != nil {
						errs[w] = err
						return
					}
					defer staged.Discard()
					piece.Body, piece.Staged = nil, staged
				}
				if _, err := s.PatchFile(s.ctx, s.node(n), engine.Patch{Pieces: []engine.Piece{piece}}); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	all.Wait()
	for w, err := range errs {
		s.ok(err, "writer %d", w)
	}
	next := make([]int, writers)
	lines := strings.SplitAfter(string(s.bytesOf(n)), "\n")
	for _, got := range lines[:len(lines)-1] {
		w := int(got[0] - '0')
		if w >= writers || got != line(w, next[w]) {
			s.Fatalf("a line is %q", got)
		}
		next[w]++
	}
	if slices.Min(next) != rounds {
		s.Errorf("of the writers' lines arrived %v", next)
	}
	seen := s.stated(n).Sequence
	won := 0
	for w := range writers {
		all.Go(func() {
			_, errs[w] = s.PatchFile(s.ctx, s.node(n), engine.Patch{Pieces: []engine.Piece{body(0, []byte{'0' + byte(w)})}, If: seen})
		})
	}
	all.Wait()
	for w, err := range errs {
		if err == nil {
			won++
		} else {
			s.fails(engine.KindConflict, err, "writer %d", w)
		}
	}
	if won != 1 {
		s.Errorf("%d writers found the sequence that they had seen", won)
	}
}

// patchWhole: who reads while a file is patched reads all pieces of a patch or none.
func patchWhole(s *suite) {
	const size = 200_000
	of := func(i int) []byte { return bytes.Repeat([]byte{'a' + byte(i%26)}, size) }
	s.put("f", of(0))
	n, stop := s.look("f").Node, make(chan struct{})
	var readers sync.WaitGroup
	failed := make(chan error, 2)
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, _, err := fetchFile(s.ctx, s.Engine, s.node(n), nil)
				if err == nil && (len(got) < size || !bytes.Equal(got, bytes.Repeat(got[:1], len(got)))) {
					err = fmt.Errorf("a reader has %s", brief(got))
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	ended := sync.OnceFunc(func() { close(stop); readers.Wait() })
	defer ended()
	for i := range 30 {
		data, length := of(i+1), int64(size+i)
		s.patchedBy(n, engine.Patch{Size: &length, Pieces: []engine.Piece{
			body(100_000, data[:100_000]), {Offset: 300_000, Length: 5}, body(0, data[:100_000]), body(size, data[:100]),
		}})
	}
	ended()
	close(failed)
	for err := range failed {
		s.Errorf("%v", err)
	}
}
