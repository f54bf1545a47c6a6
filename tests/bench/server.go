package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/cli/bench"
)

// The root credential of every server.
const (
	user     = "bench-user"
	password = "bench-password"
)

const (
	drives     = 4
	redundancy = "2+2" // data + parity, checked on every server
)

// kind is how a server is run.
type kind struct {
	name      string // also of its binary
	arguments func(p place) []string
	settings  []string // its environment
	ready     string   // path that answers 200 when all requests can be served

	// metadata is the folder of a drive that has what a server keeps about keys, and the content of small objects; relative to the drive.
	metadata string
	// loads says which cells the server is put under; nil: all.
	loads func(cell) bool
	// redundancy asks a running server what it uses, as DATA+PARITY; nil for a server that keeps nothing.
	redundancy func(ctx context.Context, s *server) (string, error)
	// versionArguments make the binary print its version.
	versionArguments []string
}

// place is where a server runs.
type place struct {
	dir              string // has the folders d1 to d4, and what else the server keeps
	address, console string // host:port
}

func (p place) state() string  { return filepath.Join(p.dir, "state") }
func (p place) drives() string { return fmt.Sprintf("%s/d{1...%d}", p.dir, drives) }

func (p place) drive(i int) string { return filepath.Join(p.dir, fmt.Sprint("d", i+1)) }

var holdfast = kind{
	name:             "holdfast",
	versionArguments: []string{"version"},
	arguments: func(p place) []string {
		return []string{"server", "--log-level", "warn", "--s3-address", p.address, "--state", p.state(), p.drives()}
	},
	settings: []string{"HOLDFAST_ROOT_USER=" + user, "HOLDFAST_ROOT_PASSWORD=" + password},
	ready:    "/minio/health/cluster",
	metadata: "index",
	redundancy: func(ctx context.Context, s *server) (string, error) {
		out, err := exec.CommandContext(ctx, s.binary, "status", "--json", "--state", s.place.state()).Output()
		if err != nil {
			return "", fmt.Errorf("status: %w", err)
		}
		var status struct{ Redundancy string }
		err = json.Unmarshal(out, &status)
		return status.Redundancy, err
	},
}

// peers are the servers of others that can be measured. A threshold of one byte lets MinIO use folders of the root device; its other way
// to allow that, MINIO_CI_CD, also makes its buffers fewer.
var peers = []kind{{
	name:             "minio",
	versionArguments: []string{"--version"},
	arguments: func(p place) []string {
		return []string{"server", "--address", p.address, "--console-address", p.console, p.drives()}
	},
	settings: []string{"MINIO_ROOT_USER=" + user, "MINIO_ROOT_PASSWORD=" + password, "MINIO_STORAGE_CLASS_STANDARD=EC:2", "MINIO_ROOTDRIVE_THRESHOLD_SIZE=1"},
	ready:    "/minio/health/cluster",
	metadata: ".",
	redundancy: func(ctx context.Context, s *server) (string, error) {
		answer, err := s.client.Read(ctx, bench.Request{Method: http.MethodGet, Key: "minio/admin/v3/info"})
		if err != nil {
			return "", err
		}
		var info struct {
			Backend struct {
				StandardSCParity  int
				TotalDrivesPerSet []int
			}
		}
		if err := json.Unmarshal(answer, &info); err != nil {
			return "", err
		}
		if len(info.Backend.TotalDrivesPerSet) != 1 {
			return "", fmt.Errorf("%d sets of drives", len(info.Backend.TotalDrivesPerSet))
		}
		return fmt.Sprintf("%d+%d", info.Backend.TotalDrivesPerSet[0]-info.Backend.StandardSCParity, info.Backend.StandardSCParity), nil
	},
}}

func peerNames() (names []string) {
	for _, k := range peers {
		names = append(names, k.name)
	}
	return names
}

// contender is a kind with its binary.
type contender struct {
	kind
	binary string
}

// version returns the first line of what the binary says about itself.
func (c contender) version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, c.binary, c.versionArguments...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", c.binary, strings.Join(c.versionArguments, " "), err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), nil
}

// server is one that runs.
type server struct {
	contender
	place   place
	client  *bench.Client
	process *os.Process
	// readyAfter is how long it took from the start of the process until it answered that it is ready.
	readyAfter time.Duration
	ended      chan struct{} // closed when the process is gone
	result     error         // of the process; valid once ended is closed
}

// startup is how long a server may take until it is ready.
const startup = 30 * time.Second

