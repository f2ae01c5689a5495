package registry

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// refusedFor is how long overrides of a service are not asked for after etcd has refused them: the user's
// role may have no permission for them.
const refusedFor = 10 * time.Minute

// overrides knows what operators have said of a registrar's instances. It costs no watch and no request of its
// own: a transaction that registers compares that nothing was said since they were last read, and an operator
// changes the instance's key, too, so that the watch of that reports it. table.mu guards it.
type overrides struct {
	cli    *clientv3.Client
	prefix string
	table  *table
	known  map[string]*serviceOverrides // by the prefix of a service's keys
}

// serviceOverrides are those of a service, as of a revision.
type serviceOverrides struct {
	revision     int64 // 0: they were not read yet
	byID         map[string]*mvccpb.KeyValue
	refusedUntil time.Time
}

func newOverrides(cli *clientv3.Client, prefix string, t *table) *overrides {
	return &overrides{cli, prefix, t, make(map[string]*serviceOverrides)}
}

func (o *overrides) of(service string) *serviceOverrides {
	s := o.known[service]
	if s == nil {
		s = &serviceOverrides{}
		o.known[service] = s
	}
	return s
}

// key is the key of an entry's override.
func (o *overrides) key(e *entry) string {
	return overridesPrefix(o.prefix, e.instance.Service) + e.instance.ID
}

// take brings what is known into an entry that is about to be registered. table.mu is held.
func (o *overrides) take(e *entry) {
	s := o.of(e.service)
	kv := s.byID[e.instance.ID]
	if kv == nil {
		o.set(e, nil, 0)
		return
	}
	said, err := decodeOverride(string(kv.Value))
	if err != nil {
		if e.overrideRevision != kv.ModRevision {
			o.table.note(slog.LevelWarn, "an operator's override cannot be read", "key", string(kv.Key), "error", err)
		}
		o.set(e, nil, kv.ModRevision)
		return
	}
	o.set(e, &said, kv.ModRevision)
}

// set sets an entry's override, and logs a change.
func (o *overrides) set(e *entry, said *Override, revision int64) {
	if e.instance.Raw != "" || !e.setOverride(said, revision) {
		return
	}
	if said == nil {
		o.table.note(slog.LevelInfo, "an operator has taken back the status", "key", e.key, "status", e.wanted.status)
		return
	}
	o.table.note(slog.LevelWarn, "an operator has set the status", "key", e.key, "status", said.Status, "reason", said.Reason, "by", said.By)
}

// comparisons hold if no operator has said anything of entries that are being registered since it was read.
// table.mu is held.
func (o *overrides) comparisons(ops []operation) (cmps []clientv3.Cmp) {
	now := time.Now()
	service := ""
	for _, op := range ops {
		e := op.entry
		if !op.establishes || now.Before(o.of(e.service).refusedUntil) {
			continue
		}
		if e.service != service { // ops are in the order of their keys
			service = e.service
			newer := clientv3.Compare(clientv3.ModRevision(overridesPrefix(o.prefix, e.instance.Service)), "<", o.of(service).revision+1)
			cmps = append(cmps, newer.WithPrefix())
		}
		if e.overrideRevision != 0 { // and that this one was not taken back
			cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(o.key(e)), "=", e.overrideRevision))
		}
	}
	return cmps
}

// unread returns an entry of each service of which a transaction that was not applied shows that an operator may
// have said something: of all that it registers, if no key is in the way, and of those whose key another client
// has changed. table.mu is held.
func (o *overrides) unread(ops []operation, found func(int) []*mvccpb.KeyValue) (services []*entry) {
	asExpected := true
	changed, establishes := make(map[string]*entry), make(map[string]*entry)
	for n, op := range ops {
		e, revision := op.entry, int64(0)
		kvs := found(n)
		if len(kvs) > 0 {
			revision = kvs[0].ModRevision
		}
		asExpected = asExpected && revision == op.expects
		switch {
		case op.establishes:
			establishes[e.service] = e
		case revision != 0 && revision != op.expects && e.onOurLease(kvs[0]): // also one that leaves: it may be the end of an override
			changed[e.service] = e
		}
	}
	if asExpected {
		changed = establishes
	}
	for service, e := range changed {
		if !time.Now().Before(o.of(service).refusedUntil) {
			services = append(services, e)
		}
	}
	return services
}

// read reads the overrides of a service, and brings them into its entries that are registered.
func (o *overrides) read(ctx context.Context, of *entry) error {
	prefix := overridesPrefix(o.prefix, of.instance.Service)
	resp, _, err := hedged(ctx, 1, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return o.cli.Get(ctx, prefix, clientv3.WithPrefix())
	})
	o.table.mu.Lock()
	defer o.table.mu.Unlock()
	s := o.of(of.service)
	if errors.Is(err, rpctypes.ErrPermissionDenied) {
		o.refuse(of.service)
		return nil
	}
	if err != nil {
		return err
	}
	s.revision, s.byID = resp.Header.Revision, make(map[string]*mvccpb.KeyValue, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		s.byID[strings.TrimPrefix(string(kv.Key), prefix)] = kv
	}
	for _, e := range o.table.entries {
		if e.service == of.service {
			was := e.wanted.value
			if o.take(e); e.wanted.value != was {
				o.table.markDirty(e)
			}
		}
	}
	return nil
}

// deletions end the overrides that say draining of instances that are withdrawn: they have done their work.
// table.mu is held.
func (o *overrides) deletions(ops []operation) (all []clientv3.Op) {
	for _, op := range ops {
		if e := op.entry; op.deletes && e.override != nil && e.override.Status == Draining && !time.Now().Before(o.of(e.service).refusedUntil) {
			all = append(all, clientv3.OpDelete(o.key(e)))
		}
	}
	return all
}

// refuseAll is refuse for the services of a transaction that etcd refuses with their overrides only.
// table.mu is held.
func (o *overrides) refuseAll(ops []operation) {
	for _, op := range ops {
		o.refuse(op.entry.service)
	}
}

// refuse records that etcd does not let this user read a service's overrides. table.mu is held.
func (o *overrides) refuse(service string) {
	s := o.of(service)
	if s.refusedUntil.IsZero() {
		o.table.note(slog.LevelInfo, "what operators say of instances is not read: the user has no permission", "prefix", o.prefix+overridesSegment+"/", "service", service)
	}
	s.refusedUntil = time.Now().Add(refusedFor)
}
