package matrix_test

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery"
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
	return &registry.Options{Prefix: p.name + "/", TTL: p.ownTTL(), Keeper: p.keeper}
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
