// Package grouptest has a drive in memory for tests of groups and of what is built upon them: a meta stream and an index that forget on
// a crash what a real drive may forget, and that fail when told.
//
// Promise: after Crash the stream has every record whose done was called with nil, and a prefix of the others; the index has every batch
// committed before the last flush, and a prefix of the others. It knows nothing of bytes on a disk: engine/drive does.
package grouptest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// ErrFailed is what a drive answers after Fail.
var ErrFailed = errors.New("the drive failed")

// errCrashed is what a drive answers to those who used it before Crash.
var errCrashed = errors.New("the drive crashed")

// Drive is a drive in memory. It has the methods that group.Log and group.Stores ask for.
type Drive struct {
	manual bool

	mu        sync.Mutex
	dead      bool // crashed: another Drive has what is left
	index     *meta.MapStore
	records   []record // durable
	pending   []record // appended, not durable
	released  map[engine.GroupID]uint64
	sequence  uint64
	failed    error
	held      bool
	callbacks map[int]func()
	callback  int
	recovered map[engine.GroupID]bool
	work      *sync.Cond
	closed    bool
	ended     chan struct{}
}

type record struct {
	group    engine.GroupID
	sequence uint64
	payload  []byte
	done     func(error)
}

// New returns an empty drive whose records become durable by themselves, in a goroutine that Close ends.
func New() *Drive {
	d := newDrive()
	go d.run()
	return d
}

// NewManual returns an empty drive whose records become durable when Sync says so.
func NewManual() *Drive {
	d := newDrive()
	d.manual = true
	close(d.ended)
	return d
}

func newDrive() *Drive {
	d := &Drive{
		index: meta.NewMapStore(), released: map[engine.GroupID]uint64{}, callbacks: map[int]func(){},
		recovered: map[engine.GroupID]bool{}, ended: make(chan struct{}), sequence: 1,
	}
	d.work = sync.NewCond(&d.mu)
	return d
}

func (d *Drive) run() {
	defer close(d.ended)
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		for (len(d.pending) == 0 || d.held) && !d.closed {
			d.work.Wait()
		}
		if len(d.pending) == 0 || d.held {
			return
		}
		d.sync(len(d.pending))
	}
}

// Close ends the drive's goroutine. Records that are held are never durable.
func (d *Drive) Close() {
	d.mu.Lock()
	d.closed = true
	d.work.Broadcast()
	d.mu.Unlock()
	<-d.ended
}

// Pending returns how many records are not durable.
func (d *Drive) Pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pending)
}

// Sync makes the first n records that wait durable, or fails them.
func (d *Drive) Sync(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync(min(n, len(d.pending)))
}

// sync is Sync. The lock is held, but not while done is called.
func (d *Drive) sync(n int) {
	batch := slices.Clone(d.pending[:n])
	d.pending = d.pending[n:]
	err := d.failed
	if err == nil {
		for _, r := range batch {
			if r.sequence > d.released[r.group] {
				d.records = append(d.records, r)
			}
		}
	}
	d.mu.Unlock()
	for _, r := range batch {
		r.done(err)
	}
	d.mu.Lock()
}

// Hold stops records from becoming durable, as a hanging disk does, until it is called with false.
func (d *Drive) Hold(held bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = held
	d.work.Broadcast()
}

// Fail makes every later call, and what waits, fail.
func (d *Drive) Fail() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = ErrFailed
	d.held = false
	d.work.Broadcast()
}

// Crash returns the drive as it comes up after a power cut: keep(n) says how many of n unfinished things survive. Whoever still uses the
// one before gets errors.
func (d *Drive) Crash(keep func(n int) int) *Drive {
	d.mu.Lock()
	lost := d.pending
	for _, r := range d.pending[:keep(len(d.pending))] {
		if r.sequence > d.released[r.group] {
			d.records = append(d.records, r)
		}
	}
	d.index.Crash(keep)
	after := newDrive()
	after.manual, after.index, after.sequence = d.manual, d.index, d.sequence
	after.records, after.released = slices.Clone(d.records), maps.Clone(d.released)
	d.dead, d.closed, d.pending = true, true, nil
	d.work.Broadcast()
	if d.manual {
		close(after.ended)
	} else {
		go after.run()
	}
	d.mu.Unlock()
	for _, r := range lost {
		r.done(errCrashed)
	}
	return after
}

// Append implements group.Log.
func (d *Drive) Append(group engine.GroupID, payload [][]byte, done func(error)) (sequence uint64) {
	d.mu.Lock()
	if d.dead {
		d.mu.Unlock()
		done(errCrashed)
		return 0
	}
	defer d.mu.Unlock()
	r := record{group: group, sequence: d.sequence, payload: bytes.Join(payload, nil), done: done}
	d.sequence++
	d.pending = append(d.pending, r)
	d.work.Broadcast()
	return r.sequence
}

// Recovered implements group.Log.
func (d *Drive) Recovered(group engine.GroupID) (found []meta.LogRecord) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.recovered[group] {
		return nil
	}
	d.recovered[group] = true
	for _, r := range d.records {
		if r.group == group {
			found = append(found, meta.LogRecord{Sequence: r.sequence, Payload: r.payload})
		}
	}
	return found
}

// Reopen lets Recovered answer again, as after a clean stop.
func (d *Drive) Reopen() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.recovered)
}

// Records returns how many records of a group are in the stream.
func (d *Drive) Records(group engine.GroupID) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.records {
		if r.group == group {
			n++
		}
	}
	return n
}

