package s3_test

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
)

// withMD5 adds the digest of the body, which a write with a lock needs.
func withMD5(a ask) ask {
	sum := md5.Sum([]byte(a.body))
	a.headers = append(a.headers, "content-md5", base64.StdEncoding.EncodeToString(sum[:]))
	return a
}

func retentionBody(mode string, until time.Time) string {
	return "<Retention><Mode>" + mode + "</Mode><RetainUntilDate>" + until.UTC().Format(time.RFC3339) + "</RetainUntilDate></Retention>"
}

// TestObjectLock follows a version under retention and legal hold, and says what keeps it.
func TestObjectLock(t *testing.T) {
	f := start(t)
	f.want(ask{method: "PUT", target: "/bucket", headers: []string{"x-amz-bucket-object-lock-enabled", "true"}}, 200, "")
	for target, want := range map[string]string{"?object-lock": "<ObjectLockEnabled>Enabled</ObjectLockEnabled>", "?versioning": "<Status>Enabled</Status>"} {
		if r := f.want(ask{method: "GET", target: "/bucket" + target}, 200, ""); !strings.Contains(r.body, want) || strings.Contains(r.body, "Rule") {
			t.Error(r.body)
		}
	}
	f.want(ask{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"}, 409, "InvalidBucketState")
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	lock := []string{"x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", until.UTC().Format(time.RFC3339), "x-amz-object-lock-legal-hold", "OFF"}
	f.want(ask{method: "PUT", target: "/bucket/k", body: "x", headers: lock}, 400, "InvalidRequest") // nothing vouches for the body
	version := f.want(withMD5(ask{method: "PUT", target: "/bucket/k", body: "x", headers: lock}), 200, "").header.Get("x-amz-version-id")
	at := "versionId=" + version
	for _, method := range []string{"GET", "HEAD"} {
		r := f.want(ask{method: method, target: "/bucket/k?" + at}, 200, "")
		if h := r.header; h.Get("x-amz-object-lock-mode") != "GOVERNANCE" || h.Get("x-amz-object-lock-legal-hold") != "OFF" ||
			h.Get("x-amz-object-lock-retain-until-date") != until.UTC().Format("2006-01-02T15:04:05.000Z") {
			t.Errorf("%s: %v", method, h)
		}
	}
	f.want(ask{method: "DELETE", target: "/bucket/k?" + at}, 403, "AccessDenied")
	f.want(ask{method: "DELETE", target: "/bucket/k"}, 204, "") // a marker hides it
	r := f.want(withMD5(ask{method: "POST", target: "/bucket?delete", body: "<Delete><Object><Key>k</Key><VersionId>" + version + "</VersionId></Object></Delete>"}), 200, "")
	if !strings.Contains(r.body, "<Code>AccessDenied</Code>") {
		t.Error(r.body)
	}
	put := func(sub, body string, status int, code string, headers ...string) {
		t.Helper()
		f.want(withMD5(ask{method: "PUT", target: "/bucket/k?" + sub + "&" + at, body: body, headers: headers}), status, code)
	}
	bypass := []string{"x-amz-bypass-governance-retention", "true"}
	put("retention", retentionBody("GOVERNANCE", until.Add(-time.Minute)), 403, "AccessDenied")
	put("retention", retentionBody("GOVERNANCE", until.Add(time.Hour)), 200, "")
	put("retention", retentionBody("GOVERNANCE", until), 200, "", bypass...)
	put("retention", "<Retention/>", 403, "AccessDenied")
	put("retention", retentionBody("GOVERNANCE", time.Now().Add(-time.Hour)), 400, "InvalidArgument")
	for _, wrong := range []string{retentionBody("governance", until), "<Retention><Mode>GOVERNANCE</Mode></Retention>", "<Retention><Until/></Retention>",
		"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>soon</RetainUntilDate></Retention>", "<Hold/>", ""} {
		put("retention", wrong, 400, "MalformedXML")
	}
	if r := f.want(ask{method: "GET", target: "/bucket/k?retention&" + at}, 200, ""); !strings.Contains(r.body, "<Mode>GOVERNANCE</Mode><RetainUntilDate>"+until.UTC().Format("2006-01-02T15:04:05.000Z")) {
		t.Error(r.body)
	}
	put("legal-hold", "<LegalHold><Status>ON</Status></LegalHold>", 200, "")
	if r := f.want(ask{method: "GET", target: "/bucket/k?legal-hold&" + at}, 200, ""); !strings.Contains(r.body, "<Status>ON</Status>") {
		t.Error(r.body)
	}
	f.want(ask{method: "DELETE", target: "/bucket/k?" + at, headers: bypass}, 403, "AccessDenied")
	for _, wrong := range []string{"<LegalHold><Status>on</Status></LegalHold>", "<LegalHold/>", "<LegalHold><Hold>ON</Hold></LegalHold>"} {
		put("legal-hold", wrong, 400, "MalformedXML")
	}
	put("legal-hold", "<LegalHold><Status>OFF</Status></LegalHold>", 200, "")
	f.want(ask{method: "DELETE", target: "/bucket/k?" + at, headers: bypass}, 204, "")

	plain := f.want(ask{method: "PUT", target: "/bucket/plain", body: "x"}, 200, "").header.Get("x-amz-version-id")
	for _, sub := range []string{"retention", "legal-hold"} {
		f.want(ask{method: "GET", target: "/bucket/plain?" + sub}, 404, "NoSuchObjectLockConfiguration")
		f.want(ask{method: "GET", target: "/bucket/absent?" + sub}, 404, "NoSuchKey")
	}
	f.want(ask{method: "DELETE", target: "/bucket/plain?versionId=" + plain}, 204, "")
}

// TestObjectLockConfiguration sets the retention that versions get without one of their own.
func TestObjectLockConfiguration(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "x"}, 200, "")
	f.want(ask{method: "GET", target: "/bucket?object-lock"}, 404, "ObjectLockConfigurationNotFoundError")
	rule := func(inner string) string {
		return "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>" + inner + "</ObjectLockConfiguration>"
	}
	days := rule("<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>3</Days></DefaultRetention></Rule>")
	set := func(body string, status int, code string) {
		t.Helper()
		f.want(withMD5(ask{method: "PUT", target: "/bucket?object-lock", body: body}), status, code)
	}
	set(days, 409, "InvalidBucketState")
	for _, sub := range []string{"retention", "legal-hold"} {
		f.want(ask{method: "GET", target: "/bucket/k?" + sub}, 400, "InvalidRequest")
	}
	f.want(withMD5(ask{method: "PUT", target: "/bucket/k?legal-hold", body: "<LegalHold><Status>ON</Status></LegalHold>"}), 400, "InvalidRequest")
	f.want(withMD5(ask{method: "PUT", target: "/bucket/k", body: "x", headers: []string{"x-amz-object-lock-legal-hold", "ON"}}), 400, "InvalidRequest")
	f.setVersioning("Enabled")
	for _, wrong := range []string{"<ObjectLockConfiguration/>", "<ObjectLockConfiguration><ObjectLockEnabled>Disabled</ObjectLockEnabled></ObjectLockConfiguration>",
		rule("<Rule/>"), rule("<Rule><DefaultRetention><Mode>COMPLIANCE</Mode></DefaultRetention></Rule>"),
		rule("<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days><Years>1</Years></DefaultRetention></Rule>"),
		rule("<Rule><DefaultRetention><Mode>abc</Mode><Days>1</Days></DefaultRetention></Rule>"),
		rule("<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>x</Days></DefaultRetention></Rule>"), rule("<Other/>")} {
		set(wrong, 400, "MalformedXML")
	}
	for _, wrong := range []string{"<Days>0</Days>", "<Days>-1</Days>", "<Years>0</Years>", "<Years>101</Years>", "<Days>36501</Days>"} {
		set(rule("<Rule><DefaultRetention><Mode>GOVERNANCE</Mode>"+wrong+"</DefaultRetention></Rule>"), 400, "InvalidArgument")
	}
	f.want(ask{method: "GET", target: "/bucket?object-lock"}, 404, "ObjectLockConfigurationNotFoundError")
	set(days, 200, "")
	if r := f.want(ask{method: "GET", target: "/bucket?object-lock"}, 200, ""); !strings.Contains(r.body, "<Mode>COMPLIANCE</Mode><Days>3</Days>") {
		t.Error(r.body)
	}
	f.want(ask{method: "PUT", target: "/bucket/new", body: "x"}, 200, "")
	h := f.want(ask{method: "HEAD", target: "/bucket/new"}, 200, "").header
	got, err := time.Parse(time.RFC3339Nano, h.Get("x-amz-object-lock-retain-until-date"))
	if in := time.Until(got); err != nil || h.Get("x-amz-object-lock-mode") != "COMPLIANCE" || in < 71*time.Hour || in > 72*time.Hour {
		t.Errorf("%v, %v", h, err)
	}
	if h := f.want(ask{method: "HEAD", target: "/bucket/k"}, 200, "").header; h.Get("x-amz-object-lock-mode") != "" {
		t.Error("a version from before has a retention")
	}
}