// start runs a server on the folders below dir, which it makes where they are absent, and returns when it is ready. The caller stops or kills it.
func (c contender) start(ctx context.Context, dir string) (*server, error) {
	s := &server{contender: c, place: place{dir: dir}, ended: make(chan struct{})}
	for i := range drives {
		if err := os.MkdirAll(s.place.drive(i), 0o700); err != nil {
			return nil, err
		}
	}
	var err error
	if s.place.address, s.place.console, err = freeAddresses(); err != nil {
		return nil, err
	}
	if s.client, err = newClient(s.place.address); err != nil {
		return nil, err
	}
	log, err := os.Create(s.logFile())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(c.binary, c.arguments(s.place)...)
	// Nothing of the caller's environment: a setting in it would change what is measured.
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, c.settings...)
	command.Dir, command.Stdout, command.Stderr = dir, log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no server outlives the run
	began := time.Now()
	if err := command.Start(); err != nil {
		return nil, err
	}
	s.process = command.Process
	go func() {
		s.result = command.Wait()
		close(s.ended)
	}()
	if err := s.awaitReady(ctx, startup); err != nil {
		s.kill()
		return nil, s.withLog(err)
	}
	s.readyAfter = time.Since(began)
	return s, nil
}

// freeAddresses returns two on the loopback interface that nobody listens at.
func freeAddresses() (first, second string, err error) {
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return "", "", err
		}
		defer listeners[i].Close()
	}
	return listeners[0].Addr().String(), listeners[1].Addr().String(), nil
}

func (s *server) awaitReady(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not ready after %s", patience))
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; its last answer: %v", context.Cause(ctx), last)
		case <-s.ended:
			return fmt.Errorf("ended before it was ready: %v", s.exit())
		case <-tick.C:
		}
		if _, last = s.client.Read(ctx, bench.Request{Method: http.MethodGet, Key: strings.TrimPrefix(s.ready, "/")}); last == nil {
			return nil
		}
	}
}

// exit describes how the process ended.
func (s *server) exit() string {
	if s.result == nil {
		return "exit status 0"
	}
	return s.result.Error()
}

// stop ends the server as an operator would and checks that it ends well.
func (s *server) stop() error {
	s.client.Close()
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		return s.withLog(fmt.Errorf("ended by itself: %w", err))
	}
	select {
	case <-s.ended:
	case <-time.After(startup):
		s.kill()
		return s.withLog(fmt.Errorf("still there %s after SIGTERM", startup))
	}
	if s.result != nil {
		return s.withLog(fmt.Errorf("after SIGTERM: %w", s.result))
	}
	return nil
}

// kill ends the server at once, if it still runs, and returns when it is gone.
func (s *server) kill() {
	_ = s.process.Kill() // it may have ended by itself
	<-s.ended
}

func (s *server) logFile() string { return filepath.Join(s.place.dir, "log") }

// withLog adds the end of the server's log to an error.
func (s *server) withLog(err error) error {
	const tail = 4 << 10
	text, readErr := os.ReadFile(s.logFile())
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	text = bytes.TrimSpace(text[max(0, len(text)-tail):])
	return fmt.Errorf("%w\nthe end of its log:\n%s", err, text)
}

// cpu returns the processor time that the server has used, in its own code and in the kernel; its resolution is 10 ms.
func (s *server) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), ") ") // the name before it may have spaces
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("/proc has %q", text)
	}
	const utime, stime = 11, 12 // proc(5) counts from 1 and has two fields before the state
	var ticks int64
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ is 100 wherever Go runs
}

// The lines of /proc/PID/status that tell of memory.
const (
	current = "VmRSS:"
	highest = "VmHWM:" // the most since the start, or since forgetPeak
)

// resident returns what a line of /proc/PID/status says, in bytes.
func (s *server) resident(line string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Pid))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(l, line); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc tells no %s the server is gone", line)
}

// settle waits until the server has nothing left to do, for as long as patience, and until the disk has taken what anybody wrote.
// Without patience it does nothing.
func (s *server) settle(ctx context.Context, patience time.Duration) error {
	if patience == 0 {
		return nil
	}
	const step, idle = 100 * time.Millisecond, 20 * time.Millisecond
	before, err := s.cpu()
	for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(step):
		}
		var now time.Duration
		if now, err = s.cpu(); now-before < idle {
			break
		}
		before = now
	}
	if err != nil {
		return err
	}
	return syncFolder(s.place.dir)
}

// written returns the bytes of data on the server's drives. Room that is allocated ahead and not written yet does not count.
func (s *server) written() (total int64, err error) {
	for i := range drives {
		err := filepath.WalkDir(s.place.drive(i), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return absentIsFine(err)
			}
			n, err := dataBytes(path)
			total += n
			return absentIsFine(err)
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// absentIsFine lets a server delete its temporary files while they are counted.
func absentIsFine(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dataBytes returns how many bytes of a file are no hole. Unwritten extents are holes to lseek(2).
func dataBytes(path string) (total int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for end := int64(0); ; {
		start, err := f.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return total, nil
		}
		if err == nil {
			end, err = f.Seek(start, unix.SEEK_HOLE)
		}
		if err != nil {
			return 0, err
		}
		total += end - start
	}
}

// blocks returns the room that a file or folder itself takes.
func blocks(path string) (int64, error) {
	var s unix.Stat_t
	err := unix.Lstat(path, &s)
	return s.Blocks * 512, err
}

// syncFolder returns when the file system of a folder has nothing left to write.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
