package memory

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/google/btree"

	"holdfast/engine"
)

// StartUpload begins an upload of ref.Key.
func (e *Engine) StartUpload(ctx context.Context, ref engine.Ref, o engine.StartUploadOptions) (engine.UploadInfo, error) {
	info, err := e.startUpload(ctx, ref, o)
	return info, engine.Wrap("start upload", ref, err)
}

func (e *Engine) startUpload(ctx context.Context, ref engine.Ref, o engine.StartUploadOptions) (info engine.UploadInfo, err error) {
	if err := readyKey(ctx, ref); err != nil {
		return info, err
	}
	if err := checkWrite(ref, engine.Conditions{}); err != nil {
		return info, err
	}
	if err := errors.Join(checkAttributes(o.Attributes), engine.CheckTags(o.Tags), engine.CheckRetention(o.Lock.Retention, e.now())); err != nil {
		return info, err
	}
	if err := checkAlgorithm(o.ChecksumAlgorithm, o.ChecksumFull); err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(ref.Bucket)
	if err != nil {
		return info, err
	}
	if _, err := e.newLock(b, o.Lock); err != nil {
		return info, err
	}
	e.uploads++
	u := &upload{
		lock: o.Lock,
		info: cloneUpload(engine.UploadInfo{
			ID: newUploadID(e.uploads), Key: ref.Key, Started: e.stamp(b), Class: class(o.Class), Attributes: o.Attributes, Tags: o.Tags,
			ChecksumAlgorithm: o.ChecksumAlgorithm, ChecksumFull: o.ChecksumFull,
		}),
		parts: btree.NewG(degree, func(a, b *part) bool { return a.info.Number < b.info.Number }),
	}
	b.uploads.ReplaceOrInsert(u)
	return cloneUpload(u.info), nil
}

// newUploadID returns an id that sorts by start and cannot be guessed: 8 bytes of a counter, 16 of chance.
func newUploadID(started uint64) engine.UploadID {
	var id [24]byte
	binary.BigEndian.PutUint64(id[:], started)
	rand.Read(id[8:]) // never fails: the runtime ends the process when the system has no randomness
	return engine.UploadID(hex.EncodeToString(id[:]))
}

func cloneUpload(info engine.UploadInfo) engine.UploadInfo {
	info.Attributes.User = maps.Clone(info.Attributes.User)
	if info.Tags = maps.Clone(info.Tags); len(info.Tags) == 0 {
		info.Tags = nil
	}
	return info
}

func clonePart(info engine.PartInfo) engine.PartInfo {
	info.Checksum.Sum = slices.Clone(info.Checksum.Sum)
	return info
}

// upload finds an upload of a key.
func (b *bucket) upload(key engine.Key, id engine.UploadID) (*upload, error) {
	if u, ok := b.uploads.Get(&upload{info: engine.UploadInfo{Key: key, ID: id}}); ok {
		return u, nil
	}
	return nil, engine.E(engine.KindNoSuchUpload, "the upload was completed, aborted, or never started")
}

// findUpload finds a bucket and an upload in it. The caller holds the lock.
func (e *Engine) findUpload(ref engine.Ref, id engine.UploadID) (*bucket, *upload, error) {
	b, err := e.find(ref.Bucket)
	if err != nil {
		return nil, nil, err
	}
	u, err := b.upload(ref.Key, id)
	return b, u, err
}

// PutPart stores one part.
func (e *Engine) PutPart(ctx context.Context, ref engine.Ref, id engine.UploadID, number int, body io.Reader, o engine.PutPartOptions) (engine.PartInfo, error) {
	info, err := e.putPart(ctx, ref, id, number, body, o)
	return info, engine.Wrap("put part", ref, err)
}

func (e *Engine) putPart(ctx context.Context, ref engine.Ref, id engine.UploadID, number int, body io.Reader, o engine.PutPartOptions) (info engine.PartInfo, err error) {
	if err := e.readyPart(ctx, ref, id, number); err != nil {
		return info, err
	}
	c, err := receive(ctx, body, o.Size, o.MD5, o.Checksum)
	if err != nil {
		return info, err
	}
	return e.setPart(ref, id, number, c)
}

