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
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// opensAtOnce bounds how many instances of a batch have their first probes at the same time.
const opensAtOnce = 256

// checks runs the health checks of entries. What they find becomes a part of the values that are wanted.
type checks struct {
	table   *table
	all     []health.Check
	await   bool           // AwaitServing
	running sync.WaitGroup // goroutines that run checks or apply results; added to under table.mu, until it is closing
}

// begin has Close wait for the caller, which is about to run checks, until it calls end.
func (c *checks) begin() (end func(), err error) {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	if c.table.addsAreClosed() || c.table.etcd.Err() != nil {
		return nil, c.table.closedError()
	}
	c.running.Add(1)
	return c.running.Done, nil
}

// openAll opens the checks of entries that are not in the table yet, and returns when each has run once;
// with AwaitServing, when none is critical. On an error none is left running.
func (c *checks) openAll(ctx context.Context, all []*entry) (err error) {
	if len(c.all) == 0 {
		return nil
	}
	end, err := c.begin()
	if err != nil {
		return err
	}
	defer end()
	defer func() {
		if err != nil {
			c.stop(all...)
		}
	}()
	ctx, cancel := ask.UntilDone(ctx, c.table.addsClosed, ErrClosed)
	defer cancel()
	errs := make([]error, len(all))
	var opening sync.WaitGroup
	room := make(chan struct{}, opensAtOnce)
	for n, e := range all {
		room <- struct{}{}
		if errs[n] = context.Cause(ctx); errs[n] != nil {
			break
		}
		opening.Go(func() {
			e.monitor, errs[n] = health.Open(ctx, e.instance.Addr, c.all...)
			<-room
		})
	}
	opening.Wait()
	for n, e := range all { // those before the first error have been opened
		err := errs[n]
		if err == nil && c.await {
			err = waitServing(ctx, e.monitor)
		}
		if err != nil {
			return errtext.Errorf("registry: register %s: %w", e.key, err)
		}
	}
	return nil
}

// waitServing waits until no check is critical.
func waitServing(ctx context.Context, m *health.Monitor) error {
	for {
		changed := m.Changed()
		if health.Worst(m.Results()).Status != health.Critical {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errtext.Errorf("it cannot serve: check %s: %w", reasonOf(health.Worst(m.Results())), context.Cause(ctx))
		}
	}
}

// start applies what a monitor finds to an entry from now on, until the checks are stopped.
// table.mu is held.
func (c *checks) start(e *entry, m *health.Monitor) {
	e.monitor = m
	c.apply(e, m.Results())
	c.running.Go(func() { c.follow(e, m) }) // ends when the monitor is closed
}

// follow applies changes of results, until the monitor is closed.
func (c *checks) follow(e *entry, m *health.Monitor) {
	for {
		changed := m.Changed()
		c.table.mu.Lock()
		if e.monitor != m || e.checksStopped() {
			c.table.mu.Unlock()
			return
		}
		results := m.Results()
		if !slices.EqualFunc(results, e.results, func(a, b health.Result) bool { return a.Status == b.Status }) {
			c.apply(e, results)
		}
		c.table.mu.Unlock()
		<-changed
	}
}

// apply brings results into what is wanted. table.mu is held.
func (c *checks) apply(e *entry, results []health.Result) {
	was := e.withChecks()
	e.results = results
	e.encode()
	if now := e.withChecks(); now.Status != was.Status {
		level := slog.LevelInfo
		if now.Status != Passing {
			level = slog.LevelWarn
		}
		c.table.note(level, "status changed by checks", "key", e.key, "from", was.Status, "to", now.Status, "because", now.Reason)
	}
	e.notify()
	c.table.markDirty(e)
}

// stop ends the checks of entries for good: no result is applied any more, and no check runs when it
// returns, except one that ignores its context.
func (c *checks) stop(entries ...*entry) {
	var closing sync.WaitGroup
	c.table.mu.Lock()
	for _, e := range entries {
		if !e.checksStopped() {
			close(e.stopChecks)
		}
		if m := e.monitor; m != nil {
			// Its error is about a check that ignores its context; the results have said so.
			closing.Go(func() { _ = m.Close() })
		}
	}
	c.table.mu.Unlock()
	closing.Wait()
}

// checksStopped reports whether the entry's checks have been ended for good. table.mu is held.
func (e *entry) checksStopped() bool {
	select {
	case <-e.stopChecks:
		return true
	default:
		return false
	}
}

// encode makes the value of the instance, of what the checks found and of an operator's override. It has room;
// see newEntry.
func (e *entry) encode() {
	i := e.shown()
	if value, err := i.encodeInRoom(); err == nil {
		e.wanted = record{value, i.Status}
	}
}

// withChecks is the instance with what its checks found, and in the worse of its own status and theirs. An instance that is draining or in maintenance stays so.
func (e *entry) withChecks() Instance {
	i := e.instance
	if e.results == nil {
		return i
	}
	i.Checks = e.results
	worst := health.Worst(e.results)
	if i.Status == Passing && worst.Status != health.Passing || i.Status == Warning && worst.Status == health.Critical {
		i.Status, i.Reason = Status(worst.Status), reasonOf(worst)
	}
	return i
}

// reasonOf is a result as the reason of a status.
func reasonOf(r health.Result) string {
	if r.Output == "" {
		return r.Name
	}
	return r.Name + ": " + r.Output
}

// fits reports whether the value has room for anything that the checks can say, and for draining: it must
// not become too large once they run, or when it leaves.
func (i Instance) fits(checks []health.Check) error {
	if i.Raw != "" {
		return nil
	}
	if len(checks) == 0 {
		if i.Status = Maintenance; len(i.Reason) < len(leavingReason) { // no status is longer
			i.Reason = leavingReason
		}
		if _, err := i.Encode(); err != nil {
			return fmt.Errorf("%w, when it says that it leaves", err)
		}
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
