package pressure

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/tests/daemontest"
)

// idle are connections that did one request.
type idle struct {
	served  []net.Conn
	refused int
}

// keepIdle opens connections, and has each do a request.
func keepIdle(t *testing.T, d *daemontest.Daemon, count int) *idle {
	t.Helper()
	var all idle
	var mu sync.Mutex
	var wait sync.WaitGroup
	next := make(chan bool)
	for range 32 {
		wait.Go(func() {
			for range next {
				c, served, err := greet(d.Address)
				mu.Lock()
				switch {
				case served:
					all.served = append(all.served, c)
				case err == nil || errors.Is(err, unix.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF):
					all.refused++
				default:
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	for range count {
		next <- true
	}
	close(next)
	wait.Wait()
	t.Cleanup(all.close)
	return &all
}

// greet opens a connection and does a request that needs nothing; not served is told with 503 or a closed connection.
func greet(address string) (c net.Conn, served bool, err error) {
	if c, err = net.DialTimeout("tcp", address, 20*time.Second); err != nil {
		return nil, false, err
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(c, "GET /minio/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
	var response *http.Response
	if err == nil {
		response, err = http.ReadResponse(bufio.NewReader(c), nil)
	}
	if err != nil || response.StatusCode != http.StatusOK {
		c.Close()
		return nil, false, err
	}
	return c, true, nil
}

func (i *idle) close() {
	for _, c := range i.served {
		c.Close()
	}
	i.served = nil
}

// slow are connections on which a client takes its time.
type slow struct {
	mu    sync.Mutex
	conns []net.Conn
	stop  chan bool
	wait  sync.WaitGroup
	// When the daemon had enough of each, since its begin.
	cut []time.Duration
}

// drip sends a byte a second until the daemon closes the connection, or the test has seen enough.
func (s *slow) drip(t *testing.T, address, head string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err == nil {
		_, err = io.WriteString(c, head)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	begin := time.Now()
	s.wait.Go(func() {
		gone := make(chan bool)
		s.wait.Go(func() {
			defer close(gone)
			_, _ = io.Copy(io.Discard, c) // until it is closed, by whom is told apart by stop
		})
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-gone:
				s.mu.Lock()
				s.cut = append(s.cut, time.Since(begin))
				s.mu.Unlock()
				return
			case <-tick.C:
				_, _ = io.WriteString(c, "x") // it is gone soon if that fails
			}
		}
	})
}

func (s *slow) end() {
	close(s.stop)
	for _, c := range s.conns {
		c.Close()
	}
	s.wait.Wait()
}

func (s *slow) cuts() (count int, least, most time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	least = time.Hour
	for _, d := range s.cut {
		least, most = min(least, d), max(most, d)
	}
	return len(s.cut), least, most
}

// What TestManyConnections holds the daemon under. Bodies and answers that are slow keep their share of the budget of memory, which has room for a quarter of
// them: those that keep others waiting are cut.
const (
	idleCount    = 10_000
	slowHeaders  = 400
	slowBodies   = 300
	slowReaders  = 300
	memoryBudget = "256MiB"
	memoryMost   = 900 << 20 // resident
	heapMore     = 64 << 20  // afterwards: buffers are kept for those who come next, within a bound
)

// TestManyConnections: 10,000 idle and 1,000 slow connections do not keep others from being served; the slow ones are cut in time, and in the end
// memory and goroutines are what they were.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < idleCount+2000 {
		t.Fatalf("this test needs %d open files: %v %v; raise the limit with ulimit -n", idleCount+2000, limit, err)
	}
	d := daemontest.New(t)
	metrics, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := metrics.Addr().String()
	metrics.Close()
	d.Args = []string{"--connections-per-address", "off", "--metrics-address", address, "--memory", memoryBudget}
	d.Start()
	c := NewClient(t, d)
	large := make([]byte, 16<<20)
	c.Must(t, 200, Ask{Method: "PUT", Target: "/bucket"})
	c.Must(t, 200, Ask{Method: "PUT", Target: "/bucket/large", Body: large})
	work := func() (longest time.Duration) {
		body := make([]byte, 64<<10)
		for i := range 40 {
			begin := time.Now()
			target := fmt.Sprint("/bucket/key", i)
			c.Must(t, 200, Ask{Method: "PUT", Target: target, Body: body})
			if got := c.Must(t, 200, Ask{Method: "GET", Target: target}); !bytes.Equal(got.Body, body) {
				t.Error("another body came back")
			}
			longest = max(longest, time.Since(begin))
		}
		return longest
	}
	work()
	var warm sync.WaitGroup // buffers that are kept for those who come next belong to the start
	for i := range 48 {
		warm.Go(func() {
			for _, a := range []Ask{{Method: "PUT", Target: fmt.Sprint("/bucket/warm", i), Body: large[:4<<20]}, {Method: "GET", Target: "/bucket/large"}} {
				if answer, err := c.Do(a); err != nil || answer.Status != 200 {
					t.Errorf("%s: %v %v", a.Method, answer, err)
				}
			}
		})
	}
	warm.Wait()
	goroutines, heap := settled(t, c, address, 0, 0)
	resident := memory(t, d.Process(), "VmRSS")

	idle := keepIdle(t, d, idleCount)
	headers, bodies, readers := &slow{stop: make(chan bool)}, &slow{stop: make(chan bool)}, &slow{stop: make(chan bool)}
	ended := sync.OnceFunc(func() { headers.end(); bodies.end(); readers.end() })
	t.Cleanup(ended)
	for range slowHeaders {
		headers.drip(t, d.Address, "GET /bucket/key0 HTTP/1.1\r\nHost: h\r\nX-Slow: ")
	}
	for i := range slowBodies {
		r, err := c.Request(Ask{Method: "PUT", Target: fmt.Sprint("/bucket/slow", i), Length: 1 << 20, Eager: true})
		if err != nil {
			t.Fatal(err)
		}
		bodies.drip(t, d.Address, head(t, r))
	}
	reading := startReaders(t, c, d.Address, slowReaders)
	t.Logf("%d idle, %d slow connections; the daemon counts %.0f", len(idle.served), slowHeaders+slowBodies+len(reading), metric(t, address, "holdfast_s3_connections"))
	if len(idle.served) != idleCount || idle.refused != 0 {
		t.Errorf("%d of %d idle connections were served", len(idle.served), idleCount)
	}
	longest := work()
	under := memory(t, d.Process(), "VmRSS")
	for deadline := time.Now().Add(65 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		a, _, _ := headers.cuts()
		b, _, _ := bodies.cuts()
		if a == slowHeaders && b == slowBodies {
			break
		}
	}
	longest = max(longest, work())
	for _, s := range []struct {
		name        string
		of          *slow
		count       int
		least, most time.Duration
	}{{"headers", headers, slowHeaders, 8 * time.Second, 16 * time.Second}, {"bodies", bodies, slowBodies, 2 * time.Second, 65 * time.Second}} {
		count, least, most := s.of.cuts()
		t.Logf("slow %s: %d cut after %.1f to %.1f s", s.name, count, least.Seconds(), most.Seconds())
		if count != s.count || least < s.least || most > s.most {
			t.Errorf("slow %s: %d of %d were cut, after %v to %v", s.name, count, s.count, least, most)
		}
	}
	peak := memory(t, d.Process(), "VmHWM")
	idle.close()
	ended()
	for _, conn := range reading {
		conn.Close()
	}
	c.HTTP.CloseIdleConnections()
	goroutinesAfter, heapAfter := settled(t, c, address, goroutines+20, heap+heapMore)
	t.Logf("another client waited %v at most for a put and a get of 64 KiB", longest.Round(time.Millisecond))
	t.Logf("resident MiB: %d before, %d under it, %d at most, %d afterwards; heap MiB %.0f before, %.0f afterwards; goroutines %.0f before, %.0f afterwards", resident>>20, under>>20, peak>>20,
		memory(t, d.Process(), "VmRSS")>>20, heap/(1<<20), heapAfter/(1<<20), goroutines, goroutinesAfter)
	if goroutinesAfter > goroutines+20 || heapAfter > heap+heapMore {
		t.Error("they do not come back")
	}
	if peak > memoryMost {
		t.Errorf("%d MiB were resident; at most %d are expected", peak>>20, memoryMost>>20)
	}
	if longest > 30*time.Second {
		t.Errorf("another client waited %v", longest)
	}
	d.Stop()
}

// settled waits until goroutines and the live heap are at most what is given, for a while, and returns what they are. Zero: what they are after some
// collections. The runtime collects when enough is allocated, so documents are sent meanwhile that are read and refused.
func settled(t *testing.T, c *Client, address string, goroutines, heap float64) (g, h float64) {
	t.Helper()
	document := bytes.Repeat([]byte(" "), 1<<20)
	h = math.Inf(1)
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); {
		before := metric(t, address, "go_gc_duration_seconds_count")
		for metric(t, address, "go_gc_duration_seconds_count") < before+2 && time.Now().Before(deadline) {
			c.Must(t, 400, Ask{Method: "POST", Target: "/bucket?delete", Body: document, Headers: []string{"Content-Md5", md5Of(document)}})
		}
		c.HTTP.CloseIdleConnections()
		time.Sleep(50 * time.Millisecond) // goroutines of connections that were closed end; how many is what is asked
		g, h = metric(t, address, "go_goroutines"), min(h, metric(t, address, "go_memstats_heap_alloc_bytes"))
		if goroutines == 0 || g <= goroutines && h <= heap {
			break
		}
	}
	return g, h
}

func md5Of(b []byte) string {
	sum := md5.Sum(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// head is a request's line and header as they are sent.
func head(t *testing.T, r *http.Request) string {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.Method, r.URL.RequestURI(), r.URL.Host, r.ContentLength)
	if err := r.Header.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String() + "\r\n"
}

// startReaders asks for a large object on many connections and does not read.
func startReaders(t *testing.T, c *Client, address string, count int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, count)
	t.Cleanup(func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	})
	for i := range conns {
		r, err := c.Request(Ask{Method: "GET", Target: "/bucket/large"})
		if err != nil {
			t.Fatal(err)
		}
		if conns[i], err = net.Dial("tcp", address); err == nil {
			err = errors.Join(conns[i].(*net.TCPConn).SetReadBuffer(4096), write(conns[i], head(t, r)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return conns
}

func write(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}

// TestConnectionsOfOneAddress: one address gets what the setting says, and the next connection hears 503.
func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	d := daemontest.New(t)
	d.Args = []string{"--connections-per-address", "50"}
	d.Start()
	all := keepIdle(t, d, 80)
	if len(all.served) > 50 || len(all.served) < 45 || all.refused != 80-len(all.served) {
		t.Errorf("%d were served, %d refused", len(all.served), all.refused)
	}
	all.close()
	d.Stop()
}

// TestMemory: far more large puts and gets than the budget of memory has room for are served or told to slow down, and the process stays small.
func TestMemory(t *testing.T) {
	t.Parallel()
	const budget, most = 16 << 20, 220 << 20
	d := daemontest.New(t)
	d.Args = []string{"--memory", "16MiB"}
	d.Start()
	c := NewClient(t, d)
	body := make([]byte, 8<<20)
	for i := range body {
		body[i] = byte(i >> 12)
	}
	c.Must(t, 200, Ask{Method: "PUT", Target: "/bucket"})
	var wait sync.WaitGroup
	var served, slowed atomic.Int64
	for i := range 96 {
		wait.Go(func() {
			for _, method := range []string{"PUT", "GET"} {
				a := Ask{Method: method, Target: fmt.Sprint("/bucket/key", i)}
				if method == "PUT" {
					a.Body = body
				}
				answer, err := c.Do(a)
				switch {
				case err != nil:
					t.Errorf("%s: %v", method, err)
				case answer.Status == 200 && (method == "PUT" || bytes.Equal(answer.Body, body)):
					served.Add(1)
				case answer.Status == 503 && answer.Code == "SlowDown":
					slowed.Add(1)
				case answer.Status == 404 && method == "GET": // its put was told to slow down
				default:
					t.Errorf("%s: %v, %d bytes", method, answer, len(answer.Body))
				}
			}
		})
	}
	wait.Wait()
	peak := memory(t, d.Process(), "VmHWM")
	t.Logf("%d of 192 requests of 8 MiB at a time with a budget of %d MiB were served, %d told to slow down; %d MiB were resident at most", served.Load(), budget>>20, slowed.Load(), peak>>20)
	if served.Load() < 20 {
		t.Error("too few were served")
	}
	if peak > most {
		t.Errorf("more than %d MiB were resident", most>>20)
	}
	d.Stop()
}
