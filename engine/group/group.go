// Package group keeps the state of some buckets the same on several drives: a Raft group (go.etcd.io/raft/v3) whose replicas live on drives
// of this process and of others. Commands go in, each is replicated, made durable on a majority, and applied to a deterministic state
// machine over ordered rows; reads go to the leaseholder alone.
//
// Promise: a command that was answered is applied exactly where its index says, on every replica, and survives any crash and the loss of
// any minority of drives; a read sees every command that was answered before it began. What a replica's log has is freed only once its
// rows are durable without it. A replica is replaced by the rows of another as a whole or not at all.
//
// It does not know what commands mean (engine/meta), how a drive keeps records and rows (engine/drive), or how messages travel between
// nodes (Transport). It never changes its members by itself.
//
// The parts: core.go, replica.go, govern.go and member.go are the group as a pure function of events; lease.go says when a read is allowed;
// record.go has the bytes and recover.go reads them; this file and worker.go run it all.
package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// pendingBytesMax bounds the commands that wait for an answer.
const pendingBytesMax = 32 << 20

// Clock is where time comes from. Boot never jumps and goes on while the machine or the process sleeps.
type Clock interface {
	Boot() time.Duration
	Wall() time.Time
}

// SystemClock is the clock of the machine: CLOCK_BOOTTIME and the time of day.
type SystemClock struct{}

// Boot implements Clock.
func (SystemClock) Boot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every Linux since 2.6.39 has it
	}
	return time.Duration(t.Nano())
}

// Wall implements Clock.
func (SystemClock) Wall() time.Time { return time.Now() }

// Transport carries messages to replicas in other processes.
type Transport interface {
	// Send hands messages over. It does not block and may lose them.
	Send(messages []Message)
	// SendSnapshot brings rows to a replica that is too far behind; the other end calls ReceiveSnapshot with the same message. It closes
	// rows and returns when the other end has them or will not.
	SendSnapshot(ctx context.Context, m Message, rows meta.Iterator) error
}

// Config describes a group to Start.
type Config struct {
	Group   engine.GroupID
	Hosts   []Host // the drives of this process on which the group's replicas live, absent ones too
	Machine Machine
	// Transport reaches other processes; nil says that all replicas live in this one.
	Transport Transport
	// Clock defaults to SystemClock.
	Clock Clock
	// ElectionTimeout is how long a leader of another process may be silent before it is replaced; default 1.5 s. Beats go out five times
	// as often, a lease lasts three quarters of it.
	ElectionTimeout time.Duration
	// Seed chooses the random part of election timeouts; 0 draws one from the clock.
	Seed uint64
	// ApplyEverywhere makes every replica compute its changes and compare them, instead of taking over those of the first. For tests.
	ApplyEverywhere bool
}

// Group is a group with its replicas in this process. All methods may be called at once.
type Group struct {
	id        engine.GroupID
	machine   Machine
	transport Transport
	clock     Clock

	lease   atomic.Pointer[lease]
	applied atomic.Uint64
	budget  budget

	mail struct {
		sync.Mutex
		events []event
		closed bool
	}
	// waiting is closed when more is applied than was when somebody asked for it; nil while nobody waits.
	waiting struct {
		sync.Mutex
		more chan struct{}
	}
	mailed  chan struct{} // has one element when there is mail
	stopped chan struct{} // closed when the loop has ended

	ctx    context.Context // of everything in the background
	cancel context.CancelFunc
	tasks  sync.WaitGroup // goroutines other than the loop

	hosts struct {
		sync.Mutex
		byDrive map[engine.DriveID]*hostState
	}

	// The loop alone uses these.
	core    *core
	workers map[uint64]*worker
}

// hostState is a drive and the lock of those who create or remove a replica there.
type hostState struct {
	sync.Mutex
	Host
	// removing is closed when the replica that was removed last is off the drive; nil if none was. Guarded by Group.hosts.
	removing chan struct{}
}

