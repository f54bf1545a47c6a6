// Package sigv4 verifies AWS Signature Version 4 as S3 uses it: in the Authorization header, in the query of a presigned URL, in the
// form of an upload from a browser, and over the body, whole or in signed chunks. It verifies Version 2, too, where that is not refused,
// and it signs, for tests and for our own clients.
//
// Promise: what Verify accepts was signed, with the secret of the key it names, for this method, path, query, host and every
// x-amz-* header of the request (with Version 2, of the query what v2.go says); and a Body gives its last byte only when digest, chunk
// signatures and trailer have been verified.
//
// The package does not know operations, XML or statuses: an Error carries the S3 code, and the gateway makes an answer of it.
//
// Source: "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference.
package sigv4

import (
	"crypto/hmac"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	sha256 "github.com/minio/sha256-simd"
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	// timeFormat is that of X-Amz-Date.
	timeFormat = "20060102T150405Z"
	dateFormat = "20060102"
	// SkewMax is how far a client's clock may be off.
	SkewMax = 15 * time.Minute
	// ExpiresMax is the longest life of a presigned URL.
	ExpiresMax = 7 * 24 * time.Hour
	// authorizationBytesMax bounds the Authorization header.
	authorizationBytesMax = 8 << 10
	// signedHeadersMax bounds the names in SignedHeaders.
	signedHeadersMax = 128
)

// Error is a refusal. Code is an S3 error code; Fields are further elements of the error body, in order.
type Error struct {
	Code    string
	Message string
	Fields  []Field
}

// Field is a named detail of an Error.
type Field struct{ Name, Value string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, message string, fields ...Field) *Error {
	return &Error{Code: code, Message: message, Fields: fields}
}

// Verifier verifies requests.
type Verifier struct {
	Region string // the only region of a credential scope that is accepted
	Now    func() time.Time
	Secret func(accessKey string) (secret string, ok bool)
	// Bucket returns the bucket that a host names, or "". Version 2 signs it with the path; nil stands for none.
	Bucket   func(host string) string
	RefuseV2 bool // Signature Version 2 is refused
}

// Signed is a request whose signature is right. Its body is still to be verified, see Body.
type Signed struct {
	AccessKey string
	Presigned bool
	V2        bool
	Payload   Payload

	digest [sha256.Size]byte // of a literal payload
	key    []byte            // signing key
	when   time.Time
	scope  string
	seed   string // signature of the request, from which chunk signatures follow
	header http.Header
}

// credential is AKID/date/region/s3/aws4_request.
type credential struct {
	accessKey, date, region, service, terminal string
}

func (c credential) scope() string {
	return c.date + "/" + c.region + "/" + c.service + "/" + c.terminal
}

func parseCredential(s string) (credential, bool) {
	parts := strings.Split(s, "/")
	n := len(parts)
	if n < 5 {
		return credential{}, false
	}
	c := credential{strings.Join(parts[:n-4], "/"), parts[n-4], parts[n-3], parts[n-2], parts[n-1]}
	return c, c.accessKey != ""
}

// claim is what a request says about its own signature, whichever way it came.
type claim struct {
	credential    credential
	signedHeaders string
	signature     string
	when          time.Time
	payload       string // value for the last line of the canonical request
	expires       time.Duration
	presigned     bool
	malformed     string // code of an Error about the form of the credential
}

// Verify checks the signature of r, whose path (as it came, escaped) and query are given. The errors are *Error.
func (v *Verifier) Verify(r *http.Request, path string, query Query) (*Signed, error) {
	header, version2, err := mechanism(r, query)
	if err != nil {
		return nil, err
	}
	if version2 {
		return v.verifyV2(r, path, query, header)
	}
	c, err := readClaim(r, query, header)
	if err != nil {
		return nil, err
	}
	if err := v.checkScope(c); err != nil {
		return nil, err
	}
	if err := v.checkTime(c); err != nil {
		return nil, err
	}
	if err := checkSignedHeaders(r, c.signedHeaders); err != nil {
		return nil, err
	}
	payload, digest, err := parsePayload(c.payload)
	if err != nil {
		return nil, err
	}
	if c.presigned && payload.streaming() {
		return nil, refuse("InvalidRequest", "A presigned request cannot have a body in signed or trailing chunks.")
	}
	secret, ok := v.Secret(c.credential.accessKey)
	if !ok {
		return nil, unknownKey(c.credential.accessKey)
	}
	uri, err := canonicalURI(path)
	if err != nil {
		return nil, err
	}
	canonical := canonicalRequest(r, uri, query.canonical(c.presigned, false), c.signedHeaders, c.payload)
	toSign := stringToSign(c.when, c.credential.scope(), canonical)
	key := signingKey(secret, c.credential)
	if !sameSignature(hexMAC(key, toSign), c.signature) && !c.signedAsGiven(r, uri, query, key) {
		return nil, refuse("SignatureDoesNotMatch",
			"The request signature we calculated does not match the signature you provided. Check your key and signing method.",
			Field{"AWSAccessKeyId", c.credential.accessKey}, Field{"StringToSign", toSign},
			Field{"SignatureProvided", c.signature}, Field{"CanonicalRequest", canonical})
	}
	return &Signed{AccessKey: c.credential.accessKey, Presigned: c.presigned, Payload: payload, digest: digest, key: key,
		when: c.when, scope: c.credential.scope(), seed: c.signature, header: r.Header}, nil
}

