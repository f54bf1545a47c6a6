package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"holdfast/cli/bench"
)

// measurement is what one cell came to on one server in one round.
type measurement struct {
	operations  int
	rate        float64       // operations/s
	median, p99 time.Duration // of a request, from before it is signed until its answer is read
	server      time.Duration // processor time of the server for an operation, with what it does afterwards until it is quiet
	client      time.Duration // processor time of the load generator for an operation
	space       float64       // bytes written to the drives for each byte stored; 0 where that was not looked at
}

// results is what is known of one server: for each cell of the plan the measurements of all rounds, and its peak memory in each.
type results struct {
	name, version string
	cells         [][]measurement
	peaks         []float64 // bytes
}

// measureServer puts one server, on fresh folders, under every load, and adds to its results.
func measureServer(ctx context.Context, c config, p plan, contents bench.Payloads, who contender, parent string, into *results) (err error) {
	dir := filepath.Join(parent, who.name)
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		}
		if err == nil && p.settle > 0 {
			err = syncFolder(parent) // the next one does not pay for the removal
		}
	}()
	s, err := who.start(ctx, dir)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := measureCells(ctx, c, p, contents, s, into); err != nil {
		return s.withLog(err)
	}
	peak, err := s.peak()
	if err != nil {
		return s.withLog(err)
	}
	into.peaks = append(into.peaks, float64(peak))
	return s.stop()
}

func measureCells(ctx context.Context, c config, p plan, contents bench.Payloads, s *server, into *results) error {
	used, err := s.redundancy(ctx, s)
	if err != nil {
		return fmt.Errorf("its redundancy: %w", err)
	}
	if used != redundancy {
		return fmt.Errorf("its redundancy is %s, not %s", used, redundancy)
	}
	under, err := newSubject(ctx, s, p, contents)
	if err != nil {
		return err
	}
	for i, cell := range p.cells {
		m, err := under.measure(ctx, cell, c.duration)
		if err != nil {
			return fmt.Errorf("%s: %w", cell.name(), err)
		}
		into.cells[i] = append(into.cells[i], m)
		progress("  %-9s %10s operations/s", cell.name(), digits(m.rate))
	}
	return nil
}

// measure warms a cell up and measures it.
func (s *subject) measure(ctx context.Context, c cell, duration time.Duration) (m measurement, err error) {
	if err := s.prepare(ctx, c); err != nil {
		return m, err
	}
	do := s.operation(c)
	s.client.Close() // a connection that the server is about to close would fail a request
	// Below a MiB most of what a server writes is not the object.
	weighs := c.verb == put && c.size >= 1<<20 && c.size == s.plan.largest()
	var storedBefore, writtenBefore int64
	if weighs {
		storedBefore = s.stored[c.size].Load()
		if writtenBefore, err = s.written(); err != nil {
			return m, err
		}
	}
	if _, _, err := load(ctx, c.clients, duration/8, do); err != nil {
		return m, err
	}
	if err := s.settle(ctx, s.plan.settle); err != nil {
		return m, err
	}

	serverBefore, err := s.cpu()
	if err != nil {
		return m, err
	}
	clientBefore := ownCPU()
	elapsed, latency, err := load(ctx, c.clients, duration, do)
	if err != nil {
		return m, err
	}
	clientAfter := ownCPU()
	if err := s.settle(ctx, s.plan.settle); err != nil {
		return m, err
	}
	serverAfter, err := s.cpu()
	if err != nil {
		return m, err
	}

	n := latency.Count()
	m = measurement{
		operations: n, rate: float64(n) / elapsed.Seconds(), median: latency.Quantile(0.5), p99: latency.Quantile(0.99),
		server: (serverAfter - serverBefore) / time.Duration(n), client: (clientAfter - clientBefore) / time.Duration(n),
	}
	if weighs {
		writtenAfter, err := s.written()
		if err != nil {
			return m, err
		}
		m.space = float64(writtenAfter-writtenBefore) / float64((s.stored[c.size].Load()-storedBefore)*c.size)
	}
	return m, nil
}

// ownCPU returns the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no way to fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
