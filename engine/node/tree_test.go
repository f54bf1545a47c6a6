package node

import (
	"bytes"
	"cmp"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/engine"
)

// TestSourceTree brings a source tree into a bucket, half of it by key and half by node, changes some of it by either, and holds the file view and the view by keys
// against the tree on disk, name by name and byte by byte. HOLDFAST_TREE names another tree than that of the repository.
func TestSourceTree(t *testing.T) {
	root := cmp.Or(os.Getenv("HOLDFAST_TREE"), filepath.Join("..", ".."))
	n := openNode(t, testConfig(t, t.TempDir(), 4))
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	s := &sourceTree{T: t, n: n, files: map[string][]byte{}, directories: map[string]engine.NodeID{"": engine.RootNode}}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == ".git" {
			return cmp.Or(err, fs.SkipDir)
		}
		rel, err := filepath.Rel(root, name)
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(rel, ".tar.gz") {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s.bring(filepath.ToSlash(rel), b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.files) < 100 || s.byKey == 0 || s.byNode == 0 {
		t.Fatalf("the tree has %d files, %d came by key and %d by node: too few to tell", len(s.files), s.byKey, s.byNode)
	}
	s.compare()
	s.change()
	s.compare()
	t.Logf("%d files, %d directories, %d bytes; %d came by key, %d by node", len(s.files), len(s.directories), s.bytes, s.byKey, s.byNode)
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

type sourceTree struct {
	*testing.T
	n             *Node
	files         map[string][]byte
	directories   map[string]engine.NodeID // by path without "/" at its end
	bytes         int
	byKey, byNode int
}

func (s *sourceTree) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// directory makes the directories of a path where they are not.
func (s *sourceTree) directory(dir string) engine.NodeID {
	s.Helper()
	if id, ok := s.directories[dir]; ok {
		return id
	}
	above, name := path.Split(dir)
	at := engine.Place{Bucket: "bucket", Directory: s.directory(strings.TrimSuffix(above, "/")), Name: name}
	info, err := s.n.MakeFile(s.Context(), at, engine.MakeFileOptions{Type: engine.TypeDirectory})
	if engine.Is(err, engine.KindExists) {
		info, err = s.n.Lookup(s.Context(), at, "") // a put made it
	}
	s.must(err)
	s.directories[dir] = info.Node
	return info.Node
}

func (s *sourceTree) bring(name string, b []byte) {
	s.Helper()
	s.files[name] = b
	s.bytes += len(b)
	if len(s.files)%2 == 0 {
		s.byKey++
		put(s, s.n, name, b)
		return
	}
	s.byNode++
	dir, base := path.Split(name)
	at := engine.Place{Bucket: "bucket", Directory: s.directory(strings.TrimSuffix(dir, "/")), Name: base}
	info, err := s.n.MakeFile(s.Context(), at, engine.MakeFileOptions{})
	s.must(err)
	var pieces []engine.Piece
	for from := 0; from < len(b); from += 20_000 {
		part := b[from:min(from+20_000, len(b))]
		pieces = append(pieces, engine.Piece{Offset: int64(from), Length: int64(len(part)), Body: bytes.NewReader(part)})
	}
	for len(pieces) > 0 {
		most := min(len(pieces), engine.PatchPiecesMax)
		_, err = s.n.PatchFile(s.Context(), engine.File{Bucket: "bucket", Node: info.Node}, engine.Patch{Pieces: pieces[:most]})
		s.must(err)
		pieces = pieces[most:]
	}
}

// change changes by node what came by key, and the other way round, and moves a directory each way.
func (s *sourceTree) change() {
	s.Helper()
	i := 0
	for name, b := range s.files {
		if i++; i > 40 {
			break
		}
		at := s.place(name)
		info, err := s.n.Lookup(s.Context(), at, "")
		s.must(err)
		more := []byte("// one line more\n")
		if i%2 == 0 {
			_, err = s.n.PatchFile(s.Context(), engine.File{Bucket: "bucket", Node: info.Node}, engine.Patch{
				Pieces: []engine.Piece{{Offset: engine.PieceEnd, Length: int64(len(more)), Body: bytes.NewReader(more)}},
			})
		} else {
			_, err = s.n.Append(s.Context(), engine.Ref{Bucket: "bucket", Key: engine.Key(name)}, bytes.NewReader(more),
				engine.AppendOptions{Offset: int64(len(b)), Size: int64(len(more))})
		}
		s.must(err)
		s.files[name] = append(bytes.Clone(b), more...)
	}
	var first string
	for name := range s.files {
		if dir, _, ok := strings.Cut(name, "/"); ok {
			first = dir
			break
		}
	}
	s.must(s.n.MoveFile(s.Context(), s.place(first), s.place("moved"), engine.MoveFileOptions{}))
	_, err := s.n.RenamePrefix(s.Context(), "bucket", "moved/", "moved again/")
	s.must(err)
	for name, b := range s.files {
		if rest, ok := strings.CutPrefix(name, first+"/"); ok {
			delete(s.files, name)
			s.files["moved again/"+rest] = b
		}
	}
}

// place finds the directory that a path lies in by looking it up step by step.
func (s *sourceTree) place(name string) engine.Place {
	s.Helper()
	at := engine.Place{Bucket: "bucket", Directory: engine.RootNode}
	parts := strings.Split(name, "/")
	for i, part := range parts {
		at.Name = part
		if i < len(parts)-1 {
			info, err := s.n.Lookup(s.Context(), at, "")
			s.must(err)
			at.Directory = info.Node
		}
	}
	return at
}

// compare holds both views against the tree.
func (s *sourceTree) compare() {
	s.Helper()
	keys := map[string]int64{}
	for o := (engine.ListOptions{}); ; {
		page, err := s.n.List(s.Context(), "bucket", o)
		s.must(err)
		for _, object := range page.Objects {
			if !strings.HasSuffix(string(object.Key), "/") {
				keys[string(object.Key)] = object.Size
			}
		}
		if !page.Truncated {
			break
		}
		o.After = page.Last
	}
	names := map[string]int64{}
	s.walk(engine.RootNode, "", names)
	if len(keys) != len(s.files) || len(names) != len(s.files) {
		s.Errorf("by keys there are %d files, as files %d, on disk %d", len(keys), len(names), len(s.files))
	}
	for name, b := range s.files {
		if keys[name] != int64(len(b)) || names[name] != int64(len(b)) {
			s.Errorf("%q has %d bytes by its key, %d as a file, %d on disk", name, keys[name], names[name], len(b))
		}
	}
}

// walk reads a directory and what lies beneath it.
func (s *sourceTree) walk(directory engine.NodeID, prefix string, names map[string]int64) {
	s.Helper()
	for o := (engine.ListDirectoryOptions{Max: 50}); ; {
		page, err := s.n.ListDirectory(s.Context(), engine.File{Bucket: "bucket", Node: directory}, o)
		s.must(err)
		for _, entry := range page.Entries {
			name := prefix + entry.Name
			if entry.Info.Type == engine.TypeDirectory {
				s.walk(entry.Info.Node, name+"/", names)
				continue
			}
			names[name] = entry.Info.Size
			opened, err := s.n.OpenFile(s.Context(), engine.File{Bucket: "bucket", Node: entry.Info.Node}, engine.OpenFileOptions{})
			s.must(err)
			b, err := io.ReadAll(opened)
			s.must(err)
			s.must(opened.Close())
			if !bytes.Equal(b, s.files[name]) {
				s.Errorf("%q has other bytes as a file than on disk", name)
			}
			mustGet(s, s.n, name, s.files[name])
		}
		if !page.Truncated {
			return
		}
		o.After = page.Last
	}
}
