package drive

import (
	"errors"
	"fmt"

	"holdfast/engine"
	"holdfast/engine/checksum"
)

// What errors.Is finds in the errors of this package.
var (
	// ErrUnformatted: the folder is empty, or holds a Format that did not finish.
	ErrUnformatted = errors.New("the folder is not formatted")
	// ErrForeign: the folder holds something that is not ours.
	ErrForeign = errors.New("the folder holds other files; it is not a drive")
	// ErrNewer: a later version of Holdfast wrote it.
	ErrNewer = engine.ErrNewer
	// ErrDamaged: what the drive acknowledged is not all there. It is to be replaced and repaired from its peers.
	ErrDamaged = errors.New("the drive is damaged")
	// ErrLocked: another process has it open.
	ErrLocked = errors.New("the drive is in use by another process")
	// ErrFailed: an earlier write or sync failed, and nothing is believed since.
	ErrFailed = errors.New("the drive has failed")
	// ErrClosed: the drive was closed.
	ErrClosed = errors.New("the drive is closed")
	// ErrNoShard: the drive has no such shard.
	ErrNoShard = errors.New("no such shard")
	// ErrBadShard: bytes of the shard fail their checksum; errors.As finds a *BadShard.
	ErrBadShard = errors.New("bad shard")
)

// BadShard names the first unit of 64 KiB of a shard that is not what was written.
type BadShard struct {
	ID   engine.ShardID
	Unit int
}

func (e *BadShard) Error() string {
	return fmt.Sprintf("shard %s: unit %d fails its checksum", shardString(e.ID), e.Unit)
}

// Is makes a *BadShard an ErrBadShard.
func (e *BadShard) Is(target error) bool { return target == ErrBadShard }

func damaged(format string, args ...any) error {
	return engine.E(engine.KindDamaged, "%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

func newer(what string, version uint32) error {
	return engine.Newer(what, uint64(version), FormatVersion)
}

func noShard(id engine.ShardID) error {
	return engine.E(engine.KindDamaged, "shard %s: %w", shardString(id), ErrNoShard)
}

func badShard(id engine.ShardID, unit int) error {
	return engine.E(engine.KindDamaged, "%w", &BadShard{ID: id, Unit: unit})
}

func shardString(id engine.ShardID) string {
	return fmt.Sprintf("%d.%d.%d/%d", id.Extent.Group, id.Extent.Epoch, id.Extent.Counter, id.Index)
}

func unitsOf(bytes int64) int { return checksum.Units(bytes) }
