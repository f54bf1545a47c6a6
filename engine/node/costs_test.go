package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/engine"
)

// costs measures what single operations cost, by themselves and beside a put of 4 KiB.
type costs struct {
	*testing.T
	n     *Node
	put   time.Duration // median
	lines []string
}

// costSizes are how much there is that the operations work on.
type costSizes struct {
	keys, parts, rounds int
	cloned, patched     int64
}

// TestCosts holds operations on much against a put of 4 KiB: renames, usage, clones, patches and appends cost about the same whatever they work on, and a completion
// costs in proportion to its parts. It prints a table. HOLDFAST_COSTS=1 takes a clone of 5 GiB, a file of 1 GiB and 10,000 parts, and HOLDFAST_COSTS_KEYS is the
// number of keys in the directory that is renamed, 2,000 without it.
func TestCosts(t *testing.T) {
	s := costSizes{keys: 2000, parts: 200, rounds: 9, cloned: 64 << 20, patched: 16 << 20}
	measured := os.Getenv("HOLDFAST_COSTS") != ""
	c := testConfig(t, t.TempDir(), 4)
	if measured {
		s = costSizes{keys: 2000, parts: engine.PartNumberMax, rounds: 25, cloned: 5 << 30, patched: 1 << 30}
		c.Geometry.RingBytes, c.Memory = 64<<20, 256<<20
	}
	if v := os.Getenv("HOLDFAST_COSTS_KEYS"); v != "" {
		var err error
		if s.keys, err = strconv.Atoi(v); err != nil {
			t.Fatalf("HOLDFAST_COSTS_KEYS is %q, which is no number", v)
		}
	}
	n := withBucket(t, c)
	defer closeNode(t, n)
	m := &costs{T: t, n: n}
	body := content(1, 4096)
	m.put = m.measure("put of 4 KiB", s.rounds*10, 0, func(i int) error {
		_, err := n.Put(t.Context(), engine.Ref{Bucket: "bucket", Key: engine.Key(fmt.Sprint("small", i))}, bytes.NewReader(body), engine.PutOptions{Size: 4096})
		return err
	})
	m.directories(&s)
	m.clones(&s)
	m.changes(&s)
	m.completion(&s)
	t.Logf("what single operations cost\n%s", strings.Join(m.lines, "\n"))
	if !measured {
		mustCheck(t, n)
	}
}

