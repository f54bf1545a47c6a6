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
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		root, err = generate(file)
		return root, file, true, err
	}
	if err != nil {
		return root, file, false, err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "HOLDFAST_ROOT_USER":
			root.AccessKey = value
		case "HOLDFAST_ROOT_PASSWORD":
			root.SecretKey = value
		}
	}
	if len(root.AccessKey) < 3 || len(root.SecretKey) < 8 {
		return root, file, false, fmt.Errorf("%s has no root credential; restore it, or give HOLDFAST_ROOT_USER and HOLDFAST_ROOT_PASSWORD", file)
	}
	return root, file, false, nil
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
