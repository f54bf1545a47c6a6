package group

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// The core is the group without goroutines, clocks and disks: events go in, effects come out, and the same events in the same order
// give the same effects. Its driver (Group, or the simulation) performs the effects and tells of their ends by further events.
type core struct {
	group    engine.GroupID
	options  options
	random   *rand.Rand
	replicas map[uint64]*replica // of this process, failed ones too
	order    []uint64            // their ids, ascending, so that nothing depends on the order of a map
	now      instant
	started  time.Duration
	arrivals uint64                   // of commands
	foreign  bool                     // the log may hold a configuration with replicas of other processes
	absent   map[engine.DriveID]error // why the replicas of drives did not come up

	inbox   []*raftpb.Message // to local replicas
	jobs    uint64            // number of the last appendJob
	encoded encodedEntries
	results []*result // by first index, for the local replicas that have not taken them over

	beats    beats
	queue    []*proposal                // not yet handed to a leader
	proposed map[commandKey][]*proposal // in a leader's log, or lost with its term
	lead     leadership                 // of a local replica: the last one that took proposals
	batches  []uint64                   // last indexes of the batches of proposals not committed
	answered []*proposal                // applied somewhere, not yet at the leader
	acked    uint64                     // greatest index answered
	reads    []*readRequest             // waiting for a lease
	change   *change                    // of the membership, under way
	transfer *transferRequest           // of leadership
	copies   map[uint64]*snapshotCopy   // under way, by receiver
	stamped  int64                      // greatest time given to a command
	progress time.Duration              // when something was last applied, or there was nothing to do
	campaign time.Duration              // when the next election may begin in a group that is all local
	attempts int                        // to elect a leader, since there was one
	counts   Counts
	out      effects
}

// instant is what a driver's clocks say: boot never stops nor jumps, wall is unix nanoseconds.
type instant struct {
	boot time.Duration
	wall int64
}

// leadership is who takes proposals.
type leadership struct{ replica, term uint64 }

// Counts says how often things happened since the start.
type Counts struct {
	Elections  uint64 // won by a replica of this process
	Snapshots  uint64 // received by a replica of this process
	Failed     uint64 // replicas
	Rounds     uint64 // of beats
	Applied    uint64 // entries, by each replica
	TakenOver  uint64 // entries whose rows came from another replica of the process
	Batches    uint64 // applied
	Appends    uint64 // log records
	Compared   uint64 // batches computed again and found equal
	Reproposed uint64 // commands
}

// commandKey identifies a command.
type commandKey struct{ epoch, number uint64 }

// proposal is a command and who waits for it.
type proposal struct {
	number uint64 // in order of arrival
	key    commandKey
	data   []byte
	since  time.Duration
	answer []byte
	index  uint64
	err    error
	done   chan struct{} // closed by the driver; nil in the simulation
}

// readRequest waits for a lease.
type readRequest struct {
	since time.Duration
	err   error
	done  chan struct{}
	tag   any
}

type event interface{ happen(c *core) }

// effects is what a step asks its driver for. The lease must be made known before anything is sent or written.
type effects struct {
	lease    *lease
	appends  []appendEffect
	applies  []*applyJob
	sends    []Message
	answers  []*proposal
	granted  []*readRequest
	copies   []*snapshotCopy
	resets   []resetEffect
	releases []releaseEffect
	touches  []touchEffect
	changes  []*change
	moved    []*transferRequest
	wake     time.Duration // how soon a tick is wanted; 0: not before something happens
}

// appendEffect writes the parts of each record to the log of a replica, in order.
type appendEffect struct {
	replica uint64
	job     *appendJob
}

// releaseEffect frees the log of a replica up to sequence.
type releaseEffect struct {
	replica  uint64
	sequence uint64
}

// resetEffect makes generation the one that readers and appliers of a replica use, and drops another. Removed replicas lose their rows.
type resetEffect struct {
	replica    uint64
	drive      engine.DriveID
	generation uint32 // valid now; of a removed replica the next one
	drop       uint32 // 0: none
	removed    bool
}

// touchEffect stores a hard state that no apply has carried into the rows.
type touchEffect struct {
	replica    uint64
	generation uint32
	hard       hardState
}

// snapshotCopy copies the rows of a local replica into a new generation of another.
type snapshotCopy struct {
	from, to       uint64
	fromGeneration uint32
	generation     uint32 // of the receiver; 0: it is in another process
	message        *raftpb.Message
	drive          engine.DriveID // of a receiver in another process
}

