package registry

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/lease"
)

// lateWriteFor is how long a try that was given up may still be carried out: a member that was cut off or
// stopped passes requests on when it continues.
const lateWriteFor = time.Minute

// lateWrites undoes late writes: a try that was given up can still write a key after the key was withdrawn.
// That key is deleted again.
//
// Rejected: that Close waits for such tries, as a member that is cut off can keep one for a long time;
// and that they compare a key of their own, as every reader of the prefix would see it.
type lateWrites struct {
	cli    *clientv3.Client
	etcd   *ask.Client
	keeper *lease.Keeper
}

// lateKeys are keys that were withdrawn while a try to register them had no answer, sorted, with
// the leases that it may put them on.
type lateKeys []lateKey

type lateKey struct {
	key, service string
	on           []clientv3.LeaseID
}

// add adds an entry that is withdrawn, if a late try can still write its key. table.mu is held.
func (l *lateKeys) add(e *entry) {
	if time.Now().Before(e.lateUntil) {
		*l = append(*l, lateKey{e.key, e.service, slices.Clone(e.ourLeases)})
	}
}

// delete deletes keys that are written after the revision at which they were withdrawn. It returns at once,
// and goes on in the background for lateWriteFor, or until the Keeper is closed and the leases are gone.
func (l *lateWrites) delete(late lateKeys, after int64) {
	for len(late) > 0 { // one watch for each service: the user may have no right to watch across services
		n := slices.IndexFunc(late, func(k lateKey) bool { return k.service != late[0].service })
		if n < 0 {
			n = len(late)
		}
		keys := late[:n]
		late = late[n:]
		ask.BackgroundOf(l.keeper).Go(func(ctx context.Context) { l.watch(ctx, keys, after) }) // ends with the Keeper, or after lateWriteFor
	}
}

// watch is delete for keys of one service.
func (l *lateWrites) watch(ctx context.Context, keys lateKeys, after int64) {
	ctx, stop := l.etcd.WhileOpen(ctx)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, lateWriteFor)
	defer cancel()
	again := l.etcd.Backoff(firstPause, maxPause)
	for ctx.Err() == nil {
		after = l.follow(ctx, keys, after)
		_ = again.Wait(ctx) // ctx's end is seen above
	}
}

// follow is one watch. It returns the revision after which the next one must begin.
func (l *lateWrites) follow(ctx context.Context, keys lateKeys, after int64) int64 {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithRange(keys[len(keys)-1].key + "\x00"), clientv3.WithRev(after + 1), clientv3.WithFilterDelete()}
	for resp := range l.cli.Watch(ctx, keys[0].key, opts...) {
		after = max(after, resp.CompactRevision-1)
		for _, ev := range resp.Events {
			if !l.deleteOne(ctx, keys, ev.Kv) {
				return after
			}
			after = ev.Kv.ModRevision
		}
	}
	return after
}

// deleteOne deletes a key if a late try has written it. It reports whether that is settled.
func (l *lateWrites) deleteOne(ctx context.Context, keys lateKeys, kv *mvccpb.KeyValue) bool {
	key := string(kv.Key)
	i, found := slices.BinarySearchFunc(keys, key, func(k lateKey, key string) int { return strings.Compare(k.key, key) })
	if !found || !slices.Contains(keys[i].on, clientv3.LeaseID(kv.Lease)) {
		return true
	}
	unclaim, ok := l.keeper.Claim(key)
	if !ok {
		return true // it is registered again, on the same lease
	}
	unclaim()
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	same := clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)
	_, _, err := transact(ctx, l.cli, 1, clientv3.OpTxn([]clientv3.Cmp{same}, []clientv3.Op{clientv3.OpDelete(key)}, nil))
	return err == nil
}
