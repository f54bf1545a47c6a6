// Package disk is the file system as the engine sees it: the one seam under everything that a drive keeps.
//
// Promise: what Sync returned nil for survives a power cut, together with its length; a name survives once SyncDir of its
// directory returned nil. Nothing else is promised, and the simulated disk of disk/sim takes away whatever is not. Names are
// slash-separated, relative to one folder, and never lead out of it, not even by a symbolic link.
//
// The package does not know what is stored: no format, identity or drive appears here. It does not retry, and it returns the
// errors of the operating system unchanged, to be asked with errors.Is for fs.ErrNotExist, syscall.ENOSPC or syscall.EIO.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Align is the unit of offsets, lengths and memory addresses of direct input and output, in bytes.
const Align = 4096

// Flags say how Open opens a file. The zero value opens an existing file for reading and writing through the page cache.
type Flags struct {
	Create    bool // make the file if it is absent
	Exclusive bool // with Create: fail with fs.ErrExist if it is there
	Direct    bool // past the page cache; falls back to buffered where the file system refuses, see File.Direct
	ReadOnly  bool
}

// Info describes a file or directory.
type Info struct {
	Size      int64 // in bytes
	Allocated int64 // bytes that the file occupies, without holes
	Directory bool
}

// Usage is the room of the file system that holds the folder, in bytes. Free is what an unprivileged process may use.
type Usage struct {
	Total, Free int64
}

// Device tells folders and mounts apart. ID is st_dev and Inode st_ino of the folder that is at the path now; MountPoint says that it is the root
// of a mount.
type Device struct {
	ID, Inode  uint64
	MountPoint bool
}

// FS is one folder. All methods are safe for concurrent use; names obey fs.ValidPath, and "." is the folder.
type FS interface {
	Open(name string, flags Flags) (File, error)
	Remove(name string) error
	// Rename replaces target if it exists.
	Rename(source, target string) error
	MkdirAll(dir string) error
	// List returns the names in dir in ascending order.
	List(dir string) ([]string, error)
	Stat(name string) (Info, error)
	// SyncDir makes the names in dir durable: creations, removals and renames that returned before.
	SyncDir(dir string) error
	Usage() (Usage, error)
	// Lock takes the file for this process and creates it if needed; it fails at once if another FS holds it. Closing releases.
	Lock(name string) (io.Closer, error)
	Device() (Device, error)
	// Index returns the files below dir for Pebble; names are relative to dir, and a leading slash is ignored.
	Index(dir string) (vfs.FS, error)
	// Reopen opens the folder again by the path it was opened with, and so finds what is there now: after an unmount another
	// folder.
	Reopen() (FS, error)
	// Close releases the folder; files that are open stay so.
	Close() error
}

// File is an open file. ReadAt and WriteAt are as in io, and all methods are safe for concurrent use. With Direct offset, length and memory
// must be multiples of Align, except that a read at the end of the file may come short.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes the data durable, and the length where reading the data back needs it (fdatasync). After an error nothing is
	// known of what was written since the last success, and a later success says nothing about it.
	Sync() error
	Size() (int64, error)
	Truncate(size int64) error
	// Allocate reserves room for the range, so that writing it cannot meet ENOSPC, and extends the file to its end.
	Allocate(offset, length int64) error
	// Punch gives the room of the range back; it reads as zeros afterwards. The length of the file stays.
	Punch(offset, length int64) error
	// Forget drops what the page cache has of the range, and perhaps more, so that the next read through it comes from the disk. What was not
	// synced is kept.
	Forget(offset, length int64) error
	// Direct reports whether the file bypasses the page cache.
	Direct() bool
	Close() error
}

// Aligned reports whether p may be used with a direct file at offset.
func Aligned(p []byte, offset int64) bool {
	return offset%Align == 0 && len(p)%Align == 0 && (len(p) == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(p)))%Align == 0)
}

// AlignedBytes returns n zero bytes whose address is a multiple of Align.
func AlignedBytes(n int) []byte {
	b := make([]byte, n+Align)
	skip := 0
	if r := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % Align); r != 0 {
		skip = Align - r
	}
	return b[skip : skip+n : skip+n]
}

// unreadable are the errors by which the operating system says that the disk cannot give what was written: EIO, and those that a read past the page
// cache is answered with in its place (blk_status_to_errno in Linux), or a file system that keeps checksums of its own.
var unreadable = []error{syscall.EIO, syscall.ENODATA, syscall.EREMOTEIO, syscall.EILSEQ, syscall.EUCLEAN, syscall.EBADMSG}

// Unreadable reports whether an error of a read says that the bytes are lost, rather than that they could not be had just now.
func Unreadable(err error) bool {
	return slices.ContainsFunc(unreadable, func(lost error) bool { return errors.Is(err, lost) })
}

// checkName returns an error for names that are not plain relative paths.
func checkName(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return nil
}
