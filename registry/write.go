package registry

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/lease"
)

const (
	// rpcTimeout bounds a request; etcd itself gives up after 7 s.
	rpcTimeout = 5 * time.Second
	// A request that has no answer within hedgeAfter is made again, by another member; see transact.
	hedgeAfter  = 500 * time.Millisecond
	hedgePerKey = 5 * time.Millisecond // a hundred times what a key costs: a busy member is not a silent one
	mostTries   = 5
	// reserveTimeout bounds the wait for a lease, which has tries of its own: it must be longer than
	// an election of etcd's takes.
	reserveTimeout = 10 * time.Second
)

// writer writes entries, and records in the table what etcd answered.
type writer struct {
	cli       *clientv3.Client
	keeper    *lease.Keeper
	ownKeeper bool // the Keeper's leases end with the registrar
	table     *table
	late      *lateWrites
	owners    *ownerCheck
	overrides *overrides
}

// operation is what a transaction does for an entry, decided under the lock.
type operation struct {
	entry       *entry
	cmp         clientv3.Cmp
	expects     int64 // the key's mod revision that is compared; 0: there must be no key, or its lease is compared
	put         record
	deletes     bool
	creates     bool // the comparison holds while there is no key
	establishes bool // the key is not ours, as far as is known: an operator may have said something meanwhile
	readOnly    bool // there is nothing to do if the comparison holds
	keepsLease  bool // if it holds, the key is on the entry's lease
}

// write does one transaction for a batch and records the result.
func (w *writer) write(ctx context.Context, batch []*entry) error {
	if err := w.reserve(ctx, batch); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	ops := w.plan(batch)
	if len(ops) == 0 {
		return nil
	}
	resp, open, err := w.transact(ctx, ops)
	if open {
		w.recordUnanswered(ops)
	}
	if errors.Is(err, rpctypes.ErrLeaseNotFound) && leaseEnds(ctx, ops) {
		return nil // the lease is known to have ended now: the next round takes another one, at once
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errtext.Errorf("no answer within %v: %w", rpcTimeout, err)
	}
	if err != nil {
		return err
	}
	if resp.Succeeded {
		w.applied(ops, resp.Header.Revision)
		return nil
	}
	return w.applyConflict(ctx, ops, resp)
}

// transact makes the transaction of operations. A user without a permission for overrides gets it without them.
func (w *writer) transact(ctx context.Context, ops []operation) (resp *clientv3.TxnResponse, open bool, err error) {
	w.table.mu.Lock()
	nothingNew, ended := w.overrides.comparisons(ops), w.overrides.deletions(ops)
	w.table.mu.Unlock()
	resp, open, err = transact(ctx, w.cli, len(ops), w.txn(ops, nothingNew, ended))
	if len(nothingNew)+len(ended) == 0 || !errors.Is(err, rpctypes.ErrPermissionDenied) {
		return resp, open, err
	}
	resp, again, err := transact(ctx, w.cli, len(ops), w.txn(ops, nil, nil))
	if err == nil {
		w.table.mu.Lock()
		w.overrides.refuseAll(ops)
		w.table.mu.Unlock()
	}
	return resp, open || again, err
}

// reserve finds room on a live lease for the entries that have none.
func (w *writer) reserve(ctx context.Context, batch []*entry) error {
	t := w.table
	var without []*entry
	t.mu.Lock()
	for _, e := range batch {
		if !e.withdrawing && (e.lease == nil || e.lease.Err() != nil) {
			without = append(without, e)
		}
	}
	t.mu.Unlock()
	if len(without) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reserveTimeout)
	defer cancel()
	l, err := w.keeper.Reserve(ctx, len(without))
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range without {
		e.reserved(l)
	}
	t.watcher.watchLease(l)
	return nil
}

