package registry

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Registration is one instance that is kept registered. Its methods may be called from any
// goroutine.
type Registration struct {
	registrar     *Registrar
	entry         *entry
	ownsRegistrar bool // Close closes the registrar
	leaveOnce     firstCall
}

// State is what a Registration knows of itself.
type State struct {
	// Status is what consumers see: the worse of what was asked for and what the checks found, once
	// that is in etcd. Before it is registered for the first time, what they will see.
	Status Status
	// Checks are the present results, with what the last probes said; nil without checks.
	Checks []health.Result
	// Registered: the key is there, as far as is known. Since when it is so, or not.
	Registered bool
	Since      time.Time
	// Err is the last try's error, nil while all is as it should be. With ErrUnauthorised, or
	// ErrExists from a live process, tries are some seconds apart; with ErrClosed there is none.
	Err error
	// LostBecause is why it was last lost, "" if it never was; Losses is how often.
	LostBecause string
	Losses      int
	// Override is what an operator has set, nil if nothing is set, as far as is known: it decides Status.
	Override *Override
	// Key, Lease and Revision in etcd, of the last write.
	Key      string
	Lease    clientv3.LeaseID
	Revision int64
}

// State returns the present state.
func (g *Registration) State() State {
	t, e := g.registrar.table, g.entry
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.written && !e.withdrawing && e.lease.Err() != nil { // the worker has not seen it yet
		t.markLeaseEnded(e.lease, e)
	}
	s := State{Status: e.status(), Registered: e.written, Since: e.since, LostBecause: e.lostBecause, Losses: e.lossCount, Key: e.key, Revision: e.revision}
	if e.override != nil {
		said := *e.override
		s.Override = &said
	}
	if e.monitor != nil {
		s.Checks = e.monitor.Results()
	}
	if e.lease != nil {
		s.Lease = e.lease.ID()
		if e.lease.Err() != nil {
			s.Err = e.lease.Err()
		}
	}
	if e.written && (e.lease.Err() != nil || t.etcd.Err() != nil) {
		s.Registered, s.Since = false, time.Now()
	}
	if e.lastErr != nil {
		s.Err = ask.Latest(t.etcd, e.lastErr)
	}
	if t.etcd.Err() != nil {
		s.Err = t.closedError()
	}
	return s
}

// Changed is closed when State next changes. Take it before State, so that no change is missed.
func (g *Registration) Changed() <-chan struct{} {
	g.registrar.table.mu.Lock()
	defer g.registrar.table.mu.Unlock()
	return g.entry.changed
}

// Instance is what is registered, as it was last asked for: without what the checks found.
func (g *Registration) Instance() Instance { return g.registrar.table.instance(g.entry) }

// Update changes what consumers see and returns when it is in etcd. Updates come one after the
// other: change gets the result of the one before. The lease and the key stay: a change of
// Service or ID is ErrInvalid. When ctx ends first, the change is still made as soon as it can
// be.
//
// change does not see what the checks found; that is added to its result. At a new Addr the checks run
// once before it is written, and if ctx ends before they have, nothing is changed.
func (g *Registration) Update(ctx context.Context, change func(*Instance)) error {
	err := g.registrar.propose(ctx, g.entry, change)
	if err == nil {
		err = g.registrar.table.waitStored(ctx, g.entry)
	}
	if err != nil {
		return errtext.Errorf("registry: update %s: %w", g.entry.key, err)
	}
	return nil
}

// propose records what an instance should be. Its errors do not name the instance.
func (r *Registrar) propose(ctx context.Context, e *entry, change func(*Instance)) error {
	done, err := e.beginUpdate(ctx)
	if err != nil {
		return err
	}
	defer done()
	next := r.table.instance(e)
	was := next
	change(&next)
	next.Host, next.PID, next.process = was.Host, was.PID, was.process
	fresh, err := newEntry(r.prefix, next, r.checks.all)
	if err != nil {
		return err
	}
	if fresh.key != e.key {
		return fmt.Errorf("%w: its key would be %s: close it and register again", ErrInvalid, fresh.key)
	}
	if len(r.checks.all) > 0 && fresh.instance.Addr != was.Addr {
		end, err := r.checks.begin()
		if err != nil {
			return err
		}
		defer end()
		ctx, cancel := ask.UntilDone(ctx, e.stopChecks, ErrClosed)
		defer cancel()
		if fresh.monitor, err = health.Open(ctx, fresh.instance.Addr, r.checks.all...); err != nil {
			return err
		}
	}
	unused, err := r.applyUpdate(e, fresh)
	if unused != nil {
		_ = unused.Close() // its error is about a check that ignores its context; the results have said so
	}
	return err
}

// beginUpdate returns when no other update of the entry is under way, until done is called.
func (e *entry) beginUpdate(ctx context.Context) (done func(), err error) {
	done = func() { <-e.updating }
	select {
	case e.updating <- struct{}{}: // also when ctx has ended
		return done, nil
	default:
	}
	select {
	case e.updating <- struct{}{}:
		return done, nil
	case <-ctx.Done():
		return nil, errtext.Errorf("another update of it is under way: %w", context.Cause(ctx))
	}
}

// applyUpdate has an entry become as a fresh one, and returns the monitor that is not used any more, if
// there is one.
func (r *Registrar) applyUpdate(e, fresh *entry) (unused *health.Monitor, err error) {
	r.table.mu.Lock()
	defer r.table.mu.Unlock()
	if e.withdrawing || e.checksStopped() {
		return fresh.monitor, ErrClosed
	}
	e.instance, e.lastErr, e.finalErr = fresh.instance, nil, nil
	e.encode()
	e.notify()
	r.table.markDirty(e)
	if fresh.monitor != nil {
		unused = e.monitor
		r.checks.start(e, fresh.monitor)
	}
	return unused, nil
}

// Drain tells consumers to send no new requests. The instance stays registered until Close. Leave does
// both, and what comes in between.
func (g *Registration) Drain(ctx context.Context, reason string) error {
	return g.Update(ctx, func(i *Instance) { i.drain(reason) })
}

// Close withdraws the instance: its checks end, it says draining, then its key is deleted. It is
// idempotent, and bounded as Registrar.Close is. The error says that the key is still in etcd, and
// until when: the Registrar goes on trying while it is open, and the key ends with its lease.
func (g *Registration) Close() error {
	if g.ownsRegistrar {
		return g.registrar.Close()
	}
	ctx, done := g.registrar.table.etcd.ClosingContext(context.Background())
	defer done()
	return g.Shutdown(ctx)
}

// Shutdown is Close that waits for etcd until ctx ends, and no longer.
func (g *Registration) Shutdown(ctx context.Context) error {
	r := g.registrar
	if g.ownsRegistrar {
		return r.Shutdown(ctx)
	}
	r.checks.stop(g.entry)
	r.table.startWithdraw(g.entry)
	if err := r.table.waitGone(ctx, g.entry); err != nil {
		return r.closer.remainingError([]*entry{g.entry}, err)
	}
	return nil
}
