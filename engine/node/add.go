package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"holdfast/engine"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/engine/group"
	"holdfast/engine/meta"
)

// AddDrive makes an empty folder a drive of the running node, and returns its number once it takes shards: what is written from then on may lie there, in
// the code that the drives there are now have. The folder is noted in the state folder before anything is written to it, so whatever a crash leaves half
// done is finished by the next start, or by a repetition. Path is absolute.
//
// KindInvalidArgument if the folder is absent, not empty, a drive already, within another folder of the node or no mount point as all others are;
// KindConflict if the node has as many drives as it can have; else the error of what failed, and if that was the folder, nothing is left of the drive.
func (n *Node) AddDrive(ctx context.Context, folder string) (engine.DriveID, error) {
	if err := n.changing.take(ctx); err != nil {
		return 0, err
	}
	defer n.changing.end()
	s, err := n.addSlot(ctx, folder, 0)
	if err != nil {
		return 0, err
	}
	n.followNow(ctx)
	return s.Drive, nil
}

// ReplaceDrive adds a folder as AddDrive does, in the place of another drive, which leaves as if RemoveDrive had been called. What can be read of that
// one moves, to the new drive first; of one that is out the shards are made again.
//
// Errors as for AddDrive; KindInvalidArgument too if there is no such drive; KindConflict if it leaves already.
func (n *Node) ReplaceDrive(ctx context.Context, id engine.DriveID, folder string) (engine.DriveID, error) {
	if err := n.changing.take(ctx); err != nil {
		return 0, err
	}
	defer n.changing.end()
	if err := n.mayBeReplaced(id, folder); err != nil {
		return 0, err
	}
	s, err := n.addSlot(ctx, folder, id)
	if err != nil {
		return 0, err
	}
	return s.Drive, nil
}

// mayBeReplaced says why a drive cannot give its place to a folder.
func (n *Node) mayBeReplaced(id engine.DriveID, folder string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.find(id)
	switch {
	case s == nil:
		return noDrive(id)
	case s.Adding:
		return engine.E(engine.KindConflict, "drive %d is just being added", id)
	case s.leaving:
		return engine.E(engine.KindConflict, "drive %d leaves already; holdfast drive replace %d --cancel takes that back", id, id)
	case path.Clean(folder) == path.Clean(s.Path):
		return engine.E(engine.KindInvalidArgument, "%s is the folder of drive %d itself; empty it, or mount an empty disk there, and the node takes it in by itself", s.Path, id)
	}
	for _, other := range n.slots {
		if other.heir == id || other.HeirOf != 0 && other.Drive == id {
			return engine.E(engine.KindConflict, "drive %d is taking the place of another; wait until that is done", id)
		}
	}
	return nil
}

func noDrive(id engine.DriveID) error {
	return engine.E(engine.KindInvalidArgument, "there is no drive %d with shards; holdfast drive list shows the drives", id)
}

// errAdding is the problem of a slot whose folder is to become a drive.
var errAdding = errors.New("the folder is being made a drive")

// addSlot notes a folder, makes it a drive and lets it take shards. The caller has the turn of changing.
func (n *Node) addSlot(ctx context.Context, folder string, heirOf engine.DriveID) (*slot, error) {
	folder = path.Clean(folder)
	s, err := n.interrupted(folder, heirOf)
	if err != nil {
		return nil, err
	}
	if s == nil {
		mountPoint, err := n.examineFolder(folder)
		if err == nil {
			s, err = n.noteSlot(folder, mountPoint, heirOf)
		}
		if err != nil {
			return nil, err
		}
	}
	err = n.finishAdding(ctx, s)
	if err != nil && n.unwritten(folder) {
		return nil, errors.Join(err, n.forget(s, false))
	}
	n.mu.Lock()
	s.settling = false
	n.mu.Unlock()
	if err != nil {
		return nil, engine.E(engine.KindOf(err), "drive %s is noted, and the node goes on to add it: %w", folder, err)
	}
	n.logger.Warn("a drive was added; copy node.json of the state folder again", "drive", s.Drive, "path", s.Path)
	return s, nil
}

