package coordinator

import (
	"context"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// ownerNameMax is the longest name of an owner.
const ownerNameMax = 255

// OpenOwner implements engine.Owners.
func (c *Coordinator) OpenOwner(ctx context.Context, bucket engine.BucketName, name string) (engine.OwnerID, error) {
	id, err := c.openOwner(ctx, bucket, name)
	return id, engine.Wrap("open owner", engine.Ref{Bucket: bucket}, err)
}

func (c *Coordinator) openOwner(ctx context.Context, bucket engine.BucketName, name string) (engine.OwnerID, error) {
	if len(name) > ownerNameMax {
		return 0, engine.E(engine.KindInvalidArgument, "the name of an owner has %d bytes; at most %d are allowed", len(name), ownerNameMax)
	}
	record, err := c.bucket(ctx, bucket)
	if err != nil {
		return 0, err
	}
	answer, _, err := c.Data.Do(ctx, &meta.OpenOwner{Bucket: record.ID, Name: name})
	return engine.OwnerID(answer.Content), err
}

// RenewOwner implements engine.Owners.
func (c *Coordinator) RenewOwner(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID) ([]engine.NodeID, error) {
	nodes, err := c.renewOwner(ctx, bucket, owner)
	return nodes, engine.Wrap("renew owner", engine.Ref{Bucket: bucket}, err)
}

func (c *Coordinator) renewOwner(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID) ([]engine.NodeID, error) {
	record, err := c.bucket(ctx, bucket)
	if err != nil {
		return nil, err
	}
	answer, _, err := c.Data.Do(ctx, &meta.RenewOwner{Bucket: record.ID, Owner: owner})
	return answer.Nodes, err
}

// CloseOwner implements engine.Owners. What it does not finish the keeper does.
func (c *Coordinator) CloseOwner(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID) error {
	return engine.Wrap("close owner", engine.Ref{Bucket: bucket}, c.closeOwner(ctx, bucket, owner))
}

func (c *Coordinator) closeOwner(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID) error {
	record, err := c.bucket(ctx, bucket)
	for left := uint64(1); err == nil && left > 0; {
		var answer meta.Answer
		answer, _, err = c.Data.Do(ctx, &meta.CloseOwner{Bucket: record.ID, Owner: owner})
		left = answer.Left
	}
	return err
}

// HoldFile implements engine.Owners.
func (c *Coordinator) HoldFile(ctx context.Context, f engine.File, owner engine.OwnerID) (engine.FileInfo, error) {
	info, err := c.holdFile(ctx, f, owner, false)
	return info, engine.Wrap("hold", fileRef(f), err)
}

// ReleaseFile implements engine.Owners.
func (c *Coordinator) ReleaseFile(ctx context.Context, f engine.File, owner engine.OwnerID) error {
	_, err := c.holdFile(ctx, f, owner, true)
	return engine.Wrap("release", fileRef(f), err)
}

func (c *Coordinator) holdFile(ctx context.Context, f engine.File, owner engine.OwnerID, release bool) (info engine.FileInfo, err error) {
	record, err := c.bucket(ctx, f.Bucket)
	if err != nil {
		return info, err
	}
	ref := meta.NodeRef{Bucket: record.ID, Node: f.Node} // of a release the node may be gone
	if !release {
		if ref, err = c.ref(ctx, f); err != nil {
			return info, err
		}
	}
	return c.change(ctx, &meta.HoldFile{File: ref, Owner: owner, Release: release})
}

// MakeTemporary implements engine.Owners.
func (c *Coordinator) MakeTemporary(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID, o engine.MakeFileOptions) (engine.FileInfo, error) {
	info, err := c.makeTemporary(ctx, bucket, owner, o)
	return info, engine.Wrap("make temporary file", engine.Ref{Bucket: bucket}, err)
}

func (c *Coordinator) makeTemporary(ctx context.Context, bucket engine.BucketName, owner engine.OwnerID, o engine.MakeFileOptions) (info engine.FileInfo, err error) {
	if err := engine.CheckMakeFile(o); err != nil {
		return info, err
	}
	if o.Type != engine.TypeRegular {
		return info, engine.E(engine.KindInvalidArgument, "a temporary file is a regular one")
	}
	if o.Class == "" {
		o.Class = engine.ClassStandard
	}
	if err := c.storable(0, o.Class); err != nil {
		return info, err
	}
	record, err := c.bucket(ctx, bucket)
	if err != nil {
		return info, err
	}
	if owner == 0 {
		return info, engine.E(engine.KindExpired, "the owner 0 has ended; it never began")
	}
	return c.change(ctx, &meta.MakeFile{
		At: meta.PlaceRef{Bucket: record.ID}, Owner: owner, Attributes: o.Attributes, Class: o.Class, Clock: time.Now().UnixNano(),
	})
}

// LockFile implements engine.Owners.
func (c *Coordinator) LockFile(ctx context.Context, f engine.File, lock engine.FileLock) error {
	return engine.Wrap("lock", fileRef(f), c.lockFile(ctx, f, lock))
}

func (c *Coordinator) lockFile(ctx context.Context, f engine.File, lock engine.FileLock) error {
	if err := engine.CheckFileLock(lock); err != nil {
		return err
	}
	ref, err := c.ref(ctx, f)
	if err != nil {
		return err
	}
	answer, _, err := c.Data.Do(ctx, &meta.LockFile{File: ref, Lock: lock})
	if err != nil || !answer.Existed {
		return err
	}
	held, err := meta.ParseLock(answer.Node)
	if err != nil {
		return err
	}
	return engine.E(engine.KindHeld, "owner %d, process %d, has a lock from %d on that is in the way", held.Owner, held.Process, held.Start)
}

// TestLock implements engine.Owners.
func (c *Coordinator) TestLock(ctx context.Context, f engine.File, lock engine.FileLock) (held engine.FileLock, ok bool, err error) {
	if err := engine.CheckFileLock(lock); err != nil {
		return held, false, engine.Wrap("test lock", fileRef(f), err)
	}
	held, err = readFile(ctx, c, "test lock", f, func(view meta.View, found *meta.FileView) (engine.FileLock, error) {
		locks, err := meta.LoadLocks(view, found.Ref.Bucket, found.Info.Node)
		held, ok = engine.InTheWay(locks, lock)
		return held, err
	})
	return held, ok, err
}
