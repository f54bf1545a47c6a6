package s3

import (
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

func TestEveryKindHasACode(t *testing.T) {
	for _, kind := range engine.Kinds() {
		code, ok := kindCodes[kind]
		if !ok || !wire.Known(code) {
			t.Errorf("%v: code %q", kind, code)
		}
	}
	if len(kindCodes) != len(engine.Kinds()) {
		t.Errorf("%d rows for %d Kinds", len(kindCodes), len(engine.Kinds()))
	}
}

func TestRoutesAreWhole(t *testing.T) {
	type shape struct {
		method string
		level  level
		need   string
		copy   bool
	}
	seen := map[shape]string{}
	names := map[string]bool{}
	for _, rt := range routes {
		s := shape{rt.method, rt.level, strings.Join(rt.need, "&"), rt.copy}
		if other := seen[s]; other != "" || names[rt.name] {
			t.Errorf("%s has the shape or name of %s", rt.name, other)
		}
		seen[s], names[rt.name] = rt.name, true
		if rt.serve == nil || !strings.HasPrefix(string(rt.action), "s3:") {
			t.Errorf("%s is not whole", rt.name)
		}
		for _, h := range rt.headers {
			if h != strings.ToLower(h) {
				t.Errorf("%s: header %s is not in lower case", rt.name, h)
			}
		}
	}
}

func TestParseRange(t *testing.T) {
	for header, want := range map[string]*engine.Range{
		"": nil, "bytes=0-0": {Start: 0, Length: 1}, "bytes=5-": {Start: 5, Length: -1}, "bytes=-7": {Start: -1, Length: 7}, "bytes=-0": {Start: -1, Length: 0},
		"bytes=2-1": nil, "bytes=0-1,3-4": nil, "bytes=": nil, "bytes=-": nil, "bytes=a-b": nil, "bytes=1": nil, "items=0-1": nil, "bytes=+1-2": nil,
		"bytes=99999999999999999999-": {Start: positionMax, Length: -1}, "bytes=0-99999999999999999999": {Start: 0, Length: positionMax + 1},
		"bytes= 1-2 ": {Start: 1, Length: 2}, "bytes=--1": nil, "bytes=1-2-3": nil,
	} {
		if got := parseRange(header); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", header, got, want)
		}
	}
}

