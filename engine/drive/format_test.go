package drive

import (
	"bytes"
	"testing"
	"time"

	"holdfast/engine"
)

var sampleIdentity = Identity{Cluster: [16]byte{0: 0xc1, 15: 0x01}, Drive: 7, Incarnation: 0x1122334455667788, Role: RoleData, Created: time.Unix(1_700_000_000, 0).UTC()}

var sampleShard = engine.ShardID{Extent: engine.ExtentID{Group: 1, Epoch: 2, Counter: 3}, Index: 4}

func samplePlace() place {
	return place{segment: 5, offset: 8192, bytes: 65537, sums: []uint64{0xaaaa, 0xbbbb}}
}

// sampleFrame is a frame with a record of each kind.
func sampleFrame() ([]byte, int) {
	b := make([]byte, frameHeaderBytes)
	records := []record{
		{kind: RecordGroup, group: 9, sequence: 1, payload: []byte("raft")},
		{kind: RecordShard, sequence: 2, payload: encodeShardRecord(sampleShard, samplePlace())},
		{kind: RecordTombstone, sequence: 3, payload: encodeTombstone([]engine.ShardID{sampleShard})},
		{kind: RecordSegment, sequence: 4, payload: encodeSegmentRecord(segmentRecord{number: 5, bytes: 1 << 20})},
	}
	for _, r := range records {
		b = append(appendRecordHeader(b, r, len(r.payload)), r.payload...)
	}
	sealFrame(b, sampleIdentity.Incarnation, 4096, len(records))
	return b, len(records)
}

func TestFormatsComeBack(t *testing.T) {
	g := Geometry{}.withDefaults()
	if id, h, err := decodeIdentity(encodeIdentity(sampleIdentity, g)); err != nil || id != sampleIdentity || h != g {
		t.Fatalf("identity: %+v %+v %v", id, h, err)
	}
	b, count := sampleFrame()
	f, ok := decodeFrameHeader(b, 1<<20)
	if !ok || !checkFrame(b, f, sampleIdentity.Incarnation) || f.records != count || f.position != 4096 {
		t.Fatalf("frame: %+v %v", f, ok)
	}
	if checkFrame(b, f, sampleIdentity.Incarnation+1) {
		t.Fatal("a frame of another incarnation passes")
	}
	f.position += 4096
	if checkFrame(b, f, sampleIdentity.Incarnation) {
		t.Fatal("a frame of another position passes")
	}
	seen := 0
	err := decodeRecords(b[frameHeaderBytes:], count, func(r record) error {
		seen++
		if r.sequence != uint64(seen) {
			t.Errorf("record %d has sequence %d", seen, r.sequence)
		}
		if r.kind == RecordShard {
			id, p, err := decodeShardRecord(r.payload)
			if err != nil || id != sampleShard || p.bytes != 65537 || p.sums[1] != 0xbbbb {
				t.Errorf("shard: %v %+v %v", id, p, err)
			}
		}
		return nil
	})
	if err != nil || seen != count {
		t.Fatalf("%d records, %v", seen, err)
	}
	if id, err := decodeShardKey(shardKey(sampleShard)[len(shardKeys):]); err != nil || id != sampleShard {
		t.Fatalf("key: %v %v", id, err)
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add(encodeIdentity(sampleIdentity, Geometry{}.withDefaults()))
	f.Add([]byte(identityMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, g, err := decodeIdentity(b)
		if err == nil && !bytes.Equal(encodeIdentity(id, g)[:88], b[:88]) {
			t.Fatalf("%x decodes to %+v %+v, which encodes to other bytes", b, id, g)
		}
	})
}

func FuzzFrame(f *testing.F) {
	b, _ := sampleFrame()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := decodeFrameHeader(b, len(b))
		if !ok || !checkFrame(b, h, sampleIdentity.Incarnation) {
			return
		}
		again := append([]byte(nil), b[:frameHeaderBytes+h.payload]...)
		sealFrame(again, sampleIdentity.Incarnation, h.position, h.records)
		if !bytes.Equal(again[32:36], b[32:36]) && h.version == FormatVersion && bytes.Equal(again[:32], b[:32]) {
			t.Fatal("a frame that passes has another checksum when it is made again")
		}
	})
}

func FuzzRecords(f *testing.F) {
	b, count := sampleFrame()
	f.Add(b[frameHeaderBytes:], count)
	f.Fuzz(func(t *testing.T, b []byte, count int) {
		total := 0
		err := decodeRecords(b, min(count, len(b)), func(r record) error {
			total += recordHeaderBytes + len(r.payload)
			_ = r.text()
			return nil
		})
		if err == nil && total != len(b) {
			t.Fatalf("%d of %d bytes were records", total, len(b))
		}
	})
}

func FuzzOwnRecords(f *testing.F) {
	f.Add(encodeShardRecord(sampleShard, samplePlace()))
	f.Add(encodeTombstone([]engine.ShardID{sampleShard}))
	f.Add(encodeSegmentRecord(segmentRecord{number: 5, bytes: 1 << 20}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, p, err := decodeShardRecord(b); err == nil && !bytes.Equal(appendPlace(nil, p), b[shardIDBytes:]) {
			t.Fatal("a shard record encodes to other bytes")
		}
		if ids, err := decodeTombstone(b); err == nil && len(encodeTombstone(ids)) != len(b) {
			t.Fatal("a tombstone encodes to other bytes")
		}
		if s, err := decodeSegmentRecord(b); err == nil && !bytes.Equal(encodeSegmentRecord(s)[:5], b[:5]) {
			t.Fatal("a segment record encodes to other bytes")
		}
	})
}
