package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

func load(t *testing.T, file string, environ map[string]string, flags map[string][]string) (*Config, error) {
	t.Helper()
	return Load(file, func(name string) (string, bool) { v, ok := environ[name]; return v, ok }, flags)
}

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "holdfast.toml")
	if err := os.WriteFile(file, []byte("s3_address = ':1'\nregion = 'file'\nlog_level = 'warn'\nstate = '/s'\ndrives = ['/f']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, file, map[string]string{"HOLDFAST_REGION": "environment", "HOLDFAST_LOG_LEVEL": "error", "MINIO_VOLUMES": "/m{1...2}"},
		map[string][]string{"log_level": {"debug"}})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.S3Address, c.Region, c.LogLevel, c.Drives, c.Socket)
	if want := ":1environmentdebug[/m1 /m2]/s/holdfast.sock"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestExposed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "holdfast.toml")
	for text, exposed := range map[string]bool{"drives = ['/f']\nroot_user = 'user'\nroot_password = 'password'\n": true, "drives = ['/f']\n": false} {
		for _, mode := range []os.FileMode{0o600, 0o640, 0o644} {
			if err := errors.Join(os.WriteFile(file, []byte(text), mode), os.Chmod(file, mode)); err != nil {
				t.Fatal(err)
			}
			c, err := load(t, file, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Exposed != ""; got != (exposed && mode == 0o644) {
				t.Errorf("mode %o, %q: exposed %v", mode, text, got)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "holdfast.toml")
	if err := os.WriteFile(file, []byte("s3_adress = ':1'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, file, nil, nil); err == nil || !strings.Contains(err.Error(), "s3_adress") {
		t.Errorf("an unknown key in the file: %v", err)
	}
	for text, want := range map[string]string{
		"region = 'a'\n\ndrives = '/a'": `line 3: drives is a list of texts; write drives = ["/a", "/b"]`,
		"drives = [1]":                  `line 1: drives is a list`,
		"\nmemory = 5":                  `line 2: memory is a string; write it in quotes`,
		"region = 'x":                   "line 1, column 11: unterminated",
		"region='a'\nregion='b'":        "line 2, column 1: key region is already defined",
		"\ns3_adress = ':1'":            "line 2: there is no option s3_adress; the nearest is s3_address",
		"[unheard]\nof = 1":             "line 1: there is no option unheard",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := load(t, file, nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "toml: ") || strings.Contains(err.Error(), "Config") {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
	for key, cases := range map[string][]string{
		"console_address": {":9001"}, "metrics_address": {"127.0.0.1", "9005"}, "metrics_auth": {"none"}, "sftp_address": {":9022"}, "s3_address": {"9000", "host"},
		"root_user": {"root"}, "root_password": {"12345678"}, "standard": {"2", "1+2", "x+1", "0+0"}, "reduced": {"2", "1+2", "x+1", "0+0"}, "memory": {"1", "many", "1TB"}, "region": {"a b", "Mars"},
		"scrub_period": {"30", "30d", "59m", "8785h", "-1h", "never"}, "scrub_rate": {"off", "0", "1023KiB", "17GiB", "64MB/s", "64MiB/h"}, "move_rate": {"off", "0", "1023KiB", "17GiB", "64MB/s"},
		"feed_history": {"off", "999", "1000000001", "-1", "1e6"},
		"log_level":    {"loud"}, "s3_signature_v2": {"no", "true"}, "log_format": {"xml"}, "drives": {"/d{1..4}", "/d{4...1}", "/d{1...4"},
	} {
		for _, value := range cases {
			if c, err := load(t, "", nil, map[string][]string{key: {value}}); err == nil {
				t.Errorf("%s = %s was accepted: %+v", key, value, c)
			}
		}
	}
	if _, err := load(t, "", nil, map[string][]string{"root_user": {"ro"}, "root_password": {"12345678"}}); err == nil {
		t.Error("a root user of two characters was accepted")
	}
}

func TestEnvironment(t *testing.T) {
	for name, want := range map[string]string{
		"HOLDFAST_S3_ADRESS": "the nearest is HOLDFAST_S3_ADDRESS", "HOLDFAST_DRIVE": "the nearest is HOLDFAST_DRIVES",
		"HOLDFAST_LISTEN_EVERYWHERE": "is no option", "HOLDFAST_STATE": "", "HOLDFAST_TEST_BINARY": "", "HOLDFAST_LOSS_MB": "", "HOLDFASTER": "", "MINIO_VOLUMES": "",
	} {
		err := CheckEnvironment([]string{"PATH=/bin", name + "=x"})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name+" ")) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
}

func TestScrub(t *testing.T) {
	for _, c := range []struct {
		period, rate string
		every        time.Duration
		bytes        int64
	}{
		{"", "", 720 * time.Hour, 64 << 20}, {"off", "1MiB/s", 0, 1 << 20}, {"1h", "16GiB", time.Hour, 16 << 30}, {"36h30m", "100000000", 36*time.Hour + 30*time.Minute, 100_000_000},
	} {
		got, err := load(t, "", map[string]string{"HOLDFAST_SCRUB_PERIOD": c.period}, map[string][]string{"scrub_rate": {c.rate}})
		if err != nil || got.ScrubEvery != c.every || got.ScrubBytes != c.bytes {
			t.Errorf("%q, %q: %+v, %v", c.period, c.rate, got, err)
		}
	}
	for value, want := range map[string]string{"30d": "write hours such as 720h, or off", "1m": "1h to 8784h are possible, or off"} {
		if _, err := load(t, "", nil, map[string][]string{"scrub_period": {value}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string]string{
		"/d": "[/d]", "/d{1...3}": "[/d1 /d2 /d3]", "/d{08...10}": "[/d08 /d09 /d10]", "/{1...2}/{3...4}": "[/1/3 /1/4 /2/3 /2/4]",
	} {
		if got, err := expand(pattern); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v %v, want %s", pattern, got, err, want)
		}
	}
}

func TestMoveRate(t *testing.T) {
	for value, want := range map[string]int64{"": 64 << 20, "1MiB/s": 1 << 20, "16GiB": 16 << 30} {
		if got, err := load(t, "", nil, map[string][]string{"move_rate": {value}}); err != nil || got.MoveBytes != want {
			t.Errorf("%q: %+v, %v", value, got, err)
		}
	}
}

// TestManual keeps docs/configuration.md what the fields say; run with -update to write it.
func TestManual(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Configuration\n\nA TOML file (`--config`, by default `" + DefaultFile + "` if it exists) < environment < flags. An unknown key, variable `HOLDFAST_…` or flag stops the start.\n\n")
	b.WriteString("| key in the file | environment | flag | meaning |\n|---|---|---|---|\n")
	for _, f := range Fields() {
		name := "`--" + f.Flag + "`"
		if f.List {
			name = "arguments of `holdfast server`"
		}
		if f.Secret {
			name = "none: a command line is public"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", f.Key, f.Environment, name, f.Help)
	}
	file := filepath.Join("..", "..", "docs", "configuration.md")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != b.String() {
		t.Fatalf("docs/configuration.md is not what the fields say; run go test ./daemon/config -update (%v)", err)
	}
}

// FuzzFile wants that a file is taken or refused, and that what is taken is complete.
func FuzzFile(f *testing.F) {
	f.Add("drives = ['/d{1...4}']\nmemory = '1GiB'")
	f.Add("[a.b]\nc = 1")
	none := func(string) (string, bool) { return "", false }
	file := filepath.Join(f.TempDir(), "holdfast.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := Load(file, none, nil); err == nil && (c.MemoryBytes < memoryMin || c.State == "" || c.SFTPAddress != Off) {
			t.Errorf("%q gives %+v", text, c)
		}
	})
}

func FuzzExpand(f *testing.F) {
	f.Add("/d{1...4}/{01...2}")
	f.Fuzz(func(t *testing.T, pattern string) {
		if all, err := expand(pattern); err == nil && (len(all) == 0 || len(all) > expandMax) {
			t.Errorf("%q gives %d names", pattern, len(all))
		}
	})
}
