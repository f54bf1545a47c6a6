package meta

import (
	"strings"
	"testing"
	"time"

	"holdfast/engine"
)

// TestRetentionAfterAWrongClock: where the stamp is ahead because a clock was, the retention that a bucket gives begins now all the same. Nobody could end
// it.
func TestRetentionAfterAWrongClock(t *testing.T) {
	m := newMachine(t)
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := func(stamp time.Time, c Command) Answer {
		t.Helper()
		m.number++
		command := Encode(m.epoch, m.number, m.number, c)
		SetStamp(command, stamp.UnixNano())
		answer := m.apply(command)
		if answer.Failed {
			t.Fatal(answer.Message)
		}
		return answer
	}
	at(now, &CreateBucket{Bucket: 5, Name: "bucket", Lock: true})
	at(now, &SetBucketLock{Bucket: 5, Lock: engine.BucketLock{Enabled: true, Mode: engine.RetentionCompliance, Days: 1}})
	at(now.AddDate(80, 0, 0), &CreateBucket{Bucket: 6, Name: "wrong-clock"})

	clock := now.UnixNano()
	put := inline("put")
	put.Clock = clock
	id := strings.Repeat("u", UploadIDBytes)
	part := PutPart{Bucket: 5, Key: "completed", ID: id, Number: 1, Data: Data{Size: 1, Inline: []byte("x")}}
	upload := &StartUpload{Bucket: 5, Key: "completed", ID: id, Class: engine.ClassStandard}
	at(now, put)
	at(now, &Copy{Bucket: 5, Key: "copied", From: Source{Bucket: 5, Key: "put"}, Class: engine.ClassStandard, Clock: clock})
	at(now, upload)
	at(now, &part)
	parts, err := ListParts(m.store.Snapshot(), 5, id, 0, 9)
	if err != nil || len(parts) != 1 {
		t.Fatal(parts, err)
	}
	at(now, &CompleteUpload{Bucket: 5, Key: "completed", ID: id, Parts: []Part{{Number: 1, Content: parts[0].Content}}, Size: 1, Count: 1, Clock: clock})
	for _, key := range []engine.Key{"put", "copied", "completed"} {
		object, err := Lookup(m.store.Snapshot(), 5, key, "")
		if err != nil {
			t.Fatal(err)
		}
		if until := object.Info.Lock.Until; !until.Equal(now.AddDate(0, 0, 1)) {
			t.Errorf("%s: retained until %s", key, until)
		}
	}
}
