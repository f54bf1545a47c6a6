package s3

import (
	"cmp"
	"hash"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// copySource is the header that makes a copy of a write.
const copySource = "X-Amz-Copy-Source"

// source reads x-amz-copy-source: "bucket/key" or "/bucket/key", percent-encoded, and "?versionId=" with a version.
func (c *call) source() (engine.Ref, error) {
	text := c.r.Header.Get(copySource)
	malformed := func(why string) (engine.Ref, error) { return engine.Ref{}, invalid("x-amz-copy-source", text, why) }
	path, version, named := strings.Cut(text, "?versionId=")
	if !strings.Contains(strings.TrimPrefix(path, "/"), "/") { // some encode the slashes too
		if whole, err := url.PathUnescape(path); err == nil {
			path = (&url.URL{Path: whole}).EscapedPath()
		}
	}
	name, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case strings.HasPrefix(path, "arn:"):
		return engine.Ref{}, notImplemented("value of the header", "x-amz-copy-source: "+text)
	case !ok || name == "" || key == "":
		return malformed("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	case named && (version == "" || engine.CheckVersion(engine.VersionID(version)) != nil):
		return malformed("Invalid version id specified")
	}
	bucket, err := url.PathUnescape(name)
	if err == nil {
		key, err = url.PathUnescape(key)
	}
	if err != nil {
		return malformed("Invalid copy source encoding.")
	}
	ref := engine.Ref{Bucket: engine.BucketName(bucket), Key: engine.Key(key), Version: engine.VersionID(version)}
	if err := engine.CheckBucketName(ref.Bucket); err != nil {
		return ref, fault("InvalidBucketName", wire.Field{Name: "BucketName", Value: bucket})
	}
	if err := engine.CheckKey(ref.Key); err != nil {
		return malformed("The key of the source has more than 1024 bytes, or is no UTF-8.")
	}
	return ref, nil
}

// sourceIf reads the conditions on the source of a copy or rename, which have the names of those of a read with a prefix. Unlike there a date that is none
// is refused: RFC 9110 lets readers pass over it, but this is a write that somebody wants to happen under a condition.
func sourceIf(h http.Header, prefix string) (engine.Conditions, error) {
	read := http.Header{}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		values := h[prefix+"-"+name]
		if len(values) == 0 {
			continue
		}
		if _, err := http.ParseTime(values[0]); err != nil && strings.HasSuffix(name, "-Since") {
			return engine.Conditions{}, invalid(strings.ToLower(prefix+"-"+name), values[0], "The header must be a date as HTTP writes it.")
		}
		read[name] = values
	}
	return readIf(read)
}

// copying is what CopyObject and UploadPartCopy have in common.
type copying struct {
	from engine.Ref
	when engine.Conditions // of the source

	algorithm *algorithm // nil: no checksum is computed
	hash      hash.Hash
}

func (c *call) parseCopy() (k copying, err error) {
	if k.from, err = c.source(); err != nil {
		return k, err
	}
	k.when, err = sourceIf(c.r.Header, copySource)
	return k, err
}

// copyFault is the error of a copy whose source may be a delete marker.
func copyFault(err error) error {
	if engine.Is(err, engine.KindDeleteMarker) {
		return faultf("InvalidRequest", "The source of a copy request may not specifically refer to a delete marker by version id.")
	}
	return err
}

// nameSource tells which version was copied, if its bucket has versions or the client named one.
func (c *call) nameSource(from engine.Ref, copied engine.VersionID) {
	if version := cmp.Or(copied, from.Version); version != "" {
		c.w.Header().Set("X-Amz-Copy-Source-Version-Id", string(version))
	}
}

// compute has the checksum of the content computed.
func (k *copying) compute(a *algorithm) {
	if a != nil {
		k.algorithm, k.hash = a, a.new()
	}
}

func (k *copying) checksum() engine.Checksum {
	return engine.Checksum{Algorithm: k.algorithm.name, Sum: k.algorithm.sum(k.hash)}
}

