package engine

import (
	"context"
	"strings"
	"time"
)

const (
	// CursorsMax is the most cursors that a bucket has.
	CursorsMax = 64
	// CursorNameBytesMax is the longest name of a cursor; the shortest has one byte.
	CursorNameBytesMax = 255
)

// Feed tells followers what changes in a bucket: each change that gets a number, once, in order, without gaps. A cursor is a place in that order
// which the engine keeps for a follower; while a bucket has none that is not lost, nothing is noted.
//
// What is noted stays until every cursor has been moved past it, within a budget that the operator sets. A cursor that falls out of the budget is
// lost, and its follower is told KindRescan: it resets the cursor and lists the bucket then, in this order; changes that the listing has seen already
// come again, and do no harm to who applies them by what they say of each key.
//
// Besides the Kinds named below every method answers KindNoSuchBucket; KindInvalidArgument for a malformed name or option; KindNoSuchKey for a cursor
// that is not there; KindUnavailable when the outcome is unknown.
type Feed interface {
	// OpenCursor begins a cursor, behind the last change of the bucket, or finds the one that there is, even if it is lost. It is durable.
	// KindEntityTooLarge if the bucket has CursorsMax already.
	OpenCursor(ctx context.Context, bucket BucketName, name string) (Cursor, error)
	// ListCursors returns all cursors of a bucket in order of their names.
	ListCursors(ctx context.Context, bucket BucketName) ([]Cursor, error)
	// Changes returns a page of the changes behind o.After. KindRescan for a lost cursor; KindInvalidArgument for an o.After that is before the cursor;
	// KindCanceled if the context ended while it waited.
	Changes(ctx context.Context, bucket BucketName, name string, o ChangesOptions) (ChangePage, error)
	// MoveCursor says that the follower needs no change up to and with one any more. It is durable, and never moves a cursor back.
	// KindInvalidArgument for a number that no change has yet; KindRescan for a lost cursor.
	MoveCursor(ctx context.Context, bucket BucketName, name string, to Sequence) error
	// ResetCursor moves a cursor behind the last change of the bucket; it is not lost any more.
	ResetCursor(ctx context.Context, bucket BucketName, name string) (Cursor, error)
	// CloseCursor ends a cursor. One that is not there is no error.
	CloseCursor(ctx context.Context, bucket BucketName, name string) error
	// Expand returns a page of what lay beneath a directory that the change with a number gave another name, or removed: the keys in byte order, each
	// with its current version, as they were when that change was made, whatever has changed since. Those of a directory that was renamed or
	// exchanged have the names that the change gave them; of an exchange it returns both directories. KindInvalidArgument for a change that the
	// cursor has passed, or of another kind, see Change.Expands; KindRescan for a lost cursor, and if more than UndoneMax changes beneath the
	// directory came after.
	Expand(ctx context.Context, bucket BucketName, name string, change Sequence, o ExpandOptions) (ExpandPage, error)
}

// UndoneMax is the most changes beneath a directory that Expand undoes to find what was there.
const UndoneMax = 100_000

// Cursor is a place in the feed of a bucket.
type Cursor struct {
	Name string
	// Position is the last change that the follower needs no more; Last is that of the bucket. Lost says that changes behind Position are not noted
	// any more.
	Position, Last Sequence
	Lost           bool
}

// Behind returns how many changes are behind the cursor.
func (c Cursor) Behind() uint64 { return uint64(c.Last - c.Position) }

// ChangesOptions select a page: changes behind After, or behind the cursor for 0.
type ChangesOptions struct {
	After Sequence
	Max   int // 0 means PageMax
	// Wait says that Changes returns when there is one at least, or when the context ends.
	Wait bool
}

// ChangePage is a page of changes; Last is the After of the next one. It is Truncated if there are more already.
type ChangePage struct {
	Changes   []Change
	Last      Sequence
	Truncated bool
}

// ChangeKind says what a change was.
type ChangeKind byte

// The kinds of changes. Rows of the metadata have their numbers: a new one comes last.
const (
	// ChangePut: an object was put, copied, appended to, or completed from an upload; a file was made, or a file that was moved came here in a bucket
	// with versions.
	ChangePut ChangeKind = iota + 1
	// ChangeDeleted: the object is gone, for good; an empty directory, whose key ends with "/", too.
	ChangeDeleted
	// ChangeMarked: a delete marker hides the object.
	ChangeMarked
	// ChangeVersionRemoved: one version is gone, for good; Removed names it. Version is what is current now.
	ChangeVersionRemoved
	// ChangeTags: the version has other tags.
	ChangeTags
	// ChangeLock: the version has another retention or legal hold.
	ChangeLock
	// ChangeAttributes: attributes, times or extended attributes of a file or directory are others. Key is "" for the root, and for a file without a
	// name.
	ChangeAttributes
	// ChangeRenamed: the object From has the key Key now.
	ChangeRenamed
	// ChangePatched: the content of a file is another, under all its names, of which Key is one. Key is "" for a file without a name.
	ChangePatched
	// ChangeLinked: a file has Key as one more name, or as its first.
	ChangeLinked
	// ChangeUnlinked: a file has lost the name Key and has others.
	ChangeUnlinked
	// ChangeDirectoryMade: an empty directory was made; Key ends with "/" and is the object that keeps it.
	ChangeDirectoryMade
	// ChangeDirectoryRenamed: what lay beneath the directory From lies beneath Key now, under the same names behind it. If an empty directory was
	// there, Replaced is the object that kept it, and gone.
	ChangeDirectoryRenamed
	// ChangeDirectoryRemoved: all that lay beneath Key is gone, with all versions.
	ChangeDirectoryRemoved
	// ChangeExchanged: what was at From is at Key now, and the other way round, see Change.Moves.
	ChangeExchanged
	// ChangeTemporary: a file without a name was made.
	ChangeTemporary
	// ChangeDocument: a document of the bucket is another; Document names it.
	ChangeDocument
	// ChangeBucketLock: the bucket's locks are set otherwise.
	ChangeBucketLock
	// ChangeVersioning: the bucket's versioning is another. It has a number only while somebody follows.
	ChangeVersioning
	changeKindEnd
)

