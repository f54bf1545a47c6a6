package wire

import (
	"bufio"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"
)

// FormBytesMax bounds what comes before the file of a form, names, values and what is between them, as S3 does.
const FormBytesMax = 20 << 10

// FormTailMax bounds what comes behind the file of a form.
const FormTailMax = 64 << 10

// readAhead is what mime/multipart may have read beyond what it has handed out; it counts against neither bound.
const readAhead = 4 << 10

// FormError is a refusal of a form or of its policy. Code is an S3 error code.
type FormError struct {
	Code    string
	Message string
	Fields  []Field
}

func (e *FormError) Error() string { return e.Code + ": " + e.Message }

func formError(code, message string, fields ...Field) *FormError {
	if message == "" {
		message = Message(code)
	}
	return &FormError{Code: code, Message: message, Fields: fields}
}

func malformedForm(reason string) *FormError {
	return formError("MalformedPOSTRequest", Message("MalformedPOSTRequest")+" "+reason)
}

// Form is an upload from a browser: a body of multipart/form-data (RFC 7578) with fields and then the file, which is read from it. What follows the
// file is passed over, as in S3.
//
//	--boundary CRLF
//	Content-Disposition: form-data; name="key" CRLF CRLF
//	uploads/${filename} CRLF
//	--boundary CRLF
//	Content-Disposition: form-data; name="file"; filename="a.txt" CRLF Content-Type: text/plain CRLF CRLF
//	the bytes of the file CRLF
//	--boundary-- CRLF
//
// The last byte of the file is followed by io.EOF only when the whole body has come.
type Form struct {
	// FileName is what the browser says, with the folders that some put before it.
	FileName string

	names  []string // in the order of the form, in lower case
	values map[string]string
	parts  *multipart.Reader
	file   *multipart.Part
	source *bounded
	err    error
}

// bounded gives up when more comes than it was told to let pass, and remembers how its source failed.
type bounded struct {
	source io.Reader
	left   int64
	over   bool
	err    error // of the source, but for io.EOF
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.over = true
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.source.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// FormBoundary returns the boundary that a Content-Type names, and whether it is that of a form.
func FormBoundary(contentType string) (boundary string, ok bool) {
	kind, parameters, err := mime.ParseMediaType(contentType)
	return parameters["boundary"], err == nil && kind == "multipart/form-data"
}

// ReadForm reads a form up to its file. The errors are *FormError, or those of body.
func ReadForm(body io.Reader, boundary string) (*Form, error) {
	if boundary == "" || len(boundary) > 70 { // RFC 2046, section 5.1.1
		return nil, malformedForm("The boundary is missing, or longer than 70 characters.")
	}
	source := &bounded{source: bufio.NewReaderSize(body, 64<<10), left: FormBytesMax + readAhead}
	f := &Form{values: map[string]string{}, source: source, parts: multipart.NewReader(source, boundary)}
	for {
		part, err := f.parts.NextRawPart()
		if err == io.EOF {
			return nil, formError("InvalidArgument", "POST requires exactly one file upload per request.", Field{"ArgumentName", "file"}, Field{"ArgumentValue", "0"})
		}
		if err != nil {
			return nil, f.failure(err)
		}
		name := strings.ToLower(part.FormName())
		if name == "" {
			return nil, malformedForm("A part has no name.")
		}
		if encoding := part.Header.Get("Content-Transfer-Encoding"); !plain(encoding) {
			return nil, malformedForm("The Content-Transfer-Encoding " + encoding + " is not supported.")
		}
		if name == "file" {
			f.open(part)
			return f, nil
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, f.failure(err)
		}
		if _, twice := f.values[name]; twice {
			return nil, formError("InvalidArgument", "The form has the field "+name+" more than once.", Field{"ArgumentName", name}, Field{"ArgumentValue", string(value)})
		}
		f.names, f.values[name] = append(f.names, name), string(value)
	}
}

// plain reports whether a part is as it was before it was sent.
func plain(encoding string) bool {
	switch strings.ToLower(encoding) {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}

// open begins the file.
func (f *Form) open(part *multipart.Part) {
	_, parameters, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition")) // FormName has read it without an error
	f.FileName, f.file = parameters["filename"], part
	f.source.left = math.MaxInt64
}

// failure says what ended the form: the connection, a bound, or what it is.
func (f *Form) failure(err error) error {
	switch {
	case f.source.err != nil:
		return f.source.err
	case f.source.over && f.file == nil:
		return formError("MaxPostPreDataLengthExceeded", "", Field{"MaxSizeAllowed", strconv.Itoa(FormBytesMax)})
	case f.source.over:
		return malformedForm("Too much follows the file.")
	}
	return malformedForm("It says: " + strings.TrimPrefix(err.Error(), "multipart: ") + ".")
}

// Names returns the names of the fields before the file, in lower case and in their order.
func (f *Form) Names() []string { return f.names }

// Field returns the value of the field of this name in whatever case, and whether the form has it.
func (f *Form) Field(name string) (string, bool) {
	value, ok := f.values[strings.ToLower(name)]
	return value, ok
}

// Read gives the bytes of the file.
func (f *Form) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.file.Read(p)
	switch err {
	case nil:
	case io.EOF:
		f.err = f.finish()
	default:
		f.err = f.failure(err)
	}
	return n, f.err
}

// finish passes over what follows the file.
func (f *Form) finish() error {
	f.source.left = FormTailMax + readAhead
	for {
		_, err := f.parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return f.failure(err)
		}
	}
	if _, err := io.Copy(io.Discard, f.source); err != nil {
		return f.failure(err)
	}
	return io.EOF
}
