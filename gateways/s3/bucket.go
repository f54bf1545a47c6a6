package s3

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// createBucket is CreateBucket. Every bucket is in the gateway's region.
func createBucket(c *call) error {
	h := c.r.Header
	if err := checkACL(h); err != nil {
		return err
	}
	if ownership := h.Get("X-Amz-Object-Ownership"); ownership != "" && ownership != "BucketOwnerEnforced" {
		return notImplemented("value of the header", "x-amz-object-ownership: "+ownership)
	}
	var o engine.CreateBucketOptions
	switch lock := h.Get("X-Amz-Bucket-Object-Lock-Enabled"); strings.ToLower(lock) {
	case "", "false":
	case "true":
		o.Lock = true
	default:
		return invalid("x-amz-bucket-object-lock-enabled", lock, "The header must be true or false.")
	}
	document, err := c.createBucketDocument()
	if err != nil {
		return err
	}
	request, err := wire.ParseCreateBucket(document)
	if err != nil {
		return err
	}
	if request.Unsupported != "" {
		return notImplemented("parameter", request.Unsupported)
	}
	if request.Location != "" && request.Location != c.g.Region {
		return fault("IllegalLocationConstraintException", wire.Field{Name: "LocationConstraint", Value: request.Location})
	}
	if _, err := c.engine.CreateBucket(c.ctx, c.bucket, o); err != nil && !c.madeBefore(o, err) {
		return err
	}
	c.w.Header().Set("Location", "/"+string(c.bucket))
	return c.empty(statusOK)
}

// madeBefore reports whether a bucket was not made because there is one that is the same. In its first region S3 answers then as if it had been made, and
// in no other.
func (c *call) madeBefore(o engine.CreateBucketOptions, err error) bool {
	if c.g.Region != DefaultRegion || !engine.Is(err, engine.KindBucketExists) {
		return false
	}
	lock, err := c.engine.BucketLock(c.ctx, c.bucket)
	return err == nil && lock.Enabled == o.Lock
}

// createBucketDocument reads the body, which need not be there: many clients send none, and no length either.
func (c *call) createBucketDocument() ([]byte, error) {
	if c.contentLength() < 0 && len(c.r.TransferEncoding) == 0 {
		c.r.Header.Set("Content-Length", "0")
	}
	return c.document(wire.DocumentBytesMax, false)
}

// deleteBucket is DeleteBucket.
func deleteBucket(c *call) error {
	force, err := c.force()
	if err != nil {
		return err
	}
	if err := c.engine.DeleteBucket(c.ctx, c.bucket, engine.DeleteBucketOptions{Force: force}); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// headBucket is HeadBucket.
func headBucket(c *call) error {
	if _, err := c.engine.StatBucket(c.ctx, c.bucket); err != nil {
		return err
	}
	c.w.Header().Set("X-Amz-Bucket-Region", c.g.Region)
	c.w.Header().Set("X-Amz-Access-Point-Alias", "false")
	return c.empty(statusOK)
}

// getBucketLocation is GetBucketLocation. S3's first region has an empty name there.
func getBucketLocation(c *call) error {
	if _, err := c.engine.StatBucket(c.ctx, c.bucket); err != nil {
		return err
	}
	d := wire.NewDoc("LocationConstraint")
	if c.g.Region != DefaultRegion {
		d = wire.NewDocText("LocationConstraint", c.g.Region)
	}
	return c.answer(d)
}

// bucketsMax is how many buckets one ListBuckets answers with.
const bucketsMax = 10000

// listBuckets is ListBuckets. Without max-buckets everything is answered, to bucketsMax.
func listBuckets(c *call) error {
	limit, err := c.number("max-buckets", bucketsMax, 1, bucketsMax)
	if err != nil {
		return err
	}
	after, err := c.token("continuation-token")
	if err != nil {
		return err
	}
	prefix := c.param("prefix")
	var page engine.BucketPage
	if region, ok := c.query.Get("bucket-region"); !ok || region == c.g.Region {
		if page, err = c.collectBuckets(prefix, engine.BucketName(after), limit); err != nil {
			return err
		}
	}
	d := wire.NewDoc("ListAllMyBucketsResult")
	c.owner(d, "Owner")
	d.Open("Buckets")
	for _, b := range page.Buckets {
		d.Open("Bucket")
		d.Text("Name", string(b.Name))
		d.Time("CreationDate", b.Created)
		d.Text("BucketRegion", c.g.Region)
		d.Close()
	}
	d.Close()
	if page.Truncated {
		d.Text("ContinuationToken", makeToken(string(page.Buckets[len(page.Buckets)-1].Name)))
	}
	d.TextIf("Prefix", prefix)
	return c.answer(d)
}

// collectBuckets asks for pages until there are limit buckets or no more.
func (c *call) collectBuckets(prefix string, after engine.BucketName, limit int) (all engine.BucketPage, err error) {
	for {
		page, err := c.engine.ListBuckets(c.ctx, engine.ListBucketsOptions{Prefix: prefix, After: after, Max: min(engine.PageMax, limit-len(all.Buckets))})
		if err != nil {
			return all, err
		}
		all.Buckets = append(all.Buckets, page.Buckets...)
		all.Truncated = page.Truncated && len(page.Buckets) > 0
		if !all.Truncated || len(all.Buckets) >= limit {
			return all, nil
		}
		after = page.Buckets[len(page.Buckets)-1].Name
	}
}

func (c *call) owner(d *wire.Doc, element string) {
	d.Open(element)
	d.Text("ID", c.g.OwnerID)
	d.Text("DisplayName", c.g.OwnerName)
	d.Close()
}

// number reads a parameter that is a number from least to most; what is above most counts as most, as in S3.
func (c *call) number(name string, fallback, least, most int) (int, error) {
	text, ok := c.query.Get(name)
	if !ok || text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || int(n) < least {
		return 0, invalid(name, text, "Argument "+name+" must be an integer between "+strconv.Itoa(least)+" and 2147483647")
	}
	return min(int(n), most), nil
}

// A continuation token is the last item of a page behind a mark, in base64. It is nobody's business what it holds.
const tokenMark = "1:"

func makeToken(last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenMark + last))
}

func (c *call) token(name string) (string, error) {
	text, ok := c.query.Get(name)
	if !ok {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) <= len(tokenMark) || string(raw[:len(tokenMark)]) != tokenMark {
		return "", invalid(name, text, "The continuation token provided is incorrect")
	}
	return string(raw[len(tokenMark):]), nil
}
