package meta

import (
	"encoding/binary"

	"holdfast/engine"
)

// PatchPiece is a piece of a patch as a command has it, see engine.Piece: bytes that it brings, or those of another file, or a hole.
type PatchPiece struct {
	Offset, Length int64
	Data           Data // if Size is not 0
	MD5            [16]byte
	From           NodeRef // if its Node is not 0
	FromOffset     int64
	Keep           bool
}

// PatchFile changes the content of a file. Clock is as in Put.
type PatchFile struct {
	File     NodeRef
	Pieces   []PatchPiece
	Size     *int64
	If       engine.Sequence
	Modified *int64 // unix nanoseconds or timeNow
	Clock    int64
}

// NewPatchFile makes a command without pieces.
func NewPatchFile(f NodeRef, p *engine.Patch) *PatchFile {
	return &PatchFile{File: f, Size: p.Size, If: p.If, Modified: unixOf(p.Modified)}
}

func (*PatchFile) opcode() byte { return opPatchFile }
func (c *PatchFile) encode(e *encoder) {
	e.node(&c.File)
	e.uint(uint64(len(c.Pieces)))
	for i := range c.Pieces {
		p := &c.Pieces[i]
		e.int(p.Offset)
		e.uint(uint64(p.Length))
		e.data(&p.Data)
		e.b = append(e.b, p.MD5[:]...)
		e.node(&p.From)
		e.uint(uint64(p.FromOffset))
		e.bool(p.Keep)
	}
	e.optional(c.Size)
	e.uint(uint64(c.If))
	e.optional(c.Modified)
	e.int(c.Clock)
}
func (c *PatchFile) decode(d *decoder) {
	c.File = d.node()
	for range d.count() {
		p := PatchPiece{Offset: d.int(), Length: int64(d.uint()), Data: d.data(), MD5: d.md5()}
		p.From = d.node()
		p.FromOffset = int64(d.uint())
		p.Keep = d.bool()
		if p.Length < 0 || p.FromOffset < 0 {
			d.fail()
		}
		if d.err != nil {
			return
		}
		c.Pieces = append(c.Pieces, p)
	}
	c.Size = d.optional()
	c.If = engine.Sequence(d.uint())
	c.Modified = d.optional()
	c.Clock = d.int()
}

// placing is a piece whose place is known.
type placing struct {
	offset, length int64
	runs           []Run // of another file; each holds a reference
	data           *Data
}

func (a *apply) patchFile(c *PatchFile) *Answer {
	b, n, refusal := a.file(&c.File)
	if refusal != nil {
		return refusal
	}
	switch {
	case n.inode.kind == inodeDirectory:
		return failed(engine.KindIsDirectory, "a directory has no content")
	case n.inode.of != engine.TypeRegular:
		return failed(engine.KindBucketState, "the node is not a regular file; its content does not change")
	case c.If != 0 && c.If != n.inode.sequence:
		return failed(engine.KindConflict, "the file changed: its sequence is %d, not %d", n.inode.sequence, c.If)
	}
	keep := !n.nameless() && (b.versioning == engine.VersioningEnabled || n.path.entry.named)
	plan, tag, refusal := a.planPatch(c, n, keep)
	if refusal != nil {
		return refusal
	}
	lock, refusal := a.lockNew(&b, engine.Lock{}, c.Clock)
	if refusal != nil {
		return refusal
	}
	// From here on nothing is refused.
	before := n.inode
	change := a.raise(c.File.Bucket, &b, engine.ChangePatched)
	if n.nameless() {
		change.ofNode(n)
	} else if change.at(n.path) != nil {
		change.row.inPlace = !keep
	}
	if keep {
		a.keepVersion(&b, n.path, &before)
	}
	r := &n.inode
	changed := a.patched(r.content, plan, tag.size)
	r.content, r.size = changed.id, tag.size
	a.noteScattered(c.File.Bucket, n.id, changed)
	r.etag = etag{md5: engine.PatchTag(r.etag.md5, tag.pieces, r.size), parts: patchedParts}
	if r.posix.born == 0 {
		r.posix.born = r.stamp
	}
	r.sequence, r.stamp = b.sequence, a.header.Stamp
	r.checksum, r.upload = engine.Checksum{}, ""
	if r.posix.modified = 0; c.Modified != nil {
		r.posix.modified = a.storedTime(*c.Modified)
	}
	if keep {
		r.Lock = lock
		entry := r.entry(n.id, &b)
		d := a.push(n.path, &entry)
		d.locked += locked(&lock)
		a.count(n.path, d)
	} else {
		a.renew(n, before.size)
	}
	a.view.Set(key16(rowInode, uint64(c.File.Bucket), n.id), r.encode())
	a.view.Set(key8(rowBucket, uint64(c.File.Bucket)), b.encode())
	return a.fileAnswer(&b, c.File.Bucket, n.id)
}

