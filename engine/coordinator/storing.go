package coordinator

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"sync"
	"sync/atomic"

	"holdfast/engine"
	"holdfast/engine/buffer"
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
	lease      *buffer.Lease // of the ring
	body       io.Reader
	size       int64 // -1: not known
	class      engine.StorageClass
	redundancy engine.Redundancy // of the class
	code       *erasure.Code     // whose blocks the ring has
	hash       md5simd.Hasher    // of newHash

	free            chan []byte  // the blocks of the ring that nobody uses
	toHash, toWrite chan *filled // with room for the whole ring
	read            int64        // the reader's

	// The writer's, and after it everybody's:
	using    *erasure.Code     // of the extents that are begun
	coded    engine.Redundancy // of using
	room     []byte            // a block of using, for what does not come in whole ones; nil: it was not needed
	cut      []byte            // the part of room that is filled
	extents  []meta.Extent
	writer   *extent.Writer // of the last of extents; nil between extents
	left     int64          // data bytes that it still takes
	stuck    bool           // a drive that hangs may still read blocks of the ring
	writeErr error
	failed   chan struct{} // closed when writeErr is set
}

// newStoring takes depth blocks for the ring; run gives them back.
func newStoring(c *Coordinator, ctx context.Context, body io.Reader, size int64, code *erasure.Code, depth int) *storing {
	s := &storing{c: c, ctx: ctx, body: body, size: size, code: code, using: code, hash: c.newHash(size), free: make(chan []byte, depth),
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
	if s.writer != nil {
		if err := s.shorten(); err != nil {
			return nil, err
		}
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
	if s.writer != nil {
		s.writer.Abort()
		s.stuck = s.stuck || s.writer.Stuck()
	}
	s.dropRoom()
	for range cap(s.free) {
		s.giveBack(<-s.free)
	}
}

func (s *storing) giveBack(block []byte) {
	if s.stuck {
		s.c.Pool.Leave(block)
	} else {
		s.c.Pool.Put(block)
	}
}

// readBlock fills a block, and at the end of the body checks that all of it came.
func (s *storing) readBlock(block []byte) (filled []byte, last bool, err error) {
	want := int64(len(block))
	if s.size >= 0 {
		want = min(want, s.size-s.read)
	}
	back := lend(s.ctx, s.lease, engine.Client.CutBody)
	n, err := readFull(s.body, block[:want])
	back()
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

// writeBlock writes a block of the body into the open extent, and into those that it begins.
func (s *storing) writeBlock(block []byte) error {
	for len(block) > 0 {
		if s.writer == nil {
			if err := s.begin(); err != nil {
				return err
			}
		}
		n := int(min(int64(len(block)), s.left))
		part := block[:n:n]
		if n == len(block) {
			part = block // what lies behind it is nobody's
		}
		if err := s.give(part); err != nil {
			return err
		}
		block = block[n:]
		if s.left == 0 {
			if err := s.commit(); err != nil {
				return err
			}
		}
	}
	return nil
}

// give gives bytes of the body to the open extent: a block of its code as it is, others by way of a block of their own, as they come when the code is
// another than the ring's.
func (s *storing) give(b []byte) error {
	whole := s.using.Block()
	if len(s.cut) == 0 && (len(b) == whole || len(b) < whole && int64(len(b)) == s.left) {
		s.left -= int64(len(b))
		return s.write(b)
	}
	if s.room == nil {
		s.room = s.c.Pool.Get(whole)
	}
	for len(b) > 0 {
		n := copy(s.room[len(s.cut):whole], b)
		s.cut = s.room[:len(s.cut)+n]
		b = b[n:]
		if s.left -= int64(n); len(s.cut) < whole && s.left > 0 {
			continue
		}
		if err := s.write(s.cut); err != nil {
			return err
		}
		s.cut = s.cut[:0]
	}
	return nil
}

func (s *storing) write(block []byte) error {
	if err := s.writer.Write(block); err != nil {
		return err
	}
	return s.writer.Flush() // the memory is filled again when this returns
}

// ahead returns the data bytes of the extent that begins: all that is left of the body or, if its size is not known, as much again as was written. So a
// body has few extents then, too, and the last one is shortened by less than half.
func (s *storing) ahead() int64 {
	written := int64(0)
	for i := range s.extents {
		written += s.extents[i].Size
	}
	full := int64(s.using.Block())
	left := s.size - written
	if s.size < 0 {
		left = max(written/full*full, full)
	}
	return min(left, engine.ExtentBytesMax/full*full)
}

// shorten ends the open extent where a body ended whose size was not known.
func (s *storing) shorten() error {
	x := &s.extents[len(s.extents)-1]
	x.Size -= s.left
	if err := s.writer.Shorten(x.Size); err != nil {
		return err
	}
	if len(s.cut) > 0 {
		if err := s.write(s.cut); err != nil {
			return err
		}
	}
	return s.commit()
}

// begin opens an extent for what comes next, in the code that the drives allow by now: there may be fewer or more of them than when the body began.
func (s *storing) begin() error {
	place, err := s.c.Drives.Place(s.redundancy, s.ahead())
	if err != nil {
		return err
	}
	if place.Redundancy != s.coded {
		if s.using, err = erasure.New(place.Redundancy); err != nil {
			return err
		}
		s.coded = place.Redundancy
		s.dropRoom()
	}
	s.left = s.ahead()
	x := meta.Extent{
		ID: s.c.Data.NewExtent(), Redundancy: place.Redundancy, Size: s.left, Class: s.class, Drives: place.Drives, Reduced: place.Reduced,
	}
	s.writer, err = extent.NewWriter(s.ctx, extent.Config{
		Stores: s.c.Drives, Pool: s.c.Pool, Code: s.using, ID: x.ID, Size: x.Size, Drives: x.Drives,
		Spare: s.c.Drives.Spare, Out: s.c.Drives.Out,
	})
	if err != nil {
		return err
	}
	s.extents = append(s.extents, x)
	return nil
}

// dropRoom gives back the block that give took.
func (s *storing) dropRoom() {
	if s.room != nil {
		s.giveBack(s.room)
	}
	s.room, s.cut = nil, nil
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
	s.stuck = s.stuck || s.writer.Stuck()
	s.writer = nil
	x.Drives, x.Missing = result.Drives, result.Missing
	return nil
}
