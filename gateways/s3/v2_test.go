package s3_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast/gateways/s3"
	"holdfast/gateways/s3/sigv4"
)

// TestV2CoversOperations demands that Version 2 covers every parameter that tells an operation from others. list-type is the exception that clients
// force: it makes no other operation than a listing of a listing.
func TestV2CoversOperations(t *testing.T) {
	for _, rt := range s3.Routes() {
		for _, need := range rt.Need {
			if name, _, _ := strings.Cut(need, "="); name != "list-type" && !sigv4.CoveredByV2(name) {
				t.Errorf("%s: Version 2 does not cover %s", rt.Name, name)
			}
		}
	}
}

func TestV2(t *testing.T) {
	f := start(t, func(c *s3.Config) { c.Domains = []string{"s3.example.com"} })
	f.want(ask{method: "PUT", target: "/bucket", sign: signV2}, 200, "")
	f.want(ask{method: "PUT", target: "/bucket/a%20b//%C3%BC", body: "hello", headers: []string{"X-Amz-Meta-A", " one ", "Content-Type", "text/x"}, sign: signV2}, 200, "")
	r := f.want(ask{method: "GET", target: "/bucket/a%20b//%C3%BC?response-content-type=text%2Fy%3B%20a%3Db", sign: presignV2}, 200, "")
	if r.body != "hello" || r.header.Get("X-Amz-Meta-A") != "one" || r.header.Get("Content-Type") != "text/y; a=b" {
		t.Errorf("%v", r)
	}
	f.want(ask{method: "PUT", target: "/bucket/md5", body: "hello", headers: []string{"Content-Md5", "XUFAKrxLKna5cZ2REBfFkg=="}, sign: signV2}, 200, "")
	f.want(ask{method: "PUT", target: "/bucket/md5", body: "hellx", headers: []string{"Content-Md5", "XUFAKrxLKna5cZ2REBfFkg=="}, sign: signV2}, 400, "BadDigest")
	f.want(ask{method: "PUT", target: "/bucket/md5", body: "hello", headers: []string{"Content-Md5", "x"}, sign: signV2}, 400, "InvalidDigest")
	digest := sigv4.PayloadHash([]byte("hello"))
	f.want(ask{method: "PUT", target: "/bucket/digest", body: "hello", headers: []string{"X-Amz-Content-Sha256", digest}, sign: signV2}, 200, "")
	f.want(ask{method: "PUT", target: "/bucket/digest", body: "hellx", headers: []string{"X-Amz-Content-Sha256", digest}, sign: signV2}, 400, "XAmzContentSHA256Mismatch")

	// what stands for headers in a presigned URL is one
	f.want(ask{method: "PUT", target: "/bucket/hoisted?x-amz-meta-a=two&content-type=text%2Fz&content-md5=XUFAKrxLKna5cZ2REBfFkg%3D%3D", body: "hello", sign: presignV2}, 200, "")
	r = f.want(ask{method: "HEAD", target: "/bucket/hoisted", sign: signV2}, 200, "")
	if r.header.Get("X-Amz-Meta-A") != "two" || r.header.Get("Content-Type") != "text/z" {
		t.Errorf("%v", r.header)
	}
	f.want(ask{method: "PUT", target: "/bucket/hoisted?content-md5=XUFAKrxLKna5cZ2REBfFkg%3D%3D", body: "hellx", sign: presignV2}, 400, "BadDigest")
	f.want(ask{method: "PUT", target: "/bucket/hoisted?x-amz-acl=public-read", body: "hello", sign: presignV2}, 501, "NotImplemented")
	f.want(ask{method: "PUT", target: "/bucket/hoisted?x-amz-acl=private", body: "hello", sign: signV2}, 501, "NotImplemented")
	f.want(ask{method: "PUT", target: "/bucket/hoisted?x-amz-acl=private", body: "hello", headers: []string{"X-Amz-Acl", "bucket-owner-full-control"}, sign: presignV2}, 400, "InvalidRequest")

	hosted := func(f *fixture, r *http.Request, _ []byte) {
		r.Host = "bucket.s3.example.com"
		if err := f.signer.SignV2(r, "bucket", time.Now()); err != nil {
			f.t.Fatal(err)
		}
	}
	f.want(ask{method: "GET", target: "/md5", sign: hosted}, 200, "")
	f.want(ask{method: "GET", target: "/?list-type=2&prefix=a", sign: hosted}, 200, "")
	f.want(ask{method: "GET", target: "/md5", sign: hosted, change: func(r *http.Request) { r.Host = "other.s3.example.com" }}, 403, "SignatureDoesNotMatch")
	f.want(ask{method: "GET", target: "/bucket/md5", sign: func(f *fixture, r *http.Request, _ []byte) { f.signer.PresignV2(r, "", time.Now().Add(-time.Minute)) }}, 403, "AccessDenied")
}

func TestV2Refused(t *testing.T) {
	f := start(t, func(c *s3.Config) { c.RefuseV2 = true })
	f.bucket("bucket")
	for _, sign := range []func(*fixture, *http.Request, []byte){signV2, presignV2} {
		f.want(ask{method: "GET", target: "/bucket", sign: sign}, 400, "InvalidRequest")
	}
	if r := f.post("/bucket", f.signer.SignPolicyV2("e30="), "content", "key", "k"); r.code() != "InvalidRequest" {
		t.Errorf("a form: %d %s", r.status, r.body)
	}
}
