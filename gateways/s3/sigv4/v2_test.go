package sigv4

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The examples of "Signing and authenticating REST requests (AWS Signature Version 2)".
var exampleTimeV2 = time.Date(2007, 3, 27, 19, 36, 42, 0, time.UTC)

func verifierV2() *Verifier {
	return &Verifier{Region: "us-east-1", Now: func() time.Time { return exampleTimeV2 },
		Bucket: func(host string) string {
			bucket, _ := strings.CutSuffix(host, ".s3.us-west-1.amazonaws.com")
			if bucket == host {
				bucket = ""
			}
			return bucket
		},
		Secret: func(key string) (string, bool) { return exampleSecret, key == exampleKey }}
}

func requestV2(t testing.TB, host, method, target string, headers ...string) *http.Request {
	r := request(t, method, target, headers...)
	r.Host = host
	return r
}

func TestPublishedExamplesV2(t *testing.T) {
	const hosted, path = "awsexamplebucket1.s3.us-west-1.amazonaws.com", "s3.us-west-1.amazonaws.com"
	auth := func(signature string) string { return "AWS " + exampleKey + ":" + signature }
	for name, c := range map[string]struct {
		r   *http.Request
		now time.Time
	}{
		"get": {requestV2(t, hosted, "GET", "/photos/puppy.jpg", "Date", "Tue, 27 Mar 2007 19:36:42 +0000", "Authorization", auth("qgk2+6Sv9/oM7G3qLEjTH1a1l1g=")), exampleTimeV2},
		"put": {requestV2(t, hosted, "PUT", "/photos/puppy.jpg", "Content-Type", "image/jpeg", "Content-Length", "94328", "Date", "Tue, 27 Mar 2007 21:15:45 +0000",
			"Authorization", auth("iqRzw+ileNPu1fhspnRs8nOjjIA=")), exampleTimeV2.Add(99 * time.Minute)},
		"list": {requestV2(t, hosted, "GET", "/?prefix=photos&max-keys=50&marker=puppy", "User-Agent", "Mozilla/5.0", "Date", "Tue, 27 Mar 2007 19:42:41 +0000",
			"Authorization", auth("m0WP8eCtspQl5Ahe6L1SozdX9YA=")), exampleTimeV2},
		"acl": {requestV2(t, hosted, "GET", "/?acl", "Date", "Tue, 27 Mar 2007 19:44:46 +0000", "Authorization", auth("82ZHiFIjc+WbcwFKGUVEQspPn+0=")), exampleTimeV2},
		"delete": {requestV2(t, path, "DELETE", "/johnsmith/photos/puppy.jpg", "User-Agent", "dotnet", "Date", "Tue, 27 Mar 2007 21:20:27 +0000",
			"X-Amz-Date", "Tue, 27 Mar 2007 21:20:26 +0000", "Authorization", auth("R4dJ53KECjStyBO5iTBJZ4XVOaI=")), exampleTimeV2.Add(100 * time.Minute)},
		"list all": {requestV2(t, path, "GET", "/", "Date", "Wed, 28 Mar 2007 01:29:59 +0000", "Authorization", auth("qGdzdERIC03wnaRNKh6OqZehG9s=")), exampleTimeV2.Add(6 * time.Hour)},
		"unicode": {requestV2(t, path, "GET", "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re", "Date", "Wed, 28 Mar 2007 01:49:49 +0000",
			"Authorization", auth("DNEZGsoieTZ92F3bUfSPQcbGmlM=")), exampleTimeV2.Add(6 * time.Hour)},
		"query": {requestV2(t, "johnsmith.s3.us-west-1.amazonaws.com", "GET", "/photos/puppy.jpg?AWSAccessKeyId="+exampleKey+"&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620"), exampleTimeV2},
	} {
		v := verifierV2()
		v.Now = func() time.Time { return c.now }
		s, err := verify(t, v, c.r)
		if err != nil || s.AccessKey != exampleKey || !s.V2 || s.Presigned != (name == "query") {
			t.Errorf("%s: %+v %v", name, s, err)
		}
	}
}

