package meta

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"holdfast/engine"
)

// patchedFile is a file on a machine whose bytes are all in rows, and what it should hold.
type patchedFile struct {
	*machineOn
	id   uint64
	want []byte
}

func newPatchedFile(m *machineOn, name string, want []byte) *patchedFile {
	m.t.Helper()
	answer, _ := m.must(&MakeFile{At: PlaceRef{Bucket: 5, Directory: engine.RootNode, Name: name}, Class: engine.ClassStandard})
	info, err := ParseNode(answer.Node)
	if err != nil {
		m.t.Fatal(err)
	}
	f := &patchedFile{machineOn: m, id: uint64(info.Node)}
	if len(want) > 0 {
		f.patch(PatchPiece{Offset: 0, Length: int64(len(want)), Data: Data{Size: int64(len(want)), Inline: want}})
	}
	return f
}

func (f *patchedFile) ref() NodeRef { return NodeRef{Bucket: 5, Node: engine.NodeID(f.id)} }

// patch applies pieces, and to what the file should hold too; it returns the number of rows that changed.
func (f *patchedFile) patch(pieces ...PatchPiece) int {
	f.t.Helper()
	_, rows := f.must(&PatchFile{File: f.ref(), Pieces: pieces})
	for _, p := range pieces {
		if n := int(p.Offset + p.Length); n > len(f.want) {
			f.want = append(f.want, make([]byte, n-len(f.want))...)
		}
		clear(f.want[p.Offset:][:p.Length])
		copy(f.want[p.Offset:], p.Data.Inline)
	}
	return rows
}

func (f *patchedFile) inode() (r inodeRow) {
	f.t.Helper()
	if ok, err := load(f.store, key16(rowInode, 5, f.id), &r); err != nil || !ok {
		f.t.Fatalf("inode %d is there: %v, %v", f.id, ok, err)
	}
	return r
}

func (f *patchedFile) content() (r contentRow) {
	f.t.Helper()
	inode := f.inode()
	if ok, err := load(f.store, key8(rowContent, inode.content), &r); err != nil || !ok {
		f.t.Fatalf("the content is there: %v, %v", ok, err)
	}
	return r
}

// holds reads the file.
func (f *patchedFile) holds() {
	f.t.Helper()
	inode := f.inode()
	got := make([]byte, inode.size)
	readRange(f.t, f.store, inode.content, 0, got)
	if !bytes.Equal(got, f.want) {
		f.t.Fatalf("the file has %d bytes that are not the %d which were written", len(got), len(f.want))
	}
}

func readRange(t testing.TB, view View, id uint64, offset int64, into []byte) {
	t.Helper()
	found, err := LoadRange(view, id, offset, int64(len(into)))
	if err != nil {
		t.Fatal(err)
	}
	if found.IsInline {
		copy(into, found.Inline)
	}
	for i := range found.Runs {
		if run := &found.Runs[i]; !run.Hole() {
			readRange(t, view, run.Content, run.Offset, into[run.Start-offset:][:run.Length])
		}
	}
}

func (f *patchedFile) plan(bytesMax int64, contentsMin int) *Compaction {
	f.t.Helper()
	plan, err := PlanCompaction(f.store, ScatteredFile{5, f.id}, bytesMax, contentsMin)
	if err != nil {
		f.t.Fatal(err)
	}
	return plan
}

// command makes the command for a range, with the bytes that it needs.
func (f *patchedFile) command(r *CompactRange) *Compact {
	f.t.Helper()
	c := &Compact{Bucket: 5, Inode: f.id, Offset: r.Offset, Length: r.Length, Sum: r.Sum}
	if r.Expand {
		return c
	}
	pieces, err := LoadPieces(f.store, ScatteredFile{5, f.id}, r)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, p := range pieces {
		c.Data.Inline = append(c.Data.Inline, p.Inline...)
	}
	if c.Data.Size = r.Size; int64(len(c.Data.Inline)) != r.Size {
		f.t.Fatalf("%d bytes are to be written anew; there are %d", r.Size, len(c.Data.Inline))
	}
	return c
}

