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

// Endpoint is what gRPC's balancers may know of an endpoint. Two are equal if nothing of it has
// changed.
type Endpoint struct {
	Service, ID, Addr string
	Version, Zone     string
	Weight            int // 1 at least
	Status            registry.Status
}

type (
	endpointKey     struct{} // of an endpoint's attributes
	registrationKey struct{} // of an endpoint's attributes
	generationKey   struct{} // of an address's attributes
	viewKey         struct{} // of a state's
	closedKey       struct{} // of a state's
)

// registration tells one registration of an instance from another. The zero value is that of an
// instance that is not registered.
type registration struct {
	created int64
	host    string
	pid     int
}

// anotherProcess reports whether r was made by another process than old. One that was made
// without a process id is.
func (r registration) anotherProcess(old registration) bool {
	if r.pid == 0 || old.pid == 0 {
		return r != old
	}
	return r.pid != old.pid || r.host != old.host
}

// registrationIn is that of an instance in the list.
func registrationIn(i *discovery.Instance) registration {
	if i.Status == discovery.Expired {
		return registration{}
	}
	return registration{i.Created, i.Host, i.PID}
}

func registrationOf(a *attributes.Attributes) registration {
	r, _ := a.Value(registrationKey{}).(registration)
	return r
}

// listed is an instance with its registration.
type listed struct {
	Endpoint
	registration
}

// generation counts the connections that an address had because its server was replaced.
type generation int

// of is the address for gRPC. Another generation is another address to gRPC, with a connection of
// its own.
func (g generation) of(addr string) resolver.Address {
	a := resolver.Address{Addr: addr}
	if g > 0 {
		a.Attributes = attributes.New(generationKey{}, g)
	}
	return a
}

// EndpointOf returns the instance of a resolver.Endpoint's Attributes, or of the
// BalancerAttributes of a resolver.Address, which balancers made with gRPC's balancer/base get;
// those see them as they were when the connection was made.
func EndpointOf(a *attributes.Attributes) (Endpoint, bool) {
	i, ok := a.Value(endpointKey{}).(Endpoint)
	return i, ok
}

// endpoint is the instance for gRPC. All that may change about it is in the endpoint's
// attributes: those of an address would, with each change, make it another connection.
func (i listed) endpoint(g generation) resolver.Endpoint {
	e := resolver.Endpoint{
		Addresses:  []resolver.Address{g.of(i.Addr)},
		Attributes: attributes.New(endpointKey{}, i.Endpoint).WithValue(registrationKey{}, i.registration),
	}
	e = weight.Set(e, weight.EndpointInfo{Weight: uint32(i.Weight)})
	return ringhash.SetHashKey(e, i.ID)
}

// plain is the endpoint's address for balancers that know no endpoints.
func plain(e resolver.Endpoint) resolver.Address {
	a := e.Addresses[0]
	//lint:ignore SA1019 it is to be used no more inside an Endpoint, where this is not
	a.BalancerAttributes = e.Attributes
	return a
}

// forGRPC are the instances for gRPC: those that take requests, or if there are none, all, unless the
// view's options have OnlyServing. To gRPC
// an endpoint is its address, so that of instances at the same one the first counts.
func (w *watcher) forGRPC(all []*discovery.Instance) []listed {
	list, seen := make([]listed, 0, len(all)), make(map[string]bool, len(all))
	rest := func(*discovery.Instance) bool { return !w.builder.opts.View.OnlyServing }
	for _, wanted := range []func(*discovery.Instance) bool{(*discovery.Instance).TakesRequests, rest} {
		for _, i := range all {
			if i.Addr != "" && !seen[i.Addr] && wanted(i) {
				seen[i.Addr] = true
				next := listed{Endpoint: Endpoint{
					Service: i.Service, ID: i.ID, Addr: i.Addr, Version: i.Version, Zone: i.Zone, Weight: i.Weight, Status: i.Status,
				}}
				next.registration = registrationIn(i)
				list = append(list, next)
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
func (w *watcher) order(list []listed) []listed {
	zone := w.builder.opts.View.Zone
	rank := make(map[string]float64, len(list))
	for _, i := range list {
		dice := (float64(maphash.String(w.seed, i.ID)>>11) + 0.5) / (1 << 53) // in (0, 1)
		rank[i.ID] = -math.Log(dice) / float64(i.Weight)
	}
	away := func(i listed) int {
		if zone == "" || i.Zone == zone {
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(a, b listed) int {
		return cmp.Or(cmp.Compare(away(a), away(b)), cmp.Compare(rank[a.ID], rank[b.ID]), cmp.Compare(a.ID, b.ID))
	})
	return list
}
