package safety_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// weighty is what a worker of the unfenced arm takes of the Semaphore: two of them are too many.
const weighty = 3

// careless is the job in the unfenced arm. The worker takes one of everything, reads, looks whether
// it still holds all of it, and writes, without the guard. Between the two it waits for an order,
// so that the driver can stop it there.
func (w *worker) careless(keeper *lease.Keeper) {
	locks, shared := &lock.Options{Keeper: keeper}, &lock.SharedOptions{Keeper: keeper}
	m, rw, sem := lock.New(w.cli, mutex.open().name(), locks), lock.NewRW(w.cli, rwmutex.open().name(), shared), lock.NewSemaphore(w.cli, semaphore.open().name(), size, shared)
	el := election.New(w.cli, leadership.open().name(), &election.Options{Keeper: keeper})
	var all []subject
	for _, s := range subjects {
		all = append(all, s.open())
	}
	hands := w.handsOn(all)
	for turn := 0; !w.ended.Load(); turn++ {
		c := &carelessTurn{worker: w, mayRead: turn%2 == 0}
		c.lock(hands[mutex.open()], m.Acquire)
		take := rw.Acquire
		if c.mayRead {
			take = rw.AcquireRead
		}
		c.lock(hands[rwmutex.open()], take)
		c.lock(hands[semaphore.open()], func(ctx context.Context, reads ...clientv3.Op) (*lock.Hold, error) {
			return sem.AcquireN(ctx, weighty, reads...)
		})
		c.campaign(hands[leadership.open()], el)
		c.goOn()
	}
	if err := errors.Join(m.Close(), rw.Close(), sem.Close(), el.Close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// carelessTurn is what a worker of the unfenced arm holds at once.
type carelessTurn struct {
	*worker
	mayRead bool // the RWMutex
	held    []carelessHold
}

type carelessHold struct {
	*hand
	hold
	release func(context.Context) error
	old     string
}

func (c *carelessTurn) lock(h *hand, take func(context.Context, ...clientv3.Op) (*lock.Hold, error)) {
	if held := h.acquire(h.on.counter(), take); held != nil {
		c.held = append(c.held, carelessHold{hand: h, hold: held, release: held.Release})
	}
}

func (c *carelessTurn) campaign(h *hand, e *election.Election) {
	if term := h.campaign(e); term != nil {
		h.watch(term)
		c.held = append(c.held, carelessHold{hand: h, hold: term, release: term.Resign})
	}
}

// goOn is what is done with all of it.
func (c *carelessTurn) goOn() {
	unharmed := len(c.held) == len(subjects)
	for i := range c.held {
		h := &c.held[i]
		unharmed = h.readOpenly() == nil && h.Err() == nil && unharmed
	}
	if unharmed {
		o := c.begin(ready, rwmutex.open().queue(), 0)
		if c.mayRead {
			o.Value = read
		}
		c.tell(o)
		_, unharmed = <-c.orders
	}
	for i := range c.held {
		h := &c.held[i]
		switch {
		case !unharmed:
		case c.mayRead && h.on == rwmutex.open():
			_ = h.readOpenly()
		default:
			h.writeOpenly()
		}
		_ = h.do(h.begin(release, h.Key(), h.Token()), wait, func(ctx context.Context, _ *op) error { return h.release(ctx) })
	}
}

func (h *carelessHold) readOpenly() error {
	return h.do(h.begin(read, h.on.counter(), h.Token()), patience, func(ctx context.Context, o *op) error {
		resp, err := h.cli.Get(ctx, o.Key)
		if err == nil {
			h.old = text(resp)
			o.Revision, o.Value = resp.Header.Revision, h.old
		}
		return err
	})
}

// writeOpenly increments.
func (h *carelessHold) writeOpenly() {
	o := h.begin(increment, h.on.counter(), h.Token())
	o.Value = mark{1 + counted(h.old), o.Worker, o.N, o.Token}.String()
	_ = h.do(o, patience, func(ctx context.Context, o *op) error {
		resp, err := h.cli.Put(ctx, o.Key, o.Value)
		if err == nil {
			o.Revision = resp.Header.Revision
		}
		return err
	})
}
