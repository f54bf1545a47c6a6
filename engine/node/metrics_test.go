package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/engine"
	"holdfast/observe/metrics"
)

// measured are the values of a node's metrics, as `name{label values}`.
func measured(t *testing.T, r *metrics.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetName() != "path" {
					labels = append(labels, l.GetValue())
				}
			}
			list[strings.TrimPrefix(f.GetName(), "holdfast_")+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return list
}

// TestMeasure wants that figures are what was done, and that a drive that goes out is seen.
func TestMeasure(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	n := openNode(t, c)
	defer closeNode(t, n)
	r := metrics.New()
	n.Measure(r)
	n.census.rest, n.usage.rest = 0, 0
	for _, bucket := range []engine.BucketName{"bucket", "empty"} {
		if _, err := n.CreateBucket(t.Context(), bucket, engine.CreateBucketOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, n, "small", content(1, 100))
	put(t, n, "large", content(2, 3<<20))
	put(t, n, "large", content(3, 1<<20))
	want := func(what string, wanted map[string]float64) {
		t.Helper()
		var wrong []string
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			got := measured(t, r)
			wrong = nil
			for name, value := range wanted {
				if have, there := got[name]; !there || have != value {
					wrong = append(wrong, fmt.Sprintf("%s is %v (there: %t), want %v", name, have, there, value))
				}
			}
			if len(wrong) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s", what, strings.Join(wrong, "; "))
			}
		}
	}
	want("after three writes", map[string]float64{
		"buckets{}": 2, "objects{}": 2, "versions{}": 2, "object_bytes{}": 100 + 1<<20, "bucket_objects{bucket}": 2, "bucket_bytes{bucket}": 100 + 1<<20,
		"bucket_objects{empty}": 0, "drive_in{1,data}": 1, "drive_in{5,witness}": 1, "drive_shards{1,data}": 1, "drive_shards{5,witness}": 0,
		"group_quorum{0}": 1, "group_replicas{1}": 5, "group_replicas_live{1}": 5, "group_voters{1}": 5, "writable{}": 1, "redundancy_data_shards{}": 2,
		"redundancy_parity_shards{}": 2, "buffer_budget_bytes{}": 64 << 20, "buffer_held_bytes{}": 0, "buffer_waiting{}": 0, "extents_missing_shards{}": 0,
		"shards_on_lost_drives{}": 0, "extents_less_parity{}": 0, "contents_to_collect{}": 0, "trash{}": 0, "trash_versions{}": 0, "feed_cursors{}": 0, "feed_changes{}": 0, "feed_changes_behind{}": 0, "feed_cursors_lost{}": 0, "keeper_contents_freed_total{}": 1, "drive_read_errors_total{1,data}": 0,
	})
	got := measured(t, r)
	for _, name := range []string{"group_term{1}", "group_index{1}", "group_leader{1}", "drive_capacity_bytes{1,data}", "drive_free_bytes{1,data}", "drive_calls_total{1,data}",
		"drive_call_seconds_total{1,data}", "buffer_acquired_total{}", "buffer_held_bytes_max{}", "drive_used_bytes{1,data}"} {
		if got[name] <= 0 {
			t.Errorf("%s is %v, which cannot be", name, got[name])
		}
	}
	for _, m := range r.Metrics() {
		seen := false
		for name := range got {
			seen = seen || strings.HasPrefix(name, strings.TrimPrefix(m.Name, "holdfast_")+"{")
		}
		if !seen {
			t.Errorf("%s is declared and has no value", m.Name)
		}
	}
	status, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if float64(status.Drives[0].Shards) != got["drive_shards{1,data}"] || float64(status.Groups[1].Index) > got["group_index{1}"]+10 {
		t.Errorf("status and metrics differ: %+v", status)
	}
	if err := os.Rename(c.Drives[0], c.Drives[0]+".away"); err != nil {
		t.Fatal(err)
	}
	want("after a drive vanished", map[string]float64{"drive_in{1,data}": 0, "drive_in{2,data}": 1, "writable{}": 1, "group_quorum{1}": 1})
}

// TestAged wants that a costly value is read once for all who ask, rests in proportion to its cost, and stays as it was when it cannot be read.
func TestAged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads, takes := 0, 3*time.Second
		var failure error
		a := aged[int]{rest: time.Second, read: func(ctx context.Context) (int, error) {
			reads++
			select {
			case <-time.After(takes):
			case <-ctx.Done():
				return 0, ctx.Err()
			}
			return reads, failure
		}}
		if v, _, _ := a.get(time.Second); v != nil {
			t.Errorf("%d came before it was read", *v)
		}
		if v, _, _ := a.get(5 * time.Second); v == nil || *v != 1 || reads != 1 {
			t.Errorf("the first reading gave %v in %d readings", v, reads)
		}
		time.Sleep(50 * time.Second)
		if v, at, took := a.get(5 * time.Second); *v != 1 || reads != 1 || time.Since(at) != 50*time.Second || took != takes {
			t.Errorf("at rest: %d after %d readings, age %v, cost %v", *v, reads, time.Since(at), took)
		}
		time.Sleep(11 * time.Second)
		failure = errors.New("no quorum")
		if v, at, _ := a.get(5 * time.Second); *v != 1 || reads != 2 || time.Since(at) < time.Minute {
			t.Errorf("a reading that failed gave %d, age %v", *v, time.Since(at))
		}
		time.Sleep(time.Hour)
		failure, takes = nil, time.Hour
		a.get(0)
		a.close() // interrupts
		if v, _, _ := a.get(time.Second); *v != 1 || reads != 3 {
			t.Errorf("after the end: %d, %d readings", *v, reads)
		}
		time.Sleep(100 * time.Hour)
		if a.get(time.Second); reads != 3 {
			t.Error("it was read after the end")
		}
	})
}
