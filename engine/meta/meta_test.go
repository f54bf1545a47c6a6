package meta

import (
	"bytes"
	"strings"
	"testing"

	"holdfast/engine"
)

// machineOn applies commands of one epoch to a map store, a batch for each.
type machineOn struct {
	t       testing.TB
	store   *MapStore
	machine Machine
	index   uint64
	number  uint64
	epoch   uint64
}

func newMachine(t testing.TB) *machineOn {
	m := &machineOn{t: t, store: NewMapStore(), machine: Machine{Group: 1}, index: 1}
	m.epoch = m.apply(Encode(0, 1, 0, &OpenEpoch{Node: 9})).Epoch
	return m
}

func (m *machineOn) apply(command []byte) Answer {
	m.t.Helper()
	m.index++
	view := NewOverlay(m.store)
	answers, err := m.machine.Apply(view, []Entry{{Index: m.index, Term: 2, Data: command}})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.store.Commit(view.Batch()); err != nil {
		m.t.Fatal(err)
	}
	answer, err := ParseAnswer(answers[0])
	if err != nil {
		m.t.Fatal(err)
	}
	return answer
}

func (m *machineOn) do(c Command) Answer {
	m.number++
	return m.apply(Encode(m.epoch, m.number, m.number, c))
}

func inline(key string) *Put {
	return &Put{Bucket: 5, Key: engine.Key(key), Class: engine.ClassStandard, Data: Data{Size: 1, Inline: []byte("x")}}
}

// TestEpochs checks that a repetition is answered and not applied, and that a closed epoch's commands never are.
func TestEpochs(t *testing.T) {
	m := newMachine(t)
	m.do(&CreateBucket{Bucket: 5, Name: "bucket"})
	m.number++
	command := Encode(m.epoch, m.number, m.number, inline("k"))
	first, again := m.apply(command), m.apply(command)
	if first.Failed || first.Sequence != 1 || again.Sequence != first.Sequence || again.Existed {
		t.Fatalf("a repetition was answered %+v, the first time it was %+v", again, first)
	}
	extent := Extent{ID: engine.ExtentID{Group: 1, Epoch: m.epoch, Counter: 1}, Redundancy: engine.Redundancy{Data: 1}, Size: 9000, Class: engine.ClassStandard, Drives: []engine.DriveID{1}}
	if answer := m.do(&Condemn{Extents: []engine.ExtentID{extent.ID}}); answer.Failed || answer.Used[0] {
		t.Fatalf("an unused extent is condemned: %+v", answer)
	}
	late := inline("late")
	late.Data = Data{Size: 9000, Extents: []Extent{extent}}
	if answer := m.do(late); !answer.Failed {
		t.Fatal("a condemned extent was used")
	}
	next := m.apply(Encode(0, 2, 0, &OpenEpoch{Node: 9})).Epoch
	old := m.epoch
	m.epoch = next
	m.number = 0
	if answer := m.do(&CloseEpochs{Node: 9, Below: next}); answer.Failed {
		t.Fatal(answer.Message)
	}
	if answer := m.apply(Encode(old, 1000, 1000, inline("fenced"))); !answer.Failed {
		t.Fatal("a command of a closed epoch was applied")
	}
}

