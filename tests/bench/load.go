package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
)

const (
	objectBucket = "objects"
	listedBucket = "listed"
	region       = "us-east-1"
)

// emptySum is the SHA-256 of nothing, in hexadecimal.
var emptySum = hex.EncodeToString(sha256.New().Sum(nil))

// payload is the content of an object, with the sum that its signature needs: computed once, so that the load generator leaves the
// processor to the server.
type payload struct {
	body []byte
	sum  string // SHA-256, hexadecimal
}

// payloads has contents for each size. Neighbouring objects differ, so that an answer with the wrong one is seen.
type payloads map[int64][]payload

// variants is how many contents each size has.
const variants = 8

// newPayloads makes the contents that a plan needs. They are windows of the same random bytes.
func newPayloads(p plan) payloads {
	const shift = 64
	sizes := []int64{listedSize}
	for _, c := range p.cells {
		if c.size > 0 {
			sizes = append(sizes, c.size)
		}
	}
	pool := make([]byte, slices.Max(sizes)+variants*shift)
	_, _ = rand.NewChaCha8([32]byte{}).Read(pool) // it never fails
	all := payloads{}
	for _, size := range sizes {
		if all[size] != nil {
			continue
		}
		for v := range int64(variants) {
			body := pool[v*shift:][:size]
			sum := sha256.Sum256(body)
			all[size] = append(all[size], payload{body, hex.EncodeToString(sum[:])})
		}
	}
	return all
}

// of returns the content of the object with a number.
func (p payloads) of(size, number int64) *payload { return &p[size][number%variants] }

// client sends signed requests to one server over connections that stay open.
type client struct {
	http http.Client
	host string
}

func newClient(address string) *client {
	return &client{host: address, http: http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 256, DisableCompression: true, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
	}}}
}

// close ends the connections that wait for a request.
func (c *client) close() { c.http.CloseIdleConnections() }

// do sends a request and returns an answer of status 200, whose body the caller closes. Any other is an error that has the server's words.
func (c *client) do(ctx context.Context, method, path, query string, content *payload) (*http.Response, error) {
	request := (&http.Request{
		Method: method, URL: &url.URL{Scheme: "http", Host: c.host, Path: path, RawQuery: query}, Host: c.host,
		Header: http.Header{"X-Amz-Content-Sha256": {emptySum}},
	}).WithContext(ctx)
	if content != nil {
		request.Header["X-Amz-Content-Sha256"] = []string{content.sum}
		request.ContentLength = int64(len(content.body))
		request.Body = io.NopCloser(bytes.NewReader(content.body))
	}
	response, err := c.http.Do(signer.SignV4(*request, user, password, "", region))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, fmt.Errorf("%s %s is answered with %s\n%s", method, request.URL.RequestURI(), response.Status, answer(response.Body))
	}
	return response, nil
}

