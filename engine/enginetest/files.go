package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/engine"
)

var fileCases = []struct {
	name string
	run  func(s *suite)
}{
	{"Files", files},
	{"FilesHidden", filesHidden},
	{"FilesListLong", filesListLong},
	{"FilesMake", filesMake},
	{"FilesMakeErrors", filesMakeErrors},
	{"FilesLink", filesLink},
	{"FilesLinksMany", filesLinksMany},
	{"FilesRemove", filesRemove},
	{"FilesMove", filesMove},
	{"FilesMoveErrors", filesMoveErrors},
	{"FilesExchange", filesExchange},
	{"FilesMoveVersions", filesMoveVersions},
	{"FilesMoveLocked", filesMoveLocked},
	{"FilesSet", filesSet},
	{"FilesXattrs", filesXattrs},
	{"FilesByKey", filesByKey},
	{"FilesDirectoryIdentity", filesDirectoryIdentity},
	{"FilesVersions", filesVersions},
	{"FilesOpenInfo", filesOpenInfo},
	{"FilesUsage", filesUsage},
	{"FilesNowhere", filesNowhere},
	{"ConcurrentFiles", concurrentFiles},
	{"ConcurrentMoves", concurrentMoves},
}

// node names a node of the case's bucket.
func (s *suite) node(n engine.NodeID) engine.File { return engine.File{Bucket: s.bucket, Node: n} }

// place finds the directories of a path, which must be there, and names its last part.
func (s *suite) place(path string) engine.Place {
	s.Helper()
	parts := strings.Split(path, "/")
	at := engine.Place{Bucket: s.bucket, Directory: engine.RootNode}
	for i, part := range parts {
		at.Name = part
		if i == len(parts)-1 {
			break
		}
		info, err := s.Lookup(s.ctx, at, "")
		s.ok(err, "look up %q of %q", part, path)
		at.Directory = info.Node
	}
	return at
}

// look finds what must be there under a path.
func (s *suite) look(path string) engine.FileInfo {
	s.Helper()
	info, err := s.Lookup(s.ctx, s.place(path), "")
	s.ok(err, "look up %q", path)
	stat, err := s.StatFile(s.ctx, s.node(info.Node))
	s.ok(err, "stat of %q", path)
	if flat(stat) != flat(info) {
		s.Errorf("%q is %+v by its name and %+v by its number", path, info, stat)
	}
	return flat(info)
}

// flat returns a description that can be compared with ==: its times have one location, and no monotonic part.
func flat(info engine.FileInfo) engine.FileInfo {
	for _, t := range []*time.Time{&info.Modified, &info.Changed, &info.Accessed, &info.Born} {
		*t = t.UTC().Round(0)
	}
	return info
}

// missing checks that there is nothing under a path.
func (s *suite) missing(path string) {
	s.Helper()
	_, err := s.Lookup(s.ctx, s.place(path), "")
	s.fails(engine.KindNoSuchKey, err, "look up %q", path)
}

// lost checks that a number is no longer that of a node.
func (s *suite) lost(n engine.NodeID, format string, args ...any) {
	s.Helper()
	_, err := s.StatFile(s.ctx, s.node(n))
	s.fails(engine.KindNoSuchKey, err, format, args...)
}

// made makes a node of a type.
func (s *suite) made(path string, kind engine.FileType) engine.FileInfo {
	s.Helper()
	o := engine.MakeFileOptions{Type: kind}
	if kind == engine.TypeSymlink {
		o.Target = "to/" + path
	}
	info, err := s.MakeFile(s.ctx, s.place(path), o)
	s.ok(err, "make %q", path)
	return flat(info)
}

func (s *suite) moved(from, to string) {
	s.Helper()
	s.ok(s.MoveFile(s.ctx, s.place(from), s.place(to), engine.MoveFileOptions{}), "move %q to %q", from, to)
}

func (s *suite) unlinked(path string) {
	s.Helper()
	s.ok(s.RemoveFile(s.ctx, s.place(path), engine.RemoveFileOptions{}), "remove %q", path)
}

// entries lists a directory in pages, with "/" behind the names of directories.
func (s *suite) entries(n engine.NodeID, page int) (names []string) {
	s.Helper()
	o := engine.ListDirectoryOptions{Max: page}
	for {
		p, err := s.ListDirectory(s.ctx, s.node(n), o)
		s.ok(err, "list directory %d behind %q", n, o.After)
		for _, entry := range p.Entries {
			info, err := s.Lookup(s.ctx, engine.Place{Bucket: s.bucket, Directory: n, Name: entry.Name}, "")
			s.ok(err, "look up %q, which is listed", entry.Name)
			if flat(info) != flat(entry.Info) {
				s.Errorf("%q is listed as %+v and is %+v", entry.Name, entry.Info, info)
			}
			if name := entry.Name; info.Type == engine.TypeDirectory {
				names = append(names, name+"/")
			} else {
				names = append(names, name)
			}
		}
		if page > 0 && (len(p.Entries) > page || p.Truncated && len(p.Entries) == 0) {
			s.Fatalf("a page of %d has %d names and says that more follow", page, len(p.Entries))
		}
		if !p.Truncated {
			return names
		}
		if p.Last == o.After {
			s.Fatalf("the page behind %q ends with it, and says that more follow", o.After)
		}
		o.After = p.Last
	}
}

// contains checks what a directory has, in pages of several lengths.
func (s *suite) contains(n engine.NodeID, want ...string) {
	s.Helper()
	for _, page := range []int{1, 2, 0} {
		if got := s.entries(n, page); !slices.Equal(got, want) {
			s.Fatalf("in pages of %d directory %d has %q; want %q", page, n, got, want)
		}
	}
}

// bytesOf reads a file whole.
func (s *suite) bytesOf(n engine.NodeID) []byte {
	s.Helper()
	data, _, err := fetchFile(s.ctx, s.Engine, s.node(n), nil)
	s.ok(err, "read node %d", n)
	return data
}

// fetchFile opens and reads to the end.
func fetchFile(ctx context.Context, e engine.Engine, f engine.File, r *engine.Range) (data []byte, info engine.ObjectInfo, err error) {
	object, err := e.OpenFile(ctx, f, engine.OpenFileOptions{Range: r})
	if err != nil {
		return nil, info, err
	}
	data, err = io.ReadAll(object)
	if closed := object.Close(); err == nil {
		err = closed
	}
	if err == nil && int64(len(data)) != object.Length() {
		err = fmt.Errorf("the file gave %d bytes and says %d", len(data), object.Length())
	}
	return data, object.Info(), err
}

// files: objects that came by key are files in directories that nobody made.
func files(s *suite) {
	root := s.stated(engine.RootNode)
	if root.Type != engine.TypeDirectory || root.Links != 1 {
		s.Errorf("the root is %+v", root)
	}
	s.contains(engine.RootNode)
	put := s.put("a/b/c", content(1, 70_000))
	s.put("a/b.c", []byte("x"))
	s.put("a/b-c", nil)
	s.put("a/b0", nil)
	s.put("a/b", []byte("a file beside a directory")) // hidden
	s.put("z", nil)
	s.put("größe", nil)
	s.contains(engine.RootNode, "a/", "größe", "z")
	a, b, c := s.look("a"), s.look("a/b"), s.look("a/b/c")
	s.contains(a.Node, "b-c", "b.c", "b/", "b0")
	s.contains(b.Node, "c")
	if a.Type != engine.TypeDirectory || a.Links != 1 || a.Size != 0 || a.ETag != "" || a.Version != "" || a.Sequence != 0 || a.Attributes.Set || a.Node == engine.RootNode {
		s.Errorf("the directory is %+v", a)
	}
	if c.Type != engine.TypeRegular || c.Links != 1 || c.Size != 70_000 || c.ETag != put.ETag || c.Version != put.Version || c.Sequence != put.Sequence || c.Attributes != (engine.FileAttributes{}) ||
		!c.Modified.Equal(put.Modified) || !c.Changed.Equal(put.Modified) || !c.Accessed.Equal(put.Modified) || !c.Born.Equal(put.Modified) {
		s.Errorf("the file is %+v, put as %+v", c, put)
	}
	if got := s.bytesOf(c.Node); !bytes.Equal(got, content(1, 70_000)) {
		s.Errorf("the file holds %s", brief(got))
	}
	part, info, err := fetchFile(s.ctx, s.Engine, s.node(c.Node), &engine.Range{Start: 69_000, Length: 5000})
	s.ok(err, "read a range")
	if !bytes.Equal(part, content(1, 70_000)[69_000:]) || info.Key != "a/b/c" || info.ETag != put.ETag {
		s.Errorf("a range holds %s of %+v", brief(part), info)
	}
	for key, n := range map[engine.Key]engine.NodeID{"": engine.RootNode, "a/": a.Node, "a/b/": b.Node, "a/b/c": c.Node} {
		if got, err := s.FileKey(s.ctx, s.node(n)); err != nil || got != key {
			s.Errorf("the key of node %d is %q, %v; want %q", n, got, err, key)
		}
	}
	p, err := s.ListDirectory(s.ctx, s.node(a.Node), engine.ListDirectoryOptions{Max: 2})
	s.ok(err, "list")
	s.put("a/b.b", nil) // between the names of the first page
	s.remove("a/b.c")
	p, err = s.ListDirectory(s.ctx, s.node(a.Node), engine.ListDirectoryOptions{After: p.Last, Max: 1})
	if err != nil || len(p.Entries) != 1 || p.Entries[0].Name != "b" || !p.Truncated {
		s.Errorf("the page behind a name that is gone is %+v, %v", p, err)
	}
	_, err = s.OpenFile(s.ctx, s.node(a.Node), engine.OpenFileOptions{})
	s.fails(engine.KindIsDirectory, err, "open of a directory")
	_, err = s.SeekFile(s.ctx, s.node(a.Node), 0, true)
	s.fails(engine.KindIsDirectory, err, "seek in a directory")
	_, err = s.OpenFile(s.ctx, s.node(c.Node), engine.OpenFileOptions{Range: &engine.Range{Start: 70_000, Length: 1}})
	s.fails(engine.KindInvalidRange, err, "open behind the end")
	_, err = s.ListDirectory(s.ctx, s.node(c.Node), engine.ListDirectoryOptions{})
	s.fails(engine.KindNotDirectory, err, "list a file")
	_, err = s.ListDirectory(s.ctx, s.node(a.Node), engine.ListDirectoryOptions{Max: -1})
	s.fails(engine.KindInvalidArgument, err, "list a page of -1 names")
	_, err = s.Lookup(s.ctx, engine.Place{Bucket: s.bucket, Directory: c.Node, Name: "x"}, "")
	s.fails(engine.KindNotDirectory, err, "look up in a file")
	for _, key := range []string{"a/b/c", "a/b", "a/b-c", "a/b.b", "a/b0"} {
		s.remove(key)
	}
	s.contains(engine.RootNode, "größe", "z")
	s.lost(a.Node, "stat of a directory in which nothing is left")
	s.lost(c.Node, "stat of a deleted file")
}

