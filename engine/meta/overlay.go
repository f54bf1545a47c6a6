package meta

import (
	"bytes"
	"slices"
	"sync"

	"github.com/google/btree"
)

// Overlay is a Store with changes on top that are not committed yet: reads see both. It is what the state machine applies
// commands to; Batch then gives each changed row once, however many commands changed it. An Overlay has one user at a time.
type Overlay struct {
	store   Store
	changes *btree.BTreeG[Op]
	bytes   int
}

// NewOverlay returns an Overlay without changes.
func NewOverlay(store Store) *Overlay {
	return &Overlay{store: store, changes: btree.NewG(16, opLess)}
}

func opLess(a, b Op) bool { return bytes.Compare(a.Key, b.Key) < 0 }

// Get returns the row as the changes leave it. The value must not be changed.
func (o *Overlay) Get(key []byte) (value []byte, ok bool, err error) {
	if op, found := o.changes.Get(Op{Key: key}); found {
		return op.Value, !op.Delete, nil
	}
	return o.store.Get(key)
}

// Set puts a row. The overlay keeps both slices.
func (o *Overlay) Set(key, value []byte) {
	o.bytes += len(key) + len(value)
	o.changes.ReplaceOrInsert(Op{Key: key, Value: value})
}

// Delete removes a row, which need not exist. The overlay keeps the slice.
func (o *Overlay) Delete(key []byte) {
	o.bytes += len(key)
	o.changes.ReplaceOrInsert(Op{Key: key, Delete: true})
}

// Bytes returns the size of all changes made so far, for bounding a batch.
func (o *Overlay) Bytes() int { return o.bytes }

// Mark is a state of the changes of an Overlay.
type Mark struct {
	changes *btree.BTreeG[Op]
	bytes   int
}

// Mark keeps the changes as they are. It shares them with the overlay until they differ.
func (o *Overlay) Mark() Mark { return Mark{o.changes.Clone(), o.bytes} }

// Restore takes back all changes since the mark, which is used up.
func (o *Overlay) Restore(m Mark) { o.changes, o.bytes = m.changes, m.bytes }

// Batch returns the changes in order of their keys.
func (o *Overlay) Batch() *Batch {
	b := &Batch{Ops: make([]Op, 0, o.changes.Len())}
	o.changes.Ascend(func(op Op) bool {
		b.Ops = append(b.Ops, op)
		return true
	})
	return b
}

// Iterate walks lower ≤ key < upper of the store with the changes made before the call.
func (o *Overlay) Iterate(lower, upper []byte) Iterator {
	below := o.store.Iterate(lower, upper)
	var ops []Op
	o.changes.AscendRange(Op{Key: lower}, Op{Key: upper}, func(op Op) bool {
		ops = append(ops, op)
		return true
	})
	if len(ops) == 0 {
		return below
	}
	return &mergeIterator{below: below, ops: ops, next: 0}
}

// mergeIterator merges a store's rows with changes; a change hides the row of its key.
type mergeIterator struct {
	below      Iterator
	belowValid bool
	started    bool
	ops        []Op
	next       int // first op not passed
	key, value []byte
}

func (m *mergeIterator) Next() bool {
	if !m.started {
		m.started = true
		m.belowValid = m.below.Next()
	}
	return m.settle()
}

func (m *mergeIterator) SeekGE(key []byte) bool {
	m.started = true
	m.belowValid = m.below.SeekGE(key)
	lo, hi := 0, len(m.ops)
	for lo < hi {
		mid := (lo + hi) / 2
		if bytes.Compare(m.ops[mid].Key, key) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	m.next = lo
	return m.settle()
}

// settle moves to the least row that both sides leave, and passes it.
func (m *mergeIterator) settle() bool {
	for {
		if m.next == len(m.ops) {
			if !m.belowValid {
				return false
			}
			m.take(m.below.Key(), m.below.Value())
			m.belowValid = m.below.Next()
			return true
		}
		op := m.ops[m.next]
		order := 1
		if m.belowValid {
			order = bytes.Compare(m.below.Key(), op.Key)
		}
		if m.belowValid && order < 0 {
			m.take(m.below.Key(), m.below.Value())
			m.belowValid = m.below.Next()
			return true
		}
		if m.belowValid && order == 0 {
			m.belowValid = m.below.Next()
		}
		m.next++
		if !op.Delete {
			m.take(op.Key, op.Value)
			return true
		}
	}
}

func (m *mergeIterator) take(key, value []byte) {
	m.key = append(m.key[:0], key...)
	m.value = append(m.value[:0], value...)
}

func (m *mergeIterator) Key() []byte   { return m.key }
func (m *mergeIterator) Value() []byte { return m.value }
func (m *mergeIterator) Close() error  { return m.below.Close() }

// MapStore is a Store in memory for tests. It remembers how many of its batches are durable: Flush makes all so, Crash forgets a
// suffix of the others.
type MapStore struct {
	mu      sync.Mutex
	rows    *btree.BTreeG[Op]
	durable *btree.BTreeG[Op]
	history []*Batch // committed since durable
}

// NewMapStore returns an empty store.
func NewMapStore() *MapStore {
	return &MapStore{rows: btree.NewG(32, opLess), durable: btree.NewG(32, opLess)}
}

// Get implements Reader.
func (s *MapStore) Get(key []byte) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return getCopy(s.rows, key)
}

