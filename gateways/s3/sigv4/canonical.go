package sigv4

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Param is one parameter of a query, decoded. A parameter without "=" has an empty value.
type Param struct{ Name, Value string }

// Query is a decoded query in the order of the URL.
type Query []Param

// ParseQuery decodes the part of a URL behind "?". Parameters are separated by "&" alone; "+" is a space. The error is an *Error
// with code InvalidURI.
func ParseQuery(raw string) (Query, error) {
	var q Query
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, errName := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		if errName != nil || errValue != nil {
			return nil, refuse("InvalidURI", "Couldn't parse the specified URI: the query has an invalid escape.")
		}
		q = append(q, Param{name, value})
	}
	return q, nil
}

// Get returns the first value of name, and whether there is one. Names are compared exactly.
func (q Query) Get(name string) (string, bool) {
	for _, p := range q {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// Has reports whether name occurs.
func (q Query) Has(name string) bool {
	_, ok := q.Get(name)
	return ok
}

func (q Query) count(name string) int {
	n := 0
	for _, p := range q {
		if p.Name == name {
			n++
		}
	}
	return n
}

// authentication names the parameters of a presigned URL that are about its signature.
var authentication = []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
	"X-Amz-Signature", "X-Amz-Content-Sha256"}

// authenticationV2 names those of Version 2.
var authenticationV2 = []string{"AWSAccessKeyId", "Expires", "Signature"}

// Rest returns the parameters of a presigned URL that are not about its signature, in two parts: those that stand for headers, and those that are the
// request's query.
func (s *Signed) Rest(q Query) (headers, query Query) {
	about := authentication
	if s.V2 {
		about = authenticationV2
	}
	for _, p := range q {
		name := strings.ToLower(p.Name)
		switch {
		case slices.Contains(about, p.Name):
		case strings.HasPrefix(name, "x-amz-"), s.V2 && slices.Contains(hoistedV2, name):
			headers = append(headers, p)
		default:
			query = append(query, p)
		}
	}
	return headers, query
}

// canonical sorts by encoded name, then by encoded value or, with asGiven, in the order of the URL. The signature itself is left out of a presigned query.
func (q Query) canonical(presigned, asGiven bool) string {
	pairs := make([]Param, 0, len(q))
	for _, p := range q {
		if presigned && p.Name == "X-Amz-Signature" {
			continue
		}
		pairs = append(pairs, Param{encode(p.Name, true), encode(p.Value, true)})
	}
	slices.SortStableFunc(pairs, func(a, b Param) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 || asGiven {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.Name)
		b.WriteByte('=')
		b.WriteString(p.Value)
	}
	return b.String()
}

// encode is AWS's UriEncode: everything but A-Z a-z 0-9 - . _ ~ becomes %XX, "/" only if slash says so.
func encode(s string, slash bool) string {
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+len(s)/8)
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/' && !slash:
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

// canonicalURI decodes the path as it came and encodes it once, in AWS's way. Nothing is normalised: "//", "." and ".." stay.
func canonicalURI(path string) (string, error) {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return "", refuse("InvalidURI", "Couldn't parse the specified URI: the path has an invalid escape.")
	}
	if decoded == "" {
		return "/", nil
	}
	return encode(decoded, false), nil
}

func canonicalRequest(r *http.Request, uri, query, signedHeaders, payload string) string {
	names := strings.Split(signedHeaders, ";")
	slices.Sort(names)
	var b strings.Builder
	b.WriteString(r.Method + "\n" + uri + "\n" + query + "\n")
	for _, name := range names {
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(headerValue(r, name))
		b.WriteByte('\n')
	}
	b.WriteString("\n" + signedHeaders + "\n" + payload)
	return b.String()
}

// headerValue joins the trimmed values of a header by commas. net/http moves some headers out of r.Header.
func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return trimSpaces(r.Host)
	case "content-length":
		if len(r.Header["Content-Length"]) == 0 {
			return strconv.FormatInt(max(r.ContentLength, 0), 10)
		}
	case "transfer-encoding":
		return strings.Join(r.TransferEncoding, ",")
	}
	values := r.Header[http.CanonicalHeaderKey(name)]
	if len(values) == 1 {
		return trimSpaces(values[0])
	}
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = trimSpaces(v)
	}
	return strings.Join(trimmed, ",")
}

// trimSpaces removes white space at both ends and makes one space of several in a row.
func trimSpaces(s string) string {
	s = strings.Trim(s, " \t")
	if !strings.Contains(s, "  ") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] == ' ' && i > 0 && s[i-1] == ' ' {
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}
