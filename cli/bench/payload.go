package bench

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"math/rand/v2"
	"slices"

	"github.com/minio/crc64nvme"
	sha256 "github.com/minio/sha256-simd"
)

// Payload is the content of an object, with the sums that a request needs: computed once, so that the load leaves the processor to the
// server.
type Payload struct {
	Body     []byte
	sum      string    // SHA-256, hexadecimal
	checksum string    // the additional checksum, in base64; "" for none
	parts    []Payload // in which the content is stored; none if one request does it
}

// Payloads has contents for each size. Neighbouring objects differ, so that an answer with the wrong one is seen.
type Payloads map[int64][]Payload

// Checksums are the names of the additional checksums that a Payload can have.
var Checksums = []string{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"}

// variants is how many contents each size has.
const variants = 8

// NewPayloads makes contents of the given sizes, windows of the same random bytes. Those larger than partSize are cut into parts, if it
// is not 0. checksum is one of Checksums, or "".
func NewPayloads(sizes []int64, partSize int64, checksum string) Payloads {
	const shift = 64
	pool := make([]byte, slices.Max(sizes)+variants*shift)
	_, _ = rand.NewChaCha8([32]byte{}).Read(pool) // it never fails
	all := Payloads{}
	for _, size := range sizes {
		if all[size] != nil {
			continue
		}
		for v := range int64(variants) {
			p := Payload{Body: pool[v*shift:][:size]}
			if partSize > 0 && size > partSize {
				for part := range slices.Chunk(p.Body, int(partSize)) {
					p.parts = append(p.parts, newPayload(part, checksum))
				}
			} else {
				p = newPayload(p.Body, checksum)
			}
			all[size] = append(all[size], p)
		}
	}
	return all
}

func newPayload(body []byte, checksum string) Payload {
	sum := sha256.Sum256(body)
	p := Payload{Body: body, sum: hex.EncodeToString(sum[:])}
	var h hash.Hash
	switch checksum {
	case "":
		return p
	case "CRC32":
		h = crc32.NewIEEE()
	case "CRC32C":
		h = crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "CRC64NVME":
		c := crc64nvme.New()
		_, _ = c.Write(body) // it never fails
		p.checksum = base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, c.Sum64()))
		return p
	case "SHA1":
		h = sha1.New()
	case "SHA256":
		h = sha256.New()
	default:
		panic("there is no checksum " + checksum)
	}
	h.Write(body)
	p.checksum = base64.StdEncoding.EncodeToString(h.Sum(nil))
	return p
}

// Of returns the content of the object of a size with a number.
func (p Payloads) Of(size, number int64) *Payload { return &p[size][number%variants] }
