package sim_test

import (
	"bytes"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk/sim"
	"holdfast/engine/node"
)

// TestHangingDrive has all calls of one drive hang. Writes go on, the drive is out within 2 s, and once its calls return it is back, and what
// was written meanwhile is protected again.
func TestHangingDrive(t *testing.T) {
	m := newMachine(7)
	m.check, m.hangQuiet = 50*time.Millisecond, 200*time.Millisecond
	n, err := m.open(t)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	states := newModel()
	for _, key := range keys {
		states.set(key, "")
	}
	if err := some(t.Context(), n, states); err != nil {
		t.Fatal(err)
	}
	hung := m.disks["/d3"]
	hung.Freeze(func(sim.Call) bool { return true })
	began := time.Now()
	slowest := time.Duration(0)
	for round := 0; state(t, n, "/d3").State == "in"; round++ {
		each := time.Now()
		b := bytes.Repeat([]byte{byte(round)}, 20_000)
		if _, err := n.Put(t.Context(), ref("z"), bytes.NewReader(b), engine.PutOptions{Size: int64(len(b))}); err != nil {
			t.Fatalf("a write while one drive hangs: %v", err)
		}
		states.set("z", sum(b))
		slowest = max(slowest, time.Since(each))
	}
	out := time.Since(began)
	t.Logf("out after %v, slowest write meanwhile %v", out, slowest)
	if out > 4*time.Second { // a busy machine looks late
		t.Errorf("the drive was out after %v; 2 s are promised", out)
	}
	if err := write(t.Context(), n, states, "ü", 30_000, 8); err != nil {
		t.Fatal(err)
	}
	hung.Thaw()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if state(t, n, "/d3").State == "in" && s.Protected() && s.Garbage == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the drive does not come back: %+v", s)
		}
	}
	if err := check(t.Context(), n, states); err != nil {
		t.Error(err)
	}
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func state(t *testing.T, n *node.Node, path string) node.DriveStatus {
	t.Helper()
	s, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range s.Drives {
		if d.Path == path {
			return d
		}
	}
	t.Fatalf("there is no drive %s: %+v", path, s)
	return node.DriveStatus{}
}
