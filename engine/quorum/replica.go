package quorum

import (
	"context"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// replica is a member that lives on a drive of this process.
type replica struct {
	registry
	id      uint64
	driveID engine.DriveID
	drive   Drive

	// Owned by the loop.
	node        *raft.RawNode
	storage     *raft.MemoryStorage
	failed      error
	pending     []*appending // appends under way, in order
	term, vote  uint64       // as last given to the log
	lastIndex   uint64       // of the last entry given to the log, which may not be durable yet
	lastTerm    uint64
	cancelFlush func()
	diverged    bool // see strays; while the log is loaded

	// Guarded by the group's mu.
	failedLocked   error
	records        []record // in the drive's log and not released
	hardTerm       uint64   // as the log has it durably
	hardVote       uint64
	hardCommitting bool
	store          meta.Store
	state          applied
	told           uint64          // index up to which the node knows that entries are applied; it may ask for those after it
	queue          []*raftpb.Entry // committed, not applied
	responses      []response      // to give when the queue is applied as far
	installing     bool            // a snapshot replaces the store
	computing      bool
	removed        bool
}

// record is what the loop remembers of a log record.
type record struct {
	sequence   uint64
	last       uint64 // greatest index of its entries, 0 without
	term, vote uint64
}

// appending is a MsgStorageAppend whose write is under way.
type appending struct {
	m      *raftpb.Message
	done   bool
	record *record
}

type response struct {
	index uint64
	m     []*raftpb.Message
}

func loadApplied(view meta.Reader) (applied, error) {
	value, ok, err := view.Get(appliedKey)
	if err != nil {
		return applied{}, err
	}
	if !ok {
		return applied{}, nil
	}
	return decodeApplied(value)
}

// openReplica reads what a drive has of the group; nil if it has no replica.
func (g *Group) openReplica(id engine.DriveID, d Drive) (*replica, error) {
	value, ok, err := d.Store(registryPrefix(g.config.ID)).Get(registryKey)
	if err != nil || !ok {
		return nil, err
	}
	r := &replica{driveID: id, drive: d, storage: raft.NewMemoryStorage()}
	if r.registry, err = decodeRegistry(value); err != nil {
		return nil, fmt.Errorf("the registry of group %d: %w", g.config.ID, err)
	}
	r.id = r.registry.replica
	r.store = d.Store(storePrefix(g.config.ID, r.generation))
	if r.state, err = loadApplied(r.store); err != nil {
		return nil, fmt.Errorf("how far group %d was applied: %w", g.config.ID, err)
	}
	if err := r.loadLog(g.config.ID); err != nil {
		return nil, err
	}
	r.node, err = raft.NewRawNode(raftConfig(r.id, r.storage, r.state.index, raftLogger{g.config.Logger}))
	return r, err
}

// loadLog fills the storage from the rows and the records that the drive recovered.
func (r *replica) loadLog(group engine.GroupID) error {
	if value, ok, err := r.store.Get(hardKey); err != nil {
		return err
	} else if ok {
		if r.term, r.vote, err = decodeHard(value); err != nil {
			return fmt.Errorf("the hard state of group %d: %w", group, err)
		}
	}
	if r.state.index > 0 {
		metadata := &raftpb.SnapshotMetadata{Index: &r.state.index, Term: &r.state.term, ConfState: r.state.confState()}
		if err := r.storage.ApplySnapshot(&raftpb.Snapshot{Metadata: metadata}); err != nil {
			return err
		}
	}
	for _, found := range r.drive.Recovered(group) {
		l, err := decodeLogRecord(found.Payload)
		if err != nil {
			return fmt.Errorf("record %d of group %d: %w", found.Sequence, group, err)
		}
		if err := r.recover(found.Sequence, &l); err != nil {
			return err
		}
	}
	r.hardTerm, r.hardVote = r.term, r.vote
	r.told = r.state.index
	commit := r.state.index
	return r.storage.SetHardState(&raftpb.HardState{Term: &r.term, Vote: &r.vote, Commit: &commit})
}

// recover takes one record of the log. One of another replica's life says nothing. Generations are of the rows: the log goes on over them,
// unless the entry at which the newer rows begin is not the one that they were made of.
func (r *replica) recover(sequence uint64, l *logRecord) error {
	kept := record{sequence: sequence, term: l.term, vote: l.vote}
	if l.replica != r.id {
		r.records = append(r.records, record{sequence: sequence})
		return nil
	}
	if l.term >= r.term {
		r.term, r.vote = l.term, l.vote
	}
	n := len(l.entries)
	if n > 0 && l.generation != r.generation && r.strays(l.entries) {
		n = 0
	}
	if n > 0 {
		kept.last = l.entries[n-1].GetIndex()
		last, _ := r.storage.LastIndex()
		if first := l.entries[0].GetIndex(); first > last+1 {
			return fmt.Errorf("the log has entry %d after entry %d: records are missing, so this replica is not believed", first, last)
		}
		if err := r.storage.Append(l.entries); err != nil {
			return err
		}
	}
	r.records = append(r.records, kept)
	return nil
}

// last returns the index and term of the replica's last entry, durable or on its way: by these it votes.
func (r *replica) last() (index, term uint64) {
	index, _ = r.storage.LastIndex()
	term, _ = r.storage.Term(index)
	if r.lastTerm > term || r.lastTerm == term && r.lastIndex > index {
		return r.lastIndex, r.lastTerm
	}
	return index, term
}

// strays reports whether entries of an older generation are no part of the log that the rows were made of.
func (r *replica) strays(entries []*raftpb.Entry) bool {
	for _, e := range entries {
		if e.GetIndex() == r.state.index {
			r.diverged = e.GetTerm() != r.state.term
		}
	}
	last, _ := r.storage.LastIndex()
	return r.diverged || entries[0].GetIndex() > last+1
}

func (r *replica) voter() bool {
	_, ok := r.node.Status().Config.Voters.IDs()[r.id]
	return ok
}

// append writes what a node wants on its drive. The commit index alone needs no write: it follows from the rows.
func (g *Group) append(r *replica, m *raftpb.Message) {
	a := &appending{m: m}
	r.pending = append(r.pending, a)
	hard := m.Term != nil && (m.GetTerm() != r.term || m.GetVote() != r.vote)
	if m.Term != nil {
		r.term, r.vote = m.GetTerm(), m.GetVote()
	}
	if !hard && len(m.GetEntries()) == 0 {
		a.done = true
		g.appended(r)
		return
	}
	l := logRecord{registry: r.registry, term: r.term, vote: r.vote, entries: m.GetEntries()}
	a.record = &record{term: r.term, vote: r.vote}
	if n := len(l.entries); n > 0 {
		a.record.last = l.entries[n-1].GetIndex()
		r.lastIndex, r.lastTerm = a.record.last, l.entries[n-1].GetTerm()
	}
	a.record.sequence = r.drive.Append(g.config.ID, l.parts(), func(err error) {
		g.inbox.post(func() {
			if err != nil {
				g.fail(r, err)
				return
			}
			a.done = true
			g.appended(r)
		})
	})
}

// appended takes over what is durable, in order, and passes the node's answers on.
func (g *Group) appended(r *replica) {
	for len(r.pending) > 0 && r.pending[0].done && r.failed == nil {
		a := r.pending[0]
		r.pending = r.pending[1:]
		if a.record != nil {
			g.mu.Lock()
			r.records = append(r.records, *a.record)
			r.hardTerm, r.hardVote = a.record.term, a.record.vote
			g.mu.Unlock()
		}
		if err := r.storeAppended(a.m); err != nil {
			g.fail(r, err)
			return
		}
		for _, answer := range a.m.GetResponses() {
			g.deliver(r, answer)
		}
	}
}

// storeAppended brings the in-memory log up to a durable append.
func (r *replica) storeAppended(m *raftpb.Message) error {
	if m.Snapshot != nil && m.Snapshot.GetMetadata().GetIndex() > 0 {
		if err := r.storage.ApplySnapshot(m.Snapshot); err != nil && err != raft.ErrSnapOutOfDate {
			return err
		}
	}
	if m.Term != nil {
		term, vote, commit := m.GetTerm(), m.GetVote(), m.GetCommit()
		if err := r.storage.SetHardState(&raftpb.HardState{Term: &term, Vote: &vote, Commit: &commit}); err != nil {
			return err
		}
	}
	if len(m.GetEntries()) == 0 {
		return nil
	}
	return r.storage.Append(m.GetEntries())
}

// fail stops a replica whose drive is not believed any more; if it led, another is elected at once.
func (g *Group) fail(r *replica, err error) {
	if r.failed != nil {
		return
	}
	r.failed = err
	g.mu.Lock()
	r.failedLocked = err
	closed := g.closed
	g.changed.Broadcast()
	g.mu.Unlock()
	if closed {
		return
	}
	g.config.Logger.Error("a replica stopped", "group", g.config.ID, "drive", r.driveID, "error", err)
	if g.leader == r.id {
		g.leader = 0
	}
	g.candidate = 0 // it may have waited for this one's vote
	g.inbox.post(g.elect)
	if g.config.OnReplicaFailed != nil {
		g.done.Add(1)
		go func() {
			defer g.done.Done()
			g.config.OnReplicaFailed(r.driveID, err)
		}()
	}
}

// compact forgets log entries whose rows are durable, in memory and on the drive. A record stays while an entry of it is not, or while
// the hard state that it carries is newer than the one in the rows. It runs in the drive's goroutine, not in the loop, which may be
// waiting for the very room that this frees.
func (g *Group) compact(r *replica) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.failedLocked != nil || r.installing || r.removed || g.closed {
		return
	}
	durable, term, vote, err := durableState(r.store)
	if err == nil {
		err = compactStorage(r, durable, r.told)
	}
	if err != nil {
		g.inbox.post(func() { g.fail(r, err) })
		return
	}
	released, i := uint64(0), 0
	for ; i < len(r.records); i++ {
		c := &r.records[i]
		if c.last > durable.index || c.term > term || c.term == term && c.vote != vote && c.vote != 0 {
			break
		}
		released = c.sequence
	}
	r.records = r.records[i:]
	if released > 0 {
		r.drive.Release(g.config.ID, released)
	}
	if (r.hardTerm != term || r.hardVote != vote) && !r.hardCommitting {
		r.hardCommitting = true
		g.done.Add(1)
		go g.commitHard(r, r.store, r.hardTerm, r.hardVote)
	}
}

