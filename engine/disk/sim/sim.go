// Package sim is a disk in memory that behaves as badly as a disk may: a power cut takes what was not synced, data and names, and
// tears writes at units of 512 to 4096 bytes; calls fail, come late or short, freeze, and change a bit on the way where a test says so.
//
// Promise: after Crash and Restart exactly that is there which package disk promises, and of the rest a part that the seed chooses. For a
// single-threaded caller a run is a function of seed and calls. Every call has an ordinal and a site, the function that made it, so
// that a test can enumerate the points at which the power may go: one count and one crash serve every file of the folder, Pebble's too.
//
// The package does not know what a drive keeps. It models no wear, and no latency that a test does not ask for.
package sim

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"holdfast/engine/disk"
)

// UnitBytes is what every power cut leaves whole: each such unit of an un-synced write is there or not. Some leave whole 1024, 2048 or 4096 bytes.
const UnitBytes = 512

// ErrCrashed is the answer to every call from the power cut on, until Restart gives the disk anew.
var ErrCrashed = errors.New("simulated disk: the power is off")

// Options of a disk.
type Options struct {
	TotalBytes int64 // capacity; 0 means 1 TiB
	NoDirect   bool  // refuse direct files, as some file systems do
	// Power is what the disk shares with others of a machine; nil: nothing. Disks that share it do one call at a time, all of them together.
	Power *Power
}

// Power is the lock of the disks of a machine: while one of them is in a call none of the others changes, so that what a power cut leaves of all of
// them can be taken from within Inject.
type Power struct{ mu sync.Mutex }

// Call is one call of the file system. Ordinals count from 1. Site is the function that called, "drive.(*ring).write", or
// "index:<file type>:<op>" for Pebble's files. Where is the place in the source, "drive/ring.go:17", empty for Pebble's. Op is one of create open read write sync truncate allocate punch remove rename mkdir list
// stat syncdir usage lock forget.
type Call struct {
	Ordinal int
	Site    string
	Where   string
	Op      string
	File    string
}

// Changes reports whether the call can change what a crash leaves.
func (c Call) Changes() bool {
	switch c.Op {
	case "create", "write", "sync", "truncate", "allocate", "punch", "remove", "rename", "mkdir", "syncdir":
		return true
	}
	return false
}

// Fault is what Inject may answer. Short bytes of a read or write happen before Err, and alone if Err is nil, unless one of the others is set.
type Fault struct {
	Err   error
	Short int
	// Wait makes the call wait until it is closed, or the power goes. Then the call happens, or fails with Err.
	Wait <-chan struct{}
	// Flip inverts a bit of what is read or written, unnoticed; the number says which.
	Flip int
}

// flip returns p, or a copy of it in which the fault has inverted a bit.
func (f *Fault) flip(p []byte) []byte {
	if f == nil || f.Flip == 0 || len(p) == 0 {
		return p
	}
	p = slices.Clone(p)
	p[f.Flip/8%len(p)] ^= 1 << (f.Flip % 8)
	return p
}

// half says that the call is to come short or fail.
func (f *Fault) half() bool { return f != nil && (f.Err != nil || f.Wait == nil && f.Flip == 0) }

// FS is a simulated folder. It implements disk.FS.
type FS struct {
	seed    uint64
	options Options

	mu       *sync.Mutex // guards all below and every node
	thawed   *sync.Cond
	root     *node
	trace    []Call
	visits   map[string]int // calls by site
	crashed  bool
	off      chan struct{} // closed with crashed
	hit      Call          // the call at which CrashAt or CrashAtSite struck
	at       int
	atSite   string
	atVisit  int
	inject   func(Call) *Fault
	frozen   func(Call) bool
	locks    map[string]bool
	device   disk.Device
	reopen   disk.FS
	restarts uint64
}

var _ disk.FS = (*FS)(nil)

// New returns an empty disk.
func New(seed uint64, o Options) *FS {
	if o.TotalBytes == 0 {
		o.TotalBytes = 1 << 40
	}
	return newFS(seed, o, newDir(), 0)
}

