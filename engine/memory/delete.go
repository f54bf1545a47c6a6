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
	var current *object
	if ref.Version == "" || ref.Version == versionNull {
		current = b.object(ref.Key)
	}
	if err := judgeWrite(o.If, current); err != nil || current == nil {
		return r, err
	}
	b.objects.Delete(current)
	b.sequence++
	e.stamp(b)
	return engine.DeleteResult{Version: versionNull, Existed: true}, nil
}
