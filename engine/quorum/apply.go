package quorum

import (
	"bytes"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"holdfast/engine/meta"
)

// Bounds of one batch of applied entries.
const (
	batchEntries = 512
	batchBytes   = 4 << 20
	// batchesKept bounds what waits for slow replicas; those that fall behind compute for themselves.
	batchesKept = 256
)

// batch is the outcome of applying the entries from..to: the same for every replica.
type batch struct {
	from, to uint64
	rows     *meta.Batch
	state    applied
}

// enqueueApply gives committed entries to a replica's applier.
func (g *Group) enqueueApply(r *replica, m *raftpb.Message) {
	entries := m.GetEntries()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range entries {
		if e.GetIndex() > r.state.index {
			r.queue = append(r.queue, e)
		}
	}
	var last uint64
	if n := len(entries); n > 0 {
		last = entries[n-1].GetIndex()
	}
	r.responses = append(r.responses, response{index: last, m: m.GetResponses()})
	g.changed.Broadcast()
}

// applyLoop applies what is committed to one replica's store: the batch that another computed, or its own computation.
func (g *Group) applyLoop(r *replica) {
	defer g.done.Done()
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		g.respondLocked(r)
		b, entries := g.nextLocked(r)
		if g.closed || r.failedLocked != nil || r.removed {
			return
		}
		if b == nil && entries == nil {
			g.changed.Wait()
			continue
		}
		store, state := r.store, r.state
		g.mu.Unlock()
		var answers [][]byte
		var err error
		if b == nil {
			b, answers, err = g.compute(r, store, state, entries)
		}
		if err == nil {
			err = store.Commit(b.rows)
		}
		g.mu.Lock()
		r.computing = false
		g.changed.Broadcast()
		switch {
		case err != nil:
			g.inbox.post(func() { g.fail(r, err) })
			r.failedLocked = err
			return
		case r.store != store:
			continue // a snapshot took its place meanwhile
		}
		g.appliedLocked(r, b, entries, answers)
	}
}

// nextLocked returns what a replica can apply now: a known batch, or entries to compute with.
func (g *Group) nextLocked(r *replica) (*batch, []*raftpb.Entry) {
	if r.installing || len(r.queue) == 0 {
		return nil, nil
	}
	next := r.state.index + 1
	limit := uint64(noLimit)
	if !g.config.Everywhere {
		for _, b := range g.batches {
			if b.from == next {
				if r.queue[len(r.queue)-1].GetIndex() < b.to {
					return nil, nil
				}
				return b, nil
			}
			if b.from > next && b.from < limit {
				limit = b.from
			}
		}
		for _, other := range g.order {
			if other != r && other.computing && other.failedLocked == nil && other.state.index == r.state.index {
				return nil, nil
			}
		}
	}
	n, size := 0, 0
	for n < len(r.queue) && n < batchEntries && size < batchBytes && r.queue[n].GetIndex() < limit {
		if r.queue[n].GetType() != raftpb.EntryNormal {
			if n == 0 {
				n = 1 // a change of members is a batch of its own
			}
			break
		}
		size += len(r.queue[n].GetData())
		n++
	}
	r.computing = true
	return nil, r.queue[:n:n]
}

// compute applies entries to an overlay of a replica's store.
func (g *Group) compute(r *replica, store meta.Store, state applied, entries []*raftpb.Entry) (*batch, [][]byte, error) {
	first, last := entries[0], entries[len(entries)-1]
	if first.GetIndex() != state.index+1 {
		return nil, nil, fmt.Errorf("entry %d is to be applied after entry %d", first.GetIndex(), state.index)
	}
	view := meta.NewOverlay(store)
	var answers [][]byte
	next := applied{index: last.GetIndex(), term: last.GetTerm(), members: state.members}
	if first.GetType() == raftpb.EntryNormal {
		list := make([]meta.Entry, len(entries))
		for i, e := range entries {
			list[i] = meta.Entry{Index: e.GetIndex(), Term: e.GetTerm(), Data: e.GetData()}
		}
		var err error
		if answers, err = g.config.Machine.Apply(view, list); err != nil {
			return nil, nil, err
		}
	} else if err := g.changeMembers(r, first, &next); err != nil {
		return nil, nil, err
	}
	view.Set(appliedKey, next.encode())
	return &batch{from: first.GetIndex(), to: last.GetIndex(), rows: view.Batch(), state: next}, answers, nil
}

// changeMembers computes the members after a change.
func (g *Group) changeMembers(r *replica, e *raftpb.Entry, next *applied) error {
	var change raftpb.ConfChange
	if err := proto.Unmarshal(e.GetData(), &change); err != nil {
		return err
	}
	members := make([]Member, 0, len(next.members)+1)
	for _, m := range next.members {
		if m.Replica != change.GetNodeId() {
			members = append(members, m)
		}
	}
	if change.GetType() != raftpb.ConfChangeRemoveNode {
		described, err := decodeApplied(change.GetContext())
		if err != nil || len(described.members) != 1 {
			return fmt.Errorf("a change of members at index %d: %w", e.GetIndex(), errRecord)
		}
		members = append(members, described.members[0])
	}
	next.members = members
	return nil
}

