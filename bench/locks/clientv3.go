package locks

import (
	"context"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// sharing is what the clients of clientv3's Mutex have in common.
type sharing int

const (
	nothing    sharing = iota // a connection and a session each
	connection                // goroutines with a session each
	session                   // goroutines with one session
)

// mutex is clientv3/concurrency's.
type mutex struct {
	*site
	sharing sharing
}

func (m *mutex) name() string {
	return "clientv3 Mutex" + [...]string{"", ", a session each", ", one session"}[m.sharing]
}

func (m *mutex) open(ctx context.Context, n int) (*team, error) {
	name := m.fresh()
	var cli *clientv3.Client
	var s *concurrency.Session
	return assemble(n, func(t *team) (_ contender, err error) {
		if cli == nil || m.sharing == nothing {
			if cli, err = m.join(ctx, t); err != nil {
				return nil, err
			}
			t.value = value(cli, counter(name))
		}
		if s == nil || m.sharing != session {
			if s, err = concurrency.NewSession(cli, concurrency.WithTTL(10)); err != nil {
				return nil, err
			}
			t.atEnd(s.Close)
		}
		return &locker{concurrency.NewMutex(s, name), cli, counter(name)}, nil
	})
}

type locker struct {
	*concurrency.Mutex
	cli     *clientv3.Client
	counter string
}

func (l *locker) take(ctx context.Context) error  { return l.Lock(ctx) }
func (l *locker) leave(ctx context.Context) error { return l.Unlock(ctx) }

func (l *locker) add(ctx context.Context, delta int) error {
	resp, err := l.cli.Get(ctx, l.counter)
	if err != nil {
		return err
	}
	n, err := count(resp)
	if err != nil {
		return err
	}
	_, err = l.cli.Put(ctx, l.counter, strconv.Itoa(n+delta))
	return err
}

// stm has no lock: it reads, and writes if no other client has written since, until it succeeds.
type stm struct{ *site }

func (*stm) name() string { return "clientv3 STM, no lock" }

func (s *stm) open(ctx context.Context, n int) (*team, error) {
	name := s.fresh()
	return assemble(n, func(t *team) (contender, error) {
		cli, err := s.join(ctx, t)
		if err != nil {
			return nil, err
		}
		t.value = value(cli, counter(name))
		return &optimist{cli, counter(name)}, nil
	})
}

type optimist struct {
	cli     *clientv3.Client
	counter string
}

func (*optimist) take(context.Context) error  { return nil }
func (*optimist) leave(context.Context) error { return nil }

func (o *optimist) add(ctx context.Context, delta int) error {
	_, err := concurrency.NewSTM(o.cli, func(s concurrency.STM) error {
		n := 0
		if text := s.Get(o.counter); text != "" {
			var err error
			if n, err = strconv.Atoi(text); err != nil {
				return err
			}
		}
		s.Put(o.counter, strconv.Itoa(n+delta))
		return nil
	}, concurrency.WithAbortContext(ctx))
	return err
}