// stated is StatFile of what must be there.
func (s *suite) stated(n engine.NodeID) engine.FileInfo {
	s.Helper()
	info, err := s.StatFile(s.ctx, s.node(n))
	s.ok(err, "stat of node %d", n)
	return flat(info)
}

// filesHidden: keys that no path can name are not shown, but keep the directories above.
func filesHidden(s *suite) {
	for _, key := range []string{"/", "//", "/x", ".", "..", "./x", "../x", "a//b", "a/./b", "a/../b", "b//", "c/\x00", "n\x00", "d/", "e/", "e/f", "g", "g/", "g/h/"} {
		s.put(key, []byte(key))
	}
	s.contains(engine.RootNode, "a/", "b/", "c/", "d/", "e/", "g/")
	for path, want := range map[string][]string{"a": nil, "b": nil, "c": nil, "d": nil, "e": {"f"}, "g": {"h/"}} {
		s.contains(s.look(path).Node, want...)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a/", "x\x00y", "\xff"} {
		at := engine.Place{Bucket: s.bucket, Directory: engine.RootNode, Name: name}
		other := s.place("other")
		_, err := s.Lookup(s.ctx, at, "")
		s.fails(engine.KindInvalidArgument, err, "look up %q", name)
		_, err = s.MakeFile(s.ctx, at, engine.MakeFileOptions{})
		s.fails(engine.KindInvalidArgument, err, "make %q", name)
		_, err = s.LinkFile(s.ctx, s.node(s.look("e/f").Node), at)
		s.fails(engine.KindInvalidArgument, err, "link %q", name)
		s.fails(engine.KindInvalidArgument, s.RemoveFile(s.ctx, at, engine.RemoveFileOptions{}), "remove %q", name)
		s.fails(engine.KindInvalidArgument, s.MoveFile(s.ctx, at, other, engine.MoveFileOptions{}), "move %q", name)
		s.fails(engine.KindInvalidArgument, s.MoveFile(s.ctx, s.place("e"), at, engine.MoveFileOptions{}), "move to %q", name)
	}
	for _, name := range []string{"a", "b", "c"} { // something is beneath, although it is not shown
		s.fails(engine.KindNotEmpty, s.RemoveFile(s.ctx, s.place(name), engine.RemoveFileOptions{Directory: true}), "remove %q", name)
	}
	s.put("g", []byte("put beside the directory"))
	s.remove("g/h/")
	s.remove("g/")
	if g := s.look("g"); g.Type != engine.TypeRegular || string(s.bytesOf(g.Node)) != "put beside the directory" {
		s.Errorf("without the directory there is %+v", g)
	}
}

// filesListLong: a directory with more names than a page has.
func filesListLong(s *suite) {
	var keys, names []string
	for i := range engine.PageMax + 20 {
		name := fmt.Sprintf("%04d", i)
		keys, names = append(keys, "d/"+name), append(names, name)
		if i%100 == 7 {
			keys[i], names[i] = keys[i]+"/below", name+"/"
		}
	}
	s.fill(keys)
	d := s.look("d").Node
	for _, page := range []int{0, engine.PageMax, 2 * engine.PageMax, 333} {
		if got := s.entries(d, page); !slices.Equal(got, names) {
			s.Errorf("in pages of %d there are %d names, %q and on", page, len(got), got[:min(len(got), 10)])
		}
	}
	if p, err := s.ListDirectory(s.ctx, s.node(d), engine.ListDirectoryOptions{}); err != nil || len(p.Entries) != engine.PageMax || !p.Truncated {
		s.Errorf("a page has %d names, %v", len(p.Entries), err)
	}
}

// filesMake: each type of node is made with what it has, and S3 sees what the comments say.
func filesMake(s *suite) {
	attributes := engine.FileAttributes{Mode: 0o4755, UID: 7, GID: 8, Flags: 9}
	want := attributes
	want.Set = true
	for kind := engine.TypeRegular; kind <= engine.TypeBlockDevice; kind++ {
		o := engine.MakeFileOptions{Type: kind, Attributes: attributes}
		want := want
		if kind == engine.TypeSymlink {
			o.Target = "../somewhere/else"
		}
		if kind == engine.TypeCharacterDevice || kind == engine.TypeBlockDevice {
			o.Attributes.Device, want.Device = 1<<40+5, 1<<40+5
		}
		path := fmt.Sprintf("kind-%d", kind)
		made, err := s.MakeFile(s.ctx, s.place(path), o)
		s.ok(err, "make %s", path)
		if info := s.look(path); info != flat(made) || info.Type != kind || info.Attributes != want || info.Links != 1 {
			s.Errorf("%s is %+v, made as %+v", path, info, made)
		}
		_, err = s.MakeFile(s.ctx, s.place(path), engine.MakeFileOptions{})
		s.fails(engine.KindExists, err, "make %s again", path)
		_, err = s.MakeFile(s.ctx, s.place(path), engine.MakeFileOptions{Type: engine.TypeDirectory})
		s.fails(engine.KindExists, err, "make the directory %s", path)
		switch key := path; kind {
		case engine.TypeDirectory:
			s.holds(key+"/", nil)
			s.absent(key)
		case engine.TypeSymlink:
			s.holds(key, []byte(o.Target))
			if got := s.bytesOf(made.Node); string(got) != o.Target || made.Size != int64(len(o.Target)) {
				s.Errorf("the target is %q in %+v", got, made)
			}
		default:
			s.holds(key, nil)
			if made.Size != 0 || made.ETag != etag(nil) {
				s.Errorf("an empty file is %+v", made)
			}
		}
	}
	for i, a := range []engine.FileAttributes{{}, {Set: true}, {Mode: 1}, {UID: 1}, {GID: 1}, {Flags: 1}} {
		info, err := s.MakeFile(s.ctx, s.place(fmt.Sprintf("attributes-%d", i)), engine.MakeFileOptions{Attributes: a})
		s.ok(err, "make with %+v", a)
		if set := a.Set || a.Mode+a.UID+a.GID > 0; info.Attributes.Set != set {
			s.Errorf("made with %+v it has %+v", a, info.Attributes)
		}
	}
	s.made("kind-1/below", engine.TypeDirectory)
	s.made("kind-1/below/file", engine.TypeRegular)
	s.contains(s.look("kind-1").Node, "below/")
	s.remove("kind-1/below/file")
	s.contains(s.look("kind-1/below").Node)
	class, err := s.MakeFile(s.ctx, s.place("reduced"), engine.MakeFileOptions{Class: engine.ClassReduced})
	s.ok(err, "make a file of another class")
	if info, err := s.Stat(s.ctx, s.ref("reduced"), engine.StatOptions{}); err != nil || info.Class != engine.ClassReduced || info.Sequence != class.Sequence {
		s.Errorf("the object is %+v, %v", info, err)
	}
	s.setVersioning(engine.VersioningEnabled)
	first := s.made("kept", engine.TypeRegular)
	s.unlinked("kept")
	second := s.made("kept", engine.TypeRegular) // a delete marker is no obstacle
	if first.Node == second.Node || first.Version == second.Version {
		s.Errorf("made anew after it was removed: %+v and %+v", first, second)
	}
	if got := s.stack("kept"); len(got) != 3 {
		s.Errorf("the versions are %q", got)
	}
}

