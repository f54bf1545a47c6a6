package memory

import (
	"bytes"
	"context"
	"slices"

	"holdfast/engine"
)

// SetTags replaces the tags of a version.
func (e *Engine) SetTags(ctx context.Context, ref engine.Ref, tags engine.Tags) (engine.ObjectInfo, error) {
	info, err := e.setTags(ctx, ref, tags)
	return info, engine.Wrap("set tags", ref, err)
}

func (e *Engine) setTags(ctx context.Context, ref engine.Ref, tags engine.Tags) (info engine.ObjectInfo, err error) {
	if err := engine.CheckTags(tags); err != nil {
		return info, err
	}
	if err := readyKey(ctx, ref); err != nil {
		return info, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(ref.Bucket)
	if err != nil {
		return info, err
	}
	before, err := b.readable(ref)
	if err != nil {
		return info, err
	}
	tagged := *before
	tagged.info.Tags = tags
	return e.exchange(b, engine.ChangeTags, before, &tagged), nil
}

// Parts returns a page of the parts of which an upload made the version.
func (e *Engine) Parts(ctx context.Context, ref engine.Ref, o engine.ListPartsOptions) (engine.VersionPartPage, error) {
	p, err := e.listVersionParts(ctx, ref, o)
	return p, engine.Wrap("parts", ref, err)
}

func (e *Engine) listVersionParts(ctx context.Context, ref engine.Ref, o engine.ListPartsOptions) (p engine.VersionPartPage, err error) {
	limit, err := page(o.Max)
	if err != nil {
		return p, err
	}
	version, err := e.current(ctx, ref, engine.Conditions{})
	if err != nil {
		return p, err
	}
	p.Info = clone(version.info)
	for _, part := range version.parts {
		switch {
		case part.Number <= o.After:
		case len(p.Parts) == limit:
			p.Truncated = true
			return p, nil
		default:
			part.Checksum.Sum = slices.Clone(part.Checksum.Sum)
			p.Parts = append(p.Parts, part)
		}
	}
	return p, nil
}

// Document returns what SetDocument kept last.
func (e *Engine) Document(ctx context.Context, name engine.BucketName, document string) (value []byte, err error) {
	if err = engine.CheckDocument(document, nil); err == nil {
		err = ready(ctx, name)
	}
	if err == nil {
		e.mu.RLock()
		defer e.mu.RUnlock()
		var b *bucket
		if b, err = e.find(name); err == nil {
			value = bytes.Clone(b.documents[document])
		}
	}
	return value, engine.Wrap("document", engine.Ref{Bucket: name}, err)
}

// SetDocument keeps a value with a bucket.
func (e *Engine) SetDocument(ctx context.Context, name engine.BucketName, document string, value []byte) error {
	return engine.Wrap("set document", engine.Ref{Bucket: name}, e.setDocument(ctx, name, document, value))
}

func (e *Engine) setDocument(ctx context.Context, name engine.BucketName, document string, value []byte) error {
	if err := engine.CheckDocument(document, value); err != nil {
		return err
	}
	if err := ready(ctx, name); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(name)
	if err != nil {
		return err
	}
	if b.documents[document] = bytes.Clone(value); len(value) == 0 {
		delete(b.documents, document)
	}
	e.raise(b, engine.ChangeDocument, "").doneBucket(document)
	return nil
}
