package bench_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/access"
	"holdfast/access/session"
	"holdfast/cli/bench"
	"holdfast/engine"
	"holdfast/engine/memory"
	"holdfast/gateways/s3"
)

// door lets the root credential in.
type door struct {
	access.Root
	engine engine.Engine
}

func (d door) Open(p access.Principal) engine.Engine {
	return session.New(d.engine, p, slog.New(slog.DiscardHandler))
}

var root = access.Root{AccessKey: "bench-test", SecretKey: "bench-test-password"}

// serve starts our gateway over an engine in memory, behind what wrap makes of it.
func serve(t *testing.T, wrap func(http.Handler) http.Handler, start func(*httptest.Server)) (*httptest.Server, engine.Engine) {
	t.Helper()
	e := memory.New()
	handler := s3.New(s3.Config{Door: door{root, e}}).Handler()
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewUnstartedServer(handler)
	start(server)
	t.Cleanup(server.Close)
	return server, e
}

func client(t *testing.T, s bench.Server) *bench.Client {
	t.Helper()
	s.AccessKey, s.SecretKey = root.AccessKey, root.SecretKey
	c, err := bench.NewClient(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func plan(c *bench.Client, verb bench.Verb) *bench.Plan {
	return &bench.Plan{
		Client: c, Bucket: "measured", Prefix: "bench a+b/", Verb: verb, Sizes: []int64{0, 100, 20_000}, Objects: 50, Page: 7, Verify: true,
		Shares: map[bench.Verb]int{bench.Put: 3, bench.Get: 3, bench.Stat: 2, bench.List: 1, bench.Delete: 3},
		Limits: bench.Limits{Clients: 4, Duration: time.Minute, Requests: 200},
	}
}

// keys lists a bucket.
func keys(t *testing.T, e engine.Engine, bucket string) (list []string) {
	t.Helper()
	page, err := e.List(t.Context(), engine.BucketName(bucket), engine.ListOptions{Max: engine.PageMax})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range page.Objects {
		list = append(list, string(o.Key))
	}
	return list
}

// TestVerbs runs each and wants it to do what it says, and to leave nothing behind.
func TestVerbs(t *testing.T) {
	server, e := serve(t, nil, (*httptest.Server).Start)
	for _, verb := range []bench.Verb{bench.Put, bench.Get, bench.Stat, bench.List, bench.Delete, bench.Mixed} {
		t.Run(string(verb), func(t *testing.T) {
			p := plan(client(t, bench.Server{Endpoint: server.URL}), verb)
			report, err := p.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			total := 0
			for v, m := range report.Verbs {
				total += m.Latency.Count()
				if verb != bench.Mixed && v != verb {
					t.Errorf("%s is measured", v)
				}
				if (m.Bytes > 0) != (v == bench.Get || v == bench.Put) || (m.FirstByte.Count() > 0) != (v == bench.Get) || (m.Keys > 0) != (v == bench.List) {
					t.Errorf("%s: %d bytes, %d first bytes, %d keys", v, m.Bytes, m.FirstByte.Count(), m.Keys)
				}
			}
			want := 200
			if verb == bench.Delete {
				want = 50
			}
			if total != want || report.Failed() != 0 {
				t.Errorf("%d requests, %d failed (%s), want %d", total, report.Failed(), report.ErrorCounts(), want)
			}
			if verb == bench.Mixed && len(report.Verbs) != 5 {
				t.Errorf("mixed did %d things", len(report.Verbs))
			}
			if _, err := e.StatBucket(t.Context(), "measured"); !engine.Is(err, engine.KindNoSuchBucket) {
				t.Errorf("the bucket is left: %v", err)
			}
		})
	}
}

// TestLeavesOthers wants a bucket that was there to stay, with what others have in it, versions and all.
func TestLeavesOthers(t *testing.T) {
	server, e := serve(t, nil, (*httptest.Server).Start)
	c := client(t, bench.Server{Endpoint: server.URL})
	if made, err := c.MakeBucket(t.Context(), "measured"); err != nil || !made {
		t.Fatal(made, err)
	}
	if err := e.SetVersioning(t.Context(), "measured", engine.VersioningEnabled); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), "measured", "bench", bench.NewPayloads([]int64{5}, 0, "").Of(5, 0)); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []bench.Verb{bench.Put, bench.Delete} {
		if _, err := plan(c, verb).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if list := keys(t, e, "measured"); !slices.Equal(list, []string{"bench"}) {
		t.Errorf("the bucket has %q", list)
	}
	if page, err := e.ListVersions(t.Context(), "measured", engine.ListVersionsOptions{Max: 10}); err != nil || len(page.Versions) != 1 {
		t.Errorf("%d versions are left, %v", len(page.Versions), err)
	}
}

// TestParts puts objects in parts, with each checksum, and keeps them.
func TestParts(t *testing.T) {
	server, e := serve(t, nil, (*httptest.Server).Start)
	checksums := append([]string{""}, bench.Checksums...)
	if testing.Short() {
		checksums = checksums[1:3]
	}
	for _, checksum := range checksums {
		c := client(t, bench.Server{Endpoint: server.URL})
		c.Checksum, c.PartsAtOnce = checksum, 2
		p := plan(c, bench.Put)
		p.Sizes, p.PartSize, p.Keep, p.Limits.Requests, p.Prefix = []int64{100, 11 << 20}, 5<<20, true, 2, "parts"+checksum+"/"
		report, err := p.Run(t.Context())
		if err != nil || report.Failed() > 0 {
			t.Fatalf("%s: %v, %v", checksum, err, report)
		}
		list := slices.DeleteFunc(keys(t, e, "measured"), func(key string) bool { return !strings.HasPrefix(key, p.Prefix) })
		if len(list) != 2 {
			t.Fatalf("%s: there are %q", checksum, list)
		}
		for i, parts := range []int{0, 3} {
			info, err := e.Stat(t.Context(), engine.Ref{Bucket: "measured", Key: engine.Key(list[i])}, engine.StatOptions{})
			if err != nil || info.Parts != parts || checksum != "" && info.Checksum.Algorithm != checksum {
				t.Errorf("%s %s: %d parts with %s, %v; want %d", checksum, list[i], info.Parts, info.Checksum.Algorithm, err, parts)
			}
		}
	}
}

// TestErrors wants each wrong answer counted by its code, and none as a request served.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		verb bench.Verb
		code string
		wrap func(http.ResponseWriter, *http.Request, http.Handler)
	}{
		{bench.Get, "WrongAnswer", func(w http.ResponseWriter, r *http.Request, h http.Handler) {
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			body := answer.Body.Bytes()
			if len(body) > 0 {
				body[len(body)/2]++
			}
			w.Write(body)
		}},
		{bench.Get, "SlowDown", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(503)
			io.WriteString(w, "<Error><Code>SlowDown</Code></Error>")
		}},
		{bench.Get, "HTTP502", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			http.Error(w, "a proxy's words", http.StatusBadGateway)
		}},
		{bench.Get, "ConnectionFailed", func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }},
		{bench.Stat, "NotFound", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(404) }},
		{bench.Stat, "WrongAnswer", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.Header().Set("Content-Length", "77") }},
	} {
		t.Run(string(c.verb)+c.code, func(t *testing.T) {
			var objects atomic.Int64 // requests for an object
			server, _ := serve(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					method := map[bench.Verb]string{bench.Get: "GET", bench.Stat: "HEAD"}[c.verb]
					if r.Method == method && strings.Count(r.URL.Path, "/") > 2 && objects.Add(1) > 10 {
						c.wrap(w, r, h)
						return
					}
					h.ServeHTTP(w, r)
				})
			}, (*httptest.Server).Start)
			p := plan(client(t, bench.Server{Endpoint: server.URL}), c.verb)
			p.Sizes, p.Limits.Requests = []int64{100}, 15
			report, err := p.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m := report.Verbs[c.verb]
			if m.Errors[c.code] != 5 || m.Latency.Count() != 10 || m.Example == nil {
				t.Errorf("%d served, errors %v (%v)", m.Latency.Count(), m.Errors, m.Example)
			}
			var text bytes.Buffer
			if err := report.WriteText(&text); err != nil || !strings.Contains(text.String(), "5 × "+c.code) {
				t.Errorf("%v: %s", err, &text)
			}
		})
	}
}

