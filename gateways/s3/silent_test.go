package s3_test

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/gateways/s3"
)

// modifier is a header or parameter that changes what a request of S3 means somewhere, with a value that is plausible and one that is not.
type modifier struct {
	name, valid, bogus string
	header             bool
	own                bool // of HTTP itself: who has no use for it may pass over it
}

// modifiers reads "name | valid | bogus", one a line. Names in braces stand for what the rig knows.
func modifiers(header, own bool, lines string) (list []modifier) {
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		fields := strings.Split(line, "|")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		list = append(list, modifier{fields[0], fields[1], strings.ReplaceAll(fields[2], `\x01`, "\x01"), header, own})
	}
	return list
}

// allModifiers are all headers and parameters of the requests of the S3 API reference, and some of other servers.
var allModifiers = slices.Concat(modifiers(true, true, `
cache-control | no-store | bogus
content-disposition | attachment | bogus
content-encoding | gzip | bogus
content-language | de | bogus
content-type | text/x-silent | bogus
expires | Fri, 24 May 2030 00:00:00 GMT | bogus
expect | 100-continue | bogus
`), modifiers(true, false, `
content-md5 | {md5} | XrY7u+Ae7tCTyyK7j1rNww==
content-range | bytes 0-1/2 | bogus
if-match | {etag} | "bogus"
if-none-match | * | "
if-modified-since | Sat, 01 Jan 2000 00:00:00 GMT | bogus
if-unmodified-since | Fri, 01 Jan 2100 00:00:00 GMT | bogus
if-range | {etag} | bogus
if-schedule-tag-match | "1" | bogus
range | bytes=1-2 | bogus
x-amz-acl | private | bogus
x-amz-api-version | 2006-03-01 | bogus
x-amz-bucket-namespace | global | bogus
x-amz-bucket-object-lock-enabled | true | bogus
x-amz-bucket-object-lock-token | token | bogus
x-amz-bypass-governance-retention | true | bogus
x-amz-checksum-algorithm | CRC32 | bogus
x-amz-checksum-crc32 | {crc32} | AAAAAQ==
x-amz-checksum-crc32c | {crc32c} | AAAAAQ==
x-amz-checksum-crc64nvme | {crc64nvme} | AAAAAAAAAAE=
x-amz-checksum-md5 | {md5} | bogus
x-amz-checksum-mode | ENABLED | bogus
x-amz-checksum-sha1 | {sha1} | AAAAAAAAAAAAAAAAAAAAAAAAAAA=
x-amz-checksum-sha256 | {sha256} | AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
x-amz-checksum-sha512 | AAAA | bogus
x-amz-checksum-type | FULL_OBJECT | bogus
x-amz-checksum-xxhash128 | AAAA | bogus
x-amz-checksum-xxhash3 | AAAA | bogus
x-amz-checksum-xxhash64 | AAAA | bogus
x-amz-client-token | token-1 | ü
x-amz-confirm-remove-self-bucket-access | true | bogus
x-amz-content-sha256 | {sha} | bogus
x-amz-copy-source | /plain/x | bogus
x-amz-copy-source-if-match | {source} | "bogus"
x-amz-copy-source-if-modified-since | Sat, 01 Jan 2000 00:00:00 GMT | bogus
x-amz-copy-source-if-none-match | "other" | "
x-amz-copy-source-if-unmodified-since | Fri, 01 Jan 2100 00:00:00 GMT | bogus
x-amz-copy-source-range | bytes=1-2 | bogus
x-amz-copy-source-server-side-encryption-customer-algorithm | AES256 | bogus
x-amz-copy-source-server-side-encryption-customer-key | AAAA | bogus
x-amz-copy-source-server-side-encryption-customer-key-md5 | AAAA | bogus
x-amz-create-session-mode | ReadOnly | bogus
x-amz-date | {date} | bogus
x-amz-decoded-content-length | {length} | bogus
x-amz-expected-bucket-owner | {owner} | bogus
x-amz-fwd-error-code | AccessDenied | bogus
x-amz-fwd-error-message | no | bogus
x-amz-fwd-header-accept-ranges | bytes | bogus
x-amz-fwd-header-cache-control | no-store | bogus
x-amz-fwd-header-content-disposition | inline | bogus
x-amz-fwd-header-content-encoding | gzip | bogus
x-amz-fwd-header-content-language | de | bogus
x-amz-fwd-header-content-range | bytes 0-1/2 | bogus
x-amz-fwd-header-content-type | text/plain | bogus
x-amz-fwd-header-etag | "a" | bogus
x-amz-fwd-header-expires | Fri, 24 May 2030 00:00:00 GMT | bogus
x-amz-fwd-header-last-modified | Fri, 24 May 2013 00:00:00 GMT | bogus
x-amz-fwd-header-x-amz-checksum-crc32 | AAAAAA== | bogus
x-amz-fwd-header-x-amz-checksum-crc32c | AAAAAA== | bogus
x-amz-fwd-header-x-amz-checksum-crc64nvme | AAAAAAAAAAA= | bogus
x-amz-fwd-header-x-amz-checksum-md5 | AAAA | bogus
x-amz-fwd-header-x-amz-checksum-sha1 | AAAA | bogus
x-amz-fwd-header-x-amz-checksum-sha256 | AAAA | bogus
x-amz-fwd-header-x-amz-checksum-sha512 | AAAA | bogus
x-amz-fwd-header-x-amz-checksum-xxhash128 | AAAA | bogus
x-amz-fwd-header-x-amz-checksum-xxhash3 | AAAA | bogus
x-amz-fwd-header-x-amz-checksum-xxhash64 | AAAA | bogus
x-amz-fwd-header-x-amz-delete-marker | true | bogus
x-amz-fwd-header-x-amz-expiration | never | bogus
x-amz-fwd-header-x-amz-missing-meta | 1 | bogus
x-amz-fwd-header-x-amz-mp-parts-count | 1 | bogus
x-amz-fwd-header-x-amz-object-lock-legal-hold | ON | bogus
x-amz-fwd-header-x-amz-object-lock-mode | GOVERNANCE | bogus
x-amz-fwd-header-x-amz-object-lock-retain-until-date | 2100-01-01T00:00:00Z | bogus
x-amz-fwd-header-x-amz-replication-status | COMPLETE | bogus
x-amz-fwd-header-x-amz-request-charged | requester | bogus
x-amz-fwd-header-x-amz-restore | x | bogus
x-amz-fwd-header-x-amz-server-side-encryption | AES256 | bogus
x-amz-fwd-header-x-amz-server-side-encryption-aws-kms-key-id | key | bogus
x-amz-fwd-header-x-amz-server-side-encryption-bucket-key-enabled | true | bogus
x-amz-fwd-header-x-amz-server-side-encryption-customer-algorithm | AES256 | bogus
x-amz-fwd-header-x-amz-server-side-encryption-customer-key-md5 | AAAA | bogus
x-amz-fwd-header-x-amz-storage-class | STANDARD | bogus
x-amz-fwd-header-x-amz-tagging-count | 1 | bogus
x-amz-fwd-header-x-amz-version-id | 1 | bogus
x-amz-fwd-status | 200 | bogus
x-amz-grant-full-control | id=root | bogus
x-amz-grant-read | id=root | bogus
x-amz-grant-read-acp | id=root | bogus
x-amz-grant-write | id=root | bogus
x-amz-grant-write-acp | id=root | bogus
x-amz-if-match-initiated-time | Fri, 01 Jan 2100 00:00:00 GMT | bogus
x-amz-if-match-last-modified-time | {modified} | bogus
x-amz-if-match-size | {size} | bogus
x-amz-max-parts | 1 | bogus
x-amz-meta-silent | said | {long}
x-amz-metadata-directive | REPLACE | bogus
x-amz-mfa | 1 2 | bogus
x-amz-mp-object-size | 8 | bogus
x-amz-object-attributes | ObjectSize | bogus
x-amz-object-lock-legal-hold | ON | bogus
x-amz-object-lock-mode | GOVERNANCE | bogus
x-amz-object-lock-retain-until-date | 2101-01-01T00:00:00Z | bogus
x-amz-object-ownership | BucketOwnerEnforced | bogus
x-amz-optional-object-attributes | RestoreStatus | bogus
x-amz-part-number-marker | 1 | bogus
x-amz-rename-source | /plain/x | bogus
x-amz-rename-source-if-match | {source} | "bogus"
x-amz-rename-source-if-modified-since | Sat, 01 Jan 2000 00:00:00 GMT | bogus
x-amz-rename-source-if-none-match | "other" | "
x-amz-rename-source-if-unmodified-since | Fri, 01 Jan 2100 00:00:00 GMT | bogus
x-amz-request-payer | requester | bogus
x-amz-request-route | 1 | bogus
x-amz-request-token | 1 | bogus
x-amz-sdk-checksum-algorithm | CRC32 | bogus
x-amz-security-token | token | bogus
x-amz-server-side-encryption | AES256 | bogus
x-amz-server-side-encryption-aws-kms-key-id | key | bogus
x-amz-server-side-encryption-bucket-key-enabled | true | bogus
x-amz-server-side-encryption-context | e30= | bogus
x-amz-server-side-encryption-customer-algorithm | AES256 | bogus
x-amz-server-side-encryption-customer-key | AAAA | bogus
x-amz-server-side-encryption-customer-key-md5 | AAAA | bogus
x-amz-skip-destination-validation | true | bogus
x-amz-snowball-extract | true | bogus
x-amz-source-expected-bucket-owner | {owner} | bogus
x-amz-storage-class | REDUCED_REDUNDANCY | bogus
x-amz-tagging | silent=said | bogus=1&bogus=2
x-amz-tagging-directive | REPLACE | bogus
x-amz-trailer | x-amz-checksum-crc32 | bogus
x-amz-transition-default-minimum-object-size | varies_by_storage_class | bogus
x-amz-user-agent | test/1 | bogus
x-amz-website-redirect-location | /other | bogus
x-amz-write-offset-bytes | {size} | bogus
x-minio-extract | true | bogus
x-minio-force-delete | true | bogus
x-minio-source-etag | a | bogus
x-minio-source-mtime | 2020-01-01T00:00:00Z | bogus
x-minio-source-replication-request | true | bogus
x-rgw-quota-max-objects | 1 | bogus
x-rgw-object-count | 1 | bogus
x-rustfs-force-delete | true | bogus
x-rustfs-source-mtime | 2020-01-01T00:00:00Z | bogus
`), modifiers(false, false, `
abac | | bogus
accelerate | | bogus
acl | | bogus
analytics | | bogus
annotation | | bogus
append | | bogus
attributes | | bogus
bucket-region | us-east-1 | bogus
continuation-token | {token} | bogus
cors | | bogus
delete | | bogus
delimiter | / | bogus
encoding-type | url | bogus
encryption | | bogus
events | s3:ObjectCreated:* | bogus
fetch-owner | true | bogus
force | true | bogus
id | 1 | bogus
intelligent-tiering | | bogus
inventory | | bogus
key-marker | up | bogus
legal-hold | | bogus
lifecycle | | bogus
list-type | 2 | bogus
location | | bogus
logging | | bogus
marker | k | bogus
max-buckets | 1 | bogus
max-directory-buckets | 1 | bogus
max-keys | 1 | bogus
max-parts | 1 | bogus
max-uploads | 1 | bogus
metadata | true | bogus
metadataConfiguration | | bogus
metadataInventoryTable | | bogus
metadataJournalTable | | bogus
metadataTable | | bogus
metrics | | bogus
notification | | bogus
object-lock | | bogus
ownershipControls | | bogus
part-number-marker | 1 | bogus
partNumber | 1 | bogus
policy | | bogus
policyStatus | | bogus
position | 0 | bogus
prefix | d | bogus
publicAccessBlock | | bogus
renameObject | | bogus
renamePrefix | | bogus
replication | | bogus
requestPayment | | bogus
response-cache-control | no-store | a\x01
response-content-disposition | attachment | a\x01
response-content-encoding | gzip | a\x01
response-content-language | de | a\x01
response-content-type | text/x-silent | a\x01
response-expires | Fri, 24 May 2030 00:00:00 GMT | a\x01
restore | | bogus
retention | | bogus
select | | bogus
select-type | 2 | bogus
session | | bogus
start-after | k | bogus
tagging | | bogus
torrent | | bogus
upload-id-marker | {upload} | bogus
uploadId | {upload} | bogus
uploads | | bogus
version-id-marker | {v2} | bogus
versionId | {version} | bogus
versioning | | bogus
versions | | bogus
website | | bogus
x-id | {operation} | bogus
X-Amz-Acl | private | bogus
X-Amz-Algorithm | AWS4-HMAC-SHA256 | bogus
X-Amz-Expires | 60 | bogus
X-Amz-Security-Token | token | bogus
`))

