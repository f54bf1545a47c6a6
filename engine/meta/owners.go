package meta

import (
	"encoding/binary"

	"holdfast/engine"
)

// Owners hold and lock inodes. An inode that somebody holds stays when its last name goes: it has no links then, and no directory counts it. What each owner has is
// listed by rows keyed (bucket, owner, inode), so that all of it can be freed when the owner ends; the locks of an inode are in one row.

// OpenOwner begins an owner; its number is the answer's Content.
type OpenOwner struct {
	Bucket engine.BucketID
	Name   string
}

func (*OpenOwner) opcode() byte        { return opOpenOwner }
func (c *OpenOwner) encode(e *encoder) { e.uint(uint64(c.Bucket)); e.string(c.Name) }
func (c *OpenOwner) decode(d *decoder) { c.Bucket = engine.BucketID(d.uint()); c.Name = d.string() }

// RenewOwner counts a sign of life; the answer's Nodes are those whose leases others wait for.
type RenewOwner struct {
	Bucket engine.BucketID
	Owner  engine.OwnerID
}

func (*RenewOwner) opcode() byte        { return opRenewOwner }
func (c *RenewOwner) encode(e *encoder) { e.uint(uint64(c.Bucket)); e.uint(uint64(c.Owner)) }
func (c *RenewOwner) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Owner = engine.OwnerID(d.uint())
}

// CloseOwner ends an owner; with Expired only if it still has as many renewals as somebody saw all the time until it counted as dead. It frees a bounded number of
// what the owner has: it is to be repeated while the answer's Left is not 0.
type CloseOwner struct {
	Bucket   engine.BucketID
	Owner    engine.OwnerID
	Expired  bool
	Renewals uint64
}

func (*CloseOwner) opcode() byte { return opCloseOwner }
func (c *CloseOwner) encode(e *encoder) {
	e.uint(uint64(c.Bucket))
	e.uint(uint64(c.Owner))
	e.bool(c.Expired)
	e.uint(c.Renewals)
}
func (c *CloseOwner) decode(d *decoder) {
	c.Bucket = engine.BucketID(d.uint())
	c.Owner = engine.OwnerID(d.uint())
	c.Expired = d.bool()
	c.Renewals = d.uint()
}

// HoldFile has an owner hold a file, or release it.
type HoldFile struct {
	File    NodeRef
	Owner   engine.OwnerID
	Release bool
}

func (*HoldFile) opcode() byte { return opHoldFile }
func (c *HoldFile) encode(e *encoder) {
	e.node(&c.File)
	e.uint(uint64(c.Owner))
	e.bool(c.Release)
}
func (c *HoldFile) decode(d *decoder) {
	c.File = d.node()
	c.Owner = engine.OwnerID(d.uint())
	c.Release = d.bool()
}

// LockFile locks a range, or gives it up. The refusal of one that others are in the way of is an answer with their lock, and leaves word for those who have leases.
type LockFile struct {
	File NodeRef
	Lock engine.FileLock
}

func (*LockFile) opcode() byte        { return opLockFile }
func (c *LockFile) encode(e *encoder) { e.node(&c.File); e.fileLock(&c.Lock) }
func (c *LockFile) decode(d *decoder) { c.File = d.node(); c.Lock = d.fileLock() }

func (e *encoder) fileLock(l *engine.FileLock) {
	e.uint(uint64(l.Owner))
	e.uint(l.Holder)
	e.uint(uint64(l.Process))
	e.byte(byte(l.Kind))
	e.byte(byte(l.Mode))
	e.uint(uint64(l.Start))
	e.uint(uint64(l.Length))
}

func (d *decoder) fileLock() engine.FileLock {
	return engine.FileLock{
		Owner: engine.OwnerID(d.uint()), Holder: d.uint(), Process: uint32(d.uint()), Kind: engine.LockKind(d.byte()), Mode: engine.LockMode(d.byte()),
		Start: int64(d.uint()), Length: int64(d.uint()),
	}
}

// ownerRow is an owner. A closed one frees what it has, and gets nothing more.
type ownerRow struct {
	name     string
	renewals uint64
	has      uint64 // rows of what it has
	closed   bool
}

func (r *ownerRow) encode() []byte {
	e := encoder{}
	e.byte(rowFormat)
	e.string(r.name)
	e.uint(r.renewals)
	e.uint(r.has)
	e.bool(r.closed)
	return e.b
}

func (r *ownerRow) decode(d *decoder) {
	d.version(rowFormat)
	r.name = d.string()
	r.renewals = d.uint()
	r.has = d.uint()
	r.closed = d.bool()
}

// heldRow is what an owner has of an inode.
type heldRow struct {
	held   bool
	locked bool // it has locks
	wanted bool // somebody waits for a lease of it
}

