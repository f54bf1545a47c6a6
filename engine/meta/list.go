package meta

import (
	"encoding/binary"
	"strings"

	"holdfast/engine"
)

// List returns a page of a bucket's keys and common prefixes in byte order. The tree is walked in order, which is the order of the
// keys; with the delimiter "/" a directory that is not descended into costs one row.
func List(view View, bucket engine.BucketID, o engine.ListOptions) (engine.ObjectPage, error) {
	page := engine.ObjectPage{}
	limit := o.Max
	if limit <= 0 || limit > engine.PageMax {
		limit = engine.PageMax
	}
	w := &walk{view: view, bucket: bucket}
	defer w.close()
	if versioning, err := LookupVersioning(view, bucket); err != nil && err != ErrAbsent {
		return page, err
	} else if versioning != engine.VersioningOff {
		w.live = true
	}
	position, ok := behind(o.After, o.Prefix, o.Delimiter)
	if !ok {
		return page, nil
	}
	w.slash = o.Delimiter == "/"
	w.prefix = o.Prefix
	if err := w.seek(position); err != nil {
		return page, err
	}
	for {
		key, entry, err := w.next()
		if err != nil || key == "" || !strings.HasPrefix(key, o.Prefix) {
			return page, err
		}
		if len(page.Objects)+len(page.Prefixes) == limit {
			page.Truncated = true
			return page, nil
		}
		if o.Delimiter != "" {
			if prefix := rolled(key, o.Prefix, o.Delimiter); prefix != "" {
				page.Prefixes = append(page.Prefixes, prefix)
				page.Last = prefix
				if entry.kind == entryDirectory && prefix == key {
					continue // the walk did not descend
				}
				next := after([]byte(prefix))
				if next == nil {
					return page, nil
				}
				if err := w.seek(string(next)); err != nil {
					return page, err
				}
				continue
			}
		}
		info := entry.info()
		if o.Attributes {
			var r inodeRow
			if ok, err := load(view, key16(rowInode, uint64(bucket), entry.inode), &r); err != nil {
				return page, err
			} else if ok {
				info = r.info(entry)
				info.Lock = engine.Lock{}
			}
		}
		info.Key = engine.Key(key)
		page.Objects = append(page.Objects, info)
		page.Last = key
	}
}

// behind returns where a listing continues after a key or a common prefix; ok is false if nothing can follow.
func behind(last, prefix, delimiter string) (position string, ok bool) {
	switch {
	case last == "" || last < prefix:
		return prefix, true
	case delimiter != "" && rolled(last, prefix, delimiter) == last:
		next := after([]byte(last))
		return string(next), next != nil
	}
	return last + "\x00", true
}

// rolled returns the common prefix that key is rolled up into, or "".
func rolled(key, prefix, delimiter string) string {
	if !strings.HasPrefix(key, prefix) {
		return ""
	}
	i := strings.Index(key[len(prefix):], delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(prefix)+i+len(delimiter)]
}

// walk goes through a bucket's tree in the order of the keys. Next returns objects and, where it need not descend, directories.
type walk struct {
	view   View
	bucket engine.BucketID
	prefix string
	slash  bool // common prefixes end at "/": directories beneath the prefix are not descended into
	// live says that directories may hold no objects but delete markers and older versions: those are passed over.
	live bool
	// markers says that delete markers are returned too.
	markers bool
	stack   []level
}

// level is a directory being read; path is the key's part up to it.
type level struct {
	path  string
	inode uint64
	it    Iterator
	// first is the name to begin at; a directory that the position lies within is entered rather than passed.
	first  string
	within string
}

func (w *walk) close() {
	for _, l := range w.stack {
		_ = l.it.Close() // of a snapshot that is only read; its errors came with Next
	}
	w.stack = w.stack[:0]
}

// seek moves to the first key not less than position.
func (w *walk) seek(position string) error {
	// Levels that the position still lies within stay open.
	for len(w.stack) > 0 {
		top := &w.stack[len(w.stack)-1]
		if strings.HasPrefix(position, top.path) {
			break
		}
		if err := top.it.Close(); err != nil {
			return err
		}
		w.stack = w.stack[:len(w.stack)-1]
	}
	if len(w.stack) == 0 {
		w.push("", rootInode)
	}
	for {
		top := &w.stack[len(w.stack)-1]
		rest := position[len(top.path):]
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			top.first = rest
			return nil
		}
		name := rest[:i+1]
		var entry entryRow
		ok, err := load(w.view, entryKey(w.bucket, top.inode, name), &entry)
		if err != nil {
			return err
		}
		top.first = name
		if !ok {
			top.first = rest // names between name and what follows it cannot exist: they would hold the "/" too
			return nil
		}
		top.within = name
		w.push(top.path+name, entry.inode)
	}
}