// Recovery is what the hosts have of a group that does not run yet.
type Recovery struct {
	config Config
	found  []*recovered // by host; nil where there is none
	failed []error      // by host
}

// Recover reads what the hosts have of a group, and writes nothing. engine.ErrNewer if a later version wrote any of it. Start follows, or the
// hosts are closed.
func Recover(config Config) (*Recovery, error) {
	r := &Recovery{config: config, found: make([]*recovered, len(config.Hosts)), failed: make([]error, len(config.Hosts))}
	for i := range config.Hosts {
		h := &config.Hosts[i]
		if !h.isThere() {
			continue
		}
		p, err := readReplica(config.Group, h)
		if err == nil && p.replica != 0 {
			err = config.Machine.Check(p.store, metaEntries(p.entries))
		}
		if errors.Is(err, engine.ErrNewer) {
			return nil, fmt.Errorf("group %d on drive %d: %w", config.Group, h.Drive, err)
		}
		r.found[i], r.failed[i] = p, err
	}
	return r, nil
}

// Start is Recover and Start in one.
func Start(ctx context.Context, config Config) (*Group, error) {
	r, err := Recover(config)
	if err != nil {
		return nil, err
	}
	return r.Start(ctx)
}

// Start runs the replicas that live on the hosts. A host whose replica cannot be recovered counts as failed and is named by Status; Start
// fails only if no replica comes up.
func (r *Recovery) Start(ctx context.Context) (*Group, error) {
	config := r.config
	g := &Group{
		id: config.Group, machine: config.Machine, transport: config.Transport, clock: config.Clock,
		mailed: make(chan struct{}, 1), stopped: make(chan struct{}), workers: map[uint64]*worker{}, budget: newBudget(pendingBytesMax),
	}
	if g.clock == nil {
		g.clock = SystemClock{}
	}
	o := options{
		ElectionTimeout: config.ElectionTimeout, Seed: config.Seed, ApplyEverywhere: config.ApplyEverywhere,
		alone: config.Transport == nil, local: map[engine.DriveID]bool{},
	}
	if o.ElectionTimeout == 0 {
		o.ElectionTimeout = 1500 * time.Millisecond
	}
	if o.Seed == 0 {
		o.Seed = uint64(g.clock.Wall().UnixNano())
	}
	found, absent, err := r.finish(ctx, g, o.local)
	if err != nil {
		return nil, err
	}
	if g.core, err = newCore(g.id, o, found, g.now()); err != nil {
		return nil, err
	}
	g.core.absent = absent
	g.ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, r := range found {
		g.startWorker(r)
	}
	go g.run()
	return g, nil
}

// finish gives the hosts to g, finishes what a crash left half-done there, and says why some have nothing.
func (r *Recovery) finish(ctx context.Context, g *Group, local map[engine.DriveID]bool) (
	found []*recovered, absent map[engine.DriveID]error, err error,
) {
	g.hosts.byDrive = map[engine.DriveID]*hostState{}
	absent = map[engine.DriveID]error{}
	var failures []error
	for i := range r.config.Hosts {
		h := &hostState{Host: r.config.Hosts[i]}
		g.hosts.byDrive[h.Drive] = h
		local[h.Drive] = true
		if !h.isThere() {
			continue
		}
		p, err := r.found[i], r.failed[i]
		if err == nil {
			p, err = p.finish(ctx, g.id, &h.Host)
		}
		switch {
		case err != nil:
			failures = append(failures, err)
			absent[h.Drive] = err
		case p != nil:
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		why := cmp.Or(errors.Join(failures...), errors.New("none of those at hand has one"))
		err = engine.E(engine.KindUnavailable, "group %d has no replica on any of %d drives: %w", g.id, len(r.config.Hosts), why)
	}
	return found, absent, err
}

func (g *Group) now() instant { return instant{boot: g.clock.Boot(), wall: g.clock.Wall().UnixNano()} }

// post hands an event to the loop; false after Close.
func (g *Group) post(e event) bool {
	g.mail.Lock()
	if g.mail.closed {
		g.mail.Unlock()
		return false
	}
	g.mail.events = append(g.mail.events, e)
	g.mail.Unlock()
	select {
	case g.mailed <- struct{}{}:
	default:
	}
	return true
}

// run is the loop: it alone touches the core.
func (g *Group) run() {
	defer g.wakeWaiting()
	defer close(g.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-g.mailed:
		case <-timer.C:
		case <-g.ctx.Done():
			return
		}
		g.mail.Lock()
		events := g.mail.events
		g.mail.events = nil
		g.mail.Unlock()
		wake := g.perform(g.core.step(g.now(), events...))
		if wake > 0 {
			timer.Reset(wake)
		} else {
			timer.Stop()
		}
	}
}

