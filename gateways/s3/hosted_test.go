package s3_test

import (
	"net/http"
	"strings"
	"testing"

	"holdfast/engine"
	"holdfast/gateways/s3"
)

func TestBucketOf(t *testing.T) {
	g := s3.New(s3.Config{Domains: []string{"example.com", "s3.example.com"}})
	for host, want := range map[string]engine.BucketName{
		"b.s3.example.com": "b", "B.S3.Example.COM:9000": "b", "a.b.s3.example.com": "a.b", "b.s3.example.com.": "b", "s3.example.com": "", "example.com": "",
		"example.com:9000": "", "b.example.com": "b", "xexample.com": "", "localhost:9000": "", "127.0.0.1:9000": "", "[::1]:9000": "", "": "", ".s3.example.com": "",
	} {
		if got := g.BucketOf(host); got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

// at makes a request for another host than the one that it goes to.
func at(host string, a ask) ask {
	sign := a.sign
	if sign == nil {
		sign = signHeader
	}
	a.sign = func(f *fixture, r *http.Request, body []byte) {
		r.Host = host
		sign(f, r, body)
	}
	return a
}

// TestVirtualHost works on a bucket by its host, and finds the same by the path.
func TestVirtualHost(t *testing.T) {
	f := start(t, func(c *s3.Config) { c.Domains = []string{"s3.example.com"} })
	const host = "bucket.s3.example.com:9000"
	f.want(at(host, ask{method: "PUT", target: "/"}), 200, "")
	f.want(at(host, ask{method: "PUT", target: "/a%2Fb//c", body: "hosted"}), 200, "")
	f.want(at(host, ask{method: "PUT", target: "/bucket/k", body: "a key that looks like a path"}), 200, "")
	f.want(at(host, ask{method: "PUT", target: "/minio/health/live", body: "a key like any other"}), 200, "")
	for target, want := range map[string]string{"/bucket/a/b//c": "hosted", "/bucket/bucket/k": "a key that looks like a path", "/bucket/minio/health/live": "a key like any other"} {
		for _, host := range []string{"s3.example.com", "elsewhere"} {
			if r := f.want(at(host, ask{method: "GET", target: target}), 200, ""); r.body != want {
				t.Errorf("%s: %q", target, r.body)
			}
		}
	}
	if r := f.want(at(host, ask{method: "GET", target: "/?list-type=2&delimiter=/"}), 200, ""); !strings.Contains(r.body, "<Prefix>a/</Prefix>") || !strings.Contains(r.body, "<Name>bucket</Name>") {
		t.Error(r.body)
	}
	if r := f.want(at(host, ask{method: "GET", target: "/bucket/k", sign: signQuery}), 200, ""); r.body != "a key that looks like a path" {
		t.Error(r.body)
	}
	f.want(at("other.s3.example.com", ask{method: "GET", target: "/bucket/k"}), 404, "NoSuchBucket")
	f.want(at("Not_A_Bucket.s3.example.com", ask{method: "GET", target: "/k"}), 400, "InvalidBucketName")
	f.want(at(host, ask{method: "GET", target: "/a/b//c", change: func(r *http.Request) { r.Host = "other.s3.example.com" }}), 403, "SignatureDoesNotMatch")
	if r := f.want(at("s3.example.com", ask{method: "GET", target: "/"}), 200, ""); !strings.Contains(r.body, "<Name>bucket</Name>") {
		t.Error(r.body)
	}
}
