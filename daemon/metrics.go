package daemon

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"holdfast/access"
	"holdfast/daemon/config"
	gatewaymetrics "holdfast/gateways/metrics"
	"holdfast/observe/metrics"
)

var (
	buildInfo = &metrics.Metric{Name: "holdfast_build_info", Kind: metrics.Gauge, Labels: []string{"version"}, Help: "1; the label has the version"}
	expiry    = &metrics.Metric{Name: "holdfast_tls_certificate_expiry_timestamp_seconds", Kind: metrics.Gauge, Labels: []string{"folder"},
		Help: "When a certificate of S3 that is in use runs out, in Unix time; the folder below certs_dir, empty for the default"}
	connectionsOpen    = &metrics.Metric{Name: "holdfast_s3_connections", Kind: metrics.Gauge, Help: "Connections to the port of S3 that are open"}
	connectionsRefused = &metrics.Metric{Name: "holdfast_s3_connections_refused_total", Kind: metrics.Counter,
		Help: "Connections to the port of S3 that were one too many: of all together, or from one address (connections_per_address)"}
)

// measure adds the metrics of the daemon and of the node to a registry.
func (d *daemon) measure(r *metrics.Registry) {
	r.AddRuntime()
	d.node.Measure(r)
	r.Read([]*metrics.Metric{buildInfo, expiry, connectionsOpen, connectionsRefused}, func(emit metrics.Emit) {
		emit(buildInfo, 1, config.Version)
		emit(connectionsOpen, float64(d.admission.Open()))
		emit(connectionsRefused, float64(d.admission.Refused()))
		if d.certs == nil {
			return
		}
		for _, e := range d.certs.Expiries() {
			emit(expiry, float64(e.At.Unix()), e.Folder)
		}
	})
}

func (d *daemon) listenMetrics(ctx context.Context) (err error) {
	if d.config.MetricsAddress == config.Off {
		return nil
	}
	if d.metrics, err = new(net.ListenConfig).Listen(ctx, "tcp", d.config.MetricsAddress); err != nil {
		return portError("--metrics-address", d.config.MetricsAddress, err)
	}
	return nil
}

// isLoopback reports whether only this machine reaches an address.
func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// metricsConfig is that of both ways to the metrics.
func (d *daemon) metricsConfig(r *metrics.Registry, root access.Root) gatewaymetrics.Config {
	c := gatewaymetrics.Config{Gatherer: r, Credentials: root, Public: d.config.MetricsAuth == "public", Log: d.logger}
	if d.s3 != nil {
		c.Server = serverName(d.s3.Addr().String())
	}
	return c
}

// serverName is how dashboards tell servers apart: the address of S3, with the name of the machine for an address that listens everywhere.
func serverName(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port)
}

// isMinIOMetrics reports whether a path is one of MinIO's for metrics, or would be if we had that view.
func isMinIOMetrics(path string) bool {
	for _, prefix := range []string{"/minio/v2/metrics/", "/minio/prometheus/", "/minio/metrics/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// metricsServer is for few clients that are known.
func metricsServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10}
}
