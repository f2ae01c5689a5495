package keys

import (
	"context"
	"errors"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// leases are those that stand at the destination for the source's, and are kept alive until close. It is not for use by several goroutines.
type leases struct {
	cli  *clientv3.Client
	made map[clientv3.LeaseID]*madeLease // by the source's
	gone int                             // of them that ended with keys on them, and were forgotten

	lost chan clientv3.LeaseID // leases that ended although they were kept alive

	life    context.Context // of keepalives
	end     context.CancelFunc
	keeping sync.WaitGroup
}

type madeLease struct {
	id      clientv3.LeaseID
	stop    context.CancelFunc // ends its keepalives
	granted bool
	used    bool // a key may be on it
	written bool // a key was written on it, in a batch that is done
}

func newLeases(cli *clientv3.Client) *leases {
	l := &leases{cli: cli, made: make(map[clientv3.LeaseID]*madeLease), lost: make(chan clientv3.LeaseID)}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

// known is the lease that stands for the source's, or 0.
func (l *leases) known(source clientv3.LeaseID) clientv3.LeaseID {
	if m := l.made[source]; m != nil {
		return m.id
	}
	return 0
}

// get returns the lease that stands for the source's, and grants it at first.
func (l *leases) get(ctx context.Context, source clientv3.LeaseID, ttl int64, counts *Counts) (clientv3.LeaseID, error) {
	m := l.made[source]
	if m == nil {
		m = &madeLease{id: ask.NewLeaseID(), stop: func() {}}
		l.made[source] = m
	}
	if m.granted {
		return m.id, nil
	}
	// The id is chosen here, so that a try that is repeated cannot leave a second lease behind.
	_, err := ask.GrantLease(ctx, pb.NewLeaseClient(l.cli.ActiveConnection()), m.id, ttl)
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseExist) {
		return 0, errtext.Errorf("grant a lease of %ds: %w", ttl, err)
	}
	m.granted = true
	counts.Leases++
	return m.id, l.keepAlive(m, source)
}

// keepAlive renews a lease until it is forgotten, or until close.
func (l *leases) keepAlive(m *madeLease, source clientv3.LeaseID) error {
	ctx, stop := context.WithCancel(l.life)
	renewals, err := l.cli.KeepAlive(ctx, m.id)
	if err != nil {
		stop()
		return err
	}
	m.stop = stop
	l.keeping.Go(func() { // ends with the lease, or with ctx
		for range renewals {
		}
		select {
		case <-ctx.Done():
			return
		default:
		}
		select {
		case l.lost <- source:
		case <-ctx.Done():
		}
	})
	return nil
}

// pretend counts the leases that would be granted.
func (l *leases) pretend(source clientv3.LeaseID, counts *Counts) {
	if l.made[source] == nil {
		l.made[source] = &madeLease{stop: func() {}}
		counts.Leases++
	}
}

// use says that a key may be on the lease from now on.
func (l *leases) use(source clientv3.LeaseID) {
	if m := l.made[source]; m != nil {
		m.used = true
	}
}

// wrote says that a key is on the lease for certain.
func (l *leases) wrote(source clientv3.LeaseID) {
	if m := l.made[source]; m != nil {
		m.written = true
	}
}

// ended is how many leases have ended although they were kept alive, with keys that were written on them. It asks etcd:
// the client of a lease hears of its end late, or never.
func (l *leases) ended(ctx context.Context) (int, error) {
	var ids []clientv3.LeaseID
	for _, m := range l.made {
		if m.written {
			ids = append(ids, m.id)
		}
	}
	ended := l.gone
	answers, err := leaseTTLs(ctx, l.cli, ids)
	for _, answer := range answers {
		if answer.left <= 0 { // 0: what is not renewed by now ends at once
			ended++
		}
	}
	return ended, err
}

// forget makes the next get grant the lease again.
func (l *leases) forget(source clientv3.LeaseID) {
	if m := l.made[source]; m != nil {
		m.stop()
		delete(l.made, source)
	}
}

// revoke revokes the lease that stands for the source's, which has ended.
func (l *leases) revoke(ctx context.Context, source clientv3.LeaseID) {
	m := l.made[source]
	if m == nil {
		return
	}
	l.forget(source)
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	_, _ = l.cli.Revoke(ctx, m.id) // otherwise it ends with its TTL: nothing renews it
}

// revokeTimeout bounds what is not worth waiting for.
const revokeTimeout = 2 * time.Second

// close ends keepalives: from now on the TTLs run. A lease that no key can be on is revoked.
func (l *leases) close() {
	l.end()
	l.keeping.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
	defer cancel()
	for source, m := range l.made {
		if m.id != 0 && !m.used { // its grant may have been carried out
			l.revoke(ctx, source)
		}
	}
}
