package election

import (
	"errors"
	"time"

	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Loss is why a term was lost.
type Loss = queue.Loss

// Reasons of a loss.
const (
	LossExpired      = queue.LossExpired      // its lease, as this process or the machine stood still
	LossRevoked      = queue.LossRevoked      // its lease, by another client
	LossUnreachable  = queue.LossUnreachable  // no member renewed its lease in time
	LossUnauthorised = queue.LossUnauthorised // etcd refused to renew its lease
	LossDeleted      = queue.LossDeleted      // its key, by another client
	LossClosed       = queue.LossClosed       // its Election or its client, before it was resigned
)

// Histogram is how often something happened, and how long it took: 1 ms to 1 h in steps of about 4.
type Histogram = queue.Histogram

// Stats is what an Election knows of this process's candidates at one moment. Reading it asks nothing
// of etcd.
type Stats struct {
	Leading int             // terms that have not ended: 0 or 1, unless one's loss is not known yet
	Waiting int             // calls of Campaign that have not returned
	Lost    map[Loss]uint64 // terms that were lost
	// WaitTime is of the calls of Campaign that were elected, TermTime of the terms that have ended.
	WaitTime, TermTime Histogram
}

// Stats returns the Election's figures.
func (e *Election) Stats() Stats {
	c := e.figures.Read()
	return Stats{Leading: c.Held, Waiting: c.Waiting, Lost: c.Lost, WaitTime: c.WaitTime, TermTime: c.HoldTime}
}

// over is called when a term ends.
func (e *Election) over(h *queue.Hold, err error) {
	lasted := time.Since(h.Began())
	if !errors.Is(err, ErrLost) {
		e.figures.EndHold(lasted, nil)
		return
	}
	e.figures.EndHold(lasted, err)
	if e.log != nil {
		e.log.Error("term lost", "name", e.name, "key", h.Key(), "token", h.Token(), "lasted", lasted.Round(time.Millisecond), "cause", err.Error())
	}
}

// leaderAttrs is what the log says of a leader.
func leaderAttrs(_ string, f queue.Found) []any {
	return []any{"leader", quote.Word(f.Value), "key", quote.Word(f.Key), "token", f.Revision}
}