func newCore(group engine.GroupID, o options, recovered []*recovered, now instant) (*core, error) {
	c := &core{
		group: group, options: o, random: rand.New(rand.NewPCG(o.Seed, uint64(group))), replicas: map[uint64]*replica{},
		now: now, started: now.boot, progress: now.boot, proposed: map[commandKey][]*proposal{}, copies: map[uint64]*snapshotCopy{},
	}
	shareCommit(recovered)
	for _, r := range recovered {
		if err := c.add(r); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// shareCommit lets all replicas know how far one knows entries to be decided: a log that has the same entry at that index has the same
// ones before it. So a member that was removed, and knows it, is not needed for another to learn it.
func shareCommit(recovered []*recovered) {
	var index, term uint64
	for _, r := range recovered {
		if at := max(r.commit, r.applied.index); at > index {
			index, term = at, r.termAt(at)
		}
	}
	for _, r := range recovered {
		if r.termAt(index) == term {
			r.commit = index
		}
	}
}

func (c *core) add(r *recovered) error {
	p, err := newReplica(r)
	if err != nil {
		return engine.E(engine.KindInternal, "group %d: replica %d does not start: %w", c.group, r.replica, err)
	}
	p.store = r.store
	p.heardRemote, p.heard = -1<<62, -1<<62
	p.wait = c.now.boot + c.patience()
	c.replicas[p.id] = p
	c.order = append(c.order, p.id)
	slices.Sort(c.order)
	for _, e := range r.entries {
		if m, _, ok := decodeChange(e); ok && !m.local(c) {
			c.foreign = true
		}
	}
	return nil
}

// step takes events and returns what is to be done.
func (c *core) step(now instant, events ...event) effects {
	c.now = now
	for _, e := range events {
		e.happen(c)
		c.settle()
	}
	c.govern()
	c.settle()
	out := c.out
	out.lease = c.currentLease()
	out.wake = c.wake()
	c.out = effects{}
	return out
}

// settle lets messages and applies begin until all is quiet. A change of configuration that takes effect begins new messages.
func (c *core) settle() {
	for again := true; again; again = c.unsettled() {
		c.exchange()
		for _, id := range c.order {
			c.scheduleApply(c.replicas[id])
		}
	}
}

// exchange delivers messages between local replicas and takes what they ask for.
func (c *core) exchange() {
	for {
		for _, id := range c.order {
			c.ready(c.replicas[id])
		}
		if len(c.inbox) == 0 {
			break
		}
		inbox := c.inbox
		c.inbox = nil
		for _, m := range inbox {
			c.deliver(m, true)
		}
	}
	if c.beats.until != 0 && c.overtaken(c.beats.term) {
		c.dropLease()
	}
}

// unsettled reports whether a replica asks for something.
func (c *core) unsettled() bool {
	for _, id := range c.order {
		if p := c.replicas[id]; p.alive() && p.node.HasReady() {
			return true
		}
	}
	return len(c.inbox) > 0
}

// deliver hands a message to a local replica, unless a promise forbids it to hear it.
func (c *core) deliver(m *raftpb.Message, local bool) {
	p := c.replicas[m.GetTo()]
	if p == nil || !p.alive() {
		return
	}
	switch m.GetType() {
	case raftpb.MsgVote, raftpb.MsgPreVote:
		if c.promised(p, m, local) {
			return
		}
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		if m.GetTerm() >= p.hard.term {
			c.hear(p, local)
		}
		if m.GetType() == raftpb.MsgHeartbeat && m.GetTerm() >= p.hard.term && m.GetCommit() > p.last {
			c.fail(p, engine.E(engine.KindDamaged, "its log ends at entry %d, but it acknowledged entry %d; remove the replica and add another",
				p.last, m.GetCommit()))
			return
		}
	}
	// A message that does not fit is dropped by the library, which says so in an error; nothing else follows from it.
	_ = p.node.Step(m)
	c.ready(p)
}

// promised reports whether a replica must ignore a candidate, because a leader that it heard of may still hold a lease. A leader that
// transfers its office has dropped its lease for good, so votes in a transfer are free.
func (c *core) promised(p *replica, m *raftpb.Message, local bool) bool {
	if string(m.GetContext()) == "CampaignTransfer" {
		return false
	}
	timeout := c.options.ElectionTimeout
	if local && c.now.boot < p.heardRemote+timeout {
		return true
	}
	if local && c.allLocal() {
		return false
	}
	if c.now.boot < c.started+timeout {
		return true
	}
	return !local && c.now.boot < p.heard+timeout
}

// allLocal reports whether every replica of the group lives in this process, in each configuration that may be in force.
func (c *core) allLocal() bool {
	if c.foreign {
		return false
	}
	for _, id := range c.order {
		for _, m := range c.replicas[id].applied.members {
			if !m.local(c) {
				return false
			}
		}
	}
	return true
}

// local reports whether a member's drive belongs to this process, be it there or not.
func (m Member) local(c *core) bool { return c.options.alone || c.options.local[m.Drive] }

// ready takes what a replica asks for.
func (c *core) ready(p *replica) {
	for p.alive() && p.node.HasReady() {
		rd := p.node.Ready()
		if rd.SoftState != nil {
			if rd.SoftState.RaftState == raft.StateLeader && p.state != raft.StateLeader {
				c.counts.Elections++
			}
			p.leader, p.state = rd.SoftState.Lead, rd.SoftState.RaftState
		}
		if !raft.IsEmptyHardState(rd.HardState) {
			p.hard = hardState{rd.HardState.GetTerm(), rd.HardState.GetVote()}
			p.commit = rd.HardState.GetCommit()
		}
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				c.append(p, m)
			case raft.LocalApplyThread:
				p.committed = append(p.committed, m.GetEntries()...)
				p.owed = append(p.owed, m.GetEntries()...)
			default:
				c.send(p, m)
			}
		}
	}
}

