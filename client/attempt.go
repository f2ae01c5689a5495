package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// attempt is one try at one endpoint.
//
// The endpoint is first asked for its status over a connection that is made
// here step by step, because each step then has its own, typed error. From a
// gRPC or clientv3 client one gets "context deadline exceeded", or one line of
// text about all of them.
func (d *dialer) attempt(ctx context.Context, e endpoint) (*clientv3.Client, *failure) {
	began := time.Now()
	if f := d.probe(ctx, e, began); f != nil {
		return nil, f
	}
	cli, err := d.open(ctx, e)
	if err != nil {
		return nil, d.openFailure(ctx, err, began)
	}
	return cli, nil
}

// probe returns nil if a member answers at e.
func (d *dialer) probe(ctx context.Context, e endpoint, began time.Time) *failure {
	conn, err := connect(ctx, e)
	if err != nil {
		return connectFailure(ctx, err, began)
	}
	defer conn.Close()

	creds := insecure.NewCredentials()
	if d.tls != nil {
		secured, err := handshake(ctx, conn, e, d.tls)
		if err != nil {
			return d.handshakeFailure(ctx, e, err, began)
		}
		conn, creds = secured, handshaken{creds, secured.ConnectionState()}
	}
	line := newSniffer(conn)
	err = askStatus(ctx, line, creds)
	return d.statusFailure(ctx, e, err, line, began)
}

// connect opens a connection; the net package tries all addresses of a name.
func connect(ctx context.Context, e endpoint) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, e.network, e.addr)
}

func handshake(ctx context.Context, conn net.Conn, e endpoint, cfg *tls.Config) (*tls.Conn, error) {
	cfg = cfg.Clone()
	cfg.ServerName = e.serverName()
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if secured.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, errNoHTTP2
	}
	return secured, nil
}

var errNoHTTP2 = errors.New("speaks TLS but not HTTP/2")

// askStatus asks the member behind conn for its status and uses conn up. There
// is no token in the request: with authentication on, the answer is that one is
// needed.
func askStatus(ctx context.Context, conn net.Conn, creds credentials.TransportCredentials) error {
	only := make(chan net.Conn, 1)
	only <- conn
	cc, err := grpc.NewClient("passthrough:///etcd",
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			select {
			case conn := <-only:
				return conn, nil
			default:
				return nil, net.ErrClosed // gRPC tries again; the attempt is over
			}
		}))
	if err != nil {
		return err
	}
	defer cc.Close()
	_, err = etcdserverpb.NewMaintenanceClient(cc).Status(ctx, &etcdserverpb.StatusRequest{})
	return err
}

// handshaken is the credentials for a connection on which TLS is already spoken.
type handshaken struct {
	credentials.TransportCredentials
	state tls.ConnectionState
}

func (h handshaken) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, credentials.TLSInfo{
		State:          h.state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// Info makes gRPC say https in its requests.
func (h handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (h handshaken) Clone() credentials.TransportCredentials { return h }