// plan decides what to do for each entry. It removes those that leave and were never written.
func (w *writer) plan(batch []*entry) []operation {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	all := make([]operation, 0, len(batch))
	for _, e := range batch {
		if e.neverWritten() {
			w.table.remove(e)
			continue
		}
		// A write that was answered late, or carried out twice, fails the comparison: no revision occurs twice.
		op := operation{entry: e, put: e.wanted}
		if !e.written && !e.withdrawing {
			op.establishes = true
			w.overrides.take(e)
			op.put = e.wanted
		}
		switch {
		case e.written:
			op.expects, op.keepsLease = e.revision, e.writtenOn == e.lease
			op.readOnly = op.keepsLease && e.stored.value == e.wanted.value
		case e.replace != 0:
			op.expects = e.replace
		default:
			op.creates = !e.withdrawing
		}
		op.cmp = clientv3.Compare(clientv3.ModRevision(e.key), "=", op.expects)
		if e.withdrawing && op.expects == 0 { // and perhaps written
			op.cmp = clientv3.Compare(clientv3.LeaseValue(e.key), "=", e.lease.ID())
		}
		if e.withdrawing {
			e.withdrawTried = true
			last, say := e.drainingRecord()
			op.put, op.deletes, op.readOnly = last, !say, false
		}
		all = append(all, op)
	}
	return all
}

// txn is the transaction that does all operations if further comparisons hold as well, and more with them; or
// reads all keys.
func (w *writer) txn(ops []operation, further []clientv3.Cmp, more []clientv3.Op) clientv3.Op {
	cmps := make([]clientv3.Cmp, 0, len(ops)+len(further))
	then, otherwise := make([]clientv3.Op, 0, len(ops)+len(more)), make([]clientv3.Op, 0, len(ops))
	for _, op := range ops {
		cmps = append(cmps, op.cmp)
		switch {
		case op.readOnly:
		case op.deletes:
			then = append(then, clientv3.OpDelete(op.entry.key))
		default:
			then = append(then, clientv3.OpPut(op.entry.key, op.put.value, w.onLease(op)))
		}
		otherwise = append(otherwise, clientv3.OpGet(op.entry.key))
	}
	return clientv3.OpTxn(append(cmps, further...), append(then, more...), otherwise)
}

// onLease is the option that puts a key on its lease. A key that is on it already keeps it: with
// authentication on, etcd checks a Put that names a lease against every key of that lease, 5 µs each.
// Without authentication, naming the lease costs a little less.
func (w *writer) onLease(op operation) clientv3.OpOption {
	if op.keepsLease && w.cli.Username != "" {
		return clientv3.WithIgnoreLease()
	}
	return clientv3.WithLease(op.entry.lease.ID())
}

// transact makes a transaction that etcd may carry out twice: each one in this package compares
// revisions, so the second time it changes nothing and reads what is there.
//
// open: a try may still be carried out. The comparison of a first registration holds again after the key
// was withdrawn; see late.go.
func transact(ctx context.Context, cli *clientv3.Client, keys int, txn clientv3.Op) (resp *clientv3.TxnResponse, open bool, err error) {
	answer, open, err := hedged(ctx, keys, func(ctx context.Context) (clientv3.OpResponse, error) { return cli.Do(ctx, txn) })
	return answer.Txn(), open, err
}

// hedged makes a request that etcd may carry out twice. A member that does not answer costs hedgeAfter,
// more for many keys, and each further one twice as much, as slow members should not get much more work.
// An error that any member would give counts at once.
func hedged[T any](ctx context.Context, keys int, try func(context.Context) (T, error)) (answer T, open bool, err error) {
	wait := hedgeAfter + time.Duration(keys)*hedgePerKey
	hedge := ask.Hedge[T]{
		Try:     func(ctx context.Context, _ int) (T, error) { return try(ctx) },
		Silence: func(n int) time.Duration { return wait << max(n-1, 0) },
		Most:    mostTries,
	}
	return hedge.Run(ctx)
}

// leaseEnds asks etcd for the leases of a transaction, and reports whether one has ended.
func leaseEnds(ctx context.Context, ops []operation) bool {
	asked, ended := make(map[*lease.Lease]bool), false
	for _, op := range ops {
		if l := op.entry.lease; !asked[l] {
			asked[l] = true
			_ = l.Confirm(ctx) // only the lease's end matters, which Err says
			ended = ended || l.Err() != nil
		}
	}
	return ended
}

// recordUnanswered records that a try of a transaction has no answer.
func (w *writer) recordUnanswered(ops []operation) {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	for _, op := range ops {
		if op.readOnly || op.deletes {
			continue
		}
		if !slices.Contains(op.entry.unansweredOn, op.entry.lease) {
			op.entry.unansweredOn = append(op.entry.unansweredOn, op.entry.lease)
		}
		if op.creates {
			op.entry.lateUntil = time.Now().Add(lateWriteFor)
		}
	}
}

