package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"holdfast/engine"
	"holdfast/engine/coordinator"
	"holdfast/engine/drive"
	"holdfast/engine/extent"
	"holdfast/engine/group"
	"holdfast/engine/meta"
	"holdfast/engine/repair"
)

// places returns the slots as they are now.
func (n *Node) places() []*slot {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.slots
}

// find returns the slot of a drive that is a data drive, or nil. The caller holds mu.
func (n *Node) find(id engine.DriveID) *slot {
	for _, s := range n.slots {
		if s.Drive == id && !s.witness {
			return s
		}
	}
	return nil
}

func (s *slot) usable() bool { return s.drive != nil && s.problem == nil && s.drive.Failed() == nil }

// Store implements extent.Stores.
func (n *Node) Store(id engine.DriveID) extent.ShardStore {
	if d := n.atHand(id); d != nil {
		return store{d}
	}
	return nil
}

// Out reports whether a drive takes no shards by a committed command. A drive that the node does not know was replaced.
func (n *Node) Out(id engine.DriveID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.find(id)
	return s == nil || s.out
}

// Gone reports whether a drive is out for good.
func (n *Node) Gone(id engine.DriveID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.find(id) == nil
}

// Away lists the drives that are out, for good or until they come back: what they hold is made again on others.
func (n *Node) Away() []engine.DriveID {
	n.mu.Lock()
	defer n.mu.Unlock()
	var away []engine.DriveID
	for id := engine.DriveID(1); id <= engine.DriveID(n.state.Last); id++ {
		if n.find(id) == nil && (n.state.Witness == nil || n.state.Witness.Drive != id) {
			away = append(away, id)
		}
	}
	for _, s := range n.slots {
		if !s.witness && s.out {
			away = append(away, s.Drive)
		}
	}
	return away
}

// All lists the data drives at hand.
func (n *Node) All() []engine.DriveID {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []engine.DriveID
	for _, s := range n.slots {
		if !s.witness && s.usable() {
			all = append(all, s.Drive)
		}
	}
	return all
}

// atHand returns a drive that is, or nil.
func (n *Node) atHand(id engine.DriveID) *drive.Drive {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.find(id); s != nil && s.usable() {
		return s.drive
	}
	return nil
}

// Held returns how many bytes the shards of a drive take; 0 if it is not at hand.
func (n *Node) Held(id engine.DriveID) int64 {
	if d := n.atHand(id); d != nil {
		return d.Stats().ShardBytes
	}
	return 0
}

// Compact implements repair.Drives.
func (n *Node) Compact(id engine.DriveID) *drive.Compaction {
	if d := n.atHand(id); d != nil {
		return d.Compact()
	}
	return nil
}

// Shards lists shards of a drive for the sweep.
func (n *Node) Shards(id engine.DriveID, after engine.ShardID, max int) (list []repair.Found, ok bool, err error) {
	d := n.atHand(id)
	if d == nil {
		return nil, false, nil
	}
	infos, err := d.Shards(after, max)
	for _, info := range infos {
		list = append(list, repair.Found{ID: info.ID, Lost: info.Lost})
	}
	return list, true, err
}

// candidate is a drive that takes shards, with its free room.
type candidate struct {
	id   engine.DriveID
	free int64
}

// candidates returns the drives that take shards now, and those that are out. Drives that leave are neither.
func (n *Node) candidates() (list []candidate, out []engine.DriveID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.slots {
		switch {
		case s.witness, s.leaving, !n.joined(s), s.out && s.Adding:
		case s.out:
			out = append(out, s.Drive)
		case s.usable():
			list = append(list, candidate{s.Drive, s.usage.Free})
		}
	}
	return list, out
}

// Room implements coordinator.Drives.
func (n *Node) Room() (total, free int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.slots {
		if !s.witness && !s.leaving && !s.out && s.usable() {
			total, free = total+s.usage.Total, free+s.usage.Free
		}
	}
	return total, free
}

