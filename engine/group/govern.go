package group

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// options are the parts of Config that the core knows.
type options struct {
	ElectionTimeout time.Duration
	Seed            uint64
	ApplyEverywhere bool
	alone           bool // all replicas of the group live in this process
	local           map[engine.DriveID]bool
}

func (o *options) beat() time.Duration  { return o.ElectionTimeout / 5 }
func (o *options) lease() time.Duration { return o.ElectionTimeout * 3 / 4 }

// Commands and reads wait this long, beyond the last sign of progress, before they answer that too few replicas are there.
const patienceMax = 1500 * time.Millisecond

// stallMax is how long a leader's drive may take over a write before another replica leads.
const stallMax = time.Second

// patience is how long a replica waits for a leader: an election timeout and a random part of another.
func (c *core) patience() time.Duration {
	return c.options.ElectionTimeout + time.Duration(c.random.Int64N(int64(c.options.ElectionTimeout)))
}

// govern does what follows from the state as a whole and from the time.
func (c *core) govern() {
	c.elect()
	c.settle()
	c.follow()
	c.flush()
	c.settle()
	c.release()
	c.serveReads()
	c.advanceChange()
	c.advanceTransfer()
	c.pruneResults()
	c.giveUp()
}

// elect begins an election where one is due.
func (c *core) elect() {
	leader := c.leaderReplica()
	for _, id := range c.order {
		p := c.replicas[id]
		since, ok := p.oldest()
		p.stalled = ok && c.now.boot >= since+stallMax
	}
	if c.allLocal() {
		if leader != nil && !leader.stalled || c.now.boot < c.campaign || !c.quorumAlive() {
			return
		}
		if c.replaying() {
			return
		}
		c.campaign = c.now.boot + c.options.ElectionTimeout/4
		c.stand(c.candidate(leader))
		return
	}
	for _, id := range c.order {
		p := c.replicas[id]
		if p.alive() && p.isVoter() && p.state != raft.StateLeader && c.now.boot >= p.wait && !p.stalled {
			p.wait = c.now.boot + c.patience()
			c.stand(p)
		}
	}
}

// replaying reports whether entries that are known to be decided wait to be applied. They may change who votes.
func (c *core) replaying() bool {
	for _, id := range c.order {
		if p := c.replicas[id]; p.alive() && !p.stalled && p.applied.index < p.commit {
			return true
		}
	}
	return false
}

// candidate returns the replica that should win an election among those that are there: the one with the longest log and then the
// newest rows; after an attempt that came to nothing, the next one.
func (c *core) candidate(except *replica) *replica {
	type standing struct {
		p           *replica
		term, index uint64
	}
	var list []standing
	for _, id := range c.order {
		p := c.replicas[id]
		if p.alive() && p.isVoter() && !p.stalled && p != except {
			term, index := p.lastID()
			list = append(list, standing{p, term, index})
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b standing) int {
		return cmp.Or(cmp.Compare(b.term, a.term), cmp.Compare(b.index, a.index), cmp.Compare(b.p.applied.index, a.p.applied.index))
	})
	c.attempts++
	return list[(c.attempts-1)%len(list)].p
}

// stand makes a replica a candidate if its own promises allow that.
func (c *core) stand(p *replica) {
	if p == nil || c.now.boot < p.heardRemote+c.options.ElectionTimeout {
		return
	}
	if !c.allLocal() && c.now.boot < c.started+c.options.ElectionTimeout {
		return
	}
	c.dropLease()
	_ = p.node.Campaign()
}

// quorumAlive reports whether the replicas that have not failed, here or elsewhere, can agree.
func (c *core) quorumAlive() bool {
	p := c.newest()
	if p == nil {
		return false
	}
	n := 0
	for _, m := range p.applied.members {
		if m.Learner {
			continue
		}
		if q := c.replicas[m.Replica]; q != nil && q.alive() || !m.local(c) {
			n++
		}
	}
	return n > p.applied.voters()/2
}

// follow notices a change of leadership, and beats and ticks for a local leader.
func (c *core) follow() {
	p := c.leaderReplica()
	if p == nil {
		return
	}
	if b := &c.beats; b.leader != p.id || b.term != p.hard.term {
		*b = beats{leader: p.id, term: p.hard.term}
		c.attempts = 0
	}
	if c.now.boot >= c.beats.next && (!c.allLocal() || c.lagging(p)) {
		p.node.Tick()
		c.startRound()
		c.beats.next = c.now.boot + c.options.beat()
	}
}

// lagging reports whether a replica of this process that could follow does not yet.
func (c *core) lagging(leader *replica) (lags bool) {
	for _, id := range c.order {
		p := c.replicas[id]
		if m, ok := leader.applied.member(id); ok && p.alive() && m.Drive == p.drive && p.last < leader.last {
			return true
		}
	}
	return false
}

