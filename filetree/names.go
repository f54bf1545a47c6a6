package filetree

import (
	"context"
	"errors"
	"time"

	"holdfast/engine"
)

// isSymlink reports whether Create found a symbolic link.
func isSymlink(err error) bool {
	var found symlinkError
	return errors.As(err, &found)
}

// Stat describes what a path leads to, symbolic links followed.
func (t *Tree) Stat(ctx context.Context, p string) (engine.FileInfo, error) {
	n, err := t.resolve(ctx, p, true)
	return n.Info, pathError("stat", p, err)
}

// Lstat is Stat that does not follow a symbolic link at the end of the path.
func (t *Tree) Lstat(ctx context.Context, p string) (engine.FileInfo, error) {
	n, err := t.resolve(ctx, p, false)
	return n.Info, pathError("stat", p, err)
}

// Mkdir makes a directory. KindExists.
func (t *Tree) Mkdir(ctx context.Context, p string, perm uint32) error {
	return t.atPath(ctx, "make directory", p, func(at engine.Place) error {
		_, err := t.Engine.MakeFile(ctx, at, engine.MakeFileOptions{Type: engine.TypeDirectory, Attributes: engine.FileAttributes{Set: true, Mode: perm}})
		return err
	})
}

// Symlink makes a symbolic link. KindExists.
func (t *Tree) Symlink(ctx context.Context, target, p string) error {
	return t.atPath(ctx, "make symbolic link", p, func(at engine.Place) error {
		_, err := t.Engine.MakeFile(ctx, at, engine.MakeFileOptions{Type: engine.TypeSymlink, Target: target, Attributes: engine.FileAttributes{Set: true, Mode: 0o777}})
		return err
	})
}

// Readlink returns the target of a symbolic link. KindInvalidArgument for what is none.
func (t *Tree) Readlink(ctx context.Context, p string) (target string, err error) {
	n, err := t.resolve(ctx, p, false)
	if err == nil {
		target, err = t.ReadlinkNode(ctx, n.File)
	}
	return target, pathError("read link", p, err)
}

// Remove takes a file's name away, or an empty directory. Handles of the file go on. KindNotEmpty.
func (t *Tree) Remove(ctx context.Context, p string) error {
	return t.atPath(ctx, "remove", p, func(at engine.Place) error {
		err := t.Engine.RemoveFile(ctx, at, engine.RemoveFileOptions{})
		if engine.Is(err, engine.KindIsDirectory) {
			err = t.Engine.RemoveFile(ctx, at, engine.RemoveFileOptions{Directory: true})
		}
		return err
	})
}

// RemoveAll removes a directory with all that lies beneath, in one commit and for good, with the versions and whatever the bucket keeps; or a file's
// name. What is not there is no error. KindLocked.
func (t *Tree) RemoveAll(ctx context.Context, p string) error {
	return t.atPath(ctx, "remove all", p, func(at engine.Place) error {
		info, err := t.Engine.Lookup(ctx, at, "")
		if err == nil && info.Type != engine.TypeDirectory {
			err = t.Engine.RemoveFile(ctx, at, engine.RemoveFileOptions{})
		} else if err == nil {
			var key engine.Key
			if key, err = t.Engine.FileKey(ctx, engine.File{Bucket: at.Bucket, Node: info.Node}); err == nil {
				_, err = t.Engine.RemovePrefix(ctx, at.Bucket, string(key))
			}
		}
		if engine.Is(err, engine.KindNoSuchKey) {
			return nil
		}
		return err
	})
}

// Rename gives what a path leads to another path of the same bucket, symbolic links at their ends not followed; what had that is gone, as
// engine.Files.MoveFile says. KindInvalidArgument for two buckets.
func (t *Tree) Rename(ctx context.Context, from, to string, o engine.MoveFileOptions) error {
	return t.atPath(ctx, "rename", from, func(source engine.Place) error {
		target, err := t.place(ctx, to)
		if err != nil {
			return err
		}
		return t.Engine.MoveFile(ctx, source, target, o)
	})
}

// Link gives a file one more name.
func (t *Tree) Link(ctx context.Context, from, to string) error {
	return t.atPath(ctx, "link", to, func(at engine.Place) error {
		n, err := t.resolve(ctx, from, false)
		if err != nil {
			return err
		}
		if n.top() {
			return engine.E(engine.KindIsDirectory, "the top level has one name")
		}
		_, err = t.Engine.LinkFile(ctx, n.File, at)
		return err
	})
}