func (w *walk) push(path string, inode uint64) {
	lower := entryKey(w.bucket, inode, "")
	w.stack = append(w.stack, level{path: path, inode: inode, it: w.view.Iterate(lower, after(lower))})
	w.stack[len(w.stack)-1].first = ""
}

// next returns the next object, or directory that is not descended into; "" at the end.
func (w *walk) next() (string, *entryRow, error) {
	for len(w.stack) > 0 {
		top := &w.stack[len(w.stack)-1]
		ok := false
		if top.first != "\xff" {
			ok = top.it.SeekGE(entryKey(w.bucket, top.inode, top.first))
			top.first = "\xff" // no name of UTF-8 begins with it: the seek is done
		} else {
			ok = top.it.Next()
		}
		if ok && top.within != "" {
			name := string(top.it.Key()[17:])
			within := top.within
			top.within = ""
			if name == within { // its keys are done: the level above it was read
				ok = top.it.Next()
			}
		}
		if !ok {
			if err := top.it.Close(); err != nil {
				return "", nil, err
			}
			w.stack = w.stack[:len(w.stack)-1]
			continue
		}
		name := string(top.it.Key()[17:])
		entry := new(entryRow)
		if err := parse(top.it.Key(), top.it.Value(), entry); err != nil {
			return "", nil, err
		}
		key := top.path + name
		switch {
		case entry.kind == entryObject, entry.kind == entryMarker && w.markers:
			return key, entry, nil
		case entry.kind == entryDirectory:
			if dead, err := w.dead(entry.inode); err != nil {
				return "", nil, err
			} else if dead {
				continue
			}
			if w.slash && len(key) > len(w.prefix) && strings.HasPrefix(key, w.prefix) {
				return key, entry, nil
			}
			if !strings.HasPrefix(key, w.prefix) && !strings.HasPrefix(w.prefix, key) && key > w.prefix {
				return "", nil, nil // everything from here on lies behind the prefix
			}
			w.push(key, entry.inode)
		}
	}
	return "", nil, nil
}

// dead reports whether a directory holds nothing that this walk returns.
func (w *walk) dead(directory uint64) (bool, error) {
	if !w.live {
		return false, nil
	}
	var r aggregateRow
	_, err := load(w.view, key16(rowAggregate, uint64(w.bucket), directory), &r)
	return r.objects == 0, err
}

// directory returns the innermost directory that the walk is in, which is that of the entry which next returned.
func (w *walk) directory() uint64 { return w.stack[len(w.stack)-1].inode }

// ListVersions returns a page of a bucket's versions and common prefixes, in byte order of the keys and from the newest to the oldest of each.
func ListVersions(view View, bucket engine.BucketID, o engine.ListVersionsOptions) (engine.VersionPage, error) {
	page := engine.VersionPage{}
	limit := o.Max
	if limit <= 0 || limit > engine.PageMax {
		limit = engine.PageMax
	}
	w := &walk{view: view, bucket: bucket, prefix: o.Prefix, slash: o.Delimiter == "/", markers: true}
	defer w.close()
	position, ok := behind(o.AfterKey, o.Prefix, o.Delimiter)
	if o.AfterVersion != "" && o.AfterKey >= o.Prefix && (o.Delimiter == "" || rolled(o.AfterKey, o.Prefix, o.Delimiter) == "") {
		position, ok = o.AfterKey, true // the key may have older versions
	}
	if !ok {
		return page, nil
	}
	if err := w.seek(position); err != nil {
		return page, err
	}
	for {
		key, entry, err := w.next()
		if err != nil || key == "" || !strings.HasPrefix(key, o.Prefix) {
			return page, err
		}
		full := len(page.Versions)+len(page.Prefixes) == limit
		if prefix := rolled(key, o.Prefix, o.Delimiter); o.Delimiter != "" && prefix != "" {
			if page.Truncated = full; full {
				return page, nil
			}
			page.Prefixes = append(page.Prefixes, prefix)
			page.LastKey, page.LastVersion = prefix, ""
			if entry.kind == entryDirectory && prefix == key {
				continue // the walk did not descend
			}
			next := after([]byte(prefix))
			if next == nil {
				return page, nil
			}
			if err := w.seek(string(next)); err != nil {
				return page, err
			}
			continue
		}
		last := engine.VersionID("")
		if key == o.AfterKey {
			last = o.AfterVersion
		}
		err = stack(view, bucket, w.directory(), key, entry, last, func(v *entryRow) bool {
			if page.Truncated = len(page.Versions)+len(page.Prefixes) == limit; page.Truncated {
				return false
			}
			info := v.info()
			info.Key, info.Latest = engine.Key(key), v.sequence == entry.sequence
			page.Versions = append(page.Versions, info)
			page.LastKey, page.LastVersion = key, info.Version
			return true
		})
		if err != nil || page.Truncated {
			return page, err
		}
	}
}

