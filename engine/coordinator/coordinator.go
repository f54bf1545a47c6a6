// Package coordinator is the engine of a node: it writes the data of an object to drives first, then proposes the one command that
// makes the object visible, and reads what a group says by the quickest shards.
//
// Promise: that of engine.Engine. When Put returns nil every byte is synced on its drives and the command on a majority of the
// group's replicas; until then nobody sees anything of it, and what is left of a failed write is given up by a command before a
// shard of it is deleted.
//
// It knows neither protocols nor how drives keep shards and groups agree: it is handed drives, groups and a placement.
package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/engine"
	"holdfast/engine/buffer"
	"holdfast/engine/extent"
	"holdfast/engine/group"
	"holdfast/engine/meta"
	"holdfast/observe"

	md5simd "github.com/minio/md5-simd"
)

// Placement says where the shards of a new extent go.
type Placement struct {
	Redundancy engine.Redundancy
	Drives     []engine.DriveID // k+m; those that are out keep their place, to be filled by repair
	Reduced    bool             // a narrower code than the class has, for lack of drives
}

// Drives are the drives of the cluster as a writer sees them.
type Drives interface {
	extent.Stores
	// Place chooses drives for an extent. KindUnavailable or KindDriveFull if there are too few.
	Place(r engine.Redundancy, bytes int64) (Placement, error)
	// Spare returns a drive for a shard that failed elsewhere; false if there is none beside those excluded.
	Spare(exclude []engine.DriveID) (engine.DriveID, bool)
	// Room returns how many bytes the drives have that take shards, and how many of them are free.
	Room() (total, free int64)
	// RoomForRows returns KindDriveFull while objects that ride in rows would take the room that drives keep for deletions.
	RoomForRows() error
	// Out reports whether a committed command has put the drive out.
	Out(drive engine.DriveID) bool
}

// Config is what a Coordinator is made of.
type Config struct {
	Root   *group.Writer // to the root group
	Data   *group.Writer // to the group of the buckets
	Drives Drives
	Pool   *buffer.Pool
	// Class returns the redundancy of a storage class, which follows the drives that there are; false if there is no such class. ClassStandard is one.
	Class func(engine.StorageClass) (engine.Redundancy, bool)
	// Damaged is told of shards that were found missing or rotten.
	Damaged func(id engine.ShardID, drive engine.DriveID, err error)
	Logger  *slog.Logger
}

// The steps of a request that the recorder knows.
var (
	stepShards   = observe.NewStep("coordinator: a body is read and its shards are written")
	stepCommit   = observe.NewStep("coordinator: all shards of an extent are synced and recorded")
	stepInline   = observe.NewStep("coordinator: a small body is read")
	stepPut      = observe.NewStep("coordinator: the command of a put is decided")
	stepDelete   = observe.NewStep("coordinator: the command of a delete is decided")
	stepPart     = observe.NewStep("coordinator: the command of a part is decided")
	stepComplete = observe.NewStep("coordinator: an upload is completed")
)

// Coordinator is an engine.Engine over groups and drives.
type Coordinator struct {
	Config
	md5     md5simd.Server
	hashing atomic.Int32   // bodies whose MD5 is being computed
	latency extent.Latency // of reads, for hedging

	mu      sync.Mutex
	pins    map[*pin]uint64 // index that a reader may still see
	closed  bool
	cleanup sync.WaitGroup
	stop    context.CancelFunc
	base    context.Context // of the cleaning up after failed writes
}

var _ engine.Engine = (*Coordinator)(nil)

type pin struct{ _ byte }

