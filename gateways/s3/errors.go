package s3

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"

	"holdfast/engine"
	"holdfast/gateways"
	"holdfast/gateways/s3/sigv4"
	"holdfast/gateways/s3/wire"
)

// kindCodes is the one table from what the engine says to what S3 says.
var kindCodes = map[engine.Kind]string{
	engine.KindInternal:           "InternalError",
	engine.KindInvalidArgument:    "InvalidArgument",
	engine.KindKeyTooLong:         "KeyTooLongError",
	engine.KindNoSuchBucket:       "NoSuchBucket",
	engine.KindBucketExists:       "BucketAlreadyOwnedByYou", // there is one owner
	engine.KindBucketNotEmpty:     "BucketNotEmpty",
	engine.KindNoSuchKey:          "NoSuchKey",
	engine.KindNoSuchVersion:      "NoSuchVersion",
	engine.KindDeleteMarker:       "MethodNotAllowed",
	engine.KindNoSuchUpload:       "NoSuchUpload",
	engine.KindInvalidPart:        "InvalidPart",
	engine.KindInvalidPartOrder:   "InvalidPartOrder",
	engine.KindPartTooSmall:       "EntityTooSmall",
	engine.KindPreconditionFailed: "PreconditionFailed",
	engine.KindNotModified:        "NotModified",
	engine.KindConflict:           "OperationAborted",
	engine.KindInvalidRange:       "InvalidRange",
	engine.KindBadDigest:          "BadDigest",
	engine.KindIncompleteBody:     "IncompleteBody",
	engine.KindEntityTooLarge:     "EntityTooLarge",
	engine.KindAccessDenied:       "AccessDenied",
	engine.KindSlowDown:           "SlowDown",
	engine.KindUnavailable:        "ServiceUnavailable",
	engine.KindDriveFull:          "XMinioStorageFull",
	engine.KindQuota:              "QuotaExceeded",
	engine.KindDamaged:            "InternalError", // S3 has no word for it
	engine.KindNotImplemented:     "NotImplemented",
	engine.KindCanceled:           "ServiceUnavailable", // the outcome is not known
	engine.KindLocked:             "AccessDenied",
	engine.KindNoLock:             "InvalidRequest",
	engine.KindBucketState:        "InvalidBucketState",
	engine.KindInvalidOffset:      "InvalidWriteOffset",
	// Calls of files alone answer with these.
	engine.KindExists:          "InvalidRequest",
	engine.KindNotDirectory:    "InvalidRequest",
	engine.KindIsDirectory:     "InvalidRequest",
	engine.KindNotEmpty:        "InvalidRequest",
	engine.KindTooManyLinks:    "InvalidRequest",
	engine.KindNoSuchAttribute: "InvalidRequest",
	engine.KindExpired:         "InvalidRequest",
	engine.KindHeld:            "InvalidRequest",
	engine.KindRescan:          "InvalidRequest",
}

// retryAfter is what a client is told to wait when the server could not serve it.
const retryAfter = "1"

// apiFault is an error of the API.
type apiFault struct {
	code    string
	message string
	status  int
	fields  []wire.Field
	headers map[string]string
}

func (f *apiFault) Error() string { return f.code + ": " + f.message }

// fault makes an error with the API reference's text.
func fault(code string, fields ...wire.Field) *apiFault {
	return &apiFault{code: code, message: wire.Message(code), status: wire.Status(code), fields: fields}
}

// faultf makes an error with a text of its own.
func faultf(code, message string, fields ...wire.Field) *apiFault {
	f := fault(code, fields...)
	f.message = message
	return f
}

// invalid is the error of a parameter or header.
func invalid(name, value, message string) *apiFault {
	return faultf("InvalidArgument", message, wire.Field{Name: "ArgumentName", Value: name}, wire.Field{Name: "ArgumentValue", Value: value})
}

// notImplemented is the error of something that is not in the table of operations.
func notImplemented(kind, name string) *apiFault {
	return faultf("NotImplemented", "The "+kind+" "+strconv.Quote(name)+" implies functionality that is not implemented.", wire.Field{Name: kindField[kind], Value: name})
}

var kindField = map[string]string{"header": "Header", "parameter": "ResourceType", "value of the header": "Header", "form field": "ArgumentName"}

