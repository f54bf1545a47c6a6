package extent

import (
	"bytes"
	"context"
	"errors"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/engine"
	"holdfast/engine/buffer"
	"holdfast/engine/erasure"
)

var codes = []engine.Redundancy{{Data: 1}, {Data: 1, Parity: 1}, {Data: 2, Parity: 1}, {Data: 2, Parity: 2}, {Data: 4, Parity: 2}, {Data: 8, Parity: 4}, {Data: 12, Parity: 4}}

var (
	errInjected = errors.New("injected")
	testID      = engine.ExtentID{Group: 1, Epoch: 2, Counter: 3}
	pool        = buffer.New(1 << 30)
)

// memoryStore keeps shards in memory, checks what it reads, and fails as its fields say.
type memoryStore struct {
	create, write, commit error
	read                  error
	readDelay             time.Duration
	writeDelay            time.Duration
	commitDelay           time.Duration

	mu      sync.Mutex
	shards  map[engine.ShardID]*memoryShard
	reads   int
	aborted int
}

type memoryShard struct {
	data []byte
	sums []uint64
}

type memoryWriter struct {
	s     *memoryStore
	id    engine.ShardID
	limit int64
	memoryShard
}

func (s *memoryStore) CreateShard(id engine.ShardID, n int64) (ShardWriter, error) {
	if s.create != nil {
		return (*memoryWriter)(nil), s.create
	}
	return &memoryWriter{s: s, id: id, limit: n}, nil
}

func (s *memoryStore) NewShard(id engine.ShardID, n int64) (ShardWriter, error) {
	return s.CreateShard(id, n)
}

func (w *memoryWriter) Write(p []byte, sums []uint64) error {
	time.Sleep(w.s.writeDelay)
	if w.s.write != nil {
		return w.s.write
	}
	w.data, w.sums = append(w.data, p...), append(w.sums, sums...)
	return nil
}

