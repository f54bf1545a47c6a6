package s3_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/access"
	"holdfast/access/session"
	"holdfast/engine"
	"holdfast/engine/memory"
	"holdfast/gateways"
	"holdfast/gateways/s3"
	"holdfast/gateways/s3/sigv4"
)

const (
	accessKey = "test-access-key"
	secretKey = "test-secret-canary"
)

// counted counts the calls that reach the engine.
type counted struct {
	Engine engine.Engine
	calls  atomic.Int64
}

type countedDoor struct {
	access.Root
	*counted
}

// Open counts every call of a session. Its methods are the engine's, so that a new one is counted too.
func (d countedDoor) Open(p access.Principal) engine.Engine {
	return session.New(spy{d.counted}, p, discard)
}

// fixture is a gateway over an engine in memory, behind a real listener.
type fixture struct {
	t      testing.TB
	server *httptest.Server
	engine *counted
	signer sigv4.Signer
	// through makes the requests; nil: a connection to the server.
	through http.RoundTripper
}

func start(t testing.TB, change ...func(*s3.Config)) *fixture {
	t.Helper()
	return startWith(t, memory.New(), change...)
}

func startWith(t testing.TB, e engine.Engine, change ...func(*s3.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, engine: &counted{Engine: e}, signer: sigv4.Signer{AccessKey: accessKey, SecretKey: secretKey, Region: "us-east-1"}}
	c := s3.Config{Door: countedDoor{access.Root{AccessKey: accessKey, SecretKey: secretKey}, f.engine}}
	for _, f := range change {
		f(&c)
	}
	g := s3.New(c)
	f.server = httptest.NewUnstartedServer(nil)
	f.server.Listener = gateways.Watch(f.server.Listener)
	f.server.Config = g.Server(g.Handler())
	f.server.Start()
	t.Cleanup(f.server.Close)
	return f
}

// transport leaves answers as they are.
var transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 4}

// ask is one request to be made.
type ask struct {
	method, target string // target is the path as it goes over the wire, and the query
	headers        []string
	body           string
	// change edits the request after it was signed.
	change func(*http.Request)
	// sign overrides how it is signed; the default is in the header with the hash of the body.
	sign func(f *fixture, r *http.Request, body []byte)
}

type reply struct {
	status int
	header http.Header
	body   string
}

// code is that of an error body.
func (r reply) code() string {
	var e struct{ Code string }
	if xml.Unmarshal([]byte(r.body), &e) != nil {
		return ""
	}
	return e.Code
}

func signHeader(f *fixture, r *http.Request, body []byte) {
	f.signer.Sign(r, sigv4.PayloadHash(body), time.Now())
}

func signUnsigned(f *fixture, r *http.Request, _ []byte) {
	f.signer.Sign(r, "UNSIGNED-PAYLOAD", time.Now())
}

func signQuery(f *fixture, r *http.Request, _ []byte) {
	u, err := f.signer.Presign(r, time.Now(), time.Minute)
	if err != nil {
		f.t.Fatal(err)
	}
	r.URL = u
}

func signV2(f *fixture, r *http.Request, _ []byte) {
	if err := f.signer.SignV2(r, "", time.Now()); err != nil {
		f.t.Fatal(err)
	}
}

func presignV2(f *fixture, r *http.Request, _ []byte) {
	if err := f.signer.PresignV2(r, "", time.Now().Add(time.Minute)); err != nil {
		f.t.Fatal(err)
	}
}

func setBody(r *http.Request, body []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
}

func signChunks(f *fixture, r *http.Request, body []byte) {
	when := time.Now()
	r.Header.Set("X-Amz-Decoded-Content-Length", itoa(len(body)))
	seed, _ := f.signer.Sign(r, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", when)
	setBody(r, f.signer.Chunks(body, 64<<10, seed, nil, when))
}

func trailing(signed bool, name, value string) func(*fixture, *http.Request, []byte) {
	return func(f *fixture, r *http.Request, body []byte) {
		when := time.Now()
		r.Header.Set("X-Amz-Decoded-Content-Length", itoa(len(body)))
		r.Header.Set("X-Amz-Trailer", name)
		mode := "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
		if signed {
			mode = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
		}
		seed, _ := f.signer.Sign(r, mode, when)
		if !signed {
			seed = ""
		}
		setBody(r, f.signer.Chunks(body, 64<<10, seed, map[string]string{name: value}, when))
	}
}

func (f *fixture) request(a ask) *http.Request {
	f.t.Helper()
	u, err := url.Parse(f.server.URL + a.target)
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(context.Background(), a.method, u.String(), strings.NewReader(a.body))
	if err != nil {
		f.t.Fatal(err)
	}
	r.URL = u
	if a.body == "" {
		r.Body = http.NoBody
	}
	for i := 0; i < len(a.headers); i += 2 {
		r.Header.Add(a.headers[i], a.headers[i+1])
	}
	if a.sign == nil {
		a.sign = signHeader
	}
	a.sign(f, r, []byte(a.body))
	if a.change != nil {
		a.change(r)
	}
	return r
}

func (f *fixture) do(a ask) reply {
	f.t.Helper()
	through := f.through
	if through == nil {
		through = transport
	}
	response, err := through.RoundTrip(f.request(a))
	if err != nil {
		f.t.Fatalf("%s %s: %v", a.method, a.target, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", a.method, a.target, err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

// want makes the request and demands a status and, for an error, a code.
func (f *fixture) want(a ask, status int, code string) reply {
	f.t.Helper()
	r := f.do(a)
	if r.status != status || code != "" && r.code() != code {
		f.t.Errorf("%s %.200s %q: got %d %s, want %d %s", a.method, a.target, a.headers, r.status, r.body, status, code)
	}
	if r.header.Get("X-Amz-Request-Id") == "" {
		f.t.Errorf("%s %s: no request id", a.method, a.target)
	}
	return r
}

func (f *fixture) bucket(name string) {
	f.t.Helper()
	f.want(ask{method: "PUT", target: "/" + name}, 200, "")
}
