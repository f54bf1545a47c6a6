// Package memory is an engine.Engine in a sorted map behind one lock: the reference model that every other engine is compared with,
// and a fixture for whoever needs an engine and no drives.
//
// Promise: it answers exactly as the comments of package engine say, with real ETags and checksums, and is simple enough to be seen
// to be right. Bytes of an open object never change.
//
// It keeps nothing: what it holds is gone with the process. It does not know redundancy, admission or budgets; a storage class is a
// name to it.
package memory

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/btree"

	"holdfast/engine"
)

// Engine implements engine.Engine. It is safe for concurrent use.
type Engine struct {
	clock func() time.Time

	mu      sync.RWMutex // guards all below, and everything that the buckets hold
	buckets *btree.BTreeG[*bucket]
	lastID  engine.BucketID
	uploads uint64        // started so far
	more    chan struct{} // closed with the next change that somebody follows, and forgotten then; nil while nobody waits
}

var _ engine.Engine = (*Engine)(nil)

// Option changes what New makes.
type Option func(*Engine)

// Clock makes the engine stamp changes with what now returns; stamps of one bucket never go backwards even if it does.
func Clock(now func() time.Time) Option { return func(e *Engine) { e.clock = now } }

// New returns an engine without buckets.
func New(options ...Option) *Engine {
	e := &Engine{clock: time.Now, buckets: btree.NewG(degree, func(a, b *bucket) bool { return a.info.Name < b.info.Name })}
	for _, option := range options {
		option(e)
	}
	return e
}

const degree = 16

// bucket is a namespace. last is the latest stamp given.
type bucket struct {
	info     engine.BucketInfo
	stacks   *btree.BTreeG[*stack]
	uploads  *btree.BTreeG[*upload]
	sequence engine.Sequence
	last     time.Time

	versioning engine.Versioning
	lock       engine.BucketLock
	quota      engine.Quota
	documents  map[string][]byte

	// The file view: setVersions keeps it as the stacks have it.
	lastNode    engine.NodeID
	keys        map[engine.NodeID][]engine.Key // of the versions with a number, more than one for a file with several names; the slices are immutable
	directories map[string]directory           // by prefix, "" for the root: those beneath which a version lies
	prefixes    map[engine.NodeID]string       // of directories
	nameless    map[engine.NodeID]*object      // files that somebody holds and that have no name

	owners    map[engine.OwnerID]*owner
	locks     map[engine.NodeID][]engine.FileLock
	lastOwner engine.OwnerID

	feed feed
}

// stack has the versions of a key, the newest first, at least one. It is immutable: a change puts another in its place.
type stack struct {
	key      engine.Key
	versions []*object
}

// object is a version, or a delete marker. It is immutable. upload is the upload that made it, if any.
type object struct {
	info    engine.ObjectInfo
	content sparse
	upload  engine.UploadID
	parts   []engine.VersionPart
	token   string // of the rename that brought it here
	node    node   // all names of a file have the same
}

// upload is an upload in progress; its parts are ordered by number.
type upload struct {
	info  engine.UploadInfo
	lock  engine.Lock
	parts *btree.BTreeG[*part]
}

// part is immutable.
type part struct {
	info engine.PartInfo
	data []byte
	md5  [16]byte
}

func newBucket(info engine.BucketInfo) *bucket {
	root := directory{node: newNode(engine.RootNode, info.Created)}
	return &bucket{
		lastNode: engine.RootNode, keys: map[engine.NodeID][]engine.Key{}, nameless: map[engine.NodeID]*object{},
		owners: map[engine.OwnerID]*owner{}, locks: map[engine.NodeID][]engine.FileLock{},
		directories: map[string]directory{"": root}, prefixes: map[engine.NodeID]string{engine.RootNode: ""},
		info:   info,
		stacks: btree.NewG(degree, func(a, b *stack) bool { return a.key < b.key }),
		uploads: btree.NewG(degree, func(a, b *upload) bool {
			return a.info.Key < b.info.Key || a.info.Key == b.info.Key && a.info.ID < b.info.ID
		}),
		last: info.Created, documents: map[string][]byte{},
	}
}

