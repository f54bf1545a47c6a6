package meta

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"time"

	"holdfast/engine"
)

// HeaderBytes is the length of the header that begins every command: epoch, number and stamp, 8 bytes each, big endian.
const HeaderBytes = 24

// CommandBytesMax is the largest command.
const CommandBytesMax = 1 << 20

// commandFormat is the format of the commands that are written. Format 2 added the versions that Source and Delete name. Format 3 added tags,
// the class of what is copied, and Recode. Format 4 added locks, Append and the renames. Format 5 added the sender's clock to what makes versions that a
// bucket may lock. Format 6 added the commands of files, those of drives that leave, RemovePrefix, RemoveBucket and TakeApart, those of cursors, Compact
// and Settle. Format 7 added SetBucketQuota.
const commandFormat = 7

// Header begins every command. (Epoch, Number) identifies it: a repetition is answered, not applied again. The group's leader
// writes Stamp when it proposes.
type Header struct {
	Epoch, Number uint64
	Stamp         int64 // unix nanoseconds
}

// ParseHeader reads the header of a command; ok is false if there is none.
func ParseHeader(command []byte) (h Header, ok bool) {
	if len(command) < HeaderBytes {
		return h, false
	}
	return Header{
		Epoch:  binary.BigEndian.Uint64(command),
		Number: binary.BigEndian.Uint64(command[8:]),
		Stamp:  int64(binary.BigEndian.Uint64(command[16:])),
	}, true
}

// SetStamp writes the stamp of an encoded command.
func SetStamp(command []byte, stamp int64) {
	binary.BigEndian.PutUint64(command[16:], uint64(stamp))
}

// Command is a change that a writer asks of a group.
type Command interface {
	opcode() byte
	encode(*encoder)
	decode(*decoder)
}

// Encode returns the bytes of a command. Confirmed is the least number of the epoch whose answer the writer may still ask for.
func Encode(epoch, number, confirmed uint64, c Command) []byte {
	e := encoder{b: make([]byte, HeaderBytes, 256)}
	binary.BigEndian.PutUint64(e.b, epoch)
	binary.BigEndian.PutUint64(e.b[8:], number)
	e.byte(commandFormat)
	e.byte(c.opcode())
	e.uint(confirmed)
	c.encode(&e)
	return e.b
}

// opcodes. A number is never given to another command.
const (
	opOpenEpoch      = 1
	opCloseEpochs    = 2
	opCondemn        = 3
	opCreateBucket   = 4
	opDeleteBucket   = 5
	opPut            = 6
	opDelete         = 7
	opStartUpload    = 8
	opPutPart        = 9
	opCompleteUpload = 10
	opAbortUpload    = 11
	opStage          = 12
	opForget         = 13
	opMoveShard      = 14
	opReportMissing  = 15
	opSetDrive       = 16
	opClearTrash     = 17
	opCopy           = 18
	opCopyPart       = 19
	opSetVersioning  = 20
	opSetTags        = 21
	opSetDocument    = 22
	opRecode         = 23
	opSetBucketLock  = 24
	opSetLock        = 25
	opAppend         = 26
	opRename         = 27
	opRenamePrefix   = 28
	opMakeFile       = 29
	opLinkFile       = 30
	opRemoveFile     = 31
	opReserveBucket  = 32
	opSetBucket      = 33
	opMapDrive       = 34
	opSetting        = 35
	opMoveFile       = 36
	opSetFile        = 37
	opSetXattr       = 38
	opPatchFile      = 39
	opRemovePrefix   = 40
	opRemoveBucket   = 41
	opTakeApart      = 42
	opOpenOwner      = 43
	opRenewOwner     = 44
	opCloseOwner     = 45
	opHoldFile       = 46
	opLockFile       = 47
	opSetLeaving     = 48
	opRemoveDrive    = 49
	opOpenCursor     = 50
	opMoveCursor     = 51
	opTrimFeed       = 52
	opCompact        = 55
	opSettle         = 56
	opSetBucketQuota = 57
)

