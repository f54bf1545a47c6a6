package node

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"holdfast/engine/group"
)

// TestFailedReplicaBeginsAnew fails the replicas of one drive after the other while the drives themselves go on working. Each must be back
// in its group, with a majority there all the while.
func TestFailedReplicaBeginsAnew(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.CheckInterval = 20 * time.Millisecond
	n := openNode(t, c)
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket"); err != nil {
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
