package cli

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/engine/disk"
	"holdfast/engine/drive"
)

// call runs a command line.
func call(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(append([]string{"holdfast"}, args...), &out, &err)
	return code, out.String(), err.String()
}

// TestMain has times shown as they are written in these tests, wherever they run.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

func TestHelp(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--help"}, []string{"server", "status", "debug", "version", "holdfast server /srv/drive{1...4}"}},
		{nil, []string{"server", "status", "bench"}},
		{[]string{"help"}, []string{"server", "status"}},
		{[]string{"help", "server"}, []string{"--s3-address", "DRIVE"}},
		{[]string{"help", "debug", "steps"}, []string{"STATE", "The daemon may run"}},
		{[]string{"debug", "drive", "--help"}, []string{"Stop the daemon first"}},
		{[]string{"server", "--help"}, []string{"--s3-address", "--state", "HOLDFAST_S3_ADDRESS", "root-credentials", "DRIVE"}},
		{[]string{"scrub"}, []string{"start", "status", "holdfast scrub start --drive 3"}},
		{[]string{"scrub", "start", "--help"}, []string{"--drive NUMBER", "--state", "--scrub-rate", "Exits with 1"}},
		{[]string{"help", "scrub", "status"}, []string{"--json", "--socket"}},
		{[]string{"drive"}, []string{"list", "add", "remove", "replace", "holdfast drive replace 3 /srv/drive6"}},
		{[]string{"drive", "add", "--help"}, []string{"PATH", "--state", "follows the number of drives"}},
		{[]string{"help", "drive", "remove"}, []string{"NUMBER", "--cancel", "--move-rate"}},
		{[]string{"drive", "replace", "--help"}, []string{"NUMBER PATH", "--cancel"}},
		{[]string{"server", "--help"}, []string{"--scrub-period", "--scrub-rate", "--move-rate", "--feed-history", "HOLDFAST_SCRUB_RATE"}},
		{[]string{"status", "--help"}, []string{"--json", "--state", "--socket", "--config", "Exits with 3"}},
		{[]string{"debug", "--help"}, []string{"drive", "log", "index", "extent"}},
		{[]string{"bench", "--help"}, []string{"put", "mixed", "AWS_ACCESS_KEY_ID", "Ctrl-C"}},
		{[]string{"bench", "get", "--help"}, []string{"--endpoint", "--objects", "--verify", "--part-size", "--insecure", "AWS_ENDPOINT_URL", "(default: 500)"}},
		{[]string{"bench", "mixed", "--help"}, []string{"--shares", "get=45", "--page"}},
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
		if len(c.args) > 0 && c.args[0] == "status" && strings.Contains(out, "--region") {
			t.Errorf("%q has options that do not matter to it", c.args)
		}
		if strings.Contains(out, "--root-password") {
			t.Errorf("%q offers to put a password into a command line", c.args)
		}
	}
}

