package s3_test

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

type tagList struct {
	TagSet struct{ Tag []struct{ Key, Value string } }
}

// tags returns the tags of a target as "key=value" in the order of the answer.
func (f *fixture) tags(target string) (list []string) {
	f.t.Helper()
	var t tagList
	r := f.want(ask{method: "GET", target: target}, 200, "")
	if err := xml.Unmarshal([]byte(r.body), &t); err != nil {
		f.t.Fatal(err)
	}
	for _, tag := range t.TagSet.Tag {
		list = append(list, tag.Key+"="+tag.Value)
	}
	return list
}

// tagging makes a Tagging document of keys and values.
func tagging(tags ...string) string {
	var b strings.Builder
	for i := 0; i < len(tags); i += 2 {
		fmt.Fprintf(&b, "<Tag><Key>%s</Key><Value>%s</Value></Tag>", tags[i], tags[i+1])
	}
	return "<Tagging><TagSet>" + b.String() + "</TagSet></Tagging>"
}

// many makes n tags.
func many(n int) (tags []string) {
	for i := range n {
		tags = append(tags, fmt.Sprintf("k%02d", i), "v")
	}
	return tags
}

func (f *fixture) hasTags(target string, want ...string) {
	f.t.Helper()
	if got := f.tags(target); fmt.Sprint(got) != fmt.Sprint(want) {
		f.t.Errorf("%s has the tags %q; %q are right", target, got, want)
	}
}

// upload makes an object of parts.
func (f *fixture) upload(key string, numbers []int, bodies []string, headers ...string) {
	f.t.Helper()
	id := f.startUpload(key, headers...)
	var parts []string
	for i, number := range numbers {
		parts = append(parts, partXML(number, f.want(part(key, id, number, bodies[i]), 200, "").header.Get("ETag")))
	}
	f.want(complete(key, id, nil, parts...), 200, "")
}

func TestObjectTagging(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "x", headers: []string{"x-amz-tagging", "b=2&a=%2B%20+1&c"}}, 200, "")
	f.hasTags("/bucket/k?tagging", "a=+  1", "b=2", "c=")
	if r := f.want(ask{method: "GET", target: "/bucket/k"}, 200, ""); r.header.Get("x-amz-tagging-count") != "3" {
		t.Error(r.header)
	}
	f.want(ask{method: "PUT", target: "/bucket/k?tagging", body: tagging("z", "1", "ä", "ö")}, 200, "")
	f.hasTags("/bucket/k?tagging", "z=1", "ä=ö")
	f.want(copyAsk("bucket/k", "/bucket/copied"), 200, "")
	f.hasTags("/bucket/copied?tagging", "z=1", "ä=ö")
	f.want(copyAsk("bucket/k", "/bucket/copied", "x-amz-tagging-directive", "REPLACE", "x-amz-tagging", "n=1"), 200, "")
	f.hasTags("/bucket/copied?tagging", "n=1")
	f.want(copyAsk("bucket/k", "/bucket/k", "x-amz-tagging-directive", "REPLACE"), 200, "")
	f.hasTags("/bucket/k?tagging")
	f.want(copyAsk("bucket/k", "/bucket/k", "x-amz-tagging-directive", "MOVE"), 400, "InvalidArgument")
	f.want(ask{method: "DELETE", target: "/bucket/copied?tagging"}, 204, "")
	f.hasTags("/bucket/copied?tagging")
	if r := f.want(ask{method: "HEAD", target: "/bucket/copied"}, 200, ""); r.header.Get("x-amz-tagging-count") != "" {
		t.Error(r.header)
	}
	f.upload("upload", []int{1}, []string{"part"}, "x-amz-tagging", "up=1")
	f.hasTags("/bucket/upload?tagging", "up=1")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		body := ""
		if method == "PUT" {
			body = tagging("a", "b")
		}
		f.want(ask{method: method, target: "/bucket/absent?tagging", body: body}, 404, "NoSuchKey")
		f.want(ask{method: method, target: "/bucket/k?tagging&versionId=0123456789abcdef", body: body}, 404, "NoSuchVersion")
		f.want(ask{method: method, target: "/absent/k?tagging", body: body}, 404, "NoSuchBucket")
	}
}

