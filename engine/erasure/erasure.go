// Package erasure codes the data of an extent into k data and m parity shards, and back from any k of them.
//
// An extent is coded block by block. A full block is k pieces of Piece bytes; the last block may be short and has pieces of
// ceil(length/k) bytes, the data padded with zeros. A shard is its pieces of block 0, 1, 2 … one after another:
//
//	data      |------- block 0 -------|------- block 1 -------|-- block 2 --|
//	shard 0   | piece 0,0 | piece 1,0 | piece 2,0 |
//	shard 1   | piece 0,1 | piece 1,1 | piece 2,1 |
//	shard k…  | parity of block 0 | parity of block 1 | parity of block 2 |
//
// Piece is a multiple of 64 KiB, so that a unit of checksum never crosses pieces.
//
// Promise: what Encode made of data comes back from any k pieces of a block. The code does not notice wrong bytes; the checksums do.
//
// The package does not know where shards are, nor that they are written or read.
package erasure

import (
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"

	"holdfast/engine"
	"holdfast/engine/checksum"
)

const (
	// BlockBytes is what a full block aims at; the block of a code is Code.Block.
	BlockBytes = 1 << 20
	// UnitBytes is the unit of shard checksums.
	UnitBytes = checksum.UnitBytes
	// ShardsMax bounds k+m, so that an index fits ShardID.Index and the fast code of the library applies.
	ShardsMax = 255
)

// Code is a k+m code. It is safe for concurrent use.
type Code struct {
	data, parity int
	piece        int
	rs           reedsolomon.Encoder // nil without parity
}

var codes sync.Map // engine.Redundancy → *Code

// New returns the code of r; codes are made once and shared. KindInvalidArgument unless 1 ≤ Data, 0 ≤ Parity and Data+Parity ≤ ShardsMax.
func New(r engine.Redundancy) (*Code, error) {
	if c, ok := codes.Load(r); ok {
		return c.(*Code), nil
	}
	if r.Data < 1 || r.Parity < 0 || r.Data+r.Parity > ShardsMax {
		return nil, engine.E(engine.KindInvalidArgument, "redundancy %d+%d: at least one data shard and at most %d shards are needed", r.Data, r.Parity, ShardsMax)
	}
	c := &Code{data: r.Data, parity: r.Parity, piece: roundUp(ceil(BlockBytes, r.Data), UnitBytes)}
	if r.Parity > 0 {
		rs, err := reedsolomon.New(r.Data, r.Parity, reedsolomon.WithAutoGoroutines(c.piece))
		if err != nil {
			return nil, engine.E(engine.KindInvalidArgument, "redundancy %d+%d: %w", r.Data, r.Parity, err)
		}
		c.rs = rs
	}
	actual, _ := codes.LoadOrStore(r, c)
	return actual.(*Code), nil
}

// Data returns k.
func (c *Code) Data() int { return c.data }

// Parity returns m.
func (c *Code) Parity() int { return c.parity }

// Shards returns k+m.
func (c *Code) Shards() int { return c.data + c.parity }

// Piece returns the bytes of a piece of a full block, a multiple of UnitBytes.
func (c *Code) Piece() int { return c.piece }

// Block returns the data bytes of a full block: k pieces.
func (c *Code) Block() int { return c.data * c.piece }

// PieceOf returns the bytes of a piece of a block with length data bytes, at most Block.
func (c *Code) PieceOf(length int) int {
	if length == c.Block() {
		return c.piece
	}
	return ceil(length, c.data)
}

// ShardBytes returns the length of each shard of an extent of data bytes.
func (c *Code) ShardBytes(data int64) int64 {
	full, rest := data/int64(c.Block()), int(data%int64(c.Block()))
	return full*int64(c.piece) + int64(c.PieceOf(rest))
}