// commitHard writes the hard state, which the log has already, to the rows; the flush after makes its record free. One at a time, so
// that an older one never comes last.
func (g *Group) commitHard(r *replica, store meta.Store, term, vote uint64) {
	defer g.done.Done()
	var rows meta.Batch
	rows.Set(hardKey, encodeHard(term, vote))
	err := store.Commit(&rows)
	g.mu.Lock()
	r.hardCommitting = false
	g.mu.Unlock()
	if err != nil {
		g.inbox.post(func() { g.fail(r, err) })
	}
}

func durableState(store meta.Store) (a applied, term, vote uint64, err error) {
	value, ok, err := store.Durable(appliedKey)
	if err != nil {
		return a, 0, 0, err
	}
	if ok {
		if a, err = decodeApplied(value); err != nil {
			return a, 0, 0, err
		}
	}
	value, ok, err = store.Durable(hardKey)
	if err != nil || !ok {
		return a, 0, 0, err
	}
	term, vote, err = decodeHard(value)
	return a, term, vote, err
}

// compactStorage keeps the last entry, whose term the next append is checked against, as the storage's snapshot. Entries that the node
// has not been told are applied stay: it may ask for them.
func compactStorage(r *replica, durable applied, told uint64) error {
	last, _ := r.storage.LastIndex()
	index := min(durable.index, told, last)
	if first, _ := r.storage.FirstIndex(); index < first {
		return nil
	}
	if _, err := r.storage.CreateSnapshot(index, durable.confState(), nil); err != nil && err != raft.ErrSnapOutOfDate {
		return err
	}
	if err := r.storage.Compact(index); err != nil && err != raft.ErrCompacted {
		return err
	}
	return nil
}

