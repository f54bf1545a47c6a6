package group

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// change is a change of membership: the goal, not the steps. Whoever leads takes the next step towards it, so a change of leaders
// in between does no harm.
type change struct {
	member Member
	remove bool
	asked  leadership // the last one that was asked for a step
	index  uint64     // of the leader's log after that
	err    error
	// reserved is closed when the change is the one under way and its replica is to be made; nil once that has joined.
	reserved chan struct{}
	done     chan struct{}
}

// changeEvent begins a change. A replica that joins here is made on its drive next; a joinEvent brings it.
type changeEvent struct{ change *change }

func (e changeEvent) happen(c *core) {
	ch := e.change
	if err := c.mayChange(ch); err != nil {
		ch.err = err
		c.out.changes = append(c.out.changes, ch)
		return
	}
	c.change = ch
	if ch.reserved != nil {
		close(ch.reserved)
	}
}

// mayChange refuses a change that cannot be meant.
func (c *core) mayChange(ch *change) error {
	if c.change != nil {
		return engine.E(engine.KindConflict, "group %d is changing its members; repeat later", c.group)
	}
	if ch.remove {
		return nil
	}
	if p := c.newest(); p != nil {
		for _, m := range p.applied.members {
			if m.Replica == ch.member.Replica || m.Drive == ch.member.Drive {
				return engine.E(engine.KindInvalidArgument, "group %d has replica %d on drive %d already", c.group, m.Replica, m.Drive)
			}
		}
	}
	for _, id := range c.order {
		if id == ch.member.Replica || c.replicas[id].drive == ch.member.Drive {
			return engine.E(engine.KindConflict, "replica %d of group %d is leaving drive %d; repeat later", id, c.group, c.replicas[id].drive)
		}
	}
	return nil
}

// joinEvent brings the empty replica of a change, if it lives here.
type joinEvent struct {
	change *change
	add    *recovered
}

func (e joinEvent) happen(c *core) {
	if c.change != e.change {
		return
	}
	if e.add != nil {
		c.options.local[e.add.drive] = true
		if err := c.add(e.add); err != nil {
			c.endChange(err)
			return
		}
	}
	e.change.reserved = nil
}

// cancelChangeEvent ends the waiting for a change. What was decided stays.
type cancelChangeEvent struct{ change *change }

func (e cancelChangeEvent) happen(c *core) {
	if c.change == e.change {
		c.change = nil
	}
}

// advanceChange takes the next step of the change under way, if a local replica leads and the last step has been applied.
func (c *core) advanceChange() {
	p := c.leaderReplica()
	if p == nil || p.applied.term != p.hard.term {
		return
	}
	c.retire(p)
	ch := c.change
	if ch == nil || ch.reserved != nil {
		return
	}
	if q := c.replicas[ch.member.Replica]; !ch.remove && q != nil && !q.alive() {
		c.endChange(fmt.Errorf("replica %d failed: %w", q.id, q.failed))
		return
	}
	if ch.asked == (leadership{p.id, p.hard.term}) && p.applied.index < ch.index {
		return
	}
	m, there := p.applied.member(ch.member.Replica)
	switch {
	case ch.remove && !there, !ch.remove && there && !m.Learner:
		if c.changeNoted(p) {
			c.endChange(nil)
		}
	case ch.remove && !m.Learner && p.applied.voters() == 1:
		c.endChange(engine.E(engine.KindInvalidArgument, "replica %d is the last of group %d", m.Replica, c.group))
	case ch.remove && p.id == ch.member.Replica:
		c.yield(p)
	case ch.remove:
		c.ask(p, raftpb.ConfChangeRemoveNode)
	case !there:
		c.ask(p, raftpb.ConfChangeAddLearnerNode)
	case c.caughtUp(p, m.Replica):
		c.ask(p, raftpb.ConfChangeAddNode)
	}
}

// changeNoted reports whether every member of this process that can knows the leader's configuration for good. Before that nobody who
// was a member may go: a crash could bring back a configuration that needs its vote.
func (c *core) changeNoted(leader *replica) bool {
	for _, m := range leader.applied.members {
		q := c.replicas[m.Replica]
		if q == nil || !q.alive() || q.stalled {
			continue
		}
		if q.noted < leader.configured || !slices.Equal(q.applied.members, leader.applied.members) {
			return false
		}
	}
	return true
}

func (c *core) endChange(err error) {
	c.change.err = err
	c.out.changes = append(c.out.changes, c.change)
	c.change = nil
	if p := c.leaderReplica(); p != nil && err == nil {
		c.retire(p)
	}
}

