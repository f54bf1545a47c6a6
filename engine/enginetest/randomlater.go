package enginetest

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"hash"
	"io"
	"slices"

	"holdfast/engine"
)

// twinReader reads one version from both engines, some of it when it is opened and the rest after many other operations.
type twinReader struct {
	what    string
	bucket  engine.BucketName
	objects [2]engine.Object
	sums    [2]hash.Hash
}

// openLater opens a file, or an object by key, and reads a part of it; it is read on while others change, move and remove it.
func (r *fileScript) openLater() {
	if len(r.readers) >= 6 {
		r.readLater()
	}
	reader, some, several := &twinReader{}, int64(0), false
	if r.random.IntN(2) == 0 {
		some = r.random.Int64N(5000)
	}
	begin := func(op string, open func(i int, e engine.Engine) (engine.Object, error)) {
		_, err := r.ask(op, reader.what, reader.bucket, func(i int, e engine.Engine) (any, error) {
			object, err := open(i, e)
			if err != nil {
				return nil, err
			}
			reader.objects[i], reader.sums[i] = object, md5.New()
			if _, err = io.CopyN(reader.sums[i], readerOnly{object}, some); err == io.EOF {
				err = nil
			}
			info := withoutTime(object.Info())
			if several {
				info.Key = "" // any of its names
			}
			return info, err
		})
		if err == nil || r.Failed() {
			r.readers = append(r.readers, reader)
		}
	}
	if r.random.IntN(2) == 0 {
		ref := r.versionRef()
		reader.what, reader.bucket = fmt.Sprintf("%s/%s %s", ref.Bucket, ref.Key, ref.Version), ref.Bucket
		begin("open later", func(_ int, e engine.Engine) (engine.Object, error) { return e.Open(r.ctx, ref, engine.OpenOptions{}) })
		return
	}
	bucket := r.bucket()
	n, _, _ := r.file(bucket)
	if info, err := r.engines[0].StatFile(r.ctx, node(bucket, n, 0)); err == nil {
		several = info.Links > 1
	}
	reader.what, reader.bucket = fmt.Sprintf("node %v of %s", n, bucket), bucket
	begin("open file later", func(i int, e engine.Engine) (engine.Object, error) {
		return e.OpenFile(r.ctx, node(bucket, n, i), engine.OpenFileOptions{})
	})
}

// readerOnly hides WriteTo, which reads to the end.
type readerOnly struct{ io.Reader }

// readLater reads to the end what was opened some time ago.
func (r *fileScript) readLater() {
	if len(r.readers) == 0 {
		return
	}
	at := r.random.IntN(len(r.readers))
	reader := r.readers[at]
	r.readers = slices.Delete(r.readers, at, at+1)
	r.ask("read later", reader.what, reader.bucket, func(i int, _ engine.Engine) (any, error) {
		_, err := io.Copy(reader.sums[i], reader.objects[i])
		if closed := reader.objects[i].Close(); err == nil {
			err = closed
		}
		return fmt.Sprintf("%x", reader.sums[i].Sum(nil)), err
	})
}

func (r *fileScript) closeReaders() {
	for _, reader := range r.readers {
		for _, object := range reader.objects {
			if object != nil {
				object.Close()
			}
		}
	}
	r.readers = nil
}

// twinUpload is an upload in progress in both engines.
type twinUpload struct {
	ref   engine.Ref
	ids   [2]engine.UploadID
	parts map[int]engine.PartInfo
}

// keptUpload goes on with an upload that stays in progress while its key changes.
func (r *fileScript) keptUpload() {
	if len(r.uploads) < 3 {
		u := &twinUpload{ref: r.ref(), parts: map[int]engine.PartInfo{}}
		_, err := r.ask("start upload", fmt.Sprintf("of %s/%s", u.ref.Bucket, u.ref.Key), u.ref.Bucket, func(i int, e engine.Engine) (any, error) {
			info, err := e.StartUpload(r.ctx, u.ref, engine.StartUploadOptions{})
			u.ids[i] = info.ID
			return info, err
		})
		if err == nil {
			r.uploads = append(r.uploads, u)
		}
		return
	}
	at := r.random.IntN(len(r.uploads))
	u := r.uploads[at]
	number := 1 + r.random.IntN(3)
	what := fmt.Sprintf("%d of %s/%s", number, u.ref.Bucket, u.ref.Key)
	switch n := r.random.IntN(10); {
	case n < 3:
		r.putPart(u, number, what)
	case n < 5:
		from, o := r.versionRef(), engine.CopyPartOptions{}
		if r.random.IntN(2) == 0 {
			o.Range = &engine.Range{Start: pick(r.random, []int64{-1, 0, 1, 100, 5000}), Length: pick(r.random, []int64{1, 99, 70_000})}
		}
		values, err := r.ask("copy part", fmt.Sprintf("%s from %s/%s %s %+v", what, from.Bucket, from.Key, from.Version, o.Range), u.ref.Bucket, func(i int, e engine.Engine) (any, error) {
			return e.CopyPart(r.ctx, from, u.ref, u.ids[i], number, o)
		})
		if info, ok := values[0].(engine.PartInfo); ok && err == nil {
			u.parts[number] = info
		}
	case n < 6:
		r.ask("list parts", what, u.ref.Bucket, func(i int, e engine.Engine) (any, error) {
			return e.ListParts(r.ctx, u.ref, u.ids[i], engine.ListPartsOptions{})
		})
	case n < 9:
		if r.complete(u, what) {
			r.uploads = slices.Delete(r.uploads, at, at+1)
		}
	default:
		r.ask("abort upload", what, u.ref.Bucket, func(i int, e engine.Engine) (any, error) { return nil, e.AbortUpload(r.ctx, u.ref, u.ids[i]) })
		r.uploads = slices.Delete(r.uploads, at, at+1)
	}
}

