package grpcresolver

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/etcdkit/etcdkit/discovery"
)

// watcher is the resolver of one connection. It tells gRPC what is new in a View.
type watcher struct {
	builder *Builder
	source  *source
	cc      resolver.ClientConn
	config  *serviceconfig.ParseResult
	seed    maphash.Seed // of the order

	list    []Instance // as gRPC has it; nil: it has none
	failure string     // what gRPC was told since, if anything

	stop context.CancelFunc
	wg   sync.WaitGroup
}

func newWatcher(b *Builder, s *source, cc resolver.ClientConn) *watcher {
	return &watcher{builder: b, source: s, cc: cc, seed: maphash.MakeSeed()}
}

func (w *watcher) start() {
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	w.wg.Go(func() { w.run(ctx) }) // ends with Close, or with etcd's client
}

// ResolveNow does nothing: what there is to know was told.
func (w *watcher) ResolveNow(resolver.ResolveNowOptions) {}

// Close is called by gRPC, once.
func (w *watcher) Close() {
	w.stop()
	w.wg.Wait()
	w.builder.release(w.source)
}

func (w *watcher) run(ctx context.Context) {
	for {
		p := w.source.now.Load()
		switch {
		case p.view != nil:
			w.follow(ctx, p.view)
			return
		case p.err != nil:
			w.fail(p.err.Error())
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) follow(ctx context.Context, v *discovery.View) {
	for {
		changed, turned := v.Changed(), v.Turned()
		w.tell(v)
		select {
		case <-changed:
		case <-turned: // what is said of an empty list
		case <-v.Done():
			w.fail(v.Err().Error()) // the client was closed; who has a list keeps it
			return
		case <-ctx.Done():
			return
		}
	}
}

// tell passes a list on, if it is another one to gRPC.
func (w *watcher) tell(v *discovery.View) {
	all := v.Instances()
	list := w.order(listed(all))
	switch {
	case len(list) == 0:
		w.nobody(v, len(all))
	case !slices.Equal(list, w.list):
		w.update(v, list)
	}
}

func (w *watcher) update(v *discovery.View, list []Instance) {
	w.list, w.failure = list, ""
	s := resolver.State{ServiceConfig: w.config, Attributes: attributes.New(viewKey{}, v)}
	for _, i := range list {
		e := i.endpoint()
		s.Endpoints = append(s.Endpoints, e)
		// For balancers made with gRPC's balancer/base, which know no endpoints.
		s.Addresses = append(s.Addresses, i.address(e.Attributes))
	}
	_ = w.cc.UpdateState(s) // an error asks to resolve again, to the same end
}

// nobody tells gRPC of an empty list.
func (w *watcher) nobody(v *discovery.View, unusable int) {
	if w.list != nil {
		// The connections have to end, and gRPC's balancers have to say why there is none. Most
		// keep an error for each endpoint and show "no children to pick from" if there is none;
		// so there is one, without an address.
		w.list, w.failure = nil, ""
		none := Instance{Service: w.source.service, ID: "nobody"}.endpoint()
		none.Addresses = nil
		_ = w.cc.UpdateState(resolver.State{
			Endpoints: []resolver.Endpoint{none}, ServiceConfig: w.config, Attributes: attributes.New(viewKey{}, v),
		})
	}
	s := v.State()
	text := fmt.Sprintf("nobody is registered as %q", w.source.service)
	switch {
	case unusable > 0:
		text = fmt.Sprintf("none of the %d registered as %q has an address", unusable, w.source.service)
	case len(s.Bad) > 0:
		text += fmt.Sprintf(" (values that are no instances: %d)", len(s.Bad))
	}
	if s.Fresh {
		text += ", as etcd has it"
	} else {
		text += fmt.Sprintf(", as of %s; since then etcd is not reached: %v", s.Confirmed.Format(time.DateTime), s.Cause)
	}
	w.fail(text)
}

// fail has RPCs end with codes.Unavailable and the text, where there is no list. It takes a text
// since gRPC makes an error that holds a status the RPC's own: etcd's PermissionDenied would end
// even those that wait for ready.
func (w *watcher) fail(text string) {
	if text != w.failure {
		w.failure = text
		w.cc.ReportError(fmt.Errorf("grpcresolver: %s", text))
	}
}
