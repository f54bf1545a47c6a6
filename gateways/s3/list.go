package s3

import (
	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// encoder returns how names are written: as they are, or with encoding-type=url.
func (c *call) encoder() (encode func(string) string, name string, err error) {
	switch name := c.param("encoding-type"); name {
	case "":
		return func(s string) string { return s }, "", nil
	case "url":
		return wire.URLEncode, name, nil
	default:
		return nil, "", invalid("encoding-type", name, "Invalid Encoding Method specified in Request")
	}
}

// listing is what both versions of ListObjects share.
type listing struct {
	prefix, delimiter string
	max               int
	encode            func(string) string
	encoding          string
	page              engine.ObjectPage
}

// list asks the engine for a page behind after.
func (c *call) list(after string) (listing, error) {
	l := listing{prefix: c.param("prefix"), delimiter: c.param("delimiter")}
	var err error
	if l.max, err = c.number("max-keys", engine.PageMax, 0, engine.PageMax); err != nil {
		return l, err
	}
	if l.encode, l.encoding, err = c.encoder(); err != nil {
		return l, err
	}
	if l.max == 0 {
		_, err = c.engine.StatBucket(c.ctx, c.bucket)
		return l, err
	}
	l.page, err = c.engine.List(c.ctx, c.bucket, engine.ListOptions{Prefix: l.prefix, Delimiter: l.delimiter, After: after, Max: l.max})
	return l, err
}

// head begins the document with what both versions say.
func (c *call) head(l listing) *wire.Doc {
	d := wire.NewDoc("ListBucketResult")
	d.Text("Name", string(c.bucket))
	d.Text("Prefix", l.encode(l.prefix))
	d.TextIf("Delimiter", l.encode(l.delimiter))
	d.Int("MaxKeys", int64(l.max))
	d.TextIf("EncodingType", l.encoding)
	d.Bool("IsTruncated", l.page.Truncated)
	return d
}

// entries writes the objects and the common prefixes.
func (c *call) entries(d *wire.Doc, l listing, owner bool) {
	for i := range l.page.Objects {
		o := &l.page.Objects[i]
		d.Open("Contents")
		d.Text("Key", l.encode(string(o.Key)))
		d.Time("LastModified", o.Modified)
		d.Text("ETag", quoted(o.ETag))
		d.Int("Size", o.Size)
		d.Text("StorageClass", className(o.Class))
		if owner {
			c.owner(d, "Owner")
		}
		d.Close()
	}
	prefixes(d, l.page.Prefixes, l.encode)
}

func prefixes(d *wire.Doc, names []string, encode func(string) string) {
	for _, name := range names {
		d.Open("CommonPrefixes")
		d.Text("Prefix", encode(name))
		d.Close()
	}
}

func className(class engine.StorageClass) string {
	if class == "" {
		class = engine.ClassStandard
	}
	return string(class)
}

// listObjects is ListObjects, version 1. NextMarker is given with a delimiter only, as in S3; without one the last key is it.
func listObjects(c *call) error {
	marker := c.param("marker")
	l, err := c.list(marker)
	if err != nil {
		return err
	}
	d := c.head(l)
	d.Text("Marker", l.encode(marker))
	if l.page.Truncated && l.delimiter != "" {
		d.Text("NextMarker", l.encode(l.page.Last))
	}
	c.entries(d, l, true)
	return c.answer(d)
}

// listObjectsV2 is ListObjectsV2. A continuation token stands above start-after.
func listObjectsV2(c *call) error {
	startAfter, fetchOwner := c.param("start-after"), c.param("fetch-owner")
	if fetchOwner != "" && fetchOwner != "true" && fetchOwner != "false" {
		return invalid("fetch-owner", fetchOwner, "The parameter must be true or false.")
	}
	token, resumed := c.query.Get("continuation-token")
	after, err := c.token("continuation-token")
	if err != nil {
		return err
	}
	if !resumed {
		after = startAfter
	}
	l, err := c.list(after)
	if err != nil {
		return err
	}
	d := c.head(l)
	d.Int("KeyCount", int64(len(l.page.Objects)+len(l.page.Prefixes)))
	d.TextIf("ContinuationToken", token)
	if l.page.Truncated {
		d.Text("NextContinuationToken", makeToken(l.page.Last))
	}
	d.TextIf("StartAfter", l.encode(startAfter))
	c.entries(d, l, fetchOwner == "true")
	return c.answer(d)
}

// listUploads is ListMultipartUploads.
func listUploads(c *call) error {
	limit, err := c.number("max-uploads", engine.PageMax, 1, engine.PageMax)
	if err != nil {
		return err
	}
	encode, encoding, err := c.encoder()
	if err != nil {
		return err
	}
	prefix, delimiter, keyMarker, idMarker := c.param("prefix"), c.param("delimiter"), c.param("key-marker"), c.param("upload-id-marker")
	if keyMarker == "" {
		idMarker = "" // as in S3: alone it says nothing
	}
	page, err := c.engine.ListUploads(c.ctx, c.bucket, engine.ListUploadsOptions{Prefix: prefix, Delimiter: delimiter,
		AfterKey: engine.Key(keyMarker), AfterID: engine.UploadID(idMarker), Max: limit})
	if err != nil {
		return err
	}
	d := wire.NewDoc("ListMultipartUploadsResult")
	d.Text("Bucket", string(c.bucket))
	d.Text("KeyMarker", encode(keyMarker))
	d.Text("UploadIdMarker", idMarker)
	if page.Truncated {
		d.Text("NextKeyMarker", encode(string(page.LastKey)))
		d.Text("NextUploadIdMarker", string(page.LastID))
	}
	d.Text("Prefix", encode(prefix))
	d.TextIf("Delimiter", encode(delimiter))
	d.TextIf("EncodingType", encoding)
	d.Int("MaxUploads", int64(limit))
	d.Bool("IsTruncated", page.Truncated)
	for i := range page.Uploads {
		c.upload(d, &page.Uploads[i], encode)
	}
	prefixes(d, page.Prefixes, encode)
	return c.answer(d)
}

func (c *call) upload(d *wire.Doc, u *engine.UploadInfo, encode func(string) string) {
	d.Open("Upload")
	d.Text("Key", encode(string(u.Key)))
	d.Text("UploadId", string(u.ID))
	c.owner(d, "Initiator")
	c.owner(d, "Owner")
	d.Text("StorageClass", className(u.Class))
	d.Time("Initiated", u.Started)
	uploadChecksum(d, u)
	d.Close()
}

func uploadChecksum(d *wire.Doc, u *engine.UploadInfo) {
	if u.ChecksumAlgorithm != "" {
		d.Text("ChecksumAlgorithm", u.ChecksumAlgorithm)
		d.Text("ChecksumType", checksumType(!u.ChecksumFull))
	}
}
