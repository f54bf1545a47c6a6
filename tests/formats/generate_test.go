package formats

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast/engine"
	"holdfast/engine/buffer"
	"holdfast/engine/checksum"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/engine/erasure"
	"holdfast/engine/extent"
	"holdfast/engine/group"
	"holdfast/engine/meta"
)

// nodeState is node.json of the sample.
const nodeState = `{
  "format": 1,
  "cluster": "c1c2c3c4c5c6c7c8c9cacbcccdcecfd0",
  "node": 257,
  "formed": true,
  "drives": [
    {
      "path": "/sample/d1",
      "drive": 1,
      "incarnation": 4097,
      "mount_point": false
    },
    {
      "path": "/sample/d2",
      "drive": 2,
      "incarnation": 4098,
      "mount_point": false
    }
  ],
  "witness": {
    "path": "/sample/state/witness",
    "drive": 3,
    "incarnation": 4099,
    "mount_point": false
  },
  "last_drive": 3
}
`

const nodeID = 257

var (
	cluster  = [16]byte{0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xd0}
	created  = time.Date(2023, 11, 14, 22, 13, 20, 123456789, time.UTC)
	geometry = drive.Geometry{RingBytes: 1 << 20, SegmentBytes: 256 << 10, ReserveBytes: 4096}

	identities = []drive.Identity{
		{Cluster: cluster, Drive: 1, Incarnation: 4097, Role: drive.RoleData, Created: created},
		{Cluster: cluster, Drive: 2, Incarnation: 4098, Role: drive.RoleData, Created: created},
		{Cluster: cluster, Drive: 3, Incarnation: 4099, Role: drive.RoleWitness, Created: created},
	}
)

// contents of the objects that the sample ends up with.
var contents = map[string][]byte{
	"hello.txt":     []byte("hello, drive"),
	"folder/large":  pattern(100_000, 1),
	"folder/old":    []byte("new"),
	"last":          []byte("last"),
	"upload/done":   []byte("part one, part two"),
	"upload/staged": []byte("staged one, staged two"),
}

func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>12) ^ seed
	}
	return b
}

// fixedClock stamps every command alike.
type fixedClock struct{ group.SystemClock }

func (fixedClock) Wall() time.Time { return created }

// generator writes the sample.
type generator struct {
	ctx    context.Context
	drives []*drive.Drive
	hosts  []group.Host
	code   *erasure.Code
	pool   *buffer.Pool
}

// generate makes a node by hand below root: with fixed ids and times, and with everything that a node leaves on its drives only for a while.
func generate(root string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	g := &generator{ctx: ctx, pool: buffer.New(0)}
	if g.code, err = erasure.New(engine.Redundancy{Data: 1, Parity: 1}); err != nil {
		return err
	}
	for _, folder := range append(allFolders, "state") {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "state/node.json"), []byte(nodeState), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "state/lock"), nil, 0o644); err != nil {
		return err
	}
	for i, folder := range allFolders {
		fsys, err := disk.OS(filepath.Join(root, folder))
		if err != nil {
			return err
		}
		defer fsys.Close()
		d, err := newDrive(ctx, fsys, identities[i])
		if err != nil {
			return err
		}
		defer d.Close()
		g.drives = append(g.drives, d)
		g.hosts = append(g.hosts, group.Host{Drive: identities[i].Drive, Log: d, Stores: d})
	}
	if err := errors.Join(g.group(0, g.root), g.group(1, g.data)); err != nil {
		return err
	}
	for _, d := range g.drives {
		if err := d.Close(); err != nil {
			return err
		}
	}
	return nil
}