// Chmod sets the permissions of what a path leads to, symbolic links followed.
func (t *Tree) Chmod(ctx context.Context, p string, mode uint32) error {
	return t.setPath(ctx, "change mode", p, engine.FileChange{Mode: &mode})
}

// Chown sets user and group; nil leaves one as it is.
func (t *Tree) Chown(ctx context.Context, p string, uid, gid *uint32) error {
	return t.setPath(ctx, "change owner", p, engine.FileChange{UID: uid, GID: gid})
}

// Chtimes sets times; nil leaves one as it is, zero means now.
func (t *Tree) Chtimes(ctx context.Context, p string, accessed, modified *time.Time) error {
	return t.setPath(ctx, "change times", p, engine.FileChange{Accessed: accessed, Modified: modified})
}

func (t *Tree) setPath(ctx context.Context, op, p string, change engine.FileChange) error {
	n, err := t.node(ctx, p)
	if err == nil {
		_, err = t.SetNode(ctx, n.File, change)
	}
	return pathError(op, p, err)
}

// SetNode changes attributes and times of a node. What is in the buffers of a file is flushed before, so that its flush does not change the time again.
func (t *Tree) SetNode(ctx context.Context, id engine.File, change engine.FileChange) (engine.FileInfo, error) {
	f := t.find(id)
	if f == nil {
		return t.Engine.SetFile(ctx, id, change)
	}
	defer f.leave(context.WithoutCancel(ctx))
	if change.Modified != nil {
		if err := f.flush(ctx); err != nil {
			return engine.FileInfo{}, wrap("set", id, err)
		}
	}
	info, err := t.Engine.SetFile(ctx, id, change)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		return info, err
	}
	f.learn(info)
	return f.over(info), nil
}

// Truncate gives the file that a path leads to a size.
func (t *Tree) Truncate(ctx context.Context, p string, size int64) error {
	h, err := t.Open(ctx, p, Flags{Write: true}, 0)
	if err != nil {
		return err
	}
	err = h.Truncate(ctx, size)
	return pathError("truncate", p, errors.Join(err, h.Close(ctx)))
}

// Xattr returns the value of an extended attribute. KindNoSuchAttribute.
func (t *Tree) Xattr(ctx context.Context, p, name string) (value []byte, err error) {
	n, err := t.node(ctx, p)
	if err == nil {
		value, err = t.Engine.Xattr(ctx, n.File, name)
	}
	return value, pathError("extended attribute", p, err)
}

// Xattrs returns the names of the extended attributes in byte order.
func (t *Tree) Xattrs(ctx context.Context, p string) (attributes []string, err error) {
	n, err := t.node(ctx, p)
	if err == nil {
		attributes, err = t.Engine.Xattrs(ctx, n.File)
	}
	return attributes, pathError("extended attributes", p, err)
}

// SetXattr sets an extended attribute, or removes it, as engine.Files.SetXattr does.
func (t *Tree) SetXattr(ctx context.Context, p, name string, value []byte, o engine.SetXattrOptions) error {
	n, err := t.node(ctx, p)
	if err == nil {
		err = t.Engine.SetXattr(ctx, n.File, name, value, o)
	}
	return pathError("set extended attribute", p, err)
}

// Usage says how much lies beneath a directory, as the engine has it: without what is not flushed.
func (t *Tree) Usage(ctx context.Context, p string) (info engine.PrefixInfo, err error) {
	n, err := t.node(ctx, p)
	var key engine.Key
	if err == nil && n.Info.Type != engine.TypeDirectory {
		err = engine.E(engine.KindNotDirectory, "it is no directory")
	}
	if err == nil {
		key, err = t.Engine.FileKey(ctx, n.File)
	}
	if err == nil {
		info, err = t.Engine.Usage(ctx, n.File.Bucket, string(key))
	}
	return info, pathError("usage", p, err)
}

// node resolves a path to what is in a bucket. KindInvalidArgument for the top level.
func (t *Tree) node(ctx context.Context, p string) (Node, error) {
	n, err := t.resolve(ctx, p, true)
	if err == nil && n.top() {
		err = engine.E(engine.KindInvalidArgument, "that is asked of a bucket or of what lies in one")
	}
	return n, err
}

// atPath does something at the place that a path names.
func (t *Tree) atPath(ctx context.Context, op, p string, do func(engine.Place) error) error {
	at, err := t.place(ctx, p)
	if err == nil {
		err = do(at)
	}
	return pathError(op, p, err)
}
