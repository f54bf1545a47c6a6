//go:build planted

// Package planted_test proves that the suite finds bugs: each patch plants one into a copy of the tree, and the unchanged tests of the
// package that the patch names must fail on it.
//
// Promise: a patch that does not apply, or whose tree does not build, fails too; so does a bug that nothing finds.
//
// The package does not know what a bug is about: the patch names the tests that must find it.
package planted_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlanted(t *testing.T) {
	patches, err := filepath.Glob("patches/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("no patches: %v", err)
	}
	found := 0
	for _, patch := range patches {
		t.Run(strings.TrimSuffix(filepath.Base(patch), ".patch"), func(t *testing.T) {
			if plant(t, patch) {
				found++
			}
		})
	}
	t.Logf("%d bugs planted, %d found", len(patches), found)
}

// plant copies the tree, plants a bug, and reports whether the suite finds it.
func plant(t *testing.T, patch string) bool {
	text, err := os.ReadFile(patch)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "Found by: ")
	if !ok {
		t.Fatal("the patch does not say which package finds it")
	}
	target, _, _ := strings.Cut(rest, "\n")
	tree := t.TempDir()
	script := `set -e; cd ../..; git ls-files -co --exclude-standard | grep -v '^tests/planted/' | tar -cf - -T - | tar -xf - -C "$TREE"; patch -s -p1 -d "$TREE"`
	c := exec.Command("sh", "-c", script)
	c.Env, c.Stdin = append(os.Environ(), "TREE="+tree), strings.NewReader(string(text))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("the patch does not apply: %v\n%s", err, out)
	}
	run := func(args ...string) (string, error) {
		c := exec.Command("go", args...)
		c.Dir = tree
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := run("vet", target); err != nil {
		t.Fatalf("the tree with the bug does not build: %s", out)
	}
	out, err := run("test", "-count=1", "-timeout", "5m", target)
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
