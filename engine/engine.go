// Package engine says what Holdfast is: the nouns that every other package uses and the interface that every gateway
// calls. It imports nothing of ours and knows no protocol: no status code, header name, XML or errno appears below.
//
// Promise: changes to one bucket are linearizable. What has been answered is seen by every call that starts later, and
// survives any crash and the loss of as many drives as the parity of the object's storage class allows.
//
// The package does not know how the promise is kept: engine/coordinator keeps it on drives, engine/memory keeps the same
// answers in a map, and engine/enginetest asks both the same questions.
package engine

import (
	"context"
	"io"
	"time"
)

// Limits of the vocabulary. A gateway may be stricter, never looser.
const (
	// KeyBytesMax is the longest key that a caller may write, in bytes of UTF-8.
	KeyBytesMax = 1024
	// ObjectBytesMax is the largest object: 5 TiB.
	ObjectBytesMax int64 = 5 << 40
	// PutBytesMax is the largest body of one Put or one part: 5 GiB.
	PutBytesMax int64 = 5 << 30
	// PartBytesMin is the least size of every part of a completed upload but the last: 5 MiB.
	PartBytesMin int64 = 5 << 20
	// PartNumberMax is the highest part number; the lowest is 1.
	PartNumberMax = 10000
	// PageMax is the largest page of any listing.
	PageMax = 1000
	// UserMetadataBytesMax bounds the names and values of Attributes.User together: 2 KiB, as in S3.
	UserMetadataBytesMax = 2048
	// TagsBytesMax bounds the names and values of the tags of one version together: 16 KiB.
	TagsBytesMax = 16 << 10
	// DocumentBytesMax bounds a document of a bucket: 256 KiB.
	DocumentBytesMax = 256 << 10
	// ExtentBytesMax is the most object data that one extent carries.
	ExtentBytesMax int64 = 64 << 20
	// InlineBytesMax is the largest content that rides in its command and lives in a metadata row.
	InlineBytesMax = 8 << 10
)

// BucketName is the name of a bucket: 3 to 63 bytes of lower-case letters, digits, dots and hyphens.
type BucketName string

// BucketID is the number of a bucket; it is never used again, not even for a bucket of the same name.
type BucketID uint64

// Key names an object in a bucket: 1 to KeyBytesMax bytes of UTF-8, compared by bytes. Nothing is normalised: "a", "a/",
// "a//b" and "../a" are four keys.
type Key string

// VersionID names one version of an object. Empty means the current one; NullVersion is the one that was written while versioning was off or
// suspended, of which a key has at most one. Others are given by the engine and opaque, see FormatVersion.
type VersionID string

// NullVersion is the id of the version that a bucket without versioning has of each object.
const NullVersion VersionID = "null"

// Versioning says what a change does with the version that was current.
type Versioning byte

// A bucket begins with VersioningOff and never goes back to it. Off and suspended, a write replaces the null version and nothing else; enabled, it
// replaces none. A delete that names no version is a write of a delete marker, but for VersioningOff, where it removes the null version.
const (
	VersioningOff Versioning = iota
	VersioningEnabled
	VersioningSuspended
)

// RetentionMode says who may end a retention early.
type RetentionMode byte

// A governance retention may be shortened or taken away by who may bypass it, a compliance retention by nobody. Either may be prolonged.
const (
	RetentionNone RetentionMode = iota
	RetentionGovernance
	RetentionCompliance
)

// Retention keeps a version from being removed until a time, to the millisecond; that is zero with RetentionNone.
type Retention struct {
	Mode  RetentionMode
	Until time.Time
}

// Lock is what keeps a version from being removed: a retention, a legal hold until it is lifted, or both. Lifted says that there was a legal hold.
type Lock struct {
	Retention
	Hold, Lifted bool
}

// BucketLock is what a bucket says of locks. Once enabled it stays so, and the versioning stays enabled with it.
type BucketLock struct {
	Enabled bool
	// The retention of a version that is made without one: Mode for Days or for Years after its making, of which one is 0; both with RetentionNone.
	Mode        RetentionMode
	Days, Years int
}

// Ref names what an object operation acts upon.
type Ref struct {
	Bucket  BucketName
	Key     Key
	Version VersionID
}

