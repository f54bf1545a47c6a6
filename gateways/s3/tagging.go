package s3

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// Limits of tags, as S3 has them; lengths are in characters.
const (
	objectTagsMax = 10
	bucketTagsMax = 50
	tagNameMax    = 128
	tagValueMax   = 256
)

// tagsOf checks tags and makes a set of them. What is wrong with one comes before that there are too many.
func tagsOf(list []wire.Tag, what string, most int) (engine.Tags, error) {
	tags := engine.Tags{}
	for _, t := range list {
		field := wire.Field{Name: "TagKey", Value: t.Key}
		_, twice := tags[t.Key]
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > tagNameMax || !tagText(t.Key):
			return nil, faultf("InvalidTag", "The TagKey you have provided is invalid", field)
		case utf8.RuneCountInString(t.Value) > tagValueMax || !tagText(t.Value):
			return nil, faultf("InvalidTag", "The TagValue you have provided is invalid", field, wire.Field{Name: "TagValue", Value: t.Value})
		case strings.HasPrefix(t.Key, "aws:"):
			return nil, faultf("InvalidTag", "System tags cannot be added/updated by requester", field)
		case twice:
			return nil, faultf("InvalidTag", "Cannot provide multiple Tags with the same key", field)
		}
		tags[t.Key] = t.Value
	}
	if len(tags) > most {
		return nil, faultf("BadRequest", what+" tags cannot be greater than "+strconv.Itoa(most))
	}
	return tags, nil
}

// tagText reports whether S3 allows the characters of a name or value: letters, numbers and spaces of any script, and _.:/=+-@.
func tagText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.In(r, unicode.L, unicode.N, unicode.Z) && !strings.ContainsRune("_.:/=+-@", r)
	})
}

// taggingHeader reads x-amz-tagging, which has the form of the query of a URL.
func taggingHeader(h http.Header) (engine.Tags, error) {
	text := h.Get("X-Amz-Tagging")
	values, err := url.ParseQuery(text)
	var list []wire.Tag
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			err = errTwice
		}
		list = append(list, wire.Tag{Key: name, Value: values[name][0]})
	}
	if err != nil {
		return nil, invalid("x-amz-tagging", text, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	return tagsOf(list, "Object", objectTagsMax)
}

var errTwice = fault("InvalidTag")

// taggingBody reads the Tagging document of the request.
func (c *call) taggingBody(what string, most int) (engine.Tags, error) {
	document, err := c.document(wire.DocumentBytesMax, false)
	if err != nil {
		return nil, err
	}
	list, err := wire.ParseTagging(document)
	if err != nil {
		return nil, err
	}
	return tagsOf(list, what, most)
}

// answerTags answers with a Tagging document, the tags in order of their names.
func (c *call) answerTags(tags engine.Tags) error { return c.answer(taggingDocument(tags)) }

func taggingDocument(tags engine.Tags) *wire.Doc {
	d := wire.NewDoc("Tagging")
	d.Open("TagSet")
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		d.Open("Tag")
		d.Text("Key", name)
		d.Text("Value", tags[name])
		d.Close()
	}
	d.Close()
	return d
}

// getObjectTagging is GetObjectTagging.
func getObjectTagging(c *call) error {
	if err := c.checkVersion(); err != nil {
		return err
	}
	info, err := c.engine.Stat(c.ctx, c.ref(), engine.StatOptions{})
	if err != nil {
		return err
	}
	setVersion(c.w.Header(), info)
	return c.answerTags(info.Tags)
}

// putObjectTagging is PutObjectTagging.
func putObjectTagging(c *call) error {
	tags, err := c.taggingBody("Object", objectTagsMax)
	if err != nil {
		return err
	}
	return c.setTags(tags, statusOK)
}

// deleteObjectTagging is DeleteObjectTagging.
func deleteObjectTagging(c *call) error { return c.setTags(nil, http.StatusNoContent) }

func (c *call) setTags(tags engine.Tags, status int) error {
	if err := c.checkVersion(); err != nil {
		return err
	}
	info, err := c.engine.SetTags(c.ctx, c.ref(), tags)
	if err != nil {
		return err
	}
	setVersion(c.w.Header(), info)
	return c.empty(status)
}

// getBucketTagging is GetBucketTagging. The document is kept as it is answered.
func getBucketTagging(c *call) error {
	document, err := c.engine.Document(c.ctx, c.bucket, engine.DocumentTagging)
	if err != nil {
		return err
	}
	if document == nil {
		return fault("NoSuchTagSet", wire.Field{Name: "BucketName", Value: string(c.bucket)})
	}
	c.send(http.StatusOK, "application/xml", document)
	return nil
}

// putBucketTagging is PutBucketTagging.
func putBucketTagging(c *call) error {
	tags, err := c.taggingBody("Bucket", bucketTagsMax)
	if err != nil {
		return err
	}
	var document []byte
	if len(tags) > 0 {
		document = taggingDocument(tags).Bytes()
	}
	return c.setDocument(engine.DocumentTagging, document)
}

// deleteBucketTagging is DeleteBucketTagging.
func deleteBucketTagging(c *call) error { return c.setDocument(engine.DocumentTagging, nil) }

func (c *call) setDocument(name string, document []byte) error {
	if err := c.engine.SetDocument(c.ctx, c.bucket, name, document); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