func filesMakeErrors(s *suite) {
	s.put("file", nil)
	for _, o := range []engine.MakeFileOptions{
		{Type: engine.TypeBlockDevice + 1}, {Type: engine.TypeSymlink}, {Target: "t"}, {Type: engine.TypeDirectory, Target: "t"},
		{Type: engine.TypeSymlink, Target: strings.Repeat("t", engine.TargetBytesMax+1)}, {Type: engine.TypeSymlink, Target: "a\x00b"},
		{Attributes: engine.FileAttributes{Mode: 0o10000}}, {Attributes: engine.FileAttributes{Device: 1}},
	} {
		_, err := s.MakeFile(s.ctx, s.place("new"), o)
		s.fails(engine.KindInvalidArgument, err, "make %+v", o.Type)
	}
	inside := engine.Place{Bucket: s.bucket, Directory: s.look("file").Node, Name: "x"}
	_, err := s.MakeFile(s.ctx, inside, engine.MakeFileOptions{})
	s.fails(engine.KindNotDirectory, err, "make in a file")
	inside.Directory = 1 << 60
	_, err = s.MakeFile(s.ctx, inside, engine.MakeFileOptions{})
	s.fails(engine.KindNoSuchKey, err, "make in no directory")
	long := strings.Repeat("n", 200)
	path := long
	for range 4 {
		s.made(path, engine.TypeDirectory)
		path += "/" + long
	}
	_, err = s.MakeFile(s.ctx, s.place(path+strings.Repeat("n", engine.KeyBytesMax-len(path)+1)), engine.MakeFileOptions{})
	s.fails(engine.KindKeyTooLong, err, "make what has too long a key")
	_, err = s.MakeFile(s.ctx, s.place(path+strings.Repeat("n", engine.KeyBytesMax-len(path))), engine.MakeFileOptions{Type: engine.TypeDirectory})
	s.fails(engine.KindKeyTooLong, err, "make a directory whose key has no room for \"/\"")
	_, err = s.MakeFile(s.ctx, s.place(strings.Repeat("n", engine.KeyBytesMax+1)), engine.MakeFileOptions{})
	s.fails(engine.KindKeyTooLong, err, "make what has too long a name")
	longest := s.made(path+strings.Repeat("n", engine.KeyBytesMax-len(path)), engine.TypeRegular)
	if key, err := s.FileKey(s.ctx, s.node(longest.Node)); err != nil || len(key) != engine.KeyBytesMax {
		s.Errorf("the longest key has %d bytes, %v", len(key), err)
	}
	s.missing("new")
}

// filesLink: a file of several names is one, until a name gets another by key.
func filesLink(s *suite) {
	f := s.made("d", engine.TypeDirectory)
	s.put("a", content(1, 70_000))
	a := s.look("a")
	for i, path := range []string{"b", "d/c"} {
		info, err := s.LinkFile(s.ctx, s.node(a.Node), s.place(path))
		s.ok(err, "link %q", path)
		if info.Node != a.Node || info.Links != uint64(i+2) || s.look(path) != flat(info) {
			s.Errorf("linked as %q it is %+v", path, info)
		}
		s.holds(path, content(1, 70_000))
	}
	link := func(n engine.NodeID, at string) error {
		_, err := s.LinkFile(s.ctx, s.node(n), s.place(at))
		return err
	}
	s.fails(engine.KindExists, link(a.Node, "b"), "link under a name that is taken")
	s.fails(engine.KindExists, link(a.Node, "a"), "link under its own name")
	s.fails(engine.KindExists, link(a.Node, "d"), "link under the name of a directory")
	s.fails(engine.KindIsDirectory, link(f.Node, "e"), "link of a directory")
	s.fails(engine.KindNoSuchKey, link(1<<60, "e"), "link of nothing")
	_, err := s.LinkFile(s.ctx, s.node(a.Node), engine.Place{Bucket: s.bucket, Directory: a.Node, Name: "e"})
	s.fails(engine.KindNotDirectory, err, "link in a file")
	_, err = s.LinkFile(s.ctx, s.node(a.Node), engine.Place{Bucket: s.bucket, Directory: 1 << 60, Name: "e"})
	s.fails(engine.KindNoSuchKey, err, "link in no directory")
	_, err = s.LinkFile(s.ctx, s.node(a.Node), engine.Place{Bucket: s.newBucket(), Directory: engine.RootNode, Name: "e"})
	s.fails(engine.KindInvalidArgument, err, "link in another bucket")
	s.fails(engine.KindBucketState, s.SetVersioning(s.ctx, s.bucket, engine.VersioningEnabled), "versioning where a file has several names")

	changed := s.patched(a.Node, engine.Piece{Offset: 10, Length: 3, Body: strings.NewReader("XYZ")})
	mode := uint32(0o600)
	changed, err = s.SetFile(s.ctx, s.node(a.Node), engine.FileChange{Mode: &mode})
	s.ok(err, "set the mode")
	want := content(1, 70_000)
	copy(want[10:], "XYZ")
	for _, path := range []string{"a", "b", "d/c"} {
		if info := s.look(path); info != flat(changed) || info.Links != 3 || info.Attributes.Mode != 0o600 {
			s.Errorf("%q is %+v after a change to %+v", path, info, changed)
		}
		if got, info := s.get(path); !bytes.Equal(got, want) || info.ETag != changed.ETag || info.Key != engine.Key(path) || info.Sequence != changed.Sequence {
			s.Errorf("%q holds %s in %+v", path, brief(got), info)
		}
	}
	s.put("b", []byte("another file")) // by key: another node
	b := s.look("b")
	if a := s.look("a"); b.Node == a.Node || b.Links != 1 || b.Attributes.Set || a.Links != 2 {
		s.Errorf("what was put is %+v beside %+v", b, a)
	}
	s.remove("a")
	if c := s.look("d/c"); c.Node != a.Node || c.Links != 1 {
		s.Errorf("the last name is %+v", c)
	}
	if key, err := s.FileKey(s.ctx, s.node(a.Node)); err != nil || key != "d/c" {
		s.Errorf("the key is %q, %v", key, err)
	}
	s.ok(link(a.Node, "a"), "link again")
	s.unlinked("d/c")
	s.renamed("a", "d/e", engine.RenameOptions{})
	if e := s.look("d/e"); e.Node != a.Node || e.Links != 1 {
		s.Errorf("the renamed name is %+v", e)
	}
	s.unlinked("d/e")
	s.lost(a.Node, "stat of a file without names")
	for _, kind := range []engine.FileType{engine.TypeSymlink, engine.TypeFIFO, engine.TypeCharacterDevice} {
		from, to := fmt.Sprint("from-", kind), fmt.Sprint("to-", kind)
		n := s.made(from, kind).Node
		s.ok(link(n, to), "link of type %d", kind)
		if info := s.look(to); info.Type != kind || info.Node != n {
			s.Errorf("the other name is %+v", info)
		}
		s.unlinked(from)
	}
	s.setVersioning(engine.VersioningEnabled) // no file has several names any more
	s.fails(engine.KindBucketState, link(b.Node, "e"), "link where versions are kept")
	s.setVersioning(engine.VersioningSuspended)
	s.fails(engine.KindBucketState, link(b.Node, "e"), "link where versions were kept")
}

func filesLinksMany(s *suite) {
	n := s.made("f", engine.TypeRegular).Node
	s.made("d", engine.TypeDirectory)
	at := s.place("d/x")
	for i := 1; i < engine.LinksMax; i++ {
		at.Name = fmt.Sprint(i)
		_, err := s.LinkFile(s.ctx, s.node(n), at)
		s.ok(err, "name %d", i+1)
	}
	at.Name = "one more"
	_, err := s.LinkFile(s.ctx, s.node(n), at)
	s.fails(engine.KindTooManyLinks, err, "name %d", engine.LinksMax+1)
	info := s.patched(n, engine.Piece{Length: 3, Body: strings.NewReader("all")})
	if info.Links != engine.LinksMax {
		s.Errorf("the file is %+v", info)
	}
	s.look("d/1")
	if got, _ := s.get(fmt.Sprintf("d/%d", engine.LinksMax-1)); string(got) != "all" {
		s.Errorf("the last name has %q", got)
	}
	s.unlinked("d/7")
	_, err = s.LinkFile(s.ctx, s.node(n), at)
	s.ok(err, "a name in the place of another")
}

func filesRemove(s *suite) {
	s.made("d", engine.TypeDirectory)
	s.made("d/e", engine.TypeDirectory)
	s.put("d/f", []byte("f"))
	s.put("implicit/f", nil)
	remove := func(path string, directory bool) error {
		return s.RemoveFile(s.ctx, s.place(path), engine.RemoveFileOptions{Directory: directory})
	}
	s.fails(engine.KindIsDirectory, remove("d", false), "remove a directory as a file")
	s.fails(engine.KindNotDirectory, remove("d/f", true), "remove a file as a directory")
	s.fails(engine.KindNoSuchKey, remove("d/x", false), "remove nothing")
	s.fails(engine.KindNoSuchKey, remove("d/x", true), "remove no directory")
	s.fails(engine.KindNotEmpty, remove("d", true), "remove a directory that has names")
	s.fails(engine.KindNotEmpty, remove("implicit", true), "remove a directory that nobody made")
	f := s.look("d/f")
	s.ok(remove("d/f", false), "remove")
	s.absent("d/f")
	s.lost(f.Node, "stat of what was removed")
	s.fails(engine.KindNotEmpty, remove("d", true), "remove a directory that has a directory")
	s.ok(remove("d/e", true), "remove a directory")
	s.absent("d/e/")
	s.contains(s.look("d").Node)
	s.ok(remove("d", true), "remove the directory above")
	s.contains(engine.RootNode, "implicit/")
	s.unlinked("implicit/f")
	s.contains(engine.RootNode)
	s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of the empty bucket")

	s.bucket = s.newBucket()
	s.setVersioning(engine.VersioningEnabled)
	d := s.made("d", engine.TypeDirectory)
	s.put("d/f", []byte("f"))
	kept := s.look("d/f")
	s.ok(remove("d/f", false), "remove where versions are kept")
	s.absent("d/f")
	if got := s.stack("d/f"); len(got) != 2 || !strings.HasPrefix(got[0], "m") {
		s.Errorf("the versions are %q", got)
	}
	if got := s.bytesOf(kept.Node); string(got) != "f" { // the version is there, and its number with it
		s.Errorf("the version holds %q", got)
	}
	s.contains(d.Node)
	s.ok(remove("d", true), "remove a directory beneath which versions are")
	s.missing("d")
	s.lost(d.Node, "stat of a directory beneath which versions are")
}

