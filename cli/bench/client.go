package bench

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// emptySum is the SHA-256 of nothing, in hexadecimal.
const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// unsigned is what stands for the sum of a body over TLS, which protects it, as AWS's clients have it.
const unsigned = "UNSIGNED-PAYLOAD"

// Server says where a server is and how requests to it are signed.
type Server struct {
	Endpoint     string // http://host:port or https://host:port
	AccessKey    string
	SecretKey    string
	SessionToken string      // "" for none
	Region       string      // default us-east-1
	HostStyle    bool        // the bucket is in the host's name and not in the path
	TLS          *tls.Config // nil for the system's authorities
}

// Client sends signed requests to one server over connections that stay open. Its methods may be called from several goroutines.
type Client struct {
	http    http.Client
	server  Server
	address *url.URL
	payload func(*Payload) string // x-amz-content-sha256 of a body

	// PartsAtOnce is how many parts of one object are sent at the same time; default 1.
	PartsAtOnce int
	// Checksum is the name of the additional checksum that the payloads have; "" for none.
	Checksum string
}

// idleConnections is how many connections wait for the next request of a client.
const idleConnections = 4096

// NewClient checks what it is given, and sends nothing.
func NewClient(s Server) (*Client, error) {
	address, err := url.Parse(s.Endpoint)
	if err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" || strings.Trim(address.Path, "/") != "" || address.RawQuery != "" {
		return nil, fmt.Errorf("the endpoint %q is no address such as http://127.0.0.1:9000", s.Endpoint)
	}
	if s.HostStyle && net.ParseIP(address.Hostname()) != nil {
		return nil, fmt.Errorf("the endpoint %s has a number for a name, and a bucket can only stand before a name", s.Endpoint)
	}
	if s.AccessKey == "" || s.SecretKey == "" {
		return nil, errors.New("there is no credential")
	}
	if s.Region == "" {
		s.Region = "us-east-1"
	}
	c := &Client{server: s, address: address, payload: func(p *Payload) string { return p.sum }, PartsAtOnce: 1}
	if address.Scheme == "https" {
		c.payload = func(*Payload) string { return unsigned }
	}
	c.http.Transport = &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: s.TLS, DisableCompression: true, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
		MaxIdleConns: idleConnections, MaxIdleConnsPerHost: idleConnections, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Close ends the connections that wait for a request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Request is one request.
type Request struct {
	Method, Bucket, Key string // Key is the whole path where there is no bucket
	Query               url.Values
	Header              http.Header // or nil; it becomes the request's
	Body                *Payload    // nil for none
}

// Error is an answer that is no success.
type Error struct {
	Request string // its method and path
	Status  int
	Code    string // of S3; "" if the answer has none
	Message string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s is answered with %d %s", e.Request, e.Status, http.StatusText(e.Status))
	switch {
	case e.Code+e.Message != "":
		return text + ": " + strings.TrimSpace(e.Code+" "+e.Message)
	case e.Status == http.StatusForbidden: // the answer to HEAD has no content
		return text + ": the credential is wrong, or may not do this"
	case e.Status == http.StatusBadRequest:
		return text + ": perhaps the server speaks https, or expects another region"
	}
	return text
}

// errDiffers is an answer that is a success with a wrong content.
var errDiffers = errors.New("the answer is wrong")

// CodeOf returns a short name of an error, to count it by.
func CodeOf(err error) string {
	var answer *Error
	var network net.Error
	switch {
	case errors.As(err, &answer) && answer.Code != "":
		return answer.Code
	case errors.As(err, &answer):
		return "HTTP" + strconv.Itoa(answer.Status)
	case errors.Is(err, errDiffers):
		return "WrongAnswer"
	case errors.As(err, &network) && network.Timeout():
		return "Timeout"
	}
	return "ConnectionFailed"
}

