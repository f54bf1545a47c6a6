package losefs

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// RequireFuse fails a test on a machine that cannot mount, unless HOLDFAST_TEST_ABSENT names fuse: then it skips. It unmounts what former runs left.
func RequireFuse(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	if err != nil || os.Geteuid() != 0 {
		if slices.Contains(strings.Split(os.Getenv("HOLDFAST_TEST_ABSENT"), ","), "fuse") {
			t.Skip("no FUSE here, which is said to be on purpose")
		}
		t.Fatalf("mounts need root and /dev/fuse: %v (HOLDFAST_TEST_ABSENT=fuse says that they are absent on purpose)", err)
	}
	if stale, err := UnmountStale(); err != nil {
		t.Fatal(err)
	} else if stale > 0 {
		t.Logf("unmounted %d disks of runs that were killed", stale)
	}
}
