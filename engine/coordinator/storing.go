package coordinator

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"sync"
	"sync/atomic"

	"holdfast/engine"
	"holdfast/engine/erasure"
	"holdfast/engine/extent"
	"holdfast/engine/meta"

	md5simd "github.com/minio/md5-simd"
)

// blocksDeep is how many blocks of a body are under way at most: one being read, the others being hashed and written. Two leave drives and
// processors waiting for each other, more than four brought nothing (docs/benchmarks.md). While memory is short two have to do.
const (
	blocksDeep     = 4
	blocksDeepBusy = 2
)

// storing writes one large body. The caller's goroutine reads it into a ring of blocks, one goroutine hashes them and one writes them.
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

	free            chan []byte  // the blocks of the ring that nobody uses
	toHash, toWrite chan *filled // with room for the whole ring
	read            int64        // the reader's

	// The writer's, and after it everybody's:
	extents  []meta.Extent
	writer   *extent.Writer // of the last of extents; nil between extents
	left     int64          // data bytes that it still takes
	writeErr error
	failed   chan struct{} // closed when writeErr is set
}

// newStoring takes depth blocks for the ring; run gives them back.
func newStoring(c *Coordinator, ctx context.Context, body io.Reader, code *erasure.Code, depth int) *storing {
	s := &storing{c: c, ctx: ctx, body: body, code: code, hash: c.newHash(), free: make(chan []byte, depth),
		toHash: make(chan *filled, depth), toWrite: make(chan *filled, depth), failed: make(chan struct{})}
	for range depth {
		s.free <- c.Pool.Get(code.Block())
	}
	return s
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

// copy runs the three goroutines to their end.
func (s *storing) copy(sum []byte) (*stored, error) {
	defer s.end()
	var stages sync.WaitGroup
	stages.Go(s.hashBlocks)
	stages.Go(s.writeBlocks)
	err := s.readBlocks()
	close(s.toHash)
	close(s.toWrite)
	stages.Wait()
	if err = cmp.Or(err, s.writeErr); err != nil {
		return nil, err
	}
	result := &stored{data: meta.Data{Size: s.read, Extents: s.extents}}
	s.hash.Sum(result.md5[:0])
	if sum != nil && !bytes.Equal(sum, result.md5[:]) {
		return nil, engine.E(engine.KindBadDigest, "the content's MD5 is %x", result.md5)
	}
	return result, nil
}

// filled is a block on its way through hashing and writing, which may have it at the same time: neither changes what the body filled.
type filled struct {
	block []byte
	users atomic.Int32 // goroutines that still need it
}

// done gives the block back to the ring after the last of its users.
func (s *storing) done(f *filled) {
	if f.users.Add(-1) == 0 {
		s.free <- f.block
	}
}

// readBlocks reads the body to its end or until the writing of it fails.
func (s *storing) readBlocks() error {
	for last := false; !last; {
		var room []byte
		select {
		case <-s.failed:
			return nil
		case room = <-s.free:
		}
		block, ended, err := s.readBlock(room[:s.code.Block()])
		if err != nil || len(block) == 0 {
			s.free <- room
			return err
		}
		f := &filled{block: block}
		f.users.Store(2)
		s.toHash <- f
		s.toWrite <- f
		last = ended
	}
	return nil
}

func (s *storing) hashBlocks() {
	for f := range s.toHash {
		s.hash.Write(f.block)
		s.done(f)
	}
}

func (s *storing) writeBlocks() {
	for f := range s.toWrite {
		if s.writeErr == nil {
			if s.writeErr = s.writeBlock(f.block); s.writeErr != nil {
				close(s.failed)
			}
		}
		s.done(f)
	}
}

// end aborts an extent that was not committed, and gives the blocks back unless a drive that hangs may still read them.
func (s *storing) end() {
	giveBack := s.c.Pool.Put
	if s.writer != nil {
		s.writer.Abort()
		if s.writer.Stuck() {
			giveBack = s.c.Pool.Leave
		}
	}
	for range cap(s.free) {
		giveBack(<-s.free)
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
	return block[:n], last, nil
}

// writeBlock writes a block into the open extent, or begins one.
func (s *storing) writeBlock(block []byte) error {
	if s.writer == nil {
		s.left = s.ahead(len(block))
		place, err := s.c.Drives.Place(s.redundancy, s.left)
		if err != nil {
			return err
		}
		if place.Redundancy != s.coded {
			return s.writeApart(block, place)
		}
		if err := s.begin(s.code, s.left, place); err != nil {
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
	return s.commit()
}

// writeApart writes a block as an extent of its own, in the code that the drives allow by now: fewer or more than when the body began.
func (s *storing) writeApart(block []byte, place Placement) error {
	code, err := erasure.New(place.Redundancy)
	if err != nil {
		return err
	}
	if err := s.begin(code, int64(len(block)), place); err != nil {
		return err
	}
	for rest := block; len(rest) > 0; {
		n := min(len(rest), code.Block())
		if err := s.writer.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return s.commit()
}

// ahead returns the data bytes of the extent that begins with the next block: what is left of the body, or that block alone if the size is not known.
func (s *storing) ahead(block int) int64 {
	if s.size < 0 {
		return int64(block)
	}
	written := int64(0)
	for i := range s.extents {
		written += s.extents[i].Size
	}
	full := int64(s.code.Block())
	return min(s.size-written, engine.ExtentBytesMax/full*full)
}

// begin opens an extent of size data bytes.
func (s *storing) begin(code *erasure.Code, size int64, place Placement) (err error) {
	x := meta.Extent{
		ID: s.c.Data.NewExtent(), Redundancy: place.Redundancy, Size: size, Class: s.class, Drives: place.Drives, Reduced: place.Reduced,
	}
	s.writer, err = extent.NewWriter(s.ctx, extent.Config{
		Stores: s.c.Drives, Pool: s.c.Pool, Code: code, ID: x.ID, Size: x.Size, Drives: x.Drives,
		Spare: s.c.Drives.Spare, Out: s.c.Drives.Out,
	})
	if err != nil {
		return err
	}
	s.extents = append(s.extents, x)
	return nil
}

// commit makes the open extent durable.
func (s *storing) commit() error {
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
