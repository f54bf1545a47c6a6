package metrics

import (
	"fmt"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// texts are the samples of a gatherer's families: name{label="value",…} value, in order.
func texts(t *testing.T, families []*dto.MetricFamily, err error) (list []string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			list = append(list, fmt.Sprintf("%s{%s} %v", f.GetName(), strings.Join(labels, ","), valueOf(m)))
		}
	}
	return list
}

// TestTranslated makes MinIO's figures out of a node of three drives, one of them out, and a few requests.
func TestTranslated(t *testing.T) {
	r := New()
	drives := []string{"drive", "path", "role"}
	read := func(name string, kind Kind, labels []string, emit func(*Metric, Emit)) {
		m := &Metric{Name: name, Kind: kind, Labels: labels, Help: "help"}
		r.Read([]*Metric{m}, func(e Emit) { emit(m, e) })
	}
	one := func(name string, value float64) { read(name, Gauge, nil, func(m *Metric, e Emit) { e(m, value) }) }
	read("holdfast_drive_in", Gauge, drives, func(m *Metric, e Emit) {
		e(m, 1, "1", "/a", "data")
		e(m, 0, "2", "/b", "data")
		e(m, 1, "3", "/c", "data")
		e(m, 1, "4", "/w", "witness")
	})
	read("holdfast_drive_capacity_bytes", Gauge, drives, func(m *Metric, e Emit) {
		e(m, 600, "1", "/a", "data")
		e(m, 300, "3", "/c", "data")
		e(m, 5, "4", "/w", "witness")
	})
	one("holdfast_redundancy_data_shards", 2)
	one("holdfast_redundancy_parity_shards", 1)
	one("holdfast_writable", 1)
	one("holdfast_usage_age_seconds", 2)
	requests := r.Counter(&Metric{Name: "holdfast_s3_requests_total", Kind: Counter, Labels: []string{"operation", "status"}, Help: "help"})
	for status, n := range map[string]float64{"200": 5, "206": 2, "404": 3, "503": 1} {
		requests.WithLabelValues("UploadPart", status).Add(n)
	}
	requests.WithLabelValues("none", "403").Inc()
	firstBytes := r.Histogram(&Metric{Name: "holdfast_s3_time_to_first_byte_seconds", Kind: Histogram, Labels: []string{"operation"}, Help: "help",
		Bounds: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}})
	for _, seconds := range []float64{.001, .2, 20} {
		firstBytes.WithLabelValues("GetObject").Observe(seconds)
	}
	bucket := r.Counter(&Metric{Name: "holdfast_s3_bucket_requests_total", Kind: Counter, Labels: []string{"bucket", "operation", "class"}, Help: "help"})
	bucket.WithLabelValues("GetObject", "GetObject", "2xx").Add(4)
	bucket.WithLabelValues("GetObject", "GetObject", "4xx").Add(2)

	for view, want := range map[View][]string{
		ViewCluster: {
			`minio_cluster_capacity_raw_total_bytes{server="h:1"} 900`, `minio_cluster_capacity_usable_total_bytes{server="h:1"} 600`,
			`minio_cluster_drive_total{server="h:1"} 3`, `minio_cluster_drive_online_total{server="h:1"} 2`, `minio_cluster_drive_offline_total{server="h:1"} 1`,
			`minio_cluster_health_erasure_set_online_drives{pool="0",set="0",server="h:1"} 2`, `minio_cluster_health_erasure_set_read_quorum{pool="0",set="0",server="h:1"} 2`,
			`minio_usage_last_activity_nano_seconds{server="h:1"} 2e+09`,
			`minio_s3_requests_total{api="putobjectpart",server="h:1"} 11`, `minio_s3_requests_errors_total{api="putobjectpart",server="h:1"} 4`,
			`minio_s3_requests_4xx_errors_total{api="putobjectpart",server="h:1"} 3`, `minio_s3_requests_5xx_errors_total{api="putobjectpart",server="h:1"} 1`,
			`minio_s3_requests_ttfb_seconds_distribution{api="getobject",le="0.050",server="h:1"} 1`, `minio_s3_requests_ttfb_seconds_distribution{api="getobject",le="0.250",server="h:1"} 2`,
			`minio_s3_requests_ttfb_seconds_distribution{api="getobject",le="10.000",server="h:1"} 2`, `minio_s3_requests_ttfb_seconds_distribution{api="getobject",le="+Inf",server="h:1"} 3`,
		},
		ViewNode:   {`minio_node_drive_total_bytes{drive="/a",server="h:1"} 600`, `minio_node_drive_total_bytes{drive="/c",server="h:1"} 300`, `minio_node_drive_offline_total{server="h:1"} 1`},
		ViewBucket: {`minio_bucket_requests_total{bucket="GetObject",api="getobject",server="h:1"} 6`, `minio_bucket_requests_4xx_errors_total{bucket="GetObject",api="getobject",server="h:1"} 2`},
		ViewLegacy: {`s3_requests_total{api="putobjectpart"} 11`, `disk_storage_total{disk="/a"} 600`, `minio_disks_offline{} 1`},
	} {
		families, err := Translated(r, view, "h:1").Gather()
		got := texts(t, families, err)
		all := strings.Join(got, "\n") + "\n"
		for _, line := range want {
			if !strings.Contains(all, line+"\n") {
				t.Errorf("view %d lacks %s:\n%s", view, line, all)
			}
		}
		if strings.Contains(all, "witness") || strings.Contains(all, `"/w"`) || strings.Contains(all, "none") {
			t.Errorf("view %d has the witness, or what is no operation:\n%s", view, all)
		}
	}
	if families, _ := Translated(New(), ViewNode, "h:1").Gather(); len(families) != 0 {
		t.Errorf("of nothing there is %v", families)
	}
}

// TestTranslationsAreSharp wants one translation for a name in each view, and help for each.
func TestTranslationsAreSharp(t *testing.T) {
	seen := map[string]View{}
	for _, m := range Translations {
		if seen[m.Name]&m.Views != 0 || m.Views == 0 || m.Help == "" || m.From == "" {
			t.Errorf("%s: %+v", m.Name, m)
		}
		seen[m.Name] |= m.Views
		if legacy := m.Views&ViewLegacy != 0; !legacy && !strings.HasPrefix(m.Name, "minio_") {
			t.Errorf("%s is no name of MinIO's", m.Name)
		}
	}
}

func TestTwoOfAName(t *testing.T) {
	r := New()
	m := &Metric{Name: "holdfast_x", Kind: Gauge, Help: "help"}
	r.Gauge(m)
	defer func() {
		if recover() == nil {
			t.Error("two metrics of one name were added")
		}
	}()
	r.Gauge(m)
}

// TestLabelsThatAreNoText has a path that is not UTF-8: it is shown as far as it can be, and the scrape works.
func TestLabelsThatAreNoText(t *testing.T) {
	r := New()
	m := &Metric{Name: "holdfast_x", Kind: Gauge, Labels: []string{"path"}, Help: "help"}
	r.Read([]*Metric{m}, func(emit Emit) { emit(m, 1, "/srv/\xff") })
	families, err := r.Gather()
	if got := texts(t, families, err); len(got) != 1 || got[0] != "holdfast_x{path=\"/srv/\uFFFD\"} 1" {
		t.Error(got)
	}
}
