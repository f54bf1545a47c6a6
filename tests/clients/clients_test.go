// Package clients_test drives the real daemon with the clients that people have: aws, boto3, aws-sdk-js, rclone, s3cmd, restic, and mc.
//
// Promise: a client that is missing fails its test, unless HOLDFAST_TEST_ABSENT (names separated by commas) says that it is missing
// on purpose; so a green run means what it says. mc, which Debian does not package, is tested when HOLDFAST_TEST_MC names the program.
//
// The package knows nothing of the daemon's inside. HOLDFAST_TEST_BINARY names a daemon to use in place of the one it builds.
package clients_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	user     = "clients-test"
	password = "clients-test-password"
)

// endpoint is where the package's daemon listens.
var endpoint string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run starts the daemon, runs the tests, and stops it.
func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "holdfast-clients-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	binary := os.Getenv("HOLDFAST_TEST_BINARY")
	if binary == "" {
		binary = filepath.Join(dir, "holdfast")
		if out, err := exec.Command("go", "build", "-o", binary, "holdfast/cli/holdfast").CombinedOutput(); err != nil {
			return 1, fmt.Errorf("the daemon does not build: %w\n%s", err, out)
		}
	}
	address, err := freeAddress()
	if err != nil {
		return 1, err
	}
	args := []string{"server", "--s3-address", address, "--metrics-address", "off", "--state", filepath.Join(dir, "state")}
	for i := range 4 {
		drive := filepath.Join(dir, fmt.Sprintf("drive%d", i+1))
		if err := os.Mkdir(drive, 0o700); err != nil {
			return 1, err
		}
		args = append(args, drive)
	}
	var log bytes.Buffer
	daemon := exec.Command(binary, args...)
	daemon.Env = append(os.Environ(), "HOLDFAST_ROOT_USER="+user, "HOLDFAST_ROOT_PASSWORD="+password)
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		return 1, err
	}
	exited := make(chan error, 1)
	go func() { exited <- daemon.Wait() }()
	endpoint = "http://" + address
	if err := ready(exited); err != nil {
		daemon.Process.Kill()
		return 1, fmt.Errorf("%w\n%s", err, log.String())
	}
	code = m.Run()
	return code, stop(daemon, exited, &log)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// ready waits until the daemon says that it serves.
func ready(exited chan error) error {
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		response, err := http.Get(endpoint + "/minio/health/ready")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case err := <-exited:
			return fmt.Errorf("the daemon ended before it was ready: %v", err)
		case <-deadline:
			return fmt.Errorf("the daemon was not ready within a minute")
		}
	}
}

func stop(daemon *exec.Cmd, exited chan error, log *bytes.Buffer) error {
	daemon.Process.Signal(syscall.SIGTERM)
	select {
	case <-exited:
		return nil
	case <-time.After(30 * time.Second):
		daemon.Process.Kill()
		<-exited
		return fmt.Errorf("the daemon did not stop within 30 s of SIGTERM\n%s", log.String())
	}
}

// client is a program with a home of its own.
type client struct {
	t    *testing.T
	path string
	home string
	env  []string
	// input is what the client reads from its standard input.
	input string
}

// need returns the client, or fails or skips the test.
func need(t *testing.T, program string) *client {
	t.Helper()
	if testing.Short() {
		t.Skip("real clients take a while")
	}
	path := find(t, program)
	t.Parallel()
	home := t.TempDir()
	return &client{t: t, path: path, home: home, env: []string{"XDG_CACHE_HOME=" + home, "XDG_CONFIG_HOME=" + home, "AWS_ACCESS_KEY_ID=" + user,
		"AWS_SECRET_ACCESS_KEY=" + password, "AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + filepath.Join(home, "aws"),
		"AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(home, "credentials")}}
}

// find returns where a program is, or fails or skips the test.
func find(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("HOLDFAST_TEST_ABSENT"), ","), program) {
			t.Skipf("%s is missing on purpose", program)
		}
		t.Fatalf("%s is not installed (HOLDFAST_TEST_ABSENT=%s says that this is on purpose)", program, program)
	}
	return path
}

// try runs the client.
func (c *client) try(args ...string) (string, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Dir = c.home
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "RESTIC_") }), c.env...)
	cmd.Stdin = strings.NewReader(c.input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs the client and demands success.
func (c *client) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("%s %q: %v\n%s", filepath.Base(c.path), args, err, out)
	}
	return out
}

