package node

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk"
)

// TestFailedDriveStaysOut empties the folder of the drive that has the groups' leaders, so that a new drive takes its place while the node runs, and then
// fails that one: although its folder is as it should be, it is not believed again before the next start.
func TestFailedDriveStaysOut(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	var broken atomic.Bool
	c.OpenDisk = func(dir string) (disk.FS, error) {
		fsys, err := disk.OS(dir)
		if dir != c.Drives[0] || err != nil {
			return fsys, err
		}
		return breaking{fsys, &broken}, nil
	}
	n := openNode(t, c)
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	put(t, n, "before", content(1, 3<<20))
	for _, folder := range c.Drives {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		last := n.All()[len(n.All())-1]
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
		await(t, n, "no new drive took the place", func(s Status) bool {
			for _, d := range s.Drives {
				if d.Path == folder && d.Drive > last && allIn(s) {
					return true
				}
			}
			return false
		})
		mustGet(t, n, "before", content(1, 3<<20))
	}
	failed := n.All()[0]
	broken.Store(true)
	isOut := func(s Status) bool {
		return slices.ContainsFunc(s.Drives, func(d DriveStatus) bool { return d.Drive == failed && d.State == "out" && d.Problem != "" })
	}
	if _, err := n.Put(t.Context(), engine.Ref{Bucket: "bucket", Key: "meanwhile"}, bytes.NewReader(content(3, 100)), engine.PutOptions{Size: 100}); err != nil {
		t.Log(err) // as it may be
	}
	await(t, n, "the failed drive is not out", isOut)
	broken.Store(false)
	put(t, n, "after", content(2, 3<<20))
	for end := time.Now().Add(20 * probeAfter * c.CheckInterval); time.Now().Before(end); time.Sleep(c.CheckInterval) {
		if s, err := n.Status(t.Context()); err != nil || !isOut(s) {
			t.Fatalf("the failed drive came in again: %+v, %v", s.Drives, err)
		}
	}
	mustGet(t, n, "before", content(1, 3<<20))
	mustGet(t, n, "after", content(2, 3<<20))
}

// TestFailedWhileAway has a drive fail while its folder is away: when the folder is back as it was left, the drive is not believed before the next start.
func TestFailedWhileAway(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.CheckInterval = 20 * time.Millisecond
	var broken atomic.Bool
	c.OpenDisk = func(dir string) (disk.FS, error) {
		fsys, err := disk.OS(dir)
		if dir != c.Drives[0] || err != nil {
			return fsys, err
		}
		return breaking{fsys, &broken}, nil
	}
	n := openNode(t, c)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	put(t, n, "before", content(1, 3<<20))
	folder := c.Drives[0]
	n.mu.Lock()
	d := n.slots[0].drive
	n.mu.Unlock()
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	isOut := func(s Status) bool { return s.Drives[0].State == "out" && s.Drives[0].Problem != "" }
	await(t, n, "the drive is not out", isOut)
	broken.Store(true)
	list, err := d.Shards(engine.ShardID{}, 1)
	if err != nil || len(list) == 0 {
		t.Fatalf("%d shards, %v", len(list), err)
	}
	if err := d.DeleteShards(t.Context(), []engine.ShardID{list[0].ID}); err == nil || d.Failed() == nil {
		t.Fatalf("the drive did not fail: %v, %v", err, d.Failed())
	}
	broken.Store(false)
	put(t, n, "meanwhile", content(2, 3<<20))
	if err := os.Rename(folder+".away", folder); err != nil {
		t.Fatal(err)
	}
	await(t, n, "what is wrong with the drive is not told", func(s Status) bool {
		return isOut(s) && strings.Contains(s.Drives[0].Problem, "start the node again")
	})
	for end := time.Now().Add(10 * probeAfter * c.CheckInterval); time.Now().Before(end); time.Sleep(c.CheckInterval) {
		if s, err := n.Status(t.Context()); err != nil || !isOut(s) {
			t.Fatalf("the failed drive came in again: %+v, %v", s.Drives, err)
		}
	}
	closeNode(t, n)
	n = openNode(t, c)
	await(t, n, "the drive is not in after a start", allIn)
	mustGet(t, n, "before", content(1, 3<<20))
	mustGet(t, n, "meanwhile", content(2, 3<<20))
	closeNode(t, n)
}

