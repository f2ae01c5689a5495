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

// source is the View of one service, for all resolvers of it.
type source struct {
	service string
	users   int // the Builder's mu guards it

	now  atomic.Pointer[progress]
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// progress is how far the opening of the View has come. It is immutable; what comes after it
// closes changed.
type progress struct {
	view    *discovery.View // nil: it is not open yet
	err     error           // because of this; nil: the first try is under way
	changed chan struct{}
}

// A try to open the View may take as long as the first, and then twice as long each time, up to
// the second: so RPCs hear soon that etcd is away, and a slow etcd is given its time.
const (
	firstPatience = 2 * time.Second
	maxPatience   = 16 * time.Second
	pause         = time.Second // between tries
)

func openSource(cli *clientv3.Client, service string, opts *discovery.Options) *source {
	s := &source{service: service}
	s.now.Store(&progress{changed: make(chan struct{})})
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wg.Go(func() { s.open(ctx, cli, opts) }) // ends with close, or when the View is open
	return s
}

// open tries until it succeeds, or cannot.
func (s *source) open(ctx context.Context, cli *clientv3.Client, opts *discovery.Options) {
	for patience := firstPatience; ; patience = min(2*patience, maxPatience) {
		try, cancel := context.WithTimeout(ctx, patience)
		v, err := discovery.Open(try, cli, s.service, opts)
		cancel()
		failed := s.now.Load().err != nil
		switch {
		case err == nil:
			if failed {
				opts.Logger.Info("the service is listed now", "service", s.service)
			}
			s.tell(v, nil)
			return
		case ctx.Err() != nil:
			return
		}
		if !failed {
			opts.Logger.Warn("cannot list the service, and try on", "service", s.service, "error", err)
		}
		s.tell(nil, err)
		if errors.Is(err, discovery.ErrInvalid) || cli.Ctx().Err() != nil {
			return // it would be the same for ever
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (s *source) tell(v *discovery.View, err error) {
	was := s.now.Load()
	s.now.Store(&progress{view: v, err: err, changed: make(chan struct{})})
	close(was.changed)
}

func (s *source) close() {
	s.stop()
	s.wg.Wait()
	if v := s.now.Load().view; v != nil {
		_ = v.Close() // it has no error to return
	}
}
