package grpcresolver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/internal/explain"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Name is the balancer's name, for service configs.
const Name = "etcdkit"

// ServiceConfig selects the balancer, and nothing else.
const ServiceConfig = `{"loadBalancingConfig":[{"` + Name + `":{}}]}`

// gRPC finds balancers by name, in a map without a lock that must only be written "during
// initialization time (i.e. in an init() function)" (balancer.Register): in New the write would race
// with existing connections, such as that of the etcd client.
func init() { balancer.Register(policy{}) }

type policy struct{}

func (policy) Name() string { return Name }

// ParseConfig accepts no settings: Options.View has them.
func (policy) ParseConfig(js json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	var none struct {
		serviceconfig.LoadBalancingConfig `json:"-"`
	}
	d := json.NewDecoder(bytes.NewReader(js))
	d.DisallowUnknownFields()
	if err := d.Decode(&none); err != nil {
		return nil, errtext.Errorf("grpcresolver: the balancer %q has no settings in a service config: set them in Options.View: %w", Name, err)
	}
	return none, nil
}

// Build uses a balancer that gRPC has for policies such as this one: it connects to each endpoint, and
// reports the states of the connections.
func (policy) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	b := &serviceBalancer{ClientConn: cc, servers: make(map[string]*server)}
	b.life, b.stop = context.WithCancel(context.Background())
	b.children = endpointsharding.NewBalancer(b, opts, balancer.Get(pickfirst.Name).Build, endpointsharding.Options{})
	return b
}

// serviceBalancer is the balancer of one connection. Its children use it as their ClientConn.
type serviceBalancer struct {
	balancer.ClientConn
	children balancer.Balancer

	life   context.Context // ends with Close
	stop   context.CancelFunc
	probes sync.WaitGroup

	mu      sync.Mutex
	view    *discovery.View
	closed  error              // says that the etcd client was closed; nil: it was not
	servers map[string]*server // by address
}

func (b *serviceBalancer) UpdateClientConnState(s balancer.ClientConnState) error {
	a := s.ResolverState.Attributes
	v, ok := a.Value(viewKey{}).(*discovery.View)
	closed, _ := a.Value(closedKey{}).(error)
	if !ok && closed == nil {
		err := fmt.Errorf("grpcresolver: the balancer %q is for targets %s:///SERVICE", Name, Scheme)
		b.ClientConn.UpdateState(balancer.State{ConnectivityState: connectivity.TransientFailure, Picker: base.NewErrPicker(err)})
		return balancer.ErrBadResolverState
	}
	b.mu.Lock()
	b.view, b.closed = v, closed
	s.ResolverState.Endpoints = b.updateServers(s.ResolverState.Endpoints)
	b.mu.Unlock()
	return b.children.UpdateClientConnState(balancer.ClientConnState{
		ResolverState: pickfirst.EnableHealthListener(s.ResolverState), // gRPC's health checks and outlier detection
	})
}

// updateServers makes gRPC connect immediately to servers that are registered again and not connected.
// Otherwise gRPC would wait for the back-off that began while they were away. For gRPC an address with
// another attribute is another address, whose connection has no back-off. b.mu is held.
func (b *serviceBalancer) updateServers(endpoints []resolver.Endpoint) []resolver.Endpoint {
	was := b.servers
	b.servers = make(map[string]*server, len(endpoints))
	endpoints = slices.Clone(endpoints)
	for n, e := range endpoints {
		if len(e.Addresses) == 0 {
			continue
		}
		addr, now := e.Addresses[0].Addr, registrationOf(e.Attributes)
		s := was[addr]
		switch {
		case s == nil:
			s = &server{addr: addr, registration: now}
			s.life, s.left = context.WithCancel(b.life)
		case now != (registration{}) && now != s.registration:
			switch was := s.registration; {
			case was != (registration{}) && now.anotherProcess(was): // what is known is about the process before
				s.left()
				s = &server{addr: addr, generation: s.generation + 1}
				s.life, s.left = context.WithCancel(b.life)
			case !s.ready:
				s.generation++
			}
			s.registration = now
		}
		b.servers[addr] = s
		endpoints[n].Addresses = []resolver.Address{generation(s.generation).of(addr)}
	}
	for addr, s := range was {
		if b.servers[addr] == nil {
			s.left()
		}
	}
	return endpoints
}

func (b *serviceBalancer) ResolverError(err error) { b.children.ResolverError(err) }

func (b *serviceBalancer) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {} // children listen

func (b *serviceBalancer) Close() {
	b.mu.Lock() // a probe that was started is in probes
	b.stop()
	b.mu.Unlock()
	b.children.Close()
	b.probes.Wait()
}

func (b *serviceBalancer) ExitIdle() { b.children.ExitIdle() }

// UpdateState is called by the children, one at a time, whenever the state of one changes.
func (b *serviceBalancer) UpdateState(s balancer.State) {
	p, back := b.picker(endpointsharding.ChildStatesFromPicker(s.Picker))
	switch {
	case p.closed != nil:
		s = balancer.State{ConnectivityState: connectivity.TransientFailure, Picker: base.NewErrPicker(p.closed)}
	case len(p.ready) > 0:
		s.Picker = p
	case s.ConnectivityState == connectivity.TransientFailure:
		s.Picker = expiredPicker{s.Picker, p.view}
	} // otherwise gRPC's own picker makes RPCs wait
	b.ClientConn.UpdateState(s)
	p.reportRecovered(back)
}

