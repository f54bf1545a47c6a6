package repair

import (
	"context"
	"errors"
	"time"

	"holdfast/engine"
	"holdfast/engine/extent"
	"holdfast/engine/meta"
	"holdfast/observe"
)

// stepCompact is the step of the keeper of files in many pieces that the recorder knows.
var stepCompact = observe.NewStep("repair: pieces of a file are made one")

const (
	// compactShare is how much of the time the keeper of files in many pieces is at work: a file that lies in many is slow, and nothing is in danger.
	compactShare = 0.25
	// compactLooks is how often a file is looked at in a row before the next one has its turn, and compactBytesMin the shortest range that is tried where patches
	// come in between.
	compactLooks    = 6
	compactBytesMin = 64 << 10
)

// errFewDrives ends a pass while what would be written anew could not have the parity of its class: to wait for drives is no failure.
var errFewDrives = errors.New("too few drives are at hand")

// runCompact makes the pieces of files fewer that patches have left in many, beside the other keepers.
func (k *Keeper) runCompact(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := k.compactAll(ctx)
		if err != nil && !failing && ctx.Err() == nil && !errors.Is(err, errFewDrives) {
			k.config.Logger.Warn("files stay in many pieces for now; the keeper goes on trying, and says no more of it until it succeeds", "error", err)
		}
		failing = err != nil
		timer.Reset(k.config.Interval)
	}
}

// compactAll goes through the files once. The first that fails ends it, since what fails it, drives that are away, fails the others too; the next pass begins with
// the one behind it.
func (k *Keeper) compactAll(ctx context.Context) error {
	for wrapped := k.scattered == (meta.ScatteredFile{}); ; {
		var list []meta.ScatteredFile
		if _, err := k.finds(ctx, func(view meta.View) (_ bool, err error) {
			listed := meta.ListScattered
			if k.config.CompactEagerly {
				listed = meta.ListPatched
			}
			list, err = listed(view, k.scattered, repairBatch)
			return len(list) > 0, err
		}); err != nil {
			return err
		}
		for _, f := range list {
			k.scattered = f
			if err := k.compactFile(ctx, f); err != nil {
				return err
			}
		}
		if len(list) < repairBatch {
			k.scattered = meta.ScatteredFile{}
			if wrapped {
				return nil
			}
			wrapped = true
		}
	}
}

// compactFile writes anew of a file what is worth it, until nothing is. Where patches come in between it tries shorter ranges, which fewer patches meet.
func (k *Keeper) compactFile(ctx context.Context, f meta.ScatteredFile) error {
	if waits, err := k.awaitsCollection(ctx, f); err != nil || waits {
		return err
	}
	before, did := 0, false
	defer func() {
		if did { // whatever ended the looks: another pass may find nothing more to do
			k.count(func(s *Stats) { s.FilesCompacted++; s.RunsBefore += uint64(before); s.RunsAfter += k.runsLeft })
		}
	}()
	bytesMax, contentsMin := int64(meta.GroupBytesMax), meta.GroupContents
	if k.config.CompactEagerly {
		contentsMin = 2
	}
	for look := range compactLooks {
		var plan *meta.Compaction
		began := time.Now()
		found, err := k.finds(ctx, func(view meta.View) (_ bool, err error) {
			plan, err = meta.PlanCompaction(view, f, bytesMax, contentsMin)
			if err == meta.ErrAbsent {
				return false, nil
			}
			return true, err
		})
		if err != nil || !found {
			return err
		}
		if look == 0 {
			before = plan.Runs
		}
		if len(plan.Ranges) == 0 {
			if bytesMax == meta.GroupBytesMax {
				_, err = k.do(ctx, plan.Settle)
			}
			return errorUnlessLost(err)
		}
		if err := restFrom(ctx, began, compactShare); err != nil {
			return err
		}
		lost, expanded := false, false
		for i := range plan.Ranges {
			expanded = expanded || plan.Ranges[i].Expand
			ok, err := k.compactRange(ctx, f, plan, &plan.Ranges[i])
			if err != nil {
				return err
			}
			did, lost = did || ok && !plan.Ranges[i].Expand, lost || !ok
		}
		if lost {
			bytesMax = max(bytesMax/8, compactBytesMin)
		} else {
			bytesMax = meta.GroupBytesMax
		}
		k.Wake() // what is garbage by now is collected
		if expanded {
			return k.noteExpanded(ctx, f)
		}
	}
	return nil
}

