package engine

import (
	"context"
	"io"
	"math"
	"strings"
	"time"
)

// Limits of the file view.
const (
	// LinksMax is the most names that one file may have: a change of its content changes what each of them says.
	LinksMax = 500
	// XattrNameBytesMax and XattrBytesMax bound the name and the value of an extended attribute, XattrsMax how many a node has.
	XattrNameBytesMax = 255
	XattrBytesMax     = 64 << 10
	XattrsMax         = 64
	// TargetBytesMax is the longest target of a symbolic link.
	TargetBytesMax = 4095
	// PatchPiecesMax is the most pieces that one patch may have.
	PatchPiecesMax = 256
	// FilePiecesMax is the most pieces that a file may lie in.
	FilePiecesMax = 65536
)

// NodeID numbers what the names of a bucket name: files and directories. A number is never used again in its bucket.
type NodeID uint64

// RootNode is the directory that the keys of a bucket begin in. It is always there.
const RootNode NodeID = 1

// File names a file or directory by its number, whatever its name is by then.
type File struct {
	Bucket BucketName
	Node   NodeID
}

// Place names what a directory has under a name.
type Place struct {
	Bucket    BucketName
	Directory NodeID
	Name      string // without "/"
}

// FileType says what a node is.
type FileType byte

// A symbolic link has its target for content, as S3 and others see it; those behind it have none. A version that came by key is a regular file.
const (
	TypeRegular FileType = iota
	TypeDirectory
	TypeSymlink
	TypeFIFO
	TypeSocket
	TypeCharacterDevice
	TypeBlockDevice
	typeEnd
)

// FileAttributes are what POSIX keeps with a file. The engine gives them no meaning.
type FileAttributes struct {
	// Set says that somebody set Mode, UID or GID; if not, they are 0 and the caller's to choose.
	Set      bool
	Mode     uint32 // permission bits, 0o7777 at most
	UID, GID uint32
	Device   uint64 // number of a device
	Flags    uint32
}

// FileInfo describes a node.
type FileInfo struct {
	Node       NodeID
	Type       FileType
	Links      uint64 // names of a file, 0 of one that is held without any; 1 for a directory
	Held       bool   // an owner holds it
	Size       int64  // of a file
	ETag       ETag   // of a file
	Sequence   Sequence
	Version    VersionID // of a file; "" of one without a name
	Attributes FileAttributes
	// Modified is when the content last changed or what SetFile said since, of a directory when a name in it came or went; Changed is when anything of
	// the node last changed. Accessed is what SetFile said last, or Modified.
	Modified, Changed, Accessed, Born time.Time
}

