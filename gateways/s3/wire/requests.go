package wire

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Limits of the documents that arrive.
const (
	// DocumentBytesMax is the size of a document that has no limit of its own.
	DocumentBytesMax = 1 << 20
	// ListBytesMax is that of Delete and CompleteMultipartUpload.
	ListBytesMax = 2 << 20
	// DeleteKeysMax is the number of objects of a Delete.
	DeleteKeysMax = 1000
	// PartsMax is the number of parts of a CompleteMultipartUpload.
	PartsMax = 10000
)

// Malformed is the error of a document that is not well-formed, or not what the API reference describes.
type Malformed struct{ Reason string }

func (m *Malformed) Error() string { return "the XML document is not valid: " + m.Reason }

// CreateBucket is a CreateBucketConfiguration. Unsupported names an element that asks for something else than a location.
type CreateBucket struct {
	Location    string
	Unsupported string
}

// Delete is the request of DeleteObjects.
type Delete struct {
	Quiet   bool
	Objects []DeleteObject
}

// DeleteObject is one object of a Delete. The conditions are nil or zero if they were not given.
type DeleteObject struct {
	Key      string
	Version  string
	ETag     string
	Size     *int64
	Modified time.Time
}

// CompletePart is one part of a CompleteMultipartUpload. Checksums has the texts of the Checksum… elements by algorithm, as in
// "CRC32".
type CompletePart struct {
	Number    int
	ETag      string
	Checksums map[string]string
}

// ParseCreateBucket reads a CreateBucketConfiguration; an empty document is one without elements.
func ParseCreateBucket(document []byte) (CreateBucket, error) {
	var c CreateBucket
	if len(bytes.TrimSpace(document)) == 0 {
		return c, nil
	}
	p := newParser(document)
	err := p.root("CreateBucketConfiguration", func(name string) (err error) {
		if name == "LocationConstraint" {
			c.Location, err = p.text()
			return err
		}
		c.Unsupported = name
		return p.skip()
	})
	return c, err
}

// Versioning is a VersioningConfiguration, as it was written.
type Versioning struct{ Status, MFADelete string }

// ParseVersioning reads a VersioningConfiguration.
func ParseVersioning(document []byte) (v Versioning, err error) {
	p := newParser(document)
	err = p.root("VersioningConfiguration", func(name string) (err error) {
		switch name {
		case "Status":
			v.Status, err = p.text()
		case "MfaDelete", "MFADelete":
			v.MFADelete, err = p.text()
		default:
			return unknown(name)
		}
		return err
	})
	return v, err
}

// ObjectLock is the default retention of an ObjectLockConfiguration, as it was written; Days and Years are 0 where they were not, and Mode is "" without a
// rule.
type ObjectLock struct {
	Mode        string
	Days, Years int
}

// ParseObjectLock reads an ObjectLockConfiguration, which enables locks. Whether the numbers make sense is the caller's business.
func ParseObjectLock(document []byte) (l ObjectLock, err error) {
	p := newParser(document)
	enabled, numbers, rules := "", 0, 0
	number := func(n *int) error {
		text, err := p.text()
		if err != nil {
			return err
		}
		numbers++
		if *n, err = strconv.Atoi(text); err != nil {
			return &Malformed{"Days and Years are numbers"}
		}
		return nil
	}
	err = p.root("ObjectLockConfiguration", func(name string) (err error) {
		switch name {
		case "ObjectLockEnabled":
			enabled, err = p.text()
			return err
		case "Rule":
			rules++
			return p.children(func(name string) error {
				if name != "DefaultRetention" {
					return unknown(name)
				}
				return p.children(func(name string) (err error) {
					switch name {
					case "Mode":
						l.Mode, err = p.text()
					case "Days":
						err = number(&l.Days)
					case "Years":
						err = number(&l.Years)
					default:
						return unknown(name)
					}
					return err
				})
			})
		}
		return unknown(name)
	})
	switch {
	case err != nil:
	case enabled != "Enabled":
		err = &Malformed{"ObjectLockEnabled must be Enabled"}
	case rules > 1 || rules == 1 && (numbers != 1 || l.Mode == ""):
		err = &Malformed{"a rule has a Mode and either Days or Years"}
	}
	return l, err
}

