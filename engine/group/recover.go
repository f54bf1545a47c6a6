package group

import (
	"context"
	"errors"
	"fmt"
	"math"

	"go.etcd.io/raft/v3/raftpb"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// Log is one drive's meta stream as one group sees it; *drive.Drive is one.
type Log interface {
	// Append writes one record, in parts that do not change until done is called: once, when the record is durable or has failed, in the
	// order of the sequences. Done does not block. Append may wait while the stream is full.
	Append(group engine.GroupID, payload [][]byte, done func(error)) (sequence uint64)
	// Recovered returns, once, the records that were found when the drive was opened and that had not been released.
	Recovered(group engine.GroupID) []meta.LogRecord
	// Release says that records up to and including sequence are not needed any more.
	Release(group engine.GroupID, sequence uint64)
	// Flush makes all rows durable that were committed before the call.
	Flush(ctx context.Context) error
	// OnFlush has fn called after each flush until cancel is called. Fn does not block.
	OnFlush(fn func()) (cancel func())
}

// Stores are the ordered stores of one drive, by prefix.
type Stores interface {
	Store(prefix []byte) meta.Store
	DropStore(prefix []byte) error
	// Failed returns why the drive is not believed any more, or nil.
	Failed() error
}

// Host is a drive of this process on which a replica of the group lives or may live. A drive that is known but not there has neither Log
// nor Stores.
type Host struct {
	Drive  engine.DriveID
	Log    Log
	Stores Stores
}

func (h *Host) isThere() bool { return h.Log != nil && h.Stores != nil }

// recovered is what a drive knows about its replica of a group.
type recovered struct {
	registry
	drive   engine.DriveID
	store   meta.Store
	applied applied
	hard    hardState
	stored  hardState // of hard, in rows
	commit  uint64    // of the entries, known to be decided
	entries []*raftpb.Entry
	logged  []loggedRecord

	named registry // what the registry says, which may be behind the log
	last  uint64   // sequence of the last record, 0 without one
}

// recoverReplica reads what a drive has of a group and finishes what a crash left half-done. Nil without an error means that there is no
// replica.
func recoverReplica(ctx context.Context, group engine.GroupID, h *Host) (*recovered, error) {
	r, err := readReplica(group, h)
	if err != nil {
		return nil, err
	}
	return r.finish(ctx, group, h)
}

// readReplica reads what a drive has of a group, and writes nothing. Replica 0 means that there is no replica.
func readReplica(group engine.GroupID, h *Host) (*recovered, error) {
	r := &recovered{drive: h.Drive}
	if err := loadRow(h.Stores.Store(registryPrefix(group)), registryKey, func(b []byte) (err error) {
		r.registry, err = decodeRegistry(b)
		return err
	}); err != nil {
		return nil, err
	}
	records, err := decodeRecords(h.Log.Recovered(group))
	if err != nil {
		return nil, err
	}
	var base *applied
	r.named = r.registry
	for i := range records {
		r.last = records[i].sequence
		if l := &records[i].logRecord; l.base != nil && l.generation > r.generation {
			r.registry, base = l.registry, l.base
		}
	}
	if r.replica == 0 {
		return r, nil
	}
	if err := r.readRows(group, h, base); err != nil {
		return nil, err
	}
	return r, r.replay(records)
}

// finish brings the registry up to the log and clears away what never became valid.
func (r *recovered) finish(ctx context.Context, group engine.GroupID, h *Host) (*recovered, error) {
	if r.replica == 0 {
		return nil, r.forgetRecords(ctx, group, h)
	}
	if r.named != r.registry {
		e := resetEffect{replica: r.replica, generation: r.generation, drop: r.named.generation}
		if err := resetRows(group, h, e); err != nil {
			return nil, err
		}
	}
	return r, dropUnfinished(group, h, r.generation)
}

// unfinishedMax is how many generations beyond the valid one may have rows after a crash: those being received and those being dropped.
const unfinishedMax = 4

// dropUnfinished removes rows of generations that never became valid.
func dropUnfinished(group engine.GroupID, h *Host, valid uint32) error {
	for g := valid + 1; g <= valid+unfinishedMax; g++ {
		rows := h.Stores.Store(storePrefix(group, g)).Iterate(allRows[0], allRows[1])
		found := rows.Next()
		if err := rows.Close(); err != nil {
			return err
		}
		if !found {
			continue
		}
		if err := h.Stores.DropStore(storePrefix(group, g)); err != nil {
			return err
		}
	}
	return nil
}

// forgetRecords frees the log of a drive that has no replica of the group any more.
func (r *recovered) forgetRecords(ctx context.Context, group engine.GroupID, h *Host) error {
	if r.last == 0 {
		return nil
	}
	var name meta.Batch
	name.Set(registryKey, r.registry.encode())
	if err := h.Stores.Store(registryPrefix(group)).Commit(&name); err != nil {
		return err
	}
	if err := h.Log.Flush(ctx); err != nil {
		return err
	}
	h.Log.Release(group, r.last)
	return nil
}

func (r *recovered) readRows(group engine.GroupID, h *Host, base *applied) error {
	r.store = h.Stores.Store(storePrefix(group, r.generation))
	if err := loadRow(r.store, appliedKey, func(b []byte) (err error) {
		r.applied, err = decodeApplied(b)
		return err
	}); err != nil {
		return err
	}
	if base != nil && base.index > r.applied.index {
		return engine.E(engine.KindDamaged, "the rows of replica %d end at entry %d, before entry %d at which they were made valid; remove the replica and add another",
			r.replica, r.applied.index, base.index)
	}
	err := loadRow(r.store, hardKey, func(b []byte) (err error) {
		r.stored.term, r.stored.vote, err = decodeHard(b)
		return err
	})
	r.hard = r.stored
	return err
}

// sequencedRecord is a record and its place in the log.
type sequencedRecord struct {
	logRecord
	sequence uint64
}

func decodeRecords(found []meta.LogRecord) ([]sequencedRecord, error) {
	records := make([]sequencedRecord, 0, len(found))
	for _, f := range found {
		l, err := decodeLogRecord(f.Payload)
		if errors.Is(err, engine.ErrNewer) {
			return nil, fmt.Errorf("record %d of the log: %w", f.Sequence, err)
		}
		if err != nil {
			return nil, engine.E(engine.KindDamaged, "record %d of the log is not one that was written; remove the replica and add another: %w",
				f.Sequence, err)
		}
		records = append(records, sequencedRecord{l, f.Sequence})
	}
	return records, nil
}

// replay takes hard state and entries from the log. A later entry of an index takes the place of the earlier one and of all behind it.
func (r *recovered) replay(records []sequencedRecord) error {
	for i := range records {
		l := &records[i]
		logged := loggedRecord{sequence: l.sequence, hard: hardState{l.term, l.vote}, generation: l.generation}
		if l.registry != r.registry {
			logged.hard = hardState{}
			r.logged = append(r.logged, logged)
			continue
		}
		// Terms never fall, and in one term a vote is given once.
		if l.term > r.hard.term || l.term == r.hard.term && l.vote != 0 {
			r.hard = logged.hard
		}
		r.commit = max(r.commit, l.commit)
		for _, e := range l.entries {
			logged.last = e.GetIndex()
			if err := r.take(e); err != nil {
				return err
			}
		}
		r.logged = append(r.logged, logged)
	}
	if end := r.applied.index + uint64(len(r.entries)); r.commit > end {
		return engine.E(engine.KindDamaged, "the log of replica %d ends at entry %d, though entry %d was decided; remove the replica and add another",
			r.replica, end, r.commit)
	}
	return nil
}

func (r *recovered) take(e *raftpb.Entry) error {
	if e.GetIndex() <= r.applied.index {
		r.entries = nil
		return nil
	}
	at := e.GetIndex() - r.applied.index - 1
	if at > uint64(len(r.entries)) {
		return engine.E(engine.KindDamaged, "the log of replica %d lacks entry %d; remove the replica and add another",
			r.replica, r.applied.index+1+uint64(len(r.entries)))
	}
	r.entries = append(r.entries[:at], e)
	return nil
}

// termAt returns the term of an entry that the log or the applied record has, or 0.
func (r *recovered) termAt(index uint64) uint64 {
	if index == r.applied.index {
		return r.applied.term
	}
	if index < r.applied.index || index-r.applied.index > uint64(len(r.entries)) {
		return 0
	}
	return r.entries[index-r.applied.index-1].GetTerm()
}

// loadRow decodes a row if it is there.
func loadRow(from meta.Reader, key []byte, decode func([]byte) error) error {
	b, ok, err := from.Get(key)
	if err != nil || !ok {
		return err
	}
	err = decode(b)
	if errors.Is(err, engine.ErrNewer) {
		return fmt.Errorf("row %q of a replica: %w", key, err)
	}
	if err != nil {
		return engine.E(engine.KindDamaged, "row %q of a replica: %w", key, err)
	}
	return nil
}

// RowsOn returns the valid rows of a group's replica on a drive that no group uses, and the entry that they go up to; nil if it has none.
func RowsOn(group engine.GroupID, on Stores) (rows meta.View, index uint64, err error) {
	r, err := loadRegistry(on.Store(registryPrefix(group)))
	if err != nil {
		return nil, 0, err
	}
	if r.replica == 0 {
		return nil, 0, nil
	}
	store := on.Store(storePrefix(group, r.generation))
	var a applied
	err = loadRow(store, appliedKey, func(b []byte) (err error) { a, err = decodeApplied(b); return err })
	return store, a.index, err
}

// loadRegistry reads which replica of a group a drive has; the zero registry if it never had one. Names is the store of registryPrefix.
func loadRegistry(names meta.Reader) (r registry, err error) {
	err = loadRow(names, registryKey, func(b []byte) (err error) { r, err = decodeRegistry(b); return err })
	return r, err
}

// Bootstrap makes a new group: one replica for each member, on the host of the same drive, as BootstrapReplica does.
func Bootstrap(ctx context.Context, group engine.GroupID, members []Member, hosts []Host) error {
	byDrive := map[engine.DriveID]Host{}
	for _, h := range hosts {
		byDrive[h.Drive] = h
	}
	for _, m := range members {
		if err := BootstrapReplica(ctx, group, m, members, byDrive[m.Drive]); err != nil {
			return err
		}
	}
	return nil
}

// BootstrapReplica makes one replica of a new group, with no rows but a first entry that is decided. It returns when that is durable, and
// may be repeated until it has returned nil for every member; only then the group may be started. KindConflict if the drive has a replica
// that has gone further: never bootstrap a group that was started.
func BootstrapReplica(ctx context.Context, group engine.GroupID, m Member, members []Member, h Host) error {
	if !h.isThere() {
		return engine.E(engine.KindInvalidArgument, "group %d cannot begin: drive %d is not there", group, m.Drive)
	}
	if m.Replica == 0 || m.Learner {
		return engine.E(engine.KindInvalidArgument, "group %d cannot begin with replica %d on drive %d", group, m.Replica, m.Drive)
	}
	if err := bootstrapReplica(group, m, applied{index: 1, term: 1, members: members}, &h); err != nil {
		return err
	}
	if err := h.Log.Flush(ctx); err != nil {
		return fmt.Errorf("group %d begins on drive %d: %w", group, m.Drive, err)
	}
	return nil
}

func bootstrapReplica(group engine.GroupID, m Member, first applied, h *Host) error {
	names := h.Stores.Store(registryPrefix(group))
	old, err := loadRegistry(names)
	if err != nil {
		return err
	}
	if old.replica != 0 {
		var a applied
		if err := loadRow(h.Stores.Store(storePrefix(group, old.generation)), appliedKey, func(b []byte) (err error) {
			a, err = decodeApplied(b)
			return err
		}); err != nil {
			return err
		}
		if a.index > 1 || old.replica != m.Replica {
			return engine.E(engine.KindConflict, "group %d lives on drive %d already, as replica %d", group, m.Drive, old.replica)
		}
		return nil
	}
	generation := old.generation + 1
	var rows, name meta.Batch
	rows.Set(appliedKey, first.encode())
	rows.Set(hardKey, encodeHard(1, 0))
	if err := h.Stores.Store(storePrefix(group, generation)).Commit(&rows); err != nil {
		return err
	}
	name.Set(registryKey, registry{generation, m.Replica}.encode())
	return names.Commit(&name)
}

// createEmpty makes an empty replica on a drive, to be filled by the group. It returns when its record is durable.
func createEmpty(ctx context.Context, group engine.GroupID, m Member, h *Host) (*recovered, error) {
	names := h.Stores.Store(registryPrefix(group))
	old, err := loadRegistry(names)
	if err != nil {
		return nil, err
	}
	reg := registry{old.generation + 1, m.Replica}
	if err := h.Stores.DropStore(storePrefix(group, reg.generation)); err != nil {
		return nil, err
	}
	// An earlier receiver may have left rows in this generation. They must not come back by a crash once the record makes it valid.
	if err := h.Log.Flush(ctx); err != nil {
		return nil, err
	}
	l := logRecord{registry: reg, base: &applied{}}
	sequence, err := appendAndWait(ctx, group, h.Log, &l)
	if err != nil {
		return nil, err
	}
	var name meta.Batch
	name.Set(registryKey, reg.encode())
	if err := names.Commit(&name); err != nil {
		return nil, err
	}
	return &recovered{
		registry: reg, drive: m.Drive, store: h.Stores.Store(storePrefix(group, reg.generation)),
		logged: []loggedRecord{{sequence: sequence, generation: reg.generation}},
	}, nil
}

// clearUnrecovered frees the room of a replica that could not be recovered when the process began: its records, with which the meta stream would
// fill in time, and its rows. It is no member any more, so whatever a crash leaves of it is of no use.
func clearUnrecovered(group engine.GroupID, h *Host) error {
	old, err := loadRegistry(h.Stores.Store(registryPrefix(group)))
	if err != nil {
		return err
	}
	h.Log.Release(group, math.MaxUint64)
	return h.Stores.DropStore(storePrefix(group, old.generation))
}

// removeReplica takes a replica off a drive: first a durable record, so that it is never taken for a member again, then its rows.
func removeReplica(ctx context.Context, group engine.GroupID, h *Host, generation, next uint32) error {
	reg := registry{generation: next}
	sequence, err := appendAndWait(ctx, group, h.Log, &logRecord{registry: reg, base: &applied{}})
	if err != nil {
		return err
	}
	var name meta.Batch
	name.Set(registryKey, reg.encode())
	if err := h.Stores.Store(registryPrefix(group)).Commit(&name); err != nil {
		return err
	}
	for g := generation; g < next; g++ {
		if err := h.Stores.DropStore(storePrefix(group, g)); err != nil {
			return err
		}
	}
	if err := h.Log.Flush(ctx); err != nil {
		return err
	}
	h.Log.Release(group, sequence)
	return nil
}

// appendAndWait writes one record and returns when it is durable. The drive calls back in any case, so it is waited for even after ctx
// ended.
func appendAndWait(ctx context.Context, group engine.GroupID, log Log, l *logRecord) (sequence uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	done := make(chan error, 1)
	sequence = log.Append(group, l.parts(), func(err error) { done <- err })
	return sequence, <-done
}
