package drive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// memtableBytes is the size of Pebble's memtables: small, because what is in them is in the meta stream too and replayed.
const memtableBytes = 8 << 20

// Cache is the memory of all indexes of a process: one for the blocks of tables, one for open tables.
type Cache struct {
	blocks *pebble.Cache
	files  *pebble.FileCache
	kept   atomic.Bool // an index that failed was left behind, and a compaction of it may be running
}

// NewCache returns a cache of that many bytes for the indexes of some drives, more or fewer. Close it after them. Pebble takes the memory of its memtables
// out of the cache of blocks: room for two on each drive, the one that is filled and the one that is flushed, comes on top.
func NewCache(bytes int64, drives int) *Cache {
	return &Cache{blocks: pebble.NewCache(bytes + int64(drives)*2*memtableBytes), files: pebble.NewFileCache(1, 1000)}
}

// Close gives the memory back, unless a drive failed or did not open: Pebble cannot be stopped then, and may use the cache as long as the
// process lives.
func (c *Cache) Close() {
	if c.kept.Load() {
		return
	}
	c.files.Unref()
	c.blocks.Unref()
}

// quiet is Pebble's logger. A fatal error is a broken invariant of Pebble's, for errors of the disk are the gate's: it fails the drive.
type quiet struct{ gate *gate }

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

// Fatalf returns, against its contract: Pebble then reports the error to its caller, and the gate lets nothing more reach the disk.
func (q quiet) Fatalf(format string, args ...any) {
	q.gate.fail(damaged("index: "+format, args...))
}

// openIndex opens Pebble. Where the disk fails it in the middle, it may find references to its files when it gives up, and panic over them: then what
// it has is left behind, and the cache with it.
func openIndex(g *gate, cache *Cache, create bool, events pebble.EventListener) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			cache.kept.Store(true)
			db, err = nil, errors.Join(fmt.Errorf("the index library gave up: %v", r), g.err())
		}
	}()
	o := &pebble.Options{
		FS:                          g,
		Cache:                       cache.blocks,
		FileCache:                   cache.files,
		DisableWAL:                  true,
		ErrorIfNotExists:            !create,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                memtableBytes,
		MemTableStopWritesThreshold: 1 << 10, // the drive itself makes writers wait, see admit
		L0StopWritesThreshold:       1 << 10,
		L0CompactionThreshold:       4,
		Logger:                      quiet{g},
		EventListener:               &events,
	}
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	scheduler := newCompactions()
	o.Experimental.CompactionScheduler = scheduler
	if db, err = pebble.Open("/", o); err == nil {
		scheduler.begin()
	}
	return db, err
}

// refuseNewerIndex looks at Pebble's marker of its format. Where it cannot be read, Pebble says why.
func refuseNewerIndex(fsys vfs.FS) error {
	value, err := atomicfs.ReadMarker(fsys, "/", "format-version")
	if err != nil {
		return nil
	}
	version, err := strconv.ParseUint(value, 10, 64)
	if err == nil && version > uint64(pebble.FormatNewest) {
		return engine.Newer("the index (Pebble)", version, uint64(pebble.FormatNewest))
	}
	return nil
}

// get returns a copy of a row.
func get(db *pebble.DB, key []byte) ([]byte, bool, error) {
	value, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value = bytes.Clone(value)
	return value, true, closer.Close()
}

// getDurable returns a row as a crash at this instant would leave it.
func getDurable(db *pebble.DB, key []byte) (value []byte, ok bool, err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: key, UpperBound: append(bytes.Clone(key), 0), OnlyReadGuaranteedDurable: true})
	if err != nil {
		return nil, false, err
	}
	if it.First() {
		value, err = it.ValueAndErr()
		value, ok = bytes.Clone(value), err == nil
	}
	return value, ok, errors.Join(err, it.Close())
}

// successor returns the least key that is greater than all with the prefix, nil if there is none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			next := bytes.Clone(prefix[:i+1])
			next[i]++
			return next
		}
	}
	return nil
}

// Store returns the ordered store of all rows under prefix. No prefix in use may be the beginning of another. Every method answers ErrFailed
// once the drive failed. Commit makes its caller wait while much is not flushed, but for no callback of OnFlush that is still running.
func (d *Drive) Store(prefix []byte) meta.Store {
	return &store{reader: reader{d: d, from: d.db, prefix: append([]byte{storePrefix}, prefix...)}}
}

// DropStore removes all rows of the store. Like a commit it is durable with the next flush.
func (d *Drive) DropStore(prefix []byte) error {
	if err := d.admit(1, len(prefix)); err != nil {
		return err
	}
	if err := d.enter(); err != nil {
		return err
	}
	defer d.life.RUnlock()
	full := append([]byte{storePrefix}, prefix...)
	defer d.watch.begin()()
	if err := d.db.DeleteRange(full, successor(full), pebble.NoSync); err != nil {
		return d.fail(err)
	}
	return nil
}

// store is a view of the index.
type store struct{ reader }

var _ meta.Store = (*store)(nil)

// Commit implements meta.Store.
func (s *store) Commit(b *meta.Batch) error {
	size := 0
	for _, op := range b.Ops {
		size += len(s.prefix) + len(op.Key) + len(op.Value)
	}
	if err := s.d.admit(len(b.Ops), size); err != nil {
		return err
	}
	if err := s.d.enter(); err != nil {
		return err
	}
	defer s.d.life.RUnlock()
	batch := s.d.db.NewBatchWithSize(size + 16*len(b.Ops) + 64)
	defer batch.Close()
	for _, op := range b.Ops {
		if err := s.add(batch, op); err != nil {
			return s.d.fail(err)
		}
	}
	return s.d.apply(batch)
}