var changeNames = [...]string{
	"", "put", "deleted", "marked", "version removed", "tags", "lock", "attributes", "renamed", "patched", "linked", "unlinked", "directory made",
	"directory renamed", "directory removed", "exchanged", "temporary made", "document", "bucket lock", "versioning",
}

// String returns the kind in words.
func (k ChangeKind) String() string {
	if k > 0 && k < changeKindEnd {
		return changeNames[k]
	}
	return "unknown"
}

// ChangeKinds returns every kind of change, for tests.
func ChangeKinds() []ChangeKind {
	var kinds []ChangeKind
	for k := ChangePut; k < changeKindEnd; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// ChangedVersion describes a version in a change; it is zero where there is none.
type ChangedVersion struct {
	Version  VersionID
	Marker   bool // it is a delete marker
	Size     int64
	ETag     ETag
	Sequence Sequence // of the change that made it, or changed its content
	Modified time.Time
}

// IsZero reports whether there is none.
func (v ChangedVersion) IsZero() bool { return v.Version == "" }

// Change is one change of a bucket. Which fields it has follows from its kind.
type Change struct {
	Sequence Sequence
	Time     time.Time // stamped when it was ordered; never before that of an earlier change
	Kind     ChangeKind
	Key      Key // of a directory with "/" at its end; longer than KeyBytesMax where renames made it so
	From     Key // the key before: of renames and exchanges
	Document string
	// Directory says that Key is that of a directory itself, and not that of an object with "/" at its end.
	Directory bool
	// Node is the file or directory that the change is about, if any; Names is how many names the file has after it.
	Node  NodeID
	Names uint64
	// Version is what is current at Key after the change; of tags and locks the version that they belong to. Replaced is what was current there before.
	Version, Replaced ChangedVersion
	Removed           VersionID
}

// Expands reports whether Expand tells what the change is about.
func (c *Change) Expands() bool {
	switch c.Kind {
	case ChangeDirectoryRenamed, ChangeDirectoryRemoved:
		return true
	case ChangeExchanged:
		return c.Directory || c.Replaced.IsZero()
	}
	return false
}

// ChangeMove is a name that a change gave to what had another.
type ChangeMove struct {
	From, To  Key // both end with "/" for a directory
	Directory bool
	Version   ChangedVersion // of an object
}

// Moves returns what has another name by the change: one thing for a rename, two for an exchange, else none.
func (c *Change) Moves() []ChangeMove {
	switch c.Kind {
	case ChangeRenamed, ChangeDirectoryRenamed:
		return []ChangeMove{{From: c.From, To: c.Key, Directory: c.Directory, Version: c.Version}}
	case ChangeExchanged:
		back := ChangeMove{From: c.Key, To: c.From, Directory: c.Replaced.IsZero(), Version: c.Replaced}
		back.From, back.To = placed(back.From, c.Directory, back.Directory), placed(back.To, c.Directory, back.Directory)
		return []ChangeMove{{From: c.From, To: c.Key, Directory: c.Directory, Version: c.Version}, back}
	}
	return nil
}

// placed returns the key that one thing has at the place of another.
func placed(key Key, was, is bool) Key {
	if was {
		key = Key(strings.TrimSuffix(string(key), "/"))
	}
	if is {
		key += "/"
	}
	return key
}

// ExpandOptions select a page: keys greater than After.
type ExpandOptions struct {
	After Key
	Max   int // 0 means PageMax
}

// ExpandPage is a page of keys; the last one is the After of the next if it is Truncated.
type ExpandPage struct {
	Keys      []ExpandedKey
	Truncated bool
}

// ExpandedKey is an object that a change of a directory has to do with.
type ExpandedKey struct {
	Key     Key
	Node    NodeID
	Version ChangedVersion
}

// CheckCursorName returns an error of KindInvalidArgument for what no cursor is named.
func CheckCursorName(name string) error {
	if name == "" || len(name) > CursorNameBytesMax {
		return E(KindInvalidArgument, "the name of a cursor has %d bytes; it has 1 to %d", len(name), CursorNameBytesMax)
	}
	return nil
}
