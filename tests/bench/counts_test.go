package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/access"
	"holdfast/access/session"
	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/node"
	"holdfast/gateways/s3"
	"holdfast/gateways/s3/sigv4"
)

// ioCounts are the calls that drives make for their rings and segments, and what they move. What the index does is not among them.
type ioCounts struct{ writes, written, reads, read, syncs atomic.Int64 }

func (c *ioCounts) reset() {
	for _, v := range []*atomic.Int64{&c.writes, &c.written, &c.reads, &c.read, &c.syncs} {
		v.Store(0)
	}
}

// countedFS counts what is done with its files.
type countedFS struct {
	disk.FS
	counts *ioCounts
}

func (f countedFS) Open(name string, flags disk.Flags) (disk.File, error) {
	file, err := f.FS.Open(name, flags)
	if err != nil {
		return nil, err
	}
	return countedFile{file, f.counts}, nil
}

func (f countedFS) Reopen() (disk.FS, error) {
	again, err := f.FS.Reopen()
	if err != nil {
		return nil, err
	}
	return countedFS{again, f.counts}, nil
}

type countedFile struct {
	disk.File
	counts *ioCounts
}

func (f countedFile) WriteAt(p []byte, offset int64) (int, error) {
	f.counts.writes.Add(1)
	f.counts.written.Add(int64(len(p)))
	return f.File.WriteAt(p, offset)
}

func (f countedFile) ReadAt(p []byte, offset int64) (int, error) {
	f.counts.reads.Add(1)
	f.counts.read.Add(int64(len(p)))
	return f.File.ReadAt(p, offset)
}

func (f countedFile) Sync() error {
	f.counts.syncs.Add(1)
	return f.File.Sync()
}

// counted is the gateway over an engine on four folders, all in this process, so that what a request costs can be counted.
type counted struct {
	*testing.T
	handler http.Handler
	counts  *ioCounts
}

