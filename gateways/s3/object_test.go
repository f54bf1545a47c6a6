package s3_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/gateways/s3"
)

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func tagOf(s string) string {
	sum := md5.Sum([]byte(s))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func crcOf(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	return base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

func TestBuckets(t *testing.T) {
	f := start(t)
	if r := f.want(ask{method: "PUT", target: "/bucket-a"}, 200, ""); r.header.Get("Location") != "/bucket-a" {
		t.Errorf("location %q", r.header.Get("Location"))
	}
	f.want(ask{method: "PUT", target: "/bucket-a"}, 200, "") // as in us-east-1; but not if another bucket is asked for
	f.want(ask{method: "PUT", target: "/bucket-a", headers: []string{"x-amz-bucket-object-lock-enabled", "true"}}, 409, "BucketAlreadyOwnedByYou")
	const location = `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>`
	f.want(ask{method: "PUT", target: "/bucket-b", body: fmt.Sprintf(location, "us-east-1")}, 200, "")
	f.want(ask{method: "PUT", target: "/bucket-c", body: fmt.Sprintf(location, "mars")}, 400, "IllegalLocationConstraintException")
	f.want(ask{method: "PUT", target: "/bucket-c", body: "<x"}, 400, "MalformedXML")
	f.want(ask{method: "PUT", target: "/bucket-c", body: "<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>"}, 501, "NotImplemented")
	f.want(ask{method: "PUT", target: "/bucket-c", body: strings.Repeat(" ", 1<<20+1)}, 400, "MaxMessageLengthExceeded")
	f.want(ask{method: "PUT", target: "/bucket-c", headers: []string{"x-amz-acl", "private", "x-amz-object-ownership", "BucketOwnerEnforced"}}, 200, "")
	if r := f.want(ask{method: "HEAD", target: "/bucket-a"}, 200, ""); r.header.Get("X-Amz-Bucket-Region") != "us-east-1" {
		t.Error("no region")
	}
	if r := f.want(ask{method: "HEAD", target: "/absent"}, 404, ""); r.body != "" {
		t.Error("HEAD with a body")
	}
	if r := f.want(ask{method: "GET", target: "/bucket-a?location"}, 200, ""); !strings.Contains(r.body, "LocationConstraint") {
		t.Error(r.body)
	}
	f.want(ask{method: "GET", target: "/absent?location"}, 404, "NoSuchBucket")
	names := func(target string) (names []string, token string) {
		var l struct {
			Owner   struct{ ID string }
			Buckets struct {
				Bucket []struct{ Name, CreationDate string }
			}
			ContinuationToken string
		}
		r := f.want(ask{method: "GET", target: target}, 200, "")
		if err := xml.Unmarshal([]byte(r.body), &l); err != nil || len(l.Owner.ID) != 64 {
			t.Fatal(err, r.body)
		}
		for _, b := range l.Buckets.Bucket {
			names = append(names, b.Name)
		}
		return names, l.ContinuationToken
	}
	if got, _ := names("/"); !slices.Equal(got, []string{"bucket-a", "bucket-b", "bucket-c"}) {
		t.Error(got)
	}
	got, token := names("/?max-buckets=2")
	if !slices.Equal(got, []string{"bucket-a", "bucket-b"}) || token == "" {
		t.Error(got, token)
	}
	if got, token := names("/?max-buckets=2&continuation-token=" + token); !slices.Equal(got, []string{"bucket-c"}) || token != "" {
		t.Error(got, token)
	}
	if got, _ := names("/?prefix=bucket-b"); !slices.Equal(got, []string{"bucket-b"}) {
		t.Error(got)
	}
	if got, _ := names("/?bucket-region=mars"); len(got) != 0 {
		t.Error(got)
	}
	f.want(ask{method: "GET", target: "/?continuation-token=x"}, 400, "InvalidArgument")
	f.want(ask{method: "GET", target: "/?max-buckets=0"}, 400, "InvalidArgument")
	f.want(ask{method: "PUT", target: "/bucket-a/k", body: "x"}, 200, "")
	f.want(ask{method: "DELETE", target: "/bucket-a"}, 409, "BucketNotEmpty")
	f.want(ask{method: "DELETE", target: "/bucket-a/k"}, 204, "")
	f.want(ask{method: "DELETE", target: "/bucket-a"}, 204, "")
	f.want(ask{method: "DELETE", target: "/bucket-a"}, 404, "NoSuchBucket")
}

func TestRegion(t *testing.T) {
	f := start(t, func(c *s3.Config) { c.Region = "eu-holdfast-1" })
	r := f.want(ask{method: "PUT", target: "/bucket"}, 400, "AuthorizationHeaderMalformed")
	if !strings.Contains(r.body, "<Region>eu-holdfast-1</Region>") || r.header.Get("X-Amz-Bucket-Region") != "eu-holdfast-1" {
		t.Error(r.body)
	}
	f.signer.Region = "eu-holdfast-1"
	f.want(ask{method: "PUT", target: "/bucket"}, 200, "")
	if r := f.want(ask{method: "GET", target: "/bucket?location"}, 200, ""); !strings.Contains(r.body, ">eu-holdfast-1<") {
		t.Error(r.body)
	}
}

func TestPutAndGet(t *testing.T) {
	f := start(t, func(c *s3.Config) { c.Classes = []engine.StorageClass{"COLD"} })
	f.bucket("bucket")
	const body = "hello, world"
	r := f.want(ask{method: "PUT", target: "/bucket/k", body: body, headers: []string{"Content-Type", "text/plain", "Content-Encoding", "aws-chunked,gzip",
		"Content-Disposition", "inline", "Content-Language", "de", "Cache-Control", "no-cache", "Expires", "Thu, 01 Dec 2033 16:00:00 GMT",
		"x-amz-meta-Color", "blue", "x-amz-meta-two-words", "a, b", "Content-MD5", md5Of(body), "x-amz-checksum-crc32", crcOf(body),
		"x-amz-sdk-checksum-algorithm", "CRC32", "x-amz-storage-class", "STANDARD", "x-amz-acl", "bucket-owner-full-control"}}, 200, "")
	if r.header.Get("ETag") != tagOf(body) || r.header.Get("X-Amz-Checksum-Crc32") != crcOf(body) || r.header.Get("X-Amz-Checksum-Type") != "FULL_OBJECT" {
		t.Errorf("%v", r.header)
	}
	for _, method := range []string{"GET", "HEAD"} {
		r := f.want(ask{method: method, target: "/bucket/k", headers: []string{"x-amz-checksum-mode", "ENABLED"}}, 200, "")
		if method == "GET" && r.body != body || method == "HEAD" && r.body != "" {
			t.Errorf("%s: %q", method, r.body)
		}
		for name, want := range map[string]string{"Content-Type": "text/plain", "Content-Encoding": "gzip", "Content-Disposition": "inline", "Content-Language": "de",
			"Cache-Control": "no-cache", "Expires": "Thu, 01 Dec 2033 16:00:00 GMT", "X-Amz-Meta-Color": "blue", "X-Amz-Meta-Two-Words": "a, b", "Etag": tagOf(body),
			"Content-Length": "12", "Accept-Ranges": "bytes", "X-Amz-Checksum-Crc32": crcOf(body), "X-Amz-Storage-Class": ""} {
			if got := r.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", method, name, got, want)
			}
		}
		if _, err := http.ParseTime(r.header.Get("Last-Modified")); err != nil {
			t.Error(err)
		}
	}
	if r := f.want(ask{method: "GET", target: "/bucket/k"}, 200, ""); r.header.Get("X-Amz-Checksum-Crc32") != "" {
		t.Error("a checksum that was not asked for")
	}
	r = f.want(ask{method: "GET", target: "/bucket/k?versionId=null&response-content-type=a/b&response-cache-control=private&response-content-disposition=x"}, 200, "")
	if r.header.Get("Content-Type") != "a/b" || r.header.Get("Cache-Control") != "private" || r.header.Get("Content-Disposition") != "x" {
		t.Errorf("overrides: %v", r.header)
	}
	f.want(ask{method: "PUT", target: "/bucket/plain", body: ""}, 200, "")
	r = f.want(ask{method: "GET", target: "/bucket/plain", headers: []string{"x-amz-checksum-mode", "ENABLED"}}, 200, "")
	if r.header.Get("Content-Type") != "binary/octet-stream" || r.header.Get("Content-Length") != "0" || r.header.Get("X-Amz-Checksum-Crc64nvme") != "AAAAAAAAAAA=" {
		t.Errorf("%v", r.header)
	}
	f.want(ask{method: "GET", target: "/bucket/absent"}, 404, "NoSuchKey")
	f.want(ask{method: "GET", target: "/absent/k"}, 404, "NoSuchBucket")
	f.want(ask{method: "PUT", target: "/absent/k", body: "x"}, 404, "NoSuchBucket")
	if r := f.want(ask{method: "HEAD", target: "/bucket/absent"}, 404, ""); r.body != "" {
		t.Error("HEAD with a body")
	}
	f.want(ask{method: "PUT", target: "/bucket/k2", body: "x", headers: []string{"x-amz-meta-a", strings.Repeat("m", 2048)}}, 400, "MetadataTooLarge")
	f.want(ask{method: "PUT", target: "/bucket/k2", body: "x", headers: []string{"x-amz-meta-a", strings.Repeat("m", 2047)}}, 200, "")
}

func TestDigests(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "old"}, 200, "")
	put := func(headers ...string) ask {
		return ask{method: "PUT", target: "/bucket/k", body: "new", headers: headers}
	}
	f.want(put("Content-MD5", md5Of("old")), 400, "BadDigest")
	f.want(put("Content-MD5", "x"), 400, "InvalidDigest")
	f.want(put("Content-MD5", ""), 400, "InvalidDigest")
	f.want(put("x-amz-checksum-crc32", crcOf("old")), 400, "BadDigest")
	f.want(put("x-amz-checksum-crc32", "AAAA"), 400, "InvalidRequest")
	f.want(put("x-amz-checksum-crc32", crcOf("new"), "x-amz-checksum-sha1", "2jmj7l5rSw0yVb/vlWAYkK/YBwk="), 400, "InvalidRequest")
	f.want(put("x-amz-sdk-checksum-algorithm", "CRC32"), 400, "InvalidRequest")
	f.want(put("x-amz-sdk-checksum-algorithm", "SHA1", "x-amz-checksum-crc32", crcOf("new")), 400, "InvalidRequest")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "new", change: func(r *http.Request) { setBody(r, []byte("neW")) }}, 400, "XAmzContentSHA256Mismatch")
	crc := "x-amz-checksum-crc32"
	for _, signed := range []bool{false, true} {
		f.want(ask{method: "PUT", target: "/bucket/k", body: "new", sign: trailing(signed, crc, crcOf("old"))}, 400, "BadDigest")
		f.want(ask{method: "PUT", target: "/bucket/k", body: "new", sign: trailing(signed, crc, "x")}, 400, "InvalidRequest")
		f.want(ask{method: "PUT", target: "/bucket/k", body: "new", sign: trailing(signed, "x-amz-meta-a", "x")}, 400, "InvalidRequest")
	}
	f.want(ask{method: "PUT", target: "/bucket/k", body: "new", sign: signChunks, change: func(r *http.Request) {
		setBody(r, bytes.Replace(readAll(r), []byte("new"), []byte("neW"), 1))
	}}, 403, "SignatureDoesNotMatch")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "new", sign: signChunks, change: func(r *http.Request) {
		raw := readAll(r)
		setBody(r, raw[:bytes.LastIndex(raw, []byte("0;chunk"))])
	}}, 400, "IncompleteBody")
	if r := f.want(ask{method: "GET", target: "/bucket/k"}, 200, ""); r.body != "old" {
		t.Fatalf("a body that was refused is stored: %q", r.body)
	}
	big := strings.Repeat("0123456789", 30000)
	for name, sign := range map[string]func(*fixture, *http.Request, []byte){"chunks": signChunks, "unsigned": trailing(false, crc, crcOf(big)), "signed": trailing(true, crc, crcOf(big))} {
		r := f.want(ask{method: "PUT", target: "/bucket/" + name, body: big, sign: sign, headers: []string{"Content-Encoding", "aws-chunked"}}, 200, "")
		if r.header.Get("ETag") != tagOf(big) {
			t.Error(name, r.header)
		}
		r = f.want(ask{method: "GET", target: "/bucket/" + name, headers: []string{"x-amz-checksum-mode", "ENABLED"}}, 200, "")
		if r.body != big || r.header.Get("Content-Encoding") != "" || name != "chunks" && r.header.Get("X-Amz-Checksum-Crc32") != crcOf(big) {
			t.Errorf("%s: %d bytes, %v", name, len(r.body), r.header)
		}
	}
}

