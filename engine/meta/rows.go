package meta

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"holdfast/engine"
)

// The first byte of a row's key says what it is. docs/format.md draws every row; this list and that page change together.
// Numbers in keys are big endian and of fixed width, so that rows sort by them. 0x00 belongs to engine/group.
const (
	rowAggregate = 'a' // bucket, directory inode → aggregate
	rowBucket    = 'b' // bucket → bucket
	rowContent   = 'c' // content → content
	rowDrive     = 'd' // drive → drive state as this group has it
	rowDocument  = 'o' // bucket, name → value
	rowEpoch     = 'e' // epoch → epoch
	rowScattered = 'f' // bucket, inode → nothing: the file lies in too many pieces
	rowGroup     = 'g' // → counters of the group
	rowInode     = 'i' // bucket, inode → inode
	rowDetached  = 'j' // bucket, directory inode → how far it was taken apart: a directory under trash
	rowXattr     = 'k' // bucket, inode, name → value of an extended attribute
	rowLink      = 'l' // bucket, inode, directory inode, name → nothing: a name of a file that has several
	rowMissing   = 'm' // slack, extent → nothing: the extent lacks shards; slack more may go
	rowAnswer    = 'n' // epoch, number → answer
	rowPlacement = 'p' // drive, extent → shard index
	rowGarbage   = 'q' // index, content → nothing
	rowRun       = 'r' // content, number → run; of a content that patches change: content, end of the run within it
	rowStaged    = 's' // epoch, content → nothing: a content that its writer still adds to
	rowEntry     = 't' // bucket, directory inode, name → entry; a directory's name ends with "/"
	rowUpload    = 'u' // bucket, key, upload id → upload
	rowOlder     = 'v' // bucket, directory inode, name, ^sequence → an older version of the entry
	rowPart      = 'w' // bucket, upload id, part number → part
	rowExtent    = 'x' // extent → extent
	rowCondemned = 'y' // extent → nothing: its writer gave it up
	rowTrash     = 'z' // bucket or bucket and upload id → nothing: to be taken apart

	rowCursor = 'C' // bucket, name → cursor: a follower's place in the feed of the bucket
	rowFeed   = 'F' // bucket, sequence → change

	rowHeld  = 'H' // bucket, owner, inode → what an owner has of it
	rowLocks = 'L' // bucket, inode → locks
	rowOwner = 'O' // bucket, owner → owner

	rowName        = 'B' // bucket name → directory record (root group)
	rowMapDrive    = 'D' // drive → drive record of the cluster map (root group)
	rowSetting     = 'K' // name → value (root group)
	rowNameCounter = 'N' // → last bucket id given (root group)
)

// rowFormat is the format version of every row's value. Every apply writes the group's row, so that this one alone tells at a start whether a
// later version has written: whoever adds a kind of row raises the version too.
//
// Format 2 added the versioning of buckets, delete markers, older versions and their ids. Format 3 added tags, documents of buckets, and in the
// contents of parts their numbers and checksums. Format 4 added locks, and the tokens of renames. Format 5 added what files have: names, types and
// attributes of inodes, links, extended attributes, owners, contents that patches change, and holes; detached
// directories; drives that leave; cursors and the changes of buckets.
const rowFormat = 6

// rootInode is the directory that a bucket's keys are walked from.
const rootInode = 1

func key8(row byte, a uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{row}, a)
}

func key16(row byte, a, b uint64) []byte {
	k := make([]byte, 1, 17+32)
	k[0] = row
	k = binary.BigEndian.AppendUint64(k, a)
	return binary.BigEndian.AppendUint64(k, b)
}

func entryKey(bucket engine.BucketID, directory uint64, name string) []byte {
	return append(key16(rowEntry, uint64(bucket), directory), name...)
}

// olderKey orders the older versions of a name from the newest to the oldest. In the key 0x00 of the name is written as in uploadKey.
func olderKey(bucket engine.BucketID, directory uint64, name string, s engine.Sequence) []byte {
	return binary.BigEndian.AppendUint64(olderPrefix(bucket, directory, name), ^uint64(s))
}

