package sigv4

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// The examples of "Authenticating Requests" in the S3 API reference.
const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	exampleHost   = "examplebucket.s3.amazonaws.com"
)

var exampleTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

func exampleVerifier() *Verifier {
	return &Verifier{Region: "us-east-1", Now: func() time.Time { return exampleTime }, Secret: func(key string) (string, bool) {
		return exampleSecret, key == exampleKey
	}}
}

func request(t testing.TB, method, target string, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+exampleHost+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func verify(t testing.TB, v *Verifier, r *http.Request) (*Signed, error) {
	t.Helper()
	query, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	return v.Verify(r, r.URL.EscapedPath(), query)
}

func authorization(signedHeaders, signature string) string {
	return "AWS4-HMAC-SHA256 Credential=" + exampleKey + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + signedHeaders + ",Signature=" + signature
}

func TestPublishedExamples(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for name, r := range map[string]*http.Request{
		"get": request(t, "GET", "/test.txt", "Range", "bytes=0-9", "X-Amz-Content-Sha256", empty, "X-Amz-Date", "20130524T000000Z",
			"Authorization", authorization("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")),
		"put": request(t, "PUT", "/test$file.text", "Date", "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Date", "20130524T000000Z", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY",
			"X-Amz-Content-Sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
			"Authorization", authorization("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")),
		"lifecycle": request(t, "GET", "/?lifecycle", "X-Amz-Content-Sha256", empty, "X-Amz-Date", "20130524T000000Z",
			"Authorization", authorization("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")),
		"list": request(t, "GET", "/?max-keys=2&prefix=J", "X-Amz-Content-Sha256", empty, "X-Amz-Date", "20130524T000000Z",
			"Authorization", authorization("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")),
		"presigned": request(t, "GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"+
			"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := verify(t, exampleVerifier(), r)
			if err != nil {
				t.Fatal(err)
			}
			if s.AccessKey != exampleKey || s.Presigned != (name == "presigned") {
				t.Fatalf("got %+v", s)
			}
		})
	}
}

// chunkedExample is the example of "Signature Calculations … Transferring Payload in Multiple Chunks".
func chunkedExample(t testing.TB) (*http.Request, []byte) {
	r := request(t, "PUT", "/chunkObject.txt", "X-Amz-Date", "20130524T000000Z", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY",
		"X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "66560",
		"Content-Length", "66824", "Authorization", authorization("content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
			"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"))
	r.Host = "s3.amazonaws.com"
	r.URL.Path = "/examplebucket/chunkObject.txt"
	body := "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
	return r, []byte(body)
}

func readBody(t testing.TB, s *Signed, raw []byte) ([]byte, *Body, error) {
	t.Helper()
	b, err := s.Body(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, nil, err
	}
	got, err := io.ReadAll(b)
	return got, b, err
}

func code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestPublishedChunks(t *testing.T) {
	r, raw := chunkedExample(t)
	s, err := verify(t, exampleVerifier(), r)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := readBody(t, s, raw)
	if err != nil || string(got) != strings.Repeat("a", 66560) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	b, _ := s.Body(iotest.OneByteReader(bytes.NewReader(raw)), int64(len(raw)))
	if got, err := io.ReadAll(b); err != nil || len(got) != 66560 {
		t.Fatalf("byte by byte: %d bytes, %v", len(got), err)
	}
}

func TestPublishedTrailer(t *testing.T) {
	r := request(t, "PUT", "/", "X-Amz-Date", "20130524T000000Z", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "X-Amz-Trailer", "x-amz-checksum-crc32c",
		"X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "66560",
		"Authorization", authorization("content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
			"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"))
	r.Host = "s3.amazonaws.com"
	r.URL.Path = "/examplebucket/chunkObject.txt"
	s, err := verify(t, exampleVerifier(), r)
	if err != nil {
		t.Fatal(err)
	}
	raw := "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
		"x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
	got, b, err := readBody(t, s, []byte(raw))
	if err != nil || len(got) != 66560 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if v, ok := b.Trailer("x-amz-checksum-crc32c"); !ok || v != "sOO8/Q==" {
		t.Fatalf("trailer %q %v", v, ok)
	}
}

