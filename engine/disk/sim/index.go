package sim

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// index gives the folder below base to Pebble. Sites are "index:<file type>:<op>".
type index struct {
	fs   *FS
	base string
}

var _ vfs.FS = (*index)(nil)

func (x *index) name(name string) string { return x.base + path.Clean("/"+name) }

// fileType folds Pebble's file names to what they are.
func fileType(name string) string {
	base := path.Base(name)
	switch {
	case strings.HasPrefix(base, "MANIFEST"):
		return "manifest"
	case strings.HasPrefix(base, "OPTIONS"):
		return "options"
	case strings.HasPrefix(base, "marker."):
		return "marker"
	case base == "LOCK":
		return "lock"
	case path.Ext(base) != "":
		return path.Ext(base)[1:]
	}
	return "directory"
}

func site(name, op string) string { return "index:" + fileType(name) + ":" + op }

func (x *index) open(name, op string, create bool) (vfs.File, error) {
	x.fs.mu.Lock()
	defer x.fs.mu.Unlock()
	n, err := x.fs.open(site(name, op), x.name(name), create, false)
	if err != nil {
		return nil, err
	}
	return &indexFile{file: file{fs: x.fs, node: n, name: x.name(name)}}, nil
}

// Create removes an existing file first, as vfs.FS asks.
func (x *index) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	if err := x.fs.remove(site(name, "remove"), x.name(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return x.open(name, "create", true)
}

func (x *index) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := x.open(name, "open", false)
	return applied(f, err, opts)
}

func (x *index) OpenReadWrite(name string, _ vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := x.open(name, "open", true)
	return applied(f, err, opts)
}

func applied(f vfs.File, err error, opts []vfs.OpenOption) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	for _, o := range opts {
		o.Apply(f)
	}
	return f, nil
}

func (x *index) OpenDir(name string) (vfs.File, error) { return x.open(name, "open", false) }

func (x *index) Link(oldname, newname string) error {
	x.fs.mu.Lock()
	defer x.fs.mu.Unlock()
	cut, err := x.fs.call(site(newname, "link"), "create", x.name(newname))
	if err != nil {
		return err
	}
	n, err := x.fs.walk("link", x.name(oldname))
	if err != nil {
		return end(cut, err)
	}
	dir, base, err := x.fs.parent("link", x.name(newname))
	if err != nil {
		return end(cut, err)
	}
	if dir.names[base] != nil {
		return end(cut, &fs.PathError{Op: "link", Path: newname, Err: syscall.EEXIST})
	}
	dir.set(base, n)
	return end(cut, nil)
}

func (x *index) Remove(name string) error { return x.fs.remove(site(name, "remove"), x.name(name)) }

func (x *index) RemoveAll(name string) error {
	info, err := x.fs.stat(site(name, "stat"), x.name(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Directory {
		names, err := x.List(name)
		if err != nil {
			return err
		}
		for _, below := range names {
			if err := x.RemoveAll(path.Join(name, below)); err != nil {
				return err
			}
		}
	}
	return x.Remove(name)
}

func (x *index) Rename(oldname, newname string) error {
	return x.fs.rename(site(newname, "rename"), x.name(oldname), x.name(newname))
}

func (x *index) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := x.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return x.OpenReadWrite(newname, c)
}

func (x *index) MkdirAll(dir string, _ os.FileMode) error {
	return x.fs.mkdirAll(site(dir, "mkdir"), x.name(dir))
}

func (x *index) Lock(name string) (io.Closer, error) {
	return x.fs.lock(site(name, "lock"), x.name(name))
}

func (x *index) List(dir string) ([]string, error) { return x.fs.list(site(dir, "list"), x.name(dir)) }

func (x *index) Stat(name string) (vfs.FileInfo, error) {
	info, err := x.fs.stat(site(name, "stat"), x.name(name))
	if err != nil {
		return nil, err
	}
	return fileInfo{name: path.Base(name), size: info.Size, dir: info.Directory}, nil
}

func (x *index) PathBase(p string) string       { return path.Base(p) }
func (x *index) PathJoin(elem ...string) string { return path.Join(elem...) }
func (x *index) PathDir(p string) string        { return path.Dir(p) }
func (x *index) Unwrap() vfs.FS                 { return nil }

func (x *index) GetDiskUsage(string) (vfs.DiskUsage, error) {
	x.fs.mu.Lock()
	defer x.fs.mu.Unlock()
	free := x.fs.free()
	return vfs.DiskUsage{AvailBytes: uint64(free), TotalBytes: uint64(x.fs.options.TotalBytes),
		UsedBytes: uint64(x.fs.options.TotalBytes - free)}, end(x.fs.crashed, nil)
}

// fileInfo is a vfs.FileInfo. The device is always the zero one.
type fileInfo struct {
	name string
	size int64
	dir  bool
}

func (i fileInfo) Name() string           { return i.name }
func (i fileInfo) Size() int64            { return i.size }
func (i fileInfo) ModTime() time.Time     { return time.Time{} }
func (i fileInfo) IsDir() bool            { return i.dir }
func (i fileInfo) Sys() any               { return nil }
func (i fileInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

func (i fileInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}

// indexFile is a file with the positions that Read and Write need; each has one user at a time, as vfs.File says.
type indexFile struct {
	file
	readNext, writeNext int64
}

func (f *indexFile) ReadAt(p []byte, off int64) (int, error) {
	return f.file.readAt(site(f.name, "read"), p, off)
}

func (f *indexFile) WriteAt(p []byte, off int64) (int, error) {
	return f.file.writeAt(site(f.name, "write"), p, off)
}

func (f *indexFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.ReadAt(p, f.readNext)
	f.readNext += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *indexFile) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.writeNext)
	f.writeNext += int64(n)
	return n, err
}

func (f *indexFile) Sync() error {
	if f.node.dir {
		return f.fs.syncDir(site(f.name, "syncdir"), f.name)
	}
	return f.file.sync(site(f.name, "sync"))
}

func (f *indexFile) SyncData() error { return f.Sync() }

func (f *indexFile) SyncTo(int64) (bool, error)      { return false, nil }
func (f *indexFile) Preallocate(_, _ int64) error    { return nil }
func (f *indexFile) Prefetch(_ int64, _ int64) error { return nil }
func (f *indexFile) Fd() uintptr                     { return vfs.InvalidFd }

func (f *indexFile) Stat() (vfs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return fileInfo{name: path.Base(f.name), size: f.node.data.size(), dir: f.node.dir}, end(f.fs.crashed, nil)
}
