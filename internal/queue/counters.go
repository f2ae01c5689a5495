package queue

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/etcdkit/etcdkit/lease"
)

// Loss is why a hold was lost.
type Loss string

// Reasons of a loss.
const (
	LossExpired      Loss = "expired"      // its lease, as this process or the machine stood still
	LossRevoked      Loss = "revoked"      // its lease, by another client
	LossUnreachable  Loss = "unreachable"  // no member renewed its lease in time
	LossUnauthorised Loss = "unauthorised" // etcd refused to renew its lease
	LossDeleted      Loss = "deleted"      // its key, by another client
	LossClosed       Loss = "closed"       // its handle or client, before it was released
)

// Losses are all reasons.
var Losses = [...]Loss{LossExpired, LossRevoked, LossUnreachable, LossUnauthorised, LossDeleted, LossClosed}

// lossOf is the reason that an error has.
func lossOf(err error) Loss {
	switch {
	case errors.Is(err, lease.ErrExpired):
		return LossExpired
	case errors.Is(err, lease.ErrRevoked):
		return LossRevoked
	case errors.Is(err, lease.ErrUnreachable):
		return LossUnreachable
	case errors.Is(err, lease.ErrUnauthorised):
		return LossUnauthorised
	case errors.Is(err, errKeyDeleted):
		return LossDeleted
	}
	return LossClosed
}

// bounds are the upper bounds of a histogram's buckets.
var bounds = [...]time.Duration{
	time.Millisecond, 4 * time.Millisecond, 16 * time.Millisecond, 64 * time.Millisecond, 250 * time.Millisecond,
	time.Second, 4 * time.Second, 15 * time.Second, time.Minute, 4 * time.Minute, 15 * time.Minute, time.Hour,
}

// Histogram is how long something took, and how often.
type Histogram struct {
	Count uint64
	Sum   time.Duration
	// Buckets are how many took at most so long: each counts those of the smaller ones, too.
	Buckets map[time.Duration]uint64
}

type histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) read() Histogram {
	all := Histogram{Sum: time.Duration(h.sum.Load()), Buckets: make(map[time.Duration]uint64, len(bounds))}
	for i := range h.buckets {
		all.Count += h.buckets[i].Load()
		if i < len(bounds) {
			all.Buckets[bounds[i]] = all.Count
		}
	}
	return all
}

// Counters are what a handle counts. Its methods may be called from any goroutine.
type Counters struct {
	waiting, held atomic.Int64
	refused       atomic.Uint64
	lost          [len(Losses)]atomic.Uint64 // in the order of Losses
	wait, hold    histogram
}

// StartWait counts a call that begins to wait.
func (c *Counters) StartWait() time.Time {
	c.waiting.Add(1)
	return time.Now()
}

// EndWait counts a call that began to wait then, and returns.
func (c *Counters) EndWait(began time.Time, err error) {
	c.waiting.Add(-1)
	if err == nil {
		c.wait.observe(time.Since(began))
	}
}

// Refused counts a call that did not want to wait, and would have had to.
func (c *Counters) Refused() { c.refused.Add(1) }

// NoWait counts a call that did not have to wait.
func (c *Counters) NoWait() { c.wait.observe(0) }

// StartHold counts a hold that begins.
func (c *Counters) StartHold() { c.held.Add(1) }

// EndHold counts the end of a hold; lost is nil if it was not lost.
func (c *Counters) EndHold(lasted time.Duration, lost error) {
	c.held.Add(-1)
	c.hold.observe(lasted)
	if lost != nil {
		c.lost[slices.Index(Losses[:], lossOf(lost))].Add(1)
	}
}

// Counts are a handle's counters at one moment.
type Counts struct {
	Held, Waiting      int
	Refused            uint64
	Lost               map[Loss]uint64
	WaitTime, HoldTime Histogram
}

// Read returns the counters.
func (c *Counters) Read() Counts {
	counts := Counts{
		Held: int(c.held.Load()), Waiting: int(c.waiting.Load()), Refused: c.refused.Load(), Lost: make(map[Loss]uint64),
		WaitTime: c.wait.read(), HoldTime: c.hold.read(),
	}
	for i, loss := range Losses {
		if n := c.lost[i].Load(); n > 0 {
			counts.Lost[loss] = n
		}
	}
	return counts
}