// form is an operation as the rig asks for it. Without a status it is one that the table does not have.
type form struct {
	name, method, target string
	headers              []string
	body                 string
	status               int
}

// forms are the bodies and targets of the operations that the table has: "plain" has no versions, "kept" has them and locks.
var forms = map[string]form{
	"ListBuckets":                {target: "/"},
	"CreateBucket":               {target: "/fresh", body: "<CreateBucketConfiguration/>"},
	"DeleteBucket":               {target: "/empty", status: 204},
	"HeadBucket":                 {target: "/plain"},
	"PutBucketVersioning":        {target: "/plain?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"},
	"ListObjectVersions":         {target: "/kept?versions"},
	"PutBucketTagging":           {target: "/plain?tagging", body: "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>", status: 204},
	"DeleteBucketTagging":        {target: "/plain?tagging", status: 204},
	"GetObjectLockConfiguration": {target: "/kept?object-lock"},
	"PutObjectLockConfiguration": {target: "/kept?object-lock", headers: []string{"content-md5", "{md5}"}, body: "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>" +
		"<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>3</Days></DefaultRetention></Rule></ObjectLockConfiguration>"},
	"DeleteObjects":           {target: "/plain?delete", headers: []string{"content-md5", "{md5}"}, body: "<Delete><Object><Key>k</Key></Object></Delete>"},
	"PostObject":              {target: "/plain", status: 204},
	"PutObject":               {target: "/plain/k", body: "new content"},
	"CopyObject":              {target: "/plain/k", headers: []string{"x-amz-copy-source", "/plain/x"}},
	"GetObject":               {target: "/plain/k"},
	"HeadObject":              {target: "/plain/k"},
	"GetObjectAttributes":     {target: "/plain/parts?attributes", headers: []string{"x-amz-object-attributes", "ObjectParts"}},
	"GetObjectTagging":        {target: "/kept/k?tagging"},
	"PutObjectTagging":        {target: "/kept/k?tagging", body: "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"},
	"DeleteObjectTagging":     {target: "/kept/k?tagging", status: 204},
	"DeleteObject":            {target: "/kept/k", status: 204},
	"GetObjectRetention":      {target: "/kept/k?retention"},
	"PutObjectRetention":      {target: "/kept/k?retention", headers: []string{"content-md5", "{md5}"}, body: "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2150-01-01T00:00:00Z</RetainUntilDate></Retention>"},
	"GetObjectLegalHold":      {target: "/kept/k?legal-hold"},
	"PutObjectLegalHold":      {target: "/kept/k?legal-hold", headers: []string{"content-md5", "{md5}"}, body: "<LegalHold><Status>OFF</Status></LegalHold>"},
	"RenameObject":            {target: "/plain/to?renameObject", headers: []string{"x-amz-rename-source", "/plain/x"}},
	"RenamePrefix":            {target: "/plain/to/?renamePrefix", headers: []string{"x-amz-rename-source", "/plain/dir/"}},
	"CreateMultipartUpload":   {target: "/plain/made?uploads"},
	"UploadPart":              {target: "/plain/up?partNumber=2&uploadId={upload}", body: "part two"},
	"UploadPartCopy":          {target: "/plain/up?partNumber=2&uploadId={upload}", headers: []string{"x-amz-copy-source", "/plain/x"}},
	"ListParts":               {target: "/plain/up?uploadId={upload}"},
	"CompleteMultipartUpload": {target: "/plain/up?uploadId={upload}", body: `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part}</ETag></Part></CompleteMultipartUpload>`},
	"AbortMultipartUpload":    {target: "/plain/up?uploadId={upload}", status: 204},
}

