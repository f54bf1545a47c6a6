package enginetest

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"holdfast/engine"
)

// Random gives the same operations, which seed decides, to a model and to a real engine, both empty, and compares every answer: Kinds,
// contents, descriptions, listings. Only instants, the ids of buckets and those of uploads may differ. Where a call has two faults both
// engines must find the same one first: what does not exist before what is wrong with the body or the parts, and conditions last. It
// stops at the first difference and prints the seed and the operations that led there.
func Random(t *testing.T, seed uint64, model, real engine.Engine, operations int) {
	t.Helper()
	r := &randomly{
		t: t, ctx: t.Context(), random: rand.New(rand.NewPCG(seed, 1)), engines: [2]engine.Engine{model, real},
		buckets: []engine.BucketName{"one", "two", "three"}, following: newTwinFollowers(seed, [2]engine.Engine{model, real}),
	}
	for range 14 {
		r.keys = append(r.keys, engine.Key(pick(r.random, strangeKeys)))
	}
	r.keys = append(r.keys, "a/b", "a", "a/")
	defer func() {
		if t.Failed() {
			t.Logf("seed %d; the last operations:\n%s", seed, strings.Join(r.log[max(0, len(r.log)-25):], "\n"))
		}
	}()
	for range operations {
		r.step()
		r.follow(func() error { return r.following.sometimes(r.ctx, pick(r.following.random, r.buckets), withoutNode) })
		if t.Failed() {
			return
		}
	}
	r.compareAll()
	r.follow(func() error {
		return r.following.finish(r.ctx, func(engine.BucketName) func(int, engine.Change) engine.Change { return withoutNode })
	})
	t.Logf("seed %d: changes %v", seed, r.following.counts)
}

// follow reports what a follower of a bucket's changes finds wrong.
func (r *randomly) follow(step func() error) {
	r.t.Helper()
	if err := step(); err != nil && !r.t.Failed() {
		r.t.Error(err)
	}
}

// withoutNode is a change without the number of its node, which may differ.
func withoutNode(_ int, c engine.Change) engine.Change {
	c.Node = 0
	return c
}

type randomly struct {
	t       *testing.T
	ctx     context.Context
	random  *rand.Rand
	engines [2]engine.Engine
	buckets []engine.BucketName
	keys    []engine.Key
	uploads []pair
	tags    []engine.ETag // seen lately
	// versions were made lately; some are gone.
	versions []engine.Ref
	log      []string
	// following follows all buckets.
	following *twinFollowers
}

// pair is an upload in both engines, and the parts that it was given.
type pair struct {
	ref   engine.Ref
	ids   [2]engine.UploadID
	parts map[int]engine.ETag
}

// answer is what an engine says, in comparable form.
type answer struct {
	Kind  string
	Value any
}

// both asks both engines and compares. It returns the model's answer.
func (r *randomly) both(what string, ask func(i int, e engine.Engine) (any, error)) (any, error) {
	r.t.Helper()
	var answers [2]answer
	var values [2]any
	var errs [2]error
	for i, e := range r.engines {
		values[i], errs[i] = ask(i, e)
		answers[i].Kind = "ok"
		if errs[i] != nil {
			answers[i].Kind = engine.KindOf(errs[i]).String()
		} else {
			answers[i].Value = plain(values[i])
		}
	}
	r.log = append(r.log, fmt.Sprintf("%s → %s", what, answers[0].Kind))
	if !reflect.DeepEqual(answers[0], answers[1]) {
		r.t.Errorf("%s:\nmodel: %+v (%v)\n real: %+v (%v)", what, answers[0], errs[0], answers[1], errs[1])
	}
	return values[0], errs[0]
}

