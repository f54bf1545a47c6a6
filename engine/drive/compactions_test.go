package drive

import (
	"fmt"
	"testing"
	"time"

	"holdfast/engine/disk/sim"

	"github.com/cockroachdb/pebble/v2"
)

// TestCompactions: tables that overlap do not pile up, although no compaction begins before the index is open.
func TestCompactions(t *testing.T) {
	fsys := sim.New(1, sim.Options{TotalBytes: 1 << 30})
	if err := Format(fsys, Identity{Cluster: [16]byte{1}, Drive: 1, Incarnation: 1, Role: RoleData}, Geometry{RingBytes: 4 << 20, SegmentBytes: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there are tables when the index is opened
		d, err := Open(fsys, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			for _, k := range []string{"a", "z"} {
				if err := d.db.Set([]byte(fmt.Sprint("\xfe", k, i)), make([]byte, 1000), pebble.NoSync); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if m := d.db.Metrics(); m.Levels[0].Sublevels < 5 && m.Compact.NumInProgress == 0 && m.Compact.Count > 0 {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("tables pile up: %v", m)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
