package meta

import (
	"math/rand/v2"
	"testing"
)

// TestLoadEach has rows looked for that are there, are not, were changed since or removed, close together and far apart.
func TestLoadEach(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	store := NewMapStore()
	below := &Batch{}
	want := map[uint64]uint64{}
	for id := uint64(1); id < 2000; id += 1 + random.Uint64N(3) {
		below.Set(key8(rowContent, id), (&contentRow{refs: id}).encode())
		want[id] = id
	}
	if err := store.Commit(below); err != nil {
		t.Fatal(err)
	}
	a := &apply{view: NewOverlay(store)}
	for range 300 {
		id := 1 + random.Uint64N(2000)
		if key := key8(rowContent, id); random.IntN(2) == 0 {
			a.view.Delete(key)
			delete(want, id)
		} else {
			a.view.Set(key, (&contentRow{refs: id + 5000}).encode())
			want[id] = id + 5000
		}
	}
	found, absent := 0, 0
	for _, stride := range []uint64{1, 2, 7, 40, 3000} {
		var ids []uint64
		var keys [][]byte
		for id := uint64(1); id < 2100; id += 1 + random.Uint64N(stride) {
			ids, keys = append(ids, id), append(keys, key8(rowContent, id))
		}
		next := 0
		loadEach(a, keys, func(i int, r *contentRow) {
			if i != next {
				t.Fatalf("key %d comes after key %d", i, next-1)
			}
			next++
			refs, ok := want[ids[i]]
			switch {
			case ok != (r != nil):
				t.Errorf("row %d: found is %v, should be %v", ids[i], r != nil, ok)
			case ok && r.refs != refs:
				t.Errorf("row %d has %d, not %d", ids[i], r.refs, refs)
			case ok:
				found++
			default:
				absent++
			}
		})
		if next != len(keys) {
			t.Errorf("%d of %d keys", next, len(keys))
		}
	}
	if found < 100 || absent < 100 {
		t.Errorf("%d rows found, %d absent: too few to say anything", found, absent)
	}
}
