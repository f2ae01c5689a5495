package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

// ErrNone: the service has no instance. Where it matters, State tells whether that is fresh.
var ErrNone = errors.New("discovery: no instance")

// Options of Open, List and Watch. nil and the zero value are the defaults.
type Options struct {
	// Prefix is where services are. Default registry.DefaultPrefix, "/services/".
	Prefix string
	// Logger gets one line when a view becomes stale or fresh, and for each value that is not
	// an instance. nil is silent.
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	var set Options
	if o != nil {
		set = *o
	}
	if set.Prefix == "" {
		set.Prefix = registry.DefaultPrefix
	}
	if set.Logger == nil {
		set.Logger = slog.New(slog.DiscardHandler)
	}
	return set
}

// View is the list of a service's instances, kept up to date until it is closed. Its methods
// may be called from any goroutine.
type View struct {
	service string
	prefix  string
	log     *slog.Logger
	mirror  *mirror.Mirror
	now     atomic.Pointer[list]
	next    atomic.Uint64 // of Pick

	stop context.CancelFunc
	wg   sync.WaitGroup

	// Of follow alone.
	known map[string]entry // by key
}

// entry is a decoded key: an instance, or why it is none.
type entry struct {
	instance registry.Instance
	err      error
}

// list is immutable; a change replaces it and closes changed.
type list struct {
	instances []registry.Instance
	bad       map[string]error
	revision  int64
	picks     picks
	changed   chan struct{}
}

// Open reads the service's instances and returns when the list is complete. ctx bounds the
// call, not the view's life: Close it when done. While etcd cannot be reached Open tries on
// until ctx is done. A service that nobody has registered is an empty list, not an error.
//
// The errors are registry.ErrInvalid, before anything is sent, mirror.ErrDenied at once, and
// ctx's with the last cause.
func Open(ctx context.Context, cli *clientv3.Client, service string, opts *Options) (*View, error) {
	o := opts.withDefaults()
	keys, err := registry.ServicePrefix(o.Prefix, service)
	if err != nil {
		return nil, fmt.Errorf("discovery: open %q: %w", service, err)
	}
	m, err := mirror.Open(ctx, cli, keys, &mirror.Options{Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("discovery: open %q: %w", service, err)
	}
	v := &View{service: service, prefix: o.Prefix, log: o.Logger, mirror: m, known: make(map[string]entry)}
	v.now.Store(&list{changed: make(chan struct{})})
	first := m.Snapshot()
	for kv := range first.All() {
		v.learn(kv.Key, kv.Value)
	}
	v.publish(first)
	life, stop := context.WithCancel(context.Background())
	v.stop = stop
	v.wg.Go(func() { v.follow(life, first) }) // ends with Close, or with the mirror
	return v, nil
}

// follow applies what happens after the snapshot that was read first.
func (v *View) follow(ctx context.Context, first *mirror.Snapshot) {
	for b, err := range v.mirror.Changes(ctx, &mirror.ChangesOptions{From: first}) {
		if err != nil {
			return // closed
		}
		for _, c := range b.Changes {
			if c.New == nil {
				delete(v.known, c.Key)
			} else {
				v.learn(c.Key, c.New.Value)
			}
		}
		v.publish(b.Snapshot)
	}
}

// learn decodes a key's value.
func (v *View) learn(key, value string) {
	i, err := registry.Decode(v.prefix, key, value)
	if err != nil && v.known[key].err == nil {
		v.log.Warn("not an instance", "key", key, "error", err)
	}
	v.known[key] = entry{i, err}
}

// publish makes the list as of a snapshot visible.
func (v *View) publish(s *mirror.Snapshot) {
	next := &list{revision: s.Revision(), changed: make(chan struct{}), instances: make([]registry.Instance, 0, s.Len())}
	for kv := range s.All() { // in the order of ids
		e := v.known[kv.Key]
		if e.err == nil {
			next.instances = append(next.instances, e.instance)
			continue
		}
		if next.bad == nil {
			next.bad = make(map[string]error)
		}
		next.bad[kv.Key] = e.err
	}
	next.picks = newPicks(next.instances)
	was := v.now.Swap(next)
	close(was.changed)
}

// Instances are the service's instances, in the order of their ids, in any status. The slice
// is shared: do not change it.
func (v *View) Instances() []registry.Instance { return v.now.Load().instances }

// Pick returns the next instance, round robin and in proportion to weights, of those whose
// status is passing or warning; of all if none is. It is shared: do not change it. The error is
// ErrNone.
func (v *View) Pick() (*registry.Instance, error) {
	l := v.now.Load()
	i := l.picks.at(v.next.Add(1))
	if i < 0 {
		return nil, fmt.Errorf("%w of %q", ErrNone, v.service)
	}
	return &l.instances[i], nil
}

// Changed is closed at the next change of the list. Take it before reading the list, so that
// no change falls between.
func (v *View) Changed() <-chan struct{} { return v.now.Load().changed }

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
	// Bad are the keys whose values are not instances, and why.
	Bad map[string]error
}

// State returns the present state.
func (v *View) State() State {
	m, l := v.mirror.State(), v.now.Load()
	return State{Fresh: m.Synced, Since: m.Since, Cause: m.Cause, Confirmed: m.Confirmed, Revision: l.revision, Bad: maps.Clone(l.bad)}
}

// Done is closed when the view has ended: by Close, or because the client was closed.
func (v *View) Done() <-chan struct{} { return v.mirror.Done() }

// Err is nil until Done is closed.
func (v *View) Err() error { return v.mirror.Err() }

// Close ends the view. Its last list can still be read. It is idempotent.
func (v *View) Close() error {
	v.stop()
	err := v.mirror.Close()
	v.wg.Wait()
	return err
}
