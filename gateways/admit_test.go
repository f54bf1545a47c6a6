package gateways

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestAdmission: one connection too many is told so, whatever it sends, and the next one after a close is served.
func TestAdmission(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := NewAdmission(3, 2)
	l := a.Listen(listener, true)
	accepted := make(chan net.Conn)
	done := make(chan error)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				done <- err
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	first := <-accepted
	dial()
	<-accepted
	third := dial()
	if _, err := io.WriteString(third, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	third.SetDeadline(time.Now().Add(5 * time.Second))
	answer, err := io.ReadAll(third)
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	if err != nil || !strings.HasPrefix(head, "HTTP/1.1 503 ") || !strings.Contains(head, "Content-Length: 60") || len(body) != 60 {
		t.Errorf("one too many is answered %q, %v", answer, err)
	}
	first.Close()
	first.Close() // counts once
	dial()
	<-accepted
	if a.Open() != 2 || a.Refused() != 1 {
		t.Errorf("%d open, %d refused", a.Open(), a.Refused())
	}
	l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestAddressOf: the addresses that one client of IPv6 has are one.
func TestAddressOf(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false}, {"::ffff:192.0.2.1", "192.0.2.1", true}, {"2001:db8::1", "2001:db8::ffff:2", true}, {"2001:db8:0:1::1", "2001:db8::1", false}} {
		if same := addressOf(from(c.a)) == addressOf(from(c.b)); same != c.same {
			t.Errorf("%s and %s: one client %v", c.a, c.b, same)
		}
	}
}

// from is a connection from an address.
type from string

func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(string(f))} }

func (from) Read([]byte) (int, error)         { return 0, io.EOF }
func (from) Write([]byte) (int, error)        { return 0, io.EOF }
func (from) Close() error                     { return nil }
func (from) LocalAddr() net.Addr              { return nil }
func (from) SetDeadline(time.Time) error      { return nil }
func (from) SetReadDeadline(time.Time) error  { return nil }
func (from) SetWriteDeadline(time.Time) error { return nil }
