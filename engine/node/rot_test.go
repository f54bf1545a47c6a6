package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"holdfast/engine"
	"holdfast/engine/disk/sim"
	"holdfast/engine/meta"
)

// TestRot flips random bits of up to m shards of an object, over and over: it is read right, what was found is made again and counted. Then of one shard more: a
// reader gets the right bytes as far as they go, and an error before the first wrong one. HOLDFAST_ROT_ROUNDS sets the number of rounds.
func TestRot(t *testing.T) {
	rounds := 60
	if s := os.Getenv("HOLDFAST_ROT_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	r := newRig(t, sim.Options{}, nil)
	rng := rand.New(rand.NewPCG(1, 1))
	code := r.standard()
	if code.Parity != 2 {
		t.Fatalf("the code is %+v; the test is about two parity shards", code)
	}
	flips, rotten, failed, short := 0, 0, 0, 0
	for round := range rounds {
		i := rng.IntN(12)
		want := content(uint64(i), 20_000+i*100_000)
		beyond := round%6 == 5
		shards := 1 + rng.IntN(code.Parity)
		if beyond {
			shards = code.Parity + 1
		}
		for _, d := range rng.Perm(4)[:shards] {
			flips += r.flip(rng, engine.DriveID(d+1), i)
			rotten++
		}
		before := r.now().Keeper.ShardsRebuilt
		b, err := r.readAll(i)
		switch {
		case !bytes.Equal(b, want[:len(b)]):
			t.Fatalf("round %d: with %d rotten shards k%d gives wrong bytes", round, shards, i)
		case beyond:
			if err != nil && !engine.Is(err, engine.KindDamaged) {
				t.Fatalf("round %d: with %d rotten shards a read answers %v", round, shards, err)
			}
			if err != nil {
				failed++
				if len(b) > 0 {
					short++
				}
			}
			put(t, r, fmt.Sprint("k", i), want) // it is beyond repair
			continue
		case err != nil || len(b) != len(want):
			t.Fatalf("round %d: with %d rotten shards k%d gives %d of %d bytes: %v", round, shards, i, len(b), len(want), err)
		}
		// What no reader had to look at, the scrub finds.
		r.scrubAll()
		r.until("what rotted is not made again", func(s Status) bool {
			return s.Protected() && s.Keeper.ShardsRebuilt >= before+uint64(shards)
		})
		r.complete() // the last pass may end after the repair
	}
	r.mustGetAll()
	t.Logf("%d rounds, %d bits flipped in %d shards; of %d reads with one rotten shard too many %d failed, %d of them behind right bytes", rounds, flips, rotten, rounds/6, failed, short)
	if rounds >= 60 && (failed == 0 || rotten < rounds) {
		t.Errorf("%d reads failed: the flips are too few to tell", failed)
	}
}

// flip inverts some bits of the shard that an object has on a drive, on the platter and in the cache.
func (r *rig) flip(rng *rand.Rand, id engine.DriveID, i int) (flips int) {
	r.t.Helper()
	shard, ok := r.shardOf(id, i)
	if !ok {
		r.t.Fatalf("k%d has no shard on drive %d", i, id)
	}
	file, offset, _, err := r.atHand(id).ShardPlace(shard)
	if err != nil {
		r.t.Fatal(err)
	}
	info, err := r.atHand(id).StatShard(shard)
	if err != nil {
		r.t.Fatal(err)
	}
	flips = 1 + rng.IntN(5)
	for range flips {
		if err := r.disk(id).Flip(file, offset+rng.Int64N(info.Bytes), uint(rng.IntN(8))); err != nil {
			r.t.Fatal(err)
		}
	}
	return flips
}

// shardOf finds the shard that an object has on a drive.
func (r *rig) shardOf(id engine.DriveID, i int) (shard engine.ShardID, ok bool) {
	r.t.Helper()
	view, err := r.data.Read(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer view.Close()
	object, err := meta.Lookup(view, 1, engine.Key(fmt.Sprint("k", i)), "")
	if err != nil {
		r.t.Fatal(err)
	}
	content, err := meta.LoadContent(view, object.Content)
	if err != nil || len(content.Runs) != 1 {
		r.t.Fatalf("k%d lies in %d runs: %v", i, len(content.Runs), err)
	}
	x, err := meta.LoadExtent(view, content.Runs[0].Extent)
	if err != nil {
		r.t.Fatal(err)
	}
	index := slices.Index(x.Drives, id)
	return engine.ShardID{Extent: x.ID, Index: uint8(max(index, 0))}, index >= 0
}

// readAll reads an object as far as it goes.
func (r *rig) readAll(i int) ([]byte, error) {
	r.t.Helper()
	o, err := r.Open(r.t.Context(), engine.Ref{Bucket: "bucket", Key: engine.Key(fmt.Sprint("k", i))}, engine.OpenOptions{})
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(o)
	return b, errors.Join(err, o.Close())
}
