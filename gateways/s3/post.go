package s3

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// isForm reports whether the request is an upload from a browser, whose signature is in the fields of its form.
func (c *call) isForm() bool {
	_, form := wire.FormBoundary(c.r.Header.Get("Content-Type"))
	return form && c.r.Method == http.MethodPost && c.level == bucketLevel && len(c.query) == 0 && len(c.r.Header["Authorization"]) == 0
}

// postObject is POST Object: a form of a browser with a policy that somebody with a secret key has signed. Nothing is stored unless the whole form has
// come, and its file has a size that the policy allows.
//
// Source: "POST Object" and "Browser-Based Uploads Using POST" of the S3 API reference.
func postObject(c *call) error {
	boundary, ok := wire.FormBoundary(c.r.Header.Get("Content-Type"))
	switch {
	case !ok:
		return faultf("PreconditionFailed", wire.Message("PreconditionFailed"),
			wire.Field{Name: "Condition", Value: "Bucket POST must be of the enclosure-type multipart/form-data"})
	case c.signed != nil:
		return invalid("Authorization", "", "Only one auth mechanism allowed; the signature of a form is in its fields.")
	case c.contentLength() < 0:
		return fault("MissingContentLength")
	case c.contentLength() > engine.PutBytesMax+wire.FormBytesMax+wire.FormTailMax:
		return tooLarge(c.contentLength(), engine.PutBytesMax)
	}
	for _, name := range []string{"X-Amz-Date", "X-Amz-Content-Sha256"} { // they belong to a signature in the header
		if c.r.Header.Get(name) != "" {
			return notImplemented("header", strings.ToLower(name))
		}
	}
	form, err := wire.ReadForm(c.incoming, boundary)
	if err != nil {
		return bodyError(err)
	}
	accessKey, err := c.g.verifier.VerifyForm(form.Field)
	if err != nil {
		return err
	}
	if err := c.enter(accessKey); err != nil {
		return err
	}
	policy, err := c.judgeForm(form)
	if err != nil {
		return err
	}
	h, err := headersOf(form)
	if err != nil {
		return err
	}
	options, err := c.formOptions(form, h)
	if err != nil {
		return err
	}
	body, err := c.openForm(form, policy, h)
	if err != nil {
		return err
	}
	reader, err := body.begin()
	if err != nil {
		return err
	}
	options.Size, options.Checksum = body.size, body.checksum
	info, err := c.engine.Put(c.ctx, c.ref(), reader, options)
	if err != nil {
		return body.failure(err)
	}
	c.w.Header().Set("ETag", quoted(info.ETag))
	setVersion(c.w.Header(), info)
	setChecksum(c.w.Header(), body.checksum(), true)
	return c.answerForm(form, info)
}

func tooLarge(size, most int64) error {
	return fault("EntityTooLarge", wire.Field{Name: "ProposedSize", Value: strconv.FormatInt(size, 10)},
		wire.Field{Name: "MaxSizeAllowed", Value: strconv.FormatInt(most, 10)})
}

