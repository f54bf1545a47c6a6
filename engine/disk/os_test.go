package disk_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

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
