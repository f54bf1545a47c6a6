package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/engine"
)

var feedCases = []struct {
	name string
	run  func(s *suite)
}{
	{"FeedCursors", feedCursors},
	{"FeedErrors", feedErrors},
	{"FeedKinds", feedKinds},
	{"FeedVersions", feedVersions},
	{"FeedPages", feedPages},
	{"FeedWaits", feedWaits},
	{"FeedExpand", feedExpand},
	{"FeedExpandReplaced", feedExpandReplaced},
	{"FeedExpandPatched", feedExpandPatched},
	{"FeedExpandLost", feedExpandLost},
	{"FeedExchange", feedExchange},
	{"FeedLinks", feedLinks},
	{"FeedRemovedBucket", feedRemovedBucket},
	{"FeedRandom", feedRandom},
}

// follows opens a cursor on the case's bucket, which is empty.
func (s *suite) follows(name string) *Follower {
	s.Helper()
	f, err := Follow(s.ctx, s.Engine, s.bucket, name, 3)
	s.ok(err, "open the cursor %q", name)
	return f
}

// caughtUp has a follower apply what there is, and compares its mirror with the bucket.
func (s *suite) caughtUp(f *Follower) []engine.Change {
	s.Helper()
	changes, err := f.CatchUp(s.ctx)
	s.ok(err, "catch up")
	s.ok(f.Differs(s.ctx), "the mirror of %s", f.bucket)
	return changes
}

// kinds lists the kinds of changes.
func kinds(changes []engine.Change) (list []string) {
	for _, c := range changes {
		list = append(list, c.Kind.String())
	}
	return list
}

// feedCursors: a cursor begins behind what was, is found again, moves forward alone, and ends.
func feedCursors(s *suite) {
	s.put("before", nil)
	a, err := s.OpenCursor(s.ctx, s.bucket, "a")
	s.ok(err, "open")
	if a.Name != "a" || a.Lost || a.Position != a.Last || a.Behind() != 0 {
		s.Errorf("a new cursor is %+v", a)
	}
	info := s.put("k", []byte("1"))
	if info.Sequence != a.Position+1 {
		s.Errorf("the change behind %d is %d", a.Position, info.Sequence)
	}
	again, err := s.OpenCursor(s.ctx, s.bucket, "a")
	s.ok(err, "open again")
	if again.Position != a.Position || again.Last != info.Sequence || again.Behind() != 1 {
		s.Errorf("the cursor was %+v, and is %+v", a, again)
	}
	b, err := s.OpenCursor(s.ctx, s.bucket, "b")
	s.ok(err, "open another")
	if b.Position != info.Sequence {
		s.Errorf("another begins at %d, not %d", b.Position, info.Sequence)
	}
	page, err := s.Changes(s.ctx, s.bucket, "a", engine.ChangesOptions{})
	s.ok(err, "changes")
	if len(page.Changes) != 1 || page.Changes[0].Key != "k" || page.Last != info.Sequence || page.Truncated {
		s.Errorf("the changes are %+v", page)
	}
	s.put("l", nil)
	s.ok(s.MoveCursor(s.ctx, s.bucket, "a", info.Sequence), "move")
	s.ok(s.MoveCursor(s.ctx, s.bucket, "a", a.Position), "move back, which does nothing")
	list, err := s.ListCursors(s.ctx, s.bucket)
	s.ok(err, "list")
	if len(list) != 2 || list[0].Name != "a" || list[0].Position != info.Sequence || list[1].Name != "b" || list[1].Last != info.Sequence+1 {
		s.Errorf("the cursors are %+v", list)
	}
	page, err = s.Changes(s.ctx, s.bucket, "a", engine.ChangesOptions{After: info.Sequence + 1})
	s.ok(err, "changes behind the last")
	if len(page.Changes) != 0 || page.Last != info.Sequence+1 {
		s.Errorf("behind the last change are %+v", page)
	}
	reset, err := s.ResetCursor(s.ctx, s.bucket, "b")
	s.ok(err, "reset")
	if reset.Position != info.Sequence+1 {
		s.Errorf("a cursor that is reset is %+v", reset)
	}
	for range 2 {
		s.ok(s.CloseCursor(s.ctx, s.bucket, "a"), "close")
	}
	_, err = s.Changes(s.ctx, s.bucket, "a", engine.ChangesOptions{})
	s.fails(engine.KindNoSuchKey, err, "changes of a cursor that ended")
	s.ok(s.CloseCursor(s.ctx, s.bucket, "b"), "close the last")
	s.put("unseen", nil)
	f := s.follows("a")
	s.put("seen", nil)
	if changes, err := f.CatchUp(s.ctx); err != nil || len(changes) != 1 || changes[0].Key != "seen" {
		s.Errorf("a cursor that began anew has %+v, %v", changes, err)
	}
}