// newDrive formats a drive, on which a segment has come and gone.
func newDrive(ctx context.Context, fsys disk.FS, id drive.Identity) (*drive.Drive, error) {
	if err := drive.Format(fsys, id, geometry); err != nil {
		return nil, err
	}
	options := drive.Options{FlushInterval: time.Hour}
	d, err := drive.Open(fsys, options)
	if err != nil || id.Role == drive.RoleWitness {
		return d, err
	}
	shard := engine.ShardID{Extent: engine.ExtentID{Group: 1, Epoch: 1, Counter: 1}}
	w, err := d.CreateShard(shard, 4096)
	if err != nil {
		return nil, err
	}
	block := disk.AlignedBytes(4096)
	copy(block, "short-lived")
	if err := errors.Join(w.Write(block, []uint64{checksum.Sum(shard, 0, block)}), w.Commit(ctx), d.DeleteShards(ctx, []engine.ShardID{shard}), d.Close()); err != nil {
		return nil, err
	}
	if d, err = drive.Open(fsys, options); err != nil { // which finds a segment without shards
		return nil, err
	}
	for len(d.Segments()) > 0 {
		if ctx.Err() != nil {
			return nil, errors.New("the empty segment was not removed")
		}
		time.Sleep(time.Millisecond)
	}
	return d, nil
}

// group runs a group of three replicas for as long as fill takes.
func (g *generator) group(id engine.GroupID, fill func(*script)) error {
	members := []group.Member{{Replica: 1, Drive: 1}, {Replica: 2, Drive: 2}, {Replica: 3, Drive: 3}}
	if err := group.Bootstrap(g.ctx, id, members, g.hosts); err != nil {
		return err
	}
	running, err := group.Start(g.ctx, group.Config{
		Group: id, Hosts: g.hosts, Machine: &meta.Machine{Group: id}, Clock: fixedClock{}, Seed: 1, ApplyEverywhere: true,
	})
	if err != nil {
		return err
	}
	defer running.Close()
	if err := running.Await(g.ctx); err != nil {
		return err
	}
	s := &script{generator: g, group: running}
	fill(s)
	s.awaitAll()
	if s.err != nil {
		return fmt.Errorf("group %d: %w", id, s.err)
	}
	return nil
}

// script proposes commands one after another until one fails.
type script struct {
	*generator
	group   *group.Group
	epoch   uint64
	number  uint64
	extents uint64
	index   uint64 // of the last command
	err     error
}

// open gets an epoch.
func (s *script) open(number uint64) uint64 {
	return s.propose(meta.Encode(0, number, 0, &meta.OpenEpoch{Node: nodeID})).Epoch
}

// do has a command decided. The last three answers stay.
func (s *script) do(c meta.Command) meta.Answer {
	s.number++
	answer := s.propose(meta.Encode(s.epoch, s.number, max(s.number, 3)-2, c))
	if answer.Failed && s.err == nil {
		s.err = fmt.Errorf("%T: %w", c, answer.Err())
	}
	return answer
}

// refused is do for a command that has to be refused.
func (s *script) refused(c meta.Command) {
	s.number++
	answer := s.propose(meta.Encode(s.epoch, s.number, max(s.number, 3)-2, c))
	if !answer.Failed && s.err == nil {
		s.err = fmt.Errorf("%T was not refused", c)
	}
}

func (s *script) propose(command []byte) (answer meta.Answer) {
	if s.err != nil {
		return answer
	}
	b, index, err := s.group.Propose(s.ctx, command)
	if err == nil {
		answer, err = meta.ParseAnswer(b)
	}
	s.err = err
	s.index = index
	return answer
}

// root fills the root group.
func (g *generator) root(s *script) {
	s.open(41)
	s.epoch = s.open(42)
	s.do(&meta.CloseEpochs{Node: nodeID, Below: s.epoch})
	for i, id := range identities {
		s.do(&meta.MapDrive{Drive: id.Drive, Record: meta.DriveRecord{
			Node: nodeID, Path: sampleRoot + "/" + allFolders[i], Incarnation: id.Incarnation, Bytes: 1 << 40, State: meta.DriveIn,
			Witness: id.Role == drive.RoleWitness,
		}})
	}
	s.release()
	s.do(&meta.Setting{Name: "colour", Value: []byte("blue")})
	s.do(&meta.ReserveBucket{Name: "bucket", Group: 1})
	s.do(&meta.SetBucket{Name: "bucket", Bucket: 1, From: meta.BucketCreating, To: meta.BucketActive})
	for i, name := range []engine.BucketName{"gone", "versions", "locked", "moving", "forced"} {
		id := engine.BucketID(i + 2)
		s.do(&meta.ReserveBucket{Name: name, Group: 1, Lock: name == "locked"})
		switch name {
		case "gone", "forced":
			s.do(&meta.SetBucket{Name: name, Bucket: id, From: meta.BucketCreating})
		case "locked": // its creation is to be finished
		default:
			s.do(&meta.SetBucket{Name: name, Bucket: id, From: meta.BucketCreating, To: meta.BucketActive})
		}
	}
}

