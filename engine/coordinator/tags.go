package coordinator

import (
	"context"

	"holdfast/engine"
	"holdfast/engine/meta"
	"holdfast/observe"
)

var (
	stepTags     = observe.NewStep("coordinator: the command of a change of tags is decided")
	stepDocument = observe.NewStep("coordinator: the command of a bucket's document is decided")
)

// SetTags implements engine.Objects.
func (c *Coordinator) SetTags(ctx context.Context, ref engine.Ref, tags engine.Tags) (engine.ObjectInfo, error) {
	info, err := c.setTags(ctx, ref, tags)
	return info, engine.Wrap("set tags", ref, err)
}

func (c *Coordinator) setTags(ctx context.Context, ref engine.Ref, tags engine.Tags) (info engine.ObjectInfo, err error) {
	if err := engine.CheckTags(tags); err != nil {
		return info, err
	}
	record, err := c.locate(ctx, ref)
	if err != nil {
		return info, err
	}
	if _, err := c.stat(ctx, ref, engine.StatOptions{}); err != nil {
		return info, err // it tells more than the group would, which judges again
	}
	defer stepTags.Enter().Leave()
	answer, _, err := c.Data.Do(ctx, &meta.SetTags{Bucket: record.ID, Key: ref.Key, Version: ref.Version, Tags: tags})
	if err != nil {
		return info, err
	}
	return made(ref, &answer), nil
}

// Document implements engine.Buckets.
func (c *Coordinator) Document(ctx context.Context, name engine.BucketName, document string) ([]byte, error) {
	value, err := c.document(ctx, name, document)
	return value, engine.Wrap("document", engine.Ref{Bucket: name}, err)
}

func (c *Coordinator) document(ctx context.Context, name engine.BucketName, document string) ([]byte, error) {
	if err := engine.CheckDocument(document, nil); err != nil {
		return nil, err
	}
	record, view, err := c.bucketView(ctx, name)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	value, err := meta.LoadDocument(view, record.ID, document)
	return value, rowError(err)
}

// SetDocument implements engine.Buckets.
func (c *Coordinator) SetDocument(ctx context.Context, name engine.BucketName, document string, value []byte) error {
	return engine.Wrap("set document", engine.Ref{Bucket: name}, c.setDocument(ctx, name, document, value))
}

func (c *Coordinator) setDocument(ctx context.Context, name engine.BucketName, document string, value []byte) error {
	if err := engine.CheckDocument(document, value); err != nil {
		return err
	}
	record, err := c.bucket(ctx, name)
	if err != nil {
		return err
	}
	defer stepDocument.Enter().Leave()
	_, _, err = c.Data.Do(ctx, &meta.SetDocument{Bucket: record.ID, Name: document, Value: value})
	return err
}

// Parts implements engine.Objects.
func (c *Coordinator) Parts(ctx context.Context, ref engine.Ref, o engine.ListPartsOptions) (engine.VersionPartPage, error) {
	page, err := c.parts(ctx, ref, o)
	return page, engine.Wrap("parts", ref, err)
}

func (c *Coordinator) parts(ctx context.Context, ref engine.Ref, o engine.ListPartsOptions) (page engine.VersionPartPage, err error) {
	if err := checkRef(ref); err != nil {
		return page, err
	}
	record, view, err := c.bucketView(ctx, ref.Bucket)
	if err != nil {
		return page, err
	}
	defer view.Close()
	object, err := lookup(view, record.ID, ref)
	if err != nil {
		return page, err
	}
	if page.Info = object.Info; object.Info.Parts == 0 {
		return page, nil
	}
	if o.Max <= 0 || o.Max > engine.PageMax {
		o.Max = engine.PageMax
	}
	page.Parts, page.Truncated, err = meta.ListVersionParts(view, object.Content, o.After, o.Max)
	return page, rowError(err)
}
