package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/disk/sim"
	"holdfast/engine/drive"
	"holdfast/engine/group"
	"holdfast/engine/node"
)

// An overwrite is recorded with what each drive has before each of its calls, after a power cut and after the end of the process alone. A cell then puts a
// machine together of which exactly i drives are past a step and the others have not begun it. Drives do not wait for each other within a step, so each
// such machine is one that a cut may leave.

// overwriting is a recorded overwrite.
type overwriting struct {
	machine *machine
	past    map[string][]instant // of each folder, in order
	end     map[string][2]*sim.FS
	calls   int // of all folders
}

// instant is a disk before a call.
type instant struct {
	order int // among those of all folders
	call  sim.Call
	left  [2]*sim.FS // by a power cut, and by the end of the process
}

const (
	powerGoes = iota
	processEnds
)

// record has every call that changes a disk noted.
func (w *overwriting) record() {
	w.past, w.end = map[string][]instant{}, map[string][2]*sim.FS{}
	w.machine.watch(func(name string, c sim.Call) *sim.Fault {
		if c.Changes() {
			w.calls++
			w.past[name] = append(w.past[name], instant{w.calls, c, w.left(name)})
		}
		return nil
	})
}

// left is for the function that watch calls.
func (w *overwriting) left(name string) [2]*sim.FS {
	d, seed := w.machine.disks[name], uint64(w.calls)
	return [2]*sim.FS{d.ImageInCall(seed, sim.LossWhole, nil), d.ImageInCall(seed, sim.LossNone, nil)}
}

// at returns a folder as it was just before the call of that order, whoever's that is.
func (w *overwriting) at(name string, order int) [2]*sim.FS {
	for _, i := range w.past[name] {
		if i.order >= order {
			return i.left
		}
	}
	return w.end[name]
}

// step is something that each of some drives does by itself.
type step struct {
	name   string
	begins int                   // the order of the first call that is part of it
	done   map[string][2]*sim.FS // drives that take part, as they are when they have done it
}

// dataStep is the last extent's shards, written and synced.
func (w *overwriting) dataStep() step {
	s := step{name: "data", begins: w.calls + 1, done: map[string][2]*sim.FS{}}
	for name, past := range w.past {
		last := -1
		for i := range past {
			if past[i].call.Site == "drive.(*ShardWriter).sync" {
				last = i
			}
		}
		if last < 0 {
			continue
		}
		s.done[name] = w.at(name, past[last].order+1)
		for first := last - 1; first >= 0 && past[first].call.Site == "drive.(*ShardWriter).writeAligned"; first-- {
			s.begins = min(s.begins, past[first].order)
		}
	}
	return s
}

// ringSteps are the records of the meta streams: those of the last extent's shards, and each entry of the group of buckets that most replicas got.
func (w *overwriting) ringSteps(replicas int) ([]step, error) {
	shards := step{name: "records of shards", begins: w.calls + 1, done: map[string][2]*sim.FS{}}
	type record struct {
		text  string
		first int
		done  map[string][2]*sim.FS
	}
	records := map[string]*record{}
	for name, past := range w.past {
		known, begun := map[string]bool{}, w.calls+1
		if len(past) > 0 {
			if err := eachRecord(past[0].left[powerGoes], func(text string, _ drive.RecordKind) { known[text] = true }); err != nil {
				return nil, err
			}
		}
		for i := range past {
			if past[i].call.Site != "drive.(*ring).put" {
				continue
			}
			if past[i].call.Op == "write" {
				begun = min(begun, past[i].order)
				continue
			}
			after := w.at(name, past[i].order+1)
			err := eachRecord(after[powerGoes], func(text string, kind drive.RecordKind) {
				switch {
				case known[text]:
				case kind == drive.RecordShard:
					shards.done[name], shards.begins = after, min(shards.begins, begun)
				default:
					if records[text] == nil {
						records[text] = &record{text: text, first: w.calls + 1, done: map[string][2]*sim.FS{}}
					}
					records[text].done[name], records[text].first = after, min(records[text].first, begun)
				}
				known[text] = true
			})
			if err != nil {
				return nil, err
			}
			begun = w.calls + 1
		}
	}
	var steps []step
	if len(shards.done) > 0 {
		steps = append(steps, shards)
	}
	list := slices.SortedFunc(maps.Values(records), func(a, b *record) int { return a.first - b.first })
	list = slices.DeleteFunc(list, func(r *record) bool { return 2*len(r.done) <= replicas })
	for _, r := range list[max(0, len(list)-2):] { // of an upload those before are of its parts
		steps = append(steps, step{name: "entry of the group", begins: r.first, done: r.done})
	}
	return steps, nil
}