func FuzzCommand(f *testing.F) {
	f.Add(Encode(1, 2, 3, inline("a/b")))
	f.Add(Encode(1, 2, 3, &CompleteUpload{ID: "x", Parts: []Part{{Number: 1, Content: 2}}}))
	f.Add(Encode(1, 2, 3, &RemovePrefix{Bucket: 5, Prefix: "a/"}))
	f.Add(Encode(1, 2, 3, &TakeApart{Bucket: 5, Directory: 7}))
	f.Add(Encode(1, 2, 3, &Condemn{Extents: []engine.ExtentID{{Group: 1}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, confirmed, c, err := parseCommand(b)
		if err != nil {
			return
		}
		again := Encode(h.Epoch, h.Number, confirmed, c)
		SetStamp(again, h.Stamp)
		if _, _, _, err := parseCommand(again); err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
	})
}

func FuzzRows(f *testing.F) {
	f.Add([]byte{rowFormat, 1, 2, 3})
	f.Add((&contentRow{refs: 1, count: 1, runs: []Run{{Content: 3, Length: 4}}}).encode())
	f.Add((&Extent{Redundancy: engine.Redundancy{Data: 2, Parity: 2}, Drives: make([]engine.DriveID, 4)}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, r := range []row{
			new(groupRow), new(epochRow), new(bucketRow), new(entryRow), new(inodeRow), new(aggregateRow), new(contentRow), new(Extent),
			new(driveRow), new(uploadRow), new(partRow), new(directoryRow), new(DriveRecord),
		} {
			_ = parse(nil, b, r) // it must not panic, nor take more memory than a multiple of its input
		}
		_, _ = ParseAnswer(b)
		_, _ = parseRun(b)
	})
}

// FuzzKey puts keys into the tree and lists them: they come back as they were, in the order of their bytes, and nothing stays when they go.
func FuzzKey(f *testing.F) {
	f.Add("a", "a/b", "a/")
	f.Add("a//b", "/", "..")
	f.Add("x\x00y", "x", "x/\x00")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		m := newMachine(t)
		m.do(&CreateBucket{Bucket: 5, Name: "bucket"})
		want := map[string]bool{}
		for _, key := range []string{a, b, c} {
			directories, name := splitKey(key)
			if strings.Join(directories, "")+name != key {
				t.Fatalf("%q is cut into %q and %q", key, directories, name)
			}
			if engine.CheckKey(engine.Key(key)) == nil {
				want[key] = true
				m.do(inline(key))
			}
		}
		page, err := List(m.store.Snapshot(), 5, engine.ListOptions{})
		if err != nil || len(page.Objects) != len(want) {
			t.Fatalf("%d keys are listed of %v: %v", len(page.Objects), want, err)
		}
		for i, o := range page.Objects {
			if !want[string(o.Key)] || i > 0 && page.Objects[i-1].Key >= o.Key {
				t.Fatalf("%q is listed, out of place", o.Key)
			}
			if got, id, err := splitUploadKey(uploadKey(5, o.Key, "id")[9:]); err != nil || got != o.Key || id != "id" {
				t.Fatalf("%q comes back from an upload's row as %q %q %v", o.Key, got, id, err)
			}
		}
		for key := range want {
			m.do(&Delete{Bucket: 5, Key: engine.Key(key)})
		}
		it := m.store.Iterate(key8(rowEntry, 5), after(key8(rowEntry, 5)))
		if it.Next() {
			t.Fatalf("the row %q is left", it.Key())
		}
		if answer := m.do(&DeleteBucket{Bucket: 5}); answer.Failed {
			t.Fatal(answer.Message)
		}
	})
}

