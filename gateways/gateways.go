// Package gateways says what a gateway is: something that speaks a protocol with clients and calls the engine through a session.
// It also holds what all gateways over HTTP share: the limits of a server, and the watch over slow bodies and ambiguous framing.
//
// Promise: a client that is slow, endless or ambiguous costs a bounded amount of memory and time.
//
// The package does not know any protocol beyond HTTP itself, and it owns no listener: daemon opens and closes those.
package gateways

import "time"

// Gateway is one protocol.
type Gateway interface {
	// Name is how configuration, logs and metrics call it: "s3".
	Name() string
}

// Limits bound what one connection over HTTP may cost.
type Limits struct {
	HeaderBytesMax int           // request line and headers together
	HeaderTime     time.Duration // to receive them
	IdleTime       time.Duration // between two requests of a connection
	// SlowWindow and SlowBytes: a body that brings fewer than SlowBytes in SlowWindow of waiting is cut.
	SlowWindow time.Duration
	SlowBytes  int64
	// WriteTime is how long one piece of an answer may wait for the client to take it.
	WriteTime time.Duration
}

// DefaultLimits are those of a gateway that is not told otherwise: headers of 16 KiB within 10 s; bodies no slower than 1 KiB/s
// over 30 s.
func DefaultLimits() Limits {
	return Limits{HeaderBytesMax: 16 << 10, HeaderTime: 10 * time.Second, IdleTime: 2 * time.Minute, SlowWindow: 30 * time.Second,
		SlowBytes: 30 << 10, WriteTime: 2 * time.Minute}
}
