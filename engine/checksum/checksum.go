// Package checksum proves that bytes of a shard are the bytes of that shard at that place: a CRC64-NVME for each unit of 64 KiB, over
// a header that names extent, shard and unit, and then the data.
//
// Promise: a unit that is rotten, torn, or another unit's (of another shard, another extent, or another place) fails Verify, with the
// odds of 64 bits. It is no defence against someone who wants to forge.
//
// The package does not know where shards or sums are kept.
package checksum

import (
	"encoding/binary"

	"github.com/minio/crc64nvme"

	"holdfast/engine"
)

// UnitBytes is the size of a unit. Units are counted from the start of the shard; the last may be shorter.
const UnitBytes = 64 << 10

// headerBytes is the size of the seed: group u32, epoch u64, counter u64, shard index u8, zero u8 ×3, unit number u64, little-endian.
const headerBytes = 32

// Units returns the number of units of a shard of n bytes.
func Units(n int64) int { return int((n + UnitBytes - 1) / UnitBytes) }

// Sum returns the checksum of one unit.
func Sum(id engine.ShardID, unit int, data []byte) uint64 {
	var h [headerBytes]byte
	binary.LittleEndian.PutUint32(h[0:], uint32(id.Extent.Group))
	binary.LittleEndian.PutUint64(h[4:], id.Extent.Epoch)
	binary.LittleEndian.PutUint64(h[12:], id.Extent.Counter)
	h[20] = id.Index
	binary.LittleEndian.PutUint64(h[24:], uint64(unit))
	return crc64nvme.Update(crc64nvme.Checksum(h[:]), data)
}

// Sums appends to dst the checksums of data, which begins at unit first of the shard.
func Sums(dst []uint64, id engine.ShardID, first int, data []byte) []uint64 {
	for ; len(data) > 0; first++ {
		n := min(len(data), UnitBytes)
		dst = append(dst, Sum(id, first, data[:n]))
		data = data[n:]
	}
	return dst
}

// Verify compares data, which begins at unit first of the shard, with the shard's sums from that unit on. It returns the number of the
// first unit that differs, or that has no sum, and false; or true.
func Verify(id engine.ShardID, first int, data []byte, sums []uint64) (bad int, ok bool) {
	for i := 0; len(data) > 0; i++ {
		n := min(len(data), UnitBytes)
		if i >= len(sums) || sums[i] != Sum(id, first+i, data[:n]) {
			return first + i, false
		}
		data = data[n:]
	}
	return 0, true
}
