package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
)

// deaf is a connection whose watches never deliver an event. Everything else goes through.
func deaf() grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := open(ctx, desc, cc, method, opts...)
		return deafStream{s}, err
	})
}

type deafStream struct{ grpc.ClientStream }

func (s deafStream) RecvMsg(into any) error {
	for {
		if err := s.ClientStream.RecvMsg(into); err != nil {
			return err
		}
		if r, ok := into.(*pb.WatchResponse); !ok || r.Created {
			return nil
		}
	}
}

func TestAMirrorWhoseWatchesDeliverNothingReadsAgain(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli := quickClientWith(t, []grpc.DialOption{deaf()}, shared.Endpoints()...)
	m := open(t, cli, prefix, &mirror.Options{ConfirmEvery: 50 * time.Millisecond, WatchTimeout: 20 * time.Millisecond})
	for i := range 3 {
		put(t, shared, prefix+"a", fmt.Sprint(i))
		wantMirror(t, m, shared, prefix)
	}
	if s, n := m.State(), m.Stats(); n.Rereads[mirror.Behind] == 0 || n.Replaced < 3 || s.Epoch != 0 {
		t.Errorf("State: got %+v and %+v, want it read again because 3 watches or more were silent, in epoch 0", s, n)
	}
}

// A member that was cut off answers, with an old revision.
func TestAMirrorWhoseWatchesOnlyAnswerProgressReadsAgain(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	put(t, shared, prefix+"a", "first")
	old := put(t, shared, prefix+"a", "second")
	cli := quickClientWith(t, []grpc.DialOption{received(func(r *pb.WatchResponse) {
		if !r.Created {
			r.Events, r.Header.Revision = nil, old
		}
	})}, shared.Endpoints()...)
	m := open(t, cli, prefix, &mirror.Options{ConfirmEvery: 50 * time.Millisecond, WatchTimeout: 250 * time.Millisecond})
	revision := put(t, shared, prefix+"a", "third")
	limit, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if err := m.Wait(limit, revision); err != nil {
		t.Errorf("Wait: %v; state %+v", err, m.State())
	}
	wantMirror(t, m, shared, prefix)
}

// afterRead is a connection that calls f after each answer to a Range of more than one key.
func afterRead(f func()) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if r, ok := req.(*pb.RangeRequest); ok && err == nil && len(r.RangeEnd) > 0 {
			f()
		}
		return err
	})
}

func TestAllPagesOfACopyAreOfOneRevision(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	fillKeys(t, shared, prefix, 1000) // the first page has 100
	first, last := prefix+"0000000", prefix+"0000999"
	var once sync.Once
	cli := quickClientWith(t, []grpc.DialOption{afterRead(func() {
		once.Do(func() {
			resp, err := shared.Txn(within(t, generous)).Then(clientv3.OpPut(first, "later"), clientv3.OpPut(last, "later")).Commit()
			if err != nil || !resp.Succeeded {
				t.Errorf("a transaction between two pages: %v", err)
			}
		})
	})}, shared.Endpoints()...)
	var copies []*mirror.Snapshot
	m := open(t, cli, prefix, nil)
	copies = append(copies, m.Snapshot())
	wantMirror(t, m, shared, prefix)
	copies = append(copies, m.Snapshot())
	for _, s := range copies {
		want, _ := stored(t, shared, prefix, s.Revision())
		wantSame(t, fmt.Sprintf("the copy at revision %d", s.Revision()), held(s), want)
	}
}

// Etcd cuts what it sends within a transaction.
func TestATransactionThatComesInFragmentsIsVisibleAllAtOnce(t *testing.T) {
	const ops, rounds = 128, 20
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	g := etcdtest.NewGate(t, c.Endpoints()[0])
	var mu sync.Mutex
	cut := 0 // fragments that end within a transaction
	transaction := func(round int) {
		t.Helper()
		var puts []clientv3.Op
		for i := range ops {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("a/%03d", i), fmt.Sprintf("%03d", round)+strings.Repeat("x", 10_000)))
		}
		if _, err := cli.Txn(within(t, generous)).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	transaction(0)
	m := open(t, quickClientWith(t, []grpc.DialOption{received(func(r *pb.WatchResponse) {
		mu.Lock()
		defer mu.Unlock()
		if r.Fragment {
			cut++
		}
	})}, g.Addr()), "a/", nil)
	batches := read(t, m.Changes(within(t, generous), &mirror.ChangesOptions{EachTransaction: true, Buffer: 1 << 30}))
	g.SetTarget("")
	for round := range rounds {
		transaction(1 + round)
	}
	g.SetTarget(c.Endpoints()[0])
	for round := range rounds {
		b := batches.batch()
		values := make(map[string]int)
		for kv := range b.Snapshot.All() {
			values[kv.Value[:3]]++
		}
		if want := fmt.Sprintf("%03d", 1+round); len(b.Changes) != ops || values[want] != ops {
			t.Fatalf("batch %d: got %d changes, and keys by round %v: want %d of round %s", round, len(b.Changes), values, ops, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if cut < rounds/2 {
		t.Errorf("void: %d responses of etcd's were cut, want some %d", cut, rounds*ops*10_000/(2<<20))
	}
}

// received is a connection that calls f with each response of a watch.
func received(f func(*pb.WatchResponse)) grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := open(ctx, desc, cc, method, opts...)
		return tappedStream{s, func(*pb.WatchRequest) {}, f}, err
	})
}

