package registry

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Registration is one instance that is kept registered. Its methods may be called from any
// goroutine.
type Registration struct {
	registrar *Registrar
	entry     *entry
	alone     bool // Close closes the registrar
}

// State is what a Registration knows of itself.
type State struct {
	// Registered: the key is there, as far as is known. Since when it is so, or not.
	Registered bool
	Since      time.Time
	// Err is the last try's error, nil while all is as it should be. With ErrUnauthorised, or
	// ErrExists from a live process, tries are some seconds apart.
	Err error
	// Reason is why it was last lost, "" if it never was; Again is how often.
	Reason string
	Again  int
	// Key, Lease and Revision in etcd, of the last write.
	Key      string
	Lease    clientv3.LeaseID
	Revision int64
}

// State returns the present state.
func (g *Registration) State() State {
	g.registrar.mu.Lock()
	defer g.registrar.mu.Unlock()
	e := g.entry
	s := State{Registered: e.written, Since: e.since, Reason: e.reason, Again: e.again, Key: e.key, Revision: e.revision}
	if e.lease != nil {
		s.Lease = e.lease.ID()
		if e.lease.Err() != nil {
			s.Registered, s.Err = false, e.lease.Err()
		}
	}
	if e.trouble != nil {
		s.Err = e.trouble
	}
	return s
}

// Changed is closed when State next changes. Take it before State, so that nothing falls between.
func (g *Registration) Changed() <-chan struct{} {
	g.registrar.mu.Lock()
	defer g.registrar.mu.Unlock()
	return g.entry.changed
}

// Instance is what is registered, as it was last asked for.
func (g *Registration) Instance() Instance {
	g.registrar.mu.Lock()
	defer g.registrar.mu.Unlock()
	return g.entry.instance.clone()
}

// Update changes what consumers see and returns when it is in etcd. Updates come one after the
// other: change is given what the one before has left. The lease and the key stay: a change of
// Service or ID is ErrInvalid. When ctx ends first, the change is still made as soon as it can
// be.
func (g *Registration) Update(ctx context.Context, change func(*Instance)) error {
	e := g.entry
	if err := g.wish(change); err != nil {
		return err
	}
	if err := g.registrar.settled(ctx, e, false); err != nil {
		return fmt.Errorf("registry: update %s: %w", e.key, err)
	}
	return nil
}

// wish takes note of what the instance shall be.
func (g *Registration) wish(change func(*Instance)) error {
	r, e := g.registrar, g.entry
	e.updating.Lock()
	defer e.updating.Unlock()
	next := g.Instance()
	change(&next)
	fresh, err := newEntry(r.prefix, next)
	if err != nil {
		return err
	}
	if fresh.key != e.key {
		return fmt.Errorf("%w: update of %s to %s: close it and register anew", ErrInvalid, e.key, fresh.key)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.leaving {
		return ErrClosed
	}
	e.instance, e.value, e.trouble, e.verdict = fresh.instance, fresh.value, nil, nil
	r.touch(e)
	return nil
}

// Drain tells consumers to send no new requests. The instance stays registered until Close.
func (g *Registration) Drain(ctx context.Context, reason string) error {
	return g.Update(ctx, func(i *Instance) { i.Status, i.Reason = Draining, reason })
}

// Close withdraws the instance: it says draining, then its key is deleted. It is idempotent and
// bounded; a key that could not be deleted ends with its lease.
func (g *Registration) Close() error {
	if g.alone {
		return g.registrar.Close()
	}
	g.registrar.withdraw(g.entry)
	ctx, cancel := context.WithTimeout(context.Background(), rpcTimeout)
	defer cancel()
	if err := g.registrar.settled(ctx, g.entry, true); err != nil {
		return fmt.Errorf("registry: withdraw %s: %w", g.entry.key, err)
	}
	return nil
}