// interrupted returns the slot of a folder whose adding was cut off, made the caller's own, nil if there is none.
func (n *Node) interrupted(folder string, heirOf engine.DriveID) (*slot, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.slots {
		switch {
		case path.Clean(s.Path) != folder:
		case !s.Adding && s.witness:
			return nil, engine.E(engine.KindInvalidArgument, "%s is the witness of this node", folder)
		case !s.Adding || s.HeirOf != heirOf:
			return nil, engine.E(engine.KindInvalidArgument, "%s is drive %d of this node already", folder, s.Drive)
		case s.settling:
			return nil, engine.E(engine.KindConflict, "%s is just being added; holdfast drive list shows how far that is", folder)
		default:
			s.settling = true
			return s, nil
		}
	}
	return nil, nil
}

// examineFolder says why a folder cannot become a drive, before anything is written anywhere, and whether it is a mount point.
func (n *Node) examineFolder(folder string) (mountPoint bool, err error) {
	if !path.IsAbs(folder) {
		return false, engine.E(engine.KindInvalidArgument, "%s is no absolute path", folder)
	}
	if err := n.examinePath(folder); err != nil {
		return false, err
	}
	fsys, err := n.config.OpenDisk(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, engine.E(engine.KindInvalidArgument, "drive %s does not exist; create it or mount it; Holdfast makes no drive folders", folder)
	case err != nil:
		return false, engine.E(engine.KindInvalidArgument, "drive %s: %w", folder, err)
	}
	found, _, err := drive.Identify(fsys)
	device, deviceErr := fsys.Device()
	deviceErr = errors.Join(deviceErr, fsys.Close())
	cluster, clusterErr := n.cluster()
	switch {
	case err == nil && clusterErr == nil && found.Cluster == cluster:
		return false, engine.E(engine.KindInvalidArgument, "%s holds drive %d of this node, which it has no more, or elsewhere; empty the folder if what is there may go", folder, found.Drive)
	case err == nil:
		return false, engine.E(engine.KindInvalidArgument, "%s holds a drive of another cluster; name an empty folder", folder)
	case errors.Is(err, drive.ErrForeign):
		return false, engine.E(engine.KindInvalidArgument, "drive %s: %w; name an empty folder", folder, err)
	case !errors.Is(err, drive.ErrUnformatted):
		return false, engine.E(engine.KindInvalidArgument, "drive %s: %w", folder, err)
	case deviceErr != nil:
		return false, engine.E(engine.KindUnavailable, "drive %s: %w", folder, deviceErr)
	}
	return device.MountPoint, n.examineMount(folder, device)
}

// examinePath refuses a folder within another one of the node, or around it.
func (n *Node) examinePath(folder string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	within := func(a, b string) bool { return strings.HasPrefix(a+"/", strings.TrimSuffix(b, "/")+"/") }
	others := []string{path.Clean(n.config.State)}
	for _, s := range n.slots {
		if !s.witness {
			others = append(others, path.Clean(s.Path))
		}
	}
	for i, other := range others {
		what := "drive " + other
		if i == 0 {
			what = "the state folder " + other
		}
		switch {
		case within(folder, other):
			return engine.E(engine.KindInvalidArgument, "%s lies inside %s; name a folder beside it", folder, what)
		case within(other, folder):
			return engine.E(engine.KindInvalidArgument, "%s has %s inside; name a folder beside it", folder, what)
		}
	}
	count := len(others) - 1
	if count >= drivesMax {
		return engine.E(engine.KindConflict, "the node has %d drives, and can have no more", count)
	}
	return nil
}