// filesMove: what moves stays the same node, with all that is beneath.
func filesMove(s *suite) {
	s.made("d", engine.TypeDirectory)
	s.made("d/sub", engine.TypeDirectory)
	s.put("d/sub/f", content(3, 70_000))
	s.put("d/sub/deep/er/g", []byte("g"))
	s.put("h", []byte("h"))
	mode := uint32(0o700)
	_, err := s.SetFile(s.ctx, s.node(s.look("d/sub").Node), engine.FileChange{Mode: &mode})
	s.ok(err, "set the mode")
	s.ok(s.SetXattr(s.ctx, s.node(s.look("h").Node), "user.x", []byte("1"), engine.SetXattrOptions{}), "set an attribute")
	h, stat := s.look("h"), s.look("d/sub/f")
	reader, err := s.OpenFile(s.ctx, s.node(stat.Node), engine.OpenFileOptions{})
	s.ok(err, "open")
	s.moved("h", "d/h")
	s.missing("h")
	s.absent("h")
	s.holds("d/h", []byte("h"))
	if info := s.look("d/h"); info.Node != h.Node || info.ETag != h.ETag || info.Sequence != h.Sequence || !info.Modified.Equal(h.Modified) {
		s.Errorf("the moved file is %+v; it was %+v", info, h)
	}
	if value, err := s.Xattr(s.ctx, s.node(h.Node), "user.x"); err != nil || string(value) != "1" {
		s.Errorf("the attribute of the moved file is %q, %v", value, err)
	}
	nodes := map[string]engine.NodeID{}
	for _, path := range []string{"", "/f", "/deep", "/deep/er", "/deep/er/g"} {
		nodes[path] = s.look("d/sub" + path).Node
	}
	s.made("other", engine.TypeDirectory)
	for i, to := range []string{"d/sub2", "top", "other/x", "other/y"} {
		from := []string{"d/sub", "d/sub2", "top", "other/x"}[i]
		s.moved(from, to)
		s.missing(from)
		for path, n := range nodes {
			if got := s.look(to + path).Node; got != n {
				s.Errorf("after the move to %q, %q is node %d and was %d", to, path, got, n)
			}
		}
		s.holds(to+"/f", content(3, 70_000))
		s.holds(to+"/deep/er/g", []byte("g"))
		s.absent(from + "/f")
		if info := s.look(to); info.Attributes.Mode != mode {
			s.Errorf("the moved directory is %+v", info)
		}
		if key, err := s.FileKey(s.ctx, s.node(nodes["/deep/er"])); err != nil || key != engine.Key(to+"/deep/er/") {
			s.Errorf("the key of the directory beneath is %q, %v", key, err)
		}
	}
	var old bytes.Buffer
	_, err = reader.WriteTo(&old)
	s.ok(err, "read what moved")
	s.ok(reader.Close(), "close")
	if !bytes.Equal(old.Bytes(), content(3, 70_000)) {
		s.Errorf("a reader of what moved gives %s", brief(old.Bytes()))
	}

	s.put("replaced", []byte("replaced"))
	replaced := s.look("replaced")
	s.moved("d/h", "replaced")
	s.holds("replaced", []byte("h"))
	s.lost(replaced.Node, "stat of what was replaced")
	s.made("empty", engine.TypeDirectory)
	empty := s.look("empty")
	s.moved("other/y", "empty") // a directory takes the place of an empty one
	s.lost(empty.Node, "stat of the directory that was replaced")
	if info := s.look("empty"); info.Node != nodes[""] {
		s.Errorf("in the place of the empty directory is %+v", info)
	}
	s.contains(s.look("empty").Node, "deep/", "f")
	s.put("implicit/only", nil)
	implicit := s.look("implicit")
	s.made("implicit/gone", engine.TypeDirectory)
	s.moved("implicit/only", "implicit/renamed") // the directory is the same all the while
	s.put("x/y", nil)
	s.moved("x", "implicit/gone")
	if info := s.look("implicit"); info.Node != implicit.Node {
		s.Errorf("the directory is node %d and was %d", info.Node, implicit.Node)
	}
	s.absent("implicit/gone/")
	s.holds("implicit/gone/y", nil)
	s.missing("x")

	n := s.look("replaced").Node
	_, err = s.LinkFile(s.ctx, s.node(n), s.place("linked"))
	s.ok(err, "link")
	for _, o := range []engine.MoveFileOptions{{}, {NoReplace: true}, {Exchange: true}} {
		s.ok(s.MoveFile(s.ctx, s.place("replaced"), s.place("linked"), o), "move to another name of the same file, %+v", o)
		s.ok(s.MoveFile(s.ctx, s.place("empty"), s.place("empty"), o), "move of a directory to where it is, %+v", o)
		s.ok(s.MoveFile(s.ctx, s.place("linked"), s.place("linked"), o), "move of a file to where it is, %+v", o)
	}
	if a, b := s.look("replaced"), s.look("linked"); a != b || a.Links != 2 {
		s.Errorf("both names are %+v and %+v", a, b)
	}
	s.moved("linked", "implicit/linked")
	if a, b := s.look("replaced"), s.look("implicit/linked"); a != b || a.Links != 2 {
		s.Errorf("after a move of one both names are %+v and %+v", a, b)
	}
}

func filesMoveErrors(s *suite) {
	s.made("d", engine.TypeDirectory)
	s.made("d/e", engine.TypeDirectory)
	s.made("empty", engine.TypeDirectory)
	s.put("f", []byte("f"))
	s.put("g", []byte("g"))
	s.put("hidden/x", nil)
	try := func(kind engine.Kind, from, to string, o engine.MoveFileOptions) {
		s.Helper()
		s.fails(kind, s.MoveFile(s.ctx, s.place(from), s.place(to), o), "move %q to %q, %+v", from, to, o)
		s.contains(engine.RootNode, "d/", "empty/", "f", "g", "hidden/")
		s.contains(s.look("d").Node, "e/")
	}
	none, noReplace, exchange := engine.MoveFileOptions{}, engine.MoveFileOptions{NoReplace: true}, engine.MoveFileOptions{Exchange: true}
	try(engine.KindNoSuchKey, "x", "y", none)
	try(engine.KindNoSuchKey, "x", "f", none)
	try(engine.KindNoSuchKey, "f", "x", exchange)
	try(engine.KindNoSuchKey, "x", "f", exchange)
	try(engine.KindIsDirectory, "f", "d", none)
	try(engine.KindIsDirectory, "f", "empty", none)
	try(engine.KindNotDirectory, "d", "f", none)
	try(engine.KindNotEmpty, "empty", "d", none)
	try(engine.KindNotEmpty, "empty", "hidden", none)
	try(engine.KindInvalidArgument, "d", "d/x", none)
	try(engine.KindInvalidArgument, "d", "d/e/x", none)
	try(engine.KindInvalidArgument, "d", "d/e", none)
	try(engine.KindInvalidArgument, "d", "d/e", exchange)
	try(engine.KindInvalidArgument, "d/e", "d", exchange)
	try(engine.KindExists, "f", "g", noReplace)
	try(engine.KindExists, "f", "empty", noReplace)
	try(engine.KindExists, "d", "empty", noReplace)
	try(engine.KindInvalidArgument, "f", "x", engine.MoveFileOptions{NoReplace: true, Exchange: true})
	other, inFile, nowhere := s.place("x"), s.place("x"), s.place("x")
	other.Bucket, inFile.Directory, nowhere.Directory = s.newBucket(), s.look("f").Node, 1<<60
	s.fails(engine.KindInvalidArgument, s.MoveFile(s.ctx, s.place("f"), other, none), "move to another bucket")
	s.fails(engine.KindNotDirectory, s.MoveFile(s.ctx, s.place("f"), inFile, none), "move into a file")
	s.fails(engine.KindNotDirectory, s.MoveFile(s.ctx, inFile, s.place("f"), none), "move out of a file")
	s.fails(engine.KindNoSuchKey, s.MoveFile(s.ctx, s.place("f"), nowhere, none), "move into no directory")
	s.fails(engine.KindNoSuchKey, s.MoveFile(s.ctx, nowhere, s.place("f"), none), "move out of no directory")
	long := strings.Repeat("n", engine.KeyBytesMax-1)
	s.fails(engine.KindKeyTooLong, s.MoveFile(s.ctx, s.place("f"), s.place("d/"+long), none), "move to too long a key")
	s.fails(engine.KindKeyTooLong, s.MoveFile(s.ctx, s.place("d"), s.place(long), none), "move of a directory to where the keys beneath were too long")
	s.ok(s.MoveFile(s.ctx, s.place("f"), s.place("h"), noReplace), "move to a free name")
	s.holds("h", []byte("f"))
}