var signer = Signer{AccessKey: exampleKey, SecretKey: exampleSecret, Region: "us-east-1"}

// TestTampering signs a request, changes one thing, and expects a refusal.
func TestTampering(t *testing.T) {
	sign := func() *http.Request {
		r := request(t, "PUT", "/b/a%20b//..%2Fc?x=1&uploads", "X-Amz-Meta-A", "one", "Content-Type", "text/plain")
		if _, err := signer.Sign(r, PayloadHash([]byte("body")), exampleTime); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if _, err := verify(t, exampleVerifier(), sign()); err != nil {
		t.Fatal(err)
	}
	auth := func(from, to string) func(r *http.Request) {
		return func(r *http.Request) {
			before := r.Header.Get("Authorization")
			if after := strings.Replace(before, from, to, 1); after != before {
				r.Header.Set("Authorization", after)
			} else {
				panic("nothing changed")
			}
		}
	}
	for name, c := range map[string]struct {
		change func(r *http.Request)
		code   string
	}{
		"method":               {func(r *http.Request) { r.Method = "DELETE" }, "SignatureDoesNotMatch"},
		"path":                 {func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/b/a b/..", "" }, "SignatureDoesNotMatch"},
		"query":                {func(r *http.Request) { r.URL.RawQuery = "x=2&uploads" }, "SignatureDoesNotMatch"},
		"query added":          {func(r *http.Request) { r.URL.RawQuery += "&y" }, "SignatureDoesNotMatch"},
		"host":                 {func(r *http.Request) { r.Host = "evil" }, "SignatureDoesNotMatch"},
		"signed header":        {func(r *http.Request) { r.Header.Set("X-Amz-Meta-A", "two") }, "SignatureDoesNotMatch"},
		"content type":         {func(r *http.Request) { r.Header.Set("Content-Type", "text/html") }, "SignatureDoesNotMatch"},
		"second value":         {func(r *http.Request) { r.Header.Add("X-Amz-Meta-A", "two") }, "SignatureDoesNotMatch"},
		"unsigned header":      {func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") }, "AccessDenied"},
		"payload hash":         {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, "SignatureDoesNotMatch"},
		"payload mode unknown": {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "whatever") }, "InvalidArgument"},
		"payload missing":      {func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }, "InvalidRequest"},
		"payload twice":        {func(r *http.Request) { r.Header.Add("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, "InvalidArgument"},
		"no authorization":     {func(r *http.Request) { r.Header.Del("Authorization") }, "AccessDenied"},
		"two authorizations":   {func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, "InvalidArgument"},
		"header and query":     {func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Signature=0" }, "InvalidArgument"},
		"header and v2 query":  {func(r *http.Request) { r.URL.RawQuery += "&Signature=0&AWSAccessKeyId=a" }, "InvalidArgument"},
		"empty authorization":  {func(r *http.Request) { r.Header.Set("Authorization", "") }, "AccessDenied"},
		"version 4A":           {func(r *http.Request) { r.Header.Set("Authorization", "AWS4-ECDSA-P256-SHA256 x") }, "InvalidRequest"},
		"version 4 in lower case": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.ToLower(algorithm)+strings.TrimPrefix(r.Header.Get("Authorization"), algorithm))
		}, "InvalidArgument"},
		"bearer":           {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, "InvalidArgument"},
		"access key":       {auth(exampleKey, "AKIA"), "InvalidAccessKeyId"},
		"region":           {auth("us-east-1", "eu-west-1"), "AuthorizationHeaderMalformed"},
		"service":          {auth("/s3/", "/sts/"), "AuthorizationHeaderMalformed"},
		"terminal":         {auth("aws4_request", "aws5_request"), "AuthorizationHeaderMalformed"},
		"scope date":       {auth("20130524", "20130525"), "AuthorizationHeaderMalformed"},
		"host not signed":  {auth("host;", ""), "AccessDenied"},
		"meta not signed":  {auth(";x-amz-meta-a", ""), "AccessDenied"},
		"date not signed":  {auth(";x-amz-date", ""), "AccessDenied"},
		"signature short":  {auth("Signature=", "Signature=1"), "AuthorizationHeaderMalformed"},
		"no signature":     {auth("Signature=", "Sig="), "AuthorizationHeaderMalformed"},
		"field twice":      {func(r *http.Request) { auth(", Signature", ", SignedHeaders=host, Signature")(r) }, "AuthorizationHeaderMalformed"},
		"extra field":      {auth(", Signature", ", X=1, Signature"), "AuthorizationHeaderMalformed"},
		"too long":         {func(r *http.Request) { r.Header.Set("Authorization", algorithm+" "+strings.Repeat("a", 9000)) }, "AuthorizationHeaderMalformed"},
		"date missing":     {func(r *http.Request) { r.Header.Del("X-Amz-Date") }, "AccessDenied"},
		"date twice":       {func(r *http.Request) { r.Header.Add("X-Amz-Date", r.Header.Get("X-Amz-Date")) }, "InvalidArgument"},
		"date before 1970": {func(r *http.Request) { r.Header.Set("X-Amz-Date", "19500707T215304Z") }, "AccessDenied"},
		"date far away":    {func(r *http.Request) { auth("20130524", "99990707")(r); r.Header.Set("X-Amz-Date", "99990707T215304Z") }, "RequestTimeTooSkewed"},
		"date malformed":   {func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }, "AccessDenied"},
		"token":            {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, "InvalidToken"},
	} {
		t.Run(name, func(t *testing.T) {
			r := sign()
			c.change(r)
			if _, err := verify(t, exampleVerifier(), r); code(err) != c.code {
				t.Fatalf("got %v, want %s", err, c.code)
			}
		})
	}
}