// feedErrors: limits, and what is not there.
func feedErrors(s *suite) {
	long := strings.Repeat("c", engine.CursorNameBytesMax)
	_, err := s.OpenCursor(s.ctx, s.bucket, long)
	s.ok(err, "the longest name")
	for _, name := range []string{"", long + "c"} {
		_, err := s.OpenCursor(s.ctx, s.bucket, name)
		s.fails(engine.KindInvalidArgument, err, "open a cursor with a name of %d bytes", len(name))
	}
	missing := newName()
	for what, call := range map[string]func(bucket engine.BucketName, cursor string) error{
		"changes": func(b engine.BucketName, c string) error {
			_, err := s.Changes(s.ctx, b, c, engine.ChangesOptions{})
			return err
		},
		"move":  func(b engine.BucketName, c string) error { return s.MoveCursor(s.ctx, b, c, 0) },
		"reset": func(b engine.BucketName, c string) error { _, err := s.ResetCursor(s.ctx, b, c); return err },
		"expand": func(b engine.BucketName, c string) error {
			_, err := s.Expand(s.ctx, b, c, 1, engine.ExpandOptions{})
			return err
		},
	} {
		s.fails(engine.KindNoSuchKey, call(s.bucket, "absent"), "%s of a cursor that is not there", what)
		s.fails(engine.KindNoSuchBucket, call(missing, long), "%s in a bucket that is not there", what)
		s.fails(engine.KindInvalidArgument, call(s.bucket, ""), "%s without a name", what)
	}
	_, err = s.OpenCursor(s.ctx, missing, "c")
	s.fails(engine.KindNoSuchBucket, err, "open in a bucket that is not there")
	_, err = s.ListCursors(s.ctx, missing)
	s.fails(engine.KindNoSuchBucket, err, "list in a bucket that is not there")
	s.fails(engine.KindNoSuchBucket, s.CloseCursor(s.ctx, missing, "c"), "close in a bucket that is not there")

	info := s.put("k", nil)
	s.fails(engine.KindInvalidArgument, s.MoveCursor(s.ctx, s.bucket, long, info.Sequence+1), "move beyond the last change")
	_, err = s.Expand(s.ctx, s.bucket, long, info.Sequence, engine.ExpandOptions{})
	s.fails(engine.KindInvalidArgument, err, "expand a put")
	_, err = s.Expand(s.ctx, s.bucket, long, info.Sequence+1, engine.ExpandOptions{})
	s.fails(engine.KindInvalidArgument, err, "expand what has not been")
	_, err = s.Changes(s.ctx, s.bucket, long, engine.ChangesOptions{Max: -1})
	s.fails(engine.KindInvalidArgument, err, "a page of -1 changes")
	_, err = s.Expand(s.ctx, s.bucket, long, info.Sequence, engine.ExpandOptions{Max: -1})
	s.fails(engine.KindInvalidArgument, err, "a page of -1 keys")
	s.put("l", nil)
	s.ok(s.MoveCursor(s.ctx, s.bucket, long, info.Sequence+1), "move")
	_, err = s.Changes(s.ctx, s.bucket, long, engine.ChangesOptions{After: info.Sequence})
	s.fails(engine.KindInvalidArgument, err, "changes before the cursor")
	_, err = s.Expand(s.ctx, s.bucket, long, info.Sequence, engine.ExpandOptions{})
	s.fails(engine.KindInvalidArgument, err, "expand what the cursor has passed")

	for i := range engine.CursorsMax - 1 {
		_, err := s.OpenCursor(s.ctx, s.bucket, fmt.Sprint(i))
		s.ok(err, "cursor %d", i)
	}
	_, err = s.OpenCursor(s.ctx, s.bucket, "too many")
	s.fails(engine.KindEntityTooLarge, err, "one cursor too many")
	_, err = s.OpenCursor(s.ctx, s.bucket, "0")
	s.ok(err, "find one of as many as there may be")
}

