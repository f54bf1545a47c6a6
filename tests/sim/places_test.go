package sim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// diskPackage has the interfaces of files and folders.
const diskPackage = "holdfast/engine/disk"

// uncounted are the methods of files and folders that no fault can strike: they ask nothing of the disk.
var uncounted = []string{"Size", "Direct", "Close", "Device", "Index", "Reopen"}

// listed is a package as go list describes it.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles, Imports        []string
}

// placesOf returns every place of the engine's packages that calls a method of a file or a folder, "drive/ring.go:17", with the method.
func placesOf(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Imports", "holdfast/engine/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	exports, packages := map[string]string{}, []listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if slices.Contains(p.Imports, diskPackage) && !strings.HasPrefix(p.ImportPath, diskPackage) && path.Base(p.ImportPath) != "drivetest" {
			packages = append(packages, p)
		}
	}
	files := token.NewFileSet()
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	ours, err := imports.Import(diskPackage)
	if err != nil {
		t.Fatal(err)
	}
	methods := map[types.Object]bool{}
	for _, name := range []string{"FS", "File"} {
		all := types.NewMethodSet(ours.Scope().Lookup(name).Type())
		for m := range all.Methods() {
			if !slices.Contains(uncounted, m.Obj().Name()) {
				methods[m.Obj()] = true
			}
		}
	}
	places := map[string]string{}
	for _, p := range packages {
		var syntax []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			syntax = append(syntax, f)
		}
		info := types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
		config := types.Config{Importer: imports}
		if _, err := config.Check(p.ImportPath, files, syntax, &info); err != nil {
			t.Fatal(err)
		}
		for e, s := range info.Selections {
			if s.Kind() == types.MethodVal && methods[s.Obj()] {
				at := files.Position(e.Sel.Pos())
				places[fmt.Sprintf("%s/%s:%d", path.Base(p.Dir), filepath.Base(at.Filename), at.Line)] = s.Obj().Name()
			}
		}
	}
	return places
}

func TestZZ(t *testing.T) {
	p := placesOf(t)
	for k, v := range p {
		t.Log(k, v)
	}
	t.Log(len(p))
}
