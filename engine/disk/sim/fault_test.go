package sim

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"holdfast/engine/disk"
)

// TestLosses wants of each kind of loss what it says.
func TestLosses(t *testing.T) {
	old, data := bytes.Repeat([]byte{1}, 4*disk.Align), bytes.Repeat([]byte{2}, 4*disk.Align)
	units := map[int]bool{}
	for loss := range Losses {
		outcomes := map[string]bool{}
		for seed := range uint64(60) {
			f := New(seed, Options{})
			file := put(t, f, "kept", old, true)
			if err := f.SyncDir("."); err != nil {
				t.Fatal(err)
			}
			put(t, f, "new", []byte("x"), true)
			if _, err := file.WriteAt(data, 0); err != nil {
				t.Fatal(err)
			}
			after := f.ImageInCall(seed, loss, nil)
			b := read(t, after, "kept")
			run := 1
			for i := UnitBytes; i <= len(b); i += UnitBytes {
				if i < len(b) && b[i] == b[i-1] {
					run++
					continue
				}
				units[run*UnitBytes] = true
				run = 1
			}
			state := "torn"
			switch {
			case bytes.Equal(b, old):
				state = "old"
			case bytes.Equal(b, data):
				state = "new"
			}
			outcomes[fmt.Sprintf("%s, named %v", state, read(t, after, "new") != nil)] = true
			if !bytes.Equal(read(t, f, "kept"), data) {
				t.Fatal("the disk itself changed")
			}
		}
		want := map[Loss][]string{LossWhole: {"old, named false"}, LossNone: {"new, named true"}, LossNames: {"new, named false"}, LossData: {"old, named true"}}[loss]
		if want == nil { // any of them
			want = []string{"old, named false", "torn, named false", "new, named true", "torn, named true"}
		} else if len(outcomes) != len(want) {
			t.Errorf("%s: %v", loss, outcomes)
		}
		for _, w := range want {
			if !outcomes[w] {
				t.Errorf("%s: never %q, but %v", loss, w, outcomes)
			}
		}
	}
	for _, unit := range []int{512, 1024, 2048, 4096} {
		if !units[unit] {
			t.Errorf("no write is torn after %d bytes", unit)
		}
	}
}

// TestImagesShareNothing wants that what is written to a disk, or to its image, is not seen by the other, however often images are taken.
func TestImagesShareNothing(t *testing.T) {
	f := New(1, Options{})
	all := []*FS{f}
	for i := range 6 {
		file := put(t, all[i/2], "a", bytes.Repeat([]byte{byte(i + 1)}, 3*disk.Align-7), true)
		if err := errors.Join(file.Truncate(int64(2*disk.Align+i)), file.Punch(int64(i), disk.Align), file.Sync(), all[i/2].SyncDir(".")); err != nil {
			t.Fatal(err)
		}
		all = append(all, all[i/2].Image(uint64(i), nil))
	}
	last := map[*FS]int{f: 1, all[1]: 3, all[2]: 5, all[3]: 2, all[4]: 3, all[5]: 4, all[6]: 5}
	for i, d := range all {
		at := last[d]
		want := bytes.Repeat([]byte{byte(at + 1)}, 2*disk.Align+at)
		clear(want[at : at+disk.Align])
		if got := read(t, d, "a"); !bytes.Equal(got, want) {
			t.Errorf("disk %d does not have what was written there in turn %d", i, at)
		}
	}
}

// TestWaitingCall wants that a call that hangs happens once it is let go, and fails when the power goes, and that the disks that share its power go on
// meanwhile.
func TestWaitingCall(t *testing.T) {
	for _, dies := range []bool{false, true} {
		power := &Power{}
		f, other := New(1, Options{Power: power}), New(2, Options{Power: power})
		file := put(t, f, "a", nil, false)
		release, struck := make(chan struct{}), make(chan struct{})
		f.Inject(func(c Call) *Fault {
			if c.Op != "write" {
				return nil
			}
			close(struck)
			return &Fault{Wait: release}
		})
		done := make(chan error)
		go func() {
			_, err := file.WriteAt([]byte("late"), 0)
			done <- err
		}()
		<-struck
		put(t, other, "b", []byte("b"), true)
		if dies {
			f.Crash()
		} else {
			close(release)
		}
		err := <-done
		if dies && !errors.Is(err, ErrCrashed) || !dies && (err != nil || string(read(t, f, "a")) != "late") {
			t.Errorf("the power went: %v; the call answers %v", dies, err)
		}
	}
}

// TestFaultsOnTheWay wants short calls and flipped bits, and no error where none is asked for.
func TestFaultsOnTheWay(t *testing.T) {
	f := New(1, Options{})
	file := put(t, f, "a", make([]byte, 1000), true)
	strike := func(fault *Fault) { f.Inject(func(Call) *Fault { return fault }) }
	b := make([]byte, 1000)
	strike(&Fault{Short: 300})
	if n, err := file.ReadAt(b, 0); n != 300 || err == nil {
		t.Errorf("a short read: %d, %v", n, err)
	}
	if n, err := file.WriteAt(bytes.Repeat([]byte{1}, 1000), 0); n != 300 || err == nil {
		t.Errorf("a short write: %d, %v", n, err)
	}
	strike(&Fault{Err: syscall.ENOSPC, Short: 500})
	if n, err := file.WriteAt(bytes.Repeat([]byte{1}, 1000), 0); n != 500 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %d, %v", n, err)
	}
	strike(&Fault{Flip: 8*700 + 2})
	if n, err := file.ReadAt(b, 0); n != 1000 || err != nil || b[700] != 4 || b[499] != 1 {
		t.Errorf("a flipped bit on the way in: %d, %v, %d", n, err, b[700])
	}
	if n, err := file.WriteAt(make([]byte, 1000), 0); n != 1000 || err != nil {
		t.Errorf("a flipped bit on the way out: %d, %v", n, err)
	}
	strike(nil)
	want := make([]byte, 1000)
	want[700] = 4
	if got := read(t, f, "a"); !bytes.Equal(got, want) {
		t.Error("what was flipped on the way out is not what is there")
	}
}