func TestWrongCalls(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "HOLDFAST_ROOT_USER"} {
		t.Setenv(name, "")
	}
	state := t.TempDir()
	drive := filepath.Join(state, "d")
	if err := os.Mkdir(drive, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"sevrer"}, 2, "no command sevrer; the nearest is server; see holdfast --help"},
		{[]string{"server", "--adress", ":1", "/d"}, 2, "no flag --adress"},
		{[]string{"server", "--s3-addr", ":1", "/d"}, 2, "server has no flag --s3-addr; the nearest is --s3-address; see holdfast server --help"},
		{[]string{"server", "--state"}, 2, "--state needs a value"},
		{[]string{"server", "--console-address", "127.0.0.1:9001", "/d"}, 2, "this build lacks"},
		{[]string{"server", "--sftp-address", ":9022", "/d"}, 2, "this build lacks SFTP"},
		{[]string{"server", "--config", filepath.Join(state, "none.toml"), "/d"}, 2, "none.toml"},
		{[]string{"server", drive, "--state", state}, 2, "--state: flags come before the folders"},
		{[]string{"server"}, 2, "no drives are named"},
		{[]string{"server", drive, drive + "/"}, 2, "is named twice"},
		{[]string{"server", "--standard", "two", drive}, 2, "--standard"},
		{[]string{"server", "--standard", "2+2", drive}, 2, "2+2 is not possible"},
		{[]string{"server", "--state", filepath.Join(state, "s"), filepath.Join(state, "none")}, 1, "create it or mount it"},
		{[]string{"server", "--state", filepath.Join(state, "s"), state}, 1, "lies inside drive"},
		{[]string{"status", "--state", state}, 1, "is it running"},
		{[]string{"status", "--socket", "off"}, 2, "nothing to ask"},
		{[]string{"status", "now"}, 2, "status takes no argument now"},
		{[]string{"server", "--scrub-period", "1m", drive}, 2, "1h to 8784h are possible, or off"},
		{[]string{"server", "--scrub-rate", "fast", drive}, 2, "--scrub-rate"},
		{[]string{"scrub", "begin"}, 2, "there is no command scrub begin"},
		{[]string{"scrub", "start", "--drive", "two"}, 2, "drive"},
		{[]string{"scrub", "start", "2"}, 2, "scrub start takes no argument 2"},
		{[]string{"scrub", "status", "--socket", "off"}, 2, "nothing to ask"},
		{[]string{"scrub", "start", "--state", state}, 1, "is it running"},
		{[]string{"version", "now"}, 2, "version takes no argument now"},
		{[]string{"debug", "drive"}, 2, "one drive"},
		{[]string{"debug", "drive", state}, 1, ""},
		{[]string{"debug", "frob"}, 2, "there is no command debug frob; see holdfast debug --help"},
		{[]string{"debug", "steps", drive}, 1, "give the state folder"},
		{[]string{"help", "frob"}, 2, "there is no command frob"},
		{[]string{"bench", "gte"}, 2, "there is no command bench gte; the nearest is get; see holdfast bench --help"},
		{[]string{"bench", "put"}, 2, "there is no credential in the environment"},
		{[]string{"bench", "put", "--objects", "5"}, 2, "bench put has no flag --objects"},
		{[]string{"bench", "put", "now"}, 2, "bench put takes no argument now"},
		{[]string{"bench", "put", "--credentials", filepath.Join(state, "none")}, 2, "no such file"},
	} {
		code, out, errors := call(c.args...)
		if code != c.code || !strings.Contains(errors, c.want) || !strings.HasPrefix(errors, "holdfast: ") {
			t.Errorf("%q: %d, %q, %q; want %d and %q", c.args, code, out, errors, c.code, c.want)
		}
		for _, internal := range []string{"invalid argument", "http://local", "dial unix"} {
			if strings.Contains(errors, internal) {
				t.Errorf("%q says %q: %q", c.args, internal, errors)
			}
		}
	}
	t.Setenv("HOLDFAST_S3_ADRESS", ":1")
	if code, _, errors := call("server", drive); code != 2 || !strings.Contains(errors, "the nearest is HOLDFAST_S3_ADDRESS") {
		t.Errorf("an unknown variable: %d, %q", code, errors)
	}
	if names, err := os.ReadDir(state); err != nil || len(names) != 1 {
		t.Errorf("something is left behind: %v, %v", names, err)
	}
}

// TestStatus wants that whatever makes the exit status 3 is said in words.
func TestStatus(t *testing.T) {
	const sound = `{"drive": 1, "path": "/d1", "state": "in", "shards": 15}`
	for _, c := range []struct {
		body string
		code int
		want []string
	}{
		{`{"drives": [` + sound + `], "keepers": {"shards_rebuilt": 7}}`, 0,
			[]string{"7 shards rebuilt", "0 versions taken apart", "protection, as it is recorded: every shard is where it should be; damage that neither a reader nor the scrub has met yet is not known"}},
		{`{"drives": [{"drive": 1, "state": "in", "scrub": ` + scrubbed + `}, {"drive": 5, "state": "in", "witness": true}], "keepers": {"shards_scrubbed_damaged": 2}}`, 0,
			[]string{"scrub of drive 1: complete 2026-11-02 10:30, in 1h30m0s: 12 shards, 3.3 MiB, 2 damaged; next 2026-12-02 09:00", "2 by the scrub",
				"damage that came after 2026-11-02 09:00, and that nobody has met yet, is not known"}},
		{`{"drives": [` + sound + `, {"drive": 2, "path": "/d2", "state": "out", "problem": "gone", "shards": 15}], "shards_on_lost_drives": 15}`, 3,
			[]string{"/d2 gone", "not fully protected: drive 2 is out; 15 extents have a shard on a drive that is out"}},
		{`{"drives": [` + sound + `, {"drive": 3, "state": "out", "witness": true}]}`, 3,
			[]string{"witness  out", "not fully protected: the witness is out"}},
		{`{"drives": [` + sound + `], "extents_missing_shards": 1, "shards_on_lost_drives": 8}`, 3,
			[]string{"1 extent lacks shards; 8 shards are recorded on drives that are out or were replaced"}},
		{`{"drives": [` + sound + `], "groups": [{"group": 1, "quorum": true, "problems": ["replica 2 on drive 4: it is lame"]}]}`, 0,
			[]string{"replica 2 on drive 4: it is lame"}},
		{`{"drives": [` + sound + `], "cursors": 3, "cursors_lost": 1, "changes_noted": 900, "changes_behind": 850, "slowest_bucket": "photos"}`, 0,
			[]string{"followers: 3 cursors, 900 changes noted for them; the slowest, of bucket photos, is 850 changes behind; 1 cursor was too far behind and is lost: its follower lists its bucket anew"}},
		{`{"drives": [` + sound + `], "trash": 2, "versions_in_trash": 1, "keepers": {"versions_taken_apart": 399}}`, 0,
			[]string{"trash: 2 removed directories and uploads to be taken apart, with 1 version;", "399 versions taken apart"}},
		{`{"drives": [` + sound + `, {"drive": 2, "state": "in", "segments": 40, "segments_to_compact": 3}], "keepers": {"files_compacted": 1, "segments_compacted": 12}}`, 0,
			[]string{"drive 2: little is left in 3 of 40 segments; and that moves together", "1 file and 12 segments compacted"}},
		{`{"s3": "127.0.0.1:9000"}`, 0, []string{"S3 at 127.0.0.1:9000,"}},
		{`{"s3": "127.0.0.1:9000", "s3_tls": true}`, 0, []string{"S3 at https://127.0.0.1:9000,"}},
	} {
		socket := serveStatus(t, c.body)
		code, out, errors := call("status", "--socket", socket)
		if code != c.code || errors != "" {
			t.Errorf("%s: %d, %q", c.body, code, errors)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s lacks %q:\n%s", c.body, want, out)
			}
		}
		code, out, errors = call("status", "--json", "--socket", socket)
		if code != c.code || out != c.body || (c.code == 3) != strings.Contains(errors, "not fully protected: ") {
			t.Errorf("as JSON: %d, %s, %q", code, out, errors)
		}
	}
}