// Do sends a request and returns an answer of status 2xx, whose body the caller closes. Any other is an *Error.
func (c *Client) Do(ctx context.Context, r Request) (*http.Response, error) {
	u := &url.URL{Scheme: c.address.Scheme, Host: c.address.Host, Path: "/" + r.Key}
	if r.Bucket != "" && c.server.HostStyle {
		u.Host = r.Bucket + "." + u.Host
	} else if r.Bucket != "" {
		u.Path = "/" + r.Bucket
		if r.Key != "" {
			u.Path += "/" + r.Key
		}
	}
	u.RawPath = s3utils.EncodePath(u.Path)
	u.RawQuery = strings.ReplaceAll(r.Query.Encode(), "+", "%20")
	request := &http.Request{Method: r.Method, URL: u, Host: u.Host, Header: r.Header}
	if request.Header == nil {
		request.Header = http.Header{}
	}
	request.Header["X-Amz-Content-Sha256"] = []string{emptySum}
	if r.Body != nil {
		request.Header["X-Amz-Content-Sha256"] = []string{c.payload(r.Body)}
		request.ContentLength = int64(len(r.Body.Body))
		if request.Body = http.NoBody; request.ContentLength > 0 {
			request.Body = io.NopCloser(bytes.NewReader(r.Body.Body))
			request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body.Body)), nil }
		}
	}
	signed := signer.SignV4(*request.WithContext(ctx), c.server.AccessKey, c.server.SecretKey, c.server.SessionToken, c.server.Region)
	response, err := c.http.Do(signed)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		defer response.Body.Close()
		return nil, refusal(r.Method+" "+u.Path, response)
	}
	return response, nil
}

// refusal reads the answer that is no success.
func refusal(request string, response *http.Response) error {
	e := &Error{Request: request, Status: response.StatusCode}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // what is there tells more than nothing
	var document struct{ Code, Message string }
	if xml.Unmarshal(body, &document) == nil && document.Code != "" {
		e.Code, e.Message = document.Code, document.Message
	} else {
		e.Message = strings.TrimSpace(string(body[:min(len(body), 1000)]))
	}
	if e.Code == "" && response.StatusCode == http.StatusNotFound && response.Request.Method == http.MethodHead {
		e.Code = "NotFound"
	}
	return e
}

