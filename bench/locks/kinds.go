package locks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdkit/etcdkit/bench/report"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lock"
)

const (
	slots        = 10  // of the semaphore
	slotBound    = 1.2 // etcdkit's, a slot's turn by the Mutex's, with as many clients and the same work
	slotWork     = 20 * time.Millisecond
	electedBound = 1.5 // etcdkit's, from Resign until the next one is elected, by one Put
	localBound   = 5e-6
	lingerBound  = 2e-6
)

// kind is a lock of etcdkit's that is taken and given back, with nothing between.
type kind struct {
	*site
	label string
	size  int // how many may hold it at once
	open1 func(*clientv3.Client, string) (acquire func(context.Context, int) (*lock.Hold, error), end func() error)
}

func (k *kind) name() string { return k.label }

func (k *kind) open(ctx context.Context, n int) (*team, error) {
	name := k.fresh()
	return assemble(n, func(t *team) (contender, error) {
		cli, err := k.join(ctx, t)
		if err != nil {
			return nil, err
		}
		acquire, end := k.open1(cli, name)
		t.atEnd(end)
		t.value = func(context.Context) (int, error) { return 0, nil }
		return &taker{acquire: acquire}, nil
	})
}

type taker struct {
	acquire func(context.Context, int) (*lock.Hold, error)
	turn    int
	hold    *lock.Hold
}

func (t *taker) take(ctx context.Context) (err error) {
	t.turn++
	t.hold, err = t.acquire(ctx, t.turn)
	return err
}

func (*taker) add(context.Context, int) error { return nil }

func (t *taker) leave(ctx context.Context) error { return t.hold.Release(ctx) }

func (j *job) kindsOf() []system {
	rw := func(label string, size int, writes func(turn int) bool) *kind {
		return &kind{j.site, label, size, func(cli *clientv3.Client, name string) (func(context.Context, int) (*lock.Hold, error), func() error) {
			m := lock.NewRW(cli, name, nil)
			return func(ctx context.Context, turn int) (*lock.Hold, error) {
				if writes(turn) {
					return m.Acquire(ctx)
				}
				return m.AcquireRead(ctx)
			}, m.Close
		}}
	}
	return []system{
		&kind{j.site, "Mutex", 1, func(cli *clientv3.Client, name string) (func(context.Context, int) (*lock.Hold, error), func() error) {
			m := lock.New(cli, name, nil)
			return func(ctx context.Context, _ int) (*lock.Hold, error) { return m.Acquire(ctx) }, m.Close
		}},
		rw("RWMutex, all write", 1, func(int) bool { return true }),
		rw("RWMutex, one in ten writes", 1, func(turn int) bool { return turn%10 == 0 }),
		rw("RWMutex, all read", 1, func(int) bool { return false }),
		&kind{j.site, fmt.Sprintf("Semaphore of %d", slots), slots, func(cli *clientv3.Client, name string) (func(context.Context, int) (*lock.Hold, error), func() error) {
			s := lock.NewSemaphore(cli, name, slots, nil)
			return func(ctx context.Context, _ int) (*lock.Hold, error) { return s.Acquire(ctx) }, s.Close
		}},
	}
}

