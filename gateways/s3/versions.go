package s3

import (
	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// getVersioning is GetBucketVersioning. Of a bucket that never had versions it says nothing.
func getVersioning(c *call) error {
	v, err := c.engine.BucketVersioning(c.ctx, c.bucket)
	if err != nil {
		return err
	}
	d := wire.NewDoc("VersioningConfiguration")
	switch v {
	case engine.VersioningEnabled:
		d.Text("Status", "Enabled")
	case engine.VersioningSuspended:
		d.Text("Status", "Suspended")
	}
	return c.answer(d)
}

// putVersioning is PutBucketVersioning.
func putVersioning(c *call) error {
	document, err := c.document(wire.DocumentBytesMax, false)
	if err != nil {
		return err
	}
	request, err := wire.ParseVersioning(document)
	if err != nil {
		return err
	}
	if request.MFADelete != "" && request.MFADelete != "Disabled" {
		return notImplemented("parameter", "MfaDelete")
	}
	v := engine.VersioningEnabled
	switch request.Status {
	case "Enabled":
	case "Suspended":
		v = engine.VersioningSuspended
	default:
		return faultf("IllegalVersioningConfigurationException", "The Versioning element must have the Status Enabled or Suspended.")
	}
	if err := c.engine.SetVersioning(c.ctx, c.bucket, v); err != nil {
		return err
	}
	return c.empty(statusOK)
}

// listVersions is ListObjectVersions.
func listVersions(c *call) error {
	limit, err := c.number("max-keys", engine.PageMax, 0, engine.PageMax)
	if err != nil {
		return err
	}
	encode, encoding, err := c.encoder()
	if err != nil {
		return err
	}
	o := engine.ListVersionsOptions{Prefix: c.param("prefix"), Delimiter: c.param("delimiter"), AfterKey: c.param("key-marker"), Max: limit}
	marker, named := c.query.Get("version-id-marker")
	switch {
	case named && marker != "" && o.AfterKey == "":
		return invalid("version-id-marker", marker, "A version-id marker cannot be specified without a key marker.")
	case checkVersionID("version-id-marker", marker) != nil:
		return checkVersionID("version-id-marker", marker)
	}
	o.AfterVersion = engine.VersionID(marker)
	var page engine.VersionPage
	if limit == 0 {
		_, err = c.engine.StatBucket(c.ctx, c.bucket)
	} else {
		page, err = c.engine.ListVersions(c.ctx, c.bucket, o)
	}
	if err != nil {
		return err
	}
	d := wire.NewDoc("ListVersionsResult")
	d.Text("Name", string(c.bucket))
	d.Text("Prefix", encode(o.Prefix))
	d.Text("KeyMarker", encode(o.AfterKey))
	d.Text("VersionIdMarker", marker)
	if page.Truncated {
		d.Text("NextKeyMarker", encode(page.LastKey))
		d.TextIf("NextVersionIdMarker", string(page.LastVersion))
	}
	d.TextIf("Delimiter", encode(o.Delimiter))
	d.Int("MaxKeys", int64(limit))
	d.TextIf("EncodingType", encoding)
	d.Bool("IsTruncated", page.Truncated)
	for i := range page.Versions {
		c.version(d, &page.Versions[i], encode)
	}
	prefixes(d, page.Prefixes, encode)
	return c.answer(d)
}

func (c *call) version(d *wire.Doc, v *engine.ObjectInfo, encode func(string) string) {
	if v.Marker {
		d.Open("DeleteMarker")
	} else {
		d.Open("Version")
	}
	d.Text("Key", encode(string(v.Key)))
	d.Text("VersionId", string(v.Version))
	d.Bool("IsLatest", v.Latest)
	d.Time("LastModified", v.Modified)
	if !v.Marker {
		d.Text("ETag", quoted(v.ETag))
		d.Int("Size", v.Size)
		d.Text("StorageClass", className(v.Class))
	}
	c.owner(d, "Owner")
	d.Close()
}