// RoomForRows implements coordinator.Drives: shards leave a reserve on every drive, and of that the rows of small objects leave half. One drive is
// enough to refuse them, for the rows go to all drives of a group, and one without room for them would fail.
func (n *Node) RoomForRows() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.slots {
		if s.witness || s.out || !s.usable() || s.usage.Total == 0 {
			continue
		}
		if left, kept := s.usage.Total-s.usage.Used, s.usage.Reserved/2; left < kept {
			return engine.E(engine.KindDriveFull, "drive %d at %s has %d bytes left, and %d are kept for deletions; delete something, or give it a larger file system", s.Drive, s.Path, left, kept)
		}
	}
	return nil
}

// Place implements coordinator.Drives: drives are drawn with a chance in proportion to their free room. While drives are out, an extent
// keeps places for them as long as enough others take its shards; below that it is coded more narrowly, and marked so.
func (n *Node) Place(r engine.Redundancy, bytes int64) (coordinator.Placement, error) {
	list, away := n.candidates()
	shard := bytes/int64(r.Data) + 4096
	roomy := list[:0:0]
	for _, c := range list {
		if c.free >= shard {
			roomy = append(roomy, c)
		}
	}
	total := r.Data + r.Parity
	switch {
	case len(roomy) >= total:
		return coordinator.Placement{Redundancy: r, Drives: draw(roomy, total)}, nil
	case len(roomy) < len(list):
		return coordinator.Placement{}, engine.E(engine.KindDriveFull, "%d of %d drives have room for a shard of %d bytes and %d are needed; delete something or add drives", len(roomy), len(list), shard, total)
	}
	if len(roomy) >= meta.AcknowledgeFloor(r) && len(roomy)+len(away) >= total {
		drives := append(draw(roomy, len(roomy)), away[:total-len(roomy)]...)
		rand.Shuffle(len(drives), func(i, j int) { drives[i], drives[j] = drives[j], drives[i] })
		return coordinator.Placement{Redundancy: r, Drives: drives}, nil
	}
	narrow := engine.Redundancy{Parity: min(r.Parity, len(roomy)/2)}
	narrow.Data = min(len(roomy)-narrow.Parity, r.Data)
	if r.Parity > 0 && narrow.Parity < 1 || narrow.Data < 1 {
		return coordinator.Placement{}, engine.E(engine.KindUnavailable, "%d of %d drives take shards; bring back those that are missing", len(roomy), len(list)+len(away))
	}
	return coordinator.Placement{Redundancy: narrow, Drives: draw(roomy, narrow.Data+narrow.Parity), Reduced: true}, nil
}

// Widen implements repair.Drives.
func (n *Node) Widen(class engine.StorageClass, bytes int64) (r engine.Redundancy, drives []engine.DriveID, ok bool) {
	full, known := n.class(class)
	if !known {
		return r, nil, false
	}
	place, err := n.Place(full, bytes)
	if err != nil || place.Reduced || slices.ContainsFunc(place.Drives, n.Out) {
		return r, nil, false
	}
	return place.Redundancy, place.Drives, true
}

// draw takes count drives at random, weighted by free room.
func draw(list []candidate, count int) []engine.DriveID {
	type drawn struct {
		id  engine.DriveID
		key float64
	}
	keys := make([]drawn, len(list))
	for i, c := range list {
		// Efraimidis and Spirakis: the greatest of exponentials with the weight as rate are a weighted sample.
		keys[i] = drawn{c.id, rand.ExpFloat64() / float64(max(c.free, 1))}
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].key < keys[j].key })
	drives := make([]engine.DriveID, count)
	for i := range drives {
		drives[i] = keys[i].id
	}
	return drives
}