// kinds measures the other locks on the same queue, and the Mutex with them.
func (j *job) kinds(ctx context.Context) ([]*report.Group, error) {
	f, err := j.site.floor(ctx)
	if err != nil {
		return nil, err
	}
	defer f.close()
	clients := j.Either(50, 15)
	g := &report.Group{
		Name: "kinds", Title: fmt.Sprintf("Take, hold and give back, %d clients", clients),
		Columns: []string{"held for", "per operation", "× raw Put", "a slot's turn", "× the Mutex's", "wait p50", "max"},
	}
	for _, held := range []tenure{{0, 500}, {slotWork, 200}}[:j.Either(2, 1)] {
		all := contestants(j.kindsOf()...)
		for _, e := range all {
			e.work = held.work
		}
		if err := j.rounds(ctx, "kinds", f, all, j.Either(3, 1), clients, j.Either(held.ops, 2*clients)); err != nil {
			return nil, err
		}
		mutex := all[0].perOp()
		for _, e := range all {
			words := report.Words("at once", "")
			if held.work > 0 {
				words = report.Seconds(held.work.Seconds())
			}
			if e.err != nil {
				g.Add(e.name(), words, failed(e.err))
				continue
			}
			size := float64(e.system.(*kind).size)
			times := report.RatioOf(e.perOp()*size, mutex)
			if size > 1 && held.work > 0 {
				times = times.AtMost(slotBound)
			}
			w := e.waits()
			g.Add(e.name(), words, report.Seconds(e.perOp()), e.times(), report.Seconds(e.perOp()*size), times, w[0], w[1])
		}
	}
	g.Note("A slot's turn is the time of an operation, of all clients together, times how many may hold the lock at once: from when it is given back until it is given back again. At once: as fast as the cluster commits, which is the limit of all that has many slots.")
	return []*report.Group{g}, nil
}

// local measures what stays within one process.
func (j *job) local(ctx context.Context) ([]*report.Group, error) {
	g := &report.Group{Name: "local", Title: "One process, without a word to etcd", Columns: []string{"per hold"}}
	cli, err := j.site.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer cli.Close()
	g.Add("a Go channel: from goroutine to goroutine", report.Seconds(relay(j.Either(200_000, 2000)).Seconds()))
	for i, row := range []struct {
		label string
		opts  lock.Options
		bound float64
		run   func(context.Context, *lock.Mutex, int) error
	}{
		{"Local: from goroutine to goroutine", lock.Options{Local: lock.Local{For: time.Hour, Times: 1 << 30}, Linger: time.Hour}, localBound, crowd},
		{"Linger: Acquire and Release again", lock.Options{Linger: time.Hour}, lingerBound, holds},
	} {
		j.Progress.Step("local", row.label, i+1, 2)
		m := lock.New(cli, j.site.fresh(), &row.opts)
		n := j.Either(200_000, 2000)
		err := row.run(ctx, m, 100)
		began := time.Now()
		if err == nil {
			err = row.run(ctx, m, n)
		}
		took := time.Since(began)
		if err = errors.Join(err, m.Close()); err != nil {
			g.Add(row.label, report.Failed(err))
			continue
		}
		g.Add(row.label, report.Seconds(took.Seconds()/float64(n)).AtMost(row.bound))
	}
	g.Note("Local is measured with Linger, too: otherwise a Release at which no goroutine of the process waits, as happens with four goroutines, is one to etcd.")
	return []*report.Group{g}, nil
}

// relay is how long it takes four goroutines to hand a word on in a ring, each time: the floor, which
// is the scheduler's.
func relay(n int) time.Duration {
	const goroutines = 4
	var ring [goroutines]chan int
	for g := range ring {
		ring[g] = make(chan int, 1)
	}
	var passing sync.WaitGroup
	began := time.Now()
	for g := range ring {
		passing.Go(func() {
			defer close(ring[(g+1)%goroutines])
			for left := range ring[g] {
				if left == 0 {
					return
				}
				ring[(g+1)%goroutines] <- left - 1
			}
		})
	}
	ring[0] <- n
	passing.Wait()
	return time.Since(began) / time.Duration(n)
}

// holds takes and gives back, n times.
func holds(ctx context.Context, m *lock.Mutex, n int) error {
	for range n {
		h, err := m.Acquire(ctx)
		if err != nil {
			return err
		}
		if err := h.Release(ctx); err != nil {
			return err
		}
	}
	return nil
}

// crowd is holds by four goroutines.
func crowd(ctx context.Context, m *lock.Mutex, n int) error {
	const goroutines = 4
	errs := make([]error, goroutines)
	var working sync.WaitGroup
	for g := range errs {
		working.Go(func() { errs[g] = holds(ctx, m, n/goroutines) })
	}
	working.Wait()
	return errors.Join(errs...)
}

