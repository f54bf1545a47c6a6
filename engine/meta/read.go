package meta

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sort"
	"time"

	"holdfast/engine"
)

// ErrAbsent is what readers answer where the rows have no such thing; the caller gives it a Kind.
var ErrAbsent = errors.New("absent")

// View is what reading more than one row needs, which is a Snapshot: rows of one instant.
type View interface {
	Reader
	Iterate(lower, upper []byte) Iterator
}

// Object is a version as a lookup finds it.
type Object struct {
	Info    engine.ObjectInfo // Bucket and Key are the caller's to fill in
	Content uint64
	Node    engine.NodeID
}

// Lookup finds a version of a key, the current one for "". What is not there is an *engine.Error of KindNoSuchBucket, KindNoSuchKey,
// KindNoSuchVersion or KindDeleteMarker.
func Lookup(view View, bucket engine.BucketID, key engine.Key, version engine.VersionID) (*Object, error) {
	var b bucketRow
	if ok, err := load(view, key8(rowBucket, uint64(bucket)), &b); err != nil {
		return nil, err
	} else if !ok {
		return nil, engine.E(engine.KindNoSuchBucket, "the bucket was deleted")
	}
	p, err := resolve(view, bucket, string(key))
	if err != nil {
		return nil, err
	}
	entry, refusal, err := p.object(view, key, version)
	switch {
	case err != nil:
		return nil, err
	case refusal != nil:
		return nil, refusal
	}
	var r inodeRow
	if ok, err := load(view, key16(rowInode, uint64(bucket), entry.inode), &r); err != nil {
		return nil, err
	} else if !ok {
		return nil, engine.E(engine.KindDamaged, "the metadata lacks inode %d", entry.inode)
	}
	found := &Object{Info: r.info(&entry), Content: r.content, Node: engine.NodeID(entry.inode)}
	found.Info.Versioning, found.Info.Locks = b.versioning, b.lock.Enabled
	return found, nil
}

// LookupVersioning returns what a bucket does with versions. ErrAbsent.
func LookupVersioning(view Reader, bucket engine.BucketID) (engine.Versioning, error) {
	var b bucketRow
	if ok, err := load(view, key8(rowBucket, uint64(bucket)), &b); err != nil || !ok {
		return 0, cmp.Or(err, ErrAbsent)
	}
	return b.versioning, nil
}

// LookupState returns what a bucket does with versions, and whether it has locks. ErrAbsent.
func LookupState(view Reader, bucket engine.BucketID) (v engine.Versioning, locks bool, err error) {
	var b bucketRow
	if ok, err := load(view, key8(rowBucket, uint64(bucket)), &b); err != nil || !ok {
		return 0, false, cmp.Or(err, ErrAbsent)
	}
	return b.versioning, b.lock.Enabled, nil
}

// LookupBucketLock returns what a bucket says of locks. ErrAbsent.
func LookupBucketLock(view Reader, bucket engine.BucketID) (engine.BucketLock, error) {
	var b bucketRow
	if ok, err := load(view, key8(rowBucket, uint64(bucket)), &b); err != nil || !ok {
		return engine.BucketLock{}, cmp.Or(err, ErrAbsent)
	}
	return b.lock, nil
}

// LoadDocument returns what a bucket keeps under a name, nil if nothing.
func LoadDocument(view Reader, bucket engine.BucketID, name string) ([]byte, error) {
	var r documentRow
	_, err := load(view, documentKey(bucket, name), &r)
	return r.value, err
}