func TestSecretMatters(t *testing.T) {
	r := request(t, "GET", "/b")
	other := signer
	other.SecretKey = "another"
	if _, err := other.Sign(r, "UNSIGNED-PAYLOAD", exampleTime); err != nil {
		t.Fatal(err)
	}
	_, err := verify(t, exampleVerifier(), r)
	if code(err) != "SignatureDoesNotMatch" || strings.Contains(err.Error(), exampleSecret) {
		t.Fatal(err)
	}
}

func TestSkewAndExpiry(t *testing.T) {
	for _, c := range []struct {
		off  time.Duration
		code string
	}{{-16 * time.Minute, "RequestTimeTooSkewed"}, {16 * time.Minute, "RequestTimeTooSkewed"}, {-14 * time.Minute, ""}, {14 * time.Minute, ""}} {
		r := request(t, "GET", "/b")
		signer.Sign(r, "UNSIGNED-PAYLOAD", exampleTime.Add(c.off))
		if _, err := verify(t, exampleVerifier(), r); code(err) != c.code {
			t.Errorf("off by %v: %v", c.off, err)
		}
	}
	for _, c := range []struct {
		off, valid time.Duration
		code       string
	}{
		{0, time.Second, ""}, {-time.Hour, 2 * time.Hour, ""}, {-2 * time.Second, time.Second, "AccessDenied"},
		{16 * time.Minute, time.Hour, "AccessDenied"}, {0, ExpiresMax, ""}, {0, ExpiresMax + time.Second, "AuthorizationQueryParametersError"},
		{0, 0, "AccessDenied"}, {-time.Second, time.Second, "AccessDenied"}, {0, -time.Second, "AuthorizationQueryParametersError"},
	} {
		r := request(t, "GET", "/b/k?x-id=GetObject")
		u, err := signer.Presign(r, exampleTime.Add(c.off), c.valid)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		if _, err := verify(t, exampleVerifier(), r); code(err) != c.code {
			t.Errorf("off by %v, valid for %v: %v", c.off, c.valid, err)
		}
	}
}

