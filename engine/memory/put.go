package memory

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"slices"

	"holdfast/engine"
)

// Put stores what body gives as the current version of ref.Key.
func (e *Engine) Put(ctx context.Context, ref engine.Ref, body io.Reader, o engine.PutOptions) (engine.ObjectInfo, error) {
	info, err := e.put(ctx, ref, body, o)
	return info, engine.Wrap("put", ref, err)
}

func (e *Engine) put(ctx context.Context, ref engine.Ref, body io.Reader, o engine.PutOptions) (info engine.ObjectInfo, err error) {
	if err := readyKey(ctx, ref); err != nil {
		return info, err
	}
	if err := checkWrite(ref, o.If); err != nil {
		return info, err
	}
	if err := errors.Join(checkAttributes(o.Attributes), engine.CheckTags(o.Tags), engine.CheckRetention(o.Lock.Retention, e.now())); err != nil {
		return info, err
	}
	if _, err := e.statBucket(ctx, ref.Bucket); err != nil {
		return info, err
	}
	if l, err := e.BucketLock(ctx, ref.Bucket); err != nil || !l.Enabled && !o.Lock.IsZero() {
		return info, cmp.Or(err, error(engine.E(engine.KindNoLock, "locks are not enabled in the bucket")))
	}
	c, err := receive(ctx, body, o.Size, o.MD5, o.Checksum)
	if err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(ref.Bucket)
	if err != nil {
		return info, err
	}
	if err := judgeWrite(o.If, b.object(ref.Key)); err != nil {
		return info, err
	}
	lock, err := e.newLock(b, o.Lock)
	if err != nil {
		return info, err
	}
	if err := b.fitsPush(ref.Key, int64(len(c.data))); err != nil {
		return info, err
	}
	return e.setCurrent(b, ref.Key, &object{
		info: engine.ObjectInfo{
			Lock: lock,
			Size: int64(len(c.data)), ETag: engine.ETag(hex.EncodeToString(c.md5[:])), Class: class(o.Class), Attributes: o.Attributes, Tags: o.Tags, Checksum: c.checksum,
		},
		content: whole(c.data),
	}), nil
}

// setCurrent makes o the current version of key.
func (e *Engine) setCurrent(b *bucket, key engine.Key, o *object) engine.ObjectInfo {
	o.info = clone(o.info)
	e.push(b, key, o)
	return b.answer(o)
}

// answer is what is told of a version.
func (b *bucket) answer(o *object) engine.ObjectInfo {
	info := clone(o.info)
	info.Versioning, info.Lock = b.versioning, engine.Lock{}
	return info
}

// checkWrite refuses what a write cannot mean.
func checkWrite(ref engine.Ref, c engine.Conditions) error {
	if ref.Version != "" {
		return engine.E(engine.KindInvalidArgument, "a write names version %q; it makes a version and cannot name one", string(ref.Version))
	}
	return checkConditions(c)
}

func checkAttributes(a engine.Attributes) error {
	n := 0
	for name, value := range a.User {
		n += len(name) + len(value)
	}
	if n > engine.UserMetadataBytesMax {
		return engine.E(engine.KindInvalidArgument, "the user metadata has %d bytes; at most %d are allowed", n, engine.UserMetadataBytesMax)
	}
	return nil
}

// class names the storage class of a write.
func class(c engine.StorageClass) engine.StorageClass {
	if c == "" {
		return engine.ClassStandard
	}
	return c
}

// content is a body that has been received and verified.
type content struct {
	data     []byte
	md5      [md5.Size]byte
	checksum engine.Checksum
}

// receive reads and verifies a body. Size is -1 if it is not known; sum is the MD5 that it must have, or nil.
func receive(ctx context.Context, body io.Reader, size int64, sum []byte, checksum func() engine.Checksum) (c content, err error) {
	switch {
	case size < -1:
		return c, engine.E(engine.KindInvalidArgument, "a body of %d bytes was announced", size)
	case size > engine.PutBytesMax:
		return c, engine.E(engine.KindEntityTooLarge, "the body has %d bytes; at most %d are allowed at once, use parts", size, engine.PutBytesMax)
	case sum != nil && len(sum) != md5.Size:
		return c, engine.E(engine.KindInvalidArgument, "an MD5 has %d bytes, not %d", md5.Size, len(sum))
	}
	if c.data, err = read(ctx, body, size); err != nil {
		return c, err
	}
	if c.md5 = md5.Sum(c.data); sum != nil && !bytes.Equal(sum, c.md5[:]) {
		return c, engine.E(engine.KindBadDigest, "the content's MD5 is %x; %x was announced", c.md5, sum)
	}
	if checksum != nil {
		c.checksum = checksum()
		c.checksum.Sum = slices.Clone(c.checksum.Sum)
	}
	return c, nil
}

// read takes a body to its end.
func read(ctx context.Context, body io.Reader, size int64) ([]byte, error) {
	limit := engine.PutBytesMax
	if size >= 0 {
		limit = size
	}
	var b bytes.Buffer
	_, err := b.ReadFrom(io.LimitReader(&patient{ctx, body}, limit+1))
	n := int64(b.Len())
	switch {
	case err != nil:
		return nil, bodyError(err)
	case n < size:
		return nil, engine.E(engine.KindIncompleteBody, "the body ended after %d of %d bytes", n, size)
	case n > limit && size >= 0:
		return nil, engine.E(engine.KindInvalidArgument, "the body has more than the %d bytes that were announced", size)
	case n > limit:
		return nil, engine.E(engine.KindEntityTooLarge, "the body has more than %d bytes; use parts", limit)
	}
	return b.Bytes(), nil
}

// bodyError gives a body's error its Kind: its own if it has one.
func bodyError(err error) error {
	var own *engine.Error
	if errors.As(err, &own) || engine.Is(err, engine.KindCanceled) {
		return err
	}
	return &engine.Error{Kind: engine.KindIncompleteBody, Err: err}
}

// patient reads until its context ends.
type patient struct {
	ctx  context.Context
	body io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.body.Read(b)
}

// clone copies what a caller might change.
func clone(info engine.ObjectInfo) engine.ObjectInfo {
	info.Attributes.User = maps.Clone(info.Attributes.User)
	if info.Tags = maps.Clone(info.Tags); len(info.Tags) == 0 {
		info.Tags = nil
	}
	info.Checksum.Sum = slices.Clone(info.Checksum.Sum)
	return info
}
