package httptransport

import (
	"sync"
	"time"
)

// patience gives a try up after a time in which nothing happened. A nil one has no end.
type patience struct {
	limit time.Duration

	mu    sync.Mutex
	timer *time.Timer
	ended bool // the try is over
	lost  bool // it was given up
}

// newPatience calls giveUp once it is lost.
func newPatience(limit time.Duration, giveUp func()) *patience {
	p := &patience{limit: limit}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(limit, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ended && !p.lost {
			p.lost = true
			giveUp()
		}
	})
	return p
}

// renew is called when something happens.
func (p *patience) renew() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && !p.lost {
		p.timer.Reset(p.limit)
	}
}

// end tells whether it was lost before.
func (p *patience) end() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.timer.Stop()
	return p.lost
}
