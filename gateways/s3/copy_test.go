package s3_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func copyAsk(source, target string, headers ...string) ask {
	return ask{method: "PUT", target: target, headers: append([]string{"x-amz-copy-source", source}, headers...)}
}

// TestCopyObject copies with every header that says how.
func TestCopyObject(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.bucket("other-bucket")
	body := strings.Repeat("content ", 20_000)
	strange := "a b/%25+ü?x"
	put := f.want(ask{method: "PUT", target: "/bucket/" + escapeKey(strange), body: body, headers: []string{"Content-Type", "text/x", "x-amz-meta-color", "red", "Cache-Control", "no-store"}}, 200, "")
	tag := put.header.Get("ETag")
	source := "bucket/" + escapeKey(strange)
	var result struct{ ETag, LastModified, ChecksumCRC64NVME string }
	for _, from := range []string{source, "/" + source, source + "?versionId=null"} {
		r := f.want(copyAsk(from, "/other-bucket/copy"), 200, "")
		if err := xml.Unmarshal([]byte(r.body), &result); err != nil || result.ETag != tag || result.ChecksumCRC64NVME == "" {
			t.Errorf("%v %s", err, r.body)
		}
		if _, err := time.Parse(time.RFC3339, result.LastModified); err != nil {
			t.Error(err)
		}
		r = f.want(ask{method: "GET", target: "/other-bucket/copy"}, 200, "")
		if r.body != body || r.header.Get("Content-Type") != "text/x" || r.header.Get("x-amz-meta-color") != "red" || r.header.Get("Cache-Control") != "no-store" || r.header.Get("ETag") != tag {
			t.Errorf("%d bytes, %v", len(r.body), r.header)
		}
	}
	f.want(copyAsk(source, "/bucket/replaced", "x-amz-metadata-directive", "REPLACE", "Content-Type", "text/y", "x-amz-meta-shape", "round"), 200, "")
	if h := f.want(ask{method: "HEAD", target: "/bucket/replaced"}, 200, "").header; h.Get("Content-Type") != "text/y" || h.Get("x-amz-meta-shape") != "round" || h.Get("x-amz-meta-color") != "" || h.Get("Cache-Control") != "" {
		t.Error(h)
	}
	f.want(copyAsk(source, "/bucket/kept", "x-amz-meta-shape", "round"), 200, "")
	if h := f.want(ask{method: "HEAD", target: "/bucket/kept"}, 200, "").header; h.Get("x-amz-meta-shape") != "" || h.Get("x-amz-meta-color") != "red" {
		t.Error(h)
	}
	sum := sha256.Sum256([]byte(body))
	want := base64.StdEncoding.EncodeToString(sum[:])
	if r := f.want(copyAsk(source, "/bucket/summed", "x-amz-checksum-algorithm", "SHA256"), 200, ""); !strings.Contains(r.body, "<ChecksumSHA256>"+want+"<") {
		t.Error(r.body)
	}
	if h := f.want(ask{method: "HEAD", target: "/bucket/summed", headers: []string{"x-amz-checksum-mode", "ENABLED"}}, 200, "").header; h.Get("x-amz-checksum-sha256") != want {
		t.Error(h)
	}
	itself := "/bucket/" + escapeKey(strange)
	f.want(copyAsk(source, itself), 400, "InvalidRequest")
	f.want(copyAsk(source, itself, "x-amz-metadata-directive", "REPLACE", "x-amz-meta-color", "blue"), 200, "")
	if r := f.want(ask{method: "GET", target: itself}, 200, ""); r.body != body || r.header.Get("x-amz-meta-color") != "blue" {
		t.Error(r.header)
	}
	for _, wrong := range []struct {
		a      ask
		status int
		code   string
	}{
		{copyAsk("bucket", "/bucket/x"), 400, "InvalidArgument"},
		{copyAsk("bucket/", "/bucket/x"), 400, "InvalidArgument"},
		{copyAsk("/", "/bucket/x"), 400, "InvalidArgument"},
		{copyAsk("bucket/%zz", "/bucket/x"), 400, "InvalidArgument"},
		{copyAsk("bucket/%ff", "/bucket/x"), 400, "InvalidArgument"},
		{copyAsk("BUCKET/k", "/bucket/x"), 400, "InvalidBucketName"},
		{copyAsk(source+"?versionId=abc", "/bucket/x"), 400, "InvalidArgument"},
		{copyAsk("bucket/absent", "/bucket/x"), 404, "NoSuchKey"},
		{copyAsk("no-bucket/k", "/bucket/x"), 404, "NoSuchBucket"},
		{copyAsk(source, "/no-bucket/x"), 404, "NoSuchBucket"},
		{copyAsk(source, "/bucket/x", "x-amz-metadata-directive", "copy"), 400, "InvalidArgument"},
		{copyAsk(source, "/bucket/x", "x-amz-tagging-directive", "x"), 400, "InvalidArgument"},
		{copyAsk(source, "/bucket/x", "x-amz-checksum-algorithm", "MD4"), 400, "InvalidRequest"},
		{copyAsk(source, "/bucket/x", "x-amz-storage-class", "GLACIER"), 400, "InvalidStorageClass"},
		{copyAsk(source, "/bucket/x", "x-amz-acl", "public-read"), 501, "NotImplemented"},
		{copyAsk(source, "/bucket/x", "x-amz-source-expected-bucket-owner", "somebody"), 403, "AccessDenied"},
		{copyAsk(source, "/bucket/x", "x-amz-expected-bucket-owner", "somebody"), 403, "AccessDenied"},
		{ask{method: "PUT", target: "/bucket/x", headers: []string{"x-amz-copy-source", source}, body: "x"}, 400, "UnexpectedContent"},
	} {
		f.want(wrong.a, wrong.status, wrong.code)
		f.want(ask{method: "HEAD", target: "/bucket/x"}, 404, "")
	}
}

