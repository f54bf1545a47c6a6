package s3

import (
	"net/url"
	"strings"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

const renameSource = "X-Amz-Rename-Source"

// renameHeaders are those of RenameObject. Conditions on the time of what is replaced are not among them.
var renameHeaders = []string{"x-amz-rename-source", "x-amz-client-token", "if-match", "if-none-match", "x-amz-rename-source-if-match",
	"x-amz-rename-source-if-none-match", "x-amz-rename-source-if-modified-since", "x-amz-rename-source-if-unmodified-since"}

// renamed reads x-amz-rename-source: "bucket/key" or "/bucket/key", percent-encoded, of the request's own bucket.
func (c *call) renamed() (engine.Key, error) {
	text := c.r.Header.Get(renameSource)
	path, err := url.PathUnescape(text)
	key, ok := strings.CutPrefix(strings.TrimPrefix(path, "/"), string(c.bucket)+"/")
	if err != nil || !ok || key == "" {
		return "", invalid("x-amz-rename-source", text, "The source must be percent-encoded and name the bucket of the request and a key: bucket/key")
	}
	if engine.CheckKey(engine.Key(key)) != nil {
		return "", invalid("x-amz-rename-source", text, "The key of the source has more than 1024 bytes, or is no UTF-8.")
	}
	return engine.Key(key), nil
}

// renameObject is RenameObject, for objects of any bucket whose versioning is off.
func renameObject(c *call) error {
	from, err := c.renamed()
	if err != nil {
		return err
	}
	var o engine.RenameOptions
	if o.If, err = writeIf(c.r.Header); err != nil {
		return err
	}
	if o.From, err = sourceIf(c.r.Header, renameSource); err != nil {
		return err
	}
	o.Token = c.r.Header.Get("X-Amz-Client-Token")
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r < 33 || r > 126 }) || len(o.Token) > engine.TokenBytesMax {
		return invalid("x-amz-client-token", o.Token, "The token has at most 64 characters, from 33 to 126 of ASCII.")
	}
	switch {
	case strings.HasSuffix(string(from), "/") || strings.HasSuffix(string(c.key), "/"):
		return faultf("InvalidRequest", `RenameObject renames one object whose key does not end with "/"; a whole prefix is renamed with the parameter renamePrefix.`)
	case from == c.key:
		return faultf("InvalidRequest", "The object has this key already.")
	}
	if _, err := c.engine.Rename(c.ctx, engine.Ref{Bucket: c.bucket, Key: from}, c.ref(), o); err != nil {
		return err
	}
	return c.empty(statusOK)
}

// renamePrefix is an operation of our own: PUT bucket/to/?renamePrefix with x-amz-rename-source: bucket/from/ gives every key that begins with the
// one prefix the other, in one commit.
func renamePrefix(c *call) error {
	from, err := c.renamed()
	if err != nil {
		return err
	}
	if err := engine.CheckRenamePrefix(string(from), string(c.key)); err != nil {
		return faultf("InvalidRequest", err.Error())
	}
	info, err := c.engine.RenamePrefix(c.ctx, c.bucket, string(from), string(c.key))
	if err != nil {
		return err
	}
	d := wire.NewDoc("RenamePrefixResult")
	d.Int("Objects", int64(info.Objects))
	d.Int("Versions", int64(info.Versions))
	d.Int("Bytes", int64(info.Bytes))
	return c.answer(d)
}
