package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"holdfast/cli/bench"
)

const (
	objectBucket = "objects"
	listedBucket = "listed"
	region       = "us-east-1"
)

// newPayloads makes the contents that a plan needs.
func newPayloads(p plan) bench.Payloads {
	sizes := []int64{listedSize}
	for _, c := range p.cells {
		if c.size > 0 {
			sizes = append(sizes, c.size)
		}
	}
	return bench.NewPayloads(sizes, 0, "")
}

func newClient(address string) (*bench.Client, error) {
	return bench.NewClient(bench.Server{Endpoint: "http://" + address, AccessKey: user, SecretKey: password, Region: region})
}

// load lets clients repeat an operation for a time, each at least once. The first error ends it.
func load(ctx context.Context, clients int, duration time.Duration, operation func(context.Context, *bench.Worker) error) (time.Duration, *bench.Histogram, error) {
	const any = bench.Verb("any")
	limits := bench.Limits{Clients: clients, Duration: duration, StopOnError: true}
	came, err := bench.Run(ctx, limits, func(ctx context.Context, w *bench.Worker) (bench.Sample, error) {
		return bench.Sample{Verb: any}, operation(ctx, w)
	})
	if err != nil {
		return 0, nil, err
	}
	return came.Elapsed, &came.Verbs[any].Latency, nil
}

// subject is a server under load, with what it stores.
type subject struct {
	*server
	plan     plan
	payloads bench.Payloads
	stored   map[int64]*atomic.Int64             // by size: objects that were put; they have the numbers below
	passing  struct{ put, deleted atomic.Int64 } // objects that a mixed load puts, in order of their numbers, and deletes in the same
	keys     [][]byte                            // of the listed bucket, ascending; nil until it is filled
	prefixes [][]byte                            // its directories
}

func newSubject(ctx context.Context, s *server, p plan, contents bench.Payloads) (*subject, error) {
	_, err := s.client.Read(ctx, bench.Request{Method: http.MethodPut, Bucket: objectBucket})
	all := &subject{server: s, plan: p, payloads: contents, stored: map[int64]*atomic.Int64{}}
	for size := range contents {
		all.stored[size] = new(atomic.Int64)
	}
	return all, err
}

// objectKey is where an object is: a thousand of a size in a directory.
func objectKey(size, number int64) string {
	return fmt.Sprintf("%s/%04d/%03d", shortSize(size), number/1000, number%1000)
}

// prepare stores what a cell reads, as far as it is not there.
func (s *subject) prepare(ctx context.Context, c cell) error {
	switch c.verb {
	case get, mixed:
		missing := int64(c.objects) - s.stored[c.size].Load()
		return bench.Each(ctx, missing, c.clients, func(ctx context.Context, _ int64) error { return s.putNext(ctx, c.size) })
	case list, listDirs:
		return s.fillListed(ctx)
	}
	return nil
}

// fillListed makes the bucket of the listings: all its keys are in directories of one directory.
func (s *subject) fillListed(ctx context.Context) error {
	if s.keys != nil {
		return nil
	}
	if _, err := s.client.Read(ctx, bench.Request{Method: http.MethodPut, Bucket: listedBucket}); err != nil {
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
	return bench.Each(ctx, int64(len(s.keys)), clients, func(ctx context.Context, number int64) error {
		return s.client.Put(ctx, listedBucket, string(s.keys[number]), s.payloads.Of(listedSize, number))
	})
}

// operation returns what each client of a cell repeats.
func (s *subject) operation(c cell) func(context.Context, *bench.Worker) error {
	switch c.verb {
	case put:
		return func(ctx context.Context, _ *bench.Worker) error { return s.putNext(ctx, c.size) }
	case get:
		return func(ctx context.Context, w *bench.Worker) error {
			number := w.Rand.Int64N(int64(c.objects))
			_, err := s.client.Get(ctx, objectBucket, objectKey(c.size, number), c.size, s.payloads.Of(c.size, number).Body, w.Buffer)
			return err
		}
	case mixed:
		return func(ctx context.Context, w *bench.Worker) error { return s.mix(ctx, w, c) }
	case list:
		return s.listNext
	}
	return s.listDirectories
}

// putNext stores one more object of a size.
func (s *subject) putNext(ctx context.Context, size int64) error {
	number := s.stored[size].Add(1) - 1
	return s.client.Put(ctx, objectBucket, objectKey(size, number), s.payloads.Of(size, number))
}

// mix does one operation of a mixed load: most are reads of objects that stay, as in the load get; what it puts it deletes later.
func (s *subject) mix(ctx context.Context, w *bench.Worker, c cell) error {
	passing := func(number int64) string { return fmt.Sprintf("mixed/%04d/%03d", number/1000, number%1000) }
	number := w.Rand.Int64N(int64(c.objects))
	switch part := w.Rand.IntN(100); {
	case part < 45:
		_, err := s.client.Get(ctx, objectBucket, objectKey(c.size, number), c.size, s.payloads.Of(c.size, number).Body, w.Buffer)
		return err
	case part < 75:
		return s.client.Stat(ctx, objectBucket, objectKey(c.size, number), c.size)
	case part < 85:
		if next := s.passing.deleted.Load(); next < s.passing.put.Load()-int64(c.clients) && s.passing.deleted.CompareAndSwap(next, next+1) {
			return s.client.Delete(ctx, objectBucket, passing(next)) // a put that takes longer than the next ones of all clients leaves its object
		}
	}
	next := s.passing.put.Add(1) - 1
	return s.client.Put(ctx, objectBucket, passing(next), s.payloads.Of(c.size, next))
}

// listNext reads the page behind the one that the client read last, and begins again at the end.
func (s *subject) listNext(ctx context.Context, w *bench.Worker) error {
	query := url.Values{"list-type": {"2"}, "prefix": {"tree/"}, "max-keys": {strconv.Itoa(s.plan.page)}}
	if w.Token != "" {
		query.Set("continuation-token", w.Token)
	}
	if err := s.client.ListPage(ctx, listedBucket, query, w); err != nil {
		return err
	}
	end := min(w.Next+s.plan.page, len(s.keys))
	if err := bench.CompareEntries(w.Page.Bytes(), "<Key>", s.keys[w.Next:end]); err != nil {
		return err
	}
	if w.Next = end; end == len(s.keys) {
		w.Next, w.Token = 0, ""
		return nil
	}
	if w.Token = bench.NextToken(w.Page.Bytes()); w.Token == "" {
		return fmt.Errorf("a page that ends with %s is called the last", s.keys[end-1])
	}
	return nil
}

// listDirectories reads a page of the directories, which sums up all their keys.
func (s *subject) listDirectories(ctx context.Context, w *bench.Worker) error {
	query := url.Values{"list-type": {"2"}, "prefix": {"tree/"}, "delimiter": {"/"}, "max-keys": {strconv.Itoa(s.plan.page)}}
	if err := s.client.ListPage(ctx, listedBucket, query, w); err != nil {
		return err
	}
	return bench.CompareEntries(w.Page.Bytes(), "<CommonPrefixes><Prefix>", s.prefixes[:min(s.plan.page, len(s.prefixes))])
}
