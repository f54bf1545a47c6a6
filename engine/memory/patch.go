package memory

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"holdfast/engine"
)

// sparse is the content of an object: what it has of data, in order, without overlap. What lies between, and behind to size, is a hole. It is immutable.
type sparse struct {
	size int64
	runs []run
}

type run struct {
	offset int64
	data   []byte // at least one byte
}

func (r run) end() int64 { return r.offset + int64(len(r.data)) }

// whole is content without holes.
func whole(data []byte) sparse {
	if len(data) == 0 {
		return sparse{}
	}
	return sparse{int64(len(data)), []run{{0, data}}}
}

// resize cuts content, or makes it longer by a hole.
func (s sparse) resize(size int64) sparse {
	cut := sparse{size: size}
	for _, r := range s.runs {
		if r.offset < size {
			cut.runs = append(cut.runs, run{r.offset, r.data[:min(int64(len(r.data)), size-r.offset)]})
		}
	}
	return cut
}

// from is what lies behind an offset, nothing if that is the end or beyond.
func (s sparse) from(offset int64) sparse {
	rest := sparse{size: max(0, s.size-offset)}
	for _, r := range s.runs {
		if r.end() > offset {
			rest.runs = append(rest.runs, run{max(0, r.offset-offset), r.data[max(0, offset-r.offset):]})
		}
	}
	return rest
}

// slice is what lies in length bytes from start.
func (s sparse) slice(start, length int64) sparse { return s.resize(start + length).from(start) }

// join puts one behind the other.
func join(parts ...sparse) (s sparse) {
	for _, part := range parts {
		for _, r := range part.runs {
			s.runs = append(s.runs, run{s.size + r.offset, r.data})
		}
		s.size += part.size
	}
	return s
}

// over puts a piece in the place of what lies there.
func (s sparse) over(offset int64, piece sparse) sparse {
	return join(s.resize(offset), piece, s.from(offset+piece.size))
}

// seek returns the first offset, from the one given on, that lies in data, or in a hole; that of the end for a hole if there is no other. -1 if there
// is none.
func (s sparse) seek(offset int64, hole bool) int64 {
	for _, r := range s.runs {
		switch {
		case r.end() <= offset:
		case !hole:
			return max(offset, r.offset)
		case r.offset <= offset:
			offset = r.end()
		}
	}
	if hole {
		return offset
	}
	return -1
}

func (s sparse) reader() *sparseReader { return &sparseReader{rest: s} }

// bytes is content with zeros for holes.
func (s sparse) bytes() []byte {
	if len(s.runs) == 1 && int64(len(s.runs[0].data)) == s.size {
		return s.runs[0].data
	}
	data := make([]byte, s.size)
	for _, r := range s.runs {
		copy(data[r.offset:], r.data)
	}
	return data
}

// sparseReader reads content from its beginning.
type sparseReader struct {
	rest sparse // its runs are those that end behind at
	at   int64
}

func (r *sparseReader) Read(p []byte) (n int, err error) {
	if n = copy(p, r.next()); n == 0 && r.at == r.rest.size {
		return 0, io.EOF
	}
	r.at += int64(n)
	return n, nil
}

// WriteTo writes what is left; what the writer did not take is still to be read.
func (r *sparseReader) WriteTo(w io.Writer) (n int64, err error) {
	for err == nil && r.at < r.rest.size {
		next := r.next()
		var written int
		if written, err = w.Write(next); err == nil && written < len(next) {
			err = io.ErrShortWrite
		}
		r.at, n = r.at+int64(written), n+int64(written)
	}
	return n, err
}

// zeros are what a hole reads as.
var zeros [64 << 10]byte

// next is what lies at the reader's place: bytes of data, or of a hole.
func (r *sparseReader) next() []byte {
	for len(r.rest.runs) > 0 && r.rest.runs[0].end() <= r.at {
		r.rest.runs = r.rest.runs[1:]
	}
	end := r.rest.size
	if len(r.rest.runs) > 0 {
		first := r.rest.runs[0]
		if first.offset <= r.at {
			return first.data[r.at-first.offset:]
		}
		end = first.offset
	}
	return zeros[:min(int64(len(zeros)), end-r.at)]
}

