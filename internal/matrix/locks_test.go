package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lock"
)

// kind is one of the locks.
type kind struct {
	name string
	open func(p *place, name string) locker
}

// locker is what all locks have in common.
type locker struct {
	acquire func(context.Context, ...clientv3.Op) (*lock.Hold, error)
	try     func(context.Context) (*lock.Hold, error)
	do      func(context.Context, func(context.Context, *lock.Hold) error) error
	close   func() error
	resume  func(context.Context, string) (*lock.Hold, error) // nil: there is none
}

func kinds() []kind {
	mutex := func(o lock.Options) func(p *place, name string) locker {
		return func(p *place, name string) locker {
			o := o
			o.TTL, o.Keeper = p.ownTTL(), p.keeper
			m := lock.New(p.cli, name, &o)
			return locker{m.Acquire, m.TryAcquire, m.Do, m.Close, m.Resume}
		}
	}
	options := func(p *place) *lock.SharedOptions { return &lock.SharedOptions{TTL: p.ownTTL(), Keeper: p.keeper} }
	return []kind{
		{"Mutex", mutex(lock.Options{})},
		{"Mutex, Local", mutex(lock.Options{Local: lock.Local{For: time.Second}})},
		{"Mutex, Linger", mutex(lock.Options{Linger: time.Minute})},
		{"RWMutex, reading", func(p *place, name string) locker {
			m := lock.NewRW(p.cli, name, options(p))
			return locker{m.AcquireRead, m.TryAcquireRead, m.DoRead, m.Close, nil}
		}},
		{"RWMutex, writing", func(p *place, name string) locker {
			m := lock.NewRW(p.cli, name, options(p))
			return locker{m.Acquire, m.TryAcquire, m.Do, m.Close, nil}
		}},
		{"Semaphore", func(p *place, name string) locker {
			s := lock.NewSemaphore(p.cli, name, 2, options(p))
			return locker{s.Acquire, s.TryAcquire, s.Do, s.Close, nil}
		}},
	}
}

func lockRows() []row {
	var holds, waiters []row
	for _, k := range kinds() {
		holds = append(holds, row{"Hold: " + k.name, k.hold})
		waiters = append(waiters, row{"Waiter: " + k.name, k.wait})
	}
	return append(append(holds, waiters...),
		row{"Term", openTerm}, row{"Candidate", openCandidate}, row{"Observer", openObserver})
}

func (k kind) hold(ctx context.Context, p *place) (*handle, error) {
	l := k.open(p, p.name)
	h, err := l.acquire(ctx)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	written := p.name + ".written"
	return &handle{
		done: h.Done(), err: h.Err,
		works: func(ctx context.Context) error {
			if err := h.Err(); err != nil {
				return err
			}
			return guarded(ctx, p, h.Guard())
		},
		serves: func(ctx context.Context) error {
			_, err := h.Commit(ctx, clientv3.OpDelete(written))
			return err
		},
		key:   fixed(h.Key()),
		close: l.close,
		calls: append(k.calls(p), call{"Txn", func(ctx context.Context) error {
			_, err := h.Txn(ctx).Then(clientv3.OpPut(written, "x")).Commit()
			return err
		}}, call{"Release", h.Release}),
	}, nil
}

// guarded is nil if a guard still holds in etcd. Another client asks: clientv3's own calls may go to
// a member that is silent.
func guarded(ctx context.Context, p *place, guard clientv3.Cmp) error {
	resp, err := p.other.Txn(ctx).If(guard).Commit()
	if err == nil && !resp.Succeeded {
		err = errors.New("its guard does not hold in etcd")
	}
	return err
}

// calls are those of a lock of the kind that this process has not used yet.
func (k kind) calls(p *place) []call {
	opened := func(f func(context.Context, locker) error) func(context.Context) error {
		return func(ctx context.Context) error {
			l := k.open(p, fmt.Sprint(p.name, ".call", fresh.Add(1)))
			err := f(ctx, l)
			go l.close() // is bounded by itself; what is measured is the call
			return err
		}
	}
	calls := []call{
		{"Acquire", opened(func(ctx context.Context, l locker) error { _, err := l.acquire(ctx); return err })},
		{"TryAcquire", opened(func(ctx context.Context, l locker) error { _, err := l.try(ctx); return err })},
		{"Do", opened(func(ctx context.Context, l locker) error {
			return l.do(ctx, func(context.Context, *lock.Hold) error { return nil })
		})},
	}
	return calls
}

func (k kind) wait(ctx context.Context, p *place) (*handle, error) {
	if err := block(ctx, p); err != nil {
		return nil, err
	}
	l := k.open(p, p.name)
	var held atomic.Pointer[lock.Hold]
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	w := background(func() error {
		h, err := l.acquire(life)
		held.Store(h)
		return err
	})
	shut := func() error {
		defer end()
		err := l.close()
		<-w.done
		return err
	}
	return waiter(ctx, p, w, shut, func(ctx context.Context) error { return held.Load().Release(ctx) }, k.calls(p))
}

// block puts another process's entry at the head of the queue.
func block(ctx context.Context, p *place) error {
	if p.crowd {
		return nil // its test does
	}
	_, err := p.other.Put(ctx, blocker(p.name), "another process")
	return err
}