func (r *heldRow) encode() []byte {
	return []byte{rowFormat, flag(r.held) | flag(r.locked)<<1 | flag(r.wanted)<<2}
}

func (r *heldRow) decode(d *decoder) {
	d.version(rowFormat)
	b := d.byte()
	if b > 7 {
		d.fail()
	}
	r.held, r.locked, r.wanted = b&1 != 0, b&2 != 0, b&4 != 0
}

// locksRow has the locks of an inode in order of their ranges.
type locksRow struct{ locks []engine.FileLock }

func (r *locksRow) encode() []byte {
	e := encoder{}
	e.byte(rowFormat)
	e.uint(uint64(len(r.locks)))
	for i := range r.locks {
		e.fileLock(&r.locks[i])
	}
	return e.b
}

func (r *locksRow) decode(d *decoder) {
	d.version(rowFormat)
	for range d.count() {
		r.locks = append(r.locks, d.fileLock())
		if d.err != nil {
			return
		}
	}
}

func ownerKey(bucket engine.BucketID, owner engine.OwnerID) []byte {
	return key16(rowOwner, uint64(bucket), uint64(owner))
}

func heldKey(bucket engine.BucketID, owner engine.OwnerID, inode uint64) []byte {
	return binary.BigEndian.AppendUint64(key16(rowHeld, uint64(bucket), uint64(owner)), inode)
}

func locksKey(bucket engine.BucketID, inode uint64) []byte {
	return key16(rowLocks, uint64(bucket), inode)
}

// owner finds an owner that has not ended.
func (a *apply) owner(bucket engine.BucketID, id engine.OwnerID) (*ownerRow, *Answer) {
	var r ownerRow
	if !a.mustLoad(ownerKey(bucket, id), &r) || r.closed {
		return nil, failed(engine.KindExpired, "the owner %d has ended; what it held and locked is free", id)
	}
	return &r, nil
}

func (a *apply) openOwner(c *OpenOwner) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	a.view.Set(ownerKey(c.Bucket, engine.OwnerID(a.index)), (&ownerRow{name: c.Name}).encode())
	return &Answer{Content: a.index}
}

func (a *apply) renewOwner(c *RenewOwner) *Answer {
	r, refusal := a.owner(c.Bucket, c.Owner)
	if refusal != nil {
		return refusal
	}
	r.renewals++
	a.view.Set(ownerKey(c.Bucket, c.Owner), r.encode())
	answer := &Answer{}
	a.each(key16(rowHeld, uint64(c.Bucket), uint64(c.Owner)), func(key, value []byte) bool {
		var h heldRow
		if err := parse(key, value, &h); err != nil {
			panic(storeError{err})
		}
		if h.wanted {
			answer.Nodes = append(answer.Nodes, engine.NodeID(binary.BigEndian.Uint64(key[17:])))
		}
		return len(answer.Nodes) < engine.PageMax
	})
	return answer
}

// freedRows is the most nodes that one CloseOwner frees.
const freedRows = 200

func (a *apply) closeOwner(c *CloseOwner) *Answer {
	key := ownerKey(c.Bucket, c.Owner)
	var r ownerRow
	if !a.mustLoad(key, &r) {
		return &Answer{}
	}
	if c.Expired && !r.closed && r.renewals != c.Renewals {
		return failed(engine.KindConflict, "the owner %d was renewed", c.Owner)
	}
	r.closed = true
	if left := a.freeOwner(c.Bucket, c.Owner); !left {
		a.view.Delete(key)
		return &Answer{}
	}
	a.view.Set(key, r.encode())
	return &Answer{Left: 1}
}

// freeOwner frees some of what an owner has; left says that there is more.
func (a *apply) freeOwner(bucket engine.BucketID, owner engine.OwnerID) (left bool) {
	var inodes []uint64
	a.each(key16(rowHeld, uint64(bucket), uint64(owner)), func(key, _ []byte) bool {
		inodes = append(inodes, binary.BigEndian.Uint64(key[17:]))
		return len(inodes) <= freedRows
	})
	for i, inode := range inodes {
		if i == freedRows {
			return true
		}
		var h heldRow
		a.mustLoad(heldKey(bucket, owner, inode), &h)
		if h.locked {
			a.dropLocks(bucket, owner, inode)
		}
		a.view.Delete(heldKey(bucket, owner, inode))
		if h.held {
			a.unhold(bucket, inode)
		}
	}
	return false
}

// dropLocks takes all locks of an owner from an inode.
func (a *apply) dropLocks(bucket engine.BucketID, owner engine.OwnerID, inode uint64) {
	var r, kept locksRow
	a.mustLoad(locksKey(bucket, inode), &r)
	for i := range r.locks {
		if r.locks[i].Owner != owner {
			kept.locks = append(kept.locks, r.locks[i])
		}
	}
	a.setLocks(bucket, inode, &kept)
}