var commands = map[byte]func() Command{
	opOpenEpoch:      func() Command { return new(OpenEpoch) },
	opCloseEpochs:    func() Command { return new(CloseEpochs) },
	opCondemn:        func() Command { return new(Condemn) },
	opCreateBucket:   func() Command { return new(CreateBucket) },
	opDeleteBucket:   func() Command { return new(DeleteBucket) },
	opPut:            func() Command { return new(Put) },
	opDelete:         func() Command { return new(Delete) },
	opStartUpload:    func() Command { return new(StartUpload) },
	opPutPart:        func() Command { return new(PutPart) },
	opCompleteUpload: func() Command { return new(CompleteUpload) },
	opAbortUpload:    func() Command { return new(AbortUpload) },
	opStage:          func() Command { return new(Stage) },
	opForget:         func() Command { return new(Forget) },
	opMoveShard:      func() Command { return new(MoveShard) },
	opReportMissing:  func() Command { return new(ReportMissing) },
	opSetDrive:       func() Command { return new(SetDrive) },
	opClearTrash:     func() Command { return new(ClearTrash) },
	opCopy:           func() Command { return new(Copy) },
	opCopyPart:       func() Command { return new(CopyPart) },
	opSetVersioning:  func() Command { return new(SetVersioning) },
	opSetTags:        func() Command { return new(SetTags) },
	opSetDocument:    func() Command { return new(SetDocument) },
	opRecode:         func() Command { return new(Recode) },
	opSetBucketLock:  func() Command { return new(SetBucketLock) },
	opSetLock:        func() Command { return new(SetLock) },
	opAppend:         func() Command { return new(Append) },
	opRename:         func() Command { return new(Rename) },
	opRenamePrefix:   func() Command { return new(RenamePrefix) },
	opReserveBucket:  func() Command { return new(ReserveBucket) },
	opSetBucket:      func() Command { return new(SetBucket) },
	opMapDrive:       func() Command { return new(MapDrive) },
	opSetting:        func() Command { return new(Setting) },
	opMakeFile:       func() Command { return new(MakeFile) },
	opLinkFile:       func() Command { return new(LinkFile) },
	opRemoveFile:     func() Command { return new(RemoveFile) },
	opMoveFile:       func() Command { return new(MoveFile) },
	opSetFile:        func() Command { return new(SetFile) },
	opSetXattr:       func() Command { return new(SetXattr) },
	opPatchFile:      func() Command { return new(PatchFile) },
	opOpenOwner:      func() Command { return new(OpenOwner) },
	opRenewOwner:     func() Command { return new(RenewOwner) },
	opCloseOwner:     func() Command { return new(CloseOwner) },
	opHoldFile:       func() Command { return new(HoldFile) },
	opLockFile:       func() Command { return new(LockFile) },
	opRemovePrefix:   func() Command { return new(RemovePrefix) },
	opRemoveBucket:   func() Command { return new(RemoveBucket) },
	opTakeApart:      func() Command { return new(TakeApart) },
	opSetLeaving:     func() Command { return new(SetLeaving) },
	opRemoveDrive:    func() Command { return new(RemoveDrive) },
	opOpenCursor:     func() Command { return new(OpenCursor) },
	opMoveCursor:     func() Command { return new(MoveCursor) },
	opTrimFeed:       func() Command { return new(TrimFeed) },
	opCompact:        func() Command { return new(Compact) },
	opSettle:         func() Command { return new(Settle) },
	opSetBucketQuota: func() Command { return new(SetBucketQuota) },
}

// parseCommand decodes a command; the result refers to the bytes. ErrNewer for a later version and for an opcode that is not known, for none is
// ever taken away.
func parseCommand(b []byte) (h Header, confirmed uint64, c Command, err error) {
	h, ok := ParseHeader(b)
	if !ok {
		return h, 0, nil, errFormat
	}
	d := decoder{b: b[HeaderBytes:]}
	version, opcode := d.byte(), d.byte()
	build := commands[opcode]
	d.format = version
	confirmed = d.uint()
	switch {
	case version > commandFormat:
		return h, 0, nil, engine.Newer("the command", uint64(version), commandFormat)
	case d.err != nil || version == 0 || opcode == 0:
		return h, 0, nil, errFormat
	case build == nil:
		return h, 0, nil, engine.E(engine.KindNotImplemented, "the command has opcode %d, which this holdfast does not know: %w", opcode, engine.ErrNewer)
	}
	c = build()
	c.decode(&d)
	return h, confirmed, c, d.end()
}

// OpenEpoch gives Node a new epoch; its number is the answer's Epoch. It is sent under epoch 0 with a random number.
type OpenEpoch struct{ Node uint64 }

func (*OpenEpoch) opcode() byte        { return opOpenEpoch }
func (c *OpenEpoch) encode(e *encoder) { e.uint(c.Node) }
func (c *OpenEpoch) decode(d *decoder) { c.Node = d.uint() }

