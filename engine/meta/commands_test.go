package meta

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"holdfast/engine"
)

// TestCommandsAtRandom mixes commands of keys, files, owners, followers and keepers over a few names, each of which may be refused, and holds the rows
// against each other after every one. Owners end, directories are taken apart and garbage goes at any time.
func TestCommandsAtRandom(t *testing.T) {
	seeds, steps := 30, 400
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		r := &mixing{machineOn: newMachine(t), rng: rand.New(rand.NewPCG(uint64(seed), 3)), seed: seed}
		r.do(&CreateBucket{Bucket: 5, Name: "bucket"})
		for range steps {
			c := r.command()
			r.log = append(r.log, fmt.Sprintf("%T%+v", c, c))
			answer := r.do(c)
			r.learn(c, &answer)
			r.verify()
		}
		r.finish()
	}
}

// mixing makes commands, of what it knows of the answers to earlier ones.
type mixing struct {
	*machineOn
	rng    *rand.Rand
	seed   int
	log    []string
	owners []engine.OwnerID
	place  TakeApart
}

func (r *mixing) verify() {
	r.t.Helper()
	if _, err := Check(r.store.Snapshot()); err != nil {
		for _, line := range r.log {
			r.t.Log(line)
		}
		r.t.Fatalf("seed %d: %v", r.seed, err)
	}
}

func (r *mixing) key() string {
	key := ""
	for range r.rng.IntN(3) {
		key += string(rune('a'+r.rng.IntN(2))) + "/"
	}
	return key + r.name()
}

func (r *mixing) name() string { return string(rune('a' + r.rng.IntN(4))) }

func (r *mixing) prefix() string { return r.key() + "/" }

// node is the number of anything that there is, or was.
func (r *mixing) node() NodeRef {
	var b bucketRow
	if _, err := load(r.store, key8(rowBucket, 5), &b); err != nil {
		r.t.Fatal(err)
	}
	return NodeRef{Bucket: 5, Node: engine.NodeID(1 + r.rng.Uint64N(b.inode+1))}
}

// one is a node that is as it should be, if a few attempts find one.
func (r *mixing) one(fits func(*inodeRow) bool) (ref NodeRef) {
	for range 30 {
		var inode inodeRow
		ref = r.node()
		if ok, err := load(r.store, key16(rowInode, 5, uint64(ref.Node)), &inode); err == nil && ok && fits(&inode) {
			return ref
		}
	}
	return ref
}

// file is a file, in one of two cases one that somebody holds.
func (r *mixing) file() NodeRef {
	held := r.rng.IntN(2) == 0
	return r.one(func(i *inodeRow) bool { return i.kind == inodeFile && (!held || i.holds > 0) })
}

func (r *mixing) at() PlaceRef {
	return PlaceRef{Bucket: 5, Directory: r.one(func(i *inodeRow) bool { return i.kind == inodeDirectory }).Node, Name: r.name()}
}

func (r *mixing) owner() engine.OwnerID {
	if len(r.owners) == 0 {
		return 0
	}
	return r.owners[r.rng.IntN(len(r.owners))]
}

func (r *mixing) data() Data {
	b := make([]byte, 1+r.rng.IntN(9))
	return Data{Size: int64(len(b)), Inline: b}
}

func (r *mixing) patch() Command {
	c := &PatchFile{File: r.file()}
	for range 1 + r.rng.IntN(3) {
		p := PatchPiece{Offset: int64(r.rng.IntN(40)), Length: int64(1 + r.rng.IntN(9))}
		switch r.rng.IntN(4) {
		case 0: // a hole
		case 1:
			p.From, p.FromOffset = r.file(), int64(r.rng.IntN(10))
		default:
			p.Data = r.data()
			p.Length = p.Data.Size
		}
		c.Pieces = append(c.Pieces, p)
	}
	if r.rng.IntN(4) == 0 {
		size := int64(r.rng.IntN(50))
		c.Size = &size
	}
	return c
}

func (r *mixing) compact() Command {
	f := ScatteredFile{5, uint64(r.file().Node)}
	if plan, err := PlanCompaction(r.store, f, 1000, 2); err == nil && len(plan.Ranges) > 0 {
		p := &plan.Ranges[r.rng.IntN(len(plan.Ranges))]
		c := &Compact{Bucket: 5, Inode: f.Inode, Offset: p.Offset, Length: p.Length, Sum: p.Sum}
		if !p.Expand {
			c.Data = Data{Size: p.Size, Inline: make([]byte, p.Size)}
		}
		return c
	} else if err == nil {
		return plan.Settle
	}
	return &TakeApart{}
}

