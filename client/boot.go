package client

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// New returns a client without asking whether a member answers: for a program that must start while
// etcd is away. Settings, TLS, user and password are as for [Dial]; the user is presented with the
// first request that a member answers. Close the client when done with it.
//
// opts may be nil, and Timeout is not used. The errors are ErrInvalid. [Wait] tells when a member answers.
func New(opts *Options) (*clientv3.Client, error) {
	d, err := newDialer(opts)
	if err != nil {
		return nil, err
	}
	// clientv3.New waits for an answer to its user and password. Until it has returned it is told
	// that authentication is off; the first request is told otherwise by the member, and clientv3
	// authenticates then.
	var made atomic.Bool
	connecting := new(ask.Dialer)
	cfg := d.clientConfig(context.Background(), d.endpoints[0], connecting)
	cfg.Endpoints = d.texts()
	cfg.DialOptions = append([]grpc.DialOption{grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if method == etcdserverpb.Auth_Authenticate_FullMethodName && !made.Load() {
				return rpctypes.ErrGRPCAuthNotEnabled
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		})}, cfg.DialOptions...)
	cli, err := clientv3.New(cfg)
	if err != nil {
		return nil, configError("%w", err)
	}
	made.Store(true)
	connecting.Adopt(cli)
	cli.Watcher = ask.Watcher{Watcher: cli.Watcher}
	return cli, nil
}

const (
	// waitTimeout bounds one question of Wait's: a silent member, or a password check without a quorum.
	waitTimeout = 5 * time.Second
	// waitPause is the longest pause between two of them.
	waitPause = time.Second
)

// Wait returns when a member answers and has accepted the client's user, if there is one. It is for
// any client, also one of clientv3.New, and for a service that starts together with etcd: unlike Dial it
// does not give up before ctx ends.
//
// The error is ErrAuth as soon as a member rejects the user, and otherwise ErrUnreachable, with the
// cause, when ctx ends or the client is closed.
func Wait(ctx context.Context, cli *clientv3.Client) error {
	etcd := ask.Of(cli)
	again := etcd.Backoff(firstPause, waitPause)
	member := etcdserverpb.NewMaintenanceClient(cli.ActiveConnection())
	for {
		try, cancel := context.WithTimeout(ctx, waitTimeout)
		_, err := member.Status(try, &etcdserverpb.StatusRequest{})
		cancel()
		err = rpctypes.Error(err)
		switch {
		case err == nil, errors.Is(err, rpctypes.ErrPermissionDenied): // it knows the user
			etcd.Answered()
			return nil
		case errors.Is(err, rpctypes.ErrUserEmpty) && cli.Username == "":
			return newError(noUserText, ErrAuth, err)
		case errors.Is(err, rpctypes.ErrAuthFailed):
			return newError(wrongUserText(cli.Username, ""), ErrAuth, err)
		}
		if !ask.IsAnswer(err) {
			etcd.Failed(err)
		}
		if end := again.Wait(ctx); end != nil {
			explained := etcd.Explain(err)
			if outage := etcd.Outage(); outage != nil {
				explained = outage
			}
			return newError(fmt.Sprintf("%v; %v", end, errtext.Text(explained)), ErrUnreachable, end, explained)
		}
	}
}
