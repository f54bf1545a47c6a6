package engine

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
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

// Longest times that CheckBucketLock allows.
const (
	lockDaysMax  = 36500
	lockYearsMax = 100
)

// CheckBucketLock returns an error of KindInvalidArgument for what SetBucketLock refuses: locks that are not enabled, and a retention that is not of
// 1 to 36500 days or 1 to 100 years.
func CheckBucketLock(l BucketLock) error {
	switch {
	case !l.Enabled:
		return E(KindInvalidArgument, "locks cannot be disabled")
	case l.Mode == RetentionNone && l.Days == 0 && l.Years == 0:
		return nil
	case l.Mode != RetentionGovernance && l.Mode != RetentionCompliance:
		return E(KindInvalidArgument, "the retention has no mode")
	case l.Days > 0 == (l.Years > 0) || l.Days < 0 || l.Years < 0:
		return E(KindInvalidArgument, "the retention is for a number of days or of years, which is positive")
	case l.Days > lockDaysMax || l.Years > lockYearsMax:
		return E(KindInvalidArgument, "the retention is for at most %d days or %d years", lockDaysMax, lockYearsMax)
	}
	return nil
}

// RetentionOf returns what a bucket keeps a version with that is made at a time, without a retention of its own.
func (l BucketLock) RetentionOf(made time.Time) Retention {
	if l.Mode == RetentionNone {
		return Retention{}
	}
	return Retention{Mode: l.Mode, Until: made.UTC().AddDate(l.Years, 0, l.Days).Truncate(time.Millisecond)}
}

// CheckRetention returns an error of KindInvalidArgument for a retention without mode or time, and for one until a time that has passed.
func CheckRetention(r Retention, now time.Time) error {
	switch {
	case r.Mode == RetentionNone && r.Until.IsZero():
		return nil
	case r.Mode != RetentionGovernance && r.Mode != RetentionCompliance:
		return E(KindInvalidArgument, "the retention has no mode")
	case !r.Until.After(now):
		return E(KindInvalidArgument, "the retention ends at %s, which has passed", r.Until.UTC().Format(time.RFC3339))
	case r.Until.Year() > 9999:
		return E(KindInvalidArgument, "the retention ends after the year 9999")
	}
	return nil
}

// IsZero reports whether nothing was ever said of a lock.
func (l Lock) IsZero() bool { return l.Mode == RetentionNone && !l.Hold && !l.Lifted }

// Held reports whether there is a legal hold or a retention, even one that has ended.
func (l Lock) Held() bool { return l.Mode != RetentionNone || l.Hold }

// Keeps returns why a version must not be removed at a time, or "". Bypass ends a governance retention.
func (l Lock) Keeps(now time.Time, bypass bool) (why string) {
	switch {
	case l.Hold:
		return "the version is under legal hold; lift it first"
	case l.Mode == RetentionCompliance && l.Until.After(now), l.Mode == RetentionGovernance && l.Until.After(now) && !bypass:
		return "the version is retained until " + l.Until.UTC().Format(time.RFC3339)
	}
	return ""
}

// Allows returns why a version with this lock may not get another retention at a time, or "": an active one may be prolonged, and a governance one
// otherwise changed with bypass.
func (l Lock) Allows(to Retention, now time.Time, bypass bool) (why string) {
	switch {
	case !l.Until.After(now) || l.Mode == RetentionNone:
		return ""
	case to.Mode == l.Mode && !to.Until.Before(l.Until):
		return ""
	case l.Mode == RetentionGovernance && bypass:
		return ""
	}
	return "the version is retained until " + l.Until.UTC().Format(time.RFC3339) + "; that can only be prolonged"
}

// TokenBytesMax bounds RenameOptions.Token.
const TokenBytesMax = 64

// CheckRename returns an error of KindInvalidArgument for what Rename does not take: two buckets, twice the same key, a version, a long token.
func CheckRename(from, to Ref, o RenameOptions) error {
	switch {
	case from.Bucket != to.Bucket:
		return E(KindInvalidArgument, "an object is renamed within its bucket; %q is another than %q", string(to.Bucket), string(from.Bucket))
	case from.Key == to.Key:
		return E(KindInvalidArgument, "the object has the key %q already", string(to.Key))
	case from.Version != "" || to.Version != "":
		return E(KindInvalidArgument, "a rename is of the current version and cannot name one")
	case len(o.Token) > TokenBytesMax:
		return E(KindInvalidArgument, "the token has %d bytes; at most %d are allowed", len(o.Token), TokenBytesMax)
	}
	return nil
}

// Describes reports whether the options say something of an object that Append makes. A ContentType alone does not: many clients send one with every body.
func (o *AppendOptions) Describes() bool {
	a := &o.Attributes
	return o.Class != "" || len(o.Tags) > 0 || len(a.User) > 0 ||
		a.ContentEncoding+a.ContentDisposition+a.ContentLanguage+a.CacheControl+a.Expires != ""
}

// CheckAppend returns an error for what Append does not take: KindInvalidArgument for a negative offset or too many bytes of tags,
// KindEntityTooLarge for an object that would have more than ObjectBytesMax.
func CheckAppend(o AppendOptions) error {
	switch {
	case o.Offset < 0:
		return E(KindInvalidArgument, "the offset %d is negative", o.Offset)
	case o.Offset > ObjectBytesMax-max(0, o.Size):
		return E(KindEntityTooLarge, "the object would have more than %d bytes", ObjectBytesMax)
	}
	return CheckTags(o.Tags)
}

// CheckRemovePrefix returns an error of KindInvalidArgument for a prefix that RemovePrefix does not take, KindKeyTooLong for one that no key can have.
func CheckRemovePrefix(prefix string) error {
	if !strings.HasSuffix(prefix, "/") {
		return E(KindInvalidArgument, "the prefix %q does not end with \"/\"", prefix)
	}
	return CheckKey(Key(prefix))
}

// CheckRenamePrefix returns an error of KindInvalidArgument for prefixes that RenamePrefix does not take.
func CheckRenamePrefix(from, to string) error {
	for _, prefix := range []string{from, to} {
		if err := CheckRemovePrefix(prefix); err != nil {
			return err
		}
	}
	if strings.HasPrefix(to, from) {
		return E(KindInvalidArgument, "%q begins with %q, which would be renamed into itself", to, from)
	}
	return nil
}
