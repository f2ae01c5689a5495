// Package top is the live picture of a cluster that etcdkit top draws: members, rates, locks, elections, services
// and leases. A Poller asks for them; Picture draws what it knows.
package top

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/inventory"
)

const (
	// Questions is how many requests a second the reading of leases makes at most, on average.
	Questions = 200

	readTime    = 10 * time.Second // for one reading of the leases
	concurrency = 4                // requests of it at a time
)

// State is what is known of the cluster at one moment.
type State struct {
	Endpoints []string
	Cluster   Seen[*doctor.Cluster]
	Inventory Seen[*inventory.Inventory]
	Rates     Rates
}

// Seen is the latest answer to a question, and why there is none since.
type Seen[T any] struct {
	Value T         // zero before the first answer
	At    time.Time // of the answer
	Err   error     // why the latest question has no answer; nil: it has one
	Since time.Time // of the first such failure
}

func (s *Seen[T]) answer(v T, err error) {
	now := time.Now()
	switch {
	case err == nil:
		*s = Seen[T]{Value: v, At: now}
	case s.Err == nil:
		s.Err, s.Since = err, now
	default:
		s.Err = err
	}
}

// Poller asks again and again.
type Poller struct {
	cli     *clientv3.Client
	every   time.Duration
	options *doctor.Options

	mu     sync.Mutex // guards all below
	state  State
	meter  meter
	paused bool
}

// NewPoller makes one that asks every so often.
func NewPoller(cli *clientv3.Client, every time.Duration, opts *doctor.Options) *Poller {
	return &Poller{cli: cli, every: every, options: opts, state: State{Endpoints: cli.Endpoints()}}
}

// State is the latest.
func (p *Poller) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// Pause stops the asking, or lets it go on, and returns whether it is stopped now.
func (p *Poller) Pause() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = !p.paused
	if !p.paused {
		p.meter = meter{} // a rate over the pause would say little
	}
	return p.paused
}

// Run asks until ctx ends. A panic in one of its goroutines comes out of Run.
func (p *Poller) Run(ctx context.Context) {
	var asking sync.WaitGroup
	var once sync.Once
	var panicked any
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, ask := range []func(context.Context) time.Duration{p.askMembers, p.askLeases} {
		asking.Go(func() { // ends with ctx
			defer func() {
				if v := recover(); v != nil {
					once.Do(func() { panicked = v })
					cancel()
				}
			}()
			p.repeat(ctx, ask)
		})
	}
	asking.Wait()
	if panicked != nil {
		panic(panicked)
	}
}

func (p *Poller) repeat(ctx context.Context, ask func(context.Context) time.Duration) {
	for {
		pause := p.every
		if !p.isPaused() {
			pause = ask(ctx)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (p *Poller) isPaused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused
}

// Once asks each question once, the members twice, a second apart, so that there are rates.
func (p *Poller) Once(ctx context.Context) State {
	var asking sync.WaitGroup
	leases, end := context.WithCancel(ctx)
	defer end()
	asking.Go(func() { p.askLeases(leases) })
	p.askMembers(ctx)
	switch members := p.State().Cluster; {
	case members.Value != nil && !members.Value.HasQuorum():
		end() // they could not be read
		asking.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.state.Inventory.answer(nil, doctor.ErrNoQuorum)
		return p.state
	case members.Err != nil:
		end()
	default:
		select {
		case <-time.After(time.Second):
			p.askMembers(ctx)
		case <-ctx.Done():
		}
	}
	asking.Wait()
	return p.State()
}

// askMembers returns how long to wait before the next time.
func (p *Poller) askMembers(ctx context.Context) time.Duration {
	c, err := doctor.Status(ctx, p.cli, p.options)
	var counters map[doctor.ID]doctor.Counters
	if err == nil {
		counters, err = doctor.ReadCounters(ctx, c, p.options)
	}
	if ctx.Err() != nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Cluster.answer(c, err)
	if err == nil {
		p.state.Rates = p.meter.read(time.Now(), c.Revision, counters)
	} else {
		p.state.Rates, p.meter = Rates{}, meter{}
	}
	return p.every
}

// askLeases returns how long to wait before the next time: the longer, the more it has asked.
func (p *Poller) askLeases(ctx context.Context) time.Duration {
	bounded, cancel := context.WithTimeout(ctx, readTime)
	inv, err := inventory.Read(bounded, p.cli, &inventory.Options{Concurrency: concurrency})
	cancel()
	if ctx.Err() != nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Inventory.answer(inv, err)
	if err != nil {
		return p.every
	}
	return max(p.every, questions(inv)*time.Second/Questions)
}

// questions is how many requests a reading took, about.
func questions(inv *inventory.Inventory) time.Duration {
	n := 3 + len(inv.Leases) + (len(inv.Locks)+len(inv.Elections))/64
	for _, l := range inv.Leases {
		n += len(l.Keys) / 64
	}
	return time.Duration(n)
}
