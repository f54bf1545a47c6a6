package quorum

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// TestFlushDuringApply flushes while many entries are committed and only some applied, and then loses the leader: an election looks at
// entries that the node does not know as applied, which must still be in memory.
func TestFlushDuringApply(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 1))
		c := newCluster(t, 3, false)
		if err := c.start(t); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		done := make(chan struct{})
		for w := range 64 {
			go func() {
				for i := range 40 {
					_, _, _ = c.group.Propose(ctx, command(uint64(w+1), uint64(i+1), 60000))
				}
				done <- struct{}{}
			}()
		}
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, d := range c.drives {
					_ = d.Flush(ctx)
				}
			}
		}()
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond) // the instant of the failure is what is random here
		s := c.group.Status()
		for _, r := range s.Replicas {
			if r.Replica == s.Leader {
				c.drives[r.Drive].fail(errors.New("gone"))
			}
		}
		for range 64 {
			<-done
		}
		close(stop)
		<-ended
		cancel()
		c.group.Close()
	}
}
