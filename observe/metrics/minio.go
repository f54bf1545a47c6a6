package metrics

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// View is one of MinIO's scrape endpoints.
type View uint8

// The views; a metric may be in several.
const (
	ViewCluster View = 1 << iota // /minio/v2/metrics/cluster
	ViewNode                     // /minio/v2/metrics/node
	ViewBucket                   // /minio/v2/metrics/bucket
	ViewLegacy                   // /minio/prometheus/metrics, under MinIO's older names
)

// Paths are where MinIO serves the views.
var Paths = map[string]View{
	"/minio/v2/metrics/cluster": ViewCluster, "/minio/v2/metrics/node": ViewNode, "/minio/v2/metrics/bucket": ViewBucket, "/minio/prometheus/metrics": ViewLegacy,
}

// both are the views of what MinIO has per node: its cluster view gathers those of all nodes.
const both = ViewCluster | ViewNode

// Translation is a metric under MinIO's name, made of ours.
type Translation struct {
	Name   string
	Kind   Kind
	Views  View
	Labels []string // beside "server", which all have but those of ViewLegacy
	From   string   // in words: of which of ours, and how
	Help   string
	make   func(*reading) []sample
}

// reading is what the registry had at a scrape, by name.
type reading struct {
	families map[string]*dto.MetricFamily
	now      time.Time
}

// sample is a value with the values of the translation's labels.
type sample struct {
	labels []string
	value  float64
}

// part is how the samples of one of our metrics become those of another.
type part struct {
	from   string
	labels []string                                // of ours, in the order of the other's
	keep   func(label func(string) string) bool    // nil: all
	rename func(value string, index int) string    // of a label's value; nil: as it is
	scale  float64                                 // 0: 1
	value  func(m *dto.Metric, r *reading) float64 // nil: the value
}

// sum adds up the samples that agree in the labels. Of a metric without samples there is nothing.
func (p part) sum(r *reading) (list []sample) {
	family := r.families[p.from]
	if family == nil {
		return nil
	}
	at := map[string]int{}
	for _, m := range family.GetMetric() {
		label := func(name string) string {
			for _, l := range m.GetLabel() {
				if l.GetName() == name {
					return l.GetValue()
				}
			}
			return ""
		}
		if p.keep != nil && !p.keep(label) {
			continue
		}
		s := sample{value: valueOf(m) * cmp.Or(p.scale, 1)}
		if p.value != nil {
			s.value = p.value(m, r)
		}
		for i, name := range p.labels {
			value := label(name)
			if p.rename != nil {
				value = p.rename(value, i)
			}
			s.labels = append(s.labels, value)
		}
		key := strings.Join(s.labels, "\xff")
		if i, known := at[key]; known {
			list[i].value += s.value
			continue
		}
		at[key] = len(list)
		list = append(list, s)
	}
	return list
}

func valueOf(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Histogram != nil:
		return float64(m.Histogram.GetSampleCount())
	}
	return m.GetUntyped().GetValue()
}

// one is the only sample of a metric, or 0.
func (r *reading) one(name string) float64 {
	for _, s := range (part{from: name}).sum(r) {
		return s.value
	}
	return 0
}

// minioOperations are names of operations that MinIO has otherwise. All are in lower case there.
var minioOperations = map[string]string{
	"CreateBucket": "putbucket", "ListObjects": "listobjectsv1", "DeleteObjects": "deletemultipleobjects", "UploadPart": "putobjectpart",
	"UploadPartCopy": "copyobjectpart", "CreateMultipartUpload": "newmultipartupload", "ListParts": "listobjectparts",
	"GetObjectLockConfiguration": "getbucketobjectlockconfig", "PutObjectLockConfiguration": "putbucketobjectlockconfig",
}

// api is the value of MinIO's label for an operation.
func api(value string, _ int) string {
	if name, ok := minioOperations[value]; ok {
		return name
	}
	return strings.ToLower(value)
}

// apiSecond is api where the operation is the second label.
func apiSecond(value string, index int) string {
	if index == 1 {
		return api(value, index)
	}
	return value
}

// status keeps samples whose label begins with one of the digits, of operations that were known.
func status(name, digits string) func(func(string) string) bool {
	return func(label func(string) string) bool {
		value := label(name)
		return value != "" && strings.Contains(digits, value[:1]) && label("operation") != "none"
	}
}

