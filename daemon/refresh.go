package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"holdfast/daemon/certs"
	"holdfast/daemon/config"
	"holdfast/gateways"
	"holdfast/observe"
)

// openCerts reads the certificates of S3, if it has any.
func (d *daemon) openCerts() (err error) {
	if d.config.CertsDir != "" {
		d.certs, err = certs.Open(d.config.CertsDir, d.logger)
	}
	return err
}

// secured is the listener of S3 with what stands before it: the bounds on connections, TLS, if there are certificates, and the watch over framing.
func (d *daemon) secured(l net.Listener, limits gateways.Limits) net.Listener {
	l = d.admission.Listen(l, d.certs == nil)
	if d.certs != nil {
		l = gateways.Secure(l, d.certs.TLS("http/1.1"), limits, d.logger)
	}
	return gateways.Watch(l)
}

// openAccess returns where access records go.
func (d *daemon) openAccess() (*slog.Logger, error) {
	switch d.config.AccessLog {
	case config.Off:
		return slog.New(slog.DiscardHandler), nil
	case config.AccessInLog:
		return d.logger, nil
	}
	file, err := observe.OpenFile(d.config.AccessLog, func(err error) {
		d.logger.Error("the access log cannot be written; its records are lost until it can", "error", err)
	})
	if err != nil {
		return nil, fmt.Errorf("the access log: %w; choose another with --access-log", err)
	}
	d.access = file
	return slog.New(handler(file, d.config.LogFormat, slog.LevelDebug)), nil
}

// catchHangups keeps SIGHUP from ending the daemon where it says that certificates or the file of the access log changed; what it returns ends that. Without
// either it is left to do what it does by default, since it comes from a terminal that was closed.
func (d *daemon) catchHangups() (stop func()) {
	if d.certs == nil && (d.config.AccessLog == config.Off || d.config.AccessLog == config.AccessInLog) {
		return func() {}
	}
	d.hangups = make(chan os.Signal, 1)
	signal.Notify(d.hangups, syscall.SIGHUP)
	return func() { signal.Stop(d.hangups) }
}

// refresh begins to take over what changes while the daemon runs: certificates, and on SIGHUP the file of the access log, too. What it returns ends
// that, and closes the file.
func (d *daemon) refresh() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if d.certs != nil {
		running.Go(func() { d.certs.Watch(ctx) })
	}
	if d.hangups != nil {
		running.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-d.hangups:
					d.refreshNow()
				}
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
		if d.access == nil {
			return
		}
		if err := d.access.Close(); err != nil {
			d.logger.Error("the access log", "error", err)
		}
	}
}

func (d *daemon) refreshNow() {
	if d.certs != nil {
		d.certs.Look()
	}
	if d.access == nil {
		return
	}
	if err := d.access.Reopen(); err != nil {
		d.logger.Error("the access log cannot be opened anew; records go on into the former file", "error", err)
	}
}