// Files are the same objects seen as a tree. The key "a/b" is the name "b" in the directory "a"; a directory is there while a current version lies
// beneath it. One that was made here has the empty object "a/" in it, which S3 shows and which alone keeps it while it is empty. What is hidden: names that
// are empty, "." or "..", names with a NUL byte, and the object "a" where there is a directory "a" as well.
//
// A write by key makes another node; a write through Files changes the node, and so all its names. Where the bucket keeps versions each change of
// content and each move makes a version of the node, which keeps its number; the version that was current is kept under another number.
//
// Besides the Kinds named below every method answers KindNoSuchBucket; KindInvalidArgument for a malformed name, number or option; KindNoSuchKey
// for a node, directory or name that is not there; KindNotDirectory for a directory that is a file; KindKeyTooLong for a name that makes a key longer than
// KeyBytesMax; KindUnavailable when the outcome is unknown.
type Files interface {
	// Lookup finds what a directory has under a name. A version other than "" is that version of a file, KindNoSuchVersion if there is none.
	Lookup(ctx context.Context, at Place, version VersionID) (FileInfo, error)
	// StatFile describes a node.
	StatFile(ctx context.Context, f File) (FileInfo, error)
	// FileKey returns the key of a node: of a directory with "/" at its end, "" for the root; of a file with several names any of them. KindNoSuchKey for a
	// file without a name.
	FileKey(ctx context.Context, f File) (Key, error)
	// ListDirectory returns a page of what a directory has. The names of a page are in an order that never changes; each page is of one instant.
	ListDirectory(ctx context.Context, f File, o ListDirectoryOptions) (DirectoryPage, error)
	// MakeFile makes an empty file, a directory, or another node. KindExists if the name is taken.
	MakeFile(ctx context.Context, at Place, o MakeFileOptions) (FileInfo, error)
	// LinkFile gives a file one more name, or a held one without a name its first. KindExists; KindIsDirectory; KindTooManyLinks beyond LinksMax; KindBucketState for a second name unless versioning is off.
	LinkFile(ctx context.Context, f File, at Place) (FileInfo, error)
	// RemoveFile takes a name away, as the bucket's Versioning says; with the last one its file goes. o.Directory says that it is that of a
	// directory. KindIsDirectory and KindNotDirectory if it is not what was said; KindNotEmpty for a directory that has names.
	RemoveFile(ctx context.Context, at Place, o RemoveFileOptions) error
	// MoveFile gives what from names the name to, in one commit, whatever lies beneath. What to named is gone: a file if from names a file, a directory
	// without names and versions if it names a directory; KindIsDirectory, KindNotDirectory and KindNotEmpty otherwise. Nothing happens if both name the
	// same file. KindExists with o.NoReplace; KindInvalidArgument for a directory that would go beneath itself; KindBucketState for o.Exchange
	// unless versioning is off; KindLocked for a directory beneath which a version has a retention or legal hold.
	MoveFile(ctx context.Context, from, to Place, o MoveFileOptions) error
	// SetFile changes attributes and times. It makes no version.
	SetFile(ctx context.Context, f File, change FileChange) (FileInfo, error)
	// Xattr returns the value of an extended attribute. KindNoSuchAttribute.
	Xattr(ctx context.Context, f File, name string) ([]byte, error)
	// Xattrs returns the names of the extended attributes in byte order.
	Xattrs(ctx context.Context, f File) ([]string, error)
	// SetXattr sets an extended attribute, or removes it. KindNoSuchAttribute for one that is to be replaced or removed and is not there, KindExists
	// for one that is to be made and is; KindEntityTooLarge above XattrBytesMax and XattrsMax.
	SetXattr(ctx context.Context, f File, name string, value []byte, o SetXattrOptions) error
	// OpenFile returns a reader of the content of a file as it is now, as Open does; KindIsDirectory. The bytes stay the same whatever is written
	// meanwhile. KindInvalidRange, KindDamaged.
	OpenFile(ctx context.Context, f File, o OpenFileOptions) (Object, error)
	// StageFile stores bytes for a piece of a later PatchFile of the same bucket. Nothing shows them until then, and they do not outlive the process; the caller calls
	// Discard when it is done with them, whether they were used or not. Errors as for Put.
	StageFile(ctx context.Context, bucket BucketName, body io.Reader, o StageOptions) (Staged, error)
	// PatchFile changes the content of a file, all of it or nothing, in one commit; nothing of the former content is copied. The version's checksum
	// is gone then, its ETag is that of PatchTag. KindIsDirectory; KindConflict if the file has another sequence than patch.If says; KindEntityTooLarge
	// beyond ObjectBytesMax or FilePiecesMax; KindBucketState for a version that is not current, and for what is no regular file. Errors of bodies as for Put.
	PatchFile(ctx context.Context, f File, patch Patch) (FileInfo, error)
	// SeekFile returns the first offset, from the one given on, that lies in data or, if hole is set, in a hole, of which one follows the last byte.
	// KindInvalidRange if there is none, or if the offset is not within the file.
	SeekFile(ctx context.Context, f File, offset int64, hole bool) (int64, error)
	// Usage says how much lies beneath a prefix that ends with "/", or in the whole bucket for "". Nothing beneath is no error.
	Usage(ctx context.Context, bucket BucketName, prefix string) (PrefixInfo, error)
	// Space says how much room a bucket has and what it holds, as a file system would.
	Space(ctx context.Context, bucket BucketName) (SpaceInfo, error)
}

// SpaceInfo is the room that a bucket has. Total and Free are bytes of content in the standard class. All buckets share them, and what is free now others may take;
// a bucket with a quota has no more than that leaves.
type SpaceInfo struct {
	Total, Free  int64
	Held         PrefixInfo // by the bucket
	VersionBytes uint64     // of all its versions. Of versions that an earlier release made not current, some may not be counted.
	Quota        Quota
}

// Within restricts the room of the drives to what the quota leaves.
func (i *SpaceInfo) Within(q Quota) {
	i.Quota = q
	if q.Bytes == 0 {
		return
	}
	left := int64(0)
	if q.Bytes > i.VersionBytes {
		left = int64(min(q.Bytes-i.VersionBytes, math.MaxInt64))
	}
	i.Free = min(i.Free, left)
	i.Total = min(i.Total, int64(min(max(q.Bytes, i.VersionBytes), math.MaxInt64)))
}

// ListDirectoryOptions select a page: names behind After, which is the Last of the page before or "".
type ListDirectoryOptions struct {
	After string
	Max   int // 0 means PageMax
}

// DirectoryEntry is a name and what it names.
type DirectoryEntry struct {
	Name string
	Info FileInfo
}

