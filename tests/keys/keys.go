// Package keys puts every kind of key that has broken a server of S3 through every operation that takes one, and compares what listings answer with a model
// that is a sorted slice.
//
// Promise: a key comes back as the bytes that were sent, is listed once and in its place, and no operation on one key reaches another. The package counts what
// it has checked, and fails an operation that checked nothing.
//
// It knows the S3 API and nothing of what serves it: the gateway's tests run it over an engine in memory, its own test against the daemon.
package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"holdfast/gateways/s3/sigv4"
)

// All returns the keys.
func All() []string {
	all := []string{
		"a", "a/", "a//", "a/b", "a//b", "a/b/", "a/b/c", "a/b//c", "aa", "ab", "/", "//", "/a", "//a", "/a/", "b/c", "b/c/d", "dir/file", "dir/file.txt", "dir.", "dir-", "dir0",
		".", "..", "...", "./a", "../a", "a/.", "a/..", "a/./b", "a/../b", "../../../etc/passwd", `..\a`, `a\b`, `\`, `C:\x`,
		"%", "%%", "%2F", "%2f", "a%2Fb", "%2e%2e/a", "%00", "%zz", "100%", "a%20b", "+", "a+b", "a b", " ", " a", "a ", "  ", "a\u00a0b",
		`"`, "'", `a"b'c`, "&", "<", ">", "&amp;", "&#x41;", "<Key>a</Key>", "]]>", "<![CDATA[a]]>", "<!--", "?", "a?b", "?acl", "k?versionId=null", "?uploadId=1", "k?partNumber=1&uploadId=abc", "acl", "uploads",
		"#", "a#b", ";", "a;b", ":", "a:b", "=", "a=b&c=d", ",", "@", "$", "!", "*", "(", ")", "~", "^", "`", "|", "{", "}", "[", "]", "-", "_",
		"\u00e9", "e\u0301", "\u212b", "\u00c5", "A\u030a", "\uac00", "\u1100\u1161", "\u00df", "\u0131", "日本語/キー", "日本語", "\U0001F600", "\U0001F468\u200d\U0001F469\u200d\U0001F467", "a\U0001F600b",
		"\ud7ff", "\ue000", "\uffee", "\ufffd", "\U00010000", "\U0010ffff", "\u05e9\u05dc\u05d5\u05dd", "\u202eabc", "\u200b", "\ufeffa", "a\u2028b", "\u0085",
		"\t", "\n", "\r", "\r\n", "a\tb", "a\nb", "a\rb", "\x00", "a\x00b", "\x01", "\x07", "\x1b[31m", "\x1f", "\x7f", "\ufffe", "\uffff",
		strings.Repeat("k", 1024), strings.Repeat("\U0001F600", 256), strings.Repeat("d/", 512), "long/" + strings.Repeat("%", 1019), strings.Repeat("\u00e9", 512),
	}
	slices.Sort(all)
	return all
}

// Delimiters returns those that listings are asked for; "" is none.
func Delimiters() []string {
	return []string{"", "/", "//", "a", "\u00e9", "\U0001F600", "/b", "%2F", " "}
}

// Options say where to run.
type Options struct {
	Endpoint             string // without a slash at the end
	AccessKey, SecretKey string
	// Pages are the sizes of pages of listings; nil: from 1 to one beyond the number of keys.
	Pages []int
	// Few leaves out what is long and says little about how an engine keeps keys.
	Few bool
}

// run is one Run.
type run struct {
	Options
	t      *testing.T
	client *http.Client
	keys   []string

	mu      sync.Mutex
	checked map[string]int
}

// operations are those that must have checked something.
var operations = []string{"refused keys", "put", "get", "head", "range", "copy", "copy, slashes encoded", "tagging", "post", "rename", "renamePrefix", "list 1", "list 2", "list 1, url", "list 2, url", "list, strict XML", "marker",
	"start-after", "put version", "get version", "list versions", "version marker", "upload", "list parts", "list uploads", "upload marker", "complete", "delete", "DeleteObjects"}

