package coordinator

import (
	"context"
	"errors"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// fileRef is how errors name a node.
func fileRef(f engine.File) engine.Ref { return engine.Ref{Bucket: f.Bucket} }

func placeRef(at engine.Place) engine.Ref {
	return engine.Ref{Bucket: at.Bucket, Key: engine.Key(at.Name)}
}

// file finds a node in a view of its own, which the caller closes.
func (c *Coordinator) file(ctx context.Context, f engine.File) (found *meta.FileView, view meta.Snapshot, err error) {
	record, view, err := c.bucketView(ctx, f.Bucket)
	if err != nil {
		return nil, nil, err
	}
	if found, err = meta.FindFile(view, record.ID, f.Node); err != nil {
		_ = view.Close() // the outcome is decided
		return nil, nil, rowError(err)
	}
	return found, view, nil
}

// readFile calls read with a node and the view that it was found in.
func readFile[T any](ctx context.Context, c *Coordinator, op string, f engine.File, read func(view meta.View, found *meta.FileView) (T, error)) (answer T, err error) {
	found, view, err := c.file(ctx, f)
	if err == nil {
		defer view.Close()
		answer, err = read(view, found)
		err = rowError(err)
	}
	return answer, engine.Wrap(op, fileRef(f), err)
}

// Lookup implements engine.Files.
func (c *Coordinator) Lookup(ctx context.Context, at engine.Place, version engine.VersionID) (engine.FileInfo, error) {
	info, err := c.lookupFile(ctx, at, version)
	return info, engine.Wrap("look up", placeRef(at), err)
}

func (c *Coordinator) lookupFile(ctx context.Context, at engine.Place, version engine.VersionID) (info engine.FileInfo, err error) {
	if err := engine.CheckFileName(at.Name); err != nil {
		return info, err
	}
	if err := engine.CheckVersion(version); err != nil {
		return info, err
	}
	record, view, err := c.bucketView(ctx, at.Bucket)
	if err != nil {
		return info, err
	}
	defer view.Close()
	found, err := meta.LookupFile(view, record.ID, at.Directory, at.Name, version)
	if err != nil {
		return info, rowError(err)
	}
	return found.Info, nil
}

// StatFile implements engine.Files.
func (c *Coordinator) StatFile(ctx context.Context, f engine.File) (engine.FileInfo, error) {
	return readFile(ctx, c, "stat file", f, func(_ meta.View, found *meta.FileView) (engine.FileInfo, error) { return found.Info, nil })
}

// FileKey implements engine.Files.
func (c *Coordinator) FileKey(ctx context.Context, f engine.File) (engine.Key, error) {
	return readFile(ctx, c, "find key", f, func(_ meta.View, found *meta.FileView) (engine.Key, error) {
		if found.Info.Links == 0 {
			return "", engine.E(engine.KindNoSuchKey, "the file %d has no name", f.Node)
		}
		return found.Key(), nil
	})
}

// ListDirectory implements engine.Files.
func (c *Coordinator) ListDirectory(ctx context.Context, f engine.File, o engine.ListDirectoryOptions) (engine.DirectoryPage, error) {
	page, err := c.listDirectory(ctx, f, o)
	return page, engine.Wrap("list directory", fileRef(f), err)
}

func (c *Coordinator) listDirectory(ctx context.Context, f engine.File, o engine.ListDirectoryOptions) (page engine.DirectoryPage, err error) {
	switch {
	case o.Max < 0:
		return page, engine.E(engine.KindInvalidArgument, "a page of %d names was asked for", o.Max)
	case o.Max == 0 || o.Max > engine.PageMax:
		o.Max = engine.PageMax
	}
	record, view, err := c.bucketView(ctx, f.Bucket)
	if err != nil {
		return page, err
	}
	defer view.Close()
	page, err = meta.ListDirectory(view, record.ID, f.Node, o.After, o.Max)
	return page, rowError(err)
}

// change sends a command of files and describes the node that its answer has.
func (c *Coordinator) change(ctx context.Context, command meta.Command) (info engine.FileInfo, err error) {
	answer, _, err := c.Data.Do(ctx, command)
	if err != nil || len(answer.Node) == 0 {
		return info, err
	}
	return meta.ParseNode(answer.Node)
}

// MakeFile implements engine.Files.
func (c *Coordinator) MakeFile(ctx context.Context, at engine.Place, o engine.MakeFileOptions) (engine.FileInfo, error) {
	info, err := c.makeFile(ctx, at, o)
	return info, engine.Wrap("make file", placeRef(at), err)
}

func (c *Coordinator) makeFile(ctx context.Context, at engine.Place, o engine.MakeFileOptions) (info engine.FileInfo, err error) {
	if err := engine.CheckFileName(at.Name); err != nil {
		return info, err
	}
	if err := engine.CheckMakeFile(o); err != nil {
		return info, err
	}
	if o.Class == "" {
		o.Class = engine.ClassStandard
	}
	if err := c.storable(0, o.Class); err != nil {
		return info, err
	}
	place, err := c.place(ctx, at)
	if err != nil {
		return info, err
	}
	return c.change(ctx, &meta.MakeFile{
		At: place, Type: o.Type, Attributes: o.Attributes, Class: o.Class, Data: []byte(o.Target), Clock: time.Now().UnixNano(),
	})
}

// place names a place for a command.
func (c *Coordinator) place(ctx context.Context, at engine.Place) (meta.PlaceRef, error) {
	record, err := c.bucket(ctx, at.Bucket)
	return meta.PlaceRef{Bucket: record.ID, Directory: at.Directory, Name: at.Name}, err
}

// ref names a node for a command. What it is, and whether it is, the group judges.
func (c *Coordinator) ref(ctx context.Context, f engine.File) (meta.NodeRef, error) {
	record, view, err := c.bucketView(ctx, f.Bucket)
	if err != nil {
		return meta.NodeRef{}, err
	}
	defer view.Close()
	ref, err := meta.RefOf(view, record.ID, f.Node)
	return ref, rowError(err)
}

// LinkFile implements engine.Files.
func (c *Coordinator) LinkFile(ctx context.Context, f engine.File, at engine.Place) (engine.FileInfo, error) {
	info, err := c.linkFile(ctx, f, at)
	return info, engine.Wrap("link", placeRef(at), err)
}

func (c *Coordinator) linkFile(ctx context.Context, f engine.File, at engine.Place) (info engine.FileInfo, err error) {
	if f.Bucket != at.Bucket {
		return info, engine.E(engine.KindInvalidArgument, "the names of a file are of one bucket")
	}
	if err := engine.CheckFileName(at.Name); err != nil {
		return info, err
	}
	place, err := c.place(ctx, at)
	if err != nil {
		return info, err
	}
	ref, err := c.ref(ctx, f)
	if err != nil {
		return info, err
	}
	return c.change(ctx, &meta.LinkFile{File: ref, At: place, Clock: time.Now().UnixNano()})
}

// RemoveFile implements engine.Files.
func (c *Coordinator) RemoveFile(ctx context.Context, at engine.Place, o engine.RemoveFileOptions) error {
	return engine.Wrap("remove file", placeRef(at), c.removeFile(ctx, at, o))
}

func (c *Coordinator) removeFile(ctx context.Context, at engine.Place, o engine.RemoveFileOptions) error {
	if err := engine.CheckFileName(at.Name); err != nil {
		return err
	}
	place, err := c.place(ctx, at)
	if err != nil {
		return err
	}
	_, err = c.change(ctx, &meta.RemoveFile{At: place, Directory: o.Directory})
	return err
}

// MoveFile implements engine.Files.
func (c *Coordinator) MoveFile(ctx context.Context, from, to engine.Place, o engine.MoveFileOptions) error {
	return engine.Wrap("move file", placeRef(from), c.moveFile(ctx, from, to, o))
}

func (c *Coordinator) moveFile(ctx context.Context, from, to engine.Place, o engine.MoveFileOptions) error {
	if err := engine.CheckMoveFile(from, to, o); err != nil {
		return err
	}
	source, err := c.place(ctx, from)
	if err != nil {
		return err
	}
	target := meta.PlaceRef{Bucket: source.Bucket, Directory: to.Directory, Name: to.Name}
	_, err = c.change(ctx, &meta.MoveFile{From: source, To: target, NoReplace: o.NoReplace, Exchange: o.Exchange, Clock: time.Now().UnixNano()})
	return err
}

// SetFile implements engine.Files.
func (c *Coordinator) SetFile(ctx context.Context, f engine.File, change engine.FileChange) (engine.FileInfo, error) {
	info, err := c.setFile(ctx, f, change)
	return info, engine.Wrap("set file", fileRef(f), err)
}

func (c *Coordinator) setFile(ctx context.Context, f engine.File, change engine.FileChange) (info engine.FileInfo, err error) {
	if err := engine.CheckFileChange(change); err != nil {
		return info, err
	}
	ref, err := c.ref(ctx, f)
	if err != nil {
		return info, err
	}
	return c.change(ctx, meta.NewSetFile(ref, change))
}

// Xattr implements engine.Files.
func (c *Coordinator) Xattr(ctx context.Context, f engine.File, name string) ([]byte, error) {
	if err := engine.CheckXattr(name, nil, engine.SetXattrOptions{}); err != nil {
		return nil, engine.Wrap("get extended attribute", fileRef(f), err)
	}
	return readFile(ctx, c, "get extended attribute", f, func(view meta.View, found *meta.FileView) ([]byte, error) {
		return meta.LoadXattr(view, found, name)
	})
}

// Xattrs implements engine.Files.
func (c *Coordinator) Xattrs(ctx context.Context, f engine.File) ([]string, error) {
	return readFile(ctx, c, "list extended attributes", f, meta.ListXattrs)
}

// SetXattr implements engine.Files.
func (c *Coordinator) SetXattr(ctx context.Context, f engine.File, name string, value []byte, o engine.SetXattrOptions) error {
	return engine.Wrap("set extended attribute", fileRef(f), c.setXattr(ctx, f, name, value, o))
}

func (c *Coordinator) setXattr(ctx context.Context, f engine.File, name string, value []byte, o engine.SetXattrOptions) error {
	if err := engine.CheckXattr(name, value, o); err != nil {
		return err
	}
	ref, err := c.ref(ctx, f)
	if err != nil {
		return err
	}
	_, err = c.change(ctx, &meta.SetXattr{File: ref, Name: name, Value: value, Create: o.Create, Replace: o.Replace, Remove: o.Remove})
	return err
}

// OpenFile implements engine.Files.
func (c *Coordinator) OpenFile(ctx context.Context, f engine.File, o engine.OpenFileOptions) (engine.Object, error) {
	opened, err := c.openFile(ctx, f, o)
	if err != nil {
		return nil, engine.Wrap("open file", fileRef(f), err)
	}
	return opened, nil
}

func (c *Coordinator) openFile(ctx context.Context, f engine.File, o engine.OpenFileOptions) (*object, error) {
	record, err := c.bucket(ctx, f.Bucket)
	if err != nil {
		return nil, err
	}
	view, unpin, err := c.view(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	found, err := regularFile(view, record.ID, f)
	if err != nil {
		unpin()
		return nil, err
	}
	ref := engine.Ref{Bucket: f.Bucket, Key: found.Key()}
	found.Object.Bucket = f.Bucket
	opened, err := c.openContent(ctx, view, ref, found.Object, found.Content, o.Range)
	if err != nil {
		unpin()
		return nil, err
	}
	opened.unpin = unpin
	return opened, nil
}

// regularFile finds a node that has content. Its Object says of the bucket what Open says.
func regularFile(view meta.View, bucket engine.BucketID, f engine.File) (*meta.FileView, error) {
	versioning, locks, err := meta.LookupState(view, bucket)
	if errors.Is(err, meta.ErrAbsent) {
		return nil, engine.E(engine.KindNoSuchBucket, "there is no bucket %q", f.Bucket)
	} else if err != nil {
		return nil, rowError(err)
	}
	found, err := meta.FindFile(view, bucket, f.Node)
	if err != nil {
		return nil, rowError(err)
	}
	if found.Info.Type == engine.TypeDirectory {
		return nil, engine.E(engine.KindIsDirectory, "a directory has no content")
	}
	found.Object.Versioning, found.Object.Locks = versioning, locks
	return found, nil
}

// SeekFile implements engine.Files.
func (c *Coordinator) SeekFile(ctx context.Context, f engine.File, offset int64, hole bool) (int64, error) {
	return readFile(ctx, c, "seek", f, func(view meta.View, found *meta.FileView) (int64, error) {
		size := found.Info.Size
		switch {
		case found.Info.Type == engine.TypeDirectory:
			return 0, engine.E(engine.KindIsDirectory, "a directory has no content")
		case offset < 0 || offset >= size:
			return 0, engine.E(engine.KindInvalidRange, "the offset %d is not within the %d bytes of the file", offset, size)
		}
		at, ok, err := meta.SeekContent(view, found.Content, offset, size, hole)
		switch {
		case err != nil || ok:
			return at, err
		case hole:
			return size, nil
		}
		return 0, engine.E(engine.KindInvalidRange, "there is no data from %d on", offset)
	})
}

// Usage implements engine.Files.
func (c *Coordinator) Usage(ctx context.Context, bucket engine.BucketName, prefix string) (engine.PrefixInfo, error) {
	info, err := c.usage(ctx, bucket, prefix)
	return info, engine.Wrap("usage", engine.Ref{Bucket: bucket, Key: engine.Key(prefix)}, err)
}

func (c *Coordinator) usage(ctx context.Context, bucket engine.BucketName, prefix string) (info engine.PrefixInfo, err error) {
	if err := engine.CheckUsage(prefix); err != nil {
		return info, err
	}
	record, view, err := c.bucketView(ctx, bucket)
	if err != nil {
		return info, err
	}
	defer view.Close()
	info, err = meta.PrefixUsage(view, record.ID, prefix)
	return info, rowError(err)
}

// Space implements engine.Files.
func (c *Coordinator) Space(ctx context.Context, bucket engine.BucketName) (info engine.SpaceInfo, err error) {
	record, view, err := c.bucketView(ctx, bucket)
	if err != nil {
		return info, engine.Wrap("space", engine.Ref{Bucket: bucket}, err)
	}
	info, err = meta.LookupSpace(view, record.ID)
	_ = view.Close() // a snapshot that was only read
	if err != nil {
		return info, engine.Wrap("space", engine.Ref{Bucket: bucket}, rowError(err))
	}
	total, free := c.Drives.Room()
	r, _ := c.Class(engine.ClassStandard)
	shards := int64(r.Data + r.Parity)
	info.Total, info.Free = total/shards*int64(r.Data), free/shards*int64(r.Data)
	info.Within(info.Quota)
	return info, nil
}
