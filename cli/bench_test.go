package cli

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"holdfast/access"
	"holdfast/access/session"
	"holdfast/cli/bench"
	"holdfast/engine"
	"holdfast/engine/memory"
	"holdfast/gateways/s3"
)

type benchDoor struct {
	access.Root
	engine engine.Engine
}

func (d benchDoor) Open(p access.Principal) engine.Engine {
	return session.New(d.engine, p, slog.New(slog.DiscardHandler))
}

// serveS3 starts our gateway; see looks at each request before it is served.
func serveS3(t *testing.T, see func(*http.Request)) (address string) {
	root := access.Root{AccessKey: "bench-test", SecretKey: "bench-test-password"}
	gateway := s3.New(s3.Config{Door: benchDoor{root, memory.New()}}).Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		gateway.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("HOLDFAST_ROOT_USER", root.AccessKey)
	t.Setenv("HOLDFAST_ROOT_PASSWORD", root.SecretKey)
	return server.URL
}

func TestBench(t *testing.T) {
	var wrong atomic.Bool
	address := serveS3(t, func(r *http.Request) {
		if wrong.Load() && r.Method == http.MethodGet && strings.Count(r.URL.Path, "/") > 2 {
			r.Header.Set("X-Amz-Unknown", "1")
		}
	})
	t.Setenv("AWS_ENDPOINT_URL", address)
	code, out, errors := call("bench", "put", "--size", "1KiB,2k", "--requests", "40", "--clients", "4", "--warm-up", "1ms", "--checksum", "crc32c")
	if code != 0 || !strings.Contains(out, "put: 40 requests") || !strings.Contains(out, "objects of 1 KiB, 2 KiB") || !strings.Contains(errors, "deleting what was put") {
		t.Errorf("%d, %q, %q", code, out, errors)
	}

	file := filepath.Join(t.TempDir(), "report.json")
	code, out, errors = call("bench", "get", "--size", "100..9KiB", "--objects", "20", "--requests", "40", "--clients", "4", "--verify", "--json", "--out", file)
	kept, err := os.ReadFile(file)
	if code != 0 || err != nil || out != string(kept) || !json.Valid(kept) || !strings.Contains(out, `"requests": 40,`) {
		t.Errorf("%d, %v, %q, %q", code, err, out, errors)
	}

	credentials := filepath.Join(t.TempDir(), "root-credentials")
	if err := os.WriteFile(credentials, []byte("HOLDFAST_ROOT_USER=bench-test\nHOLDFAST_ROOT_PASSWORD=bench-test-password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOLDFAST_ROOT_USER", "somebody")
	if code, _, errors := call("bench", "stat", "--credentials", credentials, "--objects", "3", "--requests", "5"); code != 0 {
		t.Errorf("%d, %q", code, errors)
	}
	if code, out, errors := call("bench", "stat", "--requests", "5"); code != 1 || out != "" || !strings.Contains(errors, "403") {
		t.Errorf("a wrong credential: %d, %q, %q", code, out, errors)
	}

	wrong.Store(true)
	code, out, errors = call("bench", "get", "--credentials", credentials, "--objects", "3", "--requests", "5", "--size", "1")
	if code != 1 || !strings.Contains(out, "5 × ") || !strings.Contains(errors, "5 requests failed: 5 × ") {
		t.Errorf("failed requests: %d, %q, %q", code, out, errors)
	}
}

// TestBenchInterrupted sends the signal that Ctrl-C does, in the midst of it.
func TestBenchInterrupted(t *testing.T) {
	var puts, deletes atomic.Int64
	address := serveS3(t, func(r *http.Request) {
		if r.Method == http.MethodPut && puts.Add(1) == 50 {
			if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
		if r.Method == http.MethodDelete {
			deletes.Add(1)
		}
	})
	code, out, errors := call("bench", "put", "--endpoint", address, "--size", "1KiB", "--duration", "1h")
	if code != 1 || !strings.Contains(out, "put: ") || !strings.Contains(errors, "the load was ended before its time") || deletes.Load() < 40 {
		t.Errorf("%d, %q, %q, %d deletes", code, out, errors, deletes.Load())
	}
}

func TestBenchFlags(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	pem := filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(pem, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, flags := range map[string][]string{
		`"4KB" is no size`:            {"put", "--size", "4KB"},
		`"6GiB" is no size`:           {"put", "--size", "6GiB"},
		"the first must be":           {"put", "--size", "2MiB..1MiB"},
		"--clients 0 is not between":  {"put", "--clients", "0"},
		"--objects 0 is not between":  {"get", "--objects", "0"},
		"--page 1001 is not between":  {"list", "--page", "1001"},
		"--requests -1 is not":        {"put", "--requests", "-1"},
		"more than nothing":           {"put", "--duration", "0s"},
		"no parts below 5 MiB":        {"put", "--part-size", "1MiB"},
		"--checksum MD4 is none of":   {"put", "--checksum", "MD4"},
		"more is deleted than put":    {"mixed", "--shares", "get=1,put=1,delete=2"},
		`"walk=1" is no share`:        {"mixed", "--shares", "walk=1"},
		"all of them are nothing":     {"mixed", "--shares", "get=0"},
		"is no address":               {"put", "--endpoint", "localhost:9000"},
		"a number for a name":         {"put", "--host-style"},
		"has no certificate":          {"put", "--ca-file", pem},
		"has more than 10000 parts":   {"put", "--size", "5GiB", "--part-size", "1k"},
		"has no flag --shares":        {"get", "--shares", "get=1"},
		"no such file or directory":   {"put", "--ca-file", pem + "x"},
		"give one of them":            {"put", "--ca-file", pem, "--insecure"},
		`invalid value "x" for flag `: {"put", "--clients", "x"},
	} {
		code, out, errors := call(append([]string{"bench"}, flags...)...)
		if code != 2 || out != "" || !strings.Contains(errors, want) {
			t.Errorf("%q: %d, %q, %q; want %q", flags, code, out, errors, want)
		}
	}
}

func TestParseSizes(t *testing.T) {
	for text, want := range map[string][]int64{"0": {0}, "100": {100}, "4KiB": {4096}, "1.5M, 2b": {3 << 19, 2}, "1GiB": {1 << 30}} {
		if got, err := parseSizes(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	spread, err := parseSizes("1KiB..1MiB")
	small := 0
	for _, size := range spread {
		if size < 1<<10 || size > 1<<20 {
			t.Errorf("%d is outside", size)
		}
		if size < 32<<10 {
			small++
		}
	}
	if err != nil || len(spread) != 32 || small < 8 || small > 24 {
		t.Errorf("%d sizes, %d small, %v", len(spread), small, err)
	}
	if shares, err := parseShares("get=4, put=1"); err != nil || shares[bench.Get] != 4 || shares[bench.Put] != 1 {
		t.Errorf("%v, %v", shares, err)
	}
}
