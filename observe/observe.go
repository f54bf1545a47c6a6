// Package observe is what every protocol leaves behind alike: the id of a request, carried in its context, and one access record
// per request in the structured log; and what the daemon leaves behind when it ends, however that comes: the counts of its named steps.
//
// Promise: nothing that proves an identity is written: no signature, no secret, no query of a presigned URL. A step that was entered
// and not left when the process was killed is told from the others by its record.
//
// The package does not know protocols; a gateway fills in the record. It does not know what the steps do.
package observe

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"log/slog"
	"time"
)

// RequestID names a request in answers, logs and errors: 16 characters, upper-case letters and digits.
type RequestID string

// NewRequestID returns an id that does not repeat (80 random bits).
func NewRequestID() RequestID {
	var b [10]byte
	rand.Read(b[:]) // never fails: the runtime ends the process when the system has no randomness
	return RequestID(base32.StdEncoding.EncodeToString(b[:]))
}

type contextKey struct{}

// WithRequest returns a context that carries the id.
func WithRequest(ctx context.Context, id RequestID) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// RequestOf returns the id that ctx carries, or "".
func RequestOf(ctx context.Context) RequestID {
	id, _ := ctx.Value(contextKey{}).(RequestID)
	return id
}

// Access is the record of one request.
type Access struct {
	Gateway   string // "s3"
	Request   RequestID
	Remote    string // address of the client, host:port
	Principal string // access key; empty if none was proven
	Operation string // name of the operation in the protocol; empty if none was recognised
	Bucket    string
	Key       string
	Status    int    // the protocol's status
	Code      string // the protocol's error code; empty on success
	Reason    string // the error for people; empty on success
	Received  int64  // bytes of content
	Sent      int64  // bytes of content
	Duration  time.Duration
	UserAgent string
	Probe     bool // asked at intervals by a machine that watches: of no interest to a person unless it fails
}

// Log writes the record: at Info, at Debug for a Probe that succeeded, and at Warn when the status says that the server failed: 500 and above, but
// not 501, which is a refusal.
func (a *Access) Log(ctx context.Context, log *slog.Logger) {
	level := slog.LevelInfo
	switch {
	case a.Status >= 500 && a.Status != 501:
		level = slog.LevelWarn
	case a.Probe && a.Status < 400:
		level = slog.LevelDebug
	}
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 14)
	attrs = append(attrs, slog.String("gateway", a.Gateway), slog.String("request", string(a.Request)), slog.String("remote", a.Remote),
		slog.String("operation", a.Operation), slog.Int("status", a.Status), slog.Duration("duration", a.Duration))
	for _, s := range [...]struct{ name, value string }{
		{"principal", a.Principal}, {"bucket", a.Bucket}, {"key", a.Key}, {"code", a.Code}, {"reason", a.Reason}, {"agent", a.UserAgent},
	} {
		if s.value != "" {
			attrs = append(attrs, slog.String(s.name, s.value))
		}
	}
	if a.Received > 0 {
		attrs = append(attrs, slog.Int64("received", a.Received))
	}
	if a.Sent > 0 {
		attrs = append(attrs, slog.Int64("sent", a.Sent))
	}
	log.LogAttrs(ctx, level, "access", attrs...)
}