func TestParseTags(t *testing.T) {
	for text, want := range map[string][]engine.ETag{
		`"a"`: {"a"}, `a`: {"a"}, `"a", "b"`: {"a", "b"}, `a,b`: {"a", "b"}, `W/"a"`: {`W/a`}, `"a",W/"b",c`: {"a", "W/b", "c"}, `"a,b"`: {"a,b"}, `""`: {""},
	} {
		got, any, err := parseTags("If-Match", []string{text}, false)
		if err != nil || any || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
	if got, _, err := parseTags("If-None-Match", []string{`W/"a"`, `"b"`}, true); err != nil || !reflect.DeepEqual(got, []engine.ETag{"a", "b"}) {
		t.Error(got, err)
	}
	if _, any, err := parseTags("If-Match", []string{" * "}, false); !any || err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", `"a`, `"a"b`, `a b`, `*,"a"`, ",", strings.Repeat(`"a",`, tagsMax+1) + `"a"`} {
		if got, any, err := parseTags("If-Match", []string{text}, false); err == nil {
			t.Errorf("%.20q was accepted: %q %v", text, got, any)
		}
	}
}

func TestReadConditionPrecedence(t *testing.T) {
	date := "Fri, 24 May 2013 00:00:00 GMT"
	h := http.Header{"If-Match": {`"a"`}, "If-Unmodified-Since": {date}, "If-None-Match": {`"b"`}, "If-Modified-Since": {date}}
	c, err := readIf(h)
	if err != nil || !c.UnmodifiedSince.IsZero() || !c.ModifiedSince.IsZero() || len(c.Match) != 1 || len(c.NoneMatch) != 1 {
		t.Fatalf("%+v %v", c, err)
	}
	h = http.Header{"If-Unmodified-Since": {date}, "If-Modified-Since": {"not a date"}}
	if c, err = readIf(h); err != nil || c.UnmodifiedSince.IsZero() || !c.ModifiedSince.IsZero() {
		t.Fatalf("%+v %v", c, err)
	}
	at := time.Date(2013, 5, 24, 0, 0, 0, 5e8, time.UTC)
	if at.After(c.UnmodifiedSince) {
		t.Fatal("a version of the same second counts as modified later")
	}
}

func TestWriteConditions(t *testing.T) {
	for _, values := range [][]string{{`"`}, {"*", "*"}, {""}} {
		if _, err := writeIf(http.Header{"If-None-Match": values}); err == nil {
			t.Errorf("If-None-Match %q was accepted", values)
		}
	}
	if c, err := writeIf(http.Header{"If-None-Match": {`"a", "b"`}}); err != nil || c.NoneMatchAny || len(c.NoneMatch) != 2 {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := writeIf(http.Header{"If-None-Match": {"*"}, "If-Match": {"x"}}); err != nil || !c.NoneMatchAny || len(c.Match) != 1 {
		t.Errorf("%+v %v", c, err)
	}
}

func TestWithoutChunked(t *testing.T) {
	for in, want := range map[string]string{"aws-chunked": "", "aws-chunked,gzip": "gzip", "gzip, AWS-Chunked": "gzip", "gzip,br": "gzip,br",
		"deflate, gzip": "deflate, gzip", "aws-chunked, deflate, gzip": "deflate, gzip", "aws-chunked, aws-chunked": "", " , gzip": "gzip", "": ""} {
		if got := withoutChunked([]string{in}); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// TestEveryOperationIsDocumented looks for the rows of the table in docs/s3-operations.md. TestSilentSuccess compares all that they say.
func TestEveryOperationIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/s3-operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range routes {
		if !strings.Contains(string(page), "\n| "+rt.name+" | ") {
			t.Errorf("docs/s3-operations.md does not mention %s", rt.name)
		}
	}
}

// FuzzTarget reads the target of a request: what is escaped and sent arrives as the same key, and no target makes a bucket of what
// has a slash.
func FuzzTarget(f *testing.F) {
	f.Add("bucket", "a//b/../c%2F ?#")
	f.Add("..", "/")
	f.Fuzz(func(t *testing.T, bucket, key string) {
		r := &http.Request{Method: "GET", RequestURI: "/bucket/" + url.PathEscape(key), Header: http.Header{}}
		c := &call{g: &Gateway{}, r: r}
		if _, err := c.parse(); err != nil || string(c.key) != key || c.bucket != "bucket" || (c.level == objectLevel) != (key != "") {
			t.Fatalf("%q became %q in %q: %v", key, c.key, c.bucket, err)
		}
		if strings.ContainsAny(bucket+key, " \x00\r\n") {
			return
		}
		c = &call{r: &http.Request{Method: "GET", RequestURI: "/" + bucket + "/" + key, URL: &url.URL{}, Header: http.Header{}}, g: New(Config{})}
		if _, err := c.parse(); err != nil || c.level == service {
			return
		}
		if err := c.checkNames(); err == nil && strings.ContainsAny(string(c.bucket), "/%") {
			t.Fatalf("bucket %q", c.bucket)
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		r := parseRange(header)
		if r == nil || size < 0 {
			return
		}
		if r.Start < -1 || r.Length < -1 {
			t.Fatalf("%q: %+v", header, r)
		}
		offset, length, ok := resolve(r, size)
		if ok && (offset < 0 || length <= 0 || offset+length > size) {
			t.Fatalf("%q of %d: %d+%d", header, size, offset, length)
		}
	})
}

func FuzzConditions(f *testing.F) {
	f.Add(`"a", W/"b"`, "Fri, 24 May 2013 00:00:00 GMT")
	f.Fuzz(func(t *testing.T, tags, date string) {
		c, err := readIf(http.Header{"If-Match": {tags}, "If-None-Match": {tags}, "If-Modified-Since": {date}})
		if err == nil && len(c.Match) == 0 && !c.MatchAny {
			t.Fatalf("%q demands nothing", tags)
		}
		readIf(http.Header{"If-Modified-Since": {date}, "If-Unmodified-Since": {date}})
		deleteIf(http.Header{"If-Match": {tags}, "X-Amz-If-Match-Size": {tags}, "X-Amz-If-Match-Last-Modified-Time": {date}})
	})
}