// appliedLocked records that a replica applied a batch, answers those who wait for it, and tells its node of changed members.
func (g *Group) appliedLocked(r *replica, b *batch, entries []*raftpb.Entry, answers [][]byte) {
	taken := r.queue[:b.to-r.state.index]
	r.queue = r.queue[len(taken):]
	r.state = b.state
	if b.to > g.answered {
		g.members = b.state.members
	}
	for _, e := range taken {
		if e.GetType() != raftpb.EntryNormal {
			g.inbox.post(func() { g.applyConfChange(r, e) })
		} else if len(e.GetData()) == 0 && e.GetTerm() > 1 {
			g.startLocked(r, e.GetTerm())
		}
	}
	for i, data := range answers {
		if data == nil {
			continue
		}
		header, _ := meta.ParseHeader(entries[i].GetData())
		if w := g.waiting[commandID{header.Epoch, header.Number}]; w != nil {
			delete(g.waiting, commandID{header.Epoch, header.Number})
			w.answer <- answer{data: data, index: entries[i].GetIndex()}
		}
	}
	g.answered = max(g.answered, b.to)
	if answers != nil || entries != nil {
		g.keepLocked(r, b)
	}
	g.dropLocked()
}

// keepLocked keeps a computed batch for the other replicas, or compares it with theirs.
func (g *Group) keepLocked(r *replica, b *batch) {
	if g.config.Everywhere {
		for _, other := range g.batches {
			if other.from == b.from && other.to == b.to {
				compare(r, other, b)
				return
			}
		}
	}
	g.batches = append(g.batches, b)
}

// compare panics when two replicas make different rows of the same entries: the state machine is not deterministic.
func compare(r *replica, a, b *batch) {
	same := len(a.rows.Ops) == len(b.rows.Ops)
	for i := 0; same && i < len(a.rows.Ops); i++ {
		x, y := a.rows.Ops[i], b.rows.Ops[i]
		same = bytes.Equal(x.Key, y.Key) && bytes.Equal(x.Value, y.Value) && x.Delete == y.Delete
	}
	if !same {
		panic(fmt.Sprintf("group: replica %d makes other rows of entries %d to %d than another replica", r.id, b.from, b.to))
	}
}

// dropLocked forgets batches that every live replica has, and the oldest beyond the bound.
func (g *Group) dropLocked() {
	least := uint64(noLimit)
	for _, r := range g.order {
		if r.failedLocked == nil && !r.installing {
			least = min(least, r.state.index)
		}
	}
	kept := g.batches[:0]
	for i, b := range g.batches {
		if b.to > least && len(g.batches)-i <= batchesKept {
			kept = append(kept, b)
		}
	}
	clear(g.batches[len(kept):])
	g.batches = kept
}

// startLocked notes that the first entry of a leader of this process is applied.
func (g *Group) startLocked(r *replica, term uint64) {
	select {
	case <-g.ready:
	default:
		g.inbox.post(func() {
			if leader := g.replicas[g.leader]; leader != nil && leader.node.BasicStatus().GetTerm() == term {
				g.mu.Lock()
				defer g.mu.Unlock()
				if !g.startedLocked() {
					close(g.ready)
				}
				g.changed.Broadcast()
			}
		})
	}
}

// respondLocked passes on the answers to applies that are done.
func (g *Group) respondLocked(r *replica) {
	for len(r.responses) > 0 && r.responses[0].index <= r.state.index {
		answers, index := r.responses[0].m, r.responses[0].index
		r.responses = r.responses[1:]
		g.inbox.post(func() {
			for _, m := range answers {
				if r.failed == nil {
					_ = r.node.Step(m) // a node drops what it has no use for
				}
			}
			g.mu.Lock()
			r.told = max(r.told, index)
			g.mu.Unlock()
		})
	}
}

// applyConfChange tells a node of changed members.
func (g *Group) applyConfChange(r *replica, e *raftpb.Entry) {
	if r.failed != nil {
		return
	}
	var change raftpb.ConfChange
	if err := proto.Unmarshal(e.GetData(), &change); err != nil {
		g.fail(r, err)
		return
	}
	r.node.ApplyConfChange(&change)
	if change.GetType() != raftpb.ConfChangeRemoveNode {
		return
	}
	if g.leader == change.GetNodeId() || g.candidate == change.GetNodeId() {
		g.leader, g.candidate = 0, 0
		g.inbox.post(g.elect)
	}
	if gone := g.replicas[change.GetNodeId()]; gone != nil {
		g.drop(gone)
	}
}

// drop stops a replica that is no member any more, or never became one.
func (g *Group) drop(r *replica) {
	delete(g.replicas, r.id)
	if r.cancelFlush != nil {
		g.done.Add(1)
		go func() {
			defer g.done.Done()
			r.cancelFlush()
		}()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	r.removed = true
	for i, other := range g.order {
		if other == r {
			g.order = append(g.order[:i:i], g.order[i+1:]...)
			break
		}
	}
	g.changed.Broadcast()
}
