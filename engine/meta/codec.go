package meta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"holdfast/engine"
)

// errFormat is what every decoder answers for bytes that no encoder wrote.
var errFormat = errors.New("malformed bytes")

// encoder appends fields. Numbers are varints, byte strings carry their length in front.
type encoder struct{ b []byte }

func (e *encoder) byte(v byte)     { e.b = append(e.b, v) }
func (e *encoder) uint(v uint64)   { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)     { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) fixed(v uint64)  { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *encoder) bytes(v []byte)  { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) string(v string) { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

// decoder takes fields. After the first malformed one all answers are zero and err is set.
type decoder struct {
	b      []byte
	err    error
	format byte // of the row or command that is being read
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errFormat
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) fixed() uint64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

// bytes returns a part of the input, nil for an empty string. Rows clone it: the value under an iterator changes when that moves on. Commands
// need not, what they are decoded from is theirs.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

// count reads the length of a list whose elements take at least one byte each, so that no input makes a decoder allocate more
// than a multiple of its own size.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

// version reads the format version of a row and refuses a newer one.
func (d *decoder) version(newest byte) {
	v := d.byte()
	d.format = v
	if v > newest {
		d.err = engine.Newer("the row", uint64(v), uint64(newest))
	}
	if v == 0 || v > newest {
		d.fail()
	}
}

// end returns the first error; bytes that are left over are one.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail()
	}
	return d.err
}

func (e *encoder) extent(id engine.ExtentID) {
	e.b = appendExtent(e.b, id)
}

func appendExtent(b []byte, id engine.ExtentID) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(id.Group))
	b = binary.BigEndian.AppendUint64(b, id.Epoch)
	return binary.BigEndian.AppendUint64(b, id.Counter)
}

func (d *decoder) extent() engine.ExtentID {
	if len(d.b) < 20 {
		d.fail()
		return engine.ExtentID{}
	}
	id := engine.ExtentID{
		Group:   engine.GroupID(binary.BigEndian.Uint32(d.b)),
		Epoch:   binary.BigEndian.Uint64(d.b[4:]),
		Counter: binary.BigEndian.Uint64(d.b[12:]),
	}
	d.b = d.b[20:]
	return id
}

func (e *encoder) attributes(a *engine.Attributes) {
	for _, s := range []string{a.ContentType, a.ContentEncoding, a.ContentDisposition, a.ContentLanguage, a.CacheControl, a.Expires} {
		e.string(s)
	}
	e.uint(uint64(len(a.User)))
	for _, name := range sortedNames(a.User) {
		e.string(name)
		e.string(a.User[name])
	}
}

func (d *decoder) attributes() (a engine.Attributes) {
	for _, s := range []*string{&a.ContentType, &a.ContentEncoding, &a.ContentDisposition, &a.ContentLanguage, &a.CacheControl, &a.Expires} {
		*s = d.string()
	}
	if n := d.count(); n > 0 {
		a.User = make(map[string]string, n)
		for range n {
			name := d.string()
			a.User[name] = d.string()
		}
	}
	return a
}

func (e *encoder) tags(tags engine.Tags) {
	e.uint(uint64(len(tags)))
	for _, name := range sortedNames(tags) {
		e.string(name)
		e.string(tags[name])
	}
}

func (d *decoder) tags() (tags engine.Tags) {
	if n := d.count(); n > 0 {
		tags = make(engine.Tags, n)
		for range n {
			name := d.string()
			tags[name] = d.string()
		}
	}
	return tags
}

func (e *encoder) lock(l *engine.Lock) {
	e.byte(byte(l.Mode) | flag(l.Hold)<<7 | flag(l.Lifted)<<6)
	if l.Mode != engine.RetentionNone {
		e.int(l.Until.UnixMilli())
	}
}

func (d *decoder) lock() (l engine.Lock) {
	b := d.byte()
	l.Mode, l.Hold, l.Lifted = engine.RetentionMode(b&0x3f), b&0x80 != 0, b&0x40 != 0
	if l.Mode != engine.RetentionNone {
		l.Until = time.UnixMilli(d.int()).UTC()
	}
	return l
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

func (e *encoder) bucketLock(l *engine.BucketLock) {
	e.bool(l.Enabled)
	e.byte(byte(l.Mode))
	e.uint(uint64(l.Days))
	e.uint(uint64(l.Years))
}

func (d *decoder) bucketLock() engine.BucketLock {
	return engine.BucketLock{Enabled: d.bool(), Mode: engine.RetentionMode(d.byte()), Days: int(d.uint()), Years: int(d.uint())}
}

func (e *encoder) checksum(c *engine.Checksum) {
	e.string(c.Algorithm)
	if c.Algorithm == "" {
		return
	}
	e.bytes(c.Sum)
	e.bool(c.Composite)
	e.uint(uint64(c.Parts))
}

func (d *decoder) checksum() (c engine.Checksum) {
	c.Algorithm = d.string()
	if c.Algorithm == "" {
		return c
	}
	c.Sum = bytes.Clone(d.bytes())
	c.Composite = d.bool()
	c.Parts = int(d.uint())
	return c
}

// etag is an ETag in 17 bytes or few more: the MD5 and the number of parts, 0 for a plain put.
type etag struct {
	md5   [16]byte
	parts int
}

func (e *encoder) etag(t etag) {
	e.b = append(e.b, t.md5[:]...)
	e.uint(uint64(t.parts))
}

func (d *decoder) etag() (t etag) {
	if len(d.b) < 16 {
		d.fail()
		return t
	}
	copy(t.md5[:], d.b)
	d.b = d.b[16:]
	t.parts = int(d.uint())
	return t
}