// ask proposes a step to the leader.
func (c *core) ask(p *replica, kind raftpb.ConfChangeType) {
	ch := c.change
	cc := &raftpb.ConfChangeV2{
		Changes: []*raftpb.ConfChangeSingle{{Type: kind.Enum(), NodeId: new(ch.member.Replica)}},
		Context: binary.BigEndian.AppendUint64(nil, uint64(ch.member.Drive)),
	}
	if err := p.node.ProposeConfChange(cc); err != nil {
		return
	}
	c.ready(p)
	ch.asked, ch.index = leadership{p.id, p.hard.term}, p.last
	c.settle()
}

// caughtUp reports whether a learner has all that was decided up to a moment ago.
func (c *core) caughtUp(leader *replica, id uint64) (ok bool) {
	leader.node.WithProgress(func(o uint64, _ raft.ProgressType, pr tracker.Progress) {
		ok = ok || o == id && pr.State == tracker.StateReplicate && pr.Match+batchEntries >= leader.commit
	})
	return ok
}

// yield hands the office of a leader that is to be removed to another.
func (c *core) yield(p *replica) {
	if c.transfer == nil {
		c.transfer = &transferRequest{}
	}
}

// retire stops replicas of this process that the group no longer counts among its members.
func (c *core) retire(leader *replica) {
	if !c.changeNoted(leader) {
		return
	}
	for _, id := range slices.Clone(c.order) {
		p := c.replicas[id]
		if _, ok := leader.applied.member(id); ok || c.change != nil && c.change.member.Replica == id && !c.change.remove {
			continue
		}
		if _, knows := p.applied.member(id); !knows && p.applied.index > leader.applied.index {
			continue
		}
		delete(c.replicas, id)
		c.order = slices.DeleteFunc(c.order, func(o uint64) bool { return o == id })
		c.out.resets = append(c.out.resets, resetEffect{replica: id, drive: p.drive, drop: p.generation, removed: true, generation: p.spare})
	}
}

// transferRequest asks that another replica lead: to, or the best one if that is 0.
type transferRequest struct {
	to    uint64
	asked leadership
	since time.Duration
	err   error
	done  chan struct{}
}

type transferEvent struct{ t *transferRequest }

func (e transferEvent) happen(c *core) {
	if c.transfer != nil {
		e.t.err = engine.E(engine.KindConflict, "group %d is changing its leader; repeat later", c.group)
		c.out.moved = append(c.out.moved, e.t)
		return
	}
	c.transfer = e.t
}

type cancelTransferEvent struct{ t *transferRequest }

func (e cancelTransferEvent) happen(c *core) {
	if c.transfer == e.t {
		c.endTransfer(errStopped)
	}
}

// advanceTransfer hands the office over. The leader gives up its lease first, and for the rest of its term: a request to take over that
// arrives late must not meet a lease.
func (c *core) advanceTransfer() {
	t := c.transfer
	if t == nil {
		return
	}
	p := c.leaderReplica()
	if t.asked != (leadership{}) {
		c.awaitTransfer(p)
		return
	}
	if p == nil {
		return
	}
	if t.to == p.id {
		c.endTransfer(nil)
		return
	}
	to := t.to
	if to == 0 {
		to = c.successor(p)
	}
	if m, ok := p.applied.member(to); !ok || m.Learner {
		c.endTransfer(engine.E(engine.KindInvalidArgument, "group %d has no replica %d that can lead", c.group, to))
		return
	}
	t.asked, t.since = leadership{p.id, p.hard.term}, c.now.boot
	c.dropLease()
	c.beats.given = true
	p.node.TransferLeader(to)
	c.settle()
}

// awaitTransfer ends a transfer that has come to something, or takes too long.
func (c *core) awaitTransfer(leader *replica) {
	t := c.transfer
	old := c.replicas[t.asked.replica]
	if leader != nil && leader != old || old == nil || old.state != raft.StateLeader && old.leader != 0 && old.leader != old.id {
		c.endTransfer(nil)
		return
	}
	if c.now.boot < t.since+c.options.ElectionTimeout {
		return
	}
	c.endTransfer(engine.E(engine.KindUnavailable, "group %d: no other replica took over the lead in time", c.group))
}

// endTransfer ends the transfer under way. A leader that gave up its lease in vain steps down, so that the next term has one again.
func (c *core) endTransfer(err error) {
	t := c.transfer
	t.err = err
	c.transfer = nil
	c.out.moved = append(c.out.moved, t)
	old := c.replicas[t.asked.replica]
	if old == nil || !old.alive() || old.state != raft.StateLeader || old.hard.term != t.asked.term {
		return
	}
	_ = old.node.Step(&raftpb.Message{Type: raftpb.MsgAppResp.Enum(), From: new(old.id), To: new(old.id), Term: new(old.hard.term + 1)})
	c.campaign = c.now.boot
	c.settle()
}