// scrubbed is the state of a scrub after a complete pass.
const scrubbed = `{"known": true, "last": {"started": "2026-11-02T09:00:00Z", "ended": "2026-11-02T10:30:00Z", "shards": 12, "bytes": 3444736, "damaged": 2}, "due": "2026-12-02T09:00:00Z"}`

// TestScrub wants that what the daemon says of the scrub is said in words, and that what was not begun is.
func TestScrub(t *testing.T) {
	const running = `{"known": true, "under_way": {"started": "2026-11-02T09:00:00Z", "percent": 42.123, "shards": 1, "bytes": 4096, "damaged": 3}`
	for _, c := range []struct {
		args []string
		body string
		code int
		want []string // in what is said, errors too
	}{
		{[]string{"status"}, `{"period": "720h", "rate": "64MiB/s", "drives": [{"drive": 1, "state": "in", "scrub": ` + scrubbed + `}, {"drive": 2, "state": "in", "scrub": ` + running + `}},
			{"drive": 3, "state": "out", "scrub": ` + running + `, "problem": "no quorum"}}, {"drive": 4, "state": "in", "scrub": {"known": false, "problem": "not read yet"}},
			{"drive": 6, "state": "in", "scrub": {"known": true}}]}`, 0,
			[]string{"scrub period 720h, rate at most 64MiB/s", "drive 1: complete 2026-11-02 10:30, in 1h30m0s: 12 shards, 3.3 MiB, 2 damaged; next 2026-12-02 09:00\n",
				"drive 2: never complete; under way since 2026-11-02 09:00, 42.1 %, 3 damaged\n", "42.1 %, 3 damaged; rests while the drive is out; waits: no quorum\n",
				"drive 4: not known; not read yet\n", "drive 6: never complete; next when it is asked for\n"}},
		{[]string{"status", "--json"}, `{"period": "720h"}`, 0, []string{`{"period": "720h"}`}},
		{[]string{"start"}, `[{"drive": 1, "path": "/d1"}, {"drive": 2, "path": "/d2", "problem": "drive 2 is out"}]`, 1, []string{"drive 1: a pass has begun", "holdfast: drive 2 is out"}},
		{[]string{"start", "--drive", "1"}, `[{"drive": 1, "path": "/d1"}]`, 0, []string{"drive 1: a pass has begun"}},
	} {
		code, out, errors := call(append(append([]string{"scrub"}, c.args...), "--socket", serveStatus(t, c.body))...)
		for _, want := range c.want {
			if code != c.code || !strings.Contains(out+errors, want) {
				t.Errorf("%q: %d, lacks %q:\n%s%s", c.args, code, want, out, errors)
			}
		}
	}
}

// serveStatus answers at a socket as a daemon does whose status is body.
func serveStatus(t *testing.T, body string) string {
	dir, err := os.MkdirTemp("", "hf") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String()
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
	commands := map[string]string{"drive": "drive 7", "log": "", "index": "", "extent": "", "check": "group 0 has no replica here"}
	for command, want := range commands {
		code, out, errors := call("debug", command, dir)
		if code != 0 || errors != "" || !strings.Contains(out, want) {
			t.Errorf("debug %s: %d, %q, %q", command, code, out, errors)
		}
	}
	running, err := drive.Open(fsys, drive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	for command := range commands {
		if code, _, errors := call("debug", command, dir); code != 1 || !strings.Contains(errors, "stop the daemon first") {
			t.Errorf("debug %s of a drive in use: %d, %q", command, code, errors)
		}
	}
}