// fails demands that the client fails and says why.
func (c *client) fails(reason string, args ...string) {
	c.t.Helper()
	if out, err := c.try(args...); err == nil || !strings.Contains(out, reason) {
		c.t.Fatalf("%s %q: %v, without %q\n%s", filepath.Base(c.path), args, err, reason, out)
	}
}

const bigBytes = 20<<20 + 17

// bigFile writes a file that every client sends in parts.
func bigFile(t *testing.T, path string) {
	t.Helper()
	data := make([]byte, bigBytes)
	rand.NewChaCha8([32]byte{7}).Read(data)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// oddNames are names that file systems allow and clients carry.
var oddNames = []string{"plain.txt", "with space", "plus+sign", "percent%41", "ümläut", "日本語", "a&b=c", "quote'\"", "semi;colon", "hash#", "star*", "-dash", "dot.", "tilde~", "x[1]{2}"}

// makeTree writes a small tree and returns its folder.
func makeTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range oddNames {
		write(name, name)
		write(filepath.Join("dir", "sub", name), strings.Repeat(name, 1000*i))
	}
	write("empty", "")
	for i := range 40 {
		write(fmt.Sprintf("many/%02d/file", i), strings.Repeat("x", i*997))
	}
	bigFile(t, filepath.Join(dir, "big"))
	return dir
}

// sameTree compares two trees byte by byte.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	a, b := readTree(t, want), readTree(t, got)
	for name, content := range a {
		if other, ok := b[name]; !ok || other != content {
			t.Errorf("%q is missing or different (%d and %d bytes)", name, len(content), len(other))
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			t.Errorf("%q is too much", name)
		}
	}
}

func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameFile(t *testing.T, want, got string) {
	t.Helper()
	a, errA := os.ReadFile(want)
	b, errB := os.ReadFile(got)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Fatalf("%s and %s differ: %d and %d bytes, %v %v", want, got, len(a), len(b), errA, errB)
	}
}

