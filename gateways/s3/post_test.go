package s3_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/gateways/s3"
)

// formBody writes a form of the fields in order, then the file.
func formBody(fields [][2]string, filename, file string) (contentType string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, field := range fields {
		w.WriteField(field[0], field[1])
	}
	part, _ := w.CreateFormFile("file", filename)
	io.WriteString(part, file)
	w.Close()
	return w.FormDataContentType(), b.Bytes()
}

// post uploads a file with the fields of a signature and further ones, pairs of name and value.
func (f *fixture) post(target string, signature map[string]string, file string, fields ...string) reply {
	f.t.Helper()
	var all [][2]string
	for i := 0; i < len(fields); i += 2 {
		all = append(all, [2]string{fields[i], fields[i+1]})
	}
	for _, name := range slices.Sorted(maps.Keys(signature)) {
		all = append(all, [2]string{name, signature[name]})
	}
	contentType, body := formBody(all, "photo.jpg", file)
	return f.do(formAsk(target, contentType, body))
}

func formAsk(target, contentType string, body []byte) ask {
	return ask{method: "POST", target: target, body: string(body), headers: []string{"Content-Type", contentType}, sign: func(*fixture, *http.Request, []byte) {}}
}

// policy returns a policy in base64 that lasts a minute; conditions are as in JSON.
func policy(conditions string) string {
	return policyUntil(time.Now().Add(time.Minute), conditions)
}

func policyUntil(until time.Time, conditions string) string {
	return base64.StdEncoding.EncodeToString([]byte(`{"expiration": "` + until.UTC().Format("2006-01-02T15:04:05.000Z") + `", "conditions": [` + conditions + `]}`))
}

// signedV4 signs a policy and adds the conditions that Version 4 asks for.
func (f *fixture) signedV4(conditions string) map[string]string {
	when := time.Now()
	if conditions != "" {
		conditions += ", "
	}
	conditions += fmt.Sprintf(`{"x-amz-algorithm": "AWS4-HMAC-SHA256"}, {"x-amz-credential": %q}, {"x-amz-date": %q}`, f.signer.FormCredential(when), when.UTC().Format("20060102T150405Z"))
	return f.signer.SignPolicy(policy(conditions), when)
}

// anyKey are conditions that let pass most of what the tests send.
const anyKey = `{"bucket": "bucket"}, ["starts-with", "$key", ""]`

func (f *fixture) wantPost(r reply, status int, code string) reply {
	f.t.Helper()
	if r.status != status || code != "" && r.code() != code {
		f.t.Errorf("got %d %s, want %d %s", r.status, r.body, status, code)
	}
	return r
}

