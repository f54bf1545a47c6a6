package meta

import (
	"crypto/sha256"
	"encoding/binary"

	"holdfast/engine"
)

// A file that is patched often lies in many pieces. A patch that leaves too many notes that in a row; a keeper looks there for what is worth writing anew, and
// puts it in the place of what is there. Only a content that one inode alone has is changed so, and of it only what nobody else names: what is shared with a
// copy or an older version would be there twice.

const (
	// runsScattered is how many runs a file may gain after it was looked at before it is looked at again. The extents of 64 pieces are 64 seeks on each
	// drive that has them, which is what reading 8 MiB costs; and of a file with as few pieces rewriting gains little.
	runsScattered = 64
	// depthScattered is the most levels beneath a content that are left as they are. A content that has bytes counts as three of them, see levels.
	depthScattered = 4
	// smallRun is the length from which on a run is left as it is: to read it costs more than to find it.
	smallRun = 256 << 10
	// GroupContents is the fewest contents that are worth being made one, and GroupBytesMax the most bytes that are written anew by one command.
	GroupContents = 8
	GroupBytesMax = 8 << 20
	// holeKept is the length of holes from which on a group ends. Shorter ones lie in it, and stay holes.
	holeKept = 64 << 10
	// wastedBytes is what a content must have that nobody names, and wastedShare how many times as much as what is named, before that is written anew.
	wastedBytes = 1 << 20
	wastedShare = 4
	// compactRuns is the most runs that a Compact replaces, and expandRuns the most that it puts in the place of nested ones.
	compactRuns = 1000
	expandRuns  = 500
)

// Compact replaces the runs of a range of a file's content, and changes nothing that anybody sees of the file. With Data, which has the bytes of all that
// is no hole, one content comes in their place; without it the runs that the contents there name, so that they nest less. Sum is that of RangeSum for
// what the sender saw. KindConflict if something else is there by now, or the content has another user.
type Compact struct {
	Bucket         engine.BucketID
	Inode          uint64
	Offset, Length int64
	Sum            [16]byte
	Data           Data
}

func (*Compact) opcode() byte { return opCompact }
func (c *Compact) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.uint(c.Inode)
	e.uint(uint64(c.Offset))
	e.uint(uint64(c.Length))
	e.b = append(e.b, c.Sum[:]...)
	e.data(&c.Data)
}
func (c *Compact) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Inode = d.uint()
	c.Offset = int64(d.uint())
	c.Length = int64(d.uint())
	c.Sum = d.md5()
	c.Data = d.data()
}

// Settle says that nothing of a file is worth being written anew: it is looked at again when it has gained runs. Depth is what the sender found to be the
// levels of contents beneath its content, and Sequence the change that made what he looked at; KindConflict if it is another by now.
type Settle struct {
	Bucket   engine.BucketID
	Inode    uint64
	Sequence engine.Sequence
	Depth    uint64
}

func (*Settle) opcode() byte { return opSettle }
func (c *Settle) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.uint(c.Inode)
	e.uint(uint64(c.Sequence))
	e.uint(c.Depth)
}
func (c *Settle) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Inode = d.uint()
	c.Sequence = engine.Sequence(d.uint())
	c.Depth = d.uint()
}

// scattered finds the content of a file that may be compacted.
func (a *apply) scattered(bucket engine.BucketID, inode uint64, i *inodeRow, r *contentRow) *Answer {
	if !a.mustLoad(key16(rowInode, uint64(bucket), inode), i) || i.kind != inodeFile {
		return failed(engine.KindConflict, "the file %d is gone", inode)
	}
	if a.mustLoad(key8(rowContent, i.content), r); !r.ends || r.refs != 1 {
		return failed(engine.KindConflict, "the file %d shares its content by now, or has another", inode)
	}
	return nil
}

