package clients_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/tests/certificates"
	"holdfast/tests/daemontest"
)

// secure starts a daemon that speaks TLS, with a certificate for 127.0.0.1 and, below it, a wildcard one for the buckets of s3.test. It returns the
// file of the authority.
func secure(t *testing.T) (d *daemontest.Daemon, authority string) {
	t.Helper()
	a, dir := certificates.New(t), t.TempDir()
	a.Write(filepath.Join(dir, "certs"), certificates.ECDSA(t), "127.0.0.1", "localhost")
	a.Write(filepath.Join(dir, "certs", "s3.test"), certificates.RSA(t), "s3.test", "*.s3.test")
	authority = filepath.Join(dir, "authority.pem")
	if err := os.WriteFile(authority, a.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	d = daemontest.New(t)
	d.Args, d.Secure = []string{"--certs-dir", filepath.Join(dir, "certs"), "--s3-domains", "s3.test"}, &tls.Config{RootCAs: a.Pool()}
	d.Start()
	t.Cleanup(d.Stop)
	return d, authority
}

// TestTLS has a session of aws over TLS, and one of curl with the bucket in the name of the host.
func TestTLS(t *testing.T) {
	aws := need(t, "aws")
	curl := &client{t: t, path: find(t, "curl"), home: aws.home}
	d, authority := secure(t)
	aws.env = append(aws.env, "AWS_ACCESS_KEY_ID="+daemontest.User, "AWS_SECRET_ACCESS_KEY="+daemontest.Password)
	big := filepath.Join(aws.home, "big")
	bigFile(t, big)
	s3 := func(args ...string) string {
		return aws.run(append([]string{"--endpoint-url", d.URL(), "--ca-bundle", authority}, args...)...)
	}
	s3("s3", "mb", "s3://secure")
	s3("s3", "cp", "--no-progress", big, "s3://secure/big")
	s3("s3", "cp", "--no-progress", "s3://secure/big", big+".back")
	sameFile(t, big, big+".back")
	aws.fails("certificate verify failed", "--endpoint-url", d.URL(), "s3", "ls")

	_, port, err := net.SplitHostPort(d.Address)
	if err != nil {
		t.Fatal(err)
	}
	const host = "secure.s3.test"
	ask := func(args ...string) string {
		return curl.run(append([]string{"-sS", "--fail-with-body", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--cacert", authority, "--resolve", host + ":" + port + ":127.0.0.1", "--aws-sigv4", "aws:amz:us-east-1:s3",
			"--user", daemontest.User + ":" + daemontest.Password}, args...)...)
	}
	at := "https://" + host + ":" + port
	ask("-X", "PUT", "--data-binary", "over a wildcard certificate", at+"/a/key")
	if got := ask(at + "/a/key"); got != "over a wildcard certificate" {
		t.Errorf("curl got %q", got)
	}
	if got := s3("s3", "cp", "s3://secure/a/key", "-"); !strings.HasSuffix(got, "over a wildcard certificate") {
		t.Errorf("aws got %q", got)
	}
	if got := ask("-o", os.DevNull, "-w", "%{http_version} %{ssl_verify_result}", at+"/a/key"); got != "1.1 0" {
		t.Errorf("curl spoke %q, want HTTP 1.1 and a certificate that holds", got)
	}
	curl.fails("SSL certificate problem", "-sS", "https://localhost:"+port+"/minio/health/live")
}