// plain takes from an answer what may differ between engines.
func plain(v any) any {
	switch v := v.(type) {
	case engine.ObjectInfo:
		return withoutTime(v)
	case engine.ObjectPage:
		for i := range v.Objects {
			v.Objects[i] = withoutTime(v.Objects[i])
		}
		v.Prefixes = append([]string{}, v.Prefixes...)
		v.Objects = append([]engine.ObjectInfo{}, v.Objects...)
		return v
	case engine.BucketInfo:
		return v.Name
	case engine.BucketPage:
		var names []engine.BucketName
		for _, b := range v.Buckets {
			names = append(names, b.Name)
		}
		return fmt.Sprint(names, v.Truncated)
	case engine.PartInfo:
		return withoutPartTime(v)
	case engine.PartPage:
		parts := []engine.PartInfo{}
		for _, p := range v.Parts {
			parts = append(parts, withoutPartTime(p))
		}
		return engine.PartPage{Upload: withoutUploadTime(v.Upload), Parts: parts, Truncated: v.Truncated}
	case engine.UploadInfo:
		return withoutUploadTime(v)
	case engine.UploadPage:
		uploads := []engine.UploadInfo{}
		for _, u := range v.Uploads {
			uploads = append(uploads, withoutUploadTime(u))
		}
		hasID := v.LastID != ""
		return []any{uploads, append([]string{}, v.Prefixes...), v.Truncated, v.LastKey, hasID}
	case engine.VersionPage:
		for i := range v.Versions {
			v.Versions[i] = withoutTime(v.Versions[i])
		}
		v.Prefixes = append([]string{}, v.Prefixes...)
		v.Versions = append([]engine.ObjectInfo{}, v.Versions...)
		return v
	}
	return v
}

func withoutPartTime(p engine.PartInfo) engine.PartInfo {
	p.Modified = time.Time{}
	if len(p.Checksum.Sum) == 0 {
		p.Checksum.Sum = nil
	}
	return p
}

func withoutUploadTime(u engine.UploadInfo) engine.UploadInfo {
	u.Started, u.ID = time.Time{}, ""
	if len(u.Attributes.User) == 0 {
		u.Attributes.User = nil
	}
	return u
}

// step does one operation, chosen by weight.
func (r *randomly) step() {
	r.t.Helper()
	switch n := r.random.IntN(100); {
	case n < 1:
		r.setVersioning()
	case n < 4:
		r.createBucket()
	case n < 6:
		r.deleteBucket()
	case n < 7:
		r.listBuckets()
	case n < 8:
		r.document()
	case n < 24:
		r.put()
	case n < 26:
		r.append()
	case n < 27:
		r.rename()
	case n < 28:
		r.setLock()
	case n < 30:
		r.setTags()
	case n < 34:
		r.copy()
	case n < 50:
		r.open()
	case n < 56:
		r.stat()
	case n < 66:
		r.delete()
	case n < 70:
		r.list()
	case n < 71:
		r.removePrefix()
	case n < 72:
		r.renamePrefix()
	case n < 76:
		r.listVersions()
	case n < 81:
		r.startUpload()
	case n < 87:
		r.putPart()
	case n < 89:
		r.copyPart()
	case n < 91:
		r.listParts()
	case n < 92:
		r.versionParts()
	case n < 95:
		r.listUploads()
	case n < 98:
		r.complete()
	default:
		r.abort()
	}
}

func (r *randomly) bucket() engine.BucketName { return pick(r.random, r.buckets) }

func (r *randomly) ref() engine.Ref {
	return engine.Ref{Bucket: r.bucket(), Key: pick(r.random, r.keys)}
}

// content returns a body, mostly small.
func (r *randomly) content(largest int) []byte {
	n := pick(r.random, []int{0, 1, 100, 4096, engine.InlineBytesMax, engine.InlineBytesMax + 1, 40_000, 64 << 10, 70_000, largest})
	if n == largest && r.random.IntN(4) > 0 {
		n = r.random.IntN(10_000)
	}
	return content(r.random.Uint64(), n)
}

// conditions returns those of a write, mostly none.
func (r *randomly) conditions() (c engine.Conditions) {
	tag := noTag
	if len(r.tags) > 0 {
		tag = pick(r.random, r.tags)
	}
	switch r.random.IntN(12) {
	case 0:
		c.NoneMatchAny = true
	case 1:
		c.MatchAny = true
	case 2:
		c.Match = []engine.ETag{tag, noTag}
	case 3:
		c.NoneMatch = []engine.ETag{tag}
	}
	return c
}

