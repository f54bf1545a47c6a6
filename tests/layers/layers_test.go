// Package layers keeps the order in which packages may import each other.
//
// Promise: a package imports from earlier rows only, and packages of one row do not know each other; engine knows no protocol; gateways
// reach the engine through its interface alone.
package layers

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// order is a statement of policy. DO NOT CHANGE THIS DATA TO FIX BUILDS: a package that does not fit is in the wrong place.
// A name ending in /… stands for a package and everything below it.
const order = `
engine rpc kms
engine/buffer engine/checksum engine/cluster engine/disk engine/meta engine/memory engine/enginetest access observe engine/disk/…
engine/erasure engine/drive engine/stream engine/drive/… access/policy access/oidc access/ldap access/keystone kms/… observe/…
engine/extent engine/group engine/quorum engine/group/… access/identity
engine/coordinator engine/repair rpc/… access/sts access/session
engine/node
filetree workers gateways
fusefs workers/… gateways/s3/sigv4 gateways/s3/wire
workers/notify/… gateways/…
daemon/config
daemon
cli
cli/holdfast
`

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "holdfast/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// row returns the row and the word that a package falls under; the longest word wins.
func row(path string) (number int, word string) {
	number = -1
	for i, line := range strings.Split(strings.TrimSpace(order), "\n") {
		for _, w := range strings.Fields(line) {
			base, tree := strings.CutSuffix(w, "/…")
			if (path == w || tree && strings.HasPrefix(path, base+"/")) && len(w) > len(word) {
				number, word = i, w
			}
		}
	}
	return number, word
}

func TestOrder(t *testing.T) {
	checked := 0
	for _, p := range packages(t) {
		path, ok := strings.CutPrefix(p.ImportPath, "holdfast/")
		if !ok || strings.HasPrefix(path, "tests/") {
			continue
		}
		from, word := row(path)
		if from < 0 {
			t.Errorf("%s has no row", path)
			continue
		}
		for _, imported := range p.Imports {
			target, ours := strings.CutPrefix(imported, "holdfast/")
			if strings.HasPrefix(path, "engine") && (imported == "net/http" || imported == "encoding/xml") {
				t.Errorf("%s imports %s: the engine knows no protocol", path, imported)
			}
			if !ours {
				continue
			}
			checked++
			to, other := row(target)
			sameTree := word == other && strings.HasSuffix(word, "/…") || strings.HasPrefix(path, target+"/")
			if to > from || to == from && !sameTree && path != target {
				t.Errorf("%s imports %s: from row %d, not before row %d", path, target, to, from)
			}
			above := strings.HasPrefix(path, "gateways") || strings.HasPrefix(path, "workers") || strings.HasPrefix(path, "filetree") || strings.HasPrefix(path, "access")
			if above && strings.HasPrefix(target, "engine/") {
				t.Errorf("%s imports %s: it may know the engine's interface alone", path, target)
			}
		}
	}
	if checked == 0 {
		t.Fatal("no import was checked")
	}
}