func TestAWS(t *testing.T) {
	c := need(t, "aws")
	aws := func(args ...string) string {
		c.t.Helper()
		return c.run(append([]string{"--endpoint-url", endpoint}, args...)...)
	}
	tree := makeTree(t)
	aws("s3", "mb", "s3://aws-bucket")
	if out := aws("s3", "ls"); !strings.Contains(out, "aws-bucket") {
		t.Fatal(out)
	}
	aws("s3", "sync", "--only-show-errors", tree, "s3://aws-bucket/tree")
	back := filepath.Join(c.home, "back")
	aws("s3", "sync", "--only-show-errors", "s3://aws-bucket/tree", back)
	sameTree(t, tree, back)
	if out := aws("s3", "sync", tree, "s3://aws-bucket/tree"); strings.Contains(out, "upload:") {
		t.Errorf("a second sync uploads again: %s", out)
	}
	if out := aws("s3", "ls", "s3://aws-bucket/tree/dir/"); !strings.Contains(out, "PRE sub/") {
		t.Error(out)
	}
	aws("s3", "cp", "--only-show-errors", filepath.Join(tree, "big"), "s3://aws-bucket/odd //..//key+ä")
	aws("s3", "cp", "--only-show-errors", "s3://aws-bucket/odd //..//key+ä", filepath.Join(c.home, "one"))
	sameFile(t, filepath.Join(tree, "big"), filepath.Join(c.home, "one"))
	small := filepath.Join(c.home, "small")
	if err := os.WriteFile(small, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	aws("s3api", "put-object", "--bucket", "aws-bucket", "--key", "k", "--body", small, "--if-none-match", "*", "--checksum-algorithm", "SHA256", "--metadata", "a=b")
	c.fails("PreconditionFailed", "--endpoint-url", endpoint, "s3api", "put-object", "--bucket", "aws-bucket", "--key", "k", "--body", small, "--if-none-match", "*")
	if out := aws("s3api", "get-object", "--bucket", "aws-bucket", "--key", "k", "--checksum-mode", "ENABLED", "--range", "bytes=1-3", filepath.Join(c.home, "part")); !strings.Contains(out, `"a": "b"`) {
		t.Error(out)
	}
	if out := aws("s3api", "head-object", "--bucket", "aws-bucket", "--key", "k", "--checksum-mode", "ENABLED"); !strings.Contains(out, "ChecksumSHA256") {
		t.Error(out)
	}
	c.fails("NotImplemented", "--endpoint-url", endpoint, "s3api", "put-bucket-lifecycle-configuration", "--bucket", "aws-bucket", "--lifecycle-configuration", `{"Rules":[{"ID":"a","Status":"Enabled","Filter":{},"Expiration":{"Days":1}}]}`)
	if out := aws("s3api", "copy-object", "--bucket", "aws-bucket", "--key", "k2", "--copy-source", "aws-bucket/k"); !strings.Contains(out, "ETag") {
		t.Error(out)
	}
	if out := aws("s3api", "head-object", "--bucket", "aws-bucket", "--key", "k2", "--checksum-mode", "ENABLED"); !strings.Contains(out, `"a": "b"`) || !strings.Contains(out, "ChecksumSHA256") {
		t.Errorf("a copy without its metadata or checksum: %s", out)
	}
	c.fails("PreconditionFailed", "--endpoint-url", endpoint, "s3api", "copy-object", "--bucket", "aws-bucket", "--key", "k3", "--copy-source", "aws-bucket/k", "--copy-source-if-match", "x")
	aws("s3", "cp", "--only-show-errors", "s3://aws-bucket/odd //..//key+ä", "s3://aws-bucket/copy of ä") // in parts, with UploadPartCopy
	aws("s3", "mv", "--only-show-errors", "s3://aws-bucket/copy of ä", "s3://aws-bucket/moved")
	c.fails("404", "--endpoint-url", endpoint, "s3api", "head-object", "--bucket", "aws-bucket", "--key", "copy of ä")
	aws("s3", "cp", "--only-show-errors", "s3://aws-bucket/moved", filepath.Join(c.home, "moved"))
	sameFile(t, filepath.Join(tree, "big"), filepath.Join(c.home, "moved"))
	for _, version := range []string{"s3v4", "s3"} { // version 1 of the command line has Signature Version 2, too
		aws("configure", "set", "default.s3.signature_version", version)
		if body := getURL(t, strings.TrimSpace(aws("s3", "presign", "s3://aws-bucket/k"))); body != "hello" {
			t.Errorf("presigned with %s: %s", version, body)
		}
		aws("s3", "cp", "--only-show-errors", small, "s3://aws-bucket/signed "+version)
		if out := aws("s3", "ls", "s3://aws-bucket/signed"); !strings.Contains(out, "signed "+version) {
			t.Errorf("signed with %s: %s", version, out)
		}
	}
	aws("s3", "rm", "--only-show-errors", "--recursive", "s3://aws-bucket")
	aws("s3", "rb", "s3://aws-bucket")
}

// TestAWSVersions makes versions and delete markers, reads an old version, undoes a delete, and empties the bucket.
func TestAWSVersions(t *testing.T) {
	c := need(t, "aws")
	aws := func(args ...string) string {
		c.t.Helper()
		return c.run(append([]string{"--endpoint-url", endpoint, "s3api"}, args...)...)
	}
	aws("create-bucket", "--bucket", "aws-versions")
	aws("put-bucket-versioning", "--bucket", "aws-versions", "--versioning-configuration", "Status=Enabled")
	if out := aws("get-bucket-versioning", "--bucket", "aws-versions"); !strings.Contains(out, "Enabled") {
		t.Error(out)
	}
	var ids []string
	for _, text := range []string{"one", "two"} {
		file := filepath.Join(c.home, text)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, strings.TrimSpace(aws("put-object", "--bucket", "aws-versions", "--key", "k", "--body", file, "--query", "VersionId", "--output", "text")))
	}
	ids = append(ids, strings.TrimSpace(aws("delete-object", "--bucket", "aws-versions", "--key", "k", "--query", "VersionId", "--output", "text")))
	c.fails("404", "--endpoint-url", endpoint, "s3api", "head-object", "--bucket", "aws-versions", "--key", "k")
	aws("get-object", "--bucket", "aws-versions", "--key", "k", "--version-id", ids[0], filepath.Join(c.home, "old"))
	sameFile(t, filepath.Join(c.home, "one"), filepath.Join(c.home, "old"))
	aws("delete-object", "--bucket", "aws-versions", "--key", "k", "--version-id", ids[2])
	aws("get-object", "--bucket", "aws-versions", "--key", "k", filepath.Join(c.home, "current"))
	sameFile(t, filepath.Join(c.home, "two"), filepath.Join(c.home, "current"))
	if out := aws("list-object-versions", "--bucket", "aws-versions", "--query", "Versions[].VersionId", "--output", "text"); strings.Join(strings.Fields(out), " ") != ids[1]+" "+ids[0] {
		t.Errorf("%q, not %q", out, ids)
	}
	for _, id := range ids[:2] {
		aws("delete-object", "--bucket", "aws-versions", "--key", "k", "--version-id", id)
	}
	aws("delete-bucket", "--bucket", "aws-versions")
}

