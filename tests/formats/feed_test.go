package formats

import (
	"errors"
	"fmt"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// followedBucket is the bucket of the sample that has followers.
const followedBucket engine.BucketID = 9

// feed has one cursor that waits for changes, one that is lost, and changes of a key and of whole directories.
func (s *script) feed() {
	s.do(&meta.CreateBucket{Bucket: followedBucket, Name: "followed"})
	s.do(&meta.OpenCursor{Bucket: followedBucket, Name: "lost"})
	s.do(inline(followedBucket, "a/b/k", "one"))
	s.do(inline(followedBucket, "a/b/l", "two"))
	s.do(&meta.OpenCursor{Bucket: followedBucket, Name: "replicate"})
	s.do(inline(followedBucket, "a/b/k", "three"))
	s.do(&meta.RenamePrefix{Bucket: followedBucket, From: "a/b/", To: "c/"})
	s.do(&meta.Rename{Bucket: followedBucket, Key: "d/l", From: meta.Source{Bucket: followedBucket, Key: "c/l"}})
	s.do(&meta.SetDocument{Bucket: followedBucket, Name: "tagging", Value: []byte("<Tagging/>")})
	s.do(&meta.RemovePrefix{Bucket: followedBucket, Prefix: "d/"})
	s.do(&meta.MoveCursor{Bucket: followedBucket, Name: "replicate", To: 2})
	s.do(&meta.TrimFeed{Bucket: followedBucket, Upto: 1})
}

// readFeed reads the cursors and the changes.
func readFeed(rows meta.View) error {
	_, err := meta.ListCursors(rows, followedBucket)
	page, errChanges := meta.Changes(rows, followedBucket, "replicate", 0, 10)
	if errChanges == nil && (len(page.Changes) != 5 || page.Last != 7) {
		errChanges = fmt.Errorf("the changes are %+v", page)
	}
	expanded, errExpand := meta.Expand(rows, followedBucket, "replicate", 4, "", 10)
	if errExpand == nil && len(expanded.Keys) != 2 {
		errExpand = fmt.Errorf("beneath c/ lay %+v", expanded)
	}
	return errors.Join(err, errChanges, errExpand)
}

func init() {
	wantRows['C'] = []string{`cursor bucket=9 name="lost" {lost=true}`, `cursor bucket=9 name="replicate" {position=2}`}
	const one, two, three = `md5=f97c5d29941bfb1b2fdab0874906ab82`, `md5=b8a9f715dbb64fd5c56e7783c6820a61`, `md5=35d6d33467aae9a2e3dccb4b6b027878`
	wantRows['F'] = []string{
		`change bucket=9 sequence=3 {kind=1 stamp=` + noon + ` key="a/b/k" node=6 names=1 version={kind=2 inode=6 sequence=3 stamp=` + noon + ` size=5 etag={` + three +
			`}} replaced={kind=2 inode=4 sequence=1 stamp=` + noon + ` size=3 etag={` + one + `}} above=[2 3]}`,
		`change bucket=9 sequence=4 {kind=13 stamp=` + noon + ` key="c/" from="a/b/" node=3 directory=true aboveFrom=[2]}`,
		`change bucket=9 sequence=5 {kind=8 stamp=` + noon + ` key="d/l" from="c/l" node=5 names=1 version={kind=2 inode=5 sequence=2 stamp=` + noon + ` size=3 etag={` + two +
			`}} above=[7] aboveFrom=[3]}`,
		`change bucket=9 sequence=6 {kind=17 stamp=` + noon + ` key="tagging"}`,
		`change bucket=9 sequence=7 {kind=14 stamp=` + noon + ` key="d/" node=7 directory=true}`,
	}
	wantCommands[50] = []string{`OpenCursor{Bucket=9 Name="lost"}`}
	wantCommands[51] = []string{`MoveCursor{Bucket=9 Name="replicate" To=2}`}
	wantCommands[52] = []string{`TrimFeed{Bucket=9 Upto=1}`}
}