// putPart stores a part, now and then a first one that is large enough for others to follow.
func (r *fileScript) putPart(u *twinUpload, number int, what string) {
	data := r.content()
	if number == 1 && r.random.IntN(8) == 0 {
		data = content(r.random.Uint64(), int(engine.PartBytesMin)+r.random.IntN(1000))
	}
	values, err := r.ask("put part", fmt.Sprintf("%s, %d bytes", what, len(data)), u.ref.Bucket, func(i int, e engine.Engine) (any, error) {
		return e.PutPart(r.ctx, u.ref, u.ids[i], number, bytes.NewReader(data), engine.PutPartOptions{Size: int64(len(data))})
	})
	if info, ok := values[0].(engine.PartInfo); ok && err == nil {
		u.parts[number] = info
	}
}

// complete names all parts if they are large enough, else mostly the last alone. It reports whether the upload is gone.
func (r *fileScript) complete(u *twinUpload, what string) bool {
	o := engine.CompleteUploadOptions{Size: -1}
	for number := 1; number <= 3; number++ {
		if p, ok := u.parts[number]; ok {
			if n := len(o.Parts); n > 0 && u.parts[o.Parts[n-1].Number].Size < engine.PartBytesMin && r.random.IntN(10) > 0 {
				o.Parts = o.Parts[:n-1]
			}
			o.Parts = append(o.Parts, engine.CompletePart{Number: number, ETag: p.ETag})
		}
	}
	if len(o.Parts) == 0 {
		return false
	}
	values, err := r.ask("complete upload", fmt.Sprintf("%s with %v", what, o.Parts), u.ref.Bucket, func(i int, e engine.Engine) (any, error) {
		return e.CompleteUpload(r.ctx, u.ref, u.ids[i], o)
	})
	r.rememberObject(values, err)
	return err == nil
}

// listObjects compares a page of a listing as S3 asks for it.
func (r *fileScript) listObjects() {
	bucket, names := r.bucket(), []string{string(r.key()), string(r.key())}
	o := randomOptions(r.random, names)
	o.Attributes = r.random.IntN(2) == 0
	if r.random.IntN(2) == 0 {
		r.ask("list page", fmt.Sprintf("%s %+v", bucket, o), bucket, func(_ int, e engine.Engine) (any, error) { return e.List(r.ctx, bucket, o) })
		return
	}
	v := engine.ListVersionsOptions{Prefix: o.Prefix, Delimiter: o.Delimiter, AfterKey: o.After, Max: o.Max}
	r.ask("list versions page", fmt.Sprintf("%s %+v", bucket, v), bucket, func(_ int, e engine.Engine) (any, error) { return e.ListVersions(r.ctx, bucket, v) })
}

// readObject reads a version, or the current one, by its key.
func (r *fileScript) readObject() {
	var o *engine.Range
	if r.random.IntN(2) == 0 {
		o = &engine.Range{Start: pick(r.random, []int64{-1, 0, 1, 100, 5000, 65_535}), Length: pick(r.random, []int64{1, 99, 70_000})}
	}
	r.openObject(r.versionRef(), o)
}

// openObject compares what both engines say of an object, its bytes and its parts.
func (r *fileScript) openObject(ref engine.Ref, o *engine.Range) {
	r.Helper()
	what := fmt.Sprintf("%s/%s %s", ref.Bucket, ref.Key, ref.Version)
	r.ask("open", fmt.Sprintf("%s %+v", what, o), ref.Bucket, func(_ int, e engine.Engine) (any, error) {
		return readAll(e.Open(r.ctx, ref, engine.OpenOptions{Range: o}))
	})
	r.ask("parts", what, ref.Bucket, func(_ int, e engine.Engine) (any, error) {
		page, err := e.Parts(r.ctx, ref, engine.ListPartsOptions{})
		return []any{withoutTime(page.Info), fmt.Sprint(page.Parts), page.Truncated}, err
	})
}
