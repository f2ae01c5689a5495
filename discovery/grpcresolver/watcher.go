package grpcresolver

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/internal/explain"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// watcher is the resolver of one connection. It passes the changes of a View on to gRPC.
type watcher struct {
	builder *Builder
	source  *source
	cc      resolver.ClientConn
	config  *serviceconfig.ParseResult
	seed    maphash.Seed // of the order

	list    []listed // as gRPC has it; nil: it has none
	failure string   // what was reported to gRPC since then, if anything

	replaced map[string]replaced // by address, of the list

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// replaced is the last registration at an address, and how often another process has replaced the one
// that was listed there.
type replaced struct {
	registration
	generation
}

func newWatcher(b *Builder, s *source, cc resolver.ClientConn) *watcher {
	return &watcher{builder: b, source: s, cc: cc, seed: maphash.MakeSeed()}
}

func (w *watcher) start() {
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	w.wg.Go(func() { w.run(ctx) }) // ends with Close, or with etcd's client
}

// ResolveNow does nothing: gRPC has all that is known.
func (w *watcher) ResolveNow(resolver.ResolveNowOptions) {}

// Close is called by gRPC, once.
func (w *watcher) Close() {
	w.stop()
	w.wg.Wait()
	w.builder.release(w.source)
}

func (w *watcher) run(ctx context.Context) {
	closed := w.builder.cli.Ctx().Done()
	for {
		p := w.source.current.Load()
		switch {
		case p.view != nil:
			w.follow(ctx, p.view)
			return
		case p.err != nil:
			w.fail(errtext.Text(p.err))
		}
		select {
		case <-p.changed:
		case <-closed:
			w.end(nil)
			return
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) follow(ctx context.Context, v *discovery.View) {
	for {
		changed, turned := v.Changed(), v.FreshnessChanged()
		w.pass(v)
		select {
		case <-changed:
		case <-turned: // the text for an empty list has changed
		case <-v.Done():
			w.end(v)
			return
		case <-w.builder.cli.Ctx().Done():
			w.end(v)
			return
		case <-ctx.Done():
			return
		}
	}
}

// pass passes a list on to gRPC, if it differs for gRPC.
func (w *watcher) pass(v *discovery.View) {
	list := w.order(w.forGRPC(v.Instances()))
	switch {
	case len(list) == 0:
		w.reportEmpty(v)
	case !slices.Equal(list, w.list):
		w.update(v, list)
	}
}

func (w *watcher) update(v *discovery.View, list []listed) {
	w.list, w.failure = list, ""
	s := resolver.State{ServiceConfig: w.config, Attributes: attributes.New(viewKey{}, v)}
	was := w.replaced
	w.replaced = make(map[string]replaced, len(list))
	for _, i := range list {
		e := i.endpoint(w.replace(was, i))
		s.Endpoints = append(s.Endpoints, e)
		s.Addresses = append(s.Addresses, plain(e)) // for balancers made with gRPC's balancer/base
	}
	_ = w.cc.UpdateState(s) // an error would ask to resolve again, with the same result
}

// replace records which process is at the address, and returns the generation of its connection.
// Another process gets another generation: a connection to the process before it cannot be alive, and
// its back-off does not matter to the new one.
func (w *watcher) replace(was map[string]replaced, i listed) generation {
	r, there := was[i.Addr]
	if i.registration != (registration{}) {
		if there && i.anotherProcess(r.registration) {
			r.generation++
		}
		r.registration = i.registration
	}
	w.replaced[i.Addr] = r
	return r.generation
}

// clear makes gRPC end all connections. Most of its balancers have an error for each endpoint, and say
// "no children to pick from" without endpoints, so it gets one endpoint, without an address.
func (w *watcher) clear(a *attributes.Attributes) {
	w.list, w.failure, w.replaced = nil, "", nil
	none := listed{Endpoint: Endpoint{Service: w.source.service, ID: "none"}}.endpoint(0)
	none.Addresses = nil
	_ = w.cc.UpdateState(resolver.State{Endpoints: []resolver.Endpoint{none}, ServiceConfig: w.config, Attributes: a})
}

// end tells gRPC that the etcd client was closed. The list would never change again, so connections
// end after their RPCs. v may be nil.
func (w *watcher) end(v *discovery.View) {
	text := explain.ClientClosed("a connection to " + quote.Text(w.source.service))
	err := status.Error(codes.Unavailable, "grpcresolver: "+text)
	w.clear(attributes.New(viewKey{}, v).WithValue(closedKey{}, err))
	w.fail(text)
}

// reportEmpty tells gRPC of a list without an instance for it.
func (w *watcher) reportEmpty(v *discovery.View) {
	if w.list != nil { // the connections have to end, and gRPC's balancers have to say why there is none
		w.clear(attributes.New(viewKey{}, v))
	}
	required := "has an address"
	if w.builder.opts.View.OnlyServing {
		required = "takes requests and has an address"
	}
	w.fail(explain.Empty(v, required))
}

// fail makes RPCs end with codes.Unavailable and the text, while there is no list. It takes a text, as
// gRPC would use the status in an error for the RPC: etcd's PermissionDenied would end even RPCs that
// wait for ready.
func (w *watcher) fail(text string) {
	if text != w.failure {
		w.failure = text
		w.cc.ReportError(fmt.Errorf("grpcresolver: %s", text))
	}
}
