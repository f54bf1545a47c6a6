package drive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"

	"holdfast/engine"
	"holdfast/engine/disk"
)

// FrameInfo describes a frame of the meta stream to a person.
type FrameInfo struct {
	Position uint64
	Bytes    int // padded
	Records  []RecordInfo
}

// RecordInfo describes a record of a frame. Text says in words what a record of the drive's own says.
type RecordInfo struct {
	Kind     RecordKind
	Group    engine.GroupID
	Sequence uint64
	Bytes    int
	Text     string
	Payload  []byte // of a group's record
}

// Frames yields every whole frame in the ring in the order of its place, whether or not a replay needs it. It has the drive's lock meanwhile, and
// changes nothing: ErrLocked, and what Identify answers.
func Frames(fsys disk.FS) iter.Seq2[FrameInfo, error] {
	return func(yield func(FrameInfo, error) bool) {
		id, g, err := Identify(fsys)
		if err != nil {
			yield(FrameInfo{}, err)
			return
		}
		lock, err := fsys.Lock(lockName)
		if err != nil {
			yield(FrameInfo{}, engine.E(engine.KindUnavailable, "%w: %w", ErrLocked, err))
			return
		}
		defer lock.Close()
		file, err := fsys.Open(ringName, disk.Flags{ReadOnly: true})
		if err != nil {
			yield(FrameInfo{}, err)
			return
		}
		defer file.Close()
		w := &window{file: file, size: uint64(g.RingBytes)}
		for slot := uint64(0); slot < w.size; slot += blockBytes {
			info, found, err := w.describe(slot, id.Incarnation)
			if (found || err != nil) && !yield(info, err) {
				return
			}
		}
	}
}

// describe reads the frame that begins at a place of the ring, if one does.
func (w *window) describe(slot uint64, incarnation uint64) (FrameInfo, bool, error) {
	b, err := w.bytes(slot, blockBytes)
	if err != nil {
		return FrameInfo{}, false, err
	}
	f, plausible := decodeFrameHeader(b, int(w.size))
	if !plausible || f.position%w.size != slot {
		return FrameInfo{}, false, nil
	}
	other := &window{file: w.file, size: w.size}
	f, b, ok, err := other.frame(f.position, int(w.size)-frameHeaderBytes, incarnation)
	if !ok || err != nil {
		return FrameInfo{}, false, err
	}
	if f.version > FormatVersion {
		return FrameInfo{}, false, newer("the meta stream", uint32(f.version))
	}
	info := FrameInfo{Position: f.position, Bytes: frameBytes(f.payload)}
	err = decodeRecords(b[frameHeaderBytes:frameHeaderBytes+f.payload], f.records, func(r record) error {
		i := RecordInfo{Kind: r.kind, Group: r.group, Sequence: r.sequence, Bytes: len(r.payload), Text: r.text()}
		if r.kind == RecordGroup {
			i.Payload = append([]byte(nil), r.payload...)
		}
		info.Records = append(info.Records, i)
		return nil
	})
	return info, true, err
}

// text says what a record says.
func (r record) text() string {
	switch r.kind {
	case RecordShard:
		id, p, err := decodeShardRecord(r.payload)
		return textOf(err, "shard %s in segment %d at %d, %d bytes", shardString(id), p.segment, p.offset, p.bytes)
	case RecordTombstone:
		ids, err := decodeTombstone(r.payload)
		names := make([]string, len(ids))
		for i, id := range ids {
			names[i] = shardString(id)
		}
		return textOf(err, "deleted %s", strings.Join(names, " "))
	case RecordSegment:
		s, err := decodeSegmentRecord(r.payload)
		if s.removed {
			return textOf(err, "segment %d removed", s.number)
		}
		return textOf(err, "segment %d created, %d bytes", s.number, s.bytes)
	}
	return ""
}

// SegmentInfo describes a segment.
type SegmentInfo struct {
	Number uint32
	File   string
	Bytes  int64 // of the file
	Next   int64 // where the next shard would go; Bytes if it is sealed
	Live   int64 // room of shards and of those being written
	Gone   bool  // the file is missing
}

// Segments lists the segments of the data stream in no order.
func (d *Drive) Segments() []SegmentInfo {
	s := d.segments
	s.mu.Lock()
	defer s.mu.Unlock()
	var infos []SegmentInfo
	for _, g := range s.all {
		infos = append(infos, SegmentInfo{Number: g.number, File: segmentName(g.number), Bytes: g.size, Next: g.next, Live: g.live, Gone: g.gone})
	}
	return infos
}

// Row is a row of the index. Store says that it is of a store, not of the drive itself; its key begins with a byte 1 and the prefix.
type Row struct {
	Key, Value []byte
	Store      bool
	Text       string // what a row of the drive's own says
}

// Rows yields every row of the index in order of the keys.
func (d *Drive) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		stopped := errors.New("stopped")
		for _, first := range []byte{0, storePrefix} {
			err := d.rows([2][]byte{{first}, {first + 1}}, func(rest, value []byte) error {
				row := Row{Key: append([]byte{first}, rest...), Value: append([]byte(nil), value...), Store: first == storePrefix}
				if !row.Store {
					row.Text = rowText(row.Key, value)
				}
				if !yield(row, nil) {
					return stopped
				}
				return nil
			})
			if errors.Is(err, stopped) || err != nil && !yield(Row{}, err) {
				return
			}
		}
	}
}

// rowText says what a row of the drive's own says.
func rowText(key, value []byte) string {
	switch {
	case bytes.Equal(key, markKey):
		m, err := decodeMark(value)
		return textOf(err, "records before %d are in the index, the next sequence is %d", m.position, m.sequence)
	case bytes.Equal(key, tailKey):
		position, err := decodeU64(value)
		return textOf(err, "replay begins at %d", position)
	case bytes.HasPrefix(key, releasedKeys) && len(key) == len(releasedKeys)+4:
		sequence, err := decodeU64(value)
		return textOf(err, "group %d released its records up to %d", binary.BigEndian.Uint32(key[len(releasedKeys):]), sequence)
	case bytes.HasPrefix(key, shardKeys):
		id, keyErr := decodeShardKey(key[len(shardKeys):])
		p, err := decodePlace(value)
		return textOf(errors.Join(keyErr, err), "shard %s in segment %d at %d, %d bytes, sums %016x", shardString(id), p.segment, p.offset, p.bytes, p.sums)
	case bytes.HasPrefix(key, segmentKeys):
		return record{kind: RecordSegment, payload: value}.text()
	}
	return "unknown"
}

// ShardPlace says where a shard is, for tools that look at the bytes: the file, offset and length.
func (d *Drive) ShardPlace(id engine.ShardID) (file string, offset, bytes int64, err error) {
	p, err := d.lookup(id)
	return segmentName(p.segment), p.offset, p.bytes, err
}

func textOf(err error, format string, args ...any) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf(format, args...)
}