func readAll(r *http.Request) []byte {
	var b bytes.Buffer
	b.ReadFrom(r.Body)
	return b.Bytes()
}

func TestRanges(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "0123456789"}, 200, "")
	f.want(ask{method: "PUT", target: "/bucket/empty"}, 200, "")
	for header, want := range map[string]string{"bytes=0-0": "0", "bytes=3-5": "345", "bytes=7-": "789", "bytes=-2": "89", "bytes=-99": "0123456789", "bytes=8-99": "89"} {
		for _, method := range []string{"GET", "HEAD"} {
			r := f.want(ask{method: method, target: "/bucket/k", headers: []string{"Range", header}}, 206, "")
			i := strings.Index("0123456789", want)
			if method == "GET" && r.body != want || r.header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/10", i, i+len(want)-1) || r.header.Get("Content-Length") != itoa(len(want)) {
				t.Errorf("%s %s: %q %v", method, header, r.body, r.header)
			}
		}
	}
	for _, header := range []string{"bytes=0-1,3-4", "bytes=5-2", "bytes=x", "lines=1-2", ""} {
		if r := f.want(ask{method: "GET", target: "/bucket/k", headers: []string{"Range", header}}, 200, ""); r.body != "0123456789" {
			t.Errorf("%s: %q", header, r.body)
		}
	}
	for target, headers := range map[string][]string{"/bucket/k": {"bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-"}, "/bucket/empty": {"bytes=0-", "bytes=-1"}} {
		for _, header := range headers {
			r := f.want(ask{method: "GET", target: target, headers: []string{"Range", header}}, 416, "InvalidRange")
			if !strings.HasPrefix(r.header.Get("Content-Range"), "bytes */") || !strings.Contains(r.body, "ActualObjectSize") {
				t.Errorf("%v %s", r.header, r.body)
			}
			f.want(ask{method: "HEAD", target: target, headers: []string{"Range", header}}, 416, "")
		}
	}
	tag := tagOf("0123456789")
	if r := f.want(ask{method: "GET", target: "/bucket/k", headers: []string{"Range", "bytes=1-2", "If-Range", tag}}, 206, ""); r.body != "12" {
		t.Error(r.body)
	}
	for _, other := range []string{`"x"`, "W/" + tag, "Fri, 24 May 2013 00:00:00 GMT"} {
		if r := f.want(ask{method: "GET", target: "/bucket/k", headers: []string{"Range", "bytes=1-2", "If-Range", other}}, 200, ""); r.body != "0123456789" {
			t.Error(other, r.body)
		}
	}
	f.want(ask{method: "GET", target: "/bucket/k", headers: []string{"Range", "bytes=90-", "If-Range", `"x"`}}, 200, "")
}

