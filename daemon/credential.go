package daemon

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"holdfast/access"
	"holdfast/daemon/config"
)

const credentialName = "root-credentials"

// credential returns the root credential: the configured one, or that of the state folder, which the first start generates. File is where
// the latter is; fresh tells that it was generated now.
func credential(c *config.Config) (root access.Root, file string, fresh bool, err error) {
	if c.RootUser != "" {
		return access.Root{AccessKey: c.RootUser, SecretKey: c.RootPassword}, "", false, nil
	}
	file = filepath.Join(c.State, credentialName)
	root, err = read(file)
	if errors.Is(err, fs.ErrNotExist) {
		root, err = generate(file)
		return root, file, true, err
	}
	if err != nil {
		err = fmt.Errorf("%s: %w; restore it, or give HOLDFAST_ROOT_USER and HOLDFAST_ROOT_PASSWORD", file, err)
	}
	return root, file, false, err
}

// read returns what the file has. A file that others may read is refused: what it holds may be known to them.
func read(file string) (access.Root, error) {
	info, err := os.Stat(file)
	if err != nil {
		return access.Root{}, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return access.Root{}, fmt.Errorf("others than the owner may use it (mode %04o); run chmod 600 on it", mode)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return access.Root{}, err
	}
	return parse(string(b))
}

// parse reads the lines HOLDFAST_ROOT_USER=… and HOLDFAST_ROOT_PASSWORD=….
func parse(text string) (root access.Root, err error) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "HOLDFAST_ROOT_USER":
			root.AccessKey = value
		case "HOLDFAST_ROOT_PASSWORD":
			root.SecretKey = value
		}
	}
	return root, root.Check()
}

// generate draws a credential and writes it durably, readable by the owner alone.
func generate(file string) (access.Root, error) {
	var random [35]byte
	if _, err := rand.Read(random[:]); err != nil {
		return access.Root{}, err
	}
	text := base32.StdEncoding.EncodeToString(random[:])
	root := access.Root{AccessKey: text[:16], SecretKey: text[16:]}
	temporary := file + ".new"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return root, err
	}
	_, err = fmt.Fprintf(f, "HOLDFAST_ROOT_USER=%s\nHOLDFAST_ROOT_PASSWORD=%s\n", root.AccessKey, root.SecretKey)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temporary, file)
	}
	if err == nil {
		err = syncDir(filepath.Dir(file))
	}
	return root, err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
