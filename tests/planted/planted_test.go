//go:build planted

package planted_test

import (
	"strings"
	"testing"
)

// TestPlanted: each bug is found.
func TestPlanted(t *testing.T) {
	planted, found := 0, 0
	forEach(t, func(t *testing.T, tree, target, test string) {
		planted++
		if find(t, tree, target, test) {
			found++
		}
	})
	t.Logf("%d bugs planted, %d found", planted, found)
}

// find reports whether the suite finds the bug in a tree.
func find(t *testing.T, tree, target, test string) bool {
	out, err := run(tree, "test", "-count=1", "-timeout", "8m", "-run", "^"+test+"$", target)
	switch {
	case err == nil:
		t.Errorf("%s in %s does not find it", test, target)
		return false
	case !strings.Contains(out, "--- FAIL: "+test) && !strings.Contains(out, "panic: "):
		t.Fatalf("%s in %s did not come to a verdict: %s", test, target, out)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "_test.go:") || strings.Contains(line, "--- FAIL") || strings.HasPrefix(line, "panic:") {
			t.Log(strings.TrimSpace(line))
			break
		}
	}
	return true
}