// readyPart returns what is wrong with a part before its content is looked at.
func (e *Engine) readyPart(ctx context.Context, ref engine.Ref, id engine.UploadID, number int) error {
	if err := readyKey(ctx, ref); err != nil {
		return err
	}
	if number < 1 || number > engine.PartNumberMax {
		return engine.E(engine.KindInvalidArgument, "a part's number is 1 to %d, not %d", engine.PartNumberMax, number)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, _, err := e.findUpload(ref, id)
	return err
}

func (e *Engine) setPart(ref engine.Ref, id engine.UploadID, number int, c content) (info engine.PartInfo, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, u, err := e.findUpload(ref, id)
	if err != nil {
		return info, err
	}
	p := &part{data: c.data, md5: c.md5, info: engine.PartInfo{
		Number: number, Size: int64(len(c.data)), ETag: engine.ETag(hex.EncodeToString(c.md5[:])), Modified: e.stamp(b), Checksum: c.checksum,
	}}
	u.parts.ReplaceOrInsert(p)
	return clonePart(p.info), nil
}

// ListParts returns parts in order of their numbers.
func (e *Engine) ListParts(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.ListPartsOptions) (engine.PartPage, error) {
	p, err := e.listParts(ctx, ref, id, o)
	return p, engine.Wrap("list parts", ref, err)
}

func (e *Engine) listParts(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.ListPartsOptions) (p engine.PartPage, err error) {
	limit, err := page(o.Max)
	if err == nil {
		err = readyKey(ctx, ref)
	}
	if err != nil {
		return p, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, u, err := e.findUpload(ref, id)
	if err != nil {
		return p, err
	}
	p.Upload = cloneUpload(u.info)
	u.parts.Ascend(func(current *part) bool {
		switch {
		case current.info.Number <= o.After:
		case len(p.Parts) == limit:
			p.Truncated = true
			return false
		default:
			p.Parts = append(p.Parts, clonePart(current.info))
		}
		return true
	})
	return p, nil
}

// ListUploads returns uploads in order of key, then of start.
func (e *Engine) ListUploads(ctx context.Context, name engine.BucketName, o engine.ListUploadsOptions) (engine.UploadPage, error) {
	p, err := e.listUploads(ctx, name, o)
	return p, engine.Wrap("list uploads", engine.Ref{Bucket: name}, err)
}

func (e *Engine) listUploads(ctx context.Context, name engine.BucketName, o engine.ListUploadsOptions) (p engine.UploadPage, err error) {
	limit, err := page(o.Max)
	if err == nil {
		err = ready(ctx, name)
	}
	if err != nil {
		return p, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, err := e.find(name)
	if err != nil {
		return p, err
	}
	selects := selector{prefix: o.Prefix, delimiter: o.Delimiter, after: string(o.AfterKey)}
	b.uploads.AscendGreaterOrEqual(&upload{info: engine.UploadInfo{Key: engine.Key(o.Prefix)}}, func(u *upload) bool {
		if !strings.HasPrefix(string(u.info.Key), o.Prefix) {
			return false
		}
		common, ok := selects.rollUp(string(u.info.Key))
		if !ok && o.AfterID != "" && u.info.Key == o.AfterKey && (common == "" || common != string(o.AfterKey)) {
			ok = u.info.ID > o.AfterID
		}
		if !ok || common != "" && len(p.Prefixes) > 0 && common == p.Prefixes[len(p.Prefixes)-1] {
			return true
		}
		if len(p.Uploads)+len(p.Prefixes) == limit {
			p.Truncated = true
			return false
		}
		if common != "" {
			p.Prefixes, p.LastKey, p.LastID = append(p.Prefixes, common), engine.Key(common), ""
		} else {
			p.Uploads, p.LastKey, p.LastID = append(p.Uploads, cloneUpload(u.info)), u.info.Key, u.info.ID
		}
		return true
	})
	return p, nil
}

// AbortUpload discards an upload and its parts.
func (e *Engine) AbortUpload(ctx context.Context, ref engine.Ref, id engine.UploadID) error {
	return engine.Wrap("abort upload", ref, e.abortUpload(ctx, ref, id))
}

func (e *Engine) abortUpload(ctx context.Context, ref engine.Ref, id engine.UploadID) error {
	if err := readyKey(ctx, ref); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, u, err := e.findUpload(ref, id)
	if err != nil {
		return err
	}
	b.uploads.Delete(u)
	return nil
}
