package client

import (
	"context"
	"crypto/tls"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// Dial returns a client once a member has answered. It tries all endpoints at
// the same time, and again while that can help.
//
// ctx bounds the call, not the client: close the client when done with it.
// opts may be nil.
//
// The error is ErrInvalid before anything is sent, ErrAuth as soon as a member
// rejects the user, and otherwise ErrUnreachable, which names each endpoint and
// its last cause. The package documentation has the guarantees.
func Dial(ctx context.Context, opts *Options) (*clientv3.Client, error) {
	d, err := newDialer(opts)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	return dialAny(ctx, d)
}

// newDialer has all settings, and the files that they name.
func newDialer(opts *Options) (*dialer, error) {
	cfg, err := resolve(opts)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := cfg.loadTLS()
	if err != nil {
		return nil, err
	}
	if err := cfg.findDev(); err != nil {
		return nil, err
	}
	return &dialer{config: cfg, tls: tlsConfig}, nil
}

// dialer makes attempts at endpoints.
type dialer struct {
	*config
	tls *tls.Config // nil: plaintext
}

// open makes the client that Dial returns and authenticates its user, if there
// is one, at e. Every attempt does so for itself: a member without a quorum
// answers but cannot authenticate, and must not keep other attempts from it.
//
// Config.Context must not be ctx, with which the client would end. But New
// blocks in Authenticate and follows no other context; so it gets a context of the
// client's own, which ctx can cancel until New returns and no longer.
func (d *dialer) open(ctx context.Context, e endpoint) (*clientv3.Client, error) {
	life, end := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, end)
	connecting := new(ask.Dialer)
	cli, err := clientv3.New(d.clientConfig(life, e, connecting))
	if !stop() && err == nil {
		cli.Close()
		err = ctx.Err()
	}
	if err != nil {
		end()
		return nil, err
	}
	cli.SetEndpoints(d.texts()...)
	connecting.Adopt(cli)
	cli.Watcher = ask.Watcher{Watcher: cli.Watcher}
	return cli, nil
}

func (d *dialer) clientConfig(life context.Context, e endpoint, connecting *ask.Dialer) clientv3.Config {
	return clientv3.Config{
		Context:   life,
		Endpoints: []string{e.text},
		TLS:       d.tls,
		Username:  d.user.value,
		Password:  d.password.value,

		// What it bounds in clientv3: the first Authenticate, as ctx does here,
		// and the wait for the first answer to a lease's keepalive.
		DialTimeout: d.timeout,

		// A connection that falls silent under a request or a watch is given
		// up after 15 s. gRPC pings every 10 s at most; etcd hangs up on
		// clients that ping more often than every 5 s, or with nothing open,
		// which is why PermitWithoutStream stays off.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,

		Logger: zap.NewNop(), // the default one writes to stderr
		DialOptions: append([]grpc.DialOption{
			// Straight to the members, as the attempts go, and not at all while
			// none can be reached but for one prober.
			grpc.WithContextDialer(connecting.Dial),
			// By default gRPC leaves a member that is back unused for up to
			// two minutes, and waits for one that is gone for 20 s.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
				MinConnectTimeout: 3 * time.Second,
			}),
		}, d.dialOptions...),
	}
}
