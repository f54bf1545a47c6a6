package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"holdfast/engine"
	"holdfast/engine/disk/sim"
	"holdfast/engine/node"
)

// A history is what many clients asked at once and what they heard. It is linearizable if there is an order of the operations, each at one instant
// between its call and its answer, that explains all answers. An operation that the power cut took the answer from may have happened or not, but not
// after the next start.

// Content is made of chunks. A chunk has a number of its own, from which its size follows, so that content is known by the numbers of its chunks.
type chunk int64

func (c chunk) size() int64 {
	if c%8 == 0 {
		return 9000 // in an extent
	}
	return 20
}

// inParts says that a chunk that is put is uploaded as a part of an object, whose ETag is then no MD5 of the content.
func (c chunk) inParts() bool { return c%8 == 5 }

func (c chunk) bytes() []byte {
	return append(fmt.Appendf(nil, "%08d", c), bytes.Repeat([]byte{byte(c)}, int(c.size())-8)...)
}

// chunksOf reads content back; it fails if the bytes are not those of whole chunks.
func chunksOf(b []byte) (list []chunk, err error) {
	for len(b) > 0 {
		var c chunk
		if _, err := fmt.Sscanf(string(b[:min(8, len(b))]), "%d", &c); err != nil || int64(len(b)) < c.size() || !bytes.Equal(b[:c.size()], c.bytes()) {
			return nil, fmt.Errorf("%d bytes are no whole chunks", len(b))
		}
		list = append(list, c)
		b = b[c.size():]
	}
	return list, nil
}

func sizeOf(list []chunk) (n int64) {
	for _, c := range list {
		n += c.size()
	}
	return n
}

// request is an operation of either bucket, and what it is to do.
type request struct {
	op       string
	key, to  engine.Key
	chunk    chunk
	offset   int64
	match    []chunk // the content that the object must have; with absent it must not be there
	absent   bool
	previous engine.VersionID // the version that is meant; chunk is its content
	lock     engine.Lock      // what the version gets
	bypass   bool
	// Between these instants a retention was judged.
	called, returned time.Time
}

// response is what was heard. Unknown says that nothing was.
type response struct {
	kind    string // of the error; "" for none
	content []chunk
	found   bool
	listing string
	unknown bool
}

// outcome is a way that an operation may go.
type outcome[S any] struct {
	said response
	next S
}

// plainState is the bucket without versions: content by key. It is immutable.
type plainState map[engine.Key][]chunk

func (s plainState) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s=%v ", key, s[key])
	}
	return b.String()
}

func (s plainState) with(key engine.Key, content []chunk) plainState {
	next := maps.Clone(s)
	if next[key] = content; content == nil {
		delete(next, key)
	}
	return next
}

// step returns what the bucket answers, and the state after.
func (s plainState) step(r *request) (response, plainState) {
	refused := func(kind engine.Kind) (response, plainState) { return response{kind: kind.String()}, s }
	content, found := s[r.key]
	switch r.op {
	case "get":
		return response{content: content, found: found}, s
	case "head":
		return response{listing: fmt.Sprint(sizeOf(content)), found: found}, s
	case "list":
		return response{listing: fmt.Sprint(slices.Sorted(maps.Keys(s)))}, s
	case "upload":
		return response{}, s.with(r.key, []chunk{r.chunk})
	case "put":
		switch {
		case r.absent && found:
			return refused(engine.KindPreconditionFailed)
		case r.match != nil && !found:
			return refused(engine.KindNoSuchKey)
		case r.match != nil && !slices.Equal(r.match, content):
			return refused(engine.KindPreconditionFailed)
		}
		return response{}, s.with(r.key, []chunk{r.chunk})
	case "delete":
		return response{}, s.with(r.key, nil)
	case "copy":
		if !found {
			return refused(engine.KindNoSuchKey)
		}
		return response{}, s.with(r.to, content)
	case "append":
		switch {
		case !found && r.offset > 0:
			return refused(engine.KindNoSuchKey)
		case found && sizeOf(content) != r.offset:
			return refused(engine.KindInvalidOffset)
		}
		return response{}, s.with(r.key, append(slices.Clone(content), r.chunk))
	case "rename":
		if !found {
			return refused(engine.KindNoSuchKey)
		}
		return response{}, s.with(r.key, nil).with(r.to, content)
	case "rename prefix":
		next := plainState{}
		moved, taken := false, false
		for key, content := range s {
			rest, below := strings.CutPrefix(string(key), string(r.key))
			if below {
				key, moved = r.to+engine.Key(rest), true
			} else if strings.HasPrefix(string(key), string(r.to)) {
				taken = true
			}
			next[key] = content
		}
		switch {
		case !moved:
			return refused(engine.KindNoSuchKey)
		case taken:
			return refused(engine.KindConflict)
		}
		return response{}, next
	case "remove prefix":
		next := maps.Clone(s)
		maps.DeleteFunc(next, func(key engine.Key, _ []chunk) bool { return strings.HasPrefix(string(key), string(r.key)) })
		if len(next) == len(s) {
			return refused(engine.KindNoSuchKey)
		}
		return response{}, next
	}
	panic(r.op)
}