// judgeForm reads the key and holds the form against its policy.
func (c *call) judgeForm(form *wire.Form) (*wire.FormPolicy, error) {
	text, _ := form.Field("policy") // it was signed
	policy, err := wire.ParseFormPolicy(text)
	if err != nil {
		return nil, err
	}
	key, hasKey := form.Field("key")
	key = strings.ReplaceAll(key, "${filename}", form.FileName[strings.LastIndexAny(form.FileName, `/\`)+1:])
	err = policy.Check(c.g.Now(), form.Names(), func(name string) string {
		switch name {
		case "bucket":
			return string(c.bucket)
		case "key":
			return key
		}
		value, _ := form.Field(name)
		return value
	})
	if err != nil {
		return nil, err
	}
	if bucket, ok := form.Field("bucket"); ok && bucket != string(c.bucket) {
		return nil, invalid("bucket", bucket, "The form is for another bucket than the one that it was sent to.")
	}
	switch {
	case !hasKey:
		return nil, invalid("key", "", "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
	case key == "":
		return nil, invalid("key", "", "User key must have a length greater than 0.")
	}
	c.key, c.level, c.record.Key = engine.Key(key), objectLevel, key
	return policy, c.checkNames()
}

// headersOf makes headers of the fields that stand for some. A field that could change what the upload means and that is not known is refused; others,
// which the policy allows, are the page's own.
func headersOf(form *wire.Form) (http.Header, error) {
	h := http.Header{}
	for _, name := range form.Names() {
		value, _ := form.Field(name)
		header := name
		switch {
		case name == "acl":
			header = "x-amz-acl"
		case name == "x-amz-algorithm", name == "x-amz-credential", name == "x-amz-date", name == "x-amz-signature":
			continue
		case listed(formFields, name):
		case meaningful(name):
			return nil, notImplemented("form field", name)
		default:
			continue
		}
		if !httpguts.ValidHeaderFieldName(header) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, invalid(name, value, "The field stands for a header, which cannot have this name or value.")
		}
		h.Set(header, strings.Trim(value, " \t"))
	}
	return h, nil
}

// formOptions reads what a form says about the object that it writes.
func (c *call) formOptions(form *wire.Form, h http.Header) (o engine.PutOptions, err error) {
	if o.Attributes, o.Class, err = c.attributesOf(h); err != nil {
		return o, err
	}
	if o.Tags, err = taggingHeader(h); err != nil {
		return o, err
	}
	if document, ok := form.Field("tagging"); ok {
		if len(o.Tags) > 0 {
			return o, invalid("tagging", document, "The form has both tagging and x-amz-tagging.")
		}
		list, err := wire.ParseTagging([]byte(document))
		if err != nil {
			return o, err
		}
		if o.Tags, err = tagsOf(list, "Object", objectTagsMax); err != nil {
			return o, err
		}
	}
	if o.MD5, err = contentMD5(h); err != nil {
		return o, err
	}
	if o.Lock, err = lockOf(h); err != nil {
		return o, err
	}
	if err := requireDigest(h, o.Lock); err != nil {
		return o, err
	}
	o.If, err = writeIf(c.r.Header)
	return o, err
}

// formFile is the file of a form within the sizes that its policy allows.
type formFile struct {
	*wire.Form
	least, most int64
	size        int64 // so far
	whole       int64 // bytes of the form, as it says
}

// Announced is source.Announced: what follows a file is no trailer.
func (f *formFile) Announced() []string { return nil }

// Trailer is source.Trailer.
func (f *formFile) Trailer(string) (string, bool) { return "", false }

// Read is io.Reader. It ends in an error as soon as the file is too large, and in place of io.EOF when it was too small.
func (f *formFile) Read(p []byte) (int, error) {
	n, err := f.Form.Read(p)
	f.size += int64(n)
	switch {
	case f.size > f.most:
		return 0, &engine.Error{Kind: engine.KindEntityTooLarge, Err: tooLarge(max(f.size, f.whole), f.most)}
	case err == io.EOF && f.size < f.least:
		return 0, &engine.Error{Kind: engine.KindInvalidArgument, Err: fault("EntityTooSmall", wire.Field{Name: "ProposedSize", Value: strconv.FormatInt(f.size, 10)},
			wire.Field{Name: "MinSizeAllowed", Value: strconv.FormatInt(f.least, 10)})}
	}
	return n, err
}

// openForm prepares the file of a form, with the checksum that a field names.
func (c *call) openForm(form *wire.Form, policy *wire.FormPolicy, h http.Header) (*content, error) {
	if length := c.contentLength(); length < policy.SizeMin { // without the rest of the form it is smaller yet
		return nil, fault("EntityTooSmall", wire.Field{Name: "ProposedSize", Value: strconv.FormatInt(length, 10)},
			wire.Field{Name: "MinSizeAllowed", Value: strconv.FormatInt(policy.SizeMin, 10)})
	}
	t := &content{call: c, body: &formFile{Form: form, least: policy.SizeMin, most: min(policy.SizeMax, engine.PutBytesMax), whole: c.contentLength()}, size: -1, left: -1}
	return t, t.chooseChecksum(h, algorithmNamed("CRC64NVME"))
}

// begin reads as much as the engine keeps beside an object's metadata. If that is all, the size is known, and the body is verified before the engine
// hears of it.
func (t *content) begin() (io.Reader, error) {
	head := make([]byte, engine.InlineBytesMax+1)
	n, err := io.ReadFull(t, head)
	switch {
	case t.err == io.EOF:
		t.size = int64(n)
		return bytes.NewReader(head[:n]), nil
	case err != nil:
		return nil, t.failure(err)
	}
	return io.MultiReader(bytes.NewReader(head), t), nil
}

// answerForm answers in the way that the form asks for: by sending the browser on, with the object in the query, or with a status.
func (c *call) answerForm(form *wire.Form, info engine.ObjectInfo) error {
	target, ok := form.Field("success_action_redirect")
	if !ok {
		target, _ = form.Field("redirect")
	}
	if u, err := url.Parse(target); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += "bucket=" + url.QueryEscape(string(c.bucket)) + "&key=" + url.QueryEscape(string(c.key)) + "&etag=" + url.QueryEscape(quoted(info.ETag))
		c.w.Header().Set("Location", u.String())
		return c.empty(http.StatusSeeOther)
	}
	location := c.location()
	c.w.Header().Set("Location", location)
	switch status, _ := form.Field("success_action_status"); status {
	case "200":
		return c.empty(http.StatusOK)
	case "201":
		d := wire.NewPlainDoc("PostResponse")
		d.Text("Location", location)
		d.Text("Bucket", string(c.bucket))
		d.Text("Key", string(c.key))
		d.Text("ETag", quoted(info.ETag))
		c.send(http.StatusCreated, "application/xml", d.Bytes())
		return nil
	}
	return c.empty(http.StatusNoContent)
}