// data fills the group of the buckets.
func (g *generator) data(s *script) {
	s.open(41)
	s.epoch = s.open(42)
	s.do(&meta.CloseEpochs{Node: nodeID, Below: s.epoch})
	s.do(&meta.CreateBucket{Bucket: 1, Name: "bucket"})
	s.objects()
	s.uploads()
	s.release()
	s.repairs()
	s.do(&meta.CreateBucket{Bucket: 3, Name: "versions"})
	s.do(&meta.SetVersioning{Bucket: 3, Versioning: engine.VersioningEnabled})
	s.do(inline(3, "k", "one"))
	s.do(inline(3, "k", "two"))
	s.do(&meta.Delete{Bucket: 3, Key: "k"})
	s.do(&meta.Delete{Bucket: 3, Key: "k", Version: engine.FormatVersion(1)})
	s.do(&meta.SetTags{Bucket: 3, Key: "k", Version: engine.FormatVersion(2), Tags: engine.Tags{"late": "tag"}})
	s.do(&meta.SetDocument{Bucket: 3, Name: "tagging", Value: []byte("<Tagging/>")})
	s.locks()
	s.renames()
	s.files()
	s.compaction()
	s.removals()
	s.feed()
	s.do(&meta.CreateBucket{Bucket: 2, Name: "gone"})
	s.do(&meta.StartUpload{Bucket: 2, Key: "never\x00done", ID: uploadID('e'), Class: engine.ClassStandard})
	s.do(&meta.DeleteBucket{Bucket: 2})
	s.changeReplica()
	s.do(&meta.SetDrive{Drive: 8, Gone: true})
	s.leaving()
	used, unused := engine.ExtentID{Group: 1, Epoch: s.epoch, Counter: 1}, engine.ExtentID{Group: 1, Epoch: s.epoch, Counter: 99}
	s.do(&meta.Condemn{Extents: []engine.ExtentID{used, unused}})
	s.do(inline(1, "last", string(contents["last"])))
	if answer := s.do(inline(7, "nowhere", "x")); answer.Kind == engine.KindNoSuchBucket {
		s.err = nil // the failure is what is wanted
	}
}

// leaving has a drive that leaves, with a shard on it, and one that has left.
func (s *script) leaving() {
	s.do(&meta.SetLeaving{Drive: 9, Leaving: true, Heir: 2})
	s.refused(&meta.RemoveDrive{Drive: 9})
	s.do(&meta.SetLeaving{Drive: 7, Leaving: true})
	s.do(&meta.RemoveDrive{Drive: 7})
}

// locks has versions with each kind of lock.
func (s *script) locks() {
	until := created.AddDate(1, 0, 0).Truncate(time.Millisecond)
	s.do(&meta.CreateBucket{Bucket: 4, Name: "locked", Lock: true})
	s.do(&meta.SetBucketLock{Bucket: 4, Lock: engine.BucketLock{Enabled: true, Mode: engine.RetentionGovernance, Days: 7}})
	s.do(&meta.SetBucketQuota{Bucket: 4, Quota: engine.Quota{Bytes: 1000, Objects: 100}})
	byDefault := inline(4, "by/default", "one")
	byDefault.Clock = created.Add(-time.Hour).UnixNano() // far enough behind the stamp for it to count
	s.do(byDefault)
	held := inline(4, "by/hand", "two")
	held.Lock = engine.Lock{Retention: engine.Retention{Mode: engine.RetentionCompliance, Until: until}, Hold: true}
	s.do(held)
	s.do(&meta.SetLock{Bucket: 4, Key: "by/hand", Version: engine.FormatVersion(3), SetHold: true, Clock: created.UnixNano()})
	s.refused(&meta.Delete{Bucket: 4, Key: "by/hand", Version: engine.FormatVersion(3), Bypass: true, Clock: created.UnixNano()})
	s.do(&meta.StartUpload{Bucket: 4, Key: "by/upload", ID: uploadID('g'), Class: engine.ClassStandard, Lock: engine.Lock{Retention: held.Lock.Retention}})
}