// Run does all that the package is for, in buckets of its own.
func Run(t *testing.T, o Options) {
	r := &run{Options: o, t: t, keys: All(), checked: map[string]int{}, client: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: workers}}}
	defer r.client.CloseIdleConnections()
	if len(slices.Compact(slices.Clone(r.keys))) != len(r.keys) {
		t.Fatal("a key is listed twice")
	}
	if r.Pages == nil {
		for i := range len(r.keys) + 1 {
			r.Pages = append(r.Pages, i+1)
		}
	}
	r.objects()
	r.renames()
	r.versions()
	r.uploads()
	r.deletes()
	total := 0
	for _, operation := range operations {
		if r.checked[operation] == 0 {
			t.Errorf("%s: nothing was checked", operation)
		}
		total += r.checked[operation]
	}
	t.Logf("%d keys × %d operations: %d checks", len(r.keys), len(operations), total)
	for _, operation := range slices.Sorted(maps.Keys(r.checked)) {
		t.Logf("%7d %s", r.checked[operation], operation)
		if !slices.Contains(operations, operation) {
			t.Errorf("%s is none of the operations", operation)
		}
	}
}

// paged reports whether the listings with a delimiter are those that everything is asked of; with the others it is a part.
func paged(delimiter string) bool { return delimiter == "" || delimiter == "/" }

const workers = 16

// somePages are sizes of pages where not every one is tried, fewPages those where one that cuts and one that does not will do.
var (
	somePages = []int{1, 2, 3, 7, 50, 1000}
	fewPages  = []int{3, 1000}
)

// each calls f for every key, a few at a time.
func (r *run) each(f func(key string)) {
	var wait sync.WaitGroup
	next := make(chan string)
	for range workers {
		wait.Go(func() {
			for key := range next {
				f(key)
			}
		})
	}
	for _, key := range r.keys {
		next <- key
	}
	close(next)
	wait.Wait()
}

// check counts a check and reports it if it is wrong.
func (r *run) check(operation, key string, ok bool, format string, args ...any) bool {
	r.mu.Lock()
	r.checked[operation]++
	r.mu.Unlock()
	if !ok {
		r.t.Errorf("%s, key %.60q: %.2000s", operation, key, fmt.Sprintf(format, args...))
	}
	return ok
}

