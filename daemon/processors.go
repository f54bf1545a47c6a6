package daemon

import (
	"os"
	"runtime"
)

// processors lets more goroutines run at once than there are cores. Writes and syncs of drives are calls that block; each holds one of Go's processors
// until the scheduler notices, tens of microseconds later, and with no more of them than cores the drives idle while goroutines that would give them work
// wait for a processor (docs/design/writes.md has the figures). Who sets GOMAXPROCS is obeyed.
func processors(drives int) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + min(6*(drives+1), blockedMax))
}

// blockedMax bounds the processors for calls that block.
const blockedMax = 64
