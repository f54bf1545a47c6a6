// Command bench measures Holdfast and the servers of others with one load generator, on the same folders, in alternation.
//
//	go run ./tests/bench -peers DIR -rounds 3 -out docs/benchmarks.md
//
// In each round each server gets fresh folders (four, for 2+2), is started alone, put under every load, and stopped. The order rotates
// from round to round, so that what changes on the machine meanwhile meets all of them. Every figure is the median of the rounds.
//
// Promise: every answer is verified, what was read byte by byte. A request that fails, a server that does not start, does not use 2+2 or
// does not end well ends the run with the reason, and nothing is written.
//
// Servers are seen as clients and the kernel see them. What the machine could do at best is taken in the same run, also from an echo of the
// same requests and from Holdfast's engine without HTTP, each in a process of its own, see child.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// config says what is measured.
type config struct {
	binary   string        // of Holdfast
	peers    string        // folder with the binaries of others; "" for none
	folder   string        // where the drives are made; "" for a temporary folder below the current one
	duration time.Duration // of each cell, without its warm-up
	rounds   int
	out      string // file with a marked place for the tables; "" for standard output
	cells    string // names of the cells to measure, with commas; "" for all
	keys     int64  // measure servers with so many keys in a bucket; 0: measure the cells
	short    bool   // small objects and few of them, to see that everything works
}

func main() {
	exitIfTask()
	c := config{}
	flag.StringVar(&c.binary, "binary", "bin/holdfast", "Holdfast's `file`")
	flag.StringVar(&c.peers, "peers", "", "`folder` with the binaries of other servers: "+strings.Join(peerNames(), ", "))
	flag.StringVar(&c.folder, "folder", "", "`folder` in which the drives are made; default a temporary one below the current folder")
	flag.DurationVar(&c.duration, "duration", 8*time.Second, "time of each cell; with -short 200ms unless given")
	flag.IntVar(&c.rounds, "rounds", 3, "how often each server is measured; with -short once unless given")
	flag.StringVar(&c.out, "out", "", "`file` whose part between "+begin+" and "+end+" becomes the tables; default standard output")
	flag.StringVar(&c.cells, "cells", "", "`names` of the cells to measure, with commas: "+strings.Join(cellNames(fullPlan()), ", "))
	flag.BoolVar(&c.short, "short", false, "small objects and few of them, to see that everything works: no figures to keep")
	flag.Int64Var(&c.keys, "keys", 0, "instead of the cells, measure servers that have a `number` of keys in one bucket")
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if c.short && !given["duration"] {
		c.duration = 200 * time.Millisecond
	}
	if c.short && !given["rounds"] {
		c.rounds = 1
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measureAll(ctx, c, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		stop()
		os.Exit(1)
	}
}

// measureAll measures, and writes the tables only when all went well.
func measureAll(ctx context.Context, c config, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q is not a flag; see -help", rest[0])
	}
	if c.keys != 0 {
		if given := c.cells != "" || c.short; given {
			return errors.New("-keys measures no cells, and nothing of it is short")
		}
		return keepKeys(ctx, c)
	}
	if c.out != "" { // after all rounds would be late to find out
		if err := replaceSection(c.out, begin, end, nil); err != nil {
			return err
		}
	}
	r, err := run(ctx, c)
	if err != nil {
		return err
	}
	if c.out == "" {
		_, err = os.Stdout.Write(r.markdown())
		return err
	}
	return errors.Join(writeDrawings(c.out, r.drawings()), replaceSection(c.out, begin, end, r.markdown()))
}

// run measures every server in every round.
func run(ctx context.Context, c config) (*report, error) {
	p := fullPlan()
	if c.short {
		p = shortPlan()
	}
	if err := p.choose(c.cells); err != nil {
		return nil, err
	}
	if c.rounds < 1 || c.duration <= 0 {
		return nil, fmt.Errorf("%d rounds of %s measure nothing", c.rounds, c.duration)
	}
	servers, absent, err := contenders(c)
	if err != nil {
		return nil, err
	}
	r := &report{config: c, plan: p, echo: newResults("echo", "", p), absent: absent, started: time.Now(), commit: commit()}
	for i := range servers {
		version, err := servers[i].version(ctx)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, newResults(servers[i].name, version, p))
	}
	parent, remove, err := workFolder(c.folder)
	if err != nil {
		return nil, err
	}
	defer remove()
	if r.machine, err = describe(parent); err != nil {
		return nil, err
	}
	progress("the machine's hashes")
	if r.hashes, err = measureHashes(p.probe); err != nil {
		return nil, err
	}
	stored := newContents(p)
	for round := range c.rounds {
		progress("round %d of %d: the machine", round+1, c.rounds)
		if err := r.measureLimits(ctx, stored, parent); err != nil {
			return nil, err
		}
		for i := range servers {
			turn := (round + i) % len(servers)
			progress("round %d of %d: %s", round+1, c.rounds, servers[turn].name)
			if err := measureServer(ctx, c, p, stored, servers[turn], parent, r.servers[turn]); err != nil {
				return nil, fmt.Errorf("%s: %w", servers[turn].name, err)
			}
		}
	}
	return r, nil
}

// contenders returns Holdfast and the peers whose binaries are there, and the names of those whose are not.
func contenders(c config) (found []contender, absent []string, err error) {
	ours, err := filepath.Abs(c.binary)
	if err == nil {
		err = executable(ours)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the binary to measure: %w", err)
	}
	found = append(found, contender{holdfast, ours})
	if c.peers == "" {
		return found, nil, nil
	}
	dir, err := filepath.Abs(c.peers)
	if err != nil {
		return nil, nil, err
	}
	if s, err := os.Stat(dir); err != nil {
		return nil, nil, fmt.Errorf("the peers' folder: %w", err)
	} else if !s.IsDir() {
		return nil, nil, fmt.Errorf("the peers' folder: %s is a file", dir)
	}
	for _, k := range peers {
		binary := filepath.Join(dir, k.name)
		if executable(binary) != nil {
			absent = append(absent, k.name)
			continue
		}
		found = append(found, contender{k, binary})
	}
	return found, absent, nil
}

func executable(path string) error {
	s, err := os.Stat(path)
	if err == nil && (s.IsDir() || s.Mode()&0o111 == 0) {
		err = fmt.Errorf("%s is not a program", path)
	}
	return err
}

// workFolder makes the folder in which servers get theirs. remove takes away what was made, and only that.
func workFolder(wanted string) (dir string, remove func(), err error) {
	if wanted != "" {
		if err := os.MkdirAll(wanted, 0o700); err != nil {
			return "", nil, err
		}
	} else {
		wanted = "."
	}
	if wanted, err = filepath.Abs(wanted); err != nil {
		return "", nil, err
	}
	dir, err = os.MkdirTemp(wanted, ".bench-")
	return dir, func() {
		if err := os.RemoveAll(dir); err != nil {
			progress("%v", err)
		}
	}, err
}

// commit names the commit of the tree that the run starts in, "" where there is none.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// progress tells whoever waits.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