// tagSum is the MD5 that an ETag shows.
func tagSum(tag engine.ETag) (sum [md5.Size]byte) {
	digits, _, _ := strings.Cut(string(tag), "-")
	b, _ := hex.DecodeString(digits)
	copy(sum[:], b)
	return sum
}

// patchTag is the ETag of what had the one given, patched.
func patchTag(before engine.ETag, pieces []engine.PatchedPiece, size int64) engine.ETag {
	return engine.ETag(fmt.Sprintf("%x-1", engine.PatchTag(tagSum(before), pieces, size)))
}

// patched reports whether a version has the ETag of a patch: that of an upload has parts.
func patched(o *object) bool { return o.info.Parts == 0 && strings.Contains(string(o.info.ETag), "-") }

// staged are bytes for a patch. The lock of the engine guards discarded.
type staged struct {
	e         *Engine
	bucket    engine.BucketID
	content   content
	discarded bool
}

func (s *staged) Size() int64 { return int64(len(s.content.data)) }

func (s *staged) Discard() {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.discarded = true
}

// StageFile stores bytes for a piece of a later patch.
func (e *Engine) StageFile(ctx context.Context, bucket engine.BucketName, body io.Reader, o engine.StageOptions) (engine.Staged, error) {
	s, err := e.stageFile(ctx, bucket, body, o)
	if err != nil {
		return nil, engine.Wrap("stage file", engine.Ref{Bucket: bucket}, err)
	}
	return s, nil
}

func (e *Engine) stageFile(ctx context.Context, bucket engine.BucketName, body io.Reader, o engine.StageOptions) (*staged, error) {
	info, err := e.statBucket(ctx, bucket)
	if err != nil {
		return nil, err
	}
	c, err := receive(ctx, body, o.Size, nil, nil)
	if err != nil {
		return nil, err
	}
	return &staged{e: e, bucket: info.ID, content: c}, nil
}

// PatchFile changes the content of a file.
func (e *Engine) PatchFile(ctx context.Context, f engine.File, patch engine.Patch) (engine.FileInfo, error) {
	info, err := e.patchFile(ctx, f, patch)
	return info, wrapFile("patch file", f, err)
}

