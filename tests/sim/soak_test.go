package sim_test

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A round is what a seed decides: a run of random operations with a cut, a replacement of drives with cuts, some moments of an operation, some faults in one,
// or a history. The order of goroutines is not the seed's, so a round that failed may have to be done a few times before it fails again.

var rounds = []struct {
	name string
	do   func(t *testing.T, seed uint64, rng *rand.Rand, counts map[string]int) error
}{
	{"random operations", func(t *testing.T, seed uint64, _ *rand.Rand, counts map[string]int) error {
		at, err := newMachine(seed).run(t)
		counts["cuts"]++
		return at.of(err)
	}},
	{"replaced drives", func(t *testing.T, seed uint64, _ *rand.Rand, counts map[string]int) error {
		at, err := newMachine(seed).replaceRun(t)
		counts["cuts"]++
		return at.of(err)
	}},
	{"moments", roundOfMoments},
	{"faults", roundOfFaults},
	{"history", func(t *testing.T, seed uint64, rng *rand.Rand, counts map[string]int) error {
		h := newHistories(t, seed)
		for life := range 2 {
			h.life(t, life, faults[rng.IntN(len(faults))])
		}
		counts["cuts"] += h.cuts
		counts["operations of histories"] += h.done()
		return nil
	}},
}

func (p point) of(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("power cut at call %d (%s) during %s: %w", p.ordinal, p.site, p.operation, err)
}

func (h *histories) done() (n int) {
	for _, count := range h.counts {
		n += count
	}
	return n
}

// roundOfMoments looks at what cuts leave at some random calls of a random operation.
func roundOfMoments(t *testing.T, seed uint64, rng *rand.Rand, counts map[string]int) error {
	o := &operations[rng.IntN(len(operations))]
	from, err := o.image(t)
	if err != nil {
		return fmt.Errorf("%s: %w", o.name, err)
	}
	all, _, err := o.record(t, from, seed, newPlaces(), func(point) bool { return rng.IntN(20) == 0 })
	if err != nil {
		return fmt.Errorf("%s without a fault: %w", o.name, err)
	}
	for i := range all {
		now := &all[i]
		now.machine.powerOn(0)
		if err := o.verify(t, now.machine, now.states); err != nil {
			return fmt.Errorf("power cut in %q at %s, call %d (loss %s): %w", o.name, now.at.site, now.at.ordinal, now.loss, err)
		}
		counts["cuts"]++
	}
	return nil
}

// roundOfFaults has some random calls of a random operation fail in a random way.
func roundOfFaults(t *testing.T, seed uint64, rng *rand.Rand, counts map[string]int) error {
	o, k := &operations[rng.IntN(len(operations))], &kinds[rng.IntN(len(kinds))]
	if o.fresh && k.damages {
		return nil
	}
	from, err := o.image(t)
	if err != nil {
		return fmt.Errorf("%s: %w", o.name, err)
	}
	_, visits, err := o.record(t, from, seed, newPlaces(), func(point) bool { return false })
	if err != nil {
		return fmt.Errorf("%s without a fault: %w", o.name, err)
	}
	sites := slices.Sorted(maps.Keys(visits[k.name]))
	for i := range min(8, len(sites)) {
		site := sites[rng.IntN(len(sites))]
		at := point{o.name, site, 1 + rng.Int64N(visits[k.name][site])}
		reached, err := o.fail(t, from, k, at, seed+uint64(i), newPlaces(), visits["EIO"])
		if err != nil {
			return fmt.Errorf("%s in %q at %s, call %d: %w", k.name, o.name, site, at.ordinal, err)
		}
		if reached {
			counts["faults of kind "+k.name]++
		}
	}
	return nil
}

// round does what a seed decides; a failure says how to have it again.
func round(t *testing.T, seed uint64, counts map[string]int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 13))
	r := &rounds[rng.IntN(len(rounds))]
	counts["rounds of "+r.name]++
	err := r.do(t, seed, rng, counts)
	if err != nil || t.Failed() {
		t.Fatalf("seed %d, %s: %v\nagain: HOLDFAST_SIM_SEED=%d go test -count=20 -failfast -v -run TestSeeds ./tests/sim\nonce mended, keep it: echo '%d # why' >> tests/sim/testdata/seeds",
			seed, r.name, err, seed, seed)
	}
}

// TestSeeds does the rounds of the seeds that failed once, or that HOLDFAST_SIM_SEED names.
func TestSeeds(t *testing.T) {
	f, err := os.Open("testdata/seeds")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var seeds []uint64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		number, why, ok := strings.Cut(lines.Text(), "#")
		if number = strings.TrimSpace(number); number == "" {
			continue
		}
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil || !ok || strings.TrimSpace(why) == "" {
			t.Fatalf("%q is no seed with a reason: %v", lines.Text(), err)
		}
		seeds = append(seeds, seed)
	}
	if s := os.Getenv("HOLDFAST_SIM_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	counts := map[string]int{}
	for _, seed := range seeds {
		round(t, seed, counts)
	}
	t.Logf("%d seeds: %v", len(seeds), counts)
	if len(seeds) == 0 {
		t.Error("there are no seeds")
	}
}

// TestSoak does rounds with new seeds without end, or for as long as HOLDFAST_SIM_SOAK says; unset, it is left out. HOLDFAST_SIM_FIRST is the first seed.
func TestSoak(t *testing.T) {
	limit := os.Getenv("HOLDFAST_SIM_SOAK")
	if limit == "" {
		t.Skip("runs without end; make soak")
	}
	var end time.Time
	if limit != "forever" {
		d, err := time.ParseDuration(limit)
		if err != nil {
			t.Fatal(err)
		}
		end = time.Now().Add(d)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HOLDFAST_SIM_FIRST"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	counts, began, told, done := map[string]int{}, time.Now(), time.Now(), 0
	for ; end.IsZero() || time.Now().Before(end); seed++ {
		round(t, seed, counts)
		done++
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			t.Logf("seed %d: %d rounds in %.0f s, %.1f in a minute: %v", seed, done, time.Since(began).Seconds(), float64(done)/time.Since(began).Minutes(), counts)
		}
	}
	t.Logf("%d rounds in %.0f s, the last with seed %d: %v", done, time.Since(began).Seconds(), seed-1, counts)
	if done == 0 {
		t.Error("no round was done")
	}
}
