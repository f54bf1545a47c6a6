package meta

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"holdfast/engine"
)

// must applies a command that is not to be refused, and returns the number of rows that it changed too.
func (m *machineOn) must(c Command) (Answer, int) {
	m.t.Helper()
	m.index++
	m.number++
	view := NewOverlay(m.store)
	answers, err := m.machine.Apply(view, []Entry{{Index: m.index, Term: 2, Data: Encode(m.epoch, m.number, m.number, c)}})
	if err != nil {
		m.t.Fatal(err)
	}
	batch := view.Batch()
	if err := m.store.Commit(batch); err != nil {
		m.t.Fatal(err)
	}
	answer, err := ParseAnswer(answers[0])
	if err == nil {
		err = answer.Err()
	}
	if err != nil {
		m.t.Fatalf("%T: %v", c, err)
	}
	return answer, len(batch.Ops)
}

func (m *machineOn) check() Census {
	m.t.Helper()
	census, err := Check(m.store.Snapshot())
	if err != nil {
		m.t.Fatal(err)
	}
	return census
}

// clear takes apart what is under trash, as the keepers do, and holds the rows against each other after every command.
func (m *machineOn) clear() (commands int, versions int64) {
	m.t.Helper()
	var place *TakeApart
	for {
		if place == nil {
			var err error
			if place, err = FirstDetached(m.store); err != nil {
				m.t.Fatal(err)
			}
		}
		if place == nil {
			return commands, versions
		}
		answer, rows := m.must(place)
		if rows > 4096 {
			m.t.Fatalf("one command changed %d rows", rows)
		}
		commands++
		versions += answer.Size
		m.check()
		if place = nil; answer.Left > 0 {
			place = &TakeApart{answer.Bucket, answer.Content}
		}
	}
}

// rowsOf counts the rows of a bucket, whatever they are.
func (m *machineOn) rowsOf(bucket engine.BucketID) (n int) {
	m.t.Helper()
	for _, kind := range []byte{rowAggregate, rowBucket, rowDocument, rowInode, rowDetached, rowEntry, rowUpload, rowOlder, rowPart, rowTrash, rowFeed, rowCursor} {
		if err := scan(m.store, key8(kind, uint64(bucket)), nil, func(_, _ []byte) (bool, error) { n++; return true, nil }); err != nil {
			m.t.Fatal(err)
		}
	}
	return n
}

// keys lists the bucket 5.
func (m *machineOn) keys() (keys []string) {
	m.t.Helper()
	for after := ""; ; {
		page, err := List(m.store, 5, engine.ListOptions{After: after})
		if err != nil {
			m.t.Fatal(err)
		}
		for _, o := range page.Objects {
			keys = append(keys, string(o.Key))
		}
		if after = page.Last; !page.Truncated {
			return keys
		}
	}
}

