package s3

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// Headers of object lock.
var (
	lockHeaders   = []string{"x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold"}
	bypassHeaders = []string{"x-amz-bypass-governance-retention"}
)

var retentionModes = map[string]engine.RetentionMode{"GOVERNANCE": engine.RetentionGovernance, "COMPLIANCE": engine.RetentionCompliance}

func modeName(m engine.RetentionMode) string {
	for name, mode := range retentionModes {
		if mode == m {
			return name
		}
	}
	return ""
}

// lock reads the lock that a request gives the version that it makes.
func (c *call) lock() (engine.Lock, error) { return lockOf(c.r.Header) }

// lockOf reads it from headers, or from the fields of a form that stand for headers.
func lockOf(h http.Header) (l engine.Lock, err error) {
	mode, until, hold := h.Get("X-Amz-Object-Lock-Mode"), h.Get("X-Amz-Object-Lock-Retain-Until-Date"), h.Get("X-Amz-Object-Lock-Legal-Hold")
	if (mode == "") != (until == "") {
		return l, faultf("InvalidArgument", "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	}
	if mode != "" {
		var ok bool
		if l.Mode, ok = retentionModes[mode]; !ok {
			return l, invalid("x-amz-object-lock-mode", mode, "Unknown wormMode directive.")
		}
		if l.Until, err = wire.ParseTime(until); err != nil {
			return l, invalid("x-amz-object-lock-retain-until-date", until, "The retain until date must be provided in ISO 8601 format")
		}
		if err := checkUntil(l.Until); err != nil {
			return l, err
		}
	}
	switch hold {
	case "":
	case "ON":
		l.Hold = true
	case "OFF":
		l.Lifted = true
	default:
		return l, invalid("x-amz-object-lock-legal-hold", hold, "Legal Hold must be either of 'ON' or 'OFF'")
	}
	return l, nil
}

func checkUntil(until time.Time) error {
	if !until.After(time.Now()) {
		return invalid("x-amz-object-lock-retain-until-date", until.UTC().Format(time.RFC3339), "The retain until date must be in the future!")
	}
	return nil
}

// requireDigest refuses a write with a lock whose body no checksum vouches for, as S3 does: what is kept for years should be what was sent.
func requireDigest(h http.Header, l engine.Lock) error {
	if l.IsZero() {
		return nil
	}
	for name := range h {
		if lower := strings.ToLower(name); lower == "content-md5" || lower == "x-amz-trailer" || strings.HasPrefix(lower, "x-amz-checksum-") && !slices.Contains(asked, lower) {
			return nil
		}
	}
	return faultf("InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
}

// bypass reads whether a governance retention is to be ended early.
func (c *call) bypass() (bool, error) {
	switch text := c.r.Header.Get("X-Amz-Bypass-Governance-Retention"); strings.ToLower(text) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, invalid("x-amz-bypass-governance-retention", text, "The header must be true or false.")
	}
}

// setLock puts the lock of a version into the headers of an answer.
func setLock(h http.Header, l engine.Lock) {
	if l.Mode != engine.RetentionNone {
		h.Set("X-Amz-Object-Lock-Mode", modeName(l.Mode))
		h.Set("X-Amz-Object-Lock-Retain-Until-Date", wire.Time(l.Until))
	}
	if l.Hold || l.Lifted {
		h.Set("X-Amz-Object-Lock-Legal-Hold", holdStatus(l))
	}
}

func holdStatus(l engine.Lock) string {
	if l.Hold {
		return "ON"
	}
	return "OFF"
}

// getObjectLock is GetObjectLockConfiguration.
func getObjectLock(c *call) error {
	l, err := c.engine.BucketLock(c.ctx, c.bucket)
	if err != nil {
		return err
	}
	if !l.Enabled {
		return fault("ObjectLockConfigurationNotFoundError")
	}
	d := wire.NewDoc("ObjectLockConfiguration")
	d.Text("ObjectLockEnabled", "Enabled")
	if l.Mode != engine.RetentionNone {
		d.Open("Rule")
		d.Open("DefaultRetention")
		d.Text("Mode", modeName(l.Mode))
		if l.Days > 0 {
			d.Int("Days", int64(l.Days))
		} else {
			d.Int("Years", int64(l.Years))
		}
		d.Close()
		d.Close()
	}
	return c.answer(d)
}

// putObjectLock is PutObjectLockConfiguration.
func putObjectLock(c *call) error {
	document, err := c.document(wire.DocumentBytesMax, true)
	if err != nil {
		return err
	}
	request, err := wire.ParseObjectLock(document)
	if err != nil {
		return err
	}
	l := engine.BucketLock{Enabled: true, Days: request.Days, Years: request.Years}
	if request.Mode != "" {
		mode, ok := retentionModes[request.Mode]
		if !ok {
			return &wire.Malformed{Reason: "the Mode is GOVERNANCE or COMPLIANCE"}
		}
		l.Mode = mode
		if err := engine.CheckBucketLock(l); err != nil {
			return invalid("DefaultRetention", "", "Default retention period must be a positive integer value, of at most 36500 days or 100 years.")
		}
	}
	if err := c.engine.SetBucketLock(c.ctx, c.bucket, l); err != nil {
		return err
	}
	return c.empty(statusOK)
}

// lockable finds the version that a question about its lock is for.
func (c *call) lockable() (engine.ObjectInfo, error) {
	if err := c.checkVersion(); err != nil {
		return engine.ObjectInfo{}, err
	}
	info, err := c.engine.Stat(c.ctx, c.ref(), engine.StatOptions{})
	if err == nil && !info.Locks {
		err = faultf("InvalidRequest", noLocks)
	}
	return info, err
}

const noLocks = "Bucket is missing Object Lock Configuration"

// getRetention is GetObjectRetention.
func getRetention(c *call) error {
	info, err := c.lockable()
	if err != nil {
		return err
	}
	if info.Lock.Mode == engine.RetentionNone {
		return fault("NoSuchObjectLockConfiguration")
	}
	d := wire.NewDoc("Retention")
	d.Text("Mode", modeName(info.Lock.Mode))
	d.Time("RetainUntilDate", info.Lock.Until)
	return c.answer(d)
}

// putRetention is PutObjectRetention. An empty document takes a retention away.
func putRetention(c *call) error {
	document, err := c.document(wire.DocumentBytesMax, true)
	if err != nil {
		return err
	}
	request, err := wire.ParseRetention(document)
	if err != nil {
		return err
	}
	var r engine.Retention
	if request.Mode != "" || !request.Until.IsZero() {
		mode, ok := retentionModes[request.Mode]
		if !ok || request.Until.IsZero() {
			return &wire.Malformed{Reason: "a Retention has a Mode, GOVERNANCE or COMPLIANCE, and a RetainUntilDate"}
		}
		if err := checkUntil(request.Until); err != nil {
			return err
		}
		r = engine.Retention{Mode: mode, Until: request.Until}
	}
	return c.changeLock(engine.LockChange{Retention: &r})
}

// getLegalHold is GetObjectLegalHold.
func getLegalHold(c *call) error {
	info, err := c.lockable()
	if err != nil {
		return err
	}
	if !info.Lock.Hold && !info.Lock.Lifted {
		return fault("NoSuchObjectLockConfiguration")
	}
	d := wire.NewDoc("LegalHold")
	d.Text("Status", holdStatus(info.Lock))
	return c.answer(d)
}

// putLegalHold is PutObjectLegalHold.
func putLegalHold(c *call) error {
	document, err := c.document(wire.DocumentBytesMax, true)
	if err != nil {
		return err
	}
	status, err := wire.ParseLegalHold(document)
	if err != nil {
		return err
	}
	if status != "ON" && status != "OFF" {
		return &wire.Malformed{Reason: "the Status of a LegalHold is ON or OFF"}
	}
	on := status == "ON"
	return c.changeLock(engine.LockChange{Hold: &on})
}

func (c *call) changeLock(change engine.LockChange) (err error) {
	if err := c.checkVersion(); err != nil {
		return err
	}
	if change.Bypass, err = c.bypass(); err != nil {
		return err
	}
	info, err := c.engine.SetLock(c.ctx, c.ref(), change)
	if err != nil {
		return err
	}
	setVersion(c.w.Header(), info)
	return c.empty(statusOK)
}
