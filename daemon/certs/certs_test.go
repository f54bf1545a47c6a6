package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/tests/certificates"
)

// shake makes a handshake with the folder's certificates and returns the one that was served.
func shake(t *testing.T, f *Folder, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ended := make(chan bool)
	go func() {
		defer close(ended)
		_ = tls.Server(b, f.TLS("http/1.1")).Handshake() // the client's end tells
		b.Close()
	}()
	client.InsecureSkipVerify = client.RootCAs == nil
	c := tls.Client(a, client)
	err := c.Handshake()
	a.Close()
	<-ended
	if err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

// served is the first name of the certificate that a client gets who asks for a name.
func served(t *testing.T, f *Folder, name string) string {
	t.Helper()
	c, err := shake(t, f, &tls.Config{ServerName: name})
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	return c.Subject.CommonName
}

func TestChoice(t *testing.T) {
	a, dir := certificates.New(t), t.TempDir()
	a.Write(dir, certificates.ECDSA(t), "default.test", "127.0.0.1")
	a.Write(filepath.Join(dir, "one"), certificates.RSA(t), "one.test", "*.s3.test")
	a.Write(filepath.Join(dir, "exact"), certificates.Ed25519(t), "exact.s3.test")
	a.Write(filepath.Join(dir, "CAs"), certificates.ECDSA(t), "cas.test")
	a.Write(filepath.Join(dir, "..data"), certificates.ECDSA(t), "hidden.test")
	a.Write(filepath.Join(dir, "z-ecdsa"), certificates.ECDSA(t), "ONE.test")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "empty"), 0o755), os.WriteFile(filepath.Join(dir, "readme"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	f, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"": "default.test", "default.test": "default.test", "other.test": "default.test", "one.test": "one.test", "One.Test": "one.test",
		"bucket.s3.test": "one.test", "exact.s3.test": "exact.s3.test", "a.b.s3.test": "default.test", "s3.test": "default.test",
		"cas.test": "default.test", "hidden.test": "default.test",
	} {
		if got := served(t, f, name); got != want {
			t.Errorf("%q: the certificate of %s, want %s", name, got, want)
		}
	}
	// Of two certificates for a name the client gets one that it can use.
	c, err := shake(t, f, &tls.Config{ServerName: "one.test", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
	if err != nil || c.Subject.CommonName != "ONE.test" {
		t.Errorf("a client that knows no RSA: %v, %v", c, err)
	}
	// The chain goes out with the certificate, whose name and signature hold.
	if _, err := shake(t, f, &tls.Config{ServerName: "bucket.s3.test", RootCAs: a.Pool()}); err != nil {
		t.Error(err)
	}
	if _, err := shake(t, f, &tls.Config{ServerName: "one.test", MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	if _, err := shake(t, f, &tls.Config{ServerName: "one.test", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}}); err == nil {
		t.Error("a cipher without forward secrecy or authentication was agreed on")
	}
	if n := len(f.Expiries()); n != 4 {
		t.Errorf("%d expiries, want those of 4 pairs", n)
	}
}

// TestRefused has folders that a daemon does not start with.
func TestRefused(t *testing.T) {
	a, now := certificates.New(t), time.Now()
	key := certificates.ECDSA(t)
	good, private := a.Pair(key, now.Add(-time.Hour), now.Add(time.Hour), "a.test")
	old, _ := a.Pair(key, now.Add(-2*time.Hour), now.Add(-time.Hour), "a.test")
	early, _ := a.Pair(key, now.Add(time.Hour), now.Add(2*time.Hour), "a.test")
	_, stranger := a.Pair(certificates.ECDSA(t), now, now, "a.test")
	for _, c := range []struct {
		name                 string
		certificate, private []byte
		folder, want         string
	}{
		{"expired", old, private, "", "has expired at"},
		{"expired below", old, private, "sub", "has expired at"},
		{"early", early, private, "", "holds only from"},
		{"no pair", good, stranger, "", "are no pair that can be used"},
		{"no PEM", []byte("hello"), private, "", "failed to find any PEM data"},
		{"no key", good, nil, "sub", "private.key: no such file"},
		{"no certificate", nil, private, "sub", "public.crt: no such file"},
		{"huge", bytes.Repeat([]byte("x"), fileBytesMax+1), private, "", "has more than"},
		{"nothing", nil, nil, "", "must have public.crt and private.key"},
	} {
		dir := t.TempDir()
		if c.folder != "" {
			certificates.WriteFiles(t, dir, good, private)
		}
		at := filepath.Join(dir, c.folder)
		certificates.WriteFiles(t, at, c.certificate, c.private)
		if c.certificate == nil {
			os.Remove(filepath.Join(at, CertificateName))
		}
		if c.private == nil {
			os.Remove(filepath.Join(at, KeyName))
		}
		if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v; want %q and the path", c.name, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent"), nil); err == nil {
		t.Error("a folder that is absent was opened")
	}
}

func TestKeyThatOthersMayRead(t *testing.T) {
	a, dir := certificates.New(t), t.TempDir()
	a.Write(dir, certificates.ECDSA(t), "a.test")
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1} {
		if err := os.Chmod(filepath.Join(dir, KeyName), mode); err != nil {
			t.Fatal(err)
		}
		f, err := Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if list := f.Warnings(); len(list) != want || want > 0 && !strings.Contains(list[0], "chmod o= on it") {
			t.Errorf("mode %o: %q", mode, list)
		}
	}
}

func TestReload(t *testing.T) {
	a, dir, now := certificates.New(t), t.TempDir(), time.Now()
	key := certificates.ECDSA(t)
	pair := func(name string, to time.Time) ([]byte, []byte) { return a.Pair(key, now.Add(-9*time.Hour), to, name) }
	a.Write(dir, key, "first.test")
	a.Write(filepath.Join(dir, "sub"), key, "sub.test")
	var log bytes.Buffer
	f, err := Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	// look demands what is served afterwards, and what is said of it; a second look says nothing more.
	look := func(what, name, want, said string) {
		t.Helper()
		log.Reset()
		f.Look()
		if got := served(t, f, name); got != want {
			t.Errorf("%s: the certificate of %s, want %s", what, got, want)
		}
		if text := log.String(); (text == "") != (said == "") || !strings.Contains(text, said) {
			t.Errorf("%s: the log has %q, want %q", what, text, said)
		}
		log.Reset()
		if f.Look(); log.Len() > 0 {
			t.Errorf("%s: told twice: %q", what, log.String())
		}
	}
	look("nothing changed", "", "first.test", "")
	a.Write(dir, key, "second.test")
	look("a renewed pair", "", "second.test", "second.test")

	certificate, private := a.Pair(certificates.ECDSA(t), now.Add(-time.Hour), now.Add(999*time.Hour), "third.test")
	if err := os.WriteFile(filepath.Join(dir, CertificateName), certificate, 0o644); err != nil {
		t.Fatal(err)
	}
	look("a half of a pair", "", "second.test", "the former one stays in use")
	if err := os.WriteFile(filepath.Join(dir, KeyName), private, 0o600); err != nil {
		t.Fatal(err)
	}
	look("its other half", "", "third.test", "third.test")

	expired, private := pair("expired.test", now.Add(-time.Minute))
	certificates.WriteFiles(t, dir, expired, private)
	look("an expired pair", "", "third.test", "has expired at")
	certificates.WriteFiles(t, dir, []byte("torn"), private)
	look("what is no certificate", "", "third.test", "failed to find any PEM data")
	if err := os.Remove(filepath.Join(dir, CertificateName)); err != nil {
		t.Fatal(err)
	}
	look("no certificate", "", "third.test", "must have public.crt and private.key")

	// The default being broken does not keep others from being renewed.
	a.Write(filepath.Join(dir, "sub"), key, "sub.test", "more.test")
	look("another pair beside a broken one", "more.test", "sub.test", "more.test")
	a.Write(filepath.Join(dir, "added"), key, "added.test")
	look("an added pair", "added.test", "added.test", "added.test")
	if err := os.RemoveAll(filepath.Join(dir, "added")); err != nil {
		t.Fatal(err)
	}
	look("a folder that is gone", "added.test", "third.test", "its folder is gone")
	certificates.WriteFiles(t, filepath.Join(dir, "bad"), expired, private)
	look("an added pair that is expired", "expired.test", "third.test", "a certificate that was added cannot be used")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	look("the folder is away", "sub.test", "sub.test", "cannot be read again")
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	a.Write(dir, key, "last.test")
	look("everything is back", "", "last.test", "last.test")
}

// TestEarly has a pair that does not hold yet: it is told once, and taken over when its time comes, though its files do not change any more.
func TestEarly(t *testing.T) {
	a, dir, now := certificates.New(t), t.TempDir(), time.Now()
	key := certificates.ECDSA(t)
	a.Write(dir, key, "first.test")
	var log bytes.Buffer
	f, err := openAt(dir, slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	certificate, private := a.Pair(key, now.Add(time.Hour), now.AddDate(1, 0, 0), "next.test")
	certificates.WriteFiles(t, dir, certificate, private)
	certificates.WriteFiles(t, filepath.Join(dir, "added"), certificate, private)
	for _, c := range []struct {
		after time.Duration
		want  string
		said  int // lines
	}{{0, "first.test", 2}, {time.Minute, "first.test", 0}, {59 * time.Minute, "next.test", 2}, {0, "next.test", 0}} {
		log.Reset()
		now = now.Add(c.after)
		f.Look()
		if got := served(t, f, ""); got != c.want || strings.Count(log.String(), "\n") != c.said {
			t.Errorf("%s later: %s, not %s; the log has %q", c.after, got, c.want, log.String())
		}
	}
}

// TestSymbolicLinks changes the pair as Kubernetes does: the files are links through a link that is put in another's place.
func TestSymbolicLinks(t *testing.T) {
	a, dir := certificates.New(t), t.TempDir()
	version := func(name string, key crypto.Signer) {
		t.Helper()
		a.Write(filepath.Join(dir, "..", name), key, name)
		link := filepath.Join(dir, "..data.new")
		if err := errors.Join(os.Symlink(filepath.Join("..", name), link), os.Rename(link, filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	dir = filepath.Join(dir, "certs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	version("one.test", certificates.ECDSA(t))
	for _, name := range []string{CertificateName, KeyName} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join("..", "one.test"), filepath.Join(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	f, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.Expiries()); n != 2 {
		t.Errorf("%d pairs, want the default and the linked folder", n)
	}
	version("two.test", certificates.RSA(t))
	f.Look()
	if got := served(t, f, "two.test"); got != "two.test" {
		t.Errorf("after the link was swapped the certificate is that of %s", got)
	}
}

// TestExpiryIsTold lets the time of a certificate go by.
func TestExpiryIsTold(t *testing.T) {
	a, dir, now := certificates.New(t), t.TempDir(), time.Now()
	certificate, private := a.Pair(certificates.ECDSA(t), now.Add(-time.Hour), now.Add(20*24*time.Hour), "a.test")
	certificates.WriteFiles(t, dir, certificate, private)
	var log bytes.Buffer
	f, err := openAt(dir, slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		days int
		want string
	}{{0, ""}, {10, ""}, {4, "runs out soon"}, {1, ""}, {5, "has expired"}, {1, ""}} {
		now = now.Add(time.Duration(step.days) * 24 * time.Hour)
		log.Reset()
		f.Look()
		if text := log.String(); (text == "") != (step.want == "") || !strings.Contains(text, step.want) {
			t.Errorf("%d days later: %q, want %q", step.days, text, step.want)
		}
	}
	certificate, private = a.Pair(certificates.ECDSA(t), now.Add(-time.Hour), now.Add(24*time.Hour), "a.test")
	certificates.WriteFiles(t, dir, certificate, private)
	log.Reset()
	if f.Look(); !strings.Contains(log.String(), "a certificate is in use") || !strings.Contains(log.String(), "runs out soon") {
		t.Errorf("one for a day: %q", log.String())
	}
}
