package enginetest

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/engine"
)

// RandomFiles gives the same operations of engine.Files, mixed with those by key on the same names, to a model and to a real engine, which open makes
// empty for each of seeds scripts, and compares every answer; every 200 operations the whole tree of one of the buckets too, as files with contents,
// holes and attributes, and as S3 sees it. Every 5,000 operations, and at the end, all buckets are compared, with the contents of all versions and
// whatever has been a node. The numbers of nodes may differ, but each of one engine must go on being one of the other. It counts operations and their
// answers, which go test -v shows, and an operation that never succeeded is an error. Check holds against each other what the engines keep; it is called
// every 1,000 operations and at the end.
//
// HOLDFAST_RANDOM_SEEDS, HOLDFAST_RANDOM_FROM and HOLDFAST_RANDOM_OPERATIONS in the environment set the number of scripts, the first seed and the
// operations of each script.
func RandomFiles(t *testing.T, seeds, operations int, open func(t *testing.T) (model, real engine.Engine, check func() error)) {
	t.Helper()
	from := fromEnvironment(t, "HOLDFAST_RANDOM_FROM", 0)
	seeds, operations = fromEnvironment(t, "HOLDFAST_RANDOM_SEEDS", seeds), fromEnvironment(t, "HOLDFAST_RANDOM_OPERATIONS", operations)
	counts, changed := map[string]map[string]int{}, map[engine.ChangeKind]int{}
	for seed := from; seed < from+seeds && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			model, real, check := open(t)
			script := newFileScript(t, uint64(seed), [2]engine.Engine{model, real}, counts)
			script.changed, script.check = changed, check
			script.run(operations)
		})
	}
	for _, kind := range engine.ChangeKinds() {
		t.Logf("changes: %-18s %d", kind, changed[kind])
	}
	for _, op := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%-16s %v", op, counts[op])
		if counts[op]["ok"] == 0 && !t.Failed() {
			t.Errorf("%q never succeeded in %d scripts of %d operations: %v", op, seeds, operations, counts[op])
		}
	}
}

func fromEnvironment(t *testing.T, name string, otherwise int) int {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		t.Fatalf("%s is %q, which is no number", name, value)
	}
	return n
}

// The buckets of a script: the first never has versions, the second has them from some operation on, the third has locks. Each is deleted now and then, with
// all that it holds, and made again.
const (
	plainBucket     engine.BucketName = "plain"
	versionedBucket engine.BucketName = "versioned"
	heldBucket      engine.BucketName = "locked"
)

// twins are the numbers that a node has in both engines.
type twins [2]engine.NodeID

type fileScript struct {
	*testing.T
	ctx     context.Context
	random  *rand.Rand
	engines [2]engine.Engine
	counts  map[string]map[string]int
	check   func() error
	changed map[engine.ChangeKind]int // how often each kind of change was followed, in both engines together
	// log has the last operations, but for those of compare, whose comparing is set.
	log       []string
	comparing bool
	// known are the nodes that were seen, of each bucket; twin finds that of the one engine by that of the other.
	known map[engine.BucketName][]twins
	twin  [2]map[engine.File]engine.NodeID
	// versions were made lately, and nodes got extended attributes; some are gone.
	versions []engine.Ref
	dressed  []dressed
	// directories are places where one was made lately, regular are files that were regular ones.
	directories []place
	regular     map[engine.BucketName][]twins
	// owned are the owners that were opened, of each bucket; some have ended. Temporary are files that were made without a name.
	owned     map[engine.BucketName][]owners
	temporary map[engine.BucketName][]twins
	// readers were opened and are read later; uploads are in progress.
	readers []*twinReader
	uploads []*twinUpload
	// following follows all buckets.
	following *twinFollowers
}

// dressed is a node that got an extended attribute.
type dressed struct {
	bucket engine.BucketName
	node   twins
	name   string
}

func newFileScript(t *testing.T, seed uint64, engines [2]engine.Engine, counts map[string]map[string]int) *fileScript {
	return &fileScript{
		T: t, ctx: t.Context(), random: rand.New(rand.NewPCG(seed, 2)), engines: engines, counts: counts,
		following: newTwinFollowers(seed, engines),
		known:     map[engine.BucketName][]twins{}, regular: map[engine.BucketName][]twins{}, owned: map[engine.BucketName][]owners{},
		temporary: map[engine.BucketName][]twins{}, twin: [2]map[engine.File]engine.NodeID{{}, {}},
	}
}

func (r *fileScript) run(operations int) {
	defer func() {
		r.closeReaders()
		if r.Failed() {
			r.Logf("the last operations:\n%s", strings.Join(r.log[max(0, len(r.log)-200):], "\n"))
		}
	}()
	for _, name := range scriptBuckets {
		r.createBucket(name)
	}
	began := time.Now()
	for i := range operations {
		r.step()
		name := pick(r.following.random, scriptBuckets)
		r.follow(r.following.sometimes(r.ctx, name, r.comparableChange(name)))
		if i%200 == 199 {
			r.renewOwners()
			r.compare(scriptBuckets[i/200%len(scriptBuckets)], false)
		}
		if i%5000 == 4999 {
			r.compareAll()
		}
		if i%1000 == 999 {
			r.checkRows()
		}
		if r.Failed() {
			r.Logf("operation %d", i)
			return
		}
		if i%10_000 == 9_999 {
			r.Logf("%d operations after %.0f s", i+1, time.Since(began).Seconds())
		}
	}
	for len(r.readers) > 0 && !r.Failed() {
		r.readLater()
	}
	r.compareAll()
	r.checkRows()
	r.follow(r.following.finish(r.ctx, r.comparableChange))
	for kind, n := range r.following.counts {
		r.changed[kind] += n
	}
}

// checkRows has the engines look at what they keep.
func (r *fileScript) checkRows() {
	if err := r.check(); err != nil && !r.Failed() {
		r.Errorf("check: %v", err)
	}
}

var scriptBuckets = []engine.BucketName{plainBucket, versionedBucket, heldBucket}

func (r *fileScript) createBucket(name engine.BucketName) {
	r.ask("create bucket", string(name), name, func(_ int, e engine.Engine) (any, error) {
		return e.CreateBucket(r.ctx, name, engine.CreateBucketOptions{Lock: name == heldBucket})
	})
	r.learn(name, twins{engine.RootNode, engine.RootNode})
	r.follow(r.following.begin(r.ctx, name))
}