// elections measures from one leader's Resign until the next one is elected.
func (j *job) elections(ctx context.Context) ([]*report.Group, error) {
	f, err := j.site.floor(ctx)
	if err != nil {
		return nil, err
	}
	defer f.close()
	g := &report.Group{
		Name: "elections", Title: "From one leader's Resign until the next one is elected",
		Columns: []string{"p50", "p99", "p50 × raw Put"},
	}
	rounds := j.Either(200, 10)
	for i, c := range []struct {
		label string
		bound float64
		open  func(context.Context, *clientv3.Client, string) (candidate, error)
	}{
		{"etcdkit", electedBound, etcdkitCandidate},
		{"clientv3's Election", 0, clientv3Candidate},
	} {
		j.Progress.Step("elections", c.label, i+1, 2)
		var gaps, puts report.Sample
		err := j.turnOver(ctx, rounds, &gaps, func(cli *clientv3.Client, name string) (candidate, error) { return c.open(ctx, cli, name) }, func() error {
			return f.puts(ctx, 1, 0, &puts)
		})
		if err != nil {
			g.Add(c.label, report.Failed(err))
			continue
		}
		times := report.RatioOf(gaps.Median(), puts.Median())
		if c.bound > 0 {
			times = times.AtMost(c.bound)
		}
		g.Add(c.label, report.Seconds(gaps.Median()), report.Seconds(gaps.Quantile(0.99)), times)
	}
	g.Note("Two candidates, each a client of its own, lead in turns; the other one has come before the leader resigns. After each term there is a Put.")
	return []*report.Group{g}, nil
}

// candidate campaigns, and resigns.
type candidate struct {
	campaign func(context.Context) (resign func(context.Context) error, err error)
	close    func() error
}

func etcdkitCandidate(_ context.Context, cli *clientv3.Client, name string) (candidate, error) {
	e := election.New(cli, name, nil)
	return candidate{func(ctx context.Context) (func(context.Context) error, error) {
		t, err := e.Campaign(ctx, "candidate")
		if err != nil {
			return nil, err
		}
		return t.Resign, nil
	}, e.Close}, nil
}

func clientv3Candidate(_ context.Context, cli *clientv3.Client, name string) (candidate, error) {
	s, err := concurrency.NewSession(cli, concurrency.WithTTL(10))
	if err != nil {
		return candidate{}, err
	}
	e := concurrency.NewElection(s, name)
	return candidate{func(ctx context.Context) (func(context.Context) error, error) {
		return e.Resign, e.Campaign(ctx, "candidate")
	}, s.Close}, nil
}

// waitForBoth returns when both candidates are in the queue, and the one that waits watches.
func (j *job) waitForBoth(ctx context.Context, name string) error {
	for {
		resp, err := j.Lab.Client.Get(ctx, name+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		if resp.Count == 2 {
			return idle(ctx, 2*time.Millisecond)
		}
	}
}

// turnOver has two candidates lead in turns, and measures the time between.
func (j *job) turnOver(ctx context.Context, rounds int, gaps *report.Sample, open func(*clientv3.Client, string) (candidate, error), between func() error) (err error) {
	name := j.site.fresh()
	var both [2]candidate
	for i := range both {
		cli, err := j.site.dial(ctx)
		if err != nil {
			return err
		}
		defer cli.Close()
		if both[i], err = open(cli, name); err != nil {
			return err
		}
		defer both[i].close()
	}
	type elected struct {
		resign func(context.Context) error
		at     time.Time
		err    error
	}
	resign, err := both[0].campaign(ctx)
	if err != nil {
		return err
	}
	for n := range rounds {
		next := make(chan elected, 1)
		go func() { // ends with the campaign
			resign, err := both[(n+1)%2].campaign(ctx)
			next <- elected{resign, time.Now(), err}
		}()
		if err := j.waitForBoth(ctx, name); err != nil {
			return err
		}
		began := time.Now()
		if err := resign(ctx); err != nil {
			return err
		}
		e := <-next
		if e.err != nil {
			return e.err
		}
		gaps.Add(e.at.Sub(began))
		resign = e.resign
		if err := between(); err != nil {
			return err
		}
	}
	return resign(ctx)
}