// ListVersionParts returns the parts that a content was made of by an upload, of numbers greater than after and at most max of them. Contents of
// format 2 do not know the numbers of their parts: those are counted. ErrAbsent.
func ListVersionParts(view View, content uint64, after, max int) (parts []engine.VersionPart, truncated bool, err error) {
	c, err := LoadContent(view, content)
	if err != nil {
		return nil, false, err
	}
	part := func(i int) (p engine.VersionPart, err error) {
		var r contentRow
		if ok, err := load(view, key8(rowContent, c.Runs[i].Content), &r); err != nil || !ok {
			return p, cmp.Or(err, ErrAbsent)
		}
		return engine.VersionPart{Number: cmp.Or(r.part.number, i+1), Size: c.Runs[i].Length, Checksum: r.part.checksum}, nil
	}
	first := sort.Search(len(c.Runs), func(i int) bool {
		p, errPart := part(i)
		err = cmp.Or(err, errPart)
		return p.Number > after
	})
	offset := int64(0)
	for i, run := range c.Runs {
		if err != nil || i-first == max {
			return parts, err == nil, err
		}
		if i >= first {
			var p engine.VersionPart
			p, err = part(i)
			p.Offset = offset
			parts = append(parts, p)
		}
		offset += run.Length
	}
	return parts, false, err
}

// LookupUploaded finds the current version of a key if the upload made it. ErrAbsent.
func LookupUploaded(view View, bucket engine.BucketID, key engine.Key, raw string) (*Object, error) {
	p, err := resolve(view, bucket, string(key))
	if err != nil {
		return nil, err
	}
	var r inodeRow
	if !p.found {
		return nil, ErrAbsent
	}
	if ok, err := load(view, key16(rowInode, uint64(bucket), p.entry.inode), &r); err != nil {
		return nil, err
	} else if !ok || r.upload == "" || r.upload != raw {
		return nil, ErrAbsent
	}
	found := &Object{Info: r.info(&p.entry), Content: r.content}
	found.Info.Lock = engine.Lock{}
	found.Info.Versioning, err = LookupVersioning(view, bucket)
	return found, err
}

// info describes the version that an entry has of the inode.
func (r *inodeRow) info(entry *entryRow) engine.ObjectInfo {
	return engine.ObjectInfo{
		Version: entry.version(), Size: r.size, ETag: engine.ETag(r.etag.String()), Modified: time.Unix(0, r.stamp), Class: r.class,
		Attributes: r.attributes, Tags: r.tags, Checksum: r.checksum, Parts: r.etag.count(), Lock: r.Lock, Sequence: r.sequence,
	}
}

func (r *entryRow) info() engine.ObjectInfo {
	info := engine.ObjectInfo{
		Version: r.version(), Size: r.size, ETag: engine.ETag(r.etag.String()), Modified: time.Unix(0, r.stamp), Class: r.class,
		Sequence: r.sequence,
	}
	if r.kind == entryMarker {
		info.Marker, info.ETag, info.Class = true, "", ""
	}
	return info
}

// HasBucket reports whether the group has the bucket.
func HasBucket(view Reader, bucket engine.BucketID) (bool, error) {
	return load(view, key8(rowBucket, uint64(bucket)), new(bucketRow))
}

// Content describes a content.
type Content struct {
	Size   int64
	Inline []byte // if IsInline
	// IsInline says that the bytes are in the row.
	IsInline bool
	Garbage  bool // no reference is left
	Runs     []Run
}

// LoadContent reads a content with all its runs. ErrAbsent.
func LoadContent(view View, id uint64) (*Content, error) {
	var r contentRow
	if ok, err := load(view, key8(rowContent, id), &r); err != nil {
		return nil, err
	} else if !ok {
		return nil, ErrAbsent
	}
	c := &Content{Size: r.size, Inline: r.data, IsInline: r.inline, Garbage: r.refs == 0, Runs: r.runs}
	if r.inline || len(r.runs) > 0 || r.count == 0 {
		return c, nil
	}
	prefix := key8(rowRun, id)
	it := view.Iterate(prefix, after(prefix))
	for it.Next() {
		run, err := parseRun(it.Value())
		if err != nil {
			_ = it.Close() // the decoder's error is the reason
			return nil, err
		}
		c.Runs = append(c.Runs, run)
	}
	return c, it.Close()
}

// Range is a range of a content: its bytes if they are in the row, or what it is made of.
type Range struct {
	Inline []byte // if IsInline
	// IsInline says that the bytes are in the row. Owns says that they are there or in extents of the content's own, not in other contents.
	IsInline, Owns bool
	Runs           []RangeRun // cut to the range
}

