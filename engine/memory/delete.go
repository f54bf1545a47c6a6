package memory

import (
	"context"

	"holdfast/engine"
)

// Delete removes the object.
func (e *Engine) Delete(ctx context.Context, ref engine.Ref, o engine.DeleteOptions) (engine.DeleteResult, error) {
	r, err := e.delete(ctx, ref, o)
	return r, engine.Wrap("delete", ref, err)
}

func (e *Engine) delete(ctx context.Context, ref engine.Ref, o engine.DeleteOptions) (r engine.DeleteResult, err error) {
	if err := readyKey(ctx, ref); err != nil {
		return r, err
	}
	if err := checkConditions(o.If); err != nil {
		return r, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b, err := e.find(ref.Bucket)
	if err != nil {
		return r, err
	}
	found := b.version(ref)
	judged := found
	if found != nil && found.info.Marker {
		judged = nil
	}
	if err := judgeWrite(o.If, judged); err != nil {
		return r, err
	}
	r = engine.DeleteResult{Version: ref.Version, Existed: judged != nil || ref.Version != "" && found != nil}
	switch {
	case ref.Version == "" && b.versioning != engine.VersioningOff:
		marker := &object{info: engine.ObjectInfo{Marker: true}}
		e.push(b, ref.Key, marker)
		r.Version, r.Marker = marker.info.Version, true
	case found != nil:
		if why := found.info.Lock.Keeps(e.now(), o.Bypass); why != "" {
			return engine.DeleteResult{}, engine.E(engine.KindLocked, "%s", why)
		}
		r.Marker = found.info.Marker
		kind := engine.ChangeDeleted
		if b.versioning != engine.VersioningOff {
			kind = engine.ChangeVersionRemoved
		}
		n := e.raise(b, kind, ref.Key)
		if n != nil && kind == engine.ChangeVersionRemoved {
			n.Removed = found.info.Version
		}
		e.stamp(b)
		b.setVersions(ref.Key, without(b.versions(ref.Key), found.info.Version))
		n.done(found)
	}
	return r, nil
}
