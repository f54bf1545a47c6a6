package pressure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"holdfast/tests/daemontest"
)

// mountDrive mounts a file system of that many bytes, in memory, as the folder of a drive.
func mountDrive(t *testing.T, d *daemontest.Daemon, i int, size int64) {
	t.Helper()
	if err := syscall.Mount("pressure", d.Drive(i), "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)); err != nil {
		t.Fatalf("mounts need root: %v", err)
	}
	t.Cleanup(func() {
		d.Kill()
		err := syscall.Unmount(d.Drive(i), 0)
		for deadline := time.Now().Add(5 * time.Second); errors.Is(err, syscall.EBUSY) && time.Now().Before(deadline); err = syscall.Unmount(d.Drive(i), 0) {
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Error(errors.Join(err, syscall.Unmount(d.Drive(i), syscall.MNT_DETACH)))
		}
	})
}

// Of a drive of that size about 200 MiB are left for shards, beside the ring and the reserve; a roomy one has several times that.
const (
	smallDrive = 1024<<20 + 300<<20
	roomyDrive = 4 << 30
)

// TestFullDrives: when one drive is full, or all are, puts say so, what is there can be read and deleted, and once the room has come back puts work.
func TestFullDrives(t *testing.T) {
	t.Parallel()
	for _, full := range []int{1, daemontest.Drives} {
		t.Run(fmt.Sprint(full, " of ", daemontest.Drives), func(t *testing.T) { fill(t, full) })
	}
}

func fill(t *testing.T, full int) {
	d := daemontest.New(t)
	for i := range daemontest.Drives {
		size := int64(roomyDrive)
		if i < full {
			size = smallDrive
		}
		mountDrive(t, d, i, size)
	}
	d.Start()
	c := NewClient(t, d)
	body := bytes.Repeat([]byte("full"), 4<<20) // 16 MiB
	c.Must(t, 200, Ask{Method: "PUT", Target: "/bucket"})
	c.Must(t, 200, Ask{Method: "PUT", Target: "/bucket/small", Body: []byte("small")})
	put := func(i int) Answer {
		answer, err := c.Do(Ask{Method: "PUT", Target: fmt.Sprint("/bucket/key", i), Body: body})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	stored := 0
	answer := put(0)
	for ; answer.Status == 200 && stored < 200; answer = put(stored) {
		stored++
	}
	if answer.String() != "507 XMinioStorageFull" || stored < 3 {
		t.Fatalf("after %d objects of 16 MiB the answer is %v: %s", stored, answer, answer.Body)
	}
	for range 3 { // it stays so, and nothing breaks by trying
		if again := put(stored); again.Status != 507 {
			t.Errorf("and then %v", again)
		}
	}
	if got := c.Must(t, 200, Ask{Method: "GET", Target: "/bucket/key0"}); !bytes.Equal(got.Body, body) {
		t.Error("another body came back")
	}
	c.Must(t, 404, Ask{Method: "GET", Target: fmt.Sprint("/bucket/key", stored)})
	for i := range stored {
		c.Must(t, 204, Ask{Method: "DELETE", Target: fmt.Sprint("/bucket/key", i)})
	}
	begin := time.Now()
	again := put(0)
	for deadline := begin.Add(30 * time.Second); again.Status != 200 && time.Now().Before(deadline); again = put(0) {
		if again.Status != 507 {
			t.Fatalf("after the deletion: %v", again)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if again.Status != 200 {
		t.Fatalf("the room has not come back after 30 s: %v", again)
	}
	t.Logf("%d objects of 16 MiB, then 507; %v after all were deleted puts work again", stored, time.Since(begin).Round(10*time.Millisecond))
	for i := 1; i < stored/2; i++ {
		if a := put(i); a.Status != 200 {
			t.Errorf("put %d of %d after the deletion: %v", i, stored, a)
		}
	}
	if full == 1 {
		ballast(t, d, c)
	}
	for _, drive := range d.Status().Drives {
		if drive.State == "out" {
			t.Errorf("drive %s is out", drive.Path)
		}
	}
	d.Stop()
}

// ballast lets others eat into the reserve of the first drive: small objects, which ride in rows, are refused before deletions are.
func ballast(t *testing.T, d *daemontest.Daemon, c *Client) {
	small := func() Answer {
		answer, err := c.Do(Ask{Method: "PUT", Target: "/bucket/small", Body: []byte("small")})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	await := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			answer := small()
			if answer.Status == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("a small object is answered with %v after 30 s, not %d: %s", answer, want, answer.Body)
			}
		}
	}
	var room syscall.Statfs_t
	if err := syscall.Statfs(d.Drive(0), &room); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(d.Drive(0), "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.Fallocate(int(file.Fd()), 0, 0, int64(room.Bavail)*room.Bsize-400<<20); err != nil {
		t.Fatal(err)
	}
	await(507)
	c.Must(t, 204, Ask{Method: "DELETE", Target: "/bucket/small"})
	if err := os.Remove(file.Name()); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	await(200)
}
