package gateways

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
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
		fmt.Fprintf(GuardAnswer(w, l), "%d %v%s", framing, errors.Is(err, ErrSlow), expected(r))
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

// expected is what a request expects beside 100-continue.
func expected(r *http.Request) string {
	if value := r.Header.Get("Expect"); value != "" && !strings.EqualFold(value, "100-continue") {
		return " " + value
	}
	return ""
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

// TestExpect: what a header expects beside 100-continue is passed over, as long as it is not so far ahead of the header's end that the server has it.
func TestExpect(t *testing.T) {
	conn := echo(t, DefaultLimits(), true)
	for expect, seen := range map[string]string{"Expect: 200": " 200", "expect:\t200-ok ": " 200-ok", "EXPECT:x": " x", "Expect:": ""} {
		answers(t, conn, "PUT /x HTTP/1.1\r\nHost: h\r\n"+expect+"\r\nContent-Length: 2\r\n\r\nab", "0 false"+seen)
	}
	answers(t, conn, "PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\nab", "", "0 false")
	// It stands in the body, or in a path, and is left alone.
	answers(t, conn, "PUT /expect: HTTP/1.1\r\nHost: h\r\nContent-Length: 17\r\n\r\n\r\nExpect: 200 \r\n\r\n", "0 false")
}

func TestHideExpect(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: h\r\nExpect: 200\r\nA: b\r\n\r\n"
	name := strings.Index(head, "Expect")
	for cut := range len(head) {
		end := []byte(head[cut:])
		hideExpect([]byte(head), end)
		want := head[cut:]
		if cut <= name {
			want = strings.Replace(want, "Expect", hiddenExpect, 1)
		}
		if string(end) != want {
			t.Fatalf("cut at %d: %q, not %q", cut, end, want)
		}
	}
}

// TestRefuse: a client that first sends all of a large body, and only then reads, hears why it was refused.
func TestRefuse(t *testing.T) {
	limits := DefaultLimits()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := GuardBody(w, r, limits)
		if _, err := io.CopyN(io.Discard, body, 1000); err != nil {
			t.Error(err)
		}
		body.Refuse(w, func() { w.WriteHeader(http.StatusTeapot) })
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(handler, limits, nil)
	done := make(chan bool)
	go func() { defer close(done); server.Serve(Watch(listener)) }()
	defer func() { server.Close(); <-done }()
	for _, length := range []int{1000, 2000, 300_000, 50 << 20} {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(conn, "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", length)
		if _, err := conn.Write(make([]byte, length)); err != nil {
			t.Errorf("%d bytes: %v", length, err)
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%d bytes: %v", length, err)
		}
		if response.StatusCode != http.StatusTeapot || response.Close != (length >= 300_000) {
			t.Errorf("%d bytes: %v, close %v", length, response.Status, response.Close)
		}
		conn.Close()
	}
}

func TestFramingOf(t *testing.T) {
	const head = "PUT /x HTTP/1.1\r\nHost: h\r\n"
	const chunks = "Transfer-Encoding: chunked\r\n"
	const empty = "0\r\n\r\n"
	fresh := func() net.Conn { return echo(t, DefaultLimits(), true) }
	t.Run("one after the other", func(t *testing.T) {
		conn := fresh()
		for range 3 {
			answers(t, conn, head+"Content-Length: 2\r\n\r\nab", "0 false")
			answers(t, conn, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", "0 false")
		}
		answers(t, conn, head+chunks+"\r\n"+empty, "0 false")
		answers(t, conn, head+chunks+"\r\n"+empty, "1 false") // where chunks end is not known
		answers(t, conn, head+"Content-Length: 2\r\n\r\nab", "0 false")
	})
	t.Run("both", func(t *testing.T) {
		answers(t, fresh(), head+chunks+"content-length: 0\r\n\r\n"+empty, "2 false")
		conn := fresh()
		answers(t, conn, head+"Content-Length: 2\r\n\r\nab", "0 false")
		answers(t, conn, head+"Content-Length: 2\r\n"+chunks+"\r\n"+empty, "2 false")
	})
	t.Run("beyond what is kept", func(t *testing.T) {
		answers(t, fresh(), head+"X: "+strings.Repeat("a", 30<<10)+"\r\n"+chunks+"Content-Length: 0\r\n\r\n"+empty, "1 false")
	})
	t.Run("pipelined", func(t *testing.T) {
		answers(t, fresh(), head+"Content-Length: 2\r\n\r\nab"+head+chunks+"\r\n"+empty, "0 false", "1 false")
		answers(t, fresh(), head+chunks+"\r\n"+empty+head+chunks+"\r\n"+empty, "0 false", "1 false")
	})
	t.Run("split so that a value passes for a header", func(t *testing.T) {
		conn := fresh()
		answers(t, conn, head+"Content-Length: 2\r\n\r\nab"+head+chunks+"Content-Length: 0\r\nX: ", "0 false")
		answers(t, conn, "PUT /x HTTP/1.1\r\n\r\n"+empty, "1 false")
	})
	t.Run("not watched", func(t *testing.T) {
		answers(t, echo(t, DefaultLimits(), false), head+chunks+"\r\n"+empty, "1 false")
	})
	t.Run("bare newlines", func(t *testing.T) {
		answers(t, fresh(), "PUT /x HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n"+empty, "0 false")
		answers(t, fresh(), "PUT /x HTTP/1.1\nHost: h\nContent-Length: 0\nTransfer-Encoding: chunked\n\n"+empty, "2 false")
	})
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

// TestCut: the read of a body, and the write of an answer, that are under way end when they are cut; an answer that nobody takes ends by itself.
func TestCut(t *testing.T) {
	limits := DefaultLimits()
	limits.WriteTime = 200 * time.Millisecond
	patient := DefaultLimits()
	endless := func(w io.Writer) (err error) {
		for piece := make([]byte, 1<<20); err == nil; {
			_, err = w.Write(piece)
		}
		return err
	}
	for name, c := range map[string]struct {
		serve func(g *GuardedBody, w http.ResponseWriter) error
		want  error
	}{
		"a body that is cut": {func(g *GuardedBody, _ http.ResponseWriter) error {
			time.AfterFunc(50*time.Millisecond, g.CutBody)
			_, err := io.Copy(io.Discard, g)
			return err
		}, ErrCrowded},
		"a body that was cut before": {func(g *GuardedBody, _ http.ResponseWriter) error {
			g.CutBody()
			_, err := g.Read(make([]byte, 1))
			return err
		}, ErrCrowded},
		"an answer that is cut": {func(g *GuardedBody, w http.ResponseWriter) error {
			time.AfterFunc(50*time.Millisecond, g.CutAnswer)
			return endless(GuardAnswer(w, patient))
		}, os.ErrDeadlineExceeded},
		"an answer that nobody takes": {func(_ *GuardedBody, w http.ResponseWriter) error { return endless(GuardAnswer(w, limits)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ended <- c.serve(GuardBody(w, r, patient), w)
			}))
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			request := "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nab"
			if c.want != ErrCrowded {
				request = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
			}
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				if !errors.Is(err, c.want) {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("it goes on")
			}
		})
	}
}
