package enginetest

import (
	"bytes"
	"time"

	"holdfast/engine"
)

// lockable makes the case's bucket one with locks.
func (s *suite) lockable() {
	s.Helper()
	s.bucket = newName()
	_, err := s.CreateBucket(s.ctx, s.bucket, engine.CreateBucketOptions{Lock: true})
	s.ok(err, "create a bucket with locks")
}

// putLocked stores an object with a lock.
func (s *suite) putLocked(key string, l engine.Lock) engine.ObjectInfo {
	s.Helper()
	info, err := s.Put(s.ctx, s.ref(key), bytes.NewReader([]byte("locked")), engine.PutOptions{Size: 6, Lock: l})
	s.ok(err, "put with a lock")
	return info
}

// hasLock checks the lock of a version.
func (s *suite) hasLock(key string, v engine.VersionID, want engine.Lock) {
	s.Helper()
	info, err := s.Stat(s.ctx, s.version(key, v), engine.StatOptions{})
	s.ok(err, "stat")
	got := info.Lock
	if !info.Locks || got.Mode != want.Mode || got.Hold != want.Hold || got.Lifted != want.Lifted || !got.Until.Equal(want.Until) {
		s.Errorf("version %q of %q has the lock %+v, %v; %+v is right", v, key, got, info.Locks, want)
	}
}

// removes tries to remove a version for good; kind is nil for success.
func (s *suite) removes(key string, v engine.VersionID, bypass bool, kind *engine.Kind) {
	s.Helper()
	_, err := s.Delete(s.ctx, s.version(key, v), engine.DeleteOptions{Bypass: bypass})
	s.answers(kind, err, "delete of version %s with bypass %v", v, bypass)
}

func (s *suite) retains(key string, v engine.VersionID, r engine.Retention, bypass bool, kind *engine.Kind) {
	s.Helper()
	_, err := s.SetLock(s.ctx, s.version(key, v), engine.LockChange{Retention: &r, Bypass: bypass})
	s.answers(kind, err, "retention %+v with bypass %v", r, bypass)
}

func (s *suite) holdsBack(key string, v engine.VersionID, on bool) {
	s.Helper()
	_, err := s.SetLock(s.ctx, s.version(key, v), engine.LockChange{Hold: &on})
	s.ok(err, "legal hold %v", on)
}

// in returns a time from now on, as precise as a retention is.
func in(d time.Duration) time.Time { return time.Now().Add(d).UTC().Truncate(time.Millisecond) }

// lockBuckets: locks are enabled with the bucket or later, with versioning, and both stay so.
func lockBuckets(s *suite) {
	days := engine.BucketLock{Enabled: true, Mode: engine.RetentionGovernance, Days: 3}
	s.fails(engine.KindNoSuchBucket, s.SetBucketLock(s.ctx, "no-such-bucket", days), "locks of no bucket")
	_, err := s.BucketLock(s.ctx, "no-such-bucket")
	s.fails(engine.KindNoSuchBucket, err, "locks of no bucket")
	if l, err := s.BucketLock(s.ctx, s.bucket); err != nil || l != (engine.BucketLock{}) {
		s.Errorf("a new bucket has the locks %+v, %v", l, err)
	}
	s.fails(engine.KindBucketState, s.SetBucketLock(s.ctx, s.bucket, days), "locks without versioning")
	s.setVersioning(engine.VersioningSuspended)
	s.fails(engine.KindBucketState, s.SetBucketLock(s.ctx, s.bucket, days), "locks while versioning is suspended")
	s.setVersioning(engine.VersioningEnabled)
	for _, wrong := range []engine.BucketLock{
		{}, {Mode: engine.RetentionGovernance, Days: 1}, {Enabled: true, Days: 1}, {Enabled: true, Mode: engine.RetentionGovernance}, {Enabled: true, Mode: 7, Days: 1},
		{Enabled: true, Mode: engine.RetentionCompliance, Days: 1, Years: 1}, {Enabled: true, Mode: engine.RetentionCompliance, Days: -1},
		{Enabled: true, Mode: engine.RetentionCompliance, Days: 36501}, {Enabled: true, Mode: engine.RetentionCompliance, Years: 101},
	} {
		s.fails(engine.KindInvalidArgument, s.SetBucketLock(s.ctx, s.bucket, wrong), "locks %+v", wrong)
	}
	_, err = s.Put(s.ctx, s.ref("k"), bytes.NewReader(nil), engine.PutOptions{Lock: engine.Lock{Hold: true}})
	s.fails(engine.KindNoLock, err, "put with a legal hold")
	before := s.put("k", nil)
	for _, l := range []engine.BucketLock{days, {Enabled: true}, {Enabled: true, Mode: engine.RetentionCompliance, Years: 100}} {
		s.ok(s.SetBucketLock(s.ctx, s.bucket, l), "locks %+v", l)
		if got, err := s.BucketLock(s.ctx, s.bucket); err != nil || got != l {
			s.Errorf("the locks are %+v, %v, not %+v", got, err, l)
		}
	}
	s.hasLock("k", before.Version, engine.Lock{})
	s.fails(engine.KindBucketState, s.SetVersioning(s.ctx, s.bucket, engine.VersioningSuspended), "versioning suspended under locks")
	s.ok(s.SetVersioning(s.ctx, s.bucket, engine.VersioningEnabled), "versioning enabled again")
	s.lockable()
	if v, err := s.BucketVersioning(s.ctx, s.bucket); err != nil || v != engine.VersioningEnabled {
		s.Errorf("a bucket that was made with locks has versioning %d, %v", v, err)
	}
	if l, err := s.BucketLock(s.ctx, s.bucket); err != nil || l != (engine.BucketLock{Enabled: true}) {
		s.Errorf("a bucket that was made with locks has %+v, %v", l, err)
	}
	s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of an empty bucket with locks")
}