// TestTamperingV2 signs a request with Version 2, changes one thing, and expects a refusal.
func TestTamperingV2(t *testing.T) {
	now := exampleTimeV2
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	add := func(pair string) func(*http.Request) {
		return func(r *http.Request) { r.URL.RawQuery += "&" + pair }
	}
	replace := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			if !strings.Contains(r.URL.RawQuery, from) {
				panic("nothing changed")
			}
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, from, to, 1)
		}
	}
	const mismatch = "SignatureDoesNotMatch"
	type change struct {
		change func(*http.Request)
		code   string
	}
	both := map[string]change{
		"good":             {func(*http.Request) {}, ""},
		"method":           {func(r *http.Request) { r.Method = "DELETE" }, mismatch},
		"path":             {func(r *http.Request) { r.URL.Path = "/b/other" }, mismatch},
		"bucket in host":   {func(r *http.Request) { r.Host = "c.s3.us-west-1.amazonaws.com" }, mismatch},
		"content type":     {set("Content-Type", "text/html"), mismatch},
		"content md5":      {set("Content-Md5", "x"), mismatch},
		"x-amz header":     {set("X-Amz-Acl", "public-read"), mismatch},
		"meta":             {set("X-Amz-Meta-A", "two"), mismatch},
		"second meta":      {func(r *http.Request) { r.Header.Add("X-Amz-Meta-A", "two") }, mismatch},
		"version":          {add("versionId=1"), mismatch},
		"sub-resource":     {add("retention"), mismatch},
		"attributes":       {add("attributes"), mismatch},
		"response":         {add("response-content-type=text/html"), mismatch},
		"not covered":      {add("prefix=x"), ""},
		"token":            {set("X-Amz-Security-Token", "x"), "InvalidToken"},
		"version 4, too":   {add("X-Amz-Signature=x"), "InvalidArgument"},
		"digest":           {set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), mismatch},
		"digest malformed": {set("X-Amz-Content-Sha256", "x"), "InvalidArgument"},
		"signed chunks":    {set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), "InvalidRequest"},
	}
	inHeader := map[string]change{
		"two authorizations": {func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, "InvalidArgument"},
		"in query, too":      {add("Signature=x"), "InvalidArgument"},
		"no colon":           {set("Authorization", "AWS HAHAHA"), "InvalidArgument"},
		"unknown key":        {set("Authorization", "AWS AKIA:FWeDfwojDSdS2Ztmpfeubhd9isU="), "InvalidAccessKeyId"},
		"wrong signature":    {set("Authorization", "AWS "+exampleKey+":FWeDfwojDSdS2Ztmpfeubhd9isU="), mismatch},
		"empty signature":    {set("Authorization", "AWS "+exampleKey+":"), "InvalidArgument"},
		"date":               {set("Date", now.Add(time.Second).Format(http.TimeFormat)), mismatch},
		"date added":         {set("X-Amz-Date", now.Format(http.TimeFormat)), mismatch},
		"no date":            {func(r *http.Request) { r.Header.Del("Date") }, "AccessDenied"},
		"two dates":          {func(r *http.Request) { r.Header.Add("Date", r.Header.Get("Date")) }, "InvalidArgument"},
		"bad date":           {set("X-Amz-Date", "Bad Date"), "AccessDenied"},
		"empty date":         {set("X-Amz-Date", ""), "AccessDenied"},
		"date before 1970":   {set("X-Amz-Date", "Tue, 07 Jul 1950 21:53:04 GMT"), "AccessDenied"},
		"old date":           {set("X-Amz-Date", "Tue, 07 Jul 2004 21:53:04 GMT"), "RequestTimeTooSkewed"},
		"far date":           {set("X-Amz-Date", "Tue, 07 Jul 9999 21:53:04 GMT"), "RequestTimeTooSkewed"},
	}
	inQuery := map[string]change{
		"in header, too":  {set("Authorization", "AWS a:b"), "InvalidArgument"},
		"expires":         {replace("Expires=", "Expires=1"), mismatch},
		"expires past":    {replace("Expires=1", "Expires="), "AccessDenied"},
		"expires twice":   {add("Expires=9999999999"), "AccessDenied"},
		"expires unknown": {replace("Expires=", "Expires=x"), "AccessDenied"},
		"no expires":      {replace("Expires=", "X="), "AccessDenied"},
		"no signature":    {replace("Signature=", "X="), "AccessDenied"},
		"unknown key":     {replace("AWSAccessKeyId=", "AWSAccessKeyId=X"), "InvalidAccessKeyId"},
		"x-amz parameter": {add("x-amz-acl=public-read"), mismatch},
		"content type":    {func(r *http.Request) { r.Header.Del("Content-Type"); add("content-type=text/html")(r) }, mismatch},
	}
	for way, more := range map[string]map[string]change{"header": inHeader, "query": inQuery} {
		for _, changes := range []map[string]change{both, more} {
			for name, c := range changes {
				r := requestV2(t, "b.s3.us-west-1.amazonaws.com", "PUT", "/a%20b?uploadId=1&partNumber=2", "X-Amz-Meta-A", "one", "Content-Type", "text/plain")
				var err error
				if way == "header" {
					err = signer.SignV2(r, "b", now)
				} else {
					err = signer.PresignV2(r, "b", now.Add(time.Minute))
				}
				if err != nil {
					t.Fatal(err)
				}
				c.change(r)
				if _, err := verify(t, verifierV2(), r); code(err) != c.code {
					t.Errorf("%s, %s: %v, want %q", way, name, err, c.code)
				}
			}
		}
	}
	for _, off := range []time.Duration{-16 * time.Minute, 16 * time.Minute} {
		r := requestV2(t, "x", "GET", "/b")
		signer.SignV2(r, "", now.Add(off))
		if _, err := verify(t, verifierV2(), r); code(err) != "RequestTimeTooSkewed" {
			t.Errorf("off by %v: %v", off, err)
		}
	}
	for path, want := range map[string]string{"/b": "", "/b/": "", "/b//": "SignatureDoesNotMatch", "/": "SignatureDoesNotMatch"} {
		r := requestV2(t, "x", "GET", "/b/")
		signer.SignV2(r, "", now)
		r.URL.Path = path
		if _, err := verify(t, verifierV2(), r); code(err) != want {
			t.Errorf("/b/ was signed, %s was sent: %v", path, err)
		}
	}
	v := verifierV2()
	v.RefuseV2 = true
	r := requestV2(t, "x", "GET", "/b")
	signer.SignV2(r, "", now)
	if _, err := verify(t, v, r); code(err) != "InvalidRequest" {
		t.Errorf("refused, but %v", err)
	}
	r = requestV2(t, "x", "GET", "/b")
	signer.PresignV2(r, "", now.Add(time.Hour))
	if _, err := verify(t, v, r); code(err) != "InvalidRequest" {
		t.Errorf("refused, but %v", err)
	}
	if _, err := verify(t, verifierV2(), r); err != nil {
		t.Errorf("not refused, but %v", err)
	}
}