// applied records a transaction that etcd has applied.
func (w *writer) applied(ops []operation, revision int64) {
	t := w.table
	t.mu.Lock()
	defer t.mu.Unlock()
	var back []*entry
	var away time.Duration
	var late lateKeys
	defer func() { w.deleteLateWrites(late, revision) }()
	for _, op := range ops {
		e := op.entry
		switch {
		case op.deletes:
			late.add(e)
			t.remove(e)
			continue
		case op.readOnly:
			t.setStored(e, e.stored, e.revision)
			continue
		}
		if e.lossCount > 0 && !e.written {
			back = append(back, e)
			away = max(away, time.Since(e.since))
		}
		t.setStored(e, op.put, revision)
		t.watch(e)
	}
	if len(back) > 0 {
		t.noteEntries(slog.LevelInfo, "registered again", back, "after", away.Round(time.Millisecond))
	}
}

// applyConflict records what is under the keys of a transaction that was not applied: one key that is not
// as expected is enough for that.
func (w *writer) applyConflict(ctx context.Context, ops []operation, resp *clientv3.TxnResponse) error {
	t := w.table
	kvs := func(n int) []*mvccpb.KeyValue { return resp.Responses[n].GetResponseRange().Kvs }
	t.mu.Lock()
	unread := w.overrides.unread(ops, kvs)
	t.mu.Unlock()
	for _, e := range unread { // before anything is written over what an operator has changed
		if err := w.overrides.read(ctx, e); err != nil {
			return err
		}
	}
	var found conflict
	t.mu.Lock()
	for i, op := range ops {
		w.applyFound(op.entry, kvs(i), &found)
	}
	w.deleteLateWrites(found.late, resp.Header.Revision)
	if len(found.takenOver) > 0 {
		t.noteEntries(slog.LevelInfo, "taking over the key of a process that is gone", found.takenOver, "owner", found.from)
	}
	t.mu.Unlock()
	w.owners.check(ctx, found.owners)
	return nil
}

// conflict is what a transaction that was not applied leaves to do.
type conflict struct {
	owners    []owner  // that may live
	takenOver []*entry // from one that does not
	from      string   // that owner
	late      lateKeys
}

// applyFound records what is under an entry's key: one key, or none. table.mu is held.
func (w *writer) applyFound(e *entry, kvs []*mvccpb.KeyValue, found *conflict) {
	t := w.table
	switch {
	case len(kvs) == 0 && e.withdrawing:
		found.late.add(e)
		t.remove(e)
		return
	case len(kvs) == 0:
		t.markLost(keyDeleted, e)
		e.replace = 0
		return
	}
	switch kv := kvs[0]; {
	case e.lease != nil && kv.Lease == int64(e.lease.ID()):
		t.setStored(e, w.recordOf(e, string(kv.Value)), kv.ModRevision)
		t.watch(e)
	case e.onOurLease(kv):
		t.markLost(leaseEnded, e)
		e.replace = kv.ModRevision
	case e.withdrawing:
		found.late.add(e) // another process has it now, and may give it up
		t.remove(e)
	default:
		t.markLost(keyTaken, e)
		o := w.owners.ownerOf(kv)
		if !o.ended || kv.Lease == 0 {
			e.replace = 0
			found.owners = append(found.owners, o)
			return
		}
		// The next transaction compares this revision: consumers see the key change and never go.
		e.replace, found.from = kv.ModRevision, o.name
		found.takenOver = append(found.takenOver, e)
	}
}

// recordOf is our own value as it was found in etcd.
func (w *writer) recordOf(e *entry, value string) record {
	if value == e.wanted.value {
		return e.wanted
	}
	i, err := Decode(w.owners.prefix, e.key, value)
	if err != nil {
		return record{value, e.wanted.status}
	}
	return record{value, i.Status}
}

// deleteLateWrites has keys deleted that a late try writes after a revision. Where the registrar closes its
// own Keeper that is not needed: the leases are revoked. table.mu is held.
func (w *writer) deleteLateWrites(keys lateKeys, after int64) {
	if !w.ownKeeper || !w.table.closing {
		w.late.delete(keys, after)
	}
}
