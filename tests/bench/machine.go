package main

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	md5simd "github.com/minio/md5-simd"
	sha256simd "github.com/minio/sha256-simd"
	"golang.org/x/sys/unix"

	"holdfast/engine/disk"
)

// machine is what the figures were taken on.
type machine struct {
	processor  string
	cores      int
	kernel     string
	filesystem string // of the working folder
}

func (m machine) String() string {
	return fmt.Sprintf("%d × %s, Linux %s, %s", m.cores, m.processor, m.kernel, m.filesystem)
}

func describe(folder string) (m machine, err error) {
	m.cores = runtime.NumCPU()
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.processor = strings.TrimSpace(value)
			break
		}
	}
	if text, err = os.ReadFile("/proc/sys/kernel/osrelease"); err != nil {
		return m, err
	}
	m.kernel = strings.TrimSpace(string(text))
	m.filesystem, err = filesystem(folder)
	return m, err
}

// filesystem returns the type of the file system that has a folder: that of the longest mount point above it, and of the last of those.
func filesystem(folder string) (kind string, err error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	longest := 0
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		point := strings.TrimSuffix(fields[1], "/") + "/"
		if strings.HasPrefix(folder+"/", point) && len(point) >= longest {
			kind, longest = fields[2], len(point)
		}
	}
	return kind, nil
}

// hashLimit is how fast one way to hash is on this machine, with nothing else to do.
type hashLimit struct {
	name    string
	streams int
	speed   float64 // GB/s, of all streams together
}

// md5Streams is how many bodies the loads of large objects have under way at the same time.
const md5Streams = 4

// measureHashes measures what a server can at best hash: a stream needs SHA-256 for its signature and MD5 for its entity tag.
func measureHashes(p probe) (limits []hashLimit, err error) {
	lanes := md5simd.NewServer()
	defer lanes.Close()
	lane := func() hash.Hash { return lanes.NewHash() }
	for _, h := range []struct {
		name    string
		make    func() hash.Hash
		streams int
	}{
		{"SHA-256, crypto/sha256, one stream", sha256.New, 1},
		{"SHA-256, minio/sha256-simd, one stream", sha256simd.New, 1},
		{"MD5, crypto/md5, one stream", md5.New, 1},
		{"MD5, minio/md5-simd, one stream", lane, 1},
		{"MD5, minio/md5-simd, four streams together", lane, md5Streams},
		{"MD5, minio/md5-simd, eight streams together", lane, 8},
	} {
		speed, err := hashSpeed(h.make, h.streams, p.hash)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.name, err)
		}
		limits = append(limits, hashLimit{h.name, h.streams, speed})
	}
	return limits, nil
}

// hashSpeed hashes a MiB over and over, in streams side by side, for a time, and returns GB/s.
func hashSpeed(newHash func() hash.Hash, streams int, duration time.Duration) (float64, error) {
	block := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(block) // it never fails
	blocks, errs := make([]int, streams), make([]error, streams)
	var group sync.WaitGroup
	start := time.Now()
	for i := range streams {
		group.Go(func() {
			h := newHash()
			if c, ok := h.(interface{ Close() }); ok {
				defer c.Close()
			}
			for time.Since(start) < duration {
				if _, errs[i] = h.Write(block); errs[i] != nil {
					return
				}
				blocks[i]++
			}
			h.Sum(nil) // whatever is still under way in another goroutine
		})
	}
	group.Wait()
	elapsed, total := time.Since(start), 0
	for i := range streams {
		if errs[i] != nil {
			return 0, errs[i]
		}
		total += blocks[i] * len(block)
	}
	return float64(total) / elapsed.Seconds() / 1e9, nil
}

// diskLimit is what the disk that has the drives takes, with nothing else to do.
type diskLimit struct {
	sequential  float64 // MiB/s, written to one file and then synced
	appends     float64 // of 4 KiB to one file, each synced, for each second
	commits     float64 // of 4 KiB to one file, for each second, with one sync for all writers that wait
	wideCommits float64 // the same, to a file of each drive
	direct      float64 // MiB/s, written past the page cache to a file of each drive at the same time, and then synced
	directRead  float64 // MiB/s, read back in the same way
}

func measureDisk(ctx context.Context, folder string, p probe) (limit diskLimit, err error) {
	if limit.sequential, err = sequentialSpeed(filepath.Join(folder, "sequential"), p.written); err != nil {
		return limit, err
	}
	if limit.appends, err = appendRate(filepath.Join(folder, "appends"), p.appends); err != nil {
		return limit, err
	}
	files, remove, err := preallocate(folder, p.direct)
	if err != nil {
		return limit, err
	}
	defer remove()
	if limit.commits, err = commitRate(ctx, files[:1], p); err != nil {
		return limit, err
	}
	if limit.wideCommits, err = commitRate(ctx, files, p); err != nil {
		return limit, err
	}
	if limit.direct, err = directSpeed(files, p.direct, func(f disk.File, block []byte, offset int64) error {
		_, err := f.WriteAt(block, offset)
		return err
	}); err != nil {
		return limit, err
	}
	limit.directRead, err = directSpeed(files, p.direct, func(f disk.File, block []byte, offset int64) error {
		_, err := f.ReadAt(block, offset)
		return err
	})
	return limit, err
}

