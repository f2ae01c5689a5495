package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/lease"
)

// want is what a transaction does for an entry, decided under the lock.
type want struct {
	entry *entry
	cmp   clientv3.Cmp
	put   record
	del   bool
	first bool // the comparison holds while there is no key
	look  bool // there is nothing to do if the comparison holds
	stays bool // if it holds, the key is on the entry's lease
}

// write does one transaction for a chunk and records what it learnt.
func (r *Registrar) write(ctx context.Context, chunk []*entry) error {
	if err := r.reserve(ctx, chunk); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	wants := r.wants(chunk)
	if len(wants) == 0 {
		return nil
	}
	cmps := make([]clientv3.Cmp, 0, len(wants))
	then, otherwise := make([]clientv3.Op, 0, len(wants)), make([]clientv3.Op, 0, len(wants))
	for _, w := range wants {
		cmps = append(cmps, w.cmp)
		switch {
		case w.look:
		case w.del:
			then = append(then, clientv3.OpDelete(w.entry.key))
		default:
			then = append(then, clientv3.OpPut(w.entry.key, w.put.value, r.onLease(w)))
		}
		otherwise = append(otherwise, clientv3.OpGet(w.entry.key))
	}
	resp, open, err := transact(ctx, r.cli, len(wants), clientv3.OpTxn(cmps, then, otherwise))
	if open {
		r.unheard(wants)
	}
	if errors.Is(err, rpctypes.ErrLeaseNotFound) && ended(ctx, wants) {
		return nil // with this known the next round goes on another one, at once
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v: %w", rpcTimeout, err)
	}
	if err != nil {
		return err
	}
	if resp.Succeeded {
		r.done(wants, resp.Header.Revision)
		return nil
	}
	r.learn(ctx, wants, resp)
	return nil
}

// transact makes a transaction that may be carried out twice: each of this package compares revisions,
// so that the second one changes nothing and says what stands there. A member that does not answer costs
// hedgeAfter, longer for many keys, and each further one twice as much: where all members are slow that
// must not add much to their work. An error that any member would give counts at once.
//
// open tells that a try may still be carried out. The comparison of a first registration holds again once
// the key was withdrawn; see late.go.
func transact(ctx context.Context, cli *clientv3.Client, keys int, txn clientv3.Op) (resp *clientv3.TxnResponse, open bool, err error) {
	wait := hedgeAfter + time.Duration(keys)*hedgePerKey
	hedge := ask.Hedge[clientv3.OpResponse]{
		Try:     func(ctx context.Context, _ int) (clientv3.OpResponse, error) { return cli.Do(ctx, txn) },
		Silence: func(n int) time.Duration { return wait << max(n-1, 0) },
		Most:    mostTries,
	}
	answer, open, err := hedge.Run(ctx)
	return answer.Txn(), open, err
}

// onLease is the option that puts a key on its lease. One that is there already stays on it: with
// authentication on, etcd checks a Put that names a lease against every key of that lease, 5 µs each.
// Without it, to leave the lease as it is costs a little more than to name it.
func (r *Registrar) onLease(w want) clientv3.OpOption {
	if w.stays && r.cli.Username != "" {
		return clientv3.WithIgnoreLease()
	}
	return clientv3.WithLease(w.entry.lease.ID())
}

// ended asks whether the leases of a transaction live, and tells whether one does not.
func ended(ctx context.Context, wants []want) bool {
	asked, ended := make(map[*lease.Lease]bool), false
	for _, w := range wants {
		if l := w.entry.lease; !asked[l] {
			asked[l] = true
			_ = l.Confirm(ctx) // its end is what matters, and Err tells
			ended = ended || l.Err() != nil
		}
	}
	return ended
}

func (r *Registrar) wants(chunk []*entry) []want {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]want, 0, len(chunk))
	for _, e := range chunk {
		if e.unwritten() {
			r.forget(e)
			continue
		}
		// A write that etcd answered late, or twice, fails the comparison: no revision comes back.
		w := want{entry: e, put: e.wanted}
		switch {
		case e.written:
			w.cmp, w.stays = clientv3.Compare(clientv3.ModRevision(e.key), "=", e.revision), e.on == e.lease
			w.look = w.stays && e.there.value == e.wanted.value
		case e.replace != 0:
			w.cmp = clientv3.Compare(clientv3.ModRevision(e.key), "=", e.replace)
		case e.leaving: // and perhaps written
			w.cmp = clientv3.Compare(clientv3.LeaseValue(e.key), "=", e.lease.ID())
		default:
			w.cmp, w.first = clientv3.Compare(clientv3.CreateRevision(e.key), "=", 0), true
		}
		if e.leaving {
			last, say := e.goodbye()
			w.put, w.del, w.look = last, !say, false
		}
		all = append(all, w)
	}
	return all
}

// unheard records that a try of a transaction has no answer.
func (r *Registrar) unheard(wants []want) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range wants {
		if w.look || w.del {
			continue
		}
		if !slices.Contains(w.entry.untold, w.entry.lease) {
			w.entry.untold = append(w.entry.untold, w.entry.lease)
		}
		if w.first {
			w.entry.late = time.Now().Add(lateness)
		}
	}
}

// done records a transaction that went through.
func (r *Registrar) done(wants []want, revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var back []*entry
	var away time.Duration
	var late lateKeys
	defer func() { r.undoLate(late, revision) }()
	for _, w := range wants {
		e := w.entry
		switch {
		case w.del:
			late.add(e)
			r.forget(e)
			continue
		case w.look:
			e.holds(e.there, e.revision)
			continue
		}
		if e.again > 0 && !e.written {
			back = append(back, e)
			away = max(away, time.Since(e.since))
		}
		e.holds(w.put, revision)
		r.watcher.cover(e)
	}
	if len(back) > 0 {
		r.note(slog.LevelInfo, "registered again", about("after", away.Round(time.Millisecond), back)...)
	}
}

