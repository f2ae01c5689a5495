package inventory

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/keys"
)

const (
	requestTimeout = 15 * time.Second
	silence        = time.Second // of one member, before another one is asked
)

// reader is one reading.
type reader struct {
	Options
	cli *clientv3.Client

	leases      []*Lease
	kvs         map[string]*mvccpb.KeyValue // what was read, by key; see keep
	sizes       map[string]int              // of values that kvs has a part of
	revision    int64                       // of kvs; 0: nothing was read yet
	incomplete  map[string]int              // queues that were not read to their end: the prefix, and the count of its keys
	ranges      []keys.Range
	omitted     int // leases
	omittedKeys int
}

// newReader also returns a context that ends with the client. end must be called.
func newReader(ctx context.Context, cli *clientv3.Client, opts *Options) (_ *reader, _ context.Context, end func(), err error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, end = ask.Of(cli).WhileOpen(ctx)
	return &reader{Options: o, cli: cli}, ctx, end, nil
}

// compactedTries is how often a reading begins again because its revision was compacted meanwhile. It takes seconds at
// most, and history is compacted every few minutes.
const compactedTries = 5

// atOneRevision reads keys, all of them at r.revision, which the first answer decides.
func (r *reader) atOneRevision(ctx context.Context, read func(context.Context) error) (err error) {
	for range compactedTries {
		r.kvs, r.sizes, r.incomplete = make(map[string]*mvccpb.KeyValue), make(map[string]int), make(map[string]int)
		r.revision, r.omittedKeys = 0, 0
		if err = read(ctx); !errors.Is(err, rpctypes.ErrCompacted) || ctx.Err() != nil {
			return err
		}
	}
	return errtext.Errorf("history was compacted during each of %d tries: %w", compactedTries, err)
}

func (r *reader) readAll(ctx context.Context) error {
	ids, err := r.list(ctx)
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return r.readPermitted(ctx, err)
	case err != nil:
		return errtext.Errorf("list the leases: %w", err)
	}
	if err := r.lookUp(ctx, r.bounded(ids)); err != nil {
		return err
	}
	return r.readKeys(ctx)
}

func (r *reader) readOne(ctx context.Context, id clientv3.LeaseID) error {
	if err := r.lookUp(ctx, []clientv3.LeaseID{id}); err != nil {
		return err
	}
	if len(r.leases) == 0 {
		return errtext.Errorf("%w: %s; it has expired, or was revoked, or never was", ErrNotFound, leaseText(id))
	}
	return r.readKeys(ctx)
}

// readKeys reads the keys on the leases, and what they share a queue with.
func (r *reader) readKeys(ctx context.Context) error {
	return r.atOneRevision(ctx, r.readKeysOnce)
}

func (r *reader) readKeysOnce(ctx context.Context) error {
	if err := r.readValues(ctx, r.wanted()); err != nil {
		return errtext.Errorf("read the keys on the leases: %w", err)
	}
	if err := r.completeQueues(ctx); err != nil {
		return errtext.Errorf("read the locks and elections: %w", err)
	}
	return nil
}

// bounded are as many leases as may be read.
func (r *reader) bounded(ids []clientv3.LeaseID) []clientv3.LeaseID {
	most := min(len(ids), r.MostLeases)
	r.omitted = len(ids) - most
	return ids[:most]
}

// each calls f for each of n numbers, several at a time, and returns when all have returned. The first error ends it.
func (r *reader) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(r.Concurrency, n) {
		workers.Go(func() { // ends with next
			for i := range next {
				if ctx.Err() != nil {
					continue
				}
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		next <- i // workers read until it is closed
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}

func leaseText(id clientv3.LeaseID) string { return strconv.FormatInt(int64(id), 16) }
