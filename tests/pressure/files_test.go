package pressure

import (
	"strings"
	"testing"
	"time"

	"holdfast/tests/daemontest"
)

// TestFewFiles: with a limit of 64 open files the daemon says at its start what it needs, and leaves the drives alone; with a few hundred
// it serves, tells clients beyond that to slow down, and serves again when they have gone.
func TestFewFiles(t *testing.T) {
	t.Parallel()
	d := daemontest.New(t)
	d.Args = []string{"--connections-per-address", "off"}
	limited := func(files string) []string { return []string{"sh", "-c", "ulimit -n " + files + `; exec "$0" "$@"`} }
	d.Start()
	c := NewClient(t, d)
	c.Must(t, 200, Ask{Method: "PUT", Target: "/bucket"})
	c.Must(t, 200, Ask{Method: "PUT", Target: "/bucket/key", Body: make([]byte, 100_000)})
	d.Stop()
	d.Before = limited("64")
	d.Launch()
	err := d.AwaitReady(20 * time.Second)
	if err == nil || !strings.Contains(err.Error(), "has ended") || !strings.Contains(err.Error(), "files open") || !strings.Contains(err.Error(), "ulimit -n") {
		t.Fatalf("with 64 files: %v", err)
	}
	d.Kill()
	d.Before = limited("400")
	d.Start()
	for _, drive := range d.Status().Drives {
		if drive.State != "ok" && drive.State != "in" {
			t.Errorf("drive %s is %s", drive.Path, drive.State)
		}
	}
	idle := keepIdle(t, d, 300)
	served, refused := len(idle.served), idle.refused
	t.Logf("of 300 connections %d were served and %d told to come back later", served, refused)
	if served < 50 || refused == 0 {
		t.Error("too few of one of them")
	}
	idle.close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		answer, err := c.Do(Ask{Method: "GET", Target: "/bucket/key"})
		if err == nil && answer.Status == 200 && len(answer.Body) == 100_000 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after all connections were closed: %v %v", answer, err)
		}
	}
	for _, drive := range d.Status().Drives {
		if drive.State != "ok" && drive.State != "in" {
			t.Errorf("afterwards drive %s is %s", drive.Path, drive.State)
		}
	}
	d.Stop()
}
