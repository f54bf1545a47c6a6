package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
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

// results is what is known of one server: for each cell of the plan the measurements of all rounds, and its memory in each.
type results struct {
	name, version string
	cells         [][]measurement
	memory        []memory
}

func newResults(name, version string, p plan) *results {
	return &results{name: name, version: version, cells: make([][]measurement, len(p.cells))}
}

// memory is what a server had resident in one round, in bytes.
type memory struct {
	fresh int64 // after its start, when it was quiet
	mixed int64 // the most under the mixed load; 0 if that was not measured
	after int64 // when all loads were over and it was quiet
	peak  int64 // the most of all
}

// measureServer puts one server, on fresh folders, under every load, and adds to its results.
func measureServer(ctx context.Context, c config, p plan, stored contents, who contender, parent string, into *results) (err error) {
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
	m, err := measureCells(ctx, c, p, stored, s, into)
	if err != nil {
		return s.withLog(err)
	}
	into.memory = append(into.memory, m)
	return s.stop()
}

func measureCells(ctx context.Context, c config, p plan, stored contents, s *server, into *results) (m memory, err error) {
	if s.redundancy != nil {
		used, err := s.redundancy(ctx, s)
		if err != nil {
			return m, fmt.Errorf("its redundancy: %w", err)
		}
		if used != redundancy {
			return m, fmt.Errorf("its redundancy is %s, not %s", used, redundancy)
		}
	}
	if err := s.settle(ctx, p.settle); err != nil {
		return m, err
	}
	if m.fresh, err = s.resident(current); err != nil {
		return m, err
	}
	under, err := newSubject(ctx, s, p, stored)
	if err != nil {
		return m, err
	}
	for i, cell := range p.cells {
		if s.loads != nil && !s.loads(cell) {
			continue
		}
		came, err := under.measure(ctx, cell, c.duration, &m)
		if err != nil {
			return m, fmt.Errorf("%s: %w", cell.name(), err)
		}
		into.cells[i] = append(into.cells[i], came)
		progress("  %-12s %10s operations/s", cell.name(), digits(came.rate))
	}
	err = s.lastMemory(ctx, p, &m)
	return m, err
}

// lastMemory looks at the memory of a server that has done all that it had to do.
func (s *server) lastMemory(ctx context.Context, p plan, m *memory) error {
	peak, err := s.resident(highest)
	if err != nil {
		return err
	}
	m.peak = max(m.peak, peak)
	s.client.Close()
	if err := s.settle(ctx, p.settle); err != nil {
		return err
	}
	m.after, err = s.resident(current)
	return err
}

// forgetPeak begins a new count of the most memory that the server has, and keeps the old one.
func (s *server) forgetPeak(m *memory) error {
	peak, err := s.resident(highest)
	if err != nil {
		return err
	}
	m.peak = max(m.peak, peak)
	const forget = "5" // proc(5): sets VmHWM to what is resident now
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.process.Pid), []byte(forget), 0)
}

// measure warms a cell up and measures it; it notes the server's memory where that is asked for.
func (s *subject) measure(ctx context.Context, c cell, duration time.Duration, used *memory) (m measurement, err error) {
	if err := s.prepare(ctx, c); err != nil {
		return m, err
	}
	if c.verb == mixed {
		if err := s.settle(ctx, s.plan.settle); err != nil {
			return m, err
		}
		if err := s.forgetPeak(used); err != nil {
			return m, err
		}
		defer func() {
			if err == nil {
				used.mixed, err = s.resident(highest)
			}
		}()
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
	warmUp := int64(0)
	if c.deletes() { // most of what there is to delete is left for the measurement
		warmUp = int64(c.objects / max(c.each(s.plan), 1) / 8)
	}
	if _, _, err := load(ctx, c.clients, duration/8, warmUp, do); err != nil {
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
	elapsed, latency, err := load(ctx, c.clients, duration, 0, do)
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
