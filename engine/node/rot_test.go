package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

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
		for found := uint64(1); found > 0; { // one may have been made again twice, and another not yet
			seen := r.complete().Keeper.ScrubDamaged
			r.scrubAll()
			found = r.complete().Keeper.ScrubDamaged - seen
		}
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

// TestDestroyedMetadata overwrites all that a drive knows of itself, its meta stream or its index, with random bytes or with zeros, while the node is down: it
// starts without the drive, says what is wrong with it, and reads and writes go on. Once the folder is emptied, the drive is rebuilt from its peers, so
// that the two drives that were never touched may be lost at the end.
func TestDestroyedMetadata(t *testing.T) {
	c := testConfig(t, t.TempDir(), 4)
	c.CheckInterval = 20 * time.Millisecond
	n := withBucket(t, c)
	rng := rand.NewChaCha8([32]byte{7})
	keys, overwritten := 0, 0
	write := func() {
		for i := range 3 {
			put(t, n, fmt.Sprint("k", keys), content(uint64(keys), 1000+i*1_000_000))
			keys++
		}
	}
	read := func() {
		for i := range keys {
			mustGet(t, n, fmt.Sprint("k", i), content(uint64(i), 1000+i%3*1_000_000))
		}
	}
	write()
	for round, what := range []struct {
		folder string
		random bool
	}{{"meta", true}, {"index", true}, {"meta", false}, {"index", false}} {
		drive := c.Drives[round%2]
		closeNode(t, n)
		err := filepath.WalkDir(filepath.Join(drive, what.folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			b := make([]byte, info.Size())
			if what.random {
				_, _ = rng.Read(b) // never fails
			}
			overwritten++
			return os.WriteFile(path, b, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
		n = openNode(t, c)
		await(t, n, fmt.Sprintf("the drive whose %s is destroyed is not out", what.folder), func(s Status) bool {
			return s.Drives[round%2].State == "out" && s.Drives[round%2].Problem != ""
		})
		read()
		write()
		s, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, random %v: %s", what.folder, what.random, s.Drives[round%2].Problem)
		wipe(t, drive)
		await(t, n, "the emptied drive is not rebuilt", allIn)
	}
	if overwritten < 4 {
		t.Errorf("%d files were overwritten, too few", overwritten)
	}
	closeNode(t, n)
	wipe(t, c.Drives[2])
	wipe(t, c.Drives[3])
	n = openNode(t, c)
	read()
	closeNode(t, n)
}