// variation says how a modifier is used where a row of the table names it, and how its effect is seen.
type variation struct {
	valid, bogus string   // values in place of those of the list
	with         []string // further headers, and parameters with "?" before their names, of both cells
	target, body string
	plain        bool // the request goes without the headers of its form
	sign         func(*fixture, *http.Request, []byte)
	code         string // with which the valid value is answered; why says that this is right
	why          string
	check        func(*silent)
}

// free are modifiers for which no value is wrong, and where that needs words, why. A name may have an operation in front.
var free = map[string]string{
	"if-modified-since": "RFC 9110, 13.1.3: a date that is none is passed over", "if-unmodified-since": "RFC 9110, 13.1.4: as if-modified-since",
	"range": "RFC 9110, 14.2: a range that is malformed is passed over, and the whole is answered", "if-range": "RFC 9110, 13.1.5: without a match the whole is answered",
	"x-amz-user-agent": "names the client", "prefix": "any text", "delimiter": "any text", "marker": "any text, not only a key that there is", "start-after": "as marker",
	"key-marker": "as marker", "upload-id-marker": "as marker", "bucket-region": "a region without buckets",
}

// created variations have the same effect on what PutObject, CopyObject and CreateMultipartUpload make.
func made(header, value string, with ...string) variation {
	return variation{with: with, check: func(c *silent) { c.equal(header, c.made().Get(header), value) }}
}

// says is a variation whose effect is in the answer.
func says(text string, with ...string) variation {
	return variation{with: with, check: func(c *silent) { c.contains(c.r.body, text) }}
}

// holds is a variation of something that must hold: the operation is done, and its own effect is there; the bogus value shows that it is looked at.
func holds(with ...string) variation { return variation{with: with, check: (*silent).changed} }

func answers(header, value string, with ...string) variation {
	return variation{with: with, check: func(c *silent) { c.equal(header, c.r.header.Get(header), value) }}
}

func fails(code, why string, with ...string) variation {
	return variation{code: code, why: why, with: with}
}

func (v variation) at(target string) variation { v.target = target; return v }

func (v variation) or(bogus string) variation { v.bogus = bogus; return v }

func (v variation) of(valid string) variation { v.valid = valid; return v }

const (
	in2100  = "2100-01-01T00:00:00Z"
	inMilli = "2101-01-01T00:00:00.000Z"
)

var (
	asReplaced = []string{"x-amz-metadata-directive", "REPLACE"}
	asLocked   = []string{"content-md5", "{md5}"}
)