// RangeRun is a run, and where in its content it begins.
type RangeRun struct {
	Run
	Start int64
}

// LoadRange reads what makes up length bytes of a content from offset on. ErrAbsent.
func LoadRange(view View, id uint64, offset, length int64) (*Range, error) {
	var r contentRow
	if ok, err := load(view, key8(rowContent, id), &r); err != nil || !ok {
		return nil, cmp.Or(err, ErrAbsent)
	}
	if r.inline {
		end := min(offset+length, int64(len(r.data)))
		return &Range{Inline: r.data[min(offset, end):end], IsInline: true, Owns: true}, nil
	}
	found, start := &Range{Owns: !r.ends}, int64(0)
	take := func(run Run) (more bool) {
		end := start + run.Length
		if run.Content != 0 || run.Hole() {
			found.Owns = false
		}
		if lo, hi := max(start, offset), min(end, offset+length); lo < hi {
			if !run.Hole() {
				run.Offset += lo - start
			}
			run.Length = hi - lo
			found.Runs = append(found.Runs, RangeRun{run, lo})
		}
		start = end
		return start < offset+length
	}
	for _, run := range r.runs {
		if !take(run) {
			break
		}
	}
	if len(r.runs) > 0 || r.count == 0 {
		return found, nil
	}
	var from []byte
	if r.ends {
		from = binary.BigEndian.AppendUint64(nil, uint64(offset+1))
	}
	return found, scan(view, key8(rowRun, id), from, func(key, value []byte) (bool, error) {
		run, err := parseRun(value)
		if r.ends {
			start = int64(binary.BigEndian.Uint64(key[9:])) - run.Length
		}
		return err == nil && take(run), err
	})
}

// CountPieces returns how many runs a content has. ErrAbsent.
func CountPieces(view Reader, id uint64) (int, error) {
	var r contentRow
	if ok, err := load(view, key8(rowContent, id), &r); err != nil || !ok {
		return 0, cmp.Or(err, ErrAbsent)
	}
	return r.count, nil
}

// SeekContent returns the first offset from the one given on that lies in data or, if hole is set, in a hole, before end; ok is false if there is none.
func SeekContent(view View, id uint64, offset, end int64, hole bool) (at int64, ok bool, err error) {
	return seekContent(view, id, offset, end, hole, 0)
}

// seekBytes is how much of a content is looked at in one go.
const seekBytes = 1 << 30

func seekContent(view View, id uint64, offset, end int64, hole bool, depth int) (at int64, ok bool, err error) {
	for ; offset < end; offset += seekBytes {
		length := min(seekBytes, end-offset)
		content, err := LoadRange(view, id, offset, length)
		if err != nil || depth > depthMax {
			return 0, false, cmp.Or(err, ErrAbsent)
		}
		if content.Owns {
			if !hole {
				return offset, true, nil
			}
			continue
		}
		for i := range content.Runs {
			run := &content.Runs[i]
			if run.Hole() {
				if hole {
					return run.Start, true, nil
				}
				continue
			}
			at, ok, err := seekContent(view, run.Content, run.Offset, run.Offset+run.Length, hole, depth+1)
			if err != nil || ok {
				return at - run.Offset + run.Start, ok, err
			}
		}
	}
	return 0, false, nil
}

// LoadExtent reads where an extent's shards are. ErrAbsent.
func LoadExtent(view Reader, id engine.ExtentID) (*Extent, error) {
	x := &Extent{ID: id}
	if ok, err := load(view, extentKey(rowExtent, id), x); err != nil {
		return nil, err
	} else if !ok {
		return nil, ErrAbsent
	}
	return x, nil
}

// Epochs returns the epochs that are open, with their nodes.
func Epochs(view View) (map[uint64]uint64, error) {
	open := map[uint64]uint64{}
	return open, scan(view, []byte{rowEpoch}, nil, func(key, value []byte) (bool, error) {
		var r epochRow
		if err := parse(key, value, &r); err != nil {
			return false, err
		}
		if !r.closed {
			open[binary.BigEndian.Uint64(key[1:])] = r.node
		}
		return true, nil
	})
}