// replaceBucket deletes a bucket with all that it holds, and makes it again: its numbers are others' then.
func (r *fileScript) replaceBucket() {
	name := r.bucket()
	remove := func() error {
		_, err := r.ask("delete bucket", string(name), name, func(_ int, e engine.Engine) (any, error) {
			return nil, e.DeleteBucket(r.ctx, name, engine.DeleteBucketOptions{Force: true})
		})
		return err
	}
	if err := remove(); engine.Is(err, engine.KindLocked) {
		r.endHolds(name)
		if err := remove(); err != nil {
			r.Errorf("delete bucket %s, whose holds have ended: %v", name, err)
		}
	}
	if r.Failed() {
		return
	}
	r.following.end(name)
	delete(r.known, name)
	delete(r.regular, name)
	delete(r.owned, name)
	delete(r.temporary, name)
	for i := range r.twin {
		maps.DeleteFunc(r.twin[i], func(f engine.File, _ engine.NodeID) bool { return f.Bucket == name })
	}
	r.versions = slices.DeleteFunc(r.versions, func(ref engine.Ref) bool { return ref.Bucket == name })
	r.dressed = slices.DeleteFunc(r.dressed, func(d dressed) bool { return d.bucket == name })
	r.directories = slices.DeleteFunc(r.directories, func(p place) bool { return p.bucket == name })
	r.uploads = slices.DeleteFunc(r.uploads, func(u *twinUpload) bool { return u.ref.Bucket == name })
	r.createBucket(name)
}

// endHolds ends the legal holds and retentions of all versions of a bucket.
func (r *fileScript) endHolds(name engine.BucketName) {
	hold := false
	change := engine.LockChange{Hold: &hold, Retention: &engine.Retention{}, Bypass: true}
	for _, v := range r.listVersions(name) {
		ref := engine.Ref{Bucket: name, Key: v.Key, Version: v.Version}
		if info, err := r.engines[0].Stat(r.ctx, ref, engine.StatOptions{}); err != nil || !info.Lock.Held() {
			continue
		}
		r.ask("end hold", fmt.Sprintf("of %s/%s %s", name, v.Key, v.Version), name, func(_ int, e engine.Engine) (any, error) {
			return e.SetLock(r.ctx, ref, change)
		})
	}
}

// follow reports what a follower of a bucket's changes finds wrong.
func (r *fileScript) follow(err error) {
	r.Helper()
	if err != nil && !r.Failed() {
		r.Error(err)
	}
}

// comparableChange has the number of the node that the model has, if an answer of both engines showed it.
func (r *fileScript) comparableChange(bucket engine.BucketName) func(i int, c engine.Change) engine.Change {
	return func(i int, c engine.Change) engine.Change {
		node, known := r.twin[i][engine.File{Bucket: bucket, Node: c.Node}]
		if i == 0 && known {
			node = c.Node
		}
		c.Node = node
		return c
	}
}

// ask asks both engines and compares. It returns both answers, and the model's error.
func (r *fileScript) ask(op, what string, bucket engine.BucketName, ask func(i int, e engine.Engine) (any, error)) (values [2]any, err error) {
	r.Helper()
	var answers [2]answer
	var errs [2]error
	for i, e := range r.engines {
		values[i], errs[i] = ask(i, e)
		answers[i].Kind = "ok"
		if errs[i] != nil {
			answers[i].Kind = engine.KindOf(errs[i]).String()
		}
	}
	if errs[0] == nil && errs[1] == nil {
		r.pair(bucket, values)
		for i := range answers {
			answers[i].Value = r.comparable(i, bucket, values[i])
		}
	}
	if !r.comparing {
		r.log = append(r.log, fmt.Sprintf("%s %s → %s", op, what, answers[0].Kind))
	}
	if len(r.log) >= 2000 {
		r.log = slices.Clone(r.log[1000:])
	}
	if r.counts[op] == nil {
		r.counts[op] = map[string]int{}
	}
	r.counts[op][answers[0].Kind]++
	if !reflect.DeepEqual(answers[0], answers[1]) {
		r.Errorf("%s %s:\nmodel: %+v (%v)\n real: %+v (%v)", op, what, answers[0], errs[0], answers[1], errs[1])
	}
	return values, errs[0]
}

// pair learns which nodes two answers are about.
func (r *fileScript) pair(bucket engine.BucketName, values [2]any) {
	r.Helper()
	switch model := values[0].(type) {
	case engine.FileInfo:
		r.learn(bucket, twins{model.Node, values[1].(engine.FileInfo).Node})
	case engine.DirectoryPage:
		real := values[1].(engine.DirectoryPage)
		for i := range min(len(model.Entries), len(real.Entries)) {
			r.learn(bucket, twins{model.Entries[i].Info.Node, real.Entries[i].Info.Node})
		}
	}
}

// learn notes that two numbers are those of one node.
func (r *fileScript) learn(bucket engine.BucketName, n twins) {
	r.Helper()
	found := 0
	for i := range n {
		twin, ok := r.twin[i][engine.File{Bucket: bucket, Node: n[i]}]
		if ok && twin != n[1-i] {
			r.Errorf("the node that is %d in the model and %d in the real engine was %d with %d before", n[0], n[1], n[i], twin)
		}
		if ok {
			found++
		}
	}
	if found == 0 {
		for i := range n {
			r.twin[i][engine.File{Bucket: bucket, Node: n[i]}] = n[1-i]
		}
		r.known[bucket] = append(r.known[bucket], n)
	}
}

// comparable takes from an answer what may differ between engines.
func (r *fileScript) comparable(i int, bucket engine.BucketName, v any) any {
	switch v := v.(type) {
	case opaque:
		return nil
	case engine.FileInfo:
		return r.comparableFile(i, bucket, v)
	case engine.DirectoryPage:
		entries := []engine.DirectoryEntry{}
		for _, entry := range v.Entries {
			entries = append(entries, engine.DirectoryEntry{Name: entry.Name, Info: r.comparableFile(i, bucket, entry.Info)})
		}
		return engine.DirectoryPage{Entries: entries, Truncated: v.Truncated, Last: v.Last}
	case []engine.NodeID:
		nodes := []engine.NodeID{}
		for _, n := range v {
			if i == 1 {
				n = r.twin[1][engine.File{Bucket: bucket, Node: n}]
			}
			nodes = append(nodes, n)
		}
		slices.Sort(nodes)
		return nodes
	}
	return plain(v)
}

