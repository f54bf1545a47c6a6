package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast/cli/bench"
	"holdfast/gateways/s3/sigv4"
)

// echoConfig says where an echo listens, and which objects it seems to have.
type echoConfig struct {
	Address string
	Sizes   []int64
}

// echoMax is the size of the largest objects that the echo has.
const echoMax = 1 << 20

// echoKind is a server that is nothing but Go's HTTP, with the signature of each request and the sum of each body verified: what it reaches
// under a load is what any server over HTTP could at best reach with the same clients on the same machine.
func echoKind(p plan) kind {
	c := echoConfig{}
	for _, cell := range p.cells {
		if echoes(cell) {
			c.Sizes = append(c.Sizes, cell.size)
		}
	}
	return kind{
		name: "echo",
		arguments: func(p place) []string {
			c.Address = p.address
			return taskArguments("child-echo", c)
		},
		ready: "/ready",
		loads: echoes,
	}
}

// echoes reports whether an echo can be put under a cell's load.
func echoes(c cell) bool { return (c.verb == put || c.verb == get) && c.size <= echoMax }

// echo answers every GET with what was put there, if it has the size, without that anything was put; it reads other bodies and forgets them.
type echo struct {
	verifier sigv4.Verifier
	contents bench.Payloads
	sizes    map[string]int64 // by what objectKey calls them
	buffers  sync.Pool
}

func serveEcho(ctx context.Context, c echoConfig) error {
	e := &echo{
		verifier: sigv4.Verifier{Region: region, Now: time.Now, Secret: func(key string) (string, bool) { return password, key == user }},
		contents: bench.NewPayloads(c.Sizes, 0, ""), sizes: map[string]int64{},
		buffers: sync.Pool{New: func() any { return new([256 << 10]byte) }},
	}
	for _, size := range c.Sizes {
		e.sizes[shortSize(size)] = size
	}
	server := &http.Server{Addr: c.Address, Handler: e, ReadHeaderTimeout: 10 * time.Second}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() }) // nobody is served any more
	defer stopped()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, err := e.answer(w, r)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		http.Error(w, err.Error(), status)
	}
}

func (e *echo) answer(w http.ResponseWriter, r *http.Request) (status int, err error) {
	query, err := sigv4.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return http.StatusBadRequest, err
	}
	signed, err := e.verifier.Verify(r, r.URL.EscapedPath(), query)
	if err != nil {
		return http.StatusForbidden, err
	}
	if r.Method == http.MethodPut {
		body, err := signed.Body(r.Body, r.ContentLength)
		if err != nil {
			return http.StatusBadRequest, err
		}
		buffer := e.buffers.Get().(*[256 << 10]byte)
		defer e.buffers.Put(buffer)
		if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{body}, buffer[:]); err != nil {
			return http.StatusBadRequest, err
		}
		w.Header()["ETag"] = []string{`"echo"`}
		return 0, nil
	}
	content, err := e.find(r.URL.Path)
	if err != nil {
		return http.StatusNotFound, err
	}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(content))}
	_, _ = w.Write(content) // the client sees it if this comes short
	return 0, nil
}

// find returns the content of /BUCKET/SIZE/DIRECTORY/LEAF, see objectKey; other paths have none.
func (e *echo) find(path string) ([]byte, error) {
	parts := strings.Split(path, "/")
	if len(parts) != 5 {
		return nil, nil
	}
	size, known := e.sizes[parts[2]]
	directory, err := strconv.ParseInt(parts[3], 10, 64)
	leaf, errLeaf := strconv.ParseInt(parts[4], 10, 64)
	if err = errors.Join(err, errLeaf); err != nil || !known {
		return nil, fmt.Errorf("the echo has no %s: %w", path, err)
	}
	return e.contents.Of(size, directory*1000+leaf).Body, nil
}
