package services

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pollEvery is how often a monitor asks etcd, where it must, and so how exact it is.
const pollEvery = 10 * time.Millisecond

// monitor watches whether a consumer lists what it should.
type monitor struct {
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

// startMonitor watches a consumer, which no other goroutine uses until end.
func startMonitor(ctx context.Context, c consumer, wanted []string, truth func(context.Context) bool) *monitor {
	ctx, stop := context.WithCancel(ctx)
	v := &monitor{wanted: slices.Sorted(slices.Values(wanted)), truth: truth, stop: stop, etcd: truth == nil, since: time.Now()}
	v.wg.Go(func() { // both end with the monitor
		for {
			list := slices.Sorted(slices.Values(c.addrs()))
			v.update(func() { v.list = list })
			if c.next(ctx) != nil {
				return
			}
		}
	})
	if truth != nil {
		v.wg.Go(func() { v.poll(ctx) })
	}
	return v
}

func (v *monitor) poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, time.Second)
		has := v.truth(asked)
		cancel()
		if ctx.Err() != nil {
			return // and the answer says nothing
		}
		v.update(func() { v.etcd = has })
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// update records what is known now.
func (v *monitor) update(what func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	what()
	if right := v.etcd && slices.Equal(v.list, v.wanted); right != v.right {
		v.right, v.since = right, time.Now()
	}
}

// outcome is what a monitor found.
type outcome struct {
	right  bool
	since  time.Time // of right
	listed int       // of the wanted
	gone   int       // listed, and not wanted
}

func (v *monitor) end() outcome {
	v.stop()
	v.wg.Wait()
	listed := 0
	for _, addr := range v.wanted {
		if _, ok := slices.BinarySearch(v.list, addr); ok {
			listed++
		}
	}
	return outcome{v.right, v.since, listed, len(v.list) - listed}
}