// eachRecord calls f for every entry of the group of buckets, and every record of a shard, in a drive's meta stream.
func eachRecord(d *sim.FS, f func(text string, kind drive.RecordKind)) error {
	for frame, err := range drive.Frames(d.Image(1, nil)) {
		if err != nil {
			return err
		}
		for _, r := range frame.Records {
			switch {
			case r.Kind == drive.RecordShard:
				f(r.Text, r.Kind)
			case r.Kind == drive.RecordGroup && r.Group == 1:
				for _, entry := range group.DescribeRecord(r.Payload, sum)[1:] { // the first line differs between replicas
					f(entry, r.Kind)
				}
			}
		}
	}
	return nil
}

// shape is an object that is overwritten, and how.
type shape struct {
	name string
	size int
	put  func(ctx context.Context, n *node.Node, b []byte) error
}

func plainly(ctx context.Context, n *node.Node, b []byte) error {
	_, err := n.Put(ctx, ref("z"), bytes.NewReader(b), engine.PutOptions{Size: int64(len(b))})
	return err
}

// firstPart is as small as a part may be that is not the last.
const firstPart = 5 << 20

// inParts makes an object of two extents.
func inParts(ctx context.Context, n *node.Node, b []byte) error {
	upload, err := n.StartUpload(ctx, ref("z"), engine.StartUploadOptions{})
	if err != nil {
		return err
	}
	var parts []engine.CompletePart
	for i, part := range [][]byte{b[:firstPart], b[firstPart:]} {
		info, err := n.PutPart(ctx, ref("z"), upload.ID, i+1, bytes.NewReader(part), engine.PutPartOptions{Size: int64(len(part))})
		if err != nil {
			return err
		}
		parts = append(parts, engine.CompletePart{Number: i + 1, ETag: info.ETag})
	}
	_, err = n.CompleteUpload(ctx, ref("z"), upload.ID, engine.CompleteUploadOptions{Parts: parts, Size: -1})
	return err
}

var shapes = []shape{{"inline", 4000, plainly}, {"one extent", 90_000, plainly}, {"two extents", firstPart + 70_000, inParts}}

// cells counts what became of the cells of a code and shape.
type cells struct {
	mu     sync.Mutex
	counts map[string]map[string]int
}

func (c *cells) add(row, column string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count(c.counts, row, column)
}

// TestInterruptedOverwrite ends an overwrite when exactly i of the drives have done a step of it, for every i, every step, codes from 2+2 to 12+4, and
// objects of each kind; then as many drives may be lost as there is parity, those that are missed most. The key has what it had or what it was given, whole,
// the listing says the same, and so it stays.
func TestInterruptedOverwrite(t *testing.T) {
	t.Parallel()
	c := &cells{counts: map[string]map[string]int{}}
	work := newWork(t)
	for _, drives := range []int{4, 6, 12, 16} {
		for i := range shapes {
			if !testing.Short() || drives == 4 {
				overwrite(t, work, c, drives, &shapes[i])
			}
		}
	}
	work.wait()
	if t.Failed() {
		return
	}
	var b strings.Builder
	total := 0
	columns := []string{"data", "records of shards", "entry of the group", "power", "process", "all there", "new ones lost", "old ones lost", "reads old", "reads new"}
	for _, row := range slices.Sorted(maps.Keys(c.counts)) {
		fmt.Fprintf(&b, "%-20s", row)
		for _, column := range columns {
			n := c.counts[row][column]
			fmt.Fprintf(&b, "  %s %d", column, n)
			if n == 0 && (!strings.HasSuffix(row, "inline") || column != "data" && column != "records of shards") {
				t.Errorf("%s: no cell of %q", row, column)
			}
		}
		total += c.counts[row]["reads old"] + c.counts[row]["reads new"]
		b.WriteString("\n")
	}
	t.Logf("%d cells:\n%s", total, b.String())
}

