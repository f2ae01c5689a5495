package compare

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/etcdkit/etcdkit/internal/plot"
)

// Progress is what is known of a race, in its middle or at its end.
type Progress struct {
	Cluster string            `json:"cluster"`
	Clients int               `json:"clients"`
	Rounds  int               `json:"rounds"`
	Put     Millis            `json:"put_ms"` // one client's, alone, in the mean
	Methods []*MethodProgress `json:"methods"`
	OK      bool              `json:"ok"` // no lock has lost an update

	x        Axis
	activity string
	done     int           // updates of the method that goes on; 0 if none does
	left     time.Duration // until that one is over, if it goes on at its pace
}

type MethodProgress struct {
	Lock      string  `json:"lock"`
	Counter   int     `json:"counter"`
	Updates   int     `json:"updates"`
	Lost      int     `json:"lost"`
	Took      Seconds `json:"took_s"`
	PerUpdate Millis  `json:"update_ms"`
	TimesPut  Millis  `json:"times_put"`            // PerUpdate ÷ Put
	HandOvers *int    `json:"hand_overs,omitempty"` // not there without a lock: nothing changes hands
	WorstWait Millis  `json:"worst_wait_ms"`
	History   []Step  `json:"history"` // in the order in which etcd has made the updates

	title        string
	locked, over bool
}

// Step is one update: the revision that was read, 0 if there was none, the one
// that was written, and the counter in it.
type Step struct {
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

// Progress copies what is known under the lock, and computes outside of it: the clients wait for it.
func (r *Race) Progress() *Progress {
	s := &Progress{Cluster: r.Where, Clients: r.Clients, Rounds: r.Rounds, OK: true, x: r.X}
	if s.x == "" {
		s.x = Time
	}
	r.mu.Lock()
	s.activity = r.activity
	put := r.spent / time.Duration(max(1, r.puts))
	runs, current := make([]run, len(r.runs)), -1
	for i, a := range r.runs {
		if a == r.current {
			current = i
		}
		runs[i] = run{Method: a.Method, seen: slices.Clone(a.seen), result: a.result}
	}
	r.mu.Unlock()

	s.Put = millis(put)
	for i, a := range runs {
		method := a.progress(put)
		if i == current {
			s.done = method.Updates
			s.left = time.Duration(float64(method.PerUpdate) * float64(time.Millisecond) * float64(s.Clients*s.Rounds-s.done))
		}
		s.Methods = append(s.Methods, method)
		s.OK = s.OK && (!method.locked || method.safe())
	}
	return s
}

func (a *run) progress(put time.Duration) *MethodProgress {
	r := a.result
	if r == nil {
		r = SoFar(a.seen)
	}
	s := &MethodProgress{
		Lock: a.Lock, Counter: r.Counter(), Updates: len(r.Updates), Lost: r.Lost(), Took: Seconds(millis(r.Took) / 1000),
		PerUpdate: millis(r.PerUpdate()), WorstWait: millis(r.WorstWait()),
		title: a.Name(), locked: a.Locked(), over: a.result != nil,
	}
	if put > 0 {
		s.TimesPut = rounded(r.PerUpdate().Seconds() / put.Seconds())
	}
	if s.locked {
		n := r.HandOvers()
		s.HandOvers = &n
	}
	for _, u := range r.Updates {
		s.History = append(s.History, Step{millis(u.At), u.Worker, u.Read, u.Wrote, u.Value, millis(u.Waited)})
	}
	return s
}

// Now is what is going on, and how much longer it takes.
func (s *Progress) Now() string {
	if s.done == 0 {
		return s.activity
	}
	now := fmt.Sprintf("%s: %d of %d updates", s.activity, s.done, s.Clients*s.Rounds)
	if s.left >= time.Second {
		now += fmt.Sprintf(", about %d s left", int(s.left.Seconds()+0.5))
	}
	return now
}

// safe tells whether no update is lost. Until the end the counter need not be 0.
func (a *MethodProgress) safe() bool { return a.Lost == 0 && (!a.over || a.Counter == 0) }

// chart is the counter after each update.
func (a *MethodProgress) chart(s *Progress, axis Axis) plot.Chart {
	points := []plot.Point{{}} // zero at the start
	last := 0.0
	for i, u := range a.History {
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
func (s *Progress) longest(x Axis) float64 {
	if x == Updates {
		return float64(s.Clients * s.Rounds)
	}
	longest := 0.0
	for _, a := range s.Methods {
		longest = max(longest, float64(a.Took))
	}
	return longest
}