// matching returns conditions that an object of the model may meet.
func (r *randomly) matching(ref engine.Ref) (c engine.Conditions) {
	if r.random.IntN(3) > 0 {
		return r.conditions()
	}
	if info, err := r.engines[0].Stat(r.ctx, ref, engine.StatOptions{}); err == nil {
		c.Match = []engine.ETag{info.ETag}
		if r.random.IntN(2) == 0 {
			c = engine.Conditions{NoneMatch: []engine.ETag{info.ETag}}
		}
	}
	return c
}

// versionRef is ref, now and then with a version that was there once, or never.
func (r *randomly) versionRef() engine.Ref {
	switch n := r.random.IntN(8); {
	case n == 0:
		ref := r.ref()
		ref.Version = pick(r.random, []engine.VersionID{engine.NullVersion, engine.FormatVersion(1 << 40)})
		return ref
	case n < 4 && len(r.versions) > 0:
		return pick(r.random, r.versions)
	}
	return r.ref()
}

func (r *randomly) rememberVersion(bucket engine.BucketName, key engine.Key, v engine.VersionID) {
	if r.versions = append(r.versions, engine.Ref{Bucket: bucket, Key: key, Version: v}); len(r.versions) > 40 {
		r.versions = r.versions[1:]
	}
}

func (r *randomly) setVersioning() {
	name, v := pick(r.random, r.buckets[1:]), pick(r.random, []engine.Versioning{engine.VersioningEnabled, engine.VersioningEnabled, engine.VersioningSuspended, engine.VersioningOff})
	r.both(fmt.Sprintf("set versioning of %s to %d", name, v), func(_ int, e engine.Engine) (any, error) { return nil, e.SetVersioning(r.ctx, name, v) })
	r.both("versioning of "+string(name), func(_ int, e engine.Engine) (any, error) { return e.BucketVersioning(r.ctx, name) })
}

func (r *randomly) listVersions() {
	name, l := r.bucket(), randomOptions(r.random, r.names())
	o := engine.ListVersionsOptions{Prefix: l.Prefix, Delimiter: l.Delimiter, AfterKey: l.After, Max: l.Max}
	if ref := r.versionRef(); r.random.IntN(2) == 0 {
		o.AfterKey, o.AfterVersion = string(ref.Key), ref.Version
	}
	r.both(fmt.Sprintf("list versions of %s %+q", name, fmt.Sprintf("%+v", o)), func(_ int, e engine.Engine) (any, error) { return e.ListVersions(r.ctx, name, o) })
}

func (r *randomly) remember(v any) {
	if info, ok := v.(engine.ObjectInfo); ok && info.Version != "" {
		r.rememberVersion(info.Bucket, info.Key, info.Version)
	}
	if info, ok := v.(engine.ObjectInfo); ok && info.ETag != "" {
		if r.tags = append(r.tags, info.ETag); len(r.tags) > 8 {
			r.tags = r.tags[1:]
		}
	}
}

func (r *randomly) createBucket() {
	name := r.bucket()
	_, err := r.both("create bucket "+string(name), func(_ int, e engine.Engine) (any, error) {
		return e.CreateBucket(r.ctx, name, engine.CreateBucketOptions{Lock: name == lockedBucket})
	})
	if err == nil {
		r.follow(func() error { return r.following.begin(r.ctx, name) })
	}
}

// lockedBucket is the one bucket with locks, if it is made with them; the first one never has versions.
const lockedBucket engine.BucketName = "three"

// someLock returns one that whoever bypasses may take away.
func (r *randomly) someLock(bucket engine.BucketName) (l engine.Lock) {
	if bucket != lockedBucket && r.random.IntN(20) > 0 {
		return l
	}
	if r.random.IntN(4) == 0 {
		l.Hold = true
	}
	if r.random.IntN(3) == 0 {
		l.Retention = engine.Retention{Mode: engine.RetentionGovernance, Until: time.Now().Add(time.Duration(1+r.random.IntN(3)) * 24 * time.Hour).UTC().Truncate(24 * time.Hour)}
	}
	return l
}