// Sequence numbers the committed changes of one bucket, from 1, without gaps.
type Sequence uint64

// UploadID names a multipart upload. It is opaque and cannot be guessed.
type UploadID string

// ETag is the entity tag of a version without quotes: the MD5 of its content in hexadecimal or, for a completed upload,
// the MD5 of its parts' MD5 sums, "-", and the number of parts.
type ETag string

// GroupID names a Raft group. Group 0 is the root group.
type GroupID uint32

// ExtentID names an extent: the group whose epoch wrote it, that epoch, and a counter within the epoch. It is never used again.
type ExtentID struct {
	Group   GroupID
	Epoch   uint64
	Counter uint64
}

// ShardID names one shard of an extent; indexes below k are data, the rest parity.
type ShardID struct {
	Extent ExtentID
	Index  uint8
}

// DriveID names a drive for life. A drive that is wiped and formatted again is another drive.
type DriveID uint64

// StorageClass names a redundancy that the cluster is configured with. Empty means ClassStandard.
type StorageClass string

// ClassStandard is the class of a write that names none; ClassReduced is for what can be made again, and has less parity.
const (
	ClassStandard StorageClass = "STANDARD"
	ClassReduced  StorageClass = "REDUCED_REDUNDANCY"
)

// Redundancy is the code of a storage class: Data shards carry the content, Parity shards repair it.
type Redundancy struct {
	Data, Parity int
}

// Engine is what a gateway sees of the system.
type Engine interface {
	Buckets
	Objects
	Files
	Owners
	Uploads
	Feed
}

// Buckets are namespaces. Every method answers KindInvalidArgument for a malformed name, and KindUnavailable when the outcome
// is not known; such a call may be repeated.
type Buckets interface {
	// CreateBucket makes an empty bucket. KindBucketExists if the name is taken.
	CreateBucket(ctx context.Context, name BucketName, o CreateBucketOptions) (BucketInfo, error)
	// DeleteBucket removes a bucket; uploads in progress vanish with it. The name is free when it returns. KindNoSuchBucket; KindBucketNotEmpty if it holds
	// an object or a version, unless o.Force is set; KindLocked if it is set and a version has a retention, even one that has ended, or a legal hold.
	DeleteBucket(ctx context.Context, name BucketName, o DeleteBucketOptions) error
	// StatBucket answers KindNoSuchBucket only when the root group says so.
	StatBucket(ctx context.Context, name BucketName) (BucketInfo, error)
	// ListBuckets returns buckets in order of their names.
	ListBuckets(ctx context.Context, o ListBucketsOptions) (BucketPage, error)
	// BucketVersioning returns what SetVersioning said last, VersioningOff if nothing. KindNoSuchBucket.
	BucketVersioning(ctx context.Context, name BucketName) (Versioning, error)
	// SetVersioning applies to every change that begins after it returns. KindNoSuchBucket; KindInvalidArgument for VersioningOff;
	// KindBucketState for VersioningSuspended where locks are enabled, and where a file has several names, see LinkFile.
	SetVersioning(ctx context.Context, name BucketName, v Versioning) error
	// BucketLock returns what SetBucketLock said last, or CreateBucket. KindNoSuchBucket.
	BucketLock(ctx context.Context, name BucketName) (BucketLock, error)
	// SetBucketLock enables locks, for good, and sets the retention of versions that are made later without one. KindNoSuchBucket;
	// KindInvalidArgument, see CheckBucketLock; KindBucketState unless versioning is enabled.
	SetBucketLock(ctx context.Context, name BucketName, lock BucketLock) error
	// BucketQuota returns what SetBucketQuota said last; the zero Quota is none. KindNoSuchBucket.
	BucketQuota(ctx context.Context, name BucketName) (Quota, error)
	// SetBucketQuota bounds what the bucket holds from now on: what would be put, copied, appended, patched or linked beyond it is refused with KindQuota,
	// and nothing has changed then. What is there already stays, and can be removed, renamed or made smaller. KindNoSuchBucket.
	SetBucketQuota(ctx context.Context, name BucketName, q Quota) error
	// Document returns what SetDocument kept last under a name of a bucket, nil if nothing. KindNoSuchBucket.
	Document(ctx context.Context, name BucketName, document string) ([]byte, error)
	// SetDocument keeps a value with a bucket; nil or an empty one removes it. The engine gives it no meaning. KindNoSuchBucket,
	// KindEntityTooLarge above DocumentBytesMax.
	SetDocument(ctx context.Context, name BucketName, document string, value []byte) error
}

