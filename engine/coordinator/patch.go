package coordinator

import (
	"context"
	"io"
	"sync"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
)

const (
	// patchInlineMax is the most bytes that the pieces of one patch bring in its command; others go to drives, however few they are.
	patchInlineMax = 512 << 10
	// patchExtentsMax is the most extents that the pieces of one patch may lie in, so that its command stays below 1 MiB.
	patchExtentsMax = 2000
)

// staged are bytes that a patch may use. They are bound to their bucket.
type staged struct {
	c      *Coordinator
	bucket engine.BucketName

	mu   sync.Mutex
	data meta.Data // of no extents and no bytes once it is used or discarded
	md5  [16]byte
	size int64
	gone bool
}

// StageFile implements engine.Files.
func (c *Coordinator) StageFile(ctx context.Context, bucket engine.BucketName, body io.Reader, o engine.StageOptions) (engine.Staged, error) {
	s, err := c.stageFile(ctx, bucket, body, o)
	if err != nil {
		return nil, engine.Wrap("stage", engine.Ref{Bucket: bucket}, err)
	}
	return s, nil
}

func (c *Coordinator) stageFile(ctx context.Context, bucket engine.BucketName, body io.Reader, o engine.StageOptions) (*staged, error) {
	if o.Class == "" {
		o.Class = engine.ClassStandard
	}
	if o.Size < -1 {
		return nil, engine.E(engine.KindInvalidArgument, "a body of %d bytes was announced", o.Size)
	}
	if _, err := c.bucket(ctx, bucket); err != nil {
		return nil, err
	}
	stored, err := c.store(ctx, body, o.Size, o.Class, nil)
	if err != nil {
		return nil, err
	}
	return &staged{c: c, bucket: bucket, data: stored.data, md5: stored.md5, size: stored.data.Size}, nil
}

// Size implements engine.Staged.
func (s *staged) Size() int64 { return s.size }

// Discard implements engine.Staged.
func (s *staged) Discard() {
	s.mu.Lock()
	extents := s.data.Extents
	s.data, s.gone = meta.Data{}, true
	s.mu.Unlock()
	s.c.condemn(extents)
}

// take lends the data to a patch, which calls done with whether a file has it now. It does not wait: patches that have some of what others want would wait
// for each other.
func (s *staged) take(c *Coordinator, bucket engine.BucketName) (data meta.Data, done func(used bool), err error) {
	if !s.mu.TryLock() {
		return data, nil, engine.E(engine.KindInvalidArgument, "what was staged is of another patch, or is being discarded")
	}
	if s.gone || s.c != c || s.bucket != bucket {
		s.mu.Unlock()
		return data, nil, engine.E(engine.KindInvalidArgument, "what was staged is used or discarded, or of another bucket")
	}
	return s.data, func(used bool) {
		if used {
			s.data, s.gone = meta.Data{}, true
		}
		s.mu.Unlock()
	}, nil
}

// PatchFile implements engine.Files.
func (c *Coordinator) PatchFile(ctx context.Context, f engine.File, patch engine.Patch) (engine.FileInfo, error) {
	info, err := c.patchFile(ctx, f, patch)
	return info, engine.Wrap("patch", fileRef(f), err)
}

func (c *Coordinator) patchFile(ctx context.Context, f engine.File, patch engine.Patch) (info engine.FileInfo, err error) {
	if err := engine.CheckPatch(f, patch); err != nil {
		return info, err
	}
	extents := int64(0)
	for i := range patch.Pieces {
		if p := &patch.Pieces[i]; p.Body != nil || p.Staged != nil {
			extents += p.Length/engine.ExtentBytesMax + 1
		}
	}
	if extents > patchExtentsMax {
		return info, engine.E(engine.KindEntityTooLarge, "the pieces of the patch lie in %d extents; write it in several, of at most %d each", extents, patchExtentsMax)
	}
	p := &patching{c: c, f: f}
	if err := p.begin(ctx, &patch); err != nil {
		return info, err
	}
	err = p.store(ctx, patch.Pieces)
	if err == nil {
		info, err = c.change(ctx, p.command)
	}
	p.end(err == nil)
	return info, err
}