func newCounted(t *testing.T) *counted {
	t.Helper()
	c := &counted{T: t, counts: &ioCounts{}}
	p := place{dir: t.TempDir()}
	config := node.Config{State: p.state(), Logger: slog.New(slog.DiscardHandler), OpenDisk: func(path string) (disk.FS, error) {
		root, err := disk.OS(path)
		if err != nil {
			return nil, err
		}
		return countedFS{root, c.counts}, nil
	}}
	config.Geometry.RingBytes, config.Geometry.SegmentBytes = 8<<20, 64<<20
	for i := range drives {
		config.Drives = append(config.Drives, p.drive(i))
	}
	makeFolders(t, append(config.Drives, config.State)...)
	n, err := node.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := n.CreateBucket(t.Context(), objectBucket, engine.CreateBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	door := session.NewDoor(session.Config{Engine: n, Credentials: access.Root{AccessKey: user, SecretKey: password}})
	c.handler = s3.New(s3.Config{Door: door, Region: region}).Handler()
	return c
}

// request makes one that is signed.
func (c *counted) request(method, path string, body []byte) *http.Request {
	c.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1/"+objectBucket+path, bytes.NewReader(body))
	if method == http.MethodPut { // a server finds it there
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	signer := sigv4.Signer{AccessKey: user, SecretKey: password, Region: region}
	if _, err := signer.Sign(r, sigv4.PayloadHash(body), time.Now()); err != nil {
		c.Fatal(err)
	}
	return r
}

// answer is where the gateway writes; it counts and keeps nothing.
type answer struct {
	header http.Header
	status int
	bytes  int64
}

func (a *answer) Header() http.Header    { return a.header }
func (a *answer) WriteHeader(status int) { a.status = status }
func (a *answer) Write(p []byte) (int, error) {
	a.bytes += int64(len(p))
	return len(p), nil
}

func (c *counted) serve(r *http.Request, atLeast int64) {
	a := &answer{header: http.Header{}, status: http.StatusOK}
	c.handler.ServeHTTP(a, r)
	if a.status != http.StatusOK || a.bytes < atLeast {
		c.Fatalf("%s %s: status %d, %d bytes", r.Method, r.URL, a.status, a.bytes)
	}
	_, _ = io.Copy(io.Discard, r.Body)
}

// allocations returns how often and how much is allocated for each of some requests, whoever in the process does it meanwhile.
func (c *counted) allocations(requests []*http.Request, atLeast int64) (count, bytes float64) {
	c.serve(requests[0], atLeast) // fills pools
	requests = requests[1:]
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, r := range requests {
		c.serve(r, atLeast)
	}
	runtime.ReadMemStats(&after)
	n := float64(len(requests))
	return float64(after.Mallocs-before.Mallocs) / n, float64(after.TotalAlloc-before.TotalAlloc) / n
}

// TestAllocations bounds what a small request allocates, from the handler to the drives and back. The bounds leave room for what the groups and
// keepers do beside it; one more allocation for each key of a page is beyond them.
func TestAllocations(t *testing.T) {
	c := newCounted(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 4096/16)
	const times, keys = 200, 1000
	var puts, gets, lists []*http.Request
	for i := range keys {
		c.serve(c.request("PUT", fmt.Sprintf("/d/%04d", i), body), 0)
	}
	for i := range times + 1 {
		puts = append(puts, c.request("PUT", fmt.Sprintf("/new/%04d", i), body))
		gets = append(gets, c.request("GET", fmt.Sprintf("/d/%04d", i), nil))
		lists = append(lists, c.request("GET", "?list-type=2&prefix=d%2F&max-keys=1000", nil))
	}
	for _, l := range []struct {
		what          string
		requests      []*http.Request
		atLeast       int64
		counts, bytes float64 // the most
	}{
		{"put 4 KiB", puts, 0, 1300, 130_000},
		{"get 4 KiB", gets, 4096, 320, 34_000},
		{"list 1,000 keys", lists, 100 * keys, 6200, 3_400_000},
	} {
		count, size := c.allocations(l.requests, l.atLeast)
		t.Logf("%-16s %6.0f allocations, %8.0f bytes", l.what, count, size)
		if count == 0 || count > l.counts || size > l.bytes {
			t.Errorf("%s makes %.0f allocations of %.0f bytes; at most %.0f of %.0f are wanted", l.what, count, size, l.counts, l.bytes)
		}
	}
}

// TestCalls bounds what a large object costs in calls to the disk, in bytes that are moved there, and in bytes that are allocated.
func TestCalls(t *testing.T) {
	c := newCounted(t)
	const size, mebibytes = 32 << 20, 32
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	requests := func(method string, content []byte) []*http.Request {
		return []*http.Request{c.request(method, "/large", content), c.request(method, "/large", content)}
	}
	for _, l := range []struct {
		method                              string
		content                             []byte
		atLeast                             int64
		calls, syncs, moved, allocatedBytes float64 // the most: of the first two for each MiB, of the others for each byte
	}{
		{"PUT", body, 0, 6, 1, 2.1, 0.1},
		{"GET", nil, size, 2.5, 0.1, 1.05, 0.1},
	} {
		c.serve(c.request(l.method, "/large", l.content), l.atLeast)
		c.counts.reset()
		_, allocated := c.allocations(requests(l.method, l.content), l.atLeast)
		// Two requests are counted at the disk, of which the second is looked at for what it allocates.
		calls := float64(c.counts.writes.Load()+c.counts.reads.Load()) / 2 / mebibytes
		syncs := float64(c.counts.syncs.Load()) / 2 / mebibytes
		moved := float64(c.counts.written.Load()+c.counts.read.Load()) / 2 / size
		t.Logf("%s: %.2f reads and writes and %.2f syncs for each MiB; %.3f bytes moved and %.3f allocated for each byte", l.method, calls, syncs, moved, allocated/size)
		if moved < 0.99 {
			t.Errorf("%s moves %.3f bytes for each: not all calls are counted", l.method, moved)
		}
		if calls > l.calls || syncs > l.syncs || moved > l.moved || allocated/size > l.allocatedBytes {
			t.Errorf("%s: at most %.2f reads and writes, %.2f syncs, %.3f bytes moved and %.3f allocated are wanted", l.method, l.calls, l.syncs, l.moved, l.allocatedBytes)
		}
	}
}

func makeFolders(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}
