package node

import (
	"context"
	"sync"
	"time"
)

// agedShare bounds what the readings of an aged value cost: after one that took a second it rests for this many.
const agedShare = 20

// aged is a value that is costly to read, and that who asks takes as it was a while ago. It is read in a goroutine of its own when it is asked for and
// has rested, by one at a time.
type aged[T any] struct {
	read func(context.Context) (T, error)
	rest time.Duration // at least

	mu    sync.Mutex // guards all below
	value *T         // nil: never read
	at    time.Time  // of the value
	took  time.Duration
	tried time.Time     // when the last reading ended, that failed perhaps
	busy  chan struct{} // closed when the reading that is under way ends; nil without one
	owner sync.WaitGroup
	over  bool
	stop  context.CancelFunc
}

// get returns the value, when it was read and how long that took; value is nil if it was never read. It waits, for no longer than patience, for a
// reading that is due or under way.
func (a *aged[T]) get(patience time.Duration) (value *T, at time.Time, took time.Duration) {
	if busy := a.due(); busy != nil {
		limit := time.NewTimer(patience)
		defer limit.Stop()
		select {
		case <-busy:
		case <-limit.C:
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.value, a.at, a.took
}

// due begins a reading if one is due, and returns what is closed when the one under way ends.
func (a *aged[T]) due() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy != nil {
		return a.busy
	}
	if a.over || !a.tried.IsZero() && time.Since(a.tried) < max(a.rest, agedShare*a.took) {
		return nil
	}
	a.busy = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	a.owner.Go(func() {
		defer cancel()
		start := time.Now()
		value, err := a.read(ctx)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.tried = time.Now()
		a.took = a.tried.Sub(start)
		if err == nil {
			a.value, a.at = &value, a.tried
		}
		close(a.busy)
		a.busy = nil
	})
	return a.busy
}

// close ends the reading that is under way and begins no other.
func (a *aged[T]) close() {
	a.mu.Lock()
	a.over = true
	if a.stop != nil {
		a.stop()
	}
	a.mu.Unlock()
	a.owner.Wait()
}