// class returns the standard one, mostly.
func (r *randomly) class() engine.StorageClass {
	return pick(r.random, []engine.StorageClass{"", "", "", engine.ClassStandard, engine.ClassReduced})
}

func (r *randomly) setLock() {
	if r.random.IntN(4) == 0 {
		l := engine.BucketLock{Enabled: true}
		if r.random.IntN(2) == 0 {
			l.Mode, l.Days = engine.RetentionGovernance, 1+r.random.IntN(2)
		}
		r.both(fmt.Sprintf("set the locks of %s to %+v", lockedBucket, l), func(_ int, e engine.Engine) (any, error) { return nil, e.SetBucketLock(r.ctx, lockedBucket, l) })
		r.both("locks of "+string(lockedBucket), func(_ int, e engine.Engine) (any, error) { return e.BucketLock(r.ctx, lockedBucket) })
		return
	}
	ref := r.versionRef()
	l, change := r.someLock(lockedBucket), engine.LockChange{Bypass: r.random.IntN(3) > 0}
	if r.random.IntN(2) == 0 {
		change.Retention = &l.Retention
	} else {
		change.Hold = &l.Hold
	}
	r.both(fmt.Sprintf("set the lock of %s/%+q %s to %+v with bypass %v", ref.Bucket, ref.Key, ref.Version, l, change.Bypass), func(_ int, e engine.Engine) (any, error) {
		return e.SetLock(r.ctx, ref, change)
	})
}

func (r *randomly) append() {
	ref, data := r.ref(), r.content(100_000)
	if r.random.IntN(2) == 0 {
		ref.Bucket = r.buckets[0]
	}
	o := engine.AppendOptions{Size: int64(len(data)), If: r.matching(ref)}
	if info, err := r.engines[0].Stat(r.ctx, ref, engine.StatOptions{}); err == nil && r.random.IntN(10) > 0 {
		o.Offset = info.Size
	}
	v, err := r.both(fmt.Sprintf("append %d bytes to %s/%+q at %d %+v", len(data), ref.Bucket, ref.Key, o.Offset, o.If), func(_ int, e engine.Engine) (any, error) {
		return e.Append(r.ctx, ref, bytes.NewReader(data), o)
	})
	if err == nil {
		r.remember(v)
	}
}

func (r *randomly) rename() {
	from, to := r.ref(), r.ref()
	if r.random.IntN(4) > 0 {
		from.Bucket, to.Bucket = r.buckets[0], r.buckets[0]
	}
	o := engine.RenameOptions{If: r.matching(to), From: r.matching(from), Token: pick(r.random, []string{"", "a", "b"})}
	r.both(fmt.Sprintf("rename %s/%+q to %s/%+q %+v", from.Bucket, from.Key, to.Bucket, to.Key, o), func(_ int, e engine.Engine) (any, error) {
		return e.Rename(r.ctx, from, to, o)
	})
}

// renamePrefix gives the directory of a key the place of another's; then the keys are to be found under the names that keys have here only by chance,
// so that most of them go back at once.
func (r *randomly) renamePrefix() {
	name, from, to := r.bucket(), r.prefix(), r.prefix()
	ask := func(from, to string) error {
		_, err := r.both(fmt.Sprintf("rename %s/%+q to %+q", name, from, to), func(_ int, e engine.Engine) (any, error) { return e.RenamePrefix(r.ctx, name, from, to) })
		return err
	}
	if ask(from, to) == nil && r.random.IntN(4) > 0 {
		ask(to, from)
	}
}

// prefix returns one that keys begin with, mostly.
func (r *randomly) prefix() string {
	key := string(pick(r.random, r.keys))
	if cut := strings.LastIndexByte(key, '/'); cut >= 0 && r.random.IntN(3) > 0 {
		key = key[:cut]
	}
	return key + "/"
}

