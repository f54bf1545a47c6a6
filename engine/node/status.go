package node

import (
	"context"
	"errors"
	"fmt"

	"holdfast/engine"
	"holdfast/engine/group"
	"holdfast/engine/meta"
	"holdfast/engine/repair"
)

// DriveStatus describes a drive.
type DriveStatus struct {
	Drive engine.DriveID `json:"drive"`
	Path  string         `json:"path"`
	// State is "in"; "out", it takes no shards and no part; "joining", a new drive that does not take part yet; or "leaving", it takes no shards any
	// more, and those that it has go to others. A drive that leaves and is out is "out".
	State   string `json:"state"`
	Witness bool   `json:"witness,omitempty"`
	Problem string `json:"problem,omitempty"`
	Total   int64  `json:"bytes_total"`
	Free    int64  `json:"bytes_free"`
	Used    int64  `json:"bytes_used"` // of the file system, by whomever
	Shards  int    `json:"shards"`     // recorded on it
	// Segments is the number of files that have its shards, and Sparse that of those in which so little is left that they are to be compacted; 0 if it is
	// not at hand.
	Segments int `json:"segments"`
	Sparse   int `json:"segments_to_compact"`
	// Replicas are the groups that have a replica on it.
	Replicas []engine.GroupID `json:"replicas,omitempty"`
	// Leaving tells what is left to do until a drive that leaves is removed; nil if it does not.
	Leaving *LeavingStatus `json:"leaving,omitempty"`
	// Scrub tells how far the scrub of the drive is; nil for a witness, which has no shards.
	Scrub *repair.ScrubStatus `json:"scrub,omitempty"`
}

// LeavingStatus is what is left on a drive that leaves.
type LeavingStatus struct {
	Heir   engine.DriveID `json:"replaced_by,omitempty"` // the drive that takes its place, if one does
	Shards int            `json:"shards_left"`           // of what is in use
	Bytes  int64          `json:"bytes_left"`            // of those shards, about
}

// GroupStatus describes a group.
type GroupStatus struct {
	Group    engine.GroupID `json:"group"`
	Leader   uint64         `json:"leader"`
	Quorum   bool           `json:"quorum"`
	Index    uint64         `json:"index"`
	Replicas int            `json:"replicas"` // that there are, or should be if that is more
	Voters   int            `json:"voters"`   // replicas that are not still catching up
	Live     int            `json:"replicas_live"`
	// Problems says of replicas that are not live why.
	Problems []string `json:"problems,omitempty"`
}

// Status describes the node's storage as the committed state has it.
type Status struct {
	Redundancy string        `json:"redundancy"`
	Drives     []DriveStatus `json:"drives"`
	Groups     []GroupStatus `json:"groups"`
	// UnderProtected is the number of extents that lack shards, and AwayShards of shards recorded on drives that are gone or out.
	UnderProtected int `json:"extents_missing_shards"`
	AwayShards     int `json:"shards_on_lost_drives"`
	// Reduced is the number of extents that were written with less parity than their class has, while drives were away. The keepers write them anew
	// once enough drives are in.
	Reduced int `json:"extents_with_less_parity"`
	Garbage int `json:"contents_to_collect"`
	// Trash is the number of directories and uploads that were removed and are still to be taken apart, and TrashVersions that of the versions in them.
	Trash         int    `json:"trash"`
	TrashVersions uint64 `json:"versions_in_trash"`
	// Cursors is the number of followers' places in the changes of buckets, and LostCursors of those that fell out of the budget; Changes is how many
	// changes are noted for them, and ChangesBehind how many the slowest has not passed that is not lost, of the bucket that SlowestBucket names.
	Cursors       int    `json:"cursors"`
	LostCursors   int    `json:"cursors_lost"`
	Changes       uint64 `json:"changes_noted"`
	ChangesBehind uint64 `json:"changes_behind"`
	SlowestBucket string `json:"slowest_bucket,omitempty"`
	// Scattered is the number of files that patches have left in many pieces, and that a keeper is to look at.
	Scattered int `json:"files_in_many_pieces"`
	// Unknown says why the counts of extents, shards and contents, which are 0 then, cannot be read.
	Unknown string       `json:"unknown,omitempty"`
	Keeper  repair.Stats `json:"keepers"`
}

// Protected reports whether every shard is known to be where it should be.
func (s *Status) Protected() bool {
	return s.Unknown == "" && s.UnderProtected == 0 && s.AwayShards == 0
}

// Redundancy returns that of the standard class, as "2+2".
func (n *Node) Redundancy() string { return codeText(n.standard()) }

// Drives describes the drives without what is recorded on them, which Status counts.
func (n *Node) Drives() []DriveStatus {
	n.mu.Lock()
	drives := make([]DriveStatus, len(n.slots))
	for i, s := range n.slots {
		drives[i] = driveStatus(s)
	}
	n.mu.Unlock()
	for i := range drives {
		if !drives[i].Witness {
			scrub := n.keeper.ScrubStatus(drives[i].Drive)
			drives[i].Scrub = &scrub
			drives[i].Segments, drives[i].Sparse = n.segments(drives[i].Drive)
		}
	}
	return drives
}

