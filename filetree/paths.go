package filetree

import (
	"context"
	"io"
	"iter"
	"path"
	"strings"

	"holdfast/engine"
)

// LinksFollowedMax is how many symbolic links a path may lead through.
const LinksFollowedMax = 40

// Node is what a path leads to. That of the top level, where a Tree has one, has an empty File and is a directory.
type Node struct {
	File engine.File
	Info engine.FileInfo
}

// top reports whether a node is the level above buckets.
func (n Node) top() bool { return n.File.Bucket == "" }

// Root returns the node that paths begin in.
func (t *Tree) Root(ctx context.Context) (Node, error) {
	if t.Bucket == "" {
		return Node{Info: engine.FileInfo{Type: engine.TypeDirectory, Links: 1}}, nil
	}
	return t.Node(ctx, engine.File{Bucket: t.Bucket, Node: engine.RootNode})
}

// Node describes a node as its handles see it: with what is not flushed.
func (t *Tree) Node(ctx context.Context, id engine.File) (Node, error) {
	f := t.find(id)
	if f == nil {
		info, err := t.Engine.StatFile(ctx, id)
		return Node{id, info}, err
	}
	defer f.leave(context.WithoutCancel(ctx))
	info, err := f.stat(ctx)
	return Node{id, info}, err
}

// Child finds what a directory has under a name; that of the top level has buckets. KindNoSuchKey, KindNoSuchBucket, KindNotDirectory.
func (t *Tree) Child(ctx context.Context, in Node, name string) (Node, error) {
	switch {
	case in.top():
		return t.Node(ctx, engine.File{Bucket: engine.BucketName(name), Node: engine.RootNode})
	case in.Info.Type != engine.TypeDirectory:
		return Node{}, engine.E(engine.KindNotDirectory, "%q is looked for in what is no directory", name)
	}
	info, err := t.Engine.Lookup(ctx, engine.Place{Bucket: in.File.Bucket, Directory: in.File.Node, Name: name}, "")
	if err != nil {
		return Node{}, err
	}
	return t.seen(engine.File{Bucket: in.File.Bucket, Node: info.Node}, info), nil
}

// seen is a node that the engine described, with what is not flushed.
func (t *Tree) seen(id engine.File, info engine.FileInfo) Node {
	if f := t.find(id); f != nil {
		f.mu.Lock()
		info = f.over(info)
		f.mu.Unlock()
		f.leave(t.ctx)
	}
	return Node{id, info}
}

// Walk finds what a path leads to: "bucket/directory/name", or without the bucket in the Tree of one. Slashes at its ends say nothing, ".." goes up
// by the text and never above the root, and symbolic links are not followed: one within the path is KindNotDirectory, one at its end is what is
// found.
func (t *Tree) Walk(ctx context.Context, p string) (Node, error) {
	n, err := t.Root(ctx)
	for _, name := range names(path.Clean("/" + p)) {
		if err != nil {
			break
		}
		n, err = t.Child(ctx, n, name)
	}
	return n, pathError("walk", p, err)
}

// Resolve is Walk that follows symbolic links, within the path and at its end, and goes up from where they lead. An absolute target begins at the root of the
// Tree, and none leads out of it. KindInvalidArgument beyond LinksFollowedMax links.
func (t *Tree) Resolve(ctx context.Context, p string) (Node, error) {
	n, err := t.resolve(ctx, p, true)
	return n, pathError("resolve", p, err)
}

// resolve follows symbolic links; one at the end if last is set.
func (t *Tree) resolve(ctx context.Context, p string, last bool) (Node, error) {
	root, err := t.Root(ctx)
	if err != nil {
		return root, err
	}
	way := []Node{root} // from the root to where the walk is
	followed := 0
	for rest := names(p); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		here := way[len(way)-1]
		if name == ".." {
			way = way[:max(1, len(way)-1)]
			continue
		}
		n, err := t.Child(ctx, here, name)
		if err != nil {
			return n, err
		}
		if n.Info.Type != engine.TypeSymlink || len(rest) == 0 && !last {
			way = append(way, n)
			continue
		}
		if followed++; followed > LinksFollowedMax {
			return n, engine.E(engine.KindInvalidArgument, "the path leads through more than %d symbolic links; they may go in a circle", LinksFollowedMax)
		}
		target, err := t.ReadlinkNode(ctx, n.File)
		if err != nil {
			return n, err
		}
		if strings.HasPrefix(target, "/") {
			way = way[:1]
		}
		rest = append(names(target), rest...)
	}
	return way[len(way)-1], nil
}

// names splits a path.
func names(p string) (parts []string) {
	for name := range strings.SplitSeq(p, "/") {
		if name != "" && name != "." {
			parts = append(parts, name)
		}
	}
	return parts
}

// place finds the directory of a path, symbolic links followed, and the name in it. The root and buckets have none: KindInvalidArgument.
func (t *Tree) place(ctx context.Context, p string) (at engine.Place, err error) {
	parts := names(p)
	if len(parts) == 0 || parts[len(parts)-1] == ".." {
		return at, engine.E(engine.KindInvalidArgument, "the path %q has no name at its end", p)
	}
	name := parts[len(parts)-1]
	in, err := t.resolve(ctx, strings.Join(parts[:len(parts)-1], "/"), true)
	switch {
	case err != nil:
		return at, err
	case in.top():
		return at, engine.E(engine.KindInvalidArgument, "%q is a bucket, which is made, named and removed by calls of its own", name)
	case in.Info.Type != engine.TypeDirectory:
		return at, engine.E(engine.KindNotDirectory, "%q lies in what is no directory", name)
	}
	return engine.Place{Bucket: in.File.Bucket, Directory: in.File.Node, Name: name}, nil
}