// perform does what a step asks for. The lease comes first: no vote may leave while readers still see the old one.
func (g *Group) perform(out effects) (wake time.Duration) {
	g.lease.Store(out.lease)
	if p := g.core.newest(); p != nil && g.applied.Swap(p.applied.index) != p.applied.index {
		g.wakeWaiting()
	}
	for _, e := range out.appends {
		g.workers[e.replica].append(e.job)
	}
	for _, j := range out.applies {
		g.workers[j.replica].apply(j)
	}
	if len(out.sends) > 0 && g.transport != nil {
		g.transport.Send(out.sends)
	}
	for _, p := range out.answers {
		close(p.done)
	}
	for _, r := range out.granted {
		close(r.done)
	}
	for _, s := range out.copies {
		g.copy(s)
	}
	for _, e := range out.releases {
		g.workers[e.replica].host.Log.Release(g.id, e.sequence)
	}
	for _, e := range out.touches {
		g.workers[e.replica].touch(e)
	}
	for _, ch := range out.changes {
		close(ch.done)
	}
	for _, t := range out.moved {
		if t.done != nil {
			close(t.done)
		}
	}
	for _, e := range out.resets {
		g.reset(e)
	}
	return out.wake
}

// Propose has a command decided and applied, and returns the machine's answer and the index of the entry. The command's first 24 bytes are its
// epoch, its number and, filled in by the group, the time. It is proposed again, as the same bytes, when leaders change; the machine
// answers repetitions as the first time. KindUnavailable if too few replicas are there, after at most 2 s, or when the outcome is not
// known for another reason; KindCanceled if ctx was canceled first; if that was before the call, the command never takes effect. The command stays the
// caller's.
func (g *Group) Propose(ctx context.Context, command []byte) (answer []byte, index uint64, err error) {
	key, ok := keyOf(command)
	if !ok || len(command) > meta.CommandBytesMax {
		return nil, 0, engine.E(engine.KindInvalidArgument, "a command of %d bytes: it has %d to %d", len(command), meta.HeaderBytes, meta.CommandBytesMax)
	}
	if err := g.budget.take(ctx, g.stopped, len(command)); err != nil {
		return nil, 0, g.interrupted(err)
	}
	defer g.budget.give(len(command))
	if err := ctx.Err(); err != nil { // who gave up before the command was on its way may count on it that it never will be
		return nil, 0, g.interrupted(err)
	}
	p := &proposal{key: key, data: append([]byte(nil), command...), done: make(chan struct{})}
	defer stepDecide.Enter().Leave()
	if !g.post(proposeEvent{p}) {
		return nil, 0, g.interrupted(errStopped)
	}
	select {
	case <-p.done:
		return p.answer, p.index, p.err
	case <-ctx.Done():
		g.post(forgetEvent{p})
		return nil, 0, g.interrupted(ctx.Err())
	case <-g.stopped:
		return nil, 0, g.interrupted(errStopped)
	}
}

// interrupted is the error of a call that ended before its outcome was known.
func (g *Group) interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return engine.E(engine.KindCanceled, "group %d: %w", g.id, err)
	}
	return engine.E(engine.KindUnavailable, "group %d: the outcome is not known: %w", g.id, err)
}