// feedKinds: each way in which a bucket without versions changes is one change, of its kind.
func feedKinds(s *suite) {
	f := s.follows("f")
	info := s.put("d/k", []byte("1"))
	_, err := s.Copy(s.ctx, s.ref("d/k"), s.ref("d/copy"), engine.CopyOptions{})
	s.ok(err, "copy")
	_, err = s.Append(s.ctx, s.ref("d/k"), bytes.NewReader([]byte("2")), engine.AppendOptions{Size: 1, Offset: 1})
	s.ok(err, "append")
	_, err = s.SetTags(s.ctx, s.ref("d/k"), engine.Tags{"a": "b"})
	s.ok(err, "tags")
	_, err = s.Rename(s.ctx, s.ref("d/copy"), s.ref("e/moved"), engine.RenameOptions{})
	s.ok(err, "rename")
	_, err = s.RenamePrefix(s.ctx, s.bucket, "d/", "e/f/")
	s.ok(err, "rename prefix")
	s.ok(s.SetDocument(s.ctx, s.bucket, engine.DocumentTagging, []byte("x")), "document")
	at := func(name string) engine.Place {
		return engine.Place{Bucket: s.bucket, Directory: engine.RootNode, Name: name}
	}
	made, err := s.MakeFile(s.ctx, at("dir"), engine.MakeFileOptions{Type: engine.TypeDirectory})
	s.ok(err, "make a directory")
	file, err := s.MakeFile(s.ctx, at("file"), engine.MakeFileOptions{})
	s.ok(err, "make a file")
	node := engine.File{Bucket: s.bucket, Node: file.Node}
	mode, size := uint32(0o600), int64(10)
	_, err = s.SetFile(s.ctx, engine.File{Bucket: s.bucket, Node: made.Node}, engine.FileChange{Mode: &mode})
	s.ok(err, "set a directory")
	s.ok(s.SetXattr(s.ctx, node, "user.a", []byte("x"), engine.SetXattrOptions{}), "set xattr")
	_, err = s.LinkFile(s.ctx, node, at("link"))
	s.ok(err, "link")
	_, err = s.PatchFile(s.ctx, node, engine.Patch{Size: &size})
	s.ok(err, "patch")
	s.ok(s.RemoveFile(s.ctx, at("file"), engine.RemoveFileOptions{}), "unlink")
	s.ok(s.MoveFile(s.ctx, at("e"), at("dir"), engine.MoveFileOptions{}), "move onto an empty directory")
	s.ok(s.MoveFile(s.ctx, at("dir"), at("link"), engine.MoveFileOptions{Exchange: true}), "exchange a directory and a file")
	owner, err := s.OpenOwner(s.ctx, s.bucket, "")
	s.ok(err, "open owner")
	temporary, err := s.MakeTemporary(s.ctx, s.bucket, owner, engine.MakeFileOptions{})
	s.ok(err, "temporary")
	_, err = s.PatchFile(s.ctx, engine.File{Bucket: s.bucket, Node: temporary.Node}, engine.Patch{Size: &size})
	s.ok(err, "patch what has no name")
	_, err = s.LinkFile(s.ctx, engine.File{Bucket: s.bucket, Node: temporary.Node}, at("named"))
	s.ok(err, "name it")
	s.remove("named")
	s.remove("named") // nothing is there: nothing changes
	_, err = s.RemovePrefix(s.ctx, s.bucket, "link/")
	s.ok(err, "remove prefix")

	changes := s.caughtUp(f)
	want := "put put put tags renamed directory renamed document directory made put attributes attributes linked patched unlinked directory renamed exchanged" +
		" temporary made patched linked deleted directory removed"
	if got := strings.Join(kinds(changes), " "); got != want {
		s.Fatalf("the changes are\n%s\nand not\n%s", got, want)
	}
	if c := changes[0]; c.Sequence != info.Sequence || c.Version.Version != info.Version || c.Version.ETag != info.ETag || !c.Replaced.IsZero() || c.Names != 1 ||
		!c.Time.Equal(info.Modified) {
		s.Errorf("the put %+v is the change %+v", info, c)
	}
	if c := changes[5]; c.Key != "e/f/" || c.From != "d/" || !c.Directory || !c.Expands() {
		s.Errorf("the rename of a directory is %+v", c)
	}
	if c := changes[6]; c.Document != engine.DocumentTagging || c.Key != "" {
		s.Errorf("the document is %+v", c)
	}
	if c := changes[9]; c.Key != "dir/" || !c.Directory || c.Node != made.Node || c.Expands() {
		s.Errorf("the change of a directory is %+v", c)
	}
	if c := changes[12]; c.Names != 2 || c.Node != file.Node || c.Version.Size != 10 {
		s.Errorf("the patch is %+v", c)
	}
	if c := changes[13]; c.Key != "file" || c.Names != 1 || c.Node != file.Node || !c.Version.IsZero() {
		s.Errorf("the name that went is %+v", c)
	}
	if c := changes[14]; c.Key != "dir/" || c.From != "e/" || c.Replaced.IsZero() {
		s.Errorf("the move onto a directory is %+v", c)
	}
	if c := changes[17]; c.Key != "" || c.Names != 0 || c.Node != temporary.Node {
		s.Errorf("the patch of what has no name is %+v", c)
	}
}

