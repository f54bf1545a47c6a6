package group

import (
	"context"
	"sync"
	"sync/atomic"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// worker writes for one replica of this process: one goroutine hands records to the log, another applies and resets rows. A drive that hangs
// holds up its own worker only. What waits is bounded by the core, which has at most one apply and a bounded number of bytes in
// appends under way.
type worker struct {
	group   *Group
	replica uint64
	host    *Host
	appends queue[*appendJob]
	rows    queue[func()]
	flushes func()      // no longer to be told of flushes
	looks   atomic.Bool // a look at what is durable waits for its turn; one is enough for all flushes before it

	// The rows goroutine alone uses these.
	generation uint32
	store      meta.Store
}

func (g *Group) startWorker(r *recovered) {
	g.hosts.Lock()
	h := g.hosts.byDrive[r.drive]
	g.hosts.Unlock()
	w := &worker{group: g, replica: r.replica, host: &h.Host, generation: r.generation, store: r.store}
	w.appends.init()
	w.rows.init()
	g.hosts.Lock()
	g.workers[r.replica] = w
	g.hosts.Unlock()
	g.tasks.Add(2)
	go func() {
		defer g.tasks.Done()
		w.appends.run(w.write)
	}()
	go func() {
		defer g.tasks.Done()
		w.rows.run(func(f func()) { f() })
	}()
	look := func() {
		if w.looks.CompareAndSwap(false, true) {
			w.rows.put(w.lookDurable)
		}
	}
	w.flushes = w.host.Log.OnFlush(look)
	look()
}

func (w *worker) append(job *appendJob) { w.appends.put(job) }

// write hands a job's records to the log and posts the outcome once all are durable or one is not.
func (w *worker) write(job *appendJob) {
	e := appendedEvent{replica: w.replica, job: job, sequences: make([]uint64, len(job.parts))}
	var open atomic.Int32
	var once sync.Once
	var failure error
	open.Store(int32(len(job.parts)) + 1)
	finish := func() {
		if open.Add(-1) == 0 {
			e.err = failure
			w.group.post(e)
		}
	}
	for i, parts := range job.parts {
		e.sequences[i] = w.host.Log.Append(w.group.id, parts, func(err error) {
			if err != nil {
				once.Do(func() { failure = err })
			}
			finish()
		})
	}
	finish()
}

func (w *worker) apply(job *applyJob) {
	w.rows.put(func() { w.group.post(job.perform(w.rowsOf(job.generation), w.group.machine)) })
}

// rowsOf returns the rows of a generation. A job may come before the reset that makes its generation the worker's own.
func (w *worker) rowsOf(generation uint32) meta.Store {
	if generation == w.generation {
		return w.store
	}
	return w.host.Stores.Store(storePrefix(w.group.id, generation))
}

// touch stores a hard state, so that the log record that has it can go.
func (w *worker) touch(e touchEffect) {
	w.rows.put(func() {
		if e.generation != w.generation {
			return
		}
		b := meta.Batch{Ops: []meta.Op{{Key: hardKey, Value: encodeHard(e.hard.term, e.hard.vote)}}}
		// A drive that fails says so to the next append, too; the record stays where it is.
		_ = w.store.Commit(&b)
	})
}

// lookDurable tells the core what the last flush made durable. After an error nothing is freed.
func (w *worker) lookDurable() {
	w.looks.Store(false) // first: a flush after this may be one that the look does not see
	if d, err := readDurable(w.group.id, w.host, w.generation); err == nil {
		w.group.post(flushedEvent{replica: w.replica, durable: d})
	}
}

// stop ends both goroutines after what they are doing.
func (w *worker) stop() {
	w.flushes()
	w.appends.close()
	w.rows.close()
}

// hostOf returns the drive of a replica of this process.
func (g *Group) hostOf(replica uint64) *Host {
	g.hosts.Lock()
	defer g.hosts.Unlock()
	if w := g.workers[replica]; w != nil {
		return w.host
	}
	return nil
}

// copy brings a snapshot to its receiver, in the background.
func (g *Group) copy(s *snapshotCopy) {
	from := g.hostOf(s.from)
	g.tasks.Add(1)
	go func() {
		defer g.tasks.Done()
		defer stepSnapshot.Enter().Leave()
		e := copiedEvent{copy: s}
		snapshot := from.Stores.Store(storePrefix(g.id, s.fromGeneration)).Snapshot()
		e.store, e.base, e.err = g.bring(s, snapshot.Iterate(allRows[0], allRows[1]))
		if err := snapshot.Close(); e.err == nil {
			e.err = err
		}
		g.post(e)
	}()
}

func (g *Group) bring(s *snapshotCopy, rows meta.Iterator) (meta.Store, *applied, error) {
	if s.generation == 0 {
		m := Message{Group: g.id, Type: MessageRaft, From: s.from, To: s.to, Drive: s.drive, Term: s.message.GetTerm(), Raft: s.message}
		return nil, nil, g.transport.SendSnapshot(g.ctx, m, rows)
	}
	to := g.hostOf(s.to)
	if to == nil {
		return nil, nil, joinClose(engine.E(engine.KindConflict, "replica %d was removed", s.to), rows)
	}
	return receiveRows(g.ctx, g.id, to, s.generation, rows)
}

// reset makes a replica's new generation the one that is applied to, or takes a removed replica off its drive.
func (g *Group) reset(e resetEffect) {
	w := g.workers[e.replica]
	if w == nil {
		return
	}
	if e.removed {
		g.remove(w, e)
		return
	}
	w.rows.put(func() {
		w.generation = e.generation
		w.store = w.host.Stores.Store(storePrefix(g.id, e.generation))
		if err := resetRows(g.id, w.host, e); err != nil {
			g.post(failEvent{w.replica, err})
		}
	})
}

// remove stops a worker and clears its drive. Should that fail, the drive is cleared when its next replica is made.
func (g *Group) remove(w *worker, e resetEffect) {
	g.hosts.Lock()
	delete(g.workers, w.replica)
	h := g.hosts.byDrive[e.drive]
	before, removed := h.removing, make(chan struct{})
	h.removing = removed
	g.hosts.Unlock()
	g.tasks.Add(1)
	go func() {
		defer g.tasks.Done()
		defer close(removed)
		if before != nil {
			<-before
		}
		w.stop()
		w.appends.wait()
		w.rows.wait()
		h.Lock()
		defer h.Unlock()
		_ = removeReplica(context.WithoutCancel(g.ctx), g.id, w.host, e.drop, e.generation)
	}()
}

// failEvent ends a replica whose drive refused a write that was nobody's turn.
type failEvent struct {
	replica uint64
	err     error
}

func (e failEvent) happen(c *core) {
	if p := c.replicas[e.replica]; p != nil {
		c.fail(p, e.err)
	}
}

// DriveFailed says that a drive of this process does nothing any more, which the group might not notice by itself as long as nothing is
// written: a replica there that leads would go on to answer from it.
func (g *Group) DriveFailed(drive engine.DriveID, err error) { g.post(driveFailedEvent{drive, err}) }

type driveFailedEvent struct {
	drive engine.DriveID
	err   error
}

func (e driveFailedEvent) happen(c *core) {
	for _, id := range c.order {
		if p := c.replicas[id]; p.drive == e.drive {
			c.fail(p, e.err)
		}
	}
}

// queue is a list that one goroutine works off.
type queue[T any] struct {
	mu     sync.Mutex
	filled sync.Cond
	items  []T
	closed bool
	ended  chan struct{}
}

func (q *queue[T]) init() {
	q.filled.L = &q.mu
	q.ended = make(chan struct{})
}

// put appends an item; after close it is dropped.
func (q *queue[T]) put(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.items = append(q.items, item)
		q.filled.Signal()
	}
}

// run works until the queue is closed; what then waits is dropped.
func (q *queue[T]) run(f func(T)) {
	defer close(q.ended)
	for {
		q.mu.Lock()
		for len(q.items) == 0 && !q.closed {
			q.filled.Wait()
		}
		if q.closed {
			q.mu.Unlock()
			return
		}
		items := q.items
		q.items = nil
		q.mu.Unlock()
		for _, item := range items {
			f(item)
		}
	}
}

func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Signal()
}

func (q *queue[T]) wait() { <-q.ended }
