package memory

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"

	"holdfast/engine"
)

// CompleteUpload makes the named parts the current version of ref.Key.
func (e *Engine) CompleteUpload(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.CompleteUploadOptions) (engine.ObjectInfo, error) {
	info, err := e.completeUpload(ctx, ref, id, o)
	return info, engine.Wrap("complete upload", ref, err)
}

func (e *Engine) completeUpload(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.CompleteUploadOptions) (info engine.ObjectInfo, err error) {
	if err := readyKey(ctx, ref); err != nil {
		return info, err
	}
	if err := checkWrite(ref, o.If); err != nil {
		return info, err
	}
	if err := checkParts(o.Parts); err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(ref.Bucket)
	if err != nil {
		return info, err
	}
	u, err := b.upload(ref.Key, id)
	if err != nil {
		if before := b.object(ref.Key); before != nil && before.upload == id && before.info.ETag == tagOfNamed(o.Parts) {
			return b.answer(before), nil
		}
		return info, err
	}
	made, err := u.assemble(o)
	if err != nil {
		return info, err
	}
	if err := judgeWrite(o.If, b.object(ref.Key)); err != nil {
		return info, err
	}
	if made.info.Lock, err = e.newLock(b, u.lock); err != nil {
		return info, err
	}
	if err := b.fitsPush(ref.Key, made.info.Size); err != nil {
		return info, err
	}
	b.uploads.Delete(u)
	return e.setCurrent(b, ref.Key, made), nil
}

// checkParts judges the list alone: it names parts, in strictly ascending order.
func checkParts(parts []engine.CompletePart) error {
	if len(parts) == 0 {
		return engine.E(engine.KindInvalidArgument, "no part is named")
	}
	for i := 1; i < len(parts); i++ {
		if parts[i].Number <= parts[i-1].Number {
			return engine.E(engine.KindInvalidPartOrder, "part %d comes after part %d", parts[i].Number, parts[i-1].Number)
		}
	}
	return nil
}

// assemble makes the object of the named parts.
func (u *upload) assemble(o engine.CompleteUploadOptions) (*object, error) {
	parts, size, err := u.named(o.Parts)
	if err != nil {
		return nil, err
	}
	if o.Size != -1 && o.Size != size {
		return nil, engine.E(engine.KindInvalidArgument, "the parts have %d bytes; %d were announced", size, o.Size)
	}
	data, sums := make([]byte, 0, size), []byte(nil)
	var made []engine.VersionPart
	for _, p := range parts {
		made = append(made, engine.VersionPart{Number: p.info.Number, Offset: int64(len(data)), Size: p.info.Size, Checksum: p.info.Checksum})
		data = append(data, p.data...)
		sums = append(sums, p.md5[:]...)
	}
	sum, err := u.checksum(parts, data, o.Checksum)
	if err != nil {
		return nil, err
	}
	return &object{content: whole(data), upload: u.info.ID, parts: made, info: engine.ObjectInfo{
		Size: size, ETag: tag(sums), Class: u.info.Class, Attributes: u.info.Attributes, Tags: u.info.Tags, Checksum: sum, Parts: len(parts),
	}}, nil
}

// named finds the parts that a completion names.
func (u *upload) named(list []engine.CompletePart) (parts []*part, size int64, err error) {
	for _, named := range list {
		p, ok := u.parts.Get(&part{info: engine.PartInfo{Number: named.Number}})
		if !ok {
			return nil, 0, engine.E(engine.KindInvalidPart, "part %d was not uploaded", named.Number)
		}
		if p.info.ETag != named.ETag {
			return nil, 0, engine.E(engine.KindInvalidPart, "part %d has the ETag %q, not %q", named.Number, string(p.info.ETag), string(named.ETag))
		}
		if c := named.Checksum; c.Algorithm != "" && (c.Algorithm != p.info.Checksum.Algorithm || !bytes.Equal(c.Sum, p.info.Checksum.Sum)) {
			return nil, 0, engine.E(engine.KindInvalidPart, "part %d has another %s checksum", named.Number, c.Algorithm)
		}
		if named.Number != list[len(list)-1].Number && p.info.Size < engine.PartBytesMin {
			return nil, 0, engine.E(engine.KindPartTooSmall, "part %d too small", named.Number)
		}
		parts = append(parts, p)
	}
	for _, p := range parts {
		size += p.info.Size
	}
	if size > engine.ObjectBytesMax {
		return nil, 0, engine.E(engine.KindEntityTooLarge, "the parts have %d bytes; an object has at most %d", size, engine.ObjectBytesMax)
	}
	return parts, size, nil
}

// tag returns the ETag of a completed upload from its parts' MD5 sums, one after the other.
func tag(sums []byte) engine.ETag {
	return engine.ETag(fmt.Sprintf("%x-%d", md5.Sum(sums), len(sums)/md5.Size))
}

// tagOfNamed returns the ETag that the named parts give; "" if one of them is no MD5.
func tagOfNamed(parts []engine.CompletePart) engine.ETag {
	var sums []byte
	for _, p := range parts {
		sum, err := hex.DecodeString(string(p.ETag))
		if err != nil || len(sum) != md5.Size {
			return ""
		}
		sums = append(sums, sum...)
	}
	return tag(sums)
}
