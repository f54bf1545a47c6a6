// Package certs keeps the certificates of a folder, chooses among them by the name that a client asks for, and reads them again when they change.
//
// Promise: what is in use was whole, its key fits and it was valid when it was read; a change that does not come up to that is told and leaves in
// use what was. A change is seen by what the files have, however it came about: written over, renamed, or reached by another symbolic link.
//
// The package does not know what is served with the certificates, nor who issued them: it makes and renews none.
//
// The folder is laid out as MinIO has it:
//
//	public.crt, private.key             the default pair
//	NAME/public.crt, NAME/private.key   one more pair for each subfolder, whatever its name is
//
// in PEM; a certificate is followed by those that lead to its root, which is not needed. The subfolder CAs, in which MinIO has what it trusts, and
// names that begin with a dot, as Kubernetes has them beside its symbolic links, are passed over.
package certs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The names of the files of a pair.
const (
	CertificateName = "public.crt"
	KeyName         = "private.key"
)

const (
	// pollInterval is how often the folder is looked at. Notices of the file system are not used: they miss what is behind symbolic links and
	// what another machine changed on a shared file system, and a look reads a few small files.
	pollInterval = 10 * time.Second
	// soonExpired is when a certificate that runs out is spoken of; it is again when it has run out.
	soonExpired = 7 * 24 * time.Hour
	// fileBytesMax bounds a file.
	fileBytesMax = 1 << 20
	// pairsMax bounds the number of pairs.
	pairsMax = 1000
)

// pair is a certificate with its key.
type pair struct {
	folder      string // below the certificates' folder; "" is the default
	certificate *tls.Certificate
	exposed     bool // others than the owner and the group may read or change the key
}

// set is what is in use. It does not change.
type set struct {
	pairs     []*pair // the default first, then by folder
	exact     map[string][]*pair
	wildcards map[string][]*pair // by what follows "*."
}

// Folder is an open folder of certificates.
type Folder struct {
	dir string
	log *slog.Logger
	now func() time.Time

	set     atomic.Pointer[set]
	mu      sync.Mutex              // held while the folder is read; guards what follows
	seen    map[string][32]byte     // what the files of each pair had at the last look, whether it could be used or not
	early   map[string]bool         // what was seen could not be used only because it does not hold yet
	problem string                  // of the folder as a whole, that was told
	soon    map[*pair]time.Duration // what was said of pairs that run out: they have less than this left
}

// Open reads the certificates of a folder. It refuses a folder without a default pair, a pair of which a half is missing or does not fit, and what has
// expired or does not hold yet. Log is told of changes and may be nil.
func Open(dir string, log *slog.Logger) (*Folder, error) { return openAt(dir, log, time.Now) }

func openAt(dir string, log *slog.Logger, now func() time.Time) (*Folder, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &Folder{dir: dir, log: log, now: now, seen: map[string][32]byte{}, early: map[string]bool{}, soon: map[*pair]time.Duration{}}
	folders, err := f.folders()
	if err != nil {
		return nil, err
	}
	var pairs []*pair
	for _, name := range folders {
		p, err := f.read(name)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	f.use(pairs)
	return f, nil
}

// folders lists those that have a pair, or a half of one; the folder itself, as "", is the first.
func (f *Folder) folders() ([]string, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("the folder of the certificates: %w", err)
	}
	list := []string{""}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == "CAs" {
			continue
		}
		dir := filepath.Join(f.dir, e.Name())
		if info, err := os.Stat(dir); err != nil || !info.IsDir() { // behind a symbolic link, too
			continue
		}
		for _, name := range []string{CertificateName, KeyName} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				list = append(list, e.Name())
				break
			}
		}
	}
	if len(list) > pairsMax {
		return nil, fmt.Errorf("the folder %s of the certificates has %d pairs; at most %d are possible", f.dir, len(list), pairsMax)
	}
	return list, nil
}

// read reads a pair, notes what its files have, and judges it.
func (f *Folder) read(folder string) (*pair, error) {
	certificateFile, keyFile := filepath.Join(f.dir, folder, CertificateName), filepath.Join(f.dir, folder, KeyName)
	certificate, _, err := readFile(certificateFile)
	key, mode, keyErr := readFile(keyFile)
	f.seen[folder] = sha256.Sum256(slices.Concat(certificate, []byte{0}, key))
	delete(f.early, folder)
	if err := cmp.Or(err, keyErr); err != nil {
		if errors.Is(err, fs.ErrNotExist) && folder == "" {
			return nil, fmt.Errorf("%w; the folder of the certificates must have %s and %s", err, CertificateName, KeyName)
		}
		return nil, err
	}
	c, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s are no pair that can be used: %s", certificateFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	switch now := f.now(); {
	case now.After(c.Leaf.NotAfter):
		return nil, fmt.Errorf("the certificate %s has expired at %s; renew it", certificateFile, c.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.Leaf.NotBefore):
		f.early[folder] = true
		return nil, fmt.Errorf("the certificate %s holds only from %s on; is the clock right?", certificateFile, c.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return &pair{folder: folder, certificate: &c, exposed: mode&0o007 != 0}, nil
}

func readFile(name string) ([]byte, fs.FileMode, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(file, fileBytesMax+1))
	if err == nil && len(b) > fileBytesMax {
		err = fmt.Errorf("%s has more than %d bytes and is neither a certificate nor a key", name, fileBytesMax)
	}
	return b, info.Mode().Perm(), err
}

// use makes pairs those in use.
func (f *Folder) use(pairs []*pair) {
	s := &set{pairs: pairs, exact: map[string][]*pair{}, wildcards: map[string][]*pair{}}
	for _, p := range pairs {
		for _, name := range namesOf(p.certificate.Leaf) {
			if parent, ok := strings.CutPrefix(name, "*."); ok {
				s.wildcards[parent] = append(s.wildcards[parent], p)
			} else {
				s.exact[name] = append(s.exact[name], p)
			}
		}
	}
	f.set.Store(s)
}