func (a *apply) compact(c *Compact) *Answer {
	var inode inodeRow
	p := patching{a: a}
	if refusal := a.scattered(c.Bucket, c.Inode, &inode, &p.row); refusal != nil {
		return refusal
	}
	p.id = inode.content
	if c.Offset < 0 || c.Length <= 0 || c.Offset > p.row.size || c.Length > p.row.size-c.Offset {
		return failed(engine.KindConflict, "the file %d has %d bytes by now", c.Inode, p.row.size)
	}
	runs, sum, err := RangeSum(a.view, p.id, c.Offset, c.Length)
	switch {
	case err != nil:
		panic(storeError{err})
	case sum != c.Sum:
		return failed(engine.KindConflict, "the file %d changed", c.Inode)
	case len(runs) > compactRuns:
		return failed(engine.KindInternal, "%d runs are to be compacted by one command; at most %d may be", len(runs), compactRuns)
	}
	var fresh []Run
	var refusal *Answer
	if c.Data.Size > 0 {
		fresh, refusal = a.rewritten(c, runs)
	} else {
		fresh, refusal = a.expanded(c, &p)
	}
	if refusal != nil {
		return refusal
	}
	p.put(c.Offset, c.Length, fresh)
	a.setContent(p.id, &p.row)
	return &Answer{Left: uint64(p.row.count)}
}

// rewritten makes one content of data, and runs of it in the place of those that have their bytes; holes stay.
func (a *apply) rewritten(c *Compact, runs []RangeRun) (fresh []Run, refusal *Answer) {
	at := int64(0)
	for i := range runs {
		run := Run{Length: runs[i].Length}
		if !runs[i].Hole() {
			run.Content, run.Offset = 1, at // the id is not known yet
			at += run.Length
		}
		fresh = joined(fresh, run)
	}
	if at != c.Data.Size || c.Data.Staged != 0 {
		return nil, failed(engine.KindInternal, "%d bytes are to take the place of %d", c.Data.Size, at)
	}
	if refusal := a.checkData(&c.Data); refusal != nil {
		return nil, refusal
	}
	id := a.addData(&c.Data, partSum{})
	var r contentRow
	a.mustLoad(key8(rowContent, id), &r)
	r.refs = 0
	for i := range fresh {
		if fresh[i].Content != 0 {
			fresh[i].Content = id
			r.refs++
		}
	}
	a.setContent(id, &r)
	return fresh, nil
}

// joined appends a run to runs, to the last of them if it goes on there.
func joined(runs []Run, run Run) []Run {
	if len(runs) > 0 {
		last := &runs[len(runs)-1]
		switch {
		case run.Hole() && last.Hole(), run.Content != 0 && run.Content == last.Content && run.Offset == last.Offset+last.Length:
			last.Length += run.Length
			return runs
		}
	}
	return append(runs, run)
}

// expanded returns what the contents in a range name, with a reference for each run.
func (a *apply) expanded(c *Compact, p *patching) (fresh []Run, refusal *Answer) {
	for _, run := range a.leaves(p.id, c.Offset, c.Length, expandRuns, 0) {
		fresh = joined(fresh, run)
	}
	found := int64(0)
	for i := range fresh {
		found += fresh[i].Length
	}
	switch {
	case len(fresh) > expandRuns || p.row.count+len(fresh) > engine.FilePiecesMax:
		return nil, failed(engine.KindInternal, "%d runs are to come into a file of %d; at most %d may, by one command, and %d in all", len(fresh), p.row.count, expandRuns,
			engine.FilePiecesMax)
	case found != c.Length:
		return nil, failed(engine.KindDamaged, "the metadata has %d of %d bytes of the file %d", found, c.Length, c.Inode)
	}
	for i := range fresh {
		a.retainRun(&fresh[i])
	}
	return fresh, nil
}

func (a *apply) settle(c *Settle) *Answer {
	var inode inodeRow
	var r contentRow
	if refusal := a.scattered(c.Bucket, c.Inode, &inode, &r); refusal != nil {
		return refusal
	}
	if inode.sequence != c.Sequence {
		return failed(engine.KindConflict, "the file %d changed", c.Inode)
	}
	r.settled, r.depth = uint64(r.count), c.Depth
	a.setContent(inode.content, &r)
	a.view.Delete(scatteredKey(c.Bucket, c.Inode))
	return &Answer{}
}

func scatteredKey(bucket engine.BucketID, inode uint64) []byte {
	return key16(rowScattered, uint64(bucket), inode)
}

