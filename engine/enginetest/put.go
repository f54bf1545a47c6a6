package enginetest

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing/iotest"
	"time"

	"holdfast/engine"
)

// sizes stores and reads back around every size at which an engine may change its ways, with the size announced and not.
func sizes(s *suite) {
	for _, size := range []int{
		0, 1, 2, 511, 512, 4095, 4096, 4097, engine.InlineBytesMax - 1, engine.InlineBytesMax, engine.InlineBytesMax + 1,
		64<<10 - 1, 64 << 10, 64<<10 + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 2<<20 - 1, 2 << 20, 2<<20 + 1, 3<<20 + 7, 4<<20 - 1, 4 << 20, 4<<20 + 1,
	} {
		if raced && size > 2<<20+1 {
			break
		}
		data := content(uint64(size), size)
		known, unknown := fmt.Sprintf("known/%d", size), fmt.Sprintf("unknown/%d", size)
		s.put(known, data)
		info, err := s.Put(s.ctx, s.ref(unknown), iotest.HalfReader(bytes.NewReader(data)), engine.PutOptions{Size: -1})
		s.ok(err, "put of %d bytes without a size", size)
		if info.Size != int64(size) || info.ETag != etag(data) {
			s.Errorf("put of %d bytes without a size answered %+v", size, info)
		}
		s.holds(known, data)
		s.holds(unknown, data)
	}
}

// largeObject is larger than an extent.
func largeObject(s *suite) {
	if raced {
		s.Skip("large content takes minutes under the race detector and shows no race that small content does not")
	}
	data := content(64, int(engine.ExtentBytesMax)+3<<20+5)
	s.put("large", data)
	s.holds("large", data)
	border := engine.ExtentBytesMax
	for _, pair := range [][2]int64{{border - 1, 2}, {border, 1}, {border + 1, -1}, {-1, 3<<20 + 6}, {border - 5<<20, 6 << 20}} {
		r := engine.Range{Start: pair[0], Length: pair[1]}
		got, _, err := fetch(s.ctx, s.Engine, s.ref("large"), engine.OpenOptions{Range: &r})
		s.ok(err, "open %+v", r)
		start, end := selection(r, int64(len(data)))
		if !bytes.Equal(got, data[start:end]) {
			s.Errorf("range %+v gave %s; want %s", r, brief(got), brief(data[start:end]))
		}
	}
}

func objectInfo(s *suite) {
	data := content(1, 100)
	before := time.Now().Add(-time.Hour)
	made := s.put("k", data)
	if made.Bucket != s.bucket || made.Key != "k" || made.Size != 100 || made.ETag != etag(data) || made.Class != engine.ClassStandard || made.Parts != 0 {
		s.Errorf("put answered %+v", made)
	}
	if made.Modified.Before(before) {
		s.Errorf("a version of now was modified at %v", made.Modified)
	}
	seen, err := s.Stat(s.ctx, s.ref("k"), engine.StatOptions{})
	s.ok(err, "stat")
	s.same("stat", seen, made)
	_, seen = s.get("k")
	s.same("open", seen, made)
	again := s.put("k", data)
	if again.Modified.Before(made.Modified) {
		s.Errorf("time went backwards from %v to %v", made.Modified, again.Modified)
	}
}

// same compares two descriptions of one version.
func (s *suite) same(what string, got, want engine.ObjectInfo) {
	s.Helper()
	if g, w := describe(got), describe(want); g != w || !got.Modified.Equal(want.Modified) {
		s.Errorf("%s says\n\t%s %v\nwant\n\t%s %v", what, g, got.Modified, w, want.Modified)
	}
}

// describe shows everything about a version but its time.
func describe(i engine.ObjectInfo) string {
	i.Modified = time.Time{}
	user := i.Attributes.User
	i.Attributes.User = nil
	if len(i.Checksum.Sum) == 0 {
		i.Checksum.Sum = nil
	}
	return fmt.Sprintf("%+q %+v user %+q", string(i.Key), i, user)
}

var someAttributes = engine.Attributes{
	ContentType: "text/plain; charset=utf-8", ContentEncoding: "gzip", ContentDisposition: `attachment; filename="a b"`, ContentLanguage: "de, en",
	CacheControl: "no-store", Expires: "not a date", User: map[string]string{"a": "1", "with-dash": "", "unicode": "größe ∞", "space": "  x  "},
}

