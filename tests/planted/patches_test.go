// Package planted_test proves that the suite finds bugs: each patch plants one into a copy of the tree, and the unchanged test that the patch
// names, with its package, must fail on it.
//
// Promise: a patch that does not apply, or whose tree does not build, fails too; so does a bug that nothing finds. That each applies and builds is
// tested always; that each is found, which takes minutes, with the tag planted.
//
// The package does not know what a bug is about: the patch names the tests that must find it.
package planted_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// forEach calls f for each patch with a copy of the tree that has its bug, and the package and the test of it that must find it.
func forEach(t *testing.T, f func(t *testing.T, tree, target, test string)) {
	patches, err := filepath.Glob("patches/*.patch")
	if err != nil || len(patches) < 8 {
		t.Fatalf("%d patches: %v", len(patches), err)
	}
	for _, patch := range patches {
		t.Run(strings.TrimSuffix(filepath.Base(patch), ".patch"), func(t *testing.T) {
			tree, target, test := plant(t, patch)
			f(t, tree, target, test)
		})
	}
}

// plant makes a copy of the tree with a bug.
func plant(t *testing.T, patch string) (tree, target, test string) {
	t.Helper()
	text, err := os.ReadFile(patch)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "Found by: ")
	line, _, _ := strings.Cut(rest, "\n")
	target, test, named := strings.Cut(line, " ")
	if !ok || !named {
		t.Fatal("the patch does not say which test of which package finds it")
	}
	tree = t.TempDir()
	script := `set -e; cd ../..; git ls-files -co --exclude-standard | grep -v '^tests/planted/' | tar -cf - -T - | tar -xf - -C "$TREE"; cd "$TREE"; git apply -`
	c := exec.Command("sh", "-c", script)
	c.Env, c.Stdin = append(os.Environ(), "TREE="+tree), strings.NewReader(string(text))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("the patch does not apply: %v\n%s", err, out)
	}
	return tree, target, test
}

// run runs the go command in a tree.
func run(tree string, args ...string) (string, error) {
	c := exec.Command("go", args...)
	c.Dir = tree
	out, err := c.CombinedOutput()
	return string(out), err
}

// TestPatches: each bug can be planted. The compiler is shown the changed files in the place of those in the tree, so that it makes no more anew than
// it must.
func TestPatches(t *testing.T) {
	forEach(t, func(t *testing.T, tree, target, _ string) {
		text, err := os.ReadFile(filepath.Join("patches", filepath.Base(t.Name())+".patch"))
		if err != nil {
			t.Fatal(err)
		}
		root, err := filepath.Abs("../..")
		if err != nil {
			t.Fatal(err)
		}
		replace := map[string]string{}
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "+++ b/"); ok {
				replace[filepath.Join(root, name)] = filepath.Join(tree, name)
			}
		}
		overlay, err := json.Marshal(map[string]any{"Replace": replace})
		if err != nil || len(replace) == 0 {
			t.Fatalf("the patch changes %d files: %v", len(replace), err)
		}
		file := filepath.Join(t.TempDir(), "overlay.json")
		if err := os.WriteFile(file, overlay, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(target, "./tests/") {
			target = "./engine/..." // packages of tests alone are not built
		}
		if out, err := run(root, "build", "-overlay", file, target); err != nil {
			t.Fatalf("the tree with the bug does not build: %s", out)
		}
	})
}
