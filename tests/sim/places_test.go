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
	"maps"
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
			if s.Kind() == types.MethodVal && methods[s.Obj()] && !strings.Contains(s.Recv().String(), "pebble") {
				at := files.Position(e.Sel.Pos())
				places[fmt.Sprintf("%s/%s:%d", path.Base(p.Dir), filepath.Base(at.Filename), at.Line)] = s.Obj().Name()
			}
		}
	}
	return places
}

// indexSites are Pebble's calls, by type of file: those that a drive's index must have been struck at.
var indexSites = strings.Fields(`dbtmp:create dbtmp:remove dbtmp:sync dbtmp:write directory:list directory:mkdir directory:open directory:syncdir lock:lock log:create log:open log:read
	log:remove log:stat log:sync log:write manifest:create manifest:open manifest:read manifest:remove manifest:stat manifest:sync manifest:write marker:create marker:remove options:open
	options:read options:remove options:rename options:stat sst:create sst:open sst:read sst:remove sst:stat sst:sync sst:write`)

// checkPlaces wants every place of the storage packages that calls a disk to have been struck, and to be known.
func checkPlaces(t *testing.T, struck *places) {
	known := placesOf(t)
	for _, s := range indexSites {
		known["index:"+s] = s
	}
	for _, place := range slices.Sorted(maps.Keys(known)) {
		if len(struck.source[place]) == 0 {
			t.Errorf("%s, a call of %s: nothing has struck there", place, known[place])
		}
	}
	for _, place := range slices.Sorted(maps.Keys(struck.source)) {
		if known[place] == "" {
			t.Errorf("%s was struck, %v, and is not among the places that the source or indexSites has", place, struck.source[place])
		}
	}
	t.Logf("%d places of the source that call a disk, %d calls of Pebble", len(known)-len(indexSites), len(indexSites))
}
