package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"holdfast/engine"
	"holdfast/engine/node"
)

// Notes of removals, as those of changes_test.go.
const (
	notePrefixGone  = "note: the prefix was removed"
	noteBucketGone  = "note: the bucket was removed by force"
	noteBucketAgain = "note: the bucket was made again"
)

// removed are keys beneath the prefix that is removed, inline and in extents.
var removed = []engine.Key{"gone/", "gone/a", "gone/b/c", "gone/b/d", "gone/b//e/f"}

const forcedBucket = "forced"

func putRemoved(ctx context.Context, n *node.Node, bucket engine.BucketName, key engine.Key, size int) error {
	_, err := n.Put(ctx, engine.Ref{Bucket: bucket, Key: key}, bytes.NewReader(make([]byte, size)), engine.PutOptions{Size: int64(size)})
	return err
}

// prepareRemoval fills a prefix, and another bucket that keeps versions.
func prepareRemoval(ctx context.Context, n *node.Node, states model) error {
	if err := some(ctx, n, states); err != nil {
		return err
	}
	if _, err := n.CreateBucket(ctx, forcedBucket, engine.CreateBucketOptions{}); err != nil {
		return err
	}
	if err := n.SetVersioning(ctx, forcedBucket, engine.VersioningEnabled); err != nil {
		return err
	}
	var errs []error
	for i, key := range removed {
		errs = append(errs, putRemoved(ctx, n, "bucket", key, 6000*i), putRemoved(ctx, n, forcedBucket, key, 6000*i), putRemoved(ctx, n, forcedBucket, "k", 9000+i))
	}
	return errors.Join(errs...)
}

// removeBoth removes the prefix and the bucket, makes both anew, and has what is left taken apart.
func removeBoth(ctx context.Context, n *node.Node, states model) error {
	if _, err := n.RemovePrefix(ctx, "bucket", "gone/"); err != nil {
		return err
	}
	states.set(notePrefixGone, noteAnswered)
	if err := n.DeleteBucket(ctx, forcedBucket, engine.DeleteBucketOptions{Force: true}); err != nil {
		return err
	}
	states.set(noteBucketGone, noteAnswered)
	if _, err := n.CreateBucket(ctx, forcedBucket, engine.CreateBucketOptions{}); err != nil {
		return err
	}
	states.set(noteBucketAgain, noteAnswered)
	return errors.Join(putRemoved(ctx, n, "bucket", "gone/anew", 9000), quiet(ctx, n))
}

// removedWhole says that a removal happened as a whole or not at all, that an acknowledged one happened, and that nothing but it did.
func removedWhole(ctx context.Context, n *node.Node, states model) error {
	page, err := n.List(ctx, "bucket", engine.ListOptions{Prefix: "gone/"})
	if err != nil {
		return err
	}
	there, anew := 0, 0
	for _, o := range page.Objects {
		if o.Key == "gone/anew" {
			anew++
			continue
		}
		there++
		if _, err := read(ctx, n, o.Key); err != nil {
			return err
		}
	}
	if there != 0 && there != len(removed) || there > 0 && (states.get(notePrefixGone) != nil || anew > 0) {
		return fmt.Errorf("%d of %d objects beneath the prefix are there; its removal is acknowledged: %v", there, len(removed), states.get(notePrefixGone))
	}
	versions, err := n.ListVersions(ctx, forcedBucket, engine.ListVersionsOptions{})
	switch {
	case engine.Is(err, engine.KindNoSuchBucket) && there == 0 && states.get(noteBucketAgain) == nil:
		return nil
	case err != nil:
		return err
	}
	if got := len(versions.Versions); got != 0 && got != 2*len(removed) || got > 0 && states.get(noteBucketGone) != nil || got == 0 && there > 0 {
		return fmt.Errorf("%d of %d versions in the bucket are there; its deletion is acknowledged: %v", got, 2*len(removed), states.get(noteBucketGone))
	}
	return nil
}

// emptyOfTrash is removedWhole once the keepers are done: no row is left of what was removed.
func emptyOfTrash(ctx context.Context, n *node.Node, states model) error {
	if err := removedWhole(ctx, n, states); err != nil {
		return err
	}
	if err := quiet(ctx, n); err != nil {
		return err
	}
	census, err := n.Check(ctx)
	if err == nil && census[1].Detached > 0 {
		return fmt.Errorf("%d directories are left under trash", census[1].Detached)
	}
	return err
}
