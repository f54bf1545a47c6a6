package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/cli/bench"
	"holdfast/tests/daemontest"
)

// TestMain lets the test binary do the tasks of processes of their own.
func TestMain(m *testing.M) {
	exitIfTask()
	os.Exit(m.Run())
}

// TestShort runs every cell against the daemon.
func TestShort(t *testing.T) {
	dir := t.TempDir()
	r, err := run(t.Context(), config{binary: daemontest.Binary(t, dir), folder: dir, duration: 200 * time.Millisecond, rounds: 1, short: true})
	if err != nil {
		t.Fatal(err)
	}
	ours := r.servers[0]
	for i, c := range r.plan.cells {
		if len(ours.cells[i]) != 1 {
			t.Errorf("%s was measured %d times", c.name(), len(ours.cells[i]))
			continue
		}
		if m := ours.cells[i][0]; m.operations == 0 || m.rate <= 0 || m.median <= 0 || m.p99 < m.median {
			t.Errorf("%s came to %+v", c.name(), m)
		}
	}
	if space, weighed := ours.space(); !weighed || space < 1.5 {
		t.Errorf("2+2 needs about twice the room, and %.2f times was found", space)
	}
	if m := ours.memory; len(m) != 1 || m[0].fresh == 0 || m[0].mixed < m[0].fresh/2 || m[0].after == 0 || m[0].peak < m[0].mixed {
		t.Errorf("the memory came to %+v", m)
	}
	text := string(r.markdown())
	for _, want := range []string{"put 4 KiB", "get 1 MiB", "put 6 MiB in parts of 5 MiB, 2 at once", "delete 10 keys a request", "list with a delimiter", "| 2+2 |", "Only Holdfast was measured", "crypto/sha256", "sha256-simd",
		"echo over HTTP: put 1 MiB", "the engine in one process: get 6 MiB", "one fdatasync of one file for all that wait", "| 60 % |", "| 80 % |"} {
		if !strings.Contains(text, want) {
			t.Errorf("the tables lack %q:\n%s", want, text)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".bench-*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind (%v)", left, err)
	}
}

// TestWrongAnswers has servers that answer wrongly; the load generator must say so.
func TestWrongAnswers(t *testing.T) {
	content := bytes.Repeat([]byte("content."), 1<<16)
	damaged := bytes.Clone(content)
	damaged[len(damaged)-1]++
	ctx := t.Context()
	get := func(c *bench.Client) error {
		_, err := c.Get(ctx, objectBucket, "a", int64(len(content)), content, make([]byte, 4096))
		return err
	}
	put := func(c *bench.Client) error {
		return c.Put(ctx, objectBucket, "a", bench.NewPayloads([]int64{8}, 0, "").Of(8, 0))
	}
	page := func(c *bench.Client) error {
		s := &subject{server: &server{client: c}, plan: plan{page: 2}, keys: [][]byte{[]byte("tree/a"), []byte("tree/b"), []byte("tree/c")}}
		return s.listNext(ctx, bench.NewWorker(0))
	}
	answer := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
	}
	const more = "<NextContinuationToken>t</NextContinuationToken>"
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		do      func(*bench.Client) error
		want    string // in the error; "" for none
	}{
		{"a refusal", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<Code>SlowDown</Code>", http.StatusServiceUnavailable)
		}, put, "<Code>SlowDown</Code>"},
		{"no entity tag", answer(""), put, "without an entity tag"},
		{"a deletion of less", answer("<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>"), func(c *bench.Client) error {
			return c.DeleteMany(ctx, objectBucket, []string{"a", "b"})
		}, "of 2 keys in objects 1 are answered as deleted"},
		{"what was put", answer(string(content)), get, ""},
		{"a wrong byte", answer(string(damaged)), get, "differs"},
		{"a byte more", answer(string(content) + "x"), get, "differs"},
		{"a byte less in front", answer(string(content[1:])), get, "differs"},
		{"an end too early", answer(string(content[:len(content)-1])), get, "unexpected EOF"},
		{"the page", answer("<Key>tree/a</Key><Key>tree/b</Key>" + more), page, ""},
		{"a wrong key", answer("<Key>tree/a</Key><Key>tree/c</Key>" + more), page, `"tree/c" where "tree/b"`},
		{"a key too few", answer("<Key>tree/a</Key>" + more), page, "entry 2 of 2"},
		{"a key too many", answer("<Key>tree/a</Key><Key>tree/b</Key><Key>tree/c</Key>" + more), page, "one more"},
		{"an end before the last page", answer("<Key>tree/a</Key><Key>tree/b</Key>"), page, "called the last"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			client, err := newClient(server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			err = c.do(client)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("the error is %v, want %q in it", err, c.want)
			}
		})
	}
}

