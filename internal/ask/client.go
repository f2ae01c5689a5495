package ask

import (
	"context"
	"errors"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// ErrClosed: the *clientv3.Client was closed. Nothing that stands on it can go on.
var ErrClosed = errors.New("the etcd client was closed")

// Client is what all handles on one *clientv3.Client share. Its methods may be called from any
// goroutine.
type Client struct {
	cli     *clientv3.Client
	main    *grpc.ClientConn // nil: a client without connections, as NewCtxClient makes
	conns   conns
	outage  outage
	closing closing
	values  sync.Map // see Shared
}

// clients has the state of each client that is not closed. See docs/adr/0005.
var clients sync.Map // *clientv3.Client → *Client

// Of returns the state of a client. It sends nothing.
func Of(cli *clientv3.Client) *Client {
	if c, ok := clients.Load(cli); ok {
		return c.(*Client)
	}
	return adopt(cli, nil)
}

// adopt makes the state of a client, if nothing has made it before.
func adopt(cli *clientv3.Client, d *Dialer) *Client {
	c := &Client{cli: cli, main: cli.ActiveConnection()}
	c.conns.open = make(map[string]*conn)
	c.outage.dialer = d
	if cli.Ctx().Err() != nil {
		return c // closed for good: not to be kept
	}
	if had, loaded := clients.LoadOrStore(cli, c); loaded {
		return had.(*Client)
	}
	context.AfterFunc(cli.Ctx(), func() {
		clients.Delete(cli)
		c.conns.closeAll()
	})
	if c.main != nil {
		go c.watchConnection() // ends with the client
	}
	return c
}

// Done is closed when the client is.
func (c *Client) Done() <-chan struct{} { return c.cli.Ctx().Done() }

// Err is nil, or ErrClosed once the client is closed.
func (c *Client) Err() error {
	if c.cli.Ctx().Err() != nil {
		return ErrClosed
	}
	return nil
}

// WhileOpen returns a context that also ends with the client, with cause ErrClosed.
func (c *Client) WhileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	return endWith(ctx, c.cli.Ctx(), ErrClosed)
}