// TestRemovePrefix removes directories of every form: many entries, many directories, a deep one, many versions of one name.
func TestRemovePrefix(t *testing.T) {
	deep := "gone/" + strings.Repeat("d/", 450)
	for name, fill := range map[string]func(m *machineOn) int{
		"many objects": func(m *machineOn) int {
			for i := range 1000 {
				m.must(inline(fmt.Sprintf("gone/%04d", i)))
			}
			return 1000
		},
		"many directories": func(m *machineOn) int {
			for i := range 500 {
				m.must(inline(fmt.Sprintf("gone/%03d/x", i)))
				m.must(inline(fmt.Sprintf("gone/%03d/y/z", i)))
			}
			return 1000
		},
		"deep": func(m *machineOn) int {
			for i := 5; i <= len(deep); i += 10 {
				m.must(inline(deep[:i] + "x"))
			}
			return (len(deep)-5)/10 + 1
		},
		"many versions": func(m *machineOn) int {
			m.must(inline("gone/k")) // a null version
			m.must(&SetVersioning{Bucket: 5, Versioning: engine.VersioningEnabled})
			for range 700 {
				m.must(inline("gone/k"))
			}
			m.must(inline("gone/l"))
			m.must(&Delete{Bucket: 5, Key: "gone/l"})
			m.must(&SetVersioning{Bucket: 5, Versioning: engine.VersioningSuspended})
			m.must(&Delete{Bucket: 5, Key: "gone/m/n"})
			return 704
		},
		"as many as one command takes": func(m *machineOn) int {
			for i := range takeApartSteps {
				m.must(inline(fmt.Sprintf("gone/%04d", i)))
			}
			return takeApartSteps
		},
		"as many versions as one command takes": func(m *machineOn) int {
			m.must(&SetVersioning{Bucket: 5, Versioning: engine.VersioningEnabled})
			for range takeApartSteps + 1 {
				m.must(inline("gone/k"))
			}
			return takeApartSteps + 1
		},
		"older versions behind the last step of a command": func(m *machineOn) int {
			m.must(&SetVersioning{Bucket: 5, Versioning: engine.VersioningEnabled})
			for range 50 {
				m.must(inline("gone/a"))
			}
			for i := range takeApartSteps - 50 {
				m.must(inline(fmt.Sprintf("gone/b%04d", i)))
			}
			for _, key := range []string{"gone/c", "gone/d", "gone/e/f"} {
				for range 7 {
					m.must(inline(key))
				}
			}
			return takeApartSteps + 21
		},
		"extents": func(m *machineOn) int {
			for i := range 10 {
				x := Extent{
					ID: engine.ExtentID{Group: 1, Epoch: m.epoch, Counter: uint64(i + 1)}, Redundancy: engine.Redundancy{Data: 1, Parity: 1}, Size: 9000,
					Class: engine.ClassStandard, Drives: []engine.DriveID{1, 2},
				}
				m.must(&Put{Bucket: 5, Key: engine.Key(fmt.Sprint("gone/", i)), Class: engine.ClassStandard, Data: Data{Size: 9000, Extents: []Extent{x}}})
			}
			return 10
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
			m.must(inline("gone"))
			m.must(inline("gone0"))
			before := m.rowsOf(5)
			want := fill(m)
			answer, rows := m.must(&RemovePrefix{Bucket: 5, Prefix: "gone/"})
			if answer.Left != uint64(want) || rows > 20 {
				t.Fatalf("%d versions are gone, not %d; %d rows were changed", answer.Left, want, rows)
			}
			if census := m.check(); census.Detached != 1 {
				t.Fatalf("the rows are %+v", census)
			}
			if got := m.keys(); fmt.Sprint(got) != "[gone gone0]" {
				t.Fatalf("the bucket holds %q", got)
			}
			m.must(inline("gone/anew")) // has a directory of its own
			if trash, err := CountTrash(m.store); err != nil || trash != (Trash{1, uint64(want)}) {
				t.Fatalf("under trash are %+v, %v", trash, err)
			}
			commands, versions := m.clear()
			if versions != int64(want) || commands > 16+4*want/takeApartSteps {
				t.Fatalf("%d versions were taken apart by %d commands, not %d", versions, commands, want)
			}
			if got := m.keys(); fmt.Sprint(got) != "[gone gone/anew gone0]" {
				t.Fatalf("the bucket holds %q", got)
			}
			m.must(&Delete{Bucket: 5, Key: "gone/anew", Version: engine.NullVersion})
			m.do(&RemovePrefix{Bucket: 5, Prefix: "gone/"}) // which is there if the bucket keeps versions
			m.clear()
			if after := m.rowsOf(5); after != before {
				t.Fatalf("the bucket has %d rows, and had %d before", after, before)
			}
			if census := m.check(); name == "extents" && census.Garbage != 10 {
				t.Fatalf("the rows are %+v", census)
			}
		})
	}
}

// TestRemoveBucket: a bucket goes whole, with its uploads and documents, and its number is never met again.
func TestRemoveBucket(t *testing.T) {
	for _, objects := range []int{0, 1, 900} {
		m := newMachine(t)
		m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
		m.must(&SetDocument{Bucket: 5, Name: "tagging", Value: []byte("x")})
		id := "upload-00000000000000000"
		m.must(&StartUpload{Bucket: 5, Key: "a/u", ID: id, Class: engine.ClassStandard})
		m.must(&PutPart{Bucket: 5, Key: "a/u", ID: id, Number: 1, Data: Data{Size: 1, Inline: []byte("p")}})
		for i := range objects {
			m.must(inline(fmt.Sprintf("a/%d/%d", i%7, i)))
		}
		answer, rows := m.must(&RemoveBucket{Bucket: 5})
		if answer.Content != uint64(objects) || rows > 20 {
			t.Fatalf("%d objects are gone, not %d; %d rows were changed", answer.Content, objects, rows)
		}
		m.check()
		if answer := m.do(inline("a/b")); answer.Kind != engine.KindNoSuchBucket {
			t.Fatalf("a put into the removed bucket: %+v", answer)
		}
		m.must(&RemoveBucket{Bucket: 5}) // a repetition
		m.clear()
		for found := true; found; {
			m.must(&ClearTrash{})
			var err error
			if found, err = HasTrash(m.store); err != nil {
				t.Fatal(err)
			}
		}
		m.check()
		if n := m.rowsOf(5); n != 0 {
			t.Fatalf("%d rows of the bucket are left", n)
		}
	}
}