// waiter is the handle of a call that waits for its turn.
func waiter(ctx context.Context, p *place, w *waiting, shut func() error, leave func(context.Context) error, calls []call) (*handle, error) {
	queued := func(ctx context.Context) error {
		select {
		case <-w.done:
			if err := w.result(); err != nil {
				return err
			}
			return errors.New("it has its turn, while another process has")
		default:
		}
		_, err := ownEntry(ctx, p.other, p.name)
		return err
	}
	if !p.crowd {
		var refused error
		err := until(ctx, func() error {
			select {
			case <-w.done:
				refused = w.result()
				return nil
			default:
				return queued(ctx)
			}
		})
		if err = errors.Join(err, refused); err != nil {
			return nil, errors.Join(err, shut())
		}
	}
	return &handle{
		done: w.done, err: w.result,
		works: queued,
		serves: func(ctx context.Context) error {
			if _, err := p.other.Delete(ctx, blocker(p.name)); err != nil {
				return err
			}
			select {
			case <-w.done:
			case <-ctx.Done():
				return fmt.Errorf("the other process has left, and it does not get its turn: %w", ctx.Err())
			}
			if err := w.result(); err != nil {
				return err
			}
			return leave(ctx)
		},
		key:   func(ctx context.Context) (string, error) { return ownEntry(ctx, p.other, p.name) },
		close: shut,
		calls: calls,
	}, nil
}

func openElection(p *place, name string) *election.Election {
	return election.New(p.cli, name, &election.Options{TTL: p.ownTTL(), Keeper: p.keeper})
}

func electionCalls(p *place) []call {
	opened := func(f func(context.Context, *election.Election) error) func(context.Context) error {
		return func(ctx context.Context) error {
			e := openElection(p, fmt.Sprint(p.name, ".call", fresh.Add(1)))
			err := f(ctx, e)
			go e.Close() // is bounded by itself; what is measured is the call
			return err
		}
	}
	return []call{
		{"Campaign", opened(func(ctx context.Context, e *election.Election) error { _, err := e.Campaign(ctx, "me"); return err })},
		{"Run", opened(func(ctx context.Context, e *election.Election) error {
			return e.Run(ctx, "me", func(context.Context, *election.Term) error { return nil })
		})},
		{"Leader", opened(func(ctx context.Context, e *election.Election) error {
			_, err := e.Leader(ctx)
			if errors.Is(err, election.ErrVacant) {
				return nil
			}
			return err
		})},
	}
}

func openTerm(ctx context.Context, p *place) (*handle, error) {
	e := openElection(p, p.name)
	t, err := e.Campaign(ctx, "me")
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return &handle{
		done: t.Done(), err: t.Err,
		works: func(ctx context.Context) error {
			if err := t.Err(); err != nil {
				return err
			}
			return guarded(ctx, p, t.Guard())
		},
		serves: func(ctx context.Context) error { return errors.Join(t.Proclaim(ctx, "me"), t.Resign(ctx)) },
		key:    fixed(t.Key()),
		close:  e.Close,
		calls: append(electionCalls(p),
			call{"Proclaim", func(ctx context.Context) error { return t.Proclaim(ctx, "me again") }},
			call{"Resign", t.Resign}),
	}, nil
}

func openCandidate(ctx context.Context, p *place) (*handle, error) {
	if err := block(ctx, p); err != nil {
		return nil, err
	}
	e := openElection(p, p.name)
	var term atomic.Pointer[election.Term]
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	w := background(func() error {
		t, err := e.Campaign(life, "me")
		term.Store(t)
		return err
	})
	shut := func() error {
		defer end()
		err := e.Close()
		<-w.done
		return err
	}
	return waiter(ctx, p, w, shut, func(ctx context.Context) error { return term.Load().Resign(ctx) }, electionCalls(p))
}

// openObserver observes a leader that is another process.
func openObserver(ctx context.Context, p *place) (*handle, error) {
	if !p.crowd {
		if _, err := p.other.Put(ctx, blocker(p.name), "another process"); err != nil {
			return nil, err
		}
	}
	e := openElection(p, p.name)
	var seen atomic.Pointer[election.Leader]
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	w := background(func() error {
		for l, err := range e.Observe(life) {
			if err != nil {
				return err
			}
			seen.Store(&l)
		}
		return nil
	})
	shows := func(ctx context.Context, want string) error {
		return until(ctx, func() error {
			select {
			case <-w.done:
				return fmt.Errorf("it has ended: %v", w.result())
			default:
			}
			if l := seen.Load(); l == nil || l.Value != want {
				return fmt.Errorf("it shows %+v, want the value %q", l, want)
			}
			return nil
		})
	}
	shut := func() error {
		end()
		<-w.done
		return e.Close()
	}
	if err := until(ctx, func() error {
		select {
		case <-w.done:
			return nil
		default:
		}
		if seen.Load() == nil {
			return errors.New("it shows nothing")
		}
		return nil
	}); err != nil || seen.Load() == nil {
		return nil, errors.Join(err, w.result(), shut())
	}
	works := func(ctx context.Context) error {
		want := fmt.Sprint("value ", fresh.Add(1))
		if _, err := p.other.Put(ctx, blocker(p.name), want); err != nil {
			return err
		}
		return shows(ctx, want)
	}
	return &handle{
		done: w.done, err: w.result,
		works: works, serves: works,
		key:   fixed(blocker(p.name)),
		close: shut,
		gone:  func(ctx context.Context) error { return shows(ctx, "") },
		calls: []call{{"Observe", func(ctx context.Context) error {
			e := openElection(p, fmt.Sprint(p.name, ".call", fresh.Add(1)))
			defer func() { go e.Close() }()
			for _, err := range e.Observe(ctx) {
				return err
			}
			return errors.New("Observe ended without an error")
		}}},
	}, nil
}
