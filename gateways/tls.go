package gateways

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Secure returns l with connections that speak TLS. Handshakes are made where a connection is first read from, not where it is accepted, and end
// within the limits' HeaderTime. A client that speaks HTTP without TLS is told so. Watch goes around it, for it must see what is within.
//
// HTTP/2 is not offered: limits, framing and the closing of connections are those of HTTP/1.1, and no client of S3 needs it.
func Secure(l net.Listener, c *tls.Config, limits Limits, log *slog.Logger) net.Listener {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &secureListener{Listener: l, config: c, limits: limits, log: log}
}

type secureListener struct {
	net.Listener
	config *tls.Config
	limits Limits
	log    *slog.Logger
}

func (l *secureListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &secure{Conn: tls.Server(c, l.config), raw: c, listener: l}, nil
}

// secure is a connection within TLS.
type secure struct {
	*tls.Conn
	raw      net.Conn
	listener *secureListener
	shake    sync.Once
	failed   error
}

// Read makes the handshake first. The deadline for reading that the server has set bounds it too; that for writing is the handshake's own.
func (s *secure) Read(p []byte) (int, error) {
	s.shake.Do(func() {
		_ = s.raw.SetWriteDeadline(time.Now().Add(s.listener.limits.HeaderTime))
		if s.failed = s.Handshake(); s.failed != nil {
			s.refuse(s.failed)
			return
		}
		_ = s.raw.SetWriteDeadline(time.Time{})
	})
	if s.failed != nil {
		return 0, s.failed
	}
	return s.Conn.Read(p)
}

// notTLS is what a client that speaks plain HTTP is told.
const notTLS = "HTTP/1.1 400 Bad Request\r\nServer: Holdfast\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 84\r\n\r\n" +
	"This port speaks HTTPS only: the URL must begin with https:// and not with http://.\n"

// refuse answers who does not speak TLS at all.
func (s *secure) refuse(err error) {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && spellsHTTP(header.RecordHeader) {
		_, _ = io.WriteString(header.Conn, notTLS) // who does not listen learns nothing
	}
	s.listener.log.Debug("a TLS handshake failed", "remote", s.RemoteAddr().String(), "error", err)
}

// spellsHTTP reports whether the first bytes of a connection begin a request of HTTP.
func spellsHTTP(first [5]byte) bool {
	switch string(first[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE":
		return true
	}
	return false
}
