package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is all that a program may decide upon in an error. Each gateway has one table from Kind to its protocol's code.
type Kind uint8

// The Kinds. Rows of the metadata have their numbers: a new one comes last, and needs a row in every gateway's table; their tests walk from KindInternal to kindEnd.
const (
	// KindInternal is a broken invariant or a fault that has no better name.
	KindInternal Kind = iota
	// KindInvalidArgument: a name, key, number or option is malformed or out of range.
	KindInvalidArgument
	// KindKeyTooLong: the key has more than KeyBytesMax bytes.
	KindKeyTooLong
	// KindNoSuchBucket: the root group says that there is no such bucket.
	KindNoSuchBucket
	// KindBucketExists: the name is taken.
	KindBucketExists
	// KindBucketNotEmpty: the bucket holds objects or versions.
	KindBucketNotEmpty
	// KindNoSuchKey: the group says that the key has no current version.
	KindNoSuchKey
	// KindNoSuchVersion: the key has no such version.
	KindNoSuchVersion
	// KindDeleteMarker: the version that the call names is a delete marker, which has no content.
	KindDeleteMarker
	// KindNoSuchUpload: the upload is unknown, completed or aborted.
	KindNoSuchUpload
	// KindInvalidPart: a named part does not exist or has another ETag or checksum.
	KindInvalidPart
	// KindInvalidPartOrder: the parts of a completion are not in ascending order.
	KindInvalidPartOrder
	// KindPartTooSmall: a part that is not the last has fewer than PartBytesMin bytes.
	KindPartTooSmall
	// KindPreconditionFailed: a condition does not hold.
	KindPreconditionFailed
	// KindNotModified: a read's condition says that the caller already has this version.
	KindNotModified
	// KindConflict: another change to the same key is in progress; the call may be repeated.
	KindConflict
	// KindInvalidRange: the range selects nothing of the version.
	KindInvalidRange
	// KindBadDigest: the content differs from the digest that the caller gave.
	KindBadDigest
	// KindIncompleteBody: the body ended early.
	KindIncompleteBody
	// KindEntityTooLarge: the content exceeds a limit.
	KindEntityTooLarge
	// KindAccessDenied: the session may not do this.
	KindAccessDenied
	// KindSlowDown: admission timed out; repeat later.
	KindSlowDown
	// KindUnavailable: too few replicas or shards answer, or the outcome is not known; repeat.
	KindUnavailable
	// KindDriveFull: no drives with room are left for this write.
	KindDriveFull
	// KindQuota: a quota is exhausted.
	KindQuota
	// KindDamaged: more shards are damaged or missing than parity repairs.
	KindDamaged
	// KindNotImplemented: the operation or option is not supported.
	KindNotImplemented
	// KindCanceled: the caller gave up or its deadline passed before the outcome was known.
	KindCanceled
	// KindLocked: a retention or legal hold keeps the version.
	KindLocked
	// KindNoLock: the bucket has no locks.
	KindNoLock
	// KindBucketState: the bucket's versioning or locks forbid this.
	KindBucketState
	// KindInvalidOffset: an append does not begin where the object ends.
	KindInvalidOffset
	// KindExists: the name is taken.
	KindExists
	// KindNotDirectory: what should be a directory is a file.
	KindNotDirectory
	// KindIsDirectory: what should be a file is a directory.
	KindIsDirectory
	// KindNotEmpty: the directory holds names or versions.
	KindNotEmpty
	// KindTooManyLinks: the file has as many names as it may have.
	KindTooManyLinks
	// KindNoSuchAttribute: the node has no such extended attribute.
	KindNoSuchAttribute
	// KindExpired: the owner of holds and locks has ended.
	KindExpired
	// KindHeld: a lock of somebody else is in the way.
	KindHeld
	// KindRescan: what the follower of a bucket's changes asks for is not noted any more; it lists the bucket anew.
	KindRescan
	kindEnd
)

