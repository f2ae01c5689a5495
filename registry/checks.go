package registry

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/internal/ask"
)

// opensAtOnce bounds how many instances of a batch have their first probes at the same time.
const opensAtOnce = 256

// shown is the instance as consumers see it: with what its checks found, and in the worse of its
// own status and theirs. Who is leaving, or out by intent, stays so.
func (e *entry) shown() Instance {
	i := e.instance
	if e.checks == nil {
		return i
	}
	i.Checks = e.checks
	worst := health.Worst(e.checks)
	if i.Status == Passing && worst.Status != health.Passing || i.Status == Warning && worst.Status == health.Critical {
		i.Status, i.Reason = Status(worst.Status), because(worst)
	}
	return i
}

// because is a result as the reason of a status.
func because(r health.Result) string {
	if r.Output == "" {
		return r.Name
	}
	return r.Name + ": " + r.Output
}

// fits tells whether the value has room for whatever the checks will say: they must not fail to
// be written once they run.
func (i Instance) fits(checks []health.Check) error {
	if len(checks) == 0 || i.Raw != "" {
		return nil
	}
	output := strings.Repeat("<", health.MaxOutput) // six bytes each in JSON
	i.Checks, i.Status = nil, Maintenance           // no status is longer
	for _, c := range checks {
		i.Checks = append(i.Checks, health.Result{Name: c.Name, Status: health.Critical, Output: output, At: time.Now().UTC()})
		i.Reason += c.Name + ": " + output
	}
	if _, err := i.Encode(); err != nil {
		return fmt.Errorf("%w, with what its checks may say", err)
	}
	return nil
}

// begin has Close wait for the caller, who is about to run checks, until end is called.
func (r *Registrar) begin() (end func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isClosing() || r.etcd.Err() != nil {
		return nil, r.closedError()
	}
	r.attending.Add(1)
	return r.attending.Done, nil
}

// examine opens the checks of entries that nobody else knows yet, and returns when each has run
// once; with AwaitServing, when none is critical. On an error none is left running.
func (r *Registrar) examine(ctx context.Context, all []*Registration) (err error) {
	if len(r.checks) == 0 {
		return nil
	}
	end, err := r.begin()
	if err != nil {
		return err
	}
	defer end()
	defer func() {
		if err != nil {
			r.dismiss(entries(all)...)
		}
	}()
	ctx, cancel := ask.Until(ctx, r.closing, ErrClosed)
	defer cancel()
	errs := make([]error, len(all))
	var opening sync.WaitGroup
	room := make(chan struct{}, opensAtOnce)
	for n, reg := range all {
		room <- struct{}{}
		if errs[n] = context.Cause(ctx); errs[n] != nil {
			break
		}
		opening.Go(func() {
			reg.entry.monitor, errs[n] = health.Open(ctx, reg.entry.instance.Addr, r.checks...)
			<-room
		})
	}
	opening.Wait()
	for n, reg := range all { // those before the first error have been opened
		err := errs[n]
		if err == nil && r.await {
			err = serving(ctx, reg.entry.monitor)
		}
		if err != nil {
			return fmt.Errorf("registry: register %s: %w", reg.entry.key, err)
		}
	}
	return nil
}

// serving waits until no check is critical.
func serving(ctx context.Context, m *health.Monitor) error {
	for {
		changed := m.Changed()
		if health.Worst(m.Results()).Status != health.Critical {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("its checks do not let it serve: %s: %w", because(health.Worst(m.Results())), context.Cause(ctx))
		}
	}
}

// heard brings what the checks found into the record. r.mu is held.
func (r *Registrar) heard(e *entry, results []health.Result) {
	was := e.shown()
	e.checks = results
	e.render()
	if now := e.shown(); now.Status != was.Status {
		level := slog.LevelInfo
		if now.Status != Passing {
			level = slog.LevelWarn
		}
		r.note(level, "status changed by checks", "key", e.key, "from", was.Status, "to", now.Status, "because", now.Reason)
	}
	e.tell()
	r.touch(e)
}

// render makes the value of what is wished and what the checks found. It fits: newEntry saw to it.
func (e *entry) render() {
	i := e.shown()
	if value, err := i.Encode(); err == nil {
		e.wanted = record{value, i.Status}
	}
}

// attend has a monitor heard from now on. r.mu is held.
func (r *Registrar) attend(e *entry, m *health.Monitor) {
	e.monitor = m
	r.heard(e, m.Results())
	r.attending.Go(func() { r.heed(e, m) }) // ends when the monitor is closed
}

// heed brings changes into the record, until the monitor is closed.
func (r *Registrar) heed(e *entry, m *health.Monitor) {
	for {
		changed := m.Changed()
		r.mu.Lock()
		if e.monitor != m || e.dismissed() {
			r.mu.Unlock()
			return
		}
		results := m.Results()
		if !slices.EqualFunc(results, e.checks, func(a, b health.Result) bool { return a.Status == b.Status }) {
			r.heard(e, results)
		}
		r.mu.Unlock()
		<-changed
	}
}

// dismiss ends the checks of entries: none is heard any more, and none runs when it returns, but
// for one that ignores its context.
func (r *Registrar) dismiss(entries ...*entry) {
	var closing sync.WaitGroup
	r.mu.Lock()
	for _, e := range entries {
		if !e.dismissed() {
			close(e.dismissal)
		}
		if m := e.monitor; m != nil {
			// Its error is of a check that ignores its context, as its results have told.
			closing.Go(func() { _ = m.Close() })
		}
	}
	r.mu.Unlock()
	closing.Wait()
}

// dismissed tells whether the entry's checks have been ended for good. r.mu is held.
func (e *entry) dismissed() bool {
	select {
	case <-e.dismissal:
		return true
	default:
		return false
	}
}
