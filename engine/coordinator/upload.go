package coordinator

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"io"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// StartUpload implements engine.Uploads.
func (c *Coordinator) StartUpload(ctx context.Context, ref engine.Ref, o engine.StartUploadOptions) (engine.UploadInfo, error) {
	info, err := c.startUpload(ctx, ref, o)
	return info, engine.Wrap("start upload", ref, err)
}

func (c *Coordinator) startUpload(ctx context.Context, ref engine.Ref, o engine.StartUploadOptions) (info engine.UploadInfo, err error) {
	record, err := c.locateWrite(ctx, ref)
	if err != nil {
		return info, err
	}
	if o.Class == "" {
		o.Class = engine.ClassStandard
	}
	if err := cmp.Or(checkAttributes(&o.Attributes), engine.CheckTags(o.Tags), engine.CheckRetention(o.Lock.Retention, time.Now())); err != nil {
		return info, err
	}
	if _, ok := c.Class(o.Class); !ok {
		return info, engine.E(engine.KindInvalidArgument, "there is no storage class %q", o.Class)
	}
	id := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	id = append(id, make([]byte, meta.UploadIDBytes-len(id))...)
	if _, err := rand.Read(id[8:]); err != nil {
		return info, err
	}
	command := &meta.StartUpload{
		Bucket: record.ID, Key: ref.Key, ID: string(id), Class: o.Class, Attributes: o.Attributes,
		Algorithm: o.ChecksumAlgorithm, Full: o.ChecksumFull, Tags: o.Tags, Lock: o.Lock,
	}
	answer, _, err := c.Data.Do(ctx, command)
	if err != nil {
		return info, err
	}
	return engine.UploadInfo{
		ID: meta.FormatUploadID(string(id)), Key: ref.Key, Started: unixNano(answer.Stamp), Class: o.Class, Attributes: o.Attributes, Tags: some(o.Tags),
		ChecksumAlgorithm: o.ChecksumAlgorithm, ChecksumFull: o.ChecksumFull,
	}, nil
}

// upload finds an upload in a view of its bucket.
func (c *Coordinator) upload(ctx context.Context, ref engine.Ref, id engine.UploadID) (meta.BucketRecord, meta.Snapshot, *meta.Upload, error) {
	if err := engine.CheckKey(ref.Key); err != nil {
		return meta.BucketRecord{}, nil, nil, err
	}
	record, view, err := c.bucketView(ctx, ref.Bucket)
	if err != nil {
		return record, nil, nil, err
	}
	raw, ok := meta.ParseUploadID(id)
	upload, err := (*meta.Upload)(nil), meta.ErrAbsent
	if ok {
		upload, err = meta.LoadUpload(view, record.ID, ref.Key, raw)
	}
	switch {
	case err == meta.ErrAbsent:
		err = engine.E(engine.KindNoSuchUpload, "the upload was completed, aborted, or never started")
	case err != nil:
		err = rowError(err)
	}
	if err != nil {
		_ = view.Close() // the outcome is decided
		return record, nil, nil, err
	}
	return record, view, upload, nil
}

// uploadFor finds the upload that a part is for.
func (c *Coordinator) uploadFor(ctx context.Context, ref engine.Ref, id engine.UploadID, number int) (meta.BucketRecord, *meta.Upload, error) {
	if number < 1 || number > engine.PartNumberMax {
		return meta.BucketRecord{}, nil, engine.E(engine.KindInvalidArgument, "part number %d; 1 to %d are possible", number, engine.PartNumberMax)
	}
	record, view, upload, err := c.upload(ctx, ref, id)
	if err == nil {
		_ = view.Close() // a snapshot that was only read
	}
	return record, upload, err
}

// PutPart implements engine.Uploads.
func (c *Coordinator) PutPart(ctx context.Context, ref engine.Ref, id engine.UploadID, number int, body io.Reader, o engine.PutPartOptions) (engine.PartInfo, error) {
	info, err := c.putPart(ctx, ref, id, number, body, o)
	return info, engine.Wrap("put part", ref, err)
}

func (c *Coordinator) putPart(ctx context.Context, ref engine.Ref, id engine.UploadID, number int, body io.Reader, o engine.PutPartOptions) (info engine.PartInfo, err error) {
	record, upload, err := c.uploadFor(ctx, ref, id, number)
	if err != nil {
		return info, err
	}
	stored, err := c.store(ctx, body, o.Size, upload.Info.Class, o.MD5)
	if err != nil {
		return info, err
	}
	command := &meta.PutPart{Bucket: record.ID, Key: ref.Key, ID: upload.RawID, Number: number, Data: stored.data, MD5: stored.md5}
	if o.Checksum != nil {
		command.Checksum = o.Checksum()
	}
	stepPart.Enter()
	answer, _, err := c.Data.Do(ctx, command)
	stepPart.Leave()
	if err != nil {
		c.condemn(stored.data.Extents)
		return info, err
	}
	return madePart(number, &answer, command.Checksum), nil
}

