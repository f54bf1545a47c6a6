// Package wire is how S3 looks on the wire: XML documents in and out, forms of browsers and their policies, error codes with their
// statuses, and time formats.
//
// Promise: a document that arrives is read within limits, and an element that it does not know is an error, never ignored; a
// document that leaves carries every key exactly, whatever bytes it has.
//
// The package does not know HTTP requests, signatures or the engine's behaviour; it uses the engine's types as words.
//
// Source: the S3 API reference, "Error responses" and the pages of the operations.
package wire

import "net/http"

// Field is a named element of an error body.
type Field struct{ Name, Value string }

// code is what the API reference says about an error code.
type code struct {
	status  int
	message string
}

// codes has a row for every error code that the gateway answers with.
var codes = map[string]code{
	"AccessDenied":                            {403, "Access Denied"},
	"AccessForbidden":                         {403, "CORSResponse: CORS is not enabled for this bucket."},
	"AuthorizationHeaderMalformed":            {400, "The authorization header you provided is invalid."},
	"AuthorizationQueryParametersError":       {400, "The authorization query parameters that you provided are not valid."},
	"BadDigest":                               {400, "The Content-MD5 or checksum value that you specified did not match what the server received."},
	"BadRequest":                              {400, "Bad Request"},
	"BucketAlreadyOwnedByYou":                 {409, "Your previous request to create the named bucket succeeded and you already own it."},
	"BucketNotEmpty":                          {409, "The bucket you tried to delete is not empty."},
	"EntityTooLarge":                          {400, "Your proposed upload exceeds the maximum allowed object size."},
	"EntityTooSmall":                          {400, "Your proposed upload is smaller than the minimum allowed object size."},
	"IllegalVersioningConfigurationException": {400, "The versioning configuration specified in the request is invalid."},
	"IllegalLocationConstraintException":      {400, "The specified location constraint is not valid for the Region that this endpoint serves."},
	"IncompleteBody":                          {400, "You did not provide the number of bytes specified by the Content-Length HTTP header."},
	"InternalError":                           {500, "An internal error occurred. Try again."},
	"InvalidAccessKeyId":                      {403, "The AWS access key ID that you provided does not exist in our records."},
	"InvalidArgument":                         {400, "Invalid Argument"},
	"InvalidBucketState":                      {409, "The request is not valid for the current state of the bucket."},
	"InvalidWriteOffset":                      {400, "The write offset value that you specified does not match the current object size."},
	"NoSuchObjectLockConfiguration":           {404, "The specified object does not have a ObjectLock configuration"},
	"InvalidBucketName":                       {400, "The specified bucket is not valid."},
	"InvalidChunkSizeError":                   {403, "Only the last chunk is allowed to have a size less than 8192 bytes"},
	"InvalidDigest":                           {400, "The Content-MD5 or checksum value that you specified is not valid."},
	"InvalidPart":                             {400, "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag."},
	"InvalidPartOrder":                        {400, "The list of parts was not in ascending order. The parts list must be specified in order by part number."},
	"InvalidRange":                            {416, "The requested range is not satisfiable"},
	"InvalidRequest":                          {400, "The request is not valid."},
	"InvalidStorageClass":                     {400, "The storage class you specified is not valid"},
	"InvalidToken":                            {400, "The provided token is malformed or otherwise not valid."},
	"InvalidURI":                              {400, "The specified URI couldn't be parsed."},
	"KeyTooLongError":                         {400, "Your key is too long"},
	"MalformedTrailerError":                   {400, "The request contained trailing data that was not well-formed or did not conform to our published schema."},
	"MalformedXML":                            {400, "The XML you provided was not well-formed or did not validate against our published schema"},
	"MaxMessageLengthExceeded":                {400, "Your request was too large."},
	"MetadataTooLarge":                        {400, "Your metadata headers exceed the maximum allowed metadata size."},
	"MethodNotAllowed":                        {405, "The specified method is not allowed against this resource."},
	"MissingContentLength":                    {411, "You must provide the Content-Length HTTP header."},
	"MissingRequestBodyError":                 {400, "Request body is empty."},
	"NoSuchBucket":                            {404, "The specified bucket does not exist"},
	"NoSuchBucketPolicy":                      {404, "The bucket policy does not exist"},
	"NoSuchCORSConfiguration":                 {404, "The CORS configuration does not exist"},
	"NoSuchKey":                               {404, "The specified key does not exist."},
	"NoSuchLifecycleConfiguration":            {404, "The lifecycle configuration does not exist"},
	"NoSuchPublicAccessBlockConfiguration":    {404, "The public access block configuration was not found"},
	"InvalidTag":                              {400, "The tag provided was not a valid tag. This error can occur if the tag did not pass input validation."},
	"InvalidPartNumber":                       {416, "The requested partnumber is not satisfiable"},
	"NoSuchTagSet":                            {404, "The TagSet does not exist"},
	"NoSuchUpload":                            {404, "The specified multipart upload does not exist. The upload ID might not be valid, or the multipart upload might have been aborted or completed."},
	"NoSuchVersion":                           {404, "The version ID specified in the request does not match an existing version."},
	"NoSuchWebsiteConfiguration":              {404, "The specified bucket does not have a website configuration"},
	"NotImplemented":                          {501, "A header or parameter that you provided implies functionality that is not implemented."},
	"NotModified":                             {304, ""},
	"ObjectLockConfigurationNotFoundError":    {404, "Object Lock configuration does not exist for this bucket"},
	"OperationAborted":                        {409, "A conflicting conditional operation is currently in progress against this resource. Try again."},
	"PreconditionFailed":                      {412, "At least one of the preconditions you specified did not hold"},
	"QuotaExceeded":                           {403, "The quota of the bucket is exhausted."},
	"ReplicationConfigurationNotFoundError":   {404, "The replication configuration was not found"},
	"RequestHeaderSectionTooLarge":            {400, "The request header and query parameters used to make the request exceed the maximum allowed size."},
	"RequestTimeout":                          {400, "Your socket connection to the server was not read from or written to within the timeout period."},
	"RequestTimeTooSkewed":                    {403, "The difference between the request time and the server's time is too large."},
	"ServerSideEncryptionConfigurationNotFoundError": {404, "The server side encryption configuration was not found"},
	"ServiceUnavailable":                             {503, "Service is unable to handle request. Try again."},
	"SignatureDoesNotMatch":                          {403, "The request signature we calculated does not match the signature you provided. Check your key and signing method."},
	"SlowDown":                                       {503, "Please reduce your request rate."},
	"TooManyParts":                                   {400, "You have attempted to list more parts than an upload can have."},
	"UnexpectedContent":                              {400, "This request contains unsupported content."},
	"XAmzContentSHA256Mismatch":                      {400, "The provided 'x-amz-content-sha256' header does not match what was computed."},
	"InvalidPolicyDocument":                          {400, "The content of the form does not meet the conditions specified in the policy document."},
	"MalformedPOSTRequest":                           {400, "The body of your POST request is not well-formed multipart/form-data."},
	"MaxPostPreDataLengthExceeded":                   {400, "Your POST request fields preceding the upload file were too large."},
	// XMinioStorageFull is no code of S3, which is never full. Clients of MinIO know it.
	"XMinioStorageFull": {507, "The storage has reached its capacity. Delete some objects or add drives, then try again."},
}

// Known reports whether code has a row.
func Known(code string) bool {
	_, ok := codes[code]
	return ok
}

// Status returns the HTTP status of an error code; 500 for one without a row.
func Status(code string) int {
	if c, ok := codes[code]; ok {
		return c.status
	}
	return http.StatusInternalServerError
}

// Message returns the API reference's text for an error code.
func Message(code string) string { return codes[code].message }

// ErrorBody returns the document of an error.
func ErrorBody(code, message, resource, requestID, hostID string, fields []Field) []byte {
	d := NewPlainDoc("Error")
	d.Text("Code", code)
	d.Text("Message", message)
	for _, f := range fields {
		d.Text(f.Name, f.Value)
	}
	d.Text("Resource", resource)
	d.Text("RequestId", requestID)
	d.Text("HostId", hostID)
	return d.Bytes()
}
