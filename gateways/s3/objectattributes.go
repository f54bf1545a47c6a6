package s3

import (
	"slices"
	"strconv"
	"strings"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// objectAttributes are what GetObjectAttributes can be asked for.
var objectAttributes = []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}

// getObjectAttributes is GetObjectAttributes.
func getObjectAttributes(c *call) error {
	if err := c.checkVersion(); err != nil {
		return err
	}
	wanted, err := c.wantedAttributes()
	if err != nil {
		return err
	}
	limit, err := c.headerNumber("x-amz-max-parts", engine.PageMax, engine.PageMax)
	if err != nil {
		return err
	}
	after, err := c.headerNumber("x-amz-part-number-marker", 0, engine.PartNumberMax)
	if err != nil {
		return err
	}
	page, err := c.engine.Parts(c.ctx, c.ref(), engine.ListPartsOptions{After: after, Max: max(1, limit)})
	if err != nil {
		return err
	}
	if limit == 0 {
		page.Truncated, page.Parts = len(page.Parts) > 0, nil
	}
	info := page.Info
	setVersion(c.w.Header(), info)
	c.w.Header().Set("Last-Modified", wire.HTTPTime(info.Modified))
	d := wire.NewDoc("GetObjectAttributesResponse")
	if wanted["ETag"] {
		d.Text("ETag", string(info.ETag)) // without quotes, unlike everywhere else
	}
	if wanted["Checksum"] && len(info.Checksum.Sum) > 0 {
		d.Open("Checksum")
		documentChecksum(d, info.Checksum)
		d.Text("ChecksumType", checksumType(info.Checksum.Composite))
		d.Close()
	}
	if wanted["ObjectParts"] && info.Parts > 0 {
		documentParts(d, &page, after, limit)
	}
	if wanted["StorageClass"] {
		d.Text("StorageClass", className(info.Class))
	}
	if wanted["ObjectSize"] {
		d.Int("ObjectSize", info.Size)
	}
	return c.answer(d)
}

// wantedAttributes reads x-amz-object-attributes.
func (c *call) wantedAttributes() (map[string]bool, error) {
	wanted := map[string]bool{}
	for _, value := range c.r.Header.Values("X-Amz-Object-Attributes") {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			if !slices.Contains(objectAttributes, name) {
				return nil, invalid("x-amz-object-attributes", name, "Invalid attribute name specified.")
			}
			wanted[name] = true
		}
	}
	if len(wanted) == 0 {
		return nil, faultf("InvalidRequest", "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	return wanted, nil
}

// headerNumber reads a header that is a number from 0 on; above most it counts as most.
func (c *call) headerNumber(name string, fallback, most int) (int, error) {
	text := c.r.Header.Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, invalid(name, text, "Argument "+name+" must be an integer between 0 and 2147483647")
	}
	return min(int(n), most), nil
}

// documentParts writes the parts. As in S3, those without checksums are only counted.
func documentParts(d *wire.Doc, page *engine.VersionPartPage, after, limit int) {
	d.Open("ObjectParts")
	d.Int("PartsCount", int64(page.Info.Parts))
	d.Int("PartNumberMarker", int64(after))
	next := after
	if n := len(page.Parts); n > 0 {
		next = page.Parts[n-1].Number
	}
	d.Int("NextPartNumberMarker", int64(next))
	d.Int("MaxParts", int64(limit))
	d.Bool("IsTruncated", page.Truncated)
	for _, p := range page.Parts {
		if len(p.Checksum.Sum) == 0 {
			continue
		}
		d.Open("Part")
		documentChecksum(d, p.Checksum)
		d.Int("PartNumber", int64(p.Number))
		d.Int("Size", p.Size)
		d.Close()
	}
	d.Close()
}