func (r *mixing) garbage() Command {
	list, err := ListGarbage(r.store, r.index+1, 10)
	if err != nil || len(list) == 0 {
		return &ClearTrash{}
	}
	g := list[r.rng.IntN(len(list))]
	return &Forget{Index: g.Index, Content: g.Content}
}

func (r *mixing) command() Command {
	switch r.rng.IntN(31) {
	case 0, 1:
		return &Put{Bucket: 5, Key: engine.Key(r.key()), Class: engine.ClassStandard, Data: r.data()}
	case 2:
		return &Delete{Bucket: 5, Key: engine.Key(r.key())}
	case 3:
		return &MakeFile{At: r.at(), Type: engine.TypeDirectory}
	case 4:
		return &MakeFile{At: r.at(), Class: engine.ClassStandard}
	case 5, 6:
		return &LinkFile{File: r.file(), At: r.at()}
	case 7, 8:
		return &RemoveFile{At: r.at(), Directory: r.rng.IntN(3) == 0}
	case 9, 10, 11:
		return &MoveFile{From: r.at(), To: r.at(), Exchange: r.rng.IntN(4) == 0}
	case 12:
		return &RenamePrefix{Bucket: 5, From: r.prefix(), To: r.prefix()}
	case 13, 14:
		return &RemovePrefix{Bucket: 5, Prefix: r.prefix()}
	case 15:
		return &OpenOwner{Bucket: 5}
	case 16, 17, 18:
		return &HoldFile{File: r.file(), Owner: r.owner(), Release: r.rng.IntN(4) == 0}
	case 19:
		return &MakeFile{At: PlaceRef{Bucket: 5}, Owner: r.owner(), Class: engine.ClassStandard}
	case 20:
		if r.rng.IntN(4) > 0 {
			return &LinkFile{File: r.file(), At: r.at()}
		}
		return &CloseOwner{Bucket: 5, Owner: r.owner()}
	case 21:
		return &LockFile{File: r.node(), Lock: engine.FileLock{Owner: r.owner(), Holder: r.rng.Uint64N(2), Mode: engine.LockMode(r.rng.IntN(3)), Start: r.rng.Int64N(9), Length: 3}}
	case 22, 23:
		return r.patch()
	case 24:
		return &SetXattr{File: r.node(), Name: r.name(), Value: []byte("v"), Remove: r.rng.IntN(3) == 0}
	case 25:
		return &OpenCursor{Bucket: 5, Name: r.name()}
	case 26:
		if r.rng.IntN(3) == 0 {
			return &TrimFeed{Bucket: 5, Upto: engine.Sequence(r.rng.IntN(len(r.log) + 1))}
		}
		return &MoveCursor{Bucket: 5, Name: r.name(), Move: CursorMove(r.rng.IntN(3)), To: engine.Sequence(r.rng.IntN(len(r.log) + 1))}
	case 27:
		if r.rng.IntN(2) > 0 {
			return &LinkFile{File: r.file(), At: r.at()}
		}
		return &r.place
	case 28:
		return r.compact()
	case 29:
		if r.rng.IntN(20) == 0 {
			return &SetVersioning{Bucket: 5, Versioning: engine.Versioning(r.rng.IntN(3))}
		}
		return &Copy{Bucket: 5, Key: engine.Key(r.key()), From: Source{Bucket: 5, Key: engine.Key(r.key())}, Class: engine.ClassStandard}
	}
	return r.garbage()
}

// learn notes what later commands can be about.
func (r *mixing) learn(c Command, answer *Answer) {
	if answer.Failed && answer.Kind == engine.KindInternal {
		r.t.Errorf("seed %d: %T: %s", r.seed, c, answer.Message)
	}
	switch c.(type) {
	case *OpenOwner:
		r.owners = append(r.owners, engine.OwnerID(answer.Content))
	case *TakeApart:
		r.place = TakeApart{answer.Bucket, answer.Content}
	}
}

// finish removes the bucket, and wants that nothing is left of it.
func (r *mixing) finish() {
	r.t.Helper()
	r.must(&RemoveBucket{Bucket: 5})
	r.verify()
	r.clear()
	for {
		found, err := HasTrash(r.store)
		if err != nil {
			r.t.Fatal(err)
		}
		if !found {
			break
		}
		r.must(&ClearTrash{})
		r.verify()
	}
	r.collect()
	if census := r.check(); census.Contents != 0 || census.Inodes != 0 || census.Owners != 0 || census.Held != 0 || r.rowsOf(5) != 0 {
		r.t.Fatalf("seed %d: %d rows of the bucket are left: %+v", r.seed, r.rowsOf(5), census)
	}
}
