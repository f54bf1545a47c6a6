package drive

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"holdfast/engine"
)

// FormatVersion is the version of every byte format below; a drive carries it in its identity and each frame repeats it.
const FormatVersion = 1

// Names inside a drive's folder.
const (
	identityName = "holdfast.drive"
	markerName   = "holdfast.drive.new" // there from the first to the last moment of Format, never besides identityName for long
	lockName     = "lock"
	metaDir      = "meta"
	ringName     = "meta/ring"
	dataDir      = "data"
	indexDir     = "index"
)

// Role says what a drive keeps.
type Role uint8

const (
	// RoleData keeps replicas and shards.
	RoleData Role = 1
	// RoleWitness keeps replicas only.
	RoleWitness Role = 2
)

// String returns the role in words.
func (r Role) String() string {
	switch r {
	case RoleData:
		return "data"
	case RoleWitness:
		return "witness"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Identity says which drive a folder is. Incarnation is drawn anew by every Format; it seeds the checksums of the meta stream, so that
// what a former drive left on the same disk is never replayed.
type Identity struct {
	Cluster     [16]byte
	Drive       engine.DriveID
	Incarnation uint64
	Role        Role
	Created     time.Time // to the nanosecond
}

// Geometry is chosen by Format and kept for life. Zero fields take the defaults.
type Geometry struct {
	RingBytes    int64 // of the meta stream; a multiple of 4096, at least RingBytesMin
	SegmentBytes int64 // of a segment of the data stream; a multiple of 4096
	ReserveBytes int64 // room of the file system that shards do not take
}

// Defaults and limits of Geometry.
const (
	RingBytesDefault    = 64 << 20
	RingBytesMin        = 128 << 10
	SegmentBytesDefault = 256 << 20
	ReserveBytesDefault = 1 << 30
)

// The identity, 128 bytes, little-endian:
//
//	  0  8  "HOLDFAST"
//	  8  4  format version
//	 12  4  its complement
//	 16 16  cluster id
//	 32  8  drive id
//	 40  8  incarnation
//	 48  8  created, nanoseconds since 1970
//	 56  1  role: 1 data, 2 witness
//	 57  7  zero
//	 64  8  bytes of the ring
//	 72  8  bytes of a segment
//	 80  8  bytes of the reserve
//	 88 36  zero
//	124  4  CRC32C of bytes 0 to 123
const identityBytes = 128

const identityMagic = "HOLDFAST"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeIdentity(id Identity, g Geometry) []byte {
	b := make([]byte, identityBytes)
	copy(b, identityMagic)
	binary.LittleEndian.PutUint32(b[8:], FormatVersion)
	binary.LittleEndian.PutUint32(b[12:], ^uint32(FormatVersion))
	copy(b[16:], id.Cluster[:])
	binary.LittleEndian.PutUint64(b[32:], uint64(id.Drive))
	binary.LittleEndian.PutUint64(b[40:], id.Incarnation)
	binary.LittleEndian.PutUint64(b[48:], uint64(id.Created.UnixNano()))
	b[56] = byte(id.Role)
	binary.LittleEndian.PutUint64(b[64:], uint64(g.RingBytes))
	binary.LittleEndian.PutUint64(b[72:], uint64(g.SegmentBytes))
	binary.LittleEndian.PutUint64(b[80:], uint64(g.ReserveBytes))
	binary.LittleEndian.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
	return b
}

// decodeIdentity answers ErrForeign without the magic, ErrNewer for a later version, ErrDamaged for all else that is wrong.
func decodeIdentity(b []byte) (Identity, Geometry, error) {
	if len(b) < len(identityMagic) || string(b[:len(identityMagic)]) != identityMagic {
		return Identity{}, Geometry{}, engine.E(engine.KindInvalidArgument, "%s does not begin with %q: %w", identityName, identityMagic, ErrForeign)
	}
	if len(b) < 16 {
		return Identity{}, Geometry{}, damaged("%s has %d bytes", identityName, len(b))
	}
	version := binary.LittleEndian.Uint32(b[8:])
	if version != ^binary.LittleEndian.Uint32(b[12:]) {
		return Identity{}, Geometry{}, damaged("%s contradicts itself about its version", identityName)
	}
	if version > FormatVersion {
		return Identity{}, Geometry{}, newer("the drive's identity", version)
	}
	if len(b) != identityBytes || binary.LittleEndian.Uint32(b[124:]) != crc32.Checksum(b[:124], castagnoli) {
		return Identity{}, Geometry{}, damaged("%s fails its checksum", identityName)
	}
	id := Identity{
		Drive:       engine.DriveID(binary.LittleEndian.Uint64(b[32:])),
		Incarnation: binary.LittleEndian.Uint64(b[40:]),
		Created:     time.Unix(0, int64(binary.LittleEndian.Uint64(b[48:]))).UTC(),
		Role:        Role(b[56]),
	}
	copy(id.Cluster[:], b[16:])
	g := Geometry{
		RingBytes:    int64(binary.LittleEndian.Uint64(b[64:])),
		SegmentBytes: int64(binary.LittleEndian.Uint64(b[72:])),
		ReserveBytes: int64(binary.LittleEndian.Uint64(b[80:])),
	}
	if err := g.check(); err != nil || id.Role != RoleData && id.Role != RoleWitness {
		return Identity{}, Geometry{}, damaged("%s says impossible things: role %d, %+v", identityName, id.Role, g)
	}
	return id, g, nil
}

func (g Geometry) withDefaults() Geometry {
	if g.RingBytes == 0 {
		g.RingBytes = RingBytesDefault
	}
	if g.SegmentBytes == 0 {
		g.SegmentBytes = SegmentBytesDefault
	}
	if g.ReserveBytes == 0 {
		g.ReserveBytes = ReserveBytesDefault
	}
	return g
}

func (g Geometry) check() error {
	switch {
	case g.RingBytes < RingBytesMin || g.RingBytes%blockBytes != 0 || g.RingBytes > 1<<40:
		return engine.E(engine.KindInvalidArgument, "a ring of %d bytes: at least %d and a multiple of %d are needed", g.RingBytes, RingBytesMin, blockBytes)
	case g.SegmentBytes < blockBytes || g.SegmentBytes%blockBytes != 0 || g.SegmentBytes > 1<<40:
		return engine.E(engine.KindInvalidArgument, "segments of %d bytes: a multiple of %d is needed", g.SegmentBytes, blockBytes)
	case g.ReserveBytes < 0:
		return engine.E(engine.KindInvalidArgument, "a reserve of %d bytes", g.ReserveBytes)
	}
	return nil
}

// A frame is one sync group of the meta stream, little-endian, padded with zeros to a multiple of 4096:
//
//	 0  4  "HFMS"
//	 4  2  format version
//	 6  2  zero
//	 8  8  position: bytes of the stream before this frame; its place in the ring is position mod ring
//	16  4  bytes of payload
//	20  4  number of records
//	24  8  zero
//	32  4  CRC32C of incarnation u64, position u64, bytes 0 to 31, payload
//	36  4  zero
//	40  …  payload: records one after another
const (
	blockBytes       = 4096
	frameHeaderBytes = 40
	frameMagic       = "HFMS"
)

// frame is a decoded frame header.
type frame struct {
	position uint64
	payload  int // bytes
	records  int
	crc      uint32
	version  uint16
}

// end is the position behind the frame.
func (f frame) end() uint64 { return f.position + uint64(frameBytes(f.payload)) }

// frameBytes is the padded size of a frame.
func frameBytes(payload int) int {
	return (frameHeaderBytes + payload + blockBytes - 1) &^ (blockBytes - 1)
}

// sealFrame writes the header of a frame whose payload is in b from frameHeaderBytes on; b ends at the payload's end.
func sealFrame(b []byte, incarnation, position uint64, records int) {
	clear(b[:frameHeaderBytes])
	copy(b, frameMagic)
	binary.LittleEndian.PutUint16(b[4:], FormatVersion)
	binary.LittleEndian.PutUint64(b[8:], position)
	binary.LittleEndian.PutUint32(b[16:], uint32(len(b)-frameHeaderBytes))
	binary.LittleEndian.PutUint32(b[20:], uint32(records))
	binary.LittleEndian.PutUint32(b[32:], frameSum(b, incarnation, position))
}

func frameSum(b []byte, incarnation, position uint64) uint32 {
	var seed [16]byte
	binary.LittleEndian.PutUint64(seed[0:], incarnation)
	binary.LittleEndian.PutUint64(seed[8:], position)
	sum := crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, b[:32])
	return crc32.Update(sum, castagnoli, b[frameHeaderBytes:])
}

// decodeFrameHeader reads what may be a header at the start of b. It is plausible if the magic is there and the payload fits limit bytes; only
// checkFrame proves it.
func decodeFrameHeader(b []byte, limit int) (f frame, plausible bool) {
	if len(b) < frameHeaderBytes || string(b[:4]) != frameMagic {
		return frame{}, false
	}
	f = frame{
		version:  binary.LittleEndian.Uint16(b[4:]),
		position: binary.LittleEndian.Uint64(b[8:]),
		payload:  int(binary.LittleEndian.Uint32(b[16:])),
		records:  int(binary.LittleEndian.Uint32(b[20:])),
		crc:      binary.LittleEndian.Uint32(b[32:]),
	}
	return f, f.payload > 0 && f.payload <= limit && f.position%blockBytes == 0 && f.position < 1<<62
}

// checkFrame proves the header and payload in b.
func checkFrame(b []byte, f frame, incarnation uint64) bool {
	n := frameHeaderBytes + f.payload
	return len(b) >= n && frameSum(b[:n], incarnation, f.position) == f.crc
}

// RecordKind says what a record of the meta stream is.
type RecordKind uint8

const (
	// RecordGroup is a record of a Raft group, opaque to the drive.
	RecordGroup RecordKind = 1
	// RecordShard says that a shard is complete, and where.
	RecordShard RecordKind = 2
	// RecordTombstone names shards that are deleted.
	RecordTombstone RecordKind = 3
	// RecordSegment says that a segment was created or removed.
	RecordSegment RecordKind = 4
)

// String returns the kind in words.
func (k RecordKind) String() string {
	switch k {
	case RecordGroup:
		return "group"
	case RecordShard:
		return "shard"
	case RecordTombstone:
		return "tombstone"
	case RecordSegment:
		return "segment"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// A record, little-endian, without padding:
//
//	 0  1  kind
//	 1  3  zero
//	 4  4  group, of a group record
//	 8  8  sequence
//	16  4  bytes of payload
//	20  …  payload
const recordHeaderBytes = 20

// record is a record of the meta stream.
type record struct {
	kind     RecordKind
	group    engine.GroupID
	sequence uint64
	payload  []byte
}

func appendRecordHeader(b []byte, r record, payload int) []byte {
	b = append(b, byte(r.kind), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.group))
	b = binary.LittleEndian.AppendUint64(b, r.sequence)
	return binary.LittleEndian.AppendUint32(b, uint32(payload))
}

// decodeRecords calls fn with each of count records of a frame's payload; their payloads are parts of b.
func decodeRecords(b []byte, count int, fn func(record) error) error {
	for i := range count {
		if len(b) < recordHeaderBytes {
			return damaged("record %d of %d of a frame is cut", i, count)
		}
		r := record{kind: RecordKind(b[0]), group: engine.GroupID(binary.LittleEndian.Uint32(b[4:])), sequence: binary.LittleEndian.Uint64(b[8:])}
		n := uint64(binary.LittleEndian.Uint32(b[16:]))
		if n > uint64(len(b)-recordHeaderBytes) {
			return damaged("record %d of %d of a frame exceeds it", i, count)
		}
		r.payload = b[recordHeaderBytes : recordHeaderBytes+n]
		if err := fn(r); err != nil {
			return err
		}
		b = b[recordHeaderBytes+n:]
	}
	if len(b) != 0 {
		return damaged("%d bytes follow the last record of a frame", len(b))
	}
	return nil
}

// A shard id, 24 bytes: group u32, epoch u64, counter u64, index u8, zero ×3. In keys of the index it is big-endian and without the zeros.
const (
	shardIDBytes  = 24
	shardKeyBytes = 21
)

func appendShardID(b []byte, id engine.ShardID) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(id.Extent.Group))
	b = binary.LittleEndian.AppendUint64(b, id.Extent.Epoch)
	b = binary.LittleEndian.AppendUint64(b, id.Extent.Counter)
	return append(b, id.Index, 0, 0, 0)
}