// feedVersions: changes of a bucket with versions.
func feedVersions(s *suite) {
	f := s.follows("f")
	one := s.put("k", []byte("1"))
	s.setVersioning(engine.VersioningEnabled)
	two := s.put("k", []byte("22"))
	deleted, err := s.Delete(s.ctx, s.ref("k"), engine.DeleteOptions{})
	s.ok(err, "delete")
	marker := deleted.Version
	_, err = s.Delete(s.ctx, s.version("k", one.Version), engine.DeleteOptions{})
	s.ok(err, "delete the oldest")
	_, err = s.Delete(s.ctx, s.version("k", marker), engine.DeleteOptions{})
	s.ok(err, "delete the marker")
	_, err = s.SetTags(s.ctx, s.version("k", two.Version), engine.Tags{"a": "b"})
	s.ok(err, "tags")
	at := func(name string) engine.Place {
		return engine.Place{Bucket: s.bucket, Directory: engine.RootNode, Name: name}
	}
	s.ok(s.MoveFile(s.ctx, at("k"), at("moved"), engine.MoveFileOptions{}), "move")
	info, err := s.Lookup(s.ctx, at("moved"), "")
	s.ok(err, "look up")
	size := int64(1)
	_, err = s.PatchFile(s.ctx, engine.File{Bucket: s.bucket, Node: info.Node}, engine.Patch{Size: &size})
	s.ok(err, "patch")
	s.ok(s.RemoveFile(s.ctx, at("moved"), engine.RemoveFileOptions{}), "remove")
	changes := s.caughtUp(f)
	want := "put versioning put marked version removed version removed tags marked put patched marked"
	if got := strings.Join(kinds(changes), " "); got != want {
		s.Fatalf("the changes are\n%s\nand not\n%s", got, want)
	}
	if c := changes[3]; !c.Version.Marker || c.Version.Version != marker || c.Replaced.Version != two.Version {
		s.Errorf("the delete is %+v", c)
	}
	if c := changes[4]; c.Removed != one.Version || c.Version.Version != marker {
		s.Errorf("the removal of the oldest version is %+v", c)
	}
	if c := changes[5]; c.Removed != marker || c.Version.Version != two.Version || !c.Replaced.Marker {
		s.Errorf("the removal of the marker is %+v", c)
	}
	if c := changes[6]; c.Version.Version != two.Version {
		s.Errorf("the tags are %+v", c)
	}
	if c := changes[8]; c.Key != "moved" || c.Node != info.Node {
		s.Errorf("the move ends with %+v", c)
	}
}