func TestPresignedTampering(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *http.Request)
		code   string
	}{
		"good":            {func(r *http.Request) {}, ""},
		"expires":         {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Expires=60", "Expires=61", 1) }, "SignatureDoesNotMatch"},
		"added":           {func(r *http.Request) { r.URL.RawQuery += "&versionId=1" }, "SignatureDoesNotMatch"},
		"expires twice":   {func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Expires=60" }, "AuthorizationQueryParametersError"},
		"expires unknown": {func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Expires=60", "Expires=x", 1) }, "AuthorizationQueryParametersError"},
		"method":          {func(r *http.Request) { r.Method = "PUT" }, "SignatureDoesNotMatch"},
		"x-amz header":    {func(r *http.Request) { r.Header.Set("X-Amz-Meta-A", "b") }, "AccessDenied"},
		"authorization":   {func(r *http.Request) { r.Header.Set("Authorization", "AWS a:b") }, "InvalidArgument"},
		"no signature":    {func(r *http.Request) { r.URL.RawQuery, _, _ = strings.Cut(r.URL.RawQuery, "&X-Amz-Signature") }, "AuthorizationQueryParametersError"},
		"token":           {func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Security-Token=x" }, "InvalidToken"},
		"streaming":       {func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Content-Sha256=STREAMING-UNSIGNED-PAYLOAD-TRAILER" }, "InvalidRequest"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, "GET", "/b/k")
			u, err := signer.Presign(r, exampleTime, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			r.URL = u
			c.change(r)
			if _, err := verify(t, exampleVerifier(), r); code(err) != c.code {
				t.Fatalf("got %v, want %q", err, c.code)
			}
		})
	}
}

func TestLiteralBody(t *testing.T) {
	signed := func(payload string) *Signed {
		r := request(t, "PUT", "/b/k")
		signer.Sign(r, payload, exampleTime)
		s, err := verify(t, exampleVerifier(), r)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	body := []byte("0123456789")
	for name, c := range map[string]struct {
		payload string
		raw     []byte
		length  int64
		code    string
	}{
		"good":        {PayloadHash(body), body, 10, ""},
		"empty":       {PayloadHash(nil), nil, 0, ""},
		"unsigned":    {"UNSIGNED-PAYLOAD", body, 10, ""},
		"wrong":       {PayloadHash(body), []byte("0123456788"), 10, "XAmzContentSHA256Mismatch"},
		"wrong empty": {PayloadHash(body), nil, 0, "XAmzContentSHA256Mismatch"},
		"short":       {PayloadHash(body), body[:9], 10, "IncompleteBody"},
		"long":        {PayloadHash(body), append(body, 'x'), 10, "IncompleteBody"},
		"no length":   {PayloadHash(body), body, -1, "MissingContentLength"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := signed(c.payload).Body(bytes.NewReader(c.raw), c.length)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(b)
			}
			if code(err) != c.code {
				t.Fatalf("got %v, want %q", err, c.code)
			}
			if c.code == "XAmzContentSHA256Mismatch" && int64(len(got)) == c.length && c.length > 0 {
				t.Fatal("the last byte was given although the digest is wrong")
			}
		})
	}
}

func TestChunkTampering(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 3<<10) // 48 KiB
	const sumName, sumValue = "x-amz-checksum-crc32", "AAAAAA=="
	build := func(payload string, decoded string, announce string) (*Signed, string) {
		r := request(t, "PUT", "/b/k")
		if decoded != "" {
			r.Header.Set("X-Amz-Decoded-Content-Length", decoded)
		}
		if announce != "" {
			r.Header.Set("X-Amz-Trailer", announce)
		}
		seed, _ := signer.Sign(r, payload, exampleTime)
		s, err := verify(t, exampleVerifier(), r)
		if err != nil {
			t.Fatal(err)
		}
		return s, seed
	}
	const signed, signedTrailer, unsigned = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	replace := func(from, to string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, from) {
				panic("nothing to change: " + from)
			}
			return strings.Replace(s, from, to, 1)
		}
	}
	keep := func(s string) string { return s }
	cut := func(n int) func(string) string { return func(s string) string { return s[:len(s)-n] } }
	for name, c := range map[string]struct {
		payload, decoded, announce string
		change                     func(string) string
		code                       string
	}{
		"signed":                  {signed, "49152", "", keep, ""},
		"signed trailer":          {signedTrailer, "49152", sumName, keep, ""},
		"unsigned trailer":        {unsigned, "49152", sumName, keep, ""},
		"no decoded length":       {signed, "", "", keep, "MissingContentLength"},
		"decoded length text":     {signed, "x", "", keep, "InvalidArgument"},
		"decoded length negative": {signed, "-1", "", keep, "InvalidArgument"},
		"decoded length short":    {signed, "49151", "", keep, "IncompleteBody"},
		"decoded length long":     {signed, "49153", "", keep, "IncompleteBody"},
		"data changed":            {signed, "49152", "", replace("0123456789", "1123456789"), "SignatureDoesNotMatch"},
		"chunk signature":         {signed, "49152", "", replace("chunk-signature=", "chunk-signature=00000000000000000000000000000000000000000000000000000000000000000"), "InvalidRequest"},
		"no final chunk":          {signed, "49152", "", func(s string) string { return s[:strings.LastIndex(s, "0;chunk")] }, "IncompleteBody"},
		"no final line":           {signed, "49152", "", cut(2), "IncompleteBody"},
		"final chunk signature":   {signed, "49152", "", func(s string) string { return s[:len(s)-5] + flip(s[len(s)-5:len(s)-4]) + s[len(s)-4:] }, "SignatureDoesNotMatch"},
		"more behind":             {signed, "49152", "", func(s string) string { return s + "x\r\n\r\n" }, "MalformedTrailerError"},
		"unannounced trailer":     {unsigned, "49152", "x-amz-checksum-sha1", keep, "MalformedTrailerError"},
		"announced twice":         {unsigned, "49152", sumName + "," + sumName, keep, "InvalidRequest"},
		"none announced":          {unsigned, "49152", "", keep, "InvalidRequest"},
		"trailer missing":         {unsigned, "49152", sumName, replace(sumName+":"+sumValue+"\r\n", ""), "MalformedTrailerError"},
		"trailer twice":           {unsigned, "49152", sumName, replace(sumName, sumName+":x\r\n"+sumName), "MalformedTrailerError"},
		"trailer changed":         {signedTrailer, "49152", sumName, replace(sumValue, "BAAAAA=="), "SignatureDoesNotMatch"},
		"trailer unsigned":        {signedTrailer, "49152", sumName, func(s string) string { return s[:strings.Index(s, "x-amz-trailer-signature")] + "\r\n" }, "IncompleteBody"},
		"no trailer at all":       {signedTrailer, "49152", sumName, func(s string) string { return s[:strings.Index(s, sumName)] + "\r\n" }, "IncompleteBody"},
		"unsigned no final chunk": {unsigned, "49152", sumName, func(s string) string { return s[:strings.LastIndex(s, "0\r\n")] }, "IncompleteBody"},
		"size signed":             {unsigned, "49152", sumName, replace("4000\r\n", "4000;chunk-signature=0\r\n"), "InvalidRequest"},
		"size huge":               {unsigned, "49152", sumName, replace("4000\r\n", "ffffffffffffffff\r\n"), "InvalidRequest"},
		"size larger":             {unsigned, "49152", sumName, replace("4000\r\n", "4001\r\n"), "InvalidRequest"},
		"size negative":           {unsigned, "49152", sumName, replace("4000\r\n", "-4000\r\n"), "InvalidRequest"},
		"size empty":              {unsigned, "49152", sumName, replace("4000\r\n", "\r\n"), "InvalidRequest"},
		"size control":            {unsigned, "49152", sumName, replace("4000\r\n", "4\x10\x10\x10\r\n"), "InvalidRequest"},
		"line endless":            {unsigned, "49152", sumName, func(s string) string { return strings.Repeat("0", 5000) }, "InvalidRequest"},
		"bare newline":            {unsigned, "49152", sumName, replace("4000\r\n", "4000\n"), "InvalidRequest"},
		"trailers for literal":    {"UNSIGNED-PAYLOAD", "", sumName, keep, "InvalidRequest"},
	} {
		t.Run(name, func(t *testing.T) {
			s, seed := build(c.payload, c.decoded, c.announce)
			if c.payload == unsigned || c.payload == "UNSIGNED-PAYLOAD" {
				seed = ""
			}
			var trailers map[string]string
			if c.payload == signedTrailer || c.payload == unsigned {
				trailers = map[string]string{sumName: sumValue}
			}
			raw := c.change(string(signer.Chunks(data, 16<<10, seed, trailers, exampleTime)))
			got, b, err := readBody(t, s, []byte(raw))
			if code(err) != c.code {
				t.Fatalf("got %v, want %q", err, c.code)
			}
			if err != nil && c.decoded == "49152" && len(got) >= len(data) {
				t.Fatal("the last byte was given although the body is refused")
			}
			if err == nil && !bytes.Equal(got, data) {
				t.Fatal("other bytes")
			}
			if _, ok := (&Body{}).Trailer(sumName); ok {
				t.Fatal("a trailer out of nothing")
			}
			if err == nil && trailers != nil {
				if v, _ := b.Trailer(sumName); v != sumValue {
					t.Fatalf("trailer %q", v)
				}
			}
		})
	}
	t.Run("small chunks", func(t *testing.T) {
		s, seed := build(signed, "49152", "")
		if _, _, err := readBody(t, s, signer.Chunks(data, 4<<10, seed, nil, exampleTime)); code(err) != "InvalidChunkSizeError" {
			t.Fatal(err)
		}
	})
	t.Run("empty", func(t *testing.T) {
		s, seed := build(signed, "0", "")
		if _, _, err := readBody(t, s, signer.Chunks(nil, 16<<10, seed, nil, exampleTime)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readBody(t, s, nil); code(err) != "IncompleteBody" {
			t.Fatal(err)
		}
	})
}