// TestAppend writes behind an object by x-amz-write-offset-bytes.
func TestAppend(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	at := func(offset int, body string) ask {
		return ask{method: "PUT", target: "/bucket/log", body: body, headers: []string{"x-amz-write-offset-bytes", fmt.Sprint(offset), "x-amz-checksum-crc32", crcOf(body)}}
	}
	f.want(at(3, "x"), 404, "NoSuchKey")
	f.want(at(0, "one, "), 200, "")
	r := f.want(at(5, "two"), 200, "")
	if h := r.header; h.Get("x-amz-object-size") != "8" || h.Get("x-amz-checksum-crc32") != crcOf("one, two") || !strings.HasSuffix(h.Get("etag"), `-2"`) {
		t.Error(h)
	}
	f.want(at(5, "x"), 400, "InvalidWriteOffset")
	f.want(at(0, "x"), 400, "InvalidWriteOffset")
	wrong := at(8, "x")
	wrong.headers[3] = crcOf("y")
	f.want(wrong, 400, "BadDigest")
	tagged := at(8, "x")
	tagged.headers = append(tagged.headers, "x-amz-tagging", "a=b")
	f.want(tagged, 400, "InvalidArgument")
	locked := at(8, "x")
	locked.headers = append(locked.headers, "x-amz-object-lock-legal-hold", "ON")
	f.want(locked, 400, "InvalidRequest")
	if r := f.want(ask{method: "GET", target: "/bucket/log", headers: []string{"x-amz-checksum-mode", "ENABLED"}}, 200, ""); r.body != "one, two" || r.header.Get("x-amz-checksum-crc32") != crcOf("one, two") {
		t.Error(r.body, r.header)
	}
	if r := f.want(ask{method: "GET", target: "/bucket/log?partNumber=2"}, 206, ""); r.body != "two" || r.header.Get("x-amz-mp-parts-count") != "2" {
		t.Error(r.body, r.header)
	}
	f.setVersioning("Enabled")
	f.want(at(8, "x"), 409, "InvalidBucketState")
}