// TestTagsOfVersions: a version that is named has tags of its own.
func TestTagsOfVersions(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.setVersioning("Enabled")
	one := f.want(ask{method: "PUT", target: "/bucket/k", body: "1", headers: []string{"x-amz-tagging", "n=1"}}, 200, "").header.Get("x-amz-version-id")
	two := f.want(ask{method: "PUT", target: "/bucket/k", body: "2"}, 200, "").header.Get("x-amz-version-id")
	r := f.want(ask{method: "PUT", target: "/bucket/k?tagging&versionId=" + one, body: tagging("n", "one")}, 200, "")
	if r.header.Get("x-amz-version-id") != one {
		t.Error(r.header)
	}
	f.hasTags("/bucket/k?tagging&versionId="+one, "n=one")
	f.hasTags("/bucket/k?tagging&versionId=" + two)
	f.hasTags("/bucket/k?tagging")
	marker := f.want(ask{method: "DELETE", target: "/bucket/k"}, 204, "").header.Get("x-amz-version-id")
	f.want(ask{method: "GET", target: "/bucket/k?tagging"}, 404, "NoSuchKey")
	f.want(ask{method: "PUT", target: "/bucket/k?tagging&versionId=" + marker, body: tagging("n", "1")}, 405, "MethodNotAllowed")
}

// TestTagRules sends tags that S3 refuses, in a document and in the header, and finds the object as it was.
func TestTagRules(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "x", headers: []string{"x-amz-tagging", "a=1"}}, 200, "")
	long := strings.Repeat("ä", 128)
	f.want(ask{method: "PUT", target: "/bucket/fits?tagging", body: tagging(long, long+long)}, 404, "NoSuchKey")
	for _, c := range []struct{ document, code string }{
		{tagging(many(11)...), "BadRequest"},
		{tagging(long+"a", "v"), "InvalidTag"},
		{tagging("k", long+long+"a"), "InvalidTag"},
		{tagging("", "v"), "InvalidTag"},
		{tagging("k", "v", "k", "w"), "InvalidTag"},
		{tagging("a#b", "v"), "InvalidTag"},
		{tagging("k", "a&lt;b"), "InvalidTag"},
		{tagging("aws:k", "v"), "InvalidTag"},
		{"<Tagging/>", "MalformedXML"},
		{"<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>", "MalformedXML"},
		{"<Tagging><TagSet/><TagSet/></Tagging>", "MalformedXML"},
		{"<Tagging><TagSet><Label/></TagSet></Tagging>", "MalformedXML"},
		{"", "MalformedXML"},
	} {
		f.want(ask{method: "PUT", target: "/bucket/k?tagging", body: c.document}, 400, c.code)
	}
	for header, code := range map[string]string{"a=1&a=2": "InvalidArgument", "%zz=1": "InvalidArgument", "aws:a=1": "InvalidTag", "=1": "InvalidTag",
		strings.Join(strings.Split("abcdefghijk", ""), "=1&"): "BadRequest"} {
		for _, a := range []ask{
			{method: "PUT", target: "/bucket/k", body: "y", headers: []string{"x-amz-tagging", header}},
			{method: "POST", target: "/bucket/k?uploads", headers: []string{"x-amz-tagging", header}},
			copyAsk("bucket/k", "/bucket/k", "x-amz-tagging-directive", "REPLACE", "x-amz-tagging", header),
		} {
			f.want(a, 400, code)
		}
	}
	f.hasTags("/bucket/k?tagging", "a=1")
	if r := f.want(ask{method: "GET", target: "/bucket/k"}, 200, ""); r.body != "x" {
		t.Error(r.body)
	}
}

