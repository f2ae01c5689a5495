package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

var (
	// ErrNotRegistered: there is no such instance.
	ErrNotRegistered = errors.New("registry: not registered")
	// ErrForeign: the value was not written by this package, or is Raw: it has no room for a status that its
	// process would keep.
	ErrForeign = errors.New("registry: its value has no status that its process would keep")
	// ErrNoOverride: there is an instance, and no override that could be taken back.
	ErrNoOverride = errors.New("registry: no override is set")
)

// Operator looks at instances of all processes, and changes them from outside: for tools of people, and for
// programs that deploy. Its methods may be called from any goroutine. Each request waits for etcd until ctx ends, or for
// 15 s.
//
//	op, err := registry.NewOperator(cli, "") // "" is DefaultPrefix
//	…
//	err = op.SetOverride(ctx, "web", "node1", registry.Override{Status: registry.Maintenance, Reason: "disk"})
//	…
//	_, err = op.ClearOverride(ctx, "web", "node1")
//
// The user must be allowed to read and write below the prefix.
type Operator struct {
	cli    *clientv3.Client
	prefix string
}

const (
	operatorTimeout = 15 * time.Second
	operatorTries   = 20 // an instance may change while it is overridden: its checks find something, or it leaves
)

// NewOperator sends nothing. prefix is as in Options. The error is ErrInvalid.
func NewOperator(cli *clientv3.Client, prefix string) (*Operator, error) {
	prefix = cmp.Or(prefix, DefaultPrefix)
	if err := validPrefix(prefix); err != nil {
		return nil, err
	}
	return &Operator{cli, prefix}, nil
}

// Record is an instance as it is in etcd.
type Record struct {
	Service, ID string
	// Key and Value in etcd, on Lease; 0: on none, so that it stays when its process ends. Without a
	// ModRevision there is no key: an Override waits for an instance of that name.
	Key, Value                  string
	Lease                       clientv3.LeaseID
	CreateRevision, ModRevision int64
	// Instance is what the value says. Err is why it is not an instance: it is ErrValue.
	Instance Instance
	Err      error
	// Since is when its process registered it, by the clock there: for people. Zero: the value does not say.
	Since time.Time
	// Override is what an operator has set; nil: nothing.
	Override *Override
}

// Registered reports whether there is a key.
func (r *Record) Registered() bool { return r.ModRevision != 0 }

// Records returns the instances of a service, linearizably and all at one revision, by ID; of all services if
// service is "". Overrides without an instance are among them. Keys below the prefix that are not SERVICE/ID are left out.
func (o *Operator) Records(ctx context.Context, service string) ([]Record, error) {
	below, overrides := o.prefix, "" // those of all services are below it, too
	if service != "" {
		if err := validName("service", service); err != nil {
			return nil, err
		}
		below, overrides = keyOf(o.prefix, service, ""), overridesPrefix(o.prefix, service)
	}
	// Where the revision is compacted between two pages, it is read again in larger pages: a page is never torn.
	for larger := 1; ; larger = min(8*larger, 1<<10) {
		all, said, err := o.readRecords(ctx, below, overrides, larger)
		if errors.Is(err, rpctypes.ErrCompacted) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		return o.records(all, said), nil
	}
}

// readRecords reads what is below two prefixes at one revision; overrides "" are below the first one.
func (o *Operator) readRecords(ctx context.Context, below, overrides string, larger int) (all, said []*mvccpb.KeyValue, err error) {
	revision := int64(0)
	if all, err = o.read(ctx, below, &revision, larger); err != nil {
		return nil, nil, o.failed("list instances below "+quote.Text(below), err)
	}
	if overrides == "" {
		return all, all, nil
	}
	if said, err = o.read(ctx, overrides, &revision, larger); err != nil {
		return nil, nil, o.failed("list overrides below "+quote.Text(overrides), err)
	}
	return all, said, nil
}

// read reads all keys below a prefix as of a revision, in pages that are so many times larger than usual.
func (o *Operator) read(ctx context.Context, below string, revision *int64, larger int) (all []*mvccpb.KeyValue, _ error) {
	pages := &ask.Pages{From: below, End: clientv3.GetPrefixRangeEnd(below), Revision: revision, Limit: larger * ask.FirstPage, Bytes: larger * ask.PageBytes}
	for kvs, err := range pages.Read(func(from string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
		ctx, done := o.bound(ctx)
		defer done()
		return o.cli.Get(ctx, from, opts...)
	}) {
		if err != nil {
			return nil, err
		}
		all = append(all, kvs...)
	}
	return all, nil
}

