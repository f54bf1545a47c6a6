package s3

import (
	"cmp"
	"io"
	"net/http"
	"strconv"
	"strings"

	"holdfast/engine"
	"holdfast/gateways"
	"holdfast/gateways/s3/wire"
)

// read is what GET and HEAD ask for.
type read struct {
	conditions engine.Conditions
	part       *engine.Range
	unless     engine.ETag // If-Range: the range counts only for this version
	checksum   bool

	number   int             // of the part that is asked for; 0: none
	parts    int             // of the version; 0: no upload made it
	partSum  engine.Checksum // of the part
	sequence engine.Sequence // of the version that part belongs to
}

func (c *call) parseRead() (read, error) {
	var r read
	if err := cmp.Or(c.checkVersion(), c.checkOverrides()); err != nil {
		return r, err
	}
	h := c.r.Header
	switch mode := h.Get("X-Amz-Checksum-Mode"); strings.ToUpper(mode) {
	case "":
	case "ENABLED":
		r.checksum = true
	default:
		return r, invalid("x-amz-checksum-mode", mode, "The header must be ENABLED.")
	}
	if _, asked := c.query.Get("partNumber"); asked {
		var err error
		if r.number, err = c.partNumber(); err != nil {
			return r, err
		}
		if h.Get("Range") != "" {
			return r, faultf("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
		}
	}
	r.part = parseRange(h.Get("Range"))
	if text := strings.TrimSpace(h.Get("If-Range")); text != "" && r.part != nil {
		tags, any, err := parseTags("If-Range", []string{text}, false)
		if err != nil || any || len(tags) != 1 || text[0] != '"' {
			r.part = nil // a date or nothing known; the whole is always right
		} else {
			r.unless = tags[0]
		}
	}
	var err error
	r.conditions, err = readIf(h)
	return r, err
}

// getObject is GetObject.
func getObject(c *call) error {
	r, err := c.parseRead()
	if err != nil {
		return err
	}
	object, err := c.open(&r)
	if err != nil {
		return c.readFault(err, r, r.part)
	}
	defer object.Close()
	info := object.Info()
	if r.part != nil && r.part.Length == 0 { // a part may be empty
		c.status(c.describe(r, info, r.part.Start, 0))
		return nil
	}
	status := c.describe(r, info, object.Offset(), object.Length())
	out := &answerWriter{call: c, out: gateways.GuardAnswer(c.w, c.g.Limits), status: status}
	_, err = object.WriteTo(out)
	if out.err != nil {
		c.record.Reason = "the client did not take the answer: " + out.err.Error()
		return nil
	}
	if err == nil && !c.sent {
		c.status(status)
	}
	return err
}

// open opens the object, and opens it as a whole if the range was meant for another version.
func (c *call) open(r *read) (engine.Object, error) {
	if r.number > 0 {
		return c.openPart(r)
	}
	object, err := c.engine.Open(c.ctx, c.ref(), engine.OpenOptions{If: r.conditions, Range: r.part})
	if r.unless == "" || err != nil && !engine.Is(err, engine.KindInvalidRange) {
		return object, err
	}
	if err == nil {
		if object.Info().ETag == r.unless {
			return object, nil
		}
		object.Close()
	}
	whole, wholeErr := c.engine.Open(c.ctx, c.ref(), engine.OpenOptions{If: r.conditions})
	if err != nil && wholeErr == nil && whole.Info().ETag == r.unless {
		whole.Close()
		return nil, err // it is the version that was meant, and it has no such bytes
	}
	r.part = nil
	return whole, wholeErr
}

// partAttempts is how often a part is looked up anew because its version was overwritten meanwhile.
const partAttempts = 5

// openPart opens a part of an upload. Of a version that no upload made, the whole is part 1.
func (c *call) openPart(r *read) (engine.Object, error) {
	for attempt := 1; ; attempt++ {
		if _, err := c.locatePart(r); err != nil {
			return nil, err
		}
		o := engine.OpenOptions{If: r.conditions, Range: r.part}
		if r.part.Length == 0 {
			o.Range = nil
		}
		object, err := c.engine.Open(c.ctx, c.ref(), o)
		if err != nil || object.Info().Sequence == r.sequence {
			return object, err
		}
		object.Close()
		if attempt == partAttempts {
			return nil, fault("OperationAborted")
		}
	}
}

// locatePart finds the bytes of the part that is asked for.
func (c *call) locatePart(r *read) (engine.ObjectInfo, error) {
	page, err := c.engine.Parts(c.ctx, c.ref(), engine.ListPartsOptions{After: r.number - 1, Max: 1})
	if err != nil {
		return page.Info, err
	}
	r.parts, r.sequence = page.Info.Parts, page.Info.Sequence
	switch {
	case r.parts == 0 && r.number == 1:
		r.part = &engine.Range{Length: page.Info.Size}
	case len(page.Parts) == 0 || page.Parts[0].Number != r.number:
		return page.Info, fault("InvalidPartNumber", wire.Field{Name: "PartNumberRequested", Value: strconv.Itoa(r.number)},
			wire.Field{Name: "ActualPartCount", Value: strconv.Itoa(max(1, r.parts))})
	default:
		r.part = &engine.Range{Start: page.Parts[0].Offset, Length: page.Parts[0].Size}
		r.partSum = page.Parts[0].Checksum
	}
	return page.Info, nil
}

// describe sets the headers of a read and returns the status.
func (c *call) describe(r read, info engine.ObjectInfo, offset, length int64) int {
	h := c.w.Header()
	setObject(h, info)
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	c.override()
	if r.parts > 0 {
		h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(r.parts))
	}
	if r.part != nil {
		if length > 0 {
			h.Set("Content-Range", contentRange(offset, length, info.Size))
		}
		if r.checksum && r.number > 0 {
			setPartChecksum(h, r.partSum, info, length)
		}
		return http.StatusPartialContent
	}
	if r.checksum {
		setChecksum(h, info.Checksum, true)
	}
	return http.StatusOK
}

