package bench

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Plan is one measurement.
type Plan struct {
	Client *Client
	Bucket string // made if it is not there, and then removed in the end
	Prefix string // of all keys; what is below it is deleted in the end

	Verb    Verb
	Shares  map[Verb]int // of Mixed, in relation to each other
	Limits  Limits
	Sizes   []int64 // of the objects, one after the other
	Objects int     // that are there before the time runs, unless the verb is Put
	Page    int     // keys that a listing asks for

	PartSize int64 // objects beyond it are put in parts; 0 for none
	Verify   bool  // compare what is read with what was put, byte by byte and key by key
	Keep     bool  // leave the bucket and the objects

	Progress func(string) // is told what begins; nil for nobody

	payloads Payloads
	made     bool // the bucket was not there
	pool     pool
	keys     [][]byte // of the prepared objects, ascending; only for listings
	next     struct { // of Delete
		sync.Mutex
		number int64
	}
}

// Report is what a Plan came to.
type Report struct {
	Plan    *Plan
	Started time.Time // when the load began, with its warm-up
	*Result
}

// Run prepares, measures and cleans up. When ctx ends, it cleans up all the same, and the report, if there is one, has what was measured until then; the error says what
// ended it. Errors of single requests are in the report only.
func (b *Plan) Run(ctx context.Context) (*Report, error) {
	if b.Progress == nil {
		b.Progress = func(string) {}
	}
	b.payloads = NewPayloads(b.Sizes, b.PartSize, b.Client.Checksum)
	var err error
	if b.made, err = b.Client.MakeBucket(ctx, b.Bucket); err != nil {
		return nil, fmt.Errorf("the bucket %s: %w", b.Bucket, err)
	}
	var report *Report
	err = b.prepare(ctx)
	if err == nil {
		b.Progress(fmt.Sprintf("%s with %d clients for %v", b.Verb, b.Limits.Clients, b.Limits.WarmUp+b.Limits.Duration))
		report = &Report{Plan: b, Started: time.Now()}
		report.Result, err = Run(ctx, b.Limits, b.operation())
	}
	if !b.Keep {
		err = errors.Join(err, b.cleanUp(context.WithoutCancel(ctx)))
	}
	return report, err
}

// cleanUp takes away what was made.
func (b *Plan) cleanUp(ctx context.Context) error {
	b.Progress("deleting what was put")
	if err := b.Client.Empty(ctx, b.Bucket, b.Prefix); err != nil {
		return fmt.Errorf("objects below %s/%s are left: %w", b.Bucket, b.Prefix, err)
	}
	if !b.made {
		return nil
	}
	if err := b.Client.RemoveBucket(ctx, b.Bucket); err != nil && CodeOf(err) != "BucketNotEmpty" { // somebody else uses it as well
		return fmt.Errorf("the bucket %s is left: %w", b.Bucket, err)
	}
	return nil
}

// key returns where an object is: a thousand in a directory, in the order of their numbers.
func (b *Plan) key(number int64) string {
	return fmt.Sprintf("%s%06d/%03d", b.Prefix, number/1000, number%1000)
}

// content returns what an object has. The sizes take turns.
func (b *Plan) content(number int64) *Payload {
	sizes := int64(len(b.Sizes))
	return b.payloads.Of(b.Sizes[number%sizes], number/sizes)
}

func (b *Plan) put(ctx context.Context, number int64) error {
	return b.Client.Put(ctx, b.Bucket, b.key(number), b.content(number))
}

// prepare stores what the verb needs.
func (b *Plan) prepare(ctx context.Context) error {
	if b.Verb == Put {
		return ctx.Err()
	}
	b.Progress(fmt.Sprintf("putting %d objects", b.Objects))
	if err := Each(ctx, int64(b.Objects), b.Limits.Clients, b.put); err != nil {
		return fmt.Errorf("the objects cannot be prepared: %w", err)
	}
	for number := range int64(b.Objects) {
		b.pool.add(number)
		b.keys = append(b.keys, []byte(b.key(number)))
	}
	b.pool.next = int64(b.Objects)
	return nil
}

// operation returns what each client repeats.
func (b *Plan) operation() func(context.Context, *Worker) (Sample, error) {
	one := map[Verb]func(context.Context, *Worker) (Sample, error){
		Put: b.putNext, Get: b.getAny, Stat: b.statAny, List: b.listNext, Delete: b.deleteAny,
	}
	switch b.Verb {
	case Mixed:
		return func(ctx context.Context, w *Worker) (Sample, error) { return one[b.draw(w.Rand)](ctx, w) }
	case Delete:
		return b.deleteNext
	}
	return one[b.Verb]
}

// draw chooses a verb according to the shares.
func (b *Plan) draw(r *rand.Rand) Verb {
	total := 0
	for _, share := range b.Shares {
		total += share
	}
	at := r.IntN(total)
	for _, v := range []Verb{Get, Stat, Put, Delete} {
		if at -= b.Shares[v]; at < 0 {
			return v
		}
	}
	return List
}

func (b *Plan) putNext(ctx context.Context, _ *Worker) (Sample, error) {
	number := b.pool.reserve()
	err := b.put(ctx, number)
	if err == nil && b.Verb == Mixed {
		b.pool.add(number)
	}
	return Sample{Verb: Put, Bytes: int64(len(b.content(number).Body))}, err
}

func (b *Plan) getAny(ctx context.Context, w *Worker) (Sample, error) {
	number, release := b.pool.use(w.Rand)
	defer release()
	want := b.content(number).Body
	size := int64(len(want))
	if !b.Verify {
		want = nil
	}
	first, err := b.Client.Get(ctx, b.Bucket, b.key(number), size, want, w.Buffer)
	return Sample{Verb: Get, Bytes: size, FirstByte: first}, err
}

