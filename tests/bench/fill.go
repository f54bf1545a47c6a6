package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"time"

	"holdfast/cli/bench"
	"holdfast/engine"
	"holdfast/engine/node"
)

// The buckets of many keys.
const (
	flatBucket = "flat" // every key in its root
	treeBucket = "tree" // as many in each of treePrefixes directories
)

const treePrefixes = 1000

// filling is how many puts of a bulk load are under way at the same time: a group commits together what waits together.
const filling = 512

// fillMemory is the budget of a bulk load, in bytes: most of what it does otherwise is to read the same parts of the index again.
const fillMemory = 2 << 30

// flatKey returns the key with a number; numbers and keys have the same order.
func flatKey(number int64) string { return fmt.Sprintf("key-%012d", number) }

// treeKey returns where a number is in the bucket with prefixes: neighbours are in different ones.
func treeKey(number int64) string {
	return fmt.Sprintf("prefix-%03d/key-%012d", number%treePrefixes, number/treePrefixes)
}

// filledBucket is a bucket with the keys of all numbers below count.
type filledBucket struct {
	name  string
	count int64
	key   func(number int64) string
}

// openNode opens the storage of a place, as the daemon does; memory is its budget in bytes, 0 the daemon's default.
func openNode(ctx context.Context, p place, memory int64) (*node.Node, error) {
	config := node.Config{State: p.state(), Memory: memory, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for i := range drives {
		if err := os.MkdirAll(p.drive(i), 0o700); err != nil {
			return nil, err
		}
		config.Drives = append(config.Drives, p.drive(i))
	}
	if err := os.MkdirAll(p.state(), 0o700); err != nil {
		return nil, err
	}
	return node.Open(ctx, config)
}

// fillReport is what a bulk load came to.
type fillReport struct {
	Keys    int64
	Elapsed time.Duration
	CPU     time.Duration // of the process
}

// fillConfig says how many keys each bucket gets.
type fillConfig struct {
	Dir        string // has the folders of a place
	Flat, Tree int64
}

// filledSize is the size of each object, in bytes: its number, so that each has an entity tag of its own, which no compression of metadata
// takes away. An object of that size has no shards; its content is kept beside its metadata, so what is weighed has it too.
const filledSize = 8

// fill puts objects into both buckets, through the engine in this process.
func fill(ctx context.Context, c fillConfig) (r fillReport, err error) {
	n, err := openNode(ctx, place{dir: c.Dir}, fillMemory)
	if err != nil {
		return r, err
	}
	defer func() {
		if closing := n.Close(); err == nil {
			err = closing
		}
	}()
	began, used := time.Now(), ownCPU()
	for _, b := range []filledBucket{{flatBucket, c.Flat, flatKey}, {treeBucket, c.Tree, treeKey}} {
		name := engine.BucketName(b.name)
		if _, err := n.CreateBucket(ctx, name, engine.CreateBucketOptions{}); err != nil && !engine.Is(err, engine.KindBucketExists) {
			return r, err
		}
		err := bench.Each(ctx, b.count, filling, func(ctx context.Context, number int64) error {
			if number > 0 && number%1_000_000 == 0 {
				progress("  %s has %d keys, %s/s", b.name, number, digits(float64(r.Keys+number)/time.Since(began).Seconds()))
			}
			body := binary.BigEndian.AppendUint64(nil, uint64(number))
			_, err := n.Put(ctx, engine.Ref{Bucket: name, Key: engine.Key(b.key(number))}, bytes.NewReader(body), engine.PutOptions{Size: filledSize})
			return err
		})
		if err != nil {
			return r, err
		}
		r.Keys += b.count
	}
	r.Elapsed, r.CPU = time.Since(began), ownCPU()-used
	return r, nil
}
