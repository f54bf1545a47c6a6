package bench

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Limits say how long a run goes on.
type Limits struct {
	Clients  int           // how many send requests at the same time
	WarmUp   time.Duration // requests that begin before it is over do not count
	Duration time.Duration // after the warm-up; no request begins later, but each client sends at least one
	Requests int64         // that count; 0 for no limit
	// StopOnError ends the run with the first error; otherwise errors are counted.
	StopOnError bool
}

// Sample is what an operation tells about a request.
type Sample struct {
	Verb      Verb
	Bytes     int64         // of content
	Keys      int64         // that a listing had
	FirstByte time.Duration // until the first byte of content was there; 0 if there is none
}

// ErrDone is what an operation returns that has nothing left to do: its client ends.
var ErrDone = errors.New("there is nothing left to do")

// Worker is one client of a run. It belongs to one goroutine.
type Worker struct {
	Number int
	Rand   *rand.Rand
	Buffer []byte       // scratch room for bodies
	Page   bytes.Buffer // scratch room for listings
	Next   int          // of a listing's keys: the first that the next page must have
	Token  string       // continues the listing there; "" starts it
}

// NewWorker returns the client of a run that has a number.
func NewWorker(number int) *Worker {
	return &Worker{Number: number, Rand: rand.New(rand.NewPCG(1, uint64(number))), Buffer: make([]byte, 256<<10)}
}

// Result is what a run came to.
type Result struct {
	Elapsed time.Duration // from the end of the warm-up until the last client had its last answer
	Verbs   map[Verb]*Measured
}

// Measured is what the requests of a verb came to.
type Measured struct {
	Latency   Histogram // of the requests that succeeded
	FirstByte Histogram // of those with content
	Bytes     int64
	Keys      int64            // of listings
	Errors    map[string]int64 // by code
	Example   error            // the first of the errors
	// requests and bytes of each second of the run. A request counts in each second that it overlaps, in proportion.
	requests, bytes []float64
}

// PerSecond has what was done in the slowest, the median and the fastest whole second.
type PerSecond struct{ Slowest, Median, Fastest float64 }

// perSecond looks at the whole seconds of a run; ok is false if there is none.
func perSecond(values []float64, elapsed time.Duration) (p PerSecond, ok bool) {
	whole := make([]float64, int(elapsed/time.Second))
	copy(whole, values)
	if len(whole) == 0 {
		return p, false
	}
	slices.Sort(whole)
	return PerSecond{whole[0], (whole[(len(whole)-1)/2] + whole[len(whole)/2]) / 2, whole[len(whole)-1]}, true
}

// RequestsPerSecond says how many requests whole seconds saw; ok is false if the run had none.
func (m *Measured) RequestsPerSecond(elapsed time.Duration) (PerSecond, bool) {
	return perSecond(m.requests, elapsed)
}

// BytesPerSecond says how many bytes of content whole seconds saw; ok is false if the run had none.
func (m *Measured) BytesPerSecond(elapsed time.Duration) (PerSecond, bool) {
	return perSecond(m.bytes, elapsed)
}

// recorder collects the samples of all clients.
type recorder struct {
	mu     sync.Mutex
	limits Limits
	start  time.Time // the end of the warm-up
	begun  int64     // requests that count
	result Result
}

// begin reports whether one more request may begin, and when it does.
func (r *recorder) begin(first bool) (now time.Time, counts, ok bool) {
	now = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	counts = !now.Before(r.start)
	if counts && (!first && now.Sub(r.start) >= r.limits.Duration || r.limits.Requests > 0 && r.begun >= r.limits.Requests) {
		return now, counts, false
	}
	if counts {
		r.begun++
	}
	return now, counts, true
}

func (r *recorder) end(began time.Time, s Sample, err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.result.Verbs[s.Verb]
	if m == nil {
		m = &Measured{Errors: map[string]int64{}}
		r.result.Verbs[s.Verb] = m
	}
	if err != nil {
		if m.Example == nil {
			m.Example = err
		}
		m.Errors[CodeOf(err)]++
		return
	}
	m.Latency.Add(now.Sub(began))
	if s.FirstByte > 0 {
		m.FirstByte.Add(s.FirstByte)
	}
	m.Bytes += s.Bytes
	m.Keys += s.Keys
	m.requests = spread(m.requests, 1, began.Sub(r.start), now.Sub(r.start))
	m.bytes = spread(m.bytes, float64(s.Bytes), began.Sub(r.start), now.Sub(r.start))
}

// spread adds an amount to the seconds between from and to, in proportion.
func spread(seconds []float64, amount float64, from, to time.Duration) []float64 {
	first, last := int(from/time.Second), int(to/time.Second)
	for len(seconds) <= last {
		seconds = append(seconds, 0)
	}
	if first == last {
		seconds[first] += amount
		return seconds
	}
	for second := first; second <= last; second++ {
		begin, end := time.Duration(second)*time.Second, time.Duration(second+1)*time.Second
		seconds[second] += amount * float64(min(end, to)-max(begin, from)) / float64(to-from)
	}
	return seconds
}

// pause is what a client waits after an error, so that a server which refuses everything is not flooded.
const pause = 50 * time.Millisecond

// Run lets clients repeat an operation within the limits. What was under way when ctx ended is not counted. The error is the first one if
// the limits say so, or the cause of ctx's end; the result has in each case what was done until then.
func Run(ctx context.Context, limits Limits, operation func(context.Context, *Worker) (Sample, error)) (*Result, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r := &recorder{limits: limits, start: time.Now().Add(limits.WarmUp), result: Result{Verbs: map[Verb]*Measured{}}}
	var group sync.WaitGroup
	for number := range limits.Clients {
		w := NewWorker(number)
		group.Go(func() {
			for first := true; ctx.Err() == nil; {
				began, counts, ok := r.begin(first)
				if !ok {
					return
				}
				sample, err := operation(ctx, w)
				if errors.Is(err, ErrDone) || ctx.Err() != nil {
					return
				}
				if err != nil && limits.StopOnError {
					fail(err)
					return
				}
				if counts {
					first = false
					r.end(began, sample, err)
				}
				if err != nil {
					rest(ctx, pause)
				}
			}
		})
	}
	group.Wait()
	r.result.Elapsed = max(time.Since(r.start), 0)
	return &r.result, context.Cause(ctx)
}

// rest waits, at most until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Each does an operation once for every number below n, clients at a time. The first error ends it.
func Each(ctx context.Context, n int64, clients int, operation func(ctx context.Context, number int64) error) error {
	if n <= 0 {
		return ctx.Err()
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var taken atomic.Int64
	var group sync.WaitGroup
	for range min(int64(clients), n) {
		group.Go(func() {
			for number := taken.Add(1) - 1; number < n && ctx.Err() == nil; number = taken.Add(1) - 1 {
				if err := operation(ctx, number); err != nil {
					fail(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}
