package lock

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrGone: Revoke did not find the entry: it was released, revoked or lost, and its key may be that of a
// newer one.
var ErrGone = errors.New("lock: no such entry")

// Revoke deletes an entry as Entries or List found it: the hold of a process, which loses the lock, or a call
// that waits, which fails. It deletes this entry only, by its Key and Token: an entry of the same key that came
// later stays, and the error is ErrGone. It takes until ctx ends, and 10 s at most.
//
// The next waiter holds the lock at once. A holder with this package is told as when its key is deleted: see
// Hold.Done. A holder of clientv3 or "etcdctl lock" (Foreign) is not told, and goes on: end its process as well.
func Revoke(ctx context.Context, cli *clientv3.Client, e Entry) error {
	return lockType.RevokeEntry(ctx, cli, e.Key, e.Token)
}
