package coordinator

import (
	"context"

	"holdfast/engine"
	"holdfast/engine/meta"
	"holdfast/observe"
)

var stepCursor = observe.NewStep("coordinator: the command of a cursor is decided")

// wrapFeed is engine.Wrap for a call about a bucket's changes.
func wrapFeed(op string, bucket engine.BucketName, err error) error {
	return engine.Wrap(op, engine.Ref{Bucket: bucket}, err)
}

// pageOf returns the length of a page that was asked for.
func pageOf(limit int) (int, error) {
	switch {
	case limit < 0:
		return 0, engine.E(engine.KindInvalidArgument, "a page of %d items was asked for", limit)
	case limit == 0 || limit > engine.PageMax:
		return engine.PageMax, nil
	}
	return limit, nil
}

// cursor sends a command that is about a cursor of a bucket.
func (c *Coordinator) cursor(ctx context.Context, bucket engine.BucketName, name string, command func(id engine.BucketID) meta.Command) (at engine.Cursor, err error) {
	if err := engine.CheckCursorName(name); err != nil {
		return at, err
	}
	record, err := c.bucket(ctx, bucket)
	if err != nil {
		return at, err
	}
	defer stepCursor.Enter().Leave()
	answer, _, err := c.Data.Do(ctx, command(record.ID))
	if err != nil {
		return at, err
	}
	return engine.Cursor{Name: name, Position: engine.Sequence(answer.Left), Last: answer.Sequence, Lost: answer.Existed}, nil
}

func (c *Coordinator) moveCursor(ctx context.Context, bucket engine.BucketName, name string, move meta.CursorMove, to engine.Sequence) (engine.Cursor, error) {
	return c.cursor(ctx, bucket, name, func(id engine.BucketID) meta.Command {
		return &meta.MoveCursor{Bucket: id, Name: name, Move: move, To: to}
	})
}

// OpenCursor implements engine.Feed.
func (c *Coordinator) OpenCursor(ctx context.Context, bucket engine.BucketName, name string) (engine.Cursor, error) {
	at, err := c.cursor(ctx, bucket, name, func(id engine.BucketID) meta.Command { return &meta.OpenCursor{Bucket: id, Name: name} })
	return at, wrapFeed("open cursor", bucket, err)
}

// MoveCursor implements engine.Feed.
func (c *Coordinator) MoveCursor(ctx context.Context, bucket engine.BucketName, name string, to engine.Sequence) error {
	_, err := c.moveCursor(ctx, bucket, name, meta.CursorTo, to)
	return wrapFeed("move cursor", bucket, err)
}

// ResetCursor implements engine.Feed.
func (c *Coordinator) ResetCursor(ctx context.Context, bucket engine.BucketName, name string) (engine.Cursor, error) {
	at, err := c.moveCursor(ctx, bucket, name, meta.CursorReset, 0)
	return at, wrapFeed("reset cursor", bucket, err)
}

// CloseCursor implements engine.Feed.
func (c *Coordinator) CloseCursor(ctx context.Context, bucket engine.BucketName, name string) error {
	_, err := c.moveCursor(ctx, bucket, name, meta.CursorClose, 0)
	return wrapFeed("close cursor", bucket, err)
}

// ListCursors implements engine.Feed.
func (c *Coordinator) ListCursors(ctx context.Context, bucket engine.BucketName) ([]engine.Cursor, error) {
	list, err := readBucket(ctx, c, bucket, meta.ListCursors)
	return list, wrapFeed("list cursors", bucket, err)
}

// readBucket calls read with a view of its own.
func readBucket[T any](ctx context.Context, c *Coordinator, bucket engine.BucketName, read func(view meta.View, id engine.BucketID) (T, error)) (answer T, err error) {
	record, view, err := c.bucketView(ctx, bucket)
	if err != nil {
		return answer, err
	}
	defer view.Close()
	answer, err = read(view, record.ID)
	return answer, rowError(err)
}

// Changes implements engine.Feed. One that waits looks again whenever the group has applied more.
func (c *Coordinator) Changes(ctx context.Context, bucket engine.BucketName, name string, o engine.ChangesOptions) (engine.ChangePage, error) {
	page, err := c.changes(ctx, bucket, name, o)
	return page, wrapFeed("changes", bucket, err)
}

func (c *Coordinator) changes(ctx context.Context, bucket engine.BucketName, name string, o engine.ChangesOptions) (page engine.ChangePage, err error) {
	if err := engine.CheckCursorName(name); err != nil {
		return page, err
	}
	limit, err := pageOf(o.Max)
	if err != nil {
		return page, err
	}
	for {
		more := c.Data.Group().More() // before the look, so that nothing comes between
		page, err = readBucket(ctx, c, bucket, func(view meta.View, id engine.BucketID) (engine.ChangePage, error) {
			return meta.Changes(view, id, name, o.After, limit)
		})
		if err != nil || len(page.Changes) > 0 || !o.Wait {
			return page, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return page, ctx.Err()
		}
	}
}

// Expand implements engine.Feed.
func (c *Coordinator) Expand(ctx context.Context, bucket engine.BucketName, name string, change engine.Sequence, o engine.ExpandOptions) (engine.ExpandPage, error) {
	page, err := c.expand(ctx, bucket, name, change, o)
	return page, wrapFeed("expand change", bucket, err)
}

func (c *Coordinator) expand(ctx context.Context, bucket engine.BucketName, name string, change engine.Sequence, o engine.ExpandOptions) (page engine.ExpandPage, err error) {
	if err := engine.CheckCursorName(name); err != nil {
		return page, err
	}
	limit, err := pageOf(o.Max)
	if err != nil {
		return page, err
	}
	return readBucket(ctx, c, bucket, func(view meta.View, id engine.BucketID) (engine.ExpandPage, error) {
		return meta.Expand(view, id, name, change, o.After, limit)
	})
}