// DirectoryPage is a page of a directory; Last continues it if it is Truncated.
type DirectoryPage struct {
	Entries   []DirectoryEntry
	Truncated bool
	Last      string
}

// MakeFileOptions describe a node that is made. Target is that of a symbolic link.
type MakeFileOptions struct {
	Type       FileType
	Attributes FileAttributes
	Target     string
	Class      StorageClass // of a file
}

// RemoveFileOptions describe a RemoveFile.
type RemoveFileOptions struct {
	Directory bool
}

// MoveFileOptions describe a MoveFile: to must be free, or from and to change places.
type MoveFileOptions struct {
	NoReplace, Exchange bool
}

// FileChange changes what is not nil. A zero time means now.
type FileChange struct {
	Mode, UID, GID, Flags    *uint32
	Modified, Accessed, Born *time.Time
}

// SetXattrOptions describe a SetXattr, of which one at most: the attribute must not be there, must be there, or goes.
type SetXattrOptions struct {
	Create, Replace, Remove bool
}

// OpenFileOptions describe an OpenFile. Range nil means the whole.
type OpenFileOptions struct {
	Range *Range
}

// StageOptions describe what is staged. Size is the number of bytes that body must give, -1 if it is not known.
type StageOptions struct {
	Size  int64
	Class StorageClass
}

// Staged are bytes that no file has yet.
type Staged interface {
	Size() int64
	// Discard gives up what no patch used. It may be called again.
	Discard()
}

// Patch is a change of a file's content: pieces, in their order, and then a size.
type Patch struct {
	Pieces []Piece
	// Size, if not nil, is that of the file afterwards: it is cut, or grows by a hole.
	Size *int64
	// If, if not 0, is the sequence that the file must have.
	If Sequence
	// Modified, if not nil, is the time of modification afterwards; else that is now.
	Modified *time.Time
}

// PieceEnd as the offset of a piece means the end of the file, as the commit finds it.
const PieceEnd int64 = -1

// Piece puts Length bytes in the place of those at Offset. The file grows if it ends before; what lies between is a hole. The bytes are those of
// Body, or Staged, or those of another file or of the same one before the patch, or else a hole. A piece of no bytes does nothing.
type Piece struct {
	Offset, Length int64
	Body           io.Reader
	Staged         Staged
	From           *FileRange
	// Keep cuts a hole at the end of the file, so that it does not grow.
	Keep bool
}

// FileRange is where the bytes of a piece begin: KindInvalidRange if the file has fewer than the piece has. Both are of one bucket.
type FileRange struct {
	File   File
	Offset int64
}

// CheckFileName returns an error that says why a directory cannot have a name: KindKeyTooLong, KindInvalidArgument.
func CheckFileName(name string) error {
	switch {
	case len(name) > KeyBytesMax:
		return E(KindKeyTooLong, "the name has %d bytes; a key has at most %d", len(name), KeyBytesMax)
	case HiddenName(name) || strings.Contains(name, "/"):
		return E(KindInvalidArgument, "%q cannot be a name in a directory", name)
	}
	return CheckKey(Key(name))
}

// HiddenName reports whether the file view does not show a name.
func HiddenName(name string) bool {
	return name == "" || name == "." || name == ".." || strings.IndexByte(name, 0) >= 0
}

// CheckMakeFile returns an error of KindInvalidArgument for what MakeFile cannot make.
func CheckMakeFile(o MakeFileOptions) error {
	switch {
	case o.Type >= typeEnd:
		return E(KindInvalidArgument, "there is no type %d of files", o.Type)
	case (o.Type == TypeSymlink) != (o.Target != ""):
		return E(KindInvalidArgument, "a symbolic link has a target, and nothing else has")
	case len(o.Target) > TargetBytesMax || strings.IndexByte(o.Target, 0) >= 0:
		return E(KindInvalidArgument, "the target of a symbolic link has 1 to %d bytes and no NUL", TargetBytesMax)
	case o.Attributes.Device != 0 && o.Type != TypeCharacterDevice && o.Type != TypeBlockDevice:
		return E(KindInvalidArgument, "what is no device has no device number")
	}
	return checkMode(o.Attributes.Mode)
}

func checkMode(mode uint32) error {
	if mode > 0o7777 {
		return E(KindInvalidArgument, "the mode %#o has more than permission bits", mode)
	}
	return nil
}

// CheckFileChange returns an error of KindInvalidArgument for what SetFile cannot set.
func CheckFileChange(c FileChange) error {
	for _, t := range []*time.Time{c.Modified, c.Accessed, c.Born} {
		if t != nil {
			if err := CheckFileTime(*t); err != nil {
				return err
			}
		}
	}
	if c.Mode != nil {
		return checkMode(*c.Mode)
	}
	return nil
}