func TestReadConditions(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	r := f.want(ask{method: "PUT", target: "/bucket/k", body: "x"}, 200, "")
	tag := r.header.Get("ETag")
	modified := f.want(ask{method: "HEAD", target: "/bucket/k"}, 200, "").header.Get("Last-Modified")
	at, _ := http.ParseTime(modified)
	before, after := at.Add(-time.Hour).Format(http.TimeFormat), at.Add(time.Hour).Format(http.TimeFormat)
	for _, c := range []struct {
		status  int
		headers []string
	}{
		{200, []string{"If-Match", tag}}, {200, []string{"If-Match", strings.Trim(tag, `"`)}}, {200, []string{"If-Match", "*"}}, {200, []string{"If-Match", `"a", ` + tag}},
		{412, []string{"If-Match", `"a"`}}, {412, []string{"If-Match", "W/" + tag}}, {304, []string{"If-None-Match", tag}}, {304, []string{"If-None-Match", "*"}},
		{304, []string{"If-None-Match", "W/" + tag}}, {200, []string{"If-None-Match", `"a"`}},
		{304, []string{"If-Modified-Since", modified}}, {304, []string{"If-Modified-Since", after}}, {200, []string{"If-Modified-Since", before}},
		{200, []string{"If-Unmodified-Since", modified}}, {200, []string{"If-Unmodified-Since", after}}, {412, []string{"If-Unmodified-Since", before}},
		{200, []string{"If-Modified-Since", "rubbish"}}, {200, []string{"If-Unmodified-Since", "rubbish"}},
		{200, []string{"If-Match", tag, "If-Unmodified-Since", before}}, {304, []string{"If-None-Match", tag, "If-Modified-Since", before}},
		{200, []string{"If-None-Match", `"a"`, "If-Modified-Since", after}}, {412, []string{"If-Match", `"a"`, "If-None-Match", tag}},
		{400, []string{"If-Match", `"a`}},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			r := f.do(ask{method: method, target: "/bucket/k", headers: c.headers})
			if r.status != c.status {
				t.Errorf("%s %q: %d, want %d", method, c.headers, r.status, c.status)
			}
			if r.status == 304 && (r.body != "" || r.header.Get("ETag") != tag || r.header.Get("Last-Modified") != modified) {
				t.Errorf("%s %q: %q %v", method, c.headers, r.body, r.header)
			}
		}
	}
}

