package meta

import (
	"fmt"
	"math"
	"testing"

	"holdfast/engine"
)

// changesOf returns what a cursor is told.
func (m *machineOn) changesOf(name string) []engine.Change {
	m.t.Helper()
	page, err := Changes(m.store, 5, name, 0, math.MaxInt)
	if err != nil {
		m.t.Fatal(err)
	}
	return page.Changes
}

// kept counts what is noted.
func (m *machineOn) kept() (n int) {
	m.t.Helper()
	err := scan(m.store, []byte{rowFeed}, nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// TestFeedCostsNothing: while nobody follows a bucket, its changes have as many rows as they always had.
func TestFeedCostsNothing(t *testing.T) {
	m := newMachine(t)
	m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
	m.must(inline("a"))
	_, alone := m.must(inline("b"))
	m.must(&OpenCursor{Bucket: 5, Name: "f"})
	_, followed := m.must(inline("c"))
	if m.kept() != 1 || followed != alone+1 {
		t.Errorf("a put changes %d rows, with a follower %d; %d changes are noted", alone, followed, m.kept())
	}
	m.must(&MoveCursor{Bucket: 5, Name: "f", Move: CursorClose})
	if _, again := m.must(inline("d")); again != alone || m.kept() != 1 {
		t.Errorf("after the follower a put changes %d rows, before it %d; %d changes are noted", again, alone, m.kept())
	}
}

// TestFeedTrim: bounded commands remove what is noted, and the first of them says which cursors are lost.
func TestFeedTrim(t *testing.T) {
	m := newMachine(t)
	m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
	for _, name := range []string{"quick", "slow"} {
		m.must(&OpenCursor{Bucket: 5, Name: name})
	}
	const changes = 2*trimRows + 500
	for i := range changes {
		m.must(inline(fmt.Sprint(i % 7)))
	}
	m.must(&MoveCursor{Bucket: 5, Name: "quick", To: changes - 10})
	m.check()
	for i, want := range []Answer{{Size: trimRows, Left: 1, Content: 1}, {Size: trimRows, Left: 1}, {Size: 490}, {}} {
		answer, rows := m.must(&TrimFeed{Bucket: 5, Upto: changes - 10})
		if answer.Size != want.Size || answer.Left != want.Left || answer.Content != want.Content || rows > trimRows+10 {
			t.Fatalf("command %d changed %d rows and answers %+v", i, rows, answer)
		}
		m.check()
		if _, err := Changes(m.store, 5, "slow", 0, 1); engine.KindOf(err) != engine.KindRescan {
			t.Fatalf("after command %d the slow cursor hears %v", i, err)
		}
		if got := m.changesOf("quick"); len(got) != 10 {
			t.Fatalf("after command %d the quick one has %d changes", i, len(got))
		}
	}
	list, err := ListFeeds(m.store)
	if err != nil || len(list) != 1 || list[0].Kept() != 10 || list[0].Behind() != 10 || list[0].Cursors != 2 || list[0].Lost != 1 {
		t.Errorf("the feeds are %+v, %v", list, err)
	}
	m.must(&MoveCursor{Bucket: 5, Name: "quick", Move: CursorClose})
	m.must(inline("unseen")) // by the lost one alone
	if n := m.kept(); n != 10 {
		t.Errorf("%d changes are noted for a lost cursor", n)
	}
	m.must(&MoveCursor{Bucket: 5, Name: "slow", Move: CursorReset})
	m.must(inline("seen"))
	if got := m.changesOf("slow"); len(got) != 1 || got[0].Key != "seen" {
		t.Errorf("a cursor that was reset has %+v", got)
	}
	m.check()
}

// TestFeedOfRefusals: a command that is refused after it had its number leaves neither.
func TestFeedOfRefusals(t *testing.T) {
	m := newMachine(t)
	m.must(&CreateBucket{Bucket: 5, Name: "bucket", Lock: true})
	held := inline("k")
	held.Lock.Hold = true
	m.must(held)
	m.must(&OpenCursor{Bucket: 5, Name: "f"})
	if answer := m.do(&Delete{Bucket: 5, Key: "k", Version: engine.FormatVersion(1)}); answer.Kind != engine.KindLocked {
		t.Fatalf("the delete: %+v", answer)
	}
	m.must(inline("l"))
	if got := m.changesOf("f"); len(got) != 1 || got[0].Key != "l" || got[0].Sequence != 2 {
		t.Errorf("the changes are %+v", got)
	}
	m.check()
}

// TestFeedAndTrash: what a cursor may ask for is not taken apart, and what lies behind it is.
func TestFeedAndTrash(t *testing.T) {
	m := newMachine(t)
	m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
	m.must(inline("z/first/k"))
	m.must(&RemovePrefix{Bucket: 5, Prefix: "z/"}) // nobody follows yet
	m.must(&OpenCursor{Bucket: 5, Name: "f"})
	for i := range 3 {
		m.must(inline(fmt.Sprintf("%d/a/k", i)))
		m.must(&RemovePrefix{Bucket: 5, Prefix: fmt.Sprintf("%d/", i)})
	}
	trash := func(want int) {
		t.Helper()
		for {
			next, err := FirstDetached(m.store)
			if err != nil {
				t.Fatal(err)
			}
			if next == nil {
				break
			}
			m.must(next)
		}
		m.must(&TakeApart{}) // from the first on, which waits
		if got, err := CountTrash(m.store); err != nil || got.Things != want {
			t.Errorf("%d things are under trash, not %d (%v)", got.Things, want, err)
		}
		m.check()
	}
	trash(3)
	removed := m.changesOf("f")[3]
	m.must(&MoveCursor{Bucket: 5, Name: "f", To: removed.Sequence - 1})
	trash(2)
	page, err := Expand(m.store, 5, "f", removed.Sequence, "", 10)
	if err != nil || len(page.Keys) != 1 || page.Keys[0].Key != "1/a/k" {
		t.Errorf("beneath %q lay %+v, %v", removed.Key, page, err)
	}
	m.must(&MoveCursor{Bucket: 5, Name: "f", Move: CursorReset})
	trash(0)
}

// TestFeedOfRemovedBucket: the cursors and all that was noted go with their bucket, however much it is.
func TestFeedOfRemovedBucket(t *testing.T) {
	m := newMachine(t)
	m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
	m.must(&OpenCursor{Bucket: 5, Name: "f"})
	for range trimRows + 300 {
		m.must(inline("k"))
	}
	_, rows := m.must(&RemoveBucket{Bucket: 5})
	if rows > 20 {
		t.Errorf("the removal changed %d rows", rows)
	}
	m.check()
	m.clear()
	for found := true; found; {
		if _, rows := m.must(&ClearTrash{}); rows > trimRows+10 {
			t.Errorf("a command changed %d rows", rows)
		}
		var err error
		if found, err = HasTrash(m.store); err != nil {
			t.Fatal(err)
		}
		m.check()
	}
	if n := m.rowsOf(5); n != 0 {
		t.Errorf("%d rows of the bucket are left", n)
	}
}