// faultOf finds the API's error in err: a fault, a refusal of the signature or the body, or a Kind.
func faultOf(err error, c *call) *apiFault {
	var f *apiFault
	var refused *sigv4.Error
	var malformed *wire.Malformed
	var form *wire.FormError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &refused):
		return refusal(refused, c.g.Region)
	case errors.As(err, &form):
		return faultf(form.Code, form.Message, form.Fields...)
	case errors.As(err, &malformed):
		return faultf("MalformedXML", wire.Message("MalformedXML")+": "+malformed.Reason)
	case errors.Is(err, gateways.ErrCrowded):
		f := fault("SlowDown")
		f.headers = map[string]string{"Connection": "close"}
		return f
	case errors.Is(err, gateways.ErrSlow):
		f := fault("RequestTimeout")
		f.headers = map[string]string{"Connection": "close"}
		return f
	}
	return kindFault(err, c)
}

func refusal(e *sigv4.Error, region string) *apiFault {
	f := faultf(e.Code, e.Message)
	for _, field := range e.Fields {
		f.fields = append(f.fields, wire.Field(field))
		if field.Name == "Region" {
			f.headers = map[string]string{"X-Amz-Bucket-Region": region}
		}
	}
	return f
}

func kindFault(err error, c *call) *apiFault {
	kind := engine.KindOf(err)
	f := fault(kindCodes[kind])
	switch kind { // why the server failed is for its log: it names drives and extents, which are none of the client's business
	case engine.KindInvalidArgument, engine.KindNotImplemented:
		f.message += ": " + cause(err)
	case engine.KindConflict: // not every one goes away when the request is repeated
		f.message = "The operation conflicts with another, or with what is there: " + cause(err)
	}
	switch kind {
	case engine.KindLocked:
		f.message = "Access Denied because object protected by object lock."
	case engine.KindNoLock:
		f.message = noLocks
	case engine.KindBucketState:
		f.message += " (" + cause(err) + ")"
	}
	ref := engine.RefOf(err) // of a copy it may be the source
	switch kind {
	case engine.KindNoSuchBucket, engine.KindBucketExists, engine.KindBucketNotEmpty:
		f.fields = []wire.Field{{Name: "BucketName", Value: string(cmp.Or(ref.Bucket, c.bucket))}}
	case engine.KindNoSuchKey:
		f.fields = []wire.Field{{Name: "Key", Value: string(cmp.Or(ref.Key, c.key))}}
	case engine.KindNoSuchVersion:
		f.fields = []wire.Field{{Name: "Key", Value: string(cmp.Or(ref.Key, c.key))}, {Name: "VersionId", Value: cmp.Or(string(ref.Version), c.param("versionId"))}}
	case engine.KindDeleteMarker:
		f.fields = []wire.Field{{Name: "Method", Value: c.r.Method}, {Name: "ResourceType", Value: "DeleteMarker"}}
		f.headers = map[string]string{"Allow": "DELETE"}
	case engine.KindNoSuchUpload:
		f.fields = []wire.Field{{Name: "UploadId", Value: c.param("uploadId")}}
	case engine.KindPreconditionFailed:
		f.fields = []wire.Field{{Name: "Condition", Value: firstCondition(c.r.Header)}}
	}
	if f.status == http.StatusServiceUnavailable {
		f.headers = map[string]string{"Retry-After": retryAfter}
	}
	if marker, marked := engine.MarkerOf(err); marker != "" && !c.route.copy {
		if f.headers == nil {
			f.headers = map[string]string{}
		}
		f.headers["X-Amz-Delete-Marker"], f.headers["X-Amz-Version-Id"] = "true", string(marker)
		if kind == engine.KindDeleteMarker {
			f.headers["Last-Modified"] = marked.UTC().Format(http.TimeFormat)
		}
	}
	return f
}

// cause is what is said where an error was found, without what was done to what: the client knows that.
func cause(err error) string {
	var e *engine.Error
	for errors.As(err, &e) && e.Err != nil {
		err = e.Err
	}
	return err.Error()
}

// firstCondition names the condition that a 412 is about, as far as the request tells.
func firstCondition(h http.Header) string {
	for _, name := range []string{"If-Match", "If-Unmodified-Since", "If-None-Match", "X-Amz-If-Match-Size", "X-Amz-If-Match-Last-Modified-Time",
		copySource + "-If-Match", copySource + "-If-Unmodified-Since", copySource + "-If-None-Match", copySource + "-If-Modified-Since",
		renameSource + "-If-Match", renameSource + "-If-Unmodified-Since", renameSource + "-If-None-Match", renameSource + "-If-Modified-Since"} {
		if h.Get(name) != "" {
			return name
		}
	}
	return ""
}