// add writes key and value into the batch without a copy in between.
func (s *store) add(batch *pebble.Batch, op meta.Op) error {
	if op.Delete {
		del := batch.DeleteDeferred(len(s.prefix) + len(op.Key))
		copy(del.Key[copy(del.Key, s.prefix):], op.Key)
		return del.Finish()
	}
	set := batch.SetDeferred(len(s.prefix)+len(op.Key), len(op.Value))
	copy(set.Key[copy(set.Key, s.prefix):], op.Key)
	copy(set.Value, op.Value)
	return set.Finish()
}

// apply commits a batch to the index without waiting for the disk.
func (d *Drive) apply(batch *pebble.Batch) error {
	if err := d.Failed(); err != nil {
		return err
	}
	defer d.watch.begin()()
	if err := batch.Commit(pebble.NoSync); err != nil {
		return d.fail(err)
	}
	return nil
}

// Snapshot implements meta.Store.
func (s *store) Snapshot() meta.Snapshot {
	if err := s.d.enter(); err != nil {
		return &snapshot{reader: reader{d: s.d, gone: err}}
	}
	defer s.d.life.RUnlock()
	s.d.readers.Add(1)
	at := s.d.db.NewSnapshot()
	return &snapshot{reader: reader{d: s.d, from: at, prefix: s.prefix}, at: at}
}

// Durable implements meta.Store.
func (s *store) Durable(key []byte) ([]byte, bool, error) {
	if err := s.d.enter(); err != nil {
		return nil, false, err
	}
	defer s.d.life.RUnlock()
	value, ok, err := getDurable(s.d.db, s.key(key))
	if failed := s.d.Failed(); failed != nil {
		return nil, false, failed
	}
	return value, ok, err
}

type snapshot struct {
	reader
	at *pebble.Snapshot
}

func (s *snapshot) Close() error {
	if s.at == nil {
		return s.gone
	}
	defer s.d.readers.Done()
	at := s.at
	s.at, s.gone = nil, ErrClosed
	return at.Close()
}

// source is what database and snapshot share.
type source interface {
	Get(key []byte) ([]byte, io.Closer, error)
	NewIter(o *pebble.IterOptions) (*pebble.Iterator, error)
}

// reader reads rows under a prefix.
type reader struct {
	d      *Drive
	from   source
	prefix []byte
	gone   error // of a snapshot that could not be made
}

func (r *reader) enter() error {
	if r.gone != nil {
		return r.gone
	}
	return r.d.enter()
}

func (r *reader) key(key []byte) []byte {
	return append(append(make([]byte, 0, len(r.prefix)+len(key)+1), r.prefix...), key...)
}

// Get implements meta.Reader.
func (r *reader) Get(key []byte) ([]byte, bool, error) {
	if err := r.enter(); err != nil {
		return nil, false, err
	}
	defer r.d.life.RUnlock()
	value, closer, err := r.from.Get(r.key(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value = bytes.Clone(value)
	return value, true, closer.Close()
}

// Iterate implements meta.Store; a nil upper means the end of the store.
func (r *reader) Iterate(lower, upper []byte) meta.Iterator {
	if err := r.enter(); err != nil {
		return &iterator{err: err}
	}
	defer r.d.life.RUnlock()
	o := &pebble.IterOptions{LowerBound: r.key(lower), UpperBound: successor(r.prefix)}
	if upper != nil {
		o.UpperBound = r.key(upper)
	}
	it, err := r.from.NewIter(o)
	if err != nil {
		return &iterator{err: err}
	}
	r.d.readers.Add(1)
	return &iterator{d: r.d, it: it, prefix: r.prefix}
}

// iterator walks rows under a prefix; it is nil if there was an error at once.
type iterator struct {
	d       *Drive
	it      *pebble.Iterator
	err     error
	prefix  []byte
	started bool
	seek    []byte
}

func (i *iterator) Next() bool {
	if i.it == nil {
		return false
	}
	if !i.started {
		i.started = true
		return i.it.First()
	}
	return i.it.Valid() && i.it.Next()
}

func (i *iterator) SeekGE(key []byte) bool {
	if i.it == nil {
		return false
	}
	i.started = true
	i.seek = append(append(i.seek[:0], i.prefix...), key...)
	return i.it.SeekGE(i.seek)
}

func (i *iterator) Key() []byte   { return i.it.Key()[len(i.prefix):] }
func (i *iterator) Value() []byte { return i.it.Value() }

func (i *iterator) Close() error {
	if i.it == nil {
		return i.err
	}
	defer i.d.readers.Done()
	it := i.it
	i.it = nil
	return it.Close()
}

// rows calls fn with each row of the drive's own range; key and value are valid during the call.
func (d *Drive) rows(bounds [2][]byte, fn func(key, value []byte) error) error {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: bounds[0], UpperBound: bounds[1]})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = fn(it.Key()[len(bounds[0]):], it.Value())
	}
	return errors.Join(err, it.Close())
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
func isEOF(err error) bool      { return err == nil || errors.Is(err, io.EOF) }