// comparableFile has the number that the model has, and of the times only those that were set to one long ago.
func (r *fileScript) comparableFile(i int, bucket engine.BucketName, info engine.FileInfo) engine.FileInfo {
	if i == 1 {
		info.Node = r.twin[1][engine.File{Bucket: bucket, Node: info.Node}]
	}
	times := []*time.Time{&info.Modified, &info.Changed, &info.Accessed, &info.Born}
	for _, t := range times {
		if *t = t.UTC().Round(0); t.Year() > 2010 {
			*t = time.Time{}
		}
	}
	if info.Type == engine.TypeDirectory { // names come and go in it
		info.Modified, info.Accessed = time.Time{}, time.Time{}
	}
	info.Changed = time.Time{}
	return info
}

func (r *fileScript) bucket() engine.BucketName {
	return pick(r.random, []engine.BucketName{plainBucket, plainBucket, plainBucket, versionedBucket, versionedBucket, heldBucket})
}

var fileNames = []string{"a", "a", "b", "c", "a.", "a0"}

func (r *fileScript) name() string { return pick(r.random, fileNames) }

// key returns a key of at most three levels, now and then one that is a directory's, or that no path names.
func (r *fileScript) key() engine.Key {
	key := r.name()
	for range r.random.IntN(3) {
		key += "/" + r.name()
	}
	switch r.random.IntN(14) {
	case 0, 1:
		key += "/"
	case 2:
		key = strings.Replace(key, "/", pick(r.random, []string{"//", "/./"}), 1)
	}
	return engine.Key(key)
}

func (r *fileScript) ref() engine.Ref { return engine.Ref{Bucket: r.bucket(), Key: r.key()} }

// someone is a node that was there once.
func (r *fileScript) someone(bucket engine.BucketName) twins {
	if r.random.IntN(40) == 0 {
		return twins{1 << 60, 1 << 60}
	}
	known := r.known[bucket]
	return known[len(known)-1-r.random.IntN(min(len(known), 60))]
}

// place is a name in a directory, in both engines.
type place struct {
	bucket engine.BucketName
	path   string
	in     twins
	name   string
}

func (p place) at(i int) engine.Place {
	return engine.Place{Bucket: p.bucket, Directory: p.in[i], Name: p.name}
}

func (p place) String() string { return fmt.Sprintf("%s:%s%s", p.bucket, p.path, p.name) }

// lookup asks for a place.
func (r *fileScript) lookup(p place, version engine.VersionID) (n twins, info engine.FileInfo, ok bool) {
	r.Helper()
	values, err := r.ask("lookup", fmt.Sprintf("%v %s", p, version), p.bucket, func(i int, e engine.Engine) (any, error) { return e.Lookup(r.ctx, p.at(i), version) })
	if err != nil || r.Failed() {
		return n, info, false
	}
	return twins{values[0].(engine.FileInfo).Node, values[1].(engine.FileInfo).Node}, values[0].(engine.FileInfo), true
}

// place picks a name in a directory that is there, now and then in something else.
func (r *fileScript) place(bucket engine.BucketName) place {
	p := place{bucket: bucket, in: twins{engine.RootNode, engine.RootNode}, name: r.name()}
	if r.random.IntN(40) == 0 {
		p.in, p.path = r.someone(bucket), "?/"
		return p
	}
	for range r.random.IntN(3) {
		n, info, ok := r.lookup(p, "")
		if !ok || info.Type != engine.TypeDirectory && r.random.IntN(20) > 0 {
			break
		}
		p.in, p.path, p.name = n, p.path+p.name+"/", r.name()
	}
	return p
}

// file picks a node, mostly a regular file that is there; ok says that info describes it.
func (r *fileScript) file(bucket engine.BucketName) (n twins, info engine.FileInfo, ok bool) {
	for range 1 + r.random.IntN(7) {
		if n, info, ok = r.lookup(r.place(bucket), ""); ok && (info.Type == engine.TypeRegular || r.random.IntN(20) == 0) {
			if info.Type == engine.TypeRegular {
				r.regular[bucket] = append(r.regular[bucket], n)
			}
			return n, info, true
		}
	}
	if regular := r.regular[bucket]; len(regular) > 0 && r.random.IntN(3) > 0 {
		return regular[len(regular)-1-r.random.IntN(min(len(regular), 30))], engine.FileInfo{}, false
	}
	return r.someone(bucket), engine.FileInfo{}, false
}

// anyNode picks a node of any type.
func (r *fileScript) anyNode(bucket engine.BucketName) twins {
	if n, _, ok := r.lookup(r.place(bucket), ""); ok {
		return n
	}
	return r.someone(bucket)
}

func node(bucket engine.BucketName, n twins, i int) engine.File {
	return engine.File{Bucket: bucket, Node: n[i]}
}

// then is a time long ago.
func (r *fileScript) then() *time.Time {
	t := time.Unix(1_000_000_000+r.random.Int64N(1_000_000), r.random.Int64N(1_000_000_000)).UTC()
	return &t
}

func (r *fileScript) step() {
	r.Helper()
	switch n := r.random.IntN(214); {
	case n < 22:
		r.put()
	case n < 32:
		r.delete()
	case n < 38:
		r.copy()
	case n < 41:
		r.rename()
	case n < 44:
		r.renamePrefix()
	case n < 49:
		r.append()
	case n < 51:
		r.upload()
	case n < 53:
		r.setTags()
	case n < 54:
		r.setVersioning()
	case n < 56:
		r.setHold()
	case n < 76:
		r.makeFile()
	case n < 86:
		r.linkFile()
	case n < 98:
		r.removeFile()
	case n < 118:
		r.moveFile()
	case n < 126:
		r.setFile()
	case n < 134:
		r.setXattr()
	case n < 138:
		r.xattrs()
	case n < 146:
		r.listDirectory()
	case n < 150:
		r.statFile()
	case n < 153:
		r.lookupVersion()
	case n < 157:
		r.openFile()
	case n < 160:
		r.seekFile()
	case n < 161:
		r.usage()
	case n < 163:
		r.removePrefix()
	case n < 172:
		r.owners()
	case n < 176:
		r.openLater()
	case n < 180:
		r.readLater()
	case n < 183:
		r.keptUpload()
	case n < 184:
		r.listObjects()
	case n < 186:
		r.readObject()
	default:
		r.patchFile()
	}
}

// content returns a body, mostly small.
func (r *fileScript) content() []byte {
	n := r.random.IntN(3000)
	switch r.random.IntN(10) {
	case 0:
		n = 0
	case 1:
		n = engine.InlineBytesMax + r.random.IntN(2)
	case 2:
		n = r.random.IntN(100_000)
	}
	return content(r.random.Uint64(), n)
}

