package cli

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/engine/disk"
	"holdfast/engine/drive"
)

// call runs a command line.
func call(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(append([]string{"holdfast"}, args...), &out, &err)
	return code, out.String(), err.String()
}

func TestHelp(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--help"}, []string{"server", "status", "debug", "version", "holdfast server /srv/drive{1...4}"}},
		{nil, []string{"server", "status"}},
		{[]string{"server", "--help"}, []string{"--s3-address", "--state", "HOLDFAST_S3_ADDRESS", "root-credentials", "DRIVE"}},
		{[]string{"status", "--help"}, []string{"--json", "Exits with 3"}},
		{[]string{"debug", "--help"}, []string{"drive", "log", "index", "extent"}},
		{[]string{"version"}, []string{"holdfast "}},
	} {
		code, out, errors := call(c.args...)
		if code != 0 || errors != "" {
			t.Errorf("%q: %d, %q", c.args, code, errors)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q lacks %q:\n%s", c.args, want, out)
			}
		}
		if strings.Contains(out, "--root-password") {
			t.Errorf("%q offers to put a password into a command line", c.args)
		}
	}
}

func TestWrongCalls(t *testing.T) {
	state := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"sevrer"}, 2, `no command "sevrer"`},
		{[]string{"server", "--adress", ":1", "/d"}, 2, "adress"},
		{[]string{"server", "--metrics-address", "127.0.0.1:9005", "/d"}, 2, "this build lacks"},
		{[]string{"server", "--sftp-address", ":9022", "/d"}, 2, "this build lacks SFTP"},
		{[]string{"server", "--config", filepath.Join(state, "none.toml"), "/d"}, 2, "none.toml"},
		{[]string{"status", "--state", state}, 1, "is it running"},
		{[]string{"debug", "drive"}, 2, "one drive"},
		{[]string{"debug", "drive", state}, 1, ""},
	} {
		code, out, errors := call(c.args...)
		if code != c.code || !strings.Contains(errors, c.want) || !strings.HasPrefix(errors, "holdfast: ") {
			t.Errorf("%q: %d, %q, %q; want %d and %q", c.args, code, out, errors, c.code, c.want)
		}
	}
}

func TestDebugOfADrive(t *testing.T) {
	dir := t.TempDir()
	fsys, err := disk.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	id := drive.Identity{Cluster: [16]byte{0xc1}, Drive: 7, Incarnation: 9, Role: drive.RoleData}
	if err := drive.Format(fsys, id, drive.Geometry{RingBytes: 1 << 20, SegmentBytes: 1 << 20, ReserveBytes: 4096}); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{"drive": "drive 7", "log": "", "index": "", "extent": ""} {
		code, out, errors := call("debug", command, dir)
		if code != 0 || errors != "" || !strings.Contains(out, want) {
			t.Errorf("debug %s: %d, %q, %q", command, code, out, errors)
		}
	}
}