func newFS(seed uint64, o Options, root *node, restarts uint64) *FS {
	power := o.Power
	if power == nil {
		power = &Power{}
	}
	f := &FS{mu: &power.mu, seed: seed, options: o, root: root, visits: map[string]int{}, locks: map[string]bool{}, restarts: restarts, off: make(chan struct{}),
		device: disk.Device{ID: seed, MountPoint: true}}
	f.thawed = sync.NewCond(f.mu)
	return f
}

// CrashAt cuts the power at the call of that ordinal: the call may or may not have happened.
func (f *FS) CrashAt(ordinal int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = ordinal
}

// CrashAtSite cuts the power at the visit-th call, from 1, of a site, counted over the life of the disk since New or Restart.
func (f *FS) CrashAtSite(site string, visit int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.atSite, f.atVisit = site, visit
}

// Crash cuts the power now.
func (f *FS) Crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crash()
}

func (f *FS) crash() {
	if !f.crashed {
		close(f.off)
	}
	f.crashed = true
	f.frozen = nil
	f.thawed.Broadcast()
}

// Crashed returns the call at which the power went, and whether it did. The call is zero after Crash.
func (f *FS) Crashed() (Call, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit, f.crashed
}

// Restart returns the disk as the power cut leaves it; it cuts the power if nothing else did. The old FS stays dead.
func (f *FS) Restart() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crash()
	rng := rand.New(rand.NewPCG(f.seed, uint64(len(f.trace))<<8|f.restarts))
	return newFS(f.seed, f.options, newSurvival(rng, LossAny).of(f.root), f.restarts+1)
}

// Image returns a disk of its own with what a power cut at this moment would leave of this one, which goes on. Seed is the new disk's.
func (f *FS) Image(seed uint64, power *Power) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ImageInCall(seed, LossAny, power)
}

// ImageInCall is Image for the function that Inject asks, of that disk or of one that shares its power: as the call that it is asked about would be the
// first that does not happen. The image has the power that is given, nil for one of its own.
func (f *FS) ImageInCall(seed uint64, loss Loss, power *Power) *FS {
	o := f.options
	o.Power = power
	image := newFS(seed, o, newSurvival(rand.New(rand.NewPCG(seed, f.restarts)), loss).of(f.root), f.restarts)
	image.device = f.device
	return image
}

// Trace returns the calls so far.
func (f *FS) Trace() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.trace)
}

// Inject sets a function that is asked before every call; a Fault that is not nil happens in place of it. It must not call the disk.
func (f *FS) Inject(fn func(Call) *Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inject = fn
}

// Freeze makes the calls that match wait until Thaw or the power cut. It must not call the disk.
func (f *FS) Freeze(match func(Call) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = match
}

// Thaw ends Freeze.
func (f *FS) Thaw() { f.Freeze(nil); f.thawed.Broadcast() }

// SetDevice changes what Device answers.
func (f *FS) SetDevice(d disk.Device) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.device = d
}

// SetReopen changes what Reopen answers, as if something else were mounted there.
func (f *FS) SetReopen(other disk.FS) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reopen = other
}

// Flip inverts one bit of a file, on the platter and in the cache.
func (f *FS) Flip(name string, offset int64, bit uint) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.walk("flip", name)
	if err != nil {
		return err
	}
	n.data, n.durable = n.data.flip(offset, 1<<(bit%8)), n.durable.flip(offset, 1<<(bit%8))
	return nil
}

// Rot inverts one bit of a synced file on the platter, beneath a cache that keeps the byte as it was: who reads through the cache sees it once Forget
// has dropped the range, who reads past it at once.
func (f *FS) Rot(name string, offset int64, bit uint) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.walk("rot", name)
	if err != nil {
		return err
	}
	dirty := slices.ContainsFunc(n.writes, func(w write) bool { return w.length < 0 && offset >= w.offset && offset < w.offset+w.bytes() })
	if dirty || offset >= n.durable.size() {
		return &fs.PathError{Op: "rot", Path: name, Err: syscall.EINVAL}
	}
	n.durable = n.durable.flip(offset, 1<<(bit%8))
	if n.rot == nil {
		n.rot = map[int64]byte{}
	}
	n.rot[offset] ^= 1 << (bit % 8)
	return nil
}

