package s3

import (
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
	body, err := c.openContent(algorithmNamed("CRC64NVME"))
	if err != nil {
		return err
	}
	info, err := c.engine.Put(c.ctx, c.ref(), body, engine.PutOptions{Size: body.size, Class: class, Attributes: attributes, Tags: tags, If: conditions,
		MD5: sum, Checksum: body.checksum})
	if err != nil {
		return body.failure(err)
	}
	c.w.Header().Set("ETag", quoted(info.ETag))
	setVersion(c.w.Header(), info)
	setChecksum(c.w.Header(), body.checksum(), true)
	return c.empty(statusOK)
}
