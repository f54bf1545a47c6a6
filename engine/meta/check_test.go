package meta

import (
	"bytes"
	"fmt"
	"testing"

	"holdfast/engine"
)

// filled is a machine whose rows have one of each kind that Check knows.
func filled(t *testing.T) *machineOn {
	m := newMachine(t)
	counter := uint64(0)
	data := func(size int64) Data {
		counter++
		x := Extent{
			ID: engine.ExtentID{Group: 1, Epoch: m.epoch, Counter: counter}, Redundancy: engine.Redundancy{Data: 2, Parity: 2}, Size: size,
			Class: engine.ClassStandard, Drives: []engine.DriveID{1, 2, 3, 4},
		}
		return Data{Size: size, Extents: []Extent{x}}
	}
	must := func(a Answer) Answer {
		t.Helper()
		if err := a.Err(); err != nil {
			t.Fatal(err)
		}
		return a
	}
	must(m.do(&CreateBucket{Bucket: 5, Name: "bucket"}))
	must(m.do(inline("inline")))
	must(m.do(&Put{Bucket: 5, Key: "a/b//c", Class: engine.ClassStandard, Data: data(9000)}))
	must(m.do(&Put{Bucket: 5, Key: "a/old", Class: engine.ClassStandard, Data: data(9001)}))
	must(m.do(&Delete{Bucket: 5, Key: "a/old"})) // garbage
	var ids []string
	for i := range 3 {
		id := fmt.Sprintf("upload-%017d", i)
		ids = append(ids, id)
		key := engine.Key(fmt.Sprint("large/", i))
		must(m.do(&StartUpload{Bucket: 5, Key: key, ID: id, Class: engine.ClassStandard}))
		for part := 1; part <= 2; part++ {
			must(m.do(&PutPart{Bucket: 5, Key: key, ID: id, Number: part, Data: data(9002)}))
		}
	}
	must(m.do(&AbortUpload{Bucket: 5, Key: "large/0", ID: ids[0]})) // trash
	must(m.do(&Stage{Bucket: 5, ID: ids[1], Parts: []Part{{Number: 1, Content: 6}, {Number: 2, Content: 7}}}))
	must(m.do(&ReportMissing{Extent: engine.ExtentID{Group: 1, Epoch: m.epoch, Counter: 1}, Index: 2, Drive: 3}))
	must(m.do(&Condemn{Extents: []engine.ExtentID{{Group: 1, Epoch: m.epoch, Counter: 999}}}))
	must(m.do(&OpenCursor{Bucket: 5, Name: "follower"}))
	must(m.do(inline("removed/a/b")))
	must(m.do(inline("removed/c")))
	must(m.do(&RemovePrefix{Bucket: 5, Prefix: "removed/"}))
	return m
}

// TestCheckFindsEveryLostRow deletes each row in turn: rows that others depend on are missed.
func TestCheckFindsEveryLostRow(t *testing.T) {
	m := filled(t)
	census, err := Check(m.store.Snapshot())
	if err != nil {
		t.Fatalf("the rows as they were made: %v", err)
	}
	if census.Buckets*census.Directories*census.Objects*census.Contents*census.Extents*census.Garbage*census.MissingExtents*census.Uploads*census.Parts*
		census.Staged*census.Condemned*census.Trash*census.Detached*census.Cursors*census.Changes == 0 {
		t.Fatalf("a kind of row is not there: %+v", census)
	}
	// Rows that nothing else tells of.
	free := map[byte]bool{rowAnswer: true, rowCondemned: true}
	found, kinds := 0, map[byte]int{}
	rows := m.store.Snapshot()
	for it := rows.Iterate([]byte{0}, []byte{0xff}); it.Next(); {
		key, value := bytes.Clone(it.Key()), bytes.Clone(it.Value())
		var lose, back Batch
		lose.Delete(key)
		back.Set(key, value)
		if err := m.store.Commit(&lose); err != nil {
			t.Fatal(err)
		}
		_, err := Check(m.store.Snapshot())
		if err == nil && !free[key[0]] {
			t.Errorf("the loss of row %q is not found", key)
		}
		if err != nil {
			found++
			kinds[key[0]]++
		}
		if err := m.store.Commit(&back); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d lost rows found, of %d kinds", found, len(kinds))
	if _, err := Check(m.store.Snapshot()); err != nil {
		t.Error(err)
	}
}

// TestCheckFindsWrongCounts changes what rows say of others.
func TestCheckFindsWrongCounts(t *testing.T) {
	m := filled(t)
	change := func(what string, key []byte, value []byte) {
		t.Helper()
		old, ok, err := m.store.Get(key)
		if err != nil || !ok {
			t.Fatalf("%s: no row %q (%v)", what, key, err)
		}
		var b, back Batch
		b.Set(key, value)
		back.Set(key, bytes.Clone(old))
		if err := m.store.Commit(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := Check(m.store.Snapshot()); err == nil {
			t.Errorf("%s: not found", what)
		}
		if err := m.store.Commit(&back); err != nil {
			t.Fatal(err)
		}
	}
	var aggregate aggregateRow
	m.load(key16(rowAggregate, 5, rootInode), &aggregate)
	aggregate.bytes++
	change("bytes of the root", key16(rowAggregate, 5, rootInode), aggregate.encode())
	var content contentRow
	m.load(key8(rowContent, 2), &content)
	content.refs++
	change("references of a content", key8(rowContent, 2), content.encode())
	content.refs, content.size = content.refs-1, content.size+1
	change("size of a content", key8(rowContent, 2), content.encode())
	x := Extent{ID: engine.ExtentID{Group: 1, Epoch: m.epoch, Counter: 1}}
	m.load(extentKey(rowExtent, x.ID), &x)
	var detached []byte
	for it := m.store.Iterate([]byte{rowDetached}, []byte{rowDetached + 1}); it.Next(); {
		detached = bytes.Clone(it.Key())
	}
	var trash detachedRow
	m.load(detached, &trash)
	trash.versions--
	change("versions under trash", detached, trash.encode())
	var cursor cursorRow
	m.load(cursorKey(5, "follower"), &cursor)
	cursor.lost = true
	change("a cursor that is lost", cursorKey(5, "follower"), cursor.encode())
	cursor = cursorRow{position: 1000}
	change("a cursor beyond the last change", cursorKey(5, "follower"), cursor.encode())
	trash.versions, trash.name = trash.versions+1, "b"
	change("how far a directory was taken apart", detached, trash.encode())
	x.Drives[0] = 9
	change("drive of a shard", extentKey(rowExtent, x.ID), x.encode())
}

func (m *machineOn) load(key []byte, r row) {
	m.t.Helper()
	if ok, err := load(m.store, key, r); err != nil || !ok {
		m.t.Fatalf("row %q: %v, %v", key, ok, err)
	}
}