// Place finds the directory of a path, symbolic links in it followed, and the name in that directory, whether there is one or not.
func (t *Tree) Place(ctx context.Context, p string) (engine.Place, error) {
	at, err := t.place(ctx, p)
	return at, pathError("find place", p, err)
}

// pathError adds the operation and the path to an error.
func pathError(op, p string, err error) error {
	return engine.Wrap(op+" "+path.Clean("/"+p), engine.Ref{}, err)
}

// Open opens a file by its path, symbolic links followed. With Flags.Create a free name gets an empty file with the permissions perm: KindExists with
// Exclusive if it is not free. KindIsDirectory, KindNoSuchKey; else as OpenNode.
func (t *Tree) Open(ctx context.Context, p string, flags Flags, perm uint32) (*Handle, error) {
	h, err := t.open(ctx, p, flags, perm)
	return h, pathError("open", p, err)
}

func (t *Tree) open(ctx context.Context, p string, flags Flags, perm uint32) (*Handle, error) {
	if flags.Create {
		at, err := t.place(ctx, p)
		if err != nil {
			return nil, err
		}
		h, err := t.Create(ctx, at, flags, engine.FileAttributes{Set: true, Mode: perm})
		if !isSymlink(err) {
			return h, err
		}
	}
	n, err := t.resolve(ctx, p, true)
	if err != nil {
		return nil, err
	}
	if n.Info.Type == engine.TypeDirectory {
		return nil, engine.E(engine.KindIsDirectory, "it is a directory, which is listed, not opened")
	}
	flags.Create = false
	return t.OpenNode(ctx, n.File, flags)
}

// symlinkError says that a name is that of a symbolic link, which Create does not follow.
type symlinkError struct{ engine.Place }

func (e symlinkError) Error() string { return "\"" + e.Name + "\" is a symbolic link" }

// Create opens what a directory has under a name, and makes it first, with the attributes, if the name is free: KindExists with Flags.Exclusive if it
// is not. It follows no symbolic link: KindInvalidArgument.
func (t *Tree) Create(ctx context.Context, at engine.Place, flags Flags, attributes engine.FileAttributes) (*Handle, error) {
	if err := flags.check(); err != nil {
		return nil, err
	}
	for {
		info, err := t.Engine.MakeFile(ctx, at, engine.MakeFileOptions{Attributes: attributes, Class: t.Class})
		if engine.Is(err, engine.KindExists) && !flags.Exclusive {
			info, err = t.Engine.Lookup(ctx, at, "")
			if engine.Is(err, engine.KindNoSuchKey) {
				if e := ctx.Err(); e != nil {
					return nil, engine.Wrap("create", engine.Ref{Bucket: at.Bucket}, e)
				}
				continue // it went in between
			}
		}
		switch {
		case err != nil:
			return nil, err
		case info.Type == engine.TypeDirectory:
			return nil, engine.E(engine.KindIsDirectory, "%q is a directory", at.Name)
		case info.Type == engine.TypeSymlink:
			return nil, &engine.Error{Kind: engine.KindInvalidArgument, Err: symlinkError{at}}
		}
		flags.Create, flags.Exclusive = false, false
		return t.OpenNode(ctx, engine.File{Bucket: at.Bucket, Node: info.Node}, flags)
	}
}

// Entry is a name in a directory and what it names.
type Entry struct {
	Name string
	Node Node
}

// List gives what a directory has, page by page; that of the top level has buckets. Each page is of one instant. An error ends it.
func (t *Tree) List(ctx context.Context, in Node) iter.Seq2[Entry, error] {
	if in.top() {
		return t.listBuckets(ctx)
	}
	return func(yield func(Entry, error) bool) {
		for o := (engine.ListDirectoryOptions{}); ; {
			page, err := t.Engine.ListDirectory(ctx, in.File, o)
			if err != nil {
				yield(Entry{}, wrap("list", in.File, err))
				return
			}
			for _, e := range page.Entries {
				if !yield(Entry{e.Name, t.seen(engine.File{Bucket: in.File.Bucket, Node: e.Info.Node}, e.Info)}, nil) {
					return
				}
			}
			if o.After = page.Last; !page.Truncated {
				return
			}
		}
	}
}

func (t *Tree) listBuckets(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for o := (engine.ListBucketsOptions{}); ; {
			page, err := t.Engine.ListBuckets(ctx, o)
			if err != nil {
				yield(Entry{}, engine.Wrap("list buckets", engine.Ref{}, err))
				return
			}
			for _, b := range page.Buckets {
				o.After = b.Name
				info := engine.FileInfo{Node: engine.RootNode, Type: engine.TypeDirectory, Links: 1, Modified: b.Created, Changed: b.Created, Accessed: b.Created, Born: b.Created}
				if !yield(Entry{string(b.Name), Node{engine.File{Bucket: b.Name, Node: engine.RootNode}, info}}, nil) {
					return
				}
			}
			if !page.Truncated {
				return
			}
		}
	}
}

// ReadlinkNode returns the target of a symbolic link. KindInvalidArgument for what is none.
func (t *Tree) ReadlinkNode(ctx context.Context, id engine.File) (string, error) {
	info, err := t.Engine.StatFile(ctx, id)
	if err == nil && info.Type != engine.TypeSymlink {
		err = engine.E(engine.KindInvalidArgument, "node %d is no symbolic link", id.Node)
	}
	if err != nil {
		return "", wrap("read link", id, err)
	}
	object, err := t.Engine.OpenFile(ctx, id, engine.OpenFileOptions{})
	if err != nil {
		return "", wrap("read link", id, err)
	}
	defer object.Close()
	target, err := io.ReadAll(io.LimitReader(object, engine.TargetBytesMax))
	return string(target), wrap("read link", id, err)
}
