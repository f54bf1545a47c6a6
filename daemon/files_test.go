package daemon

import (
	"strings"
	"testing"
)

// TestShare: a limit that the drives cannot live with is refused with a sentence, and connections never take all of one.
func TestShare(t *testing.T) {
	if _, err := share(filesLeast+5*filesOfDriveLeast-1, 5); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("one too few: %v", err)
	}
	for limit, want := range map[int]int{filesLeast + 5*filesOfDriveLeast: 72, 1024: 256, 4096: 1024, 524288: 519976} {
		if f, err := share(limit, 5); err != nil || f.connections != want {
			t.Errorf("a limit of %d leaves %d connections, want %d: %v", limit, f.connections, want, err)
		}
	}
}