// feedPages: pages follow one another without gaps, and what all cursors have passed is not missed.
func feedPages(s *suite) {
	f := s.follows("f")
	for i := range 20 {
		s.put(fmt.Sprint(i), nil)
	}
	changes := s.caughtUp(f)
	if len(changes) != 20 {
		s.Fatalf("%d changes came, not 20", len(changes))
	}
	for i, c := range changes {
		if c.Key != engine.Key(fmt.Sprint(i)) || i > 0 && c.Time.Before(changes[i-1].Time) {
			s.Errorf("change %d is %+v", i, c)
		}
	}
	s.ok(s.MoveCursor(s.ctx, s.bucket, "f", changes[9].Sequence), "move")
	f.Last = changes[9].Sequence
	if rest, err := f.catchUpOnly(s.ctx); err != nil || !slices.Equal(rest, changes[10:]) {
		s.Errorf("behind the cursor are %+v, %v", rest, err)
	}
}

// catchUpOnly returns what there is, and applies nothing.
func (f *Follower) catchUpOnly(ctx context.Context) (all []engine.Change, err error) {
	for {
		page, err := f.Changes(ctx, f.bucket, f.cursor, engine.ChangesOptions{After: f.Last, Max: f.page})
		all, f.Last = append(all, page.Changes...), page.Last
		if err != nil || !page.Truncated {
			return all, err
		}
	}
}

// feedWaits: who waits hears of a change when it is there, and of the end of its patience.
func feedWaits(s *suite) {
	f := s.follows("f")
	type heard struct {
		page engine.ChangePage
		err  error
	}
	listen := func(ctx context.Context) <-chan heard {
		c := make(chan heard, 1)
		go func() {
			page, err := s.Changes(ctx, s.bucket, "f", engine.ChangesOptions{After: f.Last, Wait: true})
			c <- heard{page, err}
		}()
		return c
	}
	for i := range 20 {
		waits := listen(s.ctx)
		info := s.put(fmt.Sprint(i), nil)
		h := <-waits
		if h.err != nil || len(h.page.Changes) != 1 || h.page.Changes[0].Sequence != info.Sequence {
			s.Fatalf("who waits for change %d heard %+v", info.Sequence, h)
		}
		f.Last = h.page.Last
	}
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Millisecond)
	defer cancel()
	h := <-listen(ctx)
	s.fails(engine.KindCanceled, h.err, "wait in vain")
}

// feedExpand: what lay beneath a directory is told as it was, whatever became of it.
func feedExpand(s *suite) {
	f := s.follows("f")
	s.put("a/1", []byte("1"))
	s.put("a/b/2", []byte("22"))
	s.put("a/b/c/3", []byte("333"))
	s.put("a/", nil)
	s.put("a/moves", []byte("it goes"))
	s.put("a/only/here", nil)
	s.put("a/deep/er/k", []byte("deep"))
	s.put("in", []byte("it comes"))
	s.put("z", nil)
	s.caughtUp(f)
	rename := func(from, to string) {
		_, err := s.RenamePrefix(s.ctx, s.bucket, from, to)
		s.ok(err, "rename %q to %q", from, to)
	}
	removeAll := func(prefix string) {
		_, err := s.RemovePrefix(s.ctx, s.bucket, prefix)
		s.ok(err, "remove %q", prefix)
	}
	renameOne := func(from, to string) {
		_, err := s.Rename(s.ctx, s.ref(from), s.ref(to), engine.RenameOptions{})
		s.ok(err, "rename %q to %q", from, to)
	}
	rename("a/", "x/y/")
	renameOne("x/y/moves", "w/moved")
	renameOne("x/y/deep/er/k", "w/k") // and its directories are gone
	renameOne("in", "x/y/in")
	renameOne("w/moved", "x/y/b/2") // over what is there
	s.remove("x/y/only/here")       // with its directory
	s.put("x/y/only/here", []byte("again"))
	s.put("x/y/1", []byte("other"))
	s.put("x/y/new", nil)
	s.remove("x/y/")
	rename("x/y/b/", "out/")
	s.put("out/2", []byte("again"))
	removeAll("out/c/")
	s.put("out/c/4", nil)
	rename("out/", "x/y/b/")
	removeAll("x/y/")
	s.put("x/y/b/2", []byte("a new one"))
	rename("x/", "a/")
	s.remove("a/y/b/2")
	removed := s.caughtUp(f) // which looks at each change far behind
	s.has("w/k", "z")
	last := removed[0].Sequence
	s.ok(s.MoveCursor(s.ctx, s.bucket, "f", last), "move")
	_, err := s.Expand(s.ctx, s.bucket, "f", last, engine.ExpandOptions{})
	s.fails(engine.KindInvalidArgument, err, "expand what was passed")
	at := slices.IndexFunc(removed, func(c engine.Change) bool { return c.Kind == engine.ChangeDirectoryRemoved })
	page, err := s.Expand(s.ctx, s.bucket, "f", removed[at].Sequence, engine.ExpandOptions{Max: 1})
	s.ok(err, "expand %q", removed[at].Key)
	if len(page.Keys) != 1 || page.Keys[0].Key != "out/c/3" || page.Truncated || page.Keys[0].Version.Size != 3 {
		s.Errorf("beneath what was removed lay %+v", page)
	}
}