// Spare implements coordinator.Drives.
func (n *Node) Spare(exclude []engine.DriveID) (engine.DriveID, bool) {
	var best candidate
	list, _ := n.candidates()
	for _, c := range list {
		excluded := false
		for _, id := range exclude {
			excluded = excluded || id == c.id
		}
		if !excluded && (best.id == 0 || c.free > best.free) {
			best = c
		}
	}
	return best.id, best.id != 0
}

// Successor implements repair.Drives.
func (n *Node) Successor(from engine.DriveID, exclude []engine.DriveID) (engine.DriveID, bool) {
	n.mu.Lock()
	var heir engine.DriveID
	if s := n.find(from); s != nil {
		heir = s.heir
	}
	n.mu.Unlock()
	list, _ := n.candidates()
	for _, c := range list {
		if c.id == heir && c.free >= engine.ExtentBytesMax && !slices.Contains(exclude, heir) {
			return heir, true
		}
	}
	return n.Spare(exclude)
}

// Leaving implements repair.Drives.
func (n *Node) Leaving() (list []engine.DriveID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.slots {
		if s.leaving {
			list = append(list, s.Drive)
		}
	}
	return list
}

// Staying implements repair.Drives.
func (n *Node) Staying() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.staying()
}

// staying returns how many data drives do not leave, be they in or out. The caller holds mu.
func (n *Node) staying() (count int) {
	for _, s := range n.slots {
		if !s.witness && !s.leaving && n.joined(s) {
			count++
		}
	}
	return count
}

// joined reports whether a drive counts. One that is being added does not yet, as it may still be forgotten, but where the drive that it replaces leaves
// already: the two are one. The caller holds mu.
func (n *Node) joined(s *slot) bool {
	replaced := n.find(s.HeirOf)
	return !s.Adding || replaced != nil && replaced.leaving
}

// class returns the redundancy of a class, and whether there is such a class.
func (n *Node) class(class engine.StorageClass) (r engine.Redundancy, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok = n.classes[class]
	return r, ok
}

// standard returns the redundancy of the standard class.
func (n *Node) standard() engine.Redundancy {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.code
}

// damaged passes reports of readers on to the keepers, once there are any.
func (n *Node) damaged(id engine.ShardID, drive engine.DriveID, err error) {
	if n.keeper == nil || n.keeper.Damaged(id, drive) {
		n.logger.Warn("a shard cannot be read; it is served around and will be made again", "shard", shardName(id), "drive", drive, "error", err)
	}
}

func shardName(id engine.ShardID) string {
	return fmt.Sprintf("%d.%d.%d/%d", id.Extent.Group, id.Extent.Epoch, id.Extent.Counter, id.Index)
}

// settleDrives makes the groups agree with what is there: empty folders in the place of lost drives become new drives, drives that are
// missing go out, those that are back come in.
func (n *Node) settleDrives(ctx context.Context) error {
	for _, s := range n.places() {
		if err := n.settle(ctx, s); err != nil {
			return fmt.Errorf("drive %s: %w", s.Path, err)
		}
	}
	return nil
}

func (n *Node) settle(ctx context.Context, s *slot) error {
	n.mu.Lock()
	usable, replaces, known, adding := s.usable(), s.Replaces, s.out && s.unformed == nil, s.Adding
	n.mu.Unlock()
	if adding {
		err := n.finishAdding(ctx, s)
		if err == nil || ctx.Err() != nil {
			return err
		}
		n.logger.Error("a drive was not added; the next attempt comes soon", "drive", s.Drive, "path", s.Path, "error", err)
		n.mu.Lock()
		isIn := s.usable() && !s.out
		n.mu.Unlock()
		if known || isIn {
			return nil
		}
		return n.setOut(ctx, s, true)
	}
	if !usable && n.readmit(s) {
		usable = true
	}
	if !usable && n.replaceable(s) {
		if err := n.replace(ctx, s); err != nil {
			n.logger.Error("a lost drive was not replaced; the next attempt comes soon", "path", s.Path, "error", err)
		} else {
			usable = true
			replaces = s.Replaces
		}
	}
	if !usable && known {
		return nil // nothing to be done
	}
	if usable && replaces != 0 {
		if err := n.join(ctx, s); err != nil {
			return err
		}
	}
	if s.witness { // it takes no shards, so nobody else needs to know
		n.mu.Lock()
		s.out = !usable
		n.mu.Unlock()
		return nil
	}
	return n.setOut(ctx, s, !usable)
}

