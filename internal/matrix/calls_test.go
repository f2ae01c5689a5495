package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/registry"
)

// gated opens all rows, each behind a gate of its own.
func gated(t *testing.T, s *situation, a at) (*table, map[*watched]*etcdtest.Gate) {
	t.Helper()
	var gates []*etcdtest.Gate
	tb := openRows(t, s, a, func(t testing.TB) (*clientv3.Client, *traffic) {
		g := etcdtest.NewGate(t, strings.TrimPrefix(a.endpoints[0], "http://"))
		gates = append(gates, g)
		return connect(t, []string{g.Addr()}, a.user)
	})
	by := make(map[*watched]*etcdtest.Gate)
	for _, w := range tb.handles {
		if w.p.not == "" {
			by[w], gates = gates[0], gates[1:]
		}
	}
	return tb, by
}

// It is not parallel: the clusters that other tests start would count as delays of the calls.
func TestCallsIntoSilenceEndWithTheirDeadline(t *testing.T) {
	tb, gates := gated(t, &blackholed, shared(t, 10*time.Second))
	tb.each(func(t *cell, w *watched) {
		gates[w].Freeze()
		w.callAll(t, time.Second, func(c call, took, overdue time.Duration, err error) {
			t.Logf("%s: %v, %v after the call", c.name, err, took.Round(ms))
			inTime(t, c.name+" returned after its deadline", overdue, w.p.within)
			if c.name == "Txn" || c.name == "Wait" || c.name == "RPC" {
				return // clientv3's and gRPC's own errors; and Wait is for a revision that does not come
			}
			if err == nil {
				if w.row.name != "Hold: Mutex, Linger" { // Release sends nothing
					t.Errorf("%s: nil, though there was no answer", c.name)
				}
				return
			}
			if !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "DeadlineExceeded") {
				t.Errorf("%s: %v, want it to be a deadline that was exceeded", c.name, err)
			}
			because := slices.ContainsFunc([]string{"no answer", "no complete copy from", "is not open yet"}, func(s string) bool { return strings.Contains(err.Error(), s) })
			if !strings.Contains(err.Error(), gates[w].Addr()) || !because {
				t.Errorf("%s: %q does not name the endpoint and the cause", c.name, err)
			}
		})
		gates[w].Unfreeze()
	})
}

func TestACancelledCallReturnsAndLeavesNothing(t *testing.T) {
	a := shared(t, 5*time.Second)
	tb, gates := gated(t, &callCancelled, a)
	tb.each(func(t *cell, w *watched) {
		gates[w].DropAnswers()
		var wg sync.WaitGroup
		for _, c := range w.calls {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var cut time.Time
				timer := time.AfterFunc(300*ms, func() {
					cut = time.Now()
					cancel()
				})
				defer timer.Stop()
				err := c.do(ctx)
				if ctx.Err() == nil {
					if err == nil && c.name == "Release" {
						return
					}
					t.Errorf("%s returned before it was cancelled: %v", c.name, err)
					return
				}
				inTime(t, c.name+" returned after it was cancelled", time.Since(cut), w.p.within)
				if !errors.Is(err, context.Canceled) && !strings.Contains(fmt.Sprint(err), "Canceled") {
					t.Errorf("%s: %v, want context.Canceled", c.name, err)
				}
			})
		}
		wg.Wait()
		gates[w].SetTarget(a.other.Endpoints()[0]) // what was open while answers were lost is of no use
		if err := w.close(); err != nil {
			t.Logf("Close: %v", err)
		}
		// What the calls of a Keeper or a lock of their own were granted is revoked, or expires.
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := until(ctx, func() error { return errors.Join(bare(ctx, w.place, "."), bare(ctx, w.place, "/")) }); err != nil {
			t.Errorf("%v", err)
		}
	})
}

