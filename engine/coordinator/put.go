package coordinator

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"errors"
	"hash"
	"io"

	"holdfast/engine"
	"holdfast/engine/erasure"
	"holdfast/engine/extent"
	"holdfast/engine/meta"

	md5simd "github.com/minio/md5-simd"
)

// Put implements engine.Objects.
func (c *Coordinator) Put(ctx context.Context, ref engine.Ref, body io.Reader, o engine.PutOptions) (engine.ObjectInfo, error) {
	info, err := c.put(ctx, ref, body, o)
	return info, engine.Wrap("put", ref, err)
}

func (c *Coordinator) put(ctx context.Context, ref engine.Ref, body io.Reader, o engine.PutOptions) (info engine.ObjectInfo, err error) {
	record, err := c.locate(ctx, ref)
	if err != nil {
		return info, err
	}
	if o.Class == "" {
		o.Class = engine.ClassStandard
	}
	if err := cmp.Or(checkWrite(&o.If), checkAttributes(&o.Attributes)); err != nil {
		return info, err
	}
	stored, err := c.store(ctx, body, o.Size, o.Class, o.MD5)
	if err != nil {
		return info, err
	}
	command := &meta.Put{
		Bucket: record.ID, Key: ref.Key, Data: stored.data, MD5: stored.md5, Class: o.Class, Attributes: o.Attributes, If: o.If,
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
	return engine.ObjectInfo{
		Bucket: ref.Bucket, Key: ref.Key, Version: "null", Size: answer.Size, ETag: answer.ETag, Modified: unixNano(answer.Stamp),
		Class: o.Class, Attributes: o.Attributes, Checksum: command.Checksum, Sequence: answer.Sequence,
	}, nil
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
	redundancy, ok := c.Classes[class]
	switch {
	case !ok:
		return nil, engine.E(engine.KindInvalidArgument, "there is no storage class %q", class)
	case size > engine.PutBytesMax:
		return nil, engine.E(engine.KindEntityTooLarge, "the body has %d bytes; at most %d are allowed", size, engine.PutBytesMax)
	}
	if size >= 0 && size <= engine.InlineBytesMax {
		return c.storeInline(ctx, body, size, sum)
	}
	first, err := c.Drives.Place(redundancy, min(max(size, 0), engine.ExtentBytesMax))
	if err != nil {
		return nil, err
	}
	code, err := erasure.New(first.Redundancy) // a narrower one while drives are away; the whole body keeps it
	if err != nil {
		return nil, err
	}
	// Two blocks, one being read while the other is written, and what writing takes.
	lease, err := c.Pool.Acquire(ctx, int64(2*code.Block())+extent.WriteBytes(code, min(max(size, int64(code.Block())), engine.ExtentBytesMax)))
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	s := &storing{c: c, ctx: ctx, body: body, size: size, class: class, redundancy: redundancy, code: code, coded: first.Redundancy, hash: c.newHash()}
	defer s.hash.Close()
	return s.run(sum)
}

func (c *Coordinator) storeInline(ctx context.Context, body io.Reader, size int64, sum []byte) (*stored, error) {
	defer stepInline.Enter().Leave()
	lease, err := c.Pool.Acquire(ctx, 2*engine.InlineBytesMax)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	data := make([]byte, size)
	n, err := readFull(body, data)
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

// storing writes one large body.
type storing struct {
	c          *Coordinator
	ctx        context.Context
	body       io.Reader
	size       int64 // -1: not known
	class      engine.StorageClass
	redundancy engine.Redundancy // of the class
	code       *erasure.Code
	coded      engine.Redundancy // of code
	hash       md5simd.Hasher    // of newHash

	read    int64
	extents []meta.Extent
	writer  *extent.Writer // of the last of extents; nil between extents
	left    int64          // data bytes that it still takes
}

// lanesFrom is how many bodies must be hashed at once for the lanes of md5-simd to cost less than a core's own MD5 for each: one stream has 0.37 GB/s
// of a core there and 0.66 here, eight have 1.0 (docs/benchmarks.md).
const lanesFrom = 6

// newHash returns what computes the MD5 of a body. Close ends it.
func (c *Coordinator) newHash() md5simd.Hasher {
	h := &bodyHash{c: c}
	if c.hashing.Add(1) >= lanesFrom {
		h.lane = c.md5.NewHash()
		h.Hash = h.lane
	} else {
		h.Hash = md5.New()
	}
	return h
}

// bodyHash is an md5simd.Hasher with a lane or without.
type bodyHash struct {
	hash.Hash
	c    *Coordinator
	lane md5simd.Hasher // nil without
}

// Close implements md5simd.Hasher.
func (h *bodyHash) Close() {
	h.c.hashing.Add(-1)
	if h.lane != nil {
		h.lane.Close()
	}
}

func (s *storing) run(sum []byte) (*stored, error) {
	stepShards.Enter()
	result, err := s.copy(sum)
	stepShards.Leave()
	if err != nil {
		s.c.condemn(s.extents)
		return nil, err
	}
	return result, nil
}

// copy reads block after block, each while the one before it is being written.
func (s *storing) copy(sum []byte) (*stored, error) {
	buffers := [2][]byte{s.c.Pool.Get(s.code.Block()), s.c.Pool.Get(s.code.Block())}
	defer s.end(&buffers)
	var writing chan error
	wait := func() error {
		if writing == nil {
			return nil
		}
		err := <-writing
		writing = nil
		return err
	}
	for i := 0; ; i++ {
		block, last, err := s.readBlock(buffers[i%2][:s.code.Block()])
		if writeErr := wait(); err == nil {
			err = writeErr
		}
		if err != nil {
			return nil, err
		}
		if len(block) > 0 {
			writing = make(chan error, 1)
			go func(done chan<- error) { done <- s.writeBlock(block) }(writing)
		}
		if !last {
			continue
		}
		if err := wait(); err != nil {
			return nil, err
		}
		break
	}
	result := &stored{data: meta.Data{Size: s.read, Extents: s.extents}}
	s.hash.Sum(result.md5[:0])
	if sum != nil && !bytes.Equal(sum, result.md5[:]) {
		return nil, engine.E(engine.KindBadDigest, "the content's MD5 is %x", result.md5)
	}
	return result, nil
}

// end aborts an extent that was not committed, and gives the blocks back unless a drive that hangs may still read them.
func (s *storing) end(buffers *[2][]byte) {
	if s.writer != nil {
		s.writer.Abort()
		if s.writer.Stuck() {
			return
		}
	}
	for _, b := range buffers {
		s.c.Pool.Put(b)
	}
}

// readBlock fills a block, and at the end of the body checks that all of it came.
func (s *storing) readBlock(block []byte) (filled []byte, last bool, err error) {
	want := int64(len(block))
	if s.size >= 0 {
		want = min(want, s.size-s.read)
	}
	n, err := readFull(s.body, block[:want])
	s.read += int64(n)
	if err != nil && err != io.EOF {
		return nil, false, bodyError(err)
	}
	if s.read > engine.PutBytesMax {
		return nil, false, engine.E(engine.KindEntityTooLarge, "the body has more than %d bytes", engine.PutBytesMax)
	}
	if last = err != nil || s.size >= 0 && s.read == s.size; last {
		if err := endBody(s.body, s.size, s.read, err); err != nil {
			return nil, false, err
		}
	}
	s.hash.Write(block[:n])
	return block[:n], last, nil
}

// writeBlock writes a block into the open extent, or begins one.
func (s *storing) writeBlock(block []byte) error {
	if s.writer == nil {
		if err := s.begin(int64(len(block))); err != nil {
			return err
		}
	}
	if err := s.writer.Write(block); err != nil {
		return err
	}
	if err := s.writer.Flush(); err != nil { // the block is read into again when this returns
		return err
	}
	if s.left -= int64(len(block)); s.left > 0 {
		return nil
	}
	x := &s.extents[len(s.extents)-1]
	stepCommit.Enter()
	result, err := s.writer.Commit(s.ctx)
	stepCommit.Leave()
	if err != nil {
		return err
	}
	s.writer = nil
	x.Drives, x.Missing = result.Drives, result.Missing
	return nil
}

// begin opens an extent for what is left of the body, or for a single block if that is not known.
func (s *storing) begin(block int64) error {
	s.left = block
	if s.size >= 0 {
		written := int64(0)
		for i := range s.extents {
			written += s.extents[i].Size
		}
		full := int64(s.code.Block())
		s.left = min(s.size-written, engine.ExtentBytesMax/full*full)
	}
	place, err := s.c.Drives.Place(s.redundancy, s.left)
	if err != nil {
		return err
	}
	if place.Redundancy != s.coded {
		return engine.E(engine.KindUnavailable, "drives came or went while the body was written; repeat the write")
	}
	x := meta.Extent{
		ID: s.c.Data.NewExtent(), Redundancy: place.Redundancy, Size: s.left, Class: s.class, Drives: place.Drives, Reduced: place.Reduced,
	}
	s.writer, err = extent.NewWriter(s.ctx, extent.Config{
		Stores: s.c.Drives, Pool: s.c.Pool, Code: s.code, ID: x.ID, Size: x.Size, Drives: x.Drives,
		Spare: s.c.Drives.Spare, Out: s.c.Drives.Out,
	})
	if err != nil {
		return err
	}
	s.extents = append(s.extents, x)
	return nil
}
