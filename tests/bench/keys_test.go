package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/tests/daemontest"
)

// complaints holds a bucket of many keys against one of few, and both against bounds that are wide enough for a machine which does other
// things, and too narrow for costs that grow with the number of keys.
func complaints(few, many *keysRow) (all []string) {
	bound := func(what string, is, most float64) {
		if !(is > 0 && is <= most) {
			all = append(all, fmt.Sprintf("%s is %s, and %s is the most", what, digits(is), digits(most)))
		}
	}
	// A stall of the machine is not a matter of keys.
	const floor = 20 // ms
	bound("a page at a random marker, ms", many.Page, max(3*few.Page, floor))
	bound("head of a random key, ms", many.StatMedian, max(3*few.StatMedian, floor))
	bound("a put of 4 KiB, ms", many.PutMedian, max(3*few.PutMedian, 5*floor))
	bound("a get of 4 KiB, ms", many.GetMedian, max(3*few.GetMedian, floor))
	bound("all prefixes, ms", many.Root, 100)
	bound("the start after kill -9, ms", many.ReadyWorst, 10_000)
	bound("a deep put, flat ones", many.DeepPut, 2)
	bound("a deep get, flat ones", many.DeepGet, 2)
	bound("metadata, bytes per key and drive", many.BytesPerKey, 400)
	return all
}

// TestManyKeys fills two folders and holds what they cost against each other.
func TestManyKeys(t *testing.T) {
	dir := t.TempDir()
	who := contender{holdfast, daemontest.Binary(t, dir)}
	p := keysPlan{tree: treePrefixes, page: 500, pages: 60, roots: 5, objects: 200, clients: 4, pairs: 40, starts: 1, duration: 300 * time.Millisecond, patience: 5 * time.Second}
	var rows []keysRow
	for _, count := range []int64{1000, 40_000} {
		p.flat, p.tree = count, max(treePrefixes, count/10)
		row := keysRow{Server: who.name}
		if err := measureKeys(t.Context(), p, who, filepath.Join(dir, fmt.Sprint(count)), &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	for _, c := range complaints(&rows[0], &rows[1]) {
		t.Error(c)
	}
	text := string(keysMarkdown(rows))
	t.Logf("\n%s", text)
	for _, want := range []string{"holdfast, 40 k", "holdfast with 40 k ÷ holdfast with 1 k", "benchmarks/keys.svg"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q", want)
		}
	}
}

// TestComplaints checks that costs which grow with the keys are seen, each of them.
func TestComplaints(t *testing.T) {
	few := keysRow{Page: 10, StatMedian: 10, PutMedian: 10, GetMedian: 10}
	good := keysRow{Page: 12, StatMedian: 12, PutMedian: 12, GetMedian: 12, Root: 5, ReadyWorst: 500, DeepPut: 1, DeepGet: 1, BytesPerKey: 200}
	if c := complaints(&few, &good); len(c) > 0 {
		t.Errorf("nothing is wrong, and yet: %v", c)
	}
	for _, spoil := range []func(*keysRow){
		func(r *keysRow) { r.Page = 500 }, func(r *keysRow) { r.StatMedian = 500 }, func(r *keysRow) { r.PutMedian = 500 }, func(r *keysRow) { r.GetMedian = 500 },
		func(r *keysRow) { r.Root = 500 }, func(r *keysRow) { r.ReadyWorst = 50_000 }, func(r *keysRow) { r.DeepPut = 20 }, func(r *keysRow) { r.DeepGet = 20 },
		func(r *keysRow) { r.BytesPerKey = 4096 }, func(r *keysRow) { r.Page = 0 },
	} {
		bad := good
		spoil(&bad)
		if c := complaints(&few, &bad); len(c) != 1 {
			t.Errorf("%+v: %v", bad, c)
		}
	}
}

// TestMergeRows checks that a run replaces what an earlier one found with as many keys on the same server, and nothing else.
func TestMergeRows(t *testing.T) {
	old := []keysRow{{Server: "holdfast", Keys: 10, Page: 1}, {Server: "minio", Keys: 10, Page: 2}}
	got := mergeRows(old, []keysRow{{Server: "holdfast", Keys: 100, Page: 3}, {Server: "holdfast", Keys: 10, Page: 4}})
	var text []string
	for _, r := range got {
		text = append(text, fmt.Sprint(r.Server, r.Keys, "=", r.Page))
	}
	if s := strings.Join(text, " "); s != "holdfast10=4 holdfast100=3 minio10=2" {
		t.Errorf("the rows are %s", s)
	}
}

// TestDrawings checks that drawings are XML, that every bar and line is there with its label, and that one without points can be drawn.
func TestDrawings(t *testing.T) {
	for _, d := range []struct {
		svg      []byte
		elements map[string]int
		text     string
	}{
		{drawRatios("a < b", []bar{{"put & get", 2.5}, {"list", 0.5}, {"page", 40}}), map[string]int{"rect": 3}, "put &amp; get"},
		{drawLines("lines", "keys", "ms", []line{{"one", []point{{1e5, 1}, {1e6, 2}, {1e7, 0.5}}}, {"other", []point{{1e5, 300}}}}), map[string]int{"polyline": 2, "circle": 4}, "other"},
		{drawLines("none", "keys", "ms", nil), map[string]int{"polyline": 0}, "none"},
	} {
		count := map[string]int{}
		decoder := xml.NewDecoder(strings.NewReader(string(d.svg)))
		for {
			token, err := decoder.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, d.svg)
			}
			if e, ok := token.(xml.StartElement); ok {
				count[e.Name.Local]++
			}
		}
		for name, want := range d.elements {
			if count[name] != want {
				t.Errorf("%d × %s, want %d:\n%s", count[name], name, want, d.svg)
			}
		}
		if text := string(d.svg); !strings.Contains(text, d.text) || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%q is not in, or a place is no number:\n%s", d.text, text)
		}
	}
}

// TestKeepDrawings checks that pictures are put where the document says they are.
func TestKeepDrawings(t *testing.T) {
	document := filepath.Join(t.TempDir(), "page.md")
	if err := writeDrawings(document, []drawing{{"a", "benchmarks/a.svg", []byte("<svg/>")}}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(filepath.Dir(document), "benchmarks", "a.svg")); err != nil || string(text) != "<svg/>" {
		t.Errorf("%q, %v", text, err)
	}
}