func knownOperation(label func(string) string) bool { return label("operation") != "none" }

func equal(name, value string) func(func(string) string) bool {
	return func(label func(string) string) bool { return label(name) == value }
}

// dataDrives keeps drives that hold data.
var dataDrives = equal("role", "data")

// usable scales what drives have by the share of data in a code.
func usable(from string) func(*reading) []sample {
	return func(r *reading) []sample {
		list := part{from: from, keep: dataDrives}.sum(r)
		data, parity := r.one("holdfast_redundancy_data_shards"), r.one("holdfast_redundancy_parity_shards")
		for i := range list {
			list[i].value *= data / max(1, data+parity)
		}
		return list
	}
}

// countDrives counts data drives that are in (1), out (0), or both (-1).
func countDrives(in float64, labels ...string) func(*reading) []sample {
	return func(r *reading) []sample {
		n := 0.0
		for _, s := range (part{from: "holdfast_drive_in", keep: dataDrives, labels: []string{"drive"}}).sum(r) {
			if in < 0 || s.value == in {
				n++
			}
		}
		return []sample{{labels, n}}
	}
}

func constant(value float64) func(*reading) []sample {
	return func(*reading) []sample { return []sample{{nil, value}} }
}

// labelled gives the only sample of a metric labels.
func labelled(from string, labels ...string) func(*reading) []sample {
	return func(r *reading) []sample { return []sample{{labels, r.one(from)}} }
}

// firstByteBounds are those of MinIO.
var firstByteBounds = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, math.Inf(1)}

// distribution makes a sample for each of MinIO's bounds, which are among ours.
func distribution(from string) func(*reading) (list []sample) {
	return func(r *reading) (list []sample) {
		for _, bound := range firstByteBounds {
			text := fmt.Sprintf("%.3f", bound)
			p := part{from: from, labels: []string{"operation"}, rename: api, keep: knownOperation}
			p.value = func(m *dto.Metric, _ *reading) float64 {
				for _, b := range m.GetHistogram().GetBucket() {
					if b.GetUpperBound() == bound {
						return float64(b.GetCumulativeCount())
					}
				}
				return float64(m.GetHistogram().GetSampleCount())
			}
			for _, s := range p.sum(r) {
				list = append(list, sample{append(s.labels, text), s.value})
			}
		}
		return list
	}
}

// version takes the label of the build.
func version(r *reading) (list []sample) {
	return part{from: "holdfast_build_info", labels: []string{"version"}}.sum(r)
}

// The erasure sets of MinIO are one here.
const onlySet = "0"

// Translations are all metrics under MinIO's names. The names are MinIO's interface to its dashboards and alerts (docs/metrics/prometheus/list.md in its
// repository); the help and the way they are made are ours.
var Translations = slices.Concat(clusterTranslations, nodeTranslations, requestTranslations, bucketTranslations, legacyTranslations)

// plain takes the values of one of ours as they are, labels under MinIO's names.
func plain(name string, kind Kind, views View, help string, p part, labels ...string) Translation {
	from := p.from
	if p.scale != 0 {
		from += fmt.Sprintf(" × %g", p.scale)
	}
	return Translation{name, kind, views, labels, from, help, p.sum}
}

