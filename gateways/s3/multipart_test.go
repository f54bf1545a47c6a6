package s3_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func (f *fixture) startUpload(key string, headers ...string) string {
	f.t.Helper()
	var u struct{ Bucket, Key, UploadId string }
	r := f.want(ask{method: "POST", target: "/bucket/" + escapeKey(key) + "?uploads", headers: headers}, 200, "")
	if err := xml.Unmarshal([]byte(r.body), &u); err != nil || u.UploadId == "" || u.Bucket != "bucket" {
		f.t.Fatal(err, r.body)
	}
	return u.UploadId
}

func part(key, id string, number int, body string, headers ...string) ask {
	return ask{method: "PUT", target: fmt.Sprintf("/bucket/%s?partNumber=%d&uploadId=%s", escapeKey(key), number, url.QueryEscape(id)), body: body, headers: headers}
}

func complete(key, id string, headers []string, parts ...string) ask {
	return ask{method: "POST", target: "/bucket/" + escapeKey(key) + "?uploadId=" + url.QueryEscape(id), headers: headers,
		body: "<CompleteMultipartUpload>" + strings.Join(parts, "") + "</CompleteMultipartUpload>"}
}

func partXML(number int, tag string, more ...string) string {
	return fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>", number, tag, strings.Join(more, ""))
}

func TestMultipart(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	first, last := strings.Repeat("0123456789abcdef", 5<<20/16), "the end"
	id := f.startUpload("dir/k", "Content-Type", "text/x", "x-amz-meta-a", "b")
	one := f.want(part("dir/k", id, 1, first), 200, "").header.Get("ETag")
	two := f.want(part("dir/k", id, 2, last, "Content-MD5", md5Of(last)), 200, "").header.Get("ETag")
	if one != tagOf(first) || two != tagOf(last) {
		t.Fatal(one, two)
	}
	f.want(part("dir/k", id, 2, last, "Content-MD5", md5Of("x")), 400, "BadDigest")
	f.want(part("dir/k", id, 0, last), 400, "InvalidArgument")
	f.want(part("dir/k", id, 10001, last), 400, "InvalidArgument")
	f.want(part("dir/k", "../../dir/k", 1, last), 404, "NoSuchUpload")
	f.want(part("other", id, 1, last), 404, "NoSuchUpload")
	f.want(ask{method: "GET", target: "/bucket/dir/k"}, 404, "NoSuchKey")
	var parts struct {
		Part []struct {
			PartNumber, Size int
			ETag             string
		}
		IsTruncated          bool
		NextPartNumberMarker int
	}
	list := ask{method: "GET", target: "/bucket/dir/k?max-parts=1&uploadId=" + url.QueryEscape(id)}
	r := f.want(list, 200, "")
	if err := xml.Unmarshal([]byte(r.body), &parts); err != nil || len(parts.Part) != 1 || parts.Part[0].Size != 5<<20 || !parts.IsTruncated || parts.NextPartNumberMarker != 1 {
		t.Errorf("%v %s", err, r.body)
	}
	list.target += "&part-number-marker=1"
	if r := f.want(list, 200, ""); !strings.Contains(r.body, "<PartNumber>2</PartNumber>") || strings.Contains(r.body, "<PartNumber>1</PartNumber>") {
		t.Error(r.body)
	}
	f.want(ask{method: "GET", target: "/bucket/dir/k?uploadId=none"}, 404, "NoSuchUpload")
	f.want(complete("dir/k", id, nil, partXML(1, one), partXML(2, tagOf("x"))), 400, "InvalidPart")
	f.want(complete("dir/k", id, nil, partXML(1, one), partXML(3, two)), 400, "InvalidPart")
	f.want(complete("dir/k", id, nil, partXML(1, one), partXML(1, one)), 400, "InvalidPartOrder")
	f.want(complete("dir/k", id, nil), 400, "MalformedXML")
	f.want(complete("dir/k", "none", nil, partXML(1, one)), 404, "NoSuchUpload")
	f.want(complete("dir/k", id, []string{"If-Match", `"x"`}, partXML(1, one), partXML(2, two)), 404, "NoSuchKey")
	f.want(complete("dir/k", id, []string{"x-amz-mp-object-size", "5"}, partXML(1, one), partXML(2, two)), 400, "")
	done := complete("dir/k", id, []string{"If-None-Match", "*", "x-amz-mp-object-size", itoa(len(first + last))}, partXML(1, one), partXML(2, two))
	r = f.want(done, 200, "")
	if !strings.Contains(r.body, "-2&quot;</ETag>") || !strings.Contains(r.body, "/bucket/dir/k</Location>") {
		t.Error(r.body)
	}
	f.want(complete("dir/k", id, nil, partXML(1, one), partXML(2, two)), 200, "")
	r = f.want(ask{method: "GET", target: "/bucket/dir/k"}, 200, "")
	if r.body != first+last || r.header.Get("Content-Type") != "text/x" || r.header.Get("X-Amz-Meta-A") != "b" {
		t.Errorf("%d bytes, %v", len(r.body), r.header)
	}
	if r := f.want(ask{method: "GET", target: "/bucket/dir/k", headers: []string{"Range", "bytes=5242870-5242883"}}, 206, ""); r.body != first[5242870:]+last[:4] {
		t.Errorf("%q", r.body)
	}
	small := f.startUpload("small")
	a := f.want(part("small", small, 1, "a"), 200, "").header.Get("ETag")
	b := f.want(part("small", small, 2, "b"), 200, "").header.Get("ETag")
	f.want(complete("small", small, nil, partXML(1, a), partXML(2, b)), 400, "EntityTooSmall")
	f.want(ask{method: "DELETE", target: "/bucket/small?uploadId=" + url.QueryEscape(small)}, 204, "")
	f.want(ask{method: "DELETE", target: "/bucket/small?uploadId=" + url.QueryEscape(small)}, 404, "NoSuchUpload")
	f.want(part("small", small, 1, "a"), 404, "NoSuchUpload")
}