// TestLoadEnds checks that one failed request ends a load long before its time.
func TestLoadEnds(t *testing.T) {
	n := 0
	_, _, err := load(t.Context(), 1, time.Hour, 0, func(context.Context, *bench.Worker) error {
		if n++; n == 3 {
			return fmt.Errorf("request %d", n)
		}
		return nil
	})
	if err == nil || err.Error() != "request 3" {
		t.Errorf("the load ended with %v", err)
	}
}

// TestNothingToDelete checks that a cell with no objects to delete is an error and not a figure.
func TestNothingToDelete(t *testing.T) {
	s := &subject{plan: plan{batch: 10}}
	if _, _, err := load(t.Context(), 2, time.Hour, 0, s.operation(cell{verb: multiRemove, objects: 9})); err == nil {
		t.Error("nine objects cannot be deleted ten at a time, and there is no error")
	}
}

// TestServerFails checks that whoever waits learns why a server does not come up.
func TestServerFails(t *testing.T) {
	script := func(text string) contender {
		return contender{kind{name: "script", ready: "/", arguments: func(place) []string { return []string{"-c", text} }}, "/bin/sh"}
	}
	_, err := script("echo no drives here; exit 7").start(t.Context(), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "no drives here") {
		t.Errorf("a server that ends at once: %v", err)
	}
	client, err := newClient("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deaf := &server{contender: script(""), client: client, ended: make(chan struct{})}
	if err := deaf.awaitReady(t.Context(), 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "not ready after 50ms") {
		t.Errorf("a server that never answers: %v", err)
	}
}

// TestChoose checks that a mistyped cell is refused, and not measured as none.
func TestChoose(t *testing.T) {
	p := fullPlan()
	if err := p.choose("put4k,get2m"); err == nil || !strings.Contains(err.Error(), `"get2m"`) {
		t.Errorf("an unknown cell: %v", err)
	}
	if err := p.choose("get1m,put4k"); err != nil || strings.Join(cellNames(p), " ") != "put4k get1m" {
		t.Errorf("two cells: %v (%v)", cellNames(p), err)
	}
}

// TestAbsentPeers checks that a peer without a binary is named, and that a folder which does not exist is an error.
func TestAbsentPeers(t *testing.T) {
	us, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	found, absent, err := contenders(config{binary: us, peers: t.TempDir()})
	if err != nil || len(found) != 1 || len(absent) != len(peers) {
		t.Errorf("%d found, %v absent, %v", len(found), absent, err)
	}
	if _, _, err := contenders(config{binary: us, peers: "no-such-folder"}); err == nil {
		t.Error("a folder that does not exist is no error")
	}
	r := &report{config: config{peers: "peers"}, absent: []string{"minio"}, disks: []diskLimit{{}}, echo: newResults("echo", "", plan{}), servers: []*results{newResults("holdfast", "", plan{})}}
	if text := string(r.markdown()); !strings.Contains(text, "minio was not measured: its binary is absent") {
		t.Errorf("the tables do not say what is absent:\n%s", text)
	}
}

// TestReplaceSection checks that only what is between the marks changes, and that a file without them is left alone.
func TestReplaceSection(t *testing.T) {
	name := filepath.Join(t.TempDir(), "page.md")
	for _, c := range []struct{ before, after string }{
		{"above\n" + begin + "\nold\n" + end + "\nbelow\n", "above\n" + begin + "\n\nnew\n\n" + end + "\nbelow\n"},
		{"above\n" + end + "\n" + begin + "\n", ""},
		{"above\n", ""},
	} {
		if err := os.WriteFile(name, []byte(c.before), 0o600); err != nil {
			t.Fatal(err)
		}
		err := replaceSection(name, begin, end, []byte("new\n"))
		got, readErr := os.ReadFile(name)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if want := c.after; want == "" && (err == nil || string(got) != c.before) || want != "" && (err != nil || string(got) != want) {
			t.Errorf("%q became %q (%v)", c.before, got, err)
		}
	}
	if err := replaceSection(filepath.Join("..", "..", "docs", "benchmarks.md"), begin, end, nil); err != nil {
		t.Error(err)
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000", 0.0123: "0.012", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 12345: "12345"} {
		if got := digits(v); got != want {
			t.Errorf("%g is written %s, want %s", v, got, want)
		}
	}
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(c.of); got != c.want {
			t.Errorf("the median of %v is %g, want %g", c.of, got, c.want)
		}
	}
}
