package cli

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDrives wants that a change of drives reaches the daemon as it was meant, wherever its flags stand, and that the answer is told.
func TestDrives(t *testing.T) {
	const done = `{"drive": 5, "redundancy": "3+2", "warnings": ["the moon is full"]}`
	const gone = `{"redundancy": "2+2", "drives": [{"drive": 1, "path": "/d1", "state": "in", "bytes_total": 2048, "bytes_used": 1024, "shards": 7, "replicas": [0, 1]},
		{"drive": 2, "path": "/d2", "state": "leaving", "replicas": [1], "leaving": {"replaced_by": 6, "shards_left": 3, "bytes_left": 4096}},
		{"drive": 3, "path": "/d3", "state": "leaving", "leaving": {"shards_left": 1, "bytes_left": 4096}},
		{"drive": 4, "path": "/d4", "state": "leaving", "replicas": [1], "leaving": {}}, {"drive": 7, "path": "/d7", "state": "leaving", "leaving": {}}]}`
	const out = `{"drives": [{"drive": 2, "path": "/d2", "state": "out", "problem": "gone", "leaving": {"shards_left": 3, "bytes_left": 4096}}]}`
	for _, c := range []struct {
		args string
		body string
		code int
		asks []string // of the daemon
		want []string // in what is said, errors too
	}{
		{"add /d5 /d{6...7}", done, 0, []string{"POST /drives/add?path=%2Fd5", "POST /drives/add?path=%2Fd6", "POST /drives/add?path=%2Fd7"},
			[]string{"/d5 is drive 5; the redundancy of new writes is 3+2", "holdfast: warning: the moon is full"}},
		{"remove 5", done, 0, []string{"POST /drives/leave?drive=5"}, []string{"drive 5 leaves"}},
		{"remove 5 --cancel", done, 0, []string{"POST /drives/keep?drive=5"}, []string{"drive 5 stays"}},
		{"remove --cancel 5", done, 0, []string{"POST /drives/keep?drive=5"}, []string{"drive 5 stays"}},
		{"replace 3 /d5", done, 0, []string{"POST /drives/add?drive=3&path=%2Fd5"}, []string{"/d5 is drive 5, and takes the place of drive 3", "warning"}},
		{"replace 3 --cancel", done, 0, []string{"POST /drives/keep?drive=3"}, []string{"drive 5 stays"}},
		{"list", gone, 0, []string{"GET /status"}, []string{"drive  role", "1      data     in          2.0 KiB    1.0 KiB        7 0 1       /d1\n",
			"drive 2 leaves, and drive 6 takes its place: 3 shards of 4.0 KiB are to move\n", "drive 3 leaves: 1 shard of 4.0 KiB is to move\n",
			"drive 4 leaves: its replicas are to move\n", "drive 7 leaves: what was deleted is still to be collected\n", "redundancy of new writes 2+2"}},
		{"list", out, 3, []string{"GET /status"}, []string{"/d2 gone\n", "drive 2 leaves: 3 shards of 4.0 KiB are to be made again\n", "not fully protected: drive 2 is out"}},
		{"list --json", gone, 0, []string{"GET /status"}, []string{`"replaced_by": 6`}},
		{"add", done, 2, nil, []string{"no folder is named"}},
		{"add /d{1..2}", done, 2, nil, []string{"write {1...4}"}},
		{"remove", done, 2, nil, []string{"drive remove takes 1 argument, not 0 arguments"}},
		{"remove two", done, 2, nil, []string{`"two" is no number of a drive`}},
		{"replace 3", done, 2, nil, []string{"drive replace takes 2 arguments, not 1 argument"}},
		{"replace 3 /d{1...2}", done, 2, nil, []string{"stands for 2 folders"}},
		{"replace 3 /d5 --cancel", done, 2, nil, []string{"takes 1 argument"}},
		{"remove 3 --now", done, 2, nil, []string{"drive remove has no flag --now"}},
		{"remove 3 --state", done, 2, nil, []string{"takes 1 argument, not 2"}},
		{"take 3", done, 2, nil, []string{"there is no command drive take"}},
		{"list now", done, 2, nil, []string{"drive list takes no argument now"}},
	} {
		socket, asked := serveDrives(t, c.body)
		args := strings.Fields(c.args)
		if args[0] != "take" {
			args = slices.Insert(args, 1, "--socket", socket)
		}
		code, stdout, stderr := call(append([]string{"drive"}, args...)...)
		if code != c.code || !slices.Equal(*asked, c.asks) {
			t.Errorf("%s: %d, asks %q\n%s%s", c.args, code, *asked, stdout, stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(stdout+stderr, want) {
				t.Errorf("%s lacks %q:\n%s%s", c.args, want, stdout, stderr)
			}
		}
	}
}

// serveDrives answers at a socket, and remembers what it was asked.
func serveDrives(t *testing.T, body string) (socket string, asked *[]string) {
	dir, err := os.MkdirTemp("", "hf") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	asked = new([]string)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.RequestURI())
		_, _ = io.WriteString(w, body)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String(), asked
}
