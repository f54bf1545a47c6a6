package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"holdfast/cli/bench"
)

// keysPlan says how servers with many keys are looked at.
type keysPlan struct {
	flat, tree int64 // keys of the two buckets
	peers      int64 // the most keys in each bucket of a server that is filled over HTTP
	page       int   // keys of a page
	pages      int   // at random markers
	roots      int   // listings of all prefixes
	objects    int64 // of 4 KiB that reads choose from
	clients    int   // of puts and gets
	pairs      int   // of a deep key and a flat one
	starts     int   // after kill -9
	duration   time.Duration
	patience   time.Duration // until a server that was filled is quiet
}

// fullKeysPlan gives the bucket with prefixes as many keys as the flat one, but no more than a million: what a listing of its root costs
// depends on the prefixes.
func fullKeysPlan(count int64, duration time.Duration) keysPlan {
	return keysPlan{
		flat: count, tree: min(count, 1_000_000), peers: 100_000, page: 1000, pages: 500, roots: 20, objects: 2500, clients: 32, pairs: 300, starts: 5,
		duration: duration, patience: time.Minute,
	}
}

// deepDirectories is how many directories are above a deep key.
const deepDirectories = 20

// keysRow is what a server with many keys came to. Durations are in ms.
type keysRow struct {
	Server, Version, Commit, Measured, Machine string

	Keys, Tree  int64   // of the flat bucket and of the one with prefixes
	Filled      float64 // keys/s while the buckets were filled
	ListRate    float64 // keys/s, of the whole flat bucket, page by page, one client
	Root        float64 // all prefixes, median
	Page        float64 // at a random marker, median
	PageP99     float64
	StatRate    float64 // of random keys
	StatMedian  float64
	PutRate     float64 // of 4 KiB, between the keys
	PutMedian   float64
	PutP99      float64
	GetRate     float64 // of random ones of those
	GetMedian   float64
	GetP99      float64
	DeepPut     float64 // of a key 20 directories deep, in flat ones: medians of puts that take turns
	DeepGet     float64
	Ready       float64 // after kill -9, median
	ReadyWorst  float64
	BytesPerKey float64 // of metadata, on each drive
	PeakMiB     float64 // since the start, before the kills
}

