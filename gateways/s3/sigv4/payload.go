package sigv4

import (
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strconv"
	"strings"

	sha256 "github.com/minio/sha256-simd"
)

// Payload says how the signature covers the body: the value of x-amz-content-sha256.
type Payload uint8

// The payload modes.
const (
	Literal                  Payload = iota // the SHA-256 of the whole body
	Unsigned                                // UNSIGNED-PAYLOAD
	StreamingSigned                         // STREAMING-AWS4-HMAC-SHA256-PAYLOAD
	StreamingSignedTrailer                  // STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER
	StreamingUnsignedTrailer                // STREAMING-UNSIGNED-PAYLOAD-TRAILER
)

func (p Payload) streaming() bool { return p >= StreamingSigned }
func (p Payload) signed() bool    { return p == StreamingSigned || p == StreamingSignedTrailer }
func (p Payload) trailer() bool   { return p == StreamingSignedTrailer || p == StreamingUnsignedTrailer }

func parsePayload(s string) (p Payload, digest [sha256.Size]byte, err error) {
	switch s {
	case "UNSIGNED-PAYLOAD":
		return Unsigned, digest, nil
	case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
		return StreamingSigned, digest, nil
	case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
		return StreamingSignedTrailer, digest, nil
	case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
		return StreamingUnsignedTrailer, digest, nil
	}
	if !isHex64(s) {
		return p, digest, refuse("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "+
			"STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, or a valid sha256 value.",
			Field{"ArgumentName", "x-amz-content-sha256"}, Field{"ArgumentValue", s})
	}
	hex.Decode(digest[:], []byte(s)) // isHex64 has looked at every digit
	return Literal, digest, nil
}

// TrailersMax bounds the trailing headers of a body.
const TrailersMax = 8

// Body is the decoded body of a signed request. Read returns the last byte only when everything about the body has been verified;
// an empty body is verified by the first Read. Errors are *Error or those of the connection. It is not safe for concurrent use.
type Body struct {
	Length   int64 // number of bytes that Read gives
	source   io.Reader
	left     int64
	verified bool
	err      error

	literal hash.Hash // nil unless the payload is Literal
	digest  [sha256.Size]byte
	chunks  *chunkReader // nil unless the payload is streaming
}

// Body returns the reader of r's body. contentLength is that of the HTTP message, -1 if it was not given, in which case only a
// streaming payload has a length.
func (s *Signed) Body(source io.Reader, contentLength int64) (*Body, error) {
	announced, decoded := s.header.Values("X-Amz-Trailer"), s.header.Values("X-Amz-Decoded-Content-Length")
	if !s.Payload.trailer() && len(announced) > 0 {
		return nil, refuse("InvalidRequest", "x-amz-trailer was given, but x-amz-content-sha256 does not say that trailers follow.")
	}
	b := &Body{source: source, Length: contentLength}
	if len(decoded) > 0 {
		n, err := strconv.ParseInt(decoded[0], 10, 64)
		if err != nil || n < 0 || len(decoded) > 1 {
			return nil, refuse("InvalidArgument", "x-amz-decoded-content-length must be a number of bytes.",
				Field{"ArgumentName", "x-amz-decoded-content-length"}, Field{"ArgumentValue", decoded[0]})
		}
		if !s.Payload.streaming() && n != contentLength {
			return nil, refuse("InvalidRequest", "x-amz-decoded-content-length differs from Content-Length, and the body is not in chunks.")
		}
		b.Length = n
	}
	if s.Payload.streaming() {
		if len(decoded) == 0 {
			return nil, refuse("MissingContentLength", "You must provide the x-amz-decoded-content-length header with a body in chunks.")
		}
		trailers, err := parseTrailerNames(announced, s.Payload.trailer())
		if err != nil {
			return nil, err
		}
		b.chunks = newChunkReader(s, source, b.Length, trailers)
		b.source = b.chunks
	} else if b.Length < 0 {
		return nil, refuse("MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if s.Payload == Literal {
		b.literal, b.digest = sha256.New(), s.digest
	}
	b.left = b.Length
	return b, nil
}

// parseTrailerNames reads x-amz-trailer: names in lower case, each once.
func parseTrailerNames(values []string, wanted bool) (map[string]bool, error) {
	names := map[string]bool{}
	for _, value := range values {
		for _, name := range strings.Split(value, ",") {
			name = strings.ToLower(strings.TrimSpace(name))
			if name == "" || names[name] || len(names) == TrailersMax {
				return nil, refuse("InvalidRequest", "The value specified in the x-amz-trailer header is not supported",
					Field{"Header", "x-amz-trailer"})
			}
			names[name] = true
		}
	}
	if wanted && len(names) == 0 {
		return nil, refuse("InvalidRequest", "x-amz-content-sha256 says that trailers follow, but x-amz-trailer names none.")
	}
	return names, nil
}

// Announced returns the names of the trailers that will follow the body.
func (b *Body) Announced() []string {
	if b.chunks == nil {
		return nil
	}
	names := make([]string, 0, len(b.chunks.announced))
	for name := range b.chunks.announced {
		names = append(names, name)
	}
	return names
}

// Trailer returns a verified trailer by its name in lower case. It is there when Read has given the last byte.
func (b *Body) Trailer(name string) (string, bool) {
	if b.chunks == nil || !b.verified {
		return "", false
	}
	value, ok := b.chunks.trailers[name]
	return value, ok
}

// Read is io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		if b.err = b.finish(); b.err == nil {
			b.err = io.EOF
		}
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.source.Read(p[:min(int64(len(p)), b.left)])
	if b.literal != nil {
		b.literal.Write(p[:n])
	}
	b.left -= int64(n)
	if b.left == 0 {
		if b.err = b.finish(); b.err != nil {
			return 0, b.err
		}
		b.err = io.EOF
		return n, nil
	}
	if err != nil {
		b.err = incomplete(err)
		return n, b.err
	}
	return n, nil
}

// finish proves that nothing follows, and that what came is what was signed.
func (b *Body) finish() error {
	var one [1]byte
	for range 100 {
		n, err := b.source.Read(one[:])
		switch {
		case n > 0:
			return refuse("IncompleteBody", "The request body has more bytes than its length says.")
		case err == io.EOF:
			return b.compare()
		case err != nil:
			return incomplete(err)
		}
	}
	return io.ErrNoProgress
}

func (b *Body) compare() error {
	if b.literal != nil {
		if sum := b.literal.Sum(nil); string(sum) != string(b.digest[:]) {
			return refuse("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.",
				Field{"ClientComputedContentSHA256", hex.EncodeToString(b.digest[:])},
				Field{"S3ComputedContentSHA256", hex.EncodeToString(sum)})
		}
	}
	b.verified = true
	return nil
}

// incomplete names the end of a body that came too early.
func incomplete(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")
	}
	return err
}
