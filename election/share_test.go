package election_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/queuetest"
	"github.com/etcdkit/etcdkit/lease"
)

// traffic is what a client sends: unary requests, streams for watches, and messages on them.
type traffic struct{ requests, watches, messages atomic.Int64 }

func (tr *traffic) reset() {
	tr.requests.Store(0)
	tr.watches.Store(0)
	tr.messages.Store(0)
}

type countedStream struct {
	grpc.ClientStream
	sent *atomic.Int64
}

func (s *countedStream) SendMsg(m any) error {
	s.sent.Add(1)
	return s.ClientStream.SendMsg(m)
}

// counting returns a client whose traffic is counted.
func counting(t testing.TB, endpoints []string) (*clientv3.Client, *traffic) {
	t.Helper()
	sent := new(traffic)
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			sent.requests.Add(1)
			return send(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, d, cc, method, opts...)
			if err != nil || !strings.HasSuffix(method, "/Watch") {
				return s, err
			}
			sent.watches.Add(1)
			return &countedStream{s, &sent.messages}, nil
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli, sent
}

func TestObserversOfAnElectionShareOneWatch(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli, sent := counting(t, shared.Endpoints())
	const many = 100
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen := make(chan election.Leader)
	for range many {
		e := election.New(cli, prefix+"name", nil)
		defer e.Close()
		go func() { // ends when it has seen a leader
			for l, err := range e.Observe(ctx) {
				if err != nil {
					t.Errorf("Observe: %v", err)
				}
				seen <- l
				if err != nil || !l.Vacant() {
					return
				}
			}
		}()
	}
	for range many {
		if l := <-seen; !l.Vacant() {
			t.Errorf("an observer saw %+v before there was a leader", l)
		}
	}
	candidate := election.New(shared, prefix+"name", nil)
	defer candidate.Close()
	if _, err := candidate.Campaign(ctx, "me"); err != nil {
		t.Fatal(err)
	}
	for range many {
		if l := <-seen; l.Value != "me" {
			t.Errorf("an observer saw %+v, want the leader", l)
		}
	}
	if n := sent.watches.Load(); n != 1 {
		t.Errorf("%d observers opened %d watches, want 1", many, n)
	}
}

func TestLeadingAndWaitingCostNoRequests(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	cli, sent := counting(t, shared.Endpoints())
	keeper := lease.NewKeeper(cli, nil)
	t.Cleanup(func() { keeper.Close() })
	open := func(name string) *election.Election {
		e := election.New(cli, name, &election.Options{Keeper: keeper})
		t.Cleanup(func() { e.Close() })
		return e
	}
	const many = 200
	terms := []*election.Term{campaign(t, open(prefix+"one"), "x")}
	waiting, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, many)
	for i := range many {
		terms = append(terms, campaign(t, open(fmt.Sprint(prefix, "own", i)), "x"))
		e := open(prefix + "one")
		go func() { // waited for below
			_, err := e.Campaign(waiting, "x")
			ended <- err
		}()
	}
	candidates(t, shared, prefix+"one", many+1)
	queuetest.AwaitQuiet(t, &sent.requests)
	sent.reset()
	began := time.Now()
	<-time.After(5 * time.Second) // in which all are idle
	requests, messages, took := sent.requests.Load(), sent.messages.Load(), time.Since(began)
	t.Logf("%d lead and %d wait: %d requests in %v, and %d messages on watches", len(terms), many, requests, took, messages)
	if most := int64(took/(2*time.Second)) + 1; requests > 0 || messages > most {
		t.Errorf("%d requests and %d messages on watches, want none and %d at most", requests, messages, most)
	}
	for _, term := range terms {
		if err := term.Err(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for range many {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("one that waited: %v, want the cancellation", err)
		}
	}
}

// A term that is shorter than a second costs its two requests and nothing else.
func TestAShortTermCostsTwoRequests(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli, sent := counting(t, shared.Endpoints())
	e := newElection(t, cli, prefix+"name")
	resign(t, campaign(t, e, "x")) // it has a lease from now on
	const n = 50
	for range 3 { // once is enough: what is not answered for long is asked again
		sent.reset()
		for range n {
			resign(t, campaign(t, e, "x"))
		}
		if sent.requests.Load() == 2*n {
			break
		}
	}
	if r, w := sent.requests.Load(), sent.messages.Load(); r != 2*n || w > 0 {
		t.Errorf("%d terms: %d requests and %d messages on watches, want %d and none", n, r, w, 2*n)
	}
}
