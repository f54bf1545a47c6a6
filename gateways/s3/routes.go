package s3

import (
	"net/http"
	"slices"
	"strings"

	"holdfast/access"
	"holdfast/gateways/s3/sigv4"
	"holdfast/gateways/s3/wire"
)

// level says what a path names.
type level uint8

const (
	service level = iota
	bucketLevel
	objectLevel
)

func (l level) String() string { return [...]string{"SERVICE", "BUCKET", "OBJECT"}[l] }

// route is one operation. A request that matches one has the parameters that it needs, none that it does not name, and no header
// that would change the meaning and is not named.
type route struct {
	name   string        // of the operation in the API reference
	action access.Action // that a policy would name
	method string
	level  level
	// need are parameters that tell this operation from others: "uploads" has no value, "uploadId=" has one, "list-type=2" that one.
	need    []string
	copy    bool     // the operation is told from another by x-amz-copy-source
	may     []string // further parameters
	headers []string // in lower case; a trailing "*" stands for any rest
	body    bool     // the operation has a body
	serve   func(*call) error
}

// Groups of headers.
var (
	readConditions = []string{"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "range", "if-range", "x-amz-checksum-mode"}
	checksums      = []string{"x-amz-checksum-crc32", "x-amz-checksum-crc32c", "x-amz-checksum-crc64nvme", "x-amz-checksum-sha1", "x-amz-checksum-sha256",
		"x-amz-sdk-checksum-algorithm"}
	chunks = []string{"x-amz-decoded-content-length", "x-amz-trailer", "content-md5"}
	// asked say what checksum the client wants; on one body they add nothing to the checksum itself, but some clients send them.
	asked  = []string{"x-amz-checksum-algorithm", "x-amz-checksum-type"}
	copies = []string{"x-amz-copy-source", "x-amz-copy-source-if-match", "x-amz-copy-source-if-none-match", "x-amz-copy-source-if-modified-since",
		"x-amz-copy-source-if-unmodified-since", "x-amz-source-expected-bucket-owner"}
	attributes = []string{"x-amz-meta-*", "x-amz-storage-class", "x-amz-acl", "x-amz-tagging"}
	// formFields are fields of a form that are headers elsewhere.
	formFields = join(checksums, asked[:1], lockHeaders, []string{"x-amz-meta-*", "x-amz-storage-class", "x-amz-tagging", "cache-control", "content-disposition", "content-encoding",
		"content-language", "content-md5", "content-type", "expires"})
	// responses are parameters that replace headers of the answer.
	responses = []string{"response-content-type", "response-content-language", "response-expires", "response-cache-control",
		"response-content-disposition", "response-content-encoding", "versionId", "partNumber"}
)

func join(lists ...[]string) []string { return slices.Concat(lists...) }

// routes is the table of all operations that are implemented. absent.go adds the questions that have a truthful "none" for an answer.
var routes = append([]route{
	{name: "ListBuckets", action: "s3:ListAllMyBuckets", method: "GET", level: service,
		may: []string{"prefix", "continuation-token", "max-buckets", "bucket-region"}, serve: listBuckets},

	{name: "CreateBucket", action: "s3:CreateBucket", method: "PUT", level: bucketLevel, body: true,
		headers: []string{"x-amz-acl", "x-amz-object-ownership", "x-amz-bucket-object-lock-enabled", "content-md5"}, serve: createBucket},
	{name: "DeleteBucket", action: "s3:DeleteBucket", method: "DELETE", level: bucketLevel, headers: forceHeaders, serve: deleteBucket},
	{name: "HeadBucket", action: "s3:ListBucket", method: "HEAD", level: bucketLevel, serve: headBucket},
	{name: "GetBucketLocation", action: "s3:GetBucketLocation", method: "GET", level: bucketLevel, need: []string{"location"}, serve: getBucketLocation},
	{name: "ListObjects", action: "s3:ListBucket", method: "GET", level: bucketLevel,
		may: []string{"prefix", "delimiter", "marker", "max-keys", "encoding-type"}, serve: listObjects},
	{name: "ListObjectsV2", action: "s3:ListBucket", method: "GET", level: bucketLevel, need: []string{"list-type=2"},
		may: []string{"prefix", "delimiter", "start-after", "continuation-token", "max-keys", "fetch-owner", "encoding-type"}, serve: listObjectsV2},
	{name: "GetBucketVersioning", action: "s3:GetBucketVersioning", method: "GET", level: bucketLevel, need: []string{"versioning"}, serve: getVersioning},
	{name: "PutBucketVersioning", action: "s3:PutBucketVersioning", method: "PUT", level: bucketLevel, need: []string{"versioning"}, body: true,
		headers: join(checksums, chunks), serve: putVersioning},
	{name: "ListObjectVersions", action: "s3:ListBucketVersions", method: "GET", level: bucketLevel, need: []string{"versions"},
		may: []string{"prefix", "delimiter", "key-marker", "version-id-marker", "max-keys", "encoding-type"}, serve: listVersions},
	{name: "GetBucketTagging", action: "s3:GetBucketTagging", method: "GET", level: bucketLevel, need: []string{"tagging"}, serve: getBucketTagging},
	{name: "PutBucketTagging", action: "s3:PutBucketTagging", method: "PUT", level: bucketLevel, need: []string{"tagging"}, body: true,
		headers: join(checksums, chunks), serve: putBucketTagging},
	{name: "DeleteBucketTagging", action: "s3:PutBucketTagging", method: "DELETE", level: bucketLevel, need: []string{"tagging"}, serve: deleteBucketTagging},
	{name: "GetObjectLockConfiguration", action: "s3:GetBucketObjectLockConfiguration", method: "GET", level: bucketLevel, need: []string{"object-lock"},
		serve: getObjectLock},
	{name: "PutObjectLockConfiguration", action: "s3:PutBucketObjectLockConfiguration", method: "PUT", level: bucketLevel, need: []string{"object-lock"}, body: true,
		headers: join(checksums, chunks), serve: putObjectLock},
	{name: "ListMultipartUploads", action: "s3:ListBucketMultipartUploads", method: "GET", level: bucketLevel, need: []string{"uploads"},
		may: []string{"prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"}, serve: listUploads},
	{name: "DeleteObjects", action: "s3:DeleteObject", method: "POST", level: bucketLevel, need: []string{"delete"}, body: true,
		headers: join(checksums, chunks, bypassHeaders), serve: deleteObjects},
	// The signature of a form is in its fields, so that it is authenticated by its handler.
	{name: "PostObject", action: "s3:PutObject", method: "POST", level: bucketLevel, body: true, headers: []string{"if-match", "if-none-match"}, serve: postObject},

	{name: "PutObject", action: "s3:PutObject", method: "PUT", level: objectLevel, body: true,
		headers: join(attributes, checksums, chunks, asked, lockHeaders, []string{"if-match", "if-none-match", "x-amz-write-offset-bytes"}), serve: putObject},
	{name: "CopyObject", action: "s3:PutObject", method: "PUT", level: objectLevel, copy: true,
		headers: join(copies, attributes, lockHeaders, []string{"x-amz-metadata-directive", "x-amz-tagging-directive", "x-amz-checksum-algorithm", "if-match", "if-none-match"}), serve: copyObject},
	{name: "GetObject", action: "s3:GetObject", method: "GET", level: objectLevel, may: responses, headers: readConditions, serve: getObject},
	{name: "HeadObject", action: "s3:GetObject", method: "HEAD", level: objectLevel, may: responses, headers: readConditions, serve: headObject},
	{name: "GetObjectAttributes", action: "s3:GetObjectAttributes", method: "GET", level: objectLevel, need: []string{"attributes"}, may: []string{"versionId"},
		headers: []string{"x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"}, serve: getObjectAttributes},
	{name: "GetObjectTagging", action: "s3:GetObjectTagging", method: "GET", level: objectLevel, need: []string{"tagging"}, may: []string{"versionId"},
		serve: getObjectTagging},
	{name: "PutObjectTagging", action: "s3:PutObjectTagging", method: "PUT", level: objectLevel, need: []string{"tagging"}, may: []string{"versionId"}, body: true,
		headers: join(checksums, chunks), serve: putObjectTagging},
	{name: "DeleteObjectTagging", action: "s3:DeleteObjectTagging", method: "DELETE", level: objectLevel, need: []string{"tagging"}, may: []string{"versionId"},
		serve: deleteObjectTagging},
	{name: "DeleteObject", action: "s3:DeleteObject", method: "DELETE", level: objectLevel, may: []string{"versionId"},
		headers: join(bypassHeaders, forceHeaders, []string{"if-match", "x-amz-if-match-size", "x-amz-if-match-last-modified-time"}), serve: deleteObject},
	{name: "GetObjectRetention", action: "s3:GetObjectRetention", method: "GET", level: objectLevel, need: []string{"retention"}, may: []string{"versionId"},
		serve: getRetention},
	{name: "PutObjectRetention", action: "s3:PutObjectRetention", method: "PUT", level: objectLevel, need: []string{"retention"}, may: []string{"versionId"}, body: true,
		headers: join(checksums, chunks, bypassHeaders), serve: putRetention},
	{name: "GetObjectLegalHold", action: "s3:GetObjectLegalHold", method: "GET", level: objectLevel, need: []string{"legal-hold"}, may: []string{"versionId"},
		serve: getLegalHold},
	{name: "PutObjectLegalHold", action: "s3:PutObjectLegalHold", method: "PUT", level: objectLevel, need: []string{"legal-hold"}, may: []string{"versionId"}, body: true,
		headers: join(checksums, chunks), serve: putLegalHold},
	{name: "RenameObject", action: "s3:PutObject", method: "PUT", level: objectLevel, need: []string{"renameObject"}, headers: renameHeaders, serve: renameObject},
	{name: "RenamePrefix", action: "s3:PutObject", method: "PUT", level: objectLevel, need: []string{"renamePrefix"},
		headers: []string{"x-amz-rename-source"}, serve: renamePrefix},

	{name: "CreateMultipartUpload", action: "s3:PutObject", method: "POST", level: objectLevel, need: []string{"uploads"},
		headers: join(attributes, asked, lockHeaders), serve: createUpload},
	{name: "UploadPart", action: "s3:PutObject", method: "PUT", level: objectLevel, need: []string{"partNumber=", "uploadId="}, body: true,
		headers: join(checksums, chunks, asked), serve: uploadPart},
	{name: "UploadPartCopy", action: "s3:PutObject", method: "PUT", level: objectLevel, need: []string{"partNumber=", "uploadId="}, copy: true,
		headers: join(copies, []string{"x-amz-copy-source-range"}), serve: copyPart},
	{name: "ListParts", action: "s3:ListMultipartUploadParts", method: "GET", level: objectLevel, need: []string{"uploadId="},
		may: []string{"max-parts", "part-number-marker", "encoding-type"}, serve: listParts},
	{name: "CompleteMultipartUpload", action: "s3:PutObject", method: "POST", level: objectLevel, need: []string{"uploadId="}, body: true,
		headers: join(checksums, []string{"x-amz-checksum-type", "x-amz-mp-object-size", "if-match", "if-none-match", "content-md5"}), serve: completeUpload},
	{name: "AbortMultipartUpload", action: "s3:AbortMultipartUpload", method: "DELETE", level: objectLevel, need: []string{"uploadId="}, serve: abortUpload},
}, absent...)

// match finds the operation of a request: of those whose needs are met, the one with the most needs.
func match(method string, l level, query sigv4.Query, h http.Header) (*route, error) {
	var best *route
	var allowed []string
	for i := range routes {
		rt := &routes[i]
		if rt.level != l || rt.copy && h.Get(copySource) == "" {
			continue
		}
		if !slices.Contains(allowed, rt.method) {
			allowed = append(allowed, rt.method)
		}
		if rt.method == method && rt.needs(query) && (best == nil || rt.weight() > best.weight()) {
			best = rt
		}
	}
	if best != nil {
		return best, best.checkQuery(query)
	}
	if len(query) > 0 {
		return nil, notImplemented("parameter", query[0].Name)
	}
	f := fault("MethodNotAllowed", wire.Field{Name: "Method", Value: method}, wire.Field{Name: "ResourceType", Value: l.String()})
	f.headers = map[string]string{"Allow": strings.Join(allowed, ", ")}
	return nil, f
}

// weight grows with what tells an operation from others.
func (rt *route) weight() int {
	if rt.copy {
		return 2*len(rt.need) + 1
	}
	return 2 * len(rt.need)
}

// needs reports whether the query has every parameter that the route needs.
func (rt *route) needs(query sigv4.Query) bool {
	for _, need := range rt.need {
		name, want, hasValue := strings.Cut(need, "=")
		value, ok := query.Get(name)
		if !ok || !hasValue && value != "" || want != "" && value != want {
			return false
		}
	}
	return true
}

// checkQuery refuses parameters that the route does not name, and repeated ones. x-id is what SDKs add to name the operation.
func (rt *route) checkQuery(query sigv4.Query) error {
	for i, p := range query {
		if slices.ContainsFunc(query[:i], func(q sigv4.Param) bool { return q.Name == p.Name }) {
			return invalid(p.Name, p.Value, "The parameter was given more than once.")
		}
		needed := slices.ContainsFunc(rt.need, func(need string) bool { n, _, _ := strings.Cut(need, "="); return n == p.Name })
		if needed || slices.Contains(rt.may, p.Name) || p.Name == "x-id" && p.Value == rt.name {
			continue
		}
		return notImplemented("parameter", p.Name)
	}
	return nil
}

// everywhere are the headers with a meaning that every operation understands.
var everywhere = []string{"x-amz-date", "x-amz-content-sha256", "x-amz-user-agent"}

// meaningful tells headers that may change what a request means from the rest, which HTTP lets everybody ignore.
func meaningful(name string) bool {
	for _, prefix := range []string{"x-amz-", "x-minio-", "x-rustfs-", "x-rgw-", "if-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "range" || name == "content-range" || name == "content-md5"
}

// checkHeaders refuses headers that could change the meaning of the request and that the route does not name.
func (rt *route) checkHeaders(h http.Header) error {
	var names []string
	for name, values := range h {
		lower := strings.ToLower(name)
		if !meaningful(lower) {
			continue
		}
		if !rt.allows(lower) {
			names = append(names, lower)
		} else if len(values) > 1 && !strings.HasPrefix(lower, "x-amz-meta-") && lower != "x-amz-trailer" && lower != "if-match" && lower != "if-none-match" && lower != "x-amz-object-attributes" {
			return invalid(lower, values[1], "The header was given more than once.")
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return notImplemented("header", names[0])
}

func (rt *route) allows(name string) bool {
	if slices.Contains(everywhere, name) || name == "x-amz-expected-bucket-owner" && rt.level != service {
		return true
	}
	return listed(rt.headers, name)
}

// listed reports whether a list, in which a trailing "*" stands for any rest, has a name.
func listed(list []string, name string) bool {
	return slices.ContainsFunc(list, func(allowed string) bool {
		prefix, any := strings.CutSuffix(allowed, "*")
		return allowed == name || any && strings.HasPrefix(name, prefix)
	})
}

// statusOK is what most operations answer with.
const statusOK = http.StatusOK
