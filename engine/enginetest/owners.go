package enginetest

import (
	"bytes"
	"slices"
	"strings"

	"holdfast/engine"
)

var ownerCases = []struct {
	name string
	run  func(s *suite)
}{
	{"OwnersHold", ownersHold},
	{"OwnersHoldVersions", ownersHoldVersions},
	{"OwnersTemporary", ownersTemporary},
	{"OwnersEnd", ownersEnd},
	{"OwnersLocks", ownersLocks},
	{"OwnersLeases", ownersLeases},
	{"OwnersErrors", ownersErrors},
}

// opened begins an owner.
func (s *suite) opened(name string) engine.OwnerID {
	s.Helper()
	id, err := s.OpenOwner(s.ctx, s.bucket, name)
	s.ok(err, "open the owner %q", name)
	return id
}

func (s *suite) grips(n engine.NodeID, owner engine.OwnerID) engine.FileInfo {
	s.Helper()
	info, err := s.HoldFile(s.ctx, s.node(n), owner)
	s.ok(err, "hold node %d", n)
	if !info.Held || info.Node != n {
		s.Errorf("node %d is held as %+v", n, info)
	}
	return info
}

func (s *suite) releases(n engine.NodeID, owner engine.OwnerID) {
	s.Helper()
	s.ok(s.ReleaseFile(s.ctx, s.node(n), owner), "release node %d", n)
}

func ownersHold(s *suite) {
	one, other := s.opened("one"), s.opened("other")
	if one == other {
		s.Fatalf("two owners are %d", one)
	}
	s.put("f", content(1, 100_000))
	f := s.look("f").Node
	s.grips(f, one)
	s.grips(f, one) // changes nothing
	s.grips(f, other)
	s.ok(s.SetXattr(s.ctx, s.node(f), "user.a", []byte("b"), engine.SetXattrOptions{}), "set an attribute")
	s.unlinked("f")
	s.missing("f")
	info, err := s.StatFile(s.ctx, s.node(f))
	s.ok(err, "stat of what is held")
	if info.Links != 0 || !info.Held || info.Size != 100_000 {
		s.Errorf("what is held is %+v", info)
	}
	_, err = s.FileKey(s.ctx, s.node(f))
	s.fails(engine.KindNoSuchKey, err, "key of what has no name")
	if usage, err := s.Usage(s.ctx, s.bucket, ""); err != nil || usage.Objects != 0 || usage.Bytes != 0 {
		s.Errorf("without a name it counts as %+v, %v", usage, err)
	}
	// It is written and read as ever.
	patched := s.patched(f, body(5, []byte("held")))
	want := overlaid(content(1, 100_000), 5, []byte("held"))
	if got := s.bytesOf(f); !bytes.Equal(got, want) || patched.Links != 0 {
		s.Errorf("what is held is %s, %+v", brief(got), patched)
	}
	if value, err := s.Xattr(s.ctx, s.node(f), "user.a"); err != nil || string(value) != "b" {
		s.Errorf("its attribute is %q, %v", value, err)
	}
	s.releases(f, one)
	s.releases(f, one) // no error
	if got := s.bytesOf(f); !bytes.Equal(got, want) {
		s.Errorf("with one holder it is %s", brief(got))
	}
	s.releases(f, other)
	s.lost(f, "stat of what nobody holds")
	// Other ways for a name to go.
	for _, goes := range []func(){
		func() { s.put("g", []byte("other")) },
		func() { s.moved("h", "g") },
		func() { _, err := s.Delete(s.ctx, s.ref("g"), engine.DeleteOptions{}); s.ok(err, "delete") },
		func() { _, err := s.Rename(s.ctx, s.ref("h"), s.ref("g"), engine.RenameOptions{}); s.ok(err, "rename") },
		func() { _, err := s.Copy(s.ctx, s.ref("h"), s.ref("g"), engine.CopyOptions{}); s.ok(err, "copy") },
	} {
		s.put("g", []byte("first"))
		s.put("h", []byte("second"))
		g := s.look("g").Node
		s.grips(g, one)
		goes()
		if got := s.bytesOf(g); string(got) != "first" {
			s.Errorf("what is held is %q", got)
		}
		s.releases(g, one)
		s.lost(g, "stat of what was released")
	}
	// A hold on what keeps its name changes nothing when it ends, and one name of two may go.
	s.put("l", []byte("linked"))
	l := s.look("l").Node
	s.grips(l, one)
	_, err = s.LinkFile(s.ctx, s.node(l), s.place("m"))
	s.ok(err, "link")
	s.unlinked("l")
	s.releases(l, one)
	s.isFile("m", []byte("linked"))
	if info := s.look("m"); info.Held || info.Links != 1 || info.Node != l {
		s.Errorf("what was held is %+v", info)
	}
	// What lost its last name may have one again.
	s.grips(l, one)
	s.unlinked("m")
	_, err = s.LinkFile(s.ctx, s.node(l), s.place("again"))
	s.ok(err, "link of what has no name")
	s.releases(l, one)
	s.isFile("again", []byte("linked"))
}