func TestBucketTagging(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "GET", target: "/bucket?tagging"}, 404, "NoSuchTagSet")
	f.want(ask{method: "PUT", target: "/bucket?tagging", body: tagging(many(50)...)}, 204, "")
	if got := f.tags("/bucket?tagging"); len(got) != 50 || got[49] != "k49=v" {
		t.Error(got)
	}
	f.want(ask{method: "PUT", target: "/bucket?tagging", body: tagging(many(51)...)}, 400, "BadRequest")
	f.want(ask{method: "PUT", target: "/bucket?tagging", body: tagging("b", "&amp;")}, 400, "InvalidTag")
	if got := f.tags("/bucket?tagging"); len(got) != 50 {
		t.Error(got)
	}
	f.want(ask{method: "DELETE", target: "/bucket?tagging"}, 204, "")
	f.want(ask{method: "GET", target: "/bucket?tagging"}, 404, "NoSuchTagSet")
	f.want(ask{method: "PUT", target: "/absent?tagging", body: tagging("a", "b")}, 404, "NoSuchBucket")
	f.want(ask{method: "GET", target: "/absent?tagging"}, 404, "NoSuchBucket")
}

// TestPartNumber reads an object that an upload made by its parts, and one that none made.
func TestPartNumber(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	large := strings.Repeat("0123456789", 600_000)
	f.upload("k", []int{1, 2, 7}, []string{large, large + "x", "last"})
	size := 2*len(large) + 5
	for number, want := range map[int]string{1: large, 2: large + "x", 7: "last"} {
		start := map[int]int{1: 0, 2: len(large), 7: 2*len(large) + 1}[number]
		for _, method := range []string{"GET", "HEAD"} {
			r := f.want(ask{method: method, target: fmt.Sprintf("/bucket/k?partNumber=%d", number)}, 206, "")
			if method == "GET" && r.body != want {
				t.Errorf("part %d has %d bytes, not %d", number, len(r.body), len(want))
			}
			if r.header.Get("x-amz-mp-parts-count") != "3" || r.header.Get("Content-Length") != fmt.Sprint(len(want)) ||
				r.header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", start, start+len(want)-1, size) {
				t.Errorf("part %d: %v", number, r.header)
			}
		}
	}
	for _, number := range []string{"3", "8", "10000"} {
		f.want(ask{method: "GET", target: "/bucket/k?partNumber=" + number}, 416, "InvalidPartNumber")
		f.want(ask{method: "HEAD", target: "/bucket/k?partNumber=" + number}, 416, "")
	}
	for _, number := range []string{"0", "-1", "10001", "x", ""} {
		f.want(ask{method: "GET", target: "/bucket/k?partNumber=" + number}, 400, "InvalidArgument")
	}
	f.want(ask{method: "GET", target: "/bucket/k?partNumber=1", headers: []string{"Range", "bytes=0-1"}}, 400, "InvalidRequest")
	f.want(ask{method: "GET", target: "/bucket/k?partNumber=1", headers: []string{"If-Match", `"x"`}}, 412, "PreconditionFailed")
	f.want(ask{method: "PUT", target: "/bucket/plain", body: "plain"}, 200, "")
	if r := f.want(ask{method: "GET", target: "/bucket/plain?partNumber=1"}, 206, ""); r.body != "plain" || r.header.Get("x-amz-mp-parts-count") != "" {
		t.Error(r.body, r.header)
	}
	f.want(ask{method: "GET", target: "/bucket/plain?partNumber=2"}, 416, "InvalidPartNumber")
	f.want(ask{method: "PUT", target: "/bucket/empty"}, 200, "")
	if r := f.want(ask{method: "GET", target: "/bucket/empty?partNumber=1"}, 206, ""); r.body != "" || r.header.Get("Content-Length") != "0" {
		t.Error(r.body, r.header)
	}
	f.want(ask{method: "GET", target: "/bucket/absent?partNumber=1"}, 404, "NoSuchKey")
}

