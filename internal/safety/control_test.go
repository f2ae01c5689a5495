package safety_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
)

// control drives the unfenced arm: workers that increment a counter under the same lock, and look
// whether they hold it, but do not write with its guard.
type control struct {
	workers *fleet
	history *history
	ready   chan *process // one that has read, and will write when it is told to
}

func newControl(h *history, workers *fleet) *control {
	c := &control{workers: workers, history: h, ready: make(chan *process, careless)}
	workers.hear = c.hear
	return c
}

// hear is told of all operations of the arm.
func (c *control) hear(p *process, o op) {
	c.history.add(o)
	if o.Op == read && o.Token == 0 && o.Outcome == ok {
		c.ready <- p // there is room for all: none reads again before it was told to write
	}
}

// often is how many increments pass before one is held up.
const often = 30

// run lets workers write, until the time is over. Now and then, and once at least, it stops one
// just before that, for so long that another one has the lock, and has written.
func (c *control) run(ctx, faults context.Context, random *rand.Rand) error {
	next, heldUp := 1+random.IntN(often), 0
	for heldUp == 0 || faults.Err() == nil {
		var p *process
		select {
		case p = <-c.ready:
		case <-ctx.Done():
			return fmt.Errorf("void: no worker gets to write without a guard: %w", ctx.Err())
		}
		act := func() error { return p.order(orderWrite) }
		if next--; next < 0 {
			act = func() error { return c.holdUp(ctx, p) }
			next, heldUp = often+random.IntN(often), heldUp+1
		}
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

// holdUp is a pause between reading and writing. It ends when others have incremented.
func (c *control) holdUp(ctx context.Context, p *process) error {
	f, err := stop(p)
	if err != nil {
		return err
	}
	err = c.others(ctx)
	f.End, f.Effect = now(), "stopped between reading and writing, until others had written"
	c.history.addFault(f)
	return errors.Join(err, p.order(orderWrite), p.signal(syscall.SIGCONT)) // an order before SIGSTOP takes effect would be carried out
}

// others lets the workers that are not stopped write a few times.
func (c *control) others(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for range 2 * careless {
		select {
		case p := <-c.ready:
			if err := p.order(orderWrite); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("void: nobody else got the lock of a stopped worker within %v", wait)
		}
	}
	return nil
}