// TestRename renames objects and prefixes.
func TestRename(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/a/one", body: "1", headers: []string{"x-amz-meta-m", "v"}}, 200, "")
	f.want(ask{method: "PUT", target: "/bucket/a/two", body: "2"}, 200, "")
	rename := func(to, from string, headers ...string) ask {
		return ask{method: "PUT", target: "/bucket/" + to + "?renameObject", headers: append([]string{"x-amz-rename-source", from}, headers...)}
	}
	f.want(rename("b/%20x", "/bucket/a/one", "x-amz-client-token", "token"), 200, "")
	f.want(rename("b/%20x", "bucket/a/one", "x-amz-client-token", "token"), 200, "") // again
	f.want(rename("b/%20x", "bucket/a/one"), 404, "NoSuchKey")
	f.want(ask{method: "GET", target: "/bucket/a/one"}, 404, "NoSuchKey")
	if r := f.want(ask{method: "GET", target: "/bucket/b/%20x"}, 200, ""); r.body != "1" || r.header.Get("x-amz-meta-m") != "v" {
		t.Error(r.body, r.header)
	}
	f.want(rename("a/two", "/bucket/b/%20x", "if-none-match", "*"), 412, "PreconditionFailed")
	f.want(rename("a/two", "/bucket/b/%20x", "x-amz-rename-source-if-match", `"x"`), 412, "PreconditionFailed")
	f.want(rename("b/%20x", "/bucket/b/%20x"), 400, "InvalidRequest")
	f.want(rename("c/", "/bucket/b/%20x"), 400, "InvalidRequest")

	prefix := func(to, from string) ask {
		return ask{method: "PUT", target: "/bucket/" + to + "?renamePrefix", headers: []string{"x-amz-rename-source", from}}
	}
	if r := f.want(prefix("c/d/", "/bucket/b/"), 200, ""); !strings.Contains(r.body, "<Objects>1</Objects><Versions>1</Versions><Bytes>1</Bytes>") {
		t.Error(r.body)
	}
	f.want(prefix("a/", "/bucket/c/d/"), 409, "OperationAborted")
	f.want(prefix("a/x/", "/bucket/a/"), 400, "InvalidRequest")
	f.want(prefix("x", "/bucket/a/"), 400, "InvalidRequest")
	f.want(prefix("x/", "/bucket/nothing/"), 404, "NoSuchKey")
	if r := f.want(ask{method: "GET", target: "/bucket?list-type=2"}, 200, ""); !strings.Contains(r.body, "<Key>a/two</Key>") || !strings.Contains(r.body, "<Key>c/d/ x</Key>") ||
		!strings.Contains(r.body, "<KeyCount>2</KeyCount>") {
		t.Error(r.body)
	}
	f.setVersioning("Enabled")
	f.want(rename("x", "/bucket/a/two"), 409, "InvalidBucketState")
	f.want(prefix("moved/", "/bucket/a/"), 200, "")
}
