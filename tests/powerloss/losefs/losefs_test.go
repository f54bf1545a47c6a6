package losefs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// mounted returns a disk and where it is mounted.
func mounted(t *testing.T) (d *Disk, path string) {
	t.Helper()
	RequireFuse(t)
	d, path = New(t.TempDir()), t.TempDir()
	if err := d.Mount(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d, path
}

// cut cuts the power and begins a new life.
func cut(t *testing.T, rng *rand.Rand, d *Disk, path string) Lost {
	t.Helper()
	lost, err := Cut(rng, d)
	if err == nil {
		err = errors.Join(d.Unmount(), d.Mount(path))
	}
	if err != nil {
		t.Fatal(err)
	}
	return lost
}

func write(t *testing.T, f *os.File, at int64, p []byte) {
	t.Helper()
	if _, err := f.WriteAt(p, at); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func syncDir(t *testing.T, path string) {
	t.Helper()
	d, err := os.Open(path)
	must(t, err)
	must(t, d.Sync(), d.Close())
}

// TestSyncedSurvives: what was synced is there after any cut, what was not synced is there, gone, or in between, and each happens.
func TestSyncedSurvives(t *testing.T) {
	d, path := mounted(t)
	seen := map[string]int{}
	var all Lost
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		name := filepath.Join(path, fmt.Sprint("file", seed))
		f, err := os.Create(name)
		must(t, err)
		old, fresh := bytes.Repeat([]byte{'o'}, 8*pageBytes), bytes.Repeat([]byte{'n'}, 10*pageBytes)
		write(t, f, 0, old)
		must(t, f.Sync())
		syncDir(t, path)
		write(t, f, 0, fresh[:4*pageBytes])
		must(t, f.Sync())
		write(t, f, 4*pageBytes, fresh[4*pageBytes:])
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, fresh) {
			t.Fatalf("seed %d: before the cut the file does not read as written: %v", seed, err)
		}
		lost, err := Cut(rng, d)
		must(t, err)
		all.Add(lost)
		if _, err := f.WriteAt(old, 0); !errors.Is(err, syscall.EIO) {
			t.Fatalf("a handle of the former life answers %v", err)
		}
		if _, err := os.Stat(path + "/other"); !errors.Is(err, syscall.EIO) {
			t.Fatalf("a lookup in the former life answers %v", err)
		}
		f.Close() // EIO
		must(t, d.Unmount(), d.Mount(path))
		got, err := os.ReadFile(name)
		must(t, err)
		if len(got) < 8*pageBytes || !bytes.Equal(got[:4*pageBytes], fresh[:4*pageBytes]) {
			t.Fatalf("seed %d: synced bytes are gone: %d left", seed, len(got))
		}
		rest := got[4*pageBytes:]
		switch {
		case bytes.Equal(got, fresh):
			seen["kept"]++
		case bytes.Equal(got, append(slices.Clone(fresh[:4*pageBytes]), old[4*pageBytes:]...)):
			seen["gone"]++
		default:
			seen["in between"]++
		}
		for at := 0; at < len(rest); at += sectorBytes {
			if sector := string(rest[at : at+sectorBytes]); strings.Trim(sector, "o") != "" && strings.Trim(sector, "n") != "" && strings.Trim(sector, "\x00") != "" {
				t.Fatalf("seed %d: a sector is torn", seed)
			}
		}
	}
	t.Logf("60 cuts: %v, %+v", seen, all)
	if seen["kept"] == 0 || seen["gone"] == 0 || seen["in between"] == 0 || all.Torn == 0 || all.BytesDropped == 0 || all.BytesDropped == all.Bytes {
		t.Error("one of these did not happen")
	}
}

// TestNamesAreLostInOrder: un-synced names go from some point on, and those that a sync of their directory covers stay.
func TestNamesAreLostInOrder(t *testing.T) {
	d, path := mounted(t)
	kept := map[int]int{}
	for seed := range uint64(60) {
		dir := filepath.Join(path, fmt.Sprint("dir", seed))
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "temporary"), []byte("x"), 0o600), os.WriteFile(filepath.Join(dir, "going"), nil, 0o600))
		syncDir(t, path)
		syncDir(t, dir)
		must(t, os.Rename(filepath.Join(dir, "temporary"), filepath.Join(dir, "final")), os.Remove(filepath.Join(dir, "going")), os.WriteFile(filepath.Join(dir, "last"), nil, 0o600))
		lost := cut(t, rand.New(rand.NewPCG(seed, 0)), d, path)
		entries, err := os.ReadDir(dir)
		must(t, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		at := slices.Index([]string{"going temporary", "final going", "final", "final last"}, strings.Join(names, " "))
		if at < 0 || lost.Names != 4 {
			t.Fatalf("seed %d: the cut leaves %v, of %d un-synced changes", seed, names, lost.Names)
		}
		kept[at]++
	}
	t.Logf("changes of names that cuts kept: %v", kept)
	if len(kept) != 4 {
		t.Error("one of the four did not happen")
	}
}

