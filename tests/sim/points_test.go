package sim_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk/sim"
	"holdfast/engine/node"
)

// image is the state that an operation begins with.
type image struct {
	disks  map[string]*sim.FS
	states model
}

func (o *operation) image(t *testing.T) (*image, error) {
	m := newMachineWith(1, drivesOf(cmp.Or(o.drives, 4)), o.buffered)
	m.segment = o.segment
	if o.dies != nil {
		dies := o.dies()
		m.strike = func(disk string, c sim.Call) *sim.Fault {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.dead.Load() || !dies(disk, c) {
				return nil
			}
			m.die()
			return &sim.Fault{Err: sim.ErrCrashed}
		}
		m.powerOn(0)
	}
	if o.spare {
		m.plugSpares()
	}
	states := newModel()
	for _, key := range keys {
		states.set(key, "")
	}
	if o.fresh && o.dies == nil {
		return &image{m.disks, states}, nil
	}
	n, err := m.open(t)
	if o.fresh {
		m.powerOff()
		if err == nil {
			err = errors.Join(errors.New("the first start was not cut"), n.Close())
		} else if m.dead.Load() {
			err = nil
		}
		return &image{m.disks, states}, err
	}
	if err != nil {
		return nil, err
	}
	_, err = n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{})
	if err == nil {
		err = o.prepare(t.Context(), n, states)
	}
	if err == nil {
		err = quiet(t.Context(), n)
	}
	switch {
	case o.dies != nil && !m.dead.Load():
		return nil, errors.Join(errors.New("the power did not go"), err, n.Close())
	case o.dies != nil:
		err = nil
		m.abandon(n)
	case o.unclean:
		m.abandon(n)
	default:
		err = errors.Join(err, n.Close())
	}
	m.powerOff()
	if o.thin && err == nil {
		m.powerOn(0)
		err = o.writeThin(t, m, states)
		m.powerOff()
	}
	if o.disks != nil {
		o.disks(m)
	}
	return &image{m.disks, states}, err
}

// machine returns one with copies of the image's disks.
func (o *operation) machine(from *image, seed uint64) *machine {
	m := &machine{seed: seed, drives: drivesOf(cmp.Or(o.drives, 4)), power: new(sim.Power), disks: map[string]*sim.FS{}, check: time.Hour, logger: simLogger(), segment: o.segment}
	for i, name := range slices.Sorted(maps.Keys(from.disks)) {
		m.disks[name] = from.disks[name].Image(seed*16+uint64(i), m.power)
	}
	if o.watched {
		m.check = time.Millisecond
	}
	m.powerOn(0)
	return m
}

// live opens the node, does the operation and closes the node.
func (o *operation) live(t *testing.T, m *machine, states model, arm func(bool)) error {
	ctx, cancel := m.context(t)
	defer cancel()
	if o.before != nil {
		if err := o.before(ctx, m); err != nil {
			return err
		}
	}
	n, err := m.open(t)
	if err != nil {
		return err
	}
	if !o.fresh && !o.whole {
		if err := quiet(ctx, n); err != nil {
			return errors.Join(err, n.Close())
		}
	}
	arm(!o.closing)
	err = o.do(ctx, n, states)
	arm(o.closing || o.whole)
	return errors.Join(err, n.Close())
}

// verify starts the node again and holds everything against everything.
func (o *operation) verify(t *testing.T, m *machine, states model) error {
	n, err := m.openAgain(t)
	if err != nil {
		return fmt.Errorf("the node does not start again: %w", err)
	}
	defer m.abandon(n)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if o.fresh {
		if _, err := n.CreateBucket(ctx, "bucket", engine.CreateBucketOptions{}); err != nil {
			return err
		}
	}
	if err := check(ctx, n, states); err != nil {
		return err
	}
	if o.holds != nil {
		if err := o.holds(ctx, n, states); err != nil {
			return err
		}
	}
	if err := widened(ctx, n, states); err != nil {
		return err
	}
	if _, err := n.Check(ctx); err != nil {
		return err
	}
	if err := awaitPlaced(ctx, n); err != nil {
		return err
	}
	return write(ctx, n, states, "ü", 9000, 200)
}

