package quorum

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast/engine"
)

// TestTwoReplacedThenTwoLost replaces two of five drives, cuts the power before anything else is flushed, and loses two of the old ones:
// the three that are left are a majority of the members, and must know it.
func TestTwoReplacedThenTwoLost(t *testing.T) {
	c := newCluster(t, 5, false)
	if err := c.start(t); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	number := uint64(0)
	put := func() {
		number++
		if _, _, err := c.group.Propose(ctx, command(1, number, 10)); err != nil {
			t.Fatal(err)
		}
	}
	put()
	for i := range 2 {
		c.drives[engine.DriveID(100+i)].fail(errors.New("wiped"))
		put()
		if err := c.group.RemoveReplica(ctx, uint64(i+1)); err != nil {
			t.Fatal(err)
		}
		d := newFakeDrive()
		c.drives[engine.DriveID(200+i)] = d
		if err := c.group.AddReplica(ctx, Member{Replica: uint64(50 + i), Drive: engine.DriveID(200 + i)}, d); err != nil {
			t.Fatal(err)
		}
		put()
	}
	c.group.Close()
	for id, d := range c.drives {
		for _, s := range d.stores {
			s.Crash(func(int) int { return 0 })
		}
		d.flushed = map[int]func(){}
		if id < 104 { // the first two are gone, and now the next two are lost: three of five are left
			delete(c.drives, id)
		}
	}
	if err := c.start(t); err != nil {
		t.Fatal(err)
	}
	defer c.group.Close()
	if got := c.count(t); got != number {
		t.Fatalf("%d commands were answered, %d are there", number, got)
	}
}
