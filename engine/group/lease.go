package group

import (
	"time"

	"holdfast/engine/meta"
)

// A lease allows its holder to answer reads alone. It lasts from the sending of a beat round that a quorum answered, for three
// quarters of the election timeout: each who answered votes for nobody until a full timeout has passed since.
type lease struct {
	replica uint64
	term    uint64
	store   meta.Store
	until   time.Duration // on Clock.Boot
}

// held reports whether the lease allows a read at this instant.
func (l *lease) held(now time.Duration) bool { return l != nil && now < l.until }

// readUnderLease takes a snapshot of the leaseholder's rows. Current returns the lease of this instant, or nil. The lease is checked
// before and, since the process may have been paused in between for any time, again after; both must be of the same term.
func readUnderLease(clock Clock, current func() *lease) (rows meta.Snapshot, l *lease) {
	before := current()
	if !before.held(clock.Boot()) {
		return nil, nil
	}
	rows = before.store.Snapshot()
	if !stillHeld(clock, current, before) {
		rows.Close()
		return nil, nil
	}
	return rows, before
}

// stillHeld is the check after a read: the lease may have been prolonged meanwhile, but not changed hands.
func stillHeld(clock Clock, current func() *lease, before *lease) bool {
	after := current()
	return after.held(clock.Boot()) && after.term == before.term && after.replica == before.replica
}

// beats is what a local leader knows about the rounds of its term.
type beats struct {
	leader uint64
	term   uint64
	until  time.Duration // 0: no lease
	given  bool          // a transfer of this term began: there is no lease any more
	round  uint64
	rounds []round       // not yet answered by a quorum, oldest first
	next   time.Duration // when the leader ticks and beats again
}

type round struct {
	number   uint64
	sent     time.Duration
	answered map[uint64]bool
}

const roundsMax = 8

// startRound asks every voter to keep the local leader. The time of sending is that of the step's begin, which is never late.
func (c *core) startRound() {
	b := &c.beats
	p := c.leaderReplica()
	if p == nil || b.given || b.term != p.hard.term || c.overtaken(b.term) {
		return
	}
	b.round++
	c.counts.Rounds++
	r := round{number: b.round, sent: c.now.boot, answered: map[uint64]bool{}}
	b.rounds = append(b.rounds, r)
	if len(b.rounds) > roundsMax {
		b.rounds = append(b.rounds[:0:0], b.rounds[1:]...)
	}
	for _, m := range p.applied.members {
		if q := c.replicas[m.Replica]; q != nil {
			if q.alive() && q.hard.term == b.term {
				c.hear(q, true)
				r.answered[q.id] = true
			}
		} else if !m.Learner {
			c.out.sends = append(c.out.sends, Message{
				Group: c.group, Type: MessageBeat, From: p.id, To: m.Replica, Drive: m.Drive, Term: b.term, Round: b.round})
		}
	}
	c.countRounds()
}

// overtaken reports whether a local replica is in a newer term: it may have voted for another leader.
func (c *core) overtaken(term uint64) bool {
	for _, id := range c.order {
		if q := c.replicas[id]; q.alive() && q.hard.term > term {
			return true
		}
	}
	return false
}

// countRounds prolongs the lease by the newest round that a quorum of the voters has answered.
func (c *core) countRounds() {
	b := &c.beats
	p := c.leaderReplica()
	if p == nil {
		return
	}
	for i := len(b.rounds) - 1; i >= 0; i-- {
		n := 0
		for _, m := range p.applied.members {
			if !m.Learner && b.rounds[i].answered[m.Replica] {
				n++
			}
		}
		if n > p.applied.voters()/2 {
			b.until = max(b.until, b.rounds[i].sent+c.options.lease())
			b.rounds = append(b.rounds[:0:0], b.rounds[i+1:]...)
			return
		}
	}
}

// beat handles a MessageBeat from another process.
func (c *core) beat(m Message) {
	p := c.replicas[m.To]
	if p == nil || !p.alive() || p.hard.term != m.Term || p.leader != 0 && p.leader != m.From {
		return
	}
	c.hear(p, false)
	c.out.sends = append(c.out.sends, Message{
		Group: c.group, Type: MessageBeatAnswer, From: m.To, To: m.From, Drive: c.driveOf(m.From), Term: m.Term, Round: m.Round})
}

// beatAnswer counts an answer from another process.
func (c *core) beatAnswer(m Message) {
	b := &c.beats
	if m.To != b.leader || m.Term != b.term {
		return
	}
	for i := range b.rounds {
		if b.rounds[i].number == m.Round {
			b.rounds[i].answered[m.From] = true
		}
	}
	c.countRounds()
}

// hear notes that a replica heard of a leader: it will not vote for another for an election timeout.
func (c *core) hear(p *replica, local bool) {
	p.heard = c.now.boot
	if !local {
		p.heardRemote = c.now.boot
	}
	p.wait = c.now.boot + c.patience()
}

// dropLease ends all reads at the local leader before anything else is sent.
func (c *core) dropLease() {
	c.beats.until, c.beats.rounds = 0, nil
}

// currentLease is what readers may see after this step.
func (c *core) currentLease() *lease {
	b := &c.beats
	p := c.leaderReplica()
	if p == nil || b.until == 0 || p.hard.term != b.term || p.applied.term != b.term || c.overtaken(b.term) || p.install != nil {
		return nil
	}
	return &lease{replica: p.id, term: b.term, store: p.store, until: b.until}
}
