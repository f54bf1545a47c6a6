package formats

import (
	"crypto/md5"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// treeBucket is the bucket whose files the sample has.
const treeBucket engine.BucketID = 8

// files has nodes of each type, a file with two names, and one whose content patches changed.
func (s *script) files() {
	s.do(&meta.CreateBucket{Bucket: treeBucket, Name: "tree"})
	at := func(directory engine.NodeID, name string) meta.PlaceRef {
		return meta.PlaceRef{Bucket: treeBucket, Directory: directory, Name: name}
	}
	ref := func(id engine.NodeID) meta.NodeRef { return meta.NodeRef{Bucket: treeBucket, Node: id} }
	node := func(a meta.Answer) engine.NodeID {
		info, err := meta.ParseNode(a.Node)
		if s.err == nil {
			s.err = err
		}
		return info.Node
	}
	set := engine.FileAttributes{Set: true, Mode: 0o750, UID: 1000, GID: 100}
	directory := node(s.do(&meta.MakeFile{At: at(engine.RootNode, "dir"), Type: engine.TypeDirectory, Attributes: set}))
	s.do(&meta.MakeFile{At: at(directory, "link"), Type: engine.TypeSymlink, Class: engine.ClassStandard, Data: []byte("../target")})
	set.Device, set.Flags = 0x0103, 1
	s.do(&meta.MakeFile{At: at(directory, "null"), Type: engine.TypeCharacterDevice, Attributes: set, Class: engine.ClassStandard, Clock: created.UnixNano()})
	file := node(s.do(&meta.MakeFile{At: at(directory, "file"), Class: engine.ClassStandard}))
	s.do(&meta.LinkFile{File: ref(file), At: at(engine.RootNode, "second")})
	s.do(&meta.RemoveFile{At: at(directory, "link")})
	s.do(&meta.MoveFile{From: at(directory, "file"), To: at(engine.RootNode, "first"), NoReplace: true, Clock: created.UnixNano()})
	mode, when := uint32(0o600), created.AddDate(-1, 0, 0)
	s.do(meta.NewSetFile(ref(file), engine.FileChange{Mode: &mode, Modified: &when}))
	s.do(&meta.SetXattr{File: ref(file), Name: "user.colour", Value: []byte("blue"), Create: true})
	size := int64(40)
	patch := meta.NewPatchFile(ref(file), &engine.Patch{Size: &size, Modified: &when})
	patch.Pieces = []meta.PatchPiece{
		{Offset: 10, Length: 7, Data: meta.Data{Size: 7, Inline: []byte("patched")}, MD5: md5.Sum([]byte("patched"))},
		{Offset: engine.PieceEnd, Length: 3, From: meta.NodeRef{Bucket: treeBucket, Node: node(s.do(&meta.MakeFile{
			At: at(engine.RootNode, "source"), Type: engine.TypeSymlink, Class: engine.ClassStandard, Data: []byte("sourced"),
		}))}, FromOffset: 2},
		{Offset: 12, Length: 2},
	}
	s.do(patch)
	s.refused(&meta.PatchFile{File: ref(file), If: 77})
}