// lockModes: what keeps a version, who may end it, and that everything else goes on around it.
func lockModes(s *suite) {
	s.lockable()
	locked := engine.KindLocked
	soon, late := in(time.Hour), in(1000*time.Hour)
	governance := engine.Retention{Mode: engine.RetentionGovernance, Until: soon}
	compliance := engine.Retention{Mode: engine.RetentionCompliance, Until: soon}

	g := s.putLocked("a/g", engine.Lock{Retention: governance})
	s.hasLock("a/g", g.Version, engine.Lock{Retention: governance})
	s.removes("a/g", g.Version, false, &locked)
	s.gives("a/g", g.Version, []byte("locked"))
	s.remove("a/g") // a delete marker hides it
	s.put("a/g", []byte("new"))
	s.gives("a/g", g.Version, []byte("locked"))
	longer, other := engine.Retention{Mode: engine.RetentionGovernance, Until: late}, engine.Retention{Mode: engine.RetentionCompliance, Until: late}
	s.retains("a/g", g.Version, longer, false, nil)
	for _, less := range []engine.Retention{governance, other, {}} {
		s.retains("a/g", g.Version, less, false, &locked)
	}
	s.hasLock("a/g", g.Version, engine.Lock{Retention: longer})
	s.retains("a/g", g.Version, governance, true, nil)
	s.removes("a/g", g.Version, true, nil)

	c := s.putLocked("a/c", engine.Lock{Retention: compliance})
	s.removes("a/c", c.Version, true, &locked)
	for _, less := range []engine.Retention{{Mode: engine.RetentionCompliance, Until: in(time.Minute)}, {Mode: engine.RetentionGovernance, Until: late}, {}} {
		s.retains("a/c", c.Version, less, true, &locked)
	}
	s.retains("a/c", c.Version, other, false, nil)
	s.hasLock("a/c", c.Version, engine.Lock{Retention: other})

	h := s.putLocked("a/h", engine.Lock{Hold: true})
	s.removes("a/h", h.Version, true, &locked)
	s.holdsBack("a/h", h.Version, false)
	s.hasLock("a/h", h.Version, engine.Lock{Lifted: true})
	s.retains("a/h", h.Version, governance, false, nil)
	s.holdsBack("a/h", h.Version, true)
	s.hasLock("a/h", h.Version, engine.Lock{Retention: governance, Hold: true})
	s.retains("a/h", h.Version, engine.Retention{}, true, nil)
	s.removes("a/h", h.Version, true, &locked)
	s.holdsBack("a/h", h.Version, false)
	s.removes("a/h", h.Version, false, nil)
	s.fails(engine.KindBucketNotEmpty, s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of a bucket with a retained version")
}

// lockEnds: a retention ends with its time, and may be changed then as if there were none.
func lockEnds(s *suite) {
	s.lockable()
	locked, until := engine.KindLocked, in(400*time.Millisecond)
	r := engine.Retention{Mode: engine.RetentionCompliance, Until: until}
	a, b := s.putLocked("a", engine.Lock{Retention: r}), s.putLocked("b", engine.Lock{Retention: r})
	s.removes("a", a.Version, true, &locked)
	if time.Now().After(until) {
		s.Skip("the machine was too slow to see it before its end")
	}
	timer := time.NewTimer(time.Until(until) + 10*time.Millisecond)
	defer timer.Stop()
	<-timer.C
	s.hasLock("a", a.Version, engine.Lock{Retention: r})
	s.removes("a", a.Version, false, nil)
	s.retains("b", b.Version, engine.Retention{Mode: engine.RetentionGovernance, Until: in(time.Hour)}, false, nil)
	s.retains("b", b.Version, engine.Retention{}, true, nil)
	s.removes("b", b.Version, false, nil)
	s.ok(s.DeleteBucket(s.ctx, s.bucket, engine.DeleteBucketOptions{}), "delete of the empty bucket")
}

// lockDefault: the bucket's retention is that of every version that is made without one, however it is made.
func lockDefault(s *suite) {
	s.lockable()
	for _, rule := range []engine.BucketLock{
		{Enabled: true, Mode: engine.RetentionGovernance, Days: 2}, {Enabled: true, Mode: engine.RetentionCompliance, Years: 1},
	} {
		s.ok(s.SetBucketLock(s.ctx, s.bucket, rule), "the rule")
		own := engine.Lock{Retention: engine.Retention{Mode: engine.RetentionGovernance, Until: in(time.Hour)}}
		check := func(how, key string) {
			s.Helper()
			info, err := s.Stat(s.ctx, s.ref(key), engine.StatOptions{})
			s.ok(err, "stat")
			if want := rule.RetentionOf(info.Modified); info.Lock.Mode != want.Mode || !info.Lock.Until.Equal(want.Until) || info.Lock.Hold {
				s.Errorf("%s gave the lock %+v; the rule says %+v", how, info.Lock, want)
			}
		}
		s.put("put", []byte("x"))
		check("a put", "put")
		s.putLocked("own", own)
		s.hasLock("own", "", own)
		s.copied("own", "copy", engine.CopyOptions{})
		check("a copy", "copy")
		s.copied("put", "own copy", engine.CopyOptions{Lock: own})
		s.hasLock("own copy", "", own)
		u := s.start("upload", engine.StartUploadOptions{})
		s.complete("upload", u.ID, s.part("upload", u.ID, 1, []byte("z")))
		check("an upload", "upload")
		u = s.start("own upload", engine.StartUploadOptions{Lock: engine.Lock{Retention: own.Retention, Hold: true}})
		s.complete("own upload", u.ID, s.part("own upload", u.ID, 1, []byte("z")))
		s.hasLock("own upload", "", engine.Lock{Retention: own.Retention, Hold: true})
	}
}

// lockErrors: who asks for locks where there are none, or for what cannot be.
func lockErrors(s *suite) {
	hour := engine.Retention{Mode: engine.RetentionGovernance, Until: in(time.Hour)}
	on := true
	s.put("k", []byte("x"))
	noLock := engine.KindNoLock
	s.retains("k", "", hour, false, &noLock)
	_, err := s.SetLock(s.ctx, s.ref("k"), engine.LockChange{Hold: &on})
	s.fails(noLock, err, "legal hold where there are no locks")
	_, err = s.StartUpload(s.ctx, s.ref("u"), engine.StartUploadOptions{Lock: engine.Lock{Retention: hour}})
	s.fails(noLock, err, "upload with a retention")
	_, err = s.Copy(s.ctx, s.ref("k"), s.ref("l"), engine.CopyOptions{Lock: engine.Lock{Hold: true}})
	s.fails(noLock, err, "copy with a legal hold")
	s.absent("l")

	s.lockable()
	made := s.put("k", []byte("x"))
	invalid := engine.KindInvalidArgument
	for _, wrong := range []engine.Retention{{Mode: engine.RetentionGovernance}, {Until: in(time.Hour)}, {Mode: 9, Until: in(time.Hour)},
		{Mode: engine.RetentionCompliance, Until: in(-time.Minute)}, {Mode: engine.RetentionCompliance, Until: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}} {
		s.retains("k", made.Version, wrong, true, &invalid)
		_, err := s.Put(s.ctx, s.ref("k"), bytes.NewReader(nil), engine.PutOptions{Lock: engine.Lock{Retention: wrong}})
		s.fails(invalid, err, "put with the retention %+v", wrong)
	}
	s.isStack("k", string(made.Version))
	noKey, noVersion, marker := engine.KindNoSuchKey, engine.KindNoSuchVersion, engine.KindDeleteMarker
	s.retains("absent", "", hour, false, &noKey)
	s.retains("k", engine.FormatVersion(1<<40), hour, false, &noVersion)
	deleted, err := s.Delete(s.ctx, s.ref("k"), engine.DeleteOptions{})
	s.ok(err, "delete")
	s.retains("k", "", hour, false, &noKey)
	s.retains("k", deleted.Version, hour, false, &marker)
	s.removes("k", deleted.Version, false, nil) // delete markers are not kept
	s.retains("k", "", hour, false, nil)
	s.hasLock("k", made.Version, engine.Lock{Retention: hour})
}
