package group

import (
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// replica is one local member as the core sees it.
type replica struct {
	id         uint64
	drive      engine.DriveID
	generation uint32
	spare      uint32        // the next generation for rows to be received; none is used twice
	node       *raft.RawNode // nil once failed or removed
	storage    *storage
	store      meta.Store // of the valid generation; the core hands it on and never calls it
	failed     error      // why it takes no part any more

	leader     uint64 // that it follows, or 0
	state      raft.StateType
	hard       hardState // newest that went to its log
	commit     uint64
	configured uint64 // index at which its members changed last, 0 if before the start
	noted      uint64 // commit index that its log has for sure
	last       uint64 // index of its newest entry

	applied applied   // what its rows say
	stored  hardState // what its rows say of hard
	durable uint64    // index that a crash leaves its rows at

	appends   []*appendJob    // under way or waiting, in order
	committed []*raftpb.Entry // to apply, in order
	owed      []*raftpb.Entry // of which the node waits to hear that they are applied, in order
	applying  *applyJob       // under way, at most one
	logged    []loggedRecord  // in the log, not released
	install   *installJob     // a snapshot that is being received or made valid

	heard       time.Duration // when it last heard of any leader
	heardRemote time.Duration // … of one in another process
	wait        time.Duration // when it campaigns unless it hears of a leader
	stalled     bool          // its drive answers too slowly to lead
}

// hardState is what a voter may never forget.
type hardState struct{ term, vote uint64 }

// loggedRecord is what the core remembers of a record in the log, to know when nobody needs it.
type loggedRecord struct {
	sequence   uint64
	last       uint64 // index of its newest entry, 0 if it has none
	hard       hardState
	generation uint32
}

// appendJob is one append of a replica: what is written, and what follows once that is durable.
type appendJob struct {
	id        uint64
	records   []logRecord
	parts     [][][]byte // of the records
	entries   []*raftpb.Entry
	snapshot  *raftpb.Snapshot
	base      *applied
	responses []*raftpb.Message
	started   time.Duration
	done      bool
}

// applyJob is a range of committed entries on its way into the rows of one replica.
type applyJob struct {
	replica     uint64
	generation  uint32
	entries     []*raftpb.Entry
	first, last uint64
	shared      *result // whose changes are taken over; nil: compute them
	compare     *result // whose changes must equal the computed ones, or nil
	record      applied
	hard        *hardState // to store too, or nil
	started     time.Duration
}

// result is what applying a range of entries comes to. Ops ends with the row of the applied record.
type result struct {
	first, last uint64
	computing   uint64 // replica at work, 0 when done
	since       time.Duration
	ops         []meta.Op
	answers     [][]byte // of the entries that have data, in order
	bytes       int
}

// installJob replaces the rows of a replica by those of another.
type installJob struct {
	generation uint32
	message    *raftpb.Message
	base       *applied // once all rows are there and flushed
	store      meta.Store
	accepted   bool // by the consensus: it becomes valid with the next append
}

// storage is the part of a log that is in memory. Its snapshot is what the replica's rows say.
type storage struct {
	*raft.MemoryStorage
	applied *applied
}

// Snapshot implements raft.Storage.
func (s *storage) Snapshot() (*raftpb.Snapshot, error) {
	if s.applied.index == 0 {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return s.applied.snapshot(), nil
}

func (a *applied) snapshot() *raftpb.Snapshot {
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: a.confState(), Index: new(a.index), Term: new(a.term)}}
}

// Bounds of what is under way at once.
const (
	messageBytesMax  = 1 << 20 // of entries in one message
	inflightMessages = 64
	inflightBytes    = 8 << 20
	uncommittedBytes = 16 << 20
	applyingBytes    = 8 << 20
	recordEntryBytes = 1 << 20 // of entries in one log record, if it has more than one
	batchEntries     = 512     // applied at once
	batchBytes       = 4 << 20
	resultsMax       = 64 // kept for replicas that lag
	pipelineDepth    = 4  // batches of proposals not yet committed
)

