package wire

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestDoc(t *testing.T) {
	d := NewDoc("Root")
	d.Open("A")
	d.Text("Key", "a<b>&\"'\x01\r\n\tä")
	d.Int("N", -5)
	d.Bool("B", true)
	d.TextIf("Absent", "")
	d.Time("T", time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.FixedZone("x", 3600)))
	want := `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<Root xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><A><Key>a&lt;b&gt;&amp;&quot;'&#x1;&#xd;` +
		"\n\tä</Key><N>-5</N><B>true</B><T>2026-01-02T02:04:05.678Z</T></A></Root>"
	if got := string(d.Bytes()); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestErrorBody(t *testing.T) {
	body := ErrorBody("NoSuchKey", Message("NoSuchKey"), "/b/k", "R", "H", []Field{{"Key", "a&b"}})
	var e struct{ Code, Message, Key, Resource, RequestId, HostId string }
	if err := xml.Unmarshal(body, &e); err != nil || e.Code != "NoSuchKey" || e.Key != "a&b" || e.Resource != "/b/k" || e.RequestId != "R" || e.HostId != "H" {
		t.Fatalf("%s: %+v %v", body, e, err)
	}
	if Status("NoSuchKey") != 404 || Status("?") != 500 || Known("?") {
		t.Fatal("statuses")
	}
}

func TestURLEncode(t *testing.T) {
	for s, want := range map[string]string{"a/b c+d%\x01": "a/b+c%2Bd%25%01", "": "", "ä": "%C3%A4"} {
		if got := URLEncode(s); got != want {
			t.Errorf("%q: %q", s, got)
		}
	}
}

func TestParseDelete(t *testing.T) {
	d, err := ParseDelete([]byte(`<?xml version="1.0"?><!-- c --><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
		<Quiet>true</Quiet><Object><Key>a &amp; b</Key><VersionId>null</VersionId></Object>
		<Object><Key>c</Key><ETag>"x"</ETag><Size>5</Size><LastModifiedTime>Fri, 24 May 2013 00:00:00 GMT</LastModifiedTime></Object></Delete>`))
	if err != nil || !d.Quiet || len(d.Objects) != 2 {
		t.Fatal(d, err)
	}
	if o := d.Objects[0]; o.Key != "a & b" || o.Version != "null" || o.Size != nil {
		t.Fatal(o)
	}
	if o := d.Objects[1]; o.ETag != `"x"` || *o.Size != 5 || o.Modified.Year() != 2013 {
		t.Fatal(o)
	}
	many := func(n int) string {
		return "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", n) + "</Delete>"
	}
	if d, err := ParseDelete([]byte(many(1000))); err != nil || len(d.Objects) != 1000 {
		t.Fatal(err)
	}
	for _, s := range []string{"", "x", "<Delete/>", many(1001), "<Delete><Object/></Delete>", "<Delete><Object><Key>k</Key><Force>1</Force></Object></Delete>",
		"<Delete><Object><Key>k</Key></Object>", "<Other/>", "<Delete><Object><Key>k</Key></Object></Delete><Delete/>",
		"<Delete><Object><Key>k</Key></Object></Delete>x", "<!DOCTYPE x [<!ENTITY e 'x'>]><Delete><Object><Key>&e;</Key></Object></Delete>",
		"<Delete><Object><Key><B/></Key></Object></Delete>", "<Delete><Object><Key>k</Key><Size>-1</Size></Object></Delete>",
		"<Delete><Object><Key>k</Key><Size>x</Size></Object></Delete>", "<Delete><Object><Key>k</Key><LastModifiedTime>x</LastModifiedTime></Object></Delete>",
		"<Delete>x<Object><Key>k</Key></Object></Delete>", "<Delete><Object><Key>&#1;</Key></Object></Delete>",
	} {
		var m *Malformed
		if _, err := ParseDelete([]byte(s)); !errors.As(err, &m) {
			t.Errorf("%.60q: %v", s, err)
		}
	}
}

