package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

const (
	settleTime = 3 * time.Second // from the last one opened until the count begins: what is older than 1 s is watched
	quietTime  = 4 * time.Second
)

// crowdOf opens many handles of a row on one client, and returns when all of them do what they do
// while nothing happens.
func crowdOf(ctx context.Context, r row, p *place, n, atOnce int) (closes []func() error, err error) {
	p.crowd = true
	named := []string{"Hold", "Term"} // each has a name of its own
	if r.name != "Keeper and Lease" {
		k := lease.NewKeeper(p.cli, &lease.Options{TTL: p.ttl})
		p.keeper = k
		closes = append(closes, k.Close)
	}
	p.builder = grpcresolver.New(p.cli, &grpcresolver.Options{View: discovery.Options{Prefix: p.name + "/"}})
	if _, err := p.other.Put(ctx, blocker(p.name), "another process"); err != nil {
		return closes, err
	}
	had, err := p.other.Get(ctx, p.name+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return closes, err
	}
	if r.name == "View" {
		if err := show(ctx, p, "127.0.0.1:80"); err != nil {
			return closes, err
		}
	}
	if r.name == "Registrar" { // one of them has many
		reg, err := registry.New(p.cli, registryOptions(p))
		if err != nil {
			return closes, err
		}
		closes = append(closes, reg.Close)
		many := make([]registry.Instance, n)
		for i := range many {
			many[i] = instance(fmt.Sprint("crowd", i))
		}
		_, err = reg.Register(ctx, many...)
		return closes, err
	}
	var (
		mu   sync.Mutex
		errs []error
		wg   sync.WaitGroup
	)
	turns := make(chan struct{}, atOnce)
	for i := range n {
		turns <- struct{}{}
		own := *p
		if slices.ContainsFunc(named, func(s string) bool { return strings.HasPrefix(r.name, s) }) {
			own.name = fmt.Sprint(p.name, ".", i)
		}
		wg.Go(func() {
			defer func() { <-turns }()
			h, err := r.open(ctx, &own)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			closes = append(closes, h.close)
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return closes, fmt.Errorf("%d of %d: %w", len(errs), n, errs[0])
	}
	if strings.HasPrefix(r.name, "Waiter") || r.name == "Candidate" {
		err = until(ctx, func() error {
			resp, err := p.other.Get(ctx, p.name+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
			if err == nil && resp.Count != had.Count+int64(n) {
				err = fmt.Errorf("%d entries in the queue, want %d", resp.Count, had.Count+int64(n))
			}
			return err
		})
	}
	return closes, err
}

func closeAll(closes []func() error) {
	slices.Reverse(closes) // the Keeper last
	var wg sync.WaitGroup
	if len(closes) > 1 {
		for _, c := range closes[:len(closes)-1] {
			wg.Go(func() { _ = c() })
		}
	}
	wg.Wait()
	if len(closes) > 0 {
		_ = closes[len(closes)-1]()
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestIdleHandlesAreQuiet(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, Direct: true})
	other := etcdtest.Client(t, c)
	alone := crowdSize > 100 // one row after the other, for the processor time of each
	atOnce := 32
	var opening sync.WaitGroup
	if !alone {
		atOnce = 4
		opening.Add(len(rows()))
	}
	count := func(t tester, r row, i int) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*within)
		defer cancel()
		p, _ := idle.promised(r.name)
		n := crowdSize
		each := strings.HasPrefix(p.note, "for each")
		if each {
			n = min(n, 200)
		}
		cli, tr := dial(t, c.Endpoints())
		closes, err := crowdOf(ctx, r, &place{cli: cli, other: other, name: fmt.Sprint("idle.", i), ttl: 10 * time.Second}, n, atOnce)
		defer closeAll(closes)
		if !alone {
			opening.Done()
			opening.Wait()
		}
		if err != nil {
			t.Fatalf("open %d: %v", n, err)
		}
		settle := settleTime
		if means.Race { // what opening them has set off takes longer there
			settle *= 6
		}
		<-time.After(settle)
		before, used, began := tr.requests.Load(), cpu(), time.Now()
		<-time.After(quietTime) // the time that is counted
		took := time.Since(began)
		rate := float64(tr.requests.Load()-before) / took.Seconds()
		core := float64(cpu()-used) / float64(took)
		if each {
			rate /= float64(n)
		}
		t.Logf("%d of them make %.2f requests a second, and use %.1f %% of a core", n, rate, 100*core)
		if rate > p.rate {
			t.Errorf("%d of them make %.2f requests a second, want %g at the most", n, rate, p.rate)
		}
		if alone && core > 0.05 && !means.Race && !each {
			t.Errorf("%d of them use %.1f %% of a core, want 5 at the most", n, 100*core)
		}
	}
	all := rows()
	cells := make([]*cell, len(all))
	if alone {
		for i, r := range all {
			cells[i] = &cell{ctx: t.Context()}
			cells[i].run(func() { count(cells[i], r, i) })
		}
	} else {
		var wg sync.WaitGroup
		for i, r := range all {
			cells[i] = &cell{ctx: t.Context()}
			wg.Go(func() { cells[i].run(func() { count(cells[i], r, i) }) })
		}
		wg.Wait()
	}
	for i, r := range all {
		t.Run(r.name, cells[i].tell)
	}
}

// paced is the rate of things that keep a distance: so many have one distance less between them.
func paced(n int64, took time.Duration) float64 { return float64(max(n-1, 0)) / took.Seconds() }

// storm are many handles of all kinds on one client of a cluster, all of whose members are gone, or
// silent.
type storm struct {
	name           string
	c              *cluster.Cluster
	cli            *clientv3.Client
	tr             *traffic
	dials, revokes int64              // until the count begins
	end            context.CancelFunc // of those that ask for leases
	wg             sync.WaitGroup
}

// open opens so many handles.
func (s *storm) open(t *testing.T, many int) {
	s.c = etcdtest.NewCluster(t, nil)
	s.cli, s.tr = dial(t, s.c.Endpoints())
	other := etcdtest.Client(t, s.c)
	ctx := bounded(t)
	keeper := lease.NewKeeper(s.cli, nil)
	all := rows()
	var (
		mu     sync.Mutex
		closes = []func() error{keeper.Close}
	)
	for i := range many {
		s.wg.Go(func() {
			h, err := all[i%len(all)].open(ctx, &place{cli: s.cli, other: other, name: fmt.Sprint("storm.", i), ttl: 30 * time.Second, keeper: keeper})
			if err != nil {
				t.Errorf("%s: %v", all[i%len(all)].name, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			closes = append(closes, h.close)
		})
	}
	s.wg.Wait()
	t.Cleanup(func() { closeAll(closes) })
}

// ask asks for leases, which are never granted.
func (s *storm) ask(t *testing.T) {
	var asking context.Context
	asking, s.end = context.WithCancel(t.Context())
	for range 10 {
		k := lease.NewKeeper(s.cli, nil)
		s.wg.Go(func() {
			_, _ = k.Lease(asking) // ends with asking
			_ = k.Close()
		})
		s.wg.Go(func() { // ends with asking, too
			if reg, err := registry.Register(asking, s.cli, instance(fmt.Sprint("storm", fresh.Add(1))), nil); err == nil {
				t.Error("registered without etcd")
				_ = reg.Close()
			}
		})
	}
}

func TestAnOutageIsNotAnsweredWithAStorm(t *testing.T) {
	const many = 240
	killed, paused := &storm{name: "killed"}, &storm{name: "paused"}
	both := []*storm{killed, paused} // at the same time, in one process
	for _, s := range both {
		s.open(t, many)
	}
	cause(t, killed.c.Kill, "all")
	cause(t, paused.c.Pause, "all")
	for _, s := range both {
		s.ask(t)
		defer s.end()
	}
	<-time.After(2 * time.Second) // the beginning of an outage, in which each connection is found broken
	for _, s := range both {
		s.dials, s.revokes = s.tr.dials.Load(), s.tr.revokes.Load()
	}
	used, began := cpu(), time.Now()
	<-time.After(6 * time.Second) // the time that is counted
	took := time.Since(began)
	core := float64(cpu()-used) / float64(took) / float64(len(both))
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			rate, revokes := paced(s.tr.dials.Load()-s.dials, took), s.tr.revokes.Load()-s.revokes
			t.Logf("%d handles of one client: %.1f dials a second, %d revocations, %.1f %% of a core", many, rate, revokes, 100*core)
			if rate > 2 {
				t.Errorf("%.1f dials a second, want 2 at the most", rate)
			}
			if revokes > 0 {
				t.Errorf("%d revocations, though nothing was granted", revokes)
			}
			if core > 0.05 && !means.Race {
				t.Errorf("%.1f %% of a core, want 5 at the most", 100*core)
			}
		})
	}
	for _, s := range both {
		s.end()
	}
	cause(t, killed.c.Start, "all")
	cause(t, paused.c.Resume, "all")
	for _, s := range both {
		s.wg.Wait()
	}
}