func TestWriteConditions(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	put := func(body string, headers ...string) ask {
		return ask{method: "PUT", target: "/bucket/k", body: body, headers: headers}
	}
	f.want(put("a", "If-Match", `"x"`), 404, "NoSuchKey")
	f.want(put("a", "If-None-Match", "*"), 200, "")
	tag := f.want(ask{method: "HEAD", target: "/bucket/k"}, 200, "").header.Get("ETag")
	f.want(put("c", "If-None-Match", `"x", `+tag), 412, "PreconditionFailed")
	f.want(put("a", "If-None-Match", `"x"`), 200, "")
	r := f.want(put("b", "If-None-Match", "*"), 412, "PreconditionFailed")
	if !strings.Contains(r.body, "<Condition>If-None-Match</Condition>") {
		t.Error(r.body)
	}
	f.want(put("b", "If-Match", `"x"`), 412, "PreconditionFailed")
	f.want(put("b", "If-Match", tagOf("a")), 200, "")
	remove := func(headers ...string) ask {
		return ask{method: "DELETE", target: "/bucket/k", headers: headers}
	}
	f.want(remove("If-Match", tagOf("a")), 412, "PreconditionFailed")
	f.want(remove("x-amz-if-match-size", "2"), 412, "PreconditionFailed")
	f.want(remove("x-amz-if-match-size", "x"), 400, "InvalidArgument")
	f.want(remove("x-amz-if-match-last-modified-time", "Fri, 24 May 2013 00:00:00 GMT"), 412, "PreconditionFailed")
	f.want(remove("x-amz-if-match-last-modified-time", "x"), 400, "InvalidArgument")
	modified := f.want(ask{method: "HEAD", target: "/bucket/k"}, 200, "").header.Get("Last-Modified")
	f.want(remove("If-Match", tagOf("b"), "x-amz-if-match-size", "1", "x-amz-if-match-last-modified-time", modified), 204, "")
	f.want(remove("If-Match", tagOf("b")), 404, "NoSuchKey")
	f.want(remove(), 204, "")
}

