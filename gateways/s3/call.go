package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"holdfast/engine"
	"holdfast/gateways"
	"holdfast/gateways/s3/sigv4"
	"holdfast/gateways/s3/wire"
	"holdfast/observe"
)

// call is one request on its way through the gateway. It belongs to the goroutine of the request.
type call struct {
	g      *Gateway
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context
	record observe.Access

	path   string      // as it came, escaped
	query  sigv4.Query // without what belongs to the signature
	bucket engine.BucketName
	hosted engine.BucketName // that the host names; "" in path style
	key    engine.Key
	level  level
	route  *route
	signed *sigv4.Signed
	engine engine.Engine // as the principal may see it
	sent   bool          // the status is written

	begun    bool      // it is counted among those in flight
	answered time.Time // when the answer began

	incoming *gateways.GuardedBody // the body as it comes from the connection
}

func (c *call) ref() engine.Ref {
	return engine.Ref{Bucket: c.bucket, Key: c.key, Version: engine.VersionID(c.param("versionId"))}
}

// serve goes through the stations of every request: form, signature, route, names, operation.
func (c *call) serve() error {
	if err := c.checkForm(); err != nil {
		return err
	}
	query, err := c.parse()
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodOptions {
		return c.preflight()
	}
	if c.bucket == reservedBucket && strings.HasPrefix(string(c.key), "admin/") { // signed for another service than S3
		return faultf("NotImplemented", "MinIO's administration API is not implemented.")
	}
	c.query = query
	if !c.isForm() { // the signature of a form is in its fields
		if err := c.authenticate(query); err != nil {
			return err
		}
	}
	if c.route, err = match(c.r.Method, c.level, c.query, c.r.Header); err != nil {
		return err
	}
	c.record.Operation = c.route.name
	c.g.counters.begin(c)
	if err := c.route.checkHeaders(c.r.Header); err != nil {
		return err
	}
	if err := c.checkNames(); err != nil {
		return err
	}
	if !c.route.body {
		if err := c.checkNoBody(); err != nil {
			return err
		}
	}
	return c.route.serve(c)
}

// checkForm refuses what HTTP makes possible and S3 has no use for.
func (c *call) checkForm() error {
	switch gateways.FramingOf(c.r) {
	case gateways.FramingAmbiguous:
		c.w.Header().Set("Connection", "close")
		return faultf("BadRequest", "The request has a Content-Length and a Transfer-Encoding, or several Content-Lengths.")
	case gateways.FramingUnknown:
		c.w.Header().Set("Connection", "close")
	}
	if gateways.HeaderBytes(c.r) > c.g.Limits.HeaderBytesMax {
		c.w.Header().Set("Connection", "close")
		return fault("RequestHeaderSectionTooLarge", wire.Field{Name: "MaxSizeAllowed", Value: strconv.Itoa(c.g.Limits.HeaderBytesMax)})
	}
	return nil
}

// parse takes the target apart. The path is split as it came and its pieces are decoded once.
func (c *call) parse() (sigv4.Query, error) {
	path, rawQuery, _ := strings.Cut(c.r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") { // absolute form, as proxies use it
		path, rawQuery = c.r.URL.EscapedPath(), c.r.URL.RawQuery
	}
	c.path = path
	bucket, key, hasKey := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if c.hosted = c.g.BucketOf(c.r.Host); c.hosted != "" {
		bucket, key = string(c.hosted), strings.TrimPrefix(path, "/")
	}
	name, err := url.PathUnescape(bucket)
	if err == nil {
		key, err = url.PathUnescape(key)
	}
	if err != nil {
		return nil, fault("InvalidURI")
	}
	c.bucket, c.key = engine.BucketName(name), engine.Key(key)
	c.record.Bucket, c.record.Key = name, key
	switch {
	case name == "" && !hasKey:
		c.level = service
	case key == "":
		c.level = bucketLevel
	default:
		c.level = objectLevel
	}
	return sigv4.ParseQuery(rawQuery)
}

