package enginetest

import (
	"bytes"
	"time"

	"holdfast/engine"
)

// conditionCase says what a write answers on an absent key and on a present one; nil is success.
type conditionCase struct {
	name            string
	conditions      func(current engine.ETag) engine.Conditions
	absent, present *engine.Kind
}

var writeCases = []conditionCase{
	{"none", func(engine.ETag) engine.Conditions { return engine.Conditions{} }, nil, nil},
	{"match", func(e engine.ETag) engine.Conditions { return engine.Conditions{Match: []engine.ETag{e}} }, some(engine.KindNoSuchKey), nil},
	{"match other", func(engine.ETag) engine.Conditions { return engine.Conditions{Match: []engine.ETag{noTag}} }, some(engine.KindNoSuchKey), some(engine.KindPreconditionFailed)},
	{"match two", func(e engine.ETag) engine.Conditions { return engine.Conditions{Match: []engine.ETag{noTag, e}} }, some(engine.KindNoSuchKey), nil},
	{"match any", func(engine.ETag) engine.Conditions { return engine.Conditions{MatchAny: true} }, some(engine.KindNoSuchKey), nil},
	{"none match", func(e engine.ETag) engine.Conditions { return engine.Conditions{NoneMatch: []engine.ETag{noTag, e}} }, nil, some(engine.KindPreconditionFailed)},
	{"none match other", func(engine.ETag) engine.Conditions { return engine.Conditions{NoneMatch: []engine.ETag{noTag}} }, nil, nil},
	{"none match any", func(engine.ETag) engine.Conditions { return engine.Conditions{NoneMatchAny: true} }, nil, some(engine.KindPreconditionFailed)},
	{"match and none match other", func(e engine.ETag) engine.Conditions {
		return engine.Conditions{Match: []engine.ETag{e}, NoneMatch: []engine.ETag{noTag}}
	}, some(engine.KindNoSuchKey), nil},
	{"match and none match", func(e engine.ETag) engine.Conditions {
		return engine.Conditions{Match: []engine.ETag{e}, NoneMatch: []engine.ETag{e}}
	}, some(engine.KindNoSuchKey), some(engine.KindPreconditionFailed)},
}

// writeConditions sends every condition with every kind of write to an absent key and to a present one; a refused write changes
// nothing, an accepted one happens.
func writeConditions(s *suite) {
	old, next := []byte("old"), []byte("next")
	tag := etag(old)
	writes := map[string]func(c engine.Conditions) error{
		"put": func(c engine.Conditions) error {
			_, err := s.Put(s.ctx, s.ref("k"), bytes.NewReader(next), engine.PutOptions{Size: int64(len(next)), If: c})
			return err
		},
		"large put": func(c engine.Conditions) error {
			_, err := s.Put(s.ctx, s.ref("k"), bytes.NewReader(content(1, 20_000)), engine.PutOptions{Size: -1, If: c})
			return err
		},
		"complete": func(c engine.Conditions) error {
			u := s.start("k", engine.StartUploadOptions{})
			part := s.part("k", u.ID, 1, next)
			_, err := s.CompleteUpload(s.ctx, s.ref("k"), u.ID, engine.CompleteUploadOptions{Parts: named(part), Size: -1, If: c})
			if err != nil { // a refused completion leaves the upload
				s.ok(s.AbortUpload(s.ctx, s.ref("k"), u.ID), "abort after a refused completion")
			}
			return err
		},
		"delete": func(c engine.Conditions) error {
			_, err := s.Delete(s.ctx, s.ref("k"), engine.DeleteOptions{If: c})
			return err
		},
	}
	for name, write := range writes {
		for _, c := range writeCases {
			s.remove("k")
			s.answers(c.absent, write(c.conditions(tag)), "%s, %s, absent", name, c.name)
			if c.absent != nil || name == "delete" {
				s.absent("k")
			}
			s.put("k", old)
			s.answers(c.present, write(c.conditions(tag)), "%s, %s, present", name, c.name)
			switch {
			case c.present != nil:
				s.holds("k", old)
			case name == "delete":
				s.absent("k")
			default:
				if data, _ := s.get("k"); bytes.Equal(data, old) {
					s.Errorf("%s, %s: accepted and not done", name, c.name)
				}
			}
		}
	}
}

