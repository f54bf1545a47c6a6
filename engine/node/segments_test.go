package node

import (
	"fmt"
	"testing"

	"holdfast/engine"
	"holdfast/engine/disk/sim"
	"holdfast/observe/metrics"
)

// sparseRig is a node that has 8 small objects, one in each of some segments of every drive, and in these nothing else since what was beside them was
// deleted. Before is called before that.
func sparseRig(t *testing.T, before func(*rig)) *rig {
	t.Helper()
	r := newRig(t, sim.Options{}, func(c *Config, _ *runningClock) { c.Geometry.SegmentBytes = 1 << 20 })
	for i := range 8 {
		put(t, r, fmt.Sprint("small", i), content(uint64(i), 20_000))
		for j := range 4 {
			put(t, r, fmt.Sprint("large", i*4+j), content(uint64(j), 480_000))
		}
	}
	before(r)
	for i := range 32 {
		if _, err := r.Delete(t.Context(), engine.Ref{Bucket: "bucket", Key: engine.Key(fmt.Sprint("large", i))}, engine.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *rig) readSmall() {
	r.t.Helper()
	for i := range 8 {
		mustGet(r.t, r.Node, fmt.Sprint("small", i), content(uint64(i), 20_000))
	}
}

func sparseSegments(s Status) (count int) {
	for _, d := range s.Drives {
		count += d.Sparse
	}
	return count
}

// TestSegmentsCompacted: what little is left of segments moves together, and status and metrics say so.
func TestSegmentsCompacted(t *testing.T) {
	segments := 0
	r := sparseRig(t, func(r *rig) {
		for _, d := range r.now().Drives {
			segments += d.Segments
		}
	})
	s := r.until("segments are not compacted", func(s Status) bool {
		left := 0
		for _, d := range s.Drives {
			left += d.Segments
		}
		return s.Garbage == 0 && sparseSegments(s) <= 4 && s.Keeper.SegmentsCompacted >= 4 && left < segments-16
	})
	if k := s.Keeper; k.ShardsGathered < 4 || k.BytesGathered < 4*10_000 || k.ShardsRebuilt > 0 || k.Reported > 0 || !s.Protected() {
		t.Errorf("%+v", k)
	}
	registry := metrics.New()
	r.Measure(registry)
	got := measured(t, registry)
	if got["keeper_segments_compacted_total{}"] == 0 || got["keeper_shards_gathered_total{}"] == 0 || got["keeper_gathered_bytes_total{}"] == 0 ||
		got["drive_segments{1,data}"] == 0 {
		t.Errorf("%v", got)
	}
	if sparse, there := got["drive_segments_sparse{1,data}"]; !there || sparse > 1 {
		t.Errorf("%v", got)
	}
	r.readSmall()
	r.end()
	r.open()
	r.readSmall()
}

// TestCompactionFindsRot: a shard that is rotten where it lies is not moved, but made again, and then its segment goes like the others.
func TestCompactionFindsRot(t *testing.T) {
	r := sparseRig(t, func(r *rig) {
		list, err := r.atHand(1).Shards(engine.ShardID{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range list {
			if info.Bytes != 10_000 {
				continue
			}
			file, offset, _, err := r.atHand(1).ShardPlace(info.ID)
			if err == nil {
				err = r.disks["/d1"].Rot(file, offset+100, 1)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	s := r.until("nothing was found, or not compacted", func(s Status) bool {
		return s.Garbage == 0 && s.Protected() && s.Keeper.ShardsRebuilt > 0 && s.Drives[0].Sparse <= 1
	})
	if s.Keeper.Reported == 0 || s.Keeper.ShardsRebuilt > 9 {
		t.Errorf("%+v", s.Keeper)
	}
	r.readSmall()
}
