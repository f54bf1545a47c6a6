package memory

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"hash/crc32"

	"github.com/minio/crc64nvme"

	"holdfast/engine"
)

// algorithms are the checksums that an upload may ask for. Those that cannot be combined from their parts are never full.
var algorithms = map[string]struct {
	make func() hash.Hash
	full bool
}{
	"CRC32":     {func() hash.Hash { return crc32.NewIEEE() }, true},
	"CRC32C":    {func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }, true},
	"CRC64NVME": {func() hash.Hash { return crc64nvme.New() }, true},
	"SHA1":      {sha1.New, false},
	"SHA256":    {sha256.New, false},
}

func checkAlgorithm(name string, full bool) error {
	a, ok := algorithms[name]
	switch {
	case name == "" && !full:
		return nil
	case !ok:
		return engine.E(engine.KindInvalidArgument, "the checksum algorithm %q is unknown", name)
	case full && !a.full:
		return engine.E(engine.KindInvalidArgument, "%s sums of parts do not give the sum of the whole", name)
	}
	return nil
}

// checksum computes the checksum of the whole and compares it with the one that was announced, if that has a sum.
func (u *upload) checksum(parts []*part, data []byte, announced engine.Checksum) (sum engine.Checksum, err error) {
	if name := u.info.ChecksumAlgorithm; name != "" {
		for _, p := range parts {
			if p.info.Checksum.Algorithm != name {
				return sum, engine.E(engine.KindInvalidPart, "part %d has no %s checksum, which the upload was started with", p.info.Number, name)
			}
		}
		h := algorithms[name].make()
		sum = engine.Checksum{Algorithm: name, Composite: !u.info.ChecksumFull}
		if sum.Composite {
			sum.Parts = len(parts)
			for _, p := range parts {
				h.Write(p.info.Checksum.Sum)
			}
		} else {
			h.Write(data)
		}
		sum.Sum = h.Sum(nil)
	}
	switch {
	case len(announced.Sum) == 0:
	case announced.Algorithm != sum.Algorithm || announced.Composite != sum.Composite:
		return sum, engine.E(engine.KindInvalidArgument, "the upload was started with the checksum %q, the completion has %q", sum.Algorithm, announced.Algorithm)
	case !bytes.Equal(announced.Sum, sum.Sum):
		return sum, engine.E(engine.KindBadDigest, "the whole has another %s checksum", sum.Algorithm)
	}
	return sum, nil
}