// New returns a Coordinator and finishes what an earlier one left half-done in the directory of buckets.
func New(ctx context.Context, config Config) (*Coordinator, error) {
	c := &Coordinator{Config: config, md5: md5simd.NewServer(), pins: map[*pin]uint64{}}
	c.base, c.stop = context.WithCancel(context.Background())
	if err := c.finishBuckets(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close waits for the cleaning up after failed writes. Calls in progress must have returned.
func (c *Coordinator) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.cleanup.Wait()
	c.md5.Close()
}

// OldestPin returns the index up to which garbage may be collected: no reader sees an older state. Index is that of a view
// that the caller has read before.
func (c *Coordinator) OldestPin(index uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pinned := range c.pins {
		index = min(index, pinned)
	}
	return index
}

// view returns a view of the group of buckets, pinned: no content that it shows is collected until unpin is called.
func (c *Coordinator) view(ctx context.Context) (v *group.View, unpin func(), err error) {
	p := new(pin)
	c.mu.Lock()
	c.pins[p] = c.Data.Group().Applied()
	c.mu.Unlock()
	unpin = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.pins, p)
	}
	if v, err = c.Data.Group().Read(ctx); err != nil {
		unpin()
		return nil, nil, err
	}
	return v, unpin, nil
}

// bucket finds a bucket that is not being created. KindNoSuchBucket comes from a linearizable read of the root group.
func (c *Coordinator) bucket(ctx context.Context, name engine.BucketName) (meta.BucketRecord, error) {
	if err := engine.CheckBucketName(name); err != nil {
		return meta.BucketRecord{}, err
	}
	if err := ctx.Err(); err != nil {
		return meta.BucketRecord{}, err
	}
	record, err := meta.LookupBucket(c.Root.Group().Rows(ctx), name)
	if err == meta.ErrAbsent || err == nil && record.State == meta.BucketCreating {
		return record, engine.E(engine.KindNoSuchBucket, "there is no bucket %q", name)
	}
	return record, rowError(err)
}

// rowError gives errors of stores their Kind; those of a group have one.
func rowError(err error) error {
	var typed *engine.Error
	if err == nil || errors.As(err, &typed) {
		return err
	}
	return engine.E(engine.KindUnavailable, "the metadata cannot be read: %w", err)
}

// locate checks a reference and finds its bucket.
func (c *Coordinator) locate(ctx context.Context, ref engine.Ref) (meta.BucketRecord, error) {
	if err := checkRef(ref); err != nil {
		return meta.BucketRecord{}, err
	}
	return c.bucket(ctx, ref.Bucket)
}

func checkRef(ref engine.Ref) error {
	if err := engine.CheckKey(ref.Key); err != nil {
		return err
	}
	return engine.CheckVersion(ref.Version)
}

// locateWrite is locate for what makes a version, and so cannot name one.
func (c *Coordinator) locateWrite(ctx context.Context, ref engine.Ref) (meta.BucketRecord, error) {
	if ref.Version != "" {
		return meta.BucketRecord{}, engine.E(engine.KindInvalidArgument, "a write names version %q; it makes a version and cannot name one", string(ref.Version))
	}
	return c.locate(ctx, ref)
}

// condemn gives up extents that a failed write left, and deletes their shards when the group has confirmed that they never will be used.
// Without an answer they are kept: the sweep finds them once the epoch is closed.
func (c *Coordinator) condemn(extents []meta.Extent) {
	if len(extents) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.cleanup.Add(1)
	go func() {
		defer c.cleanup.Done()
		ctx, cancel := context.WithTimeout(c.base, time.Minute)
		defer cancel()
		ids := make([]engine.ExtentID, len(extents))
		for i := range extents {
			ids[i] = extents[i].ID
		}
		answer, _, err := c.Data.Do(ctx, &meta.Condemn{Extents: ids})
		if err != nil || len(answer.Used) != len(extents) {
			return
		}
		for i := range extents {
			if !answer.Used[i] {
				c.deleteShards(ctx, &extents[i])
			}
		}
	}()
}

func (c *Coordinator) deleteShards(ctx context.Context, x *meta.Extent) {
	for i, drive := range x.Drives {
		if store := c.Drives.Store(drive); store != nil {
			id := engine.ShardID{Extent: x.ID, Index: uint8(i)}
			if err := store.DeleteShards(ctx, []engine.ShardID{id}); err != nil {
				c.Logger.Warn("a shard of a failed write stays until the next sweep", "shard", id, "drive", drive, "error", err)
			}
		}
	}
}