func flip(s string) string {
	if s == "0" {
		return "1"
	}
	return "0"
}

func TestCanonicalURI(t *testing.T) {
	for path, want := range map[string]string{
		"": "/", "/": "/", "/b/a//b": "/b/a//b", "/b/../c/./d": "/b/../c/./d", "/b/a%2Fb": "/b/a/b", "/b/a+b": "/b/a%2Bb", "/b/%7E~": "/b/~~",
		"/b/ä": "/b/%C3%A4", "/b/%25": "/b/%25", "/b/(x)": "/b/%28x%29", "/b/%00": "/b/%00",
	} {
		if got, err := canonicalURI(path); err != nil || got != want {
			t.Errorf("%q: got %q %v, want %q", path, got, err, want)
		}
	}
	if _, err := canonicalURI("/%zz"); code(err) != "InvalidURI" {
		t.Error(err)
	}
}

func TestCanonicalQuery(t *testing.T) {
	q, err := ParseQuery("b=2&a=x+y&a=%2f&uploads&b=10&a-b=1&=v&&X-Amz-Signature=s")
	if err != nil {
		t.Fatal(err)
	}
	if got := q.canonical(true, false); got != "=v&a=%2F&a=x%20y&a-b=1&b=10&b=2&uploads=" {
		t.Fatal(got)
	}
	if got := q.canonical(true, true); got != "=v&a=x%20y&a=%2F&a-b=1&b=2&b=10&uploads=" {
		t.Fatal(got)
	}
	if _, err := ParseQuery("a=%z"); code(err) != "InvalidURI" {
		t.Fatal(err)
	}
}