// preallocate makes a file for each drive, of bytes that were written already, for use past the page cache.
func preallocate(folder string, size int64) (files []disk.File, remove func(), err error) {
	root, err := disk.OS(folder)
	if err != nil {
		return nil, nil, err
	}
	name := func(i int) string { return fmt.Sprint("direct", i) }
	remove = func() {
		for i, f := range files {
			f.Close()
			if err := root.Remove(name(i)); err != nil {
				progress("%v", err)
			}
		}
		root.Close()
	}
	defer func() {
		if err != nil {
			remove()
		}
	}()
	for i := range drives {
		f, err := root.Open(name(i), disk.Flags{Create: true, Exclusive: true, Direct: true})
		if err != nil {
			return nil, nil, err
		}
		files = append(files, f)
		if err := f.Allocate(0, size); err != nil {
			return nil, nil, err
		}
	}
	_, err = directSpeed(files, size, func(f disk.File, block []byte, offset int64) error {
		_, err := f.WriteAt(block, offset)
		return err
	})
	return files, remove, err
}

// directSpeed goes through all files at the same time, a MiB after the other, and syncs them; it returns MiB/s of all together.
func directSpeed(files []disk.File, size int64, do func(f disk.File, block []byte, offset int64) error) (float64, error) {
	errs := make([]error, len(files))
	var group sync.WaitGroup
	start := time.Now()
	for i, f := range files {
		group.Go(func() {
			block := disk.AlignedBytes(1 << 20)
			_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(block) // it never fails
			for offset := int64(0); offset < size && errs[i] == nil; offset += int64(len(block)) {
				errs[i] = do(f, block, offset)
			}
			if errs[i] == nil {
				errs[i] = f.Sync()
			}
		})
	}
	group.Wait()
	return float64(int64(len(files))*size>>20) / time.Since(start).Seconds(), errors.Join(errs...)
}

// committers is how many writers wait for the same sync, as many as the load of small puts has clients.
const committers = 32

// commitRate lets writers append 4 KiB each, over and over: all that wait go out with one write and one sync of each file. It returns how
// many were acknowledged for each second.
func commitRate(ctx context.Context, files []disk.File, p probe) (float64, error) {
	const record = 4 << 10
	ctx, cancel := context.WithTimeout(ctx, p.appends)
	defer cancel()
	waiting := make(chan chan error, committers)
	var writers, committer sync.WaitGroup
	committer.Go(func() {
		buffer := disk.AlignedBytes(committers * record)
		_, _ = rand.NewChaCha8([32]byte{}).Read(buffer) // it never fails
		offset := int64(0)
		for first := range waiting {
			batch := []chan error{first}
			for more := len(waiting); more > 0; more-- {
				batch = append(batch, <-waiting)
			}
			size := int64(len(batch) * record)
			if offset+size > p.direct {
				offset = 0
			}
			err := commitOnce(files, buffer[:size], offset)
			offset += size
			for _, answer := range batch {
				answer <- err
			}
		}
	})
	var done atomic.Int64
	errs := make([]error, committers)
	start := time.Now()
	for i := range committers {
		writers.Go(func() {
			answer := make(chan error, 1)
			for ctx.Err() == nil && errs[i] == nil {
				waiting <- answer
				if errs[i] = <-answer; errs[i] == nil {
					done.Add(1)
				}
			}
		})
	}
	writers.Wait()
	elapsed := time.Since(start)
	close(waiting)
	committer.Wait()
	return float64(done.Load()) / elapsed.Seconds(), errors.Join(errs...)
}

// commitOnce writes the same to every file and syncs it, all at the same time.
func commitOnce(files []disk.File, what []byte, offset int64) error {
	errs := make([]error, len(files))
	var group sync.WaitGroup
	for i, f := range files {
		group.Go(func() {
			if _, errs[i] = f.WriteAt(what, offset); errs[i] == nil {
				errs[i] = f.Sync()
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func sequentialSpeed(name string, total int64) (float64, error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer os.Remove(name)
	defer f.Close()
	block := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(block) // it never fails
	start := time.Now()
	for range total >> 20 {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return float64(total>>20) / time.Since(start).Seconds(), nil
}

func appendRate(name string, duration time.Duration) (float64, error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer os.Remove(name)
	defer f.Close()
	block := make([]byte, 4<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(block) // it never fails
	start, n := time.Now(), 0
	for ; time.Since(start) < duration; n++ {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}