// now returns the clock's time without its monotonic part.
func (e *Engine) now() time.Time { return e.clock().UTC().Round(0) }

// stamp returns the time of a change: the clock's, or the last one's when the clock went backwards.
func (e *Engine) stamp(b *bucket) time.Time {
	if now := e.now(); now.After(b.last) {
		b.last = now
	}
	return b.last
}

// find returns a bucket by name. The caller holds the lock.
func (e *Engine) find(name engine.BucketName) (*bucket, error) {
	if b, ok := e.buckets.Get(&bucket{info: engine.BucketInfo{Name: name}}); ok {
		return b, nil
	}
	return nil, engine.E(engine.KindNoSuchBucket, "there is no bucket %q", string(name))
}

// versions returns the versions of a key, the newest first.
func (b *bucket) versions(key engine.Key) []*object {
	if s, ok := b.stacks.Get(&stack{key: key}); ok {
		return s.versions
	}
	return nil
}

// setVersions puts other versions in the place of those that a key has.
func (b *bucket) setVersions(key engine.Key, versions []*object) {
	before := b.versions(key)
	if len(versions) == 0 {
		b.stacks.Delete(&stack{key: key})
	} else {
		b.stacks.ReplaceOrInsert(&stack{key, versions})
	}
	b.number(key, before, versions)
	b.count(key, before, versions)
}

// object returns the current version of a key, or nil.
func (b *bucket) object(key engine.Key) *object {
	if versions := b.versions(key); len(versions) > 0 && !versions[0].info.Marker {
		return versions[0]
	}
	return nil
}

// version returns the version that ref names, which may be a marker, or the newest one; nil if there is none.
func (b *bucket) version(ref engine.Ref) *object {
	for _, o := range b.versions(ref.Key) {
		if ref.Version == "" || o.info.Version == ref.Version {
			return o
		}
	}
	return nil
}

// push puts a version on top of those of its key: a null version in the place of the one that there is. It makes a node for a version that has none.
func (e *Engine) push(b *bucket, key engine.Key, o *object) {
	kind := engine.ChangePut
	if o.info.Marker {
		kind = engine.ChangeMarked
	}
	e.pushAs(b, kind, key, o)
}

// pushAs is push for a change of a kind.
func (e *Engine) pushAs(b *bucket, kind engine.ChangeKind, key engine.Key, o *object) {
	n := e.raise(b, kind, key)
	o.info.Bucket, o.info.Key = b.info.Name, key
	o.info.Modified, o.info.Sequence = e.stamp(b), b.sequence
	if !o.info.Marker {
		b.dress(&o.node, o.info.Modified)
	}
	kept := b.versions(key)
	if o.info.Version = engine.FormatVersion(b.sequence); b.versioning != engine.VersioningEnabled {
		o.info.Version = engine.NullVersion
		kept = without(kept, engine.NullVersion)
	}
	b.setVersions(key, append([]*object{o}, kept...))
	n.done(nil)
}

// without returns versions but for one.
func without(versions []*object, id engine.VersionID) []*object {
	return slices.DeleteFunc(slices.Clone(versions), func(o *object) bool { return o.info.Version == id })
}

// ready returns what is wrong with a call before anything is looked up.
func ready(ctx context.Context, name engine.BucketName) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return engine.CheckBucketName(name)
}

// readyKey is ready for a call about a key.
func readyKey(ctx context.Context, ref engine.Ref) error {
	if err := ready(ctx, ref.Bucket); err != nil {
		return err
	}
	if err := engine.CheckKey(ref.Key); err != nil {
		return err
	}
	return engine.CheckVersion(ref.Version)
}

// page returns the length of a page that a caller asked for.
func page(limit int) (int, error) {
	switch {
	case limit < 0:
		return 0, engine.E(engine.KindInvalidArgument, "a page of %d items was asked for", limit)
	case limit == 0 || limit > engine.PageMax:
		return engine.PageMax, nil
	}
	return limit, nil
}