// flush hands waiting commands to the local leader, all that arrived since the last batch at once.
func (c *core) flush() {
	p := c.leaderReplica()
	if p == nil || c.beats.given && c.transfer != nil {
		return
	}
	for len(c.batches) > 0 && c.batches[0] <= p.commit {
		c.batches = c.batches[1:]
	}
	if c.lead != (leadership{p.id, p.hard.term}) {
		if p.applied.term != p.hard.term {
			return // what earlier terms left undecided is applied first; only what is lost is proposed again
		}
		c.lead = leadership{p.id, p.hard.term}
		c.batches = nil
		c.requeue()
	}
	for len(c.queue) > 0 && len(c.batches) < pipelineDepth {
		if !c.proposeBatch(p) {
			return
		}
	}
}

// requeue takes back all commands that a former leader took and nobody applied, in the order of their arrival.
func (c *core) requeue() {
	var lost []*proposal
	for _, list := range c.proposed {
		lost = append(lost, list...)
	}
	c.counts.Reproposed += uint64(len(lost))
	clear(c.proposed)
	slices.SortFunc(lost, func(a, b *proposal) int { return cmp.Compare(a.number, b.number) })
	c.queue = append(lost, c.queue...)
}

// proposeBatch appends the next commands to the leader's log.
func (c *core) proposeBatch(p *replica) bool {
	n, size := 0, 0
	m := &raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(p.id)}
	for n < len(c.queue) && n < batchEntries && (n == 0 || size+len(c.queue[n].data) <= messageBytesMax) {
		c.stamp(c.queue[n])
		m.Entries = append(m.Entries, &raftpb.Entry{Data: c.queue[n].data})
		size += len(c.queue[n].data)
		n++
	}
	if err := p.node.Step(m); err != nil {
		return false // the log is full of undecided commands, or the office is being handed over: later
	}
	for _, q := range c.queue[:n] {
		c.proposed[q.key] = append(c.proposed[q.key], q)
	}
	c.queue = c.queue[n:]
	c.ready(p)
	c.batches = append(c.batches, p.last)
	return true
}

// release answers commands. While a local replica leads, a command is answered when that one has applied it, so that a read there sees it.
func (c *core) release() {
	p := c.leaderReplica()
	kept := c.answered[:0]
	for _, q := range c.answered {
		if p != nil && p.applied.index < q.index {
			kept = append(kept, q)
			continue
		}
		c.acked = max(c.acked, q.index)
		c.out.answers = append(c.out.answers, q)
	}
	clear(c.answered[len(kept):])
	c.answered = kept
}

// serveReads lets reads go on that wait for a lease.
func (c *core) serveReads() {
	if len(c.reads) == 0 {
		return
	}
	b := &c.beats
	if n := len(b.rounds); c.now.boot >= b.until && (n == 0 || c.now.boot >= b.rounds[n-1].sent+c.options.beat()/4) {
		c.startRound()
	}
	if l := c.currentLease(); l.held(c.now.boot) {
		c.out.granted = append(c.out.granted, c.reads...)
		c.reads = nil
	}
}

// pruneResults forgets results that every replica has, and the oldest if one lags far behind.
func (c *core) pruneResults() {
	least := ^uint64(0)
	for _, id := range c.order {
		if p := c.replicas[id]; p.alive() {
			least = min(least, p.applied.index)
		}
	}
	c.results = slices.DeleteFunc(c.results, func(r *result) bool { return r.computing == 0 && r.last <= least })
	bytes := 0
	for i := len(c.results) - 1; i >= 0; i-- {
		bytes += c.results[i].bytes
		if len(c.results)-i > resultsMax || bytes > 8*batchBytes {
			c.results = append(c.results[:0:0], c.results[i+1:]...)
			return
		}
	}
}

// giveUp answers commands and reads that have waited too long without any progress, saying what is missing.
func (c *core) giveUp() {
	p := c.leaderReplica()
	if len(c.queue)+len(c.proposed)+len(c.reads) == 0 {
		c.progress = c.now.boot
		return
	}
	limit := c.now.boot - patienceMax
	lost := !c.quorumAlive() && !c.replaying() // what is replayed may change who votes
	if !lost && c.progress > limit && p != nil {
		return
	}
	late := func(since time.Duration) bool { return lost || since <= limit }
	var why error
	explain := func() error {
		if why == nil {
			why = engine.E(engine.KindUnavailable, "%s", c.missing())
		}
		return why
	}
	c.queue = slices.DeleteFunc(c.queue, func(q *proposal) bool { return late(q.since) && c.refuse(q, explain()) })
	for key, list := range c.proposed {
		list = slices.DeleteFunc(list, func(q *proposal) bool { return late(q.since) && c.refuse(q, explain()) })
		if c.proposed[key] = list; len(list) == 0 {
			delete(c.proposed, key)
		}
	}
	c.reads = slices.DeleteFunc(c.reads, func(r *readRequest) bool {
		if !late(r.since) {
			return false
		}
		r.err = explain()
		c.out.granted = append(c.out.granted, r)
		return true
	})
}

