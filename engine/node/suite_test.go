package node

import (
	"fmt"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/enginetest"
	"holdfast/engine/memory"
)

// TestEngine runs the suite that every engine passes, on four drives.
func TestEngine(t *testing.T) {
	n := openNode(t, testConfig(t, t.TempDir(), 4))
	t.Cleanup(func() { closeNode(t, n) })
	enginetest.Run(t, func(*testing.T) engine.Engine { return n })
}

// TestRandom gives the same random operations to the reference model and to a node, whose answers must agree.
func TestRandom(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			n := openNode(t, testConfig(t, t.TempDir(), 4))
			t.Cleanup(func() { closeNode(t, n) })
			enginetest.Random(t, seed, memory.New(), n, 400)
		})
	}
}

// TestRandomFiles does the same with operations by key and by node.
func TestRandomFiles(t *testing.T) {
	enginetest.RandomFiles(t, 3, 500, func(t *testing.T) (model, real engine.Engine, check func() error) {
		c := testConfig(t, t.TempDir(), 4)
		c.OwnerExpiry = time.Hour // a script that has to wait for the machine does not renew its owners
		n := openNode(t, c)
		t.Cleanup(func() { closeNode(t, n) })
		return memory.New(), n, checkOf(t, n)
	})
}

// checkOf holds the rows of a node against each other.
func checkOf(t *testing.T, n *Node) func() error {
	return func() error {
		_, err := n.Check(t.Context())
		return err
	}
}
