// Package layers keeps the import order of the repository.
//
// Promise: a package that imports upwards or sideways, or that names a protocol where none belongs, does not pass.
//
// The package does not know what the packages do.
package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// order has the packages in rows from the words upwards; "/…" stands for everything below. A package imports from earlier rows only,
// and packages of one row do not import each other; of packages joined by "+" the left may be imported by the right.
//
// It is a statement of policy. DO NOT CHANGE THIS DATA TO FIX BUILDS.
const order = `
	engine
	engine/buffer engine/checksum engine/disk+engine/disk/… engine/meta+engine/meta/… engine/memory engine/enginetest access observe+observe/…
	engine/erasure engine/drive+engine/drive/…
	engine/extent+engine/extent/… engine/group+engine/group/…
	engine/coordinator+engine/coordinator/… engine/repair+engine/repair/… access/session
	engine/node filetree gateways
	gateways/s3/… gateways/metrics
	gateways/s3
	daemon/config daemon/certs
	daemon cli/bench
	cli
	cli/holdfast
`

// onlyTests has the packages that only tests use; they may import anything.
const onlyTests = "tests"

// never lists imports that a subtree may not have, whatever the order says.
var never = []struct{ subtree, imports, why string }{
	{"engine", "net/http", "the engine knows no protocol"},
	{"engine", "encoding/xml", "the engine knows no protocol"},
	{"gateways", "holdfast/engine/", "a gateway has the interface, not an implementation"},
	{"filetree", "holdfast/engine/", "open files have the interface, not an implementation"},
	{"access", "holdfast/engine/", "a session has the interface, not an implementation"},
	{"cli", "holdfast/engine/coordinator", "only daemon constructs the engine"},
	{"cli", "holdfast/engine/node", "only daemon constructs the engine"},
	{"cli", "holdfast/engine/memory", "only daemon constructs the engine"},
	{"cli", "holdfast/gateways", "only daemon constructs gateways"},
}

// place is where the order has a package: its row, the group of joined packages in that row, and its place in the group.
type place struct{ row, group, member int }

func TestOrder(t *testing.T) {
	for _, f := range sources(t) {
		if within(f.dir, onlyTests) {
			continue
		}
		here, known := placeOf(f.dir)
		if !known {
			t.Errorf("%s: package %s has no row in the order", f.name, f.dir)
			continue
		}
		for _, imported := range f.imports {
			dir, ours := strings.CutPrefix(imported, "holdfast/")
			if !ours {
				continue
			}
			if there, known := placeOf(dir); !known || !there.below(here) {
				t.Errorf("%s: %s may not import %s: it is not in an earlier row", f.name, f.dir, dir)
			}
		}
	}
}

func TestNever(t *testing.T) {
	for _, f := range sources(t) {
		for _, n := range never {
			for _, imported := range f.imports {
				if within(f.dir, n.subtree) && (imported == n.imports || strings.HasSuffix(n.imports, "/") && strings.HasPrefix(imported, n.imports) || within(imported, n.imports)) {
					t.Errorf("%s: %s may never import %s: %s", f.name, f.dir, imported, n.why)
				}
			}
		}
	}
}

func TestRulesAreSharp(t *testing.T) {
	below := func(a, b string) bool {
		x, _ := placeOf(a)
		y, _ := placeOf(b)
		return x.below(y)
	}
	for _, c := range []struct {
		imported, importer string
		want               bool
	}{
		{"engine", "engine/meta", true}, {"engine/meta", "engine", false}, {"engine/meta", "engine/buffer", false},
		{"engine/disk", "engine/disk/sim", true}, {"engine/disk/sim", "engine/disk", false}, {"engine/drive", "engine/extent", true},
		{"gateways/s3/wire", "gateways/s3", true}, {"gateways/s3", "gateways/s3/wire", false}, {"daemon", "cli", true},
		{"daemon/config", "daemon", true}, {"gateways/s3/wire", "gateways/s3/sigv4", false},
	} {
		if got := below(c.imported, c.importer); got != c.want {
			t.Errorf("%s imports %s: allowed %t, want %t", c.importer, c.imported, got, c.want)
		}
	}
}

func (p place) below(other place) bool {
	if p.row != other.row {
		return p.row < other.row
	}
	return p.group == other.group && p.member < other.member
}

// placeOf finds the row of a package: an exact name goes before a "/…".
func placeOf(dir string) (p place, known bool) {
	for _, exact := range []bool{true, false} {
		for row, line := range strings.Split(strings.TrimSpace(order), "\n") {
			for group, joined := range strings.Fields(line) {
				for member, pattern := range strings.Split(joined, "+") {
					above, wide := strings.CutSuffix(pattern, "/…")
					if exact && pattern == dir || !exact && wide && strings.HasPrefix(dir, above+"/") {
						return place{row, group, member}, true
					}
				}
			}
		}
	}
	return place{}, false
}

// within reports whether a path is the subtree or below it.
func within(path, subtree string) bool {
	return path == subtree || strings.HasPrefix(path, subtree+"/")
}

// source is a file that is no test, with what it imports.
type source struct {
	name, dir string
	imports   []string
}

// sources reads the imports of every Go file of the repository, whatever its build constraints say. Tests are free: they build fixtures
// out of implementations, and the engine's may serve a profile over HTTP.
func sources(t *testing.T) (found []source) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "data" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		s := source{name: name, dir: filepath.ToSlash(filepath.Dir(name))}
		for _, i := range file.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, imported)
		}
		found = append(found, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("found no Go file")
	}
	return found
}