// runKeys fills and measures every server, one after another.
func runKeys(ctx context.Context, c config, p keysPlan) (rows []keysRow, err error) {
	servers, absent, err := contenders(c)
	if err != nil {
		return nil, err
	}
	for _, name := range absent {
		progress("%s is not measured: its binary is absent", name)
	}
	parent, remove, err := workFolder(c.folder)
	if err != nil {
		return nil, err
	}
	defer remove()
	m, err := describe(parent)
	if err != nil {
		return nil, err
	}
	for _, who := range servers {
		row := keysRow{Server: who.name, Commit: commit(), Measured: time.Now().UTC().Format(time.DateOnly), Machine: m.String()}
		if row.Version, err = who.version(ctx); err != nil {
			return nil, err
		}
		dir := filepath.Join(parent, who.name)
		if err := measureKeys(ctx, p, who, dir, &row); err != nil {
			return nil, fmt.Errorf("%s: %w", who.name, err)
		}
		rows = append(rows, row)
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// The marks between which a file has what was measured with many keys.
const (
	keysBegin = "<!-- keys:begin -->"
	keysEnd   = "<!-- keys:end -->"
)

// keepKeys measures, and adds what came to what earlier runs found with other numbers of keys, which is kept beside the document.
func keepKeys(ctx context.Context, c config) error {
	if c.keys < 2000 {
		return fmt.Errorf("%d keys are fewer than two pages", c.keys)
	}
	if c.out != "" { // after the measurement would be late to find out
		if err := replaceSection(c.out, keysBegin, keysEnd, nil); err != nil {
			return err
		}
	}
	rows, err := runKeys(ctx, c, fullKeysPlan(c.keys, c.duration))
	if err != nil {
		return err
	}
	if c.out == "" {
		_, err := os.Stdout.Write(keysMarkdown(rows))
		return err
	}
	kept := filepath.Join(filepath.Dir(c.out), "benchmarks", "keys.json")
	var earlier []keysRow
	if text, err := os.ReadFile(kept); err == nil {
		if err := json.Unmarshal(text, &earlier); err != nil {
			return fmt.Errorf("%s: %w", kept, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	rows = mergeRows(earlier, rows)
	text, err := json.MarshalIndent(rows, "", "\t")
	if err != nil {
		return err
	}
	if err := writeDrawings(c.out, []drawing{keysDrawing(rows)}); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(kept, append(text, '\n'), 0o644), replaceSection(c.out, keysBegin, keysEnd, keysMarkdown(rows)))
}

// measureKeys fills a server, starts it and looks at it.
func measureKeys(ctx context.Context, p keysPlan, who contender, dir string, row *keysRow) (err error) {
	row.Keys, row.Tree = p.flat, p.tree
	if who.name == holdfast.name {
		var filled fillReport
		progress("%s: %d keys and %d in %d prefixes, through the engine", who.name, p.flat, p.tree, treePrefixes)
		if err := startTask(ctx, "child-fill", fillConfig{Dir: dir, Flat: p.flat, Tree: p.tree}, &filled); err != nil {
			return err
		}
		row.Filled = float64(filled.Keys) / filled.Elapsed.Seconds()
		progress("  %s keys/s, %s ms CPU each", digits(row.Filled), digits(milliseconds(filled.CPU)/float64(filled.Keys)))
	} else {
		row.Keys, row.Tree = min(p.flat, p.peers), min(p.tree, p.peers)
	}
	s, err := who.start(ctx, dir)
	if err != nil {
		return err
	}
	k := &keyed{server: s, plan: p, row: row, payloads: bench.NewPayloads([]int64{filledSize, smallSize}, 0, "")}
	defer func() { k.kill() }() // whichever server runs by then
	if who.name != holdfast.name {
		progress("%s: %d keys and %d in %d prefixes, over HTTP", who.name, row.Keys, row.Tree, treePrefixes)
		if err := k.fillOver(ctx); err != nil {
			return k.withLog(err)
		}
	}
	for _, step := range []func(context.Context) error{k.weigh, k.listAll, k.listRoot, k.listPages, k.statKeys, k.putAndGet, k.deep, k.memory, k.starts} {
		if err := step(ctx); err != nil {
			return k.withLog(err)
		}
	}
	return k.stop()
}

// smallSize is the size of the objects that are put between the keys, in bytes.
const smallSize = 4 << 10

// keyed is a server with many keys.
type keyed struct {
	*server
	plan     keysPlan
	row      *keysRow
	payloads bench.Payloads
	stored   atomic.Int64 // objects between the keys
}

// fillOver fills the buckets with puts.
func (k *keyed) fillOver(ctx context.Context) error {
	began := time.Now()
	for _, b := range k.buckets() {
		if _, err := k.client.MakeBucket(ctx, b.name); err != nil {
			return err
		}
		err := bench.Each(ctx, b.count, preparing, func(ctx context.Context, number int64) error {
			return k.client.Put(ctx, b.name, b.key(number), k.payloads.Of(filledSize, number))
		})
		if err != nil {
			return err
		}
	}
	k.row.Filled = float64(k.row.Keys+k.row.Tree) / time.Since(began).Seconds()
	return nil
}

func (k *keyed) buckets() []filledBucket {
	return []filledBucket{{flatBucket, k.row.Keys, flatKey}, {treeBucket, k.row.Tree, treeKey}}
}

// weigh says what the metadata of the keys takes on each drive, once nothing is written any more.
func (k *keyed) weigh(ctx context.Context) error {
	if err := k.settle(ctx, k.plan.patience); err != nil {
		return err
	}
	total := int64(0)
	for i := range drives {
		room, err := allocated(filepath.Join(k.place.drive(i), filepath.FromSlash(k.metadata)))
		if err != nil {
			return err
		}
		total += room
	}
	k.row.BytesPerKey = float64(total) / drives / float64(k.row.Keys+k.row.Tree)
	return nil
}

// page asks for one page and compares it.
func (k *keyed) page(ctx context.Context, w *bench.Worker, bucket string, query url.Values, tags string, want [][]byte) error {
	query.Set("list-type", "2")
	query.Set("max-keys", strconv.Itoa(k.plan.page))
	if err := k.client.ListPage(ctx, bucket, query, w); err != nil {
		return err
	}
	return bench.CompareEntries(w.Page.Bytes(), tags, want)
}

// flatKeys returns the keys of a page of the flat bucket.
func (k *keyed) flatKeys(first int64) (keys [][]byte) {
	for number := first; number < min(first+int64(k.plan.page), k.row.Keys); number++ {
		keys = append(keys, []byte(flatKey(number)))
	}
	return keys
}

// listAll reads the whole flat bucket once, page by page.
func (k *keyed) listAll(ctx context.Context) error {
	w, began := bench.NewWorker(0), time.Now()
	for first := int64(0); first < k.row.Keys; first += int64(k.plan.page) {
		query := url.Values{}
		if first > 0 {
			query.Set("continuation-token", w.Token)
		}
		if err := k.page(ctx, w, flatBucket, query, "<Key>", k.flatKeys(first)); err != nil {
			return err
		}
		w.Token = bench.NextToken(w.Page.Bytes())
	}
	if w.Token != "" {
		return errors.New("the listing goes on behind the last key")
	}
	k.row.ListRate = float64(k.row.Keys) / time.Since(began).Seconds()
	progress("  list: %s keys/s", digits(k.row.ListRate))
	return nil
}

// repeat lets one client do something a number of times and returns how long it took.
func repeat(ctx context.Context, times int, do func(context.Context, *bench.Worker, int) error) (*bench.Histogram, error) {
	w, h := bench.NewWorker(0), new(bench.Histogram)
	for i := range times {
		began := time.Now()
		if err := do(ctx, w, i); err != nil {
			return nil, err
		}
		h.Add(time.Since(began))
	}
	return h, nil
}

// listRoot asks the bucket with prefixes for them.
func (k *keyed) listRoot(ctx context.Context) error {
	var want [][]byte
	for prefix := range min(treePrefixes, k.row.Tree, int64(k.plan.page)) {
		directory, _, _ := strings.Cut(treeKey(prefix), "/")
		want = append(want, []byte(directory+"/"))
	}
	took, err := repeat(ctx, k.plan.roots, func(ctx context.Context, w *bench.Worker, _ int) error {
		return k.page(ctx, w, treeBucket, url.Values{"delimiter": {"/"}}, "<CommonPrefixes><Prefix>", want)
	})
	if err != nil {
		return err
	}
	k.row.Root = milliseconds(took.Quantile(0.5))
	progress("  %d prefixes: %s ms", len(want), digits(k.row.Root))
	return nil
}

// listPages asks for pages behind random keys of the flat bucket, none of them cut short by its end.
func (k *keyed) listPages(ctx context.Context) error {
	took, err := repeat(ctx, k.plan.pages, func(ctx context.Context, w *bench.Worker, _ int) error {
		marker := w.Rand.Int64N(k.row.Keys - int64(k.plan.page))
		return k.page(ctx, w, flatBucket, url.Values{"start-after": {flatKey(marker)}}, "<Key>", k.flatKeys(marker+1))
	})
	if err != nil {
		return err
	}
	k.row.Page, k.row.PageP99 = milliseconds(took.Quantile(0.5)), milliseconds(took.Quantile(0.99))
	progress("  a page at a random marker: %s ms, p99 %s ms", digits(k.row.Page), digits(k.row.PageP99))
	return nil
}

// under measures what clients repeat for a time, with a warm-up.
func (k *keyed) under(ctx context.Context, what string, do func(context.Context, *bench.Worker) error) (rate, median, p99 float64, err error) {
	k.client.Close() // a connection that the server is about to close would fail a request
	if _, _, err := load(ctx, k.plan.clients, k.plan.duration/8, 0, do); err != nil {
		return 0, 0, 0, err
	}
	elapsed, latency, err := load(ctx, k.plan.clients, k.plan.duration, 0, do)
	if err != nil {
		return 0, 0, 0, err
	}
	rate = float64(latency.Count()) / elapsed.Seconds()
	median, p99 = milliseconds(latency.Quantile(0.5)), milliseconds(latency.Quantile(0.99))
	progress("  %s: %s/s, median %s ms, p99 %s ms", what, digits(rate), digits(median), digits(p99))
	return rate, median, p99, nil
}

// statKeys asks for random keys of the flat bucket.
func (k *keyed) statKeys(ctx context.Context) (err error) {
	k.row.StatRate, k.row.StatMedian, _, err = k.under(ctx, "head of a random key", func(ctx context.Context, w *bench.Worker) error {
		return k.client.Stat(ctx, flatBucket, flatKey(w.Rand.Int64N(k.row.Keys)), filledSize)
	})
	return err
}

// between is the key of an object of 4 KiB: a random place among the keys, and the same one for the same number.
func (k *keyed) between(number int64) string {
	const spread = 0x9e3779b97f4a7c15 // odd, so that numbers near each other lie far apart
	return fmt.Sprintf("%s-%d", flatKey(int64(uint64(number)*spread%uint64(k.row.Keys))), number)
}

func (k *keyed) putBetween(ctx context.Context) error {
	number := k.stored.Add(1) - 1
	return k.client.Put(ctx, flatBucket, k.between(number), k.payloads.Of(smallSize, number))
}

// putAndGet puts objects between the keys, and reads them.
func (k *keyed) putAndGet(ctx context.Context) (err error) {
	k.row.PutRate, k.row.PutMedian, k.row.PutP99, err = k.under(ctx, "put 4 KiB", func(ctx context.Context, _ *bench.Worker) error { return k.putBetween(ctx) })
	if err != nil {
		return err
	}
	err = bench.Each(ctx, k.plan.objects-k.stored.Load(), preparing, func(ctx context.Context, _ int64) error { return k.putBetween(ctx) })
	if err != nil {
		return err
	}
	k.row.GetRate, k.row.GetMedian, k.row.GetP99, err = k.under(ctx, "get 4 KiB", func(ctx context.Context, w *bench.Worker) error {
		number := w.Rand.Int64N(k.plan.objects)
		_, err := k.client.Get(ctx, flatBucket, k.between(number), smallSize, k.payloads.Of(smallSize, number).Body, w.Buffer)
		return err
	})
	return err
}

// deep puts and reads keys 20 directories deep and flat ones in turns.
func (k *keyed) deep(ctx context.Context) error {
	var path strings.Builder
	for d := range deepDirectories {
		fmt.Fprintf(&path, "deep%02d/", d)
	}
	var put, get [2]bench.Histogram
	w := bench.NewWorker(0)
	for i := range int64(k.plan.pairs) {
		content := k.payloads.Of(smallSize, i)
		for which, prefix := range []string{"key-", path.String()} {
			key := fmt.Sprintf("%sturn-%06d", prefix, i)
			began := time.Now()
			if err := k.client.Put(ctx, flatBucket, key, content); err != nil {
				return err
			}
			put[which].Add(time.Since(began))
			began = time.Now()
			if _, err := k.client.Get(ctx, flatBucket, key, smallSize, content.Body, w.Buffer); err != nil {
				return err
			}
			get[which].Add(time.Since(began))
		}
	}
	ratio := func(h *[2]bench.Histogram) float64 { return float64(h[1].Quantile(0.5)) / float64(h[0].Quantile(0.5)) }
	k.row.DeepPut, k.row.DeepGet = ratio(&put), ratio(&get)
	progress("  %d directories deep: put %s, get %s of a flat key", deepDirectories, digits(k.row.DeepPut), digits(k.row.DeepGet))
	return nil
}

func (k *keyed) memory(context.Context) error {
	peak, err := k.resident(highest)
	k.row.PeakMiB = float64(peak) / (1 << 20)
	return err
}

// starts kills the server under puts, starts it again, and says how long it takes until it is ready.
func (k *keyed) starts(ctx context.Context) error {
	var took []float64
	for range k.plan.starts {
		if err := k.killUnderLoad(ctx); err != nil {
			return err
		}
		next, err := k.contender.start(ctx, k.place.dir)
		if err != nil {
			return err
		}
		k.server = next
		took = append(took, milliseconds(next.readyAfter))
		key := k.between(0)
		if _, err := k.client.Get(ctx, flatBucket, key, smallSize, k.payloads.Of(smallSize, 0).Body, make([]byte, smallSize)); err != nil {
			return fmt.Errorf("after the start: %w", err)
		}
	}
	k.row.Ready, k.row.ReadyWorst = median(took), slices.Max(took)
	progress("  ready %s ms after kill -9, at most %s ms", digits(k.row.Ready), digits(k.row.ReadyWorst))
	return nil
}

// killUnderLoad kills the server when some of the puts that go on have been answered.
func (k *keyed) killUnderLoad(ctx context.Context) error {
	enough := make(chan struct{})
	var answered atomic.Int64
	ended := make(chan error, 1)
	go func() {
		_, _, err := load(ctx, k.plan.clients, time.Hour, 0, func(ctx context.Context, _ *bench.Worker) error {
			err := k.putBetween(ctx)
			if err == nil && answered.Add(1) == int64(k.plan.clients)*20 {
				close(enough)
			}
			return err
		})
		ended <- err
	}()
	select {
	case <-enough:
	case err := <-ended:
		return fmt.Errorf("the puts before the kill: %w", err)
	}
	k.kill()
	<-ended // it fails: the server is gone
	k.client.Close()
	return ctx.Err()
}

// allocated returns the room that what is below a folder takes on the file system.
func allocated(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return absentIsFine(err)
		}
		n, err := blocks(path)
		total += n
		return absentIsFine(err)
	})
	return total, err
}

// keysMeasures are the rows of the table.
var keysMeasures = []struct {
	title  string
	figure func(*keysRow) float64
}{
	{"keys/s while filled", func(r *keysRow) float64 { return r.Filled }},
	{"list all of the flat bucket, keys/s", func(r *keysRow) float64 { return r.ListRate }},
	{"list 1,000 prefixes with a delimiter, ms", func(r *keysRow) float64 { return r.Root }},
	{"page at a random marker, median ms", func(r *keysRow) float64 { return r.Page }},
	{"page at a random marker, p99 ms", func(r *keysRow) float64 { return r.PageP99 }},
	{"head of a random key, operations/s", func(r *keysRow) float64 { return r.StatRate }},
	{"head of a random key, median ms", func(r *keysRow) float64 { return r.StatMedian }},
	{"put 4 KiB, operations/s", func(r *keysRow) float64 { return r.PutRate }},
	{"put 4 KiB, median ms", func(r *keysRow) float64 { return r.PutMedian }},
	{"put 4 KiB, p99 ms", func(r *keysRow) float64 { return r.PutP99 }},
	{"get 4 KiB, operations/s", func(r *keysRow) float64 { return r.GetRate }},
	{"get 4 KiB, median ms", func(r *keysRow) float64 { return r.GetMedian }},
	{"get 4 KiB, p99 ms", func(r *keysRow) float64 { return r.GetP99 }},
	{"put of a key 20 directories deep ÷ flat", func(r *keysRow) float64 { return r.DeepPut }},
	{"get of a key 20 directories deep ÷ flat", func(r *keysRow) float64 { return r.DeepGet }},
	{"start to ready after kill -9, median ms", func(r *keysRow) float64 { return r.Ready }},
	{"start to ready after kill -9, worst ms", func(r *keysRow) float64 { return r.ReadyWorst }},
	{"metadata, bytes per key and drive", func(r *keysRow) float64 { return r.BytesPerKey }},
	{"peak memory, MiB", func(r *keysRow) float64 { return r.PeakMiB }},
}

// mergeRows replaces the rows of the same server and count, and sorts: Holdfast first, then by count.
func mergeRows(old, came []keysRow) []keysRow {
	same := func(a, b keysRow) int { return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Keys, b.Keys)) }
	all := slices.DeleteFunc(slices.Clone(old), func(o keysRow) bool {
		return slices.ContainsFunc(came, func(c keysRow) bool { return same(o, c) == 0 })
	})
	all = append(all, came...)
	slices.SortFunc(all, func(a, b keysRow) int {
		first := func(r keysRow) int {
			if r.Server == holdfast.name {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(first(a), first(b)), same(a, b))
	})
	return all
}

