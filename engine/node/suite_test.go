package node

import (
	"testing"

	"holdfast/engine"
	"holdfast/engine/enginetest"
)

// TestEngine runs the suite that every engine passes on four drives.
func TestEngine(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		n := openNode(t, testConfig(t, t.TempDir(), 4))
		t.Cleanup(func() { closeNode(t, n) })
		return n
	})
}