// Release implements group.Log: the records are gone at once.
func (d *Drive) Release(group engine.GroupID, sequence uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return
	}
	d.released[group] = max(d.released[group], sequence)
	d.records = slices.DeleteFunc(d.records, func(r record) bool { return r.group == group && r.sequence <= sequence })
}

// Flush implements group.Log.
func (d *Drive) Flush(context.Context) error {
	d.mu.Lock()
	err := d.health()
	if err == nil {
		d.index.Flush()
	}
	var call []func()
	for i := 0; i <= d.callback; i++ {
		if fn := d.callbacks[i]; fn != nil {
			call = append(call, fn)
		}
	}
	d.mu.Unlock()
	if err != nil {
		return err
	}
	for _, fn := range call {
		fn()
	}
	return nil
}

// OnFlush implements group.Log.
func (d *Drive) OnFlush(fn func()) (cancel func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.callback++
	number := d.callback
	d.callbacks[number] = fn
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.callbacks, number)
	}
}

func (d *Drive) alive() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.health()
}

// health is alive with the lock held.
func (d *Drive) health() error {
	if d.dead {
		return errCrashed
	}
	return d.failed
}

// Failed implements group.Stores.
func (d *Drive) Failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// Store implements group.Stores.
func (d *Drive) Store(prefix []byte) meta.Store {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &store{rows{d, d.index, bytes.Clone(prefix)}}
}

// DropStore implements group.Stores.
func (d *Drive) DropStore(prefix []byte) error {
	s := d.Store(prefix).(*store)
	var b meta.Batch
	it := s.Iterate(nil, nil)
	for it.Next() {
		b.Delete(bytes.Clone(it.Key()))
	}
	if err := it.Close(); err != nil {
		return err
	}
	return s.Commit(&b)
}

// rows are those under a prefix.
type rows struct {
	drive *Drive
	from  interface {
		meta.Reader
		Iterate(lower, upper []byte) meta.Iterator
	}
	prefix []byte
}

func (r *rows) key(key []byte) []byte { return append(r.prefix[:len(r.prefix):len(r.prefix)], key...) }

// Get implements meta.Reader.
func (r *rows) Get(key []byte) ([]byte, bool, error) {
	if err := r.drive.alive(); err != nil {
		return nil, false, err
	}
	return r.from.Get(r.key(key))
}

// Iterate implements meta.Store.
func (r *rows) Iterate(lower, upper []byte) meta.Iterator {
	if upper == nil {
		upper = bytes.Repeat([]byte{0xff}, 64)
	}
	return &iterator{r.from.Iterate(r.key(lower), r.key(upper)), len(r.prefix), r.key, r.drive.alive()}
}

type iterator struct {
	meta.Iterator
	cut int
	key func([]byte) []byte
	err error
}

func (i *iterator) Next() bool             { return i.err == nil && i.Iterator.Next() }
func (i *iterator) SeekGE(key []byte) bool { return i.err == nil && i.Iterator.SeekGE(i.key(key)) }
func (i *iterator) Key() []byte            { return i.Iterator.Key()[i.cut:] }

func (i *iterator) Close() error {
	if err := i.Iterator.Close(); err != nil {
		return err
	}
	return i.err
}

type store struct{ rows }

// Commit implements meta.Store.
func (s *store) Commit(b *meta.Batch) error {
	s.drive.mu.Lock()
	defer s.drive.mu.Unlock()
	if err := s.drive.health(); err != nil {
		return err
	}
	var full meta.Batch
	for _, op := range b.Ops {
		op.Key = s.key(op.Key)
		full.Ops = append(full.Ops, op)
	}
	return s.drive.index.Commit(&full)
}

// Snapshot implements meta.Store.
func (s *store) Snapshot() meta.Snapshot {
	at := s.drive.index.Snapshot()
	return &snapshot{rows{s.drive, at, s.prefix}, at}
}

type snapshot struct {
	rows
	at meta.Snapshot
}

func (s *snapshot) Close() error { return s.at.Close() }

// Durable implements meta.Store.
func (s *store) Durable(key []byte) ([]byte, bool, error) {
	if err := s.drive.alive(); err != nil {
		return nil, false, err
	}
	return s.drive.index.Durable(s.key(key))
}

// Counter is a state machine for tests: every command appends its number to a list and answers its place; a repetition answers the place it
// had. A command's text after the header becomes the value of row "v".
type Counter struct{}

// Apply implements group.Machine.
func (Counter) Apply(view *meta.Overlay, entries []meta.Entry) (answers [][]byte, err error) {
	for _, e := range entries {
		answer, err := apply(view, e.Data)
		if err != nil {
			return nil, err
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// Check implements group.Machine.
func (Counter) Check(meta.Reader, []meta.Entry) error { return nil }

func apply(view *meta.Overlay, command []byte) ([]byte, error) {
	done := append([]byte("d"), command[:16]...)
	if answer, ok, err := view.Get(done); err != nil || ok {
		return answer, err
	}
	last, _, err := view.Get([]byte("n"))
	if err != nil {
		return nil, err
	}
	place := append([]byte(nil), last...)
	if len(place) == 0 {
		place = make([]byte, 8)
	}
	for i := 7; i >= 0; i-- {
		if place[i]++; place[i] != 0 {
			break
		}
	}
	view.Set([]byte("n"), place)
	view.Set(done, place)
	view.Set(append([]byte("l"), place...), bytes.Clone(command[:16]))
	view.Set([]byte("v"), bytes.Clone(command[24:]))
	return place, nil
}