// openAgain opens the node as a service manager does: one that found its groups unavailable, because the machine is busy, is started again.
func (m *machine) openAgain(t *testing.T) (n *node.Node, err error) {
	for range 3 {
		if n, err = m.open(t); !engine.Is(err, engine.KindUnavailable) {
			return n, err
		}
		m.powerOff()
		m.powerOn(0)
	}
	return nil, err
}

// abandon closes a node that nobody needs any more, without the flushes that a close with a living disk has.
func (m *machine) abandon(n *node.Node) {
	m.dead.Store(true)
	_ = n.Close() // with dead disks it says so
}

// survives is verify for what a bit that flipped may leave: a drive may be damaged, and is out then. Nothing that was acknowledged goes with it.
func (o *operation) survives(t *testing.T, m *machine, states model) error {
	n, err := m.openAgain(t)
	if err != nil {
		return fmt.Errorf("the node does not start again: %w", err)
	}
	defer m.abandon(n)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if o.fresh {
		if _, err := n.CreateBucket(ctx, "bucket", engine.CreateBucketOptions{}); err != nil {
			return err
		}
	}
	if err := check(ctx, n, states); err != nil {
		return err
	}
	_, err = n.Check(ctx)
	return err
}

// A kind of fault and the calls that it may strike. Those of a file or name cannot come short; a state folder has no second copy to make good a bit that
// flipped there.
type kind struct {
	name    string
	strikes func(disk string, c sim.Call) bool
	fault   func(seed uint64) *sim.Fault
	// harmless says that the operation has to succeed all the same.
	harmless bool
	// damages says that the drive may be out for good.
	damages bool
}

func every(string, sim.Call) bool { return true }

func transfers(_ string, c sim.Call) bool { return c.Op == "read" || c.Op == "write" }

// needsRoom says that a full disk may refuse a call.
func needsRoom(_ string, c sim.Call) bool {
	return slices.Contains([]string{"create", "write", "truncate", "allocate", "rename", "mkdir"}, c.Op)
}

// after returns a channel that is closed then.
func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}

var kinds = []kind{
	{name: "EIO", strikes: every, fault: func(seed uint64) *sim.Fault { return &sim.Fault{Err: syscall.EIO, Short: int(seed%3) * 512} }},
	{name: "ENOSPC", strikes: needsRoom, fault: func(seed uint64) *sim.Fault { return &sim.Fault{Err: syscall.ENOSPC, Short: int(seed%2) * 4096} }},
	{name: "short", strikes: transfers, fault: func(seed uint64) *sim.Fault { return &sim.Fault{Short: int(seed%4) * 1000} }},
	{name: "flip", strikes: func(disk string, c sim.Call) bool { return disk != "/state" && transfers(disk, c) }, damages: true,
		fault: func(seed uint64) *sim.Fault { return &sim.Fault{Flip: int(seed*7919%(1<<20)) + 1} }},
	{name: "slow", strikes: every, harmless: true, fault: func(uint64) *sim.Fault { return &sim.Fault{Wait: after(30 * time.Millisecond)} }},
	{name: "freeze", strikes: every, harmless: true, fault: func(uint64) *sim.Fault { return &sim.Fault{Wait: after(700 * time.Millisecond)} }},
}

const cut = "power cut"

// moment is what a power cut at a point would leave, and what may be there then.
type moment struct {
	at      point
	machine *machine
	states  model
	loss    sim.Loss
}

// calls are those of an operation by place: how often each kind may strike at each site, by kind, and where in the source that is.
type calls map[string]map[string]int64

func (c calls) add(kind, site string) int64 {
	if c[kind] == nil {
		c[kind] = map[string]int64{}
	}
	c[kind][site]++
	return c[kind][site]
}