// Objects are reached by key. Besides the Kinds named below every method answers KindNoSuchBucket, KindInvalidArgument for a
// malformed name or key, KindSlowDown when admission timed out, KindUnavailable when the outcome is unknown or too few replicas
// or shards answer, and the context's error as KindCanceled.
type Objects interface {
	// Put stores what body gives as the current version of ref.Key. When it returns nil the version is durable and visible as a
	// whole; otherwise nothing has changed, except that KindUnavailable leaves that open. The caller keeps the body; Put does not
	// use it after it returns. An error of the body is returned wrapped (KindIncompleteBody for io.ErrUnexpectedEOF and for fewer
	// bytes than o.Size, the body's own Kind if it is an *Error). KindPreconditionFailed, KindNoSuchKey (If.Match on an absent
	// key), KindBadDigest, KindEntityTooLarge, KindDriveFull, KindQuota, KindNoLock (o.Lock where the bucket has no locks).
	Put(ctx context.Context, ref Ref, body io.Reader, o PutOptions) (ObjectInfo, error)
	// Open returns a reader of one version. The bytes are those of that version to the last, whatever is written or deleted
	// meanwhile. The caller closes it. KindNoSuchKey, KindNoSuchVersion, KindPreconditionFailed, KindNotModified,
	// KindInvalidRange. A current delete marker is KindNoSuchKey, one that ref.Version names KindDeleteMarker; MarkerOf tells its id. Reads
	// answer KindDamaged before the first byte that cannot be proven right.
	Open(ctx context.Context, ref Ref, o OpenOptions) (Object, error)
	// Stat is Open without the content.
	Stat(ctx context.Context, ref Ref, o StatOptions) (ObjectInfo, error)
	// Parts returns a page of the parts of which an upload made the version, in order of their numbers; none for another version. Errors as for
	// Stat.
	Parts(ctx context.Context, ref Ref, o ListPartsOptions) (VersionPartPage, error)
	// SetTags replaces the tags of the version that ref names, or of the current one. It makes no version and changes nothing else. The answer has
	// the version without Class, Attributes, Tags, Checksum and Parts. The errors are those of Stat, and KindInvalidArgument above TagsBytesMax.
	SetTags(ctx context.Context, ref Ref, tags Tags) (ObjectInfo, error)
	// SetLock changes the lock of the version that ref names, or of the current one. It makes no version and changes nothing else; the answer is as
	// that of SetTags. The errors are those of Stat; KindNoLock where the bucket has no locks; KindLocked if the lock that there is forbids it;
	// KindInvalidArgument for a retention until a time that has passed.
	SetLock(ctx context.Context, ref Ref, change LockChange) (ObjectInfo, error)
	// Append puts what body gives behind the content of the current version of ref.Key, in one commit; o.Offset is the size that this must have. At
	// offset 0 there need be no object, and then Append is Put. The former content is not copied. The ETag is that of an upload of one part more, but
	// for content that PatchFile changed last: that has no parts, and then the ETag is that of a patch with the one piece that was appended.
	// Errors as for Put; KindInvalidOffset if the object has another size; KindNoSuchKey; KindBucketState unless versioning is off;
	// KindEntityTooLarge beyond ObjectBytesMax or PartNumberMax parts, or if so many parts are shared with a copy that it would take long.
	Append(ctx context.Context, ref Ref, body io.Reader, o AppendOptions) (ObjectInfo, error)
	// Rename gives the object from, with all that belongs to it, the key to of the same bucket, in one commit; an object that was there is gone.
	// A repetition with the same o.Token answers the same again as long as the object stays there, whatever is at from by then. KindNoSuchKey, KindPreconditionFailed,
	// KindInvalidArgument for two buckets or twice the same key; KindBucketState unless versioning is off.
	Rename(ctx context.Context, from, to Ref, o RenameOptions) (ObjectInfo, error)
	// RenamePrefix gives all objects whose keys begin with from the same keys with to in its place, in one commit, however many they are, with all
	// their versions. Both end with "/". Uploads in progress stay. KindNoSuchKey if there is none; KindConflict if a key begins with to already;
	// KindInvalidArgument for malformed prefixes and for a to that begins with from; KindKeyTooLong if a key could become longer than KeyBytesMax, by
	// the longest that there was beneath from since it is there; KindLocked if a version beneath has a retention or legal hold.
	RenamePrefix(ctx context.Context, bucket BucketName, from, to string) (PrefixInfo, error)
	// RemovePrefix removes all objects whose keys begin with prefix, in one commit, however many they are, and for good: with all their versions and delete
	// markers, whatever the bucket's Versioning says. The prefix ends with "/". Uploads in progress stay. The room is given back in the course of time.
	// KindNoSuchKey if there is nothing; KindInvalidArgument for a malformed prefix; KindLocked if a version beneath has a retention, even one that has
	// ended, or a legal hold.
	RemovePrefix(ctx context.Context, bucket BucketName, prefix string) (PrefixInfo, error)
	// Copy makes a copy of the version from the current version of to.Key, in one commit in which both are judged; the content is shared, so its
	// size does not matter. from and to may be the same object. What else the copy is, CopyOptions say. KindNoSuchBucket and KindNoSuchKey of
	// either; KindNoSuchVersion of from; KindPreconditionFailed, KindConflict if from changed while its content was read; KindNoLock.
	Copy(ctx context.Context, from, to Ref, o CopyOptions) (ObjectInfo, error)
	// Delete removes the version that ref names, for good; the newest of those that are left becomes current. If ref names none, it does what
	// the bucket's Versioning says. An absent key or version is no error unless a condition names it. Conditions are judged on the version that
	// ref names. KindPreconditionFailed, KindNoSuchKey (If.Match on an absent key), KindLocked for a version that a retention or legal hold keeps.
	Delete(ctx context.Context, ref Ref, o DeleteOptions) (DeleteResult, error)
	// List returns a page of keys and common prefixes in byte order.
	List(ctx context.Context, bucket BucketName, o ListOptions) (ObjectPage, error)
	// ListVersions returns a page of versions, delete markers included, and common prefixes: in byte order of the keys, those of a key from the
	// newest to the oldest.
	ListVersions(ctx context.Context, bucket BucketName, o ListVersionsOptions) (VersionPage, error)
}

