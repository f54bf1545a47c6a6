package s3_test

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/crc64nvme"

	"holdfast/access"
	"holdfast/engine"
	"holdfast/engine/memory"
	"holdfast/gateways/s3"
)

// silent is one cell on its way: an operation with a modifier, against an engine that holds the same at the beginning of each.
type silent struct {
	t      *testing.T
	f      *fixture
	origin *memory.Engine // as every cell finds it; nobody writes to it
	vars   map[string]string
	routes map[string]*s3.RouteInfo

	untouched [32]byte // the digest of origin
	calls     int64    // of the engine before the cell

	form  form
	route *s3.RouteInfo // nil: the operation is not in the table
	m     modifier
	last  ask
	used  map[string]bool // entries of variations, free and otherwiseRefused that a cell has needed
	value string
	r     reply
}

// newSilent starts a gateway and fills its engine.
func newSilent(t *testing.T) *silent {
	e := memory.New(memory.Clock(func() time.Time { return time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC) }))
	c := &silent{t: t, origin: e, routes: operationRows(), used: map[string]bool{}}
	c.f = startWith(t, e, func(c *s3.Config) { c.Classes = []engine.StorageClass{engine.ClassReduced} })
	put := func(target, body string, headers ...string) http.Header {
		return c.f.want(ask{method: "PUT", target: target, body: body, headers: headers}, 200, "").header
	}
	for _, b := range []string{"/empty", "/plain"} {
		put(b, "")
	}
	put("/kept", "", "x-amz-bucket-object-lock-enabled", "true")
	c.f.want(ask{method: "PUT", target: "/plain?tagging", body: "<Tagging><TagSet><Tag><Key>a</Key><Value>old</Value></Tag></TagSet></Tagging>"}, 204, "")
	put("/plain/k", "old content", "content-type", "text/plain", "x-amz-meta-color", "red", "x-amz-tagging", "t=1")
	put("/plain/x", "source data", "x-amz-meta-color", "blue", "x-amz-tagging", "t=2")
	put("/plain/dir/a", "a")
	put("/plain/dir/b", "b")
	put("/plain/up", "up")
	put("/plain/zz", "zz")
	md5of := func(body string) string {
		sum := md5.Sum([]byte(body))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	v1 := put("/kept/k", "first", "content-md5", md5of("first"), "x-amz-tagging", "v=first", "x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", "2100-01-01T00:00:00Z",
		"x-amz-object-lock-legal-hold", "OFF")
	v2 := put("/kept/k", "second!", "content-md5", md5of("second!"), "x-amz-tagging", "v=second", "x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", "2120-01-01T00:00:00Z",
		"x-amz-object-lock-legal-hold", "ON")
	put("/kept/dir/a", "a")
	upload := func(key string, headers ...string) string {
		var u struct{ UploadId string }
		xml.Unmarshal([]byte(c.f.want(ask{method: "POST", target: "/plain/" + key + "?uploads", headers: headers}, 200, "").body), &u)
		return u.UploadId
	}
	upload("dir/up")
	id := upload("parts", "x-amz-checksum-algorithm", "CRC32")
	part := put("/plain/parts?partNumber=1&uploadId="+id, "part data")
	c.f.want(ask{method: "POST", target: "/plain/parts?uploadId=" + id, body: "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + part.Get("ETag") + "</ETag></Part></CompleteMultipartUpload>"}, 200, "")
	id = upload("up", "x-amz-checksum-algorithm", "CRC32", "x-amz-checksum-type", "FULL_OBJECT")
	part = put("/plain/up?partNumber=1&uploadId="+id, "part one")
	free := upload("up")
	c.vars = map[string]string{"owner": access.RootID, "upload": id, "free": free, "part": strings.Trim(part.Get("ETag"), `"`), "partcrc32": sumText([]byte("part one")),
		"v1": v1.Get("x-amz-version-id"), "v2": v2.Get("x-amz-version-id"), "source": c.etag("plain", "x"), "long": strings.Repeat("x", engine.UserMetadataBytesMax),
		"date": time.Now().UTC().Format("20060102T150405Z")}
	c.untouched = e.Digest()
	c.f.through = direct{c.f.server.Config.Handler}
	return c
}

func (c *silent) stat(bucket, key string) engine.ObjectInfo {
	info, _ := c.origin.Stat(context.Background(), engine.Ref{Bucket: engine.BucketName(bucket), Key: engine.Key(key)}, engine.StatOptions{})
	return info
}

func (c *silent) etag(bucket, key string) string { return `"` + string(c.stat(bucket, key).ETag) + `"` }

// reset gives the engine back what every cell finds.
func (c *silent) reset() { c.f.engine.Engine = c.origin.Clone() }

func (c *silent) digest() [32]byte { return c.f.engine.Engine.(*memory.Engine).Digest() }

// begin chooses the operation and the modifier of the next cell.
func (c *silent) begin(o form, m modifier) {
	c.form, c.route, c.m = o, c.routes[o.name], m
}

// fill puts what the rig knows in the place of names in braces.
func (c *silent) fill(text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	for name, value := range c.vars {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// describe computes what headers may say of a body.
func (c *silent) describe(body string) {
	b := []byte(body)
	md, s1, s2 := md5.Sum(b), sha1.Sum(b), sha256.Sum256(b)
	text := base64.StdEncoding.EncodeToString
	c.vars["md5"], c.vars["sha1"], c.vars["sha256"], c.vars["crc32"], c.vars["length"] = text(md[:]), text(s1[:]), text(s2[:]), sumText(b), itoa(len(b))
	c.vars["sha"] = hex.EncodeToString(s2[:])
	c.vars["crc32c"] = text(binary.BigEndian.AppendUint32(nil, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))))
	c.vars["crc64nvme"] = text(binary.BigEndian.AppendUint64(nil, crc64nvme.Checksum(b)))
}

func (c *silent) crc(body string) string { return sumText([]byte(body)) }

// request builds the request of the operation with a modifier of that value; v says how.
func (c *silent) request(v variation, value string) ask {
	o := c.form
	if v.target != "" {
		o.target = v.target
	}
	if v.body != "" {
		o.body = v.body
	}
	if v.plain {
		o.headers = nil
	}
	object, _, _ := strings.Cut(o.target, "?")
	bucket, key, _ := strings.Cut(strings.TrimPrefix(object, "/"), "/")
	if o.name == "PostObject" {
		key = "k"
	}
	info := c.stat(bucket, key)
	c.vars["operation"], c.vars["etag"], c.vars["size"], c.vars["modified"] = o.name, `"`+string(info.ETag)+`"`, itoa(int(info.Size)), info.Modified.UTC().Format(http.TimeFormat)
	c.vars["version"], c.vars["token"] = c.vars["v1"], base64.RawURLEncoding.EncodeToString([]byte("1:k"))
	if bucket != "kept" {
		c.vars["version"] = "null"
	}
	if o.name == "ListBuckets" {
		c.vars["token"] = base64.RawURLEncoding.EncodeToString([]byte("1:empty"))
	}
	a := ask{method: o.method, target: c.fill(o.target), body: c.fill(o.body), sign: v.sign}
	if o.name == "PostObject" {
		contentType, body := c.postBody()
		a.body, a.sign = body, func(*fixture, *http.Request, []byte) {}
		o.headers = []string{"content-type", contentType}
	}
	c.describe(a.body)
	path, rawQuery, _ := strings.Cut(a.target, "?")
	headers, query := map[string]string{}, [][2]string{}
	for pair := range strings.SplitSeq(rawQuery, "&") {
		if name, value, _ := strings.Cut(pair, "="); name != "" {
			query = append(query, [2]string{name, value})
		}
	}
	set := func(header bool, name, value string) {
		if header {
			headers[name] = value
			return
		}
		query = append(slices.DeleteFunc(query, func(p [2]string) bool { return p[0] == name }), [2]string{name, url.QueryEscape(value)})
	}
	for _, list := range [][]string{o.headers, v.with} {
		for i := 0; i < len(list); i += 2 {
			name, parameter := strings.CutPrefix(list[i], "?")
			set(!parameter, name, c.fill(list[i+1]))
		}
	}
	c.value = c.fill(value)
	switch {
	case c.m.name == "":
	case (c.m.name == "x-amz-date" || c.m.name == "x-amz-content-sha256") && o.name != "PostObject": // the signer sets them; what is not right comes behind it
		if value == c.m.bogus {
			a.change = func(r *http.Request) { r.Header.Set(c.m.name, c.value) }
		}
	default:
		set(c.m.header, c.m.name, c.value)
	}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		a.headers = append(a.headers, name, headers[name])
	}
	a.target = path
	for i, p := range query {
		a.target += string("?&"[min(i, 1)]) + p[0]
		if p[1] != "" {
			a.target += "=" + p[1]
		}
	}
	return a
}

func (c *silent) postBody() (contentType, body string) {
	fields := [][2]string{{"key", "k"}}
	signature := c.f.signedV4(`{"bucket": "plain"}, ["starts-with", "$key", ""]`)
	for _, name := range slices.Sorted(maps.Keys(signature)) {
		fields = append(fields, [2]string{name, signature[name]})
	}
	contentType, b := formBody(fields, "k", "posted")
	return contentType, string(b)
}

// send makes the request and keeps the answer for checks.
func (c *silent) send(a ask) reply {
	c.last = a
	through := c.f.through
	if c.m.name == "expect" { // net/http has a part in it
		c.f.through = nil
	}
	c.r = c.f.do(a)
	c.f.through = through
	return c.r
}

func (c *silent) again() reply { return c.f.do(c.last) }

func (c *silent) failf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("%s with %s=%q (%s %s %q): %s\n\tanswer %d %.400s", c.form.name, c.m.name, c.value, c.last.method, c.last.target, c.last.headers, fmt.Sprintf(format, args...), c.r.status, c.r.body)
}

