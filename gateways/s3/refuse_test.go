package s3_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"holdfast/gateways/s3"
	"holdfast/gateways/s3/sigv4"
)

// apiOperations is the list of operations of the S3 API reference: name, method, target (b is a bucket, k a key).
const apiOperations = `
AbortMultipartUpload DELETE /b/k?uploadId=1
CompleteMultipartUpload POST /b/k?uploadId=1
CopyObject PUT /b/k x-amz-copy-source=/b/x
CreateBucket PUT /b
CreateBucketMetadataConfiguration POST /b?metadataConfiguration
CreateBucketMetadataTableConfiguration POST /b?metadataTable
CreateMultipartUpload POST /b/k?uploads
CreateSession GET /b?session
DeleteBucket DELETE /b
DeleteBucketAnalyticsConfiguration DELETE /b?analytics&id=1
DeleteBucketCors DELETE /b?cors
DeleteBucketEncryption DELETE /b?encryption
DeleteBucketIntelligentTieringConfiguration DELETE /b?intelligent-tiering&id=1
DeleteBucketInventoryConfiguration DELETE /b?inventory&id=1
DeleteBucketLifecycle DELETE /b?lifecycle
DeleteBucketMetadataConfiguration DELETE /b?metadataConfiguration
DeleteBucketMetadataTableConfiguration DELETE /b?metadataTable
DeleteBucketMetricsConfiguration DELETE /b?metrics&id=1
DeleteBucketOwnershipControls DELETE /b?ownershipControls
DeleteBucketPolicy DELETE /b?policy
DeleteBucketReplication DELETE /b?replication
DeleteBucketTagging DELETE /b?tagging
DeleteBucketWebsite DELETE /b?website
DeleteObject DELETE /b/k
DeleteObjects POST /b?delete
DeleteObjectTagging DELETE /b/k?tagging
DeletePublicAccessBlock DELETE /b?publicAccessBlock
GetBucketAbac GET /b?abac
GetBucketAccelerateConfiguration GET /b?accelerate
GetBucketAcl GET /b?acl
GetBucketAnalyticsConfiguration GET /b?analytics&id=1
GetBucketCors GET /b?cors
GetBucketEncryption GET /b?encryption
GetBucketIntelligentTieringConfiguration GET /b?intelligent-tiering&id=1
GetBucketInventoryConfiguration GET /b?inventory&id=1
GetBucketLifecycleConfiguration GET /b?lifecycle
GetBucketLocation GET /b?location
GetBucketLogging GET /b?logging
GetBucketMetadataConfiguration GET /b?metadataConfiguration
GetBucketMetadataTableConfiguration GET /b?metadataTable
GetBucketMetricsConfiguration GET /b?metrics&id=1
GetBucketNotificationConfiguration GET /b?notification
GetBucketOwnershipControls GET /b?ownershipControls
GetBucketPolicy GET /b?policy
GetBucketPolicyStatus GET /b?policyStatus
GetBucketReplication GET /b?replication
GetBucketRequestPayment GET /b?requestPayment
GetBucketTagging GET /b?tagging
GetBucketVersioning GET /b?versioning
GetBucketWebsite GET /b?website
GetObject GET /b/k
GetObjectAcl GET /b/k?acl
GetObjectAttributes GET /b/k?attributes x-amz-object-attributes=ETag
GetObjectLegalHold GET /b/k?legal-hold
GetObjectLockConfiguration GET /b?object-lock
GetObjectRetention GET /b/k?retention
GetObjectTagging GET /b/k?tagging
GetObjectTorrent GET /b/k?torrent
GetPublicAccessBlock GET /b?publicAccessBlock
HeadBucket HEAD /b
HeadObject HEAD /b/k
ListBucketAnalyticsConfigurations GET /b?analytics
ListBucketIntelligentTieringConfigurations GET /b?intelligent-tiering
ListBucketInventoryConfigurations GET /b?inventory
ListBucketMetricsConfigurations GET /b?metrics
ListBuckets GET /
ListDirectoryBuckets GET /?max-directory-buckets=1
ListMultipartUploads GET /b?uploads
ListObjects GET /b
ListObjectsV2 GET /b?list-type=2
ListObjectVersions GET /b?versions
ListParts GET /b/k?uploadId=1
PostObject POST /b
PutBucketAbac PUT /b?abac
PutBucketAccelerateConfiguration PUT /b?accelerate
PutBucketAcl PUT /b?acl
PutBucketAnalyticsConfiguration PUT /b?analytics&id=1
PutBucketCors PUT /b?cors
PutBucketEncryption PUT /b?encryption
PutBucketIntelligentTieringConfiguration PUT /b?intelligent-tiering&id=1
PutBucketInventoryConfiguration PUT /b?inventory&id=1
PutBucketLifecycleConfiguration PUT /b?lifecycle
PutBucketLogging PUT /b?logging
PutBucketMetricsConfiguration PUT /b?metrics&id=1
PutBucketNotificationConfiguration PUT /b?notification
PutBucketOwnershipControls PUT /b?ownershipControls
PutBucketPolicy PUT /b?policy
PutBucketReplication PUT /b?replication
PutBucketRequestPayment PUT /b?requestPayment
PutBucketTagging PUT /b?tagging
PutBucketVersioning PUT /b?versioning
PutBucketWebsite PUT /b?website
PutObject PUT /b/k
PutObjectAcl PUT /b/k?acl
PutObjectLegalHold PUT /b/k?legal-hold
PutObjectLockConfiguration PUT /b?object-lock
PutObjectRetention PUT /b/k?retention
PutObjectTagging PUT /b/k?tagging
PutPublicAccessBlock PUT /b?publicAccessBlock
RenameObject PUT /b/k?renameObject x-amz-rename-source=/b/x
RestoreObject POST /b/k?restore
SelectObjectContent POST /b/k?select&select-type=2
UpdateBucketMetadataInventoryTableConfiguration PUT /b?metadataInventoryTable
UpdateBucketMetadataJournalTableConfiguration PUT /b?metadataJournalTable
UpdateObjectEncryption PUT /b/k?encryption
UploadPart PUT /b/k?partNumber=1&uploadId=1
UploadPartCopy PUT /b/k?partNumber=1&uploadId=1 x-amz-copy-source=/b/x
WriteGetObjectResponse POST /WriteGetObjectResponse x-amz-request-route=1
`

