package engine

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CheckBucketName returns a KindInvalidArgument error that says what is wrong with name, or nil. The rules are those of S3
// general purpose buckets: 3 to 63 bytes of lower-case letters, digits, dots and hyphens; a letter or digit at both ends; no
// two dots in a row; not an IPv4 address; none of the prefixes and suffixes that S3 reserves.
func CheckBucketName(name BucketName) error {
	s := string(name)
	if len(s) < 3 || len(s) > 63 {
		return E(KindInvalidArgument, "bucket name %q has %d bytes; 3 to 63 are allowed", s, len(s))
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-') {
			return E(KindInvalidArgument, "bucket name %q: only lower-case letters, digits, dots and hyphens are allowed", s)
		}
	}
	alphanumeric := func(c byte) bool { return c != '.' && c != '-' }
	if !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return E(KindInvalidArgument, "bucket name %q must begin and end with a letter or digit", s)
	}
	if strings.Contains(s, "..") {
		return E(KindInvalidArgument, "bucket name %q has two dots in a row", s)
	}
	if address, err := netip.ParseAddr(s); err == nil && address.Is4() {
		return E(KindInvalidArgument, "bucket name %q is formatted as an IP address", s)
	}
	for _, prefix := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(s, prefix) {
			return E(KindInvalidArgument, "bucket name %q begins with the reserved %q", s, prefix)
		}
	}
	for _, suffix := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(s, suffix) {
			return E(KindInvalidArgument, "bucket name %q ends with the reserved %q", s, suffix)
		}
	}
	return nil
}

// CheckKey returns an error that says what is wrong with key, or nil: KindKeyTooLong above KeyBytesMax bytes,
// KindInvalidArgument if it is empty or not UTF-8.
func CheckKey(key Key) error {
	switch {
	case key == "":
		return E(KindInvalidArgument, "the key is empty")
	case len(key) > KeyBytesMax:
		return E(KindKeyTooLong, "the key has %d bytes; at most %d are allowed", len(key), KeyBytesMax)
	case !utf8.ValidString(string(key)):
		return E(KindInvalidArgument, "the key %q is not valid UTF-8", string(key))
	}
	return nil
}

// versionDigits is the length of the ids that FormatVersion makes.
const versionDigits = 16

// FormatVersion returns the id of the version that the change made, other than NullVersion.
func FormatVersion(s Sequence) VersionID {
	return VersionID(fmt.Sprintf("%0*x", versionDigits, uint64(s)))
}

// ParseVersion undoes FormatVersion; ok is false for what it never made, NullVersion among them.
func ParseVersion(id VersionID) (s Sequence, ok bool) {
	n, err := strconv.ParseUint(string(id), 16, 64)
	return Sequence(n), err == nil && n > 0 && FormatVersion(Sequence(n)) == id
}

// CheckVersion returns an error of KindInvalidArgument for a version id that no engine ever gave.
func CheckVersion(id VersionID) error {
	if _, ok := ParseVersion(id); !ok && id != "" && id != NullVersion {
		return E(KindInvalidArgument, "%q is not the id of a version", string(id))
	}
	return nil
}

// CheckTags returns an error of KindInvalidArgument above TagsBytesMax.
func CheckTags(tags Tags) error {
	n := 0
	for name, value := range tags {
		n += len(name) + len(value)
	}
	if n > TagsBytesMax {
		return E(KindInvalidArgument, "the tags have %d bytes; at most %d are allowed", n, TagsBytesMax)
	}
	return nil
}

// CheckDocument returns an error for what SetDocument does not keep: KindInvalidArgument for a name that is empty or has more than 255 bytes,
// KindEntityTooLarge above DocumentBytesMax.
func CheckDocument(name string, value []byte) error {
	switch {
	case name == "" || len(name) > 255:
		return E(KindInvalidArgument, "the name of a document has %d bytes; 1 to 255 are allowed", len(name))
	case len(value) > DocumentBytesMax:
		return E(KindEntityTooLarge, "the document %q has %d bytes; at most %d are allowed", name, len(value), DocumentBytesMax)
	}
	return nil
}

// CheckVersioning returns an error of KindInvalidArgument for what a bucket's versioning cannot be set to.
func CheckVersioning(v Versioning) error {
	if v != VersioningEnabled && v != VersioningSuspended {
		return E(KindInvalidArgument, "versioning can be enabled or suspended, and is never off again; %d is neither", v)
	}
	return nil
}