// namesOf returns the names that a certificate is for, in lower case. The common name counts where there is no other, as it once did.
func namesOf(c *x509.Certificate) []string {
	var names []string
	for _, name := range c.DNSNames {
		names = append(names, strings.ToLower(name))
	}
	if len(names) == 0 && len(c.IPAddresses) == 0 && c.Subject.CommonName != "" {
		names = append(names, strings.ToLower(c.Subject.CommonName))
	}
	return names
}

// TLS returns a configuration that serves with the certificates that are in use at each handshake: TLS 1.2 and 1.3 with forward secrecy and
// authenticated ciphers. protocols are what ALPN may choose (RFC 7301).
func (f *Folder) TLS(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protocols, GetCertificate: f.choose,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all as good
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// choose finds the certificate for the name that the client asks for (RFC 6066, section 3): one that names it, else one whose wildcard stands for
// its first label, else the default. Of several the first that the client can use is taken.
func (f *Folder) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s := f.set.Load()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	_, parent, _ := strings.Cut(name, ".")
	for _, fitting := range [][]*pair{s.exact[name], s.wildcards[parent]} {
		for _, p := range fitting {
			if hello.SupportsCertificate(p.certificate) == nil {
				return p.certificate, nil
			}
		}
		if len(fitting) > 0 {
			return fitting[0].certificate, nil
		}
	}
	return s.pairs[0].certificate, nil
}

// Warnings says what the operator should know of the certificates. A key that others may read or change is used all the same: Kubernetes mounts
// secrets so unless told otherwise, and a daemon without TLS, or with a certificate that has run out, would protect less.
func (f *Folder) Warnings() (list []string) {
	for _, p := range f.set.Load().pairs {
		if p.exposed {
			list = append(list, f.exposedText(p))
		}
	}
	return list
}

func (f *Folder) exposedText(p *pair) string {
	return fmt.Sprintf("every user of this machine may use the private key %s; run chmod o= on it", filepath.Join(f.dir, p.folder, KeyName))
}

// Expiry is when a certificate in use runs out.
type Expiry struct {
	Folder string // below the folder of the certificates; "" is the default
	At     time.Time
}

// Expiries returns when each certificate in use runs out, the default first.
func (f *Folder) Expiries() (list []Expiry) {
	for _, p := range f.set.Load().pairs {
		list = append(list, Expiry{p.folder, p.certificate.Leaf.NotAfter})
	}
	return list
}

// Watch looks for changes until ctx ends.
func (f *Folder) Watch(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.Look()
		}
	}
}

// Look takes over what has changed. A pair that cannot be used any more stays as it was, and what is wrong is told once; one whose folder is gone
// goes, but for the default.
func (f *Folder) Look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.tellExpiries()
	folders, err := f.folders()
	if err != nil {
		if text := err.Error(); text != f.problem {
			f.problem = text
			f.log.Error("the certificates in use stay: they cannot be read again", "error", err)
		}
		return
	}
	f.problem = ""
	before := map[string]*pair{}
	for _, p := range f.set.Load().pairs {
		before[p.folder] = p
	}
	var pairs []*pair
	changed := false
	for _, name := range folders {
		p, fresh := f.lookAt(name, before[name])
		changed = changed || fresh
		if p != nil {
			pairs = append(pairs, p)
		}
		delete(before, name)
	}
	for name := range before {
		changed = true
		delete(f.seen, name)
		delete(f.early, name)
		f.log.Info("a certificate is not in use any more: its folder is gone", "folder", filepath.Join(f.dir, name))
	}
	if changed {
		f.use(pairs)
	}
}

// lookAt returns the pair to be used for a folder, and whether it is another than before.
func (f *Folder) lookAt(name string, before *pair) (*pair, bool) {
	seen, early := f.seen[name], f.early[name]
	p, err := f.read(name)
	switch {
	case f.seen[name] == seen && err == nil && before != nil && p.exposed != before.exposed: // the mode of the key's file
		if p.exposed {
			f.log.Warn(f.exposedText(p))
		}
		return p, true
	case f.seen[name] == seen && (!early || err != nil):
		return before, false
	case err != nil && before != nil:
		f.log.Error("a changed certificate cannot be used; the former one stays in use", "error", err, "expires", before.certificate.Leaf.NotAfter)
		return before, false
	case err != nil:
		f.log.Error("a certificate that was added cannot be used", "error", err)
		return nil, false
	}
	f.log.Info("a certificate is in use", "folder", filepath.Join(f.dir, name), "names", strings.Join(namesOf(p.certificate.Leaf), " "), "expires", p.certificate.Leaf.NotAfter)
	if p.exposed {
		f.log.Warn(f.exposedText(p))
	}
	return p, true
}

// tellExpiries says once of each pair in use that it runs out soon, and once that it has.
func (f *Folder) tellExpiries() {
	told := map[*pair]time.Duration{}
	for _, p := range f.set.Load().pairs {
		end := p.certificate.Leaf.NotAfter
		left := end.Sub(f.now())
		before, spoken := f.soon[p]
		switch {
		case left > soonExpired:
			continue
		case left > 0:
			told[p] = soonExpired
			if !spoken {
				f.log.Warn("a certificate runs out soon; renew it", "file", filepath.Join(f.dir, p.folder, CertificateName), "expires", end)
			}
		default:
			told[p] = 0
			if !spoken || before > 0 {
				f.log.Error("a certificate in use has expired; clients will refuse it", "file", filepath.Join(f.dir, p.folder, CertificateName), "expired", end)
			}
		}
	}
	f.soon = told
}