// collect forgets what is garbage, as the collector does.
func (m *machineOn) collect() {
	m.t.Helper()
	for {
		list, err := ListGarbage(m.store, m.index+1, 100)
		if err != nil {
			m.t.Fatal(err)
		}
		if len(list) == 0 {
			return
		}
		for _, g := range list {
			for left := uint64(1); left > 0; {
				answer, rows := m.must(&Forget{Index: g.Index, Content: g.Content})
				if left = answer.Left; rows > 4096 {
					m.t.Fatalf("one command changed %d rows", rows)
				}
			}
		}
	}
}

// compact does all that is worth it.
func (f *patchedFile) compact() (ranges int) {
	f.t.Helper()
	for {
		plan := f.plan(GroupBytesMax, GroupContents)
		if len(plan.Ranges) == 0 {
			f.must(plan.Settle)
			return ranges
		}
		for i := range plan.Ranges {
			if _, rows := f.must(f.command(&plan.Ranges[i])); rows > 4096 {
				f.t.Fatalf("one command changed %d rows", rows)
			}
			ranges++
		}
		f.holds()
		f.collect()
	}
}

func bringing(offset int, b []byte) PatchPiece {
	return PatchPiece{Offset: int64(offset), Length: int64(len(b)), Data: Data{Size: int64(len(b)), Inline: b}}
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestCompactRandom patches files, shares their content and takes it back, and compacts them between: they hold what they should, nothing that anybody sees
// of them changes by it, and all rows agree.
func TestCompactRandom(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 3))
		m := newMachine(t)
		m.do(&CreateBucket{Bucket: 5, Name: "bucket"})
		f, other := newPatchedFile(m, "f", randomBytes(random, 30_000)), newPatchedFile(m, "other", randomBytes(random, 5000))
		copied := false
		var stale *Compact
		for i := range 300 {
			at := random.IntN(len(f.want) + 100)
			switch random.IntN(12) {
			case 0:
				f.patch(PatchPiece{Offset: int64(at), Length: int64(1 + random.IntN(2000))})
			case 1:
				from, n := random.IntN(4000), 1+random.IntN(1000)
				f.must(&PatchFile{File: f.ref(), Pieces: []PatchPiece{{Offset: int64(at), Length: int64(n), From: other.ref(), FromOffset: int64(from)}}})
				if at+n > len(f.want) {
					f.want = append(f.want, make([]byte, at+n-len(f.want))...)
				}
				copy(f.want[at:], other.want[from:][:n])
			case 2:
				size := int64(len(f.want)/2 + random.IntN(len(f.want)))
				f.must(&PatchFile{File: f.ref(), Size: &size})
				f.want = append(f.want, make([]byte, size)...)[:size]
				f.want = append([]byte(nil), f.want...)
			case 3:
				if copied {
					m.must(&Delete{Bucket: 5, Key: "copy"})
				} else {
					m.must(&Copy{Bucket: 5, Key: "copy", From: Source{Bucket: 5, Key: "f"}})
				}
				copied = !copied
			case 4, 5, 6:
				before := f.inode()
				plan, err := PlanCompaction(m.store, ScatteredFile{5, f.id}, int64(1000+random.IntN(40_000)), 2+random.IntN(7))
				if err == ErrAbsent {
					if r := f.content(); r.ends && r.refs == 1 {
						t.Fatal("a file with a content of its own is not looked at")
					}
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				for i := range plan.Ranges {
					c := f.command(&plan.Ranges[i])
					if random.IntN(5) == 0 {
						stale = c
						continue
					}
					m.must(c)
				}
				if len(plan.Ranges) == 0 {
					m.must(plan.Settle)
				}
				after := f.inode()
				if after.content = before.content; !bytes.Equal(after.encode(), before.encode()) {
					t.Fatalf("compaction made %+v of %+v", after, before)
				}
			case 7:
				if stale != nil { // it may find what it was made for, or something else
					if answer := m.do(stale); answer.Failed && answer.Kind != engine.KindConflict {
						t.Fatalf("a late command was refused: %+v", answer)
					}
					stale = nil
				}
			default:
				f.patch(bringing(at, randomBytes(random, 1+random.IntN(600))))
			}
			f.holds()
			if i%20 == 0 {
				m.check()
			}
		}
		other.holds()
		m.check()
		m.must(&Delete{Bucket: 5, Key: "f"})
		if census := m.check(); census.Scattered != 0 {
			t.Fatal("a file that is gone is still said to lie in many pieces")
		}
	}
}

