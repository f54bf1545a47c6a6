package meta

import (
	"cmp"

	"holdfast/engine"
)

// SetBucketQuota sets the quota of a bucket.
type SetBucketQuota struct {
	Bucket engine.BucketID
	Quota  engine.Quota
}

func (*SetBucketQuota) opcode() byte { return opSetBucketQuota }
func (c *SetBucketQuota) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.uint(c.Quota.Bytes)
	e.uint(c.Quota.Objects)
}
func (c *SetBucketQuota) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Quota = engine.Quota{Bytes: d.uint(), Objects: d.uint()}
}

func (a *apply) setBucketQuota(c *SetBucketQuota) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	b.quota = c.Quota
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return &Answer{}
}

// withinQuota makes a change of a bucket, and takes it back if the bucket holds more than its quota then.
func (a *apply) withinQuota(bucket engine.BucketID, change func() *Answer) *Answer {
	var b bucketRow
	if !a.mustLoad(key8(rowBucket, uint64(bucket)), &b) || b.quota == (engine.Quota{}) {
		return change()
	}
	before, mark, counters, noted := a.held(bucket), a.view.Mark(), a.counters, len(a.noted)
	answer := change()
	if answer.Failed {
		return answer
	}
	if refusal := b.quota.Judge(before, a.held(bucket)); refusal != nil {
		a.view.Restore(mark)
		a.counters, a.noted = counters, a.noted[:noted]
		return failed(refusal.Kind, "%v", refusal.Err)
	}
	return answer
}

// held is what a bucket holds of what a quota bounds.
func (a *apply) held(bucket engine.BucketID) engine.Quota {
	var r aggregateRow
	a.mustLoad(key16(rowAggregate, uint64(bucket), rootInode), &r)
	return engine.Quota{Bytes: r.all(), Objects: r.objects}
}

// LookupBucketQuota returns the quota of a bucket. ErrAbsent.
func LookupBucketQuota(view Reader, bucket engine.BucketID) (engine.Quota, error) {
	var b bucketRow
	if ok, err := load(view, key8(rowBucket, uint64(bucket)), &b); err != nil || !ok {
		return engine.Quota{}, cmp.Or(err, ErrAbsent)
	}
	return b.quota, nil
}

// LookupSpace returns what a bucket holds, and its quota. ErrAbsent.
func LookupSpace(view Reader, bucket engine.BucketID) (info engine.SpaceInfo, err error) {
	if info.Quota, err = LookupBucketQuota(view, bucket); err != nil {
		return info, err
	}
	var r aggregateRow
	_, err = load(view, key16(rowAggregate, uint64(bucket), rootInode), &r)
	info.Held = engine.PrefixInfo{Objects: r.objects, Bytes: r.bytes, Versions: r.versions}
	info.VersionBytes = r.all()
	return info, err
}
