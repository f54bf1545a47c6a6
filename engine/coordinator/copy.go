package coordinator

import (
	"cmp"
	"context"
	"crypto/md5"
	"io"
	"slices"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
	"holdfast/observe"
)

var stepCopy = observe.NewStep("coordinator: a copy is committed")

// Copy implements engine.Objects.
func (c *Coordinator) Copy(ctx context.Context, from, to engine.Ref, o engine.CopyOptions) (engine.ObjectInfo, error) {
	info, err := c.copy(ctx, from, to, o)
	return info, engine.Wrap("copy", to, err)
}

// copyAttempts is how often a copy begins anew because its source was overwritten between the look at it and the commit.
const copyAttempts = 16

func (c *Coordinator) copy(ctx context.Context, from, to engine.Ref, o engine.CopyOptions) (info engine.ObjectInfo, err error) {
	if err := checkWrite(&o.If); err != nil {
		return info, err
	}
	if o.Attributes != nil {
		if err := checkAttributes(o.Attributes); err != nil {
			return info, err
		}
	}
	if err := engine.CheckRetention(o.Lock.Retention, time.Now()); err != nil {
		return info, err
	}
	class := cmp.Or(o.Class, engine.ClassStandard)
	if _, known := c.Class(class); !known {
		return info, engine.E(engine.KindInvalidArgument, "there is no storage class %q", class)
	}
	if o.Tags != nil {
		if err := engine.CheckTags(*o.Tags); err != nil {
			return info, err
		}
	}
	source, err := c.locate(ctx, from)
	if err != nil {
		return info, ofSource(from, err)
	}
	target, err := c.locateWrite(ctx, to)
	if err != nil {
		return info, err
	}
	command := &meta.Copy{Bucket: target.ID, Key: to.Key, From: meta.Source{Bucket: source.ID, Key: from.Key, Version: from.Version, If: o.From}, If: o.If}
	if o.Attributes != nil {
		command.Replace, command.Attributes = true, *o.Attributes
	}
	if o.Tags != nil {
		command.ReplaceTags, command.Tags = true, *o.Tags
	}
	command.Class, command.Lock, command.Clock = class, o.Lock, time.Now().UnixNano()
	for attempt := 1; ; attempt++ {
		current, err := c.stat(ctx, from, engine.StatOptions{})
		if err != nil {
			return info, ofSource(from, err)
		}
		if class != current.Class {
			return c.copyBytes(ctx, from, to, o)
		}
		info, err = c.copyVersion(ctx, from, to, &current, command, o)
		// What was read into the hash cannot be taken back: then another version needs another call.
		if !engine.Is(err, engine.KindConflict) || o.Hash != nil || attempt == copyAttempts {
			return info, err
		}
	}
}

// copyVersion copies what the source has now, as current describes it, or answers KindConflict.
func (c *Coordinator) copyVersion(ctx context.Context, from, to engine.Ref, current *engine.ObjectInfo, command *meta.Copy, o engine.CopyOptions) (info engine.ObjectInfo, err error) {
	command.From.Sequence = current.Sequence
	if o.Hash != nil {
		if err := c.readInto(ctx, from, current.Sequence, nil, o.Hash); err != nil {
			return info, ofSource(from, err)
		}
		command.Checksum = o.Checksum()
	}
	stepCopy.Enter()
	answer, _, err := c.Data.Do(ctx, command)
	stepCopy.Leave()
	switch engine.KindOf(err) {
	case engine.KindNoSuchKey, engine.KindNoSuchVersion, engine.KindDeleteMarker: // the target may be absent
		return info, ofSource(from, err)
	}
	if err != nil {
		return info, err
	}
	info = made(to, &answer)
	info.Class, info.Attributes, info.Tags, info.Checksum, info.Parts = current.Class, current.Attributes, current.Tags, current.Checksum, current.Parts
	info.Source = versionCopied(current)
	if o.Attributes != nil {
		info.Attributes = *o.Attributes
	}
	if o.Tags != nil {
		info.Tags = some(*o.Tags)
	}
	if o.Hash != nil {
		info.Checksum = command.Checksum
	}
	return info, nil
}

// versionCopied is what a copy tells of its source.
func versionCopied(source *engine.ObjectInfo) engine.VersionID {
	if source.Versioning == engine.VersioningOff {
		return ""
	}
	return source.Version
}

// ofSource says that an error of a copy is about its source.
func ofSource(from engine.Ref, err error) error { return engine.Wrap("read", from, err) }