// send hands a message of a replica to another, in this process or not.
func (c *core) send(p *replica, m *raftpb.Message) {
	if m.GetType() == raftpb.MsgSnap {
		c.startCopy(p, m)
		return
	}
	if q := c.replicas[m.GetTo()]; q != nil {
		if q.alive() {
			c.inbox = append(c.inbox, m)
		}
		return
	}
	if drive := c.driveOf(m.GetTo()); drive != 0 {
		c.out.sends = append(c.out.sends, Message{
			Group: c.group, Type: MessageRaft, From: p.id, To: m.GetTo(), Drive: drive, Term: m.GetTerm(), Raft: m})
	}
}

// driveOf returns the drive of a member of any configuration that a local replica knows, or 0.
func (c *core) driveOf(id uint64) engine.DriveID {
	for _, local := range c.order {
		if m, ok := c.replicas[local].applied.member(id); ok {
			return m.Drive
		}
	}
	return 0
}

// encodedEntries remembers the last entries encoded: the replicas of a process append the same ones, as the same bytes.
type encodedEntries struct {
	entries []*raftpb.Entry
	parts   [][]byte
}

func (e *encodedEntries) of(entries []*raftpb.Entry) [][]byte {
	n := len(entries)
	if n == 0 {
		return encodeEntries(nil, nil)
	}
	if len(e.entries) != n || e.entries[0] != entries[0] || e.entries[n-1] != entries[n-1] {
		e.entries, e.parts = entries, encodeEntries(nil, entries)
	}
	return e.parts
}

// append begins a write to a replica's log. A mere advance of the commit index is not written: it is found again by an election.
func (c *core) append(p *replica, m *raftpb.Message) {
	c.jobs++
	job := &appendJob{id: c.jobs, entries: m.GetEntries(), responses: m.GetResponses(), started: c.now.boot}
	if !raft.IsEmptySnap(m.GetSnapshot()) {
		job.snapshot, job.base = m.GetSnapshot(), p.install.base
		p.install.accepted = true
		p.committed = nil
		p.last = job.base.index
	}
	if n := len(job.entries); n > 0 {
		p.last = job.entries[n-1].GetIndex()
	}
	c.cutRecords(p, job)
	c.begin(p, job)
}

// begin hands a job to the log, or lets follow at once what waits for nothing.
func (c *core) begin(p *replica, job *appendJob) {
	p.appends = append(p.appends, job)
	if len(job.records) == 0 {
		job.done = true
		c.finishAppends(p)
		return
	}
	c.counts.Appends += uint64(len(job.records))
	c.out.appends = append(c.out.appends, appendEffect{replica: p.id, job: job})
}

// noteCommit makes durable that a change of the configuration is decided. Rows may lag far behind: without this a replica could come up
// with a configuration whose members are long gone, and no other could win its vote.
func (c *core) noteCommit(p *replica) {
	c.jobs++
	job := &appendJob{id: c.jobs, started: c.now.boot}
	l := logRecord{registry: registry{p.logging(), p.id}, term: p.hard.term, vote: p.hard.vote, commit: p.applied.index}
	job.records = []logRecord{l}
	job.parts = [][][]byte{l.parts()}
	c.begin(p, job)
}