func olderPrefix(bucket engine.BucketID, directory uint64, name string) []byte {
	return append(appendEscaped(key16(rowOlder, uint64(bucket), directory), name), 0, 1)
}

func extentKey(row byte, id engine.ExtentID) []byte {
	return appendExtent([]byte{row}, id)
}

func placementKey(drive engine.DriveID, id engine.ExtentID) []byte {
	return appendExtent(key8(rowPlacement, uint64(drive)), id)
}

func missingKey(slack byte, id engine.ExtentID) []byte {
	return appendExtent([]byte{rowMissing, slack}, id)
}

// uploadKey orders uploads by key, then by id, whose first bytes are the time of start. In the key 0x00 is written as 0x00 0xff and
// the end as 0x00 0x01, so that no key is a prefix of another.
func uploadKey(bucket engine.BucketID, key engine.Key, id string) []byte {
	k := appendEscaped(key8(rowUpload, uint64(bucket)), string(key))
	return append(append(k, 0, 1), id...)
}

func appendEscaped(k []byte, s string) []byte {
	for i := range len(s) {
		k = append(k, s[i])
		if s[i] == 0 {
			k = append(k, 0xff)
		}
	}
	return k
}

// splitUploadKey undoes uploadKey for what follows the bucket.
func splitUploadKey(k []byte) (key engine.Key, id string, err error) {
	var name []byte
	for i := 0; i < len(k); i++ {
		if k[i] != 0 {
			name = append(name, k[i])
			continue
		}
		if i+1 >= len(k) {
			break
		}
		if k[i+1] == 1 {
			return engine.Key(name), string(k[i+2:]), nil
		}
		name = append(name, 0)
		i++
	}
	return "", "", errFormat
}

func partKey(bucket engine.BucketID, id string, number int) []byte {
	k := append(key8(rowPart, uint64(bucket)), id...)
	return binary.BigEndian.AppendUint16(k, uint16(number))
}

// after returns the least key greater than every key that begins with prefix; nil if there is none.
func after(prefix []byte) []byte {
	k := slices.Clone(prefix)
	for i := len(k) - 1; i >= 0; i-- {
		if k[i] != 0xff {
			k[i]++
			return k[:i+1]
		}
	}
	return nil
}

func sortedNames(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func (t etag) String() string {
	s := hex.EncodeToString(t.md5[:])
	switch {
	case t.parts == patchedParts:
		s += "-1"
	case t.parts > 0:
		s += "-" + strconv.Itoa(t.parts)
	}
	return s
}

// patchedParts, as the number of parts, marks the ETag of a file that was patched: it is that of engine.PatchTag, and there are no parts.
const patchedParts = 1 << 20

func (t etag) patched() bool { return t.parts == patchedParts }

// count returns the number of parts that S3 knows of.
func (t etag) count() int {
	if t.patched() {
		return 0
	}
	return t.parts
}

// groupRow has the counters of a group.
type groupRow struct {
	stamp   int64  // of the last command, unix nanoseconds
	content uint64 // last content id given
}

func (r *groupRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 20)}
	e.byte(rowFormat)
	e.int(r.stamp)
	e.uint(r.content)
	return e.b
}

func (r *groupRow) decode(d *decoder) {
	d.version(rowFormat)
	r.stamp = d.int()
	r.content = d.uint()
}

// epochRow is a writer's licence.
type epochRow struct {
	node   uint64 // the node that writes under it
	closed bool
	// confirmed is the least number whose answer the writer has not confirmed; older answers are gone, and a command below it is
	// never applied again.
	confirmed uint64
}

func (r *epochRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 20)}
	e.byte(rowFormat)
	e.uint(r.node)
	e.bool(r.closed)
	e.uint(r.confirmed)
	return e.b
}

func (r *epochRow) decode(d *decoder) {
	d.version(rowFormat)
	r.node = d.uint()
	r.closed = d.bool()
	r.confirmed = d.uint()
}

