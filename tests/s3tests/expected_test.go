package s3tests_test

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// expectedFile is the list of what becomes of each test.
const expectedFile = "expected.txt"

// row is what becomes of a test, and why, in a few words, if that is not pass. A test is "hollow" that passes although what it is about is
// not there, as when it takes any error for the right one.
type row struct{ group, outcome, reason string }

// parseExpected reads a list: "TEST GROUP OUTCOME REASON…" a line, where spaces in a group are written "_"; "#" begins a comment.
func parseExpected(text []byte) (map[string]row, error) {
	rows := map[string]row{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %d: %q is not TEST GROUP OUTCOME REASON", n, line)
		}
		test, r := fields[0], row{strings.ReplaceAll(fields[1], "_", " "), fields[2], strings.Join(fields[3:], " ")}
		if _, twice := rows[test]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", n, test)
		}
		switch {
		case !slices.Contains([]string{"pass", "fail", "skip", "hollow"}, r.outcome):
			return nil, fmt.Errorf("line %d: %q is not pass, fail, skip or hollow", n, r.outcome)
		case r.outcome == "pass" && r.reason != "":
			return nil, fmt.Errorf("line %d: %s passes and has a reason", n, test)
		case r.outcome != "pass" && r.reason == "":
			return nil, fmt.Errorf("line %d: %s does not pass and has no reason", n, test)
		}
		rows[test] = r
	}
	return rows, lines.Err()
}

// formatExpected writes a list, groups in their order and tests in that of the suite.
func formatExpected(order []string, rows map[string]row) []byte {
	var b bytes.Buffer
	b.WriteString("# What becomes of each test of ceph's s3-tests, and why if it does not pass. docs/proofs.md says how it is made and compared.\n" +
		"# A row is TEST GROUP OUTCOME REASON. \"hollow\" passes although what it is about is not there.\n")
	place := map[string]int{}
	for i, g := range groups {
		place[g.name] = i
	}
	order = slices.Clone(order)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(place[rows[a].group], place[rows[b].group]) })
	last := ""
	for _, test := range order {
		r := rows[test]
		if r.group != last {
			b.WriteString("\n")
			last = r.group
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-90s %-12s %s %s", test, strings.ReplaceAll(r.group, " ", "_"), r.outcome, r.reason), " ") + "\n")
	}
	return b.Bytes()
}

// compare says in what a run differs from the list. With part, tests that did not run are none of the differences.
func compare(expected map[string]row, got []result, part bool) (differences []string) {
	ran := map[string]bool{}
	for _, r := range got {
		ran[r.Test] = true
		want, known := expected[r.Test]
		switch {
		case !known:
			differences = append(differences, fmt.Sprintf("%s is not in the list: %s %s", r.Test, r.Outcome, r.Why))
		case r.Outcome != want.outcome && !(r.Outcome == "pass" && want.outcome == "hollow"):
			differences = append(differences, strings.TrimRight(fmt.Sprintf("%s: %s, expected %s (%s); %s", r.Test, r.Outcome, want.outcome, want.reason, r.Why), " "))
		case r.group != want.group:
			differences = append(differences, fmt.Sprintf("%s is of the group %s, in the list of %s", r.Test, r.group, want.group))
		}
	}
	for test := range expected {
		if !ran[test] && !part {
			differences = append(differences, test+" is in the list and did not run")
		}
	}
	slices.Sort(differences)
	return differences
}

// TestExpected wants a list that can be read and leaves no group without a test.
func TestExpected(t *testing.T) {
	text, err := os.ReadFile(expectedFile)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := parseExpected(text)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for test, r := range rows {
		count[r.group]++
		if !slices.ContainsFunc(groups, func(g group) bool { return g.name == r.group }) {
			t.Errorf("%s has a group that is none: %s", test, r.group)
		}
	}
	for _, g := range groups {
		if count[g.name] == 0 {
			t.Errorf("the group %s has no test", g.name)
		}
	}
}

