package lock

import "github.com/etcdkit/etcdkit/internal/queue"

// Loss is why a hold was lost.
type Loss = queue.Loss

// Reasons of a loss.
const (
	LossExpired      = queue.LossExpired      // its lease, while this process or the machine stood still
	LossRevoked      = queue.LossRevoked      // its lease, by another client
	LossUnreachable  = queue.LossUnreachable  // no member renewed its lease in time
	LossUnauthorised = queue.LossUnauthorised // etcd refused to renew its lease
	LossDeleted      = queue.LossDeleted      // its key, by another client
	LossClosed       = queue.LossClosed       // its lock or its client was closed before the release
)

// Histogram is how often something happened, and how long it took: 1 ms to 1 h in steps of about 4.
type Histogram = queue.Histogram

// Stats are the counters of a lock's calls in this process, at one moment. They cost no request.
type Stats struct {
	Held    int             // holds that have not ended
	Waiting int             // calls of Acquire that have not returned
	Refused uint64          // calls of TryAcquire that were ErrTaken
	Lost    map[Loss]uint64 // holds that were lost
	// WaitTime is of the calls of Acquire that got the lock, HoldTime of the holds that have ended.
	WaitTime, HoldTime Histogram
}

// Stats returns the lock's counters.
func (l *lock) Stats() Stats {
	c := l.handle.Counters.Read()
	return Stats{Held: c.Held, Waiting: c.Waiting, Refused: c.Refused, Lost: c.Lost, WaitTime: c.WaitTime, HoldTime: c.HoldTime}
}
