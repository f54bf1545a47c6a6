package coordinator

import (
	"context"

	"holdfast/engine"
	"holdfast/engine/meta"
	"holdfast/observe"
)

var stepRemove = observe.NewStep("coordinator: the command that removes a prefix or a bucket is decided")

// RemovePrefix implements engine.Objects.
func (c *Coordinator) RemovePrefix(ctx context.Context, bucket engine.BucketName, prefix string) (engine.PrefixInfo, error) {
	info, err := c.removePrefix(ctx, bucket, prefix)
	return info, engine.Wrap("remove prefix", engine.Ref{Bucket: bucket, Key: engine.Key(prefix)}, err)
}

func (c *Coordinator) removePrefix(ctx context.Context, bucket engine.BucketName, prefix string) (info engine.PrefixInfo, err error) {
	if err := engine.CheckRemovePrefix(prefix); err != nil {
		return info, err
	}
	record, err := c.bucket(ctx, bucket)
	if err != nil {
		return info, err
	}
	stepRemove.Enter()
	answer, _, err := c.Data.Do(ctx, &meta.RemovePrefix{Bucket: record.ID, Prefix: prefix})
	stepRemove.Leave()
	if err != nil {
		return info, err
	}
	return engine.PrefixInfo{Objects: answer.Content, Versions: answer.Left, Bytes: uint64(answer.Size)}, nil
}
