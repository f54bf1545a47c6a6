package gateways_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast/daemon/certs"
	"holdfast/gateways"
	"holdfast/tests/certificates"
)

// secured serves, over TLS, what a request was seen as. It returns the address and how to reach it.
func secured(t *testing.T, l gateways.Limits) (string, *tls.Config) {
	t.Helper()
	a, dir := certificates.New(t), t.TempDir()
	a.Write(dir, certificates.ECDSA(t), "localhost")
	folder, err := certs.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := gateways.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := gateways.GuardBody(w, r, l)
		defer body.Release()
		framing := gateways.FramingOf(r)
		n, err := io.Copy(io.Discard, body)
		fmt.Fprintf(gateways.GuardAnswer(w, l), "%s %t %d %d %v", r.Proto, r.TLS != nil && r.TLS.ServerName == "localhost", framing, n, err)
	}), l, nil)
	done := make(chan bool)
	go func() {
		defer close(done)
		server.Serve(gateways.Watch(gateways.Secure(listener, folder.TLS("http/1.1"), l, nil)))
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return listener.Addr().String(), &tls.Config{RootCAs: a.Pool(), ServerName: "localhost", NextProtos: []string{"h2", "http/1.1"}}
}

// TestSecure asks over TLS, several times on a connection, with bodies of every framing.
func TestSecure(t *testing.T) {
	address, config := secured(t, gateways.DefaultLimits())
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if p := conn.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("agreed on %q", p)
	}
	in := bufio.NewReader(conn)
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n": "HTTP/1.1 true 0 0 <nil>",
		"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("x", 40000): "HTTP/1.1 true 0 40000 <nil>",
	} {
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(response.Body); string(body) != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
	chunked, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer chunked.Close()
	chunked.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(chunked, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	if response, err := http.ReadResponse(bufio.NewReader(chunked), nil); err != nil {
		t.Fatal(err)
	} else if body, _ := io.ReadAll(response.Body); string(body) != "HTTP/1.1 true 0 3 <nil>" {
		t.Errorf("chunks within TLS: %q, want a clear framing", body)
	}
	smuggled := "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	if _, err := io.WriteString(conn, smuggled); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(response.Body); string(body) != "HTTP/1.1 true 2 0 <nil>" {
		t.Errorf("an ambiguous body within TLS: %q", body)
	}
}

// TestSlowWithinTLS wants that limits hold within TLS as without it.
func TestSlowWithinTLS(t *testing.T) {
	l := gateways.DefaultLimits()
	l.HeaderTime, l.SlowWindow, l.SlowBytes = 150*time.Millisecond, 100*time.Millisecond, 10
	address, config := secured(t, l)
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(response.Body); !strings.Contains(string(body), gateways.ErrSlow.Error()) {
		t.Errorf("a slow body: %q", body)
	}
	silent, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	silent.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := silent.Read(make([]byte, 1)); n != 0 || err == nil || isTimeout(err) {
		t.Errorf("who makes no handshake is not cut: %d, %v", n, err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// TestPlainToTLS wants a clear answer for who forgot https, and none for who speaks something else.
func TestPlainToTLS(t *testing.T) {
	address, _ := secured(t, gateways.DefaultLimits())
	response, err := http.Get("http://" + address + "/bucket/key")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 400 || !strings.Contains(string(body), "must begin with https://") {
		t.Errorf("plain HTTP: %d %q %v", response.StatusCode, body, err)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "HELO example\r\n")
	if answer, err := io.ReadAll(conn); strings.Contains(string(answer), "HTTP") || isTimeout(err) {
		t.Errorf("something else: %q, %v", answer, err)
	}
}