// setOut commits whether a drive takes shards; only then the node acts on it.
func (n *Node) setOut(ctx context.Context, s *slot, out bool) error {
	n.mu.Lock()
	id, was := s.Drive, s.out
	record := meta.DriveRecord{Node: n.id, Path: s.Path, Incarnation: s.Incarnation, State: meta.DriveIn}
	record.Bytes = s.usage.Total
	n.mu.Unlock()
	if out {
		record.State = meta.DriveOut
	}
	committed, _, err := meta.LoadDrive(n.data.Rows(ctx), id)
	if err != nil {
		return err
	}
	if committed != out || was != out {
		if _, _, err := n.writers[1].Do(ctx, &meta.SetDrive{Drive: id, Out: out}); err != nil {
			return err
		}
		n.logger.Warn("a drive changed its state", "drive", id, "path", s.Path, "out", out)
	}
	if _, _, err := n.writers[0].Do(ctx, &meta.MapDrive{Drive: id, Record: record}); err != nil {
		return err
	}
	n.mu.Lock()
	s.out = out
	n.mu.Unlock()
	if was && !out && n.keeper != nil {
		n.keeper.CameIn()
	}
	return nil
}

// readmit takes a drive in again that was not there for a time, and now is: a mount that came late, which is opened, or a folder that was away and of
// which everything that is open still is. A drive that failed meanwhile, or in its place, and one that was mounted anew stay out until somebody
// has looked after it and started the node again.
func (n *Node) readmit(s *slot) bool {
	n.mu.Lock()
	absent, old := s.absent, s.drive
	n.mu.Unlock()
	if !absent {
		return false
	}
	if why := n.notThere(s); why != nil {
		n.mu.Lock()
		s.problem = fmt.Errorf("%w: %w", errNotThisDrive, why)
		n.mu.Unlock()
		return false
	}
	var problem error
	if old == nil {
		problem = n.openSlot(s)
	} else if problem = old.Failed(); problem == nil {
		problem = old.CheckIdentity()
	}
	if old != nil && problem != nil {
		n.mu.Lock()
		s.problem = fmt.Errorf("the folder is back, but not as it was left; start the node again: %w", problem)
		n.mu.Unlock()
		return false
	}
	n.mu.Lock()
	s.problem, s.absent = problem, mayComeBack(problem)
	n.mu.Unlock()
	if problem != nil {
		n.logger.Error("a drive that is back cannot be opened", "drive", s.Drive, "path", s.Path, "error", problem)
		return false
	}
	n.logger.Warn("a drive is back", "drive", s.Drive, "path", s.Path)
	return true
}

// mayComeBack reports whether a problem says that a drive is not there: then it is looked for again. One that is there and damaged is not.
func mayComeBack(problem error) bool {
	return drive.NotThere(problem) && !errors.Is(problem, drive.ErrDamaged)
}

// errNotThisDrive is the problem of a slot whose folder is not, or does not hold, the drive.
var errNotThisDrive = errors.New("the folder is not this drive any more")

// notThere says why the folder of a slot does not have its drive; nil: it has.
func (n *Node) notThere(s *slot) error {
	fsys, err := n.config.OpenDisk(s.Path)
	if err != nil {
		return err
	}
	identity, _, err := drive.Identify(fsys)
	if err = errors.Join(err, fsys.Close()); err != nil {
		return err
	}
	cluster, err := n.cluster()
	if err == nil && (identity.Cluster != cluster || identity.Drive != s.Drive || identity.Incarnation != s.Incarnation) {
		err = engine.E(engine.KindUnavailable, "drive %d of cluster %x, incarnation %x, is there", identity.Drive, identity.Cluster, identity.Incarnation)
	}
	return err
}

