package s3

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// createUpload is CreateMultipartUpload.
func createUpload(c *call) error {
	attributes, class, err := c.attributes()
	if err != nil {
		return err
	}
	tags, err := taggingHeader(c.r.Header)
	if err != nil {
		return err
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	o := engine.StartUploadOptions{Class: class, Attributes: attributes, Tags: tags, Lock: lock}
	if o.ChecksumAlgorithm, o.ChecksumFull, err = uploadAlgorithm(c.r.Header); err != nil {
		return err
	}
	upload, err := c.engine.StartUpload(c.ctx, c.ref(), o)
	if err != nil {
		return err
	}
	if o.ChecksumAlgorithm != "" {
		c.w.Header().Set("X-Amz-Checksum-Algorithm", o.ChecksumAlgorithm)
		c.w.Header().Set("X-Amz-Checksum-Type", checksumType(!o.ChecksumFull))
	}
	d := wire.NewDoc("InitiateMultipartUploadResult")
	d.Text("Bucket", string(c.bucket))
	d.Text("Key", string(c.key))
	d.Text("UploadId", string(upload.ID))
	return c.answer(d)
}

// uploadAlgorithm reads which checksum the parts and the whole will have. Where S3 allows both types, composite is the default.
func uploadAlgorithm(h http.Header) (name string, full bool, err error) {
	name, kind := h.Get("X-Amz-Checksum-Algorithm"), h.Get("X-Amz-Checksum-Type")
	if name == "" {
		if kind != "" {
			return "", false, faultf("InvalidRequest", "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return "", false, nil
	}
	a := algorithmNamed(name)
	if a == nil {
		return "", false, faultf("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "+
			"[CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	}
	switch strings.ToUpper(kind) {
	case "":
		full = !a.composite
	case "FULL_OBJECT":
		full = true
	case "COMPOSITE":
	default:
		return "", false, faultf("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
	}
	if full && !a.full || !full && !a.composite {
		return "", false, faultf("InvalidRequest", "The "+checksumType(!full)+" checksum type cannot be used with the "+strings.ToLower(a.name)+" checksum algorithm.")
	}
	return a.name, full, nil
}

// uploadID returns the id that the request names.
func (c *call) uploadID() engine.UploadID { return engine.UploadID(c.param("uploadId")) }

// uploadPart is UploadPart.
func uploadPart(c *call) error {
	number, err := c.partNumber()
	if err != nil {
		return err
	}
	sum, err := contentMD5(c.r.Header)
	if err != nil {
		return err
	}
	fallback, err := c.uploadsAlgorithm()
	if err != nil {
		return err
	}
	body, err := c.openContent(fallback)
	if err != nil {
		return err
	}
	part, err := c.engine.PutPart(c.ctx, c.ref(), c.uploadID(), number, body, engine.PutPartOptions{Size: body.size, MD5: sum, Checksum: body.checksum})
	if err != nil {
		return body.failure(err)
	}
	c.w.Header().Set("ETag", quoted(part.ETag))
	setChecksum(c.w.Header(), body.checksum(), false)
	return c.empty(statusOK)
}

func (c *call) partNumber() (int, error) {
	text := c.param("partNumber")
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || number > engine.PartNumberMax {
		return 0, invalid("partNumber", text, "Part number must be an integer between 1 and 10000, inclusive")
	}
	return number, nil
}

// uploadsAlgorithm returns the algorithm of the upload when the part brings no checksum of its own: the gateway computes it then.
func (c *call) uploadsAlgorithm() (*algorithm, error) {
	brings := len(c.r.Header["X-Amz-Trailer"]) > 0
	for i := range algorithms {
		brings = brings || c.r.Header.Get(algorithms[i].header) != ""
	}
	kind := c.r.Header.Get("X-Amz-Checksum-Type")
	if brings && kind == "" {
		return nil, nil
	}
	page, err := c.engine.ListParts(c.ctx, c.ref(), c.uploadID(), engine.ListPartsOptions{Max: 1})
	if err == nil {
		err = checkUploadsType(kind, &page.Upload)
	}
	if err != nil || brings {
		return nil, err
	}
	return algorithmNamed(page.Upload.ChecksumAlgorithm), nil
}

// checkUploadsType refuses another type of checksum than the upload was started with; an upload that was started without one has none of the parts' sums.
func checkUploadsType(kind string, u *engine.UploadInfo) error {
	if has := checksumType(u.ChecksumAlgorithm != "" && !u.ChecksumFull); kind != "" && !strings.EqualFold(kind, has) {
		return faultf("InvalidRequest", "The value "+strconv.Quote(kind)+" of x-amz-checksum-type is not that of the upload, "+has+".")
	}
	return nil
}

// listParts is ListParts.
func listParts(c *call) error {
	limit, err := c.number("max-parts", engine.PageMax, 1, engine.PageMax)
	if err != nil {
		return err
	}
	after, err := c.number("part-number-marker", 0, 0, engine.PartNumberMax)
	if err != nil {
		return err
	}
	encode, encoding, err := c.encoder()
	if err != nil {
		return err
	}
	page, err := c.engine.ListParts(c.ctx, c.ref(), c.uploadID(), engine.ListPartsOptions{After: after, Max: limit})
	if err != nil {
		return err
	}
	d := wire.NewDoc("ListPartsResult")
	d.Text("Bucket", string(c.bucket))
	d.TextIf("EncodingType", encoding)
	d.Text("Key", encode(string(c.key)))
	d.Text("UploadId", string(c.uploadID()))
	c.owner(d, "Initiator")
	c.owner(d, "Owner")
	d.Text("StorageClass", className(page.Upload.Class))
	uploadChecksum(d, &page.Upload)
	d.Int("PartNumberMarker", int64(after))
	if n := len(page.Parts); n > 0 {
		d.Int("NextPartNumberMarker", int64(page.Parts[n-1].Number))
	}
	d.Int("MaxParts", int64(limit))
	d.Bool("IsTruncated", page.Truncated)
	for i := range page.Parts {
		p := &page.Parts[i]
		d.Open("Part")
		d.Int("PartNumber", int64(p.Number))
		d.Time("LastModified", p.Modified)
		d.Text("ETag", quoted(p.ETag))
		d.Int("Size", p.Size)
		documentChecksum(d, p.Checksum)
		d.Close()
	}
	return c.answer(d)
}

func documentChecksum(d *wire.Doc, s engine.Checksum) {
	if len(s.Sum) > 0 {
		d.Text("Checksum"+s.Algorithm, checksumText(s))
	}
}

// completeUpload is CompleteMultipartUpload. The checksum headers are those of the whole object, not of the request.
func completeUpload(c *call) error {
	o := engine.CompleteUploadOptions{Size: -1}
	var err error
	if o.If, err = writeIf(c.r.Header); err != nil {
		return err
	}
	if text := c.r.Header.Get("X-Amz-Mp-Object-Size"); text != "" {
		if o.Size, err = strconv.ParseInt(text, 10, 64); err != nil || o.Size < 0 {
			return invalid("x-amz-mp-object-size", text, "The header must be a number of bytes.")
		}
	}
	if o.Checksum, err = c.takeWholeChecksum(); err != nil {
		return err
	}
	document, err := c.document(wire.ListBytesMax, false)
	if err != nil {
		return err
	}
	parts, err := wire.ParseComplete(document)
	if err != nil {
		return err
	}
	if o.Parts, err = completeParts(parts); err != nil {
		return err
	}
	if err := c.settleType(&o); err != nil {
		return err
	}
	info, err := c.engine.CompleteUpload(c.ctx, c.ref(), c.uploadID(), o)
	if err != nil {
		return err
	}
	setNewVersion(c.w.Header(), info)
	d := wire.NewDoc("CompleteMultipartUploadResult")
	d.Text("Location", c.location())
	d.Text("Bucket", string(c.bucket))
	d.Text("Key", string(c.key))
	d.Text("ETag", quoted(info.ETag))
	if documentChecksum(d, info.Checksum); len(info.Checksum.Sum) > 0 {
		d.Text("ChecksumType", checksumType(info.Checksum.Composite))
	}
	return c.answer(d)
}

// location returns the URL of the object as the client would write it.
func (c *call) location() string {
	u := url.URL{Scheme: "http", Host: c.r.Host, Path: "/" + string(c.bucket) + "/" + string(c.key)}
	if c.hosted != "" {
		u.Path = "/" + string(c.key)
	}
	if c.r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

// takeWholeChecksum reads the checksum that the completed object must have, and takes its headers out of the request, whose own
// body they do not describe.
func (c *call) takeWholeChecksum() (engine.Checksum, error) {
	h := c.r.Header
	kind := strings.ToUpper(h.Get("X-Amz-Checksum-Type"))
	if kind != "" && kind != "FULL_OBJECT" && kind != "COMPOSITE" {
		return engine.Checksum{}, faultf("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
	}
	var s engine.Checksum
	for i := range algorithms {
		a := &algorithms[i]
		text := h.Get(a.header)
		if text == "" {
			continue
		}
		if s.Algorithm != "" {
			return s, faultf("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		var err error
		if s, err = parseWhole(a, text, kind); err != nil {
			return s, err
		}
		h.Del(a.header)
	}
	if name := h.Get("X-Amz-Sdk-Checksum-Algorithm"); name != "" && (algorithmNamed(name) == nil || s.Algorithm != "" && algorithmNamed(name).name != s.Algorithm) {
		return s, faultf("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	h.Del("X-Amz-Sdk-Checksum-Algorithm")
	return s, nil
}

// settleType decides whether the checksum of a completion is composite where the client has not said so: what the algorithm allows,
// or else what the upload was started with. An upload that is gone may have been completed by this very request before; a
// repetition changes nothing, so that there is nothing to compare.
func (c *call) settleType(o *engine.CompleteUploadOptions) error {
	s := &o.Checksum
	if s.Algorithm == "" {
		return c.checkCompletionsType()
	}
	a := algorithmNamed(s.Algorithm)
	if !s.Composite && c.r.Header.Get("X-Amz-Checksum-Type") == "" {
		s.Composite = !a.full
		if a.full && a.composite {
			page, err := c.engine.ListParts(c.ctx, c.ref(), c.uploadID(), engine.ListPartsOptions{Max: 1})
			if engine.Is(err, engine.KindNoSuchUpload) {
				*s = engine.Checksum{}
				return nil
			}
			if err != nil {
				return err
			}
			s.Composite = !page.Upload.ChecksumFull
		}
	}
	if s.Composite && s.Parts == 0 {
		s.Parts = len(o.Parts)
	}
	return nil
}

// checkCompletionsType holds the type that a completion without a checksum names against that of the upload.
func (c *call) checkCompletionsType() error {
	kind := c.r.Header.Get("X-Amz-Checksum-Type")
	if kind == "" {
		return nil
	}
	page, err := c.engine.ListParts(c.ctx, c.ref(), c.uploadID(), engine.ListPartsOptions{Max: 1})
	if engine.Is(err, engine.KindNoSuchUpload) {
		return nil // a repetition, or the engine says so again
	}
	if err != nil {
		return err
	}
	return checkUploadsType(kind, &page.Upload)
}

// parseWhole reads "base64" or "base64-parts".
func parseWhole(a *algorithm, text, kind string) (engine.Checksum, error) {
	base, count, composite := strings.Cut(text, "-")
	s := engine.Checksum{Algorithm: a.name, Composite: composite || kind == "COMPOSITE"}
	var err error
	if s.Sum, err = a.parse(base); err != nil {
		return s, err
	}
	if composite {
		if s.Parts, err = strconv.Atoi(count); err != nil || kind == "FULL_OBJECT" {
			return s, faultf("InvalidRequest", "Value for "+strings.ToLower(a.header)+" header is invalid.")
		}
	}
	return s, nil
}

func completeParts(parts []wire.CompletePart) ([]engine.CompletePart, error) {
	out := make([]engine.CompletePart, len(parts))
	for i, p := range parts {
		if p.Number < 1 || p.Number > engine.PartNumberMax {
			return nil, invalid("PartNumber", strconv.Itoa(p.Number), "PartNumber must be an integer between 1 and 10000, inclusive")
		}
		out[i] = engine.CompletePart{Number: p.Number, ETag: engine.ETag(strings.Trim(p.ETag, `"`))}
		if len(p.Checksums) > 1 {
			return nil, faultf("InvalidRequest", "A part of the completion has more than one checksum.")
		}
		for name, text := range p.Checksums {
			sum, err := algorithmNamed(name).parse(text)
			if err != nil {
				return nil, err
			}
			out[i].Checksum = engine.Checksum{Algorithm: name, Sum: sum}
		}
	}
	return out, nil
}

// abortUpload is AbortMultipartUpload.
func abortUpload(c *call) error {
	if err := c.engine.AbortUpload(c.ctx, c.ref(), c.uploadID()); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
