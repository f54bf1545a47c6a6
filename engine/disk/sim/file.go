package sim

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"holdfast/engine/disk"
)

// file is an open file; Pebble's files use it too, with a site of their own.
type file struct {
	fs       *FS
	node     *node
	name     string
	direct   bool
	readOnly bool
	closed   bool // guarded by fs.mu
}

var _ disk.File = (*file)(nil)

func (f *file) ReadAt(p []byte, off int64) (int, error)  { return f.readAt("", p, off) }
func (f *file) WriteAt(p []byte, off int64) (int, error) { return f.writeAt("", p, off) }
func (f *file) Sync() error                              { return f.sync("") }
func (f *file) Direct() bool                             { return f.direct }

func (f *file) readAt(site string, p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	cut, fault, err := f.begin(site, "read", p, off)
	if err != nil || cut {
		return 0, end(cut, err)
	}
	half := fault.half()
	if half {
		p = p[:min(fault.Short, len(p))]
	}
	if off >= f.node.data.size() {
		return 0, f.failed("read", fault, io.EOF)
	}
	n := f.node.data.read(p, off)
	if f.direct {
		f.node.decay(p[:n], off)
	}
	copy(p, fault.flip(p[:n]))
	if n < len(p) {
		return n, f.failed("read", fault, io.EOF)
	}
	if half {
		return n, f.failed("read", fault, io.ErrUnexpectedEOF)
	}
	return n, nil
}

// failed returns the fault's error, or other.
func (f *file) failed(op string, fault *Fault, other error) error {
	if fault != nil && fault.Err != nil {
		return &fs.PathError{Op: op, Path: f.name, Err: fault.Err}
	}
	return other
}

func (f *file) writeAt(site string, p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.readOnly {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EBADF}
	}
	cut, fault, err := f.begin(site, "write", p, off)
	if err != nil {
		return 0, err
	}
	half := fault.half()
	if half {
		p = p[:min(fault.Short, len(p))]
	}
	if missing := f.node.missing(off, int64(len(p))); missing > 0 && missing*disk.Align > f.fs.free() {
		return 0, end(cut, &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC})
	}
	if len(p) > 0 {
		f.node.write(fault.flip(p), off)
	}
	if half {
		return len(p), f.failed("write", fault, io.ErrShortWrite)
	}
	return len(p), end(cut, nil)
}

// begin checks the file and the alignment before it counts the call.
func (f *file) begin(site, op string, p []byte, off int64) (bool, *Fault, error) {
	if f.closed {
		return false, nil, &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	}
	if off < 0 || f.direct && !disk.Aligned(p, off) {
		return false, nil, &fs.PathError{Op: op, Path: f.name, Err: syscall.EINVAL}
	}
	return f.fs.begin(site, op, f.name)
}

// sync drops what was written when a fault strikes: the cache shows it still, the platter never will.
func (f *file) sync(site string) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	cut, fault, err := f.begin(site, "sync", nil, 0)
	if err != nil || cut {
		return end(cut, err)
	}
	if fault.half() {
		f.node.writes = nil
		return f.failed("sync", fault, &fs.PathError{Op: "sync", Path: f.name, Err: syscall.EIO})
	}
	f.node.sync()
	return nil
}

// change is the frame of the calls that know no half.
func (f *file) change(op string, do func() error) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	}
	cut, err := f.fs.call("", op, f.name)
	if err != nil {
		return err
	}
	return end(cut, do())
}

func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.node.data.size(), end(f.fs.crashed, nil)
}

func (f *file) Truncate(size int64) error {
	return f.change("truncate", func() error { f.node.resize(size); return nil })
}

func (f *file) Allocate(offset, length int64) error {
	return f.change("allocate", func() error {
		if missing := f.node.missing(offset, length); missing > 0 && missing*disk.Align > f.fs.free() {
			return &fs.PathError{Op: "allocate", Path: f.name, Err: syscall.ENOSPC}
		}
		if offset+length > f.node.data.size() {
			f.node.resize(offset + length)
		}
		f.node.occupy(offset, length)
		return nil
	})
}

func (f *file) Punch(offset, length int64) error {
	return f.change("punch", func() error { f.node.punch(offset, length); return nil })
}

func (f *file) Forget(offset, length int64) error {
	return f.change("forget", func() error { f.node.forget(offset, length); return nil })
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	f.closed = true
	return nil
}

// callSite is a function outside of disk and disk/sim, or nothing for one within.
type callSite struct{ site, where string }

// callSites keeps what is known of return addresses: to ask the runtime for the names of each call costs more than the call.
var callSites sync.Map // uintptr → callSite

// caller returns the function nearest on the stack that is not of disk or disk/sim, as package.function without its path, and its place.
func caller() callSite {
	var pcs [12]uintptr
	for _, pc := range pcs[:runtime.Callers(3, pcs[:])] {
		known, ok := callSites.Load(pc)
		if !ok {
			known = siteOf(pc)
			callSites.Store(pc, known)
		}
		if s := known.(callSite); s.site != "" {
			return s
		}
	}
	return callSite{site: "unknown"}
}

func siteOf(pc uintptr) callSite {
	frames := runtime.CallersFrames([]uintptr{pc})
	for {
		frame, more := frames.Next()
		if name := frame.Function; name != "" && !strings.HasPrefix(name, "holdfast/engine/disk") {
			return callSite{path.Base(name), fmt.Sprintf("%s:%d", path.Join(path.Base(path.Dir(frame.File)), path.Base(frame.File)), frame.Line)}
		}
		if !more {
			return callSite{}
		}
	}
}
