// Package journal_test kills the real daemon with SIGKILL, again and again, under clients that keep a journal of what was acknowledged.
//
// Promise: after every kill each key has the state that was acknowledged last, or that of the one operation that was under way; at the end
// every shard on the drives is one that the metadata places there, counted by a scanner that reads the drives of the stopped node.
// HOLDFAST_JOURNAL_ACKS says how many acknowledgements to collect.
//
// The package knows S3 and the bytes on drives. It does not know what the daemon is doing when it is killed, and the power stays on:
// what a power cut takes is the matter of tests/sim.
package journal_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/daemon"
	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/observe"
	"holdfast/tests/daemontest"
)

const (
	bucket  = "journal"
	clients = 8
	keys    = 12 // of each client
)

// client connects to a daemon.
func client(t *testing.T, d *daemontest.Daemon) *minio.Client {
	c, err := minio.New(d.Address, &minio.Options{Creds: credentials.NewStaticV4(daemontest.User, daemontest.Password, ""), MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// journal is what one client knows of its keys: the states that each may have, as MD5 sums; "" is absent.
type journal struct {
	states map[string][]string
	acks   map[string]int // by operation
	open   map[string]int // operations that a kill interrupted
}

// body is content that a seed determines; its size tells the way it takes.
func body(rng *rand.Rand) []byte {
	size := []int{rng.IntN(200), rng.IntN(8192), 8193 + rng.IntN(60000), 300_000 + rng.IntN(1_500_000)}[min(rng.IntN(6), 3)]
	return fill(rng.Uint64(), size)
}

func fill(seed uint64, size int) []byte {
	b := make([]byte, size+8)
	for i := 0; i < size; i += 8 {
		seed = seed*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b[i:], seed)
	}
	return b[:size]
}

func sum(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

// step does one operation and writes down what came of it; false when the daemon is gone.
func (j *journal) step(ctx context.Context, c *minio.Client, rng *rand.Rand, key string) bool {
	operation, next := "put", ""
	var do func() error
	switch n := rng.IntN(100); {
	case n < 20:
		operation = "delete"
		do = func() error { return c.RemoveObject(ctx, bucket, key, minio.RemoveObjectOptions{}) }
	case n < 23:
		operation = "multipart"
		b := fill(rng.Uint64(), 5<<20+rng.IntN(1<<20))
		next = sum(b)
		do = func() error {
			_, err := c.PutObject(ctx, bucket, key, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{PartSize: 5 << 20})
			return err
		}
	default:
		if len(j.states[key]) == 1 && j.states[key][0] != "" {
			operation = "overwrite"
		}
		b := body(rng)
		next = sum(b)
		do = func() error {
			_, err := c.PutObject(ctx, bucket, key, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{DisableMultipart: true})
			return err
		}
	}
	if err := do(); err != nil {
		j.open[operation]++
		j.states[key] = append(j.states[key], next)
		return false
	}
	j.acks[operation]++
	j.states[key] = []string{next}
	return true
}

// check reads every key and fails if one has a state that the journal does not allow.
func (j *journal) check(ctx context.Context, t *testing.T, c *minio.Client) {
	for key, allowed := range j.states {
		got, err := read(ctx, c, key)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		ok := false
		for _, state := range allowed {
			ok = ok || state == got
		}
		if !ok {
			t.Errorf("%s has the state %q; the journal allows %q", key, got, allowed)
		}
		j.states[key] = []string{got}
	}
}

func read(ctx context.Context, c *minio.Client, key string) (string, error) {
	o, err := c.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return "", err
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if minio.ToErrorResponse(err).Code == "NoSuchKey" {
		return "", nil
	}
	return sum(b), err
}

func TestJournal(t *testing.T) {
	want := 2000
	if s := os.Getenv("HOLDFAST_JOURNAL_ACKS"); s != "" {
		var err error
		if want, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	d := daemontest.New(t)
	d.Start()
	ctx := t.Context()
	if err := client(t, d).MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	journals := make([]*journal, clients)
	for i := range journals {
		journals[i] = &journal{states: map[string][]string{}, acks: map[string]int{}, open: map[string]int{}}
		for k := range keys {
			journals[i].states[fmt.Sprintf("client%d/dir%d/key%d", i, k%3, k)] = []string{""}
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	kills, total, inside := 0, 0, map[string]int{}
	longest := 2500 // milliseconds
	if want >= 20_000 {
		longest = 8000
	}
	for total < want && !t.Failed() {
		round(ctx, t, d, journals, rng.Uint64(), time.Duration(300+rng.IntN(longest))*time.Millisecond)
		kills++
		noteSteps(t, d, inside)
		for rng.IntN(4) == 0 { // killed again before it is ready
			d.Launch()
			time.Sleep(time.Duration(rng.IntN(int(150 * time.Millisecond))))
			d.Kill()
			kills++
			noteSteps(t, d, inside)
		}
		d.Start()
		total = 0
		c := client(t, d)
		for _, j := range journals {
			j.check(ctx, t, c)
			for _, n := range j.acks {
				total += n
			}
		}
	}
	acks, open := map[string]int{}, map[string]int{}
	for _, j := range journals {
		for operation, n := range j.acks {
			acks[operation] += n
		}
		for operation, n := range j.open {
			open[operation] += n
		}
	}
	t.Logf("%d kills, acknowledged %v, interrupted %v", kills, acks, open)
	for _, operation := range []string{"put", "overwrite", "delete", "multipart"} {
		if acks[operation] == 0 {
			t.Errorf("no %s was acknowledged", operation)
		}
	}
	if kills == 0 || open["put"]+open["overwrite"] == 0 {
		t.Error("no kill interrupted a write")
	}
	lines := make([]string, 0, len(inside))
	for name, n := range inside {
		lines = append(lines, fmt.Sprintf("%6d  %s", n, name))
		// A repair needs a lost shard and a replica's snapshot a lost drive: here there is neither.
		if rare := strings.Contains(name, "made again") || strings.Contains(name, "takes over"); n == 0 && !rare && want >= 20_000 {
			t.Errorf("no kill landed inside the step %q", name)
		}
	}
	slices.Sort(lines)
	t.Logf("kills that landed inside each step:\n%s", strings.Join(lines, "\n"))
	if len(lines) == 0 {
		t.Error("no step was recorded")
	}
	scan(t, d)
}

// noteSteps counts the steps that were under way when the daemon was killed.
func noteSteps(t *testing.T, d *daemontest.Daemon, inside map[string]int) {
	list, err := observe.ReadRecord(filepath.Join(d.State(), daemon.StepsFile))
	if err != nil {
		t.Error(err)
	}
	for _, s := range list {
		inside[s.Name] += 0
		if s.Entered != s.Left {
			inside[s.Name]++
		}
	}
}

// round lets all clients work for a while, kills the daemon under them, and waits for them to notice.
func round(ctx context.Context, t *testing.T, d *daemontest.Daemon, journals []*journal, seed uint64, length time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i, j := range journals {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			c := client(t, d)
			for more := true; more; {
				k := rng.IntN(keys)
				more = j.step(ctx, c, rng, fmt.Sprintf("client%d/dir%d/key%d", i, k%3, k))
			}
		}()
	}
	time.Sleep(length) // the instant of the kill is what is random here; nothing waits for a condition
	d.Kill()
	wg.Wait()
}

// scan waits until the keepers have nothing left to do, stops the daemon, and counts the shards on each drive by itself.
func scan(t *testing.T, running *daemontest.Daemon) {
	deadline := time.Now().Add(2 * time.Minute)
	status := running.Status()
	for status.Garbage > 0 || status.Keepers.SweepsComplete == 0 || status.Missing > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("the keepers are not done: %+v", status)
		}
		time.Sleep(50 * time.Millisecond)
		status = running.Status()
	}
	running.Stop()
	scanned := 0
	for _, d := range status.Drives {
		if d.Witness {
			continue
		}
		found := countShards(t, d.Path)
		scanned += found
		if found != d.Shards {
			t.Errorf("%s holds %d shards; the metadata places %d there", d.Path, found, d.Shards)
		}
	}
	t.Logf("%d shards scanned, each where the metadata has it", scanned)
	if scanned == 0 {
		t.Error("no shard was scanned")
	}
}

func countShards(t *testing.T, dir string) int {
	t.Helper()
	fsys, err := disk.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	d, err := drive.Open(fsys, drive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	count := 0
	var after engine.ShardID
	for {
		list, err := d.Shards(after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return count
		}
		count += len(list)
		after = list[len(list)-1].ID
	}
}
