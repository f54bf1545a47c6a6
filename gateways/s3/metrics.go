package s3

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/engine"
	"holdfast/observe/metrics"
)

// requestBounds are in seconds.
var requestBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// What the gateway counts. An operation is one of routes.go, or "none" where the request was refused before it was known.
var (
	requestsTotal = &metrics.Metric{Name: "holdfast_s3_requests_total", Kind: metrics.Counter, Labels: []string{"operation", "status"},
		Help: "Requests that were answered, by operation and HTTP status"}
	errorsTotal = &metrics.Metric{Name: "holdfast_s3_errors_total", Kind: metrics.Counter, Labels: []string{"code"},
		Help: "Requests that were answered with an error, by its code in the S3 API"}
	rejectedTotal = &metrics.Metric{Name: "holdfast_s3_rejected_total", Kind: metrics.Counter, Labels: []string{"reason"},
		Help: "Requests that were turned away: signature (not proven), time (the clocks differ), header (too long), invalid (no operation could be told), overload (no memory within the budget in time)"}
	canceledTotal = &metrics.Metric{Name: "holdfast_s3_canceled_total", Kind: metrics.Counter, Labels: []string{"operation"},
		Help: "Requests whose client had gone before they were answered in full"}
	inFlight = &metrics.Metric{Name: "holdfast_s3_requests_in_flight", Kind: metrics.Gauge, Labels: []string{"operation"},
		Help: "Requests that are being served"}
	durations = &metrics.Metric{Name: "holdfast_s3_request_duration_seconds", Kind: metrics.Histogram, Labels: []string{"operation"}, Bounds: requestBounds,
		Help: "Time from the header of a request to the end of its answer"}
	firstBytes = &metrics.Metric{Name: "holdfast_s3_time_to_first_byte_seconds", Kind: metrics.Histogram, Labels: []string{"operation"}, Bounds: requestBounds,
		Help: "Time from the header of a request to the beginning of its answer; for an upload that includes the body"}
	receivedBytes = &metrics.Metric{Name: "holdfast_s3_received_bytes_total", Kind: metrics.Counter, Labels: []string{"operation"},
		Help: "Bytes of content that requests brought"}
	sentBytes = &metrics.Metric{Name: "holdfast_s3_sent_bytes_total", Kind: metrics.Counter, Labels: []string{"operation"},
		Help: "Bytes of content and of documents that answers took along"}
	bucketRequests = &metrics.Metric{Name: "holdfast_s3_bucket_requests_total", Kind: metrics.Counter, Labels: []string{"bucket", "operation", "class"},
		Help: fmt.Sprintf("Requests to a bucket by operation and class of the status (2xx to 5xx), for the first %d buckets that a request has reached since the start", countedBucketsMax)}
	bucketReceived = &metrics.Metric{Name: "holdfast_s3_bucket_received_bytes_total", Kind: metrics.Counter, Labels: []string{"bucket"},
		Help: "Bytes of content that requests brought to a bucket, for the buckets of holdfast_s3_bucket_requests_total"}
	bucketSent = &metrics.Metric{Name: "holdfast_s3_bucket_sent_bytes_total", Kind: metrics.Counter, Labels: []string{"bucket"},
		Help: "Bytes that answers took from a bucket, for the buckets of holdfast_s3_bucket_requests_total"}
)

// countedBucketsMax bounds the buckets whose requests are counted apart.
const countedBucketsMax = 100

// counters are those of a gateway.
type counters struct {
	requests, errors, rejected, canceled, received, sent *prometheus.CounterVec
	inFlight                                             *prometheus.GaugeVec
	durations, firstBytes                                *prometheus.HistogramVec
	bucketRequests, bucketReceived, bucketSent           *prometheus.CounterVec

	mu      sync.Mutex // guards buckets
	buckets map[engine.BucketName]bool
}

func newCounters(r *metrics.Registry) *counters {
	n := &counters{
		requests: r.Counter(requestsTotal), errors: r.Counter(errorsTotal), rejected: r.Counter(rejectedTotal), canceled: r.Counter(canceledTotal),
		received: r.Counter(receivedBytes), sent: r.Counter(sentBytes), inFlight: r.Gauge(inFlight),
		durations: r.Histogram(durations), firstBytes: r.Histogram(firstBytes),
		bucketRequests: r.Counter(bucketRequests), bucketReceived: r.Counter(bucketReceived), bucketSent: r.Counter(bucketSent),
		buckets: map[engine.BucketName]bool{},
	}
	for _, reason := range []string{"signature", "time", "header", "invalid", "overload"} {
		n.rejected.WithLabelValues(reason) // there from the first scrape on, so that the first one is seen as a rise
	}
	return n
}

// begin counts a call whose operation is known.
func (n *counters) begin(c *call) {
	c.begun = true
	n.inFlight.WithLabelValues(c.record.Operation).Inc()
}

// end counts a call that is over. Its record is complete.
func (n *counters) end(c *call, start time.Time) {
	operation := c.record.Operation
	if operation == "" {
		operation = "none"
	}
	if c.begun {
		n.inFlight.WithLabelValues(operation).Dec()
	}
	n.requests.WithLabelValues(operation, strconv.Itoa(c.record.Status)).Inc()
	n.durations.WithLabelValues(operation).Observe(c.record.Duration.Seconds())
	if !c.answered.IsZero() {
		n.firstBytes.WithLabelValues(operation).Observe(c.answered.Sub(start).Seconds())
	}
	if c.r.Context().Err() != nil {
		n.canceled.WithLabelValues(operation).Inc()
	}
	if c.record.Code != "" {
		n.errors.WithLabelValues(c.record.Code).Inc()
		if reason := rejection(c); reason != "" {
			n.rejected.WithLabelValues(reason).Inc()
		}
	}
	n.received.WithLabelValues(operation).Add(float64(c.record.Received))
	n.sent.WithLabelValues(operation).Add(float64(c.record.Sent))
	n.endIn(c.bucket, operation, c)
}

// rejection says why a request was turned away; "" if it was not.
func rejection(c *call) string {
	switch c.record.Code {
	case "SlowDown":
		return "overload"
	case "SignatureDoesNotMatch":
		return "signature"
	case "InvalidAccessKeyId", "AccessDenied", "AuthorizationHeaderMalformed", "AuthorizationQueryParametersError", "InvalidToken":
		if c.engine == nil {
			return "signature"
		}
	case "RequestTimeTooSkewed":
		return "time"
	case "RequestHeaderSectionTooLarge":
		return "header"
	}
	if c.begun {
		return ""
	}
	return "invalid"
}

// endIn counts for the bucket, if it is one of those that are counted. A request that succeeds proves that the bucket is there.
func (n *counters) endIn(bucket engine.BucketName, operation string, c *call) {
	if bucket == "" || operation == "none" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case operation == "DeleteBucket" && c.record.Status < 300:
		delete(n.buckets, bucket)
		for _, v := range []*prometheus.CounterVec{n.bucketRequests, n.bucketReceived, n.bucketSent} {
			v.DeletePartialMatch(prometheus.Labels{"bucket": string(bucket)})
		}
		return
	case n.buckets[bucket]:
	case c.record.Status >= 300 || len(n.buckets) >= countedBucketsMax:
		return
	}
	n.buckets[bucket] = true
	n.bucketRequests.WithLabelValues(string(bucket), operation, strconv.Itoa(c.record.Status/100)+"xx").Inc()
	n.bucketReceived.WithLabelValues(string(bucket)).Add(float64(c.record.Received))
	n.bucketSent.WithLabelValues(string(bucket)).Add(float64(c.record.Sent))
}