// bucketRow is a bucket as its group has it.
type bucketRow struct {
	name       engine.BucketName
	created    int64
	inode      uint64 // last inode number given
	sequence   engine.Sequence
	versioning engine.Versioning
	lock       engine.BucketLock
	// How many cursors it has, and how many of them are not lost: while there is one, changes are noted.
	cursors, followed uint64
	quota             engine.Quota
	counted           bool // the counts of its directories have the bytes of all versions; those of formats before 6 have not
}

func (r *bucketRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 48)}
	e.byte(rowFormat)
	e.string(string(r.name))
	e.int(r.created)
	e.uint(r.inode)
	e.uint(uint64(r.sequence))
	e.byte(byte(r.versioning))
	e.bucketLock(&r.lock)
	e.uint(r.cursors)
	e.uint(r.followed)
	e.uint(r.quota.Bytes)
	e.uint(r.quota.Objects)
	e.bool(r.counted)
	return e.b
}

func (r *bucketRow) decode(d *decoder) {
	d.version(rowFormat)
	r.name = engine.BucketName(d.string())
	r.created = d.int()
	r.inode = d.uint()
	r.sequence = engine.Sequence(d.uint())
	if d.format >= 2 {
		r.versioning = engine.Versioning(d.byte())
	}
	if d.format >= 4 {
		r.lock = d.bucketLock()
	}
	if d.format >= 5 {
		r.cursors = d.uint()
		r.followed = d.uint()
	}
	if d.format >= 6 {
		r.quota = engine.Quota{Bytes: d.uint(), Objects: d.uint()}
		r.counted = d.bool()
	}
}

// What an entry's top version is.
const (
	entryDirectory = 1
	entryObject    = 2
	entryMarker    = 3 // a delete marker; as any version it may be the only one, or an older one
)

// entryRow is the top of a name's stack of versions, with what a listing shows. Older versions are rows of the same form, keyed by olderKey.
type entryRow struct {
	kind     byte
	inode    uint64          // 0 for a marker
	sequence engine.Sequence // of the change that made this version
	stamp    int64           // modification time, unix nanoseconds
	size     int64
	etag     etag
	class    engine.StorageClass
	named    bool   // the version has an id of its own; without one it is the null version
	older    uint64 // number of older versions; of the top only
	// nullOlder is the sequence of the null version if that is among the older ones, else 0; of the top only.
	nullOlder engine.Sequence
}

// version returns the id.
func (r *entryRow) version() engine.VersionID {
	if r.named {
		return engine.FormatVersion(r.sequence)
	}
	return engine.NullVersion
}

func (r *entryRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 64)}
	e.byte(rowFormat)
	e.byte(r.kind)
	e.uint(r.inode)
	if r.kind == entryDirectory {
		return e.b
	}
	e.uint(uint64(r.sequence))
	e.int(r.stamp)
	e.uint(uint64(r.size))
	e.etag(r.etag)
	e.string(shortClass(r.class))
	e.uint(r.older)
	e.bool(r.named)
	e.uint(uint64(r.nullOlder))
	return e.b
}

func (r *entryRow) decode(d *decoder) {
	d.version(rowFormat)
	r.kind = d.byte()
	r.inode = d.uint()
	switch r.kind {
	case entryDirectory:
		return
	case entryObject, entryMarker:
	default:
		d.fail()
	}
	r.sequence = engine.Sequence(d.uint())
	r.stamp = d.int()
	r.size = int64(d.uint())
	r.etag = d.etag()
	r.class = longClass(d.string())
	r.older = d.uint()
	if d.format >= 2 {
		r.named = d.bool()
		r.nullOlder = engine.Sequence(d.uint())
	}
}

// The standard class is written as the empty string: it is in nearly every row.
func shortClass(c engine.StorageClass) string {
	if c == engine.ClassStandard {
		return ""
	}
	return string(c)
}

func longClass(s string) engine.StorageClass {
	if s == "" {
		return engine.ClassStandard
	}
	return engine.StorageClass(s)
}

// What an inode is.
const (
	inodeFile      = 1
	inodeDirectory = 2
)

