package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/etcdkit/etcdkit/internal/plot"
	"github.com/etcdkit/etcdkit/internal/race"
)

// standing is how the race stands, in its middle or at its end.
type standing struct {
	Cluster string         `json:"cluster"`
	Clients int            `json:"clients"`
	Rounds  int            `json:"rounds"`
	Put     millis         `json:"put_ms"` // one client's, alone, in the mean
	Arms    []*armStanding `json:"arms"`
	OK      bool           `json:"ok"` // no lock let an update be lost

	now string
}

type armStanding struct {
	Arm       string   `json:"arm"`
	Counter   int      `json:"counter"`
	Updates   int      `json:"updates"`
	Lost      int      `json:"lost"`
	Took      seconds  `json:"took_s"`
	Each      millis   `json:"update_ms"`
	Puts      millis   `json:"puts"`                 // Each ÷ Put
	HandOvers *int     `json:"hand_overs,omitempty"` // not there without a lock: nothing changes hands
	WorstWait millis   `json:"worst_wait_ms"`
	Course    []course `json:"course"` // in the order in which etcd has made the updates

	title        string
	locked, over bool
}

// course is one update of an arm's course: the revision that was read, 0 if there was none, the one
// that was written, and the counter in it.
type course struct {
	At     millis `json:"at_ms"`
	Client int    `json:"client"`
	Read   int64  `json:"read"`
	Wrote  int64  `json:"wrote"`
	Value  int    `json:"value"`
	Waited millis `json:"waited_ms"`
}

// millis are rounded for reading.
type millis float64

func inMillis(d time.Duration) millis { return rounded(d.Seconds() * 1000) }

func rounded(f float64) millis { return millis(math.Round(f*1000) / 1000) }

// snapshot copies what is known under the lock, and computes outside of it: the clients wait for it.
func (c *contest) snapshot() *standing {
	s := &standing{Cluster: c.where, Clients: c.clients, Rounds: c.rounds, OK: true}
	c.mu.Lock()
	s.now = c.now
	floor := c.spent / time.Duration(max(1, c.puts))
	arms := make([]arm, len(c.arms))
	for i, a := range c.arms {
		arms[i] = arm{Contest: a.Contest, seen: slices.Clone(a.seen), result: a.result}
	}
	c.mu.Unlock()

	s.Put = inMillis(floor)
	for _, a := range arms {
		stands := a.stands(floor)
		s.Arms = append(s.Arms, stands)
		s.OK = s.OK && (!stands.locked || stands.safe())
	}
	return s
}

func (a *arm) stands(floor time.Duration) *armStanding {
	r := a.result
	if r == nil {
		r = race.SoFar(a.Name(), a.seen)
	}
	s := &armStanding{
		Arm: a.Impl, Counter: r.Counter(), Updates: len(r.Updates), Lost: r.Lost(), Took: seconds(inMillis(r.Took) / 1000),
		Each: inMillis(r.Each()), WorstWait: inMillis(r.WorstWait()),
		title: a.Name(), locked: a.Locked(), over: a.result != nil,
	}
	if floor > 0 {
		s.Puts = rounded(r.Each().Seconds() / floor.Seconds())
	}
	if s.locked {
		n := r.HandOvers()
		s.HandOvers = &n
	}
	for _, u := range r.Updates {
		s.Course = append(s.Course, course{inMillis(u.At), u.Side, u.Read, u.Wrote, u.Value, inMillis(u.Waited)})
	}
	return s
}

// safe tells whether the counter is what the updates have made of it.
func (a *armStanding) safe() bool { return a.Counter == 0 && a.Lost == 0 }

// chart is the counter after each update. The x axis counts updates and not seconds, which one arm needs
// many more of than another: that way the picture of a race that goes on grows at a known scale, and
// says how far it is.
func (a *armStanding) chart(s *standing) plot.Chart {
	points := []plot.Point{{}} // zero at the start
	for i, u := range a.Course {
		points = append(points, plot.Point{X: float64(i + 1), Y: float64(u.Value)})
	}
	return plot.Chart{
		Title: a.title, XLabel: "updates", XTo: float64(s.Clients * s.Rounds), Steps: true,
		Series: []plot.Series{{Name: a.title, Points: points}},
	}
}

func (s *standing) json(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(s); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