// TestInterrupted wants the figures until then, and everything taken away.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var puts atomic.Int64
	server, e := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			if r.Method == http.MethodPut && puts.Add(1) == 30 {
				cancel()
			}
		})
	}, (*httptest.Server).Start)
	p := plan(client(t, bench.Server{Endpoint: server.URL}), bench.Put)
	p.Limits.Requests = 0
	report, err := p.Run(ctx)
	if !errors.Is(err, context.Canceled) || report == nil {
		t.Fatalf("%v, %v", report, err)
	}
	if m := report.Verbs[bench.Put]; m == nil || m.Latency.Count() < 20 || len(m.Errors) > 0 {
		t.Errorf("%+v", m)
	}
	if _, err := e.StatBucket(t.Context(), "measured"); !engine.Is(err, engine.KindNoSuchBucket) {
		t.Errorf("the bucket is left: %v", err)
	}
}

func TestTLS(t *testing.T) {
	server, _ := serve(t, nil, func(s *httptest.Server) {
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that trusts nobody is one of the cases
		s.StartTLS()
	})
	authority := x509.NewCertPool()
	authority.AddCert(server.Certificate())
	for name, config := range map[string]*tls.Config{"an authority": {RootCAs: authority}, "any": {InsecureSkipVerify: true}} {
		if report, err := plan(client(t, bench.Server{Endpoint: server.URL, TLS: config}), bench.Get).Run(t.Context()); err != nil || report.Failed() > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := plan(client(t, bench.Server{Endpoint: server.URL}), bench.Get).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
}

// TestHostStyle looks at where the bucket is, and whether the signature covers it there.
func TestHostStyle(t *testing.T) {
	gateway := s3.New(s3.Config{Door: door{root, memory.New()}, Domains: []string{"s3.test"}}).Handler()
	var hosts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "measured.s3.test:9000" {
			hosts.Add(1)
		}
		gateway.ServeHTTP(w, r)
	}))
	defer server.Close()
	c := client(t, bench.Server{Endpoint: "http://s3.test:9000", HostStyle: true})
	c.DialTo(server.Listener.Addr().String())
	report, err := plan(c, bench.Get).Run(t.Context())
	if err != nil || report.Failed() > 0 || hosts.Load() < 200 {
		t.Errorf("%v; %d requests with the bucket's name", err, hosts.Load())
	}
}

