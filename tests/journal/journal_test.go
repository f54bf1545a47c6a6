// Package journal_test kills the real daemon with SIGKILL, again and again, under clients that keep a journal of what was acknowledged. Some
// kills come at a random instant, others as soon as the daemon is inside the step that was hit least often; and from time to time a drive is wiped.
//
// Promise: after every kill each key has the state that was acknowledged last, or that of the one operation that was under way; at the end
// every shard on the drives is one that the metadata places there, counted by a scanner that reads the drives of the stopped node.
// HOLDFAST_JOURNAL_ACKS says how many acknowledgements to collect.
//
// The package knows S3 and the bytes on drives. It does not know what the daemon is doing when it is killed, and the power stays on:
// what a power cut takes is the matter of tests/sim and tests/powerloss.
package journal_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/daemon"
	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/observe"
	"holdfast/tests/daemontest"
	"holdfast/tests/journal"
)

const (
	clients     = 8
	wipesWanted = 4      // drives, one after the other
	many        = 20_000 // acknowledgements, from which on every step must have been hit
)

func TestJournal(t *testing.T) {
	want := 2000
	if s := os.Getenv("HOLDFAST_JOURNAL_ACKS"); s != "" {
		var err error
		if want, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	d := daemontest.New(t)
	d.Start()
	ctx := t.Context()
	journals := journal.Begin(t, d, clients)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	kills, aimed, wipes, total, inside := 0, 0, 0, 0, map[string]int{}
	longest := 2500 * time.Millisecond
	if want >= many {
		longest = 8 * time.Second
	}
	for total < want && !t.Failed() {
		target := leastHit(inside, rng)
		if rng.IntN(4) == 0 || inside[target] > 0 && rng.IntN(3) > 0 {
			target = "" // killed at a random instant: few times until every step was hit, mostly later
		}
		if round(ctx, t, d, journals, rng.Uint64(), 300*time.Millisecond+rand.N(longest), target) {
			aimed++
		}
		kills++
		noteSteps(t, d, inside)
		if total >= (wipes+1)*want/(wipesWanted+1) { // all was repaired at the end of the last round, and no more was lost since than a process
			whole := func() {
				d.Start()
				d.AwaitRepair(2 * time.Minute)
				d.Kill()
				kills++
				noteSteps(t, d, inside)
			}
			whole()
			kills += thin(ctx, t, d, journals, rng, inside)
			whole()
			d.Wipe(wipes % daemontest.Drives)
			wipes++
			for _, target := range []string{"group: a replica takes over the rows of another", "repair: a shard is made again", "repair: a shard is made again"} {
				launch(t, d)
				if hit := awaitStep(t, d, target, 5*time.Second); hit {
					aimed++
				}
				d.Kill()
				kills++
				noteSteps(t, d, inside)
			}
		}
		for rng.IntN(3) == 0 { // killed again before it is ready, or as soon as it has done what is done after a start
			launch(t, d)
			if target := leastHit(inside, rng); rng.IntN(4) > 0 {
				if awaitStep(t, d, target, 4*time.Second) {
					aimed++
				}
			} else {
				time.Sleep(time.Duration(rng.IntN(int(150 * time.Millisecond))))
			}
			d.Kill()
			kills++
			noteSteps(t, d, inside)
		}
		d.Start()
		journals.Check(ctx, t.Errorf, journal.Client(t, d))
		total = journals.Acked()
	}
	acks, open, _ := journals.Counts()
	t.Logf("%d kills, %d of them aimed at a step, %d drives wiped, acknowledged %v, interrupted %v", kills, aimed, wipes, acks, open)
	for _, operation := range journal.Operations {
		if acks[operation] == 0 {
			t.Errorf("no %s was acknowledged", operation)
		}
	}
	if wipes == 0 {
		t.Error("no drive was wiped")
	}
	if kills == 0 || open["put"]+open["overwrite"] == 0 {
		t.Error("no kill interrupted a write")
	}
	lines := make([]string, 0, len(inside))
	for name, n := range inside {
		lines = append(lines, fmt.Sprintf("%6d  %s", n, name))
		if n == 0 && want >= many {
			t.Errorf("no kill landed inside the step %q", name)
		}
	}
	slices.Sort(lines)
	t.Logf("kills that landed inside each step:\n%s", strings.Join(lines, "\n"))
	if len(lines) == 0 {
		t.Error("no step was recorded")
	}
	scan(t, d)
}

// thin takes two drives away for a round, in which what is written has less parity, brings them back, and kills the daemon while it makes up for that.
// It returns the number of kills.
func thin(ctx context.Context, t *testing.T, d *daemontest.Daemon, journals journal.Journals, rng *rand.Rand, inside map[string]int) (kills int) {
	first := rng.IntN(daemontest.Drives)
	move := func(from, to string) {
		for i := range 2 {
			drive := d.Drive((first + i) % daemontest.Drives)
			if err := os.Rename(drive+from, drive+to); err != nil {
				t.Fatal(err)
			}
		}
	}
	move("", ".away")
	d.Start()
	round(ctx, t, d, journals, rng.Uint64(), time.Second, "")
	noteSteps(t, d, inside)
	move(".away", "")
	for range 3 {
		launch(t, d)
		awaitStep(t, d, "repair: an extent with less parity is written anew", 5*time.Second)
		d.Kill()
		noteSteps(t, d, inside)
	}
	return 4
}

// noteSteps counts the steps that were under way when the daemon was killed.
func noteSteps(t *testing.T, d *daemontest.Daemon, inside map[string]int) {
	list, _ := observe.ReadRecord(filepath.Join(d.State(), daemon.StepsFile)) // a daemon that was killed early has none
	for _, s := range list {
		inside[s.Name] += 0
		if s.Entered != s.Left {
			inside[s.Name]++
		}
	}
}

// leastHit returns one of the steps that were hit least often, or "" if none is known.
func leastHit(inside map[string]int, rng *rand.Rand) string {
	names := slices.Sorted(maps.Keys(inside))
	if len(names) == 0 {
		return ""
	}
	rng.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
	return slices.MinFunc(names, func(a, b string) int { return inside[a] - inside[b] })
}

// launch starts the daemon without the record of its predecessor.
func launch(t *testing.T, d *daemontest.Daemon) {
	if err := os.Remove(filepath.Join(d.State(), daemon.StepsFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	d.Launch()
}

// awaitStep returns once the running daemon is inside the step; false if that did not happen in time.
func awaitStep(t *testing.T, d *daemontest.Daemon, name string, limit time.Duration) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		list, _ := observe.ReadRecord(filepath.Join(d.State(), daemon.StepsFile)) // until the daemon has made it there is none
		for _, s := range list {
			if s.Name == name && s.Entered != s.Left {
				return true
			}
		}
		// The daemon needs the processor too, but some steps are over in 200 microseconds, and time.Sleep may round up to a millisecond.
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 20_000}, nil) // interrupted is as good
	}
	return false
}