// TestSyncOfOneDirectoryTakesWhatItRestsOn: a move between directories becomes durable whole, after what was done in both before.
func TestSyncOfOneDirectoryTakesWhatItRestsOn(t *testing.T) {
	d, path := mounted(t)
	a, b := filepath.Join(path, "a"), filepath.Join(path, "b")
	must(t, os.Mkdir(a, 0o700), os.Mkdir(b, 0o700), os.WriteFile(filepath.Join(b, "target"), nil, 0o600))
	syncDir(t, path)
	syncDir(t, b)
	must(t, os.Remove(filepath.Join(b, "target")), os.WriteFile(filepath.Join(a, "source"), nil, 0o600), os.Rename(filepath.Join(a, "source"), filepath.Join(b, "target")))
	syncDir(t, a)
	if lost := cut(t, rand.New(rand.NewPCG(1, 1)), d, path); lost.Names != 0 {
		t.Errorf("%d names were un-synced", lost.Names)
	}
	_, err := os.Stat(filepath.Join(b, "target"))
	_, gone := os.Stat(filepath.Join(a, "source"))
	if err != nil || !errors.Is(gone, fs.ErrNotExist) {
		t.Errorf("the move is not whole: %v, %v", err, gone)
	}
}

// TestFilesAsTheEngineUsesThem: direct input and output, holes, room, sizes, locks and sockets.
func TestFilesAsTheEngineUsesThem(t *testing.T) {
	d, path := mounted(t)
	name := filepath.Join(path, "direct")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_DIRECT, 0o600)
	must(t, err)
	block, err := syscall.Mmap(-1, 0, 16*pageBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	must(t, err)
	fd := int(f.Fd())
	must(t, syscall.Fallocate(fd, 0, 0, 32*pageBytes))
	for i := range block {
		block[i] = byte(i/pageBytes) + 1
	}
	write(t, f, 0, block)
	must(t, syscall.Fallocate(fd, 0x03, 4*pageBytes, 2*pageBytes), syscall.Fdatasync(fd))
	must(t, f.Close())
	syncDir(t, path)
	cut(t, rand.New(rand.NewPCG(1, 0)), d, path)
	f, err = os.OpenFile(name, os.O_RDWR|syscall.O_DIRECT, 0)
	must(t, err)
	defer f.Close()
	got, err := os.ReadFile(name)
	must(t, err)
	clear(block[4*pageBytes : 6*pageBytes])
	if len(got) != 32*pageBytes || !bytes.Equal(got[:len(block)], block) || strings.Trim(string(got[len(block):]), "\x00") != "" {
		t.Errorf("%d bytes after the cut, which are not those that were synced", len(got))
	}
	must(t, f.Truncate(pageBytes/2), f.Truncate(pageBytes))
	if got, err := os.ReadFile(name); err != nil || len(got) != pageBytes || strings.Trim(string(got[pageBytes/2:]), "\x00") != "" || got[0] != 1 {
		t.Errorf("truncated and extended: %d bytes, %v", len(got), err)
	}
	second, err := os.Open(name)
	must(t, err)
	defer second.Close()
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	if err := syscall.Flock(int(second.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("a second lock: %v", err)
	}
	if err := os.Remove(filepath.Join(path, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the removal of nothing: %v", err)
	}
	mapped, err := os.OpenFile(filepath.Join(path, "mapped"), os.O_CREATE|os.O_RDWR, 0o600)
	must(t, err)
	defer mapped.Close()
	must(t, mapped.Truncate(pageBytes))
	memory, err := syscall.Mmap(int(mapped.Fd()), 0, pageBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(t, err)
	copy(memory, "mapped")
	must(t, syscall.Munmap(memory), mapped.Sync())
	if got, err := os.ReadFile(mapped.Name()); err != nil || !strings.HasPrefix(string(got), "mapped") {
		t.Errorf("what was written through memory: %.10q, %v", got, err)
	}
}

// TestLie: a disk that lies loses what was synced.
func TestLie(t *testing.T) {
	d, path := mounted(t)
	d.Lie()
	lost := 0
	for seed := range uint64(20) {
		name := filepath.Join(path, fmt.Sprint("file", seed))
		f, err := os.Create(name)
		must(t, err)
		write(t, f, 0, []byte("synced"))
		must(t, f.Sync(), f.Close())
		syncDir(t, path)
		cut(t, rand.New(rand.NewPCG(seed, 0)), d, path)
		if got, _ := os.ReadFile(name); string(got) != "synced" { // gone is as good
			lost++
		}
	}
	if lost == 0 {
		t.Error("nothing was lost")
	}
}