func (r *randomly) removePrefix() {
	name, prefix := r.bucket(), r.prefix()
	r.both(fmt.Sprintf("remove %s/%+q", name, prefix), func(_ int, e engine.Engine) (any, error) { return e.RemovePrefix(r.ctx, name, prefix) })
}

func (r *randomly) deleteBucket() {
	name, o := r.bucket(), engine.DeleteBucketOptions{Force: r.random.IntN(4) == 0}
	_, err := r.both(fmt.Sprintf("delete bucket %s %+v", name, o), func(_ int, e engine.Engine) (any, error) { return nil, e.DeleteBucket(r.ctx, name, o) })
	if err != nil {
		return
	}
	r.following.end(name)
	r.forget(func(p pair) bool { return p.ref.Bucket == name })
}

// forget drops uploads; one in four is kept, to be asked for in vain.
func (r *randomly) forget(gone func(pair) bool) {
	var kept []pair
	for _, p := range r.uploads {
		if !gone(p) || r.random.IntN(4) == 0 {
			kept = append(kept, p)
		}
	}
	r.uploads = kept
}

func (r *randomly) listBuckets() {
	o := engine.ListBucketsOptions{Prefix: pick(r.random, []string{"", "t", "on"}), After: pick(r.random, []engine.BucketName{"", "one", "p"}), Max: r.random.IntN(3)}
	r.both(fmt.Sprintf("list buckets %+v", o), func(_ int, e engine.Engine) (any, error) { return e.ListBuckets(r.ctx, o) })
}

func (r *randomly) put() {
	ref, data := r.ref(), r.content(2<<20+1)
	o := engine.PutOptions{Size: int64(len(data)), If: r.matching(ref), Tags: r.someTags(), Lock: r.someLock(ref.Bucket), Class: r.class()}
	body := func() io.Reader { return bytes.NewReader(data) }
	what := "put"
	switch r.random.IntN(12) {
	case 0:
		o.Size = -1
	case 1:
		sum := md5.Sum(data)
		o.MD5 = sum[:]
	case 2:
		sum := md5.Sum(append(data, 1))
		o.MD5, o.If, what = sum[:], engine.Conditions{}, "put with a wrong MD5"
	case 3:
		what, o.If, o.Size = "put of a body that breaks", engine.Conditions{}, int64(len(data)+1)
		body = func() io.Reader { return io.MultiReader(bytes.NewReader(data), iotest.ErrReader(errBody)) }
	case 4:
		o.Attributes = engine.Attributes{ContentType: "x/y", User: map[string]string{"k": fmt.Sprint(len(data))}}
		o.Checksum = func() engine.Checksum { return engine.Checksum{Algorithm: "CRC32", Sum: []byte("1234")} }
	}
	v, err := r.both(fmt.Sprintf("%s %s/%+q, %d bytes, %+v", what, ref.Bucket, ref.Key, len(data), o.If), func(_ int, e engine.Engine) (any, error) {
		return e.Put(r.ctx, ref, body(), o)
	})
	if err == nil {
		r.remember(v)
	}
}

// someTags returns none, mostly.
func (r *randomly) someTags() engine.Tags {
	if r.random.IntN(3) > 0 {
		return nil
	}
	return engine.Tags{pick(r.random, []string{"a", "b", "c"}): fmt.Sprint(r.random.IntN(100)), "d": ""}
}

func (r *randomly) setTags() {
	ref, tags := r.versionRef(), r.someTags()
	r.both(fmt.Sprintf("set tags of %s/%+q %s to %v", ref.Bucket, ref.Key, ref.Version, tags), func(_ int, e engine.Engine) (any, error) {
		return e.SetTags(r.ctx, ref, tags)
	})
}

func (r *randomly) versionParts() {
	ref, o := r.versionRef(), engine.ListPartsOptions{After: r.random.IntN(3), Max: r.random.IntN(3)}
	r.both(fmt.Sprintf("parts of %s/%+q %s %+v", ref.Bucket, ref.Key, ref.Version, o), func(_ int, e engine.Engine) (any, error) {
		page, err := e.Parts(r.ctx, ref, o)
		return []any{withoutTime(page.Info), fmt.Sprint(page.Parts), page.Truncated}, err
	})
}