// preflight answers the question of a browser whether it may ask. No bucket has rules for that.
func (c *call) preflight() error {
	if c.r.Header.Get("Origin") == "" {
		return faultf("BadRequest", "Insufficient information. Origin request header needed.")
	}
	if method := c.r.Header.Get("Access-Control-Request-Method"); method == "" {
		return faultf("BadRequest", "Invalid Access-Control-Request-Method: null")
	}
	return fault("AccessForbidden")
}

// authenticate verifies the signature and opens the session.
func (c *call) authenticate(query sigv4.Query) error {
	signed, err := c.g.verifier.Verify(c.r, c.path, query)
	if err != nil {
		return err
	}
	if err := c.enter(signed.AccessKey); err != nil {
		return err
	}
	c.signed = signed
	if signed.Presigned {
		return c.hoist()
	}
	return nil
}

// enter opens the session of the principal whom an access key has proven.
func (c *call) enter(accessKey string) error {
	_, principal, ok := c.g.Door.Secret(accessKey)
	if !ok {
		return fault("InvalidAccessKeyId")
	}
	c.record.Principal = principal.AccessKey
	c.engine = c.g.Door.Open(principal)
	return nil
}

// hoist makes headers of the x-amz-* parameters of a presigned URL, for that is what signers make parameters of.
func (c *call) hoist() error {
	headers, rest := c.signed.Rest(c.query)
	for _, p := range headers {
		if !httpguts.ValidHeaderFieldName(p.Name) || !httpguts.ValidHeaderFieldValue(p.Value) {
			return invalid(p.Name, p.Value, "The parameter stands for a header, which cannot have this name or value.")
		}
		if values := c.r.Header.Values(p.Name); len(values) > 0 && (len(values) > 1 || values[0] != p.Value) {
			return faultf("InvalidRequest", "The header "+p.Name+" was given both in the query and in the header, or twice.")
		}
		c.r.Header.Set(p.Name, p.Value)
	}
	c.withoutBody(headers)
	c.query = rest
	return nil
}

// withoutBody takes the checksum of nothing out of a presigned URL. The SDK for JavaScript puts it there when it signs an upload, whose body it
// cannot know yet; S3 verifies no checksum of a query. What such a URL does say is which checksum to keep. Every other one is verified.
func (c *call) withoutBody(hoisted sigv4.Query) {
	const asked, named = "X-Amz-Checksum-Algorithm", "X-Amz-Sdk-Checksum-Algorithm"
	h := c.r.Header
	for _, p := range hoisted {
		suffix, ok := strings.CutPrefix(strings.ToLower(p.Name), "x-amz-checksum-")
		a := algorithmNamed(suffix)
		if !ok || a == nil || p.Value != base64.StdEncoding.EncodeToString(a.sum(a.new())) || c.contentLength() == 0 {
			continue
		}
		h.Del(p.Name)
		if algorithmNamed(h.Get(named)) == a {
			h.Del(named)
		}
		if h.Get(asked) == "" {
			h.Set(asked, a.name)
		}
	}
}

// reservedBucket is in front of the paths of health checks and of the admin API.
const reservedBucket = "minio"

// otherOwner reports whether a header expects somebody else to own the bucket.
func (c *call) otherOwner(header string) bool {
	owner := c.r.Header.Get(header)
	return owner != "" && owner != c.g.OwnerID
}