// renew has every name of a file say what its inode says, whose size was another.
func (a *apply) renew(n *node, size int64) {
	for _, p := range a.names(n) {
		entry := p.entry
		entry.sequence, entry.stamp, entry.size, entry.etag = n.inode.sequence, n.inode.stamp, n.inode.size, n.inode.etag
		a.view.Set(entryKey(p.bucket, p.leaf(), p.name), entry.encode())
		if n.inode.size != size {
			a.count(p, delta{bytes: n.inode.size - size, all: n.inode.size - size})
		}
	}
}

// tagging is what the new ETag is made of.
type tagging struct {
	pieces []engine.PatchedPiece
	size   int64
}

// planPatch judges a patch and finds where its pieces go, and what they are. Shared says that an older version will have the content, too.
func (a *apply) planPatch(c *PatchFile, n *node, shared bool) (plan []placing, tag tagging, refusal *Answer) {
	if len(c.Pieces) > engine.PatchPiecesMax {
		return nil, tag, failed(engine.KindEntityTooLarge, "the patch has %d pieces; at most %d are allowed", len(c.Pieces), engine.PatchPiecesMax)
	}
	var held contentRow
	a.mustLoad(key8(rowContent, n.inode.content), &held)
	pieces := held.count
	size := n.inode.size
	for i := range c.Pieces {
		p := &c.Pieces[i]
		at := placing{offset: p.Offset, length: p.Length}
		if at.offset == engine.PieceEnd {
			at.offset = size
		}
		if p.Keep {
			at.length = min(at.length, max(0, size-at.offset))
		}
		if at.length == 0 {
			continue
		}
		if at.offset < 0 || at.length < 0 || at.length > engine.ObjectBytesMax || at.offset > engine.ObjectBytesMax-at.length {
			return nil, tag, failed(engine.KindEntityTooLarge, "the file would have more than %d bytes", engine.ObjectBytesMax)
		}
		tagged := engine.PatchedPiece{Offset: at.offset, Length: at.length, Sum: p.MD5}
		switch {
		case p.From.Node != 0:
			var sum [16]byte
			if at.runs, sum, refusal = a.cloned(p); refusal != nil {
				return nil, tag, refusal
			}
			tagged.Sum, tagged.From = sum, p.FromOffset
		case p.Data.Size != 0:
			if refusal := a.checkData(&p.Data); refusal != nil {
				return nil, tag, refusal
			}
			if p.Data.Size != p.Length {
				return nil, tag, failed(engine.KindInternal, "a piece of %d bytes brings %d", p.Length, p.Data.Size)
			}
			at.data = &p.Data
		}
		for j := range at.runs {
			shared = shared || at.runs[j].Content == n.inode.content // the piece names what the file has as a whole
		}
		pieces += 3 + len(at.runs)
		size = max(size, at.offset+at.length)
		plan, tag.pieces = append(plan, at), append(tag.pieces, tagged)
	}
	if c.Size != nil {
		size = *c.Size
	}
	if size < 0 || size > engine.ObjectBytesMax {
		return nil, tag, failed(engine.KindEntityTooLarge, "the file would have %d bytes; at most %d are allowed", size, engine.ObjectBytesMax)
	}
	if pieces > engine.FilePiecesMax && size > 0 {
		return nil, tag, failed(engine.KindEntityTooLarge, "the file lies in %d pieces; no more than %d are allowed, write it anew", held.count, engine.FilePiecesMax)
	}
	if shared = shared || !held.ends || held.refs > 1; shared {
		if refusal := a.mayBeNamed(n.inode.content, &held); refusal != nil {
			return nil, tag, refusal
		}
	}
	for i := range plan { // nothing is refused any more
		for j := range plan[i].runs {
			a.retainRun(&plan[i].runs[j])
		}
	}
	tag.size = size
	return plan, tag, nil
}

