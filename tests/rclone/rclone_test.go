// Package rclone_test runs rclone's own tests of its back end for S3 against the daemon.
//
// Promise: each test that fails there fails here, none is left out, and a run in which the back end was not reached is no success.
//
// The package knows nothing of the daemon's inside, and rclone is no part of the repository: HOLDFAST_TEST_RCLONE names a copy of its source,
// without which nothing is run.
package rclone_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/tests/daemontest"
)

// remotes are what the back end is told of the server. It decides by the provider which ways of asking it uses; for "Other" it assumes
// little, so that it is told that a bucket that exists is an error, and that listings may be of version 2, encoded, and ETags of uploads known.
var remotes = map[string]string{
	"Minio": "provider = Minio\n",
	"Other": "provider = Other\nuse_already_exists = true\nlist_version = 2\nlist_url_encode = true\nuse_multipart_etag = true\n",
}

// testsMin is how many tests of the back end a run has at least: without a server it has but a few.
const testsMin = 200

var outcome = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+)`)

// TestBackend runs the tests.
func TestBackend(t *testing.T) {
	source := os.Getenv("HOLDFAST_TEST_RCLONE")
	if source == "" {
		t.Skip("HOLDFAST_TEST_RCLONE names no copy of rclone")
	}
	dir := filepath.Join(source, "backend", "s3")
	if _, err := os.Stat(filepath.Join(dir, "s3_test.go")); err != nil {
		t.Fatalf("HOLDFAST_TEST_RCLONE is no copy of rclone: %v", err)
	}
	binary := filepath.Join(t.TempDir(), "s3.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the tests do not build: %v\n%s", err, out)
	}
	d := daemontest.New(t)
	if d.Start(); t.Failed() {
		t.FailNow()
	}
	defer d.Stop()
	for provider, settings := range remotes {
		t.Run(provider, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "rclone.conf")
			text := fmt.Sprintf("[TestS3Holdfast]\ntype = s3\naccess_key_id = %s\nsecret_access_key = %s\nendpoint = %s\nregion = us-east-1\n%s", daemontest.User,
				daemontest.Password, d.URL(), settings)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
			defer cancel()
			tests := exec.CommandContext(ctx, binary, "-test.v", "-remote", "TestS3Holdfast:")
			tests.Dir = dir
			tests.Env = append(os.Environ(), "RCLONE_CONFIG="+config)
			out, err := tests.CombinedOutput()
			judge(t, string(out), err)
		})
	}
}

// judge counts what became of the tests, and fails unless all that ran passed.
func judge(t *testing.T, out string, err error) {
	t.Helper()
	named := map[string][]string{}
	for _, match := range outcome.FindAllStringSubmatch(out, -1) {
		named[match[1]] = append(named[match[1]], match[2])
	}
	t.Logf("%d passed, %d failed, %d do not apply: %s", len(named["PASS"]), len(named["FAIL"]), len(named["SKIP"]), strings.Join(named["SKIP"], " "))
	for _, name := range named["FAIL"] {
		t.Errorf("%s fails", name)
	}
	if err != nil {
		t.Errorf("the tests ended with %v\n%s", err, out[max(0, len(out)-20_000):])
	}
	if len(named["PASS"]) < testsMin {
		t.Errorf("%d tests passed, fewer than %d: the back end was not reached", len(named["PASS"]), testsMin)
	}
}
