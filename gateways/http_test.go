package gateways

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// echo serves the framing of each request, and how its body ended.
func echo(t *testing.T, l Limits, watch bool) net.Conn {
	t.Helper()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := GuardBody(w, r, l)
		defer body.Release()
		framing := FramingOf(r)
		_, err := io.Copy(io.Discard, body)
		fmt.Fprintf(GuardAnswer(w, l), "%d %v", framing, errors.Is(err, ErrSlow))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(handler, l, nil)
	done := make(chan bool)
	go func() {
		defer close(done)
		if watch {
			server.Serve(Watch(listener))
		} else {
			server.Serve(listener)
		}
	}()
	t.Cleanup(func() { server.Close(); <-done })
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

func answers(t *testing.T, conn net.Conn, request string, want ...string) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for _, want := range want {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(response.Body); string(body) != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
}

func TestFramingOf(t *testing.T) {
	const head = "PUT /x HTTP/1.1\r\nHost: h\r\n"
	const chunks = "Transfer-Encoding: chunked\r\n"
	const empty = "0\r\n\r\n"
	conn := echo(t, DefaultLimits(), true)
	answers(t, conn, head+"Content-Length: 2\r\n\r\nab", "0 false")
	answers(t, conn, head+chunks+"\r\n"+empty, "0 false")
	answers(t, conn, head+chunks+"content-length: 0\r\n\r\n"+empty, "2 false")
	answers(t, conn, head+"Content-Length : 1\r\n\r\n", "400 Bad Request: invalid header name")
	conn = echo(t, DefaultLimits(), true)
	answers(t, conn, head+"X: "+strings.Repeat("a", 30<<10)+"\r\n"+chunks+"Content-Length: 0\r\n\r\n"+empty, "1 false") // beyond what is kept
	conn = echo(t, DefaultLimits(), true)
	answers(t, conn, head+chunks+"\r\n"+empty+head+chunks+"\r\n"+empty, "0 false", "1 false") // pipelined
	conn = echo(t, DefaultLimits(), false)
	answers(t, conn, head+chunks+"\r\n"+empty, "1 false")
	conn = echo(t, DefaultLimits(), true)
	answers(t, conn, "PUT /x HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n"+empty, "0 false") // bare newlines
	conn = echo(t, DefaultLimits(), true)
	answers(t, conn, "PUT /x HTTP/1.1\nHost: h\nContent-Length: 0\nTransfer-Encoding: chunked\n\n"+empty, "2 false")
}

func TestGuardBody(t *testing.T) {
	l := DefaultLimits()
	l.SlowWindow, l.SlowBytes = 100*time.Millisecond, 10
	conn := echo(t, l, true)
	answers(t, conn, "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab", "0 true")
	conn = echo(t, l, true)
	answers(t, conn, "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", "0 false")
	answers(t, conn, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", "0 false")
}

func TestHeaderBytes(t *testing.T) {
	r, _ := http.NewRequest("GET", "http://host/path", nil)
	r.RequestURI = "/path"
	before := HeaderBytes(r)
	r.Header.Set("X-A", strings.Repeat("a", 100))
	if n := HeaderBytes(r) - before; n != 107 {
		t.Error(n)
	}
}