// CloseEpochs closes every epoch of Node below Below: no command of theirs is applied any more, however late it arrives.
type CloseEpochs struct{ Node, Below uint64 }

func (*CloseEpochs) opcode() byte        { return opCloseEpochs }
func (c *CloseEpochs) encode(e *encoder) { e.uint(c.Node); e.uint(c.Below) }
func (c *CloseEpochs) decode(d *decoder) { c.Node = d.uint(); c.Below = d.uint() }

// Condemn gives up extents of the sender's epoch. The answer's Used says for each whether a content already owns it; of the others
// no later command can make use.
type Condemn struct{ Extents []engine.ExtentID }

func (*Condemn) opcode() byte { return opCondemn }
func (c *Condemn) encode(e *encoder) {
	e.uint(uint64(len(c.Extents)))
	for _, id := range c.Extents {
		e.extent(id)
	}
}
func (c *Condemn) decode(d *decoder) { c.Extents = d.extents() }

func (d *decoder) extents() []engine.ExtentID {
	n := d.count()
	ids := make([]engine.ExtentID, 0, min(n, len(d.b)/20+1))
	for range n {
		ids = append(ids, d.extent())
		if d.err != nil {
			return nil
		}
	}
	return ids
}

// CreateBucket makes a bucket's rows in its group. A repetition is no error. Lock enables locks, and versioning.
type CreateBucket struct {
	Bucket engine.BucketID
	Name   engine.BucketName
	Lock   bool
}

func (*CreateBucket) opcode() byte { return opCreateBucket }
func (c *CreateBucket) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Name))
	e.bool(c.Lock)
}
func (c *CreateBucket) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Name = engine.BucketName(d.string())
	if d.format >= 4 {
		c.Lock = d.bool()
	}
}

// DeleteBucket removes a bucket without versions; its uploads go to trash. A repetition is no error.
type DeleteBucket struct{ Bucket engine.BucketID }

func (*DeleteBucket) opcode() byte        { return opDeleteBucket }
func (c *DeleteBucket) encode(e *encoder) { e.uint(uint64(c.Bucket)) }
func (c *DeleteBucket) decode(d *decoder) { c.Bucket = engine.BucketID(d.uint()) }

// Data is the content that a command brings: a few bytes, or extents that lie one after another, or a content that was staged.
type Data struct {
	Size    int64
	Inline  []byte // if Extents is empty and Staged is 0
	Extents []Extent
	Staged  uint64
}

func (e *encoder) data(c *Data) {
	e.uint(uint64(c.Size))
	e.bytes(c.Inline)
	e.uint(uint64(len(c.Extents)))
	for i := range c.Extents {
		e.extent(c.Extents[i].ID)
		e.extentBody(&c.Extents[i])
	}
	e.uint(c.Staged)
}

func (d *decoder) data() (c Data) {
	c.Size = int64(d.uint())
	c.Inline = d.bytes()
	n := d.count()
	for range n {
		x := Extent{ID: d.extent()}
		d.extentBody(&x)
		if d.err != nil {
			return c
		}
		c.Extents = append(c.Extents, x)
	}
	c.Staged = d.uint()
	return c
}

// Put makes Data the current version of Key.
type Put struct {
	Bucket     engine.BucketID
	Key        engine.Key
	Data       Data
	MD5        [16]byte
	Class      engine.StorageClass
	Attributes engine.Attributes
	Checksum   engine.Checksum
	If         engine.Conditions
	Tags       engine.Tags
	Lock       engine.Lock // without a retention that of the bucket
	Clock      int64       // as in SetLock: that of the bucket begins then
}

func (*Put) opcode() byte { return opPut }
func (c *Put) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.data(&c.Data)
	e.b = append(e.b, c.MD5[:]...)
	e.string(shortClass(c.Class))
	e.attributes(&c.Attributes)
	e.checksum(&c.Checksum)
	e.conditions(&c.If)
	e.tags(c.Tags)
	e.lock(&c.Lock)
	e.int(c.Clock)
}
func (c *Put) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.Data = d.data()
	c.MD5 = d.md5()
	c.Class = longClass(d.string())
	c.Attributes = d.attributes()
	c.Checksum = d.checksum()
	c.If = d.conditions()
	if d.format >= 3 {
		c.Tags = d.tags()
	}
	if d.format >= 4 {
		c.Lock = d.lock()
	}
	if d.format >= 5 {
		c.Clock = d.int()
	}
}

