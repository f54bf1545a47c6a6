package s3

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// tagsMax bounds the entity tags of one condition.
const tagsMax = 100

// parseTags reads a list of entity tags (RFC 9110, section 8.8.3), or "*". S3's clients leave out quotes. A weak tag keeps its "W/",
// so that it equals no ETag, unless weak says that weak comparison is asked for.
func parseTags(name string, values []string, weak bool) (tags []engine.ETag, any bool, err error) {
	text := strings.TrimSpace(strings.Join(values, ","))
	if text == "*" {
		return nil, true, nil
	}
	malformed := func() ([]engine.ETag, bool, error) {
		return nil, false, invalid(name, text, "The header must be * or a list of entity tags.")
	}
	for text != "" {
		isWeak := strings.HasPrefix(text, `W/"`)
		if isWeak {
			text = text[2:]
		}
		var tag string
		if text[0] == '"' {
			end := strings.IndexByte(text[1:], '"')
			if end < 0 {
				return malformed()
			}
			tag, text = text[1:1+end], text[end+2:]
		} else {
			tag, text, _ = strings.Cut(text, ",")
			tag, text = strings.TrimSpace(tag), ","+text
			if tag == "" || tag == "*" || strings.ContainsAny(tag, "\" \t") {
				return malformed()
			}
		}
		if isWeak && !weak {
			tag = "W/" + tag
		}
		if text = strings.TrimLeft(text, " \t"); text != "" && text[0] != ',' || len(tags) == tagsMax {
			return malformed()
		}
		tags, text = append(tags, engine.ETag(tag)), strings.TrimLeft(text, ", \t")
	}
	if len(tags) == 0 {
		return malformed()
	}
	return tags, false, nil
}

// secondEnd is the last instant of the second of t: HTTP dates have no fraction, so a version of 12:00:00.5 has not been modified
// since 12:00:00.
func secondEnd(t time.Time) time.Time { return t.Add(time.Second - time.Nanosecond) }

// readConditions reads the conditions of a GET or HEAD. If-Match stands above If-Unmodified-Since, and If-None-Match above
// If-Modified-Since; a date that is none is not there (RFC 9110, section 13.2.2).
func readIf(h http.Header) (engine.Conditions, error) {
	var c engine.Conditions
	var err error
	if values := h["If-Match"]; len(values) > 0 {
		if c.Match, c.MatchAny, err = parseTags("If-Match", values, false); err != nil {
			return c, err
		}
	} else if t, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil {
		c.UnmodifiedSince = secondEnd(t)
	}
	if values := h["If-None-Match"]; len(values) > 0 {
		if c.NoneMatch, c.NoneMatchAny, err = parseTags("If-None-Match", values, true); err != nil {
			return c, err
		}
	} else if t, err := http.ParseTime(h.Get("If-Modified-Since")); err == nil {
		c.ModifiedSince = secondEnd(t)
	}
	return c, nil
}

// writeIf reads the conditions of a write. As in S3, If-None-Match knows "*" only.
func writeIf(h http.Header) (engine.Conditions, error) {
	var c engine.Conditions
	var err error
	if values := h["If-Match"]; len(values) > 0 {
		if c.Match, c.MatchAny, err = parseTags("If-Match", values, false); err != nil {
			return c, err
		}
	}
	if values := h["If-None-Match"]; len(values) > 0 {
		// S3 itself takes "*" alone and refuses tags; Ceph and MinIO take these.
		if c.NoneMatch, c.NoneMatchAny, err = parseTags("If-None-Match", values, true); err != nil {
			return c, err
		}
	}
	return c, nil
}

// deleteIf reads the conditions of a DeleteObject.
func deleteIf(h http.Header) (engine.Conditions, error) {
	c, err := writeIf(h)
	if err != nil {
		return c, err
	}
	if text := h.Get("X-Amz-If-Match-Size"); text != "" {
		size, err := strconv.ParseInt(text, 10, 64)
		if err != nil || size < 0 {
			return c, invalid("x-amz-if-match-size", text, "The header must be a number of bytes.")
		}
		c.Size = &size
	}
	if text := h.Get("X-Amz-If-Match-Last-Modified-Time"); text != "" {
		if c.ModifiedAt, err = wire.ParseTime(text); err != nil {
			return c, invalid("x-amz-if-match-last-modified-time", text, "The header must be a time.")
		}
	}
	return c, nil
}

// notModified reports whether a 304 is the right answer about this version: the engine said so of the version that was current
// a moment ago.
func notModified(c engine.Conditions, info engine.ObjectInfo) bool {
	return c.NoneMatchAny || slices.Contains(c.NoneMatch, info.ETag) || !c.ModifiedSince.IsZero() && !info.Modified.After(c.ModifiedSince)
}

// parseRange reads a Range header (RFC 9110, section 14.1.2): one range of bytes. What is malformed, in another unit, or names
// several ranges is passed over, as S3 does, and the whole is answered; then the result is nil.
func parseRange(header string) *engine.Range {
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return nil
	}
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	if first == "" {
		n, ok := parseDigits(last)
		if !ok {
			return nil
		}
		return &engine.Range{Start: -1, Length: n}
	}
	start, ok := parseDigits(first)
	if !ok {
		return nil
	}
	if last == "" {
		return &engine.Range{Start: start, Length: -1}
	}
	end, ok := parseDigits(last)
	if !ok || end < start {
		return nil
	}
	return &engine.Range{Start: start, Length: end - start + 1}
}

// positionMax stands for every position that is too large to be one; no object reaches it.
const positionMax = 1 << 60

func parseDigits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > positionMax {
		return positionMax, true
	}
	return n, true
}

// resolve returns the bytes that a range selects of size bytes; ok is false if there are none.
func resolve(r *engine.Range, size int64) (offset, length int64, ok bool) {
	if r.Start < 0 {
		length = min(r.Length, size)
		return size - length, length, length > 0
	}
	if r.Start >= size {
		return 0, 0, false
	}
	length = size - r.Start
	if r.Length >= 0 {
		length = min(length, r.Length)
	}
	return r.Start, length, length > 0
}

func contentRange(offset, length, size int64) string {
	return "bytes " + strconv.FormatInt(offset, 10) + "-" + strconv.FormatInt(offset+length-1, 10) + "/" + strconv.FormatInt(size, 10)
}