var clusterTranslations = []Translation{
	plain("minio_cluster_capacity_raw_total_bytes", Gauge, ViewCluster, "Size of all data drives at hand", part{from: "holdfast_drive_capacity_bytes", keep: dataDrives}),
	plain("minio_cluster_capacity_raw_free_bytes", Gauge, ViewCluster, "Room on all data drives at hand", part{from: "holdfast_drive_free_bytes", keep: dataDrives}),
	{"minio_cluster_capacity_usable_total_bytes", Gauge, ViewCluster, nil, "holdfast_drive_capacity_bytes × data / (data + parity)",
		"Size of all data drives at hand, less what the redundancy takes", usable("holdfast_drive_capacity_bytes")},
	{"minio_cluster_capacity_usable_free_bytes", Gauge, ViewCluster, nil, "holdfast_drive_free_bytes × data / (data + parity)",
		"Room on all data drives at hand, less what the redundancy takes", usable("holdfast_drive_free_bytes")},
	plain("minio_cluster_usage_total_bytes", Gauge, ViewCluster, "Bytes of the current versions of all objects", part{from: "holdfast_object_bytes"}),
	plain("minio_cluster_usage_object_total", Gauge, ViewCluster, "Objects", part{from: "holdfast_objects"}),
	plain("minio_cluster_usage_version_total", Gauge, ViewCluster, "Versions, delete markers included", part{from: "holdfast_versions"}),
	plain("minio_cluster_bucket_total", Gauge, ViewCluster, "Buckets", part{from: "holdfast_buckets"}),
	plain("minio_usage_last_activity_nano_seconds", Gauge, ViewCluster|ViewBucket, "Age of the figures on buckets", part{from: "holdfast_usage_age_seconds", scale: 1e9}),
	{"minio_cluster_drive_total", Gauge, ViewCluster, nil, "count of holdfast_drive_in", "Data drives", countDrives(-1)},
	{"minio_cluster_drive_online_total", Gauge, ViewCluster, nil, "count of holdfast_drive_in == 1", "Data drives that are in", countDrives(1)},
	{"minio_cluster_drive_offline_total", Gauge, ViewCluster, nil, "count of holdfast_drive_in == 0", "Data drives that are out", countDrives(0)},
	{"minio_cluster_nodes_online_total", Gauge, ViewCluster, nil, "1: there is one node", "Nodes that answer", constant(1)},
	{"minio_cluster_nodes_offline_total", Gauge, ViewCluster, nil, "0: there is one node", "Nodes that do not answer", constant(0)},
	plain("minio_cluster_health_status", Gauge, ViewCluster, "1 if objects can be written", part{from: "holdfast_writable"}),
	{"minio_cluster_health_erasure_set_status", Gauge, ViewCluster, []string{"pool", "set"}, "holdfast_writable", "1 if objects can be written", labelled("holdfast_writable", onlySet, onlySet)},
	{"minio_cluster_health_erasure_set_online_drives", Gauge, ViewCluster, []string{"pool", "set"}, "count of holdfast_drive_in == 1", "Data drives that are in", countDrives(1, onlySet, onlySet)},
	{"minio_cluster_health_erasure_set_read_quorum", Gauge, ViewCluster, []string{"pool", "set"}, "holdfast_redundancy_data_shards", "Shards that a read takes",
		labelled("holdfast_redundancy_data_shards", onlySet, onlySet)},
}