func TestNewClientRefuses(t *testing.T) {
	for want, s := range map[string]bench.Server{
		"is no address":       {Endpoint: "127.0.0.1:9000", AccessKey: "a", SecretKey: "b"},
		`"http://h/path" is`:  {Endpoint: "http://h/path", AccessKey: "a", SecretKey: "b"},
		"a number for a name": {Endpoint: "http://127.0.0.1:1", HostStyle: true, AccessKey: "a", SecretKey: "b"},
		"no credential":       {Endpoint: "http://h:1", AccessKey: "a"},
	} {
		if _, err := bench.NewClient(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}

// TestJSON wants the document to have what the text has.
func TestJSON(t *testing.T) {
	server, _ := serve(t, nil, (*httptest.Server).Start)
	report, err := plan(client(t, bench.Server{Endpoint: server.URL}), bench.Get).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := report.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var document struct {
		Command    string
		Clients    int
		Operations []struct {
			Operation string
			Requests  int
			Latency   map[string]float64 `json:"latency_ms"`
			FirstByte map[string]float64 `json:"first_byte_ms"`
			Errors    map[string]int
		}
	}
	if err := json.Unmarshal(out.Bytes(), &document); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	o := document.Operations
	if document.Command != "get" || document.Clients != 4 || len(o) != 1 || o[0].Requests != 200 || len(o[0].Latency) != 7 || len(o[0].FirstByte) != 7 || o[0].Errors == nil {
		t.Errorf("%s", &out)
	}
	if l := o[0].Latency; !(l["min"] <= l["p50"] && l["p50"] <= l["p90"] && l["p90"] <= l["p99"] && l["p99"] <= l["p99_9"] && l["p99_9"] <= l["max"] && l["min"] > 0) {
		t.Errorf("%v", l)
	}
}
