package sim

import (
	"io"
	"io/fs"
	"path"
	"runtime"
	"strings"
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
	if fault != nil {
		p = p[:min(fault.Short, len(p))]
	}
	if off >= int64(len(f.node.data)) {
		return 0, f.failed("read", fault, io.EOF)
	}
	n := copy(p, f.node.data[off:])
	if f.direct {
		f.node.decay(p[:n], off)
	}
	if n < len(p) {
		return n, f.failed("read", fault, io.EOF)
	}
	if fault != nil {
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
	if fault != nil {
		p = p[:min(fault.Short, len(p))]
	}
	if f.node.missing(off, int64(len(p)))*disk.Align > f.fs.free() {
		return 0, end(cut, &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC})
	}
	if len(p) > 0 {
		f.node.write(p, off)
	}
	if fault != nil {
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
	if fault != nil {
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
	return int64(len(f.node.data)), end(f.fs.crashed, nil)
}

func (f *file) Truncate(size int64) error {
	return f.change("truncate", func() error { f.node.resize(size); return nil })
}

func (f *file) Allocate(offset, length int64) error {
	return f.change("allocate", func() error {
		if f.node.missing(offset, length)*disk.Align > f.fs.free() {
			return &fs.PathError{Op: "allocate", Path: f.name, Err: syscall.ENOSPC}
		}
		if offset+length > int64(len(f.node.data)) {
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

// caller returns the function nearest on the stack that is not of disk or disk/sim, as package.function without its path.
func caller() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if name := frame.Function; name != "" && !strings.HasPrefix(name, "holdfast/engine/disk") {
			return path.Base(name)
		}
		if !more {
			return "unknown"
		}
	}
}
