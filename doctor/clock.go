package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// rateWarning is a difference of clock rates that no working clock has: NTP slews by 0.05 % at most.
	rateWarning = 0.01
	rateProblem = 0.05
	// wallWarning is a difference of wall clocks that certificates and tokens begin to feel.
	wallWarning = 5 * time.Second
)

// clockRate is how long the leader counted and how long it took here. A lease's remaining time is known in whole
// seconds only, but the moment at which it changes can be seen: between two such moments lies a whole number of the leader's seconds.
type clockRate struct {
	theirs, ours time.Duration
	within       time.Duration // ours may be wrong by this much
	problem      string
}

// ratio is how much faster than ours the leader's clock runs, and within which error: 0.01 is 1 %.
func (r clockRate) ratio() (faster, within float64) {
	return float64(r.theirs-r.ours) / float64(r.ours), float64(r.within) / float64(r.ours)
}

// clockRate measures for about that long, with a lease of its own.
func (p *prober) clockRate(ctx context.Context, wait time.Duration) clockRate {
	ttl := int64(wait/time.Second) + 5
	id, granted, err := p.grant(ctx, ttl)
	if err != nil {
		return clockRate{problem: problem(err, p.timeout)}
	}
	defer p.revoke(ctx, id) // otherwise it expires
	ttl = int64(granted / time.Second)

	first, err := p.change(ctx, id, ttl+1)
	if err != nil {
		return clockRate{problem: problem(err, p.timeout)}
	}
	count := max(1, int64(wait/time.Second))
	if err := pause(ctx, time.Until(first.at.Add(time.Duration(count)*time.Second-around))); err != nil {
		return clockRate{problem: "cancelled"}
	}
	second, err := p.change(ctx, id, first.left)
	switch {
	case err != nil:
		return clockRate{problem: problem(err, p.timeout)}
	case second.term != first.term:
		return clockRate{problem: "the leader changed meanwhile, and a new one counts from the beginning"}
	}
	return clockRate{
		theirs: time.Duration(first.left-second.left) * time.Second,
		ours:   second.at.Sub(first.at),
		within: first.within + second.within,
	}
}

// moment at which a lease's remaining time became left.
type moment struct {
	left   int64
	term   uint64
	at     time.Time // in the middle between the last answer before it and the first one after it
	within time.Duration
}

var errNoChange = errors.New("the lease does not count down")

// change waits until the remaining time of the lease falls, after it was less than most.
func (p *prober) change(ctx context.Context, id int64, most int64) (moment, error) {
	var before moment
	for tries := 0; ; tries++ {
		sent := time.Now()
		left, term, err := p.left(ctx, id)
		if err != nil {
			return moment{}, err
		}
		middle := sent.Add(time.Since(sent) / 2)
		switch {
		case left < 0:
			return moment{}, errors.New("the lease expired early")
		case tries > 0 && left < before.left && left < most:
			gap := middle.Sub(before.at)
			return moment{left, term, before.at.Add(gap / 2), gap/2 + time.Since(sent)/2}, nil
		case tries > int(3*time.Second/pollEvery):
			return moment{}, errNoChange
		}
		before = moment{left: left, at: middle}
		if err := pause(ctx, pollEvery); err != nil {
			return moment{}, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clockRate: does the leader, which counts leases, count as fast as we do?
func (e *examination) clockRate() []Finding {
	r := e.leases.clock
	if e.leases.problem != "" {
		return nil // e.unmeasured says so
	}
	if r.problem != "" {
		return []Finding{{ID: "clock-rate", Severity: Info, What: "the rate of the leader's clock was not measured: " + r.problem,
			Why: "a lock's holder and the leader count the same lease, each on its own clock", Do: "examine again"}}
	}
	faster, within := r.ratio()
	f := Finding{ID: "clock-rate", Severity: OK, What: fmt.Sprintf("clock rate: the leader counted %v in %v of ours (%+.1f %%, within %.1f %%)", r.theirs, short(r.ours), 100*faster, 100*within)}
	off := max(faster, -faster) - within
	switch {
	case off >= rateProblem:
		f.Severity = Problem
	case off >= rateWarning:
		f.Severity = Warning
	default:
		if within >= rateWarning {
			f.Severity = Info
			f.Why = "that is too inexact to tell whether the two clocks run equally fast"
			f.Do = "examine for longer, and from a machine nearer to the leader"
		}
		return []Finding{f}
	}
	f.Why = "leases last on the leader's clock, and their holders count on their own: with a faster leader, a lock is given away before its holder gives up"
	f.Do = "repair the clock of this machine or of the leader's: a virtual machine's clock source, an overcommitted host; until then use longer TTLs"
	return []Finding{f}
}

// wallClocks: do the members know what time it is?
func (e *examination) wallClocks() []Finding {
	var off, each []string
	for i := range e.after.Members {
		m := &e.after.Members[i]
		p := e.page(m.ID)
		if !p.served || p.clockError == 0 {
			continue
		}
		if max(p.clockAhead, -p.clockAhead) < wallWarning+p.clockError {
			continue
		}
		direction := "ahead of"
		if p.clockAhead < 0 {
			direction = "behind"
		}
		off = append(off, m.Label())
		each = append(each, fmt.Sprintf("%s is %v %s this machine", m.Label(), max(p.clockAhead, -p.clockAhead).Round(time.Second), direction))
	}
	if len(off) == 0 {
		if !e.anyServed() {
			return nil
		}
		return []Finding{{ID: "wall-clock", Severity: OK, What: fmt.Sprintf("wall clocks: within %v of this machine's", wallWarning)}}
	}
	return []Finding{{
		ID: "wall-clock", Severity: Warning, Members: off, What: "wall clocks differ: " + strings.Join(each, ", "),
		Why: "leases and elections do not depend on it, but certificates and tokens become invalid too early or too late, and logs cannot be compared",
		Do:  "run NTP on all machines",
	}}
}

func (e *examination) anyServed() bool {
	for _, p := range e.pages {
		if p.served {
			return true
		}
	}
	return false
}