func (d *decoder) md5() (sum [16]byte) {
	if len(d.b) < 16 {
		d.fail()
		return sum
	}
	copy(sum[:], d.b)
	d.b = d.b[16:]
	return sum
}

func (e *encoder) conditions(c *engine.Conditions) {
	var flags byte
	for i, set := range []bool{c.MatchAny, c.NoneMatchAny, len(c.Match) > 0, len(c.NoneMatch) > 0, c.Size != nil, !c.ModifiedAt.IsZero(),
		!c.ModifiedSince.IsZero(), !c.UnmodifiedSince.IsZero()} {
		if set {
			flags |= 1 << i
		}
	}
	e.byte(flags)
	for _, list := range [][]engine.ETag{c.Match, c.NoneMatch} {
		if len(list) == 0 {
			continue
		}
		e.uint(uint64(len(list)))
		for _, tag := range list {
			e.string(string(tag))
		}
	}
	if c.Size != nil {
		e.int(*c.Size)
	}
	if !c.ModifiedAt.IsZero() {
		e.int(c.ModifiedAt.Unix())
	}
	for _, t := range []time.Time{c.ModifiedSince, c.UnmodifiedSince} {
		if !t.IsZero() {
			e.int(clampedNano(t))
		}
	}
}

// clampedNano returns unix nanoseconds, for times that are too far off for them the nearest that there is.
func clampedNano(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

func (d *decoder) conditions() (c engine.Conditions) {
	flags := d.byte()
	c.MatchAny = flags&1 != 0
	c.NoneMatchAny = flags&2 != 0
	for i, list := range []*[]engine.ETag{&c.Match, &c.NoneMatch} {
		if flags&(4<<i) == 0 {
			continue
		}
		for range d.count() {
			*list = append(*list, engine.ETag(d.string()))
		}
	}
	if flags&16 != 0 {
		size := d.int()
		c.Size = &size
	}
	if flags&32 != 0 {
		c.ModifiedAt = time.Unix(d.int(), 0)
	}
	for i, t := range []*time.Time{&c.ModifiedSince, &c.UnmodifiedSince} {
		if flags&(64<<i) != 0 {
			*t = time.Unix(0, d.int())
		}
	}
	return c
}

// Source names the version that a copy is of, the current one if Version is empty. Sequence, if not 0, is that of the change which made it: the
// sender has read its content.
type Source struct {
	Bucket   engine.BucketID
	Key      engine.Key
	Version  engine.VersionID
	Sequence engine.Sequence
	If       engine.Conditions
}

func (e *encoder) source(s *Source) {
	e.uint(uint64(s.Bucket))
	e.string(string(s.Key))
	e.uint(uint64(s.Sequence))
	e.conditions(&s.If)
	e.string(string(s.Version))
}

func (d *decoder) source() (s Source) {
	s.Bucket = engine.BucketID(d.uint())
	s.Key = engine.Key(d.string())
	s.Sequence = engine.Sequence(d.uint())
	s.If = d.conditions()
	if d.format >= 2 {
		s.Version = engine.VersionID(d.string())
	}
	return s
}

// Copy makes a version that shares the content of From the current version of Key. The checksum is From's unless Checksum has one, the attributes
// are From's unless Replace is set, the tags unless ReplaceTags is. Class is From's, as the sender found it: KindConflict if it is another by now.
type Copy struct {
	Bucket     engine.BucketID
	Key        engine.Key
	From       Source
	Replace    bool
	Attributes engine.Attributes // if Replace
	Checksum   engine.Checksum
	If         engine.Conditions

	Class       engine.StorageClass // "" in format 2, which knew one class
	ReplaceTags bool
	Tags        engine.Tags // if ReplaceTags
	Lock        engine.Lock // as in Put
	Clock       int64       // as in Put
}

func (*Copy) opcode() byte { return opCopy }
func (c *Copy) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.source(&c.From)
	e.bool(c.Replace)
	e.attributes(&c.Attributes)
	e.checksum(&c.Checksum)
	e.conditions(&c.If)
	e.string(shortClass(c.Class))
	e.bool(c.ReplaceTags)
	e.tags(c.Tags)
	e.lock(&c.Lock)
	e.int(c.Clock)
}
func (c *Copy) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.From = d.source()
	c.Replace = d.bool()
	c.Attributes = d.attributes()
	c.Checksum = d.checksum()
	c.If = d.conditions()
	if d.format >= 3 {
		c.Class = longClass(d.string())
		c.ReplaceTags = d.bool()
		c.Tags = d.tags()
	}
	if d.format >= 4 {
		c.Lock = d.lock()
	}
	if d.format >= 5 {
		c.Clock = d.int()
	}
}