// TestEveryOperationIsInTheTableOrRefused sends the shape of every operation of S3. What the table does not have is answered with
// NotImplemented or MethodNotAllowed, and the engine hears nothing of it.
func TestEveryOperationIsInTheTableOrRefused(t *testing.T) {
	f := start(t)
	known := map[string]bool{}
	for _, rt := range s3.Routes() {
		known[rt.Name] = true
	}
	listed := 0
	for _, line := range strings.Split(strings.TrimSpace(apiOperations), "\n") {
		fields := strings.Fields(line)
		a := ask{method: fields[1], target: strings.Replace(fields[2], "/b", "/bucket", 1)}
		if len(fields) > 3 {
			name, value, _ := strings.Cut(fields[3], "=")
			a.headers = []string{name, value}
		}
		if known[fields[0]] {
			listed++
			if r := f.do(a); r.status == 501 || r.status == 405 {
				t.Errorf("%s is in the table but answers %d", fields[0], r.status)
			}
			continue
		}
		before := f.engine.calls.Load()
		if r := f.do(a); r.code() != "NotImplemented" && r.code() != "MethodNotAllowed" {
			t.Errorf("%s: %d %s", fields[0], r.status, r.body)
		}
		if f.engine.calls.Load() != before {
			t.Errorf("%s reached the engine", fields[0])
		}
	}
	if own := []string{"RenamePrefix"}; listed != len(s3.Routes())-len(own) {
		t.Errorf("%d of %d rows of the table are operations of S3, %d are to be ours", listed, len(s3.Routes()), len(own))
	}
}

