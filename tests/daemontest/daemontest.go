// Package daemontest runs the real daemon for tests: built from this tree, on four drive folders in a temporary folder.
//
// Promise: the daemon ends with the test, and what it wrote is shown when it does not do what was asked.
//
// The package does not know what a test wants of the daemon, nor anything of its inside: it has the process, its folders, its address and
// its command line.
package daemontest

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The root credential of every daemon of this package.
const (
	User     = "daemon-test"
	Password = "daemon-test-password"
)

// Drives is how many drives a daemon has.
const Drives = 4

// Daemon is a daemon that can be killed and started again. Its methods may be called from several goroutines.
type Daemon struct {
	Dir     string // has the state folder, the drives and the binary
	Address string // of S3
	// Args are further flags of the server, and Secure how to reach it if they make it speak TLS; nil: they do not.
	Args   []string
	Secure *tls.Config
	// Before is a command that runs the daemon, whose own command line follows: with another limit, say.
	Before []string

	t      *testing.T
	binary string

	mu      sync.Mutex
	process *exec.Cmd

	logMu sync.Mutex
	log   bytes.Buffer
}

// Binary returns the file that HOLDFAST_TEST_BINARY names, or builds the daemon into a folder.
func Binary(t *testing.T, dir string) string {
	t.Helper()
	if binary := os.Getenv("HOLDFAST_TEST_BINARY"); binary != "" {
		return binary
	}
	binary := filepath.Join(dir, "holdfast")
	if out, err := exec.Command("go", "build", "-o", binary, "holdfast/cli/holdfast").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// New makes a daemon of Binary, and its folders. It does not start it.
func New(t *testing.T) *Daemon {
	t.Helper()
	d := &Daemon{t: t, Dir: t.TempDir()}
	d.binary = Binary(t, d.Dir)
	for i := range Drives {
		if err := os.Mkdir(d.Drive(i), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.Address = l.Addr().String()
	l.Close()
	t.Cleanup(d.Kill)
	return d
}

// Drive returns the folder of a drive, from 0.
func (d *Daemon) Drive(i int) string { return filepath.Join(d.Dir, fmt.Sprint("drive", i+1)) }

// State returns the state folder.
func (d *Daemon) State() string { return filepath.Join(d.Dir, "state") }

// URL returns where S3 is.
func (d *Daemon) URL() string {
	if d.Secure != nil {
		return "https://" + d.Address
	}
	return "http://" + d.Address
}

// Launch starts the daemon and does not wait.
func (d *Daemon) Launch() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	args := []string{"server", "--log-level", "warn", "--s3-address", d.Address, "--state", d.State()}
	args = append(args, d.Args...)
	for i := range Drives {
		args = append(args, d.Drive(i))
	}
	args = slices.Concat(d.Before, []string{d.binary}, args)
	d.process = exec.Command(args[0], args[1:]...)
	d.process.Env = append(os.Environ(), "HOLDFAST_ROOT_USER="+User, "HOLDFAST_ROOT_PASSWORD="+Password)
	d.process.Stdout, d.process.Stderr = logWriter{d}, logWriter{d}
	if err := d.process.Start(); err != nil {
		d.t.Errorf("the daemon does not start: %v", err)
	}
}

// Start starts the daemon and waits until it is ready.
func (d *Daemon) Start() {
	d.t.Helper()
	d.Launch()
	if err := d.AwaitReady(90 * time.Second); err != nil {
		d.t.Error(err)
	}
}

// AwaitReady waits until the daemon that was launched is ready. The error, if it ends before or is not ready in time, has what it wrote.
func (d *Daemon) AwaitReady(limit time.Duration) error {
	client := &http.Client{Timeout: limit, Transport: &http.Transport{TLSClientConfig: d.Secure}}
	defer client.CloseIdleConnections()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		response, err := client.Get(d.URL() + "/minio/health/ready")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if d.ended() {
			return fmt.Errorf("the daemon has ended\n%s", d.Log())
		}
	}
	return fmt.Errorf("the daemon is not ready after %v\n%s", limit, d.Log())
}

// ended reports whether the process is no more; nobody has waited for it yet.
func (d *Daemon) ended() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, d.process.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err == nil && info.Signo != 0
}

// Log returns what the daemon wrote so far.
func (d *Daemon) Log() string {
	d.logMu.Lock()
	defer d.logMu.Unlock()
	return d.log.String()
}

// Process returns the number of the process.
func (d *Daemon) Process() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.process.Process.Pid
}

// logWriter adds to the log.
type logWriter struct{ d *Daemon }

func (w logWriter) Write(p []byte) (int, error) {
	w.d.logMu.Lock()
	defer w.d.logMu.Unlock()
	return w.d.log.Write(p)
}

// Kill ends the daemon with SIGKILL, if it runs.
func (d *Daemon) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil || d.process.ProcessState != nil {
		return
	}
	_ = d.process.Process.Kill() // it may have ended by itself
	_ = d.process.Wait()         // killed, as it should be
}

// Stop ends the daemon with SIGTERM and checks that it ends well.
func (d *Daemon) Stop() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.process.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	if err := d.process.Wait(); err != nil {
		d.t.Fatalf("the daemon ended with %v\n%s", err, d.Log())
	}
}

// Wipe empties the folder of a drive, as if a new drive were mounted there. The daemon must not run.
func (d *Daemon) Wipe(i int) {
	d.t.Helper()
	entries, err := os.ReadDir(d.Drive(i))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(d.Drive(i), e.Name())); err != nil {
			d.t.Fatal(err)
		}
	}
}

// AwaitRepair waits until status says that no drive is out and every shard is recorded where it should be, and says how long that took.
func (d *Daemon) AwaitRepair(limit time.Duration) time.Duration {
	d.t.Helper()
	begin := time.Now()
	status := d.Status()
	for ; status.Missing > 0 || status.Away > 0 || !status.whole(); status = d.Status() {
		if time.Since(begin) > limit {
			d.t.Fatalf("not repaired after %v: %+v", limit, status)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begin)
}

// Command runs the command line on the daemon and returns what it printed to standard output.
func (d *Daemon) Command(args ...string) (string, error) {
	out, err := exec.Command(d.binary, append(args, "--state", d.State())...).Output()
	return string(out), err
}

// Status is what the tests read of `holdfast status --json`.
type Status struct {
	Missing int `json:"extents_missing_shards"`
	Away    int `json:"shards_on_lost_drives"`
	Garbage int `json:"contents_to_collect"`
	Trash   int `json:"trash"`
	Keepers struct {
		SweepsComplete int `json:"sweeps_complete"`
	}
	Drives []struct {
		Path, State string
		Shards      int
		Witness     bool
	}
	Groups []struct {
		Replicas int `json:"replicas"`
		Voters   int `json:"voters"`
		Live     int `json:"replicas_live"`
	}
}

// whole reports whether each group has a replica on each drive and the witness, and all vote.
func (s *Status) whole() bool {
	for _, g := range s.Groups {
		if g.Replicas < len(s.Drives) || g.Voters < g.Replicas || g.Live < g.Replicas {
			return false
		}
	}
	return len(s.Groups) > 0
}

// Status asks the daemon. Exit status 3, not fully protected, is an answer like another.
func (d *Daemon) Status() (status Status) {
	d.t.Helper()
	out, err := exec.Command(d.binary, "status", "--json", "--state", d.State()).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 {
		err = nil
	}
	if err == nil {
		err = json.Unmarshal(out, &status)
	}
	if err != nil {
		d.t.Fatalf("holdfast status: %v\n%s", err, out)
	}
	return status
}
