package pressure

import (
	"bytes"
	"flag"
	"fmt"
	"net/http/httptrace"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/tests/daemontest"
)

var update = flag.Bool("update", false, "write docs/limits.md")

// limit is a row of docs/limits.md: what is at the limit is answered so, and what is one beyond so.
type limit struct {
	what, most string
	at, beyond Ask
	// atAnswer and beyondAnswer are Answer.String.
	atAnswer, beyondAnswer string
	// note says more, for the page.
	note string
}

// Of the requests of the table.
const (
	mib = 1 << 20
	gib = 1 << 30
)

func key(n int) string { return "/bucket/" + strings.Repeat("k", n) }

// sized is a PUT of a body of that many bytes, of which none is sent.
func sized(target string, n int64) Ask { return Ask{Method: "PUT", Target: target, Length: n} }

func metadata(n int) Ask {
	return Ask{Method: "PUT", Target: "/bucket/metadata", Headers: []string{"X-Amz-Meta-A", strings.Repeat("v", n-1)}}
}

func tagging(target string, count int, name, value string) Ask {
	var b strings.Builder
	b.WriteString("<Tagging><TagSet>")
	for i := range count {
		fmt.Fprintf(&b, "<Tag><Key>%s%02d</Key><Value>%s</Value></Tag>", name, i, value)
	}
	b.WriteString("</TagSet></Tagging>")
	return document("PUT", target, b.String())
}

// document is a request with a document, and its MD5 for those that demand it.
func document(method, target, text string) Ask {
	return Ask{Method: method, Target: target, Body: []byte(text), Headers: []string{"Content-Md5", md5Of([]byte(text))}}
}

func deletes(n int) Ask {
	return document("POST", "/bucket?delete", "<Delete>"+strings.Repeat("<Object><Key>absent</Key></Object>", n)+"</Delete>")
}

// padded makes a document of n bytes.
func padded(method, target, text string, n int) Ask {
	return document(method, target, text+strings.Repeat(" ", n-len(text)))
}

func header(n int) Ask {
	return Ask{Method: "GET", Target: "/bucket/key", Headers: []string{"X-Padding", strings.Repeat("p", n)}}
}

func completion(target string, n int) Ask {
	var b strings.Builder
	b.WriteString("<CompleteMultipartUpload>")
	for i := range n {
		fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>\"d41d8cd98f00b204e9800998ecf8427e\"</ETag></Part>", i+1)
	}
	b.WriteString("</CompleteMultipartUpload>")
	return document("POST", target, b.String())
}

