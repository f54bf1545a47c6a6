package daemon

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/minio/minio-go/v7"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"holdfast/daemon/config"
	"holdfast/gateways/s3"
	"holdfast/observe/metrics"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// manual is the text of docs/metrics.md.
func manual(list []*metrics.Metric) string {
	var b strings.Builder
	b.WriteString(`# Metrics

What the daemon counts and measures, for Prometheus. They are served twice:

- **under our names**, at ` + "`/metrics`" + ` of the address that ` + "`metrics_address`" + ` gives (off by default). Whoever reaches it may read them: let it listen on the loopback
  interface, as with ` + "`127.0.0.1:9005`" + `, or where only Prometheus is. It speaks HTTP, also where S3 speaks TLS.
- **under MinIO's names**, on the port of S3, so that MinIO's dashboards and alerts go on: ` + "`/minio/v2/metrics/cluster`, `/minio/v2/metrics/node`, `/minio/v2/metrics/bucket`" + `,
  and ` + "`/minio/prometheus/metrics`" + ` with the older names that MinIO has there. Prometheus brings a bearer token, which ` + "`mc admin prometheus generate ALIAS [cluster|node|bucket]`" + ` makes out
  of the root credential; another answers 403. ` + "`metrics_auth = \"public\"`" + ` (` + "`MINIO_PROMETHEUS_AUTH_TYPE=public`" + `) lets everybody read. A token cannot be called back before it
  expires, which is after a hundred years as mc makes it, but by changing the secret key.

The numbers of labels' values are bounded: operations and codes are those of the API; requests are counted apart for 100 buckets, and usage is shown for 1000.
Totals are of all. Counters begin at 0 with each start.

## Our names

Beside these there are those of Go's runtime and of the process that every Go program with metrics has: ` + "`go_…` and `process_…`" + `.

| name | type | labels | meaning |
|---|---|---|---|
`)
	for _, m := range list {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(m.Labels, ", "), m.Help)
	}
	b.WriteString(`
## MinIO's names

All but those of the legacy path have the label ` + "`server`" + `, too. What MinIO has and is not here has no counterpart here, or is not measured yet: replication, tiers,
lifecycle, KMS, notification, healing by object, distributions by size and by versions, delete markers alone, latencies per call and inodes of drives, write quorum,
first bytes per bucket, ` + "`/minio/v2/metrics/resource` and `/minio/metrics/v3`" + `. Sizes of buckets count current versions, where MinIO counts all.

| name | type | labels | view | made of | meaning |
|---|---|---|---|---|---|
`)
	names := map[metrics.View]string{metrics.ViewCluster: "cluster", metrics.ViewNode: "node", metrics.ViewBucket: "bucket", metrics.ViewLegacy: "legacy"}
	for _, m := range metrics.Translations {
		var views []string
		for view := metrics.ViewCluster; view <= metrics.ViewLegacy; view <<= 1 {
			if m.Views&view != 0 {
				views = append(views, names[view])
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(m.Labels, ", "), strings.Join(views, ", "), m.From, m.Help)
	}
	return b.String()
}

// declared is a registry with everything that a daemon has, without its values.
func declared() *metrics.Registry {
	r := metrics.New()
	new(daemon).measure(r)
	s3.New(s3.Config{Metrics: r})
	return r
}

// TestMetricsManual keeps docs/metrics.md what is declared; run with -update to write it.
func TestMetricsManual(t *testing.T) {
	text := manual(declared().Metrics())
	file := filepath.Join("..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != text {
		t.Fatalf("docs/metrics.md is not what is declared; run go test ./daemon -run Manual -update (%v)", err)
	}
	ours := map[string]bool{}
	for _, m := range declared().Metrics() {
		ours[m.Name] = true
		if m.Kind == metrics.Counter != strings.HasSuffix(m.Name, "_total") || m.Help == "" || strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s: %s, %q", m.Name, m.Kind, m.Help)
		}
	}
	for _, m := range metrics.Translations {
		for word := range strings.FieldsSeq(m.From) {
			if word = strings.Trim(word, ",()"); strings.HasPrefix(word, "holdfast_") && !ours[word] {
				t.Errorf("%s is made of %s, which is not declared", m.Name, word)
			}
		}
	}
}

// scrape reads metrics as Prometheus does.
func scrape(t *testing.T, url, token string) (map[string]*dto.MetricFamily, []byte) {
	t.Helper()
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v\n%s", url, response.Status, err, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return families, text
}

// sum adds up the values of a family whose labels have the value, if one is given.
func sum(families map[string]*dto.MetricFamily, name, value string) (total float64) {
	for _, m := range families[name].GetMetric() {
		if value == "" || slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == value }) {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return total
}

