package election

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrGone: Revoke did not find the candidate: it resigned, was revoked or lost its lease.
var ErrGone = errors.New("election: no such candidate")

// Revoke deletes a candidate as Candidates or List found it: a leader, whose term ends, or one that waits,
// which loses its place. It deletes this one only, by its Key and Token: a candidate of the same key that came
// later stays, and the error is ErrGone. It takes until ctx ends, and 10 s at most.
//
// The next candidate leads at once. A leader with this package is told as when its key is deleted: see
// Term.Done; its Run campaigns again, behind the others. One of clientv3 or "etcdctl elect" (Foreign) is not told,
// and goes on: end its process as well.
func Revoke(ctx context.Context, cli *clientv3.Client, c Candidate) error {
	return electionType.RevokeEntry(ctx, cli, c.Key, c.Token)
}
