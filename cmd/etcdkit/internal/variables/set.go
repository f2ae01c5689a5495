package variables

import (
	"context"
	"errors"
	"slices"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/mirror"
)

// Set are the variables of several prefixes, which follow etcd.
type Set struct {
	opts     *Options
	prefixes []string
	mirrors  []*mirror.Mirror

	changed   chan struct{}
	stop      context.CancelFunc
	following sync.WaitGroup
}

// Open reads the prefixes, and follows them until Close. ctx bounds the call: without a complete list of each there is
// no Set.
func Open(ctx context.Context, cli *clientv3.Client, prefixes []string, opts *Options) (*Set, error) {
	s := &Set{opts: opts, prefixes: prefixes, changed: make(chan struct{}, 1)}
	following, stop := context.WithCancel(context.Background())
	s.stop = stop
	for _, prefix := range prefixes {
		m, err := mirror.Open(ctx, cli, prefix, nil)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.mirrors = append(s.mirrors, m)
		from := m.Snapshot()
		s.following.Go(func() { s.follow(following, m, from) }) // ends with Close, or with the client
	}
	return s, nil
}

// Close ends it.
func (s *Set) Close() error {
	s.stop()
	s.following.Wait()
	var errs []error
	for _, m := range s.mirrors {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

func (s *Set) follow(ctx context.Context, m *mirror.Mirror, from *mirror.Snapshot) {
	for _, err := range m.Changes(ctx, &mirror.ChangesOptions{From: from}) {
		if err != nil {
			return
		}
		select {
		case s.changed <- struct{}{}:
		default: // it will be seen
		}
	}
}

// Changed receives when keys have changed.
func (s *Set) Changed() <-chan struct{} { return s.changed }

// Mirrors are those of the prefixes, in their order.
func (s *Set) Mirrors() []*mirror.Mirror { return slices.Clone(s.mirrors) }

// Variables are the present ones.
func (s *Set) Variables() ([]Variable, error) {
	var layers []Layer
	for i, m := range s.mirrors {
		layers = append(layers, Layer{s.prefixes[i], m.Snapshot().All()})
	}
	return From(layers, s.opts)
}
