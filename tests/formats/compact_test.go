package formats

import (
	"bytes"
	"crypto/md5"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// compactBucket is the bucket whose files the sample has compacted.
const compactBucket engine.BucketID = 11

// The rows and commands of compaction, beside those of want_test.go.
func init() {
	wantRows['f'] = []string{`scattered bucket=11 inode=2 {}`}
	wantCommands[55] = []string{`Compact{Bucket=11 Inode=3 Offset=10 Length=5 Sum=d41d8cd98f00b204e9800998ecf8427e}`}
	wantCommands[56] = []string{`Settle{Bucket=11 Inode=3 Sequence=6 Depth=1}`, `Settle{Bucket=11 Inode=4711}`}
}

// compaction has a file in many pieces that a keeper is to look at, and one that was compacted and settled.
func (s *script) compaction() {
	s.do(&meta.CreateBucket{Bucket: compactBucket, Name: "compact"})
	scatter := func(name string) engine.NodeID {
		answer := s.do(&meta.MakeFile{At: meta.PlaceRef{Bucket: compactBucket, Directory: engine.RootNode, Name: name}, Class: engine.ClassStandard})
		info, err := meta.ParseNode(answer.Node)
		if s.err == nil {
			s.err = err
		}
		want := bytes.Repeat([]byte("x"), 400)
		s.patchPieces(info.Node, meta.PatchPiece{Length: int64(len(want)), Data: meta.Data{Size: int64(len(want)), Inline: want}, MD5: md5.Sum(want)})
		var pieces []meta.PatchPiece
		for at := 4; at < len(want); at += 10 {
			want[at] = 'y'
			pieces = append(pieces, meta.PatchPiece{Offset: int64(at), Length: 1, Data: meta.Data{Size: 1, Inline: []byte("y")}, MD5: md5.Sum([]byte("y"))})
		}
		s.patchPieces(info.Node, pieces...)
		return info.Node
	}
	scatter("scattered")
	id := scatter("settled")
	s.compactFile(id)
	s.refused(&meta.Compact{Bucket: compactBucket, Inode: uint64(id), Offset: 10, Length: 5, Sum: md5.Sum(nil)})
	s.refused(&meta.Settle{Bucket: compactBucket, Inode: 4711})
}

func (s *script) patchPieces(id engine.NodeID, pieces ...meta.PatchPiece) {
	s.do(&meta.PatchFile{File: meta.NodeRef{Bucket: compactBucket, Node: id}, Pieces: pieces})
}

// compactFile does what a keeper would, in one look, with the bytes in rows.
func (s *script) compactFile(id engine.NodeID) {
	if s.err != nil {
		return
	}
	view, err := s.group.Read(s.ctx)
	if err != nil {
		s.err = err
		return
	}
	defer view.Close()
	f := meta.ScatteredFile{Bucket: compactBucket, Inode: uint64(id)}
	plan, err := meta.PlanCompaction(view, f, meta.GroupBytesMax, meta.GroupContents)
	if err != nil {
		s.err = err
		return
	}
	for i := range plan.Ranges {
		r := &plan.Ranges[i]
		c := &meta.Compact{Bucket: f.Bucket, Inode: f.Inode, Offset: r.Offset, Length: r.Length, Sum: r.Sum}
		if !r.Expand {
			pieces, err := meta.LoadPieces(view, f, r)
			if err != nil {
				s.err = err
				return
			}
			for _, p := range pieces {
				c.Data.Inline = append(c.Data.Inline, p.Inline...)
			}
			c.Data.Size = r.Size
		}
		s.do(c)
	}
	s.do(plan.Settle)
}
