package group

import (
	"context"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"holdfast/engine"
)

// MemberStatus is what is known of one replica.
type MemberStatus struct {
	Member
	Here    bool   // in this process
	Match   uint64 // its log is known to go up to this entry; 0 if no replica here leads
	Applied uint64 // its rows do; 0 if it is not here
	Durable uint64 // its rows do after a crash; 0 if it is not here
	Failed  error  // why it takes no part, or nil
	Stalled bool   // its drive takes long over a write
}

// Status is a group at an instant.
type Status struct {
	Group   engine.GroupID
	Leader  uint64 // 0 if none is known
	Term    uint64
	Commit  uint64
	Members []MemberStatus
	// Missing says in words why nothing can be decided; empty if a quorum is there.
	Missing string
	Counts  Counts
}

type statusEvent struct{ answer chan Status }

func (e statusEvent) happen(c *core) { e.answer <- c.status() }

// Status returns what this process knows of the group.
func (g *Group) Status(ctx context.Context) (Status, error) {
	e := statusEvent{make(chan Status, 1)}
	if !g.post(e) {
		return Status{}, g.interrupted(errStopped)
	}
	select {
	case s := <-e.answer:
		return s, nil
	case <-ctx.Done():
		return Status{}, g.interrupted(ctx.Err())
	case <-g.stopped:
		return Status{}, g.interrupted(errStopped)
	}
}

func (c *core) status() Status {
	s := Status{Group: c.group, Counts: c.counts}
	p := c.newest()
	if p == nil {
		s.Missing = c.missing()
		return s
	}
	s.Leader, s.Term, s.Commit = p.leader, p.hard.term, p.commit
	match := map[uint64]uint64{}
	if p.alive() && p.state == raft.StateLeader {
		p.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) { match[id] = pr.Match })
	}
	for _, m := range p.applied.members {
		o := MemberStatus{Member: m, Here: m.local(c), Match: match[m.Replica]}
		if q := c.replicas[m.Replica]; q != nil {
			o.Applied, o.Durable, o.Failed, o.Stalled = q.applied.index, q.durable, q.failed, q.stalled
		} else if o.Here {
			o.Failed = c.whyAbsent(m.Drive)
		}
		s.Members = append(s.Members, o)
	}
	if !c.quorumAlive() {
		s.Missing = c.missing()
	}
	return s
}
