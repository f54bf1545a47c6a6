package meta

import (
	"strings"
	"testing"

	"holdfast/engine"
)

// TestDriveLeaves takes a drive from its first shard to its end: while it leaves nothing is moved to it, and it goes when nothing is recorded on it, no
// sooner.
func TestDriveLeaves(t *testing.T) {
	m := newMachine(t)
	m.do(&CreateBucket{Bucket: 5, Name: "bucket"})
	id := engine.ExtentID{Group: 1, Epoch: m.epoch, Counter: 1}
	x := Extent{ID: id, Redundancy: engine.Redundancy{Data: 1, Parity: 1}, Size: 9000, Class: engine.ClassStandard, Drives: []engine.DriveID{1, 2}}
	must := func(c Command) {
		t.Helper()
		if a := m.do(c); a.Failed {
			t.Fatalf("%T: %s", c, a.Message)
		}
	}
	refused := func(c Command, why string) {
		t.Helper()
		if a := m.do(c); !a.Failed || a.Kind != engine.KindConflict || !strings.Contains(a.Message, why) {
			t.Fatalf("%T is answered %+v, not refused because %s", c, a, why)
		}
	}
	leaves := func(drive engine.DriveID, want bool, wantHeir engine.DriveID) {
		t.Helper()
		leaving, heir, err := LoadLeaving(m.store.Snapshot(), drive)
		if err != nil || leaving != want || heir != wantHeir {
			t.Fatalf("drive %d leaves: %v, for %d (%v); want %v, %d", drive, leaving, heir, err, want, wantHeir)
		}
	}
	must(&Put{Bucket: 5, Key: "k", Class: engine.ClassStandard, Data: Data{Size: 9000, Extents: []Extent{x}}})
	refused(&RemoveDrive{Drive: 1}, "does not leave")
	refused(&SetLeaving{Drive: 1, Leaving: true, Heir: 1}, "cannot take the place")
	must(&SetLeaving{Drive: 1, Leaving: true, Heir: 3})
	leaves(1, true, 3)
	must(&SetDrive{Drive: 1, Out: true})
	leaves(1, true, 3) // out or in, it leaves
	must(&SetDrive{Drive: 1})
	leaves(1, true, 3)
	refused(&SetLeaving{Drive: 2, Leaving: true, Heir: 1}, "cannot take the place")
	refused(&MoveShard{Extent: id, Index: 1, From: 2, To: 1}, "another shard")
	refused(&RemoveDrive{Drive: 1}, "shards are recorded")
	if shards, bytes, err := WeighPlaced(m.store.Snapshot(), 1); shards != 1 || bytes != 9000 || err != nil {
		t.Fatalf("%d shards of %d bytes are left (%v), not one", shards, bytes, err)
	}
	must(&MoveShard{Extent: id, Index: 0, From: 1, To: 3})
	refused(&MoveShard{Extent: id, Index: 0, From: 3, To: 1}, "is out, or leaves")
	must(&SetLeaving{Drive: 1})
	leaves(1, false, 0)
	refused(&RemoveDrive{Drive: 1}, "does not leave")
	must(&SetLeaving{Drive: 1, Leaving: true})
	must(&RemoveDrive{Drive: 1})
	must(&RemoveDrive{Drive: 1})
	leaves(1, false, 0)
	if out, gone, err := LoadDrive(m.store.Snapshot(), 1); !out || !gone || err != nil {
		t.Fatalf("a drive that was removed is out: %v, gone: %v (%v)", out, gone, err)
	}
	refused(&SetLeaving{Drive: 1, Leaving: true}, "gone for good")
	refused(&SetLeaving{Drive: 2, Leaving: true, Heir: 1}, "cannot take the place")

	// A write that was placed before the drive left counts its shard there as missing, for repair to make elsewhere.
	late := Extent{ID: engine.ExtentID{Group: 1, Epoch: m.epoch, Counter: 2}, Redundancy: x.Redundancy, Size: 9001, Class: x.Class, Drives: []engine.DriveID{1, 2}}
	must(&Put{Bucket: 5, Key: "late", Class: engine.ClassStandard, Data: Data{Size: 9001, Extents: []Extent{late}}})
	if n, err := CountMissing(m.store.Snapshot()); n != 1 || err != nil {
		t.Fatalf("%d extents lack shards (%v), not 1", n, err)
	}
	if shards, parity, err := Widest(m.store.Snapshot()); shards != 2 || parity != 1 || err != nil {
		t.Fatalf("the widest code has %d shards, %d of them parity (%v)", shards, parity, err)
	}
	if _, err := Check(m.store.Snapshot()); err != nil {
		t.Fatal(err)
	}
	must(&Delete{Bucket: 5, Key: "late"})
	if n, err := CountMissing(m.store.Snapshot()); n != 0 || err != nil {
		t.Fatalf("%d extents lack shards that nobody needs (%v)", n, err)
	}
}

// TestCheckOfDrives wants that what a drive cannot be is found.
func TestCheckOfDrives(t *testing.T) {
	for _, r := range []driveRow{{gone: true}, {out: true, gone: true, leaving: true}, {heir: 3}, {leaving: true, heir: 2}} {
		m := filled(t)
		var b Batch
		b.Set(key8(rowDrive, 2), r.encode())
		if err := m.store.Commit(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := Check(m.store.Snapshot()); err == nil {
			t.Errorf("drive 2 is %+v, and nothing is found", r)
		}
	}
}