// filesExchange: two names change what they name.
func filesExchange(s *suite) {
	s.put("f", []byte("f"))
	s.put("d/g", []byte("g"))
	s.put("d/sub/x", []byte("x"))
	s.made("e", engine.TypeDirectory)
	s.made("e/sub", engine.TypeDirectory)
	exchange := func(from, to string) {
		s.Helper()
		a, b := s.look(from), s.look(to)
		s.ok(s.MoveFile(s.ctx, s.place(from), s.place(to), engine.MoveFileOptions{Exchange: true}), "exchange %q and %q", from, to)
		if got := s.look(to); got.Node != a.Node || got.Type != a.Type || got.ETag != a.ETag {
			s.Errorf("%q is %+v; %q was %+v", to, got, from, a)
		}
		if got := s.look(from); got.Node != b.Node || got.Type != b.Type || got.ETag != b.ETag {
			s.Errorf("%q is %+v; %q was %+v", from, got, to, b)
		}
	}
	subD, subE := s.look("d/sub"), s.look("e/sub")
	exchange("f", "d/g") // two files
	s.holds("f", []byte("g"))
	s.holds("d/g", []byte("f"))
	exchange("d", "e") // two directories, of which both have the same name beneath
	if d, e := s.look("d/sub"), s.look("e/sub"); d.Node != subE.Node || e.Node != subD.Node {
		s.Errorf("beneath are %+v and %+v", d, e)
	}
	s.holds("e/g", []byte("f"))
	s.holds("e/sub/x", []byte("x"))
	s.absent("d/g")
	exchange("f", "e") // a file and a directory
	s.holds("e", []byte("g"))
	s.holds("f/g", []byte("f"))
	exchange("f", "e") // and the other way
	s.holds("f", []byte("g"))
	s.holds("e/g", []byte("f"))
	s.put("e", []byte("hidden by the directory")) // and not to be lost by an exchange
	for _, names := range [][2]string{{"f", "e"}, {"e", "f"}} {
		s.fails(engine.KindExists, s.MoveFile(s.ctx, s.place(names[0]), s.place(names[1]), engine.MoveFileOptions{Exchange: true}), "exchange with a directory that hides an object")
	}
	s.holds("e", []byte("hidden by the directory"))
	exchange("d", "e") // another directory hides it then
	s.holds("e", []byte("hidden by the directory"))
	s.setVersioning(engine.VersioningEnabled)
	s.fails(engine.KindBucketState, s.MoveFile(s.ctx, s.place("d"), s.place("e"), engine.MoveFileOptions{Exchange: true}), "exchange where versions are kept")
}

// filesMoveVersions: where versions are kept a moved file leaves its history, and a moved directory takes that of all beneath along.
func filesMoveVersions(s *suite) {
	s.setVersioning(engine.VersioningEnabled)
	first := s.put("a", []byte("first"))
	_, err := s.Put(s.ctx, s.ref("a"), strings.NewReader("second"), engine.PutOptions{
		Size: 6, Attributes: engine.Attributes{ContentType: "x/y", User: map[string]string{"u": "v"}}, Tags: engine.Tags{"t": "1"},
	})
	s.ok(err, "put")
	mode := uint32(0o640)
	a, err := s.SetFile(s.ctx, s.node(s.look("a").Node), engine.FileChange{Mode: &mode})
	s.ok(err, "set the mode")
	s.ok(s.SetXattr(s.ctx, s.node(a.Node), "user.x", []byte("1"), engine.SetXattrOptions{}), "set an attribute")
	there := s.put("b", []byte("there"))
	s.moved("a", "b")
	b := s.look("b")
	if b.Node != a.Node || b.ETag != a.ETag || b.Version == a.Version || b.Attributes != a.Attributes || b.Links != 1 {
		s.Errorf("the moved file is %+v; it was %+v", b, a)
	}
	if value, err := s.Xattr(s.ctx, s.node(b.Node), "user.x"); err != nil || string(value) != "1" {
		s.Errorf("the attribute of the moved file is %q, %v", value, err)
	}
	if info, err := s.Stat(s.ctx, s.ref("b"), engine.StatOptions{}); err != nil || info.Attributes.ContentType != "x/y" || info.Attributes.User["u"] != "v" || info.Tags["t"] != "1" {
		s.Errorf("the moved object is %+v, %v", info, err)
	}
	s.absent("a")
	marker := engine.FormatVersion(b.Sequence - 1)
	s.isStack("a", "m"+string(marker), string(a.Version), string(first.Version))
	s.isStack("b", string(b.Version), string(there.Version))
	s.gives("a", a.Version, []byte("second"))
	s.gives("b", "", []byte("second"))
	old, err := s.Lookup(s.ctx, s.place("a"), a.Version)
	s.ok(err, "look up the older version")
	if old.Node == a.Node || old.Version != a.Version || old.ETag != a.ETag || old.Attributes != a.Attributes {
		s.Errorf("the older version is %+v; it was %+v", old, a)
	}
	_, err = s.Delete(s.ctx, s.version("a", marker), engine.DeleteOptions{})
	s.ok(err, "delete the marker")
	if info := s.look("a"); info.Node != old.Node {
		s.Errorf("the source is back as %+v; the older version was %+v", info, old)
	}

	s.made("d", engine.TypeDirectory)
	s.put("d/x", []byte("1"))
	x1 := s.look("d/x").Version
	s.put("d/x", []byte("2"))
	s.put("d/gone", []byte("3"))
	s.unlinked("d/gone")
	before := s.look("d/x")
	stacks := [][]string{s.stack("d/x"), s.stack("d/gone"), s.stack("d/")}
	s.moved("d", "e")
	if info := s.look("e/x"); info != before {
		s.Errorf("beneath the moved directory is %+v; it was %+v", info, before)
	}
	s.isStack("e/x", stacks[0]...)
	s.isStack("e/gone", stacks[1]...)
	s.isStack("e/", stacks[2]...)
	s.isStack("d/x")
	s.gives("e/x", x1, []byte("1"))
	s.made("d", engine.TypeDirectory)
	s.fails(engine.KindNotEmpty, s.MoveFile(s.ctx, s.place("e"), s.place("d"), engine.MoveFileOptions{}), "move to a directory that is a version")
	s.ok(s.RemoveFile(s.ctx, s.place("d"), engine.RemoveFileOptions{Directory: true}), "remove the directory")
	s.missing("d")
	s.fails(engine.KindNotEmpty, s.MoveFile(s.ctx, s.place("e"), s.place("d"), engine.MoveFileOptions{}), "move to where versions are")

	s.setVersioning(engine.VersioningSuspended)
	s.put("n", []byte("null"))
	n := s.look("n")
	s.moved("n", "m")
	s.isStack("n", "mnull")
	s.isStack("m", "null")
	if m := s.look("m"); m.Node != n.Node || m.Version != engine.NullVersion {
		s.Errorf("the moved null version is %+v; it was %+v", m, n)
	}
	s.moved("b", "m") // a version takes the place of the null version
	s.isStack("m", "null")
	s.gives("m", "", []byte("second"))
	if got := s.stack("b"); len(got) != 3 || got[0] != "mnull" {
		s.Errorf("the source has the versions %q", got)
	}
	s.lost(n.Node, "stat of the null version that was replaced")
}

// filesOpenInfo: who opens a file by its number is told of the object what Open tells, whatever the bucket does with versions and locks.
func filesOpenInfo(s *suite) {
	same := func(path string, v engine.VersionID, n engine.NodeID) {
		s.Helper()
		ref := engine.Ref{Bucket: s.bucket, Key: engine.Key(path), Version: v}
		byKey, err := s.Open(s.ctx, ref, engine.OpenOptions{})
		s.ok(err, "open by key")
		defer byKey.Close()
		byNode, err := s.OpenFile(s.ctx, s.node(n), engine.OpenFileOptions{})
		s.ok(err, "open by node")
		defer byNode.Close()
		if want, got := withoutTime(byKey.Info()), withoutTime(byNode.Info()); !reflect.DeepEqual(got, want) {
			s.Errorf("%q version %q is told of as\n%+v by its number\n%+v by its key", path, v, got, want)
		}
	}
	s.put("d/f", []byte("f"))
	same("d/f", "", s.look("d/f").Node)
	s.ok(s.SetVersioning(s.ctx, s.bucket, engine.VersioningEnabled), "enable versioning")
	first, err := s.Put(s.ctx, s.ref("d/f"), strings.NewReader("1"), engine.PutOptions{Size: 1})
	s.ok(err, "put")
	s.put("d/f", []byte("2"))
	same("d/f", "", s.look("d/f").Node)
	older, err := s.Lookup(s.ctx, s.place("d/f"), first.Version)
	s.ok(err, "look up a version")
	same("d/f", first.Version, older.Node)
	s.ok(s.SetVersioning(s.ctx, s.bucket, engine.VersioningSuspended), "suspend versioning")
	same("d/f", "", s.look("d/f").Node)
	s.bucket = newName()
	_, err = s.CreateBucket(s.ctx, s.bucket, engine.CreateBucketOptions{Lock: true})
	s.ok(err, "create bucket")
	_, err = s.Put(s.ctx, s.ref("g"), strings.NewReader("g"), engine.PutOptions{Size: 1, Lock: engine.Lock{Hold: true}})
	s.ok(err, "put")
	same("g", "", s.look("g").Node)
}

