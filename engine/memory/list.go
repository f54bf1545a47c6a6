package memory

import (
	"context"
	"errors"
	"slices"
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
	b.stacks.AscendGreaterOrEqual(&stack{key: engine.Key(o.Prefix)}, func(s *stack) bool {
		key, current := string(s.key), s.versions[0]
		if !strings.HasPrefix(key, o.Prefix) {
			return false
		}
		if current.info.Marker {
			return true
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

// ListVersions returns a page of versions and common prefixes.
func (e *Engine) ListVersions(ctx context.Context, name engine.BucketName, o engine.ListVersionsOptions) (engine.VersionPage, error) {
	p, err := e.listVersions(ctx, name, o)
	return p, engine.Wrap("list versions", engine.Ref{Bucket: name}, err)
}

func (e *Engine) listVersions(ctx context.Context, name engine.BucketName, o engine.ListVersionsOptions) (p engine.VersionPage, err error) {
	limit, err := page(o.Max)
	if err == nil {
		err = errors.Join(ready(ctx, name), engine.CheckVersion(o.AfterVersion))
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
	selects := selector{o.Prefix, o.Delimiter, o.AfterKey}
	b.stacks.AscendGreaterOrEqual(&stack{key: engine.Key(o.Prefix)}, func(s *stack) bool {
		key, versions := string(s.key), s.versions
		if !strings.HasPrefix(key, o.Prefix) {
			return false
		}
		common, ok := selects.rollUp(key)
		if key == o.AfterKey && o.AfterVersion != "" && common == "" {
			versions, ok = olderThan(versions, o.AfterVersion), true
		}
		if !ok || common != "" && common == p.LastKey {
			return true
		}
		if common != "" {
			if p.Truncated = len(p.Versions)+len(p.Prefixes) == limit; p.Truncated {
				return false
			}
			p.Prefixes, p.LastKey, p.LastVersion = append(p.Prefixes, common), common, ""
			return true
		}
		for _, v := range versions {
			if p.Truncated = len(p.Versions)+len(p.Prefixes) == limit; p.Truncated {
				return false
			}
			info := listed(v, false)
			info.Latest = v == s.versions[0]
			p.Versions, p.LastKey, p.LastVersion = append(p.Versions, info), key, info.Version
		}
		return true
	})
	return p, nil
}

// olderThan returns the versions that are older than one, which need not be there any more; all of them for a null version that is gone.
func olderThan(versions []*object, id engine.VersionID) []*object {
	if s, ok := engine.ParseVersion(id); ok {
		return slices.DeleteFunc(slices.Clone(versions), func(o *object) bool { return o.info.Sequence >= s })
	}
	i := slices.IndexFunc(versions, func(o *object) bool { return o.info.Version == id })
	return versions[i+1:]
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
	info.Lock = engine.Lock{}
	if !attributes {
		info.Attributes, info.Tags, info.Checksum, info.Parts = engine.Attributes{}, nil, engine.Checksum{}, 0
	}
	return info
}