func madePart(number int, a *meta.Answer, sum engine.Checksum) engine.PartInfo {
	return engine.PartInfo{Number: number, Size: a.Size, ETag: a.ETag, Modified: unixNano(a.Stamp), Checksum: sum}
}

// ListParts implements engine.Uploads.
func (c *Coordinator) ListParts(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.ListPartsOptions) (page engine.PartPage, err error) {
	record, view, upload, err := c.upload(ctx, ref, id)
	if err != nil {
		return page, engine.Wrap("list parts", ref, err)
	}
	defer view.Close()
	if o.Max <= 0 || o.Max > engine.PageMax {
		o.Max = engine.PageMax
	}
	list, err := meta.ListParts(view, record.ID, upload.RawID, o.After, o.Max+1)
	if err != nil {
		return page, engine.Wrap("list parts", ref, rowError(err))
	}
	page.Upload = upload.Info
	if len(list) > o.Max {
		list, page.Truncated = list[:o.Max], true
	}
	for i := range list {
		page.Parts = append(page.Parts, list[i].Info)
	}
	return page, nil
}

// ListUploads implements engine.Uploads.
func (c *Coordinator) ListUploads(ctx context.Context, bucket engine.BucketName, o engine.ListUploadsOptions) (page engine.UploadPage, err error) {
	record, view, err := c.bucketView(ctx, bucket)
	if err != nil {
		return page, engine.Wrap("list uploads", engine.Ref{Bucket: bucket}, err)
	}
	defer view.Close()
	page, err = meta.ListUploads(view, record.ID, o)
	return page, engine.Wrap("list uploads", engine.Ref{Bucket: bucket}, rowError(err))
}

// AbortUpload implements engine.Uploads.
func (c *Coordinator) AbortUpload(ctx context.Context, ref engine.Ref, id engine.UploadID) error {
	record, view, upload, err := c.upload(ctx, ref, id)
	if err != nil {
		return engine.Wrap("abort upload", ref, err)
	}
	_ = view.Close() // a snapshot that was only read
	_, _, err = c.Data.Do(ctx, &meta.AbortUpload{Bucket: record.ID, Key: ref.Key, ID: upload.RawID})
	return engine.Wrap("abort upload", ref, err)
}

// CompleteUpload implements engine.Uploads.
func (c *Coordinator) CompleteUpload(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.CompleteUploadOptions) (engine.ObjectInfo, error) {
	info, err := c.completeUpload(ctx, ref, id, o)
	return info, engine.Wrap("complete upload", ref, err)
}

func (c *Coordinator) completeUpload(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.CompleteUploadOptions) (info engine.ObjectInfo, err error) {
	defer stepComplete.Enter().Leave()
	if err := cmp.Or(checkPartOrder(o.Parts), checkWrite(&o.If)); err != nil {
		return info, err
	}
	record, view, upload, err := c.upload(ctx, ref, id)
	if engine.Is(err, engine.KindNoSuchUpload) {
		return c.completedBefore(ctx, ref, id, o, err)
	}
	if err != nil {
		return info, err
	}
	parts, err := c.chooseParts(view, record.ID, upload.RawID, o.Parts)
	_ = view.Close() // a snapshot that was only read
	if err != nil {
		return info, err
	}
	command, err := c.completion(record.ID, ref.Key, upload, parts, o)
	if err != nil {
		return info, err
	}
	if len(command.Parts) > meta.CompletePartsMax {
		if err := c.stage(ctx, command); err != nil {
			return info, err
		}
	}
	answer, _, err := c.Data.Do(ctx, command)
	if err != nil {
		return info, err
	}
	info = made(ref, &answer)
	info.Class, info.Attributes, info.Tags = upload.Info.Class, upload.Info.Attributes, upload.Info.Tags
	info.Checksum, info.Parts = command.Checksum, len(parts)
	return info, nil
}

func checkPartOrder(parts []engine.CompletePart) error {
	if len(parts) == 0 || len(parts) > engine.PartNumberMax {
		return engine.E(engine.KindInvalidArgument, "a completion names %d parts; 1 to %d are possible", len(parts), engine.PartNumberMax)
	}
	for i := range parts {
		if i > 0 && parts[i].Number <= parts[i-1].Number {
			return engine.E(engine.KindInvalidPartOrder, "part %d is named after part %d", parts[i].Number, parts[i-1].Number)
		}
	}
	return nil
}

