package discovery

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/logbuffer"
	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

// ErrSaved is why a list that was read from Options.Dir is stale: etcd has not been reached yet.
var ErrSaved = errors.New("discovery: the list is from the file of an earlier process")

// errBehind: this process is too busy to apply changes.
var errBehind = errors.New("discovery: changes are not in the list yet")

// View is the list of a service's instances, kept up to date until it is closed. Its methods
// may be called from any goroutine.
type View struct {
	service string
	keys    string // prefix of the service's keys
	opts    Options
	log     *slog.Logger
	logs    *logbuffer.Buffer // of what is logged under mu

	current      atomic.Pointer[list]
	table        atomic.Pointer[maglev] // of PickFor, once it was called
	picks        atomic.Uint64
	failures     atomic.Uint64
	avoidedUntil atomic.Int64 // until when a pick asks whether an instance is avoided; 0: none is
	allAvoided   atomic.Bool  // all instances are avoided, and the log says so

	mirror  atomic.Pointer[mirror.Mirror] // nil until etcd was reached
	reached chan struct{}                 // closed then
	saved   atomic.Pointer[saved]         // the list until then, and why etcd was not reached

	mu       sync.Mutex          // held while a list is made
	vanished map[string]vanished // by id: not long ago, or kept
	lists    uint64              // made so far
	release  *time.Timer         // calls releaseKept

	life   context.Context // ends with Close
	stop   context.CancelFunc
	saving sync.WaitGroup
	wg     sync.WaitGroup // all other goroutines
	done   chan struct{}
	err    error // set before done is closed
}

// Open reads the service's instances and returns when the list is complete. ctx bounds the
// call, not the view's life: Close it when done. While etcd cannot be reached Open tries again
// until ctx is done. If no instance is registered, the list is empty: that is not an error.
//
// With Options.Dir, Open uses the list that was saved there if etcd does not answer within a second,
// or half of ctx's time. That list is stale because of ErrSaved until etcd is reached, which the view
// tries in the background.
//
// The errors are ErrInvalid, before anything is sent, mirror.ErrDenied without a second try, and ctx's
// with the last cause.
func Open(ctx context.Context, cli *clientv3.Client, service string, opts *Options) (*View, error) {
	v, err := newView(service, opts)
	if err != nil {
		return nil, errtext.Errorf("discovery: open %q: %w", service, err)
	}
	last := v.readSaved()
	first, cancel := ctx, context.CancelFunc(func() {})
	if last != nil {
		wait := time.Second
		if deadline, ok := ctx.Deadline(); ok {
			wait = min(wait, time.Until(deadline)/2)
		}
		first, cancel = context.WithTimeout(ctx, wait)
	}
	m, err := mirror.Open(first, cli, v.keys, &mirror.Options{Logger: v.opts.Logger})
	cancel()
	switch {
	case err == nil:
		v.begin(m)
	case last != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		v.beginSaved(last, err)
	default:
		return nil, errtext.Errorf("discovery: open %q: %w", service, err)
	}
	if v.opts.Dir != "" {
		v.saving.Go(v.keepSaved) // ends with Close
	}
	v.wg.Go(func() { v.run(cli) }) // ends with Close, or with the client
	return v, nil
}

func newView(service string, opts *Options) (*View, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	keys, err := registry.ServicePrefix(o.Prefix, service)
	if err != nil {
		return nil, err
	}
	v := &View{
		service: service, keys: keys, opts: o, log: o.Logger,
		reached: make(chan struct{}), vanished: make(map[string]vanished), done: make(chan struct{}),
	}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	v.logs = logbuffer.New(v.log)
	v.life, v.stop = context.WithCancel(context.Background())
	v.release = time.AfterFunc(time.Hour, v.releaseKept)
	v.release.Stop()
	return v, nil
}

// begin makes the first list from a mirror, and ends the use of a saved one.
func (v *View) begin(m *mirror.Mirror) {
	v.change(func() {
		next := v.read(m.Snapshot())
		if was := v.current.Load(); was != nil { // the saved one
			before := make(map[string]*Instance, len(was.fresh))
			for _, i := range was.fresh {
				before[i.ID] = i
			}
			for _, i := range next.fresh {
				if old := before[i.ID]; old != nil {
					v.carryUsage(i, old)
				}
			}
		}
		v.publish(next)
	})
	v.mirror.Store(m)
	close(v.reached)
}

// changesBuffer is how many bytes of changes can wait for this process. Beyond that, lists are
// compared, and instances that have said draining in between look like those that have died.
const changesBuffer = 64 << 20

// run applies changes, once etcd is reached.
func (v *View) run(cli *clientv3.Client) {
	defer close(v.done)
	m := v.mirror.Load()
	if m == nil {
		if m, v.err = v.reach(cli); m == nil {
			return
		}
	}
	for b, err := range m.Changes(v.life, &mirror.ChangesOptions{From: v.current.Load().snapshot, Buffer: changesBuffer}) {
		if err != nil {
			break // closed
		}
		v.apply(b)
	}
	if v.life.Err() != nil {
		v.saving.Wait() // it uses the mirror
	}
	if err := m.Close(); err != nil {
		v.log.Warn("cannot close the mirror", "error", err)
	}
	v.err = m.Err()
}