// newReplica makes a replica from what was recovered.
func newReplica(r *recovered) (*replica, error) {
	p := &replica{
		id: r.replica, drive: r.drive, generation: r.generation, spare: r.generation + 1, applied: r.applied, hard: r.hard, stored: r.stored,
		durable: r.applied.index, logged: r.logged, commit: max(r.applied.index, r.commit), last: r.applied.index,
	}
	p.noted = p.commit
	p.storage = &storage{MemoryStorage: raft.NewMemoryStorage(), applied: &p.applied}
	if r.applied.index > 0 {
		if err := p.storage.ApplySnapshot(r.applied.snapshot()); err != nil {
			return nil, err
		}
		if err := p.storage.Append(r.entries); err != nil {
			return nil, err
		}
		p.last += uint64(len(r.entries))
	}
	if p.hard != (hardState{}) || p.commit > 0 {
		h := &raftpb.HardState{Term: new(p.hard.term), Vote: new(p.hard.vote), Commit: new(p.commit)}
		if err := p.storage.SetHardState(h); err != nil {
			return nil, err
		}
	}
	node, err := raft.NewRawNode(&raft.Config{
		ID: p.id, ElectionTick: 10, HeartbeatTick: 1, Storage: p.storage, Applied: p.applied.index, AsyncStorageWrites: true,
		MaxSizePerMsg: messageBytesMax, MaxCommittedSizePerReady: applyingBytes, MaxUncommittedEntriesSize: uncommittedBytes,
		MaxInflightMsgs: inflightMessages, MaxInflightBytes: inflightBytes, PreVote: true, DisableProposalForwarding: true,
		StepDownOnRemoval: true, Logger: quiet{},
	})
	p.node = node
	return p, err
}

// lastID returns term and index of the newest entry, for choosing who campaigns.
func (p *replica) lastID() (term, index uint64) {
	index, _ = p.storage.LastIndex()
	term, _ = p.storage.Term(index)
	return term, index
}

// receive reserves a generation for the rows that follow a message.
func (p *replica) receive(m *raftpb.Message) uint32 {
	p.install = &installJob{generation: p.spare, message: m}
	p.spare++
	return p.install.generation
}

// logging is the generation of the records that are written now: once a snapshot is accepted, what follows belongs to its generation.
func (p *replica) logging() uint32 {
	if p.install != nil && p.install.accepted {
		return p.install.generation
	}
	return p.generation
}

func (p *replica) alive() bool { return p.node != nil }

// isVoter reports whether the replica votes, as far as it knows.
func (p *replica) isVoter() bool {
	m, ok := p.applied.member(p.id)
	return ok && !m.Learner
}

func (a *applied) member(id uint64) (Member, bool) {
	for _, m := range a.members {
		if m.Replica == id {
			return m, true
		}
	}
	return Member{}, false
}

func (a *applied) voters() (n int) {
	for _, m := range a.members {
		if !m.Learner {
			n++
		}
	}
	return n
}

// oldest returns since when the oldest write of the replica is under way.
func (p *replica) oldest() (since time.Duration, ok bool) {
	if len(p.appends) > 0 {
		since, ok = p.appends[0].started, true
	}
	if p.applying != nil && (!ok || p.applying.started < since) {
		since, ok = p.applying.started, true
	}
	return since, ok
}

// releasable returns the newest record that is not needed any more, given what is durable in rows, and forgets what is released.
func (p *replica) releasable(d durable) (sequence uint64, ok bool) {
	n := 0
	for n < len(p.logged) {
		r := &p.logged[n]
		if r.last > d.applied || r.generation > d.registry.generation {
			break
		}
		// A later record has the hard state too; the last one goes only when the rows have it.
		if n == len(p.logged)-1 && (len(p.appends) > 0 || d.hard != p.hard) {
			break
		}
		sequence, ok = r.sequence, true
		n++
	}
	p.logged = append(p.logged[:0:0], p.logged[n:]...)
	return sequence, ok
}