// begin counts a call and decides its fate: nil fault and nil error to go on. cut says that the power goes with this call: the call happens,
// un-synced, and answers ErrCrashed. The lock is held.
func (f *FS) begin(site, op, name string) (cut bool, fault *Fault, err error) {
	if f.crashed {
		return false, nil, ErrCrashed
	}
	from := callSite{site: site}
	if site == "" {
		from = caller()
		site = from.site
	}
	c := Call{Ordinal: len(f.trace) + 1, Site: site, Where: from.where, Op: op, File: name}
	f.trace = append(f.trace, c)
	f.visits[site]++
	if c.Ordinal == f.at || site == f.atSite && f.visits[site] == f.atVisit {
		f.hit = c
		f.crash()
		return true, nil, nil
	}
	for f.frozen != nil && f.frozen(c) && !f.crashed {
		f.thawed.Wait()
	}
	if f.crashed {
		return false, nil, ErrCrashed
	}
	if f.inject != nil {
		fault = f.inject(c)
	}
	if fault != nil && fault.Wait != nil {
		f.mu.Unlock()
		select {
		case <-fault.Wait:
		case <-f.off:
		}
		f.mu.Lock()
		if f.crashed {
			return false, nil, ErrCrashed
		}
	}
	return false, fault, nil
}

// call is begin for calls that know no half: a fault's error takes their place.
func (f *FS) call(site, op, name string) (cut bool, err error) {
	cut, fault, err := f.begin(site, op, name)
	if err == nil && fault != nil && fault.Err != nil {
		err = &fs.PathError{Op: op, Path: name, Err: fault.Err}
	}
	return cut, err
}

// end turns a cut into its error.
func end(cut bool, err error) error {
	if cut {
		return ErrCrashed
	}
	return err
}

// walk finds a node by its path.
func (f *FS) walk(op, name string) (*node, error) {
	n := f.root
	for part := range strings.SplitSeq(path.Clean("/" + name)[1:], "/") {
		if part == "" {
			continue
		}
		if !n.dir {
			return nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
		}
		if n = n.names[part]; n == nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOENT}
		}
	}
	return n, nil
}

// parent finds the directory that holds name, and the last element.
func (f *FS) parent(op, name string) (*node, string, error) {
	dir, base := path.Split(path.Clean("/" + name))
	n, err := f.walk(op, dir)
	if err == nil && !n.dir {
		err = &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
	}
	return n, base, err
}

func valid(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return nil
}

// Open implements disk.FS.
func (f *FS) Open(name string, flags disk.Flags) (disk.File, error) {
	if err := valid("open", name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.open("", name, flags.Create, flags.Exclusive)
	if err != nil {
		return nil, err
	}
	return &file{fs: f, node: n, name: name, direct: flags.Direct && !f.options.NoDirect, readOnly: flags.ReadOnly}, nil
}

func (f *FS) open(site, name string, create, exclusive bool) (*node, error) {
	dir, base, err := f.parent("open", name)
	if err != nil {
		return nil, err
	}
	n := dir.names[base]
	if base == "" {
		n = f.root
	}
	op := "open"
	if n == nil && create {
		op = "create"
	}
	cut, err := f.call(site, op, name)
	switch {
	case err != nil:
		return nil, err
	case n == nil && !create:
		return nil, end(cut, &fs.PathError{Op: op, Path: name, Err: syscall.ENOENT})
	case n != nil && exclusive:
		return nil, end(cut, &fs.PathError{Op: op, Path: name, Err: syscall.EEXIST})
	case n == nil:
		n = newFile()
		dir.set(base, n)
	}
	return n, end(cut, nil)
}

// Remove implements disk.FS.
func (f *FS) Remove(name string) error { return f.remove("", name) }

func (f *FS) remove(site, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	cut, err := f.call(site, "remove", name)
	if err != nil {
		return err
	}
	dir, base, err := f.parent("remove", name)
	if err != nil {
		return end(cut, err)
	}
	n := dir.names[base]
	switch {
	case n == nil:
		return end(cut, &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOENT})
	case n.dir && len(n.names) > 0:
		return end(cut, &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY})
	}
	dir.set(base, nil)
	return end(cut, nil)
}

// Rename implements disk.FS. Between directories a crash may leave both names.
func (f *FS) Rename(source, target string) error { return f.rename("", source, target) }

