package keys

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// renames gives every key another one and back, and then all of them at once a prefix.
func (r *run) renames() {
	r.bucket("keys-renamed")
	for i, key := range r.keys {
		r.do("PUT", "keys-renamed", key, "", content(key, 1))
		other := fmt.Sprint("other-", i)
		there := r.do("PUT", "keys-renamed", other, "renameObject", "", "x-amz-rename-source", "/keys-renamed/"+escape(key, i%2 == 0))
		if strings.HasSuffix(key, "/") {
			r.check("rename", key, there.status == 400 && strings.Contains(there.body, "InvalidRequest"), "%d %s", there.status, there.body)
			r.do("DELETE", "keys-renamed", key, "", "")
			continue
		}
		gone := r.do("HEAD", "keys-renamed", key, "", "").status
		back := r.do("PUT", "keys-renamed", key, "renameObject", "", "x-amz-rename-source", "keys-renamed/"+other)
		a := r.do("GET", "keys-renamed", key, "", "")
		r.check("rename", key, there.status == 200 && gone == 404 && back.status == 200 && a.body == content(key, 1), "%d, then %d, back %d, at last %d: %s%s", there.status, gone, back.status, a.status,
			there.body, back.body)
		r.do("DELETE", "keys-renamed", key, "", "")
	}
	var from, to []string
	for _, key := range r.keys {
		if len(key) <= 1024-len("from/") {
			from, to = append(from, "from/"+key), append(to, "to/"+key)
		}
	}
	whole := r.keys
	r.keys = from
	r.each(func(key string) { r.do("PUT", "keys-renamed", key, "", content(strings.TrimPrefix(key, "from/"), 2)) })
	r.compare("renamePrefix", "keys-renamed", listing{version: 2, url: true}, plainItems(from, "", ""), 0)
	a := r.do("PUT", "keys-renamed", "to/", "renamePrefix", "", "x-amz-rename-source", "/keys-renamed/from/")
	r.check("renamePrefix", "to/", a.status == 200 && strings.Contains(a.body, fmt.Sprintf("<Objects>%d</Objects>", len(from))), "%d %s", a.status, a.body)
	r.compare("renamePrefix", "keys-renamed", listing{version: 2, url: true}, plainItems(to, "", ""), 0)
	r.keys = to
	r.each(func(key string) {
		a := r.do("GET", "keys-renamed", key, "", "")
		r.check("renamePrefix", key, a.body == content(strings.TrimPrefix(key, "to/"), 2), "%d %s", a.status, a.body)
	})
	r.keys = whole
}