// View is a state of the group's rows that no later command changes. Close it.
type View struct {
	meta.Snapshot
	group *Group
	lease *lease
}

// Index returns the entry that the view's rows go up to.
func (v *View) Index() (uint64, error) {
	var a applied
	err := loadRow(v.Snapshot, appliedKey, func(b []byte) (err error) { a, err = decodeApplied(b); return err })
	return a.index, err
}

// Confirm returns nil if no command can have been answered by another leader up to this instant. A view is linearizable at the
// instant of Read without it.
func (v *View) Confirm() error {
	if stillHeld(v.group.clock, v.group.lease.Load, v.lease) {
		return nil
	}
	return engine.E(engine.KindUnavailable, "group %d: the lease was lost during the read; read again", v.group.id)
}

// Read returns the rows as of an instant after the call began. It costs a snapshot while the lease lasts; else a round of beats comes
// first. KindUnavailable if no quorum answers within 2 s or no replica of this process leads.
func (g *Group) Read(ctx context.Context) (*View, error) {
	for {
		if rows, l := readUnderLease(g.clock, g.lease.Load); rows != nil {
			if !g.unseat(l) {
				return &View{Snapshot: rows, group: g, lease: l}, nil
			}
			_ = rows.Close() // of a failed drive
		}
		if err := g.awaitLease(ctx); err != nil {
			return nil, err
		}
	}
}

// Get is Read of one row, without a snapshot.
func (g *Group) Get(ctx context.Context, key []byte) (value []byte, ok bool, err error) {
	for {
		if before := g.lease.Load(); before.held(g.clock.Boot()) {
			value, ok, err = before.store.Get(key)
			if stillHeld(g.clock, g.lease.Load, before) && (err == nil || !g.unseat(before)) {
				return value, ok, err
			}
		}
		if err := g.awaitLease(ctx); err != nil {
			return nil, false, err
		}
	}
}

// unseat reports whether the drive of a leaseholder has failed, and then ends the replica there: a read that comes upon the failure before
// DriveFailed is called waits for the next leader.
func (g *Group) unseat(l *lease) bool {
	h := g.hostOf(l.replica)
	if h == nil {
		return false
	}
	why := h.Stores.Failed()
	if why != nil {
		g.post(failEvent{l.replica, why})
	}
	return why != nil
}

// Rows returns a reader of single rows by Get: each is as of an instant after it was asked for, and later than the one before.
func (g *Group) Rows(ctx context.Context) meta.Reader { return rows{ctx, g} }

type rows struct {
	ctx   context.Context // of the call that the rows are read for
	group *Group
}

// Get implements meta.Reader.
func (r rows) Get(key []byte) (value []byte, ok bool, err error) { return r.group.Get(r.ctx, key) }

// awaitMax is how long Await waits for a sign of progress: on a busy machine a drive may take long over its first record.
const awaitMax = time.Minute

// Await returns when a replica of this process leads and has applied all that earlier processes had decided, or with KindUnavailable
// when too few replicas are there or that comes no nearer.
func (g *Group) Await(ctx context.Context) error {
	before, since := g.Applied(), g.clock.Boot()
	for {
		view, err := g.Read(ctx)
		if err == nil {
			return view.Close()
		}
		status, statusErr := g.Status(ctx)
		if ctx.Err() != nil || statusErr != nil || status.Missing != "" {
			return err
		}
		if applied := g.Applied(); applied != before {
			before, since = applied, g.clock.Boot()
		}
		if g.clock.Boot()-since > awaitMax {
			return err
		}
	}
}

// ID returns the group's number.
func (g *Group) ID() engine.GroupID { return g.id }

// awaitLease has a round of beats made and returns when a quorum has answered.
func (g *Group) awaitLease(ctx context.Context) error {
	r := &readRequest{done: make(chan struct{})}
	if !g.post(readEvent{r}) {
		return g.interrupted(errStopped)
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		g.post(forgetReadEvent{r})
		return g.interrupted(ctx.Err())
	case <-g.stopped:
		return g.interrupted(errStopped)
	}
}

