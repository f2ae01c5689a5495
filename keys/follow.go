package keys

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/mirror"
)

// checkAgainAfter is when a write whose answer was lost cannot be carried out late any more: etcd gives a request
// up after about 7 s.
const checkAgainAfter = 10 * time.Second

// FollowOptions of Follow. nil and the zero value are the defaults. There is no dry run: Copy has one.
type FollowOptions struct {
	// Delete first deletes what is below the destination's prefix only. Otherwise such keys stay. Keys that the source
	// deletes later are deleted at the destination in both cases.
	Delete bool

	// Each is called for each key of the destination, with what was done. It may be nil.
	Each func(key string, a Action)
	// Progress is called from time to time. It may be nil.
	Progress func(Progress)
}

func (o *FollowOptions) copyOptions() *CopyOptions {
	if o == nil {
		return nil
	}
	return &CopyOptions{Delete: o.Delete, Each: o.Each, Progress: o.Progress}
}

// Follow is Copy, and then makes every change below the source's prefix at the destination, in order, until ctx
// ends: its error is then ctx's. It is never silently behind: Progress has the revision that the destination has come to,
// and what holds it up. Where etcd has compacted changes away that were not seen, as after an outage, the difference is
// found by reading the source again (see package mirror, which keeps a copy of the prefix in memory). While one of the
// clusters cannot be reached, Follow waits.
//
// A lease lives at the destination as long as the source's has keys. When the last one goes, by the end of the lease or
// otherwise, the destination's is revoked. If it ends although it is kept alive, it is granted again with all its
// keys. When Follow ends, TTLs run: without Follow no copied lease lives on. While the source cannot be reached its
// leases count as alive.
//
// Transactions of the source are not transactions at the destination if they are conflated with others, or large. Changes that others make
// below the destination's prefix are not undone, but where the source changes the same key.
func Follow(ctx context.Context, src *clientv3.Client, srcPrefix string, dst *clientv3.Client, dstPrefix string, opts *FollowOptions) (Counts, error) {
	c := newCopier(src, srcPrefix, dst, dstPrefix, opts.copyOptions())
	c.w.exact, c.w.patience = true, 0
	defer c.w.leases.close()
	err := c.follow(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		err = errtext.Errorf("keys: follow %q ended at revision %d: %w", srcPrefix, c.now.Revision, context.Cause(ctx))
	case errors.Is(err, ErrReplaced):
	case err != nil:
		err = errtext.Errorf("keys: follow %q to %q, at revision %d: %w", srcPrefix, dstPrefix, c.now.Revision, err)
	}
	return c.counts, err
}

// follower is a copier that goes on.
type follower struct {
	*copier
	m        *mirror.Mirror
	retry    retrier // of the source
	snapshot *mirror.Snapshot
	onLease  map[clientv3.LeaseID]map[string]bool // the source's keys on each lease
	ttls     map[clientv3.LeaseID]int64           // of the source's leases
}

func (c *copier) follow(ctx context.Context) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	m, err := mirror.Open(ctx, c.src, c.srcPrefix, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	f := &follower{
		copier: c, m: m, snapshot: m.Snapshot(), onLease: make(map[clientv3.LeaseID]map[string]bool), ttls: make(map[clientv3.LeaseID]int64),
		retry: retrier{etcd: ask.Of(c.src), waiting: c.waiting},
	}
	if err := f.start(ctx); err != nil {
		return err
	}
	return f.run(ctx)
}

// start makes the destination what the snapshot is.
func (f *follower) start(ctx context.Context) error {
	f.counts.Total = int64(f.snapshot.Len())
	if err := f.putAll(ctx); err != nil {
		return err
	}
	if f.Delete {
		err := f.deleteOthers(ctx, func(key string) bool {
			_, ok := f.snapshot.Get(f.srcPrefix + key[len(f.dstPrefix):])
			return ok
		})
		if err != nil {
			return err
		}
	}
	if err := f.flush(ctx); err != nil {
		return err
	}
	f.counts.Total = 0
	f.now.Following, f.now.Revision = true, f.snapshot.Revision()
	f.report()
	return nil
}

// putAll writes every key of the snapshot that the destination does not have so.
func (f *follower) putAll(ctx context.Context) error {
	for kv := range f.snapshot.All() {
		if err := f.put(ctx, &kv); err != nil {
			return err
		}
	}
	return nil
}

// run follows changes until ctx ends, or the source's history.
func (f *follower) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	batches, failed := make(chan *mirror.Batch), make(chan error, 1)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	reading.Go(func() { // ends with ctx, or with the mirror
		for b, err := range f.m.Changes(ctx, &mirror.ChangesOptions{From: f.snapshot}) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case batches <- b:
			case <-ctx.Done():
				return
			}
		}
	})
	recheck, waits := time.NewTimer(time.Hour), false
	defer recheck.Stop()
	for {
		freshness := f.m.FreshnessChanged()
		f.tellFreshness()
		var err error
		select {
		case b := <-batches:
			err = f.apply(ctx, b)
		case lease := <-f.w.leases.lost:
			f.w.leases.forget(lease)
			err = f.again(ctx, lease)
		case <-recheck.C:
			waits = false
			err = f.checkUnsure(ctx)
		case <-freshness:
		case err = <-failed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err == nil {
			err = f.flush(ctx)
		}
		if err != nil {
			return err
		}
		if len(f.w.unsure) == 0 {
			waits = false
		} else if !waits {
			waits = true
			recheck.Reset(checkAgainAfter)
		}
	}
}