func (e *Engine) patchFile(ctx context.Context, f engine.File, patch engine.Patch) (info engine.FileInfo, err error) {
	if err := engine.CheckPatch(f, patch); err != nil {
		return info, err
	}
	if err := e.patchable(ctx, f, patch); err != nil {
		return info, err
	}
	bodies := make([]content, len(patch.Pieces))
	for i, p := range patch.Pieces {
		if p.Body != nil && p.Length > 0 {
			if bodies[i], err = receive(ctx, p.Body, p.Length, nil, nil); err != nil {
				return info, err
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(f.Bucket)
	if err != nil {
		return info, err
	}
	before, err := b.judgePatch(f, patch)
	if err != nil {
		return info, err
	}
	after, pieces, err := e.patched(b, before, patch, bodies)
	if err != nil {
		return info, err
	}
	after.info.ETag = patchTag(before.info.ETag, pieces, after.content.size)
	after.info.Size, after.info.Parts, after.info.Checksum = after.content.size, 0, engine.Checksum{}
	setTime(&after.node.modified, patch.Modified, e.stamp(b))
	return e.setPatched(b, before, after)
}

// patchable is judgePatch before bodies are read.
func (e *Engine) patchable(ctx context.Context, f engine.File, patch engine.Patch) error {
	if err := ready(ctx, f.Bucket); err != nil {
		return err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, err := e.find(f.Bucket)
	if err == nil {
		_, err = b.judgePatch(f, patch)
	}
	return err
}

// judgePatch finds the version that a patch changes.
func (b *bucket) judgePatch(f engine.File, patch engine.Patch) (*object, error) {
	_, o, err := b.content(f.Node)
	if err == nil {
		err = b.changeable(o)
	}
	switch {
	case err != nil:
		return nil, err
	case o.node.kind != engine.TypeRegular:
		return nil, engine.E(engine.KindBucketState, "node %d is no regular file; its content does not change", f.Node)
	case patch.If != 0 && patch.If != o.info.Sequence:
		return nil, engine.E(engine.KindConflict, "the file was changed by change %d of the bucket, not by %d; read it again", o.info.Sequence, patch.If)
	}
	return o, nil
}

// patched returns what a patch makes of a version, with the content alone changed, and the pieces as they came to lie.
func (e *Engine) patched(b *bucket, before *object, patch engine.Patch, bodies []content) (*object, []engine.PatchedPiece, error) {
	after := *before
	after.upload, after.parts, after.node.modified = "", nil, e.stamp(b)
	var pieces []engine.PatchedPiece
	for i, p := range patch.Pieces {
		offset, length := p.Offset, p.Length
		if offset == engine.PieceEnd {
			offset = after.content.size
		}
		if p.Keep {
			length = min(length, after.content.size-offset)
		}
		if length <= 0 {
			continue
		}
		if offset > engine.ObjectBytesMax-length {
			return nil, nil, engine.E(engine.KindEntityTooLarge, "a piece of %d bytes at %d ends beyond the %d that a file may have", length, offset, engine.ObjectBytesMax)
		}
		piece := engine.PatchedPiece{Offset: offset, Length: length}
		data := sparse{size: length}
		switch {
		case p.Body != nil:
			data, piece.Sum = whole(bodies[i].data), bodies[i].md5
		case p.Staged != nil:
			s, ok := p.Staged.(*staged)
			if !ok || s.e != e || s.bucket != b.info.ID || s.discarded {
				return nil, nil, engine.E(engine.KindInvalidArgument, "piece %d was staged elsewhere, or discarded; stage it again", i)
			}
			data, piece.Sum = whole(s.content.data), s.content.md5
		case p.From != nil:
			_, source, err := b.content(p.From.File.Node)
			if err != nil {
				return nil, nil, err
			}
			if p.From.Offset > source.info.Size-length {
				return nil, nil, engine.E(engine.KindInvalidRange, "there are no %d bytes at %d of %d", length, p.From.Offset, source.info.Size)
			}
			data, piece.Sum, piece.From = source.content.slice(p.From.Offset, length), tagSum(source.info.ETag), p.From.Offset
		}
		after.content = after.content.over(offset, data)
		pieces = append(pieces, piece)
	}
	if patch.Size != nil {
		after.content = after.content.resize(*patch.Size)
	}
	return &after, pieces, nil
}

// setPatched puts a version in the place of the one that was current, under all names of its file, or above it where that is kept.
func (e *Engine) setPatched(b *bucket, before, after *object) (info engine.FileInfo, err error) {
	if b.versioning != engine.VersioningOff && b.nameless[before.node.id] == nil {
		if after.info.Lock, err = e.newLock(b, engine.Lock{}); err != nil {
			return info, err
		}
		if err := b.fitsPush(before.info.Key, after.info.Size); err != nil {
			return info, err
		}
		b.renumber(before)
		after.info = clone(after.info)
		e.pushAs(b, engine.ChangePatched, before.info.Key, after)
		return b.fileInfo(after), nil
	}
	key, nameless := before.info.Key, b.nameless[before.node.id] != nil
	if nameless {
		key = ""
	}
	if names := int64(len(b.keys[before.node.id])); !nameless {
		if err := b.fitsQuota(0, (after.info.Size-before.info.Size)*names); err != nil {
			return info, err
		}
	}
	n := e.raise(b, engine.ChangePatched, key)
	after.info.Modified, after.info.Sequence = e.stamp(b), b.sequence
	after.node.changed = after.info.Modified
	b.change(before, func(o *object) {
		own := o.info.Key
		token := o.token
		*o = *after
		o.info.Key, o.token = own, token
	})
	if nameless {
		n.doneAbout(after)
	} else {
		n.done(nil)
	}
	return b.fileInfo(after), nil
}
