package s3_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/engine"
	"holdfast/engine/memory"
	"holdfast/gateways"
	"holdfast/gateways/s3"
	"holdfast/gateways/s3/sigv4"
)

// raw is a connection on which requests are written by hand.
type raw struct {
	f    *fixture
	conn net.Conn
	in   *bufio.Reader
}

func (f *fixture) dial() *raw {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.server.Listener.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &raw{f, conn, bufio.NewReader(conn)}
}

// head returns the signed header of a request without framing headers.
func (c *raw) head(method, target, payload string, headers ...string) string {
	r, err := http.NewRequest(method, c.f.server.URL+target, nil)
	if err != nil {
		c.f.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	c.f.signer.Sign(r, payload, time.Now())
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, r.URL.Host)
	r.Header.Write(&b)
	return b.String()
}

func (c *raw) write(s string) {
	c.f.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.f.t.Fatal(err)
	}
}

// answer reads a response and demands its status and code, and whether the connection is closed behind it.
func (c *raw) answer(status int, code string, closed bool) {
	c.f.t.Helper()
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.f.t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != status || !strings.Contains(string(body), code) {
		c.f.t.Errorf("got %d %s, want %d %s", response.StatusCode, body, status, code)
	}
	if closed {
		if _, err := c.in.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			c.f.t.Errorf("the connection goes on: %v", err)
		}
	}
}