// renames has what keeps no versions.
func (s *script) renames() {
	s.do(&meta.CreateBucket{Bucket: 5, Name: "moving"})
	s.do(inline(5, "a/b/log", "one, "))
	s.do(&meta.Append{
		Bucket: 5, Key: "a/b/log", Offset: 5, Sequence: 1, Data: meta.Data{Size: 3, Inline: []byte("two")}, MD5: md5.Sum([]byte("two")), Class: engine.ClassStandard,
		Part: engine.Checksum{Algorithm: "CRC32", Sum: []byte{1, 2, 3, 4}}, If: engine.Conditions{MatchAny: true},
	})
	s.do(&meta.Rename{Bucket: 5, Key: "a/c/log", From: meta.Source{Bucket: 5, Key: "a/b/log", If: engine.Conditions{NoneMatch: []engine.ETag{"x"}}}, Token: "token"})
	s.do(&meta.RenamePrefix{Bucket: 5, From: "a/c/", To: "d/"})
}

// removals leave what is still to be taken apart: the keeper looks behind it.
func (s *script) removals() {
	s.do(inline(5, "e/f/g", "one"))
	s.do(inline(5, "e/h", "two"))
	s.do(&meta.RemovePrefix{Bucket: 5, Prefix: "e/"})
	s.do(&meta.CreateBucket{Bucket: 6, Name: "forced"})
	s.do(inline(6, "k", "three"))
	s.do(&meta.RemoveBucket{Bucket: 6})
	s.do(&meta.TakeApart{Bucket: 6, Directory: 9})
}

func inline(bucket engine.BucketID, key engine.Key, text string) *meta.Put {
	return &meta.Put{
		Bucket: bucket, Key: key, Data: meta.Data{Size: int64(len(text)), Inline: []byte(text)}, MD5: md5.Sum([]byte(text)),
		Class: engine.ClassStandard,
	}
}

func (s *script) objects() {
	hello := inline(1, "hello.txt", string(contents["hello.txt"]))
	hello.Attributes = engine.Attributes{
		ContentType: "text/plain", ContentEncoding: "identity", ContentDisposition: "inline", ContentLanguage: "en", CacheControl: "no-store",
		Expires: "never", User: map[string]string{"a": "1", "b": "2"},
	}
	hello.Checksum = engine.Checksum{Algorithm: "CRC32C", Sum: []byte{1, 2, 3, 4}, Composite: true, Parts: 2}
	hello.Tags = engine.Tags{"first": "1", "second": ""}
	hello.If = engine.Conditions{NoneMatchAny: true, NoneMatch: []engine.ETag{"none"}}
	s.do(hello)

	s.do(s.large("folder/large", contents["folder/large"]))

	old := s.large("folder/old", pattern(9000, 3))
	s.do(old)
	now := inline(1, "folder/old", string(contents["folder/old"]))
	now.If = engine.Conditions{MatchAny: true, Match: []engine.ETag{etag(old.MD5), "other"}}
	s.do(now)
	garbage := s.index // the old content became garbage by this command
	x := old.Data.Extents[0].ID
	s.deleteShards(x, 0, 1)
	s.do(&meta.Forget{Index: garbage, Content: 3, Extents: []engine.ExtentID{x}})

	fading := s.large("folder/fading", pattern(70_000, 5))
	s.do(fading)
	size := int64(70_000)
	s.do(&meta.Delete{Bucket: 1, Key: "folder/fading", If: engine.Conditions{Match: []engine.ETag{etag(fading.MD5)}, Size: &size, ModifiedAt: created.Truncate(time.Second)}})
	x = fading.Data.Extents[0].ID
	s.do(&meta.MoveShard{Extent: x, Index: 1, From: 2, To: 9})
}

