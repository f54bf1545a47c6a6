package sigv4

import (
	"bytes"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	sha256 "github.com/minio/sha256-simd"
)

// Signer signs requests as a client does.
type Signer struct {
	AccessKey, SecretKey, Region string
}

func (s Signer) credential(when time.Time) credential {
	return credential{s.AccessKey, when.UTC().Format(dateFormat), s.Region, "s3", "aws4_request"}
}

// Sign signs r in its header. payload is the value of x-amz-content-sha256: PayloadHash of the body or one of the modes. Every
// header that r has is signed. It returns the signature, from which chunks go on.
func (s Signer) Sign(r *http.Request, payload string, when time.Time) (string, error) {
	r.Header.Set("X-Amz-Date", when.UTC().Format(timeFormat))
	r.Header.Set("X-Amz-Content-Sha256", payload)
	r.Header.Del("Authorization")
	names := []string{"host"}
	for name := range r.Header {
		names = append(names, strings.ToLower(name))
	}
	slices.Sort(names)
	signedHeaders := strings.Join(names, ";")
	c := s.credential(when)
	signature, err := s.signature(r, c, signedHeaders, payload, when, false)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", algorithm+" Credential="+c.accessKey+"/"+c.scope()+", SignedHeaders="+signedHeaders+", Signature="+signature)
	return signature, nil
}

// Presign returns the URL of r with the signature in its query, valid for a time from when. Only the host is signed beside the URL.
func (s Signer) Presign(r *http.Request, when time.Time, valid time.Duration) (*url.URL, error) {
	c := s.credential(when)
	signed := *r
	u := *r.URL
	signed.URL = &u
	add := "X-Amz-Algorithm=" + algorithm + "&X-Amz-Credential=" + encode(c.accessKey+"/"+c.scope(), true) + "&X-Amz-Date=" +
		when.UTC().Format(timeFormat) + "&X-Amz-Expires=" + strconv.Itoa(int(valid/time.Second)) + "&X-Amz-SignedHeaders=host"
	if u.RawQuery != "" {
		add = u.RawQuery + "&" + add
	}
	u.RawQuery = add
	signature, err := s.signature(&signed, c, "host", "UNSIGNED-PAYLOAD", when, true)
	if err != nil {
		return nil, err
	}
	u.RawQuery += "&X-Amz-Signature=" + signature
	return &u, nil
}

func (s Signer) signature(r *http.Request, c credential, signedHeaders, payload string, when time.Time, presigned bool) (string, error) {
	query, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	uri, err := canonicalURI(r.URL.EscapedPath())
	if err != nil {
		return "", err
	}
	clone := *r
	if clone.Host == "" {
		clone.Host = r.URL.Host
	}
	canonical := canonicalRequest(&clone, uri, query.canonical(presigned, false), signedHeaders, payload)
	return hexMAC(signingKey(s.SecretKey, c), stringToSign(when, c.scope(), canonical)), nil
}

// PayloadHash returns the value of x-amz-content-sha256 for a body that is signed as a whole.
func PayloadHash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Chunks encodes body as aws-chunked, in chunks of size bytes. With a seed, the signature of the request, chunks are signed, and
// so are the trailers.
func (s Signer) Chunks(body []byte, size int, seed string, trailers map[string]string, when time.Time) []byte {
	var out bytes.Buffer
	c := s.credential(when)
	signed := &Signed{key: signingKey(s.SecretKey, c), when: when, scope: c.scope()}
	chain := &chunkReader{request: signed, previous: seed}
	for last := false; !last; {
		chunk := body[:min(size, len(body))]
		body = body[len(chunk):]
		last = len(chunk) == 0
		out.WriteString(strconv.FormatInt(int64(len(chunk)), 16))
		if seed != "" {
			chain.previous = chain.sign("AWS4-HMAC-SHA256-PAYLOAD", emptyHash+"\n"+PayloadHash(chunk))
			out.WriteString(";chunk-signature=" + chain.previous)
		}
		out.WriteString("\r\n")
		if !last {
			out.Write(chunk)
			out.WriteString("\r\n")
		}
	}
	var covered strings.Builder
	for _, name := range sortedNames(trailers) {
		covered.WriteString(name + ":" + trailers[name] + "\n")
		out.WriteString(name + ":" + trailers[name] + "\r\n")
	}
	if len(trailers) > 0 && seed != "" {
		out.WriteString("x-amz-trailer-signature:" + chain.sign("AWS4-HMAC-SHA256-TRAILER", hexHash(covered.String())) + "\r\n")
	}
	out.WriteString("\r\n")
	return out.Bytes()
}
