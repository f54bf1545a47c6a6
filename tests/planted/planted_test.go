//go:build planted

package planted_test

import (
	"strings"
	"testing"
)

// TestPlanted: each bug is found.
func TestPlanted(t *testing.T) {
	planted, found := 0, 0
	forEach(t, func(t *testing.T, tree, target string) {
		planted++
		if find(t, tree, target) {
			found++
		}
	})
	t.Logf("%d bugs planted, %d found", planted, found)
}

// find reports whether the suite finds the bug in a tree.
func find(t *testing.T, tree, target string) bool {
	if out, err := run(tree, "vet", target); err != nil {
		t.Fatalf("the tree with the bug does not build: %s", out)
	}
	out, err := run(tree, "test", "-count=1", "-failfast", "-timeout", "8m", target)
	if err == nil {
		t.Errorf("nothing in %s finds it", target)
		return false
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "_test.go:") || strings.Contains(line, "--- FAIL") || strings.HasPrefix(line, "panic:") {
			t.Log(strings.TrimSpace(line))
			break
		}
	}
	return true
}