func (s *script) uploads() {
	start := func(key engine.Key, id byte) string {
		s.do(&meta.StartUpload{
			Bucket: 1, Key: key, ID: uploadID(id), Class: engine.ClassStandard, Attributes: engine.Attributes{ContentType: "image/png"},
			Algorithm: "SHA256", Full: true, Tags: engine.Tags{"of": "upload"},
		})
		return uploadID(id)
	}
	part := func(key engine.Key, id string, number int, text string) {
		s.do(&meta.PutPart{
			Bucket: 1, Key: key, ID: id, Number: number, Data: meta.Data{Size: int64(len(text)), Inline: []byte(text)}, MD5: md5.Sum([]byte(text)),
			Checksum: engine.Checksum{Algorithm: "SHA256", Sum: []byte{byte(number)}},
		})
	}
	done := start("upload/done", 'a')
	part("upload/done", done, 1, "part one, ")
	part("upload/done", done, 2, "part two")
	s.do(&meta.CompleteUpload{
		Bucket: 1, Key: "upload/done", ID: done, Parts: []meta.Part{{Number: 1, Content: 6}, {Number: 2, Content: 7}}, Size: 18, Count: 2,
		MD5: md5.Sum([]byte("of parts")), Checksum: engine.Checksum{Algorithm: "SHA256", Sum: []byte{9}, Composite: true, Parts: 2},
		Clock: created.UnixNano(),
	})
	staged := start("upload/staged", 'f')
	part("upload/staged", staged, 1, "staged one, ")
	part("upload/staged", staged, 2, "staged two")
	content := s.do(&meta.Stage{Bucket: 1, ID: staged, Parts: []meta.Part{{Number: 1, Content: 9}}}).Content
	s.do(&meta.Stage{Bucket: 1, ID: staged, Content: content, Parts: []meta.Part{{Number: 2, Content: 10}}})
	s.do(&meta.CompleteUpload{
		Bucket: 1, Key: "upload/staged", ID: staged, Staged: content, Size: 22, Count: 2, MD5: md5.Sum([]byte("of staged parts")),
		If: engine.Conditions{NoneMatchAny: true},
	})
	open := start("upload/open", 'b')
	part("upload/open", open, 1, "first")
	second := s.large("", pattern(5000, 7))
	second.Data.Extents[0].Reduced = true
	s.do(&meta.PutPart{Bucket: 1, Key: "upload/open", ID: open, Number: 10_000, Data: second.Data, MD5: second.MD5})
	s.do(&meta.Stage{Bucket: 1, ID: open, Parts: []meta.Part{{Number: 1, Content: 12}, {Number: 10_000, Content: 13}}})
	for _, id := range []byte("cd") {
		aborted := start("upload/aborted", id)
		part("upload/aborted", aborted, 3, "for nothing")
		s.do(&meta.AbortUpload{Bucket: 1, Key: "upload/aborted", ID: aborted})
		if id == 'c' {
			s.do(&meta.ClearTrash{})
		}
	}
	// Copies, of which the machine refuses what it is asked: the commands are in the log, and the rows stay as they are.
	from := meta.Source{Bucket: 1, Key: "upload/done", Sequence: 77, If: engine.Conditions{Match: []engine.ETag{"x"}}}
	s.refused(&meta.Copy{
		Bucket: 1, Key: "copy", From: from, Replace: true, Attributes: engine.Attributes{ContentType: "c/d"},
		Checksum: engine.Checksum{Algorithm: "SHA1", Sum: []byte{8}}, If: engine.Conditions{NoneMatchAny: true},
		Class: "OTHER", ReplaceTags: true, Tags: engine.Tags{"of": "copy"},
		Clock: created.UnixNano(),
	})
	s.refused(&meta.CopyPart{
		Bucket: 1, Key: "upload/open", ID: open, Number: 3, From: from, Offset: 5, Length: 6, MD5: md5.Sum([]byte("copied")),
		Checksum: engine.Checksum{Algorithm: "SHA256", Sum: []byte{7}},
	})
}

// awaitAll returns when every replica has applied everything, so that what the drives end with does not depend on chance.
func (s *script) awaitAll() {
	for s.err == nil {
		status, err := s.group.Status(s.ctx)
		s.err = err
		behind := slices.ContainsFunc(status.Members, func(m group.MemberStatus) bool { return m.Applied < s.index })
		if err == nil && !behind {
			return
		}
	}
}

// release flushes until every drive has noted that records of the group are not needed any more.
func (s *script) release() {
	for _, d := range s.drives {
		for s.err == nil && !s.has(d, fmt.Sprintf("group %d released", s.group.ID())) {
			s.err = d.Flush(s.ctx)
		}
	}
}

