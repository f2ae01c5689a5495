package election

import "github.com/etcdkit/etcdkit/internal/queue"

// Loss is why a term was lost.
type Loss = queue.Loss

// Reasons of a loss.
const (
	LossExpired      = queue.LossExpired      // its lease, while this process or the machine stood still
	LossRevoked      = queue.LossRevoked      // its lease, by another client
	LossUnreachable  = queue.LossUnreachable  // no member renewed its lease in time
	LossUnauthorised = queue.LossUnauthorised // etcd refused to renew its lease
	LossDeleted      = queue.LossDeleted      // its key, by another client
	LossClosed       = queue.LossClosed       // its Election or its client was closed before Resign
)

// Histogram is how often something happened, and how long it took: 1 ms to 1 h in steps of about 4.
type Histogram = queue.Histogram

// Stats are the counters of an Election's candidates in this process, at one moment. They cost no
// request.
type Stats struct {
	Leading int             // terms that have not ended: 0 or 1, unless a loss is not known yet
	Waiting int             // calls of Campaign that have not returned
	Lost    map[Loss]uint64 // terms that were lost
	// WaitTime is of the calls of Campaign that were elected, TermTime of the terms that have ended.
	WaitTime, TermTime Histogram
}

// Stats returns the Election's counters.
func (e *Election) Stats() Stats {
	c := e.handle.Counters.Read()
	return Stats{Leading: c.Held, Waiting: c.Waiting, Lost: c.Lost, WaitTime: c.WaitTime, TermTime: c.HoldTime}
}
