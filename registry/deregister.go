package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// ErrChanged: there is an instance, and it has changed since its Record was read. It was not deleted.
var ErrChanged = errors.New("registry: changed meanwhile")

// livesWithin is how long Deregister looks for a sign of life: it sees two renewals of a lease with a TTL of up to 20 s.
const livesWithin = 8 * time.Second

// Deregister deletes the key of an instance whose process is gone, or that is on no lease, and returns what it was.
// The key must not change meanwhile: otherwise it is ErrChanged.
//
// A process that lives registers its instance again within a second, so that deleting its key does not help: that is
// ErrExists, and nothing is deleted. SetOverride is what does. A process lives if its lease is renewed while Deregister
// looks, for as long as a renewal may take and 8 s at most; it is gone if the record proves that, as Register has
// it. If neither shows in that time the error is ErrExists, too, and says so: Delete asks no questions.
func (o *Operator) Deregister(ctx context.Context, service, id string) (Record, error) {
	r, err := o.Record(ctx, service, id)
	if err != nil {
		return r, err
	}
	if !r.Registered() {
		err = ErrNotRegistered
	} else {
		err = o.gone(ctx, &r)
	}
	if err == nil {
		return r, o.Delete(ctx, r)
	}
	return r, errtext.Errorf("registry: deregister %s: %w", quote.Text(service+"/"+id), err)
}

// Record returns one instance. The error is ErrNotRegistered if there is neither an instance nor an override.
func (o *Operator) Record(ctx context.Context, service, id string) (Record, error) {
	var r Record
	err := o.change(ctx, service, id, func(at *overridden) ([]clientv3.Op, error) {
		if at.kv == nil && at.override == nil {
			return nil, ErrNotRegistered
		}
		r = Record{Service: service, ID: id, Key: at.key}
		if at.kv != nil {
			r = o.record(service, id, at.kv)
		}
		r.Override = at.said
		return nil, nil
	})
	if err != nil {
		return Record{}, errtext.Errorf("registry: read %s: %w", quote.Text(service+"/"+id), err)
	}
	return r, nil
}

// Delete deletes the key of a Record, if it is as it was read; otherwise it is ErrChanged. It is nil, too, if the key is
// gone already: etcd cannot tell whether an earlier try of this call, which had no answer, has deleted it. The instance
// comes back if its process lives.
//
// Other errors are ErrNotRegistered, for a Record that has an override only, and ErrInvalid, for one whose key is no
// instance's below the Operator's prefix.
func (o *Operator) Delete(ctx context.Context, r Record) error {
	err := o.delete(ctx, &r)
	if err != nil {
		return errtext.Errorf("registry: delete %s: %w", quote.Text(r.Key), err)
	}
	return nil
}

func (o *Operator) delete(ctx context.Context, r *Record) error {
	if _, _, ok := splitKey(o.prefix, r.Key); !ok {
		return fmt.Errorf("%w: it is not SERVICE/ID below %s", ErrInvalid, quote.Text(o.prefix))
	}
	if !r.Registered() {
		return ErrNotRegistered
	}
	ctx, done := o.bound(ctx)
	defer done()
	same := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(r.Key), "=", r.ModRevision)}
	read := []clientv3.Op{clientv3.OpGet(r.Key, clientv3.WithKeysOnly())}
	resp, err := o.transact(ctx, clientv3.OpTxn(same, []clientv3.Op{clientv3.OpDelete(r.Key)}, read))
	switch {
	case err != nil:
		return ask.Of(o.cli).Explain(err)
	case !resp.Succeeded && len(resp.Responses[0].GetResponseRange().Kvs) > 0:
		return ErrChanged
	}
	return nil
}

// gone returns nil if no process keeps a record registered.
func (o *Operator) gone(ctx context.Context, r *Record) error {
	if r.Lease == 0 {
		return nil
	}
	name := processName(&r.Instance)
	if p := recordedProcess(r.Value); r.Err == nil && r.Instance.PID != 0 {
		if ended, _ := p.ended(r.Instance.PID); ended {
			return nil
		}
	}
	ctx, closed := ask.Of(o.cli).WhileOpen(ctx)
	defer closed()
	return o.leaseGone(ctx, int64(r.Lease), name)
}

// leaseGone returns nil if a lease ends, or is not renewed when its process would have to.
func (o *Operator) leaseGone(ctx context.Context, id int64, name string) error {
	look, cancel := context.WithTimeout(ctx, livesWithin)
	defer cancel()
	c := &ownerCheck{cli: o.cli}
	unread := func(err error) error {
		return errtext.Errorf("whether its process (%s) lives is not known: read lease %x: %w", name, id, ask.Of(o.cli).Explain(err))
	}
	first, ends, err := c.readLease(look, id)
	if err != nil {
		return unread(err)
	}
	for !ends {
		select {
		case <-time.After(ownerPause):
		case <-look.Done():
		}
		switch {
		case ctx.Err() != nil:
			return unread(context.Cause(ctx))
		case look.Err() != nil && err != nil:
			return unread(err)
		case look.Err() != nil:
			return errtext.Errorf("%w: lease %x was not renewed for %v, so its process may be gone, which is not certain: %s; it has %v left",
				ErrExists, id, livesWithin, name, first.remaining)
		}
		var next ownerLease
		if next, ends, err = c.readLease(look, id); err != nil {
			if ask.Permanent(err) {
				return unread(err)
			}
			if time.Since(next.asked) < hedgeAfter && look.Err() != nil {
				err = nil // its time was up: this says nothing of etcd
			}
			continue
		}
		if first.renewed(next) {
			return fmt.Errorf("%w: its process lives and would register it again: %s", ErrExists, name)
		}
		if next.remaining < first.remaining/2 { // a renewal comes after a third of the TTL
			return nil
		}
		if !first.comparable(next) {
			first = next
		}
	}
	return nil
}

// processName names the process of an instance for people.
func processName(i *Instance) string {
	if i.PID == 0 {
		return "a process that does not identify itself"
	}
	return fmt.Sprintf("pid %d on host %s", i.PID, quote.Word(i.Host))
}
