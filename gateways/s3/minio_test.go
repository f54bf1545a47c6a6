package s3_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/gateways/s3"
)

// TestMinioClient drives the gateway with minio-go as its users do, in path style and in virtual-host style.
func TestMinioClient(t *testing.T) {
	const domain = "s3.example.com"
	f := start(t, func(c *s3.Config) { c.Domains = []string{domain} })
	u, _ := url.Parse(f.server.URL)
	var mu sync.Mutex
	hosts := map[string]bool{}
	leading := http.DefaultTransport.(*http.Transport).Clone() // every name to the gateway, as DNS would
	leading.DisableKeepAlives = true
	leading.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		hosts[address] = true
		mu.Unlock()
		return new(net.Dialer).DialContext(ctx, network, u.Host)
	}
	for name, o := range map[string]*minio.Options{
		u.Host:                  {BucketLookup: minio.BucketLookupPath},
		domain + ":" + u.Port(): {BucketLookup: minio.BucketLookupDNS, Transport: leading},
	} {
		o.Creds, o.TrailingHeaders = credentials.NewStaticV4(accessKey, secretKey, ""), true
		client, err := minio.New(name, o)
		if err != nil {
			t.Fatal(err)
		}
		driveMinio(t, f, client)
	}
	if !hosts["bucket."+domain+":"+u.Port()] {
		t.Errorf("the client asked the hosts %v", hosts)
	}
	wrong, _ := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(accessKey, strings.ToUpper(secretKey), "")})
	if _, err := wrong.ListBuckets(t.Context()); minio.ToErrorResponse(err).Code != "SignatureDoesNotMatch" {
		t.Fatal(err)
	}
}

func driveMinio(t *testing.T, f *fixture, client *minio.Client) {
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.MakeBucket(ctx, "bucket", minio.MakeBucketOptions{}))
	if ok, err := client.BucketExists(ctx, "bucket"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := client.BucketExists(ctx, "absent"); ok || err != nil {
		t.Fatal(ok, err)
	}
	data := make([]byte, 11<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	get := func(key string, o minio.GetObjectOptions) []byte {
		t.Helper()
		object, err := client.GetObject(ctx, "bucket", key, o)
		must(err)
		defer object.Close()
		b, err := io.ReadAll(object)
		must(err)
		return b
	}
	for name, o := range map[string]minio.PutObjectOptions{
		"plain": {}, "md5": {SendContentMd5: true}, "parts": {PartSize: 5 << 20}, "crc32c": {Checksum: minio.ChecksumCRC32C, PartSize: 5 << 20},
		"sha256": {Checksum: minio.ChecksumSHA256, PartSize: 5 << 20}, "crc64": {Checksum: minio.ChecksumCRC64NVME, PartSize: 8 << 20},
		"full": {Checksum: minio.ChecksumFullObjectCRC32C, PartSize: 5 << 20}, "unsigned": {DisableContentSha256: true}, "parallel": {ConcurrentStreamParts: true, NumThreads: 2, PartSize: 5 << 20},
		"meta": {UserMetadata: map[string]string{"Colour": "blue"}, ContentType: "a/b"},
	} {
		for _, size := range []int{0, 1, 100 << 10, 11 << 20} {
			key := name + "/" + itoa(size)
			info, err := client.PutObject(ctx, "bucket", key, bytes.NewReader(data[:size]), int64(size), o)
			if err != nil || info.Size != int64(size) {
				t.Fatalf("%s: %v", key, err)
			}
			if !bytes.Equal(get(key, minio.GetObjectOptions{Checksum: true}), data[:size]) {
				t.Fatalf("%s: other bytes", key)
			}
		}
	}
	if _, err := client.PutObject(ctx, "bucket", "unknown", io.LimitReader(bytes.NewReader(data), 7<<20), -1, minio.PutObjectOptions{PartSize: 5 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(ctx, "bucket", "unknown", strings.NewReader("short"), -1, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := client.StatObject(ctx, "bucket", "meta/1", minio.StatObjectOptions{})
	if err != nil || info.UserMetadata["Colour"] != "blue" || info.ContentType != "a/b" || info.Size != 1 {
		t.Fatalf("%+v %v", info, err)
	}
	o := minio.GetObjectOptions{}
	must(o.SetRange(5, 9))
	if got := get("plain/102400", o); !bytes.Equal(got, data[5:10]) {
		t.Fatal("range")
	}
	var keys, dirs []string
	for object := range client.ListObjects(ctx, "bucket", minio.ListObjectsOptions{Recursive: true, MaxKeys: 7}) {
		must(object.Err)
		keys = append(keys, object.Key)
	}
	for object := range client.ListObjects(ctx, "bucket", minio.ListObjectsOptions{UseV1: true}) {
		must(object.Err)
		dirs = append(dirs, object.Key)
	}
	if len(keys) != 41 || !slices.IsSorted(keys) || len(dirs) != 11 {
		t.Fatalf("%q %q", keys, dirs)
	}
	put, err := client.PresignedPutObject(ctx, "bucket", "odd key+ä/..//", time.Minute)
	must(err)
	unsigned := func(u *url.URL) func(*fixture, *http.Request, []byte) {
		return func(_ *fixture, r *http.Request, _ []byte) { r.Host = u.Host }
	}
	f.want(ask{method: "PUT", target: put.RequestURI(), body: "presigned", sign: unsigned(put)}, 200, "")
	shared, err := client.PresignedGetObject(ctx, "bucket", "odd key+ä/..//", time.Minute, url.Values{"response-content-type": {"x/y"}})
	must(err)
	if r := f.want(ask{method: "GET", target: shared.RequestURI(), sign: unsigned(shared)}, 200, ""); r.body != "presigned" || r.header.Get("Content-Type") != "x/y" {
		t.Fatal(r)
	}
	c := minio.Core{Client: client}
	id, err := c.NewMultipartUpload(ctx, "bucket", "pending", minio.PutObjectOptions{})
	must(err)
	var pending []string
	for u := range client.ListIncompleteUploads(ctx, "bucket", "", true) {
		must(u.Err)
		pending = append(pending, u.Key+u.UploadID)
	}
	if !slices.Equal(pending, []string{"pending" + id}) {
		t.Fatal(pending)
	}
	must(client.RemoveIncompleteUpload(ctx, "bucket", "pending"))
	copied, err := client.CopyObject(ctx, minio.CopyDestOptions{Bucket: "bucket", Object: "copy"}, minio.CopySrcOptions{Bucket: "bucket", Object: "plain/1"})
	must(err)
	original, err := client.StatObject(ctx, "bucket", "plain/1", minio.StatObjectOptions{})
	must(err)
	if copied.ETag != original.ETag {
		t.Fatal(copied)
	}
	must(client.RemoveObject(ctx, "bucket", "unknown", minio.RemoveObjectOptions{}))
	doomed := make(chan minio.ObjectInfo)
	go func() {
		defer close(doomed)
		for object := range client.ListObjects(ctx, "bucket", minio.ListObjectsOptions{Recursive: true}) {
			doomed <- object
		}
	}()
	for e := range client.RemoveObjects(ctx, "bucket", doomed, minio.RemoveObjectsOptions{}) {
		t.Fatal(e)
	}
	must(client.RemoveBucket(ctx, "bucket"))
}
