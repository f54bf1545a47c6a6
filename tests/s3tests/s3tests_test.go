// Package s3tests_test runs ceph's s3-tests against the daemon and compares what becomes of each test with a list.
//
// Promise: any difference fails: a test that should pass and fails, one that should fail and passes, one that is new or gone, one that
// hangs. A test that does not pass has a reason in the list.
//
// The package knows nothing of the daemon's inside, and the suite is no part of the repository: HOLDFAST_TEST_S3TESTS names a copy of it,
// without which nothing is run. Other settings, all optional:
//
//	HOLDFAST_TEST_S3TESTS_PYTHON  a Python that has what the suite requires; default one of a virtual environment below the user's cache folder
//	HOLDFAST_TEST_S3TESTS_ONLY    an expression for pytest's -k: only these tests run and are compared
//	HOLDFAST_TEST_S3TESTS_UPDATE  write the list anew, with "?" for reasons that are not known yet
//	HOLDFAST_TEST_BINARY     the daemon; default one built from this tree
package s3tests_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/access"
	"holdfast/tests/daemontest"
)

const (
	// lanes is how many processes run the tests beside each other, each against a daemon of its own: some tests want to see no buckets but theirs.
	lanes = 2
	// limit is how long a phase of a test may take.
	limit = 120 * time.Second
	// failsOnAWS is the suite's marker for what differs from AWS.
	failsOnAWS = "fails_on_aws"
)

// result is what became of a test, as report.py writes it.
type result struct {
	Test    string // file.py::name
	Markers []string
	Outcome string // pass, fail or skip; "" of one that was collected and did not end
	Why     string // of the failure, the first of its words
	Seconds float64
	group   string
}

