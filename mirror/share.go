package mirror

import (
	"context"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// replicas are those that mirrors of this process share. A replica is here while a mirror uses it.
var replicas = struct {
	mu sync.Mutex
	of map[target]*replica
}{of: make(map[target]*replica)}

// target is what mirrors must have in common to share a replica.
type target struct {
	cli                        *clientv3.Client
	prefix, rangeEnd           string
	confirmEvery, watchTimeout time.Duration
	logger                     *slog.Logger
}

// acquire returns the replica of a prefix, which it starts if there is none. Each acquire needs one
// release.
func acquire(cli *clientv3.Client, prefix string, o Options) *replica {
	t := target{cli, prefix, o.RangeEnd, o.ConfirmEvery, o.WatchTimeout, o.Logger}
	replicas.mu.Lock()
	defer replicas.mu.Unlock()
	r := replicas.of[t]
	if r == nil {
		r = newReplica(t)
		replicas.of[t] = r
		go r.run() // ends with the last release, with the client, or if etcd refuses the first reading
	}
	r.uses++
	return r
}

// release ends the replica with its last use, and waits for that.
func (r *replica) release() {
	replicas.mu.Lock()
	r.uses--
	last := r.uses == 0
	if last {
		r.forget()
	}
	replicas.mu.Unlock()
	if last {
		r.stop(ErrClosed)
		<-r.ended.Done()
	}
}

// forget has the next acquire start a new replica. replicas.mu is held.
func (r *replica) forget() {
	if replicas.of[r.target] == r {
		delete(replicas.of, r.target)
	}
}

// await returns when the copy has all that was committed before a moment.
func (r *replica) await(ctx context.Context, began time.Time) error {
	asked := false
	for {
		r.mu.Lock()
		confirmed, refused, trouble := r.record.Confirmed, r.record.refused, r.record.trouble
		if r.progress == nil {
			r.progress = make(chan struct{})
		}
		progress := r.progress
		r.mu.Unlock()
		switch {
		case !confirmed.Before(began):
			return nil
		case !refused.Before(began):
			return trouble
		case !asked && !confirmed.IsZero():
			asked = true
			r.confirmSoon()
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return r.unreached(ctx, trouble)
		case <-r.ended.Done():
			return context.Cause(r.ended)
		}
	}
}