// inodeRow is what an entry names.
type inodeRow struct {
	kind  byte
	links uint64
	// Where it is: of a directory the name has a trailing "/". Of a file with several names these are 0 and empty, and so they are of one that a format
	// before 5 wrote.
	parent uint64
	name   string
	posix  posix
	xattrs uint64 // how many it has
	holds  uint64 // owners that hold it: of a file
	// of a file
	of         engine.FileType
	content    uint64
	size       int64
	stamp      int64
	sequence   engine.Sequence
	etag       etag
	class      engine.StorageClass
	attributes engine.Attributes
	checksum   engine.Checksum
	upload     string // id of the upload that made it, so that a repeated completion knows its own work
	tags       engine.Tags
	Lock       engine.Lock // exported, since DescribeRow reads times of such fields alone
	token      string      // of the rename that brought it here, so that a repetition knows its own work
}

func (r *inodeRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 96)}
	e.byte(rowFormat)
	e.byte(r.kind)
	e.uint(r.links)
	if r.kind == inodeDirectory {
		e.uint(r.parent)
		e.string(r.name)
		e.posix(&r.posix)
		e.uint(r.xattrs)
		return e.b
	}
	e.uint(r.content)
	e.uint(uint64(r.size))
	e.int(r.stamp)
	e.uint(uint64(r.sequence))
	e.etag(r.etag)
	e.string(shortClass(r.class))
	e.attributes(&r.attributes)
	e.checksum(&r.checksum)
	e.string(r.upload)
	e.tags(r.tags)
	e.lock(&r.Lock)
	e.string(r.token)
	e.byte(byte(r.of))
	e.uint(r.parent)
	e.string(r.name)
	e.posix(&r.posix)
	e.uint(r.xattrs)
	e.uint(r.holds)
	return e.b
}

func (r *inodeRow) decode(d *decoder) {
	d.version(rowFormat)
	r.kind = d.byte()
	r.links = d.uint()
	switch r.kind {
	case inodeDirectory:
		r.parent = d.uint()
		r.name = d.string()
		if d.format >= 5 {
			r.posix = d.posix()
			r.xattrs = d.uint()
		}
		return
	case inodeFile:
	default:
		d.fail()
	}
	r.content = d.uint()
	r.size = int64(d.uint())
	r.stamp = d.int()
	r.sequence = engine.Sequence(d.uint())
	r.etag = d.etag()
	r.class = longClass(d.string())
	r.attributes = d.attributes()
	r.checksum = d.checksum()
	r.upload = d.string()
	if d.format >= 3 {
		r.tags = d.tags()
	}
	if d.format >= 4 {
		r.Lock = d.lock()
		r.token = d.string()
	}
	if d.format >= 5 {
		r.of = engine.FileType(d.byte())
		r.parent = d.uint()
		r.name = d.string()
		r.posix = d.posix()
		r.xattrs = d.uint()
		r.holds = d.uint()
	}
}

// posix is what an inode has beside its content. Times are unix nanoseconds; 0 says that nobody set them: the content's stamp says when, then.
type posix struct {
	set                               bool // mode, uid or gid were set
	mode, uid, gid, flags             uint32
	device                            uint64
	modified, accessed, changed, born int64
}

func (e *encoder) posix(p *posix) {
	if *p == (posix{}) {
		e.byte(0)
		return
	}
	e.byte(1 + flag(p.set))
	for _, n := range []uint32{p.mode, p.uid, p.gid, p.flags} {
		e.uint(uint64(n))
	}
	e.uint(p.device)
	for _, t := range []int64{p.modified, p.accessed, p.changed, p.born} {
		e.int(t)
	}
}

func (d *decoder) posix() (p posix) {
	b := d.byte()
	if b == 0 {
		return p
	}
	if b > 2 {
		d.fail()
	}
	p.set = b == 2
	for _, n := range []*uint32{&p.mode, &p.uid, &p.gid, &p.flags} {
		v := d.uint()
		if v > math.MaxUint32 {
			d.fail()
		}
		*n = uint32(v)
	}
	p.device = d.uint()
	for _, t := range []*int64{&p.modified, &p.accessed, &p.changed, &p.born} {
		*t = d.int()
	}
	return p
}

// xattrRow is the value of an extended attribute.
type xattrRow struct{ value []byte }

