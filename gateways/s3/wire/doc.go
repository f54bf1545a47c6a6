package wire

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// Doc builds an XML document, element by element.
type Doc struct {
	buf  []byte
	open []string
}

// NewDoc begins a document whose root is in the namespace of S3.
func NewDoc(root string) *Doc {
	d := &Doc{buf: make([]byte, 0, 1024), open: []string{root}}
	d.buf = append(d.buf, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<"+root+` xmlns="`+namespace+`">`...)
	return d
}

// NewPlainDoc begins a document without a namespace, as errors are.
func NewPlainDoc(root string) *Doc {
	d := &Doc{buf: make([]byte, 0, 512), open: []string{root}}
	d.buf = append(d.buf, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<"+root+">"...)
	return d
}

// Open begins an element. name is written as it is.
func (d *Doc) Open(name string) {
	d.buf = append(append(append(d.buf, '<'), name...), '>')
	d.open = append(d.open, name)
}

// Close ends the element that was begun last.
func (d *Doc) Close() {
	last := len(d.open) - 1
	name := d.open[last]
	d.buf = append(append(append(d.buf, "</"...), name...), '>')
	d.open = d.open[:last]
}

// Text writes an element with a text.
func (d *Doc) Text(name, value string) {
	d.Open(name)
	d.buf = appendEscaped(d.buf, value)
	d.Close()
}

// TextIf writes the element only if value is not empty.
func (d *Doc) TextIf(name, value string) {
	if value != "" {
		d.Text(name, value)
	}
}

// Int writes an element with a number.
func (d *Doc) Int(name string, n int64) {
	d.Open(name)
	d.buf = strconv.AppendInt(d.buf, n, 10)
	d.Close()
}

// Bool writes "true" or "false".
func (d *Doc) Bool(name string, b bool) {
	d.Open(name)
	d.buf = strconv.AppendBool(d.buf, b)
	d.Close()
}

// Time writes an instant as S3 does in documents, in UTC with milliseconds.
func (d *Doc) Time(name string, t time.Time) {
	d.Open(name)
	d.buf = t.UTC().AppendFormat(d.buf, timeFormat)
	d.Close()
}

const timeFormat = "2006-01-02T15:04:05.000Z"

// Time is an instant as headers have it that are not HTTP's own, in the form of the documents.
func Time(t time.Time) string { return t.UTC().Format(timeFormat) }

// Bytes ends every open element and returns the document.
func (d *Doc) Bytes() []byte {
	for len(d.open) > 0 {
		d.Close()
	}
	return d.buf
}

// appendEscaped escapes what XML reserves. Control characters, which XML 1.0 cannot carry, become character references as S3
// writes them; a client that has such keys asks for encoding-type=url. Bytes that are not UTF-8 become U+FFFD.
func appendEscaped(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
		switch {
		case c == '&':
			b = append(b, "&amp;"...)
		case c == '<':
			b = append(b, "&lt;"...)
		case c == '>':
			b = append(b, "&gt;"...)
		case c == '"':
			b = append(b, "&quot;"...)
		case c < 0x20 && c != '\n' && c != '\t':
			b = append(b, "&#x"...)
			b = strconv.AppendUint(b, uint64(c), 16)
			b = append(b, ';')
		default:
			b = append(b, c)
		}
	}
	return b
}

// URLEncode is encoding-type=url: as in a query, a space is "+"; "/" stays.
func URLEncode(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "%2F", "/")
}

// HTTPTime formats an instant for a header (RFC 9110, section 5.6.7).
func HTTPTime(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") }

// NewDocText begins a document whose root holds a text.
func NewDocText(root, text string) *Doc {
	d := NewDoc(root)
	d.buf = appendEscaped(d.buf, text)
	return d
}

// OpenAs begins an element with attributes, which are written as they are.
func (d *Doc) OpenAs(name, attributes string) {
	d.buf = append(append(append(append(append(d.buf, '<'), name...), ' '), attributes...), '>')
	d.open = append(d.open, name)
}
