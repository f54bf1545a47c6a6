package coordinator

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"

	"holdfast/engine"

	md5simd "github.com/minio/md5-simd"
)

// completedETag returns the ETag of a completion whose parts have the named ETags, or "" if one is no MD5.
func completedETag(parts []engine.CompletePart) engine.ETag {
	sums := md5.New()
	for _, part := range parts {
		b, err := hex.DecodeString(string(part.ETag))
		if err != nil || len(b) != md5.Size {
			return ""
		}
		sums.Write(b)
	}
	return engine.ETag(fmt.Sprintf("%x-%d", sums.Sum(nil), len(parts)))
}

// wholeChecksum computes the checksum of a completed upload from those of its parts: over the parts' sums, or combined to the one over
// the full content where the algorithm is a CRC. Parts without a checksum make a whole without.
func wholeChecksum(algorithm string, full bool, parts []engine.PartInfo) (engine.Checksum, error) {
	if algorithm == "" {
		return engine.Checksum{}, nil
	}
	for _, part := range parts {
		if part.Checksum.Algorithm != algorithm {
			return engine.Checksum{}, engine.E(engine.KindInvalidPart, "part %d has no %s checksum, which the upload was started with", part.Number, algorithm)
		}
	}
	if full {
		sum, ok := combine(algorithm, parts)
		if !ok {
			return engine.Checksum{}, engine.E(engine.KindInvalidArgument, "%s cannot be computed over the full object", algorithm)
		}
		return engine.Checksum{Algorithm: algorithm, Sum: sum}, nil
	}
	h := compositeHash(algorithm)
	if h == nil {
		return engine.Checksum{}, engine.E(engine.KindInvalidArgument, "%s cannot be computed over the parts' checksums", algorithm)
	}
	for _, part := range parts {
		h.Write(part.Checksum.Sum)
	}
	return engine.Checksum{Algorithm: algorithm, Sum: h.Sum(nil), Composite: true, Parts: len(parts)}, nil
}

func compositeHash(algorithm string) hash.Hash {
	switch algorithm {
	case "CRC32":
		return crc32.NewIEEE()
	case "CRC32C":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "SHA1":
		return sha1.New()
	case "SHA256":
		return sha256.New()
	}
	return nil
}

// combine computes a CRC over the concatenation from those of the parts. CRC(A‖B) = shift(CRC(A), len(B)) xor CRC(B), where shift
// multiplies by x^(8·len) modulo the polynomial; all three CRCs are reflected and invert before and after.
func combine(algorithm string, parts []engine.PartInfo) ([]byte, bool) {
	var polynomial uint64
	width := 32
	switch algorithm {
	case "CRC32":
		polynomial = crc32.IEEE
	case "CRC32C":
		polynomial = crc32.Castagnoli
	case "CRC64NVME":
		polynomial, width = 0x9a6c9329ac4bc9b5, 64
	default:
		return nil, false
	}
	var crc uint64
	for _, part := range parts {
		var sum uint64
		for _, b := range part.Checksum.Sum {
			sum = sum<<8 | uint64(b)
		}
		if len(part.Checksum.Sum)*8 != width {
			return nil, false
		}
		crc = multiply(crc, power(part.Size*8, polynomial, width), polynomial, width) ^ sum
	}
	out := make([]byte, width/8)
	for i := range out {
		out[len(out)-1-i] = byte(crc >> (8 * i))
	}
	return out, true
}

// multiply multiplies two reflected polynomials modulo a third: the highest bit is x^0.
func multiply(a, b, polynomial uint64, width int) uint64 {
	var product uint64
	for bit := width - 1; bit >= 0; bit-- {
		if a>>bit&1 != 0 {
			product ^= b
		}
		if carry := b & 1; carry != 0 {
			b = b>>1 ^ polynomial
		} else {
			b >>= 1
		}
	}
	return product
}

// power returns x^n, reflected.
func power(n int64, polynomial uint64, width int) uint64 {
	result := uint64(1) << (width - 1) // x^0
	square := uint64(1) << (width - 2) // x^1
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			result = multiply(result, square, polynomial, width)
		}
		square = multiply(square, square, polynomial, width)
	}
	return result
}

// lanesFrom is how many bodies must be hashed at once for the lanes of md5-simd to cost less than a core's own MD5 for each: one stream has 0.55 GB/s
// of a core there and 0.62 here, four have 1.3, eight 2.3 (docs/benchmarks.md).
const lanesFrom = 3

// lanesBytes is the least body that gets a lane: for a smaller one the lanes' goroutine, which goes around among them, costs more than it saves.
const lanesBytes = 1 << 20

// newHash returns what computes the MD5 of a body of size bytes; -1: not known. Close ends it.
func (c *Coordinator) newHash(size int64) md5simd.Hasher {
	h := &bodyHash{c: c}
	if many := c.hashing.Add(1) >= lanesFrom; many && (size < 0 || size >= lanesBytes) {
		h.lane = c.md5.NewHash()
		h.Hash = h.lane
	} else {
		h.Hash = md5.New()
	}
	return h
}

// bodyHash is an md5simd.Hasher with a lane or without.
type bodyHash struct {
	hash.Hash
	c    *Coordinator
	lane md5simd.Hasher // nil without
}

// Close implements md5simd.Hasher.
func (h *bodyHash) Close() {
	h.c.hashing.Add(-1)
	if h.lane != nil {
		h.lane.Close()
	}
}
