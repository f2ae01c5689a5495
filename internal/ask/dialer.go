package ask

import (
	"context"
	"net"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Dialer makes the connections of a client, and makes none in an outage but for the prober. gRPC
// alone would try each endpoint of each connection at its own pace: with the short pauses that let
// it notice soon that a member is back, that is a storm.
//
// In an outage, Dial returns at once why the latest try failed. So gRPC's pauses grow; they
// are reset when the outage ends.
type Dialer struct {
	mu      sync.Mutex
	client  *Client // nil until Adopt
	permits int     // dials that the prober asked for: 0 or 1
	free    int     // AllowDials that have not ended
	cause   error   // of the latest dial that failed
}

// Adopt makes d the Dialer of cli's state, which must be one that connects through it. It is called
// before anything else asks for that state.
func (d *Dialer) Adopt(cli *clientv3.Client) {
	c := adopt(cli, d)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.client = c
}

// Dial is for grpc.WithContextDialer.
func (d *Dialer) Dial(ctx context.Context, address string) (net.Conn, error) {
	if err := d.refusal(); err != nil {
		return nil, err
	}
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", strings.TrimPrefix(path, "//")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil && ctx.Err() == nil {
		d.mu.Lock()
		d.cause = err
		d.mu.Unlock()
	}
	return conn, err
}

// refusal is nil for a dial that may be made now.
func (d *Dialer) refusal() error {
	d.mu.Lock()
	c := d.client
	d.mu.Unlock()
	if c == nil {
		return nil
	}
	outage := c.Outage()
	if outage == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.free > 0 {
		return nil
	}
	if d.permits > 0 {
		d.permits--
		return nil
	}
	if d.cause != nil {
		return d.cause
	}
	return outage
}

// AllowDials lets dials pass in an outage as well, until end: for what asks each member how it is. gRPC's own, of the
// client's connections, pass with them, so this is for seconds.
func (c *Client) AllowDials() (end func()) {
	d := c.outage.dialer
	if d == nil {
		return func() {}
	}
	d.allow(1)
	return func() { d.allow(-1) }
}

func (d *Dialer) allow(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free += n
}

// permit lets one dial pass, of whichever connection comes first: it is one dial all the same.
func (d *Dialer) permit() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.permits = 1
}

// forget drops a permit that was not used, and why the latest dial failed: the outage has ended.
func (d *Dialer) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.permits, d.cause = 0, nil
}
