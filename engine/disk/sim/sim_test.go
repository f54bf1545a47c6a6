package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"holdfast/engine/disk"
)

// put makes a file with data, synced or not.
func put(t *testing.T, f *FS, name string, data []byte, sync bool) disk.File {
	t.Helper()
	file, err := f.Open(name, disk.Flags{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if sync {
		if err := file.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func read(t *testing.T, f *FS, name string) []byte {
	t.Helper()
	file, err := f.Open(name, disk.Flags{ReadOnly: true})
	if err != nil {
		return nil
	}
	n, err := file.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := file.ReadAt(b, 0); err != nil && n > 0 {
		t.Fatal(err)
	}
	return b
}

func TestPowerCutKeepsWhatWasSynced(t *testing.T) {
	outcomes := map[string]bool{}
	for seed := range uint64(40) {
		f := New(seed, Options{})
		file := put(t, f, "kept", bytes.Repeat([]byte{1}, 2048), true)
		if err := f.SyncDir("."); err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(bytes.Repeat([]byte{2}, 2048), 0); err != nil {
			t.Fatal(err)
		}
		put(t, f, "unnamed", []byte("x"), true)
		after := f.Restart()
		if _, err := f.Stat("kept"); !errors.Is(err, ErrCrashed) {
			t.Fatalf("a call after the power cut: %v", err)
		}
		b := read(t, after, "kept")
		if len(b) != 2048 {
			t.Fatalf("seed %d: %d bytes are left", seed, len(b))
		}
		pattern := ""
		for i := 0; i < 2048; i += UnitBytes {
			if !bytes.Equal(b[i:i+UnitBytes], bytes.Repeat(b[i:i+1], UnitBytes)) {
				t.Fatalf("seed %d: a unit is torn", seed)
			}
			pattern += fmt.Sprint(b[i])
		}
		outcomes[pattern] = true
		outcomes[fmt.Sprintf("unnamed %v", read(t, after, "unnamed") != nil)] = true
	}
	for _, want := range []string{"1111", "unnamed true", "unnamed false"} {
		if !outcomes[want] {
			t.Errorf("no seed gave %q", want)
		}
	}
	if len(outcomes) < 6 {
		t.Errorf("only %d outcomes", len(outcomes))
	}
}

func TestFailedSyncDropsWhatWasWritten(t *testing.T) {
	f := New(1, Options{})
	file := put(t, f, "a", []byte("old"), true)
	if err := f.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("new"), 0); err != nil {
		t.Fatal(err)
	}
	f.Inject(func(c Call) *Fault {
		if c.Op == "sync" {
			return &Fault{Err: syscall.EIO}
		}
		return nil
	})
	if err := file.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	f.Inject(nil)
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, f, "a"); string(got) != "new" {
		t.Fatalf("the cache shows %q", got)
	}
	if got := read(t, f.Restart(), "a"); string(got) != "old" {
		t.Fatalf("the platter has %q", got)
	}
}

func TestCrashAtIsDeterministic(t *testing.T) {
	run := func(at int) (*FS, []Call) {
		f := New(9, Options{})
		f.CrashAt(at)
		for i := range 5 {
			file, err := f.Open(fmt.Sprint(i), disk.Flags{Create: true})
			if err != nil {
				break
			}
			_, _ = file.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, 3000), 0)
			_ = file.Sync()
			_ = f.SyncDir(".")
		}
		return f.Restart(), f.Trace()
	}
	_, all := run(0)
	if len(all) != 20 || all[1].Op != "write" || all[1].File != "0" || all[1].Ordinal != 2 {
		t.Fatalf("calls %+v", all)
	}
	for at := 1; at <= 20; at++ {
		a, trace := run(at)
		b, _ := run(at)
		if len(trace) != at {
			t.Fatalf("%d calls before the power cut at %d", len(trace), at)
		}
		for i := range 5 {
			if name := fmt.Sprint(i); !bytes.Equal(read(t, a, name), read(t, b, name)) {
				t.Fatalf("power cut at %d: two runs differ in %s", at, name)
			}
		}
	}
}

func TestFullDisk(t *testing.T) {
	f := New(1, Options{TotalBytes: 64 << 10})
	file := put(t, f, "a", nil, false)
	if err := file.Allocate(0, 60<<10); err != nil {
		t.Fatal(err)
	}
	other := put(t, f, "b", nil, false)
	if _, err := other.WriteAt(make([]byte, 8<<10), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write: %v", err)
	}
	if _, err := file.WriteAt(make([]byte, 60<<10), 0); err != nil {
		t.Fatalf("write into allocated room: %v", err)
	}
	if err := file.Punch(0, 8<<10); err != nil {
		t.Fatal(err)
	}
	if _, err := other.WriteAt(make([]byte, 8<<10), 0); err != nil {
		t.Fatalf("after a punch: %v", err)
	}
	if u, err := f.Usage(); err != nil || u.Free != 4<<10 {
		t.Fatalf("usage %+v %v", u, err)
	}
}

