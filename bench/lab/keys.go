package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// Timeout bounds each request that a measurement makes for itself.
	Timeout = 20 * time.Second
	// tidyTimeout bounds tidying up: a peer that leaves with 10,000 requests at once keeps etcd
	// busy for a while, which then refuses others with "too many requests".
	tidyTimeout = time.Minute
	tidyPause   = 100 * time.Millisecond
)

// Fill applies ops in transactions of 128.
func (l *Lab) Fill(ctx context.Context, ops []clientv3.Op) error {
	for len(ops) > 0 {
		n := min(128, len(ops))
		if err := l.commit(ctx, ops[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

func (l *Lab) commit(ctx context.Context, ops []clientv3.Op) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if _, err := l.Client.Txn(ctx).Then(ops...).Commit(); err != nil {
		return fmt.Errorf("lab: write %d keys: %w", len(ops), err)
	}
	return nil
}

// Clear deletes everything below prefix, and all history, so that one measurement does not weigh
// on the next.
func (l *Lab) Clear(ctx context.Context, prefix string) error {
	err := persist(ctx, func(ctx context.Context) error {
		_, err := l.Client.Delete(ctx, prefix, clientv3.WithPrefix())
		return err
	})
	if err != nil {
		return fmt.Errorf("lab: clear %q: %w", prefix, err)
	}
	return l.Compact(ctx)
}

// Compact forgets all history.
func (l *Lab) Compact(ctx context.Context) error {
	err := persist(ctx, func(ctx context.Context) error {
		resp, err := l.Client.Get(ctx, "compact", clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		_, err = l.Client.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
		if errors.Is(err, rpctypes.ErrCompacted) {
			return nil // nothing has happened since the last time
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("lab: compact: %w", err)
	}
	return nil
}

// RevokeAll ends every lease there is, and returns when there is none: thousands that end by
// themselves would weigh on what is measured next.
func (l *Lab) RevokeAll(ctx context.Context) error {
	err := persist(ctx, func(ctx context.Context) error {
		resp, err := l.Client.Leases(ctx)
		if err != nil || len(resp.Leases) == 0 {
			return err
		}
		for _, lease := range resp.Leases {
			_, err := l.Client.Revoke(ctx, lease.ID)
			if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) { // its owner was first
				return err
			}
		}
		return errors.New("leases are granted all the time") // or none is left, the next look tells
	})
	if err != nil {
		return fmt.Errorf("lab: revoke all leases: %w", err)
	}
	return nil
}

// persist tries until do succeeds, for as long as tidying up may take.
func persist(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tidyTimeout)
	defer cancel()
	tick := time.NewTicker(tidyPause)
	defer tick.Stop()
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