// TestCopyConditions: source and target each have theirs, and what does not hold is 412, also where a read would say 304.
func TestCopyConditions(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	tag := f.want(ask{method: "PUT", target: "/bucket/source", body: "source"}, 200, "").header.Get("ETag")
	old := f.want(ask{method: "PUT", target: "/bucket/target", body: "old"}, 200, "").header.Get("ETag")
	past, future := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	const from = "x-amz-copy-source-"
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{from + "if-match", tag}, 200},
		{[]string{from + "if-match", `"x"`}, 412},
		{[]string{from + "if-none-match", tag}, 412},
		{[]string{from + "if-none-match", `"x"`}, 200},
		{[]string{from + "if-modified-since", past}, 200},
		{[]string{from + "if-modified-since", future}, 412},
		{[]string{from + "if-unmodified-since", past}, 412},
		{[]string{from + "if-unmodified-since", future}, 200},
		{[]string{from + "if-unmodified-since", "Fri, 31 Dec 9999 23:59:59 GMT"}, 200},
		{[]string{from + "if-modified-since", "Fri, 31 Dec 9999 23:59:59 GMT"}, 412},
		{[]string{from + "if-modified-since", "Mon, 01 Jan 0001 23:59:59 GMT"}, 200},
		{[]string{from + "if-match", tag, from + "if-unmodified-since", past}, 200},
		{[]string{from + "if-none-match", tag, from + "if-modified-since", past}, 412},
		{[]string{"if-none-match", "*"}, 412},
		{[]string{"if-match", old}, 200},
		{[]string{"if-match", `"x"`}, 412},
	} {
		f.want(ask{method: "PUT", target: "/bucket/target", body: "old"}, 200, "")
		r := f.want(copyAsk("bucket/source", "/bucket/target", c.headers...), c.status, "")
		want := "source"
		if c.status != 200 {
			want = "old"
			if r.code() != "PreconditionFailed" {
				t.Errorf("%q: %s", c.headers, r.body)
			}
		}
		if r := f.want(ask{method: "GET", target: "/bucket/target"}, 200, ""); r.body != want {
			t.Errorf("%q: the target holds %q", c.headers, r.body)
		}
	}
	f.want(copyAsk("%2Fbucket%2Fsource", "/bucket/encoded"), 200, "")
	f.want(copyAsk("bucket/source", "/bucket/nothing", "if-match", `"x"`), 404, "NoSuchKey")
	f.want(copyAsk("bucket/source", "/bucket/fresh", "if-none-match", "*"), 200, "")
}

