package s3

import (
	"net/http"
	"strings"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// forceHeaders is MinIO's header that makes DeleteBucket remove a bucket with all that it holds, and DeleteObject remove whatever has the key for a prefix.
var forceHeaders = []string{"x-minio-force-delete"}

// force reads whether a deletion takes along what lies beneath.
func (c *call) force() (bool, error) {
	switch text := c.r.Header.Get("X-Minio-Force-Delete"); strings.ToLower(text) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, invalid("x-minio-force-delete", text, "The header must be true or false.")
	}
}

// deletePrefix is DeleteObject by force: for the key "a" it removes the object and all keys that begin with "a/", for the key "a/" those alone, each with
// all versions and for good. That nothing is there is no error, as with every deletion. The keys beneath go in one commit, before the object.
func (c *call) deletePrefix() error {
	for name := range c.r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-if-") || lower == "if-match" || lower == "x-amz-bypass-governance-retention" {
			return faultf("InvalidRequest", "A deletion by force takes neither conditions nor a bypass.", wire.Field{Name: "Header", Value: lower})
		}
	}
	if _, ok := c.query.Get("versionId"); ok {
		return faultf("InvalidRequest", "A deletion by force is of all versions and cannot name one.")
	}
	prefix := strings.TrimSuffix(string(c.key), "/") + "/"
	if len(prefix) <= engine.KeyBytesMax {
		if _, err := c.engine.RemovePrefix(c.ctx, c.bucket, prefix); err != nil && !engine.Is(err, engine.KindNoSuchKey) {
			return err
		}
	}
	if string(c.key) != prefix {
		if err := c.deleteVersions(); err != nil {
			return err
		}
	}
	return c.empty(http.StatusNoContent)
}

// deleteVersions deletes all versions that the key has. What is put meanwhile stays.
func (c *call) deleteVersions() error {
	o := engine.ListVersionsOptions{Prefix: string(c.key)}
	for {
		page, err := c.engine.ListVersions(c.ctx, c.bucket, o)
		if err != nil {
			return err
		}
		for _, v := range page.Versions {
			if v.Key != c.key { // the key itself is the first that begins with it
				return nil
			}
			if _, err := c.engine.Delete(c.ctx, engine.Ref{Bucket: c.bucket, Key: c.key, Version: v.Version}, engine.DeleteOptions{}); err != nil {
				return err
			}
		}
		if !page.Truncated {
			return nil
		}
		o.AfterKey, o.AfterVersion = page.LastKey, page.LastVersion
	}
}