// TestOldCopyOfADrive puts back what a drive had before it was emptied and became another one: it is not taken for that one.
func TestOldCopyOfADrive(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := withBucket(t, c)
	put(t, n, "before", content(1, 3<<20))
	closeNode(t, n)
	folder, old := c.Drives[0], c.Drives[0]+".old"
	if err := os.CopyFS(old, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	wipe(t, folder)
	n = openNode(t, c)
	await(t, n, "the emptied drive is not rebuilt", allIn)
	put(t, n, "after", content(2, 3<<20))
	closeNode(t, n)
	wipe(t, folder)
	if err := os.CopyFS(folder, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	n = openNode(t, c)
	for range 20 {
		s, err := n.Status(t.Context())
		if err != nil || s.Drives[0].State != "out" || !strings.Contains(s.Drives[0].Problem, "another life") {
			t.Fatalf("the old copy counts as %+v, %v", s.Drives[0], err)
		}
		time.Sleep(c.CheckInterval)
	}
	mustGet(t, n, "before", content(1, 3<<20))
	mustGet(t, n, "after", content(2, 3<<20))
	wipe(t, folder)
	await(t, n, "the emptied drive is not rebuilt again", allIn)
	closeNode(t, n)
}

// breaking is a folder whose files cannot be synced while broken is set.
type breaking struct {
	disk.FS
	broken *atomic.Bool
}

func (b breaking) Open(name string, flags disk.Flags) (disk.File, error) {
	f, err := b.FS.Open(name, flags)
	return breakingFile{f, b.broken}, err
}

func (b breaking) Reopen() (disk.FS, error) {
	now, err := b.FS.Reopen()
	return breaking{now, b.broken}, err
}

type breakingFile struct {
	disk.File
	broken *atomic.Bool
}

func (f breakingFile) Sync() error {
	if f.broken.Load() {
		return syscall.EIO
	}
	return f.File.Sync()
}

// TestLessParityIsMadeUpFor writes while two of four drives are away, an object and a part of an upload. Status says so, until the drives are back and
// the keepers have written the extents anew: then the drives that were spared may be lost. Who had opened the object before reads it to its end.
func TestLessParityIsMadeUpFor(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	put(t, n, "whole", content(1, 3<<20))
	away := func(folders ...string) {
		t.Helper()
		for _, folder := range folders {
			if err := os.Rename(folder, folder+".away"); err != nil {
				t.Fatal(err)
			}
		}
		await(t, n, "the drives are not out", func(s Status) bool {
			out := 0
			for _, d := range s.Drives {
				if d.State == "out" {
					out++
				}
			}
			return out == len(folders)
		})
	}
	away(c.Drives[2:]...)
	if err := n.Writable(t.Context()); err != nil {
		t.Errorf("two of four drives are left: %v", err)
	}
	thin := content(2, 70<<20) // two extents
	put(t, n, "thin", thin)
	upload, err := n.StartUpload(t.Context(), engine.Ref{Bucket: "bucket", Key: "upload"}, engine.StartUploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	part, err := n.PutPart(t.Context(), engine.Ref{Bucket: "bucket", Key: "upload"}, upload.ID, 1, bytes.NewReader(content(3, 1<<20)), engine.PutPartOptions{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := n.Status(t.Context()); err != nil || s.Reduced != 3 {
		t.Errorf("%d extents have less parity, %v", s.Reduced, err)
	}
	opened, err := n.Open(t.Context(), engine.Ref{Bucket: "bucket", Key: "thin"}, engine.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	for _, folder := range c.Drives[2:] {
		if err := os.Rename(folder+".away", folder); err != nil {
			t.Fatal(err)
		}
	}
	// While the reader has it open the former extents stay, as garbage.
	await(t, n, "the extents are not written anew", func(s Status) bool { return allIn(s) && s.Keeper.ExtentsWidened == 3 && s.Garbage > 0 })
	if got, err := io.ReadAll(opened); err != nil || !bytes.Equal(got, thin) {
		t.Errorf("the reader has %d bytes, %v, or others", len(got), err)
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
	await(t, n, "an extent with less parity is left", func(s Status) bool { return s.Reduced == 0 && s.Garbage == 0 && allIn(s) })
	away(c.Drives[:2]...)
	mustGet(t, n, "whole", content(1, 3<<20))
	mustGet(t, n, "thin", thin)
	if _, err := n.CompleteUpload(t.Context(), engine.Ref{Bucket: "bucket", Key: "upload"}, upload.ID, engine.CompleteUploadOptions{Size: -1, Parts: []engine.CompletePart{{Number: 1, ETag: part.ETag}}}); err != nil {
		t.Fatal(err)
	}
	mustGet(t, n, "upload", content(3, 1<<20))
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDrivesComeAndGoWhileTheBodyIsWritten takes two of four drives away in the middle of a body, and brings them back before its end: it goes
// on in a narrower code, and then in its own again.
func TestDrivesComeAndGoWhileTheBodyIsWritten(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	body := content(1, 20<<20+3) // of which each extent is as long as all before it
	bothOut := func(s Status) bool {
		return !slices.ContainsFunc(s.Drives, func(d DriveStatus) bool { return (d.State == "out") != slices.Contains(c.Drives[2:], d.Path) })
	}
	move := func(from, to string) func() {
		return func() {
			for _, folder := range c.Drives[2:] {
				if err := os.Rename(folder+from, folder+to); err != nil && !os.IsNotExist(err) {
					t.Error(err)
				}
			}
		}
	}
	ref := engine.Ref{Bucket: "bucket", Key: "object"}
	for try := 1; ; try++ {
		_, err := n.Put(t.Context(), ref, io.MultiReader(
			bytes.NewReader(body[:4<<20]), after(move("", ".away")), after(func() { await(t, n, "the drives are not out", bothOut) }),
			bytes.NewReader(body[4<<20:16<<20]), after(move(".away", "")), after(func() { await(t, n, "the drives are not in again", allIn) }),
			bytes.NewReader(body[16<<20:])), engine.PutOptions{Size: -1})
		if err == nil {
			break
		}
		// A block that was on its way to a drive that went is refused.
		if engine.KindOf(err) != engine.KindUnavailable || try == 10 {
			t.Fatal(err)
		}
		t.Log(err)
		move(".away", "")()
		await(t, n, "the drives are not in again", allIn)
	}
	mustGet(t, n, "object", body)
	s, err := n.Status(t.Context())
	if err != nil || s.Reduced == 0 {
		t.Errorf("%d extents have less parity, %v: the drives were not missed", s.Reduced, err)
	}
}

// after is a reader that calls a function and is at its end.
type after func()

func (f after) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}
