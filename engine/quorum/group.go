// Package quorum replicates a state machine over the drives of a node: Raft groups on go.etcd.io/raft/v3, whose log is each drive's
// meta stream and whose rows are each drive's index.
//
// Promise: a command that Propose answered is on a majority of the group's replicas, synced, and is applied once, in one order,
// everywhere; a View shows every command that was answered before it was asked for. Log records are released only when the rows
// that they made are durable.
//
// All replicas of a group live in one process here, so messages between them are calls, the group elects at once, and a read needs
// no lease: any replica that has applied what was answered shows the truth. The package does not know what commands mean.
package quorum

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// Drive is what a replica needs of the drive that it lives on; *drive.Drive has it.
type Drive interface {
	// Append puts one record into the meta stream; done is called in order from a goroutine of the drive, once it is durable or failed.
	Append(group engine.GroupID, payload [][]byte, done func(error)) (sequence uint64)
	// Recovered returns what opening the drive found of the group, in order.
	Recovered(group engine.GroupID) []meta.LogRecord
	// Release says that records up to and including sequence are not needed.
	Release(group engine.GroupID, sequence uint64)
	// Flush makes the index durable.
	Flush(ctx context.Context) error
	// OnFlush has fn called after each flush of the index until cancel is called.
	OnFlush(fn func()) (cancel func())
	// Store returns the ordered store of the rows under prefix, and DropStore removes them.
	Store(prefix []byte) meta.Store
	DropStore(prefix []byte) error
}

// Machine is the state machine that the group replicates. Apply must give the same changes and answers for the same entries, however
// they are cut into calls.
type Machine interface {
	Apply(view *meta.Overlay, entries []meta.Entry) (answers [][]byte, err error)
}

// Config describes a group.
type Config struct {
	ID      engine.GroupID
	Machine Machine
	// Drives are those at hand; replicas whose drive is absent are not started.
	Drives map[engine.DriveID]Drive
	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now
	// Everywhere applies commands on each replica by itself and compares the changes; for tests.
	Everywhere bool
	// OnReplicaFailed is called, from a goroutine of the group, when a replica stops because its drive failed.
	OnReplicaFailed func(engine.DriveID, error)
}

// Group is a running group.
type Group struct {
	config Config
	cancel context.CancelFunc
	done   sync.WaitGroup // the loop, the appliers, snapshots being sent

	inbox inbox

	// Owned by the loop.
	replicas   map[uint64]*replica
	leader     uint64
	campaigned time.Time
	candidate  uint64 // that elect made campaign and that has neither won nor lost
	stamp      int64
	sending    map[uint64]bool // replicas that a snapshot is on its way to
	nudged     *time.Timer     // see nudge

	mu       sync.Mutex // guards what follows, and the replicas' fields that say so
	changed  *sync.Cond
	waiting  map[commandID]*waiter
	batches  []*batch // applied somewhere, not yet everywhere
	answered uint64   // greatest index whose answer was given
	members  []Member // as of the most advanced apply
	closed   bool
	order    []*replica // live ones
	ready    chan struct{}

	confMu sync.Mutex // one change of members at a time
}

type commandID struct{ epoch, number uint64 }

type waiter struct {
	command []byte
	answer  chan answer // of capacity 1
	taken   bool        // by the leader; owned by the loop
}

type answer struct {
	data  []byte
	index uint64
}

// ErrClosed is the cause of the error of calls on a closed group.
var ErrClosed = errors.New("the group is closed")

// Bootstrap writes the first state of a group to a drive, durably. All drives of members get the same before the first Start.
// Replica numbers begin at 1.
func Bootstrap(ctx context.Context, d Drive, id engine.GroupID, member Member, members []Member) error {
	first := applied{index: 1, term: 1, members: members}
	var rows meta.Batch
	rows.Set(appliedKey, first.encode())
	rows.Set(hardKey, encodeHard(1, 0))
	if err := d.Store(storePrefix(id, 1)).Commit(&rows); err != nil {
		return err
	}
	if err := d.Flush(ctx); err != nil {
		return err
	}
	return setRegistry(ctx, d, id, registry{generation: 1, replica: member.Replica})
}