// filesMoveLocked: what is locked stays under its key; a file that moves leaves its locked version behind, and its node is locked as a new version is.
func filesMoveLocked(s *suite) {
	s.bucket = newName()
	_, err := s.CreateBucket(s.ctx, s.bucket, engine.CreateBucketOptions{Lock: true})
	s.ok(err, "create bucket")
	locked := engine.Lock{Retention: engine.Retention{Mode: engine.RetentionGovernance, Until: time.Now().Add(time.Hour)}}
	put, err := s.Put(s.ctx, s.ref("d/f"), strings.NewReader("f"), engine.PutOptions{Size: 1, Lock: locked})
	s.ok(err, "put")
	s.fails(engine.KindLocked, s.MoveFile(s.ctx, s.place("d"), s.place("e"), engine.MoveFileOptions{}), "move of a directory beneath which a version is locked")
	s.moved("d/f", "g")
	info, err := s.Stat(s.ctx, s.ref("g"), engine.StatOptions{})
	s.ok(err, "stat")
	if info.Lock.Mode != engine.RetentionNone {
		s.Errorf("the moved file is locked: %+v", info.Lock)
	}
	_, err = s.Delete(s.ctx, s.version("d/f", put.Version), engine.DeleteOptions{})
	s.fails(engine.KindLocked, err, "delete the version that stayed")
	_, err = s.Delete(s.ctx, s.version("d/f", put.Version), engine.DeleteOptions{Bypass: true})
	s.ok(err, "delete it nevertheless")
	s.ok(s.SetBucketLock(s.ctx, s.bucket, engine.BucketLock{Enabled: true, Mode: engine.RetentionGovernance, Days: 1}), "set the default")
	s.moved("g", "h")
	patched := s.patched(s.look("h").Node, engine.Piece{Length: 1, Body: strings.NewReader("F")})
	s.made("made", engine.TypeRegular)
	for _, key := range []string{"h", "made"} {
		if info, err = s.Stat(s.ctx, s.ref(key), engine.StatOptions{}); err != nil || info.Lock.Mode != engine.RetentionGovernance {
			s.Errorf("%q has the lock %+v, %v", key, info.Lock, err)
		}
	}
	if got := s.stack("h"); len(got) != 2 || got[0] != string(patched.Version) {
		s.Errorf("the patched file has the versions %q", got)
	}
	s.ok(s.SetBucketLock(s.ctx, s.bucket, engine.BucketLock{Enabled: true}), "set no default")
	s.patched(patched.Node, engine.Piece{Length: 1, Body: strings.NewReader("f")})
	if info, err = s.Stat(s.ctx, s.ref("h"), engine.StatOptions{}); err != nil || info.Lock.Mode != engine.RetentionNone {
		s.Errorf("the next version has the lock of the one before: %+v, %v", info.Lock, err)
	}
	s.unlinked("h") // a marker hides what is locked
	s.absent("h")
}

// filesSet: attributes and times are what was said last, and the content stays.
func filesSet(s *suite) {
	s.put("f", []byte("f"))
	s.made("d", engine.TypeDirectory)
	mode, uid, gid, flags := uint32(0o1234), uint32(1), uint32(1<<31), uint32(5)
	old, older := time.Unix(1_000_000_000, 123_456_789), time.Unix(-1_000_000_000, 1)
	for _, n := range []engine.NodeID{s.look("f").Node, s.look("d").Node, engine.RootNode} {
		f, before := s.node(n), s.stated(n)
		set := func(c engine.FileChange) engine.FileInfo {
			s.Helper()
			info, err := s.SetFile(s.ctx, f, c)
			s.ok(err, "set %+v of node %d", c, n)
			if stat := s.stated(n); stat != flat(info) {
				s.Errorf("node %d is %+v; SetFile answers %+v", n, stat, info)
			}
			return info
		}
		if info := set(engine.FileChange{Flags: &flags}); info.Attributes != (engine.FileAttributes{Flags: 5}) || info.Changed.Before(before.Changed) || info.Sequence != before.Sequence {
			s.Errorf("with flags node %d is %+v; it was %+v", n, info, before)
		}
		if info := set(engine.FileChange{UID: &uid}); info.Attributes != (engine.FileAttributes{Set: true, UID: uid, Flags: 5}) {
			s.Errorf("with an owner it is %+v", info)
		}
		info := set(engine.FileChange{Mode: &mode, GID: &gid, Modified: &old})
		if info.Attributes != (engine.FileAttributes{Set: true, Mode: mode, UID: uid, GID: gid, Flags: 5}) || !info.Modified.Equal(old) || !info.Accessed.Equal(old) || !info.Born.Equal(before.Born) {
			s.Errorf("with everything it is %+v", info)
		}
		info = set(engine.FileChange{Accessed: &older, Born: &old})
		if !info.Modified.Equal(old) || !info.Accessed.Equal(older) || !info.Born.Equal(old) {
			s.Errorf("with all times it is %+v", info)
		}
		info = set(engine.FileChange{Modified: &time.Time{}})
		if info.Modified.Before(before.Modified) || !info.Accessed.Equal(older) || info.ETag != before.ETag || info.Version != before.Version || info.Links != before.Links {
			s.Errorf("modified now it is %+v", info)
		}
		tooMuch, far, early := uint32(0o10000), time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1677, 12, 31, 0, 0, 0, 0, time.UTC)
		for _, c := range []engine.FileChange{{Mode: &tooMuch}, {Modified: &far}, {Accessed: &early}, {Born: &far}} {
			_, err := s.SetFile(s.ctx, f, c)
			s.fails(engine.KindInvalidArgument, err, "set %+v", c)
		}
	}
	s.holds("f", []byte("f"))
	f := s.look("f")
	for _, path := range []string{"g", "d/g"} {
		s.moved(map[string]string{"g": "f", "d/g": "g"}[path], path)
		if info := s.look(path); info.Attributes != f.Attributes || !info.Accessed.Equal(f.Accessed) || !info.Born.Equal(f.Born) {
			s.Errorf("moved to %q it is %+v; it was %+v", path, info, f)
		}
	}
	s.put("d/g", []byte("anew"))
	if info := s.look("d/g"); info.Attributes != (engine.FileAttributes{}) || info.Born.Equal(f.Born) {
		s.Errorf("what was put over the file is %+v", info)
	}
	_, err := s.SetFile(s.ctx, s.node(f.Node), engine.FileChange{Mode: &mode})
	s.fails(engine.KindNoSuchKey, err, "set what is gone")
}

func filesXattrs(s *suite) {
	s.put("f", []byte("f"))
	s.put("d/g", nil)
	create, replace, remove := engine.SetXattrOptions{Create: true}, engine.SetXattrOptions{Replace: true}, engine.SetXattrOptions{Remove: true}
	for _, n := range []engine.NodeID{s.look("f").Node, s.look("d").Node, engine.RootNode} {
		f := s.node(n)
		names := func(want ...string) {
			s.Helper()
			if got, err := s.Xattrs(s.ctx, f); err != nil || !slices.Equal(got, want) {
				s.Fatalf("node %d has the attributes %q, %v; want %q", n, got, err, want)
			}
		}
		set := func(name, value string, o engine.SetXattrOptions) {
			s.Helper()
			s.ok(s.SetXattr(s.ctx, f, name, []byte(value), o), "set %q of node %d", name, n)
			if got, err := s.Xattr(s.ctx, f, name); !o.Remove && (err != nil || string(got) != value) {
				s.Errorf("%q is %q, %v; want %q", name, got, err, value)
			}
		}
		names()
		set("user.b", "1", engine.SetXattrOptions{})
		set("user.a", "", create)
		set("user.b", "2", replace)
		set("user.b", "3", engine.SetXattrOptions{})
		set("größe\xff", strings.Repeat("v", engine.XattrBytesMax), create)
		set(strings.Repeat("n", engine.XattrNameBytesMax), "x", engine.SetXattrOptions{})
		names("größe\xff", strings.Repeat("n", engine.XattrNameBytesMax), "user.a", "user.b")
		s.fails(engine.KindExists, s.SetXattr(s.ctx, f, "user.a", nil, create), "make what is there")
		s.fails(engine.KindNoSuchAttribute, s.SetXattr(s.ctx, f, "user.c", nil, replace), "replace what is not there")
		s.fails(engine.KindNoSuchAttribute, s.SetXattr(s.ctx, f, "user.c", nil, remove), "remove what is not there")
		_, err := s.Xattr(s.ctx, f, "user.c")
		s.fails(engine.KindNoSuchAttribute, err, "read what is not there")
		s.fails(engine.KindEntityTooLarge, s.SetXattr(s.ctx, f, "user.a", make([]byte, engine.XattrBytesMax+1), replace), "too long a value")
		for _, name := range []string{"", "a\x00b", strings.Repeat("n", engine.XattrNameBytesMax+1)} {
			s.fails(engine.KindInvalidArgument, s.SetXattr(s.ctx, f, name, nil, engine.SetXattrOptions{}), "set %q", name)
		}
		s.fails(engine.KindInvalidArgument, s.SetXattr(s.ctx, f, "a", nil, engine.SetXattrOptions{Create: true, Replace: true}), "make and replace")
		set("user.a", "", remove)
		names("größe\xff", strings.Repeat("n", engine.XattrNameBytesMax), "user.b")
		for i := 3; i < engine.XattrsMax; i++ {
			set(fmt.Sprintf("user.%d", i), "x", create)
		}
		s.fails(engine.KindEntityTooLarge, s.SetXattr(s.ctx, f, "one more", nil, engine.SetXattrOptions{}), "too many")
		set("user.b", "4", engine.SetXattrOptions{})
	}
	f := s.look("f")
	s.patched(f.Node, engine.Piece{Length: 2, Body: strings.NewReader("ff")})
	s.moved("f", "d/f")
	if got, err := s.Xattrs(s.ctx, s.node(f.Node)); err != nil || len(got) != engine.XattrsMax {
		s.Errorf("after a patch and a move there are %d attributes, %v", len(got), err)
	}
	s.put("d/f", nil)
	if got, err := s.Xattrs(s.ctx, s.node(s.look("d/f").Node)); err != nil || len(got) != 0 {
		s.Errorf("what was put over the file has the attributes %q, %v", got, err)
	}
	_, err := s.Xattrs(s.ctx, s.node(f.Node))
	s.fails(engine.KindNoSuchKey, err, "attributes of what is gone")
	_, err = s.Xattr(s.ctx, s.node(f.Node), "user.b")
	s.fails(engine.KindNoSuchKey, err, "an attribute of what is gone")
	s.fails(engine.KindNoSuchKey, s.SetXattr(s.ctx, s.node(f.Node), "a", nil, engine.SetXattrOptions{}), "set an attribute of what is gone")
}