// examineMount refuses a folder that is probably the place of a disk which is not mounted, and one that is a drive's by another name.
func (n *Node) examineMount(folder string, device disk.Device) error {
	mounts, others := 0, 0
	for _, s := range n.places() {
		n.mu.Lock()
		fsys, witness, mountPoint := s.fs, s.witness, s.MountPoint
		n.mu.Unlock()
		if witness {
			continue
		}
		others++
		if mountPoint {
			mounts++
		}
		if fsys == nil {
			continue
		}
		if d, err := fsys.Device(); err == nil && d.ID == device.ID && d.Inode == device.Inode {
			return engine.E(engine.KindInvalidArgument, "%s is the folder of drive %d, %s, by another name", folder, s.Drive, s.Path)
		}
	}
	if mounts == others && others > 0 && !device.MountPoint {
		return engine.E(engine.KindInvalidArgument, "%s is no mount point, as all other drives are; mount its disk first", folder)
	}
	return nil
}

// noteSlot writes a new member into the state, durably, and makes its slot, which is the caller's until settling is false.
func (n *Node) noteSlot(folder string, mountPoint bool, heirOf engine.DriveID) (*slot, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, err := n.state.newMember(folder)
	if err != nil {
		return nil, err
	}
	m.MountPoint, m.Added, m.Adding, m.HeirOf = mountPoint, true, true, heirOf
	next := *n.state
	next.Drives = append(slices.Clone(n.state.Drives), m)
	next.Removed = slices.DeleteFunc(slices.Clone(n.state.Removed), func(p string) bool { return path.Clean(p) == folder })
	if err := next.save(n.home); err != nil {
		return nil, engine.E(engine.KindUnavailable, "the state folder cannot be written, so no drive can be added: %w", err)
	}
	n.state = &next
	s := &slot{member: m, folder: &look{}, out: true, settling: true, problem: errAdding}
	n.insert(s)
	return s, nil
}

// insert puts a slot behind the other data drives. The caller holds mu.
func (n *Node) insert(s *slot) {
	at := slices.IndexFunc(n.slots, func(s *slot) bool { return s.witness })
	if at < 0 || s.witness {
		at = len(n.slots)
	}
	n.slots = slices.Insert(slices.Clone(n.slots), at, s)
}

// unwritten reports whether a folder is still as empty as it was, but for what formatting it left.
func (n *Node) unwritten(folder string) bool {
	fsys, err := n.config.OpenDisk(folder)
	if err != nil {
		return false
	}
	defer fsys.Close()
	_, _, err = drive.Identify(fsys)
	return errors.Is(err, drive.ErrUnformatted)
}

// finishAdding formats the folder of a slot, where that was not done, lets it take shards and, where it takes the place of another drive, has that one
// leave. It can be interrupted anywhere and begun again.
func (n *Node) finishAdding(ctx context.Context, s *slot) error {
	n.mu.Lock()
	m, opened := s.member, s.drive != nil
	n.mu.Unlock()
	if !opened {
		if err := n.sameMount(m); err != nil {
			return n.notAdded(s, err)
		}
		if err := cmp.Or(n.formDrive(ctx, &m, drive.RoleData, nil), n.openSlot(s)); err != nil {
			return n.notAdded(s, err)
		}
	}
	n.mu.Lock()
	s.problem, s.absent, s.out = nil, false, true
	n.mu.Unlock()
	if err := n.setOut(ctx, s, false); err != nil {
		return err
	}
	if m.HeirOf != 0 {
		switch err := n.setLeaving(ctx, m.HeirOf, true, m.Drive); {
		case engine.Is(err, engine.KindConflict), engine.Is(err, engine.KindInvalidArgument):
			n.logger.Warn("a drive was to take the place of another, which cannot leave any more", "drive", m.Drive, "other", m.HeirOf, "error", err)
		case err != nil:
			return err
		}
	}
	m.Adding, m.HeirOf = false, 0
	if err := n.remember(s, m); err != nil {
		return err
	}
	if n.keeper != nil {
		n.keeper.CameIn() // it takes shards only now
	}
	return nil
}

