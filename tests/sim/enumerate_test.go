package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk/sim"
	"holdfast/engine/drive"
	"holdfast/engine/node"
)

// An operation is something that a node does, and the state that it begins with. Every call that changes a disk while it is under way is a point:
// (operation, call site, ordinal of the call among those of its site).
type operation struct {
	name string
	// prepare makes the state; the power is cut after it if it says so, else the node is closed.
	prepare func(ctx context.Context, n *node.Node, states model) error
	unclean bool
	// disks changes disks after prepare.
	disks func(m *machine)
	// thin says that after prepare the node runs for a while without two of its drives, and what it writes then has less parity.
	thin bool
	// whole says that the start of the node belongs to the operation, closing that its end does.
	whole, closing bool
	// thinned says that the power is cut at every fourth call of a site alone: the others are much like those of another operation.
	thinned bool
	// fresh says that the disks are empty: the operation is the first start.
	fresh bool
	// spare says that there are two disks more, empty ones, which no start names.
	spare bool
	// drives is how many there are, if not four.
	drives int
	// buffered says that the disks refuse direct files, watched that the node looks at its drives all the time.
	buffered, watched bool
	// dies says at which call the power goes while the state is made; nil: none.
	dies func() func(disk string, c sim.Call) bool
	// before is done with the disks before the node starts.
	before func(ctx context.Context, m *machine) error
	// segment is the size of the drives' segments, if it is not the usual one.
	segment int64
	do      func(ctx context.Context, n *node.Node, states model) error
	// holds checks after the cut what no state of a single key tells; nil: nothing.
	holds func(ctx context.Context, n *node.Node, states model) error
}

// write puts content under a key and notes what may be there from then on.
func write(ctx context.Context, n *node.Node, states model, key engine.Key, size int, seed byte) error {
	b := bytes.Repeat([]byte{seed, byte(size), byte(size >> 8)}, size/3+1)[:size]
	old := states.get(key)
	states.set(key, append(slices.Clone(old), sum(b))...)
	_, err := n.Put(ctx, ref(key), bytes.NewReader(b), engine.PutOptions{Size: int64(size)})
	if err == nil {
		states.set(key, sum(b))
	}
	return err
}

func remove(ctx context.Context, n *node.Node, states model, key engine.Key) error {
	states.allow(key, "")
	_, err := n.Delete(ctx, ref(key), engine.DeleteOptions{})
	if err == nil {
		states.set(key, "")
	}
	return err
}

// some puts one object of each kind.
func some(ctx context.Context, n *node.Node, states model) error {
	for i, size := range []int{100, 8193, 70_000, 150_000} {
		if err := write(ctx, n, states, keys[i], size, byte(i+1)); err != nil {
			return err
		}
	}
	return nil
}

// someInline puts objects that are in no shards.
func someInline(ctx context.Context, n *node.Node, states model) error {
	return errors.Join(write(ctx, n, states, keys[0], 100, 1), write(ctx, n, states, keys[2], 8192, 2))
}

func idle(ctx context.Context, n *node.Node, _ model) error { return quiet(ctx, n) }

func nothing(context.Context, *node.Node, model) error { return nil }