// successor returns the voter whose log is longest, other than the leader; one of this process if there is a choice.
func (c *core) successor(leader *replica) (best uint64) {
	var match uint64
	leader.node.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if q := c.replicas[id]; id == leader.id || typ == raft.ProgressTypeLearner || q != nil && (!q.alive() || q.stalled) {
			return
		}
		if best == 0 || pr.Match > match || pr.Match == match && id < best {
			best, match = id, pr.Match
		}
	})
	return best
}

// startCopy begins to bring the rows of a leader to a replica that is too far behind for entries.
func (c *core) startCopy(leader *replica, m *raftpb.Message) {
	to := m.GetTo()
	s := &snapshotCopy{from: leader.id, to: to, fromGeneration: leader.generation, message: m}
	if c.copies[to] != nil {
		c.reportCopy(s, false) // of a former leader; this one tries again with its next tick
		return
	}
	if q := c.replicas[to]; q != nil {
		if !q.alive() || q.install != nil {
			c.reportCopy(s, false)
			return
		}
		s.generation = q.receive(m)
	} else if s.drive = c.driveOf(to); s.drive == 0 {
		c.reportCopy(s, false)
		return
	}
	c.copies[to] = s
	c.out.copies = append(c.out.copies, s)
}

// copiedEvent tells that the rows are in the receiver's new generation and flushed, up to base; or why not. For a receiver in another
// process it tells that the snapshot was handed over.
type copiedEvent struct {
	copy  *snapshotCopy
	base  *applied
	store meta.Store // of the new generation
	err   error
}

func (e copiedEvent) happen(c *core) {
	s := e.copy
	if c.copies[s.to] == s {
		delete(c.copies, s.to)
	}
	if s.generation == 0 {
		c.reportCopy(s, e.err == nil)
		return
	}
	q := c.replicas[s.to]
	if q == nil || !q.alive() || q.install == nil || q.install.message != s.message {
		return
	}
	if e.err == nil {
		q.install.base, q.install.store = e.base, e.store
		m := &raftpb.Message{
			Type: raftpb.MsgSnap.Enum(), From: s.message.From, To: s.message.To, Term: s.message.Term, Snapshot: e.base.snapshot()}
		c.deliver(m, c.replicas[s.from] != nil)
	}
	if q.install != nil && !q.install.accepted {
		c.out.resets = append(c.out.resets, resetEffect{replica: q.id, drive: q.drive, generation: q.generation, drop: q.install.generation})
		q.install = nil
		c.reportCopy(s, false)
	}
}

// reportCopy lets a leader go on after a snapshot that was received, or was not.
func (c *core) reportCopy(s *snapshotCopy, ok bool) {
	p := c.replicas[s.from]
	if p == nil || !p.alive() {
		return
	}
	status := raft.SnapshotFinish
	if !ok {
		status = raft.SnapshotFailure
	}
	p.node.ReportSnapshot(s.to, status)
}

// receiveEvent prepares a replica for a snapshot that another process is sending.
type receiveEvent struct {
	message *raftpb.Message
	copy    *snapshotCopy // filled in; nil if the replica takes none now
	done    chan struct{}
}

func (e *receiveEvent) happen(c *core) {
	q := c.replicas[e.message.GetTo()]
	if q != nil && q.alive() && q.install == nil && e.message.GetTerm() >= q.hard.term {
		c.hear(q, false)
		e.copy = &snapshotCopy{from: e.message.GetFrom(), to: q.id, generation: q.receive(e.message), message: e.message}
	}
	if e.done != nil {
		close(e.done)
	}
}

// installed makes a generation that was received the valid one; its record is durable.
func (c *core) installed(p *replica, job *appendJob) {
	old, from := p.generation, p.install.message.GetFrom()
	p.store = p.install.store
	p.generation, p.applied, p.stored, p.durable = p.install.generation, *job.base, hardState{}, job.base.index
	p.install, p.applying = nil, nil
	p.commit = max(p.commit, job.base.index)
	c.counts.Snapshots++
	c.out.resets = append(c.out.resets, resetEffect{replica: p.id, drive: p.drive, generation: p.generation, drop: old})
	if err := p.storage.ApplySnapshot(job.snapshot); err != nil {
		c.fail(p, err)
	}
	// The leader's log may have been cut beyond the snapshot meanwhile: it must try again, not wait.
	c.reportCopy(&snapshotCopy{from: from, to: p.id}, true)
}