// asked is a connection that calls f with each request on a watch.
func asked(f func(*pb.WatchRequest)) grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := open(ctx, desc, cc, method, opts...)
		return tappedStream{s, f, func(*pb.WatchResponse) {}}, err
	})
}

type tappedStream struct {
	grpc.ClientStream
	asks func(*pb.WatchRequest)
	got  func(*pb.WatchResponse)
}

func (s tappedStream) SendMsg(m any) error {
	if r, ok := m.(*pb.WatchRequest); ok {
		s.asks(r)
	}
	return s.ClientStream.SendMsg(m)
}

func (s tappedStream) RecvMsg(into any) error {
	err := s.ClientStream.RecvMsg(into)
	if r, ok := into.(*pb.WatchResponse); ok && err == nil {
		s.got(r)
	}
	return err
}

// What etcd may forget is what the copy has: the revision after it is enough to go on.
func TestAWatchResumesAtTheRevisionAfterTheCopy(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	cli := etcdtest.Client(t, c)
	g := etcdtest.NewGate(t, c.Endpoints()[0])
	m := open(t, quickClient(t, g.Addr()), "a/", nil)
	at := put(t, cli, "a/key", "1")
	wait(t, m, at)
	g.SetTarget("")
	next := put(t, cli, "a/key", "2")
	if _, err := cli.Compact(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if got := m.Snapshot().Revision(); got != at {
		t.Fatalf("void: the copy is at revision %d, want %d", got, at)
	}
	g.SetTarget(c.Endpoints()[0])
	wait(t, m, next)
	if s := m.Stats(); len(s.Rereads) != 0 {
		t.Errorf("Stats: got rereads %v, want none: nothing that was missed is compacted", s.Rereads)
	}
}

// A member that was cut off ends the watch itself: it is not left to the mirror's patience.
func TestAMemberWithoutALeaderEndsItsWatch(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	m := open(t, quickClient(t, c.Endpoints()...), "a/", &mirror.Options{WatchTimeout: time.Hour})
	ctx := within(t, generous)
	stop := writeOn(t, quickClient(t, c.Endpoints()...), "a/first")
	if err := m.Wait(ctx, m.Snapshot().Revision()+1); err != nil {
		t.Fatal(err)
	}
	stop()
	bad := server(t, c, m)
	if _, err := c.Isolate(ctx, bad); err != nil {
		t.Fatal(err)
	}
	revision := put(t, others(t, c, bad), "a/key", "1")
	limit, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	if err := m.Wait(limit, revision); err != nil {
		t.Errorf("the watch of %s, which has no leader: got %v, want it ended, and the next one to deliver; state %+v", bad, err, m.State())
	}
	if s := m.Stats(); s.Replaced != 0 || s.Watches < 2 {
		t.Errorf("Stats: got %d watches, %d of which replaced, want 2 or more, and none", s.Watches, s.Replaced)
	}
}

// Nothing but reading again helps where a part was forgotten.
func TestACompactionThatCoversWhatWasMissedHasThePrefixReadAgain(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	cli := etcdtest.Client(t, c)
	g := etcdtest.NewGate(t, c.Endpoints()[0])
	m := open(t, quickClient(t, g.Addr()), "a/", nil)
	wait(t, m, put(t, cli, "a/key", "1"))
	g.SetTarget("")
	put(t, cli, "a/key", "2")
	revision := put(t, cli, "a/key", "3")
	if _, err := cli.Compact(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	g.SetTarget(c.Endpoints()[0])
	limit, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if err := m.Wait(limit, revision); err != nil {
		t.Errorf("Wait: %v; state %+v", err, m.State())
	}
	if s, n := m.State(), m.Stats(); n.Rereads[mirror.Compacted] != 1 || errors.Is(s.Cause, mirror.ErrGap) {
		t.Errorf("State: got %+v and %+v, want one reading for a compaction", s, n)
	}
}