// Uploads assemble an object from parts. Methods that take an UploadID answer KindNoSuchUpload when it is unknown, completed,
// aborted, or of another bucket or key.
type Uploads interface {
	// StartUpload begins an upload of ref.Key; the key changes only when it is completed. KindNoLock.
	StartUpload(ctx context.Context, ref Ref, o StartUploadOptions) (UploadInfo, error)
	// PutPart stores one part, in place of an earlier one of that number. Errors as for Put.
	PutPart(ctx context.Context, ref Ref, id UploadID, number int, body io.Reader, o PutPartOptions) (PartInfo, error)
	// CopyPart is PutPart with bytes of the version from for its body. They are read, since the part has a digest of its own, but not stored
	// again. Errors as for Copy and Open.
	CopyPart(ctx context.Context, from, ref Ref, id UploadID, number int, o CopyPartOptions) (PartInfo, error)
	// ListParts returns parts in order of their numbers.
	ListParts(ctx context.Context, ref Ref, id UploadID, o ListPartsOptions) (PartPage, error)
	// ListUploads returns uploads in order of key, then of start.
	ListUploads(ctx context.Context, bucket BucketName, o ListUploadsOptions) (UploadPage, error)
	// CompleteUpload makes the named parts, in ascending order, the current version of ref.Key, and copies nothing. The upload
	// is gone afterwards, with the parts that were not named. A repetition of a call that has succeeded answers the same again for
	// as long as that version is current. KindInvalidPart (unknown part or ETag), KindInvalidPartOrder, KindPartTooSmall,
	// KindPreconditionFailed.
	CompleteUpload(ctx context.Context, ref Ref, id UploadID, o CompleteUploadOptions) (ObjectInfo, error)
	// AbortUpload discards an upload and its parts.
	AbortUpload(ctx context.Context, ref Ref, id UploadID) error
}