// TestParametersOfHeadersV2 has parameters in the query that stand for headers, as botocore presigns with Version 2.
func TestParametersOfHeadersV2(t *testing.T) {
	r := requestV2(t, "x", "PUT", "/b/k?x-amz-meta-a=one&content-type=text%2Fplain&prefix=p")
	if err := signer.PresignV2(r, "", exampleTimeV2.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	s, err := verify(t, verifierV2(), r)
	if err != nil {
		t.Fatal(err)
	}
	query, _ := ParseQuery(r.URL.RawQuery)
	headers, rest := s.Rest(query)
	if len(headers) != 2 || len(rest) != 1 || rest[0].Name != "prefix" {
		t.Errorf("%v %v", headers, rest)
	}
	r.Header.Set("Content-Type", "text/plain") // as the client then sends it
	r.Header.Set("X-Amz-Meta-A", "one")
	if _, err := verify(t, verifierV2(), r); err != nil {
		t.Error(err)
	}
}

// FuzzV2 looks for a panic, and for anything that is accepted without the secret.
func FuzzV2(f *testing.F) {
	f.Add("AWS AKIA:x", "Tue, 27 Mar 2007 19:36:42 +0000", "/b?acl", false)
	f.Add("", "", "/b?AWSAccessKeyId="+exampleKey+"&Expires=1175139620&Signature=x%3D", true)
	f.Fuzz(func(t *testing.T, authorization, date, target string, inQuery bool) {
		r, err := http.NewRequest("GET", "http://x", nil)
		if err != nil {
			t.Fatal(err)
		}
		path, raw, _ := strings.Cut(target, "?")
		query, err := ParseQuery(raw)
		if err != nil {
			return
		}
		if !inQuery {
			r.Header["Authorization"] = []string{authorization}
		}
		r.Header.Set("Date", date)
		if s, err := verifierV2().Verify(r, path, query); err == nil {
			t.Fatalf("%q %q %q was accepted: %+v", authorization, date, target, s)
		}
	})
}