func TestListUploads(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	for _, key := range []string{"a b", "dir/1", "dir/1", "dir/2", "z"} {
		f.startUpload(key)
	}
	type result struct {
		Upload                        []struct{ Key, UploadId string }
		CommonPrefixes                []struct{ Prefix string }
		IsTruncated                   bool
		NextKeyMarker                 string
		NextUploadIdMarker, KeyMarker string
	}
	ask1 := func(query string) (l result) {
		r := f.want(ask{method: "GET", target: "/bucket?uploads" + query}, 200, "")
		if err := xml.Unmarshal([]byte(r.body), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := ask1(""); len(l.Upload) != 5 {
		t.Errorf("%+v", l)
	}
	if l := ask1("&prefix=dir/"); len(l.Upload) != 3 {
		t.Errorf("%+v", l)
	}
	if l := ask1("&prefix=dir/2"); len(l.Upload) != 1 {
		t.Errorf("%+v", l)
	}
	if l := ask1("&delimiter=/&encoding-type=url"); len(l.Upload) != 2 || len(l.CommonPrefixes) != 1 || l.Upload[0].Key != "a+b" {
		t.Errorf("%+v", l)
	}
	if l := ask1("&key-marker=dir/1"); len(l.Upload) != 2 {
		t.Errorf("%+v", l)
	}
	var seen []string
	for query, rounds := "&max-uploads=2", 0; rounds < 5; rounds++ {
		l := ask1(query)
		for _, u := range l.Upload {
			seen = append(seen, u.UploadId)
		}
		if !l.IsTruncated {
			break
		}
		query = "&max-uploads=2&key-marker=" + url.QueryEscape(l.NextKeyMarker) + "&upload-id-marker=" + url.QueryEscape(l.NextUploadIdMarker)
	}
	if len(seen) != 5 {
		t.Errorf("pages have %q", seen)
	}
	f.want(ask{method: "GET", target: "/absent?uploads"}, 404, "NoSuchBucket")
}

// wantPartChecksum reads a part of an object in both ways.
func (f *fixture) wantPartChecksum(key string, number int, algorithm, sum, kind string) {
	f.t.Helper()
	for _, method := range []string{"GET", "HEAD"} {
		r := f.want(ask{method: method, target: fmt.Sprintf("/bucket/%s?partNumber=%d", key, number), headers: []string{"x-amz-checksum-mode", "ENABLED"}}, 206, "")
		if got := r.header.Get("X-Amz-Checksum-" + algorithm); got != sum || r.header.Get("X-Amz-Checksum-Type") != kind {
			f.t.Errorf("%s of part %d of %s has the checksum %q of type %q, want %q of %q", method, number, key, got, r.header.Get("X-Amz-Checksum-Type"), sum, kind)
		}
	}
}

func TestMultipartChecksums(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	for _, headers := range [][]string{{"x-amz-checksum-type", "COMPOSITE"}, {"x-amz-checksum-algorithm", "MD4"}, {"x-amz-checksum-algorithm", "SHA256", "x-amz-checksum-type", "FULL_OBJECT"},
		{"x-amz-checksum-algorithm", "CRC64NVME", "x-amz-checksum-type", "COMPOSITE"}, {"x-amz-checksum-algorithm", "CRC32", "x-amz-checksum-type", "HALF"}} {
		f.want(ask{method: "POST", target: "/bucket/k?uploads", headers: headers}, 400, "InvalidRequest")
	}
	first, last := strings.Repeat("x", 5<<20), "end"
	full := crcOf(first + last)
	id := f.startUpload("full", "x-amz-checksum-algorithm", "CRC32", "x-amz-checksum-type", "FULL_OBJECT")
	one := f.want(part("full", id, 1, first, "x-amz-checksum-crc32", crcOf(first)), 200, "").header.Get("ETag")
	r := f.want(part("full", id, 2, last), 200, "") // the gateway computes what the client left out
	if r.header.Get("X-Amz-Checksum-Crc32") != crcOf(last) {
		t.Errorf("%v", r.header)
	}
	two := r.header.Get("ETag")
	f.want(part("full", id, 2, last, "x-amz-checksum-crc32", crcOf("x")), 400, "BadDigest")
	f.want(complete("full", id, []string{"x-amz-checksum-crc32", crcOf("x"), "x-amz-checksum-type", "FULL_OBJECT"}, partXML(1, one), partXML(2, two)), 400, "BadDigest")
	r = f.want(complete("full", id, []string{"x-amz-checksum-crc32", full, "x-amz-checksum-type", "FULL_OBJECT"}, partXML(1, one, "<ChecksumCRC32>"+crcOf(first)+"</ChecksumCRC32>"), partXML(2, two)), 200, "")
	if !strings.Contains(r.body, "<ChecksumCRC32>"+full+"</ChecksumCRC32>") || !strings.Contains(r.body, "FULL_OBJECT") {
		t.Error(r.body)
	}
	r = f.want(ask{method: "HEAD", target: "/bucket/full", headers: []string{"x-amz-checksum-mode", "ENABLED"}}, 200, "")
	if r.header.Get("X-Amz-Checksum-Crc32") != full || r.header.Get("X-Amz-Checksum-Type") != "FULL_OBJECT" {
		t.Errorf("%v", r.header)
	}
	f.wantPartChecksum("full", 2, "Crc32", "", "") // the sum of the whole says nothing of a part

	sha := func(s string) []byte { sum := sha256.Sum256([]byte(s)); return sum[:] }
	text := base64.StdEncoding.EncodeToString
	whole := text(sha(string(sha(first))+string(sha(last)))) + "-2"
	id = f.startUpload("composite", "x-amz-checksum-algorithm", "SHA256")
	one = f.want(part("composite", id, 1, first, "x-amz-checksum-sha256", text(sha(first))), 200, "").header.Get("ETag")
	two = f.want(part("composite", id, 2, last, "x-amz-checksum-sha256", text(sha(last))), 200, "").header.Get("ETag")
	f.want(complete("composite", id, nil, partXML(1, one, "<ChecksumSHA256>"+text(sha("x"))+"</ChecksumSHA256>"), partXML(2, two, "<ChecksumSHA256>"+text(sha(last))+"</ChecksumSHA256>")), 400, "InvalidPart")
	r = f.want(complete("composite", id, nil, partXML(1, one, "<ChecksumSHA256>"+text(sha(first))+"</ChecksumSHA256>"), partXML(2, two, "<ChecksumSHA256>"+text(sha(last))+"</ChecksumSHA256>")), 200, "")
	if !strings.Contains(r.body, whole) || !strings.Contains(r.body, "COMPOSITE") {
		t.Error(r.body, whole)
	}
	r = f.want(ask{method: "GET", target: "/bucket/composite", headers: []string{"x-amz-checksum-mode", "ENABLED"}}, 200, "")
	if r.header.Get("X-Amz-Checksum-Sha256") != whole || r.header.Get("X-Amz-Checksum-Type") != "COMPOSITE" {
		t.Errorf("%v", r.header)
	}
	f.wantPartChecksum("composite", 1, "Sha256", text(sha(first)), "COMPOSITE")
	f.wantPartChecksum("composite", 2, "Sha256", text(sha(last)), "COMPOSITE")
	id = f.startUpload("single", "x-amz-checksum-algorithm", "CRC32", "x-amz-checksum-type", "FULL_OBJECT")
	one = f.want(part("single", id, 1, last), 200, "").header.Get("ETag")
	f.want(complete("single", id, nil, partXML(1, one)), 200, "")
	f.wantPartChecksum("single", 1, "Crc32", crcOf(last), "FULL_OBJECT")

	// Without a type and without the number of parts, a sum is what the upload was started with.
	ieee := func(s string) string {
		raw, _ := base64.StdEncoding.DecodeString(crcOf(s))
		return string(raw)
	}
	sums := crcOf(ieee(first) + ieee(last))
	for _, header := range []string{sums, sums + "-2"} {
		id = f.startUpload("bare", "x-amz-checksum-algorithm", "CRC32")
		one = f.want(part("bare", id, 1, first, "x-amz-checksum-crc32", crcOf(first)), 200, "").header.Get("ETag")
		two = f.want(part("bare", id, 2, last, "x-amz-checksum-crc32", crcOf(last)), 200, "").header.Get("ETag")
		f.want(complete("bare", id, []string{"x-amz-checksum-crc32", full}, partXML(1, one), partXML(2, two)), 400, "BadDigest")
		done := complete("bare", id, []string{"x-amz-checksum-crc32", header}, partXML(1, one), partXML(2, two))
		f.want(done, 200, "")
		f.want(done, 200, "")
	}
}