// measure calls f a number of times, one after another, and says what it cost at the median. More than limit puts is an error; limit 0 is none.
func (m *costs) measure(what string, rounds int, limit float64, f func(i int) error) time.Duration {
	m.Helper()
	took := make([]time.Duration, rounds)
	for i := range took {
		began := time.Now()
		if err := f(i); err != nil {
			m.Fatalf("%s: %v", what, err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	median := took[rounds/2]
	puts := 1.0
	if m.put > 0 {
		puts = float64(median) / float64(m.put)
	}
	m.lines = append(m.lines, fmt.Sprintf("| %-46s | %10.2f ms | %8.1f puts |", what, float64(median.Microseconds())/1000, puts))
	// A machine that does other things too stumbles over a few calls; what depends on how much there is costs far more than that.
	if limit > 0 && puts > limit && median > 100*time.Millisecond {
		m.Errorf("%s took %v, %.0f times as long as a put of 4 KiB; %.0f times is the most", what, median, puts, limit)
	}
	return median
}

// directories measures what concerns a directory of many keys.
func (m *costs) directories(s *costSizes) {
	var next atomic.Int64
	fillBucket(m.T, s.keys, func(int) error {
		i := next.Add(1)
		_, err := m.n.Put(m.Context(), engine.Ref{Bucket: "bucket", Key: engine.Key(fmt.Sprintf("d0/%02x/%08d", i%16, i))}, bytes.NewReader([]byte("x")), engine.PutOptions{Size: 1})
		return err
	})
	of := fmt.Sprintf("of %d keys", s.keys)
	at := 0
	m.measure("rename of a prefix "+of, s.rounds, 20, func(i int) error {
		at = i + 1
		_, err := m.n.RenamePrefix(m.Context(), "bucket", fmt.Sprintf("d%d/", i), fmt.Sprintf("d%d/", at))
		return err
	})
	place := func(i int) engine.Place {
		return engine.Place{Bucket: "bucket", Directory: engine.RootNode, Name: fmt.Sprint("d", i)}
	}
	m.measure("move of a directory "+of, s.rounds, 20, func(int) error {
		at++
		return m.n.MoveFile(m.Context(), place(at-1), place(at), engine.MoveFileOptions{})
	})
	m.measure("usage of a prefix "+of, s.rounds, 20, func(int) error {
		info, err := m.n.Usage(m.Context(), "bucket", fmt.Sprintf("d%d/", at))
		if err == nil && info.Objects != uint64(s.keys) {
			err = fmt.Errorf("it has %d objects", info.Objects)
		}
		return err
	})
}

// large puts an object of as many bytes as are asked for.
func (m *costs) large(key engine.Key, size int64) engine.FileInfo {
	m.Helper()
	source := rand.NewChaCha8([32]byte{1})
	if _, err := m.n.Put(m.Context(), engine.Ref{Bucket: "bucket", Key: key}, io.LimitReader(source, size), engine.PutOptions{Size: size}); err != nil {
		m.Fatal(err)
	}
	return nodeOf(m.T, m.n, string(key))
}

func sizeText(n int64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// clones measures copies that share what they are of.
func (m *costs) clones(s *costSizes) {
	from := m.large("cloned", s.cloned)
	m.measure("copy of "+sizeText(s.cloned)+" by key", s.rounds, 20, func(i int) error {
		_, err := m.n.Copy(m.Context(), engine.Ref{Bucket: "bucket", Key: "cloned"}, engine.Ref{Bucket: "bucket", Key: engine.Key(fmt.Sprint("copy", i))}, engine.CopyOptions{})
		return err
	})
	file := engine.File{Bucket: "bucket", Node: from.Node}
	targets := make([]engine.NodeID, s.rounds)
	for i := range targets {
		put(m.T, m.n, fmt.Sprint("clone", i), nil)
		targets[i] = nodeOf(m.T, m.n, fmt.Sprint("clone", i)).Node
	}
	m.measure("clone of "+sizeText(s.cloned)+" by a piece of a patch", s.rounds, 20, func(i int) error {
		piece := engine.Piece{Length: s.cloned, From: &engine.FileRange{File: file}}
		info, err := m.n.PatchFile(m.Context(), engine.File{Bucket: "bucket", Node: targets[i]}, engine.Patch{Pieces: []engine.Piece{piece}})
		if err == nil && info.Size != s.cloned {
			err = fmt.Errorf("it has %d bytes", info.Size)
		}
		return err
	})
}

// changes measures small changes of a large file.
func (m *costs) changes(s *costSizes) {
	file := engine.File{Bucket: "bucket", Node: m.large("patched", s.patched).Node}
	body := content(2, 4096)
	random := rand.New(rand.NewPCG(1, 2))
	m.measure("patch of 4 KiB in "+sizeText(s.patched), s.rounds, 20, func(int) error {
		_, err := m.n.PatchFile(m.Context(), file, engine.Patch{Pieces: []engine.Piece{bodyOf(int(random.Int64N(s.patched-4096)), body)}})
		return err
	})
	m.measure("append of 4 KiB to "+sizeText(s.patched), s.rounds, 20, func(int) error {
		_, err := m.n.PatchFile(m.Context(), file, engine.Patch{Pieces: []engine.Piece{bodyOf(int(engine.PieceEnd), body)}})
		return err
	})
}

// completion measures how long an upload of many parts takes to complete. The parts are copies of one object: to make them costs a command each, and no room.
func (m *costs) completion(s *costSizes) {
	m.large("part", engine.PartBytesMin)
	target := engine.Ref{Bucket: "bucket", Key: "completed"}
	rounds := 3
	uploads := make([]engine.UploadID, rounds)
	parts := make([][]engine.CompletePart, rounds)
	for i := range uploads {
		u, err := m.n.StartUpload(m.Context(), target, engine.StartUploadOptions{})
		if err != nil {
			m.Fatal(err)
		}
		uploads[i], parts[i] = u.ID, m.copyParts(target, u.ID, s.parts)
	}
	m.measure(fmt.Sprintf("completion of %d parts", s.parts), rounds, 2*float64(s.parts), func(i int) error {
		info, err := m.n.CompleteUpload(m.Context(), target, uploads[i], engine.CompleteUploadOptions{Parts: parts[i], Size: -1})
		if err == nil && info.Size != int64(s.parts)*engine.PartBytesMin {
			err = fmt.Errorf("it has %d bytes", info.Size)
		}
		return err
	})
}

func (m *costs) copyParts(target engine.Ref, id engine.UploadID, count int) []engine.CompletePart {
	m.Helper()
	parts := make([]engine.CompletePart, count)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var running sync.WaitGroup
	for range 64 {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				info, err := m.copyPart(m.Context(), target, id, i+1)
				if err != nil {
					failed.Store(&err)
					return
				}
				parts[i] = engine.CompletePart{Number: i + 1, ETag: info.ETag}
			}
		})
	}
	running.Wait()
	if err := failed.Load(); err != nil {
		m.Fatal(*err)
	}
	return parts
}

func (m *costs) copyPart(ctx context.Context, target engine.Ref, id engine.UploadID, number int) (engine.PartInfo, error) {
	return m.n.CopyPart(ctx, engine.Ref{Bucket: "bucket", Key: "part"}, target, id, number, engine.CopyPartOptions{})
}
