package sigv4

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	sha256 "github.com/minio/sha256-simd"
)

// Signature Version 2, which older clients send: HMAC-SHA1 over the method, four headers, every x-amz-* header, the path as it came, and those
// parameters of the query that name a sub-resource or replace headers of the answer.
//
//	Authorization: AWS AKID:signature
//	?AWSAccessKeyId=AKID&Expires=seconds&Signature=signature
//
// It covers neither the body, nor other headers, nor other parameters: whoever holds a URL that lists a bucket can ask for another prefix. Nobody can
// make another operation of it, for every parameter that names one is covered. Clients sign some of these, those of newer sub-resources, in Version 4
// only; then their signature does not match.
//
// Source: "Signing and authenticating REST requests (AWS Signature Version 2)" of the S3 user guide.

const algorithmV2 = "AWS"

// subResources are the parameters that Version 2 covers, in order.
var subResources = []string{"accelerate", "acl", "analytics", "append", "attributes", "cors", "defaultObjectAcl", "delete", "encryption",
	"intelligent-tiering", "inventory", "legal-hold", "lifecycle", "location", "logging", "metrics", "notification", "object-lock", "ownershipControls",
	"partNumber", "policy", "policyStatus", "position", "publicAccessBlock", "renameObject", "renamePrefix", "replication", "requestPayment", "response-cache-control",
	"response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type", "response-expires", "restore",
	"retention", "select", "select-type", "session", "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions",
	"website"}

// CoveredByV2 reports whether Version 2 signs a parameter of the query.
func CoveredByV2(parameter string) bool { return slices.Contains(subResources, parameter) }

// hoistedV2 are the parameters beside x-amz-* that stand for headers in a URL signed with Version 2.
var hoistedV2 = []string{"content-md5", "content-type"}

// claimV2 is what a request says about its signature of Version 2.
type claimV2 struct {
	accessKey, signature string
	date                 string // the line of the string to sign
	presigned            bool
}

// verifyV2 checks a request whose header is signed with Version 2, or its query if header is "".
func (v *Verifier) verifyV2(r *http.Request, path string, query Query, header string) (*Signed, error) {
	if v.RefuseV2 {
		return nil, unsupportedMechanism()
	}
	if r.Header.Get("X-Amz-Security-Token") != "" || query.Has("x-amz-security-token") {
		return nil, invalidToken()
	}
	c, err := v.readClaimV2(r, query, header)
	if err != nil {
		return nil, err
	}
	payload, digest, err := payloadV2(r)
	if err != nil {
		return nil, err
	}
	secret, ok := v.Secret(c.accessKey)
	if !ok {
		return nil, unknownKey(c.accessKey)
	}
	bucket := ""
	if v.Bucket != nil {
		bucket = v.Bucket(r.Host)
	}
	toSign := stringToSignV2(r, c, bucket, path, query)
	right := sameSignature(macV2(secret, toSign), c.signature)
	if !right && bucket == "" && len(path) > 1 && strings.Count(path, "/") == 1 { // "/bucket" is "/bucket/": botocore sends the one and signs the other
		right = sameSignature(macV2(secret, stringToSignV2(r, c, "", path+"/", query)), c.signature)
	}
	if !right {
		return nil, refuse("SignatureDoesNotMatch",
			"The request signature we calculated does not match the signature you provided. Check your key and signing method.",
			Field{"AWSAccessKeyId", c.accessKey}, Field{"StringToSign", toSign}, Field{"SignatureProvided", c.signature})
	}
	return &Signed{AccessKey: c.accessKey, Presigned: c.presigned, V2: true, Payload: payload, digest: digest, header: r.Header}, nil
}

func unknownKey(accessKey string) *Error {
	return refuse("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", Field{"AWSAccessKeyId", accessKey})
}

func (v *Verifier) readClaimV2(r *http.Request, query Query, header string) (claimV2, error) {
	if header == "" {
		return v.readQueryClaimV2(query)
	}
	accessKey, signature, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(header, algorithmV2)), ":")
	if !ok || accessKey == "" || signature == "" || len(header) > authorizationBytesMax {
		return claimV2{}, refuse("InvalidArgument", "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature",
			Field{"ArgumentName", "Authorization"}, Field{"ArgumentValue", header})
	}
	when, err := headerTime(r)
	if err != nil {
		return claimV2{}, err
	}
	if err := v.checkSkew(when); err != nil {
		return claimV2{}, err
	}
	c := claimV2{accessKey: accessKey, signature: signature}
	if len(r.Header["X-Amz-Date"]) == 0 {
		c.date = r.Header.Get("Date")
	}
	return c, nil
}