// TestRemovalsAndLocks: what a retention or hold keeps is not removed with what lies around it.
func TestRemovalsAndLocks(t *testing.T) {
	m := newMachine(t)
	m.must(&CreateBucket{Bucket: 5, Name: "bucket", Lock: true})
	held := inline("a/b/held")
	held.Lock.Hold = true
	m.must(held)
	m.must(&Delete{Bucket: 5, Key: "a/b/held"}) // the version is an older one then
	m.must(inline("a/c/free"))
	for _, c := range []Command{&RemovePrefix{Bucket: 5, Prefix: "a/"}, &RemovePrefix{Bucket: 5, Prefix: "a/b/"}, &RemoveBucket{Bucket: 5}} {
		if answer := m.do(c); answer.Kind != engine.KindLocked {
			t.Fatalf("%T: %+v", c, answer)
		}
	}
	m.must(&RemovePrefix{Bucket: 5, Prefix: "a/c/"})
	m.must(&SetLock{Bucket: 5, Key: "a/b/held", Version: engine.FormatVersion(1), SetHold: true})
	m.must(&RemoveBucket{Bucket: 5})
	m.check()
	m.clear()
	if n := m.rowsOf(5); n != 0 {
		t.Fatalf("%d rows of the bucket are left", n)
	}
}

// TestRemovalRefusals: what RemovePrefix does not take changes nothing.
func TestRemovalRefusals(t *testing.T) {
	m := newMachine(t)
	m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
	m.must(inline("a/b"))
	for prefix, kind := range map[string]engine.Kind{
		"": engine.KindInvalidArgument, "a": engine.KindInvalidArgument, "b/": engine.KindNoSuchKey, "a/b/": engine.KindNoSuchKey, "/": engine.KindNoSuchKey,
	} {
		if answer := m.do(&RemovePrefix{Bucket: 5, Prefix: prefix}); answer.Kind != kind || !answer.Failed {
			t.Errorf("%q: %+v", prefix, answer)
		}
	}
	if answer := m.do(&RemovePrefix{Bucket: 6, Prefix: "a/"}); answer.Kind != engine.KindNoSuchBucket {
		t.Errorf("another bucket: %+v", answer)
	}
	if got := m.keys(); fmt.Sprint(got) != "[a/b]" {
		t.Errorf("the bucket holds %q", got)
	}
}

// TestRemovalsAtRandom mixes puts, renames and removals of whatever depth with the taking apart of what went before.
func TestRemovalsAtRandom(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := newMachine(t)
		m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
		there, place := map[string]bool{}, TakeApart{}
		prefix := func() (p string) {
			for range 1 + rng.IntN(3) {
				p += string(rune('a'+rng.IntN(3))) + "/"
			}
			return p
		}
		for range 400 {
			switch n := rng.IntN(10); {
			case n < 6:
				key := prefix() + fmt.Sprint(rng.IntN(9))
				m.must(inline(key))
				there[key] = true
			case n == 6:
				p, found := prefix(), false
				for key := range there {
					if strings.HasPrefix(key, p) {
						delete(there, key)
						found = true
					}
				}
				if answer := m.do(&RemovePrefix{Bucket: 5, Prefix: p}); answer.Failed == found || answer.Failed && answer.Kind != engine.KindNoSuchKey {
					t.Fatalf("seed %d: removal of %q, which has keys: %v: %+v", seed, p, found, answer)
				}
			case n == 7:
				from, to := prefix(), fmt.Sprintf("%c/%d/", 'a'+rng.IntN(3), m.index)
				if answer := m.do(&RenamePrefix{Bucket: 5, From: from, To: to}); !answer.Failed {
					for key := range there {
						if rest, ok := strings.CutPrefix(key, from); ok {
							delete(there, key)
							there[to+rest] = true
						}
					}
				}
			default:
				answer, _ := m.must(&place)
				place = TakeApart{answer.Bucket, answer.Content}
			}
			m.check()
		}
		m.clear()
		got := m.keys()
		for _, key := range got {
			if !there[key] {
				t.Fatalf("seed %d: %q is there", seed, key)
			}
		}
		if len(got) != len(there) {
			t.Fatalf("seed %d: %d keys are there, not %d", seed, len(got), len(there))
		}
	}
}