// feedExpandReplaced: an empty directory that another took the place of is there again in what lay above it before.
func feedExpandReplaced(s *suite) {
	f := s.follows("f")
	at := func(directory engine.NodeID, name string) engine.Place {
		return engine.Place{Bucket: s.bucket, Directory: directory, Name: name}
	}
	made := func(directory engine.NodeID, name string) engine.NodeID {
		info, err := s.MakeFile(s.ctx, at(directory, name), engine.MakeFileOptions{Type: engine.TypeDirectory})
		s.ok(err, "make directory %q", name)
		return info.Node
	}
	home := made(engine.RootNode, "home")
	empty := made(home, "empty")
	s.put("full/k", []byte("k"))
	s.caughtUp(f)
	_, err := s.RenamePrefix(s.ctx, s.bucket, "home/", "house/")
	s.ok(err, "rename")
	s.ok(s.MoveFile(s.ctx, at(engine.RootNode, "full"), at(home, "empty"), engine.MoveFileOptions{}), "move onto an empty directory")
	s.put("house/empty/l", nil)
	_, err = s.StatFile(s.ctx, engine.File{Bucket: s.bucket, Node: empty})
	s.fails(engine.KindNoSuchKey, err, "stat what was replaced")
	s.caughtUp(f)
}

// feedExpandPatched: a directory is renamed, and then a file in it becomes another version of the same node, which changes in place: the expansion has the version
// that there was.
func feedExpandPatched(s *suite) {
	f := s.follows("f")
	s.setVersioning(engine.VersioningEnabled)
	s.put("d/k", []byte("first"))
	s.put("d/same", []byte("in place"))
	s.caughtUp(f)
	s.setVersioning(engine.VersioningSuspended)
	same := s.look("d/same").Node
	s.patched(same, body(0, []byte("a"))) // makes the null version, which changes in place from now on
	s.moved("d", "e")
	k := s.look("e/k").Node
	for _, text := range []string{"second", "third", "fourth"} {
		s.patched(k, body(0, []byte(text)))
		s.patched(same, body(0, []byte(text)))
	}
	s.caughtUp(f)
}

// feedExpandLost: a directory is renamed and then removed; a file in it that has another name goes on changing under that, then under more. The expansion has the
// version that there was.
func feedExpandLost(s *suite) {
	f := s.follows("f")
	s.put("x/b/f", []byte("first"))
	n := s.look("x/b/f").Node
	link := func(path string) {
		_, err := s.LinkFile(s.ctx, s.node(n), s.place(path))
		s.ok(err, "link %q", path)
	}
	s.put("y/other", nil)
	link("y/f")
	s.caughtUp(f)
	s.moved("x/b", "x/c")
	_, err := s.RemovePrefix(s.ctx, s.bucket, "x/")
	s.ok(err, "remove the prefix")
	s.patched(n, body(0, []byte("second")))
	link("z")
	s.patched(n, body(0, []byte("third")))
	s.caughtUp(f)
}

