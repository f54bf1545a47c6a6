package coordinator

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"errors"
	"io"
	"time"

	"holdfast/engine"
	"holdfast/engine/buffer"
	"holdfast/engine/erasure"
	"holdfast/engine/meta"
)

// Put implements engine.Objects.
func (c *Coordinator) Put(ctx context.Context, ref engine.Ref, body io.Reader, o engine.PutOptions) (engine.ObjectInfo, error) {
	info, err := c.put(ctx, ref, body, o)
	return info, engine.Wrap("put", ref, err)
}

func (c *Coordinator) put(ctx context.Context, ref engine.Ref, body io.Reader, o engine.PutOptions) (info engine.ObjectInfo, err error) {
	record, err := c.locateWrite(ctx, ref)
	if err != nil {
		return info, err
	}
	if o.Class == "" {
		o.Class = engine.ClassStandard
	}
	if err := cmp.Or(checkWrite(&o.If), checkAttributes(&o.Attributes), engine.CheckTags(o.Tags), engine.CheckRetention(o.Lock.Retention, time.Now())); err != nil {
		return info, err
	}
	if err := c.lockable(ctx, ref.Bucket, &o.Lock); err != nil {
		return info, err
	}
	stored, err := c.store(ctx, body, o.Size, o.Class, o.MD5)
	if err != nil {
		return info, err
	}
	command := &meta.Put{
		Bucket: record.ID, Key: ref.Key, Data: stored.data, MD5: stored.md5, Class: o.Class, Attributes: o.Attributes, If: o.If,
		Tags: o.Tags, Lock: o.Lock, Clock: time.Now().UnixNano(),
	}
	if o.Checksum != nil {
		command.Checksum = o.Checksum()
	}
	stepPut.Enter()
	answer, _, err := c.Data.Do(ctx, command)
	stepPut.Leave()
	if err != nil {
		c.condemn(stored.data.Extents)
		return info, err
	}
	info = made(ref, &answer)
	info.Class, info.Attributes, info.Tags, info.Checksum = o.Class, o.Attributes, some(o.Tags), command.Checksum
	return info, nil
}

// some returns nil for no tags, as a read does.
func some(tags engine.Tags) engine.Tags {
	if len(tags) == 0 {
		return nil
	}
	return tags
}

// made describes the version that a command made, as far as its answer does.
func made(ref engine.Ref, a *meta.Answer) engine.ObjectInfo {
	return engine.ObjectInfo{
		Bucket: ref.Bucket, Key: ref.Key, Version: a.Made(), Versioning: a.Versioning, Size: a.Size, ETag: a.ETag, Modified: unixNano(a.Stamp), Sequence: a.Sequence,
	}
}

// checkAttributes bounds what a version carries.
func checkAttributes(a *engine.Attributes) error {
	size := 0
	for name, value := range a.User {
		size += len(name) + len(value)
	}
	if size > engine.UserMetadataBytesMax {
		return engine.E(engine.KindInvalidArgument, "the user metadata has %d bytes; at most %d are allowed", size, engine.UserMetadataBytesMax)
	}
	return nil
}

// stored is content that is on its drives and that no command names yet.
type stored struct {
	data meta.Data
	md5  [16]byte
}

// store reads a body to its end and makes it durable: a few bytes stay in memory for the command, more go into extents. After an error
// nothing is left that a command could use.
func (c *Coordinator) store(ctx context.Context, body io.Reader, size int64, class engine.StorageClass, sum []byte) (*stored, error) {
	if err := c.storable(size, class); err != nil {
		return nil, err
	}
	if size >= 0 && size <= engine.InlineBytesMax {
		return c.storeInline(ctx, body, size, sum)
	}
	return c.storeExtents(ctx, body, size, class, sum)
}

func (c *Coordinator) storable(size int64, class engine.StorageClass) error {
	if _, ok := c.Class(class); !ok {
		return engine.E(engine.KindInvalidArgument, "there is no storage class %q", class)
	}
	if size > engine.PutBytesMax {
		return engine.E(engine.KindEntityTooLarge, "the body has %d bytes; at most %d are allowed", size, engine.PutBytesMax)
	}
	return nil
}

