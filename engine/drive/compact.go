package drive

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"holdfast/engine"
	"holdfast/observe"
)

const (
	// sparsePart says when a sealed segment is sparse: when shards take no more than one part in so many of it. With 4, no more than a byte is moved for
	// three that the file gives back, and no more than a byte for three that were written: it takes four bytes written to fill a segment, and of those
	// at most one is moved out of it. Half of a segment would be a byte for each; an eighth would leave eight files where one will do.
	sparsePart = 4
	// compactBytes is what a step moves at most, and the memory that it does so with.
	compactBytes = 1 << 20
	// compactRows is how many rows a step looks at for shards of the segments.
	compactRows = 1000
	// compactShards bounds the shards of a compaction, whose ids are held in memory; they are found by one look at all rows.
	compactShards = 32 << 10
)

// The steps of a compaction that the recorder knows.
var (
	stepFind   = observe.NewStep("drive: shards of sparse segments are looked for")
	stepGather = observe.NewStep("drive: shards are moved out of sparse segments")
)

// Compaction moves the shards that are left in sparse segments into open ones, so that the files of the former go. A shard is at the old place or the new
// one, whole, whenever the power goes; one that is deleted or replaced meanwhile stays so; readers notice nothing. It has one user, who ends it
// with Close.
type Compaction struct {
	d        *Drive
	segments []*sparse // those with the fewest live bytes first
	numbers  map[uint32]*sparse
	after    engine.ShardID // rows up to it were looked at
	found    bool           // all rows were
	at       int            // of the segment that is being emptied
	settled  int            // segments before it are done with
	current  *move          // a shard that is too large for one step; nil: none
}

// sparse is a segment that is to be emptied.
type sparse struct {
	segment *segment
	live    int64
	count   int
	shards  []located // that are still to be moved, in the order of their offsets
	bad     bool      // a shard cannot be read
}

// located is a shard and its offset in a segment.
type located struct {
	id     engine.ShardID
	offset int64
}

// move is a shard on its way.
type move struct {
	w    *ShardWriter
	p    place // where it was
	from *sparse
}

// Compacted is what a step of a compaction did.
type Compacted struct {
	Rows     int              // that were looked at
	Segments int              // that have no shards any more; their files are being removed
	Shards   int              // moved
	Bytes    int64            // of these shards, or written of one that is not moved yet
	Bad      []engine.ShardID // could not be read or fail their checksums; they stay where they are, and what is left in their segments, too
}

// Compact chooses sparse segments; nil if there are none that are worth it. It waits for nothing. The shards of one sparse segment must fit the open ones,
// or else the drive would have a file more for one that goes.
func (d *Drive) Compact() *Compaction {
	if d.identity.Role == RoleWitness || d.Failed() != nil {
		return nil
	}
	list, room := d.segments.sparse()
	if len(list) == 0 || len(list) == 1 && room < list[0].live {
		return nil
	}
	slices.SortFunc(list, func(a, b *sparse) int {
		return cmp.Or(cmp.Compare(a.live, b.live), cmp.Compare(a.segment.number, b.segment.number))
	})
	n, shards := 0, 0
	for n < len(list) && (n == 0 || shards+list[n].count <= compactShards) {
		shards += list[n].count
		n++
	}
	c := &Compaction{d: d, segments: list[:n], numbers: make(map[uint32]*sparse, n)}
	for _, s := range c.segments {
		c.numbers[s.segment.number] = s
	}
	return c
}

// sparse returns the segments that may be compacted, and how much room the open ones have. One with writers has its file open for writing.
func (s *segments) sparse() (list []*sparse, room int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.all {
		switch {
		case g.write != nil:
			room += g.size - g.next
		case g.isSparse():
			list = append(list, &sparse{segment: g, live: g.live, count: g.shards})
		}
	}
	return list, room
}

