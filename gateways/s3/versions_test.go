package s3_test

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// versionList is the answer of ListObjectVersions.
type versionList struct {
	Name, NextKeyMarker, NextVersionIdMarker string
	IsTruncated                              bool
	Version, DeleteMarker                    []struct {
		Key, VersionId, ETag string
		IsLatest             bool
		Size                 int
	}
	CommonPrefixes []struct{ Prefix string }
}

func (f *fixture) versions(query string) (list versionList) {
	f.t.Helper()
	r := f.want(ask{method: "GET", target: "/bucket?versions" + query}, 200, "")
	if err := xml.Unmarshal([]byte(r.body), &list); err != nil {
		f.t.Fatal(err)
	}
	return list
}

func (f *fixture) setVersioning(status string) {
	f.t.Helper()
	f.want(ask{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>" + status + "</Status></VersioningConfiguration>"}, 200, "")
	if r := f.want(ask{method: "GET", target: "/bucket?versioning"}, 200, ""); !strings.Contains(r.body, "<Status>"+status+"</Status>") {
		f.t.Error(r.body)
	}
}

// TestVersioning follows a key through versions, a delete marker and deletions for good.
func TestVersioning(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	if r := f.want(ask{method: "GET", target: "/bucket?versioning"}, 200, ""); strings.Contains(r.body, "Status") {
		t.Error(r.body)
	}
	if r := f.want(ask{method: "PUT", target: "/bucket/k", body: "null"}, 200, ""); r.header.Get("x-amz-version-id") != "" {
		t.Error("a bucket without versioning names a version")
	}
	f.setVersioning("Enabled")
	var ids []string
	for i := range 3 {
		ids = append(ids, f.want(ask{method: "PUT", target: "/bucket/k", body: fmt.Sprint("body", i)}, 200, "").header.Get("x-amz-version-id"))
	}
	gone := f.want(ask{method: "DELETE", target: "/bucket/k"}, 204, "")
	marker := gone.header.Get("x-amz-version-id")
	if gone.header.Get("x-amz-delete-marker") != "true" || marker == "" {
		t.Error(gone.header)
	}
	for _, method := range []string{"GET", "HEAD"} {
		code := ""
		if method == "GET" {
			code = "NoSuchKey"
		}
		if r := f.want(ask{method: method, target: "/bucket/k"}, 404, code); r.header.Get("x-amz-delete-marker") != "true" || r.header.Get("x-amz-version-id") != marker {
			t.Error(r.header)
		}
		if code != "" {
			code = "MethodNotAllowed"
		}
		if r := f.want(ask{method: method, target: "/bucket/k?versionId=" + marker}, 405, code); r.header.Get("x-amz-delete-marker") != "true" || r.header.Get("Allow") != "DELETE" || r.header.Get("Last-Modified") == "" {
			t.Error(r.header)
		}
	}
	for i, id := range append(ids, "null") {
		want := fmt.Sprint("body", i)
		if id == "null" {
			want = "null"
		}
		if r := f.want(ask{method: "GET", target: "/bucket/k?versionId=" + id}, 200, ""); r.body != want || r.header.Get("x-amz-version-id") != id {
			t.Errorf("version %s: %q %v", id, r.body, r.header)
		}
	}
	list := f.versions("")
	if len(list.Version) != 4 || len(list.DeleteMarker) != 1 || list.DeleteMarker[0].VersionId != marker || !list.DeleteMarker[0].IsLatest || list.Version[0].IsLatest {
		t.Errorf("%+v", list)
	}
	if r := f.want(ask{method: "GET", target: "/bucket"}, 200, ""); strings.Contains(r.body, "<Key>") {
		t.Error(r.body)
	}
	f.want(ask{method: "DELETE", target: "/bucket"}, 409, "BucketNotEmpty")
	f.want(copyAsk("bucket/k", "/bucket/x"), 404, "NoSuchKey")
	f.want(copyAsk("bucket/k?versionId="+marker, "/bucket/x"), 400, "InvalidRequest")
	copied := f.want(copyAsk("bucket/k?versionId="+ids[0], "/bucket/x"), 200, "")
	if copied.header.Get("x-amz-copy-source-version-id") != ids[0] || copied.header.Get("x-amz-version-id") == "" {
		t.Error(copied.header)
	}
	if r := f.want(ask{method: "GET", target: "/bucket/x"}, 200, ""); r.body != "body0" {
		t.Error(r.body)
	}
	if r := f.want(ask{method: "DELETE", target: "/bucket/k?versionId=" + marker}, 204, ""); r.header.Get("x-amz-delete-marker") != "true" || r.header.Get("x-amz-version-id") != marker {
		t.Error(r.header)
	}
	if r := f.want(ask{method: "GET", target: "/bucket/k"}, 200, ""); r.body != "body2" {
		t.Error(r.body)
	}
	f.want(ask{method: "DELETE", target: "/bucket/k?versionId=" + ids[2]}, 204, "")
	if r := f.want(ask{method: "GET", target: "/bucket/k"}, 200, ""); r.body != "body1" || r.header.Get("x-amz-version-id") != ids[1] {
		t.Error(r.body)
	}
	f.want(ask{method: "GET", target: "/bucket/k?versionId=" + ids[2]}, 404, "NoSuchVersion")
	f.want(ask{method: "DELETE", target: "/bucket/k?versionId=" + ids[2]}, 204, "")
	f.setVersioning("Suspended")
	if r := f.want(ask{method: "PUT", target: "/bucket/k", body: "second null"}, 200, ""); r.header.Get("x-amz-version-id") != "" {
		t.Error(r.header)
	}
	if list := f.versions("&prefix=k"); len(list.Version) != 3 || list.Version[0].VersionId != "null" || list.Version[0].Size != len("second null") {
		t.Errorf("%+v", list)
	}
}

// TestDeleteObjectsWithVersions makes and removes delete markers by the list.
func TestDeleteObjectsWithVersions(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.setVersioning("Enabled")
	id := f.want(ask{method: "PUT", target: "/bucket/a", body: "a"}, 200, "").header.Get("x-amz-version-id")
	type deleted struct {
		Key, VersionId, DeleteMarkerVersionId string
		DeleteMarker                          bool
	}
	remove := func(objects string) (result struct{ Deleted []deleted }) {
		document := "<Delete>" + objects + "</Delete>"
		r := f.want(ask{method: "POST", target: "/bucket?delete", body: document, headers: []string{"Content-MD5", md5Of(document)}}, 200, "")
		if err := xml.Unmarshal([]byte(r.body), &result); err != nil {
			t.Fatal(err)
		}
		return result
	}
	made := remove("<Object><Key>a</Key></Object>").Deleted
	if len(made) != 1 || !made[0].DeleteMarker || made[0].DeleteMarkerVersionId == "" || made[0].VersionId != "" {
		t.Fatalf("%+v", made)
	}
	marker := made[0].DeleteMarkerVersionId
	gone := remove("<Object><Key>a</Key><VersionId>" + marker + "</VersionId></Object><Object><Key>a</Key><VersionId>" + id + "</VersionId></Object>").Deleted
	if want := []deleted{{"a", marker, marker, true}, {"a", id, "", false}}; fmt.Sprint(gone) != fmt.Sprint(want) {
		t.Errorf("%+v", gone)
	}
	f.want(ask{method: "DELETE", target: "/bucket"}, 204, "")
}

// TestListObjectVersions pages through versions with every length of page.
func TestListObjectVersions(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.setVersioning("Enabled")
	for _, key := range []string{"a", "a/b", "a/c", "b ä"} {
		for range 3 {
			f.want(ask{method: "PUT", target: "/bucket/" + url.PathEscape(key), body: key}, 200, "")
		}
	}
	f.want(ask{method: "DELETE", target: "/bucket/a"}, 204, "")
	for length := 1; length < 8; length++ {
		seen, marker := map[string]bool{}, ""
		for more := true; more; {
			list := f.versions(fmt.Sprintf("&encoding-type=url&max-keys=%d%s", length, marker))
			if n := len(list.Version) + len(list.DeleteMarker); n > length || n == 0 {
				t.Fatalf("a page of %d has %d", length, n)
			}
			for _, v := range append(list.Version, list.DeleteMarker...) {
				seen[v.Key+"?"+v.VersionId] = true
			}
			marker = "&key-marker=" + list.NextKeyMarker + "&version-id-marker=" + list.NextVersionIdMarker
			more = list.IsTruncated
		}
		if len(seen) != 13 {
			t.Errorf("pages of %d give %d versions", length, len(seen))
		}
	}
	if list := f.versions("&delimiter=/"); len(list.CommonPrefixes) != 1 || len(list.Version) != 6 || len(list.DeleteMarker) != 1 {
		t.Errorf("%+v", list)
	}
	for _, wrong := range []string{"&version-id-marker=null", "&key-marker=a&version-id-marker=abc", "&max-keys=-1", "&encoding-type=x"} {
		f.want(ask{method: "GET", target: "/bucket?versions" + wrong}, 400, "InvalidArgument")
	}
	f.want(ask{method: "GET", target: "/absent?versions"}, 404, "NoSuchBucket")
	f.want(ask{method: "GET", target: "/bucket/a?versionId="}, 400, "InvalidArgument")
	for _, wrong := range []struct {
		document, code string
		status         int
	}{
		{"", "MalformedXML", 400}, {"<VersioningConfiguration/>", "IllegalVersioningConfigurationException", 400},
		{"<VersioningConfiguration><Status>Off</Status></VersioningConfiguration>", "IllegalVersioningConfigurationException", 400},
		{"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>", "NotImplemented", 501},
		{"<VersioningConfiguration><Other/></VersioningConfiguration>", "MalformedXML", 400},
	} {
		f.want(ask{method: "PUT", target: "/bucket?versioning", body: wrong.document}, wrong.status, wrong.code)
	}
}
