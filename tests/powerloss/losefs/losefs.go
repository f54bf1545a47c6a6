// Package losefs is a disk that loses power: a file system over FUSE whose un-synced data and names are gone, or partly there, after Cut.
//
// Promise: what fsync or fdatasync of a file returned for survives a cut, with the file's length; a name survives once fsync of its directory
// returned. Of the rest a cut keeps what its random numbers choose, as disks do: any of a file's pages of 4 KiB, some of them torn at sectors of 512
// bytes, and of the changes to names those up to a point, in the order in which they were made. From the cut on every call on the mount answers EIO;
// Mount begins a new life with what is durable. A process that is killed loses nothing by that.
//
// A file has two images. The durable one is an unnamed file of the folder below, to which nothing but a sync writes; the volatile one is the durable
// one under pages that memory holds. A directory has two maps. The folder itself is never synced: it is the cut that is simulated, not the machine.
//
// The package does not know what is stored. Where a page was written several times between two syncs, a cut leaves some of the last or of the durable
// bytes, not of those between. Symbolic links and extended attributes are absent, owners and modes are durable at once, times never.
package losefs

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	pageBytes   = 4096
	sectorBytes = 512
)

// Disk is one disk. It outlives its mounts.
type Disk struct {
	folder string

	mu      sync.Mutex // guards all below, and every node
	root    *node
	pending []*change // of names, in order, that no sync has made durable
	life    *life     // the mount; nil before the first one and after Unmount
	numbers uint64
	lying   bool
	synced  Synced
}

// Synced counts what syncs made durable.
type Synced struct {
	Syncs, Bytes, Names int
}

// node is a file or a directory. A directory's maps are not nil.
type node struct {
	number uint64
	mode   uint32 // with the type
	mtime  time.Time
	links  uint32 // names of a file in the volatile image

	durable, volatile map[string]*node

	file        *os.File // the durable image; unnamed, so that it goes when nothing refers to the node
	durableSize int64
	size        int64
	dirty       map[int64][]byte // the volatile pages by their index; nil is a page of zeros
}

// change is one call that changed names; all its edits become durable at once.
type change struct{ edits []edit }

// edit gives a name in a directory to a node, or to none.
type edit struct {
	dir  *node
	name string
	node *node
}

// New makes an empty disk that keeps its durable data in the folder.
func New(folder string) *Disk {
	d := &Disk{folder: folder}
	d.root = d.newDirectory(0o700)
	return d
}

// Lie makes every sync from now on answer without doing anything, as disks with a cache of their own have done.
func (d *Disk) Lie() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lying = true
}

// Synced returns what was made durable so far.
func (d *Disk) Synced() Synced {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.synced
}

func (d *Disk) newNode(mode uint32) *node {
	d.numbers++
	return &node{number: d.numbers, mode: mode, mtime: time.Now()}
}

func (d *Disk) newDirectory(mode uint32) *node {
	n := d.newNode(syscall.S_IFDIR | mode&0o7777)
	n.durable, n.volatile = map[string]*node{}, map[string]*node{}
	return n
}

func (d *Disk) newFile(mode uint32) (*node, error) {
	f, err := os.CreateTemp(d.folder, "file")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	n := d.newNode(mode)
	n.file, n.dirty = f, map[int64][]byte{}
	return n, nil
}

// isDir reports whether the node is a directory.
func (n *node) isDir() bool { return n.volatile != nil }

// edit changes names in the volatile image.
func (d *Disk) edit(edits ...edit) {
	now := time.Now()
	for _, e := range edits {
		if old := e.dir.volatile[e.name]; old != nil {
			old.links--
		}
		e.dir.put(e.dir.volatile, e.name, e.node)
		if e.node != nil {
			e.node.links++
		}
		e.dir.mtime = now
	}
	d.pending = append(d.pending, &change{edits: edits})
}

func (n *node) put(names map[string]*node, name string, target *node) {
	if target == nil {
		delete(names, name)
	} else {
		names[name] = target
	}
}

// harden makes a change of names durable.
func (c *change) harden() {
	for _, e := range c.edits {
		e.dir.put(e.dir.durable, e.name, e.node)
	}
}

