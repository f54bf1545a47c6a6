package filetree

import (
	"context"
	"errors"
	"io"

	"holdfast/engine"
)

// Flags say what a handle is for.
type Flags struct {
	Read, Write bool
	// Create makes the file if the name is free; Exclusive with it answers KindExists if it is not. They are for Open, which has a name.
	Create, Exclusive bool
	// Truncate empties the file; it needs Write.
	Truncate bool
	// Append has each WriteAt write at the end of the file, as this Tree knows it, whatever its offset.
	Append bool
	// Sync has each write be in the engine when it returns.
	Sync bool
}

// check returns an error of KindInvalidArgument for flags that contradict each other.
func (f Flags) check() error {
	switch {
	case !f.Read && !f.Write:
		return engine.E(engine.KindInvalidArgument, "a file is opened to read, to write or both")
	case !f.Write && (f.Create || f.Truncate || f.Append || f.Sync):
		return engine.E(engine.KindInvalidArgument, "what creates, empties, appends or syncs is opened to write")
	case f.Exclusive && !f.Create:
		return engine.E(engine.KindInvalidArgument, "only what is created can be exclusively so")
	}
	return nil
}

// Handle is an open file. It is safe for concurrent use, but for Close. Besides the Kinds that its methods name they answer those of the calls of the
// engine that they make, and KindExpired for a file that went while its owner had expired.
type Handle struct {
	file   *file
	flags  Flags
	holder uint64
	reader reader

	// Guarded by file.mu.
	closed  bool
	failure error // to be told by the next Sync or Close
}

// OpenNode opens a regular file by its number. KindIsDirectory; KindInvalidArgument for flags of Create and for what is neither; KindBucketState for
// a version that is not current.
func (t *Tree) OpenNode(ctx context.Context, id engine.File, flags Flags) (*Handle, error) {
	h, err := t.openNode(ctx, id, flags)
	return h, wrap("open", id, err)
}