// forget ends an entry. r.mu is held.
func (r *Registrar) forget(e *entry) {
	if e.lease != nil {
		e.lease.Unreserve(1)
		e.lease = nil
	}
	e.written, e.gone = false, true
	if r.entries[e.key] == e {
		delete(r.entries, e.key)
		e.unclaim()
		if service := e.service(); r.services[service] > 1 {
			r.services[service]--
		} else {
			delete(r.services, service)
		}
	}
	r.watcher.uncover(e)
	e.tell()
	if r.closed {
		r.urge() // it may have been the last
	}
}

// learn records what stands under the keys of a transaction that did not go through: one
// key that is otherwise than thought is enough for that.
func (r *Registrar) learn(ctx context.Context, wants []want, resp *clientv3.TxnResponse) {
	type stranger struct {
		kv *mvccpb.KeyValue
		owner
	}
	var strangers []stranger
	var inherited []*entry
	var from string
	var late lateKeys
	r.mu.Lock()
	for i, w := range wants {
		e := w.entry
		got := resp.Responses[i].GetResponseRange()
		switch {
		case len(got.Kvs) == 0 && e.leaving:
			late.add(e)
			r.forget(e)
		case len(got.Kvs) == 0:
			r.lose(keyDeleted, e)
			e.replace = 0
		case e.lease != nil && got.Kvs[0].Lease == int64(e.lease.ID()):
			e.holds(r.recorded(e, string(got.Kvs[0].Value)), got.Kvs[0].ModRevision)
			r.watcher.cover(e)
		case e.owned(got.Kvs[0]):
			r.lose(leaseEnded, e)
			e.replace = got.Kvs[0].ModRevision
		case e.leaving:
			r.forget(e) // another process has it now
		default:
			r.lose(keyTaken, e)
			kv := got.Kvs[0]
			o := ownerOf(r.prefix, kv)
			if !o.gone || kv.Lease == 0 {
				e.replace = 0
				strangers = append(strangers, stranger{kv, o})
				continue
			}
			// The next transaction compares this revision: consumers see the key change and never go.
			e.replace, from = kv.ModRevision, o.who
			inherited = append(inherited, e)
		}
	}
	r.undoLate(late, resp.Header.Revision)
	if len(inherited) > 0 {
		r.note(slog.LevelInfo, "taking over the key of a process that is gone", about("owner", from, inherited)...)
	}
	r.mu.Unlock()
	for _, s := range strangers {
		r.face(ctx, s.kv, s.owner)
	}
}

// recorded is a value of ours that was found in etcd.
func (r *Registrar) recorded(e *entry, value string) record {
	if value == e.wanted.value {
		return e.wanted
	}
	i, err := Decode(r.prefix, e.key, value)
	if err != nil {
		return record{value, e.wanted.status}
	}
	return record{value, i.Status}
}

// face looks at another process's lease on a key of ours. A registration that was never
// complete is refused as soon as the owner is known to live; one that was waits for the key.
func (r *Registrar) face(ctx context.Context, kv *mvccpb.KeyValue, o owner) {
	look, ends, err := r.look(ctx, kv.Lease)
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[string(kv.Key)]
	if e == nil {
		return
	}
	if err != nil {
		e.fails(fmt.Errorf("ask for the lease of its owner: %w", err), rand.N(rivalPause), false)
		return
	}
	lives, established := kv.Lease == 0 || e.rival.renewed(look), e.revision > 0
	pause := rivalPause
	switch {
	case e.foreign > kv.ModRevision:
		pause = 0 // it has changed meanwhile
	case ends:
		pause = firstPause
	case lives && established:
		pause = slowPause // and its watch tells when the key becomes free
	}
	if e.trouble == nil && !lives {
		r.note(slog.LevelWarn, "waiting for the lease of the key's owner to end", "key", e.key, "owner", o.who,
			"lease", fmt.Sprintf("%016x", kv.Lease), "left", max(look.remaining, 0), "because", o.why)
	}
	e.fails(occupied(kv.Lease, lives, o, look.remaining), pause, lives && !established)
	if lives || !e.rival.comparable(look) {
		e.rival = look
	}
}

// occupied says who keeps the key from being ours, and what can be done about it.
func occupied(on int64, lives bool, o owner, remaining time.Duration) error {
	switch {
	case on == 0:
		return fmt.Errorf("%w: by %s, on no lease, so that it stays; choose another ID, or delete the key", ErrExists, o.who)
	case lives:
		return fmt.Errorf("%w: %s; choose another ID, or stop it", ErrExists, o.who)
	}
	return fmt.Errorf("waiting for lease %016x of the key's owner to end, which has %v left and was not seen renewed yet: %s; that it is gone is not proven: %s",
		on, max(remaining, 0), o.who, o.why)
}

// look asks how long a lease has left, and whether it ends just now.
func (r *Registrar) look(ctx context.Context, id int64) (look rival, ends bool, err error) {
	look = rival{lease: id, asked: time.Now()}
	if id == 0 {
		return look, false, nil
	}
	ttl, err := r.cli.TimeToLive(ctx, clientv3.LeaseID(id))
	if err != nil {
		return look, false, err
	}
	look.answered, look.remaining = time.Now(), time.Duration(ttl.TTL)*time.Second
	if ttl.TTL <= ttl.GrantedTTL { // otherwise the leader has not begun to count
		look.term = ttl.RaftTerm
	}
	return look, ttl.TTL < 0, nil
}