func attributes(s *suite) {
	want := someAttributes
	want.User = maps.Clone(someAttributes.User)
	given := someAttributes
	given.User = maps.Clone(someAttributes.User)
	made, err := s.Put(s.ctx, s.ref("k"), strings.NewReader("x"), engine.PutOptions{Size: 1, Attributes: given})
	s.ok(err, "put")
	given.User["a"] = "changed by the caller"
	made.Attributes.User["a"] = "changed by the caller"
	seen, err := s.Stat(s.ctx, s.ref("k"), engine.StatOptions{})
	s.ok(err, "stat")
	made.Attributes = want
	s.same("stat", seen, made)
	seen.Attributes.User["a"] = "changed by the reader"
	_, seen = s.get("k")
	s.same("open", seen, made)
	s.put("k", nil)
	if seen, err = s.Stat(s.ctx, s.ref("k"), engine.StatOptions{}); err != nil || seen.Attributes.ContentType != "" || len(seen.Attributes.User) != 0 {
		s.Errorf("attributes survive an overwrite: %+v %v", seen, err)
	}
}

func attributesTooLarge(s *suite) {
	user := map[string]string{"a": strings.Repeat("x", 1000), "bc": strings.Repeat("y", 1045)}
	_, err := s.Put(s.ctx, s.ref("k"), strings.NewReader("x"), engine.PutOptions{Size: 1, Attributes: engine.Attributes{User: user}})
	s.ok(err, "put with %d bytes of user metadata", engine.UserMetadataBytesMax)
	user["a"] += "x"
	_, err = s.Put(s.ctx, s.ref("l"), strings.NewReader("x"), engine.PutOptions{Size: 1, Attributes: engine.Attributes{User: user}})
	s.fails(engine.KindInvalidArgument, err, "put with a byte more of user metadata")
	s.absent("l")
	_, err = s.StartUpload(s.ctx, s.ref("l"), engine.StartUploadOptions{Attributes: engine.Attributes{User: user}})
	s.fails(engine.KindInvalidArgument, err, "upload with too much user metadata")
}

// sequence: the changes of a bucket are numbered without gaps; what changes nothing takes no number.
func sequence(s *suite) {
	step := func(want engine.Sequence, key string) {
		s.Helper()
		if info := s.put(key, []byte(key)); info.Sequence != want {
			s.Errorf("the change has sequence %d; want %d", info.Sequence, want)
		}
	}
	step(1, "a")
	step(2, "b/c")
	s.remove("a") // 3
	s.remove("never was")
	_, err := s.Put(s.ctx, s.ref("b/c"), strings.NewReader("x"), engine.PutOptions{Size: 1, If: engine.Conditions{NoneMatchAny: true}})
	s.fails(engine.KindPreconditionFailed, err, "a conditional put")
	step(4, "a")
	if info, err := s.Stat(s.ctx, s.ref("b/c"), engine.StatOptions{}); err != nil || info.Sequence != 2 {
		s.Errorf("stat answered %+v, %v; want sequence 2", info, err)
	}
}

// strangeKeys are all different keys. Nothing is normalised.
var strangeKeys = []string{
	"a", "a/", "a/b", "a//b", "a//", "/a", "/", "//", "///", "./a", "../a", "a/..", "a/../b", "..", ".", "a/.", "a\x00b", "\x00", "a\x7f",
	"a b", "a+b", "a%2fb", "a%", "a?b", "a#b", "a&b", `a\b`, "ä", "a\u0308", "ａ", "a\u202eb", "\U0010ffff", "a\n", "\t", "-", "a-", "a.", "a0", "A", "<>", `"`,
	"null", "\ufeff", "日本/語", "a/b/c/d/e/f/g/h",
}

func keys(s *suite) {
	each(len(strangeKeys), func(i int) {
		data := []byte(strangeKeys[i])
		if _, err := s.Put(s.ctx, s.ref(strangeKeys[i]), bytes.NewReader(data), engine.PutOptions{Size: int64(len(data))}); err != nil {
			s.Errorf("put %q: %v", strangeKeys[i], err)
		}
	})
	for _, key := range strangeKeys {
		s.holds(key, []byte(key))
	}
	for i, key := range strangeKeys {
		if i%2 == 0 {
			s.remove(key)
		}
	}
	for i, key := range strangeKeys {
		if i%2 == 0 {
			s.absent(key)
		} else {
			s.holds(key, []byte(key))
		}
	}
}

