package powerloss

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"holdfast/tests/daemontest"
	"holdfast/tests/journal"
	"holdfast/tests/powerloss/losefs"
)

const (
	clients    = 8
	readyLimit = 30 * time.Second
)

// run is a machine with a daemon under clients, and what became of it.
type run struct {
	t        *testing.T
	daemon   *daemontest.Daemon
	machine  *Machine
	journals journal.Journals
	rng      *rand.Rand

	cuts, driveCuts, startCuts int
	lost                       losefs.Lost
	longest                    time.Duration // from start to ready
	mu                         sync.Mutex
	broken                     []error // promises
}

func newRun(t *testing.T, seed uint64) *run {
	d := daemontest.New(t)
	return &run{t: t, daemon: d, machine: NewMachine(t, d), rng: rand.New(rand.NewPCG(seed, 0))}
}

// fail writes down that a promise was broken.
func (r *run) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = append(r.broken, fmt.Errorf(format, args...))
}

// cut cuts the power of the machine, or of the drive, kills the daemon, and gives power again.
func (r *run) cut(drive int) {
	r.t.Helper()
	var lost losefs.Lost
	var err error
	if drive < 0 {
		lost, err = r.machine.Cut(r.rng)
	} else {
		if lost, err = r.machine.CutDrive(r.rng, drive); r.rng.IntN(2) == 0 {
			time.Sleep(rand.N(150 * time.Millisecond)) // the daemon goes on without the drive for a while, whose length is what is random
		}
		r.driveCuts++
	}
	r.daemon.Kill()
	r.cuts++
	r.lost.Add(lost)
	if err := errors.Join(err, r.machine.Restore()); err != nil {
		r.t.Fatal(err)
	}
}

// start starts the daemon, cutting the power before it is ready some of the time, and reports whether it was ready in time.
func (r *run) start() bool {
	for r.rng.IntN(4) == 0 {
		r.daemon.Launch()
		time.Sleep(rand.N(400 * time.Millisecond)) // the instant is what is random
		r.cut(-1)
		r.startCuts++
	}
	begin := time.Now()
	r.daemon.Launch()
	if err := r.daemon.AwaitReady(readyLimit); err != nil {
		r.fail("after %d cuts: %v", r.cuts, err)
		return false
	}
	r.longest = max(r.longest, time.Since(begin))
	return true
}

// round has the clients work until the power goes, of the machine or of one drive, and checks what is there afterwards.
func (r *run) round(drive int) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	working := r.journals.Work(ctx, r.t, r.daemon, r.rng.Uint64())
	time.Sleep(200*time.Millisecond + rand.N(1800*time.Millisecond)) // the instant of the cut is what is random; nothing waits for a condition
	r.cut(drive)
	working.Wait()
	if !r.start() {
		return
	}
	r.journals.Check(ctx, r.fail, journal.Client(r.t, r.daemon))
	if drive >= 0 {
		r.daemon.AwaitRepair(time.Minute) // two more drives may be cut then
	}
}

// report prints the counts.
func (r *run) report() (verified map[string]int) {
	acked, interrupted, verified := r.journals.Counts()
	r.t.Logf("%d cuts, %d of them of one drive, %d before the daemon was ready; ready after %v at most", r.cuts, r.driveCuts, r.startCuts, r.longest.Round(time.Millisecond))
	r.t.Logf("acknowledged %v, interrupted %v", acked, interrupted)
	r.t.Logf("keys that were as the last operation left them: %v", verified)
	r.t.Logf("of un-synced %d bytes and %d names the cuts dropped %d bytes and %d names, and left %d pages torn; synced: %+v", r.lost.Bytes, r.lost.Names, r.lost.BytesDropped, r.lost.NamesDropped, r.lost.Torn, r.machine.Synced())
	return verified
}

// TestPowerLoss: nothing that was acknowledged is lost by any cut.
func TestPowerLoss(t *testing.T) {
	want := 10
	if s := os.Getenv("HOLDFAST_TEST_POWERLOSSES"); s != "" {
		var err error
		if want, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := newRun(t, seed)
	r.daemon.Launch() // on disks that have nothing yet
	time.Sleep(rand.N(500 * time.Millisecond))
	r.cut(-1)
	r.startCuts++
	if r.start() {
		r.journals = journal.Begin(t, r.daemon, clients)
	}
	for r.cuts < want && len(r.broken) == 0 && !t.Failed() {
		drive := -1
		if r.cuts%4 == 2 {
			drive = r.rng.IntN(daemontest.Drives)
		}
		r.round(drive)
	}
	for _, err := range r.broken {
		t.Error(err)
	}
	verified := r.report()
	for _, operation := range []string{"put", "overwrite", "delete", "copy", "slow put", "multipart", "tag", "append", "rename"} {
		if verified[operation] == 0 {
			t.Errorf("no key was verified whose last operation was a %s", operation)
		}
	}
	if r.driveCuts == 0 || r.startCuts == 0 || r.cuts == r.driveCuts+r.startCuts || r.lost.BytesDropped == 0 || r.lost.NamesDropped == 0 || r.lost.Torn == 0 {
		t.Error("one of the counts is zero")
	}
}

// TestLyingDisksAreFound: the same rounds find it if the disks do not do what they say, so that TestPowerLoss can fail.
func TestLyingDisksAreFound(t *testing.T) {
	r := newRun(t, 1)
	r.daemon.Start()
	r.journals = journal.Begin(t, r.daemon, clients)
	r.machine.Lie()
	for range 3 {
		if len(r.broken) == 0 {
			r.round(-1)
		}
	}
	t.Logf("%d promises were broken after %d cuts that dropped %d bytes", len(r.broken), r.cuts, r.lost.BytesDropped)
	if len(r.broken) == 0 {
		t.Error("nothing was found")
	} else {
		t.Logf("the first: %.300v", r.broken[0])
	}
}