func ownersHoldVersions(s *suite) {
	one := s.opened("one")
	s.put("f", []byte("first"))
	f := s.look("f").Node
	s.grips(f, one)
	s.ok(s.SetVersioning(s.ctx, s.bucket, engine.VersioningEnabled), "enable versioning")
	second := s.patched(f, body(0, []byte("second")))
	if second.Node != f || !second.Held {
		s.Errorf("the patched file is %+v", second)
	}
	old, err := s.Lookup(s.ctx, s.place("f"), engine.NullVersion)
	s.ok(err, "look up the old version")
	if old.Held {
		s.Errorf("the old version is held: %+v", old)
	}
	s.unlinked("f") // the file is an older version then, and does not change
	if got := s.bytesOf(f); string(got) != "second" {
		s.Errorf("what is held is %q", got)
	}
	_, err = s.PatchFile(s.ctx, s.node(f), engine.Patch{})
	s.fails(engine.KindBucketState, err, "patch of an older version")
	_, err = s.Delete(s.ctx, engine.Ref{Bucket: s.bucket, Key: "f", Version: second.Version}, engine.DeleteOptions{})
	s.ok(err, "delete the version for good")
	if got := s.bytesOf(f); string(got) != "second" {
		s.Errorf("what is held is %q", got)
	}
	s.patched(f, body(0, []byte("third!")))
	linked, err := s.LinkFile(s.ctx, s.node(f), s.place("g"))
	s.ok(err, "link of what has no name")
	if linked.Version == engine.NullVersion || linked.Node != f || linked.Links != 1 {
		s.Errorf("the linked file is %+v", linked)
	}
	s.releases(f, one)
	s.isFile("g", []byte("third!"))
}

func ownersTemporary(s *suite) {
	one := s.opened("one")
	info, err := s.MakeTemporary(s.ctx, s.bucket, one, engine.MakeFileOptions{Attributes: engine.FileAttributes{Mode: 0o600}})
	s.ok(err, "make a temporary file")
	if info.Links != 0 || !info.Held || info.Attributes.Mode != 0o600 || info.Size != 0 {
		s.Errorf("it is %+v", info)
	}
	if names := s.entries(engine.RootNode, 10); len(names) > 0 {
		s.Errorf("it shows as %q", names)
	}
	want := content(3, 50_000)
	s.patched(info.Node, body(0, want))
	_, err = s.LinkFile(s.ctx, s.node(info.Node), s.place("named"))
	s.ok(err, "link it")
	s.releases(info.Node, one)
	s.isFile("named", want)
	if got := s.look("named"); got.Node != info.Node || got.Attributes.Mode != 0o600 {
		s.Errorf("with a name it is %+v", got)
	}
	gone, err := s.MakeTemporary(s.ctx, s.bucket, one, engine.MakeFileOptions{})
	s.ok(err, "make a temporary file")
	s.releases(gone.Node, one)
	s.lost(gone.Node, "stat of a temporary file that nobody holds")
	_, err = s.MakeTemporary(s.ctx, s.bucket, one, engine.MakeFileOptions{Type: engine.TypeDirectory})
	s.fails(engine.KindInvalidArgument, err, "make a temporary directory")
}