func TestOpenedAndClosedAgainAndAgainLeavesNothing(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, Direct: true})
	other := etcdtest.Client(t, c)
	all := rows()
	clients := make([]*clientv3.Client, len(all))
	for i := range all {
		clients[i], _ = connect(t, c.Endpoints(), "")
	}
	_, leave, err := useServers() // they stay while the rounds go on
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	errs := make([]error, len(all))
	rounds := func(n int) {
		var wg sync.WaitGroup
		for i, r := range all {
			wg.Go(func() {
				for range n {
					ctx, cancel := context.WithTimeout(t.Context(), within)
					h, err := r.open(ctx, &place{cli: clients[i], other: other, name: fmt.Sprint("churn.", i), ttl: 60 * time.Second})
					if err == nil {
						err = h.close()
					}
					cancel()
					if err != nil {
						errs[i] = errors.Join(errs[i], err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	rounds(1)
	before, _ := goroutines()
	for end := time.Now().Add(time.Second); time.Now().Before(end); <-time.After(20 * ms) { // what the round has left ends
		n, _ := goroutines()
		before = min(before, n)
	}
	rounds(churnTimes)
	for i, r := range all {
		t.Run(r.name, func(t *testing.T) {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := until(ctx, func() error {
				resp, err := other.Get(ctx, fmt.Sprint("churn.", i), clientv3.WithPrefix(), clientv3.WithLimit(10))
				if err != nil {
					return err
				}
				for _, kv := range resp.Kvs {
					if kv.Lease != 0 { // not the test's own
						return fmt.Errorf("the key %s is left", kv.Key)
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := until(ctx, func() error {
		resp, err := other.Leases(ctx)
		if err == nil && len(resp.Leases) > 0 {
			err = fmt.Errorf("%d leases are left", len(resp.Leases))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if err := until(ctx, func() error {
		n, streams := goroutines()
		if n > before+churnTimes/2 { // one row that leaves one each time is too many
			return fmt.Errorf("%d goroutines after one round, %d after %d more", before, n, churnTimes)
		}
		if streams > len(all) {
			return fmt.Errorf("%d watch streams of %d clients", streams, len(all))
		}
		return nil
	}); err != nil {
		buf := make([]byte, 1<<20)
		t.Errorf("%v\n%s", err, buf[:min(runtime.Stack(buf, true), 20000)])
	}
}

// goroutines counts those of this process without the ones of clientv3's watch streams, and these
// streams. A watch that is cancelled before clientv3 has sent its request leaves the stream that it
// opened, which the client's next watch uses: at most one for each client, of four goroutines.
func goroutines() (n, streams int) {
	buf := make([]byte, 4<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	streams = strings.Count(stacks, "created by go.etcd.io/etcd/client/v3.(*watcher).newWatcherGRPCStream")
	return strings.Count(stacks, "\n\n") + 1 - 4*streams, streams
}