// Applied returns the index that the rows of the leader, or else of the newest replica here, go up to.
func (g *Group) Applied() uint64 { return g.applied.Load() }

// More returns a channel that is closed when the group has applied more than now, or ends. Who looks at the rows after it has the channel misses nothing.
func (g *Group) More() <-chan struct{} {
	g.waiting.Lock()
	defer g.waiting.Unlock()
	if g.waiting.more == nil {
		g.waiting.more = make(chan struct{})
	}
	return g.waiting.more
}

func (g *Group) wakeWaiting() {
	g.waiting.Lock()
	defer g.waiting.Unlock()
	if g.waiting.more != nil {
		close(g.waiting.more)
		g.waiting.more = nil
	}
}

// AddReplica makes an empty replica on the host, fills it, and then makes it a voter. It returns when that is decided. The number must never have
// been used in the group. After an error the replica may have become a member all the same: Status tells, and RemoveReplica or a
// repetition under another number settle it. KindConflict while another change is under way.
func (g *Group) AddReplica(ctx context.Context, m Member, host Host) error {
	reserved := make(chan struct{})
	ch := &change{member: Member{Replica: m.Replica, Drive: host.Drive}, reserved: reserved, done: make(chan struct{})}
	if !g.post(changeEvent{ch}) {
		return g.interrupted(errStopped)
	}
	select {
	case <-reserved:
	case <-ch.done:
		return ch.err
	case <-g.stopped:
		return g.interrupted(errStopped)
	}
	made := make(chan error, 1)
	g.tasks.Add(1)
	go func() { // its drive may hang, and then the change must not
		defer g.tasks.Done()
		empty, err := g.createEmpty(ctx, ch.member, g.host(host))
		if err == nil {
			g.post(arrivalEvent{joinEvent{ch, empty}, g})
		}
		made <- err
	}()
	var err error
	select {
	case err = <-made:
		if err == nil {
			return g.awaitChange(ctx, ch)
		}
	case <-ctx.Done():
		err = g.interrupted(ctx.Err())
	case <-g.stopped:
		err = g.interrupted(errStopped)
	}
	g.post(cancelChangeEvent{ch})
	return err
}

// createEmpty makes an empty replica once the one before it is off the drive: both write the name of the drive's replica, and the later one counts.
func (g *Group) createEmpty(ctx context.Context, m Member, h *hostState) (*recovered, error) {
	g.hosts.Lock()
	removing := h.removing
	g.hosts.Unlock()
	if removing != nil {
		select {
		case <-removing:
		case <-ctx.Done():
			return nil, g.interrupted(ctx.Err())
		case <-g.stopped:
			return nil, g.interrupted(errStopped)
		}
	}
	h.Lock()
	defer h.Unlock()
	if ctx.Err() != nil { // another call may have made one meanwhile
		return nil, g.interrupted(ctx.Err())
	}
	if !g.hasWorker(m.Drive) {
		if err := clearUnrecovered(g.id, &h.Host); err != nil {
			return nil, err
		}
	}
	return createEmpty(ctx, g.id, m, &h.Host)
}

// hasWorker reports whether a replica on one of this process's drives is, or was until it failed, at work.
func (g *Group) hasWorker(drive engine.DriveID) bool {
	g.hosts.Lock()
	defer g.hosts.Unlock()
	for _, w := range g.workers {
		if w.host.Drive == drive {
			return true
		}
	}
	return false
}

// arrivalEvent is a joinEvent after which the new replica has a worker.
type arrivalEvent struct {
	joinEvent
	group *Group
}

func (e arrivalEvent) happen(c *core) {
	e.joinEvent.happen(c)
	if c.replicas[e.add.replica] != nil {
		e.group.startWorker(e.add)
	}
}