// syncDir makes the changes of a directory's names durable, and with a change that concerns two directories those before it in both.
func (d *Disk) syncDir(dir *node) {
	if d.lying {
		return
	}
	concerned := map[*node]bool{dir: true}
	hard := map[*change]bool{}
	for _, c := range slices.Backward(d.pending) {
		if slices.ContainsFunc(c.edits, func(e edit) bool { return concerned[e.dir] }) {
			hard[c] = true
			for _, e := range c.edits {
				concerned[e.dir] = true
			}
		}
	}
	d.pending = slices.DeleteFunc(d.pending, func(c *change) bool {
		if hard[c] {
			c.harden()
			d.synced.Names += len(c.edits)
		}
		return hard[c]
	})
	d.synced.Syncs++
}

// readDurable fills p, a page or whole sectors of one, from the durable image.
func (n *node) readDurable(p []byte, at int64) error {
	got, err := n.file.ReadAt(p, at)
	if err == io.EOF {
		clear(p[got:])
		err = nil
	}
	return err
}

// read fills p from the volatile image and returns how much there was.
func (n *node) read(p []byte, at int64) (int, error) {
	if at >= n.size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), n.size-at)]
	if err := n.readDurable(p, at); err != nil {
		return 0, err
	}
	if len(n.dirty) == 0 {
		return len(p), nil
	}
	for index := at / pageBytes; index*pageBytes < at+int64(len(p)); index++ {
		page, ok := n.dirty[index]
		if !ok {
			continue
		}
		from, to := max(at, index*pageBytes), min(at+int64(len(p)), (index+1)*pageBytes)
		if target := p[from-at : to-at]; page == nil {
			clear(target)
		} else {
			copy(target, page[from-index*pageBytes:])
		}
	}
	return len(p), nil
}

// page returns a volatile page for writing: what is there now, if it stays in part.
func (n *node) page(index int64, whole bool) ([]byte, error) {
	if page := n.dirty[index]; page != nil {
		return page, nil
	}
	_, zeros := n.dirty[index]
	page := make([]byte, pageBytes)
	if !whole && !zeros {
		if err := n.readDurable(page, index*pageBytes); err != nil {
			return nil, err
		}
	}
	n.dirty[index] = page
	return page, nil
}

// write changes the volatile image.
func (n *node) write(p []byte, at int64) error {
	end := at + int64(len(p))
	for from := at; from < end; {
		index := from / pageBytes
		to := min(end, (index+1)*pageBytes)
		page, err := n.page(index, to-from == pageBytes)
		if err != nil {
			return err
		}
		copy(page[from-index*pageBytes:], p[from-at:to-at])
		from = to
	}
	n.size = max(n.size, end)
	n.mtime = time.Now()
	return nil
}

// zero makes a range of the volatile image zeros; the size stays.
func (n *node) zero(at, length int64) error {
	for from, end := at, at+length; from < end; {
		index := from / pageBytes
		to := min(end, (index+1)*pageBytes)
		if to-from == pageBytes {
			n.dirty[index] = nil
		} else {
			page, err := n.page(index, false)
			if err != nil {
				return err
			}
			clear(page[from-index*pageBytes : to-index*pageBytes])
		}
		from = to
	}
	n.mtime = time.Now()
	return nil
}

// truncate changes the size of the volatile image; what is cut off reads as zeros if the file grows again.
func (n *node) truncate(size int64) error {
	if size < n.size {
		if err := n.zero(size, n.size-size); err != nil {
			return err
		}
	}
	n.size = size
	n.mtime = time.Now()
	return nil
}

// syncFile makes the volatile image durable.
func (d *Disk) syncFile(n *node) error {
	if n.file == nil || d.lying {
		return nil
	}
	d.synced.Syncs++
	d.synced.Bytes += pageBytes * len(n.dirty)
	return n.harden(n.size, n.dirty)
}

// harden writes pages and a size to the durable image, and makes the volatile one the same.
func (n *node) harden(size int64, pages map[int64][]byte) error {
	indexes := slices.Sorted(maps.Keys(pages))
	for len(indexes) > 0 {
		run := 1
		for run < len(indexes) && run < 256 && indexes[run] == indexes[0]+int64(run) && (pages[indexes[run]] == nil) == (pages[indexes[0]] == nil) {
			run++
		}
		if err := n.hardenRun(indexes[0]*pageBytes, indexes[:run], pages); err != nil {
			return err
		}
		indexes = indexes[run:]
	}
	if len(pages) > 0 || size != n.durableSize {
		if err := n.file.Truncate(size); err != nil {
			return err
		}
	}
	n.durableSize, n.size = size, size
	n.dirty = map[int64][]byte{}
	return nil
}

