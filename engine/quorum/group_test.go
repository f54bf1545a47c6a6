package quorum

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// fakeDrive is a drive in memory: a log whose records are durable when its goroutine says so, and map stores.
type fakeDrive struct {
	mu       sync.Mutex
	stores   map[string]*meta.MapStore
	log      []meta.LogRecord // durable, not released
	sequence uint64
	queue    chan func()
	stopped  chan struct{}
	flushed  map[int]func()
	nextFn   int
	broken   error
	between  func() // called once, when a flush has made rows durable and has not said so yet
	released int
}

func newFakeDrive() *fakeDrive {
	d := &fakeDrive{stores: map[string]*meta.MapStore{}, flushed: map[int]func(){}}
	d.start()
	return d
}

func (d *fakeDrive) start() {
	d.queue, d.stopped = make(chan func(), 10000), make(chan struct{})
	queue, stopped := d.queue, d.stopped
	go func() {
		defer close(stopped)
		for f := range queue {
			f()
		}
	}()
}

func (d *fakeDrive) Append(_ engine.GroupID, payload [][]byte, done func(error)) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sequence++
	sequence := d.sequence
	d.queue <- func() {
		d.mu.Lock()
		err := d.broken
		if err == nil {
			d.log = append(d.log, meta.LogRecord{Sequence: sequence, Payload: bytes.Join(payload, nil)})
		}
		d.mu.Unlock()
		done(err)
	}
	return sequence
}

func (d *fakeDrive) Recovered(engine.GroupID) []meta.LogRecord {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]meta.LogRecord(nil), d.log...)
}

func (d *fakeDrive) Release(_ engine.GroupID, sequence uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.log) > 0 && d.log[0].Sequence <= sequence {
		d.log = d.log[1:]
		d.released++
	}
}

func (d *fakeDrive) Flush(context.Context) error {
	d.mu.Lock()
	for _, s := range d.stores {
		s.Flush()
	}
	fns := make([]func(), 0, len(d.flushed))
	for _, fn := range d.flushed {
		fns = append(fns, fn)
	}
	between := d.between
	d.between = nil
	d.mu.Unlock()
	if between != nil {
		between()
	}
	for _, fn := range fns {
		fn()
	}
	return nil
}

func (d *fakeDrive) OnFlush(fn func()) func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.nextFn
	d.nextFn++
	d.flushed[id] = fn
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.flushed, id)
	}
}

func (d *fakeDrive) Store(prefix []byte) meta.Store {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stores[string(prefix)] == nil {
		d.stores[string(prefix)] = meta.NewMapStore()
	}
	return d.stores[string(prefix)]
}

func (d *fakeDrive) DropStore(prefix []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.stores, string(prefix))
	return nil
}

// crash cuts the power: what the goroutine did not make durable is lost, and un-flushed batches from a random one on.
func (d *fakeDrive) crash(rng *rand.Rand) {
	close(d.queue)
	for range d.queue { // the records that never became durable
	}
	<-d.stopped
	for _, s := range d.stores {
		s.Crash(func(n int) int { return rng.IntN(n + 1) })
	}
	d.flushed = map[int]func(){}
	d.start()
}

func (d *fakeDrive) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = err
}

// counter is a machine that adds numbers, each command once, and keeps a row of their order.
type counter struct{}

var counterKey = []byte("count")

func (counter) Apply(view *meta.Overlay, entries []meta.Entry) ([][]byte, error) {
	answers := make([][]byte, len(entries))
	for i, e := range entries {
		if len(e.Data) == 0 {
			continue
		}
		h, _ := meta.ParseHeader(e.Data)
		seen := fmt.Appendf(nil, "seen %d %d", h.Epoch, h.Number)
		if value, ok, err := view.Get(seen); err != nil {
			return nil, err
		} else if ok {
			answers[i] = value
			continue
		}
		var n uint64
		if value, ok, err := view.Get(counterKey); err != nil {
			return nil, err
		} else if ok {
			n = binary.BigEndian.Uint64(value)
		}
		n++
		answer := binary.BigEndian.AppendUint64(nil, n)
		view.Set(counterKey, answer)
		view.Set(seen, answer)
		answers[i] = answer
	}
	return answers, nil
}