func setRegistry(ctx context.Context, d Drive, id engine.GroupID, g registry) error {
	var rows meta.Batch
	rows.Set(registryKey, g.encode())
	if err := d.Store(registryPrefix(id)).Commit(&rows); err != nil {
		return err
	}
	return d.Flush(ctx)
}

// Start starts the replicas that the drives have. It returns once a leader is there and has applied what the last process left
// committed, or with KindUnavailable if too few replicas are at hand; then the group is running nevertheless, and waits for drives.
func Start(ctx context.Context, config Config) (*Group, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	g := &Group{
		config: config, replicas: map[uint64]*replica{}, sending: map[uint64]bool{},
		waiting: map[commandID]*waiter{}, ready: make(chan struct{}),
	}
	g.changed = sync.NewCond(&g.mu)
	g.inbox.wake = make(chan struct{}, 1)
	for id, d := range config.Drives {
		r, err := g.openReplica(id, d)
		if err != nil {
			g.config.Logger.Error("a replica cannot start", "group", config.ID, "drive", id, "error", err)
			continue
		}
		if r != nil {
			g.addLocal(r)
		}
	}
	loopCtx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.done.Add(1)
	go g.loop(loopCtx)
	for _, r := range g.order {
		g.startReplica(r)
	}
	g.inbox.post(g.elect)
	patience := time.NewTicker(retryAfter)
	defer patience.Stop()
	for tries := 0; tries < 25; tries++ {
		select {
		case <-g.ready:
			return g, nil
		case <-ctx.Done():
			return g, g.unavailable()
		case <-patience.C:
			g.inbox.post(g.elect)
		}
	}
	return g, g.unavailable()
}

func (g *Group) addLocal(r *replica) {
	g.replicas[r.id] = r
	g.mu.Lock()
	g.order = append(g.order, r)
	if len(g.members) == 0 || r.state.index > g.appliedMaxLocked() {
		g.members = r.state.members
	}
	g.mu.Unlock()
}

func (g *Group) appliedMaxLocked() uint64 {
	var most uint64
	for _, r := range g.order {
		if r.state.index > most && len(r.state.members) > 0 {
			most = r.state.index
		}
	}
	return most
}

// startReplica starts a replica's applier and its watch over flushes.
func (g *Group) startReplica(r *replica) {
	g.done.Add(1)
	go g.applyLoop(r)
	r.cancelFlush = r.drive.OnFlush(func() { g.compact(r) })
}

// inbox is a queue of things for the loop to do. It never blocks its writers: what is in it is bounded by the appends, proposals and
// applies that are under way.
type inbox struct {
	mu    sync.Mutex
	tasks []func()
	wake  chan struct{}
}

func (i *inbox) post(f func()) {
	i.mu.Lock()
	i.tasks = append(i.tasks, f)
	i.mu.Unlock()
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

func (i *inbox) take() []func() {
	i.mu.Lock()
	defer i.mu.Unlock()
	tasks := i.tasks
	i.tasks = nil
	return tasks
}

// loop owns the raft nodes.
func (g *Group) loop(ctx context.Context) {
	defer g.done.Done()
	g.nudged = time.NewTimer(retryAfter)
	defer g.nudged.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.nudged.C:
			g.beat()
			g.advance()
		case <-g.inbox.wake:
		}
		for tasks := g.inbox.take(); len(tasks) > 0; tasks = g.inbox.take() {
			for _, f := range tasks {
				f()
			}
			g.advance()
		}
	}
}

// nudge has the leader look after its followers soon. A group whose followers all keep up does not tick.
func (g *Group) nudge() { g.nudged.Reset(retryAfter) }

// beat has the leader send heartbeats, whose answers make it send again to followers that it had given up, and goes on until all keep up.
func (g *Group) beat() {
	leader := g.replicas[g.leader]
	if leader == nil {
		return
	}
	leader.node.Tick()
	for id, p := range leader.node.Status().Progress {
		if r := g.replicas[id]; r != nil && r.failed == nil && p.State != tracker.StateReplicate {
			g.nudge()
		}
	}
}

// advance lets every node do what it is ready for, and hands messages over until none is left.
func (g *Group) advance() {
	for again := true; again; {
		again = false
		for _, r := range g.replicas {
			if r.failed != nil || !r.node.HasReady() {
				continue
			}
			again = true
			ready := r.node.Ready()
			if ready.SoftState != nil {
				g.softState(r, ready.SoftState)
			}
			for _, m := range ready.Messages {
				g.deliver(r, m)
			}
		}
	}
}