func (r *xattrRow) encode() []byte {
	e := encoder{b: make([]byte, 0, len(r.value)+4)}
	e.byte(rowFormat)
	e.bytes(r.value)
	return e.b
}

func (r *xattrRow) decode(d *decoder) {
	d.version(rowFormat)
	r.value = bytes.Clone(d.bytes())
}

// aggregateRow counts what lies beneath a directory, at any depth.
type aggregateRow struct {
	objects  uint64 // current versions that are no delete markers
	bytes    uint64 // their sizes
	versions uint64 // all versions, delete markers included
	locked   uint64 // versions with a retention, even one that has ended, or a legal hold
	// spare is what the longest names from here to a version leave of KeyBytesMax; what went away still counts while the directory is there. Formats
	// before 4 did not know, and have 0.
	spare   uint64
	changed int64 // when a name in the directory last came or went, unix nanoseconds; 0 if that was before format 5
	// older is the sizes of versions that are not current. Formats before 6 did not count them: what they left is missing from it for ever.
	older uint64
}

// all returns the sizes of all versions.
func (r *aggregateRow) all() uint64 { return r.bytes + r.older }

// delta is what a directory adds to the one that it comes into.
func (r *aggregateRow) delta() delta {
	return delta{objects: int64(r.objects), bytes: int64(r.bytes), all: int64(r.all()), versions: int64(r.versions), longest: engine.KeyBytesMax - r.spare}
}

func (r *aggregateRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 20)}
	e.byte(rowFormat)
	e.uint(r.objects)
	e.uint(r.bytes)
	e.uint(r.versions)
	e.uint(r.locked)
	e.uint(r.spare)
	e.int(r.changed)
	e.uint(r.older)
	return e.b
}

func (r *aggregateRow) decode(d *decoder) {
	d.version(rowFormat)
	r.objects = d.uint()
	r.bytes = d.uint()
	r.versions = d.uint()
	r.locked = d.uint()
	if d.format >= 4 {
		r.spare = d.uint()
	}
	if d.format >= 5 {
		r.changed = d.int()
	}
	if d.format >= 6 {
		r.older = d.uint()
	}
}

// emptyRow says what it says by its key.
type emptyRow struct{}

func (*emptyRow) decode(d *decoder) { d.version(rowFormat) }

// placementRow says which shard of the extent lies on the drive.
type placementRow struct{ index byte }

func (r *placementRow) decode(d *decoder) {
	d.version(rowFormat)
	r.index = d.byte()
}

// Run is a range of an extent or of another content, or a hole, in order of the content that it is part of.
type Run struct {
	Extent  engine.ExtentID // if Content is 0
	Content uint64
	Offset  int64 // first byte, within the extent's data or the content
	Length  int64
}

// Hole reports whether the run is of zeros that nothing keeps: no writer has epoch 0.
func (r *Run) Hole() bool { return r.Content == 0 && r.Extent == engine.ExtentID{} }

func (e *encoder) run(r *Run) {
	e.uint(r.Content)
	if r.Content == 0 {
		e.extent(r.Extent)
	}
	e.uint(uint64(r.Offset))
	e.uint(uint64(r.Length))
}

func (d *decoder) run() (r Run) {
	r.Content = d.uint()
	if r.Content == 0 {
		r.Extent = d.extent()
	}
	r.Offset = int64(d.uint())
	r.Length = int64(d.uint())
	if r.Offset < 0 || r.Length < 0 {
		d.fail()
	}
	return r
}

// runRow is a run of a content that has many.
type runRow struct{ Run }

func (r *runRow) decode(d *decoder) {
	d.version(rowFormat)
	r.Run = d.run()
}

// runsInRow is the most runs that a content's own row carries; more are rows keyed (content, number of the run).
const runsInRow = 96

// contentRow is a reference-counted list of runs, or a few bytes. It is immutable, but for that whose runs are keyed by their ends: the only inode that has
// it may change it in place. Readers have a list of one instant, and pins keep what its runs name.
type contentRow struct {
	refs   uint64 // inodes, parts and runs that name it
	size   int64
	inline bool
	data   []byte // if inline
	runs   []Run  // if not inline and count ≤ runsInRow
	count  int    // number of runs
	staged uint64 // epoch whose writer still adds runs; 0 once it is whole
	part   partSum
	depth  uint64 // levels of contents beneath it; those that a format before 5 wrote have 0, and two at most
	ends   bool   // the runs are rows keyed by their ends
	// settled is how many runs there were when a keeper found nothing that was worth being written anew; 0 if none has looked.
	settled uint64
}