// has reports whether the text of a row of the drive begins so.
func (s *script) has(d *drive.Drive, text string) (found bool) {
	for row, err := range d.Rows() {
		s.err = cmp.Or(s.err, err, s.ctx.Err())
		found = found || strings.HasPrefix(rowText(row), text)
	}
	return found
}

// rowText is what the debug command says about a row.
func rowText(row drive.Row) string {
	if !row.Store {
		return row.Text
	}
	text, err := group.DescribeRow(row.Key[1:], row.Value, meta.DescribeRow)
	if err != nil {
		return err.Error()
	}
	return text
}

// repairs loses a shard of the open upload.
func (s *script) repairs() {
	x := engine.ExtentID{Group: 1, Epoch: s.epoch, Counter: s.extents}
	s.deleteShards(x, 1)
	s.do(&meta.ReportMissing{Extent: x, Index: 1, Drive: 2})
	s.refused(&meta.Recode{Extent: x, Run: 7, To: meta.Extent{
		ID: engine.ExtentID{Group: 1, Epoch: s.epoch, Counter: 98}, Redundancy: engine.Redundancy{Data: 1, Parity: 1}, Size: 5000,
		Class: engine.ClassStandard, Drives: []engine.DriveID{2, 1},
	}})
}

// changeReplica takes the witness's replica away and makes a new one there, which gets the rows of another.
func (s *script) changeReplica() {
	if s.err == nil {
		s.err = s.group.RemoveReplica(s.ctx, 3)
	}
	removed := false
	for s.err == nil && !removed {
		removed = s.has(s.drives[2], "group 1: generation 2 is valid, of replica 0")
	}
	if s.err == nil {
		s.err = s.group.AddReplica(s.ctx, group.Member{Replica: 400, Drive: 3}, s.hosts[2])
	}
}

func uploadID(c byte) string {
	return "\x17\x97\x9c\xfe\x36\x2a\x00\x00" + string(bytes.Repeat([]byte{c}, 16))
}

func etag(sum [16]byte) engine.ETag { return engine.ETag(fmt.Sprintf("%x", sum)) }

// large writes data as an extent on drives 1 and 2.
func (s *script) large(key engine.Key, data []byte) *meta.Put {
	s.extents++
	x := meta.Extent{
		ID: engine.ExtentID{Group: 1, Epoch: s.epoch, Counter: s.extents}, Redundancy: engine.Redundancy{Data: 1, Parity: 1},
		Size: int64(len(data)), Class: engine.ClassStandard, Drives: []engine.DriveID{1, 2},
	}
	if s.err == nil {
		s.err = s.write(&x, data)
	}
	return &meta.Put{
		Bucket: 1, Key: key, Data: meta.Data{Size: x.Size, Extents: []meta.Extent{x}}, MD5: md5.Sum(data), Class: engine.ClassStandard,
	}
}

func (s *script) write(x *meta.Extent, data []byte) error {
	w, err := extent.NewWriter(s.ctx, extent.Config{Stores: s, Pool: s.pool, Code: s.code, ID: x.ID, Size: x.Size, Drives: x.Drives})
	if err != nil {
		return err
	}
	block := disk.AlignedBytes(s.code.Block())
	if err := w.Write(block[:copy(block, data)]); err != nil {
		w.Abort()
		return err
	}
	_, err = w.Commit(s.ctx)
	return err
}

func (s *script) deleteShards(x engine.ExtentID, indexes ...uint8) {
	for _, i := range indexes {
		if s.err == nil {
			s.err = s.drives[i].DeleteShards(s.ctx, []engine.ShardID{{Extent: x, Index: i}})
		}
	}
}

// Store implements extent.Stores.
func (g *generator) Store(id engine.DriveID) extent.ShardStore { return store{g.drives[id-1]} }

type store struct{ *drive.Drive }

// CreateShard implements extent.ShardStore.
func (s store) CreateShard(id engine.ShardID, bytes int64) (extent.ShardWriter, error) {
	return s.Drive.CreateShard(id, bytes)
}

// NewShard implements extent.ShardStore.
func (s store) NewShard(id engine.ShardID, bytes int64) (extent.ShardWriter, error) {
	return s.Drive.NewShard(id, bytes)
}
