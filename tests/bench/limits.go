package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// measureLimits takes once more what the machine could do at best, while no server runs.
func (r *report) measureLimits(ctx context.Context, stored contents, parent string) error {
	d, err := measureDisk(ctx, parent, r.plan.probe)
	if err != nil {
		return fmt.Errorf("the disk below %s: %w", parent, err)
	}
	r.disks = append(r.disks, d)
	us, err := os.Executable()
	if err != nil {
		return err
	}
	if k := echoKind(r.plan); r.plan.has(k.loads) {
		if err := measureServer(ctx, r.config, r.plan, stored, contender{k, us}, parent, r.echo); err != nil {
			return fmt.Errorf("the echo: %w", err)
		}
	}
	large := r.plan.largestRead()
	if large == nil {
		return nil
	}
	dir := filepath.Join(parent, "ceiling")
	var came ceiling
	c := ceilingConfig{Dir: dir, Size: large.size, Clients: large.clients, Objects: large.objects, Duration: r.config.duration}
	if err := startTask(ctx, "child-ceiling", c, &came); err != nil {
		return fmt.Errorf("the engine in one process: %w", err)
	}
	r.ceilings = append(r.ceilings, came)
	progress("  in process: %s puts/s, %s gets/s of %s", digits(came.Put.Rate), digits(came.Get.Rate), sizeText(large.size))
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return syncFolder(parent)
}

// share is a load beside a limit of the machine that it can come near to.
type share struct {
	cell  cell
	limit string
	most  float64 // operations/s
	reach float64 // the part of it that is to be reached; 0: none is named
}

// shares returns what each load can be held against, as far as it was measured.
func (r *report) shares() (all []share) {
	large := r.plan.largestRead()
	for i, c := range r.plan.cells {
		if rate, ok := r.echo.rate(i); ok {
			s := share{c, "an echo over HTTP, signatures and sums verified", rate, 0}
			if c.verb == get && c.size == 4<<10 {
				s.reach = 0.6
			}
			all = append(all, s)
		}
		if c.verb == put && c.size == 4<<10 {
			commits := medianOf(r.disks, func(d diskLimit) float64 { return d.wideCommits })
			all = append(all, share{c, fmt.Sprintf("%d writers, one fdatasync of %d files for all that wait", committers, drives), commits, 0})
		}
		if (c.verb == put || c.verb == putParts) && c.size > echoMax {
			name, most := r.bodyLimit(c.size)
			all = append(all, share{c, name, most, 0.8})
		}
		if large == nil || c.size != large.size || len(r.ceilings) == 0 {
			continue
		}
		switch c.verb {
		case put, putParts:
			all = append(all, share{c, "the engine in one process, without HTTP", medianOf(r.ceilings, func(c ceiling) float64 { return c.Put.Rate }), 0})
		case get:
			all = append(all, share{c, "the engine in one process, without HTTP", medianOf(r.ceilings, func(c ceiling) float64 { return c.Get.Rate }), 0.6})
		}
	}
	return all
}

// bodyLimit returns how many bodies of a size can be hashed and written for each second: MD5 in lanes takes as much as it can of a core, and
// 2+2 writes every byte twice. The lower of both is the limit.
func (r *report) bodyLimit(size int64) (name string, rate float64) {
	hashed := 0.0
	for _, h := range r.hashes {
		if h.streams == md5Streams {
			hashed = h.speed * 1e9 / float64(size)
		}
	}
	written := medianOf(r.disks, func(d diskLimit) float64 { return d.direct }) * (1 << 20) / float64(size) / 2
	if written < hashed {
		return "the disk: half of what is written past the page cache to all drives", written
	}
	return fmt.Sprintf("MD5 of %d streams in lanes", md5Streams), hashed
}

// writeShares writes how near each load comes to the limits of the machine.
func (r *report) writeShares(b *bytes.Buffer) {
	all := r.shares()
	if len(all) == 0 {
		return
	}
	b.WriteString("How near the loads come to what this machine can do at best, in operations/s:\n\n")
	writeHeader(b, []string{"load", "limit", "limit/s", "holdfast/s", "share", "to reach"}, 2)
	for _, s := range all {
		reach := "–"
		if s.reach > 0 {
			reach = fmt.Sprintf("%.0f %%", 100*s.reach)
		}
		ours, _ := r.servers[0].rate(r.plan.index(s.cell))
		writeRow(b, []string{s.cell.title(r.plan), s.limit, digits(s.most), digits(ours), fmt.Sprintf("%.0f %%", 100*ours/s.most), reach})
	}
	b.WriteString("\n")
}

// rate returns the median of the rounds of a cell's operations/s; ok is false if there is none.
func (r *results) rate(index int) (rate float64, ok bool) {
	if len(r.cells[index]) == 0 {
		return 0, false
	}
	return medianOf(r.cells[index], func(m measurement) float64 { return m.rate }), true
}

func medianOf[T any](of []T, figure func(T) float64) float64 {
	var all []float64
	for _, v := range of {
		all = append(all, figure(v))
	}
	return median(all)
}
