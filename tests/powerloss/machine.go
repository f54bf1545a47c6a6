// Package powerloss cuts the power of the real daemon's machine under real clients: its four drives and its state folder are disks of losefs, which
// lose what was not synced. Some cuts are of the whole machine, some of one drive while the daemon is killed.
//
// Promise: after every cut the daemon is ready within 30 s, and each key has the state that was acknowledged last, or that of the one operation that was
// under way. The package counts cuts, what they dropped, and the operations that it found whole, and fails if one of these is zero; and it fails
// on disks that lie about syncs. HOLDFAST_TEST_POWERLOSSES says how many cuts.
//
// The package knows S3 and that the daemon has folders. It does not know which call the cut comes at, which is the matter of tests/sim, where the
// power goes at each.
package powerloss

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"holdfast/tests/daemontest"
	"holdfast/tests/powerloss/losefs"
)

// Machine is the disks of a daemon: its drives, then that of its state folder.
type Machine struct {
	disks []*losefs.Disk
	paths []string
}

// NewMachine mounts empty disks as the folders of a daemon that was not started yet. When the test ends the daemon is killed and they are unmounted.
func NewMachine(t *testing.T, d *daemontest.Daemon) *Machine {
	t.Helper()
	losefs.RequireFuse(t)
	if err := os.Mkdir(d.State(), 0o700); err != nil {
		t.Fatal(err)
	}
	m := &Machine{}
	for i := range daemontest.Drives {
		m.paths = append(m.paths, d.Drive(i))
	}
	m.paths = append(m.paths, d.State())
	t.Cleanup(func() {
		d.Kill()
		for _, disk := range m.disks {
			if err := disk.Unmount(); err != nil {
				t.Error(err)
			}
		}
	})
	for _, path := range m.paths {
		disk := losefs.New(t.TempDir())
		m.disks = append(m.disks, disk)
		if err := disk.Mount(path); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// Cut cuts the power of the machine. Kill the daemon, and call Restore.
func (m *Machine) Cut(rng *rand.Rand) (losefs.Lost, error) { return losefs.Cut(rng, m.disks...) }

// CutDrive cuts the power of a drive, from 0. Kill the daemon, and call Restore.
func (m *Machine) CutDrive(rng *rand.Rand, i int) (losefs.Lost, error) {
	return losefs.Cut(rng, m.disks[i])
}

// Restore gives power to what has none.
func (m *Machine) Restore() error {
	var errs []error
	for i, disk := range m.disks {
		if !disk.Dead() {
			continue
		}
		if err := disk.Unmount(); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, disk.Mount(m.paths[i]))
	}
	return errors.Join(errs...)
}

// Lie makes all disks lie about syncs from now on.
func (m *Machine) Lie() {
	for _, disk := range m.disks {
		disk.Lie()
	}
}

// Synced sums what syncs of all disks made durable.
func (m *Machine) Synced() (sum losefs.Synced) {
	for _, disk := range m.disks {
		s := disk.Synced()
		sum.Syncs += s.Syncs
		sum.Bytes += s.Bytes
		sum.Names += s.Names
	}
	return sum
}