// reach opens the mirror, however long that takes.
func (v *View) reach(cli *clientv3.Client) (*mirror.Mirror, error) {
	const try, pause = time.Minute, 2 * time.Second // a try has an end, so that State has a new cause
	for {
		ctx, cancel := context.WithTimeout(v.life, try)
		m, err := mirror.Open(ctx, cli, v.keys, &mirror.Options{Logger: v.opts.Logger})
		cancel()
		if err == nil {
			v.begin(m)
			return m, nil
		}
		switch {
		case v.life.Err() != nil:
			return nil, errtext.Errorf("discovery: view of %q: %w", v.service, mirror.ErrClosed)
		case errors.Is(err, mirror.ErrClosed):
			return nil, errtext.Errorf("discovery: view of %q: %w", v.service, err)
		}
		v.saved.Store(v.saved.Load().because(err))
		select {
		case <-time.After(pause):
		case <-v.life.Done():
		case <-cli.Ctx().Done():
		}
	}
}

// Instances returns the service's instances, in the order of their ids, in any status. The slice
// and what it points to are shared: do not change them.
func (v *View) Instances() []*Instance { return v.current.Load().instances }

// Changed returns a channel that is closed at the next change of the list. Call it before reading the
// list, so that no change is missed in between.
func (v *View) Changed() <-chan struct{} { return v.current.Load().changed }

// FreshnessChanged is closed when the list next turns stale or fresh.
func (v *View) FreshnessChanged() <-chan struct{} {
	if m := v.mirror.Load(); m != nil {
		return m.FreshnessChanged()
	}
	return v.reached
}

// State is what a View knows about its list.
type State struct {
	// Fresh: confirmed by etcd not long ago. Otherwise the list is the last good one, stale
	// Since then because of Cause.
	Fresh bool
	Since time.Time
	Cause error
	// Confirmed is the last moment for which the list is known to be complete.
	Confirmed time.Time
	Revision  int64
	// Expired is how many of the list have the status Expired.
	Expired int
	// Bad are the keys whose values are not instances, and why.
	Bad map[string]error
}

// State returns the present state. It first waits until the list has everything that etcd had told
// this process when State was called: as long as it takes to make the list, and at most 1 s.
func (v *View) State() State {
	m := v.mirror.Load()
	if m == nil {
		return v.saved.Load().state(v)
	}
	of, began := m.State(), time.Now()
	l, complete := v.listOf(m.Snapshot(), m.Done())
	s := v.state(l)
	s.Fresh, s.Since, s.Cause, s.Confirmed = of.Fresh, of.Since, of.Cause, of.Confirmed
	if s.Fresh && !complete {
		s.Fresh, s.Since, s.Cause = false, began, errBehind
	}
	return s
}

// listOf returns the list that includes a snapshot. After 1 s, or when the mirror has ended, it
// returns the newest list, with false.
func (v *View) listOf(target *mirror.Snapshot, ended <-chan struct{}) (l *list, complete bool) {
	if l = v.current.Load(); l.includes(target) { // almost always
		return l, true
	}
	timeout := time.NewTimer(time.Second)
	defer timeout.Stop()
	for l = v.current.Load(); !l.includes(target); l = v.current.Load() {
		select {
		case <-l.replaced:
		case <-timeout.C:
			return l, false
		case <-ended:
			return l, false
		}
	}
	return l, true
}

// state returns what a list knows about itself.
func (v *View) state(l *list) State {
	return State{Revision: l.revision(), Expired: len(l.instances) - len(l.fresh), Bad: maps.Clone(l.bad)}
}

// Stats are the counters of a View.
type Stats struct {
	Picks    uint64 // of Pick and PickFor
	Failures uint64 // reported by Report and ReportFailure
	// Rereads counts, by reason, how often the list had to be read again.
	Rereads map[mirror.Reason]uint64
}

// Stats returns the counters.
func (v *View) Stats() Stats {
	s := Stats{Picks: v.picks.Load(), Failures: v.failures.Load()}
	if m := v.mirror.Load(); m != nil {
		s.Rereads = m.Stats().Rereads
	}
	return s
}

// Service returns the service's name.
func (v *View) Service() string { return v.service }

// Done is closed when the view has ended: by Close, or because the client was closed.
func (v *View) Done() <-chan struct{} { return v.done }

// Err is nil until Done is closed.
func (v *View) Err() error {
	select {
	case <-v.done:
		return v.err
	default:
		return nil
	}
}

// Close ends the view. Its last list can still be read. Close is idempotent.
func (v *View) Close() error {
	v.stop()
	v.mu.Lock() // a table that was started is in wg
	v.release.Stop()
	v.mu.Unlock()
	v.saving.Wait()
	v.wg.Wait()
	v.release.Stop() // the last change may have set it
	return nil
}