// sendSnapshot brings a replica that lags behind the log up to date: the rows of the most advanced replica are copied into a new
// generation of its store, flushed, and made valid by one flushed row; then raft is told.
func (g *Group) sendSnapshot(from, to *replica, m *raftpb.Message) {
	if g.sending[to.id] {
		from.node.ReportSnapshot(to.id, raft.SnapshotFailure) // the copy that is under way will do
		g.nudge()
		return
	}
	g.sending[to.id] = true
	g.mu.Lock()
	to.installing = true
	source := from
	for _, r := range g.order {
		if r.failedLocked == nil && r != to && r.state.index > source.state.index {
			source = r
		}
	}
	store := source.store
	g.mu.Unlock()
	term, vote := to.term, to.vote
	generation := to.generation + 1
	g.done.Add(1)
	go func() {
		defer g.done.Done()
		state, err := g.copyRows(store, to, generation, term, vote)
		g.inbox.post(func() { g.installed(from, to, m, generation, state, err) })
	}()
}

// snapshotBatchBytes bounds a batch of copied rows.
const snapshotBatchBytes = 1 << 20

func (g *Group) copyRows(source meta.Store, to *replica, generation uint32, term, vote uint64) (applied, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	prefix := storePrefix(g.config.ID, generation)
	if err := to.drive.DropStore(prefix); err != nil {
		return applied{}, err
	}
	target := to.drive.Store(prefix)
	snapshot := source.Snapshot()
	state, err := loadApplied(snapshot)
	if err == nil {
		err = g.copyAll(snapshot, target)
	}
	if closeErr := snapshot.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return state, err
	}
	var rows meta.Batch
	rows.Set(hardKey, encodeHard(term, vote))
	if err := target.Commit(&rows); err != nil {
		return state, err
	}
	if err := to.drive.Flush(ctx); err != nil {
		return state, err
	}
	return state, setRegistry(ctx, to.drive, g.config.ID, registry{generation: generation, replica: to.id})
}