// TestFormerNameOfAHeldFile removes a directory in which a held file is, gives the file two other names, and takes the directory apart: what lies there
// under the former name is none of the file's any more, whichever of the others goes first.
func TestFormerNameOfAHeldFile(t *testing.T) {
	for _, first := range []string{"x", "y"} {
		m := newMachine(t)
		m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
		m.must(inline("d/a"))
		owner, _ := m.must(&OpenOwner{Bucket: 5, Name: "o"})
		at, err := resolve(m.store, 5, "d/a")
		if err != nil || !at.found {
			t.Fatalf("%+v %v", at, err)
		}
		file := NodeRef{Bucket: 5, Node: engine.NodeID(at.entry.inode)}
		m.must(&HoldFile{File: file, Owner: engine.OwnerID(owner.Content)})
		m.must(&RemovePrefix{Bucket: 5, Prefix: "d/"})
		for _, name := range []string{"x", "y"} {
			m.must(&LinkFile{File: file, At: PlaceRef{Bucket: 5, Directory: engine.RootNode, Name: name}})
			m.check()
		}
		m.clear()
		answer, _ := m.must(&HoldFile{File: file, Owner: engine.OwnerID(owner.Content)})
		if info, err := ParseNode(answer.Node); err != nil || info.Links != 2 {
			t.Errorf("the file has %d names, %v; want 2", info.Links, err)
		}
		m.must(&CloseOwner{Bucket: 5, Owner: engine.OwnerID(owner.Content)})
		m.must(&RemoveFile{At: PlaceRef{Bucket: 5, Directory: engine.RootNode, Name: first}})
		m.check()
		other := map[string]string{"x": "y", "y": "x"}[first]
		if _, err := Lookup(m.store, 5, engine.Key(other), ""); err != nil {
			t.Errorf("%q is there under another name: %v", other, err)
		}
	}
}

// TestMoveOfAFileThatLostNames moves a file in a bucket that keeps versions by now, of whose two names one went with a directory that is not taken apart yet.
func TestMoveOfAFileThatLostNames(t *testing.T) {
	m := newMachine(t)
	m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
	m.must(inline("d/a"))
	at, err := resolve(m.store, 5, "d/a")
	if err != nil || !at.found {
		t.Fatalf("%+v %v", at, err)
	}
	file := NodeRef{Bucket: 5, Node: engine.NodeID(at.entry.inode)}
	place := func(name string) PlaceRef { return PlaceRef{Bucket: 5, Directory: engine.RootNode, Name: name} }
	m.must(&LinkFile{File: file, At: place("x")})
	m.must(&RemovePrefix{Bucket: 5, Prefix: "d/"})
	m.must(&SetVersioning{Bucket: 5, Versioning: engine.VersioningEnabled})
	m.must(&MoveFile{From: place("x"), To: place("y")})
	m.check()
	m.clear()
	found, err := FindFile(m.store, 5, file.Node)
	if err != nil || found.Key() != "y" || found.Info.Links != 1 {
		t.Fatalf("the file is %+v, %v", found, err)
	}
	m.must(&Delete{Bucket: 5, Key: "y", Version: found.Info.Version})
	if census := m.check(); census.Inodes != 2 { // the root, and the version that stayed at x
		t.Errorf("%d inodes are left", census.Inodes)
	}
}

// TestOlderVersionThatLostNames puts another version over such a file: it is an older one then, under the name that it has left.
func TestOlderVersionThatLostNames(t *testing.T) {
	for _, removed := range []bool{false, true} {
		m := newMachine(t)
		m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
		m.must(inline("d/a"))
		at, err := resolve(m.store, 5, "d/a")
		if err != nil || !at.found {
			t.Fatalf("%+v %v", at, err)
		}
		file := NodeRef{Bucket: 5, Node: engine.NodeID(at.entry.inode)}
		m.must(&LinkFile{File: file, At: PlaceRef{Bucket: 5, Directory: engine.RootNode, Name: "x"}})
		m.must(&RemovePrefix{Bucket: 5, Prefix: "d/"})
		m.must(&SetVersioning{Bucket: 5, Versioning: engine.VersioningEnabled})
		m.must(inline("x"))
		m.check()
		if removed {
			m.must(&Delete{Bucket: 5, Key: "x", Version: engine.NullVersion})
			m.check()
		}
		m.clear()
		want := 3 // the root and two versions
		if removed {
			want--
		}
		if census := m.check(); census.Inodes != want {
			t.Errorf("%d inodes are left, not %d", census.Inodes, want)
		}
	}
}