// replaceable reports whether the folder of a lost drive is empty and the same kind of mount as before.
func (n *Node) replaceable(s *slot) bool {
	n.mu.Lock()
	barred := s.hangs || s.leaving // what takes the place of a drive that leaves is not its folder
	n.mu.Unlock()
	if barred {
		return false
	}
	fsys, err := n.config.OpenDisk(s.Path)
	if err != nil {
		return false
	}
	defer fsys.Close()
	if _, _, err := drive.Identify(fsys); !errors.Is(err, drive.ErrUnformatted) {
		return false
	}
	device, err := fsys.Device()
	return err == nil && (s.witness || device.MountPoint == s.MountPoint)
}

// replace formats an empty folder as a new drive in the place of a lost one. The state is written first, so that a crash leaves either
// a drive that is known or a folder that is still empty, whose turn comes again.
func (n *Node) replace(ctx context.Context, s *slot) error {
	n.mu.Lock()
	old := s.drive
	s.drive = nil
	n.mu.Unlock()
	if old != nil {
		n.failReplicas(s.Drive, errWiped) // they have no ground any more
		_ = old.Close()                   // what it could not finish is gone with the folder
		_ = s.fs.Close()
	}
	role := drive.RoleData
	if s.witness {
		role = drive.RoleWitness
	}
	if s.unformed == nil { // else an earlier attempt got no further, and the drive that it would have made has never been
		n.mu.Lock()
		fresh, err := n.state.newMember(s.Path)
		n.mu.Unlock()
		if err != nil {
			return err
		}
		fresh.MountPoint, fresh.Replaces, fresh.Added = s.MountPoint, s.Drive, s.Added
		if s.Replaces != 0 {
			fresh.Replaces = s.Replaces // the lost one had not joined yet
		}
		if err := n.remember(s, fresh); err != nil {
			return err
		}
		n.mu.Lock()
		s.out, s.unformed, s.problem, s.absent = true, &fresh, nil, false
		n.mu.Unlock()
	}
	fresh := *s.unformed
	if err := n.formDrive(ctx, &fresh, role, nil); err != nil {
		n.mu.Lock()
		s.problem = err
		n.mu.Unlock()
		return err
	}
	n.mu.Lock()
	s.unformed = nil
	n.mu.Unlock()
	problem := n.openSlot(s)
	n.mu.Lock()
	s.problem, s.absent = problem, mayComeBack(problem)
	n.mu.Unlock()
	n.logger.Warn("an empty folder takes the place of a lost drive; copy node.json of the state folder again", "path", s.Path, "lost", fresh.Replaces, "drive", fresh.Drive)
	return problem
}

// errWiped is why the replicas of a drive fail whose folder is empty.
var errWiped = errors.New("the folder of the drive was emptied")

// remember writes a slot's member into the state, durably.
func (n *Node) remember(s *slot, m member) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.state.Drives {
		if n.state.Drives[i].Path == s.Path {
			n.state.Drives[i] = m
		}
	}
	if s.witness {
		n.state.Witness = &m
	}
	s.member = m
	return n.state.save(n.home)
}

// join makes a new drive take over the replicas of the one that it replaces, whose shards are from then on to be made again. It can be
// interrupted anywhere and begun again: what it does next follows from the members that the group has.
func (n *Node) join(ctx context.Context, s *slot) error {
	if err := n.joining.take(ctx); err != nil {
		return err
	}
	defer n.joining.end()
	lost := s.Replaces
	for _, g := range []*group.Group{n.root, n.data} {
		if err := n.joinGroup(ctx, g, s, lost); err != nil {
			return err
		}
	}
	if !s.witness {
		if _, _, err := n.writers[1].Do(ctx, &meta.SetDrive{Drive: lost, Out: true, Gone: true}); err != nil {
			return err
		}
		record := meta.DriveRecord{Node: n.id, Path: s.Path, State: meta.DriveGone}
		if _, _, err := n.writers[0].Do(ctx, &meta.MapDrive{Drive: lost, Record: record}); err != nil {
			return err
		}
	}
	m := s.member
	m.Replaces = 0
	return n.remember(s, m)
}

