package top

import (
	"time"

	"github.com/etcdkit/etcdkit/doctor"
)

// Rates are per second. A rate that is not known is negative.
type Rates struct {
	Known     bool // there were two answers to compare
	Revisions float64
	Requests  float64 // answered by the members, of all clients
	Events    float64 // sent to watchers
}

// meter makes rates of counters.
type meter struct {
	at       time.Time
	revision int64
	counters map[doctor.ID]doctor.Counters
}

// read compares counters with those of the time before.
func (m *meter) read(now time.Time, revision int64, counters map[doctor.ID]doctor.Counters) Rates {
	before := *m
	*m = meter{now, revision, counters}
	seconds := now.Sub(before.at).Seconds()
	if before.at.IsZero() || seconds <= 0 {
		return Rates{}
	}
	r := Rates{Known: true, Revisions: max(0, float64(revision-before.revision)/seconds), Requests: -1, Events: -1}
	for id, c := range counters {
		old, ok := before.counters[id]
		if !ok || c.Requests < old.Requests { // the member has started since
			continue
		}
		r.Requests = max(r.Requests, 0) + (c.Requests-old.Requests)/seconds
		r.Events = max(r.Events, 0) + max(0, c.Events-old.Events)/seconds
	}
	return r
}
