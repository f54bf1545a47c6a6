package daemon

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"holdfast/tests/certificates"
)

// hangUp sends SIGHUP to this process, whose daemon takes it.
func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until what a signal asked for is done.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within ten seconds", what)
		}
	}
}

// TestTLS serves S3 over TLS, and takes over another certificate while a connection and an upload are under way.
func TestTLS(t *testing.T) {
	a, dir := certificates.New(t), t.TempDir()
	a.Write(dir, certificates.ECDSA(t), "localhost", "127.0.0.1")
	c := configure(t, map[string]string{"certs_dir": dir, "root_user": "tls-test", "root_password": "tls-test-password"})
	d := run(t, c, false)
	if !strings.Contains(d.said, "S3           https://127.0.0.1:") {
		t.Errorf("the announcement names no https:\n%s", d.said)
	}
	client := func() (*minio.Client, *http.Transport) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool()}, DisableCompression: true}
		t.Cleanup(transport.CloseIdleConnections)
		m, err := minio.New(d.s3, &minio.Options{Creds: credentials.NewStaticV4("tls-test", "tls-test-password", ""), Secure: true, Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		return m, transport
	}
	first, _ := client()
	if err := first.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		conn, err := tls.Dial("tcp", d.s3, &tls.Config{RootCAs: a.Pool(), ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()

	// An upload begins under the first certificate and ends under the second.
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	body, feed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := first.PutObject(t.Context(), "bucket", "key", body, int64(len(content)), minio.PutObjectOptions{SendContentMd5: false, DisableMultipart: true})
		ended <- err
	}()
	if _, err := feed.Write(content[:100_000]); err != nil {
		t.Fatal(err)
	}
	a.Write(dir, certificates.RSA(t), "localhost", "127.0.0.1")
	hangUp(t)
	eventually(t, "the second certificate", func() bool { return serial() != before })
	if _, err := feed.Write(content[100_000:]); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("the upload that was under way: %v", err)
	}
	second, _ := client()
	object, err := second.GetObject(t.Context(), "bucket", "key", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(object); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	object.Close()

	// A certificate that is none changes nothing.
	after := serial()
	if err := os.WriteFile(filepath.Join(dir, "public.crt"), []byte("none"), 0o644); err != nil {
		t.Fatal(err)
	}
	hangUp(t)
	if got := serial(); got != after {
		t.Error("a broken certificate changed the one in use")
	}
	checkStatus(t, c.Socket)
	if response, err := http.Get("http://" + d.s3 + "/minio/health/live"); err != nil || response.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP at the port of TLS: %v, %v", response, err)
	} else {
		response.Body.Close()
	}
}

// TestAccessLogFile has every request in the file, which is opened anew once it was renamed.
func TestAccessLogFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.log")
	c := configure(t, map[string]string{"access_log": file, "log_format": "json", "root_user": "log-test", "root_password": "log-test-password"})
	d := run(t, c, false)
	put(t, d.s3, "log-test", "log-test-password")
	response, err := http.Get("http://" + d.s3 + "/minio/health/live")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	id := response.Header.Get("X-Amz-Request-Id")
	records := func(file string) (list []map[string]any) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "log-test-password") {
			t.Error("the log has the password")
		}
		for line := range strings.Lines(string(b)) {
			record := map[string]any{}
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			list = append(list, record)
		}
		return list
	}
	find := func(list []map[string]any, key string, value any) map[string]any {
		for _, r := range list {
			if r[key] == value {
				return r
			}
		}
		t.Fatalf("no record has %s %v: %v", key, value, list)
		return nil
	}
	eventually(t, "the records", func() bool { return len(records(file)) >= 4 })
	list := records(file)
	got := find(list, "operation", "PutObject")
	for key, want := range map[string]any{"principal": "log-test", "bucket": "first", "key": "key", "status": 200.0, "received": 7.0, "gateway": "s3"} {
		if got[key] != want {
			t.Errorf("the put has %s %v, want %v", key, got[key], want)
		}
	}
	for _, key := range []string{"request", "duration", "remote", "agent", "time"} {
		if got[key] == nil {
			t.Errorf("the put has no %s: %v", key, got)
		}
	}
	if refused := find(list, "code", "SignatureDoesNotMatch"); refused["principal"] != nil {
		t.Errorf("a wrong password proves %v", refused["principal"])
	}
	if probe := find(list, "operation", "Health"); id == "" || probe["request"] != id {
		t.Errorf("the probe has the id %v, the answer %q", probe["request"], id)
	}
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	hangUp(t)
	eventually(t, "a new file", func() bool { _, err := os.Stat(file); return err == nil })
	get(t, d.s3, "log-test", "log-test-password")
	eventually(t, "the records of the new file", func() bool { return len(records(file)) > 0 })
	find(records(file), "operation", "GetObject")
}