// remember keeps the version of an answer.
func (r *fileScript) remember(bucket engine.BucketName, key engine.Key, v engine.VersionID) {
	if v == "" {
		return
	}
	if r.versions = append(r.versions, engine.Ref{Bucket: bucket, Key: key, Version: v}); len(r.versions) > 60 {
		r.versions = r.versions[1:]
	}
}

// rememberObject keeps the version that an operation by key made.
func (r *fileScript) rememberObject(values [2]any, err error) {
	if info, ok := values[0].(engine.ObjectInfo); ok && err == nil {
		r.remember(info.Bucket, info.Key, info.Version)
	}
}

// versionRef names a version that was made lately, or the current one.
func (r *fileScript) versionRef() engine.Ref {
	if len(r.versions) > 0 && r.random.IntN(2) == 0 {
		return pick(r.random, r.versions)
	}
	return r.ref()
}

func (r *fileScript) put() {
	ref, data := r.ref(), r.content()
	o := engine.PutOptions{Size: int64(len(data))}
	o.Lock.Hold = ref.Bucket == heldBucket && r.random.IntN(10) == 0
	if info, err := r.engines[0].Stat(r.ctx, ref, engine.StatOptions{}); err == nil {
		switch r.random.IntN(12) {
		case 0:
			o.If.Match = []engine.ETag{info.ETag}
		case 1:
			o.If.NoneMatchAny = true
		}
	}
	if r.random.IntN(4) == 0 {
		o.Attributes, o.Tags = engine.Attributes{User: map[string]string{"u": fmt.Sprint(len(data))}}, engine.Tags{"t": "1"}
		o.Checksum = func() engine.Checksum { return engine.Checksum{Algorithm: "CRC32", Sum: []byte("1234")} }
	}
	r.rememberObject(r.ask("put", fmt.Sprintf("%s/%s of %d bytes", ref.Bucket, ref.Key, len(data)), ref.Bucket, func(_ int, e engine.Engine) (any, error) {
		return e.Put(r.ctx, ref, bytes.NewReader(data), o)
	}))
}

func (r *fileScript) delete() {
	ref := r.versionRef()
	if r.random.IntN(2) == 0 {
		ref.Version = ""
	}
	bypass := r.random.IntN(2) == 0
	values, err := r.ask("delete", fmt.Sprintf("%s/%s %s, bypass %v", ref.Bucket, ref.Key, ref.Version, bypass), ref.Bucket, func(_ int, e engine.Engine) (any, error) {
		return e.Delete(r.ctx, ref, engine.DeleteOptions{Bypass: bypass})
	})
	if err == nil {
		r.remember(ref.Bucket, ref.Key, values[0].(engine.DeleteResult).Version)
	}
}

func (r *fileScript) copy() {
	from, to := r.versionRef(), r.ref()
	if r.random.IntN(3) > 0 {
		to.Bucket = from.Bucket
	}
	o := engine.CopyOptions{Class: pick(r.random, []engine.StorageClass{"", "", "", engine.ClassReduced})}
	r.rememberObject(r.ask("copy", fmt.Sprintf("%s/%s %s to %s/%s %s", from.Bucket, from.Key, from.Version, to.Bucket, to.Key, o.Class), to.Bucket, func(_ int, e engine.Engine) (any, error) {
		return e.Copy(r.ctx, from, to, o)
	}))
}

func (r *fileScript) rename() {
	bucket := pick(r.random, []engine.BucketName{plainBucket, plainBucket, plainBucket, versionedBucket})
	from, to := engine.Ref{Bucket: bucket, Key: r.key()}, engine.Ref{Bucket: bucket, Key: r.key()}
	r.ask("rename", fmt.Sprintf("%s/%s to %s", bucket, from.Key, to.Key), bucket, func(_ int, e engine.Engine) (any, error) {
		return e.Rename(r.ctx, from, to, engine.RenameOptions{})
	})
}

func (r *fileScript) renamePrefix() {
	bucket, from, to := r.bucket(), strings.TrimSuffix(string(r.key()), "/")+"/", strings.TrimSuffix(string(r.key()), "/")+"/"
	r.ask("rename prefix", fmt.Sprintf("%s/%s to %s", bucket, from, to), bucket, func(_ int, e engine.Engine) (any, error) {
		return e.RenamePrefix(r.ctx, bucket, from, to)
	})
}

func (r *fileScript) removePrefix() {
	bucket, prefix := r.bucket(), strings.TrimSuffix(string(r.key()), "/")+"/"
	r.ask("remove prefix", fmt.Sprintf("%s/%s", bucket, prefix), bucket, func(_ int, e engine.Engine) (any, error) {
		return e.RemovePrefix(r.ctx, bucket, prefix)
	})
}

func (r *fileScript) append() {
	ref, data := r.ref(), r.content()
	if r.random.IntN(4) > 0 {
		ref.Bucket = plainBucket
	}
	o := engine.AppendOptions{Size: int64(len(data))}
	if info, err := r.engines[0].Stat(r.ctx, ref, engine.StatOptions{}); err == nil {
		o.Offset = info.Size
	}
	r.rememberObject(r.ask("append", fmt.Sprintf("%d bytes to %s/%s at %d", len(data), ref.Bucket, ref.Key, o.Offset), ref.Bucket, func(_ int, e engine.Engine) (any, error) {
		return e.Append(r.ctx, ref, bytes.NewReader(data), o)
	}))
}

// upload makes an object of one part, of which a range of another object is one.
func (r *fileScript) upload() {
	ref, from := r.ref(), r.versionRef()
	var ids [2]engine.UploadID
	r.ask("start upload", fmt.Sprintf("of %s/%s", ref.Bucket, ref.Key), ref.Bucket, func(i int, e engine.Engine) (any, error) {
		info, err := e.StartUpload(r.ctx, ref, engine.StartUploadOptions{})
		ids[i] = info.ID
		return nil, err
	})
	data := r.content()
	values, err := r.ask("copy part", fmt.Sprintf("of %s/%s", from.Bucket, from.Key), ref.Bucket, func(i int, e engine.Engine) (any, error) {
		return e.CopyPart(r.ctx, from, ref, ids[i], 1, engine.CopyPartOptions{})
	})
	if err != nil {
		values, err = r.ask("put part", fmt.Sprintf("of %d bytes", len(data)), ref.Bucket, func(i int, e engine.Engine) (any, error) {
			return e.PutPart(r.ctx, ref, ids[i], 1, bytes.NewReader(data), engine.PutPartOptions{Size: int64(len(data))})
		})
	}
	if err != nil || r.Failed() {
		return
	}
	part := engine.CompletePart{Number: 1, ETag: values[0].(engine.PartInfo).ETag}
	r.rememberObject(r.ask("complete upload", fmt.Sprintf("of %s/%s", ref.Bucket, ref.Key), ref.Bucket, func(i int, e engine.Engine) (any, error) {
		return e.CompleteUpload(r.ctx, ref, ids[i], engine.CompleteUploadOptions{Parts: []engine.CompletePart{part}, Size: -1})
	}))
}

