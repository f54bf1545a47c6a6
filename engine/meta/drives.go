package meta

import "holdfast/engine"

// SetLeaving says whether a drive leaves: it takes no shards any more, and those that it has are moved to others. Heir is the drive that takes its
// place, which shards go to first; 0 if none does. KindConflict if the drive is gone, or Heir is, or leaves itself.
type SetLeaving struct {
	Drive   engine.DriveID
	Leaving bool
	Heir    engine.DriveID // 0 unless Leaving
}

func (*SetLeaving) opcode() byte { return opSetLeaving }
func (c *SetLeaving) encode(e *encoder) {
	e.uint(uint64(c.Drive))
	e.bool(c.Leaving)
	e.uint(uint64(c.Heir))
}
func (c *SetLeaving) decode(d *decoder) {
	c.Drive = engine.DriveID(d.uint())
	c.Leaving = d.bool()
	c.Heir = engine.DriveID(d.uint())
}

// RemoveDrive takes a drive that leaves out for good, once no shard is recorded on it. KindConflict if it does not leave, or a shard is. A repetition is
// no error.
type RemoveDrive struct{ Drive engine.DriveID }

func (*RemoveDrive) opcode() byte        { return opRemoveDrive }
func (c *RemoveDrive) encode(e *encoder) { e.uint(uint64(c.Drive)) }
func (c *RemoveDrive) decode(d *decoder) { c.Drive = engine.DriveID(d.uint()) }

func (a *apply) setLeaving(c *SetLeaving) *Answer {
	var r, heir driveRow
	if a.mustLoad(key8(rowDrive, uint64(c.Drive)), &r); r.gone {
		return failed(engine.KindConflict, "drive %d is gone for good", c.Drive)
	}
	if !c.Leaving {
		r.leaving, r.heir = false, 0
		a.view.Set(key8(rowDrive, uint64(c.Drive)), r.encode())
		return &Answer{}
	}
	if a.mustLoad(key8(rowDrive, uint64(c.Heir)), &heir); c.Heir == c.Drive || heir.gone || heir.leaving {
		return failed(engine.KindConflict, "drive %d cannot take the place of drive %d: it leaves, or is gone", c.Heir, c.Drive)
	}
	r.leaving, r.heir = true, c.Heir
	a.view.Set(key8(rowDrive, uint64(c.Drive)), r.encode())
	return &Answer{}
}

// removeDrive looks itself whether a shard is recorded: a write that was placed before the drive left may have been decided just now.
func (a *apply) removeDrive(c *RemoveDrive) *Answer {
	var r driveRow
	switch a.mustLoad(key8(rowDrive, uint64(c.Drive)), &r); {
	case r.gone:
		return &Answer{}
	case !r.leaving:
		return failed(engine.KindConflict, "drive %d does not leave", c.Drive)
	}
	recorded := false
	a.each(key8(rowPlacement, uint64(c.Drive)), func(_, _ []byte) bool {
		recorded = true
		return false
	})
	if recorded {
		return failed(engine.KindConflict, "shards are recorded on drive %d", c.Drive)
	}
	a.view.Set(key8(rowDrive, uint64(c.Drive)), (&driveRow{out: true, gone: true}).encode())
	return &Answer{}
}

func (a *apply) driveLeaving(drive engine.DriveID) bool {
	var r driveRow
	return a.mustLoad(key8(rowDrive, uint64(drive)), &r) && r.leaving
}

// LoadLeaving reports whether a drive leaves, and which drive takes its place, 0 for none.
func LoadLeaving(view Reader, drive engine.DriveID) (leaving bool, heir engine.DriveID, err error) {
	var r driveRow
	_, err = load(view, key8(rowDrive, uint64(drive)), &r)
	return r.leaving, r.heir, err
}

// WeighPlaced returns how many shards of extents in use are recorded on a drive, and about how many bytes they have together. It reads two rows for each
// shard.
func WeighPlaced(view View, drive engine.DriveID) (shards int, bytes int64, err error) {
	err = scan(view, key8(rowPlacement, uint64(drive)), nil, func(key, _ []byte) (bool, error) {
		d := decoder{b: key[9:]}
		x, used, err := loadUsed(view, d.extent())
		if err == nil && used {
			shards++
			bytes += (x.Size + int64(x.Redundancy.Data) - 1) / int64(x.Redundancy.Data)
		}
		return true, err
	})
	return shards, bytes, err
}

// loadUsed reads an extent that rows name, and whether it is in use.
func loadUsed(view Reader, id engine.ExtentID) (*Extent, bool, error) {
	x, err := LoadExtent(view, id)
	if err != nil {
		return nil, false, err
	}
	used, err := InUse(view, x)
	return x, used, err
}

// Widest returns the code with the most shards, and the most parity, of all extents in use; zero without any. It goes through all extents.
func Widest(view View) (shards, parity int, err error) {
	err = scan(view, []byte{rowExtent}, nil, func(key, value []byte) (bool, error) {
		d := decoder{b: key[1:]}
		x := &Extent{ID: d.extent()}
		if err := parse(key, value, x); err != nil {
			return false, err
		}
		if len(x.Drives) <= shards && x.Redundancy.Parity <= parity {
			return true, nil
		}
		used, err := InUse(view, x)
		if used {
			shards, parity = max(shards, len(x.Drives)), max(parity, x.Redundancy.Parity)
		}
		return true, err
	})
	return shards, parity, err
}

// AnyPlaced reports whether a shard is recorded on a drive, and whether one is of an extent in use. It looks no further than to the first shard in use;
// unless deep, to the first shard of all.
func AnyPlaced(view View, drive engine.DriveID, deep bool) (any, used bool, err error) {
	err = scan(view, key8(rowPlacement, uint64(drive)), nil, func(key, _ []byte) (bool, error) {
		any = true
		d := decoder{b: key[9:]}
		_, used, err = loadUsed(view, d.extent())
		return deep && !used, err
	})
	return any, used, err
}