// filesByKey: what each operation by key does to nodes.
func filesByKey(s *suite) {
	s.put("d/a", content(1, 9000))
	d, a := s.look("d"), s.look("d/a")
	same := func(what, path string) {
		s.Helper()
		if got := s.look(path); got.Node != a.Node {
			s.Errorf("after %s %q is node %d and was %d", what, path, got.Node, a.Node)
		}
	}
	_, err := s.SetTags(s.ctx, s.ref("d/a"), engine.Tags{"t": "1"})
	s.ok(err, "set tags")
	same("new tags", "d/a")
	s.renamed("d/a", "d/b", engine.RenameOptions{})
	same("a rename", "d/b")
	if got := s.look("d").Node; got != d.Node {
		s.Errorf("the directory is node %d and was %d", got, d.Node)
	}
	_, err = s.RenamePrefix(s.ctx, s.bucket, "d/", "e/f/")
	s.ok(err, "rename the prefix")
	same("a rename of the prefix", "e/f/b")
	if got := s.look("e/f").Node; got != d.Node {
		s.Errorf("the renamed directory is node %d and was %d", got, d.Node)
	}
	s.missing("d")
	_, err = s.LinkFile(s.ctx, s.node(a.Node), s.place("link"))
	s.ok(err, "link")
	_, err = s.SetTags(s.ctx, s.ref("link"), engine.Tags{"t": "2"})
	s.ok(err, "set tags")
	if info, err := s.Stat(s.ctx, s.ref("e/f/b"), engine.StatOptions{}); err != nil || info.Tags["t"] != "2" {
		s.Errorf("the tags of the other name are %v, %v", info.Tags, err)
	}
	_, err = s.Copy(s.ctx, s.ref("link"), s.ref("copy"), engine.CopyOptions{})
	s.ok(err, "copy")
	if info := s.look("copy"); info.Node == a.Node || info.Links != 1 {
		s.Errorf("the copy is %+v", info)
	}
	_, err = s.Append(s.ctx, s.ref("link"), strings.NewReader("more"), engine.AppendOptions{Offset: 9000, Size: 4})
	s.ok(err, "append")
	if info := s.look("link"); info.Node == a.Node || info.Size != 9004 || info.Links != 1 {
		s.Errorf("what was appended to is %+v", info)
	}
	same("an append to another name", "e/f/b")
	s.holds("e/f/b", content(1, 9000))
	upload, err := s.StartUpload(s.ctx, s.ref("e/f/b"), engine.StartUploadOptions{})
	s.ok(err, "start upload")
	part, err := s.PutPart(s.ctx, s.ref("e/f/b"), upload.ID, 1, strings.NewReader("part"), engine.PutPartOptions{Size: 4})
	s.ok(err, "put part")
	_, err = s.CompleteUpload(s.ctx, s.ref("e/f/b"), upload.ID, engine.CompleteUploadOptions{Parts: []engine.CompletePart{{Number: 1, ETag: part.ETag}}, Size: -1})
	s.ok(err, "complete")
	s.lost(a.Node, "stat of what an upload replaced")
	if got := s.bytesOf(s.look("e/f/b").Node); string(got) != "part" {
		s.Errorf("the uploaded file holds %q", got)
	}
}

// filesDirectoryIdentity: a directory is the same as long as anything has its prefix, and its own things last as long.
func filesDirectoryIdentity(s *suite) {
	mode := uint32(0o711)
	s.put("d/a", nil)
	d := s.look("d")
	_, err := s.SetFile(s.ctx, s.node(d.Node), engine.FileChange{Mode: &mode})
	s.ok(err, "set the mode")
	s.put("d/b", nil)
	s.remove("d/a")
	if info := s.look("d"); info.Node != d.Node || info.Attributes.Mode != mode {
		s.Errorf("the directory is %+v; it was %+v", info, d)
	}
	old := time.Unix(1_000_000_000, 0)
	for i, change := range []func(){
		func() { s.put("d/x/y", nil) }, func() { s.remove("d/x/y") }, func() { s.made("d/z", engine.TypeFIFO) }, func() { s.moved("d/z", "z") },
	} {
		_, err := s.SetFile(s.ctx, s.node(d.Node), engine.FileChange{Modified: &old})
		s.ok(err, "set the time")
		if change(); !s.look("d").Modified.After(old) {
			s.Errorf("after change %d of its names the directory is %+v", i, s.look("d"))
		}
	}
	s.remove("d/b")
	s.put("d/c", nil)
	if info := s.look("d"); info.Node == d.Node || info.Attributes.Set {
		s.Errorf("a directory that came anew is %+v; the former was %+v", info, d)
	}
	s.setVersioning(engine.VersioningEnabled)
	d = s.look("d")
	_, err = s.SetFile(s.ctx, s.node(d.Node), engine.FileChange{Mode: &mode})
	s.ok(err, "set the mode")
	s.remove("d/c")
	s.missing("d")
	s.lost(d.Node, "stat of a directory of markers")
	_, err = s.SetFile(s.ctx, s.node(d.Node), engine.FileChange{Mode: &mode})
	s.fails(engine.KindNoSuchKey, err, "set a directory of markers")
	_, err = s.MakeFile(s.ctx, engine.Place{Bucket: s.bucket, Directory: d.Node, Name: "x"}, engine.MakeFileOptions{})
	s.fails(engine.KindNoSuchKey, err, "make in a directory of markers")
	s.put("d/e", nil)
	if info := s.look("d"); info.Node != d.Node || info.Attributes.Mode != mode {
		s.Errorf("the directory is back as %+v; it was %+v", info, d)
	}
	s.remove("d/e")
	if made := s.made("d", engine.TypeDirectory); made.Node != d.Node {
		s.Errorf("the directory is made again as %+v; it was %+v", made, d)
	}
}

// filesVersions: older versions are files of their own, which are read and not changed.
func filesVersions(s *suite) {
	s.setVersioning(engine.VersioningEnabled)
	s.put("d/f", []byte("first"))
	first := s.look("d/f")
	s.put("d/f", []byte("second"))
	second := s.look("d/f")
	if first.Node == second.Node {
		s.Errorf("a Put kept the node: %+v and %+v", first, second)
	}
	old, err := s.Lookup(s.ctx, s.place("d/f"), first.Version)
	s.ok(err, "look up the first version")
	if old.Node != first.Node || old.Version != first.Version || old.Size != 5 || old.Links != 1 {
		s.Errorf("the first version is %+v; it was %+v", old, first)
	}
	f := s.node(old.Node)
	if got := s.bytesOf(old.Node); string(got) != "first" {
		s.Errorf("the first version holds %q", got)
	}
	if key, err := s.FileKey(s.ctx, f); err != nil || key != "d/f" {
		s.Errorf("its key is %q, %v", key, err)
	}
	if names, err := s.Xattrs(s.ctx, f); err != nil || len(names) != 0 {
		s.Errorf("its attributes are %q, %v", names, err)
	}
	if at, err := s.SeekFile(s.ctx, f, 1, true); err != nil || at != 5 {
		s.Errorf("its hole is at %d, %v", at, err)
	}
	mode := uint32(1)
	_, err = s.SetFile(s.ctx, f, engine.FileChange{Mode: &mode})
	s.fails(engine.KindBucketState, err, "set an older version")
	s.fails(engine.KindBucketState, s.SetXattr(s.ctx, f, "a", nil, engine.SetXattrOptions{}), "set an attribute of an older version")
	_, err = s.PatchFile(s.ctx, f, engine.Patch{Pieces: []engine.Piece{{Length: 1, Body: strings.NewReader("x")}}})
	s.fails(engine.KindBucketState, err, "patch an older version")
	_, err = s.Lookup(s.ctx, s.place("d/f"), engine.FormatVersion(1<<40))
	s.fails(engine.KindNoSuchVersion, err, "look up no version")
	_, err = s.Lookup(s.ctx, s.place("d/f"), engine.NullVersion)
	s.fails(engine.KindNoSuchVersion, err, "look up no null version")
	_, err = s.Lookup(s.ctx, s.place("d/f"), "not a version")
	s.fails(engine.KindInvalidArgument, err, "look up what is no version")
	marker, err := s.Delete(s.ctx, s.ref("d/f"), engine.DeleteOptions{})
	s.ok(err, "delete")
	s.put("d/g", nil)
	s.missing("d/f")
	_, err = s.Lookup(s.ctx, s.place("d/f"), marker.Version)
	s.fails(engine.KindNoSuchVersion, err, "look up a delete marker, which is no file")
	if info, err := s.Lookup(s.ctx, s.place("d/f"), second.Version); err != nil || info.Node != second.Node {
		s.Errorf("the version under the marker is %+v, %v", info, err)
	}
	_, err = s.Delete(s.ctx, s.version("d/f", second.Version), engine.DeleteOptions{})
	s.ok(err, "delete the second version")
	s.lost(second.Node, "stat of a version that was deleted")
}

