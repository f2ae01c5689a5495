package discovery

import (
	"context"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/registry"
)

// Service is a service that has instances.
type Service struct {
	Name      string
	Instances int // registered, in any status
}

// servicesPage is how many keys the first request of Services reads.
const servicesPage = 10_000

// Services lists the services below Options.Prefix that have instances, by name, with how many they
// have. It reads keys only, linearizably, and all at one revision; one request is enough for 10,000
// instances. Keys that are not PREFIX/SERVICE/ID, with a name that can be registered, are left out.
// It waits for the answers until ctx is done, or for 15 s. Of opts only Prefix counts; a Policy that
// is not valid is ErrInvalid.
func Services(ctx context.Context, cli *clientv3.Client, opts *Options) ([]Service, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, errtext.Errorf("discovery: list services: %w", err)
	}
	if _, err := registry.ServicePrefix(o.Prefix, "any"); err != nil { // this checks the prefix
		return nil, errtext.Errorf("discovery: list services: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	ctx, done := ask.Of(cli).WhileOpen(ctx) // a closed client ends it
	defer done()
	var all []Service
	revision := int64(0)
	pages := &ask.Pages{From: o.Prefix, End: clientv3.GetPrefixRangeEnd(o.Prefix), Revision: &revision, Limit: servicesPage}
	for kvs, err := range pages.Read(func(from string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
		return cli.Get(ctx, from, append(opts, clientv3.WithKeysOnly())...)
	}) {
		if err != nil {
			return nil, errtext.Errorf("discovery: list services below %q: %w", o.Prefix, ask.Of(cli).Explain(err))
		}
		for _, kv := range kvs {
			all = counted(all, strings.TrimPrefix(string(kv.Key), o.Prefix))
		}
	}
	slices.SortFunc(all, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// counted adds an instance to its service's count. Keys come in order, so one service after the other.
func counted(all []Service, key string) []Service {
	name, id, ok := strings.Cut(key, "/")
	if !ok || id == "" || strings.Contains(id, "/") {
		return all
	}
	if last := len(all) - 1; last >= 0 && all[last].Name == name {
		all[last].Instances++
		return all
	}
	if _, err := registry.ServicePrefix("/", name); err != nil {
		return all
	}
	return append(all, Service{name, 1})
}
