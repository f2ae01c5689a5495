package grpcresolver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// near tells whether a share is as wanted, to some percent.
func near(got, want, of int, percent float64) bool {
	d := float64(got-want) * 100 / float64(of)
	return d <= percent && d >= -percent
}

func TestSharesAreByWeight(t *testing.T) {
	for _, policy := range []discovery.Policy{discovery.Weighted, discovery.LeastPending} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			cli, prefix := etcdtest.New(t)
			r := registrar(t, cli, prefix)
			all := []*server{serve(t, ""), serve(t, ""), serve(t, "")}
			for n, weight := range []int{1, 2, 5} {
				register(t, r, registry.Instance{ID: string(rune('a' + n)), Addr: all[n].addr, Weight: weight})
			}
			conn := dial(t, cli, discovery.Options{Prefix: prefix, Policy: policy}, balanced(grpcresolver.Name))
			until(t, conn, all...)
			got := shares(t, conn, 4000)
			for n, weight := range []int{1, 2, 5} {
				if want := 500 * weight; !near(got[all[n].addr], want, 4000, 2) {
					t.Errorf("weight %d of 8: %d of 4000 RPCs, want %d", weight, got[all[n].addr], want)
				}
			}
		})
	}
}

func TestAChangedWeightIsHonouredOnTheSameConnection(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	a, b := serve(t, ""), serve(t, "")
	reg := register(t, r, registry.Instance{ID: "a", Addr: a.addr, Weight: 1})
	register(t, r, registry.Instance{ID: "b", Addr: b.addr, Weight: 1})
	conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(grpcresolver.Name))
	until(t, conn, a, b)
	if err := reg.Update(bounded(t), func(i *registry.Instance) { i.Weight = 9 }); err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	for got := 0; !near(got, 900, 1000, 2); got = shares(t, conn, 1000)[a.addr] {
		if ctx.Err() != nil {
			t.Fatalf("%d of 1000 RPCs, want 900", got)
		}
	}
}

func TestTheZoneIsPreferredAndSpillsOver(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	var here, there []*server
	var regs []*registry.Registration
	for n := range 4 {
		here, there = append(here, serve(t, "")), append(there, serve(t, ""))
		regs = append(regs, register(t, r, registry.Instance{ID: fmt.Sprint("here", n), Addr: here[n].addr, Zone: "here"}))
		register(t, r, registry.Instance{ID: fmt.Sprint("there", n), Addr: there[n].addr, Zone: "there"})
	}
	conn := dial(t, cli, discovery.Options{Prefix: prefix, Zone: "here"}, balanced(grpcresolver.Name))
	until(t, conn, here...)
	if got := shares(t, conn, 400); len(got) != len(here) {
		t.Errorf("answers %v, want the zone's four alone", got)
	}
	for _, reg := range regs[1:] { // 1 of 5 is left, where one expects 2.5
		if err := reg.Close(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, conn, append(there, here[0])...)
	want := 1000 * 14 / 25 // 1.4 times its share
	if got := shares(t, conn, 1000)[here[0].addr]; !near(got, want, 1000, 5) {
		t.Errorf("%d of 1000 RPCs stay in the zone, want %d", got, want)
	}
}

// A zone whose servers are down, and listed still, spills over, too.
func TestAZoneThatCannotBeReachedSpillsOver(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	here, there := serve(t, ""), serve(t, "")
	register(t, r, registry.Instance{ID: "here", Addr: here.addr, Zone: "here"})
	register(t, r, registry.Instance{ID: "there", Addr: there.addr, Zone: "there"})
	conn := dial(t, cli, discovery.Options{Prefix: prefix, Zone: "here"}, balanced(grpcresolver.Name))
	until(t, conn, here)
	here.grpc.Stop()
	until(t, conn, there)
	until(t, conn, serve(t, here.addr)) // it is back, and so are its RPCs
}

// Of a zone's instances most cannot be connected to. The View hears of it, and has the others
// take their RPCs, and not those of another zone.
func TestAZoneThatIsMostlyDownKeepsItsRPCs(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	here, there := serve(t, ""), serve(t, "")
	register(t, r, registry.Instance{ID: "here", Addr: here.addr, Zone: "here"})
	register(t, r, registry.Instance{ID: "there", Addr: there.addr, Zone: "there"})
	for n := range 60 {
		register(t, r, registry.Instance{ID: fmt.Sprint("down", n), Addr: fmt.Sprint("127.0.0.1:", n+1), Zone: "here"})
	}
	conn := dial(t, cli, discovery.Options{Prefix: prefix, Zone: "here"}, balanced(grpcresolver.Name))
	until(t, conn, here)
	if got := shares(t, conn, 2000); got[here.addr] < 1800 { // some while pauses are over
		t.Errorf("answers %v, want the zone's one", got)
	}
}

// An instance that is connected again is used at once, however long its pause was to be.
func TestAnInstanceThatIsConnectedAgainIsNotAvoided(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	a, b := serve(t, ""), serve(t, "")
	register(t, r, registry.Instance{ID: "a", Addr: a.addr})
	register(t, r, registry.Instance{ID: "b", Addr: b.addr})
	conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(grpcresolver.Name),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Millisecond, Multiplier: 1, MaxDelay: 10 * time.Millisecond}}))
	until(t, conn, a, b)
	b.grpc.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < 7500*time.Millisecond; <-tick.C { // its pauses are 1, 2, 4, 8 s
		_, _ = call(bounded(t), conn) // the first one may fail
	}
	b = serve(t, b.addr)
	began := time.Now()
	until(t, conn, a, b)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it was used again after %v, when its pause was over", took)
	}
}