var nodeTranslations = []Translation{
	plain("minio_node_drive_total_bytes", Gauge, ViewNode, "Size of the drive", part{from: "holdfast_drive_capacity_bytes", keep: dataDrives, labels: []string{"path"}}, "drive"),
	plain("minio_node_drive_free_bytes", Gauge, ViewNode, "Room on the drive", part{from: "holdfast_drive_free_bytes", keep: dataDrives, labels: []string{"path"}}, "drive"),
	plain("minio_node_drive_used_bytes", Gauge, ViewNode, "What the drive holds", part{from: "holdfast_drive_used_bytes", keep: dataDrives, labels: []string{"path"}}, "drive"),
	plain("minio_node_drive_io_waiting", Gauge, ViewNode, "Calls to the disk that have not returned", part{from: "holdfast_drive_calls_in_progress", keep: dataDrives, labels: []string{"path"}}, "drive"),
	plain("minio_node_drive_errors_ioerror", Counter, ViewNode, "Reads that the disk answered with an error", part{from: "holdfast_drive_read_errors_total", keep: dataDrives, labels: []string{"path"}}, "drive"),
	plain("minio_node_drive_errors_availability", Counter, ViewNode, "Reads that the disk answered with an error", part{from: "holdfast_drive_read_errors_total", keep: dataDrives, labels: []string{"path"}}, "drive"),
	{"minio_node_drive_total", Gauge, ViewNode, nil, "count of holdfast_drive_in", "Data drives", countDrives(-1)},
	{"minio_node_drive_online_total", Gauge, ViewNode, nil, "count of holdfast_drive_in == 1", "Data drives that are in", countDrives(1)},
	{"minio_node_drive_offline_total", Gauge, ViewNode, nil, "count of holdfast_drive_in == 0", "Data drives that are out", countDrives(0)},
	plain("minio_node_file_descriptor_limit_total", Gauge, ViewCluster, "Limit of open files", part{from: "process_max_fds"}),
	plain("minio_node_file_descriptor_open_total", Gauge, ViewCluster, "Open files", part{from: "process_open_fds"}),
	plain("minio_node_go_routine_total", Gauge, ViewCluster, "Goroutines", part{from: "go_goroutines"}),
	plain("minio_node_io_rchar_bytes", Counter, ViewCluster, "Bytes that calls have read", part{from: "holdfast_process_read_call_bytes_total"}),
	plain("minio_node_io_wchar_bytes", Counter, ViewCluster, "Bytes that calls have written", part{from: "holdfast_process_write_call_bytes_total"}),
	plain("minio_node_io_read_bytes", Counter, ViewCluster, "Bytes read from storage devices", part{from: "holdfast_process_read_bytes_total"}),
	plain("minio_node_io_write_bytes", Counter, ViewCluster, "Bytes written to storage devices", part{from: "holdfast_process_written_bytes_total"}),
	plain("minio_node_syscall_read_total", Counter, ViewCluster, "Calls that have read", part{from: "holdfast_process_read_calls_total"}),
	plain("minio_node_syscall_write_total", Counter, ViewCluster, "Calls that have written", part{from: "holdfast_process_write_calls_total"}),
	plain("minio_node_process_cpu_total_seconds", Counter, ViewCluster, "Processor time", part{from: "process_cpu_seconds_total"}),
	plain("minio_node_process_resident_memory_bytes", Gauge, ViewCluster, "Memory that is resident", part{from: "process_resident_memory_bytes"}),
	plain("minio_node_process_virtual_memory_bytes", Gauge, ViewCluster, "Virtual memory", part{from: "process_virtual_memory_bytes"}),
	plain("minio_node_process_starttime_seconds", Gauge, ViewCluster, "When the process was started, in Unix time", part{from: "process_start_time_seconds"}),
	plain("minio_node_process_uptime_seconds", Gauge, ViewCluster, "How long the process runs",
		part{from: "process_start_time_seconds", value: func(m *dto.Metric, r *reading) float64 {
			return float64(r.now.UnixMilli())/1000 - valueOf(m)
		}}),
	{"minio_software_version_info", Gauge, both, []string{"version"}, "holdfast_build_info", "The version, as a label", version},
}

var requestTranslations = []Translation{
	plain("minio_s3_requests_total", Counter, both, "Requests by operation", part{from: "holdfast_s3_requests_total", labels: []string{"operation"}, rename: api, keep: knownOperation}, "api"),
	plain("minio_s3_requests_errors_total", Counter, both, "Requests with a status from 400 on", part{from: "holdfast_s3_requests_total", labels: []string{"operation"}, rename: api, keep: status("status", "45")}, "api"),
	plain("minio_s3_requests_4xx_errors_total", Counter, both, "Requests with a status of 4xx", part{from: "holdfast_s3_requests_total", labels: []string{"operation"}, rename: api, keep: status("status", "4")}, "api"),
	plain("minio_s3_requests_5xx_errors_total", Counter, both, "Requests with a status of 5xx", part{from: "holdfast_s3_requests_total", labels: []string{"operation"}, rename: api, keep: status("status", "5")}, "api"),
	plain("minio_s3_requests_canceled_total", Counter, both, "Requests whose client had gone", part{from: "holdfast_s3_canceled_total", labels: []string{"operation"}, rename: api, keep: knownOperation}, "api"),
	plain("minio_s3_requests_inflight_total", Gauge, both, "Requests that are being served", part{from: "holdfast_s3_requests_in_flight", labels: []string{"operation"}, rename: api}, "api"),
	plain("minio_s3_requests_waiting_total", Gauge, both, "Requests that wait for memory", part{from: "holdfast_buffer_waiting"}),
	plain("minio_s3_requests_rejected_auth_total", Counter, both, "Requests whose signature proved nobody", part{from: "holdfast_s3_rejected_total", keep: equal("reason", "signature")}),
	plain("minio_s3_requests_rejected_timestamp_total", Counter, both, "Requests of clients whose clock differs", part{from: "holdfast_s3_rejected_total", keep: equal("reason", "time")}),
	plain("minio_s3_requests_rejected_header_total", Counter, both, "Requests whose header is too long", part{from: "holdfast_s3_rejected_total", keep: equal("reason", "header")}),
	plain("minio_s3_requests_rejected_invalid_total", Counter, both, "Requests that name no operation", part{from: "holdfast_s3_rejected_total", keep: equal("reason", "invalid")}),
	plain("minio_s3_traffic_received_bytes", Counter, both, "Bytes of content received", part{from: "holdfast_s3_received_bytes_total"}),
	plain("minio_s3_traffic_sent_bytes", Counter, both, "Bytes of content sent", part{from: "holdfast_s3_sent_bytes_total"}),
	{"minio_s3_requests_ttfb_seconds_distribution", Gauge, both, []string{"api", "le"}, "holdfast_s3_time_to_first_byte_seconds, the bounds that MinIO has",
		"Requests whose answer began within le seconds", distribution("holdfast_s3_time_to_first_byte_seconds")},
}