func keyLimits(s *suite) {
	long := strings.Repeat("k", engine.KeyBytesMax)
	deep := strings.Repeat("/", engine.KeyBytesMax)
	wide := strings.Repeat("é", engine.KeyBytesMax/2)
	for i, key := range []string{long, deep, wide, strings.Repeat("a/", engine.KeyBytesMax/2)} {
		s.put(key, []byte{byte(i)})
		s.holds(key, []byte{byte(i)})
	}
	for _, c := range []struct {
		key  string
		kind engine.Kind
	}{{"", engine.KindInvalidArgument}, {"a\xff", engine.KindInvalidArgument}, {long + "k", engine.KindKeyTooLong}, {deep + "/", engine.KindKeyTooLong}} {
		s.refusesKey(c.key, c.kind)
	}
}

// refusesKey: every method that takes a key answers kind.
func (s *suite) refusesKey(key string, kind engine.Kind) {
	s.Helper()
	what := fmt.Sprintf("with a key of %d bytes", len(key))
	ref := s.ref(key)
	_, err := s.Put(s.ctx, ref, strings.NewReader("x"), engine.PutOptions{Size: 1})
	s.fails(kind, err, "put %s", what)
	_, err = s.Open(s.ctx, ref, engine.OpenOptions{})
	s.fails(kind, err, "open %s", what)
	_, err = s.Stat(s.ctx, ref, engine.StatOptions{})
	s.fails(kind, err, "stat %s", what)
	_, err = s.Delete(s.ctx, ref, engine.DeleteOptions{})
	s.fails(kind, err, "delete %s", what)
	_, err = s.StartUpload(s.ctx, ref, engine.StartUploadOptions{})
	s.fails(kind, err, "start upload %s", what)
}

// versions: a bucket without versioning has one version of each object, called "null".
func versions(s *suite) {
	s.put("k", []byte("x"))
	ref := s.ref("k")
	ref.Version = "null"
	if _, err := s.Stat(s.ctx, ref, engine.StatOptions{}); err != nil {
		s.Errorf("stat of version null: %v", err)
	}
	for _, malformed := range []engine.VersionID{"4f6d", "NULL", "0000000000000000", "00000000000000AB", "000000000000000ab"} {
		ref.Version = malformed
		_, err := s.Stat(s.ctx, ref, engine.StatOptions{})
		s.fails(engine.KindInvalidArgument, err, "stat of version %q", malformed)
	}
	ref.Version = engine.FormatVersion(1 << 40)
	_, err := s.Stat(s.ctx, ref, engine.StatOptions{})
	s.fails(engine.KindNoSuchVersion, err, "stat of an unknown version")
	_, err = s.Open(s.ctx, ref, engine.OpenOptions{})
	s.fails(engine.KindNoSuchVersion, err, "open of an unknown version")
	s.holds("k", []byte("x"))
}

var errBody = errors.New("the body's own error")

// broken gives n bytes and then err.
func broken(n int, err error) io.Reader {
	return io.MultiReader(bytes.NewReader(content(7, n)), iotest.ErrReader(err))
}

// brokenBodies are bodies that do not give what was announced. Kind nil: any, with the body's error in the chain.
var brokenBodies = []struct {
	name string
	size int64 // announced: -1 no size
	body func(n int) io.Reader
	kind *engine.Kind
	err  error
}{
	{"own error", 1, func(n int) io.Reader { return broken(n/2, errBody) }, nil, errBody},
	{"own error without size", -1, func(n int) io.Reader { return broken(n/2, errBody) }, nil, errBody},
	{"own error at the end", 1, func(n int) io.Reader { return broken(n, errBody) }, nil, errBody},
	{"own error at the end without size", -1, func(n int) io.Reader { return broken(n, errBody) }, nil, errBody},
	{"own Kind", 1, func(n int) io.Reader { return broken(n/2, engine.E(engine.KindBadDigest, "a verifying body says no")) }, some(engine.KindBadDigest), nil},
	{"own Kind at the end", 1, func(n int) io.Reader { return broken(n, engine.E(engine.KindAccessDenied, "a verifying body says no")) }, some(engine.KindAccessDenied), nil},
	{"own Kind without size", -1, func(n int) io.Reader { return broken(n, engine.E(engine.KindQuota, "a verifying body says no")) }, some(engine.KindQuota), nil},
	{"unexpected EOF", 1, func(n int) io.Reader { return broken(n/2, io.ErrUnexpectedEOF) }, some(engine.KindIncompleteBody), nil},
	{"unexpected EOF without size", -1, func(n int) io.Reader { return broken(n/2, io.ErrUnexpectedEOF) }, some(engine.KindIncompleteBody), nil},
	{"unexpected EOF at once without size", -1, func(int) io.Reader { return broken(0, io.ErrUnexpectedEOF) }, some(engine.KindIncompleteBody), nil},
	{"unexpected EOF at the end", 1, func(n int) io.Reader { return broken(n, io.ErrUnexpectedEOF) }, some(engine.KindIncompleteBody), nil},
	{"short by one", 1, func(n int) io.Reader { return bytes.NewReader(content(7, n-1)) }, some(engine.KindIncompleteBody), nil},
	{"empty", 1, func(int) io.Reader { return strings.NewReader("") }, some(engine.KindIncompleteBody), nil},
	{"long by one", 1, func(n int) io.Reader { return bytes.NewReader(content(7, n+1)) }, some(engine.KindInvalidArgument), nil},
}

