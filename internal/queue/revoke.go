package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// RevokeEntry deletes an entry of any client, if it is still the one that was created at a revision. It
// takes until ctx ends, and 10 s at most.
func (p *HandleType) RevokeEntry(ctx context.Context, cli *clientv3.Client, key string, revision int64) error {
	if key == "" || revision <= 0 {
		return fmt.Errorf("%w: revoke %s with token %d: want an entry that was listed", p.Invalid, quote.Text(key), revision)
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	deleted, err := deleteIf(ctx, cli, key, clientv3.Compare(clientv3.CreateRevision(key), "=", revision))
	switch {
	case err != nil:
		return errtext.Errorf("%s: revoke %s: %w", p.Name, quote.Text(key), Where(cli, err))
	case !deleted:
		return fmt.Errorf("%w: %s with token %d", p.Gone, quote.Text(key), revision)
	}
	return nil
}

// deleteIf deletes a key if a comparison holds, and tells whether it did. A try that was not answered and is
// done again may have deleted it: then that counts.
func deleteIf(ctx context.Context, cli *clientv3.Client, key string, cmps ...clientv3.Cmp) (deleted bool, err error) {
	resp, unsure, err := persist(ctx, clientOf(cli), func(ctx context.Context, _ int) (*clientv3.TxnResponse, error) {
		return cli.Txn(ctx).If(cmps...).Then(clientv3.OpDelete(key)).Commit()
	})
	if err != nil {
		return false, err
	}
	return resp.Succeeded || unsure, nil
}

// Detached is an entry that Hold.Detach left in etcd, and that no process keeps alive.
type Detached struct {
	Key      string
	Revision int64
	Is       func(value string) bool // tells whether a value is the entry's, or another process has taken it over
	Lease    clientv3.LeaseID        // a write that was not answered may still put the entry on it; 0: there is none
}

// read reads the entry as it is now. ErrLost: it is gone, or another process has it.
func (d *Detached) read(ctx context.Context, cli *clientv3.Client) (*KeyValue, error) {
	resp, err := readAt(ctx, clientOf(cli), linearizable, getRevision, func(ctx context.Context, _ []clientv3.OpOption) (*clientv3.GetResponse, error) {
		return cli.Get(ctx, d.Key)
	})
	switch {
	case err != nil:
		return nil, err
	case len(resp.Kvs) == 0 || resp.Kvs[0].CreateRevision != d.Revision:
		return nil, lostBy(fmt.Errorf("%s is gone", quote.Text(d.Key)))
	case !d.Is(string(resp.Kvs[0].Value)):
		return nil, lostBy(fmt.Errorf("%s was taken over by another process", quote.Text(d.Key)))
	}
	return resp.Kvs[0], nil
}

// Renew has the entry's lease begin again, and tells how long it lives then.
func (d *Detached) Renew(ctx context.Context, cli *clientv3.Client) (time.Duration, error) {
	kv, err := d.read(ctx, cli)
	if err != nil {
		return 0, err
	}
	ttl, err := renewOnce(ctx, cli, clientv3.LeaseID(kv.Lease))
	if errors.Is(err, ErrLost) {
		err = lostBy(fmt.Errorf("the lease of %s has ended", quote.Text(d.Key)))
	}
	return ttl, err
}

// Remove deletes the entry, and revokes its lease.
func (d *Detached) Remove(ctx context.Context, cli *clientv3.Client) error {
	kv, err := d.read(ctx, cli)
	if errors.Is(err, ErrLost) && d.Lease != 0 {
		return cmp.Or(revoke(ctx, clientOf(cli), d.Lease), err) // what comes late finds no lease
	}
	if err != nil {
		return err
	}
	deleted, err := deleteIf(ctx, cli, d.Key, clientv3.Compare(clientv3.ModRevision(d.Key), "=", kv.ModRevision))
	if err != nil {
		return err
	}
	if !deleted {
		return lostBy(fmt.Errorf("%s has changed meanwhile", quote.Text(d.Key)))
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	_, _ = cli.Revoke(ctx, clientv3.LeaseID(kv.Lease)) // nothing is on it any more, and it ends by itself
	return nil
}
