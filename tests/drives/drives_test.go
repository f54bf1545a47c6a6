// Package drives_test adds, removes and replaces drives of the real daemon, which is killed in the middle of each, while clients write.
//
// Promise: whatever was acknowledged comes back byte for byte after every drive of the first start is gone, and nothing that stays refers to one.
//
// The package does not know how a drive is emptied: it has the folders, S3 and the command line.
package drives_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/cli"
	"holdfast/tests/daemontest"
)

// site is a daemon and the objects that were acknowledged.
type site struct {
	*daemontest.Daemon
	t      *testing.T
	client *minio.Client

	mu   sync.Mutex
	want map[string]int // size by key
}

// listed is what the test reads of `holdfast drive list --json`.
type listed struct {
	Drive   uint64
	Path    string
	State   string
	Shards  int
	Problem string
	Leaving *struct {
		Left int `json:"shards_left"`
	}
}

func TestDrives(t *testing.T) {
	s := &site{Daemon: daemontest.New(t), t: t, want: map[string]int{}}
	s.Args = []string{"--standard", "2+2", "--move-rate", "1MiB/s"}
	s.Start()
	var err error
	if s.client, err = minio.New(s.Address, &minio.Options{Creds: credentials.NewStaticV4(daemontest.User, daemontest.Password, "")}); err != nil {
		t.Fatal(err)
	}
	if err := s.client.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 24 {
		s.put(t.Context(), fmt.Sprint("first/", i), 9000+i*20_000)
	}
	tree := s.tree()
	s.aws("s3", "sync", "--only-show-errors", tree, "s3://bucket/tree")
	stop := s.writeOn()

	s.refused("needs 4", "remove", "1")
	s.drive("add", s.folder("new1"))
	s.restart()
	s.drive("add", s.folder("new2"))
	s.await("two drives are added", func(list []listed) bool {
		return len(list) == 7 && all(list, "in") && list[4].Shards+list[5].Shards > 0
	})
	s.refused("is drive 6 of this node already", "add", s.folder("new1"))

	s.drive("remove", "1")
	s.midway(1)
	s.drive("remove", "2")
	s.midway(2)
	s.gone(1)
	s.gone(2)
	s.takeAway(0)
	s.takeAway(1)
	s.refused("needs 4", "remove", "3")

	s.drive("replace", "3", s.folder("new3"))
	s.midway(3)
	s.gone(3)
	s.takeAway(2)

	s.Kill()
	s.takeAway(3)
	s.Start()
	s.await("drive 4 is out", func(list []listed) bool { return find(list, 4).State == "out" })
	s.drive("replace", "4", s.folder("new4"))
	s.restart()
	s.gone(4)

	stop()
	s.AwaitRepair(time.Minute)
	s.readAll(tree)
	s.Stop()
	for _, name := range []string{"new1", "new2", "new3", "new4"} {
		s.unreferenced(filepath.Join(s.Dir, name))
	}
	s.Start()
	s.readAll(tree)
}

// content is as many bytes as are asked for, determined by the key.
func content(key string, size int) []byte {
	var seed [32]byte
	copy(seed[:], key)
	b := make([]byte, size)
	rand.NewChaCha8(seed).Read(b)
	return b
}

// put writes an object, and remembers it if that was acknowledged.
func (s *site) put(ctx context.Context, key string, size int) {
	if _, err := s.client.PutObject(ctx, "bucket", key, bytes.NewReader(content(key, size)), int64(size), minio.PutObjectOptions{}); err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want[key] = size
}

// writeOn has a client write until stop is called.
func (s *site) writeOn() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			s.put(ctx, fmt.Sprint("meanwhile/", i), 1000+i%7*10_000)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond): // a few MB in all
			}
		}
	})
	return func() { cancel(); writing.Wait() }
}