func (f *FS) rename(site, source, target string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	cut, err := f.call(site, "rename", target)
	if err != nil {
		return err
	}
	from, base, err := f.parent("rename", source)
	if err != nil {
		return end(cut, err)
	}
	to, newBase, err := f.parent("rename", target)
	if err != nil {
		return end(cut, err)
	}
	n := from.names[base]
	if n == nil {
		return end(cut, &fs.PathError{Op: "rename", Path: source, Err: syscall.ENOENT})
	}
	if from == to {
		from.rename(base, newBase)
	} else {
		to.set(newBase, n)
		from.set(base, nil)
	}
	return end(cut, nil)
}

// MkdirAll implements disk.FS.
func (f *FS) MkdirAll(dir string) error { return f.mkdirAll("", dir) }

func (f *FS) mkdirAll(site, dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	cut, err := f.call(site, "mkdir", dir)
	if err != nil {
		return err
	}
	n := f.root
	for part := range strings.SplitSeq(path.Clean("/" + dir)[1:], "/") {
		if part == "" {
			continue
		}
		below := n.names[part]
		if below == nil {
			below = newDir()
			n.set(part, below)
		}
		if !below.dir {
			return end(cut, &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR})
		}
		n = below
	}
	return end(cut, nil)
}

// List implements disk.FS.
func (f *FS) List(dir string) ([]string, error) { return f.list("", dir) }

func (f *FS) list(site, dir string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cut, err := f.call(site, "list", dir)
	if err != nil || cut {
		return nil, end(cut, err)
	}
	n, err := f.walk("list", dir)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: syscall.ENOTDIR}
	}
	return slices.Sorted(maps.Keys(n.names)), nil
}

// Stat implements disk.FS.
func (f *FS) Stat(name string) (disk.Info, error) { return f.stat("", name) }

func (f *FS) stat(site, name string) (disk.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cut, err := f.call(site, "stat", name)
	if err != nil || cut {
		return disk.Info{}, end(cut, err)
	}
	n, err := f.walk("stat", name)
	if err != nil {
		return disk.Info{}, err
	}
	return disk.Info{Size: n.data.size(), Allocated: n.room.count() * disk.Align, Directory: n.dir}, nil
}

// SyncDir implements disk.FS.
func (f *FS) SyncDir(dir string) error { return f.syncDir("", dir) }

func (f *FS) syncDir(site, dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	cut, err := f.call(site, "syncdir", dir)
	if err != nil || cut {
		return end(cut, err)
	}
	n, err := f.walk("syncdir", dir)
	if err != nil {
		return err
	}
	n.durableNames = maps.Clone(n.names)
	n.changes = nil
	return nil
}

// Usage implements disk.FS.
func (f *FS) Usage() (disk.Usage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cut, err := f.call("", "usage", ".")
	if err != nil || cut {
		return disk.Usage{}, end(cut, err)
	}
	return disk.Usage{Total: f.options.TotalBytes, Free: f.free()}, nil
}

// free walks the tree; files that are open but removed do not count.
func (f *FS) free() int64 {
	return f.options.TotalBytes - f.root.used(map[*node]bool{})*disk.Align
}

// Lock implements disk.FS.
func (f *FS) Lock(name string) (io.Closer, error) { return f.lock("", name) }

func (f *FS) lock(site, name string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cut, err := f.call(site, "lock", name)
	if err != nil || cut {
		return nil, end(cut, err)
	}
	if f.locks[name] {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: syscall.EWOULDBLOCK}
	}
	dir, base, err := f.parent("lock", name)
	if err != nil {
		return nil, err
	}
	if dir.names[base] == nil {
		dir.set(base, newFile())
	}
	f.locks[name] = true
	return &held{fs: f, name: name}, nil
}

type held struct {
	fs   *FS
	name string
}

func (h *held) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	delete(h.fs.locks, h.name)
	return nil
}

// Device implements disk.FS.
func (f *FS) Device() (disk.Device, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.device, end(f.crashed, nil)
}

// Reopen implements disk.FS.
func (f *FS) Reopen() (disk.FS, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reopen != nil {
		return f.reopen, nil
	}
	return f, end(f.crashed, nil)
}

// Close implements disk.FS. The disk stays.
func (f *FS) Close() error { return nil }

// Index implements disk.FS.
func (f *FS) Index(dir string) (vfs.FS, error) { return &index{fs: f, base: dir}, nil }