// TestRepeatedParameters signs several values of one parameter in AWS's order and in minio-go's, and moves, changes and adds one.
func TestRepeatedParameters(t *testing.T) {
	const target = "/?events=s3:ObjectRemoved&events=s3:ObjectCreated&ping=10"
	v, signer := exampleVerifier(), Signer{AccessKey: exampleKey, SecretKey: exampleSecret, Region: "us-east-1"}
	when := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	for _, asGiven := range []bool{false, true} {
		r := request(t, "GET", target)
		signer.Sign(r, PayloadHash(nil), when)
		if asGiven {
			q, err := ParseQuery(r.URL.RawQuery)
			if err != nil {
				t.Fatal(err)
			}
			claimed, err := readClaim(r, q, r.Header.Get("Authorization"))
			if err != nil {
				t.Fatal(err)
			}
			canonical := canonicalRequest(r, "/", q.canonical(false, true), claimed.signedHeaders, claimed.payload)
			signature := hexMAC(signingKey(exampleSecret, claimed.credential), stringToSign(claimed.when, claimed.credential.scope(), canonical))
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), claimed.signature, signature, 1))
		}
		if _, err := verify(t, v, r); err != nil {
			t.Fatalf("as given %v: %v", asGiven, err)
		}
		for _, other := range []string{strings.Replace(target, "Created", "Other", 1), target + "&events=s3:Other", target + "&a=b"} {
			changed := r.Clone(t.Context())
			changed.URL = request(t, "GET", other).URL
			changed.RequestURI = other
			if _, err := verify(t, v, changed); code(err) != "SignatureDoesNotMatch" {
				t.Errorf("as given %v, %s: %v", asGiven, other, err)
			}
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add(authorization("host;x-amz-date", strings.Repeat("0", 64)))
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=, Signature=")
	f.Fuzz(func(t *testing.T, s string) {
		c, headers, signature, err := parseAuthorization(s)
		if err == nil && (c.accessKey == "" || headers == "" || len(signature) != 64) {
			t.Fatalf("accepted %q as %+v", s, c)
		}
		if err != nil && code(err) == err.Error() {
			t.Fatalf("%q: not an Error: %v", s, err)
		}
	})
}

