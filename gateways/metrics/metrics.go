// Package metrics serves metrics to Prometheus: all of them under our names on an address of its own, and under MinIO's names, to whoever brings a token, on
// the port of S3.
//
// Promise: on the port of S3 nobody reads a figure without a token that the root credential signed and that has not expired, unless the operator said
// that everybody may; scrapes are bounded in number and time.
//
// The package does not know what is measured, nor where it listens.
package metrics

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"holdfast/access"
	"holdfast/observe"
	"holdfast/observe/metrics"
)

const (
	// scrapesMax is how many scrapes of one handler are served at once; another is told to come later.
	scrapesMax = 4
	// scrapeTime bounds one of them.
	scrapeTime = 15 * time.Second
	// tokenBytesMax bounds a token.
	tokenBytesMax = 4 << 10
)

// Config is what the handlers need.
type Config struct {
	Gatherer    prometheus.Gatherer
	Credentials access.Credentials
	Public      bool   // MinIO's views need no token
	Server      string // the value of MinIO's label "server": host:port
	Log         *slog.Logger
	Now         func() time.Time // nil: time.Now
}

// Handler serves all metrics at /metrics.
func Handler(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", c.scrape(c.Gatherer))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "the metrics are at /metrics", http.StatusNotFound)
	})
	return mux
}

func (c *Config) scrape(g prometheus.Gatherer) http.Handler {
	options := promhttp.HandlerOpts{MaxRequestsInFlight: scrapesMax, Timeout: scrapeTime, ErrorHandling: promhttp.ContinueOnError}
	if c.Log != nil {
		options.ErrorLog = slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn)
	}
	return promhttp.HandlerFor(g, options)
}

// MinIO serves the views of MinIO's metrics, at MinIO's paths.
func MinIO(c Config) http.Handler {
	views := map[string]http.Handler{}
	for path, view := range metrics.Paths {
		views[path] = c.scrape(metrics.Translated(c.Gatherer, view, c.Server))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		view, ok := views[r.URL.Path]
		switch {
		case !c.Public && !c.admits(r):
			refuse(w, r, http.StatusForbidden, "AccessDenied", "Access Denied: the metrics are for whoever brings a bearer token, as mc admin prometheus generate makes it.")
		case !ok:
			refuse(w, r, http.StatusNotFound, "NoSuchKey", "There is no such view of metrics: cluster, node and bucket are there.")
		default:
			view.ServeHTTP(w, r)
		}
	})
}

// admits reports whether a request brings a token of the root credential. A token is a JSON Web Token (RFC 7519) that its holder made and signed with
// the secret key by HMAC with SHA-512: sub is the access key, iss "prometheus", exp when it ends. MinIO takes HS256 and HS384, too, and the access key in
// a claim of its own; mc makes neither.
func (c *Config) admits(r *http.Request) bool {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	return strings.EqualFold(scheme, "Bearer") && c.admitsToken(token)
}

func (c *Config) admitsToken(token string) bool {
	if len(token) > tokenBytesMax {
		return false
	}
	options := []jwt.ParserOption{jwt.WithValidMethods([]string{jwt.SigningMethodHS512.Alg()}), jwt.WithIssuer("prometheus"), jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding()}
	if c.Now != nil {
		options = append(options, jwt.WithTimeFunc(c.Now))
	}
	known := false
	_, err := jwt.NewParser(options...).ParseWithClaims(token, &jwt.RegisteredClaims{}, func(t *jwt.Token) (any, error) {
		subject, err := t.Claims.GetSubject()
		if err != nil {
			return nil, err
		}
		secret, principal, ok := c.Credentials.Secret(subject)
		if known = ok && principal.Root; !known {
			secret = "no key has this one, whose signature is looked at all the same so that a wrong key takes as long as a wrong signature"
		}
		return []byte(secret), nil
	})
	return err == nil && known
}

// refuse answers in JSON, as MinIO's administration does.
func refuse(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct{ Code, Message, Resource, RequestId, HostId string }{ // who does not listen learns nothing
		code, message, r.URL.Path, string(observe.RequestOf(r.Context())), "holdfast",
	})
}