func filesUsage(s *suite) {
	is := func(prefix string, want engine.PrefixInfo) {
		s.Helper()
		if got, err := s.Usage(s.ctx, s.bucket, prefix); err != nil || got != want {
			s.Errorf("beneath %q is %+v, %v; want %+v", prefix, got, err, want)
		}
	}
	is("", engine.PrefixInfo{})
	is("a/", engine.PrefixInfo{})
	s.put("a/b/c", content(1, 100))
	s.put("a/b/d", content(1, 10_000))
	s.put("a/bb", content(1, 1))
	s.put("x", content(1, 7))
	s.made("a/e", engine.TypeDirectory)
	is("", engine.PrefixInfo{Objects: 5, Bytes: 10_108, Versions: 5})
	is("a/", engine.PrefixInfo{Objects: 4, Bytes: 10_101, Versions: 4})
	is("a/b/", engine.PrefixInfo{Objects: 2, Bytes: 10_100, Versions: 2})
	is("a/e/", engine.PrefixInfo{Objects: 1, Versions: 1})
	is("x/", engine.PrefixInfo{})
	s.patched(s.look("a/b/c").Node, engine.Piece{Offset: 90, Length: 1000})
	is("a/b/", engine.PrefixInfo{Objects: 2, Bytes: 11_090, Versions: 2})
	s.moved("a/b", "y")
	is("y/", engine.PrefixInfo{Objects: 2, Bytes: 11_090, Versions: 2})
	is("a/", engine.PrefixInfo{Objects: 2, Bytes: 1, Versions: 2})
	s.setVersioning(engine.VersioningEnabled)
	s.put("y/c", content(1, 5))
	is("y/", engine.PrefixInfo{Objects: 2, Bytes: 10_005, Versions: 3})
	s.remove("y/d")
	is("y/", engine.PrefixInfo{Objects: 1, Bytes: 5, Versions: 4})
	held, err := s.Usage(s.ctx, s.bucket, "")
	s.ok(err, "usage of the bucket")
	if space, err := s.Space(s.ctx, s.bucket); err != nil || space.Held != held || space.Free <= 0 || space.Free > space.Total {
		s.Errorf("the room is %+v, %v; the bucket holds %+v", space, err, held)
	}
	_, err = s.Space(s.ctx, "no-such-bucket")
	s.fails(engine.KindNoSuchBucket, err, "space of no bucket")
	for _, prefix := range []string{"a", "/a", strings.Repeat("a", engine.KeyBytesMax) + "/"} {
		_, err := s.Usage(s.ctx, s.bucket, prefix)
		s.fails(engine.KindInvalidArgument, err, "usage of %q", prefix)
	}
}

// filesNowhere: every method says that there is no such bucket, no such node, or that the caller gave up.
func filesNowhere(s *suite) {
	s.put("f", []byte("f"))
	node := s.look("f").Node
	canceled, cancel := context.WithCancel(s.ctx)
	cancel()
	for _, c := range []struct {
		kind   engine.Kind
		ctx    context.Context
		bucket engine.BucketName
		node   engine.NodeID
	}{
		{engine.KindNoSuchBucket, s.ctx, "no-such-bucket", engine.RootNode},
		{engine.KindInvalidArgument, s.ctx, "No Bucket", engine.RootNode},
		{engine.KindNoSuchKey, s.ctx, s.bucket, 1 << 60},
		{engine.KindCanceled, canceled, s.bucket, node},
	} {
		f, at := engine.File{Bucket: c.bucket, Node: c.node}, engine.Place{Bucket: c.bucket, Directory: c.node, Name: "x"}
		for name, call := range map[string]func() error{
			"look up":  func() error { _, err := s.Lookup(c.ctx, at, ""); return err },
			"stat":     func() error { _, err := s.StatFile(c.ctx, f); return err },
			"key":      func() error { _, err := s.FileKey(c.ctx, f); return err },
			"list":     func() error { _, err := s.ListDirectory(c.ctx, f, engine.ListDirectoryOptions{}); return err },
			"make":     func() error { _, err := s.MakeFile(c.ctx, at, engine.MakeFileOptions{}); return err },
			"link":     func() error { _, err := s.LinkFile(c.ctx, f, at); return err },
			"remove":   func() error { return s.RemoveFile(c.ctx, at, engine.RemoveFileOptions{}) },
			"move":     func() error { return s.MoveFile(c.ctx, at, at, engine.MoveFileOptions{}) },
			"set":      func() error { _, err := s.SetFile(c.ctx, f, engine.FileChange{}); return err },
			"xattr":    func() error { _, err := s.Xattr(c.ctx, f, "a"); return err },
			"xattrs":   func() error { _, err := s.Xattrs(c.ctx, f); return err },
			"setxattr": func() error { return s.SetXattr(c.ctx, f, "a", nil, engine.SetXattrOptions{}) },
			"open":     func() error { _, err := s.OpenFile(c.ctx, f, engine.OpenFileOptions{}); return err },
			"patch":    func() error { _, err := s.PatchFile(c.ctx, f, engine.Patch{}); return err },
			"seek":     func() error { _, err := s.SeekFile(c.ctx, f, 0, true); return err },
			"stage": func() error {
				if c.kind == engine.KindNoSuchKey {
					return engine.E(c.kind, "it names no node")
				}
				_, err := s.StageFile(c.ctx, c.bucket, strings.NewReader("x"), engine.StageOptions{Size: 1})
				return err
			},
			"usage": func() error {
				if c.kind == engine.KindNoSuchKey {
					return engine.E(c.kind, "it names no node")
				}
				_, err := s.Usage(c.ctx, c.bucket, "")
				return err
			},
		} {
			s.fails(c.kind, call(), "%s, where the answer is %v", name, c.kind)
		}
	}
}

// concurrentFiles: of those who race for a name one gets it, and a directory is not removed from under what is made in it.
func concurrentFiles(s *suite) {
	d := s.made("d", engine.TypeDirectory)
	const racers = 8
	for i := range racers {
		s.made(fmt.Sprintf("from-%d", i), engine.TypeRegular)
	}
	for round := range 4 {
		made, moved := make([]error, racers), make([]error, racers)
		var all sync.WaitGroup
		for i := range racers {
			from, to := s.place(fmt.Sprintf("from-%d", i)), s.place(fmt.Sprintf("moved-%d", round))
			at := engine.Place{Bucket: s.bucket, Directory: d.Node, Name: fmt.Sprintf("made-%d", round)}
			all.Go(func() {
				_, made[i] = s.MakeFile(s.ctx, at, engine.MakeFileOptions{})
				moved[i] = s.MoveFile(s.ctx, from, to, engine.MoveFileOptions{NoReplace: true})
			})
		}
		all.Wait()
		for what, errs := range map[string][]error{"make": made, "move": moved} {
			won := 0
			for i, err := range errs {
				if err == nil {
					won++
				} else if !engine.Is(err, engine.KindExists) && !engine.Is(err, engine.KindNoSuchKey) {
					s.Errorf("racer %d of %s: %v", i, what, err)
				}
			}
			if won != 1 {
				s.Errorf("%d racers won the %s: %v", won, what, errors.Join(errs...))
			}
		}
	}
	for round := range 8 {
		path := fmt.Sprintf("r%d", round)
		n := s.made(path, engine.TypeDirectory).Node
		var makes, removes error
		var both sync.WaitGroup
		both.Go(func() {
			_, makes = s.MakeFile(s.ctx, engine.Place{Bucket: s.bucket, Directory: n, Name: "x"}, engine.MakeFileOptions{})
		})
		both.Go(func() {
			removes = s.RemoveFile(s.ctx, engine.Place{Bucket: s.bucket, Directory: engine.RootNode, Name: path}, engine.RemoveFileOptions{Directory: true})
		})
		both.Wait()
		switch {
		case makes == nil && engine.Is(removes, engine.KindNotEmpty):
			s.holds(path+"/x", nil)
		case removes == nil && engine.Is(makes, engine.KindNoSuchKey):
			s.missing(path)
		default:
			s.Errorf("made in a directory that was removed: %v and %v", makes, removes)
		}
	}
}

// concurrentMoves: who looks while directories move sees them in one place, and with all that is in them.
func concurrentMoves(s *suite) {
	s.put("x/sub/f", []byte("f"))
	s.put("y/g", []byte("g"))
	x := s.look("x")
	watched, stop := s.node(x.Node), make(chan struct{})
	var watchers sync.WaitGroup
	failed := make(chan error, 4)
	for range 2 {
		watchers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				page, err := s.ListDirectory(s.ctx, s.node(engine.RootNode), engine.ListDirectoryOptions{})
				seen := 0
				for _, entry := range page.Entries {
					if entry.Info.Node == x.Node {
						seen++
					}
				}
				if err == nil && (seen != 1 || len(page.Entries) != 2) {
					err = fmt.Errorf("the root has %+v", page.Entries)
				}
				if err == nil {
					var sub engine.FileInfo
					if sub, err = s.Lookup(s.ctx, engine.Place{Bucket: s.bucket, Directory: watched.Node, Name: "sub"}, ""); err == nil {
						_, err = s.Lookup(s.ctx, engine.Place{Bucket: s.bucket, Directory: sub.Node, Name: "f"}, "")
					}
				}
				if err == nil {
					var key engine.Key
					if key, err = s.FileKey(s.ctx, watched); err == nil && key != "x/" && key != "y/" && key != "z/" {
						err = fmt.Errorf("the key is %q", key)
					}
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	ended := sync.OnceFunc(func() { close(stop); watchers.Wait() })
	defer ended()
	for range 10 {
		s.moved("x", "z")
		s.moved("z", "x")
		s.ok(s.MoveFile(s.ctx, s.place("x"), s.place("y"), engine.MoveFileOptions{Exchange: true}), "exchange")
		s.ok(s.MoveFile(s.ctx, s.place("x"), s.place("y"), engine.MoveFileOptions{Exchange: true}), "exchange back")
	}
	ended()
	close(failed)
	for err := range failed {
		s.Errorf("who looked meanwhile: %v", err)
	}
	s.holds("x/sub/f", []byte("f"))
	s.holds("y/g", []byte("g"))
}
