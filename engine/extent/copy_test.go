package extent

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"holdfast/engine"
)

// TestCopyMakesTheSameShard copies every shard of each code; a source that is rotten or refuses, and a target that fails at any step, are told apart.
func TestCopyMakesTheSameShard(t *testing.T) {
	for _, r := range codes {
		m, s, _ := prepared(t, r, 2*code(t, r).Block()+unitBytes+7)
		for i, d := range s.Drives {
			id := engine.ShardID{Extent: testID, Index: uint8(i)}
			before := m[d].shards[id]
			target := &memoryStore{shards: map[engine.ShardID]*memoryShard{}}
			if _, err := Copy(context.Background(), s, i, m[d], target); err != nil {
				t.Fatal(err)
			}
			if after := target.shards[id]; !bytes.Equal(after.data, before.data) || !slices.Equal(after.sums, before.sums) {
				t.Fatalf("%v: shard %d is another", r, i)
			}
			for _, bad := range []*memoryStore{{create: errInjected}, {write: errInjected}, {commit: errInjected}} {
				if sourceFailed, err := Copy(context.Background(), s, i, m[d], bad); !errors.Is(err, errInjected) || sourceFailed {
					t.Fatalf("a failing target: %v, of the source: %v", err, sourceFailed)
				}
			}
			before.data[len(before.data)-1] ^= 1
			rotten := &memoryStore{shards: map[engine.ShardID]*memoryShard{}}
			if sourceFailed, err := Copy(context.Background(), s, i, m[d], rotten); err == nil || !sourceFailed || rotten.aborted != 1 || len(rotten.shards) != 0 {
				t.Fatalf("a rotten source: %v, of the source: %v, %d aborted", err, sourceFailed, rotten.aborted)
			}
		}
		if _, err := Copy(context.Background(), s, len(s.Drives), m[1], m[1]); !engine.Is(err, engine.KindInvalidArgument) {
			t.Fatalf("a shard that there is not: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if sourceFailed, err := Copy(ctx, s, 0, m[s.Drives[0]], &memoryStore{shards: map[engine.ShardID]*memoryShard{}}); err == nil || sourceFailed {
			t.Fatalf("a canceled copy: %v, of the source: %v", err, sourceFailed)
		}
	}
}