// cloneRuns is the most runs that a clone names one by one; of more it names the content that has them, so that it takes one.
const cloneRuns = 64

// cloned finds the bytes of another file that a piece has.
func (a *apply) cloned(p *PatchPiece) (runs []Run, sum [16]byte, refusal *Answer) {
	from, refusal := a.node(&p.From)
	switch {
	case refusal != nil:
		return nil, sum, refusal
	case from.inode.kind == inodeDirectory:
		return nil, sum, failed(engine.KindIsDirectory, "a directory has no content")
	case p.FromOffset > from.inode.size || p.Length > from.inode.size-p.FromOffset:
		return nil, sum, failed(engine.KindInvalidRange, "%d bytes at %d exceed the %d of the file that they are of", p.Length, p.FromOffset, from.inode.size)
	}
	id := from.inode.content
	runs = a.leaves(id, p.FromOffset, p.Length, cloneRuns, 0)
	if len(runs) > cloneRuns {
		runs = []Run{{Content: id, Offset: p.FromOffset, Length: p.Length}}
	}
	return runs, from.inode.etag.md5, nil
}

func (a *apply) retainRun(run *Run) {
	if run.Content != 0 {
		a.retain(run.Content)
	}
}

// patched applies a plan to a content of which the caller has a reference. What it returns has the content that has one in its place.
func (a *apply) patched(id uint64, plan []placing, size int64) *patching {
	var held contentRow
	a.mustLoad(key8(rowContent, id), &held)
	whole := false // the last piece that covers everything makes what was before it matter no more
	for i := range plan {
		whole = whole || plan[i].offset == 0 && plan[i].length >= size
	}
	if size == 0 || whole {
		id = a.replaced(id, contentRow{refs: 1, ends: true})
	} else {
		id = a.editable(id)
	}
	p := a.patching(id, held.levels())
	p.fresh = size == 0 || whole
	for i := range plan {
		at := &plan[i]
		runs := at.runs
		switch {
		case at.data != nil:
			runs = []Run{{Content: a.addData(at.data, partSum{}), Length: at.length}}
		case len(runs) == 0:
			runs = []Run{{Length: at.length}}
		}
		p.put(at.offset, at.length, runs)
	}
	p.resize(size)
	a.setContent(p.id, &p.row)
	return p
}

// replaced gives up a reference to a content and makes a new one.
func (a *apply) replaced(id uint64, r contentRow) uint64 {
	a.release(id)
	id = a.nextContent()
	a.setContent(id, &r)
	return id
}

const (
	// runsCopied is the most runs that are named anew when a file whose content has another user too is patched; of more the content itself is named.
	runsCopied = 200
	// depthPatched is the most levels of contents beneath one that patches change. What would go deeper is named run by run.
	depthPatched = 8
)