func TestAServerThatAnswersUnavailableIsAvoidedAndComesBack(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	good, bad := serve(t, ""), serve(t, "")
	register(t, r, registry.Instance{ID: "good", Addr: good.addr})
	register(t, r, registry.Instance{ID: "bad", Addr: bad.addr})
	conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(grpcresolver.Name))
	until(t, conn, good, bad)

	bad.will(func(context.Context) error { return status.Error(codes.NotFound, "no such thing") })
	failures := 0
	for range 100 {
		if _, err := call(bounded(t), conn); status.Code(err) == codes.NotFound {
			failures++
		}
	}
	if failures < 40 {
		t.Errorf("an answer that is an error: %d of 100 RPCs went there, want half of them", failures)
	}

	bad.will(func(context.Context) error { return status.Error(codes.Unavailable, "out of order") })
	began := time.Now()
	failures = 0
	for range 200 {
		if _, err := call(bounded(t), conn); err != nil {
			failures++
		}
	}
	// One, and one more after each pause, of which the first is a second.
	if most := 1 + int(time.Since(began)/time.Second); failures == 0 || failures > most {
		t.Errorf("%d of 200 RPCs failed in %v, want 1 to %d", failures, time.Since(began), most)
	}
	bad.will(nil)
	until(t, conn, good, bad)
}

// ring_hash's shares are those of the ring, which is by weight.
func TestRingHashTakesOurWeights(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	light, heavy := serve(t, ""), serve(t, "")
	register(t, r, registry.Instance{ID: "light", Addr: light.addr, Weight: 1})
	register(t, r, registry.Instance{ID: "heavy", Addr: heavy.addr, Weight: 9})
	conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(ringHash))
	ctx, got := bounded(t), make(map[string]int)
	const n = 1000
	for range n {
		addr, err := call(metadata.AppendToOutgoingContext(ctx, "user", fmt.Sprint(rand.Uint64())), conn)
		if err != nil {
			t.Fatal(err)
		}
		got[addr]++
	}
	if !near(got[heavy.addr], 900, n, 6) {
		t.Errorf("the heavy one has %d of %d RPCs, want 900", got[heavy.addr], n)
	}
}

func TestTheBalancerIsForItsResolverOnly(t *testing.T) {
	other := manual.NewBuilderWithScheme("other")
	other.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: "127.0.0.1:1"}}})
	conn, err := grpc.NewClient("other:///web", grpc.WithResolvers(other), balanced(grpcresolver.Name), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := call(bounded(t), conn); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "etcdkit:///SERVICE") {
		t.Errorf("got %v, want Unavailable that says which targets", err)
	}
}