// deleteConditions are those that only deletes have.
func deleteConditions(s *suite) {
	right, wrong := int64(3), int64(4)
	for _, c := range []struct {
		name       string
		conditions func(made engine.ObjectInfo) engine.Conditions
		kind       *engine.Kind
	}{
		{"size", func(engine.ObjectInfo) engine.Conditions { return engine.Conditions{Size: &right} }, nil},
		{"other size", func(engine.ObjectInfo) engine.Conditions { return engine.Conditions{Size: &wrong} }, some(engine.KindPreconditionFailed)},
		{"time", func(i engine.ObjectInfo) engine.Conditions { return engine.Conditions{ModifiedAt: i.Modified} }, nil},
		{"time to the second", func(i engine.ObjectInfo) engine.Conditions {
			return engine.Conditions{ModifiedAt: i.Modified.Truncate(time.Second)}
		}, nil},
		{"other time", func(i engine.ObjectInfo) engine.Conditions {
			return engine.Conditions{ModifiedAt: i.Modified.Add(-2 * time.Second)}
		}, some(engine.KindPreconditionFailed)},
		{"tag and other size", func(i engine.ObjectInfo) engine.Conditions {
			return engine.Conditions{Match: []engine.ETag{i.ETag}, Size: &wrong}
		}, some(engine.KindPreconditionFailed)},
		{"all", func(i engine.ObjectInfo) engine.Conditions {
			return engine.Conditions{Match: []engine.ETag{i.ETag}, Size: &right, ModifiedAt: i.Modified}
		}, nil},
	} {
		made := s.put("k", []byte("old"))
		_, err := s.Delete(s.ctx, s.ref("k"), engine.DeleteOptions{If: c.conditions(made)})
		s.answers(c.kind, err, "delete, %s", c.name)
		if c.kind != nil {
			s.holds("k", []byte("old"))
		} else {
			s.absent("k")
		}
	}
}

// readConditions: what is asked must hold as a whole. Times are compared to the instant; a protocol with coarser ones rounds itself.
func readConditions(s *suite) {
	made := s.put("k", []byte("x"))
	at, tag := made.Modified, []engine.ETag{made.ETag}
	other := []engine.ETag{noTag}
	failed, notModified := some(engine.KindPreconditionFailed), some(engine.KindNotModified)
	for _, c := range []struct {
		name       string
		conditions engine.Conditions
		kind       *engine.Kind
	}{
		{"none", engine.Conditions{}, nil},
		{"match", engine.Conditions{Match: tag}, nil},
		{"match other", engine.Conditions{Match: other}, failed},
		{"match two", engine.Conditions{Match: append(other, made.ETag)}, nil},
		{"match any", engine.Conditions{MatchAny: true}, nil},
		{"none match", engine.Conditions{NoneMatch: tag}, notModified},
		{"none match other", engine.Conditions{NoneMatch: other}, nil},
		{"none match any", engine.Conditions{NoneMatchAny: true}, notModified},
		{"match other, none match", engine.Conditions{Match: other, NoneMatch: tag}, failed},
		{"modified since long ago", engine.Conditions{ModifiedSince: at.Add(-time.Hour)}, nil},
		{"modified since just before", engine.Conditions{ModifiedSince: at.Add(-1)}, nil},
		{"modified since then", engine.Conditions{ModifiedSince: at}, notModified},
		{"modified since later", engine.Conditions{ModifiedSince: at.Add(time.Hour)}, notModified},
		{"unmodified since long ago", engine.Conditions{UnmodifiedSince: at.Add(-time.Hour)}, failed},
		{"unmodified since just before", engine.Conditions{UnmodifiedSince: at.Add(-1)}, failed},
		{"unmodified since then", engine.Conditions{UnmodifiedSince: at}, nil},
		{"unmodified since later", engine.Conditions{UnmodifiedSince: at.Add(time.Hour)}, nil},
		{"match, unmodified since long ago", engine.Conditions{Match: tag, UnmodifiedSince: at.Add(-time.Hour)}, failed},
		{"none match other, modified since later", engine.Conditions{NoneMatch: other, ModifiedSince: at.Add(time.Hour)}, notModified},
	} {
		_, err := s.Stat(s.ctx, s.ref("k"), engine.StatOptions{If: c.conditions})
		s.answers(c.kind, err, "stat, %s", c.name)
		data, _, err := fetch(s.ctx, s.Engine, s.ref("k"), engine.OpenOptions{If: c.conditions})
		s.answers(c.kind, err, "open, %s", c.name)
		if err == nil && string(data) != "x" {
			s.Errorf("open, %s: %q", c.name, data)
		}
		_, err = s.Stat(s.ctx, s.ref("absent"), engine.StatOptions{If: c.conditions})
		s.fails(engine.KindNoSuchKey, err, "stat of an absent key, %s", c.name)
	}
}