func (g *Group) softState(r *replica, s *raft.SoftState) {
	if s.RaftState == raft.StateLeader {
		g.leader, g.candidate = r.id, 0
		g.config.Logger.Debug("leader elected", "group", g.config.ID, "replica", r.id, "drive", r.driveID)
		g.proposeWaiting()
		g.nudge()
		return
	}
	if g.leader == r.id {
		g.leader = 0
	}
	if g.candidate == r.id && s.RaftState == raft.StateFollower {
		g.candidate = 0
	}
}

func (g *Group) deliver(from *replica, m *raftpb.Message) {
	switch m.GetTo() {
	case raft.LocalAppendThread:
		g.append(from, m)
	case raft.LocalApplyThread:
		g.enqueueApply(from, m)
	default:
		to := g.replicas[m.GetTo()]
		switch {
		case to == nil || to.failed != nil:
			if m.GetType() == raftpb.MsgSnap {
				from.node.ReportSnapshot(m.GetTo(), raft.SnapshotFailure)
			}
		case m.GetType() == raftpb.MsgSnap && to != from:
			g.sendSnapshot(from, to, m)
		default:
			_ = to.node.Step(m) // a message that its receiver has no use for is dropped
		}
	}
}

// elect makes the live replica with the longest log campaign; all that live vote for it.
func (g *Group) elect() {
	if g.leader != 0 || g.candidate != 0 && g.config.Now().Sub(g.campaigned) < retryAfter {
		return
	}
	var best *replica
	var bestTerm, bestIndex uint64
	for _, r := range g.replicas {
		if r.failed != nil || !r.voter() {
			continue
		}
		index, term := r.last()
		if best == nil || term > bestTerm || term == bestTerm && index > bestIndex || term == bestTerm && index == bestIndex && r.id < best.id {
			best, bestTerm, bestIndex = r, term, index
		}
	}
	if best != nil && best.node.Campaign() == nil {
		g.candidate, g.campaigned = best.id, g.config.Now()
	}
}

// Propose commits a command and returns what the machine answered and the index that it has in the log. The command begins with a
// meta.Header whose epoch and number identify it; Propose writes its stamp, repeats it over changes of leader, and keeps the bytes
// until it returns. KindUnavailable if that takes longer than 2 s without a leader, KindCanceled if ctx ends: then the outcome is open,
// and the same command may be proposed again.
func (g *Group) Propose(ctx context.Context, command []byte) ([]byte, uint64, error) {
	header, ok := meta.ParseHeader(command)
	if !ok || len(command) > meta.CommandBytesMax {
		return nil, 0, engine.E(engine.KindInternal, "a command of %d bytes; %d to %d are possible", len(command), meta.HeaderBytes, meta.CommandBytesMax)
	}
	if ctx.Err() != nil {
		return nil, 0, engine.E(engine.KindCanceled, "nothing was changed: %w", ctx.Err())
	}
	id := commandID{header.Epoch, header.Number}
	w := &waiter{command: command, answer: make(chan answer, 1)}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil, 0, &engine.Error{Kind: engine.KindUnavailable, Err: ErrClosed}
	}
	if g.waiting[id] != nil {
		g.mu.Unlock()
		return nil, 0, engine.E(engine.KindInternal, "command %d of epoch %d is being proposed already", id.number, id.epoch)
	}
	g.waiting[id] = w
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.waiting, id)
		g.mu.Unlock()
	}()
	g.inbox.post(func() { g.propose(w) })
	patience := time.NewTicker(retryAfter)
	defer patience.Stop()
	for tries := 1; ; tries++ {
		select {
		case a, ok := <-w.answer:
			if !ok {
				return nil, 0, &engine.Error{Kind: engine.KindUnavailable, Err: ErrClosed}
			}
			return a.data, a.index, nil
		case <-ctx.Done():
			return nil, 0, engine.E(engine.KindCanceled, "the outcome of the change is not known: %w", ctx.Err())
		case <-patience.C:
			if tries%(int(2*time.Second/retryAfter)) == 0 && !g.hasQuorum() {
				return nil, 0, g.unavailable()
			}
			g.inbox.post(func() { g.retry(w) })
		}
	}
}

