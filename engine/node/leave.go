package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"holdfast/engine"
	"holdfast/engine/drive"
	"holdfast/engine/group"
	"holdfast/engine/meta"
)

// RemoveDrive tells a drive to leave, and returns once that is durable: it takes no shards any more, those that it has and its replicas move to other
// drives, and when nothing is left on it the node has no such drive any more. Status says how far it is. A drive that does not take part yet is forgotten at
// once.
//
// KindInvalidArgument if there is no such drive, or the drives that would stay are too few for the redundancy, or for an extent that is stored;
// KindConflict if it leaves already.
func (n *Node) RemoveDrive(ctx context.Context, id engine.DriveID) error {
	if err := n.changing.take(ctx); err != nil {
		return err
	}
	defer n.changing.end()
	if done, err := n.takeBack(ctx, id); done || err != nil {
		return err
	}
	if err := n.mayLeave(ctx, id); err != nil {
		return err
	}
	if err := n.setLeaving(ctx, id, true, 0); err != nil {
		return err
	}
	n.followNow(ctx)
	return nil
}

// followNow is follow for a change that is made already. What it cannot do is done later.
func (n *Node) followNow(ctx context.Context) {
	if err := n.follow(ctx); err != nil {
		n.logger.Warn("the drives changed; the redundancy follows later", "error", err)
	}
}

// KeepDrive takes a RemoveDrive or ReplaceDrive back: what has moved stays where it is. The drive that was to take the other's place stays, too.
// KindInvalidArgument if there is no such drive any more; KindConflict if it does not leave, or the other is just being added.
func (n *Node) KeepDrive(ctx context.Context, id engine.DriveID) error {
	if err := n.changing.take(ctx); err != nil {
		return err
	}
	defer n.changing.end()
	n.mu.Lock()
	s := n.find(id)
	var heir *slot
	for _, o := range n.slots {
		if o.HeirOf == id && o.HeirOf != 0 {
			heir = o
		}
	}
	leaving := s != nil && s.leaving
	busy := heir != nil && heir.settling
	if s != nil && heir != nil && !busy {
		heir.settling = true // nobody goes on adding it in the place of this one meanwhile
	}
	n.mu.Unlock()
	switch {
	case s == nil:
		return noDrive(id)
	case busy:
		return engine.E(engine.KindConflict, "drive %d, which takes the place of drive %d, is just being added; repeat later", heir.Drive, id)
	case heir != nil: // its adding was cut off
		m := heir.member
		m.HeirOf = 0
		err := n.remember(heir, m)
		n.mu.Lock()
		heir.settling = false
		n.mu.Unlock()
		if err != nil {
			return err
		}
	case !leaving:
		return engine.E(engine.KindConflict, "drive %d does not leave", id)
	}
	if leaving {
		if err := n.setLeaving(ctx, id, false, 0); err != nil {
			return err
		}
	}
	if n.keeper != nil {
		n.keeper.CameIn() // what was moved off it is still there, and is looked for
	}
	n.followNow(ctx)
	return nil
}

// takeBack forgets a drive whose adding was cut off and comes to no end, such as that of a disk which is not there any more; done is false of any other.
// It never had a shard.
func (n *Node) takeBack(ctx context.Context, id engine.DriveID) (done bool, err error) {
	n.mu.Lock()
	s := n.find(id)
	if s == nil || !s.Adding {
		n.mu.Unlock()
		return false, nil
	}
	if s.settling {
		n.mu.Unlock()
		return false, engine.E(engine.KindConflict, "drive %d is just being added; repeat later", id)
	}
	s.settling = true
	n.mu.Unlock()
	if _, _, err := n.writers[1].Do(ctx, &meta.SetDrive{Drive: id, Out: true, Gone: true}); err != nil {
		n.mu.Lock()
		s.settling = false
		n.mu.Unlock()
		return false, err
	}
	return true, n.endSettling(ctx, s)
}