// TestCompactLoses: a patch that came in between makes a compaction lose, and nothing changes by that; one of another range does not matter.
func TestCompactLoses(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 3))
	m := newMachine(t)
	m.do(&CreateBucket{Bucket: 5, Name: "bucket"})
	f := newPatchedFile(m, "f", randomBytes(random, 40_000))
	for i := range 100 {
		f.patch(bringing(i*200, randomBytes(random, 10)))
	}
	if m.check().Scattered != 1 {
		t.Fatal("a file of 200 pieces is not noted")
	}
	plan := f.plan(10_000, GroupContents)
	if len(plan.Ranges) < 2 {
		t.Fatalf("the plan is %+v", plan)
	}
	first, second := f.command(&plan.Ranges[0]), f.command(&plan.Ranges[1])
	f.patch(bringing(int(second.Offset)+50, []byte("patched meanwhile")))
	rows := m.store.Snapshot()
	if answer := m.do(second); !answer.Failed || answer.Kind != engine.KindConflict {
		t.Fatalf("a compaction of what was patched meanwhile is answered %+v", answer)
	}
	_ = rows.Close()
	f.holds()
	m.must(first)
	f.holds()
	if answer := m.do(first); !answer.Failed || answer.Kind != engine.KindConflict {
		t.Fatalf("the same compaction a second time is answered %+v", answer)
	}
	if answer := m.do(plan.Settle); !answer.Failed || answer.Kind != engine.KindConflict {
		t.Fatalf("who looked before the patch settles: %+v", answer)
	}
	short := f.command(&f.plan(GroupBytesMax, GroupContents).Ranges[0])
	short.Data.Inline, short.Data.Size = short.Data.Inline[1:], short.Data.Size-1
	if answer := m.do(short); !answer.Failed {
		t.Fatal("a byte is missing, and nobody minds")
	}
	f.compact()
	f.holds()
	if r, census := f.content(), m.check(); r.count > 8 || census.Scattered != 0 {
		t.Fatalf("the file lies in %d runs; %d files wait", r.count, census.Scattered)
	}
	for i := range 40 {
		f.patch(bringing(i*200, []byte("again")))
	}
	if m.check().Scattered != 1 {
		t.Fatal("a file that was compacted and lies in many pieces again is not noted")
	}
	f.patch(bringing(0, randomBytes(random, 40_000)))
	if m.check().Scattered != 0 {
		t.Fatal("a file that was written anew is still noted")
	}
}