// variations say what a modifier does where a row names it: "Operation/modifier" stands above "modifier".
var variations = map[string]variation{
	// what every operation of buckets and objects understands
	"x-amz-expected-bucket-owner": {check: (*silent).same},
	"x-amz-date":                  {check: (*silent).same}, // the signer sets it; the bogus value comes behind the signature
	"x-amz-content-sha256":        {check: (*silent).same},
	"x-amz-user-agent":            {check: (*silent).same},
	"x-id":                        {check: (*silent).same},

	// the body is what it says
	"content-md5":                         holds(),
	"CompleteMultipartUpload/content-md5": holds(),
	"x-amz-checksum-crc32":                holds(),
	"x-amz-checksum-crc32c":               holds(),
	"x-amz-checksum-crc64nvme":            holds(),
	"x-amz-checksum-sha1":                 holds(),
	"x-amz-checksum-sha256":               holds(),
	"x-amz-sdk-checksum-algorithm":        holds("x-amz-checksum-crc32", "{crc32}"),
	"x-amz-decoded-content-length":        {sign: trailed, plain: true, check: (*silent).changed},
	"x-amz-trailer":                       {sign: trailed, plain: true, check: (*silent).changed},
	"PutObject/x-amz-checksum-crc32":      sumOf("X-Amz-Checksum-Crc32"),
	"PutObject/x-amz-checksum-crc32c":     sumOf("X-Amz-Checksum-Crc32c"),
	"PutObject/x-amz-checksum-crc64nvme":  sumOf("X-Amz-Checksum-Crc64nvme"),
	"PutObject/x-amz-checksum-sha1":       sumOf("X-Amz-Checksum-Sha1"),
	"PutObject/x-amz-checksum-sha256":     sumOf("X-Amz-Checksum-Sha256"),
	"PutObject/x-amz-checksum-algorithm":  {check: func(c *silent) { c.equal("crc32", c.made().Get("X-Amz-Checksum-Crc32"), c.fill("{crc32}")) }},
	"PutObject/x-amz-checksum-type":       {check: func(c *silent) { c.equal("type", c.made().Get("X-Amz-Checksum-Type"), "FULL_OBJECT") }},
	"CopyObject/x-amz-checksum-algorithm": {check: func(c *silent) { c.equal("crc32", c.made().Get("X-Amz-Checksum-Crc32"), c.crc("source data")) }},

	// what an object is
	"x-amz-meta-silent":              made("x-amz-meta-silent", "said"),
	"CopyObject/x-amz-meta-silent":   made("x-amz-meta-silent", "said", asReplaced...),
	"cache-control":                  made("Cache-Control", "no-store"),
	"content-disposition":            made("Content-Disposition", "attachment"),
	"content-encoding":               made("Content-Encoding", "gzip"),
	"content-language":               made("Content-Language", "de"),
	"content-type":                   made("Content-Type", "text/x-silent"),
	"expires":                        made("Expires", "Fri, 24 May 2030 00:00:00 GMT"),
	"CopyObject/cache-control":       made("Cache-Control", "no-store", asReplaced...),
	"CopyObject/content-disposition": made("Content-Disposition", "attachment", asReplaced...),
	"CopyObject/content-encoding":    made("Content-Encoding", "gzip", asReplaced...),
	"CopyObject/content-language":    made("Content-Language", "de", asReplaced...),
	"CopyObject/content-type":        made("Content-Type", "text/x-silent", asReplaced...),
	"CopyObject/expires":             made("Expires", "Fri, 24 May 2030 00:00:00 GMT", asReplaced...),
	"x-amz-storage-class":            made("X-Amz-Storage-Class", "REDUCED_REDUNDANCY"),
	"x-amz-acl":                      {check: (*silent).ownersOnly},
	"x-amz-tagging": {check: func(c *silent) {
		c.made()
		c.contains(c.get(c.target()+"?tagging").body, "<Key>silent</Key><Value>said</Value>")
	}},
	"CopyObject/x-amz-tagging":                                  {with: []string{"x-amz-tagging-directive", "REPLACE"}, check: func(c *silent) { c.contains(c.get(c.target()+"?tagging").body, "<Key>silent</Key><Value>said</Value>") }},
	"x-amz-metadata-directive":                                  made("x-amz-meta-color", ""),
	"x-amz-tagging-directive":                                   made("X-Amz-Tagging-Count", ""),
	"PutObject/x-amz-object-lock-mode":                          made("X-Amz-Object-Lock-Mode", "GOVERNANCE", append(asLocked, "x-amz-object-lock-retain-until-date", in2100)...).at("/kept/made"),
	"PutObject/x-amz-object-lock-legal-hold":                    made("X-Amz-Object-Lock-Legal-Hold", "ON", asLocked...).at("/kept/made"),
	"PutObject/x-amz-object-lock-retain-until-date":             made("X-Amz-Object-Lock-Retain-Until-Date", inMilli, append(asLocked, "x-amz-object-lock-mode", "COMPLIANCE")...).at("/kept/made"),
	"CopyObject/x-amz-object-lock-mode":                         made("X-Amz-Object-Lock-Mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", in2100).at("/kept/made"),
	"CopyObject/x-amz-object-lock-legal-hold":                   made("X-Amz-Object-Lock-Legal-Hold", "ON").at("/kept/made"),
	"CopyObject/x-amz-object-lock-retain-until-date":            made("X-Amz-Object-Lock-Retain-Until-Date", inMilli, "x-amz-object-lock-mode", "COMPLIANCE").at("/kept/made"),
	"CreateMultipartUpload/x-amz-object-lock-mode":              made("X-Amz-Object-Lock-Mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", in2100).at("/kept/made?uploads"),
	"CreateMultipartUpload/x-amz-object-lock-legal-hold":        made("X-Amz-Object-Lock-Legal-Hold", "ON").at("/kept/made?uploads"),
	"CreateMultipartUpload/x-amz-object-lock-retain-until-date": made("X-Amz-Object-Lock-Retain-Until-Date", inMilli, "x-amz-object-lock-mode", "COMPLIANCE").at("/kept/made?uploads"),
	"CreateMultipartUpload/x-amz-checksum-algorithm":            {check: func(c *silent) { c.contains(c.made().Get("X-Amz-Checksum-Crc32"), "-1") }},
	"CreateMultipartUpload/x-amz-checksum-type": {with: []string{"x-amz-checksum-algorithm", "CRC32"}, check: func(c *silent) {
		c.equal("crc32", c.made().Get("X-Amz-Checksum-Crc32"), c.crc("part"))
	}},

	// conditions of writes
	"PutObject/if-match":                      holds(),
	"PutObject/if-none-match":                 holds().at("/plain/absent"),
	"PostObject/content-type":                 fails("AccessDenied", "it is no form then, and has no other signature"),
	"PostObject/x-id":                         fails("AccessDenied", "with a parameter it is no form, and has no other signature"),
	"PostObject/if-match":                     holds(),
	"PostObject/if-none-match":                fails("PreconditionFailed", "there is an object of the key of the form"),
	"CopyObject/if-match":                     holds(),
	"CopyObject/if-none-match":                holds().at("/plain/absent"),
	"RenameObject/if-match":                   holds().at("/plain/k?renameObject"),
	"RenameObject/if-none-match":              holds(),
	"CompleteMultipartUpload/if-match":        holds(),
	"CompleteMultipartUpload/if-none-match":   fails("PreconditionFailed", "there is an object of the key of the upload"),
	"DeleteObject/if-match":                   holds(),
	"x-amz-if-match-size":                     holds(),
	"x-amz-if-match-last-modified-time":       holds(),
	"x-amz-copy-source-if-match":              holds(),
	"x-amz-copy-source-if-none-match":         holds(),
	"x-amz-copy-source-if-modified-since":     holds(),
	"x-amz-copy-source-if-unmodified-since":   holds(),
	"x-amz-rename-source-if-match":            holds(),
	"x-amz-rename-source-if-none-match":       holds(),
	"x-amz-rename-source-if-modified-since":   holds(),
	"x-amz-rename-source-if-unmodified-since": holds(),
	"x-amz-source-expected-bucket-owner":      holds(),

	// sources
	"CopyObject/x-amz-copy-source":     {check: func(c *silent) { c.equal("content", c.get("/plain/k").body, "source data") }},
	"UploadPartCopy/x-amz-copy-source": {check: func(c *silent) { c.contains(c.get("/plain/up?uploadId="+c.vars["upload"]).body, "<Size>11</Size>") }},
	"x-amz-copy-source-range":          {check: func(c *silent) { c.contains(c.get("/plain/up?uploadId="+c.vars["upload"]).body, "<Size>2</Size>") }},
	"PutObject/x-amz-copy-source":      fails("UnexpectedContent", "it makes the request a CopyObject, which has no body"),
	"UploadPart/x-amz-copy-source":     fails("UnexpectedContent", "it makes the request an UploadPartCopy, which has no body"),
	"RenameObject/x-amz-rename-source": {check: func(c *silent) { c.equal("content", c.get("/plain/to").body, "source data") }},
	"RenamePrefix/x-amz-rename-source": {valid: "/plain/dir/", check: func(c *silent) { c.equal("content", c.get("/plain/to/a").body, "a") }},
	"RenameObject/renameObject":        {check: func(c *silent) { c.equal("content", c.get("/plain/to").body, "source data") }},
	"RenamePrefix/renamePrefix":        {check: func(c *silent) { c.equal("content", c.get("/plain/to/b").body, "b") }},
	"x-amz-client-token":               {check: func(c *silent) { c.equal("the repetition", fmt.Sprint(c.again().status), "200") }},
	"x-amz-write-offset-bytes":         {check: func(c *silent) { c.equal("content", c.get("/plain/k").body, "old contentnew content") }},

	// buckets
	"x-amz-bucket-object-lock-enabled":  {check: func(c *silent) { c.contains(c.get("/fresh?object-lock").body, "Enabled") }},
	"x-amz-object-ownership":            {check: func(c *silent) { c.contains(c.get("/fresh?ownershipControls").body, "BucketOwnerEnforced") }},
	"DeleteBucket/x-minio-force-delete": {target: "/plain", check: func(c *silent) { c.equal("the bucket", fmt.Sprint(c.get("/plain").status), "404") }},
	"DeleteObject/x-minio-force-delete": {target: "/plain/dir", check: func(c *silent) { c.equal("an object beneath", fmt.Sprint(c.get("/plain/dir/a").status), "404") }},
	"DeleteObject/x-amz-bypass-governance-retention": {target: "/kept/k?versionId={v1}", check: func(c *silent) {
		c.equal("the version", fmt.Sprint(c.get(c.last.target).status), "404")
	}},
	"DeleteObjects/x-amz-bypass-governance-retention": {target: "/kept?delete", body: "<Delete><Object><Key>k</Key><VersionId>{v1}</VersionId></Object></Delete>", check: func(c *silent) {
		c.equal("the version", fmt.Sprint(c.get("/kept/k?versionId="+c.vars["v1"]).status), "404")
	}},
	"PutObjectRetention/x-amz-bypass-governance-retention": {body: "<Retention/>", check: func(c *silent) { c.equal("mode", c.made().Get("X-Amz-Object-Lock-Mode"), "") }},

	// reads
	"versionId":                     answers("X-Amz-Version-Id", "{v1}").at("/kept/k"),
	"GetObject/versionId":           says("first").at("/kept/k"),
	"GetObjectAcl/versionId":        says("FULL_CONTROL"),
	"GetObjectAttributes/versionId": says("<ObjectSize>5</ObjectSize>", "x-amz-object-attributes", "ObjectSize").at("/kept/k?attributes"),
	"GetObjectTagging/versionId":    says("<Value>first</Value>").at("/kept/k?tagging"),
	"PutObjectTagging/versionId":    {check: func(c *silent) { c.contains(c.get("/kept/k?tagging&versionId="+c.vars["v1"]).body, "<Value>b</Value>") }},
	"DeleteObjectTagging/versionId": {check: func(c *silent) {
		c.contains(c.get("/kept/k?tagging&versionId="+c.vars["v1"]).body, "<TagSet></TagSet>")
	}},
	"GetObjectRetention/versionId": says("2100-01-01"),
	"PutObjectRetention/versionId": {check: func(c *silent) { c.contains(c.get("/kept/k?retention&versionId="+c.vars["v1"]).body, "2150-01-01") }},
	"GetObjectLegalHold/versionId": says("OFF"),
	"PutObjectLegalHold/versionId": {body: "<LegalHold><Status>ON</Status></LegalHold>", check: func(c *silent) { c.contains(c.get("/kept/k?legal-hold&versionId="+c.vars["v1"]).body, "ON") }},
	"DeleteObject/versionId":       fails("AccessDenied", "the version has a retention, which is judged: the version that was named is the one that is meant"),
	"partNumber":                   answers("X-Amz-Mp-Parts-Count", "1").at("/plain/parts"),
	"if-match":                     {check: (*silent).same},
	"if-modified-since":            {check: (*silent).same},
	"if-unmodified-since":          {check: (*silent).same},
	"if-none-match":                fails("NotModified", "there is an object, and the condition is that there is none"),
	"range":                        answers("Content-Range", "bytes 1-2/11"),
	"if-range":                     answers("Content-Range", "bytes 1-2/11", "range", "bytes=1-2"),
	"x-amz-checksum-mode":          answers("X-Amz-Checksum-Type", "FULL_OBJECT"),
	"response-cache-control":       answers("Cache-Control", "no-store"),
	"response-content-disposition": answers("Content-Disposition", "attachment"),
	"response-content-encoding":    answers("Content-Encoding", "gzip"),
	"response-content-language":    answers("Content-Language", "de"),
	"response-content-type":        answers("Content-Type", "text/x-silent"),
	"response-expires":             answers("Expires", "Fri, 24 May 2030 00:00:00 GMT"),
	"x-amz-object-attributes":      says("<ObjectSize>9</ObjectSize>"),
	"x-amz-max-parts":              says("<MaxParts>1</MaxParts>"),
	"x-amz-part-number-marker":     says("<PartNumberMarker>1</PartNumberMarker>"),

	// listings
	"prefix":             {check: func(c *silent) { c.contains(c.r.body, ">dir/a<"); c.lacks(c.r.body, ">k<") }},
	"delimiter":          says("<Prefix>dir/</Prefix></CommonPrefixes>"),
	"marker":             {check: func(c *silent) { c.contains(c.r.body, "<Key>parts<"); c.lacks(c.r.body, "<Key>k<") }},
	"start-after":        {check: func(c *silent) { c.contains(c.r.body, "<Key>parts<"); c.lacks(c.r.body, "<Key>k<") }},
	"continuation-token": {check: func(c *silent) { c.contains(c.r.body, "<Key>parts<"); c.lacks(c.r.body, "<Key>k<") }},
	"max-keys":           {check: func(c *silent) { c.contains(c.r.body, "<IsTruncated>true<"); c.contains(c.r.body, "<MaxKeys>1<") }},
	"encoding-type":      says("<EncodingType>url</EncodingType>"),
	"fetch-owner":        says("<Owner>"),
	"list-type":          says("<KeyCount>"),
	"key-marker":         {check: func(c *silent) { c.contains(c.r.body, "<KeyMarker>up</KeyMarker>"); c.lacks(c.r.body, "<Key>dir/") }},
	"version-id-marker":  {with: []string{"?key-marker", "k"}, check: func(c *silent) { c.contains(c.r.body, c.vars["v1"]); c.lacks(c.r.body, "<VersionId>"+c.vars["v2"]) }},
	"upload-id-marker": {with: []string{"?key-marker", "up"}, check: func(c *silent) {
		c.contains(c.r.body, c.vars["free"])
		c.lacks(c.r.body, "<UploadId>"+c.vars["upload"])
	}},
	"max-uploads":        says("<IsTruncated>true<"),
	"max-parts":          says("<MaxParts>1</MaxParts>"),
	"part-number-marker": {check: func(c *silent) { c.lacks(c.r.body, "<Part>") }},

	"ListMultipartUploads/prefix":    {check: func(c *silent) { c.contains(c.r.body, ">dir/up<"); c.lacks(c.r.body, ">up<") }},
	"ListBuckets/prefix":             {valid: "ke", check: func(c *silent) { c.contains(c.r.body, "<Name>kept<"); c.lacks(c.r.body, "<Name>plain<") }},
	"ListBuckets/continuation-token": {check: func(c *silent) { c.contains(c.r.body, "<Name>kept<"); c.lacks(c.r.body, "<Name>empty<") }},
	"ListBuckets/max-buckets":        says("<ContinuationToken>"),
	"ListBuckets/bucket-region":      says("<Name>plain<"),
	"ListObjectVersions/prefix":      {check: func(c *silent) { c.contains(c.r.body, ">dir/a<"); c.lacks(c.r.body, ">k<") }},

	// what makes the operation the one that it is
	"location": {check: (*silent).same}, "versioning": {check: (*silent).same}, "versions": {check: (*silent).same}, "tagging": {check: (*silent).same},
	"object-lock": {check: (*silent).same}, "uploads": {check: (*silent).same}, "delete": {check: (*silent).same}, "attributes": {check: (*silent).same},
	"retention": {check: (*silent).same}, "legal-hold": {check: (*silent).same}, "policy": {check: (*silent).same}, "policyStatus": {check: (*silent).same},
	"lifecycle": {check: (*silent).same}, "cors": {check: (*silent).same}, "website": {check: (*silent).same}, "replication": {check: (*silent).same},
	"encryption": {check: (*silent).same}, "publicAccessBlock": {check: (*silent).same}, "logging": {check: (*silent).same}, "notification": {check: (*silent).same},
	"accelerate": {check: (*silent).same}, "requestPayment": {check: (*silent).same}, "ownershipControls": {check: (*silent).same}, "acl": {check: (*silent).same},

	// uploads
	"uploadId":                                             {check: (*silent).same},
	"UploadPart/partNumber":                                {valid: "3", check: func(c *silent) { c.contains(c.get("/plain/up?uploadId="+c.vars["upload"]).body, "<PartNumber>3<") }},
	"UploadPartCopy/partNumber":                            {valid: "3", check: func(c *silent) { c.contains(c.get("/plain/up?uploadId="+c.vars["upload"]).body, "<PartNumber>3<") }},
	"UploadPart/x-amz-checksum-crc32":                      partSum("CRC32"),
	"UploadPart/x-amz-checksum-crc32c":                     partSum("CRC32C"),
	"UploadPart/x-amz-checksum-crc64nvme":                  partSum("CRC64NVME"),
	"UploadPart/x-amz-checksum-sha1":                       partSum("SHA1"),
	"UploadPart/x-amz-checksum-sha256":                     partSum("SHA256"),
	"UploadPart/x-amz-checksum-algorithm":                  {target: "/plain/up?partNumber=2&uploadId={free}", check: func(c *silent) { c.contains(c.get("/plain/up?uploadId="+c.vars["free"]).body, "<ChecksumCRC32>") }},
	"UploadPart/x-amz-checksum-type":                       holds().or("COMPOSITE"),
	"CompleteMultipartUpload/x-amz-checksum-crc32":         holds().of("{partcrc32}"),
	"CompleteMultipartUpload/x-amz-checksum-crc32c":        fails("InvalidArgument", "the upload was started with another algorithm").of("AAAAAQ=="),
	"CompleteMultipartUpload/x-amz-checksum-crc64nvme":     fails("InvalidArgument", "the upload was started with another algorithm").of("AAAAAAAAAAE="),
	"CompleteMultipartUpload/x-amz-checksum-sha1":          fails("InvalidArgument", "the upload was started with another algorithm"),
	"CompleteMultipartUpload/x-amz-checksum-sha256":        fails("InvalidArgument", "the upload was started with another algorithm"),
	"CompleteMultipartUpload/x-amz-sdk-checksum-algorithm": {with: []string{"x-amz-checksum-crc32", "{partcrc32}"}, check: (*silent).changed},
	"CompleteMultipartUpload/x-amz-checksum-type":          holds().or("COMPOSITE"),
	"CompleteMultipartUpload/x-amz-mp-object-size":         holds(),
}