// escape percent-encodes a key for a path; slashes says whether those are encoded, too.
func escape(key string, slashes bool) string {
	var b strings.Builder
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0, c == '/' && !slashes:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a request. query is encoded already; headers are pairs.
func (r *run) do(method, bucket, key, query, body string, headers ...string) answer {
	target := r.Endpoint + "/" + bucket
	if key != "" {
		target += "/" + escape(key, false)
	}
	if query != "" {
		target += "?" + query
	}
	request, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		r.t.Errorf("%s %q: %v", method, key, err)
		return answer{}
	}
	if body == "" {
		request.Body = http.NoBody
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	signer := sigv4.Signer{AccessKey: r.AccessKey, SecretKey: r.SecretKey, Region: "us-east-1"}
	if _, err := signer.Sign(request, sigv4.PayloadHash([]byte(body)), time.Now()); err != nil {
		r.t.Errorf("%s %q: %v", method, key, err)
		return answer{}
	}
	response, err := r.client.Do(request)
	if err != nil {
		r.t.Errorf("%s %q: %v", method, key, err)
		return answer{}
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Errorf("%s %q: %v", method, key, err)
	}
	return answer{response.StatusCode, response.Header, string(content)}
}

// bucket makes a bucket.
func (r *run) bucket(name string) {
	r.t.Helper()
	if a := r.do("PUT", name, "", "", ""); a.status != 200 {
		r.t.Fatalf("the bucket %s is not made: %d %s", name, a.status, a.body)
	}
}

// content is another one for every key and round.
func content(key string, round int) string {
	sum := sha256.Sum256(fmt.Append(nil, round, key))
	return hex.EncodeToString(sum[:])
}

// objects writes, reads, lists, copies and tags.
func (r *run) objects() {
	r.bucket("keys-plain")
	r.bucket("keys-copy")
	r.bucket("keys-whole")
	for key, code := range map[string]string{"\xff": "InvalidURI", "\xc0\x80": "InvalidURI", "\xed\xa0\x80": "InvalidURI", "\xed\xb0\x80": "InvalidURI", "a/\xf4\x90\x80\x80": "InvalidURI",
		strings.Repeat("k", 1025): "KeyTooLongError", strings.Repeat("\U0001F600", 256) + "k": "KeyTooLongError"} {
		for _, method := range []string{"PUT", "GET", "DELETE"} {
			a := r.do(method, "keys-plain", key, "", "")
			r.check("refused keys", key, a.status == 400 && strings.Contains(a.body, "<Code>"+code+"</Code>"), "%d %s", a.status, a.body)
		}
	}
	r.each(func(key string) {
		a := r.do("PUT", "keys-plain", key, "", content(key, 0))
		r.check("put", key, a.status == 200, "%d %s", a.status, a.body)
	})
	r.each(func(key string) {
		want := content(key, 0)
		a := r.do("GET", "keys-plain", key, "", "")
		r.check("get", key, a.status == 200 && a.body == want, "%d %s", a.status, a.body)
		tag := a.header.Get("ETag")
		a = r.do("HEAD", "keys-plain", key, "", "")
		r.check("head", key, a.status == 200 && a.header.Get("ETag") == tag && a.header.Get("Content-Length") == "64", "%d %v", a.status, a.header)
		a = r.do("GET", "keys-plain", key, "", "", "Range", "bytes=3-9")
		r.check("range", key, a.status == 206 && a.body == want[3:10], "%d %s", a.status, a.body)
		a = r.do("PUT", "keys-copy", key, "", "", "x-amz-copy-source", "/keys-plain/"+escape(key, false))
		r.check("copy", key, a.status == 200 && r.do("GET", "keys-copy", key, "", "").body == want, "%d %s", a.status, a.body)
		a = r.do("PUT", "keys-whole", key, "", "", "x-amz-copy-source", "keys-plain%2F"+escape(key, true))
		r.check("copy, slashes encoded", key, a.status == 200 && r.do("GET", "keys-whole", key, "", "").body == want, "%d %s", a.status, a.body)
		a = r.do("PUT", "keys-plain", key, "tagging", "<Tagging><TagSet><Tag><Key>t</Key><Value>"+want[:8]+"</Value></Tag></TagSet></Tagging>")
		r.check("tagging", key, a.status == 200, "%d %s", a.status, a.body)
		a = r.do("POST", "keys-plain", key, "", "")
		r.check("post", key, a.status == 405, "%d %s", a.status, a.body)
	})
	r.each(func(key string) { // after all were tagged
		a := r.do("GET", "keys-plain", key, "tagging", "")
		r.check("tagging", key, strings.Contains(a.body, "<Value>"+content(key, 0)[:8]+"</Value>"), "%d %s", a.status, a.body)
	})
	r.listings("keys-plain", r.keys)
	for _, bucket := range []string{"keys-copy", "keys-whole"} {
		r.compare("list 2, url", bucket, listing{version: 2, url: true}, plainItems(r.keys, "", ""), 0)
	}
	r.strict("keys-whole")
}

// strict reads a listing of the keys that XML has with a parser that takes nothing else, as clients do that ask for no encoding.
func (r *run) strict(bucket string) {
	var want []string
	for _, key := range r.keys {
		if inXML(key) {
			want = append(want, key)
		} else {
			r.do("DELETE", bucket, key, "", "")
		}
	}
	for _, query := range []string{"", "list-type=2"} {
		var list struct{ Contents []struct{ Key string } }
		a := r.do("GET", bucket, "", query, "")
		err := xml.Unmarshal([]byte(a.body), &list)
		var got []string
		for _, c := range list.Contents {
			got = append(got, c.Key)
		}
		r.check("list, strict XML", query, err == nil && slices.Equal(got, want), "%v: %d keys, want %d", err, len(got), len(want))
	}
}

// item is what a listing has in a line: a key, a version of it, an upload of it, or a common prefix.
type item struct {
	name    string
	id      string // of a version or upload
	rolled  bool
	deleted bool // a delete marker
}

// plainItems is the model of a listing: the keys that begin with prefix, those with the delimiter behind it rolled up.
func plainItems(keys []string, prefix, delimiter string) []item {
	var all []item
	for _, key := range keys {
		all = append(all, item{name: key})
	}
	return rollUp(all, prefix, delimiter)
}

// rollUp keeps the items that begin with prefix, in their order, and puts common prefixes in the place of those that have the delimiter behind it.
func rollUp(all []item, prefix, delimiter string) (out []item) {
	seen := map[string]bool{}
	for _, i := range all {
		rest, ok := strings.CutPrefix(i.name, prefix)
		if !ok {
			continue
		}
		if at := strings.Index(rest, delimiter); delimiter != "" && at >= 0 {
			rolled := prefix + rest[:at+len(delimiter)]
			if !seen[rolled] {
				out = append(out, item{name: rolled, rolled: true})
			}
			seen[rolled] = true
			continue
		}
		out = append(out, i)
	}
	slices.SortStableFunc(out, func(a, b item) int { return strings.Compare(a.name, b.name) })
	return out
}

func (i item) String() string {
	return fmt.Sprintf("%.80q %s%s", i.name, i.id, map[bool]string{true: " rolled up"}[i.rolled])
}

// listing is a question for a listing.
type listing struct {
	version           int // of ListObjects; 0 for the listings of versions and uploads
	prefix, delimiter string
	url               bool
	after             string // of the first page
	id                string // version or upload that after goes with
	first             bool   // only the first page is read
}

// few is the size of a first page.
const few = 4

// cut is what the first page has of what is wanted, if only that is read.
func (l listing) cut(want []item, size int) []item {
	if l.first && len(want) > size {
		return want[:size]
	}
	return want
}

// listings asks for the objects of a bucket in every way.
func (r *run) listings(bucket string, keys []string) {
	for _, delimiter := range Delimiters() {
		for _, version := range []int{1, 2} {
			for _, encoded := range []bool{false, true} {
				operation := fmt.Sprint("list ", version)
				pages := r.Pages
				if !paged(delimiter) {
					pages = fewPages
				}
				if encoded {
					operation += ", url"
				} else { // how names are written changes nothing about pages
					pages = []int{1, 1000}
				}
				l := listing{version: version, delimiter: delimiter, url: encoded}
				want := plainItems(keys, "", delimiter)
				for _, size := range pages {
					r.compare(operation, bucket, l, want, size)
				}
			}
			for _, prefix := range []string{"a", "a/", "/", "dir", "%", "\U0001F600", "\x00", "e", "none"} {
				l := listing{version: version, delimiter: delimiter, url: true, prefix: prefix}
				r.compare(fmt.Sprintf("list %d, url", version), bucket, l, plainItems(keys, prefix, delimiter), 2)
			}
		}
		if r.Few && !paged(delimiter) {
			continue
		}
		r.each(func(key string) {
			later := keys[slices.Index(keys, key)+1:]
			want := slices.DeleteFunc(plainItems(later, "", delimiter), func(i item) bool { return i.name == key })
			r.compare("marker", bucket, listing{version: 1, delimiter: delimiter, url: true, after: key, first: true}, want, few)
			r.compare("start-after", bucket, listing{version: 2, delimiter: delimiter, url: true, after: key, first: true}, want, few)
		})
	}
}

// pagesMax bounds the pages of one listing: more mean that it does not end.
const pagesMax = 5000

// compare reads a listing page by page and compares it with the model.
func (r *run) compare(operation, bucket string, l listing, want []item, size int) {
	var got []item
	q := [][2]string{{"prefix", l.prefix}, {"delimiter", l.delimiter}}
	if l.version == 2 {
		q = append(q, [2]string{"list-type", "2"}, [2]string{"start-after", l.after})
	} else {
		q = append(q, [2]string{"marker", l.after})
	}
	if l.url {
		q = append(q, [2]string{"encoding-type", "url"})
	}
	if size > 0 {
		q = append(q, [2]string{"max-keys", fmt.Sprint(size)})
	}
	for page := 0; ; page++ {
		a := r.do("GET", bucket, "", encode(q), "")
		p := parsePage(a.body, l.url)
		if a.status != 200 || page > pagesMax || size > 0 && len(p.items) > size {
			r.check(operation, l.after, false, "page %d of %d by %d: %d %s", page, len(want), size, a.status, a.body)
			return
		}
		got = append(got, p.items...)
		if l.first && p.truncated != (len(want) > size) {
			r.check(operation, l.after, false, "truncated: %t, with %d left: %s", p.truncated, len(want), a.body)
		}
		if !p.truncated || l.first {
			break
		}
		switch {
		case l.version == 2:
			q = set(set(q, "start-after", ""), "continuation-token", p.field("NextContinuationToken"))
		case l.delimiter != "":
			q = set(q, "marker", p.name("NextMarker"))
		default:
			q = set(q, "marker", p.items[len(p.items)-1].name)
		}
	}
	want = l.cut(want, size)
	r.check(operation, l.after, slices.Equal(got, want), "%+v by %d: %s", l, size, difference(got, want))
}

func encode(q [][2]string) string {
	var parts []string
	for _, p := range q {
		if p[1] != "" || p[0] == "versions" || p[0] == "uploads" {
			parts = append(parts, strings.TrimSuffix(p[0]+"="+url.QueryEscape(p[1]), "="))
		}
	}
	return strings.ReplaceAll(strings.Join(parts, "&"), "+", "%20")
}

func set(q [][2]string, name, value string) [][2]string {
	return append(slices.DeleteFunc(slices.Clone(q), func(p [2]string) bool { return p[0] == name }), [2]string{name, value})
}

func difference(got, want []item) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d items, want %d; the first that is missing is %.300s", len(got), len(want), want[i].String())
		case i >= len(want):
			return fmt.Sprintf("%d items, want %d; the first too many is %.300s", len(got), len(want), got[i].String())
		case got[i] != want[i]:
			return fmt.Sprintf("item %d is %.300s, want %.300s", i, got[i].String(), want[i].String())
		}
	}
	return ""
}

