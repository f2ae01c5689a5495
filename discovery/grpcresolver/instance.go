package grpcresolver

import (
	"cmp"
	"hash/maphash"
	"math"
	"slices"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/ringhash"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/registry"
)

// Instance is what gRPC's balancers may know of an endpoint. Two are equal if nothing of it has
// changed.
type Instance struct {
	Service, ID, Addr string
	Version, Zone     string
	Weight            int // 1 at least
	Status            registry.Status
}

type (
	instanceKey struct{} // of an endpoint's attributes
	viewKey     struct{} // of a state's
)

// InstanceOf returns the instance of a resolver.Endpoint's Attributes, or of the
// BalancerAttributes of a resolver.Address, which balancers made with gRPC's balancer/base get;
// those see them as they were when the connection was made.
func InstanceOf(a *attributes.Attributes) (Instance, bool) {
	i, ok := a.Value(instanceKey{}).(Instance)
	return i, ok
}

// endpoint is the instance for gRPC. All that may change about it is in the endpoint's
// attributes: those of an address would, with each change, make it another connection.
func (i Instance) endpoint() resolver.Endpoint {
	e := resolver.Endpoint{Addresses: []resolver.Address{{Addr: i.Addr}}, Attributes: attributes.New(instanceKey{}, i)}
	e = weight.Set(e, weight.EndpointInfo{Weight: uint32(i.Weight)})
	return ringhash.SetHashKey(e, i.ID)
}

func (i Instance) address(a *attributes.Attributes) resolver.Address {
	//lint:ignore SA1019 it is to be used no more inside an Endpoint, where this is not
	return resolver.Address{Addr: i.Addr, BalancerAttributes: a}
}

// listed are the instances for gRPC: those that take requests, or if there are none, all. To gRPC
// an endpoint is its address, so that of instances at the same one the first counts.
func listed(all []*discovery.Instance) []Instance {
	takes := func(i *discovery.Instance) bool { return i.Status.Serving() || i.Status == discovery.Expired }
	list, seen := make([]Instance, 0, len(all)), make(map[string]bool, len(all))
	for _, wanted := range []func(*discovery.Instance) bool{takes, func(*discovery.Instance) bool { return true }} {
		for _, i := range all {
			if i.Addr != "" && !seen[i.Addr] && wanted(i) {
				seen[i.Addr] = true
				list = append(list, Instance{
					Service: i.Service, ID: i.ID, Addr: i.Addr, Version: i.Version, Zone: i.Zone, Weight: i.Weight, Status: i.Status,
				})
			}
		}
		if len(list) > 0 {
			break
		}
	}
	return list
}

// order is the one in which pick_first tries: the zone's own first, and then such that each
// connection draws one by weight (Efraimidis and Spirakis 2006), and keeps to it while it is
// there. A list has one order, so that lists can be compared.
func (w *watcher) order(list []Instance) []Instance {
	zone := w.builder.opts.View.Zone
	rank := make(map[string]float64, len(list))
	for _, i := range list {
		dice := (float64(maphash.String(w.seed, i.ID)>>11) + 0.5) / (1 << 53) // in (0, 1)
		rank[i.ID] = -math.Log(dice) / float64(i.Weight)
	}
	away := func(i Instance) int {
		if zone == "" || i.Zone == zone {
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(away(a), away(b)), cmp.Compare(rank[a.ID], rank[b.ID]), cmp.Compare(a.ID, b.ID))
	})
	return list
}