func (v *Verifier) readQueryClaimV2(query Query) (claimV2, error) {
	for _, name := range authenticationV2 {
		if query.count(name) != 1 {
			return claimV2{}, refuse("AccessDenied", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters, each of them once")
		}
	}
	c := claimV2{presigned: true}
	c.accessKey, _ = query.Get("AWSAccessKeyId")
	c.signature, _ = query.Get("Signature")
	c.date, _ = query.Get("Expires")
	seconds, err := strconv.ParseInt(c.date, 10, 64)
	if err != nil {
		return c, refuse("AccessDenied", "Invalid date (should be seconds since epoch): "+c.date)
	}
	if now := v.Now().UTC(); now.Unix() > seconds {
		return c, refuse("AccessDenied", "Request has expired", Field{"Expires", time.Unix(max(seconds, 0), 0).UTC().Format(time.RFC3339)},
			Field{"ServerTime", now.Format(time.RFC3339)})
	}
	return c, nil
}

// payloadV2 says how the body is covered: by a digest if the client gave one, which is a signed header then.
func payloadV2(r *http.Request) (Payload, [sha256.Size]byte, error) {
	switch values := r.Header["X-Amz-Content-Sha256"]; len(values) {
	case 0:
		return Unsigned, [sha256.Size]byte{}, nil
	case 1:
		payload, digest, err := parsePayload(values[0])
		if err == nil && payload.signed() {
			err = refuse("InvalidRequest", "A body in signed chunks needs Signature Version 4.")
		}
		return payload, digest, err
	}
	return Unsigned, [sha256.Size]byte{}, twice("x-amz-content-sha256")
}

func stringToSignV2(r *http.Request, c claimV2, bucket, path string, query Query) string {
	headers := map[string][]string{}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = values
	}
	if c.presigned { // a header that is there, too, is compared with the parameter by whoever makes headers of these
		for _, p := range query {
			if name := strings.ToLower(p.Name); len(headers[name]) == 0 && (strings.HasPrefix(name, "x-amz-") || slices.Contains(hoistedV2, name)) {
				headers[name] = []string{p.Value}
			}
		}
	}
	first := func(name string) string {
		if len(headers[name]) == 0 {
			return ""
		}
		return strings.Trim(headers[name][0], " \t")
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + first("content-md5") + "\n" + first("content-type") + "\n" + c.date + "\n")
	var names []string
	for name := range headers {
		if strings.HasPrefix(name, "x-amz-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		b.WriteString(name + ":")
		for i, value := range headers[name] {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strings.Trim(value, " \t"))
		}
		b.WriteByte('\n')
	}
	if bucket != "" {
		b.WriteString("/" + bucket)
	}
	b.WriteString(path)
	b.WriteString(query.canonicalV2())
	return b.String()
}

// canonicalV2 has the parameters that are covered, in order, decoded; one without a value has no "=".
func (q Query) canonicalV2() string {
	covered := slices.DeleteFunc(slices.Clone(q), func(p Param) bool { return !CoveredByV2(p.Name) })
	slices.SortStableFunc(covered, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
	var b strings.Builder
	for i, p := range covered {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(p.Name)
		if p.Value != "" {
			b.WriteString("=" + p.Value)
		}
	}
	return b.String()
}

func macV2(secret, toSign string) string {
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(toSign))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// SignV2 signs r in its header with Version 2. bucket is the one that the host names, or "".
func (s Signer) SignV2(r *http.Request, bucket string, when time.Time) error {
	query, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	c := claimV2{}
	if r.Header.Get("X-Amz-Date") == "" {
		c.date = when.UTC().Format(http.TimeFormat)
		r.Header.Set("Date", c.date)
	}
	r.Header.Set("Authorization", algorithmV2+" "+s.AccessKey+":"+macV2(s.SecretKey, stringToSignV2(r, c, bucket, r.URL.EscapedPath(), query)))
	return nil
}

// PresignV2 adds to the query of r's URL a signature of Version 2 that is valid until an instant.
func (s Signer) PresignV2(r *http.Request, bucket string, until time.Time) error {
	query, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	c := claimV2{presigned: true, date: strconv.FormatInt(until.Unix(), 10)}
	signature := macV2(s.SecretKey, stringToSignV2(r, c, bucket, r.URL.EscapedPath(), query))
	if r.URL.RawQuery != "" {
		r.URL.RawQuery += "&"
	}
	r.URL.RawQuery += "AWSAccessKeyId=" + encode(s.AccessKey, true) + "&Expires=" + c.date + "&Signature=" + encode(signature, true)
	return nil
}
