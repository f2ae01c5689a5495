package ask_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/means"
)

// keepAsking is a handle: it asks until it is answered, over the client's own connection and over
// those to single endpoints.
func keepAsking(ctx context.Context, cli *clientv3.Client, handle int) error {
	c := ask.Of(cli)
	again := c.Backoff(20*time.Millisecond, time.Second)
	for try := handle; ; try++ {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			endpoints := cli.Endpoints()
			if try%2 == 0 {
				cc, release, err := c.Conn(endpoints[try/2%len(endpoints)])
				if err != nil {
					return err
				}
				defer release()
				_, err = pb.NewKVClient(cc).Range(ctx, &pb.RangeRequest{Key: []byte("x")})
				return err
			}
			_, err := pb.NewKVClient(cli.ActiveConnection()).Range(ctx, &pb.RangeRequest{Key: []byte("x")})
			return err
		}()
		if err == nil {
			c.Answered()
			return nil
		}
		c.Failed(err)
		if err := again.Wait(ctx); err != nil {
			return c.Explain(err)
		}
	}
}

// An outage costs two connection attempts a second, and when it is over all are back, as a
// rule within a second, and within 3 s.
func TestManyHandlesMakeNoMoreConnectionsInAnOutageThanOne(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		mode   int32
		client func(testing.TB, ...string) *clientv3.Client
		from   time.Duration // of the outage: until then each connection is found broken once
	}{
		{"refused, as of client.Dial", closes, paced, 0},
		{"silent, as of client.Dial", silent, paced, 0},
		// gRPC's own tries come on top: about three for each endpoint in the first 3 s.
		{"refused, as of clientv3.New", closes, plain, 3 * time.Second},
		{"silent, as of clientv3.New", silent, plain, 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			all, cli, c := reached(t, test.client)
			for _, d := range all {
				d.become(test.mode)
			}
			const handles = 240
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var back atomic.Int64
			var wg sync.WaitGroup
			defer wg.Wait()
			for i := range handles {
				wg.Go(func() {
					if keepAsking(ctx, cli, i) == nil {
						back.Add(1)
					}
				})
			}
			until(t, "the outage is known", func() bool { return c.Outage() != nil })
			<-time.After(test.from)
			before := count(all)
			<-time.After(10 * time.Second)
			n := count(all) - before
			t.Logf("%d connections in 10 s of outage", n)
			if n > 20 && !means.Race {
				t.Errorf("%d connections in 10 s of outage, want 20 at most", n)
			}
			if n < 3 { // probes start 3 s apart at the most
				t.Errorf("%d connections in 10 s of outage: nothing looks whether it is over", n)
			}
			if back.Load() != 0 {
				t.Fatalf("%d handles were answered in the outage: it is none", back.Load())
			}
			over := time.Now()
			for _, d := range all {
				d.become(leads)
			}
			until(t, "all are back", func() bool { return back.Load() == handles })
			took := time.Since(over)
			t.Logf("all handles back after %v", took)
			if took > 3*time.Second && !means.Race {
				t.Errorf("all handles back after %v, want within 3 s on a busy machine", took)
			}
		})
	}
}

// Those that waited come back within 300 ms, and not all at once.
func TestThoseThatWaitComeBackSpread(t *testing.T) {
	all, _, c := reached(t, paced)
	for _, d := range all {
		d.become(closes)
	}
	until(t, "the outage is known", func() bool { return c.Outage() != nil })
	const handles = 240
	ctx := bounded(t, generous)
	back := make(chan time.Time, handles)
	var waiting atomic.Int64
	for range handles {
		go func() { // ends when the outage ends, or with ctx
			waiting.Add(1)
			if err := c.Await(ctx); err != nil {
				t.Errorf("Await: %v", err)
			}
			back <- time.Now()
		}()
	}
	until(t, "all wait", func() bool { return waiting.Load() == handles })
	<-time.After(50 * time.Millisecond) // for those that have only just said so
	if n := len(back); n > 0 {
		t.Fatalf("%d handles did not wait: it is no outage", n)
	}
	for _, d := range all {
		d.become(leads)
	}
	times := make([]time.Time, handles)
	for i := range times {
		times[i] = <-back
	}
	slices.SortFunc(times, time.Time.Compare)
	took, most := times[handles-1].Sub(times[0]), 0
	for i, first := range times {
		n, _ := slices.BinarySearchFunc(times[i:], first.Add(10*time.Millisecond), time.Time.Compare)
		most = max(most, n)
	}
	t.Logf("they came back within %v, at most %d in 10 ms", took, most)
	if (took < 100*time.Millisecond || most > handles/3) && !means.Race {
		t.Errorf("%d handles came back within %v, at most %d in 10 ms, want them spread over 300 ms", handles, took, most)
	}
}