// isSparse reports whether a segment is sealed, and little of it live. The lock is held.
func (g *segment) isSparse() bool {
	return g.write == nil && g.writers == 0 && !g.gone && !g.removed && g.live > 0 && g.live <= g.size/sparsePart && g.live != g.left
}

// Step does a bounded part of the compaction: it looks at some rows, or moves at most 1 MiB. It answers whether there is more to do. An error ends the
// compaction: KindDriveFull if there is no room for what is moved, ErrFailed, ErrClosed, that of the context.
func (c *Compaction) Step(ctx context.Context) (did Compacted, more bool, err error) {
	if err := c.d.Failed(); err != nil {
		return did, false, err
	}
	if !c.found {
		did.Rows, err = c.find()
		return did, err == nil, err
	}
	defer stepGather.Enter().Leave()
	err = c.gather(ctx, &did)
	c.settle(&did)
	return did, err == nil && (c.at < len(c.segments) || c.current != nil), err
}

// Close ends the compaction. What was moved is moved; the room of a shard that was on its way is given back.
func (c *Compaction) Close() {
	if c.current != nil {
		c.current.w.Abort()
		c.current = nil
	}
}

// find looks at some rows for shards of the segments. Nothing is added to these meanwhile: they are sealed.
func (c *Compaction) find() (rows int, err error) {
	defer stepFind.Enter().Leave()
	if err := c.d.enter(); err != nil {
		return 0, err
	}
	defer c.d.life.RUnlock()
	it, err := c.d.db.NewIter(&pebble.IterOptions{LowerBound: append(shardKey(c.after), 0), UpperBound: shardRange[1]})
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok && rows < compactRows && err == nil; ok = it.Next() {
		rows++
		var p place
		if c.after, err = decodeShardKey(it.Key()[len(shardKeys):]); err != nil {
			break
		}
		if p, err = decodePlace(it.Value()); err != nil {
			break
		}
		if s := c.numbers[p.segment]; s != nil {
			s.shards = append(s.shards, located{c.after, p.offset})
		}
	}
	if err = errors.Join(err, it.Close()); err != nil || rows == compactRows {
		return rows, err
	}
	c.found = true
	for _, s := range c.segments {
		slices.SortFunc(s.shards, func(a, b located) int { return cmp.Compare(a.offset, b.offset) })
	}
	return rows, nil
}

// gather moves as much as a step may. What is whole at the new place is recorded whatever ends the step.
func (c *Compaction) gather(ctx context.Context, did *Compacted) error {
	b := c.d.buffers.Get(compactBytes)
	defer c.d.buffers.Put(b)
	var whole []*move
	var failed error
	for used := int64(0); used < compactBytes; {
		if c.current == nil {
			if c.current, failed = c.begin(); c.current == nil {
				break
			}
		}
		n := c.current.left()
		if used > 0 && used+roundUp(n) > compactBytes {
			break // a step of its own
		}
		n = min(n, compactBytes)
		var ended bool
		if ended, failed = c.piece(b[used : used+roundUp(n)][:n], did); failed != nil {
			break
		}
		used += roundUp(n)
		if ended {
			whole = append(whole, c.current)
			c.current = nil
		}
	}
	return cmp.Or(failed, c.record(ctx, whole, did))
}

// begin reserves room for the next shard that is still where it was found; nil if there is none.
func (c *Compaction) begin() (*move, error) {
	for ; c.at < len(c.segments); c.at++ {
		s := c.segments[c.at]
		for len(s.shards) > 0 && !s.bad {
			id := s.shards[0].id
			s.shards = s.shards[1:]
			p, err := c.d.lookup(id)
			if errors.Is(err, ErrNoShard) || err == nil && p.segment != s.segment.number {
				continue // deleted or replaced meanwhile
			}
			if err != nil {
				return nil, err
			}
			g, offset, err := c.d.segments.reserveMoved(p.room(), len(c.segments)-c.at)
			if err != nil {
				return nil, err
			}
			return &move{&ShardWriter{d: c.d, id: id, segment: g, offset: offset, reserved: p.room(), limit: p.bytes, from: &p}, p, s}, nil
		}
	}
	return nil, nil
}

