package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// The marks between which a file has the tables.
const (
	begin = "<!-- bench:begin -->"
	end   = "<!-- bench:end -->"
)

// report is everything that a run found out.
type report struct {
	config  config
	plan    plan
	commit  string
	started time.Time
	machine machine
	hashes  []hashLimit
	disks   []diskLimit // one a round
	echo    *results
	// ceilings has what the engine came to without HTTP, one a round; none if the plan has no large objects.
	ceilings []ceiling
	servers  []*results // Holdfast first
	absent   []string   // peers whose binaries are not there
}

// column is one figure of the large table: medians of the rounds are shown.
type column struct {
	title string
	value func(p plan, c cell, m measurement) (figure float64, ok bool)
}

var columns = []column{
	{"operations/s", func(_ plan, _ cell, m measurement) (float64, bool) { return m.rate, true }},
	{"MiB/s", func(_ plan, c cell, m measurement) (float64, bool) {
		return m.rate * float64(c.size) / (1 << 20), c.size > 0
	}},
	{"keys/s", func(p plan, c cell, m measurement) (float64, bool) { return m.rate * float64(c.each(p)), c.each(p) > 0 }},
	{"median ms", func(_ plan, _ cell, m measurement) (float64, bool) { return milliseconds(m.median), true }},
	{"p99 ms", func(_ plan, _ cell, m measurement) (float64, bool) { return milliseconds(m.p99), true }},
	{"CPU ms/operation", func(_ plan, _ cell, m measurement) (float64, bool) { return milliseconds(m.server), true }},
	{"CPU s/GiB", func(_ plan, c cell, m measurement) (float64, bool) {
		return m.server.Seconds() / float64(max(c.size, 1)) * (1 << 30), c.size >= 1<<20
	}},
	{"client CPU ms/operation", func(_ plan, _ cell, m measurement) (float64, bool) { return milliseconds(m.client), true }},
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// markdown returns the tables.
func (r *report) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Measured on %s", r.started.UTC().Format("2006-01-02"))
	if r.commit != "" {
		fmt.Fprintf(&b, " at commit %s", r.commit)
	}
	fmt.Fprintf(&b, ": %s; each cell %d × %s.\n", r.machine, r.config.rounds, r.config.duration)
	if r.config.short {
		b.WriteString("\nThis was a short run with small objects: it shows that everything works, not how fast.\n")
	}
	switch {
	case r.config.peers == "":
		b.WriteString("\nOnly Holdfast was measured: no folder with the binaries of other servers was named.\n")
	case len(r.absent) > 0:
		for _, name := range r.absent {
			fmt.Fprintf(&b, "\n%s was not measured: its binary is absent.\n", name)
		}
	}
	b.WriteString("\n")
	r.writeCells(&b)
	b.WriteString("\n")
	for _, d := range r.drawings() {
		fmt.Fprintf(&b, "![%s](%s)\n\n", d.title, d.link)
	}
	r.writeServers(&b)
	b.WriteString("\n")
	r.writeShares(&b)
	r.writeMachine(&b)
	return b.Bytes()
}

// writeCells writes a row for every cell and server, and one with the ratio to Holdfast for every peer.
func (r *report) writeCells(b *bytes.Buffer) {
	header := []string{"load", "server"}
	for _, c := range columns {
		header = append(header, c.title)
	}
	writeHeader(b, append(header, "spread"), 2)
	for i, c := range r.plan.cells {
		title := c.title(r.plan)
		for _, s := range r.servers {
			row := []string{title, s.name}
			for _, column := range columns {
				row = append(row, optional(s.figure(column, r.plan, c, i)))
			}
			writeRow(b, append(row, s.spread(i)))
			title = ""
		}
		for _, peer := range r.servers[1:] {
			row := []string{"", "**" + r.servers[0].name + " ÷ " + peer.name + "**"}
			for _, column := range columns {
				ours, ok := r.servers[0].figure(column, r.plan, c, i)
				theirs, _ := peer.figure(column, r.plan, c, i)
				if theirs == 0 {
					ok = false
				}
				row = append(row, strong(optional(ours/theirs, ok)))
			}
			writeRow(b, append(row, ""))
		}
	}
}

