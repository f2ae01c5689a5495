package keys

import (
	"bytes"
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Restored is what Undelete has done.
type Restored struct {
	Key   string
	Value []byte
	// From is the revision that wrote the value before. Lease is the one that the key had then, or 0: the key
	// has no lease now, and stays until it is deleted.
	From  int64
	Lease clientv3.LeaseID
	// Revision is the one that wrote it back.
	Revision int64
	// Gaps are what the search for the deletion left out, as in History: the key may have had a newer value
	// there. With a revision of one's own there are none.
	Gaps []Gap
}

// Undelete writes back a key that was deleted, with its last value before the deletion, as ReadHistory finds it.
// Of opts, Search counts. It does not write a key that exists: ErrExists. A key without an earlier value is ErrNotFound.
//
// The lease of the key, if it had one, does not come back: leases that have ended cannot.
//
// If another client writes the key back at the same time, with the same value and without a lease, Undelete succeeds: it
// cannot tell that from its own write, whose answer may have been lost. An error that says that the key may have been
// written is of a request without an answer.
func Undelete(ctx context.Context, cli *clientv3.Client, key string, opts *HistoryOptions) (*Restored, error) {
	var o HistoryOptions
	if opts != nil {
		o = *opts
	}
	o.Limit, o.From, o.To = 2, 0, 0
	h, err := ReadHistory(ctx, cli, key, &o)
	if err != nil {
		return nil, err
	}
	failed := func(err error) error { return errtext.Errorf("keys: undelete %s: %w", quote.Text(key), err) }
	switch {
	case h.Exists:
		return nil, failed(fmt.Errorf("%w since revision %d", ErrExists, h.Changes[0].CreateRevision))
	case len(h.Changes) < 2 && h.Compacted > 0:
		return nil, failed(fmt.Errorf("%w: no value since revision %d, to which etcd is compacted", ErrNotFound, h.Compacted))
	case len(h.Changes) < 2 && len(h.Gaps) > 0:
		return nil, failed(fmt.Errorf("%w: no value since revision %d; before it the key may have had a short life", ErrNotFound, h.Gaps[0].Before))
	case len(h.Changes) < 2:
		return nil, failed(fmt.Errorf("%w: the key never existed", ErrNotFound))
	}
	last := h.Changes[1]
	return restore(ctx, cli, &Restored{Key: key, Value: last.Value, From: last.Revision, Lease: last.Lease, Gaps: h.Gaps}, h.Revision)
}

// UndeleteAt is Undelete with the value that the key had at a revision.
func UndeleteAt(ctx context.Context, cli *clientv3.Client, key string, revision int64) (*Restored, error) {
	if key == "" || revision <= 0 {
		return nil, fmt.Errorf("%w: undelete %q as of revision %d: want a key, and a revision of 1 or more", ErrInvalid, key, revision)
	}
	ctx, done := ask.Of(cli).WhileOpen(ctx)
	defer done()
	now, err := open(ctx, cli, key, 0)
	if err != nil {
		return nil, errtext.Errorf("keys: undelete %s: %w", quote.Text(key), explain(cli, err))
	}
	s := &historian{reader: &reader{cli: cli}, History: &History{Key: key}}
	kv, err := s.keyAt(ctx, revision)
	if err != nil {
		return nil, errtext.Errorf("keys: undelete %s: %w", quote.Text(key), explain(cli, err))
	}
	if kv == nil {
		return nil, errtext.Errorf("keys: undelete %s: %w: the key did not exist at revision %d", quote.Text(key), ErrNotFound, revision)
	}
	return restore(ctx, cli, &Restored{Key: key, Value: kv.Value, From: kv.ModRevision, Lease: clientv3.LeaseID(kv.Lease)}, now.revision)
}

// restore writes the key if it does not exist. It did not exist at the revision absent.
//
// clientv3 repeats a request whose answer is lost, and the repetition finds the key that the first one wrote. So a key
// that is as restore would have written it, and newer than absent, counts as written here.
func restore(ctx context.Context, cli *clientv3.Client, r *Restored, absent int64) (*Restored, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := cli.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(r.Key), "=", 0)).
		Then(clientv3.OpPut(r.Key, string(r.Value))).
		Else(clientv3.OpGet(r.Key)).Commit()
	switch {
	case err != nil && !ask.NotApplied(err):
		return nil, errtext.Errorf("keys: undelete %s: it may have been written all the same: look at the key: %w", quote.Text(r.Key), explain(cli, err))
	case err != nil:
		return nil, errtext.Errorf("keys: undelete %s: %w", quote.Text(r.Key), explain(cli, err))
	case resp.Succeeded:
		r.Revision = resp.Header.Revision
		return r, nil
	}
	kv := resp.Responses[0].GetResponseRange().Kvs[0] // there is one: the comparison failed
	if kv.CreateRevision > absent && kv.Version == 1 && kv.Lease == 0 && bytes.Equal(kv.Value, r.Value) {
		r.Revision = kv.CreateRevision
		return r, nil
	}
	return nil, errtext.Errorf("keys: undelete %s: %w since revision %d", quote.Text(r.Key), ErrExists, kv.CreateRevision)
}
