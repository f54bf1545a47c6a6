package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/engine"
)

// stocked is a node of some drives with objects in it, and a way to read them all.
func stocked(t *testing.T, drives int, standard engine.Redundancy) (c Config, n *Node, readAll func(*Node)) {
	t.Helper()
	c = testConfig(t, t.TempDir(), drives)
	c.Standard = standard
	n = openNode(t, c)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		put(t, n, fmt.Sprint("k", i), content(uint64(i), 9000+i*300_000))
	}
	return c, n, func(n *Node) {
		t.Helper()
		for i := range 12 {
			mustGet(t, n, fmt.Sprint("k", i), content(uint64(i), 9000+i*300_000))
		}
	}
}

// folder makes an empty one beside the drives of a node.
func folder(t *testing.T, c Config, name string) string {
	t.Helper()
	dir := filepath.Join(filepath.Dir(c.State), name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustAdd(t *testing.T, n *Node, folder string) engine.DriveID {
	t.Helper()
	id, err := n.AddDrive(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// without reports of a status whether all is as it should be and the drive is no more.
func without(id engine.DriveID) func(Status) bool {
	return func(s Status) bool {
		return allIn(s) && !slices.ContainsFunc(s.Drives, func(d DriveStatus) bool { return d.Drive == id })
	}
}

// wantRefused looks at an error that refuses what somebody asked for.
func wantRefused(t *testing.T, err error, why string) {
	t.Helper()
	if err == nil || !strings.Contains(engine.Plain(err), why) {
		t.Errorf("the error is %v; want %q", err, why)
	}
}

// TestAddAndRemove adds two drives to a running node, removes two others, and starts it again as it was formed.
func TestAddAndRemove(t *testing.T) {
	c, n, readAll := stocked(t, 4, engine.Redundancy{Data: 2, Parity: 2})
	wantRefused(t, n.RemoveDrive(t.Context(), 1), "--standard 2+2 needs 4")
	wantRefused(t, n.RemoveDrive(t.Context(), 9), "there is no drive 9")
	first := mustAdd(t, n, folder(t, c, "new1"))
	second := mustAdd(t, n, folder(t, c, "new2"))
	for i := range 20 {
		put(t, n, fmt.Sprint("more", i), content(uint64(i), 50_000))
	}
	await(t, n, "the new drives take no shards", func(s Status) bool {
		return allIn(s) && len(s.Drives) == 7 && s.Drives[4].Shards > 0 && s.Drives[5].Shards > 0
	})
	if n.Redundancy() != "2+2" {
		t.Errorf("the redundancy is %s", n.Redundancy())
	}
	for _, id := range []engine.DriveID{1, 3} {
		if err := n.RemoveDrive(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, n.RemoveDrive(t.Context(), id), "leaves already")
		await(t, n, fmt.Sprintf("drive %d does not go", id), without(id))
		readAll(n)
	}
	for _, g := range n.Drives() {
		if g.State != "in" {
			t.Errorf("%+v", g)
		}
	}
	if s, err := n.Status(t.Context()); err != nil || s.Keeper.ShardsMoved == 0 || s.Keeper.ShardsRebuilt != 0 || len(s.Drives) != 5 {
		t.Errorf("%+v %v", s, err)
	}
	closeNode(t, n)
	// The folders may be taken away. The start names what it always named.
	for _, d := range []string{c.Drives[0], c.Drives[2]} {
		if err := os.RemoveAll(d); err != nil {
			t.Fatal(err)
		}
	}
	n = openNode(t, c)
	readAll(n)
	await(t, n, "not all is as it was", func(s Status) bool { return allIn(s) && len(s.Drives) == 5 })
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
	closeNode(t, n)
	// Or it names what there is, and a folder that was removed may come again.
	c.Drives = []string{c.Drives[1], c.Drives[3], filepath.Join(filepath.Dir(c.State), "new1"), filepath.Join(filepath.Dir(c.State), "new2")}
	n = openNode(t, c)
	readAll(n)
	third := mustAdd(t, n, folder(t, c, "d1"))
	if third <= second || second <= first {
		t.Errorf("numbers %d, %d, %d were given", first, second, third)
	}
	closeNode(t, n)
	c.Drives = c.Drives[:1]
	if _, err := Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "name all that this node was formed with") {
		t.Errorf("a start without a drive of the first one: %v", err)
	}
}

// TestRedundancyFollows wants that the code of new writes is that of the drives that there are, with the replicas for it, and that what is stored in a wider
// one keeps its drives.
func TestRedundancyFollows(t *testing.T) {
	c, n, readAll := stocked(t, 2, engine.Redundancy{})
	for i, want := range []string{"2+1", "2+2", "3+2"} {
		mustAdd(t, n, folder(t, c, fmt.Sprint("new", i)))
		if n.Redundancy() != want {
			t.Errorf("with %d drives the redundancy is %s, not %s", 3+i, n.Redundancy(), want)
		}
		parity := int(want[2] - '0')
		await(t, n, "the groups lack replicas", func(s Status) bool {
			return allIn(s) && s.Groups[0].Voters >= 2*parity+1 && s.Groups[1].Voters >= 2*parity+1
		})
	}
	put(t, n, "wide", content(7, 100_000))
	wantRefused(t, n.RemoveDrive(t.Context(), 1), "what is stored in 5 shards needs 5")
	if _, err := n.Delete(t.Context(), engine.Ref{Bucket: "bucket", Key: "wide"}, engine.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := n.RemoveDrive(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if n.Redundancy() != "2+2" {
		t.Errorf("with one drive less the redundancy is %s", n.Redundancy())
	}
	await(t, n, "drive 1 does not go", without(1))
	readAll(n)
	closeNode(t, n)
	n = openNode(t, c)
	if n.Redundancy() != "2+2" || n.StandardBefore() != "" {
		t.Errorf("after a start the redundancy is %s, and was %q", n.Redundancy(), n.StandardBefore())
	}
	readAll(n)
	closeNode(t, n)
}

// TestReplace gives the place of one drive that can be read to another, and that of one that was emptied.
func TestReplace(t *testing.T) {
	for _, readable := range []bool{true, false} {
		t.Run(fmt.Sprintf("readable=%v", readable), func(t *testing.T) {
			c, n, readAll := stocked(t, 4, engine.Redundancy{})
			if !readable {
				if err := os.Rename(c.Drives[1], c.Drives[1]+".away"); err != nil {
					t.Fatal(err)
				}
				await(t, n, "nobody notices", func(s Status) bool { return s.Drives[1].State == "out" })
			}
			_, err := n.ReplaceDrive(t.Context(), 2, c.Drives[1])
			wantRefused(t, err, "the folder of drive 2 itself")
			_, err = n.ReplaceDrive(t.Context(), 2, c.Drives[2])
			wantRefused(t, err, "is drive 3 of this node already")
			_, err = n.ReplaceDrive(t.Context(), 22, folder(t, c, "other"))
			wantRefused(t, err, "there is no drive 22")
			heir, err := n.ReplaceDrive(t.Context(), 2, folder(t, c, "new"))
			if err != nil {
				t.Fatal(err)
			}
			if n.Redundancy() != "2+2" {
				t.Errorf("the redundancy is %s", n.Redundancy())
			}
			await(t, n, "drive 2 does not go", without(2))
			s, err := n.Status(t.Context())
			if err != nil || (s.Keeper.ShardsMoved > 0) != readable || (s.Keeper.ShardsRebuilt > 0) == readable || s.Drives[3].Drive != heir || s.Drives[3].Shards < 12 {
				t.Errorf("%+v %v", s, err)
			}
			readAll(n)
			if _, err := n.Check(t.Context()); err != nil {
				t.Error(err)
			}
			closeNode(t, n)
			n = openNode(t, c)
			readAll(n)
			closeNode(t, n)
		})
	}
}

// TestKeepDrive takes the leaving of a drive back in the middle, over a restart.
func TestKeepDrive(t *testing.T) {
	c, n, readAll := stocked(t, 4, engine.Redundancy{Data: 2, Parity: 2})
	closeNode(t, n)
	c.MoveRate = 1 // the first second moves one shard or a few, and no more after it
	n = openNode(t, c)
	wantRefused(t, n.KeepDrive(t.Context(), 2), "drive 2 does not leave")
	if _, err := n.ReplaceDrive(t.Context(), 2, folder(t, c, "new")); err != nil {
		t.Fatal(err)
	}
	leaves := func(s Status) bool {
		d := s.Drives[1]
		return d.Drive == 2 && d.State == "leaving" && d.Leaving != nil && d.Leaving.Heir != 0 && d.Leaving.Shards > 0 && d.Leaving.Bytes > 0 && d.Leaving.Shards < 12
	}
	await(t, n, "drive 2 does not leave", leaves)
	closeNode(t, n)
	n = openNode(t, c)
	await(t, n, "drive 2 does not leave any more", leaves)
	if s, _ := n.Status(t.Context()); !s.Protected() {
		t.Errorf("a drive that leaves counts as lost: %+v", s)
	}
	if err := n.KeepDrive(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	await(t, n, "drive 2 does not stay", func(s Status) bool { return allIn(s) && s.Drives[1].Drive == 2 && len(s.Drives) == 6 })
	await(t, n, "what moved is still there", func(s Status) bool {
		list, _, err := n.Shards(2, engine.ShardID{}, 100)
		return err == nil && len(list) == s.Drives[1].Shards
	})
	readAll(n)
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
	closeNode(t, n)
}

// TestAddIsRefused wants that a folder is refused in words, and that nothing is left of it.
func TestAddIsRefused(t *testing.T) {
	c, n, _ := stocked(t, 2, engine.Redundancy{})
	defer closeNode(t, n)
	full := folder(t, c, "full")
	if err := os.WriteFile(filepath.Join(full, "letter"), []byte("private"), 0o600); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(c.Drives[0], "inside")
	link := filepath.Join(filepath.Dir(c.State), "link")
	if err := os.Symlink(c.Drives[0], link); err != nil {
		t.Fatal(err)
	}
	other, m, _ := stocked(t, 1, engine.Redundancy{})
	closeNode(t, m)
	for path, why := range map[string]string{
		full: `found "letter"`, "relative": "no absolute path", filepath.Join(full, "absent"): "create it or mount it", inside: "lies inside drive",
		c.Drives[1]: "is drive 2 of this node already", filepath.Dir(c.State): "inside", c.State: "the state folder", other.Drives[0]: "of another cluster",
		filepath.Join(full, "letter"): "not a directory", link: "holds drive 1 of this node",
	} {
		_, err := n.AddDrive(t.Context(), path)
		wantRefused(t, err, why)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.AddDrive(ctx, folder(t, c, "late")); err == nil {
		t.Error("a drive was added for somebody who is gone")
	}
	if s, err := n.Status(t.Context()); err != nil || len(s.Drives) != 3 {
		t.Errorf("%+v %v", s, err)
	}
	if s, err := loadState(n.home); err != nil || len(s.Drives) != 2 {
		t.Errorf("%+v %v", s, err)
	}
}

// TestOldStateKnowsLess puts back a node.json from before a drive was added and another removed: the cluster map says what there is.
func TestOldStateKnowsLess(t *testing.T) {
	c, n, readAll := stocked(t, 4, engine.Redundancy{Data: 2, Parity: 2})
	state := filepath.Join(c.State, "node.json")
	old, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, n, folder(t, c, "new"))
	if err := n.RemoveDrive(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	await(t, n, "drive 2 does not go", without(2))
	closeNode(t, n)
	if err := os.WriteFile(state, old, 0o600); err != nil {
		t.Fatal(err)
	}
	n = openNode(t, c)
	await(t, n, "the drives are not those that there are", func(s Status) bool { return without(2)(s) && len(s.Drives) == 5 })
	readAll(n)
	closeNode(t, n)
}

// TestCutOffAdding leaves in the state folder what a crash leaves of a drive that is added: a folder that is noted and empty.
func TestCutOffAdding(t *testing.T) {
	c, n, readAll := stocked(t, 4, engine.Redundancy{})
	n.mu.Lock()
	m, err := n.state.newMember(folder(t, c, "new"))
	if err != nil {
		t.Fatal(err)
	}
	m.Added, m.Adding, m.HeirOf = true, true, 3
	n.state.Drives = append(n.state.Drives, m)
	err = n.state.save(n.home)
	n.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)
	n = openNode(t, c)
	await(t, n, "drive 3 does not go", without(3))
	readAll(n)
	if s, err := n.Status(t.Context()); err != nil || n.Redundancy() != "2+2" || s.Drives[3].Drive != m.Drive {
		t.Errorf("%+v %v", s, err)
	}
	closeNode(t, n)
}

// TestCutOffAddingOfNothing leaves there a folder that is absent at the next start: it counts for nothing until it is there.
func TestCutOffAddingOfNothing(t *testing.T) {
	c, n, readAll := stocked(t, 4, engine.Redundancy{})
	path := filepath.Join(filepath.Dir(c.State), "new")
	n.mu.Lock()
	never, _ := n.state.newMember(path + ".never")
	m, err := n.state.newMember(path)
	if err == nil {
		m.Added, m.Adding, never.Added, never.Adding = true, true, true, true
		n.state.Drives = append(n.state.Drives, m, never)
		err = n.state.save(n.home)
	}
	n.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)
	n = openNode(t, c)
	await(t, n, "the absent drive is not told", func(s Status) bool {
		return s.Drives[4].State == "joining" && strings.Contains(s.Drives[4].Problem, "no such file") && s.Protected()
	})
	if n.Redundancy() != "2+2" {
		t.Errorf("the redundancy is %s", n.Redundancy())
	}
	for err = n.RemoveDrive(t.Context(), never.Drive); engine.Is(err, engine.KindConflict); err = n.RemoveDrive(t.Context(), never.Drive) {
		time.Sleep(time.Millisecond) // it is looked at just now
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	await(t, n, "the drive does not join", func(s Status) bool { return allIn(s) && len(s.Drives) == 6 && n.Redundancy() == "3+2" })
	readAll(n)
	closeNode(t, n)
}

// TestLearnerForEver has a replica that a crash cut off while it joined: it begins anew and votes.
func TestLearnerForEver(t *testing.T) {
	c, n, _ := stocked(t, 4, engine.Redundancy{})
	drive := n.All()[2]
	if err := n.joining.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := n.places()[2]
	status, err := n.data.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range status.Members {
		if m.Drive == drive {
			if err := n.data.RemoveReplica(t.Context(), m.Replica); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Cut off at whatever step it has come to.
	for wait := time.Millisecond; wait < 20*time.Millisecond; wait += 2 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		_ = n.joinGroup(ctx, n.data, s, 0)
		cancel()
	}
	n.joining.end()
	await(t, n, "the replica does not vote", func(s Status) bool { return s.Groups[1].Voters == 5 && allIn(s) })
	closeNode(t, n)
	n = openNode(t, c)
	await(t, n, "the replica does not vote", func(s Status) bool { return s.Groups[1].Voters == 5 && allIn(s) })
	closeNode(t, n)
}

// TestRottenDriveLeaves has every shard of a drive rot before it leaves: they are made from the others.
func TestRottenDriveLeaves(t *testing.T) {
	c, n, readAll := stocked(t, 4, engine.Redundancy{Data: 2, Parity: 2})
	mustAdd(t, n, folder(t, c, "new"))
	files, err := filepath.Glob(filepath.Join(c.Drives[1], "data", "*.seg"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] ^= 0x55
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, 0); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	if err := n.RemoveDrive(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	await(t, n, "drive 2 does not go", without(2))
	for _, away := range []string{c.Drives[0], c.Drives[2]} { // so that every shard that was made counts
		if err := os.Rename(away, away+".away"); err != nil {
			t.Fatal(err)
		}
	}
	await(t, n, "nobody notices", func(s Status) bool { return s.Drives[0].State == "out" && s.Drives[1].State == "out" })
	readAll(n)
	closeNode(t, n)
}

// TestGarbageOnALostDrive replaces a drive that is out and has shards of what was deleted meanwhile, which nobody can delete there.
func TestGarbageOnALostDrive(t *testing.T) {
	c, n, _ := stocked(t, 4, engine.Redundancy{})
	if err := os.Rename(c.Drives[1], c.Drives[1]+".away"); err != nil {
		t.Fatal(err)
	}
	await(t, n, "nobody notices", func(s Status) bool { return s.Drives[1].State == "out" })
	for i := range 12 {
		if _, err := n.Delete(t.Context(), engine.Ref{Bucket: "bucket", Key: engine.Key(fmt.Sprint("k", i))}, engine.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.ReplaceDrive(t.Context(), 2, folder(t, c, "new")); err != nil {
		t.Fatal(err)
	}
	await(t, n, "the garbage is not collected", func(s Status) bool { return without(2)(s) && s.Garbage == 0 })
	closeNode(t, n)
}

// pausing is a body that waits in its middle.
type pausing struct {
	begin, rest []byte
	reached     chan struct{}
	on          chan struct{}
}

func (p *pausing) Read(b []byte) (int, error) {
	if len(p.begin) > 0 {
		n := copy(b, p.begin)
		p.begin = p.begin[n:]
		return n, nil
	}
	if p.reached != nil {
		close(p.reached)
		p.reached = nil
		<-p.on
	}
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// TestWriteThatWasPlacedBefore has a drive leave while an object is written that has a shard on it, in more shards than there are drives then.
func TestWriteThatWasPlacedBefore(t *testing.T) {
	c := testConfig(t, t.TempDir(), 5)
	n := openNode(t, c)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	b := content(1, 9<<20)
	body := &pausing{begin: b[:6<<20], rest: b[6<<20:], reached: make(chan struct{}), on: make(chan struct{})}
	reached, written := body.reached, make(chan error, 1)
	go func() {
		_, err := n.Put(t.Context(), engine.Ref{Bucket: "bucket", Key: "late"}, body, engine.PutOptions{Size: int64(len(b))})
		written <- err
	}()
	<-reached
	if err := n.RemoveDrive(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	if n.Redundancy() != "2+2" {
		t.Errorf("the redundancy is %s", n.Redundancy())
	}
	close(body.on)
	if err := <-written; err != nil && !engine.Is(err, engine.KindUnavailable) {
		t.Fatal(err)
	} else if err != nil { // the drive was quicker
		t.Logf("the write was given up: %v", err)
		put(t, n, "late", b)
	}
	await(t, n, "drive 4 does not go, or there is no witness", func(s Status) bool { return without(4)(s) && s.Groups[0].Voters == 5 && s.Groups[1].Voters == 5 })
	mustGet(t, n, "late", b)
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
	closeNode(t, n)
}

// TestNewDriveJoins wants that status never says of a new drive that it is out, nor why its predecessor was, and that its scrub is known at once.
func TestNewDriveJoins(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.KeeperInterval = time.Hour
	n := openNode(t, c)
	defer closeNode(t, n)
	last := engine.DriveID(n.state.Last)
	sound := func(s Status) bool {
		known := true
		for _, d := range s.Drives {
			if d.Drive > last && (d.Problem != "" || d.State != "joining" && d.State != "in") {
				t.Errorf("a new drive is %+v", d)
			}
			known = known && (d.Witness || d.Scrub.Known)
		}
		return known && allIn(s)
	}
	wipe(t, c.Drives[1])
	await(t, n, "the emptied folder is no new drive", func(s Status) bool { return sound(s) && s.Drives[1].Drive > last })
	mustAdd(t, n, folder(t, c, "new"))
	await(t, n, "the new drive does not join", func(s Status) bool { return sound(s) && len(s.Drives) == 6 })
}
