package queue

import (
	"errors"
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
	LossUnreachable  Loss = "unreachable"  // nobody renewed its lease in time
	LossUnauthorised Loss = "unauthorised" // etcd refused to renew its lease
	LossDeleted      Loss = "deleted"      // its key, by another client
	LossClosed       Loss = "closed"       // its handle or client, before it was released
)

// Losses are all reasons.
var Losses = [...]Loss{LossExpired, LossRevoked, LossUnreachable, LossUnauthorised, LossDeleted, LossClosed}

// lossOf is the reason that an error has.
func lossOf(err error) int {
	for i, reason := range [...]error{lease.ErrExpired, lease.ErrRevoked, lease.ErrUnreachable, lease.ErrUnauthorised} {
		if errors.Is(err, reason) {
			return i
		}
	}
	if errors.Is(err, errGone) {
		return 4
	}
	return 5
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

// Figures are what a handle counts. Its methods may be called from any goroutine.
type Figures struct {
	waiting, held atomic.Int64
	refused       atomic.Uint64
	lost          [len(Losses)]atomic.Uint64
	wait, hold    histogram
}

// Waits counts a call that begins to wait.
func (f *Figures) Waits() time.Time {
	f.waiting.Add(1)
	return time.Now()
}

// Waited counts a call that began to wait then, and returns.
func (f *Figures) Waited(began time.Time, err error) {
	f.waiting.Add(-1)
	if err == nil {
		f.wait.observe(time.Since(began))
	}
}

// Refused counts a call that did not want to wait, and would have had to.
func (f *Figures) Refused() { f.refused.Add(1) }

// AtOnce counts a call that did not have to wait.
func (f *Figures) AtOnce() { f.wait.observe(0) }

// Holds counts a hold that begins.
func (f *Figures) Holds() { f.held.Add(1) }

// Held counts the end of a hold; lost is nil if it was not lost.
func (f *Figures) Held(lasted time.Duration, lost error) {
	f.held.Add(-1)
	f.hold.observe(lasted)
	if lost != nil {
		f.lost[lossOf(lost)].Add(1)
	}
}

// Counts are a handle's figures at one moment.
type Counts struct {
	Held, Waiting      int
	Refused            uint64
	Lost               map[Loss]uint64
	WaitTime, HoldTime Histogram
}

// Read returns the figures.
func (f *Figures) Read() Counts {
	c := Counts{
		Held: int(f.held.Load()), Waiting: int(f.waiting.Load()), Refused: f.refused.Load(), Lost: make(map[Loss]uint64),
		WaitTime: f.wait.read(), HoldTime: f.hold.read(),
	}
	for i, loss := range Losses {
		if n := f.lost[i].Load(); n > 0 {
			c.Lost[loss] = n
		}
	}
	return c
}
