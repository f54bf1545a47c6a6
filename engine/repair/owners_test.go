package repair

import (
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/meta"
)

// TestOwnersEndAfterTheirTime counts the time of an owner that is not renewed from look to look; a time in which there were none is none of it.
func TestOwnersEndAfterTheirTime(t *testing.T) {
	w := ownerWatch{expiry: time.Minute, seen: map[ownerKey]seenOwner{}}
	now := time.Now()
	dead, alive := meta.Owner{Bucket: 5, ID: 1}, meta.Owner{Bucket: 5, ID: 2}
	look := func(after time.Duration) (ended []engine.OwnerID) {
		now = now.Add(after)
		for _, o := range w.ended([]meta.Owner{dead, alive, {Bucket: 5, ID: 3, Closed: true}}, now) {
			if o.ID != 3 {
				ended = append(ended, o.ID)
			}
		}
		return ended
	}
	const quarter = 15 * time.Second
	for range 5 { // a minute after the first
		if ended := look(quarter); len(ended) != 0 {
			t.Fatalf("%v have ended", ended)
		}
		alive.Renewals++
	}
	if ended := look(quarter); len(ended) != 1 || ended[0] != dead.ID {
		t.Fatalf("%v have ended", ended)
	}
	// The group is away for longer than an owner lives, and so is whoever would renew one.
	if ended := look(10 * time.Minute); len(ended) != 0 {
		t.Fatalf("%v have ended when nobody could renew them", ended)
	}
	for range 4 {
		if ended := look(quarter); len(ended) != 0 {
			t.Fatalf("%v have ended before they had their time again", ended)
		}
		alive.Renewals++
	}
	if ended := look(quarter); len(ended) != 1 || ended[0] != dead.ID {
		t.Fatalf("%v have ended", ended)
	}
}
