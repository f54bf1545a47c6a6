package group_test

import (
	"context"
	"testing"
	"time"
)

// TestMore: who waits is told when more is applied, sees it then, and is told of the end.
func TestMore(t *testing.T) {
	c := newCluster(t, 3)
	closed := false
	defer func() {
		if !closed {
			c.close()
		}
	}()
	c.propose("0")
	for i := range 50 {
		text := string(rune('a' + i))
		seen := make(chan error, 1)
		ready := make(chan struct{})
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			for told := ready; ; told = nil {
				more := c.group.More()
				value, _, err := c.group.Get(ctx, []byte("v"))
				if told != nil {
					close(told)
				}
				if err != nil || string(value) == text {
					seen <- err
					return
				}
				select {
				case <-more:
				case <-ctx.Done():
					seen <- ctx.Err()
					return
				}
			}
		}()
		<-ready
		c.propose(text)
		if err := <-seen; err != nil {
			t.Fatalf("change %d was not heard of: %v", i, err)
		}
	}
	more := c.group.More()
	c.close()
	closed = true
	select {
	case <-more:
	case <-time.After(10 * time.Second):
		t.Error("who waits is not told that the group ended")
	}
}