// bodySizes are below and above what rides in a command, and above a block.
var bodySizes = []int{2, engine.InlineBytesMax, 100_000, 3<<20 + 1}

func bodies(s *suite) {
	for _, size := range bodySizes {
		for _, b := range brokenBodies {
			announced := int64(size) * max(b.size, 0)
			if b.size < 0 {
				announced = -1
			}
			_, err := s.Put(s.ctx, s.ref("k"), b.body(size), engine.PutOptions{Size: announced})
			s.broke(b.kind, b.err, err, "put of %d bytes, %s", size, b.name)
			if s.absent("k"); err == nil {
				s.remove("k")
			}
		}
	}
	data := content(8, 100_000)
	for name, body := range map[string]io.Reader{
		"byte by byte": iotest.OneByteReader(bytes.NewReader(data)), "data with EOF": iotest.DataErrReader(bytes.NewReader(data)),
	} {
		_, err := s.Put(s.ctx, s.ref(name), body, engine.PutOptions{Size: int64(len(data))})
		s.ok(err, "put %s", name)
		s.holds(name, data)
	}
}

func (s *suite) broke(kind *engine.Kind, cause, err error, format string, args ...any) {
	s.Helper()
	if kind != nil {
		s.fails(*kind, err, format, args...)
	} else if !errors.Is(err, cause) {
		s.Errorf("%s: %v; want the body's error in the chain", fmt.Sprintf(format, args...), err)
	}
}

// bodyKeepsOld: a body that fails leaves what was there.
func bodyKeepsOld(s *suite) {
	old := content(1, 100_000)
	made := s.put("k", old)
	for _, b := range brokenBodies[:6] {
		for _, size := range bodySizes {
			_, err := s.Put(s.ctx, s.ref("k"), b.body(size), engine.PutOptions{Size: -1, MD5: make([]byte, md5.Size)})
			if err == nil {
				s.Errorf("put of a failing body, %s: no error", b.name)
			}
		}
	}
	s.holds("k", old)
	seen, err := s.Stat(s.ctx, s.ref("k"), engine.StatOptions{})
	s.ok(err, "stat")
	s.same("stat", seen, made)
}

func digest(s *suite) {
	for _, size := range bodySizes {
		data := content(3, size)
		right, wrong := md5.Sum(data), md5.Sum(data[1:])
		for _, announced := range []int64{int64(size), -1} {
			_, err := s.Put(s.ctx, s.ref("k"), bytes.NewReader(data), engine.PutOptions{Size: announced, MD5: wrong[:]})
			s.fails(engine.KindBadDigest, err, "put of %d bytes with a wrong MD5", size)
			s.absent("k")
			_, err = s.Put(s.ctx, s.ref("k"), bytes.NewReader(data), engine.PutOptions{Size: announced, MD5: right[:]})
			s.ok(err, "put of %d bytes with the right MD5", size)
			s.holds("k", data)
			s.remove("k")
		}
	}
}

