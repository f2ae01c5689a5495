package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

// ErrNone: the service has no instance. Where it matters, State tells whether that is fresh.
var ErrNone = errors.New("discovery: no instance")

// errBehind: this process is too busy to keep up.
var errBehind = errors.New("discovery: changes wait to be brought into the list")

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
	keys    string // prefix of the service's keys
	log     *slog.Logger
	mirror  *mirror.Mirror
	now     atomic.Pointer[list]
	next    atomic.Uint64 // of Pick

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// list is immutable; a change replaces it and closes changed.
type list struct {
	instances []*registry.Instance // in the order of their ids
	bad       map[string]error     // by key
	snapshot  *mirror.Snapshot     // that it was made of
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
	v := &View{service: service, prefix: o.Prefix, keys: keys, log: o.Logger, mirror: m}
	first := m.Snapshot()
	v.now.Store(v.read(first))
	v.complain(&list{}, v.now.Load())
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
		was := v.now.Load()
		now := v.after(was, b)
		v.now.Store(now)
		if now.changed != was.changed {
			close(was.changed)
		}
		v.complain(was, now)
	}
}

// read makes the list as of a snapshot.
func (v *View) read(s *mirror.Snapshot) *list {
	l := &list{instances: make([]*registry.Instance, 0, s.Len()), snapshot: s, changed: make(chan struct{})}
	for kv := range s.All() {
		if i := v.decode(l, &kv); i != nil {
			l.instances = append(l.instances, i)
		}
	}
	l.picks = newPicks(l.instances)
	return l
}

// after makes the list that a batch leads to. It copies one pointer for each instance, and
// decodes what has changed.
func (v *View) after(was *list, b *mirror.Batch) *list {
	next := &list{
		instances: make([]*registry.Instance, 0, len(was.instances)+len(b.Changes)),
		bad:       maps.Clone(was.bad), snapshot: b.Snapshot, changed: make(chan struct{}),
	}
	rest := was.instances
	for _, c := range byKey(b.Changes) {
		delete(next.bad, c.Key)
		at, found := slices.BinarySearchFunc(rest, c.Key, v.compare)
		next.instances = append(next.instances, rest[:at]...)
		if rest = rest[at:]; found {
			rest = rest[1:]
		}
		if c.New == nil {
			continue
		}
		if i := v.decode(next, c.New); i != nil {
			next.instances = append(next.instances, i)
		}
	}
	if len(b.Changes) == 0 { // they cancelled one another out
		next.changed = was.changed
	}
	next.instances = append(next.instances, rest...)
	next.picks = newPicks(next.instances)
	return next
}

// byKey are the changes in the order of the list. A batch has one a key.
func byKey(changes []mirror.Change) []mirror.Change {
	compare := func(a, b mirror.Change) int { return strings.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(changes, compare) { // they are shared with other readers
		changes = slices.Clone(changes)
		slices.SortFunc(changes, compare)
	}
	return changes
}

// compare orders an instance and a key of this service.
func (v *View) compare(i *registry.Instance, key string) int {
	return strings.Compare(i.ID, key[len(v.keys):])
}

// decode reads a key of the list, or has the list say why it is not an instance.
func (v *View) decode(l *list, kv *mirror.KeyValue) *registry.Instance {
	i, err := registry.Decode(v.prefix, kv.Key, kv.Value)
	if err == nil {
		return &i
	}
	if l.bad == nil {
		l.bad = make(map[string]error)
	}
	l.bad[kv.Key] = err
	return nil
}

// complain logs the values that are no instances, each of them once.
func (v *View) complain(was, now *list) {
	for key, err := range now.bad {
		if was.bad[key] != err {
			v.log.Warn("not an instance", "key", key, "error", err)
		}
	}
}

// Instances are the service's instances, in the order of their ids, in any status. The slice
// and what it points to are shared: do not change them.
func (v *View) Instances() []*registry.Instance { return v.now.Load().instances }

// Pick returns the next instance, round robin and in proportion to weights, of those whose
// status is passing or warning; if none is, of all in turn. It is shared: do not change it. The error is
// ErrNone.
func (v *View) Pick() (*registry.Instance, error) {
	l := v.now.Load()
	if i := l.picks.at(v.next.Add(1)); i >= 0 {
		return l.instances[i], nil
	}
	return nil, fmt.Errorf("%w of %q", ErrNone, v.service)
}

// Changed is closed at the next change of the list. Take it before reading the list, so that
// no change falls between.
func (v *View) Changed() <-chan struct{} { return v.now.Load().changed }

// Turned is closed when the list next turns stale or fresh.
func (v *View) Turned() <-chan struct{} { return v.mirror.Turned() }

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

// State returns the present state. What etcd has told the mirror below when State is called is in
// the list that it speaks of: that is waited for, as long as it takes to make the list.
func (v *View) State() State {
	const enough = time.Second
	m, target, began := v.mirror.State(), v.mirror.Snapshot(), time.Now()
	for {
		l := v.now.Load()
		s := State{Fresh: m.Synced, Since: m.Since, Cause: m.Cause, Confirmed: m.Confirmed, Revision: l.snapshot.Revision(), Bad: maps.Clone(l.bad)}
		late := time.Since(began) > enough || v.mirror.Err() != nil
		if l.includes(target) || late && !s.Fresh {
			return s
		}
		if late {
			s.Fresh, s.Since, s.Cause = false, began, errBehind
			return s
		}
		select {
		case <-l.changed:
		case <-time.After(time.Millisecond): // or it changed into the same
		}
	}
}

// includes tells whether the list was made of a snapshot or a later one.
func (l *list) includes(s *mirror.Snapshot) bool {
	if l.snapshot.Epoch() != s.Epoch() {
		return l.snapshot.Epoch() > s.Epoch()
	}
	return l.snapshot.Revision() >= s.Revision() || l.snapshot.SameEntries(s)
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