func (c *core) refuse(q *proposal, err error) bool {
	q.err = err
	c.out.answers = append(c.out.answers, q)
	return true
}

// missing says in words why nothing goes on.
func (c *core) missing() string {
	p := c.newest()
	if p == nil {
		return fmt.Sprintf("group %d has no replica here", c.group)
	}
	voters := p.applied.voters()
	var here int
	var away []string
	for _, m := range p.applied.members {
		if m.Learner {
			continue
		}
		q := c.replicas[m.Replica]
		switch {
		case q == nil && m.local(c):
			away = append(away, fmt.Sprintf("replica %d on drive %d: %v", m.Replica, m.Drive, c.whyAbsent(m.Drive)))
		case q == nil:
			away = append(away, fmt.Sprintf("replica %d on drive %d of another node does not answer", m.Replica, m.Drive))
		case !q.alive():
			away = append(away, fmt.Sprintf("replica %d on drive %d failed: %v", m.Replica, m.Drive, q.failed))
		case q.stalled:
			away = append(away, fmt.Sprintf("replica %d on drive %d is slow", m.Replica, m.Drive))
		default:
			here++
		}
	}
	if len(away) == 0 {
		return fmt.Sprintf("group %d decided nothing for %v, though all %d replicas are there", c.group, patienceMax, voters)
	}
	return fmt.Sprintf("group %d has %d of %d replicas and needs %d: %s", c.group, here, voters, voters/2+1, strings.Join(away, "; "))
}

var errAbsent = errors.New("the drive is not there, or has no replica of the group")

func (c *core) whyAbsent(drive engine.DriveID) error {
	if err := c.absent[drive]; err != nil {
		return err
	}
	return errAbsent
}

// wake says how soon a tick is wanted. A group at rest in one process wants none.
func (c *core) wake() time.Duration {
	tick := c.options.ElectionTimeout / 10
	if !c.allLocal() {
		return tick
	}
	p := c.leaderReplica()
	if p == nil && c.quorumAlive() || p != nil && (p.stalled || c.lagging(p)) {
		return tick
	}
	if len(c.queue)+len(c.proposed)+len(c.reads)+len(c.answered) > 0 || c.change != nil || c.transfer != nil {
		return tick
	}
	for _, id := range c.order {
		if _, busy := c.replicas[id].oldest(); busy {
			return tick
		}
	}
	return 0
}

// proposeEvent brings a command.
type proposeEvent struct{ p *proposal }

func (e proposeEvent) happen(c *core) {
	e.p.since = c.now.boot
	c.arrivals++
	e.p.number = c.arrivals
	if len(c.queue)+len(c.proposed)+len(c.reads) == 0 {
		c.progress = c.now.boot
	}
	c.queue = append(c.queue, e.p)
}

// forgetEvent takes back a command whose caller is gone. What a log has is decided all the same.
type forgetEvent struct{ p *proposal }

func (e forgetEvent) happen(c *core) {
	same := func(q *proposal) bool { return q == e.p }
	c.queue = slices.DeleteFunc(c.queue, same)
	c.answered = slices.DeleteFunc(c.answered, same)
	if list := slices.DeleteFunc(c.proposed[e.p.key], same); len(list) > 0 {
		c.proposed[e.p.key] = list
	} else {
		delete(c.proposed, e.p.key)
	}
}

// readEvent brings a read that found no lease.
type readEvent struct{ r *readRequest }

func (e readEvent) happen(c *core) {
	e.r.since = c.now.boot
	if len(c.queue)+len(c.proposed)+len(c.reads) == 0 {
		c.progress = c.now.boot
	}
	c.reads = append(c.reads, e.r)
}

// forgetReadEvent takes back a read.
type forgetReadEvent struct{ r *readRequest }

func (e forgetReadEvent) happen(c *core) {
	c.reads = slices.DeleteFunc(c.reads, func(r *readRequest) bool { return r == e.r })
}

// tickEvent lets the core look at the time.
type tickEvent struct{}

func (tickEvent) happen(*core) {}

// messageEvent brings a message from another process.
type messageEvent struct{ m Message }