func (r *randomly) document() {
	name, document := r.bucket(), pick(r.random, []string{"one", "two", "one/two"})
	if value := content(r.random.Uint64(), max(0, r.random.IntN(300)-100)); r.random.IntN(2) == 0 {
		r.both(fmt.Sprintf("set document %q of %s", document, name), func(_ int, e engine.Engine) (any, error) {
			return nil, e.SetDocument(r.ctx, name, document, value)
		})
	}
	r.both(fmt.Sprintf("document %q of %s", document, name), func(_ int, e engine.Engine) (any, error) {
		value, err := e.Document(r.ctx, name, document)
		return string(value), err
	})
}

func (r *randomly) copy() {
	from, to := r.versionRef(), r.ref()
	if r.random.IntN(6) == 0 {
		to = engine.Ref{Bucket: from.Bucket, Key: from.Key}
	}
	o := engine.CopyOptions{If: r.matching(to), Lock: r.someLock(to.Bucket), Class: r.class()}
	if r.random.IntN(2) == 0 {
		o.From = r.matching(from)
	}
	if r.random.IntN(3) == 0 {
		o.Attributes = &engine.Attributes{ContentType: "c/d", User: map[string]string{"copied": "yes"}}
	}
	if r.random.IntN(3) == 0 {
		tags := r.someTags()
		o.Tags = &tags
	}
	v, err := r.both(fmt.Sprintf("copy %s/%+q %s to %s/%+q %+v %+v", from.Bucket, from.Key, from.Version, to.Bucket, to.Key, o.From, o.If), func(_ int, e engine.Engine) (any, error) {
		return e.Copy(r.ctx, from, to, o)
	})
	if err == nil {
		r.remember(v)
	}
}

func (r *randomly) copyPart() {
	p, ok := r.upload()
	if !ok {
		return
	}
	from, number := r.versionRef(), 1+r.random.IntN(4)
	o := engine.CopyPartOptions{From: r.matching(from)}
	if r.random.IntN(2) == 0 {
		o.Range = &engine.Range{Start: pick(r.random, []int64{-1, 0, 1, 4096, 65_535}), Length: pick(r.random, []int64{1, 99, 70_000, 1 << 20})}
	}
	v, err := r.both(fmt.Sprintf("copy part %d of %s/%+q from %s/%+q %+v %+v", number, p.ref.Bucket, p.ref.Key, from.Bucket, from.Key, o.Range, o.From), func(i int, e engine.Engine) (any, error) {
		return e.CopyPart(r.ctx, from, p.ref, p.ids[i], number, o)
	})
	if info, ok := v.(engine.PartInfo); ok && err == nil {
		p.parts[number] = info.ETag
	}
}

// read is what an open gave.
type read struct {
	Info           engine.ObjectInfo
	Offset, Length int64
	Sum            [16]byte
}

func (r *randomly) open() {
	ref := r.versionRef()
	o := engine.OpenOptions{If: r.matching(ref)}
	what := fmt.Sprintf("open %s/%+q %s %+v", ref.Bucket, ref.Key, ref.Version, o.If)
	if r.random.IntN(2) == 0 {
		o.Range = &engine.Range{Start: pick(r.random, []int64{-1, 0, 1, 100, 4096, 65_535, 1 << 20}), Length: pick(r.random, []int64{0, 1, 99, 70_000, 1 << 20})}
		what += fmt.Sprintf(", range %+v", *o.Range)
	}
	r.both(what, func(_ int, e engine.Engine) (any, error) { return readAll(e.Open(r.ctx, ref, o)) })
}

func readAll(o engine.Object, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(o)
	if closed := o.Close(); err == nil {
		err = closed
	}
	return read{withoutTime(o.Info()), o.Offset(), o.Length(), md5.Sum(data)}, err
}

