package coordinator

import (
	"context"
	"errors"
	"io"
	"slices"

	"holdfast/engine"
	"holdfast/engine/buffer"
	"holdfast/engine/erasure"
	"holdfast/engine/extent"
	"holdfast/engine/meta"
)

// Stat implements engine.Objects.
func (c *Coordinator) Stat(ctx context.Context, ref engine.Ref, o engine.StatOptions) (engine.ObjectInfo, error) {
	info, err := c.stat(ctx, ref, o)
	return info, engine.Wrap("stat", ref, err)
}

func (c *Coordinator) stat(ctx context.Context, ref engine.Ref, o engine.StatOptions) (info engine.ObjectInfo, err error) {
	if err := checkRef(ref); err != nil {
		return info, err
	}
	record, view, err := c.bucketView(ctx, ref.Bucket)
	if err != nil {
		return info, err
	}
	defer view.Close()
	object, err := lookup(view, record.ID, ref)
	if err != nil {
		return info, err
	}
	return object.Info, checkRead(&o.If, &object.Info)
}

func lookup(view meta.View, bucket engine.BucketID, ref engine.Ref) (*meta.Object, error) {
	object, err := meta.Lookup(view, bucket, ref.Key, ref.Version)
	if err != nil {
		return nil, rowError(err)
	}
	object.Info.Bucket, object.Info.Key = ref.Bucket, ref.Key
	return object, nil
}

// checkRead judges the conditions of a read, each by itself: which of them stand above others is for a protocol to say.
func checkRead(o *engine.Conditions, info *engine.ObjectInfo) error {
	switch why, notModified := meta.Unmet(o, info); {
	case why == "":
		return nil
	case notModified:
		return engine.E(engine.KindNotModified, "%s", why)
	default:
		return engine.E(engine.KindPreconditionFailed, "%s", why)
	}
}

// checkWrite refuses the conditions of reads in a write.
func checkWrite(o *engine.Conditions) error {
	if !o.ModifiedSince.IsZero() || !o.UnmodifiedSince.IsZero() {
		return engine.E(engine.KindInvalidArgument, "ModifiedSince and UnmodifiedSince are conditions of reads only")
	}
	return nil
}

// Open implements engine.Objects.
func (c *Coordinator) Open(ctx context.Context, ref engine.Ref, o engine.OpenOptions) (engine.Object, error) {
	object, err := c.open(ctx, ref, o)
	if err != nil {
		return nil, engine.Wrap("open", ref, err)
	}
	return object, nil
}