func TestParseExpected(t *testing.T) {
	for text, want := range map[string]string{
		"test_a.py::x list pass\n":                           "",
		"# a comment\n\ntest_a.py::x list fail needs ACLs\n": "",
		"test_a.py::x list\n":                                "line 1",
		"test_a.py::x list maybe\n":                          "maybe",
		"test_a.py::x list fail\n":                           "no reason",
		"test_a.py::x list pass because\n":                   "has a reason",
		"test_a.py::x list pass\ntest_a.py::x list pass\n":   "twice",
	} {
		if _, err := parseExpected([]byte(text)); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	order := []string{"test_s3.py::test_b", "test_s3.py::test_a", "test_sns.py::test_c"}
	rows := map[string]row{
		order[0]: {"public access block", "fail", "needs public access block"}, order[1]: {"list", "pass", ""}, order[2]: {"notification", "skip", "no reason at all"},
	}
	again, err := parseExpected(formatExpected(order, rows))
	if err != nil || len(again) != len(rows) {
		t.Errorf("%v, %v", again, err)
	}
	for test, r := range rows {
		if again[test] != r {
			t.Errorf("%s was %+v and is read as %+v", test, r, again[test])
		}
	}
}

// TestCompare wants every difference to be one, in both directions.
func TestCompare(t *testing.T) {
	expected := map[string]row{"a": {"list", "pass", ""}, "b": {"list", "fail", "needs ACLs"}, "c": {"list", "skip", "none"}, "h": {"list", "hollow", "any error will do"}}
	same := []result{{Test: "a", Outcome: "pass", group: "list"}, {Test: "b", Outcome: "fail", group: "list"}, {Test: "c", Outcome: "skip", group: "list"}, {Test: "h", Outcome: "pass", group: "list"}}
	if d := compare(expected, same, false); d != nil {
		t.Errorf("the same differs: %q", d)
	}
	for _, c := range []struct {
		change func([]result) []result
		want   string
	}{
		{func(r []result) []result { r[0].Outcome = "fail"; return r }, "a: fail, expected pass"},
		{func(r []result) []result { r[1].Outcome = "pass"; return r }, "b: pass, expected fail (needs ACLs)"},
		{func(r []result) []result { r[2].Outcome = "pass"; return r }, "c: pass, expected skip"},
		{func(r []result) []result { r[3].Outcome = "fail"; return r }, "h: fail, expected hollow"},
		{func(r []result) []result { r[0].group = "copy"; return r }, "a is of the group copy"},
		{func(r []result) []result { return r[1:] }, "a is in the list and did not run"},
		{func(r []result) []result { return append(r, result{Test: "d", Outcome: "pass"}) }, "d is not in the list"},
	} {
		if d := compare(expected, c.change(slices.Clone(same)), false); len(d) != 1 || !strings.HasPrefix(d[0], c.want) {
			t.Errorf("%q, want %q", d, c.want)
		}
	}
	if d := compare(expected, same[:1], true); d != nil {
		t.Errorf("a part differs: %q", d)
	}
}

func TestGroupOf(t *testing.T) {
	for _, c := range []struct{ file, name, markers, want string }{
		{"test_s3.py", "object_copy_zero_size", "copy", "copy"},
		{"test_s3.py", "copy_enc[unencrypted-sse-s3-STANDARD-STANDARD-1]", "encryption sse_s3", "sse-s3"},
		{"test_s3.py", "bucket_listv2_many", "list_objects_v2", "list"},
		{"test_s3.py", "bucket_policy", "bucket_policy", "policy"},
		{"test_s3.py", "bucket_create_naming_bad_ip", "", "bucket"},
		{"test_s3.py", "object_write_file", "", "object"},
		{"test_headers.py", "object_create_bad_md5_invalid_short", "auth_common", "headers/auth"},
		{"test_new.py", "something", "", ""},
	} {
		if got := groupOf(c.file, c.name, strings.Fields(c.markers)); got != c.want {
			t.Errorf("%s is of the group %q, want %q", c.name, got, c.want)
		}
	}
}
