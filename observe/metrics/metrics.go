// Package metrics is the registry of what the daemon counts and measures, and the names by which MinIO's dashboards know the same figures.
//
// Promise: every metric is declared, with its kind, its labels and a sentence of help, before it has a value; the manual is made of the declarations.
//
// The package does not know who counts what: each package that does the work declares its metrics and hands them in. It does not know HTTP.
package metrics

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

// Kind is what a metric's values do.
type Kind uint8

// The kinds.
const (
	Counter   Kind = iota // only grows while the daemon runs; its name ends with _total
	Gauge                 // goes up and down
	Histogram             // counts observations below each of the bounds
)

// String returns the word of Prometheus.
func (k Kind) String() string { return [...]string{"counter", "gauge", "histogram"}[k] }

// Metric is the declaration of a metric.
type Metric struct {
	Name   string
	Kind   Kind
	Labels []string
	Help   string    // a sentence without its full stop
	Bounds []float64 // of a Histogram
}

func (m *Metric) desc() *prometheus.Desc { return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil) }

// Registry has the metrics of a process. It is safe for concurrent use.
type Registry struct {
	registry *prometheus.Registry

	mu   sync.Mutex // guards list
	list []*Metric
}

// New returns an empty registry.
func New() *Registry { return &Registry{registry: prometheus.NewRegistry()} }

// Gather is prometheus.Gatherer.
func (r *Registry) Gather() ([]*dto.MetricFamily, error) { return r.registry.Gather() }

// Metrics returns the declarations in order of their names. Those of the Go runtime and of the process, which have no declarations, are missing.
func (r *Registry) Metrics() []*Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(slices.Values(r.list), func(a, b *Metric) int { return strings.Compare(a.Name, b.Name) })
}

// add registers a collector of declared metrics. That two have the same name is a mistake of the program, which panics.
func (r *Registry) add(c prometheus.Collector, list ...*Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.registry.MustRegister(c)
	r.list = append(r.list, list...)
}

// AddRuntime adds what is known of the Go runtime and of the process, as every Go program with metrics has it, and the calls and bytes of its files.
func (r *Registry) AddRuntime() {
	r.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.Read(processMetrics, readProcess)
}

// Counter adds a counter.
func (r *Registry) Counter(m *Metric) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Labels)
	r.add(v, m)
	return v
}

// Gauge adds a gauge.
func (r *Registry) Gauge(m *Metric) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.Name, Help: m.Help}, m.Labels)
	r.add(v, m)
	return v
}

// Histogram adds a histogram.
func (r *Registry) Histogram(m *Metric) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: m.Bounds}, m.Labels)
	r.add(v, m)
	return v
}

// Emit takes a value of a declared metric; labels are in the order of the declaration.
type Emit func(m *Metric, value float64, labels ...string)

// Read adds metrics whose values are kept elsewhere: source is called at each scrape, by several goroutines at once where scrapes overlap, and
// emits them.
func (r *Registry) Read(list []*Metric, source func(Emit)) { r.add(&reader{list, source}, list...) }

type reader struct {
	list   []*Metric
	source func(Emit)
}

// Describe is prometheus.Collector.
func (r *reader) Describe(out chan<- *prometheus.Desc) {
	for _, m := range r.list {
		out <- m.desc()
	}
}

// Collect is prometheus.Collector.
func (r *reader) Collect(out chan<- prometheus.Metric) {
	r.source(func(m *Metric, value float64, labels ...string) {
		kind := prometheus.GaugeValue
		if m.Kind == Counter {
			kind = prometheus.CounterValue
		}
		for i := range labels { // a path may be anything
			labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
		}
		out <- prometheus.MustNewConstMetric(m.desc(), kind, value, labels...)
	})
}

// Bool is 1 for true.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
