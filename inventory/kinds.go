package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/registry"
)

// inventory is what the reading found.
func (r *reader) inventory() *Inventory {
	kvs := r.all()
	inv := &Inventory{
		Leases: r.leases, Revision: r.revision, Ranges: r.ranges, OmittedLeases: r.omitted, OmittedKeys: r.omittedKeys,
		Locks: lock.Parse(kvs, nil), Elections: election.Parse(kvs, nil),
	}
	slices.SortFunc(inv.Locks, func(a, b *lock.Queue) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(inv.Elections, func(a, b *election.Queue) int { return cmp.Compare(a.Name, b.Name) })
	known := make(map[string]Key)
	for _, q := range inv.Locks {
		q.Revision, q.Count = r.revision, max(q.Count, r.incomplete[q.Name+"/"])
		for i := range q.Entries {
			known[q.Entries[i].Key] = Key{Kind: KindLock, Entry: &q.Entries[i]}
		}
	}
	for _, q := range inv.Elections {
		q.Revision, q.Count = r.revision, max(q.Count, r.incomplete[q.Name+"/"])
		for i := range q.Candidates {
			q.Candidates[i].ValueSize = cmp.Or(r.sizes[q.Candidates[i].Key], q.Candidates[i].ValueSize)
			known[q.Candidates[i].Key] = Key{Kind: KindCandidate, Candidate: &q.Candidates[i]}
		}
	}
	leases := make(map[clientv3.LeaseID]*Lease, len(r.leases))
	for _, l := range r.leases {
		leases[l.ID] = l
	}
	services := make(map[string]*Service)
	for _, kv := range kvs {
		l := leases[clientv3.LeaseID(kv.Lease)]
		if l == nil {
			continue
		}
		key, ok := known[string(kv.Key)]
		if !ok {
			key = r.other(kv, services)
		}
		key.Key, key.CreateRevision, key.ModRevision, key.Version, key.ValueSize = string(kv.Key), kv.CreateRevision, kv.ModRevision, kv.Version, r.size(kv)
		l.Keys = append(l.Keys, key)
	}
	for _, l := range r.leases {
		slices.SortFunc(l.Keys, func(a, b Key) int { return strings.Compare(a.Key, b.Key) })
	}
	inv.Services = sorted(services)
	for prefix := range r.incomplete {
		inv.Incomplete = append(inv.Incomplete, strings.TrimSuffix(prefix, "/"))
	}
	slices.Sort(inv.Incomplete)
	return inv
}

// other is a key that belongs to no queue. An instance is added to its service.
func (r *reader) other(kv *mvccpb.KeyValue, services map[string]*Service) Key {
	prefix, i, ok := instance(string(kv.Key), string(kv.Value))
	if !ok || r.size(kv) != len(kv.Value) {
		return Key{Kind: KindPlain}
	}
	s := services[prefix+i.Service]
	if s == nil {
		s = &Service{Prefix: prefix, Name: i.Service}
		services[prefix+i.Service] = s
	}
	s.Instances = append(s.Instances, ServiceInstance{Instance: i, Key: string(kv.Key), Lease: clientv3.LeaseID(kv.Lease)})
	return Key{Kind: KindInstance, Instance: &i}
}

// instance reads one from a key, PREFIX SERVICE/ID, and its value.
func instance(key, value string) (prefix string, _ registry.Instance, ok bool) {
	service, _, found := cutLast(key)
	if !found {
		return "", registry.Instance{}, false
	}
	if above, _, found := cutLast(service); found {
		prefix = above + "/"
	}
	i, err := registry.Decode(prefix, key, value)
	if err != nil || i.Addr == "" && prefix != registry.DefaultPrefix {
		return "", registry.Instance{}, false
	}
	return prefix, i, true
}

func cutLast(key string) (before, after string, found bool) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return "", "", false
	}
	return key[:i], key[i+1:], true
}

func sorted(services map[string]*Service) []*Service {
	all := make([]*Service, 0, len(services))
	for _, s := range services {
		slices.SortFunc(s.Instances, func(a, b ServiceInstance) int { return strings.Compare(a.Key, b.Key) })
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Service) int {
		return cmp.Or(strings.Compare(a.Prefix, b.Prefix), strings.Compare(a.Name, b.Name))
	})
	return all
}

// String says in one line what the key is: "lock jobs/nightly: holds, worker (pid 7 on host vm) since 12:00:01". What
// another process wrote is quoted, unless it is one harmless word.
func (k Key) String() string {
	switch {
	case k.Entry != nil:
		if k.Entry.Foreign {
			return fmt.Sprintf("lock %s: %s (clientv3 or etcdctl)", quote.Word(k.Entry.Name), k.Entry.Status)
		}
		return fmt.Sprintf("lock %s: %s, %s", quote.Word(k.Entry.Name), k.Entry.Status, k.Entry)
	case k.Candidate != nil:
		return fmt.Sprintf("election %s: %s, %s", quote.Word(k.Candidate.Name), k.Candidate.Status, quote.Text(k.Candidate.Value))
	case k.Instance != nil:
		return fmt.Sprintf("service %s: %s, %s", quote.Word(k.Instance.Service), quote.Word(k.Instance.ID), cmp.Or(string(k.Instance.Status), string(registry.Passing)))
	default:
		return fmt.Sprintf("key %s", quote.Word(k.Key))
	}
}