// renewAfter is how long a replica that failed on a drive that works is left alone after an attempt to begin it anew.
const renewAfter = 10 * time.Second

// renew begins replicas anew that failed on a drive that works: their log was damaged, or a write of theirs was refused. Left alone they would
// keep the group short of a replica, and their records would fill the drive's meta stream.
func (n *Node) renew(ctx context.Context, s *slot) error {
	n.mu.Lock()
	usable := s.usable()
	n.mu.Unlock()
	if !usable {
		return nil
	}
	for _, g := range []*group.Group{n.root, n.data} {
		status, err := g.Status(ctx)
		if err != nil {
			return err
		}
		n.mu.Lock()
		lame := n.lame(status, s.Drive)
		if lame {
			s.renewed = time.Now()
		}
		n.mu.Unlock()
		if !lame {
			continue
		}
		n.logger.Warn("a replica begins anew", "group", g.ID(), "drive", s.Drive, "path", s.Path)
		if err := n.joining.take(ctx); err != nil {
			return err
		}
		err = n.joinGroup(ctx, g, s, 0)
		n.joining.end()
		if err != nil {
			return err
		}
	}
	return nil
}

// lame reports whether a group has a replica on a drive that takes no part, or one whose joining was cut off, which would learn for ever, or none there
// although it has fewer than it should on drives that stay. The caller holds mu.
func (n *Node) lame(status group.Status, drive engine.DriveID) bool {
	known, count := n.numbers(), 0
	if !known[drive] {
		return false // it leaves
	}
	for _, m := range status.Members {
		if m.Drive == drive {
			return m.Failed != nil || m.Learner
		}
		if known[m.Drive] {
			count++
		}
	}
	return status.Missing == "" && len(status.Members) > 0 && count < n.wanted()
}

// wanted is how many replicas a group should have on drives that stay, the witness among them, be there one yet or not. The caller holds mu.
func (n *Node) wanted() int {
	count := 0
	if n.state.Witness == nil {
		count++ // where it is needed it is made
	}
	for _, s := range n.slots {
		if !s.leaving {
			count++
		}
	}
	return min(n.replicasLocked(), count)
}

// numbers returns the drives of the node that stay, the witness among them: true, and those that leave: false. A replica on another is on one that was
// replaced before an outdated node.json was put back. The caller holds mu.
func (n *Node) numbers() map[engine.DriveID]bool {
	known := map[engine.DriveID]bool{}
	for _, s := range n.slots {
		known[s.Drive] = !s.leaving
	}
	return known
}

// joinGroup removes the replica of a lost drive, those of drives that the node does not know, and what an interrupted call or a failure left on the new one, and where the group then has
// fewer replicas than it should, adds one on the new drive.
func (n *Node) joinGroup(ctx context.Context, g *group.Group, s *slot, lost engine.DriveID) error {
	status, err := g.Status(ctx)
	if err != nil {
		return err
	}
	// A number is never used again: the index of the group is greater than any that was.
	fresh := group.Member{Replica: status.Commit + 1, Drive: s.Drive}
	count := 0
	n.mu.Lock()
	stays := n.numbers()
	n.mu.Unlock()
	for _, m := range status.Members {
		_, known := stays[m.Drive]
		fresh.Replica = max(fresh.Replica, m.Replica+1)
		switch {
		case m.Drive == lost, !known, m.Drive == s.Drive && (m.Learner || m.Failed != nil):
			if err := g.RemoveReplica(ctx, m.Replica); err != nil {
				return err
			}
		case m.Drive == s.Drive:
			return nil
		case stays[m.Drive]:
			count++
		}
	}
	if count >= n.replicas() {
		return nil
	}
	// A replica that an interrupted call left on the drive, and that never became a member, leaves first.
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		n.mu.Lock()
		host := s.host()
		n.mu.Unlock()
		if err = g.AddReplica(ctx, fresh, host); !engine.Is(err, engine.KindConflict) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

// watch looks after the drives: those that fail, vanish or hang go out; an empty folder in their place is taken in.
func (n *Node) watch(ctx context.Context) {
	defer n.watching.Done()
	ticker := time.NewTicker(n.config.CheckInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.failures:
		case <-ticker.C:
		}
		n.look(ctx)
	}
}