// BucketInfo describes a bucket.
type BucketInfo struct {
	Name    BucketName
	ID      BucketID
	Created time.Time
}

// CreateBucketOptions describe a bucket. Lock enables locks, and versioning with them.
type CreateBucketOptions struct {
	Lock bool
}

// DeleteBucketOptions describe the deletion of a bucket. With Force all objects and versions go with it, for good, in the same commit and however many
// they are; their room is given back in the course of time.
type DeleteBucketOptions struct {
	Force bool
}

// ListBucketsOptions selects a page of buckets.
type ListBucketsOptions struct {
	Prefix string     // only names that begin with it
	After  BucketName // only names greater than it
	Max    int        // at most this many; 0 means PageMax
}

// BucketPage is a page of buckets; Truncated says that more follow after the last.
type BucketPage struct {
	Buckets   []BucketInfo
	Truncated bool
}

// Attributes travel with a version unchanged. The engine gives them no meaning.
type Attributes struct {
	ContentType        string
	ContentEncoding    string
	ContentDisposition string
	ContentLanguage    string
	CacheControl       string
	Expires            string            // as the client wrote it
	User               map[string]string // names in lower case, without a protocol's prefix
}

// DocumentTagging is the name of the document with the tags of a bucket. The engine gives documents no meaning; whoever keeps another kind names it
// here, so that no two have the same name.
const DocumentTagging = "tagging"

// Tags are names and values that can be changed without making a version.
type Tags map[string]string

// Checksum is an additional checksum of a version or part that the caller computed and verified: the algorithm's name in
// upper case ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256") and the raw sum. Composite means a checksum of the parts' checksums.
type Checksum struct {
	Algorithm string
	Sum       []byte
	Composite bool
	Parts     int // number of parts of a composite sum
}

// ObjectInfo describes one version of an object.
type ObjectInfo struct {
	Bucket     BucketName
	Key        Key
	Version    VersionID
	Versioning Versioning // of the bucket, at that time; listings leave it out
	Marker     bool       // in listings of versions: a delete marker, which has no content
	Latest     bool       // in listings of versions: the current one
	Size       int64
	ETag       ETag
	Modified   time.Time // stamped by the group's leader, never backwards within a bucket
	Class      StorageClass
	Attributes Attributes
	Tags       Tags
	Checksum   Checksum // zero if none was given
	Parts      int      // number of parts, 0 for a plain Put
	Locks      bool     // the bucket has locks; only Stat, Open and Parts say so, and Lock
	Lock       Lock
	Sequence   Sequence // of the change that made this version
	// Source, in the answer of a copy, is the version that was copied if its bucket keeps versions, or kept them once.
	Source VersionID
}

// Conditions restrict an operation to a state of the object. They are judged in the same commit as the change. The zero value
// restricts nothing.
type Conditions struct {
	Match           []ETag    // the current ETag is one of these
	MatchAny        bool      // the object exists
	NoneMatch       []ETag    // the current ETag is none of these
	NoneMatchAny    bool      // the object does not exist
	ModifiedSince   time.Time // reads and sources of copies only: modified later than this (KindNotModified otherwise)
	UnmodifiedSince time.Time // reads and sources of copies only: not modified later than this
	// Size and ModifiedAt restrict a delete further, as S3's DeleteObjects does; nil and zero do not.
	Size       *int64
	ModifiedAt time.Time // equal to the second
}

// PutOptions describe a Put. Size is the number of bytes that body must give; -1 if it is not known.
type PutOptions struct {
	Size       int64
	Class      StorageClass
	Attributes Attributes
	Tags       Tags
	Lock       Lock // without a retention that of the bucket's BucketLock
	If         Conditions
	MD5        []byte // 16 bytes that the content's MD5 must equal, or nil
	// Checksum, if not nil, is called once after body has ended without error, and returns what to keep with the version.
	Checksum func() Checksum
}