func decodeShardID(b []byte) engine.ShardID {
	return engine.ShardID{Extent: engine.ExtentID{
		Group:   engine.GroupID(binary.LittleEndian.Uint32(b)),
		Epoch:   binary.LittleEndian.Uint64(b[4:]),
		Counter: binary.LittleEndian.Uint64(b[12:]),
	}, Index: b[20]}
}

func appendShardKey(b []byte, id engine.ShardID) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(id.Extent.Group))
	b = binary.BigEndian.AppendUint64(b, id.Extent.Epoch)
	b = binary.BigEndian.AppendUint64(b, id.Extent.Counter)
	return append(b, id.Index)
}

func decodeShardKey(b []byte) (engine.ShardID, error) {
	if len(b) != shardKeyBytes {
		return engine.ShardID{}, damaged("a shard's key has %d bytes", len(b))
	}
	return engine.ShardID{Extent: engine.ExtentID{
		Group:   engine.GroupID(binary.BigEndian.Uint32(b)),
		Epoch:   binary.BigEndian.Uint64(b[4:]),
		Counter: binary.BigEndian.Uint64(b[12:]),
	}, Index: b[20]}, nil
}

// place is where a shard is. It is the payload of a shard record behind the id, and the value of the shard's row:
//
//	 0  4  segment
//	 4  4  number of sums
//	 8  8  offset in the segment, a multiple of 4096
//	16  8  bytes
//	24  …  CRC64-NVME of each 64 KiB, u64
type place struct {
	segment uint32
	offset  int64
	bytes   int64
	sums    []uint64
}

