package gateways

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// headerSlack is what net/http may take beyond HeaderBytesMax, so that a gateway can refuse in its own words what is a little too
// long. net/http itself refuses the rest with a plain 431.
const headerSlack = 48 << 10

// NewServer returns a server with the limits set. Serve it on a listener that Watch has wrapped.
func NewServer(handler http.Handler, l Limits, log *slog.Logger) *http.Server {
	server := &http.Server{Handler: complete(handler), ReadHeaderTimeout: l.HeaderTime, IdleTimeout: l.IdleTime, MaxHeaderBytes: l.HeaderBytesMax + headerSlack,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if w, ok := c.(*watched); ok {
				return context.WithValue(ctx, watchedKey{}, w)
			}
			return ctx
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			if w, ok := c.(*watched); ok && state == http.StateIdle {
				w.reset()
			}
		}}
	if log != nil {
		server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	}
	return server
}

// complete gives requests what net/http gives them only where it makes the handshake itself, and the header that was hidden from it.
func complete(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if watched, ok := r.Context().Value(watchedKey{}).(*watched); ok {
			showExpect(r.Header)
			if s, ok := watched.Conn.(*secure); ok {
				state := s.ConnectionState()
				r.TLS = &state
			}
		}
		handler.ServeHTTP(w, r)
	})
}

// HeaderBytes returns the size of a request's line and headers, about as they came.
func HeaderBytes(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(r.Proto) + len(r.Host) + 12
	for name, values := range r.Header {
		for _, value := range values {
			n += len(name) + len(value) + 4
		}
	}
	return n
}

// Framing says how much is known about the framing of a request's body.
type Framing uint8

// The framings.
const (
	FramingClear     Framing = iota // one length, or chunks
	FramingUnknown                  // chunks; whether a Content-Length came too was not seen
	FramingAmbiguous                // chunks and a Content-Length, or several: the shape of request smuggling (RFC 9112, section 6.3)
)

// FramingOf judges r; a handler calls it once for every request. net/http removes a Content-Length that came with chunks, and makes one of
// several that are equal, so the header is looked up in what Watch kept. When it is not clear, the connection must be closed after the answer.
func FramingOf(r *http.Request) Framing {
	framing := FramingUnknown
	if w, ok := r.Context().Value(watchedKey{}).(*watched); ok {
		framing = w.framing(r)
	}
	if len(r.TransferEncoding) == 0 && framing == FramingUnknown || r.ProtoMajor > 1 {
		return FramingClear
	}
	return framing
}

type watchedKey struct{}

// Watch returns l with connections that remember the header of the current request.
func Watch(l net.Listener) net.Listener { return watchListener{l} }

type watchListener struct{ net.Listener }

func (l watchListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watched{Conn: c, length: -1}, nil
}

// watched keeps the header of the current request as it came. It knows where that begins as long as every earlier request of the
// connection had a length and nothing came behind its body; otherwise bytes of a body could pass for a header, and it gives up. The
// server's background read may run beside a handler, hence the lock.
type watched struct {
	net.Conn
	mu       sync.Mutex
	lost     bool   // the begin of the current request is not known
	head     []byte // since that begin, to the end of the header or watchedBytesMax
	complete bool   // head ends with the header's last line
	total    int64  // bytes that came since the begin of the current request
	length   int64  // bytes that the current request has, header and body; -1 if that is not known
	// ahead is a byte that the server read in the background while a handler ran: the first of the next request.
	ahead    byte
	hasAhead bool
}

// watchedBytesMax bounds head.
const watchedBytesMax = 20 << 10

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(p) == 1 && n == 1 {
		w.ahead, w.hasAhead = p[0], true
	} else if before := len(w.head); w.keep(p[:n]) {
		hideExpect(w.head, p[:len(w.head)-before])
	}
	return n, err
}

// hideExpect gives the header Expect another name if it wants something else than 100-continue: net/http answers 417 for that, and S3 takes no notice. Head
// is the whole header of a request, and end the end of it, which the server is about to read.
func hideExpect(head, end []byte) {
	const line = "\r\nexpect:"
	at := bytes.Index(bytes.ToLower(head), []byte(line))
	if at < 0 {
		return
	}
	from := at + 2 - (len(head) - len(end))
	if from < 0 {
		return // the server has it already
	}
	value, _, _ := bytes.Cut(head[at+len(line):], []byte("\r\n"))
	if !bytes.EqualFold(bytes.TrimSpace(value), []byte("100-continue")) {
		copy(end[from:], hiddenExpect)
	}
}

// hiddenExpect is what Expect is called until net/http has looked.
const hiddenExpect = "E~pect"

// showExpect undoes hideExpect, for signatures that cover the header.
func showExpect(h http.Header) {
	if values, ok := h[hiddenExpect]; ok {
		h["Expect"] = values
		delete(h, hiddenExpect)
	}
}

// keep takes what was read, and reports whether the header ends in it.
func (w *watched) keep(p []byte) bool {
	w.total += int64(len(p))
	if w.lost || w.complete || len(w.head) == watchedBytesMax {
		return false
	}
	from := max(0, len(w.head)-3)
	w.head = append(w.head, p[:min(len(p), watchedBytesMax-len(w.head))]...)
	if i := bytes.Index(w.head[from:], []byte("\r\n\r\n")); i >= 0 {
		w.head, w.complete = w.head[:from+i+4], true
	}
	return w.complete
}

// reset is called between two requests.
func (w *watched) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = w.lost || w.length != w.total
	w.head, w.complete, w.total, w.length = w.head[:0], false, 0, -1
	if w.hasAhead {
		w.hasAhead = false
		w.keep([]byte{w.ahead})
	}
}