// TestUploadPartCopy makes an object of parts that are copied and one that is put.
func TestUploadPartCopy(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	source := strings.Repeat("0123456789abcdef", 6<<20/16)
	f.want(ask{method: "PUT", target: "/bucket/source", body: source}, 200, "")
	id := f.startUpload("k", "x-amz-checksum-algorithm", "SHA256")
	copyPart := func(number int, from string, headers ...string) ask {
		a := part("k", id, number, "", append([]string{"x-amz-copy-source", from}, headers...)...)
		return a
	}
	var result struct{ ETag, LastModified, ChecksumSHA256 string }
	tags := map[int]string{}
	for number, span := range map[int][2]int{1: {100, 5<<20 + 99}, 2: {0, 6<<20 - 1}} {
		r := f.want(copyPart(number, "bucket/source", "x-amz-copy-source-range", fmt.Sprintf("bytes=%d-%d", span[0], span[1])), 200, "")
		piece := source[span[0] : span[1]+1]
		sum := sha256.Sum256([]byte(piece))
		if err := xml.Unmarshal([]byte(r.body), &result); err != nil || result.ETag != tagOf(piece) || result.ChecksumSHA256 != base64.StdEncoding.EncodeToString(sum[:]) {
			t.Errorf("%v %s", err, r.body)
		}
		tags[number] = partXML(number, result.ETag, "<ChecksumSHA256>"+result.ChecksumSHA256+"</ChecksumSHA256>")
	}
	last := f.want(part("k", id, 3, "the end"), 200, "")
	for _, wrong := range []string{"bytes=0-", "bytes=-5", "0-5", "bytes=5-3", "bytes=0-1,3-4", "bytes=a-b", "bytes=0-6291456", "bytes=99999999-99999999"} {
		f.want(copyPart(4, "bucket/source", "x-amz-copy-source-range", wrong), 400, "InvalidArgument")
	}
	f.want(copyPart(4, "bucket/absent"), 404, "NoSuchKey")
	f.want(copyPart(4, "bucket/source", "x-amz-copy-source-if-match", `"x"`), 412, "PreconditionFailed")
	f.want(copyPart(0, "bucket/source"), 400, "InvalidArgument")
	f.want(copyPart(4, "bucket/source", "x-amz-source-expected-bucket-owner", "somebody"), 403, "AccessDenied")
	f.want(ask{method: "PUT", target: "/bucket/k?partNumber=1&uploadId=" + url.QueryEscape("none"), headers: []string{"x-amz-copy-source", "bucket/source"}}, 404, "NoSuchUpload")
	lastSum := sha256.Sum256([]byte("the end"))
	f.want(complete("k", id, nil, tags[1], tags[2], partXML(3, last.header.Get("ETag"), "<ChecksumSHA256>"+base64.StdEncoding.EncodeToString(lastSum[:])+"</ChecksumSHA256>")), 200, "")
	f.want(ask{method: "DELETE", target: "/bucket/source"}, 204, "")
	if r := f.want(ask{method: "GET", target: "/bucket/k"}, 200, ""); r.body != source[100:5<<20+100]+source+"the end" {
		t.Errorf("%d bytes came back", len(r.body))
	}
}

// TestCopyNamesItsSource: of a bucket with versions the answer says which one was copied, whether or not the client did.
func TestCopyNamesItsSource(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	copied := func(query string, headers ...string) string {
		t.Helper()
		a := ask{method: "PUT", target: "/bucket/to" + query, headers: append([]string{"x-amz-copy-source", "/bucket/k"}, headers...)}
		return f.want(a, 200, "").header.Get("x-amz-copy-source-version-id")
	}
	f.want(ask{method: "PUT", target: "/bucket/k", body: "x"}, 200, "")
	if got := copied(""); got != "" {
		t.Errorf("a bucket without versions names %q", got)
	}
	f.setVersioning("Enabled")
	if got := copied(""); got != "null" {
		t.Errorf("the null version is called %q", got)
	}
	version := f.want(ask{method: "PUT", target: "/bucket/k", body: "y"}, 200, "").header.Get("x-amz-version-id")
	if got := copied(""); got != version {
		t.Errorf("version %q is called %q", version, got)
	}
	upload := f.startUpload("to")
	if got := copied("?partNumber=1&uploadId=" + upload); got != version {
		t.Errorf("version %q is called %q in the copy of a part", version, got)
	}
}
