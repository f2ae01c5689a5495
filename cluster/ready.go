package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// readyKey is put through every member and deleted again.
const readyKey = "etcdkit.ready"

const (
	// putTimeout bounds one try. The loop over tries ends with ctx.
	putTimeout = 2 * time.Second
	putPause   = 20 * time.Millisecond
)

func (c *Cluster) waitReady(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	errs := make(chan error, len(c.members))
	for _, m := range c.members {
		go func() { errs <- c.ready(ctx, m) }()
	}
	var first error
	for range c.members {
		if err := <-errs; err != nil && first == nil {
			first = err
			fail(err)
		}
	}
	return first
}

// ready returns when the member has served a put.
func (c *Cluster) ready(ctx context.Context, m *member) error {
	err := c.until(ctx, func() bool { return m.status == Running || m.status == Failed })
	if err == nil {
		if err = c.failed(m); err == nil {
			err = c.put(ctx, m)
		}
	}
	if err == nil || errors.Is(err, ErrMemberFailed) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errtext.Errorf("cluster: %s did not serve in time: %w (its log: %s)", m.name, err, m.spec.LogFile)
	}
	return errtext.Errorf("cluster: %s is not ready: %w (its log: %s)", m.name, err, m.spec.LogFile)
}

func (c *Cluster) failed(m *member) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.status != Failed {
		return nil
	}
	reason := m.reason
	if strings.Contains(reason, "no space left") {
		reason += "; free space on the disk of " + m.spec.Dir
	}
	return fmt.Errorf("%w: %s: %s", ErrMemberFailed, m.name, reason)
}

// put goes to the member's own socket: its client port is not open yet. The socket's path is not part
// of the endpoint: clientv3 makes a URL of that, and a directory may be called "100%" or "a#b".
func (c *Cluster) put(ctx context.Context, m *member) error {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", m.spec.OwnSocket)
	}
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: []string{m.client.addr}, DialOptions: []grpc.DialOption{grpc.WithContextDialer(dial)}, Logger: zap.NewNop(),
	})
	if err != nil {
		return err
	}
	defer cli.Close()
	pause := time.NewTicker(putPause)
	defer pause.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, putTimeout)
		_, err = cli.Put(try, readyKey, m.name)
		if err == nil {
			_, err = cli.Delete(try, readyKey)
		}
		cancel()
		if err == nil || answered(err) {
			return nil
		}
		if err := c.failed(m); err != nil {
			return err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return errtext.Errorf("%w; its last answer: %w", context.Cause(ctx), err)
		}
	}
}

// answered tells whether an error is a refusal that went through raft, and not a failure: authentication is
// on, or the space quota of kept data is used up, which can only be solved once the cluster runs.
func answered(err error) bool {
	return errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrNoSpace)
}