func (r *randomly) stat() {
	ref := r.versionRef()
	o := engine.StatOptions{If: r.matching(ref)}
	r.both(fmt.Sprintf("stat %s/%+q %s %+v", ref.Bucket, ref.Key, ref.Version, o.If), func(_ int, e engine.Engine) (any, error) { return e.Stat(r.ctx, ref, o) })
}

func (r *randomly) delete() {
	ref := r.versionRef()
	o := engine.DeleteOptions{If: r.matching(ref), Bypass: r.random.IntN(2) == 0}
	if r.random.IntN(8) == 0 {
		size := pick(r.random, []int64{0, 100, engine.InlineBytesMax})
		o.If.Size = &size
	}
	v, err := r.both(fmt.Sprintf("delete %s/%+q %s %+v", ref.Bucket, ref.Key, ref.Version, o.If), func(_ int, e engine.Engine) (any, error) {
		return e.Delete(r.ctx, ref, o)
	})
	if result, ok := v.(engine.DeleteResult); ok && err == nil && result.Version != "" {
		r.rememberVersion(ref.Bucket, ref.Key, result.Version)
	}
}

func (r *randomly) names() []string {
	var names []string
	for _, key := range r.keys {
		names = append(names, string(key))
	}
	return names
}

func (r *randomly) list() {
	name, o := r.bucket(), randomOptions(r.random, r.names())
	o.Attributes = r.random.IntN(2) == 0
	r.both(fmt.Sprintf("list %s %+q", name, fmt.Sprintf("%+v", o)), func(_ int, e engine.Engine) (any, error) { return e.List(r.ctx, name, o) })
}

func (r *randomly) startUpload() {
	ref := r.ref()
	o := engine.StartUploadOptions{Attributes: engine.Attributes{ContentType: pick(r.random, []string{"", "a/b"})}, Tags: r.someTags(), Lock: r.someLock(ref.Bucket), Class: r.class()}
	p := pair{ref: ref, parts: map[int]engine.ETag{}}
	_, err := r.both(fmt.Sprintf("start upload %s/%+q", ref.Bucket, ref.Key), func(i int, e engine.Engine) (any, error) {
		info, err := e.StartUpload(r.ctx, ref, o)
		p.ids[i] = info.ID
		return info, err
	})
	if err == nil {
		r.uploads = append(r.uploads, p)
	}
}

// upload picks an upload, now and then under a wrong key.
func (r *randomly) upload() (p pair, ok bool) {
	if len(r.uploads) == 0 {
		return p, false
	}
	p = pick(r.random, r.uploads)
	if r.random.IntN(12) == 0 {
		p.ref = r.ref()
	}
	return p, true
}

func (r *randomly) putPart() {
	p, ok := r.upload()
	if !ok {
		return
	}
	number, data := 1+r.random.IntN(4), r.content(int(engine.PartBytesMin))
	o := engine.PutPartOptions{Size: int64(len(data))}
	if r.random.IntN(10) == 0 {
		o.Size++
	}
	v, err := r.both(fmt.Sprintf("put part %d of %s/%+q, %d bytes", number, p.ref.Bucket, p.ref.Key, len(data)), func(i int, e engine.Engine) (any, error) {
		return e.PutPart(r.ctx, p.ref, p.ids[i], number, bytes.NewReader(data), o)
	})
	if info, ok := v.(engine.PartInfo); ok && err == nil {
		p.parts[number] = info.ETag
	}
}

func (r *randomly) listParts() {
	p, ok := r.upload()
	if !ok {
		return
	}
	o := engine.ListPartsOptions{After: r.random.IntN(4), Max: r.random.IntN(4)}
	r.both(fmt.Sprintf("list parts of %s/%+q %+v", p.ref.Bucket, p.ref.Key, o), func(i int, e engine.Engine) (any, error) {
		return e.ListParts(r.ctx, p.ref, p.ids[i], o)
	})
}

