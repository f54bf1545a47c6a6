package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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

// contents are what a plan stores: the same bytes for each size, in one piece and in parts.
type contents struct {
	whole, parts bench.Payloads
}

func newContents(p plan) contents {
	sizes := []int64{listedSize}
	for _, c := range p.cells {
		if c.size > 0 {
			sizes = append(sizes, c.size)
		}
	}
	c := contents{whole: bench.NewPayloads(sizes, 0, "")}
	if i := slices.IndexFunc(p.cells, func(c cell) bool { return c.verb == putParts }); i >= 0 {
		c.parts = bench.NewPayloads([]int64{p.cells[i].size}, p.partSize, "")
	}
	return c
}

func newClient(address string) (*bench.Client, error) {
	return bench.NewClient(bench.Server{Endpoint: "http://" + address, AccessKey: user, SecretKey: password, Region: region})
}

// load lets clients repeat an operation for a time, each at least once, and all of them at most as often as requests says, if that is
// not 0. The first error ends it.
func load(ctx context.Context, clients int, duration time.Duration, requests int64, operation func(context.Context, *bench.Worker) error) (time.Duration, *bench.Histogram, error) {
	const any = bench.Verb("any")
	limits := bench.Limits{Clients: clients, Duration: duration, Requests: requests, StopOnError: true}
	came, err := bench.Run(ctx, limits, func(ctx context.Context, w *bench.Worker) (bench.Sample, error) {
		return bench.Sample{Verb: any}, operation(ctx, w)
	})
	if err != nil {
		return 0, nil, err
	}
	all := came.Verbs[any]
	if all == nil {
		return 0, nil, errors.New("there was nothing to do")
	}
	return came.Elapsed, &all.Latency, nil
}

// subject is a server under load, with what it stores.
type subject struct {
	*server
	plan     plan
	payloads bench.Payloads
	parts    bench.Payloads
	stored   map[int64]*atomic.Int64             // by size: objects that were put; they have the numbers below
	passing  struct{ put, deleted atomic.Int64 } // objects that a mixed load puts, in order of their numbers, and deletes in the same
	doomed   atomic.Int64                        // of the objects that a cell is to delete, those that are deleted already
	keys     [][]byte                            // of the listed bucket, ascending; nil until it is filled
	prefixes [][]byte                            // its directories
}

func newSubject(ctx context.Context, s *server, p plan, c contents) (*subject, error) {
	s.client.PartsAtOnce = p.partsAtOnce
	_, err := s.client.Read(ctx, bench.Request{Method: http.MethodPut, Bucket: objectBucket})
	all := &subject{server: s, plan: p, payloads: c.whole, parts: c.parts, stored: map[int64]*atomic.Int64{}}
	for size := range c.whole {
		all.stored[size] = new(atomic.Int64)
	}
	return all, err
}

// objectKey is where an object is: a thousand of a size in a directory.
func objectKey(size, number int64) string {
	return fmt.Sprintf("%s/%04d/%03d", shortSize(size), number/1000, number%1000)
}

// doomedKey is where an object is that a cell deletes.
func doomedKey(c cell, number int64) string {
	return fmt.Sprintf("%s/%04d/%03d", c.name(), number/1000, number%1000)
}

// preparing is how many clients store what a cell needs.
const preparing = 32

// prepare stores what a cell reads, as far as it is not there.
func (s *subject) prepare(ctx context.Context, c cell) error {
	switch c.verb {
	case get, mixed:
		missing := int64(c.objects) - s.stored[c.size].Load()
		return bench.Each(ctx, missing, preparing, func(ctx context.Context, _ int64) error { return s.putNext(ctx, c.size, s.payloads) })
	case list, listDirs:
		return s.fillListed(ctx)
	case remove, multiRemove:
		s.doomed.Store(0)
		return bench.Each(ctx, int64(c.objects), preparing, func(ctx context.Context, number int64) error {
			return s.client.Put(ctx, objectBucket, doomedKey(c, number), s.payloads.Of(c.size, number))
		})
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
	return bench.Each(ctx, int64(len(s.keys)), preparing, func(ctx context.Context, number int64) error {
		return s.client.Put(ctx, listedBucket, string(s.keys[number]), s.payloads.Of(listedSize, number))
	})
}

// operation returns what each client of a cell repeats.
func (s *subject) operation(c cell) func(context.Context, *bench.Worker) error {
	switch c.verb {
	case put:
		return func(ctx context.Context, _ *bench.Worker) error { return s.putNext(ctx, c.size, s.payloads) }
	case putParts:
		return func(ctx context.Context, _ *bench.Worker) error { return s.putNext(ctx, c.size, s.parts) }
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
	case remove, multiRemove:
		return func(ctx context.Context, _ *bench.Worker) error { return s.removeNext(ctx, c) }
	}
	return s.listDirectories
}

// putNext stores one more object of a size.
func (s *subject) putNext(ctx context.Context, size int64, contents bench.Payloads) error {
	number := s.stored[size].Add(1) - 1
	return s.client.Put(ctx, objectBucket, objectKey(size, number), contents.Of(size, number))
}

// removeNext deletes the next of the objects that were put for it, or as many as a request takes.
func (s *subject) removeNext(ctx context.Context, c cell) error {
	count := int64(max(c.each(s.plan), 1))
	last := s.doomed.Add(count)
	if last > int64(c.objects) {
		return bench.ErrDone
	}
	if c.verb == remove {
		return s.client.Delete(ctx, objectBucket, doomedKey(c, last-1))
	}
	var keys []string
	for number := last - count; number < last; number++ {
		keys = append(keys, doomedKey(c, number))
	}
	return s.client.DeleteMany(ctx, objectBucket, keys)
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
