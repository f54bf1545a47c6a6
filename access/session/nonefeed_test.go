package session_test

import (
	"context"

	"holdfast/engine"
)

func (n *none) OpenCursor(context.Context, engine.BucketName, string) (engine.Cursor, error) {
	return engine.Cursor{}, n.fail()
}

func (n *none) ListCursors(context.Context, engine.BucketName) ([]engine.Cursor, error) {
	return nil, n.fail()
}

func (n *none) Changes(context.Context, engine.BucketName, string, engine.ChangesOptions) (engine.ChangePage, error) {
	return engine.ChangePage{}, n.fail()
}

func (n *none) MoveCursor(context.Context, engine.BucketName, string, engine.Sequence) error {
	return n.fail()
}

func (n *none) ResetCursor(context.Context, engine.BucketName, string) (engine.Cursor, error) {
	return engine.Cursor{}, n.fail()
}

func (n *none) CloseCursor(context.Context, engine.BucketName, string) error {
	return n.fail()
}

func (n *none) Expand(context.Context, engine.BucketName, string, engine.Sequence, engine.ExpandOptions) (engine.ExpandPage, error) {
	return engine.ExpandPage{}, n.fail()
}