func TestDeleteObjects(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		f.want(ask{method: "PUT", target: "/bucket/" + key, body: key}, 200, "")
	}
	post := func(document string, headers ...string) ask {
		if len(headers) == 0 {
			headers = []string{"Content-MD5", md5Of(document)}
		}
		return ask{method: "POST", target: "/bucket?delete", body: document, headers: headers}
	}
	const entry = "<Object><Key>%s</Key>%s</Object>"
	document := "<Delete>" + fmt.Sprintf(entry, "a", "") + fmt.Sprintf(entry, "b", "<ETag>"+tagOf("x")+"</ETag>") + fmt.Sprintf(entry, "c", "<ETag>"+tagOf("c")+"</ETag>") +
		fmt.Sprintf(entry, "absent", "") + fmt.Sprintf(entry, "d", "<Size>7</Size>") + fmt.Sprintf(entry, "e", "<VersionId>v1</VersionId>") + "</Delete>"
	f.want(post(document, "x", "y"), 400, "InvalidRequest")
	f.want(post(document, "Content-MD5", md5Of("x")), 400, "BadDigest")
	f.want(post(document, "x-amz-checksum-crc32", crcOf("x")), 400, "BadDigest")
	f.want(post("<Delete>"), 400, "MalformedXML")
	f.want(post(strings.Repeat(" ", 2<<20+1)), 400, "MaxMessageLengthExceeded")
	f.want(ask{method: "POST", target: "/absent?delete", body: document, headers: []string{"Content-MD5", md5Of(document)}}, 404, "NoSuchBucket")
	var result struct {
		Deleted []struct{ Key string }
		Error   []struct{ Key, Code string }
	}
	r := f.want(post(document), 200, "")
	if err := xml.Unmarshal([]byte(r.body), &result); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(result) != "{[{a} {c} {absent}] [{b PreconditionFailed} {d PreconditionFailed} {e InvalidArgument}]}" {
		t.Errorf("%v", result)
	}
	for key, status := range map[string]int{"a": 404, "b": 200, "c": 404, "d": 200, "e": 200} {
		f.want(ask{method: "HEAD", target: "/bucket/" + key}, status, "")
	}
	quiet := "<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object><Object><Key>d</Key><VersionId>null</VersionId></Object></Delete>"
	if r := f.want(post(quiet, "x-amz-checksum-crc32", crcOf(quiet)), 200, ""); strings.Contains(r.body, "<Key>") {
		t.Error(r.body)
	}
	f.want(ask{method: "HEAD", target: "/bucket/d"}, 404, "")
	trailed := "<Delete><Object><Key>e</Key></Object></Delete>"
	f.want(ask{method: "POST", target: "/bucket?delete", body: trailed, sign: trailing(false, "x-amz-checksum-crc32", crcOf(trailed))}, 200, "")
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "<Object><Key>many/%d</Key></Object>", i)
	}
	f.want(post("<Delete>"+many.String()+"</Delete>"), 200, "")
	f.want(post("<Delete>"+many.String()+"<Object><Key>x</Key></Object></Delete>"), 400, "MalformedXML")
}

