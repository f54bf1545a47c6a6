package s3_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"holdfast/gateways/s3"
	"holdfast/observe/metrics"
)

// values are those of a registry, by name and labels: `name{label="value"}`. Of a histogram it is the number of observations.
func values(t *testing.T, r *metrics.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if f.GetType() == dto.MetricType_HISTOGRAM {
				value = float64(m.GetHistogram().GetSampleCount())
			}
			list[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return list
}

// TestMetrics makes requests of every fate and wants each counted once, where it belongs.
func TestMetrics(t *testing.T) {
	registry := metrics.New()
	f := start(t, func(c *s3.Config) { c.Metrics = registry })
	f.bucket("bucket")
	f.want(ask{method: "PUT", target: "/bucket/key", body: "content"}, 200, "")
	for range 2 {
		f.want(ask{method: "GET", target: "/bucket/key"}, 200, "")
	}
	f.want(ask{method: "GET", target: "/bucket/none"}, 404, "NoSuchKey")
	f.want(ask{method: "GET", target: "/other/key"}, 404, "NoSuchBucket")
	f.want(ask{method: "GET", target: "/bucket/key", change: func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")+"0") }}, 400, "AuthorizationHeaderMalformed")
	f.want(ask{method: "GET", target: "/bucket/key", sign: func(f *fixture, r *http.Request, _ []byte) {
		wrong := f.signer
		wrong.SecretKey += "x"
		wrong.Sign(r, "UNSIGNED-PAYLOAD", time.Now())
	}}, 403, "SignatureDoesNotMatch")
	f.want(ask{method: "GET", target: "/bucket/key", sign: func(f *fixture, r *http.Request, _ []byte) {
		f.signer.Sign(r, "UNSIGNED-PAYLOAD", time.Now().Add(-time.Hour))
	}}, 403, "RequestTimeTooSkewed")
	f.want(ask{method: "GET", target: "/bucket/key", headers: []string{"X-Long", strings.Repeat("x", 20<<10)}}, 400, "")
	f.want(ask{method: "PATCH", target: "/bucket/key"}, 405, "MethodNotAllowed")
	f.want(ask{method: "PUT", target: "/minio"}, 400, "InvalidBucketName")

	var got map[string]float64
	// A client may read the answer before the gateway has counted it.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if got = values(t, registry); got[`holdfast_s3_requests_total{operation="CreateBucket",status="400"}`] == 1 || time.Now().After(deadline) {
			break
		}
	}
	for name, want := range map[string]float64{
		`holdfast_s3_requests_total{operation="PutObject",status="200"}`:                       1,
		`holdfast_s3_requests_total{operation="GetObject",status="200"}`:                       2,
		`holdfast_s3_requests_total{operation="GetObject",status="404"}`:                       2,
		`holdfast_s3_requests_total{operation="none",status="403"}`:                            2,
		`holdfast_s3_errors_total{code="NoSuchKey"}`:                                           1,
		`holdfast_s3_errors_total{code="SignatureDoesNotMatch"}`:                               1,
		`holdfast_s3_rejected_total{reason="signature"}`:                                       2,
		`holdfast_s3_rejected_total{reason="time"}`:                                            1,
		`holdfast_s3_rejected_total{reason="header"}`:                                          1,
		`holdfast_s3_rejected_total{reason="invalid"}`:                                         1,
		`holdfast_s3_rejected_total{reason="overload"}`:                                        0,
		`holdfast_s3_received_bytes_total{operation="PutObject"}`:                              7,
		`holdfast_s3_request_duration_seconds{operation="GetObject"}`:                          4,
		`holdfast_s3_time_to_first_byte_seconds{operation="GetObject"}`:                        4,
		`holdfast_s3_requests_in_flight{operation="GetObject"}`:                                0,
		`holdfast_s3_bucket_requests_total{bucket="bucket",class="2xx",operation="GetObject"}`: 2,
		`holdfast_s3_bucket_requests_total{bucket="bucket",class="4xx",operation="GetObject"}`: 1,
		`holdfast_s3_bucket_received_bytes_total{bucket="bucket"}`:                             7,
		`holdfast_s3_bucket_sent_bytes_total{bucket="bucket"}`:                                 got[`holdfast_s3_bucket_sent_bytes_total{bucket="bucket"}`],
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s is %v (there: %t), want %v", name, value, there, want)
		}
	}
	if n := got[`holdfast_s3_bucket_sent_bytes_total{bucket="bucket"}`]; n < 14 {
		t.Errorf("%v bytes left the bucket, which is less than the two answers", n)
	}
	for name := range got {
		if strings.Contains(name, "other") || strings.Contains(name, `bucket="minio"`) {
			t.Errorf("a bucket that is not there has metrics: %s", name)
		}
	}
	f.want(ask{method: "DELETE", target: "/bucket/key"}, 204, "")
	f.want(ask{method: "DELETE", target: "/bucket"}, 204, "")
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		left := ""
		for name := range values(t, registry) {
			if strings.Contains(name, `bucket="bucket"`) {
				left = name
			}
		}
		if left == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the bucket is gone, and %s is not", left)
		}
	}
}

// TestMetricsAreBounded makes more buckets than are counted apart.
func TestMetricsAreBounded(t *testing.T) {
	registry := metrics.New()
	f := start(t, func(c *s3.Config) { c.Metrics = registry })
	for i := range 110 {
		f.bucket(fmt.Sprintf("bucket-%d", i))
	}
	f.want(ask{method: "DELETE", target: "/bucket-0"}, 204, "")
	f.want(ask{method: "HEAD", target: "/bucket-109"}, 200, "")
	f.want(ask{method: "HEAD", target: "/bucket-108"}, 200, "")
	count, last := 0, false
	for name := range values(t, registry) {
		if strings.HasPrefix(name, "holdfast_s3_bucket_requests_total{") {
			count++
			last = last || strings.Contains(name, `"bucket-109"`)
		}
	}
	if count != 100 || !last {
		t.Errorf("%d buckets are counted, the one that came into a free place among them: %t; want 100", count, last)
	}
}
