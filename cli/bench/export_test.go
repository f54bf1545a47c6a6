package bench

import (
	"context"
	"net"
	"net/http"
)

// DialTo makes all connections go to one address, whatever the server's name is.
func (c *Client) DialTo(address string) {
	c.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}