// feedExchange: what changes places is expanded on both sides.
func feedExchange(s *suite) {
	f := s.follows("f")
	s.put("a/1", []byte("1"))
	s.put("a/2/3", nil)
	s.put("b/c/1", []byte("other"))
	s.put("file", []byte("file"))
	at := func(name string) engine.Place {
		return engine.Place{Bucket: s.bucket, Directory: engine.RootNode, Name: name}
	}
	exchange := func(from, to string) {
		s.ok(s.MoveFile(s.ctx, at(from), at(to), engine.MoveFileOptions{Exchange: true}), "exchange %q and %q", from, to)
	}
	exchange("a", "b")
	s.put("a/new", nil)
	exchange("file", "a")
	exchange("b", "file")
	exchange("a", "b")
	s.remove("a/1")
	exchange("a", "b")
	s.caughtUp(f)
	if f.counts[engine.ChangeExchanged] != 5 {
		s.Errorf("%d exchanges came", f.counts[engine.ChangeExchanged])
	}
}

// feedLinks: a patch of a file with names in several directories is one change, and undone in all of them.
func feedLinks(s *suite) {
	f := s.follows("f")
	s.put("a/file", []byte("12345"))
	s.put("b/other", nil)
	lookup := func(directory engine.NodeID, name string) engine.NodeID {
		info, err := s.Lookup(s.ctx, engine.Place{Bucket: s.bucket, Directory: directory, Name: name}, "")
		s.ok(err, "look up %q", name)
		return info.Node
	}
	a, b := lookup(engine.RootNode, "a"), lookup(engine.RootNode, "b")
	file := engine.File{Bucket: s.bucket, Node: lookup(a, "file")}
	_, err := s.LinkFile(s.ctx, file, engine.Place{Bucket: s.bucket, Directory: b, Name: "link"})
	s.ok(err, "link")
	patch := func(size int64) {
		_, err := s.PatchFile(s.ctx, file, engine.Patch{Size: &size})
		s.ok(err, "patch")
	}
	patch(4)
	_, err = s.RenamePrefix(s.ctx, s.bucket, "a/", "c/")
	s.ok(err, "rename a")
	_, err = s.RenamePrefix(s.ctx, s.bucket, "b/", "d/")
	s.ok(err, "rename b")
	patch(3)
	s.remove("c/file")
	patch(2)
	_, err = s.RemovePrefix(s.ctx, s.bucket, "d/")
	s.ok(err, "remove d")
	s.caughtUp(f)

	s.put("a/file", nil)
	a = lookup(engine.RootNode, "a")
	file.Node = lookup(a, "file")
	for _, name := range []string{"one", "two"} {
		_, err = s.LinkFile(s.ctx, file, engine.Place{Bucket: s.bucket, Directory: engine.RootNode, Name: name})
		s.ok(err, "link %q", name)
	}
	_, err = s.RemovePrefix(s.ctx, s.bucket, "a/")
	s.ok(err, "remove one of three names with its directory")
	patch(9)
	s.remove("one")
	s.remove("two")
	changes := s.caughtUp(f)
	if got := fmt.Sprint(kinds(changes[3:])); got != "[directory removed patched unlinked deleted]" || changes[4].Names != 2 || changes[5].Names != 1 {
		s.Errorf("the names went by %s: %+v", got, changes[4:])
	}
}

// feedRemovedBucket: a follower hears that its bucket is gone, and a bucket of the same name has no cursor.
func feedRemovedBucket(s *suite) {
	f := s.follows("f")
	s.put("a/k", nil)
	_, err := s.RemovePrefix(s.ctx, s.bucket, "a/")
	s.ok(err, "remove prefix")
	s.caughtUp(f)
	gone := make(chan error, 1)
	go func() {
		_, err := s.Changes(s.ctx, s.bucket, "f", engine.ChangesOptions{After: f.Last, Wait: true})
		gone <- err
	}()
	s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete the bucket")
	s.fails(engine.KindNoSuchBucket, <-gone, "wait in a bucket that is deleted")
	_, err = s.CreateBucket(s.ctx, s.bucket, engine.CreateBucketOptions{})
	s.ok(err, "create it again")
	list, err := s.ListCursors(s.ctx, s.bucket)
	s.ok(err, "list cursors")
	if len(list) != 0 {
		s.Errorf("a new bucket has the cursors %+v", list)
	}
}