// Read sends a request and returns the answer's body.
func (c *Client) Read(ctx context.Context, r Request) ([]byte, error) {
	response, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// sums are the headers of a payload's checksum.
func (c *Client) sums(p *Payload) http.Header {
	if p.checksum == "" {
		return nil
	}
	return http.Header{http.CanonicalHeaderKey("X-Amz-Checksum-" + c.Checksum): {p.checksum}}
}

// Put stores an object, in parts if its payload has some.
func (c *Client) Put(ctx context.Context, bucket, key string, content *Payload) error {
	if content.parts != nil {
		return c.putParts(ctx, bucket, key, content)
	}
	_, err := c.putOne(ctx, Request{Method: http.MethodPut, Bucket: bucket, Key: key, Header: c.sums(content), Body: content})
	return err
}

// putOne sends a body and returns the entity tag that the server gives it.
func (c *Client) putOne(ctx context.Context, r Request) (tag string, err error) {
	response, err := c.Do(ctx, r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if tag = response.Header.Get("ETag"); tag == "" {
		return "", fmt.Errorf("%w: PUT %s/%s is answered without an entity tag", errDiffers, r.Bucket, r.Key)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return tag, err
}

// completion is the document that names the parts.
type completion struct {
	XMLName xml.Name        `xml:"CompleteMultipartUpload"`
	Part    []completedPart `xml:"Part"`
}

type completedPart struct {
	PartNumber int
	ETag       string
	CRC32      string `xml:"ChecksumCRC32,omitempty"`
	CRC32C     string `xml:"ChecksumCRC32C,omitempty"`
	CRC64NVME  string `xml:"ChecksumCRC64NVME,omitempty"`
	SHA1       string `xml:"ChecksumSHA1,omitempty"`
	SHA256     string `xml:"ChecksumSHA256,omitempty"`
}

// setChecksum sets the element of the checksum with a name.
func (p *completedPart) setChecksum(name, sum string) {
	for known, field := range map[string]*string{"CRC32": &p.CRC32, "CRC32C": &p.CRC32C, "CRC64NVME": &p.CRC64NVME, "SHA1": &p.SHA1, "SHA256": &p.SHA256} {
		if known == name {
			*field = sum
		}
	}
}

// putParts stores an object in parts.
func (c *Client) putParts(ctx context.Context, bucket, key string, content *Payload) error {
	header := http.Header{}
	if c.Checksum != "" {
		header.Set("X-Amz-Checksum-Algorithm", c.Checksum)
	}
	answer, err := c.readUpload(ctx, Request{Method: http.MethodPost, Bucket: bucket, Key: key, Query: url.Values{"uploads": {""}}, Header: header})
	if err != nil {
		return err
	}
	document := completion{Part: make([]completedPart, len(content.parts))}
	err = Each(ctx, int64(len(content.parts)), max(c.PartsAtOnce, 1), func(ctx context.Context, i int64) error {
		part := &content.parts[i]
		number := strconv.FormatInt(i+1, 10)
		tag, err := c.putOne(ctx, Request{Method: http.MethodPut, Bucket: bucket, Key: key, Header: c.sums(part), Body: part,
			Query: url.Values{"partNumber": {number}, "uploadId": {answer.UploadID}}})
		document.Part[i] = completedPart{PartNumber: int(i) + 1, ETag: tag}
		document.Part[i].setChecksum(c.Checksum, part.checksum)
		return err
	})
	if err != nil {
		return err
	}
	body, err := xml.Marshal(document)
	if err != nil {
		return err
	}
	named := newPayload(body, "")
	answer, err = c.readUpload(ctx, Request{Method: http.MethodPost, Bucket: bucket, Key: key, Query: url.Values{"uploadId": {answer.UploadID}}, Body: &named})
	if err == nil && answer.ETag == "" {
		err = fmt.Errorf("%w: the completion of %s/%s is answered with %q", errDiffers, bucket, key, answer.Code)
	}
	return err
}

// uploadAnswer is what the operations of an upload answer; a completion may fail with status 200.
type uploadAnswer struct {
	UploadID   string `xml:"UploadId"`
	ETag, Code string
}

func (c *Client) readUpload(ctx context.Context, r Request) (answer uploadAnswer, err error) {
	body, err := c.Read(ctx, r)
	if err != nil {
		return answer, err
	}
	if err := xml.Unmarshal(body, &answer); err != nil {
		return answer, fmt.Errorf("%w: %s %s/%s: %w", errDiffers, r.Method, r.Bucket, r.Key, err)
	}
	return answer, nil
}

// Get reads an object of a size and compares every byte with want, unless that is nil. buffer is scratch room. It returns when the first
// byte was there, counted from the call.
func (c *Client) Get(ctx context.Context, bucket, key string, size int64, want, buffer []byte) (first time.Duration, err error) {
	begin := time.Now()
	response, err := c.Do(ctx, Request{Method: http.MethodGet, Bucket: bucket, Key: key})
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var total int64
	for {
		n, err := response.Body.Read(buffer)
		if n > 0 && total == 0 {
			first = time.Since(begin)
		}
		if total += int64(n); total > size || want != nil && !bytes.Equal(buffer[:n], want[total-int64(n):total]) {
			return first, fmt.Errorf("%w: GET %s/%s differs from what was put, behind byte %d", errDiffers, bucket, key, total-int64(n))
		}
		if err == io.EOF && total == size {
			return first, nil
		}
		if err == io.EOF {
			err = fmt.Errorf("%w: %w", errDiffers, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return first, fmt.Errorf("GET %s/%s: after %d bytes of %d: %w", bucket, key, total, size, err)
		}
	}
}

// Stat asks for an object of a size.
func (c *Client) Stat(ctx context.Context, bucket, key string, size int64) error {
	response, err := c.Do(ctx, Request{Method: http.MethodHead, Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.ContentLength != size {
		return fmt.Errorf("%w: HEAD %s/%s says %d bytes, and %d were put", errDiffers, bucket, key, response.ContentLength, size)
	}
	return nil
}

// Delete deletes an object.
func (c *Client) Delete(ctx context.Context, bucket, key string) error {
	response, err := c.Do(ctx, Request{Method: http.MethodDelete, Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// DeleteMany deletes objects with one request, and wants the answer to name each of them as deleted.
func (c *Client) DeleteMany(ctx context.Context, bucket string, keys []string) error {
	type object struct{ Key string }
	document := struct {
		XMLName xml.Name `xml:"Delete"`
		Object  []object
	}{}
	for _, key := range keys {
		document.Object = append(document.Object, object{key})
	}
	body, err := xml.Marshal(document)
	if err != nil {
		return err
	}
	payload, sum := newPayload(body, ""), md5.Sum(body)
	answer, err := c.Read(ctx, Request{Method: http.MethodPost, Bucket: bucket, Query: url.Values{"delete": {""}}, Body: &payload,
		Header: http.Header{"Content-Md5": {base64.StdEncoding.EncodeToString(sum[:])}}})
	if err != nil {
		return err
	}
	if deleted := bytes.Count(answer, []byte("<Deleted>")); deleted != len(keys) {
		return fmt.Errorf("%w: of %d keys in %s %d are answered as deleted: %s", errDiffers, len(keys), bucket, deleted, answer[:min(len(answer), 1000)])
	}
	return nil
}

// listing is a page of versions, of objects or of uploads.
type listing struct {
	Version, DeleteMarker, Contents []listed
	Upload                          []struct {
		Key      string
		UploadID string `xml:"UploadId"`
	}
}

type listed struct {
	Key       string
	VersionID string `xml:"VersionId"`
}

func (c *Client) list(ctx context.Context, bucket string, query url.Values) (page listing, err error) {
	body, err := c.Read(ctx, Request{Method: http.MethodGet, Bucket: bucket, Query: query})
	if err != nil {
		return page, err
	}
	return page, xml.Unmarshal(body, &page)
}

// Empty deletes all versions of all objects whose keys begin with prefix, and the uploads that are under way there.
func (c *Client) Empty(ctx context.Context, bucket, prefix string) error {
	for {
		uploads, err := c.list(ctx, bucket, url.Values{"uploads": {""}, "prefix": {prefix}})
		if err != nil {
			return err
		}
		if len(uploads.Upload) == 0 {
			break
		}
		for _, u := range uploads.Upload {
			response, err := c.Do(ctx, Request{Method: http.MethodDelete, Bucket: bucket, Key: u.Key, Query: url.Values{"uploadId": {u.UploadID}}})
			if err != nil {
				return err
			}
			response.Body.Close()
		}
	}
	versions := url.Values{"versions": {""}, "prefix": {prefix}}
	for {
		page, err := c.list(ctx, bucket, versions)
		if err != nil && CodeOf(err) == "NotImplemented" { // a server without versions
			page, err = c.list(ctx, bucket, url.Values{"list-type": {"2"}, "prefix": {prefix}})
		}
		if err != nil {
			return err
		}
		objects := slices.Concat(page.Version, page.DeleteMarker, page.Contents)
		if len(objects) == 0 {
			return nil
		}
		if err := c.deleteAll(ctx, bucket, objects); err != nil {
			return err
		}
	}
}

// deletesAtOnce is how many requests of a clean-up are under way at the same time: Delete is what every server has, DeleteObjects is not.
const deletesAtOnce = 16

func (c *Client) deleteAll(ctx context.Context, bucket string, objects []listed) error {
	return Each(ctx, int64(len(objects)), deletesAtOnce, func(ctx context.Context, i int64) error {
		r := Request{Method: http.MethodDelete, Bucket: bucket, Key: objects[i].Key}
		if version := objects[i].VersionID; version != "" && version != "null" {
			r.Query = url.Values{"versionId": {version}}
		}
		response, err := c.Do(ctx, r)
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
}

// MakeBucket makes a bucket unless it is there, and says whether it did.
func (c *Client) MakeBucket(ctx context.Context, bucket string) (made bool, err error) {
	response, err := c.Do(ctx, Request{Method: http.MethodHead, Bucket: bucket})
	if err == nil {
		return false, response.Body.Close()
	}
	var answer *Error
	if !errors.As(err, &answer) || answer.Status != http.StatusNotFound {
		return false, err
	}
	request := Request{Method: http.MethodPut, Bucket: bucket}
	if c.server.Region != "us-east-1" {
		body := newPayload([]byte("<CreateBucketConfiguration><LocationConstraint>"+c.server.Region+"</LocationConstraint></CreateBucketConfiguration>"), "")
		request.Body = &body
	}
	_, err = c.Read(ctx, request)
	if err != nil && CodeOf(err) == "BucketAlreadyOwnedByYou" {
		return false, nil
	}
	return err == nil, err
}

// RemoveBucket deletes an empty bucket.
func (c *Client) RemoveBucket(ctx context.Context, bucket string) error {
	response, err := c.Do(ctx, Request{Method: http.MethodDelete, Bucket: bucket})
	if err != nil {
		return err
	}
	return response.Body.Close()
}