// TestAWSLock locks versions, is refused, and lifts what may be lifted; and appends.
func TestAWSLock(t *testing.T) {
	c := need(t, "aws")
	file := filepath.Join(c.home, "file")
	if err := os.WriteFile(file, []byte("locked"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := func(operation string, more ...string) []string {
		return append([]string{"--endpoint-url", endpoint, "--output", "text", "s3api", operation, "--bucket", "aws-locked"}, more...)
	}
	aws := func(operation string, more ...string) string {
		c.t.Helper()
		return strings.Join(strings.Fields(c.run(all(operation, more...)...)), " ")
	}
	aws("create-bucket", "--object-lock-enabled-for-bucket")
	id := aws("put-object", "--key", "k", "--body", file, "--query", "VersionId")
	version := []string{"--key", "k", "--version-id", id}
	locked := func(operation string, more ...string) string {
		c.t.Helper()
		return aws(operation, append(version, more...)...)
	}
	forbidden := func(operation string, more ...string) {
		c.t.Helper()
		c.fails("AccessDenied", all(operation, append(version, more...)...)...)
	}
	until := func(hours int) string {
		return fmt.Sprintf("Mode=GOVERNANCE,RetainUntilDate=%s", time.Now().Add(time.Duration(hours)*time.Hour).UTC().Format(time.RFC3339))
	}
	locked("put-object-retention", "--retention", until(2))
	forbidden("put-object-retention", "--retention", until(1))
	locked("put-object-retention", "--retention", until(1), "--bypass-governance-retention")
	locked("put-object-legal-hold", "--legal-hold", "Status=ON")
	if out := locked("head-object", "--query", "[ObjectLockMode, ObjectLockLegalHoldStatus]"); out != "GOVERNANCE ON" {
		t.Error(out)
	}
	forbidden("delete-object", "--bypass-governance-retention")
	locked("put-object-legal-hold", "--legal-hold", "Status=OFF")
	locked("delete-object", "--bypass-governance-retention")
	aws("delete-bucket")

	plain := func(operation string, more ...string) string {
		c.t.Helper()
		return c.run(append([]string{"--endpoint-url", endpoint, "--output", "text", "s3api", operation, "--bucket", "aws-append"}, more...)...)
	}
	plain("create-bucket")
	plain("put-object", "--key", "log", "--body", file, "--write-offset-bytes", "0")
	if out := plain("put-object", "--key", "log", "--body", file, "--write-offset-bytes", "6", "--query", "Size"); strings.TrimSpace(out) != "12" {
		t.Error(out)
	}
	c.fails("InvalidWriteOffset", "--endpoint-url", endpoint, "s3api", "put-object", "--bucket", "aws-append", "--key", "log", "--body", file, "--write-offset-bytes", "6")
	if out := c.run("--endpoint-url", endpoint, "s3", "cp", "s3://aws-append/log", "-"); out != "lockedlocked" {
		t.Error(out)
	}
}

// TestAWSTagsAndParts tags an object and a bucket, and asks for the parts of an upload.
func TestAWSTagsAndParts(t *testing.T) {
	c := need(t, "aws")
	aws := func(args ...string) string {
		c.t.Helper()
		return strings.Join(strings.Fields(c.run(append([]string{"--endpoint-url", endpoint, "--output", "text", "s3api"}, args...)...)), " ")
	}
	is := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	at := func(more ...string) []string { return append([]string{"--bucket", "aws-tags", "--key", "k"}, more...) }
	call := func(operation string, more ...string) string {
		c.t.Helper()
		return aws(append([]string{operation}, at(more...)...)...)
	}
	aws("create-bucket", "--bucket", "aws-tags")
	pieces := []string{filepath.Join(c.home, "one"), filepath.Join(c.home, "two")}
	for i, content := range [][]byte{bytes.Repeat([]byte("part one"), 700_000), []byte("part two")} {
		if err := os.WriteFile(pieces[i], content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	upload := call("create-multipart-upload", "--tagging", "from=upload", "--checksum-algorithm", "SHA256", "--query", "UploadId")
	var parts []string
	for i, piece := range pieces {
		number := fmt.Sprint(i + 1)
		fields := strings.Fields(call("upload-part", "--upload-id", upload, "--part-number", number, "--body", piece, "--checksum-algorithm", "SHA256",
			"--query", "[ETag, ChecksumSHA256]"))
		if len(fields) != 2 {
			t.Fatalf("the part answers %q", fields)
		}
		parts = append(parts, fmt.Sprintf("{PartNumber=%s,ETag=%s,ChecksumSHA256=%s}", number, strings.Trim(fields[0], `"`), fields[1]))
	}
	call("complete-multipart-upload", "--upload-id", upload, "--multipart-upload", "Parts=["+strings.Join(parts, ",")+"]")
	is(call("get-object-tagging", "--query", "TagSet"), "from upload")
	call("put-object-tagging", "--tagging", "TagSet=[{Key=b,Value=2},{Key=a,Value=1}]")
	is(call("get-object-tagging", "--query", "TagSet"), "a 1 b 2")
	is(call("head-object", "--query", "ContentLength"), "5600008")
	call("delete-object-tagging")
	is(call("get-object-tagging", "--query", "TagSet"), "")
	aws("put-bucket-tagging", "--bucket", "aws-tags", "--tagging", "TagSet=[{Key=of,Value=bucket}]")
	is(aws("get-bucket-tagging", "--bucket", "aws-tags", "--query", "TagSet"), "of bucket")
	is(call("get-object-attributes", "--object-attributes", "ObjectSize", "ObjectParts", "--query", "[ObjectSize, ObjectParts.TotalPartsCount, ObjectParts.Parts[].Size]"),
		"5600008 2 5600000 8")
	second := filepath.Join(c.home, "second")
	is(call("get-object", "--part-number", "2", "--query", "PartsCount", second), "2")
	sameFile(t, pieces[1], second)
	call("delete-object")
	aws("delete-bucket", "--bucket", "aws-tags")
}

func TestBoto3(t *testing.T) {
	c := need(t, "python3")
	if out, err := c.try("-c", "import boto3"); err != nil {
		if python, errDebian := exec.LookPath("/usr/bin/python3"); errDebian == nil {
			c.path = python
		}
		if out2, err := c.try("-c", "import boto3"); err != nil {
			if slices.Contains(strings.Split(os.Getenv("HOLDFAST_TEST_ABSENT"), ","), "boto3") {
				t.Skip("boto3 is missing on purpose")
			}
			t.Fatalf("boto3 is not installed (HOLDFAST_TEST_ABSENT=boto3 says that this is on purpose)\n%s%s", out, out2)
		}
	}
	script, err := filepath.Abs("testdata/boto3_test.py")
	if err != nil {
		t.Fatal(err)
	}
	if out := c.run(script, endpoint); !strings.Contains(out, "everything holds") {
		t.Fatal(out)
	}
}

func TestRclone(t *testing.T) {
	c := need(t, "rclone")
	config := filepath.Join(c.home, "rclone.conf")
	text := fmt.Sprintf("[h]\ntype = s3\nprovider = Other\naccess_key_id = %s\nsecret_access_key = %s\nendpoint = %s\nregion = us-east-1\nchunk_size = 5Mi\nupload_cutoff = 5Mi\n", user, password, endpoint)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rclone := func(args ...string) string {
		c.t.Helper()
		return c.run(append([]string{"--config", config}, args...)...)
	}
	tree := makeTree(t)
	rclone("mkdir", "h:rclone-bucket")
	rclone("copy", tree, "h:rclone-bucket/tree")
	rclone("check", "--download", tree, "h:rclone-bucket/tree")
	rclone("check", tree, "h:rclone-bucket/tree")
	back := filepath.Join(c.home, "back")
	rclone("copy", "h:rclone-bucket/tree", back)
	sameTree(t, tree, back)
	rclone("copy", "h:rclone-bucket/tree", "h:rclone-bucket/copy") // copied by the server
	rclone("check", "--download", tree, "h:rclone-bucket/copy")
	if err := os.Remove(filepath.Join(tree, "empty")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "plain.txt"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	rclone("sync", tree, "h:rclone-bucket/tree")
	rclone("check", "--download", tree, "h:rclone-bucket/tree")
	c.input = "through a pipe"
	rclone("rcat", "h:rclone-bucket/piped")
	if out := rclone("cat", "h:rclone-bucket/piped"); out != "through a pipe" {
		t.Error(out)
	}
	if out := rclone("lsf", "h:rclone-bucket/tree/dir/"); strings.TrimSpace(out) != "sub/" {
		t.Error(out)
	}
	if out := rclone("size", "h:rclone-bucket"); !strings.Contains(out, "Total objects") {
		t.Error(out)
	}
	rclone("purge", "h:rclone-bucket")
	if out := rclone("lsd", "h:"); strings.Contains(out, "rclone-bucket") {
		t.Error(out)
	}
}

func TestRestic(t *testing.T) {
	c := need(t, "restic")
	c.env = append(c.env, "RESTIC_PASSWORD=abc", "RESTIC_REPOSITORY=s3:"+endpoint+"/restic-bucket/repo", "RESTIC_PROGRESS_FPS=0.1")
	tree := makeTree(t)
	c.run("init")
	c.run("backup", tree)
	if err := os.WriteFile(filepath.Join(tree, "plain.txt"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run("backup", tree)
	c.run("check", "--read-data")
	back := filepath.Join(c.home, "back")
	c.run("restore", "latest", "--target", back)
	sameTree(t, tree, filepath.Join(back, tree))
	c.run("tag", "--add", "kept", "latest")
	c.run("forget", "--keep-last", "1", "--prune")
	c.run("check", "--read-data")
	if out := c.run("snapshots", "--tag", "kept"); !strings.Contains(out, "1 snapshots") {
		t.Error(out)
	}
	if out := c.run("dump", "latest", filepath.Join(tree, "plain.txt")); !strings.HasSuffix(out, "changed") {
		t.Error(out)
	}
	c.env = append(c.env, "RESTIC_PASSWORD=another")
	c.fails("wrong password or no key found", "snapshots")
}

func TestS3cmd(t *testing.T) {
	c := need(t, "s3cmd")
	host := strings.TrimPrefix(endpoint, "http://")
	config := filepath.Join(c.home, "s3cfg")
	text := fmt.Sprintf("[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\nbucket_location = us-east-1\nmultipart_chunk_size_mb = 5\nprogress_meter = False\n", user, password, host, host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s3cmd := func(args ...string) string { c.t.Helper(); return c.run(append([]string{"-c", config}, args...)...) }
	tree := makeTree(t)
	s3cmd("mb", "s3://s3cmd-bucket")
	s3cmd("sync", tree+"/", "s3://s3cmd-bucket/tree/")
	back := filepath.Join(c.home, "back")
	if err := os.Mkdir(back, 0o700); err != nil {
		t.Fatal(err)
	}
	s3cmd("sync", "s3://s3cmd-bucket/tree/", back+"/")
	sameTree(t, tree, back)
	if out := s3cmd("ls", "s3://s3cmd-bucket/tree/dir/"); !strings.Contains(out, "DIR") {
		t.Error(out)
	}
	if out := s3cmd("info", "s3://s3cmd-bucket/tree/big"); !strings.Contains(out, fmt.Sprint(bigBytes)) {
		t.Error(out)
	}
	s3cmd("put", filepath.Join(tree, "plain.txt"), "s3://s3cmd-bucket/odd //key+ä")
	s3cmd("get", "s3://s3cmd-bucket/odd //key+ä", filepath.Join(c.home, "one"))
	sameFile(t, filepath.Join(tree, "plain.txt"), filepath.Join(c.home, "one"))
	s3cmd("cp", "s3://s3cmd-bucket/odd //key+ä", "s3://s3cmd-bucket/copy ä")
	s3cmd("mv", "s3://s3cmd-bucket/copy ä", "s3://s3cmd-bucket/moved")
	s3cmd("get", "s3://s3cmd-bucket/moved", filepath.Join(c.home, "moved"))
	sameFile(t, filepath.Join(tree, "plain.txt"), filepath.Join(c.home, "moved"))
	info := func(key string, want ...string) {
		t.Helper()
		out := s3cmd("info", "s3://s3cmd-bucket/"+key)
		for _, want := range want {
			if !strings.Contains(out, want) {
				t.Errorf("%s has no %q: %s", key, want, out)
			}
		}
	}
	s3cmd("put", "--mime-type", "text/x", "--add-header", "x-amz-meta-a: b", filepath.Join(tree, "big"), "s3://s3cmd-bucket/parts")
	info("parts", "text/x", "x-amz-meta-a: b")
	s3cmd("modify", "--add-header", "x-amz-meta-c: d", "--mime-type", "text/y", "s3://s3cmd-bucket/moved")
	info("moved", "text/y", "x-amz-meta-c: d")
	s3cmd("get", "--continue", "--force", "s3://s3cmd-bucket/parts", filepath.Join(c.home, "parts"))
	sameFile(t, filepath.Join(tree, "big"), filepath.Join(c.home, "parts"))
	if signed := strings.TrimSpace(s3cmd("signurl", "s3://s3cmd-bucket/odd //key+ä", "+60")); getURL(t, signed) != "plain.txt" {
		t.Error(signed)
	}
	if out := strings.Fields(s3cmd("du", "s3://s3cmd-bucket/parts")); out[0] != fmt.Sprint(bigBytes) {
		t.Errorf("du: %s", out)
	}
	c.fails("NotImplemented", "-c", config, "setacl", "--acl-public", "s3://s3cmd-bucket/moved")
	c.fails("NotImplemented", "-c", config, "expire", "--expiry-days", "1", "s3://s3cmd-bucket")
	if err := os.Remove(filepath.Join(tree, "empty")); err != nil {
		t.Fatal(err)
	}
	s3cmd("sync", "--delete-removed", tree+"/", "s3://s3cmd-bucket/tree/")
	if out := s3cmd("ls", "s3://s3cmd-bucket/tree/empty"); out != "" {
		t.Errorf("sync --delete-removed leaves %s", out)
	}
	c.fails("BucketNotEmpty", "-c", config, "rb", "s3://s3cmd-bucket")
	v2 := func(args ...string) string { return s3cmd(append([]string{"--signature-v2"}, args...)...) }
	v2("put", "--mime-type", "text/x", "--add-header", "x-amz-meta-a: b", filepath.Join(tree, "plain.txt"), "s3://s3cmd-bucket/v2 //ä")
	v2("put", filepath.Join(tree, "big"), "s3://s3cmd-bucket/v2 big")
	for key, file := range map[string]string{"v2 //ä": "plain.txt", "v2 big": "big"} {
		back := filepath.Join(c.home, "v2 "+file)
		v2("get", "s3://s3cmd-bucket/"+key, back)
		sameFile(t, filepath.Join(tree, file), back)
	}
	if out := v2("ls", "s3://s3cmd-bucket/"); !strings.Contains(out, "v2 big") {
		t.Error(out)
	}
	if out := v2("info", "s3://s3cmd-bucket/v2 //ä"); !strings.Contains(out, "text/x") {
		t.Error(out)
	}
	v2("cp", "s3://s3cmd-bucket/v2 big", "s3://s3cmd-bucket/v2 copy")
	if signed := strings.TrimSpace(v2("signurl", "s3://s3cmd-bucket/v2 //ä", "+60")); !strings.Contains(signed, "AWSAccessKeyId=") {
		t.Error(signed)
	} else if body := getURL(t, signed); body != "plain.txt" {
		t.Errorf("%s: %s", signed, body)
	}
	v2("rm", "s3://s3cmd-bucket/v2 copy")
	s3cmd("rm", "--recursive", "--force", "s3://s3cmd-bucket/")
	s3cmd("rb", "s3://s3cmd-bucket")
}

// getURL returns what is at a presigned URL.
func getURL(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestUnsigned looks at the answer to a request without a signature.
func TestUnsigned(t *testing.T) {
	response, err := http.Get(endpoint + "/aws-bucket/k")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusForbidden || !bytes.Contains(body, []byte("<Code>AccessDenied</Code>")) {
		t.Fatalf("%d %s", response.StatusCode, body)
	}
}