func (w *memoryWriter) Commit(ctx context.Context) error {
	if w.s.commitDelay > 0 {
		select {
		case <-time.After(w.s.commitDelay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if w.s.commit != nil {
		return w.s.commit
	}
	if _, ok := erasure.Verify(w.id, 0, w.data, w.sums); !ok || int64(len(w.data)) != w.limit {
		return errors.New("a shard of another length, or with wrong sums")
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.shards[w.id] = &w.memoryShard
	return nil
}

func (w *memoryWriter) Abort() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.aborted++
}

func (s *memoryStore) ReadShard(id engine.ShardID, off int64, dst []byte) error {
	s.mu.Lock()
	delay := s.readDelay
	s.mu.Unlock()
	time.Sleep(delay)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	sh := s.shards[id]
	if s.read != nil {
		clear(dst)
		return s.read
	}
	if sh == nil {
		return engine.E(engine.KindDamaged, "no such shard")
	}
	first := off / unitBytes
	last := min((off+int64(len(dst))+unitBytes-1)/unitBytes*unitBytes, int64(len(sh.data)))
	if _, ok := erasure.Verify(id, int(first), sh.data[first*unitBytes:last], sh.sums[first:]); !ok {
		clear(dst)
		return engine.E(engine.KindDamaged, "bad shard")
	}
	copy(dst, sh.data[off:])
	return nil
}

func (s *memoryStore) VerifyShard(id engine.ShardID, off int64, dst []byte) error {
	return s.ReadShard(id, off, dst)
}

// reading makes reads late and fail, also those of calls that were given up.
func (s *memoryStore) reading(delay time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readDelay, s.read = delay, err
}

func (s *memoryStore) DeleteShards(_ context.Context, ids []engine.ShardID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.shards, id)
	}
	return nil
}

type memoryStores map[engine.DriveID]*memoryStore

func (m memoryStores) Store(d engine.DriveID) ShardStore {
	if s := m[d]; s != nil {
		return s
	}
	return nil
}

func stores(n int) (memoryStores, []engine.DriveID) {
	m, drives := memoryStores{}, []engine.DriveID{}
	for i := range n {
		d := engine.DriveID(100 + i)
		m[d] = &memoryStore{shards: map[engine.ShardID]*memoryShard{}}
		drives = append(drives, d)
	}
	return m, drives
}

func code(t testing.TB, r engine.Redundancy) *erasure.Code {
	t.Helper()
	c, err := erasure.New(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func random(n int, seed uint64) []byte {
	b := make([]byte, n+8)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := 0; i < n; i += 8 {
		v := rng.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return b[:n:n]
}

// write writes data as an extent: in one step where a block holds it, else with two blocks in turn.
func write(c Config, data []byte) (Result, bool, error) {
	if len(data) <= c.Code.Block() {
		return WriteWhole(context.Background(), c, data)
	}
	return writeBlocks(c, data)
}

// writeBlocks writes by way of a Writer.
func writeBlocks(c Config, data []byte) (Result, bool, error) {
	w, err := NewWriter(context.Background(), c)
	if err != nil {
		return Result{}, false, err
	}
	defer w.Abort() // does nothing after Commit
	buffers := [2][]byte{make([]byte, c.Code.Block()), make([]byte, c.Code.Block())}
	for i := 0; len(data) > 0; i++ {
		n := copy(buffers[i%2], data)
		if err := w.Write(buffers[i%2][:n]); err != nil {
			return Result{}, w.Stuck(), err
		}
		data = data[n:]
		if w.Stuck() {
			buffers = [2][]byte{make([]byte, c.Code.Block()), make([]byte, c.Code.Block())}
			if err := w.Flush(); err != nil {
				return Result{}, w.Stuck(), err
			}
		}
	}
	r, err := w.Commit(context.Background())
	return r, w.Stuck(), err
}

// prepared is an extent that was written without faults.
func prepared(t testing.TB, r engine.Redundancy, size int) (memoryStores, Source, []byte) {
	t.Helper()
	c := code(t, r)
	m, drives := stores(c.Shards())
	data := random(size, uint64(size))
	result, _, err := write(Config{Stores: m, Pool: pool, Code: c, ID: testID, Size: int64(size), Drives: drives}, data)
	if err != nil || result.Missing != 0 || !slices.Equal(result.Drives, drives) {
		t.Fatalf("%v, %d bytes: %+v, %v", r, size, result, err)
	}
	return m, Source{Stores: m, Pool: pool, Code: c, ID: testID, Size: int64(size), Drives: drives}, data
}

func mustRead(t testing.TB, s Source, data []byte, off, n int) {
	t.Helper()
	dst := make([]byte, n)
	if err := Read(context.Background(), s, int64(off), dst); err != nil {
		t.Fatalf("%d+%d: %d at %d of %d: %v", s.Code.Data(), s.Code.Parity(), n, off, len(data), err)
	}
	if !bytes.Equal(dst, data[off:off+n]) {
		t.Fatalf("%d+%d: %d at %d of %d: other bytes", s.Code.Data(), s.Code.Parity(), n, off, len(data))
	}
	block := int64(s.Code.Block())
	if n == 0 || int64(off)/block != int64(off+n-1)/block {
		return
	}
	var sent []byte
	if err := Send(context.Background(), s, int64(off), int64(n), func(b []byte) error { sent = append(sent, b...); return nil }); err != nil {
		t.Fatalf("send %d at %d: %v", n, off, err)
	}
	if !bytes.Equal(sent, data[off:off+n]) {
		t.Fatalf("send %d at %d: other bytes", n, off)
	}
}

func TestSizesAndRanges(t *testing.T) {
	for _, r := range codes {
		c := code(t, r)
		rng := rand.New(rand.NewPCG(uint64(r.Data), uint64(r.Parity)))
		sizes := []int{1, 2, r.Data, r.Data + 1, 2*c.Block() + unitBytes + 1}
		for _, edge := range []int{unitBytes, c.Piece(), c.Block()} {
			sizes = append(sizes, edge-1, edge, edge+1)
		}
		for _, size := range sizes {
			_, s, data := prepared(t, r, size)
			mustRead(t, s, data, 0, size)
			mustRead(t, s, data, size-1, 1)
			mustRead(t, s, data, size, 0)
			s.Missing = lostSet(rng, c)
			for range 10 {
				off := rng.IntN(size)
				mustRead(t, s, data, off, rng.IntN(size-off+1))
			}
			s.Missing = 1<<c.Shards() - 1 // as reports of a passing fault may leave it: what is there still serves
			mustRead(t, s, data, 0, size)
			if err := Read(context.Background(), s, int64(size), make([]byte, 1)); !engine.Is(err, engine.KindInvalidArgument) {
				t.Fatalf("beyond the end: %v", err)
			}
		}
	}
}

// lostSet picks up to m shards.
func lostSet(rng *rand.Rand, c *erasure.Code) (lost uint64) {
	for _, i := range rng.Perm(c.Shards())[:rng.IntN(c.Parity()+1)] {
		lost |= 1 << i
	}
	return lost
}

// TestEveryLossIsRepaired loses every set of shards: up to m are served around and rebuilt, more are damage.
func TestEveryLossIsRepaired(t *testing.T) {
	for _, r := range codes[:5] {
		size := code(t, r).Block() + 3*unitBytes + 5
		m, s, data := prepared(t, r, size)
		for lost := uint64(1); lost < 1<<s.Code.Shards(); lost++ {
			reported := uint64(0)
			s.Report = func(i int, err error) {
				if reported&(1<<i) != 0 || err == nil {
					t.Errorf("shard %d is reported twice, or with %v", i, err)
				}
				reported |= 1 << i
			}
			for i, d := range s.Drives {
				m[d].reading(0, nil)
				if lost&(1<<i) != 0 {
					m[d].reading(0, engine.E(engine.KindDamaged, "injected"))
				}
			}
			if bits.OnesCount64(lost) > r.Parity {
				dst := make([]byte, size)
				if err := Read(context.Background(), s, 0, dst); lost&(1<<r.Data-1) != 0 && !engine.Is(err, engine.KindDamaged) {
					t.Fatalf("%v lost %b: %v", r, lost, err)
				}
				continue
			}
			mustRead(t, s, data, 0, size)
			if reported&^lost != 0 || reported&(1<<r.Data-1) != lost&(1<<r.Data-1) {
				t.Fatalf("%v lost %b: reported %b", r, lost, reported)
			}
			s.Report = nil
			mustRead(t, s, data, s.Code.Piece()-1, 2)
		}
	}
}

func TestRebuildMakesTheSameShard(t *testing.T) {
	for _, r := range codes[1:] {
		m, s, _ := prepared(t, r, code(t, r).Block()+unitBytes+7)
		for i, d := range s.Drives {
			id := engine.ShardID{Extent: testID, Index: uint8(i)}
			before := m[d].shards[id]
			target := &memoryStore{shards: map[engine.ShardID]*memoryShard{}}
			if err := Rebuild(context.Background(), s, i, target); err != nil {
				t.Fatal(err)
			}
			if after := target.shards[id]; !bytes.Equal(after.data, before.data) || !slices.Equal(after.sums, before.sums) {
				t.Fatalf("%v: shard %d is another", r, i)
			}
			for _, bad := range []*memoryStore{{create: errInjected}, {write: errInjected}, {commit: errInjected}} {
				if err := Rebuild(context.Background(), s, i, bad); !errors.Is(err, errInjected) {
					t.Fatalf("a failing target: %v", err)
				}
			}
		}
	}
	_, s, _ := prepared(t, engine.Redundancy{Data: 1}, 10)
	target := &memoryStore{shards: map[engine.ShardID]*memoryShard{}}
	if err := Rebuild(context.Background(), s, 0, target); !engine.Is(err, engine.KindDamaged) || target.aborted != 1 {
		t.Fatalf("without parity: %v, %d aborted", err, target.aborted)
	}
}

// TestBadUnitsOfDifferentShards has more bad shards than parity, but never in one place.
func TestBadUnitsOfDifferentShards(t *testing.T) {
	r := engine.Redundancy{Data: 2, Parity: 1}
	m, s, data := prepared(t, r, 2*code(t, r).Block()+99)
	for i, d := range s.Drives {
		for _, unit := range []int{i, 8 + 2*i} {
			m[d].shards[engine.ShardID{Extent: testID, Index: uint8(i)}].data[unit*unitBytes+5] ^= 1
		}
	}
	var reported []int
	s.Report = func(i int, _ error) { reported = append(reported, i) }
	mustRead(t, s, data, 0, len(data))
	if len(reported) != 3 {
		t.Fatalf("reported %v", reported)
	}
	m[s.Drives[0]].shards[engine.ShardID{Extent: testID, Index: 0}].data[unitBytes] ^= 1
	if err := Read(context.Background(), s, 0, make([]byte, len(data))); !engine.Is(err, engine.KindDamaged) {
		t.Fatalf("two bad units in one place: %v", err)
	}
}

// TestFailedShardsAreRemade fails one drive after another at each point of a write.
func TestFailedShardsAreRemade(t *testing.T) {
	faults := map[string]func(*memoryStore){
		"create": func(s *memoryStore) { s.create = errInjected },
		"write":  func(s *memoryStore) { s.write = errInjected },
		"commit": func(s *memoryStore) { s.commit = errInjected },
	}
	for _, r := range codes[1:] {
		c := code(t, r)
		for what, fault := range faults {
			for _, size := range []int{c.Block() + unitBytes + 1, unitBytes + 1, c.Block()} {
				data := random(size, 9)
				m, all := stores(c.Shards() + 3)
				drives, spares := all[:c.Shards()], all[c.Shards():]
				fault(m[drives[0]])
				fault(m[spares[0]])
				m[spares[1]] = nil
				next := 0
				result, _, err := write(Config{Stores: m, Pool: pool, Code: c, ID: testID, Size: int64(size), Drives: drives, Spare: func(exclude []engine.DriveID) (engine.DriveID, bool) {
					if next == len(spares) {
						return 0, false
					}
					next++
					return spares[next-1], !slices.Contains(exclude, spares[next-1])
				}}, data)
				if err != nil || result.Missing != 0 || result.Drives[0] != spares[2] {
					t.Fatalf("%v, %s, %d bytes: %+v, %v", r, what, size, result, err)
				}
				mustRead(t, Source{Stores: m, Pool: pool, Code: c, ID: testID, Size: int64(size), Drives: result.Drives}, data, 0, size)
			}
		}
	}
}

func TestWithoutSpares(t *testing.T) {
	for _, r := range codes[3:] {
		for _, write := range []func(Config, []byte) (Result, bool, error){write, writeBlocks} {
			withoutSpares(t, r, write)
		}
	}
}

func withoutSpares(t *testing.T, r engine.Redundancy, write func(Config, []byte) (Result, bool, error)) {
	c := code(t, r)
	data := random(1000, 3)
	m, drives := stores(c.Shards())
	m[drives[1]].write = errInjected
	config := Config{Stores: m, Pool: pool, Code: c, ID: testID, Size: 1000, Drives: drives}
	if _, _, err := write(config, data); !engine.Is(err, engine.KindUnavailable) {
		t.Fatalf("%v, the drive is not out: %v", r, err)
	}
	for _, d := range drives {
		if len(m[d].shards) != 0 {
			t.Fatalf("drive %d keeps a shard after Abort", d)
		}
	}
	config.Out = func(engine.DriveID) bool { return true }
	result, _, err := write(config, data)
	if err != nil || result.Missing != 2 {
		t.Fatalf("%v, the drive is out: %+v, %v", r, result, err)
	}
	s := Source{Stores: m, Pool: pool, Code: c, ID: testID, Size: 1000, Drives: drives, Missing: result.Missing}
	mustRead(t, s, data, 0, 1000)
	for _, d := range drives[:(r.Parity)/2+1] {
		m[d].write = engine.E(engine.KindDriveFull, "injected")
	}
	if _, _, err := write(config, data); !engine.Is(err, engine.KindDriveFull) {
		t.Fatalf("%v, below the floor: %v", r, err)
	}
}

func TestMisuse(t *testing.T) {
	c := code(t, engine.Redundancy{Data: 2, Parity: 1})
	m, drives := stores(3)
	config := Config{Stores: m, Pool: pool, Code: c, ID: testID, Size: 10, Drives: drives[:2]}
	if _, err := NewWriter(context.Background(), config); !engine.Is(err, engine.KindInvalidArgument) {
		t.Fatal(err)
	}
	config.Drives = []engine.DriveID{drives[0], drives[1], drives[0]}
	if _, err := NewWriter(context.Background(), config); !engine.Is(err, engine.KindInvalidArgument) {
		t.Fatal(err)
	}
	config.Drives = drives
	for _, n := range []int{0, 9, 11} {
		w, err := NewWriter(context.Background(), config)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(make([]byte, n)); !engine.Is(err, engine.KindInvalidArgument) {
			t.Fatal(err)
		}
		if _, err := w.Commit(context.Background()); err == nil {
			t.Fatal("committed")
		}
		w.Abort()
		w.Abort()
	}
	for _, d := range drives {
		if m[d].aborted != 3 {
			t.Fatalf("%d of 3 shards aborted", m[d].aborted)
		}
	}
}

func TestSlowShardIsHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * time.Hour) // of the bubble's time: what hangs returns, and cleans up
		for _, r := range codes[1:] {
			m, s, data := prepared(t, r, 5*code(t, r).Block()+1)
			s.Latency = &Latency{}
			for _, d := range s.Drives[:r.Parity] {
				m[d].reading(time.Hour, nil)
			}
			began := time.Now()
			mustRead(t, s, data, 0, len(data))
			if took := time.Since(began); took > 250*time.Millisecond {
				t.Fatalf("%v took %v", r, took)
			}
			mustRead(t, s, data, 3, 5)
		}
	})
}

func TestHungReadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * time.Hour) // of the bubble's time: what hangs returns, and cleans up
		m, s, data := prepared(t, engine.Redundancy{Data: 1}, 1000)
		m[s.Drives[0]].reading(time.Second, nil)
		mustRead(t, s, data, 0, 1000)
		m[s.Drives[0]].reading(time.Hour, nil)
		began := time.Now()
		if err := Read(t.Context(), s, 0, make([]byte, 1000)); !engine.Is(err, engine.KindDamaged) || time.Since(began) > ShardWait+time.Second {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := Read(ctx, s, 0, make([]byte, 1000)); !engine.Is(err, engine.KindCanceled) {
			t.Fatal(err)
		}
	})
}

func TestHungShardIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * time.Hour) // of the bubble's time: what hangs returns, and cleans up
		for _, r := range codes[1:] {
			c := code(t, r)
			for what, fault := range map[string]func(*memoryStore){
				"write":  func(s *memoryStore) { s.writeDelay = time.Hour },
				"commit": func(s *memoryStore) { s.commitDelay = time.Hour },
			} {
				for i, size := range []int{2*c.Block() + 1, 2*c.Block() + 1, 1000, 1000} {
					hung := i % 2 * (c.Shards() - 1)
					m, all := stores(c.Shards() + 2)
					fault(m[all[hung]])
					fault(m[all[c.Shards()]])
					data, next := random(size, 5), c.Shards()
					began := time.Now()
					result, stuck, err := write(Config{Stores: m, Pool: pool, Code: c, ID: testID, Size: int64(size), Drives: all[:c.Shards()], Spare: func([]engine.DriveID) (engine.DriveID, bool) {
						next++
						return all[min(next, len(all))-1], next <= len(all)
					}}, data)
					if err != nil || result.Drives[hung] != all[c.Shards()+1] || !stuck || time.Since(began) > 3*ShardWait {
						t.Fatalf("%v, %s, shard %d: %+v, %v after %v", r, what, hung, result, err, time.Since(began))
					}
					mustRead(t, Source{Stores: m, Pool: pool, Code: c, ID: testID, Size: int64(size), Drives: result.Drives}, data, 0, size)
				}
			}
		}
	})
}

func TestDriveThatIsOutIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * time.Hour) // of the bubble's time: what hangs returns, and cleans up
		c := code(t, engine.Redundancy{Data: 2, Parity: 2})
		m, drives := stores(4)
		m[drives[2]].writeDelay = time.Hour
		began := time.Now()
		result, _, err := write(Config{Stores: m, Pool: pool, Code: c, ID: testID, Size: 99, Drives: drives, Out: func(d engine.DriveID) bool {
			return d == drives[2] && time.Since(began) > 2*time.Second
		}}, random(99, 1))
		if err != nil || result.Missing != 4 || time.Since(began) > 3*time.Second {
			t.Fatalf("%+v, %v after %v", result, err, time.Since(began))
		}
	})
}

func TestCanceledWriteEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * time.Hour) // of the bubble's time: what hangs returns, and cleans up
		c := code(t, engine.Redundancy{Data: 2, Parity: 2})
		m, drives := stores(4)
		for _, d := range drives {
			m[d].commitDelay = time.Hour
		}
		w, err := NewWriter(t.Context(), Config{Stores: m, Pool: pool, Code: c, ID: testID, Size: 99, Drives: drives})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(random(99, 1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Commit(ctx); !engine.Is(err, engine.KindCanceled) {
			t.Fatal(err)
		}
		began := time.Now()
		w.Abort()
		if time.Since(began) > ShardWait {
			t.Fatalf("Abort took %v", time.Since(began))
		}
	})
}

// TestConcurrentReads has the race detector look at reads that share everything.
func TestConcurrentReads(t *testing.T) {
	m, s, data := prepared(t, engine.Redundancy{Data: 4, Parity: 2}, 3<<20+17)
	m[s.Drives[1]].reading(0, errInjected)
	s.Latency = &Latency{}
	var running sync.WaitGroup
	for n := range 8 {
		running.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 0))
			for range 10 {
				off := rng.IntN(len(data))
				dst := make([]byte, rng.IntN(len(data)-off+1))
				if err := Read(context.Background(), s, int64(off), dst); err != nil || !bytes.Equal(dst, data[off:off+len(dst)]) {
					t.Errorf("%d at %d: %v", len(dst), off, err)
				}
			}
		})
	}
	running.Wait()
}

func BenchmarkRead(b *testing.B) {
	for _, lost := range []uint64{0, 1} {
		b.Run(map[uint64]string{0: "whole", 1: "one lost"}[lost], func(b *testing.B) {
			_, s, data := prepared(b, engine.Redundancy{Data: 2, Parity: 2}, 16<<20)
			s.Missing = lost
			dst := make([]byte, len(data))
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := Read(context.Background(), s, 0, dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