// mayLeave says why the drives that would stay are too few.
func (n *Node) mayLeave(ctx context.Context, id engine.DriveID) error {
	n.mu.Lock()
	s, stay := n.find(id), 0
	var away []engine.DriveID
	for _, o := range n.slots {
		switch {
		case o.witness || o == s || o.leaving || o.HeirOf != 0:
		case o.out:
			away = append(away, o.Drive)
		default:
			stay++
		}
	}
	n.mu.Unlock()
	switch {
	case s == nil:
		return noDrive(id)
	case s.leaving:
		return engine.E(engine.KindConflict, "drive %d leaves already", id)
	case s.Adding:
		return engine.E(engine.KindConflict, "drive %d is just being added", id)
	}
	advice := fmt.Sprintf("add another drive first, or give it the place of this one: holdfast drive replace %d PATH", id)
	if len(away) > 0 {
		advice = fmt.Sprintf("drives %v are out: bring them back, or %s", away, advice)
	}
	few := func(what string, needed int) error {
		return engine.E(engine.KindInvalidArgument, "without drive %d there would be %d drives that take shards, and %s needs %d; %s", id, stay, what, needed, advice)
	}
	if stay == 0 {
		return few("a node", 1)
	}
	for option, r := range map[string]engine.Redundancy{"--standard": n.config.Standard, "--reduced": n.config.Reduced} {
		if r.Data+r.Parity > stay {
			return few(fmt.Sprintf("%s %s", option, codeText(r)), r.Data+r.Parity)
		}
	}
	view, err := n.data.Read(ctx)
	if err != nil {
		return err
	}
	shards, parity, err := meta.Widest(view)
	if err = errors.Join(err, view.Close()); err != nil {
		return err
	}
	if shards > stay {
		return few(fmt.Sprintf("what is stored in %d shards", shards), shards)
	}
	// The witness, which is made where there is none, is one place more.
	if replicas := replicasFor(parity, stay); replicas > stay+1 {
		return few(fmt.Sprintf("the metadata, which has %d replicas,", replicas), replicas-1)
	}
	return nil
}

// setLeaving commits whether a drive leaves; only then the node acts on it.
func (n *Node) setLeaving(ctx context.Context, id engine.DriveID, leaving bool, heir engine.DriveID) error {
	if n.Gone(id) {
		return noDrive(id)
	}
	if _, _, err := n.writers[1].Do(ctx, &meta.SetLeaving{Drive: id, Leaving: leaving, Heir: heir}); err != nil {
		return err
	}
	n.mu.Lock()
	s := n.find(id)
	if s != nil {
		s.leaving, s.heir = leaving, heir
	}
	n.mu.Unlock()
	n.logger.Warn("a drive leaves, or stays", "drive", id, "leaves", leaving, "for", heir)
	if n.keeper != nil {
		n.keeper.Wake()
	}
	select {
	case n.leavings <- struct{}{}:
	default:
	}
	return nil
}

