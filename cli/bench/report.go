package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Failed returns how many requests had an error.
func (r *Report) Failed() (n int64) {
	for _, m := range r.Verbs {
		for _, count := range m.Errors {
			n += count
		}
	}
	return n
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s, %d clients, %.1f s, objects of %s\n", r.Plan.Verb, r.Plan.Client.server.Endpoint, r.Plan.Limits.Clients, r.Elapsed.Seconds(), sizesText(r.Plan.Sizes))
	for _, v := range r.verbs() {
		r.writeVerb(&b, v, r.Verbs[v])
	}
	if len(r.Verbs) == 0 {
		b.WriteString("\nno request was answered\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeVerb(b *strings.Builder, v Verb, m *Measured) {
	seconds := max(r.Elapsed.Seconds(), 1e-9)
	fmt.Fprintf(b, "\n%s: %d requests, %.1f/s", v, m.Latency.Count(), float64(m.Latency.Count())/seconds)
	if m.Bytes > 0 {
		fmt.Fprintf(b, ", %.2f MiB/s", float64(m.Bytes)/seconds/(1<<20))
	}
	if m.Keys > 0 {
		fmt.Fprintf(b, ", %.0f keys/s", float64(m.Keys)/seconds)
	}
	b.WriteString("\n")
	writeTimes(b, "latency", &m.Latency)
	if m.FirstByte.Count() > 0 {
		writeTimes(b, "first byte", &m.FirstByte)
	}
	if p, ok := m.RequestsPerSecond(r.Elapsed); ok {
		fmt.Fprintf(b, "  %-10s slowest %.1f, median %.1f, fastest %.1f requests", "a second", p.Slowest, p.Median, p.Fastest)
		if m.Bytes > 0 {
			p, _ = m.BytesPerSecond(r.Elapsed)
			fmt.Fprintf(b, "; %.2f, %.2f, %.2f MiB", p.Slowest/(1<<20), p.Median/(1<<20), p.Fastest/(1<<20))
		}
		b.WriteString("\n")
	}
	for _, code := range slices.Sorted(maps.Keys(m.Errors)) {
		fmt.Fprintf(b, "  %d × %s\n", m.Errors[code], code)
	}
	if m.Example != nil {
		fmt.Fprintf(b, "  the first error: %v\n", m.Example)
	}
}

func writeTimes(b *strings.Builder, title string, h *Histogram) {
	if h.Count() == 0 {
		return
	}
	t := timesOf(h)
	fmt.Fprintf(b, "  %-10s min %.2f, mean %.2f, p50 %.2f, p90 %.2f, p99 %.2f, p99.9 %.2f, max %.2f ms\n", title, t.Min, t.Mean, t.P50, t.P90, t.P99, t.P999, t.Max)
}

// sizesText says which sizes there are in a few words.
func sizesText(sizes []int64) string {
	if len(sizes) > 4 {
		return SizeText(slices.Min(sizes)) + " to " + SizeText(slices.Max(sizes))
	}
	var list []string
	for _, size := range sizes {
		list = append(list, SizeText(size))
	}
	return strings.Join(list, ", ")
}

// SizeText writes a number of bytes with the largest unit that divides it, or with one digit.
func SizeText(size int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	unit, value := 0, float64(size)
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if value == float64(int64(value)) {
		return fmt.Sprintf("%d %s", int64(value), units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// times are those of a histogram, in milliseconds.
type times struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

func timesOf(h *Histogram) *times {
	if h.Count() == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return &times{ms(h.Min()), ms(h.Mean()), ms(h.Quantile(0.5)), ms(h.Quantile(0.9)), ms(h.Quantile(0.99)), ms(h.Quantile(0.999)), ms(h.Max())}
}

// rates are what whole seconds saw.
type rates struct {
	Slowest float64 `json:"slowest"`
	Median  float64 `json:"median"`
	Fastest float64 `json:"fastest"`
}

type verbJSON struct {
	Verb              Verb             `json:"operation"`
	Requests          int              `json:"requests"`
	Bytes             int64            `json:"bytes"`
	Keys              int64            `json:"keys,omitempty"`
	RequestsPerSecond float64          `json:"requests_per_second"`
	BytesPerSecond    float64          `json:"bytes_per_second"`
	Latency           *times           `json:"latency_ms"`
	FirstByte         *times           `json:"first_byte_ms,omitempty"`
	Requested         *rates           `json:"requests_in_a_second,omitempty"`
	Moved             *rates           `json:"bytes_in_a_second,omitempty"`
	Errors            map[string]int64 `json:"errors"`
	Example           string           `json:"first_error,omitempty"`
}

// WriteJSON writes the report for programs: one document. Times are in milliseconds, sizes in bytes.
func (r *Report) WriteJSON(w io.Writer) error {
	b := r.Plan
	document := struct {
		Command    Verb         `json:"command"`
		Endpoint   string       `json:"endpoint"`
		Started    time.Time    `json:"started"`
		WarmUp     float64      `json:"warm_up_seconds"`
		Elapsed    float64      `json:"elapsed_seconds"`
		Clients    int          `json:"clients"`
		Sizes      []int64      `json:"object_sizes"`
		Objects    int          `json:"prepared_objects"`
		PartSize   int64        `json:"part_size"`
		Checksum   string       `json:"checksum"`
		Verified   bool         `json:"verified"`
		Shares     map[Verb]int `json:"shares,omitempty"`
		Operations []verbJSON   `json:"operations"`
	}{
		b.Verb, b.Client.server.Endpoint, r.Started.UTC(), b.Limits.WarmUp.Seconds(), r.Elapsed.Seconds(), b.Limits.Clients, b.Sizes, b.Objects, b.PartSize,
		b.Client.Checksum, b.Verify, b.Shares, []verbJSON{},
	}
	seconds := max(r.Elapsed.Seconds(), 1e-9)
	for _, v := range r.verbs() {
		m := r.Verbs[v]
		o := verbJSON{Verb: v, Requests: m.Latency.Count(), Bytes: m.Bytes, Keys: m.Keys, RequestsPerSecond: float64(m.Latency.Count()) / seconds, BytesPerSecond: float64(m.Bytes) / seconds,
			Latency: timesOf(&m.Latency), FirstByte: timesOf(&m.FirstByte), Errors: m.Errors}
		if p, ok := m.RequestsPerSecond(r.Elapsed); ok {
			o.Requested = (*rates)(&p)
		}
		if p, ok := m.BytesPerSecond(r.Elapsed); ok && m.Bytes > 0 {
			o.Moved = (*rates)(&p)
		}
		if m.Example != nil {
			o.Example = m.Example.Error()
		}
		document.Operations = append(document.Operations, o)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}

// ErrorCounts returns the errors of all verbs by code, the most frequent first, in words.
func (r *Report) ErrorCounts() string {
	all := map[string]int64{}
	for _, m := range r.Verbs {
		for code, n := range m.Errors {
			all[code] += n
		}
	}
	codes := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Or(cmp.Compare(all[b], all[a]), cmp.Compare(a, b)) })
	for i, code := range codes {
		codes[i] = fmt.Sprintf("%d × %s", all[code], code)
	}
	return strings.Join(codes, ", ")
}
