package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

func serviceRows() []row {
	return []row{
		{"Registration", openRegistration},
		{"Registrar", openRegistrar},
		{"Keeper and Lease", openKeeper},
		{"View", openView},
		{"Mirror", openMirror},
		{"grpcresolver", openResolver},
		{"httptransport", openTransport},
	}
}

func instance(id string) registry.Instance {
	return registry.Instance{Service: "web", ID: id, Addr: "127.0.0.1:80"}
}

func registryOptions(p *place) *registry.Options {
	return &registry.Options{Prefix: p.name + "/", TTL: p.ttl, Keeper: p.keeper}
}

func registryCalls(p *place) []call {
	return []call{{"Register", func(ctx context.Context) error {
		reg, err := registry.Register(ctx, p.cli, instance(fmt.Sprint("call", fresh.Add(1))), registryOptions(p))
		if err == nil {
			go reg.Close() // is bounded by itself
		}
		return err
	}}}
}

// registered is nil if the registrations say that they are there, and their keys are.
func registered(ctx context.Context, p *place, regs ...*registry.Registration) error {
	for _, reg := range regs {
		err := until(ctx, func() error {
			s := reg.State()
			if !s.Registered || s.Err != nil {
				return fmt.Errorf("it says registered %v: %v", s.Registered, s.Err)
			}
			return there(ctx, p.other, s.Key)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ended is closed when a registration has ended for good, which its State says.
func ended(ctx context.Context, reg *registry.Registration) <-chan struct{} {
	done := make(chan struct{})
	go func() { // ends with the registration, or with ctx
		for {
			changed := reg.Changed()
			if errors.Is(reg.State().Err, registry.ErrClosed) {
				close(done)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return done
}

func openRegistration(ctx context.Context, p *place) (*handle, error) {
	reg, err := registry.Register(ctx, p.cli, instance(fmt.Sprint("i", fresh.Add(1))), registryOptions(p))
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	works := func(ctx context.Context) error { return registered(ctx, p, reg) }
	return &handle{
		done: ended(life, reg), err: func() error { return reg.State().Err },
		works: works,
		serves: func(ctx context.Context) error {
			return reg.Update(ctx, func(i *registry.Instance) { i.Weight++ })
		},
		key:   fixed(reg.State().Key),
		close: func() error { defer end(); return reg.Close() },
		calls: append(registryCalls(p),
			call{"Update", func(ctx context.Context) error {
				return reg.Update(ctx, func(i *registry.Instance) { i.Weight++ })
			}},
			call{"Drain", func(ctx context.Context) error { return reg.Drain(ctx, "test") }}),
	}, nil
}

func openRegistrar(ctx context.Context, p *place) (*handle, error) {
	r, err := registry.New(p.cli, registryOptions(p))
	if err != nil {
		return nil, err
	}
	n := fresh.Add(1)
	regs, err := r.Register(ctx, instance(fmt.Sprint("a", n)), instance(fmt.Sprint("b", n)), instance(fmt.Sprint("c", n)))
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	return &handle{
		done: ended(life, regs[0]), err: func() error { return regs[0].State().Err },
		works: func(ctx context.Context) error { return registered(ctx, p, regs...) },
		serves: func(ctx context.Context) error {
			_, err := r.Register(ctx, instance(fmt.Sprint("late", fresh.Add(1))))
			return err
		},
		key:   fixed(regs[0].State().Key),
		close: func() error { defer end(); return r.Close() },
		calls: []call{{"Register", func(ctx context.Context) error {
			_, err := r.Register(ctx, instance(fmt.Sprint("call", fresh.Add(1))))
			return err
		}}},
	}, nil
}

func openKeeper(ctx context.Context, p *place) (*handle, error) {
	k := lease.NewKeeper(p.cli, &lease.Options{TTL: p.ttl})
	l, err := k.Lease(ctx)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	key := p.name + fmt.Sprint(".onlease", fresh.Add(1))
	if _, err := p.other.Put(ctx, key, "x", clientv3.WithLease(l.ID())); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	works := func(ctx context.Context) error {
		if err := l.Confirm(ctx); err != nil {
			return err
		}
		return l.Err()
	}
	return &handle{
		done: l.Done(), err: l.Err,
		works: works, serves: works,
		key:   fixed(key),
		close: k.Close,
		calls: []call{
			{"Lease", func(ctx context.Context) error {
				k := lease.NewKeeper(p.cli, &lease.Options{TTL: p.ttl})
				_, err := k.Lease(ctx)
				go k.Close() // is bounded by itself
				return err
			}},
			{"Confirm", l.Confirm},
		},
	}, nil
}

// show puts an instance where a handle of the reading side must see it.
func show(ctx context.Context, p *place, addr string) error {
	_, err := p.other.Put(ctx, p.name+"/web/a", addr)
	return err
}

func openView(ctx context.Context, p *place) (*handle, error) {
	if !p.crowd {
		if err := show(ctx, p, "127.0.0.1:80"); err != nil {
			return nil, err
		}
	}
	opts := &discovery.Options{Prefix: p.name + "/", Dir: p.dir}
	v, err := discovery.Open(ctx, p.cli, "web", opts)
	if err != nil {
		return nil, err
	}
	works := func(ctx context.Context) error {
		addr := fmt.Sprint("127.0.0.1:", 1+fresh.Add(1)%60000)
		if err := show(ctx, p, addr); err != nil {
			return err
		}
		return until(ctx, func() error {
			if list := v.Instances(); len(list) != 1 || list[0].Addr != addr {
				return fmt.Errorf("it lists %v, want %s", list, addr)
			}
			if s := v.State(); !s.Fresh {
				return fmt.Errorf("it is stale: %w", s.Cause)
			}
			return nil
		})
	}
	return &handle{
		done: v.Done(), err: v.Err,
		works: works, serves: works,
		key: fixed(p.name + "/web/a"),
		gone: func(ctx context.Context) error {
			return until(ctx, func() error {
				if n := len(v.Instances()); n != 0 {
					return fmt.Errorf("it lists %d instances, want none", n)
				}
				return nil
			})
		},
		stale: func() bool { return !v.State().Fresh },
		close: v.Close,
		calls: []call{
			{"Open", func(ctx context.Context) error {
				v, err := discovery.Open(ctx, p.cli, "api", opts)
				if err == nil {
					err = v.Close()
				}
				return err
			}},
			{"List", func(ctx context.Context) error { _, err := discovery.List(ctx, p.cli, "api", opts); return err }},
			{"Watch", func(ctx context.Context) error {
				for _, err := range discovery.Watch(ctx, p.cli, "api", opts) {
					return err
				}
				return errors.New("Watch ended without an error")
			}},
		},
	}, nil
}

func openMirror(ctx context.Context, p *place) (*handle, error) {
	key := p.name + "/key"
	if !p.crowd {
		if _, err := p.other.Put(ctx, key, "x"); err != nil {
			return nil, err
		}
	}
	m, err := mirror.Open(ctx, p.cli, p.name+"/", nil)
	if err != nil {
		return nil, err
	}
	works := func(ctx context.Context) error {
		want := fmt.Sprint(fresh.Add(1))
		resp, err := p.other.Put(ctx, key, want)
		if err != nil {
			return err
		}
		if err := m.Wait(ctx, resp.Header.Revision); err != nil {
			return err
		}
		if kv, _ := m.Get(key); kv.Value != want {
			return fmt.Errorf("it has %q, want %q", kv.Value, want)
		}
		return until(ctx, func() error {
			if s := m.State(); !s.Fresh {
				return fmt.Errorf("it is stale: %w", s.Cause)
			}
			return nil
		})
	}
	return &handle{
		done: m.Done(), err: m.Err,
		works: works, serves: works,
		key: fixed(key),
		gone: func(ctx context.Context) error {
			return until(ctx, func() error {
				if kv, ok := m.Get(key); ok {
					return fmt.Errorf("it has %q, want none", kv.Value)
				}
				return nil
			})
		},
		stale: func() bool { return !m.State().Fresh },
		close: m.Close,
		calls: []call{
			{"Open", func(ctx context.Context) error {
				m, err := mirror.Open(ctx, p.cli, p.name+"/sub/", nil)
				if err == nil {
					err = m.Close()
				}
				return err
			}},
			{"Wait", func(ctx context.Context) error { return m.Wait(ctx, 1<<60) }},
		},
	}, nil
}

// servers are two instances that answer gRPC and two that answer HTTP. All tests share them.
type servers struct {
	grpc, http [2]string
	close      func()
}

var (
	serversMu sync.Mutex
	running   *servers
	users     int
)

// useServers starts them, if need be. Each user calls leave.
func useServers() (_ *servers, leave func(), _ error) {
	serversMu.Lock()
	defer serversMu.Unlock()
	if users == 0 {
		s, err := startServers()
		if err != nil {
			return nil, nil, err
		}
		running = s
	}
	users++
	return running, sync.OnceFunc(func() {
		serversMu.Lock()
		defer serversMu.Unlock()
		if users--; users == 0 {
			running.close()
		}
	}), nil
}

func startServers() (*servers, error) {
	s := &servers{}
	var ends []func()
	s.close = func() {
		for _, end := range ends {
			end()
		}
	}
	for i := range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, err
		}
		g := grpc.NewServer()
		h := health.NewServer()
		healthpb.RegisterHealthServer(g, h)
		go g.Serve(l) // until Stop
		ends = append(ends, g.Stop)
		s.grpc[i] = l.Addr().String()

		l, err = net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, err
		}
		addr := l.Addr().String()
		web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, addr) })}
		go web.Serve(l) // until Close
		ends = append(ends, func() { web.Close() })
		s.http[i] = addr
	}
	return s, nil
}