// record does the operation once on copies of the image, and takes what a power cut would leave at every call that take wants.
func (o *operation) record(t *testing.T, from *image, seed uint64, places *places, take func(point) bool) (all []moment, visits calls, err error) {
	m, states := o.machine(from, seed), from.states.clone()
	visits = calls{}
	armed := o.whole
	m.watch(func(disk string, c sim.Call) *sim.Fault {
		if !armed {
			return nil
		}
		for i := range kinds {
			if kinds[i].strikes(disk, c) {
				visits.add(kinds[i].name, placeOf(c))
			}
		}
		if !c.Changes() {
			return nil
		}
		places.add(cut, c)
		at := point{o.name, c.Site, visits.add(cut, c.Site)}
		if take(at) {
			all = append(all, o.moment(m, at, states, seed))
		}
		return nil
	})
	err = o.live(t, m, states, func(on bool) {
		m.mu.Lock()
		armed = on
		m.mu.Unlock()
	})
	m.powerOff()
	return all, visits, err
}

// moment takes the images of all disks, from within a call of one of them. The states are taken first: what is acknowledged by then is on the disks.
func (o *operation) moment(m *machine, at point, states model, seed uint64) moment {
	seed += uint64(at.ordinal)
	now := moment{at: at, states: states.clone(), loss: sim.Loss((seed + seed/uint64(sim.Losses)) % uint64(sim.Losses)),
		machine: &machine{seed: seed, drives: m.drives, power: new(sim.Power), disks: map[string]*sim.FS{}, check: m.check, logger: m.logger, segment: m.segment}}
	for i, name := range slices.Sorted(maps.Keys(m.disks)) {
		now.machine.disks[name] = m.disks[name].ImageInCall(seed*16+uint64(i), now.loss, now.machine.power)
	}
	return now
}