// RemoveReplica takes a replica out of the group, be it there or not, and its rows off its drive if that is here. It returns when that is
// decided. A leader hands over its office first. KindConflict while another change is under way.
func (g *Group) RemoveReplica(ctx context.Context, replica uint64) error {
	ch := &change{member: Member{Replica: replica}, remove: true, done: make(chan struct{})}
	if !g.post(changeEvent{ch}) {
		return g.interrupted(errStopped)
	}
	return g.awaitChange(ctx, ch)
}

func (g *Group) host(host Host) *hostState {
	g.hosts.Lock()
	defer g.hosts.Unlock()
	h := g.hosts.byDrive[host.Drive]
	if h == nil || host.Log != nil && h.Log != host.Log {
		h = &hostState{Host: host}
		g.hosts.byDrive[host.Drive] = h
	}
	return h
}

func (g *Group) awaitChange(ctx context.Context, ch *change) error {
	select {
	case <-ch.done:
		return ch.err
	case <-ctx.Done():
		g.post(cancelChangeEvent{ch})
		return g.interrupted(ctx.Err())
	case <-g.stopped:
		return g.interrupted(errStopped)
	}
}

// TransferLeader has another replica lead: the one named, or the best one if that is 0.
func (g *Group) TransferLeader(ctx context.Context, to uint64) error {
	t := &transferRequest{to: to, done: make(chan struct{})}
	if !g.post(transferEvent{t}) {
		return g.interrupted(errStopped)
	}
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		g.post(cancelTransferEvent{t})
		return g.interrupted(ctx.Err())
	case <-g.stopped:
		return g.interrupted(errStopped)
	}
}

// Receive takes a message from another process.
func (g *Group) Receive(m Message) {
	if m.Group == g.id {
		g.post(messageEvent{m})
	}
}

// ReceiveSnapshot takes rows that another process sent with SendSnapshot, closes them, and returns when the replica has them or will not.
func (g *Group) ReceiveSnapshot(ctx context.Context, m Message, rows meta.Iterator) error {
	e := &receiveEvent{message: m.Raft, done: make(chan struct{})}
	if m.Raft == nil || !g.post(e) {
		return joinClose(g.interrupted(errStopped), rows)
	}
	select {
	case <-e.done:
	case <-g.stopped:
		return joinClose(g.interrupted(errStopped), rows)
	}
	if e.copy == nil {
		return joinClose(engine.E(engine.KindConflict, "replica %d of group %d takes no snapshot now", m.To, g.id), rows)
	}
	h := g.hostOf(e.copy.to)
	if h == nil {
		return joinClose(engine.E(engine.KindConflict, "replica %d of group %d is not here", m.To, g.id), rows)
	}
	store, base, err := receiveRows(ctx, g.id, h, e.copy.generation, rows)
	g.post(copiedEvent{copy: e.copy, base: base, store: store, err: err})
	return err
}

// Close stops the group and waits for all its goroutines. Calls under way answer KindUnavailable. The hosts stay open.
func (g *Group) Close() {
	g.mail.Lock()
	g.mail.closed = true
	g.mail.Unlock()
	g.cancel()
	<-g.stopped
	g.lease.Store(nil)
	for _, w := range g.workers {
		w.stop()
	}
	g.tasks.Wait()
}

// budget bounds the bytes of commands that wait.
type budget struct {
	mu      *sync.Mutex
	free    *int
	changed chan struct{}
}

func newBudget(n int) budget {
	return budget{mu: new(sync.Mutex), free: &n, changed: make(chan struct{}, 1)}
}

// take waits until n bytes are free.
func (b *budget) take(ctx context.Context, stopped <-chan struct{}, n int) error {
	for {
		b.mu.Lock()
		if *b.free >= n {
			*b.free -= n
			rest := *b.free
			b.mu.Unlock()
			if rest > 0 {
				b.signal()
			}
			return nil
		}
		b.mu.Unlock()
		select {
		case <-b.changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-stopped:
			return errStopped
		}
	}
}

func (b *budget) give(n int) {
	b.mu.Lock()
	*b.free += n
	b.mu.Unlock()
	b.signal()
}

func (b *budget) signal() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}