// TestSuite runs the suite.
func TestSuite(t *testing.T) {
	suite := os.Getenv("HOLDFAST_TEST_S3TESTS")
	if suite == "" {
		t.Skip("HOLDFAST_TEST_S3TESTS names no copy of s3-tests")
	}
	if _, err := os.Stat(filepath.Join(suite, "s3tests", "functional")); err != nil {
		t.Fatalf("HOLDFAST_TEST_S3TESTS is no copy of s3-tests: %v", err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	python := pythonOf(t, suite)
	only := os.Getenv("HOLDFAST_TEST_S3TESTS_ONLY")
	order, results := runLanes(t, suite, python, here, only)

	update := os.Getenv("HOLDFAST_TEST_S3TESTS_UPDATE") != ""
	text, err := os.ReadFile(expectedFile)
	if err != nil && !(update && errors.Is(err, os.ErrNotExist)) {
		t.Fatal(err)
	}
	expected, err := parseExpected(text)
	if err != nil {
		t.Fatal(err)
	}
	tally(t, expected, results, only != "")
	if update {
		writeExpected(t, order, expected, results)
		return
	}
	for _, difference := range compare(expected, results, only != "") {
		t.Error(difference)
	}
	for test, r := range expected {
		if r.reason == "?" {
			t.Errorf("%s: the list says %s and not why", test, r.outcome)
		}
	}
}

// runLanes runs all tests and returns what became of those that were chosen, in the order of the suite.
func runLanes(t *testing.T, suite, python, here, only string) (order []string, results []result) {
	var wait sync.WaitGroup
	reports := make([]string, lanes)
	for lane := range lanes {
		d := daemontest.New(t)
		if d.Start(); t.Failed() { // nothing would answer, and each test would take its time to find out
			t.FailNow()
		}
		reports[lane] = filepath.Join(d.Dir, "report")
		config := filepath.Join(d.Dir, "s3tests.conf")
		if err := os.WriteFile(config, configuration(d.Address), 0o600); err != nil {
			t.Fatal(err)
		}
		arguments := []string{"-m", "pytest", "-p", "report", "-p", "no:cacheprovider", "-q", "--tb=no", "--no-header", "s3tests/functional"}
		if only != "" {
			arguments = append(arguments, "-k", only)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Minute)
		t.Cleanup(cancel)
		pytest := exec.CommandContext(ctx, python, arguments...)
		pytest.Dir = suite
		pytest.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+strings.TrimRight(here+":"+os.Getenv("PYTHONPATH"), ":"),
			"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "NO_PROXY=127.0.0.1",
			"S3TEST_CONF="+config, "S3TESTS_REPORT="+reports[lane], fmt.Sprintf("S3TESTS_LANE=%d", lane), fmt.Sprintf("S3TESTS_LANES=%d", lanes),
			fmt.Sprintf("S3TESTS_LIMIT=%g", limit.Seconds()))
		wait.Go(func() {
			out, err := pytest.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) { // 1: tests failed
				t.Errorf("pytest ended with %v\n%s", err, last(out, 4000))
			}
			d.Stop()
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return readReports(t, reports)
}

// last returns the end of a text.
func last(text []byte, bytes int) []byte { return text[max(len(text)-bytes, 0):] }

// readReports puts together what the processes wrote. Of the tests that they collected, which are the same, each ran some.
func readReports(t *testing.T, reports []string) (order []string, results []result) {
	found := map[string]*result{}
	for _, report := range reports {
		text, err := os.ReadFile(report)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var r result
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Fatalf("%s: %v", report, err)
			}
			known := found[r.Test]
			if known == nil {
				file, name, _ := strings.Cut(r.Test, "::test_")
				r.group = groupOf(file, name, r.Markers)
				if r.group == "" {
					t.Errorf("no group claims %s", r.Test)
				}
				found[r.Test] = &r
				order = append(order, r.Test)
			} else if r.Outcome != "" {
				known.Outcome, known.Why, known.Seconds = r.Outcome, r.Why, r.Seconds
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range order {
		r := found[test]
		if r.Outcome == "" {
			t.Errorf("%s was collected and did not end", test)
		}
		results = append(results, *r)
	}
	return order, results
}

// tally prints passed/run of each group, of all its tests and of those that should hold on AWS, and wants no group to be empty. A hollow
// pass is none.
func tally(t *testing.T, expected map[string]row, results []result, part bool) {
	type count struct{ passed, run, awsPassed, awsRun int }
	counts, all := map[string]*count{}, &count{}
	for _, r := range results {
		if counts[r.group] == nil {
			counts[r.group] = &count{}
		}
		for _, c := range []*count{counts[r.group], all} {
			passed := 0
			if r.Outcome == "pass" && expected[r.Test].outcome != "hollow" {
				passed = 1
			}
			c.run++
			c.passed += passed
			if !slices.Contains(r.Markers, failsOnAWS) {
				c.awsRun++
				c.awsPassed += passed
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-20s %9s  %s\n", "group", "passed", "of those that should hold on AWS")
	for _, g := range groups {
		c := counts[g.name]
		if c == nil && !part {
			t.Errorf("the group %s has no test", g.name)
		}
		if c != nil {
			fmt.Fprintf(&b, "%-20s %4d/%-4d  %4d/%d\n", g.name, c.passed, c.run, c.awsPassed, c.awsRun)
		}
	}
	fmt.Fprintf(&b, "%-20s %4d/%-4d  %4d/%d", "all", all.passed, all.run, all.awsPassed, all.awsRun)
	t.Log(b.String())
	slowest := slices.Clone(results)
	slices.SortFunc(slowest, func(a, b result) int { return int(1000 * (b.Seconds - a.Seconds)) })
	for _, r := range slowest[:min(3, len(slowest))] {
		t.Logf("slow: %s took %.1f s", r.Test, r.Seconds)
	}
}

// writeExpected writes the list anew. A reason stays as long as the outcome; with a part of the tests, so do the rows of the others.
func writeExpected(t *testing.T, order []string, expected map[string]row, results []result) {
	rows := map[string]row{}
	if os.Getenv("HOLDFAST_TEST_S3TESTS_ONLY") != "" {
		for test, r := range expected {
			rows[test] = r
			if !slices.Contains(order, test) {
				order = append(order, test)
			}
		}
		slices.Sort(order)
	}
	for _, r := range results {
		reason, former := "", expected[r.Test]
		if r.Outcome == "pass" && former.outcome == "hollow" {
			r.Outcome, reason = former.outcome, former.reason
		} else if r.Outcome != "pass" {
			reason = "?"
			if former.outcome == r.Outcome {
				reason = former.reason
			}
			if reason == "?" {
				t.Logf("%s: %s without a reason yet: %s", r.Test, r.Outcome, r.Why)
			}
		}
		rows[r.Test] = row{r.group, r.Outcome, reason}
	}
	if err := os.WriteFile(expectedFile, formatExpected(order, rows), 0o644); err != nil {
		t.Fatal(err)
	}
}

// pythonOf returns a Python that has what the suite requires. Its virtual environment is kept for the next run with the same requirements.
func pythonOf(t *testing.T, suite string) string {
	if python := os.Getenv("HOLDFAST_TEST_S3TESTS_PYTHON"); python != "" {
		return python
	}
	requirements, err := os.ReadFile(filepath.Join(suite, "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	constraints, err := filepath.Abs("constraints.txt")
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := os.ReadFile(constraints)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	sum := fnv.New64a()
	sum.Write(requirements)
	sum.Write(pinned)
	dir := filepath.Join(cache, "holdfast", fmt.Sprintf("s3tests-%x", sum.Sum64()))
	python := filepath.Join(dir, "bin", "python")
	whole := filepath.Join(dir, "whole")
	if _, err := os.Stat(whole); err == nil {
		return python
	}
	for _, command := range [][]string{
		{"python3", "-m", "venv", "--clear", dir},
		{python, "-m", "pip", "install", "-q", "-c", constraints, "-r", filepath.Join(suite, "requirements.txt")},
	} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s\nHOLDFAST_TEST_S3TESTS_PYTHON can name a Python that has what the suite requires.", strings.Join(command, " "), err, last(out, 2000))
		}
	}
	if err := os.WriteFile(whole, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return python
}

// configuration is the suite's. There is one credential: the main user, the second and the tenant's are all root. So a test that
// wants one of them refused fails, and one that only wants them served passes.
func configuration(address string) []byte {
	host, port, _ := strings.Cut(address, ":")
	var b bytes.Buffer
	fmt.Fprintf(&b, "[DEFAULT]\nhost = %s\nport = %s\nis_secure = False\nssl_verify = False\n[fixtures]\nbucket prefix = holdfast-{random}-\n", host, port)
	section := func(name, user, password, id, more string) {
		fmt.Fprintf(&b, "[%s]\naccess_key = %s\nsecret_key = %s\nuser_id = %s\ndisplay_name = root\nemail = %s@localhost\n%s", name, user, password, id, user, more)
	}
	root := access.RootID
	section("s3 main", daemontest.User, daemontest.Password, root, "api_name = us-east-1\n")
	section("s3 alt", daemontest.User, daemontest.Password, root, "")
	section("s3 tenant", daemontest.User, daemontest.Password, root, "tenant = none\n")
	for _, name := range []string{"iam", "iam root", "iam alt root"} { // which do not exist
		section(name, "nobody-"+strings.ReplaceAll(name, " ", "-"), daemontest.Password, "nobody", "")
	}
	return b.Bytes()
}
