package registry

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// lateKeys are keys that were withdrawn while a try of registering them had no answer, sorted, with
// the leases that it may put them on.
type lateKeys []lateKey

type lateKey struct {
	key, service string
	on           []clientv3.LeaseID
}

// add adds an entry that is withdrawn, if that can happen to it. Registrar.mu is held.
func (l *lateKeys) add(e *entry) {
	if time.Now().Before(e.late) {
		*l = append(*l, lateKey{e.key, e.service(), slices.Clone(e.ours)})
	}
}

// undoLate deletes keys again that a late try registers after a revision, at which they were withdrawn.
// It does so in the background for as long as that is expected, unless the Keeper is closed before: then
// the leases are gone. r.mu is held.
//
// Rejected: to have Close wait for such tries, as a member that is cut off can keep one for long; and a
// key of its own that they compare, which every reader of the prefix would see.
func (r *Registrar) undoLate(late lateKeys, after int64) {
	if r.own && r.closed {
		return
	}
	for len(late) > 0 { // a watch for each service: one of several may need rights that the user has not
		n := slices.IndexFunc(late, func(k lateKey) bool { return k.service != late[0].service })
		if n < 0 {
			n = len(late)
		}
		keys := late[:n]
		late = late[n:]
		r.keeper.Go(func(ctx context.Context) { r.watchLate(ctx, keys, after) }) // ends with the Keeper, or with lateness
	}
}

// watchLate is undoLate for keys of one service.
func (r *Registrar) watchLate(ctx context.Context, keys lateKeys, after int64) {
	ctx, stop := r.etcd.While(ctx)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, lateness)
	defer cancel()
	again := r.etcd.Backoff(firstPause, maxPause)
	for ctx.Err() == nil {
		after = r.followLate(ctx, keys, after)
		_ = again.Wait(ctx) // ctx's end is seen above
	}
}

// followLate is one watch. It returns the revision after which the next one must begin.
func (r *Registrar) followLate(ctx context.Context, keys lateKeys, after int64) int64 {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithRange(keys[len(keys)-1].key + "\x00"), clientv3.WithRev(after + 1), clientv3.WithFilterDelete()}
	for resp := range r.cli.Watch(ctx, keys[0].key, opts...) {
		after = max(after, resp.CompactRevision-1)
		for _, ev := range resp.Events {
			if !r.undo(ctx, keys, ev.Kv) {
				return after
			}
			after = ev.Kv.ModRevision
		}
	}
	return after
}

// undo deletes a key if a late try has registered it. It tells whether that is settled.
func (r *Registrar) undo(ctx context.Context, keys lateKeys, kv *mvccpb.KeyValue) bool {
	key := string(kv.Key)
	i, found := slices.BinarySearchFunc(keys, key, func(k lateKey, key string) int { return strings.Compare(k.key, key) })
	if !found || !slices.Contains(keys[i].on, clientv3.LeaseID(kv.Lease)) {
		return true
	}
	release, ok := r.keeper.Claim(key)
	if !ok {
		return true // it is registered anew, on the same lease
	}
	release()
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	same := clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)
	_, _, err := transact(ctx, r.cli, 1, clientv3.OpTxn([]clientv3.Cmp{same}, []clientv3.Op{clientv3.OpDelete(key)}, nil))
	return err == nil
}