// CopyOptions describe a copy. From restricts the version that is copied, as a read of it would be, but what does not hold is always
// KindPreconditionFailed; If restricts what the copy replaces.
type CopyOptions struct {
	From       Conditions
	If         Conditions
	Class      StorageClass // another than that of the version that is copied stores the content anew
	Attributes *Attributes  // nil: those of the version that is copied
	Tags       *Tags        // nil: those of the version that is copied
	Lock       Lock         // as in PutOptions; a copy never has that of the version that is copied
	// Hash, if not nil, is given the content in order, and then Checksum is called and returns what to keep with the copy. Otherwise the copy has the
	// checksum of the version that is copied.
	Hash     io.Writer
	Checksum func() Checksum
}

// AppendOptions describe an Append; those fields that PutOptions have too are as there, and Checksum is of what body gives. The object then has a
// checksum over the full content if it had one of the same algorithm, a CRC, before; else none. Class, Attributes and Tags are of an object that
// Append makes; to one that is there they must not be given, but for Attributes.ContentType, which says nothing then.
type AppendOptions struct {
	Offset     int64
	Size       int64
	Class      StorageClass
	Attributes Attributes
	Tags       Tags
	If         Conditions
	MD5        []byte
	Checksum   func() Checksum
}

// RenameOptions restrict a Rename: From the object that is renamed, as a read would be, and If what it replaces. Token, at most 64 bytes, names
// the call for its repetitions; it may be empty.
type RenameOptions struct {
	From  Conditions
	If    Conditions
	Token string
}

// PrefixInfo says how much lies beneath a prefix: objects, their bytes, and all versions, delete markers included.
type PrefixInfo struct {
	Objects, Bytes, Versions uint64
}

// Quota is the most that a bucket holds; 0 is no bound. Parts of uploads that are not completed do not count, nor do files without a name.
type Quota struct {
	Bytes   uint64 // of all versions
	Objects uint64 // current versions that are no delete markers
}

// Judge says why a bucket cannot go from holding what before says to holding what after says; nil if it can. The error is of KindQuota.
func (q Quota) Judge(before, after Quota) *Error {
	switch {
	case q.Bytes > 0 && after.Bytes > before.Bytes && after.Bytes > q.Bytes:
		return E(KindQuota, "the bucket would hold %d bytes; its quota is %d", after.Bytes, q.Bytes)
	case q.Objects > 0 && after.Objects > before.Objects && after.Objects > q.Objects:
		return E(KindQuota, "the bucket would hold %d objects; its quota is %d", after.Objects, q.Objects)
	}
	return nil
}

// CopyPartOptions describe a part that is copied; Hash and Checksum are as in CopyOptions, without them the part has no checksum. Range nil means
// the whole.
type CopyPartOptions struct {
	From     Conditions
	Range    *Range
	Hash     io.Writer
	Checksum func() Checksum
}

// OpenOptions describe a read. Range nil means the whole.
type OpenOptions struct {
	If    Conditions
	Range *Range
}

// Range selects bytes. Start ≥ 0: from Start, Length bytes or to the end if Length is -1; a length beyond the end is cut.
// Start -1: the last Length bytes. A range that selects no byte is KindInvalidRange.
type Range struct {
	Start, Length int64
}

// StatOptions describe a Stat.
type StatOptions struct {
	If Conditions
}

// LockChange changes the lock of a version; what is nil stays. Bypass ends a governance retention early.
type LockChange struct {
	Retention *Retention
	Hold      *bool
	Bypass    bool
}

// DeleteOptions describe a Delete. Bypass ends a governance retention early.
type DeleteOptions struct {
	If     Conditions
	Bypass bool
}

// DeleteResult says what a Delete did.
type DeleteResult struct {
	// Version is that of the delete marker that was made, or the one that the call named; "" if there is neither.
	Version VersionID
	// Marker says that a delete marker was made or, if the call named a version, removed.
	Marker bool
	// Existed says that there was an object, or the version that the call named.
	Existed bool
}

// Object is an open version. Read gives the selected bytes; it is not safe for concurrent use.
type Object interface {
	io.ReadCloser
	io.WriterTo
	Info() ObjectInfo
	// Offset and Length are those of the selected bytes.
	Offset() int64
	Length() int64
}

// ListOptions select a page of a listing.
type ListOptions struct {
	Prefix    string
	Delimiter string // keys that contain it after Prefix are rolled up into common prefixes, to its first occurrence inclusive
	// After selects items greater than it. A common prefix equal to After is skipped with all its keys, so that the last item of
	// a page continues the listing.
	After string
	Max   int // keys and prefixes together; 0 means PageMax
	// Attributes asks for ObjectInfo.Attributes, Tags, Checksum and Parts too; without it they are zero.
	Attributes bool
}