func TestPost(t *testing.T) {
	f := start(t, func(c *s3.Config) { c.Domains = []string{"s3.example.com"} })
	f.bucket("bucket")
	large := strings.Repeat("0123456789abcdef", 1<<16)
	for name, signature := range map[string]map[string]string{"4": f.signedV4(anyKey), "2": f.signer.SignPolicyV2(policy(anyKey))} {
		for _, file := range []string{"", "hello", large[:8<<10], large[:8<<10+1], large} {
			r := f.wantPost(f.post("/bucket", signature, file, "key", "user/${filename}"), 204, "")
			if r.body != "" || r.header.Get("ETag") == "" || r.header.Get("Location") != f.server.URL+"/bucket/user/photo.jpg" {
				t.Errorf("version %s: %v", name, r)
			}
			if got := f.want(ask{method: "GET", target: "/bucket/user/photo.jpg", headers: []string{"X-Amz-Checksum-Mode", "ENABLED"}}, 200, ""); got.body != file || got.header.Get("ETag") != r.header.Get("ETag") ||
				got.header.Get("X-Amz-Checksum-Crc64nvme") == "" || got.header.Get("Content-Type") != "binary/octet-stream" {
				t.Errorf("version %s: %d bytes, %v", name, len(got.body), got.header)
			}
		}
	}
	r := f.wantPost(f.post("/bucket/", f.signedV4(anyKey+`, ["starts-with", "$success_action_status", ""]`), "x", "Key", "a b", "Success_Action_Status", "201"), 201, "")
	if !strings.Contains(r.body, "<PostResponse><Location>"+f.server.URL+"/bucket/a%20b</Location><Bucket>bucket</Bucket><Key>a b</Key><ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;</ETag></PostResponse>") {
		t.Error(r.body)
	}
	for status, want := range map[string]int{"200": 200, "204": 204, "404": 204, "": 204} {
		f.wantPost(f.post("/bucket", f.signedV4(anyKey+`, ["starts-with", "$success_action_status", ""]`), "x", "key", "k", "success_action_status", status), want, "")
	}
	for field, c := range map[string][2]string{
		"success_action_redirect": {"http://example.com/done?a=b", "http://example.com/done?a=b&bucket=bucket&key=k+%C3%BC&etag=%229dd4e461268c8034f5c8564e155c67a6%22"},
		"redirect":                {"https://example.com/", "https://example.com/?bucket=bucket&key=k+%C3%BC&etag=%229dd4e461268c8034f5c8564e155c67a6%22"},
	} {
		r := f.wantPost(f.post("/bucket", f.signedV4(anyKey+`, ["starts-with", "$`+field+`", "http"]`), "x", "key", "k ü", field, c[0]), 303, "")
		if r.header.Get("Location") != c[1] {
			t.Error(r.header.Get("Location"))
		}
	}
	for _, target := range []string{"javascript:alert(1)", "/relative", "http://", "http://a\x01b/"} {
		f.wantPost(f.post("/bucket", f.signedV4(anyKey+`, ["starts-with", "$success_action_redirect", ""]`), "x", "key", "k", "success_action_redirect", target), 204, "")
	}
	signature := f.signedV4(anyKey)
	fields := [][2]string{{"key", "hosted"}}
	for name, value := range signature {
		fields = append(fields, [2]string{name, value})
	}
	contentType, body := formBody(fields, "x", "hosted")
	f.want(at("bucket.s3.example.com", formAsk("/", contentType, body)), 204, "")
	if r := f.want(ask{method: "GET", target: "/bucket/hosted"}, 200, ""); r.body != "hosted" {
		t.Error(r.body)
	}
}