func TestCloseDuringAnOutageIsShort(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", "paused"} {
		t.Run(how, func(t *testing.T) {
			c, a := processes(t, 3*time.Second)
			tb := open(t, &closedInOutage, a)
			keys := tb.keys(t)
			end, heal := c.Kill, c.Start
			if how == "paused" {
				end, heal = c.Pause, c.Resume
			}
			cause(t, end, "all")
			var closing sync.WaitGroup
			closing.Add(len(tb.handles))
			over := make(chan struct{})
			var healed time.Time
			go func() { // ends with the outage
				defer close(over)
				closing.Wait()
				cause(t, heal, "all")
				healed = time.Now()
			}()
			tb.each(func(t *cell, w *watched) {
				began := time.Now()
				done := make(chan error, 1)
				go func() { done <- w.close() }() // however long it takes
				select {
				case err := <-done:
					t.Logf("Close: %v", err)
				case <-time.After(30 * time.Second):
					t.Errorf("Close does not return")
				}
				closing.Done()
				inTime(t, "Close returned", time.Since(began), w.p.within+200*ms)
				<-over
				if how == "killed" { // members that were paused read what was sent to them meanwhile
					w.keyStays(t, keys[w])
				}
				w.keyLeft(t, keys[w], healed)
			})
		})
	}
}

// Do and Run end with their context, and what is closed one after another then, as deferred calls are,
// takes no longer than one of them.
func TestAProcessLeavesWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", "paused"} {
		t.Run(how, func(t *testing.T) {
			c := etcdtest.NewCluster(t, &cluster.Options{})
			cli, _ := connect(t, c.Endpoints(), "")
			ctx := bounded(t)
			m, e := lock.New(cli, "lock", nil), election.New(cli, "election", nil)
			_, e1 := m.Acquire(ctx)
			_, e2 := e.Campaign(ctx, "me")
			reg, e3 := registry.Register(ctx, cli, instance("a"), nil)
			v, e4 := discovery.Open(ctx, cli, "web", nil)
			if err := errors.Join(e1, e2, e3, e4); err != nil {
				t.Fatal(err)
			}
			doing, leading := lock.New(cli, "lock of Do", nil), election.New(cli, "election of Run", nil)
			serving, leave := context.WithCancel(t.Context())
			defer leave()
			works, do, run := make(chan struct{}, 2), make(chan error, 1), make(chan error, 1)
			go func() { // waited for below
				do <- doing.Do(serving, func(ctx context.Context, _ *lock.Hold) error {
					works <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				})
			}()
			go func() { // waited for below
				run <- leading.Run(serving, "me", func(ctx context.Context, _ *election.Term) error {
					works <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				})
			}()
			<-works
			<-works
			if how == "paused" {
				cause(t, c.Pause, "all")
			} else {
				cause(t, c.Kill, "all")
			}
			began := time.Now()
			leave()
			for _, h := range []struct {
				name  string
				close func() error
			}{
				{"Do", func() error { return <-do }}, {"Run", func() error { return <-run }},
				{"View", v.Close}, {"Registration", reg.Close}, {"Election", e.Close}, {"Mutex", m.Close},
				{"Election of Run", leading.Close}, {"Mutex of Do", doing.Close}, {"Client", cli.Close},
			} {
				err := h.close()
				t.Logf("%s: %v, %v after the first", h.name, err, time.Since(began).Round(ms))
			}
			inTime(t, "all were closed", time.Since(began), 2*time.Second+200*ms)
		})
	}
}

func TestClosingTwiceIsClosingOnce(t *testing.T) {
	t.Run("each has its own", func(t *testing.T) { closeTwice(t, open(t, &closedTwice, shared(t, closedTTL))) })
	t.Run("client and Keeper shared", func(t *testing.T) {
		tb, _ := openShared(t, &closedTwice, shared(t, closedTTL))
		closeTwice(t, tb)
	})
}

func closeTwice(t *testing.T, tb *table) {
	keys := tb.keys(t)
	tb.each(func(t *cell, w *watched) {
		close := func() {
			began := time.Now()
			if err := w.close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			inTime(t, "Close returned", time.Since(began), w.p.within)
		}
		close()
		since := time.Now()
		var wg sync.WaitGroup
		wg.Go(close)
		wg.Go(close)
		wg.Wait()
		w.keyLeft(t, keys[w], since)
	})
}
