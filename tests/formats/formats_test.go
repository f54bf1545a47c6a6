// Package formats keeps samples of what Holdfast writes on drives, and reads them with today's code.
//
// testdata/N holds one sample: node.tar.gz is a small node that was closed, with two drives, a witness and the state folder; the text beside
// it is what `holdfast debug` prints about its drives. A sample that was released is never written again: a change of any format, a new
// kind of row or a new opcode counts newest up, and -update writes another sample beside the old ones.
//
// Promise: every kind of row, record and command that the code has is in the newest sample and is understood as want_test.go says; every
// sample is still understood as on the day when it was written; and the same bytes with a later version are refused in words, before
// anything is written.
//
// The package does not know what a node does with what it has read: that is the matter of engine/enginetest and tests/sim.
package formats

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/cli"
	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/engine/node"
)

var update = flag.Bool("update", false, "write the newest sample anew")

// newest is the folder in testdata of the sample that -update writes and that has to have everything.
const newest = "7"

// Folders of the sample, below its root.
var (
	driveFolders = []string{"d1", "d2"}
	allFolders   = []string{"d1", "d2", "state/witness"}
)

// sampleRoot is where the sample's node believes itself to be.
const sampleRoot = "/sample"

func TestMain(m *testing.M) {
	flag.Parse()
	if *update {
		if err := writeSample(); err != nil {
			slog.Error("the sample was not written", "error", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func writeSample() error {
	root, err := os.MkdirTemp("", "formats")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	if err := generate(root); err != nil {
		return err
	}
	dir := filepath.Join("testdata", newest)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := pack(root, filepath.Join(dir, "node.tar.gz")); err != nil {
		return err
	}
	for _, folder := range allFolders {
		text, err := debugText(filepath.Join(root, folder), debugCommands...)
		if err != nil {
			return err
		}
		if err := os.WriteFile(textFile(dir, folder), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func textFile(dir, folder string) string { return filepath.Join(dir, filepath.Base(folder)+".txt") }

// pack writes a folder as an archive without times and owners.
func pack(root, target string) error {
	var b bytes.Buffer
	zip, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zip)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755})
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	})
	if err := errors.Join(err, archive.Close(), zip.Close()); err != nil {
		return err
	}
	return os.WriteFile(target, b.Bytes(), 0o644)
}

// unpack lays a sample out in a folder of its own.
func unpack(t *testing.T, sample string) (root string) {
	t.Helper()
	root = t.TempDir()
	f, err := os.Open(filepath.Join("testdata", sample, "node.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return root
		}
		if err != nil {
			t.Fatal(err)
		}
		if !filepath.IsLocal(h.Name) {
			t.Fatalf("the archive has %q", h.Name)
		}
		path := filepath.Join(root, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = extract(path, archive)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func extract(path string, from io.Reader) error {
	content, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// samples lists the folders in testdata.
func samples(t *testing.T) (names []string) {
	t.Helper()
	list, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	if !slices.Contains(names, newest) {
		t.Fatalf("testdata has no %s; write it with -update", newest)
	}
	return names
}

// TestText compares what the debug commands print with what they printed when the sample was made, line by line.
func TestText(t *testing.T) {
	for _, sample := range samples(t) {
		root := unpack(t, sample)
		for _, folder := range allFolders {
			t.Run(sample+"/"+filepath.Base(folder), func(t *testing.T) {
				got := mustDebugText(t, root, folder, debugCommands...)
				want, err := os.ReadFile(textFile(filepath.Join("testdata", sample), folder))
				if err != nil {
					t.Fatal(err)
				}
				compareLines(t, got, string(want))
			})
		}
	}
}

func compareLines(t *testing.T, got, want string) {
	t.Helper()
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	differences := 0
	for i := range max(len(gotLines), len(wantLines)) {
		var g, w string
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if g == w {
			continue
		}
		t.Errorf("line %d:\n     now %s\n  stored %s", i+1, g, w)
		if differences++; differences == 10 {
			t.Fatal("and so on")
		}
	}
}

// debugCommands are all that look into a drive.
var debugCommands = []string{"drive", "log", "index", "extent"}

// debugText is what debug commands print about a drive.
func debugText(folder string, commands ...string) (string, error) {
	var all strings.Builder
	for _, command := range commands {
		var out, problem bytes.Buffer
		if code := cli.Main([]string{"holdfast", "debug", command, folder}, &out, &problem); code != 0 {
			return "", errors.New("debug " + command + ": " + problem.String())
		}
		all.WriteString("$ holdfast debug " + command + "\n" + out.String())
	}
	return all.String(), nil
}

func mustDebugText(t *testing.T, root, folder string, commands ...string) string {
	t.Helper()
	text, err := debugText(filepath.Join(root, folder), commands...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// openSample starts a node on a sample.
func openSample(t *testing.T, root string) (*node.Node, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	config := node.Config{
		State: sampleRoot + "/state", Geometry: geometry, Memory: 32 << 20, CheckInterval: time.Hour, KeeperInterval: time.Hour,
		OpenDisk: func(path string) (disk.FS, error) {
			return disk.OS(filepath.Join(root, strings.TrimPrefix(path, sampleRoot)))
		},
	}
	for _, folder := range driveFolders {
		config.Drives = append(config.Drives, sampleRoot+"/"+folder)
	}
	return node.Open(ctx, config)
}

// TestNode starts a node on every sample and reads what it holds.
func TestNode(t *testing.T) {
	for _, sample := range samples(t) {
		t.Run(sample, func(t *testing.T) {
			root := unpack(t, sample)
			n, err := openSample(t, root)
			if err != nil {
				t.Fatal(err)
			}
			page, err := n.List(t.Context(), "bucket", engine.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var keys []string
			for _, o := range page.Objects {
				keys = append(keys, string(o.Key))
				readObject(t, n, o.Key)
			}
			if want := []string{"folder/large", "folder/old", "hello.txt", "last", "upload/done", "upload/staged"}; !slices.Equal(keys, want) {
				t.Errorf("the bucket has %q, want %q", keys, want)
			}
			if sample >= "4" {
				locksAndRenames(t, n)
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			// It closes its own former epochs, by the node's id of node.json.
			if text := mustDebugText(t, root, "d1", "index"); !strings.Contains(text, "group 1 generation 1 epoch epoch=4 {node=257 closed=true confirmed="+map[string]string{"1": "39", "2": "45", "3": "48", "4": "60", "5": "60", "6": "115", "7": "116"}[sample]+"}") {
				t.Error("the node is not the one that wrote the sample")
			}
		})
	}
}

// locksAndRenames asks for what came with format 4.
func locksAndRenames(t *testing.T, e engine.Engine) {
	t.Helper()
	if l, err := e.BucketLock(t.Context(), "locked"); err != nil || l != (engine.BucketLock{Enabled: true, Mode: engine.RetentionGovernance, Days: 7}) {
		t.Errorf("the locks are %+v, %v", l, err)
	}
	until := created.AddDate(1, 0, 0).Truncate(time.Millisecond)
	info, err := e.Stat(t.Context(), engine.Ref{Bucket: "locked", Key: "by/hand"}, engine.StatOptions{})
	if err != nil || info.Lock.Mode != engine.RetentionCompliance || !info.Lock.Until.Equal(until) || info.Lock.Hold || !info.Lock.Lifted {
		t.Errorf("the lock is %+v, %v", info.Lock, err)
	}
	o, err := e.Open(t.Context(), engine.Ref{Bucket: "moving", Key: "d/log"}, engine.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if got, err := io.ReadAll(o); err != nil || string(got) != "one, two" {
		t.Errorf("what was appended to and renamed holds %q, %v", got, err)
	}
}

func readObject(t *testing.T, e engine.Engine, key engine.Key) {
	t.Helper()
	o, err := e.Open(t.Context(), engine.Ref{Bucket: "bucket", Key: key}, engine.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, contents[string(key)]) {
		t.Errorf("%s: %d bytes, %v, not the %d that were written", key, len(got), err, len(contents[string(key)]))
	}
}

// tree is the content of every file below a folder, by its name from there; index folders are left out if drives were open, because Pebble
// writes a manifest whenever it is opened.
func tree(t *testing.T, root string, opened bool) map[string][32]byte {
	t.Helper()
	files := map[string][32]byte{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if opened && d.Name() == "index" {
				return filepath.SkipDir
			}
			files[path] = [32]byte{}
			return nil
		}
		content, err := os.ReadFile(path)
		files[path] = sha256.Sum256(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameTree(t *testing.T, before, after map[string][32]byte) {
	t.Helper()
	for name, sum := range after {
		if old, was := before[name]; !was || old != sum {
			t.Errorf("%s was written", name)
		}
	}
	for name := range before {
		if _, is := after[name]; !is {
			t.Errorf("%s was removed", name)
		}
	}
}

// openDrive opens one drive of a sample for as long as f runs.
func openDrive(t *testing.T, folder string, f func(*drive.Drive)) {
	t.Helper()
	fsys, err := disk.OS(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	d, err := drive.Open(fsys, drive.Options{FlushInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	f(d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
