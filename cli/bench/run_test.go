package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// TestHistogram compares with exact quantiles.
func TestHistogram(t *testing.T) {
	var empty Histogram
	if empty.Quantile(0.5) != 0 || empty.Mean() != 0 || empty.Count() != 0 {
		t.Error("an empty histogram has figures")
	}
	var small Histogram
	for _, d := range []time.Duration{4, 2, 1, 3} {
		small.Add(d)
	}
	if small.Quantile(0.25) != 1 || small.Quantile(0.5) != 2 || small.Quantile(0.99) != 4 || small.Min() != 1 || small.Max() != 4 || small.Mean() != 2 {
		t.Errorf("quantiles %d %d %d, from %d to %d, mean %d", small.Quantile(0.25), small.Quantile(0.5), small.Quantile(0.99), small.Min(), small.Max(), small.Mean())
	}
	r := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(r.Uint64() >> (20 + r.IntN(40)))
		h.Add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(int(q*float64(len(all))+0.9999)-1, 0)]
		if got := h.Quantile(q); got < want || float64(got) > 1.01*float64(want)+1 {
			t.Errorf("quantile %g is %d, want %d", q, got, want)
		}
	}
	for bucket := range len(h.buckets) - 1 { // the buckets leave no gap and do not overlap
		if bucketOf(largest(bucket)) != bucket || bucketOf(largest(bucket)+1) != bucket+1 {
			t.Fatalf("bucket %d ends with %d", bucket, largest(bucket))
		}
	}
	h.Add(1<<63 - 1)
	if h.Quantile(1) != 1<<63-1 {
		t.Error("the longest duration is lost")
	}
}

func TestSpread(t *testing.T) {
	var seconds []float64
	seconds = spread(seconds, 1, 100*time.Millisecond, 200*time.Millisecond)
	seconds = spread(seconds, 10, 500*time.Millisecond, 3*time.Second)
	if !slices.Equal(seconds, []float64{3, 4, 4, 0}) {
		t.Errorf("%v", seconds)
	}
	if p, ok := perSecond(seconds, 3500*time.Millisecond); !ok || p != (PerSecond{3, 4, 4}) {
		t.Errorf("%+v %t", p, ok)
	}
	if p, ok := perSecond(seconds, 6*time.Second); !ok || p != (PerSecond{0, 1.5, 4}) { // nothing came in the last ones
		t.Errorf("%+v %t", p, ok)
	}
	if _, ok := perSecond(seconds, 999*time.Millisecond); ok {
		t.Error("a run below a second has whole seconds")
	}
}

func TestRunLimits(t *testing.T) {
	var calls atomic.Int64
	count := func(context.Context, *Worker) (Sample, error) { calls.Add(1); return Sample{Verb: Put}, nil }
	r, err := Run(t.Context(), Limits{Clients: 3, Duration: time.Hour, Requests: 100}, count)
	if err != nil || calls.Load() != 100 || r.Verbs[Put].Latency.Count() != 100 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
	calls.Store(0)
	if r, err := Run(t.Context(), Limits{Clients: 3, Duration: 0}, count); err != nil || r.Verbs[Put].Latency.Count() != 3 {
		t.Errorf("each client sends one: %v", err)
	}
	calls.Store(0)
	r, err = Run(t.Context(), Limits{Clients: 2, WarmUp: 30 * time.Millisecond, Duration: 30 * time.Millisecond}, count)
	if counted := r.Verbs[Put].Latency.Count(); err != nil || counted == 0 || int64(counted) >= calls.Load() {
		t.Errorf("%d of %d calls count after a warm-up", counted, calls.Load())
	}
	if r, err := Run(t.Context(), Limits{Clients: 2, Duration: time.Hour}, func(context.Context, *Worker) (Sample, error) { return Sample{}, ErrDone }); err != nil || len(r.Verbs) != 0 {
		t.Errorf("nothing to do: %+v, %v", r.Verbs, err)
	}
	broken := errors.New("broken")
	if _, err := Run(t.Context(), Limits{Clients: 2, Duration: time.Hour, StopOnError: true}, func(context.Context, *Worker) (Sample, error) { return Sample{}, broken }); !errors.Is(err, broken) {
		t.Errorf("the first error does not end it: %v", err)
	}
}

func TestEach(t *testing.T) {
	var done [100]atomic.Int64
	if err := Each(t.Context(), 100, 7, func(_ context.Context, i int64) error { done[i].Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range done {
		if done[i].Load() != 1 {
			t.Errorf("%d was done %d times", i, done[i].Load())
		}
	}
	broken := errors.New("broken")
	var calls atomic.Int64
	err := Each(t.Context(), 1_000_000, 4, func(context.Context, int64) error {
		if calls.Add(1) == 10 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || calls.Load() > 100_000 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

// TestDraw wants the shares to be kept.
func TestDraw(t *testing.T) {
	p := &Plan{Shares: map[Verb]int{Get: 6, Stat: 2, Put: 1, Delete: 1}}
	r := rand.New(rand.NewPCG(1, 1))
	counts := map[Verb]int{}
	for range 10_000 {
		counts[p.draw(r)]++
	}
	for v, share := range p.Shares {
		if counts[v] < share*900 || counts[v] > share*1100 {
			t.Errorf("%s was drawn %d times of 10000, with a share of %d of 10", v, counts[v], share)
		}
	}
	if counts[List] != 0 {
		t.Error("a verb without a share was drawn")
	}
}

// TestPool wants an object that is read to stay.
func TestPool(t *testing.T) {
	var p pool
	p.add(p.reserve())
	p.add(p.reserve())
	r := rand.New(rand.NewPCG(1, 1))
	number, release := p.use(r)
	for range 20 {
		if removed, ok := p.remove(r); ok && removed == number {
			t.Fatal("an object that is read was removed")
		}
	}
	if _, ok := p.remove(r); ok || len(p.numbers) != 1 {
		t.Error("the last object was removed")
	}
	release()
	if len(p.readers) != 0 {
		t.Error("readers are left")
	}
}
