package grpcresolver

import (
	"fmt"
	"log/slog"
	"net/url"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/resolver"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/registry"
)

// Scheme is that of targets: etcdkit:///SERVICE.
const Scheme = "etcdkit"

// ErrInvalid: a target does not name a service, or the prefix is not valid. Nothing was sent. It is
// registry.ErrInvalid.
var ErrInvalid = registry.ErrInvalid

// Options of New. nil and the zero value are the defaults.
type Options struct {
	// View are the options of the Views. The balancer "etcdkit" chooses by their Policy and Zone;
	// gRPC's own policies ignore them.
	View discovery.Options
	// ServiceConfig, in JSON, is given to every connection, and replaces the one of
	// grpc.WithDefaultServiceConfig. Default none.
	ServiceConfig string
}

// Builder makes gRPC's resolvers: grpc.WithResolvers takes it. It may be used for any number of
// connections, from any goroutine.
type Builder struct {
	cli  *clientv3.Client
	opts Options

	mu      sync.Mutex
	sources map[string]*source // by service
}

var _ resolver.Builder = (*Builder)(nil)

// discard is one logger for all, as views share a copy only if their loggers are the same.
var discard = slog.New(slog.DiscardHandler)

// New returns a Builder. It sends nothing. The client must stay open for as long as the
// connections are used: without it RPCs fail, and say so.
func New(cli *clientv3.Client, opts *Options) *Builder {
	b := &Builder{cli: cli, sources: make(map[string]*source)}
	if opts != nil {
		b.opts = *opts
	}
	if b.opts.View.Logger == nil {
		b.opts.View.Logger = discard
	}
	return b
}

// Scheme is the constant Scheme.
func (b *Builder) Scheme() string { return Scheme }

// Build is called by gRPC, with a connection's first RPC. It does not wait for etcd. Its error is
// ErrInvalid.
func (b *Builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	service, err := b.service(target.URL)
	if err != nil {
		return nil, err
	}
	w := newWatcher(b, b.acquire(service), cc)
	if b.opts.ServiceConfig != "" {
		w.config = cc.ParseServiceConfig(b.opts.ServiceConfig)
	}
	w.start()
	return w, nil
}

// service returns the service that a target names.
func (b *Builder) service(u url.URL) (string, error) {
	service := resolver.Target{URL: u}.Endpoint()
	invalid := func(err error) (string, error) {
		return "", errtext.Errorf("grpcresolver: target %s: %w", quote.Text(u.String()), err)
	}
	switch {
	case u.Host != "" || u.User != nil:
		return invalid(fmt.Errorf("%w: it names an authority: want %s:///SERVICE, with three slashes", ErrInvalid, Scheme))
	case u.RawQuery != "" || u.Fragment != "":
		return invalid(fmt.Errorf("%w: a target has no parameters: want %s:///SERVICE", ErrInvalid, Scheme))
	case service == "":
		return invalid(fmt.Errorf("%w: it names no service: want %s:///SERVICE", ErrInvalid, Scheme))
	}
	if _, err := registry.ServicePrefix(b.opts.View.Prefix, service); err != nil {
		return invalid(err)
	}
	return service, nil
}

// acquire returns the source of a service. Each acquire needs one release.
func (b *Builder) acquire(service string) *source {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sources[service]
	if s == nil {
		s = openSource(b.cli, service, &b.opts.View)
		b.sources[service] = s
	}
	s.users++
	return s
}

func (b *Builder) release(s *source) {
	b.mu.Lock()
	s.users--
	last := s.users == 0
	if last {
		delete(b.sources, s.service)
	}
	b.mu.Unlock()
	if last {
		s.close()
	}
}
