package disk_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"

	"holdfast/engine/disk"
)

func open(t *testing.T) (disk.FS, string) {
	t.Helper()
	dir := t.TempDir()
	f, err := disk.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, dir
}

func TestNamesStayInTheFolder(t *testing.T) {
	f, dir := open(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../x", "/etc/passwd", "link", "a/../../x", ""} {
		if file, err := f.Open(name, disk.Flags{Create: true}); err == nil {
			file.Close()
			t.Errorf("%q was opened", name)
		}
	}
}

func TestDirectFiles(t *testing.T) {
	f, _ := open(t)
	file, err := f.Open("a", disk.Flags{Create: true, Exclusive: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Allocate(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	want := disk.AlignedBytes(8192)
	copy(want, "holdfast")
	if _, err := file.WriteAt(want, 4096); err != nil {
		t.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	got := disk.AlignedBytes(8192)
	if _, err := file.ReadAt(got, 4096); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read: %v", err)
	}
	if file.Direct() {
		if _, err := file.WriteAt(got[:100], 0); !errors.Is(err, syscall.EINVAL) {
			t.Fatalf("a write of 100 bytes: %v", err)
		}
	}
	before, err := f.Stat("a")
	if err != nil || before.Size != 1<<20 || before.Allocated < 1<<20 {
		t.Fatalf("stat %+v %v", before, err)
	}
	if err := file.Punch(4096, 512<<10); err != nil {
		t.Fatal(err)
	}
	if after, err := f.Stat("a"); err != nil || after.Size != 1<<20 || after.Allocated > before.Allocated {
		t.Fatalf("after a punch %+v %v", after, err)
	}
	if _, err := file.ReadAt(got, 4096); err != nil || !bytes.Equal(got, make([]byte, 8192)) {
		t.Fatalf("punched room has other bytes than zeros: %v", err)
	}
}

func TestNamesAndLocks(t *testing.T) {
	f, _ := open(t)
	if err := f.MkdirAll("x/y"); err != nil {
		t.Fatal(err)
	}
	file, err := f.Open("x/b", disk.Flags{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Close(), f.Rename("x/b", "x/a"), f.SyncDir("x")); err != nil {
		t.Fatal(err)
	}
	if names, err := f.List("x"); err != nil || len(names) != 2 || names[0] != "a" {
		t.Fatalf("list %v %v", names, err)
	}
	if _, err := f.Stat("x/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := f.Open("x/a", disk.Flags{Create: true, Exclusive: true}); !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	lock, err := f.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lock("lock"); err == nil {
		t.Fatal("locked twice")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if u, err := f.Usage(); err != nil || u.Total <= 0 || u.Free <= 0 || u.Free > u.Total {
		t.Fatalf("usage %+v %v", u, err)
	}
	if d, err := f.Device(); err != nil || d.MountPoint || d.ID == 0 {
		t.Fatalf("device %+v %v", d, err)
	}
}

// TestReopenFindsAnotherFolder replaces the folder: the open one stays what it was, the path leads to the new one.
func TestReopenFindsAnotherFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "drive")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := disk.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.MkdirAll("mine"), os.Rename(dir, dir+".away"), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat("mine"); err != nil {
		t.Fatalf("the open folder: %v", err)
	}
	now, err := f.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	defer now.Close()
	if _, err := now.Stat("mine"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the new folder: %v", err)
	}
}

func TestIndexStaysBelow(t *testing.T) {
	f, dir := open(t)
	if err := f.MkdirAll("index"); err != nil {
		t.Fatal(err)
	}
	index, err := f.Index("index")
	if err != nil {
		t.Fatal(err)
	}
	file, err := index.Create("/../../escape", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Close(), disk.IndexCloser(index).Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "index", "escape")); err != nil {
		t.Fatal(err)
	}
}

// TestForget wants that what was read lately is in the page cache no more, and that what was not synced is not lost.
func TestForget(t *testing.T) {
	f, dir := open(t)
	file, err := f.Open("a", disk.Flags{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := bytes.Repeat([]byte("holdfast"), 1<<17)
	if _, err := file.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := file.Forget(0, int64(len(want))); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := file.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("what was not synced: %v", err)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	if cached(t, filepath.Join(dir, "a")) == 0 {
		t.Skip("this file system has no page cache")
	}
	if err := file.Forget(4096, 8192); err != nil {
		t.Fatal(err)
	}
	if left := cached(t, filepath.Join(dir, "a")); left > 0 {
		t.Errorf("%d pages are left in the cache", left)
	}
	if _, err := file.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("afterwards: %v", err)
	}
}

// cached counts the pages of a file that are in the page cache, as mincore(2) has it.
func cached(t *testing.T, name string) (pages int) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	mapped, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(mapped)
	resident := make([]byte, (len(mapped)+os.Getpagesize()-1)/os.Getpagesize())
	if _, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(len(mapped)), uintptr(unsafe.Pointer(&resident[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, b := range resident {
		pages += int(b & 1)
	}
	return pages
}

// TestUnreadable tells bytes that are lost from those that could not be had just now.
func TestUnreadable(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{syscall.EIO: true, syscall.ENODATA: true, syscall.EMFILE: false, syscall.ENOENT: false} {
		if got := disk.Unreadable(&fs.PathError{Op: "read", Path: "a", Err: errno}); got != want {
			t.Errorf("%v: %v", errno, got)
		}
	}
}
