package meta

import (
	"slices"
	"time"

	"holdfast/engine"
)

// source finds the version that a copy is of.
func (a *apply) source(s *Source) (inode inodeRow, refusal *Answer) {
	if !a.has(key8(rowBucket, uint64(s.Bucket))) {
		return inode, failed(engine.KindNoSuchBucket, "the bucket of the source was deleted")
	}
	entry, missing, err := a.resolve(s.Bucket, s.Key).object(a.view, s.Key, s.Version)
	switch {
	case err != nil:
		panic(storeError{err})
	case missing != nil:
		return inode, failed(missing.Kind, "%v", missing.Err)
	case !a.mustLoad(key16(rowInode, uint64(s.Bucket), entry.inode), &inode):
		return inode, failed(engine.KindInternal, "the object %q has no inode", string(s.Key))
	}
	info := inode.info(&entry)
	if why, _ := Unmet(&s.If, &info); why != "" {
		return inode, failed(engine.KindPreconditionFailed, "%s", why)
	}
	if s.Sequence != 0 && inode.sequence != s.Sequence {
		return inode, failed(engine.KindConflict, "the object %q changed while it was read", string(s.Key))
	}
	return inode, nil
}

// Unmet says which condition on a version that is read does not hold, or nothing. NotModified is true of those by which the reader says what he has.
func Unmet(c *engine.Conditions, version *engine.ObjectInfo) (why string, notModified bool) {
	tag := "the ETag is " + string(version.ETag)
	modified := "the last modification was at " + version.Modified.UTC().Format(time.RFC3339Nano)
	switch {
	case len(c.Match) > 0 && !slices.Contains(c.Match, version.ETag):
		return tag, false
	case !c.UnmodifiedSince.IsZero() && version.Modified.After(c.UnmodifiedSince):
		return modified, false
	case c.NoneMatchAny, slices.Contains(c.NoneMatch, version.ETag):
		return tag, true
	case !c.ModifiedSince.IsZero() && !version.Modified.After(c.ModifiedSince):
		return modified, true
	}
	return "", false
}

func (a *apply) copy(c *Copy) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	from, refusal := a.source(&c.From)
	if refusal != nil {
		return refusal
	}
	if c.Class != "" && c.Class != from.class {
		return failed(engine.KindConflict, "the object %q has storage class %s by now", string(c.From.Key), from.class)
	}
	p := a.resolve(c.Bucket, c.Key)
	if refusal := checkConditions(&c.If, &p.entry, p.found); refusal != nil {
		return refusal
	}
	lock, refusal := a.lockNew(&b, c.Lock, c.Clock)
	if refusal != nil {
		return refusal
	}
	a.retain(from.content)
	inode := inodeRow{
		Lock: lock, content: from.content, size: from.size, etag: from.etag, class: from.class, attributes: from.attributes, checksum: from.checksum, tags: from.tags,
	}
	if c.ReplaceTags {
		inode.tags = c.Tags
	}
	if c.Replace {
		inode.attributes = c.Attributes
	}
	if c.Checksum.Algorithm != "" {
		inode.checksum = c.Checksum
	}
	return a.setCurrent(c.Bucket, &b, p, &inode)
}

// retain gives a content one more reference.
func (a *apply) retain(id uint64) {
	var r contentRow
	a.mustLoad(key8(rowContent, id), &r)
	r.refs++
	a.setContent(id, &r)
}

// CopyRunsMax is the most runs that a copied part may have, so that a command touches at most 4,096 rows.
const CopyRunsMax = 2000

func (a *apply) copyPart(c *CopyPart) *Answer {
	var u uploadRow
	if refusal := a.loadUpload(c.Bucket, c.Key, c.ID, &u); refusal != nil {
		return refusal
	}
	from, refusal := a.source(&c.From)
	if refusal != nil {
		return refusal
	}
	if c.Offset < 0 || c.Length < 0 || c.Offset > from.size || c.Length > from.size-c.Offset {
		return failed(engine.KindInvalidRange, "%d bytes at %d exceed the %d of the source", c.Length, c.Offset, from.size)
	}
	runs := a.leaves(from.content, c.Offset, c.Length, CopyRunsMax, 0)
	if len(runs) > CopyRunsMax {
		return failed(engine.KindInvalidArgument, "the bytes lie in %d pieces; at most %d can be copied as one part", len(runs), CopyRunsMax)
	}
	found := int64(0)
	for i := range runs {
		found += runs[i].Length
	}
	if found != c.Length {
		return failed(engine.KindDamaged, "the metadata has %d of the %d bytes that are to be copied", found, c.Length)
	}
	for i := range runs {
		a.retainRun(&runs[i])
	}
	key := partKey(c.Bucket, c.ID, c.Number)
	var before partRow
	if a.mustLoad(key, &before) {
		a.release(before.content)
	}
	id := a.nextContent()
	r := contentRow{refs: 1, size: c.Length, count: len(runs), inline: len(runs) == 0, part: partSum{c.Number, c.Checksum}}
	a.setRuns(id, &r, runs)
	part := partRow{content: id, size: c.Length, stamp: a.header.Stamp, md5: c.MD5, checksum: c.Checksum}
	a.view.Set(key, part.encode())
	return &Answer{Stamp: part.stamp, Size: part.size, ETag: engine.ETag(etag{md5: c.MD5}.String())}
}

// leaves returns the runs that make up a range of a content, each a hole or of a content that has bytes or extents of its own: a run never names one that
// names others, so that copies of copies do not grow deep. It stops when there are more than limit.
func (a *apply) leaves(id uint64, offset, length int64, limit, depth int) []Run {
	runs, err := leaves(a.view, id, offset, length, limit, depth)
	if err != nil {
		panic(storeError{err})
	}
	return runs
}

func leaves(view View, id uint64, offset, length int64, limit, depth int) (runs []Run, err error) {
	content, err := LoadRange(view, id, offset, length)
	if err == ErrAbsent || length == 0 || depth > depthMax {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if content.Owns {
		return []Run{{Content: id, Offset: offset, Length: length}}, nil
	}
	for _, run := range content.Runs {
		if len(runs) > limit {
			break
		}
		if run.Hole() {
			runs = append(runs, run.Run)
			continue
		}
		below, err := leaves(view, run.Content, run.Offset, run.Length, limit, depth+1)
		if err != nil {
			return nil, err
		}
		runs = append(runs, below...)
	}
	return runs, nil
}

// depthMax bounds how deep contents name contents: one that patches change may have depthPatched levels beneath it, and a little room is left.
const depthMax = 2 * depthPatched