func TestInAnOutageOnlyTheProberConnects(t *testing.T) {
	t.Parallel()
	all, addrs := doors(t, closes)
	d := new(ask.Dialer)
	cli := pacedBy(t, d, addrs...)
	c := ask.Of(cli)
	cli.ActiveConnection().Connect()
	until(t, "the outage is known", func() bool { return c.Outage() != nil })
	made := 0
	for range 100 {
		conn, err := d.Dial(t.Context(), all[0].addr())
		if err == nil {
			made++
			conn.Close()
		}
	}
	if made > 2 { // what the prober was about to dial may be taken
		t.Errorf("%d of 100 dials connected, want none", made)
	}
	end := c.AllowDials()
	for range 3 {
		conn, err := d.Dial(t.Context(), all[0].addr())
		if err != nil {
			t.Fatalf("a dial that is allowed: %v", err)
		}
		conn.Close()
	}
	end()
	for range 100 {
		if conn, err := d.Dial(t.Context(), all[0].addr()); err == nil {
			made++
			conn.Close()
		}
	}
	if made > 4 {
		t.Errorf("%d dials connected though they are no longer allowed", made)
	}
}

func TestAnOutageNamesTheEndpointsAndTheCause(t *testing.T) {
	t.Parallel()
	_, addrs := doors(t, closes)
	for name, cli := range map[string]*clientv3.Client{"paced": paced(t, addrs...), "plain": plain(t, addrs...)} {
		c := ask.Of(cli)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := keepAsking(ctx, cli, 1)
		var u *ask.Unanswered
		if !errors.As(err, &u) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%s: got %v, want an Unanswered with the context's error", name, err)
		}
		for _, part := range append(addrs, "no answer from ") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %q, want %q in it", name, err, part)
			}
		}
		if u.Cause == nil {
			t.Errorf("%s: got %q, want a cause", name, err)
		}
		if out := c.Outage(); out == nil {
			t.Errorf("%s: no outage", name)
		}
		t.Log(err)
	}
}

func TestInAnOutageAllWaitAtTheGate(t *testing.T) {
	all, addrs := doors(t, closes)
	cli := plain(t, addrs...)
	c := ask.Of(cli)
	cli.ActiveConnection().Connect()
	until(t, "the outage is known", func() bool { return c.Outage() != nil })
	for what, wait := range map[string]func(context.Context) error{"Await": c.Await, "Wait": c.Backoff(1, 1).Wait} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s in an outage: got %v, want to wait until its context ends", what, err)
		}
	}
	all[0].become(leads)
	if err := c.Await(bounded(t, generous)); err != nil {
		t.Errorf("Await after the outage: %v", err)
	}
}

func TestARefusedConnectionIsTheCauseAndCanBeFound(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "", closes)
	d.l.Close() // refused for good
	cli := paced(t, d.addr())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := keepAsking(ctx, cli, 1)
	if err == nil || !strings.Contains(err.Error(), syscall.ECONNREFUSED.Error()) || strings.Contains(err.Error(), "desc =") {
		t.Errorf("got %v, want %q in it, without gRPC's words", err, syscall.ECONNREFUSED)
	}
}

// gRPC says that every endpoint refuses before it is known why.
func TestTheCauseOfAnOutageIsNamedThoughItBecameKnownLater(t *testing.T) {
	t.Parallel()
	all, cli, c := reached(t, plain)
	broken := errors.New("the connection broke")
	first := &ask.Unanswered{Endpoints: cli.Endpoints()}
	for _, err := range []error{nil, first, broken} {
		if got := ask.Latest(c, err); got != err {
			t.Errorf("without an outage: got %v, want %v", got, err)
		}
	}
	for _, d := range all {
		d.become(closes)
	}
	known := func(err error) bool {
		var u *ask.Unanswered
		return errors.As(err, &u) && u.Cause != nil
	}
	until(t, "the cause is known", func() bool { return known(c.Outage()) })
	for _, err := range []error{nil, first, fmt.Errorf("grant: %w", first)} {
		if got := ask.Latest(c, err); !known(got) {
			t.Errorf("of %v: got %v, want the cause", err, got)
		}
	}
	if got := ask.Latest(c, broken); got != broken {
		t.Errorf("got %v, want %v, which says more than that there is an outage", got, broken)
	}
}