// TestBatches applies the same commands one by one and all in one batch; the rows must be the same.
func TestBatches(t *testing.T) {
	var entries []Entry
	add := func(c []byte) { entries = append(entries, Entry{Index: uint64(len(entries) + 2), Term: 2, Data: c}) }
	add(Encode(0, 1, 0, &OpenEpoch{Node: 9}))
	commands := []Command{&CreateBucket{Bucket: 5, Name: "bucket"}, inline("a/b"), inline("a/c"), inline("a/b"), &Delete{Bucket: 5, Key: "a/c"}, &Delete{Bucket: 5, Key: "a/b"}, inline("z"),
		inline("a/d/e"), inline("a/f"), &RemovePrefix{Bucket: 5, Prefix: "a/"}, inline("a/d/e"), &TakeApart{}, &RemoveBucket{Bucket: 5}, &TakeApart{}}
	for i, c := range commands {
		add(Encode(2, uint64(i+1), uint64(i+1), c))
	}
	var dumps [][]byte
	for _, cut := range []int{1, 3, len(entries)} {
		store := NewMapStore()
		for begin := 0; begin < len(entries); begin += cut {
			view := NewOverlay(store)
			if _, err := (&Machine{Group: 1}).Apply(view, entries[begin:min(begin+cut, len(entries))]); err != nil {
				t.Fatal(err)
			}
			if err := store.Commit(view.Batch()); err != nil {
				t.Fatal(err)
			}
		}
		var dump bytes.Buffer
		for it := store.Iterate([]byte{0}, []byte{0xff}); it.Next(); {
			dump.Write(it.Key())
			dump.Write(it.Value())
		}
		dumps = append(dumps, dump.Bytes())
	}
	if !bytes.Equal(dumps[0], dumps[1]) || !bytes.Equal(dumps[0], dumps[2]) {
		t.Fatal("the rows depend on how the commands were cut into batches")
	}
}

// A completion that is refused leaves nothing of the content that was staged for it: the parts are the upload's alone again.
func TestRefusedCompletionDropsWhatWasStaged(t *testing.T) {
	m := newMachine(t)
	m.do(&CreateBucket{Bucket: 5, Name: "bucket"})
	m.do(inline("k"))
	id := strings.Repeat("u", UploadIDBytes)
	m.do(&StartUpload{Bucket: 5, Key: "k", ID: id, Class: engine.ClassStandard})
	m.do(&PutPart{Bucket: 5, Key: "k", ID: id, Number: 1, Data: Data{Size: 1, Inline: []byte("x")}})
	parts, err := ListParts(NewOverlay(m.store), 5, id, 0, 10)
	if err != nil || len(parts) != 1 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	staged := m.do(&Stage{Bucket: 5, ID: id, Parts: []Part{{Number: 1, Content: parts[0].Content}}})
	if staged.Failed || staged.Content == 0 {
		t.Fatalf("stage: %+v", staged)
	}
	refused := m.do(&CompleteUpload{Bucket: 5, Key: "k", ID: id, Staged: staged.Content, Count: 1, Size: 1, If: engine.Conditions{NoneMatchAny: true}})
	if refused.Kind != engine.KindPreconditionFailed {
		t.Fatalf("complete: %+v", refused)
	}
	census, err := Check(NewOverlay(m.store))
	if err != nil {
		t.Fatal(err)
	}
	if census.Staged != 0 || census.Garbage != 1 {
		t.Errorf("after the refusal %d contents are staged and %d are garbage; want 0 and the one that was staged", census.Staged, census.Garbage)
	}
}

// A list outlives the iterator that it was read with.
func TestListsKeepTheirChecksums(t *testing.T) {
	uploadID := strings.Repeat("u", UploadIDBytes)
	m := newMachine(t)
	m.do(&CreateBucket{Bucket: 5, Name: "bucket"})
	m.do(&StartUpload{Bucket: 5, Key: "k", ID: uploadID, Class: engine.ClassStandard, Algorithm: "SHA256"})
	for n := 1; n <= 3; n++ {
		sum := bytes.Repeat([]byte{byte(n)}, 32)
		m.do(&PutPart{Bucket: 5, Key: "k", ID: uploadID, Number: n, Data: Data{Size: 1, Inline: []byte("x")}, Checksum: engine.Checksum{Algorithm: "SHA256", Sum: sum}})
	}
	parts, err := ListParts(NewOverlay(m.store), 5, uploadID, 0, 10)
	if err != nil || len(parts) != 3 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for _, p := range parts {
		if sum := bytes.Repeat([]byte{byte(p.Info.Number)}, 32); !bytes.Equal(p.Info.Checksum.Sum, sum) {
			t.Errorf("part %d has the checksum %x", p.Info.Number, p.Info.Checksum.Sum)
		}
	}
}
