package memory

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"slices"

	"holdfast/engine"
)

// Copy makes a copy of the version from the current version of to.Key.
func (e *Engine) Copy(ctx context.Context, from, to engine.Ref, o engine.CopyOptions) (engine.ObjectInfo, error) {
	info, err := e.copy(ctx, from, to, o)
	return info, engine.Wrap("copy", to, err)
}

func (e *Engine) copy(ctx context.Context, from, to engine.Ref, o engine.CopyOptions) (info engine.ObjectInfo, err error) {
	if err := readyKey(ctx, to); err != nil {
		return info, err
	}
	if err := checkWrite(to, o.If); err != nil {
		return info, err
	}
	if o.Attributes != nil {
		if err := checkAttributes(*o.Attributes); err != nil {
			return info, err
		}
	}
	if o.Tags != nil {
		if err := engine.CheckTags(*o.Tags); err != nil {
			return info, err
		}
	}
	if err := engine.CheckRetention(o.Lock.Retention, e.now()); err != nil {
		return info, err
	}
	if _, err := e.statBucket(ctx, to.Bucket); err != nil {
		return info, err
	}
	source, err := e.current(ctx, from, engine.Conditions{})
	if err == nil {
		err = judgeSource(o.From, source)
	}
	if err != nil {
		return info, engine.Wrap("read", from, err)
	}
	sum := source.info.Checksum
	if o.Hash != nil {
		if sum, err = digest(source.content.bytes(), o.Hash, o.Checksum); err != nil {
			return info, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(to.Bucket)
	if err != nil {
		return info, err
	}
	if err := judgeWrite(o.If, b.object(to.Key)); err != nil {
		return info, err
	}
	lock, err := e.newLock(b, o.Lock)
	if err != nil {
		return info, err
	}
	copied := engine.ObjectInfo{
		Lock: lock, Size: source.info.Size, ETag: source.info.ETag, Class: class(o.Class), Attributes: source.info.Attributes, Tags: source.info.Tags, Checksum: sum,
		Parts: source.info.Parts,
	}
	parts, data := source.parts, source.content
	if copied.Class != source.info.Class { // stored anew, as one
		data = whole(source.content.bytes())
		sum := md5.Sum(data.bytes())
		copied.ETag, copied.Parts, parts = engine.ETag(hex.EncodeToString(sum[:])), 0, nil
		if copied.Checksum.Composite {
			copied.Checksum = engine.Checksum{}
		}
	}
	if o.Attributes != nil {
		copied.Attributes = *o.Attributes
	}
	if o.Tags != nil {
		copied.Tags = *o.Tags
	}
	if err := b.fitsPush(to.Key, copied.Size); err != nil {
		return info, err
	}
	info = e.setCurrent(b, to.Key, &object{info: copied, content: data, parts: parts})
	info.Source = versionCopied(source)
	return info, nil
}

// judgeSource judges the conditions on the version that a copy is of.
func judgeSource(c engine.Conditions, source *object) error {
	err := judgeRead(c, source)
	if engine.Is(err, engine.KindNotModified) {
		return &engine.Error{Kind: engine.KindPreconditionFailed, Err: err}
	}
	return err
}

func digest(data []byte, hash io.Writer, checksum func() engine.Checksum) (engine.Checksum, error) {
	if _, err := hash.Write(data); err != nil {
		return engine.Checksum{}, err
	}
	sum := checksum()
	sum.Sum = slices.Clone(sum.Sum)
	return sum, nil
}

// CopyPart is PutPart with bytes of a version for its body.
func (e *Engine) CopyPart(ctx context.Context, from, ref engine.Ref, id engine.UploadID, number int, o engine.CopyPartOptions) (engine.PartInfo, error) {
	info, err := e.copyPart(ctx, from, ref, id, number, o)
	return info, engine.Wrap("copy part", ref, err)
}

func (e *Engine) copyPart(ctx context.Context, from, ref engine.Ref, id engine.UploadID, number int, o engine.CopyPartOptions) (info engine.PartInfo, err error) {
	if err := e.readyPart(ctx, ref, id, number); err != nil {
		return info, err
	}
	source, err := e.current(ctx, from, engine.Conditions{})
	if err != nil {
		return info, engine.Wrap("read", from, err)
	}
	start, length, err := selected(o.Range, source.info.Size)
	if err != nil {
		return info, err
	}
	if err := judgeSource(o.From, source); err != nil {
		return info, err
	}
	c := content{data: source.content.slice(start, length).bytes()}
	c.md5 = md5.Sum(c.data)
	if o.Hash != nil {
		if c.checksum, err = digest(c.data, o.Hash, o.Checksum); err != nil {
			return info, err
		}
	}
	info, err = e.setPart(ref, id, number, c)
	info.Source = versionCopied(source)
	return info, err
}

// versionCopied is what a copy tells of its source.
func versionCopied(source *object) engine.VersionID {
	if source.info.Versioning == engine.VersioningOff {
		return ""
	}
	return source.info.Version
}
