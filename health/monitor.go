package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

const (
	// firstPause is between the first two probes of a check that has not passed yet. Each further
	// pause is twice as long, up to the Interval, or mostPause if that is less.
	firstPause = 50 * time.Millisecond
	mostPause  = time.Second
	// closeWait bounds how long Close waits for probes.
	closeWait = time.Second
)

// Monitor runs the checks of one instance until it is closed. Its methods may be called from any
// goroutine.
type Monitor struct {
	addr  string
	runs  []*run
	wg    sync.WaitGroup // a goroutine for each run
	stop  context.CancelFunc
	close func() error

	mu      sync.Mutex
	results []Result // by run; without a status before the first result
	changed chan struct{}
}

// run is a running check. Only its goroutine uses it, and after that Close.
type run struct {
	check   Check
	tracker statusTracker
	began   time.Time   // when its last probe was started
	late    chan answer // of a probe that has not returned at its Timeout
}

type answer struct {
	output string
	err    error
}

// Open runs the checks of the instance at addr, host:port, and returns when each of them has a
// result, which is after the longest Timeout at most. ctx bounds the call, not the Monitor's
// life: Close it when done.
//
// The errors are ErrInvalid, before anything is run, and ctx's with the name of a check.
func Open(ctx context.Context, addr string, checks ...Check) (*Monitor, error) {
	if err := Validate(checks...); err != nil {
		return nil, err
	}
	m := &Monitor{addr: addr, changed: make(chan struct{})}
	m.close = sync.OnceValue(m.shutdown)
	life, stop := context.WithCancel(context.Background())
	m.stop = stop
	for _, c := range checks {
		c = c.withDefaults()
		m.runs = append(m.runs, &run{check: c, tracker: newStatusTracker(c)})
		m.results = append(m.results, Result{Name: c.Name})
	}
	for n := range m.runs {
		m.wg.Go(func() { m.follow(life, n) }) // ends with Close
	}
	if err := m.complete(ctx); err != nil {
		_ = m.Close() // its error is about a probe that ignores its context
		return nil, errtext.Errorf("health: open %s: %w", addr, err)
	}
	return m, nil
}

// complete waits until there is a result of every check.
func (m *Monitor) complete(ctx context.Context) error {
	for {
		changed, results := m.Changed(), m.Results()
		n := slices.IndexFunc(results, func(r Result) bool { return r.Status == "" })
		if n < 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errtext.Errorf("%s has no result yet: %w", results[n].Name, context.Cause(ctx))
		}
	}
}

// follow probes until ctx is done.
func (m *Monitor) follow(ctx context.Context, n int) {
	r := m.runs[n]
	hasPassed, pause := false, min(firstPause, r.check.Interval)
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		result, output := r.probe(ctx, m.addr)
		if ctx.Err() != nil { // the result may be a consequence
			return
		}
		m.record(n, r.tracker.add(result), output)
		switch {
		case hasPassed:
			again.Reset(time.Until(now.Add(r.check.Interval)))
		case r.tracker.status != Critical:
			hasPassed = true
			again.Reset(rand.N(r.check.Interval))
		default:
			again.Reset(pause/2 + rand.N(pause/2))
			pause = min(2*pause, mostPause, r.check.Interval)
		}
	}
}

// probe runs the probe once, for at most its Timeout. If it has not returned by then, probe returns
// without it, and no other probe starts before that one has returned.
func (r *run) probe(ctx context.Context, addr string) (Status, string) {
	if r.late != nil {
		select {
		case <-r.late:
			r.late = nil
		default:
			return Critical, fmt.Sprintf("still runs after %v", time.Since(r.began).Round(time.Millisecond))
		}
	}
	r.began = time.Now()
	ctx, cancel := context.WithTimeout(ctx, r.check.Timeout)
	defer cancel()
	result := make(chan answer, 1)
	go ask(ctx, r.check.Probe, addr, result) // ends with the probe
	select {
	case a := <-result:
		return r.interpret(ctx, a)
	case <-ctx.Done():
		r.late = result
		return r.interpret(ctx, answer{err: ctx.Err()})
	}
}

// ask sends a probe's answer, however the probe ends.
func ask(ctx context.Context, probe Probe, addr string, result chan<- answer) {
	a := answer{err: errors.New("it ended its goroutine")}
	defer func() {
		if v := recover(); v != nil {
			a = answer{err: fmt.Errorf("panic: %v", v)}
		}
		result <- a
	}()
	a.output, a.err = probe(ctx, addr)
}

// interpret returns what an answer means.
func (r *run) interpret(ctx context.Context, a answer) (Status, string) {
	if a.err == nil {
		return Passing, line(a.output)
	}
	text := a.output
	if strings.TrimSpace(text) == "" {
		text = strings.TrimPrefix(a.err.Error(), ErrWarning.Error()+": ")
	}
	switch {
	case errors.Is(a.err, ErrWarning):
		return Warning, line(text)
	case ctx.Err() != nil: // errors at a timeout have many texts
		return Critical, fmt.Sprintf("no answer within %v", r.check.Timeout)
	}
	return Critical, line(text)
}

// record keeps the result of a probe.
func (m *Monitor) record(n int, changed bool, output string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.results[n]
	r.Output = output
	if !changed && r.Status != "" {
		return
	}
	r.Status, r.At = m.runs[n].tracker.status, time.Now().UTC().Truncate(time.Second)
	close(m.changed)
	m.changed = make(chan struct{})
}

// Results returns the results of the checks, in their order. A closed Monitor keeps the last ones.
func (m *Monitor) Results() []Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.results)
}

// Changed returns a channel that is closed when a status next changes, or the Monitor is closed. Call it
// before Results, so that no change is missed in between. A slow reader misses statuses, but never the
// newest.
func (m *Monitor) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Close ends the checks: no probe starts after it. Probes under way are cancelled, and Close waits up
// to 1 s for them. The error names a check that still runs, as it ignores its context.
// Close is idempotent.
func (m *Monitor) Close() error { return m.close() }

func (m *Monitor) shutdown() error {
	m.stop()
	m.wg.Wait()
	m.mu.Lock()
	close(m.changed) // no goroutine is left that would close it again
	m.mu.Unlock()
	timeout := time.NewTimer(closeWait)
	defer timeout.Stop()
	for _, r := range m.runs {
		if r.late == nil {
			continue
		}
		select {
		case <-r.late:
		case <-timeout.C:
			return fmt.Errorf("health: close %s: %s still runs after %v: it ignores its context", m.addr, r.check.Name, time.Since(r.began).Round(time.Millisecond))
		}
	}
	return nil
}