// writeServers writes what is known of each server as a whole.
func (r *report) writeServers(b *bytes.Buffer) {
	titles := []string{"server", "version", "redundancy", "space factor"}
	for _, m := range memories {
		titles = append(titles, m.title)
	}
	writeHeader(b, titles, 3)
	for _, s := range r.servers {
		space, weighed := s.space()
		row := []string{s.name, s.version, redundancy, optional(space, weighed)}
		for _, m := range memories {
			row = append(row, optional(s.mebibytes(m.of)))
		}
		writeRow(b, row)
	}
}

// memories are what the table of the servers has of their memory.
var memories = []struct {
	title string
	of    func(memory) int64
}{
	{"idle MiB, fresh", func(m memory) int64 { return m.fresh }},
	{"peak MiB, mixed load", func(m memory) int64 { return m.mixed }},
	{"peak MiB", func(m memory) int64 { return m.peak }},
	{"idle MiB, in the end", func(m memory) int64 { return m.after }},
}

// mebibytes returns the median of the rounds of one figure of memory; ok is false if it was not taken.
func (r *results) mebibytes(of func(memory) int64) (figure float64, ok bool) {
	var all []float64
	for _, m := range r.memory {
		all = append(all, float64(of(m))/(1<<20))
	}
	if len(all) == 0 || slices.Max(all) == 0 {
		return 0, false
	}
	return median(all), true
}

// writeMachine writes what the machine can do at best.
func (r *report) writeMachine(b *bytes.Buffer) {
	writeHeader(b, []string{"limit of the machine", "figure", "unit"}, 1)
	for _, l := range []struct {
		name, unit string
		of         func(diskLimit) float64
	}{
		{fmt.Sprintf("disk: %d MiB written to one file, then fsync", r.plan.probe.written>>20), "MiB/s", func(d diskLimit) float64 { return d.sequential }},
		{fmt.Sprintf("disk: %d × %d MiB written past the page cache to preallocated files at the same time, then fdatasync", drives, r.plan.probe.direct>>20), "MiB/s", func(d diskLimit) float64 { return d.direct }},
		{"disk: the same files read past the page cache", "MiB/s", func(d diskLimit) float64 { return d.directRead }},
		{"disk: 4 KiB appended to one file, then fdatasync", "1/s", func(d diskLimit) float64 { return d.appends }},
		{fmt.Sprintf("disk: 4 KiB of each of %d writers, one fdatasync of one file for all that wait", committers), "1/s", func(d diskLimit) float64 { return d.commits }},
		{fmt.Sprintf("disk: the same to %d files at the same time", drives), "1/s", func(d diskLimit) float64 { return d.wideCommits }},
	} {
		writeRow(b, []string{l.name, digits(medianOf(r.disks, l.of)), l.unit})
	}
	for _, h := range r.hashes {
		writeRow(b, []string{h.name, digits(h.speed), "GB/s"})
	}
	for i, c := range r.plan.cells {
		if cells := r.echo.cells[i]; len(cells) > 0 {
			writeRow(b, []string{"echo over HTTP: " + c.title(r.plan), digits(medianOf(cells, func(m measurement) float64 { return m.rate })), "1/s"})
		}
	}
	large := r.plan.largestRead()
	if large == nil || len(r.ceilings) == 0 {
		return
	}
	for _, f := range []struct {
		verb string
		of   func(ceiling) ceilingFigure
	}{
		{"put", func(c ceiling) ceilingFigure { return c.Put }}, {"get", func(c ceiling) ceilingFigure { return c.Get }},
	} {
		rate := medianOf(r.ceilings, func(c ceiling) float64 { return f.of(c).Rate * float64(large.size) / (1 << 20) })
		cpu := medianOf(r.ceilings, func(c ceiling) float64 { return f.of(c).CPU.Seconds() / float64(large.size) * (1 << 30) })
		writeRow(b, []string{fmt.Sprintf("the engine in one process: %s %s, %d at once, at %s s CPU/GiB", f.verb, sizeText(large.size), large.clients, digits(cpu)), digits(rate), "MiB/s"})
	}
}