// Retention is a Retention, as it was written; both are zero if it is empty.
type Retention struct {
	Mode  string
	Until time.Time
}

// ParseRetention reads a Retention.
func ParseRetention(document []byte) (r Retention, err error) {
	p := newParser(document)
	err = p.root("Retention", func(name string) error {
		text, err := p.text()
		switch name {
		case "Mode":
			r.Mode = text
		case "RetainUntilDate":
			if r.Until, err = time.Parse(time.RFC3339Nano, text); err != nil {
				err = &Malformed{"the RetainUntilDate is not in ISO 8601 format"}
			}
		default:
			return unknown(name)
		}
		return err
	})
	return r, err
}

// ParseLegalHold reads the Status of a LegalHold.
func ParseLegalHold(document []byte) (status string, err error) {
	p := newParser(document)
	err = p.root("LegalHold", func(name string) (err error) {
		if name != "Status" {
			return unknown(name)
		}
		status, err = p.text()
		return err
	})
	return status, err
}

// Tag is a name and a value of a TagSet.
type Tag struct{ Key, Value string }

// ParseTagging reads a Tagging in the order of its tags. Which tags there may be is the caller's business.
func ParseTagging(document []byte) (tags []Tag, err error) {
	p := newParser(document)
	sets := 0
	err = p.root("Tagging", func(name string) error {
		if name != "TagSet" {
			return unknown(name)
		}
		sets++
		return p.children(func(name string) error {
			if name != "Tag" {
				return unknown(name)
			}
			tag, err := p.tag()
			tags = append(tags, tag)
			return err
		})
	})
	if err == nil && sets != 1 {
		err = &Malformed{"there must be one TagSet"}
	}
	return tags, err
}

func (p *parser) tag() (t Tag, err error) {
	var keys, values int
	err = p.children(func(name string) (err error) {
		switch name {
		case "Key":
			keys++
			t.Key, err = p.text()
		case "Value":
			values++
			t.Value, err = p.text()
		default:
			return unknown(name)
		}
		return err
	})
	if err == nil && (keys != 1 || values != 1) {
		err = &Malformed{"a tag must have one Key and one Value"}
	}
	return t, err
}

// ParseDelete reads a Delete of 1 to DeleteKeysMax objects.
func ParseDelete(document []byte) (Delete, error) {
	var d Delete
	p := newParser(document)
	err := p.root("Delete", func(name string) error {
		switch name {
		case "Quiet":
			text, err := p.text()
			if err != nil {
				return err
			}
			d.Quiet = strings.EqualFold(text, "true")
			return nil
		case "Object":
			if len(d.Objects) == DeleteKeysMax {
				return &Malformed{"more than 1000 objects"}
			}
			o, err := p.deleteObject()
			d.Objects = append(d.Objects, o)
			return err
		}
		return unknown(name)
	})
	if err == nil && len(d.Objects) == 0 {
		err = &Malformed{"no object is named"}
	}
	return d, err
}

func (p *parser) deleteObject() (DeleteObject, error) {
	var o DeleteObject
	hasKey := false
	err := p.children(func(name string) error {
		text, err := p.text()
		if err != nil {
			return err
		}
		switch name {
		case "Key":
			o.Key, hasKey = text, true
		case "VersionId":
			o.Version = text
		case "ETag":
			o.ETag = text
		case "Size":
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 {
				return &Malformed{"Size is not a number of bytes"}
			}
			o.Size = &n
		case "LastModifiedTime":
			if o.Modified, err = ParseTime(text); err != nil {
				return &Malformed{"LastModifiedTime is not a time"}
			}
		default:
			return unknown(name)
		}
		return nil
	})
	if err == nil && !hasKey {
		err = &Malformed{"an object has no key"}
	}
	return o, err
}