// picker makes a picker for the states of the children. back are the addresses that are connected again.
func (b *serviceBalancer) picker(states []endpointsharding.ChildState) (p *picker, back []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p = &picker{b: b, view: b.view, closed: b.closed, ready: make(map[string]connected), down: make(map[string]error)}
	p.usable = p.isUsable
	for _, c := range states {
		for _, a := range c.Endpoint.Addresses {
			server := b.servers[a.Addr]
			if server == nil {
				continue // it has just left the list
			}
			server.ready = c.State.ConnectivityState == connectivity.Ready
			switch c.State.ConnectivityState {
			case connectivity.Ready:
				p.ready[a.Addr] = connected{c.State.Picker, server, server.registration}
				p.all = append(p.all, p.ready[a.Addr])
				if server.down != nil {
					server.down, back = nil, append(back, a.Addr)
				}
			case connectivity.TransientFailure:
				server.down = why(c.State.Picker)
			}
			if server.down != nil { // while it comes back it is Connecting for a moment
				p.down[a.Addr] = server.down
			}
		}
	}
	return p, back
}

// why returns why there is no connection.
func why(p balancer.Picker) error {
	if _, err := p.Pick(balancer.PickInfo{Ctx: context.Background()}); err != nil {
		return errtext.Errorf("%w: %w", errDown, err)
	}
	return errDown
}

// reportRecovered ends the pause of the instances that are connected again.
func (p *picker) reportRecovered(back []string) {
	if len(back) == 0 || p.closed != nil {
		return
	}
	for _, i := range p.view.Instances() {
		if slices.Contains(back, i.Addr) {
			p.view.ReportRecovery(i)
		}
	}
}

// connected is a server with a connection.
type connected struct {
	balancer.Picker
	*server
	of registration // at its address, when the picker was made
}

// picker chooses for each RPC, among the connections as they were when it was made.
type picker struct {
	b      *serviceBalancer
	view   *discovery.View
	closed error                          // says that the etcd client was closed; nil: it was not
	ready  map[string]connected           // by address
	down   map[string]error               // by address: why it is not connected
	usable func(*discovery.Instance) bool // isUsable, made once
	all    []connected                    // the ready ones
	next   atomic.Uint64                  // of them
}

func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	i, err := p.view.PickWhere(p.usable)
	if err != nil { // the View has a newer list than gRPC
		return p.use(nil, p.nextReady(), info)
	}
	r, err := p.use(i, p.ready[i.Addr], info)
	if err != nil {
		p.view.Report(i, explain.ErrUnused)
	}
	return r, err
}

// nextReady returns the next one of the servers with a connection, rather one that answers.
func (p *picker) nextReady() (c connected) {
	for range p.all {
		c = p.all[p.next.Add(1)%uint64(len(p.all))]
		if c.state.Load() == well {
			break
		}
	}
	return c
}

// use sends an RPC to a server. i may be nil.
func (p *picker) use(i *discovery.Instance, c connected, info balancer.PickInfo) (balancer.PickResult, error) {
	r, err := c.Pick(info)
	if err != nil {
		return r, err
	}
	sc, answers := r.SubConn, c.answers.Load()
	r.Done = func(d balancer.DoneInfo) { p.view.Report(i, p.b.outcome(i, c.server, sc, answers, d)) }
	return r, nil
}

// isUsable reports whether an RPC can be sent to an instance. The View is told of one that failed, so
// that it avoids it.
func (p *picker) isUsable(i *discovery.Instance) bool {
	why := p.whyUnusable(i)
	if why != nil && !errors.Is(why, context.Canceled) {
		p.view.ReportFailure(i, why)
	}
	return why == nil
}

// whyUnusable returns why no RPC can be sent to an instance, explain.ErrUnused if that says nothing about it,
// or nil.
func (p *picker) whyUnusable(i *discovery.Instance) error {
	c, ready := p.ready[i.Addr]
	if !ready {
		if err := p.down[i.Addr]; err != nil {
			return err
		}
		return explain.ErrUnused
	}
	switch {
	case c.suspected():
		return explain.ErrUnused
	case c.silent():
		if now := registrationIn(i); now != (registration{}) && c.of != (registration{}) && now.anotherProcess(c.of) {
			return explain.ErrUnused // the View knows of another process, and gRPC will hear of it soon
		}
		return errSilent
	}
	return nil
}

// expiredPicker has RPCs say that no instance is registered any more, where all that are listed have
// expired and cannot be connected to.
type expiredPicker struct {
	balancer.Picker
	view *discovery.View
}

func (n expiredPicker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	r, err := n.Picker.Pick(info)
	if err == nil || errors.Is(err, balancer.ErrNoSubConnAvailable) {
		return r, err
	}
	if text, ok := explain.AllExpired(n.view); ok {
		err = fmt.Errorf("grpcresolver: %s: %v", text, err)
	}
	return r, err
}
