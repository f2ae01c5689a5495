package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// readyKey is put through every member and deleted again.
const readyKey = "etcdkit.ready"

// putTimeout bounds one try. The loop over tries ends with ctx.
const putTimeout = 2 * time.Second

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
	err := c.until(ctx, func() bool { return m.state == Running || m.state == Failed })
	if err == nil {
		if err = c.failed(m); err == nil {
			err = c.put(ctx, m)
		}
	}
	if err == nil || errors.Is(err, ErrMemberFailed) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("gave up waiting")
	}
	return fmt.Errorf("cluster: %s is not ready: %w (its log: %s)", m.name, err, m.spec.LogFile)
}

func (c *Cluster) failed(m *member) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.state != Failed {
		return nil
	}
	reason := m.reason
	if strings.Contains(reason, "no space left") {
		reason += "; free space on the disk of " + m.spec.Dir
	}
	return fmt.Errorf("%w: %s: %s", ErrMemberFailed, m.name, reason)
}

func (c *Cluster) put(ctx context.Context, m *member) error {
	cli, err := c.dial(m)
	if err != nil {
		return err
	}
	defer cli.Close()
	for {
		try, cancel := context.WithTimeout(ctx, putTimeout)
		_, err = cli.Put(try, readyKey, m.name)
		if err == nil {
			_, err = cli.Delete(try, readyKey)
		}
		cancel()
		// A refusal by authorization is an answer that went through raft.
		if err == nil || refused(err) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := c.failed(m); err != nil {
			return err
		}
	}
}

func refused(err error) bool {
	return errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrPermissionDenied)
}

// dial makes a client of one member's public endpoint.
func (c *Cluster) dial(m *member) (*clientv3.Client, error) {
	cfg := clientv3.Config{Endpoints: []string{c.endpoint(m)}, Logger: zap.NewNop()}
	if t := c.opts.ClientTLS; t != nil {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%w: ClientTLS: %w", ErrOptions, err)
		}
		// Our own process on loopback: there is nobody to authenticate.
		cfg.TLS = &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}
	}
	return clientv3.New(cfg)
}
