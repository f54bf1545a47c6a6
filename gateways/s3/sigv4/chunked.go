package sigv4

import (
	"bufio"
	"encoding/hex"
	"hash"
	"io"
	"slices"
	"strings"

	sha256 "github.com/minio/sha256-simd"
)

// The aws-chunked encoding. A signed chunk is
//
//	<size in hexadecimal>;chunk-signature=<64 hexadecimal digits>\r\n
//	<bytes>\r\n
//
// and an unsigned one has no signature. A chunk of size 0 ends the data. Trailers follow it as lines "name:value"; signed ones end
// with "x-amz-trailer-signature:<64 hexadecimal digits>". An empty line ends the body. Clients differ in where they put "\n" and
// "\r\n" around trailers, so lines may end with either, empty lines between trailers are passed over, and the body's end counts.
const (
	chunkLineBytesMax = 4 << 10
	// chunkBytesMin is the least size of a signed chunk but the last, as in S3.
	chunkBytesMin = 8 << 10
	// chunkDigitsMax bounds the size field.
	chunkDigitsMax = 16
)

var emptyHash = hexHash("")

type chunkReader struct {
	request *Signed
	in      *bufio.Reader
	left    int64 // bytes of the body that have not come yet
	chunk   int64 // bytes of the current chunk that have not come yet
	small   bool  // a chunk below chunkBytesMin has come, so no other may follow
	open    bool  // inside a chunk
	err     error // why there is nothing more: io.EOF, or what went wrong

	previous  string // signature before the one that comes next
	claimed   string // signature of the current chunk
	sum       hash.Hash
	announced map[string]bool
	trailers  map[string]string
}

func newChunkReader(s *Signed, source io.Reader, length int64, announced map[string]bool) *chunkReader {
	c := &chunkReader{request: s, in: bufio.NewReaderSize(source, chunkLineBytesMax), left: length, previous: s.seed,
		announced: announced, trailers: map[string]string{}}
	if s.Payload.signed() {
		c.sum = sha256.New()
	}
	return c
}

// Read is io.Reader. The bytes of a chunk may be given before its signature has been seen to be right; Body keeps the last back.
func (c *chunkReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.read(p)
	c.err = err
	return n, err
}

func (c *chunkReader) read(p []byte) (int, error) {
	if !c.open {
		if err := c.begin(); err != nil {
			return 0, err
		}
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.chunk)])
	if c.sum != nil {
		c.sum.Write(p[:n])
	}
	c.chunk -= int64(n)
	c.left -= int64(n)
	if c.chunk > 0 {
		return n, incompleteOrNil(err)
	}
	if err := c.end(); err != nil {
		return 0, err
	}
	return n, nil
}

func incompleteOrNil(err error) error {
	if err == nil {
		return nil
	}
	return incomplete(err)
}

// begin reads the header of a chunk; io.EOF after the last one and its trailers.
func (c *chunkReader) begin() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	size, err := c.parseHeader(line)
	if err != nil {
		return err
	}
	if size > c.left {
		return refuse("IncompleteBody", "The chunks of the body have more bytes than x-amz-decoded-content-length says.")
	}
	if size == 0 {
		return c.last()
	}
	if c.small && c.sum != nil {
		return refuse("InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes")
	}
	c.small = size < chunkBytesMin
	c.chunk, c.open = size, true
	return nil
}

// line reads up to "\r\n", which it removes.
func (c *chunkReader) line() (string, error) {
	slice, err := c.in.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return "", refuse("InvalidRequest", "The header of a chunk is longer than 4096 bytes.")
	case err != nil:
		return "", incomplete(err)
	case len(slice) < 2 || slice[len(slice)-2] != '\r':
		return "", refuse("InvalidRequest", `The header of a chunk does not end with "\r\n".`)
	}
	return string(slice[:len(slice)-2]), nil
}

// parseHeader reads "size" or "size;chunk-signature=signature".
func (c *chunkReader) parseHeader(line string) (int64, error) {
	digits, extension, extended := strings.Cut(line, ";")
	if extended != (c.sum != nil) {
		return 0, refuse("InvalidRequest", "The header of a chunk must have a chunk-signature exactly if chunks are signed.")
	}
	if digits == "" || len(digits) > chunkDigitsMax {
		return 0, refuse("InvalidRequest", "The size of a chunk is malformed.")
	}
	var size int64
	for i := range len(digits) {
		d := strings.IndexByte("0123456789abcdefABCDEF", digits[i])
		if d > 15 {
			d -= 6
		}
		if d < 0 || size > 1<<58 {
			return 0, refuse("InvalidRequest", "The size of a chunk is malformed.")
		}
		size = size<<4 | int64(d)
	}
	if !extended {
		return size, nil
	}
	signature, ok := strings.CutPrefix(extension, "chunk-signature=")
	if !ok || !isHex64(signature) {
		return 0, refuse("InvalidRequest", "The signature of a chunk is malformed.")
	}
	c.claimed = signature
	return size, nil
}