// CopyPart makes Length bytes of From's content, from Offset on, a part of an upload. MD5 and Checksum are those of the bytes.
type CopyPart struct {
	Bucket         engine.BucketID
	Key            engine.Key
	ID             string
	Number         int
	From           Source
	Offset, Length int64
	MD5            [16]byte
	Checksum       engine.Checksum
}

func (*CopyPart) opcode() byte { return opCopyPart }
func (c *CopyPart) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.string(c.ID)
	e.uint(uint64(c.Number))
	e.source(&c.From)
	e.uint(uint64(c.Offset))
	e.uint(uint64(c.Length))
	e.b = append(e.b, c.MD5[:]...)
	e.checksum(&c.Checksum)
}
func (c *CopyPart) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.ID = d.string()
	c.Number = int(d.uint())
	c.From = d.source()
	c.Offset = int64(d.uint())
	c.Length = int64(d.uint())
	c.MD5 = d.md5()
	c.Checksum = d.checksum()
}

// Delete removes a version of Key for good or, if Version is empty, does what the bucket's versioning says. Clock and Bypass are as in SetLock.
type Delete struct {
	Bucket  engine.BucketID
	Key     engine.Key
	Version engine.VersionID
	If      engine.Conditions
	Bypass  bool
	Clock   int64
}

func (*Delete) opcode() byte { return opDelete }
func (c *Delete) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.conditions(&c.If)
	e.string(string(c.Version))
	e.bool(c.Bypass)
	e.int(c.Clock)
}
func (c *Delete) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.If = d.conditions()
	if d.format >= 2 {
		c.Version = engine.VersionID(d.string())
	}
	if d.format >= 4 {
		c.Bypass = d.bool()
		c.Clock = d.int()
	}
}

// SetVersioning says what writes and deletes in a bucket do with the version that was current.
type SetVersioning struct {
	Bucket     engine.BucketID
	Versioning engine.Versioning
}

func (*SetVersioning) opcode() byte        { return opSetVersioning }
func (c *SetVersioning) encode(e *encoder) { e.uint(uint64(c.Bucket)); e.byte(byte(c.Versioning)) }
func (c *SetVersioning) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Versioning = engine.Versioning(d.byte())
}

// SetTags replaces the tags of a version, of the current one if Version is empty.
type SetTags struct {
	Bucket  engine.BucketID
	Key     engine.Key
	Version engine.VersionID
	Tags    engine.Tags
}

func (*SetTags) opcode() byte { return opSetTags }
func (c *SetTags) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.string(string(c.Version))
	e.tags(c.Tags)
}
func (c *SetTags) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.Version = engine.VersionID(d.string())
	c.Tags = d.tags()
}

// SetDocument keeps a value under a name of a bucket; an empty one removes it.
type SetDocument struct {
	Bucket engine.BucketID
	Name   string
	Value  []byte
}

func (*SetDocument) opcode() byte { return opSetDocument }
func (c *SetDocument) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(c.Name)
	e.bytes(c.Value)
}
func (c *SetDocument) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Name = d.string()
	c.Value = d.bytes()
}

// StartUpload begins an upload. ID is chosen by the sender: 24 bytes, the time of start and then random ones.
type StartUpload struct {
	Bucket     engine.BucketID
	Key        engine.Key
	ID         string
	Class      engine.StorageClass
	Attributes engine.Attributes
	Algorithm  string
	Full       bool
	Tags       engine.Tags
	Lock       engine.Lock // as in Put
}

func (*StartUpload) opcode() byte { return opStartUpload }
func (c *StartUpload) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.string(c.ID)
	e.string(shortClass(c.Class))
	e.attributes(&c.Attributes)
	e.string(c.Algorithm)
	e.bool(c.Full)
	e.tags(c.Tags)
	e.lock(&c.Lock)
}
func (c *StartUpload) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.ID = d.string()
	c.Class = longClass(d.string())
	c.Attributes = d.attributes()
	c.Algorithm = d.string()
	c.Full = d.bool()
	if d.format >= 3 {
		c.Tags = d.tags()
	}
	if d.format >= 4 {
		c.Lock = d.lock()
	}
}

