package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMC(t *testing.T) {
	c, mc := newMC(t)
	is := func(got string, want ...string) {
		t.Helper()
		for _, want := range want {
			if !strings.Contains(got, want) {
				t.Errorf("%q has no %q", got, want)
			}
		}
	}
	tree := makeTree(t)
	mc("mb", "h/mc-bucket")
	mc("cp", "--recursive", tree+"/", "h/mc-bucket/tree/")
	back := filepath.Join(c.home, "back")
	mc("mirror", "h/mc-bucket/tree", back)
	sameTree(t, tree, back)
	mc("mirror", tree, "h/mc-bucket/mirror")
	mc("cp", "h/mc-bucket/tree/big", "h/mc-bucket/copy ä")
	mc("cp", "h/mc-bucket/copy ä", filepath.Join(c.home, "copied"))
	sameFile(t, filepath.Join(tree, "big"), filepath.Join(c.home, "copied"))
	c.input = "through a pipe"
	mc("pipe", "h/mc-bucket/piped")
	is(mc("cat", "h/mc-bucket/piped"), "through a pipe")
	is(mc("ls", "h/mc-bucket/tree/dir/"), "sub/")
	if out := mc("cat", "h/mc-bucket/tree/plain.txt"); out != "plain.txt" {
		t.Error(out)
	}

	// a changed tree
	if out := mc("diff", tree, "h/mc-bucket/mirror"); out != "" {
		t.Errorf("equal trees differ: %s", out)
	}
	if err := os.Remove(filepath.Join(tree, "empty")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain.txt", "new"} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte("another length"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is(mc("diff", tree, "h/mc-bucket/mirror"), "< "+tree+"/new", "> "+endpoint+"/mc-bucket/mirror/empty", "! "+endpoint+"/mc-bucket/mirror/plain.txt")
	mc("mirror", "--overwrite", "--remove", tree, "h/mc-bucket/mirror")
	if out := mc("diff", tree, "h/mc-bucket/mirror"); out != "" {
		t.Errorf("mirrored trees differ: %s", out)
	}
	mc("mirror", "--overwrite", "--remove", "h/mc-bucket/mirror", back)
	sameTree(t, tree, back)

	// what is there
	is(mc("stat", "h/mc-bucket/tree/big"), "20 MiB", "application/octet-stream")
	is(mc("stat", "h/mc-bucket"), "Un-versioned", "us-east-1")
	is(mc("tree", "--files", "h/mc-bucket/tree/dir"), "└─ sub", "└─ 日本語")
	is(mc("du", "h/mc-bucket/tree/many"), "40 objects")
	for want, filter := range map[string][]string{"big": {"--larger", "10mi"}, "plain.txt": {"--name", "plain.*", "--smaller", "100"}, "": {"--older-than", "1d"}} {
		out := mc(append([]string{"find", "h/mc-bucket/tree", "--maxdepth", "3", "--print", "{base}"}, filter...)...)
		if strings.TrimSpace(out) != want {
			t.Errorf("find %q found %q, not %q", filter, out, want)
		}
	}
	if out := mc("find", "h/mc-bucket/tree/many", "--newer-than", "1d"); strings.Count(out, "\n") != 40 {
		t.Errorf("find --newer-than found %s", out)
	}

	// attributes and tags
	mc("cp", "--attr", "Cache-Control=max-age=9;x-a=b", "--tags", "k=v&l=w", "--checksum", "SHA256", filepath.Join(tree, "new"), "h/mc-bucket/attr")
	is(mc("stat", "h/mc-bucket/attr"), "Cache-Control      : max-age=9", "X-Amz-Meta-X-A     : b", "SHA256:")
	listed := func(target, want string) {
		t.Helper()
		if out := strings.Join(strings.Fields(mc("tag", "list", target)), " "); !strings.HasSuffix(out, want) {
			t.Errorf("%s has the tags %q, not %q", target, out, want)
		}
	}
	listed("h/mc-bucket/attr", "k : v l : w")
	for _, target := range []string{"h/mc-bucket/attr", "h/mc-bucket"} {
		mc("tag", "set", target, "a=1&b=2")
		listed(target, "a : 1 b : 2")
		mc("tag", "remove", target)
	}
	listed("h/mc-bucket/attr", "No tags found")
	c.fails("No tags found", append(c.mcArgs(), "tag", "list", "h/mc-bucket")...)

	// what somebody without a key may do
	shared := func(args ...string) string {
		t.Helper()
		_, share, _ := strings.Cut(mc(args...), "Share: ")
		return strings.TrimSpace(share)
	}
	if got := getURL(t, shared("share", "download", "h/mc-bucket/attr")); got != "another length" {
		t.Errorf("shared: %s", got)
	}
	curl := &client{t: t, path: find(t, "curl"), home: c.home}
	for key, args := range map[string][]string{"up": {"h/mc-bucket/up"}, "ups/name": {"--recursive", "h/mc-bucket/ups/"}} {
		form := strings.Fields(strings.NewReplacer("<FILE>", filepath.Join(tree, "new"), "<NAME>", "name").Replace(shared(append([]string{"share", "upload"}, args...)...)))
		curl.run(append([]string{"-sS", "--fail-with-body"}, form[1:]...)...)
		if out := mc("cat", "h/mc-bucket/"+key); out != "another length" {
			t.Errorf("uploaded by a form: %s", out)
		}
		refused := strings.Fields(strings.Replace(strings.Join(form[1:], "\n"), "key="+key, "key=other", 1))
		curl.fails("AccessDenied", append([]string{"-sS", "--fail-with-body"}, refused...)...)
	}

	// administration, of which there are the metrics
	is(mc("admin", "prometheus", "metrics", "h", "bucket"), `minio_bucket_requests_total{bucket="mc-bucket",api="putobject"`)
	_, token, _ := strings.Cut(mc("admin", "prometheus", "generate", "h"), "bearer_token: ")
	token, _, _ = strings.Cut(token, "\n")
	scrape := []string{"-sS", "--fail-with-body", endpoint + "/minio/v2/metrics/cluster", "-H", "Authorization: Bearer "}
	is(curl.run(append(scrape[:4:4], scrape[4]+token)...), "minio_cluster_drive_online_total{")
	curl.fails("403", append(scrape[:4:4], scrape[4]+token+"x")...)
	mc("ready", "h")
	for _, absent := range [][]string{{"admin", "info", "h"}, {"admin", "user", "list", "h"}, {"quota", "info", "h/mc-bucket"}, {"anonymous", "set", "public", "h/mc-bucket"}, {"cp", "--enc-s3", "h", filepath.Join(tree, "new"), "h/mc-bucket/enc"}} {
		c.fails("not implemented", append(c.mcArgs(), absent...)...)
	}
	if out, _ := c.try(append(c.mcArgs(), "watch", "h/mc-bucket")...); !strings.Contains(out, "is not supported") { // it says so and ends with 0
		t.Errorf("watch: %s", out)
	}
	c.fails("not empty", append(c.mcArgs(), "rb", "h/mc-bucket")...)
	mc("rm", "--recursive", "--force", "h/mc-bucket/tree")
	mc("rb", "--force", "h/mc-bucket")
	if out := mc("ls", "h"); strings.Contains(out, "mc-bucket") {
		t.Error(out)
	}
}

// TestMCVersions keeps versions, goes back to earlier ones, and locks some.
func TestMCVersions(t *testing.T) {
	c, mc := newMC(t)
	put := func(key, text string) {
		t.Helper()
		c.input = text
		mc("pipe", key)
	}
	is := func(got string, want ...string) {
		t.Helper()
		for _, want := range want {
			if !strings.Contains(got, want) {
				t.Errorf("%q has no %q", got, want)
			}
		}
	}
	// versions lists what was done to a key, the newest first, and the ids of that.
	versions := func(key string) (done string, ids []string) {
		t.Helper()
		for line := range strings.Lines(mc("ls", "--recursive", "--versions", key)) {
			fields := strings.Fields(line)
			done += " " + fields[len(fields)-2]
			ids = append(ids, fields[len(fields)-4])
		}
		return strings.TrimSpace(done), ids
	}
	history := func(key, want string) []string {
		t.Helper()
		done, ids := versions(key)
		if done != want {
			t.Errorf("%s has %q, not %q", key, done, want)
		}
		return ids
	}
	const k = "h/mc-versions/dir/k"
	mc("mb", "h/mc-versions")
	is(mc("version", "info", "h/mc-versions"), "un-versioned")
	mc("version", "enable", "h/mc-versions")
	is(mc("version", "info", "h/mc-versions"), "enabled")
	put(k, "one")
	put(k, "two")
	mc("rm", k)
	ids := history(k, "DEL PUT PUT")
	c.fails("Object does not exist", append(c.mcArgs(), "cat", k)...)
	is(mc("cat", "--version-id", ids[2], k), "one")
	mc("undo", k)
	is(mc("cat", k), "two")
	mc("undo", k)
	is(mc("cat", k), "one")
	history(k, "PUT")
	put(k, "three")
	_, ids = versions(k)
	mc("tag", "set", "--version-id", ids[1], k, "a=1")
	is(strings.Join(strings.Fields(mc("tag", "list", "--version-id", ids[1], k)), " "), "a : 1")
	is(mc("du", "--versions", "h/mc-versions"), "2 versions")
	for _, back := range []string{"0s", "1h"} { // "three" is there since less than an hour
		out, err := c.try(append(c.mcArgs(), "cat", "--rewind", back, k)...)
		if now := back == "0s"; now != (err == nil) || now != (out == "three") {
			t.Errorf("cat --rewind %s: %v %s", back, err, out)
		}
	}
	is(mc("stat", "--version-id", ids[1], k), ids[1])
	mc("version", "suspend", "h/mc-versions")
	is(mc("version", "info", "h/mc-versions"), "suspended")
	put(k, "null")
	put(k, "null again")
	if ids := history(k, "PUT PUT PUT"); ids[0] != "null" {
		t.Errorf("the newest version is %q", ids)
	}
	mc("rm", "--recursive", "--versions", "--force", "h/mc-versions/dir")
	history("h/mc-versions", "")
	mc("rb", "h/mc-versions")

	const l = "h/mc-locked/k"
	forbidden := func(args ...string) { t.Helper(); c.fails("Access Denied", append(c.mcArgs(), args...)...) }
	mc("mb", "--with-lock", "h/mc-locked")
	is(mc("retention", "info", "--default", "h/mc-locked"), "not enabled")
	for _, mode := range []string{"COMPLIANCE", "GOVERNANCE"} {
		mc("retention", "set", "--default", strings.ToLower(mode), "1d", "h/mc-locked")
		is(mc("retention", "info", "--default", "h/mc-locked"), mode, "1DAYS")
	}
	put(l, "by default")
	is(mc("retention", "info", l), "GOVERNANCE")
	forbidden("retention", "set", "compliance", "2d", l)
	forbidden("rm", "--versions", "--force", l)
	mc("retention", "set", "--bypass", "governance", "2d", l)
	is(mc("retention", "info", l), "GOVERNANCE, expiring in 1 days")
	mc("retention", "clear", l)
	is(mc("retention", "info", l), "NO RETENTION")
	mc("retention", "clear", "--default", "h/mc-locked")
	is(mc("retention", "info", "--default", "h/mc-locked"), "not enabled")
	mc("legalhold", "set", l)
	is(mc("legalhold", "info", l), "ON")
	forbidden("rm", "--versions", "--force", "--bypass", l)
	mc("legalhold", "clear", l)
	is(mc("legalhold", "info", l), "OFF")
	mc("rm", "--versions", "--force", l)
	file := filepath.Join(c.home, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	mc("cp", "--retention-mode", "governance", "--retention-duration", "1d", "--legal-hold", "off", file, l)
	forbidden("rb", "--force", "h/mc-locked")
	mc("rm", "--versions", "--force", "--bypass", l)
	mc("cp", "--retention-mode", "compliance", "--retention-duration", "1d", file, l)
	forbidden("rm", "--versions", "--force", "--bypass", l)
	forbidden("retention", "clear", l)
}

// newMC returns mc and what runs it, with an alias h of the daemon.
func newMC(t *testing.T) (*client, func(args ...string) string) {
	t.Helper()
	program := os.Getenv("HOLDFAST_TEST_MC")
	if program == "" {
		t.Skip("mc has no Debian package; HOLDFAST_TEST_MC names the program")
	}
	c := need(t, program)
	mc := func(args ...string) string { c.t.Helper(); return c.run(append(c.mcArgs(), args...)...) }
	mc("alias", "set", "h", endpoint, user, password, "--api", "S3v4", "--path", "on")
	return c, mc
}

// mcArgs are the arguments before each command of mc.
func (c *client) mcArgs() []string {
	return []string{"--config-dir", c.home, "--quiet", "--disable-pager", "--no-color"}
}