// storeExtents is store for a body that goes into extents whatever its size; an empty one has none.
func (c *Coordinator) storeExtents(ctx context.Context, body io.Reader, size int64, class engine.StorageClass, sum []byte) (*stored, error) {
	if err := c.storable(size, class); err != nil {
		return nil, err
	}
	redundancy, _ := c.Class(class)
	first, err := c.Drives.Place(redundancy, min(max(size, 0), engine.ExtentBytesMax))
	if err != nil {
		return nil, err
	}
	code, err := erasure.New(first.Redundancy) // a narrower one while drives are away
	if err != nil {
		return nil, err
	}
	if size > 0 && size <= int64(code.Block()) {
		return c.storeBlock(ctx, body, size, class, first, code, sum)
	}
	depth := int64(blocksDeep) // of the ring
	if c.Pool.Busy() {
		depth = blocksDeepBusy
	}
	if block := int64(code.Block()); size >= 0 {
		depth = max(1, min(depth, (size+block-1)/block))
	}
	lease, err := c.admit(ctx, (depth+1)*int64(code.Block()), body) // and the parity of a block, in whatever code
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	s := newStoring(c, ctx, body, size, code, int(depth))
	s.lease, s.class, s.redundancy, s.coded = lease, class, redundancy, first.Redundancy
	defer s.hash.Close()
	return s.run(sum)
}

// admit acquires memory for a write, and with it that of a body which is an object itself: who held the one and waited for the other could wait for
// another that does the same.
func (c *Coordinator) admit(ctx context.Context, n int64, body io.Reader) (*buffer.Lease, error) {
	source, reads := body.(copied)
	if !reads || source.from.lease != nil {
		return c.Pool.Acquire(ctx, n)
	}
	more := source.from.memory()
	lease, err := c.Pool.Acquire(ctx, n+more)
	if err == nil && more > 0 {
		source.from.lease = lease.Split(more)
	}
	return lease, err
}

// lend says that the memory of a lease waits for the client of a call, until back is called; others who need the memory may cut the client off.
func lend(ctx context.Context, lease *buffer.Lease, cut func(engine.Client)) (back func()) {
	client := engine.ClientOf(ctx)
	if client == nil || lease == nil {
		return func() {}
	}
	return lease.Lend(func() { cut(client) })
}

func (c *Coordinator) storeInline(ctx context.Context, body io.Reader, size int64, sum []byte) (*stored, error) {
	defer stepInline.Enter().Leave()
	if err := c.Drives.RoomForRows(); err != nil {
		return nil, err
	}
	lease, err := c.admit(ctx, 2*engine.InlineBytesMax, body)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	data := make([]byte, size)
	back := lend(ctx, lease, engine.Client.CutBody)
	n, err := readFull(body, data)
	back()
	if err != nil && err != io.EOF {
		return nil, bodyError(err)
	}
	if err := endBody(body, size, int64(n), err); err != nil {
		return nil, err
	}
	digest := md5.Sum(data)
	if sum != nil && !bytes.Equal(sum, digest[:]) {
		return nil, engine.E(engine.KindBadDigest, "the content's MD5 is %x", digest)
	}
	return &stored{data: meta.Data{Size: size, Inline: data}, md5: digest}, nil
}

// readFull fills p as far as the body goes. Other than io.ReadFull it leaves a body's own io.ErrUnexpectedEOF, which says that it was cut
// off, apart from its end. A nil error means that p is full.
func readFull(body io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = body.Read(p[n:])
		n += m
	}
	if n == len(p) {
		err = nil
	}
	return n, err
}

// endBody checks that a body of which n bytes were read, with the reader's last error, has exactly size bytes, and reads it to its end:
// a verifying body tells only there that it was right.
func endBody(body io.Reader, size, n int64, err error) error {
	if err == nil {
		var more [1]byte
		var extra int
		for extra == 0 && err == nil {
			extra, err = body.Read(more[:])
		}
		if extra > 0 {
			return engine.E(engine.KindInvalidArgument, "the body has more than the %d bytes that were announced", size)
		}
		if err != io.EOF {
			return bodyError(err)
		}
	}
	if size >= 0 && n < size {
		return engine.E(engine.KindIncompleteBody, "the body ended after %d of %d bytes", n, size)
	}
	return nil
}

// bodyError gives errors of a body their Kind; those of the engine keep theirs.
func bodyError(err error) error {
	var e *engine.Error
	switch {
	case errors.As(err, &e):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return engine.E(engine.KindCanceled, "the body: %w", err)
	}
	return engine.E(engine.KindIncompleteBody, "the body: %w", err)
}
