package s3_test

import (
	"encoding/xml"
	"strings"
	"testing"
)

var forced = []string{"x-minio-force-delete", "true"}

// TestForceDeleteBucket: with MinIO's header a bucket goes with all that it holds, but for what a legal hold keeps.
func TestForceDeleteBucket(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/a/b", body: "x"}, 200, "")
	f.want(ask{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}, 200, "")
	f.want(ask{method: "DELETE", target: "/bucket/a/b"}, 204, "")
	f.want(ask{method: "POST", target: "/bucket/up?uploads"}, 200, "")
	for _, headers := range [][]string{nil, {"x-minio-force-delete", "false"}} {
		f.want(ask{method: "DELETE", target: "/bucket", headers: headers}, 409, "BucketNotEmpty")
	}
	f.want(ask{method: "DELETE", target: "/bucket", headers: []string{"x-minio-force-delete", "TRUE"}}, 204, "")
	f.want(ask{method: "DELETE", target: "/bucket", headers: forced}, 404, "NoSuchBucket")
	f.bucket("bucket")
	if r := f.want(ask{method: "GET", target: "/bucket?versions"}, 200, ""); strings.Contains(r.body, "<Key>") {
		t.Errorf("the new bucket holds %s", r.body)
	}

	f.want(ask{method: "PUT", target: "/locked", headers: []string{"x-amz-bucket-object-lock-enabled", "true"}}, 200, "")
	f.want(ask{method: "PUT", target: "/locked/k", body: "held", headers: []string{"x-amz-object-lock-legal-hold", "ON", "content-md5", "tLlvHHxDLSJ7IZHDnXyQKQ=="}}, 400, "BadDigest")
	f.want(ask{method: "PUT", target: "/locked/k", body: "held", headers: []string{"x-amz-object-lock-legal-hold", "ON", "x-amz-checksum-crc32", sumText([]byte("held"))}}, 200, "")
	f.want(ask{method: "DELETE", target: "/locked", headers: forced}, 403, "AccessDenied")
	f.want(ask{method: "DELETE", target: "/locked/k", headers: forced}, 403, "AccessDenied")
	if r := f.want(ask{method: "GET", target: "/locked/k"}, 200, ""); r.body != "held" {
		t.Errorf("the object under hold is %q", r.body)
	}
}

// TestForceDeleteObject: with MinIO's header the key goes and all that it is a prefix of, as a path.
func TestForceDeleteObject(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	fill := func() {
		for _, key := range []string{"a", "a/", "a/b", "a/b/c", "a0", "ab", "b/a"} {
			f.want(ask{method: "PUT", target: "/bucket/" + key, body: key}, 200, "")
		}
	}
	has := func(want string) {
		t.Helper()
		var list struct{ Version, DeleteMarker []struct{ Key string } }
		if err := xml.Unmarshal([]byte(f.want(ask{method: "GET", target: "/bucket?versions"}, 200, "").body), &list); err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, v := range append(list.Version, list.DeleteMarker...) {
			keys = append(keys, v.Key)
		}
		if got := strings.Join(keys, " "); got != want {
			t.Fatalf("the bucket holds %q, not %q", got, want)
		}
	}
	force := func(key string) { f.want(ask{method: "DELETE", target: "/bucket/" + key, headers: forced}, 204, "") }
	fill()
	force("a/b/c/nothing")
	force("nothing/")
	has("a a/ a/b a/b/c a0 ab b/a")
	force("a/b")
	has("a a/ a0 ab b/a")
	fill()
	force("a/")
	has("a a0 ab b/a")
	fill()
	f.want(ask{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}, 200, "")
	fill()
	f.want(ask{method: "DELETE", target: "/bucket/a"}, 204, "")
	force("a")
	has("a0 a0 ab ab b/a b/a")

	for _, headers := range [][]string{{"if-match", "*"}, {"x-amz-if-match-size", "1"}, {"x-amz-bypass-governance-retention", "true"}} {
		f.want(ask{method: "DELETE", target: "/bucket/ab", headers: append(headers, forced...)}, 400, "InvalidRequest")
	}
	f.want(ask{method: "DELETE", target: "/bucket/ab?versionId=null", headers: forced}, 400, "InvalidRequest")
	f.want(ask{method: "DELETE", target: "/nobody/ab", headers: forced}, 404, "NoSuchBucket")
	has("a0 a0 ab ab b/a b/a")
}
