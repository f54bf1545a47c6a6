package node

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/engine/meta"
)

// refusing is a folder in which no file can be made while it is told so.
type refusing struct {
	disk.FS
	refuse *atomic.Bool
}

func (f refusing) Open(name string, flags disk.Flags) (disk.File, error) {
	if flags.Create && f.refuse.Load() {
		return nil, syscall.EROFS
	}
	return f.FS.Open(name, flags)
}

// TestRefusedFolderOfARemovedDrive adds a folder again that was a drive and was removed, and that refuses now: the start names it still.
func TestRefusedFolderOfARemovedDrive(t *testing.T) {
	c, n, readAll := stocked(t, 5, engine.Redundancy{Data: 2, Parity: 2})
	closeNode(t, n)
	var refuse atomic.Bool
	c.OpenDisk = func(dir string) (disk.FS, error) {
		fsys, err := disk.OS(dir)
		if dir != c.Drives[4] || err != nil {
			return fsys, err
		}
		return refusing{fsys, &refuse}, nil
	}
	n = openNode(t, c)
	if err := n.RemoveDrive(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	await(t, n, "drive 5 does not go", without(5))
	closeNode(t, n)
	wipe(t, c.Drives[4])
	n = openNode(t, c)
	refuse.Store(true)
	_, err := n.AddDrive(t.Context(), c.Drives[4])
	wantRefused(t, err, "read-only")
	closeNode(t, n)
	refuse.Store(false)
	n = openNode(t, c)
	readAll(n)
	if s, err := n.Status(t.Context()); err != nil || len(s.Drives) != 5 { // one is the witness
		t.Errorf("%+v %v", s, err)
	}
	if list := n.Removed(); len(list) != 1 || list[0] != c.Drives[4] {
		t.Errorf("the start is told that %v were removed", list)
	}
	mustAdd(t, n, c.Drives[4])
	if list := n.Removed(); len(list) != 0 {
		t.Errorf("the start is told that %v were removed", list)
	}
	closeNode(t, n)
}

// TestCutOffAddingGetsItsReplicas cuts off the adding of a drive with which the parity grows: after the start there are as many replicas as it takes,
// with the witness that this needs.
func TestCutOffAddingGetsItsReplicas(t *testing.T) {
	c, n, readAll := stocked(t, 3, engine.Redundancy{})
	n.mu.Lock()
	m, err := n.state.newMember(folder(t, c, "new"))
	if err == nil {
		m.Added, m.Adding = true, true
		n.state.Drives = append(n.state.Drives, m)
		err = n.state.save(n.home)
	}
	n.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)
	n = openNode(t, c)
	await(t, n, "the groups lack replicas", func(s Status) bool {
		return allIn(s) && n.Redundancy() == "2+2" && s.Groups[0].Voters == 5 && s.Groups[1].Voters == 5
	})
	readAll(n)
	closeNode(t, n)
}

// TestOldStateAndANewDriveInAPlace puts back a node.json from before an emptied folder became another drive: that one is taken in.
func TestOldStateAndANewDriveInAPlace(t *testing.T) {
	c, n, readAll := stocked(t, 4, engine.Redundancy{Data: 2, Parity: 2})
	state := filepath.Join(c.State, "node.json")
	old, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	last := engine.DriveID(n.state.Last)
	wipe(t, c.Drives[1])
	await(t, n, "the emptied folder is no new drive", func(s Status) bool { return allIn(s) && s.Drives[1].Drive > last && s.Drives[1].Shards == 12 })
	closeNode(t, n)
	if err := os.WriteFile(state, old, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		n = openNode(t, c)
		await(t, n, "the drives are not those that there are", func(s Status) bool {
			return allIn(s) && len(s.Drives) == 5 && s.Drives[1].Path == c.Drives[1] && s.Drives[1].Drive > last && s.Drives[1].Shards == 12
		})
		if list := n.Removed(); len(list) != 0 {
			t.Errorf("the start is told that %v were removed", list)
		}
		readAll(n)
		closeNode(t, n)
	}
}

// half adds a folder in the place of another drive, as far as it comes without the other one leaving.
func half(t *testing.T, n *Node, folder string, heirOf engine.DriveID) *slot {
	t.Helper()
	s, err := n.noteSlot(folder, false, heirOf)
	if err != nil {
		t.Fatal(err)
	}
	m := s.member
	if err := n.formDrive(t.Context(), &m, drive.RoleData, nil); err != nil {
		t.Fatal(err)
	}
	if err := n.openSlot(s); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	s.problem = nil
	n.mu.Unlock()
	if err := n.setOut(t.Context(), s, false); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestHeirThatIsInAlready cuts off the replacing of a drive after the new one came in and before the other leaves: it takes no shard yet, and the node
// goes on by itself.
func TestHeirThatIsInAlready(t *testing.T) {
	c, n, readAll := stocked(t, 4, engine.Redundancy{Data: 2, Parity: 2})
	s := half(t, n, folder(t, c, "new"), 2)
	list, _ := n.candidates()
	for _, c := range list {
		if c.id == s.Drive {
			t.Error("a drive takes shards that one may still have forgotten")
		}
	}
	n.mu.Lock()
	s.settling = false // whoever added it gave up
	n.mu.Unlock()
	await(t, n, "drive 2 does not go", without(2))
	readAll(n)
	closeNode(t, n)
}

// TestKeepDriveWhileItsHeirIsAdded wants that KeepDrive is not undone by what is under way.
func TestKeepDriveWhileItsHeirIsAdded(t *testing.T) {
	c, n, _ := stocked(t, 4, engine.Redundancy{Data: 2, Parity: 2})
	s := half(t, n, folder(t, c, "new"), 2)
	if err := n.KeepDrive(t.Context(), 2); !engine.Is(err, engine.KindConflict) {
		t.Errorf("while the drive is added that takes its place: %v", err)
	}
	n.mu.Lock()
	s.settling = false
	n.mu.Unlock()
	await(t, n, "drive 2 does not go", without(2))
	closeNode(t, n)
}

// TestRemoveDriveSaysThatItLeaves has what follows the leaving of a drive fail: the drive leaves all the same, and that is the answer.
func TestRemoveDriveSaysThatItLeaves(t *testing.T) {
	c := testConfig(t, t.TempDir(), 5)
	n := openNode(t, c)
	obstacle := filepath.Join(c.State, "witness")
	if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.RemoveDrive(t.Context(), 2); err != nil {
		t.Errorf("the drive leaves, and the answer is %v", err)
	}
	if leaving, _, err := meta.LoadLeaving(n.data.Rows(t.Context()), 2); err != nil || !leaving {
		t.Errorf("the drive leaves: %v, %v", leaving, err)
	}
	if err := n.KeepDrive(t.Context(), 2); err != nil {
		t.Error(err)
	}
	if err := n.RemoveDrive(t.Context(), 2); err != nil {
		t.Error(err)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	await(t, n, "drive 2 does not go", func(s Status) bool { return without(2)(s) && s.Groups[1].Voters == 5 })
	closeNode(t, n)
}