// TestUnknownMeansNo adds to requests that are right something that would change their meaning.
func TestUnknownMeansNo(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "old"}, 200, "")
	before := f.engine.calls.Load()
	for _, target := range []string{"?xyz", "?renameObject&x", "?renamePrefix&x", "?append&position=0", "?annotation", "?acl", "?tagging&append", "?versionId=null", "?partNumber=1", "?uploads",
		"?uploadId=1", "?x-id=GetObject", "?X-Amz-Acl=private", "?legal-hold&x", "?torrent", "?x=1&y=2"} {
		f.want(ask{method: "PUT", target: "/bucket/k" + target, body: "new"}, 501, "NotImplemented")
	}
	for _, header := range []string{"x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm", "x-amz-tagging-directive",
		"x-amz-bypass-governance-retention", "x-amz-client-token", "x-amz-website-redirect-location", "x-amz-rename-source",
		"x-amz-grant-read", "x-amz-request-payer", "x-amz-unknown", "x-amz-checksum-md4", "x-amz-mp-object-size", "x-minio-source-etag", "x-rgw-x",
		"if-modified-since", "if-unmodified-since", "if-range", "range", "content-range", "x-amz-if-match-size"} {
		f.want(ask{method: "PUT", target: "/bucket/k", body: "new", headers: []string{header, "1"}}, 501, "NotImplemented")
	}
	for _, acl := range []string{"public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read", "log-delivery-write"} {
		f.want(ask{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"x-amz-acl", acl}}, 501, "NotImplemented")
	}
	for _, target := range []string{"/bucket/k", "/bucket-x"} {
		f.want(ask{method: "PUT", target: target, headers: []string{"x-amz-acl", "public-ready"}}, 400, "InvalidArgument")
	}
	f.want(ask{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"x-amz-storage-class", "GLACIER"}}, 400, "InvalidStorageClass")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"if-none-match", `"`}}, 400, "InvalidArgument")
	for _, a := range []ask{
		{method: "DELETE", target: "/bucket/k", headers: []string{"if-none-match", "*"}}, {method: "DELETE", target: "/bucket/k?tagging&force"},
		{method: "PUT", target: "/bucket/k", headers: []string{"x-minio-force-delete", "true"}}, {method: "DELETE", target: "/bucket?force"},
		{method: "DELETE", target: "/bucket/k?tagging", headers: []string{"x-minio-force-delete", "true"}}, {method: "DELETE", target: "/bucket", headers: []string{"x-rustfs-force-delete", "true"}},
		{method: "DELETE", target: "/bucket/k?tagging", headers: []string{"x-amz-bypass-governance-retention", "true"}},
		{method: "GET", target: "/bucket/k", headers: []string{"x-amz-object-lock-mode", "GOVERNANCE"}},
		{method: "PUT", target: "/bucket/k?renameObject", headers: []string{"x-amz-rename-source", "/bucket/x", "if-modified-since", "Mon, 02 Jan 2006 15:04:05 GMT"}},
		{method: "PUT", target: "/bucket/k/?renamePrefix", headers: []string{"x-amz-rename-source", "/bucket/x/", "if-none-match", "*"}},
		{method: "GET", target: "/bucket/k?tagging&partNumber=1"}, {method: "GET", target: "/bucket/k", headers: []string{"x-minio-extract", "true"}},
		{method: "GET", target: "/bucket?list-type=2&metadata=true"}, {method: "GET", target: "/bucket?list-type=3"},
		{method: "GET", target: "/bucket?list-type=2&marker=x"}, {method: "GET", target: "/bucket?location&x"}, {method: "POST", target: "/bucket?delete&x"},
		{method: "POST", target: "/?Action=AssumeRole"}, {method: "GET", target: "/bucket?acl=x"},
		{method: "PUT", target: "/bucket", headers: []string{"x-amz-object-ownership", "ObjectWriter"}},
		{method: "PUT", target: "/bucket/k", headers: []string{"x-amz-copy-source", "/bucket/x", "x-amz-copy-source-range", "bytes=0-1"}},
		{method: "PUT", target: "/bucket/k", headers: []string{"x-amz-copy-source", "/bucket/x", "x-amz-copy-source-server-side-encryption-customer-algorithm", "AES256"}},
		{method: "PUT", target: "/bucket/k", headers: []string{"x-amz-copy-source", "arn:aws:s3:eu-west-1:1:accesspoint/a/object/k"}},
		{method: "PUT", target: "/bucket/k?acl", headers: []string{"x-amz-copy-source", "/bucket/x"}},
		{method: "GET", target: "/bucket/k", headers: []string{"x-amz-copy-source", "/bucket/x"}},
	} {
		f.want(a, 501, "NotImplemented")
	}
	for _, a := range []ask{
		{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"x-amz-object-lock-mode", "GOVERNANCE"}},
		{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"x-amz-object-lock-mode", "x", "x-amz-object-lock-retain-until-date", "2100-01-01T00:00:00Z"}},
		{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", "2001-01-01T00:00:00Z"}},
		{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", "soon"}},
		{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"x-amz-object-lock-legal-hold", "on"}},
		{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"x-amz-write-offset-bytes", "-1"}},
		{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"x-amz-write-offset-bytes", "all"}},
		{method: "DELETE", target: "/bucket/k", headers: []string{"x-amz-bypass-governance-retention", "yes"}},
		{method: "DELETE", target: "/bucket/k", headers: []string{"x-minio-force-delete", "yes"}}, {method: "DELETE", target: "/bucket", headers: []string{"x-minio-force-delete", "1"}},
		{method: "PUT", target: "/bucket", headers: []string{"x-amz-bucket-object-lock-enabled", "yes"}},
		{method: "PUT", target: "/bucket/k?renameObject", headers: []string{"x-amz-rename-source", "/other/x"}},
		{method: "PUT", target: "/bucket/k?renameObject", headers: []string{"x-amz-rename-source", "x"}},
		{method: "PUT", target: "/bucket/k?renameObject", headers: []string{"x-amz-rename-source", "/bucket/x", "x-amz-client-token", strings.Repeat("t", 65)}},
	} {
		f.want(a, 400, "InvalidArgument")
	}
	for _, a := range []ask{{method: "POST", target: "/bucket/k"}, {method: "PATCH", target: "/bucket/k"}, {method: "POST", target: "/"}, {method: "DELETE", target: "/"},
		{method: "PUT", target: "/"}, {method: "TRACE", target: "/bucket"}} {
		if r := f.want(a, 405, "MethodNotAllowed"); r.header.Get("Allow") == "" {
			t.Error("a 405 without Allow")
		}
	}
	f.want(ask{method: "GET", target: "/bucket?prefix=a&prefix=b"}, 400, "InvalidArgument")
	f.want(ask{method: "GET", target: "/bucket/k?versionId=abc"}, 400, "InvalidArgument")
	f.want(ask{method: "DELETE", target: "/bucket/k?versionId=abc"}, 400, "InvalidArgument")
	f.want(ask{method: "GET", target: "/bucket/k", body: "x"}, 400, "UnexpectedContent")
	f.want(ask{method: "DELETE", target: "/bucket/k", body: "x"}, 400, "UnexpectedContent")
	f.want(ask{method: "OPTIONS", target: "/bucket/k"}, 400, "BadRequest")
	f.want(ask{method: "OPTIONS", target: "/bucket/k", headers: []string{"Origin", "http://x"}}, 400, "BadRequest")
	f.want(ask{method: "OPTIONS", target: "/bucket/k", headers: []string{"Origin", "http://x", "Access-Control-Request-Method", "GET"}}, 403, "AccessForbidden")
	f.want(ask{method: "POST", target: "/bucket", body: "x"}, 412, "PreconditionFailed")
	for _, target := range []string{"/minio/health/live", "/minio", "/BUCKET/k", "/ab", "/bu%2Fcket/k", "/1.2.3.4/x", "/..%2Fbucket/k"} {
		f.want(ask{method: "GET", target: target}, 400, "InvalidBucketName")
	}
	if r := f.want(ask{method: "PUT", target: "/minio"}, 400, "InvalidBucketName"); !strings.Contains(r.body, "name minio is reserved") {
		t.Errorf("the refusal of the reserved name: %s", r.body)
	}
	for _, target := range []string{"/bucket/%ff", "/bucket/%c0%80"} {
		f.want(ask{method: "PUT", target: target, body: "x"}, 400, "InvalidURI")
	}
	f.want(ask{method: "PUT", target: "/bucket/" + strings.Repeat("k", 1025), body: "x"}, 400, "KeyTooLongError")
	for _, owner := range []string{"123456789012", "x"} {
		f.want(ask{method: "PUT", target: "/bucket/k", body: "new", headers: []string{"x-amz-expected-bucket-owner", owner}}, 403, "AccessDenied")
	}
	if calls := f.engine.calls.Load(); calls != before {
		t.Errorf("%d calls reached the engine", calls-before)
	}
	if r := f.want(ask{method: "GET", target: "/bucket/k"}, 200, ""); r.body != "old" {
		t.Errorf("the object became %q", r.body)
	}
}

