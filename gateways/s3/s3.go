// Package s3 is the S3 gateway: it makes calls of the engine out of requests of the S3 API, and answers out of what the engine says.
//
// Promise: what is answered with success has been done as S3 documents it. Whatever a request asks for beyond what routes.go names,
// be it an operation, a sub-resource, a condition or a header, is refused before anything is touched. Keys are never normalised and
// never become paths.
//
// The package does not know how objects are kept, who may do what (the session behind the Door decides), or where it listens.
// Deliberately absent: anonymous access, CORS.
package s3

import (
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"holdfast/access"
	"holdfast/access/session"
	"holdfast/engine"
	"holdfast/gateways"
	"holdfast/gateways/s3/sigv4"
	"holdfast/observe"
	"holdfast/observe/metrics"
)

// DefaultRegion is the region of a gateway that is not told another.
const DefaultRegion = "us-east-1"

// Config is what a gateway needs. Door is required; everything else has a default.
type Config struct {
	Door   session.Door
	Region string // of every bucket; default DefaultRegion
	// Domains are names of hosts in lower case whose subdomains are buckets.
	Domains []string
	// RefuseV2 says that Signature Version 2, which does not cover bodies, is refused.
	RefuseV2 bool
	// OwnerID and OwnerName are those of the owner of every bucket; default access.RootID and "root".
	OwnerID, OwnerName string
	// Classes are the storage classes that the cluster has beside STANDARD.
	Classes []engine.StorageClass
	// Node is the name of this node, which answers carry as x-amz-id-2; default "holdfast".
	Node    string
	Log     *slog.Logger      // nil discards what there is to say
	Access  *slog.Logger      // access records; default Log
	Metrics *metrics.Registry // where the gateway counts; nil: for itself
	Limits  gateways.Limits   // default gateways.DefaultLimits
	Now     func() time.Time
}

// Gateway serves the S3 API. Between requests it keeps counters and nothing else.
type Gateway struct {
	Config
	verifier sigv4.Verifier
	counters *counters
}

var _ gateways.Gateway = (*Gateway)(nil)

// New returns a gateway.
func New(c Config) *Gateway {
	c = withDefaults(c)
	g := &Gateway{Config: c, counters: newCounters(c.Metrics)}
	g.verifier = sigv4.Verifier{Region: c.Region, Now: c.Now, RefuseV2: c.RefuseV2, Bucket: func(host string) string { return string(g.BucketOf(host)) },
		Secret: func(accessKey string) (string, bool) {
			secret, _, ok := c.Door.Secret(accessKey)
			return secret, ok
		}}
	return g
}

func withDefaults(c Config) Config {
	if c.Region == "" {
		c.Region = DefaultRegion
	}
	if c.OwnerID == "" {
		c.OwnerID, c.OwnerName = access.RootID, "root"
	}
	if c.Node == "" {
		c.Node = "holdfast"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Access == nil {
		c.Access = c.Log
	}
	if c.Metrics == nil {
		c.Metrics = metrics.New()
	}
	if c.Limits == (gateways.Limits{}) {
		c.Limits = gateways.DefaultLimits()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// BucketOf returns the bucket that the Host of a request names in virtual-host style, or "" in path style: no domain is configured that the host lies
// below, or the host is such a domain itself. Of domains that lie below each other the longest counts.
func (g *Gateway) BucketOf(host string) engine.BucketName {
	if len(g.Domains) == 0 {
		return ""
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	bucket, longest := "", 0
	for _, domain := range g.Domains {
		if host == domain {
			return ""
		}
		if name, ok := strings.CutSuffix(host, "."+domain); ok && len(domain) > longest {
			bucket, longest = name, len(domain)
		}
	}
	return engine.BucketName(bucket)
}

// Name is "s3".
func (g *Gateway) Name() string { return "s3" }

// Handler returns the handler of the API. Its paths are those of S3 in path style, /bucket/key, but for hosts of which BucketOf knows the bucket: there
// they are /key.
func (g *Gateway) Handler() http.Handler { return http.HandlerFunc(g.serveHTTP) }

// Server returns a server for handler (which may be Handler with something in front) that has the gateway's limits. Serve it on a
// listener from gateways.Watch.
func (g *Gateway) Server(handler http.Handler) *http.Server {
	return gateways.NewServer(handler, g.Limits, g.Log)
}

// hasClass reports whether the storage class of a request is one of the cluster's; "" is STANDARD.
func (g *Gateway) hasClass(name string) bool {
	return name == "" || name == string(engine.ClassStandard) || slices.Contains(g.Classes, engine.StorageClass(name))
}

// serveHTTP answers one request and leaves one access record.
func (g *Gateway) serveHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	c := newCall(g, w, r)
	if err := c.serve(); err != nil {
		c.fail(err)
	}
	c.incoming.Release()
	c.record.Duration = time.Since(start)
	c.record.Log(c.ctx, g.Access)
	g.counters.end(c, start)
}

// expectsNothing reports whether a client waits for "100 Continue" before it sends an empty body. net/http answers such a request at
// once, which RFC 9110 allows; but botocore, which asks this way for every empty object, takes the answer for that of the next
// request on the connection too, and hangs.
func expectsNothing(r *http.Request) bool {
	return r.ContentLength == 0 && r.ProtoAtLeast(1, 1) && r.ProtoMajor == 1 && strings.EqualFold(r.Header.Get("Expect"), "100-continue")
}

func newCall(g *Gateway, w http.ResponseWriter, r *http.Request) *call {
	if expectsNothing(r) {
		w.WriteHeader(http.StatusContinue)
	}
	id := observe.NewRequestID()
	c := &call{g: g, w: w, r: r, ctx: observe.WithRequest(r.Context(), id), incoming: gateways.GuardBody(w, r, g.Limits)}
	c.ctx = engine.WithClient(c.ctx, c.incoming)
	c.record = observe.Access{Gateway: g.Name(), Request: id, Remote: r.RemoteAddr, UserAgent: r.UserAgent()}
	// The deadline of an earlier answer on this connection is over. A connection without deadlines has none to lift.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	h := w.Header()
	h.Set("Server", "Holdfast")
	h.Set("X-Amz-Request-Id", string(id))
	h.Set("X-Amz-Id-2", g.Node)
	return c
}
