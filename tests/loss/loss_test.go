// Package loss_test backs up real trees with real clients while the daemon is killed again and again, then loses all drives, two at a time,
// and restores.
//
// Promise: what restic, rclone and aws said they had stored comes back byte for byte. By default about 300 MB are made up; HOLDFAST_LOSS_TREE
// names folders to take instead, with colons between them, HOLDFAST_LOSS_MB how many MiB of them in all, HOLDFAST_LOSS_BIG the size in MiB of one
// large file that is among these, HOLDFAST_LOSS_KILL the seconds between kills. With HOLDFAST_LOSS_APART the clients do it one after the other,
// each on drives of its own, which takes a third of the room.
//
// The package does not know how drives keep what they keep: it has the clients, the folders of the drives and `holdfast status`.
package loss_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/tests/daemontest"
)

const region = "us-east-1"

// site is a daemon and what the clients need.
type site struct {
	*daemontest.Daemon
	t *testing.T
}

// clients are those that back up and restore; one more is a case in backUp and in restoreAll.
var clients = []string{"restic", "rclone", "aws"}

func TestLoss(t *testing.T) {
	groups := [][]string{clients}
	if os.Getenv("HOLDFAST_LOSS_APART") != "" {
		groups = slices.Collect(slices.Chunk(clients, 1))
	}
	for _, group := range groups {
		t.Run(strings.Join(group, "+"), func(t *testing.T) { lose(t, group) })
	}
}

// lose is the whole story for some clients at the same time.
func lose(t *testing.T, clients []string) {
	s := &site{daemontest.New(t), t}
	source := s.source()
	s.Start()
	began := time.Now()
	kills := s.whileKilled(func() {
		s.makeBuckets()
		var wg sync.WaitGroup
		for _, name := range clients {
			wg.Go(func() { s.backUp(name, source) })
		}
		wg.Wait()
	})
	t.Logf("backed up in %v under %d kills", time.Since(began).Round(time.Second), kills)
	for _, pair := range [][]int{{0, 2}, {1, 3}} {
		s.Kill()
		for _, i := range pair {
			s.Wipe(i)
		}
		s.Start()
		s.t.Logf("repaired in %v", s.AwaitRepair(time.Hour).Round(100*time.Millisecond))
	}
	for _, name := range clients {
		s.restoreAll(name, source)
	}
	files, size := s.measure(source)
	t.Logf("%d files, %d MB, by %s, under %d kills and the loss of all four drives: equal", files, size>>20, strings.Join(clients, " and "), kills)
	if kills == 0 || files == 0 {
		t.Error("nothing was killed or nothing was compared")
	}
}

