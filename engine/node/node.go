// Package node is the storage of one node: its drives, the groups on them, the coordinator over both and the keepers, opened and
// closed together.
//
// Promise: Open never formats a folder that holds anything, nor one that stands in for an unmounted drive; a drive that is missing,
// damaged or failed is out, by a command, before a write may do without it; an empty folder in the place of a lost drive becomes a
// new drive, and what the lost one held is made again.
//
// It knows no protocol and no configuration file.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"sync"
	"time"

	"holdfast/engine"
	"holdfast/engine/buffer"
	"holdfast/engine/coordinator"
	"holdfast/engine/disk"
	"holdfast/engine/drive"
	"holdfast/engine/extent"
	"holdfast/engine/group"
	"holdfast/engine/meta"
	"holdfast/engine/repair"
)

// Config describes a node's storage.
type Config struct {
	State  string   // folder of the node's own state; on another device than the drives, where there is one
	Drives []string // folders, normally mount points
	// Standard is the redundancy of the standard class; zero means that of the number of drives, see DefaultRedundancy.
	Standard engine.Redundancy
	// Reduced is that of the class with reduced redundancy; zero means as many shards as the standard class has, with one of parity.
	Reduced  engine.Redundancy
	Memory   int64 // budget of block buffers; 0 means 256 MiB
	Geometry drive.Geometry
	Logger   *slog.Logger
	// OpenDisk opens a folder; nil means the operating system's.
	OpenDisk func(path string) (disk.FS, error)
	// Locked is called when the state folder is found to be this process's own, before anything else is opened; nil: nothing is.
	Locked func()
	// CheckInterval is how often drives are looked at; 0 means 0.5 s.
	CheckInterval time.Duration
	// KeeperInterval is how long the keepers rest; 0 means 10 s.
	KeeperInterval time.Duration
	// OwnerExpiry is how long an owner of open files lives that nobody renews; 0 means engine.OwnerExpiry.
	OwnerExpiry time.Duration
	// FeedHistory is how many changes of a bucket are kept for followers that are behind; 0 means repair.FeedHistory.
	FeedHistory uint64
	// HangQuiet is how long a drive that hung must be quick before it takes part again; 0 means 10 s.
	HangQuiet time.Duration
	// ScrubPeriod is the time that a pass of the scrub over a drive is spread over; 0: none begins by itself.
	ScrubPeriod time.Duration
	// ScrubRate bounds the bytes that the scrub reads of a drive in a second; 0 means 64 MiB.
	ScrubRate int64
	// MoveRate bounds the bytes that are moved off drives that leave in a second; 0 means 64 MiB.
	MoveRate int64
	// ScrubClock is the time as the scrub sees it; nil means that of the machine.
	ScrubClock repair.Clock
	// CompactEagerly makes the keeper compact every file that was patched as far as it can be; for tests.
	CompactEagerly bool
	// ApplyEverywhere makes every replica apply commands by itself and compares; for tests.
	ApplyEverywhere bool
}

const (
	rootGroup = engine.GroupID(0)
	dataGroup = engine.GroupID(1)
	// drivesMax bounds the number of drives of a node.
	drivesMax = 256
)

// DefaultRedundancy returns the code for a number of drives: 1+0, 1+1, 2+1, 2+2, 3+2, 4+2, 4+3, and from 8 on four parity shards with
// at most twelve of data.
func DefaultRedundancy(drives int) engine.Redundancy {
	switch {
	case drives >= 8:
		return engine.Redundancy{Data: min(drives-4, 12), Parity: 4}
	case drives <= 0:
		return engine.Redundancy{}
	}
	return []engine.Redundancy{{Data: 1}, {Data: 1, Parity: 1}, {Data: 2, Parity: 1}, {Data: 2, Parity: 2}, {Data: 3, Parity: 2}, {Data: 4, Parity: 2}, {Data: 4, Parity: 3}}[drives-1]
}

