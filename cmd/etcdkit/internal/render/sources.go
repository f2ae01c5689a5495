package render

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/mirror"
)

// openTimeout bounds the first reading of a dependency.
const openTimeout = 10 * time.Second

// sources are what the templates depend on. One goroutine uses them.
type sources struct {
	cli    *clientv3.Client
	prefix string // of services

	ctx     context.Context // of the execution that is going on
	live    map[name]*source
	changed chan struct{} // has one element when something has changed
	running sync.WaitGroup
}

// name tells dependencies apart.
type name struct{ kind, first, end string }

// source is one dependency.
type source struct {
	used bool // by the execution that is going on

	keys   *mirror.Mirror // one of the two
	view   *discovery.View
	cancel context.CancelFunc // ends the goroutine that follows it

	// What the execution that is going on sees, once it has asked.
	asked  bool
	pinned *mirror.Snapshot
	listed []*discovery.Instance
}

func newSources(cli *clientv3.Client, prefix string) *sources {
	return &sources{cli: cli, prefix: prefix, live: make(map[name]*source), changed: make(chan struct{}, 1)}
}

// begin starts an execution, whose requests end with ctx.
func (s *sources) begin(ctx context.Context) {
	s.ctx = ctx
	for _, src := range s.live {
		src.used, src.asked = false, false
	}
}

// prune gives up what the execution did not need.
func (s *sources) prune() {
	for n, src := range s.live {
		if !src.used {
			src.close()
			delete(s.live, n)
		}
	}
}

// close gives up all of them.
func (s *sources) close() {
	for _, src := range s.live {
		src.close()
	}
	s.live = make(map[name]*source)
	s.running.Wait()
}

func (src *source) close() {
	src.cancel()
	if src.keys != nil {
		_ = src.keys.Close()
	}
	if src.view != nil {
		_ = src.view.Close()
	}
}

// snapshot is the range of keys as this execution sees it. end is as mirror's RangeEnd.
func (s *sources) snapshot(first, end string) (*mirror.Snapshot, error) {
	src, err := s.open(name{"keys", first, end}, func(ctx context.Context, src *source) (err error) {
		src.keys, err = mirror.Open(ctx, s.cli, first, &mirror.Options{RangeEnd: end})
		return err
	})
	if err != nil {
		return nil, err
	}
	if !src.asked {
		src.asked, src.pinned = true, src.keys.Snapshot()
	}
	return src.pinned, nil
}

// instances are those of a service as this execution sees them.
func (s *sources) instances(service string) ([]*discovery.Instance, error) {
	src, err := s.open(name{"service", service, ""}, func(ctx context.Context, src *source) (err error) {
		src.view, err = discovery.Open(ctx, s.cli, service, &discovery.Options{Prefix: s.prefix})
		return err
	})
	if err != nil {
		return nil, err
	}
	if !src.asked {
		src.view.State() // waits until the list has what etcd has told
		src.asked, src.listed = true, src.view.Instances()
	}
	return src.listed, nil
}

// open finds a dependency, or starts to follow it.
func (s *sources) open(n name, open func(context.Context, *source) error) (*source, error) {
	if src := s.live[n]; src != nil {
		src.used = true
		return src, nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, openTimeout)
	defer cancel()
	src := &source{used: true}
	if err := open(ctx, src); err != nil {
		return nil, err
	}
	following, end := context.WithCancel(context.Background())
	src.cancel = end
	s.live[n] = src
	// It is followed from a moment before this execution sees it.
	if src.keys != nil {
		from, turned := src.keys.Snapshot(), src.keys.FreshnessChanged()
		s.running.Go(func() { s.followKeys(following, src.keys, from) })        // ends with close
		s.running.Go(func() { s.followFreshness(following, src.keys, turned) }) // ends with close
	} else {
		changed, turned := src.view.Changed(), src.view.FreshnessChanged()
		s.running.Go(func() { s.followView(following, src.view, changed, turned) }) // ends with close
	}
	return src, nil
}

func (s *sources) followKeys(ctx context.Context, m *mirror.Mirror, from *mirror.Snapshot) {
	for _, err := range m.Changes(ctx, &mirror.ChangesOptions{From: from}) {
		if err != nil {
			return
		}
		s.wake()
	}
}

func (s *sources) followFreshness(ctx context.Context, m *mirror.Mirror, turned <-chan struct{}) {
	for {
		select {
		case <-turned:
			turned = m.FreshnessChanged()
			s.wake()
		case <-ctx.Done():
			return
		}
	}
}

func (s *sources) followView(ctx context.Context, v *discovery.View, changed, turned <-chan struct{}) {
	for {
		select {
		case <-changed:
			changed = v.Changed()
		case <-turned:
			turned = v.FreshnessChanged()
		case <-ctx.Done():
			return
		}
		s.wake()
	}
}

func (s *sources) wake() {
	select {
	case s.changed <- struct{}{}:
	default: // it will be seen
	}
}

// errStale says that what an execution saw is not confirmed.
var errStale = errors.New("not confirmed by etcd")

// stale is why what the execution saw does not count, or nil.
func (s *sources) stale() error {
	for n, src := range s.live {
		if !src.used {
			continue
		}
		var fresh bool
		var since time.Time
		var cause error
		if src.keys != nil {
			state := src.keys.State()
			fresh, since, cause = state.Fresh, state.Since, state.Cause
		} else {
			state := src.view.State()
			fresh, since, cause = state.Fresh, state.Since, state.Cause
		}
		if !fresh {
			return fmt.Errorf("%w: %s as of %s: %w", errStale, n, since.Format(time.TimeOnly), cause)
		}
	}
	return nil
}

func (n name) String() string {
	switch {
	case n.kind == "service":
		return fmt.Sprintf("service %q", n.first)
	case n.end != "":
		return fmt.Sprintf("key %q", n.first)
	}
	return fmt.Sprintf("the keys below %q", n.first)
}