// answered is a handle whose requests must arrive at the one instance that is registered.
func answered(p *place, instances [2]string, ask func(ctx context.Context) (from string, err error)) *handle {
	// until etcd can be asked, any answer is right
	works := func(ctx context.Context) error {
		want := instances[fresh.Add(1)%2]
		if err := show(ctx, p, want); err != nil {
			return err
		}
		return until(ctx, func() error {
			from, err := ask(ctx)
			if err == nil && from != want {
				err = fmt.Errorf("%s answers, want %s", from, want)
			}
			return err
		})
	}
	return &handle{
		done: never, err: noError,
		works: works, serves: works,
		key: fixed(p.name + "/web/a"),
		gone: func(ctx context.Context) error {
			return until(ctx, func() error {
				if _, err := ask(ctx); err == nil {
					return errors.New("it is still answered")
				}
				return nil
			})
		},
		answers: func(ctx context.Context) error { _, err := ask(ctx); return err },
	}
}

func openResolver(ctx context.Context, p *place) (*handle, error) {
	s, leave, err := useServers()
	if err != nil {
		return nil, err
	}
	if err := show(ctx, p, s.grpc[0]); err != nil {
		leave()
		return nil, err
	}
	builder := p.builder
	if builder == nil {
		builder = grpcresolver.New(p.cli, &grpcresolver.Options{View: discovery.Options{Prefix: p.name + "/"}})
	}
	dial := func(service string) (*grpc.ClientConn, error) {
		return grpc.NewClient("etcdkit:///"+service,
			grpc.WithResolvers(builder),
			grpc.WithDefaultServiceConfig(grpcresolver.ServiceConfig),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	conn, err := dial("web")
	if err != nil {
		leave()
		return nil, err
	}
	h := answered(p, s.grpc, func(ctx context.Context) (string, error) {
		var from peer.Peer
		_, err := healthpb.NewHealthClient(conn).Check(ctx, nil, grpc.Peer(&from), grpc.WaitForReady(false))
		if err != nil {
			return "", err
		}
		return from.Addr.String(), nil
	})
	h.close = func() error {
		defer leave()
		if err := conn.Close(); err != nil && status.Code(err) != codes.Canceled {
			return err
		}
		return nil
	}
	h.calls = []call{{"RPC", func(ctx context.Context) error {
		conn, err := dial(fmt.Sprint("call", fresh.Add(1)))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = healthpb.NewHealthClient(conn).Check(ctx, nil)
		if err != nil && strings.Contains(err.Error(), "no instance of ") {
			return nil // as is right
		}
		return err
	}}}
	var refused error
	err = until(ctx, func() error {
		err := h.answers(ctx)
		if err != nil && strings.Contains(err.Error(), "grpcresolver: target ") { // gRPC passes on the text only
			refused, err = err, nil
		}
		return err
	})
	if err = errors.Join(refused, err); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func openTransport(ctx context.Context, p *place) (*handle, error) {
	s, leave, err := useServers()
	if err != nil {
		return nil, err
	}
	if err := show(ctx, p, s.http[0]); err != nil {
		leave()
		return nil, err
	}
	tr := httptransport.New(p.cli, &httptransport.Options{View: discovery.Options{Prefix: p.name + "/"}})
	get := func(ctx context.Context, service string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+service+"/", nil)
		if err != nil {
			return "", err
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	h := answered(p, s.http, func(ctx context.Context) (string, error) { return get(ctx, "web") })
	h.close = func() error { defer leave(); return tr.Close() }
	h.calls = []call{{"RoundTrip", func(ctx context.Context) error {
		_, err := get(ctx, fmt.Sprint("call", fresh.Add(1)))
		if errors.Is(err, discovery.ErrNone) {
			return nil
		}
		return err
	}}}
	if err := h.answers(ctx); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}
