package ask

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

const (
	// closingBudget is what all handles of a client may spend on closing while nothing answers:
	// a little less than the 2 s that are promised.
	closingBudget = 1600 * time.Millisecond
	// outageBudget is what is left of it for each while it is known that nothing can be reached.
	outageBudget = 50 * time.Millisecond
	// leastBudget is what each has when all of it is spent: time for one try, whose answer refills it.
	leastBudget = 20 * time.Millisecond
)

// closing is the time that closing handles have spent without an answer.
type closing struct {
	inUse atomic.Bool // something has been spent, or is being

	mu     sync.Mutex
	spent  time.Duration
	active int       // handles that are closing now
	began  time.Time // since when they spend
}

// refill forgets what was spent.
func (f *closing) refill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spent, f.began = 0, time.Now()
	f.inUse.Store(f.active > 0)
}

// left is how much may still be spent.
func (f *closing) left() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := closingBudget - f.spent
	if f.active > 0 {
		left -= time.Since(f.began)
	}
	return left
}

func (f *closing) enter() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.active == 0 {
		f.began = time.Now()
	}
	f.active++
	f.inUse.Store(true)
}

func (f *closing) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.active--; f.active == 0 {
		f.spent += time.Since(f.began)
	}
}

// ClosingContext returns a context for what a handle asks of etcd when it is closed. It ends when all
// handles of the client together have spent 1.6 s on closing since etcd answered last, and from then on
// after 20 ms for each; after 50 ms while nothing can be reached, as far as is known; and with ctx. So a
// process that closes one handle after another in an outage is done within 2 s, and one whose requests
// are answered is not cut short.
//
// The caller calls done when it has closed, and Answered for each answer, so that the time starts again.
// That a member has no leader is not such an answer.
func (c *Client) ClosingContext(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &c.closing
	f.enter()
	ended := make(chan struct{})
	go func() { // ends with done
		began := time.Now()
		t := time.NewTimer(0)
		defer t.Stop()
		for {
			left := max(f.left(), leastBudget-time.Since(began))
			if c.Outage() != nil || c.Err() != nil {
				left = min(left, outageBudget-time.Since(began))
			}
			if left <= 0 {
				err := errtext.Errorf("closing took long enough: %w", context.DeadlineExceeded)
				c.Failed(err) // so that it is found out when etcd can be reached again
				cancel(c.Explain(err))
				return
			}
			t.Reset(min(left, outageBudget)) // an answer, or an outage, changes it
			select {
			case <-t.C:
			case <-ended:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	var once sync.Once
	return ctx, func() {
		once.Do(func() {
			f.leave()
			close(ended)
			cancel(nil)
		})
	}
}