// expandedMax bounds the files that are known to wait for the collection of what they named.
const expandedMax = 10_000

func (k *Keeper) noteExpanded(ctx context.Context, f meta.ScatteredFile) error {
	view, err := k.view(ctx)
	if err != nil {
		return err
	}
	index, err := view.Index()
	_ = view.Close() // a snapshot that was only read
	if err != nil {
		return err
	}
	if len(k.expanded) >= expandedMax {
		clear(k.expanded) // these are looked at too early, and again when they have gained pieces
	}
	k.expanded[f] = index
	return nil
}

// awaitsCollection says that the pieces of a file are still named by what is garbage.
func (k *Keeper) awaitsCollection(ctx context.Context, f meta.ScatteredFile) (bool, error) {
	index, ok := k.expanded[f]
	if !ok {
		return false, nil
	}
	waits, err := k.finds(ctx, func(view meta.View) (bool, error) {
		list, err := meta.ListGarbage(view, index+1, 1)
		return len(list) > 0, err
	})
	if err == nil && !waits {
		delete(k.expanded, f)
	}
	return waits, err
}

// errorUnlessLost leaves out that the file is another by now.
func errorUnlessLost(err error) error {
	if engine.Is(err, engine.KindConflict) {
		return nil
	}
	return err
}

// compactRange does what is planned for a range; ok is false if a change of the file came first. The other keepers wait for it: they may collect what it reads.
func (k *Keeper) compactRange(ctx context.Context, f meta.ScatteredFile, plan *meta.Compaction, r *meta.CompactRange) (ok bool, err error) {
	began := time.Now()
	stepCompact.Enter()
	k.turn.Lock()
	ok, err = k.compactOnce(ctx, f, plan, r)
	k.turn.Unlock()
	stepCompact.Leave()
	if err := errorUnlessLost(err); err != nil {
		return false, err
	}
	return ok, restFrom(ctx, began, compactShare)
}