// records makes records of instances' keys and of overrides'.
func (o *Operator) records(all, said []*mvccpb.KeyValue) (records []Record) {
	overrides := make(map[string]*Override)
	for _, kv := range said {
		if name, below := strings.CutPrefix(string(kv.Key), o.prefix+overridesSegment+"/"); below {
			if o, err := decodeOverride(string(kv.Value)); err == nil {
				overrides[name] = &o
			}
		}
	}
	for _, kv := range all {
		if service, id, ok := splitKey(o.prefix, string(kv.Key)); ok {
			r := o.record(service, id, kv)
			r.Override = overrides[service+"/"+id]
			delete(overrides, service+"/"+id)
			records = append(records, r)
		}
	}
	for name, waiting := range overrides {
		if service, id, ok := splitKey("", name); ok {
			records = append(records, Record{Service: service, ID: id, Key: keyOf(o.prefix, service, id), Override: waiting})
		}
	}
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.ID, b.ID))
	})
	return records
}

// record is an instance's key as a record, without its override.
func (o *Operator) record(service, id string, kv *mvccpb.KeyValue) Record {
	r := Record{
		Service: service, ID: id, Key: string(kv.Key), Value: string(kv.Value), Lease: clientv3.LeaseID(kv.Lease),
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision,
	}
	if r.Instance, r.Err = Decode(o.prefix, r.Key, r.Value); r.Err == nil {
		if p := recordedProcess(r.Value); p != nil {
			r.Since = time.Unix(p.since, 0)
		}
	}
	return r
}

// SetOverride sets the status of an instance of another process until ClearOverride takes it back. It
// is there for all readers when SetOverride returns, also where the process is paused. See Override.
//
// The errors are ErrInvalid, ErrNotRegistered and ErrForeign. An instance that was registered by a version
// of this package which does not know overrides writes its own status again at once.
func (o *Operator) SetOverride(ctx context.Context, service, id string, said Override) error {
	err := said.Validate()
	if err == nil {
		if said.Since.IsZero() {
			said.Since = time.Now()
		}
		var text string
		if text, err = encodeOverride(said); err == nil {
			err = o.change(ctx, service, id, func(at *overridden) ([]clientv3.Op, error) { return at.set(said, text) })
		}
	}
	if err != nil {
		return errtext.Errorf("registry: set the status of %s: %w", quote.Text(service+"/"+id), err)
	}
	return nil
}

// ClearOverride takes back an override, and returns what it was. The instance's process then writes its own
// status, within milliseconds while it runs; a process that is paused does so when it continues.
// An override that cannot be read is taken back, too: what it was is then the zero Override.
//
// The error is ErrNoOverride if none is set, and ErrNotRegistered if there is no instance either.
func (o *Operator) ClearOverride(ctx context.Context, service, id string) (was *Override, err error) {
	err = o.change(ctx, service, id, func(at *overridden) ([]clientv3.Op, error) {
		if at.override == nil && was != nil {
			return nil, nil // a try that had no answer has deleted it
		}
		ops, err := at.clear()
		if err == nil {
			was = cmp.Or(at.said, new(Override))
		}
		return ops, err
	})
	if err != nil {
		return nil, errtext.Errorf("registry: take back the override of %s: %w", quote.Text(service+"/"+id), err)
	}
	return was, nil
}

// overridden is an instance and its override, as they are in etcd.
type overridden struct {
	key, overrideKey string
	prefix           string
	kv, override     *mvccpb.KeyValue // nil: there is none
	said             *Override        // nil, too, if it cannot be read
}

// change makes a change that depends on what is there, again if it has changed meanwhile.
func (o *Operator) change(ctx context.Context, service, id string, plan func(*overridden) ([]clientv3.Op, error)) error {
	if err := validName("service", service); err != nil {
		return err
	}
	if err := validName("id", id); err != nil {
		return err
	}
	ctx, done := o.bound(ctx)
	defer done()
	at := &overridden{key: keyOf(o.prefix, service, id), overrideKey: overridesPrefix(o.prefix, service) + id, prefix: o.prefix}
	read := []clientv3.Op{clientv3.OpGet(at.key), clientv3.OpGet(at.overrideKey)}
	resp, err := o.cli.Txn(ctx).Then(read...).Commit()
	for range operatorTries {
		if err != nil {
			return ask.Of(o.cli).Explain(err)
		}
		at.found(resp)
		ops, err := plan(at)
		if err != nil || len(ops) == 0 {
			return err
		}
		if resp, err = o.transact(ctx, clientv3.OpTxn(at.unchanged(), ops, read)); err != nil {
			return ask.Of(o.cli).Explain(err)
		}
		if resp.Succeeded {
			return nil
		}
	}
	return fmt.Errorf("it changes all the time: %d tries failed", operatorTries)
}

