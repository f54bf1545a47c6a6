package observe

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFileIsRotated renames the file as logrotate does: lines go on to the old one until it is opened anew, and none is lost.
func TestFileIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	var failures []error
	f, err := OpenFile(path, func(err error) { failures = append(failures, err) })
	if err != nil {
		t.Fatal(err)
	}
	write := func(line string) {
		if _, err := f.Write([]byte(line)); err != nil {
			t.Error(err)
		}
	}
	has := func(path, want string) {
		t.Helper()
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v; want %q", path, b, err, want)
		}
	}
	write("one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("two\n")
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	write("three\n")
	has(path+".1", "one\ntwo\n")
	has(path, "three\n")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}

	f.torn = true // as after a write that broke off
	write("next\n")
	write("last\n")
	has(path, "three\n\nnext\nlast\n")

	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err == nil {
		t.Error("a file was opened in a folder that is gone")
	}
	write("four\n") // the former file goes on, though nobody sees it
	f.file.Close()
	f.Write([]byte("five\n"))
	f.Write([]byte("six\n"))
	if len(failures) != 1 {
		t.Errorf("told of %v; want the first failure", failures)
	}
}