// segments returns how many segments a data drive has, and how many are to be compacted; 0 if it is not at hand.
func (n *Node) segments(id engine.DriveID) (all, sparse int) {
	if d := n.atHand(id); d != nil {
		s := d.Stats()
		return s.Segments, s.SegmentsSparse
	}
	return 0, 0
}

// ScrubNow begins a pass of the scrub over a drive, at the rate limit, and returns once that is durable: it goes on after a restart. A pass that began
// by itself gives way to it. KindInvalidArgument if the node has no such drive, or it is a witness; KindConflict if such a pass is under way;
// KindUnavailable if the drive is out, or with the root group's error.
func (n *Node) ScrubNow(ctx context.Context, drive engine.DriveID) error {
	if n.Gone(drive) {
		return engine.E(engine.KindInvalidArgument, "there is no drive %d with shards; holdfast status lists the drives", drive)
	}
	return n.keeper.ScrubNow(ctx, drive)
}

// Status reads the state. That takes time in proportion to the number of extents. A group without a majority is no error.
func (n *Node) Status(ctx context.Context) (Status, error) {
	status := Status{Redundancy: n.Redundancy(), Drives: n.Drives(), Keeper: n.keeper.Stats()}
	c, err := n.takeCensus(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return status, err
		}
		status.Unknown = engine.Plain(err)
	}
	status.UnderProtected, status.Reduced, status.Garbage, status.AwayShards = c.missing, c.reduced, c.garbage, c.away
	status.Trash, status.TrashVersions, status.Scattered = c.trash.Things, c.trash.Versions, c.scattered
	status.Cursors, status.LostCursors, status.Changes = c.feeds.cursors, c.feeds.lost, c.feeds.kept
	status.ChangesBehind, status.SlowestBucket = c.feeds.behind, string(c.feeds.slowest)
	for i := range status.Drives {
		d := &status.Drives[i]
		d.Shards = c.placed[d.Drive]
		if d.Leaving != nil {
			d.Leaving.Shards, d.Leaving.Bytes = c.left[d.Drive].shards, c.left[d.Drive].bytes
		}
	}
	for _, g := range []*group.Group{n.root, n.data} {
		s, err := g.Status(ctx)
		if err != nil {
			return status, err
		}
		status.Groups = append(status.Groups, n.groupStatus(s))
		for _, m := range s.Members {
			for i := range status.Drives {
				if d := &status.Drives[i]; d.Drive == m.Drive {
					d.Replicas = append(d.Replicas, s.Group)
				}
			}
		}
	}
	return status, nil
}

func driveStatus(s *slot) DriveStatus {
	d := DriveStatus{Drive: s.Drive, Path: s.Path, State: "in", Witness: s.witness}
	switch usable := s.usable(); {
	case s.Adding || s.Replaces != 0 || s.out && usable:
		d.State = "joining"
	case s.out || !usable:
		d.State = "out"
	case s.leaving:
		d.State = "leaving"
	}
	if s.leaving {
		d.Leaving = &LeavingStatus{Heir: s.heir}
	}
	if s.problem != nil && s.problem != errAdding {
		d.Problem = engine.Plain(s.problem)
	} else if s.drive != nil && s.drive.Failed() != nil {
		d.Problem = engine.Plain(s.drive.Failed())
	}
	if s.usable() {
		d.Total, d.Free, d.Used = s.usage.Total, s.usage.Free, s.usage.Used
	}
	return d
}

func (n *Node) groupStatus(s group.Status) GroupStatus {
	g := GroupStatus{Group: s.Group, Leader: s.Leader, Quorum: s.Missing == "", Index: s.Commit, Replicas: len(s.Members)}
	n.mu.Lock()
	defer n.mu.Unlock()
	known := n.numbers()
	for _, r := range s.Members {
		if !r.Learner {
			g.Voters++
		}
		if r.Here && r.Failed == nil {
			g.Live++
		} else if r.Failed != nil {
			at := fmt.Sprintf("replica %d on drive %d", r.Replica, r.Drive)
			if _, there := known[r.Drive]; !there {
				at += ", which is being replaced"
			}
			g.Problems = append(g.Problems, at+": "+engine.Plain(r.Failed))
		}
	}
	g.Replicas = max(g.Replicas, n.wanted())
	return g
}

// Check holds all rows of a group against each other, as meta.Check does: of the root group, then of the group of the buckets.
func (n *Node) Check(ctx context.Context) (census [2]meta.Census, err error) {
	for i, g := range []*group.Group{n.root, n.data} {
		view, err := g.Read(ctx)
		if err != nil {
			return census, err
		}
		census[i], err = meta.Check(view)
		if err := errors.Join(err, view.Close()); err != nil {
			return census, fmt.Errorf("group %d: %w", g.ID(), err)
		}
	}
	return census, nil
}

// Writable reports why objects of the standard class cannot be written now, or nil.
func (n *Node) Writable(ctx context.Context) error {
	if err := n.Ready(ctx); err != nil {
		return err
	}
	_, err := n.Place(n.standard(), 0)
	return err
}

// Ready reports why the groups, which hold names and metadata, cannot be read and written now, or nil.
func (n *Node) Ready(ctx context.Context) error {
	for _, g := range []*group.Group{n.root, n.data} {
		view, err := g.Read(ctx)
		if err != nil {
			return err
		}
		if err := view.Close(); err != nil {
			return err
		}
	}
	return nil
}