// hardenRun writes pages that lie one after the other, or makes a hole of them.
func (n *node) hardenRun(at int64, indexes []int64, pages map[int64][]byte) error {
	if pages[indexes[0]] == nil {
		const punch = 0x01 | 0x02 // FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
		return syscall.Fallocate(int(n.file.Fd()), punch, at, int64(len(indexes))*pageBytes)
	}
	joined := make([]byte, 0, len(indexes)*pageBytes)
	for _, index := range indexes {
		joined = append(joined, pages[index]...)
	}
	_, err := n.file.WriteAt(joined, at)
	return err
}

// Lost counts what a cut found un-synced: the bytes and the names, and how many of them it dropped, which were not what they had been before.
type Lost struct {
	Bytes, BytesDropped int
	Names, NamesDropped int
	Torn                int // pages of which a part survived
}

// Add adds what another cut lost.
func (l *Lost) Add(other Lost) {
	l.Bytes += other.Bytes
	l.BytesDropped += other.BytesDropped
	l.Names += other.Names
	l.NamesDropped += other.NamesDropped
	l.Torn += other.Torn
}

// Cut cuts the power of disks at one instant. What is mounted answers EIO from then on; Unmount it, and Mount it again.
func Cut(rng *rand.Rand, disks ...*Disk) (lost Lost, err error) {
	for _, d := range disks {
		d.mu.Lock()
		defer d.mu.Unlock()
	}
	for _, d := range disks {
		l, cutErr := d.cut(rng)
		if cutErr != nil {
			err = fmt.Errorf("the cut of %s: %w", d.folder, cutErr)
		}
		lost.Add(l)
	}
	return lost, err
}

func (d *Disk) cut(rng *rand.Rand) (lost Lost, err error) {
	if d.life != nil {
		d.life.dead = true
	}
	kept := rng.IntN(len(d.pending) + 1)
	for i, c := range d.pending {
		lost.Names += len(c.edits)
		if i < kept {
			c.harden()
		} else {
			lost.NamesDropped += len(c.edits)
		}
	}
	d.pending = nil
	return lost, d.root.restart(rng, &lost, map[*node]bool{})
}

// restart makes what is durable the volatile image, in the whole tree; a random part of what is not becomes durable before.
func (n *node) restart(rng *rand.Rand, lost *Lost, seen map[*node]bool) error {
	n.links++
	if seen[n] {
		return nil
	}
	seen[n] = true
	n.links = 1
	if !n.isDir() {
		if n.file == nil {
			return nil
		}
		return n.cut(rng, lost)
	}
	n.volatile = maps.Clone(n.durable)
	for _, name := range slices.Sorted(maps.Keys(n.durable)) {
		if err := n.durable[name].restart(rng, lost, seen); err != nil {
			return err
		}
	}
	return nil
}

// cut keeps of a file's volatile image what rng chooses. Each file has luck of its own, from all to nothing.
func (n *node) cut(rng *rand.Rand, lost *Lost) error {
	size := n.durableSize
	if rng.IntN(2) == 0 {
		size = n.size
	}
	luck := []float64{0, rng.Float64(), rng.Float64(), 1}[rng.IntN(4)]
	kept := map[int64][]byte{}
	before := make([]byte, pageBytes)
	for _, index := range slices.Sorted(maps.Keys(n.dirty)) {
		if err := n.readDurable(before, index*pageBytes); err != nil {
			return err
		}
		page := n.dirty[index]
		if page == nil {
			page = make([]byte, pageBytes)
		}
		survived, dropped := 0, 0
		after := slices.Clone(before)
		torn := rng.IntN(4) == 0
		whole := rng.Float64() < luck
		for at := 0; at < pageBytes; at += sectorBytes {
			if string(page[at:at+sectorBytes]) == string(before[at:at+sectorBytes]) {
				continue
			}
			lost.Bytes += sectorBytes
			keep := whole
			if torn {
				keep = rng.Float64() < luck
			}
			if keep && index*pageBytes+int64(at) < size {
				survived++
				copy(after[at:], page[at:at+sectorBytes])
			} else {
				dropped++
				lost.BytesDropped += sectorBytes
			}
		}
		if survived > 0 {
			kept[index] = after
			if dropped > 0 {
				lost.Torn++
			}
		}
	}
	return n.harden(size, kept)
}
