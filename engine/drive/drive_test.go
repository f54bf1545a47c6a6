package drive_test

import (
	"testing"

	"holdfast/engine/disk"
	"holdfast/engine/disk/sim"
	"holdfast/engine/drive/drivetest"
)

func TestOnRealDisk(t *testing.T) {
	drivetest.Run(t, func(t *testing.T) disk.FS {
		fsys, err := disk.OS(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { fsys.Close() })
		return fsys
	})
}

func TestOnSimulatedDisk(t *testing.T) {
	for _, o := range []sim.Options{{}, {NoDirect: true}} {
		drivetest.Run(t, func(t *testing.T) disk.FS { return sim.New(1, o) })
	}
}
