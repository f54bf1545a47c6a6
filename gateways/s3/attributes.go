package s3

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// defaultContentType is what S3 says of an object whose writer said nothing.
const defaultContentType = "binary/octet-stream"

// attributes reads what a request says about the object that it writes.
func (c *call) attributes() (engine.Attributes, engine.StorageClass, error) {
	return c.attributesOf(c.r.Header)
}

// attributesOf reads them from headers, or from the fields of a form that stand for headers.
func (c *call) attributesOf(h http.Header) (engine.Attributes, engine.StorageClass, error) {
	class := h.Get("X-Amz-Storage-Class")
	if !c.g.hasClass(class) {
		return engine.Attributes{}, "", fault("InvalidStorageClass", wire.Field{Name: "StorageClassRequested", Value: class})
	}
	if err := checkACL(h); err != nil {
		return engine.Attributes{}, "", err
	}
	user, err := userMetadata(h)
	if err != nil {
		return engine.Attributes{}, "", err
	}
	return engine.Attributes{ContentType: h.Get("Content-Type"), ContentEncoding: withoutChunked(h.Values("Content-Encoding")),
		ContentDisposition: h.Get("Content-Disposition"), ContentLanguage: h.Get("Content-Language"), CacheControl: h.Get("Cache-Control"),
		Expires: h.Get("Expires"), User: user}, engine.StorageClass(class), nil
}

// checkACL lets pass what is true of every bucket and object: the owner has all rights and nobody else has any.
func checkACL(h http.Header) error {
	switch acl := h.Get("X-Amz-Acl"); acl {
	case "", "private", "bucket-owner-full-control":
		return nil
	case "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read", "log-delivery-write":
		return notImplemented("value of the header", "x-amz-acl: "+acl)
	default:
		return invalid("x-amz-acl", acl, "The header must name a canned ACL.")
	}
}

// userMetadata reads the x-amz-meta-* headers. Several values of a name are joined by commas, as S3 does.
func userMetadata(h http.Header) (map[string]string, error) {
	var user map[string]string
	size := 0
	for name, values := range h {
		name, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-")
		if !ok {
			continue
		}
		if user == nil {
			user = map[string]string{}
		}
		user[name] = strings.Join(values, ",")
		size += len(name) + len(user[name])
	}
	if size > engine.UserMetadataBytesMax {
		return nil, fault("MetadataTooLarge")
	}
	return user, nil
}

// withoutChunked removes the encoding that belongs to the signature and not to the object. The others stay as they were written.
func withoutChunked(values []string) string {
	var kept []string
	for _, value := range values {
		for _, encoding := range strings.Split(value, ",") {
			if bare := strings.TrimSpace(encoding); bare != "" && !strings.EqualFold(bare, "aws-chunked") {
				kept = append(kept, encoding)
			}
		}
	}
	return strings.TrimSpace(strings.Join(kept, ","))
}

// setObject puts what an object is into the headers of an answer.
func setObject(h http.Header, info engine.ObjectInfo) {
	a := info.Attributes
	for _, field := range [...]struct{ name, value string }{
		{"Content-Encoding", a.ContentEncoding}, {"Content-Disposition", a.ContentDisposition}, {"Content-Language", a.ContentLanguage},
		{"Cache-Control", a.CacheControl}, {"Expires", a.Expires},
	} {
		if field.value != "" {
			h.Set(field.name, field.value)
		}
	}
	h.Set("Content-Type", defaultContentType)
	if a.ContentType != "" {
		h.Set("Content-Type", a.ContentType)
	}
	for name, value := range a.User {
		h["x-amz-meta-"+name] = []string{value} // as S3 writes it; some clients hand the name on as it came
	}
	if n := len(info.Tags); n > 0 {
		h.Set("X-Amz-Tagging-Count", strconv.Itoa(n))
	}
	setLock(h, info.Lock)
	h.Set("Accept-Ranges", "bytes")
	setVersion(h, info)
	setValidators(h, info)
	if info.Class != "" && info.Class != engine.ClassStandard {
		h.Set("X-Amz-Storage-Class", string(info.Class))
	}
}

// setValidators puts what identifies a version into the headers, as a 304 has them too.
func setValidators(h http.Header, info engine.ObjectInfo) {
	h.Set("ETag", quoted(info.ETag))
	h.Set("Last-Modified", wire.HTTPTime(info.Modified))
}

func quoted(tag engine.ETag) string { return `"` + string(tag) + `"` }

// overrides are the parameters of a read that replace headers of its answer.
var overrides = map[string]string{
	"response-content-type": "Content-Type", "response-content-language": "Content-Language", "response-expires": "Expires",
	"response-cache-control": "Cache-Control", "response-content-disposition": "Content-Disposition", "response-content-encoding": "Content-Encoding",
}

func (c *call) override() {
	for _, p := range c.query {
		if name := overrides[p.Name]; name != "" {
			c.w.Header().Set(name, p.Value)
		}
	}
}

// checkOverrides refuses values that a header cannot have.
func (c *call) checkOverrides() error {
	for _, p := range c.query {
		if overrides[p.Name] != "" && !httpguts.ValidHeaderFieldValue(p.Value) {
			return invalid(p.Name, p.Value, "The parameter stands for a header, which cannot have this value.")
		}
	}
	return nil
}

// checkVersion refuses a version that no bucket ever had.
func (c *call) checkVersion() error {
	version, named := c.query.Get("versionId")
	if named && version == "" {
		return invalid("versionId", version, "Version id cannot be the empty string")
	}
	return checkVersionID("versionId", version)
}

func checkVersionID(name, version string) error {
	if engine.CheckVersion(engine.VersionID(version)) != nil {
		return invalid(name, version, "Invalid version id specified")
	}
	return nil
}

// setNewVersion names the version that was just made. As in S3, one that was made while versioning is suspended is not named: it is "null".
func setNewVersion(h http.Header, info engine.ObjectInfo) {
	if info.Versioning == engine.VersioningEnabled {
		setVersion(h, info)
	}
}

// setVersion names the version where the bucket has versions.
func setVersion(h http.Header, info engine.ObjectInfo) {
	if info.Versioning != engine.VersioningOff {
		h.Set("X-Amz-Version-Id", string(info.Version))
	}
}