func ownersEnd(s *suite) {
	one, other := s.opened("one"), s.opened("other")
	var nodes []engine.NodeID
	for i := range 450 { // more than one command frees
		path := "f" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26))
		nodes = append(nodes, s.made(path, engine.TypeRegular).Node)
		s.grips(nodes[i], one)
		s.unlinked(path)
	}
	s.grips(nodes[7], other)
	s.ok(s.LockFile(s.ctx, s.node(nodes[8]), engine.FileLock{Owner: one, Mode: engine.LockExclusive}), "lock")
	s.ok(s.LockFile(s.ctx, s.node(nodes[7]), engine.FileLock{Owner: one, Mode: engine.LockExclusive}), "lock")
	_, err := s.RenewOwner(s.ctx, s.bucket, one)
	s.ok(err, "renew")
	s.ok(s.CloseOwner(s.ctx, s.bucket, one), "close an owner")
	s.ok(s.CloseOwner(s.ctx, s.bucket, one), "close it again")
	for i, n := range nodes {
		if i != 7 {
			s.lost(n, "stat of node %d, whose holder has ended", n)
		}
	}
	s.ok(s.LockFile(s.ctx, s.node(nodes[7]), engine.FileLock{Owner: other, Mode: engine.LockExclusive}), "lock what was locked")
	_, err = s.RenewOwner(s.ctx, s.bucket, one)
	s.fails(engine.KindExpired, err, "renew an owner that has ended")
	_, err = s.HoldFile(s.ctx, s.node(nodes[7]), one)
	s.fails(engine.KindExpired, err, "hold for an owner that has ended")
	s.ok(s.CloseOwner(s.ctx, s.bucket, other), "close the other")
	s.lost(nodes[7], "stat of what nobody holds")
}

func ownersLocks(s *suite) {
	one, other := s.opened("one"), s.opened("other")
	s.put("f", []byte("0123456789"))
	f := s.node(s.look("f").Node)
	lock := func(owner engine.OwnerID, holder uint64, mode engine.LockMode, start, length int64) error {
		return s.LockFile(s.ctx, f, engine.FileLock{Owner: owner, Holder: holder, Mode: mode, Start: start, Length: length, Process: uint32(owner)})
	}
	s.ok(lock(one, 1, engine.LockShared, 0, 10), "share")
	s.ok(lock(one, 2, engine.LockShared, 5, 0), "share with another holder")
	s.ok(lock(other, 1, engine.LockShared, 0, 0), "share with another owner")
	s.fails(engine.KindHeld, lock(other, 1, engine.LockExclusive, 9, 1), "exclude what others share")
	held, ok, err := s.TestLock(s.ctx, f, engine.FileLock{Owner: other, Holder: 1, Mode: engine.LockExclusive, Start: 2, Length: 1})
	if err != nil || !ok || held.Owner != one || held.Holder != 1 || held.Process != uint32(one) || held.Start != 0 || held.Length != 10 || held.Mode != engine.LockShared {
		s.Errorf("in the way is %+v, %v, %v", held, ok, err)
	}
	if _, ok, err := s.TestLock(s.ctx, f, engine.FileLock{Owner: one, Holder: 9, Mode: engine.LockShared}); ok || err != nil {
		s.Errorf("in the way of one who shares is something, %v", err)
	}
	s.ok(lock(one, 2, engine.LockNone, 0, 0), "unlock")
	s.ok(lock(one, 1, engine.LockNone, 4, 2), "unlock the middle")
	s.ok(lock(other, 1, engine.LockExclusive, 4, 2), "exclude the middle")
	s.fails(engine.KindHeld, lock(one, 1, engine.LockShared, 5, 1), "share what is excluded")
	s.ok(s.LockFile(s.ctx, f, engine.FileLock{Owner: one, Kind: engine.LockFlock, Mode: engine.LockExclusive}), "a flock beside them")
	s.fails(engine.KindHeld, s.LockFile(s.ctx, f, engine.FileLock{Owner: other, Kind: engine.LockFlock, Mode: engine.LockShared}), "another flock")
	// A lock is of the node, whatever its name is, and goes with nobody's hold.
	s.moved("f", "g")
	s.fails(engine.KindHeld, lock(one, 1, engine.LockShared, 5, 1), "share after a move")
	s.made("d", engine.TypeDirectory)
	d := s.node(s.look("d").Node)
	s.ok(s.LockFile(s.ctx, d, engine.FileLock{Owner: one, Kind: engine.LockFlock, Mode: engine.LockExclusive}), "a flock of a directory")
	s.fails(engine.KindIsDirectory, s.LockFile(s.ctx, d, engine.FileLock{Owner: one, Mode: engine.LockExclusive}), "a range of a directory")
	for i := range int64(engine.LocksMax) {
		err := lock(one, 77, engine.LockShared, 1000+2*i, 1)
		if i < 900 {
			s.ok(err, "lock %d", i)
		} else if err != nil {
			s.fails(engine.KindEntityTooLarge, err, "lock %d", i)
			s.ok(lock(one, 77, engine.LockNone, 0, 0), "unlock")
			return
		}
	}
	s.Errorf("a file has more locks than it may have")
}

