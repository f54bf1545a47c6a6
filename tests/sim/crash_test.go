// Package sim_test runs the storage of a whole node on simulated disks and cuts the power of all of them at a call that the seed chooses.
//
// Promise: after every power cut each acknowledged version is whole, the interrupted operation is old or new, and when all keys are deleted
// nothing is left: counts of directories, garbage, placement and shards on the drives are all zero. Each seed is a run of its own;
// HOLDFAST_SIM_SEEDS says how many, HOLDFAST_SIM_FIRST from which on.
//
// The package does not know any protocol, process or real disk: it calls the engine of a node over disk/sim.
package sim_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/disk/sim"
	"holdfast/engine/drive"
	"holdfast/engine/node"
)

// machine is a node's disks and the power that they share.
type machine struct {
	seed      uint64
	logger    *slog.Logger
	power     *sim.Power
	disks     map[string]*sim.FS
	calls     atomic.Int64 // calls that change a disk, since power came on
	cut       int64        // the power goes at this call; 0 never
	dead      atomic.Bool
	died      chan struct{}
	check     time.Duration // how often the node looks at its drives
	hangQuiet time.Duration
	segment   int64                                    // bytes of segments; 0: 8 MiB
	drives    []string                                 // nil: four
	keeper    time.Duration                            // how long keepers rest; 0: 20 ms
	buffered  bool                                     // the disks refuse direct files
	operation atomic.Value                             // string: what the client is doing
	strike    func(disk string, c sim.Call) *sim.Fault // asked before every call while the power is on; nil: none
	mu        sync.Mutex
	at        point
}

// point is where the power went.
type point struct {
	operation, site string
	ordinal         int64
}

const ringBytes = drive.RingBytesMin // a start reads all of it

// folders are that of the state, that of the witness, and those of the drives.
func (m *machine) folders() []string {
	drives := m.drives
	if drives == nil {
		drives = fourDrives
	}
	return append([]string{"/state", "/state/witness"}, drives...)
}

var fourDrives = drivesOf(4)

func drivesOf(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("/d%d", i+1))
	}
	return list
}

