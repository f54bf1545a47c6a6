package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/group"
)

// TestFailedReplicaBeginsAnew fails the replicas of one drive after the other while the drives themselves go on working. Each must be back
// in its group, with a majority there all the while.
func TestFailedReplicaBeginsAnew(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.CheckInterval = 20 * time.Millisecond
	n := openNode(t, c)
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	numbers := map[uint64]bool{}
	for i, drive := range n.All() {
		body := content(uint64(i), 100_000)
		put(t, n, fmt.Sprint("k", i), body)
		for _, g := range []*group.Group{n.root, n.data} {
			g.DriveFailed(drive, errors.New("injected"))
			numbers[awaitReplica(t, g, n, i).Replica] = true
		}
		mustGet(t, n, fmt.Sprint("k", i), body)
	}
	if len(numbers) == 0 {
		t.Error("nothing was renewed")
	}
}

// awaitReplica waits until all replicas of g work and returns the one on data drive i.
func awaitReplica(t *testing.T, g *group.Group, n *Node, i int) (found group.MemberStatus) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s, err := g.Status(t.Context())
		working := 0
		for _, m := range s.Members {
			if m.Drive == n.All()[i] {
				found = m
			}
			if m.Failed == nil && !m.Learner {
				working++
			}
		}
		n.mu.Lock()
		for _, slot := range n.slots {
			slot.renewed = time.Time{} // the test does not wait for the next attempt
		}
		n.mu.Unlock()
		if err == nil && working == min(n.replicas(), len(n.slots)) {
			return found
		}
		if time.Now().After(deadline) {
			t.Fatalf("group %d after 30 s: %+v, %v", g.ID(), s, err)
		}
	}
}

// await waits for a state of the node.
func await(t *testing.T, n *Node, what string, reached func(Status) bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s, err := n.Status(t.Context())
		if err == nil && reached(s) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s after a minute: %+v, %v", what, s, err)
		}
	}
}

func allIn(s Status) bool {
	for _, d := range s.Drives {
		if d.State != "in" || d.Problem != "" {
			return false
		}
	}
	for _, g := range s.Groups {
		if g.Live != g.Replicas || len(g.Problems) > 0 {
			return false
		}
	}
	return s.Protected()
}

// TestDriveComesBack takes a drive's folder away for a time in which objects are written and deleted: the drive comes in again by itself, and what
// it missed is made up for. The same for one that is absent at the start, and for the witness.
func TestDriveComesBack(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	put(t, n, "before", content(1, 3<<20))
	witness := filepath.Join(c.State, "witness")
	for i, folder := range []string{c.Drives[2], witness, c.Drives[0], c.Drives[1], c.Drives[3]} { // one of them has the groups' leaders
		if err := os.Rename(folder, folder+".away"); err != nil {
			t.Fatal(err)
		}
		await(t, n, "the drive is not out, or its replicas are not", func(s Status) bool {
			for _, g := range s.Groups {
				if g.Live != g.Replicas-1 {
					return false
				}
			}
			return slices.ContainsFunc(s.Drives, func(d DriveStatus) bool { return d.State == "out" })
		})
		put(t, n, fmt.Sprint("meanwhile", i), content(uint64(2+i), 3<<20))
		if err := os.Rename(folder+".away", folder); err != nil {
			t.Fatal(err)
		}
		await(t, n, "the drive is not back", allIn)
	}
	closeNode(t, n)
	if err := os.Rename(c.Drives[0], c.Drives[0]+".away"); err != nil {
		t.Fatal(err)
	}
	n = openNode(t, c)
	put(t, n, "late", content(9, 3<<20))
	if err := os.Rename(c.Drives[0]+".away", c.Drives[0]); err != nil {
		t.Fatal(err)
	}
	await(t, n, "the drive is not back", allIn)
	mustGet(t, n, "before", content(1, 3<<20))
	for i := range 5 {
		mustGet(t, n, fmt.Sprint("meanwhile", i), content(uint64(2+i), 3<<20))
	}
	mustGet(t, n, "late", content(9, 3<<20))
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
	closeNode(t, n)
}

