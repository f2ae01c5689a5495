package httptransport

import (
	"sync"
	"time"
)

// idleTimer gives a try up when nothing has happened for a time. nil never does.
type idleTimer struct {
	limit time.Duration

	mu    sync.Mutex
	timer *time.Timer
	ended bool // the try is over
	fired bool // the try was given up
}

// newIdleTimer calls giveUp when nothing has happened for limit.
func newIdleTimer(limit time.Duration, giveUp func()) *idleTimer {
	t := &idleTimer{limit: limit}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(limit, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.ended && !t.fired {
			t.fired = true
			giveUp()
		}
	})
	return t
}

// renew is called when something happens.
func (t *idleTimer) renew() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended && !t.fired {
		t.timer.Reset(t.limit)
	}
}

// stop ends the timer, and reports whether the try was given up.
func (t *idleTimer) stop() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.timer.Stop()
	return t.fired
}