func (t *Tree) openNode(ctx context.Context, id engine.File, flags Flags) (*Handle, error) {
	if err := flags.check(); err != nil {
		return nil, err
	}
	if flags.Create {
		return nil, engine.E(engine.KindInvalidArgument, "a file is created by its name")
	}
	f, err := t.acquire(ctx, id)
	if err != nil {
		return nil, err
	}
	h := &Handle{file: f, flags: flags, holder: t.holders.Add(1)}
	h.reader.handle = h
	f.mu.Lock()
	kind := f.info.Type
	if kind == engine.TypeRegular {
		f.handles[h] = true
	}
	f.mu.Unlock()
	if kind != engine.TypeRegular {
		f.leave(context.WithoutCancel(ctx))
		return nil, engine.E(engine.KindInvalidArgument, "node %d is no regular file; it cannot be opened", id.Node)
	}
	// Tree.Close looks for handles once: one that came since is not its own to close.
	t.mu.Lock()
	closed := t.closed
	t.mu.Unlock()
	if closed {
		err = errTreeClosed()
	} else if flags.Truncate {
		err = h.truncate(ctx, 0)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

// OpenTemporary makes a regular file without a name, and opens it. It goes with its last handle, unless LinkTo gave it a name. In a Tree of all
// buckets, bucket says where; else it is the bucket of the Tree. KindInvalidArgument for flags of Create.
func (t *Tree) OpenTemporary(ctx context.Context, bucket engine.BucketName, flags Flags, perm uint32) (*Handle, error) {
	h, err := t.openTemporary(ctx, bucket, flags, perm)
	return h, engine.Wrap("open temporary file", engine.Ref{Bucket: bucket}, err)
}

func (t *Tree) openTemporary(ctx context.Context, bucket engine.BucketName, flags Flags, perm uint32) (*Handle, error) {
	switch err := flags.check(); {
	case err != nil:
		return nil, err
	case flags.Create:
		return nil, engine.E(engine.KindInvalidArgument, "a file without a name is not created by one")
	case t.Bucket != "" && bucket != t.Bucket:
		return nil, engine.E(engine.KindInvalidArgument, "the tree is of the bucket %q, not of %q", t.Bucket, bucket)
	}
	var made engine.FileInfo
	var by engine.OwnerID
	o := t.owner(bucket)
	err := o.do(ctx, func(id engine.OwnerID) (err error) {
		by = id
		made, err = t.Engine.MakeTemporary(ctx, bucket, id, engine.MakeFileOptions{Attributes: engine.FileAttributes{Set: true, Mode: perm}, Class: t.Class})
		return err
	})
	if err != nil {
		return nil, err
	}
	id := engine.File{Bucket: bucket, Node: made.Node}
	h, err := t.openNode(ctx, id, flags)
	if err != nil {
		_ = t.Engine.ReleaseFile(context.WithoutCancel(ctx), id, by) // nobody else knows of it; what cannot be let go of now goes with the owner
	}
	return h, err
}

// LinkTo gives the file one more name, or its first, after what is in buffers is in the engine: who finds the name finds all that was written before.
// KindExists.
func (h *Handle) LinkTo(ctx context.Context, p string) error {
	t := h.file.tree
	return t.atPath(ctx, "link", p, func(at engine.Place) error {
		if err := h.mayNow(h.flags.Write); err != nil {
			return err
		}
		if err := h.file.flush(ctx); err != nil {
			return err
		}
		info, err := t.Engine.LinkFile(ctx, h.file.id, at)
		if err == nil {
			h.file.mu.Lock()
			h.file.learn(info)
			h.file.mu.Unlock()
		}
		return err
	})
}

// File names the node that the handle is of.
func (h *Handle) File() engine.File { return h.file.id }

// Flags returns what the handle was opened with.
func (h *Handle) Flags() Flags { return h.flags }

// Stat describes the file. Its size and times are those with what is not flushed.
func (h *Handle) Stat(ctx context.Context) (engine.FileInfo, error) {
	info, err := h.file.stat(ctx)
	return info, wrap("stat", h.file.id, err)
}

// may returns an error for what a handle is not open for. The caller holds file.mu.
func (h *Handle) may(write bool) error {
	switch {
	case h.closed:
		return engine.E(engine.KindInvalidArgument, "the handle is closed")
	case write && !h.flags.Write:
		return engine.E(engine.KindAccessDenied, "the file is open for reading only; open it to write")
	case !write && !h.flags.Read:
		return engine.E(engine.KindAccessDenied, "the file is open for writing only; open it to read")
	}
	return h.file.lost
}

// mayNow is may for a caller that does not hold file.mu.
func (h *Handle) mayNow(write bool) error {
	h.file.mu.Lock()
	defer h.file.mu.Unlock()
	return h.may(write)
}

// Sync flushes the file: when it returns nil, all that was written through any of its handles is in the engine. An error of a flush in the background since
// the last Sync of this handle is returned first, once, even if the flush now succeeds.
func (h *Handle) Sync(ctx context.Context) error {
	return wrap("sync", h.file.id, h.sync(ctx))
}

func (h *Handle) sync(ctx context.Context) error {
	err := h.file.flush(ctx)
	h.file.mu.Lock()
	defer h.file.mu.Unlock()
	if first := h.failure; first != nil {
		h.failure = nil
		return first
	}
	return err
}

// Close flushes the file as Sync does and ends the handle, with the locks that it has under its own number. With an error the handle is closed too; what the
// last handle of a file could not flush is lost then. A second Close does nothing.
func (h *Handle) Close(ctx context.Context) error {
	f := h.file
	f.mu.Lock()
	closed := h.closed
	h.closed = true
	f.mu.Unlock()
	if closed {
		return nil
	}
	err := h.sync(ctx)
	h.reader.close()
	after := context.WithoutCancel(ctx) // what follows is short, and is owed to others
	if e := f.unlockOf(after, h.holder); err == nil && e != nil && !released(e) {
		err = e
	}
	f.mu.Lock()
	delete(f.handles, h)
	if len(f.handles) == 0 {
		f.drop()
	}
	f.mu.Unlock()
	f.leave(after)
	return wrap("close", f.id, err)
}

// ReadAt reads as io.ReaderAt has it: fewer bytes than p has come with an error, io.EOF at the end of the file. Where another Tree or a gateway
// changes the file meanwhile, a reading in sequence may go on with the content that it began with, for 64 MiB at most.
func (h *Handle) ReadAt(ctx context.Context, p []byte, offset int64) (int, error) {
	n, err := h.readAt(ctx, p, offset)
	if err == io.EOF {
		return n, err
	}
	return n, wrap("read", h.file.id, err)
}

func (h *Handle) readAt(ctx context.Context, p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, engine.E(engine.KindInvalidArgument, "the offset %d is negative", offset)
	}
	f := h.file
	if err := f.access.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer f.access.Release(1)
	f.mu.Lock()
	if err := h.may(false); err != nil {
		f.mu.Unlock()
		return 0, err
	}
	generation := f.generation
	if !f.pending() {
		f.mu.Unlock()
		if len(p) == 0 {
			return 0, nil
		}
		n, err := h.reader.read(ctx, p, offset, generation)
		if err == nil && n < len(p) {
			err = io.EOF
		}
		return n, err
	}
	n := int(min(int64(len(p)), max(0, f.size()-offset)))
	missing := []stretch{{offset, offset + int64(n)}}
	if n == 0 {
		missing = nil
	}
	missing = f.dirty.read(p[:n], offset, missing)
	missing = f.frozen.read(p[:n], offset, missing)
	f.mu.Unlock()
	for _, m := range missing {
		q := p[m.start-offset : m.end-offset]
		got, err := h.reader.read(ctx, q, m.start, generation)
		if err != nil {
			return int(m.start - offset), err
		}
		clear(q[got:]) // behind the end that the engine knows, and before what is written: a hole
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
