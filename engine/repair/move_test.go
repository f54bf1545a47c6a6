package repair

import (
	"testing"
	"time"
)

// TestPacer wants that moves take the time that their bytes take at the rate, that one which is larger than a second's worth is paid for after it, and that
// time in which nothing moved is not made up for.
func TestPacer(t *testing.T) {
	const rate = 1 << 20
	now := time.Unix(1_800_000_000, 0)
	p := pacer{rate: rate}
	p.refill(now)
	if p.credit.Load() != rate || p.wait() != 0 {
		t.Errorf("at first the credit is %d", p.credit.Load())
	}
	for _, size := range []int64{1000, rate / 3, 5 * rate} {
		p.refill(now)
		began, moved := now, int64(0)
		for moved < 20*rate {
			if wait := p.wait(); wait > 0 {
				if wait > moveRest {
					t.Fatalf("a wait of %v", wait)
				}
				now = now.Add(wait)
				p.refill(now)
			}
			for p.credit.Load() > 0 && moved < 20*rate {
				p.credit.Add(-size)
				moved += size
			}
		}
		took, want := now.Sub(began), time.Duration(float64(moved-size)/rate*float64(time.Second))
		if took < want-1100*time.Millisecond || took > want+2*time.Second {
			t.Errorf("%d bytes in moves of %d took %v, not %v", moved, size, took, want)
		}
		now = now.Add(time.Hour)
		p.refill(now)
		p.refill(now.Add(10 * time.Second))
		if now = now.Add(10 * time.Second); p.credit.Load() > rate {
			t.Errorf("after an hour of rest the credit is %d", p.credit.Load())
		}
	}
}
