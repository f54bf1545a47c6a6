package metrics

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"holdfast/access"
	"holdfast/observe/metrics"
)

const (
	user   = "metrics-test"
	secret = "metrics-test-secret"
)

func config(change ...func(*Config)) Config {
	r := metrics.New()
	r.Read([]*metrics.Metric{testMetric}, func(emit metrics.Emit) { emit(testMetric, 7) })
	c := Config{Gatherer: r, Credentials: access.Root{AccessKey: user, SecretKey: secret}, Server: "host:9000"}
	for _, f := range change {
		f(&c)
	}
	return c
}

var testMetric = &metrics.Metric{Name: "holdfast_objects", Kind: metrics.Gauge, Help: "Objects"}

// token signs claims; by default those that mc makes.
func token(t testing.TB, method jwt.SigningMethod, key any, change ...func(jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user, "iss": "prometheus", "exp": time.Now().Add(time.Hour).Unix()}
	for _, f := range change {
		f(claims)
	}
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func ask(h http.Handler, path string, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Header["Authorization"] = authorization
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTokens(t *testing.T) {
	good := token(t, jwt.SigningMethodHS512, []byte(secret))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set := func(name string, value any) func(jwt.MapClaims) { return func(c jwt.MapClaims) { c[name] = value } }
	unset := func(name string) func(jwt.MapClaims) { return func(c jwt.MapClaims) { delete(c, name) } }
	signed := func(change ...func(jwt.MapClaims)) string {
		return "Bearer " + token(t, jwt.SigningMethodHS512, []byte(secret), change...)
	}
	parts := strings.Split(good, ".")
	h := MinIO(config())
	for name, c := range map[string]struct {
		authorization []string
		want          int
	}{
		"as mc makes it":          {[]string{"Bearer " + good}, 200},
		"in lower case":           {[]string{"bearer " + good}, 200},
		"a hundred years":         {[]string{signed(set("exp", time.Now().AddDate(100, 0, 0).Unix()))}, 200},
		"none":                    {nil, 403},
		"empty":                   {[]string{"Bearer "}, 403},
		"no bearer":               {[]string{good}, 403},
		"basic":                   {[]string{"Basic " + good}, 403},
		"twice":                   {[]string{"Bearer " + good, "Bearer " + good}, 403},
		"expired":                 {[]string{signed(set("exp", time.Now().Add(-time.Second).Unix()))}, 403},
		"no expiry":               {[]string{signed(unset("exp"))}, 403},
		"expiry is a text":        {[]string{signed(set("exp", "never"))}, 403},
		"not yet":                 {[]string{signed(set("nbf", time.Now().Add(time.Hour).Unix()))}, 403},
		"wrong issuer":            {[]string{signed(set("iss", "minio"))}, 403},
		"no issuer":               {[]string{signed(unset("iss"))}, 403},
		"wrong subject":           {[]string{signed(set("sub", "somebody"))}, 403},
		"no subject":              {[]string{signed(unset("sub"))}, 403},
		"subject is a number":     {[]string{signed(set("sub", 5))}, 403},
		"wrong key":               {[]string{"Bearer " + token(t, jwt.SigningMethodHS512, []byte(secret+"x"))}, 403},
		"empty key":               {[]string{"Bearer " + token(t, jwt.SigningMethodHS512, []byte(""), set("sub", ""))}, 403},
		"the key of nobody":       {[]string{"Bearer " + token(t, jwt.SigningMethodHS512, []byte("no key has this one, whose signature is looked at all the same so that a wrong key takes as long as a wrong signature"), set("sub", "somebody"))}, 403},
		"HS256":                   {[]string{"Bearer " + token(t, jwt.SigningMethodHS256, []byte(secret))}, 403},
		"HS384":                   {[]string{"Bearer " + token(t, jwt.SigningMethodHS384, []byte(secret))}, 403},
		"RS256":                   {[]string{"Bearer " + token(t, jwt.SigningMethodRS256, rsaKey)}, 403},
		"alg none":                {[]string{"Bearer " + token(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType)}, 403},
		"none, with a signature":  {[]string{"Bearer eyJhbGciOiJub25lIn0." + parts[1] + "." + parts[2]}, 403},
		"signature cut off":       {[]string{"Bearer " + parts[0] + "." + parts[1] + "."}, 403},
		"another's claims":        {[]string{"Bearer " + parts[0] + "." + strings.Split(signed(set("exp", time.Now().Add(2*time.Hour).Unix())), ".")[1] + "." + parts[2]}, 403},
		"very long":               {[]string{"Bearer " + good + strings.Repeat("x", tokenBytesMax)}, 403},
		"a signature of S3 calls": {[]string{"AWS4-HMAC-SHA256 Credential=" + user + "/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"}, 403},
	} {
		w := ask(h, "/minio/v2/metrics/cluster", c.authorization...)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		}
		if has := strings.Contains(w.Body.String(), "minio_cluster_usage_object_total"); has != (c.want == 200) {
			t.Errorf("%s: %s", name, w.Body)
		}
		var refusal struct{ Code, Message, Resource string }
		if c.want == 403 && (json.Unmarshal(w.Body.Bytes(), &refusal) != nil || refusal.Code != "AccessDenied" || refusal.Resource != "/minio/v2/metrics/cluster") {
			t.Errorf("%s: the refusal is %s", name, w.Body)
		}
	}
	later := MinIO(config(func(c *Config) { c.Now = func() time.Time { return time.Now().Add(61 * time.Minute) } }))
	if w := ask(later, "/minio/v2/metrics/cluster", "Bearer "+good); w.Code != 403 {
		t.Errorf("an hour later: %d", w.Code)
	}
}

func TestViews(t *testing.T) {
	bearer := "Bearer " + token(t, jwt.SigningMethodHS512, []byte(secret))
	h, public := MinIO(config()), MinIO(config(func(c *Config) { c.Public = true }))
	for path := range metrics.Paths {
		if w := ask(h, path, bearer); w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
			t.Errorf("%s: %d %s", path, w.Code, w.Header())
		}
		if w := ask(h, path); w.Code != 403 {
			t.Errorf("%s without a token: %d", path, w.Code)
		}
		if w := ask(public, path); w.Code != 200 {
			t.Errorf("%s for everybody: %d", path, w.Code)
		}
	}
	if w := ask(h, "/minio/v2/metrics/resource", bearer); w.Code != 404 || !strings.Contains(w.Body.String(), "cluster, node and bucket") {
		t.Errorf("a view that is not there: %d %s", w.Code, w.Body)
	}
	if w := ask(h, "/minio/v2/metrics/resource"); w.Code != 403 {
		t.Errorf("the same without a token: %d", w.Code)
	}
}

func TestOurs(t *testing.T) {
	server := httptest.NewServer(Handler(config()))
	defer server.Close()
	for path, want := range map[string]string{"/metrics": "holdfast_objects 7", "/": "the metrics are at /metrics"} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s, %v", path, body, err)
		}
	}
}

// FuzzToken wants that no text is taken for a token but those that carry the signature.
func FuzzToken(f *testing.F) {
	good := token(f, jwt.SigningMethodHS512, []byte(secret))
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(strings.Repeat("{", 5000))
	c := config()
	signature := good[strings.LastIndex(good, ".")+1:]
	f.Fuzz(func(t *testing.T, text string) {
		if c.admitsToken(text) && (text[strings.LastIndex(text, ".")+1:] != signature || !strings.HasPrefix(text, good[:strings.Index(good, ".")])) {
			t.Errorf("%q is admitted", text)
		}
	})
}