// chooseParts finds the named parts and checks what the caller says of them.
func (c *Coordinator) chooseParts(view meta.View, bucket engine.BucketID, raw string, named []engine.CompletePart) ([]meta.PartRecord, error) {
	all, err := meta.ListParts(view, bucket, raw, 0, engine.PartNumberMax)
	if err != nil {
		return nil, rowError(err)
	}
	have := make(map[int]*meta.PartRecord, len(all))
	for i := range all {
		have[all[i].Info.Number] = &all[i]
	}
	parts := make([]meta.PartRecord, len(named))
	for i, name := range named {
		part := have[name.Number]
		switch {
		case part == nil:
			return nil, engine.E(engine.KindInvalidPart, "there is no part %d", name.Number)
		case part.Info.ETag != name.ETag:
			return nil, engine.E(engine.KindInvalidPart, "part %d has the ETag %q, not %q", name.Number, part.Info.ETag, name.ETag)
		case name.Checksum.Algorithm != "" && !sameSum(name.Checksum, part.Info.Checksum):
			return nil, engine.E(engine.KindInvalidPart, "part %d has another checksum", name.Number)
		case i < len(named)-1 && part.Info.Size < engine.PartBytesMin:
			return nil, engine.E(engine.KindPartTooSmall, "part %d has %d bytes; all but the last need %d", name.Number, part.Info.Size, engine.PartBytesMin)
		}
		parts[i] = *part
	}
	return parts, nil
}

func sameSum(a, b engine.Checksum) bool {
	return a.Algorithm == b.Algorithm && string(a.Sum) == string(b.Sum)
}

// completion builds the command of a completion.
func (c *Coordinator) completion(bucket engine.BucketID, key engine.Key, upload *meta.Upload, parts []meta.PartRecord, o engine.CompleteUploadOptions) (*meta.CompleteUpload, error) {
	command := &meta.CompleteUpload{Bucket: bucket, Key: key, ID: upload.RawID, Count: len(parts), If: o.If, Clock: time.Now().UnixNano()}
	infos := make([]engine.PartInfo, len(parts))
	sums := md5.New()
	for i := range parts {
		command.Parts = append(command.Parts, meta.Part{Number: parts[i].Info.Number, Content: parts[i].Content})
		command.Size += parts[i].Info.Size
		sums.Write(parts[i].MD5[:])
		infos[i] = parts[i].Info
	}
	sums.Sum(command.MD5[:0])
	switch {
	case command.Size > engine.ObjectBytesMax:
		return nil, engine.E(engine.KindEntityTooLarge, "the parts have %d bytes; at most %d are allowed", command.Size, engine.ObjectBytesMax)
	case o.Size >= 0 && o.Size != command.Size:
		return nil, engine.E(engine.KindInvalidArgument, "the parts have %d bytes, the completion says %d", command.Size, o.Size)
	}
	var err error
	if command.Checksum, err = wholeChecksum(upload.Info.ChecksumAlgorithm, upload.Info.ChecksumFull, infos); err != nil {
		return nil, err
	}
	if len(o.Checksum.Sum) > 0 && !sameSum(o.Checksum, command.Checksum) {
		return nil, engine.E(engine.KindBadDigest, "the whole has another %s checksum", o.Checksum.Algorithm)
	}
	return command, nil
}

// stage makes a content of more parts than one command may touch.
func (c *Coordinator) stage(ctx context.Context, command *meta.CompleteUpload) error {
	for begin := 0; begin < len(command.Parts); begin += meta.CompletePartsMax {
		end := min(begin+meta.CompletePartsMax, len(command.Parts))
		answer, _, err := c.Data.Do(ctx, &meta.Stage{
			Bucket: command.Bucket, ID: command.ID, Content: command.Staged, Parts: command.Parts[begin:end],
		})
		if err != nil {
			return err
		}
		command.Staged = answer.Content
	}
	command.Parts = nil
	return nil
}

// completedBefore answers a repeated completion from the version that the first one made, while it is current.
func (c *Coordinator) completedBefore(ctx context.Context, ref engine.Ref, id engine.UploadID, o engine.CompleteUploadOptions, absent error) (engine.ObjectInfo, error) {
	record, view, err := c.bucketView(ctx, ref.Bucket)
	if err != nil {
		return engine.ObjectInfo{}, err
	}
	defer view.Close()
	raw, _ := meta.ParseUploadID(id)
	object, err := meta.LookupUploaded(view, record.ID, ref.Key, raw)
	if err == meta.ErrAbsent || err == nil && (raw == "" || object.Info.ETag != completedETag(o.Parts)) {
		return engine.ObjectInfo{}, absent
	}
	if err != nil {
		return engine.ObjectInfo{}, rowError(err)
	}
	object.Info.Bucket, object.Info.Key = ref.Bucket, ref.Key
	return object.Info, nil
}