// setPartChecksum puts the checksum of a part into the headers of an answer. As in S3, parts have one where that of the object is made of
// theirs; otherwise there is that of the object, if the part is the whole of it.
func setPartChecksum(h http.Header, part engine.Checksum, info engine.ObjectInfo, length int64) {
	if info.Checksum.Composite {
		setChecksum(h, part, false)
		h.Set("X-Amz-Checksum-Type", checksumType(true))
	} else if length == info.Size {
		setChecksum(h, info.Checksum, true)
	}
}

// answerWriter writes the status before the first byte, so that an object that cannot be read is answered with an error.
type answerWriter struct {
	call   *call
	out    io.Writer
	status int
	err    error // of the connection
}

func (w *answerWriter) Write(p []byte) (int, error) {
	if !w.call.sent {
		w.call.status(w.status)
	}
	n, err := w.out.Write(p)
	w.call.record.Sent += int64(n)
	w.err = err
	return n, err
}

// headObject is HeadObject.
func headObject(c *call) error {
	r, err := c.parseRead()
	if err != nil {
		return err
	}
	info, err := c.stat(&r)
	if err != nil {
		return c.readFault(err, r, nil)
	}
	offset, length := int64(0), info.Size
	if r.number > 0 {
		c.status(c.describe(r, info, r.part.Start, r.part.Length))
		return nil
	}
	if r.unless != "" && r.unless != info.ETag {
		r.part = nil
	}
	if r.part != nil {
		var ok bool
		if offset, length, ok = resolve(r.part, info.Size); !ok {
			return rangeFault(c.r.Header.Get("Range"), info.Size)
		}
	}
	c.status(c.describe(r, info, offset, length))
	return nil
}

// stat describes the object, and finds the part that is asked for.
func (c *call) stat(r *read) (engine.ObjectInfo, error) {
	for attempt := 1; ; attempt++ {
		info, err := c.engine.Stat(c.ctx, c.ref(), engine.StatOptions{If: r.conditions})
		if err != nil || r.number == 0 {
			return info, err
		}
		if _, err := c.locatePart(r); err != nil || info.Sequence == r.sequence {
			return info, err
		}
		if attempt == partAttempts {
			return info, fault("OperationAborted")
		}
	}
}

func rangeFault(requested string, size int64) error {
	f := fault("InvalidRange", wire.Field{Name: "RangeRequested", Value: requested}, wire.Field{Name: "ActualObjectSize", Value: strconv.FormatInt(size, 10)})
	f.headers = map[string]string{"Content-Range": "bytes */" + strconv.FormatInt(size, 10)}
	return f
}

// readFault adds to a 304 or 416 what the protocol wants it to say about the version, which is looked up again. If another version
// has come meanwhile, the operation is repeated by the client's choice: it is told to.
func (c *call) readFault(err error, r read, part *engine.Range) error {
	notModifiedNow := engine.Is(err, engine.KindNotModified)
	if !notModifiedNow && !engine.Is(err, engine.KindInvalidRange) {
		return err
	}
	info, statErr := c.engine.Stat(c.ctx, c.ref(), engine.StatOptions{})
	if statErr != nil {
		return statErr
	}
	if !notModifiedNow {
		if part != nil {
			if _, _, ok := resolve(part, info.Size); !ok {
				return rangeFault(c.r.Header.Get("Range"), info.Size)
			}
		}
		return fault("OperationAborted")
	}
	if !notModified(r.conditions, info) {
		return fault("OperationAborted")
	}
	setValidators(c.w.Header(), info)
	if info.Attributes.CacheControl != "" {
		c.w.Header().Set("Cache-Control", info.Attributes.CacheControl)
	}
	if info.Attributes.Expires != "" {
		c.w.Header().Set("Expires", info.Attributes.Expires)
	}
	return err
}