// TestPatchOverManyPieces: a patch over very many pieces touches few rows, and the content that it left behind is taken in again.
func TestPatchOverManyPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 3))
	for _, place := range [][2]int{{2000, 36_000}, {0, 39_000}, {3000, 37_000}} {
		m := newMachine(t)
		m.do(&CreateBucket{Bucket: 5, Name: "bucket"})
		f := newPatchedFile(m, "f", randomBytes(random, 40_000))
		scatter := func() {
			for at := 0; at < 40_000; at += 2000 {
				var pieces []PatchPiece
				for i := range 200 {
					pieces = append(pieces, bringing(at+i*10, randomBytes(random, 3)))
				}
				f.patch(pieces...)
			}
		}
		scatter()
		if r := f.content(); r.count < 8000 {
			t.Fatalf("the file lies in %d runs", r.count)
		}
		if rows := f.patch(bringing(place[0], randomBytes(random, place[1]))); rows > 50 {
			t.Errorf("a patch over thousands of pieces changed %d rows", rows)
		}
		f.holds()
		if r := f.content(); r.count > 3 || r.depth != 2 {
			t.Errorf("the content has %d runs, %d deep", r.count, r.depth)
		}
		if census := m.check(); census.Scattered != 1 {
			t.Error("a file that keeps what nobody sees is not noted")
		}
		f.compact()
		f.holds()
		if r := f.content(); r.depth > depthScattered || r.count > 40 {
			t.Errorf("after it the content has %d runs, %d deep", r.count, r.depth)
		}
		m.check()
		// A cut takes the same way, and so do many pieces of one patch that take out many runs each.
		scatter()
		size := int64(1234)
		if _, rows := m.must(&PatchFile{File: f.ref(), Size: &size}); rows > 50 {
			t.Errorf("a cut of thousands of pieces changed %d rows", rows)
		}
		f.want = f.want[:size]
		f.holds()
		m.check()
		f.compact()
		size = 40_000
		m.must(&PatchFile{File: f.ref(), Size: &size})
		f.want = append(f.want[:1234:1234], make([]byte, 40_000-1234)...)
		scatter()
		var pieces []PatchPiece
		for i := range 19 {
			pieces = append(pieces, bringing(i*2000+500, randomBytes(random, 1990)))
		}
		if rows := f.patch(pieces...); rows > 4096 {
			t.Errorf("pieces over thousands of runs changed %d rows", rows)
		}
		f.holds()
		m.check()
		f.compact()
		f.holds()
		m.check()
	}
}

// TestCompactNested: contents that copies made nest deep are taken in by reference, and the copies stay what they are.
func TestCompactNested(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 3))
	m := newMachine(t)
	m.do(&CreateBucket{Bucket: 5, Name: "bucket"})
	f := newPatchedFile(m, "f", randomBytes(random, 20_000))
	for level := range 4 {
		for at := 0; at < 20_000; at += 10_000 {
			var pieces []PatchPiece
			for i := range 150 {
				pieces = append(pieces, bringing(at+i*60+level, randomBytes(random, 5)))
			}
			f.patch(pieces...)
		}
		m.must(&Copy{Bucket: 5, Key: engine.Key("copy" + string(rune('a'+level))), From: Source{Bucket: 5, Key: "f"}})
	}
	copied, err := LookupFile(m.store, 5, engine.RootNode, "copyd", "")
	if err != nil {
		t.Fatal(err)
	}
	before := m.check().Scattered
	f = &patchedFile{machineOn: m, id: uint64(copied.Info.Node), want: f.want} // of which no keeper was told
	f.patch(bringing(7, []byte("once more")))
	if r := f.content(); r.depth <= depthScattered {
		t.Fatalf("the content is %d deep", r.depth)
	}
	if m.check().Scattered != before+1 {
		t.Error("a file of contents that nest deep is not noted")
	}
	f.compact()
	f.holds()
	r, census := f.content(), m.check()
	if r.depth > depthScattered || census.Scattered != before {
		t.Fatalf("after it the content is %d deep; %d files wait", r.depth, census.Scattered)
	}
	// A patch notes the file again only once it has gained pieces, or is deeper.
	f.patch(bringing(70, []byte("x")))
	if m.check().Scattered != before {
		t.Error("one patch has the file looked at again")
	}
}

