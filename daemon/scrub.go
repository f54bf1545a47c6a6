package daemon

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"holdfast/engine"
	"holdfast/engine/node"
)

// DriveStatus describes a drive.
type DriveStatus = node.DriveStatus

// Scrub is what `holdfast scrub status` shows.
type Scrub struct {
	Period string        `json:"period"` // as the option has it
	Rate   string        `json:"rate"`
	Drives []DriveStatus `json:"drives"` // with shards; how many is not counted
}

// ScrubStart says what became of one drive when a scrub was asked for.
type ScrubStart struct {
	Drive   engine.DriveID `json:"drive"`
	Path    string         `json:"path"`
	Problem string         `json:"problem,omitempty"` // why no pass was begun
}

// dataDrives are the drives that have shards.
func (d *daemon) dataDrives() []DriveStatus {
	return slices.DeleteFunc(d.node.Drives(), func(s DriveStatus) bool { return s.Witness })
}

func (d *daemon) scrubStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Scrub{d.config.ScrubPeriod, d.config.ScrubRate, d.dataDrives()}) // the client may be gone
}

// scrubStart begins a pass over the drive that the query names, or over all.
func (d *daemon) scrubStart(w http.ResponseWriter, r *http.Request) {
	drives := d.dataDrives()
	if text := r.URL.Query().Get("drive"); text != "" {
		number, err := strconv.ParseUint(text, 10, 64)
		drives = slices.DeleteFunc(drives, func(s DriveStatus) bool { return err != nil || s.Drive != engine.DriveID(number) })
		if len(drives) == 0 {
			http.Error(w, "there is no drive "+text+" with shards; holdfast status lists the drives", http.StatusNotFound)
			return
		}
	}
	list := make([]ScrubStart, len(drives))
	var beginning sync.WaitGroup
	for i, s := range drives {
		beginning.Go(func() {
			list[i] = ScrubStart{Drive: s.Drive, Path: s.Path}
			if err := d.node.ScrubNow(r.Context(), s.Drive); err != nil {
				list[i].Problem = engine.Plain(err)
			}
		})
	}
	beginning.Wait()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list) // the client may be gone
}