// signedAsGiven reports whether the signature is one of minio-go, which leaves several values of one parameter in the order of the URL, where AWS
// sorts them. It is as strict: the signature covers every value.
func (c *claim) signedAsGiven(r *http.Request, uri string, query Query, key []byte) bool {
	asGiven := query.canonical(c.presigned, true)
	if asGiven == query.canonical(c.presigned, false) {
		return false
	}
	toSign := stringToSign(c.when, c.credential.scope(), canonicalRequest(r, uri, asGiven, c.signedHeaders, c.payload))
	return sameSignature(hexMAC(key, toSign), c.signature)
}

func sameSignature(ours, theirs string) bool {
	return subtle.ConstantTimeCompare([]byte(ours), []byte(theirs)) == 1
}

// mechanism finds the one signature of a request: the Authorization header, or "" if it is in the query; and whether it is of Version 2.
func mechanism(r *http.Request, query Query) (header string, version2 bool, err error) {
	headers := r.Header["Authorization"]
	inQuery := query.Has("X-Amz-Algorithm") || query.Has("X-Amz-Signature") || query.Has("X-Amz-Credential")
	inQueryV2 := query.Has("AWSAccessKeyId") || query.Has("Signature")
	switch {
	case len(headers) > 1, len(headers) == 1 && (inQuery || inQueryV2), inQuery && inQueryV2:
		return "", false, refuse("InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature "+
			"query string parameter or the Authorization header should be specified",
			Field{"ArgumentName", "Authorization"})
	case inQuery, inQueryV2:
		return "", inQueryV2, nil
	case len(headers) == 0 || strings.TrimSpace(headers[0]) == "":
		return "", false, refuse("AccessDenied", "Access Denied: the request is not signed.")
	}
	scheme, _, _ := strings.Cut(headers[0], " ")
	if scheme != algorithmV2 && !strings.HasPrefix(scheme, "AWS4-") {
		return "", false, refuse("InvalidArgument", "Unsupported Authorization Type", Field{"ArgumentName", "Authorization"}, Field{"ArgumentValue", scheme})
	}
	return headers[0], scheme == algorithmV2, nil
}

func readClaim(r *http.Request, query Query, header string) (*claim, error) {
	if header == "" {
		return readQueryClaim(r, query)
	}
	return readHeaderClaim(r, header)
}