// read sends a request without a body and returns the answer's.
func (c *client) read(ctx context.Context, method, path, query string) ([]byte, error) {
	response, err := c.do(ctx, method, path, query, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// put stores an object.
func (c *client) put(ctx context.Context, path string, content *payload) error {
	response, err := c.do(ctx, http.MethodPut, path, "", content)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.Header.Get("ETag") == "" {
		return fmt.Errorf("PUT %s is answered without an entity tag", path)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// get reads an object and compares every byte; buffer is scratch room.
func (c *client) get(ctx context.Context, path string, want []byte, buffer []byte) error {
	response, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	total := len(want)
	for {
		n, err := response.Body.Read(buffer)
		if n > len(want) || !bytes.Equal(buffer[:n], want[:n]) {
			return fmt.Errorf("GET %s: the answer differs from what was put, behind byte %d", path, total-len(want))
		}
		want = want[n:]
		if err == io.EOF && len(want) == 0 {
			return nil
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("GET %s: after %d bytes of %d: %w", path, total-len(want), total, err)
		}
	}
}

// worker is one client of a load.
type worker struct {
	rng    *rand.Rand
	buffer []byte
	page   bytes.Buffer
	next   int    // of the listed keys: the first that the next page must have
	token  string // continues the listing there; "" starts it
}

func newWorker(number int) *worker {
	return &worker{rng: rand.New(rand.NewPCG(1, uint64(number))), buffer: make([]byte, 256<<10)}
}

// outcome is what a load came to.
type outcome struct {
	elapsed   time.Duration   // until the last client had its last answer
	latencies []time.Duration // of all requests, ascending
}

// quantile returns the smallest latency that the part q of all requests does not exceed.
func (o outcome) quantile(q float64) time.Duration {
	return o.latencies[max(int(math.Ceil(q*float64(len(o.latencies)))), 1)-1]
}

// load lets clients repeat an operation for a time, each at least once. The first error ends it.
func load(ctx context.Context, clients int, duration time.Duration, operation func(context.Context, *worker) error) (outcome, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	measured := make([][]time.Duration, clients)
	var group sync.WaitGroup
	start := time.Now()
	for i := range clients {
		w := newWorker(i)
		group.Go(func() {
			for now := start; ; {
				err := operation(ctx, w)
				after := time.Now()
				if err != nil {
					fail(err)
					return
				}
				measured[i] = append(measured[i], after.Sub(now))
				if now = after; now.Sub(start) >= duration {
					return
				}
			}
		})
	}
	group.Wait()
	all := outcome{elapsed: time.Since(start), latencies: slices.Concat(measured...)}
	slices.Sort(all.latencies)
	return all, context.Cause(ctx)
}

// subject is a server under load, with what it stores.
type subject struct {
	*server
	plan     plan
	payloads payloads
	stored   map[int64]*atomic.Int64 // by size: objects that were put; they have the numbers below
	keys     [][]byte                // of the listed bucket, ascending; nil until it is filled
	prefixes [][]byte                // its directories
}

func newSubject(ctx context.Context, s *server, p plan, contents payloads) (*subject, error) {
	_, err := s.client.read(ctx, http.MethodPut, "/"+objectBucket, "")
	all := &subject{server: s, plan: p, payloads: contents, stored: map[int64]*atomic.Int64{}}
	for size := range contents {
		all.stored[size] = new(atomic.Int64)
	}
	return all, err
}

// objectPath is where an object is: a thousand of a size in a directory.
func objectPath(size, number int64) string {
	return fmt.Sprintf("/%s/%s/%04d/%03d", objectBucket, shortSize(size), number/1000, number%1000)
}

// prepare stores what a cell reads, as far as it is not there.
func (s *subject) prepare(ctx context.Context, c cell) error {
	switch c.verb {
	case get:
		missing := int64(c.objects) - s.stored[c.size].Load()
		return s.fill(ctx, missing, c.clients, func(ctx context.Context, _ int64) error { return s.putNext(ctx, c.size) })
	case list, listDirs:
		return s.fillListed(ctx)
	}
	return nil
}

// fill does an operation once for every number below n. The first error ends it.
func (s *subject) fill(ctx context.Context, n int64, clients int, operation func(context.Context, int64) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var taken atomic.Int64
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for number := taken.Add(1) - 1; number < n && ctx.Err() == nil; number = taken.Add(1) - 1 {
				if err := operation(ctx, number); err != nil {
					fail(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// fillListed makes the bucket of the listings: all its keys are in directories of one directory.
func (s *subject) fillListed(ctx context.Context) error {
	if s.keys != nil {
		return nil
	}
	if _, err := s.client.read(ctx, http.MethodPut, "/"+listedBucket, ""); err != nil {
		return err
	}
	width, leafWidth := len(strconv.Itoa(s.plan.directories-1)), len(strconv.Itoa(s.plan.leaves-1))
	for d := range s.plan.directories {
		prefix := fmt.Sprintf("tree/%0*d/", width, d)
		s.prefixes = append(s.prefixes, []byte(prefix))
		for leaf := range s.plan.leaves {
			s.keys = append(s.keys, fmt.Appendf(nil, "%s%0*d", prefix, leafWidth, leaf))
		}
	}
	const clients = 32
	return s.fill(ctx, int64(len(s.keys)), clients, func(ctx context.Context, number int64) error {
		return s.client.put(ctx, "/"+listedBucket+"/"+string(s.keys[number]), s.payloads.of(listedSize, number))
	})
}

// operation returns what each client of a cell repeats.
func (s *subject) operation(c cell) func(context.Context, *worker) error {
	switch c.verb {
	case put:
		return func(ctx context.Context, _ *worker) error { return s.putNext(ctx, c.size) }
	case get:
		return func(ctx context.Context, w *worker) error {
			number := w.rng.Int64N(int64(c.objects))
			return s.client.get(ctx, objectPath(c.size, number), s.payloads.of(c.size, number).body, w.buffer)
		}
	case list:
		return s.listNext
	}
	return s.listDirectories
}

// putNext stores one more object of a size.
func (s *subject) putNext(ctx context.Context, size int64) error {
	number := s.stored[size].Add(1) - 1
	return s.client.put(ctx, objectPath(size, number), s.payloads.of(size, number))
}

// listNext reads the page behind the one that the client read last, and begins again at the end.
func (s *subject) listNext(ctx context.Context, w *worker) error {
	query := url.Values{"list-type": {"2"}, "prefix": {"tree/"}, "max-keys": {strconv.Itoa(s.plan.page)}}
	if w.token != "" {
		query.Set("continuation-token", w.token)
	}
	if err := s.list(ctx, w, query); err != nil {
		return err
	}
	end := min(w.next+s.plan.page, len(s.keys))
	if err := compareEntries(w.page.Bytes(), "<Key>", s.keys[w.next:end]); err != nil {
		return err
	}
	if w.next = end; end == len(s.keys) {
		w.next, w.token = 0, ""
		return nil
	}
	token, ok := between(w.page.Bytes(), "<NextContinuationToken>", "<")
	if !ok {
		return fmt.Errorf("a page that ends with %s is called the last", s.keys[end-1])
	}
	w.token = html.UnescapeString(string(token))
	return nil
}

// listDirectories reads a page of the directories, which sums up all their keys.
func (s *subject) listDirectories(ctx context.Context, w *worker) error {
	query := url.Values{"list-type": {"2"}, "prefix": {"tree/"}, "delimiter": {"/"}, "max-keys": {strconv.Itoa(s.plan.page)}}
	if err := s.list(ctx, w, query); err != nil {
		return err
	}
	return compareEntries(w.page.Bytes(), "<CommonPrefixes><Prefix>", s.prefixes[:min(s.plan.page, len(s.prefixes))])
}

// list reads one page of the listed bucket into the client's room.
func (s *subject) list(ctx context.Context, w *worker, query url.Values) error {
	response, err := s.client.do(ctx, http.MethodGet, "/"+listedBucket, query.Encode(), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	w.page.Reset()
	_, err = w.page.ReadFrom(response.Body)
	return err
}

// compareEntries checks that a page has the wanted entries behind the given tags, in order, and no others. Parsing the XML would cost
// more than many a server needs to write it.
func compareEntries(page []byte, tags string, want [][]byte) error {
	for i, entry := range want {
		got, ok := between(page, tags, "<")
		if !ok || !bytes.Equal(got, entry) {
			return fmt.Errorf("a listing has %q where %q is next, entry %d of %d", got, entry, i+1, len(want))
		}
		page = page[bytes.Index(page, []byte(tags))+len(tags)+len(got):]
	}
	if more, ok := between(page, tags, "<"); ok {
		return fmt.Errorf("a page of %d entries has one more: %q", len(want), more)
	}
	return nil
}

// between returns what stands between the first before and the after that follows it.
func between(text []byte, before, after string) (found []byte, ok bool) {
	_, rest, ok := bytes.Cut(text, []byte(before))
	if !ok {
		return nil, false
	}
	found, _, ok = bytes.Cut(rest, []byte(after))
	return found, ok
}
