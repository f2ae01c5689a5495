package compare

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/etcdkit/etcdkit/internal/plot"
)

// Standing is how a race stands, in its middle or at its end.
type Standing struct {
	Cluster string         `json:"cluster"`
	Clients int            `json:"clients"`
	Rounds  int            `json:"rounds"`
	Put     Millis         `json:"put_ms"` // one client's, alone, in the mean
	Arms    []*ArmStanding `json:"arms"`
	OK      bool           `json:"ok"` // no lock has lost an update

	x    Axis
	now  string
	done int           // updates of the arm that is under way; 0 if none is
	left time.Duration // until that one is over, if it goes on at its pace
}

type ArmStanding struct {
	Arm       string   `json:"arm"`
	Counter   int      `json:"counter"`
	Updates   int      `json:"updates"`
	Lost      int      `json:"lost"`
	Took      Seconds  `json:"took_s"`
	Each      Millis   `json:"update_ms"`
	Puts      Millis   `json:"puts"`                 // Each ÷ Put
	HandOvers *int     `json:"hand_overs,omitempty"` // not there without a lock: nothing changes hands
	WorstWait Millis   `json:"worst_wait_ms"`
	Course    []Course `json:"course"` // in the order in which etcd has made the updates

	title        string
	locked, over bool
}

// Course is one update of an arm's course: the revision that was read, 0 if there was none, the one
// that was written, and the counter in it.
type Course struct {
	At     Millis `json:"at_ms"`
	Client int    `json:"client"`
	Read   int64  `json:"read"`
	Wrote  int64  `json:"wrote"`
	Value  int    `json:"value"`
	Waited Millis `json:"waited_ms"`
}

// Seconds and Millis are rounded for reading.
type (
	Seconds float64
	Millis  float64
)

func millis(d time.Duration) Millis { return rounded(d.Seconds() * 1000) }

func rounded(f float64) Millis { return Millis(math.Round(f*1000) / 1000) }

// Standing copies what is known under the lock, and computes outside of it: the clients wait for it.
func (r *Race) Standing() *Standing {
	s := &Standing{Cluster: r.Where, Clients: r.Clients, Rounds: r.Rounds, OK: true, x: r.X}
	if s.x == "" {
		s.x = Time
	}
	r.mu.Lock()
	s.now = r.now
	floor := r.spent / time.Duration(max(1, r.puts))
	arms, current := make([]arm, len(r.arms)), -1
	for i, a := range r.arms {
		if a == r.at {
			current = i
		}
		arms[i] = arm{Way: a.Way, seen: slices.Clone(a.seen), result: a.result}
	}
	r.mu.Unlock()

	s.Put = millis(floor)
	for i, a := range arms {
		stands := a.stands(floor)
		if i == current {
			s.done = stands.Updates
			s.left = time.Duration(float64(stands.Each) * float64(time.Millisecond) * float64(s.Clients*s.Rounds-s.done))
		}
		s.Arms = append(s.Arms, stands)
		s.OK = s.OK && (!stands.locked || stands.safe())
	}
	return s
}

func (a *arm) stands(floor time.Duration) *ArmStanding {
	r := a.result
	if r == nil {
		r = SoFar(a.Name(), a.seen)
	}
	s := &ArmStanding{
		Arm: a.Impl, Counter: r.Counter(), Updates: len(r.Updates), Lost: r.Lost(), Took: Seconds(millis(r.Took) / 1000),
		Each: millis(r.Each()), WorstWait: millis(r.WorstWait()),
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
		s.Course = append(s.Course, Course{millis(u.At), u.Side, u.Read, u.Wrote, u.Value, millis(u.Waited)})
	}
	return s
}

// Now is what is going on, and how long that takes yet.
func (s *Standing) Now() string {
	if s.done == 0 {
		return s.now
	}
	now := fmt.Sprintf("%s: %d of %d updates", s.now, s.done, s.Clients*s.Rounds)
	if s.left >= time.Second {
		now += fmt.Sprintf(", about %d s left", int(s.left.Seconds()+0.5))
	}
	return now
}

// safe tells whether no update is lost. Until the end the counter need not be 0.
func (a *ArmStanding) safe() bool { return a.Lost == 0 && (!a.over || a.Counter == 0) }

// chart is the counter after each update.
func (a *ArmStanding) chart(s *Standing, axis Axis) plot.Chart {
	points := []plot.Point{{}} // zero at the start
	last := 0.0
	for i, u := range a.Course {
		x := float64(i + 1)
		if axis == Time {
			x = max(last, float64(u.At)/1000) // answers can overtake one another
		}
		points = append(points, plot.Point{X: x, Y: float64(u.Value)})
		last = x
	}
	title := a.title
	if a.Updates > 0 {
		title = fmt.Sprintf("%s: %d lost", a.title, a.Lost)
	}
	return plot.Chart{Title: title, XLabel: string(axis), XTo: s.longest(axis), Steps: true, Series: []plot.Series{{Name: a.title, Points: points}}}
}

// longest is where the x axis of all curves ends. That of the updates is known from the beginning; that of
// the time grows.
func (s *Standing) longest(x Axis) float64 {
	if x == Updates {
		return float64(s.Clients * s.Rounds)
	}
	longest := 0.0
	for _, a := range s.Arms {
		longest = max(longest, float64(a.Took))
	}
	return longest
}
