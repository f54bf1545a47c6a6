package s3

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/crc64nvme"
	sha256 "github.com/minio/sha256-simd"

	"holdfast/engine"
	"holdfast/gateways/s3/sigv4"
	"holdfast/gateways/s3/wire"
)

// algorithm is one of the additional checksums of S3.
type algorithm struct {
	name   string // as engine.Checksum and x-amz-checksum-algorithm have it
	header string // canonical name of the header that carries a sum
	bytes  int
	new    func() hash.Hash
	// full and composite say which checksums of a whole upload S3 allows.
	full, composite bool
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var algorithms = []algorithm{
	{"CRC64NVME", "X-Amz-Checksum-Crc64nvme", 8, func() hash.Hash { return crc64nvme.New() }, true, false},
	{"CRC32", "X-Amz-Checksum-Crc32", 4, func() hash.Hash { return crc32.NewIEEE() }, true, true},
	{"CRC32C", "X-Amz-Checksum-Crc32c", 4, func() hash.Hash { return crc32.New(castagnoli) }, true, true},
	{"SHA1", "X-Amz-Checksum-Sha1", sha1.Size, sha1.New, false, true},
	{"SHA256", "X-Amz-Checksum-Sha256", sha256.Size, func() hash.Hash { return sha256.New() }, false, true},
}

func algorithmNamed(name string) *algorithm {
	for i := range algorithms {
		if strings.EqualFold(algorithms[i].name, name) {
			return &algorithms[i]
		}
	}
	return nil
}

// sum finishes h. CRC sums are big-endian.
func (a *algorithm) sum(h hash.Hash) []byte {
	if h, ok := h.(hash.Hash64); ok {
		return binary.BigEndian.AppendUint64(nil, h.Sum64())
	}
	return h.Sum(nil)
}

// parse reads the base64 text of a sum.
func (a *algorithm) parse(text string) ([]byte, error) {
	sum, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(sum) != a.bytes {
		return nil, faultf("InvalidRequest", "Value for "+strings.ToLower(a.header)+" header is invalid.")
	}
	return sum, nil
}

// source gives the bytes of a body, and what a client says behind them.
type source interface {
	io.Reader
	// Announced has the names of the trailers in lower case; Trailer finds one when Read has given the last byte.
	Announced() []string
	Trailer(name string) (string, bool)
}

// content is the body of an object or part. It hands out the last byte only when signature, trailer and checksum are right, so that
// an engine that counts bytes and one that waits for the end are both served. Its errors are of the engine's type.
type content struct {
	call *call
	body source
	size int64 // -1 if it is not known
	left int64
	err  error

	algorithm *algorithm // nil if no checksum is kept
	hash      hash.Hash
	expected  []byte // from a header; nil if the sum comes in a trailer or was not given
	trailer   string // name of the trailer that has the sum, in lower case
	sum       []byte // of the content, once it has ended
}

// openContent prepares the body of the request. The checksum is the one that the client names, or else fallback (which may be nil).
func (c *call) openContent(fallback *algorithm) (*content, error) {
	body, err := c.signed.Body(c.incoming, c.contentLength())
	if err != nil {
		return nil, err
	}
	if body.Length > engine.PutBytesMax {
		return nil, fault("EntityTooLarge", wire.Field{Name: "ProposedSize", Value: strconv.FormatInt(body.Length, 10)},
			wire.Field{Name: "MaxSizeAllowed", Value: strconv.FormatInt(engine.PutBytesMax, 10)})
	}
	t := &content{call: c, body: body, size: body.Length, left: body.Length}
	if err := t.chooseChecksum(c.r.Header, fallback); err != nil {
		return nil, err
	}
	if t.size == 0 { // there is no last byte to hold back
		if _, err := t.Read(nil); err != io.EOF {
			return nil, err
		}
	}
	return t, nil
}

// contentLength is that of the message, -1 if none was given; net/http makes 0 of an absent one.
func (c *call) contentLength() int64 {
	if c.r.ProtoMajor == 1 && len(c.r.TransferEncoding) == 0 && len(c.r.Header["Content-Length"]) == 0 {
		return -1
	}
	return c.r.ContentLength
}

// chooseChecksum finds the one checksum that the client gives, in a header or in a trailer.
func (t *content) chooseChecksum(h http.Header, fallback *algorithm) error {
	for i := range algorithms {
		a := &algorithms[i]
		text := h.Get(a.header)
		if text == "" {
			continue
		}
		sum, err := a.parse(text)
		if err != nil {
			return err
		}
		if t.algorithm != nil {
			return faultf("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		t.algorithm, t.expected = a, sum
	}
	for _, name := range t.body.Announced() {
		suffix, ok := strings.CutPrefix(name, "x-amz-checksum-")
		a := algorithmNamed(suffix)
		if !ok || a == nil {
			return faultf("InvalidRequest", "The value specified in the x-amz-trailer header is not supported", wire.Field{Name: "Header", Value: "x-amz-trailer"})
		}
		if t.algorithm != nil {
			return faultf("InvalidRequest", "Expecting a single x-amz-checksum- header or trailer. Multiple checksum Types are not allowed.")
		}
		t.algorithm, t.trailer = a, name
	}
	if err := t.checkNamed(h.Get("X-Amz-Sdk-Checksum-Algorithm")); err != nil {
		return err
	}
	if err := t.checkAsked(h.Get("X-Amz-Checksum-Algorithm"), h.Get("X-Amz-Checksum-Type")); err != nil {
		return err
	}
	if t.algorithm == nil {
		t.algorithm = fallback
	}
	if t.algorithm != nil {
		t.hash = t.algorithm.new()
	}
	return nil
}

func (t *content) checkNamed(name string) error {
	switch {
	case name == "":
		return nil
	case algorithmNamed(name) == nil:
		return faultf("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
	case t.algorithm == nil:
		return faultf("InvalidRequest", "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	case algorithmNamed(name) != t.algorithm:
		return faultf("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is not that of the checksum given.")
	}
	return nil
}

// checkAsked reads x-amz-checksum-algorithm and -type, with which some clients say which checksum they want to be kept. The type is
// that of the whole upload; for the sum of one part it makes no difference.
func (t *content) checkAsked(name, kind string) error {
	a := algorithmNamed(name)
	switch {
	case kind != "" && !strings.EqualFold(kind, "FULL_OBJECT") && !strings.EqualFold(kind, "COMPOSITE"):
		return faultf("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
	case name == "":
	case a == nil, t.algorithm != nil && t.algorithm != a:
		return faultf("InvalidRequest", "Value for x-amz-checksum-algorithm header is invalid.")
	default:
		t.algorithm = a
	}
	return nil
}

// Read is io.Reader.
func (t *content) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.body.Read(p)
	if t.hash != nil {
		t.hash.Write(p[:n])
	}
	t.left -= int64(n)
	t.call.record.Received += int64(n)
	if err == io.EOF || err == nil && t.left == 0 && n > 0 {
		if err := t.compare(); err != nil {
			t.err = err
			return 0, err
		}
	} else if err != nil {
		err = bodyError(err)
	}
	t.err = err
	return n, err
}

// compare finishes the checksum, once, and compares it with what the client gave.
func (t *content) compare() error {
	if t.algorithm == nil || t.sum != nil {
		return nil
	}
	t.sum = t.algorithm.sum(t.hash)
	if t.trailer != "" {
		text, _ := t.body.Trailer(t.trailer)
		var err error
		if t.expected, err = t.algorithm.parse(text); err != nil {
			return &engine.Error{Kind: engine.KindInvalidArgument, Err: err}
		}
	}
	if t.expected != nil && string(t.expected) != string(t.sum) {
		return &engine.Error{Kind: engine.KindBadDigest, Err: faultf("BadDigest", "The "+t.algorithm.name+" you specified did not match the calculated checksum.")}
	}
	return nil
}

// bodyError gives an error of the body the Kind that the engine passes on.
func bodyError(err error) error {
	kind := engine.KindIncompleteBody
	var refused *sigv4.Error
	switch {
	case errors.As(err, &refused) && refused.Code == "XAmzContentSHA256Mismatch":
		kind = engine.KindBadDigest
	case errors.As(err, &refused) && refused.Code != "IncompleteBody":
		kind = engine.KindInvalidArgument
	}
	return &engine.Error{Kind: kind, Err: err}
}

// checksum is PutOptions.Checksum.
func (t *content) checksum() engine.Checksum {
	if t.algorithm == nil {
		return engine.Checksum{}
	}
	return engine.Checksum{Algorithm: t.algorithm.name, Sum: t.sum}
}

// failure prefers what went wrong with the body to what the engine made of it.
func (t *content) failure(err error) error {
	if t.err != nil && t.err != io.EOF {
		return t.err
	}
	return err
}

// document reads the whole body of a request that carries XML, verified. required says that it must bring an MD5 or a checksum
// beside its signature.
func (c *call) document(limit int64, required bool) ([]byte, error) {
	sum, err := contentMD5(c.r.Header)
	if err != nil {
		return nil, err
	}
	t, err := c.openContent(nil)
	if err != nil {
		return nil, err
	}
	if required && sum == nil && t.algorithm == nil {
		return nil, faultf("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	if t.size > limit {
		return nil, fault("MaxMessageLengthExceeded", wire.Field{Name: "MaxMessageLengthBytes", Value: strconv.FormatInt(limit, 10)})
	}
	document, err := io.ReadAll(t)
	if err != nil {
		return nil, err
	}
	if digest := md5.Sum(document); sum != nil && string(sum) != string(digest[:]) {
		return nil, fault("BadDigest", wire.Field{Name: "ExpectedDigest", Value: c.r.Header.Get("Content-Md5")},
			wire.Field{Name: "CalculatedDigest", Value: base64.StdEncoding.EncodeToString(digest[:])})
	}
	return document, nil
}

// contentMD5 returns the digest of a Content-MD5 header, or nil.
func contentMD5(h http.Header) ([]byte, error) {
	values, given := h["Content-Md5"]
	if !given {
		return nil, nil
	}
	sum, err := base64.StdEncoding.DecodeString(values[0])
	if err != nil || len(sum) != md5.Size {
		return nil, fault("InvalidDigest", wire.Field{Name: "Content-MD5", Value: values[0]})
	}
	return sum, nil
}

// checksumText is the text of a checksum in headers and documents: base64, and the number of parts if it is composite.
func checksumText(s engine.Checksum) string {
	text := base64.StdEncoding.EncodeToString(s.Sum)
	if s.Composite {
		text += "-" + strconv.Itoa(s.Parts)
	}
	return text
}

// checksumType is the value of x-amz-checksum-type.
func checksumType(composite bool) string {
	if composite {
		return "COMPOSITE"
	}
	return "FULL_OBJECT"
}

// setChecksum puts a checksum into the headers of an answer.
func setChecksum(h http.Header, s engine.Checksum, withType bool) {
	a := algorithmNamed(s.Algorithm)
	if a == nil || len(s.Sum) == 0 {
		return
	}
	h.Set(a.header, checksumText(s))
	if withType {
		h.Set("X-Amz-Checksum-Type", checksumType(s.Composite))
	}
}