func (s plainState) steps(r *request) []outcome[plainState] {
	said, next := s.step(r)
	return []outcome[plainState]{{said, next}}
}

// keptState is the bucket with versions and locks: of its first key the versions from the newest to the oldest, delete markers as chunk 0; of the
// second what was copied there last.
type keptState struct {
	versions []keptVersion
	copied   chunk
}

type keptVersion struct {
	chunk chunk
	lock  engine.Lock
}

func (s keptState) String() string {
	var b strings.Builder
	for _, v := range s.versions {
		fmt.Fprintf(&b, "%d (%s) ", v.chunk, textOf(v.lock))
	}
	fmt.Fprintf(&b, "copied %d", s.copied)
	return b.String()
}

// textOf says what a lock is.
func textOf(l engine.Lock) string {
	var b strings.Builder
	if l.Hold {
		b.WriteString("held")
	}
	if l.Mode != engine.RetentionNone {
		fmt.Fprintf(&b, " mode %d until %d", l.Mode, l.Until.UnixMilli())
	}
	return b.String()
}

// steps allows for a retention that is judged at any instant between call and answer: it ends at most once in between.
func (s keptState) steps(r *request) (list []outcome[keptState]) {
	for _, now := range []time.Time{r.called, r.returned} {
		said, next := s.step(r, now)
		list = append(list, outcome[keptState]{said, next})
	}
	return list
}

func (s keptState) step(r *request, now time.Time) (response, keptState) {
	at := slices.IndexFunc(s.versions, func(v keptVersion) bool { return v.chunk == r.chunk })
	next := keptState{slices.Clone(s.versions), s.copied}
	refused := func(kind engine.Kind) (response, keptState) { return response{kind: kind.String()}, s }
	if r.lock.Mode != engine.RetentionNone && !r.lock.Until.After(now) {
		return refused(engine.KindInvalidArgument)
	}
	switch r.op {
	case "get":
		if len(s.versions) == 0 || s.versions[0].chunk == 0 {
			return response{}, s
		}
		return response{content: []chunk{s.versions[0].chunk}, found: true}, s
	case "get copied":
		if s.copied == 0 {
			return response{}, s
		}
		return response{content: []chunk{s.copied}, found: true}, s
	case "list":
		var text []chunk
		for _, v := range s.versions {
			text = append(text, v.chunk)
		}
		return response{listing: fmt.Sprint(text)}, s
	case "put":
		next.versions = slices.Insert(next.versions, 0, keptVersion{r.chunk, r.lock})
		return response{}, next
	case "delete":
		next.versions = slices.Insert(next.versions, 0, keptVersion{})
		return response{}, next
	case "delete version":
		switch {
		case at < 0:
			return response{}, s
		case s.versions[at].lock.Keeps(now, r.bypass) != "":
			return refused(engine.KindLocked)
		}
		next.versions = slices.Delete(next.versions, at, at+1)
		return response{}, next
	}
	if at < 0 {
		return refused(engine.KindNoSuchVersion)
	}
	lock := &next.versions[at].lock
	switch r.op {
	case "lock":
		return response{listing: textOf(*lock)}, s
	case "hold":
		lock.Hold = r.lock.Hold
	case "retain":
		if lock.Allows(r.lock.Retention, now, r.bypass) != "" {
			return refused(engine.KindLocked)
		}
		lock.Retention = r.lock.Retention
	case "copy version":
		next.copied = r.chunk
	default:
		panic(r.op)
	}
	return response{}, next
}

