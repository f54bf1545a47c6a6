// Package pressure puts the real daemon where machines end: open files, room on drives, connections, memory; and at each limit of docs/limits.md, and one
// beyond.
//
// Promise: what is too much is refused with a clear error, everybody else is served meanwhile, nothing crashes, deletes work on full drives, and memory
// and goroutines come back to where they were.
//
// The package knows S3, the metrics and the process. It does not know how the daemon bounds anything.
package pressure

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/gateways/s3/sigv4"
	"holdfast/tests/daemontest"
)

// Client sends signed requests.
type Client struct {
	URL  string
	HTTP *http.Client
}

// NewClient returns a client of a daemon, which ends with the test.
func NewClient(t *testing.T, d *daemontest.Daemon) *Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, ExpectContinueTimeout: 20 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return &Client{URL: d.URL(), HTTP: &http.Client{Transport: transport, Timeout: 90 * time.Second}}
}

// Ask is a request.
type Ask struct {
	Method, Target string // Target is a path with its query, as it is sent
	Body           []byte
	Headers        []string      // names and values in turn
	Skew           time.Duration // of the client's clock
	// Length is a Content-Length of which nothing is sent, if it is not 0; the body is not signed then. Unless Eager is set the server is
	// asked first whether it wants the body.
	Length int64
	Eager  bool
}

// Request makes the signed request.
func (c *Client) Request(a Ask) (*http.Request, error) {
	var body io.Reader = bytes.NewReader(a.Body)
	payload := sigv4.PayloadHash(a.Body)
	if a.Length != 0 {
		body, payload = &nothing{}, "UNSIGNED-PAYLOAD"
	}
	r, err := http.NewRequest(a.Method, c.URL+a.Target, body)
	if err != nil {
		return nil, err
	}
	if a.Length != 0 {
		r.ContentLength = a.Length
		if !a.Eager {
			r.Header.Set("Expect", "100-continue")
		}
	}
	for i := 0; i < len(a.Headers); i += 2 {
		r.Header.Add(a.Headers[i], a.Headers[i+1])
	}
	signer := sigv4.Signer{AccessKey: daemontest.User, SecretKey: daemontest.Password, Region: "us-east-1"}
	_, err = signer.Sign(r, payload, time.Now().Add(a.Skew))
	return r, err
}

// nothing is a body of which nothing should be read.
type nothing struct{}

func (*nothing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Answer is what came back.
type Answer struct {
	Status int
	Code   string // of the error, if it is one
	Header http.Header
	Body   []byte
}

// String is the status, and the code if there is one.
func (a Answer) String() string { return strings.TrimSpace(fmt.Sprint(a.Status, " ", a.Code)) }

// Do sends a request and reads the answer.
func (c *Client) Do(a Ask) (Answer, error) {
	r, err := c.Request(a)
	if err != nil {
		return Answer{}, err
	}
	response, err := c.HTTP.Do(r)
	if err != nil {
		return Answer{}, err
	}
	return answerOf(response)
}

// answerOf reads an answer to its end.
func answerOf(response *http.Response) (Answer, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	answer := Answer{Status: response.StatusCode, Header: response.Header, Body: body}
	if response.StatusCode >= 400 {
		var fault struct{ Code string }
		_ = xml.Unmarshal(body, &fault) // what is no document has no code
		answer.Code = fault.Code
	}
	return answer, err
}

// Must is Do that demands the status.
func (c *Client) Must(t *testing.T, status int, a Ask) Answer {
	t.Helper()
	answer, err := c.Do(a)
	if err != nil || answer.Status != status {
		t.Fatalf("%s %.100s: %v %v, want %d: %.500s", a.Method, a.Target, answer, err, status, answer.Body)
	}
	return answer
}

// memory returns a line of /proc/pid/status in bytes: VmRSS, or VmHWM for the most so far.
func memory(t *testing.T, process int, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return kib << 10
}

// metric reads a metric without labels from the address of the metrics.
func metric(t *testing.T, address, name string) float64 {
	t.Helper()
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
