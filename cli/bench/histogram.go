package bench

import (
	"math"
	"math/bits"
	"time"
)

// Histogram counts durations in a fixed amount of memory: exactly below 256 ns, above in steps of less than 1 %.
type Histogram struct {
	buckets  [stepsExact + (64-8)*stepsPerPower]uint64
	n        uint64
	sum      float64 // ns
	min, max time.Duration
}

const (
	stepsExact    = 256
	stepsPerPower = stepsExact / 2 // of each power of two from 256 ns
)

// Add counts a duration; a negative one is 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.n++
	h.sum += float64(d)
	h.buckets[bucketOf(uint64(d))]++
}

func bucketOf(v uint64) int {
	if v < stepsExact {
		return int(v)
	}
	shift := bits.Len64(v) - 8
	return stepsExact + (shift-1)*stepsPerPower + int(v>>shift) - stepsPerPower
}

// largest returns the largest duration that a bucket counts.
func largest(bucket int) uint64 {
	if bucket < stepsExact {
		return uint64(bucket)
	}
	bucket -= stepsExact
	shift := bucket/stepsPerPower + 1
	return (uint64(bucket%stepsPerPower+stepsPerPower)+1)<<shift - 1
}

// Count returns how many durations there are.
func (h *Histogram) Count() int { return int(h.n) }

// Min returns the least duration, 0 if there is none.
func (h *Histogram) Min() time.Duration { return h.min }

// Max returns the greatest duration, 0 if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns the average duration, 0 if there is none.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.n))
}

// Quantile returns the least duration that the part q (0 to 1) of all does not exceed, to 1 %; 0 if there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := max(uint64(math.Ceil(q*float64(h.n))), 1)
	for i, count := range h.buckets {
		if count >= rank {
			return min(max(time.Duration(largest(i)), h.min), h.max)
		}
		rank -= count
	}
	return h.max
}
