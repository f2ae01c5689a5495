package lease

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Adopt keeps a lease alive that an earlier process of the same job was granted, and that has not
// ended yet: it is the Keeper's from then on, as if it had been granted to it, and Close revokes
// it. Nothing in etcd says that the earlier process is gone: that is for the caller to know.
//
// The error is ErrRevoked when there is no such lease any more, otherwise as Lease's.
func (k *Keeper) Adopt(ctx context.Context, id clientv3.LeaseID) (*Lease, error) {
	k.mu.Lock()
	for _, l := range k.leases {
		if l.id == id {
			k.mu.Unlock()
			return l, nil
		}
	}
	k.mu.Unlock()
	var cause error
	r := race[granted]{
		routes:   k.routes(),
		patience: k.opts.TTL / 9,
		maxPause: maxGrantPause,
		ask: func(ctx context.Context, route string) (granted, error) {
			s, err := k.etcd.open(ctx, route)
			if err != nil {
				return granted{}, err
			}
			defer s.close()
			sent := k.clock()
			ttl, err := s.keepAlive(id)
			return granted{id, sent, time.Duration(ttl) * time.Second}, err
		},
		failed: func(err *tryError) bool {
			cause = err
			denied, _ := denial(err)
			return denied
		},
		lose: func(granted) {},
	}
	ask, cancel := context.WithCancel(ctx)
	defer cancel() // with it the streams end
	got, err := r.run(ask)
	if denied, _ := denial(err); denied {
		return nil, lost(id, ErrUnauthorised, "", err)
	}
	if err != nil {
		return nil, notGranted(err, cause, k.etcd.endpoints())
	}
	if got.ttl <= 0 {
		return nil, lost(id, ErrRevoked, "is gone", nil)
	}
	l := newLease(k, got)
	if !k.add(l) {
		return nil, ErrClosed
	}
	k.log.Info("lease adopted", "lease", l.hex(), "ttl", got.ttl)
	return l, nil
}
