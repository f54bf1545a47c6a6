package drive

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"holdfast/engine/disk"
)

// gate stands between Pebble and the disk. The first error of a write, sync or name makes it shut and fails the drive: from then on nothing
// reaches the disk. What Pebble is told of errors is chosen so that it stays in its right mind until it is closed:
//
//   - A failed write of a table it handles well: it gives the flush up and begins it again, at once and for ever. So the next table is not
//     begun before close.
//   - A failed write of its manifest, a marker or a directory leaves it inconsistent, and panics come. So it is told that all is well; whatever
//     it then believes to be durable is asked for by nobody, for the drive has failed.
//   - While a drive is opened or formatted Pebble waits for its flush. So every error is hidden, and whoever opens asks err afterwards.
type gate struct {
	vfs.FS
	forget vfs.FS // in memory
	watch  *watch
	shut   func(error) // told of each error; nil while formatting

	failed  atomic.Bool
	failure error         // why, written before failed is set
	broken  chan struct{} // closed with failed
	running atomic.Bool   // the drive is open: flushes are held once the gate is shut
	first   sync.Once
	once    sync.Once
	closing chan struct{}
}

func newGate(fsys disk.FS) (*gate, error) {
	index, err := fsys.Index(indexDir)
	if err != nil {
		return nil, err
	}
	return &gate{FS: index, forget: vfs.NewMem(), watch: newWatch(), broken: make(chan struct{}), closing: make(chan struct{})}, nil
}

// release lets the flushes go that a shut gate holds; they fail.
func (g *gate) release() { g.once.Do(func() { close(g.closing) }) }

func (g *gate) close() error {
	g.release()
	return disk.IndexCloser(g.FS).Close()
}

// err returns why the gate is shut, or nil.
func (g *gate) err() error {
	if g.failed.Load() {
		return g.failure
	}
	return nil
}

// shutFor shuts the gate.
func (g *gate) shutFor(err error) {
	g.first.Do(func() {
		g.failure = err
		g.failed.Store(true)
		close(g.broken)
	})
}

// fail shuts the gate and tells the drive.
func (g *gate) fail(err error) {
	g.shutFor(err)
	if g.shut != nil {
		g.shut(err)
	}
}

// isTable reports whether a file is one of those whose errors Pebble handles.
func isTable(name string) bool { return strings.HasSuffix(name, ".sst") }

// changing runs a call that changes the disk and returns its error, or hides it.
func (g *gate) changing(table bool, call func() error) error {
	err := error(ErrFailed)
	if !g.failed.Load() {
		end := g.watch.begin()
		err = call()
		end()
		if err == nil || isNotExist(err) {
			return err
		}
		g.fail(err)
	}
	if table && g.running.Load() {
		return err
	}
	return nil
}

// opening is changing for calls that give a file.
func (g *gate) opening(name string, call func() (vfs.File, error)) (vfs.File, error) {
	table := isTable(name)
	if table && g.failed.Load() && g.running.Load() {
		<-g.closing
		return nil, ErrFailed
	}
	var f vfs.File
	err := g.changing(table, func() (err error) {
		f, err = call()
		return err
	})
	if err != nil {
		return nil, err
	}
	if f == nil {
		return g.forget.Create(g.forget.PathBase(name), vfs.WriteCategoryUnspecified)
	}
	return &gateFile{File: f, gate: g, table: table}, nil
}

func (g *gate) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.opening(name, func() (vfs.File, error) { return g.FS.Create(name, c) })
}

func (g *gate) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.opening(name, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, opts...) })
}

func (g *gate) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.opening(newname, func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname, c) })
}

func (g *gate) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &gateFile{File: f, gate: g}, nil
}

func (g *gate) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := g.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return &gateFile{File: f, gate: g, table: isTable(name)}, nil
}

func (g *gate) Link(oldname, newname string) error {
	return g.changing(false, func() error { return g.FS.Link(oldname, newname) })
}

func (g *gate) Remove(name string) error {
	return g.changing(false, func() error { return g.FS.Remove(name) })
}

func (g *gate) RemoveAll(name string) error {
	return g.changing(false, func() error { return g.FS.RemoveAll(name) })
}

func (g *gate) Rename(oldname, newname string) error {
	return g.changing(false, func() error { return g.FS.Rename(oldname, newname) })
}

func (g *gate) Unwrap() vfs.FS { return g.FS }

// gateFile is a file behind the gate.
type gateFile struct {
	vfs.File
	gate  *gate
	table bool
}

func (f *gateFile) Write(p []byte) (int, error) {
	return f.writing(p, func() (int, error) { return f.File.Write(p) })
}

func (f *gateFile) WriteAt(p []byte, off int64) (int, error) {
	return f.writing(p, func() (int, error) { return f.File.WriteAt(p, off) })
}

// writing is changing for writes of p.
func (f *gateFile) writing(p []byte, call func() (int, error)) (n int, err error) {
	err = f.gate.changing(f.table, func() (err error) {
		n, err = call()
		return err
	})
	if err == nil {
		n = len(p)
	}
	return n, err
}

func (f *gateFile) Sync() error     { return f.gate.changing(f.table, f.File.Sync) }
func (f *gateFile) SyncData() error { return f.gate.changing(f.table, f.File.SyncData) }

func (f *gateFile) SyncTo(length int64) (full bool, err error) {
	err = f.gate.changing(f.table, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *gateFile) Read(p []byte) (int, error) {
	defer f.gate.watch.begin()()
	n, err := f.File.Read(p)
	return n, f.counted(err)
}

func (f *gateFile) ReadAt(p []byte, off int64) (int, error) {
	defer f.gate.watch.begin()()
	n, err := f.File.ReadAt(p, off)
	return n, f.counted(err)
}

func (f *gateFile) counted(err error) error {
	if err != nil && err != io.EOF {
		f.gate.watch.readErrors.Add(1)
	}
	return err
}

// watch knows the calls to the disk that have not returned, for telling a disk that hangs.
type watch struct {
	readErrors atomic.Uint64

	mu      sync.Mutex // guards all below
	next    uint64
	started map[uint64]time.Time
	ended   uint64
	took    time.Duration // those that ended, together
}

func newWatch() *watch { return &watch{started: map[uint64]time.Time{}} }

// begin notes the start of a call; what it returns notes the end.
func (w *watch) begin() (end func()) {
	now := time.Now()
	w.mu.Lock()
	token := w.next
	w.next++
	w.started[token] = now
	w.mu.Unlock()
	return func() {
		took := time.Since(now)
		w.mu.Lock()
		delete(w.started, token)
		w.ended++
		w.took += took
		w.mu.Unlock()
	}
}

// oldest returns the age of the oldest call that has not returned, 0 without one.
func (w *watch) oldest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var age time.Duration
	for _, t := range w.started {
		age = max(age, time.Since(t))
	}
	return age
}

// Calls are those of a drive to its disk since it was opened. One call may wait for several of the system.
type Calls struct {
	Ended      uint64
	Took       time.Duration // those that ended, together
	UnderWay   int
	Oldest     time.Duration // age of the oldest that is under way, 0 without one
	ReadErrors uint64
}

// Calls returns what the drive knows of its calls. It waits for none of them.
func (d *Drive) Calls() Calls {
	c := Calls{Oldest: d.watch.oldest(), ReadErrors: d.watch.readErrors.Load()}
	d.watch.mu.Lock()
	defer d.watch.mu.Unlock()
	c.Ended, c.Took, c.UnderWay = d.watch.ended, d.watch.took, len(d.watch.started)
	return c
}