// retryAfter is how long an election or a proposal that was dropped may take before it is tried again.
const retryAfter = 200 * time.Millisecond

// retry looks after a command that has waited long: an election may have ended without a winner, because a voter failed in its midst or
// had entries on their way to its log that the candidate lacked; or the leader dropped the command.
func (g *Group) retry(w *waiter) {
	if g.leader == 0 {
		g.elect()
	} else if !w.taken {
		g.propose(w)
	}
}

// propose gives a command to the leader. Without one it stays among the waiting until there is.
func (g *Group) propose(w *waiter) {
	leader := g.replicas[g.leader]
	if leader == nil {
		g.elect()
		return
	}
	g.stamp = max(g.stamp, g.config.Now().UnixNano())
	command := append([]byte(nil), w.command...) // an earlier proposal's bytes may still be on their way to a log
	meta.SetStamp(command, g.stamp)
	w.taken = leader.node.Propose(command) == nil // else it is tried again, by retry or by the next leader
}

func (g *Group) proposeWaiting() {
	g.mu.Lock()
	waiters := make([]*waiter, 0, len(g.waiting))
	for _, w := range g.waiting {
		waiters = append(waiters, w)
	}
	g.mu.Unlock()
	for _, w := range waiters {
		g.inbox.post(func() { g.propose(w) })
	}
}

func (g *Group) hasQuorum() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	voters, live := g.votersLocked()
	return live > voters/2
}

func (g *Group) votersLocked() (voters, live int) {
	for _, m := range g.members {
		if m.Learner {
			continue
		}
		voters++
		for _, r := range g.order {
			if r.id == m.Replica && r.failedLocked == nil {
				live++
			}
		}
	}
	return voters, live
}

func (g *Group) unavailable() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	voters, live := g.votersLocked()
	return engine.E(engine.KindUnavailable, "%d of the %d replicas of group %d are at hand and %d are needed; bring back the drives that are missing",
		live, voters, g.config.ID, voters/2+1)
}

// View is a group's state, at least as new as when Read was called. Close it.
type View struct {
	meta.Snapshot
	// Index is that of the last command that the view shows.
	Index uint64
}

// Read returns a view that shows every command answered before the call.
func (g *Group) Read(ctx context.Context) (*View, error) {
	store, _, err := g.current(ctx)
	if err != nil {
		return nil, err
	}
	snapshot := store.Snapshot()
	state, err := loadApplied(snapshot)
	if err != nil {
		_ = snapshot.Close() // the first error is the one that counts
		return nil, engine.E(engine.KindUnavailable, "group %d: %w", g.config.ID, err)
	}
	return &View{Snapshot: snapshot, Index: state.index}, nil
}

// Store returns the store of a replica that shows every command answered before the call, for reading single rows at less cost than
// a View; it may show later commands, and different ones from row to row. Index is a lower bound of what it shows.
func (g *Group) Store(ctx context.Context) (meta.Store, uint64, error) {
	return g.current(ctx)
}

// current returns the store of a live replica that has applied all that was answered. Below quorum there is none: what is committed is not known.
func (g *Group) current(ctx context.Context) (meta.Store, uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, 0, &engine.Error{Kind: engine.KindUnavailable, Err: ErrClosed}
	}
	if voters, live := g.votersLocked(); live <= voters/2 {
		return nil, 0, engine.E(engine.KindUnavailable, "%d of the %d replicas of group %d are at hand and %d are needed", live, voters, g.config.ID, voters/2+1)
	}
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.changed.Broadcast()
	})
	defer stop()
	target := g.answered
	for {
		for _, r := range g.order {
			if r.failedLocked == nil && !r.installing && r.state.index >= target && g.startedLocked() {
				return r.store, r.state.index, nil
			}
		}
		if ctx.Err() != nil || g.closed {
			return nil, 0, engine.E(engine.KindUnavailable, "no replica of group %d has caught up: %w", g.config.ID, context.Cause(ctx))
		}
		g.changed.Wait()
	}
}

// startedLocked reports whether the first command of a leader of this process is applied: only then is everything applied that
// former processes answered.
func (g *Group) startedLocked() bool {
	select {
	case <-g.ready:
		return true
	default:
		return false
	}
}