// Node is an open node.
type Node struct {
	*coordinator.Coordinator
	config Config
	logger *slog.Logger
	cache  *drive.Cache
	pool   *buffer.Pool
	home   disk.FS
	lock   io.Closer
	id     uint64
	before string // the redundancy of the standard class at the last start, if it was another

	root, data *group.Group
	writers    [2]*group.Writer // by group
	keeper     *repair.Keeper
	census     aged[census] // for metrics
	usage      aged[usage]

	mu    sync.Mutex // guards all below
	state *state
	slots []*slot           // the drives, and the witness; another slice when one comes or goes, so that who took it may go through it without the lock
	code  engine.Redundancy // of the standard class, which has the most parity
	// classes has the redundancy of every class. It follows the drives that there are, see adopt.
	classes map[engine.StorageClass]engine.Redundancy
	// parity is what the groups have replicas for: that of the standard class, or more while one with more is about to be adopted.
	parity int

	failures chan struct{} // of capacity 1: a drive failed
	leavings chan struct{} // of capacity 1: a drive is to leave
	stop     context.CancelFunc
	watching sync.WaitGroup
	joining  turn // held while a drive takes over replicas: a group changes its members one at a time
	changing turn // held while a drive is added, or told to leave
}

// turn is a lock that is waited for no longer than a context lasts.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	if ctx.Err() == nil {
		select {
		case t <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	return engine.E(engine.KindCanceled, "another drive's turn did not end in time: %w", context.Cause(ctx))
}

func (t turn) end() { <-t }

// slot is the place of a drive, and the drive that is there.
type slot struct {
	member
	witness bool
	drive   *drive.Drive // nil: not at hand
	fs      disk.FS
	usage   drive.Usage // when it was looked at last
	problem error       // why it is not at hand
	out     bool        // committed
	hangs   bool        // the problem is that its calls do not return
	quick   time.Time   // since when a drive that hung does not

	settling  bool               // a goroutine sees to it; until it has ended watch lets the slot alone
	interrupt context.CancelFunc // ends that
	absent    bool               // the problem is that the folder is not the drive: it may come back
	renewed   time.Time          // when a replica here was last begun anew
	unformed  *member            // what the folder would have become, had it let itself be formatted
	leaving   bool               // committed: it takes no shards any more, and those that it has go to others
	heir      engine.DriveID     // committed: the drive that takes its place then, or 0

	folder *look
	probed time.Time // when it was last seen to; watch's own
}

// look is a look at a drive's folder that has not come back, if there is one. It is watch's own.
type look struct {
	drive *drive.Drive
	done  chan error // nil: there is none
}

// host is the drive as the place of replicas. The caller holds mu where others may change the slot.
func (s *slot) host() group.Host {
	h := group.Host{Drive: s.Drive}
	if s.drive != nil {
		h.Log, h.Stores = s.drive, s.drive
	}
	return h
}