// written is the hard state that the log has, or will have once what is under way is.
func (p *replica) written() hardState {
	for i := len(p.appends) - 1; i >= 0; i-- {
		if n := len(p.appends[i].records); n > 0 {
			return hardState{p.appends[i].records[n-1].term, p.appends[i].records[n-1].vote}
		}
	}
	if n := len(p.logged); n > 0 {
		return p.logged[n-1].hard
	}
	return p.stored
}

// cutRecords makes the records of a job: none if nothing must be remembered, several if the entries are many.
func (c *core) cutRecords(p *replica, job *appendJob) {
	if len(job.entries) == 0 && job.snapshot == nil && p.written() == p.hard {
		return
	}
	entries := job.entries
	base := job.base
	for first := true; first || len(entries) > 0; first = false {
		n, size := 0, 0
		for n < len(entries) && (n == 0 || size+len(entries[n].GetData()) <= recordEntryBytes) {
			size += len(entries[n].GetData()) + 24
			n++
		}
		l := logRecord{
			registry: registry{p.logging(), p.id}, term: p.hard.term, vote: p.hard.vote, commit: min(p.commit, p.last),
			base: base, entries: entries[:n:n],
		}
		if n < len(entries) {
			l.commit = min(l.commit, entries[n-1].GetIndex()) // a crash may lose the records that follow
		}
		job.records = append(job.records, l)
		parts := [][]byte{l.head()}
		job.parts = append(job.parts, append(parts, c.encoded.of(l.entries)...))
		entries, base = entries[n:], nil
	}
}

// finishAppends lets follow what waited for writes that are durable, in the order of the writes.
func (c *core) finishAppends(p *replica) {
	for p.alive() && len(p.appends) > 0 && p.appends[0].done {
		job := p.appends[0]
		p.appends = p.appends[1:]
		if job.snapshot != nil {
			c.installed(p, job)
			if !p.alive() {
				return
			}
		}
		if n := len(job.records); n > 0 {
			p.noted = max(p.noted, job.records[n-1].commit)
		}
		if err := p.storage.Append(job.entries); err != nil {
			c.fail(p, err)
			return
		}
		for _, m := range job.responses {
			if m.GetTo() == p.id {
				_ = p.node.Step(m)
			} else {
				c.send(p, m)
			}
		}
		if job.snapshot != nil {
			c.confirm(p)
		}
	}
}

// scheduleApply begins to apply what is committed, if the replica is not at it.
func (c *core) scheduleApply(p *replica) {
	if !p.alive() || p.applying != nil || len(p.committed) == 0 || p.install != nil && p.install.accepted {
		return
	}
	first := p.committed[0].GetIndex()
	job := &applyJob{replica: p.id, generation: p.generation, first: first, started: c.now.boot}
	job.record = applied{members: p.applied.members}
	if p.committed[0].GetType() != raftpb.EntryNormal {
		job.entries = p.committed[:1]
		job.record.members = membersAfter(p.applied.members, p.committed[0])
		job.shared = &result{first: first, last: first}
	} else if !c.choose(p, job) {
		return
	}
	last := job.entries[len(job.entries)-1]
	job.last = last.GetIndex()
	job.record.index, job.record.term = last.GetIndex(), last.GetTerm()
	if p.hard != p.stored {
		h := p.hard
		job.hard = &h
	}
	p.committed = p.committed[len(job.entries):]
	p.applying = job
	c.out.applies = append(c.out.applies, job)
}

// choose decides whether a replica computes the changes of the next entries, takes over those that another has computed, or waits
// for one that is at it.
func (c *core) choose(p *replica, job *applyJob) bool {
	r := c.resultAt(job.first)
	switch {
	case r == nil:
		job.entries = bounded(p.committed)
		last := job.entries[len(job.entries)-1].GetIndex()
		c.results = append(c.results, &result{first: job.first, last: last, computing: p.id, since: c.now.boot})
		return true
	case r.computing != 0:
		q := c.replicas[r.computing]
		if q != nil && q.alive() && q.applying != nil && c.now.boot < r.since+c.options.ElectionTimeout/2 {
			return false
		}
		r.computing, r.since = p.id, c.now.boot
		job.entries = bounded(p.committed)
		r.last = job.entries[len(job.entries)-1].GetIndex()
		return true
	}
	n := int(r.last - r.first + 1)
	if n > len(p.committed) {
		// A leader will tell soon that the rest is decided, too; without one the replica goes on alone.
		if c.leaderReplica() == nil {
			job.entries = bounded(p.committed)
		}
		return job.entries != nil
	}
	job.entries = p.committed[:n:n]
	if c.options.ApplyEverywhere {
		job.compare = r
	} else {
		job.shared = r
	}
	return true
}

