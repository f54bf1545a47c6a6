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
	put      verb = iota // a new object for each request
	get                  // a random object of a fixed number
	mixed                // 45 % get, 30 % stat, 15 % put, 10 % delete
	list                 // the next page of a bucket, over and over
	listDirs             // a page of common prefixes
)

// cell is one load: clients that each send a request when the one before is answered.
type cell struct {
	verb    verb
	size    int64 // of an object, in bytes; 0 for listings
	objects int   // that reads choose from: the same number on every server, however many it had time to store
	clients int
}

// plan is what one server is put through, in this order.
type plan struct {
	cells       []cell
	directories int           // of the listed bucket
	leaves      int           // keys in each
	page        int           // keys or common prefixes on a page
	settle      time.Duration // the longest wait for a server to become quiet after a load; 0 does not wait
	probe       probe
}

// probe says how long the machine's own limits are looked at.
type probe struct {
	hash, appends time.Duration
	written       int64 // bytes of the sequential write
}

func fullPlan() plan {
	return plan{
		cells:       cells([]int64{4 << 10, 64 << 10, 1 << 20, 64 << 20}, []int{2048, 1024, 256, 16}, []int{32, 16, 8, 2}, 8),
		directories: 1000, leaves: 10, page: 1000, settle: 3 * time.Second,
		probe: probe{hash: 300 * time.Millisecond, appends: time.Second, written: 256 << 20},
	}
}

// shortPlan has the same cells with less in them.
func shortPlan() plan {
	return plan{
		cells:       cells([]int64{4 << 10, 64 << 10, 1 << 20}, []int{16, 8, 4}, []int{8, 4, 2}, 2),
		directories: 20, leaves: 10, page: 20,
		probe: probe{hash: 10 * time.Millisecond, appends: 50 * time.Millisecond, written: 8 << 20},
	}
}

func cells(sizes []int64, objects, clients []int, listing int) (all []cell) {
	for i, size := range sizes {
		all = append(all, cell{put, size, objects[i], clients[i]}, cell{get, size, objects[i], clients[i]})
	}
	all = append(all, cell{mixed, sizes[1], objects[1], clients[1]})
	return append(all, cell{verb: list, clients: listing}, cell{verb: listDirs, clients: listing})
}

// name is how a cell is called on the command line, such as put4k.
func (c cell) name() string {
	switch c.verb {
	case list:
		return "list"
	case listDirs:
		return "listdirs"
	case get:
		return "get" + shortSize(c.size)
	case mixed:
		return "mixed" + shortSize(c.size)
	}
	return "put" + shortSize(c.size)
}

// title is how a table calls it.
func (c cell) title(p plan) string {
	what := ""
	switch c.verb {
	case put:
		what = "put " + sizeText(c.size)
	case get:
		what = "get " + sizeText(c.size)
	case mixed:
		what = "mixed " + sizeText(c.size)
	case list:
		what = fmt.Sprintf("list, pages of %d keys", p.page)
	case listDirs:
		what = fmt.Sprintf("list with a delimiter, pages of %d prefixes", min(p.page, p.directories))
	}
	return fmt.Sprintf("%s, %d clients", what, c.clients)
}

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