var bucketTranslations = []Translation{
	plain("minio_bucket_usage_total_bytes", Gauge, ViewBucket, "Bytes of the current versions in the bucket", part{from: "holdfast_bucket_bytes", labels: []string{"bucket"}}, "bucket"),
	plain("minio_bucket_usage_object_total", Gauge, ViewBucket, "Objects in the bucket", part{from: "holdfast_bucket_objects", labels: []string{"bucket"}}, "bucket"),
	plain("minio_bucket_usage_version_total", Gauge, ViewBucket, "Versions in the bucket, delete markers included", part{from: "holdfast_bucket_versions", labels: []string{"bucket"}}, "bucket"),
	plain("minio_bucket_traffic_received_bytes", Counter, ViewBucket, "Bytes of content received for the bucket", part{from: "holdfast_s3_bucket_received_bytes_total", labels: []string{"bucket"}}, "bucket"),
	plain("minio_bucket_traffic_sent_bytes", Counter, ViewBucket, "Bytes of content sent from the bucket", part{from: "holdfast_s3_bucket_sent_bytes_total", labels: []string{"bucket"}}, "bucket"),
	plain("minio_bucket_requests_total", Counter, ViewBucket, "Requests to the bucket by operation", part{from: "holdfast_s3_bucket_requests_total", labels: []string{"bucket", "operation"}, rename: apiSecond}, "bucket", "api"),
	plain("minio_bucket_requests_4xx_errors_total", Counter, ViewBucket, "Requests to the bucket with a status of 4xx",
		part{from: "holdfast_s3_bucket_requests_total", labels: []string{"bucket", "operation"}, rename: apiSecond, keep: status("class", "4")}, "bucket", "api"),
	plain("minio_bucket_requests_5xx_errors_total", Counter, ViewBucket, "Requests to the bucket with a status of 5xx",
		part{from: "holdfast_s3_bucket_requests_total", labels: []string{"bucket", "operation"}, rename: apiSecond, keep: status("class", "5")}, "bucket", "api"),
}

