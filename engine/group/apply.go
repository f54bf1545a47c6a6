package group

import (
	"bytes"
	"context"
	"slices"

	"holdfast/engine"
	"holdfast/engine/meta"
	"holdfast/observe"
)

// Machine is a deterministic state machine over rows.
type Machine interface {
	// Apply applies committed entries in order and returns an answer for each. Its changes of view follow from the entries and the rows
	// alone. Its keys do not begin with a zero byte. An error is one of the store, or engine.ErrNewer.
	Apply(view *meta.Overlay, entries []meta.Entry) (answers [][]byte, err error)
	// Check returns engine.ErrNewer if a later version wrote the rows or an entry that follows them, so that this one cannot go on.
	Check(rows meta.Reader, entries []meta.Entry) error
}

// The steps of a group's work that the recorder knows.
var (
	stepApply    = observe.NewStep("group: changes of decided commands go into a replica's rows")
	stepDecide   = observe.NewStep("group: a command is decided and applied")
	stepSnapshot = observe.NewStep("group: a replica takes over the rows of another")
)

// perform brings a job's changes into the rows of its replica, computing them if no other replica has.
func (j *applyJob) perform(store meta.Store, machine Machine) appliedEvent {
	defer stepApply.Enter().Leave()
	e := appliedEvent{job: j}
	if j.shared != nil {
		e.ops = j.shared.ops
		if len(e.ops) == 0 {
			e.ops = []meta.Op{{Key: appliedKey, Value: j.record.encode()}}
		}
	} else if e.err = e.compute(store, machine); e.err != nil {
		return e
	}
	ops := e.ops
	if j.hard != nil {
		ops = append(ops[:len(ops):len(ops)], meta.Op{Key: hardKey, Value: encodeHard(j.hard.term, j.hard.vote)})
	}
	e.err = store.Commit(&meta.Batch{Ops: ops})
	return e
}

func (e *appliedEvent) compute(store meta.Store, machine Machine) (err error) {
	j := e.job
	entries := metaEntries(j.entries)
	view := meta.NewOverlay(store)
	if len(entries) > 0 {
		if e.answers, err = machine.Apply(view, entries); err != nil {
			return err
		}
	}
	e.bytes = view.Bytes()
	e.ops = append(view.Batch().Ops, meta.Op{Key: appliedKey, Value: j.record.encode()})
	if j.compare != nil && !slices.EqualFunc(e.ops, j.compare.ops, equalOps) {
		return engine.E(engine.KindDamaged, "its changes for entries %d to %d are not those of the other replicas", j.first, j.last)
	}
	return nil
}

func equalOps(a, b meta.Op) bool {
	return a.Delete == b.Delete && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
}

// readDurable reads what a crash would leave of a replica.
func readDurable(group engine.GroupID, h *Host, generation uint32) (d durable, err error) {
	d.generation = generation
	rows := h.Stores.Store(storePrefix(group, generation))
	var a applied
	read := func(from meta.Store, key []byte, decode func([]byte) error) {
		if err != nil {
			return
		}
		var b []byte
		var ok bool
		if b, ok, err = from.Durable(key); err == nil && ok {
			err = decode(b)
		}
	}
	read(rows, appliedKey, func(b []byte) (err error) { a, err = decodeApplied(b); return err })
	read(rows, hardKey, func(b []byte) (err error) { d.hard.term, d.hard.vote, err = decodeHard(b); return err })
	read(h.Stores.Store(registryPrefix(group)), registryKey, func(b []byte) (err error) { d.registry, err = decodeRegistry(b); return err })
	d.applied = a.index
	return d, err
}

// allRows bounds every row of a store.
var allRows = [2][]byte{{0}, {0xff, 0xff}}

const copyBatchBytes = 1 << 20

// copyRows writes rows in bounded batches into a store that is empty and returns the applied record among them. The hard state is the
// sender's and stays behind.
func copyRows(ctx context.Context, rows meta.Iterator, write func(*meta.Batch) error) (base *applied, err error) {
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	var b meta.Batch
	size := 0
	for rows.Next() {
		key, value := bytes.Clone(rows.Key()), bytes.Clone(rows.Value())
		switch {
		case bytes.Equal(key, hardKey):
			continue
		case bytes.Equal(key, appliedKey):
			a, err := decodeApplied(value)
			if err != nil {
				return nil, err
			}
			base = &a
		}
		b.Set(key, value)
		if size += len(key) + len(value); size >= copyBatchBytes {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := write(&b); err != nil {
				return nil, err
			}
			b, size = meta.Batch{}, 0
		}
	}
	if base == nil {
		return nil, engine.E(engine.KindDamaged, "the rows to copy have no applied record")
	}
	return base, write(&b)
}

// receiveRows fills a new generation of a replica and makes it durable. It becomes valid with a record in the log.
func receiveRows(ctx context.Context, group engine.GroupID, h *Host, generation uint32, rows meta.Iterator) (meta.Store, *applied, error) {
	prefix := storePrefix(group, generation)
	if err := h.Stores.DropStore(prefix); err != nil {
		return nil, nil, joinClose(err, rows)
	}
	store := h.Stores.Store(prefix)
	base, err := copyRows(ctx, rows, store.Commit)
	if err != nil {
		return nil, nil, err
	}
	return store, base, h.Log.Flush(ctx)
}

func joinClose(err error, rows meta.Iterator) error {
	if e := rows.Close(); e != nil && err == nil {
		return e
	}
	return err
}

// resetRows makes a generation that is valid by the log the one that the registry names, and drops another.
func resetRows(group engine.GroupID, h *Host, e resetEffect) error {
	names := h.Stores.Store(registryPrefix(group))
	var name meta.Batch
	name.Set(registryKey, registry{e.generation, e.replica}.encode())
	if err := names.Commit(&name); err != nil {
		return err
	}
	if e.drop == 0 {
		return nil
	}
	return h.Stores.DropStore(storePrefix(group, e.drop))
}
