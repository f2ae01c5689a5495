package grpcresolver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/serviceconfig"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
)

// Name is that of the balancer, for service configs.
const Name = "etcdkit"

// ServiceConfig is one that asks for the balancer and nothing else.
const ServiceConfig = `{"loadBalancingConfig":[{"` + Name + `":{}}]}`

// gRPC finds balancers by name, in a map without a lock that is to be written "during
// initialization time (i.e. in an init() function)" only (balancer.Register): in New it would
// race with connections that are there, such as that of the etcd client.
func init() { balancer.Register(policy{}) }

type policy struct{}

func (policy) Name() string { return Name }

// ParseConfig accepts no settings: they are the View's.
func (policy) ParseConfig(js json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	var none struct {
		serviceconfig.LoadBalancingConfig `json:"-"`
	}
	d := json.NewDecoder(bytes.NewReader(js))
	d.DisallowUnknownFields()
	if err := d.Decode(&none); err != nil {
		return nil, fmt.Errorf("grpcresolver: the balancer %q has no settings in a service config, they are those of Options.View: %w", Name, err)
	}
	return none, nil
}

// Build makes a balancer of one that gRPC makes for policies such as this one: it has a
// connection to each endpoint, and tells in what state they are.
func (policy) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	b := &picking{ClientConn: cc}
	b.children = endpointsharding.NewBalancer(b, opts, balancer.Get(pickfirst.Name).Build, endpointsharding.Options{})
	return b
}

// picking is the balancer of one connection. To its children it is the ClientConn.
type picking struct {
	balancer.ClientConn
	children balancer.Balancer

	mu   sync.Mutex
	view *discovery.View
	down map[string]bool // by address
}

func (b *picking) UpdateClientConnState(s balancer.ClientConnState) error {
	v, ok := s.ResolverState.Attributes.Value(viewKey{}).(*discovery.View)
	if !ok {
		err := fmt.Errorf("grpcresolver: the balancer %q is for targets %s:///SERVICE", Name, Scheme)
		b.ClientConn.UpdateState(balancer.State{ConnectivityState: connectivity.TransientFailure, Picker: base.NewErrPicker(err)})
		return balancer.ErrBadResolverState
	}
	b.mu.Lock()
	b.view = v
	b.mu.Unlock()
	return b.children.UpdateClientConnState(balancer.ClientConnState{
		ResolverState: pickfirst.EnableHealthListener(s.ResolverState), // gRPC's health checks and outlier detection
	})
}

func (b *picking) ResolverError(err error) { b.children.ResolverError(err) }

func (b *picking) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {} // children listen

func (b *picking) Close() { b.children.Close() }

func (b *picking) ExitIdle() { b.children.ExitIdle() }

// UpdateState is called by the children, whenever one of them is in another state.
func (b *picking) UpdateState(s balancer.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &picker{view: b.view, ready: make(map[string]balancer.Picker), down: make(map[string]bool)}
	for _, c := range endpointsharding.ChildStatesFromPicker(s.Picker) {
		for _, a := range c.Endpoint.Addresses {
			switch state := c.State.ConnectivityState; {
			case state == connectivity.Ready:
				p.ready[a.Addr] = c.State.Picker
				p.any = append(p.any, c.State.Picker)
			case state == connectivity.TransientFailure, b.down[a.Addr]: // on its way back it is Connecting for a moment
				p.down[a.Addr] = true
			}
		}
	}
	if len(p.ready) > 0 { // otherwise gRPC's own waits, or has the errors
		s.Picker = p
	}
	b.ClientConn.UpdateState(s)
	b.welcome(p)
	b.down = p.down
}

// welcome ends the pause of those that are connected again. b.mu is held.
func (b *picking) welcome(p *picker) {
	if len(b.down) == 0 {
		return
	}
	for _, i := range b.view.Instances() {
		if b.down[i.Addr] && p.ready[i.Addr] != nil {
			b.view.Recovered(i)
		}
	}
}

// picker chooses for each RPC, among the connections as they were when it was made.
type picker struct {
	view  *discovery.View
	ready map[string]balancer.Picker // by address
	down  map[string]bool
	any   []balancer.Picker // the ready ones
	next  atomic.Uint64     // of them
}

// tries is how often the View is asked for an instance that is connected. It is told of those
// that cannot be, and avoids them, so that more than one are due to those being connected only.
const tries = 16

func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	for range tries {
		i, err := p.view.Pick()
		if err != nil {
			break // gRPC is about to be told that there is none
		}
		child := p.ready[i.Addr]
		if child == nil {
			p.view.Report(i, p.reason(i.Addr))
			continue
		}
		r, err := child.Pick(info)
		if err != nil {
			p.view.Report(i, errUnused)
			return r, err
		}
		r.Done = func(d balancer.DoneInfo) { p.view.Report(i, verdict(d)) }
		return r, nil
	}
	return p.any[p.next.Add(1)%uint64(len(p.any))].Pick(info)
}

// reason is why an instance was not taken.
func (p *picker) reason(addr string) error {
	if p.down[addr] {
		return errDown
	}
	return errUnused
}

var (
	errDown = errors.New("grpcresolver: no connection")
	// errUnused says nothing about an instance.
	errUnused = fmt.Errorf("grpcresolver: not used: %w", context.Canceled)
)

// verdict is what the end of an RPC says about the instance.
func verdict(d balancer.DoneInfo) error {
	switch {
	case status.Code(d.Err) == codes.Unavailable:
		return d.Err
	case d.BytesReceived:
		return nil // an answer, whatever it says
	}
	return errUnused // cancelled, out of time, or never sent
}