// ParseTime reads a time in one of the formats of HTTP or of documents.
func ParseTime(s string) (time.Time, error) {
	if t, err := http.ParseTime(s); err == nil {
		return t.UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UTC(), err
}

// ParseComplete reads a CompleteMultipartUpload of 1 to PartsMax parts. Their order is not looked at.
func ParseComplete(document []byte) ([]CompletePart, error) {
	var parts []CompletePart
	p := newParser(document)
	err := p.root("CompleteMultipartUpload", func(name string) error {
		if name != "Part" {
			return unknown(name)
		}
		if len(parts) == PartsMax {
			return &Malformed{"more than 10000 parts"}
		}
		part, err := p.completePart()
		parts = append(parts, part)
		return err
	})
	if err == nil && len(parts) == 0 {
		err = &Malformed{"no part is named"}
	}
	return parts, err
}

func (p *parser) completePart() (CompletePart, error) {
	part := CompletePart{Number: -1}
	hasTag := false
	err := p.children(func(name string) error {
		text, err := p.text()
		if err != nil {
			return err
		}
		algorithm, isChecksum := strings.CutPrefix(name, "Checksum")
		switch {
		case name == "PartNumber":
			if part.Number, err = strconv.Atoi(text); err != nil {
				return &Malformed{"PartNumber is not a number"}
			}
		case name == "ETag":
			part.ETag, hasTag = text, true
		case isChecksum && knownChecksum(algorithm):
			if part.Checksums == nil {
				part.Checksums = map[string]string{}
			}
			part.Checksums[algorithm] = text
		default:
			return unknown(name)
		}
		return nil
	})
	if err == nil && (part.Number == -1 || !hasTag) {
		err = &Malformed{"a part has no PartNumber or no ETag"}
	}
	return part, err
}

func knownChecksum(algorithm string) bool {
	switch algorithm {
	case "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256":
		return true
	}
	return false
}

func unknown(name string) error { return &Malformed{"the element " + name + " does not belong there"} }

// parser walks a document that is in memory. A callback gets the name of a child and must consume it, by text, skip or children.
type parser struct {
	decoder *xml.Decoder
	depth   int
}

// depthMax bounds nesting; the deepest document of the API has fewer levels.
const depthMax = 8

func newParser(document []byte) *parser {
	return &parser{decoder: xml.NewDecoder(bytes.NewReader(document))}
}

// token returns the next start, end or text; directives such as DOCTYPE are refused, comments passed over.
func (p *parser) token() (xml.Token, error) {
	for {
		t, err := p.decoder.Token()
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, &Malformed{err.Error()}
		}
		switch t.(type) {
		case xml.Comment, xml.ProcInst:
		case xml.Directive:
			return nil, &Malformed{"directives are not allowed"}
		default:
			return t, nil
		}
	}
}

// root demands that the document has one element of that name, and hands its children to child.
func (p *parser) root(name string, child func(name string) error) error {
	for {
		t, err := p.token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return &Malformed{"text outside of the root element"}
			}
		case xml.StartElement:
			if t.Name.Local != name {
				return &Malformed{"the root element is " + t.Name.Local + ", not " + name}
			}
			if err := p.children(child); err != nil {
				return err
			}
			return p.nothingMore()
		}
	}
}

func (p *parser) nothingMore() error {
	for {
		t, err := p.decoder.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &Malformed{err.Error()}
		}
		switch t := t.(type) {
		case xml.Comment:
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return &Malformed{"text behind the root element"}
			}
		default:
			return &Malformed{"something follows the root element"}
		}
	}
}

// children hands the elements inside the current one to child, to its end.
func (p *parser) children(child func(name string) error) error {
	if p.depth++; p.depth > depthMax {
		return &Malformed{"elements are nested too deeply"}
	}
	for {
		t, err := p.token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := child(t.Name.Local); err != nil {
				return err
			}
		case xml.EndElement:
			p.depth--
			return nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return &Malformed{"text between elements"}
			}
		}
	}
}

// text returns the text of the current element, which has no children.
func (p *parser) text() (string, error) {
	var b strings.Builder
	for {
		t, err := p.token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.EndElement:
			return b.String(), nil
		case xml.StartElement:
			return "", unknown(t.Name.Local)
		}
	}
}

// skip passes over the current element with all it has.
func (p *parser) skip() error {
	return p.children(func(string) error { return p.skipText() })
}

func (p *parser) skipText() error {
	for depth := 1; depth > 0; {
		t, err := p.token()
		if err != nil {
			return err
		}
		switch t.(type) {
		case xml.StartElement:
			if depth++; depth > depthMax {
				return &Malformed{"elements are nested too deeply"}
			}
		case xml.EndElement:
			depth--
		}
	}
	return nil
}
