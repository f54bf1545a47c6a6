package gateways

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Admission bounds the connections of listeners: all together, and those from one address. One too many is answered 503 and closed, so that it costs
// neither the drives their files nor other clients their place.
type Admission struct {
	total, perAddress int // 0: no bound

	refused atomic.Uint64

	mu    sync.Mutex // guards all below
	open  int
	of    map[netip.Addr]int
	parts int // refused connections that are being parted from
}

// NewAdmission returns an Admission; a bound of 0 is none.
func NewAdmission(total, perAddress int) *Admission {
	return &Admission{total: total, perAddress: perAddress, of: map[netip.Addr]int{}}
}

// Open returns how many connections there are, and Refused how many were one too many.
func (a *Admission) Open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open
}

// Refused is said at Open.
func (a *Admission) Refused() uint64 { return a.refused.Load() }

// Listen returns l with connections that were admitted. Plain says that clients speak HTTP right away, and can be told; others are only cut. Secure and
// Watch go around it.
func (a *Admission) Listen(l net.Listener, plain bool) net.Listener {
	return &admitting{Listener: l, admission: a, plain: plain}
}

type admitting struct {
	net.Listener
	admission *Admission
	plain     bool
	parting   sync.WaitGroup
}

func (l *admitting) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := addressOf(c)
		if l.admission.enter(address) {
			return &admitted{Conn: c, leave: sync.OnceFunc(func() { l.admission.leave(address) })}, nil
		}
		l.admission.refused.Add(1)
		l.part(c)
	}
}

// Close closes the listener and waits for those that are being parted from.
func (l *admitting) Close() error {
	err := l.Listener.Close()
	l.parting.Wait()
	return err
}

const (
	// partingMax bounds the refused connections that are given time to read why; the others are cut.
	partingMax = 16
	// partingTime is that time: a connection that is closed while bytes come in is reset, and what was sent on it may be lost.
	partingTime = time.Second
)

// tooMany is what a client is told.
const tooMany = "HTTP/1.1 503 Slow Down\r\nServer: Holdfast\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 60\r\n\r\n" +
	"There are too many connections. Close some, then try again.\n"

// part tells a client that it is one too many, and closes its connection.
func (l *admitting) part(c net.Conn) {
	if !l.plain || !l.admission.mayPart() {
		_ = c.Close() // refused
		return
	}
	l.parting.Go(func() {
		defer l.admission.parted()
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(partingTime))
		if _, err := io.WriteString(c, tooMany); err != nil {
			return
		}
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // who has gone has gone
		}
		_, _ = io.CopyN(io.Discard, c, passedOver) // until the client closes, or the time is up
	})
}

func (a *Admission) mayPart() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.parts == partingMax {
		return false
	}
	a.parts++
	return true
}

func (a *Admission) parted() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parts--
}

// enter counts a connection if it may be.
func (a *Admission) enter(address netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.total > 0 && a.open >= a.total || a.perAddress > 0 && a.of[address] >= a.perAddress {
		return false
	}
	a.open++
	a.of[address]++
	return true
}

func (a *Admission) leave(address netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	if a.of[address]--; a.of[address] == 0 {
		delete(a.of, address)
	}
}

// addressOf is what connections are counted by: the address of an IPv4 client, the /64 of an IPv6 client, which has as many addresses there as it likes.
func addressOf(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	if address.Is6() && !address.IsLoopback() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return address
}

// admitted is a connection that is counted until it is closed.
type admitted struct {
	net.Conn
	leave func()
}

func (c *admitted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