// ReplicaStatus describes a replica.
type ReplicaStatus struct {
	Member
	Local   bool
	Applied uint64
	Failed  error
}

// Status describes a group.
type Status struct {
	ID       engine.GroupID
	Leader   uint64 // replica, 0 without
	Quorum   bool
	Answered uint64
	Replicas []ReplicaStatus
}

// Status describes the group.
func (g *Group) Status() Status {
	leader := make(chan uint64, 1)
	g.inbox.post(func() { leader <- g.leader })
	s := Status{ID: g.config.ID}
	select {
	case s.Leader = <-leader:
	case <-time.After(time.Second):
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	voters, live := g.votersLocked()
	s.Quorum, s.Answered = live > voters/2, g.answered
	for _, m := range g.members {
		status := ReplicaStatus{Member: m}
		for _, r := range g.order {
			if r.id == m.Replica {
				status.Local, status.Applied, status.Failed = true, r.state.index, r.failedLocked
			}
		}
		s.Replicas = append(s.Replicas, status)
	}
	return s
}

// Members returns the configuration as far as it is applied.
func (g *Group) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Member(nil), g.members...)
}

// Close stops the group and waits for all it started. Calls that wait are answered with ErrClosed. The drives stay open.
func (g *Group) Close() {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.closed = true
	for id, w := range g.waiting {
		close(w.answer)
		delete(g.waiting, id)
	}
	g.changed.Broadcast()
	order := append([]*replica(nil), g.order...)
	g.mu.Unlock()
	for _, r := range order {
		if r.cancelFlush != nil {
			r.cancelFlush()
		}
	}
	g.cancel()
	g.done.Wait()
}

// AddReplica makes a drive a member: it joins as a learner, catches up from a snapshot, and becomes a voter. It returns when that is
// committed. The number of the replica must be new to the group, or that of a learner on the same drive, whose joining was interrupted.
func (g *Group) AddReplica(ctx context.Context, member Member, d Drive) error {
	g.confMu.Lock()
	defer g.confMu.Unlock()
	r := g.local(member)
	if r == nil {
		var err error
		if r, err = g.addReplica(ctx, member, d); err != nil {
			return err
		}
	}
	member.Learner = true
	if err := g.changeMember(ctx, raftpb.ConfChangeAddLearnerNode, member); err != nil {
		return err
	}
	if err := g.awaitReplica(ctx, r); err != nil {
		return err
	}
	member.Learner = false
	return g.changeMember(ctx, raftpb.ConfChangeAddNode, member)
}

// local returns the replica of a member that runs here, or nil.
func (g *Group) local(member Member) *replica {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.order {
		if r.id == member.Replica && r.driveID == member.Drive && r.failedLocked == nil {
			return r
		}
	}
	return nil
}

// addReplica starts an empty replica on a drive. One that is there, and that an interrupted call left without membership, gives way.
func (g *Group) addReplica(ctx context.Context, member Member, d Drive) (*replica, error) {
	gone := make(chan struct{})
	g.inbox.post(func() {
		for _, r := range g.replicas {
			if r.driveID == member.Drive {
				g.drop(r)
			}
		}
		close(gone)
	})
	<-gone
	if err := d.DropStore(storePrefix(g.config.ID, 1)); err != nil {
		return nil, err
	}
	if err := setRegistry(ctx, d, g.config.ID, registry{generation: 1, replica: member.Replica}); err != nil {
		return nil, err
	}
	r, err := g.openReplica(member.Drive, d)
	if err != nil {
		return nil, err
	}
	added := make(chan struct{})
	g.inbox.post(func() {
		g.addLocal(r)
		g.startReplica(r)
		close(added)
	})
	<-added
	return r, nil
}

// RemoveReplica takes a member out of the group. Its drive may be gone.
func (g *Group) RemoveReplica(ctx context.Context, id uint64) error {
	g.confMu.Lock()
	defer g.confMu.Unlock()
	for _, m := range g.Members() {
		if m.Replica == id {
			return g.changeMember(ctx, raftpb.ConfChangeRemoveNode, m)
		}
	}
	return nil
}