func (n *Node) notAdded(s *slot, err error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.problem = err
	return err
}

// sameMount refuses a folder that was a mount point when it was named, and is none now: it would be beneath the disk.
func (n *Node) sameMount(m member) error {
	fsys, err := n.config.OpenDisk(m.Path)
	if err != nil {
		return err
	}
	device, err := fsys.Device()
	if err = errors.Join(err, fsys.Close()); err == nil && device.MountPoint != m.MountPoint {
		err = engine.E(engine.KindUnavailable, "%s is another mount than when it was added", m.Path)
	}
	return err
}

// adopt makes the redundancy of every class that of a number of data drives. KindInvalidArgument if one that was configured is not possible.
func (n *Node) adopt(drives int) error {
	standard, err := standardFor(drives, n.config.Standard)
	if err != nil {
		return err
	}
	reduced, err := reducedFor(drives, standard, n.config.Reduced)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.code, n.parity = standard, standard.Parity
	n.classes = map[engine.StorageClass]engine.Redundancy{engine.ClassStandard: standard, engine.ClassReduced: reduced}
	return nil
}

// follow makes the redundancy of new writes that of the drives which stay. Where it has more parity than before, the groups get the replicas for that
// first: metadata must bear the loss of as many drives as data. Where drives leave, or a start came to more of them than the one before had, a witness may
// have to take a replica. The caller has the turn of changing.
func (n *Node) follow(ctx context.Context) error {
	if err := n.needWitness(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	before, drives := n.code, n.staying()
	n.mu.Unlock()
	standard, err := standardFor(drives, n.config.Standard)
	if err != nil || standard == before {
		return err
	}
	if standard.Parity > before.Parity {
		n.mu.Lock()
		n.parity = standard.Parity
		n.mu.Unlock()
		if err := n.growGroups(ctx); err != nil {
			return err
		}
	}
	if err := n.adopt(drives); err != nil {
		return err
	}
	n.noteFollowed()
	n.logger.Warn("the redundancy of new writes follows the drives", "before", codeText(before), "now", codeText(standard))
	if n.keeper != nil {
		n.keeper.CameIn() // what has less parity than its class may have it now
	}
	return nil
}

// noteFollowed keeps the redundancy for the next start, which has nothing to warn of then.
func (n *Node) noteFollowed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.Standard = codeText(n.code)
	if err := n.state.save(n.home); err != nil {
		n.logger.Warn("the redundancy is not noted in the state folder", "error", err)
	}
}

// growGroups gives every group the replicas that it should have, on drives that have none, and on a witness where the drives are too few.
func (n *Node) growGroups(ctx context.Context) error {
	if err := n.needWitness(ctx); err != nil {
		return err
	}
	for _, g := range []*group.Group{n.root, n.data} {
		for last := -1; ; {
			status, err := g.Status(ctx)
			if err != nil {
				return err
			}
			n.mu.Lock()
			working := n.working(status)
			missing := n.wanted() - working
			target := n.roomFor(status, 0)
			n.mu.Unlock()
			if missing <= 0 {
				break
			}
			if target == nil || working <= last {
				return engine.E(engine.KindUnavailable, "group %d lacks %d replicas, and no drive is at hand that could have one", g.ID(), missing)
			}
			last = working
			if err := n.joinOn(ctx, g, target); err != nil {
				return err
			}
		}
	}
	return nil
}

// working counts the replicas on drives that stay that vote and take part. The caller holds mu.
func (n *Node) working(status group.Status) (count int) {
	stays := n.numbers()
	for _, m := range status.Members {
		if stays[m.Drive] && !m.Learner && m.Failed == nil {
			count++
		}
	}
	return count
}