// transact makes a transaction that compares revisions. Where the connection broke it is made again, so that its reads
// tell what became of the first one.
func (o *Operator) transact(ctx context.Context, txn clientv3.Op) (*clientv3.TxnResponse, error) {
	resp, _, err := transact(ctx, o.cli, 1, txn)
	if err != nil && !ask.NotApplied(err) && ctx.Err() == nil {
		if again, _, err := transact(ctx, o.cli, 1, txn); err == nil {
			return again, nil
		}
	}
	return resp, err
}

// found takes what both reads found.
func (a *overridden) found(resp *clientv3.TxnResponse) {
	one := func(n int) *mvccpb.KeyValue {
		if kvs := resp.Responses[n].GetResponseRange().Kvs; len(kvs) > 0 {
			return kvs[0]
		}
		return nil
	}
	a.kv, a.override, a.said = one(0), one(1), nil
	if a.override != nil {
		if said, err := decodeOverride(string(a.override.Value)); err == nil {
			a.said = &said
		}
	}
}

// unchanged compares that both keys are as they were found.
func (a *overridden) unchanged() []clientv3.Cmp {
	same := func(key string, kv *mvccpb.KeyValue) clientv3.Cmp {
		if kv == nil {
			return clientv3.Compare(clientv3.ModRevision(key), "=", 0)
		}
		return clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)
	}
	return []clientv3.Cmp{same(a.key, a.kv), same(a.overrideKey, a.override)}
}

// set writes the override, and the instance's value with it: readers see it at once, and the process, which watches
// its key, learns of it.
func (a *overridden) set(said Override, text string) ([]clientv3.Op, error) {
	if a.kv == nil {
		return nil, ErrNotRegistered
	}
	value, err := withStatus(a.prefix, a.kv, said)
	if err != nil {
		return nil, err
	}
	if a.said != nil && a.said.Status == said.Status && a.said.Reason == said.Reason && value == string(a.kv.Value) {
		return nil, nil // a try that had no answer has done it, or another operator
	}
	return []clientv3.Op{clientv3.OpPut(a.overrideKey, text), clientv3.OpPut(a.key, value, clientv3.WithIgnoreLease())}, nil
}

// clear deletes the override. It writes the instance's value again as it is, which tells the process.
func (a *overridden) clear() ([]clientv3.Op, error) {
	switch {
	case a.override == nil && a.kv == nil:
		return nil, ErrNotRegistered
	case a.override == nil:
		return nil, ErrNoOverride
	}
	ops := []clientv3.Op{clientv3.OpDelete(a.overrideKey)}
	if a.kv != nil {
		ops = append(ops, clientv3.OpPut(a.key, string(a.kv.Value), clientv3.WithIgnoreLease()))
	}
	return ops, nil
}

// withStatus is an instance's value with the status of an override. One that says draining because its process leaves
// stays as it is.
func withStatus(prefix string, kv *mvccpb.KeyValue, said Override) (string, error) {
	service, id, _ := splitKey(prefix, string(kv.Key))
	i := Instance{Service: service, ID: id}
	if len(kv.Value) > maxValue || !i.readOurs(string(kv.Value)) || i.PID == 0 {
		return "", fmt.Errorf("%w: %s", ErrForeign, quote.Cut(string(kv.Value), 40))
	}
	if i.Status == Draining && i.Reason == leavingReason {
		return string(kv.Value), nil
	}
	i.Status, i.Reason, i.process = said.Status, said.Reason, recordedProcess(string(kv.Value))
	return i.encodeInRoom()
}

// bound bounds a call.
func (o *Operator) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	ctx, closed := ask.Of(o.cli).WhileOpen(ctx)
	return ctx, func() { closed(); cancel() }
}

func (o *Operator) failed(what string, err error) error {
	return errtext.Errorf("registry: %s: %w", what, ask.Of(o.cli).Explain(err))
}