// TestPostFields has the fields that say what the object is.
func TestPostFields(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	var conditions strings.Builder
	conditions.WriteString(anyKey)
	for _, name := range []string{"acl", "Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires", "Content-MD5", "x-amz-meta-a", "tagging",
		"x-amz-tagging", "x-amz-storage-class", "x-amz-server-side-encryption", "utf8", "x-amz-website-redirect-location", "x-amz-security-token"} {
		fmt.Fprintf(&conditions, `, ["starts-with", "$%s", ""]`, name)
	}
	signature := f.signedV4(conditions.String())
	fields := []string{"key", "k", "acl", "private", "Content-Type", "text/html; charset=utf-8", "Cache-Control", "no-cache", "Content-Disposition", `attachment; filename="ü"`, "Content-Encoding", "gzip",
		"Content-Language", "de", "Expires", "Thu, 01 Dec 1994 16:00:00 GMT", "Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==", "X-Amz-Meta-A", "one", "x-amz-storage-class", "STANDARD",
		"utf8", "✓", "x-ignore-me", "x", "x-amz-checksum-crc32c", "mnG7TA==",
		"tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>b</Key><Value>2</Value></Tag></TagSet></Tagging>"}
	r := f.wantPost(f.post("/bucket", signature, "hello", fields...), 204, "")
	if r.header.Get("X-Amz-Checksum-Crc32c") != "mnG7TA==" {
		t.Error(r.header)
	}
	h := f.want(ask{method: "HEAD", target: "/bucket/k", headers: []string{"X-Amz-Checksum-Mode", "ENABLED"}}, 200, "").header
	for name, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-cache", "Content-Disposition": `attachment; filename="ü"`, "Content-Encoding": "gzip",
		"Content-Language": "de", "Expires": "Thu, 01 Dec 1994 16:00:00 GMT", "X-Amz-Meta-A": "one", "X-Amz-Tagging-Count": "2", "X-Amz-Checksum-Crc32c": "mnG7TA=="} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	f.wantPost(f.post("/bucket", signature, "hello", "key", "tagged", "x-amz-tagging", "a=1"), 204, "")
	before := f.engine.calls.Load()
	for _, c := range []struct {
		status int
		code   string
		fields []string
	}{
		{501, "NotImplemented", []string{"acl", "public-read"}}, {400, "InvalidStorageClass", []string{"x-amz-storage-class", "GLACIER"}},
		{501, "NotImplemented", []string{"x-amz-server-side-encryption", "AES256"}}, {501, "NotImplemented", []string{"x-amz-website-redirect-location", "/x"}},
		{400, "InvalidToken", []string{"x-amz-security-token", "x"}}, {400, "InvalidDigest", []string{"Content-MD5", "x"}}, {400, "InvalidRequest", []string{"x-amz-checksum-crc32c", "sailorjerry"}},
		{400, "BadDigest", []string{"x-amz-checksum-crc32c", "AAAAAA=="}}, {400, "InvalidRequest", []string{"x-amz-checksum-crc32c", "AAAAAA==", "x-amz-checksum-crc32", "AAAAAA=="}},
		{501, "NotImplemented", []string{"x-amz-checksum-md4", "x"}}, {400, "MalformedXML", []string{"tagging", "x"}}, {400, "InvalidArgument", []string{"x-amz-tagging", "a=1&a=2"}},
		{400, "InvalidTag", []string{"x-amz-tagging", "aws:a=1"}},
		{400, "InvalidArgument", []string{"x-amz-tagging", "a=1", "tagging", "<Tagging><TagSet></TagSet></Tagging>"}}, {400, "InvalidArgument", []string{"Content-Type", "a\r\nb"}},
		{400, "MetadataTooLarge", []string{"x-amz-meta-a", strings.Repeat("a", 3000)}}, {400, "InvalidArgument", []string{"bucket", "other"}}, {400, "InvalidArgument", []string{"acl", "private", "ACL", "private"}},
		{403, "AccessDenied", []string{"x-amz-meta-b", "1"}}, {403, "AccessDenied", []string{"unknown", "1"}}, {400, "MaxPostPreDataLengthExceeded", []string{"utf8", strings.Repeat("a", 30<<10)}},
	} {
		f.wantPost(f.post("/bucket", signature, "hello", append([]string{"key", "refused"}, c.fields...)...), c.status, c.code)
	}
	if calls := f.engine.calls.Load(); calls != before {
		t.Errorf("%d calls reached the engine", calls-before)
	}
	f.wantPost(f.post("/bucket", signature, "hellx", "key", "refused", "Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="), 400, "BadDigest")
	f.wantPost(f.post("/bucket", signature, strings.Repeat("x", 1<<20), "key", "refused", "x-amz-checksum-crc32c", "AAAAAA=="), 400, "BadDigest")
	f.want(ask{method: "GET", target: "/bucket/refused"}, 404, "NoSuchKey")
}