// end reads the "\r\n" behind the bytes of a chunk and verifies its signature.
func (c *chunkReader) end() error {
	c.open = false
	line, err := c.line()
	if err != nil {
		return err
	}
	if line != "" {
		return refuse("InvalidRequest", "A chunk has more bytes than its header says.")
	}
	return c.verifyChunk()
}

func (c *chunkReader) verifyChunk() error {
	if c.sum == nil {
		return nil
	}
	want := c.sign("AWS4-HMAC-SHA256-PAYLOAD", emptyHash+"\n"+hex.EncodeToString(c.sum.Sum(nil)))
	c.sum.Reset()
	if !sameSignature(want, c.claimed) {
		return refuse("SignatureDoesNotMatch", "The signature of a chunk of the body does not match what was computed.",
			Field{"SignatureProvided", c.claimed})
	}
	c.previous = want
	return nil
}

func (c *chunkReader) sign(kind, hashes string) string {
	s := c.request
	return hexMAC(s.key, kind+"\n"+s.when.UTC().Format(timeFormat)+"\n"+s.scope+"\n"+c.previous+"\n"+hashes)
}

// last verifies the chunk of size 0 and what follows it, to the end of the body.
func (c *chunkReader) last() error {
	if c.left > 0 {
		return refuse("IncompleteBody", "The chunks of the body have fewer bytes than x-amz-decoded-content-length says.")
	}
	if err := c.verifyChunk(); err != nil {
		return err
	}
	lines, err := c.trailerLines()
	if err != nil {
		return err
	}
	if c.request.Payload == StreamingSignedTrailer {
		if lines, err = c.verifyTrailer(lines); err != nil {
			return err
		}
	}
	for _, line := range lines {
		if err := c.keep(line); err != nil {
			return err
		}
	}
	if len(c.trailers) != len(c.announced) {
		return refuse("MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
	}
	return io.EOF
}

// trailerLines reads all lines to the end of the body, which must be an empty one, and returns those that are not empty.
func (c *chunkReader) trailerLines() ([]string, error) {
	var lines []string
	ended := false
	for total := 0; ; {
		slice, err := c.in.ReadSlice('\n')
		total += len(slice)
		if err == io.EOF && len(slice) == 0 {
			break
		}
		if err == bufio.ErrBufferFull || total > 2*chunkLineBytesMax || len(lines) > TrailersMax+1 {
			return nil, refuse("MalformedTrailerError", "The trailers of the body are too long.")
		}
		if err != nil {
			return nil, incomplete(err)
		}
		line := strings.TrimRight(string(slice), "\r\n")
		if ended = line == ""; !ended {
			lines = append(lines, line)
		}
	}
	if !ended {
		return nil, refuse("IncompleteBody", "The body in chunks does not end with an empty line.")
	}
	return lines, nil
}

// verifyTrailer verifies the signature in the last line and returns the lines that it covers.
func (c *chunkReader) verifyTrailer(lines []string) ([]string, error) {
	if len(lines) == 0 {
		return nil, refuse("IncompleteBody", "The signed trailer of the body is missing.")
	}
	covered := lines[:len(lines)-1]
	name, signature, _ := strings.Cut(lines[len(lines)-1], ":")
	if !strings.EqualFold(name, "x-amz-trailer-signature") {
		return nil, refuse("IncompleteBody", "The signature of the body's trailer is missing.")
	}
	var b strings.Builder
	for _, line := range covered {
		name, value, _ := strings.Cut(line, ":")
		b.WriteString(strings.ToLower(strings.TrimSpace(name)) + ":" + strings.TrimSpace(value) + "\n")
	}
	if !sameSignature(c.sign("AWS4-HMAC-SHA256-TRAILER", hexHash(b.String())), strings.TrimSpace(signature)) {
		return nil, refuse("SignatureDoesNotMatch", "The signature of the body's trailer does not match what was computed.",
			Field{"SignatureProvided", strings.TrimSpace(signature)})
	}
	return covered, nil
}

// keep takes one trailer, which must have been announced and come once.
func (c *chunkReader) keep(line string) error {
	name, value, ok := strings.Cut(line, ":")
	name = strings.ToLower(strings.TrimSpace(name))
	_, twice := c.trailers[name]
	if !ok || twice || !c.announced[name] {
		return refuse("MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
	}
	c.trailers[name] = strings.TrimSpace(value)
	return nil
}

// sortedNames is for signers, which must order what they announce.
func sortedNames(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
