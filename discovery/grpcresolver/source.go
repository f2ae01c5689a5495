package grpcresolver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery"
)

// source is the View of one service, for all resolvers of that service.
type source struct {
	service string
	users   int // the Builder's mu guards it

	current atomic.Pointer[progress]
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// progress is the state of opening the View. It is immutable; the next one closes changed.
type progress struct {
	view    *discovery.View // nil: it is not open yet
	err     error           // why the last try failed; nil: the first try is under way
	changed chan struct{}
}

// The first try to open the View takes up to firstTry, and each further one up to twice as long, up to
// maxTry: so RPCs soon fail with a cause while etcd is away, and a slow etcd has enough time.
const (
	firstTry = 2 * time.Second
	maxTry   = 16 * time.Second
	pause    = time.Second // between tries
)

func openSource(cli *clientv3.Client, service string, opts *discovery.Options) *source {
	s := &source{service: service}
	s.current.Store(&progress{changed: make(chan struct{})})
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wg.Go(func() { s.open(ctx, cli, opts) }) // ends with close, or when the View is open
	return s
}

// open tries until it succeeds, or cannot.
func (s *source) open(ctx context.Context, cli *clientv3.Client, opts *discovery.Options) {
	for limit := firstTry; ; limit = min(2*limit, maxTry) {
		try, cancel := context.WithTimeout(ctx, limit)
		v, err := discovery.Open(try, cli, s.service, opts)
		cancel()
		failed := s.current.Load().err != nil
		switch {
		case err == nil:
			if failed {
				opts.Logger.Info("the service is listed", "service", s.service)
			}
			s.publish(v, nil)
			return
		case ctx.Err() != nil:
			return
		}
		if !failed {
			opts.Logger.Warn("cannot list the service, trying again", "service", s.service, "error", err)
		}
		s.publish(nil, err)
		if errors.Is(err, discovery.ErrInvalid) || cli.Ctx().Err() != nil {
			return // it would always fail
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (s *source) publish(v *discovery.View, err error) {
	was := s.current.Load()
	s.current.Store(&progress{view: v, err: err, changed: make(chan struct{})})
	close(was.changed)
}

func (s *source) close() {
	s.stop()
	s.wg.Wait()
	if v := s.current.Load().view; v != nil {
		_ = v.Close() // it has no error to return
	}
}
