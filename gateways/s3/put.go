package s3

import (
	"strconv"
	"strings"

	"holdfast/engine"
)

// putObject is PutObject. An object whose writer names no checksum gets a CRC64-NVME, as in S3.
func putObject(c *call) error {
	attributes, class, err := c.attributes()
	if err != nil {
		return err
	}
	tags, err := taggingHeader(c.r.Header)
	if err != nil {
		return err
	}
	conditions, err := writeIf(c.r.Header)
	if err != nil {
		return err
	}
	sum, err := contentMD5(c.r.Header)
	if err != nil {
		return err
	}
	if strings.EqualFold(c.r.Header.Get("X-Amz-Checksum-Type"), "COMPOSITE") {
		return faultf("InvalidRequest", "The COMPOSITE checksum type can only be used with multipart uploads.")
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	if err := requireDigest(c.r.Header, lock); err != nil {
		return err
	}
	offset, appending, err := c.writeOffset()
	if err != nil {
		return err
	}
	if appending && !lock.IsZero() {
		return faultf("InvalidRequest", "A write with an offset appends to an object, which has no lock.")
	}
	body, err := c.openContent(algorithmNamed("CRC64NVME"))
	if err != nil {
		return err
	}
	if appending {
		return c.appendObject(body, engine.AppendOptions{Offset: offset, Size: body.size, Class: class, Attributes: attributes, Tags: tags, If: conditions, MD5: sum,
			Checksum: body.checksum})
	}
	info, err := c.engine.Put(c.ctx, c.ref(), body, engine.PutOptions{Size: body.size, Class: class, Attributes: attributes, Tags: tags, If: conditions,
		MD5: sum, Lock: lock, Checksum: body.checksum})
	if err != nil {
		return body.failure(err)
	}
	c.w.Header().Set("ETag", quoted(info.ETag))
	setNewVersion(c.w.Header(), info)
	setChecksum(c.w.Header(), body.checksum(), true)
	return c.empty(statusOK)
}

// writeOffset reads x-amz-write-offset-bytes, which makes an append of a PutObject.
func (c *call) writeOffset() (offset int64, given bool, err error) {
	text := c.r.Header.Get("X-Amz-Write-Offset-Bytes")
	if text == "" {
		return 0, false, nil
	}
	offset, err = strconv.ParseInt(text, 10, 64)
	if err != nil || offset < 0 {
		return 0, false, invalid("x-amz-write-offset-bytes", text, "The offset must be a number of bytes.")
	}
	return offset, true, nil
}

// appendObject is PutObject with x-amz-write-offset-bytes, for objects of any bucket whose versioning is off.
func (c *call) appendObject(body *content, o engine.AppendOptions) error {
	info, err := c.engine.Append(c.ctx, c.ref(), body, o)
	if err != nil {
		return body.failure(err)
	}
	c.w.Header().Set("ETag", quoted(info.ETag))
	c.w.Header().Set("X-Amz-Object-Size", strconv.FormatInt(info.Size, 10))
	setChecksum(c.w.Header(), info.Checksum, true)
	return c.empty(statusOK)
}
