package formats

import (
	"crypto/md5"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// treeBucket is the bucket whose files the sample has.
const treeBucket engine.BucketID = 8

// files has nodes of each type, a file with two names whose content patches changed, and an owner who holds it.
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

	owner := engine.OwnerID(s.do(&meta.OpenOwner{Bucket: treeBucket, Name: "mount"}).Content)
	s.do(&meta.HoldFile{File: ref(file), Owner: owner})
	s.do(&meta.LockFile{File: ref(file), Lock: engine.FileLock{Owner: owner, Holder: 5, Process: 77, Mode: engine.LockExclusive, Start: 3, Length: 4}})
	s.do(&meta.RenewOwner{Bucket: treeBucket, Owner: owner})
	s.do(&meta.MakeFile{At: meta.PlaceRef{Bucket: treeBucket}, Owner: owner, Class: engine.ClassStandard})
	other := engine.OwnerID(s.do(&meta.OpenOwner{Bucket: treeBucket}).Content)
	s.do(&meta.HoldFile{File: ref(file), Owner: other, Release: true})
	s.do(&meta.CloseOwner{Bucket: treeBucket, Owner: other, Expired: true})
}

// fileRows and fileCommands are what the sample has of files, see wantRows and wantCommands.
var fileRows = map[byte][]string{
	'H': {`held bucket=8 owner=74 inode=6 {held=true locked=true}`, `held bucket=8 owner=74 inode=8 {held=true}`},
	'L': {`locks bucket=8 inode=6 {locks=[{Owner=74 Holder=5 Process=77 Mode=2 Start=3 Length=4}]}`},
	'O': {`owner bucket=8 owner=74 {name="mount" renewals=1 has=2}`},
	'c': {`content content=29 {refs=1 size=40 count=6 depth=1 ends=true}`},
	'i': {
		`inode bucket=8 inode=2 {kind=2 links=1 parent=1 name="dir/" posix={set=true mode=488 uid=1000 gid=100 changed=` + noon + ` born=` + noon + `}}`,
		`inode bucket=8 inode=5 {kind=1 links=1 parent=2 name="null" posix={set=true mode=488 uid=1000 gid=100 flags=1 device=259} of=5 content=26 stamp=` + noon +
			` sequence=3 etag={md5=d41d8cd98f00b204e9800998ecf8427e} class="STANDARD"}`,
		`inode bucket=8 inode=6 {kind=1 links=2 posix={set=true mode=384 modified=1668464000123456789 changed=` + noon + ` born=` + noon +
			`} xattrs=1 holds=1 content=29 size=40 stamp=` + noon + ` sequence=11 etag={md5=78e6d4206f9d025758e42258645df44b parts=1048576} class="STANDARD"}`,
		`inode bucket=8 inode=8 {kind=1 holds=1 content=31 stamp=` + noon + ` sequence=12 etag={md5=d41d8cd98f00b204e9800998ecf8427e} class="STANDARD"}`,
	},
	'k': {`xattr bucket=8 inode=6 name="user.colour" {value=626c7565}`},
	'l': {`link bucket=8 inode=6 directory=1 name="first" {}`, `link bucket=8 inode=6 directory=1 name="second" {}`},
	'r': {`run content=29 number=10 {Run={Length=10}}`, `run content=29 number=17 {Run={Content=30 Offset=4 Length=3}}`, `run content=29 number=40 {Run={Length=20}}`},
}

var fileCommands = map[byte][]string{
	29: {
		`MakeFile{At={Bucket=8 Directory=2 Name="link"} Type=2 Class="STANDARD" Data=2e2e2f746172676574}`,
		`MakeFile{At={Bucket=8 Directory=2 Name="null"} Type=5 Attributes={Set=true Mode=488 UID=1000 GID=100 Device=259 Flags=1} Class="STANDARD" Clock=` + noon + `}`,
		`MakeFile{At={Bucket=8} Class="STANDARD" Owner=74}`,
	},
	30: {`LinkFile{File={Bucket=8 Node=6} At={Bucket=8 Directory=1 Name="second"}}`},
	31: {`RemoveFile{At={Bucket=8 Directory=2 Name="link"}}`},
	36: {`MoveFile{From={Bucket=8 Directory=2 Name="file"} To={Bucket=8 Directory=1 Name="first"} NoReplace=true Clock=` + noon + `}`},
	37: {`SetFile{File={Bucket=8 Node=6} Mode=384 Modified=1668464000123456789}`},
	38: {`SetXattr{File={Bucket=8 Node=6} Name="user.colour" Value=626c7565 Create=true}`},
	39: {`PatchFile{File={Bucket=8 Node=6} Pieces=[{Offset=10 Length=7 Data={Size=7 Inline=70617463686564} MD5=550069b20a946bc1530db3ce5b4d0474} ` +
		`{Offset=-1 Length=3 From={Bucket=8 Node=7} FromOffset=2} {Offset=12 Length=2}] Size=40 Modified=1668464000123456789}`},
	43: {`OpenOwner{Bucket=8 Name="mount"}`},
	44: {`RenewOwner{Bucket=8 Owner=74}`},
	45: {`CloseOwner{Bucket=8 Owner=79 Expired=true}`},
	46: {`HoldFile{File={Bucket=8 Node=6} Owner=74}`, `HoldFile{File={Bucket=8 Node=6} Owner=79 Release=true}`},
	47: {`LockFile{File={Bucket=8 Node=6} Lock={Owner=74 Holder=5 Process=77 Mode=2 Start=3 Length=4}}`},
}

func init() {
	for kind, texts := range fileRows {
		wantRows[kind] = append(wantRows[kind], texts...)
	}
	for opcode, texts := range fileCommands {
		wantCommands[opcode] = append(wantCommands[opcode], texts...)
	}
}