// simLogger writes what nodes log where HOLDFAST_SIM_LOG is set.
func simLogger() *slog.Logger {
	if os.Getenv("HOLDFAST_SIM_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newMachine(seed uint64) *machine { return newMachineOf(seed, fourDrives) }

func newMachineOf(seed uint64, drives []string) *machine { return newMachineWith(seed, drives, false) }

func newMachineWith(seed uint64, drives []string, buffered bool) *machine {
	m := &machine{seed: seed, drives: drives, buffered: buffered, power: new(sim.Power), disks: map[string]*sim.FS{}, check: time.Hour, logger: simLogger()}
	for i, name := range m.folders() {
		m.disks[name] = m.newDisk(seed*16 + uint64(i))
	}
	m.powerOn(0)
	return m
}

// newDisk returns an empty one.
func (m *machine) newDisk(seed uint64) *sim.FS {
	return sim.New(seed, sim.Options{TotalBytes: 1 << 30, Power: m.power, NoDirect: m.buffered})
}

// powerOn begins a life whose power goes at the cut-th changing call.
func (m *machine) powerOn(cut int64) {
	m.calls.Store(0)
	m.dead.Store(false)
	m.cut, m.died, m.at = cut, make(chan struct{}), point{}
	m.operation.Store("start")
	for name, d := range m.disks {
		d.Inject(func(c sim.Call) *sim.Fault { return m.call(name, c) })
	}
}

// call is asked before every call of every disk.
func (m *machine) call(disk string, c sim.Call) *sim.Fault {
	if m.dead.Load() {
		return &sim.Fault{Err: sim.ErrCrashed}
	}
	if !c.Changes() || m.calls.Add(1) != m.cut {
		if m.strike != nil {
			return m.strike(disk, c)
		}
		return nil
	}
	m.mu.Lock()
	m.at = point{m.operation.Load().(string), c.Site, m.cut}
	m.mu.Unlock()
	m.die()
	return &sim.Fault{Err: sim.ErrCrashed}
}

// die cuts the power of all disks.
func (m *machine) die() {
	m.dead.Store(true)
	close(m.died)
}

// context ends when the power goes.
func (m *machine) context(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	died := m.died
	go func() {
		select {
		case <-died:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// powerOff cuts what is left and leaves what the platters have.
func (m *machine) powerOff() {
	for name, d := range m.disks {
		m.disks[name] = d.Restart()
	}
}

func (m *machine) open(t *testing.T) (*node.Node, error) {
	ctx, cancel := m.context(t)
	defer cancel()
	return node.Open(ctx, m.config())
}

func (m *machine) config() node.Config {
	return node.Config{
		State: "/state", Drives: m.folders()[2:], Memory: 32 << 20,
		Geometry:      drive.Geometry{RingBytes: ringBytes, SegmentBytes: cmp.Or(m.segment, 8<<20), ReserveBytes: 1 << 20},
		CheckInterval: m.check, HangQuiet: m.hangQuiet, KeeperInterval: cmp.Or(m.keeper, 20*time.Millisecond), Logger: m.logger, ApplyEverywhere: m.seed%3 == 0,
		OpenDisk: func(p string) (disk.FS, error) {
			d := m.disks[path.Clean(p)]
			if d == nil {
				return nil, os.ErrNotExist
			}
			return d, nil
		},
	}
}

// model is what the client knows: the states that a key may have; "" is absent.
// Images of the disks are taken with what it is at that instant, so it has a lock.
type model struct {
	mu       *sync.Mutex
	possible map[engine.Key][]string // slices that are never changed
}

func newModel() model { return model{new(sync.Mutex), map[engine.Key][]string{}} }

// get returns the states that a key may have; nil if nobody has said anything of it.
func (m model) get(key engine.Key) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.possible[key]
}

func (m model) set(key engine.Key, possible ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.possible[key] = slices.Clone(possible)
}

// allow adds a state that the key may have from now on.
func (m model) allow(key engine.Key, state string) {
	m.set(key, append(slices.Clone(m.get(key)), state)...)
}

func (m model) clone() model {
	m.mu.Lock()
	defer m.mu.Unlock()
	return model{new(sync.Mutex), maps.Clone(m.possible)}
}

var ref = func(key engine.Key) engine.Ref { return engine.Ref{Bucket: "bucket", Key: key} }

var keys = []engine.Key{"a", "a/", "a/b", "a//b", "deep/er/and/deeper", "z", "../x", "ü"}

func sum(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

// step does one random operation; false if its outcome is not known.
func (m *machine) step(ctx context.Context, n *node.Node, rng *rand.Rand, states model) bool {
	key := keys[rng.IntN(len(keys))]
	size := []int{0, 100, 8192, 8193, 70_000, 1<<20 + 5}[rng.IntN(6)]
	b := bytes.Repeat([]byte{byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(256))}, size/3+1)[:size]
	next, operation := sum(b), "put"
	if len(states.get(key)) == 1 && states.get(key)[0] != "" {
		operation = "overwrite"
	}
	var err error
	switch rng.IntN(10) {
	case 0, 1:
		operation, next = "delete", ""
		m.operation.Store(operation)
		_, err = n.Delete(ctx, ref(key), engine.DeleteOptions{})
	case 2:
		operation = "multipart"
		m.operation.Store(operation)
		err = multipart(ctx, n, key, b)
	case 3:
		m.operation.Store("list")
		_, err = n.List(ctx, "bucket", engine.ListOptions{})
		return err == nil
	default:
		m.operation.Store(operation)
		_, err = n.Put(ctx, ref(key), bytes.NewReader(b), engine.PutOptions{Size: int64(size)})
	}
	if err != nil {
		states.allow(key, next)
		return false
	}
	states.set(key, next)
	return true
}

func multipart(ctx context.Context, n *node.Node, key engine.Key, b []byte) error {
	upload, err := n.StartUpload(ctx, ref(key), engine.StartUploadOptions{})
	if err != nil {
		return err
	}
	part, err := n.PutPart(ctx, ref(key), upload.ID, 7, bytes.NewReader(b), engine.PutPartOptions{Size: int64(len(b))})
	if err != nil {
		return err
	}
	_, err = n.CompleteUpload(ctx, ref(key), upload.ID, engine.CompleteUploadOptions{
		Parts: []engine.CompletePart{{Number: 7, ETag: part.ETag}}, Size: -1,
	})
	return err
}

// read returns the state of a key.
func read(ctx context.Context, n *node.Node, key engine.Key) (string, error) {
	o, err := n.Open(ctx, ref(key), engine.OpenOptions{})
	if engine.Is(err, engine.KindNoSuchKey) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(o)
	return sum(b), errors.Join(err, o.Close())
}

// check reads every key, and the listing, and holds them against the model.
func check(ctx context.Context, n *node.Node, states model) error {
	listed := map[engine.Key]bool{}
	page, err := n.List(ctx, "bucket", engine.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range page.Objects {
		listed[o.Key] = true
	}
	for _, key := range keys {
		got, err := read(ctx, n, key)
		if err != nil {
			return err
		}
		allowed := states.get(key)
		ok := false
		for _, state := range allowed {
			ok = ok || state == got
		}
		if !ok {
			return fmt.Errorf("%q has the state %q; %q are possible", key, got, allowed)
		}
		if listed[key] != (got != "") {
			return fmt.Errorf("%q is listed: %v, but its state is %q", key, listed[key], got)
		}
		states.set(key, got)
	}
	return nil
}

// empty deletes everything and waits until nothing is left of it anywhere.
func empty(ctx context.Context, n *node.Node) error {
	for _, key := range keys {
		if _, err := n.Delete(ctx, ref(key), engine.DeleteOptions{}); err != nil {
			return err
		}
	}
	if err := n.DeleteBucket(ctx, "bucket", engine.DeleteBucketOptions{}); err != nil {
		return err
	}
	for {
		s, err := n.Status(ctx)
		if err != nil {
			return err
		}
		if s.Unknown != "" {
			return errors.New(s.Unknown)
		}
		left := s.Trash + s.Garbage + s.UnderProtected + s.AwayShards
		for _, d := range s.Drives {
			left += d.Shards
		}
		for _, id := range n.All() {
			list, _, err := n.Shards(id, engine.ShardID{}, 1000)
			if err != nil {
				return err
			}
			left += len(list)
		}
		if left == 0 && s.Keeper.SweepsComplete > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("something is left when everything is deleted: %+v", s)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (m *machine) run(t *testing.T) (point, error) {
	rng := rand.New(rand.NewPCG(m.seed, 3))
	n, err := m.open(t)
	if err != nil {
		return point{}, err
	}
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		return point{}, err
	}
	if err := n.Close(); err != nil {
		return point{}, err
	}
	states := newModel()
	for _, key := range keys {
		states.set(key, "")
	}
	m.powerOn(1 + rng.Int64N(1500))
	ctx, cancel := m.context(t)
	defer cancel()
	if n, err = m.open(t); err == nil {
		for range 400 {
			if !m.step(ctx, n, rng, states) {
				break
			}
			if rng.IntN(40) == 0 && m.dead.Load() {
				break
			}
		}
		m.operation.Store("close")
		_ = n.Close() // with dead disks it says so
	} else if !m.dead.Load() {
		return point{}, err
	}
	m.powerOff()
	at := m.at
	m.powerOn(0)
	if n, err = m.open(t); err != nil {
		return at, fmt.Errorf("the node does not start again: %w", err)
	}
	defer n.Close()
	after, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if err := check(after, n, states); err != nil {
		return at, err
	}
	return at, empty(after, n)
}

func TestPowerCuts(t *testing.T) {
	t.Parallel()
	seeds := seedCount(t, 60)
	points, operations, sites := map[point]bool{}, map[string]int{}, map[string]int{}
	var first uint64
	if s := os.Getenv("HOLDFAST_SIM_FIRST"); s != "" {
		var err error
		if first, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for seed := first; seed < first+uint64(seeds); seed++ {
		at, err := newMachine(seed).run(t)
		if err != nil {
			t.Fatalf("seed %d, power cut at call %d (%s) during %s: %v", seed, at.ordinal, at.site, at.operation, err)
		}
		if at.site != "" {
			points[at] = true
			operations[at.operation]++
			sites[at.site]++
		}
	}
	t.Logf("%d seeds, %d distinct points (operation, call site, ordinal)\n%s\n%s", seeds, len(points), table(operations), table(sites))
	for _, operation := range []string{"start", "put", "overwrite", "delete", "multipart"} {
		if operations[operation] == 0 && seeds >= 60 {
			t.Errorf("no power cut during %s", operation)
		}
	}
}

// seedCount returns how many seeds to run.
func seedCount(t *testing.T, otherwise int) int {
	s := os.Getenv("HOLDFAST_SIM_SEEDS")
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func table(counts map[string]int) string {
	var lines []string
	for name, n := range counts {
		lines = append(lines, fmt.Sprintf("%6d %s", n, name))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}