// stepping is a state of one of the buckets.
type stepping[S any] interface {
	fmt.Stringer
	steps(*request) []outcome[S]
}

// modelOf makes the model of a bucket that begins in a state.
func modelOf[S stepping[S]](first S) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{first} },
		Step: func(state, input, output any) []any {
			s, heard := state.(S), output.(response)
			var list []any
			if heard.unknown {
				list = append(list, s)
			}
			for _, o := range s.steps(input.(*request)) {
				said := o.said
				if heard.unknown || heard.kind == said.kind && heard.found == said.found && heard.listing == said.listing && slices.Equal(heard.content, said.content) {
					list = append(list, o.next)
				}
			}
			return list
		},
		Equal:             func(a, b any) bool { return a.(S).String() == b.(S).String() },
		DescribeState:     func(state any) string { return state.(S).String() },
		DescribeOperation: func(input, output any) string { return describe(input.(*request), output.(response)) },
	}
	return m.ToModel()
}

func describe(r *request, heard response) string {
	return fmt.Sprintf("%s %q to %q chunk %d offset %d match %v absent %v lock %q bypass %v judged %s to %s → %+v",
		r.op, r.key, r.to, r.chunk, r.offset, r.match, r.absent, textOf(r.lock), r.bypass, r.called.Format("05.000000"), r.returned.Format("05.000000"), heard)
}

var (
	plainKeys = []engine.Key{"a", "d/b", "d/c", "e/b"}
	prefixes  = []engine.Key{"d/", "e/", "f/", "g/", "h/"}
)

// histories is a test under way.
type histories struct {
	machine *machine
	chunks  atomic.Int64
	tags    map[engine.ETag]chunk
	epoch   time.Time
	mu      sync.Mutex
	counts  map[string]int
	plain   []*plainBucket
	kept    []porcupine.Operation // of this life
	// keptState is what the bucket with versions had when the life began.
	keptState     keptState
	rng           *rand.Rand
	cuts          int
	histories     int
	unjudged      int         // histories of which nothing is known
	serving       atomic.Bool // the fault may strike
	before, after int         // the most goroutines
	versions      map[chunk]engine.VersionID
}

// plainBucket is one without versions.
type plainBucket struct {
	name    engine.BucketName
	state   plainState
	history []porcupine.Operation // of this life
	sizes   map[engine.Key]int64  // as somebody saw them last
}

func (h *histories) now() int64 { return int64(time.Since(h.epoch)) }