func FuzzPresigned(f *testing.F) {
	f.Add("/b/k", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=00")
	f.Fuzz(func(t *testing.T, path, raw string) {
		query, err := ParseQuery(raw)
		if err != nil {
			return
		}
		r := &http.Request{Method: "GET", Host: exampleHost, Header: http.Header{}}
		if _, err := exampleVerifier().Verify(r, path, query); err == nil {
			t.Fatalf("accepted %q", raw)
		}
	})
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"), int64(5), false)
	f.Add(signer.Chunks([]byte("hello"), 8192, "00", nil, exampleTime), int64(5), true)
	f.Fuzz(func(t *testing.T, raw []byte, length int64, signed bool) {
		s := &Signed{Payload: StreamingUnsignedTrailer, key: make([]byte, 32), seed: "00", header: http.Header{
			"X-Amz-Decoded-Content-Length": {"5"}, "X-Amz-Trailer": {"x-amz-checksum-crc32"}}}
		if signed {
			s.Payload = StreamingSigned
			s.header.Del("X-Amz-Trailer")
		}
		b, err := s.Body(bytes.NewReader(raw), -1)
		if err != nil {
			t.Fatal(err)
		}
		b.chunks.left, b.left, b.Length = length&0xfff, length&0xfff, length&0xfff
		got, err := io.ReadAll(b)
		if err == nil && int64(len(got)) != b.Length {
			t.Fatalf("%d bytes of %d", len(got), b.Length)
		}
		if err != nil && int64(len(got)) == b.Length && b.Length > 0 {
			t.Fatal("the last byte was given although the body is refused")
		}
		if _, again := b.Read(make([]byte, 1)); again == nil {
			t.Fatal("an ended body goes on")
		}
	})
}

func BenchmarkSignedChunks(b *testing.B) {
	data := make([]byte, 8<<20)
	r := request(b, "PUT", "/b/k", "X-Amz-Decoded-Content-Length", "8388608")
	seed, _ := signer.Sign(r, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", exampleTime)
	s, err := verify(b, exampleVerifier(), r)
	if err != nil {
		b.Fatal(err)
	}
	raw := signer.Chunks(data, 64<<10, seed, nil, exampleTime)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		body, _ := s.Body(bytes.NewReader(raw), int64(len(raw)))
		if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{body}, make([]byte, 1<<20)); err != nil {
			b.Fatal(err)
		}
	}
}
