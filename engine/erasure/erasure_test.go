package erasure

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"holdfast/engine"
)

var redundancies = []engine.Redundancy{{Data: 1}, {Data: 1, Parity: 1}, {Data: 2, Parity: 1}, {Data: 2, Parity: 2}, {Data: 3, Parity: 2},
	{Data: 4, Parity: 2}, {Data: 4, Parity: 3}, {Data: 8, Parity: 4}, {Data: 12, Parity: 4}}

// TestAnyDataShardsSuffice codes extents of awkward sizes, drops m shards and reads single bytes back by Locate.
func TestAnyDataShardsSuffice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, r := range redundancies {
		c, err := New(r)
		if err != nil {
			t.Fatal(err)
		}
		if c.Piece()%UnitBytes != 0 || c.Block() < BlockBytes {
			t.Fatalf("%v: piece %d, block %d", r, c.Piece(), c.Block())
		}
		for _, size := range []int{1, r.Data, 4097, c.Block() - 1, c.Block(), c.Block() + 1, 2*c.Block() + 77777} {
			data := make([]byte, size)
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			shards := encode(t, c, data)
			for i, s := range shards {
				if int64(len(s)) != c.ShardBytes(int64(size)) {
					t.Fatalf("%v size %d: shard %d has %d bytes, ShardBytes %d", r, size, i, len(s), c.ShardBytes(int64(size)))
				}
			}
			lost := rng.Perm(c.Shards())[:r.Parity]
			if got := decode(t, c, shards, lost, size); !bytes.Equal(got, data) {
				t.Fatalf("%v size %d without shards %v: other bytes", r, size, lost)
			}
			for range 50 {
				at := rng.Int64N(int64(size))
				p := c.Locate(int64(size), at)
				if p.Shard >= r.Data || shards[p.Shard][p.Offset] != data[at] {
					t.Fatalf("%v size %d: Locate(%d) = %+v", r, size, at, p)
				}
			}
		}
	}
}

func encode(t *testing.T, c *Code, data []byte) [][]byte {
	shards := make([][]byte, c.Shards())
	for len(data) > 0 {
		n := min(len(data), c.Block())
		block := make([]byte, c.Block())
		copy(block, data[:n])
		data = data[n:]
		pieces, err := c.Split(block, n)
		if err != nil {
			t.Fatal(err)
		}
		for range c.Parity() {
			pieces = append(pieces, make([]byte, c.PieceOf(n)))
		}
		if err := c.Encode(pieces); err != nil {
			t.Fatal(err)
		}
		for i := range shards {
			shards[i] = append(shards[i], pieces[i]...)
		}
	}
	return shards
}

func decode(t *testing.T, c *Code, shards [][]byte, lost []int, size int) []byte {
	var out []byte
	want := make([]bool, c.Shards())
	for i := range c.Data() {
		want[i] = true
	}
	for b := range c.Blocks(int64(size)) {
		p := c.Locate(int64(size), int64(b*c.Block()))
		pieces := make([][]byte, c.Shards())
		for i, s := range shards {
			pieces[i] = s[p.ShardOffset : p.ShardOffset+int64(p.Piece)]
		}
		for _, i := range lost {
			pieces[i] = nil
		}
		if err := c.Reconstruct(pieces, want); err != nil {
			t.Fatal(err)
		}
		out = append(out, bytes.Join(pieces[:c.Data()], nil)[:p.BlockLength]...)
	}
	return out
}

func TestTooFewPiecesIsDamage(t *testing.T) {
	c, _ := New(engine.Redundancy{Data: 2, Parity: 1})
	err := c.Reconstruct([][]byte{nil, {1}, nil}, []bool{true, true, false})
	if !engine.Is(err, engine.KindDamaged) {
		t.Fatal(err)
	}
	if _, err := New(engine.Redundancy{Parity: 1}); !engine.Is(err, engine.KindInvalidArgument) {
		t.Fatal(err)
	}
}

func TestSumsNameTheirPlace(t *testing.T) {
	id := engine.ShardID{Extent: engine.ExtentID{Group: 1, Epoch: 2, Counter: 3}, Index: 4}
	data := bytes.Repeat([]byte("hold"), 3*UnitBytes/4-1)
	sums := Sums(nil, id, 5, data)
	if len(sums) != 3 {
		t.Fatalf("%d sums", len(sums))
	}
	if bad, ok := Verify(id, 5, data, sums); !ok {
		t.Fatalf("unit %d is bad", bad)
	}
	other := id
	other.Extent.Counter++
	if _, ok := Verify(other, 5, data, sums); ok {
		t.Fatal("another extent's data passes")
	}
	if _, ok := Verify(id, 6, data, sums); ok {
		t.Fatal("another place's data passes")
	}
	data[UnitBytes+9] ^= 1
	if bad, ok := Verify(id, 5, data, sums); ok || bad != 6 {
		t.Fatalf("flip found at unit %d, ok %v", bad, ok)
	}
	if _, ok := Verify(id, 5, data[:1], nil); ok {
		t.Fatal("data without sums passes")
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, r := range []engine.Redundancy{{Data: 2, Parity: 2}, {Data: 8, Parity: 4}} {
		c, _ := New(r)
		pieces := make([][]byte, c.Shards())
		for i := range pieces {
			pieces[i] = make([]byte, c.Piece())
		}
		b.Run(string(rune('0'+r.Data))+"+"+string(rune('0'+r.Parity)), func(b *testing.B) {
			b.SetBytes(int64(c.Block()))
			for b.Loop() {
				if err := c.Encode(pieces); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