// editable makes a content that only the caller's inode has, and whose runs are keyed by their ends, of one to which the caller has a reference.
func (a *apply) editable(id uint64) uint64 {
	var r contentRow
	a.mustLoad(key8(rowContent, id), &r)
	switch {
	case r.ends && r.refs == 1:
		return id
	case r.size == 0:
		return a.replaced(id, contentRow{refs: 1, ends: true})
	}
	var runs []Run
	deep := r.levels()+1 > depthPatched
	if r.ends && r.count <= runsCopied || deep {
		runs = a.leavesOnce(id, &r, deep)
	}
	whole := contentRow{refs: 1, size: r.size, ends: true, depth: r.depth, settled: r.settled}
	if runs == nil {
		runs, whole.depth, whole.settled = []Run{{Content: id, Length: r.size}}, r.levels()+1, 0
	} else if deep {
		whole.depth = 1
	}
	for i := range runs {
		a.retainRun(&runs[i])
	}
	fresh := a.replaced(id, whole)
	end := int64(0)
	for i := range runs {
		end += runs[i].Length
		a.setRun(fresh, int(end), &runs[i])
	}
	whole.count = len(runs)
	a.setContent(fresh, &whole)
	return fresh
}

// mayBeNamed refuses to make another content of one that has another user too, where that takes more runs than a file may have.
func (a *apply) mayBeNamed(id uint64, r *contentRow) *Answer {
	if r.levels()+1 > depthPatched && len(a.leaves(id, 0, r.size, engine.FilePiecesMax/2, 0)) > engine.FilePiecesMax/2 {
		return failed(engine.KindEntityTooLarge, "the file shares pieces with others in too many ways; write it anew")
	}
	return nil
}

// leavesOnce returns the runs of a content, or if it lies too deep those of the contents that have bytes.
func (a *apply) leavesOnce(id uint64, r *contentRow, deep bool) (runs []Run) {
	if deep {
		return a.leaves(id, 0, r.size, engine.FilePiecesMax, 0)
	}
	a.each(key8(rowRun, id), func(key, value []byte) bool {
		runs = append(runs, mustRun(key, value))
		return true
	})
	return runs
}

// levels bounds how many levels of contents lie beneath one.
func (r *contentRow) levels() uint64 {
	switch {
	case r.ends:
		return r.depth
	case r.inline:
		return 0
	}
	return 2 // a completed upload names its parts, and those what they were copied from
}

// patching changes the runs of a content that only one inode has.
type patching struct {
	a   *apply
	id  uint64
	row contentRow

	depthBefore uint64 // levels of contents that there were beneath what the file had
	cleared     int    // runs that were taken out
	wasteful    bool   // a content may be named whose bytes are hardly named any more
	fresh       bool   // nothing is left of what it was
}

// patching begins to change a content; depth is how many levels there were beneath the one in whose place it may have come.
func (a *apply) patching(id, depth uint64) *patching {
	p := &patching{a: a, id: id, depthBefore: depth}
	a.mustLoad(key8(rowContent, id), &p.row)
	return p
}

// clearedMax is the most runs that one command takes out of a content one by one. Where there are more, what is left of the content is named by a new one.
const clearedMax = 1000

// nest comes before a range is taken out: where that has too many runs, the content becomes one that names what lies before the range and behind it in
// the former, and has a gap between. It does not nest deeper than contents may; then the runs stay to be taken out.
func (p *patching) nest(offset, length int64) {
	size := p.row.size
	left, right := min(offset, size), max(0, size-offset-length)
	if p.row.count <= clearedMax-p.cleared || p.row.depth+1 > depthPatched {
		return
	}
	over := p.cleared
	err := scan(p.a.view, key8(rowRun, p.id), binary.BigEndian.AppendUint64(nil, uint64(offset+1)), func(key, value []byte) (bool, error) {
		run, err := parseRun(value)
		if int64(binary.BigEndian.Uint64(key[9:]))-run.Length >= offset+length {
			return false, err
		}
		over++
		return over <= clearedMax, err
	})
	if err != nil {
		panic(storeError{err})
	}
	if over <= clearedMax {
		return
	}
	former := p.id
	p.a.setContent(former, &p.row)
	p.id, p.row, p.wasteful, p.cleared = p.a.nextContent(), contentRow{refs: 1, size: size, ends: true}, true, 0
	if left > 0 {
		p.set(left, &Run{Content: former, Length: left})
	}
	if right > 0 {
		p.set(size, &Run{Content: former, Offset: offset + length, Length: right})
	}
	switch {
	case left > 0 && right > 0:
		p.a.retain(former)
	case left == 0 && right == 0:
		p.a.release(former)
	}
}