// checksumCall: the caller's checksum is asked for once, after the body has ended, and kept with the version.
func checksumCall(s *suite) {
	for _, size := range append([]int{0}, bodySizes...) {
		body := &ended{r: bytes.NewReader(content(4, size))}
		calls := 0
		want := engine.Checksum{Algorithm: "CRC32C", Sum: []byte{1, 2, 3, byte(size)}}
		made, err := s.Put(s.ctx, s.ref("k"), body, engine.PutOptions{Size: int64(size), Checksum: func() engine.Checksum {
			if calls++; !body.ended {
				s.Errorf("the checksum of %d bytes was asked for before the body had ended", size)
			}
			return want
		}})
		s.ok(err, "put")
		if calls != 1 {
			s.Errorf("the checksum of %d bytes was asked for %d times", size, calls)
		}
		seen, err := s.Stat(s.ctx, s.ref("k"), engine.StatOptions{})
		s.ok(err, "stat")
		s.same("stat", seen, made)
		if seen.Checksum.Algorithm != want.Algorithm || !bytes.Equal(seen.Checksum.Sum, want.Sum) || seen.Checksum.Composite {
			s.Errorf("the version has the checksum %+v; want %+v", seen.Checksum, want)
		}
		_, err = s.Put(s.ctx, s.ref("k"), broken(size, errBody), engine.PutOptions{Size: int64(size) + 1, Checksum: func() engine.Checksum {
			s.Error("the checksum of a body that failed was asked for")
			return engine.Checksum{}
		}})
		if !errors.Is(err, errBody) {
			s.Errorf("put of a failing body: %v", err)
		}
	}
}

// ended notes that its reader has said io.EOF.
type ended struct {
	r     io.Reader
	ended bool
}

func (e *ended) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.ended = e.ended || err == io.EOF
	return n, err
}

func tooLarge(s *suite) {
	_, err := s.Put(s.ctx, s.ref("k"), strings.NewReader("x"), engine.PutOptions{Size: engine.PutBytesMax + 1})
	s.fails(engine.KindEntityTooLarge, err, "put of more than %d bytes", engine.PutBytesMax)
	s.absent("k")
	u := s.start("k", engine.StartUploadOptions{})
	_, err = s.PutPart(s.ctx, s.ref("k"), u.ID, 1, strings.NewReader("x"), engine.PutPartOptions{Size: engine.PutBytesMax + 1})
	s.fails(engine.KindEntityTooLarge, err, "a part of more than %d bytes", engine.PutBytesMax)
}

// canceled: a write whose context has ended before it began changes nothing and says KindCanceled. When the context ends midway that is
// right as well, and so is KindUnavailable, which leaves open what has happened.
func canceled(s *suite) {
	for i, size := range bodySizes {
		before, midway := fmt.Sprint("before", i), fmt.Sprint("midway", i)
		data := content(5, size)
		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		_, err := s.Put(ctx, s.ref(before), bytes.NewReader(data), engine.PutOptions{Size: int64(size)})
		s.fails(engine.KindCanceled, err, "put of %d bytes with an ended context", size)
		s.absent(before)
		ctx, cancel = context.WithCancel(s.ctx)
		body := io.MultiReader(bytes.NewReader(data[:size/2]), canceling{cancel}, bytes.NewReader(data[size/2:]))
		_, err = s.Put(ctx, s.ref(midway), body, engine.PutOptions{Size: int64(size)})
		cancel()
		if !engine.Is(err, engine.KindUnavailable) {
			s.fails(engine.KindCanceled, err, "put of %d bytes whose context ends midway", size)
			s.absent(midway)
		}
	}
}

// canceling is an empty body that ends a context.
type canceling struct{ cancel func() }

func (c canceling) Read([]byte) (int, error) {
	c.cancel()
	return 0, io.EOF
}

func deleteObject(s *suite) {
	for _, size := range append([]int{0}, bodySizes...) {
		s.put("k", content(6, size))
		result, err := s.Delete(s.ctx, s.ref("k"), engine.DeleteOptions{})
		s.ok(err, "delete")
		if !result.Existed || result.Marker {
			s.Errorf("delete of an object answered %+v", result)
		}
		s.absent("k")
		result, err = s.Delete(s.ctx, s.ref("k"), engine.DeleteOptions{})
		s.ok(err, "delete of an absent key")
		if result.Existed || result.Marker {
			s.Errorf("delete of an absent key answered %+v", result)
		}
	}
	s.put("a/b/c", []byte("x"))
	for _, key := range []string{"a", "a/", "a/b", "a/b/", "a/b/c/", "a/b/c/d"} {
		s.remove(key)
	}
	s.holds("a/b/c", []byte("x"))
}