// isScattered judges a content that was changed.
func (p *patching) isScattered() bool {
	more := uint64(p.row.count) > p.row.settled+runsScattered
	return more || p.wasteful || p.row.depth > max(depthScattered, p.depthBefore)
}

// noteScattered has a keeper look at a file that lies in too many pieces since it was changed, and not at one that was written anew.
func (a *apply) noteScattered(bucket engine.BucketID, inode uint64, p *patching) {
	key := scatteredKey(bucket, inode)
	switch {
	case p.isScattered():
		a.view.Set(key, []byte{rowFormat})
	case p.fresh && a.has(key):
		a.view.Delete(key)
	}
}

// RangeSum reads the runs of a range of a content, cut to it, and what a Compact calls their sum: the first 16 bytes of a SHA-256. ErrAbsent.
func RangeSum(view View, content uint64, offset, length int64) (runs []RangeRun, sum [16]byte, err error) {
	found, err := LoadRange(view, content, offset, length)
	if err != nil {
		return nil, sum, err
	}
	e := encoder{}
	e.uint(content)
	for i := range found.Runs {
		e.uint(uint64(found.Runs[i].Start))
		e.run(&found.Runs[i].Run)
	}
	h := sha256.Sum256(e.b)
	copy(sum[:], h[:])
	return found.Runs, sum, nil
}

// ScatteredFile names a file that a keeper is to look at.
type ScatteredFile struct {
	Bucket engine.BucketID
	Inode  uint64
}

// ListScattered returns up to max files that lie in too many pieces, greater than after in order.
func ListScattered(view View, after ScatteredFile, max int) (list []ScatteredFile, err error) {
	from := append(key16(rowScattered, uint64(after.Bucket), after.Inode)[1:], 0)
	err = scan(view, []byte{rowScattered}, from, func(key, _ []byte) (bool, error) {
		list = append(list, ScatteredFile{engine.BucketID(binary.BigEndian.Uint64(key[1:])), binary.BigEndian.Uint64(key[9:])})
		return len(list) < max, nil
	})
	return list, err
}

// ListPatched is ListScattered for all files that were ever patched.
func ListPatched(view View, after ScatteredFile, max int) (list []ScatteredFile, err error) {
	from := append(key16(rowInode, uint64(after.Bucket), after.Inode)[1:], 0)
	err = scan(view, []byte{rowInode}, from, func(key, value []byte) (bool, error) {
		var r inodeRow
		err := parse(key, value, &r)
		if r.etag.patched() {
			list = append(list, ScatteredFile{engine.BucketID(binary.BigEndian.Uint64(key[1:])), binary.BigEndian.Uint64(key[9:])})
		}
		return len(list) < max, err
	})
	return list, err
}