// Open opens a node's storage, and forms the cluster on the first start. It returns once reads and writes are served; drives that could
// not be opened are out by then.
func Open(ctx context.Context, config Config) (*Node, error) {
	n := &Node{
		config: config, logger: config.Logger, failures: make(chan struct{}, 1), leavings: make(chan struct{}, 1), joining: newTurn(), changing: newTurn(),
	}
	if err := n.check(); err != nil {
		return nil, err
	}
	if err := n.open(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Check says whether a node can have these drives and this redundancy of the standard class, and which that is: zero means that of the number
// of drives. It looks at no folder.
func Check(drives []string, standard engine.Redundancy) (engine.Redundancy, error) {
	if len(drives) == 0 || len(drives) > drivesMax {
		return standard, engine.E(engine.KindInvalidArgument, "%d drives are named; 1 to %d are possible", len(drives), drivesMax)
	}
	seen := map[string]bool{}
	for _, p := range drives {
		if p = path.Clean(p); seen[p] {
			return standard, engine.E(engine.KindInvalidArgument, "drive %s is named twice", p)
		}
		seen[p] = true
	}
	return standardFor(len(drives), standard)
}

// standardFor returns the redundancy of the standard class with a number of drives, if it is possible; zero means the default.
func standardFor(drives int, standard engine.Redundancy) (engine.Redundancy, error) {
	if standard.Data == 0 {
		standard = DefaultRedundancy(drives)
	}
	if standard.Data+standard.Parity > drives || standard.Parity > standard.Data || standard.Data < 1 || standard.Parity < 0 {
		return standard, engine.E(engine.KindInvalidArgument, "the redundancy %d+%d is not possible with the drives that there are, %d: data ≥ parity ≥ 0, and a drive for each shard",
			standard.Data, standard.Parity, drives)
	}
	return standard, nil
}

// CheckReduced says whether the class with reduced redundancy can have this one beside the standard class's, and which that is: zero means as many
// shards as that has, one of them parity.
func CheckReduced(drives []string, standard, reduced engine.Redundancy) (engine.Redundancy, error) {
	return reducedFor(len(drives), standard, reduced)
}

func reducedFor(drives int, standard, reduced engine.Redundancy) (engine.Redundancy, error) {
	if reduced.Data == 0 {
		reduced = engine.Redundancy{Data: standard.Data + standard.Parity, Parity: 0}
		if standard.Parity > 0 {
			reduced.Data, reduced.Parity = reduced.Data-1, 1
		}
	}
	if reduced.Parity > standard.Parity {
		return reduced, engine.E(engine.KindInvalidArgument, "the reduced redundancy %d+%d has more parity than the standard one, %d+%d", reduced.Data, reduced.Parity,
			standard.Data, standard.Parity)
	}
	return standardFor(drives, reduced)
}

// Paths returns the folders of the data drives that a start has which names some: those, without the ones that were removed, and the ones that were added.
// Of the state folder it reads node.json alone; without one, or where that cannot be read, they are those that are named.
func Paths(state string, named []string) []string {
	home, err := disk.OS(state)
	if err != nil {
		return named
	}
	s, err := loadState(home)
	if err = errors.Join(err, home.Close()); err != nil || s == nil {
		return named
	}
	return s.paths(named)
}

// Examine says why Open would refuse the folders, before anything is written anywhere: they are others than the node's, or, where no node has
// been formed yet, absent or not empty. The state folder may be absent.
func Examine(config Config) error {
	n := &Node{config: config}
	if err := n.check(); err != nil {
		return err
	}
	home, err := n.config.OpenDisk(config.State)
	if err == nil {
		n.state, err = loadState(home)
		err = errors.Join(err, home.Close())
	}
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the state folder %s: %w", config.State, err)
	case n.state != nil:
		return cmp.Or(n.samePaths(), n.adopt(len(n.state.Drives)))
	}
	if err := n.adopt(len(config.Drives)); err != nil {
		return err
	}
	if n.state, err = newState(config.Drives); err != nil {
		return err
	}
	return n.refuseForeign()
}

func (n *Node) check() error {
	c := &n.config
	if _, err := Check(c.Drives, engine.Redundancy{}); err != nil {
		return err
	}
	if n.logger == nil {
		n.logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.OpenDisk == nil {
		c.OpenDisk = disk.OS
	}
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	if c.CheckInterval == 0 {
		c.CheckInterval = 500 * time.Millisecond
	}
	if c.HangQuiet == 0 {
		c.HangQuiet = 10 * time.Second
	}
	return nil
}

func (n *Node) open(ctx context.Context) (err error) {
	if n.home, err = n.config.OpenDisk(n.config.State); err != nil {
		return fmt.Errorf("the state folder %s: %w", n.config.State, err)
	}
	if n.lock, err = n.home.Lock("lock"); err != nil {
		return fmt.Errorf("the state folder %s is in use by another process: %w", n.config.State, err)
	}
	if n.config.Locked != nil {
		n.config.Locked()
	}
	n.cache = drive.NewCache(max(n.config.Memory/8, 8<<20), len(n.config.Drives)+1)
	n.pool = buffer.New(n.config.Memory)
	if err := n.form(ctx); err != nil {
		return err
	}
	n.openDrives()
	if err := n.refuseNewer(); err != nil {
		return err
	}
	if err := n.startGroups(ctx); err != nil {
		return err
	}
	if err := n.countDrives(ctx); err != nil {
		return err
	}
	if err := n.loadLeaving(ctx); err != nil {
		return err
	}
	if err := n.settleDrives(ctx); err != nil {
		return err
	}
	if err := n.adopt(n.Staying()); err != nil {
		return err
	}
	n.Coordinator, err = coordinator.New(ctx, coordinator.Config{
		Root: n.writers[0], Data: n.writers[1], Drives: n, Pool: n.pool,
		Class:   n.class,
		Damaged: n.damaged, Logger: n.logger,
	})
	if err != nil {
		return err
	}
	n.noteStandard()
	n.keeper = repair.Start(repair.Config{
		Writer: n.writers[1], Drives: n, OldestPin: n.Coordinator.OldestPin, Source: n.Coordinator.Source,
		Logger: n.logger, Interval: n.config.KeeperInterval, OwnerExpiry: n.config.OwnerExpiry, MoveRate: n.config.MoveRate, FeedHistory: n.config.FeedHistory, CompactEagerly: n.config.CompactEagerly,
		Scrub: repair.ScrubConfig{Root: n.writers[0], Period: n.config.ScrubPeriod, Rate: n.config.ScrubRate, Clock: n.config.ScrubClock},
	})
	n.census.read, n.census.rest = n.takeCensus, censusRest
	n.usage.read, n.usage.rest = n.readUsage, usageRest
	watch, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.watching.Add(2)
	go n.watch(watch)
	go n.leave(watch)
	return nil
}

// countDrives makes sure that no drive number is given twice, should the state be an old copy.
func (n *Node) countDrives(ctx context.Context) error {
	view, err := n.root.Read(ctx)
	if err != nil {
		return err
	}
	drives, err := meta.ListDrives(view)
	for id := range drives {
		n.state.Last = max(n.state.Last, uint64(id))
	}
	if err == nil {
		err = n.adoptMapped(drives)
	}
	for _, g := range []*group.Group{n.root, n.data} { // a witness has replicas only
		status, errStatus := g.Status(ctx)
		for _, m := range status.Members {
			n.state.Last = max(n.state.Last, uint64(m.Drive))
		}
		err = errors.Join(err, errStatus)
	}
	return errors.Join(err, view.Close())
}

// form makes the cluster on the first start: drives, then the first state of the groups, then the note that it is done. A start that
// was interrupted is begun again; it finds drives of this cluster that hold nothing yet.
func (n *Node) form(ctx context.Context) (err error) {
	if n.state, err = loadState(n.home); err != nil {
		return err
	}
	if n.state == nil {
		if n.state, err = newState(n.config.Drives); err != nil {
			return err
		}
		if err := n.adopt(len(n.config.Drives)); err != nil {
			return err
		}
		if len(n.config.Drives) < n.replicas() {
			witness, err := n.state.newMember(path.Join(n.config.State, "witness"))
			if err != nil {
				return err
			}
			n.state.Witness = &witness
		}
		if err := n.refuseForeign(); err != nil {
			return err
		}
		if err := n.state.save(n.home); err != nil {
			return err
		}
	}
	if err := n.samePaths(); err != nil {
		return err
	}
	if err := n.adopt(len(n.state.Drives)); err != nil { // until it is known which of them leave
		return err
	}
	if n.state.Witness != nil { // its folder is the node's own; one that was lost is made again, and becomes another witness
		if err := cmp.Or(n.home.MkdirAll("witness"), n.home.SyncDir(".")); err != nil {
			return err
		}
	}
	if n.state.Formed {
		return nil
	}
	members := n.replicaMembers()
	for i := range n.state.Drives {
		if err := n.formDrive(ctx, &n.state.Drives[i], drive.RoleData, members); err != nil {
			return err
		}
	}
	if w := n.state.Witness; w != nil {
		if err := n.formDrive(ctx, w, drive.RoleWitness, members); err != nil {
			return err
		}
	}
	n.state.Formed, n.state.Standard = true, codeText(n.code)
	return n.state.save(n.home)
}

// noteStandard keeps the redundancy for the next start to compare. A state folder that cannot be written costs that start a warning, no more.
func (n *Node) noteStandard() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noteStandardLocked()
}

// noteStandardLocked is noteStandard for who holds mu.
func (n *Node) noteStandardLocked() {
	standard := codeText(n.code)
	if n.state.Standard == standard {
		return
	}
	n.before, n.state.Standard = n.state.Standard, standard
	if err := n.state.save(n.home); err != nil {
		n.logger.Warn("the redundancy is not noted in the state folder", "error", err)
	}
}

// Removed returns the folders that the start named and that the node has no drive at any more: they were removed.
func (n *Node) Removed() (list []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	removed := map[string]bool{}
	for _, p := range n.state.Removed {
		removed[path.Clean(p)] = true
	}
	for _, p := range n.config.Drives {
		if removed[path.Clean(p)] {
			list = append(list, p)
		}
	}
	return list
}

// StandardBefore returns the redundancy that the standard class had at the start before this one, if it was another; else "".
func (n *Node) StandardBefore() string { return n.before }

func codeText(r engine.Redundancy) string { return fmt.Sprintf("%d+%d", r.Data, r.Parity) }

// refuseForeign looks at every folder before anything is written anywhere.
func (n *Node) refuseForeign() error {
	for i := range n.state.Drives {
		m := &n.state.Drives[i]
		fsys, err := n.config.OpenDisk(m.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return engine.E(engine.KindInvalidArgument, "drive %s does not exist; create it or mount it; Holdfast makes no drive folders", m.Path)
		case err != nil:
			return fmt.Errorf("drive %s: %w", m.Path, err)
		}
		_, _, err = drive.Identify(fsys)
		device, deviceErr := fsys.Device()
		m.MountPoint = device.MountPoint
		if closeErr := fsys.Close(); deviceErr == nil {
			deviceErr = closeErr
		}
		switch {
		case err == nil:
			return engine.E(engine.KindInvalidArgument, "drive %s belongs to another cluster, or the state folder %s was lost; name the right state folder, or empty folders", m.Path, n.config.State)
		case errors.Is(err, drive.ErrForeign):
			return fmt.Errorf("drive %s: %w; name an empty folder", m.Path, err)
		case !errors.Is(err, drive.ErrUnformatted):
			return fmt.Errorf("drive %s: %w", m.Path, err)
		case deviceErr != nil:
			return fmt.Errorf("drive %s: %w", m.Path, deviceErr)
		}
	}
	return nil
}

// samePaths refuses a start with other drives than the node has. Those that were added need not be named, and those that were removed may be.
func (n *Node) samePaths() error {
	have, named := map[string]bool{}, map[string]bool{}
	for _, m := range n.state.Drives {
		have[path.Clean(m.Path)] = true
	}
	for _, p := range n.state.Removed {
		have[path.Clean(p)] = true
	}
	for _, p := range n.config.Drives {
		named[path.Clean(p)] = true
		if !have[path.Clean(p)] {
			return engine.E(engine.KindInvalidArgument, "drive %s is not one of this node's; it was formed with %d drives, the first of them %s", p, len(n.state.Drives), n.state.Drives[0].Path)
		}
	}
	for _, m := range n.state.Drives {
		if !m.Added && !named[path.Clean(m.Path)] {
			return engine.E(engine.KindInvalidArgument, "drive %s is not named; name all that this node was formed with, also those that are broken; holdfast drive remove takes one away", m.Path)
		}
	}
	return nil
}

// replicas is the number of replicas of a group: 2m+1, at least 3 where there are three drives.
func (n *Node) replicas() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.replicasLocked()
}

