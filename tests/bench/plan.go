package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// verb is what the clients of a cell do.
type verb int

const (
	put         verb = iota // a new object for each request
	putParts                // a new object, in parts
	get                     // a random object of a fixed number
	mixed                   // 45 % get, 30 % stat, 15 % put, 10 % delete
	list                    // the next page of a bucket, over and over
	listDirs                // a page of common prefixes
	remove                  // an object, until the prepared ones are gone
	multiRemove             // as many objects as a request can name, until the prepared ones are gone
)

// cell is one load: clients that each send a request when the one before is answered.
type cell struct {
	verb    verb
	size    int64 // of an object, in bytes; 0 for listings
	objects int   // that reads choose from, or that are there to be deleted: the same number on every server, however many it had time to store
	clients int
}

// plan is what one server is put through, in this order. The mixed load goes first: what a process keeps from larger objects would
// else count as memory that it needs.
type plan struct {
	cells       []cell
	partSize    int64         // bytes of each part of putParts
	partsAtOnce int           // of one object
	directories int           // of the listed bucket
	leaves      int           // keys in each
	page        int           // keys or common prefixes on a page
	batch       int           // keys that a request of multiRemove names
	settle      time.Duration // the longest wait for a server to become quiet after a load; 0 does not wait
	probe       probe
}

// probe says how long the machine's own limits are looked at.
type probe struct {
	hash, appends time.Duration
	written       int64 // bytes of the sequential write
	direct        int64 // bytes of each of the files that are used past the page cache
}

func fullPlan() plan {
	return plan{
		cells: []cell{
			{mixed, 64 << 10, 2500, 16},
			{put, 4 << 10, 0, 32}, {get, 4 << 10, 2500, 32},
			{put, 64 << 10, 0, 32}, {get, 64 << 10, 2500, 32},
			{put, 1 << 20, 0, 16}, {get, 1 << 20, 1000, 16},
			{put, 64 << 20, 0, 4}, {putParts, 64 << 20, 0, 4}, {get, 64 << 20, 32, 4},
			{verb: list, clients: 8}, {verb: listDirs, clients: 8},
			{remove, 4 << 10, 8000, 32}, {multiRemove, 4 << 10, 24000, 4},
		},
		partSize: 8 << 20, partsAtOnce: 4,
		directories: 1000, leaves: 10, page: 1000, batch: 1000, settle: 3 * time.Second,
		probe: probe{hash: 300 * time.Millisecond, appends: time.Second, written: 256 << 20, direct: 256 << 20},
	}
}

// shortPlan has the same cells with less in them.
func shortPlan() plan {
	return plan{
		cells: []cell{
			{mixed, 64 << 10, 8, 4},
			{put, 4 << 10, 0, 8}, {get, 4 << 10, 16, 8},
			{put, 64 << 10, 0, 4}, {get, 64 << 10, 8, 4},
			{put, 1 << 20, 0, 2}, {get, 1 << 20, 4, 2},
			{put, 6 << 20, 0, 2}, {putParts, 6 << 20, 0, 2}, {get, 6 << 20, 2, 2},
			{verb: list, clients: 2}, {verb: listDirs, clients: 2},
			{remove, 4 << 10, 64, 4}, {multiRemove, 4 << 10, 80, 2},
		},
		partSize: 5 << 20, partsAtOnce: 2,
		directories: 20, leaves: 10, page: 20, batch: 10,
		probe: probe{hash: 10 * time.Millisecond, appends: 50 * time.Millisecond, written: 8 << 20, direct: 4 << 20},
	}
}

// name is how a cell is called on the command line, such as put4k.
func (c cell) name() string {
	switch c.verb {
	case putParts:
		return "putparts" + shortSize(c.size)
	case get:
		return "get" + shortSize(c.size)
	case mixed:
		return "mixed" + shortSize(c.size)
	case list:
		return "list"
	case listDirs:
		return "listdirs"
	case remove:
		return "delete"
	case multiRemove:
		return "multidelete"
	}
	return "put" + shortSize(c.size)
}

// title is how a table calls it.
func (c cell) title(p plan) string {
	what := ""
	switch c.verb {
	case put:
		what = "put " + sizeText(c.size)
	case putParts:
		what = fmt.Sprintf("put %s in parts of %s, %d at once", sizeText(c.size), sizeText(p.partSize), p.partsAtOnce)
	case get:
		what = "get " + sizeText(c.size)
	case mixed:
		what = "mixed " + sizeText(c.size)
	case list:
		what = fmt.Sprintf("list, pages of %d keys", p.page)
	case listDirs:
		what = fmt.Sprintf("list with a delimiter, pages of %d prefixes", min(p.page, p.directories))
	case remove:
		what = "delete"
	case multiRemove:
		what = fmt.Sprintf("delete %d keys a request", p.batch)
	}
	return fmt.Sprintf("%s, %d clients", what, c.clients)
}

// each returns how many keys or common prefixes an operation answers with or deletes; 0 where it is about one object.
func (c cell) each(p plan) int {
	switch c.verb {
	case list:
		return min(p.page, p.directories*p.leaves)
	case listDirs:
		return min(p.page, p.directories)
	case multiRemove:
		return p.batch
	}
	return 0
}

// deletes reports whether a cell takes away what was prepared for it, and ends with that.
func (c cell) deletes() bool { return c.verb == remove || c.verb == multiRemove }

func shortSize(size int64) string {
	number, unit, _ := strings.Cut(sizeText(size), " ")
	return number + strings.ToLower(unit[:1])
}

func sizeText(size int64) string {
	if size < 1<<20 {
		return fmt.Sprintf("%d KiB", size>>10)
	}
	return fmt.Sprintf("%d MiB", size>>20)
}

// listedSize is the size of the objects in the listed bucket, in bytes.
const listedSize = 4 << 10

// largest returns the size of the largest objects, in bytes.
func (p plan) largest() (size int64) {
	for _, c := range p.cells {
		size = max(size, c.size)
	}
	return size
}

// largestRead returns the cell that reads the largest objects, nil if none reads any that the echo is too small for.
func (p plan) largestRead() (found *cell) {
	for i, c := range p.cells {
		if c.verb == get && c.size > echoMax && (found == nil || c.size > found.size) {
			found = &p.cells[i]
		}
	}
	return found
}

// has reports whether one of the cells is such.
func (p plan) has(such func(cell) bool) bool { return slices.ContainsFunc(p.cells, such) }

// index returns where a cell of the plan is.
func (p plan) index(c cell) int { return slices.Index(p.cells, c) }

// choose leaves the cells that names has, all if it is empty.
func (p *plan) choose(names string) error {
	if names == "" {
		return nil
	}
	known := cellNames(*p)
	wanted := strings.Split(names, ",")
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no cell %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	p.cells = slices.DeleteFunc(p.cells, func(c cell) bool { return !slices.Contains(wanted, c.name()) })
	return nil
}

func cellNames(p plan) (names []string) {
	for _, c := range p.cells {
		names = append(names, c.name())
	}
	return names
}