func (a *apply) setLocks(bucket engine.BucketID, inode uint64, r *locksRow) {
	if len(r.locks) == 0 {
		a.view.Delete(locksKey(bucket, inode))
		return
	}
	a.view.Set(locksKey(bucket, inode), r.encode())
}

// unhold counts one holder less; a file that has no name and no holder goes.
func (a *apply) unhold(bucket engine.BucketID, id uint64) {
	key := key16(rowInode, uint64(bucket), id)
	var inode inodeRow
	if !a.mustLoad(key, &inode) {
		return
	}
	inode.holds--
	if inode.links == 0 && inode.holds == 0 {
		a.forgetInode(bucket, id, &inode)
		return
	}
	a.view.Set(key, inode.encode())
}

// forgetInode removes a file that has no name and no holder. Its content loses a reference.
func (a *apply) forgetInode(bucket engine.BucketID, id uint64, inode *inodeRow) {
	a.view.Delete(key16(rowInode, uint64(bucket), id))
	if inode.etag.patched() { // else no keeper has to look at it
		a.view.Delete(scatteredKey(bucket, id))
	}
	if inode.xattrs > 0 {
		a.deleteAll(key16(rowXattr, uint64(bucket), id))
	}
	a.release(inode.content)
}

// setHeld writes what an owner has of an inode, and counts it.
func (a *apply) setHeld(bucket engine.BucketID, owner engine.OwnerID, r *ownerRow, inode uint64, h heldRow) {
	key := heldKey(bucket, owner, inode)
	before := a.has(key)
	if h.held || h.locked {
		a.view.Set(key, h.encode())
		if !before {
			r.has++
		}
	} else if before {
		a.view.Delete(key)
		r.has--
	}
	a.view.Set(ownerKey(bucket, owner), r.encode())
}

// room refuses an owner that has as much as it may.
func (r *ownerRow) room() *Answer {
	if r.has >= engine.HoldsMax {
		return failed(engine.KindEntityTooLarge, "the owner holds or locks %d nodes; more are not allowed", r.has)
	}
	return nil
}

func (a *apply) holdFile(c *HoldFile) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.File.Bucket, &b); refusal != nil {
		return refusal
	}
	r, refusal := a.owner(c.File.Bucket, c.Owner)
	if refusal != nil {
		return refusal
	}
	id := uint64(c.File.Node)
	var h heldRow
	there := a.mustLoad(heldKey(c.File.Bucket, c.Owner, id), &h)
	if c.Release {
		if there && h.held {
			h.held = false
			a.setHeld(c.File.Bucket, c.Owner, r, id, h)
			a.unhold(c.File.Bucket, id)
		}
		return &Answer{}
	}
	n, refusal := a.current(&c.File)
	switch {
	case refusal != nil:
		return refusal
	case n.inode.kind == inodeDirectory:
		return failed(engine.KindIsDirectory, "a directory cannot be held")
	case h.held:
		return a.fileAnswer(&b, c.File.Bucket, id)
	case !there:
		if refusal := r.room(); refusal != nil {
			return refusal
		}
	}
	h.held = true
	a.setHeld(c.File.Bucket, c.Owner, r, id, h)
	n.inode.holds++
	a.view.Set(key16(rowInode, uint64(c.File.Bucket), id), n.inode.encode())
	return a.fileAnswer(&b, c.File.Bucket, id)
}

// makeTemporary makes a file without a name for the owner that holds it.
func (a *apply) makeTemporary(c *MakeFile, b *bucketRow) *Answer {
	if c.Type != engine.TypeRegular {
		return failed(engine.KindInvalidArgument, "a temporary file is a regular one")
	}
	r, refusal := a.owner(c.At.Bucket, c.Owner)
	if refusal != nil {
		return refusal
	}
	if refusal := r.room(); refusal != nil {
		return refusal
	}
	b.inode++
	if n := a.raise(c.At.Bucket, b, engine.ChangeTemporary); n != nil {
		n.row.node = b.inode
	}
	inode := inodeRow{
		kind: inodeFile, holds: 1, posix: c.posix(), size: int64(len(c.Data)), etag: etag{md5: emptyMD5}, class: c.Class, stamp: a.header.Stamp, sequence: b.sequence,
	}
	inode.content = a.addData(&Data{}, partSum{})
	a.view.Set(key16(rowInode, uint64(c.At.Bucket), b.inode), inode.encode())
	a.setHeld(c.At.Bucket, c.Owner, r, b.inode, heldRow{held: true})
	a.view.Set(key8(rowBucket, uint64(c.At.Bucket)), b.encode())
	return a.fileAnswer(b, c.At.Bucket, b.inode)
}