func (r *fileScript) setTags() {
	ref, tags := r.versionRef(), engine.Tags{"t": fmt.Sprint(r.random.IntN(5))}
	r.ask("set tags", fmt.Sprintf("%s/%s %s", ref.Bucket, ref.Key, ref.Version), ref.Bucket, func(_ int, e engine.Engine) (any, error) {
		return e.SetTags(r.ctx, ref, tags)
	})
}

// setVersioning leaves a bucket without versions as it is for a while.
func (r *fileScript) setVersioning() {
	if r.random.IntN(30) == 0 {
		r.replaceBucket()
		return
	}
	bucket, v := versionedBucket, pick(r.random, []engine.Versioning{engine.VersioningEnabled, engine.VersioningEnabled, engine.VersioningSuspended})
	switch {
	case r.random.IntN(8) == 0 && r.hasLinks(plainBucket):
		bucket = plainBucket
	case r.versioningOff(bucket) && r.random.IntN(2) == 0:
		return
	}
	r.ask("set versioning", fmt.Sprintf("of %s to %d", bucket, v), bucket, func(_ int, e engine.Engine) (any, error) { return nil, e.SetVersioning(r.ctx, bucket, v) })
}

func (r *fileScript) versioningOff(bucket engine.BucketName) bool {
	v, err := r.engines[0].BucketVersioning(r.ctx, bucket)
	return err == nil && v == engine.VersioningOff
}

// hasLinks reports whether a file has several names.
func (r *fileScript) hasLinks(bucket engine.BucketName) bool {
	return slices.ContainsFunc(r.known[bucket], func(n twins) bool {
		info, err := r.engines[0].StatFile(r.ctx, node(bucket, n, 0))
		return err == nil && info.Type != engine.TypeDirectory && info.Links > 1
	})
}

func (r *fileScript) setHold() {
	if r.random.IntN(8) == 0 { // for a while every new version is locked
		l := engine.BucketLock{Enabled: true}
		if r.random.IntN(3) == 0 {
			l.Mode, l.Days = engine.RetentionGovernance, 2
		}
		r.ask("set bucket lock", fmt.Sprintf("of %s to %+v", heldBucket, l), heldBucket, func(_ int, e engine.Engine) (any, error) { return nil, e.SetBucketLock(r.ctx, heldBucket, l) })
		return
	}
	ref, hold := engine.Ref{Bucket: heldBucket, Key: r.key()}, r.random.IntN(4) == 0
	for range 10 { // mostly a version that is there
		if made := r.versionRef(); made.Bucket == heldBucket {
			ref = made
			break
		}
	}
	r.ask("set hold", fmt.Sprintf("of %s/%s %s to %v", ref.Bucket, ref.Key, ref.Version, hold), ref.Bucket, func(_ int, e engine.Engine) (any, error) {
		return e.SetLock(r.ctx, ref, engine.LockChange{Hold: &hold})
	})
}

func (r *fileScript) someAttributes() (a engine.FileAttributes) {
	if r.random.IntN(2) == 0 {
		a = engine.FileAttributes{Mode: r.random.Uint32N(0o10000), UID: r.random.Uint32N(3), GID: r.random.Uint32N(3), Flags: r.random.Uint32N(2), Set: r.random.IntN(2) == 0}
	}
	return a
}

func (r *fileScript) makeFile() {
	p := r.place(r.bucket())
	o := engine.MakeFileOptions{Type: engine.TypeRegular, Attributes: r.someAttributes()}
	switch r.random.IntN(10) {
	case 0, 1, 2, 3, 4:
		o.Type = engine.TypeDirectory
	case 5:
		o.Type, o.Target = engine.TypeSymlink, strings.Repeat(r.name(), 1+r.random.IntN(5))
	case 6:
		o.Type, o.Attributes.Device = engine.TypeBlockDevice, r.random.Uint64()
	case 7:
		o.Class = engine.ClassReduced
	}
	values, err := r.ask("make file", fmt.Sprintf("%v of type %d", p, o.Type), p.bucket, func(i int, e engine.Engine) (any, error) { return e.MakeFile(r.ctx, p.at(i), o) })
	if info, ok := values[0].(engine.FileInfo); ok && err == nil {
		r.remember(p.bucket, engine.Key(p.path+p.name), info.Version)
		if info.Type == engine.TypeDirectory {
			r.directories = append(r.directories, p)
		}
	}
}

// linkFile links; of the faults that a call can have it has one at most.
func (r *fileScript) linkFile() {
	bucket := plainBucket
	if r.random.IntN(4) == 0 {
		bucket = r.bucket()
	}
	off := r.versioningOff(bucket)
	n, _, ok := r.file(bucket)
	if t := r.temporary[bucket]; len(t) > 0 && r.random.IntN(4) == 0 {
		if info, err := r.engines[0].StatFile(r.ctx, node(bucket, t[len(t)-1], 0)); err == nil { // or it has a name by now
			n, ok, off = t[len(t)-1], true, off || info.Links == 0
		}
	}
	p := r.place(bucket)
	if _, err := r.engines[0].ListDirectory(r.ctx, node(bucket, p.in, 0), engine.ListDirectoryOptions{Max: 1}); err != nil {
		return
	}
	info, err := r.engines[0].StatFile(r.ctx, node(bucket, n, 0))
	right := ok && err == nil && info.Type != engine.TypeDirectory && off
	if _, _, taken := r.lookup(p, ""); taken && !right {
		return
	}
	if !off && (!ok || info.Type == engine.TypeDirectory) {
		return
	}
	r.ask("link file", fmt.Sprintf("node %v as %v", n, p), bucket, func(i int, e engine.Engine) (any, error) { return e.LinkFile(r.ctx, node(bucket, n, i), p.at(i)) })
}

func (r *fileScript) removeFile() {
	p := r.place(r.bucket())
	if n := len(r.directories); n > 0 && r.random.IntN(3) == 0 { // it may be empty still
		p = r.directories[n-1-r.random.IntN(min(n, 3))]
	}
	_, info, ok := r.lookup(p, "")
	o := engine.RemoveFileOptions{Directory: ok && info.Type == engine.TypeDirectory}
	if r.random.IntN(8) == 0 {
		o.Directory = !o.Directory
	}
	op := "remove file"
	if o.Directory {
		op = "remove directory"
	}
	r.ask(op, p.String(), p.bucket, func(i int, e engine.Engine) (any, error) { return nil, e.RemoveFile(r.ctx, p.at(i), o) })
}