func (c *Coordinator) open(ctx context.Context, ref engine.Ref, o engine.OpenOptions) (*object, error) {
	record, err := c.locate(ctx, ref)
	if err != nil {
		return nil, err
	}
	view, unpin, err := c.view(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	opened, err := c.openView(ctx, view, record, ref, o)
	if err != nil {
		unpin()
		return nil, err
	}
	opened.unpin = unpin
	return opened, nil
}

func (c *Coordinator) openView(ctx context.Context, view meta.View, record meta.BucketRecord, ref engine.Ref, o engine.OpenOptions) (*object, error) {
	found, err := lookup(view, record.ID, ref)
	if err != nil {
		return nil, err
	}
	if err := checkRead(&o.If, &found.Info); err != nil {
		return nil, err
	}
	return c.openContent(ctx, view, ref, found.Info, found.Content, o.Range)
}

func (c *Coordinator) openContent(ctx context.Context, view meta.View, ref engine.Ref, info engine.ObjectInfo, content uint64, r *engine.Range) (opened *object, err error) {
	opened = &object{c: c, ctx: ctx, ref: ref, info: info, length: info.Size}
	if r != nil {
		if opened.offset, opened.length, err = cut(r, info.Size); err != nil {
			return nil, err
		}
	}
	opened.position = opened.offset
	if err := opened.load(view, content, opened.offset, opened.length, opened.offset, 0); err != nil {
		return nil, err
	}
	return opened, nil
}

// cut returns the bytes that a range selects of size.
func cut(r *engine.Range, size int64) (offset, length int64, err error) {
	switch {
	case r.Start == -1 && r.Length > 0 && size > 0:
		length = min(r.Length, size)
		return size - length, length, nil
	case r.Start < 0 || r.Start >= size || r.Length == 0 || r.Length < -1:
		return 0, 0, engine.E(engine.KindInvalidRange, "the range selects nothing of %d bytes", size)
	case r.Length == -1:
		return r.Start, size - r.Start, nil
	}
	return r.Start, min(r.Length, size-r.Start), nil
}

// piece is a part of an open object: bytes at hand, or a range of an extent, or a hole.
type piece struct {
	start, length int64 // within the object
	inline        []byte
	extent        engine.ExtentID
	offset        int64 // within the extent
	hole          bool  // zeros that nothing keeps
}

// object is an open version. Its pieces were read from one view, and its pin keeps their extents.
type object struct {
	c     *Coordinator
	ctx   context.Context
	ref   engine.Ref
	info  engine.ObjectInfo
	unpin func()

	offset, length int64 // selected bytes
	position       int64 // of the next byte, within the object
	pieces         []piece
	lease          *buffer.Lease // of the memory that reading takes; nil: nothing was read from an extent yet
	buffer         []byte        // of a block; nil: none was needed
	held           []byte        // part of buffer, or of a piece, that is not given out
	err            error
}

// maxDepth bounds how deep contents may name contents; those that patches change have a few levels beneath them.
const maxDepth = 16

// load appends the pieces of length bytes of a content from offset on, which lie from at on in the object.
func (o *object) load(view meta.View, id uint64, offset, length, at int64, depth int) error {
	content, err := meta.LoadRange(view, id, offset, length)
	if err != nil || depth > maxDepth {
		return engine.E(engine.KindDamaged, "the metadata lacks content %d: %w", id, errors.Join(err))
	}
	if content.IsInline {
		if int64(len(content.Inline)) != length {
			return engine.E(engine.KindDamaged, "content %d has %d of the %d bytes that it should have", id, len(content.Inline), length)
		}
		o.pieces = append(o.pieces, piece{start: at, length: length, inline: content.Inline})
		return nil
	}
	for i := range content.Runs {
		run := &content.Runs[i]
		start := at + run.Start - offset
		switch {
		case run.Hole():
			o.pieces = append(o.pieces, piece{start: start, length: run.Length, hole: true})
		case run.Content == 0:
			o.pieces = append(o.pieces, piece{start: start, length: run.Length, extent: run.Extent, offset: run.Offset})
		default:
			if err := o.load(view, run.Content, run.Offset, run.Length, start, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *object) Info() engine.ObjectInfo { return o.info }
func (o *object) Offset() int64           { return o.offset }
func (o *object) Length() int64           { return o.length }

// Close implements io.Closer; the pin goes, so that what was overwritten meanwhile can be collected.
func (o *object) Close() error {
	if o.unpin != nil {
		o.unpin()
		o.unpin = nil
	}
	if o.buffer != nil {
		o.c.Pool.Put(o.buffer)
	}
	if o.lease != nil {
		o.lease.Release()
	}
	o.buffer, o.lease, o.held = nil, nil, nil
	o.err = engine.E(engine.KindInvalidArgument, "the object is closed")
	return nil
}

// Read implements io.Reader.
func (o *object) Read(p []byte) (int, error) {
	if len(o.held) == 0 {
		if err := o.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, o.held)
	o.held = o.held[n:]
	return n, nil
}

// WriteTo implements io.WriterTo. What lies in extents goes to w from the buffers that the shards were read into.
func (o *object) WriteTo(w io.Writer) (int64, error) {
	var written int64
	var refused error // by w
	write := func(b []byte) error {
		back := lend(o.ctx, o.lease, engine.Client.CutAnswer)
		n, err := w.Write(b)
		back()
		written += int64(n)
		refused = err
		return err
	}
	for {
		if held := o.held; len(held) > 0 { // left by a Read
			before := written
			err := write(held)
			if o.held = held[written-before:]; err != nil {
				return written, err
			}
		}
		p, within, n, err := o.next()
		before := written
		switch {
		case err == io.EOF:
			return written, nil
		case err == nil && p.isExtent():
			err = o.reading(p, within, &n, func(source extent.Source, offset int64) error { return extent.Send(o.ctx, source, offset, n, write) })
		case err == nil:
			err = write(p.bytes(within, n))
		}
		o.position += written - before
		if refused != nil {
			return written, refused
		}
		if err != nil {
			return written, o.fail(err)
		}
	}
}

// next returns the piece that has the next byte, where it is within it, and how many bytes of it are selected. io.EOF at the end.
func (o *object) next() (p *piece, within, n int64, err error) {
	if o.err != nil {
		return nil, 0, 0, o.err
	}
	left := o.offset + o.length - o.position
	if left == 0 {
		o.err = io.EOF
		return nil, 0, 0, o.err
	}
	for len(o.pieces) > 0 && o.pieces[0].start+o.pieces[0].length <= o.position {
		o.pieces = o.pieces[1:]
	}
	if len(o.pieces) == 0 || o.pieces[0].start > o.position {
		return nil, 0, 0, o.fail(engine.E(engine.KindDamaged, "the metadata has no content at byte %d", o.position))
	}
	p = &o.pieces[0]
	within = o.position - p.start
	return p, within, min(left, p.length-within), nil
}

// fail is the answer to every call from now on.
func (o *object) fail(err error) error {
	if o.err == nil {
		o.err = engine.Wrap("read", o.ref, err)
	}
	return o.err
}

// isExtent reports whether the piece lies in an extent.
func (p *piece) isExtent() bool { return p.inline == nil && p.extent != engine.ExtentID{} }

// zeros is what holes are read from.
var zeros [64 << 10]byte

// bytes returns n bytes of a piece that lies in no extent, or as many as are at hand.
func (p *piece) bytes(within, n int64) []byte {
	if p.hole {
		return zeros[:min(n, int64(len(zeros)))]
	}
	return p.inline[within : within+n]
}

// fill reads the next bytes, at most to the end of a block, into held. After an error it answers the same again.
func (o *object) fill() error {
	p, within, n, err := o.next()
	if err != nil {
		return err
	}
	if !p.isExtent() {
		o.held = p.bytes(within, n)
		n = int64(len(o.held))
	} else {
		err = o.reading(p, within, &n, func(source extent.Source, offset int64) error {
			if o.buffer == nil {
				o.buffer = o.c.Pool.Get(source.Code.Block())
			}
			n = min(n, int64(cap(o.buffer)))
			o.held = o.buffer[:n]
			return extent.Read(o.ctx, source, offset, o.held)
		})
	}
	if err != nil {
		o.held = nil
		return o.fail(err)
	}
	o.position += n
	return nil
}

// reading calls read with where n bytes of a piece are, of which it lets as many be read as are in one block.
func (o *object) reading(p *piece, within int64, n *int64, read func(source extent.Source, offset int64) error) error {
	source, err := o.source(p.extent)
	if err != nil {
		return err
	}
	block := int64(source.Code.Block())
	if o.lease == nil {
		if o.lease, err = o.c.Pool.Acquire(o.ctx, readingBytes(source.Code)); err != nil {
			return err
		}
	}
	offset := p.offset + within
	*n = min(*n, block-offset%block)
	if err := read(source, offset); err != nil {
		if engine.Is(err, engine.KindDamaged) && o.c.someAway(source.Drives) {
			return &engine.Error{Kind: engine.KindUnavailable, Err: err} // it may be whole when they are back
		}
		return err
	}
	return nil
}

// readingBytes is the memory for a block, and for reading it.
func readingBytes(code *erasure.Code) int64 {
	return int64(code.Block()) + extent.ReadBytes(code, code.Block())
}

// memory returns what reading the object will acquire, 0 for one without extents.
func (o *object) memory() int64 {
	for i := range o.pieces {
		if p := &o.pieces[i]; p.isExtent() {
			if source, err := o.source(p.extent); err == nil {
				return readingBytes(source.Code)
			}
		}
	}
	return 0
}

// someAway reports whether one of the drives is not at hand.
func (c *Coordinator) someAway(drives []engine.DriveID) bool {
	return slices.ContainsFunc(drives, func(id engine.DriveID) bool { return c.Drives.Store(id) == nil })
}

// source reads where an extent's shards are now: repair may have moved them since the object was opened.
func (o *object) source(id engine.ExtentID) (extent.Source, error) {
	x, err := meta.LoadExtent(o.c.Data.Group().Rows(o.ctx), id)
	if err != nil && err != meta.ErrAbsent {
		return extent.Source{}, rowError(err)
	}
	if err != nil {
		return extent.Source{}, engine.E(engine.KindDamaged, "the metadata lacks extent %v: %w", id, err)
	}
	return o.c.Source(x)
}

// Source describes an extent to readers.
func (c *Coordinator) Source(x *meta.Extent) (extent.Source, error) {
	code, err := erasure.New(x.Redundancy)
	if err != nil {
		return extent.Source{}, err
	}
	return extent.Source{
		Stores: c.Drives, Pool: c.Pool, Code: code, ID: x.ID, Size: x.Size, Drives: x.Drives, Missing: x.Missing, Latency: &c.latency,
		Report: func(shard int, err error) {
			if c.Damaged != nil {
				c.Damaged(engine.ShardID{Extent: x.ID, Index: uint8(shard)}, x.Drives[shard], err)
			}
		},
	}, nil
}