// CountScattered returns how many files lie in too many pieces.
func CountScattered(view View) (n int, err error) {
	err = scan(view, []byte{rowScattered}, nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	return n, err
}

// Compaction is what there is to do about a file.
type Compaction struct {
	Ranges []CompactRange
	Runs   int // that the file lies in
	Class  engine.StorageClass
	Settle *Settle // to be sent if there are no ranges
}

// CompactRange is a range of a file whose runs are to be replaced.
type CompactRange struct {
	Offset, Length int64
	Size           int64 // of what is no hole
	Runs           int   // that are there
	Expand         bool  // what they name is to come in their place, and nothing is written
	Sum            [16]byte
}

// PlanCompaction looks at a file for ranges of at most bytesMax, in which at least contentsMin contents lie, that are worth being written anew, and for contents
// that nest too deep or keep too much that nobody names. ErrAbsent if the file is gone, or its bucket, or shares its content: then it stays as it is.
func PlanCompaction(view View, f ScatteredFile, bytesMax int64, contentsMin int) (*Compaction, error) {
	var inode inodeRow
	has, err := HasBucket(view, f.Bucket)
	if err == nil && has {
		has, err = load(view, key16(rowInode, uint64(f.Bucket), f.Inode), &inode)
	}
	if err != nil || !has {
		return nil, errAbsentOr(err)
	}
	p := planner{view: view, id: inode.content, bytesMax: bytesMax, contentsMin: contentsMin, contents: map[uint64]*contentSeen{}}
	if ok, err := load(view, key8(rowContent, p.id), &p.row); err != nil || !ok || !p.row.ends || p.row.refs != 1 {
		return nil, errAbsentOr(err)
	}
	if err := p.look(); err != nil {
		return nil, err
	}
	if err := p.walk(); err != nil {
		return nil, err
	}
	p.plan.Runs, p.plan.Class = p.row.count, inode.class
	p.plan.Settle = &Settle{Bucket: f.Bucket, Inode: f.Inode, Sequence: inode.sequence, Depth: p.depth}
	return &p.plan, nil
}

func errAbsentOr(err error) error {
	if err != nil {
		return err
	}
	return ErrAbsent
}

// planner is one look at a file.
type planner struct {
	view     View
	id       uint64
	row      contentRow
	runs     []RangeRun
	contents map[uint64]*contentSeen
	depth    uint64
	plan     Compaction
	group    grouping

	bytesMax    int64
	contentsMin int
}

// contentSeen is a content that the file names.
type contentSeen struct {
	refs, ours uint64 // how many name it, and how many of them are runs of the file
	size       int64
	named      int64 // bytes of it that the file has
	levels     uint64
	nests      bool // it names contents itself
	ends       bool
}

// alone says that nobody but the file has the content.
func (c *contentSeen) alone() bool { return c.refs == c.ours }

// wasteful says that most of the content is there for nobody.
func (c *contentSeen) wasteful() bool {
	return c.alone() && c.size-c.named >= wastedBytes && c.named < c.size/wastedShare
}

// look reads the runs, and what they name.
func (p *planner) look() error {
	found, err := LoadRange(p.view, p.id, 0, p.row.size)
	if err != nil {
		return err
	}
	p.runs = found.Runs
	for i := range p.runs {
		run := &p.runs[i]
		if run.Hole() {
			continue
		}
		c := p.contents[run.Content]
		if c == nil {
			if c, err = seeContent(p.view, run.Content); err != nil {
				return err
			}
			p.contents[run.Content] = c
			p.depth = max(p.depth, c.levels+1)
		}
		c.ours++
		c.named += run.Length
	}
	return nil
}

func seeContent(view View, id uint64) (*contentSeen, error) {
	var r contentRow
	if ok, err := load(view, key8(rowContent, id), &r); err != nil || !ok {
		return nil, errAbsentOr(err)
	}
	c := &contentSeen{refs: r.refs, size: r.size, levels: r.levels(), ends: r.ends, nests: r.ends}
	if r.inline || r.ends {
		return c, nil
	}
	// Its runs are extents of its own, or it has none of these.
	var first runRow
	if len(r.runs) > 0 {
		first.Run = r.runs[0]
	} else if _, err := load(view, key16(rowRun, id, 0), &first); err != nil {
		return nil, err
	}
	c.nests = first.Content != 0 || first.Hole()
	return c, nil
}

// walk goes through the runs and gathers ranges.
func (p *planner) walk() error {
	left := engine.FilePiecesMax/2 - p.row.count // runs that may still be added
	for i := range p.runs {
		run := &p.runs[i]
		if run.Hole() {
			if err := p.addHole(run); err != nil {
				return err
			}
			continue
		}
		c := p.contents[run.Content]
		if c.nests && (p.depth > depthScattered && c.levels >= depthScattered || c.alone() && (c.ends || c.wasteful())) {
			expanded, err := p.expand(run, left)
			if err != nil {
				return err
			}
			if left -= expanded; expanded > 0 {
				continue
			}
		}
		if err := p.addRun(run, c); err != nil {
			return err
		}
	}
	return p.endGroup()
}

// expand has what a run's content names come into its place, unless that is more than there is room for.
func (p *planner) expand(run *RangeRun, room int) (expanded int, err error) {
	if room <= 0 {
		return 0, nil
	}
	if err := p.endGroup(); err != nil {
		return 0, err
	}
	list, err := leaves(p.view, run.Content, run.Offset, run.Length, room, 0)
	if err != nil || len(list) > room {
		return 0, err
	}
	start := run.Start
	for at := 0; at < len(list); at += expandRuns {
		length := int64(0)
		for _, leaf := range list[at:min(at+expandRuns, len(list))] {
			length += leaf.Length
		}
		if err := p.addRange(CompactRange{Offset: start, Length: length, Expand: true}); err != nil {
			return 0, err
		}
		start += length
	}
	return len(list), nil
}

// grouping is a group of neighbouring runs that may be worth being made one.
type grouping struct {
	start, end int64 // end is that of the last run which is no hole
	size       int64
	runs       int
	contents   map[uint64]bool
	wasteful   bool
}

func (p *planner) addHole(run *RangeRun) error {
	if run.Length >= holeKept || p.group.runs+1 >= compactRuns {
		return p.endGroup()
	}
	if p.group.size > 0 {
		p.group.runs++
	}
	return nil
}

// addRun adds a run to the group, or ends the group there.
func (p *planner) addRun(run *RangeRun, c *contentSeen) error {
	wasteful := c.wasteful()
	if !c.alone() || run.Length >= smallRun && !wasteful {
		return p.endGroup()
	}
	for start, end := run.Start, run.Start+run.Length; start < end; {
		if p.group.size >= p.bytesMax || p.group.runs >= compactRuns || p.group.size > 0 && !wasteful && p.group.size+end-start > p.bytesMax {
			if err := p.endGroup(); err != nil {
				return err
			}
		}
		g := &p.group
		if g.size == 0 {
			*g = grouping{start: start, contents: map[uint64]bool{}}
		}
		n := min(end-start, p.bytesMax-g.size)
		g.contents[run.Content] = true
		g.wasteful = g.wasteful || wasteful
		g.size += n
		g.runs++
		start += n
		g.end = start
	}
	return nil
}

func (p *planner) endGroup() error {
	g := p.group
	p.group = grouping{}
	if g.size == 0 || len(g.contents) < p.contentsMin && !g.wasteful {
		return nil
	}
	return p.addRange(CompactRange{Offset: g.start, Length: g.end - g.start, Size: g.size})
}

func (p *planner) addRange(r CompactRange) error {
	runs, sum, err := RangeSum(p.view, p.id, r.Offset, r.Length)
	r.Runs, r.Sum = len(runs), sum
	p.plan.Ranges = append(p.plan.Ranges, r)
	return err
}

// Piece is some bytes of a content: those of a row, or those of an extent.
type Piece struct {
	Inline []byte
	Extent engine.ExtentID // if Inline is nil
	Offset int64
	Length int64
}

// LoadPieces returns where the bytes of a range are that is to be written anew, without the holes. ErrAbsent if the file is gone, or something else is there.
func LoadPieces(view View, f ScatteredFile, r *CompactRange) (pieces []Piece, err error) {
	var inode inodeRow
	if ok, err := load(view, key16(rowInode, uint64(f.Bucket), f.Inode), &inode); err != nil || !ok {
		return nil, errAbsentOr(err)
	}
	if _, sum, err := RangeSum(view, inode.content, r.Offset, r.Length); err != nil || sum != r.Sum {
		return nil, errAbsentOr(err)
	}
	return loadPieces(view, nil, inode.content, r.Offset, r.Length, 0)
}

func loadPieces(view View, pieces []Piece, id uint64, offset, length int64, depth int) ([]Piece, error) {
	found, err := LoadRange(view, id, offset, length)
	if err != nil || depth > depthMax {
		return nil, errAbsentOr(err)
	}
	if found.IsInline {
		return append(pieces, Piece{Inline: found.Inline, Length: int64(len(found.Inline))}), nil
	}
	for i := range found.Runs {
		run := &found.Runs[i]
		switch {
		case run.Hole():
		case run.Content == 0:
			pieces = append(pieces, Piece{Extent: run.Extent, Offset: run.Offset, Length: run.Length})
		default:
			if pieces, err = loadPieces(view, pieces, run.Content, run.Offset, run.Length, depth+1); err != nil {
				return nil, err
			}
		}
	}
	return pieces, nil
}
