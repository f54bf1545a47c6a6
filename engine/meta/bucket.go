package meta

import (
	"bytes"

	"holdfast/engine"
)

func (a *apply) createBucket(c *CreateBucket) *Answer {
	key := key8(rowBucket, uint64(c.Bucket))
	if a.has(key) {
		return &Answer{}
	}
	b := bucketRow{name: c.Name, created: a.header.Stamp, inode: rootInode, counted: true}
	if c.Lock {
		b.lock.Enabled, b.versioning = true, engine.VersioningEnabled
	}
	root := inodeRow{kind: inodeDirectory, links: 1, posix: posix{born: a.header.Stamp}}
	a.view.Set(key, b.encode())
	a.view.Set(key16(rowInode, uint64(c.Bucket), rootInode), root.encode())
	a.view.Set(key16(rowAggregate, uint64(c.Bucket), rootInode), (&aggregateRow{spare: engine.KeyBytesMax}).encode())
	return &Answer{Bucket: c.Bucket}
}

func (a *apply) deleteBucket(c *DeleteBucket) *Answer {
	if !a.has(key8(rowBucket, uint64(c.Bucket))) {
		return &Answer{}
	}
	var r aggregateRow
	a.mustLoad(key16(rowAggregate, uint64(c.Bucket), rootInode), &r)
	if r.versions > 0 {
		return failed(engine.KindBucketNotEmpty, "the bucket holds %d objects and %d versions", r.objects, r.versions)
	}
	a.dropBucket(c.Bucket)
	a.dropDirectory(c.Bucket, rootInode)
	return &Answer{}
}

// dropBucket removes the rows that a bucket has beside its tree; its uploads, owners and feed go to trash.
func (a *apply) dropBucket(bucket engine.BucketID) {
	a.view.Delete(key8(rowBucket, uint64(bucket)))
	a.deleteAll(key8(rowDocument, uint64(bucket)))
	a.deleteAll(key8(rowCursor, uint64(bucket)))
	if a.hasRow(key8(rowUpload, uint64(bucket))) || a.hasRow(key8(rowOwner, uint64(bucket))) || a.hasRow(key8(rowFeed, uint64(bucket))) {
		a.view.Set(key8(rowTrash, uint64(bucket)), []byte{rowFormat})
	}
}

// documentRow is a value that a bucket keeps for those who can read it.
type documentRow struct{ value []byte }

func (r *documentRow) decode(d *decoder) {
	d.version(rowFormat)
	r.value, d.b = bytes.Clone(d.b), nil
}

func documentKey(bucket engine.BucketID, name string) []byte {
	return append(key8(rowDocument, uint64(bucket)), name...)
}

func (a *apply) setDocument(c *SetDocument) *Answer {
	var b bucketRow
	if refusal := a.loadBucket(c.Bucket, &b); refusal != nil {
		return refusal
	}
	if len(c.Value) == 0 {
		a.view.Delete(documentKey(c.Bucket, c.Name))
	} else {
		a.view.Set(documentKey(c.Bucket, c.Name), append([]byte{rowFormat}, c.Value...))
	}
	if n := a.raise(c.Bucket, &b, engine.ChangeDocument); n != nil {
		n.row.key = c.Name
	}
	a.view.Set(key8(rowBucket, uint64(c.Bucket)), b.encode())
	return &Answer{Sequence: b.sequence, Stamp: a.header.Stamp}
}

// directoryRow is a bucket in the root group's directory.
type directoryRow struct {
	id      engine.BucketID
	group   engine.GroupID
	state   BucketState
	created int64
	lock    bool // it was reserved with locks enabled
}

func (r *directoryRow) encode() []byte {
	e := encoder{b: make([]byte, 0, 32)}
	e.byte(rowFormat)
	e.uint(uint64(r.id))
	e.uint(uint64(r.group))
	e.byte(byte(r.state))
	e.int(r.created)
	e.bool(r.lock)
	return e.b
}

