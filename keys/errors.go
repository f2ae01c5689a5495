package keys

import (
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Errors of this package, for errors.Is.
var (
	// ErrInvalid: an argument, an option, or a record that is read makes no sense. Of an argument or an option nothing
	// was written; Import of a stream, Copy and Follow have written what came before such a record.
	ErrInvalid = errors.New("keys: invalid argument")
	// ErrNotFound: there is no such key, or no earlier state of it.
	ErrNotFound = errors.New("keys: not found")
	// ErrExists: the key exists, and must not.
	ErrExists = errors.New("keys: the key exists")
	// ErrCompacted: etcd no longer has the revision that is read, or compacted it away before it was read to its end.
	// Read again, at a newer revision. What wraps it also wraps etcd's own rpctypes.ErrCompacted.
	ErrCompacted = errors.New("keys: the revision is compacted")
	// ErrIncomplete: a file has fewer records than its header says. It was cut off.
	ErrIncomplete = errors.New("keys: the file is not complete")
	// ErrLeaseEnded: a lease that Import or Copy made ended before they returned: no member could be reached for longer
	// than its TTL, or another client revoked it. Keys that were written on it are gone. Import or copy again: it
	// writes what is missing.
	ErrLeaseEnded = errors.New("keys: leases ended before their time")
	// ErrReplaced: the source's history was replaced while Follow followed it: its database was wiped, or restored
	// from a backup. The destination still has what was there before. Look at the source, and start again.
	ErrReplaced = errors.New("keys: the source's history was replaced")
)

// compacted adds ErrCompacted to etcd's error of that meaning. It returns other errors as they are.
func compacted(err error) error {
	if errors.Is(err, rpctypes.ErrCompacted) && !errors.Is(err, ErrCompacted) {
		return errtext.New(ErrCompacted.Error(), ErrCompacted, err)
	}
	return err
}

// explain is a failed request's error with the endpoints, if none answered, and with ErrCompacted.
func explain(cli *clientv3.Client, err error) error { return compacted(ask.Of(cli).Explain(err)) }
