package services

import (
	"context"
	"slices"
	"sync"
	"time"
)

// glance is how often etcd is asked what is true, and thus how exact a vigil is where it must ask.
const glance = 10 * time.Millisecond

// vigil watches whether a consumer lists what it should.
type vigil struct {
	wanted []string // sorted
	// truth tells whether etcd itself has it right; nil where that is known.
	truth func(context.Context) bool
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu    sync.Mutex
	list  []string // sorted
	etcd  bool
	right bool
	since time.Time // of right
}

// keep starts a vigil over a consumer, which belongs to it until end.
func keep(ctx context.Context, c consumer, wanted []string, truth func(context.Context) bool) *vigil {
	ctx, stop := context.WithCancel(ctx)
	v := &vigil{wanted: slices.Sorted(slices.Values(wanted)), truth: truth, stop: stop, etcd: truth == nil, since: time.Now()}
	v.wg.Go(func() { // both end with the vigil
		for {
			list := slices.Sorted(slices.Values(c.addrs()))
			v.see(func() { v.list = list })
			if c.next(ctx) != nil {
				return
			}
		}
	})
	if truth != nil {
		v.wg.Go(func() { v.glance(ctx) })
	}
	return v
}

func (v *vigil) glance(ctx context.Context) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, time.Second)
		has := v.truth(asked)
		cancel()
		if ctx.Err() != nil {
			return // and the answer says nothing
		}
		v.see(func() { v.etcd = has })
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// see takes note of something.
func (v *vigil) see(what func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	what()
	if right := v.etcd && slices.Equal(v.list, v.wanted); right != v.right {
		v.right, v.since = right, time.Now()
	}
}

// verdict is what a vigil has to say when it ends.
type verdict struct {
	right  bool
	since  time.Time // of right
	listed int       // of the wanted
	gone   int       // listed, and not wanted
}

func (v *vigil) end() verdict {
	v.stop()
	v.wg.Wait()
	listed := 0
	for _, addr := range v.wanted {
		if _, ok := slices.BinarySearch(v.list, addr); ok {
			listed++
		}
	}
	return verdict{v.right, v.since, listed, len(v.list) - listed}
}