// ObjectPage is a page of a listing. Objects and Prefixes are each in byte order. If Truncated, After set to Last gives the
// next page.
type ObjectPage struct {
	Objects   []ObjectInfo
	Prefixes  []string
	Truncated bool
	Last      string // the greatest key or prefix of the page
}

// ListVersionsOptions select a page of versions. Prefix and Delimiter are as in ListOptions.
type ListVersionsOptions struct {
	Prefix, Delimiter string
	// The page begins behind AfterVersion of AfterKey, or with AfterVersion empty behind all versions of AfterKey. A common prefix equal to AfterKey
	// is skipped with all its keys.
	AfterKey     string
	AfterVersion VersionID
	Max          int // versions and prefixes together; 0 means PageMax
}

// VersionPage is a page of versions; LastKey and LastVersion continue it if it is Truncated.
type VersionPage struct {
	Versions    []ObjectInfo
	Prefixes    []string
	Truncated   bool
	LastKey     string // or common prefix, without LastVersion then
	LastVersion VersionID
}

// StartUploadOptions describe the object that an upload will become.
type StartUploadOptions struct {
	Class             StorageClass
	Attributes        Attributes
	Tags              Tags
	Lock              Lock   // of the version, as in PutOptions
	ChecksumAlgorithm string // of the parts and of the whole, or empty
	ChecksumFull      bool   // the whole carries a checksum over the full content instead of one over the parts' sums
}

// UploadInfo describes an upload in progress.
type UploadInfo struct {
	ID                UploadID
	Key               Key
	Started           time.Time
	Class             StorageClass
	Attributes        Attributes
	Tags              Tags
	ChecksumAlgorithm string
	ChecksumFull      bool
}

// PutPartOptions describe a part; fields as in PutOptions.
type PutPartOptions struct {
	Size     int64
	MD5      []byte
	Checksum func() Checksum
}

// PartInfo describes a part of an upload in progress.
type PartInfo struct {
	Number   int
	Size     int64
	ETag     ETag
	Modified time.Time
	Checksum Checksum
	Source   VersionID // as in ObjectInfo
}

// ListPartsOptions select a page of parts: numbers greater than After, at most Max (0 means PageMax).
type ListPartsOptions struct {
	After int
	Max   int
}

// VersionPart describes a part of the upload that made a version. Checksum is zero if the upload had none.
type VersionPart struct {
	Number       int
	Offset, Size int64 // in the version
	Checksum     Checksum
}

// VersionPartPage is a page of a version's parts; Info.Parts is the number of all.
type VersionPartPage struct {
	Info      ObjectInfo
	Parts     []VersionPart
	Truncated bool
}

// PartPage is a page of parts and the upload that they belong to.
type PartPage struct {
	Upload    UploadInfo
	Parts     []PartInfo
	Truncated bool
}

// ListUploadsOptions select a page of uploads: those greater than (AfterKey, AfterID) in order of key and start. With AfterID
// empty all uploads of AfterKey are skipped. Delimiter and prefixes are as in ListOptions.
type ListUploadsOptions struct {
	Prefix, Delimiter string
	AfterKey          Key
	AfterID           UploadID
	Max               int
}

// UploadPage is a page of uploads; LastKey and LastID continue it if it is Truncated.
type UploadPage struct {
	Uploads   []UploadInfo
	Prefixes  []string
	Truncated bool
	LastKey   Key
	LastID    UploadID
}

// CompletePart names a part of a CompleteUpload. Checksum, if its Algorithm is not empty, must equal the stored one.
type CompletePart struct {
	Number   int
	ETag     ETag
	Checksum Checksum
}

// CompleteUploadOptions name the parts, in ascending order of number. Size, if not -1, and Checksum, if it has a sum, are what
// the whole must have; a different outcome is KindBadDigest or KindInvalidArgument and changes nothing.
type CompleteUploadOptions struct {
	Parts    []CompletePart
	If       Conditions
	Size     int64
	Checksum Checksum
}