// TestPostPolicy holds forms against their policies.
func TestPostPolicy(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.bucket("other")
	before := f.engine.calls.Load()
	key := []string{"key", "user/k"}
	for _, c := range []struct {
		conditions string
		target     string
		fields     []string
		status     int
		code, text string
	}{
		{`{"bucket": "bucket"}, ["starts-with", "$key", "other/"]`, "/bucket", key, 403, "AccessDenied", `Invalid according to Policy: Policy Condition failed: ["starts-with", "$key", "other/"]`},
		{`["starts-with", "$key", "user/"]`, "/bucket", []string{"key", "user/k", "x-amz-meta-a", "1"}, 403, "AccessDenied", "Invalid according to Policy: Extra input fields: x-amz-meta-a"},
		{anyKey, "/other", key, 403, "AccessDenied", "$bucket"},
		{anyKey, "/other", []string{"key", "k", "bucket", "bucket"}, 403, "AccessDenied", "$bucket"},
		{`["eq", "$key", "user/${filename}"]`, "/bucket", []string{"key", "user/${filename}"}, 403, "AccessDenied", "$key"},
		{`{"bucket": "bucket"}`, "/bucket", key, 403, "AccessDenied", "Extra input fields: key"},
		{`{"bucket": "bucket"}`, "/bucket", nil, 400, "InvalidArgument", "must contain a field named 'key'"},
		{anyKey, "/bucket", []string{"key", ""}, 400, "InvalidArgument", "length greater than 0"},
		{anyKey, "/bucket", []string{"key", strings.Repeat("k", 1025)}, 400, "KeyTooLongError", ""},
		{anyKey, "/bucket", []string{"key", "\xff"}, 400, "InvalidURI", ""},
		{anyKey + `, ["ends-with", "$key", "x"]`, "/bucket", key, 400, "InvalidPolicyDocument", "unknown operation"},
		{anyKey + `, {}`, "/bucket", key, 400, "InvalidPolicyDocument", "exactly one property"},
		{anyKey + `, ["content-length-range", 0]`, "/bucket", key, 400, "InvalidPolicyDocument", ""},
		{anyKey + `, ["content-length-range", 0, 4]`, "/bucket", key, 400, "EntityTooLarge", "<MaxSizeAllowed>4</MaxSizeAllowed>"},
		{anyKey + `, ["content-length-range", 6, 10]`, "/bucket", key, 400, "EntityTooSmall", "<ProposedSize>5</ProposedSize><MinSizeAllowed>6</MinSizeAllowed>"},
		{anyKey + `, ["content-length-range", 1000000, 1000001]`, "/bucket", key, 400, "EntityTooSmall", ""},
		{`["starts-with", "$key", ""]`, "/minio", key, 400, "InvalidBucketName", ""},
	} {
		for version, signature := range map[string]map[string]string{"4": f.signedV4(c.conditions), "2": f.signer.SignPolicyV2(policy(c.conditions))} {
			if r := f.post(c.target, signature, "hello", c.fields...); r.status != c.status || r.code() != c.code || !strings.Contains(strings.ReplaceAll(r.body, "&quot;", `"`), c.text) {
				t.Errorf("version %s, %s %.50q: %d %s", version, c.conditions, c.fields, r.status, r.body)
			}
		}
	}
	expired := f.signer.SignPolicyV2(policyUntil(time.Now().Add(-time.Second), anyKey))
	if r := f.wantPost(f.post("/bucket", expired, "x", key...), 403, "AccessDenied"); !strings.Contains(r.body, "Policy expired.") {
		t.Error(r.body)
	}
	good := f.signedV4(anyKey)
	wrong := maps.Clone(good)
	wrong["x-amz-signature"] = strings.Repeat("0", 64)
	f.wantPost(f.post("/bucket", wrong, "x", key...), 403, "SignatureDoesNotMatch")
	f.wantPost(f.post("/bucket", nil, "x", key...), 403, "AccessDenied")
	f.wantPost(f.post("/bucket", map[string]string{"policy": policy(anyKey)}, "x", key...), 400, "InvalidArgument")
	other := f.signer
	other.SecretKey = "another"
	f.wantPost(f.post("/bucket", other.SignPolicyV2(policy(anyKey)), "x", key...), 403, "SignatureDoesNotMatch")
	f.wantPost(f.post("/bucket", f.signer.SignPolicyV2("e30="), "x", key...), 400, "InvalidPolicyDocument")
	if calls := f.engine.calls.Load(); calls != before {
		t.Errorf("%d calls reached the engine", calls-before)
	}
	// too large and too small for what is kept in one piece: the engine has begun, and leaves nothing
	large := strings.Repeat("x", 1<<20)
	f.wantPost(f.post("/bucket", f.signedV4(anyKey+`, ["content-length-range", 0, 1048575]`), large, key...), 400, "EntityTooLarge")
	f.wantPost(f.post("/bucket", f.signedV4(anyKey+`, ["content-length-range", 1048577, 2000000]`), large, append(key, "x-ignore-a", strings.Repeat("a", 2000))...), 400, "EntityTooSmall")
	f.want(ask{method: "GET", target: "/bucket/user/k"}, 404, "NoSuchKey")
	f.wantPost(f.post("/bucket", f.signedV4(anyKey+`, ["content-length-range", 1048576, 1048576]`), large, key...), 204, "")
	f.wantPost(f.post("/absent", f.signedV4(`["starts-with", "$key", ""]`), "x", key...), 404, "NoSuchBucket")
}