// PutPart makes Data part Number of an upload.
type PutPart struct {
	Bucket   engine.BucketID
	Key      engine.Key
	ID       string
	Number   int
	Data     Data
	MD5      [16]byte
	Checksum engine.Checksum
}

func (*PutPart) opcode() byte { return opPutPart }
func (c *PutPart) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.string(c.ID)
	e.uint(uint64(c.Number))
	e.data(&c.Data)
	e.b = append(e.b, c.MD5[:]...)
	e.checksum(&c.Checksum)
}
func (c *PutPart) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.ID = d.string()
	c.Number = int(d.uint())
	c.Data = d.data()
	c.MD5 = d.md5()
	c.Checksum = d.checksum()
}

// Part names a part of a completion and the content that the sender saw in it.
type Part struct {
	Number  int
	Content uint64
}

// CompleteUpload makes the parts of an upload the current version of its key. The sender has read the parts, checked ETags,
// sizes and checksums and names their contents; apply refuses with KindConflict if one has changed since. With more parts than
// one command may touch, Staged is the content that Stage commands made of them.
type CompleteUpload struct {
	Bucket   engine.BucketID
	Key      engine.Key
	ID       string
	Parts    []Part
	Staged   uint64
	Size     int64
	Count    int // number of parts
	MD5      [16]byte
	Checksum engine.Checksum
	If       engine.Conditions
	Clock    int64 // as in Put
}

func (*CompleteUpload) opcode() byte { return opCompleteUpload }
func (c *CompleteUpload) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.string(c.ID)
	e.parts(c.Parts)
	e.uint(c.Staged)
	e.uint(uint64(c.Size))
	e.uint(uint64(c.Count))
	e.b = append(e.b, c.MD5[:]...)
	e.checksum(&c.Checksum)
	e.conditions(&c.If)
	e.int(c.Clock)
}
func (c *CompleteUpload) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.ID = d.string()
	c.Parts = d.parts()
	c.Staged = d.uint()
	c.Size = int64(d.uint())
	c.Count = int(d.uint())
	c.MD5 = d.md5()
	c.Checksum = d.checksum()
	c.If = d.conditions()
	if d.format >= 5 {
		c.Clock = d.int()
	}
}

func (e *encoder) parts(parts []Part) {
	e.uint(uint64(len(parts)))
	for _, p := range parts {
		e.uint(uint64(p.Number))
		e.uint(p.Content)
	}
}

func (d *decoder) parts() (parts []Part) {
	for range d.count() {
		parts = append(parts, Part{Number: int(d.uint()), Content: d.uint()})
		if d.err != nil {
			return nil
		}
	}
	return parts
}

// AbortUpload puts an upload under trash.
type AbortUpload struct {
	Bucket engine.BucketID
	Key    engine.Key
	ID     string
}

func (*AbortUpload) opcode() byte { return opAbortUpload }
func (c *AbortUpload) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.string(c.ID)
}
func (c *AbortUpload) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.ID = d.string()
}

// Stage appends parts of an upload to a content that only the sender's epoch knows; Content 0 makes a new one. The answer's Content
// is its id. What is staged when the epoch closes becomes garbage.
type Stage struct {
	Bucket  engine.BucketID
	ID      string // of the upload
	Content uint64
	Parts   []Part
}

func (*Stage) opcode() byte { return opStage }
func (c *Stage) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(c.ID)
	e.uint(c.Content)
	e.parts(c.Parts)
}
func (c *Stage) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.ID = d.string()
	c.Content = d.uint()
	c.Parts = d.parts()
}

// Forget removes a bounded number of runs of a garbage content, whose extents' shards the sender has deleted from every drive that
// is not gone for good, and the content with the last of them. The answer's Left is the number of runs left.
type Forget struct {
	Index   uint64 // of the garbage row
	Content uint64
	Extents []engine.ExtentID // those whose shards are deleted
}

func (*Forget) opcode() byte { return opForget }
func (c *Forget) encode(e *encoder) {
	e.uint(c.Index)
	e.uint(c.Content)
	(&Condemn{c.Extents}).encode(e)
}
func (c *Forget) decode(d *decoder) {
	c.Index = d.uint()
	c.Content = d.uint()
	c.Extents = d.extents()
}

// MoveShard records that a shard, which was on From or missing from it, is whole on To. KindConflict if the extent or its
// placement is another by now.
type MoveShard struct {
	Extent   engine.ExtentID
	Index    int
	From, To engine.DriveID
}

