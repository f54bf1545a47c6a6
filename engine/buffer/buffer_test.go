package buffer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"holdfast/engine"
)

func TestAcquireIsFirstInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(100)
		a, err := p.Acquire(t.Context(), 80)
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan int, 2)
		for i, n := range []int64{50, 10} {
			go func() {
				l, err := p.Acquire(t.Context(), n)
				if err != nil {
					t.Error(err)
					return
				}
				order <- i
				defer l.Release()
			}()
			synctest.Wait()
		}
		if len(order) != 0 {
			t.Fatal("a small request overtook a large one")
		}
		a.Shrink(60)
		synctest.Wait()
		if len(order) != 0 {
			t.Fatal("granted above the budget")
		}
		a.Release()
		synctest.Wait()
		if first := <-order; first != 0 && p.Stats().Held > 100 {
			t.Fatalf("granted %d first", first)
		}
		<-order
		if s := p.Stats(); s.Held != 0 || s.Waiting != 0 || s.Acquired != 3 {
			t.Fatalf("stats %+v", s)
		}
	})
}

func TestAcquireGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(10)
		p.SetWaitMax(time.Second)
		l, _ := p.Acquire(t.Context(), 10)
		if _, err := p.Acquire(t.Context(), 1); !engine.Is(err, engine.KindSlowDown) {
			t.Fatalf("wait limit: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := p.Acquire(ctx, 1); !engine.Is(err, engine.KindSlowDown) {
			t.Fatalf("context: %v", err)
		}
		if _, err := p.Acquire(t.Context(), 11); !engine.Is(err, engine.KindInvalidArgument) {
			t.Fatalf("too much: %v", err)
		}
		l.Release()
		l.Release()
		if s := p.Stats(); s.Held != 0 || s.Refused != 2 || s.HeldMax != 10 {
			t.Fatalf("stats %+v", s)
		}
	})
}

func TestGetIsAlignedAndOfItsClass(t *testing.T) {
	p := New(1)
	for _, size := range []int{0, 1, 4096, 4097, 64 << 10, 1<<20 + 1, 2 << 20, 2<<20 + 1} {
		b := p.Get(size)
		if len(b) != size {
			t.Fatalf("Get(%d) has %d bytes", size, len(b))
		}
		if uintptr(unsafe.Pointer(unsafe.SliceData(b)))%Align != 0 {
			t.Fatalf("Get(%d) is not aligned", size)
		}
		for i := range b {
			b[i] = 1
		}
		p.Put(b)
	}
}

// Buffers that share a huge page must not overlap, and a page must be cut to its end.
func TestBuffersOfAPageAreApart(t *testing.T) {
	p := New(1)
	for size := BytesMin; size <= BytesMax; size *= 2 {
		held := map[uintptr][]byte{}
		for range 2*hugeBytes/max(size, carvedMin) + 1 {
			b := p.Get(size)
			if cap(b) != size {
				t.Fatalf("a buffer of %d bytes has a capacity of %d", size, cap(b))
			}
			at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
			if at%Align != 0 || size >= carvedMin && at%uintptr(size) != 0 {
				t.Fatalf("a buffer of %d bytes is at %#x", size, at)
			}
			for other := range held {
				if at < other+uintptr(size) && other < at+uintptr(size) {
					t.Fatalf("buffers of %d bytes at %#x and %#x overlap", size, at, other)
				}
			}
			held[at] = b
		}
	}
}

// TestSplit gives parts of a lease back apart.
func TestSplit(t *testing.T) {
	p := New(100)
	whole, err := p.Acquire(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	part := whole.Split(20)
	if whole.Bytes() != 40 || part.Bytes() != 20 || whole.Split(50).Bytes() != 40 {
		t.Errorf("%d and %d bytes", whole.Bytes(), part.Bytes())
	}
	part.Release()
	whole.Release()
	if held := p.Stats().Held; held != 40 {
		t.Errorf("%d bytes are held, the 40 that nobody gave back", held)
	}
}

// TestLoansAreCalledBack: who lets lent memory wait is cut when others wait in line, the oldest first, no more than they need, and nobody without need.
func TestLoansAreCalledBack(t *testing.T) {
	p := New(40)
	p.SetLentMax(20 * time.Millisecond)
	cuts := make(chan int, 4)
	var leases []*Lease
	var backs []func()
	for i := range 4 {
		l, err := p.Acquire(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, l)
		backs = append(backs, l.Lend(func() { cuts <- i; l.Release() }))
	}
	backs[0]() // it works on
	l, err := p.Acquire(t.Context(), 15)
	if err != nil {
		t.Fatal(err)
	}
	if first, second := <-cuts, <-cuts; first != 1 || second != 2 || len(cuts) > 0 || p.Stats().Cut != 2 {
		t.Errorf("%d and %d were cut, then %d more; %+v", first, second, len(cuts), p.Stats())
	}
	for _, back := range backs[1:] {
		back() // for two of them nothing is left to do
	}
	l.Release()
	for _, l := range leases {
		l.Release()
	}
	if s := p.Stats(); s.Held != 0 || p.lent.Len() != 0 {
		t.Errorf("%+v, %d loans", s, p.lent.Len())
	}
}