// replicasLocked is replicas for who holds mu.
func (n *Node) replicasLocked() int {
	return replicasFor(n.parity, len(n.state.Drives))
}

func replicasFor(parity, drives int) int {
	count := 2*parity + 1
	if drives >= 3 {
		count = max(count, 3)
	}
	return count
}

func (n *Node) replicaMembers() []group.Member {
	var members []group.Member
	for i, m := range n.state.Drives {
		if len(members) < n.replicas() {
			members = append(members, group.Member{Replica: uint64(i + 1), Drive: m.Drive})
		}
	}
	if w := n.state.Witness; w != nil {
		members = append(members, group.Member{Replica: uint64(len(members) + 1), Drive: w.Drive})
	}
	return members
}

// formDrive formats a drive and gives it the first state of the groups that have a replica there.
func (n *Node) formDrive(ctx context.Context, m *member, role drive.Role, members []group.Member) error {
	fsys, err := n.config.OpenDisk(m.Path)
	if err != nil {
		return fmt.Errorf("drive %s: %w", m.Path, err)
	}
	defer fsys.Close()
	cluster, err := n.cluster()
	if err != nil {
		return err
	}
	found, _, err := drive.Identify(fsys)
	switch {
	case err == nil && found.Cluster == cluster && found.Drive == m.Drive:
	case errors.Is(err, drive.ErrUnformatted):
		identity := drive.Identity{Cluster: cluster, Drive: m.Drive, Incarnation: m.Incarnation, Role: role, Created: time.Now()}
		if err := drive.Format(fsys, identity, n.geometry(role)); err != nil {
			return fmt.Errorf("drive %s: %w", m.Path, err)
		}
	case err == nil:
		return engine.E(engine.KindInvalidArgument, "drive %s belongs to another cluster", m.Path)
	default:
		return fmt.Errorf("drive %s: %w", m.Path, err)
	}
	d, err := drive.Open(fsys, drive.Options{Cache: n.cache, Buffers: n.pool})
	if err != nil {
		return fmt.Errorf("drive %s: %w", m.Path, err)
	}
	for _, replica := range members {
		if replica.Drive != m.Drive {
			continue
		}
		host := group.Host{Drive: m.Drive, Log: d, Stores: d}
		for _, id := range []engine.GroupID{rootGroup, dataGroup} {
			if err := group.BootstrapReplica(ctx, id, replica, members, host); err != nil {
				return errors.Join(fmt.Errorf("drive %s: %w", m.Path, err), d.Close())
			}
		}
	}
	return d.Close()
}