func (c *silent) equal(what, got, want string) {
	c.t.Helper()
	if want = c.fill(want); got != want {
		c.failf("%s is %q, want %q", what, got, want)
	}
}

func (c *silent) contains(text, part string) {
	c.t.Helper()
	if part = c.fill(part); part == "" || !strings.Contains(text, part) {
		c.failf("no %q in %.400q", part, text)
	}
}

func (c *silent) lacks(text, part string) {
	c.t.Helper()
	if strings.Contains(text, part) {
		c.failf("%q in %.400q", part, text)
	}
}

func (c *silent) get(target string) reply { return c.f.do(ask{method: "GET", target: target}) }

// target is the path of the request.
func (c *silent) target() string {
	path, _, _ := strings.Cut(c.last.target, "?")
	return path
}

// made returns the head of the object that the operation made. An upload is given a part and completed first.
func (c *silent) made() http.Header {
	c.t.Helper()
	var u struct{ UploadId string }
	if c.form.name == "CreateMultipartUpload" && xml.Unmarshal([]byte(c.r.body), &u) == nil {
		part := c.f.do(ask{method: "PUT", target: c.target() + "?partNumber=1&uploadId=" + u.UploadId, body: "part"})
		done := c.f.do(ask{method: "POST", target: c.target() + "?uploadId=" + u.UploadId, body: "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" +
			part.header.Get("ETag") + "</ETag></Part></CompleteMultipartUpload>"})
		if done.status != 200 {
			c.failf("the upload is not completed: %s", done.body)
		}
	}
	r := c.f.do(ask{method: "HEAD", target: c.target(), headers: []string{"x-amz-checksum-mode", "ENABLED"}})
	if r.status != 200 {
		c.failf("what was made is not there: %d", r.status)
	}
	return r.header
}