// partSum is what a content remembers of the part of an upload that it was made for.
type partSum struct {
	number   int // 0: it was made for something else, or by format 2
	checksum engine.Checksum
}

func (e *encoder) partSum(p *partSum) {
	e.uint(uint64(p.number))
	if p.number > 0 {
		e.checksum(&p.checksum)
	}
}

func (d *decoder) partSum() (p partSum) {
	if d.format < 3 {
		return p
	}
	if p.number = int(d.uint()); p.number > 0 {
		p.checksum = d.checksum()
	}
	return p
}

func (r *contentRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 32+len(r.data)+len(r.runs)*30)}
	e.byte(rowFormat)
	e.uint(r.refs)
	e.uint(uint64(r.size))
	e.bool(r.inline)
	if r.inline {
		e.bytes(r.data)
		e.partSum(&r.part)
		return e.b
	}
	e.uint(r.staged)
	e.uint(uint64(r.count))
	e.uint(uint64(len(r.runs)))
	for i := range r.runs {
		e.run(&r.runs[i])
	}
	e.partSum(&r.part)
	e.uint(r.depth)
	if e.bool(r.ends); r.ends {
		e.uint(r.settled)
	}
	return e.b
}

func (r *contentRow) decode(d *decoder) {
	d.version(rowFormat)
	r.refs = d.uint()
	r.size = int64(d.uint())
	if r.inline = d.bool(); r.inline {
		r.data = bytes.Clone(d.bytes())
		r.part = d.partSum()
		return
	}
	r.staged = d.uint()
	r.count = int(d.uint())
	r.runs = d.runs()
	r.part = d.partSum()
	if d.format >= 5 {
		r.depth = d.uint()
		if r.ends = d.bool(); r.ends {
			r.settled = d.uint()
		}
	}
}

func (d *decoder) runs() []Run {
	n := d.count()
	if n == 0 {
		return nil
	}
	runs := make([]Run, 0, min(n, len(d.b)/3+1))
	for range n {
		runs = append(runs, d.run())
		if d.err != nil {
			return nil
		}
	}
	return runs
}

// Extent is where an extent's shards are.
type Extent struct {
	ID         engine.ExtentID
	Redundancy engine.Redundancy
	Size       int64 // bytes of data
	Class      engine.StorageClass
	Content    uint64           // the content that owns it
	Drives     []engine.DriveID // of shard 0, 1, …: Data+Parity of them
	Missing    uint64           // bit i: shard i is not on its drive
	// Reduced says that the writer used a narrower code than the class has, for lack of drives.
	Reduced bool
}

func (e *encoder) extentBody(x *Extent) {
	e.byte(byte(x.Redundancy.Data))
	e.byte(byte(x.Redundancy.Parity))
	e.uint(uint64(x.Size))
	e.string(shortClass(x.Class))
	e.uint(x.Content)
	e.uint(x.Missing)
	e.bool(x.Reduced)
	for _, drive := range x.Drives {
		e.uint(uint64(drive))
	}
}

func (d *decoder) extentBody(x *Extent) {
	x.Redundancy.Data = int(d.byte())
	x.Redundancy.Parity = int(d.byte())
	x.Size = int64(d.uint())
	x.Class = longClass(d.string())
	x.Content = d.uint()
	x.Missing = d.uint()
	x.Reduced = d.bool()
	n := x.Redundancy.Data + x.Redundancy.Parity
	if x.Redundancy.Data == 0 || n > 64 || x.Size < 0 || x.Size > engine.ExtentBytesMax {
		d.fail()
		return
	}
	x.Drives = make([]engine.DriveID, n)
	for i := range x.Drives {
		x.Drives[i] = engine.DriveID(d.uint())
	}
}