func (c *core) resultAt(first uint64) *result {
	for _, r := range c.results {
		if r.first == first {
			return r
		}
	}
	return nil
}

// bounded returns the entries that go into one batch.
func bounded(entries []*raftpb.Entry) []*raftpb.Entry {
	n, size := 0, 0
	for n < len(entries) && n < batchEntries && entries[n].GetType() == raftpb.EntryNormal && (n == 0 || size < batchBytes) {
		size += len(entries[n].GetData())
		n++
	}
	return entries[:n:n]
}

// membersAfter returns the members that a configuration change leaves.
func membersAfter(members []Member, e *raftpb.Entry) []Member {
	m, cc, ok := decodeChange(e)
	if !ok {
		return members
	}
	members = slices.DeleteFunc(slices.Clone(members), func(o Member) bool { return o.Replica == m.Replica })
	if cc.Changes[0].GetType() != raftpb.ConfChangeRemoveNode {
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Replica, b.Replica) })
	return members
}

// configure makes a configuration change take effect in a replica whose rows have it.
func (p *replica) configure(e *raftpb.Entry) {
	_, cc, ok := decodeChange(e)
	if !ok {
		cc = &raftpb.ConfChangeV2{}
	}
	p.node.ApplyConfChange(cc)
}

// decodeChange reads a configuration change: always of one member, whose drive is in the context.
func decodeChange(e *raftpb.Entry) (m Member, cc *raftpb.ConfChangeV2, ok bool) {
	if e.GetType() != raftpb.EntryConfChangeV2 {
		return m, nil, false
	}
	cc = &raftpb.ConfChangeV2{}
	if err := proto.Unmarshal(e.GetData(), cc); err != nil || len(cc.Changes) != 1 || len(cc.Context) != 8 {
		return m, cc, false
	}
	m = Member{Replica: cc.Changes[0].GetNodeId(), Drive: engine.DriveID(binary.BigEndian.Uint64(cc.Context))}
	m.Learner = cc.Changes[0].GetType() == raftpb.ConfChangeAddLearnerNode
	return m, cc, true
}

// confirm tells a replica's node which entries its rows have, batch by batch: the log may be cut only below what the node knows. Entries
// that a snapshot made needless are confirmed with it.
func (c *core) confirm(p *replica) {
	n := 0
	for n < len(p.owed) && p.owed[n].GetIndex() <= p.applied.index {
		n++
	}
	if n == 0 {
		return
	}
	_ = p.node.Step(&raftpb.Message{
		Type: raftpb.MsgStorageApplyResp.Enum(), From: new(raft.LocalApplyThread), To: new(p.id), Term: new(uint64(0)),
		Entries: p.owed[:n:n]})
	p.owed = p.owed[n:]
}

// fail ends a replica for this run of the process.
func (c *core) fail(p *replica, err error) {
	if !p.alive() {
		return
	}
	if p.id == c.beats.leader {
		c.dropLease()
	}
	c.counts.Failed++
	p.failed, p.node = err, nil
	p.leader, p.state = 0, raft.StateFollower
	p.appends, p.committed, p.owed, p.applying, p.install = nil, nil, nil, nil, nil
	c.campaign = c.now.boot
}

// leaderReplica returns the local replica that leads in the newest term, or nil.
func (c *core) leaderReplica() (leader *replica) {
	for _, id := range c.order {
		p := c.replicas[id]
		if p.alive() && p.state == raft.StateLeader && (leader == nil || p.hard.term > leader.hard.term) {
			leader = p
		}
	}
	return leader
}

// newest returns the local replica whose rows are newest: it knows the configuration best.
func (c *core) newest() (best *replica) {
	if p := c.leaderReplica(); p != nil {
		return p
	}
	for _, id := range c.order {
		p := c.replicas[id]
		if best == nil || p.alive() && (!best.alive() || p.applied.index > best.applied.index) {
			best = p
		}
	}
	return best
}

// errStopped answers what was under way when the group was closed.
var errStopped = errors.New("the group was closed")

// stamp fills in the time of a command: never backwards.
func (c *core) stamp(p *proposal) {
	c.stamped = max(c.now.wall, c.stamped)
	meta.SetStamp(p.data, c.stamped)
}

// Entries are shared by all replicas of a process; nobody changes them.
func metaEntries(entries []*raftpb.Entry) []meta.Entry {
	var list []meta.Entry
	for _, e := range entries {
		if e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0 {
			list = append(list, meta.Entry{Index: e.GetIndex(), Term: e.GetTerm(), Data: e.GetData()})
		}
	}
	return list
}