// keysMarkdown returns the table of all that was measured with many keys.
func keysMarkdown(rows []keysRow) []byte {
	var b bytes.Buffer
	table := func(head []string, text int, lines [][]string) {
		writeHeader(&b, head, text)
		for _, l := range lines {
			writeRow(&b, l)
		}
		b.WriteString("\n")
	}
	head := []string{"keys in the flat bucket"}
	for _, r := range rows {
		head = append(head, r.Server+", "+short(float64(r.Keys)))
	}
	var lines [][]string
	for _, m := range keysMeasures {
		l := []string{m.title}
		for _, r := range rows {
			l = append(l, digits(m.figure(&r)))
		}
		lines = append(lines, l)
	}
	table(head, 1, lines)
	for i := range rows {
		for j := range rows {
			large, small := &rows[i], &rows[j]
			if large.Server != holdfast.name || large == small || small.Server == large.Server && j != i-1 {
				continue
			}
			lines = nil
			for _, m := range keysMeasures[1:] {
				lines = append(lines, []string{m.title, digits(m.figure(large) / m.figure(small))})
			}
			table([]string{fmt.Sprintf("%s with %s ÷ %s with %s", large.Server, short(float64(large.Keys)), small.Server, short(float64(small.Keys))), "ratio"}, 1, lines)
		}
	}
	var runs []string
	for _, r := range rows {
		runs = append(runs, fmt.Sprintf("%s with %s on %s: %s, commit %s, %s", r.Server, short(float64(r.Keys)), r.Measured, r.Version, r.Commit, r.Machine))
	}
	fmt.Fprintf(&b, "Measured: %s.\n\n", strings.Join(runs, "; "))
	d := keysDrawing(rows)
	fmt.Fprintf(&b, "![%s](%s)\n", d.title, d.link)
	return b.Bytes()
}

// keysDrawing draws what requests cost against the number of keys.
func keysDrawing(rows []keysRow) drawing {
	var lines []line
	for _, name := range serversOf(rows) {
		for _, m := range []struct {
			title  string
			figure func(*keysRow) float64
		}{
			{"page", func(r *keysRow) float64 { return r.Page }}, {"put 4 KiB", func(r *keysRow) float64 { return r.PutMedian }},
			{"get 4 KiB", func(r *keysRow) float64 { return r.GetMedian }}, {"ready", func(r *keysRow) float64 { return r.Ready }},
		} {
			l := line{label: name + ": " + m.title}
			for _, r := range rows {
				if v := m.figure(&r); r.Server == name && v > 0 {
					l.points = append(l.points, point{float64(r.Keys), v})
				}
			}
			lines = append(lines, l)
		}
	}
	const title = "Medians against the number of keys in the bucket"
	return drawing{title, "benchmarks/keys.svg", drawLines(title, "keys in the bucket", "ms", lines)}
}

func serversOf(rows []keysRow) (names []string) {
	for _, r := range rows {
		if !slices.Contains(names, r.Server) {
			names = append(names, r.Server)
		}
	}
	return names
}