// TestMetrics scrapes a daemon before and after requests, under both names.
func TestMetrics(t *testing.T) {
	const user, password = "metrics-test", "metrics-test-password"
	d := run(t, configure(t, map[string]string{"metrics_address": "127.0.0.1:0", "root_user": user, "root_password": password}), false)
	if strings.Contains(d.said, "may read the metrics") {
		t.Errorf("a warning of a loopback address:\n%s", d.said)
	}
	_, after, _ := strings.Cut(d.said, "metrics      ")
	ours := strings.Fields(after + " ")[0]
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS512, jwt.MapClaims{"sub": user, "iss": "prometheus", "exp": time.Now().AddDate(100, 0, 0).Unix()}).SignedString([]byte(password))
	if err != nil {
		t.Fatal(err)
	}
	theirs := "http://" + d.s3 + "/minio/v2/metrics/"
	before, _ := scrape(t, ours, "")
	put(t, d.s3, user, password) // a bucket, an object, a wrong password
	for range 3 {
		get(t, d.s3, user, password)
	}
	if _, err := client(t, d.s3, user, password).StatObject(t.Context(), "first", "none", minio.StatObjectOptions{}); err == nil {
		t.Error("there is an object that nobody wrote")
	}
	var now map[string]*dto.MetricFamily
	var text []byte
	eventually(t, "usage and requests", func() bool {
		now, text = scrape(t, ours, "")
		return sum(now, "holdfast_bucket_bytes", "first") == 7 && sum(now, "holdfast_s3_requests_total", "HeadObject") > 0
	})
	for name, want := range map[string]float64{"PutObject": 1, "GetObject": 3} {
		if grown := sum(now, "holdfast_s3_requests_total", name) - sum(before, "holdfast_s3_requests_total", name); grown != want {
			t.Errorf("%v requests of %s were counted, want %v", grown, name, want)
		}
	}
	if n := sum(now, "holdfast_s3_rejected_total", "signature"); n != 1 {
		t.Errorf("%v refused signatures, want 1", n)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "holdfast_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	if err != nil {
		t.Error(err)
	}
	checkDeclared(t, now)

	cluster, _ := scrape(t, theirs+"cluster", token)
	node, _ := scrape(t, theirs+"node", token)
	bucket, _ := scrape(t, theirs+"bucket", token)
	for _, c := range []struct {
		families    map[string]*dto.MetricFamily
		name, label string
		want        float64
	}{
		{cluster, "minio_s3_requests_total", "getobject", 3}, {cluster, "minio_s3_requests_4xx_errors_total", "headobject", 1}, {cluster, "minio_cluster_usage_total_bytes", "", 7},
		{cluster, "minio_cluster_bucket_total", "", 1}, {cluster, "minio_cluster_health_status", "", 1}, {cluster, "minio_s3_requests_rejected_auth_total", "", 1},
		{cluster, "minio_software_version_info", config.Version, 1}, {node, "minio_node_drive_online_total", "", 2}, {bucket, "minio_bucket_usage_object_total", "first", 1},
		{bucket, "minio_bucket_requests_total", "putobject", 1}, {bucket, "minio_bucket_traffic_received_bytes", "first", 7},
	} {
		if got := sum(c.families, c.name, c.label); got != c.want {
			t.Errorf("%s %s is %v, want %v", c.name, c.label, got, c.want)
		}
	}
	if n := len(node["minio_node_drive_free_bytes"].GetMetric()); n != 2 {
		t.Errorf("%d drives have room, want 2", n)
	}
	for view, families := range map[metrics.View]map[string]*dto.MetricFamily{metrics.ViewCluster: cluster, metrics.ViewNode: node, metrics.ViewBucket: bucket} {
		for _, m := range metrics.Translations {
			quiet := m.Name == "minio_s3_requests_canceled_total" || strings.Contains(m.Name, "5xx") // nothing of the kind has happened
			if _, there := families[m.Name]; m.Views&view != 0 && !there && !quiet {
				t.Errorf("%s is in view %d and not served", m.Name, view)
			}
		}
	}
	response, err := http.Get(theirs + "cluster")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden || response.Header.Get("X-Amz-Request-Id") == "" {
		t.Errorf("without a token: %s, %v", response.Status, response.Header)
	}
	if err := client(t, d.s3, user, password).MakeBucket(t.Context(), "minio", minio.MakeBucketOptions{}); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("a bucket was made that hides the paths of metrics and health: %v", err)
	}
	checkHealth(t, d.s3)
}

// checkDeclared wants that what is served is what is declared, and that nothing that is declared is missing which a quiet daemon would have.
func checkDeclared(t *testing.T, served map[string]*dto.MetricFamily) {
	t.Helper()
	known := map[string]*metrics.Metric{}
	quiet := []string{"holdfast_s3_canceled_total", "holdfast_tls_certificate_expiry_timestamp_seconds"}
	for _, m := range declared().Metrics() {
		known[m.Name] = m
		if served[m.Name] == nil && !slices.Contains(quiet, m.Name) {
			t.Errorf("%s is declared and not served", m.Name)
		}
	}
	for name, f := range served {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		m := known[name]
		if m == nil {
			t.Errorf("%s is served and not declared", name)
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		want := slices.Clone(m.Labels)
		slices.Sort(want)
		slices.Sort(labels)
		if !slices.Equal(labels, want) || strings.ToLower(f.GetType().String()) != m.Kind.String() || f.GetHelp() != m.Help {
			t.Errorf("%s is served as %s with %q and %q, declared as %+v", name, f.GetType(), labels, f.GetHelp(), m)
		}
	}
}

// TestPublicMetrics has the option that lets everybody read.
func TestPublicMetrics(t *testing.T) {
	d := run(t, configure(t, map[string]string{"metrics_auth": "PUBLIC", "s3_domains": "s3.test", "metrics_address": ":0"}), false)
	if !strings.Contains(d.said, "metrics      http://localhost:") || !strings.Contains(d.said, "may read the metrics; 127.0.0.1:9005") {
		t.Errorf("nobody is warned:\n%s", d.said)
	}
	if families, _ := scrape(t, "http://"+d.s3+"/minio/v2/metrics/cluster", ""); families["minio_cluster_drive_total"] == nil {
		t.Error("the metrics are not there")
	}
	// Of a bucket in the name of the host the path is a key.
	request, err := http.NewRequest("GET", "http://"+d.s3+"/minio/v2/metrics/cluster", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "bucket.s3.test"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "<Code>AccessDenied") {
		t.Errorf("a key of a bucket: %s %s", response.Status, body)
	}
}
