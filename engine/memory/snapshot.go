package memory

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/google/btree"
)

// Clone returns an engine of its own that holds what e holds now, with the same clock. Versions and parts are immutable and shared, so that it is cheap.
func (e *Engine) Clone() *Engine {
	e.mu.RLock()
	defer e.mu.RUnlock()
	c := New(Clock(e.clock))
	c.lastID, c.uploads = e.lastID, e.uploads
	e.buckets.Ascend(func(b *bucket) bool {
		own := newBucket(b.info)
		own.sequence, own.last, own.versioning, own.lock, own.quota, own.documents = b.sequence, b.last, b.versioning, b.lock, b.quota, maps.Clone(b.documents)
		own.feed = b.feed.clone()
		own.lastNode, own.keys, own.directories, own.prefixes = b.lastNode, maps.Clone(b.keys), maps.Clone(b.directories), maps.Clone(b.prefixes)
		b.stacks.Ascend(func(s *stack) bool { own.stacks.ReplaceOrInsert(s); return true })
		b.uploads.Ascend(func(u *upload) bool {
			parts := btree.NewG(degree, func(a, b *part) bool { return a.info.Number < b.info.Number })
			u.parts.Ascend(func(p *part) bool { parts.ReplaceOrInsert(p); return true })
			own.uploads.ReplaceOrInsert(&upload{info: u.info, lock: u.lock, parts: parts})
			return true
		})
		c.buckets.ReplaceOrInsert(own)
		return true
	})
	return c
}

// Digest is the SHA-256 of everything that the engine holds: buckets with their versioning, locks and documents, all versions, directories and uploads with content,
// attributes, tags, locks and times, and the counters. Two digests are equal if no change was made between them.
func (e *Engine) Digest() [sha256.Size]byte {
	e.mu.RLock()
	defer e.mu.RUnlock()
	h := sha256.New()
	fmt.Fprintf(h, "%d %d\n", e.lastID, e.uploads)
	e.buckets.Ascend(func(b *bucket) bool {
		fmt.Fprintf(h, "bucket %+v %d %d %v %v %+v %+v %q %v\n", b.info, b.sequence, b.lastNode, b.last, b.versioning, b.lock, b.quota, b.documents, b.feed.cursors)
		b.stacks.Ascend(func(s *stack) bool {
			for _, o := range s.versions {
				fmt.Fprintf(h, "version %q %+v %q %+v %q %+v %d\n", s.key, o.info, o.upload, o.parts, o.token, o.node, o.content.size)
				for _, r := range o.content.runs {
					fmt.Fprintf(h, "run %d %d\n", r.offset, len(r.data))
					h.Write(r.data)
				}
			}
			return true
		})
		for _, prefix := range slices.Sorted(maps.Keys(b.directories)) {
			fmt.Fprintf(h, "directory %q %+v\n", prefix, b.directories[prefix])
		}
		b.uploads.Ascend(func(u *upload) bool {
			fmt.Fprintf(h, "upload %+v %+v\n", u.info, u.lock)
			u.parts.Ascend(func(p *part) bool {
				fmt.Fprintf(h, "part %+v %x %d\n", p.info, p.md5, len(p.data))
				h.Write(p.data)
				return true
			})
			return true
		})
		return true
	})
	return [sha256.Size]byte(h.Sum(nil))
}
