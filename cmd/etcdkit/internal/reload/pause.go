package reload

import (
	"fmt"
	"strings"
	"time"
)

// Pause gathers changes that come close together: what they cause happens when nothing has changed for Min, and at
// the latest Max after the first of them. The zero Pause gathers nothing.
type Pause struct{ Min, Max time.Duration }

// ParsePause reads MIN or MIN:MAX. Without MAX it is four times MIN.
func ParsePause(text string) (Pause, error) {
	first, second, both := strings.Cut(text, ":")
	least, err := time.ParseDuration(first)
	if err != nil {
		return Pause{}, fmt.Errorf("%q is not MIN or MIN:MAX, as in 200ms or 2s:10s", text)
	}
	p := Pause{least, 4 * least}
	if both {
		if p.Max, err = time.ParseDuration(second); err != nil {
			return Pause{}, fmt.Errorf("%q is not MIN:MAX, as in 2s:10s", text)
		}
	}
	switch {
	case p.Min < 0:
		return Pause{}, fmt.Errorf("%q: a time cannot be less than 0", text)
	case p.Max < p.Min:
		return Pause{}, fmt.Errorf("%q: MAX is less than MIN", text)
	}
	return p, nil
}

func (p Pause) String() string {
	if p.Max == 4*p.Min {
		return p.Min.String()
	}
	return p.Min.String() + ":" + p.Max.String()
}

// Gatherer counts a Pause down. It has no goroutine and no lock: one goroutine uses it, in a select on C.
//
//	case c := <-changes:
//		pending.add(c)
//		g.Changed()
//	case <-g.C():
//		g.Stop()
//		act(pending)
type Gatherer struct {
	pause Pause
	first time.Time // of the changes that wait; zero: none
	timer *time.Timer
}

// NewGatherer makes a Gatherer to which nothing has changed.
func NewGatherer(p Pause) *Gatherer {
	g := &Gatherer{pause: p, timer: time.NewTimer(time.Hour)}
	g.timer.Stop()
	return g
}

// Changed starts the pause, or extends it.
func (g *Gatherer) Changed() {
	now := time.Now()
	if g.first.IsZero() {
		g.first = now
	}
	g.timer.Reset(min(g.pause.Min, g.first.Add(g.pause.Max).Sub(now)))
}

// Waiting tells whether there was a change since the last Stop.
func (g *Gatherer) Waiting() bool { return !g.first.IsZero() }

// C receives once when the pause is over.
func (g *Gatherer) C() <-chan time.Time { return g.timer.C }

// Stop forgets the changes.
func (g *Gatherer) Stop() {
	g.first = time.Time{}
	g.timer.Stop()
}