func TestFraming(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	const unsigned = "UNSIGNED-PAYLOAD"
	t.Run("length and chunks", func(t *testing.T) {
		c := f.dial()
		c.write(c.head("PUT", "/bucket/k", unsigned) + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /bucket HTTP/1.1\r\n\r\n")
		c.answer(400, "BadRequest", true)
	})
	t.Run("on a connection in use", func(t *testing.T) {
		c := f.dial()
		c.write(c.head("PUT", "/bucket/k", unsigned) + "Content-Length: 5\r\n\r\nhello")
		c.answer(200, "", false)
		c.write(c.head("PUT", "/bucket/k", unsigned) + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n")
		c.answer(400, "BadRequest", true)
	})
	t.Run("pipelined chunks", func(t *testing.T) {
		c := f.dial()
		streaming := c.head("PUT", "/bucket/empty", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "0", "X-Amz-Trailer", "x-amz-checksum-crc32") +
			"Transfer-Encoding: chunked\r\n\r\n"
		trailer := "0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
		c.write(c.head("GET", "/bucket/k", unsigned) + "\r\n" + streaming + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(trailer), trailer))
		c.answer(200, "hello", false)
		c.answer(200, "", true)
	})
	t.Run("chunks alone keep the connection once", func(t *testing.T) {
		c := f.dial()
		for _, closed := range []bool{false, true} { // where the first ends is not seen
			c.write(c.head("PUT", "/bucket/k", unsigned) + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
			c.answer(411, "MissingContentLength", closed)
		}
	})
	t.Run("no length", func(t *testing.T) {
		c := f.dial()
		c.write(c.head("PUT", "/bucket/k", unsigned) + "\r\n")
		c.answer(411, "MissingContentLength", false)
	})
	t.Run("two lengths", func(t *testing.T) {
		c := f.dial()
		c.write(c.head("PUT", "/bucket/k", unsigned) + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")
		c.answer(400, "", true)
	})
	t.Run("two equal lengths", func(t *testing.T) {
		c := f.dial()
		c.write(c.head("PUT", "/bucket/k", unsigned) + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello")
		c.answer(400, "BadRequest", true)
	})
	for name, code := range map[string]string{"X-Amz-Date": "InvalidArgument", "X-Amz-Content-Sha256": "InvalidArgument", "X-Amz-Meta-A": "SignatureDoesNotMatch",
		"X-Amz-Acl": "SignatureDoesNotMatch"} {
		t.Run("two "+name, func(t *testing.T) {
			c := f.dial()
			head := c.head("PUT", "/bucket/k", unsigned, "X-Amz-Meta-A", "private", "X-Amz-Acl", "private")
			i := strings.Index(head, name)
			c.write(head + head[i:i+strings.Index(head[i:], "\r\n")+2] + "Content-Length: 0\r\n\r\n")
			status := 400
			if code != "InvalidArgument" {
				status = 403
			}
			c.answer(status, code, false)
		})
	}
	t.Run("a header signed twice", func(t *testing.T) {
		c := f.dial()
		r, _ := http.NewRequest("PUT", f.server.URL+"/bucket/k", nil)
		r.Header["X-Amz-Acl"] = []string{"private", "private"}
		f.signer.Sign(r, unsigned, time.Now())
		var b bytes.Buffer
		r.Header.Write(&b)
		c.write("PUT /bucket/k HTTP/1.1\r\nHost: " + r.URL.Host + "\r\nContent-Length: 0\r\n" + b.String() + "\r\n")
		c.answer(400, "InvalidArgument", false)
	})
	t.Run("no payload hash", func(t *testing.T) {
		c := f.dial()
		head := c.head("PUT", "/bucket/k", unsigned)
		i := strings.Index(head, "X-Amz-Content-Sha256")
		c.write(head[:i] + head[i+strings.Index(head[i:], "\r\n")+2:] + "Content-Length: 0\r\n\r\n")
		c.answer(400, "Missing required header for this request: x-amz-content-sha256", false)
	})
	t.Run("header and query", func(t *testing.T) {
		c := f.dial()
		c.write(c.head("GET", "/bucket/k?X-Amz-Signature=x", unsigned) + "\r\n")
		c.answer(400, "Only one auth mechanism allowed", false)
	})
	t.Run("another region", func(t *testing.T) {
		c := f.dial()
		c.write(strings.Replace(c.head("GET", "/bucket/k", unsigned), "/us-east-1/", "/eu-west-1/", 1) + "\r\n")
		c.answer(400, "the region 'eu-west-1' is wrong; expecting 'us-east-1'</Message><Region>us-east-1</Region>", false)
	})
	t.Run("two hosts", func(t *testing.T) {
		c := f.dial()
		c.write(c.head("GET", "/bucket/k", unsigned) + "Host: other\r\n\r\n")
		c.answer(400, "", true)
	})
	t.Run("two authorizations", func(t *testing.T) {
		c := f.dial()
		head := c.head("GET", "/bucket/k", unsigned)
		i := strings.Index(head, "Authorization")
		c.write(head + head[i:i+strings.Index(head[i:], "\r\n")+2] + "\r\n")
		c.answer(400, "InvalidArgument", false)
	})
	t.Run("target in absolute form", func(t *testing.T) {
		c := f.dial()
		c.write(strings.Replace(c.head("GET", "/bucket/k", unsigned), "/bucket", f.server.URL+"/bucket", 1) + "\r\n")
		c.answer(200, "hello", false)
	})
	t.Run("body shorter", func(t *testing.T) {
		c := f.dial()
		c.write(c.head("PUT", "/bucket/k", unsigned) + "Content-Length: 10\r\n\r\nhel")
		c.conn.(*net.TCPConn).CloseWrite()
		c.answer(400, "IncompleteBody", true)
	})
	if r := f.want(ask{method: "GET", target: "/bucket/k"}, 200, ""); r.body != "hello" {
		t.Errorf("the object became %q", r.body)
	}
}

func TestExpectContinue(t *testing.T) {
	f := start(t, slow)
	f.bucket("bucket")
	c := f.dial()
	c.write(c.head("PUT", "/bucket/k", "UNSIGNED-PAYLOAD") + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if line, err := c.in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatal(line, err)
	}
	c.in.ReadString('\n')
	c.write("hello")
	c.answer(200, "", false)
	c = f.dial()
	c.write(c.head("PUT", "/bucket/empty", "UNSIGNED-PAYLOAD") + "Content-Length: 0\r\nExpect: 100-continue\r\n\r\n")
	if line, err := c.in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatal(line, err)
	}
	c.in.ReadString('\n')
	c.answer(200, "", false)
	c = f.dial()
	c.write(c.head("PUT", "/absent-bucket/k?x", "UNSIGNED-PAYLOAD") + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	c.answer(501, "NotImplemented", true)
}

func TestHeaderLimit(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	f.want(ask{method: "GET", target: "/bucket", headers: []string{"X-Other", strings.Repeat("a", 14<<10)}}, 200, "")
	f.want(ask{method: "GET", target: "/bucket", headers: []string{"X-Other", strings.Repeat("a", 17<<10)}}, 400, "RequestHeaderSectionTooLarge")
	f.want(ask{method: "GET", target: "/bucket?prefix=" + strings.Repeat("a", 17<<10)}, 400, "RequestHeaderSectionTooLarge")
	c := f.dial()
	c.write(c.head("GET", "/bucket", "UNSIGNED-PAYLOAD") + "X-Other: " + strings.Repeat("a", 100<<10) + "\r\n\r\n")
	c.answer(431, "", true)
	c = f.dial()
	c.write(c.head("GET", "/bucket", "UNSIGNED-PAYLOAD") + strings.Repeat("a:\r\n", 5000) + "\r\n")
	c.answer(400, "RequestHeaderSectionTooLarge", true)
	c = f.dial()
	c.write(c.head("GET", "/bucket", "UNSIGNED-PAYLOAD") + strings.Repeat("a:\r\n", 20000) + "\r\n")
	c.answer(431, "", true)
}

func slow(c *s3.Config) {
	c.Limits = gateways.DefaultLimits()
	c.Limits.SlowWindow, c.Limits.SlowBytes, c.Limits.HeaderTime = 300*time.Millisecond, 1000, 300*time.Millisecond
}

func TestSlowBodies(t *testing.T) {
	f := start(t, slow)
	f.bucket("bucket")
	t.Run("nothing comes", func(t *testing.T) {
		c := f.dial()
		c.write(c.head("PUT", "/bucket/k", "UNSIGNED-PAYLOAD") + "Content-Length: 100000\r\n\r\nhello")
		c.answer(400, "RequestTimeout", true)
	})
	t.Run("a trickle comes", func(t *testing.T) {
		c := f.dial()
		c.write(c.head("PUT", "/bucket/k", "UNSIGNED-PAYLOAD") + "Content-Length: 100000\r\n\r\n")
		stop, done := make(chan bool), make(chan bool)
		go func() {
			defer close(done)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					io.WriteString(c.conn, "x")
				}
			}
		}()
		c.answer(400, "RequestTimeout", true)
		close(stop)
		<-done
	})
	t.Run("the header does not end", func(t *testing.T) {
		c := f.dial()
		c.write("GET / HTTP/1.1\r\nHost: x\r\n")
		if _, err := c.in.ReadByte(); err == nil {
			t.Error("an answer to half a header")
		}
	})
	f.want(ask{method: "GET", target: "/bucket/k"}, 404, "NoSuchKey")
	f.want(ask{method: "PUT", target: "/bucket/k", body: strings.Repeat("x", 1<<20)}, 200, "")
}

func TestTooLarge(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	c := f.dial()
	c.write(c.head("PUT", "/bucket/k", "UNSIGNED-PAYLOAD") + fmt.Sprintf("Content-Length: %d\r\n\r\n", engine.PutBytesMax+1))
	c.answer(400, "EntityTooLarge", false)
}

// broken is an engine whose objects are damaged behind their first bytes, or from the first on, and whose writes fail with a Kind.
type broken struct {
	*memory.Engine
	kind  engine.Kind
	after int
}

type brokenObject struct {
	engine.Object
	after int
}

func (o *brokenObject) WriteTo(w io.Writer) (int64, error) {
	if o.after == 0 {
		return 0, engine.E(engine.KindDamaged, "too many shards are gone")
	}
	n, _ := w.Write(make([]byte, o.after))
	return int64(n), engine.E(engine.KindDamaged, "too many shards are gone")
}

func (b *broken) Open(ctx context.Context, ref engine.Ref, o engine.OpenOptions) (engine.Object, error) {
	object, err := b.Engine.Open(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	return &brokenObject{object, b.after}, nil
}

func (b *broken) Delete(context.Context, engine.Ref, engine.DeleteOptions) (engine.DeleteResult, error) {
	return engine.DeleteResult{}, engine.E(b.kind, "planted")
}

func TestEngineFailures(t *testing.T) {
	b := &broken{Engine: memory.New()}
	var log lockedBuffer
	f := startWith(t, b, func(c *s3.Config) { c.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/k", body: "0123456789"}, 200, "")
	r := f.want(ask{method: "GET", target: "/bucket/k"}, 500, "InternalError")
	if strings.Contains(r.body, "shards") {
		t.Errorf("the client is told what is for the log: %s", r.body)
	}
	if r.header.Get("ETag") != "" || r.header.Get("Content-Type") != "application/xml" {
		t.Errorf("an error with the headers of the object: %v", r.header)
	}
	b.after = 4
	c := f.dial()
	c.write(c.head("GET", "/bucket/k", "UNSIGNED-PAYLOAD") + "\r\n")
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(response.Body); err == nil || len(body) != 4 {
		t.Errorf("a damaged object looks whole: %q %v", body, err)
	}
	for _, kind := range engine.Kinds() {
		if kind == engine.KindNotModified {
			continue
		}
		b.kind = kind
		r := f.do(ask{method: "DELETE", target: "/bucket/k"})
		if r.status < 400 || r.code() == "" {
			t.Errorf("%v: %d %s", kind, r.status, r.body)
		}
		if said := strings.Contains(r.body, "planted"); said && r.status >= 500 && r.status != 501 {
			t.Errorf("%v: the client is told what is for the log: %s", kind, r.body)
		}
		if r.status == 503 != (r.header.Get("Retry-After") != "") {
			t.Errorf("%v: %d with Retry-After %q", kind, r.status, r.header.Get("Retry-After"))
		}
	}
	b.kind = engine.KindDriveFull
	f.want(ask{method: "DELETE", target: "/bucket/k"}, 507, "XMinioStorageFull")
	const document = "<Delete><Object><Key>k</Key></Object></Delete>"
	deletion := f.want(ask{method: "POST", target: "/bucket?delete", body: document, headers: []string{"Content-MD5", md5Of(document)}}, 200, "")
	if strings.Contains(deletion.body, "planted") || !strings.Contains(deletion.body, "XMinioStorageFull") {
		t.Errorf("a deletion of several: %s", deletion.body)
	}
	f.server.Close()
	if s := log.String(); !strings.Contains(s, "a deletion failed") || !strings.Contains(s, `"reason":"damaged: too many shards are gone"`) {
		t.Errorf("the log lacks a reason: %s", s)
	}
	if s := log.String(); strings.Contains(s, secretKey) || strings.Contains(s, "Signature=") || !strings.Contains(s, `"operation":"PutObject"`) || !strings.Contains(s, `"code":"XMinioStorageFull"`) {
		t.Errorf("the log: %s", s)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestPresignedHeaders puts what signers make parameters of into a presigned URL.
func TestPresignedHeaders(t *testing.T) {
	f := start(t)
	f.bucket("bucket")
	put := func(query string) ask {
		return ask{method: "PUT", target: "/bucket/k?" + query, body: "hello", sign: signQuery}
	}
	f.want(put("x-id=PutObject&x-amz-meta-a=b&x-amz-checksum-crc32="+strings.NewReplacer("=", "%3D", "+", "%2B", "/", "%2F").Replace(crcOf("hello"))), 200, "")
	f.want(put("x-amz-checksum-crc32=AAAAAQ%3D%3D"), 400, "BadDigest")
	f.want(put("x-amz-acl=public-read"), 501, "NotImplemented")
	f.want(put("X-Amz-Server-Side-Encryption=aws:kms"), 501, "NotImplemented")
	for _, wrong := range []string{"x-amz-meta-a=%7f", "x-amz-meta-a%20b=c"} { // what no header can be
		f.want(put(wrong), 400, "InvalidArgument")
	}
	f.want(ask{method: "GET", target: "/bucket/k?response-content-type=%7f", sign: signQuery}, 400, "InvalidArgument")
	if r := f.want(ask{method: "GET", target: "/bucket/k?x-amz-checksum-mode=ENABLED", sign: signQuery}, 200, ""); r.header.Get("X-Amz-Meta-A") != "b" || r.header.Get("X-Amz-Checksum-Crc32") == "" {
		t.Errorf("%v", r.header)
	}
	f.want(ask{method: "GET", target: "/bucket/k", sign: func(f *fixture, r *http.Request, _ []byte) {
		u, _ := f.signer.Presign(r, time.Now().Add(-time.Hour), time.Minute)
		r.URL = u
	}}, 403, "AccessDenied")
	f.want(ask{method: "GET", target: "/bucket/k", sign: func(f *fixture, r *http.Request, _ []byte) {
		f.signer.Sign(r, sigv4.PayloadHash(nil), time.Now().Add(-time.Hour))
	}}, 403, "RequestTimeTooSkewed")
}