func (n *Node) look(ctx context.Context) {
	n.lookForHanging()
	lame := n.lameDrives(ctx)
	for _, s := range n.places() {
		n.mu.Lock()
		usable, out, settling, adding, d, id := s.usable(), s.out, s.settling, s.Adding, s.drive, s.Drive
		lame := lame[id] && time.Since(s.renewed) >= renewAfter
		n.mu.Unlock()
		if settling {
			continue
		}
		if d != nil && d.Failed() != nil {
			n.failReplicas(id, d.Failed())
		}
		if usable && !n.sameFolder(s, d) {
			usable = false
		}
		switch {
		case usable && lame:
		case usable && !out && !adding:
			continue // as it should be
		case (adding || !usable && out) && time.Since(s.probed) < probeAfter*n.config.CheckInterval:
			continue // a little later: an empty folder may be there then
		}
		s.probed = time.Now()
		n.settleBeside(ctx, s)
	}
}

// failReplicas ends the replicas on a drive that is not believed any more; a leader there gives way. Once the drive is believed again, renew
// begins them anew; where that takes a majority that is gone with them, they are read again when the node is started.
func (n *Node) failReplicas(drive engine.DriveID, why error) {
	n.root.DriveFailed(drive, why)
	n.data.DriveFailed(drive, why)
}

// probeAfter is after how many intervals a drive that is out is looked at again: whether it is back, or an empty folder in its place.
const probeAfter = 3

// lameDrives returns the drives on which a group lacks a replica that works.
func (n *Node) lameDrives(ctx context.Context) map[engine.DriveID]bool {
	ctx, cancel := context.WithTimeout(ctx, n.config.CheckInterval)
	defer cancel()
	lame := map[engine.DriveID]bool{}
	for _, g := range []*group.Group{n.root, n.data} {
		status, err := g.Status(ctx)
		if err != nil {
			return nil // the next look tells more
		}
		n.mu.Lock()
		for _, s := range n.slots {
			lame[s.Drive] = lame[s.Drive] || n.lame(status, s.Drive)
		}
		n.mu.Unlock()
	}
	return lame
}