// tortured are keys that file systems, proxies and encoders tend to spoil.
func tortured() []string {
	keys := []string{"a", "a/", "a/b", "a//b", "a/./b", "a/../b", "..", ".", "../..", "/", "//", "/lead", "trail/", " ", "a b", "a+b", "a%2Fb", "%", "%00", "a&b=c?d#e",
		"quote\"'", "<tag>", "back\\slash", "colon:semi;", "\u00e9", "e\u0301", "日本語", "\U0001f600", "\ufeffbom", "\u2028", "\x01\x02\x1f", "tab\t", "nl\nnl", "cr\rx", "\x7f",
		"*", "CON", "a\x00b", strings.Repeat("k", 1024), strings.Repeat("d/", 512), strings.Repeat("ä", 512)}
	slices.Sort(keys)
	return keys
}

func escapeKey(key string) string { return strings.ReplaceAll(url.PathEscape(key), "%2F", "/") }

func TestKeys(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	keys := tortured()
	for i, key := range keys {
		f.want(ask{method: "PUT", target: "/bucket/" + escapeKey(key), body: itoa(i)}, 200, "")
	}
	for i, key := range keys {
		for _, path := range []string{escapeKey(key), url.PathEscape(key)} { // "/" and "%2F" are the same
			if r := f.want(ask{method: "GET", target: "/bucket/" + path}, 200, ""); r.body != itoa(i) {
				t.Errorf("%q is %q, want %d", key, r.body, i)
			}
		}
		if r := f.do(ask{method: "GET", target: "/bucket/" + escapeKey(key), sign: signQuery}); r.body != itoa(i) {
			t.Errorf("presigned, %q is %q, want %d", key, r.body, i)
		}
	}
	for _, version := range []string{"?encoding-type=url&max-keys=7", "?list-type=2&encoding-type=url&max-keys=7"} {
		if got := listAll(f, version); !slices.Equal(got, keys) {
			t.Errorf("%s: %q", version, got)
		}
	}
	for _, key := range keys {
		f.want(ask{method: "DELETE", target: "/bucket/" + escapeKey(key)}, 204, "")
	}
	if got := listAll(f, "?encoding-type=url"); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

type listResult struct {
	Contents []struct {
		Key, ETag, StorageClass string
		Size                    int
		Owner                   struct{ ID string }
	}
	CommonPrefixes                                                              []struct{ Prefix string }
	IsTruncated                                                                 bool
	NextMarker, NextContinuationToken, Marker, StartAfter, EncodingType, Prefix string
	KeyCount, MaxKeys                                                           int
}

func list(f *fixture, query string) (l listResult) {
	f.t.Helper()
	r := f.want(ask{method: "GET", target: "/bucket" + query}, 200, "")
	if err := xml.Unmarshal([]byte(r.body), &l); err != nil {
		f.t.Fatalf("%v: %s", err, r.body)
	}
	return l
}

// listAll follows pages and undoes encoding-type=url.
func listAll(f *fixture, query string) (keys []string) {
	f.t.Helper()
	for next := query; ; {
		l := list(f, next)
		for _, o := range l.Contents {
			key, err := url.QueryUnescape(o.Key)
			if err != nil {
				f.t.Fatal(err)
			}
			keys = append(keys, key)
		}
		if !l.IsTruncated {
			return keys
		}
		if next = query + "&marker=" + url.QueryEscape(keys[len(keys)-1]); l.NextContinuationToken != "" {
			next = query + "&continuation-token=" + url.QueryEscape(l.NextContinuationToken)
		}
	}
}

func TestListings(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	if l := list(f, "?list-type=2"); len(l.Contents) != 0 || l.IsTruncated || l.MaxKeys != 1000 {
		t.Errorf("%+v", l)
	}
	for _, key := range []string{"a", "a/1", "a/2", "b/1", "b/x/1", "c d"} {
		f.want(ask{method: "PUT", target: "/bucket/" + escapeKey(key), body: key}, 200, "")
	}
	show := func(l listResult) string {
		var s []string
		for _, o := range l.Contents {
			s = append(s, o.Key)
		}
		s = append(s, "|")
		for _, p := range l.CommonPrefixes {
			s = append(s, p.Prefix)
		}
		return strings.Join(s, " ")
	}
	for query, want := range map[string]string{
		"?list-type=2": "a a/1 a/2 b/1 b/x/1 c d |", "?delimiter=/": "a c d | a/ b/", "?list-type=2&prefix=b/&delimiter=/": "b/1 | b/x/", "?prefix=a": "a a/1 a/2 |",
		"?marker=a/1": "a/2 b/1 b/x/1 c d |", "?list-type=2&start-after=b/1": "b/x/1 c d |", "?list-type=2&max-keys=2": "a a/1 |", "?max-keys=0": "|",
		"?delimiter=1": "a a/2 c d | a/1 b/1 b/x/1", "?prefix=zz": "|", "?delimiter=/&marker=a/": "c d | b/", "?list-type=2&prefix=c&encoding-type=url": "c+d |", "?max-keys=5000": "a a/1 a/2 b/1 b/x/1 c d |",
	} {
		if got := show(list(f, query)); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	l := list(f, "?delimiter=/&max-keys=2")
	if l.NextMarker != "a/" || !l.IsTruncated {
		t.Errorf("%+v", l)
	}
	if got := show(list(f, "?delimiter=/&max-keys=2&marker=a/")); got != "c d | b/" {
		t.Error(got)
	}
	if l := list(f, "?max-keys=2"); l.NextMarker != "" || !l.IsTruncated {
		t.Errorf("%+v", l)
	}
	if l := list(f, "?list-type=2&fetch-owner=true"); len(l.Contents[0].Owner.ID) != 64 || l.KeyCount != 6 || l.Contents[0].Size != 1 || l.Contents[0].StorageClass != "STANDARD" || l.Contents[0].ETag != tagOf("a") {
		t.Errorf("%+v", l)
	}
	if l := list(f, "?list-type=2"); l.Contents[0].Owner.ID != "" {
		t.Error("an owner that was not asked for")
	}
	for _, query := range []string{"?max-keys=-1", "?max-keys=x", "?encoding-type=base64", "?list-type=2&continuation-token=x", "?list-type=2&continuation-token=", "?max-keys=99999999999"} {
		f.want(ask{method: "GET", target: "/bucket" + query}, 400, "InvalidArgument")
	}
	f.want(ask{method: "GET", target: "/absent?list-type=2"}, 404, "NoSuchBucket")
	f.want(ask{method: "GET", target: "/absent?max-keys=0"}, 404, "NoSuchBucket")
}

func TestTruthfulNone(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "x"}, 200, "")
	for target, code := range map[string]string{"?policy": "NoSuchBucketPolicy", "?tagging": "NoSuchTagSet", "?lifecycle": "NoSuchLifecycleConfiguration", "?cors": "NoSuchCORSConfiguration",
		"?website": "NoSuchWebsiteConfiguration", "?replication": "ReplicationConfigurationNotFoundError", "?encryption": "ServerSideEncryptionConfigurationNotFoundError",
		"?object-lock": "ObjectLockConfigurationNotFoundError", "?publicAccessBlock": "NoSuchPublicAccessBlockConfiguration"} {
		f.want(ask{method: "GET", target: "/bucket" + target}, 404, code)
		f.want(ask{method: "GET", target: "/absent" + target}, 404, "NoSuchBucket")
	}
	for target, part := range map[string]string{"?versioning": "<VersioningConfiguration ", "?acl": "FULL_CONTROL", "?logging": "BucketLoggingStatus", "/k?acl": "FULL_CONTROL", "/k?tagging": "<TagSet></TagSet>",
		"?requestPayment": "BucketOwner", "?ownershipControls": "BucketOwnerEnforced", "?notification": "NotificationConfiguration", "?accelerate": "AccelerateConfiguration"} {
		r := f.want(ask{method: "GET", target: "/bucket" + target}, 200, "")
		var any struct{ XMLName xml.Name }
		if err := xml.Unmarshal([]byte(r.body), &any); err != nil || !strings.Contains(r.body, part) {
			t.Errorf("%s: %s %v", target, r.body, err)
		}
	}
	f.want(ask{method: "GET", target: "/bucket/absent?acl"}, 404, "NoSuchKey")
	f.want(ask{method: "GET", target: "/bucket/k?retention"}, 400, "InvalidRequest")
	f.want(ask{method: "GET", target: "/bucket/k?legal-hold"}, 400, "InvalidRequest")
}
