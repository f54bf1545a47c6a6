package repair

import (
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast/engine"
)

// leapingClock is a clock that lets no time pass but that which somebody waits for.
type leapingClock struct{ now time.Time }

func (c *leapingClock) Now() time.Time { return c.now }

func (c *leapingClock) After(d time.Duration) (<-chan time.Time, func()) {
	c.now = c.now.Add(d)
	passed := make(chan time.Time, 1)
	passed <- c.now
	return passed, func() {}
}

// TestPace wants that a pass is spread over its period, neither slower than 1 MiB/s nor quicker than the limit, and makes up for what it lost.
func TestPace(t *testing.T) {
	const MiB, GiB = 1 << 20, 1 << 30
	begin := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		period       time.Duration
		held, done   int64
		limit        int64
		asked        bool
		passed, want float64 // hours; bytes per second
	}{
		{720 * time.Hour, 10 << 40, 0, 64 * MiB, false, 0, float64(10<<40) / (720 * 3600)},
		{720 * time.Hour, 100 * GiB, 0, 64 * MiB, false, 0, MiB},                                  // more time than it needs
		{720 * time.Hour, 500 << 40, 0, 64 * MiB, false, 0, 64 * MiB},                             // less
		{720 * time.Hour, 100 * GiB, 0, 64 * MiB, true, 0, 64 * MiB},                              // somebody waits for it
		{10 * time.Hour, 360 * GiB, 0, 64 * MiB, false, 5, float64(360*GiB) / (5 * 3600)},         // it was off for half of the time
		{10 * time.Hour, 360 * GiB, 359 * GiB, 64 * MiB, false, 9, MiB},                           // it was quick
		{10 * time.Hour, 360 * GiB, 359 * GiB, 64 * MiB, false, 11, 64 * MiB},                     // it is late
		{10 * time.Hour, 360 * GiB, 400 * GiB, 64 * MiB, false, 5, MiB},                           // much was deleted
		{10 * time.Hour, 360 * GiB, 0, MiB / 2, false, 5, MiB / 2},                                // the limit is the last word
		{10 * time.Hour, 360 * GiB, 180 * GiB, 64 * MiB, false, 5, float64(180*GiB) / (5 * 3600)}, // as planned
	} {
		clock := &leapingClock{begin.Add(time.Duration(c.passed * float64(time.Hour)))}
		s := &scrub{scrubs: &scrubs{config: ScrubConfig{Period: c.period, Rate: c.limit, Clock: clock}}, held: c.held}
		s.record.Pass = &scrubPass{Started: begin, Asked: c.asked, ScrubCounters: ScrubCounters{Bytes: c.done}}
		if got := s.rate(); got < c.want*0.999 || got > c.want*1.001 {
			t.Errorf("%+v: %.0f bytes per second", c, got)
		}
	}
}

// TestPaceOfReads wants that reads, small and large, take the time together that their bytes take, and that what was lost is not made up for at once.
func TestPaceOfReads(t *testing.T) {
	const rate = 1e6
	clock := &leapingClock{time.Unix(1_800_000_000, 0)}
	s := &scrub{scrubs: &scrubs{config: ScrubConfig{Clock: clock}}}
	for _, read := range []int64{1, 5000, 1 << 20} {
		began, total := clock.now, int64(0)
		for ; total < 10<<20 && total < 1000*read; total += read {
			if err := s.pace(t.Context(), read, rate); err != nil {
				t.Fatal(err)
			}
		}
		took, want := clock.now.Sub(began), time.Duration(float64(total)/rate*1e9)
		if took > want+time.Millisecond || took < want-scrubGrain-time.Duration(read*1000)-time.Millisecond {
			t.Errorf("reads of %d bytes, %d in all, took %v instead of %v", read, total, took, want)
		}
		clock.now = clock.now.Add(time.Hour)
	}
}

// TestRecord wants that a record comes back, and that one of a later version, or none of ours, is not guessed.
func TestRecord(t *testing.T) {
	at := time.Unix(1_800_000_000, 5).UTC()
	want := scrubRecord{
		Last: &Proof{at, at.Add(time.Hour), ScrubCounters{1, 4096, 0}},
		Pass: &scrubPass{at, true, scrubExtent{1, 1 << 63, 3}, ScrubCounters{7, 8192, 1}},
	}
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseScrub(b)
	if err != nil || *got.Last != *want.Last || *got.Pass != *want.Pass {
		t.Errorf("%s became %+v, %v", b, got, err)
	}
	if r, err := parseScrub(nil); err != nil || r.Last != nil || r.Pass != nil {
		t.Errorf("nothing became %+v, %v", r, err)
	}
	if r, err := parseScrub([]byte(strings.Replace(string(b), `"format":1`, `"format":2,"of":"tomorrow"`, 1))); !errors.Is(err, engine.ErrNewer) || r.Last != nil {
		t.Errorf("a later version became %+v, %v", r, err)
	}
	for _, wrong := range []string{"{}", "x", `{"format":1,"last":5}`, string(b[:len(b)-1])} {
		if r, err := parseScrub([]byte(wrong)); !engine.Is(err, engine.KindDamaged) || r.Last != nil || r.Pass != nil {
			t.Errorf("%s became %+v, %v", wrong, r, err)
		}
	}
}