func command(epoch, number uint64, bytes int) []byte {
	b := make([]byte, meta.HeaderBytes+bytes)
	binary.BigEndian.PutUint64(b, epoch)
	binary.BigEndian.PutUint64(b[8:], number)
	return b
}

type cluster struct {
	drives  map[engine.DriveID]*fakeDrive
	group   *Group
	every   bool
	members []Member
}

func newCluster(t testing.TB, n int, everywhere bool) *cluster {
	c := &cluster{drives: map[engine.DriveID]*fakeDrive{}, every: everywhere}
	for i := range n {
		c.members = append(c.members, Member{Replica: uint64(i + 1), Drive: engine.DriveID(100 + i)})
		c.drives[engine.DriveID(100+i)] = newFakeDrive()
	}
	for _, m := range c.members {
		if err := Bootstrap(t.Context(), c.drives[m.Drive], 7, m, c.members); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cluster) start(t testing.TB) error {
	drives := map[engine.DriveID]Drive{}
	for id, d := range c.drives {
		drives[id] = d
	}
	g, err := Start(t.Context(), Config{ID: 7, Machine: counter{}, Drives: drives, Everywhere: c.every})
	c.group = g
	return err
}

func (c *cluster) count(t testing.TB) uint64 {
	t.Helper()
	v, err := c.group.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	value, ok, err := v.Get(counterKey)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

func TestProposeReadReopen(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 9} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c := newCluster(t, n, n == 3)
			for round := range 3 {
				if err := c.start(t); err != nil {
					t.Fatal(err)
				}
				for i := range 50 {
					_, _, err := c.group.Propose(t.Context(), command(1, uint64(round*50+i+1), 10))
					if err != nil {
						t.Fatal(err)
					}
					if got := c.count(t); got != uint64(round*50+i+1) {
						t.Fatalf("after %d commands a read shows %d", round*50+i+1, got)
					}
				}
				if _, _, err := c.group.Propose(t.Context(), command(1, 1, 10)); err != nil {
					t.Fatal(err)
				}
				if got := c.count(t); got != uint64(round*50+50) {
					t.Fatalf("a repeated command was applied again: %d", got)
				}
				c.group.Close()
			}
		})
	}
}

// TestCrashes runs clients against groups whose drives crash together and fail alone, and checks that what was answered stays and
// that nothing is applied twice.
func TestCrashes(t *testing.T) {
	var crashes, failures, replaced, released, flushes int
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := []int{1, 3, 5}[seed%3]
		c := newCluster(t, n, seed%4 == 0)
		var number, answered uint64
		nextReplica := uint64(n + 1)
		for range 6 {
			if err := c.start(t); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if got := c.count(t); got < answered || got > number {
				t.Fatalf("seed %d: %d commands were answered and %d sent; after a crash %d are there", seed, answered, number, got)
			}
			broken := engine.DriveID(0)
			if n > 1 && rng.IntN(2) == 0 {
				broken = c.members[rng.IntN(n)].Drive
			}
			var wg sync.WaitGroup
			var mu sync.Mutex
			for range 4 {
				count := 5 + rng.IntN(40)
				wg.Add(1)
				go func() {
					defer wg.Done()
					for range count {
						mu.Lock()
						number++
						id := number
						mu.Unlock()
						if _, _, err := c.group.Propose(t.Context(), command(1, id, 100)); err == nil {
							mu.Lock()
							answered++
							mu.Unlock()
						}
					}
				}()
			}
			if broken != 0 {
				c.drives[broken].fail(errors.New("input/output error"))
				failures++
			}
			for _, d := range c.drives {
				if rng.IntN(3) > 0 {
					_ = d.Flush(t.Context())
					flushes++
				}
			}
			wg.Wait()
			if answered != number {
				t.Fatalf("seed %d: %d of %d commands were answered", seed, answered, number)
			}
			if broken != 0 {
				c.replace(t, broken, nextReplica)
				nextReplica++
				replaced++
			}
			c.group.Close()
			for _, d := range c.drives {
				d.crash(rng)
				released += d.released
				d.released = 0
			}
			crashes++
		}
	}
	t.Logf("crashes %d, failed drives %d, replicas replaced %d, flushes %d, log records released %d", crashes, failures, replaced, flushes, released)
	if crashes == 0 || failures == 0 || replaced == 0 || released == 0 || flushes == 0 {
		t.Fatal("a kind of fault never happened")
	}
}

