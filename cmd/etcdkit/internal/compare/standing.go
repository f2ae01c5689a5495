package compare

import (
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
	OK      bool           `json:"ok"` // no lock let an update be lost

	now string
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
	s := &Standing{Cluster: r.Where, Clients: r.Clients, Rounds: r.Rounds, OK: true}
	r.mu.Lock()
	s.now = r.now
	floor := r.spent / time.Duration(max(1, r.puts))
	arms := make([]arm, len(r.arms))
	for i, a := range r.arms {
		arms[i] = arm{Way: a.Way, seen: slices.Clone(a.seen), result: a.result}
	}
	r.mu.Unlock()

	s.Put = millis(floor)
	for _, a := range arms {
		stands := a.stands(floor)
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

// Now is what is going on.
func (s *Standing) Now() string { return s.now }

// safe tells whether the counter is what the updates have made of it.
func (a *ArmStanding) safe() bool { return a.Counter == 0 && a.Lost == 0 }

// chart is the counter after each update. The x axis counts updates and not seconds, which one arm needs
// many more of than another: that way the picture of a race that goes on grows at a known scale, and
// says how far it is.
func (a *ArmStanding) chart(s *Standing) plot.Chart {
	points := []plot.Point{{}} // zero at the start
	for i, u := range a.Course {
		points = append(points, plot.Point{X: float64(i + 1), Y: float64(u.Value)})
	}
	return plot.Chart{
		Title: a.title, XLabel: "updates", XTo: float64(s.Clients * s.Rounds), Steps: true,
		Series: []plot.Series{{Name: a.title, Points: points}},
	}
}