const placeBytes = 24

// room is what the shard occupies in its segment.
func (p place) room() int64 { return roundUp(p.bytes) }

func (p place) end() int64 { return p.offset + p.room() }

// at reports whether two places are the same one.
func (p place) at(other place) bool { return p.segment == other.segment && p.offset == other.offset }

func roundUp(n int64) int64 { return (n + blockBytes - 1) &^ (blockBytes - 1) }

func appendPlace(b []byte, p place) []byte {
	b = binary.LittleEndian.AppendUint32(b, p.segment)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.sums)))
	b = binary.LittleEndian.AppendUint64(b, uint64(p.offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(p.bytes))
	for _, s := range p.sums {
		b = binary.LittleEndian.AppendUint64(b, s)
	}
	return b
}

func decodePlace(b []byte) (place, error) {
	if len(b) < placeBytes {
		return place{}, damaged("a shard's place has %d bytes", len(b))
	}
	p := place{segment: binary.LittleEndian.Uint32(b), offset: int64(binary.LittleEndian.Uint64(b[8:])), bytes: int64(binary.LittleEndian.Uint64(b[16:]))}
	count := int64(binary.LittleEndian.Uint32(b[4:]))
	if p.bytes < 1 || p.bytes > 1<<40 || p.offset < 0 || p.offset > 1<<40 || p.offset%blockBytes != 0 ||
		count != int64(unitsOf(p.bytes)) || int64(len(b)) != placeBytes+8*count {
		return place{}, damaged("a shard's place is impossible: offset %d, %d bytes, %d sums in %d bytes", p.offset, p.bytes, count, len(b))
	}
	p.sums = make([]uint64, count)
	for i := range p.sums {
		p.sums[i] = binary.LittleEndian.Uint64(b[placeBytes+8*i:])
	}
	return p, nil
}

