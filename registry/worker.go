package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

const (
	// rpcTimeout bounds a request; etcd itself gives up after 7 s.
	rpcTimeout = 5 * time.Second
	// txnOps and txnBytes bound a transaction: the server takes 128 operations and 1.5 MiB.
	txnOps   = 128
	txnBytes = 1 << 20
	// Pauses between tries grow from the first to the second, with full jitter.
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
	// rivalPause is between looks at another process's lease.
	rivalPause = 500 * time.Millisecond
)

// run is the worker: it alone writes, so that nothing can overtake a withdrawal.
func (r *Registrar) run(ctx context.Context) {
	defer close(r.ended)
	w := newWatcher(r)
	defer w.close()
	pause := time.Duration(0)
	for ctx.Err() == nil {
		todo := r.pending()
		keys, leases := r.keys()
		w.cover(ctx, keys, leases)
		trouble := false
		for _, chunk := range chunks(todo) {
			if err := r.write(ctx, chunk); err != nil {
				r.failed(chunk, err)
				trouble = true
			}
		}
		left := r.pending()
		var again <-chan time.Time
		if len(left) > 0 {
			wait := time.Duration(0) // a second round, as the first has learnt something
			if trouble {
				pause = min(max(2*pause, firstPause), maxPause)
				wait = rand.N(pause)
			} else if r.rivals(left) {
				wait = rivalPause
			}
			again = time.After(wait)
		}
		if !trouble {
			pause = 0
		}
		select {
		case <-r.wake:
		case <-again:
		case <-ctx.Done():
		}
	}
}

// chunks cuts the work into transactions.
func chunks(todo []*entry) [][]*entry {
	var all [][]*entry
	size := txnBytes
	for _, e := range todo {
		need := len(e.key) + len(e.value) + 200
		if n := len(all); n == 0 || len(all[n-1]) == txnOps || size+need > txnBytes {
			all, size = append(all, nil), 0
		}
		all[len(all)-1] = append(all[len(all)-1], e)
		size += need
	}
	return all
}

// want is what a transaction does for an entry, decided under the lock.
type want struct {
	entry *entry
	value string // to put; "" with del
	del   bool
	cmp   clientv3.Cmp
}

// write does one transaction for a chunk and takes note of what it learnt.
func (r *Registrar) write(ctx context.Context, chunk []*entry) error {
	if err := r.reserve(ctx, chunk); err != nil {
		return err
	}
	wants := r.wants(chunk)
	if len(wants) == 0 {
		return nil
	}
	var cmps []clientv3.Cmp
	var then, otherwise []clientv3.Op
	for _, w := range wants {
		cmps = append(cmps, w.cmp)
		if w.del {
			then = append(then, clientv3.OpDelete(w.entry.key))
		} else {
			then = append(then, clientv3.OpPut(w.entry.key, w.value, clientv3.WithLease(w.entry.lease.ID())))
		}
		otherwise = append(otherwise, clientv3.OpGet(w.entry.key))
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	resp, err := r.cli.Txn(ctx).If(cmps...).Then(then...).Else(otherwise...).Commit()
	if err != nil {
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			_ = wants[0].entry.lease.Confirm(ctx) // its end is what matters, and Err tells
		}
		return err
	}
	if resp.Succeeded {
		r.done(wants, resp.Header.Revision)
		return nil
	}
	return r.learn(ctx, wants, resp)
}

// reserve finds room on a live lease for the entries that have none.
func (r *Registrar) reserve(ctx context.Context, chunk []*entry) error {
	var without []*entry
	r.mu.Lock()
	for _, e := range chunk {
		if !e.leaving && (e.lease == nil || e.lease.Err() != nil) {
			without = append(without, e)
		}
	}
	r.mu.Unlock()
	if len(without) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	l, err := r.keeper.Reserve(ctx, len(without))
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range without {
		if e.lease != nil {
			e.lease.Release(1)
		}
		e.lease = l
		e.ours = append(e.ours, l.ID())
		if len(e.ours) > 8 { // earlier ones have ended long ago
			e.ours = e.ours[1:]
		}
	}
	return nil
}

func (r *Registrar) wants(chunk []*entry) []want {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []want
	for _, e := range chunk {
		switch {
		case e.leaving && e.lease == nil:
			r.forget(e) // never written
		case e.leaving:
			own := clientv3.Compare(clientv3.LeaseValue(e.key), "=", e.lease.ID())
			if last, ok := e.goodbye(); ok {
				all = append(all, want{entry: e, value: last, cmp: own})
			} else {
				all = append(all, want{entry: e, del: true, cmp: own})
			}
		case e.written:
			all = append(all, want{entry: e, value: e.value, cmp: clientv3.Compare(clientv3.LeaseValue(e.key), "=", e.lease.ID())})
		case e.replace != 0:
			all = append(all, want{entry: e, value: e.value, cmp: clientv3.Compare(clientv3.ModRevision(e.key), "=", e.replace)})
		default:
			all = append(all, want{entry: e, value: e.value, cmp: clientv3.Compare(clientv3.CreateRevision(e.key), "=", 0)})
		}
	}
	return all
}