// stack calls f for the versions of a key that are older than the one called behind, or all for "", from the newest to the oldest, until f returns
// false. Where a null version was is not known once it is gone: all are listed then, since somebody who deletes what he lists must not miss any.
func stack(view View, bucket engine.BucketID, directory uint64, key string, top *entryRow, behind engine.VersionID, f func(*entryRow) bool) error {
	last := top.sequence + 1
	switch s, ok := engine.ParseVersion(behind); {
	case ok:
		last = s
	case behind == engine.NullVersion && !top.named:
		last = top.sequence
	case behind == engine.NullVersion && top.nullOlder != 0:
		last = top.nullOlder
	}
	if top.sequence < last && !f(top) || top.older == 0 || last <= 1 {
		return nil
	}
	_, name := splitKey(key)
	prefix := olderPrefix(bucket, directory, name)
	return scan(view, prefix, binary.BigEndian.AppendUint64(nil, ^uint64(last-1)), func(key, value []byte) (bool, error) {
		var v entryRow
		err := parse(key, value, &v)
		return err == nil && f(&v), err
	})
}

// ListUploads returns a page of uploads in order of key and start.
func ListUploads(view View, bucket engine.BucketID, o engine.ListUploadsOptions) (engine.UploadPage, error) {
	page := engine.UploadPage{}
	limit := o.Max
	if limit <= 0 || limit > engine.PageMax {
		limit = engine.PageMax
	}
	prefix := key8(rowUpload, uint64(bucket))
	it := view.Iterate(prefix, after(prefix))
	from := appendEscaped(append([]byte(nil), prefix...), o.Prefix)
	if start := uploadsAfter(bucket, &o); string(start) > string(from) {
		from = start
	}
	for ok := it.SeekGE(from); ok; {
		key, raw, err := splitUploadKey(it.Key()[9:])
		if err == nil && !strings.HasPrefix(string(key), o.Prefix) {
			break
		}
		var r uploadRow
		if err == nil {
			err = parse(it.Key(), it.Value(), &r)
		}
		if err != nil {
			_ = it.Close() // the decoder's error is the reason
			return page, err
		}
		if len(page.Uploads)+len(page.Prefixes) == limit {
			page.Truncated = true
			break
		}
		common := ""
		if o.Delimiter != "" {
			common = rolled(string(key), o.Prefix, o.Delimiter)
		}
		if common == "" {
			page.Uploads = append(page.Uploads, r.upload(key, raw).Info)
			page.LastKey, page.LastID = key, FormatUploadID(raw)
			ok = it.Next()
			continue
		}
		page.Prefixes = append(page.Prefixes, common)
		page.LastKey, page.LastID = engine.Key(common), ""
		next := after(appendEscaped(append([]byte(nil), prefix...), common))
		ok = next != nil && it.SeekGE(next)
	}
	return page, it.Close()
}

// uploadsAfter returns where a listing of uploads continues.
func uploadsAfter(bucket engine.BucketID, o *engine.ListUploadsOptions) []byte {
	if o.AfterKey == "" {
		return nil
	}
	if o.Delimiter != "" && rolled(string(o.AfterKey), o.Prefix, o.Delimiter) == string(o.AfterKey) {
		return after(appendEscaped(key8(rowUpload, uint64(bucket)), string(o.AfterKey)))
	}
	if raw, ok := ParseUploadID(o.AfterID); ok {
		return append(uploadKey(bucket, o.AfterKey, raw), 0)
	}
	return after(uploadKey(bucket, o.AfterKey, ""))
}