// gRPC keeps what a Dialer told it, which can be what was known before the refusal was.
func TestARefusedCertificateIsTheCauseOfWhatWasExplainedBefore(t *testing.T) {
	all, cli, c := reached(t, plain)
	for _, d := range all { // what answers takes the refusal back
		d.become(closes)
	}
	until(t, "the outage is known", func() bool { return c.Outage() != nil })
	c.Failed(errors.New("remote error: tls: expired certificate"))
	err := c.Explain(fmt.Errorf("dial: %w", &ask.Unanswered{Endpoints: cli.Endpoints(), Cause: io.EOF}))
	if !errors.Is(err, ask.ErrCertificate) {
		t.Errorf("got %v, want ErrCertificate", err)
	}
}

func TestAMemberThatIsBackOpensTheGateForEndpointsThatAreNot(t *testing.T) {
	all, cli, c := reached(t, plain)
	for _, d := range all {
		d.become(closes)
	}
	until(t, "the outage is known", func() bool { return c.Outage() != nil })
	all[1].become(leads)
	if err := keepAsking(bounded(t, generous), cli, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.Outage(); err != nil {
		t.Errorf("one endpoint answers: got %v, want no outage", err)
	}
}

func TestOneSilentMemberIsNoOutage(t *testing.T) {
	t.Parallel()
	all, _, c := reached(t, plain)
	all[0].become(silent)
	for range 30 {
		c.Failed(ask.NoAnswerWithin(time.Second))
		<-time.After(100 * time.Millisecond)
		if err := c.Outage(); err != nil {
			t.Fatalf("one of three is silent: %v", err)
		}
	}
}

// As with a certificate that has expired since, or a member that has too many connections.
func TestAConnectionThatIsUpKeepsTheGateOpenWhereNewOnesAreRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range []int32{closes, silent} {
		all, _, c := reached(t, plain)
		for _, d := range all {
			d.mode.Store(mode)
		}
		for range 60 {
			c.Failed(ask.NoAnswerWithin(time.Second))
			<-time.After(100 * time.Millisecond)
			if err := c.Outage(); err != nil {
				t.Fatalf("its own connection is up: %v", err)
			}
		}
	}
}

func TestWithoutAnOutageNothingWaits(t *testing.T) {
	all, addrs := doors(t, leads)
	_ = all
	c := ask.Of(plain(t, addrs...))
	began := time.Now()
	for range 1000 {
		if err := c.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("1,000 times without an outage: %v", took)
	}
}

// In TLS 1.3 the refusal is read by chance only.
func TestARefusedCertificateStaysTheCauseUntilSomethingAnswers(t *testing.T) {
	_, addrs := doors(t, silent)
	c := ask.Of(plain(t, addrs...))
	broke := status.Error(codes.Unavailable, "error reading from server: EOF")
	refused := func(err error) bool { return errors.Is(c.Explain(err), ask.ErrCertificate) }
	c.Failed(broke)
	if refused(broke) {
		t.Errorf("got %v, and no certificate was refused", c.Explain(broke))
	}
	c.Failed(errors.New(`connection error: desc = "error reading server preface: remote error: tls: expired certificate"`))
	c.Failed(broke)
	for _, err := range []error{broke, context.DeadlineExceeded} {
		if !refused(err) {
			t.Errorf("got %v, want ErrCertificate", c.Explain(err))
		}
	}
	c.Answered()
	for _, err := range []error{broke, context.DeadlineExceeded} {
		if refused(err) {
			t.Errorf("got %v, though something has answered since", c.Explain(err))
		}
	}
}

// Handles work again within 3 s of the end of an outage (docs/reliability.md), however unlucky the draws are.
func TestTheLongestDistanceOfProbesIsWithinThePromise(t *testing.T) {
	for range 10_000 {
		if d := ask.Distance(ask.WhileGRPCTries) + ask.Spread; d > 2600*time.Millisecond {
			t.Fatalf("%v until handles come back, want 2.6 s at most: some time is for coming back", d)
		}
	}
}