// trimmed looks whether a content that a run named is there for little by now: left bytes in pieces are what the run still names. Where others name it, too, that
// takes a look at all of them; few are worth it.
func (p *patching) trimmed(run *Run, pieces uint64, left int64) {
	if run.Content == 0 {
		return
	}
	var r contentRow
	p.a.mustLoad(key8(rowContent, run.Content), &r)
	switch {
	case r.inline || r.size-left < wastedBytes || r.refs == 0:
	case pieces == 0 && r.refs <= 2, pieces > 0 && r.refs == pieces && left < r.size/wastedShare:
		p.wasteful = true
	}
}

func (p *patching) set(end int64, run *Run) {
	p.a.setRun(p.id, int(end), run)
	p.row.count++
	if run.Content != 0 {
		var r contentRow
		p.a.mustLoad(key8(rowContent, run.Content), &r)
		p.row.depth = max(p.row.depth, r.levels()+1)
	}
}

func (p *patching) release(run *Run) {
	if run.Content != 0 {
		p.a.release(run.Content)
	}
}

// put puts runs in the place of a range; their references are the content's then.
func (p *patching) put(offset, length int64, runs []Run) {
	if offset > p.row.size {
		p.set(offset, &Run{Length: offset - p.row.size})
		p.row.size = offset
	}
	p.nest(offset, length)
	p.clear(offset, length)
	end := offset
	for i := range runs {
		end += runs[i].Length
		p.set(end, &runs[i])
	}
	p.row.size = max(p.row.size, offset+length)
}

// clear takes a range out; the content has a gap there until the caller has put something in, or cut it.
func (p *patching) clear(offset, length int64) {
	type placed struct {
		end int64
		run Run
	}
	var over []placed
	it := p.a.view.Iterate(key16(rowRun, p.id, uint64(offset+1)), after(key8(rowRun, p.id)))
	for it.Next() {
		run := mustRun(it.Key(), it.Value())
		end := int64(binary.BigEndian.Uint64(it.Key()[9:]))
		if end-run.Length >= offset+length {
			break
		}
		over = append(over, placed{end, run})
	}
	if err := it.Close(); err != nil {
		panic(storeError{err})
	}
	p.cleared += len(over)
	for _, o := range over {
		p.a.view.Delete(key16(rowRun, p.id, uint64(o.end)))
		p.row.count--
		start := o.end - o.run.Length
		left, right := offset-start, o.end-(offset+length)
		if left > 0 {
			p.set(offset, &Run{Extent: o.run.Extent, Content: o.run.Content, Offset: o.run.Offset, Length: left})
		}
		if right > 0 {
			p.set(o.end, &Run{Extent: o.run.Extent, Content: o.run.Content, Offset: o.run.Offset + o.run.Length - right, Length: right}) // a hole's offset means nothing
		}
		pieces := uint64(1)
		switch {
		case left > 0 && right > 0:
			p.a.retainRun(&o.run)
			pieces = 2
		case left <= 0 && right <= 0:
			p.release(&o.run)
			pieces = 0
		}
		p.trimmed(&o.run, pieces, max(0, left)+max(0, right))
	}
}

// resize cuts the content, or lets it grow by a hole.
func (p *patching) resize(size int64) {
	switch {
	case size > p.row.size:
		p.set(size, &Run{Length: size - p.row.size})
	case size < p.row.size:
		p.nest(size, p.row.size-size)
		p.clear(size, p.row.size-size)
	}
	p.row.size = size
}