// sumOf is a checksum that is kept with the object and shown by a read that asks for it.
func sumOf(header string) variation {
	return variation{check: func(c *silent) { c.equal(header, c.made().Get(header), c.value) }}
}

func partSum(algorithm string) variation {
	return variation{target: "/plain/up?partNumber=2&uploadId={free}", check: func(c *silent) {
		c.contains(c.get("/plain/up?uploadId="+c.vars["free"]).body, "<Checksum"+algorithm+">"+c.value+"<")
	}}
}

// trailed sends the body in chunks with a checksum in the trailer.
func trailed(f *fixture, r *http.Request, body []byte) {
	length, trailer := r.Header.Get("X-Amz-Decoded-Content-Length"), r.Header.Get("X-Amz-Trailer")
	when := time.Now()
	if length == "" {
		r.Header.Set("X-Amz-Decoded-Content-Length", itoa(len(body)))
	}
	if trailer == "" {
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
	}
	f.signer.Sign(r, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", when)
	setBody(r, f.signer.Chunks(body, 64<<10, "", map[string]string{"x-amz-checksum-crc32": sumText(body)}, when))
}

func sumText(body []byte) string {
	sum := crc32.ChecksumIEEE(body)
	return base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// ownOperations are those that S3 does not have.
const ownOperations = "\nRenamePrefix PUT /b/k/?renamePrefix\n"

// operationRows is the table by name.
func operationRows() map[string]*s3.RouteInfo {
	rows := map[string]*s3.RouteInfo{}
	for _, rt := range s3.Routes() {
		rows[rt.Name] = &rt
	}
	return rows
}

// operations are all of apiOperations and our own, as the rig asks for them.
func operations() (list []form) {
	for line := range strings.Lines(strings.TrimSpace(apiOperations) + ownOperations) {
		fields := strings.Fields(line)
		o, known := forms[fields[0]]
		o.name, o.method = fields[0], fields[1]
		if o.target == "" {
			o.target = strings.Replace(fields[2], "/b", "/plain", 1)
		}
		if len(fields) > 3 && !known {
			name, value, _ := strings.Cut(fields[3], "=")
			o.headers = []string{name, value}
		}
		if o.status == 0 {
			o.status = 200
		}
		list = append(list, o)
	}
	return list
}

// names reports whether the row of the table names the modifier, or all rows do.
func (c *silent) names() bool {
	rt, name := c.route, c.m.name
	if !c.m.header {
		return name == "x-id" || slices.Contains(rt.May, name) || slices.ContainsFunc(rt.Need, func(need string) bool { n, _, _ := strings.Cut(need, "="); return n == name })
	}
	switch name {
	case "x-amz-date", "x-amz-content-sha256":
		return rt.Name != "PostObject" // whose signature is in its fields
	case "x-amz-user-agent":
		return true
	case "x-amz-expected-bucket-owner":
		return rt.Level != "SERVICE"
	}
	return slices.ContainsFunc(rt.Headers, func(h string) bool { return h == name || h == "x-amz-meta-*" && strings.HasPrefix(name, "x-amz-meta-") })
}

// becomes finds the operation that a parameter or the source of a copy makes of another.
func (c *silent) becomes(all []form) *form {
	have := parameters(c.form.target)
	want := maps.Clone(have)
	name := c.m.name
	if name == "list-type" {
		name = "list-type=2"
	}
	if c.m.header || have[name] {
		return nil
	}
	want[name] = true
	for i, o := range all {
		depth := func(target string) int {
			return strings.Count(strings.Split(target, "?")[0], "/") + len(strings.Trim(strings.Split(target, "?")[0], "/"))
		}
		if o.method == c.form.method && (depth(o.target) > 1) == (depth(c.form.target) > 1) && strings.Contains(strings.Split(o.target, "?")[0][1:], "/") == strings.Contains(strings.Split(c.form.target, "?")[0][1:], "/") &&
			maps.Equal(parameters(o.target), want) && (len(o.headers) == 0 || o.headers[0] != "x-amz-copy-source") && c.routes[o.name] != nil {
			return &all[i]
		}
	}
	return nil
}

// refused demands an error, and that nothing changed. named says that it must tell what is not understood.
func (c *silent) refused(named bool) {
	c.t.Helper()
	if c.r.status < 400 && c.r.status != 304 {
		c.failf("accepted")
	}
	if text := strings.ToLower(c.r.body); named && c.form.method != "HEAD" && !strings.Contains(text, strings.ToLower(c.m.name)) && !c.namesAnother(text) {
		c.failf("the error does not name it")
	}
	if c.f.engine.calls.Load() != c.calls && c.digest() != c.untouched { // without a call nothing can have changed
		c.failf("refused, but something changed")
	}
}

// namesAnother: of two parameters that name operations the error may name either.
func (c *silent) namesAnother(text string) bool {
	if c.m.header {
		return false
	}
	for name := range parameters(c.form.target) {
		if name, _, _ = strings.Cut(name, "="); strings.Contains(text, strings.ToLower(name)) {
			return true
		}
	}
	return false
}

// otherwiseRefused are errors that are right and say another thing than the name of the modifier.
var otherwiseRefused = map[string]string{
	"x-amz-security-token":            "InvalidToken",    // tokens are nobody's
	"X-Amz-Algorithm":                 "InvalidArgument", // two signatures
	"PostObject/x-amz-security-token": "NotImplemented",
	"PostObject/X-Amz-Algorithm":      "AuthorizationQueryParametersError",
}

// unsignedForm is the answer to a form with a parameter: it is none then, and nobody has signed it.
const unsignedForm = "AccessDenied"

// cell makes one request and judges the answer.
func (c *silent) cell(all []form, bogus bool) (taken bool) {
	c.t.Helper()
	c.calls = c.f.engine.calls.Load()
	var v variation
	own := false
	if c.route != nil && (c.m.own || c.names() || variations[c.form.name+"/"+c.m.name].code != "") {
		v, own, _ = entry(c, "variations ", variations)
	}
	value := c.m.valid
	if v.valid != "" {
		value = v.valid
	}
	if bogus {
		if value = c.m.bogus; v.bogus != "" {
			value = v.bogus
		}
	}
	defer func() {
		if c.f.engine.calls.Load() != c.calls {
			c.reset()
		}
	}()
	if c.route == nil {
		c.send(c.request(variation{}, value))
		c.refused(false)
		if c.f.engine.calls.Load() != c.calls {
			c.failf("an operation that is not there reached the engine")
		}
		return false
	}
	if other := c.becomes(all); other != nil && !bogus {
		c.begin(*other, c.m)
		c.m = modifier{}
		if c.send(c.request(variation{}, "")); c.r.status != other.status && !c.route.Absent {
			c.failf("it makes the request a %s, which is answered otherwise", other.name)
		}
		return false
	}
	takes := c.names() || c.m.own || own
	if !takes {
		c.send(c.request(variation{}, value))
		code, _, _ := entry(c, "otherwiseRefused ", otherwiseRefused)
		if _, special := otherwiseRefused[c.form.name+"/"+c.m.name]; !special && c.form.name == "PostObject" && !c.m.header {
			code = unsignedForm
		}
		if c.refused(code == ""); code != "" && c.r.code() != code && c.form.method != "HEAD" {
			c.failf("want %s", code)
		}
		return false
	}
	keeps := c.form.name == "PutObject" || c.form.name == "CopyObject" || c.form.name == "CreateMultipartUpload"
	if c.m.own && !own && (!keeps || c.m.name == "expect") {
		v = variation{check: (*silent).same}
	}
	c.send(c.request(v, value))
	isFree := c.m.own && v.code == ""
	if bogus && !isFree {
		_, _, isFree = entry(c, "free ", free)
	}
	switch {
	case bogus && isFree:
		if c.r.status >= 400 && !c.route.Absent {
			c.failf("no value is wrong here, but it is refused")
		}
	case bogus:
		c.refused(false)
	case v.code != "":
		if c.r.code() != v.code && !(v.code == "NotModified" && c.r.status == 304) && c.form.method != "HEAD" {
			c.failf("want %s, for %s", v.code, v.why)
		}
		c.refused(false)
	case v.check == nil:
		c.failf("the row names it, but nothing says what is to be seen of it")
	default:
		if c.r.status >= 400 && !c.route.Absent {
			c.failf("a value that is right is refused")
			return false
		}
		v.check(c)
	}
	return !bogus && c.names()
}

// TestSilentSuccess proves that nothing is accepted and then ignored: every operation of S3 with every modifier, valid and bogus. What the row of the
// operation does not name is refused by name and changes nothing; what it names has the effect that is asked for, and is refused where the value is none.
func TestSilentSuccess(t *testing.T) {
	if testing.Short() {
		t.Skip("tens of thousands of requests")
	}
	ops := operations()
	var executed atomic.Int64
	var mu sync.Mutex
	seen := map[string]observed{}
	used := map[string]bool{}
	const workers = 2
	t.Run("cells", func(t *testing.T) {
		for w := range workers {
			t.Run(itoa(w), func(t *testing.T) {
				t.Parallel()
				c := newSilent(t)
				for i := w; i < len(ops); i += workers {
					c.reset()
					c.begin(ops[i], modifier{})
					o := observed{reply: c.send(c.request(variation{}, ""))}
					if c.route != nil && !c.route.Absent && o.reply.status != ops[i].status {
						c.failf("the bare operation is to be answered %d", ops[i].status)
					}
					c.reset()
					for _, m := range allModifiers {
						for _, bogus := range []bool{false, true} {
							c.begin(ops[i], m)
							if c.cell(ops, bogus) {
								o.taken = append(o.taken, m)
							}
							executed.Add(1)
						}
					}
					mu.Lock()
					seen[ops[i].name] = o
					mu.Unlock()
				}
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(used, c.used)
			})
		}
	})
	product := int64(len(ops) * len(allModifiers) * 2)
	t.Logf("%d operations × %d modifiers × {valid, bogus}: %d cells of %d", len(ops), len(allModifiers), executed.Load(), product)
	if executed.Load() != product || product == 0 {
		t.Errorf("%d cells of %d", executed.Load(), product)
	}
	for _, table := range []struct {
		name string
		keys []string
	}{{"variations", slices.Sorted(maps.Keys(variations))}, {"free", slices.Sorted(maps.Keys(free))}, {"otherwiseRefused", slices.Sorted(maps.Keys(otherwiseRefused))}} {
		for _, key := range table.keys {
			if !used[table.name+" "+key] {
				t.Errorf("no cell needs the row %q of %s", key, table.name)
			}
		}
	}
	if !t.Failed() {
		compareTable(t, ops, seen)
	}
}

// observed is what was seen of an operation.
type observed struct {
	reply reply // to the bare operation
	taken []modifier
}

// TestModifiersAreWhole: no row of the table allows what no cell of TestSilentSuccess has.
func TestModifiersAreWhole(t *testing.T) {
	have := map[string]bool{}
	for _, m := range allModifiers {
		if have[m.name] {
			t.Errorf("%s is listed twice", m.name)
		}
		have[m.name] = true
	}
	for _, rt := range s3.Routes() {
		for _, name := range slices.Concat(rt.Need, rt.May, rt.Headers) {
			name, _, _ = strings.Cut(strings.Replace(name, "-meta-*", "-meta-silent", 1), "=")
			if !have[name] {
				t.Errorf("%s takes %s, which no list has", rt.Name, name)
			}
		}
	}
	for name := range forms {
		if !slices.ContainsFunc(s3.Routes(), func(rt s3.RouteInfo) bool { return rt.Name == name }) {
			t.Errorf("there is no operation %s", name)
		}
	}
}
