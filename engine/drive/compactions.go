package drive

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactions lets Pebble compact as much at a time as it thinks right, like its own scheduler, but not before it is open: a disk that fails in the
// middle makes Open give up, and compactions that it began go on then with files and caches that are closed.
type compactions struct {
	poke   chan struct{} // has an item when there may be room for a compaction that waits
	stop   chan struct{}
	ending sync.Once
	grants sync.WaitGroup

	mu      sync.Mutex
	db      pebble.DBForCompaction
	open    bool
	running int
}

func newCompactions() *compactions {
	return &compactions{poke: make(chan struct{}, 1), stop: make(chan struct{})}
}

// begin says that Pebble is open.
func (c *compactions) begin() {
	c.mu.Lock()
	c.open = true
	c.mu.Unlock()
	c.grants.Go(c.grant)
	c.UpdateGetAllowedWithoutPermission()
}

// Register implements pebble.CompactionScheduler.
func (c *compactions) Register(_ int, db pebble.DBForCompaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db = db
}

// Unregister implements pebble.CompactionScheduler: after it nothing of the database is called.
func (c *compactions) Unregister() {
	c.mu.Lock()
	c.open = false
	c.mu.Unlock()
	c.ending.Do(func() { close(c.stop) })
	c.grants.Wait()
}

// TrySchedule implements pebble.CompactionScheduler.
func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open || c.running >= c.db.GetAllowedWithoutPermission() {
		return false, nil
	}
	c.running++
	return true, c
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler. It is called with Pebble's locks held, so somebody else looks what waits.
func (c *compactions) UpdateGetAllowedWithoutPermission() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// grant is the goroutine that begins what had to wait. It ends with Unregister.
func (c *compactions) grant() {
	for {
		select {
		case <-c.stop:
			return
		case <-c.poke:
		}
		for {
			if waiting, _ := c.db.GetWaitingCompaction(); !waiting {
				break
			}
			ok, handle := c.TrySchedule()
			if !ok {
				break
			}
			if !c.db.Schedule(handle) {
				c.end()
				break
			}
		}
	}
}

func (c *compactions) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
}

// Started implements pebble.CompactionGrantHandle.
func (c *compactions) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (c *compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (c *compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done implements pebble.CompactionGrantHandle.
func (c *compactions) Done() {
	c.end()
	c.UpdateGetAllowedWithoutPermission()
}