// page is one page of any listing.
type page struct {
	text      string
	url       bool
	items     []item
	truncated bool
}

// parsePage reads a page as text: an XML parser refuses the references to characters that XML does not have, which S3 writes for keys that have them.
func parsePage(text string, encoded bool) page {
	p := page{text: text, url: encoded, truncated: strings.Contains(text, "<IsTruncated>true</IsTruncated>")}
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			break
		}
		element, inner, _ := strings.Cut(after, ">")
		rest = inner
		switch element {
		case "Contents", "Version", "DeleteMarker", "Upload", "CommonPrefixes":
		default:
			continue
		}
		inner, rest, _ = strings.Cut(inner, "</"+element+">")
		one := page{text: inner, url: encoded}
		i := item{name: one.name("Key"), id: one.field("VersionId") + one.field("UploadId"), deleted: element == "DeleteMarker"}
		if element == "CommonPrefixes" {
			i = item{name: one.name("Prefix"), rolled: true}
		}
		p.items = append(p.items, i)
	}
	slices.SortStableFunc(p.items, func(a, b item) int { return strings.Compare(a.name, b.name) }) // common prefixes come behind the keys
	return p
}

// field is the text of the first element of that name.
func (p page) field(name string) string {
	if name == "" {
		return ""
	}
	_, after, ok := strings.Cut(p.text, "<"+name+">")
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(after, "</"+name+">")
	return unescape(text)
}