// TestPostForm has requests that are no whole forms, and what HTTP says beside the form.
func TestPostForm(t *testing.T) {
	f := start(t, slow)
	f.bucket("bucket")
	var fields [][2]string
	for name, value := range f.signedV4(anyKey) {
		fields = append(fields, [2]string{name, value})
	}
	contentType, body := formBody(append(fields, [2]string{"key", "k"}), "x", strings.Repeat("x", 100<<10))
	with := func(headers ...string) ask {
		a := formAsk("/bucket", contentType, body)
		a.headers = append(a.headers, headers...)
		return a
	}
	for _, c := range []struct {
		a      ask
		status int
		code   string
	}{
		{with("X-Amz-Acl", "private"), 501, "NotImplemented"}, {with("X-Amz-Meta-A", "x"), 501, "NotImplemented"}, {with("Content-Md5", "x"), 501, "NotImplemented"},
		{with("X-Amz-Expected-Bucket-Owner", "x"), 403, "AccessDenied"}, {with("If-Match", `"x"`), 404, "NoSuchKey"}, {with("If-None-Match", `"`), 400, "InvalidArgument"},
		{with("Authorization", "AWS a:b"), 403, "AccessDenied"},
		{formAsk("/bucket?x", contentType, body), 403, "AccessDenied"}, {formAsk("/bucket?delete", contentType, body), 403, "AccessDenied"}, {formAsk("/bucket/k", contentType, body), 403, "AccessDenied"},
		{formAsk("/", contentType, body), 403, "AccessDenied"}, {formAsk("/bucket", "text/plain", body), 403, "AccessDenied"}, {formAsk("/bucket", "multipart/form-data", body), 400, "MalformedPOSTRequest"},
		{formAsk("/bucket", contentType, body[:len(body)/2]), 400, "MalformedPOSTRequest"}, {formAsk("/bucket", contentType, nil), 400, "MalformedPOSTRequest"},
		{ask{method: "POST", target: "/bucket", body: string(body), headers: []string{"Content-Type", contentType}}, 400, "InvalidArgument"},
		{ask{method: "POST", target: "/bucket", body: string(body), headers: []string{"Content-Type", contentType}, sign: signQuery}, 400, "InvalidArgument"},
		{ask{method: "PUT", target: "/bucket", body: string(body), headers: []string{"Content-Type", contentType}, sign: func(*fixture, *http.Request, []byte) {}}, 403, "AccessDenied"},
	} {
		f.want(c.a, c.status, c.code)
	}
	head := "POST /bucket HTTP/1.1\r\nHost: x\r\nContent-Type: " + contentType + "\r\n"
	t.Run("the connection breaks", func(t *testing.T) {
		for _, n := range []int{0, 100, 1000, len(body) / 2, len(body) - 10} {
			c := f.dial()
			c.write(head + "Content-Length: " + itoa(len(body)) + "\r\n\r\n" + string(body[:n]))
			c.conn.(interface{ CloseWrite() error }).CloseWrite()
			c.answer(400, "IncompleteBody", true)
		}
	})
	t.Run("the connection hangs", func(t *testing.T) {
		c := f.dial()
		c.write(head + "Content-Length: " + itoa(len(body)) + "\r\n\r\n" + string(body[:len(body)-1]))
		c.answer(400, "RequestTimeout", true)
	})
	t.Run("no length", func(t *testing.T) {
		c := f.dial()
		c.write(head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
		c.answer(411, "MissingContentLength", false)
	})
	t.Run("too long", func(t *testing.T) {
		c := f.dial()
		c.write(head + "Content-Length: 6000000000\r\n\r\n")
		c.answer(400, "EntityTooLarge", true)
	})
	f.want(ask{method: "GET", target: "/bucket/k"}, 404, "NoSuchKey")
	t.Run("refused before the body is asked for", func(t *testing.T) {
		c := f.dial()
		c.write(head + "X-Amz-Acl: private\r\nExpect: 100-continue\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n")
		c.answer(501, "NotImplemented", true)
	})
	t.Run("the body is asked for", func(t *testing.T) {
		c := f.dial()
		c.write(head + "If-None-Match: *\r\nExpect: 100-continue\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n")
		if line, err := c.in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatal(line, err)
		}
		c.in.ReadString('\n')
		c.write(string(body))
		c.answer(204, "", false)
	})
	f.want(with("If-None-Match", "*"), 412, "PreconditionFailed")
	// what follows the file is passed over
	after := strings.Replace(string(body), "--\r\n", "\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nother\r\n"+"--"+contentType[strings.Index(contentType, "=")+1:]+"--\r\n", 1)
	f.want(formAsk("/bucket", contentType, []byte(after)), 204, "")
	f.want(ask{method: "GET", target: "/bucket/other"}, 404, "NoSuchKey")
}

