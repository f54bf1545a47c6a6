package node

import (
	"bytes"
	"crypto/md5"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"holdfast/engine"
)

// pattern gives n bytes that a seed decides, without having them all.
type pattern struct {
	seed, at, n int64
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.n {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.n-p.at))
	for i := range b[:n] {
		at := p.at + int64(i)
		b[i] = byte(at>>16 ^ at>>8 ^ at*7 ^ p.seed)
	}
	p.at += int64(n)
	return n, nil
}

// TestOverwrittenInMidRead has an object read by key and by node, and another one held, while others overwrite them, remove them, and the keepers collect: everybody gets
// the old bytes whole, and when all have let go nothing of them is left on any drive. HOLDFAST_HANDLE_BYTES sets the size of the first; the one that is held
// has an eighth of that.
func TestOverwrittenInMidRead(t *testing.T) {
	size := int64(24 << 20)
	if s := os.Getenv("HOLDFAST_HANDLE_BYTES"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		size = n
	}
	c := testConfig(t, t.TempDir(), 4)
	c.OwnerExpiry = time.Hour // a large object takes long
	n := openNode(t, c)
	defer closeNode(t, n)
	if _, err := n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	read, held := engine.Ref{Bucket: "bucket", Key: "dir/read"}, engine.Ref{Bucket: "bucket", Key: "dir/held"}
	write := func(seed int64) {
		t.Helper()
		for ref, size := range map[engine.Ref]int64{read: size, held: size / 8} {
			if _, err := n.Put(t.Context(), ref, &pattern{seed: seed, n: size}, engine.PutOptions{Size: size}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(1)
	sumOf := func(size int64) []byte {
		sum := md5.New()
		if _, err := io.Copy(sum, &pattern{seed: 1, n: size}); err != nil {
			t.Fatal(err)
		}
		return sum.Sum(nil)
	}
	want := sumOf(size)
	directory := nodeOf(t, n, "dir").Node
	file := func(name string) engine.File {
		t.Helper()
		info, err := n.Lookup(t.Context(), engine.Place{Bucket: "bucket", Directory: directory, Name: name}, "")
		if err != nil {
			t.Fatal(err)
		}
		return engine.File{Bucket: "bucket", Node: info.Node}
	}
	heldFile := file("held")
	owner, err := n.OpenOwner(t.Context(), "bucket", "test")
	if err == nil {
		_, err = n.HoldFile(t.Context(), heldFile, owner)
	}
	if err != nil {
		t.Fatal(err)
	}
	byKey, err := n.Open(t.Context(), read, engine.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	byNode, err := n.OpenFile(t.Context(), file("read"), engine.OpenFileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	readers := map[string]engine.Object{"by key": byKey, "by node": byNode}
	heads := map[string][]byte{}
	for name, o := range readers {
		heads[name] = make([]byte, size/10)
		if _, err := io.ReadFull(o, heads[name]); err != nil {
			t.Fatal(err)
		}
	}
	write(2)
	write(3)
	collected := n.keeper.Stats().ContentsFreed
	if _, err := n.RemovePrefix(t.Context(), "bucket", "dir/"); err != nil {
		t.Fatal(err)
	}
	await(t, n, "the removed directory is not taken apart", func(s Status) bool { return s.Trash == 0 })
	rounds := n.keeper.Stats().Collections
	n.keeper.Wake()
	await(t, n, "nobody collects", func(s Status) bool { return s.Keeper.Collections >= rounds+2 }) // the first may have begun before
	for name, o := range readers {
		if got := finish(t, o, heads[name]); !bytes.Equal(got, want) {
			t.Errorf("%s other bytes were read than were there when the reading began", name)
		}
	}
	// Who holds the file opens it now.
	late, err := n.OpenFile(t.Context(), heldFile, engine.OpenFileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := finish(t, late, nil); !bytes.Equal(got, sumOf(size/8)) {
		t.Error("who holds the file reads other bytes than were there")
	}
	if err := n.ReleaseFile(t.Context(), heldFile, owner); err != nil {
		t.Fatal(err)
	}
	s := func() Status {
		await(t, n, "something is left of what nobody can reach", func(s Status) bool { return s.Garbage == 0 && s.Keeper.ContentsFreed > collected })
		s, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}()
	for _, d := range s.Drives {
		if d.Witness {
			continue
		}
		if list, _, err := n.Shards(d.Drive, engine.ShardID{}, 10); err != nil || len(list) > 0 {
			t.Errorf("drive %d has %d shards, %v", d.Drive, len(list), err)
		}
	}
	if _, err := n.Check(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("%d bytes read twice, and %d once, while they were overwritten, removed and collected", size, size/8)
}

// finish reads what is left of an object and returns the MD5 of all of it.
func finish(t *testing.T, o engine.Object, head []byte) []byte {
	t.Helper()
	sum := md5.New()
	sum.Write(head)
	if _, err := o.WriteTo(sum); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	return sum.Sum(nil)
}