// TestLogFreedByDurableRows has a command applied after a flush and before its callback: the callback must not free the command's record,
// which a power cut then needs.
func TestLogFreedByDurableRows(t *testing.T) {
	c := newCluster(t, 1, false)
	if err := c.start(t); err != nil {
		t.Fatal(err)
	}
	propose := func(number uint64) {
		if _, _, err := c.group.Propose(t.Context(), command(1, number, 10)); err != nil {
			t.Error(err)
		}
	}
	d := c.drives[100]
	number := uint64(0)
	for d.released == 0 && number < 1000 { // the first flushes find the hard state not yet in the rows
		number++
		d.between = func() { propose(number) }
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.group.Close()
	if d.released == 0 {
		t.Fatal("no flush freed a record")
	}
	for _, s := range d.stores {
		s.Crash(func(int) int { return 0 })
	}
	d.crash(rand.New(rand.NewPCG(1, 1)))
	if err := c.start(t); err != nil {
		t.Fatal(err)
	}
	defer c.group.Close()
	if got := c.count(t); got != number {
		t.Fatalf("%d commands were answered, %d are there", number, got)
	}
}

// replace removes the replica of a broken drive and adds one on a new drive.
func (c *cluster) replace(t *testing.T, broken engine.DriveID, id uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i, m := range c.members {
		if m.Drive != broken {
			continue
		}
		if err := c.group.RemoveReplica(ctx, m.Replica); err != nil {
			t.Fatal(err)
		}
		delete(c.drives, broken)
		fresh := Member{Replica: id, Drive: engine.DriveID(1000 + id)}
		c.drives[fresh.Drive] = newFakeDrive()
		if err := c.group.AddReplica(ctx, fresh, c.drives[fresh.Drive]); err != nil {
			t.Fatal(err)
		}
		c.members[i] = fresh
		return
	}
}

func TestBelowQuorum(t *testing.T) {
	c := newCluster(t, 3, false)
	if err := c.start(t); err != nil {
		t.Fatal(err)
	}
	defer c.group.Close()
	if _, _, err := c.group.Propose(t.Context(), command(1, 1, 1)); err != nil {
		t.Fatal(err)
	}
	for id, d := range c.drives {
		if id != 101 {
			d.fail(errors.New("input/output error"))
		}
	}
	begin := time.Now()
	_, _, err := c.group.Propose(t.Context(), command(1, 2, 1))
	if !engine.Is(err, engine.KindUnavailable) || time.Since(begin) > 3*time.Second {
		t.Fatalf("below quorum a command is answered %v after %v", err, time.Since(begin))
	}
	t.Log(err)
}

func FuzzLogRecord(f *testing.F) {
	l := logRecord{registry: registry{generation: 1, replica: 2}, term: 3, vote: 2}
	f.Add(bytes.Join(l.parts(), nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decodeLogRecord(b); err == nil {
			if again, err := decodeLogRecord(bytes.Join(l.parts(), nil)); err != nil || len(again.entries) != len(l.entries) {
				t.Fatal("a decoded record does not encode to itself", err)
			}
		}
		_, _ = decodeApplied(b)
		_, _ = decodeRegistry(b)
		_, _, _ = decodeHard(b)
	})
}

func BenchmarkPropose(b *testing.B) {
	c := newCluster(b, 5, false)
	if err := c.start(b); err != nil {
		b.Fatal(err)
	}
	defer c.group.Close()
	var mu sync.Mutex
	var number uint64
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			mu.Lock()
			number++
			id := number
			mu.Unlock()
			if _, _, err := c.group.Propose(b.Context(), command(1, id, 4096)); err != nil {
				b.Error(err)
			}
		}
	})
}
