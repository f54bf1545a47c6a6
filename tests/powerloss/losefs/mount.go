package losefs

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// source begins the name under which the mounts of a process are listed; its process id follows.
const source = "losefs-"

// life is one mount of a disk: from Mount to a cut or Unmount.
type life struct {
	fuse.RawFileSystem // answers ENOSYS to what is absent
	disk               *Disk
	path               string
	server             *fuse.Server
	served             sync.WaitGroup

	// Guarded by the disk's mutex.
	dead    bool
	nodes   map[uint64]*known
	handles map[uint64]*handle
	last    uint64
}

// known is a node that the kernel knows, and how often it was told.
type known struct {
	*node
	told uint64
}

// handle is an open file, or a directory with the names that it had when it was opened.
type handle struct {
	*node
	sync  bool // after each write
	names []fuse.DirEntry
}

// Mount mounts the disk at a folder. Call Unmount in the end, whatever happens.
func (d *Disk) Mount(path string) error {
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other,max_read=%d", fd, os.Geteuid(), os.Getegid(), maxBytes)
	if err := syscall.Mount(source+strconv.Itoa(os.Getpid()), path, "fuse.losefs", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		return errors.Join(fmt.Errorf("mount at %s: %w", path, err), syscall.Close(fd))
	}
	l := &life{RawFileSystem: fuse.NewDefaultRawFileSystem(), disk: d, path: path, handles: map[uint64]*handle{}}
	l.nodes = map[uint64]*known{fuse.FUSE_ROOT_ID: {node: d.root}}
	d.mu.Lock()
	d.life = l
	d.mu.Unlock()
	l.server, err = fuse.NewServer(l, fmt.Sprintf("/dev/fd/%d", fd), &fuse.MountOptions{MaxWrite: maxBytes, DisableSplice: true, DisableXAttrs: true, DisableReadDirPlus: true, ExplicitDataCacheControl: true})
	if err != nil {
		return errors.Join(err, syscall.Unmount(path, syscall.MNT_DETACH))
	}
	l.served.Go(l.server.Serve)
	return refusePoll(path)
}

// refusePoll has the kernel ask for a poll once, which go-fuse answers under this name so that it never asks again. Otherwise a process that serves a
// mount and uses it, too, could wait for itself: Go's runtime adds files to epoll while it holds its last processor.
func refusePoll(path string) error {
	fd, err := syscall.Open(path+"/.go-fuse-epoll-hack", syscall.O_RDONLY, 0)
	if err != nil {
		return err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return errors.Join(err, syscall.Close(fd))
}

// maxBytes is the most that one call reads or writes.
const maxBytes = 1 << 20

// Unmount ends the mount, if there is one. Processes that still use it are answered EIO.
func (d *Disk) Unmount() error {
	d.mu.Lock()
	l := d.life
	d.life = nil
	d.mu.Unlock()
	if l == nil {
		return nil
	}
	// The mount of a process that was killed is busy until the kernel has closed its files.
	err := syscall.Unmount(l.path, 0)
	for deadline := time.Now().Add(5 * time.Second); errors.Is(err, syscall.EBUSY) && time.Now().Before(deadline); err = syscall.Unmount(l.path, 0) {
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("unmount %s: %w", l.path, err), syscall.Unmount(l.path, syscall.MNT_DETACH))
	}
	l.served.Wait()
	return nil
}

// Dead reports whether the power of the disk was cut since it was mounted.
func (d *Disk) Dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.life != nil && d.life.dead
}

// UnmountStale unmounts what processes that are no more have left mounted, and says how much.
func UnmountStale() (int, error) {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	defer mounts.Close()
	stale := 0
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		at := slices.IndexFunc(fields, func(f string) bool { return strings.HasPrefix(f, source) })
		if at < 0 {
			continue
		}
		if _, err := os.Stat("/proc/" + strings.TrimPrefix(fields[at], source)); err == nil {
			continue
		}
		if err := syscall.Unmount(strings.ReplaceAll(fields[4], `\040`, " "), syscall.MNT_DETACH); err != nil {
			return stale, fmt.Errorf("unmount %s: %w", fields[4], err)
		}
		stale++
	}
	return stale, nil
}

// begin takes the lock of a disk that has power.
func (l *life) begin() fuse.Status {
	l.disk.mu.Lock()
	if l.dead {
		l.disk.mu.Unlock()
		return fuse.EIO
	}
	return fuse.OK
}

func (l *life) end() { l.disk.mu.Unlock() }

// node returns a node by the number that the kernel was told.
func (l *life) node(number uint64) *node { return l.nodes[number].node }

