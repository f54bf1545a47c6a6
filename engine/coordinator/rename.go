package coordinator

import (
	"context"

	"holdfast/engine"
	"holdfast/engine/meta"
	"holdfast/observe"
)

var stepRename = observe.NewStep("coordinator: the command of a rename is decided")

// Rename implements engine.Objects.
func (c *Coordinator) Rename(ctx context.Context, from, to engine.Ref, o engine.RenameOptions) (engine.ObjectInfo, error) {
	info, err := c.rename(ctx, from, to, o)
	return info, engine.Wrap("rename", from, err)
}

func (c *Coordinator) rename(ctx context.Context, from, to engine.Ref, o engine.RenameOptions) (info engine.ObjectInfo, err error) {
	if err := engine.CheckRename(from, to, o); err != nil {
		return info, err
	}
	if err := checkWrite(&o.If); err != nil {
		return info, err
	}
	if err := checkRef(from); err != nil {
		return info, err
	}
	record, err := c.locateWrite(ctx, to)
	if err != nil {
		return info, err
	}
	stepRename.Enter()
	answer, _, err := c.Data.Do(ctx, &meta.Rename{
		Bucket: record.ID, Key: to.Key, From: meta.Source{Bucket: record.ID, Key: from.Key, If: o.From}, If: o.If, Token: o.Token,
	})
	stepRename.Leave()
	if err != nil {
		return info, err
	}
	return made(to, &answer), nil
}

// RenamePrefix implements engine.Objects.
func (c *Coordinator) RenamePrefix(ctx context.Context, bucket engine.BucketName, from, to string) (engine.PrefixInfo, error) {
	info, err := c.renamePrefix(ctx, bucket, from, to)
	return info, engine.Wrap("rename prefix", engine.Ref{Bucket: bucket, Key: engine.Key(from)}, err)
}

func (c *Coordinator) renamePrefix(ctx context.Context, bucket engine.BucketName, from, to string) (info engine.PrefixInfo, err error) {
	if err := engine.CheckRenamePrefix(from, to); err != nil {
		return info, err
	}
	record, err := c.bucket(ctx, bucket)
	if err != nil {
		return info, err
	}
	stepRename.Enter()
	answer, _, err := c.Data.Do(ctx, &meta.RenamePrefix{Bucket: record.ID, From: from, To: to})
	stepRename.Leave()
	if err != nil {
		return info, err
	}
	return engine.PrefixInfo{Objects: answer.Content, Versions: answer.Left, Bytes: uint64(answer.Size)}, nil
}