func unsupportedMechanism() *Error {
	return refuse("InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

// twice refuses a header that was given more than once, where net/http would take the first.
func twice(name string) *Error {
	return refuse("InvalidArgument", "The header "+name+" was given more than once.", Field{"ArgumentName", name})
}

// readHeaderClaim reads
//
//	Authorization: AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…
func readHeaderClaim(r *http.Request, header string) (*claim, error) {
	credential, signedHeaders, signature, err := parseAuthorization(header)
	if err != nil {
		return nil, err
	}
	c := &claim{credential: credential, signedHeaders: signedHeaders, signature: signature, malformed: "AuthorizationHeaderMalformed"}
	if c.when, err = headerTime(r); err != nil {
		return nil, err
	}
	switch values := r.Header["X-Amz-Content-Sha256"]; len(values) {
	case 1:
		c.payload = values[0]
	case 0:
		return nil, refuse("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	default:
		return nil, twice("x-amz-content-sha256")
	}
	if r.Header.Get("X-Amz-Security-Token") != "" {
		return nil, invalidToken()
	}
	return c, nil
}

func invalidToken() *Error {
	return refuse("InvalidToken", "The provided token is malformed or otherwise invalid.")
}

// parseAuthorization takes an Authorization header apart. Every field is there once, and nothing else is.
func parseAuthorization(header string) (c credential, signedHeaders, signature string, err error) {
	malformed := func(message string) (credential, string, string, error) {
		return credential{}, "", "", refuse("AuthorizationHeaderMalformed", "The authorization header is malformed; "+message)
	}
	if len(header) > authorizationBytesMax {
		return malformed("it is too long.")
	}
	rest, ok := strings.CutPrefix(header, algorithm)
	if !ok || rest == "" || rest[0] != ' ' {
		return credential{}, "", "", unsupportedMechanism()
	}
	fields := map[string]string{}
	for _, field := range strings.Split(rest, ",") {
		name, value, ok := strings.Cut(strings.Trim(field, " "), "=")
		if _, twice := fields[name]; !ok || twice || value == "" {
			return malformed("each of Credential, SignedHeaders and Signature must be given once as Name=Value.")
		}
		fields[name] = value
	}
	if len(fields) != 3 || fields["Credential"] == "" || fields["SignedHeaders"] == "" || fields["Signature"] == "" {
		return malformed("it must have Credential, SignedHeaders and Signature, and nothing else.")
	}
	if c, ok = parseCredential(fields["Credential"]); !ok {
		return malformed(`the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
	}
	if !isHex64(fields["Signature"]) {
		return malformed("the Signature must be 64 hexadecimal digits.")
	}
	return c, fields["SignedHeaders"], fields["Signature"], nil
}

// dateFormats are those of a Date or x-amz-date header. The clients that still sign with Version 2 write any of them.
var dateFormats = []string{timeFormat, http.TimeFormat, time.RFC1123Z, "Mon, 2 Jan 2006 15:04:05 GMT",
	"Mon, 2 Jan 2006 15:04:05 -0700", time.RFC850, time.ANSIC}

// headerTime returns the time of a request that is signed in its header: of x-amz-date, or else of Date.
func headerTime(r *http.Request) (time.Time, error) {
	name, values := "x-amz-date", r.Header["X-Amz-Date"]
	if len(values) == 0 {
		name, values = "date", r.Header["Date"]
	}
	if len(values) > 1 {
		return time.Time{}, twice(name)
	}
	for _, format := range dateFormats {
		if len(values) == 0 {
			break
		}
		if when, err := time.Parse(format, values[0]); err == nil && when.Unix() >= 0 {
			return when.UTC(), nil
		}
	}
	return time.Time{}, refuse("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
}

// readQueryClaim reads the X-Amz-* parameters of a presigned URL.
func readQueryClaim(r *http.Request, query Query) (*claim, error) {
	wrong := func(message string) (*claim, error) { return nil, refuse("AuthorizationQueryParametersError", message) }
	get := func(name string) string {
		value, _ := query.Get(name)
		return value
	}
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		if query.count(name) != 1 {
			return wrong("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, " +
				"X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters, each of them once.")
		}
	}
	if get("X-Amz-Algorithm") != algorithm {
		return wrong(`X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`)
	}
	if query.Has("X-Amz-Security-Token") || r.Header.Get("X-Amz-Security-Token") != "" {
		return nil, invalidToken()
	}
	c := &claim{presigned: true, signedHeaders: get("X-Amz-SignedHeaders"), signature: get("X-Amz-Signature"),
		payload: "UNSIGNED-PAYLOAD", malformed: "AuthorizationQueryParametersError"}
	var err error
	if c.credential, err = parseQueryCredential(get("X-Amz-Credential")); err != nil {
		return nil, err
	}
	if !isHex64(c.signature) {
		return wrong("X-Amz-Signature must be 64 hexadecimal digits.")
	}
	if c.when, err = time.Parse(timeFormat, get("X-Amz-Date")); err != nil {
		return wrong(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	seconds, err := strconv.Atoi(get("X-Amz-Expires"))
	switch {
	case err != nil:
		return wrong("X-Amz-Expires should be a number")
	case seconds < 0: // with 0 it has expired
		return wrong("X-Amz-Expires must be non-negative")
	case time.Duration(seconds) > ExpiresMax/time.Second:
		return wrong("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	c.expires = time.Duration(seconds) * time.Second
	if query.count("X-Amz-Content-Sha256") > 1 || len(r.Header["X-Amz-Content-Sha256"]) > 1 {
		return wrong("X-Amz-Content-Sha256 was given more than once.")
	}
	if hash, ok := query.Get("X-Amz-Content-Sha256"); ok {
		c.payload = hash
	} else if hash := r.Header.Get("X-Amz-Content-Sha256"); hash != "" {
		c.payload = hash
	}
	return c, nil
}

func parseQueryCredential(s string) (credential, error) {
	c, ok := parseCredential(s)
	if !ok {
		return c, refuse("AuthorizationQueryParametersError", `Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting `+
			`"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
	}
	return c, nil
}

// checkScope compares the credential scope with the date of the request, our region and S3.
func (v *Verifier) checkScope(c *claim) error {
	prefix := "The authorization header is malformed; "
	if c.presigned {
		prefix = "Error parsing the X-Amz-Credential parameter; "
	}
	switch {
	case c.credential.terminal != "aws4_request":
		return refuse(c.malformed, prefix+`incorrect terminal "`+c.credential.terminal+`". This endpoint uses "aws4_request".`)
	case c.credential.service != "s3":
		return refuse(c.malformed, prefix+`incorrect service "`+c.credential.service+`". This endpoint belongs to "s3".`)
	case c.credential.region != v.Region:
		return refuse(c.malformed, prefix+"the region '"+c.credential.region+"' is wrong; expecting '"+v.Region+"'", Field{"Region", v.Region})
	case c.credential.date != c.when.Format(dateFormat):
		return refuse(c.malformed, prefix+`incorrect date format or date "`+c.credential.date+`". This date in the credential must be that of the request, "`+
			c.when.Format(dateFormat)+`".`)
	}
	return nil
}

// checkTime compares the time of the request with ours.
func (v *Verifier) checkTime(c *claim) error {
	if !c.presigned {
		return v.checkSkew(c.when)
	}
	now := v.Now().UTC()
	if c.when.Sub(now) > SkewMax {
		return notYet(now)
	}
	if end := c.when.Add(c.expires); !now.Before(end) {
		return refuse("AccessDenied", "Request has expired", Field{"X-Amz-Expires", strconv.Itoa(int(c.expires / time.Second))},
			Field{"Expires", end.Format(time.RFC3339)}, Field{"ServerTime", now.Format(time.RFC3339)})
	}
	return nil
}

func notYet(now time.Time) *Error {
	return refuse("AccessDenied", "Request is not valid yet", Field{"ServerTime", now.Format(time.RFC3339)})
}

func (v *Verifier) checkSkew(when time.Time) error {
	now := v.Now().UTC()
	if when.Sub(now).Abs() <= SkewMax {
		return nil
	}
	return refuse("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
		Field{"RequestTime", when.Format(timeFormat)}, Field{"ServerTime", now.Format(time.RFC3339)},
		Field{"MaxAllowedSkewMilliseconds", strconv.FormatInt(SkewMax.Milliseconds(), 10)})
}

// checkSignedHeaders demands that host and every x-amz-* header of the request are signed, for an unsigned one is anybody's.
func checkSignedHeaders(r *http.Request, signed string) error {
	names := strings.Split(signed, ";")
	if len(names) > signedHeadersMax {
		return refuse("AuthorizationHeaderMalformed", "The authorization header is malformed; SignedHeaders has too many names.")
	}
	if !slices.Contains(names, "host") {
		return refuse("AccessDenied", "There were headers present in the request which were not signed", Field{"HeadersNotSigned", "host"})
	}
	var missing []string
	for name := range r.Header {
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(names, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return refuse("AccessDenied", "There were headers present in the request which were not signed",
			Field{"HeadersNotSigned", strings.Join(missing, ", ")})
	}
	if slices.Contains(names, "date") || r.Header.Get("X-Amz-Date") != "" || r.Header.Get("Authorization") == "" {
		return nil
	}
	return refuse("AccessDenied", "There were headers present in the request which were not signed", Field{"HeadersNotSigned", "date"})
}

func isHex64(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

func mac(key []byte, data string) []byte {
	h := hmac.New(newHash, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

func newHash() hash.Hash { return sha256.New() }

func hexMAC(key []byte, data string) string { return hex.EncodeToString(mac(key, data)) }

func hexHash(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

func signingKey(secret string, c credential) []byte {
	key := mac([]byte("AWS4"+secret), c.date)
	key = mac(key, c.region)
	key = mac(key, c.service)
	return mac(key, "aws4_request")
}

func stringToSign(when time.Time, scope, canonical string) string {
	return algorithm + "\n" + when.UTC().Format(timeFormat) + "\n" + scope + "\n" + hexHash(canonical)
}