func (b *Plan) statAny(ctx context.Context, w *Worker) (Sample, error) {
	number, release := b.pool.use(w.Rand)
	defer release()
	return Sample{Verb: Stat}, b.Client.Stat(ctx, b.Bucket, b.key(number), int64(len(b.content(number).Body)))
}

// deleteAny deletes an object that nobody reads; where all are read, it puts one in its place.
func (b *Plan) deleteAny(ctx context.Context, w *Worker) (Sample, error) {
	number, ok := b.pool.remove(w.Rand)
	if !ok {
		return b.putNext(ctx, w)
	}
	return Sample{Verb: Delete}, b.Client.Delete(ctx, b.Bucket, b.key(number))
}

// deleteNext deletes the prepared objects, each once.
func (b *Plan) deleteNext(ctx context.Context, _ *Worker) (Sample, error) {
	b.next.Lock()
	number := b.next.number
	b.next.number++
	b.next.Unlock()
	if number >= int64(b.Objects) {
		return Sample{}, ErrDone
	}
	return Sample{Verb: Delete}, b.Client.Delete(ctx, b.Bucket, b.key(number))
}

// listNext reads the page behind the one that the client read last, and begins again at the end. Only where no key changes meanwhile can
// the page be compared.
func (b *Plan) listNext(ctx context.Context, w *Worker) (Sample, error) {
	sample := Sample{Verb: List}
	query := url.Values{"list-type": {"2"}, "prefix": {b.Prefix}, "max-keys": {strconv.Itoa(b.Page)}}
	if w.Token != "" {
		query.Set("continuation-token", w.Token)
	}
	if err := b.Client.ListPage(ctx, b.Bucket, query, w); err != nil {
		return sample, err
	}
	if b.Verify && b.Verb == List {
		end := min(w.Next+b.Page, len(b.keys))
		if err := CompareEntries(w.Page.Bytes(), "<Key>", b.keys[w.Next:end]); err != nil {
			w.Next, w.Token = 0, ""
			return sample, err
		}
		w.Next = end
	}
	sample.Keys = int64(bytes.Count(w.Page.Bytes(), []byte("<Key>")))
	w.Token = NextToken(w.Page.Bytes())
	if w.Token == "" {
		if b.Verify && b.Verb == List && w.Next < len(b.keys) {
			w.Next = 0
			return sample, fmt.Errorf("%w: a page is called the last before %d of %d keys", errDiffers, len(b.keys)-w.Next, len(b.keys))
		}
		w.Next = 0
	}
	return sample, nil
}

// ListPage reads one page of a listing into the worker's room.
func (c *Client) ListPage(ctx context.Context, bucket string, query url.Values, w *Worker) error {
	response, err := c.Do(ctx, Request{Method: "GET", Bucket: bucket, Query: query})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	w.Page.Reset()
	_, err = w.Page.ReadFrom(response.Body)
	return err
}

// NextToken returns the token that continues behind a page, "" if it is the last.
func NextToken(page []byte) string {
	token, _ := between(page, "<NextContinuationToken>", "<")
	return html.UnescapeString(string(token))
}

// CompareEntries checks that a page has the wanted entries behind the given tags, in order, and no others. Parsing the XML would cost
// more than many a server needs to write it.
func CompareEntries(page []byte, tags string, want [][]byte) error {
	for i, entry := range want {
		got, ok := between(page, tags, "<")
		if !ok || !bytes.Equal(got, entry) {
			return fmt.Errorf("%w: a listing has %q where %q is next, entry %d of %d", errDiffers, got, entry, i+1, len(want))
		}
		page = page[bytes.Index(page, []byte(tags))+len(tags)+len(got):]
	}
	if more, ok := between(page, tags, "<"); ok {
		return fmt.Errorf("%w: a page of %d entries has one more: %q", errDiffers, len(want), more)
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

// pool has the numbers of the objects that are there, and how many clients read each at the moment.
type pool struct {
	mu      sync.Mutex
	next    int64 // the number of the next object
	numbers []int64
	readers map[int64]int
}

// reserve returns the number of a new object.
func (p *pool) reserve() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	return p.next - 1
}

// add makes an object known.
func (p *pool) add(number int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.numbers = append(p.numbers, number)
}

// use chooses an object, which stays until it is released.
func (p *pool) use(r *rand.Rand) (number int64, release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readers == nil {
		p.readers = map[int64]int{}
	}
	number = p.numbers[r.IntN(len(p.numbers))]
	p.readers[number]++
	return number, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.readers[number]--; p.readers[number] == 0 {
			delete(p.readers, number)
		}
	}
}

// remove chooses an object that nobody reads and forgets it; ok is false if a few tries find none. The last object stays.
func (p *pool) remove(r *rand.Rand) (number int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range 8 {
		i := r.IntN(len(p.numbers))
		if number = p.numbers[i]; p.readers[number] > 0 || len(p.numbers) < 2 {
			continue
		}
		p.numbers[i] = p.numbers[len(p.numbers)-1]
		p.numbers = p.numbers[:len(p.numbers)-1]
		return number, true
	}
	return 0, false
}

// verbs returns those that were measured, the most frequent first.
func (r *Report) verbs() []Verb {
	var list []Verb
	for v := range r.Verbs {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b Verb) int {
		return cmp.Or(cmp.Compare(r.Verbs[b].Latency.Count(), r.Verbs[a].Latency.Count()), cmp.Compare(a, b))
	})
	return list
}