// TestWhyADriveIsOut: what status says of a drive that is out follows what is in its place.
func TestWhyADriveIsOut(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.CheckInterval = 20 * time.Millisecond
	n := openNode(t, c)
	defer closeNode(t, n)
	says := func(what string) func(Status) bool {
		return func(s Status) bool { return s.Drives[1].State == "out" && strings.Contains(s.Drives[1].Problem, what) }
	}
	folder := c.Drives[1]
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	await(t, n, "the folder is not missed", says("no such file"))
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "letter"), []byte("private"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, n, "another's folder is not told", says("letter"))
	if err := errors.Join(os.RemoveAll(folder), os.Rename(folder+".away", folder)); err != nil {
		t.Fatal(err)
	}
	await(t, n, "the drive is not back", allIn)
}

// TestReplacedWitnessIsIn: an empty folder in the place of the witness becomes one, and status has nothing to complain of.
func TestReplacedWitnessIsIn(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	defer closeNode(t, n)
	wipe(t, filepath.Join(c.State, "witness"))
	await(t, n, "the witness is not replaced", func(s Status) bool { return allIn(s) && s.Drives[len(s.Drives)-1].Drive > 5 })
}

// TestOutdatedState puts back a node.json that is older than the witness, and empties the witness again: the groups have a replica on a witness that the
// node does not know, which has to give way to the new one.
func TestOutdatedState(t *testing.T) {
	for _, drives := range []int{2, 4} {
		c := testConfig(t, t.TempDir(), drives)
		state := filepath.Join(c.State, "node.json")
		begin := func() {
			n := openNode(t, c)
			await(t, n, "not all are in", allIn)
			closeNode(t, n)
		}
		begin()
		old, err := os.ReadFile(state)
		if err != nil {
			t.Fatal(err)
		}
		wipe(t, filepath.Join(c.State, "witness"))
		begin()
		wipe(t, filepath.Join(c.State, "witness"))
		if err := os.WriteFile(state, old, 0o600); err != nil {
			t.Fatal(err)
		}
		begin()
	}
}

// TestStatusWithoutMajority takes away so many drives that nothing can be decided: the status says of each drive how it is all the same.
func TestStatusWithoutMajority(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	defer closeNode(t, n)
	for _, folder := range c.Drives[1:] {
		if err := os.Rename(folder, folder+".away"); err != nil {
			t.Fatal(err)
		}
	}
	await(t, n, "nobody notices", func(s Status) bool {
		out := 0
		for _, d := range s.Drives {
			if d.State == "out" {
				out++
			}
		}
		return out == 3 && s.Unknown != "" && !s.Protected() && len(s.Groups) == 2 && !s.Groups[1].Quorum
	})
}

// TestRemovedFolders removes what a running node has open on a drive, but for its identity: the drive is not believed any more before what it would
// go on to write into files without a name is acknowledged for long. Emptied, its folder becomes a new drive.
func TestRemovedFolders(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.CheckInterval = 20 * time.Millisecond
	n := openNode(t, c)
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	put(t, n, "before", content(1, 3<<20))
	for i, name := range []string{"data", "meta", "index", "meta/ring"} {
		if err := os.RemoveAll(filepath.Join(c.Drives[i], name)); err != nil {
			t.Fatal(err)
		}
		await(t, n, "the drive without "+name+" is not out", func(s Status) bool { return s.Drives[i].State == "out" && s.Drives[i].Problem != "" })
		put(t, n, name, content(uint64(i), 3<<20))
		wipe(t, c.Drives[i])
		await(t, n, "the emptied folder is no new drive", allIn)
	}
	mustGet(t, n, "before", content(1, 3<<20))
	for i, name := range []string{"data", "meta", "index", "meta/ring"} {
		mustGet(t, n, name, content(uint64(i), 3<<20))
	}
}

// TestRemovedFiles removes the files of a drive's data stream, with the daemon running and without: the shards are made again before anybody
// reads them, so that the drives that were spared may be lost afterwards.
func TestRemovedFiles(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		put(t, n, fmt.Sprint("k", i), content(uint64(i), 2<<20+i))
	}
	for round, folder := range c.Drives[:2] {
		if round == 1 {
			closeNode(t, n)
		}
		files, err := filepath.Glob(filepath.Join(folder, "data", "*.seg"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
		if round == 1 {
			n = openNode(t, c)
		}
		await(t, n, "the shards are not made again", func(s Status) bool { return s.Protected() && s.Keeper.ShardsRebuilt >= 5 })
	}
	closeNode(t, n)
	wipe(t, c.Drives[2])
	wipe(t, c.Drives[3])
	n = openNode(t, c)
	for i := range 5 {
		mustGet(t, n, fmt.Sprint("k", i), content(uint64(i), 2<<20+i))
	}
	closeNode(t, n)
}
