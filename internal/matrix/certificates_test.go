package matrix_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
)

// entrance is what leads one client to all members.
type entrance struct {
	gates   []*etcdtest.Gate
	members []string
}

// reset ends all connections, of one member after another, as they are rotated.
func (e *entrance) reset() {
	for i, g := range e.gates {
		g.SetTarget(e.members[i])
		<-time.After(500 * ms)
	}
}

// accepted is how many connections have been made to each member.
func (e *entrance) accepted() (n []int) {
	for _, g := range e.gates {
		n = append(n, g.Accepted())
	}
	return n
}

func sum(all []int) (n int64) {
	for _, m := range all {
		n += int64(m)
	}
	return n
}

// secured opens all rows at members with TLS, on one client.
func secured(t *testing.T, s *situation, ttl time.Duration) (*table, *etcdtest.Authority, *entrance) {
	t.Helper()
	ca := etcdtest.NewAuthority(t)
	server, me := ca.Issue("server", time.Hour), ca.Issue("me", time.Hour)
	safe := ca.Issue("other", time.Hour)
	c := etcdtest.NewCluster(t, &cluster.Options{ClientTLS: &cluster.TLS{CertFile: server, KeyFile: server, ClientCAFile: ca.File}})
	var through []string
	in := &entrance{}
	for _, e := range c.Endpoints() {
		member := strings.TrimPrefix(e, "https://")
		g := etcdtest.NewGate(t, member)
		in.gates, in.members = append(in.gates, g), append(in.members, member)
		through = append(through, "https://"+g.Addr())
	}
	dial := func(endpoints []string, cert string) (*clientv3.Client, *traffic) {
		tr := &traffic{}
		opts := &client.Options{Endpoints: endpoints, CACert: ca.File, Cert: cert, Key: cert, DialOptions: []grpc.DialOption{grpc.WithStatsHandler(tr)}}
		cli, err := client.Dial(bounded(t), opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cli.Close() })
		return cli, tr
	}
	other, _ := dial(c.Endpoints(), safe)
	cli, tr := dial(through, me)
	tb := openRows(t, s, at{other: other, prefix: "matrix", ttl: ttl}, func(testing.TB) (*clientv3.Client, *traffic) { return cli, tr })
	return tb, ca, in
}

func TestRotatedCertificatesFailNoOperation(t *testing.T) {
	t.Parallel()
	const rounds, operations = 2, 5
	tb, ca, in := secured(t, &certRotated, shortTTL)
	keys := tb.keys(t)
	over := make(chan struct{})
	done := make(map[*watched]*atomic.Int64)
	for _, w := range tb.handles {
		done[w] = new(atomic.Int64)
	}
	go func() { // ends with the last round
		defer close(over)
		for range rounds {
			ca.Issue("server", time.Hour)
			ca.Issue("me", time.Hour)
			connections, before := in.accepted(), make(map[*watched]int64)
			for w, n := range done {
				before[w] = n.Load()
			}
			in.reset()
			if err := until(bounded(t), func() error { // otherwise nothing was tested
				for w, n := range done {
					if n := n.Load() - before[w]; n < operations {
						return fmt.Errorf("void: %d operations of %s since the certificates were replaced, want %d", n, w.row.name, operations)
					}
				}
				for i, n := range in.accepted() {
					if n == connections[i] {
						return fmt.Errorf("void: no new connection to %s", in.members[i])
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
	}()
	tb.each(func(t *cell, w *watched) {
		for going := true; going; {
			select {
			case <-over:
				going = false
			default:
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := w.calls[0].do(ctx); err != nil {
				t.Errorf("%s: %v", w.calls[0].name, err)
			}
			cancel()
			done[w].Add(1)
			<-time.After(50 * ms) // the load
		}
		t.Logf("%d operations", done[w].Load())
		w.staysAlive(t)
		w.keyLeft(t, keys[w], time.Now())
	})
}

func TestAnExpiredCertificateIsATypedError(t *testing.T) {
	t.Parallel()
	tb, ca, in := secured(t, &certExpired, 8*time.Second)
	keys := tb.keys(t)
	ca.Issue("me", -time.Minute)
	in.reset()
	since := time.Now()
	for _, w := range tb.handles {
		w.keyStays(t, keys[w])
	}
	var handshakes float64
	counted := make(chan struct{})
	go func() { // ends after 6 s
		defer close(counted)
		<-time.After(2 * time.Second) // each connection is found refused once
		before, began := sum(in.accepted()), time.Now()
		<-time.After(4 * time.Second) // the time that is counted
		handshakes = paced(sum(in.accepted())-before, time.Since(began))
	}()
	if err := until(bounded(t), func() error { return refusedCertificate(t.Context(), tb.handles[0].place.cli) }); err != nil {
		t.Fatalf("the client never learns that its certificate is refused: %v", err)
	}
	inTime(t, "the cause is known", time.Since(since), 5*time.Second)
	tb.each(func(t *cell, w *watched) {
		w.callAll(t, 1500*ms, func(c call, _, _ time.Duration, err error) {
			t.Logf("%s: %v", c.name, err)
			if c.name == "Wait" {
				return // for a revision that does not come
			}
			if c.name == "Txn" || err == nil && c.ends() {
				return // clientv3's own, or what goes on in the background
			}
			if w.p.err == deadline && (certificate.is(err) || strings.Contains(fmt.Sprint(err), "eadline")) {
				return // as gRPC and net/http say it
			}
			if !w.p.err.is(err) {
				t.Errorf("%s: %v, want %s", c.name, err, w.p.err.name)
			}
		})
		w.keyLeft(t, keys[w], since)
	})
	<-counted
	t.Logf("%.1f connections a second of all handles on one client", handshakes)
	if handshakes > 2 {
		t.Errorf("%.1f connections a second of all handles on one client, want 2 at the most", handshakes)
	}
}

// refusedCertificate is nil once a client has been told that its certificate is refused. In TLS 1.3 it
// reads that only if the member has not closed the connection before, and tries again otherwise.
func refusedCertificate(ctx context.Context, cli *clientv3.Client) error {
	k := lease.NewKeeper(cli, nil)
	defer k.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := k.Lease(ctx); !certificate.is(err) {
		return fmt.Errorf("%w, want %s", err, certificate.name)
	}
	return nil
}