// record notes an operation; of an error that leaves the outcome open nothing is known.
func (h *histories) record(list *[]porcupine.Operation, client int, call int64, r *request, heard response, err error) {
	switch kind := engine.KindOf(err); {
	case err == nil:
	case kind == engine.KindUnavailable || kind == engine.KindCanceled || kind == engine.KindInternal || kind == engine.KindSlowDown,
		kind == engine.KindDamaged && h.machine.dead.Load(): // all drives fail at once, and none is out yet
		heard = response{unknown: true}
	default:
		heard = response{kind: kind.String()}
	}
	if r.returned = time.Now(); heard.unknown {
		r.returned = r.returned.Add(time.Hour) // it may be under way still
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	name := r.op
	if heard.unknown {
		name += ", unknown"
	} else if heard.kind != "" {
		name += ", " + heard.kind
	}
	h.counts[name]++
	*list = append(*list, porcupine.Operation{ClientId: client, Input: r, Output: heard, Call: call, Return: h.now()})
}

// etagOf is that of an object that was put with the one chunk.
func etagOf(c chunk) engine.ETag { return engine.ETag(sum(c.bytes())) }

// onPlain does a random operation in the bucket without versions.
func (h *histories) onPlain(ctx context.Context, n *node.Node, rng *rand.Rand, client int, b *plainBucket) {
	r := &request{key: plainKeys[rng.IntN(len(plainKeys))], to: plainKeys[rng.IntN(len(plainKeys))], chunk: chunk(h.chunks.Add(1))}
	body := func() io.Reader { return bytes.NewReader(r.chunk.bytes()) }
	size := r.chunk.size()
	at := func(key engine.Key) engine.Ref { return engine.Ref{Bucket: b.name, Key: key} }
	var heard response
	var err error
	call := h.now()
	switch p := rng.IntN(20); {
	case p < 4:
		r.op = "get"
		heard, err = get(ctx, n, at(r.key))
		h.mu.Lock()
		b.sizes[r.key] = sizeOf(heard.content)
		h.mu.Unlock()
	case p < 6:
		r.op = "head"
		heard, err = head(ctx, n, at(r.key))
	case p < 7:
		r.op = "list"
		heard.listing, err = listPlain(ctx, n, b.name)
	case p < 10 && r.chunk.inParts():
		r.op = "upload"
		err = uploadPart(ctx, n, at(r.key), r.chunk.bytes())
	case p < 10:
		r.op = "put"
		o := engine.PutOptions{Size: size}
		switch rng.IntN(3) {
		case 0:
			r.absent, o.If.NoneMatchAny = true, true
		case 1:
			c := chunk(max(1, h.chunks.Load()-int64(rng.IntN(8))))
			if c.inParts() {
				c--
			}
			r.match, o.If.Match = []chunk{c}, []engine.ETag{etagOf(c)}
		}
		_, err = n.Put(ctx, at(r.key), body(), o)
	case p < 11:
		r.op = "delete"
		_, err = n.Delete(ctx, at(r.key), engine.DeleteOptions{})
	case p < 13:
		r.op = "copy"
		_, err = n.Copy(ctx, at(r.key), at(r.to), engine.CopyOptions{})
	case p < 16:
		r.op = "append"
		h.mu.Lock()
		r.offset = b.sizes[r.key]
		h.mu.Unlock()
		_, err = n.Append(ctx, at(r.key), body(), engine.AppendOptions{Offset: r.offset, Size: size})
	case p < 18 && r.key != r.to:
		r.op = "rename"
		_, err = n.Rename(ctx, at(r.key), at(r.to), engine.RenameOptions{})
	case p < 19 && rng.IntN(2) == 0:
		r.op, r.key = "remove prefix", prefixes[rng.IntN(5)]
		_, err = n.RemovePrefix(ctx, b.name, string(r.key))
	default:
		from := rng.IntN(5)
		r.op, r.key, r.to = "rename prefix", prefixes[from], prefixes[(from+1+rng.IntN(4))%5]
		_, err = n.RenamePrefix(ctx, b.name, string(r.key), string(r.to))
	}
	h.record(&b.history, client, call, r, heard, err)
}

// get reads an object; what is absent is an answer.
func get(ctx context.Context, n *node.Node, at engine.Ref) (heard response, err error) {
	o, err := n.Open(ctx, at, engine.OpenOptions{})
	if engine.Is(err, engine.KindNoSuchKey) {
		return response{}, nil
	}
	if err != nil {
		return response{}, err
	}
	b, err := io.ReadAll(o)
	if err := errors.Join(err, o.Close()); err != nil {
		return response{}, err
	}
	heard.found = true
	heard.content, err = chunksOf(b)
	return heard, err
}

// head asks for the size.
func head(ctx context.Context, n *node.Node, at engine.Ref) (heard response, err error) {
	info, err := n.Stat(ctx, at, engine.StatOptions{})
	if heard.found = err == nil; engine.Is(err, engine.KindNoSuchKey) {
		err = nil
	}
	heard.listing = fmt.Sprint(info.Size)
	return heard, err
}

// uploadPart makes an object of one part.
func uploadPart(ctx context.Context, n *node.Node, at engine.Ref, b []byte) error {
	upload, err := n.StartUpload(ctx, at, engine.StartUploadOptions{})
	if err != nil {
		return err
	}
	part, err := n.PutPart(ctx, at, upload.ID, 1, bytes.NewReader(b), engine.PutPartOptions{Size: int64(len(b))})
	if err != nil {
		return err
	}
	_, err = n.CompleteUpload(ctx, at, upload.ID, engine.CompleteUploadOptions{Parts: []engine.CompletePart{{Number: 1, ETag: part.ETag}}, Size: -1})
	return err
}

// listPlain lists the keys.
func listPlain(ctx context.Context, n *node.Node, bucket engine.BucketName) (string, error) {
	page, err := n.List(ctx, bucket, engine.ListOptions{})
	var keys []engine.Key
	for _, o := range page.Objects {
		keys = append(keys, o.Key)
	}
	return fmt.Sprint(keys), err
}

// onKept does a random operation on the key with versions.
func (h *histories) onKept(ctx context.Context, n *node.Node, rng *rand.Rand, client int) {
	r := &request{key: "k", called: time.Now(), bypass: rng.IntN(2) == 0}
	at := engine.Ref{Bucket: "kept", Key: "k"}
	retention := func() engine.Retention {
		until := time.Now().Add(time.Duration(rng.IntN(40)+rng.IntN(2)*200) * time.Millisecond)
		return engine.Retention{Mode: []engine.RetentionMode{engine.RetentionGovernance, engine.RetentionCompliance}[rng.IntN(2)], Until: until.Truncate(time.Millisecond).UTC()}
	}
	var heard response
	var err error
	h.mu.Lock()
	known := slices.Sorted(maps.Keys(h.versions))
	if len(known) > 0 {
		r.chunk = known[max(0, len(known)-1-rng.IntN(6))] // few, so that clients meet
		r.previous = h.versions[r.chunk]
	}
	h.mu.Unlock()
	call := h.now()
	switch p := rng.IntN(20); {
	case p < 2:
		r.op, r.chunk = "get", 0
		heard, err = get(ctx, n, at)
	case p < 4:
		r.op, r.chunk = "list", 0
		heard.listing, err = h.listKept(ctx, n)
	case p < 6:
		r.op, r.chunk = "get copied", 0
		heard, err = get(ctx, n, engine.Ref{Bucket: "kept", Key: "copied"})
	case p < 9 || r.previous == "":
		r.op, r.chunk = "put", chunk(h.chunks.Add(1))
		switch rng.IntN(3) {
		case 0:
			r.lock.Hold = true
		case 1:
			r.lock.Retention = retention()
		}
		var info engine.ObjectInfo
		info, err = n.Put(ctx, at, bytes.NewReader(r.chunk.bytes()), engine.PutOptions{Size: r.chunk.size(), Lock: r.lock})
		if err == nil {
			h.mu.Lock()
			h.versions[r.chunk] = info.Version
			h.mu.Unlock()
		}
	case p < 10:
		r.op, r.chunk = "delete", 0
		_, err = n.Delete(ctx, at, engine.DeleteOptions{})
	default:
		at.Version = r.previous
		switch {
		case p < 13:
			r.op = "delete version"
			_, err = n.Delete(ctx, at, engine.DeleteOptions{Bypass: r.bypass})
		case p < 15:
			r.op, r.lock.Hold = "hold", rng.IntN(3) == 0
			_, err = n.SetLock(ctx, at, engine.LockChange{Hold: &r.lock.Hold})
		case p < 17:
			r.op, r.lock.Retention = "retain", retention()
			_, err = n.SetLock(ctx, at, engine.LockChange{Retention: &r.lock.Retention, Bypass: r.bypass})
		case p < 18:
			r.op = "lock"
			var info engine.ObjectInfo
			info, err = n.Stat(ctx, at, engine.StatOptions{})
			heard.listing = textOf(info.Lock)
		default:
			r.op = "copy version"
			_, err = n.Copy(ctx, at, engine.Ref{Bucket: "kept", Key: "copied"}, engine.CopyOptions{})
		}
	}
	h.record(&h.kept, client, call, r, heard, err)
}

// chunkOf finds the chunk that a version has; 0 if it has none.
func (h *histories) chunkOf(tag engine.ETag) chunk {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := chunk(len(h.tags) + 1); c <= chunk(h.chunks.Load()); c++ {
		h.tags[etagOf(c)] = c
	}
	return h.tags[tag]
}

// listKept lists the versions by their chunks. A version whose put was not answered is read.
func (h *histories) listKept(ctx context.Context, n *node.Node) (string, error) {
	page, err := n.ListVersions(ctx, "kept", engine.ListVersionsOptions{Prefix: "k"})
	var text []chunk
	for _, v := range page.Versions {
		if v.Marker {
			text = append(text, 0)
			continue
		}
		text = append(text, h.chunkOf(v.ETag))
	}
	return fmt.Sprint(text), err
}

// faults are what befalls a drive while clients are at work, one kind in each life, beside the cut of the power.
var faults = []string{"none", "EIO", "slow", "out and back", "hangs until the cut"}

// befall has a fault of a kind strike a drive at one of its calls. What hangs is let go when release is closed.
func (h *histories) befall(fault, drive string, at int64, struck chan<- struct{}, release <-chan struct{}) func(string, sim.Call) *sim.Fault {
	var calls atomic.Int64
	return func(disk string, _ sim.Call) *sim.Fault {
		if disk != drive || fault == "none" || !h.serving.Load() {
			return nil
		}
		n := calls.Add(1)
		if n == at {
			h.mu.Lock()
			h.counts["fault, "+fault]++
			h.mu.Unlock()
			close(struck)
		}
		switch {
		case n < at:
		case fault == "EIO" && n == at:
			return &sim.Fault{Err: syscall.EIO}
		case fault == "slow" && n%4 == 0:
			return &sim.Fault{Wait: after(5 * time.Millisecond)}
		case fault == "out and back", fault == "hangs until the cut":
			return &sim.Fault{Wait: release}
		}
		return nil
	}
}

// TestHistories has clients do everything at once on a node whose power is cut, and whose drives fail, hang, are slow, and go out and come back, again and
// again, and asks whether what they heard can be explained. No life leaves a goroutine behind. HOLDFAST_SIM_LIVES says between how many cuts.
func TestHistories(t *testing.T) {
	lives := 15
	if testing.Short() {
		lives = len(faults)
	}
	if s := os.Getenv("HOLDFAST_SIM_LIVES"); s != "" {
		if _, err := fmt.Sscan(s, &lives); err != nil {
			t.Fatal(err)
		}
	}
	h := newHistories(t, 7)
	ended := 0
	for life := 0; life < lives || life < 5*lives && !testing.Short() && len(h.missing()) > 0; life++ {
		ended = life + 1
		h.life(t, life, faults[life%len(faults)])
		if t.Failed() {
			return
		}
	}
	if h.unjudged*10 > h.histories+10 {
		t.Errorf("%d of %d histories were not judged; that is too many to prove anything", h.unjudged, h.histories)
	}
	t.Logf("%d histories, %d of them not judged", h.histories, h.unjudged)
	t.Logf("%d lives, %d cuts, %d clients; at most %d goroutines before a life, %d after one; operations: %v", ended, h.cuts, clients, h.before, h.after, h.counts)
	if missing := h.missing(); len(missing) > 0 && !testing.Short() || h.cuts == 0 {
		t.Errorf("%d cuts; there was none of %q", h.cuts, missing)
	}
}

// newHistories makes the buckets.
func newHistories(t *testing.T, seed uint64) *histories {
	t.Helper()
	m := newMachine(seed)
	m.check, m.hangQuiet = 50*time.Millisecond, 200*time.Millisecond
	n, err := m.open(t)
	if err != nil {
		t.Fatal(err)
	}
	for bucket, lock := range map[engine.BucketName]bool{"plain": false, "other": false, "kept": true} {
		if _, err := n.CreateBucket(t.Context(), bucket, engine.CreateBucketOptions{Lock: lock}); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	h := &histories{machine: m, epoch: time.Now(), counts: map[string]int{}, tags: map[engine.ETag]chunk{}, versions: map[chunk]engine.VersionID{}, rng: rand.New(rand.NewPCG(seed, 7))}
	for _, name := range []engine.BucketName{"plain", "other"} {
		h.plain = append(h.plain, &plainBucket{name: name, state: plainState{}, sizes: map[engine.Key]int64{}})
	}
	return h
}

// life is one of the node with clients and a fault, and one after it, in which what they heard is judged.
func (h *histories) life(t *testing.T, life int, fault string) {
	t.Helper()
	m, before := h.machine, goroutines(true)
	release, struck := make(chan struct{}), make(chan struct{})
	drive := m.drives[h.rng.IntN(len(m.drives))]
	m.strike = h.befall(fault, drive, 20+h.rng.Int64N(100), struck, release)
	m.powerOff()
	cut := int64(200 + h.rng.IntN(1200))
	hangs := fault == "out and back" || fault == "hangs until the cut"
	if hangs {
		cut = 0
	}
	m.powerOn(cut)
	h.serving.Store(!hangs) // clients are to meet it, not the start
	n, err := m.open(t)
	h.serving.Store(true)
	switch {
	case err == nil && hangs:
		h.liveWithHang(t, n, life, fault, drive, struck, release)
	case err == nil:
		h.live(t, n, life)
	case !m.dead.Load() && fault != "EIO":
		t.Fatalf("life %d: %v", life, err)
	}
	if m.dead.Load() {
		h.cuts++
	}
	if n != nil {
		_ = n.Close() // with dead disks it says so
	}
	h.countGoroutines(t, life, before, true) // of a drive that failed Pebble's are left behind, see drive.Cache
	m.strike = nil
	m.powerOff()
	m.powerOn(0)
	before = goroutines(false)
	if n, err = m.open(t); err != nil {
		t.Fatalf("life %d: the node does not start again: %v", life, err)
	}
	h.explain(t, n, life)
	if _, err := n.Check(t.Context()); err != nil {
		t.Errorf("life %d: %v", life, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	h.countGoroutines(t, life, before, false)
}

// liveWithHang has a drive hang among the clients. What they read on it while it does answers only when it answers again, or the power has gone: so that does
// not wait for them.
func (h *histories) liveWithHang(t *testing.T, n *node.Node, life int, fault, drive string, struck <-chan struct{}, release chan<- struct{}) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.live(t, n, life)
	}()
	select {
	case <-struck:
	case <-ended: // the drive had too few calls
	}
	if fault == "out and back" {
		select {
		case <-struck:
			awaitState(t, n, drive, "out")
		default:
		}
		close(release)
		<-ended
		awaitState(t, n, drive, "in")
		h.live(t, n, life+1000)
		return
	}
	select {
	case <-time.After(time.Duration(h.rng.IntN(3000)) * time.Millisecond): // before the drive is out, or after
	case <-ended:
	}
	h.machine.die()
	for _, d := range h.machine.disks {
		d.Crash() // what hangs does so no more
	}
	<-ended
}

// awaitState waits until a drive is out or in.
func awaitState(t *testing.T, n *node.Node, drive, want string) {
	t.Helper()
	is := func(d node.DriveStatus) bool { return d.Path == drive && d.State == want }
	for deadline := time.Now().Add(25 * time.Second); !slices.ContainsFunc(n.Drives(), is); {
		if time.Now().After(deadline) {
			t.Errorf("drive %s is not %s: %+v", drive, want, n.Drives())
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// goroutines counts those that there are, or those that have called something of this module.
func goroutines(ours bool) (n int) {
	if !ours {
		return runtime.NumGoroutine()
	}
	for stack := range strings.SplitSeq(allStacks(), "\n\n") {
		if strings.Contains(stack, "\nholdfast/") {
			n++
		}
	}
	return n
}

func allStacks() string {
	b := make([]byte, 4<<20)
	return string(b[:runtime.Stack(b, true)])
}

// countGoroutines wants no more of them than before, once those that end have ended.
func (h *histories) countGoroutines(t *testing.T, life, before int, ours bool) {
	t.Helper()
	now := goroutines(ours)
	for deadline := time.Now().Add(10 * time.Second); now > before && time.Now().Before(deadline); now = goroutines(ours) {
		<-time.After(time.Millisecond)
	}
	h.before, h.after = max(h.before, before), max(h.after, now)
	if now > before {
		t.Errorf("life %d: %d goroutines before it, %d after it:\n%s", life, before, now, allStacks())
	}
}

// missing returns what the histories must have and lack.
func (h *histories) missing() (list []string) {
	for _, name := range []string{"fault, EIO", "fault, slow", "fault, out and back", "fault, hangs until the cut", "get", "head", "list", "upload", "put", "put, precondition failed", "put, unknown", "delete", "copy", "append", "append, invalid offset", "append, unknown", "rename",
		"rename prefix", "rename prefix, no such key", "delete version", "delete version, locked", "delete version, unknown", "hold", "retain", "retain, locked", "copy version", "copy version, no such version",
		"get copied", "lock"} {
		if h.counts[name] == 0 {
			list = append(list, name)
		}
	}
	return list
}

// clients is how many there are: the last four in the bucket with versions, the others in the two without.
const clients = 16

// live lets clients go on until they have had enough or the power goes.
func (h *histories) live(t *testing.T, n *node.Node, life int) {
	ctx, cancel := h.machine.context(t)
	defer cancel()
	var wait sync.WaitGroup
	for client := range clients {
		wait.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(life), uint64(client)))
			for range 10 {
				if h.machine.dead.Load() {
					return
				}
				if client < clients-4 {
					h.onPlain(ctx, n, rng, client, h.plain[client%2])
				} else {
					h.onKept(ctx, n, rng, client)
				}
			}
		})
	}
	wait.Wait()
}

// explainer is the client that looks after each life.
const explainer = clients

// explain reads what is there after the start, adds that to the histories, and has them judged. From that state it goes on.
func (h *histories) explain(t *testing.T, n *node.Node, life int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, b := range h.plain {
		h.explainPlain(ctx, t, n, life, b)
	}
	call := h.now()
	listing, err := h.listKept(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	h.record(&h.kept, explainer, call, &request{op: "list"}, response{listing: listing}, nil)
	var after keptState
	versions, err := n.ListVersions(ctx, "kept", engine.ListVersionsOptions{Prefix: "k"})
	if err != nil {
		t.Fatal(err)
	}
	chunks := strings.Fields(strings.Trim(listing, "[]"))
	h.versions = map[chunk]engine.VersionID{}
	for i, v := range versions.Versions {
		var c chunk
		if _, err := fmt.Sscan(chunks[i], &c); err != nil {
			t.Fatal(err)
		}
		var lock engine.Lock
		if !v.Marker {
			call := h.now()
			info, err := n.Stat(ctx, engine.Ref{Bucket: "kept", Key: "k", Version: v.Version}, engine.StatOptions{})
			if err != nil {
				t.Fatal(err)
			}
			lock = info.Lock
			h.versions[c] = v.Version
			h.record(&h.kept, explainer, call, &request{op: "lock", chunk: c}, response{listing: textOf(lock)}, nil)
		}
		after.versions = append(after.versions, keptVersion{c, lock})
	}
	call = h.now()
	copied, err := get(ctx, n, engine.Ref{Bucket: "kept", Key: "copied"})
	if err != nil {
		t.Fatal(err)
	}
	if copied.found {
		after.copied = copied.content[0]
	}
	h.record(&h.kept, explainer, call, &request{op: "get copied"}, copied, nil)
	h.judge(t, life, "kept", modelOf(h.keptState), h.kept)
	h.kept, h.keptState = nil, after
}

func (h *histories) explainPlain(ctx context.Context, t *testing.T, n *node.Node, life int, b *plainBucket) {
	t.Helper()
	last := plainState{}
	b.sizes = map[engine.Key]int64{}
	page, err := n.List(ctx, b.name, engine.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	keys := slices.Clone(plainKeys)
	for _, o := range page.Objects {
		if !slices.Contains(keys, o.Key) {
			keys = append(keys, o.Key)
		}
	}
	for _, key := range keys {
		call := h.now()
		heard, err := get(ctx, n, engine.Ref{Bucket: b.name, Key: key})
		if err != nil {
			t.Fatalf("life %d: %q: %v", life, key, err)
		}
		if heard.found {
			last[key] = heard.content
			b.sizes[key] = sizeOf(heard.content)
		}
		h.record(&b.history, explainer, call, &request{op: "get", key: key}, heard, nil)
	}
	call := h.now()
	listing, err := listPlain(ctx, n, b.name)
	if err != nil {
		t.Fatal(err)
	}
	h.record(&b.history, explainer, call, &request{op: "list"}, response{listing: listing}, nil)
	h.judge(t, life, string(b.name), modelOf(b.state), b.history)
	b.state, b.history = last, nil
}

// judgeMax is how long a history is looked at. To tell whether there is an order is hard in the worst case: a history of some calls that took long, beside
// which others went on, may have more orders than can be tried.
const judgeMax = 15 * time.Second

// judge counts a history, and one whose time has passed as not judged.
func (h *histories) judge(t *testing.T, life int, bucket string, model porcupine.Model, history []porcupine.Operation) {
	t.Helper()
	h.histories++
	result := porcupine.CheckOperationsTimeout(model, history, judgeMax)
	if result == porcupine.Unknown {
		h.unjudged++
		t.Logf("life %d: the history of bucket %s, of %d operations, was not judged within %v", life, bucket, len(history), judgeMax)
		return
	}
	if result != porcupine.Ok {
		var lines []string
		for _, op := range history {
			lines = append(lines, fmt.Sprintf("%10d to %10d  client %d  %s", op.Call, op.Return, op.ClientId, model.DescribeOperation(op.Input, op.Output)))
		}
		t.Errorf("life %d: the history of bucket %s is not linearizable (%s), from %s:\n%s", life, bucket, result, model.DescribeState(model.Init()), strings.Join(lines, "\n"))
	}
}
