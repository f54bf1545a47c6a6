package meta

import (
	"cmp"
	"time"

	"holdfast/engine"
)

// SetBucketLock enables locks in a bucket and sets the retention of versions that are made without one.
type SetBucketLock struct {
	Bucket engine.BucketID
	Lock   engine.BucketLock
}

func (*SetBucketLock) opcode() byte        { return opSetBucketLock }
func (c *SetBucketLock) encode(e *encoder) { e.uint(uint64(c.Bucket)); e.bucketLock(&c.Lock) }
func (c *SetBucketLock) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Lock = d.bucketLock()
}

// SetLock changes the retention of a version if SetRetention is set, and its legal hold if SetHold is; the current version's if Version is empty.
// Clock is the sender's, in unix nanoseconds: a retention has ended only if that and the leader's stamp say so. Bypass ends a governance retention
// early.
type SetLock struct {
	Bucket                engine.BucketID
	Key                   engine.Key
	Version               engine.VersionID
	SetRetention, SetHold bool
	Lock                  engine.Lock
	Bypass                bool
	Clock                 int64
}

func (*SetLock) opcode() byte { return opSetLock }
func (c *SetLock) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.string(string(c.Key))
	e.string(string(c.Version))
	e.bool(c.SetRetention)
	e.bool(c.SetHold)
	e.lock(&c.Lock)
	e.bool(c.Bypass)
	e.int(c.Clock)
}
func (c *SetLock) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Key = engine.Key(d.string())
	c.Version = engine.VersionID(d.string())
	c.SetRetention = d.bool()
	c.SetHold = d.bool()
	c.Lock = d.lock()
	c.Bypass = d.bool()
	c.Clock = d.int()
}

// instant is the time at which locks are judged: the lesser of the leader's stamp, which never goes back after a clock was wrong, and the sender's
// clock. Commands of formats before locks have none.
func (a *apply) instant(clock int64) time.Time {
	return time.Unix(0, min(a.header.Stamp, cmp.Or(clock, a.header.Stamp)))
}

// locked reports whether a lock is one at all; a retention that has ended counts.
func locked(l *engine.Lock) int64 {
	if l.Held() {
		return 1
	}
	return 0
}

// stampAheadMax is how far ahead of a sender's clock a stamp may be and still count.
const stampAheadMax = 10 * time.Second

// lockNew returns the lock of a version that is made now: the retention of the bucket, from the stamp on, unless it has one of its own. A stamp that is far
// ahead must not make it longer, since nobody could end it: then it counts from the sender's clock on.
func (a *apply) lockNew(b *bucketRow, l engine.Lock, clock int64) (engine.Lock, *Answer) {
	if !b.lock.Enabled {
		if !l.IsZero() {
			return l, failed(engine.KindNoLock, "locks are not enabled in the bucket")
		}
		return l, nil
	}
	if l.Mode == engine.RetentionNone {
		from := time.Unix(0, a.header.Stamp)
		if now := a.instant(clock); from.Sub(now) > stampAheadMax {
			from = now
		}
		l.Retention = b.lock.RetentionOf(from)
	}
	return l, nil
}

func (a *apply) setBucketLock(c *SetBucketLock) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	if err := engine.CheckBucketLock(c.Lock); err != nil {
		return failed(engine.KindInvalidArgument, "%v", err)
	}
	if b.versioning != engine.VersioningEnabled {
		return failed(engine.KindBucketState, "locks need versioning; enable it first")
	}
	b.lock = c.Lock
	a.raise(c.Bucket, &b, engine.ChangeBucketLock)
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return &Answer{Sequence: b.sequence, Stamp: a.header.Stamp}
}

func (a *apply) setLock(c *SetLock) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	if !b.lock.Enabled {
		return failed(engine.KindNoLock, "locks are not enabled in the bucket")
	}
	p := a.resolve(c.Bucket, c.Key)
	entry, missing, err := p.object(a.view, c.Key, c.Version)
	switch {
	case err != nil:
		panic(storeError{err})
	case missing != nil:
		return failed(missing.Kind, "%v", missing.Err)
	}
	var inode inodeRow
	key := key16(rowInode, uint64(c.Bucket), entry.inode)
	if !a.mustLoad(key, &inode) {
		return failed(engine.KindInternal, "the object %q has no inode", string(c.Key))
	}
	before := locked(&inode.Lock)
	if c.SetRetention {
		if why := inode.Lock.Allows(c.Lock.Retention, a.instant(c.Clock), c.Bypass); why != "" {
			return failed(engine.KindLocked, "%s", why)
		}
		inode.Lock.Retention = c.Lock.Retention
	}
	if c.SetHold {
		inode.Lock.Hold, inode.Lock.Lifted = c.Lock.Hold, !c.Lock.Hold
	}
	a.view.Set(key, inode.encode())
	a.raise(c.Bucket, &b, engine.ChangeLock).about(p, &entry, &inode)
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	if d := (delta{locked: locked(&inode.Lock) - before}); d.locked != 0 {
		a.count(p, d)
	}
	return &Answer{
		Sequence: inode.sequence, Stamp: inode.stamp, Size: inode.size, ETag: engine.ETag(inode.etag.String()), Version: entry.version(), Versioning: b.versioning,
	}
}

// kept says why a version must not be removed, or nothing, and whether it has a lock that goes with it.
func (a *apply) kept(b *bucketRow, bucket engine.BucketID, entry *entryRow, c *Delete) (refusal *Answer, lock int64) {
	if !b.lock.Enabled || entry.kind != entryObject {
		return nil, 0
	}
	var inode inodeRow
	if !a.mustLoad(key16(rowInode, uint64(bucket), entry.inode), &inode) {
		return failed(engine.KindInternal, "the version has no inode"), 0
	}
	if why := inode.Lock.Keeps(a.instant(c.Clock), c.Bypass); why != "" {
		return failed(engine.KindLocked, "%s", why), 0
	}
	return nil, locked(&inode.Lock)
}
