package daemon

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"holdfast/gateways"
	"holdfast/gateways/s3"
	"holdfast/observe"
)

// front stands before the gateway of S3 and answers what MinIO's users ask for beside S3 itself: health and metrics. The bucket name "minio" is for these.
type front struct {
	daemon  *daemon
	gateway *s3.Gateway
	access  *slog.Logger
	limits  gateways.Limits
	metrics http.Handler
}

func (f *front) handler() http.Handler {
	next := f.gateway.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check, health := strings.CutPrefix(r.URL.Path, "/minio/health/")
		switch {
		case f.gateway.BucketOf(r.Host) != "":
			next.ServeHTTP(w, r)
		case health:
			f.answer(w, r, "Health", func(w http.ResponseWriter, r *http.Request) { f.health(w, r, check) })
		case isMinIOMetrics(r.URL.Path):
			f.answer(w, r, "Metrics", f.metrics.ServeHTTP)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// answer runs a handler that takes no body, and leaves one access record.
func (f *front) answer(w http.ResponseWriter, r *http.Request, operation string, serve http.HandlerFunc) {
	start := time.Now()
	id := observe.NewRequestID()
	gateways.GuardBody(w, r, f.limits).Release()
	gateways.GuardHead(w, f.limits)
	h := w.Header()
	h.Set("Server", "Holdfast")
	h.Set("X-Amz-Request-Id", string(id))
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 { // nobody reads it, and where it ends may be disputed
		h.Set("Connection", "close")
	}
	ctx := observe.WithRequest(r.Context(), id)
	counted := &counted{ResponseWriter: w, status: http.StatusOK}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		serve(counted, r.WithContext(ctx))
	} else {
		h.Set("Allow", "GET, HEAD")
		counted.WriteHeader(http.StatusMethodNotAllowed)
	}
	record := observe.Access{Gateway: "minio", Request: id, Remote: r.RemoteAddr, Operation: operation, Key: r.URL.Path, Status: counted.status,
		Sent: counted.sent, Duration: time.Since(start), UserAgent: r.UserAgent(), Probe: true}
	record.Log(ctx, f.access)
}

// counted notes what is answered.
type counted struct {
	http.ResponseWriter
	status int
	sent   int64
}

func (c *counted) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent += int64(n)
	return n, err
}

func (f *front) health(w http.ResponseWriter, r *http.Request, check string) {
	switch check {
	case "live":
	case "ready", "cluster":
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		probe := f.daemon.node.Ready
		if check == "cluster" {
			probe = f.daemon.node.Writable
		}
		if err := probe(ctx); err != nil { // whoever asks has proven nothing
			f.daemon.logger.Info("the daemon says that it is not ready", "request", string(observe.RequestOf(ctx)), "error", err)
			http.Error(w, "not ready; holdfast status says why", http.StatusServiceUnavailable)
		}
	default:
		http.NotFound(w, r)
	}
}