// patching is a patch on its way.
type patching struct {
	c       *Coordinator
	f       engine.File
	class   engine.StorageClass
	command *meta.PatchFile
	inline  int64 // bytes that pieces may still bring in the command
	stored  []meta.Extent
	lent    map[*staged]func(used bool)
}

// begin finds the file, and with it what can be refused before bodies are read.
func (p *patching) begin(ctx context.Context, patch *engine.Patch) error {
	found, view, err := p.c.file(ctx, p.f)
	if err != nil {
		return err
	}
	defer view.Close()
	switch {
	case found.Older():
		return engine.E(engine.KindBucketState, "the node %d is a version that is not current; it does not change", p.f.Node)
	case found.Info.Type == engine.TypeDirectory:
		return engine.E(engine.KindIsDirectory, "a directory has no content")
	case found.Info.Type != engine.TypeRegular:
		return engine.E(engine.KindBucketState, "the node is not a regular file; its content does not change")
	case patch.If != 0 && patch.If != found.Info.Sequence:
		return engine.E(engine.KindConflict, "the file changed: its sequence is %d, not %d", found.Info.Sequence, patch.If)
	}
	pieces, err := meta.CountPieces(view, found.Content)
	if err != nil {
		return rowError(err)
	}
	if pieces < inlinePartsMax {
		p.inline = patchInlineMax
	}
	p.class = found.Object.Class
	p.command = meta.NewPatchFile(found.Ref, patch)
	p.command.Clock = time.Now().UnixNano()
	return nil
}

// store makes the bytes of the pieces durable.
func (p *patching) store(ctx context.Context, pieces []engine.Piece) error {
	p.lent = map[*staged]func(bool){}
	for i := range pieces {
		piece := &pieces[i]
		put := meta.PatchPiece{Offset: piece.Offset, Length: piece.Length, Keep: piece.Keep}
		switch {
		case piece.Length == 0: // does nothing, whatever it is of
		case piece.Body != nil:
			if err := p.storeBody(ctx, piece, &put); err != nil {
				return err
			}
		case piece.Staged != nil:
			if err := p.borrow(piece, &put); err != nil {
				return err
			}
		case piece.From != nil:
			from, err := p.c.ref(ctx, piece.From.File)
			if err != nil {
				return err
			}
			put.From, put.FromOffset = from, piece.From.Offset
		}
		p.command.Pieces = append(p.command.Pieces, put)
	}
	return nil
}

func (p *patching) storeBody(ctx context.Context, piece *engine.Piece, put *meta.PatchPiece) error {
	store := p.c.storeExtents
	if piece.Length <= engine.InlineBytesMax && piece.Length <= p.inline {
		store = p.c.store
		p.inline -= piece.Length
	}
	stored, err := store(ctx, piece.Body, piece.Length, p.class, nil)
	if err != nil {
		return err
	}
	put.Data, put.MD5 = stored.data, stored.md5
	p.stored = append(p.stored, stored.data.Extents...)
	return nil
}

func (p *patching) borrow(piece *engine.Piece, put *meta.PatchPiece) error {
	s, ok := piece.Staged.(*staged)
	if !ok || p.lent[s] != nil {
		return engine.E(engine.KindInvalidArgument, "a piece needs what StageFile gave, and that once")
	}
	data, done, err := s.take(p.c, p.f.Bucket)
	if err != nil {
		return err
	}
	p.lent[s] = done
	put.Data, put.MD5 = data, s.md5
	return nil
}

// end gives back what was borrowed, and gives up what no file has.
func (p *patching) end(used bool) {
	for _, done := range p.lent {
		done(used)
	}
	if !used {
		p.c.condemn(p.stored)
	}
}
