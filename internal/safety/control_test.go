package safety_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
)

// control drives the unfenced arm: workers that hold what the others do, under names of its own,
// and look whether they hold it, but do not write with its guard.
type control struct {
	workers *fleet
	history *history
	ready   chan readyOne // that have read, and will write when they are told to
}

type readyOne struct {
	*process
	reads bool // and will read once more what it holds to read
}

func newControl(h *history, workers *fleet) *control {
	c := &control{workers: workers, history: h, ready: make(chan readyOne, careless)}
	workers.hear = c.hear
	return c
}

// hear is told of all operations of the arm.
func (c *control) hear(p *process, o op) {
	c.history.add(o)
	if o.Op == ready {
		c.ready <- readyOne{p, o.Value == read} // there is room for all: none is ready again before it was told to write
	}
}

// often is how many turns pass before one is held up.
const often = 10

// run lets workers write, until the time is over. Now and then it stops one just before that, for
// so long that others had what it held, and have written. One that reads is stopped in turn with
// one that writes, once each at least.
func (c *control) run(ctx, faults context.Context, random *rand.Rand) error {
	next, heldUp := 1+random.IntN(often), 0
	for heldUp < 2 || faults.Err() == nil {
		p, err := c.next(ctx)
		if err != nil {
			return err
		}
		if next--; next >= 0 || p.reads != (heldUp%2 == 0) {
			if err := p.order(orderWrite); err != nil {
				return err
			}
			continue
		}
		done, err := c.holdUp(ctx, p)
		if err != nil {
			return err
		}
		if next = often + random.IntN(often); done {
			heldUp++
		}
	}
	return nil
}

// next is a worker that waits for its order.
func (c *control) next(ctx context.Context) (readyOne, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case p := <-c.ready:
		return p, nil
	case <-ctx.Done():
		return readyOne{}, fmt.Errorf("void: within %v no worker gets to write without a guard: %w", wait, ctx.Err())
	}
}

// holdUp is a pause between reading and writing. It ends when others have incremented, and while
// one of them holds everything. It is done when etcd has taken what is late.
func (c *control) holdUp(ctx context.Context, p readyOne) (done bool, err error) {
	f, err := stop(p.process)
	if err != nil {
		return false, err
	}
	for range 2 * careless { // each second turn is one to write
		other, err := c.next(ctx)
		if err != nil {
			return false, err
		}
		if err := other.order(orderWrite); err != nil {
			return false, err
		}
	}
	holder, err := c.next(ctx)
	if err != nil {
		return false, err
	}
	f.End, f.Effect = now(), "stopped between reading and writing, until others had written"
	if p.reads {
		f.Effect = "stopped between reading and reading again, until others had written"
	}
	c.history.addFault(f)
	before := c.progress(p)
	if err := errors.Join(p.order(orderWrite), p.signal(syscall.SIGCONT)); err != nil { // an order before SIGSTOP takes effect would be carried out
		return false, err
	}
	ended, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := c.history.until(ended, func() bool { return c.turns(p) > before.turns }); err != nil {
		return false, fmt.Errorf("void: a worker without a guard does not get to its end within %v: %w", wait, err)
	}
	late := c.progress(p).written - before.written // no other worker writes meanwhile
	c.ready <- holder
	return late == len(subjects) || p.reads && late == len(subjects)-1, nil
}

// progress is what a worker has done so far.
type progress struct {
	turns   int // that have ended
	written int // by all workers of the arm, as acknowledged
}

func (c *control) progress(p readyOne) progress {
	c.history.mu.Lock()
	defer c.history.mu.Unlock()
	now := progress{turns: c.turns(p)}
	for _, s := range subjects {
		now.written += c.history.acknowledged(s.open())
	}
	return now
}

// turns are those of a worker that have ended: it gives up leadership last. history.mu is held.
func (c *control) turns(p readyOne) (n int) {
	for _, o := range c.history.ops {
		if o.Worker == p.id && o.Op == release && o.Return != 0 && o.of() == leadership.open() {
			n++
		}
	}
	return n
}
