// Package extent writes and reads extents: immutable runs of at most 64 MiB of data, coded into k+m shards on as many drives.
//
// Promise: a Writer's Commit that returns nil means that every shard but those it names is synced on its drive, and that those it
// names belong to drives that are out. Read returns only bytes that checksums have proven, from any k shards.
//
// It knows drives only as ShardStores, and nothing of objects or groups.
package extent

import (
	"context"

	"holdfast/engine"
	"holdfast/engine/buffer"
	"holdfast/engine/erasure"
)

// ShardWriter takes the bytes of one shard in order; sums are the checksums of the 64 KiB units that end with each piece or with the shard.
type ShardWriter interface {
	Write(p []byte, sums []uint64) error
	// Commit makes the shard durable.
	Commit(ctx context.Context) error
	// Abort gives the room back; after Commit it does nothing.
	Abort()
}

// ShardStore is a drive as this package sees it.
type ShardStore interface {
	// CreateShard reserves room for a shard; one of that name is replaced at Commit.
	CreateShard(id engine.ShardID, bytes int64) (ShardWriter, error)
	// ReadShard fills dst with proven bytes from off on, or fails.
	ReadShard(id engine.ShardID, off int64, dst []byte) error
	// DeleteShards deletes shards durably; absent ones are no error.
	DeleteShards(ctx context.Context, ids []engine.ShardID) error
}

// Stores finds the store of a drive; nil if the drive is unknown, failed or not at hand.
type Stores interface {
	Store(drive engine.DriveID) ShardStore
}

// Config describes an extent to be written.
type Config struct {
	Stores Stores
	Pool   *buffer.Pool
	Code   *erasure.Code
	ID     engine.ExtentID
	Size   int64            // exact number of data bytes
	Drives []engine.DriveID // one for each shard
	// Spare returns a drive for a shard whose own failed, or false.
	Spare func(exclude []engine.DriveID) (engine.DriveID, bool)
	// Out reports whether a drive is out by a committed command: only then may its shard be missing.
	Out func(engine.DriveID) bool
}

// Result is where the shards of a written extent are. Bit i of Missing says that shard i is not on its drive.
type Result struct {
	Drives  []engine.DriveID
	Missing uint64
}

// Source describes an extent to be read. Bits of Missing name shards that need not be tried.
type Source struct {
	Stores  Stores
	Pool    *buffer.Pool
	Code    *erasure.Code
	ID      engine.ExtentID
	Size    int64
	Drives  []engine.DriveID
	Missing uint64
	// Report is told of shards that should have been there and could not be read; nil is possible.
	Report func(shard int, err error)
}

func (s *Source) shard(i int) engine.ShardID { return engine.ShardID{Extent: s.ID, Index: uint8(i)} }
