package daemon

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"holdfast/engine"
	"holdfast/engine/node"
)

// LeavingStatus is what is left on a drive that leaves.
type LeavingStatus = node.LeavingStatus

// DriveChange is what became of a change of drives.
type DriveChange struct {
	Drive engine.DriveID `json:"drive"` // that was added, or is to leave or to stay
	// Redundancy is that of new writes from now on; it follows the drives unless it was configured.
	Redundancy string   `json:"redundancy"`
	Warnings   []string `json:"warnings,omitempty"` // of what would be lost together
}

// driveAdd makes a folder a drive, in the place of another one if the query names that.
func (d *daemon) driveAdd(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Query().Get("path")
	if path == "" {
		http.Error(w, "no folder is named", http.StatusBadRequest)
		return
	}
	if !r.URL.Query().Has("drive") {
		id, err := d.node.AddDrive(r.Context(), path)
		d.driveChanged(w, id, path, err)
		return
	}
	replaced, ok := driveOf(w, r)
	if !ok {
		return
	}
	id, err := d.node.ReplaceDrive(r.Context(), replaced, path)
	d.driveChanged(w, id, path, err)
}

// driveLeave tells a drive to leave.
func (d *daemon) driveLeave(w http.ResponseWriter, r *http.Request) {
	if id, ok := driveOf(w, r); ok {
		d.driveChanged(w, id, "", d.node.RemoveDrive(r.Context(), id))
	}
}

// driveKeep takes the leaving of a drive back.
func (d *daemon) driveKeep(w http.ResponseWriter, r *http.Request) {
	if id, ok := driveOf(w, r); ok {
		d.driveChanged(w, id, "", d.node.KeepDrive(r.Context(), id))
	}
}

func driveOf(w http.ResponseWriter, r *http.Request) (engine.DriveID, bool) {
	text := r.URL.Query().Get("drive")
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		http.Error(w, "there is no drive "+strconv.Quote(text)+"; holdfast drive list shows the drives", http.StatusBadRequest)
	}
	return engine.DriveID(id), err == nil
}

func (d *daemon) driveChanged(w http.ResponseWriter, id engine.DriveID, path string, err error) {
	if err != nil {
		status := http.StatusServiceUnavailable
		switch engine.KindOf(err) {
		case engine.KindInvalidArgument:
			status = http.StatusBadRequest
		case engine.KindConflict:
			status = http.StatusConflict
		}
		http.Error(w, engine.Plain(err), status)
		return
	}
	change := DriveChange{Drive: id, Redundancy: d.node.Redundancy()}
	if path != "" {
		change.Warnings = slices.DeleteFunc(d.deviceWarnings(), func(text string) bool { return !strings.Contains(text, path) && !strings.HasPrefix(text, "all drives") })
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(change) // the client may be gone
}

// drivePaths are the folders of the drives that have shards.
func (d *daemon) drivePaths() (paths []string) {
	for _, s := range d.dataDrives() {
		paths = append(paths, s.Path)
	}
	return paths
}

// deviceWarnings says what of this node's folders would be lost together.
func (d *daemon) deviceWarnings() []string {
	paths, devices := d.drivePaths(), map[string]uint64{}
	for _, dir := range append([]string{d.config.State}, paths...) {
		if info, err := os.Stat(dir); err == nil {
			devices[dir] = info.Sys().(*syscall.Stat_t).Dev
		}
	}
	return deviceWarnings(devices, d.config.State, paths, !strings.HasSuffix(d.node.Redundancy(), "+0"))
}
