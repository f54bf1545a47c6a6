package coordinator

import (
	"cmp"
	"context"
	"io"
	"strings"

	"holdfast/engine"
	"holdfast/engine/meta"
	"holdfast/observe"
)

var stepAppend = observe.NewStep("coordinator: the command of an append is decided")

// Append implements engine.Objects.
func (c *Coordinator) Append(ctx context.Context, ref engine.Ref, body io.Reader, o engine.AppendOptions) (engine.ObjectInfo, error) {
	info, err := c.append(ctx, ref, body, o)
	return info, engine.Wrap("append", ref, err)
}

// appendAttempts is how often an append is sent again because the object changed, and has the size all the same, after it was looked at.
const appendAttempts = 16

// inlinePartsMax is how many parts of an object may ride in rows: who opens it gets these into memory at once, whatever the budget of buffers is. Those
// that are appended later go to drives, however small.
const inlinePartsMax = 128

func (c *Coordinator) append(ctx context.Context, ref engine.Ref, body io.Reader, o engine.AppendOptions) (info engine.ObjectInfo, err error) {
	record, err := c.locateWrite(ctx, ref)
	if err != nil {
		return info, err
	}
	if err := cmp.Or(checkWrite(&o.If), engine.CheckAppend(o), checkAttributes(&o.Attributes)); err != nil {
		return info, err
	}
	before, err := c.appendable(ctx, ref, &o)
	if err != nil {
		return info, err
	}
	class := cmp.Or(before.Class, o.Class, engine.ClassStandard)
	store := c.store
	if before.Parts >= inlinePartsMax || patched(&before) {
		store = c.storeExtents
	}
	stored, err := store(ctx, body, o.Size, class, o.MD5)
	if err != nil {
		return info, err
	}
	command := &meta.Append{
		Bucket: record.ID, Key: ref.Key, Offset: o.Offset, Data: stored.data, MD5: stored.md5, If: o.If, Class: class, Attributes: o.Attributes, Tags: o.Tags,
	}
	if o.Checksum != nil {
		command.Part = o.Checksum()
	}
	answer, err := c.commitAppend(ctx, ref, command, &before, &o)
	if err != nil {
		c.condemn(stored.data.Extents)
		return info, err
	}
	info = made(ref, answer)
	info.Class, info.Attributes, info.Tags, info.Checksum = class, o.Attributes, some(o.Tags), command.Checksum
	if before.Sequence != 0 {
		info.Attributes, info.Tags = before.Attributes, before.Tags
	}
	if before.Size > 0 && !patched(&before) {
		info.Parts = max(1, before.Parts) + 1
	}
	return info, nil
}

// patched reports whether an object's ETag is that of a patch: it has no parts then, but for that many pieces.
func patched(o *engine.ObjectInfo) bool {
	return o.Parts == 0 && strings.HasSuffix(string(o.ETag), "-1")
}

// commitAppend sends the command for the object as it is. While another writer changes the object in between and leaves its size, it is sent again.
func (c *Coordinator) commitAppend(ctx context.Context, ref engine.Ref, command *meta.Append, before *engine.ObjectInfo, o *engine.AppendOptions) (*meta.Answer, error) {
	defer stepAppend.Enter().Leave()
	if command.Data.Size == 0 && command.Offset > 0 {
		return nil, engine.E(engine.KindInvalidArgument, "there is nothing to append")
	}
	if command.Data.Size > engine.ObjectBytesMax-command.Offset {
		return nil, engine.E(engine.KindEntityTooLarge, "the object would have more than %d bytes", engine.ObjectBytesMax)
	}
	for attempt := 1; ; attempt++ {
		command.Sequence, command.Checksum = before.Sequence, joined(before, command)
		answer, _, err := c.Data.Do(ctx, command)
		if !engine.Is(err, engine.KindConflict) || attempt == appendAttempts {
			return &answer, err
		}
		if *before, err = c.appendable(ctx, ref, o); err != nil {
			return nil, err
		}
		if before.Sequence != 0 && before.Class != command.Class {
			return nil, engine.E(engine.KindConflict, "the object %q was replaced by one of class %s", string(ref.Key), before.Class)
		}
	}
}

// appendable returns the object that is to be appended to, the zero value if one is to be made, or why neither can be. The group judges again.
func (c *Coordinator) appendable(ctx context.Context, ref engine.Ref, o *engine.AppendOptions) (before engine.ObjectInfo, err error) {
	record, view, err := c.bucketView(ctx, ref.Bucket)
	if err != nil {
		return before, err
	}
	defer view.Close()
	if v, err := meta.LookupVersioning(view, record.ID); err != nil {
		return before, rowError(err)
	} else if v != engine.VersioningOff {
		return before, engine.E(engine.KindBucketState, "the bucket keeps versions, and a version does not change; put the whole object")
	}
	object, err := lookup(view, record.ID, ref)
	switch {
	case engine.Is(err, engine.KindNoSuchKey):
	case err != nil:
		return before, err
	default:
		before = object.Info
	}
	if err := meta.JudgeWrite(&o.If, &before); err != nil {
		return before, err
	}
	switch {
	case before.Sequence == 0 && o.Offset > 0:
		return before, engine.E(engine.KindNoSuchKey, "there is no object %q to append to", string(ref.Key))
	case before.Sequence != 0 && before.Size != o.Offset:
		return before, engine.E(engine.KindInvalidOffset, "the object has %d bytes, not %d", before.Size, o.Offset)
	case before.Sequence != 0 && o.Describes():
		return before, engine.E(engine.KindInvalidArgument, "class, attributes and tags are those of the object that is there; they cannot be given with an append")
	}
	return before, nil
}

// joined returns the checksum of the whole: of an object that is made or was empty that of what is appended, else both combined where they are of one
// algorithm that allows it.
func joined(before *engine.ObjectInfo, c *meta.Append) engine.Checksum {
	switch {
	case before.Size == 0:
		return c.Part
	case before.Checksum.Algorithm != c.Part.Algorithm || before.Checksum.Composite:
		return engine.Checksum{}
	}
	sum, ok := combine(c.Part.Algorithm, []engine.PartInfo{{Size: before.Size, Checksum: before.Checksum}, {Size: c.Data.Size, Checksum: c.Part}})
	if !ok {
		return engine.Checksum{}
	}
	return engine.Checksum{Algorithm: c.Part.Algorithm, Sum: sum}
}