func (x *Extent) encode() []byte {
	e := encoder{b: make([]byte, 0, 32+len(x.Drives)*9)}
	e.byte(rowFormat)
	e.extentBody(x)
	return e.b
}

func (x *Extent) decode(d *decoder) {
	d.version(rowFormat)
	d.extentBody(x)
}

// missingCount returns the number of shards that are not where Drives says.
func (x *Extent) missingCount() int {
	n := 0
	for i := range x.Drives {
		if x.Missing&(1<<i) != 0 {
			n++
		}
	}
	return n
}

// slack returns how many more shards may be lost; 0 if none or too many are already.
func (x *Extent) slack() byte { return byte(max(0, x.Redundancy.Parity-x.missingCount())) }

// driveRow is a drive as a group has it.
type driveRow struct {
	out  bool // takes no new shards; those that commands place on it are missing
	gone bool // out for good: nothing on it will be seen again
	// leaving says that it takes no new shards either, and that its own move to others; heir is the drive that takes its place, or 0.
	leaving bool
	heir    engine.DriveID
}

func (r *driveRow) encode() []byte {
	e := encoder{}
	e.byte(rowFormat)
	e.bool(r.out)
	e.bool(r.gone)
	e.bool(r.leaving)
	e.uint(uint64(r.heir))
	return e.b
}

func (r *driveRow) decode(d *decoder) {
	d.version(rowFormat)
	r.out = d.bool()
	r.gone = d.bool()
	if d.format >= 5 {
		r.leaving = d.bool()
		r.heir = engine.DriveID(d.uint())
	}
}

// uploadRow is a multipart upload in progress.
type uploadRow struct {
	started    int64
	class      engine.StorageClass
	attributes engine.Attributes
	algorithm  string
	full       bool
	tags       engine.Tags
	Lock       engine.Lock
}

func (r *uploadRow) encode() []byte {
	e := encoder{}
	e.byte(rowFormat)
	e.int(r.started)
	e.string(shortClass(r.class))
	e.attributes(&r.attributes)
	e.string(r.algorithm)
	e.bool(r.full)
	e.tags(r.tags)
	e.lock(&r.Lock)
	return e.b
}

func (r *uploadRow) decode(d *decoder) {
	d.version(rowFormat)
	r.started = d.int()
	r.class = longClass(d.string())
	r.attributes = d.attributes()
	r.algorithm = d.string()
	r.full = d.bool()
	if d.format >= 3 {
		r.tags = d.tags()
	}
	if d.format >= 4 {
		r.Lock = d.lock()
	}
}

// partRow is a part of an upload.
type partRow struct {
	content  uint64
	size     int64
	stamp    int64
	md5      [16]byte
	checksum engine.Checksum
}

func (r *partRow) encode() []byte {
	e := encoder{}
	e.byte(rowFormat)
	e.uint(r.content)
	e.uint(uint64(r.size))
	e.int(r.stamp)
	e.etag(etag{md5: r.md5})
	e.checksum(&r.checksum)
	return e.b
}

func (r *partRow) decode(d *decoder) {
	d.version(rowFormat)
	r.content = d.uint()
	r.size = int64(d.uint())
	r.stamp = d.int()
	r.md5 = d.etag().md5
	r.checksum = d.checksum()
}

// row is what every row value can do.
type row interface{ decode(*decoder) }

// parse decodes a row's value; an error names the key.
func parse(key, value []byte, r row) error {
	d := decoder{b: value}
	r.decode(&d)
	if err := d.end(); err != nil {
		return fmt.Errorf("metadata row %q: %w", key, err)
	}
	return nil
}

// checkVersion refuses a row of a later version by its first byte; what follows is not looked at.
func checkVersion(key, value []byte) error {
	d := decoder{b: value}
	if d.version(rowFormat); d.err != nil {
		return fmt.Errorf("metadata row %q: %w", key, d.err)
	}
	return nil
}

// load reads a row into r and reports whether it exists.
func load(view Reader, key []byte, r row) (bool, error) {
	value, ok, err := view.Get(key)
	if err != nil || !ok {
		return false, err
	}
	return true, parse(key, value, r)
}
