package sim_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/node"
)

// TestPowerCutsWhileReplacing loses one or two of four drives, puts empty folders in their places, and cuts the power while the node takes
// them in; then it must end up with every replica, every shard and every byte.
func TestPowerCutsWhileReplacing(t *testing.T) {
	t.Parallel()
	points, sites := map[point]bool{}, map[string]int{}
	for seed := range uint64(seedCount(t, 60)) {
		at, err := newMachine(seed).replaceRun(t)
		if err != nil {
			t.Fatalf("seed %d, power cut at call %d (%s): %v", seed, at.ordinal, at.site, err)
		}
		if at.site != "" {
			points[at] = true
			sites[at.site]++
		}
	}
	t.Logf("%d distinct points (operation, call site, ordinal)\n%s", len(points), table(sites))
	if len(points) == 0 {
		t.Error("the power was never cut")
	}
}

func (m *machine) replaceRun(t *testing.T) (point, error) {
	rng := rand.New(rand.NewPCG(m.seed, 5))
	n, err := m.open(t)
	if err != nil {
		return point{}, err
	}
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		return point{}, err
	}
	states := newModel()
	for i, key := range keys {
		b := bytes.Repeat([]byte{byte(i), byte(m.seed)}, 1+i*6000)
		if _, err := n.Put(t.Context(), ref(key), bytes.NewReader(b), engine.PutOptions{Size: int64(len(b))}); err != nil {
			return point{}, err
		}
		states.set(key, sum(b))
	}
	if err := n.Close(); err != nil {
		return point{}, err
	}
	for i, name := range m.folders()[2:] {
		if i == int(m.seed%4) || m.seed%3 == 0 && i == int(m.seed+1)%4 {
			m.disks[name] = m.newDisk(m.seed*16 + 100 + uint64(i))
		}
	}
	var at point
	for range 1 + rng.IntN(3) {
		m.powerOn(1 + rng.Int64N(500))
		m.operation.Store("replace")
		if n, err = m.open(t); err == nil {
			select {
			case <-m.died:
			case <-time.After(200 * time.Millisecond): // replaced before the call that was drawn; then the keepers' work is cut, or none
			}
			_ = n.Close() // with dead disks it says so
		} else if !m.dead.Load() {
			return m.at, fmt.Errorf("the node does not start: %w", err)
		}
		if at == (point{}) {
			at = m.at
		}
		m.powerOff()
	}
	m.powerOn(0)
	if n, err = m.open(t); err != nil {
		return at, fmt.Errorf("the node does not start again: %w", err)
	}
	defer n.Close()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if err := whole(ctx, n); err != nil {
		return at, err
	}
	if err := check(ctx, n, states); err != nil {
		return at, err
	}
	return at, empty(ctx, n)
}

// whole waits until every drive is in, every shard is recorded where it should be, and every group has all its replicas at work.
func whole(ctx context.Context, n *node.Node) error {
	for {
		s, err := n.Status(ctx)
		if err != nil {
			return err
		}
		ok := s.Protected()
		for _, d := range s.Drives {
			ok = ok && d.State == "in"
		}
		for _, g := range s.Groups {
			ok = ok && g.Replicas == 5 && g.Voters == 5 && g.Live == 5
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the node is not whole again: %+v", s)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