// goodbye is the value that says draining, if that is to be said still.
func (e *entry) goodbye() (string, bool) {
	if !e.written || e.instance.Raw != "" || e.lease.Err() != nil {
		return "", false
	}
	last := e.instance
	last.Status, last.Reason = Draining, "leaving"
	value, err := last.Encode()
	return value, err == nil && e.there != value && e.instance.Status != Draining
}

// done takes note of a transaction that went through.
func (r *Registrar) done(wants []want, revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range wants {
		if w.del {
			r.forget(w.entry)
			continue
		}
		if w.entry.again > 0 && !w.entry.written {
			r.log.Info("registered again", "key", w.entry.key, "because", w.entry.reason)
		}
		w.entry.holds(w.value, revision)
	}
}

// forget ends an entry. r.mu is held.
func (r *Registrar) forget(e *entry) {
	if e.lease != nil {
		e.lease.Release(1)
		e.lease = nil
	}
	e.written, e.gone = false, true
	delete(r.entries, e.key)
	e.tell()
}

// learn takes note of what stands under the keys of a transaction that did not go through: one
// key that is otherwise than thought is enough for that.
func (r *Registrar) learn(ctx context.Context, wants []want, resp *clientv3.TxnResponse) error {
	var strangers []*clientv3.GetResponse
	r.mu.Lock()
	for i, w := range wants {
		e := w.entry
		got := resp.Responses[i].GetResponseRange()
		switch {
		case len(got.Kvs) == 0 && e.leaving:
			r.forget(e)
		case len(got.Kvs) == 0:
			e.lost("its key was deleted by somebody")
			e.replace = 0
		case e.lease != nil && got.Kvs[0].Lease == int64(e.lease.ID()):
			e.holds(string(got.Kvs[0].Value), got.Kvs[0].ModRevision)
		case e.owned(got.Kvs[0]):
			e.lost("its lease ended")
			e.replace = got.Kvs[0].ModRevision
		case e.leaving:
			r.forget(e) // somebody else's now
		default:
			e.lost("its key was taken by somebody")
			strangers = append(strangers, (*clientv3.GetResponse)(got))
		}
	}
	r.mu.Unlock()
	for _, got := range strangers {
		if err := r.face(ctx, got); err != nil {
			return err
		}
	}
	return nil
}

// face looks at another process's lease on a key of ours. A registration that was never
// complete is refused as soon as the rival is known to live; one that was waits for the key.
func (r *Registrar) face(ctx context.Context, got *clientv3.GetResponse) error {
	kv := got.Kvs[0]
	remaining := time.Duration(-1)
	if kv.Lease != 0 {
		ttl, err := r.cli.TimeToLive(ctx, clientv3.LeaseID(kv.Lease))
		if err != nil {
			return err
		}
		if ttl.TTL < 0 {
			return nil // it ends just now
		}
		remaining = time.Duration(ttl.TTL) * time.Second
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[string(kv.Key)]
	if e == nil {
		return nil
	}
	lives := kv.Lease == 0 || e.rival.lease == kv.Lease && e.rival.alive(remaining)
	e.fails(exists(r.prefix, kv))
	if lives && e.again == 0 {
		e.refuse(e.trouble)
		delete(r.entries, e.key)
		return nil
	}
	if e.rival.lease != kv.Lease || e.rival.alive(remaining) {
		e.rival = rival{kv.Lease, remaining, time.Now()}
	}
	return nil
}

// rivals tells whether all that is left waits for other processes' keys.
func (r *Registrar) rivals(left []*entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range left {
		if errors.Is(e.trouble, ErrExists) {
			continue
		}
		return false
	}
	return true
}

// failed takes note of a try that failed for all of a chunk.
func (r *Registrar) failed(chunk []*entry, err error) {
	denied := errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, lease.ErrUnauthorised)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range chunk {
		if denied {
			e.lost("it may not be written any longer")
			e.refuse(fmt.Errorf("%w: write %s: %w", ErrUnauthorised, e.key, err))
			if e.again == 0 {
				delete(r.entries, e.key)
			}
			continue
		}
		if e.trouble == nil {
			r.log.Warn("cannot write, trying on", "key", e.key, "error", err)
		}
		e.fails(err)
	}
}