// versions makes three versions of every key and a delete marker in between.
func (r *run) versions() {
	r.bucket("keys-versions")
	a := r.do("PUT", "keys-versions", "", "versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
	if a.status != 200 {
		r.t.Fatalf("%d %s", a.status, a.body)
	}
	stacks := map[string][]item{} // the newest first
	var mu sync.Mutex
	r.each(func(key string) {
		for round := range 4 {
			i := item{name: key, deleted: round == 2}
			a := r.do(map[bool]string{false: "PUT", true: "DELETE"}[i.deleted], "keys-versions", key, "", map[bool]string{false: content(key, round)}[i.deleted])
			i.id = a.header.Get("x-amz-version-id")
			r.check("put version", key, a.status/100 == 2 && i.id != "", "%d %s", a.status, a.body)
			mu.Lock()
			stacks[key] = append([]item{i}, stacks[key]...)
			mu.Unlock()
		}
	})
	var all []item
	for _, key := range r.keys {
		all = append(all, stacks[key]...)
	}
	r.each(func(key string) {
		for i, v := range stacks[key] {
			a := r.do("GET", "keys-versions", key, "versionId="+v.id, "")
			if v.deleted {
				r.check("get version", key, a.status == 405 && a.header.Get("x-amz-delete-marker") == "true", "%d %s", a.status, a.body)
			} else {
				r.check("get version", key, a.status == 200 && a.body == content(key, 3-i), "%d %s", a.status, a.body)
			}
		}
	})
	for _, delimiter := range Delimiters() {
		want := rollUp(all, "", delimiter)
		for i, size := range r.sizes(delimiter) {
			r.follow("list versions", "keys-versions", "versions", listing{delimiter: delimiter, url: i%2 == 0}, want, size)
		}
		r.follow("list versions", "keys-versions", "versions", listing{delimiter: delimiter, url: true, prefix: "a/"}, rollUp(all, "a/", delimiter), 2)
		if r.Few && !paged(delimiter) {
			continue
		}
		r.each(func(key string) {
			r.follow("version marker", "keys-versions", "versions", listing{delimiter: delimiter, url: true, after: key, first: true}, behind(all, delimiter, key, ""), few)
			if !paged(delimiter) {
				return
			}
			rolled := delimiter != "" && strings.Contains(key, delimiter) // a key that is rolled up is passed with all its versions
			for _, v := range stacks[key] {
				want := behind(all, delimiter, key, v.id)
				if rolled {
					want = behind(all, delimiter, key, "")
				}
				r.follow("version marker", "keys-versions", "versions", listing{delimiter: delimiter, url: true, after: key, id: v.id, first: true}, want, few)
			}
		})
	}
}

// follow is compare for the listings of versions and uploads, which continue with two markers.
func (r *run) follow(operation, bucket, kind string, l listing, want []item, size int) {
	idMarker, limit := "version-id-marker", "max-keys"
	nextID := "NextVersionIdMarker"
	if kind == "uploads" {
		idMarker, limit, nextID = "upload-id-marker", "max-uploads", "NextUploadIdMarker"
	}
	q := [][2]string{{kind, ""}, {"prefix", l.prefix}, {"delimiter", l.delimiter}, {"key-marker", l.after}, {idMarker, l.id}}
	if l.url {
		q = append(q, [2]string{"encoding-type", "url"})
	}
	if size > 0 {
		q = append(q, [2]string{limit, fmt.Sprint(size)})
	}
	var got []item
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
		q = set(set(q, "key-marker", p.name("NextKeyMarker")), idMarker, p.field(nextID))
	}
	want = l.cut(want, size)
	r.check(operation, l.after, slices.Equal(got, want), "%+v by %d: %s", l, size, difference(got, want))
}

// sizes are those of pages of versions and uploads.
func (r *run) sizes(delimiter string) []int {
	if r.Few || !paged(delimiter) {
		return fewPages
	}
	return somePages
}

// behind is the model of what a listing has behind a key, or behind the item of the key that has an id.
func behind(all []item, delimiter, key, id string) []item {
	at := 0
	for at < len(all) && (all[at].name < key || all[at].name == key && id == "") {
		at++
	}
	for id != "" && at < len(all) {
		if at++; all[at-1].id == id {
			break
		}
	}
	return slices.DeleteFunc(rollUp(all[at:], "", delimiter), func(i item) bool { return i.rolled && i.name == key })
}

