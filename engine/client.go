package engine

import "context"

// Client is who sends the body of a call and takes its answer. An engine that lends it memory meanwhile may ask that this ends, because others
// wait for the memory: the read of the body, or the write of the answer, that is under way fails soon. Both may be called at any time.
type Client interface {
	CutBody()
	CutAnswer()
}

type clientKey struct{}

// WithClient returns a context of a call whose client can be cut off.
func WithClient(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// ClientOf returns the client of a call; nil if it cannot be cut off.
func ClientOf(ctx context.Context) Client {
	c, _ := ctx.Value(clientKey{}).(Client)
	return c
}