// settleBeside settles a slot in a goroutine of its own, since a drive may take long over it, and others may hang meanwhile.
func (n *Node) settleBeside(ctx context.Context, s *slot) {
	n.mu.Lock()
	if s.settling { // somebody was quicker
		n.mu.Unlock()
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	s.settling, s.interrupt = true, cancel
	out, id := s.out, s.Drive
	n.mu.Unlock()
	n.watching.Go(func() {
		if err := n.settle(ctx, s); err != nil && ctx.Err() == nil {
			n.logger.Error("a drive's state cannot be committed", "drive", s.Drive, "path", s.Path, "error", err)
		}
		if err := n.renew(ctx, s); err != nil && ctx.Err() == nil {
			n.logger.Error("a replica that failed was not begun anew", "drive", s.Drive, "path", s.Path, "error", err)
		}
		n.mu.Lock()
		s.settling, s.interrupt = false, nil
		changed := s.out != out || s.Drive != id
		n.mu.Unlock()
		cancel()
		if changed && n.keeper != nil {
			n.keeper.Wake()
		}
	})
}

// sameFolder reports whether a slot's folder still is the drive that was opened there; if not, that becomes the slot's problem. The folder may
// hang: then the answer of an earlier look stands until it comes to an end. A look that fails for want of memory, say, or of descriptors proves
// nothing: a drive that is really gone refuses its next write.
func (n *Node) sameFolder(s *slot, d *drive.Drive) bool {
	f := s.folder
	if f.done == nil || f.drive != d {
		f.drive, f.done = d, make(chan error, 1)
		done := f.done
		n.watching.Go(func() {
			n.measure(s, d)
			err := d.CheckIdentity()
			if err == nil {
				n.lookForLost(s, d)
			}
			done <- err
		})
	}
	patience := time.NewTimer(n.config.CheckInterval)
	defer patience.Stop()
	select {
	case err := <-f.done:
		f.done = nil
		if err == nil {
			return true
		}
		if !drive.NotThere(err) {
			n.logger.Warn("a drive's folder could not be looked at", "path", s.Path, "error", err)
			return true
		}
		n.mu.Lock()
		s.problem, s.absent = fmt.Errorf("%w: %w", errNotThisDrive, err), true
		n.mu.Unlock()
		n.failReplicas(d.ID().Drive, err) // they would go on to acknowledge what no name leads to
		return false
	case <-patience.C:
		return true
	}
}

// lookForLost has the keepers make again what files held that somebody removed from a drive.
func (n *Node) lookForLost(s *slot, d *drive.Drive) {
	lost, err := d.LookForLost()
	if err != nil || !lost {
		return // the next look tells more
	}
	n.logger.Error("files of a drive's data stream were removed; their shards are made again", "drive", s.Drive, "path", s.Path)
	if n.keeper != nil {
		n.keeper.CameIn()
	}
}

// measure takes note of a drive's room. Writers and people who ask see what was noted last: a drive that hangs must not hold them up.
func (n *Node) measure(s *slot, d *drive.Drive) {
	usage, err := d.Usage()
	if err != nil {
		return // the next look tells more
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s.usage = usage
}

// A drive whose oldest call is under way for hangAfter goes out, while not more drives than the parity can spare are slow.
const (
	hangAfter = 1500 * time.Millisecond
	slowAfter = 500 * time.Millisecond
)

var errHangs = fmt.Errorf("a call has not returned for more than %v", hangAfter)

// lookForHanging finds drives whose calls do not return, and those that are quick again. Where more hang than the parity can spare, it is the
// machine that is slow, not the drives, and putting them out would help nobody.
func (n *Node) lookForHanging() {
	n.mu.Lock()
	defer n.mu.Unlock()
	var slow []*slot
	count := 0
	for _, s := range n.slots {
		if s.drive == nil || s.witness || s.drive.Failed() != nil || s.problem != nil && !s.hangs {
			continue
		}
		age := s.drive.OldestIO()
		if age >= slowAfter {
			count++
		}
		switch {
		case age >= hangAfter && !s.hangs:
			slow = append(slow, s)
		case age >= slowAfter:
			s.quick = time.Time{}
		case !s.hangs:
		case s.quick.IsZero():
			s.quick = time.Now()
		case time.Since(s.quick) >= n.config.HangQuiet:
			s.hangs, s.problem = false, nil
			n.logger.Warn("a drive that hung is quick again", "drive", s.Drive, "path", s.Path)
		}
	}
	if len(slow) == 0 {
		return
	}
	if count > n.code.Parity {
		n.logger.Warn("drives hang, but more are slow than could be done without, so none goes out", "slow", count)
		return
	}
	for _, s := range slow {
		s.hangs, s.problem = true, errHangs
		if s.interrupt != nil {
			s.interrupt()
		}
	}
}