// framing looks for a Content-Length in the header of r, and notes where r ends.
func (w *watched) framing(r *http.Request) Framing {
	w.mu.Lock()
	defer w.mu.Unlock()
	head := string(w.head)
	rest, ok := strings.CutPrefix(head, r.Method+" "+r.RequestURI+" ")
	if !ok || w.lost || !w.complete {
		w.lost = true
		return FramingUnknown
	}
	most := 0 // Content-Lengths that may be there
	if len(r.TransferEncoding) == 0 {
		w.length = int64(len(head)) + max(r.ContentLength, 0)
		most = 1
	}
	for line := range strings.SplitSeq(rest, "\n") {
		name, _, _ := strings.Cut(line, ":")
		if strings.EqualFold(strings.TrimSpace(name), "Content-Length") {
			if most--; most < 0 {
				return FramingAmbiguous
			}
		}
	}
	return FramingClear
}

// ErrSlow says that a body came more slowly than the limits allow.
var ErrSlow = errors.New("the body came too slowly")

// ErrCrowded says that a body was given up because others waited for the memory that it held.
var ErrCrowded = errors.New("the body came too slowly for how many others wait")

// GuardedBody is the body of a request under the watch of the limits: one that brings too little in a window of waiting ends with
// ErrSlow. Time that the reader spends elsewhere does not count.
type GuardedBody struct {
	body    io.Reader
	control *http.ResponseController
	limits  Limits
	waited  time.Duration // of this window
	got     int64         // in this window
	total   int64
	length  int64 // -1: not known
	err     error
	cut     atomic.Bool
}

// CutBody ends the read that is under way, and all later ones, with ErrCrowded. It is safe for concurrent use.
func (g *GuardedBody) CutBody() {
	g.cut.Store(true)
	_ = g.control.SetReadDeadline(time.Unix(1, 0)) // a connection without deadlines goes on until the next read
}

// CutAnswer ends the write that is under way; one that comes too late strikes the next write of the connection. It is safe for concurrent use.
func (g *GuardedBody) CutAnswer() {
	_ = g.control.SetWriteDeadline(time.Unix(1, 0)) // a connection without deadlines goes on
}

// GuardBody puts r's body under watch. The handler calls Release when it is done with the request.
func GuardBody(w http.ResponseWriter, r *http.Request, l Limits) *GuardedBody {
	g := &GuardedBody{body: r.Body, control: http.NewResponseController(w), limits: l, length: r.ContentLength}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		g.err = io.EOF
	}
	return g
}

// Release leaves the server a bounded time to pass over what the handler has not read, for which net/http has no limit.
func (g *GuardedBody) Release() {
	if g.err == nil {
		_ = g.control.SetReadDeadline(time.Now().Add(g.limits.HeaderTime))
	}
}

// GuardHead bounds how long the client may take over an answer that has no content, or until its content is guarded.
func GuardHead(w http.ResponseWriter, l Limits) {
	// A connection without deadlines (a test's) has no watch.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(l.WriteTime))
}

// Read is io.Reader.
func (g *GuardedBody) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	start := time.Now()
	// A connection without deadlines (a test's) has no watch; everything else works.
	_ = g.control.SetReadDeadline(start.Add(g.limits.SlowWindow - g.waited))
	if g.cut.Load() { // looked at behind the deadline, so that a cut is not undone by it
		g.err = ErrCrowded
		return 0, g.err
	}
	n, err := g.body.Read(p)
	g.waited += time.Since(start)
	g.total += int64(n)
	if g.got += int64(n); g.got >= g.limits.SlowBytes {
		g.waited, g.got = 0, 0
	}
	switch {
	case err == nil && g.waited < g.limits.SlowWindow:
		return n, nil
	case g.cut.Load() && err != io.EOF:
		err = ErrCrowded
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		err = ErrSlow
	default:
		_ = g.control.SetReadDeadline(time.Time{})
	}
	g.err = err
	return n, err
}

// passedOver is what net/http passes over of a body that was not read before it answers, and passOverMax what Refuse does at most.
const (
	passedOver  = 256 << 10
	passOverMax = 1 << 30
)

// Refuse calls answer, which writes an answer to a request whose body was read in part. A client that is still sending would lose the answer if the
// connection were closed at once, so what it sends is passed over meanwhile, for no longer than the limits give it for a header.
func (g *GuardedBody) Refuse(w http.ResponseWriter, answer func()) {
	if g.err != nil || g.total == 0 || g.length >= 0 && g.length-g.total <= passedOver || g.control.EnableFullDuplex() != nil {
		answer()
		return
	}
	w.Header().Set("Connection", "close")
	answer()
	_ = g.control.Flush() // who does not listen any more learns nothing from an error
	_ = g.control.SetReadDeadline(time.Now().Add(g.limits.HeaderTime))
	_, _ = io.CopyN(io.Discard, g.body, passOverMax)
}

// GuardAnswer returns w under the watch of l: a client that does not take a piece of the answer within WriteTime is cut.
func GuardAnswer(w http.ResponseWriter, l Limits) io.Writer {
	return &guardedAnswer{w: w, control: http.NewResponseController(w), limits: l}
}

type guardedAnswer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	limits  Limits
	until   time.Time
}

func (g *guardedAnswer) Write(p []byte) (int, error) {
	if now := time.Now(); g.until.Sub(now) < g.limits.WriteTime*3/4 {
		g.until = now.Add(g.limits.WriteTime)
		_ = g.control.SetWriteDeadline(g.until)
	}
	return g.w.Write(p)
}