func (r *randomly) listUploads() {
	name, l := r.bucket(), randomOptions(r.random, r.names())
	o := engine.ListUploadsOptions{Prefix: l.Prefix, Delimiter: l.Delimiter, AfterKey: engine.Key(l.After), Max: l.Max}
	p, ok := r.upload()
	at := ok && r.random.IntN(3) == 0
	r.both(fmt.Sprintf("list uploads of %s %+q", name, fmt.Sprintf("%+v", o)), func(i int, e engine.Engine) (any, error) {
		if at {
			o.AfterKey, o.AfterID = p.ref.Key, p.ids[i]
		}
		return e.ListUploads(r.ctx, name, o)
	})
}

func (r *randomly) complete() {
	p, ok := r.upload()
	if !ok {
		return
	}
	o := engine.CompleteUploadOptions{Size: -1, If: r.matching(p.ref)}
	for number := 1; number <= 4; number++ {
		if tag, ok := p.parts[number]; ok && r.random.IntN(4) > 0 {
			o.Parts = append(o.Parts, engine.CompletePart{Number: number, ETag: tag})
		}
	}
	switch r.random.IntN(8) {
	case 0:
		o.Parts = append(o.Parts, engine.CompletePart{Number: 5, ETag: noTag})
	case 1, 2, 3, 4: // a single part always fits
		if len(o.Parts) > 1 {
			o.Parts = o.Parts[:1]
		}
	}
	v, err := r.both(fmt.Sprintf("complete %s/%+q with %d parts %+v", p.ref.Bucket, p.ref.Key, len(o.Parts), o.If), func(i int, e engine.Engine) (any, error) {
		return e.CompleteUpload(r.ctx, p.ref, p.ids[i], o)
	})
	if err == nil {
		r.remember(v)
		r.forget(func(q pair) bool { return q.ids == p.ids })
	}
}

func (r *randomly) abort() {
	p, ok := r.upload()
	if !ok {
		return
	}
	_, err := r.both(fmt.Sprintf("abort %s/%+q", p.ref.Bucket, p.ref.Key), func(i int, e engine.Engine) (any, error) {
		return nil, e.AbortUpload(r.ctx, p.ref, p.ids[i])
	})
	if err == nil {
		r.forget(func(q pair) bool { return q.ids == p.ids })
	}
}

// compareAll compares everything that is there at the end.
func (r *randomly) compareAll() {
	for _, name := range r.buckets {
		r.both("stat bucket "+string(name), func(_ int, e engine.Engine) (any, error) { return e.StatBucket(r.ctx, name) })
		r.both("list all of "+string(name), func(_ int, e engine.Engine) (any, error) {
			return e.List(r.ctx, name, engine.ListOptions{Attributes: true})
		})
		r.both("list all versions of "+string(name), func(_ int, e engine.Engine) (any, error) {
			return e.ListVersions(r.ctx, name, engine.ListVersionsOptions{})
		})
		for _, key := range r.keys {
			ref := engine.Ref{Bucket: name, Key: key}
			r.both(fmt.Sprintf("open %s/%+q", name, key), func(_ int, e engine.Engine) (any, error) {
				return readAll(e.Open(r.ctx, ref, engine.OpenOptions{}))
			})
		}
	}
}

func pick[T any](random *rand.Rand, list []T) T { return list[random.IntN(len(list))] }

// randomOptions returns a listing that has to do with some of the names.
func randomOptions(random *rand.Rand, names []string) engine.ListOptions {
	o := engine.ListOptions{Max: random.IntN(5), Delimiter: pick(random, []string{"", "/", "/", "a", "//", "b"})}
	if random.IntN(2) == 0 {
		name := pick(random, names)
		o.Prefix = name[:random.IntN(len(name)+1)]
	}
	if random.IntN(2) == 0 {
		o.After = pick(random, names)
	}
	return o
}

func withoutTime(i engine.ObjectInfo) engine.ObjectInfo {
	i.Modified = time.Time{}
	if until := i.Lock.Until; !until.Equal(until.Truncate(24 * time.Hour)) { // it comes from the bucket, counted from when the version was made
		i.Lock.Until = time.Time{}
	}
	if len(i.Attributes.User) == 0 {
		i.Attributes.User = nil
	}
	if len(i.Checksum.Sum) == 0 {
		i.Checksum.Sum = nil
	}
	return i
}