// limits returns the table. Upload is an upload to /bucket/upload that has no parts.
func limits(upload string) []limit {
	page := func(query, name string) limit {
		return limit{what: "page of " + name, most: "1000", at: Ask{Method: "GET", Target: query + "=1000"}, atAnswer: "200", beyond: Ask{Method: "GET", Target: query + "=1001"}, beyondAnswer: "200",
			note: "more may be asked for, and 1,000 come"}
	}
	part := "/bucket/upload?partNumber=%d&uploadId=" + upload
	put := func(target string) Ask { return Ask{Method: "PUT", Target: target, Body: []byte("x")} }
	return []limit{
		{what: "key", most: "1,024 bytes of UTF-8", at: put(key(1024)), atAnswer: "200", beyond: put(key(1025)), beyondAnswer: "400 KeyTooLongError"},
		{what: "name of a bucket, at most", most: "63 bytes", at: Ask{Method: "PUT", Target: "/" + strings.Repeat("b", 63)}, atAnswer: "200", beyond: Ask{Method: "PUT", Target: "/" + strings.Repeat("b", 64)}, beyondAnswer: "400 InvalidBucketName"},
		{what: "name of a bucket, at least", most: "3 bytes", at: Ask{Method: "PUT", Target: "/abc"}, atAnswer: "200", beyond: Ask{Method: "PUT", Target: "/ab"}, beyondAnswer: "400 InvalidBucketName"},
		{what: "body of a PUT", most: "5 GiB", at: sized("/bucket/sized", 5*gib), atAnswer: "100", beyond: sized("/bucket/sized", 5*gib+1), beyondAnswer: "400 EntityTooLarge"},
		{what: "part of an upload", most: "5 GiB", at: sized(fmt.Sprintf(part, 1), 5*gib), atAnswer: "100", beyond: sized(fmt.Sprintf(part, 1), 5*gib+1), beyondAnswer: "400 EntityTooLarge"},
		{what: "number of a part", most: "10,000", at: put(fmt.Sprintf(part, 10000)), atAnswer: "200", beyond: put(fmt.Sprintf(part, 10001)), beyondAnswer: "400 InvalidArgument"},
		{what: "parts of a completion", most: "10,000", at: completion("/bucket/upload?uploadId="+upload, 10000), atAnswer: "400 InvalidPart", beyond: completion("/bucket/upload?uploadId="+upload, 10001), beyondAnswer: "400 MalformedXML",
			note: "those of the test are not there, which is found when their number has passed"},
		{what: "names and values of user metadata", most: "2,048 bytes", at: metadata(2048), atAnswer: "200", beyond: metadata(2049), beyondAnswer: "400 MetadataTooLarge"},
		{what: "tags of an object", most: "10", at: tagging("/bucket/key?tagging", 10, "n", "v"), atAnswer: "200", beyond: tagging("/bucket/key?tagging", 11, "n", "v"), beyondAnswer: "400 BadRequest"},
		{what: "tags of a bucket", most: "50", at: tagging("/bucket?tagging", 50, "n", "v"), atAnswer: "204", beyond: tagging("/bucket?tagging", 51, "n", "v"), beyondAnswer: "400 BadRequest"},
		{what: "name of a tag", most: "128 characters", at: tagging("/bucket/key?tagging", 1, strings.Repeat("é", 126), "v"), atAnswer: "200", beyond: tagging("/bucket/key?tagging", 1, strings.Repeat("é", 127), "v"), beyondAnswer: "400 InvalidTag"},
		{what: "value of a tag", most: "256 characters", at: tagging("/bucket/key?tagging", 1, "n", strings.Repeat("é", 256)), atAnswer: "200", beyond: tagging("/bucket/key?tagging", 1, "n", strings.Repeat("é", 257)), beyondAnswer: "400 InvalidTag"},
		{what: "keys of DeleteObjects", most: "1,000", at: deletes(1000), atAnswer: "200", beyond: deletes(1001), beyondAnswer: "400 MalformedXML"},
		{what: "document of DeleteObjects or CompleteMultipartUpload", most: "2 MiB", at: padded("POST", "/bucket?delete", "<Delete><Object><Key>absent</Key></Object></Delete>", 2*mib), atAnswer: "200",
			beyond: padded("POST", "/bucket?delete", "<Delete><Object><Key>absent</Key></Object></Delete>", 2*mib+1), beyondAnswer: "400 MaxMessageLengthExceeded"},
		{what: "any other document", most: "1 MiB", at: padded("PUT", "/bucket/key?tagging", "<Tagging><TagSet></TagSet></Tagging>", mib), atAnswer: "200",
			beyond: padded("PUT", "/bucket/key?tagging", "<Tagging><TagSet></TagSet></Tagging>", mib+1), beyondAnswer: "400 MaxMessageLengthExceeded"},
		page("/bucket?list-type=2&max-keys", "objects"), page("/bucket?versions&max-keys", "versions"), page("/bucket?uploads&max-uploads", "uploads"), page("/bucket/upload?uploadId="+upload+"&max-parts", "parts"),
		{what: "buckets of ListBuckets", most: "10,000", at: Ask{Method: "GET", Target: "/?max-buckets=10000"}, atAnswer: "200", beyond: Ask{Method: "GET", Target: "/?max-buckets=10001"}, beyondAnswer: "200", note: "more may be asked for, and 10,000 come"},
		{what: "line and headers of a request", most: "16 KiB", at: header(15 << 10), atAnswer: "200", beyond: header(16 << 10), beyondAnswer: "400 RequestHeaderSectionTooLarge", note: "the padding of the test comes beside some 600 bytes of other headers"},
		{what: "entity tags of a condition", most: "100", at: etags(100), atAnswer: "200", beyond: etags(101), beyondAnswer: "400 InvalidArgument"},
		{what: "difference of the clocks", most: "15 minutes", at: Ask{Method: "GET", Target: "/bucket/key", Skew: -15*time.Minute + 10*time.Second}, atAnswer: "200", beyond: Ask{Method: "GET", Target: "/bucket/key", Skew: -15*time.Minute - 10*time.Second}, beyondAnswer: "403 RequestTimeTooSkewed"},
	}
}

func etags(n int) Ask {
	return Ask{Method: "GET", Target: "/bucket/key", Headers: []string{"If-None-Match", strings.TrimSuffix(strings.Repeat(`"a", `, n), ", ")}}
}

// elsewhere are limits that no request can show in a test's time, with the test that goes to them.
var elsewhere = [][3]string{
	{"object", "5 TiB", "`TestEngine` of `engine/node` appends at the last byte, and one behind it"},
	{"part of an upload, but for the last, at least", "5 MiB", "`TestEngine` of `engine/node`"},
	{"life of a presigned URL", "7 days", "`gateways/s3/sigv4`"},
	{"fields of a form before its file", "20 KiB", "`gateways/s3/wire`"},
	{"time for the headers of a request", "10 s", "`TestManyConnections` of `tests/pressure`"},
	{"slowest body", "30 KiB in 30 s", "`TestManyConnections` of `tests/pressure`"},
	{"slowest answer", "a piece in two minutes", "`TestCut` of `gateways`"},
	{"slowest body or answer while others wait for memory", "a block of 1 MiB in 2 s", "`TestManyConnections` of `tests/pressure`, `engine/buffer`"},
	{"connections from one address", "`connections_per_address`, 1024", "`TestConnectionsOfOneAddress` of `tests/pressure`"},
	{"connections of all", "what the limit on open files leaves beside the drives", "`TestFewFiles` of `tests/pressure`"},
	{"versions of a key, keys of a directory, depth", "none", ""},
}