// overwrite records an overwrite and has its cells looked at.
func overwrite(t *testing.T, work *work, c *cells, drives int, s *shape) {
	m := newMachineOf(uint64(drives), drivesOf(drives))
	m.keeper = time.Hour // nothing but the overwrite happens
	w := &overwriting{machine: m}
	code := node.DefaultRedundancy(drives)
	row := fmt.Sprintf("%d+%d %s", code.Data, code.Parity, s.name)
	old, b := bytes.Repeat([]byte("old."), s.size/4), bytes.Repeat([]byte("new!!"), s.size/5)
	n, err := m.open(t)
	if err != nil {
		t.Error(err)
		return
	}
	_, err = n.CreateBucket(t.Context(), "bucket", engine.CreateBucketOptions{})
	if err == nil {
		err = s.put(t.Context(), n, old)
	}
	if err == nil {
		w.record()
		err = s.put(t.Context(), n, b)
	}
	if err != nil {
		t.Errorf("%s: %v", row, errors.Join(err, n.Close()))
		return
	}
	m.watch(func(name string, c sim.Call) *sim.Fault { // the first call after it; the close makes one on each drive
		if _, ended := w.end[name]; !ended && c.Changes() {
			w.end[name] = w.left(name)
		}
		return nil
	})
	if err = errors.Join(err, n.Close()); err != nil {
		t.Errorf("%s: %v", row, err)
		return
	}
	for name, d := range m.disks {
		if _, ended := w.end[name]; !ended {
			w.end[name] = [2]*sim.FS{d.ImageInCall(1, sim.LossWhole, nil), d.ImageInCall(1, sim.LossNone, nil)}
		}
	}
	replicas := 2*code.Parity + 1
	steps, err := w.ringSteps(replicas)
	if err != nil || len(steps) == 0 {
		t.Errorf("%s: %d steps: %v", row, len(steps), err)
		return
	}
	if s.name != "inline" {
		steps = append(steps, w.dataStep())
	}
	rng := rand.New(rand.NewPCG(uint64(drives), uint64(s.size)))
	for i := range steps {
		step := &steps[i]
		for reached := range len(step.done) + 1 {
			for lost := range 3 {
				if drives > 6 && (reached+i+lost)%3 != 0 {
					continue // by turns
				}
				names := slices.Sorted(maps.Keys(step.done))
				rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
				how := rng.IntN(2)
				work.do(func() {
					state, err := w.cell(t, step, names, reached, lost, how, code.Parity, sum(old), sum(b))
					if err != nil {
						t.Errorf("%s, %s: %v have done it of %v, lost %d, how %d: %v", row, step.name, names[:reached], names, lost, how, err)
						return
					}
					c.add(row, step.name)
					c.add(row, []string{"power", "process"}[how])
					c.add(row, []string{"all there", "new ones lost", "old ones lost"}[lost])
					c.add(row, "reads "+state)
				})
			}
		}
	}
}

// cell puts a machine together, starts it and says what it has. Of the names those before reached have done the step. Lost says that no drive is lost, or as
// many as there is parity: rather those that have done the step, or those that have not.
func (w *overwriting) cell(t *testing.T, s *step, names []string, reached, lost, how, parity int, old, b string) (string, error) {
	m := &machine{seed: uint64(reached), drives: w.machine.drives, power: new(sim.Power), disks: map[string]*sim.FS{}, check: time.Hour, logger: simLogger()}
	for i, name := range slices.Sorted(maps.Keys(w.machine.disks)) {
		left := w.at(name, s.begins)
		if slices.Contains(names[:reached], name) {
			left = s.done[name]
		}
		m.disks[name] = left[how].Image(uint64(i), m.power)
	}
	m.powerOn(0)
	if lost > 0 {
		order := slices.Clone(names)
		if lost == 2 {
			slices.Reverse(order)
		}
		for _, name := range m.drives { // those that take no part come last
			if !slices.Contains(order, name) {
				order = append(order, name)
			}
		}
		order = slices.DeleteFunc(order, func(name string) bool { return name == "/state/witness" })
		for _, name := range order[:parity] {
			delete(m.disks, name)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var first string
	for life := range 2 {
		n, err := m.open(t)
		if err != nil {
			return "", fmt.Errorf("the node does not start, life %d: %w", life, err)
		}
		got, err := read(ctx, n, "z")
		if err == nil {
			var page engine.ObjectPage
			if page, err = n.List(ctx, "bucket", engine.ListOptions{}); err == nil && (len(page.Objects) != 1 || page.Objects[0].Key != "z") {
				err = fmt.Errorf("the listing has %d objects", len(page.Objects))
			}
		}
		if life == 0 {
			first = got
		}
		if err == nil && got != old && got != b || got != first {
			err = errors.Join(err, fmt.Errorf("the key has %s in life %d, %s in the first; old is %s, new is %s", got, life, first, old, b))
		}
		if err != nil {
			m.abandon(n)
			return "", err
		}
		m.abandon(n)
		m.powerOff()
		m.powerOn(0)
	}
	if first == old {
		return "old", nil
	}
	return "new", nil
}