func (*MoveShard) opcode() byte { return opMoveShard }
func (c *MoveShard) encode(e *encoder) {
	e.extent(c.Extent)
	e.uint(uint64(c.Index))
	e.uint(uint64(c.From))
	e.uint(uint64(c.To))
}
func (c *MoveShard) decode(d *decoder) {
	c.Extent = d.extent()
	c.Index = int(d.uint())
	c.From = engine.DriveID(d.uint())
	c.To = engine.DriveID(d.uint())
}

// Recode puts another extent, which has the same bytes in another code, in the place of one that is run number Run of the content that owns it.
// The former becomes garbage, so that readers who know it go on. KindConflict if the content is garbage itself, or the run is another by now.
type Recode struct {
	Extent engine.ExtentID
	Run    int
	To     Extent
}

func (*Recode) opcode() byte { return opRecode }
func (c *Recode) encode(e *encoder) {
	e.extent(c.Extent)
	e.uint(uint64(c.Run))
	e.extent(c.To.ID)
	e.extentBody(&c.To)
}
func (c *Recode) decode(d *decoder) {
	c.Extent = d.extent()
	c.Run = int(d.uint())
	c.To = Extent{ID: d.extent()}
	d.extentBody(&c.To)
}

// ReportMissing records that a shard is not, or not whole, on the drive that should have it.
type ReportMissing struct {
	Extent engine.ExtentID
	Index  int
	Drive  engine.DriveID
}

func (*ReportMissing) opcode() byte { return opReportMissing }
func (c *ReportMissing) encode(e *encoder) {
	e.extent(c.Extent)
	e.uint(uint64(c.Index))
	e.uint(uint64(c.Drive))
}
func (c *ReportMissing) decode(d *decoder) {
	c.Extent = d.extent()
	c.Index = int(d.uint())
	c.Drive = engine.DriveID(d.uint())
}

// SetDrive tells a group whether a drive takes shards, and whether it is gone for good.
type SetDrive struct {
	Drive     engine.DriveID
	Out, Gone bool
}

func (*SetDrive) opcode() byte { return opSetDrive }
func (c *SetDrive) encode(e *encoder) {
	e.uint(uint64(c.Drive))
	e.bool(c.Out)
	e.bool(c.Gone)
}
func (c *SetDrive) decode(d *decoder) {
	c.Drive = engine.DriveID(d.uint())
	c.Out = d.bool()
	c.Gone = d.bool()
}

// ClearTrash takes a bounded piece of the first thing under trash apart. The answer's Left is 0 when nothing is left.
type ClearTrash struct{}

func (*ClearTrash) opcode() byte    { return opClearTrash }
func (*ClearTrash) encode(*encoder) {}
func (*ClearTrash) decode(*decoder) {}

// BucketState is where a bucket of the directory is in its life.
type BucketState byte

// A bucket is made and unmade in three steps so that any node can finish what it finds half-done: root, group, root.
const (
	BucketCreating BucketState = 1
	BucketActive   BucketState = 2
	BucketDeleting BucketState = 3
)

// ReserveBucket puts a name into the directory, state creating. The answer's Bucket is its new id. KindBucketExists if the name is
// there, in whatever state.
type ReserveBucket struct {
	Name  engine.BucketName
	Group engine.GroupID
	Lock  bool // as in CreateBucket
}

func (*ReserveBucket) opcode() byte { return opReserveBucket }
func (c *ReserveBucket) encode(e *encoder) {
	e.string(string(c.Name))
	e.uint(uint64(c.Group))
	e.bool(c.Lock)
}
func (c *ReserveBucket) decode(d *decoder) {
	c.Name = engine.BucketName(d.string())
	c.Group = engine.GroupID(d.uint())
	if d.format >= 4 {
		c.Lock = d.bool()
	}
}

// SetBucket moves a bucket of the directory from one state to another; To 0 removes it. KindConflict if it is not in From;
// KindNoSuchBucket if it is not there.
type SetBucket struct {
	Name     engine.BucketName
	Bucket   engine.BucketID
	From, To BucketState
}

func (*SetBucket) opcode() byte { return opSetBucket }
func (c *SetBucket) encode(e *encoder) {
	e.string(string(c.Name))
	e.uint(uint64(c.Bucket))
	e.byte(byte(c.From))
	e.byte(byte(c.To))
}
func (c *SetBucket) decode(d *decoder) {
	c.Name = engine.BucketName(d.string())
	c.Bucket = engine.BucketID(d.uint())
	c.From = BucketState(d.byte())
	c.To = BucketState(d.byte())
}