func TestRules(t *testing.T) {
	f := New(1, Options{})
	if _, err := f.Open("../a", disk.Flags{Create: true}); !errors.Is(err, fs.ErrInvalid) {
		t.Fatalf("escape: %v", err)
	}
	if _, err := f.Open("a", disk.Flags{}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("absent: %v", err)
	}
	put(t, f, "a", nil, false)
	if _, err := f.Open("a", disk.Flags{Create: true, Exclusive: true}); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("exclusive: %v", err)
	}
	direct, err := f.Open("a", disk.Flags{Direct: true})
	if err != nil || !direct.Direct() {
		t.Fatal(err)
	}
	if _, err := direct.WriteAt(disk.AlignedBytes(4097)[1:], 0); !errors.Is(err, syscall.EINVAL) {
		t.Fatalf("unaligned memory: %v", err)
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
	if err := f.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if names, err := f.List("."); err != nil || fmt.Sprint(names) != "[lock]" {
		t.Fatalf("list %v %v", names, err)
	}
}

// TestPebbleKeepsAPrefix cuts the power while Pebble runs without a log: what is there is a prefix of the batches, no shorter than what a
// durable read showed.
func TestPebbleKeepsAPrefix(t *testing.T) {
	for seed := range uint64(30) {
		f := New(seed, Options{})
		if err := errors.Join(f.MkdirAll("index"), f.SyncDir(".")); err != nil {
			t.Fatal(err)
		}
		db := openPebble(t, f)
		durable := -1
		for i := range 60 {
			if err := db.Set(fmt.Appendf(nil, "%03d", i), bytes.Repeat([]byte{byte(i)}, 1000), pebble.NoSync); err != nil {
				t.Fatal(err)
			}
			if i%20 == 19 {
				if err := db.Flush(); err != nil {
					t.Fatal(err)
				}
				durable = i
			}
			if uint64(i) == 20+seed {
				break
			}
		}
		f.Crash()
		_ = db.Close() // the disk is dead
		after := openPebble(t, f.Restart())
		it, err := after.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ok := it.First(); ok; ok = it.Next() {
			if string(it.Key()) != fmt.Sprintf("%03d", n) {
				t.Fatalf("seed %d: key %q is number %d", seed, it.Key(), n)
			}
			n++
		}
		if err := errors.Join(it.Close(), after.Close()); err != nil {
			t.Fatal(err)
		}
		if n <= durable {
			t.Fatalf("seed %d: %d rows, %d were durable", seed, n, durable+1)
		}
	}
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) {}

func openPebble(t *testing.T, f *FS) *pebble.DB {
	t.Helper()
	index, err := f.Index("index")
	if err != nil {
		t.Fatal(err)
	}
	db, err := pebble.Open("/", &pebble.Options{FS: index, DisableWAL: true, Logger: silent{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestRotBeneathTheCache wants that a bit that rots on the platter is hidden by the cache until that forgets, and is gone once it is written over.
func TestRotBeneathTheCache(t *testing.T) {
	f := New(1, Options{})
	want := bytes.Repeat([]byte{7}, 2*disk.Align)
	file := put(t, f, "a", want, true)
	if err := f.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	if err := f.Rot("a", disk.Align+3, 0); err != nil {
		t.Fatal(err)
	}
	direct, err := f.Open("a", disk.Flags{ReadOnly: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	past := func() byte {
		b := disk.AlignedBytes(disk.Align)
		if _, err := direct.ReadAt(b, disk.Align); err != nil {
			t.Fatal(err)
		}
		return b[3]
	}
	through := func() byte { return read(t, f, "a")[disk.Align+3] }
	if through() != 7 || past() != 6 {
		t.Errorf("through the cache %d, past it %d", through(), past())
	}
	if after := read(t, f.Image(2, nil), "a"); after[disk.Align+3] != 6 {
		t.Errorf("a start finds %d", after[disk.Align+3])
	}
	forget := func(length int64) {
		if err := file.Forget(0, length); err != nil {
			t.Fatal(err)
		}
	}
	if forget(disk.Align); through() != 7 {
		t.Error("another range was forgotten")
	}
	if forget(2 * disk.Align); through() != 6 || past() != 6 {
		t.Errorf("once forgotten: through the cache %d, past it %d", through(), past())
	}
	if err := f.Rot("a", 5, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Rot("a", 5, 1); err == nil {
		t.Error("what is not synced has rotted")
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	if through() != 7 || past() != 7 || read(t, f.Image(3, nil), "a")[5] != 7 {
		t.Error("what was written over has rotted")
	}
}