func encodeShardRecord(id engine.ShardID, p place) []byte {
	return appendPlace(appendShardID(make([]byte, 0, shardIDBytes+placeBytes+8*len(p.sums)), id), p)
}

func decodeShardRecord(b []byte) (engine.ShardID, place, error) {
	if len(b) < shardIDBytes {
		return engine.ShardID{}, place{}, damaged("a shard record has %d bytes", len(b))
	}
	p, err := decodePlace(b[shardIDBytes:])
	return decodeShardID(b), p, err
}

// A tombstone is a count u32 and as many shard ids.
func encodeTombstone(ids []engine.ShardID) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+shardIDBytes*len(ids)), uint32(len(ids)))
	for _, id := range ids {
		b = appendShardID(b, id)
	}
	return b
}

func decodeTombstone(b []byte) ([]engine.ShardID, error) {
	if len(b) < 4 || uint64(len(b)-4) != shardIDBytes*uint64(binary.LittleEndian.Uint32(b)) {
		return nil, damaged("a tombstone has %d bytes", len(b))
	}
	ids := make([]engine.ShardID, 0, len(b)/shardIDBytes)
	for b = b[4:]; len(b) > 0; b = b[shardIDBytes:] {
		ids = append(ids, decodeShardID(b))
	}
	return ids, nil
}