// tree makes files of some MB together.
func (s *site) tree() string {
	dir := filepath.Join(s.Dir, "tree")
	for i := range 12 {
		name := filepath.Join(dir, fmt.Sprint("d", i%3), fmt.Sprint("file ", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(name, content(name, 100_000+i*70_000), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return dir
}

// aws runs the client of that name.
func (s *site) aws(args ...string) {
	s.t.Helper()
	c := exec.Command("aws", append([]string{"--endpoint-url", s.URL()}, args...)...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "AWS_") { // whatever the caller's client is set to
			c.Env = append(c.Env, variable)
		}
	}
	c.Env = append(c.Env, "AWS_ACCESS_KEY_ID="+daemontest.User, "AWS_SECRET_ACCESS_KEY="+daemontest.Password, "AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true")
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("aws %v: %v\n%s", args, err, out)
	}
}

func (s *site) readAll(tree string) {
	s.t.Helper()
	back := s.t.TempDir()
	s.aws("s3", "sync", "--only-show-errors", "s3://bucket/tree", back)
	if out, err := exec.Command("diff", "-r", tree, back).CombinedOutput(); err != nil {
		s.t.Errorf("the tree came back as another: %s", out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, size := range s.want {
		o, err := s.client.GetObject(s.t.Context(), "bucket", key, minio.GetObjectOptions{})
		if err != nil {
			s.t.Fatal(err)
		}
		got, err := io.ReadAll(o)
		if err != nil || !bytes.Equal(got, content(key, size)) {
			s.t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
		o.Close()
	}
	s.t.Logf("%d objects are equal", len(s.want))
}

// folder returns an empty one, or the one of that name that there is.
func (s *site) folder(name string) string {
	dir := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

func (s *site) drive(args ...string) {
	s.t.Helper()
	if out, err := s.Command(append([]string{"drive"}, args...)...); err != nil {
		s.t.Fatalf("holdfast drive %v: %v %s %s", args, err, out, problem(err))
	}
}

func (s *site) refused(why string, args ...string) {
	s.t.Helper()
	if _, err := s.Command(append([]string{"drive"}, args...)...); err == nil || !strings.Contains(problem(err), why) {
		s.t.Errorf("holdfast drive %v: %v %s; want %q", args, err, problem(err), why)
	}
}

// problem is what a command wrote to standard error.
func problem(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return string(exit.Stderr)
	}
	return ""
}

func (s *site) list() (list []listed) {
	s.t.Helper()
	out, err := s.Command("drive", "list", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) == 0 {
		s.t.Fatalf("%v: %s", err, out)
	}
	if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 3) {
		s.t.Fatalf("holdfast drive list: %v", err)
	}
	return list
}

func (s *site) await(what string, reached func([]listed) bool) {
	s.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		list := s.list()
		if reached(list) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain: %s: %+v", what, list)
		}
	}
}

func all(list []listed, state string) bool {
	for _, d := range list {
		if d.State != state {
			return false
		}
	}
	return true
}

func find(list []listed, id uint64) listed {
	for _, d := range list {
		if d.Drive == id {
			return d
		}
	}
	return listed{}
}

func (s *site) restart() {
	s.t.Helper()
	s.Kill()
	s.Start()
}

// midway kills the daemon when some of a drive has moved, and some not.
func (s *site) midway(id uint64) {
	s.t.Helper()
	first := 0
	s.await(fmt.Sprintf("drive %d is half empty", id), func(list []listed) bool {
		d := find(list, id)
		if d.Leaving == nil {
			return d.Drive == 0 // it was quick
		}
		first = max(first, d.Leaving.Left)
		return d.Leaving.Left < first
	})
	s.restart()
}

func (s *site) gone(id uint64) {
	s.t.Helper()
	s.await(fmt.Sprintf("drive %d is gone", id), func(list []listed) bool { return find(list, id).Drive == 0 })
}

// takeAway moves the folder of a drive of the first start away.
func (s *site) takeAway(i int) {
	s.t.Helper()
	if err := os.Rename(s.Drive(i), s.Drive(i)+".away"); err != nil {
		s.t.Fatal(err)
	}
}

// unreferenced looks through the rows on a drive of a stopped daemon for the drives that were taken away.
func (s *site) unreferenced(folder string) {
	s.t.Helper()
	var out, problem bytes.Buffer
	if code := cli.Main([]string{"holdfast", "debug", "index", folder}, &out, &problem); code != 0 {
		s.t.Fatal(problem.String())
	}
	for _, line := range strings.Split(out.String(), "\n") {
		for id := 1; id <= 4; id++ {
			if strings.Contains(line, fmt.Sprintf(" placement drive=%d ", id)) {
				s.t.Errorf("%s has %s", folder, line)
			}
		}
	}
	out.Reset()
	if code := cli.Main([]string{"holdfast", "debug", "check", folder}, &out, &problem); code != 0 {
		s.t.Errorf("debug check of %s: %s%s", folder, out.String(), problem.String())
	}
}