// changed demands that the operation did something.
func (c *silent) changed() {
	c.t.Helper()
	if c.digest() == c.untouched {
		c.failf("nothing was done")
	}
}

// same demands the answer of the operation without the modifier, and the same effect.
func (c *silent) same() {
	c.t.Helper()
	got, now := c.r, c.digest()
	c.reset()
	m := c.m
	c.m = modifier{}
	want := c.f.do(c.request(variation{}, ""))
	c.m = m
	if got.status != want.status || got.code() != want.code() || c.form.method == "GET" && got.code() == "" && got.body != want.body {
		c.failf("the bare operation is answered %d %.400s", want.status, want.body)
	}
	if c.form.name != "CreateMultipartUpload" && c.form.name != "CreateBucket" && now != c.digest() {
		c.failf("the bare operation has another effect")
	}
}

// ownersOnly demands that the access control list of what was made is the one that everything has.
func (c *silent) ownersOnly() {
	c.t.Helper()
	if c.form.name != "CreateBucket" {
		c.made()
	}
	acl := c.get(c.target() + "?acl").body
	c.contains(acl, "<Permission>FULL_CONTROL</Permission>")
	c.equal("grants", itoa(strings.Count(acl, "<Grant>")), "1")
}

// direct hands requests to the handler as a server would, without a connection: there are tens of thousands of them.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	got := r.Clone(r.Context())
	got.RequestURI, got.RemoteAddr, got.Host = r.URL.RequestURI(), "192.0.2.1:1234", r.URL.Host
	if r.ContentLength > 0 || r.Method == "PUT" || r.Method == "POST" {
		got.Header["Content-Length"] = []string{itoa(int(r.ContentLength))}
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, got)
	answer := w.Result()
	for name, values := range answer.Header { // as a client reads them
		delete(answer.Header, name)
		answer.Header[http.CanonicalHeaderKey(name)] = values
	}
	return answer, nil
}

// entry finds what a table says of the modifier for this operation, or else for all.
func entry[V any](c *silent, table string, from map[string]V) (v V, special, ok bool) {
	for i, key := range []string{c.form.name + "/" + c.m.name, c.m.name} {
		if v, ok = from[key]; ok {
			c.used[table+key] = true
			return v, i == 0, true
		}
	}
	return v, false, false
}

// parameters are the names that a target has, with the value of list-type.
func parameters(target string) map[string]bool {
	names := map[string]bool{}
	_, query, _ := strings.Cut(target, "?")
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if name == "list-type" {
			name = pair
		}
		if name != "" {
			names[name] = true
		}
	}
	return names
}