// TestCompactAppended: appends by key to a file that was patched make new inodes, and what a keeper is to look at goes over from one to the next.
func TestCompactAppended(t *testing.T) {
	m := newMachine(t)
	m.do(&CreateBucket{Bucket: 5, Name: "bucket"})
	f := newPatchedFile(m, "f", []byte("begins"))
	appended := func(n int) {
		for i := range n {
			b := []byte{byte(i), 1, 2}
			m.must(&Append{
				Bucket: 5, Key: "f", Offset: int64(len(f.want)), Sequence: f.inode().sequence, Data: Data{Size: 3, Inline: b}, Class: engine.ClassStandard,
			})
			f.want = append(f.want, b...)
			found, err := LookupFile(m.store, 5, engine.RootNode, "f", "")
			if err != nil {
				t.Fatal(err)
			}
			f.id = uint64(found.Info.Node)
		}
	}
	appended(runsScattered - 1)
	if m.check().Scattered != 0 {
		t.Fatal("a file of few pieces is noted")
	}
	appended(1)
	list, err := ListScattered(m.store, ScatteredFile{}, 10)
	if err != nil || len(list) != 1 || list[0] != (ScatteredFile{5, f.id}) {
		t.Fatalf("noted is %v, and not inode %d; %v", list, f.id, err)
	}
	appended(3)
	f.holds()
	f.compact()
	f.holds()
	if r, census := f.content(), m.check(); r.count != 1 || census.Scattered != 0 {
		t.Fatalf("the file lies in %d runs; %d files wait", r.count, census.Scattered)
	}
}

// deepFile makes a file that nests as deep as files may, and lies in more pieces than one may have.
func deepFile(m *machineOn, name string) *patchedFile {
	f := newPatchedFile(m, name, []byte("x"))
	view := NewOverlay(m.store)
	a := apply{view: view, group: 1}
	a.mustLoad(key8(rowGroup, 0), &a.counters)
	inode := f.inode()
	size := int64(1)
	for i := range depthPatched - 1 {
		times := 1 // that a level names the one below
		if i < 2 {
			times = 300
		}
		var r contentRow
		a.mustLoad(key8(rowContent, inode.content), &r)
		r.refs += uint64(times) - 1
		a.setContent(inode.content, &r)
		id := a.nextContent()
		for i := range times {
			a.setRun(id, int(size)*(i+1), &Run{Content: inode.content, Length: size})
		}
		size *= int64(times)
		a.setContent(id, &contentRow{refs: 1, ends: true, size: size, count: times, depth: r.levels() + 1})
		inode.content, inode.size = id, size
	}
	at := a.resolve(5, engine.Key(name))
	at.entry.size = inode.size
	view.Set(entryKey(5, at.leaf(), at.name), at.entry.encode())
	view.Set(key16(rowInode, 5, f.id), inode.encode())
	view.Set(key8(rowGroup, 0), a.counters.encode())
	if err := m.store.Commit(view.Batch()); err != nil {
		m.t.Fatal(err)
	}
	f.want = bytes.Repeat([]byte("x"), int(size))
	f.holds()
	return f
}

// TestDeepFileIsShared has a deep file take some of its own bytes, and appends to it while somebody holds it: nothing of it is lost by that.
func TestDeepFileIsShared(t *testing.T) {
	m := newMachine(t)
	m.must(&CreateBucket{Bucket: 5, Name: "bucket"})
	owner, _ := m.must(&OpenOwner{Bucket: 5})
	cloned, held := deepFile(m, "cloned"), deepFile(m, "held")
	m.must(&HoldFile{File: held.ref(), Owner: engine.OwnerID(owner.Content)})
	refused := func(c Command) {
		t.Helper()
		if answer := m.do(c); !answer.Failed || answer.Kind != engine.KindEntityTooLarge {
			t.Errorf("%T: %+v", c, answer)
		}
	}
	refused(&PatchFile{File: cloned.ref(), Pieces: []PatchPiece{{Offset: int64(len(cloned.want)), Length: 1000, From: cloned.ref()}}})
	refused(&Append{
		Bucket: 5, Key: "held", Offset: int64(len(held.want)), Sequence: held.inode().sequence, Class: engine.ClassStandard, Data: Data{Size: 1, Inline: []byte("x")},
	})
	cloned.holds()
	held.holds()
}
