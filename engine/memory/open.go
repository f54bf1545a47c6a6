package memory

import (
	"context"
	"io"
	"io/fs"

	"holdfast/engine"
)

// Open returns a reader of the current version.
func (e *Engine) Open(ctx context.Context, ref engine.Ref, o engine.OpenOptions) (engine.Object, error) {
	r, err := e.open(ctx, ref, o)
	if err != nil {
		return nil, engine.Wrap("open", ref, err)
	}
	return r, nil
}

func (e *Engine) open(ctx context.Context, ref engine.Ref, o engine.OpenOptions) (*reader, error) {
	current, err := e.current(ctx, ref, o.If)
	if err != nil {
		return nil, err
	}
	start, length, err := selected(o.Range, current.info.Size)
	if err != nil {
		return nil, err
	}
	return &reader{ctx: ctx, info: clone(current.info), offset: start, length: length, rest: current.content.slice(start, length).reader()}, nil
}

// Stat is Open without the content.
func (e *Engine) Stat(ctx context.Context, ref engine.Ref, o engine.StatOptions) (engine.ObjectInfo, error) {
	current, err := e.current(ctx, ref, o.If)
	if err != nil {
		return engine.ObjectInfo{}, engine.Wrap("stat", ref, err)
	}
	return clone(current.info), nil
}

// current finds the version that a read is about.
func (e *Engine) current(ctx context.Context, ref engine.Ref, c engine.Conditions) (*object, error) {
	if err := readyKey(ctx, ref); err != nil {
		return nil, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, err := e.find(ref.Bucket)
	if err != nil {
		return nil, err
	}
	o, err := b.readable(ref)
	if err != nil {
		return nil, err
	}
	return b.opened(o), judgeRead(c, o)
}

// opened is a version with what a read tells of it.
func (b *bucket) opened(o *object) *object {
	opened := *o
	opened.info = b.answer(o)
	opened.info.Locks, opened.info.Lock = b.lock.Enabled, o.info.Lock
	if b.nameless[o.node.id] == o {
		opened.info.Key, opened.info.Version = "", ""
	}
	return &opened
}

// readable finds the version that ref names, or the current one, which must be an object. The caller holds the lock.
func (b *bucket) readable(ref engine.Ref) (*object, error) {
	o := b.version(ref)
	switch {
	case o == nil && ref.Version != "":
		return nil, engine.E(engine.KindNoSuchVersion, "the key has no version %q", string(ref.Version))
	case o == nil:
		return nil, engine.E(engine.KindNoSuchKey, "there is no such object")
	case o.info.Marker:
		err := engine.E(engine.KindNoSuchKey, "the object was deleted")
		if err.Marker, err.Marked = o.info.Version, o.info.Modified; ref.Version != "" {
			err.Kind = engine.KindDeleteMarker
		}
		return nil, err
	}
	return o, nil
}

// selected returns the bytes that a range selects of size.
func selected(r *engine.Range, size int64) (start, length int64, err error) {
	switch {
	case r == nil:
		return 0, size, nil
	case r.Start < -1 || r.Length < -1 || r.Start == -1 && r.Length == -1:
		return 0, 0, engine.E(engine.KindInvalidArgument, "the range starts at %d with length %d", r.Start, r.Length)
	case r.Start == -1:
		length = min(r.Length, size)
		start = size - length
	default:
		start, length = r.Start, size-r.Start
		if r.Length >= 0 {
			length = min(length, r.Length)
		}
	}
	if length <= 0 {
		return 0, 0, engine.E(engine.KindInvalidRange, "the range selects nothing of %d bytes", size)
	}
	return start, length, nil
}

// reader is an open version.
type reader struct {
	ctx            context.Context
	info           engine.ObjectInfo
	offset, length int64
	rest           *sparseReader // nil when closed
}

func (r *reader) Info() engine.ObjectInfo { return r.info }
func (r *reader) Offset() int64           { return r.offset }
func (r *reader) Length() int64           { return r.length }

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ready(); err != nil {
		return 0, err
	}
	return r.rest.Read(p)
}

func (r *reader) WriteTo(w io.Writer) (int64, error) {
	if err := r.ready(); err != nil {
		return 0, err
	}
	return r.rest.WriteTo(w)
}

func (r *reader) ready() error {
	err := r.ctx.Err()
	if r.rest == nil {
		err = fs.ErrClosed
	}
	return engine.Wrap("read", engine.Ref{Bucket: r.info.Bucket, Key: r.info.Key}, err)
}

func (r *reader) Close() error {
	r.rest = nil
	return nil
}
