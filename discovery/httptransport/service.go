package httptransport

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

const (
	// openTimeout bounds the first reading of a list.
	openTimeout = 15 * time.Second
	// tidyEvery is the least time between two calls of tidy.
	tidyEvery = time.Second
)

// service has a service's list, and the connections to its instances.
type service struct {
	name      string
	transport *Transport
	opened    chan struct{} // closed when view or err is set
	view      *discovery.View
	err       error

	mu    sync.Mutex
	pools map[string]*pool // by address; nil once the Transport or the etcd client is closed
}

// open returns a service when its list is open. All requests of that time wait for the same list, and ctx
// bounds only the wait. Unlike a gRPC connection, a request has a caller: it gets the error of the first
// try to open the list, and the next request tries again.
func (t *Transport) open(ctx context.Context, name string) (*service, error) {
	t.mu.Lock()
	if err := t.closedError(name); err != nil {
		t.mu.Unlock()
		return nil, err
	}
	s := t.services[name]
	if s == nil {
		s = &service{name: name, transport: t, opened: make(chan struct{}), pools: make(map[string]*pool)}
		t.services[name] = s
		t.wg.Go(s.run) // ends with Close, or when the list cannot be opened
	}
	t.mu.Unlock()
	select {
	case <-s.opened:
		return s, s.err
	default:
	}
	select {
	case <-s.opened:
		return s, s.err
	case <-ctx.Done():
		return nil, errtext.Errorf("httptransport: the list of %s is not open yet, from %q: %w", quote.Text(name), t.cli.Endpoints(), ctx.Err())
	}
}

// run opens the list, and closes the connections to instances that leave it.
func (s *service) run() {
	ctx, cancel := context.WithTimeout(s.transport.life, openTimeout)
	s.view, s.err = discovery.Open(ctx, s.transport.cli, s.name, &s.transport.opts.View)
	cancel()
	if s.err != nil {
		s.err = errtext.Errorf("httptransport: %w", s.err)
		if closed := s.transport.closedError(s.name); closed != nil {
			s.err = closed
		}
		s.transport.mu.Lock()
		delete(s.transport.services, s.name) // the next request opens it again
		s.transport.mu.Unlock()
		close(s.opened)
		return
	}
	close(s.opened)
	defer s.view.Close()
	closed := s.transport.cli.Ctx().Done()
	for s.transport.life.Err() == nil && s.transport.cli.Ctx().Err() == nil {
		changed := s.view.Changed()
		s.tidy()
		select {
		case <-changed:
		case <-s.transport.life.Done():
		case <-closed:
		}
		select {
		case <-time.After(tidyEvery):
		case <-s.transport.life.Done():
		case <-closed:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		p.leave()
	}
	s.pools = nil
}

// tidy closes the connections to addresses that no instance has any more.
func (s *service) tidy() {
	there := make(map[string]bool)
	for _, i := range s.view.Instances() {
		there[i.Addr] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, p := range s.pools {
		if !there[addr] {
			p.leave()
			delete(s.pools, addr)
		}
	}
}

func (s *service) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		p.CloseIdleConnections()
	}
}

// to returns the RoundTripper for an address.
func (s *service) to(addr string) http.RoundTripper {
	if s.transport.template == nil {
		return s.transport.opts.Base
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[addr]
	switch {
	case p != nil:
	case s.pools == nil: // closed meanwhile
		p = s.newPool()
		p.left.Store(true)
	default:
		p = s.newPool()
		s.pools[addr] = p
	}
	return p
}

// pool has the connections to one address. net/http can close all idle connections of a Transport, but
// not those to one host, so each address has its own Transport.
type pool struct {
	*http.Transport
	left atomic.Bool
}

func (s *service) newPool() *pool {
	c := s.transport.template.Clone()
	if c.TLSClientConfig == nil {
		c.TLSClientConfig = new(tls.Config)
	}
	if c.TLSClientConfig.ServerName == "" {
		c.TLSClientConfig.ServerName = s.name
	}
	return &pool{Transport: c}
}

// RoundTrip leaves no idle connection to an address that was left in the meantime: a request makes the
// Transport keep idle connections again after CloseIdleConnections.
func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := p.Transport.RoundTrip(req)
	if p.left.Load() {
		p.CloseIdleConnections()
	}
	return resp, err
}

func (p *pool) leave() {
	p.left.Store(true)
	p.CloseIdleConnections() // and those that become idle later
}