func (r *directoryRow) decode(d *decoder) {
	d.version(rowFormat)
	r.id = engine.BucketID(d.uint())
	r.group = engine.GroupID(d.uint())
	r.state = BucketState(d.byte())
	r.created = d.int()
	if d.format >= 4 {
		r.lock = d.bool()
	}
}

func nameKey(name engine.BucketName) []byte { return append([]byte{rowName}, name...) }

func (a *apply) reserveBucket(c *ReserveBucket) *Answer {
	if a.has(nameKey(c.Name)) {
		return failed(engine.KindBucketExists, "there is a bucket %q", c.Name)
	}
	var counter nameCounterRow
	a.mustLoad([]byte{rowNameCounter}, &counter)
	counter.last++
	a.view.Set([]byte{rowNameCounter}, counter.encode())
	r := directoryRow{id: counter.last, group: c.Group, state: BucketCreating, created: a.header.Stamp, lock: c.Lock}
	a.view.Set(nameKey(c.Name), r.encode())
	return &Answer{Bucket: r.id, Stamp: r.created}
}

func (a *apply) setBucket(c *SetBucket) *Answer {
	var r directoryRow
	if !a.mustLoad(nameKey(c.Name), &r) || r.id != c.Bucket {
		return failed(engine.KindNoSuchBucket, "there is no bucket %q", c.Name)
	}
	if r.state != c.From {
		return failed(engine.KindConflict, "bucket %q is being created or deleted by another call", c.Name)
	}
	if c.To == 0 {
		a.view.Delete(nameKey(c.Name))
		return &Answer{}
	}
	r.state = c.To
	a.view.Set(nameKey(c.Name), r.encode())
	return &Answer{Stamp: r.created}
}

// nameCounterRow has the last bucket id given.
type nameCounterRow struct{ last engine.BucketID }

func (r *nameCounterRow) encode() []byte {
	e := encoder{b: []byte{rowFormat}}
	e.fixed(uint64(r.last))
	return e.b
}

func (r *nameCounterRow) decode(d *decoder) {
	d.version(rowFormat)
	r.last = engine.BucketID(d.fixed())
}

// settingRow is a value of the cluster's configuration.
type settingRow struct{ value []byte }

func (r *settingRow) decode(d *decoder) {
	d.version(rowFormat)
	r.value, d.b = bytes.Clone(d.b), nil
}

func settingKey(name string) []byte { return append([]byte{rowSetting}, name...) }

func (a *apply) setting(c *Setting) *Answer {
	if len(c.Value) == 0 {
		a.view.Delete(settingKey(c.Name))
	} else {
		a.view.Set(settingKey(c.Name), append([]byte{rowFormat}, c.Value...))
	}
	return &Answer{}
}

// DriveState is what the cluster map says of a drive.
type DriveState byte

// A drive is in (takes shards), out (errors or latency: takes none, may come back) or gone for good.
const (
	DriveIn   DriveState = 1
	DriveOut  DriveState = 2
	DriveGone DriveState = 3
)

// DriveRecord is a drive in the cluster map.
type DriveRecord struct {
	Node        uint64
	Path        string // on its node
	Incarnation uint64
	Bytes       int64 // capacity
	State       DriveState
	Witness     bool // holds replicas only
}

func (r *DriveRecord) encodeBody(e *encoder) {
	e.uint(r.Node)
	e.string(r.Path)
	e.fixed(r.Incarnation)
	e.uint(uint64(r.Bytes))
	e.byte(byte(r.State))
	e.bool(r.Witness)
}

func (r *DriveRecord) decodeBody(d *decoder) {
	r.Node = d.uint()
	r.Path = d.string()
	r.Incarnation = d.fixed()
	r.Bytes = int64(d.uint())
	r.State = DriveState(d.byte())
	r.Witness = d.bool()
}

func (r *DriveRecord) encode() []byte {
	e := encoder{b: []byte{rowFormat}}
	r.encodeBody(&e)
	return e.b
}

func (r *DriveRecord) decode(d *decoder) {
	d.version(rowFormat)
	r.decodeBody(d)
}