// A segment record is number u32, state u8, zero ×3, bytes u64. State 1 is created, 2 removed.
type segmentRecord struct {
	number  uint32
	removed bool
	bytes   int64
}

const segmentRecordBytes = 16

func encodeSegmentRecord(r segmentRecord) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, segmentRecordBytes), r.number)
	state := byte(1)
	if r.removed {
		state = 2
	}
	b = append(b, state, 0, 0, 0)
	return binary.LittleEndian.AppendUint64(b, uint64(r.bytes))
}

func decodeSegmentRecord(b []byte) (segmentRecord, error) {
	if len(b) != segmentRecordBytes || b[4] != 1 && b[4] != 2 {
		return segmentRecord{}, damaged("a segment record of %d bytes is malformed", len(b))
	}
	return segmentRecord{number: binary.LittleEndian.Uint32(b), removed: b[4] == 2, bytes: int64(binary.LittleEndian.Uint64(b[8:]))}, nil
}

// mark is a row: all records of frames before position are in the index, and the next sequence was as given. It vouches for the meta
// stream: a replay that ends before it has lost something.
type mark struct {
	position, sequence uint64
}

func encodeMark(m mark) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(make([]byte, 0, 16), m.position), m.sequence)
}

func decodeMark(b []byte) (mark, error) {
	if len(b) != 16 {
		return mark{}, damaged("the index's mark has %d bytes", len(b))
	}
	return mark{position: binary.LittleEndian.Uint64(b), sequence: binary.LittleEndian.Uint64(b[8:])}, nil
}

func encodeU64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func decodeU64(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, damaged("a number in the index has %d bytes", len(b))
	}
	return binary.LittleEndian.Uint64(b), nil
}

// Keys of the index. All that begins with 0 is the drive's own; stores live behind 1.
//
//	00 'm'              mark
//	00 't'              tail: position u64 where replay begins
//	00 'r' group        sequence u64 up to which the group released its records
//	00 's' shard key    place
//	00 'g' number       segment record
//	01 prefix key       row of a store
var (
	markKey       = []byte{0, 'm'}
	tailKey       = []byte{0, 't'}
	releasedKeys  = []byte{0, 'r'}
	shardKeys     = []byte{0, 's'}
	segmentKeys   = []byte{0, 'g'}
	storePrefix   = byte(1)
	releasedRange = [2][]byte{{0, 'r'}, {0, 'r' + 1}}
	shardRange    = [2][]byte{{0, 's'}, {0, 's' + 1}}
	segmentRange  = [2][]byte{{0, 'g'}, {0, 'g' + 1}}
)

func shardKey(id engine.ShardID) []byte {
	return appendShardKey(append(make([]byte, 0, len(shardKeys)+shardKeyBytes), shardKeys...), id)
}

func segmentKey(number uint32) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, 6), segmentKeys...), number)
}

func releasedKey(group engine.GroupID) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, 6), releasedKeys...), uint32(group))
}

func segmentName(number uint32) string { return fmt.Sprintf("%s/%08d.seg", dataDir, number) }