func (a *apply) lockFile(c *LockFile) *Answer {
	bucket, l := c.File.Bucket, c.Lock
	var b bucketRow
	if refusal := a.loadBucket(bucket, &b); refusal != nil {
		return refusal
	}
	if err := engine.CheckFileLock(l); err != nil {
		return failed(engine.KindInvalidArgument, "%v", err)
	}
	r, refusal := a.owner(bucket, l.Owner)
	if refusal != nil {
		return refusal
	}
	id := uint64(c.File.Node)
	n, refusal := a.node(&c.File)
	switch {
	case refusal != nil:
		return refusal
	case n.inode.kind == inodeDirectory && l.Kind != engine.LockFlock:
		return failed(engine.KindIsDirectory, "a directory takes no such lock")
	}
	var h heldRow
	if !a.mustLoad(heldKey(bucket, l.Owner, id), &h) && l.Mode != engine.LockNone {
		if refusal := r.room(); refusal != nil {
			return refusal
		}
	}
	var locks locksRow
	a.mustLoad(locksKey(bucket, id), &locks)
	if held, ok := engine.InTheWay(locks.locks, l); ok {
		if held.Kind == engine.LockLease {
			a.wantLeases(bucket, id, &locks, l)
		}
		return a.heldAnswer(&held)
	}
	locks.locks = engine.WithLock(locks.locks, l)
	if len(locks.locks) > engine.LocksMax {
		return failed(engine.KindEntityTooLarge, "the file has %d locks; more are not allowed", engine.LocksMax)
	}
	a.setLocks(bucket, id, &locks)
	h.locked, h.wanted = false, false
	for i := range locks.locks {
		if locks.locks[i].Owner == l.Owner {
			h.locked = true
		}
	}
	a.setHeld(bucket, l.Owner, r, id, h)
	return &Answer{}
}

// heldAnswer says whose lock is in the way. It is no refusal: those are not to change anything.
func (a *apply) heldAnswer(held *engine.FileLock) *Answer {
	e := encoder{}
	e.fileLock(held)
	return &Answer{Existed: true, Node: e.b}
}

// wantLeases leaves word for the owners of leases that are in the way.
func (a *apply) wantLeases(bucket engine.BucketID, inode uint64, locks *locksRow, l engine.FileLock) {
	for i := range locks.locks {
		o := &locks.locks[i]
		if _, ok := engine.InTheWay(locks.locks[i:i+1], l); !ok {
			continue
		}
		var h heldRow
		if key := heldKey(bucket, o.Owner, inode); a.mustLoad(key, &h) {
			h.wanted = true
			a.view.Set(key, h.encode())
		}
	}
}

// clearOwners frees some of what the owners of a deleted bucket have; left says that there is more.
func (a *apply) clearOwners(bucket engine.BucketID) (left bool) {
	var owners []engine.OwnerID
	a.each(key8(rowOwner, uint64(bucket)), func(key, _ []byte) bool {
		owners = append(owners, engine.OwnerID(binary.BigEndian.Uint64(key[9:])))
		return len(owners) <= 1
	})
	if len(owners) == 0 {
		return false
	}
	if !a.freeOwner(bucket, owners[0]) {
		a.view.Delete(ownerKey(bucket, owners[0]))
		return len(owners) > 1
	}
	return true
}

// Owner is an owner of holds and locks.
type Owner struct {
	Bucket   engine.BucketID
	ID       engine.OwnerID
	Name     string
	Renewals uint64
	Has      uint64 // nodes that it holds or locks
	Closed   bool   // it frees what it has
}

// ListOwners returns all owners.
func ListOwners(view View) (list []Owner, err error) {
	err = scan(view, []byte{rowOwner}, nil, func(key, value []byte) (bool, error) {
		var r ownerRow
		err := parse(key, value, &r)
		list = append(list, Owner{
			Bucket: engine.BucketID(binary.BigEndian.Uint64(key[1:])), ID: engine.OwnerID(binary.BigEndian.Uint64(key[9:])),
			Name: r.name, Renewals: r.renewals, Has: r.has, Closed: r.closed,
		})
		return true, err
	})
	return list, err
}

// LoadLocks returns the locks of a node.
func LoadLocks(view Reader, bucket engine.BucketID, id engine.NodeID) ([]engine.FileLock, error) {
	var r locksRow
	_, err := load(view, locksKey(bucket, uint64(id)), &r)
	return r.locks, err
}

// ParseLock decodes the lock that an answer to LockFile says is in the way.
func ParseLock(b []byte) (engine.FileLock, error) {
	d := decoder{b: b}
	l := d.fileLock()
	return l, d.end()
}
