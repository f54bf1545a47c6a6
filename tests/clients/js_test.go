package clients_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestJS drives the daemon with aws-sdk-js v3, of the versions that testdata/js/package-lock.json names.
func TestJS(t *testing.T) {
	c := need(t, "node")
	modules := nodeModules(t)
	if err := os.Symlink(modules, filepath.Join(c.home, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "session.js"} {
		text, err := os.ReadFile(filepath.Join("testdata", "js", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.home, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := c.run("session.js", endpoint); !strings.Contains(out, "everything holds") {
		t.Fatal(out)
	}
}

// nodeModules returns the folder of the SDK, which npm installs below the user's cache folder and which stays there for the next run.
func nodeModules(t *testing.T) string {
	t.Helper()
	npm := find(t, "npm")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "holdfast")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(cache, "js-new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	sum := fnv.New64a()
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", "js", name))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(cache, fmt.Sprintf("js-%x", sum.Sum64()))
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = fresh
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm cannot install the SDK (HOLDFAST_TEST_ABSENT=node says that this is on purpose): %v\n%s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil { // another test may have been there first
		if _, errOther := os.Stat(modules); errOther != nil {
			t.Fatal(err)
		}
	}
	return modules
}