// uploads makes an object of every key out of a part, and leaves a second upload open meanwhile.
func (r *run) uploads() {
	r.bucket("keys-uploads")
	first, all := map[string]string{}, []item(nil)
	for _, key := range r.keys { // in order: uploads of a key are listed as they began
		for n := range 2 {
			a := r.do("POST", "keys-uploads", key, "uploads", "")
			id := page{text: a.body}.field("UploadId")
			r.check("upload", key, a.status == 200 && id != "" && page{text: a.body}.field("Key") == key, "%d %s", a.status, a.body)
			if all = append(all, item{name: key, id: id}); n == 0 {
				first[key] = id
			}
		}
	}
	for _, delimiter := range Delimiters() {
		want := rollUp(all, "", delimiter)
		for i, size := range r.sizes(delimiter) {
			r.follow("list uploads", "keys-uploads", "uploads", listing{delimiter: delimiter, url: i%2 == 0}, want, size)
		}
		r.follow("list uploads", "keys-uploads", "uploads", listing{delimiter: delimiter, url: true, prefix: "a/"}, rollUp(all, "a/", delimiter), 2)
		if r.Few && !paged(delimiter) {
			continue
		}
		r.each(func(key string) {
			r.follow("upload marker", "keys-uploads", "uploads", listing{delimiter: delimiter, url: true, after: key, first: true}, behind(all, delimiter, key, ""), few)
			if !paged(delimiter) {
				return
			}
			r.follow("upload marker", "keys-uploads", "uploads", listing{delimiter: delimiter, url: true, after: key, id: first[key], first: true}, behind(all, delimiter, key, first[key]), few)
		})
	}
	r.each(func(key string) {
		id := first[key]
		part := r.do("PUT", "keys-uploads", key, "partNumber=1&uploadId="+id, content(key, 5))
		a := r.do("GET", "keys-uploads", key, "encoding-type=url&uploadId="+id, "")
		r.check("list parts", key, part.status == 200 && page{text: a.body, url: true}.name("Key") == key && strings.Contains(a.body, "<PartNumber>1</PartNumber>"), "%d %s%s", part.status, part.body, a.body)
		a = r.do("POST", "keys-uploads", key, "uploadId="+id, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"+part.header.Get("ETag")+"</ETag></Part></CompleteMultipartUpload>")
		r.check("complete", key, a.status == 200 && page{text: a.body}.field("Key") == key && r.do("GET", "keys-uploads", key, "", "").body == content(key, 5), "%d %s", a.status, a.body)
	})
	left := slices.DeleteFunc(slices.Clone(all), func(i item) bool { return first[i.name] == i.id })
	r.follow("list uploads", "keys-uploads", "uploads", listing{url: true}, left, 50)
}

// deletes removes one key after the other, and looks that it was that one.
func (r *run) deletes() {
	for n := 0; n < len(r.keys); n += 2 {
		key := r.keys[n]
		a := r.do("DELETE", "keys-plain", key, "", "")
		r.check("delete", key, a.status == 204 && r.do("HEAD", "keys-plain", key, "", "").status == 404, "%d %s", a.status, a.body)
	}
	var left []string
	for n := 1; n < len(r.keys); n += 2 {
		left = append(left, r.keys[n])
	}
	r.compare("delete", "keys-plain", listing{version: 2, url: true}, plainItems(left, "", ""), 0)
	for _, delimiter := range Delimiters() {
		r.compare("delete", "keys-plain", listing{version: 1, url: true, delimiter: delimiter}, plainItems(left, "", delimiter), 3)
	}
	all, document, kept := r.keys, "", []string(nil)
	for _, key := range all {
		if !inXML(key) { // no document can name it
			kept = append(kept, key)
			a := r.deleteObjects("keys-copy", "<Object><Key>"+escapeXML(key)+"</Key></Object>")
			r.check("DeleteObjects", key, a.status == 400 && strings.Contains(a.body, "MalformedXML"), "%d %s", a.status, a.body)
			continue
		}
		document += "<Object><Key>" + escapeXML(key) + "</Key></Object>"
	}
	a := r.deleteObjects("keys-copy", document)
	var named []string
	for rest := a.body; ; {
		_, after, ok := strings.Cut(rest, "<Deleted>")
		if !ok {
			break
		}
		named, rest = append(named, page{text: after}.field("Key")), after
	}
	r.check("DeleteObjects", "", a.status == 200 && len(named) == len(all)-len(kept) && slices.Equal(named, slices.DeleteFunc(slices.Clone(all), func(key string) bool { return !inXML(key) })), "%d %s", a.status, a.body)
	r.compare("DeleteObjects", "keys-copy", listing{version: 2, url: true}, plainItems(kept, "", ""), 0)
}

func (r *run) deleteObjects(bucket, objects string) answer {
	body := "<Delete>" + objects + "</Delete>"
	return r.do("POST", bucket, "", "delete", body, "Content-MD5", md5Text(body))
}

func md5Text(body string) string {
	sum := md5.Sum([]byte(body))
	return base64.StdEncoding.EncodeToString(sum[:])
}
