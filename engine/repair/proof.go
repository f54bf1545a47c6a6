package repair

import (
	"encoding/json"
	"fmt"
	"time"

	"holdfast/engine"
)

// scrubFormat is the version of scrubRecord.
const scrubFormat = 1

// scrubRecord is what is kept of the scrub of a drive: the setting "scrub/DRIVE" of the root group, as JSON, replaced as a whole. It is there, and not
// on the drive, so that it says the truth of a drive that is away, and nothing of one that took another's place.
type scrubRecord struct {
	Format uint64     `json:"format"`
	Last   *Proof     `json:"last,omitempty"`
	Pass   *scrubPass `json:"pass,omitempty"`
}

// Proof says of a complete pass of the scrub that it read every shard that was recorded on the drive when it began, and still was when its turn came.
type Proof struct {
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	ScrubCounters
}

// ScrubCounters count what a scrub has read.
type ScrubCounters struct {
	Shards  int64 `json:"shards"`
	Bytes   int64 `json:"bytes"`   // in whole blocks of 4096, as they are on the disk
	Damaged int64 `json:"damaged"` // of the shards
}

func (c *ScrubCounters) add(n ScrubCounters) {
	c.Shards += n.Shards
	c.Bytes += n.Bytes
	c.Damaged += n.Damaged
}

// scrubPass is the pass under way. It has walked past After.
type scrubPass struct {
	Started time.Time   `json:"started"`
	Asked   bool        `json:"asked,omitempty"` // by somebody, who wants it soon
	After   scrubExtent `json:"after"`
	ScrubCounters
}

type scrubExtent struct {
	Group   engine.GroupID `json:"group"`
	Epoch   uint64         `json:"epoch"`
	Counter uint64         `json:"counter"`
}

// scrubSetting is the name of the record.
func scrubSetting(drive engine.DriveID) string { return fmt.Sprintf("scrub/%d", drive) }

func (r *scrubRecord) encode() ([]byte, error) {
	r.Format = scrubFormat
	return json.Marshal(r)
}

// parseScrub reads a record; nothing is that of a drive that was never scrubbed. ErrNewer, KindDamaged.
func parseScrub(b []byte) (r scrubRecord, err error) {
	if len(b) == 0 {
		return scrubRecord{}, nil
	}
	var version struct {
		Format uint64 `json:"format"`
	}
	if err = json.Unmarshal(b, &version); err == nil && version.Format > scrubFormat {
		return r, engine.Newer("the record of the scrub", version.Format, scrubFormat)
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err == nil && r.Format == 0 {
		err = fmt.Errorf("it has no format")
	}
	if err != nil {
		return scrubRecord{}, engine.E(engine.KindDamaged, "the record of the scrub: %w", err)
	}
	return r, nil
}
