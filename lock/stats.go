package lock

import (
	"errors"
	"log/slog"
	"time"

	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Loss is why a hold was lost.
type Loss = queue.Loss

// Reasons of a loss.
const (
	LossExpired      = queue.LossExpired      // its lease, as this process or the machine stood still
	LossRevoked      = queue.LossRevoked      // its lease, by another client
	LossUnreachable  = queue.LossUnreachable  // no member renewed its lease in time
	LossUnauthorised = queue.LossUnauthorised // etcd refused to renew its lease
	LossDeleted      = queue.LossDeleted      // its key, by another client
	LossClosed       = queue.LossClosed       // its lock or its client, before it was released
)

// Histogram is how often something happened, and how long it took: 1 ms to 1 h in steps of about 4.
type Histogram = queue.Histogram

// Stats is what a lock knows of this process's calls at one moment. Reading it asks nothing of etcd.
type Stats struct {
	Held    int             // holds that have not ended
	Waiting int             // calls of Acquire that have not returned
	Taken   uint64          // calls of TryAcquire that were ErrTaken
	Lost    map[Loss]uint64 // holds that were lost
	// WaitTime is of the calls of Acquire that got the lock, HoldTime of the holds that have ended.
	WaitTime, HoldTime Histogram
}

// Stats returns the lock's figures.
func (l *lock) Stats() Stats {
	c := l.figures.Read()
	return Stats{Held: c.Held, Waiting: c.Waiting, Taken: c.Refused, Lost: c.Lost, WaitTime: c.WaitTime, HoldTime: c.HoldTime}
}

// waiting is a call that waits.
type waiting struct {
	of    *lock
	began time.Time
	log   *queue.Wait
}

func (l *lock) wait() waiting { return waiting{l, l.figures.StartWait(), l.waits.Start()} }

func (w waiting) over(err error) {
	w.of.figures.EndWait(w.began, err)
	w.log.End(err)
}

// ended returns what is called when a hold ends.
func ended(figures *queue.Counters, name string, log *slog.Logger) func(*queue.Hold, error) {
	return func(h *queue.Hold, err error) {
		lasted := time.Since(h.Began())
		if !errors.Is(err, ErrLost) {
			figures.EndHold(lasted, nil)
			return
		}
		figures.EndHold(lasted, err)
		if log != nil {
			log.Error("lock lost", "name", name, "key", h.Key(), "token", h.Token(), "held", lasted.Round(time.Millisecond), "cause", err.Error())
		}
	}
}

// holderAttrs is what the log says of a holder.
func holderAttrs(name string, f queue.Found) []any {
	e := newEntry(name, 0, f)
	if e.PID == 0 {
		return []any{"holder", e.Holder(), "key", quote.Word(e.Key), "token", e.Token}
	}
	since := e.Since
	if !e.Acquired.IsZero() {
		since = e.Acquired
	}
	return []any{"holder", quote.Word(e.Command), "host", quote.Word(e.Host), "pid", e.PID, "since", stamp(since), "key", quote.Word(e.Key), "token", e.Token}
}