// name is a field that encoding-type=url encodes.
func (p page) name(field string) string {
	text := p.field(field)
	if !p.url {
		return text
	}
	text, err := url.QueryUnescape(text)
	if err != nil {
		return "(not encoded) " + text
	}
	return text
}

// unescape undoes what a writer of XML does, references to any character included.
func unescape(s string) string {
	var b strings.Builder
	for s != "" {
		at := strings.IndexByte(s, '&')
		if at < 0 {
			at = len(s)
		}
		b.WriteString(s[:at])
		if s = s[at:]; s == "" {
			break
		}
		name, rest, _ := strings.Cut(s[1:], ";")
		var r rune
		switch name {
		case "amp":
			r = '&'
		case "lt":
			r = '<'
		case "gt":
			r = '>'
		case "quot":
			r = '"'
		case "apos":
			r = '\''
		default:
			if _, err := fmt.Sscanf(name, "#x%x", &r); err != nil {
				r = unicode.ReplacementChar
			}
		}
		b.WriteRune(r)
		s = rest
	}
	return b.String()
}

// inXML reports whether XML 1.0 has all characters of a key.
func inXML(key string) bool {
	return !strings.ContainsFunc(key, func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
	})
}

func escapeXML(key string) string {
	var b bytes.Buffer
	for _, r := range key {
		if r < 0x20 || strings.ContainsRune(`&<>"'`, r) || r == 0xfffe || r == 0xffff {
			fmt.Fprintf(&b, "&#x%x;", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