// copyObject is CopyObject. The copy shares the source's content.
func copyObject(c *call) error {
	k, err := c.parseCopy()
	if err != nil {
		return err
	}
	o := engine.CopyOptions{From: k.when}
	attributes, class, err := c.attributes()
	if err != nil {
		return err
	}
	o.Class = class
	if o.Lock, err = c.lock(); err != nil {
		return err
	}
	if o.If, err = writeIf(c.r.Header); err != nil {
		return err
	}
	replace, err := c.directive("x-amz-metadata-directive")
	if err != nil {
		return err
	}
	if replace {
		o.Attributes = &attributes
	}
	retag, err := c.directive("x-amz-tagging-directive")
	if err != nil {
		return err
	}
	if retag {
		tags, err := taggingHeader(c.r.Header)
		if err != nil {
			return err
		}
		o.Tags = &tags
	}
	asked := c.r.Header.Get("X-Amz-Checksum-Algorithm")
	if asked != "" && algorithmNamed(asked) == nil {
		return faultf("InvalidRequest", "Value for x-amz-checksum-algorithm header is invalid.")
	}
	if err := c.checkItself(&k, replace || retag || asked != "" || !o.Lock.IsZero(), class); err != nil {
		return err
	}
	if asked != "" {
		k.compute(algorithmNamed(asked))
		o.Hash, o.Checksum = k.hash, k.checksum
	}
	info, err := c.engine.Copy(c.ctx, k.from, c.ref(), o)
	if err != nil {
		return copyFault(err)
	}
	setNewVersion(c.w.Header(), info)
	c.nameSource(k.from, info.Source)
	d := wire.NewDoc("CopyObjectResult")
	d.Text("ETag", quoted(info.ETag))
	d.Time("LastModified", info.Modified)
	if documentChecksum(d, info.Checksum); len(info.Checksum.Sum) > 0 {
		d.Text("ChecksumType", checksumType(info.Checksum.Composite))
	}
	return c.answer(d)
}

// directive reads whether metadata or tags are replaced by those of the request; else they are copied, whatever the request has.
func (c *call) directive(name string) (replace bool, err error) {
	switch directive := c.r.Header.Get(name); directive {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	default:
		return false, invalid(name, directive, "Unknown directive: it is COPY or REPLACE.")
	}
}

// checkItself refuses a copy of an object onto itself that changes nothing.
func (c *call) checkItself(k *copying, changes bool, class engine.StorageClass) error {
	if changes || k.from != c.ref() {
		return nil
	}
	info, err := c.engine.Stat(c.ctx, k.from, engine.StatOptions{})
	if err != nil {
		return err
	}
	if class != "" && class != info.Class {
		return nil
	}
	return faultf("InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, "+
		"storage class, website redirect location or encryption attributes.")
}

// copyPart is UploadPartCopy. The part shares the source's content.
func copyPart(c *call) error {
	number, err := c.partNumber()
	if err != nil {
		return err
	}
	k, err := c.parseCopy()
	if err != nil {
		return err
	}
	upload, err := c.engine.ListParts(c.ctx, c.ref(), c.uploadID(), engine.ListPartsOptions{Max: 1})
	if err != nil {
		return err
	}
	var part engine.PartInfo
	for attempt := 1; ; attempt++ {
		o, added, err := c.copyPartOptions(&k, algorithmNamed(upload.Upload.ChecksumAlgorithm))
		if err != nil {
			return err
		}
		part, err = c.engine.CopyPart(c.ctx, k.from, c.ref(), c.uploadID(), number, o)
		if err == nil {
			break
		}
		if !added || !engine.Is(err, engine.KindPreconditionFailed) || attempt == copyAttempts {
			return copyFault(err)
		}
	}
	c.nameSource(k.from, part.Source)
	d := wire.NewDoc("CopyPartResult")
	d.Text("ETag", quoted(part.ETag))
	d.Time("LastModified", part.Modified)
	documentChecksum(d, part.Checksum)
	return c.answer(d)
}

// copyAttempts is how often a range is looked at anew because its source was overwritten after that.
const copyAttempts = 5

// copyPartOptions makes the options of UploadPartCopy. Added says that they have a condition that the client did not ask for: that the source is
// the version whose size allows the range.
func (c *call) copyPartOptions(k *copying, a *algorithm) (o engine.CopyPartOptions, added bool, err error) {
	o.From = k.when
	if k.compute(a); k.algorithm != nil {
		o.Hash, o.Checksum = k.hash, k.checksum
	}
	text := c.r.Header.Get(copySource + "-Range")
	if text == "" {
		return o, false, nil
	}
	if o.Range, err = parseCopyRange(text); err != nil {
		return o, false, err
	}
	info, err := c.engine.Stat(c.ctx, k.from, engine.StatOptions{})
	if err != nil {
		return o, false, copyFault(err)
	}
	if o.Range.Start+o.Range.Length > info.Size {
		return o, false, invalid("x-amz-copy-source-range", text, "Range specified is not valid for source object of size: "+strconv.FormatInt(info.Size, 10))
	}
	if len(o.From.Match) == 0 {
		o.From.Match, added = []engine.ETag{info.ETag}, true
	}
	return o, added, nil
}

// parseCopyRange reads x-amz-copy-source-range, which must name the first byte and the last.
func parseCopyRange(text string) (*engine.Range, error) {
	r := parseRange(text)
	if r == nil || r.Start < 0 || r.Length < 0 {
		return nil, invalid("x-amz-copy-source-range", text, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "+
			"zero-based offsets of the first and last bytes to copy")
	}
	return r, nil
}