// checkNames refuses a bucket or key that cannot exist, and another owner than ours.
func (c *call) checkNames() error {
	if c.level == service {
		return nil
	}
	if c.bucket == reservedBucket {
		return faultf("InvalidBucketName", "The bucket name "+reservedBucket+" is reserved for the paths of health checks and administration. Choose another.",
			wire.Field{Name: "BucketName", Value: reservedBucket})
	}
	if err := engine.CheckBucketName(c.bucket); err != nil {
		return fault("InvalidBucketName", wire.Field{Name: "BucketName", Value: string(c.bucket)})
	}
	if c.otherOwner("X-Amz-Expected-Bucket-Owner") || c.otherOwner("X-Amz-Source-Expected-Bucket-Owner") {
		return faultf("AccessDenied", "Access Denied: the bucket has another owner than x-amz-expected-bucket-owner says.")
	}
	if c.level == bucketLevel {
		return nil
	}
	err := engine.CheckKey(c.key)
	switch {
	case engine.Is(err, engine.KindKeyTooLong):
		return fault("KeyTooLongError", wire.Field{Name: "Size", Value: strconv.Itoa(len(c.key))},
			wire.Field{Name: "MaxSizeAllowed", Value: strconv.Itoa(engine.KeyBytesMax)})
	case err != nil:
		return faultf("InvalidURI", "Couldn't parse the specified URI: the key is not valid UTF-8.")
	}
	return nil
}

// checkNoBody proves that a request that needs no body has none, and that its payload hash says so.
func (c *call) checkNoBody() error {
	if c.r.ContentLength > 0 {
		return fault("UnexpectedContent")
	}
	if c.signed.Payload != sigv4.Literal && c.signed.Payload != sigv4.Unsigned {
		return faultf("InvalidRequest", "The operation has no body, so x-amz-content-sha256 cannot announce one in chunks.")
	}
	body, err := c.signed.Body(c.incoming, 0)
	if err != nil {
		return err
	}
	if _, err := body.Read(make([]byte, 1)); err != io.EOF {
		var refused *sigv4.Error
		if errors.As(err, &refused) && refused.Code == "IncompleteBody" {
			return fault("UnexpectedContent")
		}
		return err
	}
	return nil
}

// param returns a parameter of the query, or "".
func (c *call) param(name string) string {
	value, _ := c.query.Get(name)
	return value
}

// answer writes a document with status 200.
func (c *call) answer(d *wire.Doc) error {
	c.send(http.StatusOK, "application/xml", d.Bytes())
	return nil
}

// empty writes an answer without content.
func (c *call) empty(status int) error {
	if status != http.StatusNoContent {
		c.w.Header().Set("Content-Length", "0")
	}
	c.status(status)
	return nil
}

// status sends the head of the answer. Neither the rest of a body, which net/http reads before it writes, nor a client that does not take the answer
// is waited for without end.
func (c *call) status(status int) {
	c.sent, c.record.Status, c.answered = true, status, time.Now()
	c.incoming.Release()
	gateways.GuardHead(c.w, c.g.Limits)
	c.w.WriteHeader(status)
}

func (c *call) send(status int, contentType string, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.status(status)
	if c.r.Method == http.MethodHead {
		return
	}
	n, _ := gateways.GuardAnswer(c.w, c.g.Limits).Write(body) // who does not listen any more learns nothing from an error
	c.record.Sent = int64(n)
}

// fail answers with an error. If the status is out already, the content is cut short, which the client sees from its length.
func (c *call) fail(err error) {
	f := faultOf(err, c)
	c.record.Code, c.record.Reason = f.code, err.Error()
	if c.sent {
		return
	}
	h := c.w.Header()
	for name := range h {
		switch name {
		case "Server", "Connection", "X-Amz-Request-Id", "X-Amz-Id-2":
		default:
			if f.status != http.StatusNotModified {
				delete(h, name)
			}
		}
	}
	for name, value := range f.headers {
		h.Set(name, value)
	}
	switch f.code {
	case "BadDigest", "XAmzContentSHA256Mismatch": // perhaps the length was wrong as well, and what is left of the body would pass for a request
		h.Set("Connection", "close")
	}
	if f.status == http.StatusNotModified || c.r.Method == http.MethodHead {
		c.status(f.status)
		return
	}
	c.incoming.Refuse(c.w, func() {
		c.send(f.status, "application/xml", wire.ErrorBody(f.code, f.message, c.path, string(c.record.Request), c.g.Node, f.fields))
	})
}