func TestParseComplete(t *testing.T) {
	parts, err := ParseComplete([]byte(`<CompleteMultipartUpload><Part><ETag>"a"</ETag><PartNumber>1</PartNumber><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part></CompleteMultipartUpload>`))
	if err != nil || len(parts) != 1 || parts[0].Number != 1 || parts[0].ETag != `"a"` || parts[0].Checksums["CRC32"] != "AAAAAA==" {
		t.Fatal(parts, err)
	}
	var b strings.Builder
	for i := range PartsMax {
		fmt.Fprintf(&b, "<Part><ETag>a</ETag><PartNumber>%d</PartNumber></Part>", i+1)
	}
	if parts, err := ParseComplete([]byte("<CompleteMultipartUpload>" + b.String() + "</CompleteMultipartUpload>")); err != nil || len(parts) != PartsMax {
		t.Fatal(err)
	}
	for _, s := range []string{"", "<CompleteMultipartUpload/>", "<CompleteMultipartUpload><Part><ETag>a</ETag></Part></CompleteMultipartUpload>",
		"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
		"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>",
		"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag><ChecksumMD4>a</ChecksumMD4></Part></CompleteMultipartUpload>",
		"<CompleteMultipartUpload>" + b.String() + "<Part><ETag>a</ETag><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
	} {
		if _, err := ParseComplete([]byte(s)); err == nil {
			t.Errorf("%.80q was accepted", s)
		}
	}
}

func TestParseCreateBucket(t *testing.T) {
	for s, want := range map[string]CreateBucket{
		"": {}, " \n": {}, "<CreateBucketConfiguration/>": {},
		"<CreateBucketConfiguration><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>":                {Location: "eu"},
		"<CreateBucketConfiguration><Bucket><Type>Directory</Type></Bucket></CreateBucketConfiguration>":                    {Unsupported: "Bucket"},
		"<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value>b</Value></Tag><Tag/></Tags></CreateBucketConfiguration>": {Unsupported: "Tags"},
	} {
		if got, err := ParseCreateBucket([]byte(s)); err != nil || got != want {
			t.Errorf("%q: %+v %v", s, got, err)
		}
	}
	deep := "<CreateBucketConfiguration>" + strings.Repeat("<a>", 1000) + strings.Repeat("</a>", 1000) + "</CreateBucketConfiguration>"
	if _, err := ParseCreateBucket([]byte(deep)); err == nil {
		t.Error("deep nesting was accepted")
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`<Delete><Quiet>true</Quiet><Object><Key>a</Key><ETag>"x"</ETag></Object></Delete>`))
	f.Add([]byte(`<CompleteMultipartUpload><Part><ETag>a</ETag><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>`))
	f.Add([]byte(`<CreateBucketConfiguration><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>`))
	f.Add([]byte(`<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>`))
	f.Add([]byte(`<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>`))
	f.Add([]byte(`<LegalHold><Status>ON</Status></LegalHold>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := ParseDelete(b); err == nil && (len(d.Objects) == 0 || len(d.Objects) > DeleteKeysMax) {
			t.Fatalf("%d objects", len(d.Objects))
		}
		if p, err := ParseComplete(b); err == nil && (len(p) == 0 || len(p) > PartsMax) {
			t.Fatalf("%d parts", len(p))
		}
		ParseCreateBucket(b)
		ParseVersioning(b)
		ParseTagging(b)
		ParseObjectLock(b)
		ParseRetention(b)
		ParseLegalHold(b)
	})
}

// FuzzKeys writes a key into a document and reads it back, in both ways that a listing can carry it.
func FuzzKeys(f *testing.F) {
	f.Add("a/b&<>\"' \u2028")
	f.Fuzz(func(t *testing.T, key string) {
		if back, err := url.QueryUnescape(URLEncode(key)); err != nil || back != key {
			t.Fatalf("%q became %q", key, back)
		}
		d := NewDoc("R")
		d.Text("Key", key)
		var r struct{ Key string }
		if err := xml.Unmarshal(d.Bytes(), &r); err != nil {
			if !utf8.ValidString(key) || strings.ContainsFunc(key, func(c rune) bool { return c < 0x20 || c >= 0xfffe && c <= 0xffff }) {
				return
			}
			t.Fatal(err)
		}
		if utf8.ValidString(key) && r.Key != key {
			t.Fatalf("%q became %q", key, r.Key)
		}
	})
}