// reserveMoved finds room for a shard that is moved: in the open segment with the most live bytes, where what stays long is beside its like. A new
// segment is made only where at least two go for it, and where the file system has room for yet another, for those who write.
func (s *segments) reserveMoved(bytes int64, going int) (*segment, int64, error) {
	mostLive := func(a, b *segment) int { return cmp.Or(cmp.Compare(b.live, a.live), leastRoom(a, b)) }
	if g, offset := s.take(bytes, mostLive); g != nil {
		return g, offset, nil
	}
	s.creating.Lock()
	defer s.creating.Unlock()
	for {
		if g, offset := s.take(bytes, mostLive); g != nil {
			return g, offset, nil
		}
		usage, err := s.d.fsys.Usage()
		if err != nil {
			return nil, 0, s.d.fail(err)
		}
		if reserve := s.d.geometry.ReserveBytes; going < 2 || usage.Free-reserve < 2*s.d.geometry.SegmentBytes {
			return nil, 0, full(bytes, usage.Free, reserve)
		}
		if err := s.create(s.d.geometry.SegmentBytes); err != nil {
			return nil, 0, err
		}
	}
}

// left returns how many bytes of the shard are not at the new place yet.
func (m *move) left() int64 { return m.p.bytes - m.w.written }

// piece copies the next bytes of the current shard by way of b, whose room reaches to the next block. ended says that the shard is whole at the new
// place. A shard that cannot be read ends as current, and so does one that is gone.
func (c *Compaction) piece(b []byte, did *Compacted) (ended bool, err error) {
	m := c.current
	off := m.w.written
	if err := c.d.verifyPlace(m.w.id, m.p, off, b); err != nil {
		c.Close()
		now, lost := c.d.lookup(m.w.id)
		switch {
		case lost == nil && now.at(m.p):
			did.Bad = append(did.Bad, m.w.id)
			m.from.bad = true
		case lost != nil && !errors.Is(lost, ErrNoShard):
			return false, lost
		}
		return false, nil
	}
	first := unitsOf(off)
	if err := m.w.Write(b, m.p.sums[first:first+unitsOf(int64(len(b)))]); err != nil {
		c.Close()
		return false, err
	}
	did.Bytes += int64(len(b))
	if m.left() > 0 {
		return false, nil
	}
	if err := m.w.complete(); err != nil {
		c.Close()
		return false, err
	}
	m.w.putRest()
	return true, nil
}

// record makes moves durable: first the bytes, by one sync for each segment that they went to, then the records. The old places are free once these are
// durable, like those of shards that are deleted.
func (c *Compaction) record(ctx context.Context, moves []*move, did *Compacted) error {
	defer func() {
		for _, m := range moves {
			m.w.Abort() // does nothing to one whose record is on its way
		}
	}()
	synced := map[*segment]bool{}
	for _, m := range moves {
		if synced[m.w.segment] {
			continue
		}
		synced[m.w.segment] = true
		if err := m.w.segment.syncs.do(m.w.sync); err != nil {
			return c.d.fail(err)
		}
	}
	done := make(chan error, len(moves))
	for _, m := range moves {
		m.w.record(func(err error) { done <- err })
	}
	var failed error
	for range moves {
		select {
		case err := <-done:
			if err == nil {
				did.Shards++
			} else if !errors.Is(err, errElsewhere) {
				failed = cmp.Or(failed, err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return failed
}

// settle counts the segments that are done with, and has those passed over from now on whose shards cannot be read.
func (c *Compaction) settle(did *Compacted) {
	s := c.d.segments
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; c.settled < c.at; c.settled++ {
		of := c.segments[c.settled]
		if of.bad {
			of.segment.left = of.segment.live
		} else if of.segment.live == 0 {
			did.Segments++
		}
	}
}