// number is what the kernel calls a node.
func (l *life) number(n *node) uint64 {
	if n == l.disk.root {
		return fuse.FUSE_ROOT_ID
	}
	return n.number + fuse.FUSE_ROOT_ID
}

// valid is how long the kernel may believe what it was told: nobody else changes the disk.
const valid = 3600

// tell describes a node that the kernel asked for.
func (l *life) tell(n *node, out *fuse.EntryOut) fuse.Status {
	number := l.number(n)
	k := l.nodes[number]
	if k == nil {
		k = &known{node: n}
		l.nodes[number] = k
	}
	k.told++
	out.NodeId, out.Generation, out.EntryValid, out.AttrValid = number, 1, valid, valid
	return l.attributes(n, &out.Attr)
}

func (l *life) attributes(n *node, out *fuse.Attr) fuse.Status {
	*out = fuse.Attr{Ino: l.number(n), Mode: n.mode, Nlink: max(n.links, 1), Blksize: pageBytes, Size: uint64(n.size)}
	out.SetTimes(nil, &n.mtime, &n.mtime)
	if n.file != nil {
		var s syscall.Stat_t
		if err := syscall.Fstat(int(n.file.Fd()), &s); err != nil {
			return fuse.ToStatus(err)
		}
		out.Blocks = uint64(s.Blocks)
		for _, page := range n.dirty {
			if page != nil {
				out.Blocks += pageBytes / 512
			}
		}
	}
	return fuse.OK
}

// child finds the directory and what it has under a name.
func (l *life) child(parent uint64, name string) (dir, n *node) {
	dir = l.node(parent)
	return dir, dir.volatile[name]
}

// Lookup implements fuse.RawFileSystem, as do the methods below.
func (l *life) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	_, n := l.child(header.NodeId, name)
	if n == nil {
		return fuse.ENOENT
	}
	return l.tell(n, out)
}

func (l *life) Forget(number, times uint64) {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if k := l.nodes[number]; k != nil && number != fuse.FUSE_ROOT_ID {
		if k.told -= min(k.told, times); k.told == 0 {
			delete(l.nodes, number)
		}
	}
}

func (l *life) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	out.AttrValid = valid
	return l.attributes(l.node(in.NodeId), &out.Attr)
}

func (l *life) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	n := l.node(in.NodeId)
	if size, ok := in.GetSize(); ok {
		if n.file == nil {
			return fuse.EINVAL
		}
		if err := n.truncate(int64(size)); err != nil {
			return fuse.ToStatus(err)
		}
	}
	if mode, ok := in.GetMode(); ok {
		n.mode = n.mode&syscall.S_IFMT | mode&0o7777
	}
	if at, ok := in.GetMTime(); ok {
		n.mtime = at
	}
	out.AttrValid = valid
	return l.attributes(n, &out.Attr)
}

func (l *life) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	n, status := l.create(in.NodeId, name, in.Mode)
	if !status.Ok() {
		return status
	}
	return l.tell(n, out)
}

// create makes a file, or a socket.
func (l *life) create(parent uint64, name string, mode uint32) (*node, fuse.Status) {
	dir, old := l.child(parent, name)
	if old != nil {
		return nil, fuse.Status(syscall.EEXIST)
	}
	n, err := l.disk.newNode(mode), error(nil)
	if mode&syscall.S_IFMT == syscall.S_IFREG {
		n, err = l.disk.newFile(mode)
	}
	if err != nil {
		return nil, fuse.ToStatus(err)
	}
	l.disk.edit(edit{dir, name, n})
	return n, fuse.OK
}

func (l *life) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	dir, old := l.child(in.NodeId, name)
	if old != nil {
		return fuse.Status(syscall.EEXIST)
	}
	n := l.disk.newDirectory(in.Mode)
	l.disk.edit(edit{dir, name, n})
	return l.tell(n, out)
}

func (l *life) Unlink(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return l.remove(header.NodeId, name, false)
}

func (l *life) Rmdir(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	return l.remove(header.NodeId, name, true)
}

func (l *life) remove(parent uint64, name string, directory bool) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	dir, n := l.child(parent, name)
	if status := replaceable(n, directory); !status.Ok() {
		return status
	}
	l.disk.edit(edit{dir, name, nil})
	return fuse.OK
}

// replaceable says whether a node may lose its name to a directory, or to something else.
func replaceable(n *node, directory bool) fuse.Status {
	switch {
	case n == nil:
		return fuse.ENOENT
	case n.isDir() && !directory:
		return fuse.Status(syscall.EISDIR)
	case !n.isDir() && directory:
		return fuse.ENOTDIR
	case len(n.volatile) > 0:
		return fuse.Status(syscall.ENOTEMPTY)
	}
	return fuse.OK
}