func (r *fileScript) moveFile() {
	bucket := r.bucket()
	from, to := r.place(bucket), r.place(bucket)
	_, info, ok := r.lookup(from, "")
	for range r.random.IntN(4) { // mostly something that is there
		if ok {
			break
		}
		from = r.place(bucket)
		_, info, ok = r.lookup(from, "")
	}
	op, o := "move file", engine.MoveFileOptions{}
	if ok && info.Type == engine.TypeDirectory {
		op = "move directory"
	}
	switch r.random.IntN(8) {
	case 0:
		o.NoReplace = true
	case 1, 2:
		op, o.Exchange = "exchange", true
	}
	r.ask(op, fmt.Sprintf("%v to %v %+v", from, to, o), bucket, func(i int, e engine.Engine) (any, error) { return nil, e.MoveFile(r.ctx, from.at(i), to.at(i), o) })
}

func (r *fileScript) setFile() {
	bucket := r.bucket()
	n := r.anyNode(bucket)
	var c engine.FileChange
	some := func(field **uint32, bound uint32) {
		if value := r.random.Uint32N(bound); r.random.IntN(2) == 0 {
			*field = &value
		}
	}
	some(&c.Mode, 0o10000)
	some(&c.UID, 5)
	some(&c.GID, 5)
	some(&c.Flags, 5)
	for _, field := range []**time.Time{&c.Modified, &c.Accessed, &c.Born} {
		switch r.random.IntN(5) {
		case 0, 1:
			*field = r.then()
		case 2:
			*field = &time.Time{}
		}
	}
	r.ask("set file", fmt.Sprintf("node %v", n), bucket, func(i int, e engine.Engine) (any, error) { return e.SetFile(r.ctx, node(bucket, n, i), c) })
}

func (r *fileScript) setXattr() {
	bucket, n, name := r.xattrOf()
	value := content(r.random.Uint64(), r.random.IntN(100))
	op, o := "set xattr", engine.SetXattrOptions{}
	switch r.random.IntN(6) {
	case 0:
		op, o.Create = "create xattr", true
	case 1:
		op, o.Replace = "replace xattr", true
	case 2:
		op, o.Remove = "remove xattr", true
	}
	if last := len(r.dressed) - 1; (o.Remove || o.Replace) && last >= 0 && r.random.IntN(4) > 0 {
		bucket, n, name = r.dressed[last].bucket, r.dressed[last].node, r.dressed[last].name // one that is there, most likely
		r.dressed = r.dressed[:last]
	}
	_, err := r.ask(op, fmt.Sprintf("%s of node %v", name, n), bucket, func(i int, e engine.Engine) (any, error) {
		return nil, e.SetXattr(r.ctx, node(bucket, n, i), name, value, o)
	})
	if err == nil && !o.Remove {
		r.dressed = append(r.dressed, dressed{bucket, n, name})
	}
}

// xattrOf picks a node and a name, mostly of an attribute that was set lately.
func (r *fileScript) xattrOf() (bucket engine.BucketName, n twins, name string) {
	if len(r.dressed) > 0 && r.random.IntN(2) == 0 {
		d := r.dressed[len(r.dressed)-1-r.random.IntN(min(len(r.dressed), 10))]
		return d.bucket, d.node, d.name
	}
	bucket = r.bucket()
	return bucket, r.anyNode(bucket), pick(r.random, []string{"user.a", "user.b", "user.c"})
}

func (r *fileScript) xattrs() {
	bucket, n, name := r.xattrOf()
	r.ask("xattr", fmt.Sprintf("%s of node %v", name, n), bucket, func(i int, e engine.Engine) (any, error) {
		value, err := e.Xattr(r.ctx, node(bucket, n, i), name)
		return string(value), err
	})
	r.ask("xattrs", fmt.Sprintf("of node %v", n), bucket, func(i int, e engine.Engine) (any, error) {
		names, err := e.Xattrs(r.ctx, node(bucket, n, i))
		return fmt.Sprintf("%q", names), err
	})
}

func (r *fileScript) listDirectory() {
	p := r.place(r.bucket())
	o := engine.ListDirectoryOptions{Max: r.random.IntN(4)}
	for range 5 { // pages, until the last
		values, err := r.ask("list directory", fmt.Sprintf("%s:%s %+v", p.bucket, p.path, o), p.bucket, func(i int, e engine.Engine) (any, error) {
			return e.ListDirectory(r.ctx, node(p.bucket, p.in, i), o)
		})
		if page, ok := values[0].(engine.DirectoryPage); ok && err == nil && page.Truncated && !r.Failed() {
			o.After = page.Last
			continue
		}
		return
	}
}

func (r *fileScript) statFile() {
	bucket := r.bucket()
	r.statNode(bucket, r.someone(bucket))
}

// statNode compares what both engines say of a node, and its key if that is the only one.
func (r *fileScript) statNode(bucket engine.BucketName, n twins) {
	values, err := r.ask("stat file", fmt.Sprintf("node %v", n), bucket, func(i int, e engine.Engine) (any, error) { return e.StatFile(r.ctx, node(bucket, n, i)) })
	info, _ := values[0].(engine.FileInfo)
	r.ask("file key", fmt.Sprintf("of node %v", n), bucket, func(i int, e engine.Engine) (any, error) {
		key, errKey := e.FileKey(r.ctx, node(bucket, n, i))
		if err == nil && info.Links > 1 {
			key = ""
		}
		return key, errKey
	})
}

// lookupVersion finds a version that was made lately, in the directory that its key is in.
func (r *fileScript) lookupVersion() {
	if len(r.versions) == 0 {
		return
	}
	ref := pick(r.random, r.versions)
	p := place{bucket: ref.Bucket, in: twins{engine.RootNode, engine.RootNode}}
	parts := strings.Split(string(ref.Key), "/")
	for i, part := range parts {
		p.name = part
		if engine.CheckFileName(part) != nil {
			return
		}
		n, info, ok := r.lookup(p, "")
		if i == len(parts)-1 {
			if !ok || info.Type != engine.TypeDirectory {
				r.lookup(p, ref.Version)
			}
			return
		}
		if !ok || info.Type != engine.TypeDirectory {
			return
		}
		p.in, p.path = n, p.path+part+"/"
	}
}

