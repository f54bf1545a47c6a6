package engine

import (
	"cmp"
	"context"
	"slices"
	"time"
)

const (
	// OwnerExpiry is how long an owner lives that is not renewed. Whoever renews it does so at least three times as often.
	OwnerExpiry = time.Minute
	// LocksMax is the most ranges of one file that are locked at a time.
	LocksMax = 1000
	// HoldsMax is the most nodes that one owner holds or locks at a time.
	HoldsMax = 100_000
)

// OwnerID names who holds and locks nodes of a bucket: a mount, or a gateway in the name of its clients. It is never used again.
type OwnerID uint64

// LockKind says which locks are in each other's way: those of one kind alone.
type LockKind byte

// A byte-range lock is that of POSIX's fcntl, a flock that of BSD; a lease is a promise to its holder that it will hear of whoever wants the file, and has no range.
const (
	LockRange LockKind = iota
	LockFlock
	LockLease
	lockKindEnd
)

// LockMode is what a lock lets others do.
type LockMode byte

// Any number of holders may share, one alone excludes all others. LockNone gives up what the holder has of the range.
const (
	LockNone LockMode = iota
	LockShared
	LockExclusive
	lockModeEnd
)

// FileLock is a lock of a range of a file. Those of one owner are told apart by Holder, which means something to the owner alone; so does Process.
type FileLock struct {
	Owner   OwnerID
	Holder  uint64
	Process uint32
	Kind    LockKind
	Mode    LockMode
	// Start and Length are those of the range; Length 0 means all from Start on. Only byte-range locks have one.
	Start, Length int64
}

// Owners keep nodes and their locks for those who have files open. An owner ends by CloseOwner, or when nobody has renewed it for OwnerExpiry: then what it held
// and locked is free. Every method answers KindExpired for an owner that has ended, and the errors of Files.
type Owners interface {
	// OpenOwner begins an owner. Name is for people who look at what is held; it has at most 255 bytes.
	OpenOwner(ctx context.Context, bucket BucketName, name string) (OwnerID, error)
	// RenewOwner has an owner live on, and answers the nodes whose leases of this owner somebody else waits for.
	RenewOwner(ctx context.Context, bucket BucketName, owner OwnerID) ([]NodeID, error)
	// CloseOwner ends an owner. One that has ended is no error.
	CloseOwner(ctx context.Context, bucket BucketName, owner OwnerID) error
	// HoldFile keeps a file there for an owner: when its last name goes, it can be reached by its number until nobody holds it, and counts for no
	// directory. A repetition changes nothing. KindIsDirectory; KindEntityTooLarge above HoldsMax; KindBucketState for a version that is not current.
	HoldFile(ctx context.Context, f File, owner OwnerID) (FileInfo, error)
	// ReleaseFile ends that; a file without a name that nobody else holds is gone. What is not held is no error.
	ReleaseFile(ctx context.Context, f File, owner OwnerID) error
	// MakeTemporary makes a regular file without a name, held by the owner. LinkFile may give it one.
	MakeTemporary(ctx context.Context, bucket BucketName, owner OwnerID, o MakeFileOptions) (FileInfo, error)
	// LockFile locks a range of a file, or gives it up; what the holder has of it already is replaced. It does not wait: KindHeld if a lock of somebody
	// else is in the way, who is told if that is a lease. KindEntityTooLarge above LocksMax. Locks change no content and make no version.
	LockFile(ctx context.Context, f File, lock FileLock) error
	// TestLock returns the first lock that is in the way of one; ok is false if there is none.
	TestLock(ctx context.Context, f File, lock FileLock) (held FileLock, ok bool, err error)
}

// CheckFileLock returns an error of KindInvalidArgument for a lock that cannot be.
func CheckFileLock(l FileLock) error {
	switch {
	case l.Kind >= lockKindEnd || l.Mode >= lockModeEnd:
		return E(KindInvalidArgument, "there is no lock of kind %d and mode %d", l.Kind, l.Mode)
	case l.Kind != LockRange && (l.Start != 0 || l.Length != 0):
		return E(KindInvalidArgument, "only byte-range locks have a range")
	case l.Start < 0 || l.Length < 0 || l.Length > 1<<63-1-l.Start:
		return E(KindInvalidArgument, "a lock of %d bytes at %d", l.Length, l.Start)
	}
	return nil
}

// End returns the first byte behind the range of a lock.
func (l *FileLock) End() int64 {
	if l.Length == 0 {
		return 1<<63 - 1
	}
	return l.Start + l.Length
}

// sameHolder reports whether two locks are of one kind and one holder.
func (l *FileLock) sameHolder(other *FileLock) bool {
	return l.Kind == other.Kind && l.Owner == other.Owner && l.Holder == other.Holder
}

// InTheWay returns the first of locks that a new one has to wait for.
func InTheWay(locks []FileLock, l FileLock) (held FileLock, ok bool) {
	for i := range locks {
		o := &locks[i]
		if o.Kind == l.Kind && !o.sameHolder(&l) && o.Start < l.End() && l.Start < o.End() && l.Mode != LockNone && (o.Mode == LockExclusive || l.Mode == LockExclusive) {
			return *o, true
		}
	}
	return held, false
}

// WithLock returns locks, which are in order of their ranges, with what a new one makes of them, by the rules of POSIX: in its range the holder has nothing else
// any more, and what adjoins in the same mode becomes one lock. Nothing may be in its way.
func WithLock(locks []FileLock, l FileLock) []FileLock {
	kept := make([]FileLock, 0, len(locks)+2)
	start, end := l.Start, l.End()
	for _, o := range locks {
		if !o.sameHolder(&l) || o.End() < start || o.Start > end {
			kept = append(kept, o)
			continue
		}
		if o.Mode == l.Mode { // overlaps or adjoins: one lock then
			start, end = min(start, o.Start), max(end, o.End())
			continue
		}
		if left := o; o.Start < l.Start {
			left.Length = min(o.End(), l.Start) - o.Start
			kept = append(kept, left)
		}
		if right := o; o.End() > l.End() {
			right.Start = max(o.Start, l.End())
			if right.Length = o.End() - right.Start; o.Length == 0 {
				right.Length = 0
			}
			kept = append(kept, right)
		}
	}
	if l.Mode != LockNone {
		if l.Start, l.Length = start, end-start; end == 1<<63-1 {
			l.Length = 0
		}
		kept = append(kept, l)
	}
	sortLocks(kept)
	return kept
}

func sortLocks(locks []FileLock) {
	slices.SortStableFunc(locks, func(a, b FileLock) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Holder, b.Holder))
	})
}
