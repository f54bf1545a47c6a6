package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// osFS is a real folder. The names below it are resolved from its descriptor, so that a folder that was unmounted or replaced
// since is never written.
type osFS struct {
	root *os.Root
	path string
}

// OS opens the folder at root, which must exist.
func OS(root string) (FS, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	return &osFS{root: r, path: root}, nil
}

func (f *osFS) Open(name string, flags Flags) (File, error) {
	if err := checkName("open", name); err != nil {
		return nil, err
	}
	mode := os.O_RDWR
	if flags.ReadOnly {
		mode = os.O_RDONLY
	}
	if flags.Create {
		mode |= os.O_CREATE
	}
	if flags.Exclusive {
		mode |= os.O_EXCL
	}
	if flags.Direct {
		file, err := f.root.OpenFile(name, mode|unix.O_DIRECT, 0o600)
		if err == nil {
			return &osFile{file: file, direct: true}, nil
		}
		if !errors.Is(err, unix.EINVAL) {
			return nil, err
		}
		mode &^= os.O_EXCL // the refused attempt may have made the file
	}
	file, err := f.root.OpenFile(name, mode, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{file: file}, nil
}

func (f *osFS) Remove(name string) error           { return f.root.Remove(name) }
func (f *osFS) Rename(source, target string) error { return f.root.Rename(source, target) }
func (f *osFS) MkdirAll(dir string) error          { return f.root.MkdirAll(dir, 0o700) }

func (f *osFS) List(dir string) ([]string, error) {
	d, err := f.root.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, cmp.Or(err, d.Close())
}

func (f *osFS) Stat(name string) (Info, error) {
	info, err := f.root.Stat(name)
	if err != nil {
		return Info{}, err
	}
	i := Info{Size: info.Size(), Allocated: info.Size(), Directory: info.IsDir()}
	if s, ok := sysStat(info); ok {
		i.Allocated = s.Blocks * 512
	}
	return i, nil
}

func (f *osFS) SyncDir(dir string) error {
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	return cmp.Or(d.Sync(), d.Close())
}

func (f *osFS) Usage() (Usage, error) {
	d, err := f.root.Open(".")
	if err != nil {
		return Usage{}, err
	}
	var s unix.Statfs_t
	err = control(d, func(fd int) error { return unix.Fstatfs(fd, &s) })
	if err = cmp.Or(err, d.Close()); err != nil {
		return Usage{}, &fs.PathError{Op: "statfs", Path: f.path, Err: err}
	}
	return Usage{Total: int64(s.Blocks) * s.Bsize, Free: int64(s.Bavail) * s.Bsize}, nil
}

func (f *osFS) Lock(name string) (io.Closer, error) {
	file, err := f.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = control(file, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if err != nil {
		file.Close()
		return nil, &fs.PathError{Op: "lock", Path: filepath.Join(f.path, name), Err: err}
	}
	return file, nil
}

func (f *osFS) Device() (Device, error) {
	own, err := os.Stat(f.path)
	if err != nil {
		return Device{}, err
	}
	above, err := os.Stat(filepath.Join(f.path, ".."))
	if err != nil {
		return Device{}, err
	}
	a, okA := sysStat(own)
	b, okB := sysStat(above)
	if !okA || !okB {
		return Device{}, &fs.PathError{Op: "stat", Path: f.path, Err: errors.ErrUnsupported}
	}
	return Device{ID: a.Dev, Inode: a.Ino, MountPoint: a.Dev != b.Dev || a.Ino == b.Ino}, nil
}

func (f *osFS) Reopen() (FS, error) { return OS(f.path) }
func (f *osFS) Close() error        { return f.root.Close() }

// Index binds Pebble to the directory's descriptor by way of /proc/self/fd, because Pebble wants paths.
func (f *osFS) Index(dir string) (vfs.FS, error) {
	d, err := f.root.Open(dir)
	if err != nil {
		return nil, err
	}
	return &indexFS{FS: vfs.Default, dir: d, base: fmt.Sprintf("/proc/self/fd/%d", d.Fd())}, nil
}

// IndexCloser releases the descriptor of an Index that holds one. Call it after the database is closed.
func IndexCloser(index vfs.FS) io.Closer {
	if c, ok := index.(io.Closer); ok {
		return c
	}
	return io.NopCloser(nil)
}

// indexFS puts every name below base. Names are made absolute before they are cleaned, so that ".." does not escape.
type indexFS struct {
	vfs.FS
	dir  *os.File
	base string
}

func (x *indexFS) name(name string) string {
	if strings.HasPrefix(name, x.base) {
		return name
	}
	return x.base + path.Clean("/"+name)
}

func (x *indexFS) Close() error { return x.dir.Close() }

func (x *indexFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return x.FS.Create(x.name(name), c)
}

func (x *indexFS) Link(oldname, newname string) error {
	return x.FS.Link(x.name(oldname), x.name(newname))
}

func (x *indexFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return x.FS.Open(x.name(name), opts...)
}

func (x *indexFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return x.FS.OpenReadWrite(x.name(name), c, opts...)
}

func (x *indexFS) OpenDir(name string) (vfs.File, error) { return x.FS.OpenDir(x.name(name)) }
func (x *indexFS) Remove(name string) error              { return x.FS.Remove(x.name(name)) }
func (x *indexFS) RemoveAll(name string) error           { return x.FS.RemoveAll(x.name(name)) }

func (x *indexFS) Rename(oldname, newname string) error {
	return x.FS.Rename(x.name(oldname), x.name(newname))
}

func (x *indexFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return x.FS.ReuseForWrite(x.name(oldname), x.name(newname), c)
}

func (x *indexFS) MkdirAll(dir string, perm os.FileMode) error {
	return x.FS.MkdirAll(x.name(dir), perm)
}

func (x *indexFS) Lock(name string) (io.Closer, error)          { return x.FS.Lock(x.name(name)) }
func (x *indexFS) List(dir string) ([]string, error)            { return x.FS.List(x.name(dir)) }
func (x *indexFS) Stat(name string) (vfs.FileInfo, error)       { return x.FS.Stat(x.name(name)) }
func (x *indexFS) GetDiskUsage(p string) (vfs.DiskUsage, error) { return x.FS.GetDiskUsage(x.name(p)) }
func (x *indexFS) Unwrap() vfs.FS                               { return x.FS }

// osFile is a real file.
type osFile struct {
	file   *os.File
	direct bool
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error)  { return f.file.ReadAt(p, off) }
func (f *osFile) WriteAt(p []byte, off int64) (int, error) { return f.file.WriteAt(p, off) }
func (f *osFile) Truncate(size int64) error                { return f.file.Truncate(size) }
func (f *osFile) Direct() bool                             { return f.direct }
func (f *osFile) Close() error                             { return f.file.Close() }

func (f *osFile) Sync() error { return f.call("fdatasync", unix.Fdatasync) }

func (f *osFile) Size() (int64, error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Allocate(offset, length int64) error {
	err := f.call("fallocate", func(fd int) error { return unix.Fallocate(fd, 0, offset, length) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return f.extend(offset + length)
	}
	return err
}

// extend is what remains of Allocate where the file system cannot reserve: the length without the room.
func (f *osFile) extend(end int64) error {
	size, err := f.Size()
	if err != nil || size >= end {
		return err
	}
	return f.file.Truncate(end)
}

func (f *osFile) Punch(offset, length int64) error {
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	err := f.call("punch", func(fd int) error { return unix.Fallocate(fd, mode, offset, length) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // the room comes back when the file is removed
	}
	return err
}

// folioBytes is the most that the page cache keeps as one: of such a piece a part is not dropped.
const folioBytes = 2 << 20

func (f *osFile) Forget(offset, length int64) error {
	end := (offset + length + folioBytes - 1) / folioBytes * folioBytes
	offset = offset / folioBytes * folioBytes
	return f.call("fadvise", func(fd int) error { return unix.Fadvise(fd, offset, end-offset, unix.FADV_DONTNEED) })
}

// call runs a system call on the descriptor, again after EINTR, and adds the name of the file to its error.
func (f *osFile) call(op string, fn func(fd int) error) error {
	if err := control(f.file, fn); err != nil {
		return &fs.PathError{Op: op, Path: f.file.Name(), Err: err}
	}
	return nil
}

func control(file *os.File, fn func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		for {
			if result = fn(int(fd)); result != unix.EINTR {
				return
			}
		}
	})
	return cmp.Or(err, result)
}
