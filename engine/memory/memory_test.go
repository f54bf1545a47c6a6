package memory_test

import (
	"bytes"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/enginetest"
	"holdfast/engine/memory"
)

func TestEngine(t *testing.T) {
	enginetest.Run(t, func(*testing.T) engine.Engine { return memory.New() })
}

// TestRandom compares the model with itself: the generator asks nothing that has no single answer.
func TestRandom(t *testing.T) {
	for seed := range uint64(4) {
		enginetest.Random(t, seed, memory.New(), memory.New(), 1000)
	}
}

// TestClock: versions carry the clock's time, and a clock that is set back does not make them older.
func TestClock(t *testing.T) {
	now := time.Unix(1_000_000, 5)
	e := memory.New(memory.Clock(func() time.Time { return now }))
	if _, err := e.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	stamps := []time.Duration{time.Second, -time.Hour, 2 * time.Second}
	want := []time.Time{now.Add(time.Second), now.Add(time.Second), now.Add(2 * time.Second)}
	start := now
	for i, step := range stamps {
		now = start.Add(step)
		info, err := e.Put(t.Context(), engine.Ref{Bucket: "bucket", Key: "k"}, bytes.NewReader(nil), engine.PutOptions{})
		if err != nil || !info.Modified.Equal(want[i]) {
			t.Errorf("put at %v was modified at %v, %v; want %v", now, info.Modified, err, want[i])
		}
	}
}