func (r *fileScript) openFile() {
	bucket := r.bucket()
	n, _, _ := r.file(bucket)
	if r.random.IntN(3) == 0 {
		n = r.someone(bucket)
	}
	var o *engine.Range
	if r.random.IntN(2) == 0 {
		o = &engine.Range{Start: pick(r.random, []int64{-1, 0, 1, 100, 5000, 65_535}), Length: pick(r.random, []int64{1, 99, 70_000})}
	}
	r.read("open file", bucket, n, o)
}

// opened is what a file gave.
type opened struct {
	Size           int64
	ETag           engine.ETag
	Version        engine.VersionID
	Sequence       engine.Sequence
	Offset, Length int64
	Sum            [md5.Size]byte
}

func (r *fileScript) read(op string, bucket engine.BucketName, n twins, o *engine.Range) {
	r.Helper()
	r.ask(op, fmt.Sprintf("node %v of %s, %+v", n, bucket, o), bucket, func(i int, e engine.Engine) (any, error) {
		object, err := e.OpenFile(r.ctx, node(bucket, n, i), engine.OpenFileOptions{Range: o})
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		_, err = object.WriteTo(&b)
		if closed := object.Close(); err == nil {
			err = closed
		}
		info := object.Info()
		return opened{info.Size, info.ETag, info.Version, info.Sequence, object.Offset(), object.Length(), md5.Sum(b.Bytes())}, err
	})
}

func (r *fileScript) seekFile() {
	bucket := r.bucket()
	n, info, _ := r.file(bucket)
	offset, hole := r.random.Int64N(info.Size+2)-r.random.Int64N(2), r.random.IntN(2) == 0
	r.ask("seek file", fmt.Sprintf("node %v from %d, hole %v", n, offset, hole), bucket, func(i int, e engine.Engine) (any, error) {
		return e.SeekFile(r.ctx, node(bucket, n, i), offset, hole)
	})
}

func (r *fileScript) usage() {
	bucket, prefix := r.bucket(), ""
	if r.random.IntN(3) > 0 {
		prefix = strings.TrimSuffix(string(r.key()), "/") + "/"
	}
	r.ask("usage", fmt.Sprintf("of %s/%s", bucket, prefix), bucket, func(_ int, e engine.Engine) (any, error) { return e.Usage(r.ctx, bucket, prefix) })
}

// randomPiece is a piece as both engines get it. At most one of data, staged and from is set.
type randomPiece struct {
	offset, length int64
	data           []byte
	staged         *[2]engine.Staged
	from           *twins
	at             int64
	keep           bool
}

func (p *randomPiece) piece(bucket engine.BucketName, i int) engine.Piece {
	piece := engine.Piece{Offset: p.offset, Length: p.length, Keep: p.keep}
	switch {
	case p.data != nil:
		piece.Body = bytes.NewReader(p.data)
	case p.staged != nil:
		piece.Staged = p.staged[i]
	case p.from != nil:
		piece.From = &engine.FileRange{File: node(bucket, *p.from, i), Offset: p.at}
	}
	return piece
}

func (p *randomPiece) String() string {
	switch {
	case p.data != nil:
		return fmt.Sprintf("body %d+%d", p.offset, p.length)
	case p.staged != nil:
		return fmt.Sprintf("staged %d+%d", p.offset, p.length)
	case p.from != nil:
		return fmt.Sprintf("clone %d+%d of node %v at %d", p.offset, p.length, *p.from, p.at)
	}
	return fmt.Sprintf("hole %d+%d keep %v", p.offset, p.length, p.keep)
}

// patchFile changes a file; of the faults that a call can have it has one at most.
func (r *fileScript) patchFile() {
	bucket := r.bucket()
	n, info, ok := r.file(bucket)
	right := ok && info.Type == engine.TypeRegular
	var patch engine.Patch
	var pieces []*randomPiece
	if right && r.random.IntN(30) == 0 {
		pieces = r.smallPieces(info.Size)
	}
	for i := range r.random.IntN(4) {
		p := r.piece(bucket, n, info, right && len(pieces) == 0 && i == 0)
		if p == nil || r.Failed() {
			return
		}
		if p.staged != nil {
			defer func() {
				for _, staged := range p.staged {
					staged.Discard()
				}
			}()
		}
		pieces = append(pieces, p)
	}
	if size := r.random.Int64N(info.Size + 3000); r.random.IntN(5) == 0 || info.Size > 300_000 {
		patch.Size = &size
	}
	if r.random.IntN(6) == 0 {
		patch.Modified = r.then()
	}
	switch faulty := len(pieces) > 0 && pieces[0].from != nil; {
	case !right, r.random.IntN(6) > 0:
	case r.random.IntN(3) > 0:
		patch.If = info.Sequence
	case !faulty:
		patch.If = info.Sequence + 1
	}
	var size any
	if patch.Size != nil {
		size = *patch.Size
	}
	r.ask("patch file", fmt.Sprintf("node %v of %s, size %v, if %d: %v", n, bucket, size, patch.If, pieces), bucket, func(i int, e engine.Engine) (any, error) {
		patch := patch
		for _, p := range pieces {
			patch.Pieces = append(patch.Pieces, p.piece(bucket, i))
		}
		return e.PatchFile(r.ctx, node(bucket, n, i), patch)
	})
	if key, err := r.engines[0].FileKey(r.ctx, node(bucket, n, 0)); err == nil {
		if info, err := r.engines[0].StatFile(r.ctx, node(bucket, n, 0)); err == nil {
			r.remember(bucket, key, info.Version)
		}
	}
}

// smallPieces are so many that the file lies in more pieces afterwards than a clone of it names.
func (r *fileScript) smallPieces(size int64) (pieces []*randomPiece) {
	for range 60 + r.random.IntN(190) {
		p := &randomPiece{offset: r.random.Int64N(size + 1), length: 1 + r.random.Int64N(30)}
		if r.random.IntN(20) > 0 {
			p.data = content(r.random.Uint64(), int(p.length))
		}
		pieces = append(pieces, p)
	}
	return pieces
}

