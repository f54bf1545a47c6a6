package engine_test

import (
	"math/rand/v2"
	"testing"

	"holdfast/engine"
)

// TestWithLock compares what a file's locks become with a table that has who has each byte.
func TestWithLock(t *testing.T) {
	const bytes = 24
	conflicts, granted := 0, 0
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var locks []engine.FileLock
		var table [3][bytes + 1]engine.LockMode // by holder; the last byte stands for all behind
		for range 60 {
			holder := rng.Uint64N(3)
			l := engine.FileLock{Holder: holder, Mode: engine.LockMode(rng.IntN(3)), Start: rng.Int64N(bytes)}
			if rng.IntN(4) > 0 {
				l.Length = 1 + rng.Int64N(bytes-l.Start)
			}
			covers := func(i int) bool { return int64(i) >= l.Start && int64(i) < l.End() }
			blocked := false
			for h := range table {
				for i, mode := range table[h] {
					blocked = blocked || uint64(h) != holder && covers(i) && mode != engine.LockNone && l.Mode != engine.LockNone &&
						(mode == engine.LockExclusive || l.Mode == engine.LockExclusive)
				}
			}
			if _, held := engine.InTheWay(locks, l); held != blocked {
				t.Fatalf("seed %d: %+v in the way of %+v: %v, want %v", seed, locks, l, held, blocked)
			}
			if blocked {
				conflicts++
				continue
			}
			granted++
			locks = engine.WithLock(locks, l)
			for i := range table[holder] {
				if covers(i) {
					table[holder][i] = l.Mode
				}
			}
			for h := range table {
				for i, want := range table[h] {
					got, n := engine.LockNone, 0
					for _, o := range locks {
						if o.Holder == uint64(h) && o.Start <= int64(i) && int64(i) < o.End() {
							got = o.Mode
							n++
						}
					}
					if got != want || n > 1 {
						t.Fatalf("seed %d: after %+v holder %d has mode %d at %d by %d locks, want %d: %+v", seed, l, h, got, i, n, want, locks)
					}
				}
			}
			for i := range locks {
				for j := range locks[:i] {
					if a, b := &locks[j], &locks[i]; a.Holder == b.Holder && a.Mode == b.Mode && a.End() >= b.Start && b.End() >= a.Start {
						t.Fatalf("seed %d: %+v and %+v are not one", seed, *a, *b)
					}
				}
			}
		}
	}
	if conflicts < 100 || granted < 100 {
		t.Fatalf("%d locks were refused and %d granted: too few to tell", conflicts, granted)
	}
}
