package filetree

import (
	"context"
	"errors"
	"io"

	"holdfast/engine"
)

// Truncate gives the file a size: it is cut, or grows by a hole. The engine has it when Truncate returns, and so with the other changes below: what
// is in buffers is flushed before. KindEntityTooLarge beyond engine.ObjectBytesMax.
func (h *Handle) Truncate(ctx context.Context, size int64) error {
	return wrap("truncate", h.file.id, h.truncate(ctx, size))
}

func (h *Handle) truncate(ctx context.Context, size int64) error {
	if size < 0 {
		return engine.E(engine.KindInvalidArgument, "the size %d is negative", size)
	}
	return h.file.change(ctx, func() (engine.Patch, error) {
		return engine.Patch{Size: &size}, h.mayNow(true)
	})
}

// Allocate has the file end at offset + length or behind: it grows by a hole. Nothing is set aside: a later write may find the drives full.
func (h *Handle) Allocate(ctx context.Context, offset, length int64) error {
	err := checkStretch(offset, length)
	if err == nil {
		err = h.file.change(ctx, func() (patch engine.Patch, err error) {
			if err = h.mayNow(true); err != nil {
				return patch, err
			}
			size, err := h.file.endOf(ctx)
			if end := offset + length; err == nil && end > size {
				patch.Size = &end
			}
			return patch, err
		})
	}
	return wrap("allocate", h.file.id, err)
}

// PunchHole makes a hole of what the file has of a stretch; it does not grow.
func (h *Handle) PunchHole(ctx context.Context, offset, length int64) error {
	return wrap("punch hole", h.file.id, h.zero(ctx, engine.Piece{Offset: offset, Length: length, Keep: true}))
}

// ZeroRange makes a hole of a stretch; the file grows if it ends before.
func (h *Handle) ZeroRange(ctx context.Context, offset, length int64) error {
	return wrap("zero range", h.file.id, h.zero(ctx, engine.Piece{Offset: offset, Length: length}))
}

func (h *Handle) zero(ctx context.Context, piece engine.Piece) error {
	if err := checkStretch(piece.Offset, piece.Length); err != nil {
		return err
	}
	return h.file.change(ctx, func() (engine.Patch, error) {
		return engine.Patch{Pieces: []engine.Piece{piece}}, h.mayNow(true)
	})
}

// checkStretch returns an error of KindInvalidArgument for a stretch that no file has.
func checkStretch(offset, length int64) error {
	switch {
	case offset < 0 || length < 0:
		return engine.E(engine.KindInvalidArgument, "a stretch of %d bytes at %d", length, offset)
	case offset > engine.ObjectBytesMax || length > engine.ObjectBytesMax-offset:
		return tooLarge(length, offset)
	}
	return nil
}

// CopyRange puts up to length bytes from an offset of another file, or of the same one, in the place of those at target, and returns how many the
// source had. Within a bucket the content is shared, and the copy is in the engine when CopyRange returns. Between buckets bytes are copied as
// WriteAt does; KindInvalidArgument for stretches of one file that overlap.
func (h *Handle) CopyRange(ctx context.Context, source *Handle, from, target, length int64) (copied int64, err error) {
	if err = errors.Join(checkStretch(from, length), checkStretch(target, length)); err == nil {
		err = source.mayNow(false)
	}
	if err == nil {
		if h.file.id.Bucket == source.file.id.Bucket {
			copied, err = h.clone(ctx, source, from, target, length)
		} else {
			copied, err = h.copy(ctx, source, from, target, length)
		}
	}
	return copied, wrap("copy range", h.file.id, err)
}

func (h *Handle) clone(ctx context.Context, source *Handle, from, target, length int64) (copied int64, err error) {
	same := source.file.id == h.file.id
	if same && from < target+length && target < from+length {
		return 0, engine.E(engine.KindInvalidArgument, "%d bytes from %d to %d of one file overlap", length, from, target)
	}
	if !same {
		if err := source.file.flush(ctx); err != nil {
			return 0, err
		}
	}
	err = h.file.change(ctx, func() (patch engine.Patch, err error) {
		if err = h.mayNow(true); err != nil {
			return patch, err
		}
		info, err := h.file.tree.Engine.StatFile(ctx, source.file.id)
		if copied = min(length, max(0, info.Size-from)); err == nil && copied > 0 {
			patch.Pieces = []engine.Piece{{Offset: target, Length: copied, From: &engine.FileRange{File: source.file.id, Offset: from}}}
		}
		return patch, err
	})
	if err != nil {
		copied = 0
	}
	return copied, err
}

func (h *Handle) copy(ctx context.Context, source *Handle, from, target, length int64) (copied int64, err error) {
	buffer := make([]byte, min(length, windowMin))
	for copied < length && err == nil {
		part := buffer[:min(length-copied, int64(len(buffer)))]
		n, read := source.readAt(ctx, part, from+copied)
		if read != nil && read != io.EOF {
			return copied, read
		}
		n, err = h.write(ctx, part[:n], target+copied)
		if copied += int64(n); read == io.EOF {
			break
		}
	}
	return copied, err
}

// Seek returns the first offset, from the one given on, that lies in data or, if hole is set, in a hole, of which one follows the last byte. What is
// in buffers is flushed before. KindInvalidRange if there is none, or if the offset is not within the file.
func (h *Handle) Seek(ctx context.Context, offset int64, hole bool) (int64, error) {
	f := h.file
	err := h.mayNow(false)
	if err == nil {
		err = f.flush(ctx)
	}
	if err == nil {
		offset, err = f.tree.Engine.SeekFile(ctx, f.id, offset, hole)
	}
	return offset, wrap("seek", f.id, err)
}