// piece returns a piece for a file; with faulty it may take bytes that there are not.
func (r *fileScript) piece(bucket engine.BucketName, n twins, info engine.FileInfo, faulty bool) *randomPiece {
	p := &randomPiece{offset: r.random.Int64N(info.Size + 1), length: r.random.Int64N(3000)}
	switch r.random.IntN(8) {
	case 0:
		p.offset = engine.PieceEnd
	case 1:
		p.offset = info.Size + r.random.Int64N(5000)
	case 2:
		p.offset = 0
	}
	switch r.random.IntN(10) {
	case 0, 1:
		p.keep = p.offset >= 0 && r.random.IntN(2) == 0
	case 2:
		data := r.content()
		size := pick(r.random, []int64{-1, int64(len(data))})
		p.length, p.staged = int64(len(data)), new([2]engine.Staged)
		_, err := r.ask("stage file", fmt.Sprintf("%d bytes", len(data)), bucket, func(i int, e engine.Engine) (any, error) {
			staged, err := e.StageFile(r.ctx, bucket, bytes.NewReader(data), engine.StageOptions{Size: size})
			p.staged[i] = staged
			return nil, err
		})
		if err != nil {
			return nil
		}
	case 3, 4, 5:
		return r.clonePiece(p, bucket, n, info, faulty)
	default:
		p.data = r.content()
		p.length = int64(len(p.data))
	}
	return p
}

// clonePiece takes bytes of the same file or another one.
func (r *fileScript) clonePiece(p *randomPiece, bucket engine.BucketName, n twins, info engine.FileInfo, faulty bool) *randomPiece {
	from, ok := n, info.Type == engine.TypeRegular
	if r.random.IntN(2) == 0 {
		from, info, ok = r.file(bucket)
	}
	if !ok { // perhaps an older version, or one that is gone
		stat, err := r.engines[0].StatFile(r.ctx, node(bucket, from, 0))
		if ok, info = err == nil && stat.Type == engine.TypeRegular, stat; !ok && !faulty || ok && info.Size == 0 {
			return p
		}
	}
	if info.Type != engine.TypeRegular && info.Type != engine.TypeDirectory {
		return p // a hole
	}
	p.from, p.at = &from, r.random.Int64N(info.Size+1)
	if p.length = min(info.Size-p.at, 1+r.random.Int64N(50_000)); faulty && r.random.IntN(10) == 0 {
		p.length += 1 + r.random.Int64N(5)
	}
	return p
}

// compareAll compares everything that there is.
func (r *fileScript) compareAll() {
	r.Helper()
	for _, bucket := range scriptBuckets {
		r.compare(bucket, true)
	}
}

// compare compares everything in a bucket; with whole, what each version has and all nodes that were seen, too.
func (r *fileScript) compare(bucket engine.BucketName, whole bool) {
	r.Helper()
	r.comparing = true
	defer func() { r.comparing = false }()
	r.listAll(bucket)
	versions := r.listVersions(bucket)
	r.ask("list uploads", string(bucket), bucket, func(_ int, e engine.Engine) (any, error) {
		return e.ListUploads(r.ctx, bucket, engine.ListUploadsOptions{})
	})
	r.ask("usage", string(bucket), bucket, func(_ int, e engine.Engine) (any, error) { return e.Usage(r.ctx, bucket, "") })
	r.ask("versioning", string(bucket), bucket, func(_ int, e engine.Engine) (any, error) { return e.BucketVersioning(r.ctx, bucket) })
	r.ask("bucket lock", string(bucket), bucket, func(_ int, e engine.Engine) (any, error) { return e.BucketLock(r.ctx, bucket) })
	r.compareTree(bucket, string(bucket)+":", twins{engine.RootNode, engine.RootNode})
	known := r.known[bucket]
	if !whole {
		versions, known = nil, known[max(0, len(known)-60):]
	}
	for _, v := range versions {
		if !v.Marker && !r.Failed() {
			r.openObject(engine.Ref{Bucket: bucket, Key: v.Key, Version: v.Version}, nil)
		}
	}
	for _, n := range known {
		if r.Failed() {
			return
		}
		r.statNode(bucket, n)
	}
}

// listAll compares all pages of a listing.
func (r *fileScript) listAll(bucket engine.BucketName) {
	r.Helper()
	o := engine.ListOptions{Attributes: true}
	for {
		values, err := r.ask("list", string(bucket), bucket, func(_ int, e engine.Engine) (any, error) { return e.List(r.ctx, bucket, o) })
		page, ok := values[0].(engine.ObjectPage)
		if o.After = page.Last; !ok || err != nil || !page.Truncated || r.Failed() {
			return
		}
	}
}

// listVersions compares all pages of the versions of a bucket, and returns them.
func (r *fileScript) listVersions(bucket engine.BucketName) (all []engine.ObjectInfo) {
	r.Helper()
	var o engine.ListVersionsOptions
	for {
		values, err := r.ask("list versions", string(bucket), bucket, func(_ int, e engine.Engine) (any, error) { return e.ListVersions(r.ctx, bucket, o) })
		page, ok := values[0].(engine.VersionPage)
		all = append(all, page.Versions...)
		if o.AfterKey, o.AfterVersion = page.LastKey, page.LastVersion; !ok || err != nil || !page.Truncated || r.Failed() {
			return all
		}
	}
}

func (r *fileScript) compareTree(bucket engine.BucketName, path string, n twins) {
	r.Helper()
	values, err := r.ask("list directory", path, bucket, func(i int, e engine.Engine) (any, error) {
		return e.ListDirectory(r.ctx, node(bucket, n, i), engine.ListDirectoryOptions{})
	})
	if err != nil {
		r.Errorf("list %s: %v", path, err)
	}
	if r.Failed() {
		return
	}
	r.compareXattrs(bucket, path, n)
	for _, entry := range values[0].(engine.DirectoryPage).Entries {
		below := twins{entry.Info.Node, r.twin[0][engine.File{Bucket: bucket, Node: entry.Info.Node}]}
		if entry.Info.Type == engine.TypeDirectory {
			r.compareTree(bucket, path+entry.Name+"/", below)
			continue
		}
		r.compareXattrs(bucket, path+entry.Name, below)
		r.read("read file", bucket, below, nil)
		r.ask("holes", path+entry.Name, bucket, func(i int, e engine.Engine) (any, error) {
			holes, err := holesOf(r.ctx, e, node(bucket, below, i), entry.Info.Size)
			return fmt.Sprint(holes), err
		})
		if r.Failed() {
			return
		}
	}
}

func (r *fileScript) compareXattrs(bucket engine.BucketName, path string, n twins) {
	r.Helper()
	r.ask("all xattrs", path, bucket, func(i int, e engine.Engine) (any, error) {
		names, err := e.Xattrs(r.ctx, node(bucket, n, i))
		all := ""
		for _, name := range names {
			value, errValue := e.Xattr(r.ctx, node(bucket, n, i), name)
			if errValue != nil {
				return nil, errValue
			}
			all += fmt.Sprintf("%q=%x ", name, value)
		}
		return all, err
	})
}