var operations = []operation{
	{name: "first start", fresh: true, whole: true, do: nothing},
	{name: "first start begun again", fresh: true, thinned: true, whole: true, do: nothing, dies: func() func(string, sim.Call) bool {
		return func(_ string, c sim.Call) bool { return c.Site == "drive.writeIdentity" }
	}},
	{name: "put inline", prepare: some, do: func(ctx context.Context, n *node.Node, states model) error {
		return write(ctx, n, states, "z", 8192, 9)
	}},
	{name: "put", prepare: some, do: func(ctx context.Context, n *node.Node, states model) error {
		return write(ctx, n, states, "z", 1<<20+70_000, 9)
	}},
	{name: "overwrite", prepare: some, do: func(ctx context.Context, n *node.Node, states model) error {
		return errors.Join(write(ctx, n, states, "a//b", 70_001, 9), quiet(ctx, n))
	}},
	{name: "delete", prepare: some, do: func(ctx context.Context, n *node.Node, states model) error {
		return errors.Join(remove(ctx, n, states, "deep/er/and/deeper"), remove(ctx, n, states, "a//b"), quiet(ctx, n))
	}},
	{name: "multipart", prepare: some, do: func(ctx context.Context, n *node.Node, states model) error {
		b := bytes.Repeat([]byte("multipart"), 10_000)
		states.set("z", "", sum(b))
		err := multipart(ctx, n, "z", b)
		if err == nil {
			states.set("z", sum(b))
		}
		return err
	}},
	{name: "copy", prepare: some, do: func(ctx context.Context, n *node.Node, states model) error {
		from, b := keys[2], bytes.Repeat([]byte{3, 0x70, 0x11}, 70_000/3+1)[:70_000]
		if !slices.Equal(states.get(from), []string{sum(b)}) {
			return fmt.Errorf("%q is not what is copied", from)
		}
		states.set("z", "", sum(b))
		if _, err := n.Copy(ctx, ref(from), ref("z"), engine.CopyOptions{}); err != nil {
			return err
		}
		states.set("z", sum(b))
		return errors.Join(remove(ctx, n, states, from), quiet(ctx, n)) // the content has another name, and stays
	}},
	{name: "tags", prepare: some, do: func(ctx context.Context, n *node.Node, _ model) error {
		if _, err := n.SetTags(ctx, ref(keys[2]), engine.Tags{"a": "b"}); err != nil {
			return err
		}
		return n.SetDocument(ctx, "bucket", engine.DocumentTagging, []byte("kept"))
	}},
	{name: "append", prepare: some, do: func(ctx context.Context, n *node.Node, states model) error {
		return errors.Join(appendTo(ctx, n, states, keys[2], 70_000), appendTo(ctx, n, states, keys[2], 100), appendTo(ctx, n, states, "z", 20_000), quiet(ctx, n))
	}},
	{name: "rename", prepare: some, do: renameBoth, holds: renamedWhole},
	{name: "files", prepare: some, do: changeFiles, holds: filesHold},
	{name: "owners", prepare: some, do: holdFiles, holds: heldFilesHold},
	{name: "feed", prepare: prepareFeed, do: changeAndFollow, holds: feedHolds},
	{name: "compacted", prepare: some, do: scatterAndCompact, holds: compactedWhole},
	{name: "segments emptied", segment: smallSegments, prepare: prepareSegments, do: compactSegments, holds: segmentsCompacted},
	{name: "segments emptied into another", segment: smallSegments, prepare: prepareFullSegments, do: compactSegments, holds: segmentsCompacted},
	{name: "removal", prepare: prepareRemoval, do: removeBoth, holds: emptyOfTrash},
	{name: "locks", prepare: prepareLocks, do: changeLocks, holds: locksHold},
	{name: "abort", prepare: some, do: func(ctx context.Context, n *node.Node, _ model) error {
		upload, err := n.StartUpload(ctx, ref("z"), engine.StartUploadOptions{})
		if err != nil {
			return err
		}
		if _, err := n.PutPart(ctx, ref("z"), upload.ID, 1, bytes.NewReader(make([]byte, 9000)), engine.PutPartOptions{Size: 9000}); err != nil {
			return err
		}
		return errors.Join(n.AbortUpload(ctx, ref("z"), upload.ID), quiet(ctx, n))
	}},
	{name: "list while writing", prepare: some, do: listWhileWriting},
	{name: "ring recycled", prepare: some, do: func(ctx context.Context, n *node.Node, states model) error {
		for i := range 2 * ringBytes / 8192 {
			if err := write(ctx, n, states, keys[4+i%3], 8192, byte(i)); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "many clients", prepare: some, do: manyClients, holds: clientsHold},
	{name: "large", prepare: some, do: func(ctx context.Context, n *node.Node, states model) error {
		return errors.Join(write(ctx, n, states, "z", 5<<20+70_000, 9), write(ctx, n, states, "z", 3<<20+1, 8), quiet(ctx, n))
	}},
	{name: "stop", prepare: some, closing: true, do: func(ctx context.Context, n *node.Node, states model) error {
		return write(ctx, n, states, "z", 9000, 9)
	}},
	{name: "start after a cut", unclean: true, whole: true, do: nothing, prepare: func(ctx context.Context, n *node.Node, states model) error {
		if err := some(ctx, n, states); err != nil {
			return err
		}
		for i := range 20 {
			if err := write(ctx, n, states, keys[4+i%3], 3000+i*500, byte(i)); err != nil {
				return err
			}
		}
		return remove(ctx, n, states, "a//b")
	}},
	{name: "start with a segment without a row", whole: true, prepare: some, do: nothing, dies: func() func(string, sim.Call) bool {
		made := ""
		return func(disk string, c sim.Call) bool {
			if c.Site == "drive.(*segments).allocate" && c.Op == "syncdir" {
				made = disk
			}
			return disk == made && c.Site == "drive.(*ring).put"
		}
	}},
	{name: "watched", watched: true, prepare: some, do: func(ctx context.Context, n *node.Node, states model) error {
		for i := range 6 {
			if err := write(ctx, n, states, "z", 9000+i, 9); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "sweep", unclean: true, whole: true, do: idle, prepare: func(ctx context.Context, n *node.Node, states model) error {
		upload, err := n.StartUpload(ctx, ref("z"), engine.StartUploadOptions{})
		if err != nil {
			return err
		}
		// A put whose reader fails after the first block leaves shards that no command names.
		stuck, cancel := context.WithCancel(ctx)
		defer cancel()
		reader := &stopping{b: make([]byte, 1<<20+5000), stop: cancel}
		if _, err := n.PutPart(stuck, ref("z"), upload.ID, 1, reader, engine.PutPartOptions{Size: 3 << 20}); err == nil {
			return errors.New("a part whose body ended early was taken")
		}
		return some(ctx, n, states)
	}},
	{name: "drive replaced", prepare: some, whole: true, do: idle, disks: func(m *machine) {
		m.disks["/d2"] = m.newDisk(m.seed*16 + 100)
	}},
	{name: "repair", prepare: some, do: func(ctx context.Context, n *node.Node, _ model) error {
		if err := loseShard(ctx, n, false); err != nil {
			return err
		}
		for _, key := range keys[:4] {
			if _, err := read(ctx, n, key); err != nil {
				return err
			}
		}
		return quiet(ctx, n)
	}},
	{name: "scrub", prepare: some, do: loseAndScrub, holds: scrubbed},
	{name: "scrub of buffered disks", buffered: true, prepare: some, do: loseAndScrub, holds: scrubbed},
	{name: "widened", prepare: some, thin: true, whole: true, do: widened},
	{name: "drive added", prepare: some, spare: true, do: addDrive},
	{name: "drive removed", prepare: prepareRemove, spare: true, do: func(ctx context.Context, n *node.Node, _ model) error {
		if err := n.RemoveDrive(ctx, 2); err != nil {
			return err
		}
		return withoutDrive(ctx, n, 2)
	}},
	{name: "drive moved", prepare: some, spare: true, do: replaceElsewhere},
	{name: "leaving begun again", prepare: prepareLeaving, spare: true, whole: true, do: func(ctx context.Context, n *node.Node, _ model) error {
		return withoutDrive(ctx, n, 2)
	}},
	{name: "lost drive replaced elsewhere", prepare: some, spare: true, whole: true, do: replaceElsewhere, holds: replacedElsewhere, disks: func(m *machine) {
		delete(m.disks, "/d2")
	}},
	{name: "drive removed, witness made", drives: 5, prepare: someInline, do: func(ctx context.Context, n *node.Node, _ model) error {
		if err := n.RemoveDrive(ctx, 2); err != nil {
			return err
		}
		return withoutDrive(ctx, n, 2)
	}},
	{name: "examined", prepare: some, whole: true, before: examine, do: nothing},
	{name: "bucket", prepare: some, do: func(ctx context.Context, n *node.Node, _ model) error {
		if _, err := n.CreateBucket(ctx, "other", engine.CreateBucketOptions{}); err != nil {
			return err
		}
		return n.DeleteBucket(ctx, "other", engine.DeleteBucketOptions{})
	}},
}

// examine looks at the disks as the daemon and its tools do before they open a node.
func examine(_ context.Context, m *machine) error {
	if err := node.Examine(m.config()); err != nil {
		return err
	}
	for _, name := range m.drives {
		for _, err := range drive.Frames(m.disks[name]) {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// widened waits until no extent has less parity than it could, or a drive failed.
func widened(ctx context.Context, n *node.Node, _ model) error {
	for {
		s, err := n.Status(ctx)
		if err != nil {
			return err
		}
		failed := slices.ContainsFunc(s.Drives, func(d node.DriveStatus) bool { return d.Problem != "" })
		if failed || s.Reduced == 0 {
			return quiet(ctx, n)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("extents have less parity: %+v", s)
		case <-time.After(time.Millisecond):
		}
	}
}

// writeThin writes while two drives are away.
func (o *operation) writeThin(t *testing.T, m *machine, states model) error {
	all := m.disks
	m.disks = maps.Clone(all)
	delete(m.disks, "/d3")
	delete(m.disks, "/d4")
	n, err := m.open(t)
	if err != nil {
		return err
	}
	err = errors.Join(write(t.Context(), n, states, "z", 1<<20+70_000, 9), write(t.Context(), n, states, "a", 9000, 8))
	s, errStatus := n.Status(t.Context())
	if err = errors.Join(err, errStatus, n.Close()); err == nil && s.Reduced != 2 {
		err = fmt.Errorf("%d extents have less parity, not 2", s.Reduced)
	}
	m.disks = all
	return err
}

// loseShard deletes a shard of data or of parity from its drive, which nobody is told. The loss of a parity shard is for the scrub to find: readers do
// not ask for one.
func loseShard(ctx context.Context, n *node.Node, parity bool) error {
	for _, drive := range n.All() {
		list, _, err := n.Shards(drive, engine.ShardID{}, 100)
		if err != nil {
			return err
		}
		for _, f := range list {
			if parity == (f.ID.Index >= 2) {
				return n.Store(drive).DeleteShards(ctx, []engine.ShardID{f.ID})
			}
		}
	}
	return errors.New("no drive has such a shard")
}

func loseAndScrub(ctx context.Context, n *node.Node, states model) error {
	return errors.Join(loseShard(ctx, n, true), scrubbed(ctx, n, states), quiet(ctx, n))
}

// scrubbed has all drives scrubbed, and waits until that is done, or a drive failed. A pass that goes on from before a cut will do: what it found until
// then is recorded.
func scrubbed(ctx context.Context, n *node.Node, _ model) error {
	for _, drive := range n.All() {
		if err := n.ScrubNow(ctx, drive); err != nil && !engine.Is(err, engine.KindConflict) {
			return err
		}
	}
	for {
		done, failed := true, false
		for _, d := range n.Drives() {
			failed = failed || d.Problem != ""
			done = done && (d.Witness || d.Scrub.Last != nil && d.Scrub.Pass == nil)
		}
		if done || failed {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the drives are not scrubbed")
		case <-time.After(time.Millisecond):
		}
	}
}

// stopping is a body whose client goes away.
type stopping struct {
	b    []byte
	stop func()
}

func (r *stopping) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		r.stop()
		return 0, context.Canceled
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

// listWhileWriting lists without a pause while objects come and go; each listing must be one that some instant had.
func listWhileWriting(ctx context.Context, n *node.Node, states model) error {
	done := make(chan struct{})
	var wg sync.WaitGroup
	var listErr error
	wg.Go(func() {
		for ended := false; !ended && listErr == nil; {
			select {
			case <-done:
				ended = true
			default:
			}
			page, err := n.List(ctx, "bucket", engine.ListOptions{})
			if err == nil && len(page.Objects) < 4 {
				err = fmt.Errorf("a listing shows %d objects; 4 are there all the time", len(page.Objects))
			}
			listErr = err
		}
	})
	err := errors.Join(write(ctx, n, states, "z", 5000, 1), write(ctx, n, states, "../x", 20_000, 2), remove(ctx, n, states, "z"))
	close(done)
	wg.Wait()
	if err != nil {
		return err
	}
	return listErr
}

// manyClients has 16 clients write at once, so that their commands and shards share syncs.
func manyClients(ctx context.Context, n *node.Node, states model) error {
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for client := range errs {
		wg.Go(func() {
			key := engine.Key(fmt.Sprintf("client-%d", client))
			states.set(key, "")
			for round := range 2 {
				size := []int{100, 9000, 30_000}[(client+round)%3]
				if err := write(ctx, n, states, key, size+round, byte(client)); err != nil {
					errs[client] = err
					return
				}
			}
			errs[client] = remove(ctx, n, states, key)
		})
	}
	wg.Wait()
	return errors.Join(append(errs, quiet(ctx, n))...)
}

// clientsHold reads what the clients wrote.
func clientsHold(ctx context.Context, n *node.Node, states model) error {
	for client := range 16 {
		key := engine.Key(fmt.Sprintf("client-%d", client))
		s, err := read(ctx, n, key)
		if err != nil {
			return err
		}
		if possible := states.get(key); possible != nil && !slices.Contains(possible, s) || possible == nil && s != "" {
			return fmt.Errorf("%q has the state %q; %q are possible", key, s, possible)
		}
	}
	return nil
}

// quiet waits until the keepers have nothing to do, or a drive failed, without which they cannot go on.
func quiet(ctx context.Context, n *node.Node) error {
	for {
		s, err := n.Status(ctx)
		if err != nil {
			return err
		}
		failed := slices.ContainsFunc(s.Drives, func(d node.DriveStatus) bool { return d.Problem != "" })
		if failed || s.Garbage == 0 && s.Trash == 0 && s.Scattered == 0 && s.Protected() && s.Keeper.SweepsComplete > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the keepers are not done: %+v", s)
		case <-time.After(time.Millisecond):
		}
	}
}

// awaitPlaced waits until the drives hold what the metadata places there. What the reads of check found missing is on its way to the keepers.
func awaitPlaced(ctx context.Context, n *node.Node) error {
	for {
		err := placed(ctx, n)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Millisecond):
		}
	}
}

// placed compares the shards that drives hold with those that the metadata places there.
func placed(ctx context.Context, n *node.Node) error {
	s, err := n.Status(ctx)
	if err != nil {
		return err
	}
	for _, d := range s.Drives {
		if d.State != "in" || d.Problem != "" {
			return fmt.Errorf("drive %d is %s: %s", d.Drive, d.State, d.Problem)
		}
		if d.Witness {
			continue
		}
		list, _, err := n.Shards(d.Drive, engine.ShardID{}, 10_000)
		if err != nil || len(list) != d.Shards {
			return fmt.Errorf("drive %d holds %d shards; the metadata places %d there (%w)", d.Drive, len(list), d.Shards, err)
		}
	}
	return nil
}