// figure returns the median of the rounds.
func (r *results) figure(of column, p plan, c cell, index int) (float64, bool) {
	var all []float64
	for _, m := range r.cells[index] {
		v, ok := of.value(p, c, m)
		if !ok {
			return 0, false
		}
		all = append(all, v)
	}
	return median(all), true
}

// spread returns how far the rounds are apart in operations/s, relative to their median.
func (r *results) spread(index int) string {
	var all []float64
	for _, m := range r.cells[index] {
		all = append(all, m.rate)
	}
	if len(all) < 2 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*(slices.Max(all)-slices.Min(all))/median(all))
}

// space returns the median of the space factors that were measured, false if none was.
func (r *results) space() (float64, bool) {
	var all []float64
	for _, rounds := range r.cells {
		for _, m := range rounds {
			if m.space > 0 {
				all = append(all, m.space)
			}
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	return median(all), true
}

// median returns the middle of a list that has something, of an even number the mean of the two.
func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// digits writes a figure with three digits that mean something.
func digits(v float64) string {
	decimals := 3
	for limit := v; limit >= 1 && decimals > 0; limit /= 10 {
		decimals--
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

func optional(v float64, ok bool) string {
	if !ok {
		return "–"
	}
	return digits(v)
}

func strong(s string) string { return "**" + s + "**" }

// writeHeader begins a table; the first columns have text, the others figures.
func writeHeader(b *bytes.Buffer, titles []string, text int) {
	writeRow(b, titles)
	for i := range titles {
		if i < text {
			b.WriteString("|---")
		} else {
			b.WriteString("|---:")
		}
	}
	b.WriteString("|\n")
}

func writeRow(b *bytes.Buffer, fields []string) {
	for _, f := range fields {
		b.WriteString("| " + f + " ")
	}
	b.WriteString("|\n")
}

// drawing is a picture that stands beside the document.
type drawing struct {
	title, link string // the link is relative to the document
	svg         []byte
}

// drawings returns one for each peer: how many times as many operations Holdfast does.
func (r *report) drawings() (all []drawing) {
	for _, peer := range r.servers[min(1, len(r.servers)):] {
		var bars []bar
		for i, c := range r.plan.cells {
			ours, _ := r.servers[0].rate(i)
			if theirs, ok := peer.rate(i); ok && theirs > 0 && ours > 0 {
				bars = append(bars, bar{c.title(r.plan), ours / theirs})
			}
		}
		title := fmt.Sprintf("Operations/s of %s as a multiple of %s's", r.servers[0].name, peer.name)
		all = append(all, drawing{title, "benchmarks/ratios-" + peer.name + ".svg", drawRatios(title, bars)})
	}
	return all
}

// writeDrawings puts pictures beside a document.
func writeDrawings(document string, all []drawing) error {
	for _, d := range all {
		name := filepath.Join(filepath.Dir(document), filepath.FromSlash(d.link))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, d.svg, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replaceSection puts a text between two marks of a file; nil only checks that they are there.
func replaceSection(name, begin, end string, text []byte) error {
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(old, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !ok || !ended {
		return fmt.Errorf("%s has no place for the tables: it lacks %s and, behind that, %s", name, begin, end)
	}
	if text == nil {
		return nil
	}
	return os.WriteFile(name, slices.Concat(before, []byte(begin+"\n\n"), text, []byte("\n"+end), after), 0o644)
}