// scan calls f for the rows under prefix, from the first key not less than prefix+from, until it returns false.
func scan(view View, prefix, from []byte, f func(key, value []byte) (bool, error)) error {
	it := view.Iterate(append(append([]byte(nil), prefix...), from...), after(prefix))
	for it.Next() {
		more, err := false, checkVersion(it.Key(), it.Value())
		if err == nil {
			more, err = f(it.Key(), it.Value())
		}
		if err != nil {
			_ = it.Close() // this error is the reason
			return err
		}
		if !more {
			break
		}
	}
	return it.Close()
}

// Garbage is a content to be collected.
type Garbage struct {
	Index   uint64 // of the command that made it garbage
	Content uint64
}

// ListGarbage returns up to max contents that became garbage before index, oldest first.
func ListGarbage(view View, before uint64, max int) (list []Garbage, err error) {
	err = scan(view, []byte{rowGarbage}, nil, func(key, _ []byte) (bool, error) {
		g := Garbage{Index: binary.BigEndian.Uint64(key[1:]), Content: binary.BigEndian.Uint64(key[9:])}
		if g.Index >= before || len(list) == max {
			return false, nil
		}
		list = append(list, g)
		return true, nil
	})
	return list, err
}

// HasTrash reports whether something is left to ClearTrash.
func HasTrash(view View) (found bool, err error) {
	err = scan(view, []byte{rowTrash}, nil, func(_, _ []byte) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
}

// FirstDetached returns the command that begins with the first of what is detached and can be taken apart, nil if there is nothing.
func FirstDetached(view View) (first *TakeApart, err error) {
	waits := awaited{view: view}
	err = scan(view, []byte{rowDetached}, nil, func(key, value []byte) (bool, error) {
		var r detachedRow
		if err := parse(key, value, &r); err != nil {
			return false, err
		}
		next := &TakeApart{engine.BucketID(binary.BigEndian.Uint64(key[1:])), binary.BigEndian.Uint64(key[9:])}
		if awaits, err := waits.by(next.Bucket, r.change); err != nil || awaits {
			return true, err
		}
		first = next
		return false, nil
	})
	return first, err
}

// Trash is what waits under trash to be taken apart.
type Trash struct {
	Things   int    // detached directories, and what is left of uploads
	Versions uint64 // beneath the directories
}

// CountTrash counts what waits under trash.
func CountTrash(view View) (t Trash, err error) {
	err = scan(view, []byte{rowDetached}, nil, func(key, value []byte) (bool, error) {
		var r detachedRow
		err := parse(key, value, &r)
		t.Things++
		t.Versions += r.versions
		return true, err
	})
	if err == nil {
		err = scan(view, []byte{rowTrash}, nil, func(_, _ []byte) (bool, error) { t.Things++; return true, nil })
	}
	return t, err
}

// ListMissing returns up to max extents that lack shards, those that may lose the fewest more first. It begins behind a place in that order
// which an earlier call returned, or with "" at the start.
func ListMissing(view View, after string, max int) (list []engine.ExtentID, last string, err error) {
	var from []byte
	if after != "" {
		from = append([]byte(after), 0)
	}
	err = scan(view, []byte{rowMissing}, from, func(key, _ []byte) (bool, error) {
		d := decoder{b: key[2:]}
		list, last = append(list, d.extent()), string(key[1:])
		return len(list) < max, d.err
	})
	return list, last, err
}

// ListPlaced returns up to max extents with a shard on drive, greater than from in order.
func ListPlaced(view View, drive engine.DriveID, from engine.ExtentID, max int) (list []engine.ExtentID, err error) {
	first := append(appendExtent(nil, from), 0)
	err = scan(view, key8(rowPlacement, uint64(drive)), first, func(key, _ []byte) (bool, error) {
		d := decoder{b: key[9:]}
		list = append(list, d.extent())
		return len(list) < max, d.err
	})
	return list, err
}

// CountMissing returns how many extents in use lack shards: of garbage nobody needs them.
func CountMissing(view View) (n int, err error) {
	err = scan(view, []byte{rowMissing}, nil, func(key, _ []byte) (bool, error) {
		d := decoder{b: key[2:]}
		_, used, err := loadUsed(view, d.extent())
		if used {
			n++
		}
		return true, err
	})
	return n, err
}

// CountReduced returns how many extents survive the loss of fewer drives than their class says: they were written while drives were away.
func CountReduced(view View) (n int, err error) {
	err = scan(view, []byte{rowExtent}, nil, func(key, value []byte) (bool, error) {
		var x Extent
		err := parse(key, value, &x)
		if x.Reduced {
			n++
		}
		return true, err
	})
	return n, err
}

// ListReduced returns up to max extents, in order of their ids, that are greater than after and have less parity than their class; of those that are
// garbage already none. It goes through all extents.
func ListReduced(view View, after engine.ExtentID, max int) (list []*Extent, err error) {
	err = scan(view, []byte{rowExtent}, append(appendExtent(nil, after), 0), func(key, value []byte) (bool, error) {
		d := decoder{b: key[1:]}
		x := &Extent{ID: d.extent()}
		if err := parse(key, value, x); err != nil || !x.Reduced {
			return true, err
		}
		if ok, err := InUse(view, x); err != nil || !ok {
			return true, err
		}
		list = append(list, x)
		return len(list) < max, nil
	})
	return list, err
}

// InUse reports whether the content that owns an extent is no garbage.
func InUse(view Reader, x *Extent) (bool, error) {
	var r contentRow
	ok, err := load(view, key8(rowContent, x.Content), &r)
	return ok && r.refs > 0, err
}

// CountPlaced returns how many shards are recorded on drive.
func CountPlaced(view View, drive engine.DriveID) (n int, err error) {
	err = scan(view, key8(rowPlacement, uint64(drive)), nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	return n, err
}

// CountGarbage returns how many contents wait for collection.
func CountGarbage(view View) (n int, err error) {
	err = scan(view, []byte{rowGarbage}, nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	return n, err
}

// LoadDrive reports whether the group counts a drive as out, and whether for good.
func LoadDrive(view Reader, drive engine.DriveID) (out, gone bool, err error) {
	var r driveRow
	_, err = load(view, key8(rowDrive, uint64(drive)), &r)
	return r.out, r.gone, err
}

// Usage is what a bucket holds.
type Usage struct{ Objects, Bytes, Versions uint64 }

// BucketUsage reads the counts of a bucket's root. ErrAbsent.
func BucketUsage(view View, bucket engine.BucketID) (Usage, error) {
	var r aggregateRow
	if ok, err := load(view, key16(rowAggregate, uint64(bucket), rootInode), &r); err != nil {
		return Usage{}, err
	} else if !ok {
		return Usage{}, ErrAbsent
	}
	return Usage{r.objects, r.bytes, r.versions}, nil
}

// BucketRecord is a bucket of the root group's directory.
type BucketRecord struct {
	Name    engine.BucketName
	ID      engine.BucketID
	Group   engine.GroupID
	State   BucketState
	Created time.Time
	Lock    bool // it was reserved with locks
}

// LookupBucket finds a bucket in the root group's directory. ErrAbsent.
func LookupBucket(view Reader, name engine.BucketName) (BucketRecord, error) {
	var r directoryRow
	if ok, err := load(view, nameKey(name), &r); err != nil {
		return BucketRecord{}, err
	} else if !ok {
		return BucketRecord{}, ErrAbsent
	}
	return r.record(name), nil
}

func (r *directoryRow) record(name engine.BucketName) BucketRecord {
	return BucketRecord{Name: name, ID: r.id, Group: r.group, State: r.state, Created: time.Unix(0, r.created), Lock: r.lock}
}

// ListBuckets returns up to max buckets with the prefix and names greater than after, in whatever state.
func ListBuckets(view View, prefix string, afterName engine.BucketName, max int) (list []BucketRecord, err error) {
	var from []byte
	if name := string(afterName); name != "" {
		if name < prefix {
			name = ""
		} else if len(name) >= len(prefix) && name[:len(prefix)] == prefix {
			from = append([]byte(name[len(prefix):]), 0)
		} else {
			return nil, nil
		}
	}
	err = scan(view, nameKey(engine.BucketName(prefix)), from, func(key, value []byte) (bool, error) {
		var r directoryRow
		if err := parse(key, value, &r); err != nil {
			return false, err
		}
		list = append(list, r.record(engine.BucketName(key[1:])))
		return len(list) < max, nil
	})
	return list, err
}

// ListDrives returns the cluster map's drives.
func ListDrives(view View) (map[engine.DriveID]DriveRecord, error) {
	drives := map[engine.DriveID]DriveRecord{}
	return drives, scan(view, []byte{rowMapDrive}, nil, func(key, value []byte) (bool, error) {
		var r DriveRecord
		err := parse(key, value, &r)
		drives[engine.DriveID(binary.BigEndian.Uint64(key[1:]))] = r
		return true, err
	})
}

// GetSetting reads a value of the cluster's configuration; nil if it is not set.
func GetSetting(view View, name string) ([]byte, error) {
	var r settingRow
	_, err := load(view, settingKey(name), &r)
	return r.value, err
}

// Upload is an upload in progress.
type Upload struct {
	Info  engine.UploadInfo
	RawID string
}

// FormatUploadID returns the id that clients see.
func FormatUploadID(raw string) engine.UploadID {
	return engine.UploadID(hex.EncodeToString([]byte(raw)))
}

// ParseUploadID undoes FormatUploadID; ok is false for what it never made.
func ParseUploadID(id engine.UploadID) (raw string, ok bool) {
	b, err := hex.DecodeString(string(id))
	return string(b), err == nil && len(b) == UploadIDBytes && hex.EncodeToString(b) == string(id)
}

// LoadUpload finds an upload. ErrAbsent.
func LoadUpload(view View, bucket engine.BucketID, key engine.Key, raw string) (*Upload, error) {
	var r uploadRow
	if ok, err := load(view, uploadKey(bucket, key, raw), &r); err != nil {
		return nil, err
	} else if !ok {
		return nil, ErrAbsent
	}
	return r.upload(key, raw), nil
}

func (r *uploadRow) upload(key engine.Key, raw string) *Upload {
	return &Upload{RawID: raw, Info: engine.UploadInfo{
		ID: FormatUploadID(raw), Key: key, Started: time.Unix(0, r.started), Class: r.class, Attributes: r.attributes, Tags: r.tags,
		ChecksumAlgorithm: r.algorithm, ChecksumFull: r.full,
	}}
}

// PartRecord is a part of an upload and the content that it is.
type PartRecord struct {
	Info    engine.PartInfo
	Content uint64
	MD5     [16]byte
}

// ListParts returns up to max parts with numbers greater than after.
func ListParts(view View, bucket engine.BucketID, raw string, afterNumber, max int) (list []PartRecord, err error) {
	prefix := append(key8(rowPart, uint64(bucket)), raw...)
	from := binary.BigEndian.AppendUint16(nil, uint16(min(afterNumber+1, 0xffff)))
	err = scan(view, prefix, from, func(key, value []byte) (bool, error) {
		var r partRow
		if err := parse(key, value, &r); err != nil {
			return false, err
		}
		list = append(list, r.record(int(binary.BigEndian.Uint16(key[len(key)-2:]))))
		return len(list) < max, nil
	})
	return list, err
}

func (r *partRow) record(number int) PartRecord {
	return PartRecord{
		Info: engine.PartInfo{
			Number: number, Size: r.size, ETag: engine.ETag(etag{md5: r.md5}.String()), Modified: time.Unix(0, r.stamp), Checksum: r.checksum,
		},
		Content: r.content, MD5: r.md5,
	}
}

// Info returns the bucket as callers of the engine see it.
func (r *BucketRecord) Info() engine.BucketInfo {
	return engine.BucketInfo{Name: r.Name, ID: r.ID, Created: r.Created}
}
