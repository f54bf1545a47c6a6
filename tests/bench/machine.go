package main

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"hash"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	md5simd "github.com/minio/md5-simd"
	sha256simd "github.com/minio/sha256-simd"
	"golang.org/x/sys/unix"
)

// machine is what the figures were taken on.
type machine struct {
	processor  string
	cores      int
	kernel     string
	filesystem string // of the working folder
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
	name  string
	speed float64 // GB/s, of all streams together
}

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
		{"MD5, minio/md5-simd, eight streams together", lane, 8},
	} {
		speed, err := hashSpeed(h.make, h.streams, p.hash)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.name, err)
		}
		limits = append(limits, hashLimit{h.name, speed})
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

// diskLimit is what one file takes on the disk that has the drives, with nothing else to do.
type diskLimit struct {
	sequential float64 // MiB/s, written and then synced
	appends    float64 // of 4 KiB, each synced, for each second
}

func measureDisk(folder string, p probe) (limit diskLimit, err error) {
	if limit.sequential, err = sequentialSpeed(filepath.Join(folder, "sequential"), p.written); err != nil {
		return limit, err
	}
	limit.appends, err = appendRate(filepath.Join(folder, "appends"), p.appends)
	return limit, err
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
