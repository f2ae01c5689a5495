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
	TimesPut  Ratio   `json:"times_put"`            // PerUpdate ÷ Put
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

// Seconds, Millis and Ratio are rounded for reading.
type (
	Seconds float64
	Millis  float64
	Ratio   float64
)

func millis(d time.Duration) Millis { return Millis(rounded(d.Seconds() * 1000)) }

func rounded(f float64) float64 { return math.Round(f*1000) / 1000 }

// Progress copies what is known under the lock, and computes outside of it: the clients wait for it.
func (r *Race) Progress() *Progress {
	p := &Progress{Cluster: r.Where, Clients: r.Clients, Rounds: r.Rounds, OK: true, x: r.X}
	if p.x == "" {
		p.x = Time
	}
	r.mu.Lock()
	p.activity = r.activity
	put := r.spent / time.Duration(max(1, r.puts))
	runs, current := make([]run, len(r.runs)), -1
	for i, m := range r.runs {
		if m == r.current {
			current = i
		}
		runs[i] = run{Method: m.Method, seen: slices.Clone(m.seen), result: m.result}
	}
	r.mu.Unlock()

	p.Put = millis(put)
	for i, m := range runs {
		method := m.progress(put)
		if i == current {
			p.done = method.Updates
			p.left = time.Duration(float64(method.PerUpdate) * float64(time.Millisecond) * float64(p.Clients*p.Rounds-p.done))
		}
		p.Methods = append(p.Methods, method)
		p.OK = p.OK && (!method.locked || method.safe())
	}
	return p
}

func (m *run) progress(put time.Duration) *MethodProgress {
	r := m.result
	if r == nil {
		r = SoFar(m.seen)
	}
	p := &MethodProgress{
		Lock: m.Lock, Counter: r.Counter(), Updates: len(r.Updates), Lost: r.Lost(), Took: Seconds(millis(r.Took) / 1000),
		PerUpdate: millis(r.PerUpdate()), WorstWait: millis(r.WorstWait()),
		title: m.Name(), locked: m.Locked(), over: m.result != nil,
	}
	if put > 0 {
		p.TimesPut = Ratio(rounded(r.PerUpdate().Seconds() / put.Seconds()))
	}
	if p.locked {
		n := r.HandOvers()
		p.HandOvers = &n
	}
	for _, u := range r.Updates {
		p.History = append(p.History, Step{millis(u.At), u.Worker, u.Read, u.Wrote, u.Value, millis(u.Waited)})
	}
	return p
}

// Now is what is going on, and how much longer it takes.
func (p *Progress) Now() string {
	if p.done == 0 {
		return p.activity
	}
	now := fmt.Sprintf("%s: %d of %d updates", p.activity, p.done, p.Clients*p.Rounds)
	if p.left >= time.Second {
		now += fmt.Sprintf(", about %d s left", int(p.left.Seconds()+0.5))
	}
	return now
}

// safe tells whether no update is lost. Until the end the counter need not be 0.
func (m *MethodProgress) safe() bool { return m.Lost == 0 && (!m.over || m.Counter == 0) }

// chart is the counter after each update.
func (m *MethodProgress) chart(p *Progress, axis Axis) plot.Chart {
	points := []plot.Point{{}} // zero at the start
	last := 0.0
	for i, u := range m.History {
		x := float64(i + 1)
		if axis == Time {
			x = max(last, float64(u.At)/1000) // answers can overtake one another
		}
		points = append(points, plot.Point{X: x, Y: float64(u.Value)})
		last = x
	}
	title := m.title
	if m.Updates > 0 {
		title = fmt.Sprintf("%s: %d lost", m.title, m.Lost)
	}
	return plot.Chart{Title: title, XLabel: string(axis), XTo: p.longest(axis), Steps: true, Series: []plot.Series{{Name: m.title, Points: points}}}
}

// longest is where the x axis of all curves ends. That of the updates is known from the beginning; that of
// the time grows.
func (p *Progress) longest(x Axis) float64 {
	if x == Updates {
		return float64(p.Clients * p.Rounds)
	}
	longest := 0.0
	for _, m := range p.Methods {
		longest = max(longest, float64(m.Took))
	}
	return longest
}
