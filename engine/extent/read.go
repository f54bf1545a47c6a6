package extent

import (
	"context"
	"errors"
	"sync"

	"holdfast/engine"
	"holdfast/engine/checksum"
	"holdfast/engine/erasure"
)

// Read fills dst with the extent's data from off on. KindDamaged if fewer than k shards can be read.
func Read(ctx context.Context, s Source, off int64, dst []byte) error {
	if off < 0 || off+int64(len(dst)) > s.Size {
		return engine.E(engine.KindInternal, "bytes %d to %d of an extent of %d", off, off+int64(len(dst)), s.Size)
	}
	for len(dst) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		place := s.Code.Locate(s.Size, off)
		n := min(len(dst), place.BlockLength-int(off-place.BlockOffset))
		if err := readBlock(ctx, &s, place, int(off-place.BlockOffset), dst[:n]); err != nil {
			return err
		}
		dst = dst[n:]
		off += int64(n)
	}
	return nil
}

// want is a range of one data piece that a read needs.
type want struct {
	shard, begin int // within the piece
	dst          []byte
}

// readBlock reads bytes of one block: from the data pieces that have them, and where one fails from any k.
func readBlock(ctx context.Context, s *Source, place erasure.Place, begin int, dst []byte) error {
	var wants []want
	for filled := 0; filled < len(dst); {
		at := begin + filled
		shard := at / place.Piece
		n := min(len(dst)-filled, place.Piece-at%place.Piece)
		wants = append(wants, want{shard: shard, begin: at % place.Piece, dst: dst[filled : filled+n]})
		filled += n
	}
	if readWants(ctx, s, place, wants) {
		return nil
	}
	return decodeBlock(ctx, s, place, wants)
}

// readWants reads the data pieces; false if one of them cannot be had.
func readWants(ctx context.Context, s *Source, place erasure.Place, wants []want) bool {
	for _, w := range wants {
		if s.Missing&(1<<w.shard) != 0 || s.Stores.Store(s.Drives[w.shard]) == nil {
			return false
		}
	}
	if len(wants) == 1 {
		return s.read(wants[0].shard, place.ShardOffset+int64(wants[0].begin), wants[0].dst) == nil
	}
	var wg sync.WaitGroup
	failed := make([]error, len(wants))
	for i := range wants {
		wg.Go(func() {
			failed[i] = s.read(wants[i].shard, place.ShardOffset+int64(wants[i].begin), wants[i].dst)
		})
	}
	wg.Wait()
	return errors.Join(failed...) == nil
}

// read reads a range of a shard and reports what cannot be read.
func (s *Source) read(shard int, off int64, dst []byte) error {
	store := s.Stores.Store(s.Drives[shard])
	if store == nil {
		return engine.E(engine.KindUnavailable, "drive %d is not at hand", s.Drives[shard])
	}
	err := store.ReadShard(s.shard(shard), off, dst)
	if err != nil && s.Report != nil && s.Missing&(1<<shard) == 0 {
		s.Report(shard, err)
	}
	return err
}

// decodeBlock reads k pieces, or the parts of them that the wants lie in, and decodes the data that is absent.
func decodeBlock(ctx context.Context, s *Source, place erasure.Place, wants []want) error {
	// All pieces are cut to the same range, as wide as the wants together.
	begin, end := place.Piece, 0
	need := make([]bool, s.Code.Shards())
	for _, w := range wants {
		begin = min(begin, w.begin)
		end = max(end, w.begin+len(w.dst))
		need[w.shard] = true
	}
	begin = begin / checksum.UnitBytes * checksum.UnitBytes
	memory := s.Pool.Get(s.Code.Data() * s.Code.Piece())
	defer s.Pool.Put(memory)
	pieces := make([][]byte, s.Code.Shards())
	var problems []error
	next := 0
	for have := 0; have < s.Code.Data(); {
		// As many at once as are still needed.
		var round []int
		for ; next < len(pieces) && len(round) < s.Code.Data()-have; next++ {
			if s.Missing&(1<<next) == 0 {
				round = append(round, next)
			}
		}
		if len(round) == 0 {
			return engine.E(engine.KindDamaged, "extent %v: %d of the %d shards that are needed can be read: %w", s.ID, have, s.Code.Data(), errors.Join(problems...))
		}
		var wg sync.WaitGroup
		failed := make([]error, len(round))
		buffers := make([][]byte, len(round))
		for i, shard := range round {
			offset := (have + i) * s.Code.Piece()
			buffers[i] = memory[offset : offset+end-begin]
			wg.Go(func() { failed[i] = s.read(shard, place.ShardOffset+int64(begin), buffers[i]) })
		}
		wg.Wait()
		for i, shard := range round {
			if failed[i] != nil {
				problems = append(problems, failed[i])
				continue
			}
			// Slots of failed reads are filled by the next round: compact.
			slot := memory[have*s.Code.Piece() : have*s.Code.Piece()+end-begin]
			if &slot[0] != &buffers[i][0] {
				copy(slot, buffers[i])
			}
			pieces[shard] = slot
			have++
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	for i := range need {
		need[i] = need[i] && pieces[i] == nil
	}
	if err := s.Code.Reconstruct(pieces, need); err != nil {
		return err
	}
	for _, w := range wants {
		copy(w.dst, pieces[w.shard][w.begin-begin:])
	}
	return nil
}

// Rebuild makes shard index again on target from any k of the others, a piece at a time, and commits it there.
func Rebuild(ctx context.Context, s Source, index int, target ShardStore) error {
	s.Missing |= 1 << index
	w, err := target.CreateShard(s.shard(index), s.Code.ShardBytes(s.Size))
	if err != nil {
		return err
	}
	defer w.Abort()
	memory := s.Pool.Get(s.Code.Piece())
	defer s.Pool.Put(memory)
	unit := 0
	for off := int64(0); off < s.Size; {
		place := s.Code.Locate(s.Size, off)
		piece := memory[:place.Piece]
		if err := decodePiece(ctx, &s, place, index, piece); err != nil {
			return err
		}
		sums := erasure.Sums(nil, s.shard(index), unit, piece)
		unit += len(sums)
		if err := w.Write(piece, sums); err != nil {
			return err
		}
		off = place.BlockOffset + int64(place.BlockLength)
	}
	return w.Commit(ctx)
}

func decodePiece(ctx context.Context, s *Source, place erasure.Place, index int, piece []byte) error {
	return decodeBlock(ctx, s, place, []want{{shard: index, dst: piece}})
}