// checkUnsure looks at keys again whose write had no answer.
func (f *follower) checkUnsure(ctx context.Context) error {
	unsure := f.w.unsure
	f.w.unsure = make(map[string]bool)
	for key := range unsure {
		var err error
		if kv, ok := f.snapshot.Get(f.srcPrefix + strings.TrimPrefix(key, f.dstPrefix)); ok {
			err = f.put(ctx, &kv)
		} else {
			err = f.w.add(ctx, wanted{key: key, absent: true})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tellFreshness reports whether the source can be followed.
func (f *follower) tellFreshness() {
	s := f.m.State()
	var why error
	if !s.Fresh {
		why = errtext.Errorf("the source: %w", s.Cause)
	}
	if (why == nil) != (f.now.Waiting == nil) {
		f.waiting(why)
	}
}

// apply makes the changes of a batch.
func (f *follower) apply(ctx context.Context, b *mirror.Batch) error {
	if b.Snapshot.Epoch() != f.snapshot.Epoch() {
		return fmt.Errorf("%w: %q at the source had revision %d, and has revision %d of another history", ErrReplaced, f.srcPrefix, f.snapshot.Revision(), b.Snapshot.Revision())
	}
	f.snapshot = b.Snapshot
	for _, change := range b.Changes {
		var err error
		if change.Old != nil && (change.New == nil || change.New.Lease != change.Old.Lease) {
			f.left(change.Old.Lease, change.Key)
		}
		if change.New != nil {
			err = f.put(ctx, change.New)
		} else {
			err = f.w.add(ctx, wanted{key: f.there(change.Key), absent: true})
		}
		if err != nil {
			return err
		}
	}
	if err := f.flush(ctx); err != nil {
		return err
	}
	f.revokeEmpty(ctx, b)
	f.now.Revision = b.Snapshot.Revision()
	f.report()
	return nil
}

// put writes a key as it is at the source.
func (f *follower) put(ctx context.Context, kv *mirror.KeyValue) error {
	x := wanted{key: f.there(kv.Key), value: kv.Value, lease: kv.Lease}
	if x.key == "" {
		return fmt.Errorf("%w: key %q would become the empty key", ErrInvalid, kv.Key)
	}
	if kv.Lease != 0 {
		keys := f.onLease[kv.Lease]
		if keys == nil {
			keys = make(map[string]bool)
			f.onLease[kv.Lease] = keys
		}
		keys[kv.Key] = true
		var err error
		if x.ttl, err = f.ttl(ctx, kv.Lease); err != nil {
			return err
		}
	}
	return f.w.add(ctx, x)
}

// ttl is that of a lease of the source; 0 if it is gone: then the deletion of its keys follows.
func (f *follower) ttl(ctx context.Context, lease clientv3.LeaseID) (int64, error) {
	if known, ok := f.ttls[lease]; ok {
		return known, nil
	}
	answer, err := leaseTTL(ctx, &f.retry, f.src, lease)
	if err == nil {
		f.ttls[lease] = answer.granted
	}
	return answer.granted, err
}

// left says that a key is no longer on a lease.
func (f *follower) left(lease clientv3.LeaseID, key string) { delete(f.onLease[lease], key) }

// revokeEmpty revokes the leases that have no key any more, after changes.
func (f *follower) revokeEmpty(ctx context.Context, b *mirror.Batch) {
	for _, change := range b.Changes {
		if change.Old == nil || change.Old.Lease == 0 {
			continue
		}
		lease := change.Old.Lease
		if keys, ok := f.onLease[lease]; ok && len(keys) == 0 {
			delete(f.onLease, lease)
			delete(f.ttls, lease)
			f.w.leases.revoke(ctx, lease)
		}
	}
}

// flush writes what waits, and writes the keys of leases that were found gone again.
func (f *follower) flush(ctx context.Context) error {
	for {
		if err := f.w.flush(ctx); err != nil {
			return err
		}
		if len(f.w.regranted) == 0 {
			return nil
		}
		lease := f.w.regranted[0]
		f.w.regranted = f.w.regranted[1:]
		if err := f.again(ctx, lease); err != nil {
			return err
		}
	}
}

// again writes all keys on a lease of the source: the destination's has ended.
func (f *follower) again(ctx context.Context, lease clientv3.LeaseID) error {
	for key := range f.onLease[lease] {
		kv, ok := f.snapshot.Get(key)
		if !ok || kv.Lease != lease {
			continue
		}
		if err := f.put(ctx, &kv); err != nil {
			return err
		}
	}
	return nil
}