// round lets all clients work until the daemon is inside the target step, or for a while if there is none, kills the daemon under them, and
// waits for them to notice. It says whether the step was seen.
func round(ctx context.Context, t *testing.T, d *daemontest.Daemon, journals journal.Journals, seed uint64, length time.Duration, target string) (seen bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	working := journals.Work(ctx, t, d, seed)
	var scrubbing sync.WaitGroup
	var over atomic.Bool
	if target == scrubStep { // passes that begin by themselves are weeks apart
		scrubbing.Go(func() {
			for !over.Load() && ctx.Err() == nil {
				_, _ = d.Command("scrub", "start") // refused while a pass is under way
			}
		})
	}
	if target != "" {
		time.Sleep(length / 4) // some work before
		seen = awaitStep(t, d, target, length)
	} else {
		time.Sleep(length) // the instant of the kill is what is random here; nothing waits for a condition
	}
	d.Kill()
	over.Store(true)
	working.Wait()
	scrubbing.Wait()
	return seen
}

// scrubStep is the step of the scrub.
const scrubStep = "repair: the progress of the scrub is made durable"

// scan waits until the keepers have nothing left to do, stops the daemon, and counts the shards on each drive by itself.
func scan(t *testing.T, running *daemontest.Daemon) {
	deadline := time.Now().Add(2 * time.Minute)
	status := running.Status()
	for status.Trash > 0 || status.Garbage > 0 || status.Keepers.SweepsComplete == 0 || status.Missing > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("the keepers are not done: %+v", status)
		}
		time.Sleep(50 * time.Millisecond)
		status = running.Status()
	}
	running.Stop()
	scanned := 0
	for _, d := range status.Drives {
		if d.Witness {
			continue
		}
		found := countShards(t, d.Path)
		scanned += found
		if found != d.Shards {
			t.Errorf("%s holds %d shards; the metadata places %d there", d.Path, found, d.Shards)
		}
	}
	t.Logf("%d shards scanned, each where the metadata has it", scanned)
	if scanned == 0 {
		t.Error("no shard was scanned")
	}
}

func countShards(t *testing.T, dir string) int {
	t.Helper()
	fsys, err := disk.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	d, err := drive.Open(fsys, drive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	count := 0
	var after engine.ShardID
	for {
		list, err := d.Shards(after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return count
		}
		count += len(list)
		after = list[len(list)-1].ID
	}
}
