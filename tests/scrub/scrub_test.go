// Package scrub_test has the scrub find what rots on a drive of the real daemon, while that runs and nobody reads it.
//
// Promise: a drive whose every shard has rotted is whole again after one pass, so that two of the others may be lost.
//
// The package does not know where in a file a shard is: it has the folders of the drives, S3 and the command line.
package scrub_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/tests/daemontest"
)

const (
	objects = 6
	victim  = 2 // the drive, from 1
)

func TestScrub(t *testing.T) {
	d := daemontest.New(t)
	d.Start()
	c, err := minio.New(d.Address, &minio.Options{Creds: credentials.NewStaticV4(daemontest.User, daemontest.Password, "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range objects {
		b := content(i)
		if _, err := c.PutObject(t.Context(), "bucket", fmt.Sprint("k", i), bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	first := pass(t, d)
	if first.Shards != objects || first.Damaged != 0 {
		t.Fatalf("before anything rots: %+v", first)
	}
	rot(t, d.Drive(victim-1))
	found := pass(t, d)
	if found.Shards != objects || found.Damaged != objects || !found.Started.After(first.Started) {
		t.Errorf("every shard of the drive has rotted: %+v", found)
	}
	d.AwaitRepair(time.Minute)
	if again := pass(t, d); again.Shards != objects || again.Damaged != 0 {
		t.Errorf("after the repair: %+v", again)
	}
	out, err := d.Command("status")
	for _, want := range []string{fmt.Sprintf("scrub of drive %d: complete ", victim), fmt.Sprintf("%d shards rebuilt", objects), "0 reported by readers", fmt.Sprintf("%d by the scrub", objects)} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("holdfast status (%v) lacks %q:\n%s", err, want, out)
		}
	}
	d.Stop()
	d.Wipe(0)
	d.Wipe(2)
	d.Start()
	d.AwaitRepair(time.Minute)
	for i := range objects {
		o, err := c.GetObject(t.Context(), "bucket", fmt.Sprint("k", i), minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(o)
		if err != nil || !bytes.Equal(got, content(i)) {
			t.Errorf("object %d: %d bytes, %v", i, len(got), err)
		}
		o.Close()
	}
}

// content is the bytes of an object.
func content(i int) []byte {
	b := make([]byte, 200_000+i*700_000)
	rand.NewChaCha8([32]byte{byte(i)}).Read(b)
	return b
}

// proof is what the test reads of a complete pass.
type proof struct {
	Started time.Time
	Shards  int
	Damaged int
}

// pass begins a pass over the victim and waits for its end.
func pass(t *testing.T, d *daemontest.Daemon) proof {
	t.Helper()
	began := time.Now()
	if out, err := d.Command("scrub", "start", "--drive", fmt.Sprint(victim)); err != nil || !strings.Contains(out, fmt.Sprintf("drive %d: a pass has begun", victim)) {
		t.Fatalf("holdfast scrub start: %v\n%s", err, out)
	}
	for {
		out, err := d.Command("scrub", "status", "--json")
		var status struct {
			Drives []struct {
				Drive int
				Scrub struct {
					Last *proof
					Pass *struct{} `json:"under_way"`
				}
			}
		}
		if err == nil {
			err = json.Unmarshal([]byte(out), &status)
		}
		if err != nil || len(status.Drives) != daemontest.Drives {
			t.Fatalf("holdfast scrub status: %v\n%s", err, out)
		}
		for _, s := range status.Drives {
			if s.Drive == victim && s.Scrub.Last != nil && s.Scrub.Pass == nil && !s.Scrub.Last.Started.Before(began) {
				return *s.Scrub.Last
			}
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("the pass does not end:\n%s", out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// rot changes a byte in each 4096 bytes of what a drive's segments hold.
func rot(t *testing.T, drive string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(drive, "data", "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatalf("there are no segments: %v", err)
	}
	changed := 0
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		block := make([]byte, 4096)
		for at := int64(0); ; at += int64(len(block)) {
			if _, err := f.ReadAt(block, at); err != nil {
				break
			}
			if block[7] == 0 && bytes.Count(block, []byte{0}) == len(block) {
				if at > 64<<20 {
					break // nothing was written from here on
				}
				continue
			}
			if _, err := f.WriteAt([]byte{^block[7]}, at+7); err != nil {
				t.Fatal(err)
			}
			changed++
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if changed < objects {
		t.Fatalf("%d blocks were changed", changed)
	}
}
