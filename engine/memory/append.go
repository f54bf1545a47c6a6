package memory

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"holdfast/engine"
)

// Append puts what body gives behind the content of the current version.
func (e *Engine) Append(ctx context.Context, ref engine.Ref, body io.Reader, o engine.AppendOptions) (engine.ObjectInfo, error) {
	info, err := e.append(ctx, ref, body, o)
	return info, engine.Wrap("append", ref, err)
}

func (e *Engine) append(ctx context.Context, ref engine.Ref, body io.Reader, o engine.AppendOptions) (info engine.ObjectInfo, err error) {
	if err := readyKey(ctx, ref); err != nil {
		return info, err
	}
	if err := checkWrite(ref, o.If); err != nil {
		return info, err
	}
	if err := engine.CheckAppend(o); err != nil {
		return info, err
	}
	if err := checkAttributes(o.Attributes); err != nil {
		return info, err
	}
	if err := e.appendable(ctx, ref, o); err != nil {
		return info, err
	}
	c, err := receive(ctx, body, o.Size, o.MD5, o.Checksum)
	if err != nil {
		return info, err
	}
	if err := e.appendable(ctx, ref, o); err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(ref.Bucket)
	if err != nil {
		return info, err
	}
	before := b.object(ref.Key)
	if err := judgeAppend(b, before, o); err != nil {
		return info, err
	}
	plain := &object{
		info: engine.ObjectInfo{
			Size: int64(len(c.data)), ETag: engine.ETag(hex.EncodeToString(c.md5[:])), Class: class(o.Class), Attributes: o.Attributes, Tags: o.Tags, Checksum: c.checksum,
		},
		content: whole(c.data),
	}
	size := int64(len(c.data))
	if before != nil && before.info.Size > 0 {
		if size == 0 {
			return info, engine.E(engine.KindInvalidArgument, "there is nothing to append")
		}
		size += before.info.Size
	}
	if err := b.fitsPush(ref.Key, size); err != nil {
		return info, err
	}
	switch {
	case before == nil:
		return e.setCurrent(b, ref.Key, plain), nil
	case before.info.Size == 0:
		plain.info.Class, plain.info.Attributes, plain.info.Tags, plain.token = before.info.Class, before.info.Attributes, before.info.Tags, before.token
		return e.setCurrent(b, ref.Key, plain), nil
	}
	longer := &object{info: before.info, token: before.token, content: join(before.content, whole(c.data)), parts: slices.Clone(before.parts)}
	longer.info.Size = longer.content.size
	if patched(before) { // it goes on as one, without parts
		piece := engine.PatchedPiece{Offset: before.info.Size, Length: int64(len(c.data)), Sum: c.md5}
		longer.info.ETag, longer.info.Checksum = patchTag(before.info.ETag, []engine.PatchedPiece{piece}, longer.info.Size), engine.Checksum{}
		return e.setCurrent(b, ref.Key, longer), nil
	}
	if len(longer.parts) == 0 {
		longer.parts = []engine.VersionPart{{Number: 1, Size: before.info.Size}}
	}
	number := max(len(longer.parts), longer.parts[len(longer.parts)-1].Number) + 1
	if number > engine.PartNumberMax {
		return info, engine.E(engine.KindEntityTooLarge, "the object's last part has number %d, the highest that there may be; put it anew", number-1)
	}
	longer.parts = append(longer.parts, engine.VersionPart{Number: number, Offset: before.info.Size, Size: int64(len(c.data)), Checksum: c.checksum})
	longer.info.Parts = len(longer.parts)
	sum := md5.New()
	former := tagSum(before.info.ETag)
	sum.Write(former[:])
	sum.Write(c.md5[:])
	longer.info.ETag = engine.ETag(fmt.Sprintf("%x-%d", sum.Sum(nil), len(longer.parts)))
	longer.info.Checksum = joined(before.info.Checksum, c.checksum, longer.content.bytes())
	return e.setCurrent(b, ref.Key, longer), nil
}

// appendable is judgeAppend before the body is read.
func (e *Engine) appendable(ctx context.Context, ref engine.Ref, o engine.AppendOptions) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, err := e.find(ref.Bucket)
	if err != nil {
		return err
	}
	return judgeAppend(b, b.object(ref.Key), o)
}

func judgeAppend(b *bucket, before *object, o engine.AppendOptions) error {
	if b.versioning != engine.VersioningOff {
		return engine.E(engine.KindBucketState, "the bucket keeps versions, and a version does not change; put the whole object")
	}
	if err := judgeWrite(o.If, before); err != nil {
		return err
	}
	switch {
	case before == nil && o.Offset > 0:
		return engine.E(engine.KindNoSuchKey, "there is no object to append to")
	case before != nil && before.info.Size != o.Offset:
		return engine.E(engine.KindInvalidOffset, "the object has %d bytes, not %d", before.info.Size, o.Offset)
	case before != nil && o.Describes():
		return engine.E(engine.KindInvalidArgument, "class, attributes and tags are those of the object that is there; they cannot be given with an append")
	}
	return nil
}

// joined returns the checksum of a whole whose two parts have the ones given.
func joined(before, after engine.Checksum, whole []byte) engine.Checksum {
	a := algorithms[before.Algorithm]
	if before.Algorithm != after.Algorithm || before.Composite || !a.full {
		return engine.Checksum{}
	}
	h := a.make()
	h.Write(whole)
	return engine.Checksum{Algorithm: before.Algorithm, Sum: h.Sum(nil)}
}
