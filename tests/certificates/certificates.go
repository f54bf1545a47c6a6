// Package certificates makes certificates for tests: an authority, and pairs that it signs.
//
// Promise: what it makes is valid at the time that is asked for, and for the names that are.
//
// The package does not know who serves with them.
package certificates

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	t           testing.TB
	key         crypto.Signer
	certificate *x509.Certificate
}

// New makes an authority.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, key: ECDSA(t)}
	a.certificate = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-1000 * time.Hour),
		NotAfter: time.Now().Add(10000 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, a.key.Public())
	return a
}

// sign makes a certificate; one without a parent signs itself.
func (a *Authority) sign(template, parent *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = serial
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// Pool has the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// ECDSA makes a key on P-256.
func ECDSA(t testing.TB) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// RSA makes a key of 2048 bits.
func RSA(t testing.TB) crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Ed25519 makes a key.
func Ed25519(t testing.TB) crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Pair makes the two files of a pair for names, or addresses, that is valid from from to to. The authority follows the certificate.
func (a *Authority) Pair(key crypto.Signer, from, to time.Time, names ...string) (certificate, private []byte) {
	a.t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, NotBefore: from, NotAfter: to,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	c := a.sign(template, a.certificate, key.Public())
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	return bytes.Join([][]byte{leaf, a.PEM()}, nil), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Write makes a pair that is valid now, in a folder that is made where there is none.
func (a *Authority) Write(dir string, key crypto.Signer, names ...string) {
	a.t.Helper()
	certificate, private := a.Pair(key, time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour), names...)
	WriteFiles(a.t, dir, certificate, private)
}

// WriteFiles writes the two files of a pair.
func WriteFiles(t testing.TB, dir string, certificate, private []byte) {
	t.Helper()
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(dir, "public.crt"), certificate, 0o644), os.WriteFile(filepath.Join(dir, "private.key"), private, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}