// Encode fills the parity pieces, the last m of the k+m, from the data pieces. All have the same length.
func (c *Code) Encode(pieces [][]byte) error {
	if err := c.check(pieces); err != nil || c.rs == nil {
		return err
	}
	if err := c.rs.Encode(pieces); err != nil {
		return engine.E(engine.KindInternal, "encode %d+%d: %w", c.data, c.parity, err)
	}
	return nil
}

// Reconstruct fills the pieces that want names and that are absent. An absent piece has length zero; if its capacity suffices its memory is
// used, else it is allocated. KindDamaged if fewer than k pieces are there.
func (c *Code) Reconstruct(pieces [][]byte, want []bool) error {
	present, missing := 0, false
	for i, p := range pieces {
		if len(p) > 0 {
			present++
		} else if i < len(want) && want[i] {
			missing = true
		}
	}
	if !missing {
		return nil
	}
	if present < c.data || len(pieces) != c.Shards() {
		return engine.E(engine.KindDamaged, "%d of %d pieces are there; %d are needed", present, c.Shards(), c.data)
	}
	if err := c.rs.ReconstructSome(pieces, want); err != nil {
		return engine.E(engine.KindInternal, "reconstruct %d+%d: %w", c.data, c.parity, err)
	}
	return nil
}

func (c *Code) check(pieces [][]byte) error {
	if len(pieces) != c.Shards() {
		return engine.E(engine.KindInternal, "%d pieces were given to a %d+%d code", len(pieces), c.data, c.parity)
	}
	for i, p := range pieces {
		if len(p) != len(pieces[0]) {
			return engine.E(engine.KindInternal, "piece %d has %d bytes, piece 0 has %d", i, len(p), len(pieces[0]))
		}
	}
	return nil
}

// Place says where a byte of an extent is.
type Place struct {
	Block       int   // number of the block
	BlockOffset int64 // of the block's data in the extent
	BlockLength int   // data bytes of the block
	Piece       int   // bytes of each of its pieces
	ShardOffset int64 // of the block's pieces in every shard
	Shard       int   // data shard that has the byte
	Offset      int64 // of the byte in that shard
}

// Locate finds byte offset of an extent with dataSize bytes, 0 ≤ offset < dataSize.
func (c *Code) Locate(dataSize, offset int64) Place {
	full := int64(c.Block())
	block := offset / full
	p := Place{Block: int(block), BlockOffset: block * full, ShardOffset: block * int64(c.piece)}
	p.BlockLength = int(min(full, dataSize-p.BlockOffset))
	p.Piece = c.PieceOf(p.BlockLength)
	within := offset - p.BlockOffset
	p.Shard = int(within / int64(p.Piece))
	p.Offset = p.ShardOffset + within%int64(p.Piece)
	return p
}

// Blocks returns the number of blocks of an extent of data bytes.
func (c *Code) Blocks(data int64) int {
	return int((data + int64(c.Block()) - 1) / int64(c.Block()))
}

// Split returns the k data pieces of block, which has room for k*PieceOf(length) bytes: the bytes behind length are set to zero.
func (c *Code) Split(block []byte, length int) ([][]byte, error) {
	piece := c.PieceOf(length)
	if len(block) < c.data*piece {
		return nil, fmt.Errorf("the block's buffer has %d bytes, %d are needed", len(block), c.data*piece)
	}
	clear(block[length : c.data*piece])
	pieces := make([][]byte, c.data)
	for i := range pieces {
		pieces[i] = block[i*piece : (i+1)*piece : (i+1)*piece]
	}
	return pieces, nil
}

// Sums appends the checksums of data, which begins at unit first of the shard. See checksum.Sums.
func Sums(dst []uint64, id engine.ShardID, first int, data []byte) []uint64 {
	return checksum.Sums(dst, id, first, data)
}

// Verify compares data from unit first on with sums. See checksum.Verify.
func Verify(id engine.ShardID, first int, data []byte, sums []uint64) (bad int, ok bool) {
	return checksum.Verify(id, first, data, sums)
}

func ceil(n, k int) int       { return (n + k - 1) / k }
func roundUp(n, unit int) int { return ceil(n, unit) * unit }
