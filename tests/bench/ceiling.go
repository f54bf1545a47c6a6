package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"holdfast/cli/bench"
	"holdfast/engine"
)

// ceilingConfig says what the engine is put under in a process that has no HTTP.
type ceilingConfig struct {
	Dir      string // has the folders of a place
	Size     int64
	Clients  int
	Objects  int // that reads choose from
	Duration time.Duration
}

// ceiling is what the engine reaches in one process with those who call it. Nothing is signed, and nobody looks at what is read.
type ceiling struct {
	Put, Get ceilingFigure
}

type ceilingFigure struct {
	Rate float64       // objects/s
	CPU  time.Duration // for each
}

// measureCeiling stores objects for a time, then reads those that are there for as long.
func measureCeiling(ctx context.Context, c ceilingConfig) (came ceiling, err error) {
	n, err := openNode(ctx, place{dir: c.Dir}, 0)
	if err != nil {
		return came, err
	}
	defer func() {
		if closing := n.Close(); err == nil {
			err = closing
		}
	}()
	if _, err := n.CreateBucket(ctx, objectBucket, engine.CreateBucketOptions{}); err != nil {
		return came, err
	}
	payloads := bench.NewPayloads([]int64{c.Size}, 0, "")
	var stored atomic.Int64
	ref := func(number int64) engine.Ref {
		return engine.Ref{Bucket: objectBucket, Key: engine.Key(objectKey(c.Size, number))}
	}
	putOne := func(ctx context.Context, _ *bench.Worker) error {
		number := stored.Add(1) - 1
		_, err := n.Put(ctx, ref(number), bytes.NewReader(payloads.Of(c.Size, number).Body), engine.PutOptions{Size: c.Size})
		return err
	}
	if came.Put, err = c.measure(ctx, putOne); err != nil {
		return came, err
	}
	err = bench.Each(ctx, int64(c.Objects)-stored.Load(), c.Clients, func(ctx context.Context, _ int64) error { return putOne(ctx, nil) })
	if err != nil {
		return came, err
	}
	came.Get, err = c.measure(ctx, func(ctx context.Context, w *bench.Worker) error {
		object, err := n.Open(ctx, ref(w.Rand.Int64N(int64(c.Objects))), engine.OpenOptions{})
		if err != nil {
			return err
		}
		defer object.Close()
		if read, err := object.WriteTo(io.Discard); err != nil || read != c.Size {
			return fmt.Errorf("%d bytes of %d were read: %w", read, c.Size, err)
		}
		return nil
	})
	return came, err
}

func (c ceilingConfig) measure(ctx context.Context, do func(context.Context, *bench.Worker) error) (f ceilingFigure, err error) {
	if _, _, err := load(ctx, c.Clients, c.Duration/8, 0, do); err != nil {
		return f, err
	}
	before := ownCPU()
	elapsed, latency, err := load(ctx, c.Clients, c.Duration, 0, do)
	if err != nil {
		return f, err
	}
	done := latency.Count()
	return ceilingFigure{float64(done) / elapsed.Seconds(), (ownCPU() - before) / time.Duration(done)}, nil
}