// loadLeaving reads which drives leave, and finishes what a crash left of their end.
func (n *Node) loadLeaving(ctx context.Context) error {
	view, err := n.data.Read(ctx)
	if err != nil {
		return err
	}
	var gone []*slot
	for _, s := range n.places() {
		if s.witness {
			continue
		}
		_, isGone, errGone := meta.LoadDrive(view, s.Drive)
		leaving, heir, errLeaving := meta.LoadLeaving(view, s.Drive)
		err = cmp.Or(err, errGone, errLeaving)
		s.leaving, s.heir = leaving, heir
		if isGone {
			gone = append(gone, s)
		}
	}
	if err = errors.Join(err, view.Close()); err != nil {
		return err
	}
	for _, s := range gone {
		if err := n.end(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// leaveRest is how long the leaving of drives rests at most.
const leaveRest = time.Second

// leave takes drives that leave to their end, and makes the redundancy follow the drives.
func (n *Node) leave(ctx context.Context) {
	defer n.watching.Done()
	ticker := time.NewTicker(min(cmp.Or(n.config.KeeperInterval, leaveRest), leaveRest))
	defer ticker.Stop()
	said := map[engine.DriveID]string{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.leavings:
		case <-ticker.C:
		}
		if err := n.followBehind(ctx); err != nil && ctx.Err() == nil && said[0] != err.Error() {
			said[0] = err.Error()
			n.logger.Warn("the redundancy does not follow the drives yet", "error", err)
		}
		for _, s := range n.places() {
			n.mu.Lock()
			leaving, id := s.leaving, s.Drive
			n.mu.Unlock()
			if !leaving {
				continue
			}
			if err := n.leaveOne(ctx, s); err != nil && ctx.Err() == nil && said[id] != err.Error() {
				said[id] = err.Error()
				n.logger.Warn("a drive that leaves waits", "drive", id, "path", s.Path, "error", err)
			}
		}
	}
}

// followBehind is follow, for what an earlier one could not do, unless drives are being changed just now.
func (n *Node) followBehind(ctx context.Context) error {
	select {
	case n.changing <- struct{}{}:
	default:
		return nil
	}
	defer n.changing.end()
	return n.follow(ctx)
}

// leaveOne takes a drive one step on: first its replicas move, while it can still help, then its shards, which the keepers see to, and when nothing is
// left it ends.
func (n *Node) leaveOne(ctx context.Context, s *slot) error {
	for _, g := range []*group.Group{n.root, n.data} {
		if err := n.moveReplica(ctx, g, s); err != nil {
			return err
		}
	}
	n.mu.Lock()
	out, id := s.out, s.Drive
	n.mu.Unlock()
	view, err := n.view(ctx)
	if err != nil {
		return err
	}
	left, used, err := meta.AnyPlaced(view, id, out)
	if err = errors.Join(err, view.Close()); err != nil || used {
		return err
	}
	switch {
	case !left:
		if _, _, err := n.writers[1].Do(ctx, &meta.RemoveDrive{Drive: id}); engine.Is(err, engine.KindConflict) {
			return nil // a write was decided just now, or somebody keeps the drive
		} else if err != nil {
			return err
		}
	case !out:
		return nil // of garbage, which is collected
	default: // of garbage, which nobody can delete there
		if _, _, err := n.writers[1].Do(ctx, &meta.SetDrive{Drive: id, Out: true, Gone: true}); err != nil {
			return err
		}
	}
	return n.end(ctx, s)
}

// view reads the rows of the buckets, and waits no longer than a keeper does.
func (n *Node) view(ctx context.Context) (*group.View, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return n.data.Read(ctx)
}

// moveReplica takes a group's replica off a drive that leaves, once there is another in its place where the group needs one.
func (n *Node) moveReplica(ctx context.Context, g *group.Group, s *slot) error {
	for last := -1; ; {
		status, err := g.Status(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(status.Members, func(m group.MemberStatus) bool { return m.Drive == s.Drive })
		if at < 0 {
			return nil
		}
		n.mu.Lock()
		working := n.working(status)
		enough := working >= n.wanted()
		target := n.roomFor(status, s.heir)
		n.mu.Unlock()
		if working <= last {
			target = nil // it made no difference
		}
		last = working
		switch {
		case enough, target == nil && status.Members[at].Failed != nil: // one that has failed is of no use any more
			if err := n.joining.take(ctx); err != nil {
				return err
			}
			err := g.RemoveReplica(ctx, status.Members[at].Replica)
			n.joining.end()
			return err
		case target == nil:
			return engine.E(engine.KindUnavailable, "group %d has too few replicas without the one on drive %d, and no drive is at hand that could have another", g.ID(), s.Drive)
		}
		if err := n.joinOn(ctx, g, target); err != nil {
			return err
		}
	}
}

// end forgets a drive that the group of the buckets has out for good.
func (n *Node) end(ctx context.Context, s *slot) error {
	n.mu.Lock()
	busy := s.settling
	s.settling = true // nobody looks at it any more
	n.mu.Unlock()
	if busy {
		return nil // the next turn comes soon
	}
	return n.endSettling(ctx, s)
}

// endSettling is end for who has the slot already.
func (n *Node) endSettling(ctx context.Context, s *slot) error {
	record := meta.DriveRecord{Node: n.id, Path: s.Path, Incarnation: s.Incarnation, State: meta.DriveGone}
	if _, _, err := n.writers[0].Do(ctx, &meta.MapDrive{Drive: s.Drive, Record: record}); err != nil {
		n.mu.Lock()
		s.settling = false
		n.mu.Unlock()
		return err
	}
	return n.forget(s, true)
}

// forget takes a slot from the node and its member from the state, durably, and closes its drive. Removed says that it was a drive that the node had.
// Then a start may still name the folder; and also if this one did, since the folder was a drive once.
func (n *Node) forget(s *slot, removed bool) error {
	n.mu.Lock()
	next := *n.state
	next.Drives = slices.DeleteFunc(slices.Clone(n.state.Drives), func(m member) bool { return m.Drive == s.Drive })
	if removed || slices.ContainsFunc(n.config.Drives, func(p string) bool { return path.Clean(p) == path.Clean(s.Path) }) {
		next.Removed = append(slices.DeleteFunc(slices.Clone(n.state.Removed), func(p string) bool { return path.Clean(p) == path.Clean(s.Path) }), s.Path)
	}
	if err := next.save(n.home); err != nil {
		s.settling = false
		n.mu.Unlock()
		return engine.E(engine.KindUnavailable, "the state folder cannot be written: %w", err)
	}
	n.state = &next
	n.slots = slices.DeleteFunc(slices.Clone(n.slots), func(o *slot) bool { return o == s })
	d, fsys := s.drive, s.fs
	s.drive, s.leaving = nil, false
	n.mu.Unlock()
	if d != nil {
		n.failReplicas(s.Drive, errRemoved) // it has none; should one be on its way, it has no ground
		if err := d.Close(); err != nil && !errors.Is(err, drive.ErrFailed) {
			n.logger.Warn("a drive that was removed did not close well", "drive", s.Drive, "path", s.Path, "error", err)
		}
		_ = fsys.Close() // nothing of it is needed any more
	}
	if removed {
		n.logger.Warn("a drive was removed; its folder may be taken away; copy node.json of the state folder again", "drive", s.Drive, "path", s.Path)
	}
	if n.keeper != nil {
		n.keeper.Wake()
	}
	return nil
}

// errRemoved is why a replica on a drive fails that the node has no more.
var errRemoved = errors.New("the drive was removed")