// cluster returns the id of the cluster that the node is of.
func (n *Node) cluster() ([16]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.cluster()
}

func (n *Node) geometry(role drive.Role) drive.Geometry {
	g := n.config.Geometry
	if role == drive.RoleWitness {
		g.SegmentBytes, g.ReserveBytes = 0, 0
	}
	return g
}

// openDrives opens what is there; what is not stays in its slot with the reason.
func (n *Node) openDrives() {
	for _, m := range n.state.Drives {
		n.slots = append(n.slots, &slot{member: m, folder: &look{}})
	}
	if n.state.Witness != nil {
		n.slots = append(n.slots, &slot{member: *n.state.Witness, witness: true, folder: &look{}})
	}
	var wg sync.WaitGroup
	for _, s := range n.slots {
		wg.Go(func() {
			if s.problem = n.openSlot(s); s.problem != nil {
				s.absent = mayComeBack(s.problem)
				n.logger.Error("a drive is not at hand", "drive", s.Drive, "path", s.Path, "error", s.problem)
			}
		})
	}
	wg.Wait()
}

// refuseNewer refuses to go on without a drive because a later version wrote it: what that version acknowledged may be there alone.
func (n *Node) refuseNewer() error {
	for _, s := range n.slots {
		if errors.Is(s.problem, engine.ErrNewer) {
			return fmt.Errorf("drive %s: %w", s.Path, s.problem)
		}
	}
	return nil
}

