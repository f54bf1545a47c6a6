package memory

import (
	"context"
	"strings"

	"holdfast/engine"
)

// List returns a page of keys and common prefixes in byte order.
func (e *Engine) List(ctx context.Context, name engine.BucketName, o engine.ListOptions) (engine.ObjectPage, error) {
	p, err := e.list(ctx, name, o)
	return p, engine.Wrap("list", engine.Ref{Bucket: name}, err)
}

func (e *Engine) list(ctx context.Context, name engine.BucketName, o engine.ListOptions) (p engine.ObjectPage, err error) {
	limit, err := page(o.Max)
	if err == nil {
		err = ready(ctx, name)
	}
	if err != nil {
		return p, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	b, err := e.find(name)
	if err != nil {
		return p, err
	}
	selects := selector{o.Prefix, o.Delimiter, o.After}
	b.objects.AscendGreaterOrEqual(&object{info: engine.ObjectInfo{Key: engine.Key(o.Prefix)}}, func(current *object) bool {
		key := string(current.info.Key)
		if !strings.HasPrefix(key, o.Prefix) {
			return false
		}
		common, ok := selects.rollUp(key)
		if !ok || common != "" && common == p.Last {
			return true
		}
		if len(p.Objects)+len(p.Prefixes) == limit {
			p.Truncated = true
			return false
		}
		if common != "" {
			p.Prefixes, p.Last = append(p.Prefixes, common), common
		} else {
			p.Objects, p.Last = append(p.Objects, listed(current, o.Attributes)), key
		}
		return true
	})
	return p, nil
}

// selector decides which keys a listing is about.
type selector struct{ prefix, delimiter, after string }

// rollUp returns the common prefix of a key that begins with the prefix, "" if it stands for itself. ok is false for what lies
// before the page: keys up to after, and those rolled up into it.
func (s selector) rollUp(key string) (common string, ok bool) {
	if s.delimiter != "" {
		if i := strings.Index(key[len(s.prefix):], s.delimiter); i >= 0 {
			common = key[:len(s.prefix)+i+len(s.delimiter)]
		}
	}
	return common, key > s.after && (common == "" || common != s.after)
}

func listed(o *object, attributes bool) engine.ObjectInfo {
	info := clone(o.info)
	if !attributes {
		info.Attributes, info.Checksum, info.Parts = engine.Attributes{}, engine.Checksum{}, 0
	}
	return info
}