// roomFor returns a slot where a group could have one more replica, the one with the number first if that can; nil if there is none. The caller holds mu.
func (n *Node) roomFor(status group.Status, first engine.DriveID) (found *slot) {
	has := map[engine.DriveID]bool{}
	for _, m := range status.Members {
		has[m.Drive] = !m.Learner
	}
	for _, s := range n.slots {
		if s.leaving || has[s.Drive] || !s.usable() || s.out || s.Adding {
			continue
		}
		if found == nil || s.Drive == first {
			found = s
		}
	}
	return found
}

// joinOn gives a group one more replica.
func (n *Node) joinOn(ctx context.Context, g *group.Group, s *slot) error {
	if err := n.joining.take(ctx); err != nil {
		return err
	}
	defer n.joining.end()
	return n.joinGroup(ctx, g, s, 0)
}

// needWitness makes a witness where the drives that stay are too few for the replicas and there is none.
func (n *Node) needWitness(ctx context.Context) error {
	n.mu.Lock()
	if n.state.Witness != nil || n.staying() >= n.replicasLocked() {
		n.mu.Unlock()
		return nil
	}
	m, err := n.state.newMember(path.Join(n.config.State, "witness"))
	if err == nil {
		err = cmp.Or(n.home.MkdirAll("witness"), n.home.SyncDir("."))
	}
	if err == nil {
		next := *n.state
		next.Witness = &m
		if err = next.save(n.home); err == nil {
			n.state = &next
		}
	}
	if err != nil {
		n.mu.Unlock()
		return fmt.Errorf("the witness in the state folder: %w", err)
	}
	s := &slot{member: m, witness: true, folder: &look{}, out: true, settling: true, problem: errAdding}
	n.insert(s)
	n.mu.Unlock()
	err = cmp.Or(n.formDrive(ctx, &m, drive.RoleWitness, nil), n.openSlot(s))
	n.mu.Lock()
	defer n.mu.Unlock()
	s.problem, s.settling, s.out = err, false, err != nil
	return err
}

// adoptMapped takes in drives of this node that the cluster map has and node.json has not: it is an old copy. Of drives that were removed it forgets those
// that an old copy still has.
func (n *Node) adoptMapped(drives map[engine.DriveID]meta.DriveRecord) error {
	known := map[string]*slot{}
	for _, s := range n.slots {
		known[path.Clean(s.Path)] = s
	}
	fresh := false
	for _, id := range sortedDrives(drives) {
		r := drives[id]
		if r.Node != n.state.Node || r.Witness || r.State == meta.DriveGone || n.find(id) != nil {
			continue
		}
		m := member{Path: r.Path, Drive: id, Incarnation: r.Incarnation, Added: true}
		s := known[path.Clean(r.Path)]
		switch {
		case s == nil:
			s = &slot{folder: &look{}}
			if fsys, err := n.config.OpenDisk(r.Path); err == nil {
				if device, err := fsys.Device(); err == nil {
					m.MountPoint = device.MountPoint
				}
				_ = fsys.Close() // it was only looked at
			}
			n.state.Drives = append(n.state.Drives, m)
			n.insert(s)
		case s.witness || s.drive != nil || drives[s.Drive].State != meta.DriveGone:
			continue
		default: // it came into the place of the one that the old copy has
			m.MountPoint, m.Added = s.MountPoint, s.Added
			at := slices.IndexFunc(n.state.Drives, func(o member) bool { return o.Drive == s.Drive })
			n.state.Drives[at] = m
		}
		s.member = m
		if s.problem = n.openSlot(s); s.problem != nil {
			s.absent = mayComeBack(s.problem)
		}
		n.logger.Warn("the cluster map has a drive that node.json lacks, which is an old copy; it is taken in", "drive", id, "path", r.Path)
		known[path.Clean(r.Path)], fresh = s, true
	}
	if !fresh {
		return nil
	}
	return n.state.save(n.home)
}

func sortedDrives(drives map[engine.DriveID]meta.DriveRecord) []engine.DriveID {
	list := make([]engine.DriveID, 0, len(drives))
	for id := range drives {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}