// copyBytes stores the content anew, in another class.
func (c *Coordinator) copyBytes(ctx context.Context, from, to engine.Ref, o engine.CopyOptions) (info engine.ObjectInfo, err error) {
	object, err := c.open(ctx, from, engine.OpenOptions{})
	if err != nil {
		return info, ofSource(from, err)
	}
	defer object.Close()
	source := object.Info()
	if why, _ := meta.Unmet(&o.From, &source); why != "" {
		return info, engine.E(engine.KindPreconditionFailed, "%s", why)
	}
	put := engine.PutOptions{Size: source.Size, Class: o.Class, Attributes: source.Attributes, Tags: source.Tags, Lock: o.Lock, If: o.If, Checksum: func() engine.Checksum { return source.Checksum }}
	if source.Checksum.Composite { // the copy has no parts
		put.Checksum = nil
	}
	if o.Attributes != nil {
		put.Attributes = *o.Attributes
	}
	if o.Tags != nil {
		put.Tags = *o.Tags
	}
	if o.Hash != nil {
		put.Checksum = o.Checksum
	}
	info, err = c.put(ctx, to, copied{tee(object, o.Hash), object}, put)
	info.Source = versionCopied(&source)
	return info, err
}

// readInto reads the selected bytes of the version that a change made.
func (c *Coordinator) readInto(ctx context.Context, from engine.Ref, sequence engine.Sequence, selected *engine.Range, into io.Writer) error {
	object, err := c.open(ctx, from, engine.OpenOptions{Range: selected})
	if err != nil {
		return err
	}
	defer object.Close()
	if object.info.Sequence != sequence {
		return engine.E(engine.KindConflict, "the object %q changed while it was read", string(from.Key))
	}
	_, err = object.WriteTo(into)
	return err
}

// CopyPart implements engine.Uploads.
func (c *Coordinator) CopyPart(ctx context.Context, from, ref engine.Ref, id engine.UploadID, number int, o engine.CopyPartOptions) (engine.PartInfo, error) {
	info, err := c.copyPart(ctx, from, ref, id, number, o)
	return info, engine.Wrap("copy part", ref, err)
}

func (c *Coordinator) copyPart(ctx context.Context, from, ref engine.Ref, id engine.UploadID, number int, o engine.CopyPartOptions) (info engine.PartInfo, err error) {
	record, upload, err := c.uploadFor(ctx, ref, id, number)
	if err != nil {
		return info, err
	}
	source, err := c.locate(ctx, from)
	if err != nil {
		return info, ofSource(from, err)
	}
	object, err := c.open(ctx, from, engine.OpenOptions{Range: o.Range})
	if err != nil {
		return info, ofSource(from, err)
	}
	defer object.Close()
	version := object.Info()
	switch why, _ := meta.Unmet(&o.From, &version); {
	case why != "":
		return info, engine.E(engine.KindPreconditionFailed, "%s", why)
	case object.Length() > engine.PutBytesMax:
		return info, engine.E(engine.KindEntityTooLarge, "the part would have %d bytes; at most %d are allowed", object.Length(), engine.PutBytesMax)
	case upload.Info.Class != version.Class || object.inlined() > 1 || object.sparse():
		// Parts in rows do not multiply, since who opens the whole has them all in memory; and parts have no holes.
		info, err := c.putPart(ctx, ref, id, number, copied{tee(object, o.Hash), object}, engine.PutPartOptions{Size: object.Length(), Checksum: o.Checksum})
		info.Source = versionCopied(&version)
		return info, err
	}
	sum := md5.New()
	into := io.Writer(sum)
	if o.Hash != nil {
		into = io.MultiWriter(sum, o.Hash)
	}
	if _, err := object.WriteTo(into); err != nil {
		return info, err
	}
	command := &meta.CopyPart{
		Bucket: record.ID, Key: ref.Key, ID: upload.RawID, Number: number, Offset: object.Offset(), Length: object.Length(),
		From: meta.Source{Bucket: source.ID, Key: from.Key, Version: from.Version, Sequence: version.Sequence, If: o.From},
	}
	sum.Sum(command.MD5[:0])
	if o.Checksum != nil {
		command.Checksum = o.Checksum()
	}
	stepCopy.Enter()
	answer, _, err := c.Data.Do(ctx, command)
	stepCopy.Leave()
	if err != nil {
		return info, err
	}
	info = madePart(number, &answer, command.Checksum)
	info.Source = versionCopied(&version)
	return info, nil
}

// sparse reports whether holes are selected.
func (o *object) sparse() bool {
	return slices.ContainsFunc(o.pieces, func(p piece) bool { return p.hole })
}

// inlined returns how many of the pieces that are selected ride in rows.
func (o *object) inlined() (n int) {
	for i := range o.pieces {
		if !o.pieces[i].isExtent() {
			n++
		}
	}
	return n
}

// copied is a body that is read from an object.
type copied struct {
	io.Reader
	from *object
}

func tee(r io.Reader, hash io.Writer) io.Reader {
	if hash == nil {
		return r
	}
	return io.TeeReader(r, hash)
}