// TestLimits goes to each limit and one beyond, and holds docs/limits.md against the table.
func TestLimits(t *testing.T) {
	t.Parallel()
	d := daemontest.New(t)
	d.Start()
	c := NewClient(t, d)
	c.Must(t, 200, Ask{Method: "PUT", Target: "/bucket"})
	c.Must(t, 200, Ask{Method: "PUT", Target: "/bucket/key", Body: []byte("x")})
	begun := c.Must(t, 200, Ask{Method: "POST", Target: "/bucket/upload?uploads"})
	_, rest, _ := strings.Cut(string(begun.Body), "<UploadId>")
	upload, _, _ := strings.Cut(rest, "<")
	tested := 0
	table := limits(upload)
	for _, l := range table {
		t.Run(l.what, func(t *testing.T) {
			for _, side := range []struct {
				name string
				ask  Ask
				want string
			}{{"at the limit", l.at, l.atAnswer}, {"one beyond", l.beyond, l.beyondAnswer}} {
				got, err := answerTo(c, side.ask)
				if err != nil || got != side.want {
					t.Errorf("%s: %v, %v; want %s", side.name, got, err, side.want)
				}
				tested++
			}
		})
	}
	t.Logf("%d limits, %d requests", len(table), tested)
	if tested != 2*len(table) {
		t.Error("some were not tested")
	}
	comparePage(t, table)
	d.Stop()
}

// answerTo is the answer to a request; 100 if the server asks for a body of which nothing is at hand.
func answerTo(c *Client, a Ask) (string, error) {
	if a.Length == 0 {
		answer, err := c.Do(a)
		return answer.String(), err
	}
	var wanted atomic.Bool
	r, err := c.Request(a)
	if err != nil {
		return "", err
	}
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got100Continue: func() { wanted.Store(true) }}))
	response, err := c.HTTP.Do(r)
	if wanted.Load() {
		if err == nil {
			response.Body.Close()
		}
		return "100", nil
	}
	if err != nil {
		return "", err
	}
	answer, err := answerOf(response)
	return answer.String(), err
}

const limitsPage = "../../docs/limits.md"

// comparePage holds docs/limits.md against the table, or writes it.
func comparePage(t *testing.T, table []limit) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(`# Limits

Written by ` + "`go test ./tests/pressure -run TestLimits -update`" + `, which goes to each limit of the first table through the daemon, and one beyond; the test fails when this page differs.

| what | limit | at the limit | one beyond | |
|---|---|---|---|---|
`)
	for _, l := range table {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", l.what, l.most, l.atAnswer, l.beyondAnswer, l.note)
	}
	b.WriteString(`
A body that is not sent in the test, for its size, counts as accepted when the daemon asks for it (100).

These have tests elsewhere:

| what | limit | test |
|---|---|---|
`)
	for _, e := range elsewhere {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", e[0], e[1], e[2])
	}
	b.WriteString(`
## What happens beyond

- *Open files.* A node needs 128 files and 32 for each drive, the witness included, and does not start with fewer; it says so. Of what it may have it keeps 1,512 and 560 for each drive, and
  gives the rest to connections, or a quarter where that is more. One connection too many is answered 503 and closed, and the drives never lack a file for it.
- *Memory.* Bodies and answers above 8 KiB take block buffers from the budget ` + "`memory`" + `, and wait in line for at most 30 s; then the answer is 503 SlowDown. Who keeps a buffer waiting for
  more than 2 s while others are in line is cut: an upload hears SlowDown, a download ends. Small objects have their share too.
- *Full drives.* A PUT that finds too few drives with room is answered 507 XMinioStorageFull. Reads and deletes go on, and room comes back within seconds after deletes.
- *One address.* The limit of 1,024 connections is well above what one client opens (SDKs keep 10 to 256) and what a load generator does, and far below what would keep others out. A proxy
  is one address for all behind it: raise ` + "`connections_per_address`" + `, or set it to off there.
`)
	if *update {
		if err := os.WriteFile(limitsPage, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if page, err := os.ReadFile(limitsPage); err != nil || !bytes.Equal(page, b.Bytes()) {
		t.Errorf("docs/limits.md is not what the table says; go test ./tests/pressure -run TestLimits -update writes it (%v)", err)
	}
}
