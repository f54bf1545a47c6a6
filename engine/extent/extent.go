// Package extent writes the shards of an extent and reads its data back, whatever happens to some of the drives meanwhile.
//
//	NewWriter ─► Write(block) … ─► Commit      encode ─► k+m shards at once ─► all synced, the failed ones re-made on spare drives
//	Read                                       the data shards' ranges ─► any k where one is missing, bad or slow
//	Rebuild                                    one shard from any k others, a piece at a time
//	Copy                                       one shard from the drive that has it to another
//
// Promise: Commit returns without an error only when every shard is durable, except those whose drives are out, and then never fewer than
// the floor of an acknowledgement (meta.AcknowledgeFloor). Read returns the bytes that were written or an error; every byte has passed the
// check of its store. A drive that hangs costs a bounded time, not the operation.
//
// A store's call cannot be interrupted. One that hangs is given up: its goroutine ends when the call returns, having put its memory back
// and aborted its shard; until then it touches nothing that the caller owns, except the block of a Write, see Writer.Stuck.
//
// The package does not know what a drive is, how drives are chosen, which extents are in use, or what the bytes mean. It takes no leases
// on memory: its callers do, by WriteBytes and ReadBytes.
package extent

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"holdfast/engine"
	"holdfast/engine/erasure"
)

const (
	// ShardWait is how long a shard may take to be made, to write a piece, to read one, or to commit, while others are done.
	ShardWait = 10 * time.Second
	// ShardsMax bounds k+m, so that a set of shards fits 64 bits.
	ShardsMax = 64

	stallMax  = 3 * ShardWait          // a step of a writer in which fewer than k shards succeed
	stepTick  = 250 * time.Millisecond // how often a writer looks whether a late shard's drive is out
	hedgeMin  = 50 * time.Millisecond
	hedgeMax  = 2 * time.Second
	unitBytes = erasure.UnitBytes
)

// ShardWriter writes one shard. It has one user at a time, who ends with Commit or Abort.
type ShardWriter interface {
	// Write appends p, and the checksums of the units of 64 KiB that begin in p. It does not keep p or sums.
	Write(p []byte, sums []uint64) error
	// Commit makes the shard durable and visible as a whole. If ctx ends first the outcome is open.
	Commit(ctx context.Context) error
	// Abort gives up a shard that was not committed.
	Abort()
}

// ShardStore keeps shards: a drive, here or on another node. It is safe for concurrent use.
type ShardStore interface {
	// CreateShard begins a shard of at most bytes bytes. KindDriveFull without room.
	CreateShard(id engine.ShardID, bytes int64) (ShardWriter, error)
	// NewShard is CreateShard for a shard that the store never had: nothing is replaced, and until Commit has returned nobody counts on it.
	NewShard(id engine.ShardID, bytes int64) (ShardWriter, error)
	// ReadShard fills dst with the shard's bytes from off on, after their checksums have proven them; on an error dst is arbitrary.
	ReadShard(id engine.ShardID, off int64, dst []byte) error
	// VerifyShard is ReadShard of what the disk itself has, whatever a cache says. Off and the end of the range are multiples of 64 KiB, or the
	// shard's end; what dst has room for beyond its length may be written over.
	VerifyShard(id engine.ShardID, off int64, dst []byte) error
	// DeleteShards deletes shards durably; absent ones are no error.
	DeleteShards(ctx context.Context, ids []engine.ShardID) error
}

// Stores finds the store of a drive. It is safe for concurrent use.
type Stores interface {
	// Store returns nil if the drive is unknown or failed.
	Store(engine.DriveID) ShardStore
}

// WriteBytes returns the bytes of buffers that a Writer of an extent of size data bytes holds besides the caller's blocks. Re-making a
// shard at Commit takes k+1 pieces more for its time.
func WriteBytes(c *erasure.Code, size int64) int64 {
	return int64(c.Parity()) * int64(c.PieceOf(int(min(size, int64(c.Block())))))
}

// ReadBytes returns the bytes of buffers that a Read of length bytes holds besides dst, unless several of its shards are slow at once.
func ReadBytes(c *erasure.Code, length int) int64 {
	perShard := int64(min(length, c.Piece()))
	blocks := int64(min(blocksAhead, length/c.Block()+1))
	return blocks * perShard * int64(c.Shards())
}

// Latency is the moving average of how long a store takes to read, from which a Read learns when a shard is slow. The zero value is ready; it
// is safe for concurrent use, and meant to be shared by all reads of a process.
type Latency struct{ average atomic.Int64 }

// observe counts one read. Two at once may count as one, which an average bears.
func (l *Latency) observe(d time.Duration) {
	if l != nil {
		old := l.average.Load()
		l.average.Store(old + (int64(d)-old)/8)
	}
}

// hedge returns how long to wait before other shards are asked too.
func (l *Latency) hedge() time.Duration {
	if l == nil {
		return hedgeMin
	}
	return min(max(hedgeMin, 4*time.Duration(l.average.Load())), hedgeMax)
}

func name(id engine.ExtentID) string { return fmt.Sprintf("%d.%d.%d", id.Group, id.Epoch, id.Counter) }

func noStore(drive engine.DriveID) error {
	return engine.E(engine.KindUnavailable, "drive %d is unknown or has failed", drive)
}

func canceled(what string, id engine.ExtentID, ctx context.Context) error {
	return engine.E(engine.KindCanceled, "%s extent %s: %w", what, name(id), context.Cause(ctx))
}

func checkShape(c *erasure.Code, id engine.ExtentID, size int64, drives []engine.DriveID) error {
	if size < 1 || c.Shards() > ShardsMax || len(drives) != c.Shards() {
		return engine.E(engine.KindInvalidArgument, "extent %s of %d bytes, %d+%d, on %d drives: at least one byte, at most %d shards and a drive for each are needed",
			name(id), size, c.Data(), c.Parity(), len(drives), ShardsMax)
	}
	return nil
}

// A call of a store that may hang is running until it returns or its owner gives it up; whoever comes second cleans up.
const (
	stateRunning int32 = iota
	stateReturned
	stateGivenUp
)

// Within calls f, which asks a store for something, and waits for it at most ShardWait, and not beyond ctx. If f is given up, late is called when
// it has returned: a drive that hangs holds up nobody but what it was lent. KindUnavailable, KindCanceled, or f's error.
func Within(ctx context.Context, f func() error, late func()) error {
	var state atomic.Int32
	done := make(chan error, 1)
	go func() {
		err := f()
		if state.CompareAndSwap(stateRunning, stateReturned) {
			done <- err
		} else {
			late()
		}
	}()
	limit := time.NewTimer(ShardWait)
	defer limit.Stop()
	var err error
	select {
	case err = <-done:
		return err
	case <-limit.C:
		err = engine.E(engine.KindUnavailable, "no answer within %v", ShardWait)
	case <-ctx.Done():
		err = engine.E(engine.KindCanceled, "%w", context.Cause(ctx))
	}
	if !state.CompareAndSwap(stateRunning, stateGivenUp) {
		return <-done
	}
	return &hung{err}
}

// hung says that a call was given up and still uses its memory.
type hung struct{ err error }

// GivenUp reports whether an error of Within says that the call is still under way.
func GivenUp(err error) bool {
	var h *hung
	return errors.As(err, &h)
}

func (h *hung) Error() string { return h.err.Error() }
func (h *hung) Unwrap() error { return h.err }