func (n *Node) openSlot(s *slot) error {
	fsys, err := n.config.OpenDisk(s.Path)
	if err != nil {
		return err
	}
	identity, _, err := drive.Identify(fsys)
	cluster, stateErr := n.cluster()
	if err == nil {
		err = stateErr
	}
	if err == nil && (identity.Cluster != cluster || identity.Drive != s.Drive || identity.Incarnation != s.Incarnation) {
		err = engine.E(engine.KindInvalidArgument, "the folder holds drive %d of another cluster or another life", identity.Drive)
	}
	if err != nil {
		return errors.Join(err, fsys.Close())
	}
	d, err := drive.Open(fsys, drive.Options{Cache: n.cache, Buffers: n.pool, OnFailure: func(err error) { n.driveFailed() }})
	if err != nil {
		return errors.Join(err, fsys.Close())
	}
	n.mu.Lock()
	s.drive, s.fs = d, fsys
	n.mu.Unlock()
	n.measure(s, d)
	return nil
}

func (n *Node) driveFailed() {
	select {
	case n.failures <- struct{}{}:
	default:
	}
}

// startGroups starts the groups, opens this process's epochs and closes those of its predecessors, which are dead: the state folder
// has one owner.
func (n *Node) startGroups(ctx context.Context) error {
	var hosts []group.Host
	for _, s := range n.slots {
		hosts = append(hosts, s.host())
	}
	recoverGroup := func(id engine.GroupID) (*group.Recovery, error) {
		return group.Recover(group.Config{
			Group: id, Machine: &meta.Machine{Group: id}, Hosts: hosts, ApplyEverywhere: n.config.ApplyEverywhere,
		})
	}
	root, err := recoverGroup(rootGroup)
	if err != nil {
		return fmt.Errorf("the root group: %w", err)
	}
	data, err := recoverGroup(dataGroup) // before the root group writes
	if err != nil {
		return fmt.Errorf("the group of the buckets: %w", err)
	}
	start := func(r *group.Recovery) (*group.Group, error) {
		g, err := r.Start(ctx)
		if err != nil {
			return nil, err
		}
		return g, g.Await(ctx)
	}
	if n.root, err = start(root); err != nil {
		return fmt.Errorf("the root group: %w", err)
	}
	if n.data, err = start(data); err != nil {
		return fmt.Errorf("the group of the buckets: %w", err)
	}
	n.id = n.state.Node
	for i, g := range []*group.Group{n.root, n.data} {
		w, err := group.OpenWriter(ctx, g, n.id)
		if err != nil {
			return err
		}
		n.writers[i] = w
		if _, _, err := w.Do(ctx, &meta.CloseEpochs{Node: n.id, Below: w.Epoch()}); err != nil {
			return err
		}
	}
	return nil
}