// TestPostFilename has names with folders, as some browsers send them.
func TestPostFilename(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	for filename, want := range map[string]string{`C:\photos\a b.jpg`: "a b.jpg", "/home/me/ü.jpg": "ü.jpg", "..": "..", "a/": "", "x": "x"} {
		var fields [][2]string
		for name, value := range f.signedV4(anyKey) {
			fields = append(fields, [2]string{name, value})
		}
		contentType, body := formBody(append(fields, [2]string{"key", "u/${filename}/${filename}"}), "x", "hello")
		body = bytes.Replace(body, []byte(`filename="x"`), []byte(`filename="`+filename+`"`), 1)
		f.want(formAsk("/bucket", contentType, body), 204, "")
		f.want(ask{method: "GET", target: "/bucket/" + url.PathEscape("u/"+want+"/"+want)}, 200, "")
	}
}

// TestPostLock uploads under object lock.
func TestPostLock(t *testing.T) {
	f := start(t)
	f.want(ask{method: "PUT", target: "/bucket", headers: []string{"X-Amz-Bucket-Object-Lock-Enabled", "true"}}, 200, "")
	signature := f.signedV4(anyKey + `, ["starts-with", "$x-amz-object-lock-legal-hold", ""], ["starts-with", "$Content-MD5", ""]`)
	f.wantPost(f.post("/bucket", signature, "hello", "key", "k", "x-amz-object-lock-legal-hold", "ON"), 400, "InvalidRequest")
	f.wantPost(f.post("/bucket", signature, "hello", "key", "k", "x-amz-object-lock-legal-hold", "MAYBE", "Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="), 400, "InvalidArgument")
	r := f.wantPost(f.post("/bucket", signature, "hello", "key", "k", "x-amz-object-lock-legal-hold", "ON", "Content-MD5", "XUFAKrxLKna5cZ2REBfFkg=="), 204, "")
	f.want(ask{method: "DELETE", target: "/bucket/k?versionId=" + r.header.Get("X-Amz-Version-Id")}, 403, "AccessDenied")
}