func (k *Keeper) compactOnce(ctx context.Context, f meta.ScatteredFile, plan *meta.Compaction, r *meta.CompactRange) (bool, error) {
	command := &meta.Compact{Bucket: f.Bucket, Inode: f.Inode, Offset: r.Offset, Length: r.Length, Sum: r.Sum}
	if r.Expand {
		_, err := k.do(ctx, command)
		return err == nil, err
	}
	pieces, err := k.piecesOf(ctx, f, r)
	if err == meta.ErrAbsent {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	command.Data.Size = r.Size
	if r.Size <= engine.InlineBytesMax {
		command.Data.Inline = make([]byte, r.Size)
		if err := (&pieceReader{pieces: pieces}).fill(ctx, command.Data.Inline); err != nil {
			return false, err
		}
	} else {
		x, err := k.writePieces(ctx, plan.Class, r.Size, pieces)
		if err != nil {
			return false, err
		}
		command.Data.Extents = []meta.Extent{*x}
	}
	answer, err := k.do(ctx, command)
	if err != nil {
		if len(command.Data.Extents) > 0 {
			k.giveUp(ctx, &command.Data.Extents[0])
		}
		return false, err
	}
	k.runsLeft = answer.Left
	k.count(func(s *Stats) { s.BytesCompacted += uint64(r.Size) })
	return true, nil
}

// pieceSource is a piece of a file, and how to read it.
type pieceSource struct {
	meta.Piece
	source extent.Source // of one that is not inline
}

// piecesOf finds the bytes of a range; meta.ErrAbsent if something else is there by now. Nobody but the keepers moves shards, and it is this one's turn.
func (k *Keeper) piecesOf(ctx context.Context, f meta.ScatteredFile, r *meta.CompactRange) (list []pieceSource, err error) {
	_, err = k.finds(ctx, func(view meta.View) (bool, error) {
		pieces, err := meta.LoadPieces(view, f, r)
		if err != nil {
			return false, err
		}
		known := map[engine.ExtentID]extent.Source{}
		for _, p := range pieces {
			source, ok := known[p.Extent]
			if p.Inline == nil && !ok {
				x, err := meta.LoadExtent(view, p.Extent)
				if err == meta.ErrAbsent {
					err = engine.E(engine.KindDamaged, "the metadata lacks extent %v", p.Extent)
				}
				if err != nil {
					return false, err
				}
				if source, err = k.config.Source(x); err != nil {
					return false, err
				}
				known[p.Extent] = source
			}
			list = append(list, pieceSource{p, source})
		}
		return true, nil
	})
	return list, err
}

// pieceReader reads pieces one after another.
type pieceReader struct {
	pieces []pieceSource
	within int64 // of the first that is left
}

// fill reads len(b) bytes.
func (r *pieceReader) fill(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		if len(r.pieces) == 0 {
			return engine.E(engine.KindDamaged, "the metadata lacks %d bytes of the file", len(b))
		}
		p := &r.pieces[0]
		n := min(int64(len(b)), p.Length-r.within)
		if p.Inline != nil {
			copy(b[:n], p.Inline[r.within:])
		} else if err := extent.Read(ctx, p.source, p.Offset+r.within, b[:n]); err != nil {
			return err
		}
		b = b[n:]
		if r.within += n; r.within == p.Length {
			r.pieces, r.within = r.pieces[1:], 0
		}
	}
	return nil
}

// writePieces makes an extent of pieces, with all the parity of its class: while drives are away for that, the pieces stay.
func (k *Keeper) writePieces(ctx context.Context, class engine.StorageClass, size int64, pieces []pieceSource) (*meta.Extent, error) {
	r, drives, ok := k.config.Drives.Widen(class, size)
	if !ok {
		return nil, errFewDrives
	}
	x := &meta.Extent{ID: k.config.Writer.NewExtent(), Redundancy: r, Size: size, Class: class, Drives: drives}
	target, err := k.config.Source(x)
	if err != nil {
		return nil, err
	}
	w, err := extent.NewWriter(ctx, extent.Config{
		Stores: k.config.Drives, Pool: target.Pool, Code: target.Code, ID: x.ID, Size: size, Drives: drives, Spare: k.config.Drives.Spare, Out: k.config.Drives.Out,
	})
	if err != nil {
		return nil, err
	}
	block := target.Pool.Get(target.Code.Block())
	result, err := copyPieces(ctx, w, &pieceReader{pieces: pieces}, size, block)
	if err != nil {
		w.Abort()
	}
	if w.Stuck() {
		target.Pool.Leave(block) // a drive that hangs may still read it
	} else {
		target.Pool.Put(block)
	}
	x.Drives, x.Missing = result.Drives, result.Missing
	return x, err
}

func copyPieces(ctx context.Context, w *extent.Writer, from *pieceReader, size int64, block []byte) (extent.Result, error) {
	for left := size; left > 0; {
		b := block[:min(int64(len(block)), left)]
		if err := from.fill(ctx, b); err != nil {
			return extent.Result{}, err
		}
		if err := w.Write(b); err != nil {
			return extent.Result{}, err
		}
		if err := w.Flush(); err != nil { // the block is read into again when this returns
			return extent.Result{}, err
		}
		left -= int64(len(b))
	}
	return w.Commit(ctx)
}
