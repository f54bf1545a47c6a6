package engine

import (
	"crypto/md5"
	"encoding/binary"
)

// PatchedPiece is what the ETag of a patched file depends on: where the piece came to lie, and the MD5 of its bytes if the patch brought them, or of the ETag of
// the file that they are of together with their offset there; zero for a hole.
type PatchedPiece struct {
	Offset, Length int64
	Sum            [16]byte
	From           int64 // offset in the file that the bytes are of; 0 for others
}

// PatchTag returns the MD5 that the ETag of a patched file shows, followed by "-1": no content is hashed that the patch did not bring. Before is the
// MD5 that the former ETag showed, size that of the file afterwards. The pieces are those that have bytes, with the offsets that the commit gave them.
func PatchTag(before [16]byte, pieces []PatchedPiece, size int64) (sum [16]byte) {
	b := make([]byte, 0, 24+len(pieces)*40)
	b = append(b, before[:]...)
	for i := range pieces {
		p := &pieces[i]
		b = binary.BigEndian.AppendUint64(b, uint64(p.Offset))
		b = binary.BigEndian.AppendUint64(b, uint64(p.Length))
		b = append(b, p.Sum[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(p.From))
	}
	return md5.Sum(binary.BigEndian.AppendUint64(b, uint64(size)))
}