// Close stops everything in the order that lets writes in progress end. Calls on the engine must have returned.
func (n *Node) Close() error {
	if n.stop != nil {
		n.stop()
		n.watching.Wait()
	}
	n.census.close()
	n.usage.close()
	if n.keeper != nil {
		n.keeper.Close()
	}
	if n.Coordinator != nil {
		n.Coordinator.Close()
	}
	for _, g := range []*group.Group{n.data, n.root} {
		if g != nil {
			g.Close()
		}
	}
	var problems []error
	for _, s := range n.places() {
		if s.drive != nil {
			if err := s.drive.Close(); err != nil && !errors.Is(err, drive.ErrFailed) {
				problems = append(problems, fmt.Errorf("drive %s: %w", s.Path, err))
			}
			problems = append(problems, s.fs.Close())
		}
	}
	if n.cache != nil {
		n.cache.Close()
	}
	if n.lock != nil {
		problems = append(problems, n.lock.Close())
	}
	if n.home != nil {
		problems = append(problems, n.home.Close())
	}
	return errors.Join(problems...)
}

// store makes a drive a ShardStore.
type store struct{ *drive.Drive }

// CreateShard implements extent.ShardStore.
func (s store) CreateShard(id engine.ShardID, bytes int64) (extent.ShardWriter, error) {
	return begun(s.Drive.CreateShard(id, bytes))
}

// NewShard implements extent.ShardStore.
func (s store) NewShard(id engine.ShardID, bytes int64) (extent.ShardWriter, error) {
	return begun(s.Drive.NewShard(id, bytes))
}

// begun makes no writer a nil interface.
func begun(w *drive.ShardWriter, err error) (extent.ShardWriter, error) {
	if err != nil {
		return nil, err
	}
	return w, nil
}
