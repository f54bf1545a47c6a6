package node

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"holdfast/engine"
	"holdfast/engine/disk"
)

const (
	stateName   = "node.json"
	stateFormat = 1
)

// state is what a node remembers of itself in its state folder: STATE/node.json, replaced as a whole. It changes when drives are added or
// replaced; what the cluster has agreed on is in the root group, not here.
type state struct {
	Format  int      `json:"format"`
	Cluster string   `json:"cluster"` // 32 hexadecimal digits
	Node    uint64   `json:"node"`
	Formed  bool     `json:"formed"` // false: the first start has not finished, and its drives hold nothing yet
	Drives  []member `json:"drives"`
	Witness *member  `json:"witness,omitempty"`
	Last    uint64   `json:"last_drive"` // greatest drive id given
	// Removed are the paths of drives that were taken away, so that a start may still name them.
	Removed []string `json:"removed,omitempty"`
	// Standard is the redundancy of the standard class at the last start; "": it was not written yet.
	Standard string `json:"standard,omitempty"`
}

// member is a drive as the node knows it. Device and MountPoint tell an empty drive from the folder beneath an unmounted one.
type member struct {
	Path        string         `json:"path"`
	Drive       engine.DriveID `json:"drive"`
	Incarnation uint64         `json:"incarnation"`
	MountPoint  bool           `json:"mount_point"`
	Replaces    engine.DriveID `json:"replaces,omitempty"` // set until the groups know
	// Added says that the drive came after the first start: a start need not name its path.
	Added bool `json:"added,omitempty"`
	// Adding is set until the folder is a drive and the groups know it; HeirOf is the drive whose place it is to take then, or 0.
	Adding bool           `json:"adding,omitempty"`
	HeirOf engine.DriveID `json:"heir_of,omitempty"`
}

// loadState reads the state; nil if the folder has none.
func loadState(fsys disk.FS) (*state, error) {
	f, err := fsys.Open(stateName, disk.Flags{ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > 1<<20 {
		return nil, fmt.Errorf("%s has %d bytes and is none of ours", stateName, size)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	return parseState(b)
}

func parseState(b []byte) (*state, error) {
	var version struct {
		Format uint64 `json:"format"`
	}
	s := new(state)
	switch err := json.Unmarshal(b, &version); {
	case err != nil:
		return nil, engine.E(engine.KindDamaged, "%s is damaged: %w", stateName, err)
	case version.Format > stateFormat:
		return nil, engine.Newer(stateName, version.Format, stateFormat)
	case version.Format == 0:
		return nil, engine.E(engine.KindDamaged, "%s is damaged: it has no format", stateName)
	}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, engine.E(engine.KindDamaged, "%s is damaged: %w", stateName, err)
	}
	if _, err := s.cluster(); err != nil {
		return nil, err
	}
	return s, nil
}

// save replaces the state durably.
func (s *state) save(fsys disk.FS) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	const temporary = stateName + ".new"
	f, err := fsys.Open(temporary, disk.Flags{Create: true})
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(append(b, '\n'), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = fsys.Rename(temporary, stateName)
	}
	if err == nil {
		err = fsys.SyncDir(".")
	}
	return err
}

func (s *state) cluster() (id [16]byte, err error) {
	b, err := hex.DecodeString(s.Cluster)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%s has no cluster id", stateName)
	}
	return [16]byte(b), nil
}

func newState(paths []string) (*state, error) {
	var random [24]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	s := &state{Format: stateFormat, Cluster: hex.EncodeToString(random[:16]), Node: binary.BigEndian.Uint64(random[16:]) | 1}
	for _, folder := range paths {
		m, err := s.newMember(folder)
		if err != nil {
			return nil, err
		}
		s.Drives = append(s.Drives, m)
	}
	return s, nil
}

// paths is Paths for a state that was read.
func (s *state) paths(named []string) []string {
	var list []string
	removed, listed := map[string]bool{}, map[string]bool{}
	for _, p := range s.Removed {
		removed[path.Clean(p)] = true
	}
	for _, p := range named {
		if !removed[path.Clean(p)] {
			list, listed[path.Clean(p)] = append(list, p), true
		}
	}
	for _, m := range s.Drives {
		if m.Added && !listed[path.Clean(m.Path)] {
			list = append(list, m.Path)
		}
	}
	return list
}

func (s *state) newMember(folder string) (member, error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return member{}, err
	}
	s.Last++
	return member{Path: folder, Drive: engine.DriveID(s.Last), Incarnation: binary.BigEndian.Uint64(random[:])}, nil
}
