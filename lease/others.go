package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// ErrNotFound: there is no lease of that id. It has expired, or was revoked, or never was.
var ErrNotFound = errors.New("lease: no such lease")

const (
	othersTimeout = 15 * time.Second
	othersSilence = time.Second // of one member, before another one is asked
)

// Renew renews a lease once, also one that another process has granted, and returns its TTL: it does not end before that
// time has passed since the call. If a member does not answer within a second, another one is asked as well. It takes 15 s
// at most. The error is ErrNotFound if there is no such lease. A lease of your own is better kept by a Keeper: a Lease
// knows its deadline.
func Renew(ctx context.Context, cli *clientv3.Client, id clientv3.LeaseID) (time.Duration, error) {
	ctx, end := ask.Of(cli).WhileOpen(ctx)
	defer end()
	m := &members{ask.Of(cli), cli}
	endpoints := m.endpoints()
	h := ask.Hedge[int64]{
		Outages: m, Timeout: othersTimeout,
		Silence: func(int) time.Duration { return othersSilence },
		Pause:   func(int, error) time.Duration { return othersSilence / 5 },
		Try: func(ctx context.Context, n int) (int64, error) {
			endpoint := endpoints[n%len(endpoints)]
			ttl, err := m.renewAt(ctx, endpoint, id)
			if err != nil && !ask.IsAnswer(err) {
				err = &ask.EndpointError{Endpoint: endpoint, Err: err}
			}
			return ttl, err
		},
	}
	ttl, _, err := h.Run(ctx)
	if err == nil && ttl <= 0 {
		return 0, notFound(id)
	}
	if err != nil {
		return 0, errtext.Errorf("lease: renew lease %x: %w", int64(id), m.Explain(err))
	}
	return time.Duration(ttl) * time.Second, nil
}

func (m *members) renewAt(ctx context.Context, route string, id clientv3.LeaseID) (int64, error) {
	c, leave, err := m.reach(route)
	if err != nil {
		return 0, err
	}
	defer leave()
	return ask.RenewLease(ctx, c, id)
}

func notFound(id clientv3.LeaseID) error {
	return fmt.Errorf("%w: %x; it has expired, or was revoked, or never was", ErrNotFound, int64(id))
}