func getCopy(rows *btree.BTreeG[Op], key []byte) ([]byte, bool, error) {
	op, ok := rows.Get(Op{Key: key})
	if !ok {
		return nil, false, nil
	}
	return bytes.Clone(op.Value), true, nil
}

// Durable implements Store.
func (s *MapStore) Durable(key []byte) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return getCopy(s.durable, key)
}

// Commit implements Store.
func (s *MapStore) Commit(b *Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, b)
	applyBatch(s.rows, b)
	return nil
}

func applyBatch(rows *btree.BTreeG[Op], b *Batch) {
	for _, op := range b.Ops {
		if op.Delete {
			rows.Delete(Op{Key: op.Key})
		} else {
			rows.ReplaceOrInsert(Op{Key: bytes.Clone(op.Key), Value: bytes.Clone(op.Value)})
		}
	}
}

// Flush makes every committed batch durable.
func (s *MapStore) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durable = s.rows.Clone()
	s.history = nil
}

// Crash leaves what a power cut might: the durable batches and the first keep(n) of the n others.
func (s *MapStore) Crash(keep func(n int) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	survivors := s.history[:keep(len(s.history))]
	s.rows = s.durable.Clone()
	for _, b := range survivors {
		applyBatch(s.rows, b)
	}
	s.durable = s.rows.Clone()
	s.history = nil
}

// Iterate implements Store.
func (s *MapStore) Iterate(lower, upper []byte) Iterator {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &treeIterator{rows: s.rows.Clone(), lower: lower, upper: upper}
}

// Snapshot implements Store.
func (s *MapStore) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return treeSnapshot{s.rows.Clone()}
}

type treeSnapshot struct{ rows *btree.BTreeG[Op] }

func (s treeSnapshot) Get(key []byte) ([]byte, bool, error) { return getCopy(s.rows, key) }
func (s treeSnapshot) Iterate(lower, upper []byte) Iterator {
	return &treeIterator{rows: s.rows, lower: lower, upper: upper}
}
func (s treeSnapshot) Close() error { return nil }

// treeIterator walks a tree by searching for the successor; clones of a tree never change beneath it.
type treeIterator struct {
	rows         *btree.BTreeG[Op]
	lower, upper []byte
	at           Op
	lent         []byte // copies of at that callers see, overwritten as soon as the promise of Iterator ends
	started      bool
}

func (t *treeIterator) Next() bool {
	if !t.started {
		return t.SeekGE(t.lower)
	}
	return t.seek(append(bytes.Clone(t.at.Key), 0))
}

func (t *treeIterator) SeekGE(key []byte) bool {
	t.started = true
	if bytes.Compare(key, t.lower) < 0 {
		key = t.lower
	}
	return t.seek(key)
}

func (t *treeIterator) seek(key []byte) bool {
	found := false
	t.rows.AscendGreaterOrEqual(Op{Key: key}, func(op Op) bool {
		found = t.upper == nil || bytes.Compare(op.Key, t.upper) < 0
		t.at = op
		return false
	})
	t.takeBack()
	t.lent = slices.Concat(t.at.Key, t.at.Value)
	return found
}

// takeBack makes whoever keeps a key or value without having copied it see so at once.
func (t *treeIterator) takeBack() {
	for i := range t.lent {
		t.lent[i] = 0xdb
	}
}

func (t *treeIterator) Key() []byte   { return t.lent[:len(t.at.Key):len(t.at.Key)] }
func (t *treeIterator) Value() []byte { return t.lent[len(t.at.Key):] }

func (t *treeIterator) Close() error {
	t.takeBack()
	return nil
}