// attributesAnswer is that of GetObjectAttributes.
type attributesAnswer struct {
	ETag, StorageClass string
	ObjectSize         *int
	Checksum           *struct{ ChecksumCRC64NVME, ChecksumCRC32, ChecksumType string }
	ObjectParts        *struct {
		PartsCount, PartNumberMarker, NextPartNumberMarker, MaxParts int
		IsTruncated                                                  bool
		Part                                                         []struct {
			PartNumber, Size int
			ChecksumCRC32    string
		}
	}
}

func (f *fixture) objectAttributes(target string, headers ...string) (a attributesAnswer) {
	f.t.Helper()
	r := f.want(ask{method: "GET", target: target, headers: headers}, 200, "")
	if err := xml.Unmarshal([]byte(r.body), &a); err != nil || r.header.Get("Last-Modified") == "" {
		f.t.Fatal(err, r.header)
	}
	return a
}

func TestGetObjectAttributes(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/plain", body: "plain"}, 200, "")
	const all = "ETag,Checksum,ObjectParts, StorageClass,ObjectSize"
	a := f.objectAttributes("/bucket/plain?attributes", "x-amz-object-attributes", all)
	if `"`+a.ETag+`"` != tagOf("plain") || a.StorageClass != "STANDARD" || *a.ObjectSize != 5 || a.ObjectParts != nil ||
		a.Checksum == nil || a.Checksum.ChecksumCRC64NVME == "" || a.Checksum.ChecksumType != "FULL_OBJECT" {
		t.Errorf("%+v", a)
	}
	a = f.objectAttributes("/bucket/plain?attributes", "x-amz-object-attributes", "ObjectSize", "x-amz-object-attributes", "ETag")
	if a.ObjectSize == nil || a.ETag == "" || a.StorageClass != "" || a.Checksum != nil {
		t.Errorf("%+v", a)
	}
	large := strings.Repeat("0123456789", 600_000)
	f.upload("k", []int{1, 2, 3}, []string{large, large, "end"}, "x-amz-checksum-algorithm", "CRC32")
	a = f.objectAttributes("/bucket/k?attributes", "x-amz-object-attributes", all)
	if p := a.ObjectParts; p == nil || p.PartsCount != 3 || len(p.Part) != 3 || p.Part[2].Size != 3 || p.Part[2].ChecksumCRC32 == "" || p.IsTruncated || p.MaxParts != 1000 {
		t.Errorf("%+v", a.ObjectParts)
	}
	if a.Checksum.ChecksumType != "COMPOSITE" || !strings.HasSuffix(a.Checksum.ChecksumCRC32, "-3") || *a.ObjectSize != 2*len(large)+3 {
		t.Errorf("%+v", a)
	}
	a = f.objectAttributes("/bucket/k?attributes", "x-amz-object-attributes", "ObjectParts", "x-amz-max-parts", "1", "x-amz-part-number-marker", "1")
	if p := a.ObjectParts; len(p.Part) != 1 || p.Part[0].PartNumber != 2 || !p.IsTruncated || p.NextPartNumberMarker != 2 || p.PartNumberMarker != 1 {
		t.Errorf("%+v", p)
	}
	f.want(ask{method: "GET", target: "/bucket/k?attributes"}, 400, "InvalidRequest")
	f.want(ask{method: "GET", target: "/bucket/k?attributes", headers: []string{"x-amz-object-attributes", "Owner"}}, 400, "InvalidArgument")
	f.want(ask{method: "GET", target: "/bucket/k?attributes", headers: []string{"x-amz-object-attributes", "ETag", "x-amz-max-parts", "x"}}, 400, "InvalidArgument")
	f.want(ask{method: "GET", target: "/bucket/absent?attributes", headers: []string{"x-amz-object-attributes", "ETag"}}, 404, "NoSuchKey")
}