// TestAuthenticationOfEveryRoute is the matrix of ways to sign, routes, and ways to get it wrong. Nothing wrong reaches the engine.
func TestAuthenticationOfEveryRoute(t *testing.T) {
	f := start(t)
	ways := map[string]func(*fixture, *http.Request, []byte){"header": signHeader, "unsigned payload": signUnsigned, "presigned": signQuery, "chunks": signChunks,
		"version 2": signV2, "version 2 presigned": presignV2, "unsigned trailer": trailing(false, "x-amz-checksum-crc32", "AAAAAA=="), "signed trailer": trailing(true, "x-amz-checksum-crc32", "AAAAAA==")}
	withKey := func(access, secret string, way func(*fixture, *http.Request, []byte)) func(*fixture, *http.Request, []byte) {
		return func(f *fixture, r *http.Request, body []byte) {
			other := *f
			other.signer = sigv4.Signer{AccessKey: access, SecretKey: secret, Region: "us-east-1"}
			way(&other, r, body)
		}
	}
	drop := func(r *http.Request) {
		r.Header.Del("Authorization")
		for _, first := range []string{"X-Amz-Algorithm", "AWSAccessKeyId"} {
			if q, _, ok := strings.Cut(r.URL.RawQuery, first); ok {
				r.URL.RawQuery = strings.TrimSuffix(q, "&")
			}
		}
	}
	const denied = "AccessDenied SignatureDoesNotMatch InvalidAccessKeyId"
	for _, rt := range s3.Routes() {
		target := map[string]string{"SERVICE": "/", "BUCKET": "/bucket", "OBJECT": "/bucket/key"}[rt.Level]
		var query []string
		for _, need := range rt.Need {
			if strings.HasSuffix(need, "=") {
				need += "1"
			}
			query = append(query, need)
		}
		if len(query) > 0 {
			target += "?" + strings.Join(query, "&")
		}
		for name, way := range ways {
			streaming := name == "chunks" || strings.HasSuffix(name, "trailer")
			if streaming && rt.Name != "PutObject" && rt.Name != "UploadPart" && rt.Name != "DeleteObjects" {
				continue
			}
			target, headers := target, []string(nil)
			switch {
			case rt.Copy && strings.HasSuffix(name, "presigned") && len(query) > 0:
				target += "&x-amz-copy-source=%2Fbucket%2Fsource"
			case rt.Copy && strings.HasSuffix(name, "presigned"):
				target += "?x-amz-copy-source=%2Fbucket%2Fsource"
			case rt.Copy:
				headers = []string{"x-amz-copy-source", "/bucket/source"}
			}
			a := ask{method: rt.Method, target: target, headers: headers, sign: way}
			if r := f.do(a); r.status == 403 || r.status == 501 || r.status == 405 {
				t.Errorf("%s, %s, good: %d %s", rt.Name, name, r.status, r.body)
			}
			before := f.engine.calls.Load()
			for wrong, a := range map[string]ask{
				"bad secret":    {sign: withKey(accessKey, "other-secret", way)},
				"unknown key":   {sign: withKey("unknown", secretKey, way)},
				"no signature":  {sign: way, change: drop},
				"other path":    {sign: way, change: func(r *http.Request) { r.URL.Path += "x" }},
				"other host":    {sign: way, change: func(r *http.Request) { r.Host = "other" }},
				"extra header":  {sign: way, change: func(r *http.Request) { r.Header.Set("X-Amz-Meta-Extra", "1") }},
				"extra owner":   {sign: way, change: func(r *http.Request) { r.Header.Set("X-Amz-Expected-Bucket-Owner", "1") }},
				"extra query":   {sign: way, change: func(r *http.Request) { addQuery(r.URL, "prefix=x") }},
				"other payload": {sign: way, change: func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", sigv4.PayloadHash([]byte("z"))) }},
			} {
				if strings.HasPrefix(name, "version 2") && (wrong == "other host" || wrong == "extra query") {
					continue // Version 2 covers the bucket in the host, and parameters that name an operation
				}
				a.method, a.target, a.headers = rt.Method, target, headers
				r := f.do(a)
				if rt.Method == "HEAD" {
					if r.status != 403 || r.body != "" {
						t.Errorf("%s, %s, %s: %d %q", rt.Name, name, wrong, r.status, r.body)
					}
				} else if code := r.code(); code == "" || !strings.Contains(denied, code) {
					t.Errorf("%s, %s, %s: %d %s", rt.Name, name, wrong, r.status, r.body)
				}
				if strings.Contains(r.body, secretKey) {
					t.Fatal("the secret is in an answer")
				}
			}
			if f.engine.calls.Load() != before {
				t.Errorf("%s, %s: a request with a wrong signature reached the engine", rt.Name, name)
			}
		}
	}
}

func addQuery(u *url.URL, pair string) {
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += pair
}