var legacyTranslations = []Translation{
	{"minio_version_info", Gauge, ViewLegacy, []string{"version"}, "holdfast_build_info", "The version, as a label", version},
	{"minio_nodes_online", Gauge, ViewLegacy, nil, "1: there is one node", "Nodes that answer", constant(1)},
	{"minio_nodes_offline", Gauge, ViewLegacy, nil, "0: there is one node", "Nodes that do not answer", constant(0)},
	{"minio_drives_total", Gauge, ViewLegacy, nil, "count of holdfast_drive_in", "Data drives", countDrives(-1)},
	{"minio_disks_offline", Gauge, ViewLegacy, nil, "count of holdfast_drive_in == 0", "Data drives that are out", countDrives(0)},
	plain("minio_capacity_raw_total", Gauge, ViewLegacy, "Size of all data drives at hand", part{from: "holdfast_drive_capacity_bytes", keep: dataDrives}),
	plain("minio_capacity_raw_free_total", Gauge, ViewLegacy, "Room on all data drives at hand", part{from: "holdfast_drive_free_bytes", keep: dataDrives}),
	{"minio_capacity_usable_total", Gauge, ViewLegacy, nil, "holdfast_drive_capacity_bytes × data / (data + parity)", "Size of all data drives at hand, less what the redundancy takes", usable("holdfast_drive_capacity_bytes")},
	{"minio_capacity_usable_free_total", Gauge, ViewLegacy, nil, "holdfast_drive_free_bytes × data / (data + parity)", "Room on all data drives at hand, less what the redundancy takes", usable("holdfast_drive_free_bytes")},
	plain("disk_storage_total", Gauge, ViewLegacy, "Size of the drive", part{from: "holdfast_drive_capacity_bytes", keep: dataDrives, labels: []string{"path"}}, "disk"),
	plain("disk_storage_available", Gauge, ViewLegacy, "Room on the drive", part{from: "holdfast_drive_free_bytes", keep: dataDrives, labels: []string{"path"}}, "disk"),
	plain("disk_storage_used", Gauge, ViewLegacy, "What the drive holds", part{from: "holdfast_drive_used_bytes", keep: dataDrives, labels: []string{"path"}}, "disk"),
	plain("bucket_usage_size", Gauge, ViewLegacy, "Bytes of the current versions in the bucket", part{from: "holdfast_bucket_bytes", labels: []string{"bucket"}}, "bucket"),
	plain("bucket_objects_count", Gauge, ViewLegacy, "Objects in the bucket", part{from: "holdfast_bucket_objects", labels: []string{"bucket"}}, "bucket"),
	plain("s3_requests_total", Counter, ViewLegacy, "Requests by operation", part{from: "holdfast_s3_requests_total", labels: []string{"operation"}, rename: api, keep: knownOperation}, "api"),
	plain("s3_errors_total", Counter, ViewLegacy, "Requests with a status from 400 on", part{from: "holdfast_s3_requests_total", labels: []string{"operation"}, rename: api, keep: status("status", "45")}, "api"),
	plain("s3_canceled_total", Counter, ViewLegacy, "Requests whose client had gone", part{from: "holdfast_s3_canceled_total", labels: []string{"operation"}, rename: api, keep: knownOperation}, "api"),
	plain("s3_requests_current", Gauge, ViewLegacy, "Requests that are being served", part{from: "holdfast_s3_requests_in_flight", labels: []string{"operation"}, rename: api}, "api"),
	plain("s3_rx_bytes_total", Counter, ViewLegacy, "Bytes of content received", part{from: "holdfast_s3_received_bytes_total"}),
	plain("s3_tx_bytes_total", Counter, ViewLegacy, "Bytes of content sent", part{from: "holdfast_s3_sent_bytes_total"}),
}

// Translated returns what a registry has in one of MinIO's views. server is the value of the label of that name, as host:port.
func Translated(r prometheus.Gatherer, view View, server string) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		ours, err := r.Gather()
		if len(ours) == 0 {
			return nil, err
		}
		now := &reading{families: map[string]*dto.MetricFamily{}, now: time.Now()}
		for _, f := range ours {
			now.families[f.GetName()] = f
		}
		var list []*dto.MetricFamily
		for i := range Translations {
			if t := &Translations[i]; t.Views&view != 0 {
				if f := t.family(now, view, server); f != nil {
					list = append(list, f)
				}
			}
		}
		slices.SortFunc(list, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
		return list, err
	})
}

// family makes the family of a translation, nil if it has no samples.
func (t *Translation) family(r *reading, view View, server string) *dto.MetricFamily {
	samples := t.make(r)
	if len(samples) == 0 {
		return nil
	}
	kind := dto.MetricType_GAUGE
	if t.Kind == Counter {
		kind = dto.MetricType_COUNTER
	}
	f := &dto.MetricFamily{Name: &t.Name, Help: &t.Help, Type: &kind}
	for _, s := range samples {
		m := &dto.Metric{}
		for i, name := range t.Labels {
			m.Label = append(m.Label, &dto.LabelPair{Name: &name, Value: &s.labels[i]})
		}
		if label := "server"; view != ViewLegacy {
			m.Label = append(m.Label, &dto.LabelPair{Name: &label, Value: &server})
		}
		if t.Kind == Counter {
			m.Counter = &dto.Counter{Value: &s.value}
		} else {
			m.Gauge = &dto.Gauge{Value: &s.value}
		}
		f.Metric = append(f.Metric, m)
	}
	return f
}