// watch has every call of the disks seen by f, one at a time.
func (m *machine) watch(f func(disk string, c sim.Call) *sim.Fault) {
	for name, d := range m.disks {
		d.Inject(func(c sim.Call) *sim.Fault {
			if m.dead.Load() {
				return &sim.Fault{Err: sim.ErrCrashed}
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			return f(name, c)
		})
	}
}

// fail does the operation on copies of the image, with a fault of a kind at a point, cuts the power when it has ended and looks what is there.
// Where that leads the same disk to a place that is not among the known ones, the call there fails too.
func (o *operation) fail(t *testing.T, from *image, k *kind, at point, seed uint64, places *places, known map[string]int64) (reached bool, err error) {
	m, states := o.machine(from, seed), from.states.clone()
	armed, visits, struck := o.whole, int64(0), ""
	m.watch(func(disk string, c sim.Call) *sim.Fault {
		if struck == disk && !k.harmless && !k.damages && known != nil && known[placeOf(c)] == 0 {
			struck = ""
			places.add(k.name, c)
			return &sim.Fault{Err: syscall.EIO}
		}
		if !armed || reached || placeOf(c) != at.site || !k.strikes(disk, c) {
			return nil
		}
		if visits++; visits != at.ordinal {
			return nil
		}
		reached, struck = true, disk
		places.add(k.name, c)
		return k.fault(seed)
	})
	err = o.live(t, m, states, func(on bool) {
		m.mu.Lock()
		armed = on
		m.mu.Unlock()
	})
	if err != nil && (!reached || k.harmless) {
		return reached, fmt.Errorf("although nothing failed (struck: %v): %w", reached, err)
	}
	m.powerOff()
	m.powerOn(0)
	if k.damages {
		return reached, o.survives(t, m, states)
	}
	return reached, o.verify(t, m, states)
}

// places counts what struck at places of the source, by kind.
type places struct {
	mu     sync.Mutex
	source map[string]map[string]int // by place, by kind
}

func newPlaces() *places { return &places{source: map[string]map[string]int{}} }

// placeOf is where in the source a call is; of one of Pebble's its site.
func placeOf(c sim.Call) string {
	if c.Where == "" {
		return c.Site
	}
	return c.Where
}

func (p *places) add(kind string, c sim.Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	where := placeOf(c)
	if p.source[where] == nil {
		p.source[where] = map[string]int{}
	}
	p.source[where][kind]++
}

// tally counts what was struck.
type tally struct {
	mu         sync.Mutex
	operations map[string]map[string]int // reached, by operation and kind
	sites      map[string]map[string]int // reached, by site and kind
	losses     map[sim.Loss]int
	cuts       map[point]bool
	places     map[string]bool // where something was planned; of the goroutine that plans
}

// known reports whether a place was planned before.
func (y *tally) known(place string) bool {
	known := y.places[place]
	y.places[place] = true
	return known
}

func newTally() *tally {
	return &tally{places: map[string]bool{}, operations: map[string]map[string]int{}, sites: map[string]map[string]int{}, losses: map[sim.Loss]int{}, cuts: map[point]bool{}}
}

func count(m map[string]map[string]int, row, column string) {
	if m[row] == nil {
		m[row] = map[string]int{}
	}
	m[row][column]++
}

// struck notes a point of a kind.
func (y *tally) struck(at point, kind string, reached bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if reached {
		count(y.operations, at.operation, kind)
		count(y.sites, at.site, kind) // of a cut the function, of another fault the place in it
	}
}

// columns are the kinds in the order of the tables.
func columns() []string {
	list := []string{cut}
	for _, k := range kinds {
		list = append(list, k.name)
	}
	return list
}

// text makes a table of counts.
func text(title string, rows map[string]map[string]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s", title)
	for _, k := range columns() {
		fmt.Fprintf(&b, "%10s", k)
	}
	b.WriteString("\n")
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(&b, "%-34s", name)
		for _, k := range columns() {
			fmt.Fprintf(&b, "%10d", rows[name][k])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// spread returns at most a number of ordinals out of so many, evenly, and others for each seed.
func spread(count, most int64, seed uint64) (list []int64) {
	step := max(1, (count+most-1)/most)
	for ordinal := 1 + int64(seed%uint64(step)); ordinal <= count; ordinal += step {
		list = append(list, ordinal)
	}
	return list
}

// pointsWanted is how many distinct points at which the power is cut a whole run has at least.
const pointsWanted = 10_000

// TestEveryPoint cuts the power at the calls of every operation that change a disk, and has calls of each place fail in each way. An operation is done once
// for all cuts: at each call what a cut would leave is set aside, and looked at later; at every fourth of a site only where HOLDFAST_SIM_POINTS is more than 1.
// That says how many ordinals of a place are struck in the other ways, evenly; without it 1, and "all" is every one. HOLDFAST_SIM_OPERATIONS takes only
// those whose names have it in them.
func TestEveryPoint(t *testing.T) {
	most, mostCuts := int64(1), int64(1)<<40
	if testing.Short() {
		mostCuts = 1
	}
	if s := os.Getenv("HOLDFAST_SIM_POINTS"); s == "all" {
		most = 1 << 40
	} else if s != "" {
		if _, err := fmt.Sscan(s, &most); err != nil {
			t.Fatal(err)
		}
	}
	only := os.Getenv("HOLDFAST_SIM_OPERATIONS")
	y, where := newTally(), newPlaces()
	began := time.Now()
	defer debug.SetGCPercent(debug.SetGCPercent(200)) // nodes come and go by the thousand
	work := newWork(t)
	for i := range operations {
		o := &operations[i]
		if strings.Contains(o.name, only) && !t.Failed() {
			o.strike(t, work, y, where, most, mostCuts)
		}
	}
	work.wait()
	t.Logf("points reached, by operation, in %.1f s:\n%s\nby call site:\n%s", time.Since(began).Seconds(), text("operation", y.operations), text("call site", y.sites))
	t.Logf("%d distinct points (operation, call site, ordinal) at which the power was cut; what they lost: %v", len(y.cuts), y.losses)
	if t.Failed() || only != "" {
		t.Logf("places that were struck: %v", slices.Sorted(maps.Keys(where.source)))
		return
	}
	total := map[string]int{}
	for _, reached := range y.operations {
		for k, n := range reached {
			total[k] += n
		}
		if reached[cut] == 0 || reached["EIO"] == 0 && reached["slow"] == 0 {
			t.Errorf("an operation in which nothing was struck: %v", reached)
		}
	}
	t.Logf("in all: %v", total)
	for _, k := range columns() {
		if total[k] == 0 {
			t.Errorf("%s: no point was reached", k)
		}
	}
	if len(y.cuts) < pointsWanted && !testing.Short() {
		t.Errorf("%d points; %d are wanted", len(y.cuts), pointsWanted)
	}
	if len(y.losses) != int(sim.Losses) {
		t.Errorf("cuts lost %v; there are %d kinds of loss", y.losses, sim.Losses)
	}
	checkPlaces(t, where)
}

// strike plans all points of an operation.
func (o *operation) strike(t *testing.T, work *work, y *tally, where *places, most, mostCuts int64) {
	work.alone.Lock() // what is recorded is not to look slow
	from, err := o.image(t)
	var all []moment
	var visits calls
	if err == nil {
		take := func(at point) bool {
			return at.ordinal == 1 || mostCuts > 1 && (!o.thinned || at.ordinal%4 == 1) && (most > 1 || at.ordinal%4 != 0)
		}
		all, visits, err = o.record(t, from, 1, where, take)
	}
	work.alone.Unlock()
	if err != nil {
		t.Errorf("%s without a fault: %v", o.name, err)
		return
	}
	for i := range all {
		now := all[i]
		all[i] = moment{} // what was looked at may go
		work.do(func() {
			now.machine.powerOn(0)
			if err := o.verify(t, now.machine, now.states); err != nil {
				t.Errorf("power cut in %q at %s, call %d (loss %s): %v", o.name, now.at.site, now.at.ordinal, now.loss, err)
			}
			y.struck(now.at, cut, true)
			y.mu.Lock()
			y.cuts[now.at] = true
			y.losses[now.loss]++
			y.mu.Unlock()
		})
	}
	seed := uint64(1)
	for i := range kinds {
		k := &kinds[i]
		if o.fresh && k.damages {
			continue // nothing is acknowledged yet: the first start says so, and is begun again with empty folders
		}
		for j, site := range slices.Sorted(maps.Keys(visits[k.name])) {
			if most == 1 && (i+j)%5 != 0 && (i > 0 || y.known(site)) {
				continue // each place fails in some operation, and has each fault in some of them
			}
			for _, ordinal := range spread(visits[k.name][site], most, 0) {
				seed++
				at := point{o.name, site, ordinal}
				work.do(func() {
					reached, err := o.fail(t, from, k, at, seed, where, visits["EIO"])
					if err != nil {
						t.Errorf("%s in %q at %s, call %d (seed %d): %v", k.name, o.name, site, ordinal, seed, err)
					}
					y.struck(at, k.name, reached)
				})
			}
		}
	}
}

// work are jobs that some goroutines do. After a failure it does no more of them.
type work struct {
	jobs  chan func()
	wg    sync.WaitGroup
	alone sync.RWMutex // held for reading by every job
}

func newWork(t *testing.T) *work {
	w := &work{jobs: make(chan func(), 16)}
	for range 2 * runtime.GOMAXPROCS(0) { // some wait for timers
		w.wg.Go(func() {
			for job := range w.jobs {
				w.alone.RLock()
				if !t.Failed() {
					job()
				}
				w.alone.RUnlock()
			}
		})
	}
	return w
}

func (w *work) do(job func()) { w.jobs <- job }

func (w *work) wait() {
	close(w.jobs)
	w.wg.Wait()
}