var kindNames = [...]string{
	"internal error", "invalid argument", "key too long", "no such bucket", "bucket already exists", "bucket not empty",
	"no such key", "no such version", "delete marker", "no such upload", "invalid part", "invalid part order", "part too small",
	"precondition failed", "not modified", "conflict", "invalid range", "bad digest", "incomplete body", "entity too large",
	"access denied", "slow down", "unavailable", "drives full", "quota exceeded", "damaged", "not implemented",
	"canceled", "locked", "no locks", "bucket state", "invalid offset", "name exists", "not a directory", "is a directory",
	"directory not empty", "too many links", "no such attribute", "expired", "lock held",
	"rescan",
}

// String returns the Kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Kinds returns every Kind, for tests that look for a missing row.
func Kinds() []Kind {
	kinds := make([]Kind, kindEnd)
	for i := range kinds {
		kinds[i] = Kind(i)
	}
	return kinds
}

// Error is the one error type of the engine and of everything that wraps it.
type Error struct {
	Op     string // the operation, in the words of the interface: "put", "complete upload"
	Ref    Ref    // what it acted upon; zero fields are not shown
	Kind   Kind
	Marker VersionID // of the delete marker that was found where an object was looked for
	Marked time.Time // when that was written
	Err    error     // the cause: what happened and what to do, for people
}

// E makes an Error of kind from a format, for the place where the failure is found.
func E(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// ErrNewer is what errors.Is finds where bytes have a format that only a later version of Holdfast knows. They are no damage, and nothing
// may be written over them.
var ErrNewer = errors.New("start the newer holdfast that wrote it")

// Newer makes the error for something whose format is found, later than the newest that this build reads.
func Newer(what string, found, newest uint64) *Error {
	return E(KindNotImplemented, "%s has format %d; this holdfast reads up to %d: %w", what, found, newest, ErrNewer)
}

// Wrap adds the operation and the object to err. The Kind is that of err, see KindOf. Wrap(…, nil) is nil.
func Wrap(op string, ref Ref, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Ref: ref, Kind: KindOf(err), Err: err}
}

// Error returns one line: operation, object, what went wrong.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteByte(' ')
	}
	if e.Ref.Bucket != "" {
		b.WriteString(string(e.Ref.Bucket))
		if e.Ref.Key != "" {
			fmt.Fprintf(&b, "/%q", string(e.Ref.Key))
		}
		b.WriteByte(' ')
	}
	inner, wrapped := e.Err.(*Error)
	if !wrapped || inner.Kind != e.Kind {
		b.WriteString(e.Kind.String())
	}
	if e.Err != nil {
		if s := strings.TrimRight(b.String(), " "); s != "" {
			b.Reset()
			b.WriteString(s)
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the Kind of the outermost *Error in err's chain, KindCanceled for a context's error, else KindInternal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return KindCanceled
	}
	return KindInternal
}

// RefOf returns what err is about: the Ref of the innermost *Error in its chain that has one. Of a copy that may be the source.
func RefOf(err error) (ref Ref) {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.Ref.Bucket != "" {
			ref = e.Ref
		}
	}
	return ref
}

// MarkerOf returns the version of the delete marker that err is about, and when it was written; "" if there is none.
func MarkerOf(err error) (marker VersionID, written time.Time) {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.Marker != "" {
			return e.Marker, e.Marked
		}
	}
	return "", time.Time{}
}

// Plain returns the text of err without the Kinds, for where a person reads it and the sentence says enough.
func Plain(err error) string {
	text := err.Error()
	var strip func(error)
	strip = func(err error) {
		if e, ok := err.(*Error); ok && e.Err != nil {
			if cause := e.Err.Error(); e.Op != "" || e.Ref.Bucket != "" {
				text = strings.Replace(text, " "+e.Kind.String()+": "+cause, ": "+cause, 1)
			} else {
				text = strings.Replace(text, e.Kind.String()+": "+cause, cause, 1)
			}
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			if inner := e.Unwrap(); inner != nil {
				strip(inner)
			}
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				strip(inner)
			}
		}
	}
	strip(err)
	return text
}

// Is reports whether err is of the given Kind; nil is of none.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
