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

// Endpoint is what gRPC's balancers can know about an instance. Two are equal if nothing has changed.
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

// registration identifies one registration of an instance. The zero value means that the instance is
// not registered.
type registration struct {
	created int64
	host    string
	pid     int
}

// anotherProcess reports whether r was made by another process than old. Without process ids, each
// registration counts as another process.
func (r registration) anotherProcess(old registration) bool {
	if r.pid == 0 || old.pid == 0 {
		return r != old
	}
	return r.pid != old.pid || r.host != old.host
}

// registrationIn returns the registration of an instance in the list.
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

// of returns the address for gRPC. For gRPC another generation is another address, with its own
// connection.
func (g generation) of(addr string) resolver.Address {
	a := resolver.Address{Addr: addr}
	if g > 0 {
		a.Attributes = attributes.New(generationKey{}, g)
	}
	return a
}

// EndpointOf returns the Endpoint in a resolver.Endpoint's Attributes, or in the BalancerAttributes of
// a resolver.Address. Balancers made with gRPC's balancer/base get the latter, as they were when the
// connection was made.
func EndpointOf(a *attributes.Attributes) (Endpoint, bool) {
	i, ok := a.Value(endpointKey{}).(Endpoint)
	return i, ok
}

// endpoint returns the instance for gRPC. What can change is in the endpoint's attributes: each change
// of an address's attributes would make another connection.
func (i listed) endpoint(g generation) resolver.Endpoint {
	e := resolver.Endpoint{
		Addresses:  []resolver.Address{g.of(i.Addr)},
		Attributes: attributes.New(endpointKey{}, i.Endpoint).WithValue(registrationKey{}, i.registration),
	}
	e = weight.Set(e, weight.EndpointInfo{Weight: uint32(i.Weight)})
	return ringhash.SetHashKey(e, i.ID)
}

// plain returns the endpoint's address, for balancers that do not use endpoints.
func plain(e resolver.Endpoint) resolver.Address {
	a := e.Addresses[0]
	//lint:ignore SA1019 it is deprecated inside an Endpoint only, and this is outside
	a.BalancerAttributes = e.Attributes
	return a
}

// forGRPC returns the instances for gRPC: those that take requests, or if there are none, all of them,
// unless OnlyServing is set. discovery.View.Pick has the same rule, but here instances without an
// address are left out first. For gRPC an endpoint is its address, so of several instances at one
// address the first counts.
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

// order sorts a list as pick_first tries it: the zone's own instances first, and then such that each
// connection draws one by weight (Efraimidis and Spirakis 2006), and keeps it while it is registered.
// A list has one order only, so that lists can be compared.
func (w *watcher) order(list []listed) []listed {
	zone := w.builder.opts.View.Zone
	rank := make(map[string]float64, len(list))
	for _, i := range list {
		uniform := (float64(maphash.String(w.seed, i.ID)>>11) + 0.5) / (1 << 53) // in (0, 1)
		rank[i.ID] = -math.Log(uniform) / float64(i.Weight)
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
