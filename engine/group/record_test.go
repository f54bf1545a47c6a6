package group

import (
	"bytes"
	"reflect"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

func sampleRecord() logRecord {
	entry := func(index uint64, data string) *raftpb.Entry {
		return &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Index: new(index), Term: new(uint64(3)), Data: []byte(data)}
	}
	return logRecord{
		registry: registry{2, 7}, term: 3, vote: 7, commit: 300,
		base:    &applied{index: 299, term: 2, members: []Member{{Replica: 7, Drive: 1}, {Replica: 8, Drive: 2, Learner: true}}},
		entries: []*raftpb.Entry{entry(300, "first"), entry(301, ""), entry(302, "third")},
	}
}

func TestLogRecordRoundTrip(t *testing.T) {
	l := sampleRecord()
	got, err := decodeLogRecord(bytes.Join(l.parts(), nil))
	if err != nil {
		t.Fatal(err)
	}
	if got.registry != l.registry || got.commit != l.commit || !reflect.DeepEqual(got.base, l.base) || len(got.entries) != 3 ||
		string(got.entries[2].GetData()) != "third" || got.entries[1].GetIndex() != 301 {
		t.Fatalf("%+v became %+v", l, got)
	}
}

func FuzzLogRecord(f *testing.F) {
	l := sampleRecord()
	f.Add(bytes.Join(l.parts(), nil))
	f.Add([]byte{recordFormat, 0, 1, 1, 1, 0, 0, 0})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := decodeLogRecord(b)
		if err != nil {
			return
		}
		again, err := decodeLogRecord(bytes.Join(l.parts(), nil))
		if err != nil || again.registry != l.registry || again.commit != l.commit || len(again.entries) != len(l.entries) {
			t.Fatalf("%x: %+v, then %+v, %v", b, l, again, err)
		}
	})
}

func FuzzRows(f *testing.F) {
	f.Add(sampleRecord().base.encode())
	f.Add(registry{3, 4}.encode())
	f.Add(encodeHard(5, 6))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := decodeApplied(b); err == nil {
			if again, err := decodeApplied(a.encode()); err != nil || !reflect.DeepEqual(a, again) {
				t.Fatalf("%x: %+v, then %+v, %v", b, a, again, err)
			}
		}
		if g, err := decodeRegistry(b); err == nil {
			if again, err := decodeRegistry(g.encode()); err != nil || g != again {
				t.Fatalf("%x: %+v, then %+v, %v", b, g, again, err)
			}
		}
		if term, vote, err := decodeHard(b); err == nil {
			if t2, v2, err := decodeHard(encodeHard(term, vote)); err != nil || t2 != term || v2 != vote {
				t.Fatalf("%x: %d %d, then %d %d, %v", b, term, vote, t2, v2, err)
			}
		}
	})
}

func FuzzMessage(f *testing.F) {
	m := Message{Group: 1, Type: MessageBeat, From: 1, To: 2, Drive: 3, Term: 4, Round: 5}
	b, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	m = Message{Group: 1, From: 1, To: 2, Term: 4, Raft: &raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(1)), To: new(uint64(2)), Term: new(uint64(4))}}
	if b, err = m.Encode(); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeMessage(again); err != nil {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
	})
}