func (s *site) makeBuckets() {
	s.retry("make buckets", func() error {
		for _, bucket := range []string{"rclone", "aws"} {
			if _, err := s.run("aws", "--endpoint-url", s.URL(), "s3api", "head-bucket", "--bucket", bucket); err == nil {
				continue
			}
			if out, err := s.run("aws", "--endpoint-url", s.URL(), "s3", "mb", "s3://"+bucket); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
		return nil
	})
}

func (s *site) backUp(name, source string) {
	switch name {
	case "restic":
		s.client("restic init", "restic", "init")
		s.client("restic backup", "restic", "backup", source)
	case "rclone":
		s.client("rclone copy", "rclone", "copy", "--transfers=4", source, "site:rclone")
	case "aws":
		s.client("aws sync", "aws", "--endpoint-url", s.URL(), "s3", "sync", "--no-progress", "--only-show-errors", "--no-follow-symlinks", source, "s3://aws")
	}
}

// restoreAll has one tree on the disk at a time, beside the source and what is stored.
func (s *site) restoreAll(name, source string) {
	restored := filepath.Join(s.Dir, "restored")
	switch name {
	case "restic":
		s.client("restic check", "restic", "check", "--read-data")
		s.restore(source, filepath.Join(restored, source), "restic", "restore", "latest", "--target", restored)
	case "rclone":
		s.restore(source, restored, "rclone", "copy", "--transfers=4", "site:rclone", restored)
	case "aws":
		s.restore(source, restored, "aws", "--endpoint-url", s.URL(), "s3", "sync", "--no-progress", "--only-show-errors", "s3://aws", restored)
	}
}

func number(t *testing.T, name string, otherwise int) int {
	value := os.Getenv(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// source returns the folder to back up.
func (s *site) source() string {
	dir := filepath.Join(s.Dir, "source")
	big := number(s.t, "HOLDFAST_LOSS_BIG", 120)
	if trees := os.Getenv("HOLDFAST_LOSS_TREE"); trees != "" {
		s.copyTrees(dir, strings.Split(trees, ":"), int64(number(s.t, "HOLDFAST_LOSS_MB", 0)-big)<<20)
	} else {
		s.invent(dir)
	}
	f, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	rng := rand.NewChaCha8([32]byte{1})
	block := make([]byte, 1<<20)
	for range big {
		rng.Read(block)
		if _, err := f.Write(block); err != nil {
			s.t.Fatal(err)
		}
	}
	return dir
}

// copyTrees copies the trees into dir, each once and then the last again until dir has size bytes.
func (s *site) copyTrees(dir string, trees []string, size int64) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	for i := 0; ; i++ {
		if i >= len(trees) {
			if _, have := s.measure(dir); have >= size {
				return
			}
		}
		if out, err := exec.Command("cp", "-rL", trees[min(i, len(trees)-1)], filepath.Join(dir, fmt.Sprint("tree", i))).CombinedOutput(); err != nil {
			s.t.Fatalf("%v\n%s", err, out)
		}
	}
}

// invent makes a tree of 180 MB: many small files, some of a few MB.
func (s *site) invent(dir string) {
	rng := rand.New(rand.NewPCG(1, 2))
	bytes := rand.NewChaCha8([32]byte{2})
	for i := range 1200 {
		sub := filepath.Join(dir, fmt.Sprintf("d%d/e%d", i%7, i%11))
		if err := os.MkdirAll(sub, 0o700); err != nil {
			s.t.Fatal(err)
		}
		size := rng.IntN(40_000)
		if i%60 == 0 {
			size = 4<<20 + rng.IntN(8<<20)
		}
		b := make([]byte, size)
		bytes.Read(b)
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file %d é", i)), b, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// whileKilled runs work while the daemon is killed and started again.
func (s *site) whileKilled(work func()) (kills int) {
	done, ended := make(chan struct{}), make(chan struct{})
	every := time.Duration(number(s.t, "HOLDFAST_LOSS_KILL", 6)) * time.Second
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(every):
			}
			s.Kill()
			s.Start()
			kills++
		}
	}()
	work()
	close(done)
	<-ended
	return kills
}

// environment is what all clients are told.
func (s *site) environment() []string {
	var inherited []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "AWS_") { // whatever the caller's clients are set to
			inherited = append(inherited, variable)
		}
	}
	return append(inherited,
		"HOME="+s.Dir, "AWS_ACCESS_KEY_ID="+daemontest.User, "AWS_SECRET_ACCESS_KEY="+daemontest.Password, "AWS_DEFAULT_REGION="+region, "AWS_MAX_ATTEMPTS=10",
		"AWS_EC2_METADATA_DISABLED=true",
		"RESTIC_REPOSITORY=s3:"+s.URL()+"/restic", "RESTIC_PASSWORD=a", "RCLONE_CONFIG_SITE_TYPE=s3", "RCLONE_CONFIG_SITE_PROVIDER=Other",
		"RCLONE_CONFIG_SITE_ENDPOINT="+s.URL(), "RCLONE_CONFIG_SITE_ENV_AUTH=true", "RCLONE_CONFIG_SITE_REGION="+region,
		"RCLONE_CONFIG_SITE_NO_CHECK_BUCKET=true")
}

func (s *site) run(name string, args ...string) ([]byte, error) {
	path, err := clientPath(name)
	if err != nil {
		return nil, err
	}
	c := exec.Command(path, args...)
	c.Env = s.environment()
	return c.CombinedOutput()
}

// clientPath prefers the distribution's program: a shim in the path may look for its version in HOME.
func clientPath(name string) (string, error) {
	if path := "/usr/bin/" + name; exec.Command("test", "-x", path).Run() == nil {
		return path, nil
	}
	out, err := exec.Command("sh", "-c", "pyenv which "+name+" 2>/dev/null || command -v "+name).Output()
	return string(bytes.TrimSpace(out)), err
}

// client runs a client until it succeeds: it may be cut off by every kill.
func (s *site) client(what, name string, args ...string) {
	s.retry(what, func() error {
		out, err := s.run(name, args...)
		if err == nil {
			return nil
		}
		if name == "restic" {
			if args[0] == "init" && bytes.Contains(out, []byte("already")) {
				return nil
			}
			_, _ = s.run("restic", "unlock") // of the run that was cut off
		}
		return fmt.Errorf("%w: %s", err, tail(out))
	})
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

func (s *site) retry(what string, f func() error) {
	var err error
	for range 60 {
		if err = f(); err == nil || s.t.Failed() {
			return
		}
		time.Sleep(time.Second)
	}
	s.t.Errorf("%s never succeeded: %v", what, err)
}

// restore lets a client restore, holds the tree against the source, and removes it.
func (s *site) restore(source, tree, name string, args ...string) {
	s.client(name+" restores", name, args...)
	if out, err := exec.Command("diff", "-rq", source, tree).CombinedOutput(); err != nil {
		s.t.Errorf("%s restored something else: %s", name, tail(out))
	}
	if err := os.RemoveAll(filepath.Join(s.Dir, "restored")); err != nil {
		s.t.Fatal(err)
	}
}

// measure counts the files of a tree and their bytes.
func (s *site) measure(source string) (files int, size int64) {
	err := filepath.Walk(source, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			files++
			size += info.Size()
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return files, size
}