func (g *Group) copyAll(source meta.Snapshot, target meta.Store) error {
	it := source.Iterate([]byte{0}, []byte{0xff})
	var rows meta.Batch
	size := 0
	for it.Next() {
		if string(it.Key()) == string(hardKey) {
			continue
		}
		key, value := append([]byte(nil), it.Key()...), append([]byte(nil), it.Value()...)
		rows.Set(key, value)
		if size += len(key) + len(value); size < snapshotBatchBytes {
			continue
		}
		if g.isClosed() {
			_ = it.Close() // ErrClosed is the reason
			return ErrClosed
		}
		if err := target.Commit(&rows); err != nil {
			_ = it.Close() // the commit's error is the reason
			return err
		}
		rows, size = meta.Batch{}, 0
	}
	if err := it.Close(); err != nil {
		return err
	}
	return target.Commit(&rows)
}

func (g *Group) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// installed switches a replica to its new generation and tells raft.
func (g *Group) installed(from, to *replica, m *raftpb.Message, generation uint32, state applied, err error) {
	delete(g.sending, to.id)
	g.mu.Lock()
	to.installing = false
	if err == nil {
		old := to.generation
		to.generation = generation
		to.store = to.drive.Store(storePrefix(g.config.ID, generation))
		to.state, to.told = state, state.index
		to.queue, to.responses = nil, nil
		g.done.Add(1)
		go func() {
			defer g.done.Done()
			_ = to.drive.DropStore(storePrefix(g.config.ID, old)) // what stays costs room only, and goes with the next snapshot
		}()
	}
	g.changed.Broadcast()
	g.mu.Unlock()
	g.nudge()
	if err != nil {
		g.config.Logger.Warn("a snapshot was not installed", "group", g.config.ID, "drive", to.driveID, "error", err)
		from.node.ReportSnapshot(to.id, raft.SnapshotFailure)
		return
	}
	m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: &state.index, Term: &state.term, ConfState: state.confState()}}
	if to.failed == nil {
		// What is committed is so under every leader: the message speaks for the present one.
		term, sender := to.node.BasicStatus().GetTerm(), g.leader
		if m.Term = &term; sender != 0 && sender != to.id {
			m.From = &sender
		}
		_ = to.node.Step(m) // a stale one is dropped: the rows are newer then, and the log follows
	}
	if from.failed == nil {
		from.node.ReportSnapshot(to.id, raft.SnapshotFinish)
	}
}