func (e messageEvent) happen(c *core) {
	switch e.m.Type {
	case MessageBeat:
		c.beat(e.m)
	case MessageBeatAnswer:
		c.beatAnswer(e.m)
	case MessageRaft:
		c.deliver(e.m.Raft, false)
	}
}

// appendedEvent tells that a job's records are durable, or why they are not.
type appendedEvent struct {
	replica   uint64
	job       *appendJob
	sequences []uint64
	err       error
}

func (e appendedEvent) happen(c *core) {
	p := c.replicas[e.replica]
	if p == nil || !p.alive() {
		return
	}
	if e.err != nil {
		c.fail(p, fmt.Errorf("its log cannot be written: %w", e.err))
		return
	}
	for i, l := range e.job.records {
		r := loggedRecord{sequence: e.sequences[i], hard: hardState{l.term, l.vote}, generation: l.generation}
		if n := len(l.entries); n > 0 {
			r.last = l.entries[n-1].GetIndex()
		}
		p.logged = append(p.logged, r)
	}
	e.job.done = true
	e.job.parts = nil
	c.finishAppends(p)
}

// appliedEvent tells that a job's changes are in the rows of its replica, or why not.
type appliedEvent struct {
	job *applyJob
	result
	err error
}

func (e appliedEvent) happen(c *core) {
	p := c.replicas[e.job.replica]
	if p == nil || p.applying != e.job {
		return
	}
	p.applying = nil
	if e.err != nil {
		c.fail(p, fmt.Errorf("its rows cannot be written: %w", e.err))
		return
	}
	if e.job.generation != p.generation {
		return
	}
	c.progress = c.now.boot
	c.counts.Batches++
	c.counts.Applied += uint64(len(e.job.entries))
	switch {
	case e.job.compare != nil:
		c.counts.Compared++
	case e.job.shared != nil:
		c.counts.TakenOver += uint64(len(e.job.entries))
	default:
		c.computed(e)
	}
	members := !slices.Equal(p.applied.members, e.job.record.members)
	p.applied = e.job.record
	if e.job.hard != nil {
		p.stored = *e.job.hard
	}
	if e.job.entries[0].GetType() != raftpb.EntryNormal {
		p.configure(e.job.entries[0])
		p.configured = p.applied.index
		c.noteCommit(p)
	}
	if members {
		c.foreign = c.foreign || slices.ContainsFunc(p.applied.members, func(m Member) bool { return !m.local(c) })
	}
	c.confirm(p)
}

// computed keeps what a replica computed for the others, and hands out the answers.
func (c *core) computed(e appliedEvent) {
	if r := c.resultAt(e.job.first); r != nil && r.computing == e.job.replica {
		r.computing, r.last, r.ops, r.bytes = 0, e.job.last, e.ops, e.bytes
		r.answers = nil
	}
	i := 0
	for _, entry := range e.job.entries {
		if len(entry.GetData()) == 0 {
			continue
		}
		answer := e.answers[i]
		i++
		key, ok := keyOf(entry.GetData())
		if !ok {
			continue
		}
		c.stamped = max(c.stamped, int64(binary.BigEndian.Uint64(entry.GetData()[16:])))
		for _, q := range c.proposed[key] {
			q.answer, q.index = answer, entry.GetIndex()
			c.answered = append(c.answered, q)
		}
		delete(c.proposed, key)
	}
}

// keyOf reads a command's identity.
func keyOf(command []byte) (commandKey, bool) {
	header, ok := meta.ParseHeader(command)
	return commandKey{header.Epoch, header.Number}, ok
}

// flushedEvent tells what is durable in a replica's rows after its drive was flushed.
type flushedEvent struct {
	replica uint64
	durable durable
}

// durable is what a crash leaves in rows.
type durable struct {
	generation uint32 // whose rows were looked at
	applied    uint64
	hard       hardState
	registry   registry
}

func (e flushedEvent) happen(c *core) {
	p := c.replicas[e.replica]
	if p == nil || !p.alive() || e.durable.generation != p.generation || e.durable.applied == 0 {
		return
	}
	d := e.durable
	if d.applied > p.durable {
		p.durable = d.applied
		if first, err := p.storage.FirstIndex(); err == nil && d.applied >= first {
			if err := p.storage.Compact(d.applied); err != nil {
				c.fail(p, err)
				return
			}
		}
	}
	if sequence, ok := p.releasable(d); ok {
		c.out.releases = append(c.out.releases, releaseEffect{p.id, sequence})
	}
	if len(p.logged) > 0 && p.stored != p.hard && p.applying == nil && len(p.appends) == 0 {
		c.out.touches = append(c.out.touches, touchEffect{p.id, p.generation, p.hard})
		p.stored = p.hard
	}
}