// MapDrive writes a drive's record into the cluster map.
type MapDrive struct {
	Drive  engine.DriveID
	Record DriveRecord
}

func (*MapDrive) opcode() byte        { return opMapDrive }
func (c *MapDrive) encode(e *encoder) { e.uint(uint64(c.Drive)); c.Record.encodeBody(e) }
func (c *MapDrive) decode(d *decoder) { c.Drive = engine.DriveID(d.uint()); c.Record.decodeBody(d) }

// Setting writes a value of the cluster's configuration; an empty one removes it.
type Setting struct {
	Name  string
	Value []byte
}

func (*Setting) opcode() byte        { return opSetting }
func (c *Setting) encode(e *encoder) { e.string(c.Name); e.bytes(c.Value) }
func (c *Setting) decode(d *decoder) { c.Name = d.string(); c.Value = d.bytes() }

// Answer is what apply says of a command. Fields that a command does not speak of are zero.
type Answer struct {
	Kind     engine.Kind // of the error; meaningful if Failed
	Failed   bool
	Message  string
	Epoch    uint64
	Bucket   engine.BucketID
	Content  uint64
	Left     uint64
	Sequence engine.Sequence
	Stamp    int64
	Size     int64
	ETag     engine.ETag
	Existed  bool
	Used     []bool
	// Version is the one that was made or, of a Delete that names one, removed; Marker says that it is a delete marker. Versioning is the bucket's.
	Version    engine.VersionID
	Marker     bool
	Versioning engine.Versioning
	// Node is what a command of files made or changed, or the lock that is in the way of one.
	Node  []byte
	Nodes []engine.NodeID
}

// ParseAnswer decodes an answer.
func ParseAnswer(b []byte) (a Answer, err error) {
	d := decoder{b: b}
	a.decode(&d)
	return a, d.end()
}

func (a *Answer) decode(d *decoder) {
	d.version(rowFormat)
	if a.Failed = d.bool(); a.Failed {
		a.Kind = engine.Kind(d.byte())
		a.Message = d.string()
		return
	}
	a.Epoch = d.uint()
	a.Bucket = engine.BucketID(d.uint())
	a.Content = d.uint()
	a.Left = d.uint()
	a.Sequence = engine.Sequence(d.uint())
	a.Stamp = d.int()
	a.Size = d.int()
	a.ETag = engine.ETag(d.string())
	a.Existed = d.bool()
	for range d.count() {
		a.Used = append(a.Used, d.bool())
	}
	if d.format >= 2 {
		a.Version = engine.VersionID(d.string())
		a.Marker = d.bool()
		a.Versioning = engine.Versioning(d.byte())
	}
	if d.format >= 5 {
		a.Node = bytes.Clone(d.bytes())
		for range d.count() {
			a.Nodes = append(a.Nodes, engine.NodeID(d.uint()))
		}
	}
}

func (a *Answer) encode() []byte {
	e := encoder{b: make([]byte, 0, 64)}
	e.byte(rowFormat)
	e.bool(a.Failed)
	if a.Failed {
		e.byte(byte(a.Kind))
		e.string(a.Message)
		return e.b
	}
	e.uint(a.Epoch)
	e.uint(uint64(a.Bucket))
	e.uint(a.Content)
	e.uint(a.Left)
	e.uint(uint64(a.Sequence))
	e.int(a.Stamp)
	e.int(a.Size)
	e.string(string(a.ETag))
	e.bool(a.Existed)
	e.uint(uint64(len(a.Used)))
	for _, used := range a.Used {
		e.bool(used)
	}
	e.string(string(a.Version))
	e.bool(a.Marker)
	e.byte(byte(a.Versioning))
	e.bytes(a.Node)
	e.uint(uint64(len(a.Nodes)))
	for _, id := range a.Nodes {
		e.uint(uint64(id))
	}
	return e.b
}

// Made returns the version that a write made: of format 1, which has none in its answers, the null version.
func (a *Answer) Made() engine.VersionID { return cmp.Or(a.Version, engine.NullVersion) }

// Err returns the answer's error, or nil.
func (a *Answer) Err() error {
	if !a.Failed {
		return nil
	}
	return engine.E(a.Kind, "%s", a.Message)
}