// awaitReplica waits until a learner has applied what was answered before the call.
func (g *Group) awaitReplica(ctx context.Context, r *replica) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.changed.Broadcast()
	})
	defer stop()
	target := g.answered
	for r.state.index < target && !r.removed {
		if err := errors.Join(ctx.Err(), r.failedLocked); err != nil {
			return engine.E(engine.KindUnavailable, "replica %d of group %d does not catch up: %w", r.id, g.config.ID, err)
		}
		if g.closed {
			return &engine.Error{Kind: engine.KindUnavailable, Err: ErrClosed}
		}
		g.changed.Wait()
	}
	return nil
}

// changeMember proposes one change and waits until it is applied.
func (g *Group) changeMember(ctx context.Context, kind raftpb.ConfChangeType, m Member) error {
	change := &raftpb.ConfChange{Type: &kind, NodeId: &m.Replica, Context: (&applied{members: []Member{m}}).encode()}
	for {
		g.inbox.post(func() {
			if leader := g.replicas[g.leader]; leader != nil {
				_ = leader.node.ProposeConfChange(change) // dropped while leadership changes; proposed again below
			} else {
				g.elect()
			}
		})
		attempt, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		done := g.awaitMember(attempt, kind, m)
		cancel()
		if done {
			return g.flushMembers(ctx)
		}
		if ctx.Err() != nil {
			return engine.E(engine.KindUnavailable, "group %d does not change its members: %w", g.config.ID, ctx.Err())
		}
	}
}

// flushMembers makes changed members durable in the rows of every live replica: one that started with older rows would wait for the votes
// of members long gone.
func (g *Group) flushMembers(ctx context.Context) error {
	g.mu.Lock()
	live := append([]*replica(nil), g.order...)
	g.mu.Unlock()
	for _, r := range live {
		err := g.awaitReplica(ctx, r)
		if err == nil {
			err = r.drive.Flush(ctx)
		}
		if ctx.Err() != nil || g.isClosed() {
			return engine.E(engine.KindUnavailable, "changed members of group %d are not durable everywhere: %w", g.config.ID, err)
		}
	}
	return nil // a replica whose drive fails here does not start with old rows: its drive is replaced
}

func (g *Group) awaitMember(ctx context.Context, kind raftpb.ConfChangeType, m Member) bool {
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.changed.Broadcast()
	})
	defer stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		present := false
		for _, have := range g.members {
			present = present || have == m
		}
		if present == (kind != raftpb.ConfChangeRemoveNode) {
			return true
		}
		if ctx.Err() != nil || g.closed {
			return false
		}
		g.changed.Wait()
	}
}

const noLimit = math.MaxUint64

func raftConfig(id uint64, storage raft.Storage, appliedIndex uint64, logger raft.Logger) *raft.Config {
	return &raft.Config{
		ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: storage, Applied: appliedIndex,
		AsyncStorageWrites: true, MaxSizePerMsg: 4 << 20, MaxCommittedSizePerReady: 4 << 20, MaxInflightMsgs: 256,
		MaxUncommittedEntriesSize: 256 << 20, PreVote: false, CheckQuorum: false, Logger: logger,
	}
}

// raftLogger passes on what concerns an operator.
type raftLogger struct{ *slog.Logger }

func (l raftLogger) Debug(v ...any)              {}
func (l raftLogger) Debugf(string, ...any)       {}
func (l raftLogger) Info(v ...any)               {}
func (l raftLogger) Infof(string, ...any)        {}
func (l raftLogger) Warning(v ...any)            { l.Logger.Warn(fmt.Sprint(v...)) }
func (l raftLogger) Warningf(f string, v ...any) { l.Logger.Warn(fmt.Sprintf(f, v...)) }
func (l raftLogger) Error(v ...any)              { l.Logger.Error(fmt.Sprint(v...)) }
func (l raftLogger) Errorf(f string, v ...any)   { l.Logger.Error(fmt.Sprintf(f, v...)) }
func (l raftLogger) Fatal(v ...any)              { panic(fmt.Sprint(v...)) }
func (l raftLogger) Fatalf(f string, v ...any)   { panic(fmt.Sprintf(f, v...)) }
func (l raftLogger) Panic(v ...any)              { panic(fmt.Sprint(v...)) }
func (l raftLogger) Panicf(f string, v ...any)   { panic(fmt.Sprintf(f, v...)) }