// CheckFileTime returns an error of KindInvalidArgument for a time that does not count in nanoseconds since 1970: those are the years 1678 to 2261.
func CheckFileTime(t time.Time) error {
	if !t.IsZero() && (t.Year() < 1678 || t.Year() > 2261) {
		return E(KindInvalidArgument, "the time %v is out of range", t)
	}
	return nil
}

// CheckMoveFile returns an error of KindInvalidArgument for a move that cannot be.
func CheckMoveFile(from, to Place, o MoveFileOptions) error {
	if from.Bucket != to.Bucket {
		return E(KindInvalidArgument, "a move stays in one bucket")
	}
	if o.NoReplace && o.Exchange {
		return E(KindInvalidArgument, "an exchange replaces what is there")
	}
	if err := CheckFileName(from.Name); err != nil {
		return err
	}
	return CheckFileName(to.Name)
}

// CheckXattr returns an error for an extended attribute that cannot be set.
func CheckXattr(name string, value []byte, o SetXattrOptions) error {
	flags := 0
	for _, set := range []bool{o.Create, o.Replace, o.Remove} {
		if set {
			flags++
		}
	}
	switch {
	case name == "" || len(name) > XattrNameBytesMax || strings.IndexByte(name, 0) >= 0:
		return E(KindInvalidArgument, "the name of an extended attribute has 1 to %d bytes and no NUL", XattrNameBytesMax)
	case flags > 1:
		return E(KindInvalidArgument, "an extended attribute is made, replaced or removed, not more than one of these")
	case len(value) > XattrBytesMax:
		return E(KindEntityTooLarge, "the extended attribute %q has %d bytes; at most %d are allowed", name, len(value), XattrBytesMax)
	}
	return nil
}

// CheckUsage returns an error of KindInvalidArgument for a prefix that Usage does not take.
func CheckUsage(prefix string) error {
	if prefix != "" && !strings.HasSuffix(prefix, "/") || len(prefix) > KeyBytesMax {
		return E(KindInvalidArgument, "the prefix %q must be empty or end with \"/\", and have at most %d bytes", prefix, KeyBytesMax)
	}
	return nil
}

// CheckPatch returns an error for a patch that no file takes: KindInvalidArgument, KindEntityTooLarge.
func CheckPatch(f File, p Patch) error {
	if len(p.Pieces) > PatchPiecesMax {
		return E(KindEntityTooLarge, "the patch has %d pieces; at most %d are allowed", len(p.Pieces), PatchPiecesMax)
	}
	if p.Size != nil && (*p.Size < 0 || *p.Size > ObjectBytesMax) {
		return E(KindEntityTooLarge, "a file of %d bytes was asked for; at most %d are allowed", *p.Size, ObjectBytesMax)
	}
	if p.Modified != nil {
		if err := CheckFileTime(*p.Modified); err != nil {
			return err
		}
	}
	for i := range p.Pieces {
		if err := p.Pieces[i].check(f); err != nil {
			return err
		}
	}
	return nil
}

func (p *Piece) check(f File) error {
	sources := 0
	for _, set := range []bool{p.Body != nil, p.Staged != nil, p.From != nil} {
		if set {
			sources++
		}
	}
	switch {
	case p.Offset < PieceEnd || p.Length < 0:
		return E(KindInvalidArgument, "a piece of %d bytes at %d", p.Length, p.Offset)
	case p.Length > ObjectBytesMax || p.Offset > ObjectBytesMax-p.Length:
		return E(KindEntityTooLarge, "a piece of %d bytes at %d ends beyond the %d that a file may have", p.Length, p.Offset, ObjectBytesMax)
	case sources > 1:
		return E(KindInvalidArgument, "a piece has one source")
	case p.Keep && (sources > 0 || p.Offset == PieceEnd):
		return E(KindInvalidArgument, "only a hole within the file is cut at its end")
	case p.Body != nil && p.Length > PutBytesMax:
		return E(KindEntityTooLarge, "a piece has %d bytes; at most %d are written at once", p.Length, PutBytesMax)
	case p.Staged != nil && p.Staged.Size() != p.Length:
		return E(KindInvalidArgument, "%d bytes were staged, not %d", p.Staged.Size(), p.Length)
	case p.From != nil && (p.From.File.Bucket != f.Bucket || p.From.Offset < 0 || p.From.Offset > ObjectBytesMax):
		return E(KindInvalidArgument, "bytes are taken from a file of the same bucket, from an offset within it")
	}
	return nil
}