func ownersLeases(s *suite) {
	one, other := s.opened("one"), s.opened("other")
	s.put("f", []byte("0123456789"))
	f := s.node(s.look("f").Node)
	lease := func(owner engine.OwnerID, mode engine.LockMode) error {
		return s.LockFile(s.ctx, f, engine.FileLock{Owner: owner, Kind: engine.LockLease, Mode: mode})
	}
	s.ok(lease(one, engine.LockExclusive), "a lease")
	if nodes, err := s.RenewOwner(s.ctx, s.bucket, one); err != nil || len(nodes) > 0 {
		s.Errorf("nobody wants it, and the answer is %v, %v", nodes, err)
	}
	s.fails(engine.KindHeld, lease(other, engine.LockShared), "the lease of another")
	if nodes, err := s.RenewOwner(s.ctx, s.bucket, one); err != nil || !slices.Equal(nodes, []engine.NodeID{f.Node}) {
		s.Errorf("its holder hears of %v, %v", nodes, err)
	}
	if nodes, err := s.RenewOwner(s.ctx, s.bucket, other); err != nil || len(nodes) > 0 {
		s.Errorf("the other hears of %v, %v", nodes, err)
	}
	s.ok(lease(one, engine.LockShared), "the holder shares it")
	s.ok(lease(other, engine.LockShared), "the other shares it")
	if nodes, err := s.RenewOwner(s.ctx, s.bucket, one); err != nil || len(nodes) > 0 {
		s.Errorf("after it was given up its holder hears of %v, %v", nodes, err)
	}
}

func ownersErrors(s *suite) {
	s.put("f", []byte("x"))
	f := s.node(s.look("f").Node)
	const never engine.OwnerID = 1 << 40
	one := s.opened(strings.Repeat("n", 255))
	_, err := s.OpenOwner(s.ctx, s.bucket, strings.Repeat("n", 256))
	s.fails(engine.KindInvalidArgument, err, "an owner with a long name")
	_, err = s.OpenOwner(s.ctx, "no-such-bucket", "")
	s.fails(engine.KindNoSuchBucket, err, "an owner in no bucket")
	_, err = s.HoldFile(s.ctx, f, never)
	s.fails(engine.KindExpired, err, "hold for nobody")
	s.fails(engine.KindExpired, s.ReleaseFile(s.ctx, f, never), "release for nobody")
	s.fails(engine.KindExpired, s.LockFile(s.ctx, f, engine.FileLock{Owner: never, Mode: engine.LockShared}), "lock for nobody")
	_, err = s.MakeTemporary(s.ctx, s.bucket, never, engine.MakeFileOptions{})
	s.fails(engine.KindExpired, err, "a temporary file for nobody")
	s.ok(s.CloseOwner(s.ctx, s.bucket, never), "close nobody")
	_, err = s.HoldFile(s.ctx, s.node(1<<40), one)
	s.fails(engine.KindNoSuchKey, err, "hold nothing")
	s.ok(s.ReleaseFile(s.ctx, s.node(1<<40), one), "release nothing")
	_, err = s.HoldFile(s.ctx, s.node(engine.RootNode), one)
	s.fails(engine.KindIsDirectory, err, "hold a directory")
	for _, l := range []engine.FileLock{{Kind: 9}, {Mode: 9}, {Start: -1}, {Length: -1}, {Start: 1 << 62, Length: 1 << 62}, {Kind: engine.LockFlock, Start: 1}} {
		l.Owner = one
		s.fails(engine.KindInvalidArgument, s.LockFile(s.ctx, f, l), "lock %+v", l)
		_, _, err := s.TestLock(s.ctx, f, l)
		s.fails(engine.KindInvalidArgument, err, "test %+v", l)
	}
}