func (l *life) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	const noReplace = 1
	from, n := l.child(in.NodeId, oldName)
	to, old := l.child(in.Newdir, newName)
	switch {
	case n == nil:
		return fuse.ENOENT
	case in.Flags&^noReplace != 0:
		return fuse.EINVAL
	case old != nil && in.Flags == noReplace:
		return fuse.Status(syscall.EEXIST)
	case old == n:
		return fuse.OK
	case old != nil:
		if status := replaceable(old, n.isDir()); !status.Ok() {
			return status
		}
	}
	l.disk.edit(edit{from, oldName, nil}, edit{to, newName, n})
	return fuse.OK
}

func (l *life) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	dir, old := l.child(in.NodeId, name)
	if old != nil {
		return fuse.Status(syscall.EEXIST)
	}
	n := l.node(in.Oldnodeid)
	l.disk.edit(edit{dir, name, n})
	return l.tell(n, out)
}

// open makes a handle. Files that are opened with O_DIRECT are not cached by the kernel.
func (l *life) open(h *handle, flags uint32, out *fuse.OpenOut) {
	l.last++
	l.handles[l.last] = h
	h.sync = flags&(syscall.O_SYNC|syscall.O_DSYNC) != 0
	out.Fh = l.last
	if flags&syscall.O_DIRECT != 0 {
		out.OpenFlags |= fuse.FOPEN_DIRECT_IO
	}
}

func (l *life) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	n, status := l.create(in.NodeId, name, syscall.S_IFREG|in.Mode&0o7777)
	if !status.Ok() {
		return status
	}
	l.open(&handle{node: n}, in.Flags, &out.OpenOut)
	return l.tell(n, &out.EntryOut)
}

func (l *life) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	n := l.node(in.NodeId)
	if n.file == nil {
		return fuse.EINVAL
	}
	if in.Flags&syscall.O_TRUNC != 0 {
		if err := n.truncate(0); err != nil {
			return fuse.ToStatus(err)
		}
	}
	l.open(&handle{node: n}, in.Flags, out)
	return fuse.OK
}

func (l *life) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if status := l.begin(); !status.Ok() {
		return nil, status
	}
	defer l.end()
	n, err := l.handles[in.Fh].read(buf[:in.Size], int64(in.Offset))
	return fuse.ReadResultData(buf[:n]), fuse.ToStatus(err)
}

func (l *life) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if status := l.begin(); !status.Ok() {
		return 0, status
	}
	defer l.end()
	h := l.handles[in.Fh]
	err := h.write(data, int64(in.Offset))
	if err == nil && h.sync {
		err = l.disk.syncFile(h.node)
	}
	return uint32(len(data)), fuse.ToStatus(err)
}

func (l *life) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	return fuse.ToStatus(l.disk.syncFile(l.handles[in.Fh].node))
}

func (l *life) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	const keepSize, punch = 0x01, 0x02
	n, at, length := l.handles[in.Fh].node, int64(in.Offset), int64(in.Length)
	switch in.Mode {
	case 0:
		n.size = max(n.size, at+length)
		return fuse.OK
	case keepSize:
		return fuse.OK
	case keepSize | punch:
		return fuse.ToStatus(n.zero(at, min(length, max(n.size-at, 0))))
	}
	return fuse.Status(syscall.EOPNOTSUPP)
}

func (l *life) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	l.end()
	return fuse.OK
}

func (l *life) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	delete(l.handles, in.Fh)
}

func (l *life) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	dir := l.node(in.NodeId)
	h := &handle{node: dir}
	for _, name := range slices.Sorted(maps.Keys(dir.volatile)) {
		n := dir.volatile[name]
		h.names = append(h.names, fuse.DirEntry{Name: name, Mode: n.mode, Ino: l.number(n), Off: uint64(len(h.names) + 1)})
	}
	l.open(h, 0, out)
	return fuse.OK
}

func (l *life) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	h := l.handles[in.Fh]
	for _, e := range h.names[min(in.Offset, uint64(len(h.names))):] {
		if !out.AddDirEntry(e) {
			break
		}
	}
	return fuse.OK
}

func (l *life) ReleaseDir(in *fuse.ReleaseIn) {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	delete(l.handles, in.Fh)
}

func (l *life) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	l.disk.syncDir(l.handles[in.Fh].node)
	return fuse.OK
}

func (l *life) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if status := l.begin(); !status.Ok() {
		return status
	}
	defer l.end()
	var s syscall.Statfs_t
	if err := syscall.Statfs(l.disk.folder, &s); err != nil {
		return fuse.ToStatus(err)
	}
	out.FromStatfsT(&s)
	return fuse.OK
}

func (l *life) String() string { return "losefs at " + l.path }
