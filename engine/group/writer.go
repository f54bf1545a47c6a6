package group

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// Writer sends commands to a group under an epoch of its own, numbers them, and repeats them until their outcome is known. It is safe
// for concurrent use.
type Writer struct {
	group *Group
	epoch uint64

	mu      sync.Mutex
	next    uint64
	extents uint64
	open    map[uint64]bool // numbers whose answers are awaited
}

// OpenWriter gets an epoch for a node.
func OpenWriter(ctx context.Context, g *Group, node uint64) (*Writer, error) {
	var number [8]byte
	if _, err := rand.Read(number[:]); err != nil {
		return nil, err
	}
	command := meta.Encode(0, binary.BigEndian.Uint64(number[:]), 0, &meta.OpenEpoch{Node: node})
	answer, _, err := propose(ctx, g, command)
	if err != nil {
		return nil, err
	}
	return &Writer{group: g, epoch: answer.Epoch, next: 1, open: map[uint64]bool{}}, nil
}

// Epoch returns the writer's epoch.
func (w *Writer) Epoch() uint64 { return w.epoch }

// Group returns the group that the writer writes to.
func (w *Writer) Group() *Group { return w.group }

// NewExtent returns an id that nobody had before.
func (w *Writer) NewExtent() engine.ExtentID {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.extents++
	return engine.ExtentID{Group: w.group.id, Epoch: w.epoch, Counter: w.extents}
}

// Do commits a command and returns its answer and its index. The error is the answer's, or KindUnavailable if the outcome is not
// known when ctx ends or too few replicas are at hand; then the command may still be applied.
func (w *Writer) Do(ctx context.Context, c meta.Command) (meta.Answer, uint64, error) {
	w.mu.Lock()
	number := w.next
	w.next++
	w.open[number] = true
	confirmed := number
	for n := range w.open {
		confirmed = min(confirmed, n)
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.open, number)
		w.mu.Unlock()
	}()
	return propose(ctx, w.group, meta.Encode(w.epoch, number, confirmed, c))
}

func propose(ctx context.Context, g *Group, command []byte) (meta.Answer, uint64, error) {
	data, index, err := g.Propose(ctx, command)
	if err != nil {
		return meta.Answer{}, 0, err
	}
	answer, err := meta.ParseAnswer(data)
	if err != nil {
		return answer, 0, engine.E(engine.KindInternal, "the answer of group %d: %w", g.id, err)
	}
	return answer, index, answer.Err()
}
